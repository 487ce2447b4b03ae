"""Fits to data that are read on demand, relative to the same data in memory.

The files lie in the system's cache, so that reading is copying: what is measured is what windows,
the thread that reads them and, for Zarr arrays, the copy that is made of them cost. The memory map
is read as if it did not fit in memory; otherwise, it would be used in place.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from sknn import MLPNetClassifier
from sknn.tape import on_demand

from .peers import digits_like
from .table import Row, Task
from .timing import Side, ratios

try:
    import zarr
except ImportError:
    zarr = None

POINT = "on-demand"
#: Hidden units, and how many times as long a fit may take.
NETWORKS = {"784-16-10": (16, 3), "784-100-10": (100, 1.5)}


def tasks():
    """List the measurements, one for each network."""
    for network in NETWORKS:
        name = f"fit {network}, read on demand"
        yield Task(POINT, name, partial(_fits, name, *NETWORKS[network]))


def _fits(name, units, most, settings):
    on_demand.MOST_MAPPED = 0
    X, y = digits_like(6_000 if settings.quick else 60_000, 784, 10)
    epochs = 1 if settings.quick else 5
    net = MLPNetClassifier((units,), max_iter=epochs, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "X.npy"), X)
        data = {"memory": X, "a memory map": np.load(Path(folder, "X.npy"), mmap_mode="r")}
        if zarr is not None:
            data["a Zarr array"] = zarr.create_array(
                Path(folder, "X.zarr"), data=X, chunks=(1000, 784)
            )
        sides = {kind: Side(partial(net.fit, some, y)) for kind, some in data.items()}
        for side in sides.values():
            side.run()  # compiles, and reads the files
        found = ratios(sides, settings.repeats, ours="memory")
    for kind in "a memory map", "a Zarr array":
        target = most if kind == "a memory map" else 2 * most  # which is copied first
        what = f"{name} from {kind}"
        yield Row(POINT, what, "in memory", found.get(kind), target, "x", at_least=False)
