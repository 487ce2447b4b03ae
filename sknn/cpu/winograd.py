"""Which convolutions are computed by Winograd's algorithm, and what a tape then consists of.

It applies to windows of 3x3 that are one pixel apart, without gaps and groups. Whether it pays is
decided by the shape alone, so that the results for a row depend neither on what is computed at the
same time nor on the number of threads.
"""

import os
from copy import copy
from dataclasses import dataclass
from math import prod

from ..tape.packing import WIDEST, rounded
from ..tape.tape import Buffer, Phase
from .operations import SHAPE, OwnOp

#: Whether all convolutions are direct sums. It is read once, when the package is imported.
DIRECT = os.environ.get("SKNN_DIRECT_CONVOLUTIONS", "") not in ("", "0")

_SHAPE = SHAPE.split()
#: What other numbers of a convolution have to be.
DIRECT_SUMS = {"kernel_height": 3, "kernel_width": 3, "groups": 1} | {
    f"{what}_{axis}": 1 for what in ("stride", "dilation") for axis in ("height", "width")
}
_PLACES = 16
_L2_BYTES = 2**20
#: Bytes of transformed weights that some cache keeps.
_MOST_KEPT = 2**23
#: Bytes of the transformed inputs of the squares that are computed one after the other: a part of
#: the L2 cache.
_CHUNK_BYTES = 2**18
#: The same for a single sample, where more squares share what is read of large kernels.
_CHUNK_BYTES_OF_ONE = 2**20


