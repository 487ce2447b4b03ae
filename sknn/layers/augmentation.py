"""Random changes of the images in training, anew in every step; prediction sees them unchanged.

They come before anything that learns, as no gradient passes them.
"""

from dataclasses import dataclass, field

from .base import Layer, describe, image, size
from .checks import choice


class Augmentation(Layer):
    """An image read at a random place, or mirrored; zeros where it ends."""

    def _change(self, shape):
        """Return lowest offset and number of offsets in height, then in width, then the flips."""
        raise NotImplementedError

    def output_shape(self, shape):
        return image(self, shape)

    def forward(self, tape, x, shape, parameters, training):
        index = tape.next_random()
        out = self.output_shape(shape)
        change = self._change(shape) if training else self._still(shape)
        if not training and out == shape:
            return x, None
        y = tape.buffer("x", size(out))
        tape.add("augment", (x,), (y,), (*shape, *out[:2], index, *change))

        def backward(dy, needed):
            if needed:
                raise ValueError(f"{self} comes after a layer that learns; it must come before.")

        return y, backward

    def _still(self, shape):
        return (0, 1, 0, 1, 0, 0)


@dataclass(frozen=True, repr=False)
class RandomFlip(Augmentation):
    """Mirrors every second image, by chance.

    Parameters
    ----------
    mode : {'horizontal', 'vertical', 'horizontal_and_vertical'}, default='horizontal'
        Left to right, top to bottom, or each by itself.
    """

    mode: str = choice("horizontal", "vertical", "horizontal_and_vertical")

    def _change(self, shape):
        return (0, 1, 0, 1, "vertical" in self.mode, "horizontal" in self.mode)


@dataclass(frozen=True, repr=False)
class RandomShift(Augmentation):
    """Shifts each image by a random number of pixels; what comes in is zero.

    Parameters
    ----------
    height, width : int
        The most pixels, up or down, left or right.
    """

    height: int = field(metadata={"least": 0})
    width: int = field(metadata={"least": 0})

    def _change(self, shape):
        return (-self.height, 2 * self.height + 1, -self.width, 2 * self.width + 1, 0, 0)


@dataclass(frozen=True, repr=False)
class RandomCrop(Augmentation):
    """Cuts a part out of each image, at a random place; in prediction, from its center.

    Parameters
    ----------
    height, width : int
        The part's size.
    """

    height: int
    width: int

    def output_shape(self, shape):
        height, width, channels = image(self, shape)
        if height < self.height or width < self.width:
            raise ValueError(f"{self} got an input of {describe(shape)}; needs one not smaller.")
        return self.height, self.width, channels

    def _change(self, shape):
        return (0, shape[0] - self.height + 1, 0, shape[1] - self.width + 1, 0, 0)

    def _still(self, shape):
        return ((shape[0] - self.height) // 2, 1, (shape[1] - self.width) // 2, 1, 0, 0)
