"""What the host does around CUDA's kernels: data, memory, launches, interrupts, pickles."""

import gc
import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from emulator import needs_emulator
from sklearn.exceptions import ConvergenceWarning
from test_operations import make_problem
from test_operations import mlp as network_of
from trial_gpu import REAL, TrialGPU

from sknn import CharRNN, MLPNetClassifier, MLPNetRegressor
from sknn.cuda import program, session
from sknn.cuda.data import arrays_of
from sknn.cuda.driver import OutOfMemory
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower
from sknn.layers import Activation
from sknn.tape.sources import Source

pytestmark = [
    needs_emulator,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
RANDOM = np.random.RandomState(0)
X, Y, WEIGHTS = RANDOM.rand(150, 11), np.arange(150) % 3, 1.0 + np.arange(150) % 4
emulated_only = pytest.mark.skipif(REAL, reason="looks into the emulated driver")


def mlp(**params):
    settings = {"max_iter": 3, "random_state": 0, "batch_size": 50, "device": "cuda"}
    return MLPNetClassifier((9, 5), **settings | params)


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that puts a GPU in the place of the first one, and returns it."""

    def put(**how):
        made = TrialGPU(**how)
        monkeypatch.setitem(DEVICES, "cuda", made)
        return made

    return put


def learned(net):
    return [*net.coefs_, *net.intercepts_, net.loss_curve_, net.predict_proba(X)]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


#: How a GPU may be used; no bit may depend on it.
SHAPES = {
    "an operation a launch": {"single": True},
    "one group": {"groups": 1, "threads": 64},
    "teams of groups": {"groups": 7, "parts": 3, "order": "backward"},
    "a group a block": {"groups": 2, "parts": 1, "order": "mixed"},
    "operations in any order": {"single": True, "order": "mixed", "threads": 64},
}


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [*((shape, "float32") for shape in SHAPES), ("an operation a launch", "float64")],
)
def test_no_bit_depends_on_the_shape_of_the_grid(gpu, shape, dtype, monkeypatch):
    monkeypatch.setattr(program, "_DEPTH", 32)  # so that gradients are sums of two parts
    gpu(single=True)
    params = {"clip_norm": 0.5, "alpha": 0.01, "dropout": 0.0, "dtype": dtype}
    expected = learned(mlp(**params).fit(X, Y, WEIGHTS))
    gpu(**{"threads": 32, **SHAPES[shape]})
    assert_equal(learned(mlp(**params).fit(X, Y, WEIGHTS)), expected)


def test_a_missing_barrier_is_noticed(gpu, monkeypatch):
    """The order in which threads take turns shows where one does not wait for another."""
    from sknn.cuda.kernels import run

    gpu(single=True)
    expected = learned(mlp(dtype="float32").fit(X, Y))
    body = run.walk

    def without(t, operations):
        t.meet = t.jit(lambda counter, groups: None)
        walk = body(t, operations)
        walk.__name__ = "without_barriers"
        return walk

    monkeypatch.setattr(run, "walk", without)
    gpu(groups=4, parts=2, order="backward")
    found = learned(mlp(dtype="float32").fit(X, Y))
    assert not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("sparse", [False, True])
def test_data_that_do_not_fit_come_in_parts(gpu, monkeypatch, sparse):
    """Bits are the same whether all data stay on the GPU or a few steps' at a time are there."""
    data = sp.csr_array(X * (X > 0.5)) if sparse else X
    gpu(single=True)
    nets = mlp(), mlp(early_stopping=True, validation_fraction=0.2)
    expected = [learned(net.fit(data, Y, WEIGHTS)) for net in nets]
    small = gpu(single=True)
    monkeypatch.setattr(session, "_SHARE", 0.0)  # nothing may stay
    monkeypatch.setattr(session, "_SPAN_BYTES", 60 * 200)  # two or so steps a span
    for net, one in zip(nets, expected):
        assert_equal(learned(net.fit(data, Y, WEIGHTS)), one)
    assert not small.resident


@emulated_only
def test_data_are_sent_once_a_fit(gpu):
    """An epoch more sends the order of the rows, the rates, and what a launch is told."""
    one = gpu(single=True)
    mlp(max_iter=2, dtype="float64").fit(X, Y)
    for_two, one.driver.sent = one.driver.sent, 0
    mlp(max_iter=4, dtype="float64").fit(X, Y)
    assert one.driver.sent - for_two < X.nbytes / 2


@emulated_only
def test_memory_is_given_back_after_a_fit(gpu):
    one = gpu(single=True)
    net = mlp().fit(X, Y)
    gc.collect()
    assert one.driver.allocated == 0
    net.predict(X)
    gc.collect()
    assert one.driver.allocated == 0
    with pytest.raises(ValueError, match="non-finite"):
        mlp(max_iter=2, learning_rate_init=1e300, solver="sgd").fit(X, Y)
    gc.collect()
    assert one.driver.allocated == 0


@emulated_only
def test_too_little_memory_names_what_helps(gpu):
    gpu(single=True)
    net = mlp(max_iter=1).fit(X, Y)
    weights = [w.copy() for w in net.coefs_]
    one = gpu(single=True, memory=40_000)
    with pytest.raises(MemoryError, match="MiB are free.*A step of 50 rows.*batch_size"):
        net.fit(X, Y)
    assert_equal(net.coefs_, weights)
    gc.collect()
    assert one.driver.allocated == 0


@emulated_only
def test_predictions_take_less_memory_where_there_is_less(gpu):
    gpu(single=True)
    net = mlp().fit(X, Y)
    expected = net.predict_proba(X)
    one = gpu(single=True, memory=60_000)
    np.testing.assert_array_equal(net.predict_proba(X), expected)
    gc.collect()
    assert one.driver.allocated == 0


@emulated_only
@pytest.mark.parametrize("single", [False, True])
def test_an_interrupt_ends_training_between_steps(gpu, single):
    """The weights are those of the last whole step; the estimator can be used, and goes on."""
    one, looks = gpu(single=single), []

    def looked():
        looks.append(0)
        if len(looks) == 3:
            raise KeyboardInterrupt

    one.driver.looked = looked
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = mlp(max_iter=50).fit(X, Y)
    assert any("interrupted" in str(w.message) for w in caught)
    assert np.isfinite(net.predict_proba(X)).all()
    assert net.n_iter_ < 50
    gc.collect()
    assert one.driver.allocated == 0


@emulated_only
def test_the_loss_of_the_first_step_is_known(gpu):
    """Where training began, if it ends elsewhere: it is the CPU's."""
    gpu()
    began = []
    for device in ("cuda", "cpu"):
        net = mlp(solver="sgd", learning_rate_init=1e6, device=device, max_iter=1)
        with pytest.warns(ConvergenceWarning, match="diverged: the loss began at") as caught:
            net.fit(X, Y)
        message = next(str(w.message) for w in caught if "began at" in str(w.message))
        began.append(float(message.split("began at ")[1].split()[0]))
    assert began[0] == pytest.approx(began[1], rel=1e-4) and began[0] < 10


@emulated_only
def test_after_an_error_nothing_is_on_its_way(gpu, monkeypatch):
    """What is copied or computed still reads and writes memory that is freed then."""
    one, waits = gpu(single=True), []
    monkeypatch.setattr(session, "_SHARE", 0.0)
    monkeypatch.setattr(session, "_SPAN_BYTES", 1)  # a step a span
    load = session.Cargo.load

    def fail(cargo, first, *rest):
        if first:
            one.driver.wait_for_copies = lambda: waits.append("copies")
            one.driver.synchronize = lambda: waits.append("kernels")
            raise RuntimeError("no more")
        load(cargo, first, *rest)

    monkeypatch.setattr(session.Cargo, "load", fail)
    with pytest.raises(RuntimeError, match="no more"):
        mlp().fit(X, Y)
    assert waits == ["copies", "kernels"]


def test_windows_of_a_text_are_copied_only_if_that_is_little(gpu, monkeypatch):
    """Else a few steps' are: states go on from one copy to the next."""
    params = {"seq_len": 6, "batch_size": 3, "max_iter": 2, "random_state": 0, "dtype": "float64"}
    found, placed, place = [], [], session.Placed
    monkeypatch.setattr(session, "Placed", lambda *how: placed.append(how) or place(*how))
    for n_bytes in (2**28, 1):
        monkeypatch.setattr(session, "_SPAN_BYTES", n_bytes)
        gpu(single=True)
        placed.clear()
        net = CharRNN("rnn", 5, device="cuda", **params).fit(["abcab" * 9, "bca" * 20])
        assert bool(placed) == (n_bytes > 1)
        found.append([*net._weights.values, net.loss_curve_])
    assert_equal(*found)


def test_numbers_too_large_for_float32_are_infinite_without_a_word(gpu):
    gpu(single=True)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="non-finite|not finite"):
        warnings.simplefilter("error", RuntimeWarning)
        mlp(dtype="float32").fit(X * 1e300, Y)


