"""The same seed reproduces scikit-learn's loss curve; every solver agrees with PyTorch's."""

import inspect
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from sknn import MLPNet, MLPNetClassifier, MLPNetRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
FLOWERS, LABELS = make_multilabel_classification(
    n_samples=300, n_features=20, n_classes=4, random_state=0
)
FLOWERS = scale(FLOWERS)
PATIENTS, PROGRESSION = load_diabetes(return_X_y=True)
PATIENTS, PROGRESSION = scale(PATIENTS), scale(PROGRESSION)
COUNTS = np.random.RandomState(0).poisson(np.exp(0.3 * PATIENTS[:, 0])).astype(float)
TWO = np.column_stack([PROGRESSION, PATIENTS[:, 0] - PATIENTS[:, 1] ** 2])
WEIGHTS = np.random.RandomState(1).uniform(0.1, 3.0, len(DIGITS))

# Relative tolerance of the comparison with scikit-learn, over 20 epochs, by dtype.
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}

SETTINGS = {
    "adam": {},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.1},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.1, "nesterovs_momentum": False},
    "plain sgd": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.0},
    "l2": {"alpha": 3.0},
    "early stopping": {"early_stopping": True},
    "early stopping, sgd": {"early_stopping": True, "solver": "sgd", "learning_rate_init": 0.05},
    "identity": {"activation": "identity"},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "tol": 0.05,
        "n_iter_no_change": 2,
    },
    "betas": {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3},
    "in order": {"shuffle": False},
    "batches of 7": {"batch_size": 7, "max_iter": 8},
    "batches of 33": {"batch_size": 33},
    "one batch": {"batch_size": 1797},
    "three hidden layers": {"hidden_layer_sizes": (31, 17, 5)},
    "no hidden layer": {"hidden_layer_sizes": ()},
}  # fmt: skip


def make(cls, **params):
    defaults = {"hidden_layer_sizes": (30,), "max_iter": 20, "n_iter_no_change": 50}
    return cls(**{**defaults, "random_state": 0, **params})


def assert_same_path(ours, theirs, tolerance):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.out_activation_ == theirs.out_activation_
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=tolerance)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert a.dtype == b.dtype
            # A single weight may deviate more than the loss.
            np.testing.assert_allclose(a, b, atol=50 * tolerance, rtol=0)
    if theirs.validation_scores_ is None:
        assert ours.validation_scores_ is None
        np.testing.assert_allclose(ours.best_loss_, theirs.best_loss_, rtol=tolerance)
    else:
        np.testing.assert_allclose(
            ours.validation_scores_, theirs.validation_scores_, rtol=tolerance, atol=tolerance
        )
        np.testing.assert_allclose(
            ours.best_validation_score_, theirs.best_validation_score_, rtol=tolerance
        )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", SETTINGS)
def test_digits(name, dtype):
    X = DIGITS.astype(dtype)
    ours = make(MLPNetClassifier, **SETTINGS[name]).fit(X, DIGIT)
    theirs = make(MLPClassifier, **SETTINGS[name]).fit(X, DIGIT)
    assert_same_path(ours, theirs, TOLERANCE[dtype])
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(X), atol=100 * TOLERANCE[dtype]
    )
    if name == "early stopping":
        # accuracies are fractions of whole numbers: equal, not close
        assert ours.validation_scores_ == theirs.validation_scores_


