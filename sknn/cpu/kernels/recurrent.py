"""Recurrent layers: the loop over time, forward and backward, for a block of sequences.

Sequences lie as [time][units][samples]. What the inputs add is in z before a layer begins, for all
steps at once; what is left for each step is one product with the state, and the gates.

States have one slot more than there are steps: forward, the initial one and then the state after
each step; backward in time, the state before each step (that is, after it in that order), the
initial one last. Beyond its end a sequence keeps its state, and its gradients are zero; at every
width a sequence's numbers come from the same operations in the same order.
"""

from types import SimpleNamespace

from numba.core import types

from .activations import FUNCTIONS
from .compiling import register_jitable
from .dense import BIAS, SUM, product, transposed_product
from .frame import (
    BLOCK,
    CARRY,
    CARRY_ROWS,
    CARRY_STRIDE,
    PACK,
    PACK_BEFORE,
    PARAMETERS,
    RESETS,
    START,
    kernel,
)
from .functions import functions
from .gather import samples_in_block
from .simd import bits_to_float64, fma, get, load, put, select, splat

# --- states


@kernel
def fill(t):
    """The same number everywhere. op: out, elements, value."""
    wide, lanes, write = t.wide, t.wide.lanes, t.write

    def fill(op, frame, slot):
        value = splat(wide, bits_to_float64(op[2]))
        for i in range(0, op[1], lanes):
            write(slot + op[0], i, value, op[1] - i)

    return fill


@kernel
def load_state(t):
    """The states that the block's streams have carried along. op: out, units, offset."""
    width, real, uint8 = t.width, t.real, types.uint8

    def load_state(op, frame, slot):
        first = frame[START] + frame[BLOCK] * width
        samples = samples_in_block(frame, width)
        for n in range(width):
            place = first + (n if n < samples else 0)
            row = frame[CARRY] + place % frame[CARRY_ROWS] * frame[CARRY_STRIDE]
            anew = frame[RESETS] != 0 and get(uint8, frame[RESETS], place) != 0
            for unit in range(op[1]):
                value = real(0.0) if anew else get(real, row, op[2] + unit)
                put(slot + op[0], unit * width + n, value)

    return load_state


@kernel
def save_state(t):
    """Leave states for the streams to carry along. op: a, units, offset."""
    width, real = t.width, t.real

    def save_state(op, frame, slot):
        first = frame[START] + frame[BLOCK] * width
        for n in range(samples_in_block(frame, width)):
            row = frame[CARRY] + (first + n) % frame[CARRY_ROWS] * frame[CARRY_STRIDE]
            for unit in range(op[1]):
                put(row, op[2] + unit, get(real, slot + op[0], unit * width + n))

    return save_state


# --- what the cells share


def _time(t):
    """Return functions over the rows of a slot, and over time."""
    width, wide, lanes, real, size, write = t.width, t.wide, t.wide.lanes, t.real, t.size, t.write
    several = width > 1

    @register_jitable
    def longest(lengths, steps):
        """Return the number of steps that any of the sequences has."""
        most = types.int64(0)
        for n in range(width):
            most = max(most, types.int64(get(real, lengths, n)))
        return min(most, steps)

    @register_jitable
    def alive(lengths, i, step):
        """Return where the elements from i on belong to sequences that have this step."""
        if several:
            return load(wide, lengths, i % width) > step
        return splat(wide, 1.0) > 0.0

    @register_jitable
    def copy(target, source, rows):
        for i in range(0, rows, lanes):
            write(target, i, load(wide, source, i), rows - i)

    @register_jitable
    def hold(h, first, last, source, rows):
        """Copy one slot to slots first to last."""
        for place in range(first, last):
            copy(h + place * rows * size, h + source * rows * size, rows)

    @register_jitable
    def clear(target, rows):
        for i in range(0, rows, lanes):
            write(target, i, splat(wide, 0.0), rows - i)

    @register_jitable
    def add(target, source, rows):
        for i in range(0, rows, lanes):
            write(target, i, load(wide, target, i) + load(wide, source, i), rows - i)

    @register_jitable
    def cut(target, lengths, step, steps, reverse, truncate, rows):
        """End gradients on their way back from a step, if it is the first of `truncate` steps.

        Those of a state that is only held, behind a sequence's end, go on to where it is from; and
        those of the very first state are its own.
        """
        place = step + 1 if reverse else step
        if truncate == 0 or place % truncate or place == 0 or place == steps:
            return
        for i in range(0, rows, lanes):
            kept = select(alive(lengths, i, step), 0.0, load(wide, target, i))
            write(target, i, kept, rows - i)

    return SimpleNamespace(
        longest=longest, alive=alive, copy=copy, hold=hold, clear=clear, add=add, cut=cut
    )


