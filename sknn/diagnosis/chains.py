"""The layers of a network, each with all that its output is computed by."""

from dataclasses import replace
from itertools import count
from typing import NamedTuple

from ..engine.weights import Weights
from ..layers import Activation, RadialBasis
from ..layers.base import Layer, path_of, shape_after
from ..layers.recurrent import Recurrent
from ..summary import words


class Chain(NamedTuple):
    """A layer with parameters, or an activation on its own, and the layers that lead to it.

    Attributes
    ----------
    path : str
        The layer's name, as in :class:`~sknn.summary.Summary`.
    layer : Layer
    activation : Activation, str or None
        Its activation function, which may be a layer of its own, or its basis function.
    layers : tuple of Layer or None
        The layers from the input of the network to the output of its activation; None if its input
        is not computed by a list of layers, as in the parts of an EncoderDecoder.
    places : list of int
        The positions of their parameters among those of the network.
    last : bool
        Whether it is the last one, which gives the outputs.
    """

    path: str
    layer: Layer
    activation: object
    layers: tuple | None
    places: list
    last: bool = False

    @property
    def function(self):
        """The name of the activation function; 'identity' if there is none."""
        return getattr(self.activation, "function", self.activation) or "identity"

    @property
    def words(self):
        """The layer and its activation in words."""
        own = words(self.layer)
        apart = isinstance(self.activation, Activation) and "(" not in own
        return f"{own}({self.function})" if apart and self.function != "identity" else own

    def weights(self, weights):
        """Return the part of a network's weights that computes the layer's output."""
        values, network = weights.values, weights.network
        part = replace(network, layers=(*self.layers, Activation("identity")))
        own = [values[place] for place in self.places]
        return Weights.of_packed(part, own, weights.dtype).on(weights.device)


def chains(network):
    """Return a network's layers that have parameters or an activation, in order, as Chains."""
    found = []
    _visit(network.layers, network.start_shape, "layers", ((), []), count(), found)
    return [*found[:-1], found[-1]._replace(last=True)]


def _visit(layers, shape, prefix, before, numbers, found):
    """Append the Chains of a list of layers to `found`; return the places of its parameters.

    `before` are the layers that lead to the list, and the places of their parameters, or None.
    """
    places, merged = [], False
    for i, layer in enumerate(layers):
        path, inner = path_of(layer, prefix, i), layer.children(shape)
        own = []
        for part, some, start in inner or ():
            lead = None
            if before is not None and start == shape:
                lead = (*before[0], *layers[:i]), before[1] + places
            own += _visit(some, start, f"{path}.{part}" if part else path, lead, numbers, found)
        if inner is None:
            own = [next(numbers) for _ in layer.parameters(shape)]
            following = layers[i + 1] if i + 1 < len(layers) else None
            activation, end = _activation(layer), i + 1
            alone = isinstance(layer, Activation)
            if activation is None and own and isinstance(following, Activation):
                activation, end = following, i + 2
            if own or (alone and not merged and layer.function != "identity"):
                lead = None if before is None else (*before[0], *layers[:end])
                at = [] if before is None else before[1] + places + own
                found.append(Chain(path, layer, activation, lead, at))
            merged = end == i + 2
        else:
            merged = False
        places += own
        shape = shape_after(layer, shape, path)
    return places


def _activation(layer):
    """Return the activation of a layer, or its basis function, or None."""
    if isinstance(layer, Activation):
        return layer
    if isinstance(layer, RadialBasis):
        return layer.function
    return getattr(layer, "activation", "tanh" if isinstance(layer, Recurrent) else None)
