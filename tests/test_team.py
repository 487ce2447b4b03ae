"""Threads: the same bits for any number of threads, in concurrent fits, and after a fork."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from reference import run_engine, start_values, step_rates

from sknn.cpu.session import Session
from sknn.cpu.team import start_threads
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import program
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
from sknn.layers import Activation, BatchNormalization, Dense, Dropout
from sknn.tape.losses import Loss
from sknn.tape.sources import ClassNumbers, Source

# Every kind of phase: statistics of the batch, gradients in several slices, the norm of them all.
NETWORK = Network(
    (
        Dense(70), BatchNormalization(), Activation("tanh"), Dropout(0.2), Dense(33),
        Activation("relu"), Dense(10), Activation("softmax"),
    ),
    300,
    Loss("log_loss", "softmax"),
)  # fmt: skip
SOLVER = Solver("adam", 0.9, 0.99, 1e-6, l2=0.1, l1=0.01, clip_norm=0.5)


def _status(child):
    """Return a child's exit status; one that hangs is ended and counts as failed."""
    for _ in range(6000):  # five minutes: a machine may be busy, and a child that hangs never ends
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


def train(threads, dtype="float32", seed=0, batch=150, n=400):
    """Return the bits of all results of three steps."""
    random = np.random.RandomState(seed)
    x, y = random.normal(size=(n, 300)).astype(dtype), random.randint(10, size=n)
    rows = random.permutation(n)
    made = run_engine(
        NETWORK, dtype, "train", start_values(NETWORK, dtype, seed), Source(x), ClassNumbers(y),
        rows, batch, step_rates(None, rows, batch), solver=SOLVER, seed=seed, threads=threads,
    )  # fmt: skip
    assert np.isfinite(made.total)
    return made.packed.tobytes(), made.raw_states.tobytes(), made.total


def predict(threads, n=200):
    random = np.random.RandomState(0)
    x, rows = random.normal(size=(n, 300)), np.arange(n)
    made = run_engine(
        NETWORK, "float32", "evaluate", start_values(NETWORK, "float32"), Source(x),
        ClassNumbers(random.randint(10, size=n)), rows, n, step_rates(None, rows, n),
        threads=threads,
    )  # fmt: skip
    return made.outputs.tobytes(), made.total


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_threads_changes_no_bit_of_a_fit(dtype):
    expected = train(1, dtype)
    for threads in (2, 3, 4, 7):
        assert train(threads, dtype) == expected


def test_the_number_of_threads_changes_no_bit_of_a_prediction():
    expected = predict(1)
    for threads in (2, 3, 4, 7, 20):
        assert predict(threads) == expected


def test_more_threads_than_blocks_and_tasks():
    network = Network((Dense(1), Activation("identity")), 1, Loss("squared_error", "identity"))
    results = []
    for threads in (1, 6):
        made = run_engine(
            network, "float64", "train", [np.ones((1, 1)), np.zeros(1)], Source(np.ones((3, 1))),
            Source(np.zeros((3, 1))), np.arange(3), 1, step_rates(None, np.arange(3), 1),
            solver=Solver("sgd"), threads=threads,
        )  # fmt: skip
        results.append((made.packed.tobytes(), made.total))
    assert results[0] == results[1]


def test_fits_in_several_python_threads_at_once():
    expected = {seed: train(1, seed=seed) for seed in range(3)}
    results, start = {}, threading.Barrier(6)

    def work(seed, threads):
        start.wait()
        results[seed, threads] = [train(threads, seed=seed) for _ in range(5)]

    workers = [
        threading.Thread(target=work, args=(seed, threads))
        for seed in range(3)
        for threads in (2, 3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6
    for (seed, _), made in results.items():
        assert made == [expected[seed]] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_forked_child_computes_the_same(threads):
    expected = train(threads), predict(threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads about
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if (train(threads), predict(threads)) == expected else 2
        finally:
            os._exit(status)
    assert _status(child) == 0
    assert (train(threads), predict(threads)) == expected


def open_session(threads):
    """Return a session of the program of `train`, with rows to train on and parameters bound."""
    random = np.random.RandomState(0)
    source = Source(random.normal(size=(150, 300)).astype("float32"))
    targets = ClassNumbers(random.randint(10, size=150))
    key = source.key, targets.key, SOLVER, threads
    made, cpu = program(NETWORK, "float32", 32, "train", *key), DEVICES["cpu"]
    packed = cpu.upload(made.layout, start_values(NETWORK, "float32"))
    session = Session(made, 150, threads)
    states = cpu.zeros(made.layout, made.n_states)
    session.bind(packed, source, targets, rows=np.arange(150), states=states)
    return session, packed


def step(session):
    session.run(150, 150, step_rates(None, np.arange(150), 150))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_while_threads_wait_computes_the_same():
    expected = train(2)
    with open_session(3)[0] as session, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                session.__exit__(None)  # does not wait for threads that the child has not
                status = 0 if train(2) == expected else 2
            finally:
                os._exit(status)
        assert _status(child) == 0


@pytest.mark.parametrize("started", [0, 1, 2])
def test_a_session_makes_do_with_the_threads_that_there_are(started, monkeypatch):
    expected = train(1)
    real, asked = threading.Thread.start, []

    def start(thread):
        asked.append(thread)
        if len(asked) > started:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    ranks = []
    assert start_threads(4, ranks.append) == started + 1
    for thread in asked[:started]:
        thread.join()
    assert sorted(ranks) == [*range(1, started + 1)]
    asked.clear()
    assert train(4) == expected
    assert len(asked) == started + 1


def test_a_session_leaves_no_thread_behind():
    before = set(threading.enumerate())
    with open_session(5)[0] as session:
        helpers = set(threading.enumerate()) - before
        assert len(helpers) == 4
        for _ in range(3):
            step(session)
        assert set(threading.enumerate()) <= before | helpers
    for helper in helpers:
        helper.join(10)
        assert not helper.is_alive()


def test_a_session_of_several_threads_runs_in_its_context_only():
    session, packed = open_session(2)
    before = packed.copy()
    with pytest.raises(RuntimeError, match="in its context only"):
        step(session)  # would wait for a thread that is not there
    with session:
        pass
    with pytest.raises(RuntimeError, match="in its context only"):
        step(session)
    with pytest.raises(RuntimeError, match="have ended"), session:
        pass
    np.testing.assert_array_equal(packed, before)
    assert train(2) == train(1)


def test_threads_count_beyond_the_word_that_they_sleep_by():
    expected = open_session(1)
    with expected[0]:
        step(expected[0])
    for n in (2**31 - 2, 2**32 - 2):
        session, packed = open_session(3)
        session._sync.view(np.int64)[2 * 16 :: 16] = n  # arrivals of each thread, all the same
        with session:
            step(session)
        assert packed.tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("pause", [0.0, 0.02])
@pytest.mark.parametrize("row_seconds", [0.0, 1.0])
def test_threads_that_look_for_work_and_those_asleep_are_started(row_seconds, pause):
    """With or without Python's lock: they do not need it."""
    results = []
    for threads in (1, 2, 3):
        session, packed = open_session(threads)
        with session:
            for _ in range(10):
                session.program.row_seconds = row_seconds
                step(session)
                time.sleep(pause)
        results.append(packed.tobytes())
    assert results[0] == results[1] == results[2]
