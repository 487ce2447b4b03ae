"""Radial basis function networks: least squares, centers, widths, the online rule."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_friedman1
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from sknn import RBFNetClassifier, RBFNetRegressor
from sknn.layers import RadialBasis
from sknn.radial.centers import distinct_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FUNCTIONS = {
    "gaussian": lambda u: np.exp(-u / 2),
    "multiquadric": lambda u: np.sqrt(1 + u),
    "inverse_multiquadric": lambda u: 1 / np.sqrt(1 + u),
    "thin_plate": lambda u: np.where(u > 0, u * np.log(np.where(u > 0, u, 1.0)) / 2, 0.0),
}
IRIS = load_iris(return_X_y=True)


def make_data(n=300, n_features=3, n_outputs=None, seed=0):
    random = np.random.RandomState(seed)
    X = random.normal(size=(n, n_features))
    y = np.sin(X @ random.normal(size=(n_features, n_outputs or 1))) + 0.1 * X[:, :1]
    return X, y if n_outputs else y.ravel()


def sine(n=100, seed=0):
    """Return the textbook's data: the rows in order, and a sine with noise."""
    random = np.random.RandomState(seed)
    X = np.sort(random.uniform(size=n))
    return X[:, None], np.sin(2 * np.pi * X) + random.uniform(-0.1, 0.1, n)


def features(net, X):
    """Return the values of a fitted network's functions, by NumPy."""
    squares = ((X[:, None] - net.centers_) ** 2).sum(axis=2)
    return FUNCTIONS[net.function](squares / net.widths_**2)


