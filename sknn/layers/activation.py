"""Elementwise layers without trainable parameters."""

from dataclasses import dataclass, field

import numpy as np

from ..tape.activations import ACTIVATIONS
from .base import Layer, describe, positions, size


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An activation function, applied elementwise (softmax: over the units).

    Parameters
    ----------
    function : str
        One of 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu',
        'silu', 'mish', 'softplus', 'exp', 'softmax', and 'step' (for prediction only). 'gelu' is
        computed with the tanh approximation; 'mish' is ``x * tanh(softplus(x))``.
    parameter : float, default=None
        The slope of 'leaky_relu' below zero (None: 0.3), or alpha of 'elu', whose limit below zero
        is -alpha (None: 1).
    """

    function: str = field(metadata={"options": set(ACTIVATIONS)})
    parameter: float | None = field(default=None, metadata={"low": -np.inf})

    @property
    def number(self):
        """The parameter used in the computation."""
        given = ACTIVATIONS[self.function].parameter if self.parameter is None else self.parameter
        return float(given or 0.0)

    def output_shape(self, shape):
        if self.function == "softmax" and len(shape) > 2:
            raise ValueError(f"{self} got an image of {shape}; needs a vector or a sequence.")
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
    """A penalty on the input, which passes through unchanged.

    In training it adds `l1` times the sum of the absolute values, and half of `l2` times the sum of
    the squares, to each sample's loss. It has an effect only after trainable layers.

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
    """Base class of layers that add random noise to each element, in training."""

    index = None
    #: Whether its rate is multiplied by the factor of a schedule, if there is one.
    follows_schedule = False

    def _change(self):
        """Return its strength, its operation, and the arguments of the operation."""
        raise NotImplementedError

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random() if self.index is None else self.index
        strength, name, numbers = self._change()
        if not training or not strength:
            return x, lambda dy, needed: dy
        variant = (True,) if self.follows_schedule and tape.scheduled else ()
        y = tape.in_place(x, "y")
        tape.add(name, (x,), (y,), (x.rows, index, *numbers), variant)

        def backward(dy, needed):
            if name != "dropout":  # whose mask applies to the gradient too
                return dy
            dx = tape.in_place(dy, "dx")
            tape.add(name, (dy,), (dx,), (x.rows, index, *numbers), variant)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class Dropout(_Noise):
    """Inverted dropout: in training, sets inputs to zero at random and scales up the others.

    Each input is set to zero with probability `rate`, and otherwise divided by ``1 - rate``. With
    the estimator's `dropout_schedule`, the rate changes from step to step.

    Parameters
    ----------
    rate : float
        Probability of setting an input to zero, in [0, 1).
    index : int or None, default=None
        Random stream of the layer: layers of a network with different indices draw independently.
        None: the layer's position among the random layers.
    """

    rate: float = field(metadata={"high": 1.0})
    index: int | None = field(default=None, metadata={"least": 0})

    follows_schedule = True

    def _change(self):
        return self.rate, "dropout", (int(self.rate * 2**32), 1 / (1 - self.rate))


@dataclass(frozen=True, repr=False)
class GaussianNoise(_Noise):
    """Adds Gaussian noise of zero mean, in training.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise.
    limits : pair of float or None, default=None
        Lower and upper limit that the noisy values are clipped to. The gradient passes as if they
        were not clipped. None: no clipping.
    """

    stddev: float
    limits: tuple | None = None

    def _change(self):
        limits = (-np.inf, np.inf) if self.limits is None else self.limits
        return self.stddev, "gaussian_noise", (self.stddev, *limits)


@dataclass(frozen=True, repr=False)
class MaskingNoise(_Noise):
    """Sets each input to zero with probability `rate`, in training; the others are unchanged.

    Parameters
    ----------
    rate : float
        Probability of setting an input to zero, in [0, 1).
    """

    rate: float = field(metadata={"high": 1.0})

    def _change(self):
        return self.rate, "dropout", (int(self.rate * 2**32), 1.0)


@dataclass(frozen=True, repr=False)
class SaltAndPepperNoise(_Noise):
    """Replaces each input by one of two values with probability `rate`, in training.

    Both values are equally likely. The layer is meant for a network's input: the gradient passes as
    if there were no noise.

    Parameters
    ----------
    rate : float
        Probability of replacing an input, in [0, 1).
    limits : pair of float, default=(0.0, 1.0)
        The two values: pepper and salt.
    """

    rate: float = field(metadata={"high": 1.0})
    limits: tuple = (0.0, 1.0)

    def _change(self):
        return self.rate, "salt_and_pepper", (int(self.rate * 2**32), *self.limits)


@dataclass(frozen=True, repr=False)
class GaussianSampling(Layer):
    """Samples from normal distributions: the latent code of a variational autoencoder.

    The first half of the inputs are the means, the second half the log variances. In training the
    layer adds `beta` times the Kullback-Leibler divergence from the standard normal distribution,
    the sum over units of ``(variance + mean ** 2 - 1 - log(variance)) / 2``, to each sample's loss.
    In prediction it returns the means.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence in the sample's loss.

    References
    ----------
    Kingma, D. P. and Welling, M. (2014). Auto-encoding variational Bayes.
    """

    beta: float = 1.0

    def output_shape(self, shape):
        if len(shape) != 1 or shape[0] % 2:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs a vector of as many means as log "
                "variances."
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
