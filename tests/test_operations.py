"""Every operation against its NumPy definition, in complete programs; gradients by differences."""

import hashlib
import inspect
import os
import pathlib
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from numba.core.registry import cpu_target
from reference import (
    ACTIVATION_FUNCTIONS,
    LOSS_FUNCTIONS,
    REFERENCE,
    UPDATE_RULES,
    Executor,
    X,
    Y,
    predict,
    run_engine,
    start_values,
    step_rates,
)

import sknn
from sknn.cpu import winograd
from sknn.cpu.kernels import activations, losses, updates
from sknn.cpu.kernels.frame import KERNELS
from sknn.cpu.memory import between_guards, guarded
from sknn.cpu.operations import OWN
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.engine.optimizers import SOLVERS, Optimizer, Solver, make_solver
from sknn.estimator.groups import Training
from sknn.layers import (
    GRU,
    LSTM,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Bidirectional,
    CategoryEmbedding,
    Concatenate,
    ContractivePenalty,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    GaussianNoise,
    GaussianSampling,
    GlobalAveragePooling2D,
    GroupedDense,
    LocalResponseNormalization,
    MaxPooling2D,
    NumericEmbedding,
    ParametricActivation,
    RadialBasis,
    RandomCrop,
    RandomFlip,
    Residual,
    SaltAndPepperNoise,
    Scale,
    Select,
    TiedDense,
    UpSampling2D,
)
from sknn.tape.activations import ACTIVATIONS
from sknn.tape.losses import CANONICAL, MEAN_OVER_OUTPUTS, Loss
from sknn.tape.operations import OPERATIONS
from sknn.tape.sources import ClassNumbers, Source

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
SMOOTH = sorted(set(ACTIVATIONS) - {"step"})
ELEMENTWISE = sorted(set(ACTIVATIONS) - {"softmax"})


# --- the tables are consistent


def test_every_operation_has_a_reference_and_a_kernel():
    assert set(REFERENCE) == set(OPERATIONS)
    assert set(KERNELS) - {"run", "perceptron"} == set(OPERATIONS) | set(OWN)


def test_every_reference_takes_the_operands_of_its_row():
    for name, row in OPERATIONS.items():
        operands, rest = [], 0
        for parameter in list(inspect.signature(REFERENCE[name]).parameters.values())[1:]:
            if parameter.kind == parameter.VAR_POSITIONAL:  # the numbers of a window
                operands += parameter.annotation._fields
                rest = len(operands) - len(row.reads) - len(row.attributes)
                assert 0 <= rest <= len(parameter.annotation._field_defaults), name
            else:
                operands.append(parameter.name)
        operands = operands[: len(operands) - rest]
        assert len(operands) == len(row.reads) + len(row.attributes), name
        assert tuple(operands[len(row.reads) :]) == row.attributes, name


def test_every_activation_has_kernels_and_a_reference():
    assert set(activations.FUNCTIONS) == set(ELEMENTWISE) == set(ACTIVATION_FUNCTIONS)


def test_every_solver_has_a_rule_and_a_reference():
    rules = {rule for rule, _, _ in SOLVERS.values()} | {"nesterov"}
    assert rules == set(updates.RULES) == set(UPDATE_RULES)
    for rule, n_states, _ in SOLVERS.values():
        assert updates.RULES[rule][1] == n_states


def test_every_loss_has_kernels_and_a_reference():
    assert set(losses.FUNCTIONS) == set(LOSS_FUNCTIONS)
    assert set(CANONICAL) | MEAN_OVER_OUTPUTS == set(losses.FUNCTIONS)


# --- programs


def make_loss(name, link):
    return Loss(name, link, {"huber": 0.7, "quantile": 0.3}.get(name, 0.0))


def make_targets(network, n, random):
    """Return targets of the type that a network's loss needs, and their source."""
    loss, outputs = network.loss, 1 if network.loss.quantiles else network.outputs
    if loss.counts_classes:
        y = random.randint(units_of(network), size=(n, network.steps) if network.steps else n)
        return y, ClassNumbers(y)
    y = {
        "log_loss": lambda: random.randint(2, size=(n, outputs)),
        "poisson": lambda: random.poisson(1.5, size=(n, outputs)),
    }.get(loss.name, lambda: random.normal(size=(n, outputs)))()
    return y, Source(y)


def units_of(network):
    """Return the number of outputs, of each step if there are several."""
    return network.outputs // (network.steps or 1)


