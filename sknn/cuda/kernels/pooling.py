"""Pooling and its opposite: each number for itself.

Gradients are collected: a place of the input goes over the windows that saw it, in their order.
"""

from .frame import RANK, SIZE, SLOT, kernel

#: The numbers of a pool, counted from the first.
(
    HEIGHT, COLUMNS, CHANNELS, WINDOW_Y, WINDOW_X, STRIDE_Y, STRIDE_X, TOP, LEFT, OUT_ROWS,
    OUT_COLUMNS,
) = range(11)  # fmt: skip


def _place_of(t):
    """Return the word that splits a number's place in an image: row, column, and what is left."""
    divide = t.divide

    @t.jit
    def place_of(i, columns, length):
        place = divide(i, length)
        row = divide(place, columns)
        return row, place - row * columns, i - place * length

    return place_of


def _inside_of(t):
    """Return the word for the part of a window that lies inside of an image's axis."""

    @t.jit
    def inside(start, extent, size):
        return max(start, 0), min(start + extent, size)

    return inside


def _window_of(t, at):
    """Return the word for the window of a number of a pool's output: what of it lies inside.

    That is its rows and columns, from the first and to the one before the last, and what is left of
    the number's place. `at` is where the pool's numbers begin.
    """
    constant, width, place_of, inside = t.constant, t.width, _place_of(t), _inside_of(t)

    @t.jit
    def window_of(o, i):
        length = constant(o, at + CHANNELS) * width
        row, column, rest = place_of(i, constant(o, at + OUT_COLUMNS), length)
        top = row * constant(o, at + STRIDE_Y) - constant(o, at + TOP)
        left = column * constant(o, at + STRIDE_X) - constant(o, at + LEFT)
        low, high = inside(top, constant(o, at + WINDOW_Y), constant(o, at + HEIGHT))
        first, last = inside(left, constant(o, at + WINDOW_X), constant(o, at + COLUMNS))
        return low, high, first, last, rest

    return window_of


def _windows_of(t):
    """Return the word for the windows that see a place of an axis: first, and the one to stop at.

    The place counts the padding.
    """
    divide = t.divide

    @t.jit
    def windows_of(place, extent, stride, outs):
        first = 0
        if place >= extent:
            first = divide(place - extent, stride) + 1
        return first, min(divide(place, stride) + 1, outs)

    return windows_of


