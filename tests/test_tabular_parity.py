"""Networks for tables follow the same training trajectory as in PyTorch, from the same weights.

Losses of each epoch, and weights after the last one, in float64, through the public interface. The
reference is checked first, against what is known without it.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

torch = pytest.importorskip("torch")

from tabular_reference import (  # noqa: E402
    ACTIVATIONS,
    Network,
    Recipe,
    coslog4,
    flat_cos,
    half_squared_error,
    log_loss,
    periodic,
    pieces,
    train,
)

import sknn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
estimators = pytest.mark.skipif(
    not hasattr(sknn, "TabularNetClassifier"), reason="the estimators are not there yet"
)

RANDOM = np.random.RandomState(0)
FEATURES, FREQUENCIES, UNITS = 3, 4, 2


# --- the reference


def normal(*shape):
    return RANDOM.normal(size=shape)


def embedding():
    return {
        "frequencies": normal(FEATURES * FREQUENCIES), "phases": normal(FEATURES * FREQUENCIES),
        "kernel": normal(FEATURES, FREQUENCIES, UNITS), "bias": normal(FEATURES * UNITS),
    }  # fmt: skip


def small_weights(outputs=3):
    """Return the weights of a network for 3 numbers, a passed column, and 2 categories."""
    inputs = FEATURES * (1 + UNITS) + 1 + 2 * 2
    return {
        "numbers": embedding(), "categories": {"kernel": normal(5, 2)},
        "scale": {"scale": normal(inputs)},
        "first": {"kernel": normal(inputs, 4), "bias": normal(4)}, "slope": {"slope": normal(4)},
        "last": {"kernel": normal(4, outputs), "bias": normal(outputs)},
    }  # fmt: skip


def ensemble_weights(members=3, outputs=2):
    return {
        "first": {
            "kernel": normal(4, 6), "bias": normal(members, 6),
            "inputs_scale": normal(members, 4), "outputs_scale": normal(members, 6),
        },
        "last": {"kernel": normal(members, 6, outputs), "bias": normal(members, outputs)},
    }  # fmt: skip


def rows(n=20):
    codes = np.c_[RANDOM.randint(3, size=n), RANDOM.randint(3, 5, size=n)]
    return np.c_[normal(n, FEATURES + 1), codes]


@pytest.mark.parametrize("name", ["selu", "mish"])
def test_activations_are_pytorch_s(name):
    z = torch.linspace(-30, 30, 601, dtype=torch.float64)
    assert torch.allclose(ACTIVATIONS[name](z), getattr(torch.nn.functional, name)(z), 1e-12, 1e-15)


def test_schedules_have_their_waves():
    """Four waves, each twice as long as the one before; the second half of flat_cos falls."""
    ends, tops = (2.0 ** np.arange(5) - 1) / 15, (2.0 ** np.arange(0.5, 4) - 1) / 15
    assert np.allclose([coslog4(t) for t in ends], 0.0, atol=1e-12)
    assert np.allclose([coslog4(t) for t in tops], 1.0)
    assert [flat_cos(t) for t in (0.0, 0.3, 0.5)] == [1.0] * 3
    assert np.allclose([flat_cos(t) for t in (0.75, 1.0)], [0.5, 0.0], atol=1e-12)


def test_periodic_embedding_term_by_term():
    own, x = embedding(), normal(2, FEATURES)
    made = periodic(torch.tensor(x), {name: torch.tensor(value) for name, value in own.items()})
    expected = []
    for row in x:
        for f, value in enumerate(row):
            expected.append(value)
            for u in range(UNITS):
                terms = [
                    own["kernel"][f, k, u]
                    * np.cos(2 * np.pi * own["frequencies"][i] * value + own["phases"][i])
                    for k, i in enumerate(range(f * FREQUENCIES, (f + 1) * FREQUENCIES))
                ]
                expected.append(sum(terms) + own["bias"][f * UNITS + u])
    np.testing.assert_allclose(made.ravel(), expected, rtol=1e-12)


def test_pieces_of_numbers():
    edges = torch.tensor([[0.0, 1.0, 3.0, 3.0, 4.0]])
    x = torch.tensor([[-2.0], [0.5], [2.0], [3.5], [6.0]])
    assert pieces(x, edges)[:, 0].tolist() == [
        [-2.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0], [1.0, 0.5, 0.0, 0.0], [1.0, 1.0, 0.0, 0.5],
        [1.0, 1.0, 0.0, 3.0],
    ]  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_log_loss_is_pytorch_s(smoothing):
    z, y = torch.tensor(normal(20, 3)), torch.tensor(RANDOM.randint(3, size=20))
    theirs = torch.nn.functional.cross_entropy(z, y, label_smoothing=smoothing)
    assert np.isclose(log_loss(z, y, smoothing), theirs)
    two = torch.stack([torch.zeros(20), z[:, 0]], 1)  # one output is a softmax over it and 0
    assert np.isclose(log_loss(z[:, :1], y % 2, smoothing), log_loss(two, y % 2, smoothing))


def test_members_are_networks_of_their_own():
    """A member's matrix is W, its rows times r, and its columns times s."""
    weights, x, y = ensemble_weights(), normal(20, 4), torch.tensor(RANDOM.randint(2, size=20))
    together = Network(weights, 4, activation="relu")
    losses = []
    for member, outputs in enumerate(together(x)):
        first, last = weights["first"], weights["last"]
        r, s = (first[name][member] for name in ("inputs_scale", "outputs_scale"))
        own = {
            "first": {"kernel": r[:, None] * first["kernel"] * s, "bias": first["bias"][member]},
            "last": {"kernel": last["kernel"][member], "bias": last["bias"][member]},
        }
        alone = Network(own, 4, activation="relu")(x)
        assert torch.allclose(outputs, alone)
        losses.append(log_loss(alone, y).item())
    assert np.isclose(log_loss(together(x), y).item(), np.mean(losses))


