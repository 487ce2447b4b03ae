"""NVIDIA GPUs: the same tapes, on kernels that Numba compiles for CUDA.

It is imported when a GPU is asked for, and not before.
"""
