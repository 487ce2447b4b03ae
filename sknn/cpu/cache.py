"""Compiling kernels on first use, and keeping them on disk.

A kernel is a function that is compiled separately and called by its address. The disk cache is
keyed by all the source code that kernels depend on (the folder ``kernels``, which imports nothing
else of the package, and this file, which compiles them), so a stale kernel never runs: neither
during development, where Numba's own cache would only notice changes in one file, nor after an
upgrade. If nothing can be written there is no cache, and no error.

``sknn/store`` manages the files, and explains why they can be trusted. Each belongs to a kernel's
name and signature, the digest of the source, the processor and its features, and the versions of
Python, Numba and llvmlite. If several processes need a kernel at the same time, one compiles it,
while the others compile those that nobody has begun yet, and then wait.

A kernel takes about as long in Numba's half of the compiler, which holds the GIL, as in LLVM's,
which does not. So a second thread is in LLVM while this one is busy with the next kernel.
"""

import ctypes
import gc
import hashlib
import os
import pathlib
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import llvmlite
import numba
from llvmlite.binding import ffi
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.ctypes_utils import to_ctypes

from ..store import files
from .kernels.compiling import Library, assembly, context, machine_code

#: Seconds between two looks at whether another thread wants the GIL, while kernels are compiled.
_SWITCH = 2e-4

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
    codegen = context().codegen()
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

    def __init__(self, code, symbol, arguments, cache_hits):
        self._library = Library(symbol, code)
        self.address, self.cache_hits = self._library.address(symbol), cache_hits
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


def compiled(wanted, arguments=KERNEL):
    """Compile functions, or load them; return kernels by name.

    `wanted` has what makes each function, by the name that the cache knows it by.
    """
    with global_compiler_lock:
        folder = kept_in()
        stored = {name: folder and _file(folder, name, arguments) for name in wanted}
        kernels = {name: _loaded(name, stored[name], arguments) for name in wanted}
        missing = [name for name in wanted if kernels[name] is None]
        if missing:
            with _compiling(), ThreadPoolExecutor(1) as llvm, ExitStack() as leaving:
                leaving.callback(_let_go)
                # First those that no other process is compiling.
                for patience in 0, None:
                    for name in missing:
                        if kernels[name] is None:
                            make, file = wanted[name], stored[name]
                            kernels[name] = _begun(make, name, file, arguments, patience, llvm)
                for name in missing:
                    if isinstance(kernels[name], Future):
                        _let_go()
                        code = kernels[name].result()
                        kernels[name] = Kernel(code, _symbol(name), arguments, 0)
        return kernels


def compile_function(function, name, arguments=KERNEL):
    """Compile `function`, known to the cache by `name`, or load it; return a :class:`Kernel`."""
    return compiled({name: lambda: function}, arguments)[name]


def _begun(make, name, file, arguments, patience, llvm):
    """Return a kernel that another process has made meanwhile, or the future of its machine code.

    None if another process is still compiling it after `patience` seconds. Until the machine code
    is saved, others are locked out. Their threads that wait hold no lock themselves: those are held
    by their `llvm`, which never waits.
    """
    with ExitStack() as turn:
        if file is not None:
            if not turn.enter_context(file.turn(patience)) and patience == 0:
                return None
            kernel = _loaded(name, file, arguments)
            if kernel is not None:
                return kernel
        function = make()
        function.__qualname__ = function.__name__ = name
        module = assembly(function, arguments, _symbol(name))
        return _submitted(llvm, _finished, module, file, turn.pop_all())


def _finished(module, file, turn):
    """Return the machine code of a module, saved if it has a file."""
    with turn:
        code = machine_code(module)
        if file is not None:
            file.save(code)
        return code


def _submitted(executor, function, *args):
    """Return a future; at the end of the process, when no thread can start, one that is done."""
    try:
        return executor.submit(function, *args)
    except RuntimeError:
        future = Future()
        future.set_result(function(*args))
        return future


@contextmanager
def _compiling():
    """Collect no garbage meanwhile, and let threads take turns more often than they usually do.

    A collection goes over all objects of all packages, and the new ones would make it happen often:
    a fifth of the time. Whoever returns from LLVM waits until the GIL is let go of, and then calls
    the next thing there.
    """
    collects, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(min(interval, _SWITCH))
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collects:
            gc.enable()


def _loaded(name, file, arguments):
    """Return the kernel in a file; None if there is none, or it can't be used."""
    code = file and file.load()
    with suppress(Exception):  # the checksum is right, but it still can't be used here
        if code is not None:
            return Kernel(code, _symbol(name), arguments, 1)
    return None


def _symbol(name):
    return f"sknn_{_number(name):x}"


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


def _let_go():
    """Release llvmlite's lock, for which the second thread would wait forever.

    This thread has kept it where an interrupt was raised just after it had acquired it.
    """
    lock = _LOCKS[1]
    while lock is not None and lock._is_owned():
        lock.release()



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
