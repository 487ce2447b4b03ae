"""NVIDIA GPUs: runs the same tapes with kernels that Numba compiles for CUDA.

It is only imported when a GPU is used.
"""
