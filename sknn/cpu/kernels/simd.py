"""SIMD primitives: vectors and register tiles for kernels written as ordinary nopython Python.

A :class:`Vector` is a fixed number of *logical* lanes (16 of float32, 8 of float64), the same on
every machine; LLVM legalizes it to one AVX-512 register, two of AVX2, four of NEON. Operations
on it never reassociate, and multiply-adds are explicit, so the bits do not depend on the machine.

A :class:`Tile` is a register tile: `rows` by `vectors` vectors that LLVM keeps in registers while
a kernel accumulates outer products into them. It is what makes the kernels fast: one load feeds
several multiply-adds.

Memory is addressed by plain integers (bytes) plus an index (elements), since a kernel gets all of
its operands as offsets into a few arenas.
"""

import operator
from functools import cache
from math import isqrt

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from .compiling import context

LANES = {types.float32: 16, types.float64: 8}
INTEGER = {types.float32: types.int32, types.float64: types.int64}
_LLVM = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.uint32: ir.IntType(32),
}
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


class Vector(types.Type):
    """`lanes` values of the scalar type `real`, in registers."""

    def __init__(self, real, lanes):
        self.real = real
        self.lanes = lanes
        self.llvm = ir.VectorType(_LLVM[real], lanes)
        super().__init__(name=f"Vector({real}, {lanes})")


class Mask(types.Type):
    """The outcome of comparing two vectors, one bit a lane."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.llvm = ir.VectorType(ir.IntType(1), lanes)
        super().__init__(name=f"Mask({lanes})")


class Tile(types.Type):
    """A register tile of `rows` times `vectors` vectors."""

    def __init__(self, vector, rows, vectors):
        self.vector = vector
        self.rows = rows
        self.vectors = vectors
        self.llvm = ir.ArrayType(vector.llvm, rows * vectors)
        super().__init__(name=f"Tile({vector}, {rows}, {vectors})")


class _Model(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm)


class Rows(types.Type):
    """The addresses of a tile's rows of scalars, where they lie at no constant stride."""

    def __init__(self, rows):
        self.rows = rows
        self.llvm = ir.ArrayType(_I64, rows)
        super().__init__(name=f"Rows({rows})")


for _type in (Vector, Mask, Tile, Rows):
    register_model(_type)(_Model)


@cache
def host_features():
    """Return the processor features that code is generated for, as a set of LLVM's names."""
    features = context().codegen().magic_tuple()[-1]
    return {name[1:] for name in features.split(",") if name.startswith("+")}


def tile_shape(rows):
    """Return rows and vectors of the register tile for a loop over multiples of `rows` rows.

    AVX-512 has 32 registers of a whole vector: up to ten rows of two. AVX2 holds a vector in two of
    its 16 registers, and NEON in four of its 32: a larger tile than six rows of one would spill,
    and a much smaller one would wait for its sums.
    """
    if "avx512f" in host_features():
        return rows, 2
    return (5 if rows == 10 else min(rows, 6)), 1


# --- how one value is made in LLVM's builder


def _splat(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, undefined, mask)


def _element(builder, llvm_scalar, address, index):
    """Return a pointer to element `index` of the array at the integer `address`."""
    return builder.gep(builder.inttoptr(address, llvm_scalar.as_pointer()), [index])


def _align(llvm_scalar):
    return 8 if llvm_scalar in (ir.DoubleType(), _I64) else 4


def _load_vector(builder, vector, address, index):
    scalar = _LLVM[vector.real]
    pointer = _element(builder, scalar, address, index)
    value = builder.load(builder.bitcast(pointer, vector.llvm.as_pointer()))
    value.align = _align(scalar)
    return value


def _store_vector(builder, value, address, index):
    scalar = value.type.element
    pointer = _element(builder, scalar, address, index)
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = _align(scalar)


def _call(builder, name, result, args):
    """Call the LLVM intrinsic `name`, e.g. ``fma``, overloaded by its result's type."""
    if isinstance(result, ir.VectorType):
        suffix = f"v{result.count}{_SUFFIX[str(result.element)]}"
    else:
        suffix = _SUFFIX[str(result)]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [a.type for a in args]), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


_SUFFIX = {"float": "f32", "double": "f64", "i32": "i32", "i64": "i64"}


def _convert(context, builder, value, source, vector):
    """Return scalar `value`, of Numba type `source`, as a vector of the type `vector`."""
    scalar = context.cast(builder, value, source, vector.real)
    return _splat(builder, scalar, vector.lanes)


# --- scalars in memory


@intrinsic
def get(typingctx, real, address, index):
    """Return element `index` of the array of `real` at `address`."""
    scalar = real.dtype

    def codegen(context, builder, sig, args):
        pointer = _element(builder, context.get_data_type(scalar), args[1], args[2])
        return context.unpack_value(builder, scalar, pointer)

    return scalar(real, types.int64, types.int64), codegen


@intrinsic
def put(typingctx, address, index, value):
    """Store `value` as element `index` of the array of its type at `address`."""

    def codegen(context, builder, sig, args):
        pointer = _element(builder, context.get_data_type(sig.args[2]), args[0], args[1])
        context.pack_value(builder, sig.args[2], args[2], pointer)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), codegen


