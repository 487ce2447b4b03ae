"""The base class of layers with a kernel: its parameters, and how gradients are computed."""

from dataclasses import KW_ONLY, dataclass, field, replace

import numpy as np

from ..tape.activations import ACTIVATIONS
from ..tape.tape import Parameter
from .activation import Activation, ActivityRegularization
from .base import Layer, size
from .checks import check_choice, choice
from .initializers import ADAPTED, draw_kernel


def matrix(layer, name, shape, **more):
    """Return a parameter of a layer that the layer's penalties on kernels apply to."""
    penalties = {"penalized": True, "l1": layer.kernel_l1, "l2": layer.kernel_l2}
    return Parameter(name, shape, trainable=layer.trainable, **penalties, **more)


@dataclass(frozen=True, repr=False)
class Weighted(Layer):
    """Base class of layers with a kernel, a bias and an activation."""

    _: KW_ONLY
    activation: object = None
    use_bias: bool = True
    kernel_initializer: str | None = field(default=None, metadata={"options": {None, *ADAPTED}})
    bias_initializer: str | None = None
    kernel_rate: float = 1.0
    bias_rate: float = 1.0
    parametrization: str = choice("standard", "neural_tangent")
    kernel_l1: float | None = None
    kernel_l2: float | None = None
    activity_l1: float = 0.0
    activity_l2: float = 0.0
    trainable: bool = True
    name: str | None = None

    #: Whether the bias has the same layout as the kernel's units.
    _tiled = True

    def __post_init__(self):
        super().__post_init__()
        given = getattr(self.activation, "function", self.activation)
        if given is not None:
            check_choice(self, "activation", set(ACTIVATIONS) - {"step"}, given)

    def following(self):
        """Return its activation, and the penalty on the activation's output."""
        layers = []
        if self.activation is not None:
            given = isinstance(self.activation, Activation)
            layers.append(self.activation if given else Activation(self.activation))
        if self.activity_l1 or self.activity_l2:
            layers.append(ActivityRegularization(self.activity_l1, self.activity_l2))
        return tuple(layers)

    def _fans(self, kernel):
        """Return fan-in and fan-out for the shape of a kernel."""
        return kernel

    def parameters(self, shape):
        sizes = self._kernel_shape(shape)
        scale = 1.0
        if self.parametrization == "neural_tangent":
            scale = 1.0 / np.sqrt(self._fans(sizes)[0])
        kernel = matrix(self, "kernel", sizes, rate=self.kernel_rate, scale=float(scale))
        how = {"trainable": self.trainable, "tiled": self._tiled, "rate": self.bias_rate}
        bias = Parameter("bias", self.output_shape(shape)[-1:], **how)
        return (kernel, bias) if self.use_bias else (kernel,)

    def draw(self, shape, random_state, initializer, last=False):
        kernel, *biases = (p.shape for p in self.parameters(shape))
        initializer = self.kernel_initializer or initializer
        first = draw_kernel(initializer, random_state, kernel, *self._fans(kernel), last)
        return [first, *map(np.zeros, biases)]

    def adapts(self, initializer):
        """Return whether the initial kernel, and the bias, depend on data.

        `initializer` is the estimator's.
        """
        kernel = (self.kernel_initializer or initializer) == "data_dependent"
        bias = (self.bias_initializer or initializer) == "data_dependent"
        return kernel, bias and self.use_bias

    def linear(self):
        """Return the layer without what follows it."""
        return replace(self, activation=None, activity_l1=0.0, activity_l2=0.0)

    def divided(self, kernel, numbers):
        """Return a kernel divided by numbers, one for each of the layer's units or channels."""
        return kernel / numbers


def add_gradient_over_time(tape, w, x, dz, steps, transposed=None):
    """Put on a tape the gradient of a matrix that is applied at each time step.

    It is the gradient of a convolution along one row; arguments and return value are the same as
    those of :func:`add_kernel_gradient`.
    """
    if not w.trainable:
        return transposed
    numbers = (1, steps, *w.shape, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, steps)
    return add_kernel_gradient(tape, w, x, dz, numbers, transposed)


def add_kernel_gradient(tape, w, x, dz, numbers, transposed=None):
    """Put on a tape the gradient of a convolution's kernel.

    Many filters are computed side by side in a SIMD vector, from transposed gradients; few filters,
    or groups that share a vector, are computed one by one over the samples.

    Parameters
    ----------
    tape : Tape
    w : Parameter
    x, dz : Buffer
        The input of the convolution, and the gradient of its output.
    numbers : tuple
        The convolution's integer arguments.
    transposed : Buffer or None
        dz transposed, if that has been computed already.

    Returns
    -------
    transposed : Buffer or None
        dz transposed, if it was needed.
    """
    filters, groups, work = numbers[3], numbers[12], size(numbers[13:15])
    inputs = numbers[2] // groups
    # weights that are adjacent in memory, and read adjacent inputs
    run = numbers[5] * inputs if groups == 1 and numbers[11] == 1 else inputs
    packing = tape.packing
    if packing.is_narrow(filters, w.pack) or groups > 1 and filters // groups % w.pack:
        rows, depth = packing.narrow_tile(filters // groups, run)
        variant = (rows, depth, w.pack)
        tape.gradient(w, "kernel_gradient_narrow", (x, dz), numbers, variant, work, depth)
        return transposed
    if transposed is None:
        transposed = transpose(tape, dz, work, filters, filters, w.pack)
    rows = packing.tile(run)
    tape.gradient(w, "kernel_gradient", (x, transposed), numbers, (rows, w.pack), work, rows)
    return transposed


def transpose(tape, dz, positions, units, stride, pack):
    """Put the transposition of gradients on a tape; return the transposed buffer."""
    packed = tape.buffer("packed", positions * -(-units // pack) * pack)
    tape.add("pack_samples", (dz,), (packed,), (positions, units, stride), (pack,))
    return packed


def add_bias_gradient(tape, b, dz, positions, units, transposed):
    """Put on a tape the gradient of a bias: from transposed gradients, if there are any."""
    if transposed is None:
        tape.gradient(b, "channel_sums", (dz,), (positions, units), (), positions)
    else:
        tape.gradient(b, "bias_gradient", (transposed,), (positions, units), (b.pack,), positions)
