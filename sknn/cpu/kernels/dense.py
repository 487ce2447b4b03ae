"""Dense layers. Weights are packed as [units / pack][inputs][pack], zero beyond the last unit.

Every output is one chain of multiply-adds in the order of the inputs that begins at the bias, at
every block width, so that a sample's result does not depend on the batch it comes in. Every
gradient is one chain in the order of the samples, so that it does not depend on threads.
"""

from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    PACK,
    PARAMETERS,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .simd import (
    Tile,
    iota,
    load,
    packed_rows,
    position_rows,
    select,
    splat,
    store,
    strided_rows,
    tile_cross,
    tile_lane_sums,
    tile_load,
    tile_load_first,
    tile_multiply,
    tile_outer,
    tile_outer_rows,
    tile_shape,
    tile_splat,
    tile_store,
    tile_store_columns,
    tile_store_sums,
    tile_transpose,
    tile_zero,
)

#: What a product is added to.
ZERO, BIAS, SUM = range(3)
_DEPTH_BYTES = 8192  # of x, while a tile goes over the samples of a block
#: Bytes of inputs and gradients that a slice of a weight's gradient reads again and again, from L2.
_BYTES_AT_ONCE = 3 << 16


@kernel(of_several=["pack"])
def dense(t, rows, pack):
    """z = w x + b. op: x, w, b, z, inputs, units, positions."""
    return _dense(t, rows, pack, BIAS)


@kernel(of_several=["pack"])
def dense_unbiased(t, rows, pack):
    """z = w x. op: x, w, z, inputs, units, positions."""
    return _dense(t, rows, pack, ZERO)


def _dense(t, rows, pack, start):
    multiply, single = product(t, rows, pack, start), t.width == 1
    positions_of_one = _dense_positions(t, pack, start)
    bytes_of_one = t.width * t.size
    o = 3 if start == BIAS else 2

    def dense(op, frame, slot):
        x, z = slot + op[0], slot + op[o]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        inputs, units, positions = op[o + 1], op[o + 2], op[o + 3]
        if single and positions > 1:
            positions_of_one(w, b, x, z, inputs, units, positions)
            return
        for _ in range(positions):
            multiply(w, b, x, z, inputs, units, pack or op[PACK])
            x += inputs * bytes_of_one
            z += units * bytes_of_one

    return dense


def product(t, rows, pack, start, room=True):
    """Return a function that makes z from w x for a block, as `start` says: z, b or 0 plus it.

    Its arguments are the addresses of w, b, x and z, inputs, units and the pack. `room` says that
    behind the last unit there is room for whole packs of one sample's.
    """
    if t.width == 1:
        return _product_one(t, pack, start, room)
    tile, width = t.tile(rows), t.width
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes
    # Where a tile is narrower than a block, the inputs are read again for the rest of it: in parts
    # that the L1 cache holds meanwhile. The sums wait in z, to the bit.
    depth = _DEPTH_BYTES // (width * t.size) if span < width else 1 << 30

    @register_jitable
    def product(w, b, x, z, inputs, units, pack):
        for first in range(0, inputs, depth):
            last = min(first + depth, inputs)
            for unit in range(0, units, tile_rows):
                weights = packed_rows(tile, w, unit, units - 1, pack, inputs * pack)
                for n in range(0, width, span):
                    sums = tile_splat(tile, b, unit) if start == BIAS else tile_zero(tile)
                    if first or start == SUM:
                        sums = tile_load(tile, z, unit * width + n, width)
                    for k in range(first, last):
                        sums = tile_outer_rows(sums, weights, k * pack, x, k * width + n)
                    tile_store(sums, z, unit * width + n, width, units - unit)

    return product


