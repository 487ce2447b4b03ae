"""Errors are reported clearly, and leave no wrong model behind.

A fit that raises leaves a fitted estimator exactly as it was, and an unfitted one unfitted. An
interrupted fit leaves a usable model.
"""

import signal
import subprocess
import sys
import textwrap
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from sknn import (
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    MLPNet,
    MLPNetClassifier,
    MLPNetRegressor,
)
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

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # overflow on purpose
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

X, Y = load_digits(return_X_y=True)
X, Y = X[:120] / 16, Y[:120]
LABELS = np.column_stack([Y > 3, Y > 5]).astype(int)
ESTIMATORS = {
    "classifier": MLPNetClassifier,
    "regressor": MLPNetRegressor,
    "net, classification": MLPNet,
    "net, regression": lambda **params: MLPNet("regression", **params),
}
CONVNETS = {"conv classifier": ConvNetClassifier, "conv regressor": ConvNetRegressor}
EVERYONE = ESTIMATORS | CONVNETS
LAYERS = [Conv2D(4, 3, activation="relu"), MaxPooling2D(2)]
IMAGES = X.reshape(-1, 8, 8)


def small(make=MLPNetClassifier, **params):
    network = {"hidden_layer_sizes": (8,)}
    if make in CONVNETS.values():
        network = {"layers": LAYERS, "image_shape": (8, 8)}
    return make(**{**network, "max_iter": 3, "random_state": 0, **params})


def with_value(value, dtype=float, where=(5, 20)):
    array = X.astype(dtype)
    array[where] = value
    return array


def state(net):
    """Return a digest of an estimator's whole state, recursively."""
    return joblib.hash(vars(net))


def fit_with(net, params, data, y):
    """Fit with other parameters, which are restored before states are compared."""
    good = {name: getattr(net, name) for name in params}
    try:
        net.set_params(**params).fit(data, y)
    finally:
        net.set_params(**good)


def assert_raises_and_changes_nothing(make, error, match, train):
    """Check that `train(net)` raises on a fitted and on a new estimator, and changes neither."""
    for fitted in (True, False):
        net = small(make)
        if fitted:
            net.fit(X, Y)
            predicted = net.predict(X)
        before = state(net)
        with pytest.raises(error, match=match):
            train(net)
        assert state(net) == before
        if fitted:
            np.testing.assert_array_equal(net.predict(X), predicted)
        else:
            with pytest.raises(NotFittedError):
                check_is_fitted(net)


# --- data

BAD_DATA = {
    "NaN": (with_value(np.nan), Y, "X contains NaN"),
    "infinity": (with_value(-np.inf), Y, "X contains infinity"),
    "NaN in float32": (with_value(np.nan, np.float32), Y, "X contains NaN"),
    "infinity in float16": (with_value(np.inf, np.float16), Y, "X contains infinity"),
    "NaN in a sparse matrix": (sp.csr_array(with_value(np.nan)), Y, "X contains NaN"),
    "NaN in objects": (with_value(np.nan).astype(object), Y, "X contains NaN"),
    "one dimension": (X[:, 0], Y, "Expected 2D array"),
    "three dimensions": (X.reshape(-1, 8, 8), Y, "dim 3"),
    "complex": (X * 1j, Y, "Complex data not supported"),
    "strings": (np.full(X.shape, "a"), Y, "not compatible with arrays of bytes/strings"),
    "no samples": (X[:0], Y[:0], "0 sample"),
    "no features": (X[:, :0], Y, "0 feature"),
    "lengths differ": (X, Y[:-1], "inconsistent numbers of samples"),
    "no y": (X, None, "requires y to be passed"),
    "NaN in y": (X, np.where(Y == 3, np.nan, Y), "y contains NaN"),
    "infinity in y": (X, np.where(Y == 3, np.inf, Y), "y contains infinity|Input y"),
    "y of three dimensions": (X, np.zeros((len(X), 2, 2)), "dim 3|3D|Unknown label type"),
}


@pytest.mark.parametrize("make", EVERYONE.values(), ids=EVERYONE)
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(make, name):
    data, y, match = BAD_DATA[name]
    if name == "three dimensions" and make in CONVNETS.values():
        data, match = data.reshape(-1, 2, 2, 2, 8), "X has 5 dimensions"
    assert_raises_and_changes_nothing(make, ValueError, match, lambda net: net.fit(data, y))


@pytest.mark.parametrize("make", EVERYONE.values(), ids=EVERYONE)
def test_bad_data_in_partial_fit_and_predict(make):
    net = small(make).fit(X, Y)
    before = state(net)
    for data, y, match in (BAD_DATA["NaN"], BAD_DATA["complex"], BAD_DATA["no samples"]):
        for call in (lambda: net.partial_fit(data, y), lambda: net.predict(data)):  # noqa: B023
            with pytest.raises(ValueError, match=match):
                call()
    for call in (lambda: net.partial_fit(X[:, :9], Y), lambda: net.predict(X[:, :9])):
        with pytest.raises(ValueError, match="9 features.*expecting 64"):
            call()
    assert state(net) == before
    with pytest.raises(NotFittedError):
        small(make).predict(X)


WEIGHTS = {
    "all zero": (np.zeros(len(X)), "non-zero|zero for every sample"),
    "one negative": (np.where(Y == 3, -1.0, 1.0), "Negative values"),
    "NaN": (np.where(Y == 3, np.nan, 1.0), "NaN"),
    "infinite": (np.where(Y == 3, np.inf, 1.0), "infinity"),
    "too few": (np.ones(len(X) - 1), "sample_weight.shape"),
    "two columns": (np.ones((len(X), 2)), "1D array or scalar"),
}


@pytest.mark.parametrize("make", EVERYONE.values(), ids=EVERYONE)
@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights(make, name):
    weights, match = WEIGHTS[name]
    assert_raises_and_changes_nothing(
        make, ValueError, match, lambda net: net.fit(X, Y, weights)
    )
    net = small(make).fit(X, Y)
    with pytest.raises(ValueError, match=match):
        net.partial_fit(X, Y, weights)


@pytest.mark.parametrize(
    "class_weight, match",
    [
        ({0: -1.0}, "(?i)negative"),
        (dict.fromkeys(range(10), 0.0), "non-zero|zero for every sample"),
        ({0: np.nan}, "class_weight|[wW]eight.*NaN"),
        ({77: 1.0}, "not in class_weight"),
        ({0: "1"}, "class_weight has .*something else than numbers"),
        ([], "class_weight is the list .*several labels"),
        ([{0: 1.0}], "class_weight is the list .*several labels"),
    ],
)
def test_bad_class_weights(class_weight, match):
    assert_raises_and_changes_nothing(
        MLPNetClassifier, ValueError, match,
        lambda net: fit_with(net, {"class_weight": class_weight}, X, Y),
    )  # fmt: skip


@pytest.mark.parametrize("given", [1.0, {1: -1.0}, {1: None}])
def test_bad_class_weights_of_several_labels(given):
    labels = np.eye(10, dtype=int)[Y]
    with pytest.raises(ValueError, match="class_weight has"):
        small(class_weight=[given] * 10).fit(X, labels)


