"""Dense networks: relative times of fits, a grid search and predictions."""

from functools import partial

import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from . import kernels
from .peers import as_fractions, digits_like, estimator, mnist, torch, torch_fit, torch_predict
from .table import Row, Task
from .timing import Side, ratios, seconds, with_best_blas_threads

POINT = "dense-speed"

# features, hidden units, classes, batch size; then the targets against scikit-learn and PyTorch
NETWORKS = [
    (4, 10, 3, 32, 40, 40),
    (30, 100, 2, 200, 15, 12),
    (64, 100, 10, 32, 15, 15),
    (784, 50, 10, 128, 6, 3),
]
MNIST_NETWORK = (784, 512, 10, 128, 3, 1.8)

GRID = {
    "net__hidden_layer_sizes": [(50,), (100,)],
    "net__activation": ["relu", "tanh"],
    "net__alpha": [1e-4, 1e-3, 1e-2],
    "net__learning_rate_init": [1e-3, 1e-2],
}


def tasks():
    """List the measurements of the speed of dense networks."""
    for network in NETWORKS:
        name = "fit {}-{}-{}, batch {}".format(*network)
        yield Task(POINT, name, partial(_fit, name, network, _random_data))
    name = "fit {}-{}-{}, batch {} (MNIST)".format(*MNIST_NETWORK)
    yield Task(POINT, name, partial(_fit, name, MNIST_NETWORK, _mnist_data))
    for name, run in [
        ("fit iris, 4-100-3, 200 epochs of a step", _fit_iris),
        ("grid search, 24 candidates", _grid_search),
        ("predict 10,000 rows, 784-512-10", _predict_many),
        ("predict one row, 64-100-10", _predict_one),
        ("kernels", _kernels),
    ]:
        yield Task(POINT, name, partial(run, name))


def _random_data(network, settings):
    features, _, classes = network[:3]
    return digits_like(256 if settings.quick else 12_800, features, classes)


def _mnist_data(network, settings):
    if not settings.mnist.exists():
        return None
    X, y, _, _ = mnist(settings.mnist, every=200 if settings.quick else 1)
    return as_fractions(X), y.astype(np.int64)


def _rows(name, measured, targets):
    return [
        Row(POINT, name, peer, measured.get(peer), target, "x") for peer, target in targets.items()
    ]


def _fit(name, network, make_data, settings):
    _, units, _, batch_size, *targets = network
    targets = dict(zip(("scikit-learn", "PyTorch"), targets))
    data = make_data(network, settings)
    if data is None:
        return _rows(name, {}, targets)
    X, y = data

    def fit(peer, epochs):
        if peer == "PyTorch":
            return lambda: torch_fit(X, y, (units,), batch_size, epochs)
        return lambda: estimator(peer, (units,), batch_size, epochs).fit(X, y)

    epochs = 1 if settings.quick else 5
    fit("sknn", 1)()
    sides = {
        "sknn": Side(fit("sknn", epochs)),
        "scikit-learn": with_best_blas_threads(fit("scikit-learn", 1), fit("scikit-learn", epochs)),
    }
    if torch is not None:
        fit("PyTorch", 1)()
        sides["PyTorch"] = Side(fit("PyTorch", epochs))
    return _rows(name, ratios(sides, settings.repeats), targets)


def _fit_iris(name, settings):
    """Compare fits of many epochs of one step, and time an epoch by the difference of two fits."""
    X, y = load_iris(return_X_y=True)

    def fit(peer, epochs):
        return lambda: estimator(peer, (100,), "auto", epochs).fit(X, y)

    epochs, loops = (5, 1) if settings.quick else (200, 3)
    short, long = (Side(fit("sknn", n)) for n in (epochs, 3 * epochs))
    short.run()
    trial, run = (fit("scikit-learn", n) for n in (5, epochs))
    sides = {"sknn": short, "scikit-learn": with_best_blas_threads(trial, run)}
    yield from _rows(name, ratios(sides, 3 * settings.repeats, loops), {"scikit-learn": 12})
    least, most = (
        min(seconds(side, loops) for _ in range(3 * settings.repeats)) for side in (short, long)
    )
    epoch = 1e6 * (most - least) / (2 * epochs)
    yield Row(POINT, f"{name}: an epoch", "", epoch, 20, " us", at_least=False)


def _grid_search(name, settings):
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)

    def search(peer, max_iter, grid):
        net = estimator(peer, (100,), "auto", max_iter)
        # As users would do it: each fit may stop early.
        net.set_params(tol=1e-4, n_iter_no_change=10)
        pipeline = Pipeline([("scaler", StandardScaler()), ("net", net)])
        return lambda: GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, y)

    grid, max_iter = GRID, 200
    if settings.quick:
        grid, max_iter = {"net__alpha": GRID["net__alpha"]}, 3
    # Both sides use the same two workers. A short search warms these up for each side.
    sides = {}
    for peer in ("sknn", "scikit-learn"):
        search(peer, 2, grid)()
        sides[peer] = Side(search(peer, max_iter, grid))
    return _rows(name, ratios(sides, settings.repeats), {"scikit-learn": 10})


def _predict_many(name, settings):
    X, y = digits_like(300 if settings.quick else 10_000, 784, 10)
    sides = {"sknn": Side(partial(estimator("sknn", (512,), 128, 1).fit(X, y).predict, X))}
    predict = partial(estimator("scikit-learn", (512,), 128, 1).fit(X, y).predict, X)
    sides["scikit-learn"] = with_best_blas_threads(predict, predict)
    if torch is not None:
        sides["PyTorch"] = Side(partial(torch_predict, torch_fit(X, y, (512,), 128, 1), X))
    for side in sides.values():
        side.run()
    measured = ratios(sides, 3 * settings.repeats, loops=1 if settings.quick else 5)
    return _rows(name, measured, {"scikit-learn": 1.7, "PyTorch": 1.5})


def _predict_one(name, settings):
    X, y = digits_like(256 if settings.quick else 1280, 64, 10)
    sides = {}
    for peer in ("sknn", "scikit-learn"):
        sides[peer] = Side(partial(estimator(peer, (100,), 32, 1).fit(X, y).predict, X[:1]))
        sides[peer].run()
    measured = ratios(sides, 3 * settings.repeats, loops=5 if settings.quick else 200)
    return _rows(name, measured, {"scikit-learn": 1})


def _kernels(name, settings):
    for kernel, measured, target in kernels.rows(3 * settings.repeats):
        yield Row(POINT, kernel, "NumPy", measured, target, "x")
