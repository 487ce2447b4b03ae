"""The kernels for NVIDIA GPUs, and the words that they are written in.

A module registers its operations when it is imported.
"""

from . import activations, dense, gather, losses, recurrent, sums, tokens, updates

__all__ = ["activations", "dense", "gather", "losses", "recurrent", "sums", "tokens", "updates"]
