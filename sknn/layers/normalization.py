"""Normalization over the batch, and over neighboring channels."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from ..tape.tape import Parameter
from .base import Layer, image, positions


@dataclass(frozen=True, repr=False)
class BatchNormalization(Layer):
    """Batch normalization (Ioffe and Szegedy, 2015).

    Normalizes each unit, or each channel of an image, to zero mean and unit variance, scales it by
    gamma and shifts it by beta. Training uses the mean and variance of the batch, prediction their
    running averages.

    Parameters
    ----------
    momentum : float, default=0.1
        Weight of the newest batch in the running averages.
    epsilon : float, default=1e-5
        Added to the variance, against division by zero.
    trainable : bool, default=True
        Whether to train the layer. False freezes it, running averages included, and training uses
        these instead of the batch's statistics.
    name : str or None, default=None
        Name of the layer, which its parameters have in files.
    """

    momentum: float = field(default=0.1, metadata={"high": np.nextafter(1.0, 2.0)})
    epsilon: float = 1e-5
    _: KW_ONLY
    trainable: bool = True
    name: str | None = None

    @property
    def for_members(self):
        return not self.trainable  # else its statistics are those of one member's batch

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

            def backward(dy, needed):  # called only where the gradient is needed
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
            # An absorbed relu's gradient is zero where y is, which can be computed from x too.
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
    """Local response normalization, across neighboring channels (Krizhevsky et al., 2012).

    y = x / (k + alpha / size * sum) ^ beta, where sum is the sum of x^2 over the `size` channels
    around the channel, as in PyTorch.

    Parameters
    ----------
    size : int, default=5
        Number of channels in the sum.
    alpha : float, default=1e-4
        Factor of the mean of the squares.
    beta : float, default=0.75
        Exponent of the denominator.
    k : float, default=1.0
        Additive constant of the denominator.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output_shape(self, shape):
        return image(self, shape)

    def forward(self, tape, x, shape, parameters, training):
        numbers = (*positions(shape), self.size, self.alpha, self.beta, self.k)
        tape.keep(x)  # a channel is read again for its neighbors
        y, scale = tape.buffer("y", x.rows), tape.buffer("scale", x.rows)
        tape.keep(y)
        tape.add("local_response", (x,), (y, scale), numbers)

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("local_response_gradient", (x, y, scale, dy), (dx,), numbers)
            return dx

        return y, backward
