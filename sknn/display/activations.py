"""The activation maps of images."""

import numpy as np

from ..estimator.net import place_of
from ..layers import Activation, BatchNormalization
from ..layers.base import path_of
from .base import Display, add_scale, check_choice, check_count, network_in, wrong_estimator
from .images import (
    SIGNED,
    UNSIGNED,
    Mosaic,
    as_images,
    colored,
    largest_of,
    value_range,
    wrapped,
)

#: Maps in a line.
_COLUMNS = 16


class ActivationMapDisplay(Display):
    """Activation maps of an image, or of a few, through layers of a convolutional network.

    Parameters
    ----------
    images : array-like of shape (n_images, height, width, channels)
        The images; drawn as colors if they have three channels, else as the mean over channels.
    maps : dict of str to array-like of shape (n_images, height, width, n_maps)
        The outputs of layers, by name.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_layers, 2)
        On the left the images, on the right the maps of each layer.
    ims_ : list of AxesImage
        The maps of each layer, side by side.
    ax_ : Axes
        The axes that were divided; None if several were given.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn.display import ActivationMapDisplay
    >>> image = np.eye(6)[None, ..., None]
    >>> maps = {"shifted": np.concatenate([image, image[:, ::-1]], axis=-1)}
    >>> ActivationMapDisplay(images=image, maps=maps).plot().axes_.shape
    (1, 2)
    """

    def __init__(self, *, images, maps):
        self.images = images
        self.maps = maps

    def plot(self, ax=None, *, n_maps=32, scale="layer", colorbar=True, **kwargs):
        """Draw the maps: of one image in lines of 16, of several images a line for each.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to divide, or two for each layer. None: a new figure.
        n_maps : int, default=32
            Maximum number of maps to draw of each layer, the first ones.
        scale : {'layer', 'map'}, default='layer'
            Whether the maps of a layer share a scale of colors, or each map of each image has its
            own, on which its largest absolute value is 1.
        colorbar : bool, default=True
            Whether to draw the scale of each layer.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow` for the maps.

        Returns
        -------
        display : ActivationMapDisplay
            This display.
        """
        check_choice("scale", scale, {"layer", "map"})
        check_count("n_maps", n_maps, 1)
        images = as_images(self.images, name="images")
        if images.shape[-1] not in (1, 3):
            images = images.mean(axis=-1, keepdims=True)
        mosaics, titles = [], []
        for name, maps in self.maps.items():
            maps = np.asarray(maps)
            if maps.ndim != 4 or len(maps) != len(images):
                raise ValueError(
                    f"The maps of {name} have the shape {maps.shape}; expected ({len(images)}, "
                    "height, width, n_maps)."
                )
            shown = np.moveaxis(maps, -1, 1)[:, :n_maps, ..., None]
            if scale == "map":
                largest = np.abs(shown).max(axis=(2, 3, 4), keepdims=True)
                shown = shown / np.where(largest > 0, largest, 1)
            tiles = shown
            if len(images) == 1:
                columns = int(np.clip(shown.shape[1], _COLUMNS // 2, _COLUMNS))
                tiles = wrapped(shown[0], columns)
            mosaics.append(Mosaic.of(tiles))
            count, total = shown.shape[1], maps.shape[-1]
            count = f"{count} of {total}" if count < total else total
            titles.append(f"{name}: {count} maps, {maps.shape[1]} × {maps.shape[2]}")
        if not mosaics:
            raise ValueError("maps is empty; expected the maps of at least one layer.")
        # several images are as large as their maps, so that lines are at the same height
        column = Mosaic.of(colored(images, value_range(images))[:, None])
        highest = min(mosaic.aspect for mosaic in mosaics)
        left = 1 if len(images) == 1 else 9 * column.aspect / highest
        heights = [9 / mosaic.aspect + 0.3 for mosaic in mosaics]
        axes = self._grid(
            ax, (10 + left, 0.2 + sum(heights)), len(mosaics), 2, width_ratios=[left, 9],
            height_ratios=heights,
        )  # fmt: skip
        self._show_images(axes[:, 0], column, value_range(images))
        self.ims_ = []
        for panel, mosaic, title in zip(axes[:, 1], mosaics, titles):
            values = mosaic.images[np.isfinite(mosaic.images)]
            limit = largest_of(values)
            signed = (values < 0).any()
            colors = {"cmap": SIGNED if signed else "viridis", "vmin": -limit * signed}
            self.ims_.append(mosaic.show(panel, **{**colors, "vmax": limit, **kwargs}))
            panel.set_anchor("NW")
            panel.set_title(title, fontsize="medium", loc="left")
            if colorbar:
                add_scale(panel, self.ims_[-1], None)
        return self

    def _show_images(self, panels, column, limits):
        """Draw one image once, beside the first layer, or several beside each layer."""
        alone = len(column.images) == 1
        for i, panel in enumerate(panels):
            if i and alone:
                panel.set_axis_off()
                continue
            column.show(panel, cmap=UNSIGNED, vmin=limits[0], vmax=limits[1])
            panel.set_anchor("NE")
            panel.set_title("image" if alone else "images", fontsize="medium")

    @classmethod
    def from_estimator(
        cls, estimator, X, *, layers=None, n_maps=32, scale="layer", colorbar=True, ax=None,
        **kwargs,
    ):  # fmt: skip
        """Compute and draw the maps of an image, or of a few.

        Parameters
        ----------
        estimator : estimator
            A fitted network for images, or an estimator that holds one, such as a pipeline that
            ends in it, whose earlier steps transform X.
        X : array-like
            One image of the network's `image_shape_`, or several in any form that its `fit`
            accepts.
        layers : int, str, list of int or str, or None, default=None
            Indices in `layers_`, or names of layers, whose outputs are images. None: all with
            weights, and outputs larger than 1 x 1, each after the batch normalization and the
            activation that follow it.
        n_maps, scale, colorbar, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : ActivationMapDisplay
            The display, drawn.
        """
        net, _ = cls._network_in(estimator)
        if not (hasattr(net, "image_shape_") and hasattr(net, "layers_")):
            raise wrong_estimator(cls, net, "a fitted network for images")
        shape = tuple(net.image_shape_)
        X = X if hasattr(X, "ndim") else np.asarray(X)
        if X.ndim == 1 or X.shape in (shape, shape[:2]) and shape[2:] in (X.shape[2:], (1,)):
            X = X[None]
        _, X = network_in(estimator, X)
        names = _image_layers(net) if layers is None else layers
        maps = {}
        for layer in [names] if np.ndim(names) == 0 else names:
            place = place_of(layer, net.layers_)
            name = path_of(net.layers_[place], "layers", place)
            maps[name] = net.activations(X, place)
            if maps[name].ndim != 4:
                raise ValueError(
                    f"The outputs of layer {layer!r} have the shape {maps[name].shape[1:]}; "
                    "expected a layer whose outputs are images."
                )
        display = cls(images=as_images(X, shape), maps=maps)
        return display.plot(ax=ax, n_maps=n_maps, scale=scale, colorbar=colorbar, **kwargs)


def _image_layers(net):
    """Return the names of the layers that have weights and whose outputs are images."""
    layers, shape, names = net.layers_, tuple(net.image_shape_), []
    paths = [path_of(layer, "layers", i) for i, layer in enumerate(layers)]
    follows = False  # whether the last name is of a layer that has no activation yet
    for layer, path in zip(layers, paths):
        shape = layer.output_shape(shape)
        weighted = any(
            "kernel" in values and (found == path or found.startswith(f"{path}."))
            for found, values in net.weights_.items()
        )
        if weighted and len(shape) == 3 and shape[:2] != (1, 1):
            names.append(path)
            follows = not getattr(layer, "activation", None)
        elif follows and isinstance(layer, (Activation, BatchNormalization)):
            names[-1] = path
        else:
            follows = False
    if not names:
        raise ValueError("No layer with weights has images as outputs.")
    return names
