"""Full-batch training with L-BFGS."""

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from . import interrupts
from .blas import one_thread
from .gradients import LossSum
from .prediction import amounts
from .warn import warn


class Objective:
    """The mean loss over all rows as a function of the packed parameters, with its gradient.

    It computes in float64 and in bounded memory: the gradient is summed over chunks of rows.

    Attributes
    ----------
    losses : LossSum
        The sum of the losses; the objective can be called in the context of its session.
    """

    def __init__(self, recipe, network, data):
        self.losses = LossSum(network, np.dtype(float), data, recipe)
        layout = self.losses.layout
        self._sum = amounts(data.weights, data.steps, data.rows).sum()
        self._penalized = [
            (layout.part(p), *p.penalties(recipe.alpha, recipe.l1))
            for p in layout.parameters
            if p.penalized and p.trainable
        ]

    def __call__(self, packed):
        """Return the loss and a new array with its gradient."""
        loss, gradient = self.losses(packed)
        for part, l2, l1 in self._penalized:
            w = packed[part]
            loss += 0.5 * l2 * (w @ w) + l1 * np.abs(w).sum()
            gradient[part] += l2 * w + l1 * np.sign(w)
        return loss / self._sum, gradient / self._sum


def fit_lbfgs(recipe, network, progress, train, on_step):
    """Train with full-batch L-BFGS, in float64."""
    objective = Objective(recipe, network, train)
    layout, size = objective.losses.layout, objective.losses.size
    with objective.losses.session, one_thread():
        first = layout.pack(progress.values, np.zeros(layout.size))[:size]
        last = [first]
        options = {"maxfun": recipe.max_fun, "maxiter": recipe.max_iter, "gtol": recipe.tol}

        def evaluate(packed):
            loss, gradient = objective(packed)
            if progress.first_loss is None:
                progress.first_loss = loss
            return loss, gradient

        def after_iteration(intermediate_result):
            last[0] = intermediate_result.x.copy()
            progress.n_iter, progress.loss = progress.n_iter + 1, float(intermediate_result.fun)
            progress.loss_curve.append(progress.loss)
            if recipe.verbose:
                print(f"Iteration {progress.n_iter}, loss = {progress.loss:.8f}")
            if on_step(lambda: layout.unpack(last[0])):
                raise StopIteration

        try:
            result = scipy.optimize.minimize(
                evaluate,
                first,
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options=options,
            )
            progress.n_iter = min(result.nit, recipe.max_iter)
            progress.loss, last[0] = float(result.fun), result.x
            _warn_unless_converged(result, recipe.max_iter)
        except KeyboardInterrupt as interrupt:
            interrupts.take(interrupt)
        progress.values = layout.unpack(last[0])


def _warn_unless_converged(result, max_iter):
    """Warn with scikit-learn's message, but at the caller's line."""
    if result.status == 0:
        return
    n_iter, more = min(result.nit, max_iter), ""
    if n_iter == max_iter:
        more = (
            f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
        )
    warn(
        f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}):\n"
        f"{result.message}\n{more}\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html",
        ConvergenceWarning,
    )
