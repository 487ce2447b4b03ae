"""Widths of centers: how far what is near to each of them spreads."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from ..engine.blas import one_thread
from ..engine.lowering import gather
from ..engine.prediction import CHUNK
from ..layers.radial import add_square_distances
from ..tape.sources import Source
from ..tape.sources import X as X_FIELD
from ..tape.tape import Parameter, Tape

#: Rows from which the number of their dimensions is told.
_MOST_ROWS = 1000
#: How many times the distance of rows from their center a width is, at most. In several
#: dimensions rows of a cluster lie about equally far from the center, and others hardly farther;
#: bumps no wider than that would not overlap. For one feature the factor is 1.
_WIDEST = 4
#: Memory for what is computed of a chunk of rows.
_CHUNK_BYTES = 2**21


def square_distances(X, centers, threads, device):
    """Yield rows of X, a chunk at a time, and their squared distances to all centers."""
    source, (units, inputs) = Source(X), centers.shape
    program = _distances_program(inputs, units, source.key, device)
    n, most = X.shape[0], max(program.width, _CHUNK_BYTES // (8 * units))
    chunk = min(n, program.rows_within(_CHUNK_BYTES, 4), most)
    packed = device.upload(program.layout, [np.ascontiguousarray(centers.T)])
    out = np.empty((chunk, units))
    with device.session(program, chunk, threads) as session:
        for start in range(0, n, chunk):
            rows = np.arange(start, min(start + chunk, n))
            session.bind(packed, source, rows=rows, out=out)
            session.run(len(rows), chunk)
            yield rows, out[: len(rows)]


def wide_enough(widths, X, weights, centers, threads, device):
    """Return widths that are at least the distance to some other centers (see `widths`).

    In one dimension, centers at even distances get about the width of :func:`shared_width`, which
    is ``sqrt(k / 2)`` times that distance; others a smaller one where centers are dense. In more
    dimensions it is the distance to the next one or two, and seldom more than what `widths` are.
    """
    k = len(centers)
    if k == 1:
        return widths
    near = round(2 * (k / 2) ** (1 / _dimensions(X, weights / weights.mean()) - 0.5))
    near = min(max(near, 1), k - 1)
    least = np.empty(k)
    for rows, distances in square_distances(centers, centers, threads, device):
        least[rows] = np.partition(distances, near, axis=1)[:, near]  # the smallest is its own
    return np.maximum(widths, np.sqrt(least))


def cluster_widths(X, weights, centers, threads, device):
    """Return a width for each center, from the rows nearest to it (see the parameter `widths`)."""
    (k, n_features), n = centers.shape, X.shape[0]
    numbers, squares = np.empty(n, np.int64), np.empty(n)
    for rows, distances in square_distances(X, centers, threads, device):
        numbers[rows], squares[rows] = distances.argmin(axis=1), distances.min(axis=1)
    # a mean of equal rows differs from them by its rounding
    rounding = 4 * np.finfo(X.dtype).eps * np.abs(centers).max()
    squares[squares <= n_features * rounding**2] = 0.0
    weights = weights / weights.mean()  # as numbers of rows
    amounts, sums = np.bincount(numbers, weights, k), np.bincount(numbers, weights * squares, k)
    alone = sums == 0  # the rows of a cluster are one, or none
    if n <= k or alone.all():
        return np.full(k, shared_width(centers, threads, device))
    # few rows tell little: their mean is near to them, and their spread uncertain
    dimensions = _dimensions(X, weights)
    extra, pooled = dimensions - 1, sums.sum() / amounts.sum() * n / (n - k)
    amounts[alone] = 1.0
    widths = min(dimensions, _WIDEST) * np.sqrt((sums + extra * pooled) / (amounts + extra))
    widths[alone] = widths[~alone].mean()
    return widths


def _dimensions(X, weights):
    """Return in how many dimensions rows spread: as if alike in so many, and not in the others.

    That is the squared sum of the covariance's eigenvalues over the sum of their squares, from the
    products of at most some rows with each other. Columns that are constant, or that come twice,
    add nothing.
    """
    if X.shape[1] == 1:
        return 1.0
    some = np.linspace(0, X.shape[0] - 1, min(X.shape[0], _MOST_ROWS)).astype(int)
    rows, share = X[some].astype(np.float64), weights[some] / weights[some].sum()
    with one_thread():
        products = rows @ rows.T
    products = products.toarray() if sp.issparse(products) else products
    means = products @ share
    products += share @ means - means - means[:, None]
    total, squares = share @ np.diag(products), share @ products**2 @ share
    return float(np.clip(total**2 / squares, 1.0, X.shape[1])) if squares > 0 else 1.0


def shared_width(centers, threads, device):
    """Return the largest distance between centers, divided by the root of twice their number."""
    parts = square_distances(centers, centers, threads, device)
    largest = max(distances.max() for _, distances in parts)
    return float(np.sqrt(largest / (2 * len(centers)))) or 1.0


@lru_cache(maxsize=32)
def _distances_program(inputs, units, source, device):
    """Return the program that gives out squared distances."""
    tape, z = distances_tape(inputs, units, source, device)
    tape.add("scatter", (z,), (), (units,))
    return device.compile(tape, "float64")


def distances_tape(inputs, units, source, device):
    """Return a tape with the squared distances of a source's rows to centers, and their buffer."""
    packing = device.packing("float64")
    tape = Tape(packing.width(CHUNK), packing=packing)
    centers = tape.parameter(Parameter("centers", (inputs, units), trainable=False))
    x = gather(tape, tape.buffer("x", inputs), X_FIELD, source)
    return tape, add_square_distances(tape, x, inputs, units, centers)
