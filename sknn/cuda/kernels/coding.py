"""Penalties of what layers give out, and what the gradient of weights gets beside sums.

The contractive penalty is a sum over units of f'(z_j)^2 times the squared norm of the unit's
weights: see the CPU's kernels.
"""

import math

from .dense import task_place
from .frame import (
    COUNT,
    LOSSES,
    PACKS,
    PARAMETERS,
    PART,
    RANK,
    SHARED,
    SIZE,
    SLOT,
    TASK_PACK,
    THREAD,
    kernel,
)
from .updates import each


@kernel
def activity_penalty(t):
    """Add a penalty of the outputs a to the loss, and its gradient to da.

    o: a, weights (of each step), da, dx, units, l1, l2, steps.
    """
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    width, add_loss, zero, half = t.width, t.add_loss, t.real(0), t.real(0.5)

    def value(team, frame, o, i):
        n, l1, l2 = i & (width - 1), bits(constant(o, 5)), bits(constant(o, 6))
        if n >= team[COUNT]:
            return zero
        output = get(team[SLOT] + constant(o, 0), i)
        penalty = abs(output) * l1 + output * output * (half * l2)
        step = divide(i, constant(o, 4) * width)
        return penalty * get(team[SLOT] + constant(o, 1), step * width + n)

    total = t.sum_of(value)

    def activity_penalty(team, frame, o, scratch):
        a, weights = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        da, dx = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        each, l1, l2 = constant(o, 4) * width, bits(constant(o, 5)), bits(constant(o, 6))
        elements = constant(o, 7) * each
        for i in range(team[RANK], elements, team[SIZE]):
            weight, value = get(weights, divide(i, each) * width + (i & (width - 1))), get(a, i)
            sign = l1 if value > zero else (-l1 if value < zero else value * zero)
            put(dx, i, get(da, i) + (sign + value * l2) * weight)
        if team[PART]:
            return
        add_loss(team, frame, LOSSES, total(team, frame, o, scratch, elements))

    return activity_penalty


# --- the contractive penalty


def _identity(t):
    zero, one = t.real(0), t.real(1)
    return lambda a, p: one, lambda a, p: zero


def _logistic(t):
    one, two = t.real(1), t.real(2)

    def square(a, p):
        slope = a * (one - a)
        return slope * slope

    return square, lambda a, p: a * (one - a) * (one - a * two) * two


def _tanh(t):
    one, minus_four = t.real(1), t.real(-4)

    def square(a, p):
        slope = one - a * a
        return slope * slope

    return square, lambda a, p: (one - a * a) * a * minus_four


def _relu(t):
    zero, one = t.real(0), t.real(1)
    return lambda a, p: one if a > zero else zero, lambda a, p: zero


def _leaky_relu(t):
    zero, one = t.real(0), t.real(1)
    return lambda a, p: p * p if a < zero else one, lambda a, p: zero


def _elu(t):
    zero, one, two = t.real(0), t.real(1), t.real(2)

    def square(a, p):
        return (a + p) * (a + p) if a < zero else one

    return square, lambda a, p: (a + p) * two if a < zero else zero


def _softplus(t):
    one, two = t.real(1), t.real(2)

    def square(a, p):
        slope = one - math.exp(-a)
        return slope * slope

    def derivative(a, p):
        e = math.exp(-a)
        return (one - e) * e * two

    return square, derivative


#: Each makes the square of an activation's derivative, as a function of the output, and the
#: derivative of that.
SQUARES = {
    "identity": _identity, "logistic": _logistic, "tanh": _tanh, "relu": _relu,
    "leaky_relu": _leaky_relu, "elu": _elu, "softplus": _softplus,
}  # fmt: skip


@kernel(skips=[0])
def column_norms(t):
    """The squared norm of each unit's weights. o: w, norms (shared), inputs.

    All units are one task: here a row of the weights is one pack.
    """
    get, put, constant, fma, threads, real = t.get, t.put, t.constant, t.fma, t.threads, t.real

    def column_norms(team, frame, o, scratch):
        w, units = constant(frame, PARAMETERS) + constant(o, 0), constant(o, PACKS)
        norms = constant(frame, SHARED) + constant(o, 1)
        for unit in range(team[THREAD], units, threads):
            total = real(0)
            for i in range(constant(o, 2)):
                value = get(w, i * units + unit)
                total = fma(value, value, total)
            put(norms, unit, total)

    return column_norms


@kernel
def contraction(t, function):
    """Add the penalty to the loss, and its gradient by the outputs a to da.

    o: a, norms (shared), weights, da, factors, dx, units, strength, the activation's parameter.
    The factors are what multiplies the weights in their own gradient, for each sample.
    """
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    width, add_loss, real = t.width, t.add_loss, t.real
    square, derivative = map(t.jit, SQUARES[function](t))

    def value(team, frame, o, i):
        n = i & (width - 1)
        if n >= team[COUNT]:
            return real(0)
        norms = constant(frame, SHARED) + constant(o, 1)
        norm = get(norms, divide(i, width)) * bits(constant(o, 7))
        output, weight = get(team[SLOT] + constant(o, 0), i), get(team[SLOT] + constant(o, 2), n)
        return square(output, bits(constant(o, 8))) * weight * norm

    total = t.sum_of(value)

    def contraction(team, frame, o, scratch):
        a, norms = team[SLOT] + constant(o, 0), constant(frame, SHARED) + constant(o, 1)
        weights, da = team[SLOT] + constant(o, 2), team[SLOT] + constant(o, 3)
        factors, dx = team[SLOT] + constant(o, 4), team[SLOT] + constant(o, 5)
        elements, strength, p = constant(o, 6) * width, bits(constant(o, 7)), bits(constant(o, 8))
        for i in range(team[RANK], elements, team[SIZE]):
            weight, value = get(weights, i & (width - 1)), get(a, i)
            norm = get(norms, divide(i, width)) * strength
            gradient = get(da, i) + derivative(value, p) * norm * weight
            put(factors, i, square(value, p) * weight)
            put(dx, i, gradient)
        if team[PART]:
            return
        add_loss(team, frame, LOSSES, total(team, frame, o, scratch, elements))

    return contraction


@kernel(skips=[0])
def add_weights(t):
    """Add to a gradient the weights, each unit's times a scale and a factor.

    o: factors (shared), inputs, scale.
    """
    get, put, constant, bits, divide = t.get, t.put, t.constant, t.bits, t.divide
    fma, place = t.fma, task_place(t)

    def body(team, frame, o, g, w, i):
        _, column = place(o)
        column += i  # and rows further on
        unit = column - divide(column, constant(o, TASK_PACK)) * constant(o, TASK_PACK)
        factor = get(constant(frame, SHARED) + constant(o, 0), unit) * bits(constant(o, 2))
        put(g, i, fma(factor, get(w, i), get(g, i)))

    return each(t, body)


@kernel
def weigh_samples(t):
    """y = x times the weight of the sample. o: x, weights, y, units."""
    get, put, constant, width = t.get, t.put, t.constant, t.width

    def weigh_samples(team, frame, o, scratch):
        x, weights = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        y = team[SLOT] + constant(o, 2)
        for i in range(team[RANK], constant(o, 3) * width, team[SIZE]):
            put(y, i, get(x, i) * get(weights, i & (width - 1)))

    return weigh_samples