def make_problem(
    network, dtype, n, weighted=False, sparse=False, seed=0, tokens=None, ragged=None, streams=0
):
    """Return rows to learn from, in an order of their own, and everything that reads them.

    X consists of numbers below `tokens`, if that is given; `ragged` has the most that each column
    of the lengths may be; with `streams` there are states to begin with, and some resets.
    """
    random = np.random.RandomState(seed)
    rows = random.permutation(n + 7)[:n]
    x = random.normal(size=(n + 7, np.prod(network.input_shape)))
    if sparse:
        x = sp.csr_matrix(x * (random.uniform(size=x.shape) < 0.3))
    if tokens is not None:
        x = random.randint(tokens, size=x.shape)
    y, targets = make_targets(network, n + 7, random)
    weights = None
    if weighted:
        weights = random.uniform(0.2, 2.0, n + 7)
        weights[random.uniform(size=n + 7) < 0.3] = 0.0
    bound = {}
    if ragged is not None:
        bound["lengths"] = random.randint(0, np.array(ragged) + 1, size=(n, len(ragged)))
    if streams:
        bound["carry"] = random.uniform(-0.9, 0.9, (streams, network.state_size)).astype(dtype)
        bound["resets"] = (random.uniform(size=n) < 0.2).astype(np.uint8)
    return SimpleNamespace(
        data={X: x, Y: y}, source=Source(x), targets=targets, rows=rows, weights=weights,
        values=start_values(network, dtype, seed + 1), bound=bound,
    )  # fmt: skip


def copied(bound):
    """Return copies of the arrays that a run is bound to, since it updates carried states."""
    return {name: array.copy() for name, array in bound.items()}


def assert_close(actual, expected, tolerance, what):
    actual, expected = np.asarray(actual), np.asarray(expected)
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(
        actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what
    )


def compare(network, dtype, batch, n, solver=None, purpose="train", threads=1, **options):
    """Run the engine and the reference on one problem, and compare all results.

    `edit` changes the problem before.
    """
    width = options.pop("width", None)
    rate = options.pop("rate", 1.0)
    edit = options.pop("edit", None)
    problem = make_problem(network, dtype, n, **options)
    if edit is not None:
        edit(problem)
    rates = step_rates(problem.weights, problem.rows, batch)
    rates[:, 2:] *= rate
    run = {"weights": problem.weights, "seed": 2**40 + 12345, "counted": 3}
    engine_bound, plain_bound = copied(problem.bound), copied(problem.bound)
    made = run_engine(
        network, dtype, purpose, problem.values, problem.source, problem.targets, problem.rows,
        batch, rates, solver=solver, threads=threads, width=width, fill=np.nan, **run,
        **engine_bound,
    )  # fmt: skip
    tape = lower(
        network, np.dtype(dtype), made.program.width, purpose, problem.source.key,
        problem.targets.key, solver, carries="carry" in problem.bound,
    )  # fmt: skip
    plain = Executor(tape, problem.values, dtype)
    total, outputs = plain.run(problem.data, problem.rows, batch, rates, **run, **plain_bound)
    tolerance = TOLERANCE[dtype]
    for name in problem.bound:
        assert_close(engine_bound[name], plain_bound[name], tolerance, name)
    assert np.isfinite(total)
    assert_close(made.total / n, total / n, tolerance, "loss")
    for i, parameter in enumerate(tape.parameters):
        what = f"{i}: {parameter}"
        assert_close(made.values[i], plain.values[parameter], tolerance, what)
        if purpose == "train" and parameter.trainable:
            for state, expected in zip(made.states, plain.states[parameter]):
                assert_close(state[i], expected, tolerance, f"state of {what}")
        if purpose == "gradient" and parameter.trainable:
            assert_close(made.gradients[i], plain.gradients[parameter], tolerance, what)
    if purpose == "evaluate":
        assert_close(made.outputs, outputs, tolerance, "outputs")
    return made


def mlp(inputs, *hidden, outputs, loss="squared_error", link="identity"):
    """Return a network of dense layers; each of `hidden` is a size and the layers that follow."""
    layers = [layer for size, *after in hidden for layer in (Dense(size), *after)]
    return Network((*layers, Dense(outputs), Activation(link)), inputs, make_loss(loss, link))


