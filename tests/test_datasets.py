"""Data sets: the files of the originals, downloads (not made here), and folders of images."""

import gzip
import io
import pickle
import struct
import sys
import tarfile
import tracemalloc
import warnings
import zipfile
from hashlib import sha256

import numpy as np
import pytest
from sklearn.datasets import _base
from sklearn.utils import Bunch

from sknn import CharRNN, ConvNetClassifier
from sknn.datasets import (
    fetch_cifar10,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_tiny_shakespeare,
    images,
    load_image_folder,
    text,
)
from sknn.tape import on_demand

PIL = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RANDOM = np.random.RandomState(0)
DIGITS = RANDOM.randint(0, 256, (30, 28, 28)).astype(np.uint8), np.arange(30) % 10
PHOTOS = RANDOM.randint(0, 256, (60, 32, 32, 3)).astype(np.uint8), np.arange(60) % 10


def idx(array):
    """Return an array of uint8 in the format of MNIST's files."""
    array = np.asarray(array, np.uint8)
    return struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape) + array.tobytes()


def put_mnist(folder, X=DIGITS[0], y=DIGITS[1], packed=False, mark="-"):
    for part, rows in {"train": slice(20), "t10k": slice(20, 30)}.items():
        for kind, array in {f"images{mark}idx3": X, f"labels{mark}idx1": y}.items():
            name, data = f"{part}-{kind}-ubyte", idx(array[rows])
            if packed:
                name, data = f"{name}.gz", gzip.compress(data)
            (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("form", ["idx", "idx.gz", "npz of rows", "npz"])
@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist])
def test_mnist_from_files(tmp_path, fetch, form):
    X, y = DIGITS
    path = put_mnist(tmp_path, packed=form == "idx.gz", mark="." if form == "idx.gz" else "-")
    if form.startswith("npz"):
        path = tmp_path / "mnist.npz"
        flat = X.reshape(30, -1) if form == "npz of rows" else X
        upper = {"X_train": flat[:20], "X_test": flat[20:]}
        np.savez(path, **upper, y_train=y[:20], y_test=y[20:].astype(np.uint8))
    for subset, rows in {"train": slice(20), "test": slice(20, 30), "all": slice(30)}.items():
        found = fetch(path=path, subset=subset)
        assert found.data.shape == (len(y[rows]), 28, 28, 1) and found.data.dtype == np.uint8
        np.testing.assert_array_equal(found.data[..., 0], X[rows])
        np.testing.assert_array_equal(found.target, y[rows])
        assert len(found.target_names) == 10 and found.frame is None and "60,000" in found.DESCR
    X_train, y_train = fetch(path=path, return_X_y=True)
    assert len(X_train) == len(y_train) == 20


def put_cifar(folder, inner=""):
    X, y = PHOTOS
    records = np.column_stack([y, X.transpose(0, 3, 1, 2).reshape(60, -1)]).astype(np.uint8)
    (folder / inner).mkdir(exist_ok=True)
    for i in range(6):
        name = "test_batch.bin" if i == 5 else f"data_batch_{i + 1}.bin"
        (folder / inner / name).write_bytes(records[10 * i : 10 * i + 10].tobytes())
    return folder


@pytest.mark.parametrize("form", ["folder", "folder in it", "archive"])
def test_cifar_from_files(tmp_path, form):
    path = put_cifar(tmp_path, "cifar-10-batches-bin" if form == "folder in it" else "")
    if form == "archive":
        path = tmp_path / "cifar-10-binary.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file in sorted(tmp_path.glob("*.bin")):
                archive.add(file, f"cifar-10-batches-bin/{file.name}")
    for subset, rows in {"train": slice(50), "test": slice(50, 60)}.items():
        found = fetch_cifar10(path=path, subset=subset)
        np.testing.assert_array_equal(found.data, PHOTOS[0][rows])
        np.testing.assert_array_equal(found.target, PHOTOS[1][rows])
    assert found.target_names[3] == "cat"


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("import sys; sys.modules['ran'] = sys",)


def test_pickles_are_refused(tmp_path):
    harm = pickle.dumps(Runs())
    for name in "data_batch_1", "test_batch":
        (tmp_path / name).write_bytes(harm)
    with pytest.raises(FileNotFoundError, match="pickled.*binary version"):
        fetch_cifar10(path=tmp_path)
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "data_batch_1", "cifar-10-batches-py/data_batch_1")
    with pytest.raises(ValueError, match="pickled.*binary version"):
        fetch_cifar10(path=archive)
    objects = np.array([Runs()], object)
    np.savez(tmp_path / "mnist.npz", x_train=objects, y_train=objects)
    with pytest.raises(ValueError, match="dtype object; expected integers"):
        fetch_mnist(path=tmp_path / "mnist.npz")
    assert "ran" not in sys.modules


