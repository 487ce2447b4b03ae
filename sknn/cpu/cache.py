"""Compiling kernels on first use, and keeping them on disk.

A kernel is a function compiled by itself and known by its address. The disk cache is keyed by the
source of everything that kernels read (the folder ``kernels``, which imports nothing else of the
package, and this file, which says how they are compiled), so a stale kernel never runs: neither
while developing, where Numba's own cache would notice changes in one file only, nor after an
upgrade. Where nothing can be written there is no cache, and no error.

What is loaded is machine code, so nothing is taken on trust. A file begins with a checksum of all
that it was made for (the kernel's name and signature, the engine's digest, the processor and its
features, the versions of Python, Numba and LLVM's binding) and of its content, and is not looked
into unless that fits: a damaged file, or one in another's place, is compiled anew. Files are
written beside their place and moved there, and only their owner can read or write them. A folder
that belongs to somebody else, or that others may write to, is not used.

The cache lives in ``$NUMBA_CACHE_DIR/sknn`` where that is set, else in the user's cache folder.
This file alone leans on private classes of Numba.
"""

import hashlib
import itertools
import os
import pathlib
import pickle
import stat
import sys
import tempfile
import threading
from contextlib import suppress

import llvmlite
import numba
from llvmlite.binding import ffi
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
    """Return a short hash of the source of all kernels."""
    here = pathlib.Path(__file__)
    paths = [here, *sorted((here.parent / "kernels").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


_DIGEST = _digest()  # of what is being imported, not of what may be edited until a kernel is made


def digest():
    """Return the key of the cache: a short hash of the kernels' source as it was imported."""
    return _DIGEST


def folder():
    """Return the folder that holds the compiled kernels of this version of the engine."""
    if config.CACHE_DIR:
        base = os.path.join(config.CACHE_DIR, "sknn")
    else:
        base = AppDirs(appname="sknn", appauthor=False).user_cache_dir
    return os.path.join(base, digest())


def _is_ours(status):
    """Return whether what has this status belongs to the user, and nobody else may write to it."""
    if not hasattr(os, "geteuid"):  # Windows, where the user's folders are his own
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


class _Locator(_CacheLocator):
    def __init__(self, function):
        self._function = function

    def get_cache_path(self):
        return folder()

    def get_source_stamp(self):
        return digest()

    def get_disambiguator(self):
        return None  # the qualified name tells specialisations apart already

    def ensure_cache_path(self):
        path = pathlib.Path(folder())
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        for some in (path.parent, path):
            some.mkdir(mode=0o700, exist_ok=True)
        if not all(_is_ours(os.stat(some)) for some in (path.parent, path)):
            raise PermissionError(f"{path} belongs to others, or they may write to it.")
        tempfile.TemporaryFile(dir=path).close()

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


class _Files:
    """The files of one kernel: one for each kind of processor, and for each set of versions."""

    def __init__(self, folder, name):
        self._folder, self._name = pathlib.Path(folder), name

    def _path(self, key):
        return self._folder / f"{self._name}-{hashlib.sha256(key).hexdigest()[:12]}.kernel"

    @staticmethod
    def _checksum(key, content):
        return hashlib.sha256(hashlib.sha256(key).digest() + content).digest()

    def load(self, key):
        """Return what was saved under a key, or None."""
        with suppress(OSError), open(self._path(key), "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            checksum, content = file.read(32), file.read()
            if checksum == self._checksum(key, content):
                return pickle.loads(content)
        return None

    def save(self, key, data):
        content = pickle.dumps(data, protocol=5)
        # made for the user alone, whatever the umask
        handle, beside = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._checksum(key, content) + content)
            os.replace(beside, self._path(key))
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise


class _EngineCache(FunctionCache):
    _impl_class = _Implementation

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, function.__name__)

    def _index_key(self, sig, codegen):
        # Numba's own key pickles the closure, which differs between processes when it holds an
        # intrinsic: such a kernel would never be found again.
        versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
        parts = self._py_func.__qualname__, str(sig), codegen.magic_tuple(), digest(), versions
        return repr(parts).encode()

    def save_overload(self, sig, data):
        # A full or read-only disk costs the next process a compilation.
        with suppress(Exception):
            super().save_overload(sig, data)

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # what has the right checksum, and still can't be used here
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


#: Locks that a thread may hold at a fork which the child does not have, in the order in which they
#: are taken everywhere: Numba's, and that of the binding of LLVM, which others take as well.
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


# A child forked while another thread compiles would wait for that thread, which it does not have.
# So a fork waits until nobody compiles: for a kernel of ours that takes a second at most.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
