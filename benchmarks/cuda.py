"""Training on a GPU, against PyTorch on the same GPU: by default, and with CUDA graphs.

Times are of a fit of several epochs. Ours include the transfer of the data, while PyTorch's data
are already on the GPU. Without a GPU there are no figures; at quick settings both sides then run on
the CPU, to check that they run.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from sknn import (
    ConvNetClassifier,
    MLPNetClassifier,
    RNNClassifier,
    VariationalAutoencoderTransformer,
)

from .networks import NETWORKS
from .peers import torch
from .table import Row, Task
from .timing import Side, ratios, seconds

POINT = "cuda"
BATCHES = 128, 4096


@dataclass(frozen=True)
class Case:
    """A network: the shape of its inputs, its multiply-adds, and its implementations.

    ``ours(**parameters)`` returns the estimator, ``theirs(peer)`` the PyTorch model; `target` is
    the target against PyTorch's default.
    """

    shape: tuple
    work: float
    ours: object
    theirs: object
    target: float
    classes: int | None = 10
    epochs: int = 5


def _dense(*sizes, target, classes=10):
    hidden = sizes[1:-1]
    return Case(
        sizes[:1], float(np.dot(sizes[:-1], sizes[1:])), partial(MLPNetClassifier, hidden),
        lambda peer: peer.dense(*sizes), target, classes,
    )  # fmt: skip


def _convolutional(name, target, work):
    make, shape = NETWORKS[name]
    return Case(
        shape, work, lambda **parameters: ConvNetClassifier(make(shape), **parameters),
        lambda peer: peer.convolutional(name), target,
    )  # fmt: skip


#: Cases by name. Multiply-adds are per sample, in the forward pass.
CASES = {
    "MLP 64-100-10": _dense(64, 100, 10, target=5),
    "MLP 784-512-10": _dense(784, 512, 10, target=2),
    "MLP 4096-4096-4096-10": _dense(4096, 4096, 4096, 10, target=0.5),
    "LeNet-5": _convolutional("LeNet-5", 2, 4.2e5),
    "32-32-pool-64-64-pool-128": _convolutional("32-32-pool-64-64-pool-128", 0.5, 2.5e7),
    "ResNet-20": _convolutional("resnet20", 0.5, 4.1e7),
    "LSTM of 256, 64 steps": Case(
        (64, 64), 64 * 4 * 256 * (64 + 256.0),
        lambda **parameters: RNNClassifier("lstm", 256, **parameters),
        lambda peer: peer.lstm(64, 256, 10), 1.5,
    ),
    "VAE 784-400-20": Case(
        (784,), 784 * 400 * 2 + 400 * 60.0,
        lambda **parameters: VariationalAutoencoderTransformer(
            20, 400, loss="log_loss", **parameters
        ),
        lambda peer: peer.variational(784, 400, 20), 0.5, None,
    ),
}  # fmt: skip


def tasks():
    """List the measurements of training on a GPU."""
    for name, case in CASES.items():
        for batch in BATCHES:
            title = f"fit, {name}, batch {batch}"
            yield Task(POINT, title, partial(_fit, title, case, batch))


def _gpu():
    """Return the first GPU as a device, or None."""
    from sknn.engine.devices import device_named

    try:
        return device_named("cuda")
    except (ImportError, RuntimeError):
        return None


def _fit(name, case, batch, settings):
    gpu = _gpu()
    if gpu is None and not settings.quick:
        yield Row(POINT, name, "PyTorch", None, case.target, "x")
        return
    if settings.quick:  # ten samples, of ten classes
        measured, share = _measured(case, 5, 2, 1, gpu, settings.repeats)
    else:
        size = batch, max(4, 16384 // batch), case.epochs
        measured, share = _measured(case, *size, gpu, settings.repeats)
    against = "PyTorch" if gpu is not None else "PyTorch, both on the CPU"
    yield Row(POINT, name, against, measured.get("PyTorch"), case.target, "x")
    if "PyTorch, CUDA graphs" in measured:
        against = "PyTorch, CUDA graphs"
        yield Row(POINT, name, against, measured[against], None, "x")
    if gpu is not None:
        yield Row(POINT, name, "the GPU's float32 peak", share, None, "%")


@cache  # at quick settings, all batch sizes of a case are the same
def _measured(case, batch, steps, epochs, gpu, repeats):
    """Return ratios to PyTorch's times, and the percentage of the GPU's peak, or None."""
    device = "cpu" if gpu is None else "cuda"
    random = np.random.RandomState(0)
    X = random.rand(batch * steps, *case.shape).astype(np.float32)
    y = None if case.classes is None else np.arange(len(X)) % case.classes
    net = case.ours(
        batch_size=batch, max_iter=epochs, tol=0.0, n_iter_no_change=epochs + 1, random_state=0,
        device=device,
    )  # fmt: skip
    fit = partial(net.fit, X) if y is None else partial(net.fit, X, y)
    fit()
    sides = {"sknn": Side(fit)}
    if torch is not None:
        from . import torch_cuda as peer

        for way in ("PyTorch", "PyTorch, CUDA graphs") if device == "cuda" else ("PyTorch",):
            graphs = way != "PyTorch"
            train = peer.trainer(case.theirs(peer), X, y, batch, device, graphs)
            train(1)
            sides[way] = Side(partial(train, epochs))
    measured = ratios(sides, repeats)
    if gpu is None:
        return measured, None
    # three products of the same size: one in the forward pass, two in the backward pass
    rate = 2 * 3 * case.work * len(X) * epochs / seconds(sides["sknn"])
    return measured, 100 * rate / gpu.driver.peak
