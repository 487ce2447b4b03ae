"""Fully connected layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from .base import Layer, describe, positions, size
from .checks import MOST, fail
from .weighted import Weighted, add_bias_gradient, add_gradient_over_time, transpose


def add_dense(tape, x, places, inputs, units, w, b, training, over_time=False):
    """Put z = w x + b, at each of `places` positions, on a tape.

    Return the output and the backward function. The latter also takes dz transposed, if that has
    been computed already.
    """
    sizes = (inputs, units, places)
    if training and w.trainable:
        tape.keep(x)
    z = tape.buffer("z", places * units)
    reads = (x, w) if b is None else (x, w, b)
    name = "dense_unbiased" if b is None else "dense"
    tape.add(name, reads, (z,), sizes, (tape.packing.tile(units), w.pack))

    def backward(dz, needed, packed=None):
        rows = tape.packing.tile(inputs)
        if w.trainable:
            if over_time or places > 1:
                tape.keep(dz)  # the gradients are computed when the blocks are done
                packed = add_gradient_over_time(tape, w, x, dz, places, packed)
            else:
                packed = transpose(tape, dz, 1, units, units, w.pack)
                variant = (rows, w.pack)
                tape.gradient(w, "weight_gradient", (x, packed), (inputs,), variant, grain=rows)
            if b is not None:
                add_bias_gradient(tape, b, dz, places, units, packed)
        if not needed:
            return None
        dx = tape.buffer("dx", places * inputs)
        tape.add("dense_input_gradient", (dz, w), (dx,), sizes, (rows, w.pack))
        return dx

    return z, backward


@dataclass(frozen=True, repr=False)
class Dense(Weighted):
    """A fully connected layer, z = w x + b.

    An image is flattened. For a sequence (time, features), the layer is applied to each time step.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str, Activation or None, default=None
        Activation function of the outputs; None: linear.
    use_bias : bool, default=True
        Whether to add the bias b.
    kernel_initializer : str or None, default=None
        Initializer of the weights; None: the estimator's `initializer`. 'data_dependent' divides
        normal random weights such that each unit's outputs have a standard deviation of 1 over the
        training data (over its first rows, at most 16,384), before bias and activation.
    bias_initializer : str or None, default=None
        'zeros', or 'data_dependent': minus a random convex combination of the outputs for five
        random rows of the training data. None: 'data_dependent' if that is the estimator's
        `initializer`, otherwise 'zeros'.
    kernel_rate, bias_rate : float, default=1.0
        Factors of the learning rate of the weights and of the bias, for minibatch solvers.
    parametrization : {'standard', 'neural_tangent'}, default='standard'
        What minibatch solvers train: the weights w, or, with 'neural_tangent', v = w sqrt(inputs).
        Then a step's length does not depend on the number of inputs. The weights are always given
        and stored as w, which penalties apply to; clipping applies to the gradient of v.
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on this layer's weights, instead of the estimator's `l1` and `alpha`.
    activity_l1, activity_l2 : float, default=0.0
        Penalties on the outputs: `activity_l1` times the sum of their absolute values, and half of
        `activity_l2` times the sum of their squares, per sample.
    trainable : bool, default=True
        Whether to train the layer; False freezes it.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    units: int

    def _split(self, shape):
        """Return the number of positions it is applied to, and the inputs of each."""
        return positions(shape) if len(shape) == 2 else (1, size(shape))

    def output_shape(self, shape):
        return (*shape[:-1], self.units) if len(shape) == 2 else (self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def _kernel_shape(self, shape):
        return self._split(shape)[1], self.units

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        places, inputs = self._split(shape)
        if self.name is not None and places == 1:
            tape.call(w, self.name)
        return add_dense(tape, x, places, inputs, self.units, w, b, training)


@dataclass(frozen=True, repr=False)
class Reshape(Layer):
    """Reshapes the input, in the order (height, width, channels).

    Parameters
    ----------
    shape : tuple of int
        The output shape: (units,), (time, units) or (height, width, channels).
    """

    shape: Sequence[int]

    keeps_numbers = True

    def __post_init__(self):
        shape = self.shape
        good = isinstance(shape, (tuple, list)) and all(isinstance(n, Integral) for n in shape)
        if not good or not 1 <= len(shape) <= 3 or min(shape) < 1 or max(shape) > MOST:
            fail(self, "shape", f"one to three int from 1 to {MOST}")
        object.__setattr__(self, "shape", tuple(map(int, shape)))

    def output_shape(self, shape):
        if size(shape) != size(self.shape):
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs {size(self.shape)} numbers."
            )
        return self.shape


@dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """Flattens an image or a sequence to a vector, in the order (height, width, channels)."""

    keeps_numbers = True

    def output_shape(self, shape):
        return (size(shape),)
