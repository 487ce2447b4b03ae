"""Radial basis function networks: relative times, memory, and errors."""

from functools import partial

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, RepeatedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sknn import RBFNetRegressor

from .processes import child
from .table import Row, Task
from .timing import Side, ratios, with_best_blas_threads

SPEED, ACCURACY = "rbf-speed", "rbf-accuracy"

#: Penalty, and width of all centers, for both sides of the timings.
ALPHA, WIDTH = 1e-3, 2.0

DATA = {
    "diabetes": partial(load_diabetes, return_X_y=True),
    "friedman1": partial(make_friedman1, 1000, 10, noise=1.0, random_state=0),
}
CENTERS = (50, 100, 200)
OUR_GRID = {"net__alpha": (3e-6, 1e-3, 1e-1)}
THEIR_GRID = {
    "features__gamma": (0.001, 0.003, 0.01, 0.03, 0.1),
    "net__alpha": (1e-3, 1e-2, 1e-1),
}


def tasks():
    """List the measurements of radial basis function networks."""
    for name, run in [
        ("fit 10,000 x 20, 200 centers", _fit),
        ("predict 10,000 x 20, 200 centers", _predict),
        ("memory of a fit, 1,000,000 x 20 in float32, 500 centers", _memory),
    ]:
        yield Task(SPEED, name, partial(run, name))
    for data in DATA:
        for k in CENTERS:
            name = f"R2, {data}, {k} centers"
            yield Task(ACCURACY, name, partial(_determination, name, data, k))
    for k in range(2, 9):
        name = f"training error, sine, {k} centers"
        yield Task(ACCURACY, name, partial(_sine, name, k))


# --- times


def _data(settings):
    """Return X, y and the centers, precomputed by k-means for both sides."""
    n, k = (1000, 20) if settings.quick else (10_000, 200)
    X, y = make_friedman1(n, 20, noise=1.0, random_state=0)
    return X, y, KMeans(k, n_init=1, random_state=0).fit(X).cluster_centers_


def _ours(X, y, centers):
    return RBFNetRegressor(centers=centers, widths=WIDTH, alpha=ALPHA, random_state=0).fit(X, y)


def _features(X, centers):
    return rbf_kernel(X, centers, 0.5 / WIDTH**2)


def _theirs(X, y, centers):
    # The features are not used again: a copy of them would only cost time.
    return Ridge(ALPHA, copy_X=False).fit(_features(X, centers), y)


def _fit(name, settings):
    data = _data(settings)
    fit = partial(_theirs, *data)
    sides = {
        "sknn": Side(partial(_ours, *data)),
        "scikit-learn": with_best_blas_threads(fit, fit),
    }
    yield _row_of_time(name, sides, settings.repeats, 3)


def _predict(name, settings):
    X, y, centers = _data(settings)
    ours, theirs = _ours(X, y, centers), _theirs(X, y, centers)

    def predict():
        return theirs.predict(_features(X, centers))

    sides = {
        "sknn": Side(partial(ours.predict, X)),
        "scikit-learn": with_best_blas_threads(predict, predict),
    }
    yield _row_of_time(name, sides, 3 * settings.repeats, None)


def _row_of_time(name, sides, repeats, target):
    for side in sides.values():
        side.run()
    measured = ratios(sides, repeats)["scikit-learn"]
    return Row(SPEED, name, "scikit-learn", measured, target, "x")


# --- memory


def _memory(name, settings):
    n, k = (20_000, 50) if settings.quick else (1_000_000, 500)
    call = f"import_module('benchmarks.radial').memory_of_fit({n}, {k})"
    rise = child(call, quick=settings.quick)
    peer = f"{8 * n * k / 1e6:,.0f} MB of all activations"
    yield Row(SPEED, name, peer, rise, None, " MB", at_least=False)


def memory_of_fit(n, k):
    """Return by how many MB a fit on `n` rows raises the peak memory, or None."""
    from .children import _second_rise

    X, y = make_friedman1(n, 20, noise=1.0, random_state=0)
    X, y = X.astype(np.float32), y.astype(np.float32)
    return _second_rise(lambda: RBFNetRegressor(k, random_state=0).fit(X, y))


# --- errors


def _determination(name, data, k, settings):
    """Compare the best settings of both sides, with as many centers as components."""
    X, y = DATA[data]()
    ours = [("net", RBFNetRegressor(k, random_state=0))]
    theirs = [("features", Nystroem(n_components=k, random_state=0)), ("net", Ridge())]
    splits, repeats = (2, 1) if settings.quick else (5, 3)
    folds = RepeatedKFold(n_splits=splits, n_repeats=repeats, random_state=0)
    best = []
    for steps, grid in ((ours, OUR_GRID), (theirs, THEIR_GRID)):
        pipeline = Pipeline([("scaler", StandardScaler()), *steps])
        search = GridSearchCV(pipeline, grid, cv=folds, scoring="r2")
        with threadpool_limits(1):  # for matrices this small, more threads only add waiting
            best.append(search.fit(X, y).best_score_)
    name = f"{name} ({best[0]:.4f}, Nystroem + Ridge {best[1]:.4f})"
    yield Row(ACCURACY, name, "Nystroem + Ridge", best[0] - best[1], 0, " more")


def _sine(name, k, settings):
    """Compare least squares with the online rule, from the same centers and widths."""
    random_state = np.random.RandomState(0)
    X = np.sort(random_state.uniform(size=100))[:, None]
    y = np.sin(2 * np.pi * X[:, 0]) + random_state.uniform(-0.1, 0.1, 100)
    solved, online = (
        mean_squared_error(y, RBFNetRegressor(k, random_state=0, **how).fit(X, y).predict(X))
        for how in ({"alpha": 0.0}, {"solver": "sgd", "alpha": 0.0})
    )
    name = f"{name} ({solved:.5f}, online {online:.5f})"
    unit = "x its error"
    yield Row(ACCURACY, name, "the online rule", solved / online, 1, unit, at_least=False)
