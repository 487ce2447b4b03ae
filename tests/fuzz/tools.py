"""Helpers for the programs' data: short names for arrays of every kind, good and bad.

``from tests.fuzz.tools import *`` is all that a program needs.
"""

import copy
import os
import pathlib
import pickle
import tempfile

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import clone

import sknn
from sknn import *  # noqa: F403
from sknn.layers import *  # noqa: F403

from .scenarios import (
    Finding,
    fit_in_threads,
    fork_while_fitting,
    kernels_after,
    predict_beside_refits,
    predict_in_callbacks,
)

__all__ = [
    "JOBS", *sknn.__all__, *sknn.layers.__all__, "clone", "copy", "corrupted", "damage", "deep",
    "fit_in_threads", "fork_while_fitting", "images", "kernels_after", "laid_out", "np", "os",
    "pathlib", "pickle", "predict_beside_refits", "predict_in_callbacks", "ragged", "same_shapes",
    "shortened", "sknn", "sp", "sparse", "steps", "table", "twice_coded", "weights_file",
]  # fmt: skip

#: The number of threads; the fuzzer runs a program again with another.
JOBS = 1


def table(n, width, dtype="float64", layout="C", put=None, seed=0):
    """Return n rows of numbers, of a type and a layout; `put` is one of the numbers."""
    numbers = np.random.RandomState(seed).uniform(-2, 2, size=(n, width))
    if np.dtype(dtype).kind in "ui":
        numbers = np.abs(numbers * 4)  # tokens, too
    with np.errstate(all="ignore"):
        numbers = numbers.astype(dtype)
        if put is not None and numbers.size:
            numbers.flat[numbers.size // 2] = put
    return laid_out(numbers, layout)


def laid_out(numbers, layout):
    """Return an array in another memory layout, or in another container."""
    if layout == "strided":
        numbers = np.repeat(np.repeat(numbers, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "negative":
        numbers = numbers[::-1, ::-1].copy()[::-1, ::-1]
    elif layout == "readonly":
        numbers.flags.writeable = False
    elif layout == "broadcast":
        numbers = np.broadcast_to(numbers[:1], numbers.shape)
    elif layout == "unaligned":
        raw = np.empty(numbers.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(numbers.tobytes(), np.uint8)
        numbers = raw[1:].view(numbers.dtype).reshape(numbers.shape)
    elif layout == "memmap":
        with tempfile.TemporaryFile() as file:
            mapped = np.memmap(file, numbers.dtype, shape=numbers.shape)
            mapped[:] = numbers
            numbers = mapped
    others = {
        "C": np.asarray, "F": np.asfortranarray, "list": np.ndarray.tolist, "matrix": np.asmatrix,
        "masked": np.ma.masked_invalid, "frame": pd.DataFrame,
        "series": lambda rows: pd.Series(list(rows)),
    }  # fmt: skip
    return others.get(layout, lambda same: same)(numbers)


def images(n, *shape, **kwargs):
    """Return n images."""
    return np.asarray(table(n, int(np.prod(shape)), **kwargs)).reshape(n, *shape)


def steps(n, time, features, **kwargs):
    """Return n sequences of one length."""
    return images(n, time, features, **kwargs)


def ragged(lengths, features=None, **kwargs):
    """Return a list of sequences, of numbers or of rows of them."""
    parts = [table(length, features or 1, **kwargs) for length in lengths]
    return parts if features else [np.asarray(part).reshape(-1) for part in parts]


def sparse(numbers, form="csr_array", index="int32"):
    """Return a sparse array or matrix, with indices of a type where it has any."""
    made = getattr(sp, form)(np.where(np.asarray(numbers) > 0, numbers, 0))
    for name in ("indices", "indptr", "row", "col"):
        if hasattr(made, name):
            setattr(made, name, getattr(made, name).astype(index))
    return made


def corrupted(matrix, part, place, value):
    """Return a sparse matrix one of whose numbers is wrong."""
    getattr(matrix, part)[place] = value
    return matrix


def shortened(matrix, part):
    """Return a sparse matrix one of whose arrays is too short."""
    setattr(matrix, part, getattr(matrix, part)[:-1])
    return matrix


def deep(depth, layer):
    """Return a layer within so many Sequential."""
    for _ in range(depth):
        layer = sknn.layers.Sequential([layer])
    return layer


def weights_file(net):
    """Return the path of a file with the weights of a network."""
    handle, path = tempfile.mkstemp(".safetensors", dir=".")
    os.close(handle)
    net.save_weights(path)
    return pathlib.Path(path)


def damage(path, changes):
    """Change a file: each change is what to do, where (0 to 1), and with which bytes."""
    content = bytearray(pathlib.Path(path).read_bytes())
    for what, where, given in changes:
        place = int(where * len(content))
        if what == "flip" and content:
            content[min(place, len(content) - 1)] ^= given[0] or 1
        elif what == "truncate":
            del content[place:]
        else:
            content[place : place + (len(given) if what == "overwrite" else 0)] = given
    pathlib.Path(path).write_bytes(content)


def same_shapes(net, other):
    """Check that two networks' weights have the same shapes."""
    shapes = [
        {(layer, name): value.shape for layer, values in some.weights_.items()
         for name, value in values.items()}
        for some in (net, other)
    ]  # fmt: skip
    if shapes[0] != shapes[1]:
        raise Finding("a file changes the shapes of weights", *shapes)


def twice_coded(net, X):
    """Check that reconstructions are the decoded codes."""
    whole, parts = net.reconstruct(X), net.inverse_transform(net.transform(X))
    if not np.allclose(whole, parts, rtol=1e-4, atol=1e-5):
        raise Finding("reconstruct(X) is not inverse_transform(transform(X))")
    return whole
