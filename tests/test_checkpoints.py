"""Fits that are stopped, or killed, and resumed from a checkpoint, give the same bits."""

import copy
import os
import pathlib
import pickle
import random
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from emulator import needs_emulator
from joblib import parallel_config
from reference_device import ReferenceDevice
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_pickles import TEXTS, X, Y, data_for, estimators
from trial_gpu import TrialGPU

import sknn
from sknn import distributed
from sknn.autoencoders.base import Autoencoder
from sknn.callbacks import Checkpoint
from sknn.engine import interrupts
from sknn.engine.devices import DEVICES
from sknn.engine.network import Network
from sknn.files import states
from sknn.tabular.encoding import TableEncoder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: Estimators of each kind whose fits have epochs, and those whose fits can be resumed.
ITERATE = {name: net for name, net in estimators().items() if hasattr(net, "max_iter")}
RESUME = {name: net for name, net in ITERATE.items() if name not in ("lbfgs", "rbf")}


class Stop(Exception):
    """What ends a fit."""


class StopAfter:
    """A callback that raises an error after some epochs, and counts them."""

    def __init__(self, epochs=None, error=Stop):
        self.epochs, self.error, self.seen = epochs, error, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.seen.append(context.task_id + 1)
            if self.seen[-1] == self.epochs:
                raise self.error


def small(**params):
    defaults = {"hidden_layer_sizes": (3,), "max_iter": 5, "random_state": 0}
    return sknn.MLPNetClassifier(**defaults | params)


def stopped(net, data, path, epochs=2, **more):
    """Stop a copy of an estimator's fit after some epochs, with a checkpoint of each."""
    path.unlink(missing_ok=True)
    with pytest.raises(Stop):
        copy.deepcopy(net).set_callbacks(Checkpoint(path), StopAfter(epochs)).fit(*data, **more)
    return path


