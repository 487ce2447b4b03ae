"""MNIST, Fashion-MNIST and CIFAR-10."""

import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml, get_data_home
from sklearn.utils import Bunch

from .files import naming, read_exactly, read_idx, read_npz

SUBSETS = "train", "test", "all"
#: Members of an archive that are looked at.
_MOST_MEMBERS = 100


@dataclass(frozen=True)
class _DataSet:
    """A data set of images with ten classes.

    Attributes
    ----------
    name, about : str
    shape : tuple of int
        Of an image.
    planes : bool
        Whether the original has one plane after the other, each of one color.
    counts : tuple of (list of int)
        How many images of each class there are for training, and for tests.
    openml : int
        Its number at https://www.openml.org, where the images for training come first.
    target_names : tuple of str
    """

    name: str
    about: str
    shape: tuple[int, int, int]
    counts: tuple[list[int], list[int]]
    openml: int
    target_names: tuple[str, ...]
    planes: bool = False

    @property
    def sizes(self):
        """The number of images for training, and for tests."""
        return tuple(map(sum, self.counts))

    def arrays_like(self):
        """Return the shapes of the arrays of a file that holds all of it, by name."""
        return {
            f"{kind}_{part}": (n, *(self.shape if kind == "x" else ()))
            for part, n in zip(("train", "test"), self.sizes, strict=True)
            for kind in "xy"
        }

    def fetch(self, read, *, subset, path, return_X_y, **download):
        """Return the data set; ``read(path, part)`` returns images and labels of the original."""
        if subset not in SUBSETS:
            raise ValueError(f"subset is {subset!r}; expected one of {list(SUBSETS)}.")
        if path is None:
            read, path = self._read_npz, self._cached(**download)
        parts = ("train", "test") if subset == "all" else (subset,)
        found = [self._checked(path, part, *read(Path(path), part)) for part in parts]
        images, labels = (np.concatenate(some) for some in zip(*found, strict=True))
        if return_X_y:
            return images, labels
        return Bunch(
            data=images, target=labels, frame=None, target_names=np.array(self.target_names),
            DESCR=f"{self.name}, {subset}\n\n{self.about}",
        )  # fmt: skip

    def _checked(self, path, part, images, labels):
        """Return images of shape (n, height, width, channels) in uint8, and labels."""
        if len(images) != len(labels):
            raise ValueError(
                f"{path} has {len(images)} images and {len(labels)} labels for {part!r}; expected "
                "as many."
            )
        if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
            raise ValueError(f"{path} has images of {images.dtype}; expected uint8.")
        if len(labels) and not 0 <= labels.min() <= labels.max() < 10:
            strange = labels[(labels < 0) | (labels > 9)][0]
            raise ValueError(f"{path} has the label {strange}; expected numbers from 0 to 9.")
        return images.reshape(-1, *self.shape), labels.astype(np.int64)

    def _read_npz(self, path, part):
        arrays = self.arrays_like()
        names = f"x_{part}", f"y_{part}"
        found = read_npz(path, {name: arrays[name] for name in names})
        return tuple(found[name] for name in names)

    # --- downloads

    def _cached(self, data_home, download_if_missing, n_retries, delay):
        """Return the path of a file with all arrays, downloaded if it does not exist."""
        path = Path(get_data_home(data_home)) / f"sknn_{self.name.lower()}.npz"
        if path.exists():
            return path
        if not download_if_missing:
            raise OSError(f"{path} does not exist, and `download_if_missing` is False.")
        given = fetch_openml(
            data_id=self.openml, data_home=data_home, as_frame=False, n_retries=n_retries,
            delay=delay,
        )  # fmt: skip
        arrays = self._of_openml(given.data, given.target)
        # renamed when it is complete
        with tempfile.TemporaryDirectory(prefix=f"{path.stem}_", dir=path.parent) as folder:
            complete = Path(folder, path.name)
            np.savez_compressed(complete, **arrays)
            os.replace(complete, path)
        return path

    def _of_openml(self, images, labels):
        """Return the arrays to store, given those of OpenML."""
        n, size = sum(self.sizes), int(np.prod(self.shape))
        images, labels = np.asarray(images), np.asarray(labels).astype(np.int64)
        if images.shape != (n, size) or labels.shape != (n,):
            raise ValueError(
                f"OpenML's data {self.openml} has the shape {images.shape}; expected {(n, size)}."
            )
        pixels = images.astype(np.uint8)
        if (pixels != images).any():
            raise ValueError(
                f"OpenML's data {self.openml} has values that are not integers from 0 to 255."
            )
        if self.planes:
            pixels = _without_planes(pixels, self.shape)
        first = self.sizes[0]
        parts = {"train": slice(first), "test": slice(first, None)}
        for rows, counts in zip(parts.values(), self.counts, strict=True):
            if np.bincount(labels[rows], minlength=10).tolist() != counts:
                raise ValueError(
                    f"OpenML's data {self.openml} is not in the order of the original: its first "
                    f"{first} images are not those for training. Give the original as path."
                )
        return {
            name: array
            for part, rows in parts.items()
            for name, array in (
                (f"x_{part}", pixels[rows].reshape(-1, *self.shape)),
                (f"y_{part}", labels[rows].astype(np.uint8)),
            )
        }


