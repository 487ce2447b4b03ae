"""Rows of numbers: what X is, where it is no image, sequence or text."""

import numpy as np

from ..engine.data import Data
from ..engine.prediction import predict
from ..tape.sources import Source
from .checks import sound, validated

#: The formats in which a sparse X is taken as it is.
_SPARSE = ["csr", "csc"]


class Inputs:
    """What rows, sequences and the like share: `values`, in which a sample is a row."""

    __slots__ = ()

    @property
    def shape(self):
        return self.values.shape

    @property
    def dtype(self):
        return self.values.dtype

    def source(self):
        """Return them as the engine reads them."""
        return Source(self.values)


class Rows(Inputs):
    """Checked X, a sample a row.

    Attributes
    ----------
    values : ndarray or sparse matrix of shape (n_samples, n_features)
    inputs : int or tuple
        The shape of a sample, as networks take it.
    """

    __slots__ = "values", "inputs"

    def __init__(self, values, inputs):
        self.values, self.inputs = values, inputs

    @property
    def features(self):
        """Numbers of a sample."""
        return self.values.shape[1]

    def min(self):
        return self.values.min()

    def max(self):
        return self.values.max()

    def part(self, rows):
        """Return some of them."""
        return Rows(self.values[rows], self.inputs)

    def run(self, weights, n_jobs):
        """Return what a network with weights gives for them, a row each."""
        return predict(weights, self.source(), n_jobs)

    def shaped(self, values, network):
        """Return what :meth:`run` gives for a network in the shape of its outputs."""
        return values.reshape(-1, *network.output_shape)

    def data(self, targets, weights, y=None):
        """Return them as data to learn from."""
        return Data(self.source(), targets, weights, np.arange(self.shape[0]), y)


class TakesRows:
    """Reads X as rows of numbers."""

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as inputs, and y where there is one, both checked."""
        X = sound(X)
        if isinstance(y, str):
            X = validated(self, X, accept_sparse=_SPARSE, reset=reset, **checks)
            return Rows(X, X.shape[1])
        y = sound(y, "y")
        X, y = validated(self, X, y, accept_sparse=_SPARSE, reset=reset, **checks)
        return Rows(X, X.shape[1]), y
