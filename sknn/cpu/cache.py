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

Of processes that need a kernel at the same time, one compiles it and the others wait, for as long
as that one lives and does not take absurdly long. The system frees the lock of a process that ends.
Where there are no such locks, each compiles for itself.

The cache lives in ``$NUMBA_CACHE_DIR/sknn`` where that is set, else in the user's cache folder.
"""

import ctypes
import hashlib
import os
import pathlib
import stat
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress

import llvmlite
import numba
from llvmlite.binding import ffi
from numba.core import config, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.ctypes_utils import to_ctypes
from numba.misc.appdirs import AppDirs

from .kernels.compiling import Library, compile_kernel

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_INT64_POINTER = types.CPointer(types.int64)
#: What every kernel is called with: its operands, the frame of the step, and the address of the
#: workspace of one block of samples.
KERNEL = (_INT64_POINTER, _INT64_POINTER, types.int64)


def _digest():
    """Return a short hash of the source of all kernels."""
    here = pathlib.Path(__file__)
    paths = [here, *sorted((here.parent / "kernels").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


#: Seconds to wait at most for another process that compiles the same kernel, and between looks.
_PATIENCE, _PAUSE = 10.0, 0.005

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


def _writable_folder():
    """Return the folder of the kernels, made if need be; None where nothing can be kept."""
    path = pathlib.Path(folder())
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        for some in (path.parent, path):
            some.mkdir(mode=0o700, exist_ok=True)
        if not all(_is_ours(os.stat(some)) for some in (path.parent, path)):
            return None
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return None
    return path


def _lock(path):
    """Return a file that this process alone has locked; None after waiting for long enough."""
    flags, end = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, time.monotonic() + _PATIENCE
    while True:
        file = os.open(path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                file, ours = None, file
                return ours
        except (BlockingIOError, FileNotFoundError):
            pass  # another has it, or had it, and has removed it
        finally:
            if file is not None:
                os.close(file)
        if time.monotonic() > end:
            return None
        time.sleep(_PAUSE)


class _File:
    """The file of a kernel: for one kind of processor, and one set of versions."""

    def __init__(self, folder, name, arguments):
        codegen = cpu_target.target_context.codegen()
        versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
        parts = name, str(arguments), codegen.magic_tuple(), digest(), versions
        self._key = hashlib.sha256(repr(parts).encode())
        self._path = folder / f"{name}-{self._key.hexdigest()[:12]}.kernel"

    def _checksum(self, content):
        return hashlib.sha256(self._key.digest() + content).digest()

    def load(self):
        """Return what was saved, or None."""
        with suppress(OSError), open(self._path, "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            checksum, content = file.read(32), file.read()
            if checksum == self._checksum(content):
                return content
        return None

    @contextmanager
    def turn(self):
        """Wait until no other process compiles this kernel, and keep others waiting meanwhile.

        No child can be forked that would hold the lock as well: forks wait for Numba's lock.
        """
        path, lock = self._path.with_suffix(".lock"), None
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                lock = _lock(path)
        try:
            yield
        finally:
            if lock is not None:
                with suppress(OSError):
                    os.unlink(path)  # while it is held, so that it is not another's
                os.close(lock)

    def save(self, content):
        """Keep the machine code. A full or read-only disk costs the next process a compilation."""
        with suppress(OSError):
            # made for the user alone, whatever the umask
            handle, beside = tempfile.mkstemp(dir=self._path.parent, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(self._checksum(content) + content)
                os.replace(beside, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside)
                raise


class Kernel:
    """A function for C to call, which must be kept for as long as its address is in use.

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


def compile_function(function, name, arguments=KERNEL):
    """Compile `function`, known to the cache by `name`, or load it; return a :class:`Kernel`."""
    function.__qualname__ = function.__name__ = name
    symbol = f"sknn_{_number(name):x}"
    with global_compiler_lock:
        folder = _writable_folder()
        if folder is None:
            return Kernel(compile_kernel(function, arguments, symbol)[0], symbol, arguments, 0)
        file = _File(folder, name, arguments)
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
    """Return the kernel that is in a file; None where it can't be used."""
    code = file.load()
    with suppress(Exception):  # what has the right checksum, and still can't be used here
        if code is not None:
            return Kernel(Library.loaded(symbol, code), symbol, arguments, 1)
    return None


def _number(name):
    """Return a number that stands for the kernel `name` in the name of its symbol."""
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
