"""Batch normalization (Ioffe and Szegedy, 2015), and that over neighboring channels.

Statistics are of the whole batch: each channel's are one task. Numbers beyond the last sample are
in no sum.
"""

import math

from .frame import (
    BATCH,
    COUNT,
    FIRST_UNIT,
    LANES,
    LAST_UNIT,
    PARAMETERS,
    RANK,
    SHARED,
    SIZE,
    SLOT,
    STEP,
    THREAD,
    TOTAL,
    WORKSPACE_STRIDE,
    kernel,
)

#: Numbers that a lane adds up before it adds their sum to the others': so small ones stay in.
_RUN = 32


def _batch_sums(t, values):
    """Return the word for two sums over a channel of a batch, for all threads.

    ``sums(team, frame, o, scratch, positions, channels, channel, a, b, c)`` adds up the two numbers
    that ``values(o, slot, i, a, b, c)`` returns, where i is a place in the block at the address
    `slot`, and the other three are whatever the caller knows of the channel.
    """
    constant, divide, values, lane_sum = t.constant, t.divide, t.jit(values), t.lane_sum
    width, log, threads, real = t.width, t.width.bit_length() - 1, t.threads, t.real

    @t.jit
    def lane_totals(team, frame, o, lane, positions, channels, channel, a, b, c):
        stride = constant(frame, WORKSPACE_STRIDE)
        end = ((team[COUNT] + width - 1) >> log) * positions * width
        first, second = real(0), real(0)
        for start in range(lane, end, LANES * _RUN):
            p, q = real(0), real(0)
            for i in range(start, min(start + LANES * _RUN, end), LANES):
                block, n = divide(i >> log, positions), i & (width - 1)
                if block * width + n < team[COUNT]:
                    place = (i >> log) - block * positions
                    j = (place * channels + channel) * width + n
                    u, v = values(o, team[SLOT] + block * stride, j, a, b, c)
                    p += u
                    q += v
            first += p
            second += q
        return first, second

    @t.jit
    def sums(team, frame, o, scratch, positions, channels, channel, a, b, c):
        for lane in range(team[THREAD], LANES, threads):
            p, q = lane_totals(team, frame, o, lane, positions, channels, channel, a, b, c)
            scratch[lane], scratch[LANES + lane] = p, q
        first = lane_sum(scratch, team[THREAD])
        for lane in range(team[THREAD], LANES, threads):
            scratch[lane] = scratch[LANES + lane]
        return first, lane_sum(scratch, team[THREAD])

    return sums


@kernel
def batch_statistics(t):
    """Mean and inverse std of channels over the batch, and their running averages.

    o: x, mean, inverse std (shared), running mean, running variance (parameters), positions,
    channels, epsilon, momentum. The running variance is the unbiased one, as in PyTorch. Means are
    of differences to the channel's first value, variances of differences to the mean.
    """
    get, put, constant, bits, real = t.get, t.put, t.constant, t.bits, t.real
    width, zero, one = t.width, t.real(0), t.real(1)

    def values(o, slot, i, center, b, c):
        value = get(slot + constant(o, 0), i) - center
        return value, value * value

    sums = _batch_sums(t, values)

    @t.jit
    def average(address, unit, value, momentum):
        put(address, unit, (one - momentum) * get(address, unit) + momentum * value)

    def batch_statistics(team, frame, o, scratch):
        positions, channels = constant(o, 5), constant(o, 6)
        count = real(team[COUNT] * positions)
        for unit in range(constant(o, FIRST_UNIT), constant(o, LAST_UNIT)):
            mean = get(team[SLOT] + constant(o, 0), unit * width)
            total, _ = sums(
                team, frame, o, scratch, positions, channels, unit, mean, zero, zero
            )
            mean += total / count
            rest, squares = sums(
                team, frame, o, scratch, positions, channels, unit, mean, zero, zero
            )
            # less what rounding has left of the differences' sum; a GPU's max would lose NaN
            variance = (squares - rest * rest / count) / count
            variance = zero if variance < zero else variance
            if team[THREAD] == 0:
                shared, parameters = constant(frame, SHARED), constant(frame, PARAMETERS)
                momentum = bits(constant(o, 8))
                put(shared + constant(o, 1), unit, mean)
                deviation = math.sqrt(variance + bits(constant(o, 7)))
                put(shared + constant(o, 2), unit, one / deviation)
                average(parameters + constant(o, 3), unit, mean, momentum)
                unbiased = variance * (count / max(count - one, one))
                average(parameters + constant(o, 4), unit, unbiased, momentum)

    return batch_statistics


