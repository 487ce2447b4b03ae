"""Autoencoders: relative times of an epoch, and reconstruction errors on MNIST."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import product
from statistics import median

import joblib
import numpy as np
from sklearn.metrics import mean_squared_error

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)
from sknn.layers import Conv2D, MaxPooling2D, UpSampling2D

from .peers import as_fractions, digits_like, mnist, torch
from .table import Row, Task
from .timing import Side, ratios, seconds

SPEED, ACCURACY = "autoencoder-speed", "autoencoder-accuracy"
IMAGE = (28, 28, 1)

# name: the estimator, its parameters, the batch size, the target against PyTorch
EPOCHS = {
    "784-32-784": (
        AutoencoderTransformer, {"hidden_layer_sizes": 32, "loss": "log_loss"}, 256, 1.8,
    ),
    "784-512-256-128-64 and back": (
        AutoencoderTransformer,
        {"hidden_layer_sizes": (512, 256, 128, 64), "output_activation": "relu"}, 256, 1.5,
    ),
    "convolutional": (
        ConvAutoencoderTransformer, {"image_shape": IMAGE, "loss": "log_loss"}, 128, 2,
    ),
    "VAE 784-400-20": (
        VariationalAutoencoderTransformer,
        {"n_components": 20, "hidden_layer_sizes": 400, "loss": "log_loss"}, 128, 1.5,
    ),
}  # fmt: skip

# name: the estimator, its parameters, seeds, the target mean cross-entropy per test pixel
CROSS_ENTROPIES = {
    "784-32-784": (AutoencoderTransformer, {"hidden_layer_sizes": 32}, 3, 0.093),
    "784-128-64-32 and back": (
        AutoencoderTransformer, {"hidden_layer_sizes": (128, 64, 32)}, 3, 0.09,
    ),
    "convolutional": (
        ConvAutoencoderTransformer,
        {"image_shape": IMAGE, "batch_size": 128, "learning_rate_init": 4e-3}, 1, 0.094,
    ),
}  # fmt: skip

#: Weight of the L1 penalty that makes the code sparse.
ACTIVITY_L1 = 1e-4

_CONVOLUTION = Conv2D(16, 3, padding="same", activation="relu")

# name: the estimator, epochs, its parameters
DENOISING = {
    "784-512-784": (AutoencoderTransformer, 15, {"hidden_layer_sizes": 512, "loss": "log_loss"}),
    # With its code of 128 values, even clean images have nearly as much error as the target.
    "convolutional": (
        ConvAutoencoderTransformer, 50,
        {
            "image_shape": IMAGE, "batch_size": 128, "learning_rate_init": 4e-3,
            "loss": "log_loss",
        },
    ),
    "convolutional, code of 7x7x16": (
        ConvAutoencoderTransformer, 10,
        {
            "encoder": [_CONVOLUTION, MaxPooling2D(2)] * 2,
            "decoder": [
                *[_CONVOLUTION, UpSampling2D(2)] * 2, Conv2D(1, 3, padding="same")
            ],
            "image_shape": IMAGE, "batch_size": 128, "learning_rate_init": 5e-3,
        },
    ),
}  # fmt: skip


def tasks():
    """List the measurements of autoencoders."""
    for network, row in EPOCHS.items():
        name = f"epoch, {network}, batch {row[2]}"
        yield Task(SPEED, name, partial(_epoch, name, network, row))
    for network, row in CROSS_ENTROPIES.items():
        name = f"cross-entropy, {network}, 50 epochs"
        yield Task(ACCURACY, name, partial(_cross_entropy, name, row))
    for name, run in [
        ("sparse 784-32-784, 50 epochs", _sparse),
        ("VAE 784-400-2, 15 epochs", _same_bound),
    ]:
        yield Task(ACCURACY, name, partial(run, name))
    for network, row in DENOISING.items():
        name = f"denoising, {network}, {row[1]} epochs"
        yield Task(ACCURACY, name, partial(_denoising, name, row))


# --- times


@dataclass(frozen=True)
class _Way:
    """One way to train a network in PyTorch: a function for one epoch, and a context for it."""

    epoch: Callable[[object], object]
    around: Callable[[], AbstractContextManager]

    def side(self, rows):
        return Side(partial(self.epoch, rows), self.around)


def _epoch(name, network, row, settings):
    kind, parameters, batch_size, target = row
    X = _pixels(settings)
    # no averaging of weights, as in PyTorch
    net = kind(**parameters, batch_size=batch_size, average=False, random_state=0)
    sides = {"sknn": Side(partial(net.partial_fit, X))}
    sides["sknn"].run()
    if torch is not None:
        ways = _torch_ways(network, parameters.get("loss", "squared_error"), batch_size)
        rows = torch.from_numpy(X)
        best = _fastest(ways, rows[: 10 * batch_size], settings.repeats)
        sides["PyTorch"] = best.side(rows)
        sides["PyTorch"].run()
    measured = ratios(sides, settings.repeats)
    yield Row(SPEED, name, "PyTorch", measured.get("PyTorch"), target, "x")


def _pixels(settings):
    """Return 10,000 images of MNIST, or random data of that shape."""
    n = 20 if settings.quick else 10_000
    if not settings.mnist.exists():
        return digits_like(n, 784, 10)[0]
    return as_fractions(mnist(settings.mnist, every=60_000 // n)[0])


def _torch_ways(network, loss, batch_size):
    """Return PyTorch's variants: layouts, losses, optimizer steps, threads, with oneDNN or not."""
    from . import torch_autoencoders as peer
    from .torch_recurrent import conditions

    ways, threads = [], sorted({1, joblib.cpu_count()}, reverse=True)
    for make, error, step in product(peer.NETWORKS[network], peer.ERRORS[loss], peer.STEPS):
        model = make()
        epoch = partial(peer.epoch, model, peer.adam(model, **step), error, batch_size)
        around = [partial(conditions, *pair) for pair in product(threads, (True, False))]
        ways += [_Way(epoch, each) for each in around]
    return ways


