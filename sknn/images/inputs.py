"""Images as inputs of estimators: arrays of images, or flattened images as rows."""

from math import isqrt
from numbers import Integral

import numpy as np
from sklearn.utils.validation import _check_n_features, check_X_y

from ..engine.warn import warn
from ..estimator.base import agree
from ..estimator.checks import check_even, check_numbers, checked_targets, numeric
from ..estimator.groups import Features
from ..estimator.inputs import Rows, TakesRows
from ..estimator.parameters import fitted, param
from ..layers.base import Layer, describe, size
from ..tape.on_demand import OnDemand, read_on_demand


class ImageShape(Features):
    """The shape of images."""

    image_shape: tuple[int, ...] | list[int] | None = param(
        """
        Shape of the images, if the rows of X are flattened images. None: the shape that the images
        in X have; (1, n_features, 1) if X has two dimensions.""",
        default=None, kind="tuple (height, width) or (height, width, channels)", kw_only=False,
    )

    image_shape_: tuple[int, int, int] = fitted(
        "Height, width and channels of the images.", kind="tuple"
    )


def check_image_shape(shape):
    """Return (height, width, channels), or raise ValueError."""
    shape = tuple(shape)
    good = all(isinstance(n, Integral) and n > 0 for n in shape)
    if len(shape) not in (2, 3) or not good:
        raise ValueError(
            f"image_shape is {shape}; expected (height, width) or (height, width, channels), each "
            "at least 1."
        )
    return tuple(map(int, (*shape, 1)[:3]))


def as_images(X):
    """Return X as one array, if it is a list of images or an object array of them.

    An array that is read on demand is returned as :class:`OnDemand`.
    """
    X = read_on_demand(X)
    listed = getattr(X, "ndim", 1) == 1 and not isinstance(X, str) and hasattr(X, "__len__")
    if not listed or hasattr(X, "ndim") and X.dtype != object:
        return X if hasattr(X, "ndim") else np.asarray(X)
    images = list(X)
    try:
        array = np.asarray(images)
    except ValueError:
        check_even(images, "images of one size: resize or crop them")
        raise
    return X if array.ndim < 3 and hasattr(X, "ndim") else array


def _looks_channels_first(shape):
    """Return whether the first axis of images, and not the last, seems to be the channels."""
    sides = shape[1:]
    square = max(sides) <= 2 * min(sides)  # not signals: one line with many channels
    return shape[0] in (1, 3, 4) and shape[2] > 4 and square


