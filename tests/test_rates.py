"""Rates by parameter, neural-tangent parametrization, schedules, first values of the data."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from test_mlp_parity import SOLVERS, first_weights, train_in_torch

from sknn import (
    AutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    MLPNetClassifier,
    MLPNetRegressor,
    RNNRegressor,
)
from sknn.layers import Conv2D, Conv2DTranspose, Dense, Dropout, Flatten, Residual

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]
IMAGES = X.reshape(-1, 8, 8, 1)
#: Rates of kernels and of biases, from layer to layer, and the number of units.
RATES = (0.5, 3.0, 20), (2.0, 0.1, 9), (0.7, 1.5, 10)


class Adam:
    """scikit-learn's Adam: epsilon is added before the bias correction."""

    def __new__(cls, torch, groups, lr):
        class Own(torch.optim.Optimizer):
            def step(self):
                with torch.no_grad():
                    for group in self.param_groups:
                        for p in group["params"]:
                            s = self.state[p]
                            t = s["t"] = s.get("t", 0) + 1
                            s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * p.grad
                            s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * p.grad**2
                            rate = group["lr"] * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
                            p -= rate * s["m"] / (s["v"].sqrt() + 1e-3)

        return Own(groups, {"lr": lr})


def optimizers(torch):
    """Return our settings of each solver, and PyTorch's optimizer of groups."""
    o = torch.optim
    return {
        "sgd": ({}, lambda g, lr: o.SGD(g, lr=lr, momentum=0.9, nesterov=True)),
        "momentum": (
            {"solver": "sgd", "nesterovs_momentum": False},
            lambda g, lr: o.SGD(g, lr=lr, momentum=0.9),
        ),
        "adam": ({"epsilon": 1e-3}, lambda g, lr: Adam(torch, g, lr)),
        "adamw": (
            {"alpha": 0.3, "epsilon": 1e-3},
            lambda g, lr: o.AdamW(g, lr=lr, eps=1e-3, weight_decay=0.0),
        ),
        "nadam": ({"epsilon": 1e-3}, lambda g, lr: o.NAdam(g, lr=lr, eps=1e-3)),
        "rmsprop": (
            {"beta_2": 0.9, "epsilon": 1e-3}, lambda g, lr: o.RMSprop(g, lr=lr, alpha=0.9, eps=1e-3)
        ),
        "adagrad": ({"epsilon": 1e-3}, lambda g, lr: o.Adagrad(g, lr=lr, eps=1e-3)),
        "adadelta": (
            {"beta_1": 0.95, "epsilon": 1e-3},
            lambda g, lr: o.Adadelta(g, lr=lr, rho=0.95, eps=1e-3),
        ),
    }  # fmt: skip


def in_torch(name, parametrization, lr, clip):
    """Train v, where weights are v times a factor, in groups of their own rates; return weights."""
    torch = pytest.importorskip("torch")
    params, make = optimizers(torch)[name]
    groups, layers = [], []
    for (w, b), (kernel_rate, bias_rate, _) in zip(first_weights([64, 20, 9, 10]), RATES):
        scale = len(w) ** -0.5 if parametrization == "neural_tangent" else 1.0
        v, b = (torch.tensor(a, requires_grad=True) for a in (w / scale, b))
        decay = {"weight_decay": params["alpha"]} if "alpha" in params else {}
        groups += {"params": [v], "lr": lr * kernel_rate, **decay}, {
            "params": [b], "lr": lr * bias_rate,
        }  # fmt: skip
        layers.append((v, scale, b))
    optimizer, (x, y) = make(groups, lr), (torch.tensor(X), torch.tensor(Y))
    for start in [*range(0, 200, 50)] * 3:
        a = x[start : start + 50]
        for i, (v, scale, b) in enumerate(layers):
            a = a @ (v * scale) + b
            a = torch.tanh(a) if i < 2 else a
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(a, y[start : start + 50]).backward()
        if clip:
            gradients = [p.grad for v, _, b in layers for p in (v, b)]
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            assert norm > clip
            for g in gradients:
                g *= clip / norm
        optimizer.step()
    return [a for v, scale, b in layers for a in ((v * scale).detach().numpy(), b.detach().numpy())]


