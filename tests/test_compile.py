"""Compilation ahead of time, and the messages about compilation."""

import json
import logging
import subprocess
import sys
import threading
from importlib import metadata

import joblib
import numpy as np
import pytest

import sknn
from sknn import compile as ahead
from sknn.cpu import program
from sknn.engine.devices import DEVICES, HOST
from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.layers import Activation, Dense
from sknn.store.notices import compiling, told_once
from sknn.tape.losses import Loss

ESTIMATORS = [name for name in sknn.__all__ if isinstance(getattr(sknn, name), type)]

pytestmark = pytest.mark.compiles_ahead

#: Runs the inserted statements; prints, after each, what was logged, and how many kernels
#: have been compiled so far.
SCRIPT = """
import json, logging, warnings
import numpy as np
import sknn
from sknn.engine.devices import DEVICES

assert not logging.getLogger().handlers and logging.getLogger("sknn").level == logging.NOTSET
warnings.simplefilter("ignore")
said, steps = [], []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("sknn").addHandler(handler)
logging.getLogger("sknn").setLevel("INFO")

def step(*_):
    steps.append([list(said), DEVICES["cpu"].count_compiled()])
    said.clear()

random_state = np.random.RandomState(0)
X, y = random_state.rand(60, 9), np.arange(60) % 4
{steps}
print(json.dumps(steps))
"""
FIT_AND_PREDICT = """
net = sknn.MLPNetClassifier(5, early_stopping=True, max_iter=2)
step(net.fit(X, y))
step(net.fit(X, y))
step(net.predict(X[:1]))
step(net.predict(X[:2]))
step(net.predict(X))
"""


def run(steps, monkeypatch, folder):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{steps}", steps)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_fit_that_compiles_says_so_once_and_does_it_for_single_rows_too(tmp_path, monkeypatch):
    (said, in_fit), again, one, *more = run(FIT_AND_PREDICT, monkeypatch, tmp_path)
    assert len(said) == 1 and f"They will be kept in {tmp_path}" in said[0]
    assert said[0].startswith("Compiling for this fit: ")
    announced = int(said[0].split()[4])
    assert 10 < announced < in_fit  # without what single rows or validation need
    assert again == one == [[], in_fit]
    before = in_fit
    for said, count in more:  # a few rows, and many: one of them is what validation needed too
        new = f"{count - before} kernel"
        assert [text.split(", about")[0].rstrip("s") for text in said] == (
            [f"Compiling for this prediction: {new}"] if count > before else []
        )
        before = count
    assert before > in_fit
    assert run(FIT_AND_PREDICT, monkeypatch, tmp_path) == [[[], 0]] * 5


def test_workers_of_joblib_leave_single_rows_to_others(monkeypatch):
    looked = []
    monkeypatch.setattr(program, "missing", lambda keys: (looked.append(keys), ([], None))[1])

    def look():
        DEVICES[HOST].compile_ahead([], np.dtype(float))

    joblib.Parallel(2, backend="threading")(joblib.delayed(look)() for _ in range(2))
    assert looked == []
    look()
    assert len(looked) == 1


def test_what_is_told_once(caplog):
    caplog.set_level("INFO", "sknn")

    def tell(what):
        compiling(what, "a folder")

    with told_once("fit"):
        tell("1 kernel")
        with told_once("fit"):  # of a part
            tell("2 kernels")
        tell("3 kernels")
        thread = threading.Thread(target=tell, args=("4 kernels",))
        thread.start()
        thread.join()
    tell("5 kernels")
    compiling("6 kernels", None)
    with pytest.raises(ZeroDivisionError), told_once("fit"):
        raise ZeroDivisionError
    with told_once("fit"):
        tell("7 kernels")
    found = [record.getMessage() for record in caplog.records]
    assert [text.split(" kernel")[0] for text in found] == [
        "Compiling for this fit: 1", "Compiling for this prediction: 4",
        "Compiling for this prediction: 5", "Compiling for this prediction: 6",
        "Compiling for this fit: 7",
    ]  # fmt: skip
    assert "kept in a folder." in found[0] and "No folder" in found[3]
    assert all(record.levelno == logging.INFO for record in caplog.records)