ADAM = Solver("adam", 0.8, 0.9, 1e-3)
DEEP = mlp(10, (17, Activation("tanh")), (33, Activation("relu")), outputs=3)
WIDE = mlp(
    33, (70, BatchNormalization(), Activation("gelu"), Dropout(0.3, 0)),
    (3, BatchNormalization(0.25, 1e-3), Activation("elu", 0.5), Dropout(0.6, 1)),
    outputs=17, loss="log_loss", link="softmax",
)  # fmt: skip
SMALL = mlp(1, (1, Activation("logistic")), outputs=1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("network", "batch", "n", "solver", "options"),
    [
        pytest.param(SMALL, 1, 3, Solver("sgd", 0.9), {}, id="one row, one unit"),
        pytest.param(DEEP, 5, 13, replace(ADAM, l2=0.3, l1=0.1), {}, id="penalties"),
        pytest.param(DEEP, 16, 40, replace(ADAM, clip_value=0.02), {}, id="clip_value"),
        pytest.param(DEEP, 33, 70, replace(ADAM, clip_norm=0.05, l2=1.0), {}, id="clip_norm"),
        pytest.param(
            DEEP, 75, 180, replace(ADAM, clip_norm=0.5, clip_value=0.05), {"weighted": True},
            id="both clips, weights",
        ),
        pytest.param(DEEP, 33, 99, replace(ADAM, clip_norm=1e6), {}, id="no clip"),
        pytest.param(DEEP, 33, 99, replace(ADAM, average=True), {"threads": 2}, id="average"),
        pytest.param(
            WIDE, 33, 99, Solver("nesterov", 0.9, clip_norm=0.1, average=True), {},
            id="average, clip_norm, one other state",
        ),
        pytest.param(WIDE, 32, 96, ADAM, {"weighted": True}, id="batch norm, dropout, weights"),
        pytest.param(WIDE, 75, 200, replace(ADAM, clip_norm=0.1), {"threads": 3}, id="threads"),
        pytest.param(WIDE, 5, 11, replace(ADAM, l1=0.2), {"sparse": True}, id="sparse"),
        pytest.param(
            mlp(300, (70, Activation("relu")), outputs=10), 33, 66, replace(ADAM, l2=0.1),
            {"sparse": True}, id="parameters in several slices",
        ),
        pytest.param(mlp(70, outputs=33), 16, 32, ADAM, {}, id="no hidden layer"),
    ],
)  # fmt: skip
def test_training_follows_the_reference(network, batch, n, solver, options, dtype):
    made = compare(network, dtype, batch, n, solver, **options)
    assert_padding_is_zero(made)


def assert_padding_is_zero(made):
    for packed, values in zip((made.packed, *made.raw_states), (made.values, *made.states)):
        assert (packed == DEVICES["cpu"].upload(made.program.layout, values)).all()


@pytest.mark.parametrize("name", sorted(UPDATE_RULES))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_update_rules(name, dtype):
    n_states = updates.RULES[name][1]
    solver = Solver(name, 0.8, 0.9, 1e-3, l2=0.1, decay=0.2)
    network = mlp(3, (10, Activation("tanh")), outputs=1)
    made = compare(network, dtype, 7, 21, solver)
    assert not made.raw_states[n_states:].any()


def test_arrays_too_small_for_the_update_are_rejected():
    network = mlp(1, outputs=1)
    problem = make_problem(network, "float64", 3)
    rates = step_rates(None, problem.rows, 1)
    for solver, n_states, given, expected in (
        (ADAM, 1, rates, "states have the shape .* expected at least 2 rows"),
        (replace(ADAM, average=True), 2, rates, "states have the shape .* at least 3 rows"),
        (replace(ADAM, average=True), 3, rates[:, :5], r"rates .* expected \(3, 6\) at least"),
        (ADAM, 2, rates[:2], r"rates have the shape \(2, .* expected \(3, 5\) at least"),
    ):
        with pytest.raises(ValueError, match=expected):
            run_engine(
                network, "float64", "train", problem.values, problem.source, problem.targets,
                problem.rows, 1, given, solver=solver, n_states=n_states,
            )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_activations(name, dtype):
    parameter = {"leaky_relu": 0.2, "elu": 0.7}.get(name)
    network = mlp(10, (17, Activation(name, parameter)), outputs=3)
    compare(network, dtype, 5, 13, Solver("sgd", 0.5), rate=0.01 if name == "exp" else 1.0)


def test_step_predicts():
    network = mlp(10, (17, Activation("step")), outputs=3)
    compare(network, "float64", 5, 13, purpose="evaluate")


