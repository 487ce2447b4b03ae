"""What the host does around CUDA's kernels: data, memory, launches, interrupts, pickles."""

import gc
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from emulated_driver import REAL, EmulatedCUDA
from emulator import needs_emulator

from sknn import MLPNetClassifier, MLPNetRegressor
from sknn.cuda import program, session
from sknn.engine.devices import DEVICES

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
        made = EmulatedCUDA(**how)
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_bit_depends_on_the_shape_of_the_grid(gpu, shape, dtype, monkeypatch):
    monkeypatch.setattr(program, "_DEPTH", 32)  # so that gradients are sums of two parts
    if dtype == "float64" and "launch" not in shape:
        pytest.skip("compiling takes long, and would show nothing new")
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
    one = gpu(single=True)
    mlp(max_iter=2, dtype="float64").fit(X, Y)
    after_two, one.driver.sent = one.driver.sent, 0
    mlp(max_iter=4, dtype="float64").fit(X, Y)
    # an epoch's cargo is the order of the rows and the rates, each rounded up; X is 13,200 bytes
    assert one.driver.sent - after_two == 2 * (1280 + 256)


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