# --- least squares


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("alpha", [1e-3, 10.0])
@pytest.mark.parametrize("n_outputs", [None, 1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_weights_are_those_of_ridge_regression(function, alpha, n_outputs, weighted):
    X, y = make_data(n_outputs=n_outputs)
    weights = np.random.RandomState(1).uniform(0, 2, len(X)) if weighted else None
    net = RBFNetRegressor(20, function, alpha=alpha, random_state=0)
    if n_outputs == 1:
        y = y.ravel()
    net.fit(X, y, sample_weight=weights)
    ridge = Ridge(alpha, solver="cholesky").fit(features(net, X), y, sample_weight=weights)
    assert net.coef_.shape == ridge.coef_.shape
    assert np.shape(net.intercept_) == np.shape(ridge.intercept_)
    scale = np.abs(ridge.coef_).max()
    np.testing.assert_allclose(net.coef_, ridge.coef_, rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(net.predict(X), ridge.predict(features(net, X)), atol=1e-7 * scale)
    errors = (net.predict(X).reshape(y.shape) - y) ** 2
    errors = errors if errors.ndim == 1 else errors.mean(axis=1)
    assert net.loss_ == pytest.approx(np.average(errors, weights=weights) / 2)
    assert net.loss_curve_ == [net.loss_] and net.n_iter_ == 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_a_penalty_they_fit_best(function):
    X, y = make_data()
    net = RBFNetRegressor(10, function, alpha=0, random_state=0).fit(X, y)
    design = np.column_stack([features(net, X), np.ones(len(X))])
    best = np.linalg.lstsq(design, y)[0]
    assert net.loss_ == pytest.approx(((design @ best - y) ** 2).mean() / 2, rel=1e-9)


def test_without_a_penalty_they_are_the_smallest_of_those():
    X, y = make_data(60)
    centers = np.repeat(X[:10], 2, axis=0)  # each twice
    net = RBFNetRegressor(centers=centers, widths=1.0, alpha=0).fit(X, y)
    np.testing.assert_allclose(net.coef_[::2], net.coef_[1::2], rtol=1e-6)
    once = RBFNetRegressor(centers=X[:10], widths=1.0, alpha=0).fit(X, y)
    np.testing.assert_allclose(net.predict(X), once.predict(X), atol=1e-8)


def test_a_penalty_below_all_rounding():
    X, y = make_data(60)
    net = RBFNetRegressor(40, widths=50.0, alpha=1e-30, random_state=0).fit(X, y)
    assert net.score(X, y) > 0.8


def test_targets_far_from_zero_lose_no_digits():
    X, y = make_data()
    near = RBFNetRegressor(20, random_state=0).fit(X, y)
    far = RBFNetRegressor(20, random_state=0).fit(X, y + 1e9)
    np.testing.assert_allclose(far.predict(X) - 1e9, near.predict(X), atol=1e-5)


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
@pytest.mark.parametrize("centers", ["kmeans", "random"])
def test_sparse(container, centers):
    X, y = make_data(n_features=6)
    X[np.random.RandomState(0).uniform(size=X.shape) < 0.6] = 0.0
    dense = RBFNetRegressor(20, centers=X[:20], random_state=0).fit(X, y)
    sparse = clone(dense).fit(container(X), y)
    np.testing.assert_allclose(sparse.widths_, dense.widths_)
    np.testing.assert_allclose(sparse.predict(container(X)), dense.predict(X), atol=1e-9)
    net = RBFNetRegressor(20, centers=centers, random_state=0).fit(container(X), y)
    assert net.centers_.shape == (20, 6) and net.score(container(X), y) > 0.1


def test_sparse_with_long_indices():
    X, y = make_data(n_features=6)
    X = sp.csr_matrix(X)
    short = RBFNetRegressor(20, random_state=0).fit(X, y)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    long = RBFNetRegressor(20, random_state=0).fit(X, y)
    assert (long.coef_ == short.coef_).all()


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64", "int64"])
def test_types(dtype, given):
    X, y = make_data()
    X = (X * 10).astype(given)
    net = RBFNetRegressor(20, dtype=dtype, random_state=0).fit(X, y)
    assert net.predict(X).dtype == np.dtype(dtype or float)
    trained = clone(net).set_params(solver="adam", max_iter=2).fit(X, y)
    expected = dtype or ("float64" if given == "float64" else "float32")
    assert trained.predict(X).dtype == expected


# --- classes


def test_a_classifier_fits_zeros_and_ones():
    X, y = IRIS
    net = RBFNetClassifier(15, alpha=1e-3, random_state=0).fit(X, y)
    ridge = Ridge(1e-3, solver="cholesky").fit(features(net, X), np.eye(3)[y])
    outputs = ridge.predict(features(net, X))
    np.testing.assert_allclose(net.coef_, ridge.coef_, rtol=1e-5, atol=1e-5)
    assert (net.predict(X) == outputs.argmax(axis=1)).all()
    clipped = np.clip(outputs, 0, 1)
    np.testing.assert_allclose(
        net.predict_proba(X), clipped / clipped.sum(axis=1, keepdims=True), atol=1e-5
    )
    assert np.isfinite(net.predict_log_proba(X)).all()
    assert net.score(X, y) > 0.95


def test_two_classes_are_one_column():
    X, y = IRIS
    X, y = X[y > 0], np.array(["a", "b", "c"])[y[y > 0]]
    net = RBFNetClassifier(10, random_state=0).fit(X, y)
    assert net.coef_.shape == (1, 10) and net.intercept_.shape == (1,)
    p = net.predict_proba(X)
    assert p.shape == (100, 2) and (p >= 0).all() and (p <= 1).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (net.predict(X) == net.classes_[p.argmax(axis=1)]).all()


def test_far_from_everything_there_are_still_probabilities():
    X, y = IRIS
    net = RBFNetClassifier(10, random_state=0).fit(X, y)
    p = net.predict_proba(np.full((1, 4), 1e6))
    expected = np.clip(net.intercept_, 0, 1)
    np.testing.assert_allclose(p, expected[None] / expected.sum(), atol=1e-15)


def test_several_labels():
    X, y = IRIS
    Y = np.column_stack([y == 0, y > 0, y == 2]).astype(int)
    net = RBFNetClassifier(15, random_state=0).fit(X, Y)
    assert net.predict(X).shape == Y.shape and net.score(X, Y) > 0.9
    p = net.predict_proba(X)
    assert p.shape == Y.shape and ((p > 0) & (p < 1)).all()
    assert ((p > 0.5) == net.predict(X)).all()


def test_class_weight_is_a_weight():
    X, y = IRIS
    by_class = RBFNetClassifier(15, class_weight={0: 1, 1: 5, 2: 2}, random_state=0).fit(X, y)
    by_row = RBFNetClassifier(15, random_state=0).fit(X, y, np.array([1, 5, 2])[y])
    np.testing.assert_allclose(by_class.coef_, by_row.coef_)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_classifiers_are_trained_too(solver):
    X, y = IRIS
    net = RBFNetClassifier(15, solver=solver, random_state=0).fit(X, y)
    assert net.out_activation_ == "softmax" and net.score(X, y) > 0.9
    assert (net.predict(X) == net.predict_proba(X).argmax(axis=1)).all()


# --- the textbook


def test_the_textbooks_sine():
    X, y = sine()
    fresh = np.linspace(0.02, 0.98, 200)[:, None]
    truth = np.sin(2 * np.pi * fresh.ravel())
    for k in range(2, 9):
        # widths of their own leave gaps between more than two
        net = RBFNetRegressor(k, widths="cluster" if k == 2 else "shared", random_state=0)
        solved = clone(net).set_params(alpha=0).fit(X, y)
        ridge = clone(net).set_params(alpha=0.1).fit(X, y)
        online = clone(net).set_params(solver="sgd", alpha=0).fit(X, y)
        assert (solved.centers_ == online.centers_).all()
        assert solved.loss_ <= ridge.loss_
        assert solved.score(X, y) >= online.score(X, y)
        errors = [np.sqrt(np.mean((n.predict(fresh) - truth) ** 2)) for n in (solved, online)]
        # three cannot follow it: one of them is in the middle, where it is zero
        assert errors[0] < {2: 0.12, 3: 0.3}.get(k, 0.06), k
        assert errors[1] < {2: 0.13, 3: 0.3}.get(k, 0.2), k


def test_the_online_rule_takes_the_textbooks_steps():
    X, y = sine(20)
    net = RBFNetRegressor(3, solver="sgd", alpha=0, shuffle=False, max_iter=7, random_state=0)
    net.fit(X, y)
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)  # of k-means
    w, b, phi = random.standard_normal((3, 1)).ravel(), random.standard_normal(1)[0], None
    phi = features(net, X)
    for _ in range(7):
        for row, target in zip(phi, y):
            error = target - (row @ w + b)
            w, b = w + 0.01 * error * row, b + 0.01 * error
    np.testing.assert_allclose(net.coef_, w, rtol=1e-9)
    assert net.intercept_ == pytest.approx(b, rel=1e-9)
    assert net.n_iter_ == 7 and net.t_ == 140


# --- centers


def test_centers_are_those_of_kmeans():
    X, y = make_data()
    net = RBFNetRegressor(12, random_state=3).fit(X, y)
    rows, weights = distinct_rows(X, None, 10**6, None)
    assert sorted(map(tuple, rows)) == sorted(map(tuple, X)) and (weights == 1).all()
    seed = np.random.RandomState(3).randint(2**31 - 1)
    kmeans = KMeans(12, n_init=1, random_state=seed).fit(rows)
    np.testing.assert_allclose(net.centers_, kmeans.cluster_centers_)


@pytest.mark.parametrize("centers", ["kmeans", "random"])
def test_a_row_that_comes_twice_is_one_of_twice_the_weight(centers):
    X, y = make_data(80)
    random = np.random.RandomState(0)
    weights = random.randint(0, 4, 80)
    order = random.permutation(weights.sum())
    repeated = np.repeat(np.arange(80), weights)[order]
    net = RBFNetRegressor(9, centers=centers, random_state=0)
    by_weight = clone(net).fit(X, y, sample_weight=weights)
    by_row = clone(net).fit(X[repeated], y[repeated])
    assert (by_weight.centers_ == by_row.centers_).all()
    np.testing.assert_allclose(by_weight.widths_, by_row.widths_)
    np.testing.assert_allclose(by_weight.coef_, by_row.coef_, rtol=1e-6, atol=1e-8)


def test_random_centers_are_different_rows_with_weight():
    X, y = make_data(100)
    weights = (np.arange(100) % 2).astype(float)
    net = RBFNetRegressor(50, centers="random", random_state=0).fit(X, y, sample_weight=weights)
    assert sorted(map(tuple, net.centers_)) == sorted(map(tuple, X[1::2]))
    weights[::2] = 1e-12
    net = RBFNetRegressor(20, centers="random", random_state=0).fit(X, y, sample_weight=weights)
    assert set(map(tuple, net.centers_)) <= set(map(tuple, X[1::2]))


def test_fewer_rows_than_centers():
    X, y = make_data(10)
    net = RBFNetRegressor().fit(np.repeat(X, 3, axis=0), np.repeat(y, 3))
    assert sorted(map(tuple, net.centers_)) == sorted(map(tuple, X))
    assert net.layers_[0] == RadialBasis(10, train_centers=False, train_widths=False)


def test_of_many_rows_a_sample_is_looked_at():
    X, y = make_data(3000, 2)
    net = RBFNetRegressor(2, random_state=0).fit(X, y)
    again = RBFNetRegressor(2, random_state=0).fit(X, y)
    assert (net.centers_ == again.centers_).all()
    rows, weights = distinct_rows(X, np.full(3000, 2.0), 500, np.random.RandomState(0))
    assert rows.shape == (500, 2) and (weights == 2).all()
    everything = KMeans(2, n_init=1, random_state=0).fit(X).inertia_
    squares = ((X[:, None] - net.centers_) ** 2).sum(axis=2).min(axis=1).sum()
    assert squares < 1.05 * everything


def test_given_centers_and_widths_stay_as_they_are():
    X, y = make_data()
    centers, widths = X[:7] + 0.5, np.linspace(0.5, 2, 7)
    for solver in ("lstsq", "adam"):
        net = RBFNetRegressor(centers=centers, widths=widths, solver=solver, max_iter=3)
        net.fit(X, y)
        assert (net.centers_ == centers).all() and (net.widths_ == widths).all()
    net = RBFNetRegressor(centers=centers.tolist(), widths=2).fit(X, y)
    assert (net.centers_ == centers).all() and (net.widths_ == 2).all()


# --- widths


def test_for_one_feature_widths_are_standard_deviations():
    X, y = sine()
    for k in (2, 4):
        net = RBFNetRegressor(k, widths="cluster", random_state=0).fit(X, y)
        cluster = np.abs(X - net.centers_.T).argmin(axis=1)
        expected = [X[cluster == j].std() for j in range(k)]
        np.testing.assert_allclose(net.widths_, expected)


def test_a_center_that_is_alone_has_the_mean_width_of_the_others():
    X = np.array([0.0, 1.0, 10.0, 14.0, 50.0, 50.0])[:, None]
    centers = [[0.5], [12.0], [50.0], [99.0]]
    net = RBFNetRegressor(centers=centers, widths="cluster").fit(X, np.arange(6.0))
    np.testing.assert_allclose(net.widths_, [0.5, 2.0, 1.25, 1.25])


def test_for_several_features_few_rows_lean_on_the_others():
    X, y = make_data(50, 3)
    net = RBFNetRegressor(8, widths="cluster", random_state=0).fit(X, y)
    squares = ((X[:, None] - net.centers_) ** 2).sum(axis=2)
    cluster, least = squares.argmin(axis=1), squares.min(axis=1)
    pooled = least.sum() / (50 - 8)
    amounts, sums = np.bincount(cluster), np.bincount(cluster, least)
    spread = np.linalg.eigvalsh(np.cov(X.T))
    dimensions = spread.sum() ** 2 / (spread**2).sum()
    extra = dimensions - 1
    expected = dimensions * np.sqrt((sums + extra * pooled) / (amounts + extra))
    several = amounts > 1
    np.testing.assert_allclose(net.widths_[several], expected[several])


def test_widths_reach_to_other_centers():
    X, y = sine()
    for k, near in ((2, 1), (5, 3), (18, 6), (50, 10)):  # 2 * sqrt(k / 2), rounded, as there are
        own = RBFNetRegressor(k, widths="cluster", random_state=0).fit(X, y)
        net = RBFNetRegressor(k, random_state=0).fit(X, y)
        assert (net.centers_ == own.centers_).all()
        distances = np.sort(np.abs(net.centers_ - net.centers_.T), axis=1)[:, near]
        np.testing.assert_allclose(net.widths_, np.maximum(own.widths_, distances), rtol=1e-6)
    # in ten dimensions, where bumps overlap anyway, that is no more than they are
    X, y = make_friedman1(300, random_state=0)
    own, net = (RBFNetRegressor(20, widths=w, random_state=0) for w in ("cluster", "auto"))
    np.testing.assert_array_equal(own.fit(X, y).widths_, net.fit(X, y).widths_)


def test_for_one_feature_the_defaults_are_as_good_as_one_width():
    """Also for two columns of which one tells what the other does."""
    X, y = sine(200)
    for k in (5, 10, 20, 50):
        for features in (X, np.hstack([X, 2 * X])):
            auto, shared = (
                cross_val_score(
                    RBFNetRegressor(k, widths=widths, random_state=0), features, y,
                    cv=KFold(5, shuffle=True, random_state=0),
                ).mean()
                for widths in ("auto", "shared")
            )  # fmt: skip
            assert auto > shared - 0.002 > 0.97, k


def test_columns_that_tell_nothing_change_no_width():
    X, y = make_data(100, 1)
    alone = RBFNetRegressor(8, random_state=0).fit(X, y)
    for others in (np.zeros((100, 3)), np.repeat(X, 3, axis=1)):
        net = RBFNetRegressor(8, random_state=0).fit(np.hstack([X, others]), y)
        scale = 2.0 if others.any() else 1.0  # distances are twice as large
        np.testing.assert_allclose(np.sort(net.widths_), scale * np.sort(alone.widths_))


def test_the_type_of_numbers_and_zeros_left_out_change_no_center():
    X = np.random.RandomState(0).randn(200, 6).astype(np.float32) * (np.arange(6) % 2)
    y = X.sum(axis=1)
    first = RBFNetRegressor(10, random_state=0).fit(X, y).predict(X)
    for other in (X.astype(float), sp.csr_array(X)):
        found = RBFNetRegressor(10, random_state=0).fit(other, y).predict(X)
        np.testing.assert_allclose(found, first, atol=1e-3)


def test_what_centers_come_from_is_not_changed_on_the_way():
    X, y = make_data(100, 3)
    for name, value in {
        "n_centers": 9, "function": "multiquadric", "widths": "shared", "centers": "random"
    }.items():  # fmt: skip
        net = RBFNetRegressor(10, warm_start=True, random_state=0).fit(X, y)
        for again in (net.set_params(**{name: value}).fit, net.partial_fit):
            with pytest.raises(ValueError, match=f"{name} has changed since the last fit"):
                again(X, y)


def test_few_first_rows_are_few_centers():
    X, y = make_data(100, 3)
    with pytest.warns(UserWarning, match="20 distinct rows.* n_centers=30"):
        RBFNetRegressor(30).partial_fit(X[:20], y[:20])


def test_fits_at_once_leave_the_number_of_threads_as_it_was():
    X, y = make_data(2000, 3)
    before = [library["num_threads"] for library in threadpool_info()]
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda i: RBFNetRegressor(20, random_state=i).fit(X, y), range(8)))
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_the_shared_width():
    X, y = make_data()
    net = RBFNetRegressor(9, widths="shared", random_state=0).fit(X, y)
    largest = np.sqrt(((net.centers_[:, None] - net.centers_) ** 2).sum(axis=2).max())
    np.testing.assert_allclose(net.widths_, largest / np.sqrt(18))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e10])