# --- the simple cell


@kernel(of_several=["pack"])
def simple_rnn(t, function, rows, pack):
    """h' = f(z + w h); z is used up. op: z, w, h, lengths, h, steps, units, reverse."""
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time, multiply = _time(t), product(t, rows, pack, SUM, room=False)
    longest, alive, hold = time.longest, time.alive, time.hold
    f = register_jitable(FUNCTIONS[function](functions(wide))[0])

    def simple_rnn(op, frame, slot):
        z, w, h = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        lengths, steps, units, reverse = slot + op[3], op[5], op[6], op[7]
        rows, last = units * width, longest(lengths, steps)
        zero = splat(wide, 0.0)
        if reverse:
            hold(h, last, steps, steps, rows)
        for i in range(last):
            step = last - 1 - i if reverse else i
            before = h + (step + reverse) * rows * size
            after, x = h + (step + 1 - reverse) * rows * size, z + step * rows * size
            multiply(w, w, before, x, units, units, pack or op[PACK])
            for j in range(0, rows, lanes):
                state = f(load(wide, x, j), zero)
                state = select(alive(lengths, j, step), state, load(wide, before, j))
                write(after, j, state, rows - j)
        if not reverse:
            hold(h, last + 1, steps + 1, last, rows)

    return simple_rnn


@kernel(numbers=["sequence", "pack"])
def simple_rnn_gradient(t, function, sequence, rows, pack):
    """Backward through time.

    op: w, h, dy, dh, lengths, dz, dh, steps, units, reverse, truncate.
    """
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time, multiply = _time(t), transposed_product(t, rows)
    longest, alive, clear, add, cut = time.longest, time.alive, time.clear, time.add, time.cut
    derivative = register_jitable(FUNCTIONS[function](functions(wide))[1])

    def simple_rnn_gradient(op, frame, slot):
        w, h, dy, dh = frame[PARAMETERS] + op[0], slot + op[1], slot + op[2], slot + op[3]
        lengths, dz = slot + op[4], slot + op[5]
        steps, units, reverse, truncate = op[7], op[8], op[9], op[10]
        sequence = op[PACK - 2]  # whether there is a gradient at each step
        rows, last = units * width, longest(lengths, steps)
        zero = splat(wide, 0.0)
        for i in range(steps):
            step = i if reverse else steps - 1 - i
            if sequence:
                add(dh, dy + step * rows * size, rows)
            after, d = h + (step + 1 - reverse) * rows * size, dz + step * rows * size
            if step >= last:
                clear(d, rows)
            else:
                for j in range(0, rows, lanes):
                    here, carried = alive(lengths, j, step), load(wide, dh, j)
                    gradient = carried * derivative(load(wide, after, j), zero)
                    write(d, j, select(here, gradient, 0.0), rows - j)
                    write(dh, j, select(here, 0.0, carried), rows - j)
                multiply(w, d, dh, units, units, op[PACK], True)
                cut(dh, lengths, step, steps, reverse, truncate, rows)

    return simple_rnn_gradient


# --- LSTM


