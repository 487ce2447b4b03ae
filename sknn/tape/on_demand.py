"""Arrays whose rows are read when they are needed, such as memory maps, Zarr and Dask arrays.

Such an array has a shape, a dtype, and ``array[rows]``. What it gives is checked each time: nobody
knows what it reads from, and addresses of its rows are given to kernels. Of chunked arrays a whole
chunk is the least that can be read, so that a shuffled pass over rows would read all of it again
and again: before a fit, they are copied to a temporary file.
"""

import mmap
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from numbers import Integral

import numpy as np
import scipy.sparse as sp


def _memory():
    """Return the bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on this system
        return 2**32


#: Bytes of rows that are read at a time. Arrays that are not larger are read at once.
WINDOW = 2**23
#: Memory maps of so many bytes are used as arrays in memory are: the system keeps their pages.
MOST_MAPPED = _memory() // 4
NUMBERS = {"b", "u", "i", "f"}  # the kinds that the engine reads and casts itself


def read_on_demand(X):
    """Return X as :class:`OnDemand` if its rows should be read when they are needed.

    These are memory maps that are large, or could not be read in place, and array-likes with
    `shape`, `dtype` and ``X[rows]``, of numbers, of at least two dimensions. If they are small,
    they are read: an array is returned. Anything else is returned as it is.
    """
    if isinstance(X, np.ndarray):  # first: most are, and small
        small = X.nbytes <= WINDOW or X.nbytes <= MOST_MAPPED and _is_in_place(X)
        if small or not _is_mapped(X) or not _is_matrix(X):
            return X
        return OnDemand(_Mapped(X), X.shape)
    if isinstance(X, OnDemand) or sp.issparse(X) or not _is_matrix(X):
        return X
    rows = _Read(X)
    made = OnDemand(rows, rows.shape)
    if made.nbytes > WINDOW:
        return made
    return rows.read(np.arange(len(made))) if made.size else np.empty(rows.shape, rows.dtype)


def _is_matrix(X):
    """Return whether X is an array-like of numbers with at least two dimensions."""
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    if not isinstance(shape, tuple) or len(shape) < 2 or not hasattr(X, "__getitem__"):
        return False
    try:
        known = np.dtype(dtype).kind in NUMBERS if dtype is not None else False
    except TypeError:  # of another library, whose arrays NumPy converts
        return False
    return known and all(isinstance(n, Integral) for n in shape)


def _is_mapped(X):
    """Return whether an array lies in a file that is mapped to memory."""
    if type(X) not in (np.ndarray, np.memmap):
        return False
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


def _is_in_place(X):
    """Return whether the engine reads rows of an array without a copy of it."""
    plain = X.dtype.isnative and X.dtype.char not in "eg"
    return plain and (X.ndim == 2 or X.flags.c_contiguous)


class OnDemand:
    """Rows that are read on demand.

    Parameters
    ----------
    rows : _Mapped or _Read
        Where they are read.
    shape : tuple of int
        The shape to present; the first axis has the rows.
    among : ndarray of int64, or None
        The rows that are part of this array; None: all.
    """

    _limits_found = None

    def __init__(self, rows, shape, among=None):
        self._rows, self.shape, self._among = rows, shape, among
        self.dtype, self.ndim = rows.dtype, len(shape)
        self.size = int(np.prod(shape, dtype=object))
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Return some rows as an array, given by a slice or by their numbers."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        return self.read(np.asarray(rows, np.int64)).reshape(-1, *self.shape[1:])

    def __array__(self, dtype=None, copy=None):
        whole = self._rows.array if self._among is None else None
        found = whole.reshape(self.shape) if isinstance(whole, np.ndarray) else self[:]
        return np.array(found, dtype, copy=copy)

    def reshape(self, n, _):
        """Return each row as a vector: as that of arrays, with the arguments ``n, -1``."""
        return OnDemand(self._rows, (n, self.size // n), self._among)

    def part(self, rows):
        """Return some of the rows, which are not read yet."""
        among = rows if self._among is None else self._among[rows]
        return OnDemand(self._rows, (len(rows), *self.shape[1:]), among)

    def read(self, rows):
        """Return rows, given by their numbers, as a matrix. Raise ValueError if any is not finite.

        What is wrong with them is said with the numbers that they have in the file.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"X has {len(self)} rows; got numbers beyond them.")
        if self._among is not None:
            rows = self._among[rows]
        found = self._rows.read(rows).reshape(len(rows), -1)
        if found.dtype.kind == "f" and not (good := np.isfinite(found)).all():
            wrong, bad = rows[np.flatnonzero(~good.all(axis=1))[0]], found[~good][0]
            raise ValueError(
                f"Input X contains {'NaN' if np.isnan(bad) else 'infinity'}, in row {wrong}."
            )
        return found

    def windows(self):
        """Yield all rows, some at a time, as matrices."""
        n, total = max(1, WINDOW * len(self) // self.nbytes), len(self)
        return ahead(
            lambda i: self.read(np.arange(i * n, min((i + 1) * n, total))), -(-total // n)
        )

    def prepare(self):
        """Read and check all rows once, before they are read repeatedly and in any order.

        A chunked array is copied to a temporary file.
        """
        if isinstance(self._rows, _Read) and self._rows.bounds is not None:
            self._rows.spool(OnDemand(self._rows, self._rows.shape))
        elif self.dtype.kind == "f" and not self._rows.checked:
            with closing(self.windows()) as windows:
                for _ in windows:
                    pass
        self._rows.checked = True

    def min(self):
        return self._limits()[0]

    def max(self):
        return self._limits()[1]

    def _limits(self):
        if self._limits_found is None:
            with closing(self.windows()) as windows:
                found = [(some.min(), some.max()) for some in windows]
            least, most = zip(*found, strict=True)
            self._limits_found = min(least), max(most)
        return self._limits_found


class _Mapped:
    """Rows of an array that lies in a file."""

    checked = False

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype

    def read(self, rows):
        return _copied(self.array, rows)


class _Read:
    """Rows of an array-like, checked.

    Attributes
    ----------
    bounds : ndarray of int64, or None
        Where pieces of some chunks begin, and the last one ends; None: any row can be read alone.
    """

    checked = False

    def __init__(self, array):
        self.array, self.dtype = array, np.dtype(array.dtype)
        self.shape = tuple(map(int, array.shape))
        self.bounds = self._bounds_of_pieces()
        self._piece, self._spooled = (None, None), None

    def _bounds_of_pieces(self):
        chunks, n = getattr(self.array, "chunks", None), self.shape[0]
        if not isinstance(chunks, tuple) or len(chunks) != len(self.shape) or not n:
            return None
        if isinstance(chunks[0], tuple):  # of Dask
            ends = np.cumsum(chunks[0])
            if not len(ends) or ends[-1] != n:
                return None
        elif isinstance(chunks[0], Integral) and chunks[0] > 0:
            ends = np.minimum(np.arange(chunks[0], n + chunks[0], int(chunks[0])), n)
        else:
            return None
        if len(ends) == n:  # a row is a chunk
            return None
        row_bytes = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        most, bounds = max(1, WINDOW // max(1, row_bytes)), [0]
        for before, end in zip([0, *ends[:-1]], ends, strict=True):
            if end - bounds[-1] > most and before > bounds[-1]:
                bounds.append(int(before))
        return np.array([*bounds, n])

    def read(self, rows):
        if self._spooled is not None:
            found = _copied(self._spooled, rows)
            self._drop_pages()
            return found
        if self.bounds is not None:
            return self._from_pieces(rows)
        where = _as_slice(rows)
        if isinstance(where, slice):
            return self._ask(where, len(rows))
        some, places = np.unique(rows, return_inverse=True)  # in the order of the file
        return self._ask(some, len(some))[places]

    def _from_pieces(self, rows):
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        pieces = np.searchsorted(self.bounds, rows[order], side="right") - 1
        for piece in np.unique(pieces):
            places = order[np.searchsorted(pieces, piece) : np.searchsorted(pieces, piece + 1)]
            first, last = self.bounds[piece : piece + 2]
            if self._piece[0] != piece:
                self._piece = None, None  # its memory is free for the next one
                self._piece = piece, self._ask(slice(int(first), int(last)), last - first)
            out[places] = self._piece[1][_as_slice(rows[places] - first)]
        return out

    def _ask(self, where, n):
        """Return what the array gives, checked."""
        found = np.asarray(self.array[where])
        wanted = n, *self.shape[1:]
        if found.shape != wanted or found.dtype != self.dtype:
            raise ValueError(
                f"X, of the shape {self.shape} and dtype {self.dtype}, gave rows of the shape "
                f"{found.shape} and dtype {found.dtype}; expected {wanted}, {self.dtype}."
            )
        return found

    def spool(self, rows):
        """Copy all `rows` to a temporary file, from which they are read afterwards.

        The file has no name, so that nothing of it is left, however the process ends.
        """
        if self._spooled is not None:
            return
        made = tempfile.TemporaryFile(prefix="sknn-", dir=_folder_on_disk())
        with made as file, closing(rows.windows()) as windows:
            for some in windows:
                self._write(file, np.ascontiguousarray(some))
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._piece = None, None
        self._spooled = np.frombuffer(self._map, self.dtype).reshape(self.shape)

    def _write(self, file, some):
        try:
            file.write(some.data)
            file.flush()
        except OSError as error:
            n_bytes = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
            raise OSError(
                error.errno,
                f"{error.strerror}: X is copied to a temporary file of {n_bytes / 2**20:,.0f} MiB "
                f"in {_folder_on_disk()}, since its chunks have several rows; the environment "
                "variable TMPDIR names another folder",
            ) from error

    def _drop_pages(self):
        """Return the memory of what was read; the system may keep it in its cache of files."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _folder_on_disk():
    """Return a folder for large temporary files: the usual one is often in memory."""
    named = any(name in os.environ for name in ("TMPDIR", "TEMP", "TMP"))
    usable = os.path.isdir("/var/tmp") and os.access("/var/tmp", os.W_OK)
    return "/var/tmp" if usable and not named else tempfile.gettempdir()


def _as_slice(rows):
    """Return row numbers as a slice, if they are consecutive."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _copied(array, rows):
    """Return a copy of rows of an array in a file: they are read here, and not later."""
    where = _as_slice(rows)
    return array[where].copy() if isinstance(where, slice) else array[where]


def ahead(read, n):
    """Yield ``read(0)`` to ``read(n - 1)``; a thread reads one while the one before is used.

    If the generator is closed, or a read fails, the thread ends with the read that it is at.
    """
    with ThreadPoolExecutor(1, "sknn-reading") as thread:
        coming = thread.submit(read, 0) if n else None
        for i in range(n):
            found = coming.result()
            coming = thread.submit(read, i + 1) if i + 1 < n else None
            yield found
            del found  # before the next one but one is read
