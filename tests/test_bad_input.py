"""What is wrong is said clearly, and leaves no wrong model behind.

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

from sknn import MLPNet, MLPNetClassifier, MLPNetRegressor
from sknn.layers import Activation

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # what overflows on purpose
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


def small(make=MLPNetClassifier, **params):
    return make(**{"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, **params})


def with_value(value, dtype=float, where=(5, 20)):
    array = X.astype(dtype)
    array[where] = value
    return array


def state(net):
    """Return a digest of all that an estimator holds, deeply."""
    return joblib.hash(vars(net))


def fit_with(net, params, data, y):
    """Fit with other parameters, which are put back before states are compared."""
    good = {name: getattr(net, name) for name in params}
    try:
        net.set_params(**params).fit(data, y)
    finally:
        net.set_params(**good)


def assert_raises_and_changes_nothing(make, error, match, train):
    """`train(net)` raises, on a fitted estimator and on a new one, and changes neither."""
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


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(make, name):
    data, y, match = BAD_DATA[name]
    assert_raises_and_changes_nothing(make, ValueError, match, lambda net: net.fit(data, y))


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
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


@pytest.mark.parametrize("make", ESTIMATORS.values(), ids=ESTIMATORS)
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
    ],
)
def test_bad_class_weights(class_weight, match):
    assert_raises_and_changes_nothing(
        MLPNetClassifier, ValueError, match,
        lambda net: fit_with(net, {"class_weight": class_weight}, X, Y),
    )  # fmt: skip


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
    # whole batches of them teach nothing, and do no harm
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
    with pytest.raises(ValueError, match="train set will be empty|validation set is too small"):
        small(make, early_stopping=True).fit(X[:1], Y[:1])


def test_validation_set_too_small():
    for cls, match in (
        (MLPNetClassifier, "greater or equal to the number of classes"),
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
        for cls in (MLPNetClassifier, MLPNetRegressor):
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
    "dtype": [np.float32, "float16"],
    "device": [0, "cuda"],
    "n_jobs": [1.5, "all"],
    "loss": [3, "hinge"],
    "output_activation": [3, "sine", "step"],
    "dropout": ["a", None, 1.0, -0.1],
    "batch_norm": ["yes", 2],
    "class_weight": [1.0, "even"],
    "quantile": ["a", -0.1, 1.1],
    "huber_delta": ["a", 0.0],
    "task": [3, "clustering"],
}


@pytest.mark.parametrize("cls", [MLPNetClassifier, MLPNetRegressor, MLPNet])
def test_every_parameter_is_checked(cls):
    net = small(cls)
    assert set(net.get_params()) <= set(WRONG)
    before = state(net)
    for name in net.get_params():
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
    "an unknown Activation": ({"activation": Activation("sine")}, "'sine'"),
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
    """A callback that raises at the end (or the beginning) of a task."""

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
    assert [str(w.message) for w in caught] == ["Training interrupted by user."], caught
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
            # ends long before this, unless the interrupt is lost
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (line, out, process.returncode) == ("began\n", "usable\n", 0), err


def test_interrupts_are_not_errors():
    # all else that is not an interrupt gets through, also from inside the loop
    net = small().set_callbacks(At(SystemExit(3)))
    with pytest.raises(SystemExit), warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, Y)
    assert not hasattr(net, "coefs_")