def test_class_weight_of_a_class_that_a_part_lacks():
    # The weight counts for the classes there are, as in scikit-learn's own incremental learners.
    given = {0: 5.0, 2: 2.0}
    net = small(class_weight=given).partial_fit(X[:2], Y[:2], classes=np.arange(10))
    other = small().partial_fit(X[:2], Y[:2], [5.0, 1.0], classes=np.arange(10))
    for a, b in zip(net.coefs_, other.coefs_):
        assert a.tobytes() == b.tobytes()


def test_weights_of_zero_are_as_if_the_sample_were_not_there():
    weights = np.where(Y == 3, 0.0, 1.0)
    kwargs = {"solver": "lbfgs", "max_iter": 20}
    a = small(MLPNetRegressor, **kwargs).fit(X, Y, weights)
    b = small(MLPNetRegressor, **kwargs).fit(X[Y != 3], Y[Y != 3])
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-5)
    # whole batches of them neither teach anything nor do harm
    weights = np.zeros(len(X))
    weights[:3] = 1.0
    net = small(batch_size=4, shuffle=False).fit(X, Y, weights)
    assert np.isfinite(net.loss_curve_).all()
    assert all(np.isfinite(w).all() for w in net.coefs_)


def test_one_class_is_predicted():
    for solver in ("adam", "lbfgs"):
        net = small(solver=solver).fit(X, np.full(len(X), "only"))
        assert list(net.classes_) == ["only"]
        assert set(net.predict(X)) == {"only"}


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
def test_one_sample(make):
    for params in ({}, {"batch_norm": True}, {"solver": "lbfgs"}, {"dropout": 0.5}):
        net = small(make, **params).fit(X[:1], Y[:1])
        np.testing.assert_array_equal(net.predict(X[:3]).shape, (3,))
        assert np.isfinite(net.loss_curve_).all()
    with pytest.raises(ValueError, match="validation set is too small"):
        small(make, early_stopping=True).fit(X[:1], Y[:1])


def test_validation_set_too_small():
    for cls, match in (
        (MLPNetClassifier, "both parts need samples of each of the 2 classes"),
        (MLPNetRegressor, "validation set is too small"),
    ):
        assert_raises_and_changes_nothing(
            cls, ValueError, match,
            lambda net: fit_with(net, {"early_stopping": True}, X[:8], Y[:8] % 2),
        )  # fmt: skip


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_batch_larger_than_the_data_is_clipped_with_a_warning(make):
    with pytest.warns(UserWarning, match="larger than sample size. It is going to be clipped"):
        net = small(make, batch_size=1000).fit(X, Y)
    whole = small(make, batch_size=len(X)).fit(X, Y)
    assert net.coefs_[0].tobytes() == whole.coefs_[0].tobytes()


def test_targets_of_the_wrong_kind():
    for train, match in (
        (lambda net: net.fit(X, X[:, 20] + 0.123), "Unknown label type"),
        (lambda net: net.fit(X, np.column_stack([Y, Y])), "[mM]ultioutput"),
    ):
        assert_raises_and_changes_nothing(MLPNetClassifier, ValueError, match, train)
    for train, match in (
        (lambda net: net.fit(X, np.array(["a", "b"] * 60)), "could not convert string"),
        (lambda net: net.fit(X, Y * 1j), "Complex data not supported"),
        (lambda net: fit_with(net, {"loss": "poisson"}, X, Y - 5.0), "y >= 0"),
    ):
        assert_raises_and_changes_nothing(MLPNetRegressor, ValueError, match, train)


def test_classes_in_partial_fit():
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        small().partial_fit(X, Y)
    net = small()
    before = state(net)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        net.partial_fit(X, Y, classes=[0, 1, 2])
    assert state(net) == before
    net.partial_fit(X, Y % 3, classes=[0, 1, 2])
    before = state(net)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        net.partial_fit(X, Y)
    with pytest.raises(ValueError, match="not the same as on last call"):
        net.partial_fit(X, Y, classes=np.arange(10))
    assert state(net) == before
    with pytest.raises(ValueError, match="does not support early_stopping"):
        small(early_stopping=True).partial_fit(X, Y, classes=np.arange(10))
    with pytest.raises(ValueError, match="class_weight='balanced'"):
        small(class_weight="balanced").partial_fit(X, Y, classes=np.arange(10))
    with pytest.raises(AttributeError, match="partial_fit"):
        small(solver="lbfgs").partial_fit(X, Y, classes=np.arange(10))


OTHER_TARGETS = {
    "two outputs after one": (MLPNetRegressor, Y, np.column_stack([Y, Y])),
    "one output after two": (MLPNetRegressor, np.column_stack([Y, Y]), Y),
    "labels after classes": (MLPNetClassifier, Y, LABELS),
    "labels after two classes": (MLPNetClassifier, Y % 2, LABELS),
    "classes after labels": (MLPNetClassifier, LABELS, Y % 2),
    "more labels": (MLPNetClassifier, LABELS, np.hstack([LABELS, LABELS])),
    "fewer labels": (MLPNetClassifier, np.hstack([LABELS, LABELS]), LABELS),
}


@pytest.mark.parametrize("name", OTHER_TARGETS)
def test_targets_of_another_shape_than_the_fitted(name):
    cls, first, then = OTHER_TARGETS[name]
    net = small(cls, warm_start=True).fit(X, first)
    before = state(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError):
            train(X, then)
    with pytest.raises(ValueError):
        net.fit(X, first, X_val=X, y_val=then)
    assert state(net) == before


def test_validation_data():
    for kwargs, match in (
        ({"X_val": X}, "go together"),
        ({"y_val": Y}, "go together"),
        ({"sample_weight_val": np.ones(len(X))}, "sample_weight_val"),
        ({"X_val": X[:, :5], "y_val": Y}, "5 features"),
        ({"X_val": with_value(np.nan), "y_val": Y}, "NaN"),
        ({"X_val": X, "y_val": Y[:-1]}, "inconsistent numbers"),
        ({"X_val": X[:0], "y_val": Y[:0]}, "0 sample"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(len(X))}, "zero"),
    ):
        for cls in (MLPNetClassifier, MLPNetRegressor, *CONVNETS.values()):
            assert_raises_and_changes_nothing(
                cls, ValueError, match, lambda net: net.fit(X, Y, **kwargs)  # noqa: B023
            )
    with pytest.raises(ValueError, match="y_val has classes not in y"):
        small().fit(X, Y % 3, X_val=X, y_val=Y)


# --- parameters

