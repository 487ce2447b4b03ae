"""Operations on a piece of a parameter's gradient: penalties, clipping, the update.

A piece has the rows and columns that its task says. Each rule is that of the CPU's kernels.
"""

import math

from .frame import (
    ACCUMULATE,
    GRADIENT,
    N_SUMS,
    PARAMETERS,
    PARTIALS,
    RATE_AVERAGE,
    RATE_FIRST,
    RATE_WEIGHT,
    SHARED,
    SQUARES,
    STATE,
    STATE_STRIDE,
    STEP,
    SUMS,
    TASK_BASE,
    TASK_COLUMNS,
    TASK_FIRST,
    TASK_PACK,
    TASK_PARTIAL,
    TASK_PARTS,
    TASK_ROWS,
    TASK_SUM,
    THREAD,
    kernel,
)


def each(t, body):
    """Return what calls ``body(team, frame, o, g, w, i)`` for each element of a task.

    `g` and `w` are the byte of its first one in the gradient, and among the parameters; `i` is the
    element's place, counted from there.
    """
    constant, divide, threads, body = t.constant, t.divide, t.threads, t.jit(body)

    def over_each(team, frame, o, scratch):
        first, columns = constant(o, TASK_FIRST), constant(o, TASK_COLUMNS)
        g = constant(frame, GRADIENT) + first
        w = constant(frame, PARAMETERS) + first
        for i in range(team[THREAD], constant(o, TASK_ROWS) * columns, threads):
            row = divide(i, columns)
            body(team, frame, o, g, w, row * constant(o, TASK_PACK) + i - row * columns)

    return over_each


def _sum_over(t, value):
    """Return the sum over a task's elements of ``value(frame, o, w, g, i)``, for all threads."""
    constant, divide, value = t.constant, t.divide, t.jit(value)

    def element(team, frame, o, i):
        first, columns = constant(o, TASK_FIRST), constant(o, TASK_COLUMNS)
        w, g = constant(frame, PARAMETERS) + first, constant(frame, GRADIENT) + first
        row = divide(i, columns)
        return value(frame, o, w, g, row * constant(o, TASK_PACK) + i - row * columns)

    total = t.sum_of(element)

    @t.jit
    def sum_over(team, frame, o, scratch):
        n = constant(o, TASK_ROWS) * constant(o, TASK_COLUMNS)
        return total(team, frame, o, scratch, n)

    return sum_over


@kernel
def collect(t, adds):
    """Add up the sums over parts of a batch, in their order. It stands in no tape: see Program."""
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    threads, real = t.threads, t.real

    def collect(team, frame, o, scratch):
        g = constant(frame, GRADIENT) + constant(o, TASK_FIRST)
        sums = constant(frame, PARTIALS) + constant(o, TASK_PARTIAL)
        columns = constant(o, TASK_COLUMNS)
        n = constant(o, TASK_ROWS) * columns
        for i in range(team[THREAD], n, threads):
            row = divide(i, columns)
            place = row * constant(o, TASK_PACK) + i - row * columns
            total = real(0)
            for part in range(constant(o, TASK_PARTS)):
                total += get(sums, part * n + i)
            if adds or constant(frame, ACCUMULATE):
                total += get(g, place)
            put(g, place, total)

    return collect


@kernel
def shared_gradient(t):
    """The gradient is what an earlier operation has left. o: its place."""
    get, put, constant = t.get, t.put, t.constant

    def body(team, frame, o, g, w, i):
        first = constant(o, TASK_FIRST) - constant(o, TASK_BASE)
        value = get(constant(frame, SHARED) + constant(o, 0) + first, i)
        if constant(frame, ACCUMULATE):
            value += get(g, i)
        put(g, i, value)

    return each(t, body)


@kernel
def regularize(t, with_l1, with_l2):
    """g = (g + l2 w + l1 sign(w)) times scale / the batch's sum of weights; its penalty.

    o: l2, l1, scale.
    """
    get, put, constant, bits, rate = t.get, t.put, t.constant, t.bits, t.rate
    real, half = t.real, t.real(0.5)

    def penalty(frame, o, w, g, i):
        value = get(w, i)
        l2, l1 = bits(constant(o, 0)), bits(constant(o, 1))
        return l2 * half * value * value + l1 * abs(value)

    def body(team, frame, o, g, w, i):
        gradient = get(g, i)
        if with_l1 or with_l2:
            value = get(w, i)
            gradient += bits(constant(o, 0)) * value
            if with_l1:
                l1 = bits(constant(o, 1))
                gradient += l1 if value > real(0) else (-l1 if value < real(0) else value)
        put(g, i, gradient * (rate(team, frame, RATE_WEIGHT) * bits(constant(o, 2))))

    total, shrink = _sum_over(t, penalty), t.jit(each(t, body))

    def regularize(team, frame, o, scratch):
        if with_l1 or with_l2:
            sum = total(team, frame, o, scratch)
            if team[THREAD] == 0:
                place = team[STEP] * constant(frame, N_SUMS) + constant(o, TASK_SUM)
                put(constant(frame, SUMS), place, sum)
        shrink(team, frame, o, scratch)

    return regularize


@kernel
def clip_value(t):
    """Clip each element of the gradient to [-limit, limit]. o: limit."""
    get, put, constant, bits = t.get, t.put, t.constant, t.bits

    def body(team, frame, o, g, w, i):
        limit, value = bits(constant(o, 0)), get(g, i)
        put(g, i, limit if value > limit else (-limit if value < -limit else value))

    return each(t, body)


