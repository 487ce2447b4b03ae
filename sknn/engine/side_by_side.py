"""Several networks of one kind, trained side by side: one for each fold of the data, for example.

Where a single network is too small for all threads, a step computes the blocks of all networks.
Otherwise they take turns, an epoch each.
"""

from contextlib import ExitStack, contextmanager

from . import interrupts
from .training import warn_unconverged


def fit_side_by_side(trainers, epochs, partial=False, on_epoch=None, names=None):
    """Train networks together, epoch by epoch.

    Each becomes what its trainer's own :meth:`Trainer.fit` makes of it, bit for bit: weights,
    curves, scores, the optimizer's state and the generator's. One that ends earlier than others
    stays as it is.

    Trainers share a session where their networks, rules and batches are the same, the device offers
    it, and it is faster. Otherwise they take turns, an epoch each. An interrupt ends all of them
    after a complete step: the same one of all that share a session, and one of the same epoch of
    those that take turns.

    Parameters
    ----------
    trainers : list of Trainer
        Each with a Progress and a generator of its own. What else they have may be shared; their
        numbers of rows may differ.
    epochs : int
        The most epochs.
    partial : bool
        Whether this is a partial fit, where it is no surprise that training has not converged.
    on_epoch : callable or None
        Called at the start of each epoch; returns a function to call at its end, once all networks
        are validated, which returns whether all are to stop.
    names : list of str or None
        What lines of verbose output begin with; None: "Network 1", "Network 2", ...
    """
    names = names or [f"Network {i + 1}" for i in range(len(trainers))]
    for trainer, name in zip(trainers, names, strict=True):
        trainer.name = name
        trainer.begin(epochs)
    going = trainers
    try:
        with ExitStack() as stack:
            lanes = [stack.enter_context(lane.opened()) for lane in _lanes(trainers)]
            going = [t for t in trainers if not t.ended(partial)]
            while going := [t for t in going if t.progress.n_iter < epochs]:
                finish = None if on_epoch is None else on_epoch()
                for lane in lanes:
                    for trainer, made in lane.passes(going):
                        trainer.close_epoch(*made)
                stop = finish is not None and bool(finish())
                going = [t for t in going if not t.ends(partial, stop)]
    except KeyboardInterrupt as interrupt:
        for trainer in going:
            trainer.interrupted = True
        interrupts.take(interrupt)
    for trainer in trainers:
        trainer.end()
    warn_unconverged(trainers)


def _lanes(trainers):
    """Return the trainers, divided into those that share a session."""
    alike, lanes = {}, []
    for i, trainer in enumerate(trainers):
        key = (trainer.program, trainer.batch) if trainer.shares else i
        alike.setdefault(key, []).append(trainer)
    for some in alike.values():
        shared = len(some) > 1 and some[0].gains(len(some))
        lanes += [_Together(some)] if shared else map(_Alone, some)
    return lanes


class _Alone:
    """A trainer with a session of its own."""

    def __init__(self, trainer):
        self._trainer = trainer

    @contextmanager
    def opened(self):
        with self._trainer.opened():
            yield self

    def passes(self, going):
        """Make a pass for each network that goes on; yield them, and what has been made."""
        if self._trainer in going:
            yield self._trainer, self._trainer.make_pass()


class _Together:
    """Trainers that share a session."""

    def __init__(self, trainers):
        self._trainers = trainers

    @contextmanager
    def opened(self):
        with self._trainers[0].open_for(len(self._trainers)) as self._session:
            yield self

    def passes(self, going):
        n, plans = len(self._trainers), {}
        totals, rates, counted = [0] * n, [None] * n, [0] * n
        for i, trainer in enumerate(self._trainers):
            if trainer not in going:  # a pass over no rows
                continue
            once, rates[i], counted[i] = trainer.plan()
            trainer.bind(self._session, once.rows, once.bound | {"network": i})
            plans[i] = once
            totals[i] = len(once.rows)
        if plans:
            batch = self._trainers[0].batch
            sums = self._session.run_networks(totals, batch, rates, counted)
            firsts = self._session.first_losses
            for i, once in plans.items():
                yield self._trainers[i], (once, sums[i], float(firsts[i]))
