"""Dense layers. Weights are [inputs][units], the units rounded up to a whole number of fours.

A buffer is [rows][samples] in each block; what :func:`pack_samples` transposes, [samples][units].
"""

from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    PACKS,
    PARAMETERS,
    PARTIALS,
    RANK,
    SIZE,
    SLOT,
    TASK_BASE,
    TASK_COLUMNS,
    TASK_DEPTH,
    TASK_FIRST,
    TASK_PACK,
    TASK_PART,
    TASK_PARTIAL,
    TASK_PARTS,
    TASK_ROWS,
    WORKSPACE_STRIDE,
    kernel,
)
from .product import Side, product


@kernel(skips=[0, 1])
def dense(t):
    """z = w x + b. o: x, w, b, z, inputs, units, positions."""
    return _dense(t, 3)


@kernel(skips=[0, 1])
def dense_unbiased(t):
    """z = w x. o: x, w, z, inputs, units, positions."""
    return _dense(t, 2)


def _dense(t, z):
    """Return the product of weights and what lies at each position; `z` is z's place in o."""
    get, put_four, constant, divide = t.get, t.put_four, t.constant, t.divide
    size, width, biased = t.size, t.width, z == 3

    def weights_of(team, frame, o, unit):
        w = constant(frame, PARAMETERS) + constant(o, 1) + unit * size
        return w, constant(o, PACKS), 0

    def weight(team, frame, o, w, stride, _, k):
        return get(w, k * stride)

    def inputs_of(team, frame, o, n):
        place = divide(n, width)
        first = place * constant(o, z + 1) * width + n - place * width
        return team[SLOT] + constant(o, 0) + first * size, 0, 0

    def value(team, frame, o, x, _, __, k):
        return get(x, k * width)

    def store(team, frame, o, unit, n, a, b, c, d):
        units = constant(o, z + 2)
        if biased:
            bias = get(constant(frame, PARAMETERS) + constant(o, 2), unit)
            a, b, c, d = a + bias, b + bias, c + bias, d + bias
        place = divide(n, width)
        first = (place * units + unit) * width + n - place * width
        put_four(team[SLOT] + constant(o, z), first, a, b, c, d)

    multiply = product(t, Side(weights_of, weight), Side(inputs_of, value), store)

    def dense(team, frame, o, scratch):
        inputs, units, positions = constant(o, z + 1), constant(o, z + 2), constant(o, z + 3)
        multiply(team, frame, o, scratch, units, positions * width, inputs)

    return dense


@kernel(skips=[0, 1])
def dense_input_gradient(t):
    """dx = w^T dz. o: dz, w, dx, inputs, units, positions."""
    get, put_four, constant, divide = t.get, t.put_four, t.constant, t.divide
    size, width = t.size, t.width

    def weights_of(team, frame, o, row):
        w = constant(frame, PARAMETERS) + constant(o, 1)
        return w + row * constant(o, PACKS) * size, 0, 0

    def weight(team, frame, o, w, _, __, unit):
        return get(w, unit)

    def gradients_of(team, frame, o, n):
        place = divide(n, width)
        first = place * constant(o, 4) * width + n - place * width
        return team[SLOT] + constant(o, 0) + first * size, 0, 0

    def gradient(team, frame, o, dz, _, __, unit):
        return get(dz, unit * width)

    def store(team, frame, o, row, n, a, b, c, d):
        place = divide(n, width)
        first = (place * constant(o, 3) + row) * width + n - place * width
        put_four(team[SLOT] + constant(o, 2), first, a, b, c, d)

    multiply = product(t, Side(weights_of, weight, True), Side(gradients_of, gradient), store)

    def dense_input_gradient(team, frame, o, scratch):
        inputs, units, positions = constant(o, 3), constant(o, 4), constant(o, 5)
        multiply(team, frame, o, scratch, inputs, positions * width, units)

    return dense_input_gradient


