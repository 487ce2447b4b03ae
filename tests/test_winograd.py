"""Convolutions by Winograd's algorithm: results, errors, bits, and when they are used."""

from dataclasses import replace

import numpy as np
import pytest
from device_tapes import run_tape
from reference import run_engine, step_rates
from test_convolution import (
    _assert_predicts_the_same_bits,
    after_something,
    assert_same_bits,
    convnet,
)
from test_operations import ADAM, assert_gradient_is_right, compare, make_problem

from sknn.cpu import winograd
from sknn.cpu.program import Program
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower, program
from sknn.layers import Activation, Conv2D, Conv2DTranspose
from sknn.layers.weighted import add_kernel_gradient

DTYPES = ["float64", "float32"]
NETWORKS = {
    "same": ((6, 7, 20), Conv2D(33, 3, padding="same")),
    "valid": ((7, 5, 3), Conv2D(18, 3)),
    "padded": ((5, 8, 17), Conv2D(24, 3, padding=((0, 3), (4, 1)), use_bias=False)),
    "a single output": ((3, 3, 5), Conv2D(16, 3, padding=((0, 0), (1, 0)))),
    "transposed": ((5, 4, 20), Conv2DTranspose(40, 3, padding="same")),
}
# kernels are the same in both types, but take time to compile
CASES = [*((name, "float32") for name in NETWORKS), ("padded", "float64")]


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Use the algorithm everywhere, and no programs of other tests."""
    monkeypatch.setattr(winograd.Shape, "pays", lambda shape, least=0.0: True)
    program.cache_clear()
    yield
    program.cache_clear()


def _names(tape, dtype="float32", **options):
    made = Program(tape, dtype, **options)
    return [op.name for phase in made.tape.phases for op in phase.all_ops()]


def _lowered(network, purpose="train", width=32):
    p = make_problem(network, "float32", 3)
    solver, target = (ADAM, p.targets.key) if purpose == "train" else (None, None)
    return lower(network, np.dtype("float32"), width, purpose, p.source.key, target, solver)


# --- results


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_results(name, dtype):
    network = after_something(*NETWORKS[name])
    assert any(name.startswith("winograd") for name in _names(_lowered(network)))
    compare(network, dtype, 33, 50, ADAM)


def test_gradients():
    assert_gradient_is_right(after_something(*NETWORKS["padded"]))


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(name, dtype):
    shape, layer = NETWORKS[name]
    _assert_predicts_the_same_bits(convnet(shape, layer, Activation("tanh")), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_the_bits(dtype):
    layers = Conv2D(17, 3, padding="same"), Activation("relu"), Conv2D(24, 3), Activation("tanh")
    network = convnet((7, 6, 3), *layers)
    p = make_problem(network, dtype, 100)
    assert_same_bits(
        [
            run_engine(
                network, dtype, "train", p.values, p.source, p.targets, p.rows, 75,
                step_rates(None, p.rows, 75), solver=replace(ADAM, l2=0.1), threads=threads,
                fill=np.nan,
            )
            for threads in (1, 2, 3)
        ]
    )  # fmt: skip


# --- errors


def _operations(x, dz, w, dtype):
    """Return the outputs of a convolution, and the gradients of its input and kernel."""
    height, width, channels, n = x.shape
    filters = w.shape[3]
    numbers = (height, width, channels, filters, 3, 3, 1, 1, 1, 1, 1, 1, 1, height, width)

    def build(tape, views, parameters):
        w, tile = parameters["w"], tape.packing.tile
        reads, attributes = (views["x"], w), (*numbers, 0, height)
        variant = (tile(filters), w.pack)
        tape.add("convolution_unbiased", reads, (views["z"],), attributes, variant)
        reads, variant = (views["dz"], w), (tile(channels), w.pack)
        tape.add("convolution_input_gradient", reads, (views["dx"],), numbers, variant)
        add_kernel_gradient(tape, w, views["x"], views["dz"], numbers)

    arrays = {"x": x, "dz": dz, "z": np.zeros_like(dz), "dx": np.zeros_like(x)}
    arrays = {name: a.reshape(-1, n) for name, a in arrays.items()}
    made = run_tape(DEVICES["cpu"], build, arrays, np.dtype(dtype), {"w": w})
    return made.z, made.dx, made.gradients[0]


def _exact(x, dz, w):
    """Return the same in extended precision."""
    x, dz, w = (a.astype(np.longdouble) for a in (x, dz, w))
    height, width, channels, n = x.shape
    padded = np.zeros((height + 2, width + 2, channels, n), np.longdouble)
    padded[1:-1, 1:-1] = x
    z, dx, dw = np.zeros_like(dz), np.zeros_like(padded), np.zeros_like(w)
    for i in range(3):
        for j in range(3):
            at = slice(i, i + height), slice(j, j + width)
            z += np.einsum("yxcn,cf->yxfn", padded[at], w[i, j])
            dx[at] += np.einsum("yxfn,cf->yxcn", dz, w[i, j])
            dw[i, j] = np.einsum("yxcn,yxfn->cf", padded[at], dz)
    return z.reshape(-1, n), dx[1:-1, 1:-1].reshape(-1, n), dw


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 9, 24, 48), (8, 8, 64, 64)], ids=str)
def test_errors_are_less_than_four_times_those_of_direct_sums(shape, dtype, monkeypatch):
    height, width, channels, filters = shape
    random = np.random.RandomState(0)
    x = random.rand(height, width, channels, 3).astype(dtype)  # not around zero: as after a relu
    dz = random.normal(size=(height, width, filters, 3)).astype(dtype)
    w = random.normal(size=(3, 3, channels, filters)).astype(dtype)
    exact, made = _exact(x, dz, w), _operations(x, dz, w, dtype)
    monkeypatch.setattr(winograd, "DIRECT", True)
    direct = _operations(x, dz, w, dtype)
    for name, truth, ours, sums in zip(("z", "dx", "dw"), exact, made, direct, strict=True):
        for norm in (np.max, lambda error: np.sqrt(np.mean(error**2))):
            ratio = norm(abs(ours - truth)) / norm(abs(sums - truth))
            assert 0.0 < ratio < 4.0, name
        assert (ours != sums).any()  # so it was not the same algorithm


# --- when it is used


def test_the_switch_turns_it_off(monkeypatch):
    tape = _lowered(after_something(*NETWORKS["same"]))
    monkeypatch.setattr(winograd, "DIRECT", True)
    assert winograd.applied(tape, np.dtype("float32")) is tape


@pytest.mark.parametrize(
    "layer",
    [Conv2D(16, 3, 2), Conv2D(16, 5), Conv2D(16, (3, 2)), Conv2D(16, 3, dilation_rate=2),
     Conv2D(16, 3, groups=2)],
    ids=str,
)  # fmt: skip
def test_other_convolutions_are_direct_sums(layer):
    tape = _lowered(after_something((9, 8, 16), layer))
    assert winograd.applied(tape, np.dtype("float32")) is tape


def test_it_is_used_where_it_pays(monkeypatch):
    monkeypatch.undo()

    def uses(side, channels, filters):
        layers = Conv2D(channels, 1), Conv2D(filters, 3, padding="same")
        tape = _lowered(convnet((side, side, 1), *layers), "predict")
        return "winograd" in _names(tape)

    assert uses(16, 64, 64) and uses(20, 24, 48)
    assert not uses(16, 3, 32) and not uses(16, 32, 3)  # transforms would take too long
    assert not uses(3, 64, 64)  # most outputs of the squares would not be needed
    assert not uses(2, 64, 64)


@pytest.mark.parametrize("width", [1, 32])
def test_predictions_keep_no_blocks(width):
    tape = _lowered(after_something(*NETWORKS["same"]), "predict", width)
    made = Program(tape, "float32")
    assert made.tape.phases[0].kind == "units"
    assert not made.keeps_blocks
