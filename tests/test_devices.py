"""The engine relies only on the device's interface: networks train and predict on another one.

That is the reference device, which runs tapes by the operations' definitions. So each network here
is checked as a whole, too.
"""

import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from reference_device import ReferenceDevice

from sknn import (
    AutoencoderTransformer,
    CharRNN,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    MLPNetClassifier,
    MLPNetRegressor,
    PerceptronClassifier,
    RBFNetClassifier,
    RBFNetRegressor,
    RNNClassifier,
    RNNRegressor,
    Seq2SeqRNN,
    SequenceAutoencoderTransformer,
    TabularNetClassifier,
    TabularNetRegressor,
    VariationalAutoencoderTransformer,
)
from sknn.engine.devices import DEVICES
from sknn.engine.optimizers import SOLVERS
from sknn.layers import (
    GRU,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Bidirectional,
    CategoryEmbedding,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GroupedDense,
    LocalResponseNormalization,
    MaxPooling2D,
    NumericEmbedding,
    ParametricActivation,
    RadialBasis,
    RandomCrop,
    RandomFlip,
    RandomShift,
    Reshape,
    Residual,
    Scale,
    Select,
    Sequential,
    UpSampling2D,
)
from sknn.tape.operations import OPERATIONS

REFERENCE = ReferenceDevice()
RANDOM = np.random.RandomState(0)
X, IMAGES = RANDOM.rand(37, 11), RANDOM.rand(23, 6, 6, 3)
ROUNDED = np.round(X[:, :4], 1)
Y, WEIGHTS = np.arange(37) % 3, 1.0 + np.arange(37) % 4
COLUMNS = np.column_stack([X[:, :5], Y, 3 + np.arange(37) % 4])
LISTS = [RANDOM.rand(n, 2) for n in 1 + np.arange(37) % 5]
TOKENS = [np.arange(n) % 4 for n in 1 + np.arange(37) % 5]
TEXTS = ["abcab" * n for n in range(1, 6)]
SMALL = {"max_iter": 3, "random_state": 0}


def mlp(kind=MLPNetClassifier, **params):
    return kind(hidden_layer_sizes=(9, 5), **SMALL | params)


def images(kind, layers, **params):
    return kind(layers, dtype="float64", batch_size=10, **SMALL | params)


def deep():
    """Return layers of all kinds for images."""
    return [
        Conv2D(16, 3, padding="same", use_bias=False), BatchNormalization(), Activation("relu"),
        Residual([Sequential([Conv2D(16, 3, padding="same", activation="tanh")])]), MaxPooling2D(),
        Concatenate([[Conv2D(12, 2, groups=4, activation="gelu")],
                     [Conv2D(5, 2), BatchNormalization(trainable=False)]]),
        LocalResponseNormalization(), Conv2DTranspose(3, 3, 2), UpSampling2D(2, "bilinear"),
        AveragePooling2D(3, 2, "same"), Dropout(0.2), Conv2D(4, 3), GlobalAveragePooling2D(),
        Dense(10, activation="softmax", activity_l2=0.1), RadialBasis(7, "thin_plate"),
    ]  # fmt: skip


#: Networks for tables, with a column of categories that are embedded.
TABLE = {"categorical_features": [1], "max_one_hot": 0, "category_embedding": 3,
         "dtype": "float64", "batch_size": 10}  # fmt: skip


def table(kind, **params):
    return kind((9, 5), **SMALL | TABLE | params)


RATES = {"kernel_rate": 0.5, "bias_rate": 0.1, "parametrization": "neural_tangent"}

def columns():
    """Return layers for the columns of a table."""
    numbers = [Select(0, 2), NumericEmbedding()]
    places = [Select(2, 5), Scale(), NumericEmbedding("piecewise_linear", bins=3, units=2)]
    return [
        Flatten(),
        Concatenate([numbers, places, [Select(5, 7), CategoryEmbedding([3, 4], 2)]]), Scale(),
        GroupedDense(3, 6, use_bias=False), ParametricActivation("gelu"),
        GroupedDense(2, 9, activation="tanh"),
    ]  # fmt: skip