CASES = {
    "binary": (MLPNetClassifier, MLPClassifier, DIGITS[:300], DIGIT[:300] > 4, {}),
    "multilabel": (MLPNetClassifier, MLPClassifier, FLOWERS, LABELS, {}),
    "multilabel, early stopping": (
        MLPNetClassifier, MLPClassifier, FLOWERS, LABELS, {"early_stopping": True},
    ),
    "regression": (MLPNetRegressor, MLPRegressor, PATIENTS, PROGRESSION, {}),
    "regression, early stopping": (
        MLPNetRegressor, MLPRegressor, PATIENTS, PROGRESSION, {"early_stopping": True},
    ),
    "two outputs": (MLPNetRegressor, MLPRegressor, PATIENTS, TWO, {"solver": "sgd"}),
    "poisson": (MLPNetRegressor, MLPRegressor, PATIENTS, COUNTS, {"loss": "poisson"}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_tasks(name, dtype):
    *classes, X, y, params = CASES[name]
    X = X.astype(dtype)
    ours, theirs = (make(cls, batch_size=50, **params).fit(X, y) for cls in classes)
    assert_same_path(ours, theirs, TOLERANCE[dtype])
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y), atol=1e-3)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_sample_weight(task, early_stopping):
    if task == "classification":
        classes, X, y = (MLPNetClassifier, MLPClassifier), DIGITS, DIGIT
    else:
        classes, X, y = (MLPNetRegressor, MLPRegressor), PATIENTS, PROGRESSION
    weights = WEIGHTS[: len(X)].copy()
    weights[::5] = 0.0
    ours, theirs = (
        make(cls, batch_size=64, early_stopping=early_stopping, alpha=0.1).fit(X, y, weights)
        for cls in classes
    )
    assert_same_path(ours, theirs, 1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_warm_start(solver):
    ours, theirs = (
        make(cls, solver=solver, warm_start=True, max_iter=7)
        for cls in (MLPNetClassifier, MLPClassifier)
    )
    for _ in range(3):
        ours.fit(DIGITS[:300], DIGIT[:300])
        theirs.fit(DIGITS[:300], DIGIT[:300])
        assert_same_path(ours, theirs, 1e-6)
    assert len(ours.loss_curve_) == 21


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit(solver):
    classes = np.unique(DIGIT)
    ours, theirs = (
        make(cls, solver=solver, batch_size=32, random_state=np.random.RandomState(5))
        for cls in (MLPNetClassifier, MLPClassifier)
    )
    for start in range(0, 1500, 150):
        part = slice(start, start + 150)
        weights = WEIGHTS[part] if start % 300 else None
        for net in (ours, theirs):
            net.partial_fit(DIGITS[part], DIGIT[part], sample_weight=weights, classes=classes)
        assert_same_path(ours, theirs, 1e-6)
    assert ours.n_iter_ == 1
    assert len(ours.loss_curve_) == 10


def test_partial_fit_after_fit_goes_on():
    ours, theirs = (
        make(cls, max_iter=5).fit(PATIENTS, PROGRESSION) for cls in (MLPNetRegressor, MLPRegressor)
    )
    for _ in range(3):
        ours.partial_fit(PATIENTS, PROGRESSION)
        theirs.partial_fit(PATIENTS, PROGRESSION)
    assert_same_path(ours, theirs, 1e-6)


@pytest.mark.parametrize("first, then", [("float64", "float32"), ("float32", "float64")])
@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_going_on_with_data_of_another_type(how, first, then):
    # The weights keep their type, and the optimizer its state.
    X, y = DIGITS[:300], DIGIT[:300]
    ours, theirs = (
        make(cls, max_iter=3, warm_start=how == "warm_start").fit(X.astype(first), y)
        for cls in (MLPNetClassifier, MLPClassifier)
    )
    for net in (ours, theirs):
        for _ in range(2):
            (net.fit if how == "warm_start" else net.partial_fit)(X.astype(then), y)
    assert_same_path(ours, theirs, TOLERANCE["float32"] / 10)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_warm_start_with_early_stopping(task):
    if task == "classification":
        classes, X, y = (MLPNetClassifier, MLPClassifier), DIGITS[:300], DIGIT[:300]
    else:
        classes, X, y = (MLPNetRegressor, MLPRegressor), PATIENTS, PROGRESSION
    ours, theirs = (
        make(cls, early_stopping=True, warm_start=True, max_iter=6, learning_rate_init=0.02)
        .fit(X, y)
        .fit(X, y)
        for cls in classes
    )
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-6)
    np.testing.assert_allclose(ours.best_validation_score_, max(theirs.validation_scores_))
    if task == "regression":
        # The weights are not compared: where the second fit never betters the first, scikit-learn
        # loses the first one's best weights, which it has overwritten. Ours are still these.
        assert np.argmax(ours.validation_scores_) < 6
        first = make(classes[0], early_stopping=True, max_iter=6, learning_rate_init=0.02).fit(X, y)
        assert all((a == b).all() for a, b in zip(ours.coefs_, first.coefs_))