def test_nothing_that_was_compiled_ahead_is_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    command = [sys.executable, "-m", "sknn.compile", "PerceptronClassifier", "--dtype", "float64"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *fits, last = done.stdout.splitlines()
    assert str(tmp_path) in first and last.startswith("Compiled ")
    files = list(tmp_path.rglob("*.kernel"))
    counts = [int(line.split(": ")[2].split()[0]) for line in fits]
    assert int(last.split()[1]) == sum(counts) == len(files) > 20
    steps = """
net = sknn.PerceptronClassifier(max_iter=2)
for n_features in 3, 31:
    for n_classes in 2, 7, 17:
        X = random_state.rand(100, n_features)
        step(net.fit(X, np.arange(100) % n_classes))
        for rows in X, X[:3], X[:1]:
            step(net.predict(rows))
"""
    assert run(steps, monkeypatch, tmp_path) == [[[], 0]] * 24


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_of_all_sizes_are_of_all_sizes(dtype):
    """Whatever layers a network has, it needs no other kernels than a network of these."""

    def keys(sizes, training):
        layers = [layer for n in sizes for layer in (Dense(n), Activation("relu"))]
        layers += [Dense(3), Activation("softmax")]
        network = Network(tuple(layers), 6, Loss("log_loss", "softmax"))
        purpose = "gradient" if training else "predict"
        found = set()
        for width in {32, DEVICES[HOST].packing(dtype).lanes, 1 - training} - {0}:
            tape = lower(network, dtype, width, purpose, ("gather", (dtype, True)))
            found |= set(program.keys_of(tape, dtype))
        return found

    for training in False, True:
        all_sizes = keys(ahead._sizes(dtype), training)
        for n in range(1, 70):
            assert keys((n, n + 7, 3 * n), training) <= all_sizes, n


def test_all_estimators_have_usual_fits(capsys):
    assert sorted(ahead.USUAL) == sorted(ESTIMATORS)
    assert ahead.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(set(listed)) > 100
    found = {tuple(line.split(": ")[0].split(", ")) for line in listed}
    compiled = set(ESTIMATORS) - {"CharMarkovChain"}
    assert found == {(name, dtype) for name in compiled for dtype in ("float32", "float64")}


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"CharMarkovChain"}))
def test_usual_fits_work(name):
    _, *fit = ahead.usual_fits(name, "float32")[-1]
    ahead.use(*fit)
    assert fit[0].__sklearn_is_fitted__() if hasattr(fit[0], "__sklearn_is_fitted__") else True


def test_what_the_command_refuses(capsys, monkeypatch):
    for arguments, expected in {
        "mlpnetclasifier": "no estimator 'mlpnetclasifier'. Did you mean 'MLPNetClassifier'?",
        "something": "There are AutoencoderTransformer, ",
        "MLPNet --dtype float16": "invalid choice: 'float16'",
        "MLPNet --jobs 0": "'0' is not a positive integer.",
    }.items():
        with pytest.raises(SystemExit) as exit:
            ahead.main(arguments.split())
        assert exit.value.code == 2
        assert expected in capsys.readouterr().err
    monkeypatch.setattr(DEVICES[HOST], "kernels_folder", lambda: None)
    assert ahead.main(["MLPNet"]) == 1
    assert "no writable folder" in capsys.readouterr().err


def test_a_usual_fit_that_fails_fails_the_command(capsys, monkeypatch):
    rows = np.zeros((3, 2))

    def usual(cls, dtype):
        yield "good", cls(max_iter=1), rows, [0, 1, 0]
        yield "bad", cls(max_iter=0), rows, [0, 1, 0]

    monkeypatch.setitem(ahead.USUAL, "PerceptronClassifier", usual)
    assert ahead.main(["PerceptronClassifier", "--dtype", "float64", "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("Compiled ")
    assert "float64: bad: InvalidParameterError" in err and "1 of 2 fits failed" in err


def test_the_version_is_that_of_the_package():
    assert sknn.__version__ == metadata.version("sknn")