def test_equal_rows(value):
    X, y = np.full((20, 3), value), np.arange(20.0)
    net = RBFNetRegressor(5, random_state=0).fit(X, y)
    assert (net.widths_ == 1).all()
    np.testing.assert_allclose(net.predict(X), y.mean())
    # two different rows, each with a center of its own
    X[10:] += value
    net = RBFNetRegressor(5, random_state=0).fit(X, y)
    np.testing.assert_allclose(net.widths_, np.sqrt(3) * value)
    net = RBFNetRegressor(5, widths="cluster", random_state=0).fit(X, y)
    np.testing.assert_allclose(net.widths_, np.sqrt(3) * value / 2)


def test_the_mean_of_equal_rows_is_no_cluster():
    X = np.repeat(np.random.RandomState(0).uniform(size=(6, 1)), 7, axis=0)
    X[-1] += 0.1
    net = RBFNetRegressor(6, random_state=0).fit(X, np.arange(42.0))
    assert net.widths_.min() > 1e-3


# --- what may not change a result


@pytest.mark.parametrize("solver", ["lstsq", "adam"])
def test_threads_change_no_bit(solver):
    X, y = make_data(20_000, 10)
    nets = []
    for n_jobs, threads in ((1, 1), (2, 2), (3, 1)):
        with threadpool_limits(threads):
            net = RBFNetRegressor(
                60, solver=solver, max_iter=2, batch_size=5000, n_jobs=n_jobs, random_state=0
            )
            nets.append(net.fit(X, y))
    for net in nets[1:]:
        for name in ("centers_", "widths_", "coef_", "intercept_", "loss_"):
            assert np.array_equal(getattr(net, name), getattr(nets[0], name)), name


