"""The counter-based random number generator: dropout, noise, sampling of normal distributions.

Philox 4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"): ten rounds
turn a key and a counter into four random words. The key is the seed, the counter the step, the
layer, the unit and the sample's place in its batch; so a mask depends neither on the threads nor
on the device, and is drawn again for the gradient instead of being kept.
"""

from numba.core import types

from .compiling import register_jitable
from .frame import BLOCK, DIVERGENCES, LOSSES, RATE_DROPOUT, RATES, SEED, STEP, kernel
from .functions import functions
from .simd import (
    Vector,
    bits_to_float64,
    convert,
    get,
    iota,
    lane_sum,
    load,
    multiply_high,
    put,
    select,
    splat,
    sqrt,
    store,
)

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85


@register_jitable
def philox(c0, c1, c2, c3, key_low, key_high):
    """Return four vectors of random uint32 for vectors of counters and a scalar key."""
    for _ in range(10):
        high0, low0 = multiply_high(c0, MULTIPLIERS[0]), c0 * MULTIPLIERS[0]
        high2, low2 = multiply_high(c2, MULTIPLIERS[1]), c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = high2 ^ c1 ^ key_low, low2, high0 ^ c3 ^ key_high, low0
        key_low = (key_low + KEY_STEPS[0]) & 0xFFFFFFFF
        key_high = (key_high + KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


@kernel
def dropout(t, scheduled=False):
    """y = x / (1 - rate), or 0 with probability `rate`. op: x, y, units, layer, threshold, scale.

    The threshold is the rate times 2^32. Applied to a gradient, it is dropout's own gradient. If
    `scheduled`, the rate is multiplied by the step's factor, and the scale is not read.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words = Vector(types.uint32, lanes)

    def dropout(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        units, layer, threshold = op[2], op[3], op[4]
        factor = bits_to_float64(op[5])
        if scheduled:
            threshold = int(threshold * get(types.float64, frame[RATES], RATE_DROPOUT))
            factor = 1.0 / (1.0 - threshold / 4294967296.0)
        scale = splat(vector, factor)
        low, high = frame[SEED] & 0xFFFFFFFF, (frame[SEED] >> 32) & 0xFFFFFFFF
        for n in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + n)
            for unit in range(0, units, 4):
                four = philox(
                    sample, splat(words, unit // 4), splat(words, layer),
                    splat(words, frame[STEP]), low, high,
                )  # fmt: skip
                for j in range(min(4, units - unit)):
                    word = four[j]
                    i = (unit + j) * width + n
                    store(y, i, select(word < threshold, 0.0, load(vector, x, i) * scale))

    return dropout


@kernel
def salt_and_pepper(t):
    """y = x, or one of two numbers, each with half of a probability.

    op: x, y, units, layer, threshold, least, most. The threshold is the probability times 2^32.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words = Vector(types.uint32, lanes)

    def salt_and_pepper(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        units, layer, threshold = op[2], op[3], op[4]
        least, most = splat(vector, bits_to_float64(op[5])), splat(vector, bits_to_float64(op[6]))
        low, high = frame[SEED] & 0xFFFFFFFF, (frame[SEED] >> 32) & 0xFFFFFFFF
        for n in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + n)
            for unit in range(0, units, 4):
                four = philox(
                    sample, splat(words, unit // 4), splat(words, layer),
                    splat(words, frame[STEP]), low, high,
                )  # fmt: skip
                for j in range(min(4, units - unit)):
                    word = four[j]
                    i = (unit + j) * width + n
                    value = select(word < threshold, most, load(vector, x, i))
                    store(y, i, select(word < threshold // 2, least, value))

    return salt_and_pepper


def _four_normals(t):
    """Return a function that makes four vectors of normal numbers (Box and Muller, 1958).

    Its arguments are the vectors of the generator's counter and the scalar key.
    """
    vector, f = t.vector, functions(t.vector)
    log, cos_sin = f.log, f.cos_sin

    @register_jitable
    def four_normals(sample, four, layer, step, low, high):
        a, b, c, d = philox(sample, four, layer, step, low, high)
        first, second = _two_normals(a, b), _two_normals(c, d)
        return first[0], first[1], second[0], second[1]

    @register_jitable
    def _two_normals(a, b):
        size = sqrt(log(_uniform(a)) * -2.0)
        cosine, sine = cos_sin(_uniform(b))
        return size * cosine, size * sine

    @register_jitable
    def _uniform(word):
        return (convert(vector, word) + 0.5) * 2.0**-32

    return four_normals


@kernel
def draw_normal(t):
    """z = mean + deviation times normal noise. op: x, z, units, layer.

    x has the means and, behind them, the logarithms of the variances.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words, exp, normals = Vector(types.uint32, lanes), functions(t.vector).exp, _four_normals(t)

    def draw_normal(op, frame, slot):
        x, z, units = slot + op[0], slot + op[1], op[2]
        low, high = frame[SEED] & 0xFFFFFFFF, (frame[SEED] >> 32) & 0xFFFFFFFF
        for n in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + n)
            for unit in range(0, units, 4):
                four = normals(
                    sample, splat(words, unit // 4), splat(words, op[3]),
                    splat(words, frame[STEP]), low, high,
                )  # fmt: skip
                for j in range(min(4, units - unit)):
                    i = (unit + j) * width + n
                    deviation = exp(load(vector, x, i + units * width) * 0.5)
                    store(z, i, load(vector, x, i) + deviation * four[j])

    return draw_normal


@kernel
def draw_normal_gradient(t):
    """The gradient of such a draw, and of beta times its divergence from the standard normal.

    op: x, z, weights, dz, dx, units, beta. What the noise was follows from z.
    """
    vector, width, lanes, exp = t.vector, t.width, t.vector.lanes, functions(t.vector).exp

    def draw_normal_gradient(op, frame, slot):
        x, z, weights, dz, dx = slot + op[0], slot + op[1], slot + op[2], slot + op[3], slot + op[4]
        units, beta, total = op[5], bits_to_float64(op[6]), 0.0
        for n in range(0, width, lanes):
            weight, sums = load(vector, weights, n), splat(vector, 0.0)
            for i in range(n, units * width, width):
                mean, spread = load(vector, x, i), load(vector, x, i + units * width)
                gradient, excess = load(vector, dz, i), exp(spread) - 1.0
                sums = sums + (excess - spread + mean * mean) * 0.5
                store(dx, i, gradient + mean * weight * beta)
                noise = (load(vector, z, i) - mean) * gradient
                store(dx, i + units * width, (noise + excess * weight * beta) * 0.5)
            total += lane_sum(sums * weight)
        _add_to(frame[DIVERGENCES], frame[BLOCK], total)
        _add_to(frame[LOSSES], frame[BLOCK], beta * total)

    @register_jitable
    def _add_to(address, i, value):
        put(address, i, get(types.float64, address, i) + value)

    return draw_normal_gradient


@kernel
def gaussian_noise(t):
    """y = x + normal noise, within limits. op: x, y, units, layer, deviation, least, most."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words, normals = Vector(types.uint32, lanes), _four_normals(t)

    def gaussian_noise(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        deviation = bits_to_float64(op[4])
        least, most = splat(vector, bits_to_float64(op[5])), splat(vector, bits_to_float64(op[6]))
        low, high = frame[SEED] & 0xFFFFFFFF, (frame[SEED] >> 32) & 0xFFFFFFFF
        for n in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + n)
            for unit in range(0, op[2], 4):
                four = normals(
                    sample, splat(words, unit // 4), splat(words, op[3]),
                    splat(words, frame[STEP]), low, high,
                )  # fmt: skip
                for j in range(min(4, op[2] - unit)):
                    i = (unit + j) * width + n
                    value = load(vector, x, i) + four[j] * deviation
                    value = select(value < least, least, value)
                    store(y, i, select(value > most, most, value))

    return gaussian_noise
