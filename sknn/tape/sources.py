"""What a fit or a prediction reads, where it lies: no copy is made of X."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp

#: What a tape gathers rows from.
X, Y = 0, 1
NUMBERS = {"b", "u", "i", "f"}  # the kinds that the engine reads and casts itself


class Source:
    """A matrix that the engine gathers rows from, casting them a batch at a time.

    Parameters
    ----------
    data : ndarray of shape (n_rows, n_columns), or sparse matrix
        Any order, strides and type of number. Sparse matrices are read as compressed rows.
    among : ndarray or None
        What `data` are windows of, if they are: where numbers of tokens are checked, these are
        looked at in its place.

    Attributes
    ----------
    operation : str
        The operation that gathers from it.
    variant : tuple
        What that operation's kernel is compiled for.
    arrays : tuple of ndarray
        The matrix; or of a sparse one the values, indices and places where rows begin.
    strides : tuple of int
        Those of the matrix when the source was made; of a sparse one there are none.
    """

    n_classes, strides = None, ()

    def __init__(self, data, among=None):
        self.among = among
        self.n_rows, self.n_columns = data.shape
        self._tokens = None
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
                f"X is a sparse matrix of {self.n_rows} rows, with {len(indptr)} places where rows "
                "begin or end."
            )

    @property
    def matrix(self):
        """The matrix: an array, or a sparse one of compressed rows."""
        if len(self.arrays) == 1:
            return self.arrays[0]
        return sp.csr_array(self.arrays, shape=(self.n_rows, self.n_columns))

    @property
    def key(self):
        """What distinguishes the programs that read from it."""
        return self.operation, self.variant

    def check_tokens(self, below):
        """Raise ValueError unless some columns hold numbers of tokens.

        Parameters
        ----------
        below : dict of (int, int) to int
            By first column, and the one behind the last: how many tokens there are.
        """
        if self._tokens == below:
            return
        for (first, last), n_tokens in below.items():
            if self.among is not None:
                part = self.among
            else:
                part = self.matrix[:, first:last]
            if sp.issparse(part):  # what is not stored is token 0
                part.sum_duplicates()
                part = part.data
            if not part.size:
                continue
            strange = ~((part >= 0) & (part < n_tokens))
            if part.dtype.kind == "f":
                strange |= part != np.floor(part)
            if strange.any():
                raise ValueError(
                    f"X has the token {part[strange][0]}; expected integers from 0 to "
                    f"{n_tokens - 1}, which the network knows."
                )
        self._tokens = dict(below)


class ClassNumbers:
    """Targets given as the number of each row's class.

    Parameters
    ----------
    numbers : ndarray of shape (n_rows,) or (n_rows, n_steps)
        int64 is read where it lies, in any order. Nobody may change it: addresses follow from it.
    among : ndarray or None
        What `numbers` are windows of, if they are: these numbers are looked at in its place.

    Attributes
    ----------
    n_classes : int
        All numbers are below.
    numbers : ndarray of int64
    """

    operation = variant = key = None

    def __init__(self, numbers, among=None):
        self.numbers = np.asarray(numbers, np.int64)
        self.n_rows = len(self.numbers)
        self.n_columns = 1 if self.numbers.ndim == 1 else self.numbers.shape[1]
        some = self.numbers if among is None else among
        if some.min(initial=0) < 0:
            raise ValueError(f"y has the class number {some.min()}; expected numbers from 0 on.")
        self.n_classes = int(some.max(initial=-1)) + 1


class _Inputs:
    """Targets that are what the network gets."""

    key = ("inputs",)
    n_rows, n_classes, arrays, strides = 2**62, None, (), ()


INPUTS = _Inputs()


@lru_cache  # asked at each prediction, and slow in NumPy
def _gathered(dtype):
    """Return the type itself if the engine can read it, else one to convert to."""
    if dtype == np.float16:
        return np.dtype(np.float32)
    if dtype.kind not in NUMBERS or dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


@lru_cache
def _scalar(dtype):
    """Return the engine's name of a NumPy type: a boolean is one byte, 0 or 1."""
    return "uint8" if dtype.kind == "b" else dtype.name
