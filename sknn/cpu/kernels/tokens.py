"""Token ids: lookup of their vectors, the gradients of these, and sampling of the next token."""

from numba.core import types

from .compiling import register_jitable
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    OUT,
    OUT_STRIDE,
    PARAMETERS,
    RATE_FIRST,
    RATES,
    START,
    WORKSPACE,
    WORKSPACE_STRIDE,
    kernel,
)
from .functions import functions
from .simd import (
    Tile,
    get,
    lane_sum,
    load,
    put,
    splat,
    store,
    tile_lookup,
    tile_store,
    tile_transpose,
)


@register_jitable
def _token(number, inputs):
    """Return a token's number, held in the table: no input may lead out of it."""
    return types.int64(min(max(number, 0), inputs - 1)) if number > 0 else types.int64(0)


@kernel
def lookup(t, pack):
    """z = the token's row of w, plus b. op: x, w, b, z, steps, inputs, units."""
    return _lookup(t, pack, True)


@kernel
def lookup_unbiased(t, pack):
    """z = the token's row of w. op: x, w, z, steps, inputs, units."""
    return _lookup(t, pack, False)


def _lookup(t, pack, biased):
    """Squares of samples by units are transposed in registers; one sample is copied."""
    width, wide, lanes, real, size = t.width, t.wide, t.wide.lanes, t.real, t.size
    tile, write = Tile(wide, lanes, 1), t.write
    o = 3 if biased else 2

    def lookup(op, frame, slot):
        x, z = slot + op[0], slot + op[o]
        w, b = frame[PARAMETERS] + op[1], frame[PARAMETERS] + op[2]
        inputs, units = op[o + 2], op[o + 3]
        for unit in range(0, units, lanes):
            table = w + (unit // pack * pack * inputs + unit % pack) * size
            bias = load(wide, b, unit) if biased else splat(wide, 0.0)
            for step in range(op[o + 1]):
                if width == 1:
                    token = _token(get(real, x, step), inputs)
                    value = load(wide, table, token * pack) + bias
                    write(z, step * units + unit, value, units - unit)
                    continue
                for n in range(0, width, lanes):
                    square = tile_lookup(tile, table, pack, x, step * width + n, inputs - 1, bias)
                    i = (step * units + unit) * width + n
                    tile_store(tile_transpose(square), z, i, width, units - unit)

    return lookup


@kernel
def lookup_gradient(t, pack):
    """dw[token] = the sum of dz over the steps and samples that have the token.

    op: as weight_gradient's: first byte of the slice, its byte in the gradient, elements, byte of
    the parameter, x, packed dz; then steps, inputs, units.
    """
    width, wide, lanes, real, size = t.width, t.wide, t.wide.lanes, t.real, t.size

    def lookup_gradient(op, frame, slot):
        steps, inputs, packs = op[6], op[7], (op[8] + pack - 1) // pack
        begin = (op[0] - op[3]) // (pack * size)
        end = begin + op[2] // pack
        g = frame[GRADIENT] + op[1]
        if not frame[ACCUMULATE]:
            for i in range(0, op[2], lanes):
                store(g, i, splat(wide, 0.0))
        block = frame[WORKSPACE]
        for start in range(0, frame[COUNT], width):
            x, dz = block + op[4], block + op[5]
            for step in range(steps):
                for n in range(min(width, frame[COUNT] - start)):
                    token = _token(get(real, x, step * width + n), inputs)
                    for p in range(begin // inputs, (end - 1) // inputs + 1):
                        row = p * inputs + token
                        if begin <= row < end:
                            i, j = (row - begin) * pack, ((step * packs + p) * width + n) * pack
                            for v in range(0, pack, lanes):
                                store(g, i + v, load(wide, g, i + v) + load(wide, dz, j + v))
            block += frame[WORKSPACE_STRIDE]

    return lookup_gradient


@kernel
def draw(t):
    """Sample a token from softmax(z / temperature), and write it after the current one.

    The step's rates contain, in place of the optimizer's: one over the temperature; a uniform
    random number, by which the cumulative distribution is inverted; how many of the largest z may
    be drawn, and those equal to the last of them (0: all); and whether the next token is given
    already. op: z, units.
    """
    vector, real = t.vector, t.real
    exp = functions(vector).exp

    def draw(op, frame, slot):
        z, units, rates = slot + op[0], op[1], frame[RATES] + RATE_FIRST * 8
        if get(types.float64, rates, 3) != 0.0:
            return
        inverse, number = get(types.float64, rates, 0), get(types.float64, rates, 1)
        top = types.int64(get(types.float64, rates, 2))
        largest = get(real, z, 0)
        for i in range(units):
            largest = max(largest, get(real, z, i))
        limit = largest
        if top == 0 or top >= units:
            for i in range(units):
                limit = min(limit, get(real, z, i))
        else:
            for _ in range(top):  # at most, whatever z is: NaN never ends a search
                allowed, below, found = 0, limit, False
                for i in range(units):
                    value = get(real, z, i)
                    if value >= limit:
                        allowed += 1
                    elif not found or value > below:
                        below, found = value, True
                if allowed >= top or not found:
                    break
                limit = below
        total = 0.0
        for i in range(units):
            if get(real, z, i) >= limit:
                total += lane_sum(exp((load(vector, z, i) - largest) * inverse))
        token, chosen, reached = 0, False, 0.0
        for i in range(units):
            if not chosen and get(real, z, i) >= limit:
                token = i
                reached += lane_sum(exp((load(vector, z, i) - largest) * inverse))
                chosen = reached > number * total
        put(frame[OUT] + (frame[START] + 1) * frame[OUT_STRIDE], 0, types.int64(token))

    return draw
