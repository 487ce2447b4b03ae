"""Batch normalization (Ioffe and Szegedy, 2015), and that over neighboring channels.

Statistics are of the whole batch, so they cut a step's first phase: all blocks up to here, then
channels side by side, then all blocks from here on. Sums of a few positions are in the network's
own type, sums of these in float64.
"""

from numba.core import types

from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    PARAMETERS,
    SHARED,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .functions import functions
from .gather import samples_in_block
from .simd import (
    Vector,
    bits_to_float64,
    convert,
    fma,
    get,
    iota,
    lane_sum,
    load,
    put,
    select,
    splat,
    sqrt,
    store,
)

_RUN = 8  # positions to sum before the sum is widened


@kernel
def batch_statistics(t):
    """Mean and inverse std of some channels over the batch, and their running averages.

    op: x, mean, inverse std (shared), running mean, running variance (parameters), positions,
    channels, epsilon, momentum, first channel, last. The running variance is the unbiased one, as
    in PyTorch. Sums are of differences to the channel's first value, so that squares keep their
    digits; and of four channels at a time, which lie side by side.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    double = Vector(types.float64, lanes)

    def batch_statistics(op, frame, slot):
        count = frame[COUNT] * op[5]
        for c in range(op[9], op[10], 4):
            shifts = _firsts(frame[WORKSPACE] + op[0], c, op[10])
            sums, squares = _four_sums(frame, op[0], op[5], op[6], c, op[10], shifts)
            for k in range(min(4, op[10] - c)):
                mean, square = lane_sum(sums[k]) / count, lane_sum(squares[k]) / count
                _put(op, frame, c + k, shifts[k] + mean, max(square - mean * mean, 0.0), count)

    @register_jitable
    def _put(op, frame, c, mean, variance, count):
        epsilon, momentum = bits_to_float64(op[7]), bits_to_float64(op[8])
        put(frame[SHARED] + op[1], c, real(mean))
        put(frame[SHARED] + op[2], c, real(1.0 / (variance + epsilon) ** 0.5))
        _average(frame[PARAMETERS] + op[3], c, mean, momentum)
        _average(frame[PARAMETERS] + op[4], c, variance * count / max(count - 1, 1), momentum)

    @register_jitable
    def _average(address, unit, value, momentum):
        put(address, unit, real((1.0 - momentum) * get(real, address, unit) + momentum * value))

    @register_jitable
    def _firsts(x, c, last):
        """Return the first values of four channels, or of the last one again."""
        return (
            float(get(real, x, c * width)),
            float(get(real, x, min(c + 1, last - 1) * width)),
            float(get(real, x, min(c + 2, last - 1) * width)),
            float(get(real, x, min(c + 3, last - 1) * width)),
        )

    @register_jitable
    def _four_sums(frame, x, positions, channels, c, last, shifts):
        zero, none = splat(double, 0.0), splat(vector, 0.0)
        a, b, d, e = zero, zero, zero, zero
        aa, bb, dd, ee = zero, zero, zero, zero
        second, third = min(1, last - 1 - c) * width, min(2, last - 1 - c) * width
        fourth = min(3, last - 1 - c) * width
        block = frame[WORKSPACE]
        for start in range(0, frame[COUNT], width):
            for first in range(0, positions, _RUN):
                p, q, r, s, pp, qq, rr, ss = none, none, none, none, none, none, none, none
                for place in range(first, min(first + _RUN, positions)):
                    for n in range(0, width, lanes):
                        inside = iota(vector) < splat(vector, frame[COUNT] - start - n)
                        i = (place * channels + c) * width + n
                        p, pp = _next(p, pp, block + x, i, shifts[0], inside)
                        q, qq = _next(q, qq, block + x, i + second, shifts[1], inside)
                        r, rr = _next(r, rr, block + x, i + third, shifts[2], inside)
                        s, ss = _next(s, ss, block + x, i + fourth, shifts[3], inside)
                a, b = a + convert(double, p), b + convert(double, q)
                d, e = d + convert(double, r), e + convert(double, s)
                aa, bb = aa + convert(double, pp), bb + convert(double, qq)
                dd, ee = dd + convert(double, rr), ee + convert(double, ss)
            block += frame[WORKSPACE_STRIDE]
        return (a, b, d, e), (aa, bb, dd, ee)

    @register_jitable
    def _next(total, squares, x, i, shift, inside):
        value = select(inside, load(vector, x, i) - shift, 0.0)
        return total + value, fma(value, value, squares)

    return batch_statistics


@kernel
def normalize(t, relu):
    """y = gamma (x - mean) / std + beta, perhaps cut at zero.

    op: x, mean, inverse std, gamma, beta, y, positions, channels.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize(op, frame, slot):
        x, y = slot + op[0], slot + op[5]
        mean, deviation = frame[SHARED] + op[1], frame[SHARED] + op[2]
        gamma, beta = frame[PARAMETERS] + op[3], frame[PARAMETERS] + op[4]
        for place in range(op[6]):
            for c in range(op[7]):
                scale = splat(vector, get(real, gamma, c) * get(real, deviation, c))
                center, shift = splat(vector, get(real, mean, c)), splat(vector, get(real, beta, c))
                i = (place * op[7] + c) * width
                for n in range(i, i + width, lanes):
                    value = (load(vector, x, n) - center) * scale + shift
                    store(y, n, select(value < 0.0, 0.0, value) if relu else value)

    return normalize


