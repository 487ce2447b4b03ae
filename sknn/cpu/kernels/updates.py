"""Operations on a slice of a gradient while it is in the cache: penalties, clipping, the update.

All of these start with the same operands: first byte of the slice in the parameters, its byte in
the gradient, the number of elements.
"""

from math import sqrt

from .compiling import register_jitable
from .frame import (
    GRADIENT,
    N_SUMS,
    PARAMETERS,
    RATE_AVERAGE,
    RATE_FIRST,
    RATE_WEIGHT,
    RATES,
    SHARED,
    STATE,
    STATE_STRIDE,
    SUMS,
    kernel,
)
from .simd import absolute, bits_to_float64, fma, get, lane_sum, load, put, select, splat, store
from .simd import sqrt as vector_sqrt

from numba.core import types  # isort: skip


@kernel
def regularize(t, with_l1, with_l2):
    """g = (g + l2 w + l1 sign(w)) times scale / the batch's sum of weights; its penalty.

    op: ..., byte of the parameter, l2, l1, scale, number of the slice's first sum, elements in
    each. The weights are not read where nothing depends on them: they are far away, and the
    gradient is near.
    """
    return _over_slice(t, (with_l1, with_l2), None)


@kernel
def clip_value(t):
    """Clip each element of the gradient to [-limit, limit]. op: ..., limit."""
    wide, lanes = t.wide, t.wide.lanes

    def clip_value(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        limit = splat(wide, bits_to_float64(op[4]))
        for i in range(0, op[2], lanes):
            value = load(wide, g, i)
            value = select(value > limit, limit, value)
            store(g, i, select(value < limit * -1.0, limit * -1.0, value))

    return clip_value


@kernel
def square_sum(t):
    """Leave sums of squares for total_norm. op: ..., number of the first sum, elements in each."""
    wide, lanes = t.wide, t.wide.lanes

    def square_sum(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        for first in range(0, op[2], op[5]):
            total = splat(wide, 0.0)
            for i in range(first, min(first + op[5], op[2]), lanes):
                value = load(wide, g, i)
                total = fma(value, value, total)
            put(frame[SUMS], 2 * (op[4] + first // op[5]) + 1, lane_sum(total))

    return square_sum


@kernel
def total_norm(t):
    """Leave min(1, limit / norm of the whole gradient). op: its place (shared), limit."""
    real = t.real

    def total_norm(op, frame, slot):
        total = 0.0
        for i in range(frame[N_SUMS]):
            total += get(types.float64, frame[SUMS], 2 * i + 1)
        norm, limit = sqrt(total), bits_to_float64(op[1])
        put(frame[SHARED] + op[0], 0, real(limit / norm if norm > limit else 1.0))

    return total_norm


@kernel
def scale_gradient(t):
    """g = g times what total_norm has left. op: ..., its place."""
    wide, lanes, real = t.wide, t.wide.lanes, t.real

    def scale_gradient(op, frame, slot):
        g = frame[GRADIENT] + op[1]
        scale = splat(wide, get(real, frame[SHARED] + op[4], 0))
        for i in range(0, op[2], lanes):
            store(g, i, load(wide, g, i) * scale)

    return scale_gradient


# Each rule takes a parameter, its gradient and two states, the step's rates r, and the constants
# a, b (decay rates, or the momentum), their complements ac, bc, epsilon, and the weight decay. It
# returns the parameter and the states. ``sknn.optimizers`` says where each comes from.
# A velocity has its step's rate in it; r[1] is by what the last one's is multiplied first.


@register_jitable
def _sgd(w, g, v, u, r, a, b, ac, bc, epsilon, decay):
    v = a * r[1] * v - r[0] * g
    return w + v, v, u


@register_jitable
def _nesterov(w, g, v, u, r, a, b, ac, bc, epsilon, decay):
    v = a * r[1] * v - r[0] * g
    return w + (a * v - r[0] * g), v, u


@register_jitable
def _adam(w, g, m, v, r, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    return w - r[0] * m / (vector_sqrt(v) + epsilon), m, v


@register_jitable
def _adamw(w, g, m, v, r, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    w = w - r[0] * decay * w
    return w - r[1] * m / (vector_sqrt(v) * r[2] + epsilon), m, v


@register_jitable
def _nadam(w, g, m, v, r, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    return w - (r[0] * g + r[1] * m) / (vector_sqrt(v) * r[2] + epsilon), m, v


@register_jitable
def _rmsprop(w, g, v, u, r, a, b, ac, bc, epsilon, decay):
    v = b * v + bc * (g * g)
    return w - r[0] * g / (vector_sqrt(v) + epsilon), v, u


@register_jitable
def _adagrad(w, g, v, u, r, a, b, ac, bc, epsilon, decay):
    v = v + g * g
    return w - r[0] * g / (vector_sqrt(v) + epsilon), v, u


@register_jitable
def _adadelta(w, g, v, u, r, a, b, ac, bc, epsilon, decay):
    v = a * v + ac * (g * g)
    change = vector_sqrt(u + epsilon) / vector_sqrt(v + epsilon) * g
    return w - r[0] * change, v, a * u + ac * (change * change)


#: The rules, their numbers of state arrays, and which of the step's rates are learning rates.
RULES = {
    "sgd": (_sgd, 1, (0,)),
    "nesterov": (_nesterov, 1, (0,)),
    "adam": (_adam, 2, (0,)),
    "adamw": (_adamw, 2, (1,)),
    "nadam": (_nadam, 2, (0, 1)),
    "rmsprop": (_rmsprop, 1, (0,)),
    "adagrad": (_adagrad, 1, (0,)),
    "adadelta": (_adadelta, 2, (0,)),
}


@kernel
def update(t, name):
    """One step of an optimizer. op: ..., byte of the parameter, a, b, epsilon, decay, rate."""
    return _over_slice(t, None, name)


@kernel
def regularized_update(t, with_l1, with_l2, name):
    """Both at once, without storing the gradient.

    op: ..., byte of the parameter, l2, l1, scale, a, b, epsilon, decay, rate, number of the slice's
    first sum, elements in each.
    """
    return _over_slice(t, (with_l1, with_l2), name)


def _over_slice(t, penalties, name):
    """Return a kernel that penalizes weights, updates them, or both."""
    wide, lanes = t.wide, t.wide.lanes
    penalizes, updates = penalties is not None, name is not None
    with_l1, with_l2 = penalties or (False, False)
    rule, n_states, learning = RULES[name] if updates else (None, 0, ())
    learning = tuple(i in learning for i in range(3))
    o = 7 if penalizes else 4
    sums = o + 5 if updates else o

    @register_jitable
    def _rate(frame, i, factor):
        return splat(wide, get(types.float64, frame[RATES], RATE_FIRST + i) * factor)

    def over_slice(op, frame, slot):
        w, g, n = frame[PARAMETERS] + op[0], frame[GRADIENT] + op[1], op[2]
        each = n
        if penalizes:
            each, l2, l1 = op[sums + 1], bits_to_float64(op[4]), bits_to_float64(op[5])
            l2s, l1s = splat(wide, l2), splat(wide, l1)
            weight = get(types.float64, frame[RATES], RATE_WEIGHT)
            scale = splat(wide, weight * bits_to_float64(op[6]))
        if updates:
            states = frame[STATE] + op[0]
            second = states + frame[STATE_STRIDE] if n_states == 2 else states
            a, b = bits_to_float64(op[o]), bits_to_float64(op[o + 1])
            ac, bc = splat(wide, 1.0 - a), splat(wide, 1.0 - b)
            av, bv = splat(wide, a), splat(wide, b)
            epsilon = splat(wide, bits_to_float64(op[o + 2]))
            decay = splat(wide, bits_to_float64(op[o + 3]))
            rate = bits_to_float64(op[o + 4])
            r = (
                _rate(frame, 0, rate if learning[0] else 1.0),
                _rate(frame, 1, rate if learning[1] else 1.0),
                _rate(frame, 2, rate if learning[2] else 1.0),
            )
        for first in range(0, n, each):
            squares, sizes = splat(wide, 0.0), splat(wide, 0.0)
            for i in range(first, min(first + each, n), lanes):
                gradient = load(wide, g, i)
                if with_l1 or with_l2 or updates:
                    value = load(wide, w, i)
                if with_l2:
                    squares = fma(value, value, squares)
                    gradient = gradient + l2s * value
                if with_l1:
                    sizes = sizes + absolute(value)
                    gradient = gradient + select(
                        value > 0.0, l1s, select(value < 0.0, l1s * -1.0, l1s * 0.0)
                    )
                if penalizes:
                    gradient = gradient * scale
                if updates:
                    new, m, v = rule(
                        value, gradient, load(wide, states, i), load(wide, second, i),
                        r, av, bv, ac, bc, epsilon, decay,
                    )  # fmt: skip
                    store(w, i, new)
                    store(states, i, m)
                    if n_states == 2:
                        store(second, i, v)
                else:
                    store(g, i, gradient)
            if penalizes:
                penalty = 0.5 * l2 * lane_sum(squares)
                if with_l1:
                    penalty += l1 * lane_sum(sizes)
                put(frame[SUMS], 2 * (op[sums] + first // each), penalty)

    return over_slice


@kernel
def average(t):
    """Move the average of a parameter towards what it is now.

    op: ..., byte of the parameter, which of the state arrays is the average.
    """
    wide, lanes = t.wide, t.wide.lanes

    def average(op, frame, slot):
        w = frame[PARAMETERS] + op[0]
        mean = frame[STATE] + op[4] * frame[STATE_STRIDE] + op[0]
        share = splat(wide, get(types.float64, frame[RATES], RATE_AVERAGE))
        for i in range(0, op[2], lanes):
            before = load(wide, mean, i)
            store(mean, i, before + share * (load(wide, w, i) - before))

    return average