def test_a_row_predicts_the_same_bits_alone_and_in_any_batch():
    X, y = make_data()
    for dtype in ("float32", "float64"):
        net = RBFNetRegressor(33, dtype=dtype, random_state=0).fit(X, y)
        together = net.predict(X)
        assert all((net.predict(X[i : i + 1]) == together[i]).all() for i in range(40))
        assert (net.predict(X[:13]) == together[:13]).all()


def test_many_rows_take_little_memory():
    X, y = make_data(100_000, 2)
    net = RBFNetRegressor(200, centers="random", n_jobs=1, random_state=0)
    net.fit(X[:1000], y[:1000])  # compiled
    tracemalloc.start()
    try:
        net.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # the functions' values of all rows would be 160e6 bytes


# --- going on


def test_partial_fit_is_fit_of_all_rows():
    X, y = make_data(900)
    weights = np.random.RandomState(0).uniform(0, 2, 900)
    whole = RBFNetRegressor(centers=X[:40], widths=1.5).fit(X, y, sample_weight=weights)
    parts = clone(whole)
    for start in range(0, 900, 30):  # fewer rows than centers, at first
        part = slice(start, start + 30)
        parts.partial_fit(X[part], y[part], sample_weight=weights[part])
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), atol=1e-8)
    assert parts.t_ == 900 and len(parts.loss_curve_) == 30
    halves = clone(whole).fit(X[:450], y[:450], sample_weight=weights[:450])
    halves.partial_fit(X[450:], y[450:], sample_weight=weights[450:])
    np.testing.assert_allclose(halves.predict(X), whole.predict(X), atol=1e-8)


