"""Dense networks: measurements in separate processes, of compilation, import and memory."""

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from .peers import mnist
from .table import Row, Task

FIRST_FIT, MEMORY = "first-fit", "dense-memory"

#: Networks of ``benchmarks.children`` that are fitted in a new process; how many seconds longer the
#: first fit should take at most where nothing is cached, half of what it took once.
NETWORKS = {"MLP": 2.0, "LeNet-5": 1.75, "LSTM": 1.6, "ResNet-20": 3.65}


def tasks():
    """List the measurements of first fits, of the import and of memory."""
    for name in NETWORKS:
        yield Task(FIRST_FIT, f"first fit of {name}", partial(_first_fit, name))
    yield Task(FIRST_FIT, "import", _import)
    yield Task(MEMORY, "memory of a fit on MNIST", _memory)


def child(call, cache=None, quick=False):
    """Run a function of ``benchmarks.children`` in a new process and return what it returns."""
    (result,) = children([call], cache, quick)
    return result


def children(calls, cache=None, quick=False):
    """Run functions of ``benchmarks.children``, each in a new process, all at the same time.

    At quick settings, where the figures are meaningless, the processes are forks of one that has
    imported everything.
    """
    if quick and hasattr(os, "fork"):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.convnets", "benchmarks.recurrent"])
        with ProcessPoolExecutor(len(calls), context, max_tasks_per_child=1) as pool:
            return list(pool.map(_called, calls))
    environment = dict(os.environ) | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    code = "import json; from benchmarks import children; print(json.dumps(children.{}))"
    root = Path(__file__).resolve().parent.parent
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(call)],
            env=environment, cwd=root, stdout=subprocess.PIPE,
        )
        for call in calls
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in processes]
    for process in processes:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def _called(call):
    from . import children

    return eval(f"children.{call}", {"children": children})


def _first_fit(network, settings):
    cold, warm = [], []
    for _ in range(settings.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for times in cold, warm:
                times.append(child(f"first_fit({network!r})", cache))
    for cache, times, target in [("cold", cold, NETWORKS[network]), ("warm", warm, 0.5)]:
        name = f"first fit of {network}, {cache} cache"
        yield Row(FIRST_FIT, name, "a warm fit", median(times), target, " s more", at_least=False)


def _import(settings):
    ours, theirs = [], []
    for _ in range(1 if settings.quick else 2 * settings.repeats + 1):
        ours.append(child("import_seconds('sknn.feedforward.mlp')"))
        theirs.append(child("import_seconds('sklearn.neural_network', 'numba')"))
    # The first of each reads files from disk, which are then cached.
    more = median(ours[1:] or ours) - median(theirs[1:] or theirs)
    peer = "sklearn.neural_network, numba"
    yield Row(FIRST_FIT, "import MLPNetClassifier", peer, more, 0.15, " s more", at_least=False)


def _memory(settings):
    rise = None
    if settings.mnist.exists() and importlib.util.find_spec("resource") is not None:
        with tempfile.TemporaryDirectory() as folder:
            X, y, _, _ = mnist(settings.mnist, every=100 if settings.quick else 1)
            # Loading .npy files makes no second copy, which would raise the peak beforehand.
            np.save(Path(folder, "X.npy"), X)
            np.save(Path(folder, "y.npy"), y)
            call = f"memory_rise({folder!r})"
            if not settings.quick:
                child(call, folder)  # fills the cache
            rise = median(child(call, folder, settings.quick) for _ in range(settings.repeats))
    name = "fit on MNIST as uint8, 784-512-10"
    yield Row(MEMORY, name, "memory before", rise, 94, " MB", at_least=False)
