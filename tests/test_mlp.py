"""Multilayer perceptrons through their public interface."""

import copy
import io
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_multilabel_classification
from sklearn.metrics import accuracy_score, d2_pinball_score, r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, check_cv, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, StandardScaler, scale
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.class_weight import compute_sample_weight
from test_operations import without_avx512

from sknn import MLPNet, MLPNetClassifier, MLPNetRegressor, RBFNetClassifier
from sknn.estimator.net import generator
from sknn.estimator.tasks import Classification
from sknn.layers import Activation
from sknn.tape.losses import Loss

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COUNTS, DIGIT = load_digits(return_X_y=True)
COUNTS, DIGIT = COUNTS[:300], DIGIT[:300]
DIGITS = COUNTS / 16
IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = scale(IRIS)
PATIENTS, PROGRESSION = load_diabetes(return_X_y=True)
PATIENTS, PROGRESSION = scale(PATIENTS), scale(PROGRESSION)
TARGETS = {MLPNetClassifier: DIGIT, MLPNetRegressor: DIGIT / 5 - 1}

# A learning rate so small that weights do not change, to the bit.
STILL = {"solver": "sgd", "learning_rate_init": 1e-300, "alpha": 0.0}


def small(cls=MLPNetClassifier, **params):
    return cls(**{"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0, **params})


def weights(net):
    """Return everything that was learned, as one list of arrays."""
    norms = [value for layer in getattr(net, "batch_norm_", ()) for value in layer.values()]
    return [*net.coefs_, *net.intercepts_, *norms]


def assert_same_bits(a, b):
    a, b = ([x] if isinstance(x, np.ndarray) else weights(x) for x in (a, b))
    assert len(a) == len(b)
    for one, other in zip(a, b):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def outputs(net, X):
    return net.predict_proba(X) if is_classifier(net) else net.predict(X)


# --- layers


def forward(net, X, activations):
    """Compute a network's outputs before the output activation, in NumPy."""
    for w, b, function in zip(net.coefs_, net.intercepts_, [*activations, lambda z: z]):
        X = function(X @ w + b)
    return X


def test_activation_for_each_layer():
    net = small(
        MLPNetRegressor,
        hidden_layer_sizes=(9, 8, 7, 6),
        activation=["tanh", Activation("leaky_relu", 0.01), "leaky_relu", Activation("elu", 0.5)],
    ).fit(DIGITS, TARGETS[MLPNetRegressor])

    def leaky(slope):
        return lambda z: np.where(z > 0, z, slope * z)

    def elu(z):
        return np.where(z > 0, z, 0.5 * np.expm1(z))

    expected = forward(net, DIGITS, [np.tanh, leaky(0.01), leaky(0.3), elu])
    np.testing.assert_allclose(net.predict(DIGITS), expected[:, 0], atol=1e-12)


def test_activation_as_a_list_is_that_of_each_layer():
    one = small(hidden_layer_sizes=(9, 8), activation="tanh").fit(DIGITS, DIGIT)
    for activation in (["tanh", "tanh"], ("tanh", Activation("tanh"))):
        other = small(hidden_layer_sizes=(9, 8), activation=activation).fit(DIGITS, DIGIT)
        assert_same_bits(one, other)


def test_output_activation():
    y = (PROGRESSION > 0).astype(float)
    net = small(MLPNetRegressor, output_activation="logistic").fit(PATIENTS, y)
    assert net.out_activation_ == "logistic"
    predicted = net.predict(PATIENTS)
    assert 0 < predicted.min() and predicted.max() < 1
    z = forward(net, PATIENTS, [lambda z: np.maximum(z, 0)])
    np.testing.assert_allclose(predicted, 1 / (1 + np.exp(-z[:, 0])), rtol=1e-12)

    net = small(MLPNetRegressor, output_activation=Activation("leaky_relu", 0.01), max_iter=20)
    net.fit(PATIENTS, PROGRESSION)
    z = forward(net, PATIENTS, [lambda z: np.maximum(z, 0)])[:, 0]
    assert z.min() < 0
    np.testing.assert_allclose(net.predict(PATIENTS), np.where(z > 0, z, 0.01 * z), atol=1e-12)
    assert_same_bits(pickle.loads(pickle.dumps(net)).predict(PATIENTS), net.predict(PATIENTS))


def test_auto_is_the_output_activation_it_stands_for():
    for named, y in (("softmax", DIGIT), ("logistic", DIGIT > 4)):
        one = small().fit(DIGITS, y)
        assert one.out_activation_ == named
        assert_same_bits(one, small(output_activation=named).fit(DIGITS, y))


def test_step_is_for_prediction_only():
    net = small(activation="logistic", max_iter=30).fit(DIGITS, DIGIT)
    net.set_params(activation="step")
    z = forward(net, DIGITS, [lambda z: (z >= 0).astype(float)])
    np.testing.assert_array_equal(net.predict(DIGITS), net.classes_[z.argmax(axis=1)])
    before = pickle.dumps(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="step"):
            train(DIGITS, DIGIT)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("wanted, outputs", [("xor", [0, 1, 1, 0]), ("xnor", [1, 0, 0, 1])])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_logic_gates_that_need_a_hidden_layer(wanted, outputs, solver):
    gates = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    net = MLPNetClassifier(
        (8,), "tanh", solver=solver, learning_rate_init=0.05, max_iter=500, random_state=0
    ).fit(gates, outputs)
    np.testing.assert_array_equal(net.predict(gates), outputs)
    assert net.predict_proba(gates)[range(4), outputs].min() > 0.9
    flat = MLPNetClassifier((), solver="lbfgs", random_state=0).fit(gates, outputs)
    assert flat.score(gates, outputs) <= 0.75


# --- dropout and batch normalization


def test_dropout_for_each_layer():
    nets = [
        small(hidden_layer_sizes=(16, 16), dropout=dropout).fit(DIGITS, DIGIT)
        for dropout in (0.5, [0.5, 0.5], (0.0, 0.5), np.array([0.5, 0.0]), 0.0, [0, 0])
    ]
    assert_same_bits(nets[0], nets[1])
    assert_same_bits(nets[4], nets[5])
    assert len({net.coefs_[0].tobytes() for net in nets}) == 4


def test_dropout_is_inverted_dropout_of_the_given_rate():
    # The expected squared error has a closed form if only the mask is random.
    rate = 0.3
    net = MLPNetRegressor(
        hidden_layer_sizes=(20,), activation="tanh", dropout=rate, max_iter=200, tol=0.0,
        n_iter_no_change=np.inf, random_state=0, **STILL,
    ).fit(PATIENTS, PROGRESSION)  # fmt: skip
    contributions = np.tanh(PATIENTS @ net.coefs_[0] + net.intercepts_[0]) * net.coefs_[1][:, 0]
    mean = contributions.sum(axis=1) + net.intercepts_[1]
    variance = (contributions**2).sum(axis=1) * rate / (1 - rate)
    expected = 0.5 * np.mean((PROGRESSION - mean) ** 2 + variance)
    np.testing.assert_allclose(np.mean(net.loss_curve_), expected, rtol=0.01)
    # every epoch has its own masks
    assert len(set(net.loss_curve_)) == 200


def test_dropout_follows_the_seed():
    net = small(shuffle=False, warm_start=True).fit(DIGITS, DIGIT)

    def go_on(seed, dropout):
        return copy.deepcopy(net).set_params(random_state=seed, dropout=dropout).fit(DIGITS, DIGIT)

    assert_same_bits(go_on(1, 0.0), go_on(2, 0.0))
    assert_same_bits(go_on(1, 0.2), go_on(1, 0.2))
    assert go_on(1, 0.2).coefs_[0].tobytes() != go_on(2, 0.2).coefs_[0].tobytes()


def test_dropout_draws_nothing_from_the_random_state():
    # The order of samples is scikit-learn's with dropout, too.
    states = [np.random.RandomState(3) for _ in range(2)]
    for state, dropout in zip(states, (0.0, 0.5)):
        small(dropout=dropout, random_state=state).fit(DIGITS, DIGIT)
    assert states[0].uniform() == states[1].uniform()


def test_dropout_is_off_in_prediction():
    net = small(dropout=0.5).fit(DIGITS, DIGIT)
    assert_same_bits(net.predict_proba(DIGITS), net.predict_proba(DIGITS))
    hidden = np.maximum(DIGITS @ net.coefs_[0] + net.intercepts_[0], 0)
    z = hidden @ net.coefs_[1] + net.intercepts_[1]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(net.predict_proba(DIGITS), e / e.sum(axis=1, keepdims=True))


def test_dropout_regularizes():
    random_state = np.random.RandomState(0)
    X = random_state.normal(size=(400, 20))
    y = X[:, 0] + random_state.normal(size=400)
    scores = {}
    for dropout in (0.0, 0.5):
        net = MLPNetRegressor(
            hidden_layer_sizes=(200,), dropout=dropout, max_iter=200, tol=0.0, random_state=0,
            n_iter_no_change=np.inf,
        ).fit(X[:100], y[:100])  # fmt: skip
        scores[dropout] = net.score(X[:100], y[:100]), net.score(X[100:], y[100:])
    assert scores[0.5][0] < scores[0.0][0]
    assert scores[0.5][1] > scores[0.0][1]


def test_batch_norm():
    net = small(
        hidden_layer_sizes=(16, 8), batch_norm=True, max_iter=20, learning_rate_init=0.02
    ).fit(DIGITS, DIGIT)
    assert [set(layer) for layer in net.batch_norm_] == 2 * [{"gamma", "beta", "mean", "variance"}]
    assert [layer["gamma"].shape for layer in net.batch_norm_] == [(16,), (8,)]
    assert net.score(DIGITS, DIGIT) > 0.9
    a = DIGITS
    for w, b, norm in zip(net.coefs_, net.intercepts_, net.batch_norm_):
        z = a @ w + b
        z = (z - norm["mean"]) / np.sqrt(norm["variance"] + 1e-5) * norm["gamma"] + norm["beta"]
        a = np.maximum(z, 0)
    z = a @ net.coefs_[-1] + net.intercepts_[-1]
    np.testing.assert_array_equal(net.predict(DIGITS), net.classes_[z.argmax(axis=1)])
    # it goes with the network when that is refitted without
    assert not hasattr(net.set_params(batch_norm=False).fit(DIGITS, DIGIT), "batch_norm_")


def test_batch_norm_of_a_batch_of_one_is_finite():
    net = small(batch_norm=True, batch_size=32).fit(DIGITS[:33], DIGIT[:33])
    assert all(np.isfinite(value).all() for value in weights(net))
    assert np.isfinite(net.predict_proba(DIGITS[:1])).all()


def test_early_stopping_keeps_the_best_of_batch_norm_too():
    net = small(batch_norm=True, early_stopping=True, max_iter=40, learning_rate_init=0.03)
    net.fit(DIGITS, DIGIT, X_val=COUNTS[200:] / 16, y_val=DIGIT[200:])
    assert net.score(DIGITS[200:], DIGIT[200:]) == max(net.validation_scores_)


# --- initializers, losses, class weights


@pytest.mark.parametrize(
    "initializer, bound, deviation",
    [
        ("auto", np.sqrt(6 / 564), None),
        ("glorot_uniform", np.sqrt(6 / 564), None),
        ("glorot_normal", None, np.sqrt(2 / 564)),
        ("he_uniform", np.sqrt(6 / 64), None),
        ("he_normal", None, np.sqrt(2 / 64)),
        ("lecun_uniform", np.sqrt(3 / 64), None),
        ("lecun_normal", None, np.sqrt(1 / 64)),
        ("normal", None, 0.05),
        ("uniform", 0.05, None),
        ("zeros", 0.0, None),
    ],
)
def test_initializer(initializer, bound, deviation):
    net = small(initializer=initializer, hidden_layer_sizes=(500,), max_iter=1, **STILL)
    net.fit(DIGITS, DIGIT)
    w, b = net.coefs_[0], net.intercepts_[0]
    assert abs(w.mean()) < 0.01
    if bound is None:
        np.testing.assert_allclose(w.std(), deviation, rtol=0.02)
        np.testing.assert_allclose(np.mean(np.abs(w) < deviation), 0.683, atol=0.01)
    else:
        assert np.abs(w).max() <= bound
        np.testing.assert_allclose(w.std(), bound / np.sqrt(3), rtol=0.02)
    assert (np.abs(b).max() > 1e-200) == (initializer == "auto")


def test_logistic_starts_within_its_own_bound():
    net = small(activation="logistic", hidden_layer_sizes=(500,), max_iter=1, **STILL)
    bound = np.sqrt(2 / 564)
    largest = np.abs(net.fit(DIGITS, DIGIT).coefs_[0]).max()
    assert 0.99 * bound < largest <= bound


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_regression_losses_learn(loss):
    net = MLPNetRegressor(loss, (16,), max_iter=150, random_state=0, learning_rate_init=0.01)
    net.fit(PATIENTS, PROGRESSION)
    assert net.score(PATIENTS, PROGRESSION) > 0.5
    assert net.loss_curve_[-1] < net.loss_curve_[0]


def test_quantile_is_that_quantile():
    for quantile in (0.1, 0.9):
        net = MLPNetRegressor(
            "quantile", (8,), quantile=quantile, max_iter=300, random_state=0,
            learning_rate_init=0.01,
        ).fit(PATIENTS, PROGRESSION)  # fmt: skip
        below = np.mean(PROGRESSION < net.predict(PATIENTS))
        np.testing.assert_allclose(below, quantile, atol=0.05)


def test_several_quantiles():
    levels = [0.05, 0.5, 0.95]
    net = MLPNetRegressor(
        "quantile", (8,), quantile=levels, max_iter=300, random_state=0, learning_rate_init=0.01,
    ).fit(PATIENTS, PROGRESSION, X_val=PATIENTS, y_val=PROGRESSION)  # fmt: skip
    predictions = net.predict(PATIENTS)
    assert predictions.shape == (len(PATIENTS), 3) and net.n_outputs_ == 3
    assert (np.diff(predictions, axis=1) >= 0).all()
    below = np.mean(PROGRESSION[:, None] < predictions, axis=0)
    np.testing.assert_allclose(below, levels, atol=0.05)
    for weight in (None, np.arange(len(PATIENTS))):
        expected = np.mean([
            d2_pinball_score(PROGRESSION, column, sample_weight=weight, alpha=level)
            for column, level in zip(predictions.T, levels)
        ])  # fmt: skip
        score = net.score(PATIENTS, PROGRESSION, weight)
        assert score == pytest.approx(expected) and score > 0.2
    assert net.validation_scores_[-1] == pytest.approx(net.score(PATIENTS, PROGRESSION))
    again = pickle.loads(pickle.dumps(clone(net)))
    again.set_params(early_stopping=True, quantile=np.array(levels), max_iter=20)
    assert again.fit(PATIENTS, PROGRESSION).best_validation_score_ > 0
    again.set_params(early_stopping=False).partial_fit(PATIENTS, PROGRESSION)
    again.set_params(quantile=[0.1, 0.9])
    with pytest.raises(ValueError, match=r"quantile has 2 entries, .* shape \(442, 3\)"):
        again.score(PATIENTS, PROGRESSION)


def test_quantiles_that_cross_are_sorted():
    net = small(MLPNetRegressor, loss="quantile", quantile=(0.2, 0.8), max_iter=1, **STILL)
    outputs = net.fit(PATIENTS, PROGRESSION).activations(PATIENTS, -1)
    assert (np.diff(outputs) < 0).any() and (np.diff(outputs) > 0).any()
    assert_same_bits(net.predict(PATIENTS), np.sort(outputs, axis=1))
    one = small(MLPNetRegressor, loss="quantile", quantile=[0.3]).fit(PATIENTS, PROGRESSION)
    same = small(MLPNetRegressor, loss="quantile", quantile=0.3).fit(PATIENTS, PROGRESSION)
    assert_same_bits(one, same)
    assert_same_bits(one.predict(PATIENTS), same.predict(PATIENTS)[:, None])


@pytest.mark.parametrize(
    "quantile", [[], [0.5, 0.5], [0.9, 0.1], [-0.1, 0.5], [0.5, 1.1], [0.1, np.nan], ["a"],
                 [[0.1, 0.9]], [[0.1], [0.2, 0.3]]],
)  # fmt: skip
def test_quantiles_are_checked(quantile):
    net = small(MLPNetRegressor, loss="quantile", quantile=quantile)
    with pytest.raises(ValueError, match=r"quantile is .*; expected a number in \[0, 1\], or incr"):
        net.fit(PATIENTS, PROGRESSION)


def test_quantiles_are_of_one_target():
    net = small(MLPNetRegressor, loss="quantile", quantile=[0.1, 0.9])
    both = np.column_stack([PROGRESSION, PROGRESSION])
    with pytest.raises(ValueError, match="quantile has 2 entries, .* y has 2 columns"):
        net.fit(PATIENTS, both)
    with pytest.raises(ValueError, match="quantile has 2 entries, .* y_val has 2 columns"):
        net.fit(PATIENTS, PROGRESSION, X_val=PATIENTS, y_val=both)
    net.set_params(loss="huber").fit(PATIENTS, both)  # which has no use for quantiles


def test_label_smoothing_keeps_probabilities_from_the_ends():
    means = []
    for smoothing in (0.0, 0.3):
        for y in (DIGIT, DIGIT > 4):
            net = small(label_smoothing=smoothing, max_iter=100, learning_rate_init=0.01)
            means.append(net.fit(DIGITS, y).predict_proba(DIGITS).max(axis=1).mean())
            assert net.score(DIGITS, y) > 0.95
    # of ten classes 0.7 + 0.3 / 10, of two 0.7 + 0.3 / 2
    np.testing.assert_allclose(means, [1, 1, 0.73, 0.85], atol=0.05)


def test_label_smoothing_is_for_the_log_loss():
    net = small(loss="squared_error", label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing=0.1 is for loss='log_loss', got"):
        net.fit(DIGITS, DIGIT)
    with pytest.raises(ValueError, match="label_smoothing=0.1 is for the iterative solvers"):
        RBFNetClassifier(5, label_smoothing=0.1).fit(DIGITS, DIGIT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["selu", "mish"])
def test_activations_are_accurate_far_from_zero(name, dtype):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-80, 80, 1601), [-1e30, 1e-7, 1e30, 3e38]])[:, None]
    x = x.astype(dtype)
    net = small(MLPNetRegressor, hidden_layer_sizes=1, activation=name, max_iter=1)
    net.fit(x[:9], x[:9, 0])
    net.coefs_, net.intercepts_ = [np.ones((1, 1), dtype)] * 2, [np.zeros(1, dtype)] * 2
    exact = getattr(torch.nn.functional, name)(torch.from_numpy(x.astype(np.float64)))
    np.testing.assert_allclose(
        net.predict(x), exact.numpy()[:, 0], rtol=8 * np.finfo(dtype).eps, atol=1e-37
    )


