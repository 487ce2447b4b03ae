"""X is not copied: fitting and predicting need memory for a batch, not for all the data.

Each case runs in its own process, whose peak of resident memory is reset after a first
small fit has loaded all the code.
"""

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import sys
import warnings
import numpy as np
import scipy.sparse as sp
from sknn import MLPNetClassifier, MLPNetRegressor

warnings.simplefilter("ignore")

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))

def set_back():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

try:
    set_back()
    peak()
except (OSError, StopIteration):
    print("unknown")
    sys.exit()

random_state = np.random.RandomState(0)
"""

END = """
set_back()
before = peak()
act(X)
print(peak() - before)
"""


def growth(script):
    """Return by how many MiB ``act(X)`` raises the peak; the script defines `act` and X."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(script) + END],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "unknown":
        pytest.skip("the system does not tell the peak of resident memory, or set it back")
    return float(done.stdout)


FITS = {
    "uint8": "X",
    "bool, Fortran": "np.asfortranarray(X > 7)",
    "float64": "X.astype(float)",
}


@pytest.mark.parametrize("kind", FITS)
def test_fit_holds_no_second_copy(kind):
    grown = growth(f"""
        X = random_state.randint(0, 16, (40_000, 700), dtype=np.uint8)
        y = X[:, 0] % 4
        X = {FITS[kind]}

        def act(X):
            MLPNetClassifier((20,), dtype="float32", max_iter=1).fit(X, y[: len(X)])

        act(X[:300])
        """)
    as_float32 = 40_000 * 700 * 4 / 2**20
    assert grown < as_float32 / 2


def test_lbfgs_goes_over_chunks():
    grown = growth("""
        X = random_state.randint(0, 16, (40_000, 300), dtype=np.uint8)
        y = X[:, 0].astype(float)

        def act(X):
            net = MLPNetRegressor(hidden_layer_sizes=(50,), solver="lbfgs", max_iter=2)
            net.fit(X, y[: len(X)])

        act(X[:300])
        """)
    # X as float64 is 92 MiB, the hidden layer of all rows 15
    assert grown < 92 / 2


@pytest.mark.parametrize("cls", ["MLPNetClassifier", "MLPNetRegressor"])
def test_predict_is_bounded(cls):
    grown = growth(f"""
        X = random_state.randint(0, 16, (400_000, 50), dtype=np.uint8)
        net = {cls}(hidden_layer_sizes=(300,), max_iter=1).fit(X[:300], X[:300, 0] % 2)

        def act(X):
            net.predict(X)

        act(X[:20_000])
        """)
    # X as float64 is 153 MiB, the hidden layer of all rows 915
    assert grown < 40


@pytest.mark.parametrize(
    "form, solver", [("csr_array", "adam"), ("csc_array", "adam"), ("csr_array", "lbfgs")]
)
def test_sparse_data_are_never_dense_as_a_whole(form, solver):
    grown = growth(f"""
        X = sp.random_array((20_000, 20_000), density=1e-4, format="csr", rng=0)
        X = sp.{form}(X)
        y = np.arange(20_000) % 3

        def act(X):
            # every thread holds a block of 32 dense rows, so that all cores might be too many
            net = MLPNetClassifier((5,), solver="{solver}", max_iter=1, n_jobs=2)
            net.fit(X, y[: X.shape[0]]).predict(X)

        act(X[:300])
        """)
    # all of it is 3052 MiB, a batch of 200 rows 31
    assert grown < 100