@intrinsic
def bits_to_float64(typingctx, bits):
    """Return the float64 whose bit pattern is the int64 `bits`."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


# --- vectors


@intrinsic
def load(typingctx, vector, address, index):
    """Return the vector at element `index` of the array at `address`."""
    result = vector.instance_type

    def codegen(context, builder, sig, args):
        return _load_vector(builder, result, args[1], args[2])

    return result(vector, types.int64, types.int64), codegen


@intrinsic
def store(typingctx, address, index, value):
    """Store the vector `value` at element `index` of the array at `address`."""

    def codegen(context, builder, sig, args):
        _store_vector(builder, args[2], args[0], args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value), codegen


@intrinsic
def splat(typingctx, vector, scalar):
    """Return the scalar in every lane, converted to the vector's type."""
    result = vector.instance_type

    def codegen(context, builder, sig, args):
        return _convert(context, builder, args[1], scalar, result)

    return result(vector, scalar), codegen


@intrinsic
def iota(typingctx, vector):
    """Return 0, 1, 2, ... by lane."""
    result = vector.instance_type

    def codegen(context, builder, sig, args):
        return ir.Constant(result.llvm, list(range(result.lanes)))

    return result(vector), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c, rounded once."""

    def codegen(context, builder, sig, args):
        values = [
            _convert(context, builder, v, t, c) if isinstance(t, types.Number) else v
            for v, t in zip(args, sig.args, strict=True)
        ]
        return _call(builder, "fma", c.llvm, values)

    return c(a, b, c), codegen


@intrinsic
def select(typingctx, mask, a, b):
    """Return, lane by lane, `a` where the mask is set and else `b`."""
    result = a if isinstance(a, Vector) else b

    def codegen(context, builder, sig, args):
        _, x, y = (
            _convert(context, builder, v, t, result) if isinstance(t, types.Number) else v
            for v, t in zip(args, sig.args, strict=True)
        )
        return builder.select(args[0], x, y)

    return result(mask, a, b), codegen


def _unary(name, intrinsic_name):
    @intrinsic
    def function(typingctx, a):
        def codegen(context, builder, sig, args):
            return _call(builder, intrinsic_name, a.llvm, args)

        return a(a), codegen

    function.__name__ = name
    return function


sqrt = _unary("sqrt", "sqrt")
absolute = _unary("absolute", "fabs")


@intrinsic
def reinterpret(typingctx, vector, a):
    """Return the same bits as another vector type of the same size."""
    result = vector.instance_type

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[1], result.llvm)

    return result(vector, a), codegen


@intrinsic
def multiply_high(typingctx, a, b):
    """Return the upper 32 bits of the 64-bit products of uint32 lanes with a number."""

    def codegen(context, builder, sig, args):
        wide = ir.VectorType(_I64, a.lanes)
        factor = _convert(context, builder, args[1], b, a)
        x, y = (builder.zext(v, wide) for v in (args[0], factor))
        shift = ir.Constant(wide, [32] * a.lanes)
        return builder.trunc(builder.lshr(builder.mul(x, y), shift), a.llvm)

    return a(a, b), codegen


def _vector_cast(builder, value, scalar, result):
    if isinstance(scalar, types.Integer):
        convert = builder.sitofp if scalar.signed else builder.uitofp
    elif scalar.bitwidth == result.real.bitwidth:
        return value
    else:
        convert = builder.fpext if scalar.bitwidth < result.real.bitwidth else builder.fptrunc
    return convert(value, result.llvm)


@intrinsic
def lane_sum(typingctx, a):
    """Return the sum of the lanes, as float64, from the first lane to the last."""

    def codegen(context, builder, sig, args):
        total = ir.Constant(ir.DoubleType(), 0.0)
        for i in range(a.lanes):
            value = builder.extract_element(args[0], ir.Constant(_I32, i))
            if a.real != types.float64:
                value = builder.fpext(value, ir.DoubleType())
            total = builder.fadd(total, value)
        return total

    return types.float64(a), codegen


@intrinsic
def lane(typingctx, a, index):
    """Return one lane of uint32 as an int64."""

    def codegen(context, builder, sig, args):
        value = builder.extract_element(args[0], builder.trunc(args[1], _I32))
        return builder.zext(value, _I64)

    return types.int64(a, types.int64), codegen


@intrinsic
def convert(typingctx, vector, a):
    """Return uint32 lanes as real numbers, or real ones as wider ones."""
    result = vector.instance_type

    def codegen(context, builder, sig, args):
        return _vector_cast(builder, args[1], a.real, result)

    return result(vector, a), codegen


@intrinsic
def store_first(typingctx, address, index, value, count):
    """Store the first `count` lanes of a vector."""

    def codegen(context, builder, sig, args):
        lanes = value.lanes
        number = ir.Constant(ir.VectorType(_I64, lanes), list(range(lanes)))
        mask = builder.icmp_signed("<", number, _splat(builder, args[3], lanes))
        _masked_store(builder, args[2], args[0], args[1], mask)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, value, types.int64), codegen


def _prefetch(name, doc, writes):
    @intrinsic
    def function(typingctx, address):
        def codegen(context, builder, sig, args):
            kind = [ir.Constant(_I32, n) for n in (writes, 2, 1)]  # into L2
            pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
            prototype = ir.FunctionType(ir.VoidType(), [pointer.type, *[_I32] * 3])
            callee = cgutils.get_or_insert_function(builder.module, prototype, "llvm.prefetch.p0")
            builder.call(callee, [pointer, *kind])
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    function.__name__, function.__doc__ = name, doc
    return function


prefetch = _prefetch("prefetch", "Have the cache line at an address loaded.", 0)
prefetch_to_write = _prefetch("prefetch_to_write", "The same for a line that will be written.", 1)


# --- operators between vectors, or between a vector and a number


def _is_operand(t):
    return isinstance(t, Vector | types.Number)


def _register_operator(op, real, integer, comparison=False):
    """Give `op` its meaning on vectors; `real` and `integer` name the builder's methods."""

    @infer_global(op)
    class Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) != 2 or not all(map(_is_operand, args)):
                return None
            vectors = [a for a in args if isinstance(a, Vector)]
            if not vectors or any(v != vectors[0] for v in vectors):
                return None
            result = Mask(vectors[0].lanes) if comparison else vectors[0]
            return signature(result, *args)

    def lower(context, builder, sig, args):
        vector = next(a for a in sig.args if isinstance(a, Vector))
        a, b = (
            _convert(context, builder, v, t, vector) if isinstance(t, types.Number) else v
            for v, t in zip(args, sig.args, strict=True)
        )
        method = getattr(builder, real if vector.real in LANES else integer)
        return method(comparison, a, b) if comparison else method(a, b)

    for left, right in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, left, right)(lower)


