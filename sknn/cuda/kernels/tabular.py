"""Networks for tables: factors of units, dense layers side by side, and embeddings of numbers.

What is small or thin here is made by threads that each have a sample, not as a tiled product.
"""

import math

from .activations import FUNCTIONS
from .dense import gradient_store, task_place
from .frame import (
    COUNT,
    MEETING,
    PACKS,
    PARAMETERS,
    RANK,
    SIZE,
    SLOT,
    TASK_COLUMNS,
    TASK_DEPTH,
    TASK_PART,
    TASK_ROWS,
    WORKSPACE_STRIDE,
    kernel,
)
from .product import Side, product
from .random import turns_of


@kernel
def scale_units(t):
    """y = x times the factor of the unit. o: x, s, y, units."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width

    def scale_units(team, frame, o, scratch):
        x, s = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        y = team[SLOT] + constant(o, 2)
        for i in range(team[RANK], constant(o, 3) * width, team[SIZE]):
            put(y, i, get(x, i) * get(s, divide(i, width)))

    return scale_units


@kernel
def multiply(t):
    """y = a b, element by element. o: a, b, y, elements."""
    get, put, constant = t.get, t.put, t.constant

    def multiply(team, frame, o, scratch):
        a, b = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        y = team[SLOT] + constant(o, 2)
        for i in range(team[RANK], constant(o, 3), team[SIZE]):
            put(y, i, get(a, i) * get(b, i))

    return multiply


@kernel
def parametric_activation(t, function):
    """y = x + s (f(x) - x), s the slope of the unit. o: x, s, y, units, parameter."""
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    width, fma, f = t.width, t.fma, t.jit(FUNCTIONS[function](t)[0])

    def parametric_activation(team, frame, o, scratch):
        x, s = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        y, p = team[SLOT] + constant(o, 2), bits(constant(o, 4))
        for i in range(team[RANK], constant(o, 3) * width, team[SIZE]):
            value = get(x, i)
            put(y, i, fma(get(s, divide(i, width)), f(value, p) - value, value))

    return parametric_activation


@kernel
def parametric_activation_gradient(t, function, of_output):
    """dx = dy (1 + s (f'(x) - 1)), and the slope's gradient for each sample, dy (f(x) - x).

    `of_output` says that f' is computed from f(x). o: x, s, dy, dx, slopes, units, parameter.
    """
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    width, fma, one = t.width, t.fma, t.real(1)
    f, derivative = map(t.jit, FUNCTIONS[function](t))

    def parametric_activation_gradient(team, frame, o, scratch):
        x, s = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        dy, dx = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        slopes, p = team[SLOT] + constant(o, 4), bits(constant(o, 6))
        for i in range(team[RANK], constant(o, 5) * width, team[SIZE]):
            value, gradient = get(x, i), get(dy, i)
            output = f(value, p)
            slope = derivative(output if of_output else value, p)
            put(dx, i, gradient * fma(get(s, divide(i, width)), slope - one, one))
            put(slopes, i, gradient * (output - value))

    return parametric_activation_gradient


# --- dense layers side by side: kernels are [groups][inputs][units], rows in whole fours


@kernel(skips=[0])
def grouped_dense(t):
    """z = w x + b for each group. o: x, w, b, z, groups, inputs, units."""
    return _grouped_dense(t, 3)


@kernel(skips=[0])
def grouped_dense_unbiased(t):
    """z = w x for each group. o: x, w, z, groups, inputs, units."""
    return _grouped_dense(t, 2)


def _grouped_dense(t, z):
    """Return what makes z, whose place in o is `z`. A thread has four units of a group's sample."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    size, width, fma, real, numbers, biased = t.size, t.width, t.fma, t.real, t.local(4), z == 3

    def grouped_dense(team, frame, o, scratch):
        x, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        b, out = constant(frame, PARAMETERS) + constant(o, 2), team[SLOT] + constant(o, z)
        inputs, units, stride = constant(o, z + 2), constant(o, z + 3), constant(o, PACKS)
        fours, sums = stride >> 2, numbers()
        for i in range(team[RANK], constant(o, z + 1) * fours * width, team[SIZE]):
            strip, n = divide(i, width), i & (width - 1)
            group = divide(strip, fours)
            unit = (strip - group * fours) * 4
            for e in range(4):
                sums[e] = real(0)
            for k in range(group * inputs, (group + 1) * inputs):
                value, weights = get(x, k * width + n), w + (k * stride + unit) * size
                for e in range(4):
                    sums[e] = fma(get(weights, e), value, sums[e])
            for e in range(4):
                if unit + e < units:
                    place, total = group * units + unit + e, sums[e]
                    if biased:
                        total += get(b, place)
                    put(out, place * width + n, total)

    return grouped_dense


@kernel(skips=[0])
def grouped_dense_input_gradient(t):
    """dx = w^T dz for each group. o: dz, w, dx, groups, inputs, units.

    A thread has four inputs of a group, for one sample.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    size, width, fma, real, numbers = t.size, t.width, t.fma, t.real, t.local(4)

    def grouped_dense_input_gradient(team, frame, o, scratch):
        dz, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        dx, inputs, units = team[SLOT] + constant(o, 2), constant(o, 4), constant(o, 5)
        fours, stride, sums = (inputs + 3) >> 2, constant(o, PACKS), numbers()
        for i in range(team[RANK], constant(o, 3) * fours * width, team[SIZE]):
            strip, n = divide(i, width), i & (width - 1)
            group = divide(strip, fours)
            first, end = group * inputs + (strip - group * fours) * 4, (group + 1) * inputs
            for e in range(4):
                sums[e] = real(0)
            for unit in range(units):
                slope = get(dz, (group * units + unit) * width + n)
                for e in range(4):
                    row = w + min(first + e, end - 1) * stride * size
                    sums[e] = fma(get(row, unit), slope, sums[e])
            for e in range(4):
                if first + e < end:
                    put(dx, (first + e) * width + n, sums[e])

    return grouped_dense_input_gradient


#: What a team has besides while it makes a gradient: the group, and where its rows begin in a task.
_GROUP, _ROW = range(MEETING + 1, MEETING + 3)


@kernel(skips=[0])
def grouped_dense_gradient(t):
    """dw = sum over the batch of x dz^T, of the inputs and the units of the same group.

    o: x, dz, groups, inputs, units. Those rows of a task that are of one group are one product.
    """
    get, constant, divide, real = t.get, t.constant, t.divide, t.real
    size, width, mask, log = t.size, t.width, t.width - 1, t.width.bit_length() - 1
    place, put_sums = task_place(t), gradient_store(t)

    @t.jit
    def sample_of(frame, o, row, k):
        k += constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        return get(row + (k >> log) * constant(frame, WORKSPACE_STRIDE), k & mask)

    def inputs_of(team, frame, o, m):
        row, _ = place(o)
        return team[SLOT] + constant(o, 0) + (row + team[_ROW] + m) * width * size, 0, 0

    def value(team, frame, o, x, _, __, k):
        return sample_of(frame, o, x, k)

    def gradients_of(team, frame, o, n):
        _, column = place(o)
        unit, units = column + n, constant(o, 4)
        dz = team[SLOT] + constant(o, 1) + (team[_GROUP] * units + unit) * width * size
        return dz, 1 if unit < units else 0, 0  # not all of a row's last four are units

    def gradient(team, frame, o, dz, inside, _, k):
        return sample_of(frame, o, dz, k) if inside else real(0)

    def store(team, frame, o, row, column, a, b, c, d):
        put_sums(team, frame, o, team[_ROW] + row, column, a, b, c, d)

    multiply = product(t, Side(inputs_of, value, True), Side(gradients_of, gradient, True), store)

    def grouped_dense_gradient(team, frame, o, scratch):
        first, _ = place(o)
        rows, columns, inputs = constant(o, TASK_ROWS), constant(o, TASK_COLUMNS), constant(o, 3)
        begin = constant(o, TASK_PART) * constant(o, TASK_DEPTH)
        depth = max(min(team[COUNT] - begin, constant(o, TASK_DEPTH)), 0)
        row = 0
        while row < rows:
            group = divide(first + row, inputs)
            here = min((group + 1) * inputs - first, rows) - row
            multiply((*team, group, row), frame, o, scratch, here, columns, depth)
            row += here

    return grouped_dense_gradient


# --- embeddings of numbers


def _turns_of_phase(t):
    """Return the word for where in a turn the phase 2 pi w x + b is, from 0 to 1."""
    fma, real = t.fma, t.real
    bits = 23 if t.size == 4 else 52
    zero, one, limit, magic = map(real, (0, 1, 2.0 ** (bits - 1), 1.5 * 2.0**bits))
    inverse = real(0.5 / math.pi)

    @t.jit
    def turns_of_phase(w, x, b):
        turns = fma(w, x, b * inverse)
        if abs(turns) > limit:  # it has no fraction; infinity gives NaN
            turns -= turns
        turns -= (turns + magic) - magic  # the nearest integer
        return turns + one if turns < zero else turns

    return turns_of_phase


@kernel
def periodic(t):
    """y = cos(2 pi w x + b), of each feature some. o: x, w, b, y, features, frequencies."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    phase, cosine_and_sine = _turns_of_phase(t), turns_of(t)

    def periodic(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 3)
        w, b = constant(frame, PARAMETERS) + constant(o, 1), constant(frame, PARAMETERS)
        b, frequencies = b + constant(o, 2), constant(o, 5)
        for i in range(team[RANK], constant(o, 4) * frequencies * width, team[SIZE]):
            wave, n = divide(i, width), i & (width - 1)
            value = get(x, divide(wave, frequencies) * width + n)
            cosine, _ = cosine_and_sine(phase(get(w, wave), value, get(b, wave)))
            put(y, i, cosine)

    return periodic


@kernel
def periodic_gradient(t):
    """The gradients by the phase, for each sample, by w, and by x, a sum over the frequencies.

    o: x, w, b, dy, dx, slopes, products, features, frequencies. A thread has a feature's sample.
    """
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    phase, cosine_and_sine, fma = _turns_of_phase(t), turns_of(t), t.fma
    zero, turn = t.real(0), t.real(2 * math.pi)

    def periodic_gradient(team, frame, o, scratch):
        x, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        b, dy = constant(frame, PARAMETERS) + constant(o, 2), team[SLOT] + constant(o, 3)
        dx, slopes = team[SLOT] + constant(o, 4), team[SLOT] + constant(o, 5)
        products, frequencies = team[SLOT] + constant(o, 6), constant(o, 8)
        for i in range(team[RANK], constant(o, 7) * width, team[SIZE]):
            feature, n = divide(i, width), i & (width - 1)
            value, total = get(x, i), zero
            for wave in range(feature * frequencies, (feature + 1) * frequencies):
                place, weight = wave * width + n, get(w, wave)
                _, sine = cosine_and_sine(phase(weight, value, get(b, wave)))
                slope = -(get(dy, place) * sine)
                put(slopes, place, slope)
                put(products, place, slope * (turn * value))
                total = fma(slope, turn * weight, total)
            put(dx, i, total)

    return periodic_gradient


def _place_in(t):
    """Return the word for where x is in a bin, from 0 to 1, and for one over the bin's width.

    ``place_in(edges, k, x)``: the bin lies between the edges k and k + 1. A feature has an edge
    more than it has bins. Both are 0 where the bin has no width.
    """
    get, zero, one = t.get, t.real(0), t.real(1)

    @t.jit
    def place_in(edges, k, x):
        low, high = get(edges, k), get(edges, k + 1)
        inverse = one / (high - low) if high > low else zero
        return (x - low) * inverse, inverse

    return place_in


@kernel
def piecewise_linear(t):
    """How far x is in each bin of its feature, from 0 to 1; beyond those in the outermost ones.

    o: x, edges, y, features, bins. Of a bin without width it is 0.
    """
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    zero, one, place_in = t.real(0), t.real(1), _place_in(t)

    def piecewise_linear(team, frame, o, scratch):
        x, edges = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        y, bins = team[SLOT] + constant(o, 2), constant(o, 4)
        for i in range(team[RANK], constant(o, 3) * bins * width, team[SIZE]):
            row, n = divide(i, width), i & (width - 1)
            feature = divide(row, bins)
            k = row - feature * bins
            value, _ = place_in(edges, row + feature, get(x, feature * width + n))
            if k > 0 and value < zero:
                value = zero
            if k < bins - 1 and value > one:
                value = one
            put(y, i, value)

    return piecewise_linear


@kernel
def piecewise_linear_gradient(t):
    """dx = the sum of dy over the width of the bin that x is in.

    o: x, edges, dy, dx, features, bins. A thread has a feature's sample.
    """
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    zero, one, place_in = t.real(0), t.real(1), _place_in(t)

    def piecewise_linear_gradient(team, frame, o, scratch):
        x, edges = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        dy, dx = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        bins = constant(o, 5)
        for i in range(team[RANK], constant(o, 4) * width, team[SIZE]):
            feature, n = divide(i, width), i & (width - 1)
            total = zero
            for k in range(bins):
                row = feature * bins + k
                value, inverse = place_in(edges, row + feature, get(x, i))
                if (k == 0 or value >= zero) and (k == bins - 1 or value <= one):
                    total += get(dy, row * width + n) * inverse
            put(dx, i, total)

    return piecewise_linear_gradient
