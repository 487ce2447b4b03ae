"""The kernels, the vector vocabulary that they are written in, and the loop that runs them."""

from . import (
    activations,
    contraction,
    convolution,
    data,
    dense,
    images,
    losses,
    normalization,
    perceptron,
    pooling,
    radial,
    random,
    recurrent,
    run,
    tokens,
    updates,
)

__all__ = [
    "activations",
    "contraction",
    "convolution",
    "data",
    "dense",
    "images",
    "losses",
    "normalization",
    "perceptron",
    "pooling",
    "radial",
    "random",
    "recurrent",
    "run",
    "tokens",
    "updates",
]
