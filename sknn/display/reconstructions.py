"""Reconstructions beside their originals."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from .base import (
    Display,
    check_count,
    image_shape_of,
    network_in,
    styled,
    wrong_estimator,
)
from .images import UNSIGNED, Mosaic, as_images, colored, shortened, value_range

#: Images drawn unless others are chosen.
_SAMPLES = 10


class ReconstructionDisplay(Display):
    """Images, their noisy versions if there are any, and their reconstructions, line by line.

    Parameters
    ----------
    originals : array-like of shape (n_samples, height, width, channels) or (n_samples, height, \
width)
        The images.
    reconstructions : dict of str to array-like of the shape of `originals`
        Their reconstructions, by the name of what made them.
    noisy : array-like of the shape of `originals`, or None, default=None
        The images that were reconstructed, if not the originals.

    Attributes
    ----------
    errors : dict of str to ndarray of shape (n_samples,)
        The mean squared error of each reconstruction, with respect to the original.
    im_ : AxesImage
        All images, as one.
    text_ : list of Text
        The errors below the reconstructions.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn.display import ReconstructionDisplay
    >>> X = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    >>> display = ReconstructionDisplay.from_predictions(X, X / 2, image_shape=(2, 2))
    >>> display.errors["reconstruction"]
    array([0.125, 0.125])
    """

    _layout = "compressed"  # otherwise long names are cut off until it is drawn again

    def __init__(self, *, originals, reconstructions, noisy=None):
        self.originals = originals
        self.reconstructions = reconstructions
        self.noisy = noisy

    @property
    def errors(self):
        """The mean squared error of each reconstruction."""
        wanted = np.asarray(self.originals, np.float64)
        return {
            name: np.mean((np.asarray(found) - wanted) ** 2, axis=tuple(range(1, wanted.ndim)))
            for name, found in self.reconstructions.items()
        }

    def plot(
        self, ax=None, *, samples: ArrayLike = _SAMPLES, labels=None, show_errors=True, **kwargs
    ):
        """Draw the images.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        samples : int or array-like of int, default=10
            The samples to draw: how many of the first, or which.
        labels : array-like of shape (n_samples,), default=None
            A label for each sample of the data, written above it.
        show_errors : bool, default=True
            Whether to write the mean squared errors: beside a line that of all samples, also those
            not drawn, and below each reconstruction its own.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : ReconstructionDisplay
            This display.
        """
        originals = as_images(self.originals, name="originals")
        check_consistent_length(originals, labels)
        rows = _chosen(len(originals), samples)
        lines = {"original": originals}
        if self.noisy is not None:
            lines["noisy"] = as_images(self.noisy, name="noisy")
        for name, found in self.reconstructions.items():
            lines[name] = as_images(found, name=name)
        for name, found in lines.items():
            if found.shape != originals.shape:
                raise ValueError(
                    f"{name} has images of the shape {found.shape}; expected {originals.shape}, "
                    "that of the originals."
                )
        limits = value_range(originals)
        tiles = np.stack([colored(found[rows], limits) for found in lines.values()])
        mosaic = Mosaic.of(tiles, below=0.35 if show_errors else 0.0)
        width = min(0.72 * len(rows), 11.0)
        ax = self._axes(ax, (width + 1.6, width / mosaic.aspect + 0.4))
        self.im_ = mosaic.show(
            ax, **{"cmap": UNSIGNED, "vmin": limits[0], "vmax": limits[1], **kwargs}
        )
        names, errors, self.text_ = list(lines), self.errors, []
        if show_errors:
            for line, name in enumerate(lines):
                if name in errors:
                    names[line] += f"\nMSE {_short(errors[name].mean())}"
                    captions = map(_short, errors[name][rows])
                    self.text_ += mosaic.caption(ax, line, captions)
        mosaic.name_lines(ax, names)
        if labels is not None:
            mosaic.name_columns(ax, shortened(np.asarray(labels)[rows], width / len(rows)))
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, *, X_noisy=None, image_shape=None,
        samples: ArrayLike = _SAMPLES, labels=None, show_errors=True, ax=None, **kwargs,
    ):  # fmt: skip
        """Reconstruct images and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder; or any transformer with an `inverse_transform`, such as a
            pipeline of scalers and an autoencoder, or principal components.
        X : array-like of shape (n_samples, n_features), or images
            The images.
        X_noisy : array-like of the shape of X, default=None
            What to reconstruct, if not X itself.
        image_shape : tuple (height, width) or (height, width, channels), or None, default=None
            Shape of the images, if the rows of X are flattened images. None: that of the images to
            which the estimator was fitted.
        samples, labels, show_errors, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        net, _ = cls._network_in(estimator)
        if image_shape is None:
            image_shape = image_shape_of(net)
        X, X_noisy, found = _reconstructed(cls, estimator, X, X_noisy)
        return cls.from_predictions(
            X, found, X_noisy=X_noisy, image_shape=image_shape, samples=samples, labels=labels,
            show_errors=show_errors, ax=ax, **kwargs,
        )  # fmt: skip

    @classmethod
    def from_predictions(
        cls, X, X_reconstructed, *, X_noisy=None, image_shape=None,
        samples: ArrayLike = _SAMPLES, labels=None, show_errors=True, ax=None, **kwargs,
    ):  # fmt: skip
        """Draw images and given reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The images.
        X_reconstructed : array-like of the shape of X, or dict of str to such arrays
            Their reconstructions, or those of several models by name.
        X_noisy : array-like of the shape of X, default=None
            What was reconstructed, if not X itself.
        image_shape : tuple (height, width) or (height, width, channels), or None, default=None
            Shape of the images, if the rows of X are flattened images.
        samples, labels, show_errors, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : ReconstructionDisplay
            The display, drawn.
        """
        if not isinstance(X_reconstructed, dict):
            X_reconstructed = {"reconstruction": X_reconstructed}
        display = cls(
            originals=as_images(X, image_shape, "X"),
            reconstructions={
                name: as_images(found, image_shape, name) for name, found in X_reconstructed.items()
            },
            noisy=None if X_noisy is None else as_images(X_noisy, image_shape, "X_noisy"),
        )
        return display.plot(
            ax=ax, samples=samples, labels=labels, show_errors=show_errors, **kwargs
        )


