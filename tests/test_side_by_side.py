"""Networks that are trained side by side are those of separate fits, bit for bit."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from reference_device import ReferenceDevice
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from sknn.cpu.session import Session
from sknn.engine import interrupts
from sknn.engine.data import Data
from sknn.engine.devices import DEVICES
from sknn.engine.network import Network
from sknn.engine.recipe import Recipe
from sknn.engine.side_by_side import fit_side_by_side
from sknn.engine.training import Progress, Trainer
from sknn.layers import Activation, BatchNormalization, Dense, Dropout
from sknn.tape.losses import Loss
from sknn.tape.sources import Source

RANDOM = np.random.RandomState(0)
X = RANDOM.randn(103, 5)
Y = X[:, :1] * X[:, 1:2] + 0.1 * RANDOM.randn(103, 1)
WEIGHTS = RANDOM.rand(103)
LAYERS = Dense(7), Activation("tanh"), Dense(1), Activation("identity")
SQUARES = Loss("squared_error", "identity")
NOISY = Dense(7), BatchNormalization(), Activation("relu"), Dropout(0.3), *LAYERS[2:]


def r2(data, loss, outputs, weights):
    return 1 - np.mean((data.y - outputs.ravel()) ** 2) / np.var(data.y)


def trainers(layers=LAYERS, n_folds=4, held=True, weights=None, batches=(20,), **recipe):
    """Return new trainers, one for each fold."""
    network = Network(layers, X.shape[1], SQUARES)
    data = Data(Source(X), Source(Y), weights, np.arange(len(X)), Y[:, 0])
    made = []
    for fold, (train, test) in enumerate(KFold(n_folds).split(X)):
        random_state = np.random.RandomState(fold)
        parameters = [p for group in network.parameters() for p in group]
        values = [random_state.uniform(0.05, 0.5, p.shape) for p in parameters]
        settings = {"learning_rate_init": 0.02, "max_iter": 30, "n_jobs": 1} | recipe
        settings["batch_size"] = batches[fold % len(batches)]
        made.append(
            Trainer(
                Recipe(**settings), network, np.dtype(float), Progress(values), data.part(train),
                data.part(test) if held else None, r2, random_state, 10 + fold,
            )
        )  # fmt: skip
    return made


def state_of(trainer):
    """Return everything that a fit has changed, to compare with ==."""
    progress, state = trainer.progress, trainer.random_state.get_state()
    optimizer = vars(progress.optimizer)
    arrays = [*progress.values, *(progress.raw or ()), *sum(optimizer["states"], [])]
    return {
        **{k: v for k, v in vars(progress).items() if k not in ("values", "raw", "optimizer")},
        **{k: v for k, v in optimizer.items() if k != "states"},
        "arrays": [a.tobytes() for a in arrays],
        "generator": (state[1].tobytes(), *state[2:]),
        "interrupted": trainer.interrupted,
    }


def alone(make, epochs=30, partial=True):
    found = make()
    for trainer in found:
        trainer.fit(epochs, partial)
    return [state_of(trainer) for trainer in found]


def together(make, epochs=30, **others):
    found = make()
    fit_side_by_side(found, epochs, **{"partial": True} | others)
    return [state_of(trainer) for trainer in found]


@pytest.fixture(autouse=True)
def common_steps(monkeypatch):
    """Small networks gain by common steps, but not with a single thread, which is quick here."""
    monkeypatch.setattr(type(DEVICES["cpu"]), "gains", lambda *args: True)


@pytest.fixture
def sessions(monkeypatch):
    """The numbers of networks of the sessions for training, in a list."""
    found, cpu = [], type(DEVICES["cpu"])
    opened = cpu.session

    def noting(program, *others, networks=1, **more):
        if program.needs.changes:
            found.append(networks)
        return opened(program, *others, networks=networks, **more)

    monkeypatch.setattr(cpu, "session", staticmethod(noting))
    return found


SGD = {"solver": "sgd", "learning_rate_init": 0.1}
RECIPES = {
    "adam": {},
    "stopping": {"early_stopping": True, "tol": 1e-2, "n_iter_no_change": 4},
    "stopping by the loss": {"held": False, "tol": 1e-2, "n_iter_no_change": 2},
    "averages": {"early_stopping": True, "average": True, "n_iter_no_change": 3, "tol": 1e-2},
    "in order": {"shuffle": False},
    "weighted": {"weights": WEIGHTS, "solver": "adamw", "alpha": 0.1},
    "nadam": {"solver": "nadam", "clip_norm": 0.5},
    "adaptive": {**SGD, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
    "invscaling": {**SGD, "learning_rate": "invscaling"},
    "plateau": {"learning_rate": "plateau", "tol": 0.02, "plateau_patience": 2},
    "cosine": {**SGD, "learning_rate": "cosine", "early_stopping": True},
    "random and normalized": {"layers": NOISY, "average": 0.9},
    "other numbers of steps": {"batches": (19,), "n_folds": 2, "early_stopping": True},
}


@pytest.mark.parametrize("name", RECIPES)
def test_networks_are_those_of_fits_of_their_own(name, sessions):
    def make():
        return trainers(**RECIPES[name])

    expected = alone(make)
    del sessions[:]
    assert together(make) == expected
    assert sessions == [len(expected)]
    if "stopping" in name:
        assert len({state["n_iter"] for state in expected}) > 1


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    def make():
        return trainers(layers=NOISY, early_stopping=True, tol=1e-2, n_iter_no_change=4)

    expected = alone(make)
    for threads in (2, 3):
        monkeypatch.setattr("sknn.cpu.device.CPU.threads", lambda *args, n=threads: n)
        assert together(make) == expected


def test_networks_that_share_no_session_take_turns(sessions, monkeypatch):
    def make():
        return trainers(batches=(20, 21, 20), early_stopping=True, tol=1e-2, n_iter_no_change=4)

    expected = alone(make)
    del sessions[:]
    assert together(make) == expected
    assert sorted(sessions) == [1, 3]
    for name, value in {"gains": lambda *args: False, "groups": False}.items():
        monkeypatch.setattr(type(DEVICES["cpu"]), name, value)
        del sessions[:]
        assert together(make) == expected
        assert sessions == [1] * 4


def test_other_devices_do_the_same(monkeypatch):
    monkeypatch.setitem(DEVICES, "reference", ReferenceDevice())

    def make():
        return trainers(device="reference", n_folds=3, early_stopping=True, max_iter=4)

    assert together(make, 4) == alone(make, 4)


def test_networks_that_are_too_small_for_the_threads_gain_by_common_steps(monkeypatch):
    monkeypatch.undo()  # what gains is asked of the device

    def gains(units, rows, threads):
        network = Network((Dense(units), Dense(units), *LAYERS[2:]), units, SQUARES)
        return DEVICES["cpu"].gains(network, rows, 5, threads)

    assert not gains(64, 256, 1)  # nothing waits
    assert gains(64, 256, 2)  # threads would wait for each other all the time
    assert not gains(256, 256, 2) and not gains(256, 256, 8)
    assert gains(256, 256, 16)  # for eight blocks


def test_training_goes_on_from_where_it_was():
    def make(states):
        for trainer, state in zip(found := trainers(average=True), states, strict=True):
            trainer.progress, trainer.random_state = state
            values = trainer.progress.raw, trainer.progress.values
            for packed, value in zip((trainer.packed, trainer._shown), values):
                trainer._device.upload(trainer._layout, value, packed)
        return found

    def twice(fit):
        found = trainers(average=True)
        fit(found, 3)
        found = make([(trainer.progress, trainer.random_state) for trainer in found])
        fit(found, 8)
        return [state_of(trainer) for trainer in found]

    def each(found, epochs):
        for trainer in found:
            trainer.fit(epochs, True)

    assert twice(lambda *args: fit_side_by_side(*args, partial=True)) == twice(each)


def test_a_network_that_diverges_does_not_touch_the_others():
    def make():
        found = trainers(solver="sgd")
        found[1].recipe = replace(found[1].recipe, learning_rate_init=1e200)
        return found

    with np.errstate(all="ignore"):
        found, expected = together(make), alone(make)
    assert np.isnan(found[1]["loss"]) and np.isfinite(found[2]["loss"])
    assert str(found) == str(expected)  # where not a number is equal to itself


def test_a_callback_sees_common_epochs_and_ends_them():
    seen, found = [], trainers(max_iter=3)

    def on_epoch():
        seen.append([trainer.progress.n_iter for trainer in found])
        return lambda: len(seen) == 3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_side_by_side(found, 30, on_epoch=on_epoch)
    assert seen == [[0] * 4, [1] * 4, [2] * 4]
    states = [state_of(trainer) | {"planned": 12} for trainer in found]
    assert states == alone(trainers, epochs=3)


def test_what_is_printed_names_the_network(capsys):
    settings = {"verbose": True, "learning_rate": "plateau", "plateau_patience": 1, "tol": 0.5}
    found = trainers(n_folds=2, max_iter=3, n_iter_no_change=1, early_stopping=True, **settings)
    fit_side_by_side(found, 3, True)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Network 1: Iteration 1, loss = ")
    assert printed[1].startswith("Network 1: Validation score: ")
    assert any(line.startswith("Network 2: No improvement") for line in printed)
    assert any(line.startswith("Network 2: Validation score did not") for line in printed)
    found = trainers(n_folds=2, verbose=True)
    fit_side_by_side(found, 1, True, names=["fold a", "fold b"])
    assert capsys.readouterr().out.splitlines()[2].startswith("fold b: Iteration 1, loss = ")


def test_one_warning_says_how_many_have_not_converged():
    found = trainers(max_iter=6)
    found[0].recipe = replace(found[0].recipe, tol=100.0, n_iter_no_change=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_side_by_side(found, 6)
    assert found[0].progress.n_iter < 6
    (one,) = caught
    assert one.category is ConvergenceWarning
    assert str(one.message).startswith(
        "Stochastic Optimizer: Maximum iterations (6) reached in 3 of 4 networks and the"
    )


# --- interrupts


def interrupted(make, fit, calls):
    """Fit with an interrupt in the place of a call of steps; return the trainers."""
    left, call = calls, Session._call

    def interrupting(self, rows, again):
        nonlocal left
        if self.program.needs.changes:
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return call(self, rows, again)

    found = make()
    interrupts.forget()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(Session, "_call", interrupting)
        one = property(lambda session: 1, lambda session, value: None)
        patch.setattr(Session, "_steps_per_call", one, raising=False)
        fit(found)
    assert [str(one.message)[:30] for one in caught] == ["Training interrupted by user. "]
    interrupts.forget()
    return found


def own_fit(i, steps, **settings):
    """Return the i-th trainer after a fit of its own that is interrupted after some steps."""

    def fit(one):
        one[0].fit(30, True, lambda: lambda: False)  # epochs are planned one by one

    return interrupted(lambda: trainers(**settings)[i : i + 1], fit, steps)[0]


STEPS = 4  # an epoch
FITS = {"partial": True, "epochs": 30}


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_interrupt_leaves_all_at_the_same_step(early_stopping):
    def make():
        return trainers(early_stopping=early_stopping)

    found = interrupted(make, lambda some: fit_side_by_side(some, **FITS), 2 * STEPS + 2)
    for i, trainer in enumerate(found):
        assert trainer.interrupted and trainer.progress.n_iter == 2
        expected = own_fit(i, 2 * STEPS + 2, early_stopping=early_stopping)
        assert state_of(trainer) == state_of(expected)


def test_an_interrupt_leaves_those_that_take_turns_in_the_same_epoch(monkeypatch):
    monkeypatch.setattr(type(DEVICES["cpu"]), "gains", lambda *args: False)
    steps = (3, 3, 2, 2)  # epochs, and two steps more of the third network
    found = interrupted(trainers, lambda some: fit_side_by_side(some, **FITS), 10 * STEPS + 2)
    assert [trainer.progress.n_iter for trainer in found] == list(steps)
    assert all(trainer.interrupted for trainer in found)
    for i in (0, 2):
        expected = own_fit(i, steps[i] * STEPS + 2 * (i == 2))
        assert found[i].progress.loss_curve == expected.progress.loss_curve
        for value, other in zip(found[i].progress.values, expected.progress.values, strict=True):
            np.testing.assert_array_equal(value, other)


def test_a_second_interrupt_is_raised(monkeypatch):
    def stop(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "close_epoch", stop)
    interrupts.forget()
    with pytest.warns(UserWarning, match="interrupted by user"):
        fit_side_by_side(trainers(), 3)
    with pytest.raises(KeyboardInterrupt):
        fit_side_by_side(trainers(), 3)
    interrupts.forget()
