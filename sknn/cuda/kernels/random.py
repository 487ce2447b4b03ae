"""The counter-based generator: dropout, noise, draws from normal distributions, augmentation.

It is the CPU's, Philox 4x32-10, and so are the counters: a sample gets the same words there and
here. Normal numbers are made by the CPU's polynomials, in the same order of operations; where it
has a multiply-add, so have these.
"""

import math
from fractions import Fraction

from numba.core import types

from .frame import (
    BLOCK,
    COUNT,
    COUNTED,
    DIVERGENCES,
    LOSSES,
    PART,
    RANK,
    RATE_DROPOUT,
    SEED,
    SIZE,
    SLOT,
    STEP,
    kernel,
)

_LOW = 0xFFFFFFFF


def philox_of(t):
    """Return the word for four random words: ``philox(c0, c1, c2, c3, key_low, key_high)``.

    Words are int64 from 0 to 2**32 - 1. Products of two are made as uint64: of an int64 the
    compiler takes for granted that it does not overflow.
    """
    wide, whole = types.uint64, types.int64
    first, second, half = wide(0xD2511F53), wide(0xCD9E8D57), wide(32)

    @t.jit
    def philox(c0, c1, c2, c3, low, high):
        for _ in range(10):
            p0, p2 = wide(c0) * first, wide(c2) * second
            c0, c1 = whole(p2 >> half) ^ c1 ^ low, whole(p2) & _LOW
            c2, c3 = whole(p0 >> half) ^ c3 ^ high, whole(p0) & _LOW
            low, high = (low + 0x9E3779B9) & _LOW, (high + 0xBB67AE85) & _LOW
        return c0, c1, c2, c3

    return philox


def _words_of(t):
    """Return the word for what a sample of the block draws: ``words(team, frame, n, four, layer)``.

    They are four words, for the units from four times `four` on.
    """
    constant, width, philox = t.constant, t.width, philox_of(t)

    @t.jit
    def words(team, frame, n, four, layer):
        step, seed = constant(frame, COUNTED) + team[STEP], constant(frame, SEED)
        sample = team[BLOCK] * width + n
        return philox(sample, four, layer, step & _LOW, seed & _LOW, (seed >> 32) & _LOW)

    return words


def _by_fours(t, put_one, draw):
    """Return what goes over a block's elements, four units of a sample at a time.

    ``put_one(team, frame, o, i, drawn)`` gets an element's place and what ``draw`` has drawn for
    it; x and y are the operands 0 and 1, the number of units the third, the layer the fourth.
    """
    constant, divide, width, put_one = t.constant, t.divide, t.width, t.jit(put_one)

    def by_fours(team, frame, o, scratch):
        units, layer = constant(o, 2), constant(o, 3)
        for i in range(team[RANK], ((units + 3) >> 2) * width, team[SIZE]):
            four, n = divide(i, width), i & (width - 1)
            a, b, c, d = draw(team, frame, n, four, layer)
            unit = 4 * four
            place = unit * width + n
            put_one(team, frame, o, place, a)
            if unit + 1 < units:
                put_one(team, frame, o, place + width, b)
            if unit + 2 < units:
                put_one(team, frame, o, place + 2 * width, c)
            if unit + 3 < units:
                put_one(team, frame, o, place + 3 * width, d)

    return by_fours


@kernel
def dropout(t, scheduled=False):
    """y = x / (1 - rate), or 0 with probability `rate`. o: x, y, units, layer, threshold, scale.

    The threshold is the rate times 2^32. Applied to a gradient, it is dropout's own gradient. If
    `scheduled`, the rate is multiplied by the step's factor, and the scale is not read.
    """
    get, put, constant, bits, real, rate = t.get, t.put, t.constant, t.bits, t.real, t.rate
    one, tiny = t.real(1), t.real(2.0**-32)

    def put_one(team, frame, o, i, word):
        threshold, scale = constant(o, 4), bits(constant(o, 5))
        if scheduled:
            threshold = types.int64(real(threshold) * rate(team, frame, RATE_DROPOUT))
            scale = one / (one - real(threshold) * tiny)
        value = real(0)
        if word >= threshold:
            value = get(team[SLOT] + constant(o, 0), i) * scale
        put(team[SLOT] + constant(o, 1), i, value)

    return _by_fours(t, put_one, _words_of(t))