def damaged():
    """Yield names and contents of files that promise, or hold, something else than images."""
    good = idx(DIGITS[0][:20])
    huge = struct.pack(">4i", 0x803, 60_000, 28, 28)
    yield "truncated", good[:-5], "truncated: it has 15675 bytes of 15680"
    yield "no header", good[:9], "damaged"
    yield "another format", b"\x89PNG" + good[4:], "expected 2051"
    yield "too many", struct.pack(">4i", 0x803, 2**31 - 1, 28, 28), "expected .60000, 28, 28"
    yield "other images", struct.pack(">4i", 0x803, 1, 2**31 - 1, 28), "expected .60000, 28, 28"
    yield "negative", struct.pack(">4i", 0x803, -1, 28, 28), "expected .60000, 28, 28"
    yield "promises", huge, "truncated: it has 0 bytes"
    yield "goes on", good + b"0", "goes on"


@pytest.mark.parametrize(
    ("content", "told"), [some[1:] for some in damaged()], ids=[some[0] for some in damaged()]
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_errors(tmp_path, content, told, packed):
    put_mnist(tmp_path, packed=packed)
    name = "train-images-idx3-ubyte" + ".gz" * packed
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=told) as error:
        fetch_mnist(path=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 4e6  # not what headers promise
    tracemalloc.stop()
    assert name in str(error.value)


def test_damaged_archives_are_errors(tmp_path):
    put_mnist(tmp_path, packed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged: Compressed file ended"):
        fetch_mnist(path=tmp_path)
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is damaged: Not a gzipped file"):
        fetch_mnist(path=tmp_path)
    for name in "mnist.npz", "cifar.tar.gz":
        (tmp_path / name).write_bytes(b"PK\3\4 no archive")
    with pytest.raises(ValueError, match="is damaged: File is not a zip"):
        fetch_mnist(path=tmp_path / "mnist.npz")
    with pytest.raises(ValueError, match="is damaged"):
        fetch_cifar10(path=tmp_path / "cifar.tar.gz")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"PK\1\2-\3-", b"PK\1\2-\3\x99"),  # a later version of the format
        (b"'shape': (20,", b"'shape': (20 "),
        (b"\x93NUMPY", b"\x93NUMPI"),
    ],
)
def test_damaged_headers_name_the_file(tmp_path, monkeypatch, old, new):
    np.savez(tmp_path / "mnist.npz", x_train=DIGITS[0][:20], y_train=DIGITS[1][:20])
    content = (tmp_path / "mnist.npz").read_bytes()
    assert old in content
    (tmp_path / "mnist.npz").write_bytes(content.replace(old, new))
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc", lambda *_: None)  # as if it were right
    with pytest.raises(ValueError, match="mnist.npz.* is damaged"):
        fetch_mnist(path=tmp_path / "mnist.npz")


@pytest.mark.parametrize("shape", [(2**40, 784), (10, 2**40), (10,), (0, 784), ()])
def test_npz_files_that_promise_too_much(tmp_path, shape):
    out = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x_train.npy", out.getvalue())
        file.writestr("y_train.npy", out.getvalue())
    with pytest.raises(ValueError, match="expected .60000, 28, 28"):
        fetch_mnist(path=tmp_path / "x.npz")


def test_labels_and_images_must_match(tmp_path):
    X, y = DIGITS
    put_mnist(tmp_path, X, y + 1)
    with pytest.raises(ValueError, match="label 10; expected numbers from 0 to 9"):
        fetch_mnist(path=tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(y[:19]))
    with pytest.raises(ValueError, match="20 images and 19 labels"):
        fetch_mnist(path=tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels"):
        fetch_mnist(path=tmp_path)
    with pytest.raises(ValueError, match="subset is 'valid'; expected one of"):
        fetch_mnist(path=tmp_path, subset="valid")
    put_cifar(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(b"0" * 3072)
    with pytest.raises(ValueError, match="data_batch_2.bin has 3072 bytes; expected 3073 for each"):
        fetch_cifar10(path=tmp_path)


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist, fetch_cifar10])
def test_downloads_are_cached(tmp_path, monkeypatch, fetch):
    """A stand-in for OpenML, in its form: floats in rows, labels as str."""
    name = fetch.__name__.removeprefix("fetch_").upper()
    known, counts = getattr(images, name), ([2] * 10, [1] * 10)
    monkeypatch.setitem(vars(known), "counts", counts)  # of 30 images, not 70,000
    X = RANDOM.randint(0, 256, (30, np.prod(known.shape))).astype(float)
    y, asked = np.r_[np.arange(20) % 10, np.arange(10)].astype(str), []

    def fetch_openml(**params):
        asked.append(params)
        return Bunch(data=X, target=y)

    monkeypatch.setattr(images, "fetch_openml", fetch_openml)
    with pytest.raises(OSError, match="`download_if_missing` is False"):
        fetch(data_home=tmp_path, download_if_missing=False)
    for _ in range(2):
        found = fetch(data_home=tmp_path, subset="all")
    assert len(asked) == 1 and asked[0]["data_id"] == known.openml
    assert [file.suffix for file in tmp_path.iterdir()] == [".npz"]
    expected = X.reshape(30, *known.shape)
    if known.planes:
        expected = X.reshape(30, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found.data, expected)
    np.testing.assert_array_equal(found.target, y.astype(int))
    assert len(fetch(data_home=tmp_path, subset="test").data) == 10
    next(tmp_path.iterdir()).unlink()
    y[0] = "1"
    with pytest.raises(ValueError, match="not in the order of the original"):
        fetch(data_home=tmp_path)
    X[3, 3] = 0.5
    with pytest.raises(ValueError, match="not integers from 0 to 255"):
        fetch(data_home=tmp_path)
    assert not list(tmp_path.iterdir())  # nothing that is incomplete


