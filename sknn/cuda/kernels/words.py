"""The primitives of kernels: reads and writes by address, shared memory, barriers, atomics.

These primitives are called words. Numba's own for CUDA use arrays, and pass each as seven numbers.
Our kernels get plain integers, so that launches are cheap, and read and write by address. The words
for that emit LLVM IR, and so do all that are specific to GPUs; they are all in this file.

:class:`Words` has what only needs LLVM, and is the same for every compiler. A subclass says how a
function becomes one that kernels call, and how threads know of each other. Here that is
:class:`CudaWords`.
"""

from functools import cache

from llvmlite import ir
from numba.core import cgutils, types

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_INT64 = types.int64


class Words:
    """The vocabulary of kernels for one compiler.

    Parameters
    ----------
    intrinsic : callable
        The decorator of Numba, or of its CUDA target, for words in LLVM's language.

    Notes
    -----
    A subclass has the functions ``thread()``, ``group()`` and ``groups()``: the number of the
    thread in its group (CUDA's thread block), that of the group, and of how many; ``sync()``, where
    the threads of a group meet; ``fence()``, after which all see what was written before;
    ``arrive(address)``, which adds one to an int64, at once, and returns what it was;
    ``look(address)``, which reads one that others change; and ``pause()``, which lets them.
    ``jit(function)`` makes a function that kernels call.
    """

    #: LLVM's number of the address space that integers are addresses in.
    space = 0

    def __init__(self, intrinsic):
        self._intrinsic = intrinsic
        self._known = {}

    def calls(self, target, operations, make):
        """Return the word that does one of some operations: ``call(number, team, frame, ...)``.

        ``make(target, name, variant)`` makes an operation. It is a chain of comparisons, written
        out: there are no addresses of functions on a GPU.
        """
        lines, scope = ["def call(number, team, frame, o, scratch):"], {}
        for i, (name, variant) in enumerate(operations):
            scope[f"f{i}"] = make(target, name, variant)
            lines += [f"    {'el' if i else ''}if number == {i}:  # {name}"]
            lines += [f"        f{i}(team, frame, o, scratch)"]
        exec(compile("\n".join(lines), "<calls>", "exec"), scope)
        return self.jit(scope["call"])

    def _once(self, key, make):
        if key not in self._known:
            self._known[key] = self._intrinsic(make)
        return self._known[key]

    def _place(self, context, builder, real, address, index):
        """Return a pointer to the number `index` of those of a type at an address."""
        item = context.get_data_type(real)
        pointer = builder.inttoptr(address, ir.PointerType(item, self.space))
        return builder.gep(pointer, [index])

    def get(self, kind):
        """Return the word that reads the i-th number of a type at an address."""

        def get(typingctx, address, index):
            def codegen(context, builder, sig, args):
                return builder.load(self._place(context, builder, kind, *args))

            return kind(_INT64, _INT64), codegen

        return self._once(("get", kind), get)

    @property
    def constant(self):
        """The word that reads an int64 which nobody changes while the kernel runs.

        It may be read once, and kept.
        """

        def constant(typingctx, address, index):
            def codegen(context, builder, sig, args):
                value = builder.load(self._place(context, builder, _INT64, *args))
                value.set_metadata("invariant.load", builder.module.add_metadata([]))
                return value

            return _INT64(_INT64, _INT64), codegen

        return self._once("constant", constant)

    def put(self, kind):
        """Return the word that writes one."""

        def put(typingctx, address, index, value):
            def codegen(context, builder, sig, args):
                builder.store(args[2], self._place(context, builder, kind, *args[:2]))
                return context.get_dummy_value()

            return types.void(_INT64, _INT64, kind), codegen

        return self._once(("put", kind), put)

    def put_four(self, kind):
        """Return the word that writes four neighbors; the first index is a multiple of four."""

        def put_four(typingctx, address, index, a, b, c, d):
            def codegen(context, builder, sig, args):
                place = self._place(context, builder, kind, *args[:2])
                _store_four(builder, place, args[2:], kind)
                return context.get_dummy_value()

            return types.void(_INT64, _INT64, kind, kind, kind, kind), codegen

        return self._once(("put four", kind), put_four)

    def four(self, kind):
        """Return the word that copies four neighbors of `shared` memory to a thread's own.

        ``four(shared, i, local, j)``: i is a multiple of four.
        """
        pointer = types.CPointer(kind)

        def four(typingctx, memory, index, local, place):
            def codegen(context, builder, sig, args):
                item = context.get_data_type(kind)
                vector = ir.VectorType(item, 4)
                source = builder.gep(args[0], [args[1]])
                value = builder.load(builder.bitcast(source, vector.as_pointer()))
                value.align = min(16, kind.bitwidth // 2)
                for i in range(4):
                    to = builder.gep(args[2], [builder.add(args[3], _I64(i))])
                    builder.store(builder.extract_element(value, _I32(i)), to)
                return context.get_dummy_value()

            return types.void(pointer, _INT64, pointer, _INT64), codegen

        return self._once(("four", kind), four)

    def local(self, kind, size):
        """Return the word that gives a thread so many numbers of its own, in registers if it can.

        Their indices must be known to the compiler once it has unrolled the loops.
        """
        pointer = types.CPointer(kind)

        def local(typingctx):
            def codegen(context, builder, sig, args):
                item = context.get_data_type(kind)
                with builder.goto_entry_block():
                    memory = builder.alloca(ir.ArrayType(item, size))
                memory.align = 16
                return builder.bitcast(memory, item.as_pointer())

            return pointer(), codegen

        return self._once(("local", kind, size), local)

    def fma(self, kind):
        """Return the word for a b + c, rounded once."""

        def fma(typingctx, a, b, c):
            def codegen(context, builder, sig, args):
                return builder.fma(*args)

            return kind(kind, kind, kind), codegen

        return self._once(("fma", kind), fma)

    def bits(self, kind):
        """Return the word that takes the bits of an int64 for a number of a float type's size."""

        def bits(typingctx, value):
            def codegen(context, builder, sig, args):
                size = ir.IntType(kind.bitwidth)
                value = args[0] if kind.bitwidth == 64 else builder.trunc(args[0], size)
                return builder.bitcast(value, context.get_data_type(kind))

            return kind(_INT64), codegen

        return self._once(("bits", kind), bits)

    def bits_of(self, kind):
        """Return the word for the bits of a number, as an int64: signed, as those of its size."""

        def bits_of(typingctx, value):
            def codegen(context, builder, sig, args):
                value = builder.bitcast(args[0], ir.IntType(kind.bitwidth))
                return value if kind.bitwidth == 64 else builder.sext(value, _I64)

            return _INT64(kind), codegen

        return self._once(("bits of", kind), bits_of)

    @property
    def divide(self):
        """The word for a // b of numbers from 0 to 2**31 - 1: a GPU divides 64 bits slowly."""

        def divide(typingctx, a, b):
            def codegen(context, builder, sig, args):
                small = [builder.trunc(value, _I32) for value in args]
                return builder.zext(builder.udiv(*small), _I64)

            return _INT64(_INT64, _INT64), codegen

        return self._once("divide", divide)


def _store_four(builder, place, values, kind):
    item = values[0].type
    vector = ir.VectorType(item, 4)
    four = ir.Constant(vector, ir.Undefined)
    for i, value in enumerate(values):
        four = builder.insert_element(four, value, _I32(i))
    space = place.type.addrspace
    stored = builder.store(four, builder.bitcast(place, ir.PointerType(vector, space)))
    stored.align = min(16, kind.bitwidth // 2)


class CudaWords(Words):
    """The vocabulary as numba-cuda compiles it."""

    space = 1  # global memory

    def __init__(self):
        from numba import cuda
        from numba.cuda.extending import intrinsic

        super().__init__(intrinsic)
        self._jitted = {}

        @cuda.jit(device=True)
        def thread():
            return _INT64(cuda.threadIdx.x)

        @cuda.jit(device=True)
        def group():
            return _INT64(cuda.blockIdx.x)

        @cuda.jit(device=True)
        def groups():
            return _INT64(cuda.gridDim.x)

        @cuda.jit(device=True)
        def sync():
            cuda.syncthreads()

        @cuda.jit(device=True)
        def fence():
            cuda.threadfence()

        @intrinsic
        def arrive(typingctx, address):
            def codegen(context, builder, sig, args):
                place = builder.inttoptr(args[0], ir.PointerType(_I64, self.space))
                return builder.atomic_rmw("add", place, _I64(1), "monotonic")

            return _INT64(_INT64), codegen

        @intrinsic
        def look(typingctx, address):
            def codegen(context, builder, sig, args):
                function = ir.FunctionType(_I64, [_I64])
                text = "ld.volatile.global.u64 $0, [$1];"
                asm = ir.InlineAsm(function, text, "=l,l,~{memory}", side_effect=True)
                return builder.call(asm, args)

            return _INT64(_INT64), codegen

        @cuda.jit(device=True)
        def pause():
            cuda.nanosleep(20)

        self.thread, self.group, self.groups = thread, group, groups
        self.sync, self.fence, self.pause = sync, fence, pause
        self.arrive, self.look = arrive, look

    def jit(self, function):
        from numba import cuda

        if function not in self._jitted:
            self._jitted[function] = cuda.jit(device=True)(function)
        return self._jitted[function]

    def shared(self, kind):
        """Return the word that gives the memory that a group's threads share."""
        pointer = types.CPointer(kind)

        def shared(typingctx):
            def codegen(context, builder, sig, args):
                space = 3
                item = ir.ArrayType(ir.IntType(8), 0)
                name = "sknn_shared"
                memory = builder.module.globals.get(name)
                if memory is None:
                    memory = cgutils.add_global_variable(builder.module, item, name, space)
                    memory.align, memory.linkage = 16, "external"
                generic = builder.addrspacecast(memory, item.as_pointer())
                return builder.bitcast(generic, context.get_data_type(kind).as_pointer())

            return pointer(), codegen

        return self._once(("shared", kind), shared)


@cache
def cuda_words():
    """Return the vocabulary of CUDA; numba-cuda is imported here."""
    return CudaWords()