@kernel(skips=[0])
def pack_samples(t):
    """Transpose dz, at each position, to [samples][units], zero beyond the last unit.

    o: dz, packed, positions, units, rows from one position to the next.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, real = t.width, t.real

    def pack_samples(team, frame, o, scratch):
        dz, packed = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        units = constant(o, 3)
        padded = (units + 3) & ~3
        for i in range(team[RANK], constant(o, 2) * padded * width, team[SIZE]):
            row = divide(i, padded)
            place = divide(row, width)
            unit, n = i - row * padded, row - place * width
            value = real(0)
            if unit < units:
                value = get(dz, (place * constant(o, 4) + unit) * width + n)
            put(packed, i, value)

    return pack_samples


def gradient_store(t, adds=False):
    """Return where the sums of a parameter's gradient go: four neighbors of a row.

    Sums over a part of a batch go beside those of the other parts.
    """
    get, put_four, constant = t.get, t.put_four, t.constant

    @t.jit
    def store(team, frame, o, row, column, a, b, c, d):
        if constant(o, TASK_PARTS) > 1:
            place = row * constant(o, TASK_COLUMNS) + column
            put_four(constant(frame, PARTIALS) + constant(o, TASK_PARTIAL), place, a, b, c, d)
            return
        g = constant(frame, GRADIENT) + constant(o, TASK_FIRST)
        place = row * constant(o, TASK_PACK) + column
        if adds or constant(frame, ACCUMULATE):
            a, b = a + get(g, place), b + get(g, place + 1)
            c, d = c + get(g, place + 2), d + get(g, place + 3)
        put_four(g, place, a, b, c, d)

    return store


def task_place(t):
    """Return the word for the row and the column of a parameter that a task begins at."""
    constant, divide, log = t.constant, t.divide, t.size.bit_length() - 1

    @t.jit
    def task_place(o):
        first = (constant(o, TASK_FIRST) - constant(o, TASK_BASE)) >> log  # bytes may be many more
        row = divide(first, constant(o, TASK_PACK))
        return row, first - row * constant(o, TASK_PACK)

    return task_place


@kernel(skips=[0, 1])
def weight_gradient(t, adds=False, lower=False):
    """dw = sum over the batch of x dz^T, or added to dw. o: x, packed dz, inputs.

    Of a symmetric matrix, only what lies on the diagonal or below is asked for.
    """
    get, constant, size, width = t.get, t.constant, t.size, t.width
    place, mask, log = task_place(t), t.width - 1, t.width.bit_length() - 1

    def inputs_of(team, frame, o, m):
        row, _ = place(o)
        begin = constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        x = team[SLOT] + constant(o, 0) + (row + m) * width * size
        return x, begin, constant(frame, WORKSPACE_STRIDE)

    def value(team, frame, o, x, begin, stride, k):
        sample = begin + k
        return get(x + (sample >> log) * stride, sample & mask)

    def gradients_of(team, frame, o, n):
        _, column = place(o)
        begin = constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        dz = team[SLOT] + constant(o, 1) + (column + n) * size
        return dz, begin, constant(frame, WORKSPACE_STRIDE)

    def gradient(team, frame, o, dz, begin, stride, k):
        sample = begin + k
        return get(dz + (sample >> log) * stride, (sample & mask) * constant(o, TASK_PACK))

    a, b = Side(inputs_of, value, True), Side(gradients_of, gradient)
    multiply = product(t, a, b, gradient_store(t, adds))

    def weight_gradient(team, frame, o, scratch):
        rows, columns = constant(o, TASK_ROWS), constant(o, TASK_COLUMNS)
        if lower:
            row, column = place(o)
            if row + rows <= column:
                return
        begin = constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        depth = min(team[COUNT] - begin, constant(o, TASK_DEPTH))
        multiply(team, frame, o, scratch, rows, columns, max(depth, 0))

    return weight_gradient
