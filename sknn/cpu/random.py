"""The counter-based generator, dropout and noise.

Philox 4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"): ten rounds
turn a key and a counter into four random words. The key is the seed, the counter the step, the
layer, the unit and the sample's place in its batch; so a mask depends neither on the threads nor
on the device, and is drawn again for the gradient instead of being kept.
"""

from numba.core import types
from numba.extending import register_jitable

from .frame import BLOCK, SEED, STEP, kernel
from .functions import functions
from .simd import (
    Vector,
    bits_to_float64,
    convert,
    iota,
    load,
    multiply_high,
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
def dropout(t):
    """y = x / (1 - rate), or 0 with probability `rate`. op: x, y, units, layer, threshold, scale.

    The threshold is the rate times 2^32. Applied to a gradient, it is dropout's own gradient.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words = Vector(types.uint32, lanes)

    def dropout(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        units, layer, threshold = op[2], op[3], op[4]
        scale = splat(vector, bits_to_float64(op[5]))
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
def gaussian_noise(t):
    """y = x + normal noise (Box and Muller, 1958). op: x, y, units, layer, deviation."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    words, f = Vector(types.uint32, lanes), functions(t.vector)
    log, cos_sin = f.log, f.cos_sin

    def gaussian_noise(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        deviation = bits_to_float64(op[4])
        low, high = frame[SEED] & 0xFFFFFFFF, (frame[SEED] >> 32) & 0xFFFFFFFF
        for n in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + n)
            for unit in range(0, op[2], 4):
                a, b, c, d = philox(
                    sample, splat(words, unit // 4), splat(words, op[3]),
                    splat(words, frame[STEP]), low, high,
                )  # fmt: skip
                first, second = _two_normals(a, b), _two_normals(c, d)
                four = first[0], first[1], second[0], second[1]
                for j in range(min(4, op[2] - unit)):
                    i = (unit + j) * width + n
                    store(y, i, load(vector, x, i) + four[j] * deviation)

    @register_jitable
    def _two_normals(a, b):
        size = sqrt(log(_uniform(a)) * -2.0)
        cosine, sine = cos_sin(_uniform(b))
        return size * cosine, size * sine

    @register_jitable
    def _uniform(word):
        return (convert(vector, word) + 0.5) * 2.0**-32

    return gaussian_noise
