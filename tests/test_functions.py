"""Elementary functions, measured in ulp; the counter-based generator and dropout."""

import ctypes
import pathlib
import zlib
from functools import cache

import numpy as np
import pytest
from numba.core import types
from reference import philox as plain_philox
from reference import run_engine

from sknn.cpu.cache import compile_function
from sknn.cpu.kernels.functions import functions
from sknn.cpu.kernels.random import philox
from sknn.cpu.kernels.simd import LANES, Vector, load, splat, store
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
from sknn.layers import Activation, Dense, Dropout
from sknn.tape.losses import Loss
from sknn.tape.sources import Source

# The engine's cache does not know this file, so its contents are part of its kernels' keys.
_STAMP = zlib.crc32(pathlib.Path(__file__).read_bytes())
_POINTER = ctypes.POINTER(ctypes.c_int64)


def _call(compiled, operands):
    operands = np.array(operands, np.int64).ctypes
    compiled.ctypes(operands.data_as(_POINTER), operands.data_as(_POINTER), 0)


@cache
def _compiled(name, real):
    vector = Vector(real, LANES[real])
    function, lanes = getattr(functions(vector), name), vector.lanes

    def apply(op, frame, slot):
        x, y = op[0], op[1]
        for i in range(0, op[2], lanes):
            store(y, i, function(load(vector, x, i)))

    return compile_function(apply, f"test-{name}-{real}-{_STAMP}")


