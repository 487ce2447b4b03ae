"""Other libraries' threads, held to one where more of them would change the bits.

SciPy's L-BFGS, products of matrices and k-means sum by BLAS and OpenMP, in an order that depends on
how many threads these take.
"""

import ctypes
import os
import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


class _Library:
    """A library of numerical routines: how many threads it takes, and for whom.

    Some count threads for each thread that calls them, others (OpenBLAS on threads of its own,
    BLIS) for the whole process. It is called without giving Python's lock away: in a small fit, to
    get it back from other threads would take longer than all else.
    """

    def __init__(self, controller):
        controller.dynlib = ctypes.PyDLL(controller.filepath)
        layer = getattr(controller, "threading_layer", None)
        self.openmp = controller.user_api == "openmp"
        self.shared = not self.openmp and layer != "openmp" and controller.internal_api != "mkl"
        # OpenBLAS's own: threadpoolctl's lets only the first thread to set a number change it
        self._set = getattr(controller, "_real_set_num_threads", controller.set_num_threads)
        self._get = controller.get_num_threads

    def set(self, n):
        if n is not None:
            self._set(n)

    def get(self):
        return self._get()


@cache  # looking for the libraries takes milliseconds
def _libraries():
    controllers = ThreadpoolController().lib_controllers
    return [_Library(c) for c in controllers if c.user_api in ("blas", "openmp")]


_lock, _users, _before = threading.Lock(), 0, []


@contextmanager
def one_thread(openmp=False):
    """Keep BLAS, and perhaps OpenMP, to one thread.

    A limit that holds for the whole process is shared by all who want it; the last one lifts it.
    """
    global _users, _before
    libraries = [library for library in _libraries() if openmp or not library.openmp]
    own = [library for library in libraries if not library.shared]
    shared = [library for library in libraries if library.shared]
    numbers = [library.get() for library in own]
    with _lock:
        if not _users:
            _before = [library.get() for library in shared]
            for library in shared:
                library.set(1)
        _users += 1
    for library in own:
        library.set(1)
    try:
        yield
    finally:
        for library, number in zip(own, numbers):
            library.set(number)
        with _lock:
            _users -= 1
            if not _users:
                _lift(shared)


def _lift(libraries):
    for library, number in zip(libraries, _before):
        library.set(number)


def _after_fork():
    """In a forked child nobody else wants the limit, and nobody is left to release the lock."""
    global _lock, _users
    _lock = threading.Lock()
    if _users:
        _users = 0
        _lift([library for library in _libraries() if library.shared])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
