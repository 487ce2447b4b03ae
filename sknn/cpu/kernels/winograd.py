"""Convolutions of 3x3 windows, a step of one pixel apart, by Winograd's minimal filtering F(2x2, 3x3).

Outputs are computed in squares of 2x2, each from 4x4 inputs. With d the inputs, w the kernel and y the
outputs of a square, y = A [(G w G') * (B d B')] A' summed over channels, where * multiplies element by
element: 16 multiplications instead of 36. B and A only add and subtract; so does the gradient, which
is the transpose of this: that of w is G' [sum over squares (A' dy A) * (B d B')] G.

Samples, or channels, lie side by side, so transforms are additions of whole vectors. Between them are
16 matrix products, one for each *place* of the 4x4, by the same register tiles as elsewhere. Some
squares at a time are transformed, few enough to stay in the L2 cache.

Every product is one chain of multiply-adds in the order of channels, the transforms have a fixed order,
and squares do not depend on each other: so a row's bits do not depend on what is beside it.
"""

from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    BLOCK,
    COUNT,
    GRADIENT,
    PACK,
    PARAMETERS,
    SHARED,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .simd import (
    Tile,
    fma,
    get,
    load,
    packed_rows,
    patch_rows,
    splat,
    store,
    store_first,
    tile_gather,
    tile_load,
    tile_outer,
    tile_outer_rows,
    tile_shape,
    tile_store,
    tile_vectors,
    tile_zero,
    winograd_input,
    winograd_kernel,
    winograd_output,
    winograd_output_gradient,
)

PLACES = 16


def _square_transform(vector, side, change):
    """Return a function that transforms a square of pixels of an image, element by element."""
    square, lanes = Tile(vector, side * side, 1), vector.lanes

    @register_jitable
    def transform(image, zeros, y, x, height, columns, elements, out, stride):
        rows = patch_rows(square, image, zeros, y, x, height, columns, elements)
        for i in range(0, elements, lanes):
            tile_store(change(tile_gather(square, rows, i)), out, i, stride, PLACES)

    return transform


def _zeros(vector):
    """Return a function that fills memory with zeros, by whole vectors."""
    lanes = vector.lanes

    @register_jitable
    def fill(address, elements):
        zero = splat(vector, 0.0)
        for i in range(0, elements, lanes):
            store(address, i, zero)

    return fill


@kernel(numbers=["pack"])
def winograd_weights(t, pack):
    """Transform a kernel. op: w, u, channels, first row of a pack, last.

    They are stored like a kernel of 4x4.
    """
    wide, lanes = t.wide, t.wide.lanes
    taps = Tile(wide, 9, 1)

    def winograd_weights(op, frame, slot):
        w, u = frame[PARAMETERS] + op[0], frame[SHARED] + op[1]
        channels, pack = op[2], op[PACK]
        stride = channels * pack
        for row in range(op[3], op[4]):
            p, c = row // channels, row % channels
            for v in range(c * pack, c * pack + pack, lanes):
                weights = tile_load(taps, w, p * 9 * stride + v, stride)
                tile_store(
                    winograd_kernel(weights), u, p * PLACES * stride + v, stride, PLACES
                )

    return winograd_weights


