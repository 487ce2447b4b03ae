"""What ``processes`` runs in new processes. Imports stand where their time or memory belongs."""

import time
import warnings
from importlib import import_module
from pathlib import Path


def import_seconds(*modules):
    """Time to import the modules."""
    start = time.perf_counter()
    for module in modules:
        import_module(module)
    return time.perf_counter() - start


def first_fit():
    """How many seconds longer the first fit of this process takes than a later one."""
    from sklearn.datasets import load_digits

    from sknn import MLPNetClassifier

    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        MLPNetClassifier(max_iter=5, random_state=0).fit(X, y)
        seconds.append(time.perf_counter() - start)
    return seconds[0] - min(seconds[1:])


def memory_rise(folder):
    """How far ``fit`` raises the peak resident memory of this process, in MB."""
    import numpy as np

    from sknn import MLPNetClassifier

    warnings.simplefilter("ignore")
    X, y = np.load(Path(folder, "X.npy")), np.load(Path(folder, "y.npy"))
    net = MLPNetClassifier((512,), batch_size=128, max_iter=1, random_state=0)
    before = _peak_memory()
    net.fit(X, y)
    return _peak_memory() - before


def _peak_memory():
    """Peak resident memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, getrusage would count what the parent held when it started this process.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    import resource

    # In bytes on macOS, the other system where this runs.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
