"""Fixtures and settings for all tests."""

import gc
import os
import sys

import pytest

# In parallel runs, a process uses one thread unless a test asks for more: they would only wait
# for each other. It changes no bit. joblib, which says how many cores there are, reads it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--device", choices=("emulated", "cuda"), default="emulated",
        help="what tests of CUDA's kernels run on: the emulator, or a GPU",
    )  # fmt: skip


def pytest_configure(config):
    os.environ["SKNN_TEST_DEVICE"] = config.getoption("--device")


def pytest_collection_finish():
    """Exclude imported objects from garbage collection, which thousands of tests trigger."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def interrupts_of_their_own():
    """Make each test's first interrupt count as the first, however soon after another test's."""
    if (interrupts := sys.modules.get("sknn.engine.interrupts")) is not None:
        interrupts.forget()


@pytest.fixture(autouse=True)
def nothing_compiled_ahead(request, monkeypatch):
    """Leave out the kernels for single rows that fits compile, unless a test is about them."""
    if "compiles_ahead" not in request.keywords:
        for name in "sknn.estimator.net", "sknn.feedforward.perceptron":
            if name in sys.modules:
                monkeypatch.setattr(f"{name}.compile_ahead", lambda *args: None)
