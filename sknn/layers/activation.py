"""Layers that act on each element, and have no parameters."""

from dataclasses import dataclass

import numpy as np

from ..activations import ACTIVATIONS
from .base import Layer, check_choice, check_count, check_number, positions, size


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An activation function, element by element (softmax: over the units).

    Parameters
    ----------
    function : str
        One of 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', 'silu',
        'softplus', 'exp', 'softmax', and 'step' (for prediction only). 'gelu' is computed with
        the tanh approximation.
    parameter : float, default=None
        The slope of 'leaky_relu' below zero (None: 0.3), or the negative limit of 'elu' (None: 1).
    """

    function: str
    parameter: float | None = None

    def __post_init__(self):
        check_choice(self, "function", set(ACTIVATIONS))
        check_number(self, "parameter", low=-np.inf, optional=True)

    def output_shape(self, shape):
        if self.function == "softmax" and len(shape) > 2:
            raise ValueError(f"{self} got an image of {shape}; needs a row of units.")
        return shape

    def forward(self, tape, x, shape, parameters, training):
        row = ACTIVATIONS[self.function]
        if self.function == "identity":
            return x, lambda dy, needed: dy
        if training and row.derivative_of == "input":
            tape.keep(x)
        absorbed = self.function == "relu" and tape.absorb_relu(x)
        y = x if absorbed else tape.in_place(x, "a")
        if training and row.derivative_of == "output":
            tape.keep(y)
        number = row.parameter if self.parameter is None else self.parameter
        numbers = (x.rows * tape.width, float(number or 0.0))
        steps, units = positions(shape)
        by_step = (units, steps)
        if self.function == "softmax":
            tape.add("softmax", (x,), (y,), by_step)
        elif not absorbed:
            tape.add("activation", (x,), (y,), numbers, (self.function,))

        def backward(dy, needed):
            dx = tape.in_place(dy, "dx")
            if self.function == "softmax":
                tape.add("softmax_gradient", (y, dy), (dx,), by_step)
            else:
                v = x if row.derivative_of == "input" else y
                tape.add("activation_gradient", (v, dy), (dx,), numbers, (self.function,))
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class ActivityRegularization(Layer):
    """A penalty on what passes through, unchanged.

    It adds `l1` times the sum of sizes, and half of `l2` times that of squares, to a sample's loss
    in training, if there is something to train before it.

    Parameters
    ----------
    l1, l2 : float, default=0.0
        Weights of the two sums in the sample's loss.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        check_number(self, "l1")
        check_number(self, "l2")

    def forward(self, tape, x, shape, parameters, training):
        steps, units = shape if len(shape) == 2 else (None, size(shape))
        if training:
            tape.keep(x)
            weights = tape.weights(steps)

        def backward(dy, needed):
            dx = tape.in_place(dy, "dx")
            numbers = (units, self.l1, self.l2, steps or 1)
            tape.add("activity_penalty", (x, weights, dy), (dx,), numbers)
            return dx

        return x, backward


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Inverted dropout: in training each output is zero with probability `rate`, else scaled up.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    index : int or None, default=None
        Tells apart the random layers of a network: each draws numbers of its own. None: by its
        place among them.
    """

    rate: float
    index: int | None = None

    def __post_init__(self):
        check_number(self, "rate", high=1.0)
        check_count(self, "index", 0, optional=True)

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random() if self.index is None else self.index
        if not training or self.rate == 0:
            return x, lambda dy, needed: dy
        numbers = (size(shape), index, int(self.rate * 2**32), 1 / (1 - self.rate))
        y = tape.in_place(x, "y")
        tape.add("dropout", (x,), (y,), numbers)

        def backward(dy, needed):
            dx = tape.in_place(dy, "dx")
            tape.add("dropout", (dy,), (dx,), numbers)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class GaussianNoise(Layer):
    """Adds normal noise of zero mean, in training.

    Parameters
    ----------
    stddev : float
        The noise's standard deviation.
    """

    stddev: float

    def __post_init__(self):
        check_number(self, "stddev")

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random()
        if not training or self.stddev == 0:
            return x, lambda dy, needed: dy
        y = tape.in_place(x, "y")
        tape.add("gaussian_noise", (x,), (y,), (size(shape), index, self.stddev))
        return y, lambda dy, needed: dy

