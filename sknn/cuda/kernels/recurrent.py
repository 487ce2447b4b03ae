"""Recurrent layers: the loop over time, forward and backward, for a block of sequences.

What ``sknn.cpu.kernels.recurrent`` says of time, of states and of lengths holds here too. A step is
a product with the state, or two of them, and whoever has a sum of it does with that what the cell
does: so the groups of a team meet once for each product. What the cell does backward at a step
needs no other element's numbers once the gradient of its own state is known; that is done, too,
where the last sum is there which that gradient takes.

What a product calls finds the step of time in the team, in the place of the run's.
"""

import math
from types import SimpleNamespace

from numba.core import types

from .activations import FUNCTIONS, logistic_of
from .frame import (
    BLOCK,
    COUNT,
    MEETING,
    PACKS,
    PARAMETERS,
    PART,
    PARTS,
    RANK,
    SIZE,
    SLOT,
    STEP,
    THREAD,
    kernel,
)
from .product import Side, product

#: Where a team has the step of time.
TIME = STEP


def _time(t):
    """Return functions over samples and over time."""
    get, put, width, real = t.get, t.put, t.width, t.real

    @t.jit
    def at(team, time):
        """Return the team at a step of time."""
        return (
            team[THREAD], team[RANK], team[SIZE], team[PART], team[PARTS], time, team[SLOT],
            team[BLOCK], team[COUNT], team[MEETING],
        )  # fmt: skip

    @t.jit
    def longest(lengths, steps):
        """Return the number of steps that any of the sequences has."""
        most = types.int64(0)
        for n in range(width):
            most = max(most, types.int64(get(lengths, n)))
        return min(most, steps)

    @t.jit
    def alive(team, lengths, n):
        """Return whether a sample's sequence has this step."""
        return real(team[TIME]) < get(lengths, n)

    @t.jit
    def hold(team, h, first, last, source, rows):
        """Copy one slot to slots first to last."""
        for i in range(team[RANK], rows, team[SIZE]):
            value = get(h, source * rows + i)
            for place in range(first, last):
                put(h, place * rows + i, value)

    return SimpleNamespace(at=at, longest=longest, alive=alive, hold=hold)


def _each(t, body):
    """Return what takes the sums of a product: ``body(team, frame, o, row, n, sum)`` for each."""
    body = t.jit(body)

    def store(team, frame, o, row, n, a, b, c, d):
        for e in range(4):
            sum = a if e == 0 else (b if e == 1 else (c if e == 2 else d))
            body(team, frame, o, row, n + e, sum)

    return store


def _column(t, place, pack, units_at=0):
    """Return the side of a product that has, for each of a parameter's units, its weights.

    `place` is the parameter's in o, and `pack` its number among the parameters. With `units_at`,
    the place of the number of units, those of four gates stand beside each other.
    """
    get, constant, size = t.get, t.constant, t.size

    def weights_of(team, frame, o, unit):
        if units_at:
            unit = (unit & 3) * constant(o, units_at) + (unit >> 2)
        w = constant(frame, PARAMETERS) + constant(o, place)
        return w + unit * size, constant(o, PACKS + pack), 0

    def weight(team, frame, o, w, stride, _, k):
        return get(w, k * stride)

    return Side(weights_of, weight)


def _row(t, place, pack):
    """Return the side that has the weights from each of a parameter's rows."""
    get, constant, size = t.get, t.constant, t.size

    def weights_of(team, frame, o, row):
        w = constant(frame, PARAMETERS) + constant(o, place)
        return w + row * constant(o, PACKS + pack) * size, 0, 0

    def weight(team, frame, o, w, _, __, unit):
        return get(w, unit)

    return Side(weights_of, weight, True)


def _values(t, place, units, slots=1, first=0, reverse=0):
    """Return the side that has a step's values.

    `place` is the buffer's in o, and `units` that of the number of units, of which a step has so
    many times `slots`; the values begin with the units of the slot `first`. With `reverse`, the
    place of the flag, they are the states before the step.
    """
    get, constant, size, width = t.get, t.constant, t.size, t.width

    def values_of(team, frame, o, n):
        slot = team[TIME] * slots + first
        if reverse:
            slot += constant(o, reverse)
        i = slot * constant(o, units) * width + n
        return team[SLOT] + constant(o, place) + i * size, 0, 0

    def value(team, frame, o, x, _, __, k):
        return get(x, k * width)

    return Side(values_of, value)


# --- forward


