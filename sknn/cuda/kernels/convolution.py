"""Convolutions, as products whose factors are read where the windows lie: no matrix of patches.

Images are [height][width][channels][samples] in each block, kernels [height][width][channels]
[filters], the filters rounded up to a whole number of fours. What lies outside of an image is zero.
Each group of channels is a product for itself. Of a thin one, as in a depthwise convolution, most
of a tile would be empty: there each number is made by itself.
"""

from .dense import gradient_store, task_place
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    LANES,
    MEETING,
    PACKS,
    PARAMETERS,
    PARTIALS,
    RANK,
    SIZE,
    SLOT,
    TASK_COLUMNS,
    TASK_DEPTH,
    TASK_FIRST,
    TASK_PACK,
    TASK_PART,
    TASK_PARTIAL,
    TASK_PARTS,
    TASK_ROWS,
    THREAD,
    WORKSPACE_STRIDE,
    kernel,
)
from .product import Side, product, product_of_any

#: The numbers of a convolution, counted from the first.
(
    HEIGHT, COLUMNS, CHANNELS, FILTERS, TAPS_Y, TAPS_X, STRIDE_Y, STRIDE_X, TOP, LEFT, DILATION_Y,
    DILATION_X, GROUPS, OUT_ROWS, OUT_COLUMNS,
) = range(15)  # fmt: skip
#: Behind a team's numbers: its group of channels, and how many channels and filters each has.
GROUP, INPUTS, UNITS = range(MEETING + 1, MEETING + 4)
#: Behind these, where a group has only some of a task's columns: the first one, the address of the
#: task's sums, and numbers from one row of them to the next.
BEGIN, SUMS, STRIDE = range(UNITS + 1, UNITS + 4)

#: Rows from which a product is worth its tiles. An estimate: nobody has measured it.
_LEAST = 8


@kernel(skips=[0, 1])
def convolution(t):
    """z = w * x + b. o: x, w, b, z, the convolution's numbers."""
    return _convolution(t, 3)


@kernel(skips=[0, 1])
def convolution_unbiased(t):
    """z = w * x. o: x, w, z, the convolution's numbers."""
    return _convolution(t, 2)