def test_robust_losses_are_robust():
    y = PATIENTS[:, 0].copy()
    y[::20] += 100.0
    errors = {}
    for loss in ("squared_error", "absolute_error", "huber"):
        net = MLPNetRegressor(loss, (), max_iter=300, random_state=0, learning_rate_init=0.01)
        errors[loss] = np.median(np.abs(net.fit(PATIENTS, y).predict(PATIENTS) - PATIENTS[:, 0]))
    assert errors["absolute_error"] < errors["squared_error"] / 10
    assert errors["huber"] < errors["squared_error"] / 10


def test_poisson_learns_rates():
    X = np.linspace(-1, 1, 400)[:, None]
    y = np.random.RandomState(0).poisson(np.exp(1 + X[:, 0]))
    net = MLPNetRegressor("poisson", (), solver="lbfgs", random_state=0).fit(X, y)
    np.testing.assert_allclose(net.predict(X), np.exp(1 + X[:, 0]), rtol=0.2)


@pytest.mark.parametrize("y", [DIGIT, DIGIT > 4], ids=["several", "two"])
def test_squared_error_classifies(y):
    net = small(loss="squared_error", max_iter=60, learning_rate_init=0.01).fit(DIGITS, y)
    assert net.score(DIGITS, y) > 0.9


@pytest.mark.parametrize("given", ["balanced", {0: 5.0, 1: 1.0, 2: 0.5}])
def test_class_weight_is_sample_weight(given):
    X, y = IRIS[:110], SPECIES[:110]
    own = np.random.RandomState(0).uniform(size=len(y))
    by_class = compute_sample_weight(given, y)
    a = small(class_weight=given).fit(X, y)
    assert_same_bits(a, small().fit(X, y, by_class))
    assert_same_bits(small(class_weight=given).fit(X, y, own), small().fit(X, y, by_class * own))
    assert a.coefs_[0].tobytes() != small().fit(X, y).coefs_[0].tobytes()


