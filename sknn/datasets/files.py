"""Reading files of data that may be damaged, or meant to do harm.

Nothing is allocated for what a header promises, only for what a file holds, up to the size of the
original data.
"""

import gzip
import lzma
import math
import struct
import tarfile
import tokenize
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np

#: Bytes that are read at a time.
_BLOCK = 2**20
#: What damaged files make the readers of archives and headers raise.
_DAMAGED = (
    EOFError, NotImplementedError, RuntimeError, SyntaxError, ValueError, struct.error, zlib.error,
    lzma.LZMAError, tokenize.TokenError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip


@contextmanager
def naming(path):
    """Raise a ValueError that names the file, if what is read from it is damaged."""
    try:
        yield
    except _DAMAGED as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise  # ours
        raise ValueError(f"{path} is damaged: {error}") from error


def opened(path):
    """Open a file for reading, decompressed if its name ends with .gz."""
    return gzip.open(path) if str(path).endswith(".gz") else open(path, "rb")


def read_exactly(file, n, path):
    """Return the next `n` bytes of a file, as a bytearray; raise ValueError if there are fewer."""
    found = bytearray()
    while len(found) < n:
        some = file.read(min(_BLOCK, n - len(found)))
        if not some:
            raise ValueError(f"{path} is truncated: it has {len(found)} bytes of {n}.")
        found += some
    return found


def read_idx(path, shape):
    """Return the array of an IDX file, as those of MNIST.

    Parameters
    ----------
    path : path-like
        A name that ends with .gz is that of a compressed file.
    shape : tuple of int
        The expected shape; there may be fewer elements along the first axis.
    """
    with naming(path), opened(path) as file:
        magic, *found = struct.unpack(f">{1 + len(shape)}i", file.read(4 + 4 * len(shape)))
        if magic != 0x800 + len(shape):
            raise ValueError(
                f"{path} begins with the number {magic}; expected {0x800 + len(shape)}, that of an "
                f"IDX file of {len(shape)} axes of uint8."
            )
        _check_shape(path, tuple(found), shape)
        array = np.frombuffer(read_exactly(file, math.prod(found), path), np.uint8)
        if file.read(1):
            raise ValueError(f"{path} goes on after the {found[0]} items that its header names.")
    return array.reshape(found)


def read_npz(path, shapes):
    """Return some arrays of an .npz file, by name; pickled ones are refused.

    Parameters
    ----------
    path : path-like
    shapes : dict of str to tuple of int
        By name, the expected shape; there may be fewer elements along the first axis. Names are
        compared without case. Any shape of as many elements will do.
    """
    arrays = {}
    with naming(path), zipfile.ZipFile(path) as archive:
        members = {name.lower().removesuffix(".npy"): name for name in archive.namelist()}
        for name, shape in shapes.items():
            if name not in members:
                raise ValueError(f"{path} has {sorted(members)}; expected {sorted(shapes)}.")
            with archive.open(members[name]) as file:
                arrays[name] = _read_npy(f"{path}[{name}]", file, shape)
    return arrays


def _read_npy(name, file, shape):
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} has the format {version}; expected (1, 0).")
    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    found, fortran, dtype = read(file)
    if dtype.kind not in "iu" or fortran and len(found) > 1:
        raise ValueError(f"{name} has dtype {dtype}; expected integers in C order.")
    if not found or math.prod(found[1:]) != math.prod(shape[1:]) or found[0] < 0:
        raise ValueError(f"{name} has the shape {found}; expected {shape}, or fewer rows.")
    found = found[0], *shape[1:]
    _check_shape(name, found, shape)
    data = read_exactly(file, math.prod(found) * dtype.itemsize, name)
    return np.frombuffer(data, dtype).reshape(found)


def _check_shape(name, found, most):
    """Raise ValueError unless an array has the expected shape, or fewer rows."""
    if found[1:] != most[1:] or not 1 <= found[0] <= most[0]:
        raise ValueError(f"{name} has the shape {found}; expected {most}, or fewer rows.")
