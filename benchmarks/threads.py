"""Slowdown of small fits while three other threads predict."""

import threading
import time
from contextlib import contextmanager
from functools import partial
from statistics import median

from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

from sknn import MLPNetClassifier, RBFNetClassifier

from .table import Row, Task

POINT = "threads"

SMALL = {"max_iter": 20, "random_state": 0}
FITS = {
    "adam, 4-10-3": (partial(MLPNetClassifier, (10,), **SMALL), 15),
    "lbfgs, 4-10-3": (partial(MLPNetClassifier, (10,), solver="lbfgs", **SMALL), 15),
    "radial, 10 centers": (partial(RBFNetClassifier, 10, random_state=0), 15),
    "scikit-learn's adam, 4-10-3": (partial(MLPClassifier, (10,), **SMALL), None),
    "scikit-learn's lbfgs, 4-10-3": (
        partial(MLPClassifier, (10,), solver="lbfgs", **SMALL), None,
    ),
}  # fmt: skip
#: Number of rows that the threads predict at a time.
ROWS = {"one row": 1, "150 rows": 150}


def tasks():
    """List the measurements, one for each fit and number of rows to predict."""
    for fit in FITS:
        for rows in ROWS:
            name = f"fit {fit}, while threads predict {rows}"
            yield Task(POINT, name, partial(_beside, name, fit, ROWS[rows]))


def _beside(name, fit, rows, settings):
    X, y = load_iris(return_X_y=True)
    make, most = FITS[fit]
    net = MLPNetClassifier((10,), **SMALL).fit(X, y)
    loops = 3 if settings.quick else 15

    def run():
        make().fit(X, y)

    run()
    net.predict(X[:rows])
    alone, beside = [], []
    for _ in range(settings.repeats):
        alone += _times(run, loops)
        with _predicting(net, X[:rows]):
            beside += _times(run, loops)
    ratio = median(beside) / median(alone)
    yield Row(POINT, name, "alone", ratio, most, "x", at_least=False)


def _times(run, loops):
    times = []
    for _ in range(loops):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


@contextmanager
def _predicting(net, X):
    """Predict in three threads inside the context."""
    ended = threading.Event()

    def work():
        while not ended.is_set():
            net.predict(X)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
