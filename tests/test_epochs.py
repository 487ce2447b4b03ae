"""Epochs that are planned together: everything is as if each had been trained on its own."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris

from sknn import AutoencoderTransformer, MLPNetClassifier, MLPNetRegressor, RNNClassifier
from sknn.cpu.session import Session
from sknn.engine import interrupts, training
from sknn.engine.optimizers import SOLVERS, Optimizer
from sknn.engine.recipe import Recipe
from sknn.engine.training import Trainer

X, Y = (array[::3] for array in load_iris(return_X_y=True))
RNG = np.random.RandomState(0)
SEQUENCES = [RNG.randn(RNG.randint(2, 6), 2) for _ in range(30)]


def mlp(make=MLPNetClassifier, **params):
    params = {"hidden_layer_sizes": (6,), "max_iter": 30, "batch_size": 16, "n_jobs": 1} | params
    return make(**params)


def state_of(net, random_state):
    """Return all that a fit determines, in a form that can be compared."""
    optimizer = dict(vars(net._optimizer))
    optimizer["states"] = [list(map(bytes, some)) for some in optimizer["states"]]
    raw = None if net._raw_values is None else list(map(bytes, net._raw_values[1]))
    drawn = random_state.get_state(legacy=False)
    return {
        "weights": [w.tobytes() for w in net._held_weights().values],
        "optimizer": optimizer,
        "raw": raw,
        "curves": (net.loss_curve_, net.learning_rate_curve_, net.loss_, net.best_loss_),
        "counts": (net.n_iter_, net.t_, net._no_improvement_count),
        "generator": (drawn["state"]["key"].tobytes(), drawn["state"]["pos"]),
    }


def fitted(make, data=(X, Y), **sample_weight):
    """Return the states after each of two fits in a row, and the warnings."""
    random_state = np.random.RandomState(3)
    net = make().set_params(random_state=random_state, warm_start=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.fit(*data, **sample_weight)
        states = [state_of(net, random_state)]
        net.set_params(max_iter=4).fit(*data, **sample_weight)
        states.append(state_of(net, random_state))
    return states, [str(one.message) for one in caught]


@pytest.fixture
def plans(monkeypatch):
    """The numbers of passes that are planned together, in a list."""
    found, plan_passes = [], Session.plan_passes

    def noting(self, passes, *others):
        found.append(passes)
        return plan_passes(self, passes, *others)

    monkeypatch.setattr(Session, "plan_passes", noting)
    return found


SGD = {"solver": "sgd", "learning_rate_init": 0.1}
RECIPES = {
    "one step an epoch": {"batch_size": 50},
    "stopping": {"tol": 0.02, "n_iter_no_change": 3, "max_iter": 200},
    "stopping at once": {"tol": 10.0, "n_iter_no_change": 1},
    "stopping between plans": {"tol": 1e-3, "max_iter": 400, "learning_rate_init": 0.02},
    "never stopping": {"n_iter_no_change": np.inf, "tol": 10.0},
    "in order": {"shuffle": False},
    "averages": {"average": True, "solver": "adamw"},
    "clipped": {"clip_norm": 0.5, "solver": "rmsprop"},
    "nadam": {"solver": "nadam"},
    "adaptive": {**SGD, "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
    "plateau": {**SGD, "learning_rate": "plateau", "tol": 0.05, "plateau_patience": 2},
    "cosine": {**SGD, "learning_rate": "cosine", "tol": 10.0},
    "one cycle": {"learning_rate": "one_cycle", "average": 0.9},
    "dropout": {"dropout": 0.5},
    "schedules": {
        "solver": "adamw", "alpha": 0.1, "learning_rate": "coslog4", "alpha_schedule": "flat_cos",
        "dropout": 0.5, "dropout_schedule": "flat_cos", "initializer": "data_dependent",
    },
}


@pytest.mark.parametrize("name", RECIPES)
def test_epochs_that_are_planned_together_are_the_same(name, plans, monkeypatch):
    def make():
        return mlp(**RECIPES[name])

    weights = np.linspace(0.0, 2.0, len(X))
    together = fitted(make, sample_weight=weights)
    assert sum(plans) >= (2 if name == "stopping at once" else 6) and max(plans) > 1
    monkeypatch.setattr(training, "_MOST_AHEAD", 1)
    planned = len(plans)
    assert fitted(make, sample_weight=weights) == together and len(plans) == planned


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("patience", range(1, 7))
def test_training_stops_anywhere_in_a_plan(patience, plans, monkeypatch):
    def make(tol):
        return mlp(batch_size=50, n_iter_no_change=patience, tol=tol, max_iter=60)

    tolerances = np.linspace(0.001, 0.03, 6)
    together = [fitted(lambda tol=tol: make(tol)) for tol in tolerances]
    monkeypatch.setattr(training, "_MOST_AHEAD", 1)
    assert [fitted(lambda tol=tol: make(tol)) for tol in tolerances] == together
    stopped = [states[0]["counts"][0] for states, _ in together]
    assert len(set(stopped)) > 2 and min(stopped) < 60


OTHERS = {
    "regression, two threads": (lambda: mlp(MLPNetRegressor, n_jobs=2), (X, X[:, 0])),
    "sequences": (lambda: RNNClassifier(max_iter=6, batch_size=8), (SEQUENCES, Y[:30])),
    "pretraining": (lambda: AutoencoderTransformer(max_iter=5), (X,)),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_epochs_of_other_networks_are_the_same(name, plans, monkeypatch):
    make, data = OTHERS[name]
    together = fitted(make, data)
    assert max(plans) > 1
    monkeypatch.setattr(training, "_MOST_AHEAD", 1)
    assert fitted(make, data) == together


def test_two_threads_make_the_passes_of_one(monkeypatch):
    monkeypatch.setattr("sknn.cpu.device.CPU.threads", lambda *args: 2)
    two = fitted(mlp)
    monkeypatch.setattr("sknn.cpu.device.CPU.threads", lambda *args: 1)
    assert fitted(mlp) == two


@pytest.mark.parametrize(
    "watched",
    [
        {"verbose": True},
        {"early_stopping": True},
        {**SGD, "learning_rate": "invscaling"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_epochs_that_are_looked_at_are_trained_one_by_one(watched, plans, capsys):
    mlp(max_iter=3, **watched).fit(X, Y)
    assert plans == []


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_planned_is_bounded(plans, monkeypatch):
    mlp(max_iter=40).fit(X, Y)
    assert plans == [11, 11, 18]  # at first no more than are certain, then as many as are done
    monkeypatch.setattr(training, "_MOST_ROWS_AHEAD", 250)
    del plans[:]
    mlp(max_iter=12).fit(X, Y)
    assert plans == [5, 5, 2]
    monkeypatch.setattr(training, "_MOST_ROWS_AHEAD", 99)
    del plans[:]
    mlp(max_iter=2).fit(X, Y)
    assert plans == []


# --- interrupts


def interrupted_at(line, functions):
    """Fit, with an interrupt at a line of some functions.

    Return the network, its generator, and whether there was such a line.
    """
    random_state, seen = np.random.RandomState(3), 0
    net = mlp(batch_size=50, max_iter=25, tol=0.0, random_state=random_state)

    def in_function(frame, event, arg):
        nonlocal seen
        seen += event == "line"
        if event == "line" and seen == line:
            raise KeyboardInterrupt
        return in_function

    def trace(frame, event, arg):
        if frame.f_code.co_qualname in functions:
            return in_function

    interrupts.forget()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        net.fit(X, Y)
    finally:
        sys.settrace(before)
    return net, random_state, seen >= line


@pytest.mark.filterwarnings("ignore")
def test_an_interrupt_leaves_the_weights_and_the_generator_of_an_epoch():
    expected = {}  # by number of epochs: the state after them, whose last order is drawn
    for n in range(1, 26):
        random_state = np.random.RandomState(3)
        net = mlp(batch_size=50, max_iter=n, tol=0.0, random_state=random_state).fit(X, Y)
        expected[n] = state_of(net, random_state)
    functions = "Trainer._epochs", "Trainer.plan", "Session.run_passes", "Session._steps"
    net, random_state, more = interrupted_at(1, functions)  # before anything is drawn
    first = state_of(net, random_state)
    assert net.n_iter_ == net._optimizer.t == 0
    places = [one["generator"] for one in (first, *expected.values())]
    found, line = [], 2
    while more:
        net, random_state, more = interrupted_at(line, functions)
        state = state_of(net, random_state)
        n, line = net.n_iter_, line + 3
        for what in ("weights", "curves", "counts"):
            assert state[what] == (expected[n] if n else first)[what]
        # at the end of an epoch, or in the next one
        begun = places.index(state["generator"])
        assert begun in (n, n + 1)
        assert net._optimizer.t == begun
        found.append(n)
    assert found[-1] == 25 and len(set(found)) > 4


# --- the pieces


@pytest.mark.parametrize("schedule", ["constant", "cosine", "coslog4", "plateau"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_rates_do_not_depend_on_how_many_are_asked_for(solver, schedule):
    recipe = Recipe(
        solver=solver, learning_rate=schedule, average=0.99, alpha_schedule="flat_cos",
        dropout_schedule="flat_cos",
    )  # fmt: skip
    together, alone = (Optimizer(recipe, [np.zeros(2)]) for _ in range(2))
    together.planned = alone.planned = 2100
    found = together.rates(recipe, 2100, passes=300)
    np.testing.assert_array_equal(found, np.vstack([alone.rates(recipe, 7) for _ in range(300)]))
    ends = 7 * np.arange(1.0, 301)
    assert together.nominal(recipe, ends)[-1] == together.rate == alone.rate
    assert {**vars(together), "states": 0} == {**vars(alone), "states": 0}
    earlier = alone.copy()
    alone.rates(recipe, 5)
    alone.go_back(earlier)
    assert vars(alone) == vars(earlier)


def test_passes_are_planned_before_they_are_run(monkeypatch):
    def run(self, n, partial):
        session = self._session
        once, rates, counted = self.plan(n)
        self.bind(session, once.rows, once.bound)
        with pytest.raises(ValueError, match="no plan"):
            session.run_passes(1)
        with pytest.raises(ValueError, match="more than the session was made for"):
            session.plan_passes(n + 1, self.n_samples, self.batch, rates, counted)
        with pytest.raises(ValueError, match="rates have the shape"):
            session.plan_passes(n, self.n_samples, self.batch, rates[:-1], counted)
        session.plan_passes(n, self.n_samples, self.batch, rates, counted)
        assert len(session.passes_done()) == 0
        with pytest.raises(ValueError, match="no plan of so many"):
            session.run_passes(n + 1)
        session.run_passes(1)
        assert len(session.passes_done()) == 1
        raise RuntimeError("enough")

    monkeypatch.setattr(Trainer, "_epochs", run)
    with pytest.raises(RuntimeError, match="enough"):
        mlp().fit(X, Y)


def test_numbers_that_others_have_drawn_are_not_drawn_again(monkeypatch):
    """From a generator that is shared with other threads, as it is by default."""
    shared, after = np.random.RandomState(0), []

    def ends(trainer, partial):
        shared.rand()
        after.append(training.noise_seed(shared))
        return True

    monkeypatch.setattr(Trainer, "ends", ends)
    MLPNetClassifier(hidden_layer_sizes=(3,), random_state=shared).fit(X, Y)
    assert after == [training.noise_seed(shared)]