# For each parameter of the constructors: values that are wrong, of the wrong type first.
WRONG = {
    "hidden_layer_sizes": ["a", 0, -3, None, 2.5],
    "activation": [3, None, "sine"],
    "solver": [3, "newton"],
    "alpha": ["a", -1.0, np.nan],
    "l1": ["a", -1.0],
    "batch_size": [2.5, 0, "all"],
    "learning_rate": [0.1, "slow"],
    "learning_rate_init": ["a", 0.0, -1.0, np.nan],
    "power_t": ["a", -1.0],
    "alpha_schedule": [3, "cosine"],
    "dropout_schedule": [3, "flat"],
    "max_iter": [2.5, 0],
    "shuffle": ["yes", 2],
    "random_state": ["a", -1],
    "tol": ["a", -1.0],
    "verbose": ["yes", -1],
    "warm_start": ["yes"],
    "momentum": ["a", -0.1, 1.1],
    "nesterovs_momentum": ["yes"],
    "early_stopping": ["yes"],
    "validation_fraction": ["a", -0.1, 1.0],
    "beta_1": ["a", -0.1, 1.0],
    "beta_2": ["a", -0.1, 1.0],
    "epsilon": ["a", 0.0],
    "n_iter_no_change": ["a", 0, 2.5],
    "max_fun": [2.5, 0],
    "initializer": [3, "ones"],
    "clip_value": ["a", 0.0, -1.0],
    "clip_norm": ["a", 0.0, -1.0],
    "warmup": ["a", -0.1, 1.0],
    "average": ["yes", 0.0, 1, -0.5, 2.0],
    "dtype": [np.float32, "float16"],
    "device": [0, None, "gpu", "cuda:", "cuda:-1", "cuda:1.0", "CPU"],
    "n_jobs": [1.5, "all"],
    "loss": [3, "hinge"],
    "label_smoothing": ["a", 1.0, -0.1],
    "output_activation": [3, "sine", "step"],
    "dropout": ["a", None, 1.0, -0.1],
    "batch_norm": ["yes", 2],
    "class_weight": [1.0, "even"],
    "plateau_factor": ["a", 0.0, 1.0],
    "plateau_patience": ["a", 0, 1.5],
    "scoring": [3, ["accuracy"]],
    "quantile": ["a", -0.1, 1.1],
    "huber_delta": ["a", 0.0],
    "task": [3, "clustering"],
    "layers": [3, None, "lenet"],
    "image_shape": [8, "8x8"],
    "augmentation": [3, "flip", Dropout(0.5)],
}


@pytest.mark.parametrize(
    "cls", [MLPNetClassifier, MLPNetRegressor, MLPNet, ConvNetClassifier, ConvNetRegressor]
)
def test_every_parameter_is_checked(cls):
    net = small(cls)
    names = net.get_params(deep=False)
    assert set(names) <= set(WRONG)
    before = state(net)
    for name in names:
        for value in WRONG[name]:
            good = getattr(net, name)
            for train in (net.fit, net.partial_fit):
                setattr(net, name, value)
                with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of"):
                    train(X, Y)
            setattr(net, name, good)
    assert state(net) == before
    assert issubclass(InvalidParameterError, ValueError)


BAD_COMBINATIONS = {
    "a layer of no units": ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be > 0"),
    "a layer of half a unit": ({"hidden_layer_sizes": (8.5,)}, "hidden_layer_sizes.*integer"),
    "a layer of a string": ({"hidden_layer_sizes": ("a",)}, "hidden_layer_sizes.*integer"),
    "nested layers": ({"hidden_layer_sizes": [[8]]}, "hidden_layer_sizes.*integer"),
    "too many activations": ({"activation": ["relu", "tanh"]}, "activation has 2 entries"),
    "too few activations": ({"activation": []}, "activation has 0 entries"),
    "an unknown activation": ({"activation": ["sine"]}, "activation is 'sine'"),
    "an activation of no type": ({"activation": [3]}, "activation has the entry 3"),
    "softmax inside": ({"activation": "softmax"}, "activation is 'softmax'"),
    "too many dropouts": ({"dropout": [0.1, 0.2]}, "dropout has 2 entries"),
    "dropout of all": ({"dropout": [1.0]}, r"dropout must lie in \[0, 1\)"),
    "dropout of NaN": ({"dropout": [np.nan]}, r"dropout must lie in \[0, 1\)"),
    "dropout of a string": ({"dropout": ["a"]}, "dropout"),
    "nested dropout": ({"dropout": [[0.1]]}, "dropout"),
    "step": ({"activation": "step"}, "'step' has no useful derivative"),
    "an unknown output": ({"output_activation": Activation("step")}, "output_activation is 'step'"),
    "n_jobs of 0": ({"n_jobs": 0}, "n_jobs"),
    "lbfgs and dropout": ({"solver": "lbfgs", "dropout": 0.1}, "solver='lbfgs'.*dropout"),
    "lbfgs and batch_norm": ({"solver": "lbfgs", "batch_norm": True}, "solver='lbfgs'.*batch_norm"),
}


@pytest.mark.parametrize("cls", [MLPNetClassifier, MLPNetRegressor])
@pytest.mark.parametrize("name", BAD_COMBINATIONS)
def test_bad_combinations(cls, name):
    params, match = BAD_COMBINATIONS[name]
    assert_raises_and_changes_nothing(
        cls, (ValueError, TypeError), match, lambda net: fit_with(net, params, X, Y)
    )


@pytest.mark.parametrize(
    "cls, params, y, match",
    [
        (MLPNetClassifier, {"output_activation": "identity"}, Y, "needs probabilities"),
        (MLPNetClassifier, {"output_activation": "tanh"}, Y > 4, "needs probabilities"),
        (
            MLPNetClassifier, {"output_activation": "identity", "loss": "squared_error"}, Y,
            "needs probabilities",
        ),
        (MLPNetClassifier, {"output_activation": "softmax"}, Y > 4, "several outputs"),
        (MLPNetClassifier, {"output_activation": "softmax"}, LABELS, "softmax"),
        (MLPNetRegressor, {"output_activation": "softmax"}, Y, "several outputs"),
        (MLPNetRegressor, {"output_activation": "identity", "loss": "poisson"}, Y, "poisson"),
        (MLPNet, {"loss": "huber"}, Y, "loss='huber' is not for this task"),
        (MLPNet, {"loss": "log_loss", "task": "regression"}, Y, "loss='log_loss' is not for"),
    ],
)
def test_losses_and_outputs_that_clash(cls, params, y, match):
    net = small(cls, **params)
    before = state(net)
    with pytest.raises(ValueError, match=match):
        net.fit(X, y)
    assert state(net) == before


@pytest.mark.parametrize("cls", [MLPNetClassifier, MLPNetRegressor])
def test_X_beyond_the_range_of_the_computing_type(cls):
    net = small(cls, dtype="float32").fit(X, Y)
    with pytest.raises(ValueError, match="too large for float32"):
        net.predict(with_value(1e300).astype("float64"))
    assert np.isfinite(net.predict(X)).all()


def test_unknown_parameters():
    with pytest.raises(TypeError, match="MLPNetClassifier.*'depth'"):
        MLPNetClassifier(depth=3)
    with pytest.raises(TypeError, match="MLPNetClassifier.*positional"):
        MLPNetClassifier((8,), "relu", "adam")
    with pytest.raises(ValueError, match="depth"):
        MLPNetClassifier().set_params(depth=3)


