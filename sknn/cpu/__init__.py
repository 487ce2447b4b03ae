"""The CPU as a device: programs and the sessions that run them, threads, kernels on disk."""
