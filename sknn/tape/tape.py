"""The tape: a network as a flat list of operations over buffers, forward and backward.

Nothing in it names a layer or an address. ``OPERATIONS`` is the table of what there is; every row
has one kernel for each backend and one NumPy definition in the tests. An operation is of one kind:

``blocks``
    done for every block of samples of a batch, on that block's own buffers;
``units``
    done once a batch for each unit, over all blocks (statistics of a batch);
``parameters``
    done once a batch for each slice of a parameter: its gradient over all blocks, and what
    becomes of it, up to the optimizer's update.

Consecutive operations of one kind make a phase; phases are where threads meet.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import prod

from .operations import OPERATIONS
from .packing import PLAIN


@dataclass(eq=False)
class Buffer:
    """A tensor of the tape: ``[rows, samples]`` of each block, or ``[rows]`` shared by all.

    A view is the part of its `base` that begins at the row `first`.
    """

    name: str
    rows: int
    shared: bool = False
    base: "Buffer | None" = None
    first: int = 0

    def __str__(self):
        if self.base is not None:
            return f"{self.base.name}[{self.first}:{self.first + self.rows}]"
        return f"{self.name}[{self.rows}{'' if self.shared else ', samples'}]"

    @property
    def whole(self):
        """The buffer that it is a part of, or itself."""
        return self.base or self


@dataclass(eq=False)
class Parameter:
    """Weights ``(..., units)``, or a vector ``(units,)``, of a network.

    Attributes
    ----------
    pack : int
        Units that lie side by side in memory; 0: as the packing of a device will say.
    trainable : bool
        False for running statistics: kept with the parameters, touched by no optimizer.
    penalized : bool
        Whether l1, l2 and weight decay apply.
    l1, l2 : float or None
        Its own penalties, in place of the solver's.
    tiled : bool
        Whether its units are those of a matrix; else it is packed as a vector for itself.
    """

    name: str
    shape: tuple
    pack: int = 0
    trainable: bool = True
    penalized: bool = False
    l1: float | None = None
    l2: float | None = None
    tiled: bool = True

    def __str__(self):
        return f"{self.name}{list(self.shape)}"

    @property
    def inputs(self):
        """Rows of the matrix that it is in memory: all axes but the last."""
        return prod(self.shape[:-1])

    def penalties(self, l2, l1):
        """Return its penalties where those of others are `l2` and `l1`."""
        if not self.penalized:
            return 0.0, 0.0
        return l2 if self.l2 is None else self.l2, l1 if self.l1 is None else self.l1

    @property
    def elements(self):
        """Its length in memory, with the units rounded up to whole packs."""
        return self.inputs * -(-self.shape[-1] // self.pack) * self.pack


@dataclass(eq=False)
class Op:
    """One operation on the tape: a row of the table with its operands.

    `variant` is what its kernel is compiled for, beside the scalar type and the block's width;
    `extent` the number of units that an operation of the kind ``units`` goes over; `work` how often
    an operation on a gradient goes over each of its elements, for one sample; and `grain` the rows
    of the parameter that it prefers to have in one piece.
    """

    name: str
    reads: tuple = ()
    writes: tuple = ()
    attributes: tuple = ()
    variant: tuple = ()
    extent: int = 0
    work: int = 1
    grain: int = 8

    @property
    def row(self):
        return OPERATIONS[self.name]

    def __str__(self):
        name = self.name + (f"<{', '.join(map(str, self.variant))}>" if self.variant else "")
        numbers = (f"{k}={v:g}" for k, v in zip(self.row.attributes, self.attributes))
        text = f"{name}({', '.join([*map(str, self.reads), *numbers])})"
        return f"{', '.join(map(str, self.writes))} = {text}" if self.writes else text


@dataclass(eq=False)
class Phase:
    """Operations between two meetings of the threads.

    `ops` holds operations, or for the kind ``parameters`` pairs of a parameter and the list of
    operations done to each slice of its gradient.
    """

    kind: str
    ops: list = field(default_factory=list)

    def all_ops(self):
        if self.kind != "parameters":
            return list(self.ops)
        return [op for _, chain in self.ops for op in chain]


class Tape:
    """A list of phases under construction, with its buffers and parameters.

    Parameters
    ----------
    width : int
        Samples in a block.
    solver : Solver or None
        What updates the parameters; None: nothing does.
    carries : bool
        Whether recurrent layers begin where they ended in the batch before.
    packing : Packing
        How its device wants numbers to lie.
    """

    def __init__(self, width, solver=None, carries=False, packing=PLAIN):
        self.width, self.packing = width, packing
        self.solver = solver
        self.phases = []
        self.buffers = []
        self.parameters = []
        self.carries = carries
        self.state_size = 0  # numbers that recurrent layers carry from one batch to the next
        self.axis = 0  # which of a sequence's lengths holds at this point of the network
        self._lengths, self._weights = {}, {}
        self._gradients, self._pending = [], []
        self._more, self._missing = defaultdict(list), Counter()
        self._named = {}
        self._kept = set()
        self._random = 0

    def buffer(self, name, rows, shared=False):
        """Return a new buffer."""
        self.buffers.append(Buffer(f"{name}{len(self.buffers)}", rows, shared))
        return self.buffers[-1]

    def view(self, base, first, rows):
        """Return a part of a buffer, as a buffer."""
        place = base.first + first
        self.buffers.append(Buffer(f"{base.whole.name}.{place}", rows, False, base.whole, place))
        return self.buffers[-1]

    def lengths(self, steps):
        """Return the buffer of the lengths of sequences of at most `steps`, at this point."""
        where = self.axis, steps
        if where not in self._lengths:
            self._lengths[where] = out = self.buffer("lengths", 1)
            self.add("lengths", (), (out,), (steps, self.axis))
        return self._lengths[where]

    def weights(self, steps=None):
        """Return the buffer of the samples' weights, or of those of each of their `steps`."""
        where = None if steps is None else (self.axis, steps)
        if where not in self._weights:
            self._weights[where] = out = self.buffer("weights", steps or 1)
            if steps is None:
                self.add("weigh", (), (out,))
            else:
                self.add("weigh_steps", (self.lengths(steps),), (out,), (steps,))
        return self._weights[where]

    def keep(self, buffer):
        """Say that what is in a buffer now will be read again, so that nothing may overwrite it."""
        self._kept.add(buffer)

    def in_place(self, x, name):
        """Return the buffer for what is computed from `x` element by element: x, unless kept."""
        kept = x in self._kept or x.whole in self._kept
        return self.buffer(name, x.rows) if kept else x

    def next_random(self):
        """Return the number of the next layer that draws random numbers."""
        self._random += 1
        return self._random - 1

    def parameter(self, parameter):
        """Declare a parameter, and return it."""
        self.parameters.append(self.packing.packed(parameter))
        return parameter

    def call(self, parameter, name):
        """Give a parameter a name by which other layers find it."""
        self._named[name] = parameter

    def called(self, name):
        """Return the parameter of a name, or None."""
        return self._named.get(name)

    def share(self, parameter):
        """Say that one layer more uses a parameter, and will add to its gradient."""
        self._missing[parameter] += 1

    def add(self, name, reads=(), writes=(), attributes=(), variant=(), extent=0):
        """Append an operation, in a new phase if it is not of the last one's kind; return it."""
        op = Op(name, tuple(reads), tuple(writes), tuple(attributes), tuple(variant), extent)
        if not self.phases or self.phases[-1].kind != op.row.kind:
            self.phases.append(Phase(op.row.kind))
        self.phases[-1].ops.append(op)
        return op

    def absorb_relu(self, x):
        """Have the last operation apply relu to what it writes, if that is x and it can."""
        op = self.phases[-1].ops[-1]
        can = op.name in ("add", "normalize", "normalize_running") and x not in self._kept
        if can and op.writes == (x,):
            op.variant = (True,)
            return True
        return False

    def take_back_relu(self, forward, dy):
        """Remove the gradient of the relu that an operation has absorbed, if it has just given dy.

        Return whether that was so, and the gradient that it was to get.
        """
        op = self.phases[-1].ops[-1] if self.phases[-1].kind == "blocks" else None
        absorbed = forward.variant == (True,)
        if not absorbed or op is None or op.name != "activation_gradient" or op.writes != (dy,):
            return False, dy
        self.phases[-1].ops.pop()
        if not self.phases[-1].ops:
            self.phases.pop()
        return True, op.reads[1]

    def gradient(self, parameter, name, reads, attributes=(), variant=(), work=1, grain=8):
        """Say which operation gives the gradient of `parameter`; `work` and `grain` are an Op's.

        A parameter that several layers use gets the sum of what they say.
        """
        op = Op(name, tuple(reads), (), tuple(attributes), tuple(variant), work=work, grain=grain)
        if any(parameter is known for known, _ in self._gradients):
            if name != "weight_gradient":
                raise ValueError(f"{parameter} is shared; {name!r} cannot add to its gradient.")
            self._missing[parameter] -= 1
            self.add_to_gradient(parameter, name, reads, attributes, (*variant, True))
            return
        self._gradients.append((parameter, op))
        self._pending.append((parameter, op))

    def add_to_gradient(self, parameter, name, reads=(), attributes=(), variant=()):
        """Say which operation adds to the gradient of `parameter`, after the one that gives it."""
        op = Op(name, tuple(reads), (), tuple(attributes), tuple(variant))
        self._more[parameter].append(op)

    def settle(self, everything=False):
        """Have the gradients computed whose operands are complete, if that is worth a phase.

        It is where they are sums over many positions: what they are computed from is still near,
        and its memory is free for what comes. The parameters may change here already, so whoever
        asked for the gradients must be done with them.
        """
        if everything or any(op.work > 1 for _, op in self._pending):
            if not self.phases or self.phases[-1].kind != "parameters":
                self.phases.append(Phase("parameters"))
            ready = [item for item in self._pending if not self._missing[item[0]]]
            self.phases[-1].ops += [(p, self._chain(p, op)) for p, op in ready]
            self._pending = [item for item in self._pending if self._missing[item[0]]]

    def _chain(self, parameter, gradient):
        """Return what is done to each slice of a gradient: penalties, clipping, the update."""
        solver = self.solver
        gradients = [gradient, *self._more[parameter]]
        if solver is None:
            return gradients
        l2, l1 = parameter.penalties(solver.l2, solver.l1)
        chain = [*gradients, Op("regularize", attributes=(l2, l1), variant=(l1 > 0, l2 > 0))]
        if solver.clip_value is not None:
            chain.append(Op("clip_value", attributes=(solver.clip_value,)))
        if solver.clip_norm is not None:
            return [*chain, Op("square_sum")]
        return [*chain, *self._update(parameter)]

    def _update(self, parameter):
        """Return the optimizer's step, and what follows it."""
        solver = self.solver
        decay = solver.decay if parameter.penalized and parameter.l2 is None else 0.0
        numbers = (solver.a, solver.b, solver.epsilon, decay)
        update = Op("update", (), (), numbers, (solver.rule,))
        if not solver.average:
            return [update]
        return [update, Op("average", attributes=(solver.n_states - 1,))]  # behind the rule's own

    def finish(self):
        """End the tape with what is left to do: gradients, and clipping by their norm."""
        self.settle(everything=True)
        if self._pending:
            names = ", ".join(str(parameter) for parameter, _ in self._pending)
            raise ValueError(f"Not every layer that shares {names} gives a gradient.")
        if self.solver is not None and self.solver.clip_norm is not None:
            scale = self.buffer("scale", 1, shared=True)
            self.add("total_norm", (), (scale,), (self.solver.clip_norm,), extent=1)
            chains = [
                (p, [Op("scale_gradient", (scale,)), *self._update(p)]) for p, _ in self._gradients
            ]
            self.phases.append(Phase("parameters", chains))

    def verify(self):
        """Raise ValueError unless the tape can be run.

        Every operation is a row of the table, with its operands; in a phase of its kind; nothing is
        read before it is written; every trainable parameter has one gradient, and, if the tape
        updates at all, one update after it.
        """
        written, updated = set(), []
        for phase in self.phases:
            for op in phase.all_ops():
                _verify_op(op, phase, written, self)
                written.update(getattr(o, "whole", o) for o in op.writes)
            if phase.kind == "parameters":
                updated += [p for p, chain in phase.ops if any(op.name == "update" for op in chain)]
        graded = [p for p, _ in self._gradients]
        trainable = [p for p in self.parameters if p.trainable]
        if self._gradients and sorted(map(id, graded)) != sorted(map(id, trainable)):
            raise ValueError("Not every trainable parameter has exactly one gradient.")
        if updated and sorted(map(id, updated)) != sorted(map(id, trainable)):
            raise ValueError("Not every trainable parameter has exactly one update.")
        return self

    def __str__(self):
        lines = [f"tape of {len(self.phases)} phases, {self.width} samples a block"]
        for i, phase in enumerate(self.phases):
            lines.append(f"phase {i}: {phase.kind}")
            if phase.kind == "parameters":
                for parameter, chain in phase.ops:
                    lines.append(f"    {parameter}: {'; '.join(map(str, chain))}")
            else:
                lines += [f"    {op}" for op in phase.ops]
        return "\n".join(lines)


