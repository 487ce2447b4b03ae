"""Pairs of texts in the engine's format."""

from dataclasses import dataclass, replace

import numpy as np

from ..engine.data import Data
from ..engine.prediction import predict
from ..estimator.tasks import Task
from ..tape.sources import ClassNumbers, Source
from .streams import LOOK_BYTES


@dataclass
class Pairs(Data):
    """Pairs of texts for training or validation.

    Attributes
    ----------
    codes : ndarray of int64 of shape (n_pairs, in_steps + out_steps + 1)
        The input's symbols; then the mark as start token, the output's symbols, and the mark as
        end token. Of the second part, the decoder reads all but the last column, and predicts all
        but the first.
    in_steps : int
        Number of columns for the input.
    mark : int
        The number of the start and end token; it comes after those of the outputs' symbols.
    """

    codes: np.ndarray = None
    in_steps: int = 1
    mark: int = 0

    @property
    def out_steps(self):
        """Number of columns for the output and one mark."""
        return self.codes.shape[1] - self.in_steps - 1

    def batch_size(self, wanted):
        return min(wanted, len(self.rows))

    def evaluate(self, weights, n_jobs):
        """Return the mean loss, and which outputs greedy search finds."""
        likelihoods, exact = self.read(weights, n_jobs)
        return -float(likelihoods.sum() / self.steps[self.rows].sum()), exact

    def read(self, weights, n_jobs):
        """Return how a network predicts the outputs with teacher forcing.

        Returns
        -------
        log_likelihoods : ndarray of shape (n_pairs,)
            The logarithm of each output's probability.
        exact : ndarray of bool of shape (n_pairs,)
            Whether each symbol is the most probable one: then greedy search finds this output.
        """
        weights = weights.of(_resized(weights.network, self.in_steps, self.out_steps))
        together = max(1, LOOK_BYTES // (weights.network.outputs * weights.dtype.itemsize))
        parts = [
            self._read(weights, n_jobs, self.rows[first : first + together])
            for first in range(0, len(self.rows), together)
        ]
        return tuple(map(np.concatenate, zip(*parts)))

    def outputs(self, weights, n_jobs):
        """Return the network's outputs for each pair: one row per step of the output."""
        weights = weights.of(_resized(weights.network, self.in_steps, self.out_steps))
        outputs = self._run(weights, n_jobs, self.rows)
        return [some[:steps] for some, steps in zip(outputs, self.steps, strict=True)]

    def _run(self, weights, n_jobs, rows):
        outputs = predict(weights, self.source, n_jobs, rows=rows, lengths=self.lengths)
        return outputs.reshape(len(rows), *weights.network.output_shape)

    def _read(self, weights, n_jobs, rows):
        outputs = self._run(weights, n_jobs, rows)
        behind = np.arange(self.out_steps) >= self.lengths[rows, 1:]
        wanted = self.codes[rows, self.in_steps + 1 :]
        found = np.take_along_axis(outputs, wanted[..., None], axis=2)[..., 0]
        found = np.maximum(np.where(behind, 1.0, found), np.finfo(outputs.dtype).tiny)
        exact = ((outputs.argmax(axis=2) == wanted) | behind).all(axis=1)
        return np.log(found, dtype=np.float64).sum(axis=1), exact


class Translation(Task):
    """Generation of the output of each pair; the pairs hold the targets."""

    losses = ("log_loss",)

    def read(self, read, X, y, reset):
        """Return pairs, and no separate targets."""
        return read(X, y, reset), None

    def count_outputs(self, pairs, y):
        return pairs.mark + 1

    def shown(self, network, n_outputs):
        return {}

    def data(self, pairs, y, weights, network):
        return pairs

    def score(self, data, loss, exact):
        """Return the fraction of outputs that greedy search finds."""
        return float(exact.mean())


def make_pairs(inputs, outputs, mark):
    """Return pairs of texts in the engine's format.

    Parameters
    ----------
    inputs, outputs : tuple of (codes, offsets)
        The numbers of all symbols, and where each text begins and ends.
    mark : int
        The number of the start and end token of outputs.
    """
    lengths = np.column_stack([np.diff(inputs[1]), np.diff(outputs[1]) + 1])
    n, (in_steps, out_steps) = len(lengths), np.maximum(lengths.max(axis=0), 1).tolist()
    codes = np.zeros((n, in_steps + out_steps + 1), np.int64)
    codes[:, :in_steps][np.arange(in_steps) < lengths[:, :1]] = inputs[0]
    written, place = codes[:, in_steps:], np.arange(out_steps + 1)
    written[(place > 0) & (place < lengths[:, 1:])] = outputs[0]
    written[:, 0] = written[np.arange(n), lengths[:, 1]] = mark
    return Pairs(
        Source(codes[:, :-1]), ClassNumbers(written[:, 1:]), None, np.arange(n), lengths=lengths,
        steps=lengths[:, 1].copy(), codes=codes, in_steps=in_steps, mark=mark,
    )  # fmt: skip


def _resized(network, in_steps, out_steps):
    """Return a network for texts of other lengths; its parameters are the same."""
    coder, *rest = network.layers
    coder = replace(coder, in_steps=in_steps)
    return replace(network, layers=(coder, *rest), inputs=in_steps + out_steps)
