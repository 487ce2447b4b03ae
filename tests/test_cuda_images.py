"""Convolutions, pools and normalisation on CUDA's kernels, in the emulator, by their definitions.

Kernels are compiled once for all shapes: what is left to check is where each number comes from.
"""

from dataclasses import replace

import numpy as np
import pytest
from emulated_driver import EmulatedCUDA, run_on
from emulator import needs_emulator
from reference import Executor, step_rates
from test_convolution import CONVOLUTIONS, LAYERS, TRANSPOSES, after_something
from test_operations import ADAM, TOLERANCE, assert_close, make_problem

from sknn.engine.lowering import lower

pytestmark = needs_emulator
GPU = EmulatedCUDA(threads=32, single=True)
#: The same bits are due from each of these.
GPUS = [
    EmulatedCUDA(threads=32, groups=2, single=True),
    EmulatedCUDA(threads=64, groups=3, order="backward", single=True),
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
        )  # fmt: skip
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


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    check(after_something(*CONVOLUTIONS[name]))


@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposed_convolutions(name):
    check(after_something(*TRANSPOSES[name]))


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    check(LAYERS[name])

