"""Losses: the value for each sample, and the gradient that backpropagation starts from.

A row of ``FUNCTIONS`` makes, for a vector's elementary functions, the loss of one output `a`
against its target `y` and its derivative with respect to `a`. With the canonical link of a loss as
output activation, the gradient with respect to the pre-activations is a - y, and the activation's
own gradient is not computed.
"""


from numba.core import types

from .compiling import register_jitable
from .frame import BLOCK, LOSSES, Y_COLUMN, Y_ROW, Y, kernel
from .functions import functions
from .gather import row_number, samples_in_block
from .simd import (
    absolute,
    bits_to_float64,
    get,
    lane_sum,
    load,
    put,
    select,
    splat,
    store,
)


def _clip(x, eps):
    return select(x < eps, eps, select(x > 1.0 - eps, 1.0 - eps, x))


_clip = register_jitable(_clip)


def _log_loss(f, eps):
    log = f.log

    def value(a, y, p):
        q = _clip(a, eps)
        return (y * log(q) + (1.0 - y) * log(1.0 - q)) * -1.0

    def derivative(a, y, p):
        q = _clip(a, eps)
        return (q - y) / (q * (1.0 - q))

    return value, derivative


def _squared_error(f, eps):
    return lambda a, y, p: (y - a) * (y - a) * 0.5, lambda a, y, p: a - y


def _absolute_error(f, eps):
    def derivative(a, y, p):
        return select(a > y, a * 0.0 + 1.0, select(a < y, a * 0.0 - 1.0, a - y))

    return lambda a, y, p: absolute(y - a), derivative


def _huber(f, eps):
    def value(a, y, p):
        r = absolute(y - a)
        return select(r > p, p * (r - p * 0.5), r * r * 0.5)

    def derivative(a, y, p):
        r = a - y
        return select(r > p, p, select(r < p * -1.0, p * -1.0, r))

    return value, derivative


def _quantile(f, eps):
    def value(a, y, p):
        r = y - a
        return select(r < 0.0, r * (p - 1.0), r * p)

    def derivative(a, y, p):
        return select(a > y, 1.0 - p, select(a < y, p * -1.0, a - y))

    return value, derivative


def _poisson(f, eps):
    log = f.log

    def value(a, y, p):
        return select(y == 0.0, y * 0.0, y * log(y / a)) - y + a

    return value, lambda a, y, p: 1.0 - y / a


FUNCTIONS = {
    "log_loss": _log_loss,
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "quantile": _quantile,
    "poisson": _poisson,
}


def _epsilon(real):
    return 2.0**-23 if real == types.float32 else 2.0**-52


@kernel
def loss(t, name, canonical):
    """The loss of a block against target columns, and its gradient.

    op: a, y, weights (of each step), da, units, parameter, scale of the reported value, scale of
    the gradient, smoothing (of the log-loss's targets), steps.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    value, derivative = map(
        register_jitable, FUNCTIONS[name](functions(vector), _epsilon(t.real))
    )
    smooths = name == "log_loss"

    def loss(op, frame, slot):
        a, y, weights, da = slot + op[0], slot + op[1], slot + op[2], slot + op[3]
        p = splat(vector, bits_to_float64(op[5]))
        total = 0.0
        slope = splat(vector, bits_to_float64(op[7]))
        smoothing = bits_to_float64(op[8])
        for step in range(op[9]):
            begin, end = step * op[4] * width, (step + 1) * op[4] * width
            for n in range(0, width, lanes):
                weight = load(vector, weights, step * width + n)
                sums, factor = splat(vector, 0.0), weight * slope
                for i in range(begin + n, end, width):
                    output, target = load(vector, a, i), load(vector, y, i)
                    if smooths:
                        target = target * (1.0 - smoothing) + 0.5 * smoothing
                    sums = sums + value(output, target, p)
                    if canonical:
                        store(da, i, (output - target) * factor)
                    else:
                        store(da, i, derivative(output, target, p) * factor)
                total += lane_sum(sums * weight)
        put(frame[LOSSES], frame[BLOCK], total * bits_to_float64(op[6]))

    return loss


@kernel
def quantile_loss(t):
    """The pinball losses of several quantiles of one target, and their gradient.

    op: a, y, levels (of each output), weights, da, units, scale of the reported value, scale of the
    gradient.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    value, derivative = map(register_jitable, _quantile(functions(vector), _epsilon(t.real)))

    def quantile_loss(op, frame, slot):
        a, y, levels, weights = slot + op[0], slot + op[1], slot + op[2], slot + op[3]
        da, end, total = slot + op[4], op[5] * width, 0.0
        slope = splat(vector, bits_to_float64(op[7]))
        for n in range(0, width, lanes):
            weight, target = load(vector, weights, n), load(vector, y, n)
            sums, factor = splat(vector, 0.0), weight * slope
            for i in range(n, end, width):
                output, level = load(vector, a, i), load(vector, levels, i)
                sums = sums + value(output, target, level)
                store(da, i, derivative(output, target, level) * factor)
            total += lane_sum(sums * weight)
        put(frame[LOSSES], frame[BLOCK], total * bits_to_float64(op[6]))

    return quantile_loss


