"""Every benchmark runs, at settings so small that the figures are meaningless.

These tests run with ``-m benchmarks``, as in ``.ci/run``, and need the peers to be installed.
"""

import gzip
import importlib.util
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.benchmarks,
    pytest.mark.skipif(
        not (ROOT / "benchmarks").is_dir(), reason="the benchmarks do not lie beside the tests"
    ),
]

NEED_DATA = (
    "dense-accuracy", "dense-memory", "conv-accuracy", "rnn-accuracy", "autoencoder-accuracy",
    "tabular-accuracy",
)  # fmt: skip
#: Points that are measured by one process, since every process has to import the peers.
TOGETHER = (
    ("dense-accuracy", "dense-memory", "dense-speed", "step-shares"),
    ("first-fit", "threads", "rbf-speed", "rbf-accuracy", "on-demand"),
    ("conv-accuracy", "conv-speed", "conv-image", "conv-memory", "conv-kernels"),
    ("rnn-accuracy", "rnn-speed", "rnn-memory"),
    ("autoencoder-accuracy", "autoencoder-speed"),
    ("tabular-accuracy", "tabular-speed"),
    ("cuda",),
    ("distributed",),
)
POINTS = [point for points in TOGETHER for point in points]

#: In seconds, much more than a point takes, including kernels that are not in the cache yet.
TIME_LIMIT = 1200

#: Whether everything can be measured here: PyTorch, pytabkit, safetensors and Zarr are installed,
#: and the system reports the peak of resident memory, and can reset it.
COMPLETE = (
    importlib.util.find_spec("torch") is not None
    and importlib.util.find_spec("pytabkit") is not None
    and importlib.util.find_spec("safetensors") is not None
    and importlib.util.find_spec("zarr") is not None
    and os.access("/proc/self/clear_refs", os.W_OK)
)


def run(*arguments, **environment):
    """Return the benchmarks' output; standard error is shown for failures only."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        env=os.environ | environment, cwd=ROOT, capture_output=True, text=True,
        timeout=TIME_LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table(text):
    """Return the rows of the table: point, name, peer, figure."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| point | row | against | measured | target | met |"
    return [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in lines[1:]]


@pytest.fixture(scope="module")
def measurements():
    """Return the number of measurements of each point."""
    return Counter(line.split(": ")[0] for line in run("--list").splitlines())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the options for random data in place of images of digits, a play, and tables."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    images, text = folder / "images.npz", folder / "text.gz"
    np.savez(
        images,
        X_train=random.randint(256, size=(4000, 28, 28), dtype=np.uint8),
        y_train=(np.arange(4000) // 400).astype(np.uint8),
        X_test=random.randint(256, size=(400, 28, 28), dtype=np.uint8),
        y_test=(np.arange(400) // 40).astype(np.uint8),
    )
    with gzip.open(text, "wt", encoding="utf-8") as file:
        file.write("".join(random.choice(list("abcde \n"), 6000)))
    for task, digits in ("classification", 0), ("regression", 3):
        numbers = random.normal(size=(200, 2))
        table = pd.DataFrame(numbers, columns=["a", "b"]).assign(c=random.choice(["x", "y"], 200))
        target = np.abs(numbers[:, 0]).round(digits)
        table.assign(y=np.minimum(target, 1) if digits == 0 else target).to_csv(
            folder / f"some-{task}.csv.gz", index=False
        )
    return "--data", images, "--text", text, "--tables", folder


def test_every_point_is_tested(measurements):
    assert sorted(measurements) == sorted(POINTS)


@pytest.mark.parametrize("points", TOGETHER, ids=lambda points: points[-1])
def test_quick_settings_run(points, measurements, data):
    rows = table(run("--quick", "--only", *points, *data))
    counts = Counter(row[0] for row in rows)
    assert set(counts) == set(points)
    assert all(counts[point] >= measurements[point] for point in points)
    for row in rows:
        if row[3] == "absent":
            assert not COMPLETE, row
        else:
            assert math.isfinite(float(re.match(r"[-+.\w]+?(?=[x%]|$| )", row[3])[0])), row


def test_absent_data_and_peers_are_shown(measurements, tmp_path):
    """PyTorch is replaced by a package that cannot be imported."""
    tmp_path.joinpath("torch.py").write_text("raise ImportError")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    nowhere = tmp_path / "nowhere"
    points = (*NEED_DATA, "conv-speed", "rnn-speed", "autoencoder-speed")
    rows = table(
        run(
            "--quick", "--only", *points, "--data", nowhere, "--text", nowhere,
            "--tables", nowhere, PYTHONPATH=path,
        )  # fmt: skip
    )
    assert len(rows) >= sum(measurements[point] for point in points)
    assert {row[3] for row in rows} == {"absent"}
