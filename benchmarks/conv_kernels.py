"""The share of one core's peak that the convolution kernels reach, in float32, shape by shape.

The peak is the best of what this process sees from a loop of nothing but multiply-adds on
registers, and from the dense kernel. The kernels are those of a step of training, with the operands
and the slices that the engine gives them, over four blocks of 32 samples; the transposition that
the gradient of the weights wants belongs to its time. Only multiply-adds inside of the image count.
Time is that of the processor, since one core is what the share is of: nothing waits here.
"""

import ctypes
import time
from functools import partial
from statistics import median

import numpy as np
from numba import njit
from numba.core import types

from sknn.cpu import frame as f
from sknn.cpu.memory import aligned
from sknn.cpu.program import Program, lanes_of
from sknn.cpu.run import BLOCKS as OVER_BLOCKS
from sknn.cpu.simd import LANES, Tile, Vector, tile_outer, tile_shape, tile_store, tile_zero
from sknn.layers import Conv2D
from sknn.layers.base import size
from sknn.tape import Tape

from . import kernels
from .table import Row, Task

POINT = "conv-kernels"
WIDTH, BLOCKS, TARGET = 32, 4, 75
KERNELS = ("forward", "input gradient", "weight gradient")

# channels, filters, kernel size, height and width of the image, then what differs from the default
SHAPES = [
    (1, 6, 5, 28, {"padding": "same"}),
    (6, 16, 5, 14, {}),
    (3, 32, 3, 32, {"padding": "same"}),
    (32, 32, 3, 32, {"padding": "same"}),
    (32, 64, 3, 16, {"padding": "same"}),
    (64, 64, 3, 16, {"padding": "same"}),
    (16, 16, 3, 32, {"padding": "same"}),
    (64, 64, 3, 8, {"padding": "same"}),
    (128, 128, 3, 28, {"padding": "same"}),
    (256, 256, 3, 14, {"padding": "same"}),
    (32, 64, 3, 16, {"padding": "same", "strides": 2}),
    (256, 64, 1, 8, {}),
]


def tasks():
    """List the measurements, one for each shape."""
    for channels, filters, extent, side, options in SHAPES:
        words = "".join(
            f", {value}" if key == "padding" else f", {key} {value}"
            for key, value in options.items()
        )
        name = f"{extent}x{extent}, {channels} to {filters} channels, {side}x{side}{words}"
        layer = Conv2D(filters, extent, use_bias=False, **options)
        yield Task(POINT, name, partial(_shares, name, layer, (side, side, channels)))


def _shares(name, layer, shape, settings):
    """Measure each kernel in turns with the peak; yield a row for each."""
    blocks = 1 if settings.quick else BLOCKS
    calls = _calls(layer, shape, blocks)
    work = 2 * _multiply_adds(layer, shape) * WIDTH * blocks
    loops = (10**8 if settings.quick else 2 * 10**9) // work + 1
    times = {kernel: [] for kernel in KERNELS}
    for kernel in KERNELS:
        calls[kernel]()
    for _ in range(settings.repeats):
        _peak.measure()
        for kernel in KERNELS:
            times[kernel].append(_seconds(calls[kernel], loops))
    wide = layer.kernel_size == (3, 3) and min(shape[2], layer.filters) >= 32
    for kernel in KERNELS:
        share = 100 * work / median(times[kernel]) / _peak.rate
        target = TARGET if wide else None
        yield Row(POINT, f"{kernel}, {name}", "peak", share, target, "%")


def _seconds(call, loops=1):
    start = time.thread_time()
    for _ in range(loops):
        call()
    return (time.thread_time() - start) / loops


# --- the peak


def _multiply_add_loop():
    """Return a function of nothing but multiply-adds on registers, and its tile's rows and span."""
    tile = Tile(Vector(types.float32, LANES[types.float32]), *tile_shape(8))
    rows, span = tile.rows, tile.vectors * tile.vector.lanes

    @njit(error_model="numpy")
    def loop(scalars, vectors, out, n):
        sums = tile_zero(tile)
        for _ in range(n):  # nothing is stored here, so the operands stay in registers too
            sums = tile_outer(sums, scalars, 0, 1, vectors, 0, 0)
        tile_store(sums, out, 0, span, rows)

    return loop, rows, span