_register_operator(operator.add, "fadd", "add")
_register_operator(operator.sub, "fsub", "sub")
_register_operator(operator.mul, "fmul", "mul")
_register_operator(operator.truediv, "fdiv", None)
_register_operator(operator.lshift, None, "shl")
_register_operator(operator.rshift, None, "lshr")  # logical
_register_operator(operator.xor, None, "xor")
_register_operator(operator.and_, None, "and_")
_register_operator(operator.lt, "fcmp_ordered", "icmp_unsigned", "<")
_register_operator(operator.gt, "fcmp_ordered", "icmp_unsigned", ">")
_register_operator(operator.le, "fcmp_ordered", "icmp_unsigned", "<=")
_register_operator(operator.ge, "fcmp_ordered", "icmp_unsigned", ">=")
_register_operator(operator.eq, "fcmp_ordered", "icmp_unsigned", "==")


# --- register tiles


def _parts(builder, tile, value):
    return [builder.extract_value(value, i) for i in range(tile.rows * tile.vectors)]


def _tile(builder, tile, parts):
    value = ir.Constant(tile.llvm, ir.Undefined)
    for i, part in enumerate(parts):
        value = builder.insert_value(value, part, i)
    return value


def _offset(builder, index, stride, factor):
    return builder.add(index, builder.mul(stride, ir.Constant(_I64, factor)))


@intrinsic
def tile_zero(typingctx, tile):
    """Return a tile of zeros."""
    result = tile.instance_type

    def codegen(context, builder, sig, args):
        zero = ir.Constant(result.vector.llvm, None)
        return _tile(builder, result, [zero] * (result.rows * result.vectors))

    return result(tile), codegen


@intrinsic
def tile_splat(typingctx, tile, address, index):
    """Return a tile whose row r has element ``index + r`` of the array in every lane."""
    result = tile.instance_type

    def codegen(context, builder, sig, args):
        scalar = _LLVM[result.vector.real]
        parts = []
        for r in range(result.rows):
            offset = builder.add(args[2], ir.Constant(_I64, r))
            value = builder.load(_element(builder, scalar, args[1], offset))
            parts += [_splat(builder, value, result.vector.lanes)] * result.vectors
        return _tile(builder, result, parts)

    return result(tile, types.int64, types.int64), codegen


@intrinsic
def tile_load(typingctx, tile, address, index, stride):
    """Return a tile whose row r lies at element ``index + r * stride`` of the array."""
    result = tile.instance_type

    def codegen(context, builder, sig, args):
        parts = []
        for r in range(result.rows):
            row = _offset(builder, args[2], args[3], r)
            for v in range(result.vectors):
                i = builder.add(row, ir.Constant(_I64, v * result.vector.lanes))
                parts.append(_load_vector(builder, result.vector, args[1], i))
        return _tile(builder, result, parts)

    return result(tile, *[types.int64] * 3), codegen


