"""Convolutions, pools and normalization on CUDA's kernels, in the emulator, by their definitions.

Kernels are compiled once for all shapes, so the tests check where each number comes from.
"""

from dataclasses import replace

import numpy as np
import pytest
from emulator import needs_emulator
from reference import Executor, X, step_rates
from test_convolution import CONVOLUTIONS, LAYERS, TRANSPOSES, after_something, convnet
from test_operations import ADAM, TOLERANCE, assert_close, make_problem
from trial_gpu import TrialGPU, run_on

import sknn.cuda.program
from sknn.engine.lowering import lower
from sknn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    LocalResponseNormalization,
    MaxPooling2D,
    Residual,
    UpSampling2D,
)

pytestmark = needs_emulator
GPU = TrialGPU(threads=32, single=True)
#: The same bits are due from each of these.
GPUS = [
    TrialGPU(threads=32, groups=2, single=True),
    TrialGPU(threads=64, groups=3, order="backward", single=True),
]


def check(network, batch=33, n=50, purpose="train", devices=(GPU,), **options):
    """Run devices and the definitions on one problem; compare all that they leave."""
    dtype, width = options.pop("dtype", "float64"), options.pop("width", 32)
    edit = options.pop("edit", None)
    problem = make_problem(network, dtype, n, **options)
    if edit is not None:
        edit(problem)
    rates = step_rates(problem.weights, problem.rows, batch)
    solver = replace(ADAM, l2=0.1) if purpose == "train" else None
    run = {"seed": 2**40 + 12345, "counted": 3}
    made, *others = (
        run_on(
            device, network, dtype, purpose, problem, batch, rates, solver=solver, width=width,
            **run,
        )
        for device in devices
    )
    keys = problem.source.key, problem.targets.key
    tape = lower(network, np.dtype(dtype), width, purpose, *keys, solver)
    plain = Executor(tape, problem.values, dtype)
    total, outputs = plain.run(
        problem.data, problem.rows, batch, rates, weights=problem.weights, **run
    )
    tolerance = TOLERANCE[dtype]
    assert np.isfinite(total)
    assert_close(made.total / n, total / n, tolerance, "loss")
    for i, parameter in enumerate(tape.parameters):
        what = f"{i}: {parameter}"
        assert_close(made.values[i], plain.values[parameter], tolerance, what)
        if purpose == "train" and parameter.trainable:
            for state, expected in zip(made.states, plain.states[parameter]):
                assert_close(state[i], expected, tolerance, f"state of {what}")
        if purpose == "gradient" and parameter.trainable:
            assert_close(made.gradients[i], plain.gradients[parameter], tolerance, what)
    if purpose == "evaluate":
        assert_close(made.outputs, outputs, tolerance, "outputs")
    # what parameters are rounded up by has no gradient, so it stays zero
    layout = made.program.layout
    for packed, values in zip((made.packed, *made.raw_states), (made.values, *made.states)):
        assert (packed == layout.pack(values, np.zeros(layout.size, layout.dtype))).all()
    for other in others:
        assert other.total == made.total
        for name in ("packed", "outputs", "raw_states"):
            assert np.array_equal(getattr(other, name), getattr(made, name)), name
    return made


