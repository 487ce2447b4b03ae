"""Layers that act on each element, and have no parameters."""

from dataclasses import dataclass, field

import numpy as np

from ..tape.activations import ACTIVATIONS
from .base import Layer, describe, positions, size


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

    function: str = field(metadata={"options": set(ACTIVATIONS)})
    parameter: float | None = field(default=None, metadata={"low": -np.inf})

    @property
    def number(self):
        """The parameter that it is computed with."""
        given = ACTIVATIONS[self.function].parameter if self.parameter is None else self.parameter
        return float(given or 0.0)

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
        numbers = (x.rows * tape.width, self.number)
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


class _Noise(Layer):
    """What changes each number by chance, in training."""

    index = None

    def _change(self):
        """Return how strong it is, its operation, and the numbers that this takes."""
        raise NotImplementedError

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random() if self.index is None else self.index
        strength, name, numbers = self._change()
        if not training or not strength:
            return x, lambda dy, needed: dy
        y = tape.in_place(x, "y")
        tape.add(name, (x,), (y,), (x.rows, index, *numbers))

        def backward(dy, needed):
            if name != "dropout":  # whose mask the gradient passes too
                return dy
            dx = tape.in_place(dy, "dx")
            tape.add(name, (dy,), (dx,), (x.rows, index, *numbers))
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class Dropout(_Noise):
    """Inverted dropout: in training each output is zero with probability `rate`, else scaled up.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    index : int or None, default=None
        Tells apart the random layers of a network: each draws numbers of its own. None: by its
        place among them.
    """

    rate: float = field(metadata={"high": 1.0})
    index: int | None = field(default=None, metadata={"least": 0})

    def _change(self):
        return self.rate, "dropout", (int(self.rate * 2**32), 1 / (1 - self.rate))


@dataclass(frozen=True, repr=False)
class GaussianNoise(_Noise):
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

    def _change(self):
        limits = (-np.inf, np.inf) if self.limits is None else self.limits
        return self.stddev, "gaussian_noise", (self.stddev, *limits)


@dataclass(frozen=True, repr=False)
class MaskingNoise(_Noise):
    """In training, each input is zero with probability `rate`, and else unchanged.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    """

    rate: float = field(metadata={"high": 1.0})

    def _change(self):
        return self.rate, "dropout", (int(self.rate * 2**32), 1.0)


@dataclass(frozen=True, repr=False)
class SaltAndPepperNoise(_Noise):
    """In training, each input is one of two numbers with probability `rate`, half for each.

    It is for a network's input: the gradient passes as if there was no noise.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    limits : pair of float, default=(0.0, 1.0)
        The two numbers: pepper and salt.
    """

    rate: float = field(metadata={"high": 1.0})
    limits: tuple = (0.0, 1.0)

    def _change(self):
        return self.rate, "salt_and_pepper", (int(self.rate * 2**32), *self.limits)


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