@kernel(of_several=["pack"])
def winograd(t, rows, pack):
    """Convolve. op: x, u, b, z, memory, height, columns, ...: see the table of operations.

    If `turned`, with the transposed kernel, turned around: its transform is the same, in another
    order. The memory has zeros in place of a pixel, the transformed inputs of some squares, and
    the products of some filters.
    """
    if t.width == 1:
        return _winograd_one(t, pack)
    tile, vector, width, real, real_size = t.tile(rows), t.vector, t.width, t.real, t.size
    tile_rows, lanes, span = tile.rows, t.vector.lanes, tile.vectors * t.vector.lanes
    products = Tile(vector, PLACES, 1)
    transform, fill = _square_transform(vector, 4, winograd_input), _zeros(vector)

    def winograd(op, frame, slot):
        x, u, z = slot + op[0], frame[SHARED] + op[1], slot + op[3]
        b, zeros = frame[PARAMETERS] + op[2], slot + op[4]
        height, columns, channels, filters, top, left = op[5], op[6], op[7], op[8], op[9], op[10]
        out_rows, out_columns, turned, biased = op[11], op[12], op[13], op[14]
        chunk, pack = op[15], op[PACK]
        across, pixel = (out_columns + 1) // 2, channels * width
        if turned:
            group, group_stride, place_stride = pack, PLACES * filters * pack, filters * pack
            step, row_pack, row_stride = 1, 1, pack
        else:
            group, group_stride, place_stride = channels, 0, channels * pack
            step, row_pack, row_stride = pack, pack, PLACES * channels * pack
        inputs = zeros + pixel * real_size
        sums_of = inputs + chunk * PLACES * pixel * real_size
        fill(zeros, pixel)
        for begin in range(op[16] * across, op[17] * across, chunk):
            end = min(begin + chunk, op[17] * across)
            for s in range(begin, end):
                out = inputs + (s - begin) * PLACES * pixel * real_size
                y, at = s // across * 2 - top, s % across * 2 - left
                transform(x, zeros, y, at, height, columns, pixel, out, pixel)
            for unit in range(0, filters, tile_rows):
                weights = packed_rows(tile, u, unit, filters - 1, row_pack, row_stride)
                for s in range(begin, end):
                    for place in range(PLACES):
                        i = ((s - begin) * PLACES + place) * pixel
                        k = _turned(place) if turned else place
                        for n in range(0, width, span):
                            sums = tile_zero(tile)
                            for first in range(0, channels, group):
                                at = k * place_stride + first // group * group_stride
                                for c in range(first, min(first + group, channels)):
                                    sums = tile_outer_rows(
                                        sums, weights, at, inputs, i + c * width + n
                                    )
                                    at += step
                            out = place * tile_rows * width + n
                            tile_store(sums, sums_of, out, width, tile_rows)
                    row, column = s // across * 2, s % across * 2
                    below, right = row + 1 < out_rows, column + 1 < out_columns
                    for r in range(min(tile_rows, filters - unit)):
                        bias = splat(vector, get(real, b, unit + r) if biased else real(0.0))
                        i = ((row * out_columns + column) * filters + unit + r) * width
                        for n in range(0, width, lanes):
                            place = tile_load(products, sums_of, r * width + n, tile_rows * width)
                            one, two, three, four = tile_vectors(winograd_output(place))
                            store(z, i + n, one + bias)
                            j = i + n + filters * width
                            if right:
                                store(z, j, two + bias)
                            if below:
                                j = i + n + out_columns * filters * width
                                store(z, j, three + bias)
                                if right:
                                    store(z, j + filters * width, four + bias)

    return winograd


@register_jitable
def _turned(place):
    """Return the place of a transformed kernel that the kernel turned around has at `place`.

    The first and the last row are exchanged, and likewise columns.
    """
    row, column = place // 4, place % 4
    if row % 3 == 0:
        row = 3 - row
    if column % 3 == 0:
        column = 3 - column
    return row * 4 + column


