"""A tape made ready to run: kernels compiled, buffers placed, slices cut; and its running.

A :class:`Program` holds offsets only, so it is made once for a network, a block width and a kind of
data, and shared by any number of fits at once. A :class:`Session` binds it to arrays.
"""

import ctypes
import os
import threading
import time
from dataclasses import replace
from functools import cache

import joblib
import numpy as np

from ..tape import Buffer, Parameter
from . import frame as f
from . import run as header
from . import wall
from .cache import compile_function
from .frame import KERNELS, OPERANDS, Target, numbers_of, real_type
from .memory import ALIGN, aligned, scratch
from .simd import LANES
from .team import BARRIER_BYTES, SPINS, Team

_SPARE_ROWS = 16  # a register tile may read that many rows beyond the last one, and not use them
#: Elements of a slice of a gradient: few enough to stay in the first-level cache, and for there to
#: be some slices for each thread, but not so few that the calls would count.
_SLICE = 1024, 4096
#: The most where an element is a sum over many positions, which are read again for every slice.
_SLICE_OF_POSITIONS = 16384
#: How many sessions lie idle, of all programs, and the most memory for a block that one may keep.
_MOST_IDLE, _MOST_IDLE_BYTES = 16, 2**22
_idle, _idle_lock = [], threading.Lock()
#: Seconds of work for which Python's lock is worth giving away: to get it back, where other threads
#: want it, takes longer than less work does.
_WORTH_A_SWITCH = 1e-4
_POINTER = ctypes.POINTER(ctypes.c_int64)
_FLOATS = {
    "parameter", "scale", "epsilon", "momentum", "limit", "l1", "l2", "a", "b", "decay",
    "deviation", "alpha", "beta", "k", "value", "slope", "least", "most", "strength",
}  # fmt: skip


def lanes_of(dtype):
    """Return the lanes of a vector of `dtype`."""
    return LANES[real_type(np.dtype(dtype))]


@cache
def _compiled(name, dtype, width, variant):
    """Return the kernel `name`, compiled or loaded; kept, since programs know its address."""
    function = KERNELS[name](Target(real_type(np.dtype(dtype)), width), *variant)
    parts = [name, np.dtype(dtype).name, width, *variant]
    return compile_function(function, "-".join(map(str, parts)).replace(" ", ""))


def kernel(name, dtype, width=0, variant=()):
    """Return a compiled kernel, which is shared by variants that differ by what it reads."""
    read = numbers_of(name, width)
    fixed = tuple(0 if i in read else value for i, value in enumerate(variant))
    return _compiled(name, np.dtype(dtype).str, width, fixed)


