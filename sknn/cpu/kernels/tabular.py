"""Layers for tables: factors and slopes by unit, embeddings of numbers, block-diagonal products.

All of them go over the samples of a block, and sums over a unit's inputs are chains of
multiply-adds in their order at every block width, so that a sample's result does not depend on the
batch it comes in.
"""

from math import pi

from .activations import FUNCTIONS
from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    PACK,
    PARAMETERS,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .functions import functions
from .simd import (
    Tile,
    bits_to_float64,
    fma,
    get,
    iota,
    load,
    packed_rows,
    put,
    select,
    splat,
    store,
    strided_rows,
    tile_cross,
    tile_lane_sums,
    tile_multiply,
    tile_outer_rows,
    tile_row_sums,
    tile_splat,
    tile_store,
    tile_zero,
)

#: Units, or inputs, of a group that are computed at once: groups have few.
_ROWS = 4


@kernel
def multiply(t):
    """y = a times b, element by element. op: a, b, y, elements."""
    wide, lanes, write = t.wide, t.wide.lanes, t.write

    def multiply(op, frame, slot):
        a, b, y = slot + op[0], slot + op[1], slot + op[2]
        for i in range(0, op[3], lanes):
            write(y, i, load(wide, a, i) * load(wide, b, i), op[3] - i)

    return multiply


@kernel
def scale_units(t):
    """y = x times its unit's factor. op: x, s, y, units."""
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def scale_units(op, frame, slot):
        x, s, y = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        for unit in range(op[3]):
            factor = splat(vector, get(real, s, unit))
            for i in range(unit * width, (unit + 1) * width, lanes):
                store(y, i, load(vector, x, i) * factor)

    return scale_units


@kernel
def parametric_activation(t, name):
    """y = x + s (f(x) - x), with a slope s for each unit. op: x, s, y, units, parameter."""
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    f = register_jitable(FUNCTIONS[name](functions(vector))[0])

    def parametric_activation(op, frame, slot):
        x, s, y = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        p = splat(vector, bits_to_float64(op[4]))
        for unit in range(op[3]):
            slope = splat(vector, get(real, s, unit))
            for i in range(unit * width, (unit + 1) * width, lanes):
                value = load(vector, x, i)
                store(y, i, fma(slope, f(value, p) - value, value))

    return parametric_activation


@kernel
def parametric_activation_gradient(t, name, of_output):
    """dx = dy (1 + s (f'(x) - 1)); the slopes' gradients are sums of dy (f(x) - x).

    `of_output` says that f' is computed from f(x). op: x, s, dy, dx, slopes, units, parameter.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    f, derivative = map(register_jitable, FUNCTIONS[name](functions(vector)))

    def parametric_activation_gradient(op, frame, slot):
        x, s, dy = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        dx, slopes = slot + op[3], slot + op[4]
        p = splat(vector, bits_to_float64(op[6]))
        for unit in range(op[5]):
            slope = splat(vector, get(real, s, unit))
            for i in range(unit * width, (unit + 1) * width, lanes):
                value, gradient = load(vector, x, i), load(vector, dy, i)
                y = f(value, p)
                change = derivative(y if of_output else value, p) - 1.0
                store(slopes, i, gradient * (y - value))
                store(dx, i, fma(slope, gradient * change, gradient))

    return parametric_activation_gradient


@kernel
def unit_gradient(t):
    """The sums of dz over the samples, of as many units at once as a vector has lanes.

    op: first byte of the slice in the parameter, its byte in the gradient, elements in it, byte of
    the parameter, dz, units.
    """
    wide, width, size, lanes = t.wide, t.width, t.size, t.wide.lanes
    tile = Tile(wide, lanes, 1)

    def unit_gradient(op, frame, slot):
        g, first, one = frame[GRADIENT] + op[1], (op[0] - op[3]) // size, splat(wide, 1.0)
        for unit in range(first, first + op[2], lanes):
            sums, block = tile_zero(tile), frame[WORKSPACE]
            for _ in range(0, frame[COUNT], width):
                for n in range(0, width, lanes):
                    sums = tile_multiply(sums, block + op[4], unit * width + n, width, one)
                block += frame[WORKSPACE_STRIDE]
            inside = iota(wide) < splat(wide, op[5] - unit)
            total = select(inside, tile_lane_sums(sums), 0.0)
            if frame[ACCUMULATE]:
                total = total + load(wide, g, unit - first)
            store(g, unit - first, total)

    return unit_gradient


# --- embeddings of numbers


@kernel
def periodic(t):
    """y = cos(2 pi w x + b), for each frequency w of each feature.

    op: x, w, b, y, features, frequencies.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    cosine = functions(vector).cosine

    def periodic(op, frame, slot):
        x, y, many = slot + op[0], slot + op[3], op[5]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        for feature in range(op[4]):
            for k in range(feature * many, (feature + 1) * many):
                slope, start = splat(vector, get(real, w, k)), get(real, b, k) * (0.5 / pi)
                for n in range(0, width, lanes):
                    turns = fma(load(vector, x, feature * width + n), slope, splat(vector, start))
                    store(y, k * width + n, cosine(turns))

    return periodic


