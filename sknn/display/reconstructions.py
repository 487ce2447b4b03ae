"""Reconstructions beside their originals."""

from numbers import Integral

import numpy as np

from .base import Display, network_in, pyplot, wrong_estimator
from .images import UNSIGNED, Mosaic, as_images, colored, value_range

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

    def plot(self, ax=None, *, samples=_SAMPLES, labels=None, show_errors=True, **kwargs):
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
        rows = np.arange(len(originals))
        rows = rows[:samples] if isinstance(samples, Integral) else rows[np.asarray(samples)]
        if not len(rows):
            raise ValueError(f"samples is {samples!r}; expected at least one sample.")
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
            mosaic.name_columns(ax, np.asarray(labels)[rows])
        return self

    @classmethod
    def from_estimator(
        cls, estimator, X, *, X_noisy=None, image_shape=None, samples=_SAMPLES, labels=None,
        show_errors=True, ax=None, **kwargs,
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
        pyplot(f"{cls.__name__}.from_estimator")
        net, _ = network_in(estimator)
        if image_shape is None:
            image_shape = getattr(net, "image_shape_", None)
        given = X if X_noisy is None else X_noisy
        if hasattr(estimator, "reconstruct"):
            found = estimator.reconstruct(given)
        elif hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
            found = estimator.inverse_transform(estimator.transform(given))
        elif hasattr(net, "reconstruct") and net is not estimator:
            found = net.reconstruct(given)
        else:
            raise wrong_estimator(
                cls, estimator, "an autoencoder, or a transformer with an inverse_transform"
            )
        return cls.from_predictions(
            X, found, X_noisy=X_noisy, image_shape=image_shape, samples=samples, labels=labels,
            show_errors=show_errors, ax=ax, **kwargs,
        )  # fmt: skip

    @classmethod
    def from_predictions(
        cls, X, X_reconstructed, *, X_noisy=None, image_shape=None, samples=_SAMPLES, labels=None,
        show_errors=True, ax=None, **kwargs,
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


def _short(error):
    """Return an error with two significant digits."""
    return f"{error:.2g}" if error < 1e-3 or error >= 10 else f"{error:.{3 if error < 0.1 else 2}f}"
