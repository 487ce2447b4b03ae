"""Normalisation over the batch, and over neighbouring channels."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from ..tape.tape import Parameter
from .base import Layer, image, positions


@dataclass(frozen=True, repr=False)
class BatchNormalization(Layer):
    """Batch normalisation: each unit, or channel of an image, to zero mean and unit variance.

    Over the batch in training, then scaled by gamma and shifted by beta; prediction uses running
    averages (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    momentum : float, default=0.1
        Weight of the newest batch in the running averages that prediction uses.
    epsilon : float, default=1e-5
        Added to the variance.
    trainable : bool, default=True
        False: training leaves it as it is, running averages included, and uses them.
    name : str or None, default=None
        What its parameters are called in a file.
    """

    momentum: float = field(default=0.1, metadata={"high": np.nextafter(1.0, 2.0)})
    epsilon: float = 1e-5
    _: KW_ONLY
    trainable: bool = True
    name: str | None = None

    def parameters(self, shape):
        learned = dict.fromkeys(("gamma", "beta"), self.trainable)
        found = dict.fromkeys(("mean", "variance"), False)
        return tuple(
            Parameter(name, (shape[-1],), trainable=trainable, tiled=False)
            for name, trainable in (learned | found).items()
        )

    def draw(self, shape, random_state, initializer, last=False):
        ones, zeros = np.ones(shape[-1]), np.zeros(shape[-1])
        return [ones, zeros, zeros.copy(), ones.copy()]

    def forward(self, tape, x, shape, parameters, training):
        gamma, beta, running_mean, running_variance = (next(parameters) for _ in range(4))
        sizes = positions(shape)
        if not training or not self.trainable:
            reads = (x, gamma, beta, running_mean, running_variance)
            y = tape.in_place(x, "y")
            tape.add("normalize_running", reads, (y,), (*sizes, self.epsilon), (False,))

            def backward(dy, needed):  # asked for only where the gradient is needed
                dx = tape.in_place(dy, "dx")
                reads = (dy, gamma, running_variance)
                tape.add("normalize_running_gradient", reads, (dx,), (*sizes, self.epsilon))
                return dx

            return y, backward
        tape.keep(x)
        units = shape[-1]
        mean = tape.buffer("mean", units, shared=True)
        deviation = tape.buffer("deviation", units, shared=True)
        averages = (mean, deviation, running_mean, running_variance)
        numbers = (*sizes, self.epsilon, self.momentum)
        tape.add("batch_statistics", (x,), averages, numbers, extent=units)
        y = tape.buffer("y", x.rows)
        reads = (x, mean, deviation, gamma, beta)
        normalized = tape.add("normalize", reads, (y,), sizes, (False,))

        def backward(dy, needed):
            # Relu's gradient, where that has been absorbed, is zero where y is, which x tells too.
            relu, dy = tape.take_back_relu(normalized, dy)
            dgamma = tape.buffer("dgamma", units, shared=True)
            dbeta = tape.buffer("dbeta", units, shared=True)
            reads, sums = (x, dy, mean, deviation, gamma, beta), (dgamma, dbeta)
            tape.add("normalize_sums", reads, sums, sizes, (relu,), extent=units)
            tape.gradient(gamma, "shared_gradient", (dgamma,))
            tape.gradient(beta, "shared_gradient", (dbeta,))
            if not needed:
                return None
            dx = tape.in_place(dy, "dx")
            tape.add("normalize_gradient", (*reads, *sums), (dx,), sizes, (relu,))
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class LocalResponseNormalization(Layer):
    """Divides each channel by a power of the energy of its neighbours (Krizhevsky et al., 2012).

    y = x / (k + alpha / size * the sum of x^2 over `size` channels around it) ^ beta, as in
    PyTorch.

    Parameters
    ----------
    size : int, default=5
        Channels in the sum.
    alpha, beta, k : float
        The constants of the formula.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output_shape(self, shape):
        return image(self, shape)

    def forward(self, tape, x, shape, parameters, training):
        numbers = (*positions(shape), self.size, self.alpha, self.beta, self.k)
        tape.keep(x)  # a channel is read again for its neighbours
        y, scale = tape.buffer("y", x.rows), tape.buffer("scale", x.rows)
        tape.keep(y)
        tape.add("local_response", (x,), (y, scale), numbers)

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("local_response_gradient", (x, y, scale, dy), (dx,), numbers)
            return dx

        return y, backward
