"""Median wall-clock times of several sides, interleaved so that they see the same machine load."""

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

import joblib
from threadpoolctl import threadpool_limits

#: Seconds before a timing: threads of the previous side may still spin for a while, waiting for
#: more work.
pause = 0.1


@dataclass(frozen=True)
class Side:
    """One contender: the call that is timed, and the context it runs in, which is not timed."""

    run: Callable[[], object]
    around: Callable[[], AbstractContextManager] = nullcontext


def seconds(side, loops=1):
    """Return the time of one call in seconds, averaged over ``loops`` calls in a row."""
    gc.collect()
    time.sleep(pause)
    with side.around():
        start = time.perf_counter()
        for _ in range(loops):
            side.run()
        return (time.perf_counter() - start) / loops


def ratios(sides, repeats, loops=1, ours="sknn"):
    """Return how many times faster ``ours`` is than each other side, as a ratio of medians.

    Parameters
    ----------
    sides : dict of str to Side
        The contenders, warmed up, so that nothing is compiled or imported during the timing.
    repeats : int
        Number of runs per side. Sides alternate, and each round starts with a different one.
    loops : int
        Number of consecutive calls to average over, for calls too short to time individually.
    ours : str
        The key of our side.
    """
    times = {name: [] for name in sides}
    order = list(sides)
    for _ in range(repeats):
        for name in order:
            times[name].append(seconds(sides[name], loops))
        order.append(order.pop(0))
    return {
        name: median(times[name]) / median(times[ours]) for name in sides if name != ours
    }


def with_best_blas_threads(trial, run):
    """Return ``run`` as a side, with one or all BLAS threads, whichever is faster on ``trial``."""

    def limited(function, threads):
        return Side(function, lambda: threadpool_limits(threads, user_api="blas"))

    trial()
    best = min((1, joblib.cpu_count()), key=lambda threads: seconds(limited(trial, threads)))
    return limited(run, best)
