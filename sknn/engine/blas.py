"""Other libraries' threads, held to one where more of them would change the bits.

SciPy's L-BFGS, products of matrices and k-means sum by BLAS and OpenMP, in an order that depends on
how many threads these take.
"""

import ctypes
import os
import threading
from collections import Counter
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
        self.get = controller.get_num_threads

    def set(self, n):
        if n is not None:
            self._set(n)


@cache  # looking for the libraries takes milliseconds
def _libraries():
    controllers = ThreadpoolController().lib_controllers
    return [_Library(c) for c in controllers if c.user_api in ("blas", "openmp")]


#: Who wants the limit that holds for the whole process, by thread, and what was before it.
_lock, _holders, _before = threading.Lock(), Counter(), []


@contextmanager
def one_thread(openmp=False):
    """Keep BLAS, and perhaps OpenMP, to one thread.

    A limit that holds for the whole process is shared by all who want it; the last one lifts it.
    """
    libraries = [library for library in _libraries() if openmp or not library.openmp]
    own = [(library, library.get()) for library in libraries if not library.shared]
    thread = threading.get_ident()
    try:
        _hold(thread)
        for library, _ in own:
            library.set(1)
        yield
    finally:
        for library, number in own:
            library.set(number)
        _let_go(thread)


def _shared():
    return [library for library in _libraries() if library.shared]


def _hold(thread):
    global _before
    with _lock:
        if not _holders:
            _before = [library.get() for library in _shared()]
        _holders[thread] += 1
        for library in _shared():
            library.set(1)


def _let_go(thread):
    with _lock:
        _holders[thread] -= 1
        if _holders[thread] <= 0:  # below, if an interrupt came before it was held
            del _holders[thread]
        if not _holders:
            _lift()


def _lift():
    for library, number in zip(_shared(), _before):
        library.set(number)


def _after_fork():
    """In a forked child there is this thread only, and nobody else to release the lock."""
    global _lock
    _lock = threading.Lock()
    held = _holders[threading.get_ident()]
    others = len(_holders) > (held > 0)
    _holders.clear()
    if held > 0:
        _holders[threading.get_ident()] = held
    elif others:
        _lift()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
