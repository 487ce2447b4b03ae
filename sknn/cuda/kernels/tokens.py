"""Token numbers, and states that are carried along: what goes between rows of data and sequences.

States are here because, as tokens, they are read and written by a sample's position in the run.
"""

import math

from numba.core import types

from .dense import task_place
from .frame import (
    ACCUMULATE,
    BATCH,
    BLOCK,
    CARRY,
    CARRY_COLUMNS,
    CARRY_ROWS,
    COUNT,
    GRADIENT,
    OUT,
    PACKS,
    PARAMETERS,
    RANK,
    RATE_FIRST,
    RESETS,
    SIZE,
    SLOT,
    STEP,
    TASK_COLUMNS,
    TASK_FIRST,
    TASK_PACK,
    TASK_ROWS,
    THREAD,
    TOTAL,
    WORKSPACE_STRIDE,
    X_COLUMNS,
    X,
    kernel,
)
from .gather import position_of

# --- states


@kernel
def fill(t):
    """The same number everywhere. o: out, elements, value."""
    put, constant, bits = t.put, t.constant, t.bits

    def fill(team, frame, o, scratch):
        out, value = team[SLOT] + constant(o, 0), bits(constant(o, 2))
        for i in range(team[RANK], constant(o, 1), team[SIZE]):
            put(out, i, value)

    return fill


def _carried(t):
    """Return the word for where the state that a position carries along begins."""
    constant, divide, size = t.constant, t.divide, t.size

    @t.jit
    def carried(frame, position):
        rows = constant(frame, CARRY_ROWS)
        row = position - divide(position, rows) * rows
        return constant(frame, CARRY) + row * constant(frame, CARRY_COLUMNS) * size

    return carried


@kernel
def load_state(t):
    """The states that the block's streams have carried along. o: out, units, offset."""
    get, put, get_int, constant, divide = t.get, t.put, t.get_int, t.constant, t.divide
    width, real, carried, position = t.width, t.real, _carried(t), position_of(t)

    def load_state(team, frame, o, scratch):
        out, resets = team[SLOT] + constant(o, 0), constant(frame, RESETS)
        for i in range(team[RANK], constant(o, 1) * width, team[SIZE]):
            unit = divide(i, width)
            place = position(team, frame, i & (width - 1))
            value = get(carried(frame, place), constant(o, 2) + unit)
            if resets and get_int(resets, place):
                value = real(0)
            put(out, i, value)

    return load_state


@kernel
def save_state(t):
    """Leave states for the streams to carry along. o: a, units, offset."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, carried, position = t.width, _carried(t), position_of(t)

    def save_state(team, frame, o, scratch):
        a = team[SLOT] + constant(o, 0)
        for i in range(team[RANK], constant(o, 1) * width, team[SIZE]):
            unit, n = divide(i, width), i & (width - 1)
            if n < team[COUNT]:
                place = position(team, frame, n)
                put(carried(frame, place), constant(o, 2) + unit, get(a, i))

    return save_state


# --- tokens


def _token(t):
    """Return the word for a token's number, held in the table: no input may lead out of it."""
    real = t.real

    @t.jit
    def token(number, inputs):
        if number >= real(inputs):
            return inputs - 1
        return min(types.int64(number), inputs - 1) if number > real(0) else 0

    return token


@kernel(skips=[0])
def lookup(t):
    """z = the token's row of w, plus b. o: x, w, b, z, steps, inputs, units."""
    return _lookup(t, 3)


@kernel(skips=[0])
def lookup_unbiased(t):
    """z = the token's row of w. o: x, w, z, steps, inputs, units."""
    return _lookup(t, 2)


