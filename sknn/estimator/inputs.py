"""Tabular inputs: X that is not images, sequences or text."""

import numpy as np

from ..engine.data import Data
from ..engine.prediction import predict
from ..tape.on_demand import OnDemand, read_on_demand
from ..tape.sources import Source
from .checks import sound, validated

#: Sparse formats that are used without conversion.
_SPARSE = ["csr", "csc"]


class Inputs:
    """Base of tabular inputs, sequences and so on: `values` has one row per sample."""

    __slots__ = ()

    @property
    def shape(self):
        return self.values.shape

    @property
    def dtype(self):
        return self.values.dtype

    def source(self, repeatedly=False):
        """Return the inputs as a source for the engine.

        `repeatedly` says that rows will be read more than once, and in any order.
        """
        if repeatedly and isinstance(self.values, OnDemand):
            self.values.prepare()
        return Source(self.values)


class Rows(Inputs):
    """Validated X, with one row per sample.

    Attributes
    ----------
    values : ndarray, sparse matrix or OnDemand, of shape (n_samples, n_features)
    inputs : int or tuple
        Shape of a sample, as :class:`Network` expects it.
    """

    __slots__ = "values", "inputs"

    def __init__(self, values, inputs):
        self.values, self.inputs = values, inputs

    @property
    def features(self):
        """Number of features of a sample."""
        return self.values.shape[1]

    def min(self):
        return self.values.min()

    def max(self):
        return self.values.max()

    def part(self, rows):
        """Return the inputs of some rows."""
        return Rows(self.values[rows], self.inputs)

    def run(self, weights, n_jobs):
        """Return the outputs of a network with these weights, one row per sample."""
        return predict(weights, self.source(), n_jobs)

    def shaped(self, values, network):
        """Return the result of :meth:`run` in the output shape of the network."""
        return values.reshape(-1, *network.output_shape)

    def data(self, targets, weights, y=None):
        """Return the inputs with targets as training data."""
        source = self.source(repeatedly=True)
        return Data(source, targets, weights, np.arange(self.shape[0]), y)


class TakesRows:
    """Reads X as a table of numbers."""

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as inputs, and y if given, both validated."""
        X = sound(read_on_demand(X))
        if isinstance(y, str):
            X = validated(self, X, accept_sparse=_SPARSE, reset=reset, **checks)
            return Rows(X, X.shape[1])
        y = sound(y, "y")
        X, y = validated(self, X, y, accept_sparse=_SPARSE, reset=reset, **checks)
        return Rows(X, X.shape[1]), y
