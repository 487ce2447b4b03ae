"""A tape made ready for a GPU: the table of operations, stages, tasks, and what each needs.

A :class:`Program` knows the tape; a :class:`Plan` is the table for steps of so many rows at most.
"""

from functools import cached_property

import numpy as np

from ..tape import wall
from ..tape.packing import Layout, Packing, rounded
from ..tape.placement import Placement
from ..tape.sources import X, Y
from ..tape.tape import Parameter
from .kernels import frame as f
from .kernels import run

#: Rows and columns of a task of a parameter, for wide blocks and others; of a vector, columns.
_TASK, _VECTOR = {True: (128, 128), False: (64, 32)}, 8
#: Terms of a sum over a batch that are added one after the other, and the most parts that such a
#: sum has. Neither depends on the GPU, so the bits do not.
_DEPTH, _MOST_PARTS = 2048, 64
#: Groups that an operation on a block has at most.
_MOST_GROUPS = 256
#: The width of a block whose operations are launched one by one.
WIDE = 128
#: Elements of an operation for which a launch has a group more; and elements, or multiply-adds, for
#: which a team has one more, which all others have to wait for. Estimates, as there was no GPU.
_EACH, _EACH_OF_TEAM, _PRODUCTS_OF_TEAM = 2048, 8192, 2**18
#: Gradients that are products: sums over a batch that may be made in parts.
PRODUCTS = {
    "weight_gradient", "kernel_gradient", "kernel_gradient_narrow", "grouped_dense_gradient",
}  # fmt: skip
_FIELDS = {X: f.X, Y: f.Y}
#: What kernels count up to: they divide places as numbers of 32 bits.
_MOST = 2**31 - 1


class Fours(Packing):
    """Parameters lie as they are documented, their rows rounded up to a whole number of fours."""

    def units(self, units):
        return rounded(units, 4)

    vector = units