PAIRS = [
    ("log_loss", "softmax"),
    ("log_loss", "logistic"),
    ("squared_error", "identity"),
    ("squared_error", "softmax"),
    ("squared_error", "logistic"),
    ("absolute_error", "identity"),
    ("absolute_error", "tanh"),
    ("huber", "identity"),
    ("huber", "relu"),
    ("quantile", "identity"),
    ("quantile", "leaky_relu"),
    ("poisson", "exp"),
    ("poisson", "softplus"),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_losses(name, link, dtype):
    network = mlp(3, (10, Activation("tanh")), outputs=3, loss=name, link=link)
    made = compare(network, dtype, 5, 13, purpose="gradient", weighted=True)
    assert any(g.any() for g in made.gradients)
    made = compare(network, dtype, 5, 13, purpose="evaluate", weighted=True)
    if name == "log_loss":
        return
    single = replace(network, layers=(*network.layers[:-2], Dense(1), network.layers[-1]))
    if link != "softmax":
        compare(single, dtype, 5, 13, purpose="gradient")


def _smoothed(link):
    network = mlp(3, (10, Activation("tanh")), outputs=3, loss="log_loss", link=link)
    return replace(network, loss=replace(network.loss, smoothing=0.3))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("link", ["softmax", "logistic"])
def test_smoothed_labels(link, dtype):
    network = _smoothed(link)
    made = compare(network, dtype, 5, 13, purpose="gradient", weighted=True)
    plain = replace(network, loss=replace(network.loss, smoothing=0.0))
    without = compare(plain, dtype, 5, 13, purpose="gradient", weighted=True)
    assert made.total != without.total
    totals = [
        compare(one, dtype, 5, 13, purpose="evaluate", weighted=True).total
        for one in (network, plain)
    ]
    assert totals[0] == totals[1]  # validation has the labels as they are


def _of_quantiles(n):
    network = mlp(3, (10, Activation("tanh")), outputs=n, loss="quantile")
    return replace(network, loss=Loss("quantile", "identity", tuple(np.linspace(0.1, 0.8, n))))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_quantiles(dtype):
    for n in (1, 3, 17):
        for purpose in ("gradient", "evaluate"):
            compare(_of_quantiles(n), dtype, 5, 13, purpose=purpose, weighted=True)
    wrong = replace(_of_quantiles(3), loss=_of_quantiles(2).loss)
    with pytest.raises(ValueError, match="The loss has 2 quantiles, but the network 3 outputs"):
        compare(wrong, dtype, 5, 13, purpose="gradient")


def test_log_loss_is_clipped_where_a_probability_is_zero():
    network = mlp(1, outputs=2, loss="log_loss", link="softmax")
    values = [np.array([[2000.0, 0.0]]), np.zeros(2)]
    x, rows = np.array([[1.0], [-1.0]]), np.arange(2)
    for dtype in ("float32", "float64"):
        made = run_engine(
            network, dtype, "evaluate", [v.astype(dtype) for v in values], Source(x),
            ClassNumbers([1, 0]), rows, 2, step_rates(None, rows, 2),
        )  # fmt: skip
        # the two outputs are exactly 0 and 1
        assert made.total == pytest.approx(-2 * np.log(np.finfo(dtype).eps), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sparse", [False, True])
def test_what_lay_in_memory_before_does_not_matter(dtype, sparse):
    for network, purpose in ((WIDE, "train"), (WIDE, "evaluate"), (DEEP, "gradient")):
        p = make_problem(network, dtype, 40, weighted=True, sparse=sparse)
        runs = [
            run_engine(
                network, dtype, purpose, p.values, p.source, p.targets, p.rows, 37,
                step_rates(p.weights, p.rows, 37), weights=p.weights, fill=fill,
                solver=replace(ADAM, l2=0.1) if purpose == "train" else None,
            )
            for fill in (0.0, np.nan, np.inf)
        ]  # fmt: skip
        for run in runs[1:]:
            assert run.total == runs[0].total
            for name in ("packed", "outputs", "raw_states"):
                assert (getattr(run, name) == getattr(runs[0], name)).all()


def test_a_batch_without_weight_changes_nothing_but_the_moments():
    network = mlp(3, (10, BatchNormalization(), Activation("relu")), outputs=1)
    problem = make_problem(network, "float64", 10)
    weights = np.zeros(17)
    made = run_engine(
        network, "float64", "train", problem.values, problem.source, problem.targets,
        problem.rows, 5, step_rates(weights, problem.rows, 5), weights=weights,
        solver=Solver("sgd", 0.9, l2=1.0), n_states=1,
    )  # fmt: skip
    assert made.total == 0.0
    for parameter, before, after in zip(made.parameters, problem.values, made.values):
        assert not parameter.trainable or (before == after).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 5, 16, 33, 75])
def test_predicting_follows_the_reference(n, dtype):
    """With the running statistics, without dropout, at the block width for the number of rows."""
    problem = make_problem(WIDE, dtype, n, weighted=n > 1)
    outputs, loss = predict(
        WIDE, problem.values, np.dtype(dtype), problem.source, 2, problem.targets,
        problem.weights, problem.rows,
    )  # fmt: skip
    weights = np.ones(n + 7) if problem.weights is None else problem.weights
    rates = step_rates(weights, problem.rows, n)
    key = problem.source.key, problem.targets.key
    tape = lower(WIDE, np.dtype(dtype), 32, "evaluate", *key)
    total, expected = Executor(tape, problem.values, dtype).run(
        problem.data, problem.rows, n, rates, weights
    )
    assert_close(outputs, expected, TOLERANCE[dtype], "outputs")
    assert_close(loss, total / n, TOLERANCE[dtype], "loss")
    alone = predict(WIDE, problem.values, np.dtype(dtype), problem.source, 1)
    assert (alone[problem.rows] == outputs).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(dtype):
    for network in (WIDE, DEEP, SMALL, mlp(70, (10, Activation("softplus")), outputs=33)):
        problem = make_problem(network, dtype, 43)
        together = predict(network, problem.values, np.dtype(dtype), problem.source, 2)
        for n in (1, 2, 8, 9, 16, 17, 33):
            rows = problem.rows[-n:]
            some = predict(network, problem.values, np.dtype(dtype), problem.source, 1, rows=rows)
            assert (some == together[rows]).all()


