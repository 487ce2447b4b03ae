"""Outlier detection by the reconstruction error of an autoencoder."""

from numbers import Real
from typing import Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_features, check_is_fitted

from ..estimator.base import Estimator, agree
from ..estimator.groups import Features
from ..estimator.parameters import Array, fitted, param
from ..estimator.transactions import all_or_nothing, consistent
from ..estimator.wrapping import take_features, thawed
from .base import Autoencoder
from .dense import AutoencoderTransformer

#: Largest size of the code, where no autoencoder is given.
_MOST_UNITS = 32


class ReconstructionOutlierDetector(Features, OutlierMixin, Estimator):
    """Detects outliers by the reconstruction error of an autoencoder.

    Samples that the autoencoder reconstructs poorly are unlike its training data. Any autoencoder
    of this package can be used, for rows of features, images or sequences; X has the form that it
    accepts. How well it reconstructs a sample depends on the scaling of the features. `fit` fits a
    clone of it. To use an autoencoder that is already fitted, wrap it in a
    :class:`sklearn.frozen.FrozenEstimator`: then only the threshold is learned from X. That is
    better for large networks, whose errors are smaller on their training data than on new samples:
    give `fit` samples that were not used to train the network.

    References
    ----------
    Tukey, J. W., "Exploratory data analysis", 1977.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sknn import AutoencoderTransformer, ReconstructionOutlierDetector
    >>> X = load_digits().data / 16
    >>> noise = np.random.RandomState(0).uniform(size=(5, 64))
    >>> net = AutoencoderTransformer((64, 16), max_iter=30, random_state=0)
    >>> detector = ReconstructionOutlierDetector(net).fit(X[:1000])
    >>> detector.predict(noise)
    array([-1, -1, -1, -1, -1])
    >>> bool((detector.predict(X[1000:]) == 1).mean() > 0.9)
    True
    """

    autoencoder: BaseEstimator | None = param(
        f"""
        The autoencoder. None: ``AutoencoderTransformer(n, random_state=0)``, where n is half the
        number of features, at least 1 and at most {_MOST_UNITS}.""",
        default=None, kind="autoencoder, FrozenEstimator or None", kw_only=False,
    )
    contamination: Literal["auto"] | float = param(
        """
        The proportion of outliers in the training data, which determines the threshold. 'auto': the
        threshold is Tukey's upper fence, as in a boxplot: outliers are samples for which the square
        root of the error, a distance, exceeds the third quartile by more than 1.5 times the
        interquartile range. This flags about 1% of data without outliers; up to a quarter of X may
        be outliers without moving the threshold much.""",
        default="auto", valid=[Interval(Real, 0, 0.5, closed="right")], kind="'auto' or float",
        kw_only=False,
    )

    autoencoder_: Autoencoder = fitted("The fitted autoencoder.", kind="estimator")
    offset_: float = fitted(
        "The threshold: outliers are samples with a lower score, by `decision_function` below 0."
    )

    def _check_loaded(self):
        super()._check_loaded()
        net, _ = thawed(self.autoencoder_), self.offset_
        agree("autoencoder_", isinstance(net, Autoencoder) and net.__sklearn_is_fitted__(), True)

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None) -> Self:
        """Fit the autoencoder and determine the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, in a form that the autoencoder accepts.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : estimator
            The detector.
        """
        net = self._unfitted(X).fit(X, None)
        scores = net.score_samples(X)
        if self.contamination == "auto":
            self.offset_ = _fence(scores)
        else:
            self.offset_ = float(np.percentile(scores, 100 * self.contamination))
        self.autoencoder_ = net
        take_features(self, net)
        return self

    def _unfitted(self, X):
        """Return a clone of the autoencoder, or the default one for None."""
        net = self.autoencoder
        if net is None:
            try:
                width = _num_features(X)
            except TypeError:  # it has none, which fit will say
                width = 1
            return AutoencoderTransformer(min(max(width // 2, 1), _MOST_UNITS), random_state=0)
        if not isinstance(thawed(net), Autoencoder):
            raise TypeError(
                f"autoencoder is {net!r}; expected an autoencoder of this package, a "
                "FrozenEstimator that holds one, or None."
            )
        return clone(net)

    @consistent
    def score_samples(self, X) -> Array:
        """Return minus the reconstruction error of each sample: low for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, in any form that `fit` accepts.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            The autoencoder's `score_samples`.
        """
        check_is_fitted(self)
        return self.autoencoder_.score_samples(X)

    @consistent
    def decision_function(self, X) -> Array:
        """Return the scores relative to the threshold: negative for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, in any form that `fit` accepts.

        Returns
        -------
        distances : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``.
        """
        scores = self.score_samples(X)
        if not isinstance(self.offset_, Real):  # set by the user
            raise ValueError(f"offset_ is {self.offset_!r}; expected a number.")
        return scores - self.offset_

    @consistent
    def predict(self, X) -> Array:
        """Return -1 for outliers and 1 for inliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, in any form that `fit` accepts.

        Returns
        -------
        y : ndarray of int of shape (n_samples,)
            1 or -1 for each sample.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        net = thawed(self.autoencoder)
        known = net if isinstance(net, Autoencoder) else AutoencoderTransformer()
        tags.input_tags = get_tags(known).input_tags
        return tags


def _fence(scores):
    """Return the score below which samples are outliers, given scores of mostly inliers.

    Where all errors are alike, rounding must not put any that is inside the fence outside.
    """
    roots = np.sqrt(-scores)
    low, high = np.percentile(roots, [25, 75])
    fence = high + 1.5 * (high - low)
    return -float(max(fence**2, -scores[roots <= fence].min()))
