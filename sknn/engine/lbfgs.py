"""Full-batch training with L-BFGS."""

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from . import interrupts
from .blas import one_thread
from .devices import device_named
from .lowering import program
from .prediction import CHUNK, amounts
from .warn import warn

#: Bytes for the activations of a chunk, which the backward pass needs.
_CHUNK_BYTES = 32 * 2**20


class Objective:
    """The mean loss over all rows as a function of the packed parameters, with its gradient.

    It computes in float64 and in bounded memory: the gradient is summed over chunks of rows.

    Attributes
    ----------
    layout : Layout
    size : int
        Number of variables, without the padding after the last parameter: NumPy releases the GIL
        for arrays of more than 500 elements.
    session : object
        The device's session; the objective can be called in its context.
    """

    def __init__(self, recipe, network, data):
        self._device = device = device_named(recipe.device)
        self._n_rows = len(data.rows)
        width = device.training_width(network, self._n_rows, np.dtype(float))
        keys = data.source.key, data.targets.key
        made = program(network, "float64", width, "gradient", *keys, device=device)
        self._chunk = min(self._n_rows, CHUNK, made.rows_within(_CHUNK_BYTES))
        self.layout, parts = made.layout, {p: made.layout.part(p) for p in made.layout.parameters}
        self.size = max(part.stop for part in parts.values())
        packed, gradient = device.zeros(self.layout), device.zeros(self.layout)
        self._packed, self._gradient = packed[: self.size], gradient[: self.size]
        threads = device.threads(network, min(self._n_rows, CHUNK), recipe.n_jobs)
        self.session = device.session(made, self._chunk, threads, gradient)
        once = data.once(self._chunk)
        self.session.bind(packed, data.source, data.targets, data.weights, once.rows, **once.bound)
        self._sum = amounts(data.weights, data.steps, data.rows).sum()
        self._penalized = [
            (part, *p.penalties(recipe.alpha, recipe.l1))
            for p, part in parts.items()
            if p.penalized and p.trainable
        ]

    def __call__(self, packed):
        """Return the loss and a new array with its gradient."""
        self._device.write(self._packed, packed)
        self._device.write(self._gradient, 0.0)
        loss = self.session.run(self._n_rows, self._chunk, accumulate=True)  # sums, not means
        gradient = self._device.read(self._gradient)
        for part, l2, l1 in self._penalized:
            w = packed[part]
            loss += 0.5 * l2 * (w @ w) + l1 * np.abs(w).sum()
            gradient[part] += l2 * w + l1 * np.sign(w)
        return loss / self._sum, gradient / self._sum


def fit_lbfgs(recipe, network, progress, train, on_step):
    """Train with full-batch L-BFGS, in float64."""
    objective = Objective(recipe, network, train)
    layout = objective.layout
    with objective.session, one_thread():
        first = layout.pack(progress.values, np.zeros(layout.size))[: objective.size]
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