#: Besides the CPU's: those of groups that are products in both directions.
CONVOLUTIONS = CONVOLUTIONS | {
    "wide groups": ((6, 5, 20), Conv2D(22, (3, 2), (2, 1), "same", groups=2)),
    "wide groups, dilated": ((5, 6, 24), Conv2D(24, 2, (1, 2), 1, dilation_rate=(2, 1), groups=3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    check(after_something(*CONVOLUTIONS[name]))


@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposed_convolutions(name):
    check(after_something(*TRANSPOSES[name]))


#: Those whose operations are not tested elsewhere.
NAMES = [
    name for name in LAYERS
    if not name.startswith(("noise", "dropout", "activity", "an activity", "frozen", "nested"))
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_layers(name):
    check(LAYERS[name])


@pytest.mark.parametrize("name", ["batch norm", "batch norm, frozen", "relu before a max pool"])
def test_predictions(name):
    check(LAYERS[name], purpose="evaluate")


#: Every operation on images, of sizes that leave a rest everywhere.
DEEP = convnet(
    (7, 6, 3), Conv2D(18, 3, padding="same", use_bias=False), BatchNormalization(),
    Activation("relu"), Residual([Conv2D(18, 3, padding="same", groups=2)]), Activation("relu"),
    MaxPooling2D(2, 1), LocalResponseNormalization(), Conv2DTranspose(10, 3, 2, "same"),
    Concatenate([[Conv2D(5, 2, 2, dilation_rate=2, groups=5)], [AveragePooling2D(3, 2)]]),
    BatchNormalization(trainable=False), UpSampling2D(2, "bilinear"), BatchNormalization(),
    Activation("tanh"),
)  # fmt: skip


@pytest.mark.parametrize("depth", [64, 2048])
def test_bits_do_not_depend_on_threads_and_groups(depth, monkeypatch):
    monkeypatch.setattr(sknn.cuda.program, "_DEPTH", depth)
    check(DEEP, 70, 100, devices=GPUS, weighted=True)


SMALL = convnet(
    (3, 4, 3), Conv2D(9, 2), BatchNormalization(), Activation("relu"), MaxPooling2D(2, 1),
    Conv2DTranspose(8, 2, use_bias=False), Activation("tanh"),
)  # fmt: skip


def test_one_launch_leaves_the_same_bits():
    walking = TrialGPU(threads=32, groups=5, order="mixed")
    check(SMALL, 40, 60, devices=(GPU, walking))


@pytest.mark.parametrize(
    "name",
    ["wide groups", "groups that share vectors", "strides and dilation", "many filters",
     "depthwise, several filters each"],
)  # fmt: skip
def test_sums_in_parts(name, monkeypatch):
    """Their ends lie in the middle of blocks, of images, of rows."""
    monkeypatch.setattr(sknn.cuda.program, "_DEPTH", 96)
    check(after_something(*CONVOLUTIONS[name]), 75, 80, purpose="gradient")


def test_gradients_add_up_over_steps(monkeypatch):
    layers = Conv2D(6, 2, groups=2), Activation("tanh"), Conv2DTranspose(3, 2), Conv2D(5, 2)
    network = convnet((5, 4, 4), *layers)
    problem = make_problem(network, "float64", 43)
    for depth in (64, 2048):
        monkeypatch.setattr(sknn.cuda.program, "_DEPTH", depth)
        whole, halves = (
            run_on(
                GPU, network, "float64", "gradient", problem, batch,
                np.ones((-(-43 // batch), 2)), accumulate=True,
            )
            for batch in (43, 22)
        )  # fmt: skip
        for parameter, a, b in zip(whole.parameters, whole.gradients, halves.gradients):
            assert_close(a, b, 1e-12, str(parameter))


def test_wide_blocks():
    check(SMALL, 200, 200, width=128, dtype="float32")


@pytest.mark.parametrize(
    "pool", [MaxPooling2D(), MaxPooling2D(3, 2, "same"), MaxPooling2D((2, 3), 1)], ids=str
)
def test_the_first_of_equal_values_takes_the_gradient(pool):
    def round_values(problem):
        problem.values[0] = np.round(2 * problem.values[0])
        problem.values[1] = np.round(problem.values[1])

    network = convnet((1, 1, 1), Conv2DTranspose(5, (5, 4)), pool, Activation("tanh"))
    check(network, purpose="gradient", edit=round_values)


@pytest.mark.parametrize("offset", [1e3, -3e5])
def test_statistics_far_from_zero_keep_their_digits(offset):
    """x itself is normalized, whose values lie close together."""

    def shift(problem):
        problem.data[X] += offset  # the source's, too

    network = convnet((3, 2, 2), BatchNormalization(), Activation("tanh"))
    check(network, edit=shift)
