"""Between rows of data and blocks of samples: gathering a batch, and writing results."""

from .frame import (
    BATCH,
    BLOCK,
    COUNT,
    LENGTH_COLUMNS,
    LENGTHS,
    OUT,
    OUT_COLUMNS,
    RANK,
    SIZE,
    SLOT,
    STEP,
    WEIGHT,
    X_STORED,
    Y_STORED,
    X,
    kernel,
)


def position_of(t):
    """Return the word for the position in the run of a sample of the block.

    Beyond the last sample it is that of the block's first one.
    """
    constant, width = t.constant, t.width

    @t.jit
    def position_of(team, frame, n):
        first = team[STEP] * constant(frame, BATCH) + team[BLOCK] * width
        return first + (n if n < team[COUNT] else 0)

    return position_of


@kernel(skips=[0, 1])
def gather(t):
    """Bring the rows of a batch to [columns][samples]. o: addresses, out, columns, field.

    Lanes beyond the last sample repeat the block's first one: what they give is finite, and their
    weight is zero.
    """
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    position, row_number = position_of(t), t.row_number

    def gather(team, frame, o, scratch):
        out, columns, field = team[SLOT] + constant(o, 1), constant(o, 2), constant(o, 3)
        data, stride = constant(frame, field), constant(frame, field + 1)
        for i in range(team[RANK], columns * width, team[SIZE]):
            column, n = divide(i, width), i & (width - 1)
            row = row_number(frame, position(team, frame, n))
            put(out, i, get(data, row * stride + column))

    return gather


@kernel(skips=[0, 1])
def gather_csr(t):
    """The same from compressed sparse rows. o: addresses, out, columns, field.

    A thread has a sample, so that numbers stored twice add up in their order.
    """
    get, put, get_int, constant, width, real = t.get, t.put, t.get_int, t.constant, t.width, t.real
    position, row_number = position_of(t), t.row_number

    def gather_csr(team, frame, o, scratch):
        out, columns, field = team[SLOT] + constant(o, 1), constant(o, 2), constant(o, 3)
        data, indices = constant(frame, field), constant(frame, field + 1)
        begins = constant(frame, field + 2)
        stored = constant(frame, X_STORED if field == X else Y_STORED)
        for n in range(team[RANK], width, team[SIZE]):
            for column in range(columns):
                put(out, column * width + n, real(0))
            row = row_number(frame, position(team, frame, n))
            begin, end = get_int(begins, row), get_int(begins, row + 1)
            for i in range(max(begin, 0), min(end, stored)):
                column = get_int(indices, i)
                if 0 <= column < columns:
                    j = column * width + n
                    put(out, j, get(out, j) + get(data, i))

    return gather_csr


def weight_of(t):
    """Return the word for the weight of a lane's sample: zero beyond the last one."""
    get, constant, row_number, real = t.get, t.constant, t.row_number, t.real
    position = position_of(t)

    @t.jit
    def weight_of(team, frame, n):
        if n >= team[COUNT]:
            return real(0)
        weights = constant(frame, WEIGHT)
        if weights:
            return get(weights, row_number(frame, position(team, frame, n)))
        return real(1)

    return weight_of


@kernel
def weigh(t):
    """The weight of each lane's sample. o: out."""
    put, constant, width, weight = t.put, t.constant, t.width, weight_of(t)

    def weigh(team, frame, o, scratch):
        for n in range(team[RANK], width, team[SIZE]):
            put(team[SLOT] + constant(o, 0), n, weight(team, frame, n))

    return weigh


@kernel
def lengths(t):
    """The length of each lane's sequence, at most all steps. o: out, steps, column of lengths."""
    put, get_int, constant, width, real = t.put, t.get_int, t.constant, t.width, t.real
    position = position_of(t)

    def lengths(team, frame, o, scratch):
        steps, given = constant(o, 1), constant(frame, LENGTHS)
        for n in range(team[RANK], width, team[SIZE]):
            length = steps
            if given:
                place = position(team, frame, n) * constant(frame, LENGTH_COLUMNS)
                length = min(max(get_int(given, place + constant(o, 2)), 0), steps)
            put(team[SLOT] + constant(o, 0), n, real(length))

    return lengths


@kernel
def weigh_steps(t):
    """The weight of each step of a lane's sequence, zero beyond its end. o: lengths, out, steps."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, real, weight = t.width, t.real, weight_of(t)

    def weigh_steps(team, frame, o, scratch):
        lengths, out = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        for i in range(team[RANK], constant(o, 2) * width, team[SIZE]):
            step, n = divide(i, width), i & (width - 1)
            value = real(0)
            if real(step) < get(lengths, n):
                value = weight(team, frame, n)
            put(out, i, value)

    return weigh_steps


@kernel
def scatter(t):
    """Write a block as rows of the result. o: a, units."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width

    def scatter(team, frame, o, scratch):
        a, units = team[SLOT] + constant(o, 0), constant(o, 1)
        first = team[STEP] * constant(frame, BATCH) + team[BLOCK] * width
        out, columns = constant(frame, OUT), constant(frame, OUT_COLUMNS)
        for i in range(team[RANK], team[COUNT] * units, team[SIZE]):
            n = divide(i, units)
            unit = i - n * units
            put(out, (first + n) * columns + unit, get(a, unit * width + n))

    return scatter
