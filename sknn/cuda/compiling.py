"""Compilation of kernels to cubins: machine code for one generation of GPUs. Needs no driver.

A kernel takes numbers of 64 bits, addresses among them, and returns nothing. What it calls are
functions of ``numba.cuda.jit(device=True)``, which all become a part of it. A product and the sum
that it is added to stay two operations, each rounded, where a kernel does not ask for ``cuda.fma``:
else the bits would depend on what the compiler finds to merge. Division and square root are as IEEE
754 has them.

Cubins are kept on disk (``sknn/store``). Each is made for the kernel's name and signature, the
generation of GPUs, the bounds of a launch, the versions of all that compiles, and the source of all
kernels: the folder ``kernels``, which imports nothing else of the package, and this file.

Only this file depends on private parts of numba-cuda.
"""

import pathlib
import re
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NamedTuple

import llvmlite
import numba
import numba_cuda
from cuda.bindings import nvjitlink
from cuda.bindings import nvrtc as nvrtc_bindings
from cuda.core import Linker, LinkerOptions, ObjectCode
from cuda.core import __version__ as core_version
from numba import types
from numba.cuda import compiler, dispatcher
from numba.cuda.core.compiler_lock import global_compiler_lock
from numba.cuda.cudadrv import nvrtc, nvvm

from ..store import files
from ..store.notices import compiling

#: Of the source that is being imported, not of what may be edited until a kernel is made.
_DIGEST = files.digest(__file__, pathlib.Path(__file__).parent / "kernels")

#: Seconds to wait at most for another process: a kernel of many operations takes some ten.
_PATIENCE = 60.0

#: What NVVM is asked for. Without "fma" it merges products and sums.
_OPTIONS = {"opt": 3, "fma": 0, "ftz": 0, "prec_div": 1, "prec_sqrt": 1}


class Report(NamedTuple):
    """The static properties of a compiled kernel.

    Attributes
    ----------
    registers : int
        Of a thread.
    stack, spills, shared : int
        Bytes: of a thread's stack, written and read to spare registers, and of the shared memory
        of a thread block that the kernel itself declares.
    float64, calls : int
        Instructions of double precision; functions that have not become a part of the kernel.
    ptx : str
    cubin : bytes
    """

    registers: int
    stack: int
    spills: int
    shared: int
    float64: int
    calls: int
    ptx: str
    cubin: bytes


def digest():
    """Return the key of the cache: a short hash of the kernels' source as it was imported."""
    return _DIGEST


def symbol(name):
    """Return the name that a kernel has in its cubin, where it is alone."""
    return "sknn_" + re.sub(r"\W", "_", name)[:60]


def toolkit():
    """Return the version of the installed CUDA toolkit: major and minor number."""
    return tuple(nvjitlink.version())


def architecture(capability):
    """Return the compute capability to compile for, so that GPUs of `capability` can run it.

    Machine code runs on what has the same major number and no smaller minor one.
    """
    known = nvrtc.get_supported_ccs()
    fitting = [one for one in known if one[0] == capability[0] and one <= capability]
    if not fitting:
        first, last = ("{}.{}".format(*one) for one in (min(known), max(known)))
        raise RuntimeError(
            "The installed CUDA toolkit compiles for GPUs of compute capability {} to {}, and not "
            "for {}.{}. pip install 'sknn[cuda12]' brings a toolkit for older GPUs, 'sknn[cuda13]' "
            "one for newer ones.".format(first, last, *capability)
        )
    return max(fitting)


@contextmanager
def _told(capability):
    """Tell numba-cuda what it compiles for; by itself it would ask the GPU, and open it for that.

    Only this thread is told: in others somebody else may use numba-cuda.
    """
    real, me = dispatcher.get_current_device, threading.get_ident()
    device = SimpleNamespace(compute_capability=capability)
    dispatcher.get_current_device = lambda: device if threading.get_ident() == me else real()
    try:
        yield
    finally:
        dispatcher.get_current_device = real


