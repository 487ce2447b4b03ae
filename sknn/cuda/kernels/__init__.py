"""The kernels for NVIDIA GPUs, and the words that they are written in.

A module registers its operations when it is imported.
"""

from . import (
    activations,
    coding,
    convolution,
    dense,
    gather,
    images,
    losses,
    normalization,
    pooling,
    radial,
    random,
    recurrent,
    sums,
    tabular,
    tokens,
    updates,
)

__all__ = [
    "activations", "coding", "convolution", "dense", "gather", "images", "losses",
    "normalization", "pooling", "radial", "random", "recurrent", "sums", "tabular", "tokens",
    "updates",
]  # fmt: skip
