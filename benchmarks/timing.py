"""Wall-clock medians of several sides, interleaved so that they share the machine's moods."""

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

import joblib
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Side:
    """One contender: what is timed, and the conditions around it, which are not."""

    run: Callable[[], object]
    around: Callable[[], AbstractContextManager] = nullcontext


def seconds(side, loops=1):
    """Time of one call, averaged over ``loops`` calls in a row."""
    gc.collect()
    # The threads of the side before may still spin for a while, waiting for more work.
    time.sleep(0.1)
    with side.around():
        start = time.perf_counter()
        for _ in range(loops):
            side.run()
        return (time.perf_counter() - start) / loops


def ratios(sides, repeats, loops=1, ours="sknn"):
    """How many times faster ``ours`` is than each other side, by the ratio of the medians.

    Parameters
    ----------
    sides : dict of str to Side
        Warmed up: nothing is compiled or imported any more.
    repeats : int
        Each side runs this often, in turns, and each turn begins with another side.
    loops : int
        Calls in a row to average over, for calls too short to time alone.
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
    """Make ``run`` a side at the number of BLAS threads, one or all, that suits ``trial`` best."""

    def limited(function, threads):
        return Side(function, lambda: threadpool_limits(threads, user_api="blas"))

    trial()
    best = min((1, joblib.cpu_count()), key=lambda threads: seconds(limited(trial, threads)))
    return limited(run, best)
