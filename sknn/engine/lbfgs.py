"""Training by L-BFGS, over all rows at once."""

import warnings

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from ..cpu.program import Session, Team, pack, unpack
from .blas import one_thread
from .lowering import program
from .prediction import CHUNK, amounts, team_size, training_width

#: Memory for the activations of such a chunk, where they are needed again.
_CHUNK_BYTES = 32 * 2**20


class Objective:
    """The mean loss over all rows as a function of the packed parameters, with its gradient.

    In float64 and in bounded memory: the gradient is summed over chunks of rows.

    Attributes
    ----------
    size : int
        Numbers that it is a function of.
    """

    def __init__(self, network, data, alpha, l1, team):
        self.data = data
        self.n_rows = len(data.rows)
        self.program = program(
            network, "float64", training_width(network, self.n_rows, np.dtype(float)), "gradient",
            data.source.key, data.targets.key,
        )  # fmt: skip
        blocks = max(1, _CHUNK_BYTES // self.program.workspace_bytes)
        chunk = min(self.n_rows, CHUNK, blocks * self.program.width)
        self.packed = np.zeros(self.program.parameter_bytes // 8)
        self.gradient = np.zeros_like(self.packed)
        # without the slack behind: NumPy gives Python's lock away for more than 500 numbers
        self.size = max(start // 8 + p.elements for p, start in self.program.offsets.items())
        self._session = Session(self.program, chunk, team, gradient=self.gradient)
        once = data.once(chunk)
        self._session.bind(
            self.packed, data.source, data.targets, data.weights, once.rows, **once.bound
        )
        self._chunk, self._rates = chunk, np.ones_like(once.rates)  # sums, not means
        self._sum = amounts(data.weights, data.steps, data.rows).sum()
        self._penalized = [
            (slice(start // 8, start // 8 + p.elements), *p.penalties(alpha, l1))
            for p, start in self.program.offsets.items()
            if p.penalized and p.trainable
        ]

    def __call__(self, packed):
        """Return the loss and a new array with its gradient."""
        self.packed[: self.size] = packed
        self.gradient[: self.size] = 0.0
        loss = self._session.run(self.n_rows, self._chunk, self._rates, accumulate=True)
        gradient = self.gradient[: self.size].copy()
        for part, l2, l1 in self._penalized:
            w = self.packed[part]
            loss += 0.5 * l2 * (w @ w) + l1 * np.abs(w).sum()
            gradient[part] += l2 * w + l1 * np.sign(w)
        return loss / self._sum, gradient / self._sum


def fit_lbfgs(recipe, network, progress, train, on_step):
    """Train by L-BFGS over all rows at once, in float64."""
    rows = min(len(train.rows), CHUNK)
    with Team(team_size(recipe.n_jobs, network, rows)) as team, one_thread():
        objective = Objective(network, train, recipe.alpha, recipe.l1, team)
        first = pack(objective.program, progress.values, np.float64)[: objective.size]
        last = [first]

        def after_iteration(intermediate_result):
            last[0] = intermediate_result.x.copy()
            progress.loss_curve.append(float(intermediate_result.fun))
            if recipe.verbose:
                print(f"Iteration {len(progress.loss_curve)}, loss = {intermediate_result.fun:.8f}")
            if on_step(lambda: unpack(objective.program, last[0])):
                raise StopIteration

        try:
            result = scipy.optimize.minimize(
                objective,
                first,
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={
                    "maxfun": recipe.max_fun,
                    "maxiter": recipe.max_iter,
                    "gtol": recipe.tol,
                },
            )
            progress.n_iter = _check_optimize_result("lbfgs", result, recipe.max_iter)
            progress.loss, last[0] = float(result.fun), result.x
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.")
            progress.loss = progress.loss_curve[-1] if progress.loss_curve else None
        progress.values = unpack(objective.program, last[0])