class SequenceReconstructionDisplay(Display):
    """Sequences, or rows of features, as curves, and their reconstructions over them.

    Parameters
    ----------
    originals : list of array-like of shape (n_steps,) or (n_steps, n_features)
        The sequences, of any lengths.
    reconstructions : list of array-like
        Their reconstructions, of the same shapes.

    Attributes
    ----------
    errors : ndarray of shape (n_sequences,)
        The mean squared error of each reconstruction.
    axes_ : ndarray of Axes of shape (n_lines, n_columns)
        One for each sequence that is drawn.
    lines_ : list of Line2D
        The curves, for each sequence the originals, then the reconstructions.
    ax_ : Axes
        The axes that were divided; None if several were given.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> from sknn.display import SequenceReconstructionDisplay
    >>> display = SequenceReconstructionDisplay.from_predictions([[0, 1, 2], [4]], [[0, 1, 1], [2]])
    >>> display.errors
    array([0.33333333, 4.        ])
    """

    def __init__(self, *, originals, reconstructions):
        self.originals = originals
        self.reconstructions = reconstructions

    @property
    def errors(self):
        """The mean squared error of each reconstruction."""
        return np.array([
            np.mean((np.asarray(found, np.float64) - wanted) ** 2)
            for found, wanted in zip(self.reconstructions, self.originals)
        ])  # fmt: skip

    def plot(self, ax=None, *, samples: ArrayLike = 9, labels=None, n_columns=3, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to divide, or one for each sequence. None: a new figure.
        samples : int or array-like of int, default=9
            The sequences to draw: how many of the first, or which.
        labels : array-like of shape (n_sequences,), default=None
            A label for each sequence of the data.
        n_columns : int, default=3
            Number of sequences side by side.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot` for the reconstructions.

        Returns
        -------
        display : SequenceReconstructionDisplay
            This display.
        """
        check_count("n_columns", n_columns, 1)
        _check_alike(self.originals, self.reconstructions)
        check_consistent_length(self.originals, labels)
        rows = _chosen(len(self.originals), samples)
        columns = min(n_columns, len(rows))
        lines = -(-len(rows) // columns)
        axes = self._grid(ax, (3.0 * columns + 0.4, 1.7 * lines + 0.6), lines, columns, True, True)
        errors, self.lines_ = self.errors, []
        for panel, row in zip(axes.flat, rows):
            given = {"color": "0.6", "linewidth": 3, "label": "original"}
            found = styled({"color": "C3", "linewidth": 1, "label": "reconstruction"}, kwargs)
            self.lines_ += panel.plot(np.asarray(self.originals[row]), **given)
            self.lines_ += panel.plot(np.asarray(self.reconstructions[row]), **found)
            title = f"MSE {_short(errors[row])}"
            title = title if labels is None else f"{np.asarray(labels)[row]}, {title}"
            panel.set_title(title, fontsize="medium")
            panel.spines[["top", "right"]].set_visible(False)
        for panel in axes.flat[len(rows) :]:
            panel.set_axis_off()
        for panel in axes[-1]:
            panel.set_xlabel("step")
        first = axes[0, 0]
        handles = [self.lines_[0], next(a for a in first.lines if a.get_label() != "original")]
        first.legend(
            handles=handles, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.15), frameon=False,
            fontsize="small", borderpad=0,
        )  # fmt: skip
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, *, samples: ArrayLike = 9, labels=None, n_columns=3, ax=None, **kwargs
    ):
        """Reconstruct sequences and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted autoencoder for sequences or for rows, or another transformer with an
            `inverse_transform`.
        X : list of array-like, or array-like of shape (n_sequences, n_steps[, n_features])
            The sequences, in any form that the estimator accepts.
        samples, labels, n_columns, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : SequenceReconstructionDisplay
            The display, drawn.
        """
        cls._network_in(estimator)  # which checks that it is fitted
        X, _, found = _reconstructed(cls, estimator, X, None)
        return cls.from_predictions(
            X, found, samples=samples, labels=labels, n_columns=n_columns, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls, X, X_reconstructed, *, samples: ArrayLike = 9, labels=None, n_columns=3, ax=None,
        **kwargs,
    ):  # fmt: skip
        """Draw sequences and given reconstructions.

        Parameters
        ----------
        X : list of array-like, or array-like of shape (n_sequences, n_steps[, n_features])
            The sequences.
        X_reconstructed : list or array-like of the shapes of X
            Their reconstructions.
        samples, labels, n_columns, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : SequenceReconstructionDisplay
            The display, drawn.
        """
        originals, found = (
            [np.asarray(one) for one in (some.to_numpy() if hasattr(some, "to_numpy") else some)]
            for some in (X, X_reconstructed)
        )
        display = cls(originals=originals, reconstructions=found)
        return display.plot(ax=ax, samples=samples, labels=labels, n_columns=n_columns, **kwargs)


def _check_alike(originals, reconstructions):
    """Raise ValueError if sequences and reconstructions are of different shapes."""
    if len(originals) != len(reconstructions):
        raise ValueError(
            f"There are {len(reconstructions)} reconstructions; expected {len(originals)}."
        )
    for i, (wanted, found) in enumerate(zip(originals, reconstructions)):
        if np.shape(wanted) != np.shape(found) or np.ndim(wanted) not in (1, 2):
            raise ValueError(
                f"Sequence {i} has the shape {np.shape(wanted)}, its reconstruction "
                f"{np.shape(found)}; expected the same, (n_steps,) or (n_steps, n_features)."
            )


def _chosen(n, samples):
    """Return the numbers of the samples to draw: of the first ones, or those given."""
    rows = np.arange(n)
    try:
        first = isinstance(samples, Integral)
        rows = rows[: max(samples, 0)] if first else rows[np.asarray(samples)]
    except IndexError as error:
        raise ValueError(f"samples is {samples!r}; expected some of {n} samples.") from error
    if not len(rows):
        raise ValueError(f"samples is {samples!r}; expected at least one sample.")
    return rows


def _reconstructed(cls, estimator, X, X_noisy):
    """Return originals, their noisy versions or None, and the reconstructions of these or those.

    Where a pipeline cannot go back to what it was given, all three are as its network sees them.
    """
    given = X if X_noisy is None else X_noisy
    if hasattr(estimator, "reconstruct"):
        return X, X_noisy, estimator.reconstruct(given)
    if hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
        return X, X_noisy, estimator.inverse_transform(estimator.transform(given))
    net, given = network_in(estimator, given)
    if not hasattr(net, "reconstruct"):
        raise wrong_estimator(
            cls, net, "an autoencoder, or a transformer with an inverse_transform"
        )
    X = network_in(estimator, X)[1]
    return X, None if X_noisy is None else given, net.reconstruct(given)


def _short(error):
    """Return an error with two significant digits."""
    return f"{error:.2g}" if error < 1e-3 or error >= 10 else f"{error:.{3 if error < 0.1 else 2}f}"
