"""Networks for tables, through their public API."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import d2_pinball_score, log_loss
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sknn
from sknn import TabularNetClassifier, TabularNetRegressor
from sknn.engine import interrupts
from sknn.estimator.net import trainer_of
from sknn.layers import NumericEmbedding

SMALL = {"hidden_layer_sizes": (16, 16), "max_iter": 6, "batch_size": 32, "random_state": 0}


def table(n=240, seed=0):
    """Return a frame of mixed columns with missing values, and targets that depend on it."""
    rng = np.random.default_rng(seed)
    age, income = rng.normal(40, 12, n), rng.lognormal(10, 1, n)
    job = rng.choice(["cook", "nurse", "pilot"], n)
    city = rng.choice([f"city {i}" for i in range(15)], n)
    member = rng.random(n) < 0.4
    y = (age - 40) / 12 + np.log(income) - 10 + (job == "pilot") + 0.5 * member
    X = pd.DataFrame({
        "age": age, "income": income, "job": job, "city": pd.Categorical(city),
        "member": member, "same": 1.0,
    })  # fmt: skip
    X.loc[rng.random(n) < 0.1, "age"] = np.nan
    X.loc[rng.random(n) < 0.1, "job"] = None
    return X, y


X, Y = table()
CLASS = np.where(Y > np.median(Y), "high", "low")
THREE = np.digitize(Y, np.quantile(Y, [0.33, 0.66]))


@pytest.fixture(scope="module")
def classifier():
    return TabularNetClassifier(**SMALL).fit(X, CLASS)


def test_a_frame_as_it_comes_is_learned():
    net = TabularNetClassifier(hidden_layer_sizes=(32,), max_iter=60, random_state=0)
    assert net.fit(X[:180], CLASS[:180]).score(X[180:], CLASS[180:]) > 0.8
    net = TabularNetRegressor(hidden_layer_sizes=(32,), max_iter=60, random_state=0)
    assert net.fit(X[:180], 1e6 + 1e4 * Y[:180]).score(X[180:], 1e6 + 1e4 * Y[180:]) > 0.6


def test_rows_have_the_same_bits_alone_and_on_any_number_of_threads(classifier):
    probabilities = classifier.predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(X[5:6]), probabilities[5:6])
    for n_jobs in (1, 2):
        again = clone(classifier).set_params(n_jobs=n_jobs).fit(X, CLASS)
        np.testing.assert_array_equal(again.predict_proba(X), probabilities)


def test_unseen_categories_and_missing_values_are_predicted(classifier):
    new = X[:3].copy()
    new["city"] = ["elsewhere", None, "city 3"]
    new["income"] = [np.nan, 1.0, 2.0]
    assert np.isfinite(classifier.predict_proba(new)).all()


def test_scaling_in_front_changes_nothing_that_matters():
    numbers = X[["age", "income"]].to_numpy()
    plain = TabularNetRegressor(**SMALL).fit(numbers, Y)
    change = FunctionTransformer(lambda X: 1000 * X - 5)
    scaled = make_pipeline(change, TabularNetRegressor(**SMALL))
    close = scaled.fit(numbers, Y).predict(numbers)
    np.testing.assert_allclose(close, plain.predict(numbers), rtol=1e-3, atol=1e-3)


def test_infinite_values_are_an_error(classifier):
    bad = X.copy()
    bad.loc[3, "income"] = np.inf
    with pytest.raises(ValueError, match="income"):
        classifier.predict(bad)
    with pytest.raises(ValueError, match="income"):
        TabularNetClassifier(**SMALL).fit(bad, CLASS)


def test_plain_arrays_with_named_categories():
    plain = np.column_stack([X["age"], THREE])
    net = TabularNetRegressor(categorical_features=[1], **SMALL).fit(plain, Y)
    assert net.n_features_in_ == 2
    assert np.isfinite(net.predict(plain)).all()


def test_the_kept_epoch_is_the_last_of_the_best(classifier):
    scores = np.array(classifier.validation_scores_)
    assert len(scores) == SMALL["max_iter"]
    assert classifier.best_validation_score_ == scores.max()
    assert classifier.best_iter_ == np.flatnonzero(scores == scores.max())[-1] + 1


def test_the_best_epoch_of_a_warm_start_may_be_of_the_fit_before():
    net = TabularNetClassifier(warm_start=True, scoring="neg_log_loss", **SMALL)
    for parameters in ({}, {"solver": "sgd", "learning_rate_init": 1e-12}):
        net.set_params(alpha_schedule="constant", **parameters).fit(X, CLASS)
        assert net.validation_scores_[net.best_iter_ - 1] == net.best_validation_score_
    assert len(net.validation_scores_) == 12


def test_refit_trains_on_all_data_for_the_best_number_of_epochs():
    net = TabularNetClassifier(refit=True, **SMALL).fit(X, CLASS)
    assert net.n_iter_ == net.best_iter_ == len(net.loss_curve_)
    assert len(net.validation_scores_) == SMALL["max_iter"]
    assert len(net.history_) == net.n_iter_
    assert net.t_ == net.n_iter_ * (len(X) // 32 * 32)


def test_validation_data_of_the_user():
    net = TabularNetClassifier(scoring="neg_log_loss", **SMALL)
    net.fit(X[:200], CLASS[:200], X_val=X[200:], y_val=CLASS[200:])
    assert net.best_validation_score_ == max(net.validation_scores_)
    assert net.best_validation_score_ < 0


def test_calibration_lowers_the_log_loss_of_the_data_held_out():
    held = slice(160, None)
    data = (X[:160], CLASS[:160])
    given = {"X_val": X[held], "y_val": CLASS[held]}
    losses = {}
    for calibrate in (False, True):
        net = TabularNetClassifier(calibrate=calibrate, **SMALL).fit(*data, **given)
        losses[calibrate] = log_loss(CLASS[held], net.predict_proba(X[held]))
        np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert net.temperature_ != 1
    assert losses[True] < losses[False]


@pytest.mark.parametrize("target", ["two", "three", "labels"])
def test_few_rows_that_are_all_right_do_not_make_probabilities_certain(target):
    """Targets of the calibration are those of Platt's scaling: one more row of each class."""
    few, chosen = X[:12], {"two": CLASS, "three": THREE, "labels": np.c_[CLASS == "low", THREE > 0]}
    y = chosen[target][:12]
    net = TabularNetClassifier(**SMALL | {"max_iter": 100, "batch_size": 12})
    net.fit(few, y, X_val=few, y_val=y)
    assert net.score(few, y) == 1
    certain = net.predict_proba(few).max(axis=1)
    assert 0.7 < certain.min() and certain.max() < 0.999
    plain = net.predict_proba(few).astype(float)

    def loss(scale):
        if target != "labels":
            p = plain**scale
            p /= p.sum(axis=1, keepdims=True)
            own = np.asarray(y)[:, None] == net.classes_
            return -(np.log(p) * (own + 1 / 12)).sum()
        p = plain**scale / (plain**scale + (1 - plain) ** scale)
        own = np.stack([y, ~y])
        return -(np.log([p, 1 - p]) * (own + 1 / 12)).sum()

    assert loss(1.0) < min(loss(0.98), loss(1.02))