def test_training_stops_at_the_same_epoch():
    for params in (
        {"tol": 0.01, "n_iter_no_change": 3},
        {"early_stopping": True, "n_iter_no_change": 3},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "tol": 0.01,
         "n_iter_no_change": 1},
    ):  # fmt: skip
        ours, theirs = (
            make(cls, **{"max_iter": 300, **params}).fit(DIGITS[:500], DIGIT[:500])
            for cls in (MLPNetClassifier, MLPClassifier)
        )
        assert ours.n_iter_ < 300
        assert_same_path(ours, theirs, 1e-6)


LBFGS = {
    "several classes": (MLPNetClassifier, MLPClassifier, DIGITS[:300], DIGIT[:300]),
    "binary": (MLPNetClassifier, MLPClassifier, DIGITS[:300], DIGIT[:300] > 4),
    "regression": (MLPNetRegressor, MLPRegressor, PATIENTS, PROGRESSION),
    "two outputs": (MLPNetRegressor, MLPRegressor, PATIENTS, TWO),
}


@pytest.mark.parametrize("name", LBFGS)
def test_lbfgs(name):
    our_class, their_class, X, y = LBFGS[name]
    weights = WEIGHTS[: len(X)]
    ours, theirs = (
        make(cls, solver="lbfgs", max_iter=15, alpha=0.1, activation="tanh").fit(X, y, weights)
        for cls in (our_class, their_class)
    )
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-6)
    for a, b in zip(ours.coefs_, theirs.coefs_):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_lbfgs_converges_to_the_same_minimum():
    # A problem with one minimum: no hidden layer.
    ours, theirs = (
        make(cls, hidden_layer_sizes=(), solver="lbfgs", max_iter=2000, alpha=1.0, tol=1e-7).fit(
            DIGITS[:200], DIGIT[:200]
        )
        for cls in (MLPNetClassifier, MLPClassifier)
    )
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-7)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], atol=1e-4)


PAIRS = [(MLPNetClassifier, MLPClassifier), (MLPNetRegressor, MLPRegressor)]


@pytest.mark.parametrize("ours, theirs", PAIRS)
def test_constructor_takes_what_theirs_takes(ours, theirs):
    mine = inspect.signature(ours).parameters
    for name, parameter in inspect.signature(theirs).parameters.items():
        assert mine[name].default == parameter.default, name
        assert mine[name].kind == parameter.kind, name
    positional = [
        [p.name for p in inspect.signature(cls).parameters.values() if p.kind != p.KEYWORD_ONLY]
        for cls in (ours, theirs)
    ]
    assert positional[0] == positional[1]


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_methods_take_what_theirs_take(ours, theirs, method):
    mine = list(inspect.signature(getattr(ours, method)).parameters)
    expected = list(inspect.signature(getattr(theirs, method)).parameters)
    assert mine[: len(expected)] == expected


@pytest.mark.parametrize("ours, theirs", PAIRS)
@pytest.mark.parametrize(
    "params",
    [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}],
    ids=["adam", "sgd", "lbfgs", "early stopping"],
)
def test_fitted_attributes(ours, theirs, params):
    y = DIGIT[:100] if ours is MLPNetClassifier else DIGITS[:100, 20]
    mine, other = (make(cls, max_iter=3, **params).fit(DIGITS[:100], y) for cls in (ours, theirs))
    for name, value in vars(other).items():
        if name.endswith("_") and not name.startswith("_"):
            assert hasattr(mine, name), name
            assert type(getattr(mine, name)) is type(value) or np.isscalar(value), name
            if isinstance(value, list):
                assert len(getattr(mine, name)) == len(value), name


