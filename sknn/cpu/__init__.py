"""The CPU engine: the vector vocabulary, the kernels, and the loop that runs them."""

from . import (
    activations,
    convolution,
    data,
    dense,
    images,
    losses,
    normalization,
    perceptron,
    pooling,
    random,
    recurrent,
    run,
    tokens,
    updates,
)

__all__ = [
    "activations",
    "convolution",
    "data",
    "dense",
    "images",
    "losses",
    "normalization",
    "perceptron",
    "pooling",
    "random",
    "recurrent",
    "run",
    "tokens",
    "updates",
]
