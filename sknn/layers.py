"""Layer specifications: plain, comparable objects that hold hyper-parameters only.

A layer can be read whole here: its parameters, its shapes, its forward operations, and, as the
function that `forward` returns, its backward ones.
"""

from dataclasses import dataclass

from .activations import ACTIVATIONS
from .tape import Parameter

__all__ = ["Activation", "BatchNormalization", "Dense", "Dropout"]


class Layer:
    """What every layer has.

    `parameters(inputs, lanes)` returns its parameters for a number of inputs and of the vector's
    lanes; `outputs(inputs)` its number of outputs; `forward(tape, x, parameters, training)` adds
    its operations to a tape and returns the output's buffer and a function that adds the backward
    ones: from the gradient of the output, it returns that of the input (None if `needed` is False).
    """

    def parameters(self, inputs, lanes):
        return ()

    def outputs(self, inputs):
        return inputs


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer, z = w x + b.

    Parameters
    ----------
    units : int
        Number of outputs.
    """

    units: int

    def outputs(self, inputs):
        return self.units

    def parameters(self, inputs, lanes):
        # Two vectors side by side use registers best; one, where the second would be all zeros.
        pack = lanes if -(-self.units // lanes) % 2 else 2 * lanes
        return (
            Parameter("coefs", (inputs, self.units), pack, penalized=True),
            Parameter("intercepts", (self.units,), pack),
        )

    def forward(self, tape, x, parameters, training):
        w, b = parameters
        sizes = (x.rows, self.units)
        if training:
            tape.keep(x)
        z = tape.buffer("z", self.units)
        tape.add("dense", (x, w, b), (z,), sizes, (_tile_rows(self.units), w.pack))

        def backward(dz, needed):
            packed = tape.buffer("packed", self.units)
            tape.add("pack_samples", (dz,), (packed,), (self.units,), (w.pack,))
            rows = _tile_rows(x.rows)
            tape.gradient(w, "weight_gradient", (x, packed), (x.rows,), (rows, w.pack))
            tape.gradient(b, "bias_gradient", (packed,), (), (w.pack,))
            if not needed:
                return None
            dx = tape.buffer("dx", x.rows)
            tape.add("dense_input_gradient", (dz, w), (dx,), sizes, (rows, w.pack))
            return dx

        return z, backward


def _tile_rows(rows):
    """Return how many rows at once a kernel is compiled for, so that few are left over."""
    return rows if rows <= 10 else min((8, 10), key=lambda tile: -rows % tile)


@dataclass(frozen=True)
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

    def forward(self, tape, x, parameters, training):
        row = ACTIVATIONS[self.function]
        if self.function == "identity":
            return x, lambda dy, needed: dy
        if training and row.derivative_of == "input":
            tape.keep(x)
        y = tape.in_place(x, "a")
        if training and row.derivative_of == "output":
            tape.keep(y)
        number = row.parameter if self.parameter is None else self.parameter
        numbers = (x.rows * tape.width, float(number or 0.0))
        if self.function == "softmax":
            tape.add("softmax", (x,), (y,), (x.rows,))
        else:
            tape.add("activation", (x,), (y,), numbers, (self.function,))

        def backward(dy, needed):
            if self.function == "softmax":
                tape.add("softmax_gradient", (y, dy), (dy,), (x.rows,))
            else:
                v = x if row.derivative_of == "input" else y
                tape.add("activation_gradient", (v, dy), (dy,), numbers, (self.function,))
            return dy

        return y, backward


@dataclass(frozen=True)
class Dropout(Layer):
    """Inverted dropout: in training each output is zero with probability `rate`, else scaled up.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1).
    index : int, default=0
        Tells apart the dropout layers of a network: each draws masks of its own.
    """

    rate: float
    index: int = 0

    def forward(self, tape, x, parameters, training):
        if not training or self.rate == 0:
            return x, lambda dy, needed: dy
        numbers = (x.rows, self.index, int(self.rate * 2**32), 1 / (1 - self.rate))
        y = tape.in_place(x, "y")
        tape.add("dropout", (x,), (y,), numbers)

        def backward(dy, needed):
            tape.add("dropout", (dy,), (dy,), numbers)
            return dy

        return y, backward


@dataclass(frozen=True)
class BatchNormalization(Layer):
    """Batch normalisation: each unit to zero mean and unit variance over the batch, then scaled.

    Parameters
    ----------
    momentum : float, default=0.1
        Weight of the newest batch in the running averages that prediction uses.
    epsilon : float, default=1e-5
        Added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def parameters(self, inputs, lanes):
        return (
            Parameter("gamma", (inputs,), lanes),
            Parameter("beta", (inputs,), lanes),
            Parameter("mean", (inputs,), lanes, trainable=False),
            Parameter("variance", (inputs,), lanes, trainable=False),
        )

    def forward(self, tape, x, parameters, training):
        gamma, beta, running_mean, running_variance = parameters
        units = x.rows
        if not training:
            reads = (x, gamma, beta, running_mean, running_variance)
            y = tape.in_place(x, "y")
            tape.add("normalize_running", reads, (y,), (units, self.epsilon))
            return y, None
        tape.keep(x)
        mean = tape.buffer("mean", units, shared=True)
        deviation = tape.buffer("deviation", units, shared=True)
        averages = (mean, deviation, running_mean, running_variance)
        numbers = (self.epsilon, self.momentum)
        tape.add("batch_statistics", (x,), averages, numbers, extent=units)
        y = tape.buffer("y", units)
        tape.add("normalize", (x, mean, deviation, gamma, beta), (y,), (units,))

        def backward(dy, needed):
            dgamma = tape.buffer("dgamma", units, shared=True)
            dbeta = tape.buffer("dbeta", units, shared=True)
            tape.add("normalize_sums", (x, dy, mean, deviation), (dgamma, dbeta), extent=units)
            tape.gradient(gamma, "shared_gradient", (dgamma,))
            tape.gradient(beta, "shared_gradient", (dbeta,))
            dx = tape.buffer("dx", units)
            reads = (x, dy, mean, deviation, gamma, dgamma, dbeta)
            tape.add("normalize_gradient", reads, (dx,), (units,))
            return dx

        return y, backward