def apply(name, x):
    """Return the engine's function of every element of a float array."""
    real = types.float32 if x.dtype == np.float32 else types.float64
    lanes = LANES[real]
    padded = np.zeros(-(-x.size // lanes) * lanes, x.dtype)
    padded[: x.size] = x
    y = np.empty_like(padded)
    _call(_compiled(name, real), [padded.ctypes.data, y.ctypes.data, padded.size])
    return y[: x.size]


DTYPES = [np.float32, np.float64]
EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}
LIMITS = {"exp": 1.1, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "tanh": 2.5, "logistic": 2.5}


def _smallest_argument(dtype):
    """Return where exp starts to be flushed to zero: in the last binade of normal numbers."""
    return float(np.log(2 * np.finfo(dtype).tiny))


def _arguments(name, dtype):
    """Return arguments from a function's whole domain, with results that are normal numbers."""
    random = np.random.RandomState(0)
    info = np.finfo(dtype)
    largest, smallest = float(np.log(info.max)), _smallest_argument(dtype)
    n = 200_000
    tiny = 10.0 ** random.uniform(np.log10(info.tiny) + 3, 0, n) * random.choice([-1, 1], n)
    if name == "log":
        x = np.concatenate([
            np.exp(random.uniform(smallest, largest, n)), random.uniform(0.5, 2.0, n),
            1 + tiny[np.abs(tiny) < 0.5], info.tiny * np.arange(1, 100), [float(info.max)],
        ])  # fmt: skip
    elif name == "log1p":
        x = np.concatenate([random.uniform(0, 1, n), np.abs(tiny), [1.0]])
    else:
        low, high = {
            "exp": (smallest, largest), "expm1": (-60.0, largest), "tanh": (-25.0, 25.0),
            "logistic": (smallest, -smallest),
        }[name]  # fmt: skip
        corners = (np.arange(-300, 300) / 2 * np.log(2))[:, None] * (
            1 + info.eps * np.arange(-3, 4)
        )
        x = np.concatenate([random.uniform(low, high, n), tiny, corners.ravel()])
        x = x[(x > 0.999 * low) & (x < 0.999 * high)]
    return x.astype(dtype)


def _ulp_error(actual, exact):
    """Return the distance from exact values, in units of the last place of those values."""
    unit = np.spacing(np.abs(exact).astype(actual.dtype)).astype(np.longdouble)
    return np.abs(actual.astype(np.longdouble) - exact) / unit


@pytest.mark.parametrize("name", sorted(EXACT))
@pytest.mark.parametrize("dtype", DTYPES)
def test_error_in_ulp(name, dtype):
    if np.finfo(np.longdouble).nmant - np.finfo(dtype).nmant < 10:
        pytest.skip("there is no longer float here to compare with")
    x = _arguments(name, dtype)
    assert len(np.unique(x)) > 50_000
    error = _ulp_error(apply(name, x), EXACT[name](x.astype(np.longdouble)))
    worst = error.argmax()
    assert error[worst] <= LIMITS[name], f"{error[worst]:.2f} ulp at {x[worst]!r}"


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, 1.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(EXACT))
def test_special_values(name, dtype):
    x = np.array(SPECIAL[:2] + SPECIAL[3:] if name == "log1p" else SPECIAL, dtype)
    x = x[x != np.inf] if name == "log1p" else x  # it is defined from 0 to 1
    with np.errstate(all="ignore"):
        expected = EXACT[name](x)
    actual = apply(name, x)
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps)
    exact = np.isin(expected, (0.0, 1.0, -1.0)) | ~np.isfinite(expected)
    np.testing.assert_array_equal(actual[exact], expected[exact])


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_and_underflow(dtype):
    info = np.finfo(dtype)
    big, tiny = float(np.log(info.max)), float(np.log(info.tiny))
    far = np.array([1.001 * big, 2 * big, float(info.max)], dtype)
    for name in ("exp", "expm1"):
        assert (apply(name, far) == np.inf).all()
        assert np.isfinite(apply(name, np.array([0.9999 * big], dtype))).all()
    below = np.array([1.1 * tiny, 4 * tiny, -float(info.max)], dtype)
    assert (apply("exp", below) == 0).all()
    assert (apply("expm1", below) == -1).all()
    assert (apply("logistic", below) < info.tiny).all()
    assert (apply("logistic", -below) == 1).all()
    assert (apply("tanh", np.concatenate([far, -far])) == np.repeat([1, -1], 3)).all()
    assert apply("exp", np.array([0.999 * _smallest_argument(dtype)], dtype)) > 0
    negative = np.array([-float(info.tiny), -1.0, -float(info.max)], dtype)
    assert np.isnan(apply("log", negative)).all()
    assert (apply("log", np.array([0.0, -0.0], dtype)) == -np.inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cosine", "sine"])
def test_waves_of_turns(name, dtype):
    turns = np.random.RandomState(0).uniform(-3, 3, 100_000).astype(dtype)
    turns = np.concatenate([turns, np.arange(-16, 17, dtype=dtype) / 4])
    function = {"cosine": np.cos, "sine": np.sin}[name]
    angles = 2 * np.longdouble("3.14159265358979323846264338") * turns.astype(np.longdouble)
    error = np.abs(apply(name, turns) - function(angles)).max()
    assert error < 1.5 * np.finfo(dtype).eps
    info = np.finfo(dtype)
    exact = function(np.pi / 2 * np.arange(-16, 17)).round()
    np.testing.assert_array_equal(apply(name, turns[-33:]).round(3), exact)
    far = np.array([float(info.max), -float(info.max), np.inf, -np.inf, np.nan], dtype)
    found = apply(name, far)
    assert (found[:2] == function(0.0)).all() and np.isnan(found[2:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_never_falls(dtype):
    low, high = _smallest_argument(dtype), np.log(np.finfo(dtype).max)
    x = np.linspace(low * 1.2, high * 1.01, 1_000_001).astype(dtype)
    y = apply("exp", x)
    assert (y[1:] >= y[:-1]).all()
    assert (y[x > 0.999 * low] > 0).all()


# --- the generator


@cache
def _philox_kernel():
    words = Vector(types.uint32, 8)

    def philox_words(op, frame, slot):
        four = philox(
            splat(words, op[0]), splat(words, op[1]), splat(words, op[2]), splat(words, op[3]),
            op[4], op[5],
        )  # fmt: skip
        for i in range(4):
            store(op[6], 8 * i, four[i])

    return compile_function(philox_words, f"test-philox-{_STAMP}")


def engine_philox(counter, key):
    out = np.empty((4, 8), np.uint32)
    _call(_philox_kernel(), [*counter, *key, out.ctypes.data])
    assert (out == out[:, :1]).all()
    return [int(word) for word in out[:, 0]]


ONES = 0xFFFFFFFF
# Known answers of philox4x32-10 that its authors publish with Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert engine_philox(counter, key) == list(expected)
    assert [int(word) for word in plain_philox(counter, key)] == list(expected)


def test_generator_follows_the_reference():
    random = np.random.RandomState(0)
    for _ in range(50):
        *counter, low, high = (int(v) for v in random.randint(0, 2**32, 6, dtype=np.uint64))
        expected = plain_philox(counter, (low, high))
        assert engine_philox(counter, (low, high)) == [int(word) for word in expected]


# --- dropout


def _masks(rate=0.3, units=21, n=200, seed=7, layer=0, counted=0, **options):
    """Return which units of a dropout layer survive for each sample, one step after another.

    The network is linear, starts from zero weights before dropout and learns nothing; its bias is
    one, so its output, seen through the gradient of the next layer's weights, is the mask.
    """
    loss = Loss("squared_error", "identity")
    layers = (Dense(units), Dropout(rate, layer), Dense(1), Activation("identity"))
    values = [np.zeros((1, units)), np.ones(units), np.zeros((units, 1)), np.zeros(1)]
    x, y = np.zeros((n, 1)), -np.ones((n, 1))
    masks = np.zeros((n, units))
    for row in range(n):
        weights = np.zeros(n)
        weights[row] = 1.0
        made = run_engine(
            Network(layers, 1, loss), "float64", "gradient", values, Source(x), Source(y),
            np.arange(n), n, np.ones((1, 2)), weights=weights, seed=seed, counted=counted,
            **options,
        )  # fmt: skip
        masks[row] = made.gradients[2][:, 0]
    return masks


def test_dropout_scales_what_it_keeps():
    masks = _masks(rate=0.3, n=60)
    np.testing.assert_allclose(np.unique(masks), [0.0, 1 / 0.7])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_rate(rate):
    masks = _masks(rate, units=70, n=120) > 0
    error = 4 * np.sqrt(rate * (1 - rate))
    assert abs(1 - masks.mean() - rate) < error / np.sqrt(masks.size)
    assert np.abs(1 - masks.mean(axis=0) - rate).max() < error / np.sqrt(len(masks)) * 1.2
    assert np.abs(1 - masks.mean(axis=1) - rate).max() < error / np.sqrt(70) * 1.2


def test_masks_depend_on_seed_step_and_layer_only():
    masks = _masks(n=40)
    assert (_masks(n=40, width=8) == masks).all()
    assert (_masks(n=40, width=32) == masks).all()
    assert (_masks(n=40, threads=3) == masks).all()
    for other in ({"seed": 8}, {"seed": 7 + 2**32}, {"layer": 1}, {"counted": 1}):
        same = ((_masks(n=40, **other) > 0) == (masks > 0)).mean()
        assert 0.5 < same < 0.66  # of independent masks: 0.3^2 + 0.7^2


def test_masks_differ_between_samples_and_units():
    masks = _masks(0.5, units=40, n=40) > 0
    assert len(np.unique(masks, axis=0)) == len(np.unique(masks.T, axis=0)) == 40


def test_float32_draws_the_same_masks():
    """Seen from the update that one row makes."""
    loss = Loss("squared_error", "identity")
    network = Network((Dense(21), Dropout(0.4), Dense(1), Activation("identity")), 1, loss)
    updates = []
    for dtype in DTYPES:
        values = [np.zeros((1, 21)), np.ones(21), np.zeros((21, 1)), np.zeros(1)]
        made = run_engine(
            network, dtype, "train", [v.astype(dtype) for v in values], Source(np.zeros((1, 1))),
            Source(-np.ones((1, 1))), np.zeros(5, np.int64), 1, np.ones((5, 5)),
            solver=Solver("sgd"), seed=3,
        )  # fmt: skip
        updates.append(made.values[2] != 0)
    assert (updates[0] == updates[1]).all()
