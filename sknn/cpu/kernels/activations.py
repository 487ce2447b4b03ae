"""Activations and their derivatives, each a function of one vector.

A row of ``FUNCTIONS`` makes, for a vector's elementary functions, the activation and its
derivative; the derivative is a function of the output where possible, else of the input
(``sknn.tape.activations`` says which). `p` is the activation's parameter, where it has one.
"""

from math import pi, sqrt

from .compiling import register_jitable
from .frame import kernel
from .functions import functions
from .simd import absolute, bits_to_float64, load, select, splat, store

#: Of SELU (Klambauer et al., 2017), after which numbers of mean 0 and variance 1 remain so.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _identity(f):
    return lambda x, p: x, lambda y, p: y * 0.0 + 1.0


def _step(f):
    return lambda x, p: select(x >= 0.0, x * 0.0 + 1.0, x * 0.0), lambda y, p: y * 0.0


def _exp(f):
    exp = f.exp
    return lambda x, p: exp(x), lambda y, p: y


def _logistic(f):
    logistic = f.logistic
    return lambda x, p: logistic(x), lambda y, p: y * (1.0 - y)


def _tanh(f):
    tanh = f.tanh
    return lambda x, p: tanh(x), lambda y, p: 1.0 - y * y


def _relu(f):
    # written so that NaN passes, as in NumPy's maximum
    return lambda x, p: select(x < 0.0, 0.0, x), lambda y, p: select(y == 0.0, 0.0, y * 0.0 + 1.0)


def _leaky_relu(f):
    def forward(x, p):
        return select(x < 0.0, x * p, x)

    def derivative(x, p):
        return select(x < 0.0, x * 0.0 + p, x * 0.0 + 1.0)

    return forward, derivative


def _elu(f):
    expm1, exp = f.expm1, f.exp

    def forward(x, p):
        return select(x < 0.0, expm1(x) * p, x)

    def derivative(x, p):
        return select(x < 0.0, exp(x) * p, x * 0.0 + 1.0)

    return forward, derivative


def _softplus(f):
    exp, log1p, logistic = f.exp, f.log1p, f.logistic

    def forward(x, p):
        return select(x < 0.0, x * 0.0, x) + log1p(exp(absolute(x) * -1.0))

    return forward, lambda x, p: logistic(x)


def _selu(f):
    expm1, exp, alpha, scale = f.expm1, f.exp, SELU_ALPHA * SELU_SCALE, SELU_SCALE

    def forward(x, p):
        return select(x < 0.0, expm1(x) * alpha, x * scale)

    def derivative(x, p):
        return select(x < 0.0, exp(x) * alpha, x * 0.0 + scale)

    return forward, derivative


def _silu(f):
    logistic = f.logistic

    def derivative(x, p):
        s = logistic(x)
        return s * (x * (1.0 - s) + 1.0)

    return lambda x, p: x * logistic(x), derivative


def _mish(f):
    # tanh(log(1 + e^x)) is a ratio of polynomials of e^x; with those of w = e^-|x| nothing can
    # overflow, nor can 1 - tanh, the second of the two terms, cancel
    exp = f.exp

    @register_jitable
    def parts(x):
        w = exp(absolute(x) * -1.0)
        below, square = w * (w + 2.0), w * w * 2.0
        top = select(x < 0.0, below, w * 2.0 + 1.0)
        rest = select(x < 0.0, w * 0.0 + 2.0, square)
        return w, top / (top + rest), rest / (top + rest)

    def forward(x, p):
        return x * parts(x)[1]

    def derivative(x, p):
        w, t, rest = parts(x)
        s = select(x < 0.0, w, w * 0.0 + 1.0) / (w + 1.0)
        return t + x * rest * (t + 1.0) * s

    return forward, derivative


def _gelu(f):
    tanh, scale = f.tanh, sqrt(2 / pi)

    def forward(x, p):
        return x * 0.5 * (tanh((x + x * x * x * 0.044715) * scale) + 1.0)

    def derivative(x, p):
        t = tanh((x + x * x * x * 0.044715) * scale)
        inner = (x * x * (3 * 0.044715) + 1.0) * scale
        return (t + 1.0) * 0.5 + x * 0.5 * (1.0 - t * t) * inner

    return forward, derivative


FUNCTIONS = {
    "identity": _identity,
    "step": _step,
    "exp": _exp,
    "logistic": _logistic,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "softplus": _softplus,
    "selu": _selu,
    "silu": _silu,
    "mish": _mish,
    "gelu": _gelu,
}


@kernel
def activation(t, name):
    """y = f(x). op: x, y, elements, parameter."""
    wide, lanes = t.wide, t.wide.lanes
    f = register_jitable(FUNCTIONS[name](functions(wide))[0])

    def activation(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        p = splat(wide, bits_to_float64(op[3]))
        for i in range(0, op[2], lanes):
            store(y, i, f(load(wide, x, i), p))

    return activation


@kernel
def activation_gradient(t, name):
    """dx = dy f'(v), v the output or the input. op: v, dy, dx, elements, parameter."""
    wide, lanes = t.wide, t.wide.lanes
    derivative = register_jitable(FUNCTIONS[name](functions(wide))[1])

    def activation_gradient(op, frame, slot):
        v, dy, dx = slot + op[0], slot + op[1], slot + op[2]
        p = splat(wide, bits_to_float64(op[4]))
        for i in range(0, op[3], lanes):
            store(dx, i, load(wide, dy, i) * derivative(load(wide, v, i), p))

    return activation_gradient


@kernel
def softmax(t):
    """y = exp(x) / sum over the units of exp(x), at each step. op: x, y, units, steps."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes
    exp = functions(vector).exp

    def softmax(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        for step in range(op[3]):
            begin, end = step * op[2] * width, (step + 1) * op[2] * width
            for n in range(begin, begin + width, lanes):
                largest = load(vector, x, n)
                for i in range(n + width, end, width):
                    value = load(vector, x, i)
                    largest = select(value > largest, value, largest)
                total = splat(vector, 0.0)
                for i in range(n, end, width):
                    value = exp(load(vector, x, i) - largest)
                    total = total + value
                    store(y, i, value)
                for i in range(n, end, width):
                    store(y, i, load(vector, y, i) / total)

    return softmax


@kernel
def softmax_gradient(t):
    """dx = y (dy - sum over the units of y dy), at each step. op: y, dy, dx, units, steps."""
    vector, width, lanes = t.vector, t.width, t.vector.lanes

    def softmax_gradient(op, frame, slot):
        y, dy, dx = slot + op[0], slot + op[1], slot + op[2]
        for step in range(op[4]):
            begin, end = step * op[3] * width, (step + 1) * op[3] * width
            for n in range(begin, begin + width, lanes):
                total = splat(vector, 0.0)
                for i in range(n, end, width):
                    total = total + load(vector, y, i) * load(vector, dy, i)
                for i in range(n, end, width):
                    store(dx, i, load(vector, y, i) * (load(vector, dy, i) - total))

    return softmax_gradient
