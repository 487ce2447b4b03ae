"""Pooling and its opposite: at each position all channels side by side, whatever their number."""

from .compiling import register_jitable
from .convolution import taps
from .frame import kernel
from .simd import load, select, splat


@register_jitable
def _inside(start, extent, size):
    """Return the part of a window that lies inside of an image's axis."""
    first, last = taps(start, 1, extent, size)
    return start + first, start + last


@register_jitable
def _larger(a, b):
    """Return the larger one; NaN if either is."""
    return select(a >= b, a, select(a == a, b, a))


@kernel
def max_pool(t):
    """y = the largest of each window. op: x, y, the pool's numbers, first row, last."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def max_pool(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        height, columns, channels, rows, across = op[2], op[3], op[4], op[5], op[6]
        stride_y, stride_x, top, left, out_columns = op[7], op[8], op[9], op[10], op[12]
        length = channels * width
        for row in range(op[13], op[14]):
            low, high = _inside(row * stride_y - top, rows, height)
            for column in range(out_columns):
                first, last = _inside(column * stride_x - left, across, columns)
                out = (row * out_columns + column) * length
                for i in range(0, length, lanes):
                    best = load(wide, x, (low * columns + first) * length + i)
                    for a in range(low, high):
                        for b in range(first, last):
                            best = _larger(best, load(wide, x, (a * columns + b) * length + i))
                    write(y, out + i, best, length - i)

    return max_pool


@kernel
def max_pool_gradient(t):
    """dx = dy where a window's largest came from. op: x, y, dy, dx, the pool's numbers."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def max_pool_gradient(op, frame, slot):
        x, y, dy, dx = slot + op[0], slot + op[1], slot + op[2], slot + op[3]
        height, columns, channels, rows, across = op[4], op[5], op[6], op[7], op[8]
        stride_y, stride_x, top, left = op[9], op[10], op[11], op[12]
        out_rows, out_columns = op[13], op[14]
        length = channels * width
        # Windows side by side write each place once, those that overlap add to it.
        apart = stride_y >= rows and stride_x >= across
        tiled = stride_y == rows and stride_x == across and top == left == 0
        if not (tiled and out_rows * rows == height and out_columns * across == columns):
            _clear(dx, height * columns * length)
        for row in range(out_rows):
            low, high = _inside(row * stride_y - top, rows, height)
            for column in range(out_columns):
                first, last = _inside(column * stride_x - left, across, columns)
                out = (row * out_columns + column) * length
                for i in range(0, length, lanes):
                    best, rest = load(wide, y, out + i), load(wide, dy, out + i)
                    for a in range(low, high):
                        for b in range(first, last):
                            j = (a * columns + b) * length + i
                            hit = load(wide, x, j) == best
                            value = select(hit, rest, 0.0)
                            rest = select(hit, 0.0, rest)
                            if not apart:
                                value = value + load(wide, dx, j)
                            write(dx, j, value, length - i)

    @register_jitable
    def _clear(address, count):
        for i in range(0, count, lanes):
            write(address, i, splat(wide, 0.0), count - i)

    return max_pool_gradient


