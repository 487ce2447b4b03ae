"""Minibatch training: epochs, steps, validation, stopping.

Training changes a :class:`Progress`; the estimator stores it when the fit succeeds.
"""

import zlib
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from . import interrupts
from .devices import device_named
from .lowering import program
from .optimizers import Optimizer, make_solver
from .warn import warn
from .weights import Weights

#: The most epochs that are planned at a time, and rows of theirs.
_MOST_AHEAD, _MOST_ROWS_AHEAD = 256, 2**16


def noise_seed(random_state):
    """Return a seed derived from the random state without drawing from it."""
    state = random_state.get_state(legacy=False)["state"]
    if "key" not in state:  # another generator than the usual one
        text = repr(sorted(state.items())).encode()
        return (zlib.crc32(text) << 31) | (zlib.adler32(text) >> 1)
    return (zlib.crc32(state["key"].tobytes()) << 31) | (zlib.adler32(state["key"]) >> 1) ^ int(
        state["pos"]
    )


@dataclass
class Progress:
    """The state of training between epochs.

    `data_loss_curve` (losses without weight penalties), `divergence_curve` and the loss of the
    first step, `first_loss`, belong to this fit only. `step_loss_curve` is empty unless the trainer
    records steps. With averaging, `values` are the averaged parameters, and training continues from
    `raw`. With `n_iter` epochs done, training is that of a fit that was stopped after them.
    """

    values: list
    raw: list | None = None
    optimizer: Optimizer | None = None
    n_iter: int = 0
    t: int = 0
    loss: float | None = None
    first_loss: float | None = None
    loss_curve: list = field(default_factory=list)
    learning_rate_curve: list = field(default_factory=list)
    validation_loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    data_loss_curve: list = field(default_factory=list)
    divergence_curve: list = field(default_factory=list)
    step_loss_curve: list = field(default_factory=list)
    best_loss: float = np.inf
    best_validation_score: float = -np.inf
    no_improvement: int = 0

    def validate(self, data, score, weights, n_jobs):
        """Append the loss and score of a network's weights to the validation curves."""
        loss, outputs = data.evaluate(weights, n_jobs)
        self.validation_loss_curve.append(loss)
        self.validation_scores.append(score(data, loss, outputs, weights))

    def copy(self, **changes):
        """Return an independent copy, with some attributes replaced."""
        curves = [f.name for f in fields(self) if f.default_factory is list]
        return replace(self, **{name: list(getattr(self, name)) for name in curves} | changes)


def _kind_of_fit(shard_size):
    return "fit" if shard_size is None else f"distributed.fit with shard_size={shard_size!r:.100}"


def warn_unconverged(trainers):
    """Warn if any networks that were trained together have not converged."""
    found = [trainer for trainer in trainers if trainer.unconverged]
    if not found:
        return
    where = "" if len(trainers) == 1 else f" in {len(found)} of {len(trainers)} networks"
    warn(
        f"Stochastic Optimizer: Maximum iterations ({found[0].recipe.max_iter}) reached{where} and "
        "the optimization hasn't converged yet.",
        ConvergenceWarning,
    )


