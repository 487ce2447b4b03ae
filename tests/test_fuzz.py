"""A fixed subset of ``python -m tests.fuzz``, and tests of the faults that it detects."""

import pytest

pytest.importorskip("resource", reason="needs POSIX limits and signals")
pytest.importorskip("safetensors")

from fuzz.known import KNOWN
from fuzz.session import KINDS, Worker, program
from fuzz.shrink import shrink

#: How many cases of each kind: some seconds of each.
CASES = {
    "known": len(KNOWN), "estimators": 80, "calls": 40, "networks": 80, "texts": 40, "threads": 6,
    "weights": 40, "kernels": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    with Worker() as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found(worker, kind):
    found = []
    for number in range(CASES[kind]):
        source = program(kind, number)
        verdict = worker.run(source, KINDS[kind][1])
        if verdict is not None:
            found.append(f"# {kind} {number}: {verdict}\n{source}")
    assert not found, "\n".join(found)


PLANTED = {
    "crash": "os.kill(os.getpid(), 11)",
    "hang": "while True: pass",
    "KeyError": "sknn.cpu.program.kernel('nothing', np.dtype(float), 32)",
    "by accident: TypeError": "sknn.engine.devices.DEVICES['cpu'].packing('float64').width('a')",
    "finding": "fit_in_threads([MLPNetRegressor(max_iter=1)], table(9, 2), np.arange(9))",
    "depends on threads or history": "JOBS + 1",
    "NaN or infinity": "est = MLPNet()\nest.predict = lambda X: np.full(1, np.nan)\nest.predict(3)",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_wrong_is_seen(worker, kind):
    verdict = worker.run_once(PLANTED[kind] + "\n", 3)
    assert verdict is not None and verdict.kind == kind


def test_what_is_fine_is_not_a_finding(worker):
    source = "est = MLPNetRegressor(max_iter=1, random_state=0, n_jobs=JOBS)\nX0 = table(9, 2)\n"
    source += "est.fit(X0, np.arange(9))\nest.predict(X0)\nest.predict(X0[:, :1])\n"
    assert worker.run(source, 60) is None


def test_programs_are_the_same_for_the_same_numbers():
    for kind in KINDS:
        assert program(kind, 7, seed=3) == program(kind, 7, seed=3)
        assert kind == "known" or program(kind, 7, seed=3) != program(kind, 7, seed=4)


def test_shrinking_keeps_what_matters():
    source = "a = 1\nb = f(1, g([2, 3]), x=4)\nc = h(b)\n"
    assert shrink(source, lambda shorter: "3" in shorter) == "b = [3]\n"