def _forward(t, step, lengths, steps, first, last):
    """Return the loop over time: ``step(team, frame, o, scratch)`` is done at each, and meets.

    What follows are places in o: of lengths, of the number of steps, of the first and the last of
    the states.
    """
    constant, width, meet, time, step = t.constant, t.width, t.meet, _time(t), t.jit(step)
    at, longest, hold = time.at, time.longest, time.hold

    def forward(team, frame, o, scratch):
        slot, n_steps, reverse = team[SLOT], constant(o, steps), constant(o, steps + 2)
        rows, end = constant(o, steps + 1) * width, longest(slot + constant(o, lengths), n_steps)
        if reverse and end < n_steps:
            for state in range(first, last + 1):
                hold(team, slot + constant(o, state), end, n_steps, n_steps, rows)
            meet(team[MEETING], team[PARTS])
        for i in range(end):
            step(at(team, end - 1 - i if reverse else i), frame, o, scratch)
        if not reverse:
            for state in range(first, last + 1):
                hold(team, slot + constant(o, state), end + 1, n_steps + 1, end, rows)

    return forward


@kernel(skips=[1, 2], meets=True)
def simple_rnn(t, function):
    """h' = f(z + w h). o: z, w, h, lengths, h, steps, units, reverse."""
    get, put, constant, width, meet = t.get, t.put, t.constant, t.width, t.meet
    real, alive, f = t.real, _time(t).alive, t.jit(FUNCTIONS[function](t)[0])

    def cell(team, frame, o, unit, n, sum):
        slot, time, reverse = team[SLOT], team[TIME], constant(o, 7)
        h, rows, i = slot + constant(o, 2), constant(o, 6) * width, unit * width + n
        state = get(h, (time + reverse) * rows + i)
        if alive(team, slot + constant(o, 3), n):
            state = f(get(slot + constant(o, 0), time * rows + i) + sum, real(0))
        put(h, (time + 1 - reverse) * rows + i, state)

    multiply = product(t, _column(t, 1, 0), _values(t, 2, 6, reverse=7), _each(t, cell))

    def step(team, frame, o, scratch):
        multiply(team, frame, o, scratch, constant(o, 6), width, constant(o, 6))
        meet(team[MEETING], team[PARTS])

    return _forward(t, step, 3, 5, 2, 2)


@kernel(skips=[0, 1], meets=True)
def lstm(t):
    """i, f, g, o = the gates of z + w h; c' = f c + i g; h' = o tanh(c').

    o: z, w, h, c, lengths, z (the gates' values), h, c, steps, units, reverse. The rows of the
    product are the first unit's gates, those of the second ...: a thread has all four of a unit.
    """
    get, put, constant, width, meet = t.get, t.put, t.constant, t.width, t.meet
    fma, alive, logistic = t.fma, _time(t).alive, logistic_of(t)

    def cell(team, frame, o, row, n, sum):
        slot, time, reverse = team[SLOT], team[TIME], constant(o, 10)
        gate, rows, i = row & 3, constant(o, 9) * width, (row >> 2) * width + n
        first = time * 4 * rows + i
        z, h, c = slot + constant(o, 0), slot + constant(o, 2), slot + constant(o, 3)
        value = get(z, first + gate * rows) + sum
        value = math.tanh(value) if gate == 2 else logistic(value)
        put(z, first + gate * rows, value)
        if gate == 3:
            before, after = (time + reverse) * rows + i, (time + 1 - reverse) * rows + i
            state, cell = get(h, before), get(c, before)
            if alive(team, slot + constant(o, 4), n):
                cell = fma(get(z, first + rows), cell, get(z, first) * get(z, first + 2 * rows))
                state = value * math.tanh(cell)
            put(h, after, state)
            put(c, after, cell)

    multiply = product(t, _column(t, 1, 0, 9), _values(t, 2, 9, reverse=10), _each(t, cell))

    def step(team, frame, o, scratch):
        multiply(team, frame, o, scratch, 4 * constant(o, 9), width, constant(o, 9))
        meet(team[MEETING], team[PARTS])

    return _forward(t, step, 4, 8, 2, 3)


@kernel(skips=[0, 1, 2], meets=True)
def gru(t):
    """The reset gate before the product: c = tanh(z_c + u (r h)), h' = (1 - z) h + z c.

    o: z, w, u, h, lengths, z (the values of z, r, c), extra (r h), h, steps, units, reverse.
    """
    return _gru(t, False)


