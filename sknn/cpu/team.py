"""A thread pool for calls that release the GIL, with a barrier.

The threads are Python threads, so any number of pools can work at the same time, forked children
are safe, and a barrier costs a fraction of a microsecond. No Numba threading layer is involved.
"""

import numbers
import queue
import sys
import threading

import joblib
from joblib.parallel import get_active_backend

#: How often a waiting thread spins before it yields its core: a few microseconds.
SPINS = 2000


class Team:
    """A pool of `size` threads that run a job together, for as long as the context lasts.

    The calling thread only waits for them, since Ctrl-C may interrupt it at any line: the others
    would then wait for it at a barrier, or use arrays that it has released. A pool of one thread is
    the caller itself. `size` is smaller than requested if the system cannot start as many threads.
    """

    def __init__(self, size):
        self.size = size
        self._jobs = []
        self._done = queue.SimpleQueue()
        self._others_done = queue.SimpleQueue()

    def __enter__(self):
        if self.size == 1:
            return self
        for rank in range(self.size):
            jobs = queue.SimpleQueue()
            work = self._lead if rank == 0 else self._help
            try:
                threading.Thread(target=work, args=(rank, jobs), daemon=True).start()
            except RuntimeError:
                break
            self._jobs.append(jobs)
        self.size = max(len(self._jobs), 1)
        return self

    def __exit__(self, *exception):
        for jobs in self._jobs:
            jobs.put(None)

    def _help(self, rank, jobs):
        while (job := jobs.get()) is not None:
            self._others_done.put(_error_of(job, rank))

    def _lead(self, rank, jobs):
        """Distribute each job, do a part of it, and signal when all threads are done."""
        while (job := jobs.get()) is not None:
            errors = []
            if callable(job):
                for other in self._jobs[1:]:
                    other.put(job)
                errors = [_error_of(job, rank), *(self._others_done.get() for _ in self._jobs[1:])]
            self._done.put((job, next(filter(None, errors), None)))

    def run(self, job):
        """Call ``job(rank)`` in every thread of the pool, and return when all are done."""
        if not self._jobs:
            job(0)
            return
        try:
            self._jobs[0].put(job)
            _, error = self._done.get()
        except BaseException as first:
            second = self._wait()
            if second is not None:
                raise second from first
            raise
        if error is not None:
            raise error

    def _wait(self):
        """Wait until all threads are idle; return the interrupt that came meanwhile, or None."""
        interrupt = None
        while True:
            try:
                token = object()
                self._jobs[0].put(token)
                while self._done.get()[0] is not token:
                    pass
                return interrupt
            except KeyboardInterrupt as again:
                interrupt = again


def _error_of(job, rank):
    """Do a job, and return the exception it raises, or None."""
    try:
        job(rank)
    except BaseException as error:
        return error


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
