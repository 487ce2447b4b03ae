"""Convolutional networks: relative times, memory, and accuracy on MNIST."""

import importlib.util
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from sknn.layers import RandomShift

from .networks import classifier, images_for, load_vgg16, save_vgg16
from .peers import as_fractions, mnist, torch
from .processes import children
from .table import Row, Task
from .timing import Side, ratios, seconds

SPEED, IMAGE, MEMORY, ACCURACY = "conv-speed", "conv-image", "conv-memory", "conv-accuracy"

#: Names of PyTorch's memory layouts, and whether they are channels-last.
LAYOUTS = {"PyTorch": False, "PyTorch, channels_last": True}

# name: images, epochs, the targets against PyTorch's layouts
FITS = {
    "LeNet-5": (5120, 5, 4, 2.5),
    "32-32-pool-64-64-pool-128": (1280, 4, 1.5, 1.35),
    "resnet20": (1280, 3, 1.5, 1.3),
}

#: Parameters that differ from the defaults in the fits whose accuracy is measured.
ACCURACIES = {
    "": {},
    ", averaged": {"average": True},
    ", one cycle": {"learning_rate": "one_cycle"},
    ", shifted by a pixel": {"augmentation": RandomShift(1, 1)},
}

#: Batch sizes for PyTorch's predictions, of which the fastest counts.
BATCHES = (100, 500, 2500, 10_000)


def tasks():
    """List the measurements of the convolutional networks, except for those of their kernels."""
    for network, (*sizes, default, channels_last) in FITS.items():
        name = f"fit {network}, batch 128"
        targets = dict(zip(LAYOUTS, (default, channels_last)))
        yield Task(SPEED, name, partial(_fit, name, network, sizes, targets))
    for point, name, run in [
        (SPEED, "predict 10,000 images, LeNet-5", _predict_many),
        (IMAGE, "predict one image, LeNet-5", _predict_one),
        (IMAGE, "predict one image, vgg16", _predict_vgg16),
        (MEMORY, "predict one image, vgg16", _memory_of_vgg16),
    ]:
        yield Task(point, name, partial(run, name))
    for network in FITS:
        name = f"fit {network}, batch 128"
        yield Task(MEMORY, name, partial(_memory_of_fit, name, network))
    for what, changes in ACCURACIES.items():
        name = f"accuracy on MNIST, LeNet-5, 12 epochs{what}"
        yield Task(ACCURACY, name, partial(_mnist_accuracy, name, changes))


def _rows(point, name, measured, targets):
    return [
        Row(point, name, peer, measured.get(peer), target, "x") for peer, target in targets.items()
    ]


# --- times


def _fit(name, network, sizes, targets, settings):
    samples, epochs = (40, 1) if settings.quick else sizes
    X, y = images_for(network, samples)
    classifier(network, 1).fit(X, y)
    sides = {"sknn": Side(lambda: classifier(network, epochs).fit(X, y))}
    if torch is not None:
        from . import torch_networks

        for peer, channels_last in LAYOUTS.items():
            images = torch_networks.as_tensor(X, channels_last)
            run = partial(torch_networks.fit, network, images, y, channels_last=channels_last)
            run(1)
            sides[peer] = Side(partial(run, epochs))
    return _rows(SPEED, name, ratios(sides, settings.repeats), targets)


def _predict_many(name, settings):
    X, y = images_for("LeNet-5", 200 if settings.quick else 10_000)
    net = classifier("LeNet-5", 1).fit(X[:1000], y[:1000])
    sides = {"sknn": Side(partial(net.predict, X))}
    sides["sknn"].run()
    if torch is not None:
        from . import torch_networks

        for peer, channels_last in LAYOUTS.items():
            model = torch_networks.network("LeNet-5", channels_last).eval()
            images = torch_networks.as_tensor(X, channels_last)
            sides[peer] = _best_batches(partial(torch_networks.predict, model, images))
    measured = ratios(sides, 3 * settings.repeats, loops=3)
    return _rows(SPEED, name, measured, dict(zip(LAYOUTS, (4, 3))))


def _best_batches(predict):
    """Return PyTorch's predictions as a side, with the fastest batch size."""
    sides = [Side(partial(predict, batch)) for batch in BATCHES]
    for side in sides:
        side.run()
    return min(sides, key=partial(seconds, loops=3))


