"""ONNX nodes under construction."""

from dataclasses import dataclass

import numpy as np
from onnx import helper, numpy_helper

#: Most bytes of the constants of a graph: messages of Protocol Buffers have 2 GiB at most.
MOST_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class Value:
    """The name of a tensor in a graph, and what is known of it.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Shape of one sample, as the layers have it: for an image (height, width, channels). The
        number of time steps is that of the fitted network; a graph takes any other.
    planar : bool
        Whether an image is stored with its channels first, as ONNX's convolutions need it.
    """

    name: str
    shape: tuple
    planar: bool = False


class Graph:
    """Nodes and constants of a graph, or of the body of a loop.

    Parameters
    ----------
    dtype : dtype
        Floating-point type of the computation.
    unique : callable
        ``unique(prefix)`` returns a new name.
    """

    def __init__(self, dtype, unique):
        self.dtype, self.unique = np.dtype(dtype), unique
        self.nodes, self.constants = [], []
        self._known, self._bytes = {}, 0

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        """Add a node; return the name of its output, or a list of names.

        An input is a name ('' for none), or an array or a number, which becomes a constant.
        """
        names = [self.unique(kind.lower()) for _ in range(outputs)]
        given = [some if isinstance(some, str) else self.constant(some) for some in inputs]
        node = helper.make_node(kind, given, names, name=names[0], domain=domain, **attributes)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def constant(self, value):
        """Return the name of a constant: of the computation's type, int64, bool or str."""
        array = np.asarray(value)
        kinds = {"f": self.dtype, "i": np.int64, "u": np.int64, "b": np.bool_}
        array = array.astype(kinds.get(array.dtype.kind, object))
        content = tuple(array.flat) if array.dtype == object else array.tobytes()
        key = array.dtype.str, array.shape, content
        if key not in self._known:
            self._bytes += array.nbytes
            if self._bytes > MOST_BYTES:
                raise ValueError(
                    f"The parameters take more than {MOST_BYTES / 2**30:.3g} GiB, the most that an "
                    f"ONNX model holds. They are {self.dtype}; export a smaller network"
                    + (", or give X as float32." if self.dtype == np.float64 else ".")
                )
            self._known[key] = self.unique("constant")
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def cast(self, name, dtype):
        """Return a tensor converted to a type."""
        return self.op("Cast", name, to=element(dtype))

    def size(self, name, axis):
        """Return the size of a tensor along an axis, as a tensor of one number."""
        return self.op("Slice", self.op("Shape", name), [axis], [axis + 1])

    def body(self, name, inputs, outputs):
        """Return the graph as the body of a loop.

        `inputs` and `outputs` are tuples of name, type and, where it has to be known, shape.
        """
        infos = [
            [
                helper.make_tensor_value_info(some, element(dtype), *(shape or [None]))
                for some, dtype, *shape in tensors
            ]
            for tensors in (inputs, outputs)
        ]
        return helper.make_graph(self.nodes, name, *infos, self.constants)


def element(dtype):
    """Return ONNX's number of a type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
