"""A team of threads inside one no-GIL call, meeting at a barrier.

The threads are Python's, so any number of teams can be at work at once, a forked child is safe,
and a barrier costs a fraction of a microsecond. No Numba threading layer is involved.
"""

import numbers
import queue
import threading

import joblib
from joblib.parallel import get_active_backend

#: How often a thread looks before it lets others have its core: some microseconds' worth.
SPINS = 2000


class Team:
    """`size` threads that do a job together, for as long as the context lasts.

    The caller only waits for them, since Ctrl-C may strike it at any line: the others would wait
    for it at a barrier, or use arrays that it has let go. One thread is the caller itself. `size`
    is smaller than asked for where the system gives no more threads.
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
        """Hand on each job, do a part of it, and say when all have done theirs."""
        while (job := jobs.get()) is not None:
            errors = []
            if callable(job):
                for other in self._jobs[1:]:
                    other.put(job)
                errors = [_error_of(job, rank), *(self._others_done.get() for _ in self._jobs[1:])]
            self._done.put((job, next(filter(None, errors), None)))

    def run(self, job):
        """Call ``job(rank)`` in every thread of the team, and return when all are done."""
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
        """Return when nobody works any more, whatever has been asked for and answered.

        What is returned is the interrupt that came meanwhile, or None.
        """
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
    """Do a job, and return what it raises, or None."""
    try:
        job(rank)
    except BaseException as error:
        return error


def is_nested():
    """Return whether this is a worker of joblib."""
    return (getattr(get_active_backend()[0], "nesting_level", 0) or 0) > 0


def count_threads(n_jobs):
    """Return the number of threads that `n_jobs` means here and now."""
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs is {n_jobs!r}; expected an int that is not 0, or None.")
    if n_jobs is None:
        # In a worker, joblib's own processes or threads are the parallelism.
        return 1 if is_nested() else joblib.cpu_count()
    return n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)