def _without_planes(images, shape):
    """Return flat images, one plane of a color after the other, as (n, height, width, channels)."""
    height, width, channels = shape
    planes = images.reshape(-1, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


MNIST = _DataSet(
    "MNIST",
    "Handwritten digits, 28 by 28 pixels in gray: 60,000 for training and 10,000 for tests.\n"
    "LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist.",
    (28, 28, 1),
    (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    554,
    tuple("0123456789"),
)
FASHION_MNIST = _DataSet(
    "Fashion-MNIST",
    "Articles of clothing, 28 by 28 pixels in gray: 60,000 for training and 10,000 for tests.\n"
    "Xiao, Rasul and Vollgraf, 2017, https://github.com/zalandoresearch/fashion-mnist.",
    (28, 28, 1),
    ([6000] * 10, [1000] * 10),
    40996,
    (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ),
)  # fmt: skip
CIFAR10 = _DataSet(
    "CIFAR-10",
    "Photographs, 32 by 32 pixels in color: 50,000 for training and 10,000 for tests.\n"
    "Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html.",
    (32, 32, 3),
    ([5000] * 10, [1000] * 10),
    40927,
    (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    planes=True,
)  # fmt: skip

_PARAMETERS = """\
    Parameters
    ----------
    subset : {{'train', 'test', 'all'}}, default='train'
        Which images: those for training, those for tests, or both, in this order.
    path : path-like, default=None
        {path}
        None: the file in `data_home`, downloaded from https://www.openml.org if it does not
        exist{more}.
    data_home : path-like, default=None
        The folder for downloads; None: that of :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the data if they are not there; otherwise, that is an OSError.
    return_X_y : bool, default=False
        Whether to return only images and labels.
    n_retries : int, default=3
        How often a download is tried again.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        `data`, the images, of shape (n, {shape}) and uint8; `target`, their labels, integers from 0
        to 9; `target_names`, the names of the classes; `DESCR`; `frame`, None.
    (data, target) : tuple
        With `return_X_y`.

    Raises
    ------
    ValueError
        If a file is damaged, or not of the original's kind.
    OSError
        If a file is missing, or cannot be downloaded.
"""


# --- the originals


def _read_mnist(path, part):
    """Return images and labels from a folder with the files of MNIST, or from an .npz file."""
    if not path.is_dir():
        return MNIST._read_npz(path, part)
    shape = MNIST.arrays_like()[f"x_{part}"][:-1]
    prefix = "train" if part == "train" else "t10k"
    images = _existing(path, f"{prefix}-images", "idx3-ubyte")
    labels = _existing(path, f"{prefix}-labels", "idx1-ubyte")
    return read_idx(images, shape), read_idx(labels, shape[:1])


def _existing(folder, name, kind):
    names = [f"{name}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz")]
    for some in names:
        if (folder / some).exists():
            return folder / some
    raise FileNotFoundError(f"{folder} has none of the files {', '.join(names)}.")


def _read_cifar(path, part):
    """Return images and labels from the binary version of CIFAR-10."""
    names = ["test_batch.bin"]
    if part == "train":
        names = [f"data_batch_{i}.bin" for i in range(1, 6)]
    read = _of_folder if path.is_dir() else _of_archive
    found = np.concatenate([_records(name, data) for name, data in read(path, names)])
    return _without_planes(found[:, 1:], CIFAR10.shape), found[:, 0]


#: Bytes of an image with its label, and images in a file.
_RECORD, _RECORDS = 1 + 32 * 32 * 3, 10_000


def _records(name, data):
    if not data or len(data) % _RECORD or len(data) > _RECORD * _RECORDS:
        raise ValueError(
            f"{name} has {len(data)} bytes; expected {_RECORD} for each of at most {_RECORDS} "
            "images."
        )
    return np.frombuffer(data, np.uint8).reshape(-1, _RECORD)


def _of_folder(path, names):
    for name in names:
        if not (path / name).exists():
            inner = path / "cifar-10-batches-bin"
            if (inner / name).exists():
                yield from _of_folder(inner, names)
                return
            raise FileNotFoundError(f"{path} has no {name}.{_pickled(path.iterdir())}")
        with open(path / name, "rb") as file:
            yield path / name, file.read(_RECORD * _RECORDS + 1)


def _of_archive(path, names):
    wanted, seen = {}, []
    with naming(path), tarfile.open(path) as archive:
        for member in archive:
            seen.append(PurePosixPath(member.name))
            if member.isfile() and seen[-1].name in names:
                size = min(member.size, _RECORD * _RECORDS + 1)
                data = read_exactly(archive.extractfile(member), size, f"{path}[{member.name}]")
                wanted[seen[-1].name] = data
            if len(wanted) == len(names) or len(seen) == _MOST_MEMBERS:
                break
    for name in names:
        if name not in wanted:
            raise ValueError(f"{path} has no {name}.{_pickled(seen)}")
        yield f"{path}[{name}]", wanted[name]


def _pickled(paths):
    """Return a sentence on the Python version, if some paths are those of its files."""
    if not any(path.name in ("data_batch_1", "test_batch") for path in paths):
        return ""
    return (
        " These are files of the Python version, which are pickled: loading them could run code. "
        "Give the binary version, cifar-10-binary.tar.gz."
    )


# --- what users call


def _fetcher(name, data, read, summary, path, more=""):
    """Return the public function, named `name`, that fetches a data set."""

    def fetch(
        *, subset="train", path=None, data_home=None, download_if_missing=True, return_X_y=False,
        n_retries=3, delay=1.0,
    ) -> Any:  # fmt: skip
        return data.fetch(
            read, subset=subset, path=path, data_home=data_home,
            download_if_missing=download_if_missing, return_X_y=return_X_y, n_retries=n_retries,
            delay=delay,
        )  # fmt: skip

    shape = ", ".join(map(str, data.shape))
    fetch.__name__ = fetch.__qualname__ = name
    fetch.__doc__ = f"{summary}\n\n{_PARAMETERS.format(path=path, shape=shape, more=more)}"
    return fetch


_IDX = (
    "A folder with the four files of the original, compressed (.gz) or not, or an .npz file with\n"
    "        the arrays x_train, y_train, x_test and y_test."
)

fetch_mnist = _fetcher(
    "fetch_mnist", MNIST, _read_mnist,
    "Load MNIST: handwritten digits, 60,000 for training and 10,000 for tests.", _IDX,
)  # fmt: skip
fetch_fashion_mnist = _fetcher(
    "fetch_fashion_mnist", FASHION_MNIST, _read_mnist,
    "Load Fashion-MNIST: pictures of clothing, 60,000 for training and 10,000 for tests.", _IDX,
)  # fmt: skip
fetch_cifar10 = _fetcher(
    "fetch_cifar10", CIFAR10, _read_cifar,
    "Load CIFAR-10: small photographs of ten kinds, 50,000 for training and 10,000 for tests.",
    "The binary version of the original: cifar-10-binary.tar.gz, or a folder with the\n"
    "        files data_batch_1.bin to data_batch_5.bin and test_batch.bin. The Python\n"
    "        version is not read: it consists of pickles, which could run code.",
    more=", which takes some GB of memory, once",
)  # fmt: skip
