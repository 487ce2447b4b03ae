"""The barrier that synchronizes the threads of a pool."""

import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .compiling import register_jitable

_I64 = ir.IntType(64)


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


_YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


@intrinsic
def _yield(typingctx):
    def codegen(context, builder, sig, args):
        function = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, function, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), codegen


#: Bytes of a barrier: its count of arrivals and its generation, each on a cache line of its own.
BARRIER_BYTES = 128


@register_jitable
def barrier(sync, size, most_spins):
    """Wait until `size` threads have arrived; spin `most_spins` times before yielding the core.

    If there are more threads than cores, the thread that is waited for may need this core.
    """
    generation = _load(sync + 64)
    if _fetch_add(sync, 1) == size - 1:
        _store(sync, 0)
        _store(sync + 64, generation + 1)
        return
    spins = 0
    while _load(sync + 64) == generation:
        spins += 1
        if spins > most_spins:
            _yield()