def test_partial_fit_of_a_classifier():
    X, y = IRIS
    order = np.random.RandomState(0).permutation(150)
    X, y = X[order], y[order]
    net = RBFNetClassifier(10, random_state=0)
    net.partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    centers = net.centers_
    whole = RBFNetClassifier(centers=centers, widths=net.widths_).fit(X, y)
    net.partial_fit(X[50:], y[50:])
    assert (net.centers_ == centers).all()
    np.testing.assert_allclose(net.predict_proba(X), whole.predict_proba(X), atol=1e-6)


def test_another_solver_forgets_the_sums():
    X, y = make_data()
    net = RBFNetRegressor(10, random_state=0).fit(X, y)
    net.set_params(solver="adam", train_centers=True).partial_fit(X, y)
    net.set_params(solver="lstsq", train_centers=False).partial_fit(X[:100], y[:100])
    fresh = RBFNetRegressor(centers=net.centers_, widths=net.widths_).fit(X[:100], y[:100])
    np.testing.assert_allclose(net.coef_, fresh.coef_, rtol=1e-6)


def test_warm_start_keeps_the_centers():
    X, y = make_data()
    net = RBFNetRegressor(10, warm_start=True, random_state=0).fit(X, y)
    centers = net.centers_
    net.fit(X[:50], y[:50])
    assert (net.centers_ == centers).all() and net.n_iter_ == 1
    fresh = RBFNetRegressor(centers=centers, widths=net.widths_).fit(X[:50], y[:50])
    np.testing.assert_allclose(net.coef_, fresh.coef_)
    net.set_params(solver="adam", max_iter=3, learning_rate_init=1e-3)
    before = net.fit(X, y).loss_
    assert net.fit(X, y).loss_ < before


