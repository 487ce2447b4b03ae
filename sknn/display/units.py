"""Hidden units in the space of their inputs: radial ones under their sum, lines, circles."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.utils import check_array, check_consistent_length

from ..layers import BatchNormalization
from .base import (
    Display,
    check_count,
    class_colors,
    ink,
    legend_beside,
    styled,
    wrong_estimator,
)

#: Inches of a figure with a legend at the right.
_FIGSIZE = 7.4, 4.8


class RadialUnitsDisplay(Display):
    """Weighted radial units of a function of one feature, under the sum of which it consists.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        Values of the feature.
    units : array-like of shape (n_points, n_centers)
        The outputs of the units, multiplied by their weights.
    intercept : float
        What is added to the sum of the units.
    centers : array-like of shape (n_centers,) or None, default=None
        Where the units have their centers.
    X, y : array-like of shape (n_samples,) or None, default=None
        Data to draw as points.
    names : pair of str, default=("x", "y")
        Names of the feature and of the output.

    Attributes
    ----------
    total : ndarray of shape (n_points,)
        The sum of the units and the intercept.
    unit_lines_ : list of Line2D
        The units.
    line_ : Line2D
        Their sum.
    intercept_line_ : Line2D
        The intercept.
    points_ : Line2D or None
        The data.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import RBFNetRegressor
    >>> from sknn.display import RadialUnitsDisplay
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> net = RBFNetRegressor(3, random_state=0).fit(X, np.sin(6 * X[:, 0]))
    >>> display = RadialUnitsDisplay.from_estimator(net, X, np.sin(6 * X[:, 0]))
    >>> len(display.unit_lines_)
    3
    """

    def __init__(
        self, *, x, units, intercept, centers=None, X=None, y=None,
        names: Sequence[str] = ("x", "y"),
    ):  # fmt: skip
        self.x = x
        self.units = units
        self.intercept = intercept
        self.centers = centers
        self.X = X
        self.y = y
        self.names = names

    @property
    def total(self):
        """The sum of the units and the intercept."""
        return np.asarray(self.units).sum(axis=1) + self.intercept

    def plot(self, ax=None, *, legend=True, **kwargs):
        """Draw the units and their sum.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        legend : bool, default=True
            Whether to draw a legend, at the right of the axes.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for the units.

        Returns
        -------
        display : RadialUnitsDisplay
            This display.
        """
        ax = self._axes(ax, (7.4, 4.2))
        self.points_ = None
        if self.X is not None and self.y is not None:
            (self.points_,) = ax.plot(
                np.ravel(self.X), self.y, ".", color="0.6", markersize=5, label="data", zorder=1
            )
        units = styled({"color": "C0", "linewidth": 1, "alpha": 0.8}, kwargs)
        self.unit_lines_ = ax.plot(self.x, np.asarray(self.units), **units)
        self.unit_lines_[0].set_label("weighted units")
        self.intercept_line_ = ax.axhline(
            self.intercept, color="C2", linestyle="--", linewidth=1, label="intercept"
        )
        (self.line_,) = ax.plot(self.x, self.total, color="C3", linewidth=2, label="their sum")
        if self.centers is not None:
            ax.plot(
                np.ravel(self.centers), np.full(np.size(self.centers), 0.025), "^", color=ink(),
                markersize=5, transform=ax.get_xaxis_transform(), label="centers",
            )  # fmt: skip
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        if legend:
            legend_beside(ax)
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, target=0, grid_resolution=400, legend=True, ax=None, **kwargs
    ):
        """Draw the units of a fitted network of radial basis functions.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sknn.RBFNetRegressor` or :class:`~sknn.RBFNetClassifier` of one
            feature, or an estimator that holds one; a pipeline's earlier steps transform X, and
            the axis shows what the network gets.
        X : array-like of shape (n_samples, 1)
            Samples, whose range is drawn.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets to draw as points; of a classifier, 1 for the class of the output, else 0.
        target : int, default=0
            The output to draw, if there are several.
        grid_resolution : int, default=400
            Number of points of the curves.
        legend, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : RadialUnitsDisplay
            The display, drawn.
        """
        net, given = cls._network_in(estimator, X)
        if not hasattr(net, "centers_"):
            raise wrong_estimator(cls, net, "an RBFNetRegressor or an RBFNetClassifier")
        if net.n_features_in_ != 1:
            raise ValueError(
                f"{type(net).__name__} was fitted to {net.n_features_in_} features; expected 1. "
                "For 2, DecisionRegionDisplay draws the units."
            )
        inner = check_array(given, input_name="X")[:, 0]
        names = [str(given.columns[0]) if hasattr(given, "columns") else "x", "output"]
        coef, intercept = np.atleast_2d(net.coef_), np.ravel(net.intercept_)
        if not isinstance(target, Integral) or not -len(coef) <= target < len(coef):
            raise ValueError(f"target is {target!r}; expected one of {len(coef)} outputs.")
        check_count("grid_resolution", grid_resolution, 2)
        check_consistent_length(inner, y)
        x = np.linspace(inner.min(), inner.max(), grid_resolution)
        rows = _named(x[:, None].astype(coef.dtype), given)
        units = net.activations(rows, 0) * coef[target]
        display = cls(
            x=x, units=units, intercept=float(intercept[target]), centers=net.centers_[:, 0],
            X=inner, y=None if y is None else _targets(net, y, target), names=names,
        )  # fmt: skip
        return display.plot(ax=ax, legend=legend, **kwargs)


def _targets(net, y, target):
    """Return the targets of one output as numbers."""
    y = np.asarray(y)
    if hasattr(net, "classes_") and y.ndim == 1:
        classes = net.classes_
        return (y == (classes[1] if len(classes) == 2 else classes[target])).astype(float)
    return y if y.ndim == 1 else y[:, target]


def _named(X, given):
    """Return X with the names that the columns of another X have."""
    import pandas as pd

    return pd.DataFrame(X, columns=list(given.columns)) if hasattr(given, "columns") else X


class DecisionRegionDisplay(Display):
    """Decision regions of a small network of two features, with its hidden units.

    A hidden unit of a multilayer perceptron is a line, on which its weighted sum is zero, and so is
    each neuron of a perceptron. A radial unit is a circle around its center, whose radius is its
    width. The regions, or the values of a regressor, are scikit-learn's
    :class:`~sklearn.inspection.DecisionBoundaryDisplay`.

    Parameters
    ----------
    regions : DecisionBoundaryDisplay
        The regions.
    lines : array-like of shape (n_units, 3) or None, default=None
        Two weights and the bias of each unit that is a line.
    circles : array-like of shape (n_units, 3) or None, default=None
        Center and width of each unit that is a circle.
    X : array-like of shape (n_samples, 2) or None, default=None
        Data to draw as points.
    y : array-like of shape (n_samples,) or None, default=None
        Their classes, or numbers.
    classes : array-like of shape (n_classes,) or None, default=None
        The classes, in the order of the regions; None if y is numbers.
    method : str, default='predict'
        The method of the estimator that the regions show.

    Attributes
    ----------
    surface_ : QuadContourSet, QuadMesh or list of them
        The regions.
    unit_lines_ : list of Line2D
        Units that are lines.
    circles_ : list of Circle
        Units that are circles.
    points_ : list of PathCollection
        The data, by class.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> from sknn import PerceptronClassifier
    >>> from sknn.display import DecisionRegionDisplay
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> neuron = PerceptronClassifier(shuffle=False).fit(X, y)
    >>> display = DecisionRegionDisplay.from_estimator(neuron, X, y)
    >>> display.lines
    array([[ 2.,  1., -3.]])
    """

    def __init__(
        self, *, regions, lines=None, circles=None, X=None, y=None, classes=None, method="predict"
    ):
        self.regions = regions
        self.lines = lines
        self.circles = circles
        self.X = X
        self.y = y
        self.classes = classes
        self.method = method

    def plot(self, ax=None, *, plot_method="contourf", legend=True, **kwargs):
        """Draw the regions, the units and the data.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        plot_method : {'contourf', 'contour', 'pcolormesh'}, default='contourf'
            How to draw the regions.
        legend : bool, default=True
            Whether to draw a legend, at the right of the axes.
        **kwargs : dict
            Passed to that method of the axes.

        Returns
        -------
        display : DecisionRegionDisplay
            This display.
        """
        ax = self._axes(ax, _FIGSIZE)
        options = _colors(self.classes, self.method, plot_method)
        self.regions.plot(plot_method, ax, **{**options, **kwargs})
        return self._overlay(legend)

    def _overlay(self, legend):
        """Draw units and data on the regions."""
        ax, regions = self.ax_, self.regions
        self.surface_ = regions.surface_
        ax.set_xlim(regions.xx0.min(), regions.xx0.max())
        ax.set_ylim(regions.xx1.min(), regions.xx1.max())
        self._show_units(ax)
        self._show_data(ax)
        if legend and ax.get_legend_handles_labels()[0]:
            legend_beside(ax)
        return self

    def _show_units(self, ax):
        from matplotlib.patches import Circle

        self.unit_lines_, self.circles_ = [], []
        style = {"linewidth": 1.2, "color": ink(), "alpha": 0.8, "linestyle": "--"}
        for *weights, bias in () if self.lines is None else self.lines:
            square = np.dot(weights, weights)
            if square > 0:
                foot = np.multiply(weights, -bias / square)  # the point nearest to the origin
                other = foot + np.array([-weights[1], weights[0]]) / np.sqrt(square)
                label = None if self.unit_lines_ else "units"
                self.unit_lines_.append(ax.axline(foot, other, label=label, **style))
        for *center, width in () if self.circles is None else self.circles:
            self.circles_.append(ax.add_patch(Circle(center, width, fill=False, **style)))
            label = None if len(self.circles_) > 1 else "units: center\nand width"
            ax.plot(*center, "+", color=ink(), markersize=8, label=label)
            ax.set_aspect("equal")

    def _show_data(self, ax):
        self.points_ = []
        if self.X is None:
            return
        X, regions = np.asarray(self.X), self.regions
        dots = {"s": 28, "edgecolors": "white", "linewidths": 0.8, "zorder": 3}
        if self.y is None:
            self.points_.append(ax.scatter(*X.T, color="0.4", **dots))
        elif self.classes is None:
            norm = getattr(regions.surface_, "norm", None)
            self.points_.append(ax.scatter(*X.T, c=self.y, norm=norm, **dots))
        else:
            colors = getattr(regions, "multiclass_colors_", class_colors(len(self.classes)))
            for name, color in zip(self.classes, colors):
                some = X[np.asarray(self.y) == name]
                self.points_.append(ax.scatter(*some.T, color=color, label=str(name), **dots))

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, grid_resolution=200, eps=None, plot_method="contourf",
        response_method="predict", legend=True, ax=None, **kwargs,
    ):  # fmt: skip
        """Draw the regions and units of a fitted network.

        Parameters
        ----------
        estimator : estimator
            A fitted multilayer perceptron, perceptron or network of radial basis functions, or an
            estimator that holds one; a pipeline's earlier steps transform X, and the axes show
            what the network gets.
        X : array-like of shape (n_samples, 2)
            Samples, drawn as points.
        y : array-like of shape (n_samples,), default=None
            Their classes, or numbers.
        grid_resolution : int, default=200
            Number of points in each direction at which the network predicts.
        eps : float or None, default=None
            How far the axes extend beyond the samples. None: a tenth of their larger range.
        plot_method, response_method, **kwargs
            As in :meth:`sklearn.inspection.DecisionBoundaryDisplay.from_estimator`, which has
            others, such as `class_of_interest`.
        legend : bool, default=True
            Whether to draw a legend, at the right of the axes.
        ax : Axes, default=None
            The axes; None: of a new figure.

        Returns
        -------
        display : DecisionRegionDisplay
            The display, drawn.
        """
        net, inner = cls._network_in(estimator, X)
        lines, circles = _lines(net), _circles(net)
        if lines is None and circles is None:
            raise wrong_estimator(
                cls, net, "a multilayer perceptron, a perceptron or a network of radial basis "
                "functions"
            )  # fmt: skip
        points = check_array(inner, input_name="X")
        if points.shape[1] != 2:
            raise ValueError(f"X has {points.shape[1]} features; expected 2.")
        if y is not None:
            check_consistent_length(points, y)
        if eps is None:
            eps = 0.1 * float(np.ptp(points, axis=0).max()) or 1.0
        classes = getattr(net, "classes_", None)
        display = cls(
            regions=None, lines=lines, circles=circles, X=points, y=y, classes=classes,
            method=response_method,
        )  # fmt: skip
        options = {**_colors(classes, response_method, plot_method), **kwargs}
        display.regions = DecisionBoundaryDisplay.from_estimator(
            net, inner if hasattr(inner, "columns") else points, grid_resolution=grid_resolution,
            eps=eps, plot_method=plot_method, response_method=response_method,
            ax=display._axes(ax, _FIGSIZE), **options,
        )  # fmt: skip
        return display._overlay(legend)


def _colors(classes, method, plot_method):
    """Return how regions are drawn, where scikit-learn's defaults are not used."""
    from matplotlib.colors import CenteredNorm, LinearSegmentedColormap, ListedColormap

    if classes is None:
        return {"alpha": 0.7, "zorder": -1}
    options = {"alpha": 0.35 if method == "predict" else 0.7, "zorder": -1}
    colors = class_colors(len(classes))
    if len(classes) != 2:  # where scikit-learn has colors of its own
        return options
    if method != "predict":
        middle = [colors[0], "white", colors[1]]
        options["cmap"] = LinearSegmentedColormap.from_list("two classes", middle)
        probable = method == "predict_proba"
        return options | ({"vmin": 0, "vmax": 1} if probable else {"norm": CenteredNorm()})
    options["cmap"] = ListedColormap(colors)
    return options | ({} if plot_method == "pcolormesh" else {"levels": [-0.5, 0.5, 1.5]})


def _lines(net):
    """Return weights and bias of the units of the first layer, or None."""
    if hasattr(net, "coefs_"):
        weights, biases = net.coefs_[0], net.intercepts_[0]
        for norm in getattr(net, "batch_norm_", ())[:1]:
            scale = norm["gamma"] / np.sqrt(norm["variance"] + BatchNormalization().epsilon)
            weights, biases = weights * scale, (biases - norm["mean"]) * scale + norm["beta"]
    elif hasattr(net, "coef_") and not hasattr(net, "centers_"):
        weights, biases = np.atleast_2d(net.coef_).T, np.ravel(net.intercept_)
    else:
        return None
    return np.column_stack([np.transpose(weights), biases])


def _circles(net):
    """Return centers and widths of radial units, or None."""
    return np.column_stack([net.centers_, net.widths_]) if hasattr(net, "centers_") else None