@kernel
def normalize(t, relu):
    """y = gamma (x - mean) / std + beta, or its relu.

    o: x, mean, inverse std (shared), gamma, beta (parameters), y, positions, channels.
    """
    get, put, constant, divide, fma = t.get, t.put, t.constant, t.divide, t.fma
    width, zero = t.width, t.real(0)

    def normalize(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 5)
        shared, parameters = constant(frame, SHARED), constant(frame, PARAMETERS)
        mean, deviation = shared + constant(o, 1), shared + constant(o, 2)
        gamma, beta = parameters + constant(o, 3), parameters + constant(o, 4)
        channels = constant(o, 7)
        for i in range(team[RANK], constant(o, 6) * channels * width, team[SIZE]):
            row = divide(i, width)
            c = row - divide(row, channels) * channels
            scale = get(gamma, c) * get(deviation, c)
            value = fma(get(x, i) - get(mean, c), scale, get(beta, c))
            if relu:
                value = zero if value < zero else value
            put(y, i, value)

    return normalize


@kernel
def normalize_running(t, relu):
    """The same with the running averages.

    o: x, gamma, beta, mean, variance (parameters), y, positions, channels, epsilon.
    """
    get, put, constant, divide, bits = t.get, t.put, t.constant, t.divide, t.bits
    fma, width, zero = t.fma, t.width, t.real(0)

    def normalize_running(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 5)
        parameters = constant(frame, PARAMETERS)
        gamma, beta = parameters + constant(o, 1), parameters + constant(o, 2)
        mean, variance = parameters + constant(o, 3), parameters + constant(o, 4)
        channels, epsilon = constant(o, 7), bits(constant(o, 8))
        for i in range(team[RANK], constant(o, 6) * channels * width, team[SIZE]):
            row = divide(i, width)
            c = row - divide(row, channels) * channels
            scale = get(gamma, c) / math.sqrt(get(variance, c) + epsilon)
            value = fma(get(x, i) - get(mean, c), scale, get(beta, c))
            if relu:
                value = zero if value < zero else value
            put(y, i, value)

    return normalize_running


@kernel
def normalize_running_gradient(t):
    """dx = dy gamma / std, of the running averages.

    o: dy, gamma, variance (parameters), dx, positions, channels, epsilon.
    """
    get, put, constant, divide, bits = t.get, t.put, t.constant, t.divide, t.bits
    width = t.width

    def normalize_running_gradient(team, frame, o, scratch):
        dy, dx = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 3)
        parameters = constant(frame, PARAMETERS)
        gamma, variance = parameters + constant(o, 1), parameters + constant(o, 2)
        channels, epsilon = constant(o, 5), bits(constant(o, 6))
        for i in range(team[RANK], constant(o, 4) * channels * width, team[SIZE]):
            row = divide(i, width)
            c = row - divide(row, channels) * channels
            put(dx, i, get(dy, i) * (get(gamma, c) / math.sqrt(get(variance, c) + epsilon)))

    return normalize_running_gradient


@kernel
def normalize_sums(t, relu):
    """dgamma = sum dy (x - mean) / std and dbeta = sum dy, over the batch.

    o: x, dy, mean, inverse std (shared), gamma, beta (parameters), dgamma, dbeta (shared),
    positions, channels. With `relu`, dy counts only where that let y through.
    """
    get, put, constant, fma, zero = t.get, t.put, t.constant, t.fma, t.real(0)

    def values(o, slot, i, mean, scale, shift):
        gradient, value = get(slot + constant(o, 1), i), get(slot + constant(o, 0), i) - mean
        if relu and fma(value, scale, shift) <= zero:
            gradient = zero
        return gradient, gradient * value

    sums = _batch_sums(t, values)

    def normalize_sums(team, frame, o, scratch):
        shared, parameters = constant(frame, SHARED), constant(frame, PARAMETERS)
        for unit in range(constant(o, FIRST_UNIT), constant(o, LAST_UNIT)):
            deviation = get(shared + constant(o, 3), unit)
            scale = get(parameters + constant(o, 4), unit) * deviation
            mean, shift = get(shared + constant(o, 2), unit), get(parameters + constant(o, 5), unit)
            dbeta, dgamma = sums(
                team, frame, o, scratch, constant(o, 8), constant(o, 9), unit, mean, scale, shift
            )
            if team[THREAD] == 0:
                put(shared + constant(o, 6), unit, dgamma * deviation)
                put(shared + constant(o, 7), unit, dbeta)

    return normalize_sums


