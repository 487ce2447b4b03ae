"""Recurrent layers and tokens on CUDA's kernels, thread by thread in the emulator."""

import numpy as np
import pytest
from emulated_driver import EmulatedCUDA
from emulator import needs_emulator
from reference import Executor, X
from test_operations import assert_close, copied
from test_recurrent_operations import (
    GATES,
    _join,
    _lay_out,
    _lives,
    draw_gradients,
    forward,
    make_cell,
)

from sknn.cuda.kernels.frame import TEAM_PARTS
from sknn.tape.operations import OPERATIONS
from sknn.tape.sources import Source
from sknn.tape.tape import Parameter, Tape

pytestmark = needs_emulator
#: Grids of other shapes, whose threads take turns in other orders. In the last two, each operation
#: is done by teams of some groups, which meet in its middle.
DEVICES = {
    "single": EmulatedCUDA(threads=32, groups=2, single=True),
    "single, mixed": EmulatedCUDA(threads=64, groups=2, single=True, order="mixed"),
    "walk": EmulatedCUDA(threads=64, groups=5, order="backward"),
    "walk, mixed": EmulatedCUDA(threads=32, groups=7, order="mixed"),
}


def run(device, tape, dtype, x, values=(), batch=None, rates=None, out=None, **bound):
    """Run a tape's program; return what it leaves: outputs, or gradients."""
    n = len(x)
    batch = batch or n
    program = device.compile(tape, dtype)
    phases = [phase.kind for phase in tape.phases]
    scattered = [op for phase in tape.phases for op in phase.all_ops() if op.name == "scatter"]
    if out is None:
        out = np.zeros((n, scattered[0].attributes[0] if scattered else 1), dtype)
    packed = device.upload(program.layout, values)
    gradient = device.zeros(program.layout) if "parameters" in phases else None
    with device.session(program, batch, 1, gradient) as session:
        session.bind(packed, Source(x), out=out, **bound)
        if program.walks and scattered:  # teams of some groups
            assert session._frame[TEAM_PARTS] > 1
        session.run(n, batch, rates)
    return out if gradient is None else device.download(program.layout, gradient)


def leave(name, arrays, attributes, variant, parameters, dtype, **bound):
    """Check what an operation leaves on each device, and that its bits are the same on all."""
    row, tape = OPERATIONS[name], Tape(32, packing=DEVICES["walk"].packing(dtype))
    others = {"lengths", *parameters}
    arrays = {k: arrays[k] for k in {*row.reads, *row.writes} - others}
    places, total = _lay_out(arrays)
    x = _join(arrays, places, total, dtype)
    operands = {k: tape.parameter(Parameter(k, v.shape)) for k, v in parameters.items()}
    addresses, base = tape.buffer("addresses", 2), tape.buffer("all", total)
    tape.add("gather", (), (addresses, base), (total, X), Source(x).variant)
    operands |= {k: tape.view(base, *place) for k, place in places.items()}
    if "lengths" in row.reads:
        operands["lengths"] = tape.lengths(attributes[0])
    reads, writes = ([operands[k] for k in names] for names in (row.reads, row.writes))
    tape.add(name, reads, writes, attributes, variant)
    tape.add("scatter", (base,), (), (total,))
    values = [value.astype(dtype) for value in parameters.values()]
    rates, found = np.ones((1, 2)), {}
    for key, device in DEVICES.items():
        found[key] = run(device, tape, dtype, x, values, **copied(bound))
    plain = Executor(tape, values, dtype)
    _, expected = plain.run({X: x}, np.arange(len(x)), len(x), rates, **copied(bound))
    left = {}
    for k, (start, length) in places.items():
        here = expected[:, start : start + length].T
        known = ~np.isnan(here)
        if (name, k) == ("simple_rnn", "z"):  # nobody reads it again
            continue
        if k == "extra" and name in GATES:  # beyond the end no gradient is multiplied by it
            known &= _lives(bound["lengths"], attributes)
        actual = [a[:, start : start + length].T for a in found.values()]
        tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
        assert_close(actual[0][known], here[known], tolerance, f"{k} of {name}")
        for other in actual[1:]:
            np.testing.assert_array_equal(other[known], actual[0][known], f"{k} of {name}")
        left[k] = np.where(known, here, np.nan)
    return left


#: Units, steps, samples, truncate; whether the sequences have lengths, and whether dy is there.
SHAPES = [(5, 4, 37, 0, True, True), (40, 3, 33, 2, True, True), (33, 5, 7, 3, False, False)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "variant"),
    [("simple_rnn", ("tanh",)), ("lstm", ()), ("gru", ()), ("gru_after", ())],
)
def test_cells(name, variant, dtype):
    for case, (units, steps, n, truncate, ragged, sequence) in enumerate(SHAPES):
        for reverse in (0, 1):
            _check_cell(
                name, variant, dtype, units, steps, n, truncate, ragged, sequence, reverse, case
            )


def _check_cell(name, variant, dtype, units, steps, n, truncate, ragged, sequence, reverse, case):
    operands = make_cell(name, units, n, steps, case, ragged, reverse)
    if ragged and case:  # there are steps that no sequence has
        operands["lengths"] = np.minimum(operands["lengths"], steps - 1)
    lengths = np.ascontiguousarray(operands["lengths"].T, np.int64)
    bound = {"lengths": lengths}
    operands["extra"] = np.full((steps * units, n), np.nan)
    parameters = {k: operands[k] for k in "wub" if k in OPERATIONS[name].reads}
    packs = (0,) * (1 + name.startswith("gru"))
    forward_variant = (*variant, 0, *packs)
    leave(name, operands, (steps, units, reverse), forward_variant, parameters, dtype, **bound)
    done = forward(name, operands, steps, units, reverse, *variant)
    done = draw_gradients(name, done, steps, units)
    done["z"] = np.nan_to_num(done["z"], nan=7.0)
    if not sequence:
        done["dy"] = np.full_like(done["dy"], np.nan)
    done["dz"], done["scratch"] = np.full(done["z"].shape, np.nan), np.full((units, n), np.nan)
    name += "_gradient"
    parameters = {k: operands[k] for k in "wu" if k in OPERATIONS[name].reads}
    attributes = steps, units, reverse, truncate
    backward_variant = (*variant, sequence, 0, *packs)
    leave(name, done, attributes, backward_variant, parameters, dtype, **bound)
