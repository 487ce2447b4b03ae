"""Radial basis functions: operations against their NumPy definitions, and the layer."""

import numpy as np
import pytest
from reference import RADIAL_FUNCTIONS, REFERENCE, Executor, predict, run_engine, step_rates
from test_operations import (
    ADAM,
    TOLERANCE,
    assert_close,
    assert_gradient_is_right,
    assert_padding_is_zero,
    compare,
    make_loss,
    make_problem,
)

from sknn.cpu.program import Program
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.engine.network import Network
from sknn.layers import Activation, Dense, Flatten, RadialBasis
from sknn.tape.sources import Source, X
from sknn.tape.tape import Parameter, Tape

DTYPES = ["float64", "float32"]
FUNCTIONS = sorted(RADIAL_FUNCTIONS)
SHAPES = [(1, 1), (3, 10), (20, 33), (300, 17), (2, 70)]  # inputs and units


def rbf(inputs, *layers, outputs=3, loss="squared_error", link="identity"):
    """Return a network that ends with a dense layer."""
    return Network((*layers, Dense(outputs), Activation(link)), inputs, make_loss(loss, link))


def widths_of(dtype):
    """Return the widths of a block: many samples, one vector, one sample."""
    return (32, 8 if dtype == "float64" else 16, 1)


# --- operations one by one


def run_operation(dtype, width, columns, put, parameters=(), seed=0, x=None):
    """Run what `put` adds to a tape that gathers x; return it by NumPy and by the engine.

    ``put(tape, x, *parameters)`` returns the buffer to give out.
    """
    random = np.random.RandomState(seed)
    n = 2 * width + max(1, width // 2) if width > 1 else 3
    x = random.normal(size=(n, columns)) if x is None else x
    weights = random.uniform(0.5, 2.0, len(x))
    tape, source = Tape(width), Source(x.astype(dtype))
    declared = [tape.parameter(p) for p, _ in parameters]
    addresses, gathered = tape.buffer("addresses", 2), tape.buffer("x", columns)
    tape.add(source.operation, (), (addresses, gathered), (columns, X), source.variant)
    out = put(tape, gathered, *declared)
    tape.add("scatter", (out,), (), (out.rows,))
    program = Program(tape, dtype)
    values = [value.astype(dtype) for _, value in parameters]
    result = np.zeros((len(x), out.rows), dtype)
    with Session(program, len(x)) as session:
        packed = DEVICES["cpu"].upload(program.layout, values)
        session.bind(packed, source, None, weights, out=result)
        session._workspace.view(dtype)[:] = np.nan
        session.run(len(x), len(x), np.ones((1, 2)))
    plain = Executor(tape, values, dtype)
    data = {X: x.astype(dtype)}
    expected = plain.run(data, np.arange(len(x)), len(x), np.ones((1, 2)), weights)[1]
    assert np.isfinite(result).all()
    return result, expected


def centers_of(inputs, units, dtype, seed=1):
    lanes = 8 if dtype == "float64" else 16
    width = lanes if units <= lanes else 2 * lanes
    value = np.random.RandomState(seed).normal(size=(inputs, units))
    return Parameter("centers", (inputs, units), width, False), value


def widths_parameter(units, dtype, seed=2):
    value = np.random.RandomState(seed).uniform(0.5, 3.0, units)
    return Parameter("widths", (units,), 32 if dtype == "float32" else 16, False), value


@pytest.mark.parametrize("width", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "units"), SHAPES)
def test_square_distances(inputs, units, dtype, width):
    w = centers_of(inputs, units, dtype)

    def put(tape, x, w):
        z = tape.buffer("z", units)
        tape.add("square_distances", (x, w), (z,), (inputs, units), (min(units, 8), w.pack))
        return z

    got, expected = run_operation(dtype, widths_of(dtype)[width], inputs, put, [w])
    assert_close(got, expected, TOLERANCE[dtype] / 100, "z")


