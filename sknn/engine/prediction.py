"""The outputs of a network, and its loss, for any number of rows in bounded memory."""

import numpy as np

from ..cpu.program import ONES, Team
from .lowering import program
from .network import BLOCK_WIDTH, block_width, prediction_width
from .threads import count_threads, give_way

_NAMES = {np.dtype(name): name for name in ("float32", "float64")}
#: Multiply-adds in a step below which one thread more costs more than it brings.
_WORK_PER_THREAD = 800_000
#: Rows that are predicted, or whose gradient is summed, between two looks at Python.
CHUNK = 8192


def training_width(network, rows, dtype):
    """Return the width of a block for training in batches of `rows` rows.

    Only sequences are trained one at a time: their steps are work enough.
    """
    return block_width(rows if network.sequential else max(rows, 2), dtype)


def team_size(n_jobs, network, rows):
    """Return how many threads to take for steps of `rows` rows; it changes nothing in the result.

    Small steps keep one thread busy at most, and then nobody asks how many there are. Over time a
    block of sequences goes on one thread, and most of the work is that.
    """
    most = 3 * network.operations * rows // _WORK_PER_THREAD
    if network.sequential:
        most = min(most, -(-rows // BLOCK_WIDTH))
    return 1 if most < 2 else min(count_threads(n_jobs), most)


def predict(
    network, values, dtype, source, n_jobs, targets=None, weights=None, rows=None, lengths=None,
    steps=None,
):  # fmt: skip
    """Return the network's outputs for all rows of a source, or for some, in bounded memory.

    With `targets`, return the outputs and their mean loss too. `weights`, `lengths` and `steps` are
    by row of the source, as those of :class:`Data`.
    """
    n_rows = source.n_rows if rows is None else len(rows)
    width, chunk = prediction_width(network, n_rows, dtype), min(n_rows, CHUNK)
    size = team_size(n_jobs, network, chunk) if n_rows == 1 or n_rows > width else 1
    purpose = "predict" if targets is None else "evaluate"
    key = None if targets is None else targets.key
    parts = size if n_rows == 1 else 1
    made = program(network, _NAMES[dtype], width, purpose, source.key, key, parts=parts)
    out = np.empty((n_rows, network.outputs), dtype)
    if lengths is not None:  # blocks of similar lengths end early; no bit depends on the order
        lengths = lengths if rows is None else lengths[rows]
        order = np.argsort(lengths.sum(axis=1), kind="stable")
        rows, lengths = order if rows is None else rows[order], lengths[order]
    with Team(size) as team:
        session = made.borrow(chunk, team)
        packed = values if isinstance(values, np.ndarray) else session.pack(values)
        session.bind(packed, source, targets, weights, rows, out, lengths=lengths)
        n_runs = -(-n_rows // chunk)
        rates = ONES if n_runs == 1 else np.ones((n_runs, 2))
        total = session.run(n_rows, chunk, rates, again=False)
    made.give_back(session)
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
