"""Centers that represent rows: cluster means, or a sample of the rows."""

from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from sklearn.utils.random import sample_without_replacement

from ..engine.blas import one_thread

#: Maximum number of k-means iterations: more hardly change the means.
_ROUNDS = 50


def distinct_rows(X, weights, most, random_state):
    """Return the distinct rows of X, in an order of their values only, and the weight of each.

    A row that occurs twice counts as one row of twice the weight. Rows of zero weight are left out;
    of more than `most` rows, a random sample is taken first.
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
    """Return bytes that identify and order rows, the same for all dtypes, dense and sparse."""
    if not sp.issparse(X):
        X = np.ascontiguousarray(X, np.float64) + 0.0  # makes -0.0 and 0.0 the same
        return X.view(np.dtype((np.void, X.itemsize * X.shape[1]))).ravel()
    X.sum_duplicates()
    X.eliminate_zeros()
    # as if the zeros were stored: a nonzero value in an earlier column makes a row greater
    parts = np.empty(X.nnz, np.dtype([("place", ">u4"), ("value", "<f8")]))
    parts["place"], parts["value"] = 2**32 - 1 - X.indices.astype(np.int64), X.data
    out = np.empty(X.shape[0], object)
    out[:] = [parts[a:b].tobytes() for a, b in pairwise(X.indptr)]
    return out


def find_centers(how, n_centers, X, weights, random_state):
    """Return centers for distinct rows X and their weights: cluster means, or some of the rows."""
    if n_centers < X.shape[0]:
        if how == "kmeans":
            return _cluster_means(X, weights, n_centers, random_state)
        p = weights / weights.sum()
        X = X[random_state.choice(X.shape[0], n_centers, replace=False, p=p)]
    return X.toarray() if sp.issparse(X) else X


def _cluster_means(X, weights, n_clusters, random_state):
    from sklearn.cluster import KMeans  # with all that it needs, slow to import

    seed = random_state.randint(2**31 - 1)
    kmeans = KMeans(n_clusters, n_init=1, max_iter=_ROUNDS, random_state=seed)
    # its sums depend on the number of threads, which must not influence the result
    with one_thread(openmp=True):
        return kmeans.fit(X, sample_weight=weights).cluster_centers_