@kernel(skips=[0, 1, 2], meets=True)
def gru_after(t):
    """The same after it: c = tanh(z_c + r (u h + b)), h' = (1 - z) c + z h.

    o: z, w, u, b, h, lengths, z, extra (u h + b), h, steps, units, reverse.
    """
    return _gru(t, True)


def _gru(t, after_product):
    get, put, constant, width, meet = t.get, t.put, t.constant, t.width, t.meet
    fma, alive, logistic = t.fma, _time(t).alive, logistic_of(t)
    h_at = 4 if after_product else 3
    extra_at, units_at, reverse_at = h_at + 3, h_at + 6, h_at + 7

    def gate(team, frame, o, row, n, sum):
        slot, time, rows = team[SLOT], team[TIME], constant(o, units_at) * width
        z, i = slot + constant(o, 0), row * width + n
        value = logistic(get(z, time * 3 * rows + i) + sum)
        put(z, time * 3 * rows + i, value)
        if not after_product and i >= rows:
            before = get(slot + constant(o, h_at), (time + constant(o, reverse_at) - 1) * rows + i)
            put(slot + constant(o, extra_at), (time - 1) * rows + i, value * before)

    def cell(team, frame, o, unit, n, sum):
        slot, time, reverse = team[SLOT], team[TIME], constant(o, reverse_at)
        rows, i = constant(o, units_at) * width, unit * width + n
        z, h, first = slot + constant(o, 0), slot + constant(o, h_at), time * 3 * rows + i
        update, new = get(z, first), get(z, first + 2 * rows)
        old = get(h, (time + reverse) * rows + i)
        if after_product:
            sum += get(constant(frame, PARAMETERS) + constant(o, 3), unit)
            put(slot + constant(o, extra_at), time * rows + i, sum)
            new = math.tanh(fma(get(z, first + rows), sum, new))
            state = fma(update, old - new, new)
        else:
            new = math.tanh(new + sum)
            state = fma(update, new - old, old)
        put(z, first + 2 * rows, new)
        if not alive(team, slot + constant(o, h_at + 1), n):
            state = old
        put(h, (time + 1 - reverse) * rows + i, state)

    states = _values(t, h_at, units_at, reverse=reverse_at)
    multiply = product(t, _column(t, 1, 0), states, _each(t, gate))
    inner = states if after_product else _values(t, extra_at, units_at)
    multiply_candidate = product(t, _column(t, 2, 1), inner, _each(t, cell))

    def step(team, frame, o, scratch):
        units = constant(o, units_at)
        multiply(team, frame, o, scratch, 2 * units, width, units)
        meet(team[MEETING], team[PARTS])
        multiply_candidate(team, frame, o, scratch, units, width, units)
        meet(team[MEETING], team[PARTS])

    return _forward(t, step, h_at + 1, h_at + 5, h_at, h_at)


# --- backward


def _backward(t, begin, step, dy, lengths, steps):
    """Return the loop backward through time, and what takes the sums of a step's last product.

    ``begin(team, frame, o, i, carried, here, cut)`` gets an element's gradient of the state after a
    step; it leaves those of what the step adds up, and that of the state before it as far as it is
    known then. `here` says that the sequence has this step, and `cut` that no gradient goes on from
    it. ``step(finish)`` returns ``step(team, frame, o, scratch)``, the products of a step, whose
    last one stores by `finish`: it adds a sum to the gradient, which is complete then, and begins
    the step before.

    What follows are places in o: of dy (0: there is none) and dh, of lengths, of the number of
    steps.
    """
    get, put, constant, width, divide = t.get, t.put, t.constant, t.width, t.divide
    real, meet, time = t.real, t.meet, _time(t)
    at, longest, alive, begin = time.at, time.longest, time.alive, t.jit(begin)
    sequence, dy, dh = dy > 0, abs(dy), abs(dy) + 1

    @t.jit
    def cut(team, o):
        """Return whether a step is the first of `truncate` steps."""
        n_steps, truncate = constant(o, steps), constant(o, steps + 3)
        place = team[TIME] + constant(o, steps + 2)
        if truncate == 0 or place == 0 or place == n_steps:
            return False
        return place == divide(place, truncate) * truncate

    @t.jit
    def go_on(team, frame, o, i, carried):
        """Go on, for an element, to the step that came before in time, if there is one."""
        slot, n_steps, units = team[SLOT], constant(o, steps), constant(o, steps + 1)
        before = team[TIME] + (1 if constant(o, steps + 2) else -1)
        if 0 <= before < n_steps:
            if sequence:
                carried += get(slot + constant(o, dy), before * units * width + i)
            here = at(team, before)
            lives = alive(here, slot + constant(o, lengths), i & (width - 1))
            begin(here, frame, o, i, carried, lives, cut(here, o))
        else:
            put(slot + constant(o, dh), i, carried)

    def finish(team, frame, o, unit, n, sum):
        i = unit * width + n
        carried = get(team[SLOT] + constant(o, dh), i)
        if alive(team, team[SLOT] + constant(o, lengths), n):
            carried = real(0) if cut(team, o) else carried + sum
        go_on(team, frame, o, i, carried)

    step = t.jit(step(_each(t, finish)))

    def backward(team, frame, o, scratch):
        slot, n_steps, reverse = team[SLOT], constant(o, steps), constant(o, steps + 2)
        rows, end = constant(o, steps + 1) * width, longest(slot + constant(o, lengths), n_steps)
        for i in range(-1, n_steps):  # first to the last step, from behind it
            here = at(team, i if reverse else n_steps - 1 - i)
            if i >= 0 and here[TIME] < end:
                step(here, frame, o, scratch)
            else:
                for j in range(team[RANK], rows, team[SIZE]):
                    go_on(here, frame, o, j, get(slot + constant(o, dh), j))
            meet(team[MEETING], team[PARTS])

    return backward