@pytest.mark.parametrize(
    "changed",
    [{"hidden_layer_sizes": (9,)}, {"hidden_layer_sizes": (8, 8)}, {"batch_norm": True}],
    ids=str,
)
def test_warm_start_of_another_network(changed):
    net = small(warm_start=True).fit(X, Y).set_params(**changed)
    before = state(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="hidden_layer_sizes or batch_norm have changed"):
            train(X, Y)
    assert state(net) == before
    # the network that was fitted still predicts
    assert net.predict(X).shape == (len(X),)


def test_warm_start_of_other_data():
    net = small(warm_start=True).fit(X, Y)
    before = state(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="same classes"):
            train(X, Y % 3)
        with pytest.raises(ValueError, match="9 features"):
            train(X[:, :9], Y)
    assert state(net) == before


# --- training that goes wrong

DIVERGING = {"solver": "sgd", "learning_rate_init": 1e10, "max_iter": 50, "activation": "identity"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [MLPNetRegressor, ESTIMATORS["net, regression"]])
def test_a_diverging_loss(make, dtype):
    assert_raises_and_changes_nothing(
        make, ValueError, "non-finite parameter weights",
        lambda net: fit_with(net, DIVERGING, (X * 100).astype(dtype), Y),
    )  # fmt: skip


def test_divergence_in_fit_and_partial_fit():
    for make in (MLPNetRegressor, ESTIMATORS["net, regression"]):
        net = small(make, activation="identity").fit(X, Y)
        before, predicted = state(net), net.predict(X)
        for train in (net.fit, net.partial_fit):
            with pytest.raises(ValueError, match="non-finite parameter weights"):
                train(X * 1e300, Y)
        assert state(net) == before
        np.testing.assert_array_equal(net.predict(X), predicted)


def test_weights_that_are_not_finite_are_not_trained():
    for cls in (MLPNetClassifier, MLPNetRegressor):
        net = small(cls).fit(X, Y)
        net.coefs_[0][3, 3] = np.nan
        before = state(net)
        with pytest.raises(ValueError, match="finite"):
            net.partial_fit(X, Y)
        assert state(net) == before


class At:
    """A callback that raises at the end (or the start) of a task."""

    def __init__(self, error, task="epoch", number=1, begin=False):
        self.error, self.task, self.number, self.begin = error, task, number, begin
        self.torn_down = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def _maybe(self, context):
        if context.task_name == self.task and context.task_id == self.number:
            raise self.error

    def on_fit_task_begin(self, estimator, context):
        if self.begin:
            self._maybe(context)

    def on_fit_task_end(self, estimator, context):
        if not self.begin:
            self._maybe(context)


class Trouble(Exception):
    pass


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("make", [MLPNetClassifier, MLPNetRegressor])
def test_an_exception_in_the_middle_of_training(make, solver):
    callbacks = [
        At(Trouble("at the end of an epoch")),
        At(Trouble("at the beginning of an epoch"), begin=True),
        At(Trouble("at the end"), "fit", 0),
        At(Trouble("at the beginning"), "fit", 0, begin=True),
    ]
    for warm_start in (False, True):
        net = small(make, solver=solver, warm_start=warm_start, batch_norm=solver == "adam")
        net.fit(X, Y)
        before, predicted = state(net), net.predict(X)
        fresh = small(make, solver=solver)
        for callback in callbacks:
            calls = [(net, net.fit), (fresh, fresh.fit)]
            if solver != "lbfgs" and callback.number == 0:
                calls.append((net, net.partial_fit))
            for estimator, train in calls:
                callback.torn_down = 0
                estimator.set_callbacks(callback)
                with pytest.raises(Trouble, match=str(callback.error)):
                    train(X, Y + (make is MLPNetRegressor))
                estimator.set_callbacks()
                assert callback.torn_down == 1
        assert state(net) == before
        np.testing.assert_array_equal(net.predict(X), predicted)
        assert state(fresh) == state(small(make, solver=solver))


@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"batch_norm": True}], ids=str)
@pytest.mark.parametrize("make", [MLPNetClassifier, MLPNetRegressor])
def test_an_interrupt_leaves_the_epochs_so_far(make, params):
    net = small(make, max_iter=50, **params).set_callbacks(At(KeyboardInterrupt(), number=3))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(X, Y)
    assert net.n_iter_ == len(net.loss_curve_) == len(net.history_) == 4
    net.set_callbacks()
    until = small(make, max_iter=4, **params).fit(X, Y)
    np.testing.assert_array_equal(net.predict(X), until.predict(X))
    net.partial_fit(X, Y) if not params.get("early_stopping") else net.fit(X, Y)


@pytest.mark.parametrize("make", [MLPNetClassifier, MLPNetRegressor])
def test_an_interrupt_before_the_first_epoch_ends_leaves_a_model(make):
    net = small(make).set_callbacks(At(KeyboardInterrupt(), number=0, begin=True))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(X, Y)
    assert net.n_iter_ == 0 and net.loss_curve_ == []
    assert len(net.history_) == 0
    assert net.predict(X).shape == (len(X),)
    net.set_callbacks().partial_fit(X, Y)
    assert len(net.loss_curve_) == 1


@pytest.mark.parametrize("make", [MLPNetClassifier, MLPNetRegressor])
def test_an_interrupt_of_lbfgs(make):
    net = small(make, solver="lbfgs", max_iter=50)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.set_callbacks(At(KeyboardInterrupt(), number=3)).fit(X, Y)
    assert len(net.loss_curve_) == 4
    until = small(make, solver="lbfgs", max_iter=4).fit(X, Y)
    np.testing.assert_array_equal(net.predict(X), until.predict(X))


