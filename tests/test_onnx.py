"""Models exported to ONNX return in onnxruntime what the estimators return here."""

import sys
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from reference_device import ReferenceDevice
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder, StandardScaler
from test_pickles import TEXTS, estimators

import sknn
from sknn import layers
from sknn.engine.devices import DEVICES
from sknn.export.converters import NETWORKS
from sknn.export.estimators import methods_of
from sknn.export.layers import ACTIVATIONS, TABLE
from sknn.layers import (
    GRU,
    LSTM,
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
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    LocalResponseNormalization,
    MaxPooling2D,
    RadialBasis,
    RandomCrop,
    RepeatVector,
    Reshape,
    Residual,
    Sequential,
    SimpleRNN,
    UpSampling2D,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

X, Y = load_iris(return_X_y=True)
X, Y = X[::9], Y[::9]
RANDOM = np.random.RandomState(0)
#: Largest difference, relative to the largest number.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
DTYPES = ("float32", "float64")
BATCHES = (1, 2, 17)


def session(model):
    """Return a checked model as onnxruntime runs it."""
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(model, **inputs):
    """Return the outputs of a model, by name."""
    opened = session(model)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(None, inputs), strict=True))


def assert_same(found, expected):
    """Compare one output with what the estimator returns."""
    expected = np.asarray(expected)
    if found.dtype not in TOLERANCE:
        assert found.tolist() == expected.reshape(found.shape).tolist()
        return
    assert found.size == expected.size
    scale = np.abs(expected).max()
    difference = np.abs(found - expected.reshape(found.shape)).max()
    assert difference <= TOLERANCE[found.dtype] * scale


def assert_all_same(model, expected, inputs):
    """Compare outputs, in order, with what the estimator returns, for batches of any size."""
    opened = session(model)
    for n in BATCHES:
        found = opened.run(None, {name: value[:n] for name, value in inputs.items()})
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other[:n])


def expectation(net, method, data):
    """Return what an estimator's exported method is to return."""
    if method != "predict":
        return [getattr(net, method)(data)]
    if isinstance(net, sknn.ReconstructionOutlierDetector):
        return [net.predict(data), net.decision_function(data)]
    if isinstance(net, sknn.PerceptronClassifier):
        sums = net.decision_function(data)
        return [net.predict(data), np.stack([-sums, sums], 1) if sums.ndim == 1 else sums]
    if hasattr(net, "predict_proba"):
        return [net.predict(data), net.predict_proba(data)]
    return [net.predict(data)]


def assert_exports(net, data, dtype, **arguments):
    """Compare all of an estimator's methods."""
    data = data.astype(dtype)
    for method in methods_of(net):
        given = data if method != "inverse_transform" else net.transform(data).astype(dtype)
        model = sknn.to_onnx(net, given, method=method, **arguments)
        assert_all_same(model, expectation(net, method, given), {"X": given})


