"""Kernels for GPUs compiled without a GPU, and the driver's calls without a driver.

The calls go through cuda.bindings itself, into a library of the tests' own (``fake_cuda.c``).
"""

import ctypes
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
from functools import cache

import pytest

import sknn
from sknn.cuda.driver import Driver
from sknn.store import files

PACKAGE = pathlib.Path(sknn.__file__).parent
HERE = pathlib.Path(__file__).parent
EXTRA = all(importlib.util.find_spec(name) for name in ("numba_cuda", "cuda"))
compiles = pytest.mark.skipif(not EXTRA, reason="numba-cuda is missing (extra cuda12 or cuda13)")


def _has_a_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


# --- compiling


@cache
def words(kind):
    """Return the functions by which kernels read and write numbers of a type at an address."""
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    numba_type, item = getattr(types, kind), {"float32": ir.FloatType, "float64": ir.DoubleType}
    pointer = item[kind]().as_pointer(1)

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, sig, args):
            return builder.load(builder.inttoptr(args[0], pointer))

        return numba_type(types.int64), codegen

    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, sig, args):
            builder.store(args[1], builder.inttoptr(args[0], pointer))
            return context.get_dummy_value()

        return types.void(types.int64, numba_type), codegen

    return load, store


def make(kind="float32"):
    """Return a kernel with a helper that has a helper, for which a product and a sum are two."""
    from numba import cuda

    load, store = words(kind)

    @cuda.jit(device=True)
    def inner(a, b, c):
        return a * b + c

    @cuda.jit(device=True)
    def outer(a, n):
        total = a
        for i in range(n):
            total = inner(total, a, inner(a, total, load(i)))
        return total

    def kernel(to, n, m):
        i = cuda.grid(1)
        if i < n:
            a = load(to + 4 * i)
            store(to + 4 * i, outer(a, m) - outer(a, n))

    return kernel