def _predict_one(name, settings):
    X, y = images_for("LeNet-5", 40 if settings.quick else 1000)
    sides = {"sknn": Side(partial(classifier("LeNet-5", 1).fit(X, y).predict, X[:1]))}
    if torch is not None:
        from . import torch_networks

        for peer, channels_last in LAYOUTS.items():
            model = torch_networks.network("LeNet-5", channels_last).eval()
            image = torch_networks.as_tensor(X[:1], channels_last)
            sides[peer] = Side(partial(torch_networks.predict, model, image, 1))
    return _image_rows(name, sides, settings, 5 if settings.quick else 200, 1)


def _predict_vgg16(name, settings):
    sides = {}
    with _vgg16_file(settings) as (path, shape):
        if path is not None:
            image = np.random.RandomState(0).rand(1, *shape).astype(np.float32)
            sides["sknn"] = Side(partial(load_vgg16(path, shape).predict, image))
        if path is not None and torch is not None:
            from . import torch_networks

            for peer, channels_last in LAYOUTS.items():
                model = torch_networks.load_vgg16(path, shape, channels_last)
                tensor = torch_networks.as_tensor(image, channels_last)
                sides[peer] = Side(partial(torch_networks.predict, model, tensor, 1))
    return _image_rows(name, sides, settings, 1, 1 / 1.5)


def _image_rows(name, sides, settings, loops, target):
    """Measure sides that predict one image; the target is against PyTorch's default layout."""
    for side in sides.values():
        side.run()
    measured = ratios(sides, 3 * settings.repeats, loops) if sides else {}
    return _rows(IMAGE, name, measured, dict(zip(LAYOUTS, (target, None))))


@contextmanager
def _vgg16_file(settings):
    """Yield the path of a file of random weights, and the shape of an image.

    The path is None if safetensors is not installed. Quick settings use small images, for which
    there are far fewer weights.
    """
    shape = (32, 32, 3) if settings.quick else (224, 224, 3)
    if importlib.util.find_spec("safetensors") is None:
        yield None, shape
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "vgg16.safetensors"))
        save_vgg16(path, shape)
        yield path, shape


# --- memory


def _memory_of_vgg16(name, settings):
    with _vgg16_file(settings) as (path, shape):
        call = None if path is None else f"vgg16_memory({{peer!r}}, {path!r}, {shape})"
        yield _memory_row(name, call, settings, 1.5)


def _memory_of_fit(name, network, settings):
    samples = 40 if settings.quick else 1280
    yield _memory_row(name, f"fit_memory({{peer!r}}, {network!r}, {samples})", settings, None)


def _memory_row(name, call, settings, target):
    """Compare how much a call raises the peak memory on both sides, each in its own process."""
    peers = ("sknn",) if torch is None else ("sknn", "PyTorch")
    rises = {}
    if call is not None:
        calls = [call.format(peer=peer) for peer in peers]
        found = zip(*(children(calls, quick=settings.quick) for _ in range(settings.repeats)))
        rises = {peer: None if None in each else median(each) for peer, each in zip(peers, found)}
    ours, theirs = (rises.get(peer) for peer in ("sknn", "PyTorch"))
    ratio = None if ours is None or theirs is None else ours / theirs
    if ratio is not None:
        name = f"{name} ({ours:.4g} MB, PyTorch {theirs:.4g} MB)"
    return Row(MEMORY, name, "PyTorch", ratio, target, "x its memory", at_least=False)


# --- accuracy


def _mnist_accuracy(name, changes, settings):
    seeds, epochs, every = (1, 1, 10) if settings.quick else (4, 12, 1)
    ours = theirs = None
    if settings.mnist.exists():
        X, y, X_test, y_test = mnist(settings.mnist, every)
        X, X_test = (as_fractions(images).reshape(-1, 28, 28, 1) for images in (X, X_test))
        net = classifier("LeNet-5", epochs, **changes)
        scores = [
            net.set_params(random_state=seed).fit(X, y).score(X_test, y_test)
            for seed in range(seeds)
        ]
        ours = median(scores)
        schedule = changes.get("learning_rate", "constant")
        if torch is not None and set(changes) <= {"learning_rate"}:
            from . import torch_networks

            theirs = median(
                torch_networks.accuracy("LeNet-5", X, y, X_test, y_test, epochs, schedule, seed)
                for seed in range(seeds)
            )
    if theirs is not None:
        name = f"{name} (PyTorch {theirs:.4f})"
    yield Row(ACCURACY, name, f"{seeds} seeds", ours, 0.99)