@kernel
def normalize_running(t, relu):
    """The same with the running averages.

    op: x, gamma, beta, mean, variance, y, positions, channels, epsilon.
    """
    wide, vector, width, lanes, real = t.wide, t.vector, t.width, t.vector.lanes, t.real
    wide_lanes, write, single = t.wide.lanes, t.write, t.width == 1

    def normalize_running(op, frame, slot):
        x, y = slot + op[0], slot + op[5]
        gamma, beta = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        mean, variance = frame[PARAMETERS] + op[3], frame[PARAMETERS] + op[4]
        epsilon = bits_to_float64(op[8])
        if single:  # over channels
            for c in range(0, op[7], wide_lanes):
                scale = load(wide, gamma, c) / sqrt(load(wide, variance, c) + epsilon)
                center, shift = load(wide, mean, c), load(wide, beta, c)
                for place in range(op[6]):
                    i = place * op[7] + c
                    value = (load(wide, x, i) - center) * scale + shift
                    if relu:
                        value = select(value < 0.0, 0.0, value)
                    write(y, i, value, op[7] - c)
            return
        for c in range(op[7]):
            spread = sqrt(splat(vector, get(real, variance, c)) + epsilon)
            scale = splat(vector, get(real, gamma, c)) / spread
            center, shift = splat(vector, get(real, mean, c)), splat(vector, get(real, beta, c))
            for place in range(op[6]):
                i = (place * op[7] + c) * width
                for n in range(i, i + width, lanes):
                    value = (load(vector, x, n) - center) * scale + shift
                    store(y, n, select(value < 0.0, 0.0, value) if relu else value)

    return normalize_running


@kernel
def normalize_running_gradient(t):
    """dx = dy gamma / std, of the running averages.

    op: dy, gamma, variance, dx, positions, channels, epsilon.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize_running_gradient(op, frame, slot):
        dy, dx = slot + op[0], slot + op[3]
        gamma, variance = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        epsilon = bits_to_float64(op[6])
        for c in range(op[5]):
            spread = sqrt(splat(vector, get(real, variance, c)) + epsilon)
            scale = splat(vector, get(real, gamma, c)) / spread
            for place in range(op[4]):
                i = (place * op[5] + c) * width
                for n in range(i, i + width, lanes):
                    store(dx, n, load(vector, dy, n) * scale)

    return normalize_running_gradient


@kernel
def normalize_sums(t, relu):
    """dgamma = sum dy (x - mean) / std and dbeta = sum dy, over the batch.

    op: x, dy, mean, inverse std (shared), gamma, beta (parameters), dgamma, dbeta (shared),
    positions, channels, first channel, last. Two channels at a time, which lie side by side. With
    `relu`, dy counts only where that let y through.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    double = Vector(types.float64, lanes)

    def normalize_sums(op, frame, slot):
        zero, none = splat(double, 0.0), splat(vector, 0.0)
        for c in range(op[10], op[11], 2):
            beside = min(c + 1, op[11] - 1)
            one, other = _numbers(op, frame, c), _numbers(op, frame, beside)
            dgamma, dbeta, other_dgamma, other_dbeta = zero, zero, zero, zero
            block, further = frame[WORKSPACE], (beside - c) * width
            for _ in range(0, frame[COUNT], width):
                x, dy = block + op[0], block + op[1]
                for first in range(0, op[8], _RUN):
                    p, q, r, s = none, none, none, none
                    for place in range(first, min(first + _RUN, op[8])):
                        i = (place * op[9] + c) * width
                        for n in range(i, i + width, lanes):
                            p, q = _next(p, q, x, dy, n, one)
                            r, s = _next(r, s, x, dy, n + further, other)
                    dbeta, dgamma = dbeta + convert(double, p), dgamma + convert(double, q)
                    other_dbeta = other_dbeta + convert(double, r)
                    other_dgamma = other_dgamma + convert(double, s)
                block += frame[WORKSPACE_STRIDE]
            _put(op, frame, c, dgamma, dbeta)
            _put(op, frame, beside, other_dgamma, other_dbeta)

    @register_jitable
    def _numbers(op, frame, c):
        """Return a channel's mean, scale and shift, as normalize has them."""
        scale = get(real, frame[PARAMETERS] + op[4], c) * get(real, frame[SHARED] + op[3], c)
        shift = get(real, frame[PARAMETERS] + op[5], c)
        return (
            splat(vector, get(real, frame[SHARED] + op[2], c)),
            splat(vector, scale),
            splat(vector, shift),
        )

    @register_jitable
    def _next(dbeta, dgamma, x, dy, i, numbers):
        gradient, value = load(vector, dy, i), load(vector, x, i) - numbers[0]
        if relu:
            gradient = select(value * numbers[1] + numbers[2] <= 0.0, 0.0, gradient)
        return dbeta + gradient, fma(gradient, value, dgamma)

    @register_jitable
    def _put(op, frame, c, dgamma, dbeta):
        scale = float(get(real, frame[SHARED] + op[3], c))
        put(frame[SHARED] + op[6], c, real(lane_sum(dgamma) * scale))
        put(frame[SHARED] + op[7], c, real(lane_sum(dbeta)))

    return normalize_sums


