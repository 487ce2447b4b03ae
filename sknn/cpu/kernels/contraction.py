"""The contractive penalty (Rifai et al., 2011), and what the gradient of weights gets beside sums.

A layer's Jacobian has the elements f'(z_j) w_ij, so that its squared norm is the sum over units of
f'(z_j)^2 times the squared norm of the unit's weights. It depends on the weights twice: through z,
and by themselves.
"""

from numba.core import types

from .compiling import register_jitable
from .frame import (
    BLOCK,
    COUNT,
    GRADIENT,
    LOSSES,
    PARAMETERS,
    SHARED,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .functions import functions
from .simd import bits_to_float64, fma, get, lane_sum, load, put, select, splat, store


def _elu(exp):
    def square(a, p):
        return select(a < 0.0, (a + p) * (a + p), a * 0.0 + 1.0)

    return square, lambda a, p: select(a < 0.0, (a + p) * 2.0, a * 0.0)


def _softplus(exp):
    def square(a, p):
        f = 1.0 - exp(a * -1.0)
        return f * f

    def derivative(a, p):
        e = exp(a * -1.0)
        return (1.0 - e) * e * 2.0

    return square, derivative


#: By activation: the square of its derivative, as a function of the output, and the derivative of
#: that.
SQUARES = {
    "identity": lambda exp: (lambda a, p: a * 0.0 + 1.0, lambda a, p: a * 0.0),
    "logistic": lambda exp: (
        lambda a, p: a * (1.0 - a) * (a * (1.0 - a)),
        lambda a, p: a * (1.0 - a) * (1.0 - a * 2.0) * 2.0,
    ),
    "tanh": lambda exp: (
        lambda a, p: (1.0 - a * a) * (1.0 - a * a),
        lambda a, p: (1.0 - a * a) * a * -4.0,
    ),
    "relu": lambda exp: (
        lambda a, p: select(a > 0.0, a * 0.0 + 1.0, a * 0.0),
        lambda a, p: a * 0.0,
    ),
    "leaky_relu": lambda exp: (
        lambda a, p: select(a < 0.0, a * 0.0 + p * p, a * 0.0 + 1.0),
        lambda a, p: a * 0.0,
    ),
    "elu": _elu,
    "softplus": _softplus,
}


@kernel
def column_norms(t, pack):
    """The squared norm of each unit's weights. op: w, norms (shared), inputs, first pack, last."""
    wide, lanes, size = t.wide, t.wide.lanes, t.size

    def column_norms(op, frame, slot):
        w, norms, inputs = frame[PARAMETERS] + op[0], frame[SHARED] + op[1], op[2]
        for first in range(op[3] * pack, op[4] * pack, pack):
            column = w + first * inputs * size
            for unit in range(0, pack, lanes):
                total = splat(wide, 0.0)
                for i in range(unit, inputs * pack, pack):
                    value = load(wide, column, i)
                    total = fma(value, value, total)
                store(norms, first + unit, total)

    return column_norms


@kernel
def contraction(t, function):
    """Add the penalty to the loss, and its gradient by the outputs a to da.

    op: a, norms (shared), weights, da, factors, dx, units, strength, the activation's parameter.
    The factors are what multiplies the weights in their own gradient, for each sample.
    """
    vector, width, lanes, real = t.vector, t.width, t.vector.lanes, t.real
    square, derivative = map(register_jitable, SQUARES[function](functions(vector).exp))

    def contraction(op, frame, slot):
        a, norms, weights, da = slot + op[0], frame[SHARED] + op[1], slot + op[2], slot + op[3]
        factors, dx = slot + op[4], slot + op[5]
        strength, p = bits_to_float64(op[7]), splat(vector, bits_to_float64(op[8]))
        total = 0.0
        for n in range(0, width, lanes):
            weight, sums = load(vector, weights, n), splat(vector, 0.0)
            for unit in range(op[6]):
                i = unit * width + n
                value, norm = load(vector, a, i), splat(vector, get(real, norms, unit) * strength)
                factor = square(value, p) * weight
                sums = sums + factor * norm
                store(factors, i, factor)
                store(dx, i, load(vector, da, i) + derivative(value, p) * norm * weight)
            total += lane_sum(sums)
        put(frame[LOSSES], frame[BLOCK], get(types.float64, frame[LOSSES], frame[BLOCK]) + total)

    return contraction


@kernel
def unit_sums(t):
    """Sums over the batch. op: a, sums (shared), units, first unit, last.

    What is summed is zero beyond the last sample.
    """
    vector, width, lanes, real, size = t.vector, t.width, t.vector.lanes, t.real, t.size

    def unit_sums(op, frame, slot):
        for unit in range(op[3], op[4]):
            total, block = 0.0, frame[WORKSPACE] + op[0] + unit * width * size
            for _ in range(0, frame[COUNT], width):
                sums = splat(vector, 0.0)
                for n in range(0, width, lanes):
                    sums = sums + load(vector, block, n)
                total += lane_sum(sums)
                block += frame[WORKSPACE_STRIDE]
            put(frame[SHARED] + op[1], unit, real(total))

    return unit_sums


@kernel
def add_weights(t, pack):
    """Add to a gradient the weights, each unit's times a scale and a factor.

    op: first byte of the slice in the parameter, its byte in the gradient, elements in it, byte of
    the parameter, factors (shared), inputs, scale.
    """
    wide, lanes, size = t.wide, t.wide.lanes, t.size

    def add_weights(op, frame, slot):
        w, g = frame[PARAMETERS] + op[0], frame[GRADIENT] + op[1]
        factors, scale = frame[SHARED] + op[4], splat(wide, bits_to_float64(op[6]))
        row = (op[0] - op[3]) // (pack * size)
        for first in range(0, op[2], pack):
            unit = row // op[5] * pack
            for v in range(0, pack, lanes):
                factor = load(wide, factors, unit + v) * scale
                i = first + v
                store(g, i, fma(factor, load(wide, w, i), load(wide, g, i)))
            row += 1

    return add_weights
