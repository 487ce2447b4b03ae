"""Dense layers. Weights are packed as [units / pack][inputs][pack], zero beyond the last unit.

Every output is one chain of multiply-adds in the order of the inputs that begins at the bias, at
every block width, so that a sample's result does not depend on the batch it comes in. Every
gradient is one chain in the order of the samples, so that it does not depend on threads.
"""

from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    PARAMETERS,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .simd import (
    Tile,
    load,
    packed_rows,
    splat,
    store,
    tile_load,
    tile_load_first,
    tile_outer,
    tile_outer_rows,
    tile_splat,
    tile_store,
    tile_transpose,
    tile_zero,
)

_DEPTH_BYTES = 8192  # of x, while a tile goes over the samples of a block


@kernel
def dense(t, rows, pack):
    """z = w x + b. op: x, w, b, z, inputs, units."""
    return _dense(t, rows, pack, True)


@kernel
def dense_unbiased(t, rows, pack):
    """z = w x. op: x, w, z, inputs, units."""
    return _dense(t, rows, pack, False)


def _dense(t, rows, pack, biased):
    if t.width == 1:
        return _dense_one(t, pack, biased)
    tile, width = t.tile(rows), t.width
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes
    # Where a tile is narrower than a block, the inputs are read again for the rest of it: in parts
    # that the first-level cache holds meanwhile. The sums wait in z, to the bit.
    depth = _DEPTH_BYTES // (width * t.size) if span < width else 1 << 30
    o = 3 if biased else 2

    def dense(op, frame, slot):
        x, z = slot + op[0], slot + op[o]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        inputs, units = op[o + 1], op[o + 2]
        for first in range(0, inputs, depth):
            last = min(first + depth, inputs)
            for unit in range(0, units, tile_rows):
                weights = packed_rows(tile, w, unit, units - 1, pack, inputs * pack)
                for n in range(0, width, span):
                    sums = tile_splat(tile, b, unit) if biased else tile_zero(tile)
                    if first:
                        sums = tile_load(tile, z, unit * width + n, width)
                    for k in range(first, last):
                        sums = tile_outer_rows(sums, weights, k * pack, x, k * width + n)
                    tile_store(sums, z, unit * width + n, width, units - unit)

    return dense


def _dense_one(t, pack, biased):
    """The same for one sample, going over units: four packs at a time hide the latency."""
    vectors = pack // t.wide.lanes
    tile, single = Tile(t.wide, 4, vectors), Tile(t.wide, 1, vectors)
    o = 3 if biased else 2

    def dense(op, frame, slot):
        x, z = slot + op[0], slot + op[o]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        inputs, units = op[o + 1], op[o + 2]
        stride = inputs * pack
        unit = 0
        while unit + 3 * pack < units:
            sums = tile_load(tile, b, unit, pack) if biased else tile_zero(tile)
            for k in range(inputs):
                sums = tile_outer(sums, x, k, 0, w, unit * inputs + k * pack, stride)
            tile_store(sums, z, unit, pack, 4)
            unit += 4 * pack
        while unit < units:
            one = tile_load(single, b, unit, pack) if biased else tile_zero(single)
            for k in range(inputs):
                one = tile_outer(one, x, k, 0, w, unit * inputs + k * pack, stride)
            tile_store(one, z, unit, pack, 1)
            unit += pack

    return dense


@kernel
def dense_input_gradient(t, rows, pack):
    """dx = w^T dz. op: dz, w, dx, inputs, units."""
    tile, width, size = t.tile(rows), t.width, t.size
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes

    def dense_input_gradient(op, frame, slot):
        dz, dx = slot + op[0], slot + op[2]
        w = frame[PARAMETERS] + op[1]
        inputs, units = op[3], op[4]
        for k in range(0, inputs, tile_rows):
            for n in range(0, width, span):
                sums = tile_zero(tile)
                for first in range(0, units, pack):
                    column = w + (first * inputs + k * pack) * size
                    for unit in range(first, min(first + pack, units)):
                        sums = tile_outer(sums, column, unit - first, pack, dz, unit * width + n, 0)
                tile_store(sums, dx, k * width + n, width, inputs - k)

    return dense_input_gradient


@kernel
def pack_samples(t, pack):
    """Transpose dz, at each position, into [units / pack][samples][pack].

    op: dz, packed, positions, units. Zero beyond the last unit. Gradients of weights then go over
    units, not across lanes.
    """
    width, wide, lanes = t.width, t.wide, t.wide.lanes
    tile = Tile(wide, lanes, 1)

    def pack_samples(op, frame, slot):
        dz, packed = slot + op[0], slot + op[1]
        units, padded = op[3], (op[3] + pack - 1) // pack * pack
        for place in range(op[2]):
            start, out = place * units, place * padded
            for unit in range(0, padded, lanes):
                first = out * width + unit // pack * pack * width + unit % pack
                for n in range(0, width, lanes):
                    i = (start + unit) * width + n
                    if unit + lanes <= units:
                        block = tile_load(tile, dz, i, width)
                    else:
                        block = tile_load_first(tile, dz, i, width, units - unit)
                    tile_store(tile_transpose(block), packed, first + n * pack, pack, lanes)

    return pack_samples


@kernel
def weight_gradient(t, rows, pack):
    """dw[first:last] = sum over the batch of dz x^T, in rows of one pack each.

    op: first byte of the slice in the parameter, its byte in the gradient, elements in it, byte of
    the parameter, x, packed dz, inputs.
    """
    tile, width, size = t.column(rows, pack), t.width, t.size
    tile_rows, span = tile.rows, tile.vectors * t.wide.lanes

    def weight_gradient(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        inputs = op[6]
        row = (op[0] - op[3]) // (pack * size)
        last = row + op[2] // pack
        while row < last:
            unit, k = row // inputs * pack, row % inputs
            count = min(tile_rows, min(last - row, inputs - k))
            for v in range(0, pack, span):
                sums = tile_zero(tile)
                if frame[ACCUMULATE]:
                    sums = tile_load(tile, g, v, pack)
                block = frame[WORKSPACE]
                for start in range(0, frame[COUNT], width):
                    x, dz = block + op[4], block + op[5] + (unit * width + v) * size
                    for n in range(min(width, frame[COUNT] - start)):
                        sums = tile_outer(sums, x, k * width + n, width, dz, n * pack, 0)
                    block += frame[WORKSPACE_STRIDE]
                tile_store(sums, g, v, pack, count)
            g += count * pack * size
            row += count

    return weight_gradient


@kernel
def bias_gradient(t, pack):
    """db = sum over positions and samples of dz.

    op: as weight_gradient, but: ..., byte of the parameter, packed dz, positions, units.
    """
    width, size, wide, lanes = t.width, t.size, t.wide, t.wide.lanes

    def bias_gradient(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        first = (op[0] - op[3]) // size
        stride = (op[6] + pack - 1) // pack * pack * width
        for unit in range(first, first + op[2], lanes):
            total = splat(wide, 0.0)
            if frame[ACCUMULATE]:
                total = load(wide, g, unit - first)
            begin = unit // pack * pack * width + unit % pack
            block = frame[WORKSPACE]
            for start in range(0, frame[COUNT], width):
                for place in range(op[5]):
                    at = begin + place * stride
                    for n in range(min(width, frame[COUNT] - start)):
                        total = total + load(wide, block + op[4], at + n * pack)
                block += frame[WORKSPACE_STRIDE]
            store(g, unit - first, total)

    return bias_gradient
