"""Outliers: samples that an autoencoder reconstructs badly."""

from numbers import Real
from typing import Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_features, check_is_fitted

from ..estimator.groups import Features
from ..estimator.parameters import Array, fitted, param
from ..estimator.transactions import all_or_nothing, consistent
from .base import Autoencoder
from .dense import AutoencoderTransformer

#: Units of the code at most, where no autoencoder is given.
_MOST_UNITS = 32


class ReconstructionOutlierDetector(Features, OutlierMixin, BaseEstimator):
    """Finds outliers by an autoencoder: what it reconstructs badly is unlike what it has learned.

    The autoencoder is any of this package, for rows, images or sequences, and X is as that takes
    it. What it reconstructs well depends on how features are scaled. It is cloned and fitted; to
    use one as it is, fitted before, hold it in a :class:`sklearn.frozen.FrozenEstimator`: then
    only the threshold comes from X. That is the better way for large networks, whose errors are
    smaller on the samples that they were fitted to than on others: give `fit` some of the others.

    References
    ----------
    J. W. Tukey, "Exploratory data analysis", 1977.

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
        The autoencoder; None: ``AutoencoderTransformer(n, random_state=0)``, n half the number of
        features, at least 1 and at most {_MOST_UNITS}.""",
        default=None, kind="autoencoder, FrozenEstimator or None", kw_only=False,
    )
    contamination: Literal["auto"] | float = param(
        """
        The part of outliers in X to fit, from which the threshold follows. 'auto': it is Tukey's
        upper fence, as in a boxplot: outliers are samples whose root of the error, a distance, is
        above the third quartile by more than 1.5 times the distance between the quartiles. That is
        about 1% of data that have no outliers, and up to a quarter of X may be outliers without
        moving it much.""",
        default="auto", valid=[Interval(Real, 0, 0.5, closed="right")], kind="'auto' or float",
        kw_only=False,
    )

    autoencoder_: Autoencoder = fitted("The fitted autoencoder.", kind="estimator")
    offset_: float = fitted(
        "The threshold: what has a smaller score is an outlier, by `decision_function` below 0."
    )

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None) -> Self:
        """Fit the autoencoder, and find the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, as the autoencoder takes them.
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
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(net, name):
                setattr(self, name, getattr(net, name))
        return self

    def _unfitted(self, X):
        """Return a clone of the autoencoder, or the one that stands for None."""
        net = self.autoencoder
        if net is None:
            try:
                width = _num_features(X)
            except TypeError:  # it has none, which fit will say
                width = 1
            return AutoencoderTransformer(min(max(width // 2, 1), _MOST_UNITS), random_state=0)
        if not isinstance(_thawed(net), Autoencoder):
            raise TypeError(
                f"autoencoder is {net!r}; expected an autoencoder of this package, a "
                "FrozenEstimator that holds one, or None."
            )
        return clone(net)

    @consistent
    def score_samples(self, X) -> Array:
        """Return minus the error of reconstruction of each sample: small for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, as `fit` takes them.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            What the autoencoder's `score_samples` returns.
        """
        check_is_fitted(self)
        return self.autoencoder_.score_samples(X)

    @consistent
    def decision_function(self, X) -> Array:
        """Return how far scores are above the threshold: below 0 for outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, as `fit` takes them.

        Returns
        -------
        distances : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``.
        """
        scores = self.score_samples(X)
        if not isinstance(self.offset_, Real):  # set by hand
            raise ValueError(f"offset_ is {self.offset_!r}; expected a number.")
        return scores - self.offset_

    @consistent
    def predict(self, X) -> Array:
        """Return -1 for outliers and 1 for others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), images or sequences
            The samples, as `fit` takes them.

        Returns
        -------
        y : ndarray of int of shape (n_samples,)
            1 or -1 for each.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        net = _thawed(self.autoencoder)
        known = net if isinstance(net, Autoencoder) else AutoencoderTransformer()
        tags.input_tags = get_tags(known).input_tags
        return tags


def _thawed(net):
    """Return the estimator that scikit-learn's FrozenEstimator holds."""
    return net.estimator if isinstance(net, FrozenEstimator) else net


def _fence(scores):
    """Return the score below which there are outliers, for those of samples most of which are not.

    No error that is inside the fence is outside by rounding, where all are alike.
    """
    roots = np.sqrt(-scores)
    low, high = np.percentile(roots, [25, 75])
    fence = high + 1.5 * (high - low)
    return -float(max(fence**2, -scores[roots <= fence].min()))