def _winograd_one(t, pack):
    """Make the same for one sample: filters side by side, over several squares."""
    rows, vectors = tile_shape(8)
    wide, lanes, real, real_size = t.wide, t.wide.lanes, t.real, t.size
    tile = Tile(wide, rows, min(vectors, pack // lanes))
    tile_rows, span = tile.rows, tile.vectors * lanes
    products = Tile(wide, PLACES, 1)
    transform, fill = _square_transform(wide, 4, winograd_input), _zeros(wide)

    def winograd(op, frame, slot):
        x, u, z = slot + op[0], frame[SHARED] + op[1], slot + op[3]
        b, zeros = frame[PARAMETERS] + op[2], slot + op[4]
        height, columns, channels, filters, top, left = op[5], op[6], op[7], op[8], op[9], op[10]
        out_rows, out_columns, biased, chunk = op[11], op[12], op[14], op[15]
        across, pixel = (out_columns + 1) // 2, (channels + lanes - 1) // lanes * lanes
        inputs = zeros + pixel * real_size
        # a tile reads beyond the last square
        sums_of = inputs + (chunk + tile_rows) * PLACES * pixel * real_size
        fill(zeros, pixel)
        for begin in range(op[16] * across, op[17] * across, chunk):
            count = min(chunk, op[17] * across - begin)
            for s in range(count):
                out = inputs + s * PLACES * pixel * real_size
                y, at = (begin + s) // across * 2 - top, (begin + s) % across * 2 - left
                transform(x, zeros, y, at, height, columns, channels, out, pixel)
            for unit in range(0, filters, span):
                weights = u + (unit // pack * PLACES * channels * pack + unit % pack) * real_size
                for place in range(PLACES):
                    for s in range(0, count, tile_rows):
                        sums = tile_zero(tile)
                        for c in range(channels):
                            sums = tile_outer(
                                sums, inputs, (s * PLACES + place) * pixel + c, PLACES * pixel,
                                weights, (place * channels + c) * pack, 0,
                            )  # fmt: skip
                        out = (place * chunk + s) * span
                        tile_store(sums, sums_of, out, span, min(tile_rows, count - s))
                for s in range(count):
                    row, column = (begin + s) // across * 2, (begin + s) % across * 2
                    below, right = row + 1 < out_rows, column + 1 < out_columns
                    for v in range(0, min(span, filters - unit), lanes):
                        bias = splat(wide, 0.0)
                        if biased:
                            bias = load(wide, b, unit + v)
                        place = tile_load(products, sums_of, s * span + v, chunk * span)
                        one, two, three, four = tile_vectors(winograd_output(place))
                        i = (row * out_columns + column) * filters + unit + v
                        rest = filters - unit - v
                        store_first(z, i, one + bias, rest)
                        if right:
                            store_first(z, i + filters, two + bias, rest)
                        if below:
                            i += out_columns * filters
                            store_first(z, i, three + bias, rest)
                            if right:
                                store_first(z, i + filters, four + bias, rest)

    return winograd


@kernel
def winograd_products(t, rows, pack):
    """Sum the products of transformed inputs and gradients over the squares of a block.

    op: x, packed dz, sums, memory, then as for the convolution. The sums are stored as
    the transformed weights are.
    """
    tile, vector, wide, width, real_size = t.column(rows, pack), t.vector, t.wide, t.width, t.size
    tile_rows, span = tile.rows, tile.vectors * t.wide.lanes
    transform, fill = _square_transform(vector, 4, winograd_input), _zeros(vector)
    transform_gradient = _square_transform(wide, 2, winograd_output_gradient)

    def winograd_products(op, frame, slot):
        x, dz, total, zeros = slot + op[0], slot + op[1], slot + op[2], slot + op[3]
        height, columns, channels, filters, top, left = op[4], op[5], op[6], op[7], op[8], op[9]
        out_rows, out_columns, chunk = op[10], op[11], op[12]
        samples = min(width, frame[COUNT] - frame[BLOCK] * width)
        across, pixel = (out_columns + 1) // 2, channels * width
        packs = (filters + pack - 1) // pack
        packed = packs * width * pack
        inputs = zeros + max(pixel, packed) * real_size
        gradients = inputs + chunk * PLACES * pixel * real_size
        fill(zeros, max(pixel, packed))
        fill(total, packs * PLACES * channels * pack)
        squares = across * ((out_rows + 1) // 2)
        for begin in range(0, squares, chunk):
            count = min(chunk, squares - begin)
            for s in range(count):
                y, at = (begin + s) // across * 2, (begin + s) % across * 2
                out = inputs + s * PLACES * pixel * real_size
                transform(x, zeros, y - top, at - left, height, columns, pixel, out, pixel)
                out = gradients + s * PLACES * packed * real_size
                transform_gradient(
                    dz, zeros, y, at, out_rows, out_columns, packed, out, packed
                )
            for place in range(PLACES):
                for p in range(packs):
                    for c in range(0, channels, tile_rows):
                        g = ((p * PLACES + place) * channels + c) * pack
                        for v in range(0, pack, span):
                            sums = tile_load(tile, total, g + v, pack)
                            for s in range(count):
                                i = (s * PLACES + place) * pixel + c * width
                                j = (s * PLACES + place) * packed + p * width * pack + v
                                for n in range(samples):
                                    sums = tile_outer(
                                        sums, inputs, i + n, width, gradients, j + n * pack, 0
                                    )
                            tile_store(sums, total, g + v, pack, min(tile_rows, channels - c))

    return winograd_products


@kernel(numbers=["pack"])
def winograd_kernel_gradient(t, pack):
    """The kernel's gradient, in rows of one pack each, from the sums of all blocks, in their order.

    op: as weight_gradient's: first byte of the slice, its byte in the gradient, elements, byte of
    the parameter; then sums, channels.
    """
    wide, lanes, width, real, real_size = t.wide, t.wide.lanes, t.width, t.real, t.size

    def winograd_kernel_gradient(op, frame, slot):
        g, channels, pack = frame[GRADIENT] + op[1], op[5], op[PACK]
        begin = (op[0] - op[3]) // (pack * real_size)
        for row in range(begin, begin + op[2] // pack):
            p, tap, c = row // (9 * channels), row // channels % 9, row % channels
            for v in range(0, pack, lanes):
                out, total = (row - begin) * pack + v, splat(wide, 0.0)
                for i in range(4):
                    for j in range(4):
                        factor = _part(i, tap // 3) * _part(j, tap % 3)
                        if factor != 0.0:
                            at = ((p * PLACES + i * 4 + j) * channels + c) * pack + v
                            sums, block = splat(wide, 0.0), frame[WORKSPACE] + op[4]
                            for _ in range(0, frame[COUNT], width):
                                sums = sums + load(wide, block, at)
                                block += frame[WORKSPACE_STRIDE]
                            total = fma(splat(wide, real(factor)), sums, total)
                if frame[ACCUMULATE]:
                    total = load(wide, g, out) + total
                store(g, out, total)

    @register_jitable
    def _part(i, tap):
        """Return what a weight counts in the i-th place along an axis."""
        if i % 3 == 0:
            return 1.0 if tap * 3 == i * 2 else 0.0
        return -0.5 if i == 2 and tap == 1 else 0.5

    return winograd_kernel_gradient
