"""Layers that share the weights of another layer, which they refer to by its name."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ..tape.activations import ACTIVATIONS
from ..tape.tape import Parameter
from .activation import Activation
from .base import Layer, size
from .checks import check_choice, fail
from .weighted import add_bias_gradient, transpose

#: The activations whose derivative is a function of their output, as the penalty needs it.
CONTRACTED = ("identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus")


def _find(layer, tape, shape):
    """Return the weights, of shape (inputs, units), that a layer uses."""
    w = tape.called(layer.of)
    if w is None:
        raise ValueError(
            f"{layer} uses the weights of {layer.of!r}; expected the name of an earlier Dense "
            "layer that is not applied to a sequence."
        )
    if w.shape[-1] != size(shape):
        raise ValueError(
            f"{layer} got an input of {size(shape)} units; needs {w.shape[-1]}, as many as "
            f"{layer.of!r} has outputs."
        )
    return w


@dataclass(frozen=True, repr=False)
class TiedDense(Layer):
    """A fully connected layer with tied weights: the transposed weights of an earlier layer.

    Parameters
    ----------
    of : str
        Name of the earlier layer, a :class:`Dense` that is not applied to a sequence.
    units : int
        Number of outputs, which is the number of that layer's inputs.
    use_bias : bool, default=True
        Whether to add a bias, which is not shared.
    trainable : bool, default=True
        Whether to train the bias; the weights belong to the earlier layer.
    name : str or None, default=None
        Name of the layer, which its bias has in files.
    """

    of: str
    units: int
    _: KW_ONLY
    use_bias: bool = True
    trainable: bool = True
    name: str | None = None

    def output_shape(self, shape):
        return (self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def parameters(self, shape):
        bias = Parameter("bias", (self.units,), trainable=self.trainable, tiled=False)
        return (bias,) * self.use_bias

    def draw(self, shape, random_state, initializer, last=False):
        return [np.zeros(self.units)] * self.use_bias

    def forward(self, tape, x, shape, parameters, training):
        w = _find(self, tape, shape)
        if w.shape[:-1] != (self.units,):
            raise ValueError(f"{self} has {self.units} units; {self.of!r} has {w.inputs} inputs.")
        if training and w.trainable:
            tape.share(w)
        b = next(parameters) if self.use_bias else None
        hidden, inputs = w.shape[-1], self.units
        if training:
            tape.keep(x)
        z = tape.buffer("z", inputs)
        numbers = (inputs, hidden, 1)
        tape.add("dense_input_gradient", (x, w), (z,), numbers, (tape.packing.tile(inputs), w.pack))
        if b:
            tape.add("add_bias", (z, b), (z,), (1, inputs))

        def backward(dz, needed):
            tape.keep(dz)  # gradients of weights are computed when the blocks are done
            if w.trainable:
                packed = transpose(tape, x, 1, hidden, hidden, w.pack)
                variant = (tape.packing.tile(inputs), w.pack)
                tape.gradient(w, "weight_gradient", (dz, packed), (inputs,), variant)
            if b and b.trainable:
                add_bias_gradient(tape, b, dz, 1, inputs, None)
            if not needed:
                return None
            dx = tape.buffer("dx", x.rows)
            variant = (tape.packing.tile(hidden), w.pack)
            tape.add("dense_unbiased", (dz, w), (dx,), numbers, variant)
            return dx

        return z, backward


@dataclass(frozen=True, repr=False)
class ContractivePenalty(Layer):
    """The contractive penalty on an earlier layer (Rifai et al., 2011); the input is unchanged.

    In training it adds `strength` times the squared Frobenius norm of the Jacobian of that layer's
    activations with respect to its inputs to each sample's loss. Place it right after the layer's
    activation.

    Parameters
    ----------
    of : str
        Name of the earlier layer, a :class:`Dense` that is not applied to a sequence.
    activation : str or Activation
        Activation function of that layer: 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu',
        'elu' or 'softplus'.
    strength : float
        Weight of the penalty in the sample's loss.
    """

    of: str
    activation: object
    strength: float

    def __post_init__(self):
        super().__post_init__()
        given = self.activation
        if not isinstance(given, Activation):
            check_choice(self, "activation", CONTRACTED)
            object.__setattr__(self, "activation", Activation(given))
        check_choice(self, "activation", CONTRACTED, self.activation.function)
        number = self.activation.parameter
        if number is not None and number <= 0 and ACTIVATIONS[self.activation.function].parameter:
            fail(
                self, "activation",
                "a parameter greater than 0, so that the derivative follows from the output",
            )  # fmt: skip

    def forward(self, tape, x, shape, parameters, training):
        if not training:
            return x, lambda dy, needed: dy
        tape.keep(x)
        w, weights = _find(self, tape, shape), tape.weights()
        units = w.shape[-1]
        norms = tape.buffer("norms", units, shared=True)
        packs = -(-units // w.pack)
        tape.add("column_norms", (w,), (norms,), (w.inputs,), (w.pack,), extent=packs)

        def backward(dy, needed):
            dx, factors = tape.in_place(dy, "dx"), tape.buffer("factors", units)
            numbers = (units, self.strength, self.activation.number)
            reads, variant = (x, norms, weights, dy), (self.activation.function,)
            tape.add("contraction", reads, (factors, dx), numbers, variant)
            if w.trainable:
                sums = tape.buffer("sums", units, shared=True)
                tape.add("unit_sums", (factors,), (sums,), (units,), extent=units)
                numbers = (w.inputs, 2 * self.strength)
                tape.add_to_gradient(w, "add_weights", (sums,), numbers, (w.pack,))
            return dx

        return x, backward