@pytest.mark.parametrize("weights", [small_weights, ensemble_weights])
def test_gradients_by_finite_differences(weights):
    x, y = (rows(), 2) if weights is small_weights else (normal(20, 4), 0)
    network = Network(weights(), 3 if y else 4, y, "mish")
    parameters = [value for _, _, value in network.parameters()]
    target = torch.tensor(RANDOM.randint(2, size=20))

    def loss(*_):
        return log_loss(network(x), target, 0.1)

    assert torch.autograd.gradcheck(loss, parameters, eps=1e-6, atol=1e-7, fast_mode=True)


def test_stored_and_learned_weights():
    """A step on V = sqrt(inputs) W, by hand: Adam's first is the rate times the gradient's sign."""
    weights, x = small_weights(), rows()
    network, target = Network(weights, FEATURES, 2), normal(20, 3)
    recipe = Recipe(
        0.01, half_squared_error, decay=0.5, rate_schedule=lambda t: 1.0, epsilon=1e-300
    )
    train(network, recipe, x, target, [[np.arange(20)]])
    moved = network.values()
    for name, part, step, decay in [
        ("first", "kernel", 0.01 / np.sqrt(14), 0.005), ("first", "bias", 0.001, 0.0),
        ("scale", "scale", 0.06, 0.0), ("slope", "slope", 0.001, 0.0),
        ("numbers", "frequencies", 0.001, 0.0), ("categories", "kernel", 0.01, 0.0),
    ]:  # fmt: skip
        before = weights[name][part]
        np.testing.assert_allclose(np.abs(moved[name][part] - before * (1 - decay)), step, 1e-6)


# --- the comparison