def test_class_weight_elsewhere():
    names = np.array(["one", "two", "three"])[SPECIES]
    given = {"one": 5.0, "two": 1.0, "three": 0.5}
    by_class = compute_sample_weight(given, names)
    a = small(class_weight=given).fit(IRIS, names)
    assert_same_bits(a, small().fit(IRIS, names, by_class))
    a = small(class_weight=given).partial_fit(IRIS, names, classes=np.unique(names))
    b = small().partial_fit(IRIS, names, by_class, classes=np.unique(names))
    assert_same_bits(a, b)
    a = small(class_weight=given, solver="lbfgs").fit(IRIS, names)
    assert_same_bits(a, small(solver="lbfgs").fit(IRIS, names, by_class))


def test_integer_weights_are_repetitions():
    repeats = np.random.RandomState(0).randint(0, 4, len(PATIENTS))
    a, b = (
        MLPNetRegressor(
            hidden_layer_sizes=(7,), solver="lbfgs", max_iter=20, random_state=0, l1=0.1
        )
        for _ in range(2)
    )
    a.fit(PATIENTS, PROGRESSION, repeats)
    b.fit(np.repeat(PATIENTS, repeats, axis=0), np.repeat(PROGRESSION, repeats))
    np.testing.assert_allclose(a.predict(PATIENTS), b.predict(PATIENTS), atol=1e-6)


def test_l1_makes_weights_zero_where_they_do_not_matter():
    X = np.random.RandomState(0).normal(size=(300, 10))
    nets = [
        MLPNetRegressor(
            hidden_layer_sizes=(), l1=l1, solver="sgd", learning_rate_init=0.01, max_iter=100,
            random_state=0,
        ).fit(X, X[:, 0])
        for l1 in (0.0, 20.0)
    ]  # fmt: skip
    noise = [np.abs(net.coefs_[0][1:]).max() for net in nets]
    assert noise[1] < 0.02
    assert nets[1].coefs_[0][0, 0] < nets[0].coefs_[0][0, 0] - 0.05


# --- validation data and history


@pytest.mark.parametrize("cls", [MLPNetClassifier, MLPNetRegressor])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_validation_data(cls, solver):
    y = TARGETS[cls]
    plain = small(cls, solver=solver).fit(DIGITS[:200], y[:200])
    net = small(cls, solver=solver).fit(
        DIGITS[:200], y[:200], X_val=DIGITS[200:], y_val=y[200:]
    )
    assert_same_bits(net, plain)
    assert plain.validation_scores_ is None and plain.validation_loss_curve_ is None
    assert len(net.validation_scores_) == len(net.validation_loss_curve_) == len(net.loss_curve_)
    metric = accuracy_score if cls is MLPNetClassifier else r2_score
    assert net.validation_scores_[-1] == pytest.approx(
        metric(y[200:], net.predict(DIGITS[200:])), abs=1e-12
    )
    if cls is MLPNetClassifier:
        loss = -np.mean(np.log(net.predict_proba(DIGITS[200:])[range(100), y[200:]]))
    else:
        loss = 0.5 * np.mean((net.predict(DIGITS[200:]) - y[200:]) ** 2)
    np.testing.assert_allclose(net.validation_loss_curve_[-1], loss)