def made_of(write):
    """Return what makes a kernel of two numbers, whose first becomes what `write` says."""
    from numba import cuda

    def kernel_of():
        (load, store), written = words("float32"), cuda.jit(device=True)(write)

        def kernel(to, a, b):
            store(to, written(load(a), load(b)))

        return kernel

    return kernel_of


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return the folder of a new cache."""
    monkeypatch.setattr(files.config, "CACHE_DIR", str(tmp_path))
    return tmp_path / "sknn"


@compiles
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_a_kernel_is_compiled_without_a_driver(capability):
    from sknn.cuda.compiling import report

    found = report(make, 3, capability, (128, 4), "some kernel")
    assert found.cubin.startswith(b"\x7fELF") and b"sknn_some_kernel" in found.cubin
    assert 8 <= found.registers <= 128
    assert (found.stack, found.spills, found.shared, found.float64, found.calls) == (0,) * 5
    target = "sm_{}{}".format(*capability)
    for line in (f".target {target}", ".maxntid 128", ".minnctapersm 4", ".entry sknn_some_kernel"):
        assert line in found.ptx, line
    assert ".func" not in found.ptx  # helpers are a part of it


@compiles
def test_products_and_sums_are_merged_only_where_a_kernel_says_so():
    from numba import cuda

    from sknn.cuda.compiling import report

    for write, has in [
        (lambda a, b: a * b + b, {"mul.rn.f32": 1, "add.rn.f32": 1}),
        (lambda a, b: b - a * a, {"mul.rn.f32": 1, "sub.rn.f32": 1}),
        (lambda a, b: cuda.fma(a, b, b), {"fma.rn.f32": 1}),
        (lambda a, b: a / b, {"div.rn.f32": 1}),
        (lambda a, b: math.sqrt(a), {"sqrt.rn.f32": 1}),
    ]:
        ptx = report(made_of(write), 3, (9, 0), 32).ptx
        words = re.findall(r"^\s+((?:mul|add|sub|fma|div|sqrt|mad)\S*f32)", ptx, re.MULTILINE)
        assert {word: words.count(word) for word in words} == has


@compiles
def test_what_a_report_counts():
    from numba import cuda, float32

    from sknn.cuda.compiling import report

    def shared_kernel():
        load, store = words("float32")

        def kernel(to, n):
            there = cuda.shared.array(64, float32)
            there[cuda.threadIdx.x] = load(to)
            cuda.syncthreads()
            store(to, there[n])

        return kernel

    assert report(shared_kernel, 2, (9, 0), 64).shared == 256
    assert report(lambda: make("float64"), 3, (9, 0), 64).float64 > 5
    accident = report(made_of(lambda a, b: a * 2.0 + b), 3, (9, 0), 64)  # 2.0 is of float64
    assert accident.float64 > 0
    crowded = report(lambda: make("float64"), 3, (9, 0), (1024, 2))
    assert crowded.registers <= 32


@compiles
def test_the_generation_of_gpus_that_is_compiled_for(monkeypatch):
    from sknn.cuda import compiling

    assert compiling.architecture((9, 0)) == (9, 0)
    known = [(7, 5), (8, 0), (8, 6), (9, 0)]
    monkeypatch.setattr(compiling.nvrtc, "get_supported_ccs", lambda: known)
    assert compiling.architecture((8, 6)) == (8, 6)
    assert compiling.architecture((8, 9)) == (8, 6)  # whose code it runs
    for none in (7, 0), (10, 3):
        said = r"7\.5 to 9\.0, and not for {}\.{}.*sknn\[cuda13\]".format(*none)
        with pytest.raises(RuntimeError, match=said):
            compiling.architecture(none)


@compiles
def test_numba_cuda_is_told_what_to_compile_for_only_meanwhile():
    from numba.cuda import dispatcher

    from sknn.cuda.compiling import report

    before = dispatcher.get_current_device
    with pytest.raises(ZeroDivisionError):
        report(lambda: 1 // 0, 3, (9, 0), 64)
    report(make, 3, (9, 0), 64)
    assert dispatcher.get_current_device is before


@compiles
def test_cubins_are_kept(kept):
    from sknn.cuda.compiling import cubin_of

    made = []

    def counted():
        made.append(1)
        return make()

    first = cubin_of(counted, 3, (9, 0), 64, "kernel")
    assert cubin_of(counted, 3, (9, 0), 64, "kernel") == first and len(made) == 1
    (file,) = kept.rglob("*.*")
    assert file.name.startswith("sknn_kernel-") and file.stat().st_mode & 0o077 == 0

    content = file.read_bytes()
    for damaged in content[:-1], content[:100] + b"?" + content[101:], b"", bytes(32) + first:
        file.write_bytes(damaged)
        assert cubin_of(counted, 3, (9, 0), 64, "kernel")[:4] == b"\x7fELF"
        assert file.read_bytes() != damaged
    assert len(made) == 5

    for others in ((8, 0), 64, "kernel"), ((9, 0), (64, 2), "kernel"), ((9, 0), 64, "x" * 300):
        cubin_of(counted, 3, *others)
    assert len(made) == 8 and len(list(kept.rglob("*.*"))) == 4


@compiles
def test_cubins_of_other_versions_or_sources_are_not_read(kept, monkeypatch):
    from sknn.cuda import compiling

    compiling.cubin_of(make, 3, (9, 0), 64, "kernel")
    for name, other in [("_DIGEST", "0" * 16), ("toolkit", lambda: (12, 0))]:
        with monkeypatch.context() as patched:
            patched.setattr(compiling, name, other)
            with pytest.raises(ZeroDivisionError):
                compiling.cubin_of(lambda: 1 // 0, 3, (9, 0), 64, "kernel")
    compiling.cubin_of(lambda: 1 // 0, 3, (9, 0), 64, "kernel")


@compiles
def test_where_nothing_can_be_written_kernels_are_compiled(tmp_path, monkeypatch):
    from sknn.cuda.compiling import cubin_of

    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(files.config, "CACHE_DIR", str(tmp_path / "file" / "below"))
    assert cubin_of(make, 3, (9, 0), 64, "kernel").startswith(b"\x7fELF")


def test_a_digest_follows_every_source(tmp_path):
    (tmp_path / "kernels" / "deep").mkdir(parents=True)
    sources = [tmp_path / "one.py", tmp_path / "kernels" / "a.py", tmp_path / "kernels/deep/b.py"]
    for source in sources:
        source.write_text("a = 1\n")
    seen = {files.digest(sources[0], tmp_path / "kernels")}
    for source in sources:
        source.write_text("a = 2\n")
        seen.add(files.digest(sources[0], tmp_path / "kernels"))
    assert len(seen) == 4


# --- what is missing


@compiles
@pytest.mark.skipif(_has_a_driver(), reason="there is an NVIDIA driver")
def test_without_a_driver_an_error_says_so():
    with pytest.raises(RuntimeError, match="^No NVIDIA driver was found"):
        Driver(0)


@pytest.mark.parametrize("name", ["cuda", "numba_cuda"])
def test_without_its_packages_an_error_says_how_to_get_them(name, monkeypatch):
    for known in [*sys.modules]:
        if known == "sknn.cuda.compiling" or known.split(".")[0] == "cuda":
            monkeypatch.delitem(sys.modules, known)
    monkeypatch.delattr(sknn.cuda, "compiling", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'sknn\[cuda12\]' \(or 'sknn\[cuda13\]'"):
        Driver(0)


def test_importing_the_package_imports_nothing_of_cuda():
    script = (
        "import sys, sknn, sknn.cuda.driver; "
        "print([name for name in sys.modules if name.startswith(('cuda.', 'numba.cuda'))])"
    )
    roots = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": roots},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


# --- the driver's calls

#: Goes through all of a driver, and prints what came of it.
SCRIPT = """
import ctypes, gc, json, os, sys, threading, time
import numpy as np
from sknn.cuda.driver import Driver, OutOfMemory
from test_cuda_driver import make