def test_square_distances_do_not_cancel():
    """They are as accurate far from zero as near it."""
    w, value = centers_of(3, 5, "float64")
    w = w, value * 1e-3 + 1e6

    def put(tape, x, w):
        z = tape.buffer("z", 5)
        tape.add("square_distances", (x, w), (z,), (3, 5), (5, w.pack))
        return z

    x = np.random.RandomState(0).normal(size=(40, 3)) * 1e-3 + 1e6
    for width in (32, 1):
        got, expected = run_operation("float64", width, 3, put, [w], x=x)
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("width", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "units"), SHAPES)
def test_square_distances_gradient(inputs, units, dtype, width):
    w = centers_of(inputs, units, dtype)

    def put(tape, x, w):
        tape.keep(x)
        dz, dx = tape.buffer("dz", units), tape.buffer("dx", inputs)
        # any numbers will do for dz, of both signs
        tape.add("dense_unbiased", (x, w), (dz,), (inputs, units, 1), (min(units, 8), w.pack))
        variant = (min(inputs, 8), w.pack)
        tape.add("square_distances_gradient", (x, w, dz), (dx,), (inputs, units), variant)
        return dx

    got, expected = run_operation(dtype, widths_of(dtype)[width], inputs, put, [w])
    assert_close(got, expected, TOLERANCE[dtype], "dx")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("width", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_and_their_gradients(function, dtype, width):
    units = 17
    s = widths_parameter(units, dtype)
    # squared distances of all sizes, and none
    x = np.random.RandomState(3).uniform(-8, 3, size=(70, units))
    x = np.where(x < -6, 0.0, 10.0**x)

    def put(what):
        def add(tape, z, s):
            a, dz, ds = (tape.buffer(name, units) for name in ("a", "dz", "ds"))
            tape.add("radial", (z, s), (a,), (units,), (function,))
            if what == "a":
                return a
            tape.add("radial_gradient", (z, s, a, a), (dz, ds), (units,), (function,))
            return {"dz": dz, "ds": ds}[what]

        return add

    for what in ("a", "dz", "ds"):
        got, expected = run_operation(
            dtype, widths_of(dtype)[width], units, put(what), [s], x=x
        )
        scale = np.abs(expected).max(axis=0)
        tolerance = {"float64": 1e-13, "float32": 2e-5}[dtype]
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale.max())
    assert not np.isnan(REFERENCE["radial"](_At(function), x.T, s[1], units)).any()


class _At:
    """What a reference knows of the run: the function."""

    def __init__(self, function):
        self.variant = (function,)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_nearest_and_the_farthest(function):
    """At a center a function has its value at zero; far away it may be infinite, but not NaN."""
    for dtype in DTYPES:
        tiny, largest = np.finfo(dtype).tiny, np.finfo(dtype).max
        network = rbf(1, RadialBasis(1, function), outputs=1)
        values = [np.zeros((1, 1)), np.ones(1), np.ones((1, 1)), np.zeros(1)]
        values = [value.astype(dtype) for value in values]
        x = np.array([0.0, tiny, np.sqrt(tiny) / 2, np.sqrt(tiny), np.sqrt(largest) / 4, largest])
        x = x.astype(dtype)[:, None]
        for rows in (x, x[1:2]):
            out = predict(network, values, np.dtype(dtype), Source(rows), 1)
            assert not np.isnan(out).any()
        out = predict(network, values, np.dtype(dtype), Source(x), 1)[:, 0]
        limit = {"multiquadric": np.inf, "thin_plate": np.inf}.get(function, 0.0)
        assert out[-1] == limit
        np.testing.assert_allclose(out[:4], 0.0 if function == "thin_plate" else 1.0, atol=1e-30)