def test_validation_weights():
    y, w = TARGETS[MLPNetRegressor], np.linspace(0, 1, 100)
    net = small(MLPNetRegressor).fit(
        DIGITS[:200], y[:200], X_val=DIGITS[200:], y_val=y[200:], sample_weight_val=w
    )
    expected = net.score(DIGITS[200:], y[200:], sample_weight=w)
    assert net.validation_scores_[-1] == pytest.approx(expected)
    errors = (net.predict(DIGITS[200:]) - y[200:]) ** 2
    np.testing.assert_allclose(net.validation_loss_curve_[-1], 0.5 * np.average(errors, weights=w))


def test_early_stopping_with_given_validation_data():
    kwargs = {"max_iter": 200, "learning_rate_init": 0.02, "n_iter_no_change": 5}
    net = small(early_stopping=True, **kwargs)
    net.fit(DIGITS[:200], DIGIT[:200], X_val=DIGITS[200:], y_val=DIGIT[200:])
    assert net.n_iter_ < 200
    assert net.best_loss_ is None
    assert net.best_validation_score_ == max(net.validation_scores_)
    assert net.score(DIGITS[200:], DIGIT[200:]) == net.best_validation_score_
    # nothing is held back: the loss is that of a fit to all rows
    whole = small(**{**kwargs, "max_iter": net.n_iter_}).fit(DIGITS[:200], DIGIT[:200])
    assert whole.loss_curve_ == net.loss_curve_


def test_early_stopping_keeps_the_best_weights():
    net = small(MLPNetRegressor, early_stopping=True, max_iter=100, learning_rate_init=0.05)
    net.fit(PATIENTS, PROGRESSION)
    best = int(np.argmax(net.validation_scores_)) + 1
    assert best < net.n_iter_
    other = clone(net).set_params(max_iter=best).fit(PATIENTS, PROGRESSION)
    assert_same_bits(net, other)


def test_history():
    net = small().fit(DIGITS, DIGIT)
    history = net.history_
    assert list(history.columns) == ["loss", "learning_rate"]
    rates = 5 * [net.learning_rate_init]
    assert history["learning_rate"].tolist() == net.learning_rate_curve_ == rates
    assert history.index.name == "epoch" and list(history.index) == [1, 2, 3, 4, 5]
    assert history["loss"].tolist() == net.loss_curve_
    net = small(early_stopping=True).fit(DIGITS, DIGIT)
    history = net.history_
    curves = ["loss", "validation_loss", "validation_score", "learning_rate"]
    assert list(history.columns) == curves
    assert history["validation_loss"].tolist() == net.validation_loss_curve_
    assert history["validation_score"].tolist() == net.validation_scores_
    assert not hasattr(small(), "history_")


def test_history_grows_with_partial_fit_and_warm_start():
    net = small(warm_start=True).fit(DIGITS, DIGIT)
    net.partial_fit(DIGITS, DIGIT)
    net.fit(DIGITS, DIGIT)
    assert len(net.history_) == 11


def test_history_of_validation_that_began_later():
    net = small(warm_start=True).fit(DIGITS, DIGIT)
    net.set_params(early_stopping=True).fit(DIGITS, DIGIT)
    history = net.history_
    assert len(history) == 10
    assert history["validation_score"].tolist()[5:] == net.validation_scores_
    assert history["validation_score"].isna().tolist() == 5 * [True] + 5 * [False]


# --- the task as a parameter


@pytest.mark.parametrize(
    "task, cls", [("classification", MLPNetClassifier), ("regression", MLPNetRegressor)]
)
@pytest.mark.parametrize(
    "params",
    [{"solver": "nadam"}, {"early_stopping": True, "dropout": 0.2}, {"solver": "lbfgs"}],
    ids=str,
)
def test_task_is_the_fixed_class(task, cls, params):
    y = TARGETS[cls]
    net, fixed = small(MLPNet, task=task, **params).fit(DIGITS, y), small(cls, **params)
    fixed.fit(DIGITS, y)
    assert_same_bits(net, fixed)
    assert net.loss_curve_ == fixed.loss_curve_
    np.testing.assert_array_equal(net.predict(DIGITS), fixed.predict(DIGITS))
    assert net.score(DIGITS, y) == fixed.score(DIGITS, y)


@pytest.mark.parametrize(
    "task, cls", [("classification", MLPNetClassifier), ("regression", MLPNetRegressor)]
)
def test_tags_and_methods_follow_the_task(task, cls):
    net, fixed = MLPNet(task), cls()
    assert get_tags(net) == get_tags(fixed)
    assert is_classifier(net) == is_classifier(fixed)
    assert is_regressor(net) == is_regressor(fixed)
    for name in ("predict_proba", "predict_log_proba", "partial_fit", "predict", "score"):
        assert hasattr(net, name) == hasattr(fixed, name), name
    net.set_params(solver="lbfgs")
    assert not hasattr(net, "partial_fit")
    assert isinstance(check_cv(3, TARGETS[cls] > 0, classifier=is_classifier(net)), type(
        check_cv(3, TARGETS[cls] > 0, classifier=is_classifier(fixed))
    ))  # fmt: skip
    kwargs = {"cv": StratifiedKFold(2) if task == "classification" else 2}
    scores = [
        cross_val_score(small(*args, **given), DIGITS, TARGETS[cls], **kwargs)
        for args, given in (((MLPNet,), {"task": task}), ((cls,), {}))
    ]
    np.testing.assert_array_equal(*scores)


def test_task_can_change():
    net = small(MLPNet).fit(DIGITS, DIGIT)
    net.set_params(task="regression").fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(
        net.predict(DIGITS), small(MLPNetRegressor).fit(DIGITS, DIGIT).predict(DIGITS)
    )
    assert not hasattr(net, "predict_proba")
    net.set_params(task="classification").fit(DIGITS, DIGIT)
    assert_same_bits(
        net.predict_proba(DIGITS), small().fit(DIGITS, DIGIT).predict_proba(DIGITS)
    )


def test_task_in_regression_needs_no_classes():
    net = small(MLPNet, task="regression").partial_fit(PATIENTS, PROGRESSION)
    assert_same_bits(net, small(MLPNetRegressor).partial_fit(PATIENTS, PROGRESSION))


# --- targets


@pytest.mark.parametrize(
    "names",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["setosa", "versicolor", "virginica"], dtype=object),
        np.array([-5, 0, 7]),
        np.array([1.0, 2.0, 4.0]),
    ],
    ids=["str", "object", "int", "float"],
)
def test_labels_of_any_kind(names):
    y = names[SPECIES]
    net, plain = small().fit(IRIS, y), small().fit(IRIS, SPECIES)
    assert_same_bits(net, plain)
    np.testing.assert_array_equal(net.classes_, names)
    predicted = net.predict(IRIS)
    np.testing.assert_array_equal(predicted, names[plain.predict(IRIS)])
    assert predicted.dtype == small(MLPClassifier).fit(IRIS, y).predict(IRIS).dtype


@pytest.mark.parametrize("names", [np.array([False, True]), np.array(["no", "yes"])])
def test_two_labels(names):
    y = names[(SPECIES == 2).astype(int)]
    net = small(max_iter=50).fit(IRIS, y)
    assert net.n_outputs_ == 1 and net.out_activation_ == "logistic"
    assert net.predict_proba(IRIS).shape == (150, 2)
    np.testing.assert_allclose(net.predict_proba(IRIS).sum(axis=1), 1.0)
    np.testing.assert_allclose(net.predict_log_proba(IRIS), np.log(net.predict_proba(IRIS)))
    predicted = net.predict(IRIS)
    assert predicted.dtype == names.dtype and set(predicted) == set(names)
    np.testing.assert_array_equal(predicted, names[(net.predict_proba(IRIS)[:, 1] > 0.5) + 0])


