"""Compiling kernels on first use, and keeping them on disk.

A kernel is a function compiled by itself and known by its address. The disk cache is keyed by the
source of the whole engine (this folder), so a stale kernel never runs: neither while developing,
where Numba's own cache would notice changes in one file only, nor after an upgrade. Where nothing
can be written there is no cache, and no error.

The cache lives in ``$NUMBA_CACHE_DIR/sknn`` where that is set, else in the user's cache folder.
This file alone leans on private classes of Numba.
"""

import hashlib
import itertools
import os
import pathlib
from contextlib import suppress

from numba.core import config, types
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.misc.appdirs import AppDirs

_INT64_POINTER = types.CPointer(types.int64)
#: What every kernel is called with: its operands, the frame of the step, and the address of the
#: workspace of one block of samples.
KERNEL = (_INT64_POINTER, _INT64_POINTER, types.int64)


def _digest():
    """Return a short hash of the engine's source."""
    folder = pathlib.Path(__file__).parent
    source = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(source).hexdigest()[:16]


_DIGEST = _digest()  # of what is being imported, not of what may be edited until a kernel is made


def digest():
    """Return the key of the cache: a short hash of the engine's source as it was imported."""
    return _DIGEST


def folder():
    """Return the folder that holds the compiled kernels of this version of the engine."""
    if config.CACHE_DIR:
        base = os.path.join(config.CACHE_DIR, "sknn")
    else:
        base = AppDirs(appname="sknn", appauthor=False).user_cache_dir
    return os.path.join(base, digest())


class _Locator(_CacheLocator):
    def __init__(self, function):
        self._function = function

    def get_cache_path(self):
        return folder()

    def get_source_stamp(self):
        return digest()

    def get_disambiguator(self):
        return None  # the qualified name tells specialisations apart already

    @classmethod
    def from_function(cls, function, path):
        locator = cls(function)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _Implementation(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _EngineCache(FunctionCache):
    _impl_class = _Implementation

    def _index_key(self, sig, codegen):
        # Numba's own key pickles the closure, which differs between processes when it holds an
        # intrinsic: such a kernel would never be found again.
        return sig, codegen.magic_tuple(), self._py_func.__qualname__

    def save_overload(self, sig, data):
        # A full or read-only disk, or a damaged file, costs the next process a compilation.
        with suppress(Exception):
            super().save_overload(sig, data)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling a damaged file raises
            with suppress(OSError):
                self.flush()
            return None


def compile_function(function, name, arguments=KERNEL):
    """Compile `function`, known to the cache by `name`, or load it; return Numba's CFunc.

    The CFunc must be kept for as long as its address is in use.
    """
    function.__qualname__ = function.__name__ = name
    compiled = CFunc(
        function, (arguments, types.void), locals={}, options={"error_model": "numpy"}
    )
    try:
        compiled._cache = _EngineCache(function)
    except RuntimeError:
        pass  # Numba's word for: no folder can be written
    with global_compiler_lock:
        # Numba tells closures apart by a number that begins at 1 in every process. A kernel's own
        # must not be called as those of another that some other process has compiled: of two
        # symbols of one name, loaded from the cache, the linker takes the first for both.
        FunctionIdentity._unique_ids = itertools.count(_number(name))
        compiled.compile()
    return compiled


def _number(name):
    """Return where to begin to number the closures of the kernel `name`."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)
