"""Weights in safetensors files, with PyTorch's names and layouts.

The names of a layer's tensors start with the name of the layer, or its position ('layers.3'),
followed by '.weight' and '.bias'; for batch normalization also '.running_mean' and '.running_var';
for recurrent layers '.weight_ih_l0', '.weight_hh_l0', '.bias_ih_l0' and '.bias_hh_l0'. In PyTorch,
kernels have axes (units, inputs), (groups, units, inputs) or (filters, channels, height, width),
and images are flattened in (channels, height, width) order.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..layers import (
    GRU,
    LSTM,
    CategoryEmbedding,
    Concatenate,
    Dense,
    Embedding,
    Flatten,
    GroupedDense,
    NumericEmbedding,
    RadialBasis,
    Reshape,
    Residual,
    Select,
    SimpleRNN,
)
from ..layers.base import output_shape, primitives, size
from .writing import replace

_ENDINGS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "centers": "centers",
    "widths": "widths",
    "scale": "scale",
    "slope": "slope",
    "frequencies": "frequencies",
    "phases": "phases",
    "edges": "edges",
    "inputs_scale": "r",  # as in TabM
    "outputs_scale": "s",
}

#: PyTorch's axes as indices of ours, by number of axes.
_AXES = {1: (0,), 2: (1, 0), 3: (0, 2, 1), 4: (3, 2, 0, 1)}

#: Types that are read and written, by their names in files.
_FLOATS = {"F16": "float16", "F32": "float32", "F64": "float64"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A parameter in PyTorch's layout.

    Attributes
    ----------
    name : str
    shape : tuple
    own_shape : tuple
        Shape of the parameter in this package.
    order : ndarray or None
        PyTorch's row for each of ours, if the rows are elements of a flattened image.
    transposed : bool
        Whether the order of a kernel's axes differs in PyTorch.
    """

    name: str
    shape: tuple
    own_shape: tuple
    order: np.ndarray | None = None
    transposed: bool = True

    @property
    def axes(self):
        """PyTorch's axes as indices of ours."""
        return _axes(self.own_shape) if self.transposed else tuple(range(len(self.own_shape)))


def _axes(shape):
    return _AXES[len(shape)]


@dataclass(frozen=True, eq=False)
class Plain:
    """A layer with one tensor per parameter.

    Attributes
    ----------
    path : str
        Name or position of the layer.
    tensors : list of Tensor
    """

    path: str
    tensors: list

    @property
    def own_shapes(self):
        """Shapes of the parameters in this package."""
        return [tensor.own_shape for tensor in self.tensors]

    @property
    def shapes(self):
        """The shapes of the tensors in a file, by name."""
        return {tensor.name: tensor.shape for tensor in self.tensors}

    def to_torch(self, values):
        """Return the arrays of a file, of the layer's parameters."""
        return [to_torch(value, tensor) for value, tensor in zip(values, self.tensors, strict=True)]

    def from_torch(self, arrays):
        """Return the layer's parameters, of the arrays of a file."""
        return [from_torch(array, tensor) for array, tensor in zip(arrays, self.tensors)]


@dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent layer: in PyTorch, input and recurrent weights, each with a bias.

    PyTorch adds the two biases. Here there is only one; the second is written as zeros.

    Attributes
    ----------
    path : str
        Name or position of the layer.
    prefix, suffix : str
        Start and end of the names of the tensors.
    layer : SimpleRNN, LSTM or GRU
    own_shapes : list of tuple
        Shapes of the parameters in this package.
    """

    path: str
    prefix: str
    suffix: str
    layer: object
    own_shapes: list

    @property
    def _resets_before(self):
        """Whether it is the original GRU, which PyTorch lacks; it has no second bias."""
        return isinstance(self.layer, GRU) and not self.layer.reset_after

    @property
    def shapes(self):
        """The shapes of the tensors in a file, by name."""
        inputs, gates = self.own_shapes[0]
        found = {"weight_ih": (gates, inputs), "weight_hh": (gates, self.layer.units)}
        if self.layer.use_bias:
            found["bias_ih"] = (gates,)
            if not self._resets_before:
                found["bias_hh"] = (gates,)
        return {f"{self.prefix}.{name}_l0{self.suffix}": shape for name, shape in found.items()}

    def _reordered(self, array):
        """Convert the order of gates (in rows) between ours and PyTorch's; its own inverse."""
        if not isinstance(self.layer, GRU):
            return array
        parts = np.split(array, len(array) // self.layer.units)
        return np.concatenate([parts[1], parts[0], *parts[2:]])

    def to_torch(self, values):
        """Return the arrays of a file, of the layer's parameters."""
        values = [np.asarray(value) for value in values]
        n = 1 + len(self.layer._matrices())
        kernel, *matrices = (value.T for value in values[:n])
        arrays, biases = [kernel, np.concatenate(matrices)], values[n:]
        if biases:
            rest = np.zeros_like(biases[0])
            if len(biases) == 2:  # of the GRU's candidate state
                rest[-self.layer.units :] = biases[1]
            arrays += [biases[0], rest][: 1 if self._resets_before else 2]
        return [np.ascontiguousarray(self._reordered(array)) for array in arrays]

    def from_torch(self, arrays):
        """Return the layer's parameters, of the arrays of a file."""
        kernel, recurrent, *biases = map(self._reordered, arrays)
        columns = np.cumsum([columns for _, _, columns in self.layer._matrices()])
        values = [kernel.T, *(part.T for part in np.split(recurrent, columns[:-1]))]
        if isinstance(self.layer, GRU) and len(biases) == 2:
            both, last = biases[0] + biases[1], slice(-self.layer.units, None)
            both[last] = biases[0][last]
            values += [both, biases[1][last]]
        elif biases:
            values.append(sum(biases))
        return [np.ascontiguousarray(value) for value in values]


def parts(layers, input_shape):
    """Return the tensors that a file has for each layer with parameters, in order.

    Parameters
    ----------
    layers : list of layers
        From input to output.
    input_shape : tuple
        ``(height, width, channels)`` or ``(units,)`` of one sample.

    Returns
    -------
    parts : list of Plain or Cell
    """
    found = list(primitives(layers, tuple(input_shape)))
    orders, _ = _orders(layers, tuple(input_shape), None)
    result, names = [], set()
    for (path, layer, shape), order in zip(found, orders):
        parameters = layer.parameters(shape)
        if not parameters:
            continue
        if isinstance(layer, (SimpleRNN, LSTM, GRU)):
            part = _cell(path, layer, parameters)
        else:
            part = Plain(path, [_tensor(path, layer, p, order) for p in parameters])
        if not names.isdisjoint(part.shapes):
            raise ValueError(f"Two layers are named {path!r}; expected different names.")
        names.update(part.shapes)
        result.append(part)
    return result


def _tensor(path, layer, parameter, order):
    if parameter.name not in _ENDINGS:
        raise ValueError(f"{path}: {layer} has no known names in PyTorch.")
    own, matrix = parameter.shape, parameter.name in ("kernel", "centers")
    moved = matrix and not isinstance(layer, (CategoryEmbedding, Embedding))
    theirs = tuple(own[axis] for axis in _axes(own)) if moved else own
    # Biases and widths are per output of the layer; all else has one row per input.
    rows = None if parameter.name in ("bias", "widths") else order
    return Tensor(f"{path}.{_ENDINGS[parameter.name]}", theirs, own, rows, moved)


def _cell(path, layer, parameters):
    if isinstance(layer, GRU) and layer.reset_after and not layer.use_bias:
        raise ValueError(f"{path}: {layer} has no form in PyTorch; expected use_bias=True.")
    prefix, suffix = path, ""
    for part, ending in (("forward", ""), ("backward", "_reverse")):  # of a Bidirectional
        if path.endswith(f".{part}.0"):
            prefix, suffix = path.removesuffix(f".{part}.0"), ending
    return Cell(path, prefix, suffix, layer, [p.shape for p in parameters])


def _orders(layers, shape, order):
    """Return PyTorch's index for each element of a flattened image, or None if it is the same.

    For the input of each primitive layer (images: if the layer flattens them), and for the output.
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
            by_place = isinstance(layer, (GroupedDense, NumericEmbedding, Select))
            if isinstance(layer, Reshape) and moved or by_place and order is not None:
                raise ValueError(f"{layer} orders elements differently in PyTorch; not supported.")
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
    """Return the order of a container's output, from those of its parts."""
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
            "which are ordered differently in PyTorch; use Flatten outside and Dense after it."
        )
    return orders[0]


def to_torch(value, tensor):
    """Return a parameter's array in PyTorch's layout."""
    if tensor.order is not None:
        value = value[np.argsort(tensor.order)]
    return np.ascontiguousarray(value.transpose(tensor.axes))