def _convolution(t, z):
    """Return the product of kernels and what windows see; `z` is z's place in o.

    Terms go over taps, and at each tap over channels.
    """
    get, put, put_four, constant, divide = t.get, t.put, t.put_four, t.constant, t.divide
    size, width, biased, at, real, fma = t.size, t.width, z == 3, z + 1, t.real, t.fma

    def weights_of(team, frame, o, unit):
        first = team[GROUP] * team[UNITS] + unit
        return constant(frame, PARAMETERS) + constant(o, 1) + first * size, constant(o, PACKS), 0

    def weight(team, frame, o, w, stride, _, k):
        return get(w, k * stride)

    def window_of(team, frame, o, n):
        place = divide(n, width)
        row = divide(place, constant(o, at + OUT_COLUMNS))
        column = place - row * constant(o, at + OUT_COLUMNS)
        first = team[GROUP] * team[INPUTS] * width + n - place * width
        top = row * constant(o, at + STRIDE_Y) - constant(o, at + TOP)
        left = column * constant(o, at + STRIDE_X) - constant(o, at + LEFT)
        return team[SLOT] + constant(o, 0) + first * size, top, left

    def value(team, frame, o, x, top, left, k):
        tap = divide(k, team[INPUTS])
        channel = k - tap * team[INPUTS]
        tap_y = divide(tap, constant(o, at + TAPS_X))
        tap_x = tap - tap_y * constant(o, at + TAPS_X)
        row = top + tap_y * constant(o, at + DILATION_Y)
        column = left + tap_x * constant(o, at + DILATION_X)
        columns = constant(o, at + COLUMNS)
        if 0 <= row < constant(o, at + HEIGHT) and 0 <= column < columns:
            place = (row * columns + column) * constant(o, at + CHANNELS) + channel
            return get(x, place * width)
        return real(0)

    def store(team, frame, o, unit, n, a, b, c, d):
        unit += team[GROUP] * team[UNITS]
        if biased:
            bias = get(constant(frame, PARAMETERS) + constant(o, 2), unit)
            a, b, c, d = a + bias, b + bias, c + bias, d + bias
        place = divide(n, width)
        first = (place * constant(o, at + FILTERS) + unit) * width + n - place * width
        put_four(team[SLOT] + constant(o, z), first, a, b, c, d)

    multiply = product_of_any(t, Side(weights_of, weight), Side(window_of, value), store)

    @t.jit
    def each(team, frame, o, inputs, units):
        """Make each number of z by itself."""
        x, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        filters, out_columns = constant(o, at + FILTERS), constant(o, at + OUT_COLUMNS)
        height, columns = constant(o, at + HEIGHT), constant(o, at + COLUMNS)
        taps_x, channels = constant(o, at + TAPS_X), constant(o, at + CHANNELS)
        end = constant(o, at + OUT_ROWS) * out_columns * filters * width
        for i in range(team[RANK], end, team[SIZE]):
            line, n = divide(i, width), i & (width - 1)
            place = divide(line, filters)
            unit, out_row = line - place * filters, divide(place, out_columns)
            out_column = place - out_row * out_columns
            top = out_row * constant(o, at + STRIDE_Y) - constant(o, at + TOP)
            left = out_column * constant(o, at + STRIDE_X) - constant(o, at + LEFT)
            first, total = divide(unit, units) * inputs, real(0)
            for tap_y in range(constant(o, at + TAPS_Y)):
                row = top + tap_y * constant(o, at + DILATION_Y)
                for tap_x in range(taps_x):
                    column = left + tap_x * constant(o, at + DILATION_X)
                    if 0 <= row < height and 0 <= column < columns:
                        j = ((row * columns + column) * channels + first) * width + n
                        k = (tap_y * taps_x + tap_x) * inputs * constant(o, PACKS) + unit
                        for _ in range(inputs):
                            total = fma(get(w, k), get(x, j), total)
                            j += width
                            k += constant(o, PACKS)
            if biased:
                total += get(constant(frame, PARAMETERS) + constant(o, 2), unit)
            put(team[SLOT] + constant(o, z), i, total)

    def convolution(team, frame, o, scratch):
        groups = constant(o, at + GROUPS)
        inputs = divide(constant(o, at + CHANNELS), groups)
        units = divide(constant(o, at + FILTERS), groups)
        if units < _LEAST:
            each(team, frame, o, inputs, units)
            return
        n = constant(o, at + OUT_ROWS) * constant(o, at + OUT_COLUMNS) * width
        k = constant(o, at + TAPS_Y) * constant(o, at + TAPS_X) * inputs
        for group in range(groups):
            multiply((*team, group, inputs, units), frame, o, scratch, units, n, k)

    return convolution