@emulated_only
def test_data_for_which_there_is_no_room_after_all_come_in_parts(gpu, monkeypatch):
    """Others take memory between a look at what is free and the asking for it."""
    gpu(single=True)
    expected = learned(mlp().fit(X, Y))
    gpu(single=True)

    def placed(*how):
        raise OutOfMemory(1, 0)

    monkeypatch.setattr(session, "Placed", placed)
    assert_equal(learned(mlp().fit(X, Y)), expected)


ACTIVATION, NETWORK = Activation("relu"), network_of(3, outputs=2)


@contextmanager
def losses_of(device, n):
    """Give a session of a program that leaves losses, bound to `n` rows."""
    problem = make_problem(NETWORK, "float64", n)
    keys = problem.source.key, problem.targets.key
    tape = lower(NETWORK, np.dtype(float), 32, "loss", *keys, device=device)
    made = device.compile(tape, "float64")
    packed = device.upload(made.layout, problem.values)
    with device.session(made, n) as opened:
        opened.bind(packed, problem.source, problem.targets, rows=problem.rows)
        yield opened


def test_runs_of_no_rows_and_rates_of_more_steps(gpu):
    with losses_of(gpu(single=True), 50) as opened:
        assert opened.run(0, 50) == 0.0
        expected = opened.run(50, 25)
        assert opened.run(50, 25, np.ones((4, 2))) == expected > 0


