"""Images as an estimator takes them: as arrays of images, or as rows of numbers."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import _check_n_features, check_array, check_X_y

from ..estimator.checks import numeric
from ..estimator.groups import Features
from ..estimator.inputs import Rows, TakesRows
from ..estimator.parameters import fitted, param
from ..layers.base import describe, size


class ImageShape(Features):
    """The shape of images."""

    image_shape: tuple[int, ...] | list[int] | None = param(
        """
        The shape of the image that a row of X holds. None: as X has it, or, where X has two
        dimensions, (1, n_features, 1).""",
        default=None, kind="tuple (height, width) or (height, width, channels)", kw_only=False,
    )

    image_shape_: tuple[int, int, int] = fitted(
        "Height, width and channels of an image.", kind="tuple"
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


class TakesImages(TakesRows):
    """Reads X as images; the estimator has the parameter `image_shape`."""

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as inputs, and y where there is one, both checked.

        Images become rows without being copied, if they lie in one piece.
        """
        if not hasattr(X, "ndim"):
            X = np.asarray(X)
        if X.ndim < 3:
            checked = super()._read(X, y, reset, **checks)
            rows, *more = (checked,) if isinstance(y, str) else checked
            X, given = rows.values, rows.shape[1:]
            shape = _row_shape(self.image_shape, X.shape[1]) if reset else self.image_shape_
        else:
            if isinstance(y, str):
                X, more = check_array(X, allow_nd=True, input_name="X"), []
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
                raise ValueError(f"X has images of {describe(shape)}: there is nothing in them.")
            self._check_images(shape, reset)
            X = numeric(X).reshape(len(X), -1)
            if reset:
                vars(self).pop("feature_names_in_", None)
            _check_n_features(self, X, reset=reset)
        if reset:
            self.image_shape_, self._given_shape = shape, given
        rows = Rows(X, shape)
        return (rows, *more) if more else rows

    def _inputs_to_load(self, sizes):
        if self.image_shape is not None:
            self.image_shape_ = self._given_shape = check_image_shape(self.image_shape)
        elif not hasattr(self, "image_shape_"):
            raise ValueError(
                "image_shape is None; loading weights needs the shape of the images."
            )
        self.n_features_in_ = size(self.image_shape_)
        return Rows(np.zeros((1, self.n_features_in_)), self.image_shape_)

    def _check_images(self, shape, reset):
        """Check the shape of images in X against what is known of it."""
        if not reset:
            if shape != self.image_shape_:
                raise ValueError(
                    f"X has images of {describe(shape)}, but {type(self).__name__} was fitted to "
                    f"images of {describe(self.image_shape_)}."
                )
        elif self.image_shape is not None and shape != check_image_shape(self.image_shape):
            raise ValueError(
                f"X has images of {describe(shape)}; image_shape={tuple(self.image_shape)} asks "
                "for others."
            )


def _row_shape(image_shape, n_features):
    """Return the shape of the images that rows of X hold."""
    if image_shape is None:
        return 1, n_features, 1
    shape = check_image_shape(image_shape)
    if size(shape) != n_features:
        raise ValueError(
            f"X has {n_features} features; image_shape={tuple(image_shape)} needs {size(shape)}."
        )
    return shape