SAMPLES, BATCH = 96, 32
TABLE = pd.DataFrame(normal(SAMPLES, 3) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0], columns=list("abc"))
TABLE["kind"] = RANDOM.choice(["x", "y", "z"], SAMPLES)  # becomes columns of its own
TABLE["place"] = RANDOM.choice([f"place {i}" for i in range(12)], SAMPLES)  # is embedded
NUMBERS = TABLE[["a", "b", "c"]]
HEIGHT = np.sin(TABLE["a"]) + 0.1 * TABLE["b"] + (TABLE["kind"] == "y") + 0.3 * normal(SAMPLES)
TARGETS = {
    "two classes": np.where(HEIGHT > 0.8, "high", "low"),
    "three classes": np.digitize(HEIGHT, [0.3, 1.3]),
    "numbers": 7.0 + 3.0 * HEIGHT.to_numpy(),
}
#: The parameters that decay, by kind of layer: all but biases, phases, and the vectors of members.
DECAYED = (
    ("scale", "scale"), ("slope", "slope"), ("periodic", "frequencies"), ("periodic", "kernel"),
    ("piecewise_linear", "kernel"), ("vectors", "kernel"), ("dense", "kernel"),
)  # fmt: skip


def first_weights(net, X, y):
    """Return the weights that an estimator starts with."""
    still = clone(net).set_params(learning_rate_init=1e-300, max_iter=1)
    return still.fit(X, y).weights_


def compare(net, X, y, decayed=DECAYED, precision=1e-9):
    """Fit an estimator, and train the reference as it was; compare losses and weights."""
    start = first_weights(net, X, y)
    net = clone(net).fit(X, y)
    encoder = net._encoder
    network = Network(
        start, encoder.n_numeric_, len(encoder.counts_), net.activation,
        net.parametrization == "neural_tangent",
    )  # fmt: skip
    if isinstance(net, sknn.TabularNetClassifier):
        loss, smoothing = log_loss, net.label_smoothing_
        y = np.searchsorted(net.classes_, y)
    else:
        loss, smoothing, y = half_squared_error, 0.0, (y - y.mean()) / y.std()
    recipe = Recipe(
        net.learning_rate_init, loss, smoothing, net.alpha, beta_2=net.beta_2,
        scale_rate=net.scale_rate, bias_rate=net.bias_rate, slope_rate=net.activation_rate,
        number_rate=net.embedding_rate, decayed=decayed,
    )  # fmt: skip
    batches = np.split(np.arange(len(y)), range(net.batch_size, len(y), net.batch_size))
    curve = train(network, recipe, net._read(X).values, y, [batches] * net.max_iter)
    np.testing.assert_allclose(net.loss_curve_, curve, rtol=precision)
    for name, own in network.values().items():
        for part, value in own.items():
            np.testing.assert_allclose(
                net.weights_[name][part], value, rtol=precision,
                atol=precision * max(1e-3, np.abs(value).max()), err_msg=f"{name}.{part}",
            )  # fmt: skip
    return net


def small(target, **given):
    cls = sknn.TabularNetRegressor if target == "numbers" else sknn.TabularNetClassifier
    return cls(
        **{
            "hidden_layer_sizes": (12, 9, 5), "batch_size": BATCH, "max_iter": 3, "dropout": 0.0,
            "early_stopping": False, "shuffle": False, "dtype": "float64", "random_state": 3,
        } | given
    )  # fmt: skip


@estimators
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("numeric_embedding", [None, "periodic", "piecewise_linear"])
def test_the_recipe(target, numeric_embedding):
    net = small(target, numeric_embedding=numeric_embedding)
    compare(net, NUMBERS if numeric_embedding is None else TABLE, TARGETS[target])


@estimators
@pytest.mark.parametrize("target", ["three classes", "numbers"])
@pytest.mark.parametrize("numeric_embedding", [None, "periodic"])
def test_members(target, numeric_embedding):
    net = small(target, numeric_embedding=numeric_embedding, n_ensemble=3)
    compare(net, TABLE, TARGETS[target])


@estimators
def test_the_standard_parametrization_with_relu():
    """TabM's own: no factors of inputs, no slopes."""
    net = small(
        "three classes", n_ensemble=3, activation="relu", parametric_activation=False,
        input_scale=False, parametrization="standard", numeric_embedding=None, label_smoothing=0.0,
        learning_rate_init=0.01, bias_rate=1.0,
    )  # fmt: skip
    compare(net, TABLE, TARGETS["three classes"])