@kernel(skips=[0, 1])
def convolution_input_gradient(t):
    """dx = the convolution's transpose of dz. o: dz, w, dx, the convolution's numbers.

    A place of the input collects from the windows that saw it, one for each tap at most. Terms go
    over taps, and at each tap over filters.
    """
    get, put, put_four, constant, divide = t.get, t.put, t.put_four, t.constant, t.divide
    size, width, at, real, fma = t.size, t.width, 3, t.real, t.fma

    def weights_of(team, frame, o, channel):
        first = channel * constant(o, PACKS) + team[GROUP] * team[UNITS]
        stride = team[INPUTS] * constant(o, PACKS)
        return constant(frame, PARAMETERS) + constant(o, 1) + first * size, stride, 0

    def weight(team, frame, o, w, stride, _, k):
        tap = divide(k, team[UNITS])
        return get(w, tap * stride + k - tap * team[UNITS])

    def place_of(team, frame, o, n):
        place = divide(n, width)
        row = divide(place, constant(o, at + COLUMNS))
        column = place - row * constant(o, at + COLUMNS)
        first = team[GROUP] * team[UNITS] * width + n - place * width
        x = team[SLOT] + constant(o, 0) + first * size
        return x, row + constant(o, at + TOP), column + constant(o, at + LEFT)

    @t.jit
    def window_of(o, row, column, tap_y, tap_x):
        """Return the number of the window that sees a place by a tap, or -1."""
        top = row - tap_y * constant(o, at + DILATION_Y)
        left = column - tap_x * constant(o, at + DILATION_X)
        if top < 0 or left < 0:
            return -1
        stride_y, stride_x = constant(o, at + STRIDE_Y), constant(o, at + STRIDE_X)
        out_row, out_column = divide(top, stride_y), divide(left, stride_x)
        out_columns = constant(o, at + OUT_COLUMNS)
        if out_row * stride_y != top or out_column * stride_x != left:
            return -1
        if out_row >= constant(o, at + OUT_ROWS) or out_column >= out_columns:
            return -1
        return out_row * out_columns + out_column

    def gradient(team, frame, o, dz, row, column, k):
        tap = divide(k, team[UNITS])
        unit = k - tap * team[UNITS]
        tap_y = divide(tap, constant(o, at + TAPS_X))
        tap_x = tap - tap_y * constant(o, at + TAPS_X)
        window = window_of(o, row, column, tap_y, tap_x)
        if window < 0:
            return real(0)
        return get(dz, (window * constant(o, at + FILTERS) + unit) * width)

    def store(team, frame, o, channel, n, a, b, c, d):
        place = divide(n, width)
        channel += team[GROUP] * team[INPUTS]
        first = (place * constant(o, at + CHANNELS) + channel) * width + n - place * width
        put_four(team[SLOT] + constant(o, 2), first, a, b, c, d)

    multiply = product_of_any(t, Side(weights_of, weight, True), Side(place_of, gradient), store)

    @t.jit
    def each(team, frame, o, inputs, units):
        """Make each number of dx by itself."""
        dz, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        channels, columns = constant(o, at + CHANNELS), constant(o, at + COLUMNS)
        taps_x, filters = constant(o, at + TAPS_X), constant(o, at + FILTERS)
        end = constant(o, at + HEIGHT) * columns * channels * width
        for i in range(team[RANK], end, team[SIZE]):
            line, n = divide(i, width), i & (width - 1)
            place = divide(line, channels)
            channel, row = line - place * channels, divide(place, columns)
            column = place - row * columns
            group, total = divide(channel, inputs), real(0)
            for tap_y in range(constant(o, at + TAPS_Y)):
                for tap_x in range(taps_x):
                    top, left = constant(o, at + TOP), constant(o, at + LEFT)
                    window = window_of(o, row + top, column + left, tap_y, tap_x)
                    if window >= 0:
                        j = (window * filters + group * units) * width + n
                        k = (tap_y * taps_x + tap_x) * inputs + channel - group * inputs
                        k = k * constant(o, PACKS) + group * units
                        for _ in range(units):
                            total = fma(get(w, k), get(dz, j), total)
                            j += width
                            k += 1
            put(team[SLOT] + constant(o, 2), i, total)

    def convolution_input_gradient(team, frame, o, scratch):
        groups = constant(o, at + GROUPS)
        inputs = divide(constant(o, at + CHANNELS), groups)
        units = divide(constant(o, at + FILTERS), groups)
        if inputs < _LEAST:
            each(team, frame, o, inputs, units)
            return
        n = constant(o, at + HEIGHT) * constant(o, at + COLUMNS) * width
        k = constant(o, at + TAPS_Y) * constant(o, at + TAPS_X) * units
        for group in range(groups):
            multiply((*team, group, inputs, units), frame, o, scratch, inputs, n, k)

    return convolution_input_gradient


#: Where the numbers of a convolution begin in the row of a kernel's gradient.
_AT = 2


def _term_of(t):
    """Return the word for what the k-th term of a task's sums is of: block, place and sample.

    They go over blocks, in each over its places, and at each place over samples.
    """
    constant, divide, mask, log = t.constant, t.divide, t.width - 1, t.width.bit_length() - 1

    @t.jit
    def term_of(o, k):
        k += constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        places = constant(o, _AT + OUT_ROWS) * constant(o, _AT + OUT_COLUMNS)
        whole = k >> log
        block = divide(whole, places)
        return block, whole - block * places, k & mask

    return term_of