class _Peak:
    """The highest rate of multiply-adds so far, two operations each; grows with each look."""

    def __init__(self):
        self.rate = 0.0
        self._calls = None

    def measure(self):
        """Look again."""
        if self._calls is None:
            self._calls = self._make_calls()
            for call, _ in self._calls:
                call()
        for call, work in self._calls:
            self.rate = max(self.rate, work / min(_seconds(call) for _ in range(10)))

    @staticmethod
    def _make_calls():
        """Return the loop and the dense kernel, and how many operations a call does."""
        loop, rows, span = _multiply_add_loop()
        n = 200_000
        arrays = [aligned(4 * length).view(np.float32) for length in (rows, span, rows * span)]
        for array in arrays:
            array[:] = 1e-3

        def run():
            loop(*(array.ctypes.data for array in arrays), n)

        _, dense, _ = next(kernels.cases("float32"))
        samples = kernels.BLOCKS * WIDTH
        return [
            (run, 2 * n * rows * span),
            (dense, 2 * kernels.INPUTS * kernels.UNITS * samples),
        ]


_peak = _Peak()


# --- the kernels


def _multiply_adds(layer, shape):
    """Count those of one sample that lie inside of the image."""
    out = layer.output_shape(shape)
    inside = []
    for axis in range(2):
        n, extent, stride = shape[axis], layer.kernel_size[axis], layer.strides[axis]
        total = max((out[axis] - 1) * stride + extent - n, 0) if layer.padding == "same" else 0
        places = np.arange(out[axis])[:, None] * stride - total // 2 + np.arange(extent)
        inside.append(int(((places >= 0) & (places < n)).sum()))
    return inside[0] * inside[1] * shape[2] * layer.filters


def _calls(layer, shape, blocks):
    """Return what runs the kernels of each direction over a batch of some blocks."""
    program, groups = _program(layer, shape)
    sizes = (program.parameter_bytes, program.parameter_bytes, program.workspace_bytes * blocks)
    arenas = [aligned(n).view(np.float32) for n in sizes]
    rng = np.random.default_rng(0)
    for arena in arenas:
        arena[:] = rng.random(len(arena), np.float32) - 0.5
    frame = np.zeros(f.N_FIELDS, np.int64)
    frame[f.PARAMETERS], frame[f.GRADIENT], frame[f.WORKSPACE] = (a.ctypes.data for a in arenas)
    frame[f.WORKSPACE_STRIDE], frame[f.COUNT] = program.workspace_bytes, WIDTH * blocks
    slots = [int(frame[f.WORKSPACE]) + i * program.workspace_bytes for i in range(blocks)]
    pointer = ctypes.POINTER(ctypes.c_int64)
    function = ctypes.CFUNCTYPE(None, pointer, pointer, ctypes.c_int64)

    def run(calls, keep):
        for kernel, *arguments in calls:
            kernel(*arguments)

    runs = {}
    for name, ops in groups.items():
        calls = [
            (
                function(int(program.addresses[i])),
                program.operands[i].ctypes.data_as(pointer),
                frame.ctypes.data_as(pointer),
                slot,
            )
            for i, by_block in ops
            for slot in (slots if by_block else [0])
        ]
        runs[name] = partial(run, calls, arenas)
    return runs


def _program(layer, shape):
    """Compile one layer; return its program, and which of its operations go which direction.

    Those are pairs: an operation's number, and whether it is done for each block.
    """
    tape = Tape(WIDTH)
    for parameter in layer.parameters(shape, lanes_of(np.float32)):
        tape.parameter(parameter)
    x = tape.buffer("x", size(shape))
    tape.add("weigh", (), (x,))  # stands for whatever writes the input, and is not run
    z, backward = layer.forward(tape, x, shape, iter(tape.parameters), True)
    forward = tape.phases[0].ops[1:]
    dz = tape.buffer("dz", z.rows)
    tape.add("weigh", (), (dz,))
    dx = backward(dz, True)
    tape.finish()
    program, groups = Program(tape, np.float32), {kernel: [] for kernel in KERNELS}
    for phase, (kind, first, last) in zip(tape.phases, program.phases, strict=True):
        if kind == OVER_BLOCKS:
            for i, op in enumerate(phase.ops, first):
                if op.name != "weigh":
                    to_input = KERNELS[1] if dx in op.writes else KERNELS[2]
                    groups[KERNELS[0] if op in forward else to_input].append((i, True))
        else:
            for begin, end in program.tasks[first:last]:
                groups[KERNELS[2]] += [(i, False) for i in range(begin, end)]
    return program, groups