def test_powers_of_small_probabilities_do_not_vanish():
    net = TabularNetClassifier(early_stopping=False, **SMALL | {"max_iter": 1})
    net.fit(X, np.arange(len(X)) // 2).temperature_ = 0.02
    np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_several_quantiles_are_sorted_and_cover():
    levels = [0.1, 0.5, 0.9]
    net = TabularNetRegressor(
        (32,), loss="quantile", quantile=levels, max_iter=60, random_state=0
    ).fit(X, 100 * Y)
    low, middle, high = net.predict(X).T
    assert (low <= middle).all() and (middle <= high).all()
    assert 0.6 < np.mean((100 * Y >= low) & (100 * Y <= high)) < 0.95
    scores = [
        d2_pinball_score(100 * Y, one, alpha=level)
        for one, level in zip((low, middle, high), levels)
    ]
    np.testing.assert_allclose(net.score(X, 100 * Y), np.mean(scores))


def test_predictions_stay_within_the_range_of_the_targets():
    net = TabularNetRegressor(**SMALL).fit(X, Y)
    assert Y.min() <= net.predict(X).min() and net.predict(X).max() <= Y.max()
    wild = X.assign(age=1e6, income=1e30)
    assert net.predict(wild).max() <= Y.max() + 1e-5
    assert net.set_params(clip_output=False).predict(wild).shape == (len(X),)


@pytest.mark.parametrize("embedding", ["periodic", "piecewise_linear", None])
def test_ensembles_of_members(embedding):
    net = TabularNetClassifier(n_ensemble=3, numeric_embedding=embedding, **SMALL)
    probabilities = net.fit(X, THREE).predict_proba(X)
    assert probabilities.shape == (len(X), 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(net.predict_proba(X[7:8]), probabilities[7:8])
    again = clone(net).set_params(n_jobs=1).fit(X, THREE)
    np.testing.assert_array_equal(again.predict_proba(X), probabilities)


@pytest.mark.parametrize("members", [1, 2])
def test_bagging_is_the_mean_of_its_networks(members):
    net = TabularNetRegressor(cv=3, n_ensemble=members, **SMALL).fit(X, Y)
    assert len(net.estimators_) == 3
    each = [one.predict(X) for one in net.set_params(clip_output=False).estimators_]
    np.testing.assert_allclose(net.predict(X), np.mean(each, axis=0), rtol=1e-4, atol=1e-6)
    again = clone(net).set_params(n_jobs=1).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    with pytest.raises(AttributeError, match="estimators_"):
        net.weights_  # noqa: B018
    with pytest.raises(ValueError, match="estimators_"):
        sknn.diagnose(net, X, Y)
    plain = net.set_params(cv=None).fit(X, Y)
    assert not hasattr(plain, "estimators_")


def test_the_networks_of_a_bag_are_those_of_fits_of_their_own():
    """Each has the bits of a fit on the rest of the data, validated on its fold."""
    folds = list(KFold(3, shuffle=True, random_state=1).split(X))
    bag = TabularNetRegressor(cv=folds, **SMALL).fit(X, Y)
    train, held = folds[1]
    # what depends on all data: medians, and the mean of the targets
    one = bag.estimators_[1]
    alone = clone(one).fit(X.iloc[train], Y[train], X_val=X.iloc[held], y_val=Y[held])
    assert len(one.loss_curve_) == len(alone.loss_curve_)
    np.testing.assert_allclose(one.loss_curve_[0], alone.loss_curve_[0], rtol=0.3)


def test_splitters_see_the_targets_and_rare_classes_do_not_prevent_stratified_folds():
    rare = np.array(["a"] * 200 + ["b"] * 39 + ["c"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "c" has one row
        folds = list(StratifiedKFold(3).split(X, rare))
        given = TabularNetClassifier(cv=StratifiedKFold(3), **SMALL).fit(X, rare)
        listed = TabularNetClassifier(cv=folds, **SMALL).fit(X, rare)
        drawn = TabularNetClassifier(cv=3, scoring=_share_of_b, **SMALL).fit(X, rare)
    np.testing.assert_array_equal(given.predict_proba(X), listed.predict_proba(X))
    for one in drawn.estimators_:
        assert one.best_validation_score_ == 13 / 80
    assert TabularNetRegressor(cv=StratifiedKFold(3), **SMALL).fit(X, THREE).n_iter_ == 6
    with pytest.raises(ValueError, match="fold of 1 row"):
        TabularNetRegressor(cv=LeaveOneOut(), **SMALL).fit(X, Y)


def _share_of_b(estimator, X, y):
    return np.mean(y == "b")


@pytest.mark.parametrize("call", [1, 5])
def test_an_interrupted_bag_keeps_what_has_been_trained(call):
    interrupts.forget()
    calls = []

    def scorer(estimator, X, y):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return estimator.score(X, y)

    net = TabularNetRegressor(cv=3, scoring=scorer, **SMALL)
    with pytest.warns(UserWarning, match="interrupted"):
        net.fit(X, Y)
    assert len(net.history_) == len(net.loss_curve_) < 3
    assert np.isfinite(net.predict(X)).all()


def test_an_interrupted_refit_keeps_the_network_before(monkeypatch):
    def interrupted(job):
        trainer = trainer_of(job)
        plan, plans = trainer.plan, []

        def second():
            plans.append(1)
            if len(plans) == 2:
                raise KeyboardInterrupt
            return plan()

        trainer._ahead, trainer.plan = lambda epochs: 1, second
        return trainer

    plain = TabularNetRegressor(**SMALL).fit(X, Y)
    monkeypatch.setattr("sknn.tabular.net.trainer_of", interrupted)
    interrupts.forget()
    with pytest.warns(UserWarning, match="interrupted"):
        net = TabularNetRegressor(refit=True, **SMALL).fit(X, Y)
    np.testing.assert_array_equal(net.predict(X), plain.predict(X))
    assert len(net.history_) == net.n_iter_ == SMALL["max_iter"]


def test_folds_are_stratified_and_splitters_are_taken():
    for cv in (3, StratifiedKFold(4)):
        net = TabularNetClassifier(cv=cv, **SMALL).fit(X, THREE)
        assert net.predict_proba(X).shape == (len(X), 3)
    with pytest.raises(ValueError, match="cv="):
        TabularNetClassifier(cv=[([0, 1], [])], **SMALL).fit(X, THREE)


@pytest.mark.parametrize(
    "parameters, given, match",
    [
        ({"cv": 3, "warm_start": True}, {}, "warm_start"),
        ({"cv": 3}, {"X_val": X, "y_val": CLASS}, "X_val"),
        ({"refit": True, "early_stopping": False}, {}, "refit"),
        ({"refit": True, "cv": 3}, {}, "refit"),
        ({"refit": True, "warm_start": True}, {}, "warm_start=False"),
    ],
)
def test_parameters_that_exclude_each_other(parameters, given, match):
    with pytest.raises(ValueError, match=match):
        TabularNetClassifier(**SMALL | parameters).fit(X, CLASS, **given)


def test_weights_of_samples_and_classes():
    weights = np.where(CLASS == "high", 5.0, 1.0)
    plain = TabularNetClassifier(**SMALL).fit(X, CLASS)
    heavy = TabularNetClassifier(**SMALL).fit(X, CLASS, sample_weight=weights)
    by_class = TabularNetClassifier(class_weight={"high": 5.0, "low": 1.0}, **SMALL).fit(X, CLASS)
    np.testing.assert_allclose(heavy.predict_proba(X), by_class.predict_proba(X), rtol=1e-6)
    assert heavy.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean()


def test_targets_whose_squares_overflow_are_an_error():
    with pytest.raises(ValueError, match="y has numbers up to .*e\\+300"):
        TabularNetRegressor(**SMALL).fit(X, Y * 1e300)


def test_a_rate_of_embeddings_is_that_of_given_ones_too():
    layers = NumericEmbedding("periodic"), NumericEmbedding("periodic", rate=0.5)
    nets = [
        TabularNetRegressor(numeric_embedding=one, embedding_rate=rate, **SMALL).fit(X, Y)
        for one, rate in (("periodic", 0.1), (layers[0], 0.1), (layers[1], 0.2))
    ]
    for net in nets[1:]:
        np.testing.assert_array_equal(net.predict(X), nets[0].predict(X))


def test_a_network_is_fitted_again_with_another_loss():
    """'auto' of an earlier fit is not a label smoothing that squared errors would refuse."""
    net = TabularNetClassifier(**SMALL).fit(X, CLASS)
    assert net.label_smoothing_ > 0
    assert net.set_params(loss="squared_error").fit(X, CLASS).label_smoothing_ == 0
    assert net.set_params(loss="log_loss").fit(X, CLASS).label_smoothing_ > 0


def test_quantiles_of_another_loss_are_no_obstacle_to_files(tmp_path):
    net = TabularNetRegressor(quantile=[0.1, 0.9], **SMALL).fit(X, np.c_[Y, -Y])
    sknn.save(net, tmp_path / "net.safetensors")
    again = sknn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_copies_and_files_predict_the_same(classifier, tmp_path):
    expected = classifier.predict_proba(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(classifier)).predict_proba(X), expected
    )
    bag = TabularNetRegressor(cv=2, n_ensemble=2, **SMALL).fit(X, Y)
    for net, method in ((classifier, "predict_proba"), (bag, "predict")):
        sknn.save(net, tmp_path / "net.safetensors")
        again = sknn.load(tmp_path / "net.safetensors")
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(net, method)(X))
    classifier.save_weights(tmp_path / "weights.safetensors")
    other = TabularNetClassifier(**SMALL | {"random_state": 1}).fit(X, CLASS)
    other.load_weights(tmp_path / "weights.safetensors").set_params(warm_start=True)
    assert not hasattr(other, "temperature_") and list(other.feature_names_in_) == list(X)
    other.temperature_ = classifier.temperature_
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))


def test_it_fits_in_a_grid_search():
    grid = GridSearchCV(TabularNetClassifier(**SMALL), {"dropout": [0.0, 0.3]}, cv=2)
    assert grid.fit(X, CLASS).best_score_ > 0.4


def test_partial_fits_need_a_network_without_a_plan():
    assert not hasattr(TabularNetClassifier(), "partial_fit")
    decays = TabularNetClassifier(early_stopping=False, learning_rate="constant")
    assert not hasattr(decays, "partial_fit")  # by a schedule
    net = TabularNetClassifier(
        early_stopping=False, learning_rate="constant", learning_rate_init=0.01,
        alpha_schedule="constant", dropout_schedule="constant", **SMALL,
    )  # fmt: skip
    net.partial_fit(X[:100], CLASS[:100], classes=["high", "low"]).partial_fit(X, CLASS)
    assert net.n_iter_ >= 1


def test_a_rare_class_and_a_single_one():
    rare = np.array(["a"] * 230 + ["b"] * 9 + ["c"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert TabularNetClassifier(**SMALL).fit(X, rare).predict_proba(X).shape == (240, 3)
