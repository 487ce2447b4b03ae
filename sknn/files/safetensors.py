"""Weights in safetensors files, under PyTorch's names and in its layouts.

A layer's tensors are called by its name, or by where it stands ('layers.3'): with '.weight' and
'.bias', for batch normalisation also '.running_mean' and '.running_var'. PyTorch has a kernel's
axes as (units, inputs) and (filters, channels, height, width); and where an image becomes a row of
numbers, PyTorch goes through it by (channels, height, width).
"""

import os
from dataclasses import dataclass

import numpy as np

from ..layers import Concatenate, Dense, Flatten, RadialBasis, Reshape, Residual
from ..layers.base import output_shape, primitives, size

_ENDINGS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "centers": "centers",
    "widths": "widths",
}

#: PyTorch's axes among ours, for each number of them.
_AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}

#: What is read and written, as a file calls it.
_FLOATS = {"F16": "float16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A parameter as PyTorch has it.

    Attributes
    ----------
    name : str
    shape : tuple
    own_shape : tuple
        The parameter's shape here.
    order : ndarray or None
        PyTorch's row for each of ours, where the rows are the elements of an image.
    """

    name: str
    shape: tuple
    own_shape: tuple
    order: np.ndarray | None = None


def tensors(layers, input_shape):
    """Return the tensors of a network's parameters, in the order of the parameters.

    Parameters
    ----------
    layers : list of layers
        From input to output.
    input_shape : tuple
        ``(height, width, channels)`` or ``(units,)`` of one sample.

    Returns
    -------
    tensors : list of Tensor
    """
    found = list(primitives(layers, tuple(input_shape)))
    orders, _ = _orders(layers, tuple(input_shape), None)
    result = {}
    for (path, layer, shape), order in zip(found, orders):
        for parameter in layer.parameters(shape):
            if parameter.name not in _ENDINGS:
                raise ValueError(f"{path}: {layer} has no names in PyTorch that are known here.")
            name = f"{path}.{_ENDINGS[parameter.name]}"
            if name in result:
                raise ValueError(f"Two layers are named {path!r}; needs different names.")
            own = parameter.shape
            theirs = tuple(own[axis] for axis in _AXES[len(own)])
            # A bias and widths go by the layer's outputs, all else on a row by its inputs.
            rows = None if parameter.name in ("bias", "widths") else order
            result[name] = Tensor(name, theirs, own, rows)
    return list(result.values())


def _orders(layers, shape, order):
    """Return PyTorch's place for each element of a row that was an image, or None for the same.

    For the input of each of the primitives (of an image: if it is made a row), and for the output.
    """
    orders = []
    for layer in layers:
        inner = layer.children(shape)
        if inner is None:
            if len(shape) == 3 and isinstance(layer, (Dense, Flatten, RadialBasis)):
                order = _image_order(shape)
            orders.append(order)
            if isinstance(layer, (Dense, RadialBasis)):
                order = None
            sides = (*shape, 1, 1)[:3], (*layer.output_shape(shape), 1, 1)[:3]
            moved = any(_image_order(side) is not None for side in sides)
            if isinstance(layer, Reshape) and moved:
                raise ValueError(f"{layer} has an order of its own in PyTorch; none is known here.")
        else:
            parts = [_orders(some, start, order) for _, some, start in inner]
            for part, _ in parts:
                orders += part
            order = _joined(layer, shape, [out for _, out in parts])
        shape = layer.output_shape(shape)
    return orders, order


def _image_order(shape):
    height, width, channels = shape
    if channels == 1 or height * width == 1:
        return None
    return np.arange(size(shape)).reshape(channels, height, width).transpose(1, 2, 0).ravel()


def _joined(layer, shape, orders):
    """Return the order of what a layer of layers gives, from those of what is inside."""
    if all(order is None for order in orders):
        return None
    if isinstance(layer, Concatenate):
        units = [size(output_shape(branch, shape)) for branch in layer.branches]
        starts = np.cumsum([0, *units])
        parts = [np.arange(n) if order is None else order for n, order in zip(units, orders)]
        return np.concatenate([start + part for start, part in zip(starts, parts)])
    if isinstance(layer, Residual) and not np.array_equal(*orders):
        raise ValueError(
            f"{layer.name or 'A Residual'} adds the elements of an image to the units of a layer, "
            "which go in different orders in PyTorch; needs Flatten outside, and Dense after it."
        )
    return orders[0]


def to_torch(value, tensor):
    """Return the array of a parameter in PyTorch's layout."""
    if tensor.order is not None:
        value = value[np.argsort(tensor.order)]
    return np.ascontiguousarray(value.transpose(_AXES[value.ndim]))


def from_torch(value, tensor):
    """Return an array in PyTorch's layout as the parameter has it."""
    value = value.transpose(np.argsort(_AXES[value.ndim]))
    if tensor.order is not None:
        value = value[tensor.order]
    return np.ascontiguousarray(value)


def load(path, layers, input_shape, ignore=(), first=None):
    """Return the values of a network's parameters from a file.

    The file must hold a tensor for each of them, of its shape, and no others but those called
    'num_batches_tracked', which nothing here needs.

    Parameters
    ----------
    path : str or path-like
        A safetensors file.
    layers, input_shape
        As in :func:`tensors`.
    ignore : list of str, default=()
        Layers, by their names or the beginnings of them, that are not read.
    first : list of ndarray, default=None
        Values of all parameters; those of ignored layers are taken from here.

    Returns
    -------
    values : list of ndarray
        In the shapes and the order of the parameters; of the file's floating type.

    Raises
    ------
    ValueError
        Naming the first tensor that is missing, does not fit or is left over.
    """
    safetensors = _library()
    path, ignore = os.fsdecode(path), (ignore,) if isinstance(ignore, str) else tuple(ignore)
    needed = tensors(layers, input_shape)
    try:
        file = safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        _check_kind(path)
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    with file:
        held = {name: file.get_slice(name) for name in file.keys() if not _begins(name, ignore)}
        _check_file(path, held, [t for t in needed if not _begins(t.name, ignore)])
        return [
            from_torch(file.get_tensor(t.name), t) if t.name in held else first[i]
            for i, t in enumerate(needed)
        ]


def _begins(name, beginnings):
    """Return whether a tensor's name begins with one of some layers' names."""
    return any(f"{name}.".startswith(f"{some.rstrip('.')}.") for some in beginnings)


def _check_file(path, held, needed):
    for tensor in needed:
        name = tensor.name
        if name not in held:
            raise ValueError(f"{path} has no tensor {name!r}; needs one of {tensor.shape}.")
        shape, kind = tuple(held[name].get_shape()), held[name].get_dtype()
        if shape != tensor.shape:
            raise ValueError(f"{path}: {name!r} has the shape {shape}; needs {tensor.shape}.")
        if kind not in _FLOATS:
            raise ValueError(f"{path}: {name!r} holds {kind}; needs one of {', '.join(_FLOATS)}.")
    extra = {name for name in held if name.split(".")[-1] != "num_batches_tracked"}
    for name in sorted(extra - {tensor.name for tensor in needed}):
        shape = tuple(held[name].get_shape())
        raise ValueError(f"{path} has a tensor {name!r} of {shape}; needs none: no layer takes it.")


def save(path, layers, input_shape, values):
    """Write the values of a network's parameters to a file, which :func:`load` reads.

    Parameters
    ----------
    path : str or path-like
        Where to; a file that is there is replaced.
    layers, input_shape
        As in :func:`tensors`.
    values : list of array
        In the shapes and the order of the parameters; float16, float32 or float64.

    Raises
    ------
    ValueError
        Naming the first tensor that a value is missing for or does not fit; nothing is written.
    OSError
        If the file cannot be written.
    """
    safetensors = _library()
    from safetensors.numpy import save_file

    needed, values = tensors(layers, input_shape), [np.asarray(value) for value in values]
    for tensor, value in zip(needed, values):
        if value.shape != tensor.own_shape:
            raise ValueError(f"{tensor.name!r} got {value.shape}; needs {tensor.own_shape}.")
        if value.dtype.name not in _FLOATS.values():
            kinds = ", ".join(_FLOATS.values())
            raise ValueError(f"{tensor.name!r} got {value.dtype}; needs one of {kinds}.")
    if len(values) < len(needed):
        tensor = needed[len(values)]
        raise ValueError(f"{tensor.name!r} got no value; needs one of {tensor.own_shape}.")
    if len(values) > len(needed):
        raise ValueError(f"Got {len(values)} values; needs {len(needed)}, one for each tensor.")
    path = os.fsdecode(path)
    try:
        save_file({t.name: to_torch(value, t) for t, value in zip(needed, values)}, path)
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None


#: What other files of weights begin with, and what they are.
_KINDS = {
    b"PK\x03\x04": "a zip file, as PyTorch and Keras write them",
    b"\x80": "a pickle, as PyTorch writes them",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
}


def _check_kind(path):
    """Raise ValueError, with how to convert it, if a file is of another kind that holds weights."""
    with open(path, "rb") as file:
        start = file.read(4)
    for begins, kind in _KINDS.items():
        if start.startswith(begins):
            raise ValueError(
                f"{path} is {kind}; expected a safetensors file. A PyTorch model writes one by "
                'safetensors.torch.save_file(model.state_dict(), "x.safetensors").'
            ) from None


def _library():
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            'Files of weights need the library safetensors: pip install "sknn[weights]".'
        ) from error
    return safetensors
