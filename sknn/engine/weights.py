"""The parameters of a network, packed for computation."""

from dataclasses import replace

import numpy as np

from ..layers import Activation
from ..layers.base import output_shape, primitives
from ..tape.losses import Loss
from .devices import HOST, device_named
from .network import Network


class Weights:
    """The parameters of a network, packed in one array on the host.

    Only weights in training are on the device. Pickles contain the parameters in their documented
    shapes, which every version understands, and nothing device-specific.

    Parameters
    ----------
    network : Network
    values : iterable of ndarray
        The parameters in order, in their documented shapes.
    dtype : dtype

    Attributes
    ----------
    packed : object
        An array of the device `home`, or a list of arrays that are packed when used.
    home : str
        Name of the device that holds them.
    device : str
        Requested device for prediction; may be 'auto'.
    """

    def __init__(self, network, values, dtype):
        self.network, self.dtype = network, np.dtype(dtype)
        self.home = self.device = HOST
        self.packed = device_named(HOST).upload(self._layout(), values)

    @classmethod
    def of_packed(cls, network, packed, dtype, home=HOST):
        """Return weights from a packed array, or from a list that is packed when used."""
        weights = object.__new__(cls)
        weights.network, weights.dtype, weights.packed = network, np.dtype(dtype), packed
        weights.home = weights.device = home
        return weights

    def on(self, device):
        """Return these weights for prediction on a device; they are moved only when used."""
        weights = Weights.of_packed(self.network, self.packed, self.dtype, self.home)
        weights.device = device
        return weights

    def _layout(self):
        parameters = [p for group in self.network.parameters() for p in group]
        return device_named(self.home).layout(parameters, self.dtype)

    @property
    def values(self):
        """Copies of the parameters in their documented shapes, or the list itself."""
        if isinstance(self.packed, (list, tuple)):
            return self.packed
        return device_named(self.home).download(self._layout(), self.packed)

    def by_layer(self):
        """Return copies of the parameters, by path of the layer and name."""
        values, groups = iter(self.values), self.network.parameters()
        return {
            path: {p.name: next(values) for p in group}
            for (path, _, _), group in zip(self.network.primitives, groups, strict=True)
            if group
        }

    def of(self, network, skipped=0):
        """Return the part of these weights for a network that is a part of this one.

        Its parameters are consecutive ones of this network, after the first `skipped`. No copy is
        made.
        """
        packed = self.packed
        if isinstance(packed, (list, tuple)):
            packed = packed[skipped : skipped + sum(map(len, network.parameters()))]
        elif skipped:
            layout = self._layout()
            kept = layout.parameters[skipped:]
            packed = packed[layout.part(kept[0]).start :] if kept else packed
        return Weights.of_packed(network, packed, self.dtype, self.home).on(self.device)

    def part(self, first, last=None):
        """Return the weights of the layers from `first` up to, not including, `last`."""
        whole, loss = self.network, Loss("squared_error", "identity")
        before, layers = whole.layers[:first], (*whole.layers[first:last], Activation("identity"))
        if not before:
            return self.of(replace(whole, layers=layers, loss=loss))
        shape = output_shape(before, whole.start_shape)
        found = primitives(before, whole.start_shape)
        skipped = sum(len(layer.parameters(start)) for _, layer, start in found)
        inputs = shape[0] if len(shape) == 1 else shape
        return self.of(Network(layers, inputs, loss, members=whole.members), skipped)

    def __getstate__(self):
        return {"network": self.network, "values": self.values, "dtype": self.dtype}

    def __setstate__(self, state):
        self.__init__(**state)

    def __deepcopy__(self, memo):
        return self  # immutable
