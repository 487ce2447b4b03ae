"""Dense networks: accuracy on MNIST after ten epochs."""

from statistics import median

from .peers import as_fractions, estimator, mnist
from .table import Row, Task

POINT = "dense-accuracy"


def tasks():
    """List the measurement of the accuracy of dense networks."""
    yield Task(POINT, "accuracy on MNIST", _mnist_accuracy)


def _mnist_accuracy(settings):
    accuracy = None
    if settings.mnist.exists():
        seeds, epochs, every = (1, 1, 10) if settings.quick else (5, 10, 1)
        X, y, X_test, y_test = mnist(settings.mnist, every)
        X, X_test = as_fractions(X), as_fractions(X_test)
        net = estimator("sknn", (512,), 128, epochs)
        scores = [
            net.set_params(random_state=seed).fit(X, y).score(X_test, y_test)
            for seed in range(seeds)
        ]
        accuracy = median(scores)
    yield Row(POINT, "accuracy on MNIST, 784-512-10, 10 epochs", "5 seeds", accuracy, 0.98)
