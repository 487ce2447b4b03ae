"""The disk cache of kernels, tested in separate processes."""

import ast
import importlib.util
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from llvmlite.binding import ffi
from numba.core import types

import sknn
from sknn.cpu import cache

PACKAGE = pathlib.Path(sknn.__file__).parent

#: Predicts with a small network; prints what was compiled and the result.
SCRIPT = """
import json
import numpy as np
from sknn.cpu import cache, program

made = []
def compiled(*args):
    kernels = cache.compiled(*args)
    made.extend(kernels.values())
    return kernels
program.compiled = compiled

from sknn.tape.sources import Source
from sknn.layers import Activation, Dense
from sknn.tape.losses import Loss
from sknn.engine.network import Network
from sknn.engine.prediction import predict
from sknn.engine.weights import Weights

network = Network((Dense(3), Activation("tanh")), 2, Loss("squared_error", "identity"))
values = [np.arange(6.0).reshape(2, 3), np.ones(3)]
out = predict(Weights.of_packed(network, values, np.dtype(float)), Source(np.eye(2) / 8), 1)
print(json.dumps({
    "kernels": len(made), "hits": sum(k.cache_hits for k in made), "out": out.tolist(),
    "digest": cache.digest(),
}))
"""


def start(folder, script=SCRIPT, path=PACKAGE.parent, **environment):
    """Start a process that caches kernels in `folder`; None: in the user's own folder."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", *environment)}
    if folder is not None:
        inherited["NUMBA_CACHE_DIR"] = str(folder)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=inherited | environment | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=path,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


def run(*args, **kwargs):
    return finish(start(*args, **kwargs))


def files(folder):
    """Return the files below a folder, with the time of their last change."""
    return {p: p.stat().st_mtime_ns for p in pathlib.Path(folder).rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return a cache filled by three processes at once, and the output of the first."""
    folder = tmp_path_factory.mktemp("filled")
    processes = [start(folder) for _ in range(3)]
    results = [finish(process) for process in processes]
    assert all(result["out"] == results[0]["out"] for result in results)
    if hasattr(os, "fork"):  # where locks are available, the others wait for the one that compiles
        assert sum(result["hits"] for result in results) == 2 * results[0]["kernels"]
    return folder, results[0] | {"hits": 0}


