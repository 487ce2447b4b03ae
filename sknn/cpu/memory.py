"""Memory for the engine: arenas, and a mode in which an access outside of an arena is fatal.

With ``SKNN_GUARD_PAGES=1`` in the environment, every arena is between two inaccessible guard pages,
its last byte right before the second one, and memory that need not be zeroed is filled with NaN. A
kernel that reads or writes past the end of an arena then crashes right there, and the use of
uninitialized memory shows in the results. This is for tests of the engine, on systems that have
``mprotect``; it takes two pages per arena, and time.
"""

import ctypes
import mmap
import os

import numpy as np

from ..tape.packing import ALIGN


def guarded():
    """Return whether arenas are between guard pages."""
    return os.environ.get("SKNN_GUARD_PAGES", "") not in ("", "0")


def aligned(n_bytes):
    """Return zeroed bytes, aligned to a cache line."""
    if guarded():
        return between_guards(n_bytes)
    array = np.zeros(n_bytes + ALIGN, np.uint8)
    shift = -array.ctypes.data % ALIGN
    return array[shift : shift + n_bytes]


def scratch(n_bytes, dtype):
    """Return uninitialized memory for numbers of a float type."""
    array = aligned(n_bytes)
    if guarded():
        whole = n_bytes // dtype.itemsize * dtype.itemsize
        array[:whole].view(dtype)[:] = np.nan
    return array


def between_guards(n_bytes):
    """Return zeroed bytes with a guard page right after them, and one before."""
    page = mmap.PAGESIZE
    size = -(-max(n_bytes, 1) // page) * page
    whole = np.frombuffer(mmap.mmap(-1, size + 2 * page), np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for guard in (whole.ctypes.data, whole.ctypes.data + page + size):
        if protect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    return whole[page + size - n_bytes : page + size]
