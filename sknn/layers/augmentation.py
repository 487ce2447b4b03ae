"""Data augmentation: random changes of the training images, drawn anew in every step.

Prediction leaves images unchanged. These layers must come before all layers with trainable
parameters, as they have no gradient.
"""

from dataclasses import dataclass, field

from .base import Layer, describe, image, size
from .checks import choice


class Augmentation(Layer):
    """Base class of augmentations: a random offset or reflection of an image, padded with zeros."""

    def _change(self, shape):
        """Return lowest offset and number of offsets, first in height, then in width, and flips."""
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
                raise ValueError(
                    f"{self} comes after a layer with trainable parameters; it must come before."
                )

        return y, backward

    def _still(self, shape):
        return (0, 1, 0, 1, 0, 0)


@dataclass(frozen=True, repr=False)
class RandomFlip(Augmentation):
    """Flips each image with probability 1/2, in training.

    Parameters
    ----------
    mode : {'horizontal', 'vertical', 'horizontal_and_vertical'}, default='horizontal'
        Flip left to right, top to bottom, or both, each independently with probability 1/2.
    """

    mode: str = choice("horizontal", "vertical", "horizontal_and_vertical")

    def _change(self, shape):
        return (0, 1, 0, 1, "vertical" in self.mode, "horizontal" in self.mode)


@dataclass(frozen=True, repr=False)
class RandomShift(Augmentation):
    """Shifts each image by a random number of pixels, in training; fills in with zeros.

    Parameters
    ----------
    height, width : int
        Largest shift in pixels, up or down, and left or right.
    """

    height: int = field(metadata={"least": 0})
    width: int = field(metadata={"least": 0})

    def _change(self, shape):
        return (-self.height, 2 * self.height + 1, -self.width, 2 * self.width + 1, 0, 0)


@dataclass(frozen=True, repr=False)
class RandomCrop(Augmentation):
    """Crops each image at a random position; in prediction, at its center.

    Parameters
    ----------
    height, width : int
        Height and width of the crop.
    """

    height: int
    width: int

    def output_shape(self, shape):
        height, width, channels = image(self, shape)
        if height < self.height or width < self.width:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs an image at least as large."
            )
        return self.height, self.width, channels

    def _change(self, shape):
        return (0, shape[0] - self.height + 1, 0, shape[1] - self.width + 1, 0, 0)

    def _still(self, shape):
        return ((shape[0] - self.height) // 2, 1, (shape[1] - self.width) // 2, 1, 0, 0)
