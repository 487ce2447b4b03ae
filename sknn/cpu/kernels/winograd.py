"""Convolutions of 3x3 windows that are one pixel apart, by Winograd's algorithm F(2x2, 3x3).

Outputs are computed in squares of 2x2, each from 4x4 inputs. With d the inputs, w the kernel and y
the outputs of a square, y = A [(G w G') * (B d B')] A' summed over channels, where * multiplies
element by element: 16 multiplications instead of 36. B and A only add and subtract. The gradient is
the transpose of this: that of w is G' [sum over squares (A' dy A) * (B d B')] G.

Samples, or channels, lie side by side, so transforms are additions of whole vectors. Between them
are 16 matrix products, one for each *place* of the 4x4, by the same register tiles as elsewhere.

Every product is one chain of multiply-adds in the order of channels, the transforms have a fixed
order, and squares do not depend on each other: a row's bits do not depend on what is beside it.
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
    patch_rows,
    prefetch,
    prefetch_to_write,
    splat,
    store,
    store_first,
    tile_gather,
    tile_load,
    tile_outer,
    tile_shape,
    tile_store,
    tile_store_columns,
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
def winograd_weights(t, group, pack):
    """Transform a kernel. op: w, u, channels, filters, first channel of a group of filters, last.

    They are stored as [filters / group][places][channels][group].
    """
    wide, part = t.wide, min(8, t.wide.lanes)
    taps = Tile(wide, 9, 1)

    def winograd_weights(op, frame, slot):
        w, u = frame[PARAMETERS] + op[0], frame[SHARED] + op[1]
        channels, filters, pack = op[2], op[3], op[PACK]
        stride = channels * group
        for row in range(op[4], op[5]):
            p, c = row // channels, row % channels
            for v in range(0, min(group, filters - p * group), part):
                f = p * group + v
                i = f // pack * 9 * channels * pack + c * pack + f % pack
                places = winograd_kernel(tile_load(taps, w, i, channels * pack))
                at = p * PLACES * stride + c * group + v
                tile_store_columns(places, u, at, stride, PLACES, 0, part)

    return winograd_weights


def _rows(rows):
    """Return how many rows of one vector a register tile has, for multiples of so many."""
    return rows if tile_shape(rows)[1] > 1 else 4


@kernel
def winograd(t, rows, group, turned):
    """Convolve. op: x, u, b, z, memory, height, columns, ...: see the table of operations.

    If `turned`, with the transposed kernel, turned around: its transform is the same, in another
    order. One vector of samples at a time is computed, so that the transformed inputs of a square,
    and the products of some filters with them, fit into the L1 cache if there are few channels.
    Between products, what the next square needs and this one's outputs are prefetched.
    The memory has zeros in place of a pixel, these inputs and these products.
    """
    if t.width == 1:
        return _winograd_one(t, group)
    vector, width, real, real_size, lanes = t.vector, t.width, t.real, t.size, t.vector.lanes
    tile, products = Tile(vector, _rows(rows), 1), Tile(vector, PLACES, 1)
    tile_rows, sums_plane = tile.rows, (tile.rows + 1) * lanes
    fill = _zeros(vector)

    def winograd(op, frame, slot):
        x, u, z = slot + op[0], frame[SHARED] + op[1], slot + op[3]
        b, zeros = frame[PARAMETERS] + op[2], slot + op[4]
        height, columns, channels, filters, top, left = op[5], op[6], op[7], op[8], op[9], op[10]
        out_rows, out_columns, biased, chunk = op[11], op[12], op[13], op[14]
        across, pixel, vectors = (out_columns + 1) // 2, channels * width, width // lanes
        plane = (channels + 1) * lanes
        inputs = zeros + pixel * real_size
        sums_of = inputs + chunk * PLACES * plane * real_size
        fill(zeros, pixel)
        for begin in range(op[15] * across * vectors, op[16] * across * vectors, chunk):
            end = min(begin + chunk, op[16] * across * vectors)
            for i in range(begin, end):
                s, n = i // vectors, i % vectors * lanes
                y, at = s // across * 2 - top, s % across * 2 - left
                squares = patch_rows(products, x, zeros, y, at, height, columns, pixel)
                out = inputs + (i - begin) * PLACES * plane * real_size
                for c in range(channels):
                    places = winograd_input(tile_gather(products, squares, c * width + n))
                    tile_store(places, out, c * lanes, plane, PLACES)
            for unit in range(0, filters, tile_rows):
                for i in range(begin, end):
                    s, n = i // vectors, i % vectors * lanes
                    row, column = s // across * 2, s % across * 2
                    below, right = row + 1 < out_rows, column + 1 < out_columns
                    out = ((row * out_columns + column) * filters + unit) * width + n
                    for place in range(PLACES):
                        at = (i - begin) * PLACES + place
                        _multiply(u, unit, inputs, at * plane, place, channels, filters, sums_of)
                        if unit == 0:
                            _prefetch(
                                x, i + chunk, place, height, columns, channels, top, left, across
                            )
                        k = place // 4
                        if (k < 2 or below) and (k % 2 == 0 or right):
                            at = out + (k // 2 * out_columns + k % 2) * filters * width
                            for r in range(place % 4, min(tile_rows, filters - unit), 4):
                                prefetch_to_write(z + (at + r * width) * real_size)
                    for r in range(min(tile_rows, filters - unit)):
                        bias = splat(vector, get(real, b, unit + r) if biased else real(0.0))
                        places = tile_load(products, sums_of, r * lanes, sums_plane)
                        one, two, three, four = tile_vectors(winograd_output(places))
                        j = out + r * width
                        store(z, j, one + bias)
                        if right:
                            store(z, j + filters * width, two + bias)
                        if below:
                            j += out_columns * filters * width
                            store(z, j, three + bias)
                            if right:
                                store(z, j + filters * width, four + bias)

    @register_jitable
    def _prefetch(x, i, place, height, columns, channels, top, left, across):
        """Prefetch half of one of the pixels that the i-th square adds to the one before."""
        s, n = i // (width // lanes), i % (width // lanes) * lanes
        y, at = s // across * 2 - top + place // 4, s % across * 2 - left + 2 + place // 2 % 2
        if 0 <= y < height and 0 <= at < columns:
            for c in range(place % 2, channels, 2):
                prefetch(x + (((y * columns + at) * channels + c) * width + n) * real_size)

    @register_jitable
    def _multiply(u, unit, inputs, i, place, channels, filters, sums_of):
        """Multiply at a place the transformed weights of a tile of filters with the inputs."""
        sums = tile_zero(tile)
        if turned:
            k = (_turned(place) * filters + unit) * group
            for c in range(0, channels, group):
                for j in range(min(group, channels - c)):
                    sums = tile_outer(sums, u, k + j, group, inputs, i + j * lanes, 0)
                k += PLACES * filters * group
                i += group * lanes
        else:
            k = (unit // group * PLACES + place) * channels * group + unit % group
            for c in range(channels):
                sums = tile_outer(sums, u, k + c * group, 1, inputs, i + c * lanes, 0)
        tile_store(sums, sums_of, place * sums_plane, lanes, tile_rows)

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


def _winograd_one(t, group):
    """Make the same for one sample: filters side by side, over several squares."""
    wide, lanes, real_size = t.wide, t.wide.lanes, t.size
    vectors = -(-group // lanes)
    tile, products = Tile(wide, max(tile_shape(8)[0] // vectors, 2), vectors), Tile(wide, PLACES, 1)
    tile_rows, span = tile.rows, vectors * lanes
    transform, fill = _square_transform(wide, 4, winograd_input), _zeros(wide)

    def winograd(op, frame, slot):
        x, u, z = slot + op[0], frame[SHARED] + op[1], slot + op[3]
        b, zeros = frame[PARAMETERS] + op[2], slot + op[4]
        height, columns, channels, filters, top, left = op[5], op[6], op[7], op[8], op[9], op[10]
        out_rows, out_columns, biased, chunk = op[11], op[12], op[13], op[14]
        across, pixel = (out_columns + 1) // 2, (channels + lanes - 1) // lanes * lanes
        inputs = zeros + pixel * real_size
        # a tile reads beyond the last square
        sums_of = inputs + (chunk + tile_rows) * PLACES * pixel * real_size
        fill(zeros, pixel)
        for begin in range(op[15] * across, op[16] * across, chunk):
            count = min(chunk, op[16] * across - begin)
            for s in range(count):
                out = inputs + s * PLACES * pixel * real_size
                y, at = (begin + s) // across * 2 - top, (begin + s) % across * 2 - left
                transform(x, zeros, y, at, height, columns, channels, out, pixel)
            for unit in range(0, filters, group):
                for place in range(PLACES):
                    k = (unit // group * PLACES + place) * channels * group
                    for s in range(0, count, tile_rows):
                        sums = tile_zero(tile)
                        for c in range(channels):
                            sums = tile_outer(
                                sums, inputs, (s * PLACES + place) * pixel + c, PLACES * pixel,
                                u, k + c * group, 0,
                            )  # fmt: skip
                        out = (place * chunk + s) * span
                        tile_store(sums, sums_of, out, span, min(tile_rows, count - s))
                for s in range(count):
                    row, column = (begin + s) // across * 2, (begin + s) % across * 2
                    below, right = row + 1 < out_rows, column + 1 < out_columns
                    for v in range(0, min(group, filters - unit), lanes):
                        bias = splat(wide, 0.0)
                        if biased:
                            bias = load(wide, b, unit + v)
                        place = tile_load(products, sums_of, s * span + v, chunk * span)
                        one, two, three, four = tile_vectors(winograd_output(place))
                        i = (row * out_columns + column) * filters + unit + v
                        rest = min(group, filters - unit) - v
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

    op: x, packed dz, sums, memory, then as for the convolution. The sums are stored as a kernel
    of 4x4 would be.
    """
    tile, vector, wide, width, real_size = t.column(rows, pack), t.vector, t.wide, t.width, t.size
    tile_rows, lanes, span = tile.rows, wide.lanes, tile.vectors * wide.lanes
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
        plane, packed_plane = pixel + lanes, packed + lanes
        inputs = zeros + max(pixel, packed) * real_size
        gradients = inputs + chunk * PLACES * plane * real_size
        fill(zeros, max(pixel, packed))
        fill(total, packs * PLACES * channels * pack)
        squares = across * ((out_rows + 1) // 2)
        for begin in range(0, squares, chunk):
            count = min(chunk, squares - begin)
            for s in range(count):
                y, at = (begin + s) // across * 2, (begin + s) % across * 2
                out = inputs + s * PLACES * plane * real_size
                transform(x, zeros, y - top, at - left, height, columns, pixel, out, plane)
                out = gradients + s * PLACES * packed_plane * real_size
                transform_gradient(
                    dz, zeros, y, at, out_rows, out_columns, packed, out, packed_plane
                )
            for place in range(PLACES):
                for p in range(packs):
                    for c in range(0, channels, tile_rows):
                        g = ((p * PLACES + place) * channels + c) * pack
                        for v in range(0, pack, span):
                            sums = tile_load(tile, total, g + v, pack)
                            for s in range(count):
                                i = (s * PLACES + place) * plane + c * width
                                j = (s * PLACES + place) * packed_plane + p * width * pack + v
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
