"""Radial basis functions: squared distances to centers, functions of them, and their gradients.

The centers lie as the weights of dense layers do. A distance is a sum of squared differences in the
order of the inputs: |x|^2 - 2 x c + |c|^2 cancels where they are small.
"""

import math

from .frame import PACKS, PARAMETERS, RANK, SIZE, SLOT, kernel
from .product import Side, product

#: Inputs that a thread makes the gradient of, for one sample.
_ROWS = 8


@kernel(skips=[0, 1])
def square_distances(t):
    """z_j = sum_i (x_i - w_ij)^2. o: x, w, z, inputs, units."""
    get, put_four, constant, size, width = t.get, t.put_four, t.constant, t.size, t.width
    fma = t.fma

    def centers_of(team, frame, o, unit):
        w = constant(frame, PARAMETERS) + constant(o, 1) + unit * size
        return w, constant(o, PACKS), 0

    def center(team, frame, o, w, stride, _, k):
        return get(w, k * stride)

    def inputs_of(team, frame, o, n):
        return team[SLOT] + constant(o, 0) + n * size, 0, 0

    def value(team, frame, o, x, _, __, k):
        return get(x, k * width)

    def store(team, frame, o, unit, n, a, b, c, d):
        put_four(team[SLOT] + constant(o, 2), unit * width + n, a, b, c, d)

    def step(a, b, c):
        return fma(b - a, b - a, c)

    multiply = product(t, Side(centers_of, center), Side(inputs_of, value), store, step)

    def square_distances(team, frame, o, scratch):
        multiply(team, frame, o, scratch, constant(o, 4), width, constant(o, 3))

    return square_distances


@kernel(skips=[0, 1])
def square_distances_gradient(t):
    """dx_i = sum_j (w_ij - x_i) dz_j. o: x, w, dz, dx, inputs, units.

    dz has the factor -2 (see radial_gradient). It is a product and a sum of dz; a thread makes them
    together, for one sample and some inputs.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    size, width, fma, real, numbers = t.size, t.width, t.fma, t.real, t.local(_ROWS)

    def square_distances_gradient(team, frame, o, scratch):
        x, w = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        dz, dx = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        inputs, units, stride = constant(o, 4), constant(o, 5), constant(o, PACKS)
        sums = numbers()
        for i in range(team[RANK], ((inputs + _ROWS - 1) // _ROWS) * width, team[SIZE]):
            strip, n = divide(i, width), i & (width - 1)
            first, total = strip * _ROWS, real(0)
            for e in range(_ROWS):
                sums[e] = real(0)
            for unit in range(units):
                slope = get(dz, unit * width + n)
                total += slope
                for e in range(_ROWS):
                    row = min(first + e, inputs - 1)
                    sums[e] = fma(get(w + row * stride * size, unit), slope, sums[e])
            for e in range(_ROWS):
                if first + e < inputs:
                    place = (first + e) * width + n
                    put(dx, place, fma(-total, get(x, place), sums[e]))

    return square_distances_gradient


def _gaussian(t):
    minus_half = t.real(-0.5)
    return lambda u: math.exp(u * minus_half), lambda u, a: a * minus_half


def _multiquadric(t):
    half, one = t.real(0.5), t.real(1)
    return lambda u: math.sqrt(u + one), lambda u, a: half / a


def _inverse_multiquadric(t):
    minus_half, one = t.real(-0.5), t.real(1)
    return lambda u: one / math.sqrt(u + one), lambda u, a: a * a * a * minus_half


def _thin_plate(t):
    # written so that NaN passes; below the normal numbers it is zero, as on the CPU
    zero, half, tiny = map(t.real, (0, 0.5, 2.0 ** (-126 if t.size == 4 else -1022)))

    def value(u):
        return zero if u < tiny else u * math.log(u) * half

    def derivative(u, a):
        return zero if u < tiny else math.log(u) * half + half

    return value, derivative


#: Each makes a function of u, the squared distance in units of the width, and its derivative, of u
#: and the function's value.
FUNCTIONS = {
    "gaussian": _gaussian, "multiquadric": _multiquadric,
    "inverse_multiquadric": _inverse_multiquadric, "thin_plate": _thin_plate,
}  # fmt: skip


@kernel
def radial(t, function):
    """a_j = f(z_j / s_j^2). o: z, s, a, units."""
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    one, value = t.real(1), t.jit(FUNCTIONS[function](t)[0])

    def radial(team, frame, o, scratch):
        z, s = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        a = team[SLOT] + constant(o, 2)
        for i in range(team[RANK], constant(o, 3) * width, team[SIZE]):
            spread = get(s, divide(i, width))
            put(a, i, value(get(z, i) * (one / (spread * spread))))

    return radial


@kernel
def radial_gradient(t, function):
    """dz_j = -2 da_j f'(u) / s_j^2 and ds_j = da_j f'(u) (-2 u / s_j), where u = z_j / s_j^2.

    o: z, s, a, da, dz, ds, units. With the factor -2, dz is what the gradients of the centers and
    of the inputs are made of: sums of dz (x - w), and of dz (w - x).
    """
    get, put, constant, divide, width = t.get, t.put, t.constant, t.divide, t.width
    one, minus_two, derivative = t.real(1), t.real(-2), t.jit(FUNCTIONS[function](t)[1])

    def radial_gradient(team, frame, o, scratch):
        z, s = team[SLOT] + constant(o, 0), constant(frame, PARAMETERS) + constant(o, 1)
        a, da = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        dz, ds = team[SLOT] + constant(o, 4), team[SLOT] + constant(o, 5)
        for i in range(team[RANK], constant(o, 6) * width, team[SIZE]):
            spread = get(s, divide(i, width))
            inverse = one / (spread * spread)
            u = get(z, i) * inverse
            slope = get(da, i) * derivative(u, get(a, i)) * minus_two
            put(dz, i, slope * inverse)
            put(ds, i, slope * u / spread)

    return radial_gradient