@kernel
def salt_and_pepper(t):
    """y = x, or one of two numbers, each with half of a probability.

    o: x, y, units, layer, threshold, least, most. The threshold is the probability times 2^32.
    """
    get, put, constant, bits = t.get, t.put, t.constant, t.bits

    def put_one(team, frame, o, i, word):
        threshold = constant(o, 4)
        value = get(team[SLOT] + constant(o, 0), i)
        if word < threshold >> 1:
            value = bits(constant(o, 5))
        elif word < threshold:
            value = bits(constant(o, 6))
        put(team[SLOT] + constant(o, 1), i, value)

    return _by_fours(t, put_one, _words_of(t))


# --- normal numbers


def _polynomial(t, coefficients):
    """Return the word for a polynomial, by Horner's rule; the constant comes first.

    It is written out: a kernel has no lists, and the compiler can't look into tuples in loops.
    """
    names = [f"c{k}" for k in range(len(coefficients))]
    scope = {"fma": t.fma} | dict(zip(names, map(t.real, coefficients)))
    text = names.pop()
    while names:
        text = f"fma({text}, x, {names.pop()})"
    exec(f"def polynomial(x):\n    return {text}", scope)
    return t.jit(scope["polynomial"])


def _log_of(t):
    """Return the word for the logarithm of a normal number from 0 to 1, not 0."""
    single, fma, real, bits, bits_of = t.size == 4, t.fma, t.real, t.bits, t.bits_of
    mantissa, bias = (23, 127) if single else (52, 1023)
    scale = 2.0 ** (11 if single else 31)
    high = round(math.log(2) * scale) / scale  # has few bits: multiples of it are exact
    ln2_high = real(high)
    minus_low = real(-float(Fraction("0.693147180559945309417232121458") - Fraction(high)))
    one, two, root_half = real(1), real(2), real(math.sqrt(0.5))
    root_half_bits = int(root_half.view(f"i{t.size}"))
    series = _polynomial(t, [2 / (2 * k + 1) for k in range(1, 5 if single else 11)])

    @t.jit
    def log(x):
        # x = m 2^e, m from sqrt(1/2) to sqrt(2); the sum is that of 2 atanh(f / (2 + f))
        whole = bits_of(x)
        exponent = ((whole + ((bias << mantissa) - root_half_bits)) >> mantissa) - bias
        f, e = bits(whole - (exponent << mantissa)) - one, real(exponent)
        s = f / (f + two)
        z = s * s
        return fma(e, ln2_high, f - fma(s, f - z * series(z), e * minus_low))

    return log


def turns_of(t):
    """Return the words for the cosine and the sine of so many turns, from 0 to 1."""
    real, terms = t.real, 5 if t.size == 4 else 9
    zero, half, one, four, turn = map(real, (0, 0.5, 1, 4, 0.5 * math.pi))
    cosines = _polynomial(t, [(-1.0) ** k / math.factorial(2 * k) for k in range(terms)])
    sines = _polynomial(t, [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(terms)])

    @t.jit
    def cosine_and_sine(u):
        quarters = u * four
        q = zero
        for k in range(4):
            if quarters >= real(k) + half:
                q += one
        r = (quarters - q) * turn
        z = r * r
        c, s = cosines(z), sines(z) * r
        if q == one:
            return -s, c
        if q == real(2):
            return -c, -s
        if q == real(3):
            return s, -c
        return c, s

    return cosine_and_sine


def _normals_of(t):
    """Return the word for four normal numbers, by Box and Muller's method, as :func:`_words_of`."""
    words, log, cosine_and_sine, real = _words_of(t), _log_of(t), turns_of(t), t.real
    half, tiny, minus_two = real(0.5), real(2.0**-32), real(-2)

    @t.jit
    def uniform(word):
        return (real(word) + half) * tiny

    @t.jit
    def two_normals(a, b):
        size = math.sqrt(log(uniform(a)) * minus_two)
        cosine, sine = cosine_and_sine(uniform(b))
        return size * cosine, size * sine

    @t.jit
    def normals(team, frame, n, four, layer):
        a, b, c, d = words(team, frame, n, four, layer)
        a, b = two_normals(a, b)
        c, d = two_normals(c, d)
        return a, b, c, d

    return normals


