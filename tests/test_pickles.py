"""Estimators pickled by released versions load, predict and go on learning.

``python tests/test_pickles.py`` writes the files of the current version; the older ones stay.
"""

import pathlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris

import sknn
from sknn.layers import BatchNormalization, Conv2D, Dropout, Residual

FOLDER = pathlib.Path(__file__).parent / "pickles"
X, Y = load_iris(return_X_y=True)


def estimators():
    """Return small estimators of each kind, by name."""
    small = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    layers = [
        Conv2D(3, 2, padding="same", activation="relu", name="first"),
        Residual([Conv2D(3, 1), BatchNormalization(), Dropout(0.1)]),
    ]
    return {
        "classifier": sknn.MLPNetClassifier(**small),
        "classifier-float32": sknn.MLPNetClassifier(**small, dtype="float32", batch_norm=True),
        "regressor": sknn.MLPNetRegressor(**small, solver="nadam"),
        "net": sknn.MLPNet(**small, early_stopping=True),
        "lbfgs": sknn.MLPNetRegressor(**small, solver="lbfgs"),
        "convnet": sknn.ConvNetClassifier(layers, (2, 2), max_iter=2, random_state=0),
        "perceptron": sknn.PerceptronClassifier(max_iter=2, random_state=0, average=True),
    }


def outputs(estimator):
    """Return what the estimator gives for the irises, as numbers."""
    method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    return np.asarray(getattr(estimator, method)(X), float)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pickle")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_old_pickles_load(path):
    estimator, expected = pickle.loads(path.read_bytes())
    np.testing.assert_allclose(outputs(estimator), expected, rtol=1e-5, atol=1e-6)
    if hasattr(estimator, "partial_fit") and not getattr(estimator, "early_stopping", False):
        before = estimator.t_
        assert estimator.partial_fit(X, Y).t_ == before + len(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pickles_hold_nothing_compiled():
    for estimator in estimators().values():
        estimator.fit(X, Y).predict(X[:1])
        assert len(pickle.dumps(estimator)) < 7_000
        for value in vars(estimator).values():
            assert "sknn.cpu" not in type(value).__module__


if __name__ == "__main__":
    for name, unfitted in estimators().items():
        fitted = unfitted.fit(X, Y)
        data = pickle.dumps((fitted, outputs(fitted)), protocol=4)
        (FOLDER / f"{name}-0.1.0.pickle").write_bytes(data)