@kernel
def log_loss_softmax(t):
    """Cross-entropy of softmax's probabilities against class numbers, and its gradient before it.

    The targets are int64 numbers of classes in the caller's order of rows, one for each step.
    With smoothing e, the target is a mixture: 1 - e of the class, and e of all of them alike.
    op: a, weights (of each step), da, units, steps, smoothing.
    """
    vector, width, lanes, real, size = t.vector, t.width, t.vector.lanes, t.real, t.size
    log, eps = functions(vector).log, _epsilon(t.real)

    def log_loss_softmax(op, frame, slot):
        units, steps, smoothing = op[3], op[4], bits_to_float64(op[5])
        share, own = smoothing / units, real(1.0 - smoothing)
        first = frame[BLOCK] * width
        samples = samples_in_block(frame, width)
        total = 0.0
        chosen = slot + op[2] + steps * units * width * size  # a spare row: targets' probabilities
        for step in range(steps):
            place = step * units * width * size
            a, da, weights = slot + op[0] + place, slot + op[2] + place, slot + op[1]
            weights += step * width * size
            for n in range(0, width, lanes):
                weight = load(vector, weights, n)
                for i in range(n, units * width, width):
                    store(da, i, (load(vector, a, i) - share) * weight)
            for n in range(width):
                i = n
                if n < samples:
                    row = frame[Y] + row_number(frame, first + n) * frame[Y_ROW]
                    i += width * get(types.int64, row + step * frame[Y_COLUMN], 0)
                    put(da, i, real(get(real, da, i) - own * get(real, weights, n)))
                put(chosen, n, get(real, a, i))
            for n in range(0, width, lanes):
                value = log(_clip(load(vector, chosen, n), eps)) * (1.0 - smoothing)
                if smoothing > 0.0:
                    sums = splat(vector, 0.0)
                    for i in range(n, units * width, width):
                        sums = sums + log(_clip(load(vector, a, i), eps))
                    value = value + sums * share
                total -= lane_sum(value * load(vector, weights, n))
        put(frame[LOSSES], frame[BLOCK], total)

    return log_loss_softmax


@kernel
def activity_penalty(t):
    """Add a penalty of the outputs a to the loss, and its gradient to da.

    op: a, weights (of each step), da, dx, units, l1, l2, steps.
    """
    vector, width, lanes = t.vector, t.width, t.vector.lanes

    def activity_penalty(op, frame, slot):
        a, weights, da, dx = slot + op[0], slot + op[1], slot + op[2], slot + op[3]
        l1, l2 = bits_to_float64(op[5]), bits_to_float64(op[6])
        total = 0.0
        for step in range(op[7]):
            begin, end = step * op[4] * width, (step + 1) * op[4] * width
            for n in range(0, width, lanes):
                weight = load(vector, weights, step * width + n)
                sizes, squares = splat(vector, 0.0), splat(vector, 0.0)
                for i in range(begin + n, end, width):
                    value = load(vector, a, i)
                    sizes = sizes + absolute(value)
                    squares = squares + value * value
                    sign = select(value > 0.0, l1, select(value < 0.0, l1 * -1.0, value * 0.0))
                    store(dx, i, load(vector, da, i) + (sign + value * l2) * weight)
                total += lane_sum((sizes * l1 + squares * (0.5 * l2)) * weight)
        put(frame[LOSSES], frame[BLOCK], get(types.float64, frame[LOSSES], frame[BLOCK]) + total)

    return activity_penalty
