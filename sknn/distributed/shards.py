"""Shards of a batch: their gradients, and sums of them that do not depend on who computes what.

The shards of a step are the leaves of a binary tree. A node is the sum of its two children, so
each sum is of neighbors, in their order, and which floating-point numbers are added does not depend
on the number of workers. A worker that computes some shards adds them up as far as the tree allows,
and sends only what is left: the roots of the largest subtrees, rather than each gradient.
"""

from copy import copy
from importlib import import_module

import numpy as np

from ..engine.devices import HOST, device_named
from ..engine.lowering import program


def cut(first, last, n):
    """Return the n + 1 limits of n consecutive parts, whose sizes differ by at most one."""
    return [first + (last - first) * i // n for i in range(n + 1)]


def add_up(sums, n, add):
    """Add up neighbors in the tree of `n` shards wherever both are known.

    Parameters
    ----------
    sums : dict of (int, int) to object
        Nodes by level and place: that of the shards from ``place << level`` up to, not including,
        ``place + 1 << level``. Changed in place.
    n : int
    add : callable
        Returns the sum of two nodes.
    """
    level = 0
    while 1 << level < n:
        for place in sorted(place for at, place in sums if at == level and place % 2 == 0):
            neighbor = level, place + 1
            if place + 1 << level >= n:  # there is none
                sums[level + 1, place // 2] = sums.pop((level, place))
            elif neighbor in sums:
                sums[level + 1, place // 2] = add(sums.pop((level, place)), sums.pop(neighbor))
        level += 1


def nodes(first, last, n):
    """Return the nodes that are left of the shards from `first` to `last`, in order."""
    left = {(0, place): None for place in range(first, last)}
    add_up(left, n, lambda a, b: None)
    return sorted(left, key=lambda node: node[1] << node[0])


def flat(values):
    """Return the parameters' values, in their documented shapes, as one vector."""
    return np.concatenate([value.ravel() for value in values])


class Flat:
    """How a network's parameters are arranged in a vector.

    It has them in their documented shapes, one after the other: how they are packed for computation
    depends on the processor, which may be another one in another machine.
    """

    def __init__(self, network):
        parameters = [p for group in network.parameters() for p in group]
        self._shapes = [p.shape for p in parameters]
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self._shapes])
        self.size, self._ends = int(ends[-1]), ends[:-1]
        #: Where parameters are that are not trained: frozen ones, and running statistics.
        self.untrained = np.concatenate(
            [np.full(np.prod(p.shape, dtype=int), not p.trainable) for p in parameters]
        )

    def values(self, vector):
        """Return the parameters in a vector, as views in their documented shapes."""
        parts = np.split(vector, self._ends)
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]


class Shards:
    """The training data, and the gradients of shards of a batch.

    It is sent to the workers, and it has no state: the weights come with each step.

    Parameters
    ----------
    network : Network
    dtype : dtype
    data : Data
        The training data; their rows are given with each step.
    rows : int
        The largest number of rows of a shard.
    seed : int
        Seed of dropout, noise and augmentation.
    n_jobs : int or None
        Number of threads; None: as many as a worker has for tasks, or all cores without a cluster.
    scheduled : bool
        Whether the rates of dropout follow a schedule.
    """

    def __init__(self, network, dtype, data, rows, seed, n_jobs, scheduled=False):
        self.network, self.dtype = network, dtype
        self._data = data.source, data.targets, data.weights
        self._rows, self._seed, self._n_jobs = rows, seed, n_jobs
        self._scheduled = scheduled
        self._version = import_module("sknn").__version__

    def prepared(self, n_jobs=None):
        """Return a copy with a compiled program; `n_jobs` is what to use for None.

        Dask may send the original to other workers, and a program cannot be sent.
        """
        here = import_module("sknn").__version__
        if here != self._version:
            raise RuntimeError(
                f"A worker has version {here} of sknn, but the fit was started with version "
                f"{self._version}: results would depend on which worker computes what."
            )
        device, network, made = device_named(HOST), self.network, copy(self)
        if made._n_jobs is None:
            made._n_jobs = n_jobs
        made._threads = device.threads(network, self._rows, made._n_jobs)
        width = device.training_width(network, self._rows, self.dtype)
        keys = (source.key for source in self._data[:2])
        made._program = program(
            network, self.dtype.name, width, "gradient", *keys, None, made._threads, False, device,
            self._scheduled,
        )  # fmt: skip
        made._flat = Flat(network)
        return made

    def sums(self, first, last, n, step, rates, limits, vector, rows, bound):
        """Return the sums over the shards from `first` to `last`, as far as the tree allows.

        Parameters
        ----------
        first, last : int
            Which shards, of the step's `n`.
        n : int
        step : int
            Number of steps before this one.
        rates : ndarray of shape (1, n_columns)
            The rates of the step.
        limits : list of int
            Where these shards start and end in `rows`.
        vector : ndarray of shape (size,)
            The parameters.
        rows : ndarray of int64
            The shards' rows of the data.
        bound : dict of str to ndarray
            Further arguments of :meth:`Session.bind`, by position in `rows`.

        Returns
        -------
        sums : list of (ndarray of shape (size,), ndarray of shape (2,))
            For each of :func:`nodes`, in order, the gradient of the loss, and the loss without
            penalties and the divergence: all as sums over rows. Where running statistics are among
            the parameters, the vector has their changes, times the number of rows.
        """
        device, made = device_named(HOST), self._program
        values, found = self._flat.values(vector), {}
        rates = np.hstack([np.ones((1, 2)), rates[:, 2:]])  # sums, whatever a step's weights are
        packed = device.upload(made.layout, values)
        gradient = device.zeros(made.layout)
        with device.session(made, self._rows, self._threads, gradient) as session:
            for place, start, end in zip(range(first, last), limits[:-1], limits[1:], strict=True):
                part = {name: array[start:end] for name, array in bound.items()}
                session.bind(packed, *self._data, rows=rows[start:end], seed=self._seed, **part)
                # each shard is a step of its own to the random number generator
                session.run(end - start, end - start, rates, counted=step * n + place)
                total = flat(device.download(made.layout, gradient))
                if made.needs.changes:  # running statistics, which the next shard starts from too
                    moved = flat(device.download(made.layout, packed)) - vector
                    where = self._flat.untrained
                    total[where] = moved[where] * (end - start)
                    device.upload(made.layout, values, packed)
                found[0, place] = total, np.array([session.data_loss, session.divergence])
                add_up(found, n, add)
        return [found[node] for node in nodes(first, last, n)]


def add(one, other):
    """Return the sum of two nodes: of their gradients and of their losses."""
    return tuple(a + b for a, b in zip(one, other, strict=True))
