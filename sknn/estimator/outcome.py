"""Whether training has diverged."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..engine.optimizers import SOLVERS
from ..engine.warn import warn
from ..engine.weights import Weights

#: How many times where it began a loss must end to count as one that has diverged.
_TOO_MUCH = 100
#: What scikit-learn says of weights that are not finite.
_SCALE = "The input data may contain large values and need to be preprocessed."


def check_outcome(job, begin):
    """Raise ValueError if weights, or their squares, are not finite; warn if the loss diverged.

    Parameters
    ----------
    job : Job
        Whose training is done.
    begin : list of ndarray
        The parameters that it began with.
    """
    progress, tried = job.progress, _tried(job.recipe)
    if has_overflowed(job):
        largest = max(np.abs(value).max(initial=0.0) for value in progress.values)
        what = "Solver produced non-finite parameter weights"
        if np.isfinite(largest):
            what = "The squares of such weights are not finite"
        raise ValueError(
            f"Training has diverged: the loss is {progress.loss}, the largest weight {largest:g}. "
            f"{tried}{what}. {_SCALE}"
        )
    began = _began(job, begin)
    if began is not None:
        warn(
            f"Training has diverged: the loss began at {began:g} and ended at {progress.loss:g}. "
            f"{tried}{_SCALE}",
            ConvergenceWarning,
        )


def has_overflowed(job):
    """Whether parameters, or the sums of squares of those that are trained, are not finite."""
    values = job.progress.values
    if not all(np.isfinite(value).all() for value in values):
        return True
    parameters = [p for group in job.network.parameters() for p in group]
    trained = [value for p, value in zip(parameters, values, strict=True) if p.trainable]
    with np.errstate(over="ignore"):
        return not np.isfinite([np.vdot(value, value) for value in trained]).all()


def _tried(recipe):
    """Return what was tried, and what to try instead; of L-BFGS nothing."""
    if recipe.solver not in SOLVERS:
        return ""
    return (
        f"This was with learning_rate_init={recipe.learning_rate_init:g} and "
        f"clip_norm={recipe.clip_norm}: try a smaller rate, or a limit of gradients by clip_norm. "
    )


def _began(job, begin):
    """Return at what loss training began, if it has diverged from there."""
    loss, first = job.progress.loss, job.progress.first_loss
    if loss is None or first is None:  # no epoch has come to its end
        return None
    if not np.isfinite(loss):
        return first
    # what tol or rounding does not tell from zero is not where a loss can be said to begin
    least = max(job.recipe.tol, np.finfo(job.dtype).eps)
    if not loss > _TOO_MUCH * max(first, least):
        return None
    # a first batch may be small, and by chance an easy one: now it is worth while to look at all
    weights = Weights(job.network, begin, job.dtype).on(job.recipe.device)
    first, _ = job.data.evaluate(weights, job.recipe.n_jobs)
    return first if loss > _TOO_MUCH * max(first, least) else None
