"""Run the benchmarks and print one Markdown table.

Run ``python -m benchmarks`` from the project's root. Ratios say how many times faster sknn is than
the peer: they compare medians of runs that alternate in one process, after everything is compiled.
A peer that cannot be imported, or a missing data file, is shown as absent.
"""

import argparse
import gc
import os
import platform
import sys
import warnings
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Every fit here stops before it converges, on purpose. Set in the environment, so that worker
# processes inherit it.
os.environ["PYTHONWARNINGS"] = "ignore"
warnings.simplefilter("ignore")
if "--quick" in sys.argv:
    # OpenMP threads that wait actively slow down everything where other processes need the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import joblib  # noqa: E402

from . import (  # noqa: E402
    accuracy,
    autoencoders,
    conv_kernels,
    convnets,
    cuda,
    distributed,
    processes,
    radial,
    reading,
    recurrent,
    speed,
    steps,
    tabular,
    threads,
    timing,
)
from .table import HEADER, Settings  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "torch", "pytabkit")

#: The points that `--only` selects, with a description of what they measure.
POINTS = {
    speed.POINT: "fits, a search, predictions, kernels",
    steps.POINT: "fraction of one core's peak, and what a second thread brings, in training steps",
    processes.FIRST_FIT: "the first fit in a process, and the import",
    accuracy.POINT: "accuracy",
    processes.MEMORY: "memory of a fit",
    convnets.SPEED: "fits, and predictions of many images",
    convnets.IMAGE: "predictions of one image",
    convnets.MEMORY: "memory of a prediction and of fits",
    convnets.ACCURACY: "accuracy",
    conv_kernels.POINT: "fraction of one core's peak, by shape",
    recurrent.SPEED: "training steps of character models, and sampling",
    recurrent.MEMORY: "memory of training steps and sampling",
    recurrent.ACCURACY: "likelihood of a play",
    autoencoders.SPEED: "training epochs",
    autoencoders.ACCURACY: "reconstruction errors",
    radial.SPEED: "a fit, predictions, and memory of a fit",
    radial.ACCURACY: "cross-validated R2, and training errors",
    tabular.SPEED: "training epochs on tables",
    tabular.ACCURACY: "ranks on sets of tables",
    threads.POINT: "small fits while other threads predict",
    reading.POINT: "fits to data that are read on demand",
    cuda.POINT: "training steps on a GPU",
    distributed.POINT: "data-parallel training steps on a Dask cluster",
}

#: The modules that define the measurements.
MODULES = (
    speed, steps, processes, accuracy, convnets, conv_kernels, recurrent, autoencoders, radial,
    tabular, threads, reading, cuda, distributed,
)  # fmt: skip


def main():
    """Run the chosen measurements and print each row as soon as it is known."""
    options = _options()
    chosen = [
        task
        for module in MODULES
        for task in module.tasks()
        if task.point in options.only and options.row in task.name
    ]
    if options.list:
        print(*(f"{task.point}: {task.name}" for task in chosen), sep="\n")
        return
    gc.freeze()  # imported objects stay: the collections before each timing need not scan them
    repeats = options.repeats or (1 if options.quick else 5)
    if options.quick:
        timing.pause = 0
    settings = Settings(repeats, options.quick, options.data, options.text, options.tables)
    print(_machine(settings), HEADER, sep="\n\n", flush=True)
    for task in chosen:
        empty = True
        for row in task.run(settings):
            print(row.markdown(), flush=True)
            empty = False
        if empty:
            raise RuntimeError(f"{task.name!r} yielded no row.")


def _options():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="POINT",
        choices=POINTS,
        default=POINTS,
        help="; ".join(f"{point}: {what}" for point, what in POINTS.items()) + " (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="list the measurements and exit")
    parser.add_argument("--row", default="", help="only measurements whose name contains this text")
    parser.add_argument("--repeats", type=int, help="number of runs per side (default: 5)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny settings, to check that everything runs"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "mnist.npz",
        help="an .npz file of MNIST with X_train, y_train, X_test, y_test in uint8",
    )
    parser.add_argument(
        "--text",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "tinyshakespeare.txt.gz",
        help="a gzip-compressed text file of a play",
    )
    parser.add_argument(
        "--tables",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "tabular",
        help="a folder of tables NAME-classification.csv.gz and NAME-regression.csv.gz, with the "
        "target in the last column",
    )
    return parser.parse_args()


def _machine(settings):
    """Return date, machine and package versions as one paragraph."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    lines = [
        f"{date.today()}, {_processor()}, {joblib.cpu_count()} cores, {platform.system()}.",
        f"Python {platform.python_version()}, {packages}.",
        f"Medians of {settings.repeats} runs per side.",
    ]
    if settings.quick:
        lines.append("Quick settings: the figures are meaningless.")
    return "\n".join(lines)


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
