"""Convolutional networks through their public interface."""

import copy
import io
import pickle
import warnings
from math import prod

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from joblib import Parallel, delayed, parallel_config
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler, scale
from sklearn.utils.class_weight import compute_sample_weight
from test_memory import growth

from sknn import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from sknn.architectures import ARCHITECTURES, lenet5
from sknn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    LocalResponseNormalization,
    MaxPooling2D,
    RandomCrop,
    RandomFlip,
    RandomShift,
    Residual,
    Sequential,
    UpSampling2D,
)
from sknn.layers.base import output_shape

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COUNTS, DIGIT = load_digits(return_X_y=True)
ALL_DIGITS, ALL_DIGIT = (COUNTS / 16).astype(np.float32), DIGIT
COUNTS, DIGIT = COUNTS[:300], DIGIT[:300]
DIGITS = ALL_DIGITS[:300]
IMAGES = DIGITS.reshape(-1, 8, 8)
IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = scale(IRIS)
# The amount of ink, and the row and column of its center.
GRID = np.arange(8) - 3.5
INK = IMAGES.sum(axis=(1, 2), dtype=float)
CENTERS = scale(
    np.column_stack([(IMAGES * GRID[:, None]).sum(axis=(1, 2)), (IMAGES * GRID).sum(axis=(1, 2))])
    / INK[:, None]
)
INK = scale(INK) + 4
TARGETS = {ConvNetClassifier: DIGIT, ConvNetRegressor: DIGIT / 5 - 1}

# A learning rate so small that weights do not change, to the bit.
STILL = {"solver": "sgd", "learning_rate_init": 1e-300, "alpha": 0.0}

# What small networks need to learn something.
QUICK = {"max_iter": 30, "batch_size": 20, "learning_rate_init": 0.02}

PLAIN = [Conv2D(4, 3, activation="relu"), MaxPooling2D(2)]
MIXED = [
    Conv2D(4, 3, padding="same", use_bias=False, name="stem"),
    BatchNormalization(name="norm"),
    Activation("relu"),
    Residual([Conv2D(4, 3, padding="same"), BatchNormalization()], name="block"),
    GaussianNoise(0.1),
    MaxPooling2D(2),
    Dropout(0.2),
    Flatten(),
]


def small(cls=ConvNetClassifier, layers=PLAIN, **params):
    given = {"layers": layers, "image_shape": (8, 8), "max_iter": 3, "random_state": 0}
    return cls(**{**given, **params})


def weights(net):
    """Return everything that was learned, as one list of arrays."""
    return [value for layer in net.weights_.values() for value in layer.values()]


def assert_same_bits(a, b):
    a, b = ([x] if isinstance(x, np.ndarray) else weights(x) for x in (a, b))
    assert len(a) == len(b)
    for one, other in zip(a, b):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def differ(a, b):
    return any(one.tobytes() != other.tobytes() for one, other in zip(weights(a), weights(b)))


def outputs(net, X):
    return net.predict_proba(X) if is_classifier(net) else net.predict(X)


# --- X as images and as rows


def forms_of_images():
    """Return digits in other forms, with the parameters that make the same images of them."""
    pd = pytest.importorskip("pandas")
    wide = np.zeros((600, 17, 10), np.float32)
    wide[::2, 1::2, 2:] = IMAGES
    rows = np.zeros((300, 129), np.float32)
    rows[:, 1::2] = DIGITS
    read_only = IMAGES.copy()
    read_only.flags.writeable = False
    flat, images = {"image_shape": (8, 8)}, {"image_shape": None}
    return {
        "n h w": (IMAGES, images),
        "n h w c": (IMAGES[..., None], images),
        "n h w and image_shape": (IMAGES, flat),
        "n h w c and image_shape": (IMAGES[..., None], flat),
        "n h w and (h, w, c)": (IMAGES, {"image_shape": (8, 8, 1)}),
        "rows and (h, w, c)": (DIGITS, {"image_shape": (8, 8, 1)}),
        "rows and a list": (DIGITS, {"image_shape": [8, 8]}),
        "Fortran images": (np.asfortranarray(IMAGES), images),
        "Fortran rows": (np.asfortranarray(DIGITS), flat),
        "a view of images": (wide[::2, 1::2, 2:], images),
        "a view of rows": (rows[:, 1::2], flat),
        "transposed": (IMAGES.transpose(2, 1, 0).copy().transpose(2, 1, 0), images),
        "reversed": (IMAGES[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1], images),
        "read-only": (read_only, images),
        "sparse": (sp.csr_array(DIGITS), flat),
        "sparse by columns": (sp.csc_matrix(DIGITS), flat),
        "pandas": (pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)]), flat),
        "lists of rows": (DIGITS.tolist(), {**flat, "dtype": "float32"}),
        "lists of images": (IMAGES.tolist(), {**images, "dtype": "float32"}),
        "objects": (IMAGES.astype(object), {**images, "dtype": "float32"}),
        "float64": (IMAGES.astype(float), {**images, "dtype": "float32"}),
        "big-endian": (IMAGES.astype(">f4"), {**images, "dtype": "float32"}),
        "float16": (IMAGES.astype(np.float16), images),
    }


@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_images_of_any_form_are_the_same(cls):
    expected = small(cls).fit(DIGITS, TARGETS[cls])
    bits = outputs(expected, DIGITS)
    assert bits.dtype == np.float32
    for name, (X, params) in forms_of_images().items():
        before = copy.deepcopy(X)
        net = small(cls, **params).fit(X, TARGETS[cls])
        assert_same_bits(net, expected)
        assert net.image_shape_ == (8, 8, 1) and net.n_features_in_ == 64, name
        assert_same_bits(outputs(net, X), bits)
        # fitted to one form, it accepts the others
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*feature names")
            assert_same_bits(outputs(net, DIGITS), bits)
        assert_same_bits(outputs(net, IMAGES), bits)
        assert_same_bits(outputs(net, IMAGES[:1]), bits[:1].copy())
        if isinstance(X, np.ndarray):
            np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", "uint8 int8 uint16 int64 float16 float32 bool".split())
def test_all_but_float64_is_computed_in_float32(dtype):
    X = (COUNTS > 7 if dtype == "bool" else COUNTS).astype(dtype)
    expected = small().fit(X.astype(np.float32), DIGIT)
    for given, image_shape in ((X, (8, 8)), (X.reshape(-1, 8, 8), None)):
        net = small(image_shape=image_shape).fit(given, DIGIT)
        assert net.weights_["layers.0"]["kernel"].dtype == np.float32
        assert_same_bits(net, expected)
        assert_same_bits(outputs(net, given), outputs(expected, X.astype(np.float32)))


def test_dtype():
    double = small().fit(COUNTS, DIGIT)
    assert double.weights_["layers.0"]["kernel"].dtype == np.float64
    assert double.predict_proba(COUNTS.astype(np.uint8)).dtype == np.float64
    assert_same_bits(double, small(dtype="float64").fit(COUNTS.astype(np.uint8), DIGIT))
    single = small(dtype="float32").fit(COUNTS, DIGIT)
    assert_same_bits(single, small().fit(COUNTS.astype(np.float32), DIGIT))
    for solver in ("adam", "lbfgs"):
        net = small(ConvNetRegressor, solver=solver, dtype="float32").fit(COUNTS, DIGIT)
        assert net.predict(COUNTS).dtype == np.float32


def test_channels():
    X = DIGITS.reshape(-1, 4, 4, 4)
    net = small(layers=[Conv2D(4, 3)], image_shape=(4, 4, 4)).fit(DIGITS, DIGIT)
    assert net.weights_["layers.0"]["kernel"].shape == (3, 3, 4, 4)
    other = small(layers=[Conv2D(4, 3)], image_shape=None).fit(X, DIGIT)
    assert_same_bits(net, other)
    planes = np.ascontiguousarray(X.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)
    assert_same_bits(small(layers=[Conv2D(4, 3)], image_shape=None).fit(planes, DIGIT), other)
    assert_same_bits(other.predict_proba(planes), net.predict_proba(DIGITS))


@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_a_row_without_image_shape_is_an_image_of_one_line(cls):
    layers = [Conv2D(4, (1, 5), activation="relu"), MaxPooling2D((1, 2))]
    net = small(cls, layers, image_shape=None).fit(DIGITS, TARGETS[cls])
    assert net.image_shape_ == (1, 64, 1)
    for image_shape in ((1, 64), (1, 64, 1)):
        other = small(cls, layers, image_shape=image_shape).fit(DIGITS, TARGETS[cls])
        assert_same_bits(net, other)
    assert_same_bits(outputs(net, DIGITS), outputs(net, sp.csr_array(DIGITS)))


