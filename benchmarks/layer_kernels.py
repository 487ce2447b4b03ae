"""The kernels of one layer in a training step, some of them at a time, on one core.

The layer passes through a tape, a program and a session like any network. So the kernels have the
operands and the slices that the engine passes to them, without any knowledge of these here.
"""

from functools import partial

import numpy as np

from sknn.cpu.kernels.run import BLOCKS
from sknn.cpu.program import Program
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.layers.base import size
from sknn.tape.sources import Source
from sknn.tape.tape import Tape

WIDTH = 32
DIRECTIONS = FORWARD, TO_INPUT, TO_WEIGHTS = ("forward", "input gradient", "weight gradient")
_STAND_IN = "weigh"  # stands for the operation that writes the layer's input; it is not run


def runs(layer, shape, dtype, blocks):
    """Return functions that run the kernels of a layer over a batch of some blocks, n times.

    They are in two dicts, one by direction, one by the name of the operation. Each function takes
    n, the number of runs.
    """
    program, by_direction, by_name = _compile(layer, shape, dtype)
    everything = program.phases = np.zeros((len(program.addresses), 3), np.int64)
    batch = blocks * WIDTH
    session = Session(program, batch)
    parameters = DEVICES["cpu"].zeros(program.layout)
    # any number of rows: the first operation, which would read them, is not run
    session.bind(parameters, Source(np.broadcast_to(np.zeros((1, 1), dtype), (2**40, 1))))
    numbers = np.random.default_rng(0).random(1000, dtype) - 0.5
    for arena in (parameters, session._workspace.view(dtype)):
        arena[:] = np.resize(numbers, len(arena))

    def run(phases, times):
        everything[:] = 0  # an empty phase
        everything[: len(phases)] = phases
        session.run(times * batch, batch, np.zeros((times, 2)))

    return tuple(
        {name: partial(run, phases) for name, phases in groups.items()}
        for groups in (by_direction, by_name)
    )


def _compile(layer, shape, dtype):
    """Compile one layer; return its program, and the phases of each direction and operation."""
    tape = Tape(WIDTH, packing=DEVICES["cpu"].packing(dtype))
    for parameter in layer.parameters(shape):
        tape.parameter(parameter)
    x = tape.buffer("x", size(shape))
    tape.add(_STAND_IN, (), (x,))
    z, backward = layer.forward(tape, x, shape, iter(tape.parameters), True)
    dz = tape.buffer("dz", z.rows)
    tape.add(_STAND_IN, (), (dz,))
    dx = backward(dz, True)
    tape.finish()
    program = Program(tape, dtype)

    by_direction, by_name = {direction: [] for direction in DIRECTIONS}, {}
    direction = FORWARD  # transformed weights come first
    for phase, (kind, first, last) in zip(program.tape.phases, program.phases, strict=True):
        for i in range(first, last):
            op = i if kind == BLOCKS else program.tasks[i, 0]
            name = program.keys[op][0]
            if name == _STAND_IN:
                direction = FORWARD if x in phase.ops[i - first].writes else TO_INPUT
                continue
            is_gradient = kind == BLOCKS and dx not in phase.ops[i - first].writes
            of_weights = direction == TO_INPUT and (kind != BLOCKS or is_gradient)
            by_direction[TO_WEIGHTS if of_weights else direction].append((kind, i, i + 1))
            by_name.setdefault(name, []).append((kind, i, i + 1))
    return program, by_direction, by_name