@intrinsic
def tile_load_first(typingctx, tile, address, index, stride, rows):
    """Return the same with zeros from row `rows` on; where it is below 1, row 0 is read anyway."""

    def codegen(context, builder, sig, args):
        _, address, index, stride, rows = args
        result = sig.return_type
        parts = []
        for r in range(result.rows):
            inside = builder.icmp_signed(">", rows, ir.Constant(_I64, r))
            row = builder.select(inside, _offset(builder, index, stride, r), index)
            for v in range(result.vectors):
                i = builder.add(row, ir.Constant(_I64, v * result.vector.lanes))
                part = _load_vector(builder, result.vector, address, i)
                parts.append(builder.select(inside, part, ir.Constant(result.vector.llvm, None)))
        return _tile(builder, result, parts)

    return tile.instance_type(tile, *[types.int64] * 4), codegen


@intrinsic
def tile_outer(typingctx, tile, s, s_index, s_stride, x, x_index, x_stride):
    """Return the tile plus an outer product, by multiply-adds.

    Row r gains the scalar ``s[s_index + r * s_stride]`` times the vectors that begin at
    ``x[x_index + r * x_stride]``; a stride of 0 shares the operand among the rows.
    """

    def codegen(context, builder, sig, args):
        value, s, s_index, s_stride, x, x_index, x_stride = args
        vector = tile.vector
        scalar = _LLVM[vector.real]
        parts = _parts(builder, tile, value)
        for r in range(tile.rows):
            pointer = _element(builder, scalar, s, _offset(builder, s_index, s_stride, r))
            factor = _splat(builder, builder.load(pointer), vector.lanes)
            row = _offset(builder, x_index, x_stride, r)
            for v in range(tile.vectors):
                i = builder.add(row, ir.Constant(_I64, v * vector.lanes))
                operand = _load_vector(builder, vector, x, i)
                j = r * tile.vectors + v
                parts[j] = _call(builder, "fma", vector.llvm, [factor, operand, parts[j]])
        return _tile(builder, tile, parts)

    return tile(tile, *[types.int64] * 6), codegen


@intrinsic
def packed_rows(typingctx, tile, address, first, last, pack, stride):
    """Return the addresses of rows `first` and on of a packed matrix, of `last` beyond it.

    `pack` rows lie side by side, a power of two, and `stride` elements further the next `pack`.
    """
    shape = tile.instance_type
    result = Rows(shape.rows)

    def codegen(context, builder, sig, args):
        _, address, first, last, pack, stride = args
        scalar = _LLVM[shape.vector.real]
        value = ir.Constant(result.llvm, ir.Undefined)
        shift = builder.cttz(pack, ir.Constant(ir.IntType(1), 1))
        mask = builder.sub(pack, ir.Constant(_I64, 1))
        for r in range(shape.rows):
            row = builder.add(first, ir.Constant(_I64, r))
            row = builder.select(builder.icmp_signed("<", row, last), row, last)
            offset = builder.add(
                builder.mul(builder.lshr(row, shift), stride), builder.and_(row, mask)
            )
            pointer = builder.ptrtoint(_element(builder, scalar, address, offset), _I64)
            value = builder.insert_value(value, pointer, r)
        return value

    return result(tile, *[types.int64] * 5), codegen


def _with_rows(tile, change):
    """Return what writes code that changes each part of a tile by its row's scalar.

    The scalars are at the rows' addresses; ``change(builder, scalar, vector of x, part)`` returns
    the new part.
    """

    def codegen(context, builder, sig, args):
        value, rows, s_index, x, x_index = args
        vector = tile.vector
        operands = [
            _load_vector(
                builder, vector, x, builder.add(x_index, ir.Constant(_I64, v * vector.lanes))
            )
            for v in range(tile.vectors)
        ]
        parts = _parts(builder, tile, value)
        for r in range(tile.rows):
            pointer = _element(builder, _LLVM[vector.real], builder.extract_value(rows, r), s_index)
            scalar = _splat(builder, builder.load(pointer), vector.lanes)
            for v, operand in enumerate(operands):
                j = r * tile.vectors + v
                parts[j] = change(builder, scalar, operand, parts[j])
        return _tile(builder, tile, parts)

    return codegen


@intrinsic
def tile_outer_rows(typingctx, tile, rows, s_index, x, x_index):
    """Return the tile plus an outer product, as tile_outer, of scalars at the rows' addresses."""

    def add_product(builder, scalar, operand, part):
        return _call(builder, "fma", tile.vector.llvm, [scalar, operand, part])

    return tile(tile, rows, *[types.int64] * 3), _with_rows(tile, add_product)


@intrinsic
def tile_squares_rows(typingctx, tile, rows, s_index, x, x_index):
    """Return the tile plus squares of x less a scalar, of operands as tile_outer_rows has them."""

    def add_square(builder, scalar, operand, part):
        difference = builder.fsub(operand, scalar)
        return _call(builder, "fma", tile.vector.llvm, [difference, difference, part])

    return tile(tile, rows, *[types.int64] * 3), _with_rows(tile, add_square)


