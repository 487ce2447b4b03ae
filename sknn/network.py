"""A network: its layers from input to output, and how it is lowered to tapes."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from .cpu.frame import X, Y
from .cpu.program import Program, lanes_of
from .losses import Loss
from .tape import Tape

#: Samples in a block, but for small batches.
BLOCK_WIDTH = 32


@dataclass(frozen=True)
class Network:
    """Layers and what they are trained for.

    Attributes
    ----------
    layers : tuple of Layer
        The last is the output's activation.
    inputs : int
        Number of features.
    loss : Loss
    """

    layers: tuple
    inputs: int
    loss: Loss

    @property
    def outputs(self):
        """Number of outputs."""
        n = self.inputs
        for layer in self.layers:
            n = layer.outputs(n)
        return n

    def parameters(self, dtype):
        """Return the parameters of each layer."""
        n, groups = self.inputs, []
        for layer in self.layers:
            groups.append(layer.parameters(n, lanes_of(dtype)))
            n = layer.outputs(n)
        return groups

    @cached_property
    def operations(self):
        """Multiply-adds of one sample's forward pass."""
        groups = self.parameters("float32")
        return sum(p.shape[0] * p.shape[1] for g in groups for p in g if len(p.shape) == 2)


def block_width(rows, dtype):
    """Return the width of a block for batches of `rows` samples."""
    if rows == 1:
        return 1
    return lanes_of(dtype) if rows <= lanes_of(dtype) else BLOCK_WIDTH


@lru_cache(maxsize=256)
def program(network, dtype, width, purpose, source, targets=None, solver=None):
    """Return the network's program, compiling what is new of it.

    Parameters
    ----------
    network : Network
    dtype : str
        'float32' or 'float64'.
    width : int
        Samples in a block; a width of 1 is for prediction only.
    purpose : {'predict', 'evaluate', 'gradient', 'train'}
        'evaluate' predicts and gives the loss; 'gradient' leaves the gradient's sum.
    source, targets : tuple
        The keys of the data's sources.
    solver : Solver
        For 'train'.
    """
    return Program(lower(network, dtype, width, purpose, source, targets, solver), dtype)


def lower(network, dtype, width, purpose, source, targets=None, solver=None):
    """Return the network as a tape; the parameters are those of :func:`program`."""
    tape = Tape(width)
    training = purpose in ("gradient", "train")
    groups = network.parameters(dtype)
    for group in groups:
        for parameter in group:
            tape.parameter(parameter)
    a = _gather(tape, "x", network.inputs, X, source)
    backward = []
    for layer, group in zip(network.layers, groups, strict=True):
        a, back = layer.forward(tape, a, group, training)
        backward.append(back)
    if not training:
        tape.add("scatter", (a,), (), (a.rows,))
    if purpose != "predict":
        delta = _add_loss(tape, network.loss, a, targets)
    if training:
        if network.loss.canonical:
            backward.pop()
        first = next(i for i, group in enumerate(groups) if group)
        for i in reversed(range(len(backward))):
            delta = backward[i](delta, i > first)
            if i == first:
                break
        if purpose == "train":
            tape.finish_update(solver)
        else:
            tape.finish_gradient()
    return tape


def _gather(tape, name, columns, field, key):
    operation, variant = key
    # Eight bytes a sample, whatever the scalar type: the addresses of the rows.
    addresses = tape.buffer("addresses", 2)
    out = tape.buffer(name, columns)
    tape.add(operation, (), (addresses, out), (columns, field), variant)
    return out


def _add_loss(tape, loss, a, targets):
    weights = tape.buffer("weights", 1)
    tape.add("weigh", (), (weights,))
    delta = tape.buffer("da", a.rows)
    if loss.counts_classes:
        tape.add("log_loss_softmax", (a, weights), (delta,), (a.rows,))
    else:
        y = _gather(tape, "y", a.rows, Y, targets)
        numbers = (a.rows, loss.parameter, loss.scale(a.rows))
        variant = (loss.name, loss.canonical)
        tape.add("loss", (a, y, weights), (delta,), numbers, variant)
    return delta