def solved(solver, **params):
    learning = {"learning_rate_init": 0.01, "average": solver in ("sgd", "adadelta")}
    return lambda: mlp(solver=solver, **learning | params).fit(X, Y)


#: By name: a function that fits an estimator, and the methods to call then.
ESTIMATORS = {
    **{solver: (solved(solver), ["predict_proba"]) for solver in SOLVERS},
    "plain": (solved("sgd", nesterovs_momentum=False, learning_rate="one_cycle"), []),
    "two classes": (lambda: mlp(activation="relu").fit(X, Y == 1), ["predict_proba"]),
    "lbfgs": (lambda: mlp(solver="lbfgs", l1=0.01).fit(X, Y, WEIGHTS), ["predict_proba"]),
    "scheduled": (
        solved("adamw", alpha=0.1, alpha_schedule="flat_cos", learning_rate="coslog4", dropout=0.3,
               dropout_schedule="flat_cos", initializer="data_dependent"),
        ["predict_proba"],
    ),
    **{
        f"{solver}, rates by parameter": (
            lambda solver=solver: images(
                ConvNetRegressor, [Conv2D(5, 3, **RATES), Dense(17, activation="tanh", **RATES)],
                solver=solver, learning_rate_init=0.05, alpha=0.1,
            ).fit(IMAGES, X[:23, :2]),
            [],
        )
        for solver in ("sgd", "adamw", "nadam")
    },
    "clipped": (solved("adam", clip_norm=0.1, clip_value=0.05, l1=0.01), []),
    "normalized": (solved("adam", batch_norm=True, dropout=0.2, average=True), ["predict_proba"]),
    "sparse": (
        lambda: mlp(early_stopping=True, validation_fraction=0.2).fit(sp.csr_array(X), Y, WEIGHTS),
        ["predict_proba"],
    ),
    **{
        loss: (
            lambda loss=loss: mlp(MLPNetRegressor, loss=loss).fit(X, X[:, :2]), ["predict"],
        )
        for loss in ("squared_error", "absolute_error", "huber", "poisson", "quantile")
    },
    "quantiles": (
        lambda: mlp(MLPNetRegressor, loss="quantile", quantile=[0.1, 0.5, 0.8]).fit(X, X[:, 0]),
        ["predict"],
    ),
    "smoothed": (
        lambda: mlp(label_smoothing=0.2, activation=["mish", "selu"]).fit(X, Y, WEIGHTS),
        ["predict_proba"],
    ),
    "two smoothed": (
        lambda: mlp(label_smoothing=0.2, activation="selu").fit(X, Y == 1), ["predict_proba"],
    ),
    "perceptron": (
        lambda: PerceptronClassifier(average=True, **SMALL).fit(X, Y, WEIGHTS),
        ["decision_function"],
    ),
    "one neuron": (
        lambda: PerceptronClassifier(**SMALL).fit(sp.csr_array(X), Y == 1), ["decision_function"],
    ),
    "images": (
        lambda: images(ConvNetRegressor, deep(), augmentation=RandomFlip()).fit(
            IMAGES, X[:23, :2], WEIGHTS[:23]
        ),
        ["predict"],
    ),
    "shifted": (
        lambda: images(
            ConvNetClassifier, [Conv2D(5, 3, use_bias=False), BatchNormalization()],
            augmentation=RandomShift(1, 1),
        ).fit(IMAGES, Y[:23]),
        ["predict_proba"],
    ),
    "cropped": (
        lambda: ConvNetTransformer(
            images(
                ConvNetClassifier, [Conv2D(17, 2), MaxPooling2D(), Conv2D(2, 1), Flatten()],
                augmentation=RandomCrop(5, 4),
            ).fit(IMAGES, Y[:23]), 1,
        ).fit(IMAGES),
        ["transform"],
    ),
    "columns": (
        lambda: images(ConvNetRegressor, columns()).fit(COLUMNS, X[:, 5:7], WEIGHTS), ["predict"],
    ),
    "reset after": (
        lambda: images(
            ConvNetRegressor,
            [Reshape((6, 18)), GRU(5, reset_after=True, return_sequences=True),
             Bidirectional(GRU(3)), Dense(1)],
        ).fit(IMAGES, X[:23, 0]),
        ["predict"],
    ),
    **{
        cell: (
            lambda cell=cell: RNNClassifier(
                cell, 5, bidirectional=True, truncate=2, dtype="float64", **SMALL
            ).fit(LISTS, Y),
            ["predict_proba"],
        )
        for cell in ("rnn", "lstm", "gru")
    },
    "each step": (
        lambda: RNNRegressor(
            "gru", (5, 3), return_sequences=True, dropout=0.1, dtype="float64", **SMALL
        ).fit(X, X),
        ["predict"],
    ),
    "each step of lists": (
        lambda: RNNRegressor("rnn", 5, return_sequences=True, dtype="float64", **SMALL).fit(
            LISTS, [x[:, :1] for x in LISTS]
        ),
        ["predict"],
    ),
    "tokens": (
        lambda: RNNClassifier("gru", 5, embedding=3, dtype="float64", **SMALL).fit(TOKENS, Y),
        ["predict_proba"],
    ),
    "least squares": (lambda: RBFNetRegressor(7, random_state=0).fit(X, X[:, :2]), ["predict"]),
    "weighted": (lambda: RBFNetClassifier(7, random_state=0).fit(X, Y, WEIGHTS), ["predict_proba"]),
    "centers": (
        lambda: RBFNetRegressor(
            7, solver="adam", widths="shared", train_centers=True, train_widths=True, **SMALL
        ).fit(X, X[:, 0]),
        ["predict"],
    ),
    "tied": (
        lambda: AutoencoderTransformer((8, 3), tied_weights=True, noise=0.1, **SMALL).fit(X),
        ["transform", "reconstruct"],
    ),
    "contractive": (
        lambda: AutoencoderTransformer(
            (8, 3), loss="log_loss", contractive=0.1, activity_l1=0.1, noise=0.1,
            noise_kind="masking", pretrain_epochs=1, early_stopping=True, **SMALL,
        ).fit(X),
        ["transform", "reconstruct"],
    ),
    "salt": (
        lambda: AutoencoderTransformer(
            (8, 3), tied_weights=True, noise=0.1, noise_kind="salt_and_pepper", **SMALL
        ).fit(X),
        ["transform", "reconstruct"],
    ),
    "convolutions": (
        lambda: ConvAutoencoderTransformer(
            [Conv2D(3, 3, padding="same")], [Conv2D(3, 3, padding="same")], dtype="float64",
            **SMALL,
        ).fit(IMAGES),
        ["transform", "reconstruct"],
    ),
    "variational": (
        lambda: VariationalAutoencoderTransformer(2, 5, early_stopping=True, **SMALL).fit(X),
        ["transform", "reconstruct", "score_samples"],
    ),
    "sequences": (
        lambda: SequenceAutoencoderTransformer(
            4, "gru", noise=0.1, dtype="float64", **SMALL
        ).fit(X),
        ["transform", "reconstruct"],
    ),
    "text": (
        lambda: CharRNN(
            "gru", 9, seq_len=7, batch_size=3, early_stopping=True, validation_fraction=0.3,
            dtype="float64", **SMALL,
        ).fit(TEXTS),
        ["predict_proba", "transform", "score_samples"],
    ),
    "table": (
        lambda: table(TabularNetClassifier).fit(ROUNDED, Y, WEIGHTS), ["predict_proba"],
    ),
    "bins": (
        lambda: table(
            TabularNetRegressor, numeric_embedding=NumericEmbedding("piecewise_linear", bins=5)
        ).fit(ROUNDED, X[:, 0]),
        ["predict"],
    ),
    "groups": (
        lambda: images(
            ConvNetRegressor,
            [Flatten(), GroupedDense(1, 12), NumericEmbedding("piecewise_linear", bins=4, units=2),
             GroupedDense(3, 12, use_bias=False), ParametricActivation("gelu", trainable=False)],
        ).fit(IMAGES, X[:23, 0]),
        ["predict"],
    ),
    "members": (
        lambda: table(TabularNetClassifier, n_ensemble=3).fit(ROUNDED, Y), ["predict_proba"],
    ),
    "translation": (
        lambda: Seq2SeqRNN("lstm", 6, beam_width=2, dtype="float64", **SMALL).fit(
            TEXTS, TEXTS[::-1]
        ),
        ["predict"],
    ),
}  # fmt: skip
DATA = dict.fromkeys(("images", "shifted", "cropped", "reset after", "convolutions"), IMAGES)
DATA |= dict.fromkeys(("rnn", "lstm", "gru", "each step of lists"), LISTS)
DATA |= dict.fromkeys(("text", "translation"), TEXTS)
DATA["tokens"], DATA["groups"], DATA["columns"] = TOKENS, IMAGES, COLUMNS
DATA |= dict.fromkeys(("table", "bins", "members"), ROUNDED)