@intrinsic
def tile_cross(typingctx, tile, d, d_index, d_stride, x, x_index, x_stride):
    """Return the tile plus products, lane by lane, of one vector a row and one a column.

    Row r has the vector at ``d[d_index + r * d_stride]``, column v that at ``x[x_index + v *
    x_stride]``.
    """

    def codegen(context, builder, sig, args):
        value, d, d_index, d_stride, x, x_index, x_stride = args
        columns = [
            _load_vector(builder, tile.vector, x, _offset(builder, x_index, x_stride, v))
            for v in range(tile.vectors)
        ]
        return _cross(builder, tile, value, d, d_index, d_stride, columns)

    return tile(tile, *[types.int64] * 6), codegen


@intrinsic
def tile_cross_within(typingctx, tile, d, d_index, d_stride, x, x_index, x_stride, low, high):
    """Return the same with zero for the columns outside of [low, high), which are not read."""

    def codegen(context, builder, sig, args):
        value, d, d_index, d_stride, x, x_index, x_stride, low, high = args
        zero = ir.Constant(tile.vector.llvm, None)
        last = builder.sub(high, ir.Constant(_I64, 1))
        columns = []
        for v in range(tile.vectors):
            i = ir.Constant(_I64, v)
            below, above = builder.icmp_signed("<", i, low), builder.icmp_signed(">", i, last)
            place = builder.select(below, low, builder.select(above, last, i))
            index = builder.add(x_index, builder.mul(place, x_stride))
            column = _load_vector(builder, tile.vector, x, index)
            columns.append(builder.select(builder.or_(below, above), zero, column))
        return _cross(builder, tile, value, d, d_index, d_stride, columns)

    return tile(tile, *[types.int64] * 8), codegen


def _cross(builder, tile, value, d, d_index, d_stride, columns):
    parts = _parts(builder, tile, value)
    for r in range(tile.rows):
        row = _load_vector(builder, tile.vector, d, _offset(builder, d_index, d_stride, r))
        for v, column in enumerate(columns):
            j = r * tile.vectors + v
            parts[j] = _call(builder, "fma", tile.vector.llvm, [row, column, parts[j]])
    return _tile(builder, tile, parts)


@intrinsic
def tile_row_sums(typingctx, tile, address, index, stride, rows, vectors):
    """Add the sums of the lanes of some rows and vectors to an array.

    Those of row r and vector v go to ``index + r + v * stride``.
    """

    def codegen(context, builder, sig, args):
        value, address, index, stride, rows, vectors = args
        parts, scalar = _parts(builder, tile, value), _LLVM[tile.vector.real]
        for r in range(tile.rows):
            for v in range(tile.vectors):
                inside = builder.and_(
                    builder.icmp_signed("<", ir.Constant(_I64, r), rows),
                    builder.icmp_signed("<", ir.Constant(_I64, v), vectors),
                )
                with builder.if_then(inside):
                    total = _halve(builder, parts[r * tile.vectors + v])
                    place = builder.add(_offset(builder, index, stride, v), ir.Constant(_I64, r))
                    pointer = _element(builder, scalar, address, place)
                    builder.store(builder.fadd(builder.load(pointer), total), pointer)
        return context.get_dummy_value()

    return types.void(tile, *[types.int64] * 5), codegen