def from_torch(value, tensor):
    """Return an array in PyTorch's layout in the parameter's own layout."""
    value = value.transpose(np.argsort(tensor.axes))
    if tensor.order is not None:
        value = value[tensor.order]
    return np.ascontiguousarray(value)


# --- files


class _File:
    """The tensors of an open file, as the network needs them.

    If `single` names the output layer and the file has two outputs for it, they become one, their
    difference, for the logistic function.
    """

    def __init__(self, path, file, single):
        self.path, self._file, self._single = path, file, single
        self._slices = {name: file.get_slice(name) for name in file.keys()}
        self.shapes = {name: tuple(held.get_shape()) for name, held in self._slices.items()}

    def __contains__(self, name):
        return name in self.shapes

    def kind(self, name):
        """Return a tensor's dtype."""
        return self._slices[name].get_dtype()

    def _halves(self, name, shape):
        given = self.shapes[name]
        several = self._single is not None and name.startswith(f"{self._single}.")
        return several and shape[:1] == (1,) and given == (2, *shape[1:])

    def fits(self, name, shape):
        """Return whether the file has a floating-point tensor with this name and shape."""
        if name not in self or self.kind(name) not in _FLOATS:
            return False
        return self.shapes[name] == shape or self._halves(name, shape)

    def get(self, name, shape):
        """Return the tensor with this name and shape."""
        value = self._file.get_tensor(name)
        return value[1:] - value[:1] if self._halves(name, shape) else value


@contextmanager
def opened(path, single=None):
    """Open a safetensors file; `single` names the layer whose two outputs may become one."""
    safetensors = _library()
    path = os.fsdecode(path)
    try:
        file = safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        _check_kind(path)
        raise ValueError(f"{path} is not a safetensors file: {error}") from None
    with file:
        form = (file.metadata() or {}).get("format", "")
        if form.startswith("sknn "):
            raise ValueError(
                f"{path} is a file of the format {form!r}, which sknn.load reads: a whole "
                "estimator. Expected weights only, as save_weights writes them."
            )
        yield _File(path, file, single)


def load(path, layers, input_shape, ignore=(), first=None, single=None):
    """Return the values of a network's parameters from a file.

    The file must have a tensor of the right shape for each parameter and no others, except
    'num_batches_tracked', which is ignored.

    Parameters
    ----------
    path : str or path-like
        A safetensors file.
    layers, input_shape
        As in :func:`parts`.
    ignore : list of str, default=()
        Layers that are not read, by name or prefix of the name.
    first : list of ndarray, default=None
        Values of all parameters; used for ignored layers.
    single : str or None, default=None
        Name of the layer with one output that may have two in the file; it gets their difference.

    Returns
    -------
    values : list of ndarray
        In the order and shapes of the parameters, with the dtype of the file.

    Raises
    ------
    ValueError
        Names the first tensor that is missing, does not fit, or is not needed.
    """
    ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    needed = parts(layers, input_shape)
    with opened(path, single) as file:
        _check_file(file, needed, ignore)
        kept, values = iter(first or ()), []
        for part in needed:
            own = [next(kept) for _ in part.own_shapes] if first else None
            read = not any(_begins(name, ignore) for name in part.shapes)
            values += part.from_torch([file.get(*t) for t in part.shapes.items()]) if read else own
        return values


def load_fitting(path, layers, input_shape, single=None):
    """Return values for the layers whose tensors are all in the file, with the right shapes.

    Parameters
    ----------
    path, layers, input_shape, single
        As in :func:`load`.

    Returns
    -------
    values : list of ndarray or None
        In the order of the parameters; None for those of other layers.
    read : list of bool
        For each layer with parameters, whether it was read.

    Raises
    ------
    ValueError
        If no layer was read.
    """
    needed, values, read = parts(layers, input_shape), [], []
    with opened(path, single) as file:
        known = {name for part in needed for name in part.shapes}
        left = {name for name in file.shapes if name not in known and not _is_count(name)}
        for part in needed:
            # a layer with more tensors is another one, such as a GRU with a second bias
            more = {_layer_of(name) for name in left} & {_layer_of(n) for n in part.shapes}
            fits = all(file.fits(*tensor) for tensor in part.shapes.items())
            read.append(fits and not more)
            if read[-1]:
                values += part.from_torch([file.get(*tensor) for tensor in part.shapes.items()])
            else:
                values += [None] * len(part.own_shapes)
        if not any(read):
            wanted = {name: shape for part in needed for name, shape in part.shapes.items()}
            kinds = {file.kind(name) for name in wanted if name in file} - set(_FLOATS)
            held = sorted(file.shapes, key=lambda name: (name not in left, name))
            raise ValueError(
                f"{file.path} holds nothing for this network: it has "
                f"{_some({name: file.shapes[name] for name in held})}"
                f"{f', of {min(kinds)}' if kinds else ''}; the network has {_some(wanted)}."
            )
    return values, read


