"""Fully connected layers."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ..activations import ACTIVATIONS
from ..initializers import draw_kernel
from ..tape import Parameter
from .activation import Activation, ActivityRegularization
from .base import Layer, check_choice, check_count, check_weighted, size


class Weighted(Layer):
    """What layers with a kernel, a bias and an activation share."""

    def _check(self):
        """Check the parameters that all of them have."""
        check_weighted(self)
        given = self.activation
        if isinstance(given, Activation):
            given = given.function
        if given is not None:
            check_choice(self, "activation", set(ACTIVATIONS) - {"step"}, given)

    @property
    def learns(self):
        return self.trainable

    def following(self):
        """Return its activation, and the penalty on what that gives."""
        layers = []
        if self.activation is not None:
            given = isinstance(self.activation, Activation)
            layers.append(self.activation if given else Activation(self.activation))
        if self.activity_l1 or self.activity_l2:
            layers.append(ActivityRegularization(self.activity_l1, self.activity_l2))
        return tuple(layers)

    def _kernel(self, shape, pack):
        return Parameter(
            "kernel", shape, pack, self.trainable, True, self.kernel_l1, self.kernel_l2
        )

    def _bias(self, units, pack):
        return (Parameter("bias", (units,), pack, self.trainable),) if self.use_bias else ()

    def _draw(self, input_shape, kernel_shape, fans, random_state, initializer, last):
        """Return the first kernel, and a bias of zeros."""
        initializer = self.kernel_initializer or initializer
        kernel = draw_kernel(initializer, random_state, kernel_shape, *fans, last)
        bias = [p for p in self.parameters(input_shape, 1) if p.name == "bias"]
        return [kernel, *(np.zeros(p.shape) for p in bias)]


def pack_width(units, lanes):
    """Return how many units lie side by side.

    Two vectors use registers best; one, where the second would be all zeros.
    """
    return lanes if -(-units // lanes) % 2 else 2 * lanes


def tile_rows(rows):
    """Return how many rows at once a kernel is compiled for, so that few are left over."""
    return rows if rows <= 10 else min((8, 10), key=lambda tile: -rows % tile)


def add_dense(tape, x, inputs, units, w, b, training):
    """Put z = w x + b on a tape; return the output and the backward function."""
    sizes = (inputs, units)
    if training and w.trainable:
        tape.keep(x)
    z = tape.buffer("z", units)
    reads = (x, w) if b is None else (x, w, b)
    name = "dense_unbiased" if b is None else "dense"
    tape.add(name, reads, (z,), sizes, (tile_rows(units), w.pack))

    def backward(dz, needed):
        rows = tile_rows(inputs)
        if w.trainable:
            packed = tape.buffer("packed", units)
            tape.add("pack_samples", (dz,), (packed,), (1, units), (w.pack,))
            tape.gradient(w, "weight_gradient", (x, packed), (inputs,), (rows, w.pack))
            if b is not None:
                tape.gradient(b, "bias_gradient", (packed,), (1, units), (w.pack,))
        if not needed:
            return None
        dx = tape.buffer("dx", inputs)
        tape.add("dense_input_gradient", (dz, w), (dx,), sizes, (rows, w.pack))
        return dx

    return z, backward


@dataclass(frozen=True, repr=False)
class Dense(Weighted):
    """A fully connected layer, z = w x + b; an image is taken as a row of numbers.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str, Activation or None, default=None
        What is applied to the outputs.
    use_bias : bool, default=True
        Whether there is a b.
    kernel_initializer : str or None, default=None
        How the weights begin; None: as the estimator's `initializer` says.
    kernel_l1, kernel_l2 : float or None, default=None
        Penalties of this layer's weights, in place of the estimator's `l1` and `alpha`.
    activity_l1, activity_l2 : float, default=0.0
        Penalties of its outputs: `activity_l1` times the sum of their sizes, and half of
        `activity_l2` times the sum of their squares, for each sample.
    trainable : bool, default=True
        False: training leaves it as it is.
    name : str or None, default=None
        What its weights are called in a file.
    """

    units: int
    _: KW_ONLY
    activation: object = None
    use_bias: bool = True
    kernel_initializer: str | None = None
    kernel_l1: float | None = None
    kernel_l2: float | None = None
    activity_l1: float = 0.0
    activity_l2: float = 0.0
    trainable: bool = True
    name: str | None = None

    def __post_init__(self):
        check_count(self, "units")
        self._check()

    def output_shape(self, shape):
        return (self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def parameters(self, shape, lanes):
        pack = pack_width(self.units, lanes)
        return (self._kernel((size(shape), self.units), pack), *self._bias(self.units, pack))

    def draw(self, shape, random_state, initializer, last=False):
        kernel = (size(shape), self.units)
        return self._draw(shape, kernel, kernel, random_state, initializer, last)

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        return add_dense(tape, x, size(shape), self.units, w, b, training)


@dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """An image as a row of numbers, in the order (height, width, channels)."""

    def output_shape(self, shape):
        return (size(shape),)

    def forward(self, tape, x, shape, parameters, training):
        return x, lambda dy, needed: dy