# --- reading X without a copy

NUMBERS = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64", "longdouble", ">f4", ">i8",
]  # fmt: skip
LAYOUTS = {
    "C": lambda x: np.ascontiguousarray(x),
    "Fortran": np.asfortranarray,
    "columns reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "rows reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every third row": lambda x: np.repeat(x, 3, axis=0)[::3],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "transposed view": lambda x: np.ascontiguousarray(x.T).T,
    "one row repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "unaligned": lambda x: _unaligned(x),
}


def _unaligned(x):
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    moved = buffer[1:].view(x.dtype).reshape(x.shape)
    moved[:] = x
    return moved


def _some_numbers(kind, shape):
    random = np.random.RandomState(0)
    dtype = np.dtype(kind)
    if dtype.kind == "b":
        return random.uniform(size=shape) < 0.5
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    numbers = random.randint(0, 256, size=(*shape, dtype.itemsize)).astype(np.uint8)
    return numbers.view(dtype)[..., 0]


def _identity(columns, dtype):
    """Return a network that outputs its input, and its parameters."""
    network = mlp(columns, outputs=columns)
    return network, [np.eye(columns, dtype=dtype), np.zeros(columns, dtype)]


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_every_type_are_cast_as_numpy_does(kind):
    x = _some_numbers(kind, (37, 19))
    for dtype in ("float32", "float64") if kind in ("bool", "uint64", "float32") else ("float32",):
        network, values = _identity(19, dtype)
        for layout in ("C", "Fortran"):
            out = predict(network, values, np.dtype(dtype), Source(LAYOUTS[layout](x)), 1)
            assert (out == x.astype(dtype)).all(), (dtype, layout)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_layouts(kind, layout):
    for columns in (1, 17):
        x = LAYOUTS[layout](_some_numbers(kind, (37, columns)))
        network, values = _identity(columns, "float64")
        rows = np.random.RandomState(1).randint(37, size=50)
        out = predict(network, values, np.dtype(float), Source(x), 2, rows=rows)
        assert (out == x[rows]).all()


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("kind", ["bool", "int64", "float32", "float64"])
def test_sparse_rows(kind, container):
    x = _some_numbers(kind, (37, 19)) * (np.random.RandomState(1).uniform(size=(37, 19)) < 0.2)
    x[3] = 0
    network, values = _identity(19, "float64")
    out = predict(network, values, np.dtype(float), Source(container(x)), 2)
    assert (out == x).all()


def test_sparse_rows_with_long_indices_duplicates_and_disorder():
    indptr = np.array([0, 3, 3, 5])
    x = sp.csr_matrix((np.arange(1.0, 6.0), np.array([4, 0, 4, 2, 1]), indptr), shape=(3, 5))
    expected = x.toarray()
    x.indices, x.indptr = x.indices.astype(np.int64), indptr.astype(np.int64)
    for dtype in ("float32", "float64"):
        network, values = _identity(5, dtype)
        assert (predict(network, values, np.dtype(dtype), Source(x), 1) == expected).all()


def test_x_is_not_copied():
    x = np.zeros((100, 3), np.uint8)[::-2]
    assert Source(x).arrays[0] is x


# --- memory, and machines with other registers


def _moved(array):
    moved = between_guards(array.nbytes).view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def _images():
    """Return small networks with most image operations.

    One of them has convolutions by Winograd's algorithm, and one has branches.
    """
    loss = make_loss("log_loss", "softmax")
    layers = (
        (RandomCrop(5, 6), RandomFlip(), Conv2D(17, 3, 2, "same"), BatchNormalization(),
         Activation("relu"), Conv2D(17, 3, padding="same", groups=17), GaussianNoise(0.1),
         Conv2DTranspose(3, 2, 2), MaxPooling2D(3, 2, "same"), Conv2D(16, 2)),
        (Conv2D(40, 3, padding="same"), Activation("relu"), Conv2D(241, 3, use_bias=False),
         Activation("tanh"), Conv2D(24, 3, padding=((0, 2), (3, 1)))),
        (Conv2D(1, (1, 2), use_bias=False), Conv2D(33, (3, 2)), LocalResponseNormalization(),
         Concatenate([[], [Conv2D(5, 1, activity_l2=0.1), UpSampling2D(1, "bilinear")]]),
         Residual([AveragePooling2D(3, 2, "same"), UpSampling2D(2)]), GlobalAveragePooling2D()),
    )  # fmt: skip
    return [Network((*some, Dense(16), Activation("softmax")), (6, 6, 5), loss) for some in layers]


