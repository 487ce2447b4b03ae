"""How many threads to take, and how fits and predictions share Python's lock."""

import numbers
import os
import threading
import time

import joblib
from joblib.parallel import get_active_backend

#: The threads that are fitting something.
FITTING = set()


def give_way():
    """Pause for a moment if another thread fits something, and this one does not.

    To whom Python's lock is only lent for some microseconds may not wake up in time to take it, and
    a fit needs it again and again. Beside threads that do nothing but predict it would wait most of
    the time.
    """
    if FITTING and threading.get_ident() not in FITTING:
        time.sleep(_PAUSE)


#: Seconds in which whoever waits for Python's lock gets it.
_PAUSE = 5e-5


def _after_fork():
    FITTING.intersection_update({threading.get_ident()})  # the others are not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def count_threads(n_jobs):
    """Return the number of threads that `n_jobs` means here and now."""
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs is {n_jobs!r}; expected an int that is not 0, or None.")
    if n_jobs is None:
        # In a worker, joblib's own processes or threads are the parallelism.
        nested = getattr(get_active_backend()[0], "nesting_level", 0) or 0
        return 1 if nested > 0 else joblib.cpu_count()
    return n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
