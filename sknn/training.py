"""The ladder of training: epochs, steps, validation, stopping.

What a fit changes is a :class:`Progress`; the estimator commits it when all went well.
"""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from .base import count_threads, give_way
from .blas import one_thread
from .cpu.memory import aligned
from .cpu.program import ONES, Session, Team, pack, unpack
from .network import BLOCK_WIDTH, block_width, prediction_width, program
from .optimizers import SCHEDULES, Optimizer, make_solver

_NAMES = {np.dtype(name): name for name in ("float32", "float64")}
#: Multiply-adds in a step below which one thread more costs more than it brings.
_WORK_PER_THREAD = 800_000
#: Rows that are predicted, or whose gradient is summed, between two looks at Python.
_CHUNK = 8192
#: Memory for the activations of such a chunk, where they are needed again.
_CHUNK_BYTES = 32 * 2**20


@dataclass
class Pass:
    """One way through data.

    Attributes
    ----------
    rows : ndarray of int64
        The rows of the source in the order of the steps, a batch a step.
    rates : ndarray of shape (n_steps, 2)
        By step: one over the batch's sum of weights, and by what its loss is multiplied in the sum
        over steps (0 for both where nobody has weight).
    total : float
        By what that sum is divided to report it.
    bound : dict of str to object
        What else :meth:`Session.bind` gets: `lengths`, `resets` and `carry`, by position in `rows`.
    """

    rows: np.ndarray
    rates: np.ndarray
    total: float
    bound: dict = field(default_factory=dict)


@dataclass
class Data:
    """Rows to learn from or to validate with.

    Attributes
    ----------
    source, targets
        What the engine gathers from.
    weights : ndarray or None
        By row of the source.
    rows : ndarray of int64
        The rows of the source that belong to it.
    y : object
        The targets of those rows, as the scorer wants them.
    lengths : ndarray of int64 of shape (n_rows, n_columns), or None
        How long sequences are, by row of the source; None: all fill the network's steps.
    steps : ndarray of int64, or None
        How many targets a sequence has, by row of the source; None: one.
    carries : bool
        Whether rows go on from the states that others have left: these have their fixed order.
    """

    source: object
    targets: object
    weights: np.ndarray | None
    rows: np.ndarray
    y: object = None
    lengths: np.ndarray | None = None
    steps: np.ndarray | None = None

    carries = False

    def part(self, places):
        """Return the data of some of the rows, by their places among them."""
        return replace(self, rows=self.rows[places], y=self.y[places])

    def batch_size(self, wanted):
        """Return the number of rows in a step, for what the parameter `batch_size` says."""
        n = len(self.rows)
        if wanted == "auto":
            return min(200, n)
        if wanted > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        return max(1, min(int(wanted), n))

    def once(self, batch, order=None):
        """Return the Pass that goes through the rows once, `batch` a step.

        `order` has the places of the rows in the order to take them; None: as they are.
        """
        rows = self.rows if order is None else self.rows[order]
        starts = np.arange(0, len(rows), batch)
        counts = np.minimum(batch, len(rows) - starts)
        if self.steps is not None:
            counts = np.add.reduceat(self.steps[rows], starts)
        sums = counts
        if self.weights is not None:
            sums = np.add.reduceat(_amounts(self.weights, self.steps, rows), starts)
        # a batch in which nobody has weight teaches nothing
        rates = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums > 0)
        bound = {} if self.lengths is None else {"lengths": self.lengths[rows]}
        return Pass(rows, np.column_stack([rates, rates * counts]), counts.sum(), bound)

    def evaluate(self, network, values, dtype, n_jobs, score):
        """Return the mean loss and ``score(outputs, self)`` for parameters."""
        outputs, loss = predict(
            network, values, dtype, self.source, n_jobs, self.targets, self.weights, self.rows,
            self.lengths, self.steps,
        )  # fmt: skip
        return float(loss), score(outputs, self)


def _amounts(weights, steps, rows):
    """Return what the loss of each of the rows weighs."""
    amounts = np.ones(len(rows)) if weights is None else weights[rows]
    return amounts if steps is None else amounts * steps[rows]


