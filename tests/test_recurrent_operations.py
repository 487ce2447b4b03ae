"""The operations on sequences, each alone against its NumPy definition, on small tapes."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from reference import REFERENCE, Executor, X, Y
from test_operations import TOLERANCE, assert_close, copied

from sknn.cpu.packing import lanes_of
from sknn.cpu.program import Program
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.layers.weighted import add_bias_gradient, transpose
from sknn.tape.operations import OPERATIONS
from sknn.tape.sources import ClassNumbers, Source
from sknn.tape.tape import Parameter, Tape

DTYPES = ["float64", "float32"]
#: The gates of each cell, in columns of the kernel for each unit.
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3, "gru_after": 3}
#: What the kernels of each width are compiled for: rows of a tile, and vectors that a pack of w
#: and of u has. Any number of units can be computed with any of them.
TILES = {
    (1, "float32"): (8, 1, 2), (16, "float32"): (3, 2, 1), (32, "float32"): (10, 1, 1),
    (1, "float64"): (1, 2, 1), (8, "float64"): (5, 2, 1), (32, "float64"): (8, 1, 2),
}  # fmt: skip
#: With the last two, stores of four whole packs end after the last unit.
UNITS = (1, 3, 16, 17, 33, 40, 30, 60)


# --- cells


def make_cell(name, units, n, steps, seed=0, ragged=True, reverse=0):
    """Return random operands of a cell's forward operation: h and c have their first state only."""
    random = np.random.RandomState(seed)
    columns = {"lstm": 4, "simple_rnn": 1}.get(name, 2) * units
    operands = {
        "z": random.normal(size=(steps * GATES[name] * units, n)),
        "w": random.normal(size=(units, columns)) / np.sqrt(units),
        "u": random.normal(size=(units, units)) / np.sqrt(units),
        "b": random.normal(size=units),
        "lengths": np.full((1, n), steps),
    }
    if ragged:
        operands["lengths"] = random.randint(0, steps + 1, size=(1, n))
        operands["lengths"][0, : steps + 1] = np.arange(steps + 1)[:n]
    for state in ("h", "c"):
        slots = np.full((steps + 1, units, n), np.nan)
        slots[steps if reverse else 0] = random.uniform(-0.9, 0.9, (units, n))
        operands[state] = slots.reshape(-1, n)
    return operands


def run_reference(operation, operands, attributes, variant=()):
    """Return what an operation writes, by name."""
    row = OPERATIONS[operation]
    at = SimpleNamespace(variant=variant)
    results = REFERENCE[operation](at, *(operands[name] for name in row.reads), *attributes)
    results = results if len(row.writes) > 1 else (results,)
    return dict(zip(row.writes, results, strict=True))


def forward(name, operands, steps, units, reverse, function="tanh"):
    return operands | run_reference(name, operands, (steps, units, reverse), (function,))


def backward(name, operands, steps, units, reverse, truncate=0, function="tanh", sequence=True):
    variant = (function, sequence) if name == "simple_rnn" else (sequence,)
    attributes = steps, units, reverse, truncate
    return operands | run_reference(f"{name}_gradient", operands, attributes, variant)


def states(operands, steps, units, reverse, name="h"):
    """Return a cell's states [steps][units][samples] before each step, and after it."""
    slots = operands[name].reshape(steps + 1, units, -1)
    return (slots[1:], slots[:-1]) if reverse else (slots[:-1], slots[1:])


def draw_gradients(name, operands, steps, units, seed=5):
    """Return the operands with random gradients of all states and of the last ones."""
    random, n = np.random.RandomState(seed), operands["h"].shape[1]
    drawn = {"dy": random.normal(size=(steps * units, n))}
    for state in ("dh", "dc") if name == "lstm" else ("dh",):
        drawn[state] = random.normal(size=(units, n))
    return operands | drawn


# --- the definitions among themselves

#: The definitions' products are BLAS's, which may add up the terms of a column in another order
#: where there are other columns beside it, or where it lies elsewhere in memory. A sum of at most
#: a dozen terms of about one each is then off by up to 12 * 12 eps, however small it is itself,
#: and half a dozen steps add that up.
ROUNDING = 6 * 12 * 12 * np.finfo(float).eps