def _layer_of(name):
    return name.rpartition(".")[0]


def _is_count(name):
    """Whether a tensor is PyTorch's count of batches, which nothing here needs."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _some(shapes):
    """Return a description of the first of these tensors."""
    shown = [f"{name!r} of {shape}" for name, shape in list(shapes.items())[:3]]
    return ", ".join(shown + ["..."] * (len(shapes) > 3)) or "no tensors"


def _begins(name, beginnings):
    """Return whether a tensor belongs to one of these layers, by name or prefix."""
    return any(f"{name}.".startswith(f"{some.rstrip('.')}.") for some in beginnings)


def _check_file(file, needed, ignore):
    known = {name: shape for part in needed for name, shape in part.shapes.items()}
    for name, shape in known.items():
        if _begins(name, ignore):
            continue
        if name not in file:
            raise ValueError(f"{file.path} has no tensor {name!r}; needs one of {shape}.")
        kind, given = file.kind(name), file.shapes[name]
        if kind not in _FLOATS:
            kinds = ", ".join(_FLOATS)
            raise ValueError(f"{file.path}: {name!r} holds {kind}; needs one of {kinds}.")
        if not file.fits(name, shape):
            raise ValueError(f"{file.path}: {name!r} has the shape {given}; needs {shape}.")
    for name, shape in sorted(file.shapes.items()):
        if not (_is_count(name) or name in known or _begins(name, ignore)):
            raise ValueError(
                f"{file.path} has a tensor {name!r} of {shape}; needs none: no layer takes it."
            )


def save(path, layers, input_shape, values):
    """Write the values of a network's parameters to a file for :func:`load`.

    Parameters
    ----------
    path : str or path-like
        The file; an existing one is replaced when the new one is complete.
    layers, input_shape
        As in :func:`parts`.
    values : list of array
        In the order and shapes of the parameters; float16, float32 or float64.

    Raises
    ------
    ValueError
        Names the first layer for which a value is missing or does not fit; nothing is written.
    OSError
        If the file cannot be written.
    """
    _library()
    from safetensors.numpy import save as packed

    needed, values = parts(layers, input_shape), [np.asarray(value) for value in values]
    sizes = [(part.path, shape) for part in needed for shape in part.own_shapes]
    for (name, shape), value in zip(sizes, values):
        if value.shape != shape:
            raise ValueError(f"{name!r} got {value.shape}; needs {shape}.")
        if value.dtype.name not in _FLOATS.values():
            kinds = ", ".join(_FLOATS.values())
            raise ValueError(f"{name!r} got {value.dtype}; needs one of {kinds}.")
    if len(values) != len(sizes):
        raise ValueError(f"Got {len(values)} values; needs {len(sizes)}, one for each parameter.")
    held, left = {}, iter(values)
    for part in needed:
        held |= zip(part.shapes, part.to_torch([next(left) for _ in part.own_shapes]))
    replace(path, [packed(held)])  # the library would put a file in the place of a device


#: First bytes of other kinds of weight files.
_KINDS = {
    b"PK\x03\x04": "a zip file, as PyTorch and Keras write them",
    b"\x80": "a pickle, as PyTorch and joblib write them",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
}


def kind_of(start):
    """Return what kind of weight file begins with these bytes, as text, or None."""
    return next((kind for begins, kind in _KINDS.items() if start.startswith(begins)), None)


def _check_kind(path):
    """Raise ValueError, with a way to convert it, if this is another kind of weight file."""
    with open(path, "rb") as file:
        kind = kind_of(file.read(4))
    if kind is not None:
        raise ValueError(
            f"{path} is {kind}; expected a safetensors file. A PyTorch model writes one by "
            'safetensors.torch.save_file(model.state_dict(), "x.safetensors").'
        ) from None


def _library():
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            'Weight files need the library safetensors: pip install "sknn[weights]".'
        ) from error
    return safetensors