def test_multilabel():
    X, y = make_multilabel_classification(n_samples=200, n_classes=4, random_state=0)
    net = small(max_iter=100, learning_rate_init=0.01).fit(scale(X), y)
    assert net.out_activation_ == "logistic" and net.n_outputs_ == 4
    predicted = net.predict(scale(X))
    assert predicted.shape == (200, 4)
    np.testing.assert_array_equal(predicted, net.predict_proba(scale(X)) > 0.5)
    assert net.score(scale(X), y) > 0.8
    part = small().partial_fit(scale(X), y, classes=np.arange(4))
    part.partial_fit(scale(X), y)
    assert part.predict(scale(X)).shape == (200, 4)


def test_several_outputs():
    y = np.column_stack([PROGRESSION, -PROGRESSION])
    net = small(MLPNetRegressor, max_iter=100, learning_rate_init=0.01).fit(PATIENTS, y)
    assert net.predict(PATIENTS).shape == (442, 2)
    assert net.score(PATIENTS, y) > 0.4
    column = small(MLPNetRegressor)
    with pytest.warns(Warning, match="column-vector"):
        column.fit(PATIENTS, PROGRESSION[:, None])
    assert column.predict(PATIENTS).shape == (442,)


def test_targets_and_weights_of_any_type_and_order():
    y = np.column_stack([DIGIT, 2 * DIGIT, -DIGIT]).astype(float)
    expected = small(MLPNetRegressor).fit(DIGITS, y, DIGIT + 1.0)
    wide = np.zeros((600, 6))
    wide[::2, ::2] = y
    for given in (np.asfortranarray(y), wide[::2, ::2], y.astype(int), y.tolist()):
        for weights in (DIGIT + 1, (DIGIT + 1).tolist(), np.repeat(DIGIT + 1.0, 2)[::2]):
            assert_same_bits(small(MLPNetRegressor).fit(DIGITS, given, weights), expected)
    labels = (y > 4).astype(int)
    expected = small().fit(DIGITS, labels)
    for given in (np.asfortranarray(labels), labels > 0, labels * 1.0, sp.csr_matrix(labels)):
        assert_same_bits(small().fit(DIGITS, given), expected)


# --- X of any kind


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame, series = load_iris(return_X_y=True, as_frame=True)
    net = small().fit(frame, series)
    assert_same_bits(net, small().fit(frame.to_numpy(), series.to_numpy()))
    assert list(net.feature_names_in_) == list(frame.columns)
    net.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="feature names"):
        net.predict(frame.to_numpy())
    mixed = frame.assign(more=np.arange(150, dtype=np.int8), flag=np.arange(150) % 2 == 0)
    assert small().fit(mixed, series).n_features_in_ == 6
    strings = small().fit(frame, pd.Series(["a", "b", "c"])[series].astype("category"))
    assert set(strings.predict(frame)) <= {"a", "b", "c"}


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_sparse_is_dense(container, dtype):
    X = np.where(COUNTS < 8, 0, COUNTS).astype(dtype)
    for params in ({}, {"early_stopping": True}, {"solver": "lbfgs"}):
        dense, sparse = small(**params).fit(X, DIGIT), small(**params).fit(container(X), DIGIT)
        assert_same_bits(dense, sparse)
        assert_same_bits(dense.predict_proba(X), sparse.predict_proba(container(X)))


def test_sparse_with_unsorted_indices_duplicates_and_empty_rows():
    X = COUNTS.copy()
    X[X < 12] = 0
    X[3] = X[17] = 0
    rows, columns = np.nonzero(X)
    order = np.random.RandomState(0).permutation(2 * len(rows))
    rows, columns = np.tile(rows, 2)[order], np.tile(columns, 2)[order]
    # built directly, since SciPy's own conversions would sum the duplicates
    by_row = np.argsort(rows, kind="stable")
    rows, columns = rows[by_row], columns[by_row]
    indptr = np.searchsorted(rows, np.arange(301))
    sparse = sp.csr_matrix((X[rows, columns] / 2, columns, indptr), X.shape)
    assert not sparse.has_canonical_format
    data = sparse.data.copy(), sparse.indices.copy()
    net = small().fit(sparse, DIGIT)
    assert_same_bits(net, small().fit(X, DIGIT))
    assert_same_bits(net.predict_proba(sparse), net.predict_proba(X))
    assert (sparse.data == data[0]).all() and (sparse.indices == data[1]).all()


def test_sparse_with_long_indices_or_rare_types():
    expected = small().fit(COUNTS, DIGIT)
    for data, index in (("float64", "int64"), (">f8", "int32"), ("uint8", "int32")):
        sparse = sp.csr_array(COUNTS)
        sparse.data = sparse.data.astype(data)
        sparse.indices, sparse.indptr = sparse.indices.astype(index), sparse.indptr.astype(index)
        assert_same_bits(small().fit(sparse, DIGIT), expected)
        assert_same_bits(expected.predict_proba(sparse), expected.predict_proba(COUNTS))


def kinds_of_arrays(tmp_path):
    """Return pairs of an X and the same data as a plain array of the dtype of the computation."""
    plain = {dtype: np.ascontiguousarray(COUNTS, dtype) for dtype in ("float32", "float64")}
    pairs = {}
    for dtype, expected in plain.items():
        wide = np.zeros((600, 129), dtype)
        wide[::2, 1::2] = COUNTS
        memory = np.memmap(tmp_path / dtype, dtype, "w+", shape=COUNTS.shape)
        memory[:] = COUNTS
        memory.flush()
        memory = np.memmap(tmp_path / dtype, dtype, "r", shape=COUNTS.shape)
        read_only = expected.copy()
        read_only.flags.writeable = False
        unaligned = np.zeros(300, [("byte", "u1"), ("x", dtype, (64,))])
        unaligned["x"] = COUNTS
        pairs |= {
            f"{dtype} Fortran": (np.asfortranarray(expected), expected),
            f"{dtype} strided": (wide[::2, 1::2], expected),
            f"{dtype} reversed": (expected[::-1, ::-1].copy()[::-1, ::-1], expected),
            f"{dtype} memory map": (memory, expected),
            f"{dtype} read-only": (read_only, expected),
            f"{dtype} unaligned": (unaligned["x"], expected),
        }
    double = plain["float64"]
    for dtype in "int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16".split():
        pairs[dtype] = (COUNTS.astype(dtype), double)
    pairs["bool"] = (COUNTS > 7, (COUNTS > 7).astype(float))
    pairs["uint8 Fortran"] = (np.asfortranarray(COUNTS, np.uint8), double)
    # scikit-learn computes this in float64, too
    pairs["big-endian"] = (COUNTS.astype(">f4"), double)
    pairs["list"] = (COUNTS.tolist(), double)
    pairs["object"] = (COUNTS.astype(object), double)
    return pairs


def test_x_of_any_type_and_order(tmp_path):
    plain = {}
    for name, (X, expected) in kinds_of_arrays(tmp_path).items():
        before = copy.deepcopy(X)
        key = expected.dtype, expected.max()
        if key not in plain:
            plain[key] = small().fit(expected, DIGIT)
        net = small().fit(X, DIGIT)
        assert net.coefs_[0].dtype == expected.dtype, name
        assert_same_bits(net, plain[key])
        assert_same_bits(net.predict_proba(X), plain[key].predict_proba(expected))
        np.testing.assert_array_equal(X, before)


def test_dtype():
    single, double = COUNTS.astype(np.float32), COUNTS
    a, b = small(dtype="float32").fit(double, DIGIT), small().fit(single, DIGIT)
    assert a.coefs_[0].dtype == np.float32
    assert_same_bits(a, b)
    assert_same_bits(a.predict_proba(double), b.predict_proba(single))
    a, b = small(dtype="float64").fit(single, DIGIT), small().fit(double, DIGIT)
    assert a.coefs_[0].dtype == np.float64
    assert_same_bits(a, b)
    bytes_ = COUNTS.astype(np.uint8)
    assert_same_bits(small(dtype="float32").fit(bytes_, DIGIT), small().fit(single, DIGIT))
    for dtype in ("float32", "float64"):
        net = small(MLPNetRegressor, dtype=dtype).fit(bytes_, DIGIT)
        assert net.predict(bytes_).dtype == dtype
        assert small(dtype=dtype, solver="lbfgs").fit(bytes_, DIGIT).coefs_[0].dtype == dtype