@kernel(of_several=["pack"])
def lstm(t, rows, pack):
    """i, f, g, o = the gates of z + w h; c' = f c + i g; h' = o tanh(c').

    op: z, w, h, c, lengths, z (the gates' values), h, c, steps, units, reverse.
    """
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time, multiply = _time(t), product(t, rows, pack, SUM, room=False)
    longest, alive, hold = time.longest, time.alive, time.hold
    f = functions(wide)
    logistic, tanh = f.logistic, f.tanh

    def lstm(op, frame, slot):
        z, w, h, c = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2], slot + op[3]
        lengths, steps, units, reverse = slot + op[4], op[8], op[9], op[10]
        rows, last = units * width, longest(lengths, steps)
        if reverse:
            hold(h, last, steps, steps, rows)
            hold(c, last, steps, steps, rows)
        for i in range(last):
            step = last - 1 - i if reverse else i
            before, after = (step + reverse) * rows * size, (step + 1 - reverse) * rows * size
            gates = z + step * 4 * rows * size
            multiply(w, w, h + before, gates, units, 4 * units, pack or op[PACK])
            for j in range(0, rows, lanes):
                enter = logistic(load(wide, gates, j))
                forget = logistic(load(wide, gates, j + rows))
                new = tanh(load(wide, gates, j + 2 * rows))
                leave = logistic(load(wide, gates, j + 3 * rows))
                write(gates, j, enter, rows - j)
                write(gates, j + rows, forget, rows - j)
                write(gates, j + 2 * rows, new, rows - j)
                write(gates, j + 3 * rows, leave, rows - j)
                old = load(wide, c + before, j)
                cell = fma(forget, old, enter * new)
                here = alive(lengths, j, step)
                state = select(here, leave * tanh(cell), load(wide, h + before, j))
                write(h + after, j, state, rows - j)
                write(c + after, j, select(here, cell, old), rows - j)
        if not reverse:
            hold(h, last + 1, steps + 1, last, rows)
            hold(c, last + 1, steps + 1, last, rows)

    return lstm


@kernel(numbers=["sequence", "pack"])
def lstm_gradient(t, sequence, rows, pack):
    """Backward through time; z holds the gates' values.

    op: z, w, h, c, dy, dh, dc, lengths, dz, dh, dc, steps, units, reverse, truncate.
    """
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time, multiply = _time(t), transposed_product(t, rows)
    longest, alive, clear, add, cut = time.longest, time.alive, time.clear, time.add, time.cut
    tanh = functions(wide).tanh

    def lstm_gradient(op, frame, slot):
        z, w, c = slot + op[0], frame[PARAMETERS] + op[1], slot + op[3]
        dy, dh, dc = slot + op[4], slot + op[5], slot + op[6]
        lengths, dz = slot + op[7], slot + op[8]
        steps, units, reverse, truncate = op[11], op[12], op[13], op[14]
        sequence = op[PACK - 2]
        rows, last = units * width, longest(lengths, steps)
        for i in range(steps):
            step = i if reverse else steps - 1 - i
            if sequence:
                add(dh, dy + step * rows * size, rows)
            before = c + (step + reverse) * rows * size
            after = c + (step + 1 - reverse) * rows * size
            gates, d = z + step * 4 * rows * size, dz + step * 4 * rows * size
            if step >= last:
                clear(d, 4 * rows)
            else:
                for j in range(0, rows, lanes):
                    here = alive(lengths, j, step)
                    enter, forget = load(wide, gates, j), load(wide, gates, j + rows)
                    new, leave = load(wide, gates, j + 2 * rows), load(wide, gates, j + 3 * rows)
                    cell, carried = tanh(load(wide, after, j)), load(wide, dh, j)
                    kept = load(wide, dc, j)
                    dcell = fma(carried * leave, 1.0 - cell * cell, kept)
                    gradient = dcell * new * (enter * (1.0 - enter))
                    write(d, j, select(here, gradient, 0.0), rows - j)
                    gradient = dcell * load(wide, before, j) * (forget * (1.0 - forget))
                    write(d, j + rows, select(here, gradient, 0.0), rows - j)
                    gradient = dcell * enter * (1.0 - new * new)
                    write(d, j + 2 * rows, select(here, gradient, 0.0), rows - j)
                    gradient = carried * cell * (leave * (1.0 - leave))
                    write(d, j + 3 * rows, select(here, gradient, 0.0), rows - j)
                    write(dc, j, select(here, dcell * forget, kept), rows - j)
                    write(dh, j, select(here, 0.0, carried), rows - j)
                multiply(w, d, dh, units, 4 * units, op[PACK], True)
                cut(dh, lengths, step, steps, reverse, truncate, rows)
                cut(dc, lengths, step, steps, reverse, truncate, rows)

    return lstm_gradient


