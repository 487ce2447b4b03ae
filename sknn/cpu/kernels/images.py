"""Images put together, taken apart, moved about."""

from numba.core import types

from .frame import BLOCK, SEED, STEP, kernel
from .random import philox
from .simd import Vector, get, iota, lane, load, put, select, splat


@kernel
def add(t, relu):
    """y = a + b, perhaps cut at zero. op: a, b, y, elements."""
    wide, lanes, write = t.wide, t.wide.lanes, t.write

    def add(op, frame, slot):
        a, b, y = slot + op[0], slot + op[1], slot + op[2]
        for i in range(0, op[3], lanes):
            value = load(wide, a, i) + load(wide, b, i)
            write(y, i, select(value < 0.0, 0.0, value) if relu else value, op[3] - i)

    return add


@kernel
def insert_channels(t):
    """Write x's channels among those of y. op: x, y, positions, channels, total, offset."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def insert_channels(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        length, total, offset = op[3] * width, op[4] * width, op[5] * width
        for place in range(op[2]):
            for i in range(0, length, lanes):
                value = load(wide, x, place * length + i)
                write(y, place * total + offset + i, value, length - i)

    return insert_channels


@kernel
def extract_channels(t):
    """y = some channels of x. op: x, y, positions, channels, total, offset."""
    wide, lanes, width, write = t.wide, t.wide.lanes, t.width, t.write

    def extract_channels(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        length, total, offset = op[3] * width, op[4] * width, op[5] * width
        for place in range(op[2]):
            for i in range(0, length, lanes):
                value = load(wide, x, place * total + offset + i)
                write(y, place * length + i, value, length - i)

    return extract_channels


@kernel
def augment(t):
    """y = each image of x from a random offset on, perhaps mirrored, with zeros around.

    op: x, y, height, width, channels, height and width of y, layer, lowest row and number of rows
    to begin at, the same of columns, whether to flip upside down, whether to mirror.
    """
    width, lanes, real = t.width, t.vector.lanes, t.real
    words = Vector(types.uint32, lanes)

    def augment(op, frame, slot):
        x, y = slot + op[0], slot + op[1]
        height, columns, channels, out_height, out_columns = op[2], op[3], op[4], op[5], op[6]
        seed = frame[SEED]
        for first in range(0, width, lanes):
            sample = iota(words) + (frame[BLOCK] * width + first)
            four = philox(
                sample, splat(words, 0), splat(words, op[7]), splat(words, frame[STEP]),
                seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF,
            )  # fmt: skip
            for k in range(lanes):
                down = op[8] + (lane(four[0], k) * op[9] >> 32)
                right = op[10] + (lane(four[1], k) * op[11] >> 32)
                flipped = op[12] and lane(four[2], k) < 1 << 31
                mirrored = op[13] and lane(four[3], k) < 1 << 31
                n = first + k
                for i in range(out_height):
                    row = height - 1 - i - down if flipped else i + down
                    for j in range(out_columns):
                        column = columns - 1 - j - right if mirrored else j + right
                        inside = 0 <= row < height and 0 <= column < columns
                        for c in range(channels):
                            value = real(0.0)
                            if inside:
                                place = (row * columns + column) * channels + c
                                value = get(real, x, place * width + n)
                            put(y, ((i * out_columns + j) * channels + c) * width + n, value)

    return augment