@kernel
def max_pool(t):
    """y = the largest of each window, NaN if there is one. o: x, y, the pool's numbers."""
    get, put, constant, width, at = t.get, t.put, t.constant, t.width, 2
    window_of = _window_of(t, at)

    def max_pool(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        columns, length = constant(o, at + COLUMNS), constant(o, at + CHANNELS) * width
        end = constant(o, at + OUT_ROWS) * constant(o, at + OUT_COLUMNS) * length
        for i in range(team[RANK], end, team[SIZE]):
            low, high, first, last, rest = window_of(o, i)
            best = get(x, (low * columns + first) * length + rest)
            for a in range(low, high):
                for b in range(first, last):
                    value = get(x, (a * columns + b) * length + rest)
                    if not (best >= value) and best == best:
                        best = value
            put(y, i, best)

    return max_pool


@kernel
def max_pool_gradient(t):
    """dx = dy where a window's largest came from, the first of equal ones.

    o: x, y, dy, dx, the pool's numbers.
    """
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    place_of, inside, windows_of, at = _place_of(t), _inside_of(t), _windows_of(t), 4

    @t.jit
    def is_first(x, best, row, column, low, first, last, columns, length, rest):
        """Return whether none before a place of a window is the largest one, too."""
        for a in range(low, row + 1):
            end = last if a < row else column
            for b in range(first, end):
                if get(x, (a * columns + b) * length + rest) == best:
                    return False
        return True

    def max_pool_gradient(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        dy, dx = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        height, columns = constant(o, at + HEIGHT), constant(o, at + COLUMNS)
        rows, across = constant(o, at + WINDOW_Y), constant(o, at + WINDOW_X)
        stride_y, stride_x = constant(o, at + STRIDE_Y), constant(o, at + STRIDE_X)
        top, left = constant(o, at + TOP), constant(o, at + LEFT)
        out_columns, length = constant(o, at + OUT_COLUMNS), constant(o, at + CHANNELS) * width
        for i in range(team[RANK], height * columns * length, team[SIZE]):
            row, column, rest = place_of(i, columns, length)
            above, below = windows_of(row + top, rows, stride_y, constant(o, at + OUT_ROWS))
            before, behind = windows_of(column + left, across, stride_x, out_columns)
            value, total = get(x, i), real(0)
            for a in range(above, below):
                for b in range(before, behind):
                    j = (a * out_columns + b) * length + rest
                    if get(y, j) == value:
                        low, _ = inside(a * stride_y - top, rows, height)
                        first, last = inside(b * stride_x - left, across, columns)
                        if is_first(
                            x, value, row, column, low, first, last, columns, length, rest
                        ):
                            total += get(dy, j)
            put(dx, i, total)

    return max_pool_gradient


@kernel
def average_pool(t):
    """y = the mean of each window's inside. o: x, y, the pool's numbers."""
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    at, window_of = 2, _window_of(t, 2)

    def average_pool(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        columns, length = constant(o, at + COLUMNS), constant(o, at + CHANNELS) * width
        end = constant(o, at + OUT_ROWS) * constant(o, at + OUT_COLUMNS) * length
        for i in range(team[RANK], end, team[SIZE]):
            low, high, first, last, rest = window_of(o, i)
            total = real(0)
            for a in range(low, high):
                for b in range(first, last):
                    total += get(x, (a * columns + b) * length + rest)
            put(y, i, total * (real(1) / real((high - low) * (last - first))))

    return average_pool


@kernel
def average_pool_gradient(t):
    """dx = each window's share of dy. o: dy, dx, the pool's numbers."""
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    place_of, inside, windows_of, at = _place_of(t), _inside_of(t), _windows_of(t), 2

    def average_pool_gradient(team, frame, o, scratch):
        dy, dx = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        height, columns = constant(o, at + HEIGHT), constant(o, at + COLUMNS)
        rows, across = constant(o, at + WINDOW_Y), constant(o, at + WINDOW_X)
        stride_y, stride_x = constant(o, at + STRIDE_Y), constant(o, at + STRIDE_X)
        top, left = constant(o, at + TOP), constant(o, at + LEFT)
        out_columns, length = constant(o, at + OUT_COLUMNS), constant(o, at + CHANNELS) * width
        for i in range(team[RANK], height * columns * length, team[SIZE]):
            row, column, rest = place_of(i, columns, length)
            above, below = windows_of(row + top, rows, stride_y, constant(o, at + OUT_ROWS))
            before, behind = windows_of(column + left, across, stride_x, out_columns)
            total = real(0)
            for a in range(above, below):
                low, high = inside(a * stride_y - top, rows, height)
                for b in range(before, behind):
                    first, last = inside(b * stride_x - left, across, columns)
                    scale = real(1) / real((high - low) * (last - first))
                    total += get(dy, (a * out_columns + b) * length + rest) * scale
            put(dx, i, total)

    return average_pool_gradient


def _sources_of(t, bilinear):
    """Return the word for the two places that an enlarged axis mixes, and the second's weight."""
    divide, real = t.divide, t.real

    @t.jit
    def sources_of(place, factor, size):
        if not bilinear:
            first = divide(place, factor)
            return first, first, real(0)
        # pixels are areas: this one's center lies at (place + 0.5) / factor - 0.5
        at = max(2 * place + 1 - factor, 0)
        first = divide(at, 2 * factor)
        weight = real(at - first * 2 * factor) / real(2 * factor)
        return first, min(first + 1, size - 1), weight

    return sources_of


@kernel
def upsample(t, bilinear):
    """y = x enlarged. o: x, y, height, width, channels, factors of height and width."""
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    place_of, sources_of = _place_of(t), _sources_of(t, bilinear)

    def upsample(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        height, columns, length = constant(o, 2), constant(o, 3), constant(o, 4) * width
        factor_y, factor_x = constant(o, 5), constant(o, 6)
        end = height * factor_y * columns * factor_x * length
        for i in range(team[RANK], end, team[SIZE]):
            row, column, rest = place_of(i, columns * factor_x, length)
            above, below, down = sources_of(row, factor_y, height)
            before, behind, right = sources_of(column, factor_x, columns)
            value = get(x, (above * columns + before) * length + rest)
            if bilinear:
                beside = get(x, (above * columns + behind) * length + rest)
                value = value * (real(1) - right) + beside * right
                under = get(x, (below * columns + before) * length + rest)
                beside = get(x, (below * columns + behind) * length + rest)
                under = under * (real(1) - right) + beside * right
                value = value * (real(1) - down) + under * down
            put(y, i, value)

    return upsample


@kernel
def upsample_gradient(t, bilinear):
    """dx = the transpose of upsample on dy. o: dy, dx, as upsample."""
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    place_of, sources_of = _place_of(t), _sources_of(t, bilinear)

    @t.jit
    def reach(place, factor, size):
        """Return the places of an enlarged axis that a place may be mixed to."""
        if bilinear:
            return max(place - 1, 0) * factor, min(place + 2, size) * factor
        return place * factor, (place + 1) * factor

    @t.jit
    def share_of(place, enlarged, factor, size):
        """Return the weight with which a place is mixed to one of the enlarged axis."""
        if not bilinear:
            return real(1)
        first, second, weight = sources_of(enlarged, factor, size)
        share = real(0)
        if first == place:
            share = real(1) - weight
        if second == place:
            share += weight
        return share

    def upsample_gradient(team, frame, o, scratch):
        dy, dx = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        height, columns, length = constant(o, 2), constant(o, 3), constant(o, 4) * width
        factor_y, factor_x = constant(o, 5), constant(o, 6)
        for i in range(team[RANK], height * columns * length, team[SIZE]):
            row, column, rest = place_of(i, columns, length)
            above, below = reach(row, factor_y, height)
            before, behind = reach(column, factor_x, columns)
            total = real(0)
            for a in range(above, below):
                line = real(0)
                for b in range(before, behind):
                    value = get(dy, (a * columns * factor_x + b) * length + rest)
                    line += value * share_of(column, b, factor_x, columns)
                total += line * share_of(row, a, factor_y, height)
            put(dx, i, total)

    return upsample_gradient