def test_prediction_follows_the_weights_where_they_are_wider():
    net = small().fit(COUNTS, DIGIT)
    single = COUNTS.astype(np.float32)
    assert net.predict_proba(single).dtype == np.float64
    assert_same_bits(net.predict_proba(single), net.predict_proba(COUNTS))


# --- the same bits

ARCHITECTURES = {
    "one layer": {"hidden_layer_sizes": (33,)},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "three layers": {"hidden_layer_sizes": (17, 5, 40), "activation": ["tanh", "elu", "logistic"]},
    "batch norm": {"hidden_layer_sizes": (16, 3), "batch_norm": True},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("cls", [MLPNetClassifier, MLPNetRegressor])
def test_a_row_predicts_the_same_bits_in_any_batch(cls, name, dtype):
    X = DIGITS.astype(dtype)
    net = small(cls, **ARCHITECTURES[name]).fit(X, TARGETS[cls])
    expected = outputs(net, X)
    for size in (1, 2, 7, 15, 16, 17, 31, 32, 33, 100):
        for start in (0, 41):
            part = slice(start, start + size)
            assert_same_bits(outputs(net, X[part]), expected[part].copy())
    assert_same_bits(outputs(net, sp.csr_array(X[:1])), expected[:1].copy())


def test_a_row_predicts_the_same_bits_among_very_many():
    net = small().fit(DIGITS, DIGIT)
    many = np.tile(DIGITS, (40, 1))
    assert_same_bits(net.predict_proba(many), np.tile(net.predict_proba(DIGITS), (40, 1)))


# Large enough to be worth four threads.
THREADED = {
    "classifier": (MLPNetClassifier, {}),
    "classifier, dropout and batch norm": (
        MLPNetClassifier, {"dropout": 0.2, "batch_norm": True, "solver": "rmsprop"},
    ),
    "regressor, clipped": (MLPNetRegressor, {"clip_norm": 0.1}),
    # SciPy's L-BFGS sums by BLAS, whose own threads, of which joblib's processes have fewer, would
    # change the bits of sums over more than ten thousand parameters.
    "classifier, lbfgs": (MLPNetClassifier, {"solver": "lbfgs"}),
    "regressor, early stopping": (MLPNetRegressor, {"early_stopping": True, "solver": "sgd"}),
}  # fmt: skip


def fit_threaded(name, dtype, n_jobs=None):
    cls, params = THREADED[name]
    params = {"hidden_layer_sizes": (300,), "batch_size": 150, "max_iter": 2, **params}
    net = small(cls, n_jobs=n_jobs, **params)
    return net.fit(DIGITS.astype(dtype), TARGETS[cls])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", THREADED)
def test_threads_do_not_change_a_bit(name, dtype):
    nets = [fit_threaded(name, dtype, n_jobs) for n_jobs in (1, 2, 4, None)]
    many = np.tile(DIGITS.astype(dtype), (8, 1))
    expected = outputs(nets[0], many)
    for net in nets[1:]:
        assert_same_bits(net, nets[0])
        assert net.loss_curve_ == nets[0].loss_curve_
        assert_same_bits(outputs(net, many), expected)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_backends_do_not_change_a_bit(backend):
    names = [name for name in THREADED for _ in range(2)]
    expected = {name: fit_threaded(name, "float32", 2) for name in THREADED}
    with parallel_config(backend=backend, n_jobs=2):
        nets = Parallel()(delayed(fit_threaded)(name, "float32") for name in names)
    for name, net in zip(names, nets):
        assert_same_bits(net, expected[name])


WITHOUT_AVX512 = """
import json
import sys
import warnings
import numpy as np
from sklearn.datasets import load_digits
import sknn

warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
bits = {}
for dtype in ("float32", "float64"):
    X = (X[:203] / X.max()).astype(dtype)
    for cls in (sknn.MLPNetClassifier, sknn.MLPNetRegressor):
        for name, params in json.loads(sys.argv[1]).items():
            net = cls(random_state=0, max_iter=3, batch_size=64, **params).fit(X, y[:203])
            values = [*net.coefs_, *net.intercepts_, net.predict(X), net.predict(X[:1])]
            if cls is sknn.MLPNetClassifier:
                values += [net.predict_proba(X), net.predict_proba(X[:5])]
            if params.get("batch_norm"):
                values += list(net.batch_norm_[0].values())
            bits[f"{dtype} {cls.__name__} {name}"] = [v.tobytes().hex() for v in values]
from sknn.cpu.kernels.simd import host_features
bits["avx512f"] = "avx512f" in host_features()
print(json.dumps(bits))
"""


def test_avx512_does_not_change_a_bit():
    narrow = without_avx512()
    if narrow is None:
        pytest.skip("the processor has no AVX-512 to switch off")
    params = {
        "plain": {"hidden_layer_sizes": (37,)},
        "more": {"hidden_layer_sizes": (20, 11), "activation": ["tanh", "gelu"], "dropout": 0.2,
                 "batch_norm": True, "solver": "nadam", "clip_norm": 1.0},
    }  # fmt: skip
    command = [sys.executable, "-c", WITHOUT_AVX512, json.dumps(params)]
    results = []
    for environment in ({}, narrow):
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0].pop("avx512f") and not results[1].pop("avx512f")
    assert results[0] == results[1]


def test_the_same_seed_is_the_same_and_another_is_not():
    assert_same_bits(small().fit(DIGITS, DIGIT), small().fit(DIGITS, DIGIT))
    other = small(random_state=1).fit(DIGITS, DIGIT)
    assert other.coefs_[0].tobytes() != small().fit(DIGITS, DIGIT).coefs_[0].tobytes()


# --- with scikit-learn's tools

# --- schedules over all steps, and averages over them


SCHEDULED = [
    {"learning_rate": "one_cycle"},
    {"learning_rate": "cosine", "warmup": 0.1, "average": True, "clip_norm": 1.0},
]


@pytest.mark.parametrize("params", SCHEDULED, ids=str)
def test_threads_do_not_change_a_bit_of_schedules_and_averages(params):
    params |= {"hidden_layer_sizes": (200, 100), "solver": "sgd", "dropout": 0.1}
    nets = [small(n_jobs=n, batch_size=200, **params).fit(DIGITS, DIGIT) for n in (1, 2, 3)]
    for other in nets[1:]:
        assert_same_bits(nets[0], other)


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_a_schedule_goes_on_to_its_end_unless_stopped_early(name):
    params = {"learning_rate": name, "tol": 1.0, "n_iter_no_change": 2}
    assert small(max_iter=9, **params).fit(DIGITS, DIGIT).n_iter_ == 9
    assert small(max_iter=9, early_stopping=True, **params).fit(DIGITS, DIGIT).n_iter_ < 9


def test_schedules_of_very_few_steps():
    first = small(**STILL).fit(DIGITS, DIGIT).coefs_[0]
    for name in ("cosine", "one_cycle"):
        for warmup in (None, 0.0, 0.4, 0.999):
            for steps in (1, 2, 3):
                net = small(
                    learning_rate=name, warmup=warmup, max_iter=steps, batch_size=300,
                    solver="sgd", alpha=0.0,
                ).fit(DIGITS, DIGIT)  # fmt: skip
                assert np.isfinite(net.coefs_[0]).all()
                assert not np.array_equal(net.coefs_[0], first)


def test_each_fit_has_a_schedule_of_its_own():
    params = {"learning_rate": "one_cycle", "shuffle": False}
    net = small(warm_start=True, **params).fit(DIGITS, DIGIT)
    begun = [array for pair in zip(net.coefs_, net.intercepts_) for array in pair]
    assert_same_bits(net.fit(DIGITS, DIGIT), small(initializer=begun, **params).fit(DIGITS, DIGIT))