def _terms_of(t):
    """Return the word for how many terms the sums of a task have."""
    constant, mask = t.constant, t.width - 1

    @t.jit
    def terms_of(team, o):
        places = constant(o, _AT + OUT_ROWS) * constant(o, _AT + OUT_COLUMNS)
        total = ((team[COUNT] + mask) & ~mask) * places
        begin = constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        return max(min(total - begin, constant(o, TASK_DEPTH)), 0)

    return terms_of


def _seen(t):
    """Return the side of the product that has what a kernel's weights saw."""
    get, constant, divide = t.get, t.constant, t.divide
    size, width, real, task, term_of = t.size, t.width, t.real, task_place(t), _term_of(t)

    def weight_of(team, frame, o, m):
        row, _ = task(o)
        tap = divide(row + m, team[INPUTS])
        channel = team[GROUP] * team[INPUTS] + row + m - tap * team[INPUTS]
        tap_y = divide(tap, constant(o, _AT + TAPS_X))
        tap_x = tap - tap_y * constant(o, _AT + TAPS_X)
        down = tap_y * constant(o, _AT + DILATION_Y) - constant(o, _AT + TOP)
        right = tap_x * constant(o, _AT + DILATION_X) - constant(o, _AT + LEFT)
        return team[SLOT] + constant(o, 0) + channel * width * size, down, right

    def value(team, frame, o, x, down, right, k):
        block, place, sample = term_of(o, k)
        out_row = divide(place, constant(o, _AT + OUT_COLUMNS))
        out_column = place - out_row * constant(o, _AT + OUT_COLUMNS)
        row = out_row * constant(o, _AT + STRIDE_Y) + down
        column = out_column * constant(o, _AT + STRIDE_X) + right
        columns = constant(o, _AT + COLUMNS)
        if 0 <= row < constant(o, _AT + HEIGHT) and 0 <= column < columns:
            place = (row * columns + column) * constant(o, _AT + CHANNELS)
            return get(x + block * constant(frame, WORKSPACE_STRIDE), place * width + sample)
        return real(0)

    return Side(weight_of, value, True)


@kernel(skips=[0, 1])
def kernel_gradient(t):
    """dw = sum over blocks, positions and samples of what the windows saw, times dz.

    o: x, packed dz, the convolution's numbers. There is one group of channels.
    """
    get, constant, size, width = t.get, t.constant, t.size, t.width
    task, term_of, terms_of = task_place(t), _term_of(t), _terms_of(t)

    def gradients_of(team, frame, o, n):
        _, column = task(o)
        return team[SLOT] + constant(o, 1) + (column + n) * size, 0, 0

    def gradient(team, frame, o, dz, _, __, k):
        block, place, sample = term_of(o, k)
        first = (place * width + sample) * constant(o, TASK_PACK)
        return get(dz + block * constant(frame, WORKSPACE_STRIDE), first)

    multiply = product(t, _seen(t), Side(gradients_of, gradient), gradient_store(t))

    def kernel_gradient(team, frame, o, scratch):
        here = (*team, 0, constant(o, _AT + CHANNELS), constant(o, _AT + FILTERS))
        rows, columns = constant(o, TASK_ROWS), constant(o, TASK_COLUMNS)
        multiply(here, frame, o, scratch, rows, columns, terms_of(team, o))

    return kernel_gradient


