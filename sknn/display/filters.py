"""The weights of convolutions and of dense layers as images."""

import numpy as np

from ..estimator.net import place_of
from ..layers import Conv2DTranspose
from ..layers.base import path_of, size
from .base import (
    Display,
    add_scale,
    check_choice,
    check_count,
    image_shape_of,
    wrong_estimator,
)
from .images import SIGNED, UNSIGNED, Mosaic, as_images, colored, largest_of, shortened, wrapped

_CHANNELS = {"auto", "rgb", "each", "mean"}
#: Least negative value of a center, relative to the largest, that has a color of its own.
_LEAST = 0.01
_EXPECTED = "a fitted network whose weights see images"


class FilterDisplay(Display):
    """Filters of a convolution, or the weights of dense units, as images.

    Parameters
    ----------
    filters : array-like of shape (n_filters, height, width, channels) or (n_filters, height, width)
        The weights.
    names : list of str or None, default=None
        A name for each filter. None: their numbers.
    symmetric : bool, default=True
        Whether colors are symmetric about zero, as is right for weights. False: dark for large
        values.
    label : str or None, default='weight'
        What the values are, beside the scale.

    Attributes
    ----------
    im_ : AxesImage
        The filters, side by side.
    colorbar_ : Colorbar or None
        The scale; None for RGB.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn.display import FilterDisplay
    >>> edges = np.array([[[1, -1], [1, -1]], [[1, 1], [-1, -1]]])
    >>> FilterDisplay(filters=edges).plot().im_.get_array().shape
    (2, 5)
    """

    def __init__(self, *, filters, names=None, symmetric=True, label="weight"):
        self.filters = filters
        self.names = names
        self.symmetric = symmetric
        self.label = label

    def plot(self, ax=None, *, channels="auto", n_columns=None, colorbar=True, **kwargs):
        """Draw the filters.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        channels : {'auto', 'rgb', 'each', 'mean'}, default='auto'
            'rgb': three channels as colors, where gray is zero. 'each': a column for each filter,
            a line for each channel. 'mean': the mean over the channels. 'auto': 'rgb' for three
            channels, else 'each'.
        n_columns : int or None, default=None
            Number of filters in a line, where there is one image for each; None: about twice as
            many as lines.
        colorbar : bool, default=True
            Whether to draw the scale of colors.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow`. With `vmax` only, the scale remains
            symmetric.

        Returns
        -------
        display : FilterDisplay
            This display.
        """
        check_choice("channels", channels, _CHANNELS)
        if n_columns is not None:
            check_count("n_columns", n_columns, 1)
        filters = as_images(self.filters, name="filters")
        n, n_channels = len(filters), filters.shape[-1]
        if channels == "auto":
            channels = "rgb" if n_channels == 3 else "each"
        limit = largest_of(filters)
        limits = (-limit, limit) if self.symmetric else (float(filters.min()), float(filters.max()))
        if channels == "rgb":
            if n_channels != 3:
                raise ValueError(
                    f"channels='rgb' needs filters of 3 channels, got {n_channels}; expected "
                    "'each' or 'mean'."
                )
            filters = colored(filters, limits)
        elif channels == "mean":
            filters = filters.mean(axis=-1, keepdims=True)
        by_channel = channels == "each" and n_channels > 1
        if by_channel:
            tiles = filters.transpose(3, 0, 1, 2)[..., None]
        else:
            tiles = wrapped(filters, n_columns or _columns(n))
        mosaic = Mosaic.of(tiles, below=0.4 if self.names is not None and not by_channel else 0.0)
        ax = self._axes(ax, _figsize(mosaic))
        if self.symmetric and "vmax" in kwargs:
            kwargs.setdefault("vmin", -kwargs["vmax"])
        colors = {"cmap": SIGNED if self.symmetric else UNSIGNED}
        kwargs = {**colors, "vmin": limits[0], "vmax": limits[1], **kwargs}
        self.im_ = mosaic.show(ax, **kwargs)
        self._name(mosaic, ax, by_channel)
        self.colorbar_ = None
        if colorbar and channels != "rgb":
            self.colorbar_ = add_scale(ax, self.im_, self.label)
        return self

    def _name(self, mosaic, ax, by_channel):
        """Name lines and columns, as far as they stand for something."""
        lines, columns = mosaic.images.shape[:2]
        names, (width, height) = self.names, _figsize(mosaic)
        if names is not None:
            names = shortened(names, (width - 1.2) / columns)
        if by_channel:
            channels = [f"channel {i}" for i in range(lines)]
            mosaic.name_lines(ax, _thinned(channels, height / 0.25))
        elif names is not None:
            for line in range(lines):
                mosaic.caption(ax, line, names[line * columns : (line + 1) * columns])
        if by_channel or (lines == 1 and names is None):
            shown = _thinned(range(columns), width / 0.4) if names is None else names
            mosaic.name_columns(ax, shown, "filter" if names is None else None)

    @classmethod
    def from_estimator(
        cls, estimator, *, layer=None, image_shape=None, channels="auto", n_columns=None,
        colorbar=True, ax=None, **kwargs,
    ):  # fmt: skip
        """Draw the filters of a layer of a fitted network.

        Those of a perceptron, or of a network without hidden layers, have the names of the classes.
        Of a network of radial basis functions, the centers are drawn.

        Parameters
        ----------
        estimator : estimator
            A fitted network, or an estimator that holds one, such as a pipeline that ends in it.
        layer : int, str or None, default=None
            Index in `layers_`, or name of the layer; for a multilayer perceptron, index in
            `coefs_`. None: the first convolution, or else the first layer with weights.
        image_shape : tuple (height, width) or (height, width, channels), or None, default=None
            Shape of the images that dense units see; or, for the last layer of a decoder, that it
            outputs. None: that of the images to which the network was fitted.
        channels, n_columns, colorbar, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : FilterDisplay
            The display, drawn.
        """
        net, _ = cls._network_in(estimator)
        if image_shape is None:
            image_shape = image_shape_of(net)
        if hasattr(net, "centers_") and layer is None:
            filters = as_images(net.centers_, image_shape, "centers_")
            symmetric = bool(filters.min() < -_LEAST * filters.max())
            display = cls(filters=filters, symmetric=symmetric, label="value of the center")
        else:
            kernel, channels_last = _kernel(cls, net, layer)
            filters = _as_filters(kernel, channels_last, image_shape)
            display = cls(filters=filters, names=_classes(net, len(filters)))
        return display.plot(
            ax=ax, channels=channels, n_columns=n_columns, colorbar=colorbar, **kwargs
        )