class Program:
    """A tape compiled for one scalar type.

    Attributes
    ----------
    layout : Layout
    placement : Placement
    width : int
    n_states : int
    needs : Needs
        What its kernels require of the arrays that it is bound to.
    walks : bool
        Whether one launch does whole steps; else each operation is one.
    """

    def __init__(self, tape, dtype):
        self.tape, self.dtype, self.width = tape.verify(), np.dtype(dtype), tape.width
        for one in (buffer for buffer in tape.buffers if not buffer.shared):
            check_count(f"{one.name}, of {self.width} samples,", one.rows * self.width)
        for one in tape.parameters:
            check_count(str(one), one.elements)
        self.layout = Layout(tape.parameters, dtype)
        self.placement = Placement(tape, self.dtype.itemsize)
        self.needs = wall.needs_of(tape, self.dtype, self.layout.n_bytes)
        self.n_states = self.needs.states
        # convolutions take so many registers that a walk of them would have few threads
        names = {op.name for phase in tape.phases for op in phase.all_ops()}
        self.walks = tape.width != WIDE and not any(n.startswith("convolution") for n in names)
        self.keeps_blocks = [phase.kind for phase in tape.phases] != ["blocks"]
        self._plans = {}

    def rows_within(self, n_bytes, least=1):
        """Return how many rows a step may have for its blocks to take so much memory at most."""
        return max(least, n_bytes // self.placement.block_bytes) * self.width

    def plan(self, most_rows):
        """Return the Plan for steps of so many rows at most."""
        blocks = -(-most_rows // self.width)
        if blocks not in self._plans:
            self._plans[blocks] = Plan(self, blocks)
        return self._plans[blocks]

    @cached_property
    def operations(self):
        """The operations and their variants, each once, in an order that is the same for all."""
        ops = [op for phase in self.tape.phases for op in phase.all_ops()]
        found = {(op.name, f.variant_of(op.name, op.variant)) for op in ops}
        if any(name in PRODUCTS for name, _ in found):  # parts of a sum may have to be added
            adds = {op.name in PRODUCTS and _adds(op) for op in ops if op.name in PRODUCTS}
            found |= {("collect", (flag,)) for flag in adds}
        return sorted(found, key=repr)


def _depth(op):
    """Return how long the sums of an operation on a block are, if it is a product, else 0."""
    numbers = dict(zip(op.row.attributes, op.attributes))
    if op.name in (
        "dense", "dense_unbiased", "grouped_dense", "grouped_dense_unbiased", "square_distances",
    ):  # fmt: skip
        return numbers["inputs"]
    if op.name in ("dense_input_gradient", "grouped_dense_input_gradient", *f.MEETS):
        return numbers["units"]
    if op.name.startswith("convolution"):
        seen = numbers["filters" if op.name.endswith("gradient") else "channels"]
        return numbers["kernel_height"] * numbers["kernel_width"] * seen // numbers["groups"]
    return 0


def check_count(what, n):
    """Raise ValueError if something has more elements than kernels can count."""
    if n > _MOST:
        raise ValueError(
            f"{what} has {n:,} numbers; on a GPU there are at most {_MOST:,}. Smaller images, "
            "shorter sequences or a smaller batch_size have fewer, and device='cpu' takes them all."
        )


def _positions(op):
    """Return how many positions an operation over a batch has, for each sample."""
    numbers = dict(zip(op.row.attributes, op.attributes))
    images = numbers.get("out_height", 1) * numbers.get("out_width", 1)
    return images * numbers.get("positions", numbers.get("steps", 1))


def _adds(op):
    """Return whether a gradient is added to what is there."""
    return op.name == "weight_gradient" and len(op.variant) > 2 and bool(op.variant[2])


class Plan:
    """The table of a program's operations for batches of so many blocks at most.

    Attributes
    ----------
    table : ndarray of int64 of shape (n_rows, run.ROW)
    stages : ndarray of int64 of shape (n_stages, 3)
        Kind, first and last: rows of the table, or tasks.
    tasks : ndarray of int64 of shape (n_tasks, 2)
        First and last row of each.
    nodes : list of tuple
        For operations that are launched one by one: name, variant, rows of the table, and how many
        groups a block has, or 0 where each group has a row of its own.
    n_sums, partial_bytes : int
        Penalties that a step leaves; size of the sums over parts of a batch.
    most_parts : int
        Groups that the largest operation on a block has work for.
    """

    def __init__(self, program, blocks):
        self._program, self._blocks = program, blocks
        self._codes = {key: code for code, key in enumerate(program.operations)}
        self._table, self._stages, self._tasks, self.nodes = [], [], [], []
        self.n_sums, self._partial, self.most_parts = 0, 0, 1
        for phase in program.tape.phases:
            if phase.kind != "blocks":
                for op in phase.all_ops():
                    check_count(op.name, blocks * program.width * _positions(op))
            if phase.kind == "blocks":
                self._add_blocks(phase)
            elif phase.kind == "units":
                self._add_units(phase)
            else:
                self._add_parameters(phase)
        self.partial_bytes = self._partial
        self.table = np.array(self._table, np.int64).reshape(-1, run.ROW)
        self.stages = np.array(self._stages, np.int64).reshape(-1, 3)
        self.tasks = np.array(self._tasks, np.int64).reshape(-1, 2)
        del self._table, self._stages, self._tasks

    def _add_row(self, name, variant, operands, last=()):
        """Append a row: operands from the front, and by their places those at the end."""
        row = np.zeros(run.ROW, np.int64)
        row[run.CODE] = self._codes[name, variant]
        row[1 : 1 + len(operands)] = operands
        for place, value in dict(last).items():
            row[1 + place] = value
        self._table.append(row)
        return len(self._table) - 1

    def _operands(self, op):
        """Return an operation's operands: where buffers and parameters lie, and its numbers."""
        program = self._program
        values = [
            program.layout.offsets[o] if isinstance(o, Parameter) else program.placement.of(o)
            for o in (*op.reads, *op.writes)
        ]
        for type, value in zip(op.row.types, op.attributes, strict=True):
            values.append(self._number(type, value))
        return values

    def _number(self, type, value):
        """Return a number of an operation as the int64 that a kernel reads."""
        if type == "source":
            return _FIELDS[value]
        if type == "float":
            bits = np.array(value, self._program.dtype)
            return int(bits.view(f"i{bits.itemsize}"))
        return int(value)

    def _add_blocks(self, phase):
        first = len(self._table)
        for op in phase.ops:
            variant = f.variant_of(op.name, op.variant)
            packs = [o.pack for o in (*op.reads, *op.writes) if isinstance(o, Parameter)]
            packs = {f.PACKS + i: pack for i, pack in enumerate(packs)}
            row = self._add_row(op.name, variant, self._operands(op), packs)
            launched, together = self._groups(op)
            self.most_parts = max(self.most_parts, together)
            self.nodes.append((op.name, variant, [row], launched))
        self._stages.append((run.BLOCKS, first, len(self._table)))

    def _groups(self, op):
        """Return how many groups do an operation on a block: of a launch of its own, of a team."""
        width = self._program.width
        buffers = [o for o in op.writes or op.reads if not isinstance(o, Parameter)]
        elements, depth = width * sum(buffer.rows for buffer in buffers), _depth(op)
        if op.name in f.MEETS:  # one step after the other, and nobody waits for another launch
            elements //= dict(zip(op.row.attributes, op.attributes))["steps"]
        tile = 128 * 128 if width == WIDE else 64 * 32
        launched = -(-elements // (tile if depth else _EACH))
        together = -(-elements // _EACH_OF_TEAM)
        if depth:
            together = min(launched, -(-elements * depth // _PRODUCTS_OF_TEAM))
        if op.name in f.MEETS:
            launched = 1
        return tuple(min(max(n, 1), _MOST_GROUPS) for n in (launched, together))

    def _add_units(self, phase):
        first = len(self._tasks)
        for op in phase.ops:
            variant, rows = f.variant_of(op.name, op.variant), []
            for unit in range(op.extent):
                places = {f.FIRST_UNIT: unit, f.LAST_UNIT: unit + 1}
                packs = [o.pack for o in (*op.reads, *op.writes) if isinstance(o, Parameter)]
                places |= {f.PACKS + i: pack for i, pack in enumerate(packs)}
                rows.append(self._add_row(op.name, variant, self._operands(op), places))
                self._tasks.append((rows[-1], rows[-1] + 1))
            self.nodes.append((op.name, variant, rows, 0))
        self._stages.append((run.TASKED, first, len(self._tasks)))

    def _add_parameters(self, phase):
        """Append the stage of a phase's tasks, and before it that of sums over parts of a batch."""
        parts, chains = [], []
        for parameter, chain in phase.ops:
            numbers = dict(zip(chain[0].row.attributes, chain[0].attributes))
            # of sums over many positions, each is work enough
            units = 1 if numbers.get("positions", 1) > 1 else _VECTOR
            for places in self._cut(parameter, units):
                whole = []
                for op in chain:
                    if op.name in PRODUCTS:
                        whole += self._product(op, places, parts)
                    else:
                        whole.append((op.name, op, places))
                if any(op.name == "regularize" for op in chain):
                    self.n_sums += 1
                chains.append(whole)
        for group in ([[one] for one in parts], chains):
            if group:
                self._add_tasks(group)

    def _product(self, op, places, parts):
        """Return the rows for a product in a chain; those for its parts are appended to `parts`."""
        width = self._program.width
        total = self._blocks * width * _positions(op)
        depth = max(_DEPTH, rounded(-(-total // _MOST_PARTS), width))
        n = -(-total // depth)
        places = {**places, f.TASK_PARTS: n, f.TASK_DEPTH: depth}
        if n == 1:
            return [(op.name, op, places)]
        size = places[f.TASK_ROWS] * places[f.TASK_COLUMNS] * self._program.dtype.itemsize
        for part in range(n):
            here = {f.TASK_PARTIAL: self._partial + part * size, f.TASK_PART: part}
            parts.append((op.name, op, {**places, **here}))
        collected = {**places, f.TASK_PARTIAL: self._partial}
        self._partial += n * size
        return [("collect", op, collected)]

    def _add_tasks(self, chains):
        first, nodes = len(self._tasks), {}
        for chain in chains:
            begin = len(self._table)
            for place, (name, op, places) in enumerate(chain):
                if name == "collect":
                    variant, operands = (_adds(op),), ()
                else:
                    variant, operands = f.variant_of(name, op.variant), self._operands(op)
                row = self._add_row(name, variant, operands, places)
                nodes.setdefault((place, name, variant), []).append(row)
            self._tasks.append((begin, len(self._table)))
        for (_, name, variant), rows in sorted(nodes.items(), key=lambda item: item[0][0]):
            self.nodes.append((name, variant, rows, 0))
        self._stages.append((run.TASKED, first, len(self._tasks)))

    def _cut(self, parameter, units):
        """Yield the tasks of a parameter, as the last numbers of their rows of the table.

        Of a vector a task has so many `units`.
        """
        program, pack = self._program, parameter.pack
        base, size = program.layout.offsets[parameter], program.dtype.itemsize
        inputs = parameter.elements // pack
        rows, columns = _TASK[program.width == WIDE] if inputs > 1 else (1, units)
        for row in range(0, inputs, rows):
            for column in range(0, pack, columns):
                yield {
                    f.TASK_FIRST: base + (row * pack + column) * size,
                    f.TASK_ROWS: min(rows, inputs - row),
                    f.TASK_COLUMNS: min(columns, pack - column),
                    f.TASK_BASE: base, f.TASK_PACK: pack, f.TASK_SUM: self.n_sums,
                }  # fmt: skip
