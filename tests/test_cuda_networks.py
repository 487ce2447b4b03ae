"""Networks learn and predict on CUDA's kernels, thread by thread in the emulator, as on the CPU."""


import numpy as np
import pytest
from emulator import needs_emulator
from test_devices import ESTIMATORS, SMALL, assert_close, outcome
from trial_gpu import TrialGPU

from sknn import (
    ConvNetClassifier,
    MLPNetClassifier,
    RBFNetRegressor,
    RNNClassifier,
    VariationalAutoencoderTransformer,
)
from sknn.engine.devices import DEVICES
from sknn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Residual,
    Sequential,
)
from sknn.tape.operations import OPERATIONS

pytestmark = needs_emulator
SINGLE = TrialGPU(threads=32, single=True)
#: On the perceptron's rule no GPU works, nor on networks with several members.
NAMES = [name for name in ESTIMATORS if name not in ("perceptron", "one neuron", "members")]
#: Operations that GPUs have: networks of several members are on the CPU.
HERE = {name for name in OPERATIONS if not name.startswith("member_")}


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_the_same_on_a_gpu(name):
    assert_close(outcome(name, DEVICES["cpu"]), outcome(name, SINGLE), name)


LONG = {"max_iter": 13, "n_iter_no_change": 99, "dtype": "float32", "random_state": 0}
#: Networks with dropout, in float32, and how they run.
DROPPING = {
    "dense": (
        lambda: MLPNetClassifier((20, 11), dropout=0.3, batch_size=35, **LONG),
        (120, 7), {"threads": 64},
    ),
    "convolutional": (
        lambda: ConvNetClassifier(
            [Conv2D(6, 3, activation="relu"), MaxPooling2D(2), Dropout(0.2),
             Conv2D(9, 2, activation="relu"), Flatten(), Dropout(0.3)],
            batch_size=35, dropout_schedule="flat_cos", **LONG,
        ),
        (120, 8, 8, 1), {"single": True},
    ),
    "LSTM": (
        lambda: RNNClassifier("lstm", 9, dropout=0.3, batch_size=35, **LONG),
        (120, 6, 3), {"parts": 2},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", DROPPING)
def test_losses_stay_together_for_fifty_steps_of_float32(name, monkeypatch):
    """Dropout drops the same units; sums differ only in their order."""
    make, shape, how = DROPPING[name]
    random = np.random.RandomState(1)
    x, y = random.normal(size=shape), random.randint(0, 3, shape[0])
    curves = []
    for device in (DEVICES["cpu"], TrialGPU(groups=3, **how)):
        monkeypatch.setitem(DEVICES, "cpu", device)
        curves.append(make().fit(x, y).loss_curve_)
    assert len(curves[0]) == 13  # of four steps, the last of which has 15 rows
    assert abs(curves[0][0] - curves[0][-1]) > 0.01
    np.testing.assert_allclose(curves[1], curves[0], 1e-4)


def test_these_networks_need_every_operation():
    for name in NAMES:
        outcome(name, SINGLE)
    assert SINGLE.operations == HERE


def test_there_is_a_kernel_for_every_operation():
    from sknn.cuda.kernels.frame import KERNELS

    assert HERE <= KERNELS.keys()
    assert np.array_equal(sorted(KERNELS.keys() - HERE), ["collect"])


IMAGES = np.random.RandomState(1).rand(50, 12, 12, 1)
#: Networks whose steps are one launch here: teams of thread groups that synchronize often.
WALKED = {
    "LeNet-5": lambda device: ConvNetClassifier(
        [Conv2D(3, 3, activation="tanh"), AveragePooling2D(2), Conv2D(4, 3, activation="tanh"),
         MaxPooling2D(2), Flatten(), Dense(9, activation="tanh")],
        solver="sgd", batch_size=40, dtype="float64", device=device, **SMALL,
    ).fit(IMAGES, Y50),
    "a block of ResNet": lambda device: ConvNetClassifier(
        [Conv2D(4, 3, padding="same", use_bias=False), BatchNormalization(), Activation("relu"),
         Residual(
             [Sequential([Conv2D(4, 3, padding="same", use_bias=False), BatchNormalization()])]
         ),
         Activation("relu"), GlobalAveragePooling2D()],
        solver="sgd", batch_size=40, dtype="float64", device=device, **SMALL,
    ).fit(IMAGES[:, :6, :6], Y50),
    "variational": lambda device: VariationalAutoencoderTransformer(
        2, 5, batch_size=40, dtype="float64", device=device, **SMALL
    ).fit(IMAGES.reshape(50, -1)[:, :20]),
    "radial": lambda device: RBFNetRegressor(
        7, solver="adam", widths="shared", train_centers=True, train_widths=True, batch_size=40,
        device=device, **SMALL,
    ).fit(IMAGES.reshape(50, -1)[:, :20], Y50 * 1.0),
}  # fmt: skip
Y50 = np.arange(50) % 3


def losses_of(fit, monkeypatch, device):
    monkeypatch.setitem(DEVICES, "cuda", device)
    return fit("cuda").loss_curve_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", WALKED)
def test_networks_walk_in_teams_of_any_shape(name, monkeypatch):
    """No bit depends on how many groups there are, nor on the order in which threads take turns."""
    fit = WALKED[name]
    expected = losses_of(fit, monkeypatch, SINGLE)
    np.testing.assert_allclose(expected, fit("cpu").loss_curve_, 1e-9)
    for shape in (
        {"groups": 1}, {"groups": 5, "parts": 2, "order": "backward"},
        {"groups": 6, "parts": 3, "order": "mixed"},
    ):  # fmt: skip
        assert losses_of(fit, monkeypatch, TrialGPU(threads=32, **shape)) == expected, shape
