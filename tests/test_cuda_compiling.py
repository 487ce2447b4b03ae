"""The compiler's report on CUDA kernels: registers, memory, precision. No GPU is needed."""

import importlib.util

import pytest
from numba.core import types

from sknn.cuda.kernels import run
from sknn.cuda.kernels.frame import KERNELS, Target

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("needs the extra cuda12 or cuda13", allow_module_level=True)

from sknn.cuda import compiling
from sknn.cuda.kernels.words import cuda_words

CAPABILITIES = (8, 0), (9, 0)
#: Registers of a multiprocessor, and of a thread at most.
REGISTERS = 65536, 255
#: A variant of each operation that has some: the one that does most.
VARIANTS = {
    "activation": ("gelu",), "activation_gradient": ("gelu",), "add": (True,), "collect": (True,),
    "contraction": ("softplus",), "dropout": (True,), "gru_after_gradient": (True,),
    "gru_gradient": (True,),
    "loss": ("log_loss", False), "lstm_gradient": (True,), "normalize": (True,),
    "normalize_gradient": (True,), "normalize_running": (True,), "normalize_sums": (True,),
    "parametric_activation": ("gelu",), "parametric_activation_gradient": ("gelu", False),
    "radial": ("thin_plate",), "radial_gradient": ("thin_plate",), "regularize": (True, True),
    "simple_rnn": ("tanh",), "simple_rnn_gradient": ("tanh", True), "update": ("nadam",),
    "upsample": (True,), "upsample_gradient": (True,), "weight_gradient": (True, False),
}  # fmt: skip
#: A dense network's, as a walk, which has more registers in use than each of them alone.
DENSE = (
    "activation", "activation_gradient", "bias_gradient", "collect", "dense",
    "dense_input_gradient", "gather", "log_loss_softmax", "pack_samples", "regularize", "softmax",
    "update", "weigh", "weight_gradient",
)  # fmt: skip


def reports(make, n_arguments, threads, name):
    kernel = make()  # the functions that it calls are then typed once
    return [compiling.report(lambda: kernel, n_arguments, c, threads, name) for c in CAPABILITIES]


def check(report, threads, groups=1):
    """Check that a kernel keeps to registers, and to single precision."""
    assert (report.stack, report.spills, report.calls, report.float64) == (0, 0, 0, 0)
    assert report.shared == 0  # all of it is asked for at a launch
    assert report.registers <= REGISTERS[1]
    assert report.registers * threads * groups <= REGISTERS[0]


@pytest.mark.parametrize("name", [name for name in KERNELS if name not in DENSE])
def test_operations_keep_to_registers(name):
    target = Target(cuda_words(), types.float32, 32, 128)
    variant = VARIANTS.get(name, ())
    for report in reports(lambda: run.single(target, name, variant), 3, 128, name):
        check(report, 128, groups=2)


@pytest.mark.parametrize("name", ["dense", "weight_gradient", "convolution", "kernel_gradient"])
def test_wide_products_keep_to_registers(name):
    target = Target(cuda_words(), types.float32, 128, 256)
    for report in reports(lambda: run.single(target, name, ()), 3, 256, name):
        check(report, 256)
        assert "ld.shared.v4.f32" in report.ptx and "fma.rn.f32" in report.ptx
    assert target.scratch * 4 <= 48 * 1024


def test_a_walk_keeps_to_registers():
    target = Target(cuda_words(), types.float32, 32, 128)
    operations = [(name, VARIANTS.get(name, ())) for name in DENSE]
    for report in reports(lambda: run.walk(target, operations), 1, 128, "walk"):
        check(report, 128, groups=2)
        assert "membar" in report.ptx or "fence" in report.ptx


def test_double_precision_is_there_where_it_is_asked_for():
    target = Target(cuda_words(), types.float64, 32, 128)
    report = compiling.report(lambda: run.single(target, "dense", ()), 3, (9, 0), 128, "dense")
    assert report.float64 > 100 and report.spills == 0
