"""Weights that each member of a network has for itself: factors, biases, and whole matrices.

A parameter has the members before its other axes, so the rows of a member lie together in each
pack. A block knows its member; a gradient goes over the blocks of one member after the other, which
are as many for each.
"""

from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    MEMBER,
    MEMBERS,
    PACK,
    PARAMETERS,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .simd import (
    Tile,
    get,
    iota,
    lane_sum,
    load,
    packed_rows,
    put,
    select,
    splat,
    store,
    strided_rows,
    tile_cross,
    tile_lane_sums,
    tile_load,
    tile_multiply,
    tile_multiply_rows,
    tile_outer_rows,
    tile_row_sums,
    tile_shape,
    tile_store,
    tile_zero,
)


@kernel
def member_scale(t):
    """y = x * s, with a factor for each unit of a member. op: x, s, y, units."""
    return _by_unit(t, register_jitable(lambda x, s: x * s))


@kernel
def member_add(t):
    """y = x + b, with a number for each unit of a member. op: x, b, y, units."""
    return _by_unit(t, register_jitable(lambda x, b: x + b))


def _by_unit(t, combined):
    """Return a kernel that combines each unit with the member's number for it."""
    width, size, pack = t.width, t.size, t.wide.lanes
    factor_of = row_of(t)
    if width == 1:
        wide, write = t.wide, t.write

        def by_unit(op, frame, slot):
            x, numbers, y = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
            row = numbers + frame[MEMBER] * pack * size
            for unit in range(0, op[3], pack):
                value = combined(load(wide, x, unit), load(wide, row, unit * frame[MEMBERS]))
                write(y, unit, value, op[3] - unit)

        return by_unit
    vector, lanes = t.vector, t.vector.lanes

    def by_unit(op, frame, slot):
        x, y = slot + op[0], slot + op[2]
        for unit in range(op[3]):
            number = splat(vector, factor_of(frame, op[1], unit))
            for i in range(unit * width, (unit + 1) * width, lanes):
                store(y, i, combined(load(vector, x, i), number))

    return by_unit


def row_of(t):
    """Return a function that reads the number that the member at hand has for a unit."""
    pack, real = t.wide.lanes, t.real

    @register_jitable
    def number_of(frame, offset, unit):
        inside = unit & (pack - 1)
        i = (unit - inside) * frame[MEMBERS] + frame[MEMBER] * pack + inside
        return get(real, frame[PARAMETERS] + offset, i)

    return number_of


@kernel(numbers=["pack"])
def member_dense(t, rows, pack):
    """z = w x + b with a member's own w and b. op: x, w, b, z, inputs, units."""
    vector, width, lanes, size = t.vector, t.width, t.vector.lanes, t.size
    tile, number_of = t.tile(rows), row_of(t)
    tile_rows, span = tile.rows, tile.vectors * lanes

    def member_dense(op, frame, slot):
        x, z, inputs, units, pack = slot + op[0], slot + op[3], op[4], op[5], op[PACK]
        w = frame[PARAMETERS] + op[1] + frame[MEMBER] * inputs * pack * size
        apart = frame[MEMBERS] * inputs * pack
        for unit in range(units):
            bias = splat(vector, number_of(frame, op[2], unit))
            for n in range(unit * width, (unit + 1) * width, lanes):
                store(z, n, bias)
        for unit in range(0, units, tile_rows):
            weights = packed_rows(tile, w, unit, units - 1, pack, apart)
            for n in range(0, width, span):
                sums = tile_load(tile, z, unit * width + n, width)
                for k in range(inputs):
                    sums = tile_outer_rows(sums, weights, k * pack, x, k * width + n)
                tile_store(sums, z, unit * width + n, width, units - unit)

    return member_dense


@kernel(numbers=["pack"])
def member_dense_input_gradient(t, rows, pack):
    """dx = w^T dz with a member's own w. op: dz, w, dx, inputs, units."""
    tile, width, size = t.tile(rows), t.width, t.size
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes

    def member_dense_input_gradient(op, frame, slot):
        dz, dx, inputs, units, pack = slot + op[0], slot + op[2], op[3], op[4], op[PACK]
        w = frame[PARAMETERS] + op[1] + frame[MEMBER] * inputs * pack * size
        apart = frame[MEMBERS] * inputs
        for k in range(0, inputs, tile_rows):
            weights = strided_rows(tile, w, k * pack, pack)
            for n in range(0, width, span):
                sums = tile_zero(tile)
                for first in range(0, units, pack):
                    column = first * (apart - 1)
                    for unit in range(first, min(first + pack, units)):
                        sums = tile_outer_rows(sums, weights, column + unit, dz, unit * width + n)
                tile_store(sums, dx, k * width + n, width, inputs - k)

    return member_dense_input_gradient


@register_jitable
def _blocks_of_member(frame, width):
    return (frame[COUNT] + width - 1) // width // frame[MEMBERS]