def _fastest(ways, rows, repeats):
    """Return the variant that trains fastest on some rows, by its best time of several."""

    def best(way):
        return min(seconds(way.side(rows)) for _ in range(repeats))

    return min(ways, key=best)


# --- errors


def _digits(settings):
    """Return the training and test images of MNIST, scaled to [0, 1]; None if it is absent."""
    if not settings.mnist.exists():
        return None
    X, _, X_test, _ = mnist(settings.mnist, every=200 if settings.quick else 1)
    return as_fractions(X), as_fractions(X_test[:: 20 if settings.quick else 1])


def _fitted(kind, settings, X, epochs, seed, batch_size=256, **parameters):
    """Return an estimator trained for all epochs."""
    net = kind(
        max_iter=1 if settings.quick else epochs,
        batch_size=batch_size,
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=seed,
        **parameters,
    )
    return net.fit(X)


def _seeds(settings, n=3):
    return range(1 if settings.quick else n)


def _cross_entropy(name, row, settings):
    (kind, parameters, seeds, target), measured = row, None
    digits = _digits(settings)
    if digits is not None:
        X, X_test = digits
        measured = median(
            -_fitted(kind, settings, X, 50, seed, loss="log_loss", **parameters).score(X_test)
            for seed in _seeds(settings, seeds)
        )
    against = f"{seeds} seeds" if seeds > 1 else "1 seed"
    yield Row(ACCURACY, name, against, measured, target, at_least=False)


def _sparse(name, settings):
    """Compare the codes of a sparse autoencoder with those of the plain one."""
    digits, shares, losses = _digits(settings), [], []
    if digits is not None:
        X, X_test = digits
        for seed in _seeds(settings):
            plain, sparse = (
                _fitted(
                    AutoencoderTransformer, settings, X, 50, seed, hidden_layer_sizes=32,
                    activation="relu", loss="log_loss", activity_l1=strength,
                    learning_rate_init=1e-3,
                )
                for strength in (0.0, ACTIVITY_L1)
            )  # fmt: skip
            shares.append(float(sparse.transform(X_test).mean() / plain.transform(X_test).mean()))
            losses.append(-sparse.score(X_test))
    share, loss = (median(values) if values else None for values in (shares, losses))
    unit = "x its mean"
    yield Row(ACCURACY, f"code, {name}", "plain 784-32-784", share, 0.5, unit, at_least=False)
    yield Row(ACCURACY, f"cross-entropy, {name}", "3 seeds", loss, 0.1, at_least=False)


def _denoising(name, row, settings):
    """Compare the errors of noisy images before and after reconstruction."""
    (kind, epochs, parameters), digits, share = row, _digits(settings), None
    if digits is not None:
        X, clean = digits
        noise = np.random.RandomState(0).normal(0.0, 0.25, clean.shape)
        noisy = np.clip(clean + noise, 0.0, 1.0).astype(np.float32)
        net = _fitted(
            kind, settings, X, epochs, 0, noise=0.25, noise_range=(0.0, 1.0), **parameters
        )
        before = mean_squared_error(clean, noisy)
        after = mean_squared_error(clean, net.reconstruct(noisy))
        share = after / before
        name = f"{name} (squared error {after:.5f} after {before:.5f})"
    unit = "x their error"
    yield Row(ACCURACY, name, "the noisy images", share, 1 / 3, unit, at_least=False)


def _same_bound(name, settings):
    digits, ratio = _digits(settings), None
    if digits is not None and torch is not None:
        ours = median(_our_bound(*digits, settings, seed) for seed in _seeds(settings))
        theirs = median(_their_bound(*digits, settings, seed) for seed in _seeds(settings))
        ratio = ours / theirs
        name = f"{name} (ELBO {ours:.2f} nats per image, PyTorch {theirs:.2f})"
    yield Row(ACCURACY, name, "PyTorch", ratio, 1.01, "x its test loss", at_least=False)


def _our_bound(X, X_test, settings, seed):
    net = _fitted(
        VariationalAutoencoderTransformer, settings, X, 15, seed, batch_size=128, n_components=2,
        hidden_layer_sizes=400, loss="log_loss",
    )  # fmt: skip
    return float(net.elbo(X_test, n_samples=5, random_state=seed).mean())


def _their_bound(X, X_test, settings, seed):
    from . import torch_autoencoders as peer

    torch.manual_seed(seed)
    model = peer.Variational(784, 400, 2)
    peer.begin_as_sknn(model)
    optimizer, rows = peer.adam(model, fused=True), torch.from_numpy(X)
    for _ in range(1 if settings.quick else 15):
        peer.epoch(model, optimizer, peer.ERRORS["log_loss"][0], 128, rows)
    return peer.bound(model, torch.from_numpy(X_test), 5)