def _thinned(names, most):
    """Return names of which at most so many, evenly spaced, are not empty."""
    step = int(np.ceil(len(names) / most))
    return ["" if i % step else name for i, name in enumerate(names)]


def _columns(n):
    """Return the number of columns for n square images: up to 16 in a line, else 2:1."""
    return n if n <= 12 else min(32, int(np.ceil(np.sqrt(2 * n))))


def _figsize(mosaic):
    columns = mosaic.images.shape[1]
    width = float(np.clip(0.8 * columns, 2.0, 9.0))
    return width + 1.2, float(np.clip(width / mosaic.aspect + 0.6, 1.2, 10.0))


def _kernel(cls, net, layer):
    """Return the kernel of a layer, and whether its last axis is that of channels."""
    if hasattr(net, "coefs_"):
        if isinstance(layer, str):
            raise TypeError(f"layer is {layer!r}; expected an index in coefs_.")
        return net.coefs_[place_of(0 if layer is None else layer, net.coefs_)], False
    if hasattr(net, "weights_") and hasattr(net, "layers_"):
        weights, layers = net.weights_, net.layers_
        kernels = {path: found["kernel"] for path, found in weights.items() if "kernel" in found}
        if not kernels:
            raise wrong_estimator(cls, net, _EXPECTED)
        if layer is None:
            seeing = (path for path, kernel in kernels.items() if kernel.ndim == 4)
            layer = next(seeing, next(iter(kernels)))
        elif layer not in kernels:
            place = place_of(layer, layers)
            layer = path_of(layers[place], "layers", place)
        if layer not in kernels:
            raise ValueError(f"layer {layer!r} has no kernel; expected one of {list(kernels)}.")
        backward = {
            path_of(some, "layers", i)
            for i, some in enumerate(layers)
            if isinstance(some, Conv2DTranspose)
        }
        return kernels[layer], layer not in backward
    if hasattr(net, "coef_") and layer is None:
        return np.atleast_2d(net.coef_).T, False
    raise wrong_estimator(cls, net, _EXPECTED)


def _as_filters(kernel, filters_last, image_shape):
    """Return a kernel as images, one for each of its units."""
    if kernel.ndim == 4:
        return kernel.transpose(3, 0, 1, 2) if filters_last else kernel.transpose(2, 0, 1, 3)
    seen = image_shape is None or size(tuple(image_shape)) != kernel.shape[1]
    if kernel.shape[0] == kernel.shape[1] or seen:
        kernel = kernel.T
    return as_images(kernel, image_shape, "kernel")


def _classes(net, n):
    """Return the names of the classes, if each filter stands for one."""
    whole = hasattr(net, "coef_") or len(getattr(net, "coefs_", ())) == 1
    classes = getattr(net, "classes_", ())
    return list(map(str, classes)) if whole and len(classes) == n else None