class Trainer:
    """Trains a network on minibatches.

    Parameters
    ----------
    recipe : Recipe
        The settings.
    network : Network
    dtype : dtype
    progress : Progress
        The state to continue from; changed in place.
    train, validation : Data
        `validation` may be None.
    score : callable
        ``score(data, loss, outputs, weights)`` returns the validation score, also for early
        stopping; `loss` and `outputs` are those that `validation.evaluate` returns.
    random_state : RandomState
    seed : int
        Seed of dropout, noise and augmentation.
    """

    #: The largest number of rows whose gradient is computed at once; None: those of a batch.
    shard_size = None
    #: What lines of verbose output begin with, where several networks are trained.
    name = ""

    def __init__(
        self, recipe, network, dtype, progress, train, validation, score, random_state, seed
    ):
        self.recipe, self.network, self.dtype = recipe, network, dtype
        self.progress, self.train, self.validation = progress, train, validation
        self.score, self.random_state = score, random_state
        self.seed = seed
        self.n_samples = len(train.rows)
        self.batch = train.batch_size(recipe.batch_size)
        #: Rows of a pass over the data, and its steps.
        self.n_passed = self.n_samples
        if recipe.drop_last:
            self.n_passed -= self.n_samples % self.batch
        self.steps = -(-self.n_passed // self.batch)
        self._device = device = device_named(recipe.device)
        self._threads = device.threads(network, self.batch, recipe.n_jobs)
        self.program = self._compile("train", train.source.key, train.targets.key)
        self._layout = self.program.layout
        # The trained parameters, and those for prediction: the same, or their averages.
        self.packed = self._shown = device.upload(self._layout, progress.raw or progress.values)
        if recipe.average:
            self._shown = device.upload(self._layout, progress.values)
        self._last = self._session = self._first = None
        self._place, self._drawn = None, 0  # where random orders were, and how many since then
        self.interrupted = self.unconverged = False
        self._best = self._copies() if recipe.early_stopping else None

    def _compile(self, purpose, source=None, targets=None):
        """Return the program of a training step."""
        network, dtype, device = self.network, self.dtype, self._device
        return program(
            network, dtype.name, device.training_width(network, self.batch, dtype), purpose,
            source, targets, make_solver(self.recipe), self._threads, self.train.carries, device,
            self.recipe.dropout_schedule != "constant",
        )  # fmt: skip

    def _open(self):
        """Return a session for the steps of a fit, as a context manager."""
        return self._device.session(self.program, self.batch, self._threads)

    def fit(self, epochs, partial, on_epoch=None, planned=None):
        """Train for at most `epochs` epochs.

        `planned` is the number of epochs that schedules span; None: `epochs`.

        `on_epoch` is called at the start of an epoch and returns a function to call at its end,
        which returns whether to stop. None: nobody looks, and several epochs may be planned and run
        at a time.

        An interrupt ends training with a warning and leaves the weights of the last complete step.
        A second interrupt soon after is raised.
        """
        progress = self.progress
        self.begin(planned or epochs)
        try:
            with self.opened():
                stop = self.ended(partial)
                while not stop and progress.n_iter < epochs:
                    ahead = self._ahead(epochs) if on_epoch is None else 1
                    if ahead > 1:
                        stop = self._epochs(ahead, partial)
                    else:
                        stop = self._epoch(partial, on_epoch)
        except KeyboardInterrupt as interrupt:
            self.interrupted = True
            interrupts.take(interrupt)
        self.end()
        warn_unconverged([self])

    # --- a fit in parts, for several networks side by side

    def begin(self, epochs):
        """Prepare the optimizer, as a fit of at most `epochs` epochs begins."""
        progress, recipe = self.progress, self.recipe
        optimizer = progress.optimizer
        if optimizer is not None and optimizer.matches(recipe, progress.values):
            progress.optimizer = optimizer.copy()
        else:
            progress.optimizer = Optimizer(recipe, progress.values)
        progress.optimizer.planned = epochs * self.steps
        self._states = self._device.zeros(self._layout, self.program.n_states)
        for state, values in zip(self._states, progress.optimizer.states):
            self._device.upload(self._layout, values, state)
        if recipe.average:
            self._device.write(self._states[-1], self._shown)
        progress.optimizer.states = None  # until training ends

    def ended(self, partial):
        """Return whether training ended already when epochs were trained before."""
        return self.progress.n_iter > 0 and self.ends(partial)

    @contextmanager
    def opened(self):
        """Train in a session of this trainer's own, for a context."""
        with self._open() as self._session:
            yield

    @property
    def shares(self):
        """Whether its steps may be computed in one session with those of others."""
        sources = self.train.source, self.train.targets
        unread = any(source.on_demand is not None for source in sources)
        return type(self) is Trainer and self._device.groups and not unread

    def gains(self, n):
        """Return whether the steps of `n` networks like this one are faster in one session."""
        return self._device.gains(self.network, self.batch, n, self.recipe.n_jobs)

    def open_for(self, n):
        """Return a session for the steps of `n` networks like this one."""
        device, recipe = self._device, self.recipe
        threads = device.threads(self.network, n * self.batch, recipe.n_jobs)
        return device.session(self.program, self.batch, threads, networks=n)

    def end(self):
        """Put into the Progress what has been trained since :meth:`begin`."""
        self._show()
        if self.recipe.early_stopping and self.validation is not None:
            self._shown, self.packed = self._best
        self._session, progress = None, self.progress
        progress.values, progress.raw = self.current_values(), self._raw()
        progress.optimizer.states = self._own_states()

    def current_values(self):
        """Return copies of the current parameters for prediction."""
        return self._device.download(self._layout, self._shown)

    def so_far(self):
        """Return the Progress as if training ended now."""
        optimizer = self.progress.optimizer.copy()
        optimizer.states = self._own_states()
        changes = {"values": self.current_values(), "raw": self._raw(), "optimizer": optimizer}
        return self.progress.copy(**changes)

    def state(self):
        """Return what a trainer has besides its Progress: arrays and None, in a dict.

        At the end of an epoch. Another trainer of the same network and data goes on from there,
        given the Progress of :meth:`so_far` and this state, by :meth:`resume`.
        """
        best, order = self._best, self._last
        if best is not None:
            best = best[: 1 + bool(self.recipe.average)]
            best = [self._device.download(self._layout, packed) for packed in best]
        if order is not None:
            order = order.astype(np.min_scalar_type(len(order)))
        return {"best": best, "order": order, "shard_size": self.shard_size}

    def resume(self, state):
        """Take over what :meth:`state` returned, before :meth:`fit`.

        Raises ValueError if that trainer computed in another way.
        """
        before = state.get("shard_size")
        if type(before) is not type(self.shard_size) or before != self.shard_size:
            raise ValueError(
                f"The checkpoint is of {_kind_of_fit(before)}, and this is "
                f"{_kind_of_fit(self.shard_size)}; expected the same, which gives the same bits."
            )
        if state.get("best") is not None:
            best = [self._device.upload(self._layout, values) for values in state["best"]]
            self._best = best[0], best[-1]
        if state.get("order") is not None:
            self._last = state["order"].astype(np.intp)

    def _raw(self):
        """Return copies of the raw parameters, or None without averaging."""
        return self._device.download(self._layout, self.packed) if self.recipe.average else None

    def _own_states(self):
        """Return copies of the optimizer's states, without the average."""
        states = self._states[: self.program.n_states - bool(self.recipe.average)]
        return [self._device.download(self._layout, state) for state in states]

    def _copies(self):
        shown = self._device.copy(self._shown)
        return shown, self._device.copy(self.packed) if self.recipe.average else shown

    def _show(self):
        """Use the averages for prediction; parameters that are not trained are copied."""
        if not self.recipe.average:
            return
        self._device.write(self._shown, self._states[-1])
        for parameter in self._layout.parameters:
            if not parameter.trainable:
                part = self._layout.part(parameter)
                self._device.write(self._shown[part], self.packed[part])

    def _epoch(self, partial, on_epoch):
        """Train one epoch; return whether it was the last."""
        finish = None if on_epoch is None else on_epoch()
        self.close_epoch(*self.make_pass())
        return self.ends(partial, finish is not None and bool(finish()))

    def _ahead(self, epochs):
        """Return how many epochs to plan, if nobody looks at them: 1 where each is on its own."""
        progress, recipe, data = self.progress, self.recipe, self.train
        looked_at = self.validation is not None or recipe.verbose
        unread = data.source.on_demand is not None or data.targets.on_demand is not None
        able = hasattr(self._session, "run_passes")
        if not able or looked_at or unread or data.carries or recipe.learning_rate == "invscaling":
            return 1
        most = min(epochs - progress.n_iter, _MOST_AHEAD, _MOST_ROWS_AHEAD // self.n_samples)
        certain = self._certain()
        if recipe.learning_rate in ("adaptive", "plateau"):  # the rate may change then
            return min(most, certain)
        # training may stop before, so no more than have been done
        return min(most, max(certain, progress.n_iter))

    def _certain(self):
        """Return how many epochs it takes, whatever their losses, until something is decided.

        Before the last of them, training does not stop, nor does the rate change.
        """
        progress, recipe, least = self.progress, self.recipe, np.inf
        if recipe.spanning is None:
            least = recipe.n_iter_no_change + 1 - progress.no_improvement
        if recipe.learning_rate == "plateau":
            least = min(least, recipe.plateau_patience - progress.optimizer.stalled)
        return max(least, 1)

    def _epochs(self, n, partial):
        """Train `n` epochs, planned together; return whether training ends.

        Everything is as if each had been planned on its own, also if training ends before the last
        one or is interrupted.
        """
        progress, session, each = self.progress, self._session, self.steps
        optimizer, first = progress.optimizer, progress.n_iter
        self._keep_place()
        before, drawn, bound, stop = optimizer.copy(), self._drawn, False, False
        used = 1  # epochs that are begun
        try:
            once, rates, counted = self.plan(n)
            ends = counted + each * np.arange(1.0, n + 1)
            learning_rates = optimizer.nominal(self.recipe, ends).tolist()
            self.bind(session, once.rows, once.bound)
            bound = True  # to these passes, of which none is done
            session.plan_passes(n, self.n_passed, self.batch, rates, counted)
            while not stop and progress.n_iter < first + n:
                done = progress.n_iter - first
                used = done + 1
                session.run_passes(min(n, done + self._certain()))
                self._count_passes(first, once, learning_rates)
                used = progress.n_iter - first
                stop = self.ends(partial)
        except KeyboardInterrupt:
            if bound:
                self._count_passes(first, once, learning_rates)
                used = min(n, progress.n_iter - first + 1)
            raise
        finally:
            if used < n:
                optimizer.go_back(before)
                optimizer.rates(self.recipe, used * each, used)
                self._draw_again(drawn + used)
        return stop

    def _count_passes(self, first, once, rates):
        """Count the passes that are done, epochs after the `first`, if they are not counted yet."""
        counted = self.progress.n_iter - first
        sums = self._session.passes_done()[counted:]
        if len(sums):
            self._set_first(once, self._session.first_loss)
        for means, rate in zip((sums / once.total).tolist(), rates[counted:], strict=False):
            self._count(*means, rate)
            self._judge()

    def _count(self, loss, data_loss, divergence, rate):
        """Count an epoch, given the means of its losses and the rate of its last step."""
        progress = self.progress
        progress.loss = loss
        progress.n_iter += 1
        progress.t += self.n_passed
        progress.loss_curve.append(loss)
        progress.data_loss_curve.append(data_loss)
        progress.divergence_curve.append(divergence)
        progress.learning_rate_curve.append(rate)

    def _judge(self):
        """Do what depends on how good the last epoch was."""
        self._count_improvement()
        if self.recipe.learning_rate != "constant":
            progress, to_lower = self.progress, self._to_lower()
            progress.optimizer.epoch_ends(self.recipe, progress.t, to_lower, self._say)

    def ends(self, partial, stop=False):
        """Return whether training ends after the last epoch; `stop`: a callback said so."""
        progress, recipe = self.progress, self.recipe
        planned = recipe.spanning is not None  # runs to its end, unless stopped early
        waits = planned and not recipe.early_stopping
        if progress.no_improvement > recipe.n_iter_no_change and not waits:
            what = "Validation score" if recipe.early_stopping else "Training loss"
            message = (
                f"{what} did not improve more than tol={recipe.tol:f} for "
                f"{recipe.n_iter_no_change:d} consecutive epochs."
            )
            if progress.optimizer.stops(recipe, message, self._say):
                return True
            progress.no_improvement = 0
        if not (partial or planned or stop) and progress.n_iter == recipe.max_iter:
            self.unconverged = True
        return stop

    def make_pass(self):
        """Make one pass over the training data; return what :meth:`close_epoch` is given."""
        once, rates, counted = self.plan()
        loss = self._run(once.rows, rates, counted, once.bound)
        session = self._session
        return once, (loss, session.data_loss, session.divergence), self._first

    def close_epoch(self, once, sums, first):
        """Do what follows a pass, given its sums of losses, and the loss of the first step."""
        progress = self.progress
        self._set_first(once, first)
        self._count(*(float(one) / once.total for one in sums), progress.optimizer.rate)
        self._say("Iteration {}, loss = {:.8f}", progress.n_iter, progress.loss)
        self._show()
        self._validate()
        self._judge()

    def _say(self, message, *values):
        if self.recipe.verbose:
            message = message.format(*values)
            print(f"{self.name}: {message}" if self.name else message)

    def plan(self, n=1):
        """Return the next `n` passes over the data, the rates of their steps, and of steps so far.

        They are counted as if they were done.
        """
        optimizer = self.progress.optimizer
        once, counted = self.train.once(self.batch, self._orders(n)), optimizer.t
        rates = optimizer.rates(self.recipe, len(once.rates), n)
        return once, np.hstack([once.rates, rates]), counted

    def bind(self, session, rows, bound):
        """Bind a session to this network, its data, and what :class:`Pass` has for some rows."""
        session.bind(
            self.packed, self.train.source, self.train.targets, self.train.weights, rows,
            states=self._states, seed=self.seed, **bound,
        )  # fmt: skip

    def _run(self, rows, rates, counted, bound):
        """Train on `rows`, after `counted` steps; return the session's sum of losses."""
        self.bind(self._session, rows, bound)
        loss = self._session.run(len(rows), self.batch, rates, counted)
        if self._first is None:
            self._first = self._session.first_loss
        return loss

    def _set_first(self, once, first):
        """Set the loss of the first step, once there was one."""
        if self.progress.first_loss is None:
            self.progress.first_loss = first / float(once.counts[0])

    # --- the order of the rows

    @property
    def _shuffles(self):
        return self.recipe.shuffle and not self.train.carries

    def _orders(self, n):
        """Return the orders of the rows in the next `n` epochs, or None: in one, as they are."""
        if not self._shuffles:
            order = np.arange(self.n_passed)
            if n == 1:
                return None if self.n_passed == self.n_samples else order
            return np.broadcast_to(order, (n, self.n_passed))
        orders = np.empty((n, self.n_samples), np.intp)
        for order in orders:
            # Same random draws as scikit-learn's `shuffle` of the last order, without its checks.
            order[:] = np.arange(self.n_samples) if self._last is None else self._last
            self.random_state.shuffle(order)
            self._last = order
            self._drawn += 1
        return orders[:, : self.n_passed]

    def _keep_place(self):
        """Keep the generator's state, or one a few draws earlier: to ask for it takes its time."""
        rows = self._drawn * self.n_samples
        if self._shuffles and (self._place is None or rows > _MOST_ROWS_AHEAD):
            self._place, self._drawn = (self.random_state.get_state(legacy=False), self._last), 0

    def _draw_again(self, n):
        """Take the generator to where it was `n` orders after the place that was kept.

        Not if others have drawn from it meanwhile, in other threads: nobody should get the same
        numbers again.
        """
        if not self._shuffles:
            return
        generator, drawn, there = self.random_state, self._drawn, noise_seed(self.random_state)
        state, self._last = self._place
        self.random_state = deepcopy(generator)
        self.random_state.set_state(state)
        passed = set()
        for i in range(max(n, drawn + 1) + 1):  # one more may be drawn than has been counted
            if i == n:
                wanted = self.random_state.get_state(legacy=False), self._last
            if i >= drawn:
                passed.add(noise_seed(self.random_state))
            self._orders(1)
        self.random_state, self._drawn = generator, n
        state, self._last = wanted
        if there in passed:
            generator.set_state(state)

    def _validate(self):
        if self.validation is None:
            return
        progress, recipe = self.progress, self.recipe
        weights = Weights.of_packed(self.network, self._shown, self.dtype, recipe.device)
        progress.validate(self.validation, self.score, weights, recipe.n_jobs)
        self._say("Validation score: {:f}", progress.validation_scores[-1])

    def _to_lower(self):
        """Return the quantity that 'plateau' monitors; lower is better."""
        progress = self.progress
        if self.recipe.early_stopping:
            return -progress.validation_scores[-1]
        return progress.loss if self.validation is None else progress.validation_loss_curve[-1]

    def _count_improvement(self):
        """Count the epochs without improvement, and keep the best weights."""
        progress, recipe, tol = self.progress, self.recipe, self.recipe.tol
        if self.recipe.early_stopping:
            score = progress.validation_scores[-1]
            worse = score < progress.best_validation_score + tol
            best = progress.best_validation_score
            if score > best or recipe.latest_best and score == best:
                progress.best_validation_score = score
                self._best = self._copies()
        else:
            worse = progress.loss > progress.best_loss - tol
            progress.best_loss = min(progress.best_loss, progress.loss)
        progress.no_improvement = progress.no_improvement + 1 if worse else 0
