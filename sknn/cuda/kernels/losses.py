"""Losses: the value for a block, and the gradient that backpropagation starts from.

The value is one sum over the block, in a fixed order: the first group computes it. With the
canonical link of a loss as output activation, the gradient with respect to the pre-activations is
a - y.
"""

import math

from .frame import (
    BATCH,
    BLOCK,
    CLASS_COLUMNS,
    CLASSES,
    COUNT,
    LOSSES,
    PART,
    RANK,
    SIZE,
    SLOT,
    STEP,
    kernel,
)


def _epsilon(t):
    return t.real(2.0**-23 if t.size == 4 else 2.0**-52)


def _clip_of(t):
    low, high = _epsilon(t), t.real(1) - _epsilon(t)

    @t.jit
    def clip(x):
        return low if x < low else (high if x > high else x)

    return clip


def _log_loss(t):
    clip, one = _clip_of(t), t.real(1)

    def value(a, y, p):
        q = clip(a)
        return -(y * math.log(q) + (one - y) * math.log(one - q))

    def derivative(a, y, p):
        q = clip(a)
        return (q - y) / (q * (one - q))

    return value, derivative


def _squared_error(t):
    half = t.real(0.5)
    return lambda a, y, p: (y - a) * (y - a) * half, lambda a, y, p: a - y


def _absolute_error(t):
    one = t.real(1)

    def derivative(a, y, p):
        return one if a > y else (-one if a < y else a - y)

    return lambda a, y, p: abs(y - a), derivative


def _huber(t):
    half = t.real(0.5)

    def value(a, y, p):
        r = abs(y - a)
        return p * (r - p * half) if r > p else r * r * half

    def derivative(a, y, p):
        r = a - y
        return p if r > p else (-p if r < -p else r)

    return value, derivative


def _quantile(t):
    zero, one = t.real(0), t.real(1)

    def value(a, y, p):
        r = y - a
        return r * (p - one) if r < zero else r * p

    def derivative(a, y, p):
        return one - p if a > y else (-p if a < y else a - y)

    return value, derivative


def _poisson(t):
    zero, one = t.real(0), t.real(1)

    def value(a, y, p):
        return (zero if y == zero else y * math.log(y / a)) - y + a

    return value, lambda a, y, p: one - y / a


FUNCTIONS = {
    "log_loss": _log_loss, "squared_error": _squared_error, "absolute_error": _absolute_error,
    "huber": _huber, "quantile": _quantile, "poisson": _poisson,
}  # fmt: skip


@kernel
def loss(t, name, canonical):
    """The loss of a block against target columns, and its gradient.

    o: a, y, weights (of each step), da, units, parameter, scale of the reported value, scale of the
    gradient, smoothing (of the log-loss's targets), steps.
    """
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    width, real, add_loss = t.width, t.real, t.add_loss
    value, derivative = map(t.jit, FUNCTIONS[name](t))
    one, half, smooths = real(1), real(0.5), name == "log_loss"

    @t.jit
    def weight_of(team, o, i):
        step = divide(i, constant(o, 4) * width)
        return get(team[SLOT] + constant(o, 2), step * width + (i & (width - 1)))

    @t.jit
    def target_of(team, o, i):
        y = get(team[SLOT] + constant(o, 1), i)
        if smooths:
            smoothing = bits(constant(o, 8))
            y = y * (one - smoothing) + half * smoothing
        return y

    def weighed(team, frame, o, i):
        weight = weight_of(team, o, i)
        if weight == real(0):  # what lies beyond the last sample may be anything
            return real(0)
        a = get(team[SLOT] + constant(o, 0), i)
        return value(a, target_of(team, o, i), bits(constant(o, 5))) * weight

    total = t.sum_of(weighed)

    def loss(team, frame, o, scratch):
        a, da = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 3)
        elements = constant(o, 9) * constant(o, 4) * width
        p, slope = bits(constant(o, 5)), bits(constant(o, 7))
        for i in range(team[RANK], elements, team[SIZE]):
            weight = weight_of(team, o, i) * slope
            if canonical:
                put(da, i, (get(a, i) - target_of(team, o, i)) * weight)
            else:
                put(da, i, derivative(get(a, i), target_of(team, o, i), p) * weight)
        if team[PART]:
            return
        scaled = total(team, frame, o, scratch, elements) * bits(constant(o, 6))
        add_loss(team, frame, LOSSES, scaled)

    return loss


