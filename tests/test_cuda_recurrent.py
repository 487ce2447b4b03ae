"""Recurrent layers and tokens on CUDA's kernels, thread by thread in the emulator."""

import numpy as np
import pytest
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
from trial_gpu import TrialGPU

from sknn.cuda.kernels.frame import TEAM_PARTS
from sknn.layers.weighted import transpose
from sknn.tape.operations import OPERATIONS
from sknn.tape.sources import Source
from sknn.tape.tape import Parameter, Tape

pytestmark = needs_emulator
#: Grids of other shapes, whose threads take turns in other orders. In the last three, each
#: operation is done by teams of some groups, which meet in its middle.
def _devices(threads):
    return {
        "single": TrialGPU(threads=32, groups=2, single=True),
        "walk": TrialGPU(threads=threads, groups=5, parts=5, order="backward"),
        "mixed": TrialGPU(threads=threads, groups=7, parts=7, order="mixed"),
        "alone": TrialGPU(threads=threads, groups=5, parts=5, order="alone"),
    }


DEVICES = _devices(64)
#: For cells, whose kernels are long to compile, and the same for groups of 32 in other tests. Of
#: one cell the groups are larger, too: all share what goes by their size, the products.
CELL_DEVICES = _devices(32)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def run(device, tape, dtype, x, values=(), batch=None, rates=None, teams=False, again=0, **bound):
    """Run a tape's program; return what it leaves: outputs, or gradients.

    `teams` says that a block has several groups, where one launch does all; `again`, how often the
    gradient is added to what is there.
    """
    batch = batch or len(x)
    program, phases = device.compile(tape, dtype), {phase.kind for phase in tape.phases}
    out = bound.pop("out", None)
    if out is None:
        out = np.zeros((len(x), max(program.needs.outputs, 1)), dtype)
    program.needs.tokens.clear()  # kernels alone keep to their tables
    packed = device.upload(program.layout, values)
    gradient = device.zeros(program.layout) if "parameters" in phases else None
    if gradient is not None:
        device.write(gradient, 7.0)
    with device.session(program, batch, 1, gradient) as session:
        session.bind(packed, Source(x), out=out, **bound)
        assert not (teams and program.walks) or session._frame[TEAM_PARTS] > 1
        for accumulate in range(1 + again):
            session.run(len(x), batch, rates, accumulate=bool(accumulate))
    return out if gradient is None else device.download(program.layout, gradient)


def define(tape, values, dtype, x, rates, batch=None, **bound):
    """Return what the definition says: the loss, and outputs; or gradients."""
    plain = Executor(tape, values, dtype)
    left = plain.run({X: x}, np.arange(len(x)), batch or len(x), rates, **bound)
    return [plain.gradients[p] for p in tape.parameters] if plain.gradients else left


def assert_same(found, expected, dtype, what):
    """Check that what devices leave is right, and has the same bits on all."""
    assert_close(found[0], expected, TOLERANCE[dtype], what)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0], what)


def leave(name, arrays, attributes, variant, parameters, dtype, devices, **bound):
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
    found = [
        run(device, tape, dtype, x, values, teams=True, **copied(bound))
        for device in devices.values()
    ]
    _, expected = define(tape, values, dtype, x, np.ones((1, 2)), **copied(bound))
    left = {}
    for k, (start, length) in places.items():
        here = expected[:, start : start + length].T
        known = ~np.isnan(here)
        if (name, k) == ("simple_rnn", "z"):  # it is not read again
            continue
        if k == "extra" and name in GATES:  # beyond the end no gradient is multiplied by it
            known &= _lives(bound["lengths"], attributes)
        parts = [a[:, start : start + length].T[known] for a in found]
        assert_same(parts, here[known], dtype, f"{k} of {name}")
        left[k] = np.where(known, here, np.nan)
    return left


#: Units, steps, samples, truncate; whether the sequences have lengths, and whether dy is there. The
#: second has three tiles of a product for two groups of a team: one of them is done before.
SHAPES = [(5, 4, 37, 0, True, True), (70, 3, 33, 2, True, True), (33, 5, 7, 3, False, False)]


@pytest.mark.parametrize(
    ("name", "variant", "dtype"),
    [
        ("simple_rnn", ("tanh",), "float64"), ("lstm", (), "float32"), ("lstm", (), "float64"),
        ("gru", (), "float64"), ("gru_after", (), "float64"),
    ],
)  # fmt: skip
def test_cells(name, variant, dtype):
    """With products of several tiles, and teams that have several groups."""
    for case, shape in enumerate(SHAPES):
        for reverse in (0, 1):
            _check_cell(name, variant, dtype, *shape, reverse, case)


def _check_cell(name, variant, dtype, units, steps, n, truncate, ragged, sequence, reverse, case):
    devices = DEVICES if (name, dtype) == ("lstm", "float32") else CELL_DEVICES
    operands = make_cell(name, units, n, steps, case, ragged, reverse)
    if ragged and case:  # there are steps that no sequence has
        operands["lengths"] = np.minimum(operands["lengths"], steps - 1)
    lengths = np.ascontiguousarray(operands["lengths"].T, np.int64)
    bound = {"lengths": lengths}
    operands["extra"] = np.full((steps * units, n), np.nan)
    parameters = {k: operands[k] for k in "wub" if k in OPERATIONS[name].reads}
    packs = (0,) * (1 + name.startswith("gru"))
    forward_variant = (*variant, 0, *packs)
    attributes = steps, units, reverse
    leave(name, operands, attributes, forward_variant, parameters, dtype, devices, **bound)
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
    leave(name, done, attributes, backward_variant, parameters, dtype, devices, **bound)


# --- tokens