def _halve(builder, vector):
    """Return the sum of the lanes: of halves, of their halves, and so on."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                vector, vector, ir.Constant(ir.VectorType(_I32, lanes), list(part))
            )
            for part in (range(lanes), range(lanes, 2 * lanes))
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(_I32, 0))


@intrinsic
def tile_store_sums(typingctx, tile, address, index, stride, columns, add):
    """Store the sums of the tile's lanes: a vector a column, of a sum for each row, else of zeros.

    Column v goes to element ``index + v * stride``, where `columns` says that there is one; if
    `add`, to what is there.
    """
    lanes = tile.vector.lanes
    if tile.rows * tile.vectors > lanes:
        return None

    def codegen(context, builder, sig, args):
        value, address, index, stride, columns, add = args
        sums = _lane_sums(builder, _parts(builder, tile, value))
        n, zero = sums.type.count, ir.Constant(sums.type, None)
        vector = ir.Constant(tile.vector.llvm, None)
        add = builder.icmp_signed("!=", add, ir.Constant(_I64, 0))
        for v in range(tile.vectors):
            of_rows = [r * tile.vectors + v for r in range(tile.rows)]
            mask = ir.Constant(ir.VectorType(_I32, lanes), of_rows + [n] * (lanes - tile.rows))
            column = builder.shuffle_vector(sums, zero, mask)
            with builder.if_then(builder.icmp_signed(">", columns, ir.Constant(_I64, v))):
                i = _offset(builder, index, stride, v)
                before = _load_vector(builder, tile.vector, address, i)
                before = builder.select(add, before, vector)
                _store_vector(builder, builder.fadd(before, column), address, i)
        return context.get_dummy_value()

    return types.void(tile, *[types.int64] * 5), codegen


def _lane_sums(builder, vectors):
    """Return a vector of the sums of the lanes of some vectors: of halves, and so on."""
    lanes, zero = vectors[0].type.count, ir.Constant(vectors[0].type, None)
    vectors = vectors + [zero] * ((1 << (len(vectors) - 1).bit_length()) - len(vectors))
    while lanes > 1:
        # of each sum so far there are `lanes` terms side by side
        half, pairs = lanes // 2, len(vectors) > 1
        several = vectors[0].type.count // lanes * (2 if pairs else 1)
        masks = [
            [part * lanes + i for part in range(several) for i in range(first, first + half)]
            for first in (0, half)
        ]
        masks = [ir.Constant(ir.VectorType(_I32, len(mask)), mask) for mask in masks]
        firsts, others = vectors[::2], vectors[1::2] or vectors
        vectors = [
            builder.fadd(*(builder.shuffle_vector(a, b, mask) for mask in masks))
            for a, b in zip(firsts, others)
        ]
        lanes = half
    return vectors[0]


@intrinsic
def position_rows(typingctx, tile, address, first, step, last, stride):
    """Return the addresses of elements at positions first, first + step, ..., held in [0, last].

    A position is `stride` elements of the tile's type.
    """
    shape = tile.instance_type
    result = Rows(shape.rows)

    def codegen(context, builder, sig, args):
        _, address, first, step, last, stride = args
        scalar, zero = _LLVM[shape.vector.real], ir.Constant(_I64, 0)
        value = ir.Constant(result.llvm, ir.Undefined)
        for r in range(shape.rows):
            place = _offset(builder, first, step, r)
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            place = builder.select(builder.icmp_signed(">", place, zero), place, zero)
            pointer = _element(builder, scalar, address, builder.mul(place, stride))
            value = builder.insert_value(value, builder.ptrtoint(pointer, _I64), r)
        return value

    return result(tile, *[types.int64] * 5), codegen


@intrinsic
def strided_rows(typingctx, tile, address, index, stride):
    """Return the addresses of elements `index`, ``index + stride``, ... of the array."""
    shape = tile.instance_type
    result = Rows(shape.rows)

    def codegen(context, builder, sig, args):
        _, address, index, stride = args
        scalar, value = _LLVM[shape.vector.real], ir.Constant(result.llvm, ir.Undefined)
        for r in range(shape.rows):
            pointer = _element(builder, scalar, address, _offset(builder, index, stride, r))
            value = builder.insert_value(value, builder.ptrtoint(pointer, _I64), r)
        return value

    return result(tile, *[types.int64] * 3), codegen


@intrinsic
def tile_blend(typingctx, old, new, low, high):
    """Return the rows low to high of the new tile, and the others of the old one."""

    def codegen(context, builder, sig, args):
        a, b, low, high = args
        before, after = _parts(builder, old, a), _parts(builder, old, b)
        parts = []
        for r in range(old.rows):
            i = ir.Constant(_I64, r)
            inside = builder.and_(
                builder.icmp_signed(">=", i, low), builder.icmp_signed("<", i, high)
            )
            for j in range(r * old.vectors, (r + 1) * old.vectors):
                parts.append(builder.select(inside, after[j], before[j]))
        return _tile(builder, old, parts)

    return old(old, new, types.int64, types.int64), codegen


@intrinsic
def tile_store_columns(typingctx, tile, address, index, stride, rows, low, high):
    """Store columns low to high of the first `rows` rows of the tile, as tile_store does."""

    def codegen(context, builder, sig, args):
        value, address, index, stride, rows, low, high = args
        parts, lanes = _parts(builder, tile, value), tile.vector.lanes
        number = ir.VectorType(_I64, lanes)
        for v in range(tile.vectors):
            lane = ir.Constant(number, [v * lanes + i for i in range(lanes)])
            mask = builder.and_(
                builder.icmp_signed(">=", lane, _splat(builder, low, lanes)),
                builder.icmp_signed("<", lane, _splat(builder, high, lanes)),
            )
            for r in range(tile.rows):
                with builder.if_then(builder.icmp_signed(">", rows, ir.Constant(_I64, r))):
                    row = _offset(builder, index, stride, r)
                    i = builder.add(row, ir.Constant(_I64, v * lanes))
                    _masked_store(builder, parts[r * tile.vectors + v], address, i, mask)
        return context.get_dummy_value()

    return types.void(tile, *[types.int64] * 6), codegen


def _masked_store(builder, value, address, index, mask):
    scalar = value.type.element
    pointer = builder.bitcast(_element(builder, scalar, address, index), value.type.as_pointer())
    suffix = f"v{value.type.count}{_SUFFIX[str(scalar)]}"
    signature = ir.FunctionType(
        ir.VoidType(), [value.type, pointer.type, _I32, mask.type]
    )
    function = cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.masked.store.{suffix}.p0"
    )
    builder.call(function, [value, pointer, ir.Constant(_I32, _align(scalar)), mask])


@intrinsic
def tile_store(typingctx, tile, address, index, stride, rows):
    """Store the first `rows` rows of the tile, row r at element ``index + r * stride``."""

    def codegen(context, builder, sig, args):
        value, address, index, stride, rows = args
        parts = _parts(builder, tile, value)
        for r in range(tile.rows):
            with builder.if_then(builder.icmp_signed(">", rows, ir.Constant(_I64, r))):
                row = _offset(builder, index, stride, r)
                for v in range(tile.vectors):
                    i = builder.add(row, ir.Constant(_I64, v * tile.vector.lanes))
                    _store_vector(builder, parts[r * tile.vectors + v], address, i)
        return context.get_dummy_value()

    return types.void(tile, *[types.int64] * 4), codegen


@intrinsic
def tile_load_rows(typingctx, tile, source, addresses, index):
    """Return a tile of one vector a row, converted from `source`.

    Row r lies at element `index` of the array at the r-th of the int64 `addresses` in memory.
    """
    result, scalar = tile.instance_type, source.dtype

    def codegen(context, builder, sig, args):
        memory = ir.VectorType(context.get_data_type(scalar), result.vector.lanes)
        parts = []
        for r in range(result.rows):
            address = builder.load(_element(builder, _I64, args[2], ir.Constant(_I64, r)))
            pointer = _element(builder, memory.element, address, args[3])
            value = builder.load(builder.bitcast(pointer, memory.as_pointer()))
            value.align = 1
            parts.append(_vector_cast(builder, value, scalar, result.vector))
        return _tile(builder, result, parts)

    return result(tile, source, types.int64, types.int64), codegen


@intrinsic
def prefetch_rows(typingctx, tile, source, addresses, index):
    """Ask for what tile_load_rows will load; any addresses may be given."""
    shape, scalar = tile.instance_type, source.dtype

    def codegen(context, builder, sig, args):
        byte = ir.IntType(8).as_pointer()
        signature = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        numbers = [ir.Constant(_I32, n) for n in (0, 3, 1)]  # to read; into all caches; data
        for r in range(shape.rows):
            address = builder.load(_element(builder, _I64, args[2], ir.Constant(_I64, r)))
            pointer = _element(builder, context.get_data_type(scalar), address, args[3])
            builder.call(function, [builder.bitcast(pointer, byte), *numbers])
        return context.get_dummy_value()

    return types.void(tile, source, types.int64, types.int64), codegen


@intrinsic
def tile_lookup(typingctx, tile, address, stride, numbers, index, last, x):
    """Return a tile of one vector a row, the vector x plus one from a table in memory.

    Row r is from element ``numbers[index + r] * stride`` of the table. The numbers are reals; they
    are held in [0, last], so that none of them leads out of the table.
    """
    result = tile.instance_type

    def codegen(context, builder, sig, args):
        _, address, stride, numbers, index, last, x = args
        scalar, parts = _LLVM[result.vector.real], []
        zero, most = ir.Constant(scalar, 0.0), builder.sitofp(last, scalar)
        for r in range(result.rows):
            place = builder.add(index, ir.Constant(_I64, r))
            number = builder.load(_element(builder, scalar, numbers, place))
            number = builder.select(builder.fcmp_ordered(">", number, zero), number, zero)
            number = builder.select(builder.fcmp_ordered("<", number, most), number, most)
            offset = builder.mul(builder.fptosi(number, _I64), stride)
            row = _load_vector(builder, result.vector, address, offset)
            parts.append(builder.fadd(row, x))
        return _tile(builder, result, parts)

    return result(tile, *[types.int64] * 5, result.vector), codegen


@intrinsic
def tile_transpose(typingctx, tile):
    """Return a square tile (as many rows as lanes, one vector each) with rows as columns.

    Swaps halves, then quarters, and so on: log2(lanes) rounds of shuffles of two rows.
    """

    def codegen(context, builder, sig, args):
        return _tile(builder, tile, _transposed(builder, _parts(builder, tile, args[0])))

    return tile(tile), codegen


def _transposed(builder, rows):
    lanes = len(rows)
    rows, step = list(rows), lanes // 2
    while step:
        low = [i if not i & step else i - step + lanes for i in range(lanes)]
        high = [i + step if not i & step else i + lanes for i in range(lanes)]
        masks = [ir.Constant(ir.VectorType(_I32, lanes), m) for m in (low, high)]
        for i in range(lanes):
            if not i & step:
                pair = rows[i], rows[i + step]
                rows[i], rows[i + step] = (builder.shuffle_vector(*pair, m) for m in masks)
        step //= 2
    return rows


@intrinsic
def tile_lane_sums(typingctx, tile):
    """Return a vector whose lane r is the sum of the lanes of row r of a square tile."""

    def codegen(context, builder, sig, args):
        parts = _transposed(builder, _parts(builder, tile, args[0]))
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(parts[i], parts[i + half]) for i in range(half)]
        return parts[0]

    return tile.vector(tile), codegen


@intrinsic
def tile_multiply(typingctx, tile, d, d_index, d_stride, x):
    """Return a tile of one column plus products, lane by lane, of the vector x and one a row.

    Row r has the vector at ``d[d_index + r * d_stride]``.
    """

    def codegen(context, builder, sig, args):
        value, d, d_index, d_stride, x = args
        return _cross(builder, tile, value, d, d_index, d_stride, [x])

    return tile(tile, *[types.int64] * 3, x), codegen


@intrinsic
def tile_multiply_rows(typingctx, tile, a, b, index, stride):
    """Return a tile of one column plus products, lane by lane, of two vectors a row.

    Row r has those at element ``index + r * stride`` of the arrays.
    """

    def codegen(context, builder, sig, args):
        value, a, b, index, stride = args
        parts = _parts(builder, tile, value)
        for r in range(tile.rows):
            i = _offset(builder, index, stride, r)
            pair = [_load_vector(builder, tile.vector, array, i) for array in (a, b)]
            parts[r] = _call(builder, "fma", tile.vector.llvm, [*pair, parts[r]])
        return _tile(builder, tile, parts)

    return tile(tile, *[types.int64] * 4), codegen


# --- squares of vectors: the transforms of Winograd's convolution


@intrinsic
def patch_rows(typingctx, tile, image, zeros, top, left, height, columns, stride):
    """Return the addresses of a square of pixels, `stride` elements each, row by row.

    Those outside of the image of `height` times `columns` pixels are at `zeros`.
    """
    shape = tile.instance_type
    side, result = isqrt(shape.rows), Rows(shape.rows)

    def codegen(context, builder, sig, args):
        _, image, zeros, top, left, height, columns, stride = args
        scalar = _LLVM[shape.vector.real]

        def along(first, extent):
            """Return places along an axis, and whether each is inside."""
            places = [builder.add(first, ir.Constant(_I64, k)) for k in range(side)]
            return [(place, builder.icmp_unsigned("<", place, extent)) for place in places]

        rows, value = along(top, height), ir.Constant(result.llvm, ir.Undefined)
        for i, (y, inside_y) in enumerate(rows):
            for j, (x, inside_x) in enumerate(along(left, columns)):
                place = builder.add(builder.mul(y, columns), x)
                pointer = _element(builder, scalar, image, builder.mul(place, stride))
                address = builder.select(
                    builder.and_(inside_y, inside_x), builder.ptrtoint(pointer, _I64), zeros
                )
                value = builder.insert_value(value, address, i * side + j)
        return value

    return result(tile, *[types.int64] * 7), codegen


@intrinsic
def tile_gather(typingctx, tile, rows, index):
    """Return a tile of one vector a row, from element `index` at the rows' addresses on."""
    result = tile.instance_type

    def codegen(context, builder, sig, args):
        _, rows, index = args
        parts = [
            _load_vector(builder, result.vector, builder.extract_value(rows, r), index)
            for r in range(result.rows)
        ]
        return _tile(builder, result, parts)

    return result(tile, rows, types.int64), codegen


