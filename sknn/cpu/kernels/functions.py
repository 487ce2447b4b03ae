"""Elementary functions on vectors, as polynomials: exp, log, tanh and their relatives.

Without Intel's SVML the compiler turns ``math.exp`` in a loop into one library call a lane. These
use multiply-adds only, so they give the same bits on every machine; the tests measure their error
in ulp. exp is zero below twice the smallest normal number. NaN in, NaN out.
"""

import math
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
from numba.core import types

from .compiling import register_jitable
from .simd import INTEGER, Vector, absolute, fma, reinterpret, select, splat


def _two_parts(value, mantissa_bits):
    """Split a constant into one part with few bits and the rest, for exact range reduction."""
    scale = 2.0 ** (mantissa_bits - 1)
    high = np.round(value * scale) / scale
    return high, value - high


@lru_cache
def functions(vector):
    """Return the elementary functions for one vector type, as compilable functions.

    exp and expm1 reduce the argument to r = x - n ln 2, |r| <= ln(2)/2, and sum the Taylor series
    of e^r - 1; log splits off the exponent and sums the series of 2 atanh(f / (2 + f)).
    """
    single = vector.real == types.float32
    mantissa, bias = (23, 127) if single else (52, 1023)
    integers = Vector(INTEGER[vector.real], vector.lanes)
    magic = 1.5 * 2.0**mantissa  # adding it leaves the nearest integer in the lowest bits
    magic_bits = int((np.float32 if single else np.float64)(magic).view(f"i{4 if single else 8}"))
    log2e = 1 / math.log(2)
    ln2_high, ln2_low = _two_parts(math.log(2), 12 if single else 32)
    if not single:  # the low part to full precision: ln 2 has more digits than a float64
        ln2_low = float(np.longdouble("0.693147180559945309417232121458") - np.longdouble(ln2_high))
    exp_max = (bias + 1) * math.log(2) * (1 + 2.0**-20)
    exp_min = -(bias - 2) * math.log(2)
    c = tuple(1 / math.factorial(k) for k in range(2, 8 if single else 14))
    n_log = 5 if single else 11
    a = tuple(2 / (2 * k + 1) for k in range(1, n_log))
    sqrt_half_bits = int(
        (np.float32 if single else np.float64)(math.sqrt(0.5)).view(f"i{4 if single else 8}")
    )
    n_exp, n_log = len(c), len(a)
    # sin(r) / r and cos(r), by turns, |r| <= pi / 4
    terms = 5 if single else 9
    turn = tuple((-1.0) ** (k // 2) / math.factorial(k + 1 - k % 2 * 2) for k in range(2 * terms))
    n_turn = len(turn)
    # sin(2 pi r) / r, |r| <= 1 / 4
    n_quarter, whole = (7 if single else 12), 2.0 ** (mantissa - 1)
    quarter = tuple(
        (-1.0) ** k * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1)
        for k in range(n_quarter)
    )
    bias_bits = bias << mantissa
    smallest = float(np.finfo("f4" if single else "f8").tiny)
    infinity = math.inf

    @register_jitable
    def reduce(x):
        """Return e^r - 1 and 2^(n - 1), for x clipped to where they are normal numbers."""
        shifted = fma(x, log2e, splat(vector, magic))
        n = shifted - magic
        r = fma(n, -ln2_high, x)
        r = fma(n, -ln2_low, r)
        p = splat(vector, c[n_exp - 1])
        for k in range(n_exp - 2, -1, -1):
            p = fma(p, r, splat(vector, c[k]))
        q = fma(p, r * r, r)
        bits = (reinterpret(integers, shifted) - magic_bits + (bias - 1)) << mantissa
        return q, reinterpret(vector, bits)

    @register_jitable
    def exp(x):
        low = x < exp_min
        clipped = select(x > exp_max, exp_max, select(low, exp_min, x))
        q, half = reduce(clipped)
        return select(low, 0.0, fma(half, q, half) * 2.0)

    @register_jitable
    def expm1(x):
        low = x < -40.0
        clipped = select(x > exp_max, exp_max, select(low, -40.0, x))
        q, half = reduce(clipped)
        return fma(half, q, half - 0.5) * 2.0

    @register_jitable
    def tanh(x):
        size = absolute(x)
        t = expm1(select(size > 22.0, 22.0, size) * 2.0)
        value = t / (t + 2.0)
        return select(x < 0.0, value * -1.0, value)

    @register_jitable
    def logistic(x):
        return 1.0 / (exp(x * -1.0) + 1.0)

    @register_jitable
    def log(x):
        bits = reinterpret(integers, x)
        exponent = (bits + (bias_bits - sqrt_half_bits)) >> mantissa
        m = reinterpret(vector, bits - ((exponent - bias) << mantissa))
        e = reinterpret(vector, exponent - bias + magic_bits) - magic
        f = m - 1.0
        s = f / (f + 2.0)
        z = s * s
        p = splat(vector, a[n_log - 1])
        for k in range(n_log - 2, -1, -1):
            p = fma(p, z, splat(vector, a[k]))
        # log(1 + f) = f - s (f - R) with R = z p(z): the large terms come last, in full precision
        value = fma(e, ln2_high, f - fma(s, f - z * p, e * -ln2_low))
        value = select(x < smallest, -infinity, value)
        value = select(x < 0.0, math.nan, value)
        value = select(x == infinity, infinity, value)
        return select(x == x, value, x)

    @register_jitable
    def log1p(x):
        """Return log(1 + x) for 0 <= x <= 1."""
        w = x + 1.0
        return log(w) + (x - (w - 1.0)) / w

    @register_jitable
    def cos_sin(u):
        """Return the cosine and the sine of u turns, 0 <= u <= 1."""
        t = u * 4.0
        one, zero = splat(vector, 1.0), splat(vector, 0.0)
        q = zero
        for k in range(4):
            q = q + select(t >= k + 0.5, one, zero)
        r = (t - q) * (0.5 * math.pi)
        z = r * r
        c, s = splat(vector, turn[n_turn - 1]), splat(vector, turn[n_turn - 2])
        for k in range(n_turn - 3, 0, -2):
            c, s = fma(c, z, splat(vector, turn[k])), fma(s, z, splat(vector, turn[k - 1]))
        s = s * r
        odd = select(q == 1.0, one, select(q == 3.0, one, zero)) > 0.5
        cosine, sine = select(odd, s, c), select(odd, c, s)
        back = select(q == 1.0, one, select(q == 2.0, one, zero)) > 0.5
        return (
            select(back, cosine * -1.0, cosine),
            select(q == 2.0, sine * -1.0, select(q == 3.0, sine * -1.0, sine)),
        )

    @register_jitable
    def part_of_turn(u):
        """Return what u turns are beyond whole ones, in [-1/2, 1/2]; 0 where u has no fraction."""
        r = u - ((u + magic) - magic)
        return select(absolute(u) > whole, u * 0.0, r)  # not a number where u is infinite

    @register_jitable
    def quarter_sine(r):
        """Return the sine of r turns, at most a quarter."""
        z = r * r
        p = splat(vector, quarter[n_quarter - 1])
        for k in range(n_quarter - 2, -1, -1):
            p = fma(p, z, splat(vector, quarter[k]))
        return p * r

    @register_jitable
    def cosine(u):
        """Return the cosine of u turns."""
        return quarter_sine(0.25 - absolute(part_of_turn(u)))

    @register_jitable
    def sine(u):
        """Return the sine of u turns."""
        r = part_of_turn(u)
        value = quarter_sine(0.25 - absolute(absolute(r) - 0.25))
        return select(r < 0.0, value * -1.0, value)

    return SimpleNamespace(
        cos_sin=cos_sin,
        cosine=cosine,
        sine=sine,
        exp=exp,
        expm1=expm1,
        tanh=tanh,
        logistic=logistic,
        log=log,
        log1p=log1p,
    )