fake = ctypes.CDLL("libcuda.so.1")
fake.fake_log.restype, fake.fake_set.argtypes = ctypes.c_char_p, [ctypes.c_char_p, ctypes.c_int64]
fake.fake_room.restype = fake.fake_context.restype = ctypes.c_int64
found = {}
def set(**what):
    for name, value in what.items(): fake.fake_set(name.encode(), value)
def log(): return fake.fake_log().decode().splitlines()
def error(call):
    try: call()
    except Exception as error: return f"{type(error).__name__}: {error}"

set(gpus=0); found["no gpu"] = error(Driver); set(gpus=2)
found["index"] = [error(lambda: Driver(2)), error(lambda: Driver(-1))]
set(capability=61); found["capability"] = error(Driver); set(capability=90)
set(version=11080); found["old"] = error(Driver); set(version=13090)
set(cuInit=999); found["init"] = error(Driver)
set(cuInit=34); found["stub"] = error(Driver)

driver = Driver(1)
found["what"] = driver.name, driver.capability, driver.multiprocessors, driver.free_bytes()
memory = driver.allocate(1000)
found["memory"] = memory.address % 256, memory.n_bytes, driver.free_bytes()
a, b = np.arange(10, dtype=np.float32), np.zeros(10, np.float32)
driver.to_device(memory.address, a)
driver.fill_zero(memory.address, 8)
driver.copy(memory.address + 4, memory.address + 36, 4)
driver.to_host(b, memory.address)
found["copies"] = b.tolist(), log()
driver.to_device(memory.address, a[:0]); driver.fill_zero(memory.address, 0)
found["nothing"] = log()
found["strided"] = error(lambda: driver.to_device(memory.address, a[::2]))
found["full"] = error(lambda: driver.allocate(2**20))
try: driver.allocate(2**20)
except MemoryError as full: found["wanted"] = isinstance(full, OutOfMemory), full.n_bytes, full.free
memory.free(); memory.free()
found["freed"] = fake.fake_room()
other = driver.allocate(1); del other; gc.collect()
found["collected"] = fake.fake_room()

