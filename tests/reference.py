"""The definition of every operation, in NumPy and float64, and a plain executor of complete tapes.

Written from the documentation of the operations. Nothing is packed or padded here: a
parameter has its documented shape, a last block is as narrow as its samples, and an operation on
the whole batch sees the blocks side by side. The rows of an image are its elements in the order
(height, width, channels).
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sknn.cpu.session import Session
from sknn.engine import prediction
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import program
from sknn.engine.weights import Weights
from sknn.tape.activations import ACTIVATIONS
from sknn.tape.sources import X, Y
from sknn.tape.tape import Buffer, Parameter

# --- the counter-based generator


def philox(counter, key):
    """Return four uint32 words for each counter: Philox 4x32-10."""
    c = [np.asarray(part, np.uint64) for part in np.broadcast_arrays(*counter)]
    k = [int(part) for part in key]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (p[1] >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            p[1] & low,
            (p[0] >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            p[0] & low,
        ]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return [part.astype(np.uint32) for part in c]


def words_of(at, fours, samples, layer):
    """Return four words for each four of units and each sample of the block at hand."""
    key = at.seed & 0xFFFFFFFF, at.seed >> 32 & 0xFFFFFFFF
    four, place = np.arange(fours)[:, None], at.first + np.arange(samples)[None, :]
    return philox((place, four, layer, at.step), key)


def by_unit(four, units):
    """Return a row for each unit from the arrays for the first, second ... of each four."""
    return np.stack(four, axis=1).reshape(-1, four[0].shape[1])[:units]


# --- activations and losses: rows of the engine's tables


def _sigmoid(x):
    return np.exp(-np.logaddexp(0.0, -x))


def _gelu_inner(x):
    return np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)


def _gelu_derivative(x, p):
    t = np.tanh(_gelu_inner(x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)


#: Each activation and its derivative, as functions of the input and the parameter.
ACTIVATION_FUNCTIONS = {
    "identity": (lambda x, p: x, lambda x, p: np.ones_like(x)),
    "step": (lambda x, p: (x >= 0) * 1.0, lambda x, p: np.zeros_like(x)),
    "exp": (lambda x, p: np.exp(x), lambda x, p: np.exp(x)),
    "logistic": (lambda x, p: _sigmoid(x), lambda x, p: _sigmoid(x) * _sigmoid(-x)),
    "tanh": (lambda x, p: np.tanh(x), lambda x, p: 1 - np.tanh(x) ** 2),
    "relu": (lambda x, p: np.maximum(x, 0), lambda x, p: (x > 0) * 1.0),
    "leaky_relu": (lambda x, p: np.where(x < 0, p * x, x), lambda x, p: np.where(x < 0, p, 1.0)),
    "elu": (
        lambda x, p: np.where(x < 0, p * np.expm1(np.minimum(x, 0)), x),
        lambda x, p: np.where(x < 0, p * np.exp(np.minimum(x, 0)), 1.0),
    ),
    "softplus": (lambda x, p: np.logaddexp(0.0, x), lambda x, p: _sigmoid(x)),
    "silu": (
        lambda x, p: x * _sigmoid(x),
        lambda x, p: _sigmoid(x) * (1 + x * _sigmoid(-x)),
    ),
    "gelu": (lambda x, p: 0.5 * x * (1 + np.tanh(_gelu_inner(x))), _gelu_derivative),
}

#: The input that has a given output, for activations whose derivative is known from the output.
_INVERSES = {
    "identity": lambda y: y,
    "exp": lambda y: np.log(y),
    "logistic": lambda y: np.log(y / (1 - y)),
    "tanh": lambda y: np.arctanh(y),
    "relu": lambda y: y,
}


def _slopes_of_logistic(s):
    return s * (1 - s), s * (1 - s) * (1 - 2 * s)


def _slopes_of_elu(a, p):
    below = np.minimum(a, 0) + p
    return np.where(a < 0, below, 1.0), np.where(a < 0, below, 0.0)


#: First and second derivative of activations by their input, from the output and the parameter.
SLOPES = {
    "identity": lambda a, p: (np.ones_like(a), np.zeros_like(a)),
    "logistic": lambda a, p: _slopes_of_logistic(a),
    "tanh": lambda a, p: (1 - a**2, -2 * a * (1 - a**2)),
    "relu": lambda a, p: ((a > 0) * 1.0, np.zeros_like(a)),
    "leaky_relu": lambda a, p: (np.where(a < 0, p, 1.0), np.zeros_like(a)),
    "elu": _slopes_of_elu,
    # the derivative is the logistic function of the input: 1 - exp(-a)
    "softplus": lambda a, p: (-np.expm1(-a), -np.expm1(-a) * np.exp(-a)),
}


def _log_loss(a, y, p):
    return -(y * np.log(a) + (1 - y) * np.log(1 - a))


def _poisson(a, y, p):
    return np.where(y == 0, 0.0, y * np.log(np.where(y == 0, 1.0, y) / a)) - y + a


def _huber(a, y, p):
    r = np.abs(y - a)
    return np.where(r > p, p * (r - p / 2), r**2 / 2)


def _quantile_derivative(a, y, p):
    return np.where(a > y, 1 - p, np.where(a < y, -p, 0.0))


#: Each loss of one output and its derivative, as functions of output, target and parameter.
LOSS_FUNCTIONS = {
    "log_loss": (_log_loss, lambda a, y, p: (a - y) / (a * (1 - a))),
    "squared_error": (lambda a, y, p: (a - y) ** 2 / 2, lambda a, y, p: a - y),
    "absolute_error": (lambda a, y, p: np.abs(a - y), lambda a, y, p: np.sign(a - y)),
    "huber": (_huber, lambda a, y, p: np.clip(a - y, -p, p)),
    "quantile": (lambda a, y, p: np.maximum(p * (y - a), (p - 1) * (y - a)), _quantile_derivative),
    "poisson": (_poisson, lambda a, y, p: 1 - y / a),
}


# --- operations on blocks: at, operands, attributes -> results


def _rows_of(at, columns, field):
    data = at.data[field][at.rows]
    data = data.toarray() if sp.issparse(data) else np.asarray(data)
    assert data.shape[1] == columns
    return at.rows, data.astype(np.float64).T


def gather(at, columns, field):
    return _rows_of(at, columns, field)


def gather_csr(at, columns, field):
    return _rows_of(at, columns, field)


def weigh(at):
    weights = np.ones(len(at.rows)) if at.weights is None else at.weights[at.rows]
    return weights[None, :] / at.members


def scatter(at, a, units):
    outputs = at.outputs if at.members == 1 else at.outputs[at.member]
    outputs[at.start + at.first : at.start + at.first + len(at.rows)] = a.T


def dense(at, x, w, b, inputs, units, positions):
    return dense_unbiased(at, x, w, inputs, units, positions) + np.tile(b, positions)[:, None]


def dense_unbiased(at, x, w, inputs, units, positions):
    w = w.reshape(inputs, units)  # of a convolution too, whose window is the whole image
    return (w.T @ x.reshape(positions, inputs, -1)).reshape(positions * units, -1)


def dense_input_gradient(at, dz, w, inputs, units, positions):
    dx = w.reshape(inputs, units) @ dz.reshape(positions, units, -1)
    return dx.reshape(positions * inputs, -1)


def pack_samples(at, dz, positions, units, stride):
    return np.vstack([dz[i : i + units] for i in range(0, positions * stride, stride)])


def add_bias(at, x, b, positions, channels):
    return x + np.tile(b, positions)[:, None]


def add(at, a, b, elements):
    return np.maximum(a + b, 0.0) if at.variant == (True,) else a + b


def multiply(at, a, b, elements):
    return a * b


def member_scale(at, x, s, units):
    return x * s[at.member][:, None]


def member_add(at, x, b, units):
    return x + b[at.member][:, None]


def member_dense(at, x, w, b, inputs, units):
    return w[at.member].T @ x + b[at.member][:, None]


def member_dense_input_gradient(at, dz, w, inputs, units):
    return w[at.member] @ dz


def activation(at, x, elements, parameter):
    return ACTIVATION_FUNCTIONS[at.variant[0]][0](x, parameter)


def activation_gradient(at, v, dy, elements, parameter):
    name = at.variant[0]
    x = _INVERSES[name](v) if ACTIVATIONS[name].derivative_of == "output" else v
    return dy * ACTIVATION_FUNCTIONS[name][1](x, parameter)


def activity_penalty(at, a, weights, da, units, l1, l2, steps):
    a, weights = a.reshape(steps, units, -1), weights[:, None]
    at.loss += (weights * (l1 * np.abs(a) + l2 / 2 * a**2)).sum()
    return da + (weights * (l1 * np.sign(a) + l2 * a)).reshape(steps * units, -1)


def contraction(at, a, norms, weights, da, units, strength, parameter):
    slope, bend = SLOPES[at.variant[0]](a, parameter)
    norms = strength * norms[:, None]
    at.loss += (weights * norms * slope**2).sum()
    # the output changes by the slope, with which the slope changes by its own
    return weights * slope**2, da + weights * norms * 2 * bend


def softmax(at, x, units, steps):
    x = x.reshape(steps, units, -1)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True)).reshape(steps * units, -1)


def softmax_gradient(at, y, dy, units, steps):
    y, dy = y.reshape(steps, units, -1), dy.reshape(steps, units, -1)
    return (y * (dy - (y * dy).sum(axis=1, keepdims=True))).reshape(steps * units, -1)


def dropout(at, x, units, layer, threshold, scale):
    words = by_unit(words_of(at, -(-units // 4), x.shape[1], layer), units)
    return np.where(words < threshold, 0.0, x * scale)


def normals_of(at, units, samples, layer):
    """Return a normal number for each unit and each sample of the block at hand."""
    words = words_of(at, -(-units // 4), samples, layer)
    u = [(word + 0.5) / 2**32 for word in words]  # never 0
    normals = []
    for size, angle in (u[:2], u[2:]):  # Box and Muller's method
        radius = np.sqrt(-2 * np.log(size))
        normals += [radius * np.cos(2 * np.pi * angle), radius * np.sin(2 * np.pi * angle)]
    return by_unit(normals, units)


def gaussian_noise(at, x, units, layer, deviation, least, most):
    return np.clip(x + deviation * normals_of(at, units, x.shape[1], layer), least, most)


def salt_and_pepper(at, x, units, layer, threshold, least, most):
    words = by_unit(words_of(at, -(-units // 4), x.shape[1], layer), units)
    pepper = words < threshold // 2
    return np.select([pepper, words < threshold], [least, most], x)


def draw_normal(at, x, units, layer):
    mean, variance = x[:units], np.exp(x[units:])
    return mean + np.sqrt(variance) * normals_of(at, units, x.shape[1], layer)


def draw_normal_gradient(at, x, z, weights, dz, units, beta):
    mean, variance = x[:units], np.exp(x[units:])
    divergence = (weights * (variance + mean**2 - 1 - x[units:]) / 2).sum()
    at.divergence += divergence
    at.loss += beta * divergence
    # a change of the log variance changes the standard deviation by half as much, relatively
    return np.vstack(
        [dz + beta * weights * mean, (dz * (z - mean) + beta * weights * (variance - 1)) / 2]
    )


def augment(
    at, x, height, width, channels, out_height, out_width, layer, low, rows, left, columns,
    upside_down, mirror,
):  # fmt: skip
    words = words_of(at, 1, x.shape[1], layer)
    y = np.zeros((out_height, out_width, channels, x.shape[1]))
    for n, (w0, w1, w2, w3) in enumerate(zip(*(map(int, word[0]) for word in words))):
        picture = x[:, n].reshape(height, width, channels)
        down, right = low + (w0 * rows >> 32), left + (w1 * columns >> 32)
        for i, j in np.ndindex(out_height, out_width):
            k, m = i + down, j + right
            if 0 <= k < height and 0 <= m < width:
                k = height - 1 - k if upside_down and w2 < 2**31 else k
                m = width - 1 - m if mirror and w3 < 2**31 else m
                y[i, j, :, n] = picture[k, m]
    return y.reshape(-1, x.shape[1])


def insert_channels(at, x, positions, channels, total, offset):
    (before,) = at.before
    if before is None:
        before = np.full((positions * total, x.shape[1]), np.nan)
    y = before.reshape(positions, total, -1).copy()
    y[:, offset : offset + channels] = x.reshape(positions, channels, -1)
    return y.reshape(positions * total, -1)


def extract_channels(at, x, positions, channels, total, offset):
    part = x.reshape(positions, total, -1)[:, offset : offset + channels]
    return part.reshape(positions * channels, -1)


def loss(at, a, y, weights, units, parameter, scale, slope, steps):
    name, canonical = at.variant
    value, derivative = LOSS_FUNCTIONS[name]
    weights = np.repeat(weights, units, axis=0)
    assert len(weights) == steps * units
    if name == "log_loss":
        a = np.clip(a, at.epsilon, 1 - at.epsilon)
    at.loss += scale * (value(a, y, parameter) * weights).sum()
    return (a - y if canonical else derivative(a, y, parameter)) * slope * weights


def log_loss_softmax(at, a, weights, units, steps):
    numbers = np.reshape(at.data[Y][at.rows], (-1, steps))
    y = np.moveaxis(np.eye(units)[numbers], 0, -1)  # [steps, units, samples]
    a, weights = a.reshape(y.shape), weights.reshape(steps, 1, -1)
    chosen = np.clip((a * y).sum(axis=1, keepdims=True), at.epsilon, 1 - at.epsilon)
    at.loss -= (weights * np.log(chosen)).sum()
    return ((a - y) * weights).reshape(steps * units, -1)


# --- sequences: [time][units][samples]; a sample whose sequence has ended keeps its state


def _positions(at):
    """Return where in the run each sample of the block at hand stands."""
    return at.start + at.first + np.arange(len(at.rows))


def lengths(at, steps, column):
    if at.lengths is None:
        return np.full((1, len(at.rows)), steps)
    return at.lengths[_positions(at), column][None, :]


def weigh_steps(at, lengths, steps):
    return np.where(np.arange(steps)[:, None] < lengths, weigh(at), 0.0)


def fill(at, elements, value):
    return np.full((elements // at.width, len(at.rows)), value)


def load_state(at, units, offset):
    places = _positions(at)
    state = np.array(at.carry[places % len(at.carry), offset : offset + units].T, np.float64)
    return state if at.resets is None else np.where(at.resets[places] != 0, 0.0, state)


def save_state(at, a, units, offset):
    at.carry[_positions(at) % len(at.carry), offset : offset + units] = a.T


def lookup(at, x, w, b, steps, inputs, units):
    return lookup_unbiased(at, x, w, steps, inputs, units) + np.tile(b, steps)[:, None]


def lookup_unbiased(at, x, w, steps, inputs, units):
    assert (x.shape[0], w.shape) == (steps, (inputs, units))
    return np.moveaxis(w[x.astype(int)], 2, 1).reshape(steps * units, -1)


def _times(steps, reverse):
    """Yield each step of a forward pass, and the slots of the state before and after it."""
    for t in range(steps):
        yield (steps - 1 - t, steps - t, steps - 1 - t) if reverse else (t, t, t + 1)


def _cut(t, truncate, reverse, steps):
    """Return whether no gradient goes from a step to the one that came before it in time."""
    place = t + reverse
    return truncate > 0 and place % truncate == 0 and 0 < place < steps


def _backwards(lengths, dy, steps, reverse, truncate, gradients):
    """Yield the steps of a backward pass, with the samples that are still running.

    `gradients`, those of the state, are changed in place: dy is added before each step, and where
    the chain is cut they are zero after it, but for states that are only held.
    """
    for t, before, after in reversed(list(_times(steps, reverse))):
        if dy is not None:
            gradients[0][:] += dy.reshape(steps, *gradients[0].shape)[t]
        yield t, before, after, t < lengths
        if _cut(t, truncate, reverse, steps):
            for gradient in gradients:
                gradient[:] = np.where(t < lengths, 0.0, gradient)


def _blank(a):
    return np.full(a.shape, np.nan)  # values that an operation leaves undefined


#: Derivatives of what a simple cell may apply, from the output.
_DERIVATIVES = {
    "tanh": lambda y: 1 - y**2,
    "logistic": lambda y: y * (1 - y),
    "relu": lambda y: y > 0,
}


def simple_rnn(at, z, w, h, lengths, steps, units, reverse):
    function = ACTIVATION_FUNCTIONS[at.variant[0]][0]
    z, h = z.reshape(steps, units, -1), h.reshape(steps + 1, units, -1).copy()
    for t, before, after in _times(steps, reverse):
        h[after] = np.where(t < lengths, function(z[t] + w.T @ h[before], None), h[before])
    return h.reshape((steps + 1) * units, -1)


def simple_rnn_gradient(at, w, h, dy, dh, lengths, steps, units, reverse, truncate):
    function, sequence = at.variant[:2]
    derivative = _DERIVATIVES[function]
    h, dh = h.reshape(steps + 1, units, -1), dh.copy()
    dz = np.zeros((steps, *dh.shape))
    dy = dy if sequence else None
    for t, _, after, live in _backwards(lengths, dy, steps, reverse, truncate, (dh,)):
        dz[t] = np.where(live, dh * derivative(h[after]), 0.0)
        dh[:] = np.where(live, w @ dz[t], dh)
    return dz.reshape(steps * units, -1), dh


def lstm(at, z, w, h, c, lengths, steps, units, reverse):
    z, gates = z.reshape(steps, 4 * units, -1), _blank(z).reshape(steps, 4, units, -1)
    h, c = (state.reshape(steps + 1, units, -1).copy() for state in (h, c))
    for t, before, after in _times(steps, reverse):
        i, f, g, o = (z[t] + w.T @ h[before]).reshape(4, units, -1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        live = t < lengths
        c[after] = np.where(live, f * c[before] + i * g, c[before])
        h[after] = np.where(live, o * np.tanh(c[after]), h[before])
        gates[t] = np.where(live, [i, f, g, o], np.nan)
    return tuple(a.reshape(-1, h.shape[-1]) for a in (gates, h, c))


def lstm_gradient(at, z, w, h, c, dy, dh, dc, lengths, steps, units, reverse, truncate):
    z, c = z.reshape(steps, 4, units, -1), c.reshape(steps + 1, units, -1)
    dh, dc, dz = dh.copy(), dc.copy(), np.zeros(z.shape)
    dy = dy if at.variant[0] else None
    for t, before, after, live in _backwards(lengths, dy, steps, reverse, truncate, (dh, dc)):
        i, f, g, o = z[t]
        tanh = np.tanh(c[after])
        inner = dc + dh * o * (1 - tanh**2)
        gates = inner * g, inner * c[before], inner * i, dh * tanh
        slopes = i * (1 - i), f * (1 - f), 1 - g**2, o * (1 - o)
        dz[t] = np.where(live, np.multiply(gates, slopes), 0.0)
        dh[:] = np.where(live, w @ dz[t].reshape(4 * units, -1), dh)
        dc[:] = np.where(live, inner * f, dc)
    return dz.reshape(4 * steps * units, -1), dh, dc


def _gru(z, w, u, b, h, lengths, steps, units, reverse):
    """Return the values of the gates, what the candidate's product is made of or is, and h.

    Without a b the reset gate comes before the product, with one after it.
    """
    z, values = z.reshape(steps, 3, units, -1), _blank(z).reshape(steps, 3, units, -1)
    h, extra = h.reshape(steps + 1, units, -1).copy(), np.zeros((steps, units, z.shape[-1]))
    for t, before, after in _times(steps, reverse):
        past, live = h[before], t < lengths
        update, reset = _sigmoid(z[t, :2] + (w.T @ past).reshape(2, units, -1))
        product = reset * past if b is None else u.T @ past + b[:, None]
        candidate = np.tanh(z[t, 2] + (u.T @ product if b is None else reset * product))
        new = update * candidate + (1 - update) * past
        if b is not None:
            new = update * past + (1 - update) * candidate
        h[after] = np.where(live, new, past)
        values[t] = np.where(live, [update, reset, candidate], np.nan)
        extra[t] = np.where(live, product, 0.0)
    return tuple(a.reshape(-1, h.shape[-1]) for a in (values, extra, h))


def gru(at, z, w, u, h, lengths, steps, units, reverse):
    return _gru(z, w, u, None, h, lengths, steps, units, reverse)


def gru_after(at, z, w, u, b, h, lengths, steps, units, reverse):
    return _gru(z, w, u, b, h, lengths, steps, units, reverse)


def gru_gradient(at, z, w, u, h, extra, dy, dh, lengths, steps, units, reverse, truncate):
    z, h = z.reshape(steps, 3, units, -1), h.reshape(steps + 1, units, -1)
    dh, dz = dh.copy(), np.zeros(z.shape)
    dy = dy if at.variant[0] else None
    for t, before, _, live in _backwards(lengths, dy, steps, reverse, truncate, (dh,)):
        update, reset, candidate = z[t]
        dcandidate = dh * update * (1 - candidate**2)
        dproduct = u @ dcandidate
        dupdate = dh * (candidate - h[before]) * update * (1 - update)
        dreset = dproduct * h[before] * reset * (1 - reset)
        past = dh * (1 - update) + dproduct * reset + w @ np.vstack([dupdate, dreset])
        dz[t] = np.where(live, [dupdate, dreset, dcandidate], 0.0)
        dh[:] = np.where(live, past, dh)
    return dz.reshape(3 * steps * units, -1), extra, dh, _blank(dh)


def gru_after_gradient(at, z, w, u, h, extra, dy, dh, lengths, steps, units, reverse, truncate):
    z, h = z.reshape(steps, 3, units, -1), h.reshape(steps + 1, units, -1)
    dh, dz, products = dh.copy(), np.zeros(z.shape), extra.reshape(steps, units, -1)
    dextra = np.zeros(products.shape)
    dy = dy if at.variant[0] else None
    for t, before, _, live in _backwards(lengths, dy, steps, reverse, truncate, (dh,)):
        update, reset, candidate = z[t]
        dcandidate = dh * (1 - update) * (1 - candidate**2)
        dproduct = dcandidate * reset
        dupdate = dh * (h[before] - candidate) * update * (1 - update)
        dreset = dcandidate * products[t] * reset * (1 - reset)
        past = dh * update + u @ dproduct + w @ np.vstack([dupdate, dreset])
        dz[t] = np.where(live, [dupdate, dreset, dcandidate], 0.0)
        dextra[t] = np.where(live, dproduct, 0.0)
        dh[:] = np.where(live, past, dh)
    return dz.reshape(3 * steps * units, -1), dextra.reshape(extra.shape), dh, _blank(dh)


def draw(at, z, units):
    cold, uniform, top, given = at.rates[2:6]
    if given:
        return
    assert z.shape == (units, 1)
    z = z[:, 0] * cold
    if top:
        z = np.where(z >= np.sort(z)[-min(int(top), units)], z, -np.inf)  # ties are kept
    shares = np.exp(z - z.max()).cumsum()
    token = np.searchsorted(shares, uniform * shares[-1], side="right")
    at.outputs[at.start + 1] = min(token, np.flatnonzero(z > -np.inf)[-1])


# --- radial basis functions


#: Each function and its derivative, of the squared distance in units of the width.
RADIAL_FUNCTIONS = {
    "gaussian": (lambda u: np.exp(-u / 2), lambda u: -np.exp(-u / 2) / 2),
    "multiquadric": (lambda u: np.sqrt(1 + u), lambda u: 0.5 / np.sqrt(1 + u)),
    "inverse_multiquadric": (lambda u: 1 / np.sqrt(1 + u), lambda u: -0.5 * (1 + u) ** -1.5),
    "thin_plate": (
        lambda u: np.where(u > 0, u * np.log(np.where(u > 0, u, 1.0)) / 2, 0.0),
        lambda u: np.where(u > 0, (np.log(np.where(u > 0, u, 1.0)) + 1) / 2, 0.0),
    ),
}


def square_distances(at, x, w, inputs, units):
    assert w.shape == (inputs, units)
    return ((x[:, None] - w[:, :, None]) ** 2).sum(axis=0)


def square_distances_gradient(at, x, w, dz, inputs, units):
    return ((w[:, :, None] - x[:, None]) * dz).sum(axis=1)


def radial(at, z, s, units):
    return RADIAL_FUNCTIONS[at.variant[0]][0](z / s[:, None] ** 2)


def radial_gradient(at, z, s, a, da, units):
    s = s[:, None]
    du = da * RADIAL_FUNCTIONS[at.variant[0]][1](z / s**2)
    return -2 * du / s**2, -2 * du * z / s**3


def weigh_samples(at, x, weights, units):
    return x * weights


# --- normalization: of each unit of a vector, which has one position, or each channel of an image


def _by_channel(x, positions, channels):
    return x.reshape(positions, channels, -1)


def normalize(at, x, mean, deviation, gamma, beta, positions, channels):
    mean, scale, beta = (np.tile(v, positions)[:, None] for v in (mean, gamma * deviation, beta))
    y = (x - mean) * scale + beta
    return np.maximum(y, 0.0) if at.variant == (True,) else y


def normalize_running(at, x, gamma, beta, mean, variance, positions, channels, epsilon):
    deviation = 1 / np.sqrt(variance + epsilon)
    return normalize(at, x, mean, deviation, gamma, beta, positions, channels)


def normalize_running_gradient(at, dy, gamma, variance, positions, channels, epsilon):
    return dy * np.tile(gamma / np.sqrt(variance + epsilon), positions)[:, None]


def _let_through(at, x, dy, mean, deviation, gamma, beta, positions, channels):
    """Return dy, and zero where a relu of the normalized x, if there is one, is zero."""
    if at.variant != (True,):
        return dy
    return dy * (normalize(at, x, mean, deviation, gamma, beta, positions, channels) > 0)


def normalize_gradient(
    at, x, dy, mean, deviation, gamma, beta, dgamma, dbeta, positions, channels
):  # fmt: skip
    dy = _let_through(at, x, dy, mean, deviation, gamma, beta, positions, channels)
    count = at.count * positions
    mean, deviation, gamma, dgamma, dbeta = (
        np.tile(v, positions)[:, None] for v in (mean, deviation, gamma, dgamma, dbeta)
    )
    xhat = (x - mean) * deviation
    return gamma * deviation * (dy - dbeta / count - xhat * dgamma / count)


def _neighbors(channels, size):
    """Return which channels (columns) are summed for each channel (rows)."""
    apart = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    return ((-(size // 2) <= apart) & (apart <= (size - 1) // 2)) * 1.0


def local_response(at, x, positions, channels, size, alpha, beta, k):
    energy = _neighbors(channels, size) @ _by_channel(x, positions, channels) ** 2
    scale = (k + alpha / size * energy).reshape(x.shape)
    return x * scale**-beta, scale


def local_response_gradient(at, x, y, scale, dy, positions, channels, size, alpha, beta, k):
    # what a channel's scale takes from its output, at each channel that is summed in it
    taken = _by_channel(dy * y / scale, positions, channels)
    inner = (_neighbors(channels, size).T @ taken).reshape(x.shape)
    return dy * scale**-beta - 2 * alpha * beta / size * x * inner


# --- sliding windows over an image: convolutions and pools


class Convolution(NamedTuple):
    """The numbers of a convolution, in the order of its operations' attributes.

    The last two, the rows of the output to compute, are of the forward operations only.
    """

    height: int
    width: int
    channels: int
    filters: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    top: int
    left: int
    dilation_height: int
    dilation_width: int
    groups: int
    out_height: int
    out_width: int
    first: int = 0
    last: int = 0

    @property
    def kernel(self):
        """Height and width of the window, and the dilation of each."""
        return self[4:6], self[10:12]


class Pool(NamedTuple):
    """The same of a pool."""

    height: int
    width: int
    channels: int
    window_height: int
    window_width: int
    stride_height: int
    stride_width: int
    top: int
    left: int
    out_height: int
    out_width: int
    first: int = 0
    last: int = 0

    @property
    def kernel(self):
        """Height and width of the window, and the dilation of each: none."""
        return self[3:5], (1, 1)


def _spans(g):
    """Return height and width of what all windows see, padding included."""
    strides, outs = (g.stride_height, g.stride_width), (g.out_height, g.out_width)
    return [
        (n - 1) * stride + (k - 1) * dilation + 1
        for k, dilation, stride, n in zip(*g.kernel, strides, outs)
    ]


def _taps(g):
    """Yield each place in the window, and where in a padded image it lies in all windows."""
    kernel, dilation = g.kernel
    strides, spans = (g.stride_height, g.stride_width), _spans(g)
    for place in np.ndindex(*kernel):
        starts = [p * d for p, d in zip(place, dilation)]
        ends = [span - (k - 1 - p) * d for span, k, p, d in zip(spans, kernel, place, dilation)]
        yield place, tuple(map(slice, starts, ends, strides))


def _padded(x, g, value=0.0):
    """Return an image [height, width, channels, samples] with a margin."""
    high, wide = (max(a, b) for a, b in zip(_spans(g), (g.top + g.height, g.left + g.width)))
    padded = np.full((high, wide, g.channels, x.shape[-1]), value)
    _inside(padded, g)[:] = x.reshape(*g[:3], -1)
    return padded


def _inside(padded, g):
    return padded[g.top : g.top + g.height, g.left : g.left + g.width]


def _grouped(image, groups):
    return image.reshape(*image.shape[:2], groups, -1, image.shape[-1])


def convolution(at, x, w, b, *numbers: Convolution):
    z = convolution_unbiased(at, x, w, *numbers)
    return z + np.tile(b, len(z) // len(b))[:, None]


def convolution_unbiased(at, x, w, *numbers: Convolution):
    g = Convolution(*numbers)
    assert (g.first, g.last) == (0, g.out_height)
    padded, z = _padded(x, g), 0.0
    w = w.reshape(*w.shape[:3], g.groups, -1)
    for place, seen in _taps(g):
        part = _grouped(padded[seen], g.groups)
        z = z + np.einsum("yxgcn,cgf->yxgfn", part, w[place], optimize=True)
    return z.reshape(-1, x.shape[-1])


def convolution_input_gradient(at, dz, w, *numbers: Convolution):
    g = Convolution(*numbers)
    dz = _grouped(dz.reshape(g.out_height, g.out_width, g.filters, -1), g.groups)
    w = w.reshape(*w.shape[:3], g.groups, -1)
    padded = _padded(np.zeros((g.height * g.width * g.channels, dz.shape[-1])), g)
    for place, seen in _taps(g):
        part = np.einsum("yxgfn,cgf->yxgcn", dz, w[place], optimize=True)
        padded[seen] += part.reshape(padded[seen].shape)
    return _inside(padded, g).reshape(-1, dz.shape[-1])


def _pool_taps(x, g, outside):
    """Return what the windows see, [places in the window, out_height, out_width, ...]."""
    padded = _padded(x, g, outside)
    return np.stack([padded[seen] for _, seen in _taps(g)])


def max_pool(at, x, *numbers: Pool):
    g = Pool(*numbers)
    assert (g.first, g.last) == (0, g.out_height)
    return _pool_taps(x, g, -np.inf).max(axis=0).reshape(-1, x.shape[-1])


def max_pool_gradient(at, x, y, dy, *numbers: Pool):
    g = Pool(*numbers)
    first = _pool_taps(x, g, -np.inf).argmax(axis=0)  # of equal ones, the first in the window
    dy = dy.reshape(first.shape)
    padded = _padded(np.zeros_like(x), g)
    for i, (_, seen) in enumerate(_taps(g)):
        padded[seen] += np.where(first == i, dy, 0.0)
    return _inside(padded, g).reshape(x.shape)


def _counts(g):
    """Return how many elements of each window lie inside of the image."""
    return _pool_taps(np.ones((g.height * g.width * g.channels, 1)), g, 0.0).sum(axis=0)


def average_pool(at, x, *numbers: Pool):
    g = Pool(*numbers)
    assert (g.first, g.last) == (0, g.out_height)
    return (_pool_taps(x, g, 0.0).sum(axis=0) / _counts(g)).reshape(-1, x.shape[-1])


def average_pool_gradient(at, dy, *numbers: Pool):
    g = Pool(*numbers)
    counts = _counts(g)
    each = dy.reshape(*counts.shape[:3], -1) / counts
    padded = _padded(np.zeros((g.height * g.width * g.channels, dy.shape[-1])), g)
    for _, seen in _taps(g):
        padded[seen] += each
    return _inside(padded, g).reshape(-1, dy.shape[-1])


def _enlargement(n, factor, bilinear):
    """Return the matrix that makes ``n * factor`` numbers of n, along one axis."""
    matrix = np.zeros((n * factor, n))
    for i in range(n * factor):
        if not bilinear:
            matrix[i, i // factor] = 1.0
            continue
        place = (i + 0.5) / factor - 0.5  # of the new pixel's center among the old ones'
        before = int(np.floor(place))
        for k, share in ((before, before + 1 - place), (before + 1, place - before)):
            matrix[i, np.clip(k, 0, n - 1)] += share
    return matrix


def upsample(at, x, height, width, channels, factor_height, factor_width):
    down = _enlargement(height, factor_height, *at.variant)
    right = _enlargement(width, factor_width, *at.variant)
    y = np.einsum("Yy,Xx,yxcn->YXcn", down, right, x.reshape(height, width, channels, -1))
    return y.reshape(-1, x.shape[-1])


def upsample_gradient(at, dy, height, width, channels, factor_height, factor_width):
    down = _enlargement(height, factor_height, *at.variant)
    right = _enlargement(width, factor_width, *at.variant)
    dy = dy.reshape(height * factor_height, width * factor_width, channels, -1)
    return np.einsum("Yy,Xx,YXcn->yxcn", down, right, dy).reshape(-1, dy.shape[-1])


# --- operations on units: the same, with the blocks side by side


def batch_statistics(at, x, positions, channels, epsilon, momentum):
    running_mean, running_variance = at.before[2:]
    x, count = _by_channel(x, positions, channels), at.count * positions
    mean, variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    unbiased = variance * count / max(count - 1, 1)
    return (
        mean,
        1 / np.sqrt(variance + epsilon),
        (1 - momentum) * running_mean + momentum * mean,
        (1 - momentum) * running_variance + momentum * unbiased,
    )


def normalize_sums(at, x, dy, mean, deviation, gamma, beta, positions, channels):
    dy = _let_through(at, x, dy, mean, deviation, gamma, beta, positions, channels)
    mean, deviation = (np.tile(v, positions)[:, None] for v in (mean, deviation))
    products = _by_channel(dy * (x - mean) * deviation, positions, channels)
    return products.sum(axis=(0, 2)), _by_channel(dy, positions, channels).sum(axis=(0, 2))


def column_norms(at, w, inputs):
    return (w.reshape(inputs, -1) ** 2).sum(axis=0)


def unit_sums(at, a, units):
    return a.sum(axis=1)


def total_norm(at, limit):
    norm = np.sqrt(at.squares)
    return np.array([min(1.0, limit / norm if norm else 1.0)])


# --- operations on a parameter: at.value and at.gradient (None at first) -> its new gradient


def weight_gradient(at, x, packed, inputs):
    before = at.gradient if at.variant[2:] == (True,) else 0.0
    return before + (x @ packed.T).reshape(at.value.shape)


def add_weights(at, factors, inputs, scale):
    return at.gradient + scale * factors * at.value


def lookup_gradient(at, x, packed, steps, inputs, units):
    dw = np.zeros((inputs, units))
    for token, dz in zip(x.astype(int), packed.reshape(steps, units, -1), strict=True):
        np.add.at(dw, token, dz.T)
    return dw


def kernel_gradient(at, x, packed, *numbers: Convolution):
    g = Convolution(*numbers)
    dz = _grouped(packed.reshape(g.out_height, g.out_width, g.filters, -1), g.groups)
    padded = _padded(x, g)
    dw = np.zeros((*g.kernel[0], g.channels // g.groups, g.filters))
    for place, seen in _taps(g):
        part = _grouped(padded[seen], g.groups)
        products = np.einsum("yxgcn,yxgfn->cgf", part, dz, optimize=True)
        dw[place] = products.reshape(dw[place].shape)
    return dw.reshape(at.value.shape)  # of a product at each step too: a window of one place


def kernel_gradient_narrow(at, x, dz, *numbers: Convolution):
    return kernel_gradient(at, x, dz, *numbers)


def bias_gradient(at, packed, positions, units):
    return _by_channel(packed, positions, units).sum(axis=(0, 2))


def channel_sums(at, dz, positions, channels):
    return _by_channel(dz, positions, channels).sum(axis=(0, 2))


def _by_member(at, x):
    """Return the blocks of all members, side by side, apart: [members, units, samples]."""
    return np.moveaxis(x.reshape(len(x), at.members, -1), 1, 0)


def member_sums(at, dz, units):
    return _by_member(at, dz).sum(axis=2)


def member_dense_gradient(at, x, dz, inputs, units):
    return _by_member(at, x) @ np.moveaxis(_by_member(at, dz), 1, 2)


def shared_gradient(at, gradient):
    return gradient.copy()


def regularize(at, l2, l1):
    at.penalties += l2 * (at.value**2).sum() / 2 + l1 * np.abs(at.value).sum()
    return (at.gradient + l2 * at.value + l1 * np.sign(at.value)) * at.rates[0]


def clip_value(at, limit):
    return np.clip(at.gradient, -limit, limit)


def square_sum(at):
    at.squares += (at.gradient**2).sum()
    return at.gradient


def scale_gradient(at, scale):
    return at.gradient * scale[0]


def _sgd(w, g, v, u, r, a, b, epsilon, decay):
    v = a * (r[1] * v) - r[0] * g
    return w + v, v, u


def _nesterov(w, g, v, u, r, a, b, epsilon, decay):
    v = a * (r[1] * v) - r[0] * g
    return w + a * v - r[0] * g, v, u


def _moments(g, m, v, a, b):
    return a * m + (1 - a) * g, b * v + (1 - b) * g**2


def _adam(w, g, m, v, r, a, b, epsilon, decay):
    m, v = _moments(g, m, v, a, b)
    return w - r[0] * m / (np.sqrt(v) + epsilon), m, v


def _adamw(w, g, m, v, r, a, b, epsilon, decay):
    m, v = _moments(g, m, v, a, b)
    return (1 - r[0] * decay) * w - r[1] * m / (r[2] * np.sqrt(v) + epsilon), m, v


def _nadam(w, g, m, v, r, a, b, epsilon, decay):
    m, v = _moments(g, m, v, a, b)
    return w - (r[0] * g + r[1] * m) / (r[2] * np.sqrt(v) + epsilon), m, v


def _rmsprop(w, g, v, u, r, a, b, epsilon, decay):
    v = b * v + (1 - b) * g**2
    return w - r[0] * g / (np.sqrt(v) + epsilon), v, u


def _adagrad(w, g, v, u, r, a, b, epsilon, decay):
    v = v + g**2
    return w - r[0] * g / (np.sqrt(v) + epsilon), v, u


def _adadelta(w, g, v, u, r, a, b, epsilon, decay):
    v = a * v + (1 - a) * g**2
    change = np.sqrt((u + epsilon) / (v + epsilon)) * g
    return w - r[0] * change, v, a * u + (1 - a) * change**2


UPDATE_RULES = {
    "sgd": _sgd,
    "nesterov": _nesterov,
    "adam": _adam,
    "adamw": _adamw,
    "nadam": _nadam,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
}


def update(at, a, b, epsilon, decay):
    at.value, *at.states[:2] = UPDATE_RULES[at.variant[0]](
        at.value, at.gradient, *at.states[:2], at.rates[2:], a, b, epsilon, decay
    )
    return at.gradient


def average(at, state):
    share = at.rates[5]
    at.states[state] = (1 - share) * at.states[state] + share * at.value
    return at.gradient


REFERENCE = {
    function.__name__: function
    for function in (
        gather, gather_csr, weigh, scatter, dense, dense_unbiased, dense_input_gradient,
        pack_samples, convolution, convolution_unbiased, convolution_input_gradient, add_bias,
        max_pool, max_pool_gradient, average_pool, average_pool_gradient, upsample,
        upsample_gradient, add, insert_channels, extract_channels, activation,
        multiply, member_scale, member_add, member_dense, member_dense_input_gradient, member_sums,
        member_dense_gradient, activation_gradient, softmax, softmax_gradient, dropout,
        gaussian_noise, augment,
        activity_penalty, local_response, local_response_gradient, loss, log_loss_softmax, lengths,
        weigh_steps, fill, load_state, save_state, lookup, lookup_unbiased, simple_rnn,
        simple_rnn_gradient, lstm, lstm_gradient, gru, gru_gradient, gru_after,
        gru_after_gradient, draw,
        square_distances, square_distances_gradient, radial, radial_gradient, weigh_samples,
        batch_statistics, normalize, normalize_running, normalize_running_gradient,
        normalize_sums, normalize_gradient, total_norm, weight_gradient, lookup_gradient,
        kernel_gradient, kernel_gradient_narrow, bias_gradient, channel_sums, shared_gradient,
        salt_and_pepper, draw_normal, draw_normal_gradient, column_norms, contraction, unit_sums,
        add_weights, regularize, clip_value, square_sum, scale_gradient, update,
        average,
    )
}  # fmt: skip

#: Those that may begin the chain of a parameter: they give its gradient.
GRADIENTS = {
    "weight_gradient", "lookup_gradient", "kernel_gradient", "kernel_gradient_narrow",
    "bias_gradient", "channel_sums", "shared_gradient", "member_sums", "member_dense_gradient",
}  # fmt: skip


class Executor:
    """Runs a tape in plain Python.

    Attributes
    ----------
    values, gradients : dict of Parameter to ndarray
        In their documented shapes.
    states : dict of Parameter to list of three ndarrays
        The optimizer's states, then the average; an optimizer with fewer leaves the others zero.
    data_loss, divergence : float
        Of the last run: the loss without the penalties of weights, and the divergences, each times
        its step's share.
    first_loss : float
        Of its first step, the loss times its share.
    """

    def __init__(self, tape, values, dtype="float64"):
        self.tape = tape
        self.values = dict(zip(tape.parameters, (np.array(v, np.float64) for v in values)))
        self.states = {p: [np.zeros(p.shape) for _ in range(3)] for p in tape.parameters}
        self.gradients = {}
        self.epsilon = np.finfo(dtype).eps

    def run(
        self, data, rows, batch, rates, weights=None, seed=0, counted=0, accumulate=False,
        lengths=None, resets=None, carry=None, outputs=None,
    ):  # fmt: skip
        """Run all steps; return the sum over them of the loss times its share, and the outputs.

        `lengths` and `resets` are by position in `rows`; `carry` is changed in place, and so are
        `outputs` if they are given.
        """
        if outputs is None:
            members = () if self.tape.members == 1 else (self.tape.members,)
            outputs = np.full((*members, len(rows), self._outputs()), np.nan)
        total = self.data_loss = self.divergence = 0.0
        for step, start in enumerate(range(0, len(rows), batch)):
            at = SimpleNamespace(
                data=data, weights=weights, outputs=outputs, seed=seed, step=counted + step,
                start=start, count=min(batch, len(rows) - start), rates=rates[step],
                epsilon=self.epsilon, loss=0.0, penalties=0.0, divergence=0.0, squares=0.0,
                lengths=lengths, resets=resets, carry=carry, width=self.tape.width,
                members=self.tape.members,
            )  # fmt: skip
            self._before = dict(self.gradients) if accumulate else {}
            self._step(at, rows[start : start + batch])
            share = rates[step][1]
            total += (at.loss + at.penalties) * share
            self.first_loss = total if step == 0 else self.first_loss
            self.data_loss += at.loss * share
            self.divergence += at.divergence * share
        return total, outputs

    def _outputs(self):
        scattered = [op for phase in self.tape.phases for op in phase.all_ops()]
        return next((op.attributes[0] for op in scattered if op.name == "scatter"), 0)

    def _step(self, at, rows):
        width = self.tape.width
        each, seed = -(-at.count // width), at.seed
        at.blocks = [{} for _ in range(each * at.members)]
        at.shared = {}
        for phase in self.tape.phases:
            if phase.kind == "parameters":
                for parameter, chain in phase.ops:
                    self._parameter(at, parameter, chain)
                continue
            for op in phase.ops:
                if phase.kind == "units":
                    self._call(op, at, at.shared, self._joined(at))
                    continue
                for i, block in enumerate(at.blocks):
                    at.member, at.first = i // each, i % each * width
                    at.rows = rows[at.first : at.first + width]
                    at.seed = (seed + at.member * 0x9E3779B97F4A7C15) % 2**64
                    self._call(op, at, block, block)

    def _joined(self, at):
        return {b: np.hstack([block[b] for block in at.blocks]) for b in at.blocks[0]}

    def _value(self, at, operand, block):
        if isinstance(operand, Parameter):
            return self.values[operand]
        whole = (at.shared if operand.shared else block).get(operand.whole)
        return whole if operand.base is None else whole[operand.first :][: operand.rows]

    def _arguments(self, op, at, block):
        at.variant = op.variant
        return [*(self._value(at, operand, block) for operand in op.reads), *op.attributes]

    def _call(self, op, at, destination, block):
        for operand in op.writes:
            if isinstance(operand, Buffer) and operand.base is not None:
                blank = np.full((operand.whole.rows, len(at.rows)), np.nan)
                destination.setdefault(operand.whole, blank)
        at.before = [self._value(at, operand, block) for operand in op.writes]
        results = REFERENCE[op.name](at, *self._arguments(op, at, block))
        if len(op.writes) == 1:
            results = (results,)
        for operand, result in zip(op.writes, results or (), strict=True):
            if isinstance(operand, Parameter):
                self.values[operand] = result
            elif operand.base is None:
                destination[operand] = result
            else:  # the whole may be another buffer's array too
                whole = destination[operand.whole].copy()
                whole[operand.first :][: operand.rows] = result
                destination[operand.whole] = whole

    def _parameter(self, at, parameter, chain):
        at.value, at.states = self.values[parameter], self.states[parameter]
        at.gradient = self.gradients.get(parameter)
        blocks = self._joined(at)
        for i, op in enumerate(chain):
            at.gradient = REFERENCE[op.name](at, *self._arguments(op, at, blocks))
            if i == 0 and op.name in GRADIENTS:  # those behind it add to what is there
                at.gradient = at.gradient + self._before.get(parameter, 0.0)
        self.values[parameter], self.states[parameter] = at.value, at.states
        self.gradients[parameter] = at.gradient


# --- the engine on the same data


def start_values(network, dtype, seed=0):
    """Return random parameters for a network, in their documented shapes."""
    random = np.random.RandomState(seed)
    values = []
    for group in network.parameters():
        for parameter in group:
            scale = 1.5 / np.sqrt(parameter.inputs) if len(parameter.shape) > 1 else 0.3
            value = random.normal(0.0, scale, parameter.shape)
            # factors and divisors of standard deviations and variances stay away from zero
            positive = parameter.name in ("gamma", "variance", "widths")
            values.append(1.0 + value**2 if positive else value)
    return [value.astype(dtype) for value in values]


def step_rates(weights, rows, batch, rates=(0.05, 0.03, 1.2, 0.3)):
    """Return what a step gets: one over the sum of its weights, its share, rates that differ."""
    weights = np.ones(rows.max() + 1) if weights is None else weights
    table = []
    for step, start in enumerate(range(0, len(rows), batch)):
        some = weights[rows[start : start + batch]]
        weight = 1 / some.sum() if some.any() else 0.0
        table.append([weight, weight * len(some), *(r * (1 + step / 8) for r in rates)])
    return np.array(table)


def run_engine(
    network, dtype, purpose, values, source, targets, rows, batch, rates, *, solver=None,
    weights=None, seed=0, counted=0, accumulate=False, threads=1, n_states=3, width=None, fill=0.0,
    lengths=None, resets=None, carry=None,
):  # fmt: skip
    """Run a network's program as a trainer would; return all results.

    `fill` is what lies in the blocks' workspace before; `carry` is changed in place.
    """
    dtype = np.dtype(dtype)
    cpu = DEVICES["cpu"]
    width = width or cpu.packing(dtype).width(max(batch, 2))
    key = None if targets is None else targets.key
    made = program(
        network, dtype.name, width, purpose, source.key, key, solver, threads,
        carries=carry is not None,
    )  # fmt: skip
    packed, states = cpu.upload(made.layout, values), cpu.zeros(made.layout, n_states)
    gradient = np.zeros_like(packed) if purpose == "gradient" else None
    members = () if network.members == 1 else (network.members,)
    out = np.zeros((*members, len(rows), network.outputs), dtype)
    with Session(made, min(batch, len(rows)), threads, gradient) as session:
        session.bind(
            packed, source, targets, weights, rows, out, states, seed, lengths, resets, carry
        )
        session._workspace.view(dtype)[:] = fill
        total = session.run(len(rows), batch, rates, counted, accumulate)
    return SimpleNamespace(
        program=made, parameters=made.layout.parameters, packed=packed,
        values=made.layout.unpack(packed), total=float(total), outputs=out,
        data_loss=float(session.data_loss), divergence=float(session.divergence),
        states=[made.layout.unpack(state) for state in states], raw_states=states,
        gradients=None if gradient is None else made.layout.unpack(gradient),
    )  # fmt: skip


def predict(network, values, dtype, *data, **how):
    """Return a network's outputs for parameters in their documented shapes."""
    return prediction.predict(Weights.of_packed(network, values, dtype), *data, **how)


__all__ = [
    "Executor", "REFERENCE", "X", "Y", "philox", "predict", "run_engine", "start_values",
    "step_rates",
]  # fmt: skip
