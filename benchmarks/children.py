"""Functions to run in new processes; imports are placed where their time or memory should count."""

import ctypes
import gc
import time
import warnings
from importlib import import_module
from pathlib import Path


def import_seconds(*modules):
    """Return the time to import the modules, in seconds."""
    start = time.perf_counter()
    for module in modules:
        import_module(module)
    return time.perf_counter() - start


def first_fit(network):
    """Return by how many seconds the first fit of this process takes longer than a later one."""
    warnings.simplefilter("ignore")
    fit, seconds = _fit_of(network), []
    for _ in range(4):
        start = time.perf_counter()
        fit()
        seconds.append(time.perf_counter() - start)
    return seconds[0] - min(seconds[1:])


def _fit_of(network):
    """Return a function that fits a new estimator; its package is imported."""
    import numpy as np

    if network == "MLP":
        from sklearn.datasets import load_digits

        from sknn import MLPNetClassifier

        X, y = load_digits(return_X_y=True)
        return lambda: MLPNetClassifier(max_iter=5, random_state=0).fit(X, y)
    if network == "LSTM":
        from sknn import RNNClassifier

        X = np.random.RandomState(0).rand(64, 12, 5).astype(np.float32)
        y = np.arange(len(X)) % 3
        return lambda: RNNClassifier("lstm", 32, max_iter=1, random_state=0).fit(X, y)
    from .networks import classifier, images_for

    name = {"LeNet-5": "LeNet-5", "ResNet-20": "resnet20"}[network]
    X, y = images_for(name, 128)
    return lambda: classifier(name, 1).fit(X, y)


def memory_rise(folder):
    """Return by how much ``fit`` raises the peak resident memory of this process, in MB."""
    import numpy as np

    from sknn import MLPNetClassifier

    warnings.simplefilter("ignore")
    X, y = np.load(Path(folder, "X.npy")), np.load(Path(folder, "y.npy"))
    net = MLPNetClassifier((512,), batch_size=128, max_iter=1, random_state=0)
    before = _peak_memory()
    net.fit(X, y)
    return _peak_memory() - before


def vgg16_memory(peer, path, image_shape):
    """Return by how many MB predicting one image with VGG-16 raises the peak memory, or None."""
    import numpy as np

    image = np.random.RandomState(0).rand(1, *image_shape).astype(np.float32)
    if peer == "sknn":
        from .networks import load_vgg16

        net = load_vgg16(path, image_shape)
        return _second_rise(lambda: net.predict(image))
    from . import torch_networks

    model, image = torch_networks.load_vgg16(path, image_shape), torch_networks.as_tensor(image)
    return _second_rise(lambda: torch_networks.predict(model, image, 1))


def fit_memory(peer, network, samples):
    """Return by how many MB training raises the peak memory, including weights, or None."""
    from .networks import classifier, images_for

    warnings.simplefilter("ignore")
    X, y = images_for(network, samples)
    if peer == "sknn":
        return _second_rise(lambda: classifier(network, 1).fit(X, y))
    from . import torch_networks

    X = torch_networks.as_tensor(X)
    return _second_rise(lambda: torch_networks.fit(network, X, y, 1))


def recurrent_memory(peer, name, quick):
    """Return by how many MB a character model's training step raises the peak memory, or None."""
    from .character_models import MODELS

    model = MODELS[name].small() if quick else MODELS[name]
    text = model.text(chunks=2)
    if peer == "sknn":
        return _second_rise(lambda: model.estimator(max_iter=1).fit(text))
    from .recurrent import torch_trainings

    side = torch_trainings(model, text)[0]
    with side.around():
        return _second_rise(side.run)


def sampling_memory(n):
    """Return by how many MB sampling `n` characters raises the peak memory, or None."""
    from sknn import CharRNN

    from .character_models import text_of

    warnings.simplefilter("ignore")
    net = CharRNN("lstm", 256, max_iter=1, random_state=0).fit(text_of(5000))
    return _second_rise(lambda: net.sample(n, "0", random_state=0))


def _second_rise(call):
    """Return by how many MB the second run of a call raises the peak resident memory, or None.

    What the first run leaves, code and the libraries' threads, does not count. The buffers that
    sknn keeps for the next prediction do count: they are freed before the second run. None if the
    system cannot reset the peak.
    """
    from sknn.engine.lowering import program

    call()
    program.cache_clear()
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except (OSError, AttributeError):
        return None
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(field):
    """Return a memory figure of this process in MB, from Linux's /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[field].split()[0]) * 1024 / 1e6


def _peak_memory():
    """Return the peak resident memory of this process in MB."""
    if Path("/proc/self/status").exists():
        # On Linux, getrusage would include the parent's memory when it started this process.
        return _status("VmHWM")
    import resource

    # In bytes on macOS, the other system where this runs.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