@cache
def outcome(name, device):
    """Return what an estimator has learned on a device, and what it predicts there."""
    fit, methods = ESTIMATORS[name]
    data, cpu = DATA.get(name, X), DEVICES["cpu"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            DEVICES["cpu"] = device
            net = fit()
            found = {method: getattr(net, method)(data) for method in methods}
            found |= {f"{method} of one": getattr(net, method)(data[:1]) for method in methods}
            if name == "each step":
                found["forecast"] = net.forecast(data[:3, :, None], 2)
            if name == "text":
                found["sampled"] = net.sample(30, "ab", random_state=1)
            for attribute in ("weights_", "coefs_", "coef_", "loss_curve_", "validation_scores_"):
                if getattr(net, attribute, None) is not None:
                    found[attribute] = getattr(net, attribute)
            return found
        finally:
            DEVICES["cpu"] = cpu


def assert_close(found, expected, what):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, f"{what}, {key}")
    elif isinstance(expected, list) or getattr(expected, "dtype", None) == np.dtype("O"):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_close(a, b, what)
    elif isinstance(expected, str):
        assert found == expected
    else:
        scale = np.abs(expected).max(initial=1e-3)
        np.testing.assert_allclose(found, expected, 1e-9, 1e-9 * scale, err_msg=what)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_are_the_same_on_another_device(name):
    assert_close(outcome(name, DEVICES["cpu"]), outcome(name, REFERENCE), name)