@kernel
def normalize_gradient(t, relu):
    """dx, from the batch's sums; zero beyond the last sample.

    o: x, dy, mean, inverse std (shared), gamma, beta (parameters), dgamma, dbeta (shared),
    dx, positions, channels.
    """
    get, put, constant, divide, fma = t.get, t.put, t.constant, t.divide, t.fma
    width, real, zero = t.width, t.real, t.real(0)

    def normalize_gradient(team, frame, o, scratch):
        x, dy = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        shared, parameters = constant(frame, SHARED), constant(frame, PARAMETERS)
        mean, deviation = shared + constant(o, 2), shared + constant(o, 3)
        gamma, beta = parameters + constant(o, 4), parameters + constant(o, 5)
        dgamma, dbeta = shared + constant(o, 6), shared + constant(o, 7)
        dx, positions, channels = team[SLOT] + constant(o, 8), constant(o, 9), constant(o, 10)
        batch = constant(frame, BATCH)
        count = min(batch, constant(frame, TOTAL) - team[STEP] * batch)
        each = real(1) / real(count * positions)
        for i in range(team[RANK], positions * channels * width, team[SIZE]):
            row, result = divide(i, width), zero
            if i - row * width < team[COUNT]:
                c = row - divide(row, channels) * channels
                spread, value = get(deviation, c), get(x, i) - get(mean, c)
                scale, gradient = get(gamma, c) * spread, get(dy, i)
                if relu and fma(value, scale, get(beta, c)) <= zero:
                    gradient = zero
                a = get(dgamma, c) * each * spread
                result = (gradient - get(dbeta, c) * each - value * a) * scale
            put(dx, i, result)

    return normalize_gradient


@kernel
def unit_sums(t):
    """Sums over the batch. o: a, sums (shared), units."""
    get, put, constant, zero = t.get, t.put, t.constant, t.real(0)

    def values(o, slot, i, a, b, c):
        return get(slot + constant(o, 0), i), zero

    sums = _batch_sums(t, values)

    def unit_sums(team, frame, o, scratch):
        for unit in range(constant(o, FIRST_UNIT), constant(o, LAST_UNIT)):
            total, _ = sums(team, frame, o, scratch, 1, constant(o, 2), unit, zero, zero, zero)
            if team[THREAD] == 0:
                put(constant(frame, SHARED) + constant(o, 1), unit, total)

    return unit_sums


@kernel
def local_response(t):
    """y = x / scale^beta, scale = k + alpha / size * the neighbors' energy.

    o: x, y, scale, positions, channels, size, alpha, beta, k.
    """
    get, put, constant, divide, bits = t.get, t.put, t.constant, t.divide, t.bits
    fma, width, real = t.fma, t.width, t.real

    def local_response(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        scale, channels, size = team[SLOT] + constant(o, 2), constant(o, 4), constant(o, 5)
        alpha, beta, k = bits(constant(o, 6)), bits(constant(o, 7)), bits(constant(o, 8))
        behind = size >> 1
        before = size - 1 - behind
        for i in range(team[RANK], constant(o, 3) * channels * width, team[SIZE]):
            row = divide(i, width)
            c = row - divide(row, channels) * channels
            energy = real(0)
            for j in range(max(c - behind, 0), min(c + before + 1, channels)):
                value = get(x, i + (j - c) * width)
                energy = fma(value, value, energy)
            total = energy * (alpha / real(size)) + k
            put(scale, i, total)
            put(y, i, get(x, i) * math.exp(-beta * math.log(total)))

    return local_response


@kernel
def local_response_gradient(t):
    """dx, from what local_response has left. o: x, y, scale, dy, dx, then as there."""
    get, put, constant, divide, bits = t.get, t.put, t.constant, t.divide, t.bits
    width, real = t.width, t.real

    def local_response_gradient(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        scale, dy = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        dx, channels, size = team[SLOT] + constant(o, 4), constant(o, 6), constant(o, 7)
        alpha, beta = bits(constant(o, 8)), bits(constant(o, 9))
        factor = real(-2) * alpha * beta / real(size)
        behind = size >> 1
        before = size - 1 - behind
        for i in range(team[RANK], constant(o, 5) * channels * width, team[SIZE]):
            row = divide(i, width)
            c = row - divide(row, channels) * channels
            total = real(0)
            for j in range(max(c - before, 0), min(c + behind + 1, channels)):
                # the channels whose neighbor this one is
                m = i + (j - c) * width
                total += get(dy, m) * get(y, m) / get(scale, m)
            own = get(dy, i) * math.exp(-beta * math.log(get(scale, i)))
            put(dx, i, own + get(x, i) * total * factor)

    return local_response_gradient