def test_warnings_are_theirs():
    messages = []
    for cls in (MLPNetClassifier, MLPClassifier):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make(cls, max_iter=2, batch_size=1000).fit(DIGITS[:50], DIGIT[:50])
            make(cls, max_iter=2, solver="lbfgs").fit(DIGITS[:50], DIGIT[:50])
        messages.append([(w.category, str(w.message)) for w in caught])
    assert messages[0] == messages[1]
    assert [category for category, _ in messages[0]] == [
        UserWarning, ConvergenceWarning, ConvergenceWarning,
    ]  # fmt: skip


# --- PyTorch: the solvers, losses and layers that scikit-learn does not have


def first_weights(sizes, seed=0):
    """Return scikit-learn's first weights and biases, layer by layer."""
    random_state = np.random.RandomState(seed)
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        bound = np.sqrt(6.0 / (fan_in + fan_out))
        layers.append(
            (
                random_state.uniform(-bound, bound, (fan_in, fan_out)),
                random_state.uniform(-bound, bound, fan_out),
            )
        )
    return layers


def train_in_torch(
    X, y, hidden, n_outputs, make_optimizer, loss, activation=None, alpha=0.0, l1=0.0,
    batch_norm=False, clip=None, weights=None, batch_size=32, epochs=3, schedule=None,
):  # fmt: skip
    """Train in PyTorch on our loss; return the network's dense and normalization modules.

    `loss` gives the losses of a batch, one a sample; `schedule` what changes the optimizer's rate,
    after each step or, if it wants to know the loss, after each epoch.
    """
    torch = pytest.importorskip("torch")
    modules, dense, norms = [], [], []
    sizes = [X.shape[1], *hidden, n_outputs]
    for i, (w, b) in enumerate(first_weights(sizes)):
        layer = torch.nn.Linear(*w.shape, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(w.T.copy()))
            layer.bias.copy_(torch.from_numpy(b.copy()))
        dense.append(layer)
        modules.append(layer)
        if i < len(hidden):
            if batch_norm:
                norms.append(torch.nn.BatchNorm1d(w.shape[1], dtype=torch.float64))
                modules.append(norms[-1])
            modules.append(activation or torch.nn.Tanh())
    net = torch.nn.Sequential(*modules)
    matrices = [layer.weight for layer in dense]
    others = [p for p in net.parameters() if not any(p is m for m in matrices)]
    optimizer = make_optimizer(torch, matrices, others)
    scheduler = schedule(torch, optimizer) if schedule else None
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    weights = torch.ones(len(X), dtype=torch.float64) if weights is None else weights
    by_epoch = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    for _ in range(epochs):
        losses = 0.0
        for start in range(0, len(X), batch_size):
            part = slice(start, start + batch_size)
            optimizer.zero_grad()
            total = (loss(torch, net(X[part]), y[part]) * weights[part]).sum()
            for w in matrices:
                total = total + 0.5 * alpha * (w * w).sum() + l1 * w.abs().sum()
            losses += float(total.detach())
            (total / weights[part].sum()).backward()
            if clip:
                clip(torch, list(net.parameters()))
            optimizer.step()
            if scheduler and not by_epoch:
                scheduler.step()
        if by_epoch:
            scheduler.step(losses / len(X))
    return dense, norms


def assert_same_weights(net, dense, norms=(), tolerance=1e-8):
    near = {"rtol": tolerance, "atol": tolerance}
    for ours, ours_b, layer in zip(net.coefs_, net.intercepts_, dense, strict=True):
        np.testing.assert_allclose(ours, layer.weight.detach().numpy().T, **near)
        np.testing.assert_allclose(ours_b, layer.bias.detach().numpy(), **near)
    for ours, layer in zip(getattr(net, "batch_norm_", ()), norms, strict=True):
        theirs = {
            "gamma": layer.weight, "beta": layer.bias,
            "mean": layer.running_mean, "variance": layer.running_var,
        }  # fmt: skip
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            np.testing.assert_allclose(
                ours[name], value.detach().numpy(), rtol=1e-8, atol=1e-8, err_msg=name
            )