def _objective(name, operands, steps, units, reverse, function):
    """Return the sum of all states, each times its gradient."""
    done = forward(name, operands, steps, units, reverse, function)
    _, after = states(done, steps, units, reverse)
    last = 0 if reverse else steps - 1
    total = (after.reshape(steps * units, -1) * operands["dy"]).sum()
    total += (after[last] * operands["dh"]).sum()
    if name == "lstm":
        _, after = states(done, steps, units, reverse, "c")
        total += (after[last] * operands["dc"]).sum()
    return total


def _products(x, dz):
    """Return the sum over steps and samples of the products of two [steps][units][samples]."""
    return np.einsum("tkn,tun->ku", x, dz)


def _gradients(name, operands, steps, units, reverse, function):
    """Return the gradient of the objective in each operand of the forward operation."""
    done = forward(name, operands, steps, units, reverse, function)
    product = done.get("extra")
    done = backward(name, done, steps, units, reverse, function=function)
    before, _ = states(done, steps, units, reverse)
    dz = done["dz"].reshape(steps, GATES[name], units, -1)
    gates = dz[:, :2] if name.startswith("gru") else dz
    first = steps if reverse else 0
    gradients = {"z": done["dz"]}
    gradients["w"] = _products(before, gates.reshape(steps, -1, dz.shape[-1]))
    for state in ("h", "c") if name == "lstm" else ("h",):
        gradient = np.zeros((steps + 1, units, dz.shape[-1]))
        gradient[first] = done[f"d{state}"]
        gradients[state] = gradient.reshape(operands[state].shape)
    if name == "gru":
        gradients["u"] = _products(product.reshape(before.shape), dz[:, 2])
    if name == "gru_after":
        dproduct = done["extra"].reshape(before.shape)
        gradients["u"], gradients["b"] = _products(before, dproduct), dproduct.sum(axis=(0, 2))
    return gradients


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize(
    ("name", "function"),
    [("simple_rnn", "tanh"), ("simple_rnn", "relu"), ("lstm", ""), ("gru", ""), ("gru_after", "")],
)
def test_definitions_of_cells_and_of_their_gradients_agree(name, function, reverse):
    steps, units = 5, 3
    operands = make_cell(name, units, 9, steps, seed=1, reverse=reverse)
    operands = draw_gradients(name, operands, steps, units)
    gradients = _gradients(name, operands, steps, units, reverse, function)
    random = np.random.RandomState(2)
    for operand, gradient in gradients.items():
        for _ in range(3):
            direction, ends = random.normal(size=gradient.shape), []
            for step in (-1e-6, 1e-6):
                moved = operands | {operand: operands[operand] + step * direction}
                ends.append(_objective(name, moved, steps, units, reverse, function))
            expected = (ends[1] - ends[0]) / 2e-6
            actual = (gradient * direction).sum()
            assert actual == pytest.approx(expected, rel=1e-6, abs=1e-7), operand


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("name", GATES)
def test_a_truncated_gradient_is_that_of_the_parts_alone(name, reverse):
    steps, units, truncate, n = 7, 3, 3, 9
    operands = make_cell(name, units, n, steps, seed=3, reverse=reverse)
    operands["lengths"] = np.full((1, n), steps)
    done = forward(name, operands, steps, units, reverse)
    done = draw_gradients(name, done, steps, units)
    whole = backward(name, done, steps, units, reverse, truncate)["dz"]
    whole = whole.reshape(steps, -1, n)
    for start in range(0, steps, truncate):
        stop = min(start + truncate, steps)
        part = dict(done, lengths=done["lengths"] - start)
        for operand, rows in (("z", GATES[name]), ("dy", 1), ("extra", 1)):
            if operand in done:
                cut = done[operand].reshape(steps, rows * units, n)[start:stop]
                part[operand] = cut.reshape(-1, n)
        for operand in ("h", "c"):
            cut = done[operand].reshape(steps + 1, units, n)[start : stop + 1]
            part[operand] = cut.reshape(-1, n)
        if start != 0 if reverse else stop != steps:  # a part without a gradient
            part.update({k: np.zeros((units, n)) for k in ("dh", "dc") if k in done})
        alone = backward(name, part, stop - start, units, reverse)["dz"]
        expected = whole[start:stop].reshape(alone.shape)
        np.testing.assert_allclose(alone, expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("name", GATES)
def test_a_sequence_has_the_states_that_it_has_without_padding(name, reverse):
    steps, units = 6, 4
    operands = make_cell(name, units, 8, steps, seed=4, reverse=reverse)
    done = forward(name, operands, steps, units, reverse)
    for n, length in enumerate(operands["lengths"][0]):
        if not length:
            slots = done["h"].reshape(steps + 1, units, -1)[..., n]
            np.testing.assert_array_equal(slots, np.tile(slots[-reverse], (steps + 1, 1)))
            continue
        alone = {k: v[..., n : n + 1] if k in "zhc" else v for k, v in operands.items()}
        start = (steps - length if reverse else 0) * units
        alone["z"] = alone["z"][: length * GATES[name] * units]
        for state in ("h", "c"):
            alone[state] = alone[state][start : start + (length + 1) * units]
        alone["lengths"] = np.array([[length]])
        alone = forward(name, alone, length, units, reverse)
        for state in ("h", "c") if name == "lstm" else ("h",):
            _, after = states(done, steps, units, reverse, state)
            last = after[0 if reverse else steps - 1][:, n]
            expected = alone[state].reshape(length + 1, units)[0 if reverse else length]
            np.testing.assert_allclose(last, expected, rtol=ROUNDING, atol=ROUNDING)


def test_operations_that_hold_no_sequence_are_those_of_each_step():
    random = np.random.RandomState(6)
    at = SimpleNamespace(variant=("squared_error", True), loss=0.0)
    a, y, weights = (random.normal(size=(k, 5)) for k in (12, 12, 4))
    whole = REFERENCE["softmax"](at, a, 3, 4)
    delta = REFERENCE["loss"](at, a, y, weights, 3, 0.0, 0.5, 1.0, 0.0, 4)
    total, at.loss = at.loss, 0.0
    for t in range(4):
        rows = slice(3 * t, 3 * t + 3)
        operands = a[rows], y[rows], weights[t : t + 1]
        alone = REFERENCE["loss"](at, *operands, 3, 0.0, 0.5, 1.0, 0.0, 1)
        np.testing.assert_array_equal(delta[rows], alone)
        np.testing.assert_array_equal(whole[rows], REFERENCE["softmax"](at, a[rows], 3, 1))
    assert total == pytest.approx(at.loss)


# --- kernels, each alone on a tape that reads its operands from X and writes them all


def _lay_out(arrays):
    """Return where each array lies in one buffer, and the buffer's rows: each has room behind."""
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = end, len(array)
        end += -(-(len(array) + 1) // 32) * 32
    return places, end


def _join(arrays, places, rows, dtype):
    """Return X: the arrays side by side, and what is not a number between them."""
    x = np.full((next(iter(arrays.values())).shape[1], rows), np.nan, dtype)
    for name, (start, length) in places.items():
        x[:, start : start + length] = arrays[name].T
    return x


def run_tape(
    tape, dtype, x, values=(), batch=None, rates=None, targets=None, weights=None, **bound
):
    """Run a tape's program and its definition; return what both leave."""
    n = len(x)
    batch = batch or n
    rates = np.ones((-(-n // batch), 2)) if rates is None else rates
    made, rows = Program(tape, dtype), np.random.RandomState(n).permutation(n)
    x = x[np.argsort(rows)]  # what is given by position is so, and not by row
    scattered = [op for phase in tape.phases for op in phase.all_ops() if op.name == "scatter"]
    out = np.zeros((n, scattered[0].attributes[0] if scattered else 1), dtype)
    packed, source = DEVICES["cpu"].upload(made.layout, values), Source(x)
    gradient = np.zeros_like(packed) if made.whole_gradient else None
    engine_bound, plain_bound = copied(bound), copied(bound)
    with Session(made, batch, 1, gradient) as session:
        session.bind(
            packed, source, None if targets is None else ClassNumbers(targets), weights, rows, out,
            **engine_bound,
        )  # fmt: skip
        session._workspace.view(dtype)[:] = np.nan
        total = float(session.run(n, batch, rates))
    plain = Executor(tape, values, dtype)
    expected = plain.run({X: x, Y: targets}, rows, batch, rates, weights, **plain_bound)
    assert total == pytest.approx(expected[0], rel=TOLERANCE[dtype], abs=TOLERANCE[dtype])
    for name in bound:
        assert_close(engine_bound[name], plain_bound[name], TOLERANCE[dtype], name)
    return SimpleNamespace(
        out=out, expected=expected[1], lengths=bound.get("lengths"),
        gradients=[] if gradient is None else made.layout.unpack(gradient),
        expected_gradients=[plain.gradients.get(p) for p in tape.parameters],
    )  # fmt: skip


def _lives(lengths, attributes):
    """Return which elements of [steps][units][samples] belong to steps before the end."""
    steps, units = attributes[:2]
    return np.repeat(np.arange(steps), units)[:, None] < lengths[:, 0]


def run_operation(
    name, dtype, width, arrays, attributes=(), variant=(), parameters=None, packs=None, **options
):
    """Run an operation on a tape of its own; check all that it leaves, and return what that is.

    What it reads and writes are views of one buffer. `arrays` has their values before, [rows,
    samples], by name, and `parameters` those of parameters, which are packed as `packs` says;
    lengths are not among them.
    """
    parameters = parameters or {}
    tape, row = Tape(width), OPERATIONS[name]
    arrays = {k: a for k, a in arrays.items() if k in row.reads + row.writes and k != "lengths"}
    places, total = _lay_out(arrays)
    x = _join(arrays, places, total, dtype)
    operands = {
        k: tape.parameter(Parameter(k, value.shape, (packs or {}).get(k, lanes_of(dtype))))
        for k, value in parameters.items()
    }
    addresses, base = tape.buffer("addresses", 2), tape.buffer("all", total)
    tape.add("gather", (), (addresses, base), (total, X), Source(x).variant)
    operands |= {k: tape.view(base, *place) for k, place in places.items()}
    if "lengths" in row.reads:
        operands["lengths"] = tape.lengths(attributes[0])
    reads, writes = ([operands[k] for k in names] for names in (row.reads, row.writes))
    tape.add(name, reads, writes, attributes, variant)
    tape.add("scatter", (base,), (), (total,))
    values = [value.astype(dtype) for value in parameters.values()]
    made = run_tape(tape, dtype, x, values, **options)
    left = {}
    for k, (start, length) in places.items():
        actual, expected = (a[:, start : start + length].T for a in (made.out, made.expected))
        if (name, k) == ("simple_rnn", "z"):  # it is not read again, and may be overwritten
            continue
        known = ~np.isnan(expected)
        if k == "extra" and name in GATES:  # beyond the end no gradient is multiplied by it
            known &= _lives(made.lengths, attributes)
        assert_close(actual[known], expected[known], TOLERANCE[dtype], f"{k} of {name}")
        left[k] = np.where(known, actual, np.nan)
    return left


# --- cells


def _cell_cases(name, width, dtype):
    """Yield attributes of a cell, and its operands rounded to the scalar type."""
    for case, (units, reverse) in enumerate(itertools.product(UNITS, (0, 1))):
        steps, truncate = 1 + (3 * case + width) % 7, (0, 2, 3)[case % 3]
        n = width + 3 if width > 1 else 4
        operands = make_cell(name, units, n, steps, case, case % 4 > 0, reverse)
        rounded = {k: v.astype(dtype) for k, v in operands.items() if k != "lengths"}
        operands |= {k: v.astype(float) for k, v in rounded.items()}
        yield units, steps, reverse, truncate, operands


def _run_cell(name, dtype, width, operands, attributes, variant, gradient=False):
    rows, pack_w, pack_u = TILES[width, dtype]
    lanes = lanes_of(dtype)
    packs = {"w": pack_w * lanes, "u": pack_u * lanes}
    variant += rows, packs["w"]
    if name.startswith("gru"):
        variant += (packs["u"],)
    name += "_gradient" if gradient else ""
    reads = OPERATIONS[name].reads
    parameters = {k: operands[k] for k in "wub" if k in reads}
    arrays = {k: a for k, a in operands.items() if k not in parameters}
    return run_operation(
        name, dtype, width, arrays, attributes, variant, parameters, packs,
        lengths=np.ascontiguousarray(operands["lengths"].T, np.int64),
    )  # fmt: skip


#: Each cell, with what its kernel is compiled for beside its tile, and at which widths: together
#: all, since one cell goes over samples as another does.
CELLS = [
    ("simple_rnn", ("tanh",), [*TILES]),
    ("simple_rnn", ("relu",), [(1, "float64")]),
    ("lstm", (), [(1, "float32"), (8, "float64"), (32, "float32"), (32, "float64")]),
    ("gru", (), [(1, "float64"), (16, "float32"), (32, "float32"), (32, "float64")]),
    ("gru_after", (), [(1, "float64"), (1, "float32"), (8, "float64"), (32, "float32")]),
]


@pytest.mark.parametrize(
    ("name", "variant", "width", "dtype"),
    [(name, variant, *tile) for name, variant, tiles in CELLS for tile in tiles],
)
def test_cells(name, variant, width, dtype):
    sequence = (width, dtype) not in [(16, "float32"), (1, "float64")]
    for units, steps, reverse, truncate, operands in _cell_cases(name, width, dtype):
        n = operands["h"].shape[1]
        if name.startswith("gru"):
            operands["extra"] = np.full((steps * units, n), np.nan)
        _run_cell(name, dtype, width, operands, (steps, units, reverse), variant)
        done = forward(name, operands, steps, units, reverse, *variant)
        done = draw_gradients(name, done, steps, units)
        done["z"] = np.nan_to_num(done["z"], nan=7.0)  # where it is not defined, it is finite
        if not sequence:
            done["dy"] = np.full_like(done["dy"], np.nan)
        done["dz"] = np.full(done["z"].shape, np.nan)
        done["scratch"] = np.full((units, n), np.nan)
        attributes = steps, units, reverse, truncate
        _run_cell(name, dtype, width, done, attributes, (*variant, sequence), gradient=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "variant", "tiles"), [c for c in CELLS if len(c[2]) > 1])
def test_states_have_the_same_bits_at_every_width(name, variant, tiles, dtype):
    steps, units = 5, 33
    for reverse in (0, 1):
        operands = make_cell(name, units, 37, steps, 8, True, reverse)
        if name.startswith("gru"):
            operands["extra"] = np.full((steps * units, 37), np.nan)
        left = [
            _run_cell(name, dtype, width, operands, (steps, units, reverse), variant)
            for width, kind in tiles
            if kind == dtype
        ]
        for some in left[1:]:
            np.testing.assert_array_equal(some["h"], left[0]["h"])


# --- states that are carried along, and lengths

SOME = [(1, "float32"), (8, "float64"), (32, "float32")]


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_fill(width, dtype):
    for units in UNITS:
        arrays = {"out": np.full((units, width + 3), np.nan)}
        left = run_operation("fill", dtype, width, arrays, (units * width, -2.5))
        assert (left["out"] == -2.5).all()


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_states_are_loaded_and_saved(width, dtype):
    """By position in the run, over several steps, each of more than a block."""
    random, streams = np.random.RandomState(0), width + 3
    carry = random.normal(size=(streams, 50)).astype(dtype)
    carried = np.tile(carry, (3, 1)).T
    resets = (random.uniform(size=3 * streams) < 0.3).astype(np.uint8)
    for units, offset in ((1, 49), (17, 0), (33, 5)):
        a = random.normal(size=(units, 3 * streams))
        options = {"batch": streams, "carry": carry}
        for more in ({}, {"resets": resets}):
            out = {"out": np.full_like(a, np.nan)}
            left = run_operation(
                "load_state", dtype, width, out, (units, offset), **options, **more
            )["out"]
            kept = resets == 0 if more else resets >= 0
            assert (left[:, kept] == carried[offset : offset + units, kept]).all()
            assert not left[:, ~kept].any()
        run_operation("save_state", dtype, width, {"a": a}, (units, offset), **options)


@pytest.mark.parametrize(("width", "dtype"), SOME)
@pytest.mark.parametrize("column", [0, 1])
def test_weights_of_steps(column, width, dtype):
    steps, n = 5, 2 * width + 3
    random = np.random.RandomState(0)
    for lengths in (None, random.randint(0, steps + 1, size=(n, 2))):
        for weights in (None, random.uniform(size=n)):
            tape = Tape(width)
            tape.axis = column
            out = tape.buffer("out", steps)
            tape.add("weigh_steps", (tape.lengths(steps),), (out,), (steps,))
            tape.add("scatter", (out,), (), (steps,))
            bound = {} if lengths is None else {"lengths": lengths}
            made = run_tape(tape, dtype, np.zeros((n, 1)), batch=n - 1, weights=weights, **bound)
            assert_close(made.out, made.expected, TOLERANCE[dtype], "weights")
            assert (made.expected > 0).any()


# --- tokens


@pytest.mark.parametrize(("width", "dtype"), TILES)
def test_lookup(width, dtype):
    _, pack_w, _ = TILES[width, dtype]
    packed = pack_w * lanes_of(dtype)
    random, n = np.random.RandomState(0), width + 3
    for units, steps in zip(UNITS, (1, 2, 3, 4, 5, 6, 7, 1), strict=True):
        arrays = {
            "x": random.randint(0, 4, size=(steps, n)),  # many are the same
            "z": np.full((steps * units, n), np.nan),
        }
        parameters = {"w": random.normal(size=(4, units)), "b": random.normal(size=units)}
        packs = dict.fromkeys(parameters, packed)
        for name in ("lookup", "lookup_unbiased") if width == 8 else ("lookup",):
            used = {k: v for k, v in parameters.items() if k in OPERATIONS[name].reads}
            attributes, variant = (steps, 4, units), (packed,)
            run_operation(name, dtype, width, arrays, attributes, variant, used, packs)


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_gradients_of_what_is_looked_up(width, dtype):
    """Tables of several slices, too; the gradients may be some of more rows."""
    packed = TILES[width, dtype][1] * lanes_of(dtype)
    random, n = np.random.RandomState(0), 2 * width + 3
    for units, steps, tokens, stride in ((3, 1, 5, 3), (17, 4, 300, 17), (40, 7, 3, 43)):
        arrays = {
            "x": random.randint(0, tokens, size=(steps, n)) // 2,
            "dz": random.normal(size=((steps - 1) * stride + units, n)),
        }
        places, total = _lay_out(arrays)
        x = _join(arrays, places, total, dtype)
        tape = Tape(width)
        w = tape.parameter(Parameter("w", (tokens, units), packed))
        b = tape.parameter(Parameter("b", (units,), packed))
        values = [np.zeros(parameter.shape, dtype) for parameter in (w, b)]
        addresses, base = tape.buffer("addresses", 2), tape.buffer("all", total)
        tape.add("gather", (), (addresses, base), (total, X), Source(x).variant)
        numbers, dz = (tape.view(base, *place) for place in places.values())
        transposed = transpose(tape, dz, steps, units, stride, packed)
        sizes = (steps, tokens, units)
        tape.gradient(w, "lookup_gradient", (numbers, transposed), sizes, (packed,), steps)
        add_bias_gradient(tape, b, dz, steps, units, transposed)
        tape.finish()
        made = run_tape(tape, dtype, x, values)
        for actual, expected in zip(made.gradients, made.expected_gradients, strict=True):
            assert_close(actual, expected, TOLERANCE[dtype], "gradient")


# --- operations at each step


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_products_of_each_step(width, dtype):
    rows, pack_w, _ = TILES[width, dtype]
    packed = pack_w * lanes_of(dtype)
    random, n, inputs = np.random.RandomState(0), width + 3, 19
    for units, positions in zip((*UNITS, 97), (2, 7, 8, 9, 3, 17, 5, 1, 4), strict=True):
        parameters = {"w": random.normal(size=(inputs, units)), "b": random.normal(size=units)}
        packs, numbers = dict.fromkeys(parameters, packed), (inputs, units, positions)
        places = {"x": inputs, "z": units, "dz": units, "dx": inputs}
        arrays = {k: random.normal(size=(positions * v, n)) for k, v in places.items()}
        for name in ("dense", "dense_unbiased", "dense_input_gradient"):
            if name == "dense_unbiased" and width > 1:  # begins at zero, as the gradient does
                continue
            used = {k: v for k, v in parameters.items() if k in OPERATIONS[name].reads}
            run_operation(name, dtype, width, arrays, numbers, (rows, packed), used, packs)


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_softmax_of_each_step(width, dtype):
    random = np.random.RandomState(0)
    for units, steps in ((1, 3), (3, 1), (17, 4), (65, 7)):
        arrays = {k: random.normal(size=(units * steps, width + 3)) for k in ("x", "dy", "dx")}
        arrays["y"] = np.full_like(arrays["x"], np.nan)
        left = run_operation("softmax", dtype, width, arrays, (units, steps))
        run_operation("softmax_gradient", dtype, width, arrays | left, (units, steps))


@pytest.mark.parametrize(("width", "dtype"), SOME)
def test_losses_of_each_step(width, dtype):
    random, n = np.random.RandomState(0), 2 * width  # beyond the last sample weights are zero
    for units, steps in ((1, 3), (3, 1), (17, 4), (65, 7)):
        arrays = {k: random.normal(size=(units * steps, n)) for k in ("a", "y")}
        arrays["weights"] = np.maximum(random.uniform(-0.5, 1.0, (steps, n)), 0.0)
        arrays["da"] = np.full_like(arrays["a"], np.nan)
        numbers, variant = (units, 0.0, 0.25, 1.0, 0.0, steps), ("squared_error", True)
        run_operation("loss", dtype, width, arrays, numbers, variant)
        logits = {"x": arrays["a"], "y": arrays["a"]}
        arrays["a"] = run_operation("softmax", dtype, width, logits, (units, steps))["y"]
        y = random.randint(units, size=(n, 2 * steps))
        for targets in (y[:, :steps], y[:, ::2], y[:, steps : 2 * steps].T.copy().T):
            for numbers in ((units, steps, 0.0), (units, steps, 0.3)):
                run_operation("log_loss_softmax", dtype, width, arrays, numbers, targets=targets)


# --- drawing the next token


def draw_tokens(logits, rates, dtype, before=-1):
    """Return the draws for each row of logits, by the engine and by the definition."""
    n, units = logits.shape
    tape = Tape(1)
    addresses, z = tape.buffer("addresses", 2), tape.buffer("z", units)
    source = Source(logits)
    tape.add("gather", (), (addresses, z), (units, X), source.variant)
    tape.add("draw", (z,), (), (units,))
    made, tokens = Program(tape, dtype), np.full((2, n + 1, 1), before)
    rates = np.hstack([np.ones((n, 2)), rates])
    with Session(made, 1) as session:
        session.bind(DEVICES["cpu"].upload(made.layout, ()), source, out=tokens[0])
        session.run(n, 1, rates)
    plain = Executor(tape, (), dtype)
    plain.run({X: logits}, np.arange(n), 1, rates, outputs=tokens[1])
    return tokens[:, 1:, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_are_drawn_as_often_as_their_probabilities_say(dtype):
    random, n = np.random.RandomState(0), 1000
    row = 2 * random.normal(size=17)
    logits = np.broadcast_to(row, (n, 17))
    uniform = (np.arange(n) + 0.5) / n
    for temperature, top in ((1.0, 0), (0.3, 0), (2.5, 17), (1.0, 5), (0.7, 1), (1e-3, 0)):
        rates = np.tile([1 / temperature, 0.0, top, 0.0], (n, 1))
        rates[:, 1] = uniform
        drawn, expected = draw_tokens(logits, rates, dtype)
        shares = np.exp((row - row.max()) / temperature)
        shares[np.argsort(row)[: 17 - top if top else 0]] = 0.0
        shares /= shares.sum()
        assert np.abs(np.bincount(drawn, minlength=17) / n - shares).max() <= 1.01 / n
        assert (drawn != expected).sum() <= 2  # at the borders


def test_tokens_that_are_given_are_not_drawn():
    logits = np.random.RandomState(0).normal(size=(20, 5))
    rates = np.tile([1.0, 0.5, 0.0, 0.0], (20, 1))
    rates[:12, 3] = 1.0
    drawn, expected = draw_tokens(logits, rates, "float64", before=-7)
    assert (drawn[:12] == -7).all()
    assert (drawn[12:] >= 0).all()
    assert (drawn == expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_of_several_equal_tokens_may_be_drawn(dtype):
    n = 60
    logits = np.broadcast_to([0.0, 2.0, 1.0, 2.0, 2.0, 1.0], (n, 6))
    rates = np.tile([1.0, 0.0, 0.0, 0.0], (n, 1))
    rates[:, 1] = (np.arange(n) + 0.5) / n
    for top, wanted in ((1, {1, 3, 4}), (3, {1, 3, 4}), (4, {1, 2, 3, 4, 5}), (6, set(range(6)))):
        rates[:, 2] = top
        drawn, expected = draw_tokens(logits, rates, dtype)
        assert set(drawn) == wanted
        assert (drawn == expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_the_distribution_can_be_drawn(dtype):
    logits = np.array([[0.0, -800.0, 1.0, -800.0]] * 3)
    rates = np.array([[1.0, u, 0.0, 0.0] for u in (0.0, 1 - 2.0**-53, 1 - 2.0**-25)])
    drawn, _ = draw_tokens(logits, rates, dtype)
    assert list(drawn) == [0, 2, 2]