@pytest.mark.parametrize("parametrization", ["standard", "neural_tangent"])
@pytest.mark.parametrize(
    "name",
    ["sgd", "momentum", "adam", "adamw", "nadam", "rmsprop", "adagrad", "adadelta", "clipped"],
)
def test_rates_by_parameter_are_pytorch_s_groups(name, parametrization):
    clip, name = (0.05, "adamw") if name == "clipped" else (None, name)
    lr = 0.5 if name == "adadelta" else 0.01
    torch = pytest.importorskip("torch")
    layers = [
        Dense(units, activation="tanh" if units != 10 else None, kernel_rate=kernel_rate,
              bias_rate=bias_rate, parametrization=parametrization)
        for kernel_rate, bias_rate, units in RATES
    ]  # fmt: skip
    first = [a for pair in first_weights([64, 20, 9, 10]) for a in pair]
    net = ConvNetClassifier(
        [Flatten(), *layers], **{"solver": name, "alpha": 0.0} | optimizers(torch)[name][0],
        learning_rate_init=lr, batch_size=50, max_iter=3, shuffle=False, random_state=0,
        initializer=first, clip_norm=clip,
    ).fit(IMAGES, Y)  # fmt: skip
    found = [a for layer in net.weights_.values() for a in layer.values()]
    # PyTorch keeps NAdam's product of momenta in float32
    near = 1e-8 if name == "nadam" else 1e-11
    for a, b, begun in zip(found, in_torch(name, parametrization, lr, clip), first, strict=True):
        np.testing.assert_allclose(a, b, near, near)
        assert np.abs(a - begun).max() > 1e-4


def test_a_rate_of_zero_is_a_frozen_parameter():
    net = ConvNetClassifier(
        [Flatten(), Dense(7, kernel_rate=0.0), Dense(10, bias_rate=0.0)], solver="adamw", alpha=0.1,
        max_iter=2, random_state=0,
    )  # fmt: skip
    once, more = (net.set_params(max_iter=n).fit(IMAGES, Y).weights_.values() for n in (1, 3))
    for (a, b), same in zip(zip(once, more), (("kernel", "bias"), ("bias", "kernel"))):
        np.testing.assert_array_equal(a[same[0]], b[same[0]])
        assert (a[same[1]] != b[same[1]]).any()


# --- schedules


def flat_cos(t):
    return 1.0 if t < 0.5 else (1 + np.cos(np.pi * (2 * t - 1))) / 2


def test_the_schedule_of_weight_decay_is_followed():
    class Following:
        def __init__(self, optimizer):
            self.group, self.step_ = optimizer.param_groups[0], 0

        def step(self):
            self.step_ += 1
            self.group["weight_decay"] = 0.3 * flat_cos(self.step_ / 21)

    params, make_optimizer = SOLVERS["adamw"]
    net = MLPNetClassifier(
        (20, 9), activation="tanh", batch_size=32, max_iter=3, shuffle=False, random_state=0,
        solver="adamw", alpha_schedule="flat_cos", **params,
    ).fit(X, Y)  # fmt: skip

    def loss(torch, z, y):
        return torch.nn.functional.cross_entropy(z, y, reduction="none")

    dense, _ = train_in_torch(
        X, Y, (20, 9), 10, make_optimizer, loss, schedule=lambda torch, o: Following(o)
    )
    for ours, layer in zip(net.coefs_, dense, strict=True):
        np.testing.assert_allclose(ours, layer.weight.detach().numpy().T, 1e-8, 1e-8)