def _ptx(function, n_arguments, capability, threads, name):
    """Return the PTX of a kernel."""
    with _told(capability):
        compiled = compiler.compile_cuda(
            function, types.void, (types.int64,) * n_arguments, nvvm_options=_OPTIONS, cc=capability
        )
    mangled, library = compiled.fndesc.llvm_func_name, compiled.library
    kernel = library.get_function(mangled)
    compiler.kernel_fixup(kernel, debug=False)
    nvvm.set_launch_bounds(kernel, threads)
    modules = list(dict.fromkeys(library.modules))  # what several helpers call comes once for each
    for module in modules:
        for one in module.functions:
            if one is not kernel and not one.is_declaration:
                one.attributes.discard("noinline")
                one.attributes.add("alwaysinline")
    # the name that numba-cuda gave has a number that counts what was compiled before
    texts = [str(module).replace(mangled, symbol(name)) for module in modules]
    arch = "compute_{}{}".format(*capability)
    return nvvm.compile_ir(texts, arch=arch, **_OPTIONS).decode().rstrip("\0")


def _linked(ptx, capability):
    """Return the cubin, and what the assembler said of it."""
    options = LinkerOptions(arch="sm_{}{}".format(*capability), ptxas_options=["-v"])
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    return bytes(linker.link("cubin").code), linker.get_info_log()


def report(make, n_arguments, capability, threads, name="kernel"):
    """Compile a kernel, see :func:`cubin_of`, and return a :class:`Report`."""
    capability = architecture(capability)
    with global_compiler_lock:
        ptx = _ptx(make(), n_arguments, capability, threads, name)
        cubin, said = _linked(ptx, capability)

    def number(pattern, text=said):
        return sum(map(int, re.findall(pattern, text)))

    return Report(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill (?:stores|loads)"),
        shared=number(r"\.shared [^\n]*\.b8 [\w$]+\[(\d+)\]", ptx),
        float64=len(re.findall(r"^\s*(?:@!?%\w+\s+)?[a-z][\w.:]*\.f64", ptx, re.MULTILINE)),
        calls=len(re.findall(r"^\s*(?:@!?%\w+\s+)?call\b", ptx, re.MULTILINE)),
        ptx=ptx,
        cubin=cubin,
    )


def _versions():
    """Return the versions of all that has a part in compiling."""
    _, *of_nvrtc = nvrtc_bindings.nvrtcVersion()
    libraries = nvvm.NVVM().get_ir_version(), toolkit(), tuple(of_nvrtc)
    packages = numba_cuda.__version__, numba.__version__, llvmlite.__version__, core_version
    return *packages, sys.implementation.cache_tag, *libraries


def cubin_of(make, n_arguments, capability, threads, name):
    """Return the cubin of a kernel: compiled, or from the cache.

    Parameters
    ----------
    make : callable
        Returns the kernel, as a function in Python. It is called where there is no cubin yet.
    n_arguments : int
        How many integers of 64 bits the kernel takes.
    capability : tuple of two int
        The compute capability of the GPU.
    threads : int or tuple of two int
        How many threads a thread block has at most; how many thread blocks are to fit on a
        multiprocessor at least.
    name : str
        What the cache knows it by: it says all that `make` depends on, beside the source.

    Returns
    -------
    bytes
    """
    capability = architecture(capability)

    def compiled(folder):
        compiling("kernels of a GPU, up to half a minute", folder)
        return _linked(_ptx(make(), n_arguments, capability, threads, name), capability)[0]

    with global_compiler_lock:
        folder = files.writable_folder(digest())
        if folder is None:
            return compiled(None)
        made_for = name, n_arguments, capability, threads, digest(), _versions()
        file = files.File(folder, symbol(name), made_for)
        cubin = file.load()
        if cubin is None:
            with file.turn(_PATIENCE):
                cubin = file.load()  # by now another process may have made it
                if cubin is None:
                    cubin = compiled(folder)
                    file.save(cubin)
        return cubin