def test_a_partial_fit_has_no_schedule():
    net = small(learning_rate="one_cycle").fit(DIGITS, DIGIT)
    with pytest.raises(ValueError, match="does not support learning_rate='one_cycle'"):
        net.partial_fit(DIGITS, DIGIT)
    net.set_params(learning_rate="constant").partial_fit(DIGITS, DIGIT)


def test_lbfgs_takes_no_notice_of_schedules_and_averages():
    plain, other = (
        small(MLPNetRegressor, solver="lbfgs", **params).fit(PATIENTS, PROGRESSION)
        for params in ({}, {"learning_rate": "cosine", "average": True})
    )
    assert_same_bits(plain, other)
    # nor do averages of an earlier fit come back
    net = small(MLPNetRegressor, average=True, warm_start=True).fit(PATIENTS, PROGRESSION)
    net.set_params(solver="lbfgs").fit(PATIENTS, PROGRESSION)
    before = net.loss_
    net.set_params(**STILL).partial_fit(PATIENTS, PROGRESSION)
    np.testing.assert_allclose(net.loss_, before, rtol=1e-4)  # which is without the penalty here


def new_parts(decay, steps):
    """Return which part of the average is new in each step."""
    return [max(1 - decay, 9 / (8 + t)) for t in range(1, steps + 1)]


@pytest.mark.parametrize("average, decay", [(True, 0.999), (0.5, 0.5)])
@pytest.mark.parametrize("params", [{}, {"clip_norm": 0.1, "solver": "sgd"}], ids=str)
def test_averages_are_exponential_and_forget_the_first_weights(average, decay, params):
    params |= {"batch_size": 300, "shuffle": False, "batch_norm": True, "learning_rate_init": 0.05}
    steps = 12
    path = [small(max_iter=n, **params).fit(DIGITS, DIGIT) for n in range(1, steps + 1)]
    net = small(max_iter=steps, average=average, **params).fit(DIGITS, DIGIT)
    assert net.loss_curve_ == path[-1].loss_curve_
    mean = 0.0
    for passed, part in zip(path, new_parts(decay, steps)):
        mean = (1 - part) * mean + part * passed.coefs_[0]
    np.testing.assert_allclose(net.coefs_[0], mean, rtol=1e-12, atol=1e-12)
    for name in ("mean", "variance"):  # these are averages already
        assert (net.batch_norm_[0][name] == path[-1].batch_norm_[0][name]).all()


@pytest.mark.parametrize("goes_on", ["partial_fit", "warm_start"])
def test_training_goes_on_from_the_weights_before_averaging(goes_on):
    nets = [small(average=a, warm_start=True, max_iter=1, shuffle=False) for a in (True, False)]
    for _ in range(3):
        for i, net in enumerate(nets):
            if goes_on == "partial_fit":
                net.partial_fit(DIGITS, DIGIT, classes=np.arange(10))
            else:
                net.fit(DIGITS, DIGIT)
            nets[i] = pickle.loads(pickle.dumps(net))
    averaged, plain = nets
    assert averaged.loss_curve_ == plain.loss_curve_
    assert not np.array_equal(averaged.coefs_[0], plain.coefs_[0])
    if goes_on == "partial_fit":
        whole = small(average=True, max_iter=3, shuffle=False).fit(DIGITS, DIGIT)
        assert_same_bits(averaged, whole)
    averaged.set_params(average=False).partial_fit(DIGITS, DIGIT)
    assert_same_bits(averaged, plain.partial_fit(DIGITS, DIGIT))


def test_averages_are_validated_and_kept_by_early_stopping():
    params = {"average": 0.9, "learning_rate_init": 0.05, "batch_norm": True}
    given = {"X_val": DIGITS[200:], "y_val": DIGIT[200:]}
    net = small(**params).fit(DIGITS[:200], DIGIT[:200], **given)
    assert net.validation_scores_[-1] == net.score(DIGITS[200:], DIGIT[200:])
    net = small(**params, early_stopping=True, max_iter=40).fit(DIGITS[:200], DIGIT[:200], **given)
    assert net.best_validation_score_ == net.score(DIGITS[200:], DIGIT[200:])
    assert net.best_validation_score_ == max(net.validation_scores_)


def test_grid_search_over_schedules_and_averages():
    grid = {"learning_rate": ["constant", "one_cycle"], "average": [False, True, 0.9]}
    search = GridSearchCV(small(learning_rate_init=0.05), grid, cv=2).fit(DIGITS, DIGIT)
    assert len(set(search.cv_results_["mean_test_score"])) > 1


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "joblib": lambda net: _through_joblib(net),
}


def _through_joblib(net):
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "nadam", "adadelta"])
def test_copies_go_on_identically(how, solver):
    params = {"solver": solver, "dropout": 0.2, "batch_norm": True, "random_state": 3}
    net = small(**params).fit(DIGITS, DIGIT)
    other = COPIES[how](net)
    assert other is not net and repr(other) == repr(net)
    assert_same_bits(net.predict_proba(DIGITS), other.predict_proba(DIGITS))
    for _ in range(2):
        net.partial_fit(DIGITS, DIGIT)
        other.partial_fit(DIGITS, DIGIT)
    assert_same_bits(net, other)
    assert net.loss_curve_ == other.loss_curve_


def test_a_copy_is_independent():
    net = small().fit(DIGITS, DIGIT)
    before = joblib.hash(vars(net))
    for other in (copy.deepcopy(net), copy.copy(net)):
        other.partial_fit(DIGITS, DIGIT)
        assert joblib.hash(vars(net)) == before


def test_clone_has_the_parameters_and_nothing_else():
    net = small(activation=[Activation("leaky_relu", 0.1)], dropout=[0.1]).fit(DIGITS, DIGIT)
    fresh = clone(net)
    assert fresh.get_params() == net.get_params()
    assert not hasattr(fresh, "coefs_")
    assert_same_bits(fresh.fit(DIGITS, DIGIT), net)


def test_fitting_does_not_touch_the_parameters():
    params = {"hidden_layer_sizes": [16, 8], "activation": ["tanh", "relu"], "dropout": [0.0, 0.1]}
    net = small(**params).fit(DIGITS, DIGIT)
    for name, value in params.items():
        assert getattr(net, name) is value
    assert params == {
        "hidden_layer_sizes": [16, 8], "activation": ["tanh", "relu"], "dropout": [0.0, 0.1],
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(8,), (9, 8)], "dropout": [0.0, 0.2]}
    serial = GridSearchCV(small(), grid, cv=2).fit(DIGITS, DIGIT)
    with parallel_config(backend=backend):
        search = GridSearchCV(small(), grid, cv=2, n_jobs=2).fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    assert_same_bits(search.best_estimator_, serial.best_estimator_)


def test_pipeline():
    pd = pytest.importorskip("pandas")
    frame, series = load_iris(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), small(learning_rate_init=0.01, max_iter=100))
    model.set_output(transform="pandas")
    model.fit(frame, series, mlpnetclassifier__sample_weight=np.ones(150))
    assert list(model[-1].feature_names_in_) == list(frame.columns)
    assert isinstance(model[:-1].transform(frame), pd.DataFrame)
    assert model.score(frame, series) > 0.8


class Watcher:
    """A callback that records its calls, and may do something at the end of an epoch."""

    def __init__(self, at_epoch=None, action=None):
        self.at_epoch, self.action = at_epoch, action
        self.begun, self.ended, self.nets = [], [], []

    def setup(self, estimator, context):
        self.events = ["setup"]

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append((context.task_name, context.task_id))
        if context.task_name == "epoch":
            self.nets.append(fitted_estimator)
            if context.task_id == self.at_epoch:
                return self.action()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_see_every_epoch(solver):
    watcher = Watcher()
    params = {"solver": solver, "batch_norm": solver == "adam"}
    net = small(**params).set_callbacks(watcher).fit(DIGITS, DIGIT)
    assert watcher.begun == ["fit"] + 5 * ["epoch"]
    assert watcher.ended == [("epoch", i) for i in range(5)] + [("fit", 0)]
    assert watcher.events == ["setup", "teardown"]
    assert_same_bits(net, small(**params).fit(DIGITS, DIGIT))
    # the callback gets the estimator as if training had ended there
    for epoch, seen in enumerate(watcher.nets, start=1):
        stopped = small(**{**params, "max_iter": epoch}).fit(DIGITS, DIGIT)
        assert_same_bits(seen.predict_proba(DIGITS), stopped.predict_proba(DIGITS))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_can_stop_training(solver):
    watcher = Watcher(2, lambda: True)
    net = small(solver=solver, max_iter=50).set_callbacks(watcher).fit(DIGITS, DIGIT)
    assert net.n_iter_ == len(net.loss_curve_) == 3
    assert watcher.ended[-1] == ("fit", 0)
    assert_same_bits(net, small(solver=solver, max_iter=3).fit(DIGITS, DIGIT))