@cache
def fitted(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = estimators()[name]
        texts = isinstance(net, (sknn.CharMarkovChain, sknn.CharRNN, sknn.Seq2SeqRNN))
        return net.fit(*(TEXTS, [text[::-1] for text in TEXTS]) if texts else (X, Y))


@pytest.fixture
def defined(monkeypatch):
    """Fit and predict by the operations' definitions, in float64: nothing is compiled."""
    monkeypatch.setitem(DEVICES, "cpu", ReferenceDevice())


# --- estimators

OF_TABLES = ["tabular", "tabular-regressor"]
OF_NUMBERS = sorted(estimators().keys() - {"markov-chain", "char-rnn", "seq2seq", *OF_TABLES})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_estimators(name, dtype):
    net = fitted(name)
    if name == "classifier-float32" and dtype == "float64":  # it computes in float32 itself
        model = sknn.to_onnx(net)
        assert_all_same(model, expectation(net, "predict", X), {"X": X.astype("float32")})
    else:
        assert_exports(net, X, dtype)


def test_the_table_has_all_networks_and_layers():
    of_fits = {type(net) for net in estimators().values()} - {sknn.CharMarkovChain}
    derived = {sknn.ConvNetTransformer, sknn.ConvNetRegressor, sknn.RNNRegressor}
    assert of_fits | derived == set(NETWORKS)
    others = {"Layer", "EncoderDecoder"}  # the latter is a part of Seq2SeqRNN
    for name in set(layers.__all__) - others:
        assert any(kind in TABLE for kind in getattr(layers, name).__mro__), name


def test_a_swap_of_probabilities_would_be_found():
    net = fitted("classifier")
    found = run(sknn.to_onnx(net, X), X=X)["probabilities"]
    with pytest.raises(AssertionError):
        assert_same(found[:, ::-1], net.predict_proba(X))


def test_convnet_transformer(defined):
    made = [Conv2D(2, 2), BatchNormalization(), Activation("tanh"), Flatten()]
    images = RANDOM.rand(17, 4, 3, 2)
    net = sknn.ConvNetRegressor(made, dtype="float64", max_iter=1).fit(images, images[:, 0, 0])
    for layer in (2, -2):
        features = sknn.ConvNetTransformer(net, layer).fit(images)
        for dtype in DTYPES:
            assert_exports(features, images, dtype)
    assert_exports(features, images.reshape(17, -1), "float64")
    assert_exports(net, images.reshape(17, -1), "float32")
    model = sknn.to_onnx(net, (images * 255).astype("uint8"))
    bytes_ = (images * 255).astype("uint8")
    assert_all_same(model, [net.predict(bytes_)], {"X": bytes_})
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [4, 3, 2]


# --- layers

IMAGE, ROWS, STEPS = (7, 6, 4), (5,), (4, 3)
PADDING = ((1, 0), (2, 1))
LAYERS = {
    "dense": ([Dense(3, activation="softmax"), Dense(2, use_bias=False)], ROWS),
    "images to dense": ([Conv2D(2, 2), Dense(3)], IMAGE),
    "valid": ([Conv2D(3, 3)], IMAGE),
    "same": ([Conv2D(3, (3, 2), padding="same", activation="relu")], IMAGE),
    "strided": ([Conv2D(3, 3, (2, 3), "same", use_bias=False)], IMAGE),
    "padded": ([Conv2D(3, 4, 2, PADDING)], IMAGE),
    "dilated": ([Conv2D(3, 3, padding="same", dilation_rate=(2, 1))], IMAGE),
    "groups": ([Conv2D(6, 3, groups=2)], IMAGE),
    "depthwise": ([Conv2D(8, 3, 2, "same", groups=4), Conv2D(3, 1)], IMAGE),
    "transposed": ([Conv2DTranspose(3, 3, 2)], IMAGE),
    "transposed same": ([Conv2DTranspose(3, 2, 3, "same", use_bias=False)], IMAGE),
    "transposed padded": ([Conv2DTranspose(3, 4, (2, 1), PADDING, dilation_rate=2)], IMAGE),
    "max": ([MaxPooling2D(), MaxPooling2D(2, 1, "same")], IMAGE),
    "max padded": ([MaxPooling2D(3, 2, PADDING)], IMAGE),
    "average": ([AveragePooling2D(3, 2)], IMAGE),
    "average same": ([AveragePooling2D((3, 2), padding="same"), Conv2D(2, 1)], IMAGE),
    "average padded": ([AveragePooling2D(3, (2, 1), PADDING)], IMAGE),
    "global": ([GlobalAveragePooling2D()], IMAGE),
    "planar global": ([Conv2D(3, 1), GlobalAveragePooling2D()], IMAGE),
    "nearest": ([UpSampling2D((2, 3)), Conv2D(2, 2), UpSampling2D()], IMAGE),
    "bilinear": ([UpSampling2D((2, 3), "bilinear")], IMAGE),
    "normalized": ([Conv2D(3, 1), BatchNormalization(0.5, 1e-2)], IMAGE),
    "normalized rows": ([BatchNormalization(0.5), Dense(2)], ROWS),
    "local response": ([LocalResponseNormalization(4, 0.5)], IMAGE),
    "cropped": ([RandomCrop(4, 3), layers.RandomFlip(), layers.RandomShift(1, 1)], IMAGE),
    "residual": ([Residual([Conv2D(4, 3, padding="same"), Activation("relu")])], IMAGE),
    "shortcut": ([Residual([Conv2D(3, 1)], [Sequential([Conv2D(3, 1)])])], IMAGE),
    "shortcut only": ([Residual([], [Conv2D(4, 1)])], IMAGE),
    "concatenated": ([Concatenate([[Conv2D(3, 1)], [], [MaxPooling2D(1)]])], IMAGE),
    "concatenated rows": ([Flatten(), Concatenate([[], [Dense(3)]])], ROWS),
    "reshaped": ([Conv2D(2, 2), Reshape((2, 3, 10)), Conv2D(2, 1), Flatten()], IMAGE),
    "noise": (
        [Dropout(0.3), layers.GaussianNoise(0.1), layers.MaskingNoise(0.1),
         layers.SaltAndPepperNoise(0.1), layers.ActivityRegularization(0.1)], ROWS,
    ),
    "tied": (
        [Dense(3, name="code"), layers.ContractivePenalty("code", "identity", 0.1),
         layers.TiedDense("code", 5)], ROWS,
    ),
    "grouped": ([Flatten(), Dense(6), layers.GroupedDense(2, 3, activation="tanh"),
                 layers.GroupedDense(3, 2, use_bias=False)], ROWS),
    "numbers": ([Flatten(), layers.NumericEmbedding(), layers.Scale(),
                 layers.ParametricActivation("elu", 0.7)], ROWS),
    "pieces": ([Flatten(), layers.NumericEmbedding("piecewise_linear", bins=4),
                layers.NumericEmbedding(concatenate=False)], ROWS),
    "one member": ([layers.EnsembleDense(3, 1, scale_inputs="normal"),
                    layers.EnsembleDense(4, 1, shared=False)], IMAGE),
    "sampling": ([Dense(6), layers.GaussianSampling()], ROWS),
    "repeated": ([Flatten(), RepeatVector(3), SimpleRNN(2)], ROWS),
    **{
        function: ([RadialBasis(3, function)], ROWS)
        for function in ("gaussian", "multiquadric", "inverse_multiquadric", "thin_plate")
    },
    "steps": ([Dense(2, activation="softmax"), BatchNormalization(), Flatten()], STEPS),
    **{
        f"{name} {reverse}": ([cell(3, return_sequences=True, reverse=reverse, **how), cell(2)],
                              STEPS)
        for name, cell, how in (
            ("rnn", SimpleRNN, {"activation": "logistic"}), ("lstm", LSTM, {"use_bias": False}),
            ("gru", GRU, {}), ("reset after", GRU, {"reset_after": True}),
        )
        for reverse in (False, True)
    },
    "both": ([Bidirectional(GRU(2, return_sequences=True)), Bidirectional(SimpleRNN(3))], STEPS),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, defined):
    made, shape = LAYERS[name]
    data, targets = RANDOM.normal(size=(17, *shape)), RANDOM.normal(size=(17, 2))
    made = [*([Reshape(STEPS)] if shape == STEPS else []), *made, Flatten(), Dense(2)]
    net = sknn.ConvNetRegressor(made, dtype="float64", max_iter=2, batch_size=5)
    data = data if shape == IMAGE else data.reshape(17, -1)
    net.fit(data, targets)
    for dtype in DTYPES:
        assert_exports(net, data, dtype)


def test_columns(defined):
    data = np.column_stack([RANDOM.normal(size=(17, 2)), np.arange(17) % 3, 3 + np.arange(17) % 2])
    parts = [[layers.Select(0, 1)], [layers.Select(2, 4), CategoryEmbedding([3, 2], 2)]]
    net = sknn.ConvNetRegressor([Flatten(), Concatenate(parts)], dtype="float64", max_iter=2)
    net.fit(data, data[:, 0])
    for dtype in DTYPES:
        assert_exports(net, data, dtype)


@pytest.mark.parametrize("function", sorted(ACTIVATIONS.keys() - {"softmax"}))
def test_activations(function, defined):
    net = sknn.MLPNetRegressor("squared_error", 4, max_iter=1).fit(X, X[:, :2])
    net.activation = Activation(function, 0.7 if function in ("elu", "leaky_relu") else None)
    for dtype in DTYPES:
        assert_exports(net, X - X.mean(axis=0), dtype)


@dataclass(frozen=True, repr=False)
class _Unknown(layers.Layer):
    pass


def test_unknown_layers_are_named(defined):
    net = sknn.ConvNetClassifier([_Unknown(), Flatten()], max_iter=1).fit(X, Y)
    with pytest.raises(TypeError, match="_Unknown.* has no expression in ONNX"):
        sknn.to_onnx(net, X)


# --- labels

LABELS = {
    "str": np.array(["versicolor", "virginica", "setosa"])[Y],
    "objects": np.array(["b", "a", "c"], object)[Y],
    "two": Y > 0,
    "two str": np.array(["yes", "no"])[(Y > 0) * 1],
    "floats": Y * 2.0 - 1,
    "one": np.full(17, "only"),
    "small": (Y + 3).astype("int8"),
    "multilabel": np.eye(3, dtype=int)[Y] | (X[:, :3] > 3),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name, defined):
    labels = LABELS[name]
    for kind in (sknn.MLPNetClassifier, sknn.RBFNetClassifier, sknn.PerceptronClassifier):
        if name in ("multilabel", "one") and kind is sknn.PerceptronClassifier:
            continue  # it does not take them
        size = "n_centers" if kind is sknn.RBFNetClassifier else "max_iter"
        net = kind(random_state=0, **{size: 3}).fit(X, labels)
        for dtype in DTYPES:
            assert_exports(net, X, dtype)


def test_labels_that_onnx_has_not(defined):
    net = sknn.MLPNetClassifier(2, max_iter=1).fit(X, Y)
    net.classes_ = np.array([0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match="integers or str"):
        sknn.to_onnx(net, X)


def test_several_outputs(defined):
    net = sknn.MLPNet("regression", hidden_layer_sizes=3, max_iter=2, batch_norm=True)
    net.fit(X, X[:, :2])
    (output,) = sknn.to_onnx(net, X).graph.output
    assert output.name == "variable" and output.type.tensor_type.shape.dim[1].dim_value == 2
    assert_exports(net, X, "float64")
    net = sknn.MLPNetRegressor("squared_error", 3, max_iter=2).fit(X, Y)
    assert run(sknn.to_onnx(net, X), X=X)["variable"].shape == (17, 1)


def test_several_quantiles(defined):
    net = sknn.MLPNetRegressor("quantile", 3, quantile=[0.2, 0.3, 0.7], max_iter=1, random_state=0)
    outputs = net.fit(X, Y).activations(X, -1)
    assert (np.diff(outputs) < 0).any()  # they are to be sorted
    for dtype in DTYPES:
        assert_exports(net, X, dtype)


# --- tables

_NUMBERS = np.column_stack([
    np.where(np.arange(34) % 5, RANDOM.normal(1e6, 10.0, 34), np.nan),
    np.linspace(-1, 1, 34) ** 3,
    RANDOM.permutation(34) % 3 - 1.0,
    np.where(np.arange(34) % 4, RANDOM.permutation(34) % 12 + 0.5, np.nan),
    RANDOM.permutation(34) % 2 + 7.0,
    np.where(np.arange(34) % 3, RANDOM.permutation(34) % 4, np.nan),
]).astype("float32")  # fmt: skip
#: Rows like them, and categories that are not among them.
ROWS_OF_TABLES = np.vstack([_NUMBERS[:12], _NUMBERS[:5] + 3])
ROWS_OF_TABLES[3:5] = np.nan
_TARGETS = 1e3 + np.nan_to_num(_NUMBERS[:, 5]) * 20 + _NUMBERS[:, 1]
_LEVELS = np.arange(34) % 3


def table_net(task, **given):
    kind = sknn.TabularNetRegressor if task == "regression" else sknn.TabularNetClassifier
    given = {
        "hidden_layer_sizes": (4,), "max_iter": 3, "dtype": "float64", "random_state": 0,
        "categorical_features": [2, 3, 4, 5], "category_embedding": 2, "batch_size": 9,
    } | given  # fmt: skip
    return kind(**given)


TABLES = {
    "one-hot, embedded": ("classes", {}, _LEVELS),
    "embedded": ("classes", {"max_one_hot": 0, "n_ensemble": 2}, np.array(list("abc"))[_LEVELS]),
    "one-hot": ("regression", {"max_one_hot": 20, "numeric_embedding": None}, _TARGETS),
    "two classes": ("classes", {"n_ensemble": 3}, _LEVELS > 0),
    "logistic": ("classes", {"output_activation": "logistic"}, _LEVELS > 0),
    "labels": ("classes", {"cv": 2, "loss": "squared_error", "label_smoothing": 0.0},
               np.eye(3, dtype=int)[_LEVELS]),
    "not calibrated": ("classes", {"calibrate": False, "early_stopping": False}, _LEVELS),
    "bag": ("classes", {"cv": 3, "n_ensemble": 2, "hidden_layer_sizes": ()}, _LEVELS),
    "bag of numbers": ("regression", {"cv": 2}, _TARGETS),
    "quantiles": ("regression", {"loss": "quantile", "quantile": [0.1, 0.4, 0.5, 0.9],
                                 "n_ensemble": 2}, _TARGETS),
    "targets": ("regression", {"numeric_embedding": "piecewise_linear", "clip_output": False},
                np.column_stack([_TARGETS, _LEVELS])),
    "counts": ("regression", {"loss": "poisson", "smooth_clip": None}, _LEVELS),
    "signs": ("regression", {"n_ensemble": 2, "numeric_embedding": None, "refit": True,
                             "parametric_activation": False}, _TARGETS),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables(name, defined):
    task, given, y = TABLES[name]
    net = table_net(task, **given).fit(_NUMBERS, y)
    for dtype in DTYPES:
        assert_exports(net, ROWS_OF_TABLES, dtype)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_tables_of_whole_numbers(dtype, defined):
    table = RANDOM.randint(2**10, size=(34, 3))
    table[:, 0] += 2**40  # float32 would not tell them apart
    table = table.astype(dtype)
    net = table_net("regression", categorical_features=[1], max_one_hot=3).fit(table, _TARGETS)
    model = sknn.to_onnx(net, table)
    assert_all_same(model, [net.predict(table)], {"X": table})


@pytest.mark.parametrize("name", OF_TABLES)
def test_tables_in_float32(name):
    table = np.round(X * 10)
    net = clone(fitted(name)).fit(table, Y)
    for dtype in ("float32", "int64"):
        given = table.astype(dtype)
        model = sknn.to_onnx(net, given)
        assert run(model, X=given).popitem()[1].dtype == np.float32
        assert_all_same(model, expectation(net, "predict", given), {"X": given})
    given = table.astype("float32")
    assert_all_same(sknn.to_onnx(net), expectation(net, "predict", given), {"X": given})
    (read,) = sknn.to_onnx(fitted(name)).graph.input  # its categories are no float32 numbers
    assert read.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE


@pytest.mark.parametrize("embedding", [None, "periodic", "piecewise_linear"])
def test_tables_of_one_column(embedding, defined):
    net = table_net("regression", categorical_features=None, numeric_embedding=embedding)
    for column in (_NUMBERS[:, :1], np.full((34, 1), np.nan)):
        net.fit(column, _TARGETS)
        for dtype in DTYPES:
            assert_exports(net, ROWS_OF_TABLES[:, :1], dtype)
    net.set_params(categorical_features=[0]).fit(np.full((34, 1), np.nan), _TARGETS)
    assert_exports(net, ROWS_OF_TABLES[:, :1], "float64")


def test_categories_of_tables_are_compared_exactly(defined):
    table = RANDOM.permutation(34)[:, None] % 5 / 10
    net = table_net("regression", categorical_features=[0]).fit(table, _TARGETS)
    assert len(np.unique(net.predict(table))) == 5
    assert_all_same(sknn.to_onnx(net), [net.predict(table)], {"X": table})
    for dtype in ("float32", "int64"):
        with pytest.raises(ValueError, match=f"categories that {dtype} does not hold: 'x0'.*as fl"):
            sknn.to_onnx(net, table.astype(dtype))
    table = 2**60 + RANDOM.permutation(34)[:, None] % 5
    net.fit(table, _TARGETS)
    assert_all_same(sknn.to_onnx(net), [net.predict(table)], {"X": table})
    with pytest.raises(ValueError, match="float64 does not hold: 'x0'. Give X as int64"):
        sknn.to_onnx(net, table.astype("float64"))


def test_frames(defined):
    frame = pd.DataFrame(_NUMBERS[:, 1:4]).add_prefix("x").assign(b=_LEVELS, c=_LEVELS > 1)
    numbers = frame.to_numpy("float64")
    net = table_net("classes", categorical_features="from_dtype").fit(frame, _LEVELS)
    expected = [net.predict(frame), net.predict_proba(frame)]
    assert_all_same(sknn.to_onnx(net, frame), expected, {"X": numbers})
    frame["job"], frame["day"] = np.array(list("xyz"))[_LEVELS], pd.Timestamp(0)
    net.fit(frame, _LEVELS)
    for X, named in ((frame, "'job', 'day'"), (None, "'job'"), (frame.to_numpy(), "5, 6")):
        with pytest.raises(ValueError, match=f"something else than numbers: {named}\\."):
            sknn.to_onnx(net, X)


def test_text_of_tables_is_encoded_before(defined):
    frame = pd.DataFrame({"a": _NUMBERS[:, 1], "job": np.array(list("xyz"))[_LEVELS]})
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, ["job"]), remainder="passthrough")
    net = table_net("classes", categorical_features=[0], dtype="float32")
    pipeline = make_pipeline(columns, net).fit(frame, _LEVELS)
    model = sknn.to_onnx(pipeline, frame)
    frame.loc[2, "job"] = "unseen"
    expected = [pipeline.predict(frame), pipeline.predict_proba(frame)]
    assert_all_same(model, expected, {name: frame[[name]].to_numpy() for name in frame})


# --- sequences and texts

LENGTHS = 1 + np.arange(17) % 5
LISTS = [RANDOM.rand(n, 2) for n in LENGTHS]
TOKENS = [np.arange(n) % 4 for n in LENGTHS]


def padded(lists, value=0):
    shape = len(lists), max(map(len, lists)), *lists[0].shape[1:]
    out = np.full(shape, value, lists[0].dtype)
    for row, some in zip(out, lists):
        row[: len(some)] = some
    return out


def by_step(lists):
    """Return predictions for lists as an array, where padded steps repeat the last one."""
    found = padded(lists)
    for row, some in zip(found, lists):
        row[len(some) :] = some[-1]
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_ragged_sequences(cell, both, dtype, defined):
    net = sknn.RNNClassifier(
        cell, (3, 2), bidirectional=both, dtype="float64", max_iter=1, reset_after=both
    ).fit(LISTS, Y)
    lists = [some.astype(dtype) for some in LISTS]
    inputs = {"X": padded(lists, 7.0), "lengths": LENGTHS}
    model = sknn.to_onnx(net, lists)
    assert_all_same(model, expectation(net, "predict", lists), inputs)
    whole = padded(lists)  # sequences of one length need no second input
    assert_all_same(sknn.to_onnx(net, whole), expectation(net, "predict", whole), {"X": whole})
    longer = np.concatenate([whole, whole], axis=1)
    assert_same(run(sknn.to_onnx(net, whole), X=longer)["probabilities"], net.predict_proba(longer))
    net = sknn.RNNRegressor(
        cell, 3, bidirectional=both, dtype="float64", max_iter=1, return_sequences=True
    ).fit(LISTS, LISTS)
    assert_all_same(sknn.to_onnx(net, lists), [by_step(net.predict(lists))], inputs)


@pytest.mark.parametrize("mask", [-1.0, np.nan])
def test_masks(mask, defined):
    data = padded(LISTS, mask)
    net = sknn.RNNRegressor(
        "gru", 3, bidirectional=True, mask_value=mask, return_sequences=True, max_iter=1
    ).fit(data, data[:, :, 0] * 0 + 1 if mask == -1 else np.ones(data.shape[:2]))
    for dtype in DTYPES:
        assert_exports(net, data, dtype)
    tokens = padded([some.astype(float) for some in TOKENS], mask)
    net = sknn.RNNClassifier("rnn", 3, embedding=2, mask_value=mask, max_iter=1).fit(tokens, Y)
    assert_exports(net, tokens, "float64")


def test_steps(defined):
    many = np.arange(17 * 4).reshape(17, 4) % 3
    net = sknn.RNNClassifier("rnn", 3, return_sequences=True, activation="relu", max_iter=1)
    net.fit(X, np.array(["x", "y", "z"])[many])
    assert_exports(net, X, "float64")
    net.fit(X, many > 1)
    assert_exports(net, X, "float64")
    assert_exports(net, X[..., None], "float32")
    assert_exports(net, X[:, :2, None], "float32")  # of another length


@pytest.mark.parametrize("embedding", ["one-hot", 3, RANDOM.rand(4, 2), Embedding(6, 2)])
def test_tokens(embedding, defined):
    net = sknn.RNNClassifier(
        "gru", 3, bidirectional=True, embedding=embedding, dtype="float64", max_iter=1
    ).fit(TOKENS, Y)
    inputs = {"X": padded(TOKENS), "lengths": LENGTHS}
    assert_all_same(sknn.to_onnx(net, TOKENS), expectation(net, "predict", TOKENS), inputs)
    inputs["X"] = padded(TOKENS, -9).astype("float32")  # the type of the outputs, too
    model = sknn.to_onnx(net, inputs["X"], lengths=True)
    assert_all_same(model, expectation(net, "predict", TOKENS), inputs)


def test_autoencoders_of_sequences(defined):
    net = sknn.SequenceAutoencoderTransformer(
        (3, 2), "lstm", bidirectional=True, dtype="float64", max_iter=1
    ).fit(LISTS)
    detector = sknn.ReconstructionOutlierDetector(FrozenEstimator(net)).fit(LISTS)
    inputs = {"X": padded(LISTS, 7.0), "lengths": LENGTHS}
    for method in ("transform", "score_samples"):
        model = sknn.to_onnx(net, LISTS, method=method)
        assert_all_same(model, [getattr(net, method)(LISTS)], inputs)
    model = sknn.to_onnx(net, LISTS, method="reconstruct")
    assert_all_same(model, [padded(net.reconstruct(LISTS))], inputs)
    assert_all_same(sknn.to_onnx(detector, LISTS), expectation(detector, "predict", LISTS), inputs)
    codes = net.transform(LISTS)
    model = sknn.to_onnx(net, codes, method="inverse_transform")
    assert_all_same(model, [net.inverse_transform(codes)], {"X": codes})
    net = sknn.SequenceAutoencoderTransformer(2, "gru", mask_value=-1, max_iter=1)
    data = padded(LISTS, -1.0)
    for dtype in DTYPES:
        assert_exports(net.fit(data), data, dtype)


def test_log_loss_of_reconstructions(defined):
    net = sknn.VariationalAutoencoderTransformer(2, 3, loss="log_loss", max_iter=1)
    net.fit(X / 8)
    for dtype in DTYPES:
        assert_exports(net, X / 8, dtype)
    net.codes = "sample"
    with pytest.raises(ValueError, match="codes='sample'"):
        sknn.to_onnx(net)


def tokens_of(net, texts, name="_characters"):
    codes = [getattr(net, name).encode(text)[0] for text in texts]
    return padded(codes), np.array([len(some) for some in codes])


@pytest.mark.parametrize("boundaries", [True, False])
def test_characters(boundaries, request):
    if boundaries:
        net = fitted("char-rnn")
    else:
        request.getfixturevalue("defined")
        net = sknn.CharRNN("gru", 3, 2, embedding=2, reset_after=True, max_iter=1).fit(TEXTS)
    texts = ["rain", "in the", "s", "i"]
    codes, lengths = tokens_of(net, texts)
    if boundaries:  # the last symbol stands where a text begins, too
        codes, lengths = np.insert(codes, 0, len(net.vocabulary_) - 1, axis=1), lengths + 1
    for method in ("predict_proba", "transform"):
        model = sknn.to_onnx(net, np.array(texts), method=method)
        assert_all_same(model, [getattr(net, method)(texts)], {"X": codes, "lengths": lengths})
    found = run(sknn.to_onnx(net), X=codes[1:2])["probabilities"]  # none is padded
    assert_same(found, net.predict_proba(texts[1]))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_translation(cell, defined):
    words = ["ab", "ba", "abb", "bab", "a", "b", "aab"] * 3
    net = sknn.Seq2SeqRNN(
        cell, 12, 2, embedding=None if cell == "gru" else 3, batch_size=7, max_iter=25,
        learning_rate_init=0.05, random_state=0,
    ).fit(words, [word[::-1].upper() for word in words])  # fmt: skip
    codes, lengths = tokens_of(net, words, "_input_characters")
    opened, symbols = session(sknn.to_onnx(net, words)), [*net.output_vocabulary_, ""]
    for n in (1, 21):
        (found,) = opened.run(None, {"X": codes[:n], "lengths": lengths[:n]})
        found = ["".join(symbols[token] for token in row) for row in found]
        assert found == net.predict(words[:n]).tolist()
    assert len(set(found)) > 2
    net.beam_width = 2
    with pytest.raises(ValueError, match="beam_width is 2"):
        sknn.to_onnx(net)


# --- pipelines and options


@pytest.fixture(scope="module")
def pipeline():
    scalers = StandardScaler(), MinMaxScaler(), PCA(3)
    return make_pipeline(*scalers, small_mlp()).fit(X, LABELS["str"])


def small_mlp():
    return sknn.MLPNetClassifier((3,), max_iter=2, random_state=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pipelines(pipeline, dtype):
    data = X.astype(dtype)
    expected = [pipeline.predict(data), pipeline.predict_proba(data)]
    assert_all_same(sknn.to_onnx(pipeline, data), expected, {"X": data})
    options = {id(pipeline[-1]): {"zipmap": False}}
    assert_all_same(skl2onnx.to_onnx(pipeline, data, options=options), expected, {"X": data})


def test_a_scaler_of_one_feature(defined):
    """onnxruntime would make a division next to a product one by a float32 number."""
    net = sknn.MLPNetRegressor("squared_error", 3, max_iter=2)
    model = make_pipeline(StandardScaler(), net).fit(X[:, :1], X[:, 1])
    assert_all_same(sknn.to_onnx(model, X[:, :1]), [model.predict(X[:, :1])], {"X": X[:, :1]})


def test_maps_of_probabilities(pipeline):
    data = X.astype("float32")
    expected = pipeline.predict_proba(data)
    for dtype in DTYPES:
        maps = run(
            sknn.to_onnx(pipeline, X.astype(dtype), options={"zipmap": True}), X=X.astype(dtype)
        )
        assert list(maps) == ["output_label", "output_probability"]
        assert_same(np.float32([[*one.values()] for one in maps["output_probability"]]), expected)
        assert [*maps["output_probability"][0]] == pipeline.classes_.tolist()
        columns = run(
            sknn.to_onnx(pipeline, X.astype(dtype), options={"zipmap": "columns"}),
            X=X.astype(dtype),
        )
        label, *shares = columns
        assert label == "output_label" and shares == ["s" + name for name in pipeline.classes_]
        assert_same(np.stack([*columns.values()][1:], axis=1).astype("f4"), expected)
    by_default = run(skl2onnx.to_onnx(pipeline, data), X=data)
    assert list(by_default) == ["output_label", "output_probability"]
    ours, theirs = fitted("classifier"), LogisticRegression().fit(X, Y)
    for options in (None, {"zipmap": False}, {"zipmap": "columns"}):  # the names are theirs
        names = [
            [out.name for out in skl2onnx.to_onnx(net, data, options=options).graph.output]
            for net in (ours, theirs)
        ]
        assert names[0] == names[1]


def test_searches_and_ensembles(defined):
    searched = make_pipeline(StandardScaler(), small_mlp())
    grid = GridSearchCV(searched, {"mlpnetclassifier__alpha": [0, 1]}, cv=2)
    both = [("a", small_mlp()), ("b", LogisticRegression())]
    voting = VotingClassifier(both, voting="soft", flatten_transform=False)
    encoder = sknn.AutoencoderTransformer(2, max_iter=1)
    features = make_pipeline(StandardScaler(), encoder, LogisticRegression())
    for model in (grid, voting, features):
        model.fit(X, Y)
        expected = [model.predict(X), model.predict_proba(X)]
        assert_all_same(sknn.to_onnx(model, X), expected, {"X": X})
    frozen = FrozenEstimator(grid)
    assert_all_same(sknn.to_onnx(frozen, X), [grid.predict(X), grid.predict_proba(X)], {"X": X})


def test_methods_in_pipelines(defined):
    scaler, net = MinMaxScaler().fit(X), sknn.AutoencoderTransformer(2, max_iter=1)
    data = scaler.transform(X)
    model = make_pipeline(scaler, net.fit(data))
    for method in ("transform", "reconstruct", "score_samples"):
        expected = [getattr(net, method)(data)]
        assert_all_same(sknn.to_onnx(model, X, method=method), expected, {"X": X})


class Derived(sknn.MLPNetRegressor):
    pass


def test_derived_classes(defined):
    assert_exports(Derived("squared_error", 3, max_iter=1).fit(X, Y), X, "float64")


@pytest.mark.parametrize("opset", [13, 17, 22])
@pytest.mark.parametrize("name", ["convnet", "rnn", "sequence-autoencoder"])
def test_opsets(name, opset):
    net = fitted(name)
    model = sknn.to_onnx(net, X, target_opset=opset)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == opset
    assert_all_same(model, expectation(net, next(iter(methods_of(net))), X), {"X": X})
    assert sknn.to_onnx(net).opset_import[0].version == 15
    with pytest.raises(ValueError, match="target_opset is 12; expected at least 13"):
        sknn.to_onnx(net, target_opset=12)


def test_the_default_input_is_that_of_the_fit():
    for name in OF_NUMBERS:
        net = fitted(name)
        dtype = "float32" if "float32" in name else "float64"
        method = next(iter(methods_of(net)))
        expected = expectation(net, method, X.astype(dtype))
        assert_all_same(sknn.to_onnx(net), expected, {"X": X.astype(dtype)})


# --- errors


def test_errors():
    net = fitted("classifier")
    with pytest.raises(NotFittedError):
        sknn.to_onnx(sknn.MLPNetClassifier(), X)
    with pytest.raises(NotFittedError):
        sknn.to_onnx(make_pipeline(StandardScaler(), sknn.MLPNetClassifier()), X)
    with pytest.raises(TypeError, match="CharMarkovChain.*not a network"):
        sknn.to_onnx(fitted("markov-chain"))
    with pytest.raises(TypeError, match="estimator is 3"):
        sknn.to_onnx(3)
    with pytest.raises(ValueError, match="X has 3 units.* was fitted to 4"):
        sknn.to_onnx(net, X[:, :3])
    with pytest.raises(ValueError, match="X has dtype <U1"):
        sknn.to_onnx(net, [["a", "b", "c", "d"]])
    with pytest.raises(ValueError, match="method is 'transform'.*'predict'"):
        sknn.to_onnx(net, X, method="transform")
    with pytest.raises(ValueError, match="lengths are for sequences"):
        sknn.to_onnx(net, X, lengths=True)
    for one in (X[0], 3, []):
        with pytest.raises(ValueError, match=r"X has the shape \(.*give X\[None\]"):
            sknn.to_onnx(net, one)
    for opset in ("15", 0, {}):
        with pytest.raises(TypeError, match="target_opset is .*expected an int, a dict or None"):
            sknn.to_onnx(net, target_opset=opset)
    with pytest.raises(TypeError, match="options is 5; expected a dict or None"):
        sknn.to_onnx(net, options=5)
    pipeline = make_pipeline(StandardScaler().fit(X), net)
    with pytest.raises(ValueError, match="X is None"):
        sknn.to_onnx(pipeline)
    with pytest.raises(ValueError, match="lengths=True is for networks"):
        sknn.to_onnx(pipeline, X, lengths=True)
    with pytest.raises(ValueError, match="with 1 features"):
        sknn.to_onnx(fitted("rnn"), X.reshape(17, 2, 2))


def test_a_network_that_is_too_large(monkeypatch):
    net = fitted("classifier")
    size = sum(coef.size for coef in (*net.coefs_, *net.intercepts_))
    monkeypatch.setattr("sknn.export.graph.MOST_BYTES", 6 * size)
    with pytest.raises(ValueError, match="most that an ONNX model holds.*X as float32"):
        sknn.to_onnx(net, X)
    sknn.to_onnx(net, X.astype("float32"))


@pytest.mark.parametrize("missing", ["onnx", "skl2onnx"])
def test_the_extra_is_named(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'pip install "sknn\[onnx\]"'):
        sknn.to_onnx(fitted("classifier"), X)