@kernel
def average_pool(t):
    """y = the mean of each window's inside. op: x, y, the pool's numbers, first row, last."""
    wide, lanes, width, write, real = t.wide, t.wide.lanes, t.width, t.write, t.real

    def average_pool(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        height, columns, channels, rows, across = op[2], op[3], op[4], op[5], op[6]
        stride_y, stride_x, top, left, out_columns = op[7], op[8], op[9], op[10], op[12]
        length = channels * width
        for row in range(op[13], op[14]):
            low, high = _inside(row * stride_y - top, rows, height)
            for column in range(out_columns):
                first, last = _inside(column * stride_x - left, across, columns)
                out = (row * out_columns + column) * length
                scale = splat(wide, real(1.0) / real((high - low) * (last - first)))
                for i in range(0, length, lanes):
                    total = splat(wide, 0.0)
                    for a in range(low, high):
                        for b in range(first, last):
                            total = total + load(wide, x, (a * columns + b) * length + i)
                    write(y, out + i, total * scale, length - i)

    return average_pool


@kernel
def average_pool_gradient(t):
    """dx = each window's share of dy. op: dy, dx, the pool's numbers."""
    wide, lanes, width, write, real = t.wide, t.wide.lanes, t.width, t.write, t.real

    def average_pool_gradient(op, frame, slot):
        dy, dx = slot + op[0], slot + op[1]
        height, columns, channels, rows, across = op[2], op[3], op[4], op[5], op[6]
        stride_y, stride_x, top, left = op[7], op[8], op[9], op[10]
        out_rows, out_columns = op[11], op[12]
        length = channels * width
        for i in range(0, height * columns * length, lanes):
            write(dx, i, splat(wide, 0.0), height * columns * length - i)
        for row in range(out_rows):
            low, high = _inside(row * stride_y - top, rows, height)
            for column in range(out_columns):
                first, last = _inside(column * stride_x - left, across, columns)
                out = (row * out_columns + column) * length
                scale = splat(wide, real(1.0) / real((high - low) * (last - first)))
                for i in range(0, length, lanes):
                    share = load(wide, dy, out + i) * scale
                    for a in range(low, high):
                        for b in range(first, last):
                            j = (a * columns + b) * length + i
                            write(dx, j, load(wide, dx, j) + share, length - i)

    return average_pool_gradient


@register_jitable
def _sources(place, factor, size, bilinear):
    """Return the two places that an enlarged axis mixes, and the weight of the second."""
    if not bilinear:
        return place // factor, place // factor, 0.0
    at = max((place + 0.5) / factor - 0.5, 0.0)
    first = int(at)
    return first, min(first + 1, size - 1), at - first


@kernel
def upsample(t, bilinear):
    """y = x enlarged. op: x, y, height, width, channels, factors of height and width."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def upsample(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        height, columns, factor_y, factor_x = op[2], op[3], op[5], op[6]
        length = op[4] * width
        for row in range(height * factor_y):
            above, below, down = _sources(row, factor_y, height, bilinear)
            for column in range(columns * factor_x):
                before, behind, right = _sources(column, factor_x, columns, bilinear)
                out = (row * columns * factor_x + column) * length
                for i in range(0, length, lanes):
                    value = load(wide, x, (above * columns + before) * length + i)
                    if bilinear:
                        beside = load(wide, x, (above * columns + behind) * length + i)
                        value = value * (1.0 - right) + beside * right
                        under = load(wide, x, (below * columns + before) * length + i)
                        beside = load(wide, x, (below * columns + behind) * length + i)
                        under = under * (1.0 - right) + beside * right
                        value = value * (1.0 - down) + under * down
                    write(y, out + i, value, length - i)

    return upsample


@kernel
def upsample_gradient(t, bilinear):
    """dx = the transpose of upsample on dy. op: dy, dx, as upsample."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def upsample_gradient(op, frame, slot):
        dy, dx = slot + op[0], slot + op[1]
        height, columns, factor_y, factor_x = op[2], op[3], op[5], op[6]
        length = op[4] * width
        for i in range(0, height * columns * length, lanes):
            write(dx, i, splat(wide, 0.0), height * columns * length - i)
        for row in range(height * factor_y):
            above, below, down = _sources(row, factor_y, height, bilinear)
            for column in range(columns * factor_x):
                before, behind, right = _sources(column, factor_x, columns, bilinear)
                out = (row * columns * factor_x + column) * length
                for i in range(0, length, lanes):
                    value, rest = load(wide, dy, out + i), length - i
                    if not bilinear:
                        _add(dx, (above * columns + before) * length + i, value, rest)
                        continue
                    for y, part in ((above, 1.0 - down), (below, down)):
                        share, line = value * part, y * columns
                        _add(dx, (line + before) * length + i, share * (1.0 - right), rest)
                        _add(dx, (line + behind) * length + i, share * right, rest)

    @register_jitable
    def _add(address, index, value, rest):
        write(address, index, load(wide, address, index) + value, rest)

    return upsample_gradient
