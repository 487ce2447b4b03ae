"""A GPU on the CPU: kernels for CUDA, compiled by Numba for the processor, thread by thread.

The kernels and all that they call are the same functions; only their words are others. Each of a
GPU's threads is a fiber, with a stack of its own: it runs until it waits at a barrier, and then the
next one does. So a launch is deterministic, and the order in which threads take turns can be
chosen: where a barrier is missing, results differ from one order to another. Barriers of groups and
of the whole grid, shared memory, and atomics are real.

What differs from a GPU: memory is consistent at once, elementary functions are the processor's, and
nothing is said about speed.
"""

import ctypes
import hashlib
import pathlib
import platform
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

import sknn.cuda.kernels
from sknn.cpu.cache import compile_function
from sknn.cpu.kernels.compiling import register_jitable
from sknn.cuda.kernels.words import Words

#: A fiber: saved stack pointer, the fibers before and after it in the ring, its number in the
#: group, its group, groups, threads, addresses of shared memory and of the group's barrier, whether
#: a group goes on for as long as it can, the address of the kernel's list of operations, and the
#: kernel with its arguments.
(
    STACK, BEFORE, AFTER, THREAD, GROUP, GROUPS, THREADS, SHARED, BARRIER, ALONE, OPERATIONS,
    KERNEL, A, B, C,
) = range(15)  # fmt: skip
FIELDS = 16
_STACK_BYTES = 1 << 16
_INT64 = types.int64
_I64 = ir.IntType(64)

#: sknn_switch(where to save the stack pointer, the one to go on with), by processor; how many
#: numbers it restores, and which of them is where it returns to. Stacks are multiples of 16.
_SWITCH = {
    "x86_64": (
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; mov %rsp, (%rdi);"
        "mov %rsi, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret",
        7, 6,
    ),
    "aarch64": (
        "sub sp, sp, #160; stp x19, x20, [sp]; stp x21, x22, [sp, #16]; stp x23, x24, [sp, #32];"
        "stp x25, x26, [sp, #48]; stp x27, x28, [sp, #64]; stp x29, x30, [sp, #80];"
        "stp d8, d9, [sp, #96]; stp d10, d11, [sp, #112]; stp d12, d13, [sp, #128];"
        "stp d14, d15, [sp, #144]; mov x9, sp; str x9, [x0]; mov sp, x1; ldp x19, x20, [sp];"
        "ldp x21, x22, [sp, #16]; ldp x23, x24, [sp, #32]; ldp x25, x26, [sp, #48];"
        "ldp x27, x28, [sp, #64]; ldp x29, x30, [sp, #80]; ldp d8, d9, [sp, #96];"
        "ldp d10, d11, [sp, #112]; ldp d12, d13, [sp, #128]; ldp d14, d15, [sp, #144];"
        "add sp, sp, #160; ret",
        20, 11,
    ),
}  # fmt: skip
_MACHINE = platform.machine().replace("arm64", "aarch64").replace("AMD64", "x86_64")
supported = _MACHINE in _SWITCH and platform.system() in ("Linux", "Darwin")
needs_emulator = pytest.mark.skipif(not supported, reason="no fibers for this processor")


@cache
def _machine():
    """Make the machine: the switch, and the cell that says which fiber is running."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    text = _SWITCH[_MACHINE][0].replace(";", "\\0A")
    module = llvm.parse_assembly(
        f'module asm ".globl sknn_switch_here"\nmodule asm "sknn_switch_here:"\n'
        f'module asm "{text}"\ndeclare void @sknn_switch_here(i64, i64)\n'
        "define void @sknn_switch(i64 %a, i64 %b) {\n"
        "  tail call void @sknn_switch_here(i64 %a, i64 %b)\n  ret void\n}\n"
    )
    target = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    cell = np.zeros(1, np.int64)
    llvm.add_symbol("sknn_fiber", cell.ctypes.data)
    switch = np.array([engine.get_function_address("sknn_switch")], np.int64)
    llvm.add_symbol("sknn_switch_cell", switch.ctypes.data)
    return engine, cell, switch


def _cell(builder, name):
    known = builder.module.globals.get(name)
    if known is None:
        known = ir.GlobalVariable(builder.module, _I64, name)
    return known


@intrinsic
def _fiber(typingctx):
    """Return the address of the fiber that is running."""
    return _INT64(), lambda context, builder, sig, args: builder.load(_cell(builder, "sknn_fiber"))


@intrinsic
def _switch(typingctx, here, there):
    """Save this fiber's stack pointer at `here`, and go on with the fiber at `there`."""

    def codegen(context, builder, sig, args):
        here, there = args
        builder.store(there, _cell(builder, "sknn_fiber"))
        function = ir.FunctionType(ir.VoidType(), [_I64, _I64])
        address = builder.load(_cell(builder, "sknn_switch_cell"))
        stack = builder.load(builder.inttoptr(there, _I64.as_pointer()))
        builder.call(builder.inttoptr(address, function.as_pointer()), [here, stack])
        return context.get_dummy_value()

    return types.void(_INT64, _INT64), codegen