def test_callbacks_in_partial_fit():
    watcher = Watcher()
    net = small().set_callbacks(watcher)
    for _ in range(2):
        net.partial_fit(DIGITS, DIGIT, classes=np.unique(DIGIT))
    assert watcher.begun == 2 * ["fit", "epoch"]


def test_progress_bar(capsys):
    pytest.importorskip("rich")
    small().set_callbacks(ProgressBar()).fit(DIGITS, DIGIT)
    shown = capsys.readouterr().out
    assert "MLPNetClassifier - fit" in shown and "100%" in shown


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_progress_bar_in_grid_search(capsys, backend):
    pytest.importorskip("rich")
    search = GridSearchCV(small(), {"alpha": [0.1, 1.0]}, cv=2, n_jobs=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    with parallel_config(backend=backend):
        search.fit(DIGITS, DIGIT)
    shown = capsys.readouterr().out
    assert shown.count("MLPNetClassifier") >= 4 and "100%" in shown
    assert not hasattr(search.best_estimator_, "_parent_callback_ctx")


def test_scoring_monitor():
    monitor = ScoringMonitor(scoring="accuracy")
    net = small().set_callbacks(monitor).fit(DIGITS, DIGIT)
    logs = monitor.get_logs().data_as_pandas
    scores = logs.loc[logs["task_name"] == "epoch", "accuracy"].tolist()
    assert len(scores) == 5
    assert scores[-1] == net.score(DIGITS, DIGIT)
    assert scores[0] < scores[-1]


@pytest.mark.parametrize(
    "params",
    [
        {"max_iter": 3},
        {"solver": "sgd", "tol": 0.5, "n_iter_no_change": 2, "max_iter": 10},
        {"solver": "sgd", "tol": 0.5, "n_iter_no_change": 1, "learning_rate": "adaptive",
         "learning_rate_init": 1e-5, "max_iter": 20},
        {"early_stopping": True, "tol": 0.5, "n_iter_no_change": 2, "max_iter": 10},
    ],
    ids=["epochs", "stop", "adaptive", "early stopping"],
)  # fmt: skip
def test_verbose_prints_as_scikit_learn_does(capsys, params):
    texts = []
    for cls in (MLPNetClassifier, MLPClassifier):
        small(cls, verbose=True, **params).fit(DIGITS, DIGIT)
        texts.append(capsys.readouterr().out)
    number = r"\d+\.\d+"
    assert re.sub(number, "#", texts[0]) == re.sub(number, "#", texts[1])
    ours, theirs = (np.array(re.findall(number, text), float) for text in texts)
    np.testing.assert_allclose(ours, theirs, atol=2e-8)


def test_verbose_off_prints_nothing(capsys):
    small().fit(DIGITS, DIGIT)
    assert capsys.readouterr() == ("", "")


def test_weights_from_scikit_learn_predict_the_same():
    for theirs, ours, y in (
        (MLPClassifier, MLPNetClassifier, DIGIT), (MLPRegressor, MLPNetRegressor, DIGIT / 9),
    ):  # fmt: skip
        fitted = small(theirs).fit(DIGITS, y)
        net = small(ours, max_iter=1).fit(DIGITS, y)
        net.coefs_, net.intercepts_ = fitted.coefs_, fitted.intercepts_
        np.testing.assert_allclose(outputs(net, DIGITS), outputs(fitted, DIGITS), atol=1e-12)


def test_n_jobs_is_honoured_above_the_number_of_cores():
    # In a separate process, where no other threads are counted.
    script = textwrap.dedent(
        """
        import threading
        import numpy as np
        from sknn import MLPNetRegressor

        most = 0

        class Count:
            def setup(self, estimator, context): pass
            def teardown(self, estimator, context): pass
            def on_fit_task_begin(self, estimator, context): pass
            def on_fit_task_end(self, estimator, context):
                global most
                most = max(most, threading.active_count())

        X = np.random.RandomState(0).normal(size=(600, 100))
        MLPNetRegressor(
            hidden_layer_sizes=(300,), batch_size=600, max_iter=1, n_jobs=7
        ).set_callbacks(Count()).fit(X, X[:, 0])
        print(most)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 7


# --- what scikit-learn does, without its detours


LABELS = {
    "int": [3, 1, 7, 3, 1, 7, 7, 3],
    "two": [5, -1, -1, 5],
    "bool": [True, False, True, False],
    "int8": np.array([1, 2, 3, 1, 2, 3, 1, 2], np.int8),
    "big-endian": np.array([1, 2, 3, 1, 2, 3, 1, 2], ">i4"),
    "one class": [4, 4, 4],
    "many classes": list(range(30)) + list(range(20)),
    "float": [1.0, 2.0, 1.0, 3.0, 3.0, 2.0],
    "str": ["b", "a", "b", "a"],
    "indicators": [[1, 0, 1], [0, 0, 1]],
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_learnt_and_encoded_as_by_scikit_learn(name):
    y = np.array(LABELS[name])
    task = Classification()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many classes
        task.learn(y, False, False)
    expected = LabelBinarizer().fit(y)
    found = vars(task.binarizer)
    assert found.keys() == vars(expected).keys()
    for key, value in vars(expected).items():
        np.testing.assert_array_equal(found[key], value)
        assert np.asarray(found[key]).dtype == np.asarray(value).dtype
    outputs = task.count_outputs(None, y)
    columns = task.encode(y, Loss("squared_error", "logistic"), outputs)
    np.testing.assert_array_equal(columns, expected.transform(y).astype(bool))
    assert columns.dtype == bool
    if y.ndim == 1 and outputs > 2:
        numbers = task.encode(y, Loss("log_loss", "softmax"), outputs)
        np.testing.assert_array_equal(numbers, LabelEncoder().fit(y).transform(y))
        with pytest.raises(ValueError, match="unseen labels"):
            other = np.array(["z"]) if name == "str" else np.array([99], y.dtype)
            task.encode(other, Loss("log_loss", "softmax"), outputs)


def test_many_classes_are_a_warning():
    y = np.array(LABELS["many classes"])
    with pytest.warns(UserWarning, match="greater than 50%"):
        Classification().learn(y, False, False)


@pytest.mark.parametrize("name", LABELS)
def test_the_score_is_scikit_learns_accuracy(name):
    y = np.array(LABELS[name])
    other, weights = y[::-1].copy(), np.arange(len(y))
    for more in ({}, {"sample_weight": weights}):
        assert Classification.metric(y, other, **more) == accuracy_score(y, other, **more)
    assert Classification.metric(list(y), other) == accuracy_score(y, other)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        Classification.metric(y, other[1:])


@pytest.mark.parametrize("seed", [0, 7, np.int64(2**32 - 1), True, np.random.RandomState(5)])
def test_generators_are_those_of_scikit_learn(seed):
    found = generator(seed)
    if isinstance(seed, np.random.RandomState):
        assert found is seed
        return
    expected = check_random_state(seed)
    np.testing.assert_equal(found.get_state(legacy=False), expected.get_state(legacy=False))
    found.normal()
    copied = pickle.loads(pickle.dumps(found))
    np.testing.assert_equal(copied.get_state(legacy=False), found.get_state(legacy=False))
    for wrong in (-1, 2**32):
        with pytest.raises(ValueError, match="Seed must be between"):
            generator(wrong)