def test_feature_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)])
    net = small(warm_start=True).fit(frame, DIGIT)
    assert list(net.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        net.predict(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="feature names"):
        net.predict(DIGITS)
    # images have none
    net.predict(IMAGES)
    net.fit(IMAGES, DIGIT)
    assert not hasattr(net.set_params(warm_start=False).fit(IMAGES, DIGIT), "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.predict(DIGITS)


# --- architectures by name


@pytest.mark.parametrize("n_features", [1, 2, 5])
@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_the_default_works_on_plain_features(cls, n_features):
    X = np.random.RandomState(0).normal(size=(100, n_features)).astype(np.float32)
    y = X[:, 0] > 0 if cls is ConvNetClassifier else X[:, 0]
    net = cls(max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert net.score(X, y) > 0.95
    assert net.image_shape_ == (1, n_features, 1)
    assert net.layers_ == lenet5((1, n_features, 1), 1)


def test_lenet5_of_digits():
    net = ConvNetClassifier(image_shape=(8, 8), max_iter=15, batch_size=20, random_state=0)
    net.fit(DIGITS[:200], DIGIT[:200])
    assert net.layers_ == lenet5((8, 8, 1), 10)
    assert net.score(DIGITS[200:], DIGIT[200:]) > 0.8
    named = clone(net).set_params(layers=lenet5((8, 8, 1), 10)).fit(DIGITS[:200], DIGIT[:200])
    assert_same_bits(net, named)
    open_ended = clone(net).set_params(layers=lenet5((8, 8, 1), None))
    assert_same_bits(open_ended.fit(DIGITS[:200], DIGIT[:200]), net)


def test_architectures_are_named():
    for name in ARCHITECTURES:
        net = ConvNetClassifier(name, image_shape=(64, 64, 3))
        assert net._validate_params() is None
        assert net.summary().parameters > 10_000


# --- the output layer


def test_the_output_layer_may_be_given_or_not():
    expected = small().fit(DIGITS, DIGIT)
    assert [type(layer) for layer in expected.layers_] == [Conv2D, MaxPooling2D, Dense]
    for more in ([Flatten()], [Dense(10)], [Flatten(), Dense(10)]):
        assert_same_bits(small(layers=[*PLAIN, *more]).fit(DIGITS, DIGIT), expected)
    assert_same_bits(small(layers=(*PLAIN, Dense(10))).fit(DIGITS, DIGIT), expected)
    # what has an activation is a hidden layer
    for hidden in (Dense(10, activation="relu"), Dense(7, activation="identity")):
        net = small(layers=[*PLAIN, hidden]).fit(DIGITS, DIGIT)
        assert net.layers_[-2:] == [hidden, Dense(10)]


def test_an_output_layer_of_other_units_is_an_error():
    with pytest.raises(ValueError, match=r"Dense\(units=9\).*10 classes: expected Dense\(10\)"):
        small(layers=[*PLAIN, Dense(9)]).fit(DIGITS, DIGIT)
    with pytest.raises(ValueError, match=r"Dense\(units=3\).*2 classes: expected Dense\(1\)"):
        small(layers=[*PLAIN, Dense(3)]).fit(DIGITS, DIGIT > 4)
    regressor = ConvNetRegressor([*PLAIN, Dense(2)], (8, 8))
    with pytest.raises(ValueError, match=r"Dense\(units=2\).*1 target: expected Dense\(1\)"):
        regressor.fit(DIGITS, DIGIT)


def test_the_output_layer_keeps_what_it_is_given():
    last = Dense(10, use_bias=False, kernel_initializer="zeros", name="head")
    net = small(layers=[*PLAIN, last], max_iter=1, **STILL).fit(DIGITS, DIGIT)
    assert list(net.weights_) == ["layers.0", "head"]
    assert list(net.weights_["head"]) == ["kernel"]
    assert np.abs(net.weights_["head"]["kernel"]).max() < 1e-6
    np.testing.assert_allclose(net.predict_proba(DIGITS), 0.1, rtol=1e-6)


def test_two_classes_are_one_output():
    y = DIGIT > 4
    expected = small(max_iter=10).fit(DIGITS, y)
    assert expected.layers_[-1] == Dense(1)
    assert expected.n_outputs_ == 1 and expected.out_activation_ == "logistic"
    for last in (Dense(1), Dense(2)):
        net = small(layers=[*PLAIN, last], max_iter=10).fit(DIGITS, y)
        assert_same_bits(net, expected)
        assert_same_bits(net.predict_proba(DIGITS), expected.predict_proba(DIGITS))
    named = small(layers=[*PLAIN, Dense(2, name="head", use_bias=False)]).fit(DIGITS, y)
    assert named.layers_[-1] == Dense(1, name="head", use_bias=False)


def test_no_layers_is_a_linear_model():
    net = small(ConvNetRegressor, layers=[], solver="lbfgs", max_iter=200).fit(DIGITS, DIGIT)
    w = net.weights_["layers.0"]
    assert w["kernel"].shape == (64, 1)
    np.testing.assert_allclose(
        net.predict(DIGITS), (DIGITS @ w["kernel"] + w["bias"])[:, 0], rtol=1e-4, atol=1e-4
    )


def test_first_weights_follow_the_initializer():
    layers = [Conv2D(60, 3, padding="same"), Conv2D(60, 3, kernel_initializer="normal")]
    net = small(layers=layers, max_iter=1, **STILL).fit(DIGITS[:30], DIGIT[:30])
    kernels = [values["kernel"] for values in net.weights_.values()]
    fans = 9 + 9 * 60  # between glorot_uniform and he_uniform
    assert np.abs(kernels[0]).max() <= 3 / np.sqrt(fans)
    np.testing.assert_allclose(kernels[0].std(), np.sqrt(3 / fans), rtol=0.1)
    np.testing.assert_allclose(kernels[1].std(), 0.05, rtol=0.02)
    fans = 36 * 60 + 10  # glorot_uniform, at the output
    np.testing.assert_allclose(kernels[2].std(), np.sqrt(2 / fans), rtol=0.05)
    assert not any(values["bias"].any() for values in net.weights_.values())
    net = small(initializer="lecun_normal", max_iter=1, **STILL).fit(DIGITS[:30], DIGIT[:30])
    assert np.isfinite(net.loss_)


# --- targets


@pytest.mark.parametrize(
    "names",
    [np.array(list("abcdefghij")), np.array(list("abcdefghij"), object), np.arange(-5.0, 5.0)],
    ids=["str", "object", "float"],
)
def test_labels_of_any_kind(names):
    net, plain = small().fit(DIGITS, names[DIGIT]), small().fit(DIGITS, DIGIT)
    assert_same_bits(net, plain)
    np.testing.assert_array_equal(net.classes_, names)
    np.testing.assert_array_equal(net.predict(DIGITS), names[plain.predict(DIGITS)])
    assert set(net.predict(DIGITS)) <= set(names)


@pytest.mark.parametrize("names", [np.array([False, True]), np.array(["no", "yes"])])
def test_two_labels(names):
    y = names[(DIGIT > 4).astype(int)]
    net = small(max_iter=10).fit(DIGITS, y)
    probabilities = net.predict_proba(DIGITS)
    assert probabilities.shape == (300, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(net.predict_log_proba(DIGITS), np.log(probabilities))
    predicted = net.predict(DIGITS)
    assert predicted.dtype == names.dtype
    np.testing.assert_array_equal(predicted, names[(probabilities[:, 1] > 0.5) + 0])


def test_multilabel():
    X, y = make_multilabel_classification(n_samples=200, n_features=16, n_classes=4, random_state=0)
    X = scale(X).astype(np.float32)
    layers = [Conv2D(16, 3, padding="same", activation="relu")]
    net = small(layers=layers, image_shape=(4, 4), max_iter=60, learning_rate_init=0.01)
    net.fit(X.reshape(-1, 4, 4), y)
    assert net.out_activation_ == "logistic" and net.n_outputs_ == 4
    np.testing.assert_array_equal(net.predict(X), net.predict_proba(X) > 0.5)
    assert net.score(X, y) > 0.8
    given = clone(net).set_params(layers=[*layers, Dense(4)]).fit(X, y)
    assert_same_bits(given, net)
    assert_same_bits(clone(net).fit(X, sp.csr_matrix(y)), net)


def test_several_outputs():
    net = small(ConvNetRegressor, **QUICK).fit(IMAGES, CENTERS)
    assert net.predict(IMAGES).shape == (300, 2)
    assert net.score(IMAGES, CENTERS) > 0.8
    given = clone(net).set_params(layers=[*PLAIN, Dense(2)]).fit(IMAGES, CENTERS)
    assert_same_bits(given, net)
    with pytest.warns(Warning, match="column-vector"):
        column = small(ConvNetRegressor).fit(IMAGES, CENTERS[:, :1])
    assert column.predict(IMAGES).shape == (300,)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", "quantile"])
def test_regression_losses(loss):
    net = small(ConvNetRegressor, loss=loss, **QUICK).fit(IMAGES, INK)
    assert net.score(IMAGES, INK) > 0.5
    assert net.loss_curve_[-1] < net.loss_curve_[0] / 2


# --- weights of samples and classes


def test_weights_of_zero_are_as_if_the_sample_were_not_there():
    weight = np.where(DIGIT == 3, 0.0, 1.0)
    rest = DIGIT != 3
    for params in ({"solver": "lbfgs", "max_iter": 20}, {"batch_size": 300}):
        a = small(ConvNetRegressor, **params).fit(DIGITS, DIGIT, weight)
        params = {k: v for k, v in params.items() if k != "batch_size"}
        b = small(ConvNetRegressor, **params, batch_size=int(rest.sum()))
        b.fit(DIGITS[rest], DIGIT[rest])
        np.testing.assert_allclose(a.predict(DIGITS), b.predict(DIGITS), atol=1e-3)


def test_integer_weights_are_repetitions():
    repeats = np.random.RandomState(0).randint(0, 4, 300)
    X, y = DIGITS.astype(float), DIGIT / 5
    a, b = (small(ConvNetRegressor, solver="lbfgs", max_iter=10) for _ in range(2))
    a.fit(X, y, repeats)
    b.fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-6)


@pytest.mark.parametrize("given", ["balanced", {0: 5.0, 1: 1.0, 2: 0.5}])
def test_class_weight_is_sample_weight(given):
    some = (DIGIT < 3) & (np.arange(300) > 50)
    X, y = IMAGES[some], DIGIT[some]
    by_class = compute_sample_weight(given, y)
    a = small(class_weight=given).fit(X, y)
    assert_same_bits(a, small().fit(X, y, by_class))
    assert differ(a, small().fit(X, y))


def test_weights_change_what_is_learnt():
    y = np.tile([0, 1], 150)
    X = np.random.RandomState(0).normal(size=(300, 4, 4)).astype(np.float32)
    for weight, expected in ((np.where(y, 9.0, 1.0), 1), (np.where(y, 1.0, 9.0), 0)):
        net = small(image_shape=None, **QUICK).fit(X, y, weight)
        assert np.mean(net.predict(X) == expected) > 0.9


# --- training: epochs, validation, continued training


def test_validation_data():
    plain = small(layers=MIXED).fit(IMAGES[:200], DIGIT[:200])
    net = small(layers=MIXED).fit(IMAGES[:200], DIGIT[:200], X_val=IMAGES[200:], y_val=DIGIT[200:])
    assert_same_bits(net, plain)
    assert plain.validation_scores_ is None
    assert len(net.validation_scores_) == len(net.history_) == 3
    assert net.validation_scores_[-1] == net.score(IMAGES[200:], DIGIT[200:])
    loss = -np.mean(np.log(net.predict_proba(IMAGES[200:])[range(100), DIGIT[200:]]))
    np.testing.assert_allclose(net.validation_loss_curve_[-1], loss, rtol=1e-5)
    # in another form than X
    other = small(layers=MIXED).fit(
        IMAGES[:200], DIGIT[:200], X_val=DIGITS[200:], y_val=DIGIT[200:]
    )
    assert other.validation_scores_ == net.validation_scores_


def test_early_stopping():
    kwargs = {"early_stopping": True, "n_iter_no_change": 4, "learning_rate_init": 0.03}
    net = small(layers=MIXED, max_iter=100, **kwargs)
    net.fit(IMAGES[:200], DIGIT[:200], X_val=IMAGES[200:], y_val=DIGIT[200:])
    assert net.n_iter_ < 100
    # the running averages are those of the best epoch, too
    assert net.score(IMAGES[200:], DIGIT[200:]) == max(net.validation_scores_)
    best = int(np.argmax(net.validation_scores_)) + 1
    until = small(layers=MIXED, max_iter=best, learning_rate_init=0.03)
    assert_same_bits(until.fit(IMAGES[:200], DIGIT[:200]), net)
    held_back = small(max_iter=5, **kwargs).fit(IMAGES, DIGIT)
    assert len(held_back.validation_scores_) == 5


def test_history():
    net = small().fit(DIGITS, DIGIT)
    assert net.history_["loss"].tolist() == net.loss_curve_
    assert list(net.history_.index) == [1, 2, 3]
    assert net.t_ == 900 and net.n_iter_ == 3


RANDOM = {
    "plain": {},
    "mixed": {"layers": MIXED},
    "augmented": {"augmentation": [RandomShift(1, 1), RandomFlip()]},
}


@pytest.mark.parametrize("params", RANDOM.values(), ids=RANDOM)
@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_partial_fit_is_an_epoch(cls, params):
    y = TARGETS[cls]
    whole = small(cls, shuffle=False, **params).fit(IMAGES, y)
    parts = small(cls, shuffle=False, **params)
    for _ in range(3):
        parts.partial_fit(IMAGES, y, **({"classes": range(10)} if is_classifier(parts) else {}))
    assert_same_bits(parts, whole)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_


@pytest.mark.parametrize("params", RANDOM.values(), ids=RANDOM)
def test_warm_start_goes_on(params):
    net = small(warm_start=True, **params).fit(IMAGES, DIGIT)
    before = net.loss_curve_[-1]
    for _ in range(5):
        net.fit(IMAGES, DIGIT)
    assert len(net.loss_curve_) == 18
    assert net.loss_curve_[-1] < before
    cold = small(**params).fit(IMAGES, DIGIT)
    assert_same_bits(cold.fit(IMAGES, DIGIT), small(**params).fit(IMAGES, DIGIT))


def test_lbfgs():
    net = small(solver="lbfgs", max_iter=60).fit(IMAGES[:200], DIGIT[:200])
    assert net.score(IMAGES[200:], DIGIT[200:]) > 0.85
    assert net.loss_curve_[-1] < net.loss_curve_[0] / 5
    assert not hasattr(net, "partial_fit")
    # batch normalization that is not trained is an ordinary function
    layers = [Conv2D(4, 3), BatchNormalization(trainable=False), Activation("relu")]
    net = small(layers=layers, solver="lbfgs", max_iter=60).fit(IMAGES, DIGIT)
    assert net.score(IMAGES, DIGIT) > 0.9


def test_a_callback_sees_the_network_of_each_epoch():
    class Watcher:
        nets = []

        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            if context.task_name == "epoch":
                self.nets.append(fitted_estimator)

    small(layers=MIXED).set_callbacks(Watcher()).fit(IMAGES, DIGIT)
    for epoch, seen in enumerate(Watcher.nets, start=1):
        stopped = small(layers=MIXED, max_iter=epoch).fit(IMAGES, DIGIT)
        assert_same_bits(seen.predict_proba(IMAGES), stopped.predict_proba(IMAGES))


# --- the same bits

VARIED = {
    "plain": PLAIN,
    "mixed": MIXED,
    "lenet5": "lenet5",
    "strided": [
        Conv2D(6, (3, 2), 2, padding=((1, 0), (0, 2)), activation="tanh"),
        LocalResponseNormalization(3),
        Conv2D(9, 3, padding="same", dilation_rate=2, groups=3, activation="elu"),
        GlobalAveragePooling2D(),
        Dense(7, activation="gelu"),
    ],
    "up and down": [
        AveragePooling2D(3, 2, "same"),
        Conv2DTranspose(3, 2, 2, activation="silu"),
        UpSampling2D(2, "bilinear"),
        MaxPooling2D(3, 2, padding=1),
        UpSampling2D((1, 2)),
    ],
    "branches": [
        Concatenate(
            [[], [Conv2D(5, 1, activation="relu")], [MaxPooling2D(3, 1, "same"), Conv2D(2, 1)]]
        ),
        Sequential([Residual([Conv2D(8, 3, padding="same"), BatchNormalization()])]),
        Residual([Conv2D(17, 3, 2, "same")], [Conv2D(17, 1, 2)]),
        Activation("softplus"),
    ],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", VARIED.values(), ids=VARIED)
def test_a_row_predicts_the_same_bits_in_any_batch(layers, dtype):
    X = IMAGES.astype(dtype)
    net = small(layers=layers, max_iter=1).fit(X, DIGIT)
    expected = net.predict_proba(X)
    assert expected.dtype == dtype
    for size in (1, 2, 7, 8, 9, 16, 17, 33, 100):
        for start in (0, 41):
            part = slice(start, start + size)
            assert_same_bits(net.predict_proba(X[part]), expected[part].copy())
    assert_same_bits(net.predict_proba(sp.csr_array(X[:1].reshape(1, -1))), expected[:1].copy())


def test_a_row_predicts_the_same_bits_among_very_many():
    net = small(layers=MIXED).fit(IMAGES, DIGIT)
    many = np.tile(IMAGES, (40, 1, 1))
    assert_same_bits(net.predict_proba(many), np.tile(net.predict_proba(IMAGES), (40, 1)))


# Large enough to be worth four threads.
WIDE = Conv2D(24, 3, padding="same", activation="relu")
THREADED = {
    "plain": (ConvNetClassifier, {"layers": [WIDE, MaxPooling2D(2)]}),
    "all that is random": (
        ConvNetClassifier,
        {
            "layers": [WIDE, *MIXED],
            "augmentation": [RandomShift(1, 2), RandomFlip("horizontal_and_vertical")],
            "solver": "rmsprop",
        },
    ),
    "cropped, early stopping": (
        ConvNetRegressor,
        {
            "layers": [WIDE, BatchNormalization(), WIDE, GlobalAveragePooling2D()],
            "augmentation": RandomCrop(7, 6),
            "early_stopping": True,
        },
    ),
    "clipped": (ConvNetRegressor, {"layers": [WIDE, *MIXED], "clip_norm": 0.1, "solver": "sgd"}),
    "averaged, one cycle": (
        ConvNetRegressor, {"layers": [WIDE, *MIXED], "average": 0.9, "learning_rate": "one_cycle"},
    ),
    "lbfgs": (ConvNetClassifier, {"layers": [WIDE, WIDE], "solver": "lbfgs"}),
    "varied": (
        ConvNetRegressor,
        {"layers": [WIDE, Conv2D(1, 1), *VARIED["branches"], *VARIED["strided"]]},
    ),
}


def fit_threaded(name, dtype, n_jobs=None):
    cls, params = THREADED[name]
    net = small(cls, batch_size=150, max_iter=2, n_jobs=n_jobs).set_params(**params)
    return net.fit(IMAGES.astype(dtype), TARGETS[cls])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", THREADED)
def test_threads_do_not_change_a_bit(name, dtype):
    nets = [fit_threaded(name, dtype, n_jobs) for n_jobs in (1, 2, 4, None)]
    many = np.tile(IMAGES.astype(dtype), (4, 1, 1))
    expected = outputs(nets[0], many)
    for net in nets[1:]:
        assert_same_bits(net, nets[0])
        assert net.loss_curve_ == nets[0].loss_curve_
        assert_same_bits(outputs(net, many), expected)


def test_nets_in_threads_of_their_own_do_not_change_a_bit():
    names = ["all that is random", "varied", "all that is random", "varied"]
    expected = {name: fit_threaded(name, "float32", 2) for name in set(names)}
    with parallel_config(backend="threading", n_jobs=4):
        nets = Parallel()(delayed(fit_threaded)(name, "float32") for name in names)
        net = nets[0]
        parts = Parallel()(delayed(net.predict_proba)(IMAGES[i : i + 50]) for i in range(250))
    for name, other in zip(names, nets):
        assert_same_bits(other, expected[name])
    for i, part in enumerate(parts):
        assert_same_bits(part, net.predict_proba(IMAGES[i : i + 50]))


@pytest.mark.parametrize("params", RANDOM.values(), ids=RANDOM)
def test_the_same_seed_is_the_same_and_another_is_not(params):
    net = small(**params).fit(IMAGES, DIGIT)
    assert_same_bits(small(**params).fit(IMAGES, DIGIT), net)
    states = [np.random.RandomState(5) for _ in range(2)]
    nets = [small(**params).set_params(random_state=s).fit(IMAGES, DIGIT) for s in states]
    assert_same_bits(*nets)
    assert differ(nets[0], net)
    assert differ(nets[0].fit(IMAGES, DIGIT), nets[1])


# --- parameters of layers


def nested():
    """Return a network with nested layers."""
    return small(
        layers=[
            Conv2D(4, 3, name="stem"),
            Residual([Conv2D(4, 3, padding="same"), Sequential([BatchNormalization()])]),
            Concatenate([[Conv2D(2, 1)], []]),
        ]
    )


def test_get_params_reaches_into_layers():
    params = nested().get_params()
    assert params["layers__0__filters"] == 4
    assert params["layers__0__kernel_size"] == (3, 3)
    assert params["layers__0__name"] == "stem"
    assert params["layers__1__block__0__padding"] == "same"
    assert params["layers__1__block__1__layers__0__momentum"] == 0.1
    assert params["layers__1__shortcut"] == ()
    assert not any(name.startswith("layers__") for name in nested().get_params(deep=False))
    assert not any(name.startswith("layers__") for name in ConvNetClassifier().get_params())
    assert "max_iter" in params


@pytest.mark.parametrize(
    "name, value",
    [
        ("layers__0__filters", 7),
        ("layers__0__kernel_size", (2, 5)),
        ("layers__0__activation", "tanh"),
        ("layers__0__trainable", False),
        ("layers__1__block__0__kernel_l2", 0.5),
        ("layers__1__block__1__layers__0__momentum", 0.2),
        ("layers__1__shortcut", (Conv2D(4, 1),)),
    ],
)
def test_set_params_reaches_into_layers(name, value):
    net = nested()
    given, copied = net.layers, copy.deepcopy(net.layers)
    others = {k: v for k, v in net.get_params().items() if not name.startswith(k)}
    assert net.set_params(**{name: value}) is net
    params = net.get_params()
    assert params[name] == value
    for other, before in others.items():
        assert other == "layers" or params[other] == before
    # neither the list nor the layers in it have changed
    assert given == copied and net.layers is not given and type(net.layers) is list
    assert len({id(layer) for layer in net.layers} & {id(layer) for layer in given}) == 2


def test_set_params_checks_values_and_takes_many():
    net = nested()
    with pytest.raises(ValueError, match="filters of Conv2D is 0"):
        net.set_params(layers__0__filters=0)
    with pytest.raises(TypeError, match="filters of Conv2D is 2.5"):
        net.set_params(layers__0__filters=2.5)
    net.set_params(layers__1__block__0__filters=5, layers__0__filters=5, max_iter=7, alpha=0.5)
    assert (net.layers[0].filters, net.layers[1].block[0].filters) == (5, 5)
    assert (net.max_iter, net.alpha) == (7, 0.5)
    # values that only go together
    net.set_params(layers=[Conv2D(4, 3, groups=2)]).set_params(
        layers__0__filters=9, layers__0__groups=3
    )
    assert net.layers == [Conv2D(9, 3, groups=3)]
    # a new list and its layers at once: the list comes first
    net.set_params(layers__0__filters=9, layers=(Conv2D(3, 3), MaxPooling2D(2)))
    assert net.layers == (Conv2D(9, 3), MaxPooling2D(2))
    net.set_params(layers__0__activation="relu", layers__0__kernel_size=2)
    assert net.layers == (Conv2D(9, 2, activation="relu"), MaxPooling2D(2))


def test_set_params_reaches_into_branches():
    net = nested()
    deep = [name for name in net.get_params() if name.startswith("layers__2__branches__")]
    assert "layers__2__branches__0__0__filters" in deep
    net.set_params(layers__2__branches__0__0__filters=6)
    assert net.layers[2] == Concatenate([[Conv2D(6, 1)], []])


def test_set_params_takes_whole_layers():
    net = nested()
    params = net.get_params()
    assert params["layers__0"] is net.layers[0]
    assert params["layers__1__block__0"] is net.layers[1].block[0]
    net.set_params(layers__0=MaxPooling2D(2), layers__1__block__0=Activation("relu"))
    assert net.layers[:2] == [
        MaxPooling2D(2),
        Residual([Activation("relu"), Sequential([BatchNormalization()])]),
    ]
    # the whole before its parts
    net.set_params(layers__0__filters=3, layers__0=Conv2D(5, 2))
    assert net.layers[0] == Conv2D(3, 2)
    with pytest.raises(TypeError, match="block of Residual"):
        net.set_params(layers__1__block__0=3)
    with pytest.raises(TypeError, match=r"layers\[0\] is 3"):
        net.set_params(layers__0=3).fit(IMAGES, DIGIT)


@pytest.mark.parametrize(
    "name",
    [
        "layers__0__depth",
        "layers__3__filters",
        "layers__-1__filters",
        "layers__x__filters",
        "layers__3",
        "layers__x",
        "layers__",
        "layers__0__filters__0",
        "layers__0__kernel_size__0__x",
        "layers__0__name__0__x",
        "layers__1__block__2__filters",
        "layers__1__block__2",
        "layers__1__block__0__units",
        "layers__1__shortcut__0__filters",
        "layers__2__branches__0__1__filters",
        "layers__2__branches__0__filters",
        "depth",
    ],
)
def test_set_params_rejects_names(name):
    net = nested()
    with pytest.raises(ValueError, match=f"Invalid parameter.*{name.split('__')[0]}"):
        net.set_params(**{name: 3})
    assert net.layers == nested().layers


def test_set_params_of_the_layers_of_an_architecture():
    with pytest.raises(ValueError, match="layers='lenet5' is a name"):
        ConvNetClassifier().set_params(layers__0__filters=3)


@pytest.mark.parametrize("wrong", [3, None, [3], ["relu"], [Conv2D], {}], ids=str)
def test_wrong_layers_can_be_set_right(wrong):
    net = small(layers=wrong)
    assert net.get_params()["layers"] is wrong
    assert net.set_params(layers=PLAIN).layers is PLAIN
    assert net.fit(DIGITS, DIGIT).n_outputs_ == 10


def test_clone_has_the_parameters_and_nothing_else():
    net = small(layers=nested().layers, augmentation=[RandomFlip()], max_iter=1)
    net.fit(DIGITS, DIGIT)
    fresh = clone(net)
    assert fresh.get_params() == net.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(DIGITS)
    assert_same_bits(fresh.fit(DIGITS, DIGIT), net)
    assert clone(small(layers="lenet5")).layers == "lenet5"


def test_fitting_does_not_touch_the_parameters():
    layers, shape, changes = list(MIXED), [8, 8], [RandomShift(1, 1)]
    net = small(layers=layers, image_shape=shape, augmentation=changes).fit(DIGITS, DIGIT)
    assert net.layers is layers and layers == MIXED
    assert net.image_shape is shape and shape == [8, 8]
    assert net.augmentation is changes and changes == [RandomShift(1, 1)]
    net.layers_.append(Dense(3))
    assert net.layers == MIXED


def test_layers_are_written_as_they_are_made():
    for layers in (*(v for v in VARIED.values() if v != "lenet5"), nested().layers):
        for layer in layers:
            assert eval(repr(layer)) == layer
    assert repr(Conv2D(4, (3, 3), (1, 1))) == "Conv2D(filters=4, kernel_size=(3, 3))"


def test_grid_search_over_layers():
    grid = {
        "layers__0__filters": [2, 4],
        "layers__0__kernel_size": [2, (3, 2)],
        "layers__1__block__0__activation": [None, "relu"],
    }
    net = small(layers=[Conv2D(4, 3), Residual([Conv2D(4, 1)]), MaxPooling2D(2)], max_iter=1)
    net.set_params(layers__1__shortcut=[Conv2D(4, 1)])
    serial = GridSearchCV(net, grid, cv=2).fit(IMAGES, DIGIT)
    with parallel_config(backend="threading"):
        search = GridSearchCV(net, grid, cv=2, n_jobs=2).fit(IMAGES, DIGIT)
    assert len(search.cv_results_["params"]) == 8
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    best, params = search.best_estimator_, search.best_params_
    assert best.layers[0].filters == params["layers__0__filters"]
    assert_same_bits(best, serial.best_estimator_)
    assert_same_bits(best, clone(net).set_params(**params).fit(IMAGES, DIGIT))
    assert net.layers[0] == Conv2D(4, 3)


def test_grid_search_in_a_pipeline():
    model = make_pipeline(MinMaxScaler(), small())
    grid = {
        "convnetclassifier__layers__0__filters": [1, 4],
        "convnetclassifier__layers": [PLAIN, [Conv2D(3, 2), Flatten()]],
        "convnetclassifier__augmentation": [None, RandomShift(1, 1)],
    }
    search = GridSearchCV(model, grid, cv=2).fit(COUNTS, DIGIT)
    assert len(search.cv_results_["params"]) == 8
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- with scikit-learn's tools


def _through_joblib(net):
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "joblib": _through_joblib,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_go_on_identically(how):
    net = small(layers=MIXED, augmentation=RandomShift(1, 1)).fit(IMAGES, DIGIT)
    other = COPIES[how](net)
    assert other is not net and repr(other) == repr(net)
    assert other.get_params() == net.get_params() and other.layers_ == net.layers_
    assert_same_bits(net.predict_proba(IMAGES), other.predict_proba(IMAGES))
    for _ in range(2):
        net.partial_fit(IMAGES, DIGIT)
        other.partial_fit(IMAGES, DIGIT)
    assert_same_bits(net, other)
    assert net.loss_curve_ == other.loss_curve_


def test_a_copy_is_independent():
    net = small(layers=MIXED).fit(IMAGES, DIGIT)
    before = joblib.hash(vars(net))
    for other in (copy.deepcopy(net), copy.copy(net)):
        other.partial_fit(IMAGES, DIGIT)
        assert joblib.hash(vars(net)) == before
    for values in net.weights_.values():
        for value in values.values():
            value[:] = 0.0
    assert joblib.hash(vars(net)) == before


def test_pipeline():
    for scaler in (StandardScaler(), MinMaxScaler()):
        model = make_pipeline(scaler, small(**QUICK))
        model.fit(COUNTS[:200], DIGIT[:200], convnetclassifier__sample_weight=np.ones(200))
        assert model.score(COUNTS[200:], DIGIT[200:]) > 0.85
        assert model[-1].image_shape_ == (8, 8, 1)


@pytest.mark.parametrize("X", [DIGITS, IMAGES, IMAGES[..., None]], ids=["2-D", "3-D", "4-D"])
def test_model_selection(X):
    net = small(**QUICK)
    scores = cross_val_score(net, X, DIGIT, cv=3)
    np.testing.assert_array_equal(scores, cross_val_score(net, DIGITS, DIGIT, cv=3))
    assert scores.min() > 0.7
    assert cross_val_predict(net, X, DIGIT, cv=2, method="predict_proba").shape == (300, 10)
    calibrated = CalibratedClassifierCV(net, cv=2).fit(X, DIGIT)
    assert calibrated.predict_proba(X).shape == (300, 10)
    assert calibrated.score(X, DIGIT) > 0.85
    frozen = CalibratedClassifierCV(FrozenEstimator(net.fit(X, DIGIT))).fit(X, DIGIT)
    assert frozen.score(X, DIGIT) > 0.85


# --- features


def convolved(X, values):
    """Compute relu of a convolution in NumPy: windows by rows, columns, then channels."""
    windows = sliding_window_view(X, values["kernel"].shape[:2], axis=(1, 2))
    z = np.einsum("nijhw,hwf->nijf", windows, values["kernel"][:, :, 0])
    return np.maximum(z + values["bias"], 0)


def test_features_are_the_outputs_of_a_layer():
    net = small().fit(IMAGES, DIGIT)
    first = ConvNetTransformer(net, 0).fit(IMAGES).transform(IMAGES)
    assert first.shape == (300, 6 * 6 * 4) and first.dtype == np.float32
    expected = convolved(IMAGES, net.weights_["layers.0"])
    np.testing.assert_allclose(first, expected.reshape(300, -1), rtol=1e-4, atol=1e-5)
    second = ConvNetTransformer(net, 1).fit(IMAGES).transform(IMAGES)
    pooled = expected.reshape(300, 3, 2, 3, 2, 4).max(axis=(2, 4))
    np.testing.assert_allclose(second, pooled.reshape(300, -1), rtol=1e-4, atol=1e-5)
    assert_same_bits(ConvNetTransformer(net).fit_transform(IMAGES), second)
    last = ConvNetTransformer(net, -1).fit(IMAGES).transform(IMAGES)
    z = second @ net.weights_["layers.2"]["kernel"] + net.weights_["layers.2"]["bias"]
    np.testing.assert_allclose(last, z, rtol=1e-4, atol=1e-4)
    e = np.exp(last - last.max(axis=1, keepdims=True))
    probabilities = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.predict_proba(IMAGES), probabilities, atol=1e-5)


@pytest.mark.parametrize(
    "shape, layer",
    [
        ((8, 8), Conv2D(4, 8)),
        ((8, 8), Conv2D(4, 8, padding="same", strides=8)),
        ((8, 8), Conv2D(4, 8, 3, 1)),
        ((8, 8), Conv2D(4, 8, 3, ((1, 0), (0, 1)))),
        ((8, 8), Conv2D(4, 8, 2, 4, dilation_rate=2)),
        ((4, 16), Conv2D(4, 8, (5, 9), (2, 0))),
        ((4, 16), Conv2D(4, (4, 16), 4, ((0, 2), (0, 0)))),
    ],
    ids=str,
)
def test_a_kernel_with_as_many_elements_as_the_image(shape, layer):
    """One window is a dense layer only where it lies right on the image."""
    X = DIGITS.reshape(-1, *shape)
    net = small(layers=[layer], image_shape=None, max_iter=1).fit(X, DIGIT)
    features = ConvNetTransformer(net, 0).fit(X).transform(X)
    values, sides = net.weights_["layers.0"], layer.padding
    if sides in ("same", "valid"):
        sides = ((0, 0), (0, 0))
    span = [(n - 1) * step + 1 for n, step in zip(layer.kernel_size, layer.dilation_rate)]
    windows = sliding_window_view(np.pad(X, ((0, 0), *sides)), span, axis=(1, 2))
    windows = windows[:, 0, 0, :: layer.dilation_rate[0], :: layer.dilation_rate[1]]
    expected = np.einsum("nhw,hwf->nf", windows, values["kernel"][:, :, 0]) + values["bias"]
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", VARIED)
def test_features_of_every_layer_are_those_of_the_network_cut_there(name):
    net = small(layers=VARIED[name], max_iter=1).fit(IMAGES, DIGIT)
    for place, layer in enumerate(net.layers_[:-1]):
        transformer = ConvNetTransformer(net, place).fit(IMAGES)
        features = transformer.transform(IMAGES)
        shape = output_shape(net.layers_[: place + 1], (8, 8, 1))
        assert features.shape == (300, prod(shape)) and np.isfinite(features).all(), layer
        assert_same_bits(transformer.transform(IMAGES[:1]), features[:1].copy())
        backwards = ConvNetTransformer(net, place - len(net.layers_)).fit(IMAGES)
        assert_same_bits(backwards.transform(IMAGES), features)
    dense = list(net.weights_.values())[-1]
    z = features @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(
        ConvNetTransformer(net, -1).fit(IMAGES).transform(IMAGES), z, rtol=1e-4, atol=1e-4
    )


def test_features_by_name():
    net = small(layers=MIXED).fit(IMAGES, DIGIT)
    by_name = {name: ConvNetTransformer(net, name).fit_transform(IMAGES) for name in (
        "stem", "norm", "layers.2", "block", "layers.7", "layers.8",
    )}  # fmt: skip
    for name, place in (("stem", 0), ("norm", 1), ("layers.2", 2), ("block", 3), ("layers.8", 8)):
        assert_same_bits(ConvNetTransformer(net, place).fit_transform(IMAGES), by_name[name])
    # they have neither noise nor dropout
    np.testing.assert_array_equal(np.maximum(by_name["norm"], 0), by_name["layers.2"])
    pooled = by_name["block"].reshape(300, 4, 2, 4, 2, 4).max(axis=(2, 4))
    np.testing.assert_array_equal(pooled.reshape(300, -1), by_name["layers.7"])


def test_a_fitted_network_is_used_as_it_is():
    some = DIGIT < 5
    net = small(layers=MIXED, max_iter=20).fit(DIGITS[some], DIGIT[some])
    before = joblib.hash(vars(net))
    model = make_pipeline(ConvNetTransformer(net), LogisticRegression(max_iter=500))
    X, y = DIGITS[~some], DIGIT[~some]
    assert model.fit(X, y).score(X, y) > 0.95
    assert_same_bits(model[0].net_, net)
    copied = clone(model)
    assert_same_bits(copied[0].net, net)
    assert not hasattr(copied[0], "net_")
    assert_same_bits(copied.fit(X, y).predict_proba(X), model.predict_proba(X))
    grid = {"convnettransformer__layer": [-2, "stem", 3], "logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert_same_bits(search.best_estimator_[0].net_, net)
    assert search.best_score_ > 0.8
    assert joblib.hash(vars(net)) == before
    # no target is needed
    assert ConvNetTransformer(net).fit(X).transform(X).shape == (len(X), 64)


def test_a_frozen_network_is_used_as_it_is():
    net = small().fit(DIGITS, DIGIT)
    transformer = ConvNetTransformer(FrozenEstimator(net))
    features = ConvNetTransformer(net).fit(DIGITS).transform(DIGITS)
    assert_same_bits(transformer.fit(DIGITS).transform(DIGITS), features)
    assert_same_bits(clone(transformer).fit(DIGITS).transform(DIGITS), features)
    assert not transformer.__sklearn_tags__().target_tags.required


def test_a_network_that_is_not_fitted_is_fitted():
    net = small(ConvNetRegressor)
    transformer = ConvNetTransformer(net, 0).fit(DIGITS, DIGIT)
    with pytest.raises(NotFittedError):
        net.predict(DIGITS)
    assert transformer.net is net and transformer.net_ is not net
    fitted = small(ConvNetRegressor).fit(DIGITS, DIGIT)
    assert_same_bits(transformer.net_, fitted)
    assert_same_bits(
        transformer.transform(DIGITS), ConvNetTransformer(fitted, 0).fit(DIGITS).transform(DIGITS)
    )
    copied = clone(transformer)
    assert copied.net is not net and copied.get_params()["net__max_iter"] == 3
    with pytest.raises(ValueError, match="requires y"):
        copied.fit(DIGITS)
    grid = {"convnettransformer__net__layers__0__filters": [1, 4]}
    model = make_pipeline(ConvNetTransformer(net), LogisticRegression(max_iter=500))
    search = GridSearchCV(model, grid, cv=2).fit(DIGITS, DIGIT)
    filters = search.best_params_["convnettransformer__net__layers__0__filters"]
    assert search.best_estimator_[0].net_.layers_[0].filters == filters
    default = ConvNetTransformer().fit(IRIS, SPECIES)
    assert isinstance(default.net_, ConvNetClassifier)
    assert default.transform(IRIS).shape == (150, 84)


def test_features_have_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)]).iloc[::-1]
    net = small().fit(frame, DIGIT[::-1])
    transformer = ConvNetTransformer(net).set_output(transform="pandas").fit(frame)
    assert list(transformer.feature_names_in_) == list(frame.columns)
    names = [f"convnettransformer{i}" for i in range(36)]
    assert list(transformer.get_feature_names_out()) == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = transformer.transform(frame)
    assert list(features.columns) == names and list(features.index) == list(frame.index)
    with pytest.raises(ValueError, match="feature names"):
        transformer.transform(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="feature names"):
        transformer.transform(DIGITS)
    model = make_pipeline(StandardScaler(), ConvNetTransformer(small()), LogisticRegression())
    model.set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names.*")
        model.fit(frame, DIGIT[::-1]).predict(frame)


def test_features_of_images_of_any_form():
    net = small(layers=MIXED).fit(IMAGES, DIGIT)
    transformer = ConvNetTransformer(net, 3).fit(IMAGES)
    expected = transformer.transform(IMAGES)
    for name, (X, _) in forms_of_images().items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*feature names")
            features = transformer.transform(X)
        assert features.tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_transformers(how):
    net = small(layers=MIXED, augmentation=RandomCrop(6, 6)).fit(IMAGES, DIGIT)
    transformer = ConvNetTransformer(net, "block").fit(IMAGES)
    other = COPIES[how](transformer)
    expected = transformer.transform(IMAGES)
    assert_same_bits(other.transform(IMAGES), expected)
    assert_same_bits(clone(other).fit(IMAGES).transform(IMAGES), expected)


def test_features_stay_when_the_network_goes_on():
    net = small(image_shape=None).fit(IMAGES, DIGIT)
    transformer = ConvNetTransformer(net, 0).fit(IMAGES)
    features = transformer.transform(IMAGES)
    net.fit(IMAGES[:, :5, :5], DIGIT)
    # nothing may be read beyond the end of smaller images
    with pytest.raises(ValueError, match="images of 5 x 5 x 1"):
        transformer.transform(IMAGES[:, :5, :5])
    assert_same_bits(transformer.transform(IMAGES), features)


def test_parameters_of_a_clone_of_a_transformer_are_its_own():
    net = small().fit(IMAGES, DIGIT)
    transformer = clone(ConvNetTransformer(net)).set_params(net__max_iter=77)
    assert net.max_iter == 3 and transformer.net.max_iter == 77
    transformer.net.partial_fit(IMAGES, DIGIT)
    assert len(net.loss_curve_) == 3 and differ(transformer.net, net)


# --- files of weights


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("safetensors")
    return tmp_path / "weights.safetensors"


def loader(net, **params):
    """Return a network of the same layers, with images of the same shape, that is not fitted."""
    return clone(net).set_params(**{"image_shape": net.image_shape_, **params})


@pytest.mark.parametrize("name", VARIED)
@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_weights_go_to_a_file_and_back(path, cls, name):
    net = small(cls, VARIED[name], image_shape=None, max_iter=1).fit(IMAGES, TARGETS[cls])
    net.save_weights(path)
    classes = {"classes": range(10)} if cls is ConvNetClassifier else {}
    other = loader(net).load_weights(path, **classes)
    assert_same_bits(other, net)
    assert_same_bits(outputs(other, IMAGES), outputs(net, IMAGES))
    assert other.n_features_in_ == 64 and other.image_shape_ == (8, 8, 1)
    assert other.summary() == net.summary()
    other.save_weights(path)
    assert_same_bits(loader(net).load_weights(str(path), **classes), net)


def test_weights_in_float64(path):
    net = small(layers=MIXED).fit(IMAGES.astype(float), DIGIT)
    net.save_weights(path)
    assert_same_bits(loader(net, dtype="float64").load_weights(path, range(10)), net)
    single = loader(net).load_weights(path, range(10))
    assert single.predict_proba(IMAGES.astype(float)).dtype == np.float32
    np.testing.assert_allclose(
        single.predict_proba(IMAGES), net.predict_proba(IMAGES), rtol=1e-3, atol=1e-5
    )


def test_labels_of_loaded_weights(path):
    names = np.array(list("abcdefghij"))
    net = small(layers=[*PLAIN, Dense(10)]).fit(DIGITS, names[DIGIT])
    net.save_weights(path)
    plain = loader(net).load_weights(path)
    np.testing.assert_array_equal(plain.classes_, range(10))
    named = loader(net).load_weights(path, names)
    np.testing.assert_array_equal(named.predict(DIGITS), net.predict(DIGITS))
    np.testing.assert_array_equal(names[plain.predict(DIGITS)], net.predict(DIGITS))
    two = small(layers=[*PLAIN, Dense(2)]).fit(DIGITS, DIGIT > 4)
    two.save_weights(path)
    assert_same_bits(
        loader(two).load_weights(path).predict_proba(DIGITS), two.predict_proba(DIGITS)
    )
    several = small(ConvNetRegressor, [*PLAIN, Dense(3)]).fit(DIGITS, DIGITS[:, 20:23])
    several.save_weights(path)
    assert_same_bits(loader(several).load_weights(path).predict(DIGITS), several.predict(DIGITS))
    linear = small(ConvNetRegressor, []).fit(DIGITS, DIGIT)
    linear.save_weights(path)
    assert_same_bits(loader(linear).load_weights(path), linear)


def test_some_layers_of_a_file_are_ignored(path):
    some = DIGIT < 5
    net = small(layers=[*MIXED, Dense(5, name="head")], max_iter=10)
    net.fit(IMAGES[some], DIGIT[some]).save_weights(path)
    other = loader(net).set_params(layers=[*MIXED, Dense(10, name="head")])
    with pytest.raises(ValueError, match="head.weight"):
        other.load_weights(path)
    assert not hasattr(other, "classes_")
    for ignore in (["head"], "head", ("head.",)):
        other.load_weights(path, ignore=ignore)
        assert list(other.classes_) == list(range(10))
        for name in ("stem", "norm"):
            for key, value in net.weights_[name].items():
                np.testing.assert_array_equal(other.weights_[name][key], value)
        assert other.weights_["head"]["kernel"].shape == (64, 10)
        assert other.weights_["head"]["kernel"].std() > 0.05
    # it can then be fine-tuned, with the other layers frozen
    other.set_params(layers__0__trainable=False, layers__1__trainable=False, warm_start=True)
    other.set_params(max_iter=30, learning_rate_init=0.01).fit(IMAGES, DIGIT)
    assert_same_bits(other.weights_["stem"]["kernel"], net.weights_["stem"]["kernel"])
    assert other.score(IMAGES, DIGIT) > 0.9


def test_a_failed_load_changes_nothing(path):
    net = small().fit(IMAGES, DIGIT)
    net.save_weights(path)
    other = small(layers=MIXED).fit(IMAGES, DIGIT)
    before = joblib.hash(vars(other))
    for call, match in (
        (lambda: other.load_weights(path, range(10)), "has no tensor 'stem.weight'"),
        (lambda: loader(net, image_shape=None).load_weights(path, range(10)), "image_shape"),
        (lambda: loader(net, image_shape=(9, 9)).load_weights(path, range(9)), "layers.2.weight"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert joblib.hash(vars(other)) == before
    with pytest.raises(NotFittedError):
        small().save_weights(path)


def test_loading_forgets_an_earlier_fit(path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)])
    net = small().fit(IMAGES, DIGIT)
    net.save_weights(path)
    fresh = small().load_weights(path, range(10))
    used = small(early_stopping=True, max_iter=20).fit(frame, DIGIT % 3)
    used.load_weights(path, range(10))
    attributes = "loss_curve_", "validation_scores_", "feature_names_in_", "t_", "n_iter_"
    for attribute in ("learning_rate_curve_", *attributes):
        assert hasattr(used, attribute) == hasattr(fresh, attribute), attribute
    for loaded in (fresh, used):
        loaded.set_params(warm_start=True, early_stopping=False, max_iter=3).fit(IMAGES, DIGIT)
    assert_same_bits(fresh, used)
    assert (fresh.t_, fresh.loss_curve_, fresh.best_loss_) == (
        used.t_, used.loss_curve_, used.best_loss_,
    )  # fmt: skip


def test_features_of_loaded_weights(path):
    net = small(layers=MIXED).fit(IMAGES, DIGIT)
    net.save_weights(path)
    loaded = loader(net).load_weights(path, range(10))
    model = make_pipeline(ConvNetTransformer(loaded), LogisticRegression(max_iter=500))
    assert clone(model).fit(DIGITS, DIGIT).score(DIGITS, DIGIT) > 0.9
    assert_same_bits(
        ConvNetTransformer(loaded).fit(DIGITS).transform(DIGITS),
        ConvNetTransformer(net).fit(DIGITS).transform(DIGITS),
    )
    loaded.partial_fit(IMAGES, DIGIT)
    assert len(loaded.loss_curve_) == 1


# --- layers that are not trained


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "sgd", "momentum": 0.9},
        {"solver": "adamw", "alpha": 0.1},
        {"l1": 1.0, "alpha": 1.0},
        {"clip_norm": 0.01},
        {"early_stopping": True},
        {"average": True},
    ],
    ids=str,
)
def test_frozen_layers_stay(params):
    net = small(layers=MIXED, warm_start=True).fit(IMAGES, DIGIT)
    before = net.weights_
    frozen = ("stem", "norm", "block.block.1")
    net.set_params(
        layers__0__trainable=False, layers__1__trainable=False,
        layers__3__block__1__trainable=False, **params,
    )  # fmt: skip
    for train in (net.fit, net.fit, net.partial_fit):
        if params.get("early_stopping") and train == net.partial_fit:
            continue
        train(IMAGES, DIGIT)
        for name, values in net.weights_.items():
            for key, value in values.items():
                same = value.tobytes() == before[name][key].tobytes()
                assert same == (name in frozen), (name, key)
    assert net.summary().trainable < small(layers=MIXED).fit(IMAGES, DIGIT).summary().trainable