@dataclass(frozen=True)
class Shape:
    """A convolution from an image to another."""

    height: int
    width: int
    channels: int
    filters: int
    top: int
    left: int
    out_height: int
    out_width: int

    @property
    def squares(self):
        return -(-self.out_height // 2) * -(-self.out_width // 2)

    def turned(self):
        """Return the convolution with the kernel transposed and turned, which is the transpose."""
        return Shape(
            self.out_height, self.out_width, self.filters, self.channels, 2 - self.top,
            2 - self.left, self.height, self.width,
        )  # fmt: skip

    def numbers(self):
        return tuple(getattr(self, name) for name in _SHAPE)

    def taps(self):
        """Count the weights that all outputs are computed with, those inside of the image."""
        return prod(
            sum(0 <= place + k - before < n for place in range(outs) for k in range(3))
            for n, before, outs in (
                (self.height, self.top, self.out_height), (self.width, self.left, self.out_width)
            )
        )  # fmt: skip

    def is_larger_than_sums(self):
        """Return whether a block's images have more numbers than the kernel's transformed sums."""
        pixels = self.height * self.width * self.channels
        pixels += self.out_height * self.out_width * self.filters
        return pixels * WIDEST > _PLACES * self.channels * self.filters

    def pays(self, least=0.9):
        """Return whether Winograd's algorithm takes less than `least` of the time of direct sums.

        Times are in multiply-adds of a sample: those of the products, with 1/16 more for what lies
        between them; the transforms, which mostly move numbers; and the transformed weights of a
        step with a single sample, which are written to memory and read if there are many.
        """
        weights = self.channels * self.filters
        kept = _PLACES * weights * 4 <= _MOST_KEPT
        each = 17 * weights + 170 * self.channels + 100 * self.filters
        time = self.squares * each + weights * (64 if kept else 1800)
        return time < least * self.taps() * weights


def _group(filters):
    """Return how many filters a register tile computes at once."""
    # a vector is loaded for all of them, and a weight for each
    return min((16, 24, 8), key=lambda group: -(-filters // group) * (group + 2))


def _shape_of(op):
    """Return the shape of the convolution that an operation belongs to, None if it can't be."""
    numbers = dict(zip(op.row.attributes, op.attributes))
    if "kernel_height" not in numbers or op.name == "kernel_gradient_narrow":
        return None
    if any(numbers[name] != value for name, value in DIRECT_SUMS.items()):
        return None
    return Shape(**{name: numbers[name] for name in _SHAPE})


def applied(tape, dtype, parts=1):
    """Return a tape with those convolutions replaced for which it pays, or the tape itself."""
    return tape if DIRECT else _Rewriting(tape, dtype, parts).tape


class _Rewriting:
    def __init__(self, tape, dtype, parts):
        self._old, self._itemsize, self._parts = tape, dtype.itemsize, parts
        self._forward, self._transformed, self._new = set(), {}, copy(tape)
        self._new.buffers, self._new.phases = list(tape.buffers), []
        for phase in tape.phases:
            ops = phase.ops
            if phase.kind == "blocks":
                ops = [self._convolution(op) for op in ops]
            elif phase.kind == "parameters":
                ops = [(w, self._gradient(w, chain)) for w, chain in ops]
            self._new.phases.append(Phase(phase.kind, ops))
        if self._transformed:
            first = [self._weights(w, u) for w, u in self._transformed.items()]
            self._new.phases.insert(0, Phase("units", first))
        changed = len(self._new.buffers) > len(tape.buffers)
        self.tape = self._new if changed else tape

    def _buffer(self, name, elements, shared=False):
        rows = elements if shared else -(-elements // self._old.width)
        self._new.buffers.append(Buffer(f"{name}{len(self._new.buffers)}", rows, shared))
        return self._new.buffers[-1]

    def _weights(self, w, u):
        channels, filters = w.shape[2:]
        group = _group(filters)
        extent = channels * -(-filters // group)
        return OwnOp("winograd_weights", (w,), (u,), (channels, filters), (group, w.pack), extent)

    def _convolution(self, op):
        shape = _shape_of(op)
        if shape is None:
            return op
        turned = op.name == "convolution_input_gradient"
        w, biased = op.reads[1], op.name == "convolution"
        if turned and (w not in self._forward or self._old.width == 1):
            return op  # for a transposed convolution, a single sample needs another transform
        self._forward.add(w)
        shape = shape.turned() if turned else shape
        if not shape.pays():
            return op
        group = _group(w.shape[3])
        if w not in self._transformed:
            elements = _PLACES * w.shape[2] * rounded(w.shape[3], group)
            # a register tile reads past the last row, without using it: rows of a group each
            elements += group * WIDEST
            self._transformed[w] = self._buffer("u", elements, shared=True)
        chunk, elements = self._memory(shape)
        memory = self._buffer("memory", elements)
        lines = -(-shape.out_height // 2)
        numbers = (*shape.numbers(), biased, chunk, 0, lines)
        reads = op.reads[0], self._transformed[w], op.reads[2] if biased else w
        variant = (_group(shape.filters), group, turned)
        return OwnOp("winograd", reads, (op.writes[0], memory), numbers, variant)

    def _memory(self, shape):
        """Return how many squares to transform at a time, and the elements of memory for them.

        There, a square of several samples is one vector of them.
        """
        width = self._old.width
        if width == 1:
            pixel = rounded(shape.channels, WIDEST)
            chunk = max(8, _CHUNK_BYTES_OF_ONE // (_PLACES * pixel * self._itemsize))
            chunk = min(rounded(shape.squares, 8), chunk)
            return chunk, self._parts * (pixel + (chunk + 8) * _PLACES * (pixel + WIDEST))
        inputs = _PLACES * (shape.channels + 1) * WIDEST // 2
        weights = _PLACES * shape.channels * shape.filters
        chunk = 1 if weights * self._itemsize <= _L2_BYTES // 2 else 2
        return chunk, shape.channels * width + chunk * inputs + _PLACES * 25 * WIDEST

    def _gradient(self, w, chain):
        op = chain[0] if chain else None
        if op is None or op.name != "kernel_gradient" or self._old.width == 1:
            return chain
        shape = _shape_of(op)
        # direct sums are slower here; but the sums of a block should not need more than its images
        if shape is None or not shape.pays(1.0) or not shape.is_larger_than_sums():
            return chain
        rows, pack = op.variant
        width = self._old.width
        pixel, others = shape.channels * width, rounded(shape.filters, pack) * width
        chunk = max(1, _CHUNK_BYTES // (_PLACES * pixel * self._itemsize))
        chunk = min(shape.squares, chunk)
        elements = max(pixel, others) + chunk * _PLACES * (pixel + others + 2 * WIDEST)
        sums = self._buffer("sums", w.elements // 9 * _PLACES)
        memory = self._buffer("memory", elements)
        numbers = (*shape.numbers(), chunk)
        products = OwnOp("winograd_products", op.reads, (sums, memory), numbers, (rows, pack))
        if self._new.phases[-1].kind != "blocks":
            self._new.phases.append(Phase("blocks"))
        self._new.phases[-1].ops.append(products)
        gradient = OwnOp("winograd_kernel_gradient", (sums,), (), (shape.channels,), (pack,))
        return [gradient, *chain[1:]]
