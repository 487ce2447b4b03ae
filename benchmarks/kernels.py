"""The dense kernels on one core against NumPy's matrix product, with and without AVX-512.

Each kernel processes four blocks of 32 samples of a layer with 784 inputs and 512 units, as in a
training step; NumPy multiplies the same matrices. AVX-512 is disabled for the kernels only, in a
separate process.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np
from llvmlite import binding
from threadpoolctl import threadpool_limits

from sknn.layers import Dense

from .layer_kernels import WIDTH, runs

INPUTS, UNITS, BLOCKS, TARGET = 784, 512, 4, 0.85
TIMES = 4  # consecutive runs per call, so that the overhead of the call from Python is negligible


def rows(repeats):
    """Yield (name, ratio to NumPy, target) for each kernel, dtype and set of CPU features."""
    features = binding.get_host_cpu_features()
    sets = {"AVX-512 off": {n: on and not n.startswith("avx512") for n, on in features.items()}}
    if any(on and n.startswith("avx512") for n, on in features.items()):
        sets["AVX-512 on"] = features
    for label, chosen in sets.items():
        flags = ",".join(f"{'+' if on else '-'}{name}" for name, on in chosen.items())
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.kernels", str(repeats)],
            env=os.environ | {"NUMBA_CPU_FEATURES": flags},
            stdout=subprocess.PIPE,
            check=True,
        )
        for name, ratio in json.loads(child.stdout).items():
            yield f"{name}, {label}", ratio, TARGET


def measure(repeats):
    """Return the ratio to NumPy of each kernel and dtype, in this process."""
    ratios = {}
    for dtype in (np.float32, np.float64):
        for name, run, product in cases(dtype):
            run(1)
            with threadpool_limits(1):
                times = [(_seconds(product), _seconds(run)) for _ in range(repeats)]
            theirs, ours = (statistics.median(t) for t in zip(*times, strict=True))
            ratios[f"{name} {np.dtype(dtype)}"] = theirs / ours
    return ratios


def _seconds(run):
    start = time.perf_counter()
    run(TIMES)
    return time.perf_counter() - start


def cases(dtype):
    """Yield each kernel's name, a function that runs it n times, and NumPy's equivalent."""
    _, kernels = runs(Dense(UNITS), (INPUTS,), dtype, BLOCKS)
    rng = np.random.default_rng(0)
    samples = rng.random((BLOCKS * WIDTH, INPUTS), dtype)
    matrix = rng.random((INPUTS, UNITS), dtype)
    outputs = samples @ matrix
    products = {
        "dense": (samples, matrix),
        "dense_input_gradient": (outputs, matrix.T),
        "weight_gradient": (samples.T, outputs),
    }
    for name, factors in products.items():
        yield name, kernels[name], partial(_multiply, *factors)


def _multiply(a, b, times):
    for _ in range(times):
        a @ b


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
