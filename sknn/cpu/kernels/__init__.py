"""The kernels, the SIMD primitives that they are written in, and the loop that runs them.

A module registers its kernels when it is imported.
"""

from . import (
    activations,
    contraction,
    convolution,
    dense,
    gather,
    images,
    losses,
    members,
    normalization,
    perceptron,
    pooling,
    radial,
    random,
    recurrent,
    run,
    tokens,
    updates,
    winograd,
)

__all__ = [
    "activations", "contraction", "convolution", "dense", "gather", "images", "losses",
    "members", "normalization", "perceptron", "pooling", "radial", "random", "recurrent", "run",
    "tokens", "updates", "winograd",
]  # fmt: skip
