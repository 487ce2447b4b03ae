"""Searches and fits on a Dask cluster: the same results as here, whoever computes what or dies."""

import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
from functools import partial

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline

import sknn
import sknn.distributed
from sknn.cpu.team import count_threads
from sknn.distributed import shards, workers
from sknn.layers import Activation, BatchNormalization, Conv2D, Dropout, Flatten
from sknn.tape.on_demand import read_on_demand
from sknn.tape.sources import INPUTS, Source

dask, distributed = map(pytest.importorskip, ("dask", "distributed"))

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger"),
]

DRAWS = np.random.RandomState(0)
X = DRAWS.rand(130, 36)
Y = (X[:, :6].sum(axis=1) > 3).astype(int) + (X[:, 6] > 0.5)
WEIGHTS = DRAWS.rand(130)
SEQUENCES = [row[: 2 * n].reshape(n, 2) for n, row in zip(DRAWS.randint(1, 18, 130), X)]
SMALL = {"max_iter": 3, "random_state": 0, "batch_size": 50}
#: Of five rows or so: batches of 50 have ten of them, and the last one, of 30, has six.
SHARDS = {"shard_size": 5}

dense = partial(sknn.MLPNetClassifier, (8,), **SMALL)
images = partial(sknn.ConvNetClassifier, image_shape=(6, 6, 1), **SMALL)
variational = partial(sknn.VariationalAutoencoderTransformer, 2, hidden_layer_sizes=4, **SMALL)
NETWORKS = {
    "dense": (dense(), X, Y),
    "sparse": (dense(), sp.csr_array(X * (X > 0.5)), Y),
    "clipped": (dense(clip_norm=0.1, solver="adamw", average=True, l1=0.01), X, Y),
    "stopped": (dense(early_stopping=True, learning_rate="cosine", solver="sgd"), X, Y),
    "sequences": (sknn.RNNClassifier("gru", 4, **SMALL), SEQUENCES, Y),
    "codes": (sknn.AutoencoderTransformer(3, **SMALL), X, None),
    "images": (images([Conv2D(3, 3), Activation("relu"), Flatten()]), X, Y),
}
GHOSTS = {
    "normalized": (images([Flatten(), BatchNormalization(), Activation("relu")]), X, Y),
    "noisy": (images([Flatten(), Dropout(0.5)]), X, Y),
    "ever less noisy": (images([Flatten(), Dropout(0.5)], dropout_schedule="flat_cos"), X, Y),
    "variational": (variational(), X, None),
}


def values(net):
    """Return copies of the parameters of a network, and its curve of losses."""
    return [*net._values_for(net._held_weights().network, np.float64), np.array(net.loss_curve_)]


def assert_same(net, other):
    for value, expected in zip(values(net), values(other), strict=True):
        np.testing.assert_array_equal(value, expected)


