"""The dense kernels on one core against NumPy's matrix product, with and without AVX-512.

Each kernel goes over four blocks of 32 samples of a layer of 784 inputs and 512 units, as in a
step of training; NumPy multiplies the same matrices. AVX-512 is switched off for the kernels only,
in a process of their own.
"""

import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from llvmlite import binding
from threadpoolctl import threadpool_limits

INPUTS, UNITS, BLOCKS, TARGET = 784, 512, 4, 0.85
KERNELS = ("dense", "dense_input_gradient", "weight_gradient")


def rows():
    """Yield (name, ratio to NumPy, target) for each kernel, type and set of features."""
    features = binding.get_host_cpu_features()
    sets = {"AVX-512 off": {n: on and not n.startswith("avx512") for n, on in features.items()}}
    if any(on and n.startswith("avx512") for n, on in features.items()):
        sets["AVX-512 on"] = features
    for label, chosen in sets.items():
        flags = ",".join(f"{'+' if on else '-'}{name}" for name, on in chosen.items())
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.kernels"],
            env=os.environ | {"NUMBA_CPU_FEATURES": flags},
            stdout=subprocess.PIPE,
            check=True,
        )
        for name, ratio in json.loads(child.stdout).items():
            yield f"{name}, {label}", ratio, TARGET


def measure():
    """Return the ratio to NumPy of each kernel and type, in this process."""
    ratios = {}
    for dtype in ("float32", "float64"):
        for name, call, product in cases(dtype):
            call()
            with threadpool_limits(1):
                times = [(_seconds(product), _seconds(call)) for _ in range(15)]
            ours, theirs = (statistics.median(t) for t in zip(*times, strict=True))
            ratios[f"{name} {dtype}"] = ours / theirs
    return ratios


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def cases(dtype):
    """Yield each kernel's name, a call of it over a batch, and NumPy's product of that size."""
    from sknn.cpu import frame as f
    from sknn.cpu.program import kernel, lanes_of
    from sknn.layers import Dense

    weights, _ = Dense(UNITS).parameters(INPUTS, lanes_of(dtype))
    width, size, rng = 32, np.dtype(dtype).itemsize, np.random.default_rng(0)
    x, z = INPUTS * width, UNITS * width  # elements of a block's buffers: x, z, dz packed, dx
    memory = rng.random((BLOCKS, 2 * x + 3 * z)).astype(dtype)
    parameters = rng.random(weights.elements + 1024).astype(dtype)
    gradient = np.zeros_like(parameters)
    frame = np.zeros(f.N_FIELDS, np.int64)
    frame[f.PARAMETERS], frame[f.GRADIENT] = parameters.ctypes.data, gradient.ctypes.data
    frame[f.WORKSPACE], frame[f.WORKSPACE_STRIDE] = memory.ctypes.data, memory.strides[0]
    frame[f.COUNT] = BLOCKS * width
    pointer = ctypes.POINTER(ctypes.c_int64)
    operands = {
        "dense": [0, 0, weights.elements * size, x * size, INPUTS, UNITS],
        "dense_input_gradient": [x * size, 0, (x + 2 * z) * size, INPUTS, UNITS],
        "weight_gradient": [0, 0, weights.elements, 0, 0, (x + z) * size, INPUTS],
    }
    samples = rng.random((BLOCKS * width, INPUTS)).astype(dtype)
    matrix = rng.random((INPUTS, UNITS)).astype(dtype)
    outputs = samples @ matrix
    products = {
        "dense": lambda: samples @ matrix,
        "dense_input_gradient": lambda: outputs @ matrix.T,
        "weight_gradient": lambda: samples.T @ outputs,
    }
    for name in KERNELS:
        op = np.zeros(f.OPERANDS, np.int64)
        op[: len(operands[name])] = operands[name]
        run = kernel(name, np.dtype(dtype), width, (8, weights.pack)).ctypes
        blocks = range(1 if name == "weight_gradient" else BLOCKS)
        keep = op, frame, memory, parameters, gradient

        def call(run=run, blocks=blocks, keep=keep):
            op, frame = (array.ctypes.data_as(pointer) for array in keep[:2])
            base, stride = keep[2].ctypes.data, keep[2].strides[0]
            for block in blocks:
                run(op, frame, base + block * stride)

        yield name, call, products[name]


if __name__ == "__main__":
    print(json.dumps(measure()))
