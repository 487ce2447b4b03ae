"""PerceptronClassifier: Rosenblatt's rule, exactly, and scikit-learn's conventions."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknn import MLPNetClassifier, PerceptronClassifier

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
AND, OR, XOR = [0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 0]


def rosenblatt(X, y, epochs, rate=1.0, weights=None):
    """Return weights, bias and their averages by the rule, one neuron, in plain Python."""
    w, b = np.zeros(X.shape[1]), 0.0
    sums = [np.zeros(X.shape[1]), 0.0]
    for _ in range(epochs):
        for i in range(len(X)):
            error = y[i] - float(w @ X[i] + b >= 0)
            change = rate * error * (1.0 if weights is None else weights[i])
            w, b = w + change * X[i], b + change
            sums = [sums[0] + w, sums[1] + b]
    steps = epochs * len(X)
    return w, b, sums[0] / steps, sums[1] / steps


@pytest.mark.parametrize("max_iter", [100, 1000])
def test_and_gate_gives_the_textbook_weights(max_iter):
    neuron = PerceptronClassifier(max_iter=max_iter, shuffle=False).fit(INPUTS, AND)
    assert neuron.intercept_.tolist() == [-3.0]
    assert neuron.coef_.tolist() == [[2.0, 1.0]]
    assert neuron.predict(INPUTS).tolist() == AND
    assert neuron.errors_[-1] == 0 and len(neuron.errors_) == neuron.n_iter_


def test_or_and_not_are_learnt():
    assert PerceptronClassifier().fit(INPUTS, OR).score(INPUTS, OR) == 1.0
    assert PerceptronClassifier().fit([[0], [1]], [1, 0]).predict([[0], [1]]).tolist() == [1, 0]


def test_xor_is_not_learnt_but_an_mlp_learns_it():
    with pytest.warns(ConvergenceWarning, match="linearly separable"):
        neuron = PerceptronClassifier(max_iter=100).fit(INPUTS, XOR)
    assert neuron.score(INPUTS, XOR) < 1.0
    for targets in (XOR, [1, 0, 0, 1]):
        net = MLPNetClassifier((8,), activation="tanh", solver="lbfgs", random_state=0)
        assert net.fit(INPUTS, targets).score(INPUTS, targets) == 1.0


def test_a_neuron_fires_at_a_sum_of_zero():
    neuron = PerceptronClassifier(shuffle=False).fit(INPUTS, OR)
    neuron.coef_, neuron.intercept_ = np.zeros((1, 2)), np.zeros(1)
    assert neuron.predict(INPUTS).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_every_step_follows_the_rule(dtype, rate):
    X, y = make_blobs(60, 3, centers=2, cluster_std=4.0, random_state=0)
    X = np.round(X * 4).astype(dtype) / 4  # sums of few bits: float32 is exact, too
    weights = np.random.RandomState(0).randint(0, 3, 60).astype(float)
    for sample_weight in (None, weights):
        for average in (False, True):
            neuron = PerceptronClassifier(
                shuffle=False, max_iter=3, learning_rate_init=rate, average=average
            )
            with pytest.warns(ConvergenceWarning):
                neuron.fit(X, y, sample_weight)
            w, b, mean_w, mean_b = rosenblatt(X, y, 3, rate, sample_weight)
            expected = (mean_w, mean_b) if average else (w, b)
            np.testing.assert_allclose(neuron.coef_[0], expected[0], rtol=1e-5)
            np.testing.assert_allclose(neuron.intercept_, expected[1], rtol=1e-5)
            assert neuron.coef_.dtype == dtype


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_each_class_is_a_neuron_against_the_rest():
    X, y = load_digits(return_X_y=True)
    net = PerceptronClassifier(shuffle=False, max_iter=2, average=True).fit(X[:300], y[:300])
    for digit in range(10):
        w, b, mean_w, mean_b = rosenblatt(X[:300], (y[:300] == digit).astype(float), 2)
        np.testing.assert_allclose(net.coef_[digit], mean_w, atol=1e-10)
        np.testing.assert_allclose(net.intercept_[digit], mean_b, atol=1e-10)
    assert net.score(X[300:], y[300:]) > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_converges_on_separable_sets(seed):
    rng = np.random.RandomState(seed)
    X = rng.randn(200, 5)
    normal = rng.randn(5)
    margin = X @ normal + 0.3
    X, y = X[np.abs(margin) > 0.1], np.where(margin > 0, "right", "left")[np.abs(margin) > 0.1]
    neuron = PerceptronClassifier(max_iter=100_000, random_state=0).fit(X, y)
    assert neuron.score(X, y) == 1.0
    assert neuron.errors_[-1] == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_partial_fit_goes_on_where_fit_stopped():
    X, y = load_iris(return_X_y=True)
    whole = PerceptronClassifier(shuffle=False, max_iter=2, average=True).fit(X, y)
    parts = PerceptronClassifier(shuffle=False, average=True)
    for _ in range(2):
        for part in (slice(0, 70), slice(70, 150)):
            parts.partial_fit(X[part], y[part], classes=[0, 1, 2])
        parts = pickle.loads(pickle.dumps(parts))
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    assert parts.t_ == whole.t_ == 300
    with pytest.raises(ValueError, match="classes"):
        parts.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="class_weight='balanced'"):
        PerceptronClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_and_weights_set_by_hand():
    X, y = load_iris(return_X_y=True)
    y = (y > 1).astype(int)
    net = PerceptronClassifier(shuffle=False, max_iter=2, warm_start=True).fit(X, y).fit(X, y)
    once = PerceptronClassifier(shuffle=False, max_iter=4).fit(X, y)
    np.testing.assert_array_equal(net.coef_, once.coef_)
    net.coef_ = np.zeros_like(net.coef_)
    net.intercept_ = np.zeros_like(net.intercept_)
    net.fit(X, y)
    once = PerceptronClassifier(shuffle=False, max_iter=2).fit(X, y)
    np.testing.assert_array_equal(net.coef_, once.coef_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_class_weight_is_a_sample_weight():
    X, y = load_iris(return_X_y=True)
    by_class = PerceptronClassifier(max_iter=5, random_state=0, class_weight={0: 3.0, 1: 0.5})
    by_sample = clone(by_class).set_params(class_weight=None)
    weights = np.array([3.0, 0.5, 1.0])[y]
    np.testing.assert_array_equal(
        by_class.fit(X, y).coef_, by_sample.fit(X, y, sample_weight=weights).coef_
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_layout_of_X_does_not_matter():
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]
    net = PerceptronClassifier(max_iter=3, random_state=0, dtype="float64")
    expected = clone(net).fit(X, y)
    for other in (
        sp.csr_matrix(X), sp.csc_matrix(X), np.asfortranarray(X), X.astype(np.uint8), X[::-1][::-1],
    ):  # fmt: skip
        fitted = clone(net).fit(other, y)
        np.testing.assert_array_equal(fitted.coef_, expected.coef_)
        np.testing.assert_array_equal(
            fitted.decision_function(other), expected.decision_function(X)
        )
    alone = np.vstack([expected.decision_function(X[i : i + 1]) for i in range(20)])
    np.testing.assert_array_equal(alone, expected.decision_function(X)[:20])


def test_bad_input():
    X, y = load_iris(return_X_y=True)
    net = PerceptronClassifier(max_iter=3)
    with pytest.raises(NotFittedError):
        net.predict(X)
    for parameters in (
        {"learning_rate_init": 0.0}, {"max_iter": 0}, {"average": "yes"}, {"class_weight": "even"},
        {"dtype": "float16"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(parameters))):
            clone(net).set_params(**parameters).fit(X, y)
    with pytest.raises(ValueError, match="one class"):
        net.fit(X, np.zeros(150))
    with pytest.raises(ValueError, match="zero"):
        net.fit(X, y, sample_weight=np.zeros(150))
    with pytest.raises(ValueError, match="NaN"):
        net.fit(np.where(X > 7, np.nan, X), y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_raises_changes_nothing():
    X, y = load_iris(return_X_y=True)
    net = PerceptronClassifier(max_iter=3, random_state=0).fit(X, y)
    before = pickle.dumps(net)
    for bad in (lambda: net.fit(X[:, :3] * np.nan, y), lambda: net.fit(X * 1e307, y)):
        with pytest.raises(ValueError):
            bad()
        assert pickle.dumps(net) == before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_verbose_prints_the_errors(capsys):
    net = PerceptronClassifier(max_iter=2, verbose=True).fit(INPUTS, XOR)
    assert capsys.readouterr().out.splitlines()[0] == f"Iteration 1, errors = {net.errors_[0]}"


# An online rule corrects a repeated sample when it meets it again, a weighted one only once;
# scikit-learn exempts its own Perceptron from these two checks for the same reason.
ONLINE = {
    f"check_sample_weight_equivalence_on_{kind}_data": "an online rule is not additive in weights"
    for kind in ("dense", "sparse")
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([PerceptronClassifier()], expected_failed_checks=lambda e: ONLINE)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