def _round(value, multiple):
    return -(-value // multiple) * multiple


def _operand(op, name, value):
    """Return a number of an operation as the int64 that a kernel reads."""
    if name in _FLOATS:
        return int(np.float64(value).view(np.int64))
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{op.name}: {name} is {value}, which 64 bits do not hold.")
    return int(value)


def parameter_offsets(parameters, itemsize):
    """Return the byte offset of each parameter, and the bytes of all, with slack at the end.

    The slack is what a register tile may read beyond the last row of the last one.
    """
    offsets, end = {}, 0
    for parameter in parameters:
        offsets[parameter] = end
        end += _round(parameter.elements * itemsize, ALIGN)
    return offsets, end + _SPARE_ROWS * 32 * itemsize


class Layout:
    """Where the parameters of a network lie, in each of its programs for one scalar type."""

    def __init__(self, parameters, dtype):
        self.parameters = parameters
        self.offsets, self.parameter_bytes = parameter_offsets(parameters, np.dtype(dtype).itemsize)


class Program:
    """What a tape becomes for one scalar type.

    Parameters
    ----------
    tape : Tape
    dtype : dtype
        float32 or float64.
    parts : int
        The threads that it is made for: in how many parts to cut operations on a single sample,
        and gradients. It changes no result.

    Attributes
    ----------
    parameter_bytes, shared_bytes, workspace_bytes, scratch_bytes : int
        Sizes of the arenas: parameters, what a batch shares, one block, one slice of a gradient.
    n_sums : int
        Sums over weights that a step leaves.
    n_states : int
        How many state arrays a step needs.
    parts : int
    keeps_blocks : bool
        Whether later phases read what blocks have left.
    """

    def __init__(self, tape, dtype, parts=1):
        self.dtype = np.dtype(dtype)
        self.width = tape.width
        self._tape = tape.verify()
        self._addresses, self._operands = [], []
        self._phases, self._tasks = [], []
        self.parameters = tape.parameters
        self.offsets, self.parameter_bytes = parameter_offsets(
            tape.parameters, self.dtype.itemsize
        )
        self._place_buffers()
        kinds = [phase.kind for phase in tape.phases]
        self.keeps_blocks = kinds != ["blocks"]
        # A slice is finished before the next begins, unless the gradient is asked for itself, or
        # its norm is needed first: then it is kept whole.
        self.whole_gradient = any(
            all(op.name != "update" for op in chain)
            for phase in tape.phases
            if phase.kind == "parameters"
            for _, chain in phase.ops
        )
        self.scratch_bytes = self.n_sums = 0
        self.parts = parts
        self._trained = sum(p.elements for p in tape.parameters if p.trainable)
        self.needs = wall.needs_of(tape, self.dtype, self.parameter_bytes)
        self.n_states = self.needs.states
        self.row_seconds = np.inf  # what a row takes, as far as runs on one thread have shown
        for phase in tape.phases:
            if phase.kind == "blocks" and tape.width == 1 and parts > 1:
                self._add_parts(phase, parts)
            else:
                self._add_phase(phase)
        self._kernel_arrays()

    def borrow(self, most_rows, team):
        """Return a session for predicting; if one of a single thread lies idle, that one."""
        if team.size == 1 and _idle_lock.acquire(blocking=False):
            try:
                for i, session in enumerate(_idle):
                    if session.program is self and session.most_rows >= most_rows:
                        return _idle.pop(i)
            finally:
                _idle_lock.release()
        return Session(self, most_rows, team)

    def give_back(self, session):
        """Keep a session of one thread for the next prediction, unless it holds much memory."""
        n_bytes = self.workspace_bytes + (self.parameter_bytes if session.has_own_parameters else 0)
        if session.threads != 1 or n_bytes > _MOST_IDLE_BYTES:
            return
        session.release()
        if _idle_lock.acquire(blocking=False):
            try:
                _idle.append(session)
                del _idle[:-_MOST_IDLE]
            finally:
                _idle_lock.release()

    def _place_buffers(self):
        """Give every buffer of a block its place; those not alive together may share one."""
        uses = {}
        order = [op for phase in self._tape.phases for op in phase.all_ops()]
        for i, op in enumerate(order):
            for operand in (*op.reads, *op.writes):
                if isinstance(operand, Buffer):
                    uses.setdefault(operand.whole, [i, i])[1] = i
        self.buffers, placed = {}, []
        shared = 0
        for buffer, (first, last) in sorted(uses.items(), key=lambda item: item[1][0]):
            if buffer.shared:
                self.buffers[buffer] = shared
                shared += _round(_round(buffer.rows, 32) * self.dtype.itemsize, ALIGN)
                continue
            size = self._buffer_bytes(buffer)
            alive = sorted((o, s) for o, s, end in placed if end >= first)
            offset = 0
            for start, length in alive:
                if start - offset >= size:
                    break
                offset = max(offset, start + length)
            self.buffers[buffer] = offset
            placed.append((offset, size, last))
        self.shared_bytes = shared or ALIGN
        spare = _round(_SPARE_ROWS * self.width * self.dtype.itemsize, ALIGN)
        self.workspace_bytes = max((o + s for o, s, _ in placed), default=0) + spare

    def _buffer_bytes(self, buffer):
        # Whole packs of rows, and one spare: kernels go over units by vectors, and the loss keeps
        # the targets' probabilities behind the gradient.
        rows = _round(buffer.rows + 1, 32)
        return _round(max(rows * self.width * self.dtype.itemsize, 8 * self.width), ALIGN)

    def _offset(self, operand):
        if isinstance(operand, Parameter):
            return self.offsets[operand]
        return self.buffers[operand.whole] + operand.first * self.width * self.dtype.itemsize

    def _add_op(self, op, before=(), after=(), shifts=()):
        values = [*before, *(self._offset(o) for o in (*op.reads, *op.writes))]
        for i, shift in enumerate(shifts):
            values[i] += shift
        for name, value in zip(op.row.attributes, op.attributes, strict=True):
            values.append(_operand(op, name, value))
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
        self._phases.append((header.TASKED, first, len(self._tasks)))

    def _add_parts(self, phase, parts):
        """Cut what is done to the one block: each operation is a phase of its own, or none is."""
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
        """Cut a parameter into slices of whole rows of one pack; each is a task."""
        size, pack = self.dtype.itemsize, parameter.pack
        base = self.offsets[parameter]
        starts, grain = self._cut(parameter, chain[0])
        for start, end in starts:
            first = base + start * pack * size
            length = (end - start) * pack
            each = length if grain is None else grain * pack
            place = first if self.whole_gradient else 0
            # a register tile reads, and does not use, what lies behind the last row
            spare = _SPARE_ROWS * 32 * size
            self.scratch_bytes = max(self.scratch_bytes, _round(length * size + spare, ALIGN))
            for op in chain:
                sums = [self.n_sums, each] if op.name in ("regularize", "square_sum") else []
                self._add_op(op, before=[first, place, length, base], after=sums)
            self._tasks.append((len(self._addresses) - len(chain), len(self._addresses)))
            if any(op.name == "regularize" for op in chain):
                self.n_sums += -(-length // each)

    def _cut(self, parameter, gradient):
        """Return where slices begin and end, in rows, and of how many rows each sum is.

        Sums of penalties and of squares must not depend on the number of threads. Where slices
        do, they are of whole grains, and so are the sums; else (None) of whole slices.
        """
        rows, inputs = parameter.elements // parameter.pack, parameter.inputs
        if gradient.work > 1:
            grain = gradient.grain
            slices = self.parts * -(-parameter.elements // (self.parts * _SLICE_OF_POSITIONS))
            step = _round(-(-rows // slices), grain)
            return [(row, min(row + step, rows)) for row in range(0, rows, step)], grain
        most = max(1, int(np.clip(self._trained // 16, *_SLICE)) // parameter.pack)
        if inputs > most:  # parts of one pack, of the same length
            parts = -(-inputs // most)
            step = _round(-(-inputs // parts), gradient.grain)
            return [
                (pack + k, pack + min(k + step, inputs))
                for pack in range(0, rows, inputs)
                for k in range(0, inputs, step)
            ], None
        step = most // inputs * inputs  # some whole packs
        return [(row, min(row + step, rows)) for row in range(0, rows, step)], None

    def _kernel_arrays(self):
        self._compiled = [
            kernel(name, self.dtype, self.width, variant) for name, variant in self._addresses
        ]
        self.addresses = np.array([k.address for k in self._compiled], np.int64)
        self.operands = np.array(self._operands, np.int64).reshape(-1, OPERANDS)
        self.phases = np.array(self._phases, np.int64)
        self.tasks = np.array(self._tasks, np.int64)
        del self._operands, self._addresses, self._phases, self._tasks


def split(op, parts, itemsize):
    """Cut an operation on one sample into parts: of its rows, units, elements or positions.

    Return operations and by how many bytes their operands lie further on; where an operation
    cannot be cut, itself.
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
    size = _round(-(-extent // parts), grain)
    cut = []
    for start in range(0, extent, size):
        stop = min(start + size, extent)
        if axis is None:
            part = {**numbers, "first": start, "last": stop}
        else:
            part = {**numbers, axis: stop - start}
        shifts = [start * steps.get(operand, 0) * itemsize for operand in operands]
        cut.append((replace(op, attributes=tuple(part.values())), shifts))
    return cut


def _address(array):
    return 0 if array is None else array.ctypes.data


class Session:
    """A program with the memory that running it takes.

    Parameters
    ----------
    program : Program
    most_rows : int
        The largest number of rows in a step.
    team : Team
    gradient : ndarray or None
        Where the gradient goes, for a program that keeps it whole.
    """

    def __init__(self, program, most_rows, team, gradient=None):
        self.program = program
        self.most_rows = most_rows
        self._team, self.threads = team, team.size
        if program.parts > 1 and program.width == 1 and most_rows > 1:
            raise ValueError("A program that cuts operations on a sample takes one at a time.")
        blocks = -(-most_rows // program.width)
        slots = blocks if program.keeps_blocks else min(blocks, team.size)
        dtype, slice_bytes = program.dtype, program.scratch_bytes
        if gradient is not None:
            wall.check_piece("gradient", gradient, dtype, program.parameter_bytes, writes=True)
        if program.whole_gradient:
            slice_bytes = 0
            if gradient is None:
                gradient = scratch(program.parameter_bytes, dtype)
        if gradient is None:
            gradient = scratch(slice_bytes * team.size, dtype)
        self._gradient = gradient
        self._workspace = scratch(program.workspace_bytes * slots, dtype)
        self._shared = scratch(program.shared_bytes, dtype)
        self._sync = aligned(BARRIER_BYTES)
        self._losses = np.zeros(2 * blocks)
        self._divergences = np.zeros(2 * blocks)
        self._sums = np.zeros(4 * max(1, program.n_sums))
        self._result = np.zeros(3)
        # One row a thread, on cache lines of its own: each has its own place in the batch.
        self._frames = aligned(team.size * 512).view(np.int64).reshape(team.size, 64)
        self._frame = np.zeros(f.N_FIELDS, np.int64)
        self._header = np.zeros(header.N_HEADER, np.int64)
        self._set(
            self._frame,
            {
                f.GRADIENT: _address(self._gradient),
                f.SHARED: _address(self._shared),
                f.WORKSPACE: _address(self._workspace),
                f.WORKSPACE_STRIDE: program.workspace_bytes,
                f.N_SUMS: program.n_sums,
            },
        )
        self._set(
            self._header,
            {
                header.SIZE: team.size,
                header.SYNC: _address(self._sync),
                header.PHASES: _address(program.phases),
                header.N_PHASES: len(program.phases),
                header.TASKS: _address(program.tasks),
                header.ADDRESSES: _address(program.addresses),
                header.OPERATIONS: _address(program.operands),
                header.WIDTH: program.width,
                header.SLOT_PER_BLOCK: program.keeps_blocks,
                header.SCRATCH_BYTES: slice_bytes,
                header.STEP_LOSSES: _address(self._losses),
                header.STEP_DIVERGENCES: _address(self._divergences),
                header.MOST_BLOCKS: blocks,
                header.STEP_SUMS: _address(self._sums),
                header.RESULT: _address(self._result),
                header.SPINS: SPINS if team.size <= _cores() else 0,
            },
        )
        self._run, self._run_and_hold = _loop()
        self._pointers = [frame.ctypes.data_as(_POINTER) for frame in self._frames]
        self._header_pointer = self._header.ctypes.data_as(_POINTER)
        self._steps_per_call = 1
        self._bound, self._positions, self._own = {}, 0, None
        self.data_loss = self.divergence = 0.0

    @staticmethod
    def _set(array, fields):
        for field, value in fields.items():
            array[field] = value

    def bind(
        self, parameters, source, targets=None, weights=None, rows=None, out=None, states=None,
        seed=0, lengths=None, resets=None, carry=None,
    ):  # fmt: skip
        """Say what the next runs read and write. The arrays are kept alive here.

        Parameters
        ----------
        parameters : ndarray
            The packed parameters; a program that ends with an update changes them.
        source, targets : :class:`~sknn.data.Source`
        weights : ndarray of float64, or None
            By row of the source.
        rows : ndarray of int64, or None
            The rows to go over, in order; None: all.
        out : ndarray, or None
            Where predictions go.
        states : ndarray, or None
            The optimizer's, a row each: as many as the program's `n_states`.
        seed : int
            Of dropout, noise and augmentation.
        lengths : ndarray of int64 of shape (n_rows, n_columns), or None
            How long sequences are, in the order of `rows`; None: as long as there is room.
        resets : ndarray of uint8, or None
            Not zero where a sequence does not go on from the one before in its stream, in the
            order of `rows`.
        carry : ndarray of shape (n_streams, network.state_size), or None
            The states that recurrent layers begin with, and where they leave theirs.
        """
        frame, needs, bound = self._frame, self.program.needs, self._bound
        self._bound, self._positions = {}, 0  # if a check fails, nothing is bound
        if parameters is not bound.get("parameters", self):
            needs.check_parameters(parameters)
            frame[f.PARAMETERS] = _address(parameters)
        if source is not bound.get("source", self):
            needs.check_source(f.X, source)
            frame[f.X : f.X + 3], frame[f.X_STORED] = source.fields, source.stored
        if targets is not bound.get("targets", self):
            needs.check_targets(targets)
            if targets is not None:
                frame[f.Y : f.Y + 3], frame[f.Y_STORED] = targets.fields, targets.stored
        if weights is not bound.get("weights", self):
            wall.check_weights(weights)
            frame[f.WEIGHT] = _address(weights)
        if states is not bound.get("states", self):
            needs.check_states(states)
            frame[f.STATE] = _address(states)
            frame[f.STATE_STRIDE] = 0 if states is None else states.strides[0]
        if carry is not bound.get("carry", self):
            needs.check_carry(carry)
            frame[f.CARRY] = _address(carry)
            frame[f.CARRY_STRIDE] = 0 if carry is None else carry.strides[0]
            frame[f.CARRY_ROWS] = 1 if carry is None else len(carry)
        n_rows = source.n_rows
        if targets is not None:
            n_rows = min(n_rows, targets.n_rows)
        if weights is not None:
            n_rows = min(n_rows, len(weights))
        self._header[header.N_ROWS] = n_rows
        # how many positions there are of what is read by position
        self._positions = min(
            n_rows if rows is None else wall.check_rows(rows),
            needs.check_out(out),
            needs.check_lengths(lengths),
            wall.check_resets(resets),
        )
        frame[f.ROWS] = _address(rows)
        frame[f.OUT] = _address(out)
        frame[f.OUT_STRIDE] = 0 if out is None else out.strides[0]
        frame[f.SEED] = seed
        frame[f.LENGTHS], frame[f.RESETS] = _address(lengths), _address(resets)
        frame[f.LENGTHS_STRIDE] = 0 if lengths is None else lengths.strides[0]
        self._bound = {
            "parameters": parameters, "source": source, "targets": targets, "weights": weights,
            "states": states, "carry": carry, "others": (rows, out, lengths, resets),
        }  # fmt: skip

    @property
    def has_own_parameters(self):
        """Whether it holds memory for parameters."""
        return self._own is not None

    def pack(self, values):
        """Return parameters packed into the session's own memory, where others were before."""
        if self._own is None:
            packed = aligned(self.program.parameter_bytes).view(self.program.dtype)
            self._own = packed, _places(self.program, packed)
        packed, places = self._own
        _fill(places, values)
        return packed

    def release(self):
        """Let go of the arrays that the session is bound to."""
        self._bound, self._positions = {}, 0

    def run(self, total, batch, rates, counted=0, accumulate=False, again=True):
        """Run all steps over `total` rows, `batch` rows a step; return the sum of their losses.

        What that sum is without the penalties of weights, and the sum of divergences, is left in
        `data_loss` and `divergence`.

        `rates` has a row for each step, of the columns that ``frame`` names RATE_*. Comes back to
        Python about every 100 ms, so that signals are served; an interrupt is raised between
        steps.

        `again` says that the caller will soon call again, as training does. Short runs then keep
        Python's lock: beside other threads each of them would wait for it longer than it takes. A
        single prediction gives it away, so that others get their turn.
        """
        if not (0 <= total <= self._positions and 1 <= batch <= self.most_rows):
            raise ValueError(
                f"A run of {total} rows, {batch} a step, is more than the session was made for: "
                f"{self._positions} rows, {self.most_rows} a step."
            )
        steps = -(-total // batch)
        if rates is not ONES or steps > 1 or self.program.needs.rates > 2:
            self.program.needs.check_rates(rates, steps)
        self._header[header.BATCH], self._header[header.TOTAL] = batch, total
        self._header[header.COUNTED] = counted
        self._header[header.STEP_RATES] = _ONES_ADDRESS if rates is ONES else _address(rates)
        self._header[header.RATE_COLUMNS] = rates.shape[1]
        self._header[header.STRAY] = 0
        self._frame[f.ACCUMULATE] = accumulate
        self._result[:] = 0.0
        step = 0
        while step < steps:
            last = min(steps, step + self._steps_per_call)
            self._header[header.FIRST], self._header[header.LAST] = step, last
            self._frames[:, : f.N_FIELDS] = self._frame
            start = time.perf_counter()
            self._call(min(last * batch, total) - step * batch, again)
            seconds = time.perf_counter() - start
            if self._header[header.STRAY]:
                raise ValueError("A row to read is not one of those that there are.")
            if seconds < 0.05 and last - step == self._steps_per_call:
                self._steps_per_call *= 2 if seconds > 0.005 else 8
            elif seconds > 0.15:
                self._steps_per_call = max(1, self._steps_per_call // 2)
            step = last
        _, self.data_loss, self.divergence = self._result
        return self._result[0]

    def _call(self, rows, again):
        """Run the steps that the header says, of so many rows in all."""
        run, head, frames = self._run, self._header_pointer, self._pointers
        if self.threads > 1:
            self._team.run(lambda rank: run(head, frames[rank], rank))
            return
        if not again:
            run(head, frames[0], 0)
            return
        expected = self.program.row_seconds
        if expected * rows < _WORTH_A_SWITCH:
            start = time.perf_counter()
            self._run_and_hold(head, frames[0], 0)
            seconds = (time.perf_counter() - start) / rows
        else:
            start = time.thread_time()  # without the wait for the lock
            run(head, frames[0], 0)
            seconds = (time.thread_time() - start) / rows
        # an average, since how much work a row is may change: sequences have lengths
        change = 0.0 if expected == np.inf else 0.75 * (expected - seconds)
        self.program.row_seconds = seconds + change


@cache
def _loop():
    """Return the loop as functions that give Python's lock away, and that keep it."""
    run = kernel("run", np.float64)
    keeping = ctypes.PYFUNCTYPE(None, _POINTER, _POINTER, ctypes.c_int64)
    return run.ctypes, keeping(run.address)


@cache
def _cores():
    return joblib.cpu_count()


def _after_fork():
    global _idle_lock
    _idle_lock = threading.Lock()  # a thread that the child does not have may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


#: The rates of a single step of prediction.
ONES = np.ones((1, 2))
ONES.flags.writeable = False
_ONES_ADDRESS = ONES.ctypes.data


class RawKernel:
    """A kernel called by itself, not from a program: an online rule.

    Attributes
    ----------
    operands : ndarray of int64
        The caller fills them in.
    n_rows : int
        Rows that there are of what it is bound to.
    """

    def __init__(self, name, dtype, variant):
        self._kernel = kernel(name, dtype, 1, variant).ctypes
        self.operands = np.zeros(OPERANDS, np.int64)
        self._frame = np.zeros(f.N_FIELDS, np.int64)

    def bind(self, source, targets, weights):
        """Say which data to read."""
        if targets.n_classes is None or targets.fields[1] != 8:
            raise ValueError("The class numbers do not lie side by side.")
        self._frame[f.X : f.X + 3] = source.fields
        self._frame[f.Y : f.Y + 3] = targets.fields
        self._frame[f.X_STORED] = source.stored
        self._frame[f.WEIGHT] = _address(weights)
        self.n_rows = min(source.n_rows, targets.n_rows, wall.check_weights(weights))
        self._bound = source, targets, weights

    def __call__(self, rows):
        """Go over `rows`, an array of row numbers."""
        rows = np.ascontiguousarray(rows, np.int64)
        self._frame[f.ROWS], self._frame[f.COUNT] = rows.ctypes.data, len(rows)
        pointers = (a.ctypes.data_as(_POINTER) for a in (self.operands, self._frame))
        self._kernel(*pointers, 0)


def pack(layout, values, dtype):
    """Return the parameters' arrays packed into one, ready for programs.

    Parameters
    ----------
    layout : Layout or Program
    values : iterable of ndarray
        In the order of ``layout.parameters``, in their documented shapes.
    """
    packed = aligned(layout.parameter_bytes).view(dtype)
    _fill(_places(layout, packed), values)
    return packed


def _places(layout, packed):
    """Return, for each parameter, the parts of the packed array that it goes to.

    Of a matrix these are the whole packs, as (inputs, packs, pack), and what is left over.
    """
    places = []
    for parameter in layout.parameters:
        start = layout.offsets[parameter] // packed.itemsize
        part = packed[start : start + parameter.elements]
        units, width = parameter.shape[-1], parameter.pack
        if len(parameter.shape) == 1:
            places.append((part[:units], None))
            continue
        view = part.reshape(-1, parameter.inputs, width)
        whole, left = divmod(units, width)
        packs = view[:whole].transpose(1, 0, 2) if whole else None
        places.append((packs, view[whole, :, :left] if left else None))
    return places


def _fill(places, values):
    """Put the parameters' values where they belong."""
    for (packs, left), value in zip(places, values, strict=True):
        if value.ndim == 1:
            packs[...] = value
            continue
        n = 0 if packs is None else packs.shape[1] * packs.shape[2]
        value = value.reshape(-1, value.shape[-1])
        if packs is not None:
            packs[...] = (value if left is None else value[:, :n]).reshape(packs.shape)
        if left is not None:
            left[...] = value[:, n:]


def unpack(layout, packed):
    """Return copies of the parameters, in their documented shapes."""
    values = []
    for parameter in layout.parameters:
        start = layout.offsets[parameter] // packed.itemsize
        part = packed[start : start + parameter.elements]
        if len(parameter.shape) == 1:
            values.append(part[: parameter.shape[0]].copy())
        else:
            inputs, units = parameter.inputs, parameter.shape[-1]
            rows = part.reshape(-1, inputs, parameter.pack).transpose(1, 0, 2)
            rows = rows.reshape(inputs, -1)[:, :units]
            values.append(rows.reshape(parameter.shape, copy=True))
    return values


__all__ = ["Layout", "Program", "RawKernel", "Session", "Team", "lanes_of", "pack", "unpack"]