# --- GRU


@kernel(of_several=["pack", "candidate_pack"])
def gru(t, rows, pack, candidate_pack):
    """The reset gate before the product: c = tanh(z_c + u (r h)), h' = (1 - z) h + z c.

    op: z, w, u, h, lengths, z (the values of z, r, c), extra (r h), h, steps, units, reverse.
    """
    return _gru(t, rows, pack, candidate_pack, False)


@kernel(of_several=["pack", "candidate_pack"])
def gru_after(t, rows, pack, candidate_pack):
    """The reset gate after it: c = tanh(z_c + r (u h + b)), h' = (1 - z) c + z h.

    op: z, w, u, b, h, lengths, z, extra (u h + b), h, steps, units, reverse.
    """
    return _gru(t, rows, pack, candidate_pack, True)


def _gru(t, rows, pack, candidate_pack, after_product):
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time = _time(t)
    longest, alive, hold = time.longest, time.alive, time.hold
    multiply = product(t, rows, pack, SUM, room=False)
    start = BIAS if after_product else SUM
    multiply_candidate = product(t, rows, candidate_pack, start, room=False)
    f = functions(wide)
    logistic, tanh = f.logistic, f.tanh
    o = 4 if after_product else 3

    def gru(op, frame, slot):
        z, w, u = slot + op[0], frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        b, h, lengths = frame[PARAMETERS] + op[3], slot + op[o], slot + op[o + 1]
        extra, steps, units, reverse = slot + op[o + 3], op[o + 5], op[o + 6], op[o + 7]
        rows, last = units * width, longest(lengths, steps)
        if reverse:
            hold(h, last, steps, steps, rows)
        for i in range(last):
            step = last - 1 - i if reverse else i
            before = h + (step + reverse) * rows * size
            after, more = h + (step + 1 - reverse) * rows * size, extra + step * rows * size
            gates = z + step * 3 * rows * size
            candidate = gates + 2 * rows * size
            multiply(w, w, before, gates, units, 2 * units, pack or op[PACK_BEFORE])
            if after_product:
                side = candidate_pack or op[PACK]
                multiply_candidate(u, b, before, more, units, units, side)
            for j in range(0, rows, lanes):
                update = logistic(load(wide, gates, j))
                reset = logistic(load(wide, gates, j + rows))
                write(gates, j, update, rows - j)
                write(gates, j + rows, reset, rows - j)
                if after_product:
                    value = fma(reset, load(wide, more, j), load(wide, candidate, j))
                    write(candidate, j, value, rows - j)
                else:
                    write(more, j, reset * load(wide, before, j), rows - j)
            if not after_product:
                side = candidate_pack or op[PACK]
                multiply_candidate(u, u, more, candidate, units, units, side)
            for j in range(0, rows, lanes):
                update, new = load(wide, gates, j), tanh(load(wide, candidate, j))
                write(candidate, j, new, rows - j)
                old = load(wide, before, j)
                if after_product:
                    state = fma(update, old - new, new)
                else:
                    state = fma(update, new - old, old)
                write(after, j, select(alive(lengths, j, step), state, old), rows - j)
        if not reverse:
            hold(h, last + 1, steps + 1, last, rows)

    return gru