def test_these_estimators_need_every_operation():
    for name in ESTIMATORS:
        outcome(name, REFERENCE)
    assert REFERENCE.operations == set(OPERATIONS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_pickle_holds_nothing_of_a_device(monkeypatch):
    """A network fitted on one device predicts on another, and continues training there."""
    neuron = PerceptronClassifier(average=True, **SMALL).fit(X, Y)
    assert neuron._state.weights.shape == (11, 3)
    net = images(ConvNetRegressor, [Conv2D(5, 3), GlobalAveragePooling2D()], warm_start=True)
    net.set_params(max_iter=1).fit(IMAGES, X[:23, 0])
    saved, expected = pickle.dumps(net), net.predict(IMAGES)
    monkeypatch.setitem(DEVICES, "cpu", REFERENCE)
    other, unlike = pickle.loads(saved), pickle.loads(pickle.dumps(neuron)).partial_fit(X, Y)
    assert_close(other.predict(IMAGES), expected, "predictions")
    other.fit(IMAGES, X[:23, 0])
    saved, expected = pickle.dumps(other), other.predict(IMAGES)
    monkeypatch.undo()
    assert_close(pickle.loads(saved).predict(IMAGES), expected, "predictions")
    assert_close(unlike.coef_, neuron.partial_fit(X, Y).coef_, "weights")
    assert_close(net.fit(IMAGES, X[:23, 0]).predict(IMAGES), expected, "predictions")
