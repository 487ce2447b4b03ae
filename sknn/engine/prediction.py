"""A network's outputs and loss for any number of rows, in bounded memory."""

from contextlib import contextmanager

import numpy as np

from .devices import device_named, for_prediction
from .lowering import program
from .threads import give_way

_NAMES = {np.dtype(name): name for name in ("float32", "float64")}
#: Rows that are predicted, or whose gradient is summed, between returns to Python.
CHUNK = 8192


@contextmanager
def open_session(
    weights, purpose, source, rows, n_jobs=None, targets=None, carries=False, total=None
):
    """Yield a session that runs a network on rows, and the packed parameters.

    The device depends on the weights and on the amount of work; the parameters are packed for it.

    Parameters
    ----------
    weights : Weights
    purpose, source, targets, carries
        As for :func:`program`.
    rows : int
        Rows per step, capped at `CHUNK`.
    n_jobs : int or None
    total : int or None
        Rows of all steps; None: a single step.
    """
    network, dtype, packed = weights.network, weights.dtype, weights.packed
    work, members = network.operations * (total or rows), network.members
    name = for_prediction(weights.home, weights.device, rows, work, members)
    device = device_named(name)
    width, chunk = device.prediction_width(network, rows, dtype), min(rows, CHUNK)
    several = rows == 1 or rows > width or members > 1
    threads = device.threads(network, chunk, n_jobs, total or rows) if several else 1
    parts = threads if rows == members == 1 else 1
    made = program(
        network, _NAMES[dtype], width, purpose, source, targets, None, parts, carries, device
    )
    with device.session(made, chunk, threads) as session:
        if name != weights.home or isinstance(packed, (list, tuple)):
            packed = session.pack(weights.values)
        yield session, packed


def predict(
    weights, source, n_jobs, targets=None, sample_weights=None, rows=None, lengths=None, steps=None
):
    """Return a network's outputs for all or some rows of a source, in bounded memory.

    With members, they are (members, rows, outputs), and the loss is the mean of the members'.
    With `targets`, return the outputs and their mean loss. `sample_weights`, `lengths` and `steps`
    are by row of the source, as in :class:`Data`.
    """
    n_rows = source.n_rows if rows is None else len(rows)
    purpose, key = ("predict", None) if targets is None else ("evaluate", targets.key)
    network = weights.network
    shape = (n_rows, network.outputs)
    out = np.empty(shape if network.members == 1 else (network.members, *shape), weights.dtype)
    if lengths is not None:  # blocks of similar lengths end early; the order changes no result
        lengths = lengths if rows is None else lengths[rows]
        order = np.argsort(lengths.sum(axis=1), kind="stable")
        rows, lengths = order if rows is None else rows[order], lengths[order]
    with open_session(weights, purpose, source.key, n_rows, n_jobs, key) as (session, packed):
        session.bind(packed, source, targets, sample_weights, rows, out, lengths=lengths)
        total = session.run(n_rows, min(n_rows, CHUNK), again=False)
    give_way()
    if lengths is not None:
        in_order, out = out, np.empty_like(out)
        out[..., order, :] = in_order
    if targets is None:
        return out
    rows = np.arange(n_rows) if rows is None else rows
    return out, total / amounts(sample_weights, steps, rows).sum()


def finite(outputs):
    """Return a network's outputs; raise ValueError if any is not finite."""
    if not np.isfinite(outputs).all():
        raise ValueError(
            "The network's outputs, or their errors, are not finite: X has values too large for "
            f"{outputs.dtype}."
        )
    return outputs


def amounts(weights, steps, rows):
    """Return the weight of each row's loss."""
    amounts = np.ones(len(rows)) if weights is None else weights[rows]
    return amounts if steps is None else amounts * steps[rows]
