"""The CPU as a device: programs, the sessions that run them, threads, and cached kernels."""
