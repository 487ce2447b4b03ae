"""Pooling, and its opposite."""

from dataclasses import dataclass

from .activation import Activation
from .base import Layer, describe, image, size
from .checks import check_pair, choice, fail
from .convolution import window


@dataclass(frozen=True, repr=False)
class _Pooling(Layer):
    """What pools share: a window that goes over each channel of an image."""

    pool_size: object = 2
    strides: object = None
    padding: object = "valid"

    def __post_init__(self):
        super().__post_init__()
        if self.padding not in ("valid", "same"):
            for around, extent in zip(self.padding, self.pool_size):
                if max(around) >= extent:
                    words = f"less than the pool_size={self.pool_size}: a window would see nothing"
                    fail(self, "padding", f"{words} else")

    def _geometry(self, shape):
        """Return output height and width, and the numbers of the engine's operations."""
        strides = self.strides or self.pool_size
        outs, before = window(self, image(self, shape), self.pool_size, strides)
        return outs, (*shape, *self.pool_size, *strides, *before, *outs)

    def output_shape(self, shape):
        return (*self._geometry(shape)[0], shape[2])


@dataclass(frozen=True, repr=False)
class MaxPooling2D(_Pooling):
    """The largest value in a window. Of equal ones, the first takes the gradient.

    Parameters
    ----------
    pool_size : int or pair of int, default=2
        Height and width of the window.
    strides : int, pair of int or None, default=None
        Steps of the window; None: its size.
    padding : 'valid', 'same', int or pairs, default='valid'
        As in :class:`Conv2D`; what lies outside of the image is never the largest.
    """

    def commutes_with(self, layer):
        return isinstance(layer, Activation) and layer.function == "relu"

    def forward(self, tape, x, shape, parameters, training):
        outs, numbers = self._geometry(shape)
        y = tape.buffer("y", size(outs) * shape[2])
        tape.add("max_pool", (x,), (y,), (*numbers, 0, outs[0]))
        if training:  # the gradient looks for where the largest came from
            tape.keep(x)
            tape.keep(y)

        def backward(dy, needed):
            dx = tape.buffer("dx", x.rows)
            tape.add("max_pool_gradient", (x, y, dy), (dx,), numbers)
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class AveragePooling2D(_Pooling):
    """The mean of a window, of what lies inside of the image.

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
    """The mean of each channel: an image becomes a row of numbers."""

    def output_shape(self, shape):
        return (image(self, shape)[2],)

    def forward(self, tape, x, shape, parameters, training):
        return AveragePooling2D(shape[:2]).forward(tape, x, shape, parameters, training)


@dataclass(frozen=True, repr=False)
class UpSampling2D(Layer):
    """Enlarges an image by whole factors.

    Parameters
    ----------
    size : int or pair of int, default=2
        Factors of height and width.
    interpolation : {'nearest', 'bilinear'}, default='nearest'
        'bilinear' takes pixels as areas: their centers lie at halves.
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
    """A row of numbers as a sequence of which each step is that row.

    Parameters
    ----------
    steps : int
        How often.
    """

    steps: int

    def output_shape(self, shape):
        if len(shape) != 1:
            raise ValueError(f"{self} got an input of {describe(shape)}; needs a row of units.")
        return (self.steps, *shape)

    def forward(self, tape, x, shape, parameters, training):
        rows = UpSampling2D((self.steps, 1))
        return rows.forward(tape, x, (1, 1, *shape), parameters, training)
