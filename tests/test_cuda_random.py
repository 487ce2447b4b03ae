"""What CUDA's kernels draw, thread by thread in the emulator: the CPU's words, masks and noise."""

import emulator
import numpy as np
import pytest
from device_tapes import assert_same_bits, run_operation
from emulator import needs_emulator
from numba.core import types
from reference import philox
from trial_gpu import TrialGPU

from sknn.cuda.kernels.frame import Target
from sknn.cuda.kernels.random import philox_of
from sknn.engine.devices import DEVICES

pytestmark = needs_emulator
DTYPES = "float32", "float64"
CPU = DEVICES["cpu"]
#: In two groups a block; in three, whose threads take turns backwards; in a walk, as it comes.
DEVICES_TO_COMPARE = (
    TrialGPU(threads=32, groups=2, single=True),
    TrialGPU(threads=64, groups=3, order="backward", single=True),
    TrialGPU(threads=32, groups=2, order="mixed"),
)
SAMPLES, BATCH = 2 * 45, 45  # two steps of two blocks, the second one with 13 samples
RANDOM = np.random.RandomState(0)
HALF = 2**31


def of_all(name, arrays, dtype, *how, **options):
    """Return what an operation leaves on the CPU, and what on all GPUs, to the bit."""
    options = {"batch": BATCH} | options
    found = [run_operation(d, name, arrays, dtype, *how, **options) for d in DEVICES_TO_COMPARE]
    for other in found[1:]:
        assert_same_bits(found[0], other)
    return run_operation(CPU, name, arrays, dtype, *how, **options), found[0]


def blank(rows):
    return np.full((rows, SAMPLES), np.nan)


def test_words_are_those_of_philox():
    target = Target(emulator.words(), types.float32, 32, 32)
    philox_word, get, put = philox_of(target), target.get_int, target.put_int

    def draw(counters, out):
        for i in range(9):
            c = counters + i * 48
            a, b, c, d = philox_word(
                get(c, 0), get(c, 1), get(c, 2), get(c, 3), get(c, 4), get(c, 5)
            )
            put(out, 8 * i, a)
            put(out, 8 * i + 1, b)
            put(out, 8 * i + 2, c)
            put(out, 8 * i + 3, d)
            # what the compiler assumes about their highest bits
            put(out, 8 * i + 4, a < 1 << 31)
            put(out, 8 * i + 5, b < 1 << 31)
            put(out, 8 * i + 6, c < 1 << 31)
            put(out, 8 * i + 7, d < 1 << 31)

    kernel = emulator.compiled(draw, 2, "words")
    counters = RANDOM.randint(0, 2**32, (9, 6))
    counters[0], counters[1] = 0, 2**32 - 1
    out = np.zeros((9, 8), np.int64)
    emulator.launch(kernel, 1, 1, 0, (counters.ctypes.data, out.ctypes.data))
    for i, (c, found) in enumerate(zip(counters, out)):
        expected = [int(word) for word in philox(c[:4], c[4:])]
        assert found[:4].tolist() == expected, i
        assert found[4:].tolist() == [word < 2**31 for word in expected], i
    # Random123's published answer
    assert out[0, :4].tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [1, 6, 9])
def test_masks_are_the_cpu_s(units, dtype):
    arrays = {"x": RANDOM.normal(size=(units, SAMPLES)), "y": blank(units)}
    for name, numbers in {
        "dropout": (units, 2, HALF, 2.0), "salt_and_pepper": (units, 3, HALF, -3.0, 5.0),
    }.items():  # fmt: skip
        expected, found = of_all(name, arrays, dtype, numbers)
        assert_same_bits(found, expected)
        changed = (found.y != arrays["x"].astype(dtype)) if name[0] == "s" else (found.y == 0)
        assert 0.3 < changed.mean() < 0.7


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_the_cpu_s(dtype):
    units = 7
    arrays = {"x": RANDOM.normal(size=(units, SAMPLES)), "y": blank(units)}
    for limits in ((-np.inf, np.inf), (-0.5, 0.8)):
        expected, found = of_all("gaussian_noise", arrays, dtype, (units, 1, 0.7, *limits))
        assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_on_nothing_is_the_cpu_s(dtype):
    """Many numbers, including the rarest values."""
    arrays = {"x": np.zeros((97, SAMPLES)), "y": blank(97)}
    numbers = 97, 4, 1.0, -np.inf, np.inf
    a, b = (
        run_operation(d, "gaussian_noise", arrays, dtype, numbers)
        for d in (CPU, DEVICES_TO_COMPARE[0])
    )
    assert_same_bits(a, b)
    assert abs(a.y.mean()) < 0.05
    assert a.y.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_are_the_cpu_s(dtype):
    units = 6
    arrays = {"x": RANDOM.normal(size=(2 * units, SAMPLES)), "z": blank(units)}
    expected, found = of_all("draw_normal", arrays, dtype, (units, 1))
    few = 8 * np.finfo(dtype).eps  # the exponential function is not the CPU's own
    np.testing.assert_allclose(found.z, expected.z, few, few)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_of_draws(weighted):
    units, dtype = 5, "float64"
    arrays = {
        "x": RANDOM.normal(size=(2 * units, SAMPLES)), "z": RANDOM.normal(size=(units, SAMPLES)),
        "dz": RANDOM.normal(size=(units, SAMPLES)), "dx": blank(2 * units),
    }  # fmt: skip
    weights = RANDOM.uniform(size=SAMPLES) if weighted else None
    expected, found = of_all("draw_normal_gradient", arrays, dtype, (units, 0.3), weights=weights)
    np.testing.assert_allclose(found.dx, expected.dx, 1e-13, 1e-14)
    assert found.loss == pytest.approx(expected.loss, rel=1e-13)
    assert found.divergence == pytest.approx(expected.divergence, rel=1e-13)
    assert found.divergence == pytest.approx(found.loss / 0.3)


@pytest.mark.parametrize("change", [(-1, 3, -2, 5, 0, 1), (0, 2, 0, 1, 1, 0), (0, 1, 0, 1, 0, 0)])
def test_images_are_changed_as_on_the_cpu(change):
    height, width, channels, out = 4, 5, 2, (3, 5)
    arrays = {
        "x": RANDOM.normal(size=(height * width * channels, SAMPLES)),
        "y": blank(out[0] * out[1] * channels),
    }
    numbers = height, width, channels, *out, 3, *change
    assert_same_bits(*of_all("augment", arrays, "float32", numbers))