@pytest.mark.parametrize("average", [False, True])
def test_dropout_follows_its_schedule(average):
    """A sum of one: its loss shows how often it was dropped, and what it was divided by."""
    n = 1000
    net = ConvNetRegressor(
        [Flatten(), Dropout(0.5), Dense(1, use_bias=False)], (1, 1, 1), solver="sgd", alpha=0.0,
        learning_rate_init=1e-30, max_iter=8, batch_size=n, random_state=0, average=average,
        dropout_schedule="flat_cos", initializer=[np.ones((1, 1))], tol=10.0, n_iter_no_change=1,
    ).fit(np.ones((n, 1)), np.ones(n))  # fmt: skip
    # half the square of 1 - 1 / (1 - p), or of 1: on average half of p / (1 - p)
    rates = np.array([0.5 * flat_cos(t / 8) for t in range(8)])
    np.testing.assert_allclose(net.loss_curve_, rates / (1 - rates) / 2, atol=0.05)
    assert net.loss_curve_[0] > 0.4 and 0 < net.loss_curve_[-1] < 0.05


def test_schedules_end_with_the_fit():
    """They go on to their end unless stopped early, and each fit has one of its own."""
    params = {"hidden_layer_sizes": (8,), "random_state": 0, "tol": 10.0, "n_iter_no_change": 1}
    dropped = {"dropout": 0.3, "dropout_schedule": "flat_cos", "max_iter": 6}
    net = MLPNetClassifier(**params, **dropped)
    assert net.fit(X, Y).n_iter_ == 6
    assert clone(net).set_params(early_stopping=True).fit(X, Y).n_iter_ < 6
    assert clone(net).set_params(dropout_schedule="constant").fit(X, Y).n_iter_ < 6
    decayed = MLPNetClassifier(**params, solver="adamw", alpha_schedule="flat_cos", max_iter=6)
    assert decayed.fit(X, Y).n_iter_ == 6
    for one, name in (net, "dropout_schedule"), (decayed, "alpha_schedule"):
        with pytest.raises(ValueError, match=f"does not support {name}='flat_cos'"):
            one.partial_fit(X, Y)


def test_a_schedule_of_decay_without_decoupled_decay_is_warned_of():
    net = MLPNetClassifier((3,), alpha_schedule="flat_cos", max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="alpha_schedule='flat_cos' has no effect with solver="):
        scheduled = net.fit(X, Y).loss_curve_
    assert clone(net).set_params(alpha_schedule="constant").fit(X, Y).loss_curve_ == scheduled


# --- first values that depend on the data

STILL = {"solver": "sgd", "learning_rate_init": 1e-300, "alpha": 0.0, "max_iter": 1}


def sums_of(net, data, bias=True):
    """Return the sums of each layer of a multilayer perceptron, before its bias is added."""
    a, found = data, []
    for w, b in zip(net.coefs_, net.intercepts_):
        found.append(a @ w)
        a = np.tanh(found[-1] + b)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_sums_have_a_deviation_of_one(dtype):
    net = MLPNetClassifier(
        (30, 20), "tanh", initializer="data_dependent", random_state=0, dtype=dtype, **STILL
    ).fit(X, Y)
    for sums, b in zip(sums_of(net, X), net.intercepts_, strict=True):
        constant = np.ptp(sums, axis=0) == 0
        assert not constant.any()
        np.testing.assert_allclose(sums.std(axis=0), 1.0, rtol=1e-5)
        assert (b < -sums.min(axis=0)).all() and (b > -sums.max(axis=0)).all()
        # means of five rows, more or less: they deviate by about 1 / sqrt(3)
        deviation = (b + sums.mean(axis=0)).std()
        assert 0.3 < deviation < 0.9
    for n_jobs in 1, 2:
        again = clone(net).set_params(n_jobs=n_jobs).fit(X, Y)
        for a, b in zip(net.coefs_ + net.intercepts_, again.coefs_ + again.intercepts_):
            assert a.tobytes() == b.tobytes()


def test_first_values_depend_on_the_training_data_only():
    net = MLPNetClassifier(
        (30,), "tanh", initializer="data_dependent", random_state=0, early_stopping=True,
        validation_fraction=0.5, **STILL,
    )  # fmt: skip
    net.fit(X, Y)
    train, _ = train_test_split(X, random_state=after_drawing(net), test_size=0.5)
    np.testing.assert_allclose((train @ net.coefs_[0]).std(axis=0), 1.0, rtol=1e-6)


