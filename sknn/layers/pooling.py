"""Pooling and upsampling."""

from dataclasses import dataclass

from .activation import Activation
from .base import Layer, describe, image, size
from .checks import check_pair, choice, fail
from .convolution import window


@dataclass(frozen=True, repr=False)
class _Pooling(Layer):
    """Base class of pooling layers: a window that slides over each channel of an image."""

    pool_size: object = 2
    strides: object = None
    padding: object = "valid"

    def __post_init__(self):
        super().__post_init__()
        if self.padding not in ("valid", "same"):
            for around, extent in zip(self.padding, self.pool_size):
                if max(around) >= extent:
                    words = f"less than the pool_size={self.pool_size}: no window may lie in the"
                    fail(self, "padding", f"{words} padding only")

    def _geometry(self, shape):
        """Return output height and width, and the integer arguments of the engine's operations."""
        strides = self.strides or self.pool_size
        outs, before = window(self, image(self, shape), self.pool_size, strides)
        return outs, (*shape, *self.pool_size, *strides, *before, *outs)

    def output_shape(self, shape):
        return (*self._geometry(shape)[0], shape[2])


@dataclass(frozen=True, repr=False)
class MaxPooling2D(_Pooling):
    """Max pooling: the largest value in each window.

    The gradient goes to the first of several equal largest values.

    Parameters
    ----------
    pool_size : int or pair of int, default=2
        Height and width of the window.
    strides : int, pair of int or None, default=None
        Strides along height and width; None: the `pool_size`.
    padding : 'valid', 'same', int or pairs, default='valid'
        As in :class:`Conv2D`, but padded with minus infinity: padding never is the largest value.
    """

    def commutes_with(self, layer):
        return isinstance(layer, Activation) and layer.function == "relu"

    def forward(self, tape, x, shape, parameters, training):
        outs, numbers = self._geometry(shape)
        y = tape.buffer("y", size(outs) * shape[2])
        tape.add("max_pool", (x,), (y,), (*numbers, 0, outs[0]))
        if training:  # the backward pass looks for the position of the largest value
            tape.keep(x)
            tape.keep(y)

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("max_pool_gradient", (x, y, dy), (dx,), numbers)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class AveragePooling2D(_Pooling):
    """Average pooling: the mean of each window, without the padding.

    Parameters
    ----------
    pool_size, strides, padding
        As in :class:`MaxPooling2D`.
    """

    def forward(self, tape, x, shape, parameters, training):
        outs, numbers = self._geometry(shape)
        y = tape.buffer("y", size(outs) * shape[2])
        tape.add("average_pool", (x,), (y,), (*numbers, 0, outs[0]))

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("average_pool_gradient", (dy,), (dx,), numbers)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class GlobalAveragePooling2D(Layer):
    """Global average pooling: the mean of each channel of an image, as a vector."""

    def output_shape(self, shape):
        return (image(self, shape)[2],)

    def forward(self, tape, x, shape, parameters, training):
        return AveragePooling2D(shape[:2]).forward(tape, x, shape, parameters, training)


@dataclass(frozen=True, repr=False)
class UpSampling2D(Layer):
    """Upsamples an image by integer factors.

    Parameters
    ----------
    size : int or pair of int, default=2
        Factors of height and width.
    interpolation : {'nearest', 'bilinear'}, default='nearest'
        Interpolation between pixels. 'bilinear' treats pixels as areas, with their centers at half
        integers (``align_corners=False`` in PyTorch).
    """

    size: object = 2
    interpolation: str = choice("nearest", "bilinear")

    def __post_init__(self):
        super().__post_init__()
        check_pair(self, "size")

    def output_shape(self, shape):
        height, width, channels = image(self, shape)
        return height * self.size[0], width * self.size[1], channels

    def forward(self, tape, x, shape, parameters, training):
        numbers, variant = (*shape, *self.size), (self.interpolation == "bilinear",)
        y = tape.buffer("y", x.rows * size(self.size))
        tape.add("upsample", (x,), (y,), numbers, variant)

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("upsample_gradient", (dy,), (dx,), numbers, variant)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class RepeatVector(Layer):
    """Repeats a vector as a sequence: each time step is the same vector.

    Parameters
    ----------
    steps : int
        Number of time steps.
    """

    steps: int

    def output_shape(self, shape):
        if len(shape) != 1:
            raise ValueError(f"{self} got an input of {describe(shape)}; needs a vector.")
        return (self.steps, *shape)

    def forward(self, tape, x, shape, parameters, training):
        rows = UpSampling2D((self.steps, 1))
        return rows.forward(tape, x, (1, 1, *shape), parameters, training)
