"""Training and validation data."""

from dataclasses import dataclass, field, replace

import numpy as np

from .prediction import amounts, predict
from .warn import warn


@dataclass
class Pass:
    """One pass over data, or several, one after the other.

    Attributes
    ----------
    rows : ndarray of int64
        Row indices of the source in the order of the steps, one batch per step.
    rates : ndarray of shape (n_steps, 2)
        For each step: 1 / (sum of the batch's weights), and the factor of its loss in the sum over
        steps (both 0 if all weights are zero).
    counts : ndarray of shape (n_steps,)
        For each step: the number of losses. The reported loss is the sum over the steps of a pass
        divided by the total of these counts.
    bound : dict of str to object
        Further arguments of :meth:`Session.bind`: `lengths`, `resets` and `carry`, by position in
        `rows`.
    passes : int
        The number of passes, which have the same number of steps.
    """

    rows: np.ndarray
    rates: np.ndarray
    counts: np.ndarray
    bound: dict = field(default_factory=dict)
    passes: int = 1

    @property
    def total(self):
        """Number of losses in a pass."""
        return int(self.counts.sum()) // self.passes


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

        `order` is a permutation of the rows, or an array of one for each pass; None keeps the
        order of the rows.
        """
        rows = self.rows if order is None else self.rows[order].ravel()
        passes = 1 if order is None or order.ndim == 1 else len(order)
        n = len(rows) // passes
        starts = np.arange(0, n, batch)
        counts = np.minimum(batch, n - starts)
        if passes > 1:
            starts = (np.arange(0, len(rows), n)[:, None] + starts).ravel()
            counts = np.tile(counts, passes)
        if self.steps is not None:
            counts = np.add.reduceat(self.steps[rows], starts)
        sums = counts
        if self.weights is not None:
            sums = np.add.reduceat(amounts(self.weights, self.steps, rows), starts)
        # a batch with zero total weight has no effect
        rates = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums > 0)
        bound = {} if self.lengths is None else {"lengths": self.lengths[rows]}
        return Pass(rows, np.column_stack([rates, rates * counts]), counts, bound, passes)

    def evaluate(self, weights, n_jobs):
        """Return the mean loss for a network's weights, and the outputs."""
        outputs, loss = predict(
            weights, self.source, n_jobs, self.targets, self.weights, self.rows, self.lengths,
            self.steps,
        )  # fmt: skip
        return float(loss), outputs
