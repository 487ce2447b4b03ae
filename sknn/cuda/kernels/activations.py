"""Activations and their derivatives, element by element.

The derivative is of the output where that is enough to know it, else of the input, as
``sknn.tape.activations`` says. `p` is the activation's parameter, where it has one.
"""

import math

from .frame import RANK, SIZE, SLOT, kernel

#: Of SELU (Klambauer et al., 2017), after which numbers of mean 0 and variance 1 remain so.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def logistic_of(t):
    """Return the word for 1 / (1 + exp(-x)), which never divides infinities."""
    real, one = t.real, t.real(1)

    @t.jit
    def logistic(x):
        e = math.exp(-abs(x))
        return (one if x >= real(0) else e) / (one + e)

    return logistic


def _identity(t):
    one = t.real(1)
    return lambda x, p: x, lambda y, p: one


def _step(t):
    zero, one = t.real(0), t.real(1)
    return lambda x, p: one if x >= zero else zero, lambda y, p: zero


def _exp(t):
    return lambda x, p: math.exp(x), lambda y, p: y


def _logistic(t):
    logistic, one = logistic_of(t), t.real(1)
    return lambda x, p: logistic(x), lambda y, p: y * (one - y)


def _tanh(t):
    one = t.real(1)
    return lambda x, p: math.tanh(x), lambda y, p: one - y * y


def _relu(t):
    # written so that NaN passes, as in NumPy's maximum
    zero, one = t.real(0), t.real(1)
    return lambda x, p: zero if x < zero else x, lambda y, p: zero if y == zero else one


def _leaky_relu(t):
    zero, one = t.real(0), t.real(1)
    return lambda x, p: x * p if x < zero else x, lambda x, p: p if x < zero else one


def _elu(t):
    zero, one = t.real(0), t.real(1)

    def forward(x, p):
        return p * math.expm1(x) if x < zero else x

    def derivative(x, p):
        return p * math.exp(x) if x < zero else one

    return forward, derivative


def _softplus(t):
    zero, logistic = t.real(0), logistic_of(t)

    def forward(x, p):
        return (zero if x < zero else x) + math.log1p(math.exp(-abs(x)))

    return forward, lambda x, p: logistic(x)


def _selu(t):
    zero, alpha, scale = map(t.real, (0, SELU_ALPHA * SELU_SCALE, SELU_SCALE))

    def forward(x, p):
        return alpha * math.expm1(x) if x < zero else scale * x

    def derivative(x, p):
        return alpha * math.exp(x) if x < zero else scale

    return forward, derivative


def _silu(t):
    one, logistic = t.real(1), logistic_of(t)

    def derivative(x, p):
        s = logistic(x)
        return s * (one + x * (one - s))

    return lambda x, p: x * logistic(x), derivative


def _mish(t):
    # tanh(log(1 + e^x)) is a ratio of polynomials of e^x; with those of w = e^-|x| nothing can
    # overflow, nor can 1 - tanh, the second of the two terms, cancel
    zero, one, two = map(t.real, (0, 1, 2))

    @t.jit
    def top_of(x, w):
        return w * (w + two) if x < zero else one + two * w

    @t.jit
    def rest_of(x, w):
        return two if x < zero else two * w * w

    def forward(x, p):
        w = math.exp(-abs(x))
        top = top_of(x, w)
        return x * (top / (top + rest_of(x, w)))

    def derivative(x, p):
        w = math.exp(-abs(x))
        top, rest = top_of(x, w), rest_of(x, w)
        tanh, s = top / (top + rest), (w if x < zero else one) / (one + w)
        return tanh + x * (rest / (top + rest)) * (one + tanh) * s

    return forward, derivative


def _gelu(t):
    one, half, cubic, scale = map(t.real, (1, 0.5, 0.044715, math.sqrt(2 / math.pi)))
    slope = t.real(3 * 0.044715)

    def forward(x, p):
        return half * x * (one + math.tanh(scale * (x + cubic * x * x * x)))

    def derivative(x, p):
        f = math.tanh(scale * (x + cubic * x * x * x))
        return half * (one + f) + half * x * (one - f * f) * scale * (one + slope * x * x)

    return forward, derivative


#: Each makes the activation and its derivative.
FUNCTIONS = {
    "identity": _identity, "step": _step, "exp": _exp, "logistic": _logistic, "tanh": _tanh,
    "relu": _relu, "leaky_relu": _leaky_relu, "elu": _elu, "softplus": _softplus, "silu": _silu,
    "gelu": _gelu, "selu": _selu, "mish": _mish,
}  # fmt: skip


@kernel
def activation(t, name):
    """y = f(x). o: x, y, elements, parameter."""
    get, put, constant, bits = t.get, t.put, t.constant, t.bits
    f = t.jit(FUNCTIONS[name](t)[0])

    def activation(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        p = bits(constant(o, 3))
        for i in range(team[RANK], constant(o, 2), team[SIZE]):
            put(y, i, f(get(x, i), p))

    return activation


@kernel
def activation_gradient(t, name):
    """dx = dy f'(v), v the output or the input. o: v, dy, dx, elements, parameter."""
    get, put, constant, bits = t.get, t.put, t.constant, t.bits
    derivative = t.jit(FUNCTIONS[name](t)[1])

    def activation_gradient(team, frame, o, scratch):
        v, dy = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        dx, p = team[SLOT] + constant(o, 2), bits(constant(o, 4))
        for i in range(team[RANK], constant(o, 3), team[SIZE]):
            put(dx, i, get(dy, i) * derivative(get(v, i), p))

    return activation_gradient


@kernel
def softmax(t):
    """y = exp(x) / sum over the units of exp(x), at each step. o: x, y, units, steps.

    A thread has a sample's step.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, real = t.width, t.real

    def softmax(team, frame, o, scratch):
        x, y = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        units = constant(o, 2)
        for i in range(team[RANK], constant(o, 3) * width, team[SIZE]):
            step = divide(i, width)
            begin = step * units * width + i - step * width
            end = begin + units * width
            largest = get(x, begin)
            for j in range(begin + width, end, width):
                largest = max(largest, get(x, j))
            total = real(0)
            for j in range(begin, end, width):
                value = math.exp(get(x, j) - largest)
                total += value
                put(y, j, value)
            for j in range(begin, end, width):
                put(y, j, get(y, j) / total)

    return softmax


@kernel
def softmax_gradient(t):
    """dx = y (dy - sum over the units of y dy), at each step. o: y, dy, dx, units, steps."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, real = t.width, t.real

    def softmax_gradient(team, frame, o, scratch):
        y, dy = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        dx, units = team[SLOT] + constant(o, 2), constant(o, 3)
        for i in range(team[RANK], constant(o, 4) * width, team[SIZE]):
            step = divide(i, width)
            begin = step * units * width + i - step * width
            end = begin + units * width
            total = real(0)
            for j in range(begin, end, width):
                total += get(y, j) * get(dy, j)
            for j in range(begin, end, width):
                put(dx, j, get(y, j) * (get(dy, j) - total))

    return softmax_gradient


@kernel
def add(t, relu):
    """y = a + b, or its relu. o: a, b, y, elements."""
    get, put, constant, real = t.get, t.put, t.constant, t.real

    def add(team, frame, o, scratch):
        a, b = team[SLOT] + constant(o, 0), team[SLOT] + constant(o, 1)
        y = team[SLOT] + constant(o, 2)
        for i in range(team[RANK], constant(o, 3), team[SIZE]):
            value = get(a, i) + get(b, i)
            if relu:
                value = real(0) if value < real(0) else value
            put(y, i, value)

    return add
