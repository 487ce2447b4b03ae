"""A network: its layers from input to output, and the properties that the engine needs."""

from dataclasses import dataclass, fields

from ..layers.base import check_members, check_tokens, output_shape, primitives, size
from ..layers.recurrent import Embedding, Recurrent
from ..layers.tied import TiedDense
from ..tape.losses import Loss


class _once:
    """A cached property.

    Unlike Python 3.11's own, it takes no lock, which a forked child could wait for forever.
    """

    def __init__(self, compute):
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = vars(instance)[self._name] = self._compute(instance)
        return value


@dataclass(frozen=True)
class Network:
    """Layers and their loss.

    Attributes
    ----------
    layers : tuple of Layer
        The last one is the output activation.
    inputs : int or tuple
        Number of features (or of steps, for token numbers), or the shape (height, width, channels)
        of an image or (time, features) of a sequence.
    loss : Loss
    augmentation : tuple of Layer
        Augmentation of images, applied first and in training only.
    members : int
        Number of members, networks in one: each computes outputs of its own for every row, with the
        weights that its layers share and those that they have for each member. The loss is the mean
        of theirs.
    """

    layers: tuple
    inputs: object
    loss: Loss
    augmentation: tuple = ()
    members: int = 1

    def __hash__(self):
        return self._hash

    @_once
    def _hash(self):  # needed for each prediction
        return hash((self.layers, self.inputs, self.loss, self.augmentation, self.members))

    def __getstate__(self):  # without cached properties
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def input_shape(self):
        """Shape of one sample."""
        return (self.inputs,) if isinstance(self.inputs, int) else self.inputs

    @_once
    def start_shape(self):
        """Input shape of the first layer."""
        return output_shape(self.augmentation, self.input_shape)

    @_once
    def output_shape(self):
        """Shape of the outputs: ``(units,)``, or ``(time, units)`` for sequences."""
        return output_shape(self.layers, self.start_shape)

    @_once
    def outputs(self):
        """Number of outputs, over all time steps."""
        return size(self.output_shape)

    @property
    def steps(self):
        """Number of time steps if the outputs are a sequence, else None."""
        return self.output_shape[0] if len(self.output_shape) == 2 else None

    @_once
    def sequential(self):
        """Whether any layer processes time steps."""
        return any(isinstance(layer, (Recurrent, Embedding)) for _, layer, _ in self.primitives)

    @_once
    def transposes(self):
        """Whether a layer transposes weights, which changes the order of single-sample sums."""
        return any(isinstance(layer, TiedDense) for _, layer, _ in self.primitives)

    @_once
    def state_size(self):
        """Number of values that recurrent layers carry from one batch to the next."""
        recurrent = (layer for _, layer, _ in self.primitives if isinstance(layer, Recurrent))
        return sum(layer.state_size for layer in recurrent)

    @_once
    def primitives(self):
        """Path, layer and input shape of each layer, in order, containers expanded."""
        found = tuple(primitives(self.layers, self.start_shape))
        check_tokens(self.layers, self.start_shape)
        for path, layer, _ in found:
            check_members(path, layer, self.members)
        return found

    def parameters(self):
        """Return the parameters of each of the primitives."""
        return [layer.parameters(shape) for _, layer, shape in self.primitives]

    @_once
    def largest(self):
        """Number of elements of the largest input or output of a layer."""
        return max(
            max(size(shape), size(layer.output_shape(shape))) for _, layer, shape in self.primitives
        )

    @_once
    def operations(self):
        """Multiply-adds of a forward pass per sample, of all members."""
        each = sum(layer.operations(shape) for _, layer, shape in self.primitives)
        return each * self.members
