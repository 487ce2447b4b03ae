"""A network: its layers from input to output, and how it is lowered to tapes."""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from .cpu.frame import X, Y
from .cpu.program import Layout, Program, lanes_of, pack, unpack
from .data import INPUTS
from .layers.base import check_tokens, forward, output_shape, primitives, size
from .layers.recurrent import Embedding, Recurrent
from .layers.tied import TiedDense
from .losses import Loss
from .tape import Tape

#: Samples in a block, but for small batches.
BLOCK_WIDTH = 32
#: Bytes of one layer's output for a block of samples, above which single samples go through.
_LARGEST_BLOCK = 32 * 2**20


class _once:
    """A property that is computed once for each object.

    Unlike Python 3.11's own, it takes no lock: a forked child might wait for that for ever.
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
    """Layers and what they are trained for.

    Attributes
    ----------
    layers : tuple of Layer
        The last is the output's activation.
    inputs : int or tuple
        Number of features (or of steps, for token numbers), or the shape (height, width, channels)
        of an image or (time, features) of a sequence.
    loss : Loss
    augmentation : tuple of Layer
        What happens to an image before, in training.
    """

    layers: tuple
    inputs: object
    loss: Loss
    augmentation: tuple = ()

    def __hash__(self):
        return self._hash

    @_once
    def _hash(self):  # asked at each prediction
        return hash((self.layers, self.inputs, self.loss, self.augmentation))

    def __getstate__(self):  # without what is computed from these
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def input_shape(self):
        """The shape of one sample."""
        return (self.inputs,) if isinstance(self.inputs, int) else self.inputs

    @_once
    def start_shape(self):
        """The shape of what the first layer gets."""
        return output_shape(self.augmentation, self.input_shape)

    @_once
    def output_shape(self):
        """The shape of the outputs: ``(units,)``, or of a sequence, ``(time, units)``."""
        return output_shape(self.layers, self.start_shape)

    @_once
    def outputs(self):
        """Number of outputs, of all steps."""
        return size(self.output_shape)

    @property
    def steps(self):
        """Number of steps of outputs that are a sequence, else None."""
        return self.output_shape[0] if len(self.output_shape) == 2 else None

    @_once
    def sequential(self):
        """Whether anything in it goes over time."""
        return any(isinstance(layer, (Recurrent, Embedding)) for _, layer, _ in self.primitives)

    @_once
    def transposes(self):
        """Whether it uses weights transposed: then sums for a single sample have another order."""
        return any(isinstance(layer, TiedDense) for _, layer, _ in self.primitives)

    @_once
    def state_size(self):
        """Numbers that its recurrent layers carry from one batch to the next."""
        recurrent = (layer for _, layer, _ in self.primitives if isinstance(layer, Recurrent))
        return sum(layer.state_size for layer in recurrent)

    @_once
    def primitives(self):
        """Path, layer and input shape of each layer that holds no others, from input to output."""
        found = tuple(primitives(self.layers, self.start_shape))
        check_tokens(self.layers, self.start_shape)
        return found

    def parameters(self, dtype):
        """Return the parameters of each of the primitives."""
        lanes = lanes_of(dtype)
        return [layer.parameters(shape, lanes) for _, layer, shape in self.primitives]

    @_once
    def largest(self):
        """Numbers in the largest input or output of a layer."""
        return max(
            max(size(shape), size(layer.output_shape(shape)))
            for _, layer, shape in self.primitives
        )

    @_once
    def operations(self):
        """Multiply-adds of one sample's forward pass."""
        return sum(layer.operations(shape) for _, layer, shape in self.primitives)


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


def block_width(rows, dtype):
    """Return the width of a block for batches of `rows` samples."""
    if rows == 1:
        return 1
    return lanes_of(dtype) if rows <= lanes_of(dtype) else BLOCK_WIDTH


def prediction_width(network, rows, dtype):
    """Return the width of a block for predicting: of large images, one at a time.

    A block of these would not stay in any cache, and a single one has positions enough to go over.
    """
    block = network.largest * BLOCK_WIDTH * np.dtype(dtype).itemsize
    large = block > _LARGEST_BLOCK and not network.sequential  # a step of which is small
    width = 1 if large else block_width(rows, dtype)
    return lanes_of(dtype) if width == 1 and network.transposes else width


@lru_cache(maxsize=256)
def program(
    network, dtype, width, purpose, source, targets=None, solver=None, parts=1, carries=False
):
    """Return the network's program, compiling what is new of it.

    Parameters
    ----------
    network : Network
    dtype : str
        'float32' or 'float64'.
    width : int
        Samples in a block; a width of 1 is for prediction, and for training sequences.
    purpose : str
        'predict'; 'loss'; 'evaluate', which is both; 'states', which only leaves the states that
        are carried along; 'sample', which draws the next token; 'train'; 'gradient', which leaves
        the gradient's sum.
    source, targets : tuple
        The keys of the data's sources.
    solver : Solver
        For 'train'.
    parts : int
        The threads that it is made for; it changes no result.
    carries : bool
        Whether recurrent layers begin with the states that they have left.
    """
    tape = lower(network, dtype, width, purpose, source, targets, solver, carries)
    return Program(tape, dtype, parts)


def lower(network, dtype, width, purpose, source, targets=None, solver=None, carries=False):
    """Return the network as a tape; the parameters are those of :func:`program`."""
    tape = Tape(width, solver, carries)
    training = purpose in ("gradient", "train")
    for group in network.parameters(dtype):
        for parameter in group:
            tape.parameter(parameter)
    parameters, shape = iter(tape.parameters), network.input_shape
    x = gather(tape, tape.buffer("x", size(shape)), X, source)
    if targets == INPUTS.key:
        tape.keep(x)
    *hidden, link = (*network.augmentation, *network.layers)
    if purpose == "states":  # nothing is asked for behind the last of them
        last = max(i for i, layer in enumerate(hidden) if isinstance(layer, Recurrent))
        hidden = hidden[: last + 1]
    a, backward = forward(hidden, tape, x, shape, parameters, training)
    if purpose == "sample":  # from what the output's softmax gets
        tape.add("draw", (a,), (), (network.outputs,))
    if purpose in ("sample", "states"):
        return tape
    a, link_backward = link.forward(tape, a, network.output_shape, parameters, training)
    if purpose in ("predict", "evaluate"):
        tape.add("scatter", (a,), (), (network.outputs,))
    if purpose != "predict":
        delta = _add_loss(tape, network, x, a, targets)
    if training:
        if not network.loss.canonical:
            delta = link_backward(delta, True)
        backward(delta, False)
        tape.finish()
    return tape


def gather(tape, out, field, key):
    """Put what reads rows of a source into a buffer on a tape; return the buffer."""
    operation, variant = key
    # Eight bytes a sample, whatever the scalar type: the addresses of the rows.
    addresses = tape.buffer("addresses", 2)
    tape.add(operation, (), (addresses, out), (out.rows, field), variant)
    return out


def _add_loss(tape, network, x, a, targets):
    loss = network.loss
    weights = tape.weights(network.steps)
    delta = tape.buffer("da", a.rows)
    steps = network.steps or 1
    units = network.outputs // steps
    if loss.counts_classes:
        tape.add("log_loss_softmax", (a, weights), (delta,), (units, steps))
    else:
        y = x if targets == INPUTS.key else gather(tape, tape.buffer("y", a.rows), Y, targets)
        numbers = (units, loss.parameter, loss.scale(units), loss.slope(units), steps)
        variant = (loss.name, loss.canonical)
        tape.add("loss", (a, y, weights), (delta,), numbers, variant)
    return delta
