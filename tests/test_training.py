"""Behavior of training: divergence, learning rates, scores, interrupts, location of warnings."""

import pathlib
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    make_scorer,
    max_error,
    mean_absolute_error,
    roc_auc_score,
)
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn
from sknn import (
    AutoencoderTransformer,
    CharRNN,
    ConvNetClassifier,
    MLPNet,
    MLPNetClassifier,
    MLPNetRegressor,
    PerceptronClassifier,
    RBFNetClassifier,
    RBFNetRegressor,
    RNNClassifier,
    RNNRegressor,
    Seq2SeqRNN,
    VariationalAutoencoderTransformer,
)
from sknn.engine import devices, interrupts
from sknn.layers import Flatten

DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS, DIGIT = DIGITS[:300] / 16, DIGIT[:300]
PATIENTS, PROGRESSION = load_diabetes(return_X_y=True)
PATIENTS, PROGRESSION = PATIENTS[:300], PROGRESSION[:300] / 100
TEXT = "she sells sea shells by the sea shore. " * 8
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(make=MLPNetClassifier, *args, **params):
    """Return a network that takes little work."""
    return make(*args, **{"max_iter": 3, "random_state": 0, "n_jobs": 1} | params)


def mlp(make=MLPNetClassifier, **params):
    return small(make, **{"hidden_layer_sizes": (10,), "batch_size": 50} | params)


