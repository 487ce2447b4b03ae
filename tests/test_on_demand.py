"""X that is read on demand: memory maps, Zarr and Dask arrays, array-likes, and folders of images.

Networks have the same bits as those fitted to the same data in memory.
"""

import _thread
import errno
import subprocess
import sys
import tempfile
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from emulator import needs_emulator
from sklearn.preprocessing import StandardScaler
from trial_gpu import TrialGPU

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetTransformer,
    MLPNetClassifier,
    MLPNetRegressor,
    PerceptronClassifier,
    RBFNetClassifier,
    ReconstructionOutlierDetector,
    RNNClassifier,
    SequenceAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)
from sknn.cpu.session import Session
from sknn.engine import prediction
from sknn.engine.devices import DEVICES
from sknn.layers import Conv2D, Dropout, Flatten
from sknn.tape import on_demand
from sknn.tape.on_demand import OnDemand, ahead, read_on_demand
from sknn.tape.sources import ClassNumbers, Source

da, zarr = pytest.importorskip("dask.array"), pytest.importorskip("zarr")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(300, 11))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
WEIGHTS = RANDOM.uniform(size=300)
IMAGES = RANDOM.randint(0, 256, (200, 8, 8, 1)).astype(np.uint8)
STEPS = RANDOM.normal(size=(120, 5, 3)).astype(np.float32)


class Lazy:
    """An array-like with no more than it needs; `before` is called with each index."""

    def __init__(self, array, before=lambda rows: None):
        self._array, self._before = array, before
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows):
        self._before(rows)
        return self._array[rows]


def mapped(array, folder):
    path = folder / "x.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def zarr_of(array):
    return zarr.array(array, chunks=(70, *array.shape[1:]))


