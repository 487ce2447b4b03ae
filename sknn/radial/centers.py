"""Centers that summarise rows, and how far what is near to each of them spreads."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.utils.random import sample_without_replacement

from ..engine.blas import one_thread
from ..engine.lowering import gather
from ..engine.prediction import CHUNK
from ..layers.radial import add_square_distances
from ..tape.sources import Source
from ..tape.sources import X as X_FIELD
from ..tape.tape import Parameter, Tape

#: Rounds of k-means at most: more of them hardly move a mean.
_ROUNDS = 50
#: Rows from which the number of their dimensions is told.
_MOST_ROWS = 1000
#: How many times the distance of rows from their center a width is, at most. In several
#: dimensions rows of a cluster lie about equally far from the center, and others hardly farther;
#: bumps no wider than that would not overlap. For one feature the factor is 1.
_WIDEST = 4
#: Memory for what is computed of a chunk of rows.
_CHUNK_BYTES = 2**21


def distinct_rows(X, weights, most, random_state):
    """Return different rows of X, in an order of their own, and the weight of each.

    Rows without weight are left out; of more than `most`, a random sample is taken. So a row that
    comes twice is the same as one of twice the weight.
    """
    rows = np.arange(X.shape[0]) if weights is None else np.flatnonzero(weights)
    if len(rows) > most:
        chosen = sample_without_replacement(len(rows), most, random_state=random_state)
        rows = rows[np.sort(chosen)]
    some = X.tocsr()[rows] if sp.issparse(X) else X[rows]
    some = some.astype(some.dtype if some.dtype in (np.float32, np.float64) else np.float64)
    _, first, inverse = np.unique(_keys(some), return_index=True, return_inverse=True)
    weights = np.ones(len(rows)) if weights is None else weights[rows]
    return some[first], np.bincount(inverse, weights)


def _keys(X):
    """Return bytes that tell rows apart, and order them: alike for all types, dense and sparse."""
    if not sp.issparse(X):
        X = np.ascontiguousarray(X, np.float64) + 0.0  # there are two zeros
        return X.view(np.dtype((np.void, X.itemsize * X.shape[1]))).ravel()
    X.sum_duplicates()
    X.eliminate_zeros()
    # as if the zeros were there: what is not zero in an earlier column makes a row greater
    parts = np.empty(X.nnz, np.dtype([("place", ">u4"), ("value", "<f8")]))
    parts["place"], parts["value"] = 2**32 - 1 - X.indices.astype(np.int64), X.data
    out = np.empty(X.shape[0], object)
    out[:] = [parts[a:b].tobytes() for a, b in pairwise(X.indptr)]
    return out


def find_centers(how, n_centers, X, weights, random_state):
    """Return centers for different rows X and their weights: means of clusters, or some rows."""
    if n_centers < X.shape[0]:
        if how == "kmeans":
            return _cluster_means(X, weights, n_centers, random_state)
        p = weights / weights.sum()
        X = X[random_state.choice(X.shape[0], n_centers, replace=False, p=p)]
    return X.toarray() if sp.issparse(X) else X


def _cluster_means(X, weights, n_clusters, random_state):
    seed = random_state.randint(2**31 - 1)
    kmeans = KMeans(n_clusters, n_init=1, max_iter=_ROUNDS, random_state=seed)
    # its sums depend on the number of threads, which must not decide what is found
    with one_thread(openmp=True):
        return kmeans.fit(X, sample_weight=weights).cluster_centers_


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
    total = share @ np.diag(products)
    return float(np.clip(total**2 / (share @ products**2 @ share), 1.0, X.shape[1]))


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
