"""The wall in front of the engine: checks of the arrays whose addresses kernels get.

A kernel does not know shapes. What it reads and writes follows from the tape, and so does what it
requires of each array. :func:`needs_of` collects these requirements once per program, and a session
checks every array against them before it takes its address: dtype, shape, strides, size, and
whether it is writable.

Which memory a session owns while it runs, and which remains the caller's, who might change it at
any time, is described in "The wall" in ``doc/architecture.rst``.
"""

from dataclasses import dataclass, field

import numpy as np

from .sources import X, Y
from .tape import Parameter

#: Columns of a step's rates: here start three numbers for the optimizer, or four for drawing a
#: token; then follow the weight of the newest value in an average, and the factor of the rates of
#: dropout. Kernels use the same.
RATE_FIRST, RATE_AVERAGE, RATE_DROPOUT = 2, 5, 6
_INT64, _FLOAT64, _UINT8 = (np.dtype(kind) for kind in ("int64", "float64", "uint8"))
_NAMES = {X: "X", Y: "y"}


@dataclass
class Needs:
    """What the kernels of a program require of the arrays that it is bound to.

    Attributes
    ----------
    dtype : dtype
        Floating-point type of the computation.
    parameter_bytes : int
        The least size of the packed parameters.
    changes : bool
        Whether it writes to the parameters.
    sources : dict of int to (str, tuple, int)
        For X and Y, where rows are gathered from them: operation, variant, columns.
    tokens : dict of (int, int) to range
        By first column and end: the token ids that the numbers of X there may be.
    classes : tuple or None
        Number of classes, and of steps, where targets are class indices.
    lengths : int
        Number of columns of lengths that are read.
    outputs : int
        Number of outputs per row.
    members : int
        Number of members of the network; with several, outputs are (members, rows, outputs).
    draws : bool
        Whether tokens are drawn, which are written after those that are read.
    states : int
        Number of state arrays of the optimizer.
    carried : int
        Number of elements of a stream's recurrent state.
    rates : int
        Number of columns of the rates of a step.
    """

    dtype: np.dtype
    parameter_bytes: int
    changes: bool = False
    sources: dict = field(default_factory=dict)
    tokens: dict = field(default_factory=dict)
    classes: tuple | None = None
    lengths: int = 0
    outputs: int = 0
    members: int = 1
    draws: bool = False
    states: int = 0
    carried: int = 0
    rates: int = RATE_FIRST

    def check_parameters(self, parameters):
        if parameters is None:
            raise ValueError("The parameters are missing.")
        check_piece("parameters", parameters, self.dtype, self.parameter_bytes, self.changes)

    def check_states(self, states):
        if states is None and self.states:
            raise ValueError("The optimizer's states are missing.")
        if states is not None:
            if states.ndim != 2 or len(states) < self.states:
                raise ValueError(
                    f"The optimizer's states have the shape {states.shape}; expected at least "
                    f"{self.states} rows."
                )
            least = len(states) * self.parameter_bytes
            check_piece("states", states, self.dtype, least, writes=True)

    def check_source(self, place, source):
        """Check X or Y, a Source, or None where nothing reads it."""
        if source is None and (place == X or place in self.sources):
            raise ValueError(f"{_NAMES[place]} is missing.")
        if place not in self.sources:
            return
        operation, variant, columns = self.sources[place]
        if source.n_columns != columns:
            raise ValueError(
                f"{_NAMES[place]} has {source.n_columns} columns, but the network takes {columns}."
            )
        if (source.operation, source.variant) != (operation, variant):
            raise ValueError(f"{_NAMES[place]} is not of the kind that the program was made for.")
        if place == X and self.tokens:
            source.check_tokens(self.tokens)

    def check_targets(self, targets):
        """Check the targets: class numbers, or a source."""
        if self.classes is None:
            self.check_source(Y, targets)
            return
        classes, steps = self.classes
        if targets is None or targets.n_classes is None:
            raise ValueError("y is missing; expected class numbers.")
        if targets.n_classes > classes or targets.n_columns < steps:
            raise ValueError(
                f"y has {targets.n_columns} class numbers per row, below {targets.n_classes}; the "
                f"network takes {steps}, below {classes}."
            )

    def check_carry(self, carry):
        if carry is None:
            if self.carried:
                raise ValueError("There are no states to carry along.")
            return
        if carry.ndim != 2 or not len(carry) or carry.shape[1] < self.carried:
            raise ValueError(
                f"The states to carry along have the shape {carry.shape}; expected at least one "
                f"row, and {self.carried} columns."
            )
        check_piece("carry", carry, self.dtype, 0, writes=True)

    def check_out(self, out):
        """Check the array for outputs; return how many rows it has room for."""
        if out is None:
            if self.outputs or self.draws:
                raise ValueError("There is no array for the outputs.")
            return _MANY
        if self.draws:  # the next token is written after each one
            check_piece("out", out, _INT64, 0, writes=True)
            return len(out) - 1
        several = self.members > 1
        good = out.ndim == 2 + several and (not several or len(out) == self.members)
        if not good or out.shape[-1] < self.outputs:
            members = f", of {self.members} members" if several else ""
            raise ValueError(
                f"The array for outputs has the shape {out.shape}; expected {self.outputs} columns"
                f"{members}."
            )
        check_piece("out", out, self.dtype, 0, writes=True)
        return out.shape[-2]

    def check_lengths(self, lengths):
        """Check lengths of sequences; return how many there are."""
        if lengths is None:
            return _MANY
        if lengths.ndim != 2 or lengths.shape[1] < self.lengths:
            raise ValueError(
                f"lengths have the shape {lengths.shape}; expected {self.lengths} columns."
            )
        check_piece("lengths", lengths, _INT64)
        return len(lengths)

    def check_positions(self, n_rows, rows, out, lengths, resets):
        """Check what is read and written by position; return how many positions there are."""
        return min(
            n_rows if rows is None else check_by_row("rows", rows),
            self.check_out(out),
            self.check_lengths(lengths),
            check_by_row("resets", resets),
        )

    def check_rates(self, rates, steps):
        if rates.ndim != 2 or rates.shape[0] < steps or rates.shape[1] < self.rates:
            raise ValueError(
                f"rates have the shape {rates.shape}; expected ({steps}, {self.rates}) at least."
            )
        check_piece("rates", rates, _FLOAT64)


