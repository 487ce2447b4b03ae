"""A team of threads inside one no-GIL call, meeting at a barrier.

The threads are Python's, so any number of teams can be at work at once, a forked child is safe,
and a barrier costs a fraction of a microsecond. No Numba threading layer is involved.
"""

import queue
import sys
import threading

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compiling import register_jitable

_I64 = ir.IntType(64)


def _pointer(builder, address):
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def _fetch_add(typingctx, address, value):
    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", _pointer(builder, args[0]), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _load(typingctx, address):
    def codegen(context, builder, sig, args):
        return builder.load_atomic(_pointer(builder, args[0]), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _store(typingctx, address, value):
    def codegen(context, builder, sig, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


@intrinsic
def _yield(typingctx):
    def codegen(context, builder, sig, args):
        function = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, function, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), codegen


#: Bytes of a barrier: its count of arrivals and its generation, each on a cache line of its own.
BARRIER_BYTES = 128
#: How often a thread looks before it lets others have its core: some microseconds' worth.
SPINS = 2000


@register_jitable
def barrier(sync, size, most_spins):
    """Wait until `size` threads have come here; look `most_spins` times before yielding the core.

    Where there are more threads than cores, the one waited for may be the one whose core this is.
    """
    generation = _load(sync + 64)
    if _fetch_add(sync, 1) == size - 1:
        _store(sync, 0)
        _store(sync + 64, generation + 1)
        return
    spins = 0
    while _load(sync + 64) == generation:
        spins += 1
        if spins > most_spins:
            _yield()


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
        except BaseException:
            self._wait()
            raise
        if error is not None:
            raise error

    def _wait(self):
        """Return when nobody works any more, whatever has been asked for and answered."""
        while True:
            try:
                token = object()
                self._jobs[0].put(token)
                while self._done.get()[0] is not token:
                    pass
                return
            except KeyboardInterrupt:
                continue


def _error_of(job, rank):
    """Do a job, and return what it raises, or None."""
    try:
        job(rank)
    except BaseException as error:
        return error
