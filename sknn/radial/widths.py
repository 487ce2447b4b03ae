"""The widths of centers, from the spread of the rows around each of them."""

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

#: Number of rows that the effective number of dimensions is estimated from.
_MOST_ROWS = 1000
#: The largest ratio of a width to the root mean square distance of rows from their center. In
#: several dimensions, the rows of a cluster are about equally far from the center, and other rows
#: hardly farther: basis functions only as wide as that distance would not overlap. For one feature
#: the ratio is 1.
_WIDEST = 4
#: Memory for the buffers of a chunk of rows.
_CHUNK_BYTES = 2**21


def square_distances(X, centers, threads, device):
    """Yield the indices of rows of X, a chunk at a time, and their squared distances to centers."""
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
    """Return the widths, raised to at least the distance to some near center (see `widths`).

    In one dimension, evenly spaced centers get about the width of :func:`shared_width`, which is
    ``sqrt(k / 2)`` times their spacing; where centers are dense, widths are smaller. In more
    dimensions, the minimum is the distance to the nearest or second nearest center, which is seldom
    more than the given widths.
    """
    k = len(centers)
    if k == 1:
        return widths
    near = round(2 * (k / 2) ** (1 / _dimensions(X, weights / weights.mean()) - 0.5))
    near = min(max(near, 1), k - 1)
    least = np.empty(k)
    for rows, distances in square_distances(centers, centers, threads, device):
        # the smallest distance is that of a center to itself
        least[rows] = np.partition(distances, near, axis=1)[:, near]
    return np.maximum(widths, np.sqrt(least))


def cluster_widths(X, weights, centers, threads, device):
    """Return a width for each center, from the rows nearest to it (see the parameter `widths`)."""
    (k, n_features), n = centers.shape, X.shape[0]
    numbers, squares = np.empty(n, np.int64), np.empty(n)
    for rows, distances in square_distances(X, centers, threads, device):
        numbers[rows], squares[rows] = distances.argmin(axis=1), distances.min(axis=1)
    # the mean of equal rows differs from them by a rounding error
    rounding = 4 * np.finfo(X.dtype).eps * np.abs(centers).max()
    squares[squares <= n_features * rounding**2] = 0.0
    weights = weights / weights.mean()  # so that their sum is the number of rows
    amounts, sums = np.bincount(numbers, weights, k), np.bincount(numbers, weights * squares, k)
    alone = sums == 0  # clusters of a single row, or of none
    if n <= k or alone.all():
        return np.full(k, shared_width(centers, threads, device))
    # few rows are close to their own mean, and their spread is uncertain
    dimensions = _dimensions(X, weights)
    extra, pooled = dimensions - 1, sums.sum() / amounts.sum() * n / (n - k)
    amounts[alone] = 1.0
    widths = min(dimensions, _WIDEST) * np.sqrt((sums + extra * pooled) / (amounts + extra))
    widths[alone] = widths[~alone].mean()
    return widths


def _dimensions(X, weights):
    """Return the effective number of dimensions in which rows spread.

    This is the participation ratio: the squared sum of the covariance's eigenvalues divided by the
    sum of their squares. It is computed from the Gram matrix of at most 1000 rows. Columns that are
    constant, or duplicates of others, add nothing.
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
    """Return the largest distance between centers divided by ``sqrt(2 * n_centers)``."""
    parts = square_distances(centers, centers, threads, device)
    largest = max(distances.max() for _, distances in parts)
    return float(np.sqrt(largest / (2 * len(centers)))) or 1.0


@lru_cache(maxsize=32)
def _distances_program(inputs, units, source, device):
    """Return the program that computes squared distances."""
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