set(cuModuleLoadData=209); found["unreadable"] = error(lambda: driver.kernel(make, 3, "k", 64))
kernel = driver.kernel(make, 3, "k", 64)
found["same"] = driver.kernel(None, 3, "k", 64) is kernel
log()
found["resident"] = driver.resident(kernel, 64, 60_000)
driver.launch(kernel, 5, 64, 50_000, (1, np.int64(2), -2**63))
driver.launch(kernel, 5, 64, 70_000, [3, 4, 5], cooperative=True)
found["launches"] = log()
found["arguments"] = error(lambda: driver.launch(kernel, 5, 64, 0, (1, 2)))
set(cuLaunchKernel=1); found["refused"] = error(lambda: driver.launch(kernel, 9, 9, 0, (1, 2, 3)))
set(cuStreamSynchronize=700); found["late"] = error(driver.synchronize)
log()

memory = driver.allocate(64)
late = []
def intrude():
    driver.launch(kernel, 1, 1, 0, (0, 0, 0))
    late.append(done)
done, thread = False, threading.Thread(target=intrude)
with driver.capture() as graph:
    driver.launch(kernel, 1, 2, 0, (7, 8, 9))
    thread.start(); time.sleep(0.1)
    driver.fill_zero(memory.address, 64); driver.copy(memory.address, memory.address + 32, 32)
    done = True
thread.join()
found["captured"] = late, log()
graph.launch(); graph.launch(); del graph; gc.collect()
found["replayed"] = log()
def fail():
    with driver.capture(): raise KeyError("inside")
found["broken"] = error(fail), log()
def refuse():
    with driver.capture(): driver.synchronize()
found["no waiting"] = error(refuse)
log(); driver.synchronize()
found["after"] = log()

set(cuMemHostAlloc=2); found["unlocked"] = error(lambda: driver.pinned(2**21)); log()
event = driver.mark()
found["done"] = [event.done]; set(pending=1); found["done"] += [event.done]
event.wait(); driver.copies_wait(event)
array = driver.pinned(32); array[:] = 7
driver.to_device_later(memory.address, array); driver.wait_for_copies()
view = array[8:]; del array, event; gc.collect()
found["order"] = log()
driver.to_host(view, memory.address)
del view; gc.collect()
found["unpinned"] = log()[-1]

fake.cuCtxPushCurrent(ctypes.c_void_p(0x999))
driver.synchronize(); set(cuMemGetInfo=719); error(driver.free_bytes)
memory.free()
found["context"] = fake.fake_context()
set(cuCtxPushCurrent=201); found["lost"] = error(driver.synchronize)
driver.synchronize()

sys.stdout.flush()
read, write = os.pipe()
child = os.fork()
if not child:
    uses = driver.synchronize, Driver, lambda: driver.kernel(make, 3, "l", 64), driver.mark
    os.write(write, json.dumps([error(use) for use in uses]).encode())
    os._exit(0)