@kernel
def quantile_loss(t):
    """The pinball losses of several quantiles of one target, and their gradient.

    o: a, y, levels (of each output), weights, da, units, scale of the reported value, scale of the
    gradient.
    """
    get, put, constant, bits = t.get, t.put, t.constant, t.bits
    width, real, add_loss = t.width, t.real, t.add_loss
    value, derivative = map(t.jit, _quantile(t))

    def weighed(team, frame, o, i):
        n = i & (width - 1)
        weight = get(team[SLOT] + constant(o, 3), n)
        if weight == real(0):  # what lies beyond the last sample may be anything
            return real(0)
        a, y = get(team[SLOT] + constant(o, 0), i), get(team[SLOT] + constant(o, 1), n)
        return value(a, y, get(team[SLOT] + constant(o, 2), i)) * weight

    total = t.sum_of(weighed)

    def quantile_loss(team, frame, o, scratch):
        a, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        levels, weights = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        da, elements = team[SLOT] + constant(o, 4), constant(o, 5) * width
        slope = bits(constant(o, 7))
        for i in range(team[RANK], elements, team[SIZE]):
            n = i & (width - 1)
            put(da, i, derivative(get(a, i), get(y, n), get(levels, i)) * get(weights, n) * slope)
        if team[PART]:
            return
        scaled = total(team, frame, o, scratch, elements) * bits(constant(o, 6))
        add_loss(team, frame, LOSSES, scaled)

    return quantile_loss


@kernel
def log_loss_softmax(t):
    """Cross-entropy of softmax's probabilities against class numbers, and its gradient before it.

    With smoothing e, the target is a mixture: 1 - e of the class, and e of all of them alike.
    o: a, weights (of each step), da, units, steps, smoothing.
    """
    get, put, get_int, bits, constant, divide = (
        t.get, t.put, t.get_int, t.bits, t.constant, t.divide
    )  # fmt: skip
    width, real, add_loss = t.width, t.real, t.add_loss
    clip, row_number = _clip_of(t), t.row_number

    @t.jit
    def class_of(team, frame, n, step):
        """Return the number of the class of a sample of the block."""
        position = team[STEP] * constant(frame, BATCH) + team[BLOCK] * width + n
        row = row_number(frame, position)
        return get_int(constant(frame, CLASSES), row * constant(frame, CLASS_COLUMNS) + step)

    def value(team, frame, o, i):
        step, n = divide(i, width), i & (width - 1)
        if n >= team[COUNT]:
            return real(0)
        a, units, smoothing = team[SLOT] + constant(o, 0), constant(o, 3), bits(constant(o, 5))
        row = step * units + class_of(team, frame, n, step)
        value = math.log(clip(get(a, row * width + n))) * (real(1) - smoothing)
        if smoothing > real(0):
            total = real(0)
            for row in range(step * units, (step + 1) * units):
                total += math.log(clip(get(a, row * width + n)))
            value += total * (smoothing / real(units))
        return -(value * get(team[SLOT] + constant(o, 1), i))

    total = t.sum_of(value)

    def log_loss_softmax(team, frame, o, scratch):
        a, weights = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        da, units, steps = team[SLOT] + constant(o, 2), constant(o, 3), constant(o, 4)
        own = real(1) - bits(constant(o, 5))
        share = bits(constant(o, 5)) / real(units)
        for i in range(team[RANK], steps * units * width, team[SIZE]):
            row, n = divide(i, width), i & (width - 1)
            step = divide(row, units)
            value = get(a, i) - share
            if n < team[COUNT] and row - step * units == class_of(team, frame, n, step):
                value -= own
            put(da, i, value * get(weights, step * width + n))
        if team[PART]:
            return
        add_loss(team, frame, LOSSES, total(team, frame, o, scratch, steps * width))

    return log_loss_softmax