@dataclass
class Progress:
    """The state of training between epochs.

    The curves of the data's loss, which is without the penalties of weights, and of divergences
    are of this fit only. Where parameters are averaged, `values` are the averages, and training
    goes on from `raw`.
    """

    values: list
    raw: list | None = None
    optimizer: Optimizer | None = None
    n_iter: int = 0
    t: int = 0
    loss: float | None = None
    loss_curve: list = field(default_factory=list)
    validation_loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    data_loss_curve: list = field(default_factory=list)
    divergence_curve: list = field(default_factory=list)
    best_loss: float = np.inf
    best_validation_score: float = -np.inf
    no_improvement: int = 0

    def copy(self, **changes):
        """Return a state that stays as it is while this one changes, but for some changes."""
        curves = (
            "loss_curve", "validation_loss_curve", "validation_scores", "data_loss_curve",
            "divergence_curve",
        )  # fmt: skip
        return replace(self, **{name: list(getattr(self, name)) for name in curves} | changes)


def training_width(network, rows, dtype):
    """Return the width of a block for training in batches of `rows` rows.

    Only sequences are trained one at a time: their steps are work enough.
    """
    return block_width(rows if network.sequential else max(rows, 2), dtype)


def team_size(n_jobs, network, rows):
    """Return how many threads to take for steps of `rows` rows; it changes nothing in the result.

    Small steps keep one thread busy at most, and then nobody asks how many there are. Over time a
    block of sequences goes on one thread, and most of the work is that.
    """
    most = 3 * network.operations * rows // _WORK_PER_THREAD
    if network.sequential:
        most = min(most, -(-rows // BLOCK_WIDTH))
    return 1 if most < 2 else min(count_threads(n_jobs), most)


def predict(
    network, values, dtype, source, n_jobs, targets=None, weights=None, rows=None, lengths=None,
    steps=None,
):  # fmt: skip
    """Return the network's outputs for all rows of a source, or for some, in bounded memory.

    With `targets`, return the outputs and their mean loss too. `weights`, `lengths` and `steps` are
    by row of the source, as those of :class:`Data`.
    """
    n_rows = source.n_rows if rows is None else len(rows)
    width, chunk = prediction_width(network, n_rows, dtype), min(n_rows, _CHUNK)
    size = team_size(n_jobs, network, chunk) if n_rows == 1 or n_rows > width else 1
    purpose = "predict" if targets is None else "evaluate"
    key = None if targets is None else targets.key
    parts = size if n_rows == 1 else 1
    made = program(network, _NAMES[dtype], width, purpose, source.key, key, parts=parts)
    out = np.empty((n_rows, network.outputs), dtype)
    if lengths is not None:  # blocks of similar lengths end early; no bit depends on the order
        lengths = lengths if rows is None else lengths[rows]
        order = np.argsort(lengths.sum(axis=1), kind="stable")
        rows, lengths = order if rows is None else rows[order], lengths[order]
    with Team(size) as team:
        session = made.borrow(chunk, team)
        packed = values if isinstance(values, np.ndarray) else session.pack(values)
        session.bind(packed, source, targets, weights, rows, out, lengths=lengths)
        n_runs = -(-n_rows // chunk)
        rates = ONES if n_runs == 1 else np.ones((n_runs, 2))
        total = session.run(n_rows, chunk, rates, again=False)
    made.give_back(session)
    give_way()
    if lengths is not None:
        in_order, out = out, np.empty_like(out)
        out[order] = in_order
    if targets is None:
        return out
    return out, total / _amounts(weights, steps, np.arange(n_rows) if rows is None else rows).sum()


def finite(outputs):
    """Return a network's outputs, if all of them are finite numbers."""
    if not np.isfinite(outputs).all():
        raise ValueError(
            "The network's outputs, or their errors, are not finite: X has values too large for "
            f"{outputs.dtype}."
        )
    return outputs


class Trainer:
    """Trains a network by minibatches.

    Parameters
    ----------
    estimator : estimator
        Its training parameters are read here.
    network : Network
    dtype : dtype
    progress : Progress
        Where to go on from; changed in place.
    train, validation : Data
        `validation` may be None.
    score : callable
        ``score(outputs, data)`` for early stopping and the validation scores.
    random_state : RandomState
    seed : int
        Of dropout, noise and augmentation.
    """

    def __init__(
        self, estimator, network, dtype, progress, train, validation, score, random_state, seed
    ):
        self.estimator, self.network, self.dtype = estimator, network, dtype
        self.progress, self.train, self.validation = progress, train, validation
        self.score, self.random_state = score, random_state
        self.seed = seed
        self.n_samples = len(train.rows)
        self.batch = train.batch_size(estimator.batch_size)
        self._threads = team_size(estimator.n_jobs, network, self.batch)
        self.program = program(
            network, dtype.name, training_width(network, self.batch, dtype), "train",
            train.source.key, train.targets.key, make_solver(estimator), self._threads,
            carries=train.carries,
        )  # fmt: skip
        # What is trained, and what predicts: the same, or the averages of the former.
        self.packed = self._shown = pack(self.program, progress.raw or progress.values, dtype)
        if estimator.average:
            self._shown = pack(self.program, progress.values, dtype)
        self._last = self._session = None
        self.interrupted = False
        self._best = self._copies() if estimator.early_stopping else None

    def fit(self, epochs, partial, on_epoch):
        """Train for at most `epochs` epochs.

        `on_epoch` is called when one begins, and returns what is called when it ends; that returns
        whether to stop.

        An interrupt ends training with a warning; the weights are those of the last whole step.
        """
        progress, estimator = self.progress, self.estimator
        optimizer = progress.optimizer
        if optimizer is not None and optimizer.matches(estimator, progress.values):
            progress.optimizer = optimizer.copy()
        else:
            progress.optimizer = Optimizer(estimator, progress.values)
        progress.optimizer.planned = epochs * -(-self.n_samples // self.batch)
        states, n_states = progress.optimizer.states, self.program.n_states
        self._states = aligned(n_states * self.packed.nbytes).view(self.dtype)
        self._states = self._states.reshape(n_states, -1)
        for packed, values in zip(self._states, states):
            packed[:] = pack(self.program, values, self.dtype)
        if estimator.average:
            self._states[-1] = self._shown
        progress.optimizer.states = None  # until training ends
        progress.n_iter = 0
        try:
            with Team(self._threads) as team:
                self._session = Session(self.program, self.batch, team)
                for _ in range(epochs):
                    if self._epoch(partial, on_epoch):
                        break
        except KeyboardInterrupt:
            self.interrupted = True
            warnings.warn("Training interrupted by user.")
        self._show()
        if estimator.early_stopping and self.validation is not None:
            self._shown[:], self.packed[:] = self._best
        self._session = None
        progress.values = unpack(self.program, self._shown)
        progress.raw = unpack(self.program, self.packed) if estimator.average else None
        progress.optimizer.states = self._own_states()

    def current_values(self):
        """Return copies of the parameters to predict with, as they stand."""
        return unpack(self.program, self._shown)

    def so_far(self):
        """Return the Progress as it would be if training ended here."""
        optimizer = self.progress.optimizer.copy()
        optimizer.states = self._own_states()
        raw = unpack(self.program, self.packed) if self.estimator.average else None
        return self.progress.copy(values=self.current_values(), raw=raw, optimizer=optimizer)

    def _own_states(self):
        """Return copies of the optimizer's states; the average is none of them."""
        states = self._states[: len(self._states) - bool(self.estimator.average)]
        return [unpack(self.program, state) for state in states]

    def _copies(self):
        shown = self._shown.copy()
        return shown, self.packed.copy() if self.estimator.average else shown

    def _show(self):
        """Have the averages predict; what no optimizer touches is taken as it is."""
        if not self.estimator.average:
            return
        self._shown[:] = self._states[-1]
        for parameter, start in self.program.offsets.items():
            if not parameter.trainable:
                start //= self.dtype.itemsize
                part = slice(start, start + parameter.elements)
                self._shown[part] = self.packed[part]

    def _epoch(self, partial, on_epoch):
        """Train one epoch; return whether it was the last."""
        progress, estimator = self.progress, self.estimator
        finish = on_epoch()
        progress.loss = self._pass()
        progress.n_iter += 1
        progress.t += self.n_samples
        progress.loss_curve.append(progress.loss)
        if estimator.verbose:
            print(f"Iteration {progress.n_iter}, loss = {progress.loss:.8f}")
        self._show()
        self._validate()
        self._count_improvement()
        progress.optimizer.epoch_ends(estimator, progress.t)
        stop = bool(finish())
        planned = estimator.learning_rate in SCHEDULES  # goes on to its end, unless stopped early
        waits = planned and not estimator.early_stopping
        if progress.no_improvement > estimator.n_iter_no_change and not waits:
            what = "Validation score" if estimator.early_stopping else "Training loss"
            message = (
                f"{what} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change:d} consecutive epochs."
            )
            if progress.optimizer.stops(estimator, message):
                return True
            progress.no_improvement = 0
        if not (partial or planned or stop) and progress.n_iter == estimator.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
            )
        return stop

    def _pass(self):
        """Go once through the training data; return the mean loss."""
        shuffled = not self.train.carries and self.estimator.shuffle
        once = self.train.once(self.batch, self._order() if shuffled else None)
        optimizer = self.progress.optimizer
        counted = optimizer.t
        rates = np.hstack([once.rates, optimizer.rates(self.estimator, len(once.rates))])
        loss = float(self._run(once.rows, rates, counted, once.bound)) / once.total
        session, progress = self._session, self.progress
        progress.data_loss_curve.append(float(session.data_loss) / once.total)
        progress.divergence_curve.append(float(session.divergence) / once.total)
        return loss

    def _run(self, rows, rates, counted, bound):
        """Train on `rows`, after `counted` steps; return the sum that the session gives."""
        self._session.bind(
            self.packed, self.train.source, self.train.targets, self.train.weights, rows,
            states=self._states, seed=self.seed, **bound,
        )  # fmt: skip
        return self._session.run(len(rows), self.batch, rates, counted)

    def _order(self):
        # The same draws as scikit-learn's `shuffle` of the last epoch's order, without its checks.
        order = np.arange(self.n_samples)
        self.random_state.shuffle(order)
        self._last = order if self._last is None else self._last[order]
        return self._last

    def _validate(self):
        if self.validation is None:
            return
        data, progress = self.validation, self.progress
        loss, score = data.evaluate(
            self.network, self._shown, self.dtype, self.estimator.n_jobs, self.score
        )
        progress.validation_loss_curve.append(loss)
        progress.validation_scores.append(score)
        if self.estimator.verbose:
            print(f"Validation score: {progress.validation_scores[-1]:f}")

    def _count_improvement(self):
        """Count the epochs without improvement, and keep the best weights."""
        progress, tol = self.progress, self.estimator.tol
        if self.estimator.early_stopping:
            score = progress.validation_scores[-1]
            worse = score < progress.best_validation_score + tol
            if score > progress.best_validation_score:
                progress.best_validation_score = score
                self._best = self._copies()
        else:
            worse = progress.loss > progress.best_loss - tol
            progress.best_loss = min(progress.best_loss, progress.loss)
        progress.no_improvement = progress.no_improvement + 1 if worse else 0


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
        chunk = min(self.n_rows, _CHUNK, blocks * self.program.width)
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
        self._sum = _amounts(data.weights, data.steps, data.rows).sum()
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


def fit_lbfgs(estimator, network, progress, train, on_step):
    """Train by L-BFGS over all rows at once, in float64."""
    rows = min(len(train.rows), _CHUNK)
    with Team(team_size(estimator.n_jobs, network, rows)) as team, one_thread():
        objective = Objective(network, train, estimator.alpha, estimator.l1, team)
        first = pack(objective.program, progress.values, np.float64)[: objective.size]
        last = [first]

        def after_iteration(intermediate_result):
            last[0] = intermediate_result.x.copy()
            progress.loss_curve.append(float(intermediate_result.fun))
            if estimator.verbose:
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
                    "maxfun": estimator.max_fun,
                    "maxiter": estimator.max_iter,
                    "gtol": estimator.tol,
                },
            )
            progress.n_iter = _check_optimize_result("lbfgs", result, estimator.max_iter)
            progress.loss, last[0] = float(result.fun), result.x
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.")
            progress.loss = progress.loss_curve[-1] if progress.loss_curve else None
        progress.values = unpack(objective.program, last[0])