def dask_of(array):
    return da.from_array(array, chunks=(40, *(-(-n // 2) for n in array.shape[1:])))


@pytest.fixture
def small_windows(monkeypatch):
    """Make windows so small that the data of these tests need several."""
    monkeypatch.setattr(on_demand, "WINDOW", 2000)
    monkeypatch.setattr(on_demand, "MOST_MAPPED", 0)


@pytest.fixture
def windows(small_windows, monkeypatch):
    """Count the windows that sessions have read."""
    counted, take = [], Source.take

    def counting(self, rows):
        counted.append(len(rows))
        return take(self, rows)

    monkeypatch.setattr(Source, "take", counting)
    return counted


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [t for t in threading.enumerate() if t.name.startswith("sknn-reading")]


def learned(net, X):
    """Return what a fit has learned, and what it predicts."""
    if isinstance(net, (MLPNetClassifier, MLPNetRegressor)):
        values = [*net.coefs_, *net.intercepts_]
    else:
        values = [v for part in net.weights_.values() for v in part.values()]
    names = "loss_curve_", "validation_loss_curve_", "validation_scores_", "errors_"
    curves = [np.array(getattr(net, name, None), float) for name in names]
    methods = "predict_proba", "predict", "transform", "reconstruct", "score_samples"
    outputs = [getattr(net, name)(X) for name in methods if hasattr(net, name)]
    return [*values, *curves, *outputs]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


TEN = {"max_iter": 3, "random_state": 0}
DENSE = {
    "plain": {},
    "dropout, threads": {"dropout": 0.3, "n_jobs": 2, "batch_size": 64},
    "early stopping": {"early_stopping": True, "average": True},
    "by a scorer": {"early_stopping": True, "scoring": "neg_log_loss"},
    "in order": {"shuffle": False, "solver": "sgd", "momentum": 0.9},
    "L-BFGS": {"solver": "lbfgs"},
}


@pytest.mark.parametrize("params", DENSE.values(), ids=DENSE)
@pytest.mark.parametrize("kind", ["zarr", "dask", "memmap", "array-like"])
def test_dense_networks(windows, tmp_path, params, kind):
    def fitted(data):
        return MLPNetClassifier((9,), **TEN | params).fit(data, Y, WEIGHTS)

    make = {"zarr": zarr_of, "dask": dask_of, "array-like": Lazy}
    data = mapped(X, tmp_path) if kind == "memmap" else make[kind](X)
    net = fitted(data)
    assert len(windows) > 3
    expected = fitted(X)
    assert_same(learned(net, data), learned(expected, X))
    assert net.score(data, da.from_array(Y)) == expected.score(X, Y)


def convnet(**params):
    layers = [Conv2D(3, 3, activation="relu"), Flatten(), Dropout(0.4)]
    return ConvNetClassifier(layers, **TEN | params)


OTHERS = {
    "images": (lambda: convnet(early_stopping=True), IMAGES, True),
    "rows of images": (lambda: convnet(image_shape=(8, 8)), IMAGES.reshape(200, 64), True),
    "regression": (
        lambda: MLPNetRegressor(hidden_layer_sizes=(9,), early_stopping=True, **TEN), X, True,
    ),
    "sequences": (lambda: RNNClassifier(hidden_size=5, early_stopping=True, **TEN), STEPS, True),
    "padded sequences": (lambda: RNNClassifier(hidden_size=5, mask_value=0, **TEN), STEPS, True),
    "tokens": (
        lambda: RNNClassifier(hidden_size=5, embedding=3, **TEN), IMAGES[:, :, 0, 0] % 9, True,
    ),
    "radial": (lambda: RBFNetClassifier(10, random_state=0), X, True),
    "trained radial": (lambda: RBFNetClassifier(10, solver="adam", **TEN), X, True),
    "autoencoder": (
        lambda: AutoencoderTransformer((6, 3), pretrain_epochs=1, noise=0.1, **TEN), X, False,
    ),
    "of images": (
        lambda: ConvAutoencoderTransformer(loss="log_loss", noise=0.1, **TEN), IMAGES / 255, False,
    ),
    "variational": (
        lambda: VariationalAutoencoderTransformer(2, (9,), early_stopping=True, **TEN), X, False,
    ),
    "of sequences": (
        lambda: SequenceAutoencoderTransformer(4, early_stopping=True, **TEN), STEPS, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks(windows, name):
    make, data, labeled = OTHERS[name]
    y = [np.arange(len(data)) % 3] if labeled else []
    expected = learned(make().fit(data, *y), data)
    windows.clear()
    for lazy in zarr_of(data), Lazy(data):
        assert_same(learned(make().fit(lazy, *y), lazy), expected)
    assert windows or name in ("padded sequences", "tokens")  # which are read as a whole


def test_a_perceptron(small_windows):
    nets = [PerceptronClassifier(random_state=0, max_iter=3) for _ in range(3)]
    for net, data in zip(nets, (X, zarr_of(X), Lazy(X))):
        net.fit(data, Y, WEIGHTS)
        assert net.loss_curve_ == nets[0].loss_curve_
        np.testing.assert_array_equal(net.coef_, nets[0].coef_)
        np.testing.assert_array_equal(net.predict(data), nets[0].predict(X))


@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">f8", "i2", "?", "u1"])
def test_types(small_windows, tmp_path, dtype):
    data = (X * 3).astype(dtype)
    nets = [
        MLPNetClassifier((9,), **TEN).fit(some, Y)
        for some in (data, mapped(data, tmp_path), zarr_of(data), Lazy(data))
    ]
    for net in nets[1:]:
        assert_same(learned(net, data), learned(nets[0], data))


def test_layouts_of_memory_maps(small_windows, tmp_path):
    """Views of maps are maps, too: in Fortran's order, backward, channels first, without a type."""
    channels = mapped(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)), tmp_path)
    lazy = read_on_demand(channels.transpose(0, 2, 3, 1))
    assert isinstance(lazy, OnDemand)
    np.testing.assert_array_equal(lazy[::7], IMAGES[::7])
    data = mapped(np.asfortranarray(X), tmp_path)
    for some in data[::-1], np.asarray(data)[::2, 1:]:
        assert isinstance(read_on_demand(some), OnDemand)
        nets = [MLPNetClassifier((9,), **TEN).fit(x, Y[: len(some)]) for x in (some, some.copy())]
        assert_same(*(learned(net, some) for net in nets))


def test_partial_fits_and_warm_starts(small_windows):
    nets = [
        MLPNetClassifier((9,), warm_start=True, **TEN).partial_fit(data, Y, classes=[0, 1, 2])
        .fit(data, Y, X_val=data, y_val=Y)
        for data in (X, zarr_of(X), Lazy(X))
    ]  # fmt: skip
    for net in nets[1:]:
        assert_same(learned(net, X), learned(nets[0], X))


def test_clean_targets(small_windows):
    nets = [
        AutoencoderTransformer(3, **TEN).fit(noisy, X_clean=clean, X_val=noisy, X_val_clean=clean)
        for noisy, clean in ((X + 1, X), (zarr_of(X + 1), Lazy(X)), (X + 1, dask_of(X)))
    ]
    for net in nets[1:]:
        assert_same(learned(net, X), learned(nets[0], X))


def test_of_other_estimators(small_windows):
    net = convnet().fit(IMAGES, np.arange(200) % 3)
    lazy = zarr_of(IMAGES)
    codes = [ConvNetTransformer(net).fit(some).transform(some) for some in (IMAGES, lazy)]
    np.testing.assert_array_equal(*codes)
    np.testing.assert_array_equal(net.activations(lazy), net.activations(IMAGES))
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(3, **TEN))
    scores = [detector.fit(some).decision_function(some) for some in (X, Lazy(X))]
    np.testing.assert_array_equal(*scores)


def test_steps_larger_than_a_window(windows, monkeypatch):
    """Rows that are evaluated are cut; losses are added up in the order of an uncut step."""
    monkeypatch.setattr(prediction, "CHUNK", 64)
    parts, part = [], Session._part_of_step
    monkeypatch.setattr(Session, "_part_of_step", lambda s, *a: (parts.append(a), part(s, *a)))
    params = {"early_stopping": True, "validation_fraction": 0.5, "batch_size": 20}
    counts = []
    lazy = Lazy(X, lambda rows: counts.append(len(X[rows])))
    nets = [MLPNetClassifier((9,), **TEN | params).fit(data, Y) for data in (X, lazy)]
    assert parts and max(counts) <= 32
    assert_same(*(learned(net, X) for net in nets))


def test_small_arrays_are_read_at_once():
    for data in zarr_of(X), dask_of(X), Lazy(X):
        found = read_on_demand(data)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, X)
    assert read_on_demand(Lazy(X[:0])).shape == (0, 11)


