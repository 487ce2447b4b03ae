"""Networks learn and predict on CUDA's kernels, thread by thread in the emulator, as on the CPU."""

import numpy as np
import pytest
from emulated_driver import EmulatedCUDA
from emulator import needs_emulator
from test_devices import ESTIMATORS, assert_close, outcome

from sknn.engine.devices import DEVICES
from sknn.tape.operations import OPERATIONS

pytestmark = needs_emulator
SINGLE = EmulatedCUDA(threads=32, single=True)
#: On the perceptron's rule no GPU works.
NAMES = [name for name in ESTIMATORS if name not in ("perceptron", "one neuron")]


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_the_same_on_a_gpu(name):
    assert_close(outcome(name, DEVICES["cpu"]), outcome(name, SINGLE), name)


def test_these_networks_need_every_operation():
    for name in NAMES:
        outcome(name, SINGLE)
    assert SINGLE.operations == set(OPERATIONS)


def test_there_is_a_kernel_for_every_operation():
    from sknn.cuda.kernels.frame import KERNELS

    assert set(OPERATIONS) <= KERNELS.keys()
    assert np.array_equal(sorted(KERNELS.keys() - set(OPERATIONS)), ["collect"])
