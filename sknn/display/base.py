"""What all displays share: matplotlib, axes and their division, the network in an estimator."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..autoencoders.outliers import ReconstructionOutlierDetector
from ..estimator.wrapping import thawed
from ..images.transformer import ConvNetTransformer

#: Ten colors that are told apart with any color vision (M. A. Petroff, "Accessible color sequences
#: for data visualization", arXiv:2107.02270), scikit-learn's for classes.
_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70",
    "#717581", "#92dadd",
)  # fmt: skip


def pyplot(name):
    """Return matplotlib.pyplot for a display, or raise an ImportError that names the extra."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(f'{name} needs matplotlib: pip install "sknn[plot]".') from error
    return matplotlib.pyplot


def class_colors(n):
    """Return a color for each of n classes."""
    if n <= len(_COLORS):
        return list(_COLORS[:n])
    return list(pyplot("A display").get_cmap("turbo")(np.linspace(0, 1, n)))


def ink():
    """Return the color of text in the current style, which shows on its background."""
    return pyplot("A display").rcParams["text.color"]


def contrast(colors):
    """Return 'black' or 'white' for each RGBA color, whichever is easier to read on it."""
    luminance = np.asarray(colors)[..., :3] @ [0.299, 0.587, 0.114]
    return np.where(luminance > 0.55, "black", "white")


def network_in(estimator, X=None):
    """Return the fitted network that an estimator holds, and X as it reaches that network.

    The estimator may be the network itself, a pipeline that ends in it, a search, or an estimator
    of this package that holds another one.
    """
    while True:
        check_is_fitted(estimator)
        if isinstance(estimator, Pipeline):
            if X is not None:
                X = estimator[:-1].transform(X) if len(estimator) > 1 else X
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, ReconstructionOutlierDetector):
            estimator = estimator.autoencoder_
        elif isinstance(estimator, ConvNetTransformer):
            estimator = estimator.net_
        elif thawed(estimator) is not estimator:
            estimator = thawed(estimator)
        else:
            return estimator, X


def image_shape_of(net):
    """Return the shape of the images to which a network was fitted, or None.

    Rows of features, without a shape, are images with a height of 1 to some networks.
    """
    shape = getattr(net, "image_shape_", None)
    rows = shape is not None and shape[0] == 1 and net.image_shape is None
    return None if rows else shape


def wrong_estimator(cls, estimator, expected):
    """Return the TypeError for an estimator that a display is not for."""
    return TypeError(
        f"{cls.__name__}.from_estimator got {type(estimator).__name__}; expected {expected}."
    )


def beside(ax, corner, bounds):
    """Return axes beside others: x, y, width and height in inches from a corner of theirs.

    A height of None is that of the others.
    """
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    inches = ax.figure.dpi_scale_trans + ScaledTranslation(*corner, ax.transAxes)
    if bounds[3] is None:
        inches, bounds = blended_transform_factory(inches, ax.transAxes), (*bounds[:3], 1)
    return ax.inset_axes(bounds, transform=inches)


def add_scale(ax, artist, label, below=False):
    """Draw the scale of an artist's colors, at the right of its axes or below; returns it."""
    place = ((0, 0), (0, -0.2, 2.2, 0.09)) if below else ((1, 0), (0.1, 0, 0.1, None))
    bar = ax.figure.colorbar(
        artist, cax=beside(ax, *place), label=label,
        orientation="horizontal" if below else "vertical",
    )  # fmt: skip
    bar.outline.set_visible(False)
    return bar


def legend_beside(ax):
    """Draw the legend at the right of the axes, where it hides neither data nor a title."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")


def styled(defaults, given, points=False):
    """Return how lines or points are drawn: as given, by any name of a property, or else so."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

    given = normalize_kwargs(given, PathCollection if points else Line2D)
    if "c" in given:
        defaults = {name: value for name, value in defaults.items() if name != "color"}
    return {**defaults, **given}


def check_choice(name, value, options):
    """Raise ValueError if a parameter is none of its options."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} is {value!r}; expected one of {sorted(options)}.")


def check_count(name, value, least):
    """Raise ValueError if a parameter is not an integer of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected an int of at least {least}.")


class Display:
    """Base class: where a display is drawn."""

    # for type checkers: set by `plot`
    ax_: Any
    figure_: Any
    axes_: Any

    _layout = "constrained"  # of new figures

    @classmethod
    def _network_in(cls, estimator, X=None):
        """Return what :func:`network_in` returns, for `from_estimator`; matplotlib comes first."""
        pyplot(f"{cls.__name__}.from_estimator")
        return network_in(estimator, X)

    def _axes(self, ax, figsize=None):
        """Return the axes to draw on, those given or of a new figure, and remember them."""
        plt = pyplot(type(self).__name__)
        if ax is None:
            _, ax = plt.subplots(figsize=figsize, layout=self._layout)
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    def _grid(self, ax, figsize, rows, columns, sharex=False, sharey=False, **ratios):
        """Return axes in a grid: those given, or parts of the given one or of a new figure.

        Axes that are made here share their scales and the labels of these, if asked for.
        """
        pyplot(type(self).__name__)
        from matplotlib.axes import Axes
        from matplotlib.gridspec import GridSpecFromSubplotSpec

        if ax is not None and not isinstance(ax, Axes):
            axes = np.asarray(ax, dtype=object)
            if axes.size != rows * columns:
                raise ValueError(f"ax has {axes.size} axes; expected one, or {rows * columns}.")
            self.axes_, self.ax_ = axes.reshape(rows, columns), None
            self.figure_ = self.axes_[0, 0].figure
            return self.axes_
        ax = self._axes(ax, figsize)
        if rows == columns == 1:
            self.axes_ = np.array([[ax]], dtype=object)
            return self.axes_
        ax.set_axis_off()
        place = ax.get_subplotspec()
        if place is None:  # axes that are in no grid
            box = ax.get_position()
            place = ax.figure.add_gridspec(
                1, 1, left=box.x0, right=box.x1, bottom=box.y0, top=box.y1
            )[0]
        grid = GridSpecFromSubplotSpec(rows, columns, subplot_spec=place, **ratios)
        self.axes_ = np.empty((rows, columns), dtype=object)
        for where in np.ndindex(rows, columns):
            first = self.axes_[0, 0]
            panel = ax.figure.add_subplot(
                grid[where], sharex=first if sharex else None, sharey=first if sharey else None
            )
            panel.tick_params(
                labelbottom=not sharex or where[0] == rows - 1,
                labelleft=not sharey or where[1] == 0,
            )
            self.axes_[where] = panel
        return self.axes_