def test_memory_maps_that_fit_in_memory(tmp_path, monkeypatch):
    """They are read in place, unless the engine would have to copy them."""
    monkeypatch.setattr(on_demand, "WINDOW", 2000)
    for data in mapped(X, tmp_path), mapped(X, tmp_path).T, mapped(IMAGES, tmp_path):
        assert read_on_demand(data) is data
        monkeypatch.setattr(on_demand, "MOST_MAPPED", data.nbytes - 1)
        assert isinstance(read_on_demand(data), OnDemand)
        monkeypatch.setattr(on_demand, "MOST_MAPPED", data.nbytes)
    half, swapped = (mapped(X.astype(dtype), tmp_path) for dtype in ("f2", ">f8"))
    for data in half, swapped, mapped(IMAGES, tmp_path)[:, 1:]:
        assert isinstance(read_on_demand(data), OnDemand)


def test_what_is_not_read_on_demand(small_windows):
    frame, of_another_library = pd.DataFrame(X), Lazy(X)
    of_another_library.dtype = "torch.float32"
    others = X, X.tolist(), frame, frame[0], sp.csr_array(X), Lazy(X.astype(str)), Lazy(X[:, 0])
    for data in (*others, of_another_library):
        assert read_on_demand(data) is data
    assert StandardScaler().fit_transform(zarr_of(X)).shape == X.shape


# --- reading


def test_a_window_is_read_while_the_one_before_is_used():
    begun, reading = threading.Event(), []

    def read(i):
        reading.append(threading.current_thread().name)
        if i:
            begun.set()
        return i

    found = ahead(read, 3)
    assert next(found) == 0
    assert begun.wait(10)  # while we have window 0
    assert list(found) == [1, 2] and all(name.startswith("sknn-reading") for name in reading)
    assert list(ahead(read, 0)) == []


def test_chunks_are_read_once(small_windows, tmp_path, monkeypatch):
    """Chunked arrays are copied to a file without a name; predictions need no copy."""
    class Counting(Lazy):
        chunks = (70, 11)

    rows, files = [], []
    made = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **k: files.append(made(**k)) or files[-1])
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    data = Counting(X, rows.append)
    net = MLPNetClassifier((9,), **TEN).fit(data, Y)
    ends = [0, 70, 140, 210, 280, 300]
    pieces = [slice(a, b) for a, b in zip(ends, ends[1:])]
    assert rows == pieces
    assert len(files) == 1 and not list(tmp_path.iterdir())
    rows.clear()
    net.predict(data)
    assert rows == pieces and len(files) == 1


