"""Layers that act on each element, and have no parameters."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..tape.activations import ACTIVATIONS
from .base import Layer, check_choice, check_count, check_number, describe, positions, size


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

    It adds `l1` times the sum of absolute values, and half of `l2` times that of squares, to a
    sample's loss in training, if there is something to train before it.

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
        return _add_mask(tape, x, index, self.rate, 1 / (1 - self.rate))


@dataclass(frozen=True, repr=False)
class GaussianNoise(Layer):
    """Adds normal noise of zero mean, in training.

    Parameters
    ----------
    stddev : float
        The noise's standard deviation.
    limits : pair of float or None, default=None
        What the sum is clipped to, as if that had no slope of its own.
    """

    stddev: float
    limits: tuple | None = None

    def __post_init__(self):
        check_number(self, "stddev")
        if self.limits is not None:
            _check_limits(self)

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random()
        if not training or self.stddev == 0:
            return x, lambda dy, needed: dy
        y = tape.in_place(x, "y")
        limits = (-np.inf, np.inf) if self.limits is None else self.limits
        tape.add("gaussian_noise", (x,), (y,), (size(shape), index, self.stddev, *limits))
        return y, lambda dy, needed: dy


@dataclass(frozen=True, repr=False)
class MaskingNoise(Layer):
    """In training, each input is zero with probability `rate`, and else unchanged.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    """

    rate: float

    def __post_init__(self):
        check_number(self, "rate", high=1.0)

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random()
        if not training or self.rate == 0:
            return x, lambda dy, needed: dy
        return _add_mask(tape, x, index, self.rate, 1.0)


@dataclass(frozen=True, repr=False)
class SaltAndPepperNoise(Layer):
    """In training, each input is one of two numbers with probability `rate`, half for each.

    It is for a network's input: the gradient passes as if there was no noise.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    limits : pair of float, default=(0.0, 1.0)
        The two numbers: pepper and salt.
    """

    rate: float
    limits: tuple = (0.0, 1.0)

    def __post_init__(self):
        check_number(self, "rate", high=1.0)
        _check_limits(self)

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random()
        if not training or self.rate == 0:
            return x, lambda dy, needed: dy
        y = tape.in_place(x, "y")
        numbers = (size(shape), index, int(self.rate * 2**32), *self.limits)
        tape.add("salt_and_pepper", (x,), (y,), numbers)
        return y, lambda dy, needed: dy


@dataclass(frozen=True, repr=False)
class GaussianSampling(Layer):
    """Draws from normal distributions; half of its inputs are means, half log variances.

    In training it adds `beta` times the divergence from the standard normal distribution, the sum
    over units of ``(variance + mean ** 2 - 1 - log(variance)) / 2``, to a sample's loss. A
    prediction gets the means. (Kingma and Welling, 2014, "Auto-encoding variational Bayes".)

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence in the sample's loss.
    """

    beta: float = 1.0

    def __post_init__(self):
        check_number(self, "beta")

    def output_shape(self, shape):
        if len(shape) != 1 or shape[0] % 2:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs as many means as variances."
            )
        return (shape[0] // 2,)

    def forward(self, tape, x, shape, parameters, training):
        index, units = tape.next_random(), shape[0] // 2
        if not training:
            return tape.view(x, 0, units), lambda dy, needed: dy
        tape.keep(x)
        z, weights = tape.buffer("code", units), tape.weights()
        tape.keep(z)
        tape.add("draw_normal", (x,), (z,), (units, index))

        def backward(dz, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("draw_normal_gradient", (x, z, weights, dz), (dx,), (units, self.beta))
            return dx

        return z, backward


def _add_mask(tape, x, index, rate, scale):
    """Put on a tape what makes some of x zero, with a probability, and scales the others."""
    numbers = (x.rows, index, int(rate * 2**32), scale)
    y = tape.in_place(x, "y")
    tape.add("dropout", (x,), (y,), numbers)

    def backward(dy, needed):
        dx = tape.in_place(dy, "dx")
        tape.add("dropout", (dy,), (dx,), numbers)
        return dx

    return y, backward


def _check_limits(layer):
    """Check that limits are two numbers, the smaller one first, and store them as floats."""
    limits = layer.limits
    good = isinstance(limits, (tuple, list)) and len(limits) == 2
    if not good or not all(isinstance(n, Real) and not isinstance(n, bool) for n in limits):
        raise TypeError(
            f"limits of {type(layer).__name__} is {limits!r}; expected two numbers, the smaller "
            "one first."
        )
    if not limits[0] < limits[1] or not np.isfinite(limits).all():
        raise ValueError(
            f"limits of {type(layer).__name__} is {limits!r}; expected finite numbers, the smaller "
            "one first."
        )
    object.__setattr__(layer, "limits", tuple(map(float, limits)))

