"""Batch normalisation (Ioffe and Szegedy, 2015).

Statistics are of the whole batch, so they cut a step's first phase: all blocks up to here, then
units side by side, then all blocks from here on.
"""

from .data import samples_in_block
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
from .simd import bits_to_float64, get, iota, lane_sum, load, put, select, splat, sqrt, store

from numba.extending import register_jitable  # isort: skip


@kernel
def batch_statistics(t):
    """Mean and inverse deviation of some units over the batch, and their running averages.

    op: x, mean, inverse deviation (shared), running mean, running variance (parameters), epsilon,
    momentum, first unit, last. The running variance is the unbiased one, as in PyTorch.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def batch_statistics(op, frame, slot):
        mean, deviation = frame[SHARED] + op[1], frame[SHARED] + op[2]
        running_mean, running_variance = frame[PARAMETERS] + op[3], frame[PARAMETERS] + op[4]
        epsilon, momentum = bits_to_float64(op[5]), bits_to_float64(op[6])
        count = frame[COUNT]
        for unit in range(op[7], op[8]):
            m = _sum(frame, op[0], unit, 0.0, False) / count
            variance = _sum(frame, op[0], unit, m, True) / count
            put(mean, unit, real(m))
            put(deviation, unit, real(1.0 / (variance + epsilon) ** 0.5))
            unbiased = variance * count / max(count - 1, 1)
            _average(running_mean, unit, m, momentum)
            _average(running_variance, unit, unbiased, momentum)

    @register_jitable
    def _average(address, unit, value, momentum):
        put(address, unit, real((1.0 - momentum) * get(real, address, unit) + momentum * value))

    @register_jitable
    def _sum(frame, x, unit, m, squared):
        total = 0.0
        block = frame[WORKSPACE]
        center = splat(vector, m)
        for start in range(0, frame[COUNT], width):
            for n in range(0, width, lanes):
                value = load(vector, block + x, unit * width + n) - center
                if squared:
                    value = value * value
                inside = iota(vector) < splat(vector, frame[COUNT] - start - n)
                total += lane_sum(select(inside, value, 0.0))
            block += frame[WORKSPACE_STRIDE]
        return total

    return batch_statistics


@kernel
def normalize(t):
    """y = gamma (x - mean) / deviation + beta.

    op: x, mean, inverse deviation, gamma, beta, y, units.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize(op, frame, slot):
        x, y = slot + op[0], slot + op[5]
        mean, deviation = frame[SHARED] + op[1], frame[SHARED] + op[2]
        gamma, beta = frame[PARAMETERS] + op[3], frame[PARAMETERS] + op[4]
        for unit in range(op[6]):
            scale = splat(vector, get(real, gamma, unit) * get(real, deviation, unit))
            center = splat(vector, get(real, mean, unit))
            shift = splat(vector, get(real, beta, unit))
            for n in range(unit * width, (unit + 1) * width, lanes):
                store(y, n, (load(vector, x, n) - center) * scale + shift)

    return normalize


@kernel
def normalize_running(t):
    """The same with the running averages. op: x, gamma, beta, mean, variance, y, units, epsilon."""
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize_running(op, frame, slot):
        x, y = slot + op[0], slot + op[5]
        gamma, beta = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        mean, variance = frame[PARAMETERS] + op[3], frame[PARAMETERS] + op[4]
        epsilon = splat(vector, bits_to_float64(op[7]))
        for unit in range(op[6]):
            spread = sqrt(splat(vector, get(real, variance, unit)) + epsilon)
            scale = splat(vector, get(real, gamma, unit)) / spread
            center = splat(vector, get(real, mean, unit))
            shift = splat(vector, get(real, beta, unit))
            for n in range(unit * width, (unit + 1) * width, lanes):
                store(y, n, (load(vector, x, n) - center) * scale + shift)

    return normalize_running


@kernel
def normalize_sums(t):
    """dgamma = sum dy (x - mean) / deviation and dbeta = sum dy, over the batch.

    op: x, dy, mean, inverse deviation, dgamma, dbeta (shared), first unit, last.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize_sums(op, frame, slot):
        mean, deviation = frame[SHARED] + op[2], frame[SHARED] + op[3]
        for unit in range(op[6], op[7]):
            center = splat(vector, get(real, mean, unit))
            scale = splat(vector, get(real, deviation, unit))
            dgamma, dbeta = 0.0, 0.0
            block = frame[WORKSPACE]
            for _ in range(0, frame[COUNT], width):
                for n in range(unit * width, (unit + 1) * width, lanes):
                    dy = load(vector, block + op[1], n)
                    dbeta += lane_sum(dy)
                    dgamma += lane_sum(dy * (load(vector, block + op[0], n) - center) * scale)
                block += frame[WORKSPACE_STRIDE]
            put(frame[SHARED] + op[4], unit, real(dgamma))
            put(frame[SHARED] + op[5], unit, real(dbeta))

    return normalize_sums


@kernel
def normalize_gradient(t):
    """dx, from the batch's sums.

    op: x, dy, mean, inverse deviation, gamma, dgamma, dbeta, dx, units.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real

    def normalize_gradient(op, frame, slot):
        x, dy, dx = slot + op[0], slot + op[1], slot + op[7]
        mean, deviation = frame[SHARED] + op[2], frame[SHARED] + op[3]
        gamma = frame[PARAMETERS] + op[4]
        dgamma, dbeta = frame[SHARED] + op[5], frame[SHARED] + op[6]
        count = real(frame[COUNT])
        samples = samples_in_block(frame, width)
        for unit in range(op[8]):
            spread = splat(vector, get(real, deviation, unit))
            center = splat(vector, get(real, mean, unit))
            scale = splat(vector, get(real, gamma, unit)) * spread
            a = splat(vector, get(real, dgamma, unit) / count) * spread
            b = splat(vector, get(real, dbeta, unit) / count)
            for n in range(0, width, lanes):
                i = unit * width + n
                value = load(vector, dy, i) - b - (load(vector, x, i) - center) * a
                inside = iota(vector) < splat(vector, samples - n)
                store(dx, i, select(inside, value * scale, 0.0))

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
