"""Threads that run the loop together, and how many.

They are Python threads that spend their lives in compiled code, without the GIL. So any number of
fits can work at the same time, and forked children are safe. No Numba threading layer is involved.
"""

import numbers
import sys
import threading

import joblib
from joblib.parallel import get_active_backend

#: How often a thread looks whether others have come before it sleeps: some 200 microseconds, a few
#: times what it takes to wake up. Between two runs, Python often has less to do.
SPINS = 8000


def start_threads(size, work):
    """Call ``work(rank)`` in threads for all ranks but the caller's, 0.

    Return how many threads there are then, with the caller: fewer than `size` if the system cannot
    start as many.
    """
    for rank in range(1, size):
        try:
            threading.Thread(target=work, args=(rank,), daemon=True).start()
        except RuntimeError:
            return rank
    return size


def is_nested():
    """Return whether this is a joblib worker, or a task of Dask, from joblib or not."""
    return (getattr(get_active_backend()[0], "nesting_level", 0) or 0) > 0 or _is_dask_task()


def _is_dask_task():
    worker = sys.modules.get("distributed.worker")  # imported wherever tasks run
    if worker is None:
        return False
    try:
        worker.get_worker()
    except ValueError:
        return False
    return True


def count_threads(n_jobs):
    """Return the number of threads that `n_jobs` means here and now."""
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs is {n_jobs!r}; expected an int that is not 0, or None.")
    if n_jobs is None:
        # In a worker, joblib's or Dask's own processes or threads are the parallelism.
        return 1 if is_nested() else joblib.cpu_count()
    return n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