@kernel
def square_sum(t):
    """Leave the sum of squares for total_norm."""
    get, put, constant = t.get, t.put, t.constant

    def square(frame, o, w, g, i):
        return get(g, i) * get(g, i)

    total = _sum_over(t, square)

    def square_sum(team, frame, o, scratch):
        sum = total(team, frame, o, scratch)
        if team[THREAD] == 0:
            put(constant(frame, SQUARES), constant(o, TASK_SUM), sum)

    return square_sum


@kernel
def total_norm(t):
    """Leave min(1, limit / norm of the whole gradient). o: its place (shared), limit."""
    get, put, constant, bits = t.get, t.put, t.constant, t.bits
    real = t.real

    def square(team, frame, o, i):
        return get(constant(frame, SQUARES), i)

    total = t.sum_of(square)

    def total_norm(team, frame, o, scratch):
        norm = math.sqrt(total(team, frame, o, scratch, constant(frame, N_SUMS)))
        limit = bits(constant(o, 1))
        if team[THREAD] == 0:
            scale = limit / norm if norm > limit else real(1)
            put(constant(frame, SHARED) + constant(o, 0), 0, scale)

    return total_norm


@kernel
def scale_gradient(t):
    """g = g times what total_norm has left. o: its place."""
    get, put, constant = t.get, t.put, t.constant

    def body(team, frame, o, g, w, i):
        put(g, i, get(g, i) * get(constant(frame, SHARED) + constant(o, 0), 0))

    return each(t, body)


# Each rule takes a parameter, its gradient and two states, the step's rates, and the constants a
# and b (decay rates, or the momentum), their complements, epsilon, and the weight decay. It returns
# the parameter and the states. A velocity has its step's rate in it; the second rate is by what the
# last one's is multiplied first.


def _sgd(w, g, v, u, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    v = a * r1 * v - r0 * g
    return w + v, v, u


def _nesterov(w, g, v, u, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    v = a * r1 * v - r0 * g
    return w + (a * v - r0 * g), v, u


def _adam(w, g, m, v, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    return w - r0 * m / (math.sqrt(v) + epsilon), m, v


def _adamw(w, g, m, v, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    w = w - r0 * decay * w
    return w - r1 * m / (math.sqrt(v) * r2 + epsilon), m, v


def _nadam(w, g, m, v, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    m = a * m + ac * g
    v = b * v + bc * (g * g)
    return w - (r0 * g + r1 * m) / (math.sqrt(v) * r2 + epsilon), m, v


def _rmsprop(w, g, v, u, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    v = b * v + bc * (g * g)
    return w - r0 * g / (math.sqrt(v) + epsilon), v, u


def _adagrad(w, g, v, u, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    v = v + g * g
    return w - r0 * g / (math.sqrt(v) + epsilon), v, u


def _adadelta(w, g, v, u, r0, r1, r2, a, b, ac, bc, epsilon, decay):
    v = a * v + ac * (g * g)
    change = math.sqrt(u + epsilon) / math.sqrt(v + epsilon) * g
    return w - r0 * change, v, a * u + ac * (change * change)


#: The rules, their numbers of state arrays, and which of the step's rates are learning rates.
RULES = {
    "sgd": (_sgd, 1, (0,)), "nesterov": (_nesterov, 1, (0,)), "adam": (_adam, 2, (0,)),
    "adamw": (_adamw, 2, (1,)), "nadam": (_nadam, 2, (0, 1)), "rmsprop": (_rmsprop, 1, (0,)),
    "adagrad": (_adagrad, 1, (0,)), "adadelta": (_adadelta, 2, (0,)),
}  # fmt: skip


@kernel
def update(t, name):
    """One step of an optimizer. o: a, b, epsilon, decay, rate."""
    get, put, constant, bits, rate = t.get, t.put, t.constant, t.bits, t.rate
    rule, n_states, learning = RULES[name]
    rule, two, one = t.jit(rule), n_states == 2, t.real(1)
    learning = tuple(i in learning for i in range(3))

    @t.jit
    def own_rate(team, frame, o, i):
        value = rate(team, frame, RATE_FIRST + i)
        return value * bits(constant(o, 4)) if learning[i] else value

    def body(team, frame, o, g, w, i):
        first = constant(frame, STATE) + constant(o, TASK_FIRST)
        second = first + constant(frame, STATE_STRIDE) if two else first
        a, b = bits(constant(o, 0)), bits(constant(o, 1))
        value, m, v = rule(
            get(w, i), get(g, i), get(first, i), get(second, i), own_rate(team, frame, o, 0),
            own_rate(team, frame, o, 1), own_rate(team, frame, o, 2), a, b, one - a, one - b,
            bits(constant(o, 2)), bits(constant(o, 3)),
        )  # fmt: skip
        put(w, i, value)
        put(first, i, m)
        if two:
            put(second, i, v)

    return each(t, body)


@kernel
def average(t):
    """Move the average of a parameter towards what it is now. o: which state is the average."""
    get, put, constant, rate = t.get, t.put, t.constant, t.rate

    def body(team, frame, o, g, w, i):
        mean = constant(frame, STATE) + constant(o, 0) * constant(frame, STATE_STRIDE)
        mean += constant(o, TASK_FIRST)
        before = get(mean, i)
        put(mean, i, before + rate(team, frame, RATE_AVERAGE) * (get(w, i) - before))

    return each(t, body)
