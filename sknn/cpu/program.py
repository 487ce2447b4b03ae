"""A tape made ready to run: kernels are compiled, operands are offsets, gradients are sliced.

A :class:`Program` contains offsets only, so it is made once for a network, a block width and a type
of data, and shared by any number of simultaneous fits.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from ..store.notices import compiling
from ..tape import wall
from ..tape.packing import ALIGN, SPARE_ROWS, WIDEST, Layout, rounded
from ..tape.placement import Placement
from ..tape.sources import X, Y
from ..tape.tape import Parameter
from . import cache, winograd
from .cache import compiled
from .fusion import fused
from .kernels import frame as f
from .kernels import run as header
from .kernels.frame import KERNELS, OPERANDS, Target, numbers_of, real_type
from .packing import lanes_of
from .team import is_nested

#: Elements of a slice of a gradient: few enough to stay in the L1 cache and to have several slices
#: per thread, but enough that the overhead of calls is negligible.
_SLICE = 2048, 4096
#: The maximum if an element is a sum over many positions, which are read again for every slice.
_SLICE_OF_POSITIONS = 16384
#: The maximum if an element is a sum over the rows of many members, which each slice reads: few of
#: them, of half the L2 cache, read less.
_SLICE_OF_MEMBERS = 2**17
#: Operations that leave sums, of each piece of a parameter.
_SUMMED = "regularize", "regularized_update", "square_sum"
_UPDATES = "update", "regularized_update"
_FIELDS = {X: f.X, Y: f.Y}
#: Approximate time to compile a kernel: that of a first fit divided by the number of kernels that
#: it trains with. It includes the kernels for single rows, which are compiled at the end.
_SECONDS_A_KERNEL = 0.1

#: Kernels by their keys, compiled or loaded; kept, since programs know their addresses.
_kernels = {}


def key_of(name, dtype, width=0, variant=()):
    """Return the key of a kernel; variants that differ only in numbers it reads share one."""
    read = numbers_of(name, width)
    fixed = tuple(0 if i in read else value for i, value in enumerate(variant))
    return name, np.dtype(dtype).name, width, fixed


#: The loop, which every program needs.
LOOP = key_of("run", np.float64)


def _rewritten(tape, dtype, parts=1):
    """Return a tape of the operations that the CPU runs."""
    return fused(winograd.applied(tape, np.dtype(dtype), parts), dtype)


def keys_of(tape, dtype):
    """Return the keys of the kernels that a tape needs, and of the loop."""
    ops = [op for phase in _rewritten(tape, dtype).phases for op in phase.all_ops()]
    return [*dict.fromkeys(key_of(op.name, dtype, tape.width, op.variant) for op in ops), LOOP]


def _file_name(key):
    name, dtype, width, variant = key
    return "-".join(map(str, [name, dtype, width, *variant])).replace(" ", "")


def missing(keys):
    """Return the kernels that neither this process nor the disk has, and their folder."""
    new = {_file_name(key): key for key in keys if key not in _kernels}
    names, folder = cache.missing(list(new)) if new else ((), None)
    return [new[name] for name in names], folder


def kernels(keys):
    """Return kernels, compiled or loaded; log it first if some must be compiled."""
    wanted, folder = missing(keys)
    if wanted:
        n, seconds = len(wanted), max(1, round(len(wanted) * _SECONDS_A_KERNEL))
        compiling(f"{n} kernel{'s' * (n > 1)}, about {seconds} s", folder)
    new = {_file_name(key): key for key in keys if key not in _kernels}
    if new:
        made = compiled({name: partial(_function, *key) for name, key in new.items()})
        for name, one in made.items():
            _kernels.setdefault(new[name], one)
    return [_kernels[key] for key in keys]


def kernel(name, dtype, width=0, variant=()):
    """Return a compiled kernel, shared by variants that differ only in numbers it reads."""
    return kernels([key_of(name, dtype, width, variant)])[0]


def _function(name, dtype, width, variant):
    return KERNELS[name](Target(real_type(np.dtype(dtype)), width), *variant)


def compile_ahead(tapes, dtype):
    """Compile the kernels that tapes will need and the disk does not have, if they can be stored.

    Not in joblib workers: the best of their estimators is refitted in the parent process anyway.
    """
    if not is_nested():
        keys, folder = missing([key for tape in tapes for key in keys_of(tape, dtype)])
        if folder is not None:
            kernels(keys)


def count_compiled():
    """Return how many kernels this process has compiled, not counting those that it has loaded."""
    return sum(not kernel.cache_hits for kernel in list(_kernels.values()))


def _operand(op, name, type, value):
    """Return a number of an operation as the int64 that a kernel reads."""
    if type == "float":
        return int(np.float64(value).view(np.int64))
    if type == "source":
        return _FIELDS[value]
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{op.name}: {name} is {value}, which does not fit into 64 bits.")
    return int(value)


class Program:
    """A tape compiled for one scalar type.

    Parameters
    ----------
    tape : Tape
    dtype : dtype
        float32 or float64.
    parts : int
        The number of threads that it is made for: the number of parts that operations on a single
        sample, and gradients, are split into. It does not affect results.

    Attributes
    ----------
    tape : Tape
        The tape as it is run: operations that only this device has may stand for others.
    layout : Layout
        The memory layout of its parameters.
    placement : Placement
        The offsets of its buffers.
    scratch_bytes : int
        Size of one slice of a gradient.
    n_sums : int
        Number of sums over weights that a step computes.
    n_states : int
        Number of state arrays that a step needs.
    parts : int
    members : int
        Number of members of the network.
    keys : list
        The keys of the kernels, by operation.
    keeps_blocks : bool
        Whether later phases read buffers that blocks have written.
    """

    def __init__(self, tape, dtype, parts=1):
        self.dtype = np.dtype(dtype)
        self.width, self.members = tape.width, tape.members
        self.layout = Layout(tape.parameters, dtype)
        self.needs = wall.needs_of(tape.verify(), self.dtype, self.layout.n_bytes)
        self.tape = tape = _rewritten(tape, self.dtype, parts)
        self._addresses, self._operands = [], []
        self._phases, self._tasks = [], []
        self.placement = Placement(tape, self.dtype.itemsize)
        kinds = [phase.kind for phase in tape.phases]
        self.keeps_blocks = kinds[kinds[0] == "units" :] != ["blocks"]
        # A slice is finished before the next one starts, unless the gradient itself is the result,
        # or given, or its norm is needed first: then the whole gradient is kept.
        self.whole_gradient = any(
            all(op.name not in _UPDATES for op in chain) or chain[0].name in _SUMMED
            for phase in tape.phases
            if phase.kind == "parameters"
            for _, chain in phase.ops
        )
        self.scratch_bytes = self.n_sums = 0
        self.parts = parts
        self._trained = sum(p.elements for p in tape.parameters if p.trainable)
        self.n_states = self.needs.states
        self.row_seconds = np.inf  # time per row, as measured in runs on one thread
        for phase in tape.phases:
            if phase.kind == "blocks" and tape.width == 1 and parts > 1:
                self._add_parts(phase, parts)
            else:
                self._add_phase(phase)
        self._kernel_arrays()

    def rows_within(self, n_bytes, least=1):
        """Return how many rows a step may have for its blocks to take at most `n_bytes`.

        There are at least `least` blocks.
        """
        return max(least, n_bytes // self.placement.block_bytes) * self.width

    def _offset(self, operand):
        if isinstance(operand, Parameter):
            return self.layout.offsets[operand]
        return self.placement.of(operand)

    def _add_op(self, op, before=(), after=(), shifts=()):
        values = [*before, *(self._offset(o) for o in (*op.reads, *op.writes))]
        for i, shift in enumerate(shifts):
            values[i] += shift
        for name, type, value in zip(op.row.attributes, op.row.types, op.attributes, strict=True):
            values.append(_operand(op, name, type, value))
        values += after
        values = values + [0] * (OPERANDS - len(values))
        for i in numbers_of(op.name, self.width):
            values[i - len(op.variant)] = int(op.variant[i])
        self._operands.append(values)
        self._addresses.append((op.name, op.variant))

    def _add_phase(self, phase):
        if phase.kind == "blocks":
            first = len(self._addresses)
            for op in phase.ops:
                self._add_op(op)
            self._phases.append((header.BLOCKS, first, len(self._addresses)))
            return
        first = len(self._tasks)
        if phase.kind == "units":
            for op in phase.ops:
                step = max(4, min(16, op.extent // 8))
                for unit in range(0, op.extent, step):
                    self._add_op(op, after=[unit, min(unit + step, op.extent)])
                    self._tasks.append((len(self._addresses) - 1, len(self._addresses)))
        else:
            for parameter, chain in phase.ops:
                self._add_slices(parameter, chain)
            # the longest first: then threads end at about the same time
            self._tasks[first:] = sorted(
                self._tasks[first:], key=lambda task: self._operands[task[0]][2], reverse=True
            )
        self._phases.append((header.TASKED, first, len(self._tasks)))

    def _add_parts(self, phase, parts):
        """Split operations on a single block: each operation is a phase of its own, or none is."""
        for op in phase.ops:
            cut = split(op, parts, self.dtype.itemsize)
            first_op, first_task = len(self._addresses), len(self._tasks)
            for part, shifts in cut:
                self._add_op(part, shifts=shifts)
                self._tasks.append((len(self._addresses) - 1, len(self._addresses)))
            if len(cut) > 1:
                self._phases.append((header.TASKED, first_task, len(self._tasks)))
                continue
            self._tasks.pop()
            if self._phases and self._phases[-1][0] == header.BLOCKS:
                first_op = self._phases.pop()[1]
            self._phases.append((header.BLOCKS, first_op, len(self._addresses)))

    def _add_slices(self, parameter, chain):
        """Split a parameter into slices of whole rows of one pack; each is a task."""
        size, pack = self.dtype.itemsize, parameter.pack
        base = self.layout.offsets[parameter]
        slices, grain = self._cut(parameter, chain[0])
        for pieces in slices:
            begin, rows = len(self._addresses), pieces[0][1] - pieces[0][0]
            length, each = rows * pack, rows * pack if grain is None else grain * pack
            firsts = [base + start * pack * size for start, _ in pieces]
            places = firsts
            if not self.whole_gradient:
                places = [i * length * size for i in range(len(pieces))]
            # a register tile reads past the last row, without using it
            n_bytes = (len(pieces) * length + SPARE_ROWS * WIDEST) * size
            self.scratch_bytes = max(self.scratch_bytes, rounded(n_bytes, ALIGN))
            for op in chain:
                if op.name == "weight_gradient":  # of all pieces together
                    apart = places[-1] - places[0] or parameter.inputs * pack * size
                    before = [firsts[0], places[0], len(pieces) * length, base]
                    self._add_op(op, before, [pack, min(rows, parameter.inputs), apart])
                    continue
                for i, (first, place) in enumerate(zip(firsts, places, strict=True)):
                    number = self.n_sums + i * -(-length // each)
                    sums = (number, each) if op.name in _SUMMED else ()
                    self._add_op(op, [first, place, length, base], sums)
            self._tasks.append((begin, len(self._addresses)))
            if any(op.name in _SUMMED for op in chain):
                self.n_sums += len(pieces) * -(-length // each)

    def _cut(self, parameter, gradient):
        """Return the pieces of each slice, from a row to another, and the rows of each sum.

        Sums of penalties and of squares must not depend on the number of threads. Where slices
        do, they consist of whole grains, and each sum is over a grain; else (None) over a piece.
        """
        rows, inputs, begin = parameter.elements // parameter.pack, parameter.inputs, 0
        if gradient.name == "weight_gradient_narrow":  # of the last pack only
            begin = rows - inputs
        elif gradient.extent:  # of the others
            rows = gradient.extent * inputs
        if gradient.work > 1:
            grain = gradient.grain
            slices = self.parts * -(-parameter.elements // (self.parts * _SLICE_OF_POSITIONS))
            step = rounded(-(-rows // slices), grain)
            return [[(row, min(row + step, rows))] for row in range(0, rows, step)], grain
        most = max(1, int(np.clip(self._trained // 16, *_SLICE)) // parameter.pack)
        # packs of one vector: the gradients of two of them are computed together
        several = gradient.name == "weight_gradient" and parameter.pack == lanes_of(self.dtype)
        side = inputs * (2 if several else 1)
        shared = self.members > 1 and gradient.name == "weight_gradient"
        if shared and side * parameter.pack <= _SLICE_OF_MEMBERS:
            elements = min(_SLICE_OF_MEMBERS, parameter.elements // (2 * self.parts))
            step = max(1, most // side, elements // (side * parameter.pack)) * side
            return [[(row, min(row + step, rows))] for row in range(begin, rows, step)], inputs
        if side > most:  # parts of some packs, of the same length
            parts = -(-side // most)
            step = rounded(-(-inputs // parts), gradient.grain)
            return [
                [
                    (row + k, row + min(k + step, inputs))
                    for row in range(first, min(first + side, rows), inputs)
                ]
                for first in range(begin, rows, side)
                for k in range(0, inputs, step)
            ], None
        step = most // side * side  # some whole packs
        return [[(row, min(row + step, rows))] for row in range(begin, rows, step)], None

    def _kernel_arrays(self):
        self.keys = [key_of(name, self.dtype, self.width, op) for name, op in self._addresses]
        self._compiled = kernels([*self.keys, LOOP])[:-1]
        self.addresses = np.array([k.address for k in self._compiled], np.int64)
        self.operands = np.array(self._operands, np.int64).reshape(-1, OPERANDS)
        self.phases = np.array(self._phases, np.int64)
        self.tasks = np.array(self._tasks, np.int64)
        del self._operands, self._addresses, self._phases, self._tasks


def split(op, parts, itemsize):
    """Split an operation on one sample into parts: by rows, units, elements or positions.

    Return the operations and by how many bytes their operands are shifted; an operation that
    cannot be split is returned as it is.
    """
    row, names = op.row, op.row.attributes
    numbers = dict(zip(names, op.attributes))
    operands = row.reads + row.writes
    if "last" in names:
        axis, extent, grain, steps = None, numbers["last"], 1, {}
    elif op.name in ("dense", "dense_unbiased") and numbers["positions"] > 1:
        axis, extent, grain = "positions", numbers["positions"], 8
        steps = {"x": numbers["inputs"], "z": numbers["units"]}
    elif op.name in ("dense", "dense_unbiased"):
        axis, extent, grain = "units", numbers["units"], op.variant[1]
        steps = {"w": numbers["inputs"], "b": 1, "z": 1}
    elif op.name in ("activation", "add"):
        axis, extent, grain = "elements", numbers["elements"], 1024
        steps = dict.fromkeys(("x", "a", "b", "y"), 1)
    elif op.name == "normalize_running":
        axis, extent, grain = "positions", numbers["positions"], 1
        steps = dict.fromkeys(("x", "y"), numbers["channels"])
    else:
        return [(op, ())]
    size = rounded(-(-extent // parts), grain)
    cut = []
    # each part works in a memory of its own
    memories = [m.rows // parts for m, name in zip(op.writes, row.writes) if name == "memory"]
    for i, start in enumerate(range(0, extent, size)):
        stop = min(start + size, extent)
        if axis is None:
            part = {**numbers, "first": start, "last": stop}
        else:
            part = {**numbers, axis: stop - start}
        shifts = [start * steps.get(operand, 0) * itemsize for operand in operands]
        shifts[len(shifts) - len(memories) :] = [i * rows * itemsize for rows in memories]
        cut.append((replace(op, attributes=tuple(part.values())), shifts))
    return cut