@kernel(skips=[2, 3], meets=True)
def simple_rnn_gradient(t, function, sequence):
    """Backward through time.

    o: w, h, dy, dh, lengths, dz, dh, steps, units, reverse, truncate.
    """
    get, put, constant, width, real = t.get, t.put, t.constant, t.width, t.real
    derivative = t.jit(FUNCTIONS[function](t)[1])

    def begin(team, frame, o, i, carried, here, cut):
        slot, rows = team[SLOT], constant(o, 8) * width
        gradient = real(0)
        if here:
            after = (team[TIME] + 1 - constant(o, 9)) * rows + i
            gradient = carried * derivative(get(slot + constant(o, 1), after), real(0))
            carried = real(0)
        put(slot + constant(o, 5), team[TIME] * rows + i, gradient)
        put(slot + constant(o, 3), i, carried)

    def step(finish):
        multiply = product(t, _row(t, 0, 0), _values(t, 5, 8), finish)

        def step(team, frame, o, scratch):
            multiply(team, frame, o, scratch, constant(o, 8), width, constant(o, 8))

        return step

    return _backward(t, begin, step, 2 if sequence else -2, 4, 7)


@kernel(skips=[1, 2], meets=True)
def lstm_gradient(t, sequence):
    """Backward through time; z holds the gates' values.

    o: z, w, h, c, dy, dh, dc, lengths, dz, dh, dc, steps, units, reverse, truncate.
    """
    get, put, constant, width = t.get, t.put, t.constant, t.width
    real, one, fma = t.real, t.real(1), t.fma

    def begin(team, frame, o, i, carried, here, cut):
        slot, rows = team[SLOT], constant(o, 12) * width
        dz, dc, first = slot + constant(o, 8), slot + constant(o, 6), team[TIME] * 4 * rows + i
        denter = dforget = dnew = dleave = real(0)
        if here:
            z, c = slot + constant(o, 0), slot + constant(o, 3)
            before, after = team[TIME] + constant(o, 13), team[TIME] + 1 - constant(o, 13)
            enter, forget = get(z, first), get(z, first + rows)
            new, leave = get(z, first + 2 * rows), get(z, first + 3 * rows)
            cell = math.tanh(get(c, after * rows + i))
            dcell = fma(carried * leave, one - cell * cell, get(dc, i))
            denter = dcell * new * (enter * (one - enter))
            dforget = dcell * get(c, before * rows + i) * (forget * (one - forget))
            dnew = dcell * enter * (one - new * new)
            dleave = carried * cell * (leave * (one - leave))
            put(dc, i, real(0) if cut else dcell * forget)
            carried = real(0)
        put(dz, first, denter)
        put(dz, first + rows, dforget)
        put(dz, first + 2 * rows, dnew)
        put(dz, first + 3 * rows, dleave)
        put(slot + constant(o, 5), i, carried)

    def step(finish):
        multiply = product(t, _row(t, 1, 0), _values(t, 8, 12, 4), finish)

        def step(team, frame, o, scratch):
            multiply(team, frame, o, scratch, constant(o, 12), width, 4 * constant(o, 12))

        return step

    return _backward(t, begin, step, 4 if sequence else -4, 7, 11)