def test_training_goes_on_from_the_solution():
    """Also of the centers and the widths, which least squares cannot find."""
    X, y = make_data()
    solved = RBFNetRegressor(6, warm_start=True, random_state=0).fit(X, y)
    before, centers, widths = solved.loss_, solved.centers_, solved.widths_
    solved.set_params(
        solver="adam", batch_size=50, train_centers=True, train_widths=True, max_iter=100,
        learning_rate_init=0.01,
    )  # fmt: skip
    solved.fit(X, y)
    assert solved.loss_ < 0.9 * before
    assert (solved.centers_ != centers).all() and (solved.widths_ != widths).all()


@pytest.mark.parametrize("what", ["train_centers", "train_widths"])
def test_each_is_trained_by_itself(what):
    X, y = make_data()
    start = {"centers": X[:6], "widths": 1.0, "max_iter": 2, "random_state": 0}
    net = RBFNetRegressor(solver="adam", **{what: True}, **start).fit(X, y)
    assert (net.centers_ != X[:6]).all() == (what == "train_centers")
    assert (net.widths_ != 1.0).all() == (what == "train_widths")


def test_validation():
    X, y = make_data()
    net = RBFNetRegressor(10, random_state=0).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert net.validation_scores_ == [pytest.approx(net.score(X[200:], y[200:]))]
    assert net.history_.shape == (1, 3)
    net = RBFNetRegressor(10, solver="adam", early_stopping=True, random_state=0).fit(X, y)
    assert net.best_validation_score_ == max(net.validation_scores_)


