"""Radial basis functions: squared distances to centers, functions of them, and their gradients.

The centers are packed as the weights of dense layers are. A distance is one chain of multiply-adds
in the order of the inputs at every block width, so that a sample's result does not depend on the
batch it comes in; of differences, since |x|^2 - 2 x c + |c|^2 cancels where they are small.
"""

import numpy as np
from numba.core import types

from .compiling import register_jitable
from .dense import transposed_product
from .frame import PACK, PARAMETERS, kernel
from .functions import functions
from .simd import (
    fma,
    get,
    load,
    packed_rows,
    select,
    splat,
    sqrt,
    store,
    tile_load,
    tile_squares_rows,
    tile_store,
    tile_zero,
)

_DEPTH_BYTES = 8192  # of x, while a tile goes over the samples of a block


def _gaussian(f, tiny):
    exp = f.exp
    return lambda u: exp(u * -0.5), lambda u, a: a * -0.5


def _multiquadric(f, tiny):
    return lambda u: sqrt(u + 1.0), lambda u, a: 0.5 / a


def _inverse_multiquadric(f, tiny):
    return lambda u: 1.0 / sqrt(u + 1.0), lambda u, a: a * a * a * -0.5


def _thin_plate(f, tiny):
    # written so that NaN passes; below the normal numbers, where there is no logarithm, it is zero
    log = f.log

    def value(u):
        return select(u < tiny, 0.0, u * log(u) * 0.5)

    def derivative(u, a):
        return select(u < tiny, 0.0, log(u) * 0.5 + 0.5)

    return value, derivative


#: Each function of u, the squared distance in units of the width, and its derivative, of u and the
#: function's value.
FUNCTIONS = {
    "gaussian": _gaussian,
    "multiquadric": _multiquadric,
    "inverse_multiquadric": _inverse_multiquadric,
    "thin_plate": _thin_plate,
}


def _functions(t, name):
    """Return a function and its derivative for the vectors of a target."""
    tiny = float(np.finfo("f4" if t.real == types.float32 else "f8").tiny)
    return map(register_jitable, FUNCTIONS[name](functions(t.vector), tiny))


@kernel(numbers=["pack"])
def square_distances(t, rows, pack):
    """z_j = sum_i (x_i - w_ij)^2. op: x, w, z, inputs, units."""
    distances = _distances_of_one(t) if t.width == 1 else _distances(t, rows)

    def square_distances(op, frame, slot):
        w, x, z = frame[PARAMETERS] + op[1], slot + op[0], slot + op[2]
        distances(w, x, z, op[3], op[4], op[PACK])

    return square_distances


def _distances(t, rows):
    """Return a function that makes z from w and x for a block: like a dense layer's product."""
    tile, width = t.tile(rows), t.width
    tile_rows, span = tile.rows, tile.vectors * t.vector.lanes
    # As there, a tile that is narrower than a block goes over parts of the inputs that stay in the
    # L1 cache; the sums wait in z, to the bit.
    depth = _DEPTH_BYTES // (width * t.size) if span < width else 1 << 30

    @register_jitable
    def distances(w, x, z, inputs, units, pack):
        for first in range(0, inputs, depth):
            last = min(first + depth, inputs)
            for unit in range(0, units, tile_rows):
                centers = packed_rows(tile, w, unit, units - 1, pack, inputs * pack)
                for n in range(0, width, span):
                    sums = tile_zero(tile)
                    if first:
                        sums = tile_load(tile, z, unit * width + n, width)
                    for k in range(first, last):
                        sums = tile_squares_rows(sums, centers, k * pack, x, k * width + n)
                    tile_store(sums, z, unit * width + n, width, units - unit)

    return distances


def _distances_of_one(t):
    """The same for one sample, going over units."""
    wide, lanes, real, write = t.wide, t.wide.lanes, t.real, t.write

    @register_jitable
    def distances(w, x, z, inputs, units, pack):
        for unit in range(0, units, lanes):
            side = unit & (pack - 1)
            total, place = splat(wide, 0.0), (unit - side) * inputs + side
            for k in range(inputs):
                difference = splat(wide, get(real, x, k)) - load(wide, w, place + k * pack)
                total = fma(difference, difference, total)
            write(z, unit, total, units - unit)

    return distances


@kernel(numbers=["pack"])
def square_distances_gradient(t, rows, pack):
    """dx_i = sum_j (w_ij - x_i) dz_j. op: x, w, dz, dx, inputs, units.

    dz has the factor -2 (see radial_gradient).
    """
    multiply = transposed_product(t, rows)
    vector, width, lanes = t.vector, t.width, t.vector.lanes

    def square_distances_gradient(op, frame, slot):
        x, w, dz, dx = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2], slot + op[3]
        inputs, units = op[4], op[5]
        multiply(w, dz, dx, inputs, units, op[PACK], False)
        for n in range(0, width, lanes):
            total = splat(vector, 0.0)
            for i in range(n, units * width, width):
                total = total - load(vector, dz, i)
            for i in range(n, inputs * width, width):
                store(dx, i, fma(total, load(vector, x, i), load(vector, dx, i)))

    return square_distances_gradient


@kernel
def radial(t, function):
    """a_j = f(z_j / s_j^2). op: z, s, a, units."""
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    value, _ = _functions(t, function)

    def radial(op, frame, slot):
        z, s, a = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2]
        for unit in range(op[3]):
            width_of_unit = splat(vector, get(real, s, unit))
            inverse = 1.0 / (width_of_unit * width_of_unit)
            for i in range(unit * width, (unit + 1) * width, lanes):
                store(a, i, value(load(vector, z, i) * inverse))

    return radial


@kernel
def radial_gradient(t, function):
    """dz_j = -2 da_j f'(u) / s_j^2 and ds_j = da_j f'(u) (-2 u / s_j), where u = z_j / s_j^2.

    op: z, s, a, da, dz, ds, units. With the factor -2, dz is what the gradients of the centers and
    of the inputs are made of: sums of dz (x - w), and of dz (w - x).
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    _, derivative = _functions(t, function)

    def radial_gradient(op, frame, slot):
        z, s, a, da = slot + op[0], frame[PARAMETERS] + op[1], slot + op[2], slot + op[3]
        dz, ds = slot + op[4], slot + op[5]
        for unit in range(op[6]):
            width_of_unit = splat(vector, get(real, s, unit))
            inverse = 1.0 / (width_of_unit * width_of_unit)
            for i in range(unit * width, (unit + 1) * width, lanes):
                u = load(vector, z, i) * inverse
                slope = load(vector, da, i) * derivative(u, load(vector, a, i)) * -2.0
                store(dz, i, slope * inverse)
                store(ds, i, slope * u / width_of_unit)

    return radial_gradient


@kernel
def weigh_samples(t):
    """y = x times the weight of the sample. op: x, weights, y, units."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes

    def weigh_samples(op, frame, slot):
        x, weights, y = slot + op[0], slot + op[1], slot + op[2]
        for n in range(0, width, lanes):
            weight = load(vector, weights, n)
            for i in range(n, op[3] * width, width):
                store(y, i, load(vector, x, i) * weight)

    return weigh_samples