def cluster_of(n, processes=False, **options):
    # all ports are the system's choice, so that several runs of the tests do not meet
    return distributed.LocalCluster(
        n_workers=n, processes=processes, dashboard_address=":0", silence_logs=logging.CRITICAL,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Two workers in processes of their own; a killed one is replaced."""
    folder = str(tmp_path_factory.mktemp("dask"))
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
    with patient, cluster_of(2, True, threads_per_worker=1, local_directory=folder) as cluster:
        with distributed.Client(cluster) as client:
            yield client


@pytest.fixture
def client(processes):
    processes.wait_for_workers(2, timeout=300)
    return processes


@pytest.fixture(scope="module")
def three():
    """Three workers of two threads, in this process."""
    with cluster_of(3, threads_per_worker=2) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            yield client


# --- searches


class KillOnce:
    """A scorer that kills one worker, once two of them compute, and so have the data."""

    def __init__(self, folder):
        self.folder, self.here = folder, os.getpid()

    def __call__(self, net, X, y):
        if os.getpid() != self.here:  # with a single worker left, joblib computes here
            (self.folder / f"worker-{os.getpid()}").touch()
            deadline = time.monotonic() + 120
            while len(list(self.folder.glob("worker-*"))) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            try:
                (self.folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return net.score(X, y)


@pytest.mark.parametrize("search", [GridSearchCV, partial(HalvingGridSearchCV, random_state=0)])
def test_searches_on_a_cluster_are_those_here(search, client, tmp_path):
    grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2, 1e-1]}
    net = dense(max_iter=10)
    here = search(net, grid, cv=3).fit(X, Y)
    with joblib.parallel_config("dask", scatter=[X, Y]):
        there = search(net, grid, cv=3, scoring=KillOnce(tmp_path)).fit(X, Y)
    assert (tmp_path / "killed").exists() and len(list(tmp_path.glob("worker-*"))) >= 2
    for name, column in here.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(column, there.cv_results_[name])
    assert there.best_params_ == here.best_params_
    assert_same(there.best_estimator_, here.best_estimator_)


def test_tasks_take_one_thread_each(client, monkeypatch):
    with joblib.parallel_config("dask"):
        by_joblib = joblib.Parallel()(joblib.delayed(count_threads)(n) for n in (None, 3))
    assert by_joblib == [1, 3]
    assert client.gather(client.map(count_threads, [None, 3])) == [1, 3]
    assert count_threads(None) == joblib.cpu_count()


# --- fits


@pytest.mark.parametrize("name", NETWORKS)
def test_parallel_fits_are_ordinary_ones_up_to_rounding(name):
    net, data, y = NETWORKS[name]
    expected = clone(net).fit(data, y)
    found = sknn.distributed.fit(clone(net), data, y, **SHARDS)
    assert vars(found).keys() == vars(expected).keys()
    for value, other in zip(values(found), values(expected), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12)
    for attribute in ("n_iter_", "t_", "learning_rate_curve_", "validation_scores_"):
        assert getattr(found, attribute) == getattr(expected, attribute)


@pytest.mark.parametrize("name", GHOSTS)
def test_one_shard_a_batch_is_an_ordinary_batch(name):
    net, data, y = GHOSTS[name]
    expected = clone(net).fit(data, y)
    whole = sknn.distributed.fit(clone(net), data, y, shard_size=50)
    for value, other in zip(values(whole), values(expected), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12)
    parts = sknn.distributed.fit(clone(net), data, y, **SHARDS)
    assert any((a != b).any() for a, b in zip(values(parts), values(whole)))


def test_running_averages_are_means_over_shards():
    """Of two shards with one step: each moves the averages towards its own statistics."""
    layers = [Flatten(), BatchNormalization(0.5)]
    net = images(layers, shuffle=False).set_params(max_iter=1, batch_size=40)
    sknn.distributed.fit(net, X[:40], Y[:40], shard_size=20)
    found = next(values for values in net.weights_.values() if "mean" in values)
    halves = X[:40].reshape(2, 20, 36)
    variance = 0.5 + 0.5 * halves.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(found["mean"], 0.5 * X[:40].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["variance"], variance, rtol=1e-12)


def test_frozen_layers_stay_as_they_are():
    first = dense(warm_start=True).fit(X, Y)
    net = images([Flatten(), BatchNormalization(trainable=False), Dropout(0.1)])
    start = net.fit(X, Y).weights_
    again = sknn.distributed.fit(net.set_params(warm_start=True), X, Y, **SHARDS).weights_
    frozen = next(path for path, values in start.items() if "mean" in values)
    for name, value in start[frozen].items():
        np.testing.assert_array_equal(again[frozen][name], value)
    before = first.loss_curve_[-1]
    assert sknn.distributed.fit(first, X, Y).loss_curve_[-1] < before


@pytest.mark.parametrize("name", [*NETWORKS, *GHOSTS])
def test_the_same_bits_from_any_number_of_workers(name, three):
    net, data, y = (NETWORKS | GHOSTS)[name]
    params = {} if y is None or name == "sequences" else {"sample_weight": WEIGHTS}
    here = sknn.distributed.fit(clone(net), data, y, **SHARDS, **params)
    there = sknn.distributed.fit(clone(net), data, y, three, **SHARDS, **params)
    assert_same(there, here)


class InEpoch:
    """A callback that calls a function at the end of an epoch."""

    def __init__(self, number, function):
        self.number, self.function, self.count = number, function, 0

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.count += 1
            if self.count == self.number:
                self.function()


def test_a_killed_worker_changes_no_bit(client):
    """It is killed in the middle of a step: it has computed some shards, and adds them up."""
    net = dense(max_iter=30)
    here = sknn.distributed.fit(clone(net), X, Y, **SHARDS)
    (victim,) = client.run(os.getpid, workers=[min(client.nthreads())]).values()

    def doom():
        client.run(_die_in_next_step, victim)

    ends = InEpoch(3, doom)
    assert_same(sknn.distributed.fit(net.set_callbacks(ends), X, Y, client, **SHARDS), here)
    assert ends.count == 30
    assert victim not in client.run(os.getpid).values()


def _die_in_next_step(victim):
    if os.getpid() == victim:
        shards.add = lambda one, other: os.kill(victim, signal.SIGKILL)


# --- sums


@pytest.mark.parametrize("n", range(1, 20))
def test_sums_do_not_depend_on_who_adds_what(n):
    def together(sums):
        shards.add_up(sums, n, lambda a, b: f"({a}{b})")
        return sums

    ((_, whole),) = together({(0, i): chr(97 + i) for i in range(n)}).items()
    assert whole.replace("(", "").replace(")", "") == "".join(chr(97 + i) for i in range(n))
    for parts in range(1, n + 1):
        ends, found = shards.cut(0, n, parts), {}
        assert (ends[0], ends[-1]) == (0, n) and max(np.diff(ends)) - min(np.diff(ends)) <= 1
        for first, last in zip(ends, ends[1:]):
            mine = together({(0, i): chr(97 + i) for i in range(first, last)})
            assert sorted(mine) == sorted(shards.nodes(first, last, n))
            assert len(mine) <= 2 * max(1, (last - first).bit_length())
            found |= mine
        assert list(together(found).values()) == [whole]


def test_data_are_read_the_same_after_a_pickle():
    table = np.arange(60.0).reshape(6, 10)
    for data in (table[::2, 1::3], np.asfortranarray(table), sp.csr_array(table)):
        source = pickle.loads(pickle.dumps(Source(data)))
        matrix = source.matrix.toarray() if sp.issparse(source.matrix) else source.matrix
        np.testing.assert_array_equal(matrix, data.toarray() if sp.issparse(data) else data)
        assert source.strides == (() if sp.issparse(data) else source.matrix.strides)
    assert pickle.loads(pickle.dumps(INPUTS)) is INPUTS


def test_rows_on_demand_are_read_to_be_sent(tmp_path, monkeypatch):
    monkeypatch.setattr("sknn.tape.on_demand.WINDOW", 200)
    monkeypatch.setattr("sknn.tape.on_demand.MOST_MAPPED", 0)
    np.save(tmp_path / "x.npy", np.arange(60.0).reshape(6, 10))
    source = Source(read_on_demand(np.load(tmp_path / "x.npy", mmap_mode="r")))
    assert source.on_demand is not None
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(source)).arrays[0], np.arange(60.0).reshape(6, 10)
    )


# --- errors


def assert_unchanged(net, before):
    assert vars(net).keys() == before.keys()
    assert all(vars(net)[name] is before[name] for name in before)


@pytest.mark.parametrize(
    "net, error, message",
    [
        (SGDClassifier(), TypeError, "expected a network of sknn"),
        (make_pipeline(dense()), TypeError, "expected a network of sknn"),
        (sknn.MLPNetClassifier, TypeError, "expected a network of sknn"),
        (sknn.PerceptronClassifier(), TypeError, "expected a network of sknn"),
        (sknn.CharRNN(), ValueError, "continues from the recurrent states"),
        (dense(solver="lbfgs"), ValueError, "solver is 'lbfgs'; expected one that trains on"),
        (sknn.RBFNetRegressor(), ValueError, "solver is .*; expected one that trains on"),
        (dense(device="cuda"), ValueError, "device is 'cuda'; expected 'auto' or 'cpu'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_fitted_in_parallel_says_why(net, error, message):
    with pytest.raises(error, match=message):
        sknn.distributed.fit(net, X, Y)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, "all"])
def test_shard_size_is_checked(size):
    with pytest.raises(ValueError, match="shard_size is .*; expected an int of at least 1"):
        sknn.distributed.fit(dense(), X, Y, shard_size=size)


@pytest.mark.parametrize("seconds", [-1, np.nan, np.inf, True, None, "1"])
def test_timeout_is_checked(seconds):
    with pytest.raises(ValueError, match="timeout is .*; expected seconds, at least 0"):
        sknn.distributed.fit(dense(), X, Y, timeout=seconds)


def test_the_client_is_checked(three, monkeypatch):
    with pytest.raises(TypeError, match="client is 'tcp.*; expected a distributed.Client"):
        sknn.distributed.fit(dense(), X, Y, "tcp://127.0.0.1:8786")
    closed = distributed.Client(three.cluster, set_as_default=False)
    closed.close()
    with pytest.raises(ValueError, match="client is closed"):
        sknn.distributed.fit(dense(), X, Y, closed)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "sknn\[distributed\]"'):
        sknn.distributed.fit(dense(), X, Y, closed)


def test_bad_data_are_the_errors_of_fit(three):
    net = dense().fit(X, Y)
    before = dict(vars(net))
    with pytest.raises(ValueError, match="contains NaN"):
        sknn.distributed.fit(net, np.full_like(X, np.nan), Y, three)
    with pytest.raises(TypeError, match="nonsense"):
        sknn.distributed.fit(net, X, Y, three, nonsense=1)
    assert_unchanged(net, before)


@pytest.mark.parametrize(
    "answer, error, message",
    [
        ("an exception", MemoryError, "no room"),
        ("too short", RuntimeError, "arrays of other shapes"),
        ("float32", RuntimeError, "arrays of other shapes"),
        ("too few", RuntimeError, "arrays of other shapes"),
        ("no arrays", RuntimeError, "arrays of other shapes"),
    ],
)
def test_answers_of_workers_are_checked(answer, error, message, three, monkeypatch):
    net = dense().fit(X, Y)
    before, sums = dict(vars(net)), shards.Shards.sums

    def strange(self, *step):
        right = sums(self, *step)
        if answer == "an exception":
            raise MemoryError("no room")
        if answer == "too few":
            return right[1:]
        if answer == "no arrays":
            return [(1, 2) for _ in right]
        change = (lambda a: a[1:]) if answer == "too short" else np.float32
        return [(change(gradient), losses) for gradient, losses in right]

    monkeypatch.setattr(shards.Shards, "sums", strange)
    with pytest.raises(error, match=message):
        sknn.distributed.fit(net, X, Y, three)
    assert_unchanged(net, before)


def test_a_worker_of_another_version_is_refused(three, monkeypatch):
    made = shards.Shards.__init__

    def of_another(self, *args):
        made(self, *args)
        self._version = "0.0"

    monkeypatch.setattr(shards.Shards, "__init__", of_another)
    with pytest.raises(RuntimeError, match="version 0.1.0 of sknn, but .* version 0.0"):
        sknn.distributed.fit(dense(), X, Y, three)


@pytest.mark.parametrize(
    "lose, message",
    [
        (lambda cluster, client: cluster.scale(0), "has had no worker for 0.5 seconds"),
        (lambda cluster, client: client.close(), "The client has lost its connection"),
        (lambda cluster, client: cluster.close(), "lost its connection|does not answer|no worker"),
    ],
    ids=["workers", "client", "scheduler"],
)
def test_a_cluster_that_is_lost_is_an_error(lose, message):
    with cluster_of(1, threads_per_worker=1) as cluster:
        client = distributed.Client(cluster, set_as_default=False)
        net = dense(max_iter=1000, tol=0, n_iter_no_change=1000, warm_start=True)
        net.set_params(max_iter=1).fit(X, Y).set_params(max_iter=1000)
        net.set_callbacks(InEpoch(2, lambda: lose(cluster, client)))
        before = dict(vars(net))
        with pytest.raises(RuntimeError, match=message):
            sknn.distributed.fit(net, X, Y, client, timeout=0.5)
        assert_unchanged(net, before)
        assert net.n_iter_ == 1
        client.close()


def test_steps_that_kill_workers_end(three, monkeypatch):
    monkeypatch.setattr(workers.Workers, "_answer", lambda *_: None)
    with pytest.raises(RuntimeError, match="A step has been tried 10 times, and each time"):
        sknn.distributed.fit(dense(), X, Y, three)


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_every_worker_computes_a_part_of_each_step(n_workers, three, monkeypatch):
    addresses, call, called = workers.Workers._addresses, workers.Workers._call, []

    def note(self, address, what):
        called.append((address, what[1] - what[0]))
        return call(self, address, what)

    monkeypatch.setattr(workers.Workers, "_addresses", lambda self: addresses(self)[:n_workers])
    monkeypatch.setattr(workers.Workers, "_call", note)
    net = dense().set_params(max_iter=1, batch_size=130)  # one step, of 12 shards
    found = sknn.distributed.fit(clone(net), X, Y, three, shard_size=11)
    assert len({address for address, _ in called}) == n_workers
    assert [size for _, size in called] == [12 // n_workers] * n_workers
    assert_same(found, sknn.distributed.fit(clone(net), X, Y, shard_size=11))


def test_other_estimators_are_fitted_as_usual(three):
    """Such as one that a callback fits."""
    inner = dense()
    net = dense().set_callbacks(InEpoch(1, lambda: inner.fit(X, Y)))
    sknn.distributed.fit(net, X, Y, three, shard_size=1)
    assert_same(inner, dense().fit(X, Y))


def test_a_worker_that_is_lost_as_it_gets_the_data(client, tmp_path, monkeypatch):
    """The second one dies as it unpickles them; Dask's broadcast would then try for ever."""
    monkeypatch.setattr(
        shards.Shards, "__reduce__", lambda self: (arrive, (tmp_path, vars(self))), raising=False
    )
    found = []
    fit = partial(sknn.distributed.fit, dense(), X, Y, client, **SHARDS)
    thread = threading.Thread(target=lambda: found.append(fit()), daemon=True)
    thread.start()
    thread.join(120)
    assert len(list(tmp_path.iterdir())) >= 2
    assert_same(found[0], sknn.distributed.fit(dense(), X, Y, **SHARDS))


def test_what_workers_get_can_be_sent_on(monkeypatch):
    """By Dask, from one worker to another, after the first one has compiled its program."""
    given, prepared = [], shards.Shards.prepared
    monkeypatch.setattr(
        shards.Shards, "prepared", lambda self, *n: given.append(self) or prepared(self, *n)
    )
    sknn.distributed.fit(dense(), X, Y)
    assert pickle.loads(pickle.dumps(given[0])).network == given[0].network


def arrive(folder, state):
    (folder / str(os.getpid())).touch()
    if len(list(folder.iterdir())) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    made = object.__new__(shards.Shards)
    vars(made).update(state)
    return made


def test_nothing_is_kept_when_a_fit_ends(three, monkeypatch):
    """Dask's calls of actors are in reference cycles: neither data nor weights wait for them."""
    call, calls = workers.Workers._call, []
    monkeypatch.setattr(
        workers.Workers, "_call", lambda self, at, what: calls.append(what) or call(self, at, what)
    )
    gc.collect()
    gc.disable()
    try:
        sknn.distributed.fit(dense(), X, Y, three)
        assert calls and not any(calls)
        deadline = time.monotonic() + 10
        while any(three.run(count_actors).values()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(three.run(count_actors).values())
    finally:
        gc.enable()


def count_actors(dask_worker):
    # Dask keeps the places of actors that could not be made
    return sum(actor is not None for actor in dask_worker.state.actors.values())