def test_frozen_from_the_beginning():
    layers = [Conv2D(4, 3, activation="relu", trainable=False), MaxPooling2D(2)]
    for solver in ("adam", "lbfgs"):
        nets = [small(layers=layers, solver=solver, max_iter=n).fit(DIGITS, DIGIT) for n in (1, 20)]
        kernels, heads = (
            [net.weights_[name]["kernel"] for net in nets] for name in ("layers.0", "layers.2")
        )
        np.testing.assert_array_equal(*kernels)
        assert not np.array_equal(*heads)
        assert nets[1].loss_ < nets[0].loss_


def test_frozen_batch_normalization_uses_its_running_averages():
    net = small(layers=MIXED[:4], warm_start=True, max_iter=10).fit(IMAGES, DIGIT)
    frozen = copy.deepcopy(net).set_params(
        layers__1__trainable=False, layers__3__block__1__trainable=False,
        max_iter=1, batch_size=300, **STILL,
    )  # fmt: skip
    frozen.fit(IMAGES, DIGIT)
    # in training as in prediction
    loss = -np.mean(np.log(net.predict_proba(IMAGES)[range(300), DIGIT]))
    np.testing.assert_allclose(frozen.loss_, loss, rtol=1e-4)
    assert_same_bits(frozen, net)
    trained = copy.deepcopy(net).set_params(max_iter=1, batch_size=300, **STILL)
    trained.fit(IMAGES, DIGIT)
    assert abs(trained.loss_ - loss) > 1e-3
    assert differ(trained, net)


