"""Texts as parallel streams, through which a recurrent network carries its state.

A text is an array of symbol numbers. Each symbol is the input of one step and the target of the
step before. A stream is a queue of chunks of at most `time` steps; a step of the engine processes
one chunk of each stream.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..engine.data import Data, Pass
from ..engine.prediction import open_session
from ..engine.threads import give_way
from ..engine.training import Trainer
from ..tape.sources import ClassNumbers, Source

#: The key of a source of symbols.
TOKENS = Source(np.zeros((1, 1), np.int64)).key
#: Steps per chunk outside of training, and number of texts that are read together.
_TIME, _TOGETHER = 64, 256
#: Bytes for the probabilities that are held at a time.
LOOK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Schedule:
    """The order in which chunks are processed: rows of each array are steps, columns are streams.

    Attributes
    ----------
    rows : ndarray of int64
        Where a chunk begins among the symbols of all texts.
    lengths : ndarray of int64
        Number of its symbols that are read; 0 where a stream has ended.
    resets : ndarray of uint8
        Whether the state is zero before it.
    """

    rows: np.ndarray
    lengths: np.ndarray
    resets: np.ndarray


def deal(starts, lengths, time, n_streams=None):
    """Return the schedule that distributes the chunks of texts over streams, in equal runs.

    A stream's chunks follow each other in the texts, and numbers of chunks differ by at most one
    between streams. So a single text is split into contiguous parts; of several texts, only some
    that are longer than a chunk are split at all. Parts begin with a state of zero.

    Parameters
    ----------
    starts, lengths : ndarray of int64
        Where texts begin, and how many symbols of each are read.
    time : int
        Maximum length of a chunk.
    n_streams : int or None
        Maximum number of streams; there are never more than chunks. None: each text is a stream of
        its own.

    Returns
    -------
    schedule : Schedule
    """
    counts = -(-lengths // time)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    total = int(bounds[-1])
    text = np.repeat(np.arange(len(lengths)), counts)
    place = np.arange(total) - np.repeat(bounds[:-1], counts)
    if n_streams is not None:
        n_streams = min(n_streams, total)
        bounds = np.arange(n_streams + 1) * total // n_streams
    steps = int(np.diff(bounds).max(initial=0))
    chunk = bounds[:-1] + np.arange(steps)[:, None]
    live = chunk < bounds[1:]
    chunk = np.where(live, chunk, 0)
    text, place = text[chunk], place[chunk]
    left = np.minimum(time, lengths[text] - place * time)
    resets = place == 0
    resets[:1] = True
    return Schedule(
        (starts[text] + place * time).astype(np.int64),
        np.where(live, left, 0).astype(np.int64),
        (resets & live).astype(np.uint8),
    )


def join(texts, time):
    """Return all texts in one array, padded by a chunk, and a view of all chunks in it.

    Then the position where each text begins, and its length.
    """
    sizes = np.array([len(text) for text in texts], np.int64)
    codes = np.concatenate([*texts, np.zeros(time + 1, np.int64)])
    windows = np.lib.stride_tricks.sliding_window_view(codes, time)
    return codes, windows, np.cumsum(sizes) - sizes, sizes


@dataclass
class Streams(Data):
    """Training or validation texts; lengths and resets are by position.

    Attributes
    ----------
    resets : ndarray of uint8
        Whether a row begins with a state of zero.
    carry : ndarray of shape (n_streams, state_size)
        The streams' states.
    reduction : {'mean', 'sum'}
        Whether the gradient of a step is divided by its number of symbols, or of streams.
    """

    resets: np.ndarray = None
    carry: np.ndarray = None
    reduction: str = "mean"

    carries = True

    def part(self, places):
        by_place = {name: getattr(self, name)[places] for name in ("rows", "lengths", "resets")}
        return replace(self, **by_place)

    def batch_size(self, wanted):
        return len(self.carry)

    def once(self, batch, order=None):
        lengths = self.lengths.reshape(-1, batch)
        symbols = lengths.sum(axis=1)
        sums = symbols if self.reduction == "mean" else (lengths > 0).sum(axis=1)
        # the reported loss is per symbol, whatever the gradient is divided by
        rates = np.column_stack([1.0 / sums, np.ones(len(sums))])
        bound = {"lengths": self.lengths, "resets": self.resets, "carry": self.carry}
        return Pass(self.rows, rates, symbols, bound)

    def evaluate(self, weights, n_jobs):
        """Return the mean loss, and None, as there are no outputs to score."""
        n, once = len(self.carry), self.once(len(self.carry))
        keys = self.targets.key, True
        total = len(once.rows)
        opened = open_session(weights, "loss", self.source.key, n, n_jobs, *keys, total=total)
        with opened as (session, packed):
            session.bind(packed, self.source, self.targets, rows=once.rows, **once.bound)
            loss = float(session.run(total, n, once.rates)) / once.total
        return loss, None


class StepRecorder(Trainer):
    """A Trainer of streams that records the loss of each step, the mean over its symbols."""

    def _run(self, rows, rates, counted, bound):
        total = 0.0
        for step in range(len(rates)):
            part = slice(step * self.batch, (step + 1) * self.batch)
            here = bound | {name: bound[name][part] for name in ("lengths", "resets")}
            loss = super()._run(rows[part], rates[step : step + 1], counted + step, here)
            mean = float(loss) / int(here["lengths"].sum())
            self.progress.step_loss_curve.append(mean)
            total += loss
        return total


def make_streams(texts, name, network, dtype, n_streams, reduction):
    """Return texts as streams for a network that reads chunks.

    Parameters
    ----------
    texts : list of ndarray of int64
        The texts. At least one must have two or more symbols.
    name : str
        The name to use in error messages.
    network : Network
        Its number of inputs is the length of a chunk.
    dtype : dtype
        Floating-point precision of the computation.
    n_streams : int
        Maximum number of streams.
    reduction : {'mean', 'sum'}
        As in :class:`Streams`.
    """
    time = network.inputs
    codes, windows, starts, sizes = join(texts, time)
    lengths = np.maximum(sizes - 1, 0)  # the last symbol is only predicted
    if not lengths.any():
        raise ValueError(
            f"{name} has no text of at least two characters; expected one, as the first character "
            "is only read."
        )
    schedule = deal(starts, lengths, time, n_streams)
    return Streams(
        Source(windows, among=codes),
        ClassNumbers(windows[1:], among=codes),
        None,
        schedule.rows.ravel(),
        lengths=schedule.lengths.reshape(-1, 1),
        resets=schedule.resets.ravel(),
        carry=np.zeros((schedule.rows.shape[1], network.state_size), dtype),
        reduction=reduction,
    )


# --- outside of training


@contextmanager
def reading(weights, time, carry, purpose, n_jobs=None, total=None):
    """Yield a function that runs a network from the states in `carry`, which it updates.

    ``read(source, rows, lengths=None, out=None)`` reads a chunk from each of `rows` on, as many
    rows per step as there are states, and writes the outputs to `out`.

    Parameters
    ----------
    weights : Weights
    time : int
        Steps per chunk.
    carry : ndarray of shape (n_streams, state_size)
    purpose : {'states', 'predict'}
        What the function computes: only the states, or outputs, too.
    n_jobs : int or None
    total : int or None
        Approximate number of rows to read; None: as many as there are states.
    """
    weights, n = weights.of(with_steps(weights.network, time)), len(carry)
    opened = open_session(weights, purpose, TOKENS, n, n_jobs, carries=True, total=total)
    with opened as (session, packed):

        def read(source, rows, lengths=None, out=None):
            session.bind(packed, source, rows=rows, out=out, lengths=lengths, carry=carry)
            session.run(len(rows), n)

        yield read
    give_way()


@lru_cache(maxsize=64)  # a network caches its derived values in the object
def with_steps(network, time):
    """Return the network for chunks of `time` steps."""
    return replace(network, inputs=time)


def final_states(weights, texts, n_jobs=None):
    """Return the network's states after it has read each text from a state of zero.

    Returns
    -------
    states : ndarray of shape (n_texts, state_size)
        In the engine's format: layer by layer.
    """
    states = np.zeros((len(texts), weights.network.state_size), weights.dtype)
    for places, time in _groups(texts):
        codes, windows, starts, sizes = join([texts[i] for i in places], time)
        schedule = deal(starts, sizes, time)
        carry = states[places]
        rows, lengths = schedule.rows.ravel(), schedule.lengths.reshape(-1, 1)
        with reading(weights, time, carry, "states", n_jobs, len(rows)) as read:
            read(Source(windows, among=codes), rows, lengths)
        states[places] = carry
    return states


def all_outputs(weights, texts, n_jobs=None):
    """Yield the network's outputs for each text, from a state of zero: one row per symbol."""
    units = weights.network.output_shape[-1]
    for text in texts:
        time = min(_TIME, 1 << max(len(text) - 1, 0).bit_length())  # few programs
        codes, windows, starts, sizes = join([text], time)
        schedule = deal(starts, sizes, time)
        out = np.empty((len(schedule.rows), time * units), weights.dtype)
        carry = np.zeros((1, weights.network.state_size), weights.dtype)
        with reading(weights, time, carry, "predict", n_jobs, len(out)) as read:
            read(Source(windows, among=codes), schedule.rows.ravel(), schedule.lengths, out)
        yield out.reshape(-1, units)[: len(text)]