@pytest.fixture
def copied(tmp_path):
    """Return a folder with a copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "sknn", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_process_loads_what_others_compiled(filled):
    folder, first = filled
    before = files(folder)
    assert len(before) == first["kernels"]  # no partly written file
    assert {path.suffix for path in before} == {".kernel"}
    assert all(first["digest"] in str(path) for path in before)
    assert run(folder) == first | {"hits": first["kernels"]}
    assert files(folder) == before


#: Holds the locks of all kernels that it sees in its folder, and says so.
HOLDER = """
import fcntl, os, pathlib, sys, time
kernels = pathlib.Path(sys.argv[1]).rglob("*.kernel")
held = [open(path.with_suffix(".lock"), "w") for path in kernels]
for file in held: fcntl.flock(file, fcntl.LOCK_EX)
print(len(held), flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no such locks here")
@pytest.mark.parametrize("ends", [True, False], ids=["which ends", "which never ends"])
def test_a_process_waits_for_another_but_not_for_ever(filled, tmp_path, ends):
    folder, first = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert int(holder.stdout.readline()) == first["kernels"]
            assert run(tmp_path) == first | {"hits": first["kernels"]}  # loading needs no lock
            kernels = list(tmp_path.rglob("*.kernel"))
            for path in kernels:
                path.unlink()
            patience = 600 if ends else 0.1
            patient = f"from sknn.store import files; files._PATIENCE = {patience}\n{SCRIPT}"
            process = start(tmp_path, patient)
            if ends:
                time.sleep(3)
                assert process.poll() is None
                assert not any(path.exists() for path in kernels)
                holder.kill()
            assert finish(process) == first
        finally:
            holder.kill()
    assert run(tmp_path) == first | {"hits": first["kernels"]}
    if ends:
        assert sorted(tmp_path.rglob("*.*")) == sorted(kernels)  # no lock is left


def _digest(folder):
    """Return the digest of an engine at `folder`."""
    spec = importlib.util.spec_from_file_location("sknn.cpu.copied_cache", folder / "cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.digest()


def _sources(engine):
    """Return the source files of kernels."""
    return [engine / "cache.py", *sorted((engine / "kernels").rglob("*.py"))]


def test_kernels_read_nothing_of_the_package_but_what_the_digest_covers():
    for source in _sources(PACKAGE / "cpu")[1:]:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
            if isinstance(node, ast.Import):
                assert not any(name.split(".")[0] == "sknn" for name in names), source
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.level == 0 and "sknn" not in node.module), source


def test_the_digest_follows_every_file_of_the_engine(copied):
    engine = copied / "sknn" / "cpu"
    seen = {_digest(engine)}
    assert _digest(PACKAGE / "cpu") in seen
    sources = _sources(engine)
    assert len(sources) > 10
    for source in sources:
        source.write_text(source.read_text() + "# a comment\n")
        seen.add(_digest(engine))
    assert len(seen) == len(sources) + 1


def test_a_changed_engine_compiles_anew(filled, copied):
    folder, first = filled
    cache = copied / "cache"
    shutil.copytree(folder, cache)
    assert run(cache, path=copied)["hits"] == first["kernels"]
    source = copied / "sknn" / "cpu" / "kernels" / "functions.py"
    source.write_text(source.read_text() + "# a comment\n")
    changed = run(cache, path=copied)
    assert changed["hits"] == 0
    assert changed["digest"] != first["digest"]


def test_what_is_compiled_is_kept_under_the_source_that_was_imported(copied):
    """Not under the digest of a source that has changed since: these kernels would be stale."""
    script = """
import json, pathlib, sknn.cpu.cache
source = pathlib.Path(sknn.cpu.__file__).parent / "kernels" / "functions.py"
source.write_text(source.read_text() + "# changed while the process runs")
print(json.dumps(sknn.cpu.cache.digest()))
"""
    before = _digest(copied / "sknn" / "cpu")
    assert run(copied / "cache", script, path=copied) == before


def test_no_writable_folder_means_no_cache_and_no_error(filled, tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    below = str(file / "below")
    processes = [start(below), start(None, HOME=below, XDG_CACHE_HOME=below, LOCALAPPDATA=below)]
    assert [finish(process) for process in processes] == [filled[1]] * 2
    assert file.read_text() == "not a folder"


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place(len(content))] ^= 4
    path.write_bytes(content)


class _Harm:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


HARM = bytes(32) + pickle.dumps(_Harm(), protocol=5)

#: Damage to files, five at a time, as the script's network has five kernels.
DAMAGES = {
    "in size": [
        lambda path, other: path.write_bytes(other),
        lambda path, other: path.write_bytes(b""),
        lambda path, other: path.write_bytes(path.read_bytes()[:-10]),
        lambda path, other: path.write_bytes(path.read_bytes() + b"more"),
        lambda path, other: path.unlink(),
    ],
    "in content": [
        lambda path, other: _flip(path, lambda n: 5),  # of the checksum
        lambda path, other: _flip(path, lambda n: 32),  # right after it
        lambda path, other: _flip(path, lambda n: n // 2),
        lambda path, other: _flip(path, lambda n: n - 1),
        lambda path, other: path.write_bytes(HARM),
    ],
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_files_are_compiled_anew(filled, tmp_path, how):
    folder, first = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    kernels = sorted(tmp_path.rglob("*.kernel"))
    assert len(kernels) == first["kernels"] == 5
    last = kernels[-1].read_bytes()
    for path, damage in zip(kernels, DAMAGES[how], strict=True):
        damage(path, last)
    assert run(tmp_path) == first
    assert run(tmp_path) == first | {"hits": first["kernels"]}


def test_files_of_another_processor_or_version_are_not_read(filled, tmp_path):
    folder, first = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    before = files(tmp_path)
    other = "import numba; numba.__version__ = '0.0.1'\n" + SCRIPT
    assert run(tmp_path, other) == first
    assert len(files(tmp_path)) == 2 * len(before)
    narrow = run(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert narrow["hits"] == 0
    assert run(tmp_path)["hits"] == first["kernels"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owners here")
def test_only_the_user_can_read_or_write_the_files(filled, tmp_path):
    folder, first = filled
    script = "import os; os.umask(0)\n" + SCRIPT
    assert run(tmp_path, script) == first
    for path in pathlib.Path(tmp_path, "sknn").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert run(tmp_path)["hits"] == first["kernels"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owners here")
@pytest.mark.parametrize("what", ["the folder", "the folder above", "a file"])
def test_what_others_may_write_to_is_not_used(filled, tmp_path, what):
    folder, first = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    inner = tmp_path / "sknn" / first["digest"]
    kernels = sorted(inner.glob("*.kernel"))
    {"the folder": inner, "the folder above": inner.parent, "a file": kernels[0]}[what].chmod(0o777)
    hits = len(kernels) - 1 if what == "a file" else 0
    before = files(tmp_path)
    assert run(tmp_path) == first | {"hits": hits}
    if what != "a file":
        assert files(tmp_path) == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away"
)
def test_what_belongs_to_others_is_not_used(filled, tmp_path):
    folder, first = filled
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    os.chown(tmp_path / "sknn" / first["digest"], 12345, 12345)
    assert run(tmp_path) == first


def test_threads_may_compile_at_once(filled, tmp_path):
    script = """
import threading
barrier = threading.Barrier(4)
def work():
    barrier.wait()
    weights = Weights.of_packed(network, values, np.dtype(float))
    outs.append(predict(weights, Source(np.eye(2) / 8), 1).tolist())
outs, workers = [], [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(json.dumps(outs))
"""
    before, _ = SCRIPT.split("out = predict")
    assert run(tmp_path, before + script) == [filled[1]["out"]] * 4


def test_importing_compiles_nothing_and_writes_nothing(tmp_path):
    script = """
import json, numba.core.compiler, numba.core.codegen

counted = []
def count(owner, name):
    real = getattr(owner, name)
    def counting(*args, **kwargs):
        counted.append(name)
        return real(*args, **kwargs)
    setattr(owner, name, counting)

count(numba.core.lowering.Lower, "lower")
import sknn
before = list(counted)

import numba, numpy
numba.njit(lambda x: x)(1)
print(json.dumps([before, bool(counted)]))
"""
    assert run(tmp_path, script) == [[], True]
    assert not files(tmp_path)


def _functions(variant):
    """Return the functions of a kernel with closures, compiled in a new process: all, and visible.

    Only visible symbols can be seen from other kernels, by the linker.
    """
    script = (
        "import json, numpy as np, llvmlite.binding as llvm; from sknn.cpu import cache, program; "
        "from sknn.cpu.kernels.compiling import assembly; "
        f"key = program.key_of('kernel_gradient', np.float32, 32, {variant}); "
        "text = assembly(program._function(*key), cache.KERNEL, cache._symbol(str(key))); "
        "functions = [f for f in llvm.parse_assembly(text).functions if not f.is_declaration]; "
        "print(json.dumps([[f.name for f in functions], "
        "[f.name for f in functions if f.linkage.name not in ('internal', 'private')]]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return map(set, json.loads(done.stdout))


def test_of_different_kernels_no_function_has_the_same_visible_name(tmp_path, monkeypatch):
    """Otherwise, loaded together from the cache, one would run in place of the other."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    roots = [str(pathlib.Path(sknn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(roots))
    (all_first, first), (all_second, second) = map(_functions, ((3, 16), (5, 16)))
    assert len(first) == len(second) == 1 and first <= all_first and second <= all_second
    assert not first & second


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("calls", [1, 40, 80])
def test_an_interrupt_that_leaves_llvmlite_locked_blocks_nobody(calls, monkeypatch):
    monkeypatch.setattr(cache, "kept_in", lambda: None)
    left, made = [calls], []

    def interrupt():
        if threading.current_thread() is thread:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

    def compile_twice():
        wanted = {f"nothing-{i}": lambda: lambda number: None for i in range(3)}
        for _ in range(2):
            with suppress(KeyboardInterrupt):
                made.append(cache.compiled(wanted, (types.int64,)))

    def release():
        pass

    thread = threading.Thread(target=compile_twice, daemon=True)
    ffi.register_lock_callback(interrupt, release)
    try:
        thread.start()
        thread.join(60)
    finally:
        ffi.unregister_lock_callback(interrupt, release)
    assert not thread.is_alive()
    assert left[0] < 0
    assert len(made[-1]) == 3
