"""Compiling kernels on first use, and keeping them on disk.

A kernel is a function that is compiled separately and called by its address. The disk cache is
keyed by all the source code that kernels depend on (the folder ``kernels``, which imports nothing
else of the package, and this file, which compiles them), so a stale kernel never runs: neither
during development, where Numba's own cache would only notice changes in one file, nor after an
upgrade. If nothing can be written there is no cache, and no error.

``sknn/store`` manages the files, and explains why they can be trusted. Each belongs to a kernel's
name and signature, the digest of the source, the processor and its features, and the versions of
Python, Numba and llvmlite. If several processes need a kernel at the same time, one compiles it and
the others wait.
"""

import ctypes
import hashlib
import os
import pathlib
import sys
import threading
from contextlib import suppress

import llvmlite
import numba
from llvmlite.binding import ffi
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.ctypes_utils import to_ctypes

from ..store import files
from .kernels.compiling import Library, compile_kernel

_INT64_POINTER = types.CPointer(types.int64)
#: The arguments of every kernel: its operands, the frame of the step, and the address of the
#: workspace of one block of samples.
KERNEL = (_INT64_POINTER, _INT64_POINTER, types.int64)

#: Of the source as imported; the files may be edited before a kernel is compiled.
_DIGEST = files.digest(__file__, pathlib.Path(__file__).parent / "kernels")


def digest():
    """Return the key of the cache: a short hash of the kernels' source as it was imported."""
    return _DIGEST


def _file(folder, name, arguments):
    """Return the file of a kernel."""
    codegen = cpu_target.target_context.codegen()
    versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
    made_for = name, str(arguments), codegen.magic_tuple(), digest(), versions
    return files.File(folder, name, made_for)


class Kernel:
    """A C-callable function, which must be kept alive for as long as its address is in use.

    Attributes
    ----------
    address : int
    ctypes : callable
    cache_hits : int
        1 where it was loaded, 0 where it was compiled.
    """

    def __init__(self, library, symbol, arguments, cache_hits):
        self._library = library
        self.address, self.cache_hits = library.address(symbol), cache_hits
        self.ctypes = ctypes.CFUNCTYPE(None, *map(to_ctypes, arguments))(self.address)


def kept_in():
    """Return the folder where kernels are stored; None if they can't be."""
    return files.writable_folder(digest())


def missing(names):
    """Return the kernels that have no file, and the folder of the files, or None."""
    with global_compiler_lock:
        folder = kept_in()
        if folder is not None:
            names = [name for name in names if not _file(folder, name, KERNEL).exists()]
    return names, folder


def compile_function(function, name, arguments=KERNEL):
    """Compile `function`, known to the cache by `name`, or load it; return a :class:`Kernel`."""
    function.__qualname__ = function.__name__ = name
    symbol = f"sknn_{_number(name):x}"
    with global_compiler_lock:
        folder = kept_in()
        if folder is None:
            return Kernel(compile_kernel(function, arguments, symbol)[0], symbol, arguments, 0)
        file = _file(folder, name, arguments)
        kernel = _loaded(file, symbol, arguments)
        if kernel is not None:
            return kernel
        with file.turn():
            kernel = _loaded(file, symbol, arguments)  # by now another process may have made it
            if kernel is None:
                library, code = compile_kernel(function, arguments, symbol)
                file.save(code)
                kernel = Kernel(library, symbol, arguments, 0)
            return kernel


def _loaded(file, symbol, arguments):
    """Return the kernel in a file; None if it can't be used."""
    code = file.load()
    with suppress(Exception):  # the checksum is right, but it still can't be used here
        if code is not None:
            return Kernel(Library.loaded(symbol, code), symbol, arguments, 1)
    return None


def _number(name):
    """Return the number that identifies the kernel `name` in its symbol."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)


#: Locks that another thread may hold during a fork, in the order in which they are always acquired:
#: Numba's, and llvmlite's, which others acquire as well.
_LOCKS = [
    global_compiler_lock._lock,
    getattr(getattr(ffi.lib, "_lock", None), "_lock", None),
]
_held = threading.local()


def _before_fork():
    _held.locks = []
    for lock in filter(None, _LOCKS):
        lock.acquire()
        _held.locks.append(lock)


def _after_fork():
    for lock in reversed(getattr(_held, "locks", [])):
        lock.release()
    _held.locks = []


# A child forked while another thread compiles would wait forever for that thread, which does not
# exist in the child. So a fork waits until nobody compiles: one of our kernels takes a second at
# most.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
