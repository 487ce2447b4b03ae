"""The parameters of a network, packed as they are computed with."""

import numpy as np

from ..cpu.program import Layout, pack, unpack


class Weights:
    """The parameters of a network as they are computed with: packed, in one piece.

    Pickles hold them in their documented shapes, which every version understands.

    Parameters
    ----------
    network : Network
    values : iterable of ndarray
        In their documented shapes, in order.
    dtype : dtype
    """

    def __init__(self, network, values, dtype):
        self.network, self.dtype = network, np.dtype(dtype)
        self.packed = pack(self._layout(), values, self.dtype)

    @classmethod
    def of_packed(cls, network, packed, dtype):
        """Return weights that are packed already."""
        weights = object.__new__(cls)
        weights.network, weights.dtype, weights.packed = network, np.dtype(dtype), packed
        return weights

    def _layout(self):
        groups = self.network.parameters(self.dtype)
        return Layout([p for group in groups for p in group], self.dtype)

    @property
    def values(self):
        """Copies of the parameters, in their documented shapes."""
        return unpack(self._layout(), self.packed)

    def by_layer(self):
        """Return copies of the parameters by the path of their layer, and by name."""
        values, groups = iter(self.values), self.network.parameters(self.dtype)
        return {
            path: {p.name: next(values) for p in group}
            for (path, _, _), group in zip(self.network.primitives, groups, strict=True)
            if group
        }

    def of(self, network, last=False):
        """Return the part of these weights that belongs to a network that is a part of this one.

        It begins as this one does, or (`last`) ends as it does.
        """
        if last:
            layout, kept = self._layout(), sum(map(len, network.parameters(self.dtype)))
            if not kept:
                return Weights(network, (), self.dtype)
            starts = [layout.offsets[p] for p in layout.parameters]
            first = starts[len(starts) - kept]
            packed = self.packed[first // self.dtype.itemsize :]
            return Weights.of_packed(network, packed, self.dtype)
        return Weights.of_packed(network, self.packed, self.dtype)

    def __getstate__(self):
        return {"network": self.network, "values": self.values, "dtype": self.dtype}

    def __setstate__(self, state):
        self.__init__(**state)

    def __deepcopy__(self, memo):
        return self  # nobody changes it