def test_pieces_of_chunks():
    """Small chunks are read together; rows in any order come from the pieces that have them."""
    lazy = OnDemand(on_demand._Read(zarr.array(X, chunks=(7, 4))), X.shape)
    assert lazy._rows.bounds.tolist() == [0, 300]
    for rows in RANDOM.permutation(300)[:90], np.array([5, 5, 299, 0]), np.arange(20, 60):
        np.testing.assert_array_equal(lazy.read(rows), X[rows])
        np.testing.assert_array_equal(lazy.part(rows)[1:3], X[rows[1:3]])
    for strange in [300], [-1]:
        with pytest.raises(IndexError):
            lazy.read(np.array(strange))
    assert (lazy.min(), lazy.max()) == (X.min(), X.max())
    np.testing.assert_array_equal(np.asarray(lazy), X)
    alone = on_demand._Read(zarr.array(X, chunks=(1, 11)))
    assert alone.bounds is None  # any row can be read by itself
    for data in IMAGES, X:
        rows, chunks = RANDOM.permutation(200)[:90], (1, *data.shape[1:])
        for made in zarr.array(data, chunks=chunks), da.from_array(data, chunks=chunks):
            np.testing.assert_array_equal(on_demand._Read(made).read(rows), data[rows])


def test_no_space_for_the_copy(small_windows, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **kwargs: Full())
    with pytest.raises(OSError, match="No space left on device: X is copied to .* TMPDIR"):
        MLPNetClassifier((9,), **TEN).fit(zarr_of(X), Y)


def test_columns_of_tokens_are_checked_in_each_window(small_windows):
    source = Source(OnDemand(on_demand._Read(Lazy(IMAGES[:, :, 0, 0])), (200, 8)))
    source.check_tokens({(0, 8): range(250)})
    with pytest.raises(ValueError, match="X has the token 25[0-5]"):
        source.take(np.arange(200))


@pytest.mark.parametrize("kind", ["dense", "Fortran", "sparse", "classes"])
def test_rows_of_sources(kind):
    rows = RANDOM.randint(0, 300, 50)
    if kind == "classes":
        assert ClassNumbers(Y).take(rows).numbers.tolist() == Y[rows].tolist()
        return
    matrix = {"dense": X, "Fortran": np.asfortranarray(X), "sparse": sp.csr_array(X)}[kind]
    source = Source(matrix)
    taken = source.take(rows)
    assert taken.key == source.key and taken.n_rows == 50
    found = taken.matrix
    np.testing.assert_array_equal(found.toarray() if kind == "sparse" else found, X[rows])


# --- what can go wrong


def at(n, what):
    """Return a function that does something when it is called for the `n`-th time."""
    calls = []

    def before(rows):
        calls.append(rows)
        if len(calls) == n:
            what()

    return before


def fail():
    raise OSError("the disk is gone")


@pytest.mark.parametrize("n", [1, 2, 9, 20])
def test_errors_of_reading_end_the_fit(small_windows, n):
    net = MLPNetClassifier((9,), **TEN).fit(X, Y)
    before = learned(net, X)
    with pytest.raises(OSError, match="the disk is gone"):
        net.fit(Lazy(X, at(n, fail)), Y)
    assert_same(learned(net, X), before)
    with pytest.raises(OSError, match="the disk is gone"):
        net.predict(Lazy(X, at(min(n, 9), fail)))


class Strange(Lazy):
    """An array-like that gives something else from the `n`-th time on."""

    def __init__(self, array, change, n):
        super().__init__(array)
        self._change, self._left = change, n

    def __getitem__(self, rows):
        self._left -= 1
        found = self._array[rows]
        return found if self._left > 0 else self._change(found.copy())


def spoiled(found):
    found[-1, 3] = np.nan
    return found


STRANGE = {
    "fewer rows": (lambda found: found[:-1], "gave rows of the shape"),
    "fewer columns": (lambda found: found[:, 1:], "gave rows of the shape"),
    "another type": (lambda found: found.astype(np.float32), "and dtype float32; expected"),
    "text": (lambda found: found.astype(str), "expected"),
    "nothing": (lambda found: None, "expected"),
    "NaN": (spoiled, "Input X contains NaN, in row"),
}


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("name", STRANGE)
def test_each_window_is_checked(small_windows, name, n):
    change, told = STRANGE[name]
    with pytest.raises(ValueError, match=told):
        MLPNetClassifier((9,), **TEN).fit(Strange(X, change, n), Y)


