"""Networks learn and predict on CUDA's kernels, thread by thread in the emulator, as on the CPU."""

import warnings

import numpy as np
import pytest
from emulated_driver import EmulatedCUDA
from emulator import needs_emulator
from test_devices import ESTIMATORS, assert_close, outcome

from sknn import MLPNetClassifier
from sknn.engine.devices import DEVICES
from sknn.tape.operations import OPERATIONS

pytestmark = needs_emulator
SINGLE = EmulatedCUDA(threads=32, single=True)
#: On the perceptron's rule no GPU works.
NAMES = [name for name in ESTIMATORS if name not in ("perceptron", "one neuron")]


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_the_same_on_a_gpu(name):
    assert_close(outcome(name, DEVICES["cpu"]), outcome(name, SINGLE), name)


def test_losses_stay_together_for_fifty_steps_of_float32(monkeypatch):
    """Dropout takes the same units away; sums differ in their order only. Whole steps at once."""
    random = np.random.RandomState(1)
    x, y = random.normal(size=(120, 7)), random.randint(0, 3, 120)
    curves = []
    for device in (DEVICES["cpu"], EmulatedCUDA(threads=64, groups=3)):
        monkeypatch.setitem(DEVICES, "cpu", device)
        net = MLPNetClassifier(
            hidden_layer_sizes=(20, 11), dropout=0.3, batch_size=35, max_iter=13,
            n_iter_no_change=99, dtype="float32", random_state=0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            curves.append(net.fit(x, y).loss_curve_)
    assert len(curves[0]) == 13  # of four steps, the last of which has 15 rows
    np.testing.assert_allclose(curves[1], curves[0], 1e-4)


def test_these_networks_need_every_operation():
    for name in NAMES:
        outcome(name, SINGLE)
    assert SINGLE.operations == set(OPERATIONS)


def test_there_is_a_kernel_for_every_operation():
    from sknn.cuda.kernels.frame import KERNELS

    assert set(OPERATIONS) <= KERNELS.keys()
    assert np.array_equal(sorted(KERNELS.keys() - set(OPERATIONS)), ["collect"])
