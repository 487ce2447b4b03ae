"""How threads wait for each other: at a barrier, and for the start of a run.

Each thread counts its arrivals in a word that only it writes, on cache lines of its own, and one
that waits looks at another's. In each round of a barrier a thread waits for one other; after as
many rounds as the number of threads has binary digits, each has heard of all. Two threads wait for
one transfer of a cache line.

A thread that has looked many times in vain sleeps until the word changes. One that only yielded its
core would seem busy to the scheduler: two threads that began on the same core, while another is
idle, could go on to take turns there.
"""

import platform
import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compiling import register_jitable

_I64 = ir.IntType(64)
_MACHINE = platform.machine().lower()


def _pointer(builder, address):
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def _fetch_add(typingctx, address, value):
    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", _pointer(builder, args[0]), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _load(typingctx, address):
    def codegen(context, builder, sig, args):
        return builder.load_atomic(_pointer(builder, args[0]), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def _store(typingctx, address, value):
    def codegen(context, builder, sig, args):
        builder.store_atomic(args[1], _pointer(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


#: LLVM's names of what tells the core that it is in such a loop, for tens of nanoseconds.
_X86, _ARM = ("llvm.x86.sse2.pause", []), ("llvm.aarch64.isb", [ir.IntType(32)(15)])
_PAUSE = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}.get(_MACHINE)


@intrinsic
def _pause(typingctx):
    def codegen(context, builder, sig, args):
        if _PAUSE is not None:
            name, numbers = _PAUSE
            function = ir.FunctionType(ir.VoidType(), [number.type for number in numbers])
            builder.call(cgutils.get_or_insert_function(builder.module, function, name), numbers)
        return context.get_dummy_value()

    return types.void(), codegen


#: The number of Linux's system call to sleep until a word changes, or None.
_FUTEX = {"x86_64": 202, "aarch64": 98, "ppc64le": 221, "riscv64": 98}.get(_MACHINE)
_FUTEX = _FUTEX if sys.platform == "linux" else None
_WAIT, _WAKE = 128, 129  # for threads of one process
_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


@intrinsic
def _futex(typingctx, address, what, value):
    """Call `futex`, for the lower half of a word; without it, yield the core instead."""

    def codegen(context, builder, sig, args):
        if _FUTEX is None:
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, _YIELD), [])
        else:
            function = ir.FunctionType(_I64, [_I64], var_arg=True)
            call = cgutils.get_or_insert_function(builder.module, function, "syscall")
            address, what, value = args
            builder.call(call, [_I64(_FUTEX), address, what, value, _I64(0), _I64(0), _I64(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def _core(typingctx):
    """Return the number of the core that this thread runs on; 0 where that is not known."""

    def codegen(context, builder, sig, args):
        if _FUTEX is None:
            return _I64(0)
        function = ir.FunctionType(ir.IntType(32), [])
        call = cgutils.get_or_insert_function(builder.module, function, "sched_getcpu")
        return builder.sext(builder.call(call, []), _I64)

    return types.int64(), codegen


#: Bytes from one word to the next: two cache lines, since processors fetch neighbors too.
_APART = 128
#: How often to look before anything else is considered.
_FEW = 20
#: The words: threads that sleep; runs that have been started; then each thread's arrivals.
_ASLEEP, _STARTED, _ARRIVED = 0, _APART, 2 * _APART


def sync_bytes(threads):
    """Return the size of what so many threads share, zero at first."""
    return _ARRIVED + threads * _APART


@register_jitable
def _set(sync, word, value):
    """Set a word, and wake those that sleep until it changes."""
    _store(word + 8, _core())
    _store(word, value)
    if _load(sync + _ASLEEP):
        _futex(word, _WAKE, 2**31 - 1)


@register_jitable
def _wait(sync, word, value, most_spins):
    """Wait until a word has reached a value; look so many times before sleeping.

    A thread whose core was last seen to be this one cannot set it while this thread is looking.
    """
    spins, seen = 0, _load(word)
    while seen < value:
        if spins == _FEW and _load(word + 8) == _core():
            spins = most_spins
        if spins < most_spins:
            spins += 1
            _pause()
        else:
            _fetch_add(sync + _ASLEEP, 1)
            _futex(word, _WAIT, seen)
            _fetch_add(sync + _ASLEEP, -1)
            spins = 0
        seen = _load(word)


@register_jitable
def start(sync):
    """Start the next run in all threads."""
    _set(sync, sync + _STARTED, _load(sync + _STARTED) + 1)


@register_jitable
def wait_for_start(sync, run, most_spins):
    """Wait until so many runs have been started."""
    _wait(sync, sync + _STARTED, run, most_spins)


@register_jitable
def barrier(sync, rank, size, most_spins):
    """Wait until `size` threads have arrived."""
    arrived = sync + _ARRIVED
    mine, distance = arrived + rank * _APART, 1
    count = _load(mine)
    while distance < size:
        count += 1
        _set(sync, mine, count)
        _wait(sync, arrived + (rank + size - distance) % size * _APART, count, most_spins)
        distance *= 2
