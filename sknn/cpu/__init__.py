"""The CPU engine: the vector vocabulary, the kernels, and the loop that runs them."""

from . import (
    activations,
    data,
    dense,
    losses,
    normalization,
    perceptron,
    random,
    run,
    updates,
)

__all__ = [
    "activations",
    "data",
    "dense",
    "losses",
    "normalization",
    "perceptron",
    "random",
    "run",
    "updates",
]