def caught_in(function, *args, **params):
    """Return the warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **params)
    return caught


def diverged(caught):
    """Return the messages of divergence among warnings."""
    found = [w for w in caught if "diverged" in str(w.message)]
    assert all(w.category is ConvergenceWarning for w in found)
    return [str(w.message) for w in found]


# --- divergence

SGD = {"solver": "sgd", "learning_rate_init": 1e6}
DIVERGING = {
    "classifier": (mlp(**SGD), (DIGITS, DIGIT)),
    "regressor": (mlp(MLPNetRegressor, learning_rate_init=1e3), (PATIENTS, PROGRESSION)),
    "either": (mlp(MLPNet, task="classification", **SGD), (DIGITS, DIGIT)),
    "images": (small(ConvNetClassifier, [Flatten()], (8, 8), **SGD), (DIGITS, DIGIT)),
    "sequences": (
        small(RNNRegressor, "rnn", 4, learning_rate_init=1e3), (DIGITS[:50, :6], DIGITS[:50, 6]),
    ),
    "radial": (
        small(RBFNetRegressor, 5, solver="adam", learning_rate_init=1e3), (PATIENTS, PROGRESSION),
    ),
    "autoencoder": (small(AutoencoderTransformer, 3, learning_rate_init=1e3), (DIGITS,)),
    "text": (
        small(CharRNN, "gru", 8, seq_len=20, batch_size=2, alpha=1e-3, learning_rate_init=1e4),
        (TEXT,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("net, data", DIVERGING.values(), ids=DIVERGING)
def test_a_loss_that_ends_far_above_where_it_began_is_a_warning(net, data):
    net = clone(net)
    (message,) = diverged(caught_in(net.fit, *data))
    rate, clip, scale = map(message.index, ("learning_rate_init=1", "clip_norm=", "data may"))
    assert rate < clip < scale
    assert net.loss_ > 100 * float(message.split("began at ")[1].split()[0])
    net.set_params(learning_rate_init=1e-3)
    assert not diverged(caught_in(net.fit, *data))
    if hasattr(net, "partial_fit"):
        assert not diverged(caught_in(net.partial_fit, *data))


@quiet
@pytest.mark.parametrize("solver", ["sgd", "rmsprop"])
def test_weights_that_are_not_finite_are_an_error(solver):
    net = mlp(MLPNetRegressor).fit(PATIENTS, PROGRESSION)
    before = pickle.dumps(net)
    net.set_params(solver=solver, learning_rate_init=1e200, clip_norm=1e300)
    with pytest.raises(ValueError) as info:
        net.fit(PATIENTS, PROGRESSION)
    message = str(info.value)
    rate, clip, scale = map(message.index, ("rate_init=1e+200", "clip_norm=1e+300", "data may"))
    assert "diverged" in message and rate < clip < scale
    net.set_params(solver="adam", learning_rate_init=1e-3, clip_norm=None)
    assert pickle.dumps(net) == before


def test_large_variances_are_no_divergence():
    """Squares of the data overflow, but are not needed."""
    net = mlp(batch_norm=True, dtype="float32")
    assert not diverged(caught_in(net.fit, DIGITS * 1e11, DIGIT))
    assert net.batch_norm_[0]["variance"].max() > 1e20 and net.loss_ < 5


def test_a_perceptron_s_weights_name_the_rate():
    with pytest.raises(ValueError, match=r"learning_rate_init=1e\+308.*scaling"):
        PerceptronClassifier(learning_rate_init=1e308).fit(DIGITS * 1e3, DIGIT)


def test_the_first_step_counts_not_the_first_epoch():
    """Divergence within the first epoch is detected, also where steps are recorded individually."""
    for net, data in (
        (mlp(max_iter=1, **SGD), (DIGITS, DIGIT)),
        (clone(DIVERGING["text"][0]).set_params(max_iter=1, record_steps=True), (TEXT,)),
    ):
        (message,) = diverged(caught_in(net.fit, *data))
        assert 0.5 < float(message.split("began at ")[1].split()[0]) < 5
    (message,) = diverged(caught_in(mlp(**SGD).partial_fit, DIGITS, DIGIT, classes=range(10)))


def test_an_easy_first_sample_is_no_beginning():
    """The first batch is fitted perfectly, and yet the loss did not grow."""
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0.0, 5.0, -5.0, 5.0])
    net = small(
        MLPNetRegressor, hidden_layer_sizes=(), solver="sgd", batch_size=1, shuffle=False,
        max_iter=1, initializer="zeros", learning_rate_init=1e-3, tol=0.0,
    )  # fmt: skip
    assert not diverged(caught_in(net.fit, X, y)) and net.loss_ > 1
    assert not diverged(caught_in(net.partial_fit, X, y))


def test_a_loss_near_zero_may_grow_to_one_near_zero():
    X = PATIENTS[:, :2]
    net = mlp(MLPNetRegressor, hidden_layer_sizes=(), warm_start=True, alpha=0.0)
    net.set_params(solver="lbfgs", tol=1e-12, max_iter=100).fit(X, X @ [1.0, 2.0])
    assert net.loss_ < 1e-7
    net.set_params(solver="adam", tol=1e-4, learning_rate_init=0.01, max_iter=2)
    assert not diverged(caught_in(net.fit, X, X @ [1.0, 2.0])) and net.loss_ > 1e-6


def test_a_loss_that_is_not_finite_is_a_warning_also_of_lbfgs():
    net = mlp(MLPNetRegressor, solver="lbfgs")
    with np.errstate(all="ignore"):
        (message,) = diverged(caught_in(net.fit, PATIENTS, PROGRESSION * 1e160))
    assert "data may" in message and "rate" not in message
    assert np.isfinite(net.predict(PATIENTS)).all()


# --- schedules without effect, and the plateau


@quiet
@pytest.mark.parametrize("schedule", ["adaptive", "invscaling"])
def test_a_schedule_that_does_nothing_is_a_warning(schedule):
    for solver in ("adam", "rmsprop", "lbfgs"):
        net = mlp(solver=solver, learning_rate=schedule)
        caught = [w for w in caught_in(net.fit, DIGITS, DIGIT) if "has no effect" in str(w.message)]
        assert [w.category for w in caught] == [UserWarning]
        assert f"learning_rate={schedule!r}" in str(caught[0].message)
        assert f"solver={solver!r}" in str(caught[0].message)
        plain = mlp(solver=solver).fit(DIGITS, DIGIT)
        np.testing.assert_array_equal(net.coefs_[0], plain.coefs_[0])
    caught = caught_in(small(RBFNetRegressor, 5, learning_rate=schedule).fit, DIGITS, DIGIT)
    assert ["has no effect with solver='lstsq'" in str(w.message) for w in caught] == [True]
    net = mlp(learning_rate=schedule)
    assert len(caught_in(net.partial_fit, DIGITS, DIGIT, classes=range(10))) == 1
    assert not caught_in(net.partial_fit, DIGITS, DIGIT)  # only the first time


@quiet
def test_schedules_that_do_something_are_no_warning():
    for params in (
        {}, {"solver": "lbfgs"}, {"solver": "sgd", "learning_rate": "adaptive"},
        {"learning_rate": "cosine"}, {"learning_rate": "plateau"},
    ):  # fmt: skip
        caught = caught_in(mlp(**params).fit, DIGITS, DIGIT)
        assert not any("has no effect" in str(w.message) for w in caught)
    with pytest.warns(UserWarning, match="no effect with solver='lbfgs'; it is for a minibatch"):
        mlp(solver="lbfgs", learning_rate="plateau").fit(DIGITS, DIGIT)


def plateaus(values, patience, factor, rate, tol):
    """Return the learning rates of epochs from their results: the rule, reimplemented."""
    rates, best, stalled, lowest = [], np.inf, 0, 1e-6 * rate
    for value in values:
        rates.append(rate)
        stalled = 0 if value < best - tol else stalled + 1
        best = value if value < best - tol else best
        if stalled == patience:
            rate, stalled = max(rate * factor, lowest), 0
    return rates


PLATEAU = {
    "learning_rate": "plateau", "plateau_patience": 2, "plateau_factor": 0.5, "tol": 0.02,
    "learning_rate_init": 0.02, "max_iter": 25, "n_iter_no_change": np.inf,
}  # fmt: skip


@quiet
@pytest.mark.parametrize("how", ["training", "validation", "early stopping"])
def test_the_plateau_looks_at_validation_if_it_can(how):
    net = mlp(early_stopping=how == "early stopping", **PLATEAU | {"max_iter": 40})
    validation = {"X_val": DIGITS[200:], "y_val": DIGIT[200:]} if how == "validation" else {}
    net.fit(DIGITS[:200], DIGIT[:200], **validation)
    seen = {
        "training": net.loss_curve_, "validation": net.validation_loss_curve_,
        "early stopping": -np.array(net.validation_scores_ or 0.0),
    }[how]  # fmt: skip
    expected = plateaus(seen, 2, 0.5, 0.02, 0.02)
    np.testing.assert_allclose(net.learning_rate_curve_, expected, rtol=1e-12)
    assert len(set(expected)) > 2


@quiet
def test_the_plateau_has_a_floor_and_training_its_end():
    params = PLATEAU | {"tol": 100.0, "plateau_patience": 1, "plateau_factor": 0.01}
    net = mlp(**params).fit(DIGITS, DIGIT)
    assert min(net.learning_rate_curve_) == pytest.approx(0.02 * 1e-6) and net.n_iter_ == 25
    net.set_params(n_iter_no_change=3).fit(DIGITS, DIGIT)
    assert net.n_iter_ == 5  # as without the plateau


@quiet
def test_partial_fits_go_on_with_the_plateau():
    once = mlp(**PLATEAU).fit(DIGITS, DIGIT)
    steps = mlp(**PLATEAU)
    for _ in range(25):
        steps.partial_fit(DIGITS, DIGIT, classes=range(10))
        steps = pickle.loads(pickle.dumps(steps))
    assert len(set(steps.learning_rate_curve_)) > 2
    expected = plateaus(steps.loss_curve_, 2, 0.5, 0.02, 0.02)
    np.testing.assert_allclose(steps.learning_rate_curve_, expected, rtol=1e-12)
    again = once.set_params(warm_start=True).fit(DIGITS, DIGIT)
    assert again.learning_rate_curve_[25] == 0.02 and len(again.learning_rate_curve_) == 50


# --- learning rates by epoch


@quiet
def test_the_rate_of_each_epoch_is_kept():
    n_steps = 6
    net = mlp(learning_rate="cosine", max_iter=4).fit(DIGITS, DIGIT)
    last = np.arange(1, 5) * n_steps - 1
    expected = 1e-3 * (1 + np.cos(np.pi * last / (4 * n_steps))) / 2
    np.testing.assert_allclose(net.learning_rate_curve_, expected, rtol=1e-12)
    net = mlp(solver="sgd", learning_rate="invscaling").fit(DIGITS, DIGIT)
    expected = [1e-3 / (300 * i + 1) ** 0.5 for i in range(3)]
    np.testing.assert_allclose(net.learning_rate_curve_, expected, rtol=1e-12)
    net = mlp(solver="sgd", learning_rate="adaptive", tol=1.0, n_iter_no_change=1, max_iter=6)
    rates = net.fit(DIGITS, DIGIT).history_["learning_rate"].tolist()
    assert rates == net.learning_rate_curve_ and rates[-1] < rates[0] == 1e-3
    for solver in ("adam", "adamw", "nadam", "adadelta"):  # whatever they make of it
        assert mlp(solver=solver).fit(DIGITS, DIGIT).learning_rate_curve_ == 3 * [1e-3]
    assert small(CharRNN, "gru", 4).fit(TEXT).history_["learning_rate"].tolist() == 3 * [2e-3]


@quiet
def test_rates_of_warm_starts_and_without_minibatches():
    net = mlp(warm_start=True).fit(DIGITS, DIGIT)
    net.set_params(learning_rate_init=0.01).fit(DIGITS, DIGIT)
    assert net.learning_rate_curve_ == 3 * [1e-3] + 3 * [0.01]
    del net.learning_rate_curve_  # as older versions have pickled it
    assert list(net.history_) == ["loss"]
    net.fit(DIGITS, DIGIT)
    rates = net.history_["learning_rate"]
    assert rates.isna().tolist() == 6 * [True] + 3 * [False]
    net.set_params(solver="lbfgs").fit(DIGITS, DIGIT)
    assert net.learning_rate_curve_ is None and list(net.history_) == ["loss"]
    assert small(RBFNetRegressor, 5).fit(PATIENTS, PROGRESSION).learning_rate_curve_ is None


# --- scores of validation data

TRAIN, VALID, TRAIN_Y, VALID_Y = train_test_split(DIGITS, DIGIT, random_state=0, stratify=DIGIT)


def seen_by(scores):
    """Return a scorer that records its arguments."""

    def scorer(estimator, X, y=None):
        scores.append((estimator, X, y))
        return float(len(scores))

    return scorer


@quiet
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scorers_score_the_weights_of_each_epoch(solver):
    net = mlp(solver=solver, scoring="neg_log_loss").fit(
        TRAIN, TRAIN_Y, X_val=VALID, y_val=VALID_Y
    )
    loss = -log_loss(VALID_Y, net.predict_proba(VALID), labels=net.classes_)
    assert net.validation_scores_[-1] == pytest.approx(loss, rel=1e-9)
    first = mlp(solver=solver, max_iter=1).fit(TRAIN, TRAIN_Y)
    loss = -log_loss(VALID_Y, first.predict_proba(VALID), labels=net.classes_)
    assert net.validation_scores_[0] == pytest.approx(loss, rel=1e-9)
    plain = mlp(solver=solver).fit(TRAIN, TRAIN_Y)
    np.testing.assert_array_equal(net.coefs_[0], plain.coefs_[0])  # it changes nothing
    net.set_params(scoring="loss").fit(TRAIN, TRAIN_Y, X_val=VALID, y_val=VALID_Y)
    assert net.validation_scores_ == [-loss for loss in net.validation_loss_curve_]


@quiet
def test_early_stopping_goes_by_the_scorer():
    rising = [0.1, 0.7, 0.3, 0.2, 0.1]
    calls = []

    def scorer(estimator, X, y):
        calls.append((estimator.n_iter_, len(estimator.loss_curve_)))
        return rising[len(calls) - 1]

    params = {"early_stopping": True, "max_iter": 5}
    net = mlp(scoring=scorer, **params).fit(DIGITS, DIGIT)
    assert net.validation_scores_ == rising and net.best_validation_score_ == 0.7
    assert calls == [(i, i) for i in range(1, 6)]
    until = mlp(scoring="loss", **params | {"max_iter": 2}).fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(net.coefs_[0], until.coefs_[0])


@quiet
def test_a_scorer_gets_the_rows_held_back_as_they_were_given():
    pd = pytest.importorskip("pandas")
    frame, labels = pd.DataFrame(DIGITS).add_prefix("p"), pd.Series(DIGIT).map("digit {}".format)
    kinds = {
        "arrays": (DIGITS, DIGIT), "frames": (frame, labels), "lists": (DIGITS.tolist(), [*DIGIT]),
        "sparse": (sp.coo_array(DIGITS), DIGIT),
    }  # fmt: skip
    for kind, (X, y) in kinds.items():
        net = mlp(early_stopping=True, max_iter=1).set_params(scoring=seen_by(seen := []))
        net.fit(X, y, sample_weight=np.ones(300))
        ((estimator, X_val, y_val),) = seen
        assert type(X_val) is (sp.csr_array if kind == "sparse" else type(X)), kind
        assert type(y_val) is type(y) and len(y_val) == 30
        assert estimator is not net and type(estimator) is MLPNetClassifier
        expected = mlp(early_stopping=True, max_iter=1).fit(X, y, sample_weight=np.ones(300))
        assert accuracy_score(y_val, net.predict(X_val)) == expected.validation_scores_[0], kind


@quiet
def test_sample_weights_are_for_scorers_that_take_them():
    weights = np.linspace(0.1, 2.0, len(VALID))
    given = {"X_val": VALID, "y_val": VALID_Y, "sample_weight_val": weights}
    net = mlp(scoring="accuracy").fit(TRAIN, TRAIN_Y, **given)
    expected = accuracy_score(VALID_Y, net.predict(VALID), sample_weight=weights)
    assert net.validation_scores_[-1] == pytest.approx(expected)
    error = make_scorer(max_error, greater_is_better=False)  # takes none
    net = mlp(MLPNetRegressor, scoring=error).fit(TRAIN, TRAIN_Y, **given)
    assert net.validation_scores_[-1] == pytest.approx(-max_error(VALID_Y, net.predict(VALID)))

    def weighs(estimator, X, y, sample_weight):
        return mean_absolute_error(y, estimator.predict(X), sample_weight=sample_weight)

    net.set_params(scoring=weighs, early_stopping=True)
    net.fit(DIGITS, DIGIT, sample_weight=np.ones(300))
    assert len(net.validation_scores_) == 3


@quiet
def test_scorers_of_all_families():
    y = DIGIT % 2
    net = small(ConvNetClassifier, [Flatten()], (8, 8), scoring="roc_auc")
    images = DIGITS.reshape(-1, 8, 8)
    net.fit(images[:200], y[:200], X_val=images[200:], y_val=y[200:])
    auc = roc_auc_score(y[200:], net.predict_proba(images[200:])[:, 1])
    assert net.validation_scores_[-1] == pytest.approx(auc)
    net = small(RBFNetClassifier, 5, scoring="roc_auc")  # solved for, not trained
    net.fit(DIGITS[:200], y[:200], X_val=DIGITS[200:], y_val=y[200:])
    auc = roc_auc_score(y[200:], net.predict_proba(DIGITS[200:])[:, 1])
    assert net.validation_scores_ == [pytest.approx(auc)]
    net = small(RBFNetRegressor, 5, solver="adam", scoring="neg_mean_absolute_error")
    net.set_params(early_stopping=True).fit(PATIENTS, PROGRESSION)
    assert net.best_validation_score_ == max(net.validation_scores_) < 0


def by_score(estimator, X, y=None):
    return estimator.score(X, y) + 100


@quiet
def test_scorers_of_sequences_and_texts():
    sequences = [row[: 3 + i % 4] for i, row in enumerate(DIGITS[:60])]
    labels = DIGIT[:60] % 2
    params = {"early_stopping": True, "scoring": by_score, "validation_fraction": 0.2}
    net = small(RNNClassifier, "rnn", 4, **params).fit(sequences, labels)
    plain = small(RNNClassifier, "rnn", 4, **params | {"scoring": None}).fit(sequences, labels)
    np.testing.assert_allclose(net.validation_scores_, np.add(plain.validation_scores_, 100))
    steps = [part.cumsum() for part in sequences]
    params["return_sequences"] = True
    net = small(RNNRegressor, "rnn", 4, **params).fit(sequences, steps)
    plain = small(RNNRegressor, "rnn", 4, **params | {"scoring": None}).fit(sequences, steps)
    np.testing.assert_allclose(net.validation_scores_, np.add(plain.validation_scores_, 100))
    words = [a + b for a in "abcd" for b in "abcd"]
    net = small(Seq2SeqRNN, "gru", 4, scoring=by_score).fit(words, words, X_val=words, y_val=words)
    plain = small(Seq2SeqRNN, "gru", 4).fit(words, words, X_val=words, y_val=words)
    np.testing.assert_allclose(net.validation_scores_, np.add(plain.validation_scores_, 100))


@quiet
def test_the_scores_of_characters():
    net = small(CharRNN, "gru", 4, scoring="loss").fit(TEXT, X_val=TEXT[:50])
    assert net.validation_scores_ == [-loss for loss in net.validation_loss_curve_]
    with pytest.raises(ValueError, match="'scoring' parameter of CharRNN must be .*'loss'"):
        net.set_params(scoring="accuracy").fit(TEXT)


@quiet
@pytest.mark.parametrize("make", [AutoencoderTransformer, VariationalAutoencoderTransformer])
def test_scorers_of_autoencoders_get_no_y(make):
    for scoring in (by_score, lambda estimator, X: estimator.score(X) + 100):
        net = small(make, 3, scoring=scoring).fit(DIGITS[:200], X_val=DIGITS[200:])
        assert net.validation_scores_[-1] == pytest.approx(net.score(DIGITS[200:]) + 100)
        assert "kl" not in net.history_ or len(net.history_) == 3
    if make is AutoencoderTransformer:
        noisy = np.roll(DIGITS, 1, axis=1)
        net.set_params(scoring=seen_by(seen := []), early_stopping=True)
        net.fit(noisy, X_clean=DIGITS)
        _, X, clean = seen[-1]
        np.testing.assert_array_equal(X, np.roll(clean, 1, axis=1))


@quiet
def test_what_a_scorer_does_to_its_estimator_stays_there():
    def meddles(estimator, X, y):
        estimator.coefs_[0][:] = 0
        estimator.loss_curve_.clear()
        estimator.classes_ = None
        estimator.random_state.normal(size=100)
        return float(seen.append(estimator) or len(seen))

    seen = []
    nets = [
        mlp(early_stopping=True, random_state=np.random.RandomState(0), scoring=scoring)
        for scoring in (meddles, "loss")
    ]
    for net in nets:
        net.fit(DIGITS, DIGIT)
    assert len(nets[0].loss_curve_) == 3 and nets[0].coefs_[0].any()
    assert nets[0].loss_curve_ == nets[1].loss_curve_
    assert len({id(some) for some in seen}) == 3


@quiet
def test_scorings_that_are_none():
    net = mlp(MLPNetRegressor, scoring="acuracy")
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="scoring is 'acuracy'; expected None, 'loss'"):
            train(DIGITS, DIGIT)
    with pytest.raises(ValueError, match="accuracy_score.* a metric function rather than"):
        mlp(scoring=accuracy_score).fit(DIGITS, DIGIT)
    before = vars(net := mlp(early_stopping=True)).copy()
    values = [np.nan]
    scored = {"scoring": lambda estimator, X, y: values[0]}
    for values[0] in (np.nan, np.inf, None, "high", [1.0, 2.0]):
        net.set_params(**scored)
        with pytest.raises(ValueError, match="scoring=.*expected a finite number"):
            net.fit(DIGITS, DIGIT)
    assert vars(net.set_params(scoring=None)) == before
    for values[0] in (np.float32(0.5), np.array(0.5), np.array([0.5]), 1, True):
        net.set_params(**scored).fit(DIGITS, DIGIT)
        assert all(type(score) is float for score in net.validation_scores_)


@quiet
def test_outputs_that_are_not_finite_have_no_score():
    net = mlp(MLPNetRegressor, activation="identity", solver="sgd", learning_rate_init=1.0)
    net.set_params(early_stopping=True, max_iter=30, scoring="neg_mean_absolute_error")
    with np.errstate(all="ignore"):
        net.fit(DIGITS * 1e3, DIGIT)
    assert np.isnan(net.validation_scores_[-1])


# --- interrupts


@pytest.fixture
def clock(monkeypatch):
    """The clock that interrupts use, in a list."""
    now = [1000.0]
    monkeypatch.setattr(interrupts, "monotonic", lambda: now[0])
    return now


def interrupted_at(*calls):
    """Return a scorer that interrupts in some of its calls, counted from 1."""
    seen = []

    def scorer(estimator, X, y):
        seen.append(0)
        if len(seen) in calls:
            raise KeyboardInterrupt
        return float(len(seen))

    return scorer


@quiet
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_second_interrupt_soon_after_the_first_is_raised(solver, clock):
    net, given = mlp(solver=solver), (TRAIN, TRAIN_Y)
    validation = {"X_val": VALID, "y_val": VALID_Y}
    with pytest.warns(UserWarning, match=r"user\. The weights .* within 2 seconds to stop"):
        net.set_params(scoring=interrupted_at(2)).fit(*given, **validation)
    assert net.n_iter_ == len(net.loss_curve_) == 2
    before = net.coefs_
    clock[0] += 1.9
    with pytest.raises(KeyboardInterrupt):
        net.set_params(scoring=interrupted_at(1)).fit(*given, **validation)
    assert net.coefs_ is before
    clock[0] += 0.2  # more than two seconds after the first one
    with pytest.warns(UserWarning, match="interrupted by user"):
        net.set_params(scoring=interrupted_at(1)).fit(*given, **validation)
    assert net.n_iter_ == 1


@quiet
def test_two_interrupts_end_a_cross_validation_one_ends_a_fold(clock):
    def scores_of(*calls):  # three epochs per fold
        net = mlp(early_stopping=True, scoring=interrupted_at(*calls))
        return cross_val_score(net, DIGITS, DIGIT, cv=3, error_score="raise")

    with pytest.warns(UserWarning, match="interrupted by user"):
        assert np.isfinite(scores_of(2)).all()
    interrupts.forget()
    with pytest.warns(UserWarning, match="interrupted by user"):
        with pytest.raises(KeyboardInterrupt):
            scores_of(2, 4)


@quiet
def test_an_interrupt_of_a_perceptron_counts_too(clock):
    class Interrupts:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch":
                raise KeyboardInterrupt

    neuron = PerceptronClassifier(random_state=0).set_callbacks(Interrupts())
    with pytest.warns(UserWarning, match="interrupted by user"):
        neuron.fit(DIGITS, DIGIT)
    with pytest.raises(KeyboardInterrupt):
        neuron.fit(DIGITS, DIGIT)
    with pytest.raises(KeyboardInterrupt):
        mlp().set_callbacks(Interrupts()).fit(DIGITS, DIGIT)


@quiet
def test_an_interrupt_after_training_is_raised(clock, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    net = mlp(scoring=interrupted_at(1))
    monkeypatch.setattr("sknn.estimator.net.check_outcome", interrupt)
    with pytest.warns(UserWarning, match="interrupted by user"):
        with pytest.raises(KeyboardInterrupt):
            net.fit(TRAIN, TRAIN_Y, X_val=VALID, y_val=VALID_Y)
    assert not hasattr(net, "coefs_")


@quiet
@pytest.mark.parametrize("kind", [MLPNetClassifier, PerceptronClassifier])
def test_what_is_prepared_after_a_fit_cannot_lose_it(kind, clock, monkeypatch):
    """Kernels for single rows are compiled last: an error, or Ctrl-C, leaves the fitted model."""
    raised = [MemoryError("no space"), KeyboardInterrupt()]

    def compile_ahead(*args):
        raise raised[0]

    module = "feedforward.perceptron" if kind is PerceptronClassifier else "estimator.net"
    monkeypatch.setattr(f"sknn.{module}.compile_ahead", compile_ahead)
    net = kind(max_iter=2, random_state=0).fit(DIGITS, DIGIT)
    expected = net.predict(DIGITS)
    raised.pop(0)
    with pytest.warns(UserWarning, match="interrupted"):
        other = kind(max_iter=2, random_state=0).fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(other.predict(DIGITS), expected)
    third = kind(max_iter=2, random_state=0)
    with pytest.raises(KeyboardInterrupt):  # a second one is raised, but there is the fit
        third.fit(DIGITS, DIGIT)
    np.testing.assert_array_equal(third.predict(DIGITS), expected)


# --- location of warnings


def partial_rbf():
    net = RBFNetRegressor(20, random_state=0)
    return net.partial_fit(PATIENTS[:5], PROGRESSION[:5])


def interrupted():
    return mlp(scoring=interrupted_at(1)).fit(TRAIN, TRAIN_Y, X_val=VALID, y_val=VALID_Y)


def out_of_range():
    net = small(AutoencoderTransformer, 3, loss="log_loss", max_iter=1).fit(DIGITS)
    return net.score_samples(DIGITS * 9)


def without_gpu():
    devices._warned.clear()
    net = mlp(max_iter=1).fit(DIGITS, DIGIT)
    return net.set_params(device="cuda:7").predict(DIGITS)


#: Calls that warn, and the warnings.
WARNING = {
    "max_iter": (lambda: mlp().fit(DIGITS, DIGIT), "Maximum iterations"),
    "lbfgs": (lambda: mlp(solver="lbfgs").fit(DIGITS, DIGIT), "lbfgs failed to converge"),
    "divergence": (lambda: mlp(**SGD).fit(DIGITS, DIGIT), "Training has diverged"),
    "schedule": (lambda: mlp(learning_rate="adaptive").fit(DIGITS, DIGIT), "has no effect"),
    "batch": (lambda: mlp(batch_size=1000).fit(DIGITS, DIGIT), "Got `batch_size`"),
    "interrupt": (interrupted, "interrupted by user"),
    "perceptron": (lambda: PerceptronClassifier(max_iter=1).fit(DIGITS, DIGIT), "Maximum number"),
    "centers": (partial_rbf, "distinct rows"),
    "range": (out_of_range, "is for values in"),
    "device": (without_gpu, "is not available, so the CPU predicts"),
    "text": (lambda: small(CharRNN, "gru", 4).fit(TEXT), "Maximum iterations"),
    "pipeline": (
        lambda: make_pipeline(StandardScaler(), mlp()).fit(DIGITS, DIGIT), "Maximum iterations",
    ),
    "search": (
        lambda: cross_val_score(mlp(), DIGITS, DIGIT, cv=2, n_jobs=1), "Maximum iterations",
    ),
    "partial": (
        lambda: mlp(learning_rate="adaptive").partial_fit(DIGITS, DIGIT, classes=range(10)),
        "has no effect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("call, message", WARNING.values(), ids=WARNING)
def test_warnings_point_at_the_caller(call, message):
    found = [w for w in caught_in(call) if message in str(w.message)]
    assert found and {w.filename for w in found} == {__file__}


def test_all_warnings_are_given_so():
    package = pathlib.Path(sknn.__file__).parent
    users = [p.name for p in package.rglob("*.py") if "warnings.warn(" in p.read_text("utf-8")]
    assert users == ["warn.py"]
