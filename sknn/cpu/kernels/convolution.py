"""Convolutions, without a matrix of patches.

Images are stored as [height][width][channels][samples], kernels as [filters / pack][height][width]
[channels][pack]. So what one output needs of a row of the image lies side by side, in the order of
the weights, and a window's row is to a convolution what all inputs are to a dense layer: the same
register tile goes over it. (Channel by channel, images of a power of two would besides fall on the
same sets of a cache.) What lies outside of the image is skipped.

Every output is one chain of multiply-adds in the order of the kernel that begins at the bias; every
gradient one chain in the order of blocks and positions.
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
    get,
    lane_sum,
    load,
    packed_rows,
    position_rows,
    put,
    splat,
    store,
    tile_blend,
    tile_cross,
    tile_cross_within,
    tile_load,
    tile_outer,
    tile_outer_rows,
    tile_row_sums,
    tile_shape,
    tile_splat,
    tile_store,
    tile_store_columns,
    tile_zero,
)

#: Samples at neighboring positions that pass a tile of gradients while it is in registers.
_CHUNK = 128


@register_jitable
def taps(start, dilation, extent, size):
    """Return the first tap of a window inside of an image's axis, and the one to stop before.

    Tap k lies at ``start + k * dilation``.
    """
    if start >= 0 and start + (extent - 1) * dilation < size:
        return 0, extent
    first = 0 if start >= 0 else (dilation - 1 - start) // dilation
    last = 0 if start >= size else (size - start + dilation - 1) // dilation
    return first, min(last, extent)


@register_jitable
def reaching_taps(place, stride, dilation, extent, outs):
    """Return first, step and end of the taps through which outputs see a place of the input.

    `place` counts the padding; output o sees by tap k the place ``o * stride + k * dilation``.
    """
    first = 0
    while first < stride and (place - first * dilation) % stride:
        first += 1
    if first == stride and stride > 1:
        return 0, 1, 0
    step = 1
    while step * dilation % stride:
        step += 1
    while first < extent and (place - first * dilation) // stride >= outs:
        first += step
    return first, step, min(extent, place // dilation + 1)


def _convolution(t, rows, pack, biased):
    """Make z = w * x (+ b). op: x, w, (b,) z, the convolution's numbers, first row, last."""
    if t.width == 1:
        return _convolution_one(t, pack, biased)
    tile, width = t.tile(rows), t.width
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes
    o = 4 if biased else 3

    def convolution(op, frame, slot):
        x, w, z = slot + op[0], frame[PARAMETERS] + op[1], slot + op[o - 1]
        b = frame[PARAMETERS] + op[2]
        height, columns, channels, filters = op[o], op[o + 1], op[o + 2], op[o + 3]
        taps_y, taps_x, stride_y, stride_x = op[o + 4], op[o + 5], op[o + 6], op[o + 7]
        top, left, dilation_y, dilation_x = op[o + 8], op[o + 9], op[o + 10], op[o + 11]
        groups, out_columns = op[o + 12], op[o + 14]
        inputs, units = channels // groups, filters // groups
        joined = groups == 1 and dilation_x == 1
        size = taps_y * taps_x * inputs * pack
        for row in range(op[o + 15], op[o + 16]):
            y = row * stride_y - top
            first_y, last_y = taps(y, dilation_y, taps_y, height)
            for tiled in range(0, groups * ((units + tile_rows - 1) // tile_rows)):
                per_group = (units + tile_rows - 1) // tile_rows
                group = tiled // per_group
                unit = tiled % per_group * tile_rows
                first = group * units + unit
                weights = packed_rows(tile, w, first, group * units + units - 1, pack, size)
                for column in range(out_columns):
                    at = column * stride_x - left
                    first_x, last_x = taps(at, dilation_x, taps_x, columns)
                    runs, length = last_x - first_x, inputs
                    if joined:
                        runs, length = min(runs, 1), runs * inputs
                    for n in range(0, width, span):
                        if biased:
                            sums = tile_splat(tile, b, first)
                        else:
                            sums = tile_zero(tile)
                        for tap_y in range(first_y, last_y):
                            line = (y + tap_y * dilation_y) * columns + at
                            for run in range(first_x, first_x + runs):
                                k = (tap_y * taps_x + run) * inputs * pack
                                i = ((line + run * dilation_x) * channels + group * inputs) * width
                                for j in range(length):
                                    sums = tile_outer_rows(
                                        sums, weights, k + j * pack, x, i + j * width + n
                                    )
                        out = ((row * out_columns + column) * filters + first) * width + n
                        tile_store(sums, z, out, width, units - unit)

    return convolution


@kernel
def convolution(t, rows, pack):
    """Return the kernel of a convolution with a bias."""
    return _convolution(t, rows, pack, True)


@kernel
def convolution_unbiased(t, rows, pack):
    """Return the kernel of a convolution without one."""
    return _convolution(t, rows, pack, False)


def _convolution_one(t, pack, biased):
    """Make the same for one sample: filters side by side, over neighboring positions.

    Where a tile of positions sees the image whole, its windows are at a constant distance. At the
    image's ends every position has an address of its own, and those outside keep their sums.
    """
    rows, vectors = tile_shape(8)
    tile = Tile(t.wide, rows, min(vectors, pack // t.wide.lanes))
    tile_rows, span, real_size = tile.rows, tile.vectors * t.wide.lanes, t.size
    o = 4 if biased else 3

    def convolution(op, frame, slot):
        x, w, z = slot + op[0], frame[PARAMETERS] + op[1], slot + op[o - 1]
        b = frame[PARAMETERS] + op[2]
        height, columns, channels, filters = op[o], op[o + 1], op[o + 2], op[o + 3]
        taps_y, taps_x, stride_y, stride_x = op[o + 4], op[o + 5], op[o + 6], op[o + 7]
        top, left, dilation_y, dilation_x = op[o + 8], op[o + 9], op[o + 10], op[o + 11]
        groups, out_columns = op[o + 12], op[o + 14]
        inputs, units = channels // groups, filters // groups
        size = taps_y * taps_x * inputs * pack
        reach = (taps_x - 1) * dilation_x
        joined = groups == 1 and dilation_x == 1
        for group in range(groups):
            begin, end = group * units, group * units + units
            for unit in range(begin // span * span, end, span):
                weights = w + ((unit // pack) * size + unit % pack) * real_size
                for row in range(op[o + 15], op[o + 16]):
                    y = row * stride_y - top
                    first_y, last_y = taps(y, dilation_y, taps_y, height)
                    for column in range(0, out_columns, tile_rows):
                        at = column * stride_x - left
                        count = min(tile_rows, out_columns - column)
                        inside = at >= 0 and at + (tile_rows - 1) * stride_x + reach < columns
                        if biased:
                            sums = tile_load(tile, b, unit, 0)
                        else:
                            sums = tile_zero(tile)
                        for tap_y in range(first_y, last_y):
                            line = x + (
                                (y + tap_y * dilation_y) * columns * channels + group * inputs
                            ) * real_size
                            k = tap_y * taps_x * inputs * pack
                            if inside and joined:
                                for j in range(taps_x * inputs):
                                    sums = tile_outer(
                                        sums, line, at * channels + j, stride_x * channels,
                                        weights, k + j * pack, 0,
                                    )
                                continue
                            for tap in range(taps_x):
                                place = at + tap * dilation_x
                                low, high = taps(place, stride_x, count, columns)
                                if low >= high:
                                    continue
                                addresses = position_rows(
                                    tile, line, place, stride_x, columns - 1, channels
                                )
                                before = sums
                                for j in range(inputs):
                                    sums = tile_outer_rows(
                                        sums, addresses, j, weights, k + (tap * inputs + j) * pack
                                    )
                                sums = tile_blend(before, sums, low, high)
                        out = (row * out_columns + column) * filters + unit
                        tile_store_columns(
                            sums, z, out, filters, count, begin - unit, end - unit
                        )

    return convolution


@kernel(numbers=["pack"])
def convolution_input_gradient(t, rows, pack):
    """dx = the convolution's transpose of dz. op: dz, w, dx, the convolution's numbers."""
    tile, width, real_size = t.tile(rows), t.width, t.size
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes

    def convolution_input_gradient(op, frame, slot):
        dz, w, dx = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        height, columns, channels, filters = op[3], op[4], op[5], op[6]
        taps_y, taps_x, stride_y, stride_x = op[7], op[8], op[9], op[10]
        top, left, dilation_y, dilation_x = op[11], op[12], op[13], op[14]
        groups, out_rows, out_columns = op[15], op[16], op[17]
        inputs, units, pack = channels // groups, filters // groups, op[PACK]
        size = taps_y * taps_x * inputs
        for row in range(height):
            y = row + top
            first_y, step_y, last_y = reaching_taps(y, stride_y, dilation_y, taps_y, out_rows)
            for group in range(groups):
                for k in range(0, inputs, tile_rows):
                    for column in range(columns):
                        at = column + left
                        first_x, step_x, last_x = reaching_taps(
                            at, stride_x, dilation_x, taps_x, out_columns
                        )
                        for n in range(0, width, span):
                            sums = tile_zero(tile)
                            for tap_y in range(first_y, last_y, step_y):
                                line = (y - tap_y * dilation_y) // stride_y * out_columns
                                for tap_x in range(first_x, last_x, step_x):
                                    place = line + (at - tap_x * dilation_x) // stride_x
                                    tap = (tap_y * taps_x + tap_x) * inputs + k
                                    unit, end = group * units, group * units + units
                                    while unit < end:
                                        first = unit & -pack
                                        weights = w + (first * size + tap * pack) * real_size
                                        stop = min(end, first + pack)
                                        for u in range(unit, stop):
                                            sums = tile_outer(
                                                sums, weights, u - first, pack,
                                                dz, (place * filters + u) * width + n, 0,
                                            )
                                        unit = stop
                            i = ((row * columns + column) * channels + group * inputs + k) * width
                            tile_store(sums, dx, i + n, width, inputs - k)

    return convolution_input_gradient


@kernel
def kernel_gradient(t, rows, pack):
    """The kernel's gradient, in rows of one pack each, from transposed gradients of the outputs.

    op: as weight_gradient's: first byte of the slice, its byte in the gradient, elements, byte of
    the parameter, x, packed dz; then the convolution's numbers. A few positions at a time pass by
    all rows of the slice: their gradients stay in the L1 cache, the sums of a tile of
    weights in registers.
    """
    tile, width, real_size = t.column(rows, pack), t.width, t.size
    tile_rows, span, chunk = tile.rows, tile.vectors * t.wide.lanes, _CHUNK // t.width

    def kernel_gradient(op, frame, slot):
        height, columns, channels, filters = op[6], op[7], op[8], op[9]
        taps_y, taps_x, stride_y, stride_x = op[10], op[11], op[12], op[13]
        top, left, dilation_y, dilation_x = op[14], op[15], op[16], op[17]
        groups, out_rows, out_columns = op[18], op[19], op[20]
        inputs = channels // groups
        joined = groups == 1 and dilation_x == 1
        runs, length = (1, taps_x * inputs) if joined else (taps_x, inputs)
        size, packs = taps_y * taps_x * inputs, (filters + pack - 1) // pack
        begin = (op[0] - op[3]) // (pack * real_size)
        end = begin + op[2] // pack
        g = frame[GRADIENT] + op[1]
        if not frame[ACCUMULATE]:
            zero = splat(t_wide, 0.0)
            for i in range(0, op[2], t_lanes):
                store(g, i, zero)
        block = frame[WORKSPACE]
        for start in range(0, frame[COUNT], width):
            samples = min(width, frame[COUNT] - start)
            x, dz = block + op[4], block + op[5]
            for row in range(out_rows):
                y = row * stride_y - top
                first_y, last_y = taps(y, dilation_y, taps_y, height)
                for p in range(begin // size, (end - 1) // size + 1):
                    group = p * pack // (filters // groups)
                    for tap_y in range(first_y, last_y):
                        for run in range(runs):
                            base = p * size + (tap_y * runs + run) * length
                            low, high = max(begin, base), min(end, base + length)
                            if low < high:
                                line = (y + tap_y * dilation_y) * columns
                                _row(
                                    g, x, dz, low - base, high - base, base - begin,
                                    line, run * dilation_x, group * inputs,
                                    (row * out_columns * packs + p) * width * pack, packs,
                                    samples, columns, channels, stride_x, left, out_columns,
                                    inputs, joined,
                                )  # fmt: skip
            block += frame[WORKSPACE_STRIDE]

    t_wide, t_lanes = t.wide, t.wide.lanes

    @register_jitable
    def _row(
        g, x, dz, low, high, base, line, shift, channel, place, packs, samples, columns, channels,
        stride, left, out_columns, inputs, joined,
    ):  # fmt: skip
        """Add what one row of outputs gives to rows low to high of a run of weights."""
        column = 0
        while column < out_columns:
            at = column * stride - left + shift
            # the part of the run that lies inside, and how many columns share it
            first, last, count = low, high, 1
            if joined:
                first = max(low, -at * inputs)
                last = min(high, (columns - at) * inputs)
                reach = (high + inputs - 1) // inputs
            else:
                reach = 1
                if at < 0 or at >= columns:
                    column += 1
                    continue
            if at >= 0 and at + reach <= columns:
                count = min(chunk, out_columns - column, (columns - at - reach) // stride + 1)
            for k in range(first, last, tile_rows):
                rows = min(tile_rows, last - k)
                out = (base + k) * pack
                for v in range(0, pack, span):
                    sums = tile_load(tile, g, out + v, pack)
                    for c in range(count):
                        i = ((line + at + c * stride) * channels + channel + k) * width
                        j = place + (column + c) * packs * width * pack + v
                        for n in range(samples):
                            sums = tile_outer(sums, x, i + n, width, dz, j + n * pack, 0)
                    tile_store(sums, g, out + v, pack, rows)
            column += count

    return kernel_gradient


@kernel(numbers=["pack"])
def kernel_gradient_narrow(t, rows, depth, pack):
    """The same one filter at a time, over the samples, whose sum is taken at the end.

    op: ..., x, dz, the convolution's numbers. A tile is some filters by some weights of a run;
    where a part of these lies outside of the image, it is multiplied by zero.
    """
    vector, width, real, real_size, lanes = t.vector, t.width, t.real, t.size, t.vector.lanes
    if tile_shape(10)[0] < 10:  # more would not fit into the registers
        rows, depth = min(rows, 2), min(depth, 2)
    tile = Tile(vector, rows, depth)
    tile_rows, depth = tile.rows, tile.vectors

    def kernel_gradient_narrow(op, frame, slot):
        height, columns, channels, filters = op[6], op[7], op[8], op[9]
        taps_y, taps_x, stride_y, stride_x = op[10], op[11], op[12], op[13]
        top, left, dilation_y, dilation_x = op[14], op[15], op[16], op[17]
        groups, out_rows, out_columns = op[18], op[19], op[20]
        inputs, units, pack = channels // groups, filters // groups, op[PACK]
        joined = groups == 1 and dilation_x == 1
        runs, length = (1, taps_x * inputs) if joined else (taps_x, inputs)
        size = taps_y * taps_x * inputs
        begin = (op[0] - op[3]) // (pack * real_size)
        end = begin + op[2] // pack
        g = frame[GRADIENT] + op[1]
        for p in range(begin // size, (end - 1) // size + 1):
            unit, stop = p * pack, min(p * pack + pack, filters)
            if not frame[ACCUMULATE]:
                for i in range(max(begin, p * size) * pack, min(end, p * size + size) * pack):
                    put(g, i - begin * pack, real(0.0))
            while unit < stop:
                group = unit // units
                count = min(tile_rows, stop - unit, (group + 1) * units - unit)
                for tap in range(taps_y * runs):
                    tap_y, run = tap // runs, tap % runs
                    base = p * size + tap * length
                    for k in range(max(begin - base, 0), min(end - base, length), depth):
                        sums = tile_zero(tile)
                        block = frame[WORKSPACE]
                        for _ in range(0, frame[COUNT], width):
                            x, dz = block + op[4], block + op[5]
                            for row in range(out_rows):
                                y = row * stride_y - top + tap_y * dilation_y
                                if y < 0 or y >= height:
                                    continue
                                for column in range(out_columns):
                                    at = column * stride_x - left + run * dilation_x
                                    low, high = -at * inputs, (columns - at) * inputs
                                    if not joined:
                                        inside = 0 <= at < columns
                                        low, high = (0, length) if inside else (0, 0)
                                    low, high = max(low - k, 0), min(high - k, depth)
                                    if low >= high:
                                        continue
                                    i = ((y * columns + at) * channels + group * inputs + k) * width
                                    j = ((row * out_columns + column) * filters + unit) * width
                                    for n in range(0, width, lanes):
                                        if low == 0 and high == depth:
                                            sums = tile_cross(
                                                sums, dz, j + n, width, x, i + n, width
                                            )
                                        else:
                                            sums = tile_cross_within(
                                                sums, dz, j + n, width, x, i + n, width, low, high
                                            )
                            block += frame[WORKSPACE_STRIDE]
                        out = (base + k - begin) * pack + unit - p * pack
                        many = min(depth, min(end - base, length) - k)
                        tile_row_sums(sums, g, out, pack, count, many)
                unit += count

    return kernel_gradient_narrow


@kernel
def channel_sums(t):
    """The sums of dz over positions and samples. op: ..., dz, positions, channels."""
    vector, width, lanes, real, real_size = t.vector, t.width, t.vector.lanes, t.real, t.size

    def channel_sums(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        first = (op[0] - op[3]) // real_size
        positions, channels = op[5], op[6]
        for c in range(first, first + op[2]):
            total = get(real, g, c - first) if frame[ACCUMULATE] else real(0.0)
            if c < channels:
                block, whole = frame[WORKSPACE], 0.0
                for _ in range(0, frame[COUNT], width):
                    sums = splat(vector, 0.0)
                    for place in range(positions):
                        for n in range(0, width, lanes):
                            i = (place * channels + c) * width + n
                            sums = sums + load(vector, block + op[4], i)
                    whole += lane_sum(sums)
                    block += frame[WORKSPACE_STRIDE]
                total += real(whole)
            put(g, c - first, total)

    return channel_sums


@kernel
def add_bias(t):
    """y = x + b, by channel. op: x, b, y, positions, channels."""
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def add_bias(op, frame, slot):
        x, b, y = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        for place in range(op[3]):
            for c in range(op[4]):
                bias = splat(vector, get(real, b, c))
                i = (place * op[4] + c) * width
                for n in range(i, i + width, lanes):
                    store(y, n, load(vector, x, n) + bias)

    return add_bias