def _verify_op(op, phase, written, tape):
    if op.name not in OPERATIONS:
        raise ValueError(f"{op.name!r} is not an operation.")
    row = op.row
    if row.kind != phase.kind:
        raise ValueError(f"{op} is of the kind {row.kind!r}, in a phase of {phase.kind!r}.")
    for what in ("reads", "writes", "attributes"):
        given, names = getattr(op, what), getattr(row, what)
        if len(given) != len(names):
            raise ValueError(f"{op}: {what} are {len(given)}, expected {names}.")
    for name, type, value in zip(row.attributes, row.types, op.attributes):
        if type != "float" and value != int(value):
            raise ValueError(f"{op}: {name} is {value}; expected an int.")
    for operand in op.reads + op.writes:
        if operand not in tape.buffers and operand not in tape.parameters:
            raise ValueError(f"{op}: {operand} does not belong to the tape.")
    for operand in op.reads:
        if isinstance(operand, Buffer) and operand.whole not in written:
            raise ValueError(f"{op}: {operand} is read before it is written.")
    if row.kind == "units" and not op.extent:
        raise ValueError(f"{op} goes over no units.")
    if row.kind == "blocks":
        for operand in op.writes:
            if isinstance(operand, Parameter) or operand.shared:
                raise ValueError(f"{op}: {operand} is written by every block.")