# --- the summary


def test_summary():
    layers = [
        Conv2D(4, 3, padding="same", activation="relu", name="first"),
        BatchNormalization(),
        MaxPooling2D(2),
        Residual([Conv2D(4, 1, use_bias=False, trainable=False)]),
        Dense(10),
    ]
    net = small(layers=layers)
    summary = net.summary()
    assert [tuple(row)[0] for row in summary.rows] == [
        "first", "layers.1", "layers.2", "layers.3.block.0", "layers.4",
    ]  # fmt: skip
    assert [row.output_shape for row in summary.rows] == [
        (8, 8, 4), (8, 8, 4), (4, 4, 4), (4, 4, 4), (10,),
    ]  # fmt: skip
    assert [row.parameters for row in summary.rows] == [40, 16, 0, 16, 650]
    assert [row.trainable for row in summary.rows] == [40, 8, 0, 0, 650]
    assert [row.multiply_adds for row in summary.rows] == [64 * 36, 0, 0, 256, 640]
    assert (summary.parameters, summary.trainable, summary.other) == (722, 698, 24)
    assert summary.multiply_adds == 64 * 36 + 256 + 640
    assert net.fit(IMAGES, DIGIT).summary() == summary
    assert sum(value.size for value in weights(net)) == summary.parameters
    text = str(summary)
    assert "Conv2D(relu)" in text and "8 x 8 x 4" in text and "698 trainable" in text
    assert len({line.rstrip() for line in text.splitlines()}) >= 7
    html = summary._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 7 and "Conv2D(relu)" in html
    frame = summary.to_frame()
    assert list(frame["parameters"]) == [40, 16, 0, 16, 650]
    assert len(frame) == 5


