"""What the units of a layer do for some samples."""

import numpy as np

#: Largest absolute output of a dead unit, by activation: where these functions are flat at zero.
_FLAT = dict.fromkeys(("gelu", "silu", "mish", "softplus"), 1e-6)
DEAD = {"relu": 0.0, **_FLAT, "gaussian": 1e-3}
#: The bounds of activations that saturate.
BOUNDS = {"logistic": (0.0, 1.0), "tanh": (-1.0, 1.0)}
#: An output is saturated within this fraction of the range from a bound; a unit is where at least
#: that share of its outputs are.
NEAR, MOST = 0.01, 0.95


class Units:
    """Statistics of a layer's units, over the outputs given so far.

    A unit is an element of the last axis: in images a channel, at all positions; in sequences an
    element of a step, at all steps.

    Parameters
    ----------
    function : str
        The layer's activation, or basis function.

    Attributes
    ----------
    not_finite : int
        How many outputs are not finite; they are left out of all others, and a unit without any
        other is neither dead nor saturated nor constant.
    """

    def __init__(self, function):
        self._function = function
        self._n = self.not_finite = 0

    def add(self, outputs):
        """Count outputs, an array of shape (..., units)."""
        values = np.asarray(outputs)
        values = values.reshape(-1, values.shape[-1])
        if not self._n:
            self._least, self._most = np.inf, -np.inf
            self._sum = self._squares = self._near = self._count = 0.0
            self._epsilon = np.finfo(values.dtype).eps
        finite = np.isfinite(values)
        self.not_finite += int((~finite).sum())
        self._n += len(values)
        self._count = self._count + finite.sum(axis=0)
        values = values.astype(np.float64, copy=False)
        self._least = np.minimum(self._least, values.min(axis=0, initial=np.inf, where=finite))
        self._most = np.maximum(self._most, values.max(axis=0, initial=-np.inf, where=finite))
        with np.errstate(over="ignore"):
            self._sum += values.sum(axis=0, where=finite)
            self._squares += np.square(values).sum(axis=0, where=finite)
        if self._function in BOUNDS:
            low, high = BOUNDS[self._function]
            margin = NEAR * (high - low)
            near = finite & ((values < low + margin) | (values > high - margin))
            self._near = self._near + near.sum(axis=0)

    @property
    def n_units(self):
        """The number of units."""
        return len(self._sum)

    @property
    def _largest(self):
        return np.maximum(np.abs(self._least), np.abs(self._most))

    @property
    def _are_dead(self):
        return self._largest <= DEAD.get(self._function, -1.0)

    @property
    def dead(self):
        """How many are zero for all samples; None if the activation has no such region."""
        return int(self._are_dead.sum()) if self._function in DEAD else None

    @property
    def saturated(self):
        """How many are at a bound of the activation for most samples; None if it has none."""
        if self._function not in BOUNDS:
            return None
        return int(((self._near >= MOST * self._count) & (self._count > 0)).sum())

    @property
    def constant(self):
        """How many have the same output for all samples, other than dead ones."""
        if self._n < 2:
            return 0
        same = self._most - self._least <= 8 * self._epsilon * self._largest
        return int((same & ~self._are_dead & (self._count > 1)).sum())

    @property
    def mean(self):
        """The mean over all units; None if no output is finite."""
        total = self._count.sum()
        return float(self._sum.sum() / total) if total else None

    @property
    def spread(self):
        """The standard deviation over all units; None if no output is finite."""
        mean = self.mean
        if mean is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            square = self._squares.sum() / self._count.sum() - mean**2
        return float(np.sqrt(max(square, 0.0)))
