"""Estimators pickled by released versions load, predict and continue training.

``python tests/test_pickles.py`` writes the missing files of the current version.
"""

import pathlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris

import sknn
from sknn.layers import BatchNormalization, Conv2D, Dropout, NumericEmbedding, Residual

FOLDER = pathlib.Path(__file__).parent / "pickles"
X, Y = load_iris(return_X_y=True)
TEXTS = ["rain", "in", "spain", "stays", "mainly", "in the plain"]


def estimators():
    """Return small estimators of each kind, by name."""
    small = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}
    layers = [
        Conv2D(3, 2, padding="same", activation="relu", name="first"),
        Residual([Conv2D(3, 1), BatchNormalization(), Dropout(0.1)]),
    ]
    table = {
        "numeric_embedding": NumericEmbedding(units=1, frequencies=2), "category_embedding": 2,
        "categorical_features": [3], "max_iter": 2, "random_state": 0,
    }  # fmt: skip
    return {
        "classifier": sknn.MLPNetClassifier(**small),
        "classifier-float32": sknn.MLPNetClassifier(**small, dtype="float32", batch_norm=True),
        "regressor": sknn.MLPNetRegressor(**small, solver="nadam"),
        "net": sknn.MLPNet(**small, early_stopping=True),
        "lbfgs": sknn.MLPNetRegressor(**small, solver="lbfgs"),
        "convnet": sknn.ConvNetClassifier(layers, (2, 2), max_iter=2, random_state=0),
        "perceptron": sknn.PerceptronClassifier(max_iter=2, random_state=0, average=True),
        "rnn": sknn.RNNClassifier("gru", 3, bidirectional=True, max_iter=2, random_state=0),
        "char-rnn": sknn.CharRNN("lstm", 3, 2, boundaries=True, max_iter=2, random_state=0),
        "markov-chain": sknn.CharMarkovChain(2, unknown="?"),
        "seq2seq": sknn.Seq2SeqRNN("rnn", 3, embedding=2, max_iter=2, random_state=0),
        "rbf": sknn.RBFNetRegressor(3, random_state=0),
        "rbf-trained": sknn.RBFNetClassifier(
            3, solver="sgd", train_centers=True, max_iter=2, random_state=0
        ),
        "autoencoder": sknn.AutoencoderTransformer(
            (3, 2), "tanh", tied_weights=True, contractive=0.1, activity_l1=0.1, noise=0.1,
            max_iter=2, random_state=0,
        ),
        "conv-autoencoder": sknn.ConvAutoencoderTransformer(
            [Conv2D(2, 1)], [Conv2D(1, 1)], (2, 2), max_iter=2, random_state=0
        ),
        "variational": sknn.VariationalAutoencoderTransformer(2, 3, max_iter=2, random_state=0),
        "sequence-autoencoder": sknn.SequenceAutoencoderTransformer(
            2, "gru", max_iter=2, random_state=0
        ),
        "outlier-detector": sknn.ReconstructionOutlierDetector(
            sknn.AutoencoderTransformer(2, max_iter=2, random_state=0), 0.1
        ),
        "tabular": sknn.TabularNetClassifier((3,), **table),
        "tabular-regressor": sknn.TabularNetRegressor((3,), n_ensemble=2, **table),
    }  # fmt: skip


def data_for(estimator):
    """Return training data for an estimator of its class."""
    of_text = sknn.CharRNN, sknn.CharMarkovChain, sknn.Seq2SeqRNN
    return (TEXTS, [text[::-1] for text in TEXTS]) if isinstance(estimator, of_text) else (X, Y)


def outputs(estimator):
    """Return the estimator's predictions for its data, as numbers."""
    given, wanted = data_for(estimator)
    if isinstance(estimator, sknn.Seq2SeqRNN):
        return estimator.score_samples(given, wanted)
    methods = "predict_proba", "predict", "transform"
    method = next(name for name in methods if hasattr(estimator, name))
    return np.asarray(getattr(estimator, method)(given), float)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pickle")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_old_pickles_load(path):
    estimator, expected = pickle.loads(path.read_bytes())
    np.testing.assert_allclose(outputs(estimator), expected, rtol=1e-5, atol=1e-6)
    if hasattr(estimator, "partial_fit") and not getattr(estimator, "early_stopping", False):
        before = getattr(estimator, "t_", None)
        estimator.partial_fit(*data_for(estimator))
        assert before is None or estimator.t_ > before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pickles_hold_nothing_compiled():
    for estimator in estimators().values():
        given, wanted = data_for(estimator)
        outputs(estimator.fit(given, wanted))
        assert len(pickle.dumps(estimator)) < 10_000
        for value in vars(estimator).values():
            assert "sknn.cpu" not in type(value).__module__


if __name__ == "__main__":
    for name, unfitted in estimators().items():
        path = FOLDER / f"{name}-0.1.0.pickle"
        if not path.exists():
            fitted = unfitted.fit(*data_for(unfitted))
            path.write_bytes(pickle.dumps((fitted, outputs(fitted)), protocol=4))