def _both_sides(name, matrix, doc, halved=False):
    """Return a function of a square T of vectors that returns M T M' for a constant M.

    A row of M has the numbers of the columns, from 1 on, whose sum it is, in their order, negative
    where a column is subtracted; if `halved`, those of several columns are multiplied by 1/2.
    """

    def times(builder, vectors):
        """Return the products of M's rows with a column of vectors."""
        products = []
        for first, *others in matrix:
            total = vectors[first - 1]
            for k in others:
                total = (builder.fadd if k > 0 else builder.fsub)(total, vectors[abs(k) - 1])
            if halved and others:
                half = ir.Constant(total.type, [0.5] * total.type.count)
                total = builder.fmul(total, half)
            products.append(total)
        return products

    @intrinsic
    def function(typingctx, tile):
        result = Tile(tile.vector, len(matrix) ** 2, 1)

        def codegen(context, builder, sig, args):
            parts, side = _parts(builder, tile, args[0]), isqrt(tile.rows)
            columns = [times(builder, parts[j::side]) for j in range(side)]
            rows = [times(builder, list(row)) for row in zip(*columns)]
            return _tile(builder, result, [part for row in rows for part in row])

        return result(tile), codegen

    function.__name__, function.__doc__ = name, doc
    return function


winograd_input = _both_sides(
    "winograd_input", ((1, -3), (2, 3), (3, -2), (4, -2)),
    "Return the transform of a square of 4x4 inputs.",
)  # fmt: skip
winograd_kernel = _both_sides(
    "winograd_kernel", ((1,), (1, 3, 2), (1, 3, -2), (3,)),
    "Return the transform, 4x4, of a kernel of 3x3 weights.", halved=True,
)  # fmt: skip
winograd_output = _both_sides(
    "winograd_output", ((1, 2, 3), (2, -3, 4)),
    "Return the 2x2 outputs that 4x4 products stand for.",
)  # fmt: skip
winograd_output_gradient = _both_sides(
    "winograd_output_gradient", ((1,), (1, 2), (1, -2), (2,)),
    "Return the gradients of the 4x4 products, from those of 2x2 outputs.",
)  # fmt: skip


@intrinsic
def tile_vectors(typingctx, tile):
    """Return the vectors of a tile, row by row, as a tuple."""
    result = types.UniTuple(tile.vector, tile.rows * tile.vectors)

    def codegen(context, builder, sig, args):
        return context.make_tuple(builder, result, _parts(builder, tile, args[0]))

    return result(tile), codegen