def after_drawing(net):
    """Return the generator as it is when the network's kernels have been drawn."""
    random_state = np.random.RandomState(net.random_state)
    for w in net.coefs_:
        random_state.normal(size=w.shape)
    return random_state


def test_units_whose_sums_are_constant_stay_as_they_are():
    net = MLPNetClassifier((5,), initializer="data_dependent", random_state=0, **STILL)
    zero = net.fit(np.zeros((20, 9)), np.arange(20) % 2).coefs_
    drawn = np.random.RandomState(0).normal(0, 9**-0.5, (9, 5))
    np.testing.assert_allclose(zero[0], drawn, rtol=1e-12)
    np.testing.assert_array_equal(net.intercepts_[0], 0.0)


def test_convolutions_and_nested_layers_before_them():
    data = {"kernel_initializer": "data_dependent"}
    layers = [
        Residual([Conv2D(1, 3, padding="same", activation="relu")]),
        Conv2D(4, 3, **data), Conv2DTranspose(3, 2, 2, bias_initializer="data_dependent", **data),
        Flatten(), Dense(6, activation="tanh", **data),
    ]  # fmt: skip
    net = ConvNetRegressor(layers, random_state=0, **STILL).fit(IMAGES, X[:, 0])
    for name, place in ("layers.1", 1), ("layers.2", 2), ("layers.4", 4):
        z = net.activations(IMAGES, place)
        z = np.arctanh(z) if place == 4 else z
        z = (z - net.weights_[name]["bias"]).reshape(-1, z.shape[-1])
        np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-4)
        assert np.any(np.abs(net.weights_[name]["bias"]) > 1e-3) == (place == 2)


def test_given_values_stay(tmp_path):
    layers = [Flatten(), Dense(5, kernel_initializer="data_dependent"), Dense(10)]
    layers[2] = Dense(10, kernel_initializer="data_dependent", bias_initializer="data_dependent")
    given = [np.full((64, 5), 0.5), np.full(5, 2.0)]
    net = ConvNetClassifier(layers, initializer=given, random_state=0, **STILL).fit(IMAGES, Y)
    first, second = net.weights_.values()
    np.testing.assert_array_equal(first["kernel"], given[0])
    np.testing.assert_array_equal(first["bias"], given[1])
    z = (X @ given[0] + given[1]) @ second["kernel"]
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-5)
    net.save_weights(tmp_path / "file.safetensors")
    other = clone(net).set_params(initializer=tmp_path / "file.safetensors", random_state=1)
    other.fit(IMAGES, Y)
    for layer, expected in zip(other.weights_.values(), net.weights_.values()):
        for name, value in layer.items():
            np.testing.assert_array_equal(value, expected[name])


DEPENDENT = {"initializer": "data_dependent"}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ConvNetClassifier([Residual([Conv2D(1, 1)])], **DEPENDENT), "part of another"),
        (lambda: RNNRegressor("gru", 3, **DEPENDENT), "needs a kernel_initializer of its own"),
        (lambda: AutoencoderTransformer(**DEPENDENT), "initializer"),
        (lambda: ConvNetClassifier([Dense(3, kernel_rate=-1.0)]), "kernel_rate of Dense is -1.0"),
        (lambda: ConvNetClassifier([Dense(3, parametrization="ntk")]), "'neural_tangent'"),
        (lambda: ConvNetClassifier([Dense(3, bias_initializer="ones")]), "bias_initializer of"),
        (lambda: MLPNetRegressor(dropout_schedule="cosine"), "dropout_schedule"),
        (lambda: MLPNetRegressor(learning_rate="coslog"), "'coslog4'"),
    ],
)
def test_what_cannot_be_is_an_error(make, match):
    with pytest.raises(ValueError, match=match):
        make().fit(IMAGES if "Conv" in str(make().__class__) else X, X[:, 0] > 0.5)