@kernel
def member_sums(t):
    """The sums of dz over the samples of each member.

    op: first byte of the slice in the parameter, its byte in the gradient, elements, byte of the
    parameter, dz, units.
    """
    vector, width, lanes, real, size = t.vector, t.width, t.vector.lanes, t.real, t.size
    pack = t.wide.lanes

    def member_sums(op, frame, slot):
        g, units, blocks = frame[GRADIENT] + op[1], op[5], _blocks_of_member(frame, width)
        row = (op[0] - op[3]) // (pack * size)
        for r in range(row, row + op[2] // pack):
            first, member = r // frame[MEMBERS] * pack, r % frame[MEMBERS]
            for unit in range(first, first + pack):
                i = (r - row) * pack + unit - first
                total = get(real, g, i) if frame[ACCUMULATE] else real(0.0)
                if unit < units:
                    block = frame[WORKSPACE] + member * blocks * frame[WORKSPACE_STRIDE]
                    whole = 0.0
                    for _ in range(blocks):
                        sums = splat(vector, 0.0)
                        for n in range(unit * width, (unit + 1) * width, lanes):
                            sums = sums + load(vector, block + op[4], n)
                        whole += lane_sum(sums)
                        block += frame[WORKSPACE_STRIDE]
                    total += real(whole)
                put(g, i, total)

    return member_sums


@kernel
def sample_sums(t):
    """The sums of x over the samples of a block. op: x, sums, units."""
    vector, width = t.vector, t.width

    @register_jitable
    def added(tile, op, slot, i):
        return tile_multiply(tile, slot + op[0], i, width, splat(vector, 1.0))

    return _sums_of_block(t, added, 1)


@kernel
def product_sums(t):
    """The sums of a * b over the samples of a block. op: a, b, sums, units."""
    width = t.width

    @register_jitable
    def added(tile, op, slot, i):
        return tile_multiply_rows(tile, slot + op[0], slot + op[1], i, width)

    return _sums_of_block(t, added, 2)


def _sums_of_block(t, added, o):
    """Return a kernel that sums over samples, for as many units at a time as a vector has lanes.

    What it leaves beyond the last unit may be anything.
    """
    width, lanes, tile = t.width, t.vector.lanes, Tile(t.vector, t.vector.lanes, 1)

    def sums_of_block(op, frame, slot):
        out, units = slot + op[o], op[o + 1]
        for unit in range(0, units, lanes):
            sums = tile_zero(tile)
            for n in range(0, width, lanes):
                sums = added(sums, op, slot, unit * width + n)
            store(out, unit, tile_lane_sums(sums))

    return sums_of_block


@kernel
def member_block_sums(t):
    """The sums of what the blocks of each member have.

    op: first byte of the slice in the parameter, its byte in the gradient, elements, byte of the
    parameter, sums, units.
    """
    wide, width, size, pack = t.wide, t.width, t.size, t.wide.lanes

    def member_block_sums(op, frame, slot):
        g, units, blocks = frame[GRADIENT] + op[1], op[5], _blocks_of_member(frame, width)
        row = (op[0] - op[3]) // (pack * size)
        for r in range(row, row + op[2] // pack):
            first, member = r // frame[MEMBERS] * pack, r % frame[MEMBERS]
            block = frame[WORKSPACE] + member * blocks * frame[WORKSPACE_STRIDE]
            total = splat(wide, 0.0)
            if frame[ACCUMULATE]:
                total = load(wide, g, (r - row) * pack)
            for _ in range(blocks):
                total = total + load(wide, block + op[4], first)
                block += frame[WORKSPACE_STRIDE]
            inside = iota(wide) < splat(wide, units - first)
            store(g, (r - row) * pack, select(inside, total, 0.0))

    return member_block_sums


@kernel(numbers=["pack"])
def member_dense_gradient(t, rows, depth, pack):
    """dw = the sums of dz x^T over the samples of each member.

    op: first byte of the slice in the parameter, its byte in the gradient, elements, byte of the
    parameter, x, dz, inputs, units. A tile is some units by some inputs, over the samples, whose
    sums are taken at the end.
    """
    vector, width, real, size, lanes = t.vector, t.width, t.real, t.size, t.vector.lanes
    if tile_shape(10)[0] < 10:  # more would not fit into the registers
        rows, depth = min(rows, 2), min(depth, 2)
    tile = Tile(vector, rows, depth)
    tile_rows, depth = tile.rows, tile.vectors

    def member_dense_gradient(op, frame, slot):
        g, inputs, units, pack = frame[GRADIENT] + op[1], op[6], op[7], op[PACK]
        blocks, row = _blocks_of_member(frame, width), (op[0] - op[3]) // (pack * size)
        last, r = row + op[2] // pack, row
        if not frame[ACCUMULATE]:
            for i in range(op[2]):
                put(g, i, real(0.0))
        while r < last:
            of_member = r // inputs
            k, member = r - of_member * inputs, of_member % frame[MEMBERS]
            first = of_member // frame[MEMBERS] * pack
            count = min(depth, inputs - k, last - r)
            start = frame[WORKSPACE] + member * blocks * frame[WORKSPACE_STRIDE]
            for unit in range(first, min(first + pack, units), tile_rows):
                sums, block = tile_zero(tile), start
                for _ in range(blocks):
                    x, dz = block + op[4], block + op[5]
                    for n in range(0, width, lanes):
                        i, j = k * width + n, unit * width + n
                        sums = tile_cross(sums, dz, j, width, x, i, width)
                    block += frame[WORKSPACE_STRIDE]
                out, many = (r - row) * pack + unit - first, min(tile_rows, units - unit)
                tile_row_sums(sums, g, out, pack, min(many, first + pack - unit), count)
            r += count

    return member_dense_gradient
