"""Fits whose minibatches are computed by the workers of a Dask cluster."""

from functools import partial
from math import inf
from numbers import Integral, Real

from ..engine.devices import HOST
from ..engine.optimizers import SOLVERS
from ..estimator.net import Net, trained_by
from ..text.char_rnn import CharRNN
from .trainer import Here, ParallelTrainer
from .workers import Workers


def fit(
    estimator, X, y=None, client=None, *, sample_weight=None, shard_size=64, timeout=60.0,
    **fit_params,
):  # fmt: skip
    """Fit a network by data-parallel stochastic gradient descent on a Dask cluster.

    Each batch is cut into shards of about equal size, of at most `shard_size` rows. The workers
    compute the gradients of the shards, which are added up in the order of the shards, as a binary
    tree; then the optimizer makes one step, in this process. The result depends on `shard_size`,
    but not on the number of workers: it has the same bits on any cluster, on any number of threads,
    and without a cluster. Up to rounding, it is that of ``estimator.fit``, except in networks
    with random layers, where each shard draws its own numbers, and with batch normalization, where
    each shard is normalized by its own mean and variance ("ghost" batch normalization, Hoffer et
    al., 2017) and the running averages are updated by the mean over the shards.

    Every worker gets all training data, once, so they must fit in memory, here and there: what
    would be read on demand is read at once, unless `client` is None. Weights are sent with each
    step. What a lost worker was to compute is computed by others; workers that join the cluster are
    used from the next epoch on. Validation, and everything else that is not a gradient, is computed
    in this process.

    Parameters
    ----------
    estimator : estimator
        A network of this package with one of the minibatch solvers. `n_jobs` is the number of
        threads of each worker; None: as many as it has for tasks.
    X : array-like
        The training samples, as for the estimator's `fit`.
    y : array-like, default=None
        The targets, as for the estimator's `fit`.
    client : distributed.Client or None, default=None
        The client of the cluster. None computes the same in this process. With
        ``Client(..., direct_to_workers=True)`` gradients do not pass through the scheduler.
    sample_weight : array-like of shape (n_samples,), default=None
        Sample weights.
    shard_size : int, default=64
        The largest number of rows of a shard. A batch occupies at most
        ``ceil(batch_size / shard_size)`` workers.
    timeout : float, default=60.0
        Seconds to wait for a worker while the cluster has none.
    **fit_params : dict
        Further arguments of the estimator's `fit`, such as `X_val` and `y_val`.

    Returns
    -------
    estimator : estimator
        The fitted estimator.

    Raises
    ------
    ImportError
        If `client` is given and Dask is not installed.
    TypeError, ValueError
        If the estimator cannot be trained in this way, or for the reasons of its `fit`.
    RuntimeError
        If the connection to the cluster is lost, or all workers for longer than `timeout`. The
        estimator is then unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> import sknn.distributed
    >>> X = np.random.RandomState(0).rand(200, 5)
    >>> net = sknn.MLPNetRegressor(max_iter=200, random_state=0)
    >>> sknn.distributed.fit(net, X, X.sum(axis=1)).score(X, X.sum(axis=1)) > 0.8
    True
    """
    _check(estimator)
    if isinstance(shard_size, bool) or not isinstance(shard_size, Integral) or shard_size < 1:
        raise ValueError(f"shard_size is {shard_size!r}; expected an int of at least 1.")
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 <= timeout < inf:
        raise ValueError(f"timeout is {timeout!r}; expected seconds, at least 0.")
    if client is not None:
        _check_client(client)
    if sample_weight is not None:
        fit_params["sample_weight"] = sample_weight
    crew = Here if client is None else partial(Workers, client=client, timeout=timeout)
    kind = partial(ParallelTrainer, shard_size=int(shard_size), crew=crew)
    with trained_by(estimator, kind):
        return estimator.fit(X, y, **fit_params)


def _check(estimator):
    """Check that an estimator is trained on minibatches whose shards are independent."""
    if not isinstance(estimator, Net):
        raise TypeError(
            f"estimator is {estimator!r}; expected a network of sknn. Pipelines and searches: fit "
            "the network in them by itself, or use joblib's 'dask' backend."
        )
    if isinstance(estimator, CharRNN):
        raise ValueError(
            "CharRNN cannot be fitted in parallel: each batch continues from the recurrent states "
            "of the one before."
        )
    if estimator.solver not in SOLVERS:
        raise ValueError(
            f"solver is {estimator.solver!r}; expected one that trains on minibatches: "
            f"{', '.join(map(repr, SOLVERS))}."
        )
    if getattr(estimator, "cv", None) is not None:
        raise ValueError(
            f"cv is {estimator.cv!r}; expected None: a fit on a cluster trains one network."
        )
    if estimator.device not in ("auto", HOST):
        raise ValueError(
            f"device is {estimator.device!r}; expected 'auto' or 'cpu': workers compute on CPUs."
        )


def _check_client(client):
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            'Fitting on a cluster needs Dask: pip install "sknn[distributed]".'
        ) from error
    if not isinstance(client, Client):
        raise TypeError(f"client is {client!r}; expected a distributed.Client or None.")
    if client.asynchronous:
        raise ValueError("client is asynchronous; expected one with asynchronous=False.")
    if client.status != "running":
        raise ValueError(f"client is {client.status}; expected one that is connected.")