def test_pickles():
    X, y = make_data()
    net = RBFNetRegressor(10, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(net))
    assert (again.predict(X) == net.predict(X)).all()
    for one in (net, again):
        one.partial_fit(X[:50], y[:50])
    assert (again.coef_ == net.coef_).all()


def test_initializers():
    X, y = make_data()
    net = RBFNetRegressor(10, solver="sgd", initializer="zeros", learning_rate_init=1e-12)
    net.fit(X, y)
    assert np.abs(net.coef_).max() < 1e-6


# --- errors


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_centers": 0}, "'n_centers' parameter"),
        ({"function": "cubic"}, "'function' parameter"),
        ({"alpha": -1.0}, "'alpha' parameter"),
        ({"solver": "lbfgs"}, "'solver' parameter"),
        ({"widths": -1.0}, "'widths' parameter"),
        ({"centers": "grid"}, "'centers' parameter"),
        ({"centers": np.zeros((5, 2))}, "centers has 2 features; expected 3"),
        ({"centers": np.full((5, 3), np.nan)}, "centers contains NaN"),
        ({"widths": [1.0, 2.0]}, "widths is an array of shape .2,.; expected 4 positive"),
        ({"widths": [1.0, 2.0, 0.0, 1.0]}, "expected 4 positive"),
        ({"train_centers": True}, "train_centers=True is for the iterative solvers; solver"),
        ({"train_widths": True}, "train_widths=True is for the iterative solvers"),
        ({"early_stopping": True}, "early_stopping=True is for the iterative solvers"),
        ({"l1": 0.1}, "l1=0.1 is for the iterative solvers"),
        ({"loss": "huber"}, "loss='huber' is not for solver='lstsq'"),
        ({"output_activation": "exp"}, "output_activation='exp' is not for solver='lstsq'"),
    ],
)
def test_errors(parameters, match):
    X, y = make_data(30)
    net = RBFNetRegressor(4).set_params(**parameters)
    with pytest.raises(ValueError, match=match):
        net.fit(X, y)
    assert not hasattr(net, "n_features_in_")


def test_an_error_leaves_the_network_as_it_was():
    X, y = make_data()
    net = RBFNetRegressor(10, random_state=0).fit(X, y)
    before = net.predict(X)
    with pytest.raises(ValueError):
        net.set_params(widths=[1.0]).fit(X, y + 1)
    with pytest.raises(ValueError):
        net.partial_fit(X, np.full(len(X), np.inf))
    assert (net.predict(X) == before).all()
    assert not hasattr(RBFNetRegressor(), "coef_")


# --- accuracy


def _best(make, X, y, settings):
    folds = KFold(5, shuffle=True, random_state=0)
    scores = [
        cross_val_score(make_pipeline(StandardScaler(), *make(s)), X, y, cv=folds).mean()
        for s in settings
    ]
    return max(scores)


@pytest.mark.parametrize("data", ["diabetes", "friedman"])
def test_the_defaults_are_as_good_as_a_kernel_approximation_that_is_searched_for(data):
    X, y = load_diabetes(return_X_y=True)
    if data == "friedman":
        X, y = make_friedman1(1000, noise=1.0, random_state=0)
    ours = _best(
        lambda alpha: [RBFNetRegressor(alpha=alpha, random_state=0)], X, y, (1e-5, 1e-3, 1e-1)
    )
    theirs = _best(
        lambda s: [Nystroem(gamma=s[0], random_state=0), Ridge(s[1])], X, y,
        [(gamma, alpha) for gamma in (0.003, 0.01, 0.03) for alpha in (1e-3, 1.0)],
    )  # fmt: skip
    assert ours > theirs - 0.003


def test_digits():
    X, y = load_digits(return_X_y=True)
    net = RBFNetClassifier(200, random_state=0).fit(X[:1200], y[:1200])
    assert net.score(X[1200:], y[1200:]) > 0.94