INTERRUPTED = textwrap.dedent(
    """
    import sys
    import warnings
    import numpy as np
    from sknn import MLPNetClassifier, MLPNetRegressor

    class Began:
        def setup(self, estimator, context): pass
        def teardown(self, estimator, context): pass
        def on_fit_task_end(self, estimator, context): pass
        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 1:
                print("began", flush=True)

    solver, n_jobs = sys.argv[1], int(sys.argv[2])
    X = np.random.RandomState(0).normal(size=(20_000, 100)).astype("float32")
    cls = MLPNetClassifier if n_jobs == 1 else MLPNetRegressor
    net = cls(
        hidden_layer_sizes=(200,), solver=solver, max_iter=10**6, max_fun=10**9, tol=0.0,
        n_iter_no_change=np.inf, n_jobs=n_jobs, random_state=0, batch_size=1000,
    ).set_callbacks(Began())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X, X[:, 0] > 0)
    assert [str(w.message)[:29] for w in caught] == ["Training interrupted by user."], caught
    assert 1 <= len(net.loss_curve_) < 10**6
    assert np.isfinite(net.coefs_[0]).all()
    assert net.predict(X[:5]).shape == (5,)
    if solver == "adam":
        net.set_callbacks().partial_fit(X, X[:, 0] > 0)
    print("usable")
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c(solver, n_jobs):
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, solver, str(n_jobs)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            if line == "began\n":
                process.send_signal(signal.SIGINT)
            # ends long before this, unless the interrupt is lost: kernels may have to be compiled,
            # on a machine that others use too
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert (line, out, process.returncode) == ("began\n", "usable\n", 0), err


AT_ANY_LINE = textwrap.dedent(
    """
    import sys
    import warnings
    import numpy as np
    from sknn import MLPNetRegressor
    from sknn.cpu import session
    from sknn.engine import interrupts

    warnings.simplefilter("ignore")
    X = np.random.RandomState(0).normal(size=(1000, 100)).astype("float32")
    names = "Session.run_passes", "Session._steps", "Session._call"
    at = seen = 0

    def in_function(frame, event, arg):
        global seen
        seen += event == "line"
        if event == "line" and seen == at:
            raise KeyboardInterrupt
        return in_function

    def trace(frame, event, arg):
        if frame.f_code.co_filename == session.__file__ and frame.f_code.co_qualname in names:
            return in_function

    while seen >= at:
        at, seen = at + 1, 0
        interrupts.forget()
        net = MLPNetRegressor(
            hidden_layer_sizes=(150,), max_iter=2, n_jobs=2, batch_size=1000, random_state=0
        )
        sys.settrace(trace)
        try:
            net.fit(X, X[:, 0])
        finally:
            sys.settrace(None)
        assert net.predict(X[:5]).shape == (5,)
        print(at, flush=True)
    print("usable")
    """
)


def test_an_interrupt_at_any_line_while_threads_are_called():
    done = subprocess.run(
        [sys.executable, "-c", AT_ANY_LINE], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split()
    assert lines[-1] == "usable" and len(lines) > 20


def test_interrupts_are_not_errors():
    # all else that is not an interrupt gets through, also from inside the loop
    net = small().set_callbacks(At(SystemExit(3)))
    with pytest.raises(SystemExit), warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, Y)
    assert not hasattr(net, "coefs_")


# --- convolutional networks

RECTANGLES = X.reshape(-1, 4, 16)


def assert_fit_raises(error, match, data=IMAGES, y=Y, **params):
    """Check that a fit raises with these parameters, and changes neither a fitted nor a new one."""
    for make in CONVNETS.values():
        for fitted in (True, False):
            net = small(make, image_shape=None)
            if fitted:
                net.fit(IMAGES, Y)
                predicted = net.predict(IMAGES)
            before = state(net)
            good = {name: getattr(net, name) for name in params}
            vars(net).update(params)
            with pytest.raises(error, match=match):
                net.fit(data, y)
            vars(net).update(good)
            assert state(net) == before
            if fitted:
                np.testing.assert_array_equal(net.predict(IMAGES), predicted)


IMAGES_THAT_DO_NOT_FIT = {
    "NaN": (np.where(IMAGES == 1, np.nan, IMAGES), {}, "X contains NaN"),
    "infinity": (np.where(IMAGES == 1, np.inf, IMAGES), {}, "X contains infinity"),
    "complex": (IMAGES * 1j, {}, "Complex data not supported"),
    "strings": (np.full(IMAGES.shape, "a"), {}, "not compatible with arrays of bytes/strings"),
    "no samples": (IMAGES[:0], {}, "0 sample"),
    "no rows": (IMAGES[:, :0], {}, "0 x 8 x 1"),
    "no columns": (IMAGES[..., :0], {}, "8 x 0 x 1"),
    "no channels": (np.zeros((120, 8, 8, 0)), {}, "8 x 8 x 0"),
    "five dimensions": (IMAGES.reshape(-1, 2, 2, 4, 4), {}, "X has 5 dimensions; expected 2"),
    "one image": (IMAGES[0], {}, "inconsistent numbers of samples"),
    "other lengths": (IMAGES[1:], {}, "inconsistent numbers of samples"),
    "too small": (IMAGES[:, :2], {}, r"layers\.0: Conv2D.* 2 x 8 x 1; needs a height of .* 3"),
    "rows without image_shape": (X, {}, r"layers\.0: Conv2D.* 1 x 64 x 1; needs a height"),
    "others than image_shape": (
        RECTANGLES, {"image_shape": (8, 8)}, r"images of 4 x 16 x 1; expected image_shape=\(8, 8\)",
    ),
    "channels that image_shape lacks": (
        IMAGES, {"image_shape": (8, 4, 2)}, r"8 x 8 x 1; expected image_shape=\(8, 4, 2\)",
    ),
    "rows of another length": (
        X[:, :60], {"image_shape": (8, 8)}, r"60 features; image_shape=\(8, 8\) needs 64",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:X has rows of 64 features")
@pytest.mark.parametrize("name", IMAGES_THAT_DO_NOT_FIT)
def test_images_that_do_not_fit(name):
    data, params, match = IMAGES_THAT_DO_NOT_FIT[name]
    assert_fit_raises(ValueError, match, data=data, **params)


@pytest.mark.parametrize(
    "shape", [(), (8,), (8, 8, 1, 1), (0, 64), (-8, -8), (8.0, 8), ("8", "8"), (8, 8, 0)]
)
def test_image_shapes_that_are_none(shape):
    for data in (X, IMAGES):
        assert_fit_raises(ValueError, "image_shape is .*expected", data=data, image_shape=shape)


@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_images_of_another_shape_than_the_fitted(make):
    net = small(make, image_shape=None, warm_start=True).fit(IMAGES, Y)
    before = state(net)
    for data, match in (
        (RECTANGLES, "images of 4 x 16 x 1, but .* fitted to images of 8 x 8 x 1"),
        (IMAGES[:, 1:], "images of 7 x 8 x 1"),
        (X.reshape(-1, 4, 4, 4), "images of 4 x 4 x 4"),
        (X[:, 1:], "63 features.*expecting 64"),
        (IMAGES[0], r"that of a single image; expected an array of images: X(_val)?\[None\]"),
        (IMAGES[0, 0], "Expected 2D array"),
        (IMAGES[:0], "0 sample"),
        (np.where(IMAGES == 1, np.nan, IMAGES), "NaN"),
    ):
        for call in (net.predict, lambda data: net.fit(data, Y[: len(data)])):
            with pytest.raises(ValueError, match=match):
                call(data)
        with pytest.raises(ValueError, match=match):
            net.fit(IMAGES, Y, X_val=data, y_val=Y[: len(data)])
    assert state(net) == before


NO_LAYERS = {
    "a number": [3],
    "a string": [Conv2D(4, 3), "relu"],
    "a class": [Conv2D],
    "a list": [[Conv2D(4, 3)]],
    "nothing": [None],
    "an estimator": [MLPNet()],
}


@pytest.mark.parametrize("name", NO_LAYERS)
def test_what_is_no_layer(name):
    layers = NO_LAYERS[name]
    place = len(layers) - 1
    assert_fit_raises(
        TypeError, rf"layers\[{place}\] is .*expected a layer of sknn.layers", layers=layers
    )


# For each: the layers, and the error's words on the layer, its input, and what it needs.
SHAPES = {
    "too high": ([Conv2D(4, 9)], r"layers\.0: Conv2D.* 8 x 8 x 1; needs a height of at least 9"),
    "too wide": ([Conv2D(4, (1, 9))], r"layers\.0: Conv2D.* 8 x 8 x 1; needs a width .* 9"),
    "padded": ([Conv2D(4, 9, padding=(0, 1))], r"8 x 8 x 1; needs a height of at least 9"),
    "padded too little": ([Conv2D(4, 12, padding=1)], r"\(10 with padding\); needs .* 12"),
    "dilated": ([Conv2D(4, 3, dilation_rate=4)], r"layers\.0: Conv2D.* needs a height .* 9"),
    "groups": ([Conv2D(4, 3, groups=2)], r"layers\.0: Conv2D.* 8 x 8 x 1; .* into 2 groups"),
    "pooled away": (
        [Conv2D(4, 3), MaxPooling2D(3), AveragePooling2D(3)],
        r"layers\.2: AveragePooling2D.* 2 x 2 x 4; needs a height of at least 3",
    ),
    "cut away": (
        [Conv2DTranspose(4, 2, padding=5)], r"layers\.0: Conv2DTranspose.* 8 x 8 x 1;.* padding",
    ),
    "no image for Conv2D": ([Flatten(), Conv2D(4, 1)], r"layers\.1: Conv2D.* 64 units; needs an"),
    "no image for Conv2DTranspose": (
        [Dense(7), Conv2DTranspose(4, 1)], r"layers\.1: Conv2DTranspose.* 7 units; needs an image",
    ),
    "no image for a pool": (
        [Flatten(), MaxPooling2D(1)], r"layers\.1: MaxPooling2D.* 64 units; needs an image",
    ),
    "no image for a mean": (
        [GlobalAveragePooling2D(), GlobalAveragePooling2D()],
        r"layers\.1: GlobalAveragePooling2D.* 1 units; needs an image",
    ),
    "no image to enlarge": (
        [Flatten(), UpSampling2D()], r"layers\.1: UpSampling2D.* 64 units; needs an image",
    ),
    "no image to normalize": (
        [Flatten(), LocalResponseNormalization()], r"layers\.1: LocalResponse.* 64 units; needs an",
    ),
    "no image to mirror": ([Flatten(), RandomFlip()], r"layers\.1: RandomFlip.* 64 units; needs"),
    "too large a crop": ([RandomCrop(9, 3)], r"layers\.0: RandomCrop.* 8 x 8 x 1; needs an image"),
    "softmax": (
        [Conv2D(4, 3), Activation("softmax")], r"layers\.1: Activation.*softmax.* needs a vector",
    ),
    "softmax of a layer": (
        [Conv2D(4, 3, activation="softmax")], r"layers\.0: Activation.*softmax.* needs a vector",
    ),
    "a layer with a name": ([Conv2D(4, 9, name="stem")], "stem: Conv2D.*needs a height"),
    "a layer in a block": (
        [Flatten(), Sequential([Residual([Dense(64), Conv2D(1, 1)])])],
        r"layers\.1\.0\.block\.1: Conv2D.* 64 units; needs an image",
    ),
    "a layer in a named block": (
        [Residual([Conv2D(1, 9)], name="block")], r"block\.block\.0: Conv2D.* needs a height",
    ),
    "a layer in a branch": (
        [Concatenate([[], [Conv2D(1, 9)]])], r"layers\.0\.branches\.1\.0: Conv2D.* needs a height",
    ),
    "a sum of two shapes": (
        [Residual([Conv2D(4, 3)])],
        "layers\\.0: Residual.* 6 x 6 x 4 and a shortcut that gives 8 x 8 x 1; needs the same",
    ),
    "a sum of two numbers of channels": (
        [Residual([Conv2D(4, 1)], [Conv2D(3, 1)])], "Residual.* 8 x 8 x 4 .* 8 x 8 x 3; needs",
    ),
    "two shapes side by side": (
        [Concatenate([[], [Conv2D(2, 3)]])],
        "layers\\.0: Concatenate.* 8 x 8 x 1, 6 x 6 x 2; needs the same height and width",
    ),
    "an image beside a row": (
        [Concatenate([[], [Flatten()]])], "layers\\.0: Concatenate.* 8 x 8 x 1, 64 units; needs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_layers_that_do_not_fit(name):
    layers, match = SHAPES[name]
    assert_fit_raises(ValueError, match, layers=layers)


@pytest.mark.parametrize("name", [name for name in SHAPES if "crop" not in name])
def test_layers_that_do_not_fit_in_a_summary(name):
    layers, match = SHAPES[name]
    with pytest.raises(ValueError, match=match):
        small(ConvNetClassifier, layers=layers).summary()


def test_two_layers_of_the_same_name():
    # They could not be told apart in a file, nor in `weights_`.
    for layers in (
        [Conv2D(4, 3, name="one"), Dense(10, activation="relu", name="one")],
        [Sequential([Conv2D(4, 3)], name="one"), Dense(7, activation="relu", name="one.0")],
    ):
        assert_fit_raises(ValueError, "Two layers have the name 'one", layers=layers)


OUT_OF_RANGE = {
    Conv2D: {
        "filters": [0, -1],
        "kernel_size": [0, (3, 0), (3, 3, 3), ()],
        "strides": [0, (1, -1)],
        "padding": ["full", -1, (1,), ((1, 1), (1, -1)), None, 1.5],
        "dilation_rate": [0, (1, 0)],
        "groups": [0, 3],
        "activation": ["sine", "step", Activation("step")],
        "kernel_initializer": ["ones", "auto"],
        "kernel_l1": [-1.0, np.nan],
        "kernel_l2": [-1.0, np.inf],
        "activity_l1": [-1.0],
        "activity_l2": [np.nan],
    },
    Conv2DTranspose: {"filters": [0], "strides": [0], "padding": ["full"], "kernel_l2": [-1.0]},
    Dense: {"units": [0], "activation": ["sine", Activation("step")], "kernel_l2": [-1.0]},
    MaxPooling2D: {"pool_size": [0, (2, 2, 2)], "strides": [0], "padding": ["full", 2, (0, 3)]},
    AveragePooling2D: {"pool_size": [0], "strides": [(2, 0)], "padding": [-1, 2]},
    UpSampling2D: {"size": [0, (1, 0)], "interpolation": ["cubic", None]},
    BatchNormalization: {"momentum": [-0.1, 1.5, np.nan], "epsilon": [-1.0]},
    LocalResponseNormalization: {"size": [0], "alpha": [-1.0], "beta": [-1.0], "k": [-1.0]},
    Dropout: {"rate": [1.0, -0.1, np.nan]},
    GaussianNoise: {"stddev": [-1.0, np.inf]},
    Activation: {"function": ["sine"]},
    RandomFlip: {"mode": ["diagonal"]},
    RandomShift: {"height": [-1], "width": [-1]},
    RandomCrop: {"height": [0], "width": [0]},
}
WRONG_TYPE = {
    Conv2D: {
        "filters": [2.5, "4", None, True],
        "kernel_size": [2.5, "3", None, (3, 2.5)],
        "strides": [None, "2"],
        "dilation_rate": [1.5],
        "groups": [None],
        "activation": [3, ["relu"]],
        "use_bias": ["yes", None],
        "kernel_initializer": [3, ["zeros"]],
        "kernel_l1": ["a"],
        "activity_l1": [None],
        "trainable": ["yes", None],
        "name": [3, ""],
    },
    Dense: {"units": [2.5, None], "use_bias": ["yes"], "trainable": ["yes"], "name": [3]},
    MaxPooling2D: {"pool_size": [None, 2.5], "strides": ["2"]},
    UpSampling2D: {"size": [1.5]},
    BatchNormalization: {"momentum": ["a"], "epsilon": [None], "trainable": ["yes"], "name": [3]},
    LocalResponseNormalization: {"size": [2.5], "k": ["a"]},
    Dropout: {"rate": ["a", None], "index": ["a"]},
    GaussianNoise: {"stddev": [None]},
    Activation: {"function": [3, ["relu"]], "parameter": ["a"]},
    RandomFlip: {"mode": [3]},
    RandomShift: {"height": [1.5], "width": [None]},
    RandomCrop: {"height": ["8"]},
    Residual: {"block": [3, [3], None], "shortcut": ["x"], "name": [3]},
    Concatenate: {"branches": [3, [], [3], Conv2D(4, 3)], "name": [3]},
    Sequential: {"layers": [3, [3]], "name": [3]},
}
NEEDED = {
    Conv2D: {"filters": 4, "kernel_size": 3},
    Conv2DTranspose: {"filters": 4, "kernel_size": 3},
    Dense: {"units": 4},
    Dropout: {"rate": 0.5},
    GaussianNoise: {"stddev": 0.5},
    Activation: {"function": "relu"},
    RandomShift: {"height": 1, "width": 1},
    RandomCrop: {"height": 1, "width": 1},
    Residual: {"block": []},
    Concatenate: {"branches": [[]]},
    Sequential: {"layers": []},
}


def parameters_of_layers(table):
    pairs = [(cls, name) for cls in table for name in table[cls]]
    return [pytest.param(cls, name, id=f"{cls.__name__}-{name}") for cls, name in pairs]


@pytest.mark.parametrize("cls, name", parameters_of_layers(OUT_OF_RANGE))
def test_parameters_of_layers_out_of_range(cls, name):
    for value in OUT_OF_RANGE[cls][name]:
        with pytest.raises(ValueError, match=f"{name} of {cls.__name__} is .*; expected"):
            cls(**{**NEEDED.get(cls, {}), name: value})


@pytest.mark.parametrize("cls, name", parameters_of_layers(WRONG_TYPE))
def test_parameters_of_layers_of_the_wrong_type(cls, name):
    for value in WRONG_TYPE[cls][name]:
        with pytest.raises((TypeError, ValueError), match=f"{name} of {cls.__name__} is .*; exp"):
            cls(**{**NEEDED.get(cls, {}), name: value})


def test_layers_cannot_be_changed():
    layer = Conv2D(4, 3)
    with pytest.raises(AttributeError):
        layer.filters = 5
    assert layer == Conv2D(4, (3, 3), strides=(1, 1)) and hash(layer) == hash(Conv2D(4, 3))


AUGMENTATIONS = {
    "too large a crop": (RandomCrop(9, 9), ValueError, r"RandomCrop.* 8 x 8 x 1; needs an image"),
    "a second crop": (
        [RandomCrop(5, 5), RandomCrop(6, 5)], ValueError, "RandomCrop.*5 x 5 x 1; needs an image",
    ),
    "no change of images": ([Dropout(0.1)], TypeError, "augmentation.*Dropout.*; expected Random"),
    "no layer": ([RandomFlip(), 3], TypeError, r"augmentation\[1\] is 3; expected a layer"),
}  # fmt: skip


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_that_do_not_fit(name):
    augmentation, error, match = AUGMENTATIONS[name]
    assert_fit_raises(error, match, augmentation=augmentation)


@pytest.mark.parametrize(
    "layers, path",
    [
        ([Conv2D(4, 3), RandomFlip()], r"layers\.1"),
        ([BatchNormalization(), Activation("relu"), RandomShift(1, 1)], r"layers\.2"),
        ([Conv2D(4, 3), Sequential([RandomFlip()], name="late")], r"late\.0"),
        ([Residual([Conv2D(1, 1)], [RandomFlip()])], r"layers\.0\.shortcut\.0"),
        ([Concatenate([[Conv2D(1, 1)], [RandomFlip()]])], r"layers\.0\.branches\.1\.0"),
    ],
)
def test_augmentation_comes_before_all_that_learns(layers, path):
    assert_fit_raises(
        ValueError, f"{path}: Random.* comes after .*, which is trainable; it must come first",
        layers=layers,
    )  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [
        {"layers": [*LAYERS, Dropout(0.1)]},
        {"layers": [*LAYERS, GaussianNoise(0.1)]},
        {"layers": [*LAYERS, BatchNormalization()]},
        {"layers": [Residual([Sequential([BatchNormalization()])])]},
        {"layers": [RandomFlip(), *LAYERS]},
        {"augmentation": RandomFlip()},
    ],
    ids=str,
)
def test_lbfgs_and_what_is_random(params):
    assert_fit_raises(ValueError, "solver='lbfgs' uses all samples", solver="lbfgs", **params)


def test_nothing_to_train():
    frozen = [Conv2D(4, 3, trainable=False), BatchNormalization(trainable=False)]
    layers = [*frozen, Dense(10, trainable=False)]
    net = small(ConvNetClassifier, layers=layers)
    with pytest.raises(ValueError, match="all of them have trainable=False"):
        net.fit(X, Y)
    assert small(ConvNetClassifier, layers=frozen).fit(X, Y).n_outputs_ == 10


@pytest.mark.parametrize(
    "layers",
    [[Conv2D(4, 3), Activation("step")], [Residual([Conv2D(1, 1), Activation("step")])]],
    ids=str,
)
def test_step_in_layers(layers):
    assert_fit_raises(ValueError, "step", layers=layers)


@pytest.mark.parametrize(
    "cls, params, y, match",
    [
        (ConvNetClassifier, {"output_activation": "identity"}, Y, "needs probabilities"),
        (ConvNetClassifier, {"output_activation": "softmax"}, Y > 4, "several outputs"),
        (ConvNetClassifier, {"output_activation": "softmax"}, LABELS, "softmax"),
        (ConvNetRegressor, {"loss": "poisson"}, Y - 5.0, "y >= 0"),
        (ConvNetRegressor, {"loss": "poisson", "output_activation": "identity"}, Y, "poisson"),
        (ConvNetClassifier, {}, X[:, 20] + 0.123, "Unknown label type"),
        (ConvNetClassifier, {}, np.column_stack([Y, Y]), "[mM]ultioutput"),
        (ConvNetRegressor, {}, np.array(["a", "b"] * 60), "could not convert string"),
    ],
)
def test_targets_and_outputs_that_clash(cls, params, y, match):
    net = small(cls, **params)
    before = state(net)
    for data in (X, IMAGES):
        with pytest.raises(ValueError, match=match):
            net.fit(data, y)
    assert state(net) == before


@pytest.mark.parametrize(
    "layers",
    [[Conv2D(5, 3), MaxPooling2D(2)], [*LAYERS, Dense(9, activation="relu")], LAYERS[:1], "lenet5"],
    ids=str,
)
@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_warm_start_of_other_layers(make, layers):
    net = small(make, warm_start=True).fit(X, Y).set_params(layers=layers)
    before = state(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="layers have changed since the last fit"):
            train(X, Y)
    assert state(net) == before
    assert net.predict(X).shape == (len(X),)


@pytest.mark.parametrize("layers", [LAYERS, [Conv2D(4, 3), BatchNormalization()]], ids=str)
def test_divergence_of_a_convolution(layers):
    for data in (IMAGES * 1e3, (IMAGES * 1e3).astype(np.float32)):
        diverging = {"solver": "sgd", "learning_rate_init": 1e10, "max_iter": 20}
        net = small(ConvNetRegressor, layers=layers).fit(IMAGES, Y)
        before, predicted = state(net), net.predict(IMAGES)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            fit_with(net, diverging, data, Y * 1e30)
        assert state(net) == before
        np.testing.assert_array_equal(net.predict(IMAGES), predicted)


@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_images_beyond_the_range_of_the_computing_type(make):
    net = small(make, dtype="float32").fit(IMAGES, Y)
    with pytest.raises(ValueError, match="too large for float32"):
        net.predict(np.where(IMAGES == 1, 1e300, IMAGES))
    assert np.isfinite(net.predict(IMAGES)).all()


@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_one_image(make):
    for layers in (LAYERS, [Conv2D(4, 3), BatchNormalization()], [Dropout(0.5), *LAYERS]):
        net = small(make, layers=layers, image_shape=None).fit(IMAGES[:1], Y[:1])
        np.testing.assert_array_equal(net.predict(IMAGES[:3]).shape, (3,))
        assert np.isfinite(net.loss_curve_).all()


@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_an_exception_in_the_middle_of_training_a_convolution(make):
    layers = [*LAYERS, BatchNormalization(), Dropout(0.1)]
    net = small(make, layers=layers, augmentation=RandomFlip(), warm_start=True).fit(IMAGES, Y)
    before, predicted = state(net), net.predict(IMAGES)
    fresh = small(make)
    for warm_start in (True, False):
        net.set_params(warm_start=warm_start)
        for train in (net.fit, net.partial_fit, fresh.fit):
            estimator = train.__self__
            estimator.set_callbacks(At(Trouble("at the end of an epoch"), number=0))
            with pytest.raises(Trouble):
                train(IMAGES, Y)
            estimator.set_callbacks()
    assert state(net.set_params(warm_start=True)) == before
    np.testing.assert_array_equal(net.predict(IMAGES), predicted)
    assert state(fresh) == state(small(make))


@pytest.mark.parametrize(
    "params",
    [{}, {"early_stopping": True}, {"layers": [Conv2D(4, 3), BatchNormalization()]}],
    ids=str,
)
@pytest.mark.parametrize("make", CONVNETS.values(), ids=CONVNETS)
def test_an_interrupt_of_a_convolution_leaves_the_epochs_so_far(make, params):
    net = small(make, max_iter=50, **params).set_callbacks(At(KeyboardInterrupt(), number=3))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(IMAGES, Y)
    assert net.n_iter_ == len(net.loss_curve_) == 4
    until = small(make, max_iter=4, **params).fit(IMAGES, Y)
    np.testing.assert_array_equal(net.predict(IMAGES), until.predict(IMAGES))


INTERRUPTED_CONVOLUTION = textwrap.dedent(
    """
    import warnings
    import numpy as np
    from sknn import ConvNetClassifier
    from sknn.layers import BatchNormalization, Conv2D

    class Began:
        def setup(self, estimator, context): pass
        def teardown(self, estimator, context): pass
        def on_fit_task_end(self, estimator, context): pass
        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 1:
                print("began", flush=True)

    X = np.random.RandomState(0).normal(size=(5000, 12, 12)).astype("float32")
    y = X[:, 0, 0] > 0
    layers = [Conv2D(24, 3, padding="same", activation="relu"), BatchNormalization()]
    net = ConvNetClassifier(
        layers, max_iter=10**6, tol=0.0, n_iter_no_change=np.inf, n_jobs=2, random_state=0
    ).set_callbacks(Began())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(X, y)
    assert [str(w.message)[:29] for w in caught] == ["Training interrupted by user."], caught
    assert 1 <= len(net.loss_curve_) < 10**6
    assert net.predict(X[:5]).shape == (5,)
    net.set_callbacks().partial_fit(X, y)
    print("usable")
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_in_a_convolution():
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_CONVOLUTION],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            if line == "began\n":
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert (line, out, process.returncode) == ("began\n", "usable\n", 0), err