def cross_entropy(torch, z, y):
    return torch.nn.functional.cross_entropy(z, y, reduction="none")


def squared(torch, z, y):
    return 0.5 * ((z[:, 0] - y) ** 2)


def sgd(torch, matrices, others):
    return torch.optim.SGD(matrices + others, lr=0.05, momentum=0.9, nesterov=True)


SGD = {"solver": "sgd", "learning_rate_init": 0.05}

# Our settings, and the optimizer in PyTorch for them. Weight decay is for weights, not biases.
SOLVERS = {
    "sgd": (SGD, sgd),
    "adamw": (
        {"learning_rate_init": 0.01, "alpha": 0.3, "beta_1": 0.8, "beta_2": 0.95},
        lambda torch, matrices, others: torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}],
            lr=0.01, betas=(0.8, 0.95), eps=1e-8,
        ),
    ),
    "nadam": (
        {"learning_rate_init": 0.01, "epsilon": 1e-6},
        lambda torch, matrices, others: torch.optim.NAdam(matrices + others, lr=0.01, eps=1e-6),
    ),
    "rmsprop": (
        {"learning_rate_init": 0.001, "beta_2": 0.9},
        lambda torch, matrices, others: torch.optim.RMSprop(
            matrices + others, lr=0.001, alpha=0.9, eps=1e-8
        ),
    ),
    "adagrad": (
        {"learning_rate_init": 0.05},
        lambda torch, matrices, others: torch.optim.Adagrad(matrices + others, lr=0.05, eps=1e-8),
    ),
    "adadelta": (
        {"learning_rate_init": 1.0, "beta_1": 0.95, "epsilon": 1e-6},
        lambda torch, matrices, others: torch.optim.Adadelta(
            matrices + others, lr=1.0, rho=0.95, eps=1e-6
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_is_pytorch_s(solver):
    params, make_optimizer = SOLVERS[solver]
    X, y = DIGITS[:200], DIGIT[:200]
    params = {"solver": solver, "alpha": 0.02, **params}
    net = MLPNetClassifier(
        (20, 9), activation="tanh", batch_size=32, max_iter=3, shuffle=False, random_state=0,
        l1=0.01, **params,
    ).fit(X, y)  # fmt: skip
    alpha = 0.0 if solver == "adamw" else 0.02
    dense, _ = train_in_torch(
        X, y, (20, 9), 10, make_optimizer, cross_entropy, alpha=alpha, l1=0.01
    )
    assert_same_weights(net, dense)


def one_cycle(warmup):
    return lambda torch, optimizer: torch.optim.lr_scheduler.OneCycleLR(
        optimizer, optimizer.param_groups[0]["lr"], total_steps=21, pct_start=warmup,
        cycle_momentum=False,
    )  # fmt: skip


def cosine(rising):
    def share(step):
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + np.cos(np.pi * (step - rising) / (21 - rising))) / 2

    return lambda torch, optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def coslog4(step):
    return (1 - np.cos(2 * np.pi * np.log2(1 + 15 * step / 21))) / 2


# Three epochs of seven steps.
SCHEDULES = {
    "coslog4": (
        {"learning_rate": "coslog4"},
        lambda torch, optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, coslog4),
    ),
    "one_cycle": ({"learning_rate": "one_cycle"}, one_cycle(0.3)),
    "one_cycle, half of it up": ({"learning_rate": "one_cycle", "warmup": 0.5}, one_cycle(0.5)),
    "one_cycle, down only": ({"learning_rate": "one_cycle", "warmup": 0.0}, one_cycle(0.0)),
    "cosine": ({"learning_rate": "cosine"}, cosine(0)),
    "cosine, warm-up": ({"learning_rate": "cosine", "warmup": 0.2}, cosine(4)),
}
# Adam's epsilon is used as in scikit-learn, so the two agree only where it is negligible.
TINY = {"epsilon": 1e-30}
SCHEDULED = SOLVERS | {
    "adam": (
        {"learning_rate_init": 0.01, **TINY},
        lambda torch, matrices, others: torch.optim.Adam(
            matrices + others, lr=0.01, eps=TINY["epsilon"]
        ),
    ),
    "momentum": (
        {**SGD, "nesterovs_momentum": False},
        lambda torch, matrices, others: torch.optim.SGD(matrices + others, lr=0.05, momentum=0.9),
    ),
}


