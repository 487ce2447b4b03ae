"""The data that a fit or a prediction reads, in place: X is not copied."""

import copy
from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from .on_demand import NUMBERS, OnDemand

#: The fields that a tape gathers rows from.
X, Y = 0, 1


class Source:
    """A matrix that the engine gathers rows from, casting them a batch at a time.

    Parameters
    ----------
    data : ndarray of shape (n_rows, n_columns), sparse matrix or OnDemand
        Any order, strides and numeric dtype. Sparse matrices are read in CSR format.
    among : ndarray or None
        The array that `data` is a sliding-window view of, if it is one: token ids are checked there
        instead.

    Attributes
    ----------
    operation : str
        The operation that gathers from it.
    variant : tuple
        The parameters that the operation's kernel is compiled for.
    arrays : tuple of ndarray
        The matrix; for a sparse one, the values, indices and index pointers. Empty for rows that
        are read on demand: only what :meth:`take` returns can be bound.
    on_demand : OnDemand or None
        The rows that are read on demand.
    strides : tuple of int
        The strides of the matrix when the source was made; empty for a sparse one.
    """

    n_classes, strides, on_demand = None, (), None

    def __init__(self, data, among=None):
        self.among = among
        self.n_rows, self.n_columns = data.shape
        self._tokens = None
        if isinstance(data, OnDemand):
            self.operation, self.variant = "gather", (_scalar(_gathered(data.dtype)), True)
            self.arrays, self.on_demand = (), data
        elif sp.issparse(data):
            self._gather_sparse(data.tocsr())
        else:
            self._gather_dense(data)

    def _gather_dense(self, data):
        wanted = _gathered(data.dtype)
        data = data if data.dtype == wanted else data.astype(wanted)
        contiguous = data.strides[1] == data.itemsize or self.n_columns == 1
        self.operation = "gather"
        self.variant = (_scalar(data.dtype), contiguous)
        self.arrays, self.strides = (data,), data.strides

    def _gather_sparse(self, data):
        values = data.data.astype(_gathered(data.data.dtype), copy=False)
        both = np.result_type(data.indptr, data.indices)
        index = np.dtype(np.int32 if both == np.int32 else np.int64)
        indices, indptr = (a.astype(index, copy=False) for a in (data.indices, data.indptr))
        self.operation = "gather_csr"
        self.variant = (_scalar(values.dtype), index.name)
        self.arrays = tuple(map(np.ascontiguousarray, (values, indices, indptr)))
        if len(indptr) != self.n_rows + 1:
            raise ValueError(
                f"X is a sparse matrix of {self.n_rows} rows, with {len(indptr)} index pointers; "
                "expected one more than rows."
            )

    def take(self, rows):
        """Return some of the rows as a source of the same kind."""
        if self.on_demand is not None:
            taken = Source(np.ascontiguousarray(self.on_demand.read(rows)))
            if self._tokens:
                taken.check_tokens(self._tokens)
            return taken
        if len(self.arrays) == 1:
            taken = Source(np.take(self.arrays[0], rows, axis=0))
            taken.variant = self.variant  # although its columns are adjacent
            return taken
        values, indices, begins = self.arrays
        # checked by hand: the caller may change it meanwhile, and SciPy takes it as it is
        stored = min(len(values), len(indices))
        first = np.clip(begins[rows], 0, stored)
        counts = np.clip(begins[rows + 1], first, stored) - first
        begins = np.append(0, np.cumsum(counts, dtype=np.int64))
        places = np.arange(begins[-1]) + np.repeat(first - begins[:-1], counts)
        taken = copy.copy(self)
        taken.n_rows, taken._tokens = len(rows), None
        taken.arrays = values[places], indices[places], begins.astype(self.arrays[2].dtype)
        return taken

    def __reduce__(self):  # strides are those of the array as it is unpickled
        return Source, (self.matrix, self.among)

    @property
    def matrix(self):
        """The matrix: an array, or a sparse matrix in CSR format. What is on demand is read."""
        if self.on_demand is not None:
            return np.asarray(self.on_demand)
        if len(self.arrays) == 1:
            return self.arrays[0]
        return sp.csr_array(self.arrays, shape=(self.n_rows, self.n_columns))

    @property
    def key(self):
        """The key that distinguishes the programs that read from it."""
        return self.operation, self.variant

    def check_tokens(self, allowed):
        """Raise ValueError unless some columns contain valid token ids.

        Parameters
        ----------
        allowed : dict of (int, int) to range
            The token ids, by first column and end (exclusive).
        """
        if self._tokens == allowed:
            return
        if self.on_demand is not None:  # as they are read
            self._tokens = dict(allowed)
            return
        for (first, last), tokens in allowed.items():
            if self.among is not None:
                part = self.among
            else:
                part = self.matrix[:, first:last]
            if sp.issparse(part):  # what is not stored is token 0
                part.sum_duplicates()
                part = part.data if part.nnz == np.prod(part.shape) else np.append(part.data, 0)
            if not part.size:
                continue
            strange = ~((part >= tokens.start) & (part < tokens.stop))
            if part.dtype.kind == "f":
                strange |= part != np.floor(part)
            if strange.any():
                raise ValueError(
                    f"X has the token {part[strange][0]}; expected integers from "
                    f"{tokens.start} to {tokens.stop - 1}, which the network knows."
                )
        self._tokens = dict(allowed)


class ClassNumbers:
    """Targets given as the class index of each row.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,) or (n_rows, n_steps)
        int64 is read in place, with any strides. It must not be changed: addresses depend on it.
    among : ndarray or None
        The array that `numbers` is a sliding-window view of, if it is one; checked instead.

    Attributes
    ----------
    n_classes : int
        All numbers are below this.
    numbers : ndarray of int64
    """

    operation = variant = key = on_demand = None

    def __init__(self, numbers, among=None):
        self.numbers = np.asarray(numbers, np.int64)
        self.n_rows = len(self.numbers)
        self.n_columns = 1 if self.numbers.ndim == 1 else self.numbers.shape[1]
        some = self.numbers if among is None else among
        if some.min(initial=0) < 0:
            raise ValueError(f"y has the class number {some.min()}; expected numbers from 0 on.")
        self.n_classes = int(some.max(initial=-1)) + 1

    def take(self, rows):
        """Return some of the rows as a source of the same kind."""
        return ClassNumbers(self.numbers[rows])


class _Inputs:
    """Targets that are the network's inputs."""

    key = ("inputs",)
    n_rows, n_classes, arrays, strides, on_demand = 2**62, None, (), (), None

    def take(self, rows):
        """Return itself: these are the inputs of whatever rows there are."""
        return self

    def __reduce__(self):
        return "INPUTS"  # there is only one


INPUTS = _Inputs()


@lru_cache  # called in each prediction, and slow in NumPy
def _gathered(dtype):
    """Return the dtype itself if the engine can read it, else the one to convert to."""
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype.kind not in NUMBERS or dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


@lru_cache
def _scalar(dtype):
    """Return the engine's name of a NumPy dtype; a boolean is one byte, 0 or 1."""
    return "uint8" if dtype.kind == "b" else dtype.name
