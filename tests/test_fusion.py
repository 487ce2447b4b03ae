"""What the CPU makes of a tape: fused operations have the bits of those that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
from reference import run_engine, step_rates
from test_operations import ADAM, make_problem, mlp

from sknn.cpu import fusion
from sknn.engine.lowering import lower, program
from sknn.layers import Activation
from sknn.tape.tape import Op

NET = mlp(10, (17, Activation("tanh")), (33, Activation("relu")), outputs=3)
PROBLEM = make_problem(NET, "float32", 70, weighted=True)


def _tape(solver=ADAM):
    keys = PROBLEM.source.key, PROBLEM.targets.key
    return lower(NET, np.dtype("float32"), 32, "train", *keys, solver)


def _train(solver):
    program.cache_clear()
    p, rates = PROBLEM, step_rates(PROBLEM.weights, PROBLEM.rows, 33)
    made = run_engine(
        NET, "float32", "train", p.values, p.source, p.targets, p.rows, 33, rates,
        solver=solver, weights=p.weights,
    )  # fmt: skip
    program.cache_clear()
    return made.packed.tobytes(), made.raw_states.tobytes(), made.total, made.data_loss


@pytest.mark.parametrize("penalties", [{"l2": 0.1}, {"l1": 0.1, "l2": 0.1, "average": True}])
def test_an_update_that_penalizes_has_the_bits_of_two_passes(penalties, monkeypatch):
    solver = replace(ADAM, **penalties)
    fused = _train(solver)
    monkeypatch.setattr(fusion, "_with_update", lambda chain: chain)
    assert _train(solver) == fused


def _chains(tape):
    return [
        [op.name for op in chain]
        for phase in fusion.fused(tape, "float32").phases
        if phase.kind == "parameters"
        for _, chain in phase.ops
    ]


def test_what_is_between_penalties_and_update_keeps_them_apart():
    assert all("regularized_update" in chain for chain in _chains(_tape()))
    for change in {"clip_value": 1.0}, {"clip_norm": 1.0}:
        chains = _chains(_tape(replace(ADAM, **change)))
        assert not any("regularized_update" in chain for chain in chains)


def _gradients(tape):
    """Return the gradients of matrices, by units, and how many transpositions there are."""
    phases = fusion.fused(tape, "float32").phases
    found = {}
    for parameter, chain in (item for p in phases if p.kind == "parameters" for item in p.ops):
        if len(parameter.shape) == 2:
            found.setdefault(parameter.shape[1], []).append((chain[0].name, chain[0].extent))
    return found, sum(op.name == "pack_samples" for p in phases for op in p.all_ops())


def test_few_units_beyond_whole_vectors_have_gradients_of_their_own():
    narrow = "weight_gradient_narrow", 0
    found, transpositions = _gradients(_tape())
    assert found == {
        17: [("weight_gradient", 1), narrow], 33: [("weight_gradient", 2), narrow], 3: [narrow],
    }  # fmt: skip
    assert transpositions == 2  # those of three units are not needed


def test_gradients_that_are_overwritten_are_read_transposed():
    tape = _tape()
    (loss,) = (op for op in tape.phases[0].ops if op.name == "loss")
    da = loss.writes[0]
    tape.phases[0].ops.append(Op("fill", (), (da,), (3 * 32, 0.0)))
    found, transpositions = _gradients(tape)
    assert found[3] == [("weight_gradient", 0)]
    assert transpositions == 3
