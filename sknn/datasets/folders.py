"""A folder of images, read a batch at a time."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

#: What to write to install Pillow.
_EXTRA = 'load_image_folder needs Pillow: pip install "sknn[images]"'
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
#: What is read, by the ends of names and by what files contain: Pillow would run other programs
#: for some other formats.
_ENDINGS = {
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
}  # fmt: skip
_FORMATS = ["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"]


def load_image_folder(path, *, image_shape=None, mode="RGB", return_X_y=False) -> Any:
    """Load a folder with a subfolder of images for each class; images are read when needed.

    Parameters
    ----------
    path : path-like
        The folder. The names of its subfolders, sorted, are the classes. Images may lie in folders
        below these, too. Files that are not named as images are skipped: BMP, GIF, JPEG, PNG, PPM,
        TIFF and WebP are read. So are files and folders whose names begin with a dot.
    image_shape : tuple (height, width), default=None
        The size that images are resized to, by bilinear interpolation, without keeping their
        proportions. None: the size of the first image, which all others must have as well.
    mode : {'RGB', 'L', 'RGBA'}, default='RGB'
        Channels: three colors, gray, or three colors and opacity. Palettes are resolved; 16 bits
        per value are reduced to the upper 8; transparency is dropped unless the mode is 'RGBA'.
    return_X_y : bool, default=False
        Whether to return only images and labels.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        `data`, :class:`~sknn.datasets.folders.LazyImages` of shape (n_samples, height, width,
        channels); `target`, the index of each image's class; `target_names`, the names of the
        classes; `filenames`; `DESCR`; `frame`, None.
    (data, target) : tuple
        With `return_X_y`.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If there are no images. Errors in a file are raised when it is read: they name the file.

    Notes
    -----
    Estimators read a few megabytes of images at a time, and the next ones while they compute, in
    `fit` as well as in predictions, with the results of an array in memory. Each epoch reads all
    images again: where this takes longer than the computation, and there is enough memory,
    ``np.asarray(data.data)`` reads them once. `train_test_split` and searches do so with their
    parts.

    Values are from 0 to 255. :class:`~sknn.layers.BatchNormalization` as the first layer scales
    them, and stays with the model.

    Images are turned as their EXIF orientation says. Of several frames, the first is read. An image
    with more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` is an error.

    Examples
    --------
    >>> from sknn import ConvNetClassifier
    >>> from sknn.datasets import load_image_folder
    >>> pets = load_image_folder("pets", image_shape=(64, 64))  # doctest: +SKIP
    >>> net = ConvNetClassifier().fit(pets.data, pets.target)  # doctest: +SKIP
    """
    _pillow()
    if mode not in _CHANNELS:
        raise ValueError(f"mode is {mode!r}; expected one of {list(_CHANNELS)}.")
    path = Path(path)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder; expected one with a folder per class.")
    classes = sorted(one.name for one in path.iterdir() if one.is_dir() and one.name[0] != ".")
    files, labels = [], []
    for i, name in enumerate(classes):
        found = _images_below(path / name)
        if not found:
            raise ValueError(f"The folder {path / name} has no images.")
        files += found
        labels += [i] * len(found)
    if not files:
        raise ValueError(f"{path} has no folders of images; expected one for each class.")
    images = LazyImages(files, _size(image_shape, files[0], mode), mode, image_shape is not None)
    target = np.array(labels, np.int64)
    if return_X_y:
        return images, target
    return Bunch(
        data=images, target=target, target_names=np.array(classes), filenames=np.array(files),
        frame=None, DESCR=f"{len(files)} images of {len(classes)} classes in {path}",
    )  # fmt: skip


class LazyImages:
    """Images in files, as an array that is read when it is indexed.

    Parameters
    ----------
    files : list of str
    size : tuple (height, width)
    mode : {'RGB', 'L', 'RGBA'}
    resize : bool
        Whether to resize images; otherwise, those of another size are errors.

    Attributes
    ----------
    shape : tuple
        (n_images, height, width, channels)
    dtype : dtype
        uint8
    ndim : int
        4
    """

    ndim, dtype = 4, np.dtype(np.uint8)

    def __init__(self, files, size, mode, resize):
        self._files, self._size, self._mode, self._resize = files, size, mode, resize
        self.shape = len(files), *size, _CHANNELS[mode]

    def __len__(self):
        return len(self._files)

    def __repr__(self):
        return f"<{type(self).__name__} of shape {self.shape}>"

    def __getitem__(self, key):
        """Return some images as an array.

        Parameters
        ----------
        key : int, slice, or array-like of int or bool of shape (n,)
        """
        places = np.arange(len(self))[key]
        if not isinstance(places, np.ndarray):
            return self._read(self._files[places])
        if places.ndim != 1:
            raise IndexError("Images are indexed by one slice, or one list of numbers.")
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        for i, place in enumerate(places):
            out[i] = self._read(self._files[place])
        return out

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("Images are read to a new array, which copy=False forbids.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, file):
        image = _opened(file, self._mode)
        height, width = self._size
        if image.size != (width, height):
            if not self._resize:
                raise ValueError(
                    f"{file} is an image of {image.size[1]}x{image.size[0]} pixels; expected "
                    f"{height}x{width}, as the first one: image_shape resizes them."
                )
            image = image.resize((width, height), _pillow().Resampling.BILINEAR)
        return np.asarray(image).reshape(self.shape[1:])


def _pillow():
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(_EXTRA) from None
    return Image


def _images_below(folder):
    """Return the files of images in a folder and those below it, sorted."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        found += [
            os.path.join(where, name)
            for name in names
            if name[0] != "." and os.path.splitext(name)[1].lower() in _ENDINGS
        ]
    return sorted(found)


def _size(image_shape, first, mode):
    """Return height and width: those given, or those of the first image."""
    if image_shape is None:
        width, height = _opened(first, mode).size
        return height, width
    shape = tuple(image_shape) if np.iterable(image_shape) else ()
    if len(shape) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"image_shape is {image_shape!r}; expected (height, width), at least 1.")
    return tuple(map(int, shape))


def _opened(file, mode):
    """Return an image, upright and in a mode."""
    Image = _pillow()
    from PIL import ImageOps

    try:
        with Image.open(file, formats=_FORMATS) as image:
            most = Image.MAX_IMAGE_PIXELS
            if most is not None and image.size[0] * image.size[1] > most:
                raise ValueError(f"it has {image.size[1]}x{image.size[0]} pixels, more than {most}")
            return _converted(Image, ImageOps.exif_transpose(image), mode)
    except (MemoryError, FileNotFoundError):
        raise
    except Exception as error:  # of any kind: what decoders raise depends on the format
        raise ValueError(f"{file} cannot be read as an image: {error}") from error


def _converted(Image, image, mode):
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers")
    if image.mode.startswith("I"):  # Pillow would clip what is above 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() >= 2**16:
            raise ValueError("its values have more than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)