@kernel
def normalize_gradient(t, relu):
    """dx, from the batch's sums.

    op: x, dy, mean, inverse std, gamma, beta, dgamma, dbeta, dx, positions, channels.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize_gradient(op, frame, slot):
        x, dy, dx = slot + op[0], slot + op[1], slot + op[8]
        mean, deviation = frame[SHARED] + op[2], frame[SHARED] + op[3]
        gamma, beta = frame[PARAMETERS] + op[4], frame[PARAMETERS] + op[5]
        dgamma, dbeta = frame[SHARED] + op[6], frame[SHARED] + op[7]
        each = real(1.0) / real(frame[COUNT] * op[9])
        samples = samples_in_block(frame, width)
        for place in range(op[9]):
            for c in range(op[10]):
                spread = get(real, deviation, c)
                center, shift = splat(vector, get(real, mean, c)), splat(vector, get(real, beta, c))
                scale = splat(vector, get(real, gamma, c) * spread)
                a = splat(vector, get(real, dgamma, c) * each * spread)
                b = splat(vector, get(real, dbeta, c) * each)
                for n in range(0, width, lanes):
                    i = (place * op[10] + c) * width + n
                    gradient, value = load(vector, dy, i), load(vector, x, i) - center
                    if relu:
                        gradient = select(value * scale + shift <= 0.0, 0.0, gradient)
                    inside = iota(vector) < splat(vector, samples - n)
                    store(dx, i, select(inside, (gradient - b - value * a) * scale, 0.0))

    return normalize_gradient


@kernel
def shared_gradient(t):
    """Copy a gradient that a sum over the batch has left. op: as bias_gradient, ..., its place."""
    wide, lanes = t.wide, t.wide.lanes

    def shared_gradient(op, frame, slot):
        source = frame[SHARED] + op[4] + (op[0] - op[3])
        g = frame[GRADIENT] + op[1]
        for i in range(0, op[2], lanes):
            value = load(wide, source, i)
            store(g, i, value + load(wide, g, i) if frame[ACCUMULATE] else value)

    return shared_gradient


@kernel
def local_response(t):
    """y = x / scale^beta, scale = k + alpha / size * the neighbors' energy.

    op: x, y, scale, positions, channels, size, alpha, beta, k.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    f = functions(vector)
    exp, log = f.exp, f.log

    def local_response(op, frame, slot):
        x, y, scale = slot + op[0], slot + op[1], slot + op[2]
        channels, size = op[4], op[5]
        alpha, beta, k = bits_to_float64(op[6]), bits_to_float64(op[7]), bits_to_float64(op[8])
        for place in range(op[3]):
            for c in range(channels):
                i = (place * channels + c) * width
                for n in range(0, width, lanes):
                    energy = splat(vector, 0.0)
                    for j in range(max(c - size // 2, 0), min(c + (size - 1) // 2 + 1, channels)):
                        value = load(vector, x, (place * channels + j) * width + n)
                        energy = fma(value, value, energy)
                    total = energy * (alpha / size) + k
                    store(scale, i + n, total)
                    store(y, i + n, load(vector, x, i + n) * exp(log(total) * (beta * -1.0)))

    return local_response


@kernel
def local_response_gradient(t):
    """dx, from what local_response has left. op: x, y, scale, dy, dx, then as there."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    f = functions(vector)
    exp, log = f.exp, f.log

    def local_response_gradient(op, frame, slot):
        x, y, scale = slot + op[0], slot + op[1], slot + op[2]
        dy, dx = slot + op[3], slot + op[4]
        channels, size = op[6], op[7]
        alpha, beta = bits_to_float64(op[8]), bits_to_float64(op[9])
        factor = -2.0 * alpha * beta / size
        for place in range(op[5]):
            for c in range(channels):
                i = (place * channels + c) * width
                for n in range(0, width, lanes):
                    total = splat(vector, 0.0)
                    # the channels whose neighbor this one is
                    for j in range(max(c - (size - 1) // 2, 0), min(c + size // 2 + 1, channels)):
                        m = (place * channels + j) * width + n
                        each = load(vector, dy, m) * load(vector, y, m) / load(vector, scale, m)
                        total = total + each
                    power = exp(log(load(vector, scale, i + n)) * (beta * -1.0))
                    own = load(vector, dy, i + n) * power
                    store(dx, i + n, own + load(vector, x, i + n) * total * factor)

    return local_response_gradient
