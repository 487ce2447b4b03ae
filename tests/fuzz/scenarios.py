"""Programs of one line: what threads, forks, callbacks and damaged caches do to each other."""

import functools
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

#: What a prediction may raise while another thread refits the estimator.
_BETWEEN_FITS = (ValueError, NotFittedError)


class Finding(AssertionError):
    """Something that should always hold does not: what it is, and details of it."""


def _in_threads(functions):
    """Call functions at the same time; raise what one of them raised."""
    errors = []

    def work(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _answers(net, fits, method):
    """Return for each X what each of the fits gives for it, where it gives anything."""
    answers = [[] for _ in fits]
    for X, y in fits:
        fitted = clone(net).fit(X, y)
        for known, (other, _) in zip(answers, fits):
            try:
                known.append(getattr(fitted, method)(other))
            except _BETWEEN_FITS:
                pass
    return answers


def _equal(one, other):
    if isinstance(one, list):  # of sequences
        return isinstance(other, list) and len(one) == len(other) and all(map(_equal, one, other))
    return np.array_equal(one, other)


def _check_known(answer, known, when):
    if not any(_equal(answer, one) for one in known):
        raise Finding(f"a prediction {when} is that of neither fit")


def predict_beside_refits(net, fits, method="predict", seconds=1.0):
    """Predict in threads while the estimator is refitted to other data."""
    answers = _answers(net, fits, method)
    net.fit(*fits[0])
    end = time.monotonic() + seconds

    def refit():
        while time.monotonic() < end:
            for X, y in fits:
                net.fit(X, y)

    def predict(X, known):
        while time.monotonic() < end:
            try:
                answer = getattr(net, method)(X)
            except _BETWEEN_FITS:
                continue
            _check_known(answer, known, "beside a refit")

    predictions = [
        functools.partial(predict, X, known) for known, (X, _) in zip(answers, fits)
    ]  # fmt: skip
    _in_threads([refit, *predictions])


def predict_in_callbacks(net, fits, method="predict"):
    """Predict with an estimator within its own fits, by way of a callback."""
    answers = _answers(net, fits, method)

    class Predicts:
        def setup(self, estimator, context):
            pass

        teardown = setup

        def on_fit_task_begin(self, estimator, context):
            for (X, _), known in zip(fits, answers):
                try:
                    answer = getattr(net, method)(X)
                except _BETWEEN_FITS:
                    continue
                _check_known(answer, known, "in a callback")

        on_fit_task_end = on_fit_task_begin

    net.set_callbacks(Predicts())
    for X, y in [*fits, fits[0]]:
        net.fit(X, y)


def fit_in_threads(nets, X, y, method="predict"):
    """Fit estimators at the same time; each must learn what it learns alone."""
    alone = [getattr(clone(net).fit(X, y), method)(X) for net in nets]

    def check(net, expected):
        for _ in range(3):
            if not _equal(getattr(clone(net).fit(X, y), method)(X), expected):
                raise Finding("a fit learns something else beside other fits", net)

    _in_threads([functools.partial(check, *pair) for pair in zip(nets, alone)])


def fork_while_fitting(busy, net, X, y, forks=3, patience=20):
    """Fork while a thread fits; the children must fit and predict, and end."""
    expected = clone(net).fit(X, y).predict(X)
    done = threading.Event()

    def fit():
        while not done.is_set():
            clone(busy).fit(X, y)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    try:
        for i in range(forks):
            time.sleep(0.05 + 0.02 * i)
            pid = os.fork()
            if pid == 0:
                same = False
                try:
                    same = np.array_equal(clone(net).fit(X, y).predict(X), expected)
                finally:
                    os._exit(0 if same else 1)
            _expect_end(pid, patience)
    finally:
        done.set()
        thread.join()


def _expect_end(pid, patience):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if status:
                raise Finding("a forked child fails", os.waitstatus_to_exitcode(status))
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise Finding("a forked child hangs")


#: Predicts with a small network, by few kernels.
_PREDICTS = """
import numpy as np
from sknn.tape.sources import Source
from sknn.layers import Activation, Dense
from sknn.tape.losses import Loss
from sknn.engine.network import Network
from sknn.engine.prediction import predict
from sknn.engine.weights import Weights

for dtype in (np.float32, np.float64):
    network = Network((Dense(3), Activation("tanh")), 2, Loss("squared_error", "identity"))
    values = [np.arange(6, dtype=dtype).reshape(2, 3) / 7, np.ones(3, dtype)]
    source = Source(np.random.RandomState(0).normal(size=(40, 2)).astype(dtype))
    print(predict(Weights.of_packed(network, values, np.dtype(dtype)), source, 1).tobytes().hex())
"""


def _predicted(folder):
    done = subprocess.run(
        [sys.executable, "-c", _PREDICTS], capture_output=True, text=True, timeout=100,
        env=os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr[-500:]


@functools.cache
def _filled():
    """Return a folder with kernels, kept for the next processes too, and what they predict."""
    from sknn.cpu.cache import digest

    key = hashlib.sha256((_PREDICTS + digest()).encode()).hexdigest()[:16]
    folder = pathlib.Path(tempfile.gettempdir(), f"sknn-fuzz-{os.getuid()}-{key}")
    if not folder.exists():
        making = tempfile.mkdtemp()
        _predicted(making)
        try:
            os.rename(making, folder)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return folder, _predicted(folder)


def kernels_after(changes):
    """Change a copy of a cache of kernels; a process must compute what it computed before.

    A change is (what, place, where, bytes): place and where, from 0 to 1, say which file and which
    byte. 'swap' puts the file into the next one's place, 'delete' leaves it out.
    """
    from .tools import damage

    folder, expected = _filled()
    with tempfile.TemporaryDirectory() as copied:
        shutil.copytree(folder, copied, dirs_exist_ok=True)
        files = sorted(pathlib.Path(copied).rglob("*.nb*"))
        for what, place, where, given in changes:
            file = files[int(place * len(files))]
            same_kind = [other for other in files if other.suffix == file.suffix]
            if what == "delete":
                file.unlink(missing_ok=True)
            elif not file.exists():
                continue
            elif what == "swap":
                other = same_kind[(same_kind.index(file) + 1) % len(same_kind)]
                shutil.copy(file, other)
            else:
                damage(file, [(what, where, given)])
        code, out, errors = _predicted(copied)
    if code:
        raise Finding("a damaged cache ends a process", code, errors)
    if out != expected[1]:
        raise Finding("a damaged cache changes predictions", out[:60], expected[1][:60])