@pytest.mark.parametrize("solver", SCHEDULED)
def test_schedules_are_pytorch_s(solver):
    params, make_optimizer = SCHEDULED[solver]
    X, y = DIGITS[:200], DIGIT[:200]
    params = {"solver": "sgd" if solver == "momentum" else solver, "alpha": 0.0, **params}
    for scheduled, schedule in SCHEDULES.values():
        net = MLPNetClassifier(
            (20, 9), activation="tanh", batch_size=32, max_iter=3, shuffle=False, random_state=0,
            **params, **scheduled,
        ).fit(X, y)  # fmt: skip
        dense, _ = train_in_torch(
            X, y, (20, 9), 10, make_optimizer, cross_entropy, schedule=schedule
        )
        # PyTorch keeps NAdam's product of momenta in float32
        assert_same_weights(net, dense, tolerance=1e-8 if solver == "nadam" else 1e-9)


@pytest.mark.parametrize("solver", SCHEDULED)
def test_the_plateau_is_pytorch_s(solver):
    """PyTorch lowers the rate after one more epoch than its patience, we after exactly as many."""
    params, make_optimizer = SCHEDULED[solver]
    X, y = DIGITS[:200], DIGIT[:200]
    net = MLPNetClassifier(
        (20, 9), activation="tanh", batch_size=32, max_iter=12, shuffle=False, random_state=0,
        learning_rate="plateau", plateau_factor=0.3, plateau_patience=2, tol=0.5,
        **{"solver": "sgd" if solver == "momentum" else solver, "alpha": 0.0, **params},
    ).fit(X, y)  # fmt: skip

    def plateau(torch, optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.3, patience=1, threshold=0.5, threshold_mode="abs", eps=0.0
        )

    dense, _ = train_in_torch(
        X, y, (20, 9), 10, make_optimizer, cross_entropy, schedule=plateau, epochs=12
    )
    assert len(set(net.learning_rate_curve_)) > 2  # it was lowered more than once
    assert_same_weights(net, dense, tolerance=1e-8)


def pinball(torch, z, y):
    r = y - z[:, 0]
    return torch.maximum(0.8 * r, -0.2 * r)


def huber(torch, z, y):
    return torch.nn.functional.huber_loss(z[:, 0], y, delta=0.7, reduction="none")


def absolute(torch, z, y):
    return (z[:, 0] - y).abs()


def poisson(torch, z, y):
    return z[:, 0].exp() - y * z[:, 0]