@pytest.mark.parametrize("name", ["lookup", "lookup_unbiased"])
def test_lookup(name):
    random, steps, units = np.random.RandomState(0), 3, 17
    x = random.randint(0, 4, size=(steps, 37)).astype(float)
    x[0, :4] = -1.0, 4.0, np.nan, 1e30  # no number may lead out of the table
    w, b = random.normal(size=(4, units)), random.normal(size=units)
    parameters = {"w": w, "b": b} if name == "lookup" else {"w": w}
    tape = Tape(32, packing=DEVICES["walk"].packing("float64"))
    addresses, tokens = tape.buffer("addresses", 2), tape.buffer("x", steps)
    tape.add("gather", (), (addresses, tokens), (steps, X), Source(x.T).variant)
    z = tape.buffer("z", steps * units)
    reads = [tape.parameter(Parameter(k, v.shape)) for k, v in parameters.items()]
    tape.add(name, (tokens, *reads), (z,), (steps, 4, units), (20,))
    tape.add("scatter", (z,), (), (steps * units,))
    found = [run(d, tape, "float64", x.T, parameters.values()) for d in DEVICES.values()]
    x[0, :4] = 0.0, 3.0, 0.0, 3.0
    _, expected = define(tape, parameters.values(), "float64", x.T, np.ones((1, 2)))
    assert_same(found, expected, "float64", name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_of_what_is_looked_up(dtype):
    """Tables of several tasks too; the gradients may be a part of more rows."""
    random, n = np.random.RandomState(0), 2 * 32 + 3
    for units, steps, tokens, stride in ((3, 1, 5, 3), (17, 4, 150, 17), (40, 30, 3, 43)):
        arrays = {
            "x": random.randint(0, tokens, size=(steps, n)) // 2,
            "dz": random.normal(size=((steps - 1) * stride + units, n)),
        }
        places, total = _lay_out(arrays)
        x = _join(arrays, places, total, dtype)
        tape = Tape(32, packing=DEVICES["walk"].packing(dtype))
        w = tape.parameter(Parameter("w", (tokens, units)))
        addresses, base = tape.buffer("addresses", 2), tape.buffer("all", total)
        tape.add("gather", (), (addresses, base), (total, X), Source(x).variant)
        numbers, dz = (tape.view(base, *place) for place in places.values())
        packed = transpose(tape, dz, steps, units, stride, w.pack)
        tape.gradient(w, "lookup_gradient", (numbers, packed), (steps, tokens, units), (w.pack,))
        tape.finish()
        values = [np.zeros(w.shape, dtype)]
        (expected,) = define(tape, values, dtype, x, np.ones((1, 2)))
        for again in (0, 2):
            found = [run(d, tape, dtype, x, values, again=again)[0] for d in DEVICES.values()]
            assert_same(found, (1 + again) * expected, dtype, f"gradient of {units} units")


# --- states that are carried along


def test_states_are_loaded_and_saved():
    """By position in the run, over several steps, each of more than a block."""
    random, streams, units, offset = np.random.RandomState(0), 35, 17, 3
    carry, n = random.normal(size=(streams, 25)), 3 * streams
    resets = (random.uniform(size=n) < 0.3).astype(np.uint8)
    x, kinds = random.normal(size=(n, units)), ({}, {"resets": resets})
    tape = Tape(32)
    addresses, a, filled = tape.buffer("addresses", 2), tape.buffer("a", units), tape.buffer("f", 1)
    state = tape.buffer("state", 2 * units)
    before, after = tape.view(state, 0, units), tape.view(state, units, units)
    tape.add("gather", (), (addresses, a), (units, X), Source(x).variant)
    tape.add("load_state", (), (before,), (units, offset))
    tape.add("fill", (), (after,), (units * 32, -2.5))
    tape.add("fill", (), (filled,), (32, 0.5))
    tape.add("save_state", (a,), (), (units, offset + 2))
    tape.add("scatter", (state,), (), (2 * units,))
    for more in kinds:
        carried = carry.copy()
        _, expected = define(
            tape, (), "float64", x, np.ones((3, 2)), streams, carry=carried, **more
        )
        for device in DEVICES.values():
            left = carry.copy()
            found = run(device, tape, "float64", x, batch=streams, carry=left, **more)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(left, carried)


# --- drawing the next token


@pytest.mark.parametrize("top", [0, 1, 4, 9])
def test_drawn_tokens_are_read_by_the_next_step(top):
    random, n, units = np.random.RandomState(top), 40, 9
    table, rates = 2 * random.normal(size=(units, units)), np.ones((n, 6))
    table = np.round(table)  # some are equal
    rates[:, 2] = random.uniform(0.3, 2.0, size=n)
    rates[:, 3], rates[:, 4], rates[:, 5] = random.uniform(size=n), top, np.arange(n) % 7 == 3
    rates[:2, 3] = 0.0, 1 - 2.0**-53
    given = random.randint(units, size=n + 1)
    tape = Tape(32, packing=DEVICES["walk"].packing("float64"))
    w = tape.parameter(Parameter("w", (units, units)))
    addresses, x, z = (tape.buffer(k, rows) for k, rows in (("a", 2), ("x", 1), ("z", units)))
    tape.add("gather", (), (addresses, x), (1, X), Source(given[:, None]).variant)
    tape.add("lookup_unbiased", (x, w), (z,), (1, units, units), (w.pack,))
    tape.add("draw", (z,), (), (units,))
    expected = given.copy()
    define(tape, [table], "float64", expected[:-1, None], rates, 1, outputs=expected)
    assert (expected != given).any()
    for device in DEVICES.values():
        tokens = given.copy()
        run(device, tape, "float64", tokens[:-1, None], [table], 1, rates, out=tokens)
        np.testing.assert_array_equal(tokens, expected)
