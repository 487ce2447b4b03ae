"""Training and validation data."""

from dataclasses import dataclass, field, replace

import numpy as np

from .prediction import amounts, predict
from .warn import warn


@dataclass
class Pass:
    """One pass over data.

    Attributes
    ----------
    rows : ndarray of int64
        Row indices of the source in the order of the steps, one batch per step.
    rates : ndarray of shape (n_steps, 2)
        For each step: 1 / (sum of the batch's weights), and the factor of its loss in the sum over
        steps (both 0 if all weights are zero).
    counts : ndarray of shape (n_steps,)
        For each step: the number of losses. The reported loss is the sum over steps divided by the
        total of these counts.
    bound : dict of str to object
        Further arguments of :meth:`Session.bind`: `lengths`, `resets` and `carry`, by position in
        `rows`.
    """

    rows: np.ndarray
    rates: np.ndarray
    counts: np.ndarray
    bound: dict = field(default_factory=dict)

    @property
    def total(self):
        return int(self.counts.sum())


@dataclass
class Data:
    """Training or validation data.

    Attributes
    ----------
    source, targets
        Sources that the engine gathers rows from.
    weights : ndarray or None
        Sample weights, by row of the source.
    rows : ndarray of int64
        Indices of the source's rows that belong to the data.
    y : object
        Targets of those rows, for the score.
    lengths : ndarray of int64 of shape (n_rows, n_columns), or None
        Lengths of the sequences, by row of the source; None: all have the network's full length.
    steps : ndarray of int64, or None
        Number of targets of each sequence, by row of the source; None: one.
    auto_batch : int
        Maximum number of rows per step if the parameter `batch_size` is 'auto'.
    carries : bool
        Whether rows continue from the states of earlier rows, so that their order is fixed.
    """

    source: object
    targets: object
    weights: np.ndarray | None
    rows: np.ndarray
    y: object = None
    lengths: np.ndarray | None = None
    steps: np.ndarray | None = None
    auto_batch: int = field(default=200, kw_only=True)

    carries = False

    def part(self, places):
        """Return the data of some of the rows, given by their positions."""
        y = None if self.y is None else self.y[places]
        return replace(self, rows=self.rows[places], y=y)

    def batch_size(self, wanted):
        """Return the number of rows per step for a value of the parameter `batch_size`."""
        n = len(self.rows)
        if wanted == "auto":
            return min(self.auto_batch, n)
        if wanted > n:
            warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            )
        return max(1, min(int(wanted), n))

    def once(self, batch, order=None):
        """Return one Pass over the rows, `batch` rows per step.

        `order` is a permutation of the rows; None keeps their order.
        """
        rows = self.rows if order is None else self.rows[order]
        starts = np.arange(0, len(rows), batch)
        counts = np.minimum(batch, len(rows) - starts)
        if self.steps is not None:
            counts = np.add.reduceat(self.steps[rows], starts)
        sums = counts
        if self.weights is not None:
            sums = np.add.reduceat(amounts(self.weights, self.steps, rows), starts)
        # a batch with zero total weight has no effect
        rates = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums > 0)
        bound = {} if self.lengths is None else {"lengths": self.lengths[rows]}
        return Pass(rows, np.column_stack([rates, rates * counts]), counts, bound)

    def evaluate(self, weights, n_jobs):
        """Return the mean loss for a network's weights, and the outputs."""
        outputs, loss = predict(
            weights, self.source, n_jobs, self.targets, self.weights, self.rows, self.lengths,
            self.steps,
        )  # fmt: skip
        return float(loss), outputs
