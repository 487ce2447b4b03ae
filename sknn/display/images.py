"""Images as arrays (n, height, width, channels), and mosaics of many images on one axes."""

from dataclasses import dataclass

import numpy as np

from ..images.inputs import check_image_shape
from ..layers.base import describe, size

#: Colors of values of both signs, and of values whose least means nothing is there.
SIGNED, UNSIGNED = "RdBu_r", "gray_r"
#: Inches that a small character takes.
_CHARACTER = 0.075


def as_images(X, image_shape=None, name="X"):
    """Return images as an array of shape (n, height, width, channels).

    X has that shape, or (n, height, width), or (n, features), which needs `image_shape`.
    """
    X = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the dtype {X.dtype}; expected numbers.")
    shape = None if image_shape is None else check_image_shape(image_shape)
    if X.ndim == 2:
        if shape is None:
            raise ValueError(
                f"{name} has rows of {X.shape[1]} features and image_shape is None; expected "
                "image_shape=(height, width) or (height, width, channels)."
            )
        if size(shape) != X.shape[1]:
            raise ValueError(
                f"{name} has rows of {X.shape[1]} features; image_shape={tuple(image_shape)} needs "
                f"{size(shape)}."
            )
        return X.reshape(-1, *shape)
    if X.ndim not in (3, 4):
        raise ValueError(
            f"{name} has the shape {X.shape}; expected (n, features), (n, height, width) or (n, "
            "height, width, channels)."
        )
    if not len(X):
        raise ValueError(f"{name} is empty; expected at least one image.")
    X = X if X.ndim == 4 else X[..., None]
    if shape not in (None, X.shape[1:]):
        raise ValueError(
            f"{name} has images of {describe(X.shape[1:])}; image_shape={tuple(image_shape)} was "
            "given."
        )
    return X


def value_range(images):
    """Return the values that black and white stand for: (0, 1), (0, 255), or the extremes."""
    least, most = float(np.min(images)), float(np.max(images))
    for top in (1, 255):
        if least >= 0 and most <= top and (top == 1 or np.asarray(images).dtype.kind in "iu"):
            return 0.0, float(top)
    return least, most


def largest_of(values):
    """Return the largest absolute value that is finite, or 1 if all others are zero."""
    return float(np.abs(values).max(initial=0.0, where=np.isfinite(values))) or 1.0


def shortened(names, inches):
    """Return names cut to a width, with an ellipsis."""
    most = max(3, int(inches / _CHARACTER))
    names = list(map(str, names))
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]


def colored(images, limits):
    """Return RGB images scaled to [0, 1]; others, of one channel, as they are."""
    if images.shape[-1] == 1:
        return images
    if images.shape[-1] != 3:
        raise ValueError(
            f"The images have {images.shape[-1]} channels; expected 1, or 3 for colors."
        )
    least, most = limits
    return np.clip((images - least) / ((most - least) or 1.0), 0, 1)


def wrapped(images, columns):
    """Return images in lines of `columns` images, the last line filled up with NaN."""
    lines = -(-len(images) // columns)
    filled = np.full((lines * columns, *images.shape[1:]), np.nan)
    filled[: len(images)] = images
    return filled.reshape(lines, columns, *images.shape[1:])


@dataclass(frozen=True)
class Mosaic:
    """Images (lines, columns, height, width, channels) as one, with gaps between them.

    A channel is shown by a color map, three as RGB. What is NaN, as the gaps are, is transparent.

    Parameters
    ----------
    images : ndarray
    gap : pair of int
        Pixels between lines and between columns; 0 for neither.
    """

    images: np.ndarray
    gap: tuple

    @classmethod
    def of(cls, images, below=0.0):
        """Return a mosaic with narrow gaps; `below` widens those below lines, for captions."""
        height, width = images.shape[2:4]
        across = max(1, round(0.1 * min(height, width)))
        return cls(images, (max(across, round(below * height)), across))

    @property
    def pixels(self):
        """The mosaic as an image: (height, width), or with RGBA channels."""
        lines, columns, height, width, channels = self.images.shape
        down, across = self.gap
        padded = np.full(
            (lines, columns, height + down, width + across, channels), np.nan, np.float64
        )
        padded[:, :, :height, :width] = self.images
        whole = padded.transpose(0, 2, 1, 3, 4).reshape(lines * (height + down), -1, channels)
        whole = whole[: whole.shape[0] - down, : whole.shape[1] - across]
        if channels == 1:
            return whole[..., 0]
        opaque = np.isfinite(whole).all(axis=-1, keepdims=True)
        return np.concatenate([np.where(opaque, whole, 0), opaque], axis=-1)

    @property
    def across(self):
        """The horizontal position of the middle of each column."""
        columns, width = self.images.shape[1], self.images.shape[3]
        return np.arange(columns) * (width + self.gap[1]) + (width - 1) / 2

    @property
    def down(self):
        """The vertical position of the middle of each line."""
        lines, height = self.images.shape[0], self.images.shape[2]
        return np.arange(lines) * (height + self.gap[0]) + (height - 1) / 2

    @property
    def aspect(self):
        """Width over height."""
        lines, columns, height, width = self.images.shape[:4]
        down, across = self.gap
        return (columns * (width + across) - across) / (lines * (height + down) - down)

    def show(self, ax, **kwargs):
        """Draw the mosaic on axes without ticks; returns the image."""
        if kwargs.get("norm") is not None:  # which has limits of its own
            kwargs = {key: value for key, value in kwargs.items() if key not in ("vmin", "vmax")}
        im = ax.imshow(self.pixels, **kwargs)
        ax.set(xticks=[], yticks=[])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.patch.set_visible(False)
        return im

    def name_lines(self, ax, names):
        """Write a name beside each line."""
        ax.set_yticks(self.down, names)

    def name_columns(self, ax, names, title=None):
        """Write a name above each column."""
        ax.xaxis.set_label_position("top")
        ax.xaxis.tick_top()
        ax.set_xticks(self.across, names)
        ax.tick_params(length=0)
        ax.set_xlabel(title)

    def caption(self, ax, line, names, **kwargs):
        """Write a text below each image of a line; returns the texts."""
        bottom = self.down[line] + self.images.shape[2] / 2
        options = {"fontsize": "small", "ha": "center", "va": "top", **kwargs}
        return [
            ax.annotate(
                name, (x, bottom), (0, -2), textcoords="offset points", annotation_clip=False,
                **options,
            )
            for x, name in zip(self.across, names)
        ]  # fmt: skip