_MANY = 2**62  # rows for which there is room where an array is not read


_BY_ROW = {"rows": _INT64, "weights": _FLOAT64, "resets": _UINT8}


def check_by_row(name, array):
    """Check an array that is read by row or by position; return its length."""
    if array is None:
        return _MANY
    if array.ndim != 1:
        raise ValueError(f"{name} has the shape {array.shape}; expected one dimension.")
    check_piece(name, array, _BY_ROW[name])
    return array.size


def check_run(total, batch, positions, most_rows):
    """Check that a session has so many positions, and memory for so many rows per step."""
    if not (0 <= total <= positions and 1 <= batch <= most_rows):
        raise ValueError(
            f"A run of {total} rows, {batch} per step, is more than the session was made for: "
            f"{positions} rows, {most_rows} per step."
        )


def check_piece(name, array, dtype, n_bytes=0, writes=False):
    """Check that an array is contiguous, of the right dtype, aligned, and large enough."""
    flags = array.flags
    if array.dtype != dtype or array.nbytes < n_bytes:
        raise ValueError(
            f"{name} has {array.nbytes} bytes of {array.dtype}; expected {dtype}, and at least "
            f"{n_bytes} bytes."
        )
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(f"{name} is not contiguous, or not aligned for {dtype}.")
    if writes and not flags.writeable:
        raise ValueError(f"{name} is read-only; expected an array that can be written.")


def needs_of(tape, dtype, parameter_bytes):
    """Return the Needs of a tape for one scalar type."""
    needs = Needs(np.dtype(dtype), parameter_bytes, members=tape.members)
    if tape.solver is not None:
        needs.states = tape.solver.n_states
    for op in (op for phase in tape.phases for op in phase.all_ops()):
        numbers = dict(zip(op.row.attributes, op.attributes))
        needs.changes |= op.name == "update" or any(isinstance(o, Parameter) for o in op.writes)
        if op.name in ("gather", "gather_csr"):
            needs.sources[numbers["field"]] = op.name, op.variant, numbers["columns"]
        elif op.name.startswith("lookup"):
            x = op.reads[0]
            _add_tokens(needs.tokens, x.first, x.first + x.rows, range(numbers["inputs"]))
        elif op.name == "log_loss_softmax":
            needs.classes = numbers["units"], numbers["steps"]
        elif op.name == "lengths":
            needs.lengths = max(needs.lengths, numbers["column"] + 1)
        elif op.name == "scatter":
            needs.outputs = numbers["units"]
        elif op.name in ("load_state", "save_state"):
            needs.carried = max(needs.carried, numbers["offset"] + numbers["units"])
        elif op.name == "draw":
            needs.draws, needs.rates = True, RATE_FIRST + 4
        elif op.name == "update":
            needs.rates = max(needs.rates, RATE_FIRST + 3)
        elif op.name == "average":
            needs.rates = max(needs.rates, RATE_AVERAGE + 1)
        elif op.name == "dropout" and any(op.variant):
            needs.rates = max(needs.rates, RATE_DROPOUT + 1)
    for buffer, ranges in tape.tokens:
        for column, tokens in enumerate(ranges, buffer.first):
            _add_tokens(needs.tokens, column, column + 1, tokens)
    return needs


def _add_tokens(needed, first, last, tokens):
    """Add to what is needed that the tokens of some columns are in a range."""
    known = needed.get((first, last), tokens)
    needed[first, last] = range(max(known.start, tokens.start), min(known.stop, tokens.stop))