def _product_one(t, pack, start, room):
    """The same for one sample, going over units: four packs at a time hide the latency."""
    vectors = pack // t.wide.lanes
    tile, single = Tile(t.wide, 4, vectors), Tile(t.wide, 1, vectors)
    enough = 3 * pack + 1 if room else 4 * pack

    @register_jitable
    def product(w, b, x, z, inputs, units, pack):
        stride, unit = inputs * pack, 0
        while unit + enough <= units:
            if start == ZERO:
                sums = tile_zero(tile)
            else:
                sums = tile_load(tile, b if start == BIAS else z, unit, pack)
            for k in range(inputs):
                sums = tile_outer(sums, x, k, 0, w, unit * inputs + k * pack, stride)
            tile_store(sums, z, unit, pack, 4)
            unit += 4 * pack
        while unit < units:
            if start == ZERO:
                one = tile_zero(single)
            else:
                one = tile_load(single, b if start == BIAS else z, unit, pack)
            for k in range(inputs):
                one = tile_outer(one, x, k, 0, w, unit * inputs + k * pack, stride)
            tile_store_columns(one, z, unit, pack, 1, 0, units - unit)
            unit += pack

    return product


def _dense_positions(t, pack, start):
    """Return a function that does the same for one sample at several positions, side by side."""
    size = t.size
    rows, columns = tile_shape(8)
    tile = Tile(t.wide, rows, min(columns, pack // t.wide.lanes))
    span = tile.vectors * t.wide.lanes

    @register_jitable
    def positions_of_one(w, b, x, z, inputs, units, positions):
        for unit in range(0, units, span):
            weights = w + (unit // pack * pack * inputs + unit % pack) * size
            for place in range(0, positions, rows):
                count = min(rows, positions - place)
                places = position_rows(tile, x + place * inputs * size, 0, 1, count - 1, inputs)
                sums = tile_load(tile, b, unit, 0) if start == BIAS else tile_zero(tile)
                for k in range(inputs):
                    sums = tile_outer_rows(sums, places, k, weights, k * pack)
                tile_store_columns(sums, z, place * units + unit, units, count, 0, units - unit)

    return positions_of_one


@kernel(numbers=["pack"])
def dense_input_gradient(t, rows, pack):
    """dx = w^T dz. op: dz, w, dx, inputs, units, positions."""
    multiply, bytes_of_one = transposed_product(t, rows), t.width * t.size

    def dense_input_gradient(op, frame, slot):
        dz, w, dx = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        inputs, units = op[3], op[4]
        for _ in range(op[5]):
            multiply(w, dz, dx, inputs, units, op[PACK], False)
            dz += units * bytes_of_one
            dx += inputs * bytes_of_one

    return dense_input_gradient


def transposed_product(t, rows):
    """Return a function that makes dx = w^T dz for a block, or adds it to dx.

    Its arguments are the addresses of w, dz and dx, inputs, units, the pack, and whether to add.
    """
    if t.width == 1:
        return _transposed_product_one(t)
    tile, width = t.tile(rows), t.width
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes

    @register_jitable
    def transposed_product(w, dz, dx, inputs, units, pack, add):
        for k in range(0, inputs, tile_rows):
            # of the first pack; in the others they lie further by a constant distance
            weights = strided_rows(tile, w, k * pack, pack)
            for n in range(0, width, span):
                sums = tile_zero(tile)
                if add:
                    sums = tile_load(tile, dx, k * width + n, width)
                for first in range(0, units, pack):
                    column = first * (inputs - 1)
                    for unit in range(first, min(first + pack, units)):
                        sums = tile_outer_rows(sums, weights, column + unit, dz, unit * width + n)
                tile_store(sums, dx, k * width + n, width, inputs - k)

    return transposed_product


def _transposed_product_one(t):
    """The same for one sample: units side by side in a vector, whose sum is taken at the end."""
    wide, lanes, write = t.wide, t.wide.lanes, t.write
    tile = Tile(wide, lanes, 1)

    @register_jitable
    def transposed_product(w, dz, dx, inputs, units, pack, add):
        for k in range(0, inputs, lanes):
            sums = tile_zero(tile)
            for unit in range(0, units, lanes):
                gradient = load(wide, dz, unit)
                if unit + lanes > units:  # what lies behind may be anything
                    inside = iota(wide) < splat(wide, units - unit)
                    gradient = select(inside, gradient, 0.0)
                place = unit & (pack - 1)
                i = (unit - place) * inputs + k * pack + place
                sums = tile_multiply(sums, w, i, pack, gradient)
            total = tile_lane_sums(sums)
            if add:
                total = total + load(wide, dx, k)
            write(dx, k, total, inputs - k)

    return transposed_product


@kernel
def pack_samples(t, pack):
    """Transpose dz, at each position, into [units / pack][samples][pack].

    op: dz, packed, positions, units, rows from one position to the next. Zero beyond the last
    unit. Gradients of weights then go over units, not across lanes.
    """
    if t.width == 1:
        return _pack_one(t, pack)
    width, wide, lanes = t.width, t.wide, t.wide.lanes
    tile = Tile(wide, lanes, 1)

    def pack_samples(op, frame, slot):
        dz, packed = slot + op[0], slot + op[1]
        units, padded = op[3], (op[3] + pack - 1) // pack * pack
        for place in range(op[2]):
            start, out = place * op[4], place * padded
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


def _pack_one(t, pack):
    wide, lanes = t.wide, t.wide.lanes

    def pack_samples(op, frame, slot):
        dz, packed = slot + op[0], slot + op[1]
        units, padded = op[3], (op[3] + pack - 1) // pack * pack
        for place in range(op[2]):
            for unit in range(0, padded, lanes):
                value = load(wide, dz, place * op[4] + min(unit, units - 1))
                inside = iota(wide) < splat(wide, units - unit)
                store(packed, place * padded + unit, select(inside, value, 0.0))

    return pack_samples


@kernel(numbers=["pack"])
def weight_gradient(t, rows, pack, adds=False, lower=False):
    """dw = sum over the batch of dz x^T, or added to dw.

    A slice has the same rows of some neighboring packs. Of a symmetric matrix, only the rows from
    the diagonal on.

    op: first byte of the slice in the parameter, its byte in the gradient, elements in it, byte of
    the parameter, x, packed dz, inputs, pack, rows of each pack, bytes in the gradient from one
    pack to the next.
    """
    wide, width, size, lanes = t.wide, t.width, t.size, t.wide.lanes
    # Two vectors of units, of one pack or of two, share what is read of x. A vector that is left
    # over has more rows instead.
    rows, vectors = tile_shape(rows)
    tile, single = Tile(wide, rows, 1), Tile(wide, min(rows * vectors, 16), 1)
    rows_of_single = single.rows

    @register_jitable
    def _dz(op, unit):
        """Return the place in a block's workspace of the gradients of a vector of units."""
        first = unit & -op[7]
        return op[5] + (first * width + unit - first) * size

    @register_jitable
    def _dw(op, frame, unit, k):
        """Return the address of their weights' gradients: of units and rows of the slice."""
        first = unit & -op[7]
        place = (k * op[7] + unit - first) * size
        return frame[GRADIENT] + op[1] + first // op[7] * op[9] + place

    def weight_gradient(op, frame, slot):
        pack = op[7]
        row = (op[0] - op[3]) // (pack * size)
        base, begin, end = row // op[6] * pack, row % op[6], row % op[6] + op[8]
        units, blocks = op[2] // op[8], frame[WORKSPACE]
        # all of the slice for some blocks, while these are in the cache, then for the next ones
        many = max(1, _BYTES_AT_ONCE // ((op[8] + units) * width * size))
        for earlier in range(0, frame[COUNT], many * width):
            last, unit = min(earlier + many * width, frame[COUNT]), 0
            going_on = adds or frame[ACCUMULATE] or earlier > 0
            while unit < units:
                pair = vectors == 2 and unit + lanes < units
                first, step = _dz(op, base + unit), rows if pair else rows_of_single
                second = _dz(op, base + unit + lanes) if pair else first
                for k in range(begin, end, step):
                    if lower and k + step <= base + unit:
                        continue
                    block, count = blocks, end - k
                    g = _dw(op, frame, unit, k - begin)
                    if pair:
                        other = _dw(op, frame, unit + lanes, k - begin)
                        a, b = tile_zero(tile), tile_zero(tile)
                        if going_on:
                            a, b = tile_load(tile, g, 0, pack), tile_load(tile, other, 0, pack)
                        for start in range(earlier, last, width):
                            x = block + op[4]
                            for n in range(min(width, last - start)):
                                i, j = k * width + n, n * pack
                                a = tile_outer(a, x, i, width, block + first, j, 0)
                                b = tile_outer(b, x, i, width, block + second, j, 0)
                            block += frame[WORKSPACE_STRIDE]
                        tile_store(a, g, 0, pack, count)
                        tile_store(b, other, 0, pack, count)
                    else:
                        sums = tile_zero(single)
                        if going_on:
                            sums = tile_load(single, g, 0, pack)
                        for start in range(earlier, last, width):
                            x = block + op[4]
                            for n in range(min(width, last - start)):
                                i, j = k * width + n, n * pack
                                sums = tile_outer(sums, x, i, width, block + first, j, 0)
                            block += frame[WORKSPACE_STRIDE]
                        tile_store(sums, g, 0, pack, count)
                unit += 2 * lanes if pair else lanes
            blocks += many * frame[WORKSPACE_STRIDE]

    return weight_gradient


@kernel
def weight_gradient_narrow(t, units):
    """The same for the last pack, if it has few units: over the samples, summed up at the end.

    op: ..., byte of the parameter, x, dz, inputs, first unit.
    """
    vector, width, size, lanes = t.vector, t.width, t.size, t.vector.lanes
    most = lanes if tile_shape(10)[0] == 10 else 6  # more would not fit into the registers
    tile = Tile(vector, units, most // units)
    inputs_of_tile = tile.vectors

    def weight_gradient_narrow(op, frame, slot):
        g, unit = frame[GRADIENT] + op[1], op[7]
        begin = (op[0] - op[3]) // (lanes * size) % op[6]
        end = begin + op[2] // lanes
        for k in range(begin, end, inputs_of_tile):
            sums, block = tile_zero(tile), frame[WORKSPACE]
            for _ in range(0, frame[COUNT], width):
                x, dz = block + op[4], block + op[5]
                for n in range(0, width, lanes):
                    i, j = k * width + n, unit * width + n
                    sums = tile_cross(sums, dz, j, width, x, i, width)
                block += frame[WORKSPACE_STRIDE]
            out, add = (k - begin) * lanes, frame[ACCUMULATE]
            tile_store_sums(sums, g, out, lanes, end - k, add)

    return weight_gradient_narrow


@kernel(numbers=["pack"])
def bias_gradient(t, pack):
    """db = sum over positions and samples of dz.

    op: as weight_gradient, but: ..., byte of the parameter, packed dz, positions, units.
    """
    width, size, wide, lanes = t.width, t.size, t.wide, t.wide.lanes

    def bias_gradient(op, frame, slot):
        g, pack = frame[GRADIENT] + op[1], op[PACK]
        first = (op[0] - op[3]) // size
        stride = (op[6] + pack - 1) // pack * pack * width
        for unit in range(first, first + op[2], lanes):
            total = splat(wide, 0.0)
            if frame[ACCUMULATE]:
                total = load(wide, g, unit - first)
            begin = (unit & -pack) * (width - 1) + unit
            block = frame[WORKSPACE]
            for start in range(0, frame[COUNT], width):
                for place in range(op[5]):
                    at = begin + place * stride
                    for n in range(min(width, frame[COUNT] - start)):
                        total = total + load(wide, block + op[4], at + n * pack)
                block += frame[WORKSPACE_STRIDE]
            store(g, unit - first, total)

    return bias_gradient