def _lookup(t, z):
    """Return what looks tokens up; `z` is z's place in o."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, biased, token = t.width, z == 3, _token(t)

    def lookup(team, frame, o, scratch):
        x, out = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, z)
        w = constant(frame, PARAMETERS) + constant(o, 1)
        inputs, units = constant(o, z + 2), constant(o, z + 3)
        for i in range(team[RANK], constant(o, z + 1) * units * width, team[SIZE]):
            row = divide(i, width)
            step = divide(row, units)
            unit = row - step * units
            number = get(x, step * width + (i & (width - 1)))
            value = get(w, token(number, inputs) * constant(o, PACKS) + unit)
            if biased:
                value += get(constant(frame, PARAMETERS) + constant(o, 2), unit)
            put(out, i, value)

    return lookup


@kernel(skips=[0])
def lookup_gradient(t):
    """dw[token] = the sum of dz over the steps and samples that have the token.

    o: x, packed dz, steps, inputs, units. A thread has a unit, and some of the task's rows; it goes
    over the tokens of the batch in their order, which the group has brought to shared memory as the
    rows that they are, of tokens that the task does not have as -1.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, threads, size, real = t.width, t.threads, t.size, t.real
    place, token, sync, room = task_place(t), _token(t), t.sync, t.scratch

    def lookup_gradient(team, frame, o, scratch):
        thread, numbers = team[THREAD], constant(o, 2) * width
        rows, columns = constant(o, TASK_ROWS), constant(o, TASK_COLUMNS)
        pack = constant(o, TASK_PACK)
        first, column = place(o)
        share = divide(threads, columns)  # of threads with the same unit: at least one
        mine = divide(thread, columns)
        unit = thread - mine * columns
        g = constant(frame, GRADIENT) + constant(o, TASK_FIRST) + unit * size
        if mine < share and not constant(frame, ACCUMULATE):
            for row in range(mine, rows, share):
                put(g, row * pack, real(0))
        for begin in range(0, team[COUNT], width):
            block = team[SLOT] + divide(begin, width) * constant(frame, WORKSPACE_STRIDE)
            x, dz = block + constant(o, 0), block + constant(o, 1) + (column + unit) * size
            for start in range(0, numbers, room):
                here = min(numbers - start, room)
                sync()  # nobody reads those before any more
                for i in range(thread, here, threads):
                    row = token(get(x, start + i), constant(o, 3)) - first
                    counts = begin + (i + start & (width - 1)) < team[COUNT] and 0 <= row < rows
                    scratch[i] = real(row) if counts else real(-1)
                sync()
                for i in range(here):
                    row = types.int64(scratch[i])
                    if row >= 0 and row - divide(row, share) * share == mine:
                        sum = get(g, row * pack) + get(dz, (start + i) * pack)
                        put(g, row * pack, sum)

    return lookup_gradient


@kernel
def draw(t):
    """Draw a token from softmax(z / temperature), and write it behind the one at hand.

    The step's rates hold what ``sknn.cpu.kernels.tokens`` says. The token is written to the outputs
    and to X, where the next step reads it; one that is given is in X already. o: z, units.
    """
    get, put, constant, put_int = t.get, t.put, t.constant, t.put_int
    width, real, rate = t.width, t.real, t.rate

    @t.jit
    def least_of(z, units, top):
        """Return the `top`-th largest number; 0: the smallest one."""
        limit = get(z, 0)
        for i in range(units):
            limit = max(limit, get(z, i * width))
        if top == 0 or top >= units:
            for i in range(units):
                limit = min(limit, get(z, i * width))
            return limit
        for _ in range(top):  # at most, whatever z is: NaN never ends a search
            allowed, below, found = types.int64(0), limit, False
            for i in range(units):
                value = get(z, i * width)
                if value >= limit:
                    allowed += 1
                elif not found or value > below:
                    below, found = value, True
            if allowed >= top or not found:
                return limit
            limit = below
        return limit

    def draw(team, frame, o, scratch):
        if team[RANK]:
            return
        z, units = team[SLOT] + constant(o, 0), constant(o, 1)
        out, x = constant(frame, OUT), constant(frame, X)
        following = team[STEP] * constant(frame, BATCH) + team[BLOCK] * width + 1
        more, columns = following < constant(frame, TOTAL), constant(frame, X_COLUMNS)
        if rate(team, frame, RATE_FIRST + 3) != real(0):
            if more:
                put_int(out, following, types.int64(get(x, following * columns)))
            return
        inverse, number = rate(team, frame, RATE_FIRST), rate(team, frame, RATE_FIRST + 1)
        limit = least_of(z, units, types.int64(rate(team, frame, RATE_FIRST + 2)))
        largest = get(z, 0)
        for i in range(units):
            largest = max(largest, get(z, i * width))
        total = reached = real(0)
        for i in range(units):
            value = get(z, i * width)
            if value >= limit:
                total += math.exp((value - largest) * inverse)
        token, chosen = types.int64(0), False
        for i in range(units):
            value = get(z, i * width)
            if not chosen and value >= limit:
                token = i
                reached += math.exp((value - largest) * inverse)
                chosen = reached > number * total
        put_int(out, following, token)
        if more:
            put(x, following * columns, real(token))

    return draw