@kernel
def periodic_gradient(t):
    """What the phases, the frequencies and x get: sums of the slopes -dy sin(2 pi w x + b).

    Those of the frequencies are sums of products, slopes times 2 pi x, and dx is the sum over the
    frequencies of slopes times 2 pi w.

    op: x, w, b, dy, dx, slopes, products, features, frequencies.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    sine = functions(vector).sine

    def periodic_gradient(op, frame, slot):
        x, dy, dx, many = slot + op[0], slot + op[3], slot + op[4], op[8]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        slopes, products = slot + op[5], slot + op[6]
        for feature in range(op[7]):
            for n in range(0, width, lanes):
                i, total = feature * width + n, splat(vector, 0.0)
                value = load(vector, x, i)
                for k in range(feature * many, (feature + 1) * many):
                    frequency, j = splat(vector, get(real, w, k)), k * width + n
                    start = splat(vector, get(real, b, k) * (0.5 / pi))
                    slope = sine(fma(value, frequency, start)) * load(vector, dy, j) * -1.0
                    store(slopes, j, slope)
                    store(products, j, slope * value * (2.0 * pi))
                    total = fma(slope, frequency, total)
                store(dx, i, total * (2.0 * pi))

    return periodic_gradient


def _bins(t):
    """Return a function for where a bin begins and one over its width, which is 0 for an empty one.

    Its arguments are the address of the edges, and the number of the bin's first one.
    """
    vector, real = t.vector, t.real

    @register_jitable
    def bin_of(edges, k):
        low, high = get(real, edges, k), get(real, edges, k + 1)
        inverse = real(1.0) / (high - low) if high > low else real(0.0)
        return splat(vector, low), splat(vector, inverse)

    return bin_of


@kernel
def piecewise_linear(t):
    """y = how far x is in each bin of its feature: 0 below it, 1 above it.

    It goes on below the first bin and above the last one. An empty bin gives 0. op: x, edges, y,
    features, bins.
    """
    vector, width, lanes, bin_of = t.vector, t.width, t.vector.lanes, _bins(t)

    def piecewise_linear(op, frame, slot):
        x, edges, y, bins = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2], op[4]
        for feature in range(op[3]):
            for k in range(bins):
                low, inverse = bin_of(edges, feature * (bins + 1) + k)
                for n in range(0, width, lanes):
                    value = (load(vector, x, feature * width + n) - low) * inverse
                    if k > 0:
                        value = select(value < 0.0, 0.0, value)
                    if k < bins - 1:
                        value = select(value > 1.0, 1.0, value)
                    store(y, (feature * bins + k) * width + n, value)

    return piecewise_linear


@kernel
def piecewise_linear_gradient(t):
    """dx = the sum of dy over the width of the bin that x is in. op: x, edges, dy, dx, ..."""
    vector, width, lanes, bin_of = t.vector, t.width, t.vector.lanes, _bins(t)

    def piecewise_linear_gradient(op, frame, slot):
        x, edges, dy = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        dx, bins = slot + op[3], op[5]
        for feature in range(op[4]):
            for n in range(0, width, lanes):
                total = splat(vector, 0.0)
                for k in range(bins):
                    low, inverse = bin_of(edges, feature * (bins + 1) + k)
                    value = (load(vector, x, feature * width + n) - low) * inverse
                    slope = load(vector, dy, (feature * bins + k) * width + n) * inverse
                    if k > 0:
                        slope = select(value < 0.0, 0.0, slope)
                    if k < bins - 1:
                        slope = select(value > 1.0, 0.0, slope)
                    total = total + slope
                store(dx, feature * width + n, total)

    return piecewise_linear_gradient


# --- block-diagonal products; the weights of all groups are packed as one matrix of (groups *
# inputs) rows: [units / pack][groups][inputs][pack]


@kernel(numbers=["pack"])
def grouped_dense(t, pack):
    """z = w x + b for each group of inputs. op: x, w, b, z, groups, inputs, units."""
    return _grouped_dense(t, True)


@kernel(numbers=["pack"])
def grouped_dense_unbiased(t, pack):
    """z = w x for each group of inputs. op: x, w, z, groups, inputs, units."""
    return _grouped_dense(t, False)


def _grouped_dense(t, biased):
    tile, width, size = t.tile(_ROWS), t.width, t.size
    rows, span = tile.rows, tile.vectors * t.vector.lanes
    o = 3 if biased else 2

    def grouped_dense(op, frame, slot):
        x, z = slot + op[0], slot + op[o]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        groups, inputs, units, pack = op[o + 1], op[o + 2], op[o + 3], op[PACK]
        for _ in range(groups):
            for unit in range(0, units, rows):
                weights = packed_rows(tile, w, unit, units - 1, pack, groups * inputs * pack)
                for n in range(0, width, span):
                    sums = tile_splat(tile, b, unit) if biased else tile_zero(tile)
                    for k in range(inputs):
                        sums = tile_outer_rows(sums, weights, k * pack, x, k * width + n)
                    tile_store(sums, z, unit * width + n, width, units - unit)
            w += inputs * pack * size
            b += units * size
            x += inputs * width * size
            z += units * width * size

    return grouped_dense


@kernel(numbers=["pack"])
def grouped_dense_input_gradient(t, pack):
    """dx = w^T dz for each group. op: dz, w, dx, groups, inputs, units."""
    tile, width, size = t.tile(_ROWS), t.width, t.size
    rows, span = tile.rows, tile.vectors * t.vector.lanes

    def grouped_dense_input_gradient(op, frame, slot):
        dz, w, dx = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        groups, inputs, units, pack = op[3], op[4], op[5], op[PACK]
        for _ in range(groups):
            for k in range(0, inputs, rows):
                # of the first pack; in the others they lie further by a constant distance
                weights = strided_rows(tile, w, k * pack, pack)
                for n in range(0, width, span):
                    sums = tile_zero(tile)
                    for first in range(0, units, pack):
                        column = first * (groups * inputs - 1)
                        for unit in range(first, min(first + pack, units)):
                            sums = tile_outer_rows(
                                sums, weights, column + unit, dz, unit * width + n
                            )
                    tile_store(sums, dx, k * width + n, width, inputs - k)
            w += inputs * pack * size
            dz += units * width * size
            dx += inputs * width * size

    return grouped_dense_input_gradient


@kernel(numbers=["pack"])
def grouped_dense_gradient(t, pack):
    """dw = the sum over the samples of dz x^T, for each group: lane by lane, summed up at the end.

    op: first byte of the slice in the parameter, its byte in the gradient, elements in it, byte of
    the parameter, x, dz, groups, inputs, units.
    """
    width, size, real, lanes = t.width, t.size, t.real, t.vector.lanes
    tile = Tile(t.vector, _ROWS, _ROWS)

    def grouped_dense_gradient(op, frame, slot):
        g, pack, inputs, units = frame[GRADIENT] + op[1], op[PACK], op[7], op[8]
        row = (op[0] - op[3]) // (pack * size)
        end = row + op[2] // pack
        if not frame[ACCUMULATE]:
            for i in range(op[2]):
                put(g, i, real(0.0))
        while row < end:
            place = row // inputs
            first, group = place // op[6] * pack, place % op[6]
            k, last = row % inputs, min(row % inputs + end - row, inputs)
            row += last - k
            most = min(units - first, pack)
            while k < last:
                for unit in range(0, most, _ROWS):
                    sums, block = tile_zero(tile), frame[WORKSPACE]
                    i, j = group * inputs + k, group * units + first + unit
                    for _ in range(0, frame[COUNT], width):
                        x, dz = block + op[4], block + op[5]
                        for n in range(0, width, lanes):
                            sums = tile_cross(
                                sums, dz, j * width + n, width, x, i * width + n, width
                            )
                        block += frame[WORKSPACE_STRIDE]
                    tile_row_sums(sums, g, unit, pack, most - unit, last - k)
                k += _ROWS
                g += min(_ROWS, last - (k - _ROWS)) * pack * size

    return grouped_dense_gradient
