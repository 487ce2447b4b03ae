"""Convolutions and transposed convolutions."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from .base import Layer, describe, image, size
from .checks import fail
from .dense import add_dense
from .weighted import Weighted, add_bias_gradient, add_kernel_gradient


def window(layer, shape, extent, strides, dilation=(1, 1)):
    """Return output height and width, and the padding at the top and left, of a sliding window.

    'same' gives ceil(size / stride) outputs, with the padding split evenly; an odd one is at the
    bottom or right.
    """
    outs, before = [], []
    for i, axis in enumerate(("height", "width")):
        n, stride = shape[i], strides[i]
        span = (extent[i] - 1) * dilation[i] + 1
        if layer.padding == "same":
            total = max((-(-n // stride) - 1) * stride + span - n, 0)
            start, end = total // 2, total - total // 2
        else:
            start, end = (0, 0) if layer.padding == "valid" else layer.padding[i]
        if n + start + end < span:
            padded = f" ({n + start + end} with padding)" if start + end else ""
            raise ValueError(
                f"{layer} got an input of {describe(shape)}{padded}; needs a {axis} of at least "
                f"{span}."
            )
        outs.append((n + start + end - span) // stride + 1)
        before.append(start)
    return tuple(outs), tuple(before)


@dataclass(frozen=True, repr=False)
class _Convolution(Layer):
    """Base class of convolutions and transposed convolutions."""

    filters: int
    kernel_size: object
    strides: object = 1
    padding: object = "valid"
    _: KW_ONLY
    dilation_rate: object = 1

    def output_shape(self, shape):
        return (*self._geometry(shape)[0], self.filters)


@dataclass(frozen=True, repr=False)
class _Grouped(_Convolution):
    _: KW_ONLY
    groups: int = 1


@dataclass(frozen=True, repr=False)
class Conv2D(Weighted, _Grouped):
    """A two-dimensional convolution (strictly a cross-correlation, as is usual).

    Its kernel has the shape (kernel height, kernel width, channels / groups, filters).

    On the CPU, windows of 3x3 with strides of 1 are computed by Winograd's algorithm where that is
    faster. Its results differ from direct sums by rounding errors that are less than four times as
    large as those of the sums themselves. With ``SKNN_DIRECT_CONVOLUTIONS=1`` in the environment
    when sknn is imported, all convolutions are direct sums.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or pair of int
        Height and width of the kernel.
    strides : int or pair of int, default=1
        Strides along height and width.
    padding : 'valid', 'same', int or pairs, default='valid'
        Zero padding: none ('valid'); such that the output has the size ceil(size / stride)
        ('same'); or given, as one int for all sides, as (height, width), or as
        ((top, bottom), (left, right)).
    dilation_rate : int or pair of int, default=1
        Distance between neighboring elements of the kernel; 1: no dilation.
    groups : int, default=1
        Number of groups that the channels are split into, each convolved with its own filters.
    activation : str, Activation or None, default=None
        Activation function of the outputs; None: linear.
    use_bias : bool, default=True
        Whether to add a bias.
    kernel_initializer, bias_initializer, kernel_rate, bias_rate, parametrization, kernel_l1, \