TRANSFORMERS = {
    "no such place": ({"layer": 3}, ValueError, r"layer is 3; expected one of the 3 layers"),
    "no such place from the end": ({"layer": -4}, ValueError, "layer is -4; expected"),
    "no such name": ({"layer": "stem"}, ValueError, r"layer is 'stem'; expected .*'layers.0'"),
    "half a place": ({"layer": 0.5}, TypeError, "'layer' parameter of ConvNetTransformer"),
    "a truth": ({"layer": True}, TypeError, "layer is True; expected"),
    "no network": ({"net": 3}, TypeError, "'net' parameter of ConvNetTransformer"),
    "another network": ({"net": MLPNet()}, TypeError, "net is MLPNet.*; expected a ConvNet"),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_that_do_not_fit(name):
    params, error, match = TRANSFORMERS[name]
    net = small(ConvNetClassifier).fit(X, Y)
    transformer = ConvNetTransformer(net).fit(X)
    expected = transformer.transform(X)
    before = state(transformer)
    good = transformer.get_params(deep=False)
    vars(transformer).update(params)
    with pytest.raises(error, match=match):
        transformer.fit(X)
    assert state(transformer.set_params(**good)) == before
    np.testing.assert_array_equal(transformer.transform(X), expected)


def test_data_that_do_not_fit_a_transformer():
    net = small(ConvNetClassifier).fit(X, Y)
    transformer = ConvNetTransformer(net).fit(X)
    before = state(transformer)
    for data, match in (
        (RECTANGLES, "images of 4 x 16 x 1"),
        (X[:, 1:], "63 features.*expecting 64"),
        (np.where(IMAGES == 1, np.nan, IMAGES), "NaN"),
        (with_value(np.nan), "NaN"),
        (X[:0], "0 sample"),
    ):
        for call in (transformer.transform, transformer.fit):
            with pytest.raises(ValueError, match=match):
                call(data)
    assert state(transformer) == before
    with pytest.raises(NotFittedError):
        ConvNetTransformer(net).transform(X)


SAMPLING = """
import numpy as np
from sknn import CharRNN
from sknn.engine.weights import Weights

net = CharRNN("rnn", 5, seq_len=4, max_iter=1, random_state=0).fit("abcabcabc" * 5)
old = net._weights
broken = [np.full_like(value, np.nan) for value in old.values]
net._weights = Weights(old.network, broken, old.dtype)
print(len(net.sample(5, "ab", top_k=2, random_state=0)))
"""


def test_a_search_for_a_token_ends_where_nothing_is_larger_than_anything():
    """NaN is neither: sampling from a broken network returns something, and terminates."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAMPLING], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.stdout == "5\n", done.stderr
