"""Between the caller's rows and blocks of samples: gathering a batch, and writing results."""

from numba.core import types

from .compiling import register_jitable
from .frame import (
    BLOCK,
    COUNT,
    LENGTHS,
    LENGTHS_STRIDE,
    MEMBERS,
    OUT,
    OUT_STRIDE,
    ROWS,
    START,
    WEIGHT,
    X_STORED,
    Y_STORED,
    X,
    kernel,
)
from .simd import (
    Tile,
    get,
    prefetch_rows,
    put,
    splat,
    store,
    tile_load_rows,
    tile_store,
    tile_transpose,
)

#: Squares ahead of the one at hand that are fetched: rows are read side by side, too many at a time
#: for the processor to see that each goes on.
_AHEAD = 4


@register_jitable
def row_number(frame, n):
    """Return the caller's row number of position `n` of the batch."""
    if frame[ROWS]:
        return get(types.int64, frame[ROWS], frame[START] + n)
    return frame[START] + n


@register_jitable
def samples_in_block(frame, width):
    """Return the number of samples in the block at hand."""
    return min(width, frame[COUNT] - frame[BLOCK] * width)


@kernel
def gather(t, source, contiguous):
    """Cast the rows of a batch to [columns][samples]. op: addresses, out, columns, field.

    Lanes beyond the last sample repeat the block's first one: what they give is finite, and their
    weight is zero. Where a row's columns are neighbors, squares of a vector's size are transposed
    in registers.
    """
    width, lanes, real, source = t.width, t.vector.lanes, t.real, getattr(types, source)
    tile, ahead = Tile(t.vector, lanes, 1), _AHEAD * lanes

    def gather(op, frame, slot):
        addresses, out, columns, field = slot + op[0], slot + op[1], op[2], op[3]
        data, row_bytes, column_bytes = frame[field], frame[field + 1], frame[field + 2]
        first = frame[BLOCK] * width
        samples = samples_in_block(frame, width)
        for n in range(width):
            row = row_number(frame, first + (n if n < samples else 0))
            put(addresses, n, data + row * row_bytes)
        if contiguous and 1 < lanes <= columns:
            for column in range(0, columns, lanes):
                c = min(column, columns - lanes)  # the last square may overlap the one before
                for n in range(0, width, lanes):
                    prefetch_rows(tile, source, addresses + n * 8, c + ahead)
                    square = tile_transpose(tile_load_rows(tile, source, addresses + n * 8, c))
                    tile_store(square, out, c * width + n, width, lanes)
            return
        for n in range(width):
            address = get(types.int64, addresses, n)
            for c in range(columns):
                put(out, c * width + n, real(get(source, address + c * column_bytes, 0)))

    return gather


@kernel
def gather_csr(t, source, index):
    """The same from compressed sparse rows. op: addresses, out, columns, field.

    The matrix is the caller's own, who may change it while it is read: whatever its arrays say
    then, nothing outside of them is read, and nothing outside of the block is written.
    """
    width, real, vector, lanes = t.width, t.real, t.vector, t.vector.lanes
    source, index = getattr(types, source), getattr(types, index)

    def gather_csr(op, frame, slot):
        out, columns, field = slot + op[1], op[2], op[3]
        data, indices, indptr = frame[field], frame[field + 1], frame[field + 2]
        stored = frame[X_STORED if field == X else Y_STORED]
        first = frame[BLOCK] * width
        samples = samples_in_block(frame, width)
        for i in range(0, columns * width, lanes):
            store(out, i, splat(vector, 0.0))
        for n in range(samples):
            row = row_number(frame, first + n)
            begin, end = types.int64(get(index, indptr, row)), get(index, indptr, row + 1)
            for i in range(max(begin, 0), min(types.int64(end), stored)):
                column = types.int64(get(index, indices, i))
                if 0 <= column < columns:
                    j = column * width + n
                    put(out, j, real(get(real, out, j) + get(source, data, i)))

    return gather_csr


@kernel
def weigh(t):
    """The weight of each lane's sample: zero beyond the last one. op: out.

    That of a member is its part: the loss is the mean of the members'.
    """
    width, real = t.width, t.real

    def weigh(op, frame, slot):
        out = slot + op[0]
        first = frame[BLOCK] * width
        samples, part = samples_in_block(frame, width), 1.0 / frame[MEMBERS]
        for n in range(width):
            weight = part if n < samples else 0.0
            if frame[WEIGHT] and n < samples:
                weight = get(types.float64, frame[WEIGHT], row_number(frame, first + n)) * part
            put(out, n, real(weight))

    return weigh


@kernel
def lengths(t):
    """The length of each lane's sequence, at most all steps. op: out, steps, column of lengths."""
    width, real = t.width, t.real

    def lengths(op, frame, slot):
        out, steps = slot + op[0], op[1]
        first = frame[START] + frame[BLOCK] * width
        samples = samples_in_block(frame, width)
        for n in range(width):
            length = steps
            if frame[LENGTHS]:
                row = frame[LENGTHS] + (first + (n if n < samples else 0)) * frame[LENGTHS_STRIDE]
                length = min(max(get(types.int64, row, op[2]), 0), steps)
            put(out, n, real(length))

    return lengths


@kernel
def weigh_steps(t):
    """The weight of each step of each lane's sequence, zero beyond its end.

    op: lengths, out, steps.
    """
    width, real = t.width, t.real

    def weigh_steps(op, frame, slot):
        lengths, out = slot + op[0], slot + op[1]
        first = frame[BLOCK] * width
        samples, part = samples_in_block(frame, width), 1.0 / frame[MEMBERS]
        for n in range(width):
            weight = part if n < samples else 0.0
            if frame[WEIGHT] and n < samples:
                weight = get(types.float64, frame[WEIGHT], row_number(frame, first + n)) * part
            length = get(real, lengths, n)
            for step in range(op[2]):
                put(out, step * width + n, real(weight if step < length else 0.0))

    return weigh_steps


@kernel
def scatter(t):
    """Write a block as rows of the result. op: a, units."""
    width, real, size = t.width, t.real, t.size

    def scatter(op, frame, slot):
        a, units = slot + op[0], op[1]
        first = frame[START] + frame[BLOCK] * width
        for n in range(samples_in_block(frame, width)):
            out = frame[OUT] + (first + n) * frame[OUT_STRIDE]
            for unit in range(units):
                put(out, unit, get(real, a + (unit * width + n) * size, 0))

    return scatter
