"""Lowering of a network to a tape, and compilation of the tape to a program."""

from functools import lru_cache

from ..layers.base import forward, size
from ..layers.recurrent import Recurrent
from ..tape.sources import INPUTS, X, Y
from ..tape.tape import Tape
from .devices import DEVICES, HOST


@lru_cache(maxsize=256)
def program(
    network, dtype, width, purpose, source, targets=None, solver=None, threads=1, carries=False,
    device=DEVICES[HOST], scheduled=False,
):  # fmt: skip
    """Return the network's program, compiling kernels that do not exist yet.

    Parameters
    ----------
    network : Network
    dtype : str
        'float32' or 'float64'.
    width : int
        Samples per block; a width of 1 is for prediction and for training on sequences.
    purpose : str
        'predict'; 'loss'; 'evaluate' (both); 'states', which only computes the carried recurrent
        states; 'sample', which draws the next token; 'train'; 'gradient', which computes the sum
        of the gradients; 'update', the step of the optimizer for a gradient that is given.
    source, targets : tuple
        Keys of the data's sources; 'update' reads no data.
    solver : Solver
        Only for 'train' and 'update'.
    threads : int
        Number of threads; results do not depend on it.
    carries : bool
        Whether recurrent layers start from the final states of the previous batch.
    device : object
        The device to compile for.
    scheduled : bool
        Whether the rates of dropout follow a schedule: a step's rates have their factor.
    """
    tape = lower(
        network, dtype, width, purpose, source, targets, solver, carries, device, scheduled
    )
    return device.compile(tape, dtype, threads)


@lru_cache(maxsize=256)
def compile_ahead(network, dtype, source):
    """Compile the single-row prediction on the host, so that the first one need not wait.

    Parameters
    ----------
    network : Network
    dtype : dtype
    source : tuple
        Key of the training data. Predictions are expected to have rows of the same kind, or
        contiguous rows even if the training data had another layout, such as table columns.
    """
    host, (operation, variant) = DEVICES[HOST], source
    width = host.prediction_width(network, 1, dtype)
    whole = (operation, (variant[0], True)) if operation == "gather" else source
    keys = dict.fromkeys((whole, source))
    tapes = [lower(network, dtype.name, width, "predict", key) for key in keys]
    host.compile_ahead(tapes, dtype)


def lower(
    network, dtype, width, purpose, source, targets=None, solver=None, carries=False,
    device=DEVICES[HOST], scheduled=False,
):  # fmt: skip
    """Return the network as a tape; the parameters are those of :func:`program`."""
    tape = Tape(
        width, solver, carries, device.packing(dtype), scheduled, network.members
    )
    training = purpose in ("gradient", "train")
    for group in network.parameters():
        for parameter in group:
            tape.parameter(parameter)
    if purpose == "update":
        tape.apply_gradient()
        return tape
    parameters, shape = iter(tape.parameters), network.input_shape
    x = gather(tape, tape.buffer("x", size(shape)), X, source)
    if targets == INPUTS.key:
        tape.keep(x)
    *hidden, link = (*network.augmentation, *network.layers)
    if purpose == "states":  # layers after the last recurrent one are not needed
        last = max(i for i, layer in enumerate(hidden) if isinstance(layer, Recurrent))
        hidden = hidden[: last + 1]
    a, backward = forward(hidden, tape, x, shape, parameters, training)
    if purpose == "sample":  # from the inputs of the output softmax
        tape.add("draw", (a,), (), (network.outputs,))
    if purpose in ("sample", "states"):
        return tape
    a, link_backward = link.forward(tape, a, network.output_shape, parameters, training)
    if purpose in ("predict", "evaluate"):
        tape.add("scatter", (a,), (), (network.outputs,))
    if purpose != "predict":
        delta = _add_loss(tape, network, x, a, targets, training)
    if training:
        if not network.loss.canonical:
            delta = link_backward(delta, True)
        backward(delta, False)
        tape.finish()
    return tape


def gather(tape, out, field, key):
    """Add an operation that reads rows of a source into a buffer; return the buffer."""
    operation, variant = key
    # Eight bytes per sample for any scalar type: the addresses of the rows.
    addresses = tape.buffer("addresses", 2)
    tape.add(operation, (), (addresses, out), (out.rows, field), variant)
    return out


def _add_loss(tape, network, x, a, targets, training):
    loss = network.loss
    smoothing = loss.smoothing if training else 0.0  # validation is with the targets themselves
    weights = tape.weights(network.steps)
    delta = tape.buffer("da", a.rows)
    steps = network.steps or 1
    units = network.outputs // steps
    loss.check(units, network.steps)
    if loss.counts_classes:
        tape.add("log_loss_softmax", (a, weights), (delta,), (units, steps, smoothing))
    elif loss.quantiles is not None:
        y, levels = gather(tape, tape.buffer("y", 1), Y, targets), tape.buffer("levels", units)
        for i, level in enumerate(loss.quantiles):
            tape.add("fill", (), (tape.view(levels, i, 1),), (tape.width, level))
        numbers = (units, loss.scale(units), loss.slope(units))
        tape.add("quantile_loss", (a, y, levels, weights), (delta,), numbers)
    else:
        y = x if targets == INPUTS.key else gather(tape, tape.buffer("y", a.rows), Y, targets)
        scales = loss.scale(units), loss.slope(units)
        numbers = (units, loss.parameter, *scales, smoothing, steps)
        variant = (loss.name, loss.canonical)
        tape.add("loss", (a, y, weights), (delta,), numbers, variant)
    return delta