@kernel(skips=[1, 2, 3], meets=True)
def gru_gradient(t, sequence):
    """Backward through time, the reset gate before the product.

    o: z, w, u, h, extra, dy, dh, lengths, dz, extra, dh, scratch, steps, units, reverse, truncate.
    """
    return _gru_gradient(t, sequence, False)


@kernel(skips=[1, 2, 3], meets=True)
def gru_after_gradient(t, sequence):
    """The same, the reset gate after it; extra becomes the gradient of u h + b."""
    return _gru_gradient(t, sequence, True)


def _gru_gradient(t, sequence, after_product):
    get, put, constant, width, meet = t.get, t.put, t.constant, t.width, t.meet
    real, one, alive = t.real, t.real(1), _time(t).alive

    def begin(team, frame, o, i, carried, here, cut):
        slot, time, rows = team[SLOT], team[TIME], constant(o, 13) * width
        dz, first = slot + constant(o, 8), time * 3 * rows + i
        extra, place = slot + constant(o, 4), time * rows + i
        if here:
            z = slot + constant(o, 0)
            update, new = get(z, first), get(z, first + 2 * rows)
            old = get(slot + constant(o, 3), (time + constant(o, 14)) * rows + i)
            if after_product:
                reset = get(z, first + rows)
                dnew, dupdate = carried * (one - update) * (one - new * new), carried * (old - new)
                put(dz, first + rows, dnew * get(extra, place) * (reset * (one - reset)))
                put(extra, place, dnew * reset)
                carried *= update
            else:
                dnew, dupdate = carried * update * (one - new * new), carried * (new - old)
                carried *= one - update
            put(dz, first, dupdate * (update * (one - update)))
            put(dz, first + 2 * rows, dnew)
        else:
            for gate in range(3):
                put(dz, first + gate * rows, real(0))
            put(extra, place, real(0))  # it is multiplied by these zeros
        put(slot + constant(o, 6), i, carried)

    def reset_gate(team, frame, o, unit, n, sum):
        slot, time = team[SLOT], team[TIME]
        rows, i = constant(o, 13) * width, unit * width + n
        if alive(team, slot + constant(o, 7), n):
            place, dh = (time * 3 + 1) * rows + i, slot + constant(o, 6)
            reset = get(slot + constant(o, 0), place)
            before = get(slot + constant(o, 3), (time + constant(o, 14)) * rows + i)
            put(slot + constant(o, 8), place, sum * before * (reset * (one - reset)))
            put(dh, i, get(dh, i) + sum * reset)

    def step(finish):
        if after_product:
            return _both(t, finish)
        inner = product(t, _row(t, 2, 1), _values(t, 8, 13, 3, 2), _each(t, reset_gate))
        multiply = product(t, _row(t, 1, 0), _values(t, 8, 13, 3), finish)

        def step(team, frame, o, scratch):
            units = constant(o, 13)
            inner(team, frame, o, scratch, units, width, units)
            meet(team[MEETING], team[PARTS])
            multiply(team, frame, o, scratch, units, width, 2 * units)

        return step

    return _backward(t, begin, step, 5 if sequence else -5, 7, 12)


def _both(t, finish):
    """Return the product of w, and beside it u, with the gradients of two gates and of u h + b."""
    get, constant, size, width = t.get, t.constant, t.size, t.width

    def weights_of(team, frame, o, row):
        parameters, units = constant(frame, PARAMETERS), 2 * constant(o, 13)
        w = parameters + constant(o, 1) + row * constant(o, PACKS) * size
        u = parameters + constant(o, 2) + (row * constant(o, PACKS + 1) - units) * size
        return w, u, units

    def weight(team, frame, o, w, u, units, unit):
        return get(w if unit < units else u, unit)

    def gradients_of(team, frame, o, n):
        units, time = constant(o, 13), team[TIME]
        gates = team[SLOT] + constant(o, 8) + (time * 3 * units * width + n) * size
        inner = team[SLOT] + constant(o, 4) + ((time - 2) * units * width + n) * size
        return gates, inner, 2 * units

    def gradient(team, frame, o, gates, inner, units, unit):
        return get(gates if unit < units else inner, unit * width)

    multiply = product(t, Side(weights_of, weight, True), Side(gradients_of, gradient), finish)

    def step(team, frame, o, scratch):
        multiply(team, frame, o, scratch, constant(o, 13), width, 3 * constant(o, 13))

    return step