def _coding():
    """Return layers from nine inputs to nine outputs, with radial units and a sampled code."""
    code = Dense(17, name="code"), Activation("tanh"), ContractivePenalty("code", "tanh", 0.1)
    noise = GaussianNoise(0.1, (-1.0, 1.0)), SaltAndPepperNoise(0.2)
    back = Dense(17), TiedDense("code", 9), RadialBasis(9), Activation("identity")
    return (*noise, *code, Dense(6), GaussianSampling(0.5), *back)


def _columns():
    """Return layers for a row of 37 numbers, as those of tables are."""
    parts = [
        [Select(32, 37), NumericEmbedding(units=5)], [Select(0, 1), Scale()],
        [Select(1, 4), NumericEmbedding("piecewise_linear", bins=5)],
    ]  # fmt: skip
    groups = GroupedDense(17, 3), GroupedDense(33, 3, use_bias=False)
    after = Scale(), Dense(9), ParametricActivation("gelu"), *groups, Activation("identity")
    return Concatenate(parts), *after


def _category():
    return CategoryEmbedding([3], 17), Activation("identity")


@mock.patch.object(winograd.Shape, "pays", lambda shape, least=0.0: True)
def run_beside_guard_pages():
    """Train and predict where an access outside an array ends the process; print all bits."""
    assert guarded()
    bits = hashlib.sha256()
    after = (Activation("tanh"), Dropout(0.2))
    whole_packs = mlp(31, (33, *after), outputs=16, loss="log_loss", link="softmax")
    in_a_row, of_squares, in_branches = _images()
    recurrent = (LSTM(17, return_sequences=True), Bidirectional(GRU(5, truncate=3)))
    recurrent += Dense(3), Activation("softmax")
    solver = replace(ADAM, clip_norm=0.5, l2=0.1, average=True)
    for network, dtype, sparse, batch in (
        (whole_packs, "float32", False, 33),
        (whole_packs, "float64", True, 33),
        (mlp(9, outputs=3), "float32", True, 33),
        (mlp(9, outputs=3), "float32", False, 5),
        (_of_quantiles(5), "float32", False, 33),
        (_smoothed("softmax"), "float64", False, 5),
        (in_a_row, "float32", False, 33),
        (of_squares, "float32", False, 33),
        (of_squares, "float64", False, 5),
        (in_branches, "float64", False, 5),
        (Network(recurrent, (4, 3), make_loss("log_loss", "softmax")), "float32", False, 33),
        (Network(_coding(), 9, make_loss("squared_error", "identity")), "float32", False, 33),
        (Network(_coding(), 9, make_loss("squared_error", "identity")), "float64", False, 5),
        (Network(_columns(), 37, make_loss("squared_error", "identity")), "float32", False, 33),
        (Network(_columns(), 37, make_loss("squared_error", "identity")), "float64", False, 5),
        (Network(_category(), 1, make_loss("squared_error", "identity")), "float32", False, 33),
    ):
        tokens = 3 if isinstance(network.layers[0], CategoryEmbedding) else None
        p = make_problem(network, dtype, 70, weighted=True, sparse=sparse, tokens=tokens)
        x = p.data[X]
        if sparse:
            x.data, x.indices, x.indptr = map(_moved, (x.data, x.indices, x.indptr))
        source = Source(x if sparse else _moved(x))
        targets = p.targets
        if not network.loss.counts_classes:
            targets = Source(_moved(p.data[Y]))
        rows, weights = _moved(p.rows), _moved(p.weights)
        rates = _moved(step_rates(weights, rows, batch))
        made = run_engine(
            network, dtype, "train", p.values, source, targets, rows, batch, rates,
            solver=solver, weights=weights, threads=2, fill=np.nan,
        )  # fmt: skip
        bits.update(made.packed.tobytes() + made.raw_states.tobytes())
        for n in (1, 7, 70):
            outputs = predict(
                network, made.values, np.dtype(dtype), source, 1, rows=_moved(p.rows[:n])
            )
            bits.update(outputs.tobytes())
        cut = run_engine(
            network, dtype, "evaluate", made.values, source, targets, rows[:1], 1, rates[:1],
            width=DEVICES["cpu"].prediction_width(network, 1, np.dtype(dtype)), threads=2,
        )  # fmt: skip
        assert (cut.outputs == outputs[:1]).all()
    print(bits.hexdigest())


