"""Objects in safetensors files: arrays as tensors, everything else as JSON in the header.

:func:`write` replaces a file in one step, so that there always is a whole one, the old or the new;
:func:`read` checks it. The ``__metadata__`` of the header has the `kind` of the file, its version,
that of the package, the object as a JSON tree (see :mod:`~sknn.files.codec`), and a SHA-256
checksum of the whole file but itself, since safetensors has none. The same state makes the same
bytes.

The format is written and read here rather than by the library safetensors, which can neither write
several metadata in the same order every time nor read a file without mapping or copying it; so no
extra is needed. What is read is bounded by the size of the file: its content, one copy of each
array, and the tree, which takes at most some 30 bytes of memory for each of the header's.
"""

import hashlib
import io
import json
import os
import re
import stat
import sys
from math import prod

import numpy as np

from .codec import DTYPES, decode, encode
from .safetensors import kind_of
from .writing import replace

#: Versions of the format that are read; the last one is written.
VERSIONS = (1,)
#: The longest header, as in the library safetensors.
_LONGEST_HEADER = 100_000_000
_CHECKSUM = re.compile(rb'"checksum":"([0-9a-f]{64})"')
_NAMES = {name: kind for kind, name in DTYPES.items()}


def write(path, obj, kind, new=False):
    """Write an object to a file, which replaces an existing one only when it is complete.

    Parameters
    ----------
    path : str or path-like
    obj : object
        What :func:`~sknn.files.codec.encode` takes.
    kind : str
        What the file holds, such as 'model'; :func:`read` wants the same.
    new : bool
        Whether an existing file is an error, FileExistsError.

    Raises
    ------
    TypeError, ValueError
        If the object cannot be stored; nothing is written.
    OSError
        If the file cannot be written; an existing one is unchanged.
    """
    replace(path, pack(obj, kind), new)


def read(path, kind):
    """Return the object of a file that :func:`write` wrote.

    Raises
    ------
    ValueError
        If it is another kind of file, or truncated, altered, or of a newer version; the message
        begins with the path.
    OSError
        If the file cannot be read.
    """
    path = os.fsdecode(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is not a regular file; expected a file of sknn.")
    with open(path, "rb") as file:
        try:
            return _read(file, kind)
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error


def pack(obj, kind):
    """Return the content of a file, as a list of bytes."""
    return packed(*encode(obj), kind)


def packed(tree, tensors, kind):
    """Return the content of a file of an encoded object, as a list of bytes."""
    package = sys.modules[__name__.partition(".")[0]]
    header = {
        "__metadata__": {
            "format": f"sknn {kind}",
            "version": str(VERSIONS[-1]),
            "sknn": package.__version__,
            "checksum": "0" * 64,
            "state": json.dumps(tree, allow_nan=False, separators=(",", ":")),
        }
    }
    # the largest items first, so that each is aligned
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    end, parts = 0, []
    for name in order:
        array = tensors[name]
        begin, end = end, end + array.nbytes
        about = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape)}
        header[name] = about | {"data_offsets": [begin, end]}
        parts.append(array.reshape(-1).view(np.uint8).data)  # no copy
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"Its state takes {len(text)} bytes besides arrays; too long for a file.")
    start = len(text).to_bytes(8, "little") + text
    begin, end = _CHECKSUM.search(start).span(1)
    start = start[:begin] + _checksum(start, parts) + start[end:]
    return [start, *parts]


def unpack(data, kind):
    """Return the object of a file's content; a ValueError continues '<path> ...'."""
    return _read(io.BytesIO(data), kind)


def _read(file, kind):
    """Return the object of an open file. Only what has the right header is read to its end."""
    start = file.read(8)
    size = int.from_bytes(start, "little")
    text = file.read(size) if size <= _LONGEST_HEADER else b""
    expected = f"expected a file of the format 'sknn {kind}'"
    if not text.startswith(b"{"):
        what = kind_of(start) or "no safetensors file, or its start is damaged"
        raise ValueError(f"is {what}; {expected}.")
    if len(text) < size:
        raise ValueError("is truncated: its header is incomplete.")
    try:
        header = json.loads(text)
        about = header.pop("__metadata__", {})
        form, version, package = (about.get(name) for name in ("format", "version", "sknn"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise ValueError("is damaged: its header is no JSON of a safetensors file.") from None
    if form != f"sknn {kind}":
        what, more = f"a file of the format {form!r:.100}", ""
        if not isinstance(form, str) or not form.startswith("sknn "):
            what = "a safetensors file, but none of sknn"
            more = " Weights alone are read by load_weights."
        raise ValueError(f"is {what}; {expected}.{more}")
    _check_version(version, package)
    content = file.read()
    fields = list(_CHECKSUM.finditer(text))
    if len(fields) != 1 or fields[0][1] != _checksum(start + text, [content]):
        raise ValueError("is truncated or altered: its checksum does not match.")
    try:
        return decode(json.loads(about["state"]), _tensors(header, memoryview(content)))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"has no valid state, though its checksum matches: {error}. It was not written by this "
            "package, or not by this version."
        ) from error


def _checksum(start, parts):
    """Return the checksum of a file that begins with `start`, where that is taken as zeros."""
    begin, end = _CHECKSUM.search(start).span(1)
    checksum = hashlib.sha256(start[:begin] + b"0" * (end - begin) + start[end:])
    for part in parts:
        checksum.update(part)
    return checksum.hexdigest().encode()


def _check_version(version, package):
    if version in map(str, VERSIONS):
        return
    if isinstance(version, str) and version.isdecimal() and len(version) < 10:
        if int(version) > VERSIONS[-1]:
            raise ValueError(
                f"has version {version} of the format, written by sknn {package!s:.20}; this one "
                f"reads versions up to {VERSIONS[-1]}: upgrade sknn."
            )
    raise ValueError(f"has the version {version!r:.20}; expected one of {VERSIONS}.")


def _tensors(header, content):
    """Return the arrays of a header, as views of the content: one after the other, to its end."""
    found, end = {}, 0
    order = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    for name, about in order:
        shape, (begin, last) = about["shape"], about["data_offsets"]
        dtype = np.dtype(DTYPES[about["dtype"]])
        numbers = [*shape, begin, last]
        if not all(type(n) is int and 0 <= n < 2**53 for n in numbers) or len(shape) > 32:
            raise ValueError(f"the tensor {name!r} has the shape {shape}")
        if begin != end or prod(shape) * dtype.itemsize != last - begin or last > len(content):
            raise ValueError(f"the tensor {name!r} does not fit its place")
        end = last
        part = np.frombuffer(content[begin:last], dtype.newbyteorder("<"))
        if dtype.kind == "b" and part.view(np.uint8).max(initial=0) > 1:
            raise ValueError(f"the tensor {name!r} has bools that are neither 0 nor 1")
        found[name] = part.astype(dtype, copy=False).reshape(shape)
    if end != len(content):
        raise ValueError(f"{len(content) - end} bytes belong to no tensor")
    return found
