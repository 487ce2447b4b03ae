"""NVIDIA's GPUs as a device."""