os.waitpid(child, 0)
found["fork"] = json.loads(os.read(read, 10_000))
driver.synchronize()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what the script has found, in a process whose driver is a fake."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not EXTRA or compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("numba-cuda (extra cuda12 or cuda13) and a C compiler on Linux are needed")
    folder = tmp_path_factory.mktemp("fake")
    subprocess.run(
        [compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", HERE / "fake_cuda.c", "-o",
         folder / "libcuda.so.1", "-ldl"], check=True,
    )  # fmt: skip
    paths = [str(PACKAGE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=folder,
        env=os.environ | {
            "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join(paths),
            "NUMBA_CACHE_DIR": str(folder),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_gpu_that_is_missing_or_unfit_is_an_error(found):
    assert found["no gpu"].startswith("RuntimeError: There is an NVIDIA driver, but no GPU for it")
    only = "There are 2, with numbers from 0."
    assert found["index"] == [f"ValueError: device: there is no GPU {i}. {only}" for i in (2, -1)]
    assert found["capability"] == (
        "RuntimeError: The GPU Fake 0 has compute capability 6.1, and at least 7.0 is needed."
    )
    too_old = "RuntimeError: The NVIDIA driver is too old: it supports CUDA "
    assert found["old"].startswith(too_old + "11.8, and kernels are compiled by CUDA 1")
    assert found["unreadable"].startswith(too_old)
    assert "cuInit failed: CUDA_ERROR_UNKNOWN" in found["init"]
    assert found["stub"].startswith("RuntimeError: No NVIDIA driver was found")
    assert found["what"] == ["Fake 1", [9, 0], 132, 2**20]


def test_memory_is_given_and_taken_back(found):
    assert found["memory"] == [0, 1000, 2**20 - 1000]
    assert found["full"] == "OutOfMemory: The GPU has no room for 1.0 MiB: 1.0 MiB are free."
    assert found["wanted"] == [True, 2**20, 2**20 - 1000]
    assert found["freed"] == found["collected"] == 2**20
    assert found["unlocked"].endswith("There is no room for 2.0 MiB of page-locked memory.")


def test_copies_go_through_the_compute_stream(found):
    numbers, log = found["copies"]
    assert numbers == [0, 9, *range(2, 10)]
    assert log == [
        "0x200 in 40", "synchronize 0x200", "0x200 fill 0 8", "0x200 copy 4", "0x200 out 40",
        "synchronize 0x200",
    ]  # fmt: skip
    assert found["nothing"] == ["synchronize 0x200"]
    assert found["strided"].startswith("ValueError: Only contiguous arrays can be copied")


def test_launches_pass_integers_and_ask_for_shared_memory(found):
    assert found["same"] and found["resident"] == 2
    assert found["launches"] == [
        "sknn_k attribute 8 60000",
        "sknn_k resident 64 60000",
        f"0x200 launch sknn_k 5 1 1 64 1 1 50000: 1 2 {-2**63}",
        "sknn_k attribute 8 70000",
        "0x200 together sknn_k 5 1 1 64 1 1 70000: 3 4 5",
    ]
    assert found["arguments"].startswith("ValueError")


def test_errors_name_the_kernel(found):
    last = "The last kernel that was launched is 'k'."
    assert found["refused"] == (
        f"_Failed: cuLaunchKernel failed: CUDA_ERROR_INVALID_VALUE (error 1). {last}"
    )
    assert found["late"] == (
        f"_Failed: cuStreamSynchronize failed: CUDA_ERROR_ILLEGAL_ADDRESS (error 700). {last} "
        "After such an error CUDA can't be used in this process any more."
    )


def test_a_graph_has_what_was_asked_for_meanwhile_and_nothing_of_others(found):
    launch, filling, copying = (
        "0x200 launch sknn_k 1 1 1 2 1 1 0: 7 8 9", "0x200 fill 0 64", "0x200 copy 32"
    )  # fmt: skip
    assert found["captured"] == [
        [True], ["recorded destroyed", "0x200 launch sknn_k 1 1 1 1 1 1 0: 0 0 0"]
    ]  # fmt: skip
    once = ["0x200 graph", launch, filling, copying]
    assert found["replayed"] == [*once, *once, "graph destroyed"]
    assert found["broken"] == ["KeyError: 'inside'", ["recorded destroyed"]]
    assert "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" in found["no waiting"]
    assert found["after"] == ["synchronize 0x200"]  # the stream computes again


def test_the_streams_wait_for_each_other(found):
    assert found["done"] == [True, False]
    event = re.match(r"0x200 record (0x\w+)", found["order"][0])[1]
    after = hex(int(event, 16) + 1)
    assert found["order"] == [
        f"0x200 record {event}", f"wait {event}", f"0x201 wait {event} 0", "pinned 32",
        "0x201 in 32", f"0x201 record {after}", f"0x200 wait {after} 0",
        f"event destroyed {after}", f"event destroyed {event}",
    ]  # fmt: skip
    assert found["unpinned"] == "unpinned"


def test_the_context_of_others_is_left_to_them(found):
    assert found["context"] == 0x999
    assert "cuCtxPushCurrent failed" in found["lost"]


def test_a_forked_process_is_told_to_start_otherwise(found):
    assert len(found["fork"]) == 4
    for message in found["fork"]:
        assert message.startswith("RuntimeError: CUDA can't be used in a process that was forked")
        assert "'spawn'" in message and "'loky'" in message