def test_a_corpus(tmp_path, monkeypatch):
    play = "ROMEO:\nIs the day so young?\n" * 40
    for name, data in {"a.txt": play.encode(), "a.txt.gz": gzip.compress(play.encode())}.items():
        (tmp_path / name).write_bytes(data)
        assert fetch_tiny_shakespeare(path=tmp_path / name).data == play
    corpus = fetch_tiny_shakespeare(path=tmp_path / "a.txt")
    CharRNN(hidden_size=4, max_iter=1, random_state=0).fit(corpus.data)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="b.txt is not text in UTF-8"):
        fetch_tiny_shakespeare(path=tmp_path / "b.txt")
    monkeypatch.setattr(text, "_MOST", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        fetch_tiny_shakespeare(path=tmp_path / "a.txt.gz")


def test_the_corpus_is_downloaded_once_and_compared(tmp_path, monkeypatch):
    """The server is a stand-in; scikit-learn's `fetch_file` is not."""
    served, asked = b"a play", []

    def urlretrieve(address, path):
        asked.append(address)
        path.write_bytes(served)

    monkeypatch.setattr(_base, "urlretrieve", urlretrieve)
    with pytest.raises(OSError, match="is False"):
        fetch_tiny_shakespeare(data_home=tmp_path, download_if_missing=False)
    with pytest.raises(OSError, match="SHA256 checksum"):
        fetch_tiny_shakespeare(data_home=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(text, "_SHA256", sha256(served).hexdigest())
    for _ in range(2):
        assert fetch_tiny_shakespeare(data_home=tmp_path).data == "a play"
    assert len(asked) == 2 and all("karpathy" in address for address in asked)


# --- folders of images


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """A folder of red and blue images in several formats, and what is not one of them."""
    folder = tmp_path_factory.mktemp("images")
    for name, color in {"red": (250, 10, 10), "blue": (10, 10, 250)}.items():
        (folder / name / "more").mkdir(parents=True)
        for i, ending in enumerate(("png", "bmp", "jpg", "webp", "tiff", "ppm")):
            made = np.full((8, 10, 3), color) + RANDOM.randint(-5, 6, (8, 10, 3))
            place = folder / name / ("more" if i == 3 else "") / f"{i}.{ending}"
            PIL.fromarray(made.astype(np.uint8)).save(place)
        (folder / name / "notes.txt").write_text("no image")
        (folder / name / ".hidden.png").write_text("no image")
    (folder / ".cache").mkdir()
    return folder


def test_a_folder_of_images(colors):
    found = load_image_folder(colors)
    X = found.data
    assert X.shape == (12, 8, 10, 3) and X.dtype == np.uint8 and X.ndim == 4 and len(X) == 12
    assert found.target.tolist() == [0] * 6 + [1] * 6
    assert list(found.target_names) == ["blue", "red"]
    assert [name.rsplit(".")[-1] for name in found.filenames[:3]] == ["png", "bmp", "jpg"]
    whole = np.asarray(X)
    assert (whole[:6, ..., 2] > 200).all() and (whole[6:, ..., 0] > 200).all()
    for key in slice(2, 9, 3), [5, 1, 1], np.arange(12) % 2 == 0, np.array([-1]), 7, -2:
        np.testing.assert_array_equal(X[key], whole[key])
    for key in 12, [12], (0, 1):
        with pytest.raises(IndexError):
            X[key]
    y = load_image_folder(colors, return_X_y=True)[1]
    np.testing.assert_array_equal(y, found.target)


@pytest.mark.parametrize("window", [2**23, 300])
def test_a_network_reads_a_folder(colors, monkeypatch, window):
    monkeypatch.setattr(on_demand, "WINDOW", window)  # some five images
    X, y = load_image_folder(colors, image_shape=(4, 5), return_X_y=True)
    params = {"max_iter": 3, "random_state": 0, "batch_size": 3, "early_stopping": True}
    nets = [
        ConvNetClassifier([], validation_fraction=0.4, **params).fit(some, y)
        for some in (X, np.asarray(X))
    ]
    assert nets[0].validation_loss_curve_ == nets[1].validation_loss_curve_
    np.testing.assert_array_equal(nets[0].predict_proba(X), nets[1].predict_proba(np.asarray(X)))
    assert nets[0].image_shape_ == (4, 5, 3)


def one_image(folder, image, name="a.png", **settings):
    place = folder / "class" / name
    place.parent.mkdir(exist_ok=True)
    image.save(place, **settings)
    return place


def gray(values, dtype=np.uint8):
    return PIL.fromarray(np.array(values, dtype))


def test_modes_of_images(tmp_path):
    """Palettes, transparency, 16 bits and one bit, in each mode."""
    clear = PIL.fromarray(np.array([[[200, 100, 50, 0], [10, 20, 30, 255]]], np.uint8), "RGBA")
    palette = PIL.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([9, 9, 9, 200, 200, 200])
    cases = [
        (gray([[0, 255]]), [[[0] * 3, [255] * 3]]),
        (gray([[0, 65535, 32768]], np.uint16), [[[0] * 3, [255] * 3, [128] * 3]]),
        (gray([[False, True]], bool), [[[0] * 3, [255] * 3]]),
        (clear, [[[200, 100, 50], [10, 20, 30]]]),
        (palette, [[[9] * 3, [200] * 3]]),
    ]
    for image, expected in cases:
        one_image(tmp_path, image)
        np.testing.assert_array_equal(load_image_folder(tmp_path).data[0], expected)
        assert load_image_folder(tmp_path, mode="L").data[0].shape == (*np.shape(expected)[:2], 1)
    one_image(tmp_path, clear)
    assert load_image_folder(tmp_path, mode="RGBA").data[0][..., 3].tolist() == [[0, 255]]
    one_image(tmp_path, palette, transparency=0)
    assert load_image_folder(tmp_path, mode="RGBA").data[0][..., 3].tolist() == [[0, 255]]


def test_orientation_and_size(tmp_path):
    image = gray(np.arange(6).reshape(2, 3) * 40)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    one_image(tmp_path, image, exif=exif)
    found = load_image_folder(tmp_path, mode="L").data
    np.testing.assert_array_equal(found[0][..., 0], np.rot90(np.asarray(image), -1))
    one_image(tmp_path, gray(np.zeros((5, 5))), "b.png")
    with pytest.raises(ValueError, match="b.png is an image of 5x5 pixels; expected 3x2"):
        load_image_folder(tmp_path).data[:]
    assert load_image_folder(tmp_path, image_shape=(4, 7)).data[:].shape == (2, 4, 7, 3)


def test_damaged_images_are_named(tmp_path, monkeypatch):
    good = one_image(tmp_path, gray(RANDOM.randint(0, 255, (40, 40))))
    data = good.read_bytes()
    bad = good.with_name("b.png")
    for content in data[:-200], data[:20], b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"text":
        bad.write_bytes(content)
        X = load_image_folder(tmp_path).data  # files are read later
        with pytest.raises(ValueError, match="b.png cannot be read as an image"):
            X[:]
        for window in 2**23, 1000:
            monkeypatch.setattr(on_demand, "WINDOW", window)
            with pytest.raises(ValueError, match="b.png cannot be read as an image"):
                ConvNetClassifier([]).fit(X, [0, 1])
    bad.unlink()
    with pytest.raises(FileNotFoundError):
        X[:]
    floats = one_image(tmp_path, gray([[0.5]], np.float32), "b.tiff")
    with pytest.raises(ValueError, match="floating-point"):
        load_image_folder(tmp_path, image_shape=(40, 40)).data[:]
    floats.unlink()
    for most in 1599, 700:  # Pillow only warns of the first
        monkeypatch.setattr(PIL, "MAX_IMAGE_PIXELS", most)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.DecompressionBombWarning)
            with pytest.raises(ValueError, match="a.png cannot be read as an image: .* pixels"):
                load_image_folder(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        load_image_folder(tmp_path / "none")
    gray([[1]]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="no folders of images; expected one for each class"):
        load_image_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        load_image_folder(tmp_path)
    (tmp_path / "empty").rmdir()
    for wrong in 8, (8,), (0, 4), (4.5, 4), (4, 4, 3):
        one_image(tmp_path, gray([[1]]))
        with pytest.raises(ValueError, match="expected .height, width."):
            load_image_folder(tmp_path, image_shape=wrong)
    with pytest.raises(ValueError, match="mode is 'HSV'; expected one of"):
        load_image_folder(tmp_path, mode="HSV")


def test_without_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "sknn\[images\]"'):
        load_image_folder(tmp_path)
