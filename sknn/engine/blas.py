"""Limits other libraries to one thread where more threads would change the results.

SciPy's L-BFGS, matrix products and k-means compute sums with BLAS and OpenMP, in an order that
depends on the number of threads.
"""

import ctypes
import os
import threading
from collections import Counter
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


class _Library:
    """A numerical library with its number of threads.

    Some libraries have a number of threads per calling thread, others (OpenBLAS with its own
    threads, BLIS) one for the whole process. It is called without releasing the GIL: in a small
    fit, reacquiring it from other threads would take longer than everything else.
    """

    def __init__(self, controller):
        controller.dynlib = ctypes.PyDLL(controller.filepath)
        layer = getattr(controller, "threading_layer", None)
        self.openmp = controller.user_api == "openmp"
        self.shared = not self.openmp and layer != "openmp" and controller.internal_api != "mkl"
        # OpenBLAS's own function: with threadpoolctl's only the first thread can change the number
        self._set = getattr(controller, "_real_set_num_threads", controller.set_num_threads)
        self.get = controller.get_num_threads

    def set(self, n):
        if n is not None:
            self._set(n)


@cache  # finding the libraries takes milliseconds
def _libraries():
    controllers = ThreadpoolController().lib_controllers
    return [_Library(c) for c in controllers if c.user_api in ("blas", "openmp")]


#: Threads that hold the process-wide limit, with counts, and the numbers of threads before it.
_lock, _holders, _before = threading.Lock(), Counter(), []


@contextmanager
def one_thread(openmp=False):
    """Limit BLAS, and optionally OpenMP, to one thread.

    Process-wide limits are shared by all threads that hold them; the last one lifts them.
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
        if _holders[thread] <= 0:  # negative after an interrupt before `_hold`
            del _holders[thread]
        if not _holders:
            _lift()


def _lift():
    for library, number in zip(_shared(), _before):
        library.set(number)


def _after_fork():
    """Reset the state: a forked child has only this thread, so no other can release the lock."""
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
