"""A Trainer whose steps are computed shard by shard, here or by the workers of a cluster."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ..engine.devices import HOST
from ..engine.training import Trainer
from ..tape.sources import Source
from .shards import Flat, Shards, add, add_up, cut, flat, nodes

#: What an update reads of the data: nothing, but a session is bound to some.
_NO_DATA = Source(np.zeros((1, 1)))


class ParallelTrainer(Trainer):
    """Trains a network on minibatches whose shards are computed in parallel.

    Everything else is as in :class:`Trainer`: the optimizer and its state, the order of the rows,
    validation, stopping. Gradients are summed and applied here.

    Parameters
    ----------
    recipe, network, dtype, progress, train, validation, score, random_state, seed
        As for :class:`Trainer`.
    shard_size : int
        The largest number of rows of a shard.
    crew : callable
        ``crew(shards)`` returns a context manager of what computes the sums over shards, such as
        :class:`Here`.
    """

    def __init__(self, recipe, *others, shard_size, crew):
        self.shard_size, self._crew = shard_size, crew
        super().__init__(replace(recipe, device=HOST), *others)

    def _compile(self, purpose, source=None, targets=None):
        return super()._compile("update")

    @contextmanager
    def _open(self):
        device, network, train = self._device, self.network, self.train
        rows = min(self.shard_size, self.batch)
        scheduled = self.recipe.dropout_schedule != "constant"
        shards = Shards(
            network, self.dtype, train, rows, self.seed, self.recipe.n_jobs, scheduled
        )
        gradient = device.zeros(self._layout)
        with (
            self._crew(shards) as crew,
            device.session(self.program, 1, self._threads, gradient) as update,
        ):
            yield _Steps(device, self._layout, Flat(network), crew, update, gradient, rows)


class _Steps:
    """Steps of training, with the interface of a session for a program that trains.

    Attributes
    ----------
    data_loss, divergence, first_loss : float
        As those of a session.
    """

    def __init__(self, device, layout, arranged, crew, update, gradient, shard_size):
        self._device, self._layout, self._arranged = device, layout, arranged
        self._crew, self._update, self._gradient = crew, update, gradient
        self._shard_size = shard_size
        self.data_loss = self.divergence = self.first_loss = 0.0

    def bind(self, parameters, source, targets, weights, rows, *, states, seed, **by_position):
        """Set what the next steps read and write; source, targets and weights are the crew's."""
        self._packed, self._rows, self._by_position = parameters, rows, by_position
        self._update.bind(parameters, _NO_DATA, states=states, seed=seed)
        self._crew.begin_pass()

    def run(self, total, batch, rates, counted):
        """Run all steps over `total` rows, `batch` rows per step; return the sum of their losses.

        The parameters change between steps only, so an interrupt leaves those of a whole step.
        """
        losses = np.zeros(3)
        for i, start in enumerate(range(0, total, batch)):
            rows = slice(start, min(start + batch, total))
            losses += self._step(rows, rates[i : i + 1], counted + i)
            if i == 0:
                self.first_loss = float(losses[0])
        loss, self.data_loss, self.divergence = map(float, losses)
        return loss

    def _step(self, rows, rates, counted):
        """Make a step; return its loss, also without penalties, and its divergence."""
        layout, device, packed = self._layout, self._device, self._packed
        n_rows = rows.stop - rows.start
        n = -(-n_rows // self._shard_size)
        bound = {name: array[rows] for name, array in self._by_position.items()}
        vector = flat(device.download(layout, packed))
        limits = cut(0, n_rows, n)
        found = self._crew.sums(n, counted, rates, limits, vector, self._rows[rows], bound)
        add_up(found, n, add)
        ((total, sums),) = found.values()
        layout.pack(self._arranged.values(total), self._gradient)
        share = rates[0, 1]
        loss = self._update.run(1, 1, rates, counted) + sums[0] * share
        for parameter in layout.parameters:
            if not parameter.trainable:  # the mean of the shards' running statistics
                part = layout.part(parameter)
                packed[part] += self._gradient[part] / n_rows
        return loss, sums[0] * share, sums[1] * share


class Here:
    """Computes the sums over shards in this process, one after the other."""

    def __init__(self, shards):
        self._shards = shards.prepared()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def begin_pass(self):
        pass

    def sums(self, n, *step):
        """Return the sums over all `n` shards of a step, by node of their tree."""
        return dict(zip(nodes(0, n, n), self._shards.sums(0, n, n, *step), strict=True))
