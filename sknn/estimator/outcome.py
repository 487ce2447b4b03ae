"""Whether training has diverged."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..engine.optimizers import SOLVERS
from ..engine.warn import warn
from ..engine.weights import Weights

#: Factor by which the loss must have grown to count as diverged.
_TOO_MUCH = 100
#: scikit-learn's message for weights that are not finite.
_SCALE = "The input data may contain large values and need to be preprocessed."


def check_outcome(job, begin):
    """Raise ValueError if weights, or their squares, are not finite; warn if the loss diverged.

    Parameters
    ----------
    job : Job
        The finished job.
    begin : list of ndarray
        The initial parameters.
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
    """Return whether parameters, or the sums of squares of trainable ones, are not finite."""
    values = job.progress.values
    if not all(np.isfinite(value).all() for value in values):
        return True
    parameters = [p for group in job.network.parameters() for p in group]
    trained = [value for p, value in zip(parameters, values, strict=True) if p.trainable]
    with np.errstate(over="ignore"):
        return not np.isfinite([np.vdot(value, value) for value in trained]).all()


def _tried(recipe):
    """Return the settings used and what to try instead; nothing for L-BFGS."""
    if recipe.solver not in SOLVERS:
        return ""
    return (
        f"This was with learning_rate_init={recipe.learning_rate_init:g} and "
        f"clip_norm={recipe.clip_norm}: try a smaller learning rate, or clip gradients by "
        "clip_norm. "
    )


def _began(job, begin):
    """Return the initial loss if training has diverged from it, else None."""
    loss, first = job.progress.loss, job.progress.first_loss
    if loss is None or first is None:  # no epoch was completed
        return None
    if not np.isfinite(loss):
        return first
    # an initial loss within tol or rounding of zero is no meaningful reference
    least = max(job.recipe.tol, np.finfo(job.dtype).eps)
    if not loss > _TOO_MUCH * max(first, least):
        return None
    # the first batch may be small and easy by chance, so evaluate all data before warning
    weights = Weights(job.network, begin, job.dtype).on(job.recipe.device)
    first, _ = job.data.evaluate(weights, job.recipe.n_jobs)
    return first if loss > _TOO_MUCH * max(first, least) else None
