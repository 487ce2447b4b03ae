"""Validation scores: the task's default score, the loss, or a scorer."""

import copy
import inspect
import numbers
from contextlib import suppress

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import check_scoring as checked
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing

from ..tape.on_demand import OnDemand, read_on_demand
from .callbacks import as_committed


def check_scoring(net):
    """Return the validated parameter `scoring`: None, 'loss' or a scorer."""
    scoring = net.scoring
    if scoring is None or isinstance(scoring, str) and scoring == "loss":
        return scoring
    if callable(scoring):
        return checked(net, scoring)  # it rejects metrics, which are not scorers
    try:
        return get_scorer(scoring)
    except ValueError:
        raise ValueError(
            f"scoring is {scoring!r}; expected None, 'loss', a callable, or the name of a scorer, "
            "one of sklearn.metrics.get_scorer_names()."
        ) from None


def minus_loss(data, loss, outputs, weights):
    """Return the score of ``scoring='loss'``."""
    return -loss


def score_of(net, job, own, learned, validation):
    """Return ``score(data, loss, outputs, weights)``, which computes the validation score.

    Parameters
    ----------
    net : Net
        Its parameter `scoring` selects the score.
    job : Job
    own : callable
        ``own(data, loss, outputs)`` returns the default score of the task.
    learned, validation : tuple of (X, y, sample_weight)
        Training and validation data as passed to `fit`.
    """
    scorer = job.scorer
    if scorer is None or job.held is None:
        return lambda data, loss, outputs, weights: own(data, loss, outputs)
    if scorer == "loss":
        return minus_loss
    X, y, weights = validation
    if X is None:
        X, y, weights = (part(some, job.held.rows) for some in learned)
    return _Scored(net, job, scorer, X, y, weights)


class _Scored:
    """Calls a scorer with an estimator that has the weights of the current epoch."""

    def __init__(self, net, job, scorer, X, y, sample_weight):
        self._net, self._job, self._scorer = net, job, scorer
        self._data = (X,) if y is None else (X, y)
        weighs = sample_weight is not None and _takes_weights(scorer)
        self._more = {"sample_weight": sample_weight} if weighs else {}

    def __call__(self, data, loss, outputs, weights):
        if not np.isfinite(outputs).all():
            return np.nan  # like the task's default score; there are no predictions
        progress = self._job.progress.copy(values=weights.values)
        fitted = as_committed(self._net, lambda other: other._commit(self._job, progress))
        fitted.random_state = copy.deepcopy(fitted.random_state)  # it must not change the fit
        score = self._scorer(fitted, *self._data, **self._more)
        with suppress(AttributeError, ValueError):
            score = score.item()
        if not isinstance(score, numbers.Real) or not np.isfinite(score):
            raise ValueError(
                f"scoring={self._net.scoring!r} returned {score!r} for the validation data; "
                "expected a finite number."
            )
        return float(score)


def part(some, rows):
    """Return some rows of X, y or weights, keeping the container type if they are in memory."""
    some = read_on_demand(some)
    if isinstance(some, OnDemand):
        return some.part(rows)
    if some is None or isinstance(some, numbers.Number) or getattr(some, "ndim", 1) == 0:
        return None  # or one weight for all
    if not hasattr(some, "__len__") and not sp.issparse(some):
        some = np.asarray(some)  # Zarr's arrays have none
    return _safe_indexing(some.tocsr() if sp.issparse(some) else some, rows)


def _takes_weights(scorer):
    """Return whether a scorer, or its metric, accepts `sample_weight`."""
    try:
        parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    except (TypeError, ValueError):  # no signature available
        return False
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return takes_all or "sample_weight" in parameters
