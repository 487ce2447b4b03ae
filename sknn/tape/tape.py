"""The tape: a network as a flat list of operations over buffers, forward and backward.

It contains no layers and no addresses. ``OPERATIONS`` is the table of all operations; each has one
kernel per backend, and a NumPy definition in the tests. There are three kinds of operations:

``blocks``
    run for every block of samples of a batch, on that block's own buffers;
``units``
    run once per batch for each unit, over all blocks (batch statistics);
``parameters``
    run once per batch for each slice of a parameter: its gradient over all blocks, and all that
    follows, up to the optimizer's update.

Consecutive operations of the same kind form a phase; threads synchronize between phases.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import prod

from .operations import OPERATIONS
from .packing import PLAIN


@dataclass(eq=False)
class Buffer:
    """A tensor of the tape: ``[rows, samples]`` of each block, or ``[rows]`` shared by all.

    A view is the part of its `base` that starts at the row `first`.
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
        """The buffer that it is a view of, or itself."""
        return self.base or self


@dataclass(eq=False)
class Parameter:
    """Weights ``(..., units)``, or a vector ``(units,)``, of a network.

    Attributes
    ----------
    pack : int
        Number of units side by side in memory; 0: the packing of the device decides.
    trainable : bool
        False for running statistics, which are stored with the parameters, but not optimized.
    penalized : bool
        Whether l1, l2 and weight decay apply.
    l1, l2 : float or None
        Its own penalties, instead of the solver's.
    tiled : bool
        Whether its units are packed like those of a matrix, or as an independent vector.
    rate : float
        Factor of the learning rate.
    scale : float
        The optimizer sees the parameter divided by it: v, where the network uses ``scale * v``.
    """

    name: str
    shape: tuple
    pack: int = 0
    trainable: bool = True
    penalized: bool = False
    l1: float | None = None
    l2: float | None = None
    tiled: bool = True
    rate: float = 1.0
    scale: float = 1.0

    def __str__(self):
        return f"{self.name}{list(self.shape)}"

    @property
    def inputs(self):
        """Number of rows of its matrix in memory: the product of all axes but the last."""
        return prod(self.shape[:-1])

    def penalties(self, l2, l1):
        """Return its L2 and L1 penalties; the defaults are `l2` and `l1`."""
        if not self.penalized:
            return 0.0, 0.0
        return l2 if self.l2 is None else self.l2, l1 if self.l1 is None else self.l1

    @property
    def elements(self):
        """Number of elements in memory, with the units rounded up to whole packs."""
        return self.inputs * -(-self.shape[-1] // self.pack) * self.pack


@dataclass(eq=False)
class Op:
    """One operation on the tape: a row of the table with its operands.

    `variant` is what its kernel is compiled for, besides the scalar type and the block's width;
    `extent` the number of units of an operation of the kind ``units``; `work` how often an
    operation on a gradient updates each element, per sample; and `grain` the number of rows of the
    parameter that it prefers not to be split.
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
    """The operations between two barriers.

    `ops` contains operations, or, for the kind ``parameters``, pairs of a parameter and the list of
    operations on each slice of its gradient.
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
        The optimizer; None: the parameters are not updated.
    carries : bool
        Whether the initial states of recurrent layers are the final ones of the batch before.
    packing : Packing
        The memory layout that its device prefers.
    scheduled : bool
        Whether the rates of dropout follow a schedule.
    members : int
        The number of members of the network. Operations for every block run for each of them, on
        blocks of its own.
    """

    def __init__(
        self, width, solver=None, carries=False, packing=PLAIN, scheduled=False, members=1
    ):
        self.width, self.packing, self.members = width, packing, members
        self.scheduled = scheduled
        self.solver = solver
        self.phases = []
        self.buffers = []
        self.parameters = []
        self.carries = carries
        self.state_size = 0  # elements that recurrent layers carry from one batch to the next
        self.axis = 0  # which of a sequence's lengths applies at this point of the network
        self.tokens = []  # buffers whose rows have token ids, and a range for each of the rows
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
        """Keep the contents of a buffer: they are read again, and must not be overwritten."""
        self._kept.add(buffer)

    def in_place(self, x, name):
        """Return the output buffer of an elementwise operation on `x`: x itself, unless kept."""
        kept = x in self._kept or x.whole in self._kept
        return self.buffer(name, x.rows) if kept else x

    def next_random(self):
        """Return the index of the next layer that draws random numbers."""
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
        """Declare that another layer uses a parameter, and will add to its gradient."""
        self._missing[parameter] += 1

    def add(self, name, reads=(), writes=(), attributes=(), variant=(), extent=0):
        """Append an operation, in a new phase if its kind is not the last one's; return it."""
        op = Op(name, tuple(reads), tuple(writes), tuple(attributes), tuple(variant), extent)
        if not self.phases or self.phases[-1].kind != op.row.kind:
            self.phases.append(Phase(op.row.kind))
        self.phases[-1].ops.append(op)
        return op

    def absorb_relu(self, x):
        """Fuse relu into the last operation, if that writes x and supports it."""
        op = self.phases[-1].ops[-1]
        can = op.name in ("add", "normalize", "normalize_running") and x not in self._kept
        if can and op.writes == (x,):
            op.variant = (True,)
            return True
        return False

    def take_back_relu(self, forward, dy):
        """Remove the gradient of the relu fused into an operation, if it was the last one, with dy.

        Return whether it was removed, and the gradient that it would have read.
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
        """Declare the operation that computes the gradient of `parameter`.

        `work` and `grain` are as for :class:`Op`. If several layers use the parameter, its gradient
        is the sum of theirs.
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
        """Declare an operation that adds to the gradient of `parameter`, after the first one."""
        op = Op(name, tuple(reads), (), tuple(attributes), tuple(variant))
        self._more[parameter].append(op)

    def settle(self, everything=False):
        """Compute the gradients whose operands are complete, if that is worth a phase of its own.

        It is worth it for sums over many positions: their operands are still in the cache, and
        their memory can be reused. The parameters may be updated here already, so the layers that
        declared the gradients must not read them any more.
        """
        if everything or any(op.work > 1 for _, op in self._pending):
            if not self.phases or self.phases[-1].kind != "parameters":
                self.phases.append(Phase("parameters"))
            ready = [item for item in self._pending if not self._missing[item[0]]]
            self.phases[-1].ops += [
                (p, self._chain(p, [op, *self._more[p]])) for p, op in ready
            ]
            self._pending = [item for item in self._pending if self._missing[item[0]]]

    def _chain(self, parameter, gradients):
        """Return the operations on each slice of a gradient.

        They compute it, add penalties, clip it, and update the parameter. It becomes the gradient
        of what the optimizer sees where penalties are added, so that is also what is clipped.
        """
        solver = self.solver
        if solver is None:
            return gradients
        l2, l1 = parameter.penalties(solver.l2, solver.l1)
        numbers = l2, l1, parameter.scale
        chain = [*gradients, Op("regularize", attributes=numbers, variant=(l1 > 0, l2 > 0))]
        if solver.clip_value is not None:
            chain.append(Op("clip_value", attributes=(solver.clip_value,)))
        if solver.clip_norm is not None:
            return [*chain, Op("square_sum")]
        return [*chain, *self._update(parameter)]

    def _update(self, parameter):
        """Return the optimizer's step, and the averaging of the weights that may follow."""
        solver = self.solver
        decay = solver.decay if parameter.penalized and parameter.l2 is None else 0.0
        # decay is relative: it is the same for what the optimizer sees
        factors = decay * parameter.rate, parameter.rate * parameter.scale
        numbers = (solver.a, solver.b, solver.epsilon, *factors)
        update = Op("update", (), (), numbers, (solver.rule,))
        if not solver.average:
            return [update]
        return [update, Op("average", attributes=(solver.n_states - 1,))]  # behind the rule's own

    def finish(self):
        """Complete the tape: the remaining gradients, and clipping by their norm."""
        self.settle(everything=True)
        if self._pending:
            names = ", ".join(str(parameter) for parameter, _ in self._pending)
            raise ValueError(f"Not every layer that shares {names} gives a gradient.")
        self._clip_by_norm([parameter for parameter, _ in self._gradients])

    def apply_gradient(self):
        """Update the parameters by a gradient that is given instead of computed."""
        trainable = [parameter for parameter in self.parameters if parameter.trainable]
        self.phases.append(Phase("parameters", [(p, self._chain(p, [])) for p in trainable]))
        self._clip_by_norm(trainable)

    def _clip_by_norm(self, parameters):
        if self.solver is None or self.solver.clip_norm is None:
            return
        scale = self.buffer("scale", 1, shared=True)
        self.add("total_norm", (), (scale,), (self.solver.clip_norm,), extent=1)
        chains = [(p, [Op("scale_gradient", (scale,)), *self._update(p)]) for p in parameters]
        self.phases.append(Phase("parameters", chains))

    def verify(self):
        """Raise ValueError unless the tape can be run.

        Every operation must be in the table, with all of its operands, and in a phase of its kind;
        nothing may be read before it is written; and every trainable parameter must have exactly
        one gradient, and, if the tape has an optimizer, one update after it.
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
        if self.members > 1:
            lines[0] += f", {self.members} members"
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
    if op.name.startswith("member_"):
        for operand in op.reads:
            if isinstance(operand, Parameter) and operand.shape[0] != tape.members:
                raise ValueError(f"{op}: {operand} is not for the {tape.members} members.")
    if row.kind == "units" and not op.extent:
        raise ValueError(f"{op} goes over no units.")
    if row.kind == "blocks":
        for operand in op.writes:
            if isinstance(operand, Parameter) or operand.shared:
                raise ValueError(f"{op}: {operand} is written by every block.")
