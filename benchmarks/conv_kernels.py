"""The fraction of one core's peak that the convolution kernels reach, in float32, by shape.

The peak is the highest rate that this process measures for a loop of only multiply-adds on
registers, and for the dense kernel. The kernels are those of a training step, with the operands and
the slices that the engine passes to them, over four blocks of 32 samples; the time of the weight
gradient includes the transposition that it needs. Only multiply-adds inside the image count. Times
are CPU times of the thread, since the peak is that of one core.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import numpy as np
from numba import njit
from numba.core import types

from sknn.cpu.kernels.simd import LANES, Tile, Vector, tile_outer, tile_shape, tile_store, tile_zero
from sknn.cpu.memory import aligned
from sknn.layers import Conv2D
from sknn.tape.operations import OPERATIONS

from . import kernels
from .layer_kernels import DIRECTIONS, WIDTH, runs
from .table import Row, Task

POINT = "conv-kernels"
BLOCKS, TARGET = 4, 75

# channels, filters, kernel size, height and width of the image, parameters other than the defaults
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
    """Measure each kernel, alternating with the peak; yield a row for each."""
    blocks = 1 if settings.quick else BLOCKS
    kernels_of, _ = runs(layer, shape, np.float32, blocks)
    names = OPERATIONS["convolution_input_gradient"].attributes
    numbers = dict(zip(names, layer._geometry(shape)[1], strict=True))
    work = 2 * multiply_adds_inside(numbers) * WIDTH * blocks
    times_each = (10**8 if settings.quick else 2 * 10**9) // work + 1
    times = {direction: [] for direction in DIRECTIONS}
    for run in kernels_of.values():
        run(1)
    for _ in range(settings.repeats):
        peak.measure()
        for direction, run in kernels_of.items():
            times[direction].append(_seconds(partial(run, times_each)) / times_each)
    wide = layer.kernel_size == (3, 3) and min(shape[2], layer.filters) >= 32
    for direction in DIRECTIONS:
        share = 100 * work / median(times[direction]) / peak.rate
        target = TARGET if wide else None
        yield Row(POINT, f"{direction}, {name}", "peak", share, target, "%")


def _seconds(call, clock=time.thread_time):
    start = clock()
    call()
    return clock() - start


# --- the peak


def _multiply_add_loop():
    """Return a loop of only multiply-adds on registers, and its tile's rows and span."""
    tile = Tile(Vector(types.float32, LANES[types.float32]), *tile_shape(8))
    rows, span = tile.rows, tile.vectors * tile.vector.lanes

    @njit(error_model="numpy", nogil=True)
    def loop(scalars, vectors, out, n):
        sums = tile_zero(tile)
        for _ in range(n):  # nothing is stored here, so the operands stay in registers, too
            sums = tile_outer(sums, scalars, 0, 1, vectors, 0, 0)
        tile_store(sums, out, 0, span, rows)

    return loop, rows, span


class _Peak:
    """The highest rate of one core so far, in operations per second; a multiply-add is two."""

    def __init__(self):
        self.rate = 0.0
        self._calls = None

    def measure(self):
        """Measure again, and keep the highest rate."""
        if self._calls is None:
            self._calls = self._make_calls()
            for call, _ in self._calls:
                call()
        for call, work in self._calls:
            self.rate = max(self.rate, work / min(_seconds(call) for _ in range(10)))

    def together(self):
        """Return what share of the highest rate each of two threads reaches at the same time.

        Virtual processors may share a core, or have other work to do.
        """
        self.measure()
        call, work = self._calls[0]
        with ThreadPoolExecutor(2) as threads:
            rates = threads.map(lambda _: work / _seconds(call, time.perf_counter), range(2))
            return min(rates) / self.rate

    @staticmethod
    def _make_calls():
        """Return the loop and the dense kernel, each with its number of operations per call."""
        loop, rows, span = _multiply_add_loop()
        n = 200_000
        arrays = [aligned(4 * length).view(np.float32) for length in (rows, span, rows * span)]
        for array in arrays:
            array[:] = 1e-3

        def run():
            loop(*(array.ctypes.data for array in arrays), n)

        _, dense, _ = next(kernels.cases(np.float32))
        times, samples = 4, kernels.BLOCKS * WIDTH
        return [
            (run, 2 * n * rows * span),
            (partial(dense, times), 2 * kernels.INPUTS * kernels.UNITS * samples * times),
        ]


peak = _Peak()


# --- the kernels


def multiply_adds_inside(numbers):
    """Count the multiply-adds of one sample that lie inside the image, given a convolution's
    attributes as the table of operations names them.
    """
    inside = []
    for side, before in ("height", "top"), ("width", "left"):
        places = np.arange(numbers[f"out_{side}"])[:, None] * numbers[f"stride_{side}"]
        taps = np.arange(numbers[f"kernel_{side}"]) * numbers[f"dilation_{side}"]
        seen = places - numbers[before] + taps
        inside.append(int(((seen >= 0) & (seen < numbers[side])).sum()))
    return inside[0] * inside[1] * numbers["channels"] * numbers["filters"] // numbers["groups"]