@kernel(skips=[0, 1, 2])
def kernel_gradient_narrow(t):
    """The same, of a convolution of several groups. o: x, dz, the convolution's numbers.

    Each group is a product for those of a task's columns that are its own, in whole fours: it adds
    zero to what it shares with its neighbors. Those of thin groups are made one by one, each by
    all threads.
    """
    get, put, put_four, constant, divide = t.get, t.put, t.put_four, t.constant, t.divide
    size, width, threads, real, sync = t.size, t.width, t.threads, t.real, t.sync
    task, term_of, terms_of, seen = task_place(t), _term_of(t), _terms_of(t), _seen(t)
    fma, lane_sum, weight_of, value = t.fma, t.lane_sum, t.jit(seen.where), t.jit(seen.load)

    @t.jit
    def gradients_of(team, frame, o, n):
        _, first = task(o)
        unit = first + team[BEGIN] + n
        inside = team[GROUP] * team[UNITS] <= unit < team[GROUP] * team[UNITS] + team[UNITS]
        return team[SLOT] + constant(o, 1) + unit * width * size, 1 if inside else 0, 0

    @t.jit
    def gradient(team, frame, o, dz, inside, _, k):
        if not inside:
            return real(0)
        block, place, sample = term_of(o, k)
        first = place * constant(o, _AT + FILTERS) * width + sample
        return get(dz + block * constant(frame, WORKSPACE_STRIDE), first)

    def store(team, frame, o, row, n, a, b, c, d):
        place, sums = row * team[STRIDE] + team[BEGIN] + n, team[SUMS]
        a, b = a + get(sums, place), b + get(sums, place + 1)
        c, d = c + get(sums, place + 2), d + get(sums, place + 3)
        put_four(sums, place, a, b, c, d)

    multiply = product(t, seen, Side(gradients_of, gradient, True), store)

    @t.jit
    def each(team, frame, o, scratch, inputs, units, sums, stride, adds):
        """Make each sum by itself."""
        terms, columns = terms_of(team, o), constant(o, TASK_COLUMNS)
        _, first = task(o)
        for i in range(constant(o, TASK_ROWS) * columns):
            row = divide(i, columns)
            column = i - row * columns
            unit = min(first + column, constant(o, _AT + FILTERS) - 1)
            here = (*team, divide(unit, units), inputs, units, 0, sums, stride)
            x, down, right = weight_of(here, frame, o, row)
            dz, inside, _ = gradients_of(here, frame, o, column)
            for lane in range(team[THREAD], LANES, threads):
                total = real(0)
                if inside:
                    for k in range(lane, terms, LANES):
                        slope = gradient(here, frame, o, dz, inside, 0, k)
                        total = fma(value(here, frame, o, x, down, right, k), slope, total)
                scratch[lane] = total
            total = lane_sum(scratch, team[THREAD])
            if team[THREAD] == 0:
                if adds:
                    total += get(sums, row * stride + column)
                put(sums, row * stride + column, total)

    def kernel_gradient_narrow(team, frame, o, scratch):
        groups, terms = constant(o, _AT + GROUPS), terms_of(team, o)
        inputs = divide(constant(o, _AT + CHANNELS), groups)
        units = divide(constant(o, _AT + FILTERS), groups)
        rows, columns = constant(o, TASK_ROWS), constant(o, TASK_COLUMNS)
        sums, stride = constant(frame, GRADIENT) + constant(o, TASK_FIRST), constant(o, TASK_PACK)
        adds = constant(frame, ACCUMULATE)
        if constant(o, TASK_PARTS) > 1:
            sums, stride = constant(frame, PARTIALS) + constant(o, TASK_PARTIAL), columns
            adds = 0
        if units < _LEAST:
            each(team, frame, o, scratch, inputs, units, sums, stride, adds)
            return
        if not adds:
            for i in range(team[THREAD], rows * columns, threads):
                row = divide(i, columns)
                put(sums, row * stride + i - row * columns, real(0))
        sync()
        _, first = task(o)
        for group in range(divide(first, units), groups):
            begin = max(group * units - first, 0) & ~3
            end = min(group * units + units - first, columns)
            if begin < end:
                here = (*team, group, inputs, units, begin, sums, stride)
                multiply(here, frame, o, scratch, rows, end - begin, terms)

    return kernel_gradient_narrow


@kernel
def add_bias(t):
    """y = x + b, by channel. o: x, b, y, positions, channels."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width

    def add_bias(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 2)
        b, channels = constant(frame, PARAMETERS) + constant(o, 1), constant(o, 4)
        for i in range(team[RANK], constant(o, 3) * channels * width, team[SIZE]):
            row = divide(i, width)
            channel = row - divide(row, channels) * channels
            put(y, i, get(x, i) + get(b, channel))

    return add_bias