@pytest.mark.parametrize("width", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weigh_samples(dtype, width):
    def put(tape, x):
        y = tape.buffer("y", 19)
        tape.add("weigh_samples", (x, tape.weights()), (y,), (19,))
        return y

    got, expected = run_operation(dtype, widths_of(dtype)[width], 19, put)
    assert_close(got, expected, TOLERANCE[dtype] / 100, "y")


# --- the layer


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_follows_the_reference(function, dtype):
    network = rbf(6, RadialBasis(17, function))
    rate = 0.01 if function == "thin_plate" else 1.0
    compare(network, dtype, 33, 70, ADAM, rate=rate)
    made = compare(network, dtype, 5, 13, ADAM, weighted=True, rate=rate)
    assert_padding_is_zero(made)
    compare(network, dtype, 33, 70, purpose="evaluate", sparse=True)
    compare(network, dtype, 75, 150, purpose="gradient", threads=3)


GRADIENTS = {
    "both": rbf(3, RadialBasis(5)),
    "many": rbf(9, RadialBasis(40, "inverse_multiquadric"), loss="log_loss", link="softmax"),
    "centers": rbf(3, RadialBasis(5, train_widths=False)),
    "widths": rbf(3, RadialBasis(5, train_centers=False)),
    "an image": rbf((2, 3, 2), RadialBasis(5), Activation("tanh")),
    "a sequence": rbf((4, 3), RadialBasis(17, "multiquadric")),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name):
    assert_gradient_is_right(GRADIENTS[name])


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_functions(function, weighted):
    assert_gradient_is_right(rbf(3, RadialBasis(5, function)), weighted=weighted, n=40, width=32)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradient_passes_on(function):
    """Also where nothing of the layer itself learns, and to another one before it."""
    for layer in (RadialBasis(6, function), RadialBasis(6, function, trainable=False)):
        assert_gradient_is_right(rbf(3, Dense(5, activation="tanh"), layer, Activation("silu")))
    assert_gradient_is_right(rbf(3, RadialBasis(5), RadialBasis(6, function)))


def test_a_frozen_layer_stays_as_it_is():
    for layer in (RadialBasis(5, trainable=False), RadialBasis(5, train_centers=False)):
        network = rbf(3, layer)
        problem = make_problem(network, "float64", 20)
        made = run_engine(
            network, "float64", "train", problem.values, problem.source, problem.targets,
            problem.rows, 10, step_rates(None, problem.rows, 10), solver=ADAM,
        )  # fmt: skip
        assert (made.values[0] == problem.values[0]).all()
        assert (made.values[1] == problem.values[1]).all() == (not layer.learns)
        assert (made.values[2] != problem.values[2]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype):
    network = rbf(20, RadialBasis(70))
    problem = make_problem(network, dtype, 200, weighted=True)
    runs = [
        run_engine(
            network, dtype, "train", problem.values, problem.source, problem.targets,
            problem.rows, 75, step_rates(problem.weights, problem.rows, 75), solver=ADAM,
            weights=problem.weights, threads=threads,
        )
        for threads in (1, 2, 3)
    ]  # fmt: skip
    for run in runs[1:]:
        assert run.total == runs[0].total
        assert (run.packed == runs[0].packed).all()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(function, dtype):
    for inputs, units in SHAPES:
        network = rbf(inputs, RadialBasis(units, function))
        problem = make_problem(network, dtype, 43)
        together = predict(network, problem.values, np.dtype(dtype), problem.source, 2)
        for n in (1, 2, 8, 9, 17, 33):
            rows = problem.rows[-n:]
            some = predict(network, problem.values, np.dtype(dtype), problem.source, 1, rows=rows)
            assert (some == together[rows]).all()


def test_shapes_and_first_values():
    layer = RadialBasis(7)
    for shape in ((12,), (2, 3, 2), (4, 3)):
        assert layer.output_shape(shape) == (7,)
        centers, widths = layer.draw(shape, np.random.RandomState(0), "auto")
        assert centers.shape == (12, 7) and centers.std() == pytest.approx(1.0, abs=0.2)
        assert (widths == np.sqrt(12)).all()
        shapes = [parameter.shape for parameter in layer.parameters(shape)]
        assert shapes == [(12, 7), (7,)]
        assert not any(parameter.penalized for parameter in layer.parameters(shape))
    flat = rbf((2, 3, 2), Flatten(), RadialBasis(7))
    assert flat.output_shape == (3,)
    assert flat.operations == 12 * 7 + 7 * 3


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((0,), ValueError, "units of RadialBasis is 0"),
        (("many",), TypeError, "units of RadialBasis is 'many'"),
        ((3, "cubic"), ValueError, "function of RadialBasis is 'cubic'"),
    ],
)
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        RadialBasis(*arguments)
    with pytest.raises(TypeError, match="train_widths of RadialBasis is 2"):
        RadialBasis(3, train_widths=2)