kernel_l2, activity_l1, activity_l2, trainable, name
        As in :class:`Dense`.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.filters % self.groups:
            fail(self, "groups", f"a divisor of filters={self.filters}")

    def _geometry(self, shape):
        """Return output height and width, and the integer arguments of the engine's operations."""
        if image(self, shape)[2] % self.groups:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs channels divisible into "
                f"{self.groups} groups."
            )
        outs, before = window(self, shape, self.kernel_size, self.strides, self.dilation_rate)
        numbers = (
            *shape, self.filters, *self.kernel_size, *self.strides, *before, *self.dilation_rate,
            self.groups, *outs,
        )  # fmt: skip
        return outs, numbers

    def _kernel_shape(self, shape):
        return (*self.kernel_size, shape[2] // self.groups, self.filters)

    def operations(self, shape):
        return size(self._geometry(shape)[0]) * size(self._kernel_shape(shape))

    def _fans(self, kernel):
        return size(kernel[:3]), size(kernel[:2]) * self.filters // self.groups

    def _sees_all(self, shape, numbers):
        """Whether its only window is the whole image: it is then a fully connected layer."""
        *_, groups, height, width = numbers
        return (
            (height, width, groups) == (1, 1, 1)
            and self.kernel_size == shape[:2]
            and numbers[8:10] == (0, 0)  # no padding before
            and all(d == 1 or k == 1 for d, k in zip(self.dilation_rate, self.kernel_size))
        )

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        outs, numbers = self._geometry(shape)
        if self._sees_all(shape, numbers):
            return add_dense(tape, x, 1, size(shape), self.filters, w, b, training)
        if training and w.trainable:
            tape.keep(x)
        z = tape.buffer("z", size(outs) * self.filters)
        each = self.filters // self.groups
        name = "convolution" if b else "convolution_unbiased"
        reads = (x, w, b) if b else (x, w)
        tape.add(name, reads, (z,), (*numbers, 0, outs[0]), (tape.packing.tile(each), w.pack))

        def backward(dz, needed):
            tape.keep(dz)  # the kernel's gradient is computed when the blocks are done
            if w.trainable:
                packed = add_kernel_gradient(tape, w, x, dz, numbers)
                if b:
                    add_bias_gradient(tape, b, dz, size(outs), self.filters, packed)
            if not needed:
                return None
            dx = tape.buffer("dx", x.rows)
            variant = (tape.packing.tile(shape[2] // self.groups), w.pack)
            tape.add("convolution_input_gradient", (dz, w), (dx,), numbers, variant)
            return dx

        return z, backward


@dataclass(frozen=True, repr=False)
class Conv2DTranspose(Weighted, _Convolution):
    """A transposed convolution: the gradient of a convolution with respect to its input.

    Its kernel has the shape (kernel height, kernel width, filters, channels).

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or pair of int
        Height and width of the kernel.
    strides : int or pair of int, default=1
        Strides along height and width, over the output.
    padding : 'valid', 'same', int or pairs, default='valid'
        How much of the output is cropped: nothing ('valid'); as much as makes its size the input's
        size times the stride ('same'); or given, as in :class:`Conv2D`.
    dilation_rate : int or pair of int, default=1
        Distance between neighboring elements of the kernel; 1: no dilation.
    activation, use_bias, kernel_initializer, bias_initializer, kernel_rate, bias_rate, \
parametrization, kernel_l1, kernel_l2, activity_l1, activity_l2, trainable, name
        As in :class:`Conv2D`.
    """

    _tiled = False

    def _geometry(self, shape):
        """Return output height and width, and the arguments of the convolution it transposes."""
        outs, before = [], []
        for i, n in enumerate(image(self, shape)[:2]):
            stride = self.strides[i]
            span = (self.kernel_size[i] - 1) * self.dilation_rate[i] + 1
            if self.padding == "same":
                out, cut = n * stride, max(span - stride, 0)
                start = cut // 2
            else:
                start, end = (0, 0) if self.padding == "valid" else self.padding[i]
                out = (n - 1) * stride + span - start - end
            if out < 1:
                raise ValueError(
                    f"{self} got an input of {describe(shape)}; its padding crops all the output."
                )
            outs.append(out)
            before.append(start)
        numbers = (
            *outs, self.filters, shape[2], *self.kernel_size, *self.strides, *before,
            *self.dilation_rate, 1, *shape[:2],
        )  # fmt: skip
        return tuple(outs), numbers

    def operations(self, shape):
        return size(shape) * size(self.kernel_size) * self.filters

    def _kernel_shape(self, shape):
        return (*self.kernel_size, self.filters, shape[2])

    def divided(self, kernel, numbers):
        return kernel / numbers[:, np.newaxis]

    def _fans(self, kernel):
        # of the kernel, only every stride-th element contributes to an output
        fan_in = max(size(kernel) // self.filters // size(self.strides), 1)
        return fan_in, size(kernel[:2]) * self.filters

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        outs, numbers = self._geometry(shape)
        if training and w.trainable:
            tape.keep(x)
        z = tape.buffer("z", size(outs) * self.filters)
        variant = (tape.packing.tile(self.filters), w.pack)
        tape.add("convolution_input_gradient", (x, w), (z,), numbers, variant)
        if b:
            tape.add("add_bias", (z, b), (z,), (size(outs), self.filters))

        def backward(dz, needed):
            tape.keep(dz)  # the kernel's gradient is computed when the blocks are done
            if w.trainable:
                add_kernel_gradient(tape, w, dz, x, numbers)
                if b:
                    add_bias_gradient(tape, b, dz, size(outs), self.filters, None)
            if not needed:
                return None
            dx = tape.buffer("dx", x.rows)
            variant = (tape.packing.tile(shape[2]), w.pack)
            attributes = (*numbers, 0, shape[0])
            tape.add("convolution_unbiased", (dz, w), (dx,), attributes, variant)
            return dx

        return z, backward
