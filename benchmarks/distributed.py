"""Data-parallel steps on a Dask cluster of one and two processes on this machine."""

import importlib.util
import logging
import time
from contextlib import contextmanager
from functools import partial

import numpy as np

from sknn import ConvNetClassifier, MLPNetClassifier
from sknn import distributed as parallel
from sknn.distributed.shards import cut, nodes
from sknn.layers import Activation, Conv2D, Flatten

from .table import Row, Task

POINT = "distributed"
WORKERS = 1, 2
SHARD = 64


def tasks():
    """List the measurements: one for all networks, since the cluster is started once."""
    yield Task(POINT, "steps of data-parallel fits", _steps)


def _networks(settings):
    """Yield names, networks, and the shape of X: few parameters and much work, and the reverse."""
    batch = 128 if settings.quick else 1024
    common = {"batch_size": batch, "shuffle": False, "tol": 0, "random_state": 0, "n_jobs": 1}
    wide = 32 if settings.quick else 2048
    filters = 2 if settings.quick else 32
    layers = [Conv2D(filters, 3), Activation("relu"), Conv2D(filters, 3, strides=2), Flatten()]
    yield f"64-100-10, batches of {batch}", MLPNetClassifier((100,), **common), (64,)
    shape = 28, 28, 1
    net = ConvNetClassifier(layers, image_shape=shape, **common)
    yield f"two convolutions of {filters} filters, batches of {batch}", net, shape
    name = f"784-{wide}-{wide}-10, batches of {batch}"
    yield name, MLPNetClassifier((wide, wide), **common), (784,)


def _steps(settings):
    if importlib.util.find_spec("distributed") is None:
        yield Row(POINT, "steps of data-parallel fits", "one process", None, None)
        return
    seconds, bytes_sent = {}, {}
    for n in WORKERS:
        with _cluster(n) as client:
            for name, net, shape in _networks(settings):
                data = _data(net, shape)
                if n == WORKERS[0]:
                    seconds[name, 0] = _seconds(settings, type(net).fit, net, *data)
                fit = partial(parallel.fit, client=client, shard_size=SHARD)
                seconds[name, n] = _seconds(settings, fit, net, *data)
                bytes_sent[name, n] = _bytes(net, n)
    for name, n in bytes_sent:
        count = f"{n} worker{'s' * (n > 1)}"
        step, alone = seconds[name, n], seconds[name, 0]
        yield Row(POINT, f"a step of {name}", count, 1e3 * step, None, " ms")
        yield Row(POINT, f"sent for a step of {name}", count, bytes_sent[name, n], None, " MB")
        yield Row(POINT, f"steps of {name}, {count}", "fit, one thread", alone / step, None, "x")


@contextmanager
def _cluster(n):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n, threads_per_worker=1, dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        yield client


def _data(net, shape):
    random = np.random.RandomState(0)
    X = random.rand(4 * net.batch_size, *shape).astype(np.float32)
    return X, np.arange(len(X)) % 10


class _Clock:
    """A callback that notes when epochs end."""

    def __init__(self):
        self.times = []

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.times.append(time.perf_counter())


def _seconds(settings, fit, net, X, y):
    """Return the seconds of a step, from the median of the epochs after the first one."""
    clock = _Clock()
    net.set_params(max_iter=2 + settings.repeats).set_callbacks(clock)
    fit(net, X, y)
    net.set_callbacks()
    return float(np.median(np.diff(clock.times))) * net.batch_size / len(X)


def _bytes(net, n):
    """Return the megabytes that go to the workers and back in a step."""
    size = sum(value.nbytes for value in net._held_weights().values)
    shards = -(-net.batch_size // SHARD)
    ends = cut(0, shards, min(n, shards))
    back = sum(len(nodes(first, last, shards)) for first, last in zip(ends, ends[1:]))
    return ((len(ends) - 1 + back) * size + 8 * net.batch_size) / 1e6
