"""Layers for tables: embeddings, factors and slopes by unit, block-diagonal products."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from reference import predict
from reference_device import ReferenceDevice
from sklearn.base import clone
from test_operations import ADAM, assert_gradient_is_right, compare, make_loss, make_problem

import sknn
from sknn import ConvNetRegressor
from sknn.engine.devices import DEVICES
from sknn.engine.network import Network
from sknn.layers import (
    Activation,
    CategoryEmbedding,
    Concatenate,
    Dense,
    Flatten,
    GroupedDense,
    NumericEmbedding,
    ParametricActivation,
    Reshape,
    Residual,
    Scale,
    Select,
)
from sknn.tape.sources import Source

EDGES = np.cumsum(np.random.RandomState(0).uniform(0.1, 0.5, (3, 8)), axis=1) - 1.5
EDGES[1, 3] = EDGES[1, 4]  # a bin of zero width
LAYERS = {
    "scale": (5, Scale(), Dense(3)),
    "frozen scale": (5, Dense(4), Scale(trainable=False), Scale()),
    "tanh": (5, Dense(4), ParametricActivation("tanh")),
    "elu": (5, ParametricActivation("elu", 0.7), Dense(17), ParametricActivation("gelu")),
    "groups": (6, GroupedDense(3, 2), Activation("tanh"), GroupedDense(17, 3)),
    "groups, no bias": (34, GroupedDense(33, 2, use_bias=False), GroupedDense(1, 6)),
    "frozen groups": (6, Dense(6), GroupedDense(3, 2, trainable=False)),
    "periodic": (3, NumericEmbedding(sigma=0.5)),
    "periodic alone": (3, Dense(4), NumericEmbedding(units=5, frequencies=7, concatenate=False)),
    "periodic later": (3, Dense(2), NumericEmbedding()),
    "frozen periodic": (3, Dense(2), NumericEmbedding(trainable=False)),
    "pieces": (3, NumericEmbedding("piecewise_linear", bins=7)),
    "pieces later": (2, Dense(3), NumericEmbedding("piecewise_linear", bins=1, concatenate=True)),
    "selected": (9, Dense(8), Select(1, 6), Activation("tanh")),
    "residual": (4, Dense(5), Residual([Select(1, 3)], [Select(0, 2), Activation("tanh")])),
    "mixed": (
        9,
        Concatenate([
            [Select(0, 3), NumericEmbedding()], [Select(3, 5)], [Select(4, 7), Scale(), Dense(2)],
        ]),
    ),
}  # fmt: skip


def network_of(inputs, *layers, outputs=2):
    loss = make_loss("squared_error", "identity")
    return Network((*layers, Dense(outputs), Activation("identity")), inputs, loss)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_training_follows_the_reference(name, dtype):
    network = network_of(*LAYERS[name])
    compare(network, dtype, 33, 70, ADAM, weighted=True, threads=2)
    compare(network, dtype, 5, 13, purpose="gradient")
    compare(network, dtype, 5, 13, purpose="evaluate")


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    assert_gradient_is_right(network_of(*LAYERS[name]), n=40, width=32)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(dtype):
    layers = (
        Concatenate([[Select(0, 5), NumericEmbedding(sigma=2.0)], [Select(3, 37), Scale()]]),
        NumericEmbedding("piecewise_linear", bins=3, units=5), ParametricActivation("silu"),
        GroupedDense(3, 15), GroupedDense(33, 3, use_bias=False), Select(40, 71),
        Activation("tanh"),
    )  # fmt: skip
    network = network_of(37, *layers)
    problem = make_problem(network, dtype, 43)
    together = predict(network, problem.values, np.dtype(dtype), problem.source, 2)
    for n in (1, 9, 33):
        rows = problem.rows[-n:]
        some = predict(network, problem.values, np.dtype(dtype), problem.source, 1, rows=rows)
        assert (some == together[rows]).all()


def test_phases_of_any_size():
    wave = NumericEmbedding(frequencies=1, units=1, concatenate=False)
    network = network_of(1, wave, outputs=1)
    x = np.array([0.0, 0.25, -0.125, 7.5, -1e3, 1e30, -1e30, np.inf, np.nan])[:, None]
    ones = np.ones((1, 1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)
    values = [np.ones(1), np.zeros(1), *ones]
    for dtype in ("float64", "float32"):
        given = [v.astype(dtype) for v in values]
        found = predict(network, given, np.dtype(dtype), Source(x.astype(dtype)), 1)[:, 0]
        expected = np.cos(2 * np.pi * x[:5, 0])
        np.testing.assert_allclose(found[:5], expected, atol=1e-6)
        assert found[5:7].tolist() == [1.0, 1.0] and np.isnan(found[7:]).all()


# --- in estimators


@pytest.fixture
def defined(monkeypatch):
    """Fit and predict by the operations' definitions: nothing is compiled."""
    monkeypatch.setitem(DEVICES, "cpu", ReferenceDevice())


def table(n=60):
    """Return numbers, and two columns of three and four categories with numbers of their own."""
    random = np.random.RandomState(0)
    x = random.normal(size=(n, 5))
    categories = random.randint((0, 3), (3, 7), size=(n, 2))
    y = np.sin(3 * x[:, 0]) + (categories[:, 0] == 1) - (categories[:, 1] == 4)
    return np.column_stack([x, categories]), y


def columns():
    """Return layers that read the columns of the table."""
    parts = [
        [Select(0, 3), NumericEmbedding(rate=0.1, name="numbers")], [Select(3, 5)],
        [Select(5, 7), CategoryEmbedding([3, 4], 2, name="categories")],
    ]  # fmt: skip
    return [Flatten(), Concatenate(parts), Scale(name="scale"), ParametricActivation("gelu")]


