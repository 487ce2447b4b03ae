"""The outputs of a network, and its loss, for any number of rows in bounded memory."""

import numpy as np

from .devices import DEVICES
from .lowering import program
from .threads import give_way

_NAMES = {np.dtype(name): name for name in ("float32", "float64")}
#: Rows that are predicted, or whose gradient is summed, between two looks at Python.
CHUNK = 8192


def predict(
    network, values, dtype, source, n_jobs, targets=None, weights=None, rows=None, lengths=None,
    steps=None, device="cpu",
):  # fmt: skip
    """Return the network's outputs for all rows of a source, or for some, in bounded memory.

    `values` are the parameters in their documented shapes, or packed. With `targets`, return the
    outputs and their mean loss too. `weights`, `lengths` and `steps` are by row of the source, as
    those of :class:`Data`.
    """
    on = DEVICES[device]
    n_rows = source.n_rows if rows is None else len(rows)
    width, chunk = on.prediction_width(network, n_rows, dtype), min(n_rows, CHUNK)
    threads = on.threads(network, chunk, n_jobs) if n_rows == 1 or n_rows > width else 1
    purpose = "predict" if targets is None else "evaluate"
    key = None if targets is None else targets.key
    parts = threads if n_rows == 1 else 1
    made = program(
        network, _NAMES[dtype], width, purpose, source.key, key, threads=parts, device=on
    )
    out = np.empty((n_rows, network.outputs), dtype)
    if lengths is not None:  # blocks of similar lengths end early; no bit depends on the order
        lengths = lengths if rows is None else lengths[rows]
        order = np.argsort(lengths.sum(axis=1), kind="stable")
        rows, lengths = order if rows is None else rows[order], lengths[order]
    with on.session(made, chunk, threads) as session:
        packed = session.pack(values) if isinstance(values, (list, tuple)) else values
        session.bind(packed, source, targets, weights, rows, out, lengths=lengths)
        total = session.run(n_rows, chunk, again=False)
    give_way()
    if lengths is not None:
        in_order, out = out, np.empty_like(out)
        out[order] = in_order
    if targets is None:
        return out
    return out, total / amounts(weights, steps, np.arange(n_rows) if rows is None else rows).sum()


def finite(outputs):
    """Return a network's outputs, if all of them are finite numbers."""
    if not np.isfinite(outputs).all():
        raise ValueError(
            "The network's outputs, or their errors, are not finite: X has values too large for "
            f"{outputs.dtype}."
        )
    return outputs


def amounts(weights, steps, rows):
    """Return what the loss of each of the rows weighs."""
    amounts = np.ones(len(rows)) if weights is None else weights[rows]
    return amounts if steps is None else amounts * steps[rows]