@emulated_only
def test_steps_whose_losses_have_a_share_each_are_not_cut(gpu):
    one = gpu(single=True)
    with losses_of(one, 200) as opened:
        expected, needed = opened.run(200, 200), opened.program.placement.block_bytes
    one.driver.memory = one.driver.allocated + 9 * needed
    with losses_of(one, 200) as opened:
        assert opened.blocks < 7
        assert opened.run(200, 200) == expected
        with pytest.raises(MemoryError, match="no room .* A step of 200 rows takes"):
            opened.run(200, 200, np.ones((1, 2)))


def test_what_kernels_cannot_count_is_refused():
    """They divide places as numbers of 32 bits, and would read somewhere else."""
    made = TrialGPU()
    keys = make_problem(NETWORK, "float32", 1)
    keys = keys.source.key, keys.targets.key

    def compiled(network):
        tape = lower(network, np.dtype("f4"), 32, "gradient", *keys, device=made)
        return made.compile(tape, "float32")

    with pytest.raises(ValueError, match="of 32 samples, has 2,147,483,648 numbers; on a GPU"):
        compiled(network_of(3, (2**26, ACTIVATION), outputs=2))
    with pytest.raises(ValueError, match="has 2,147,483,648 numbers; on a GPU"):
        compiled(network_of(2**16, (2**15, ACTIVATION), outputs=2))
    small = compiled(NETWORK)
    assert small.plan(2**31 - 32).n_sums == 0
    with pytest.raises(ValueError, match="_gradient has 2,147,483,648"):
        small.plan(2**31)


def test_a_pickle_from_a_gpu_predicts_without_one(gpu, monkeypatch):
    gpu(single=True)
    net = mlp().fit(X, Y)
    saved, expected = pickle.dumps(net), net.predict_proba(X)
    monkeypatch.delitem(DEVICES, "cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pickle.loads(saved).predict_proba(X)
    np.testing.assert_allclose(found, expected, 1e-12)


def test_warm_starts_and_lbfgs(gpu):
    """The optimizer's state comes back from the GPU, and goes there again."""
    gpu(single=True)
    for params in ({"warm_start": True, "average": True}, {"solver": "lbfgs"}):
        nets = [mlp(**params, device=device) for device in ("cuda", "cpu")]
        for _ in range(2):
            losses = [net.fit(X, Y, WEIGHTS).loss_ for net in nets]
            np.testing.assert_allclose(*losses, 1e-9)
    nets = [mlp(device=device) for device in ("cuda", "cpu")]
    for _ in range(3):
        for net in nets:
            net.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_allclose(*(net.predict_proba(X) for net in nets), 1e-9)


def test_wide_blocks(gpu, monkeypatch):
    """Where steps are large, blocks have 128 samples, and each operation is a launch."""
    from sknn.cuda import device

    data = RANDOM.rand(300, 40).astype(np.float32)
    params = {"batch_size": 256, "max_iter": 2, "random_state": 0}
    nets = [MLPNetRegressor("huber", (70,), device=name, **params) for name in ("cpu", "cuda")]
    monkeypatch.setattr(device, "_WORK_OF_A_LAUNCH", 0)
    gpu()
    for net in nets:
        net.fit(data, data[:, :5])
    np.testing.assert_allclose(nets[1].loss_curve_, nets[0].loss_curve_, 1e-5)
    np.testing.assert_allclose(*(net.predict(data) for net in nets), 1e-3, 1e-4)


def test_rows_of_a_sparse_matrix_that_somebody_changes_stay_inside():
    """What is sent of it is read by NumPy, within what is stored, whatever its arrays say."""
    matrix = sp.random(40, 9, 0.3, "csr", random_state=0)
    source, rows = Source(matrix), RANDOM.randint(0, 40, 25)
    sent = sp.csr_array(tuple(arrays_of(source, np.float64, rows)), shape=(25, 9))
    np.testing.assert_array_equal(sent.toarray(), matrix.toarray()[rows])
    for strange in (2**31 - 1, -(2**31)):
        source.arrays[2][7] = strange
        values, indices, begins = arrays_of(source, np.float64, rows)
        assert len(values) == len(indices) == begins[-1] and (np.diff(begins) >= 0).all()
