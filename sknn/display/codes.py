"""Codes of autoencoders: in two dimensions, and decoded from a grid."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from ..autoencoders.variational import VariationalAutoencoderTransformer
from .base import (
    Display,
    check_count,
    class_colors,
    image_shape_of,
    network_in,
    pyplot,
    styled,
    wrong_estimator,
)
from .images import UNSIGNED, Mosaic, as_images, colored, value_range

#: Most different numbers that are taken as classes, and most classes whose names are written.
_MOST_CLASSES = 20
#: Share of the codes on either side of the grid, in percent.
_OUTSIDE = 2


class CodeDisplay(Display):
    """Codes in two dimensions, colored by class or by a number.

    Parameters
    ----------
    places : array-like of shape (n_samples, 2)
        The places of the samples.
    y : array-like of shape (n_samples,) or None, default=None
        Classes, or numbers, if there are more than 20 different ones.
    names : pair of str, default=("code 1", "code 2")
        Names of the dimensions.

    Attributes
    ----------
    points_ : list of PathCollection
        The samples of each class; only one if y is not classes.
    text_ : list of Text
        The names of the classes, at the medians of their places; none if there are more than 20.
    colorbar_ : Colorbar or None
        The scale of y, if y is numbers.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> from sknn.display import CodeDisplay
    >>> codes = [[0, 1, 2], [1, 3, 2], [5, 1, 0], [4, 1, 0]]
    >>> display = CodeDisplay.from_predictions(codes, ["a", "a", "b", "b"])
    >>> display.names
    ['principal component 1 (90% of variance)', 'principal component 2 (10% of variance)']
    """

    def __init__(self, *, places, y=None, names: Sequence[str] = ("code 1", "code 2")):
        self.places = places
        self.y = y
        self.names = names

    def plot(self, ax=None, *, label=None, **kwargs):
        """Draw the codes.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        label : str or None, default=None
            Name of y beside the color bar, if y is numbers.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : CodeDisplay
            This display.
        """
        places = check_array(self.places, input_name="places")
        if places.shape[1] != 2:
            raise ValueError(f"places has {places.shape[1]} columns; expected 2.")
        ax = self._axes(ax, (6.0, 5.0))
        look = {"s": 12, "alpha": 0.75, "linewidth": 0}

        def options(**more):
            return styled(look | more, kwargs, points=True)

        self.points_, self.text_, self.colorbar_ = [], [], None
        if self.y is None:
            self.points_.append(ax.scatter(*places.T, **options(color="C0")))
        else:
            check_consistent_length(places, self.y)
            y = column_or_1d(self.y)
            if y.dtype.kind in "fiu" and len(np.unique(y)) > _MOST_CLASSES:
                self.points_.append(ax.scatter(*places.T, **options(c=y)))
                self.colorbar_ = ax.figure.colorbar(self.points_[0], ax=ax, label=label)
                self.colorbar_.outline.set_visible(False)
            else:
                self._show_classes(ax, places, y, options)
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def _show_classes(self, ax, places, y, options):
        """Draw each class in its color, with its name at the median of its places."""
        classes = np.unique(y)
        for name, color in zip(classes, class_colors(len(classes))):
            some = places[y == name]
            self.points_.append(ax.scatter(*some.T, **options(color=color, label=name)))
            box = {
                "boxstyle": "round,pad=0.25",
                "edgecolor": color,
                "facecolor": ax.get_facecolor(),
                "alpha": 0.9,
            }
            if len(classes) > _MOST_CLASSES:
                continue  # names would hide the points
            self.text_.append(
                ax.text(*np.median(some, axis=0), str(name), ha="center", va="center", bbox=box)
            )

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, reducer=None, label=None, ax=None, **kwargs):
        """Encode samples and draw the codes.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder, or any other transformer, such as a pipeline.
        X : array-like
            The samples, in any form that `transform` accepts.
        y : array-like of shape (n_samples,) or None, default=None
            Classes, or numbers, if there are more than 20 different ones.
        reducer, label, ax, **kwargs
            As in :meth:`from_predictions`.

        Returns
        -------
        display : CodeDisplay
            The display, drawn.
        """
        cls._network_in(estimator)  # which checks that it is fitted
        if not hasattr(estimator, "transform"):
            raise wrong_estimator(cls, estimator, "an autoencoder or another transformer")
        codes = estimator.transform(X)
        return cls.from_predictions(codes, y, reducer=reducer, label=label, ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, codes, y=None, *, reducer=None, label=None, ax=None, **kwargs):
        """Draw given codes.

        Parameters
        ----------
        codes : array-like of shape (n_samples, n_components)
            The codes.
        y : array-like of shape (n_samples,) or None, default=None
            Classes, or numbers, if there are more than 20 different ones.
        reducer : transformer or None, default=None
            What takes codes of more than two dimensions to two: a clone of it is fitted to the
            codes. None: principal components.
        label, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : CodeDisplay
            The display, drawn.
        """
        places, names = _in_plane(codes, reducer)
        return cls(places=places, y=y, names=names).plot(ax=ax, label=label, **kwargs)


def _in_plane(codes, reducer):
    """Return codes in two dimensions, and names of these."""
    codes = check_array(codes, input_name="codes")
    n = codes.shape[1]
    if n == 1:
        raise ValueError("The codes have one dimension; expected at least 2.")
    if n == 2 and reducer is None:
        return codes, ["code 1", "code 2"]
    reducer = PCA(2, random_state=0) if reducer is None else clone(reducer)
    with np.errstate(invalid="ignore"):  # shares of variance where there is none
        places = np.asarray(reducer.fit_transform(codes))
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(
            f"reducer returned an array of shape {places.shape}; expected ({len(codes)}, 2)."
        )
    if isinstance(reducer, PCA):
        shares = np.nan_to_num(reducer.explained_variance_ratio_)
        return places, [
            f"principal component {i + 1} ({shares[i]:.0%} of variance)" for i in range(2)
        ]
    return places, [f"{type(reducer).__name__} {i}" for i in (1, 2)]


class LatentGridDisplay(Display):
    """What an autoencoder decodes from a grid of codes.

    Parameters
    ----------
    images : array-like of shape (n_down, n_across, height, width, channels)
        The decoded images; the first line belongs to the largest code.
    across, down : array-like of shape (n_across,) and (n_down,)
        The codes, both ascending.
    names : pair of str, default=("code 1", "code 2")
        Names of the dimensions across and down.

    Attributes
    ----------
    im_ : AxesImage
        All images, as one.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn.display import LatentGridDisplay
    >>> images = np.linspace(0, 1, 4).reshape(2, 2, 1, 1, 1)
    >>> LatentGridDisplay(images=images, across=[0, 1], down=[0, 1]).plot().im_.get_array().shape
    (3, 3)
    """

    def __init__(self, *, images, across, down, names: Sequence[str] = ("code 1", "code 2")):
        self.images = images
        self.across = across
        self.down = down
        self.names = names

    def plot(self, ax=None, **kwargs):
        """Draw the images, with the codes on the axes.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : LatentGridDisplay
            This display.
        """
        images, shape = np.asarray(self.images), (len(self.down), len(self.across))
        if images.ndim != 5 or images.shape[:2] != shape:
            raise ValueError(
                f"images has the shape {images.shape}; expected ({shape[0]}, {shape[1]}, height, "
                "width, channels)."
            )
        limits = value_range(images)
        mosaic = Mosaic(colored(images, limits), (1, 1))
        ax = self._axes(ax, (5.6, 5.4 / mosaic.aspect + 0.2))
        self.im_ = mosaic.show(
            ax, **{"cmap": UNSIGNED, "vmin": limits[0], "vmax": limits[1], **kwargs}
        )
        for axis, places, codes in (
            (ax.xaxis, mosaic.across, self.across),
            (ax.yaxis, mosaic.down, np.asarray(self.down)[::-1]),
        ):
            few = np.unique(
                np.linspace(0, len(places) - 1, min(5, len(places))).round().astype(int)
            )
            axis.set_ticks(places[few], [f"{codes[i]:.3g}".replace("-", "−") for i in few])
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X=None, *, n=13, components: Sequence[int] = (0, 1), image_shape=None,
        ax=None, **kwargs,
    ):  # fmt: skip
        """Decode a grid of codes and draw the images.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder; or a transformer with an `inverse_transform`, such as a pipeline
            of scalers and an autoencoder.
        X : array-like or None, default=None
            Samples, from whose codes the grid follows: evenly spaced from their 2nd to their 98th
            percentile. None, for a variational autoencoder: at quantiles of the standard normal
            distribution, evenly spaced from 0.02 to 0.98, so that all images represent the same
            share of the codes.
        n : int, default=13
            Number of images in each direction.
        components : pair of int, default=(0, 1)
            The dimensions of the code across and down. The others are at the median of the codes of
            X, or at 0.
        image_shape : tuple (height, width) or (height, width, channels), or None, default=None
            Shape of the images, if the decoder returns rows. None: that of the images to which the
            estimator was fitted.
        ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : LatentGridDisplay
            The display, drawn.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_count("n", n, 2)
        net, _ = network_in(estimator)
        if not (hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform")):
            raise wrong_estimator(cls, estimator, "an autoencoder")
        if isinstance(net, VariationalAutoencoderTransformer) and X is None:
            ends, middle = None, np.zeros(net._n_features_out)
        elif X is None:
            raise ValueError("X is None; the grid of this estimator follows from the codes of X.")
        else:
            codes = np.asarray(estimator.transform(X))
            ends = np.percentile(codes, [_OUTSIDE, 100 - _OUTSIDE], axis=0)
            middle = np.median(codes, axis=0)
        first, second = _two_components(components, len(middle))
        if ends is None:
            across = down = norm.ppf(np.linspace(_OUTSIDE / 100, 1 - _OUTSIDE / 100, n))
        else:
            across, down = (np.linspace(*ends[:, i], n) for i in (first, second))
        grid = np.tile(middle, (n, n, 1))
        grid[..., first], grid[..., second] = across, down[::-1, None]
        if image_shape is None:
            image_shape = image_shape_of(net)
        images = estimator.inverse_transform(grid.reshape(n * n, -1))
        images = as_images(images, image_shape, "The decoder's output")
        names = [f"code {i + 1}" for i in (first, second)]
        display = cls(
            images=images.reshape(n, n, *images.shape[1:]), across=across, down=down, names=names
        )
        return display.plot(ax=ax, **kwargs)


def _two_components(components, n):
    """Return two different dimensions of codes, checked."""
    try:
        first, second = components
        found = [range(n)[first], range(n)[second]]
    except (TypeError, ValueError, IndexError):
        found = [0, 0]
    if found[0] == found[1]:
        raise ValueError(
            f"components is {components!r}; expected two different dimensions of a code of {n}."
        )
    return found
