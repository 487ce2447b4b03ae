"""Where the time of a training step goes, operation by operation, with shares of the peak.

``python -m benchmarks.steps NETWORK`` prints a table; without a network, the names of those there
are. The network is trained by ``fit``, in the usual loop, but compiled with a clock: each operation
on each thread is timed, with what the loop needs to call it (reading the clock takes about 10 ns).
A share of the peak counts the multiply-adds that are needed, not those of padding. What is in no
operation is waiting for other threads (after a phase), and the rest of the loop.
"""

import argparse
import time
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from unittest import mock

import numpy as np
from numba import njit

from sknn import MLPNetClassifier
from sknn.cpu import winograd
from sknn.cpu.kernels import run
from sknn.cpu.operations import OWN
from sknn.cpu.program import kernel
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.tape.operations import OPERATIONS

from . import networks, tabular
from .conv_kernels import multiply_adds_inside, peak
from .peers import digits_like
from .table import Row, Task

POINT = "step-shares"

#: Dense networks and their batches: the shares of one core's peak to reach on one thread, in
#: percent, and what a second thread should bring. The last one is of a network for tables, whose
#: inputs are made of 14 columns, and has the network before it to be compared with.
DENSE = {
    "30-100-2, batch 200": (50, 1.3),
    "64-100-10, batch 32": (55, None),
    "64-50-10, batch 200": (50, 1.3),
    "784-50-10, batch 128": (70, 1.8),
    "784-512-10, batch 128": (88, 1.8),
    "17-33-5, batch 50": (None, None),
    "200-300-300-1, batch 256": (None, None),
    "75-256-256-256-2, batch 256": (None, None),
    "a table's 75-256-256-256-2, batch 256": (None, None),
}
_STEPS = 64  # in an epoch of a dense network
#: The share of a core's peak that each of two threads must reach at once, before and after both
#: measurements; a second thread is compared with one only then.
_FREE = 0.85


@dataclass
class Part:
    """What an operation takes: seconds and needed multiply-adds in a step, and how many calls."""

    seconds: float = 0.0
    work: float = 0.0
    calls: int = 0


def tasks():
    """List the measurements of shares, one for each dense network."""
    for name in DENSE:
        yield Task(POINT, name, partial(_shares, name))


def _shares(name, settings):
    share, gain = DENSE[name]
    fit = maker(name, 1 if settings.quick else 10)
    work = sum(part.work for part in parts(fit, 1).values())
    alone, pairs = [], []
    for _ in range(settings.repeats):
        free = peak.together()
        one, two = seconds_of_step(fit, 1), seconds_of_step(fit, 2)
        alone.append(one)
        if settings.quick or min(free, peak.together()) > _FREE:
            pairs.append(one / two)
    one = median(alone)
    yield Row(POINT, f"{name}, one thread", "peak", 200 * work / one / peak.rate, share, "%")
    measured = median(pairs) if pairs else None  # else no two cores were free
    yield Row(POINT, f"{name}, two threads", "one thread", measured, gain, "x")


def maker(name, epochs):
    """Return a function that trains a network for some epochs with a number of threads."""
    if name not in DENSE:
        X, y = networks.images_for(name, 4 * networks.BATCH_SIZE)
        return lambda threads: networks.classifier(name, epochs, n_jobs=threads).fit(X, y)
    units, batch = name.split(", batch ")
    if name.startswith("a table's "):
        X, y, classes = tabular.table(next(iter(tabular.TABLES)), int(batch) * _STEPS)
        cls = tabular.ours(classes)
        parameters = {
            "batch_size": int(batch), "early_stopping": False, "max_iter": epochs,
            "random_state": 0,
        }  # fmt: skip
        return lambda threads: cls(n_jobs=threads, **parameters).fit(X, y)
    features, *hidden, outputs = map(int, units.split("-"))
    X, y = digits_like(int(batch) * _STEPS, features, max(outputs, 2))
    parameters = {"tol": 0.0, "n_iter_no_change": epochs, "max_iter": epochs, "random_state": 0}

    def fit(threads):
        MLPNetClassifier(hidden, batch_size=int(batch), n_jobs=threads, **parameters).fit(X, y)

    return fit


# --- measuring


class _Measured(Session):
    """A session that measures the calls of its loop, and, if `timed`, its operations."""

    def __init__(self, sessions, timed, program, most_rows, threads=1, gradient=None):
        super().__init__(program, most_rows, threads, gradient)
        self.calls, self.ticks, self.rows = [], None, most_rows
        if timed:
            self._timed = kernel("run", np.float64, 0, (True,))
            self._run = self._run_and_hold = self._timed.ctypes
            parts = len(program.keys) + len(program.phases) + 1
            self.ticks = np.zeros((threads, parts), np.int64)
            self._header[run.TIMES] = self.ticks.ctypes.data
            self._header[run.TIMES_BYTES] = self.ticks.strides[0]
            self._header[run.N_OPERATIONS] = len(program.keys)
        sessions.append(self)

    def _call(self, rows, again):
        start = time.perf_counter()
        super()._call(rows, again)
        steps = int(self._header[run.LAST] - self._header[run.FIRST])
        self.calls.append(((time.perf_counter() - start) / steps, steps))