@intrinsic
def _call(typingctx, address, a, b, c):
    def codegen(context, builder, sig, args):
        function = ir.FunctionType(ir.VoidType(), [_I64] * 3)
        builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(_INT64, _INT64, _INT64, _INT64), codegen


@intrinsic
def _do(typingctx, address, team, frame, o, scratch):
    """Call the operation at an address."""

    def codegen(context, builder, sig, args):
        numbers = [builder.extract_value(args[1], i) for i in range(len(team))]
        numbers += [*args[2:4], builder.ptrtoint(args[4], _I64)]
        function = ir.FunctionType(ir.VoidType(), [_I64] * len(numbers))
        builder.call(builder.inttoptr(args[0], function.as_pointer()), numbers)
        return context.get_dummy_value()

    return types.void(_INT64, team, _INT64, _INT64, scratch), codegen


def _pointer(kind):
    """Return the word that takes a number for the address of others."""

    @intrinsic
    def pointer(typingctx, address):
        def codegen(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return types.CPointer(kind)(_INT64), codegen

    return pointer


def _entry(operation, pointer):
    def entry(a, b, c, d, e, f, g, h, i, j, frame, o, scratch):
        operation((a, b, c, d, e, f, g, h, i, j), frame, o, pointer(scratch))

    return entry


class EmulatedWords(Words):
    """The vocabulary for fibers.

    An operation is compiled by itself, once for all kernels: these call it by its address.

    Attributes
    ----------
    operations : list
        Those of the kernel that was made last.
    """

    operations = ()

    def __init__(self):
        super().__init__(intrinsic)
        get, put = self.get(_INT64), self.put(_INT64)
        self._jitted = {}

        @self.jit
        def pause():
            """Let others go on; where a group goes on alone, those of another one."""
            fiber = _fiber()
            there = get(fiber, AFTER)
            while get(fiber, ALONE) and get(there, GROUP) == get(fiber, GROUP) and there != fiber:
                there = get(there, AFTER)
            if there != fiber:
                _switch(fiber, there)

        @self.jit
        def pause_within():
            """Let others go on; where a group goes on alone, those of the same one."""
            fiber = _fiber()
            there = get(fiber, AFTER)
            if get(fiber, ALONE) and get(there, GROUP) != get(fiber, GROUP):
                there = fiber
                while get(get(there, BEFORE), GROUP) == get(fiber, GROUP):
                    there = get(there, BEFORE)
            if there != fiber:
                _switch(fiber, there)

        @self.jit
        def sync():
            barrier = get(_fiber(), BARRIER)
            round = get(barrier, 1)
            arrived = get(barrier, 0) + 1
            if arrived == get(_fiber(), THREADS):
                put(barrier, 0, 0)
                put(barrier, 1, round + 1)
            else:
                put(barrier, 0, arrived)
                while get(barrier, 1) == round:
                    pause_within()

        @self.jit
        def arrive(address):
            before = get(address, 0)
            put(address, 0, before + 1)
            return before

        self.sync, self.pause, self.arrive = sync, pause, arrive
        self.fence = self.jit(lambda: None)
        self.look = self.jit(lambda address: get(address, 0))
        self.thread = self.jit(lambda: get(_fiber(), THREAD))
        self.group = self.jit(lambda: get(_fiber(), GROUP))
        self.groups = self.jit(lambda: get(_fiber(), GROUPS))

    def calls(self, target, operations, make):
        get, self.operations = self.get(_INT64), []
        for name, variant in operations:
            parts = name, *variant, target.real, target.width, target.threads
            entry = _entry(make(target, name, variant), _pointer(target.real))
            one = compiled(entry, 13, "operation-" + "-".join(map(str, parts)))
            self.operations.append(one)

        @self.jit
        def call(number, team, frame, o, scratch):
            _do(get(get(_fiber(), OPERATIONS), number), team, frame, o, scratch)

        return call

    def jit(self, function):
        if function not in self._jitted:
            self._jitted[function] = register_jitable(function)
        return function

    def shared(self, kind):
        pointer = types.CPointer(kind)

        def shared(typingctx):
            def codegen(context, builder, sig, args):
                fiber = builder.inttoptr(
                    builder.load(_cell(builder, "sknn_fiber")), _I64.as_pointer()
                )
                address = builder.load(builder.gep(fiber, [_I64(SHARED)]))
                return builder.inttoptr(address, context.get_data_type(kind).as_pointer())

            return pointer(), codegen

        return self._once(("shared", kind), shared)


@cache
def words():
    return EmulatedWords()


@cache
def _digest():
    """Return a hash of the kernels' source: kernels are kept on disk, as the CPU's are."""
    folder = pathlib.Path(sknn.cuda.kernels.__file__).parent
    paths = [*sorted(folder.glob("*.py")), pathlib.Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def compiled(function, n_arguments, name):
    """Return a kernel that takes so many int64, compiled or from the cache."""
    _machine()
    name = hashlib.sha256(name.encode()).hexdigest()[:20]
    return compile_function(function, f"emulated-{_digest()}-{name}", (_INT64,) * n_arguments)


@cache
def _start():
    """Return the machine code that a fiber begins with, and the one that begins a launch."""
    get, put, pause = words().get(_INT64), words().put(_INT64), words().pause

    def begin():
        fiber = _fiber()
        _call(get(fiber, KERNEL), get(fiber, A), get(fiber, B), get(fiber, C))
        before, after = get(fiber, BEFORE), get(fiber, AFTER)
        put(before, AFTER, after)
        put(after, BEFORE, before)
        _switch(fiber, after)

    def launch(host):
        """Go through the ring until nobody but the host is left in it."""
        put_fiber(host)
        while get(host, AFTER) != host:
            pause()

    @intrinsic
    def put_fiber(typingctx, address):
        def codegen(context, builder, sig, args):
            builder.store(args[0], _cell(builder, "sknn_fiber"))
            return context.get_dummy_value()

        return types.void(_INT64), codegen

    return compiled(begin, 0, "begin"), compiled(launch, 1, "launch")


#: How threads take turns.
ORDERS = {
    "forward": lambda n: np.arange(n),
    "backward": lambda n: np.arange(n)[::-1],
    "mixed": lambda n: np.random.RandomState(n).permutation(n),
    "alone": lambda n: np.arange(n)[::-1],  # each group goes on until it has to wait for others
}


def launch(kernel, groups, threads, shared_bytes, arguments, order="forward", operations=()):
    """Run a kernel, and return when all of its threads have ended."""
    addresses = np.array([one.address for one in operations], np.int64)
    begin, go = _start()
    n = groups * threads
    stacks = np.empty((n, _STACK_BYTES // 8), np.int64)
    shared = np.full((groups, shared_bytes // 8 + 8), 0x7FF8DEAD7FC0DEAD, np.int64)
    barriers = np.zeros((groups, 8), np.int64)
    fibers = np.zeros((n + 1, FIELDS), np.int64)
    at = fibers.ctypes.data + np.arange(n + 1) * FIELDS * 8
    number = np.arange(n)
    fibers[:n, THREAD], fibers[:n, GROUP] = number % threads, number // threads
    fibers[:n, GROUPS], fibers[:n, THREADS] = groups, threads
    fibers[:n, SHARED] = (shared.ctypes.data + fibers[:n, GROUP] * shared.strides[0] + 15) & ~15
    fibers[:n, BARRIER] = barriers.ctypes.data + fibers[:n, GROUP] * barriers.strides[0]
    fibers[:n, KERNEL], fibers[:, ALONE] = kernel.address, order == "alone"
    fibers[n, GROUP], fibers[:n, OPERATIONS] = -1, addresses.ctypes.data
    for i, value in enumerate(arguments):
        fibers[:n, A + i] = value
    # on each stack, what the switch restores, and where it then returns to
    size, begins = _SWITCH[_MACHINE][1:]
    for i in range(n):
        bottom = stacks[i].ctypes.data
        place = ((bottom + _STACK_BYTES - 8 * size) // 16 * 16 - 16 - bottom) // 8
        stacks[i, place : place + size] = 0
        stacks[i, place + begins] = begin.address
        fibers[i, STACK] = bottom + 8 * place
    ring = np.append(ORDERS[order](n), n)
    fibers[ring, AFTER], fibers[ring, BEFORE] = at[np.roll(ring, -1)], at[np.roll(ring, 1)]
    go.ctypes(int(at[n]))


assert ctypes.sizeof(ctypes.c_void_p) == 8