@kernel
def gaussian_noise(t):
    """y = x + normal noise, within limits. o: x, y, units, layer, deviation, least, most."""
    get, put, constant, bits = t.get, t.put, t.constant, t.bits

    def put_one(team, frame, o, i, normal):
        least, most = bits(constant(o, 5)), bits(constant(o, 6))
        value = get(team[SLOT] + constant(o, 0), i) + normal * bits(constant(o, 4))
        if value < least:
            value = least
        if value > most:
            value = most
        put(team[SLOT] + constant(o, 1), i, value)

    return _by_fours(t, put_one, _normals_of(t))


@kernel
def draw_normal(t):
    """z = mean + deviation times normal noise. o: x, z, units, layer.

    x has the means and, behind them, the logarithms of the variances.
    """
    get, put, constant, width, half = t.get, t.put, t.constant, t.width, t.real(0.5)

    def put_one(team, frame, o, i, normal):
        x = team[SLOT] + constant(o, 0)
        deviation = math.exp(get(x, i + constant(o, 2) * width) * half)
        put(team[SLOT] + constant(o, 1), i, get(x, i) + deviation * normal)

    return _by_fours(t, put_one, _normals_of(t))


@kernel
def draw_normal_gradient(t):
    """The gradient of such a draw, and of beta times its divergence from the standard normal.

    o: x, z, weights, dz, dx, units, beta. What the noise was follows from z.
    """
    get, put, constant, bits, width = t.get, t.put, t.constant, t.bits, t.width
    add_loss, real, half, one = t.add_loss, t.real, t.real(0.5), t.real(1)

    def value(team, frame, o, i):
        x, n = team[SLOT] + constant(o, 0), i & (width - 1)
        if n >= team[COUNT]:
            return real(0)
        mean, spread = get(x, i), get(x, i + constant(o, 5) * width)
        excess, weight = math.exp(spread) - one, get(team[SLOT] + constant(o, 2), n)
        return (excess - spread + mean * mean) * half * weight

    divergence_of = t.sum_of(value)

    def draw_normal_gradient(team, frame, o, scratch):
        x, z = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        weights, dz = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        dx, beta = team[SLOT] + constant(o, 4), bits(constant(o, 6))
        elements = constant(o, 5) * width
        for i in range(team[RANK], elements, team[SIZE]):
            mean, gradient, weight = get(x, i), get(dz, i), get(weights, i & (width - 1))
            excess = math.exp(get(x, i + elements)) - one
            put(dx, i, gradient + mean * weight * beta)
            noise = (get(z, i) - mean) * gradient
            put(dx, i + elements, (noise + excess * weight * beta) * half)
        if team[PART]:
            return
        divergence = divergence_of(team, frame, o, scratch, elements)
        add_loss(team, frame, DIVERGENCES, divergence)
        add_loss(team, frame, LOSSES, beta * divergence)

    return draw_normal_gradient


@kernel
def augment(t):
    """y = each image of x from a random offset on, perhaps mirrored, with zeros around.

    o: x, y, height, width, channels, height and width of y, layer, lowest row and number of rows
    to begin at, the same of columns, whether to flip upside down, whether to mirror.
    """
    get, put, constant, divide, width, real = t.get, t.put, t.constant, t.divide, t.width, t.real
    words = _words_of(t)

    def augment(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        height, columns, channels = constant(o, 2), constant(o, 3), constant(o, 4)
        out_height, out_columns = constant(o, 5), constant(o, 6)
        for k in range(team[RANK], out_height * width, team[SIZE]):
            i, n = divide(k, width), k & (width - 1)
            a, b, c, d = words(team, frame, n, 0, constant(o, 7))
            row = constant(o, 8) + (a * constant(o, 9) >> 32) + i
            right = constant(o, 10) + (b * constant(o, 11) >> 32)
            if constant(o, 12) and c < 1 << 31:
                row = height - 1 - row
            mirrored = constant(o, 13) and d < 1 << 31
            for j in range(out_columns):
                column = columns - 1 - j - right if mirrored else j + right
                inside = 0 <= row < height and 0 <= column < columns
                for channel in range(channels):
                    value = real(0)
                    if inside:
                        place = (row * columns + column) * channels + channel
                        value = get(x, place * width + n)
                    put(y, ((i * out_columns + j) * channels + channel) * width + n, value)

    return augment