def log_likelihoods(weights, texts, n_jobs=None):
    """Return the log-probability of each text, given its first symbol.

    Each text is one stream, from its beginning to its end.

    Returns
    -------
    log_likelihoods : ndarray of shape (n_texts,)
    """
    sums = np.zeros(len(texts))
    for places, time in _groups(texts):
        sums[places] = _read_together(weights, [texts[i] for i in places], time, n_jobs)
    return sums


def _groups(texts):
    """Yield the indices of texts of similar lengths, to read together, and the chunk length."""
    sizes = np.array([len(text) for text in texts])
    order = np.argsort(sizes, kind="stable")
    sizes, first = sizes[order], 0
    while first < len(order):
        # much shorter texts would only wait for the others
        similar = np.searchsorted(sizes, 2 * sizes[first] + _TIME, side="right")
        last = min(first + _TOGETHER, int(similar))
        longest = int(sizes[last - 1])
        yield order[first:last], min(_TIME, 1 << max(longest - 1, 0).bit_length())  # few programs
        first = last


def _read_together(weights, texts, time, n_jobs):
    """Return the log-likelihoods of some texts, in bounded memory."""
    codes, windows, starts, sizes = join(texts, time)
    schedule = deal(starts, np.maximum(sizes - 1, 0), time)
    source = Source(windows, among=codes)
    n, units = len(texts), weights.network.output_shape[-1]
    steps = max(1, LOOK_BYTES // (n * time * units * weights.dtype.itemsize))
    out = np.empty((min(steps, len(schedule.rows)) * n, time * units), weights.dtype)
    sums, smallest = np.zeros(n), np.finfo(weights.dtype).tiny
    carry = np.zeros((n, weights.network.state_size), weights.dtype)
    with reading(weights, time, carry, "predict", n_jobs, schedule.rows.size) as read:
        for first in range(0, len(schedule.rows), steps):
            rows = schedule.rows[first : first + steps]
            lengths = schedule.lengths[first : first + steps]
            read(source, rows.ravel(), lengths.reshape(-1, 1), out[: rows.size])
            outputs = out[: rows.size].reshape(*rows.shape, time, units)
            found = np.take_along_axis(outputs, windows[rows + 1][..., None], axis=3)[..., 0]
            found = np.where(np.arange(time) < lengths[..., None], found, 1.0)
            logs = np.log(np.maximum(found, smallest), dtype=np.float64).swapaxes(0, 1)
            # added in sequence, so that a text's sum does not depend on the others' lengths
            terms = np.column_stack([sums, logs.reshape(n, -1)])
            sums = np.cumsum(terms, axis=1)[:, -1]
    return sums


def next_probabilities(weights, codes, carry, n_jobs=None):
    """Return the distribution of the symbol after each of `codes`; the states are updated.

    Parameters
    ----------
    weights : Weights
    codes : ndarray of int64 of shape (n_streams,)
    carry : ndarray of shape (n_streams, state_size)
        The states before; updated in place.

    Returns
    -------
    probabilities : ndarray of shape (n_streams, n_symbols)
    """
    out = np.empty((len(codes), weights.network.output_shape[-1]), weights.dtype)
    with reading(weights, 1, carry, "predict", n_jobs) as read:
        read(Source(codes[:, None]), np.arange(len(codes)), out=out)
    return out