def test_an_interrupt_while_rows_are_read(small_windows):
    net = MLPNetClassifier((9,), random_state=0, max_iter=50, n_iter_no_change=99)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(Lazy(X, at(100, _thread.interrupt_main)), Y)
    assert 1 <= net.n_iter_ < 50 and net.predict(X).shape == Y.shape


def test_invalid_data(small_windows):
    net = MLPNetClassifier((9,), **TEN)
    spoiled = X.copy()
    spoiled[200, 3] = np.inf
    for make in zarr_of, Lazy:
        with pytest.raises(ValueError, match="Input X contains infinity, in row 200"):
            net.fit(make(spoiled), Y)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            net.fit(make(X), Y[:-1])
        with pytest.raises(ValueError, match="with dim 4"):
            net.fit(make(IMAGES), Y[:200])
        with pytest.raises(ValueError, match="requires y to be passed"):
            net.fit(make(X), None)
    net.fit(X, Y)
    with pytest.raises(ValueError, match="X has 10 features, but .* is expecting 11"):
        net.predict(zarr_of(X[:, 1:]))
    with pytest.raises(ValueError, match="images of 8 x 7 x 1"):
        convnet().fit(IMAGES, np.arange(200) % 3).predict(zarr_of(IMAGES[:, :, 1:]))
    with pytest.raises(ValueError, match="loss='log_loss' needs values in"):
        ConvAutoencoderTransformer(loss="log_loss", **TEN).fit(zarr_of(IMAGES))


# --- memory, and GPUs


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's counts of memory")
def test_memory_is_bounded(tmp_path):
    """Fits to 256 MiB, with early stopping, and predictions, take less than half of that more."""
    code = """
        import sys, threading, time
        import numpy as np, zarr
        from sknn import MLPNetRegressor
        from sknn.tape import on_demand

        on_demand.MOST_MAPPED = 0  # as if there were less memory

        n, folder = 2**18, sys.argv[1]
        some = np.random.default_rng(0).normal(size=(4096, 256)).astype(np.float32)
        y = np.arange(n) % 2
        net = MLPNetRegressor(
            hidden_layer_sizes=(4,), max_iter=1, batch_size=4096, early_stopping=True
        )
        net.fit(some, y[:4096]).predict(some)  # compiles
        mapped = np.lib.format.open_memmap(folder + "/x.npy", "w+", np.float32, (n, 256))
        chunked = zarr.create_array(folder + "/z", shape=(n, 256), dtype="f4", chunks=(1024, 256))
        for X in mapped, chunked:
            for i in range(0, n, 2**15):
                X[i : i + 4096] = some

        def used():  # without files that are mapped
            with open("/proc/self/status") as file:
                line = next(line for line in file if line.startswith("RssAnon"))
            return int(line.split()[1]) / 1024

        def rise(run):
            before, seen, done = used(), [], threading.Event()

            def watch():
                while not done.wait(0.002):
                    seen.append(used())

            thread = threading.Thread(target=watch)
            thread.start()
            run()
            done.set()
            thread.join()
            return max(seen) - before

        for X in mapped, chunked:
            print(rise(lambda: net.fit(X, y).predict(X)))
        print(rise(lambda: net.fit(np.array(X[:]), y)))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    of_map, of_zarr, in_memory = map(float, done.stdout.split())
    assert max(of_map, of_zarr) < 128 < 250 < in_memory


@needs_emulator
@pytest.mark.parametrize("params", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_on_a_gpu(small_windows, monkeypatch, params):
    monkeypatch.setitem(DEVICES, "cuda", TrialGPU(single=True))
    monkeypatch.setattr("sknn.cuda.session._SPAN_BYTES", 6000)
    nets = [
        MLPNetClassifier((9,), batch_size=64, device="cuda", **TEN | params).fit(data, Y, WEIGHTS)
        for data in (X, zarr_of(X), Lazy(X))
    ]
    expected = learned(nets[0], X)
    for net in nets[1:]:
        assert_same(learned(net, Lazy(X)), expected)