@kernel(numbers=["sequence", "pack", "candidate_pack"])
def gru_gradient(t, sequence, rows, pack, candidate_pack):
    """Backward through time, the reset gate before the product.

    op: z, w, u, h, extra, dy, dh, lengths, dz, extra, dh, scratch, steps, units, reverse, truncate.
    """
    return _gru_gradient(t, rows, False)


@kernel(numbers=["sequence", "pack", "candidate_pack"])
def gru_after_gradient(t, sequence, rows, pack, candidate_pack):
    """The same, the reset gate after it; extra becomes the gradient of u h + b."""
    return _gru_gradient(t, rows, True)


def _gru_gradient(t, rows, after_product):
    wide, lanes, size, width, write = t.wide, t.wide.lanes, t.size, t.width, t.write
    time = _time(t)
    longest, alive, clear, add, cut = time.longest, time.alive, time.clear, time.add, time.cut
    multiply = transposed_product(t, rows)

    def gru_gradient(op, frame, slot):
        z, w, u = slot + op[0], frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        h, extra, dy, dh = slot + op[3], slot + op[4], slot + op[5], slot + op[6]
        lengths, dz, scratch = slot + op[7], slot + op[8], slot + op[11]
        steps, units, reverse, truncate = op[12], op[13], op[14], op[15]
        sequence = op[PACK - 3]
        rows, last = units * width, longest(lengths, steps)
        for i in range(steps):
            step = i if reverse else steps - 1 - i
            if sequence:
                add(dh, dy + step * rows * size, rows)
            before = h + (step + reverse) * rows * size
            more = extra + step * rows * size
            gates, d = z + step * 3 * rows * size, dz + step * 3 * rows * size
            if step >= last:
                clear(d, 3 * rows)
                clear(more, rows)  # it is multiplied by these zeros
                continue
            for j in range(0, rows, lanes):
                here, carried = alive(lengths, j, step), load(wide, dh, j)
                update, new = load(wide, gates, j), load(wide, gates, j + 2 * rows)
                old = load(wide, before, j)
                if after_product:
                    dnew, dupdate, kept = carried * (1.0 - update), carried * (old - new), update
                else:
                    dnew, dupdate, kept = carried * update, carried * (new - old), 1.0 - update
                dnew = select(here, dnew * (1.0 - new * new), 0.0)
                dupdate = select(here, dupdate * (update * (1.0 - update)), 0.0)
                if after_product:
                    reset = load(wide, gates, j + rows)
                    dreset = dnew * load(wide, more, j) * (reset * (1.0 - reset))
                    write(d, j + rows, select(here, dreset, 0.0), rows - j)
                    write(more, j, dnew * reset, rows - j)
                write(d, j, dupdate, rows - j)
                write(d, j + 2 * rows, dnew, rows - j)
                write(dh, j, select(here, carried * kept, carried), rows - j)
            if after_product:
                multiply(u, more, dh, units, units, op[PACK], True)
            else:
                dnews = d + 2 * rows * size
                multiply(u, dnews, scratch, units, units, op[PACK], False)
                for j in range(0, rows, lanes):
                    here, reset = alive(lengths, j, step), load(wide, gates, j + rows)
                    dreset = load(wide, scratch, j)
                    carried = load(wide, dh, j) + dreset * reset
                    dreset = dreset * load(wide, before, j) * (reset * (1.0 - reset))
                    write(d, j + rows, select(here, dreset, 0.0), rows - j)
                    write(dh, j, carried, rows - j)
            multiply(w, d, dh, units, 2 * units, op[PACK_BEFORE], True)
            cut(dh, lengths, step, steps, reverse, truncate, rows)

    return gru_gradient
