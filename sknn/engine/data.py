"""What is learned from, or validated with."""

from dataclasses import dataclass, field, replace

import numpy as np

from .prediction import amounts, predict
from .warn import warn


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
    counts : ndarray of shape (n_steps,)
        By step: how many losses there are; by their sum the sum over steps is divided to report it.
    bound : dict of str to object
        What else :meth:`Session.bind` gets: `lengths`, `resets` and `carry`, by position in `rows`.
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
    auto_batch : int
        Rows in a step, at most, where the parameter `batch_size` is 'auto'.
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
    auto_batch: int = field(default=200, kw_only=True)

    carries = False

    def part(self, places):
        """Return the data of some of the rows, by their places among them."""
        y = None if self.y is None else self.y[places]
        return replace(self, rows=self.rows[places], y=y)

    def batch_size(self, wanted):
        """Return the number of rows in a step, for what the parameter `batch_size` says."""
        n = len(self.rows)
        if wanted == "auto":
            return min(self.auto_batch, n)
        if wanted > n:
            warn(
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
            sums = np.add.reduceat(amounts(self.weights, self.steps, rows), starts)
        # a batch in which nobody has weight teaches nothing
        rates = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums > 0)
        bound = {} if self.lengths is None else {"lengths": self.lengths[rows]}
        return Pass(rows, np.column_stack([rates, rates * counts]), counts, bound)

    def evaluate(self, weights, n_jobs):
        """Return the mean loss for a network's weights, and the outputs, for a score."""
        outputs, loss = predict(
            weights, self.source, n_jobs, self.targets, self.weights, self.rows, self.lengths,
            self.steps,
        )  # fmt: skip
        return float(loss), outputs