def differences(one, other, where="it"):
    """Yield where two objects are not the same to the bit."""
    if isinstance(one, np.random.RandomState):
        one, other = one.get_state(legacy=False), other.get_state(legacy=False)
    if isinstance(one, TableEncoder):  # all else follows from it
        one, other = one.__getstate__(), other.__getstate__()
    if type(one) is not type(other):
        yield where
    elif isinstance(one, np.ndarray) and one.dtype != object:
        if (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            yield where
    elif isinstance(one, (list, tuple, np.ndarray)):
        if len(one) != len(other):
            yield where
        for i, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{where}[{i}]")
    elif isinstance(one, dict):
        if one.keys() != other.keys():
            yield f"{where}: {one.keys() ^ other.keys()}"
        for name in one.keys() & other.keys():
            yield from differences(one[name], other[name], f"{where}.{name}")
    elif hasattr(one, "__dict__") and not isinstance(one, Network):
        yield from differences(state_of(one), state_of(other), where)
    elif one != other and (one == one or other == other):
        yield where


def state_of(obj):
    """Return the attributes of an object that are no callbacks, with those of its class."""
    defaults = {k: v for k, v in vars(type(obj)).items() if isinstance(v, (int, float))}
    return {k: v for k, v in (defaults | vars(obj)).items() if k != "_skl_callbacks"}


def assert_same(one, other):
    assert list(differences(one, other)) == []


# --- to the same bits


@pytest.mark.parametrize("name", RESUME)
def test_a_resumed_fit_has_the_bits_of_one_that_never_stopped(name, tmp_path):
    net, data = RESUME[name].set_params(max_iter=4), data_for(RESUME[name])
    whole = clone(net).fit(*data)
    path = stopped(net, data, tmp_path / "file")
    resumed = clone(net).set_callbacks(counter := StopAfter()).fit(*data, resume_from=path)
    assert_same(whole, resumed)
    assert counter.seen == [3, 4] and whole.n_iter_ == 4
    if hasattr(net, "partial_fit") and not getattr(net, "early_stopping", False):
        assert_same(whole.partial_fit(*data), resumed.set_callbacks().partial_fit(*data))
    # what is saved is the estimator as of that epoch
    early = clone(net).set_params(max_iter=2).fit(*data).set_params(max_iter=4)
    if name != "perceptron":
        early._optimizer.planned *= 2
    if not getattr(net, "early_stopping", False):  # that fit ends with the best weights
        assert_same(sknn.load(path), early)


EARLY = {"early_stopping": True, "validation_fraction": 0.3}
SETTINGS = [
    {"solver": "sgd", "learning_rate": "plateau", "plateau_patience": 1, "tol": 0.5},
    {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.5},
    {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate": "cosine"},
    {"solver": "nadam", "learning_rate": "one_cycle", "batch_size": 40},
    {"solver": "adamw", "average": True},
    {"solver": "adamw", "dropout": 0.3, "alpha_schedule": "flat_cos", "initializer":
     "data_dependent", "dropout_schedule": "flat_cos", "learning_rate": "coslog4", **EARLY},
    {"solver": "rmsprop", "shuffle": False},
    {"solver": "adagrad", "average": 0.9, "n_iter_no_change": 2, **EARLY},
    {"solver": "adadelta", "dropout": 0.3},
    {"batch_norm": True, "average": True, **EARLY},
    {"scoring": "neg_log_loss", **EARLY},
]


@pytest.mark.parametrize("params", SETTINGS, ids=lambda params: "-".join(map(str, params.values())))
def test_every_solver_and_schedule_is_resumed(params, tmp_path):
    net = small(**{"max_iter": 8, **params})
    weights = np.linspace(0.5, 1, len(X))
    path = stopped(net, (X, Y, weights), tmp_path / "file", 3)
    resumed = clone(net).fit(X, Y, weights, resume_from=path)
    assert_same(net.fit(X, Y, weights), resumed)
    assert_same(net.history_.to_dict(), resumed.history_.to_dict())


@pytest.mark.parametrize("name", ["classifier", "autoencoder", "char-rnn", "seq2seq"])
def test_a_warm_start_with_validation_data_is_resumed(name, tmp_path):
    net = clone(RESUME[name]).set_params(warm_start=True, max_iter=3, early_stopping=True)
    if name == "char-rnn":
        net.set_params(record_steps=True)
    data = data_for(net)
    if name in ("autoencoder", "char-rnn"):
        data = data[:1]
    more = dict(zip(("X_val", "y_val"), (some[:20] for some in data)))
    net.set_params(random_state=np.random.RandomState(3)).fit(*data, **more)
    path = stopped(net, data, tmp_path / "file", **more)
    fresh = clone(net).set_params(random_state=np.random.RandomState(5))
    resumed = fresh.fit(*data, **more, resume_from=path)
    assert_same(net.fit(*data, **more), resumed)
    assert_same(net.random_state, resumed.random_state)  # their later fits, too
    assert len(resumed.loss_curve_) == 6


def test_without_a_random_state_numpys_goes_on(tmp_path):
    net, path = small(random_state=None, **EARLY), tmp_path / "file"
    np.random.seed(3)
    whole, after = clone(net).fit(X, Y), np.random.rand()
    np.random.seed(3)
    stopped(net, (X, Y), path)
    np.random.seed(4)
    assert_same(whole, net.fit(X, Y, resume_from=path))
    assert np.random.rand() == after


def test_pretraining_is_not_done_again(tmp_path, monkeypatch):
    net = sknn.AutoencoderTransformer((3, 2), max_iter=4, pretrain_epochs=2, random_state=0)
    path = stopped(net, (X,), tmp_path / "file")
    whole = clone(net).fit(X)
    monkeypatch.setattr("sknn.autoencoders.dense.pretrain", None)
    assert_same(whole, net.fit(X, resume_from=path))
    assert len(net.pretraining_loss_curves_) == 2


def test_a_scorer_that_is_a_function_is_given_again(tmp_path):
    net = small(scoring=lambda net, X, y: net.score(X, y), **EARLY)
    path = stopped(net, (X, Y), tmp_path / "file")
    assert sknn.load(path).scoring is None
    refuses(small(**EARLY), path, "scoring is None, but 'a function' in the checkpoint")
    refuses(net, stopped(small(**EARLY), (X, Y), tmp_path / "other"), "but None in the checkpoint")
    assert_same(clone(net).fit(X, Y), net.fit(X, Y, resume_from=path))


DEVICES_LIKE = {
    "reference": ReferenceDevice,
    "gpu": pytest.param(lambda: TrialGPU(threads=32, single=True), marks=needs_emulator),
}


@pytest.mark.parametrize("device", DEVICES_LIKE.values(), ids=DEVICES_LIKE)
def test_training_on_another_device_is_resumed(device, tmp_path, monkeypatch):
    """Its own numbers are those that the engine cannot read."""
    monkeypatch.setitem(DEVICES, "cpu", device())
    net = small(average=True, max_iter=3, **EARLY)
    path = stopped(net, (X, Y), tmp_path / "file")
    assert_same(clone(net).fit(X, Y), net.fit(X, Y, resume_from=path))


def test_ctrl_c_ends_a_fit_that_can_be_resumed(tmp_path):
    interrupts.forget()
    path, stop = tmp_path / "file", StopAfter(3, KeyboardInterrupt)
    net = small().set_callbacks(Checkpoint(path), stop)
    with pytest.warns(UserWarning, match="interrupted"):
        net.fit(X, Y)
    assert net.n_iter_ == 3
    assert_same(small().fit(X, Y), net.set_callbacks().fit(X, Y, resume_from=path))


def test_a_complete_fit_is_returned_and_may_go_on(tmp_path):
    path = tmp_path / "file"
    net = small().set_callbacks(Checkpoint(path, every=3)).fit(X, Y)  # after 3 epochs, and the last
    counter = StopAfter()
    again = small().set_callbacks(counter).fit(X, Y, resume_from=path)
    assert_same(net, again)
    assert counter.seen == []
    longer = small(max_iter=7).set_callbacks(counter).fit(X, Y, resume_from=str(path))
    assert_same(longer, small(max_iter=7).fit(X, Y))
    assert counter.seen == [6, 7]
    with pytest.raises(ValueError, match="max_iter is 4, but 5 epochs are done"):
        small(max_iter=4).fit(X, Y, resume_from=path)


def test_a_fit_that_stopped_early_does_not_go_on(tmp_path):
    net, path = small(tol=0.5, n_iter_no_change=2, max_iter=50), tmp_path / "file"
    net.set_callbacks(Checkpoint(path)).fit(X, Y)
    assert net.n_iter_ < 10
    again = clone(net).set_callbacks(counter := StopAfter())
    assert_same(net, again.fit(X, Y, resume_from=path))
    assert counter.seen == []


def test_a_resumed_fit_may_be_resumed(tmp_path):
    path, net = stopped(small(), (X, Y), tmp_path / "file", 1), small()
    for epoch in (2, 4):
        with pytest.raises(Stop):
            net.set_callbacks(Checkpoint(path), StopAfter(epoch)).fit(X, Y, resume_from=path)
    assert sknn.load(path).n_iter_ == 4
    assert_same(
        small().fit(X, Y), small(n_jobs=1).fit(X, Y, resume_from=path).set_params(n_jobs=None)
    )


# --- killed processes

#: A job: begins or resumes. It kills itself at a moment of the writing of a checkpoint, the second.
JOB = """
    import os, pathlib, signal, sys
    import numpy as np
    import sknn
    from sknn.callbacks import Checkpoint
    from sknn.files import states

    path, moment = pathlib.Path(sys.argv[1]), sys.argv[2]
    calls = []

    def kills(room, name, after):
        do = getattr(room, name)
        def instead(*args):
            calls.append(name)
            if len(calls) == 2 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            do(*args)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        setattr(room, name, instead)

    if moment == "before it replaces the old one":
        kills(os, "fsync", False)
    elif moment == "after it has replaced the old one":
        kills(os, "replace", True)
    X = np.random.RandomState(0).rand(5000, 20)
    y = (X[:, 0] > X[:, 1]).astype(int)
    net = sknn.MLPNetClassifier((3,), max_iter=60, batch_size=20, random_state=0, verbose=True)
    net.set_callbacks(Checkpoint(path)).fit(X, y, resume_from=path if path.exists() else None)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_job_that_is_killed_again_and_again(tmp_path):
    """By others, at any moment; and while it writes. Each time, the next one goes on."""
    path, script = tmp_path / "file", tmp_path / "job.py"
    script.write_text(textwrap.dedent(JOB))
    done = 0
    for moment in (
        "any",
        "before it replaces the old one",
        "after it has replaced the old one",
    ):
        job = subprocess.Popen(
            [sys.executable, "-u", script, path, moment], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(pathlib.Path(sknn.__file__).parent.parent)},
        )  # fmt: skip
        with job:
            lines = [job.stdout.readline() for _ in range(3)]
            if moment == "any":
                time.sleep(random.random() * 0.1)
                job.kill()
        assert job.returncode == -signal.SIGKILL
        assert lines[0].startswith(f"Iteration {done + 1}, ")  # it went on
        before, done = done, sknn.load(path).n_iter_
        if moment != "any":
            assert done - before == 1 + (moment == "after it has replaced the old one")
    data = np.random.RandomState(0).rand(5000, 20)
    data = data, (data[:, 0] > data[:, 1]).astype(int)
    net = sknn.MLPNetClassifier((3,), max_iter=60, batch_size=20, random_state=0)
    resumed = clone(net).fit(*data, resume_from=path)
    assert_same(net.fit(*data), resumed)


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = stopped(small(), (X, Y), tmp_path / "file")
    before = path.read_bytes()

    def full(*args):
        raise OSError("No space left on device")

    net = small().set_callbacks(Checkpoint(path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            net.fit(X, Y, resume_from=path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["file"]
    assert not hasattr(net, "coefs_")


# --- what cannot be resumed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return stopped(small(), (X, Y), tmp_path_factory.mktemp("checkpoint") / "file")


def refuses(net, path, match, *data, error=ValueError, **more):
    """Check that a fit cannot be resumed, and that the estimator is unchanged."""
    before = dict(vars(net))
    with pytest.raises(error, match=match):
        net.fit(*(data or (X, Y)), **more, resume_from=path)
    assert vars(net) == before


def test_a_damaged_file_is_an_error(checkpoint, tmp_path):
    whole, path, rng = checkpoint.read_bytes(), tmp_path / "damaged", random.Random(0)
    fitted = small().fit(X, Y)
    for i in range(200):
        data = bytearray(whole)
        if i % 2:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        refuses(fitted, path, "damaged ")


def test_another_file_is_an_error(checkpoint, tmp_path):
    path = tmp_path / "other"
    refuses(small(), path, "resume_from is .*other, which does not exist", error=FileNotFoundError)
    path.write_bytes(pickle.dumps(small()))
    refuses(small(), path, "is a pickle")
    small().fit(X, Y).save_weights(path)
    refuses(small(), path, "a safetensors file, but none of sknn")
    sknn.save(small().fit(X, Y), path)
    refuses(small(), path, "a saved model without the state of its training")
    refuses(small(), 3, "resume_from is 3; expected a path", error=TypeError)
    other = sknn.MLPNetRegressor()
    refuses(other, checkpoint, "a checkpoint of MLPNetClassifier; expected one of MLPNetRegressor")


def test_other_parameters_are_an_error(checkpoint):
    for params in ({"alpha": 1.0}, {"hidden_layer_sizes": (4,)}, {"random_state": 1}):
        (name, value), *_ = params.items()
        match = f"{name} is {re.escape(repr(value))}, but .* in the checkpoint"
        refuses(small(**params), checkpoint, match)
    refuses(small(solver="lbfgs"), checkpoint, "solver is 'lbfgs', but 'adam' in the checkpoint")
    small(n_jobs=1, verbose=0, warm_start=True, max_iter=9).fit(X, Y, resume_from=checkpoint)


def test_other_data_are_an_error(checkpoint, tmp_path):
    changed = X.copy()
    changed[-1, -1] += 1
    for data, match in (
        ((changed, Y), "X has other values; expected the same data"),
        ((X[:140], Y[:140]), r"X is .*\(140, 4\), and was .*\(150, 4\)"),
        ((X.astype("float32"), Y), r"X is float32 of the shape \(150, 4\), and was float64"),
        ((X[:, :3], Y), "X has 3 features"),
        ((X, Y[::-1]), "y has other values"),
        ((X, Y > 0), "y"),
        ((X, Y, np.ones(150)), "sample_weight is float64 .*, and was not given"),
    ):
        refuses(small(), checkpoint, match, *data)
    more = {"X_val": X[:9], "y_val": Y[:9]}
    refuses(small(), checkpoint, "validation data: X is .*, and was not given", X, Y, **more)
    held = stopped(small(), (X, Y), tmp_path / "held", **more)
    refuses(small(), held, "validation data: X is not given, and was float64", X, Y)
    rnn = sknn.CharRNN("gru", 3, max_iter=3, random_state=0)
    texts = stopped(rnn, (TEXTS,), tmp_path / "texts")
    refuses(rnn, texts, "X has other values", [*TEXTS[:-1], TEXTS[-1][::-1]])


def test_a_parameter_that_is_nan_is_the_same(tmp_path):
    net = sknn.RNNClassifier("gru", 2, mask_value=np.nan, max_iter=2, random_state=0)
    path = stopped(net, (X, Y), tmp_path / "file", 1)
    assert_same(net.fit(X, Y), copy.deepcopy(net).fit(X, Y, resume_from=path))


def test_shards_are_those_of_the_checkpoint(tmp_path, checkpoint):
    """The shards determine the bits, so that a fit with others would be another one."""
    path, more = tmp_path / "file", {"shard_size": 50}
    distributed.fit(small(max_iter=2).set_callbacks(Checkpoint(path)), X, Y, **more)
    whole = distributed.fit(small(), X, Y, **more)
    assert_same(whole, distributed.fit(small(), X, Y, resume_from=path, **more))
    refuses(small(), path, "distributed.fit with shard_size=50, and this is fit")
    with pytest.raises(ValueError, match="is of fit, and this is distributed.fit with shard_size"):
        distributed.fit(small(), X, Y, resume_from=checkpoint, **more)


def test_large_arrays_are_recognized_by_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("sknn.estimator.resuming._BYTES", 1000)
    path, changed = stopped(small(), (X, Y), tmp_path / "file"), X + 1
    assert_same(small().fit(X, Y), small().fit(X, Y, resume_from=path))
    refuses(small(), path, "X has other values", changed, Y)


def test_rows_on_demand_are_recognized(tmp_path, monkeypatch):
    monkeypatch.setattr("sknn.tape.on_demand.WINDOW", 2000)
    monkeypatch.setattr("sknn.tape.on_demand.MOST_MAPPED", 0)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X + 1)
    same, other = (np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy"))
    path = stopped(small(), (same, Y), tmp_path / "file")
    assert_same(small().fit(X, Y), small().fit(same, Y, resume_from=path))
    refuses(small(), path, "X has other values", other, Y)


@pytest.mark.parametrize(
    "key",
    ["order", "best", "arrays", "best_of_none", "curves", "progress", "split", "trainer", "n_iter"],
)
def test_a_file_by_a_stranger_is_checked(key, tmp_path):
    """Its checksum is right, but the state would make the engine read what is not there."""
    net = small() if key == "best_of_none" else small(**EARLY)
    path = stopped(net, (X, Y), tmp_path / "file")
    found = states.read(path, "model")
    training = found["training"]
    if key == "order":
        training["trainer"]["order"][3] = 200
    elif key == "best":
        training["trainer"]["best"][0][0] = np.zeros((2, 2))
    elif key == "arrays":
        training["trainer"]["best"] = {0: training["trainer"]["best"][0]}
    elif key == "best_of_none":
        training["trainer"]["best"] = ()
    elif key == "curves":
        training["progress"].divergence_curve.pop()
    elif key == "n_iter":
        training["progress"].n_iter = -1
    else:
        training[key] = {}
    states.write(path, found, "model")
    refuses(net, path, "file has no valid state")


def test_fits_resume_from_files_of_all_versions():
    """Each was written in the second epoch of this fit, by that version of the format."""
    for version in states.VERSIONS:
        path = pathlib.Path(__file__).parent / "models" / f"fit-{version}.checkpoint"
        net = small(**EARLY).fit(X, Y, resume_from=path)
        whole = small(**EARLY).fit(X, Y)
        np.testing.assert_allclose(net.loss_curve_, whole.loss_curve_, rtol=1e-6)
        np.testing.assert_allclose(net.coefs_[0], whole.coefs_[0], rtol=1e-6)


# --- the callback


def test_a_file_is_written_every_so_many_epochs(tmp_path):
    path = tmp_path / "file"
    found = {}

    class Look(StopAfter):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch":
                found[context.task_id + 1] = sknn.load(path).n_iter_ if path.exists() else None

    small().set_callbacks(Checkpoint(str(path), every=2), Look()).fit(X, Y)
    assert found == {1: None, 2: 2, 3: 2, 4: 4, 5: 5}
    assert os.listdir(tmp_path) == ["file"]


def test_weights_that_are_not_finite_replace_none(tmp_path):
    net = small(solver="sgd", learning_rate_init=1e305, max_iter=2)
    with pytest.raises(ValueError, match="diverged"):
        clone(net).set_callbacks(Checkpoint(tmp_path / "none")).fit(X * 1e9, Y)
    assert os.listdir(tmp_path) == []


def test_a_fit_does_not_replace_the_file_of_another(tmp_path):
    path = tmp_path / "file"
    net = small().set_callbacks(Checkpoint(path)).fit(X, Y)
    before = path.read_bytes()
    for some in (net, small().set_callbacks(Checkpoint(path))):
        with pytest.raises(FileExistsError, match="may be the checkpoint of another fit"):
            some.fit(X, Y)
    other = stopped(small(), (X, Y), tmp_path / "other")
    with pytest.raises(FileExistsError, match="resume_from='.*file'"):
        net.fit(X, Y, resume_from=other)
    assert path.read_bytes() == before
    # also if the other one began to write it later
    path.unlink()

    class Other(StopAfter):
        def on_fit_task_begin(self, estimator, context):
            if context.task_name == "epoch":
                path.write_bytes(before)

    with pytest.raises(FileExistsError):
        small().set_callbacks(Checkpoint(path), Other()).fit(X, Y)
    assert path.read_bytes() == before


def test_clones_in_a_search_do_not_share_a_file(tmp_path):
    path = tmp_path / "file"
    net = small(max_iter=2).set_callbacks(Checkpoint(path))
    with pytest.warns(FitFailedWarning, match="FileExistsError"):
        scores = cross_val_score(net, X, Y, cv=3)
    assert np.isnan(scores).tolist() == [False, True, True]
    path.unlink()
    search = GridSearchCV(net, {"alpha": [0.1, 1.0]}, cv=2, n_jobs=2)
    with pytest.raises(FileExistsError), pytest.warns(), parallel_config(backend="threading"):
        search.fit(X, Y)  # at the latest when it refits
    path.unlink()
    pipeline = make_pipeline(StandardScaler(), net)
    whole = clone(pipeline).fit(X, Y)
    again = pipeline.fit(X, Y, mlpnetclassifier__resume_from=path)
    assert_same(whole[-1], again[-1])


def test_other_fits_are_an_error(tmp_path):
    path = tmp_path / "file"
    for net in (small(solver="lbfgs"), sknn.RBFNetClassifier(3)):
        net.set_callbacks(Checkpoint(path))
        with pytest.raises(ValueError, match="cannot be resumed: Checkpoint is for fit with"):
            net.fit(X, Y)
    net = small().set_callbacks(Checkpoint(path))
    with pytest.raises(ValueError, match="not for .* partial_fit"):
        net.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(FileNotFoundError, match="nowhere, the folder of"):
        small().set_callbacks(Checkpoint(tmp_path / "nowhere" / "file")).fit(X, Y)
    with pytest.raises(IsADirectoryError, match="expected a file"):
        small().set_callbacks(Checkpoint(tmp_path)).fit(X, Y)
    for params in ({"path": 3}, {"path": path, "every": 1.5}):
        with pytest.raises(TypeError, match="expected"):
            Checkpoint(**params)
    with pytest.raises(ValueError, match="every is 0"):
        Checkpoint(path, every=0)

    other = small(random_state=np.random.RandomState(np.random.PCG64(0)))
    with pytest.raises(TypeError, match="random_state uses PCG64; expected MT19937"):
        clone(other).fit(X, Y).set_callbacks(Checkpoint(path)).fit(X, Y)

    class Mine(sknn.MLPNetClassifier):
        pass

    with pytest.raises(TypeError, match="of the type Mine"):  # before an epoch is lost
        Mine((3,)).set_callbacks(Checkpoint(path), StopAfter(1)).fit(X, Y)
    assert os.listdir(tmp_path) == []


# --- scikit-learn's callbacks


@pytest.mark.parametrize("name", ITERATE)
def test_scikit_learns_callbacks_follow_every_estimator(name, capsys):
    pytest.importorskip("rich")
    net, data = clone(ITERATE[name]), data_for(ITERATE[name])
    if isinstance(net, Autoencoder):
        data = X, X  # scikit-learn only computes scores where there is a y
    monitor = ScoringMonitor(scoring={"score": lambda net, *data: net.score(*data)})
    net.set_callbacks(ProgressBar(), monitor).fit(*data)
    assert_same(clone(net).set_callbacks().fit(*data), net)
    assert "100%" in capsys.readouterr().out
    logs = monitor.get_logs().data_as_pandas
    epochs = logs[logs["task_name"] == "epoch"]
    assert epochs["task_id"].tolist() == list(range(net.n_iter_))
    assert name == "variational" or np.isfinite(epochs["score"]).all()  # it has no use for y


def test_scikit_learns_callbacks_follow_the_rest_of_a_fit(tmp_path, capsys):
    pytest.importorskip("rich")
    path, monitor = stopped(small(), (X, Y), tmp_path / "file"), ScoringMonitor(scoring="accuracy")
    net = small().set_callbacks(ProgressBar(), monitor).fit(X, Y, resume_from=path)
    assert "100%" in capsys.readouterr().out
    logs = monitor.get_logs().data_as_pandas
    epochs = logs[logs["task_name"] == "epoch"]
    assert epochs["task_id"].tolist() == [2, 3, 4]
    assert epochs["accuracy"].iloc[-1] == net.score(X, Y)