def without_avx512():
    """Return an environment whose kernels use no AVX-512; None where the processor has none.

    Tests that use the same one share its kernels.
    """
    features = cpu_target.target_context.codegen().magic_tuple()[-1].split(",")
    if "+avx512f" not in features:
        return None
    narrow = ["-" + f[1:] if f.startswith("+avx512") else f for f in features]
    return {"NUMBA_CPU_FEATURES": ",".join(narrow), "NUMBA_CPU_NAME": "x86-64-v3"}


def _bits(more=None):
    script = "import test_operations; test_operations.run_beside_guard_pages()"
    roots = [pathlib.Path(__file__).parent, pathlib.Path(sknn.__file__).parents[1]]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, roots)), "SKNN_GUARD_PAGES": "1",
    } | (more or {})  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="memory is protected in another way there")
def test_no_kernel_leaves_its_arrays_and_bits_do_not_depend_on_the_registers():
    expected = _bits()
    if without_avx512() is not None:
        assert _bits(without_avx512()) == expected


# --- gradients


def _gradient_and_differences(network, n=11, width=8, weighted=True, seed=0, **options):
    """Return the loss's gradient along random directions, by program and by finite differences."""
    problem = make_problem(network, "float64", n, weighted=weighted, seed=seed, **options)
    rates = np.ones((1, 2))
    random = np.random.RandomState(seed + 2)

    def run(values):
        return run_engine(
            network, "float64", "gradient", values, problem.source, problem.targets,
            problem.rows, n, rates, weights=problem.weights, width=width, seed=seed, fill=np.nan,
            **copied(problem.bound),
        )  # fmt: skip

    made = run(problem.values)
    exact, approximate = [], []
    for i, parameter in enumerate(made.parameters):
        if not parameter.trainable:
            continue
        # along every coordinate of a few, then a direction through all
        for _ in range(3):
            direction = random.normal(size=parameter.shape)
            ends = []
            for h in (-1e-6, 1e-6):
                moved = list(problem.values)
                moved[i] = moved[i] + h * direction
                ends.append(run(moved).total)
            exact.append((made.gradients[i] * direction).sum())
            approximate.append((ends[1] - ends[0]) / 2e-6)
    scale = units_of(network) if network.loss.name in MEAN_OVER_OUTPUTS else 1.0
    return np.array(exact), scale * np.array(approximate)