LOSSES = {
    "squared_error": (squared, {}),
    "huber": (huber, {"huber_delta": 0.7}),
    "absolute_error": (absolute, {}),
    "quantile": (pinball, {"quantile": 0.8}),
    "poisson": (poisson, {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_pytorch_s(name):
    loss, params = LOSSES[name]
    y = COUNTS if name == "poisson" else PROGRESSION
    weights = WEIGHTS[: len(y)]
    net = MLPNetRegressor(
        name, (12,), "tanh", batch_size=32, max_iter=3, shuffle=False, random_state=0, alpha=0.0,
        **SGD, **params,
    ).fit(PATIENTS, y, weights)  # fmt: skip
    torch = pytest.importorskip("torch")
    dense, _ = train_in_torch(
        PATIENTS, y, (12,), 1, sgd, loss, weights=torch.from_numpy(weights)
    )
    assert_same_weights(net, dense)


def test_loss_of_several_quantiles_is_pytorch_s():
    torch = pytest.importorskip("torch")
    levels = torch.tensor([0.1, 0.45, 0.9], dtype=torch.float64)

    def pinballs(torch, z, y):
        r = y[:, None] - z
        losses = torch.maximum(levels * r, (levels - 1) * r)
        seen.append(losses.mean(dim=1).sum().item())  # reported is the mean over the quantiles
        return losses.sum(dim=1)

    seen = []
    kwargs = {"batch_size": 32, "max_iter": 3, "shuffle": False, "random_state": 0, "alpha": 0.0}
    net = MLPNetRegressor("quantile", (12,), "tanh", quantile=levels.numpy(), **kwargs, **SGD)
    net.fit(PATIENTS, PROGRESSION)
    dense, _ = train_in_torch(PATIENTS, PROGRESSION, (12,), 3, sgd, pinballs)
    assert_same_weights(net, dense)
    curve = np.reshape(seen, (3, -1)).sum(axis=1) / len(PATIENTS)
    np.testing.assert_allclose(net.loss_curve_, curve, rtol=1e-9)


def test_losses_that_go_through_the_output_activation_are_pytorch_s():
    # Here the gradient cannot use the shortcut of a loss with its canonical activation.
    X, y = DIGITS[:200], DIGIT[:200]
    kwargs = {"batch_size": 32, "max_iter": 3, "shuffle": False, "random_state": 0, "alpha": 0.0}

    def squared_softmax(torch, z, y):
        target = torch.nn.functional.one_hot(y, 10).double()
        return 0.5 * ((z.softmax(1) - target) ** 2).sum(1)

    net = MLPNetClassifier((12,), "tanh", loss="squared_error", **kwargs, **SGD).fit(X, y)
    dense, _ = train_in_torch(X, y, (12,), 10, sgd, squared_softmax)
    assert_same_weights(net, dense)

    def squared_tanh(torch, z, y):
        return 0.5 * (z[:, 0].tanh() - y) ** 2

    net = MLPNetRegressor("squared_error", (12,), "tanh", output_activation="tanh", **kwargs, **SGD)
    net.fit(PATIENTS, PROGRESSION)
    dense, _ = train_in_torch(PATIENTS, PROGRESSION, (12,), 1, sgd, squared_tanh)
    assert_same_weights(net, dense)

    def one_against_rest(torch, z, y):
        target = torch.nn.functional.one_hot(y, 10).double()
        return torch.nn.functional.binary_cross_entropy_with_logits(
            z, target, reduction="none"
        ).sum(1)

    net = MLPNetClassifier((12,), "tanh", output_activation="logistic", **kwargs, **SGD).fit(X, y)
    dense, _ = train_in_torch(X, y, (12,), 10, sgd, one_against_rest)
    assert_same_weights(net, dense)


def test_label_smoothing_is_pytorch_s():
    torch = pytest.importorskip("torch")
    X, y = DIGITS[:200], DIGIT[:200]
    kwargs = {"batch_size": 32, "max_iter": 3, "shuffle": False, "random_state": 0, "alpha": 0.0}
    cross_entropy = torch.nn.CrossEntropyLoss(label_smoothing=0.15, reduction="none")

    def smoothed(torch, z, y):
        losses = cross_entropy(z, y)
        seen.append(losses.sum().item())
        return losses

    for hidden, weights in (((12,), None), ((20, 9), WEIGHTS[:200])):
        net = MLPNetClassifier(hidden, "tanh", label_smoothing=0.15, **kwargs, **SGD)
        net.fit(X, y, weights)
        weights = None if weights is None else torch.from_numpy(weights)
        seen = []
        dense, _ = train_in_torch(X, y, hidden, 10, sgd, smoothed, weights=weights)
        assert_same_weights(net, dense)
        if weights is None:
            curve = np.reshape(seen, (3, -1)).sum(axis=1) / len(X)
            np.testing.assert_allclose(net.loss_curve_, curve, rtol=1e-9)

    def of_two(torch, z, y):
        target = y[:, None] * (1 - 0.15) + 0.15 / 2
        return torch.nn.functional.binary_cross_entropy_with_logits(
            z, target, reduction="none"
        ).sum(1)

    net = MLPNetClassifier((12,), "tanh", label_smoothing=0.15, **kwargs, **SGD).fit(X, y > 4)
    dense, _ = train_in_torch(X, (y > 4) * 1.0, (12,), 1, sgd, of_two)
    assert_same_weights(net, dense)


ACTIVATIONS = "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "relu"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_pytorch_s(name):
    torch = pytest.importorskip("torch")
    module = {
        "leaky_relu": torch.nn.LeakyReLU(0.3), "elu": torch.nn.ELU(), "silu": torch.nn.SiLU(),
        "gelu": torch.nn.GELU(approximate="tanh"), "softplus": torch.nn.Softplus(threshold=1e9),
        "relu": torch.nn.ReLU(), "selu": torch.nn.SELU(), "mish": torch.nn.Mish(),
    }[name]  # fmt: skip
    net = MLPNetRegressor(
        "squared_error", (12, 7), name, batch_size=32, max_iter=3, shuffle=False, random_state=0,
        alpha=0.0, **SGD,
    ).fit(PATIENTS, PROGRESSION)  # fmt: skip
    dense, _ = train_in_torch(PATIENTS, PROGRESSION, (12, 7), 1, sgd, squared, activation=module)
    assert_same_weights(net, dense)


@pytest.mark.parametrize("solver", ["sgd", "adamw"])
def test_batch_norm_is_pytorch_s(solver):
    params, make_optimizer = SOLVERS[solver]
    params = {"solver": solver, "alpha": 0.0, **params}
    # 203 rows: the last batch has 11
    X, y = DIGITS[:203], DIGIT[:203]
    net = MLPNetClassifier(
        (20, 9), activation="tanh", batch_norm=True, batch_size=32, max_iter=3, shuffle=False,
        random_state=0, **params,
    ).fit(X, y)  # fmt: skip
    dense, norms = train_in_torch(
        X, y, (20, 9), 10, make_optimizer, cross_entropy, batch_norm=True
    )
    assert_same_weights(net, dense, norms)


def by_norm(torch, parameters):
    # written out, since clip_grad_norm_ adds 1e-6 to the norm
    norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
    if norm > 0.3:
        for p in parameters:
            p.grad *= 0.3 / norm


def by_value(torch, parameters):
    torch.nn.utils.clip_grad_value_(parameters, 0.01)


def by_both(torch, parameters):
    by_value(torch, parameters)
    by_norm(torch, parameters)


@pytest.mark.parametrize(
    "params, clip",
    [
        ({"clip_norm": 0.3}, by_norm),
        ({"clip_value": 0.01}, by_value),
        ({"clip_norm": 0.3, "clip_value": 0.01}, by_both),
    ],
    ids=["norm", "value", "both"],
)
def test_clipping_is_pytorch_s(params, clip):
    X, y = DIGITS[:200], DIGIT[:200]
    net = MLPNetClassifier(
        (20, 9), activation="tanh", batch_size=32, max_iter=3, shuffle=False, random_state=0,
        alpha=0.02, **SGD, **params,
    ).fit(X, y)  # fmt: skip
    dense, _ = train_in_torch(X, y, (20, 9), 10, sgd, cross_entropy, alpha=0.02, clip=clip)
    assert_same_weights(net, dense)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_mlpnet_has_the_parameters_of_both(task):
    parameters = inspect.signature(MLPNet).parameters
    for cls, other in PAIRS:
        for name in (*inspect.signature(cls).parameters, *inspect.signature(other).parameters):
            assert name in parameters