def test_summary_escapes_names():
    html = small(layers=[Conv2D(4, 3, name="<b>")]).summary()._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_summary_of_a_network_that_is_not_fitted():
    net = ConvNetClassifier([Conv2D(4, 3)])
    with pytest.raises(ValueError, match="image_shape is needed"):
        net.summary()
    assert net.summary((8, 8)).rows[0].output_shape == (6, 6, 4)
    assert net.summary((8, 8, 3)).parameters == 4 * 28
    # the fitted one is of the images that it was fitted to, or of others
    net.set_params(max_iter=1).fit(IMAGES, DIGIT)
    assert net.summary().rows[0].output_shape == (6, 6, 4)
    assert net.summary((10, 9)).rows[0].output_shape == (8, 7, 4)
    with pytest.raises(ValueError, match="layers.0: Conv2D.*2 x 2 x 1"):
        net.summary((2, 2))
    lenet = ConvNetClassifier(image_shape=(28, 28))
    assert lenet.summary().trainable == 61_706


def test_summary_of_cropped_images():
    net = small(augmentation=RandomCrop(6, 5))
    shapes = [row.output_shape for row in net.summary().rows]
    assert shapes == [(4, 3, 4), (2, 1, 4)]
    fitted = [row.output_shape for row in net.fit(IMAGES, DIGIT).summary().rows]
    assert fitted == [*shapes, (10,)]