def assert_gradient_is_right(network, **options):
    exact, approximate = _gradient_and_differences(network, **options)
    assert np.abs(exact).max() > 1e-3
    np.testing.assert_allclose(exact, approximate, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_activations(name):
    after = (BatchNormalization(), Activation(name), Dropout(0.2))
    assert_gradient_is_right(mlp(3, (5, *after), outputs=3))


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_gradient_of_losses(name, link):
    hidden = (5, BatchNormalization(), Activation("tanh"))
    assert_gradient_is_right(mlp(3, hidden, outputs=3, loss=name, link=link))


@pytest.mark.parametrize("link", ["softmax", "logistic"])
def test_gradient_of_smoothed_labels(link):
    assert_gradient_is_right(_smoothed(link))


def test_gradient_of_quantiles():
    assert_gradient_is_right(_of_quantiles(3))


def test_gradient_of_a_deep_network():
    assert_gradient_is_right(
        mlp(
            10, (17, Activation("silu")), (9, BatchNormalization(), Activation("tanh")),
            (8, Activation("softplus"), Dropout(0.1)), outputs=4, loss="log_loss", link="softmax",
        ),
        n=40,
        width=32,
    )  # fmt: skip


def test_gradient_of_layers_in_other_orders():
    """Layers that an estimator does not put together, but that a network may."""
    layers = (
        Dropout(0.2, 5), BatchNormalization(), Dense(6), Activation("gelu"), BatchNormalization(),
        Dense(5), Dropout(0.1, 6), Activation("silu"), Dense(2), Activation("identity"),
    )  # fmt: skip
    assert_gradient_is_right(Network(layers, 4, make_loss("squared_error", "identity")))


@pytest.mark.parametrize("first", ["tanh", "gelu"])
@pytest.mark.parametrize("second", ["logistic", "softplus", "softmax"])
def test_gradient_of_one_activation_on_another(first, second):
    assert_gradient_is_right(
        mlp(3, (5, Activation(first), Activation(second)), outputs=2), weighted=False
    )


def test_gradients_add_up_over_chunks():
    network = mlp(10, (17, Activation("tanh")), outputs=3)
    problem = make_problem(network, "float64", 43)

    def run(batch):
        rates = np.ones((-(-43 // batch), 2))
        return run_engine(
            network, "float64", "gradient", problem.values, problem.source, problem.targets,
            problem.rows, batch, rates, accumulate=True, width=32,
        )  # fmt: skip

    whole, chunks = run(43), run(13)
    for a, b in zip(whole.gradients, chunks.gradients):
        assert_close(a, b, 1e-12, "gradient")


# --- complete optimizers, against the formulas of their papers


def _adam_like(w, g, s, t, rate, b1, b2, epsilon):
    """Return the bias-corrected moments."""
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
    return s["m"] / (1 - b1**t), s["v"] / (1 - b2**t)


def _paper_adam(w, g, s, t, rate, b1, b2, epsilon, decay):
    # epsilon "hat", as in scikit-learn: before the correction of the moments
    _adam_like(w, g, s, t, rate, b1, b2, epsilon)
    step = rate * np.sqrt(1 - b2**t) / (1 - b1**t)
    return w - step * s["m"] / (np.sqrt(s["v"]) + epsilon)


def _paper_adamw(w, g, s, t, rate, b1, b2, epsilon, decay):
    m, v = _adam_like(w, g, s, t, rate, b1, b2, epsilon)
    return w - rate * (m / (np.sqrt(v) + epsilon) + decay * w)


def _paper_nadam(w, g, s, t, rate, b1, b2, epsilon, decay):
    now, following = (b1 * (1 - 0.5 * 0.96 ** (k / 250)) for k in (t, t + 1))
    s["product"] = s.get("product", 1.0) * now
    _, v = _adam_like(w, g, s, t, rate, b1, b2, epsilon)
    m = following * s["m"] / (1 - s["product"] * following)
    m += (1 - now) * g / (1 - s["product"])
    return w - rate * m / (np.sqrt(v) + epsilon)


def _paper_rmsprop(w, g, s, t, rate, b1, b2, epsilon, decay):
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g * g
    return w - rate * g / (np.sqrt(s["v"]) + epsilon)


def _paper_adagrad(w, g, s, t, rate, b1, b2, epsilon, decay):
    s["v"] = s.get("v", 0.0) + g * g
    return w - rate * g / (np.sqrt(s["v"]) + epsilon)


def _paper_adadelta(w, g, s, t, rate, b1, b2, epsilon, decay):
    s["v"] = b1 * s.get("v", 0.0) + (1 - b1) * g * g
    change = -np.sqrt(s.get("u", 0.0) + epsilon) / np.sqrt(s["v"] + epsilon) * g
    s["u"] = b1 * s.get("u", 0.0) + (1 - b1) * change * change
    return w + rate * change


def _paper_sgd(w, g, s, t, rate, b1, b2, epsilon, decay):
    s["v"] = 0.9 * s.get("v", 0.0) - rate * g
    return w + s["v"]


def _paper_nesterov(w, g, s, t, rate, b1, b2, epsilon, decay):
    s["v"] = 0.9 * s.get("v", 0.0) - rate * g
    return w + 0.9 * s["v"] - rate * g


PAPERS = {
    "adam": _paper_adam,
    "adamw": _paper_adamw,
    "nadam": _paper_nadam,
    "rmsprop": _paper_rmsprop,
    "adagrad": _paper_adagrad,
    "adadelta": _paper_adadelta,
    "sgd": _paper_sgd,
    "nesterov": _paper_nesterov,
}


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_solvers_take_the_steps_of_their_papers(name):
    """A least-squares line through one row, whose gradient is known in closed form."""
    estimator = Training()
    estimator.solver = "sgd" if name == "nesterov" else name
    estimator.nesterovs_momentum = name == "nesterov"
    estimator.learning_rate_init = 0.3
    estimator.alpha = 0.1 if name == "adamw" else 0.0
    network, x, y = mlp(1, outputs=1), np.array([[2.0]]), np.array([[3.0]])
    w, b, states = 0.5, -0.25, ({}, {})
    values = [np.array([[w]]), np.array([b])]
    optimizer = Optimizer(estimator, values)
    steps = 7
    rows, rates = np.zeros(steps, np.int64), np.ones((steps, 5))
    rates[:3, 2:] = optimizer.rates(estimator, 3)
    rates[3:, 2:] = optimizer.rates(estimator, 4)
    result = run_engine(
        network, "float64", "train", values, Source(x), Source(y), rows, 1, rates,
        solver=make_solver(estimator), n_states=len(optimizer.states),
    )  # fmt: skip
    for t in range(1, steps + 1):
        error = 2.0 * w + b - 3.0
        constants = 0.3, estimator.beta_1, estimator.beta_2, estimator.epsilon
        w = PAPERS[name](w, 2.0 * error, states[0], t, *constants, estimator.alpha)
        b = PAPERS[name](b, error, states[1], t, *constants, 0.0)
    assert_close(result.values[0], [[w]], 1e-13, "weight")
    assert_close(result.values[1], [b], 1e-13, "bias")