def test_an_estimator_takes_the_layers():
    x, y = table()
    net = ConvNetRegressor(
        [*columns(), Dense(8), Activation("tanh")], dtype="float64", random_state=0, max_iter=150,
        learning_rate_init=0.02, batch_size=20,
    ).fit(x, y)  # fmt: skip
    assert net.score(x, y) > 0.8
    weights = net.weights_
    assert weights["numbers"]["kernel"].shape == (3, 16, 3)
    assert weights["categories"]["kernel"].shape == (7, 2)
    assert (weights["scale"]["scale"] != 1).all() and len(weights["scale"]["scale"]) == 18
    assert (weights["layers.3"]["slope"] != 1).all()
    assert "ParametricActivation(gelu)" in str(net.summary())
    again = pickle.loads(pickle.dumps(net))
    assert (again.predict(x) == net.predict(x)).all()
    assert clone(net).fit(x, y).loss_ == net.loss_
    for column, token, message in ((5, 3, "3.* 0 to 2"), (6, 2, "2.* 3 to 6")):
        wrong = x.copy()
        wrong[7, column] = token
        with pytest.raises(ValueError, match=message):
            net.predict(wrong)
    with pytest.raises(ValueError, match="token 0.* from 3 to 6"):
        net.predict(sp.csr_array(x * (np.arange(7) < 6)))


def test_weights_go_to_files_and_back(tmp_path, defined):
    x, y = table()
    layers = [*columns(), NumericEmbedding("piecewise_linear", bins=3), GroupedDense(2, 9)]
    nets = [
        ConvNetRegressor(layers, dtype="float64", max_iter=2, random_state=seed).fit(x, y)
        for seed in (0, 1)
    ]
    before = nets[0].predict(x)
    nets[0].save_weights(tmp_path / "net.safetensors")
    nets[1].load_weights(tmp_path / "net.safetensors")
    np.testing.assert_allclose(nets[1].predict(x), before, rtol=1e-6)
    sknn.save(nets[0], tmp_path / "whole.safetensors")
    assert (sknn.load(tmp_path / "whole.safetensors").predict(x) == before).all()


def test_sums_do_not_depend_on_threads():
    network = network_of(*LAYERS["mixed"])
    made = [
        compare(network, "float32", 100, 200, ADAM, threads=threads).packed for threads in (1, 2, 3)
    ]
    assert (made[0] == made[1]).all() and (made[0] == made[2]).all()


# --- bad input

WRONG = {
    "stop": (lambda: Select(3, 3), ValueError, "stop of Select is 3; expected an int greater"),
    "start": (lambda: Select(-1, 3), ValueError, "start of Select is -1; expected an int of at le"),
    "rate": (lambda: Scale(rate=-1), ValueError, "rate of Scale is -1; expected a number in"),
    "function": (lambda: ParametricActivation("sotfmax"), ValueError, "'sotfmax'; expected one of"),
    "step": (lambda: ParametricActivation("step"), ValueError, "function .* is 'step'; expected"),
    "kind": (lambda: NumericEmbedding("period"), ValueError, "Did you mean 'periodic'"),
    "bins": (lambda: NumericEmbedding(bins=0), ValueError, "bins of NumericEmbedding is 0"),
    "edges": (
        lambda: NumericEmbedding(edges=[1.0, 2.0]), ValueError, r"shape \(2,\); expected \(n_feat",
    ),
    "falling edges": (lambda: NumericEmbedding(edges=-EDGES), ValueError, "increasing order"),
    "concatenate": (lambda: NumericEmbedding(concatenate=2), TypeError, "a bool or None"),
    "counts": (lambda: CategoryEmbedding([3, 0]), ValueError, "counts of CategoryEmbedding is"),
    "count": (lambda: CategoryEmbedding(3), TypeError, "counts of CategoryEmbedding is 3; exp"),
    "groups": (lambda: GroupedDense(3, 0), ValueError, "groups of GroupedDense is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        make()


UNFIT = {
    "select": ([Select(5, 8)], "Select.* 7 units; needs at least 8"),
    "scale": ([Reshape((7, 1)), Scale()], "Scale.* 7 x 1; needs a vector"),
    "groups": ([GroupedDense(3, 2)], "GroupedDense.* 7 units; needs .* 2 groups"),
    "edges": (
        [NumericEmbedding("piecewise_linear", edges=EDGES)], "7 units; edges .* of 3 features",
    ),
    "columns": ([CategoryEmbedding([3, 4])], "Category.* 7 units; needs 2, a column for each"),
    "tokens": (
        [Scale(), Select(0, 2), CategoryEmbedding([3, 4])], "reads token ids, but a layer before",
    ),
    "too many": ([NumericEmbedding(frequencies=2**31 - 1)], "numbers per sample on the way"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_layers_that_do_not_fit(name):
    layers, message = UNFIT[name]
    with pytest.raises(ValueError, match=message):
        ConvNetRegressor([Flatten(), *layers], max_iter=1).fit(*table())


def test_edges_are_the_first_values():
    layer = NumericEmbedding("piecewise_linear", edges=EDGES)
    assert layer.bins == 7 and layer == NumericEmbedding("piecewise_linear", bins=7)
    edges, kernel, bias = layer.draw((3,), np.random.RandomState(0), "auto")
    assert (edges == EDGES.ravel()).all() and kernel.shape == (3, 7, 16) and bias.shape == (48,)
    assert [p.trainable for p in layer.parameters((3,))] == [False, True, True]


def test_numbers_beside_categories_may_be_anything():
    x, y = table()
    x[:, :5] *= -100.5
    ConvNetRegressor(columns(), max_iter=1).fit(x, y)