def _sessions(fit, threads, timed):
    """Return the sessions that have trained in a fit."""
    sessions = []
    with mock.patch.object(DEVICES["cpu"], "session", partial(_Measured, sessions, timed)):
        fit(threads)
    return [session for session in sessions if session.program.needs.changes]


def seconds_of_step(fit, threads):
    """Return the median time of a step, in seconds, weighted by the steps of each call."""
    calls = [call for session in _sessions(fit, threads, False) for call in session.calls]
    return median(seconds for seconds, steps in calls for _ in range(steps))


def parts(fit, threads):
    """Return the :class:`Part` of each operation in a training step, by its name, in order."""
    (session,) = _sessions(fit, threads, True)
    program, steps = session.program, sum(steps for _, steps in session.calls)
    seconds = session.ticks.sum(0) * _seconds_of_tick() / steps
    calls = np.full(len(program.keys), -(-session.rows // program.width))
    for first, last in program.tasks.reshape(-1, 2):
        calls[first:last] = 1
    found = {}
    for i, (name, work) in enumerate(_needed(program, session.rows)):
        part = found.setdefault(name, Part())
        part.seconds += seconds[i]
        part.calls += calls[i]
        part.work += work
    n = len(program.keys)
    found["waiting"], found["the rest of the loop"] = Part(seconds[n:-1].sum()), Part(seconds[-1])
    return found


def _needed(program, rows):
    """Yield the name of each operation, and the multiply-adds of a step that it is needed for."""
    forward, slices, places = {}, {}, []
    for (name, _, _, variant), operands in zip(program.keys, program.operands, strict=True):
        row = (OPERATIONS | OWN)[name]
        before = 4 if row.kind == "parameters" else 0
        named = dict(zip((*row.reads, *row.writes, *row.attributes), operands[before:].tolist()))
        weights = operands[3] if before else named.get("w")
        work, shape = _multiply_adds(name, named)
        label = " ".join([name, *(str(v) for v in variant if isinstance(v, str)), shape]).strip()
        places.append((name, weights, label, work * rows, operands[2] if before else 0))
        if work and "gradient" not in name:
            forward[weights] = work * rows, shape
        if before and "weight_gradient" in name or "kernel_gradient" in name:
            slices[weights] = slices.get(weights, 0) + operands[2]
    for name, weights, label, work, elements in places:
        if elements and weights in slices and weights in forward:
            whole, shape = forward[weights]
            is_gradient = "weight_gradient" in name or "kernel_gradient" in name
            work, label = whole * elements / slices[weights] * is_gradient, f"{label} {shape}"
        yield label, work


def _multiply_adds(name, numbers):
    """Return the multiply-adds of an operation for a sample, and its shape."""
    if name.startswith("dense"):
        inputs, units, places = (numbers[key] for key in ("inputs", "units", "positions"))
        shape = f"{inputs}x{units}" + (f", {places} positions" if places > 1 else "")
        return inputs * units * places, shape
    if name.startswith("grouped_dense"):
        groups, inputs, units = (numbers[key] for key in ("groups", "inputs", "units"))
        return groups * inputs * units, f"{groups} x {inputs}x{units}"
    if name.startswith("convolution"):
        inside = multiply_adds_inside(numbers)
        return inside, "{channels}x{filters} on {height}x{width}".format(**numbers)
    if name in ("winograd", "winograd_products"):  # shares of the peak of direct sums
        return _multiply_adds("convolution", numbers | winograd.DIRECT_SUMS)
    return 0, ""


@cache
def _seconds_of_tick():
    """Return the time between two ticks of the clock in the loop."""
    ticks, before, start = njit(lambda: run.ticks()), 0, 0.0
    ticks()
    before, start = ticks(), time.perf_counter()
    time.sleep(0.05)
    return (time.perf_counter() - start) / (ticks() - before)


# --- the table of one network


def main():
    """Print the table of a network, or the names of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    names = [*DENSE, *networks.NETWORKS]
    parser.add_argument("network", nargs="?", choices=names, help="one of: " + "; ".join(names))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="how many to measure")
    options = parser.parse_args()
    if options.network is None:
        print(*names, sep="\n")
        return
    fit = maker(options.network, options.epochs or (20 if options.network in DENSE else 2))
    _sessions(fit, options.threads, True)
    found, usual = parts(fit, options.threads), seconds_of_step(fit, options.threads)
    peak.measure()
    total = sum(part.seconds for part in found.values())
    print(f"{options.network}, {options.threads} threads, {peak.rate / 2e9:.0f} giga multiply-adds")
    print("a second and core at the peak; seconds are those of all threads together\n")
    print("| operation | calls | us | of the step | of the peak |\n|---|--:|--:|--:|--:|")
    found["all"] = Part(total, sum(part.work for part in found.values()))
    found["without the clock"] = Part(usual * options.threads, found["all"].work)
    for name, part in found.items():
        share = f"{200 * part.work / part.seconds / peak.rate:.0f}%" if part.work else ""
        columns = name, part.calls or "", f"{part.seconds * 1e6:.2f}", f"{part.seconds / total:.1%}"
        print(f"| {' | '.join(map(str, columns))} | {share} |")


if __name__ == "__main__":
    main()
