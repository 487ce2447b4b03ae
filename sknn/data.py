"""What a fit or a prediction reads, where it lies: no copy is made of X."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp

_NUMBERS = {"b", "u", "i", "f"}  # the kinds that the engine reads and casts itself


class Source:
    """A matrix that the engine gathers rows from, casting them a batch at a time.

    Parameters
    ----------
    data : ndarray of shape (n_rows, n_columns), or sparse matrix
        Any order, strides and type of number. Sparse matrices are read as compressed rows.

    Attributes
    ----------
    operation : str
        The operation that gathers from it.
    variant : tuple
        What that operation's kernel is compiled for.
    fields : list of int
        Address and strides, or the addresses of a sparse matrix's arrays.
    """

    def __init__(self, data):
        self.n_rows, self.n_columns = data.shape
        if sp.issparse(data):
            self._gather_sparse(data.tocsr())
        else:
            self._gather_dense(data)

    def _gather_dense(self, data):
        wanted = _gathered(data.dtype)
        data = data if data.dtype == wanted else data.astype(wanted)
        contiguous = data.strides[1] == data.itemsize or self.n_columns == 1
        self.operation = "gather"
        self.variant = (_scalar(data.dtype), contiguous)
        self.fields = [data.ctypes.data, *data.strides]
        self._arrays = data

    def _gather_sparse(self, data):
        values = data.data.astype(_gathered(data.data.dtype), copy=False)
        index = np.result_type(data.indptr, data.indices)
        indices, indptr = (a.astype(index, copy=False) for a in (data.indices, data.indptr))
        self.operation = "gather_csr"
        self.variant = (_scalar(values.dtype), index.name)
        self._arrays = values, indices, indptr
        self.fields = [array.ctypes.data for array in self._arrays]

    @property
    def key(self):
        """What distinguishes the programs that read from it."""
        return self.operation, self.variant


class ClassNumbers:
    """Targets given as the number of each row's class.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,) or (n_rows, n_steps)
        int64 is read where it lies, in any order.
    """

    def __init__(self, numbers):
        self._numbers = np.asarray(numbers, np.int64)
        self.n_rows = len(self._numbers)
        strides = self._numbers.strides
        self.fields = [self._numbers.ctypes.data, strides[0], strides[-1]]
        self.key = None


class _Inputs:
    """Targets that are what the network gets."""

    key = ("inputs",)
    fields = (0, 0, 0)


INPUTS = _Inputs()


@lru_cache  # asked at each prediction, and slow in NumPy
def _gathered(dtype):
    """Return the type itself if the engine can read it, else one to convert to."""
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype.kind not in _NUMBERS or dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


@lru_cache
def _scalar(dtype):
    """Return the engine's name of a NumPy type: a boolean is one byte, 0 or 1."""
    return "uint8" if dtype.kind == "b" else dtype.name