def _likely_shape(n_features):
    """Return the shape of square images, gray or in color, that rows may contain, or None."""
    for channels in (1, 3):
        side = isqrt(n_features // channels)
        if side >= 4 and side * side * channels == n_features:
            return (side, side, channels)[: 2 + (channels > 1)]
    return None


def _see_areas(layers, default=True):
    """Return whether the window of any layer covers more than one line of an image.

    `layers` may also be the name of an architecture, None (the answer is then `default`), or
    contain objects that are not layers.
    """
    if not isinstance(layers, (list, tuple)):
        return default if layers is None else isinstance(layers, str)
    windows = (getattr(a, "kernel_size", getattr(a, "pool_size", (1, 1))) for a in layers)
    inner = (part for a in layers if isinstance(a, Layer) for _, part in a.parts())
    return any(height > 1 for height, _ in windows) or any(map(_see_areas, inner))


class TakesImages(TakesRows):
    """Reads X as images; the estimator has the parameter `image_shape`."""

    #: Whether the layers that a parameter of None stands for have windows of several lines.
    _default_sees_areas = True
    _remembered = {"_given_shape": tuple[int, ...]}

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as inputs, and y where there is one, both checked.

        Images are flattened without a copy, if they are contiguous.
        """
        X = as_images(X)
        if not reset:
            self._check_not_single(X)
        if X.ndim < 3:
            checked = super()._read(X, y, reset, **checks)
            rows, *more = (checked,) if isinstance(y, str) else checked
            X, given = rows.values, rows.shape[1:]
            shape = _row_shape(self.image_shape, X.shape[1]) if reset else self.image_shape_
        else:
            if isinstance(y, str):
                X, more = check_numbers(X, allow_nd=True, input_name="X"), []
            elif isinstance(X, OnDemand):
                more = [checked_targets(self, X, y, **checks)]
            else:
                X, *more = check_X_y(X, y, allow_nd=True, estimator=self, **checks)
            if X.ndim > 4:
                raise ValueError(
                    f"X has {X.ndim} dimensions; expected 2, (n, height, width), or (n, height, "
                    "width, channels)."
                )
            given = X.shape[1:]
            shape = (*given, 1)[:3]
            if not min(shape):
                raise ValueError(f"X has images of {describe(shape)}, which are empty.")
            self._check_images(shape, reset)
            X = numeric(X).reshape(len(X), -1)
            if reset:
                vars(self).pop("feature_names_in_", None)
            _check_n_features(self, X, reset=reset)
        if reset:
            self._warn_of_shape(shape, len(given) == 1)
            self.image_shape_, self._given_shape = shape, given
        rows = Rows(X, shape)
        return (rows, *more) if more else rows

    def _network_inputs(self, network):
        shape = check_image_shape(self.image_shape_)
        agree("image_shape_", size(shape), self.n_features_in_)
        agree("_given_shape", size(self._given_shape), self.n_features_in_)
        return shape

    def _inputs_to_load(self, sizes):
        if self.image_shape is not None:
            self.image_shape_ = self._given_shape = check_image_shape(self.image_shape)
        elif not hasattr(self, "image_shape_"):
            raise ValueError(
                "image_shape is None; loading weights needs the shape of the images."
            )
        self.n_features_in_ = size(self.image_shape_)
        return Rows(np.zeros((1, self.n_features_in_)), self.image_shape_)

    def _check_not_single(self, X):
        """Raise ValueError if X can only be one of the images that the network was fitted to."""
        shape = self.image_shape_  # which the user may have set
        several = X.ndim < 2 or X.shape != shape and (*X.shape, 1) != shape
        if not several and size(X.shape[1:]) != size(shape):
            raise ValueError(
                f"X has the shape {X.shape}, that of a single image; expected an array of images: "
                "X[None] is an array of one."
            )

    def _warn_of_shape(self, shape, rows):
        """Warn if the shape of the images is most likely not what was meant."""
        likely = _likely_shape(shape[1]) if rows and self.image_shape is None else None
        given = [getattr(self, name) for name in self._layer_lists]
        areas = any(_see_areas(layers, self._default_sees_areas) for layers in given)
        if likely is not None and areas:
            warn(
                f"X has rows of {shape[1]} features and image_shape is None, so each row is taken "
                f"as an image with a height of 1. For flattened images set image_shape, such as "
                f"{likely}; otherwise, image_shape=(1, {shape[1]}) avoids this warning."
            )
        if _looks_channels_first(shape):
            warn(
                f"X has images of {describe(shape)}, as height, width and channels. If channels "
                "come first, move them to the end: X.transpose(0, 2, 3, 1), for rows after "
                f"X.reshape(-1, {', '.join(map(str, shape))})."
            )

    def _check_images(self, shape, reset):
        """Check the shape of images in X against the expected one."""
        if not reset:
            if shape != self.image_shape_:
                first = shape[1:] + shape[:1] == self.image_shape_
                raise ValueError(
                    f"X has images of {describe(shape)}, but {type(self).__name__} was fitted to "
                    f"images of {describe(self.image_shape_)}."
                    + " X.transpose(0, 2, 3, 1) moves channels to the end." * first
                )
        elif self.image_shape is not None and shape != check_image_shape(self.image_shape):
            raise ValueError(
                f"X has images of {describe(shape)}; expected "
                f"image_shape={tuple(self.image_shape)}."
            )


def _row_shape(image_shape, n_features):
    """Return the shape of the images that the rows of X are."""
    if image_shape is None:
        return 1, n_features, 1
    shape = check_image_shape(image_shape)
    if size(shape) != n_features:
        raise ValueError(
            f"X has {n_features} features; image_shape={tuple(image_shape)} needs {size(shape)}."
        )
    return shape