# --- augmentation

CHANGES = {
    "shift": RandomShift(1, 2),
    "flip": RandomFlip(),
    "both flips": RandomFlip("horizontal_and_vertical"),
    "list": [RandomShift(2, 0), RandomFlip("vertical")],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_augmentation_is_for_training_only(change):
    still = {**STILL, "max_iter": 4, "shuffle": False, "batch_size": 300}
    plain = small(**still).fit(IMAGES, DIGIT)
    net = small(augmentation=change, **still).fit(IMAGES, DIGIT)
    # each epoch has its own random changes
    assert len(set(plain.loss_curve_)) == 1
    assert len(set(net.loss_curve_)) == 4
    assert_same_bits(net, plain)
    assert_same_bits(net.predict_proba(IMAGES), plain.predict_proba(IMAGES))
    assert differ(small(augmentation=change).fit(IMAGES, DIGIT), small().fit(IMAGES, DIGIT))
    # among the layers, and as the parameter, they are the same
    changes = change if isinstance(change, list) else [change]
    among = small(layers=[*changes, *PLAIN]).fit(IMAGES, DIGIT)
    assert_same_bits(among, small(augmentation=changes).fit(IMAGES, DIGIT))
    assert_same_bits(
        among.predict_proba(IMAGES), small(augmentation=changes).fit(IMAGES, DIGIT).predict_proba(
            IMAGES
        )
    )  # fmt: skip


def test_validation_sees_images_as_they_are():
    still = {**STILL, "max_iter": 3}
    held = {"X_val": IMAGES[:50], "y_val": DIGIT[:50]}
    net = small(augmentation=RandomShift(3, 3), **still).fit(IMAGES, DIGIT, **held)
    assert len(set(net.validation_loss_curve_)) == 1
    assert net.validation_scores_[0] == net.score(IMAGES[:50], DIGIT[:50])


@pytest.mark.parametrize(
    "change, axis, hides",
    [
        (RandomFlip(), 2, True),
        (RandomFlip(), 1, False),
        (RandomFlip("vertical"), 1, True),
        (RandomFlip("vertical"), 2, False),
        (RandomFlip("horizontal_and_vertical"), 1, True),
        (RandomFlip("horizontal_and_vertical"), 2, True),
        (RandomShift(0, 3), 1, False),
    ],
    ids=str,
)
def test_what_is_changed_cannot_be_learnt(change, axis, hides):
    """Random mirroring of that half hides which half of the image is dark."""
    y = np.tile([0, 1], 200)
    X = np.random.RandomState(0).uniform(0.5, 1, size=(400, 6, 6)).astype(np.float32)
    halves = np.arange(6) < 3
    mask = np.where(y[:, None] == 1, halves, ~halves)
    X *= mask[:, :, None] if axis == 1 else mask[:, None, :]
    net = small(
        layers=[], image_shape=None, augmentation=change, max_iter=15, learning_rate_init=0.02
    ).fit(X, y)
    expected = 2 * net.predict_proba(X)[:, 1] - 1
    sure = np.abs(expected).mean()
    assert sure < 0.35 if hides else sure > 0.6
    if not hides:
        assert net.score(X, y) == 1.0


def test_a_crop_predicts_from_the_center():
    still = {**STILL, "max_iter": 2}
    net = small(augmentation=RandomCrop(5, 6), **still).fit(IMAGES, DIGIT)
    assert net.image_shape_ == (8, 8, 1)
    center = IMAGES[:, 1:6, 1:7]
    plain = small(image_shape=None, **still).fit(center, DIGIT)
    assert_same_bits(net, plain)
    assert_same_bits(net.predict_proba(IMAGES), plain.predict_proba(center))
    assert_same_bits(net.predict_proba(IMAGES[:1]), plain.predict_proba(center[:1]))
    assert_same_bits(net.predict_proba(DIGITS), plain.predict_proba(center))
    assert len(set(net.loss_curve_)) == 2
    learned = small(augmentation=RandomCrop(6, 6), **QUICK)
    assert learned.fit(IMAGES, DIGIT).score(IMAGES, DIGIT) > 0.75
    whole = small(augmentation=RandomCrop(8, 8)).fit(IMAGES, DIGIT)
    assert_same_bits(whole, small().fit(IMAGES, DIGIT))
    features = ConvNetTransformer(net, 0).fit(IMAGES).transform(IMAGES)
    assert_same_bits(features, ConvNetTransformer(plain, 0).fit(center).transform(center))


def test_architectures_see_the_cropped_image():
    net = ConvNetClassifier(
        image_shape=(8, 8), augmentation=RandomCrop(3, 3), max_iter=1, random_state=0
    ).fit(IMAGES, DIGIT)
    assert net.layers_ == lenet5((3, 3, 1), 10)


def test_augmentation_goes_with_sparse_rows():
    nets = [
        small(augmentation=[RandomShift(1, 1), RandomFlip()]).fit(X, DIGIT)
        for X in (DIGITS, sp.csr_array(DIGITS))
    ]
    assert_same_bits(*nets)


# --- penalties


def test_penalties_of_kernels():
    params = {"max_iter": 20, "learning_rate_init": 0.02}
    plain = small(**params).fit(DIGITS, DIGIT)
    for name in ("kernel_l1", "kernel_l2"):
        net = small(**params).set_params(**{f"layers__0__{name}": 300.0}).fit(DIGITS, DIGIT)
        sizes = [np.abs(n.weights_["layers.0"]["kernel"]).mean() for n in (net, plain)]
        assert sizes[0] < 0.4 * sizes[1], name


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_layer_may_have_the_penalties_of_the_estimator(solver):
    params = {"solver": solver, "max_iter": 5, "learning_rate_init": 0.01}
    everywhere = small(alpha=3.0, l1=0.5, **params).fit(DIGITS.astype(float), DIGIT)
    own = {"kernel_l1": 0.5, "kernel_l2": 3.0}
    layers = [Conv2D(4, 3, activation="relu", **own), MaxPooling2D(2), Dense(10, **own)]
    net = small(layers=layers, alpha=0.0, **params).fit(DIGITS.astype(float), DIGIT)
    np.testing.assert_allclose(
        net.predict_proba(DIGITS), everywhere.predict_proba(DIGITS), rtol=1e-6
    )
    # zero counts as a layer's own penalty, too
    free = small(layers=[replaced(layer, 0.0) for layer in layers], alpha=3.0, l1=0.5, **params)
    none = small(alpha=0.0, **params).fit(DIGITS.astype(float), DIGIT)
    free.fit(DIGITS.astype(float), DIGIT)
    np.testing.assert_allclose(free.predict_proba(DIGITS), none.predict_proba(DIGITS), rtol=1e-6)


def replaced(layer, penalty):
    """Return a layer with another penalty, if it has kernels."""
    if not isinstance(layer, (Conv2D, Dense)):
        return layer
    others = {"activation": layer.activation, "kernel_l1": penalty, "kernel_l2": penalty}
    if isinstance(layer, Dense):
        return Dense(layer.units, **others)
    return Conv2D(layer.filters, layer.kernel_size, **others)


@pytest.mark.parametrize("name", ["activity_l1", "activity_l2"])
def test_penalties_of_activities(name):
    means = []
    for strength in (0.0, 0.3):
        layers = [Conv2D(4, 3, activation="softplus", **{name: strength}), Flatten()]
        net = small(layers=layers, max_iter=30, learning_rate_init=0.01).fit(DIGITS, DIGIT)
        means.append(ConvNetTransformer(net, 0).fit(DIGITS).transform(DIGITS).mean())
    assert means[1] < 0.5 * means[0]
    # the penalty is in the loss that is reported
    still = {**STILL, "max_iter": 1}
    layers = [Conv2D(4, 3, activation="relu", **{name: 0.1}), MaxPooling2D(2)]
    net, plain = (small(layers=some, **still).fit(DIGITS, DIGIT) for some in (layers, PLAIN))
    a = ConvNetTransformer(net, 0).fit(DIGITS).transform(DIGITS).astype(float)
    sums = np.abs(a).sum(axis=1) if name == "activity_l1" else 0.5 * (a**2).sum(axis=1)
    np.testing.assert_allclose(net.loss_ - plain.loss_, 0.1 * sums.mean(), rtol=1e-3)


# --- learning

HELD_OUT = train_test_split(ALL_DIGITS.reshape(-1, 8, 8), ALL_DIGIT, random_state=0)


def test_a_small_network_learns_the_digits():
    X, X_test, y, y_test = HELD_OUT
    layers = [
        Conv2D(16, 3, padding="same", activation="relu"),
        Conv2D(32, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(64, activation="relu"),
    ]
    net = ConvNetClassifier(
        layers, max_iter=25, batch_size=64, learning_rate_init=0.002, random_state=0
    ).fit(X, y)
    assert net.score(X_test, y_test) > 0.975


def test_a_residual_network_learns_the_digits():
    X, X_test, y, y_test = HELD_OUT

    def block(filters, strides):
        return Residual(
            [
                Conv2D(filters, 3, strides, "same", use_bias=False),
                BatchNormalization(),
                Activation("relu"),
                Conv2D(filters, 3, padding="same", use_bias=False),
                BatchNormalization(),
            ],
            [Conv2D(filters, 1, strides, use_bias=False), BatchNormalization()],
        )

    layers = [
        Conv2D(8, 3, padding="same"),
        block(16, 1),
        Activation("relu"),
        block(32, 2),
        Activation("relu"),
        GlobalAveragePooling2D(),
    ]
    net = ConvNetClassifier(
        layers, max_iter=15, batch_size=32, learning_rate_init=0.003, random_state=0
    ).fit(X, y)
    assert net.score(X_test, y_test) > 0.97


def test_shifts_in_training_help_with_shifted_images():
    X, X_test, y, y_test = HELD_OUT
    shifted = np.roll(np.pad(X_test, ((0, 0), (0, 0), (1, 1))), 1, axis=2)[:, :, 1:-1]
    scores = []
    for change in (None, RandomShift(1, 1)):
        net = small(
            layers=[Conv2D(8, 3, activation="relu"), Flatten()], image_shape=None,
            augmentation=change, max_iter=15, batch_size=64, learning_rate_init=0.003,
        ).fit(X, y)  # fmt: skip
        scores.append(net.score(shifted, y_test))
    assert scores[1] > scores[0] + 0.1


# --- memory


@pytest.mark.parametrize("kind", ["X", "X.reshape(len(X), -1)", "X.astype(np.float32)"])
def test_fit_holds_no_second_copy(kind):
    grown = growth(f"""
        from sknn import ConvNetClassifier
        from sknn.layers import Conv2D
        X = random_state.randint(0, 16, (30_000, 28, 28, 1), dtype=np.uint8)
        y = X[:, 0, 0, 0] % 4
        X = {kind}

        def act(X):
            layers = [Conv2D(4, 7, 7, activation="relu")]
            ConvNetClassifier(layers, (28, 28), max_iter=1).fit(X, y[: len(X)])

        act(X[:300])
        """)
    as_float32 = 30_000 * 28 * 28 * 4 / 2**20
    assert grown < as_float32 / 4


def test_predict_is_bounded():
    grown = growth("""
        from sknn import ConvNetClassifier
        from sknn.layers import Conv2D
        X = random_state.randint(0, 16, (100_000, 10, 10), dtype=np.uint8)
        layers = [Conv2D(8, 3, activation="relu")]
        net = ConvNetClassifier(layers, max_iter=1).fit(X[:300], X[:300, 0, 0] % 2)

        def act(X):
            net.predict(X)

        act(X[:20_000])
        """)
    # X as float32 is 38 MiB, the activations of all rows 195
    assert grown < 25
