"""Rosenblatt's rule: one sample after the other, all units of a layer side by side."""

from numba.core import types

from .frame import COUNT, WEIGHT, X_COLUMN, X_ROW, X_STORED, X, Y, kernel
from .gather import row_number
from .simd import (
    absolute,
    bits_to_float64,
    fma,
    get,
    iota,
    lane_sum,
    load,
    put,
    select,
    splat,
    store,
)

(
    INPUTS,
    UNITS,
    WEIGHTS,  # address of the weights, [inputs][units rounded up to vectors]
    BIASES,
    MOMENTS,  # address of the same for the average: updates times samples seen; 0: no average
    BIAS_MOMENTS,
    SCRATCH,  # address of one row
    RATE,  # the bits of the learning rate
    INTERCEPT,  # 1: learn biases
    SEEN,  # samples seen before
    OUTCOME,  # address of two float64 to add to: number of errors, and loss
    N_ROWS,  # rows that there are
    STRAY,  # set to 1 where a row is none of them; nothing is done from there on
) = range(13)


@kernel
def perceptron(t, source, index):
    """Go over the rows in order: fire where the sum is >= 0, and learn where that is wrong.

    `source` is the type of X's numbers; `index` that of a sparse X's indices, or None. The sums
    are those of the kernel `dense` to the bit, so prediction agrees with training.
    """
    real, wide, lanes = t.real, t.wide, t.wide.lanes
    number = getattr(types, source)
    sparse = index is not None
    whole = getattr(types, index) if sparse else types.int64

    def perceptron(op, frame, slot):
        inputs, units, x = op[INPUTS], op[UNITS], op[SCRATCH]
        stride = (units + lanes - 1) // lanes * lanes
        rate = bits_to_float64(op[RATE])
        errors, loss = 0.0, 0.0
        for n in range(frame[COUNT]):
            row = row_number(frame, n)
            if not 0 <= row < op[N_ROWS]:
                op[STRAY] = 1
                break
            weight = 1.0
            if frame[WEIGHT]:
                weight = get(types.float64, frame[WEIGHT], row)
                if weight == 0.0:
                    continue
            if sparse:
                for k in range(inputs):
                    put(x, k, real(0))
                # whatever the caller's arrays say by now, nothing outside of them is touched
                begin = types.int64(get(whole, frame[X_COLUMN], row))
                end = types.int64(get(whole, frame[X_COLUMN], row + 1))
                for i in range(max(begin, 0), min(end, frame[X_STORED])):
                    k = types.int64(get(whole, frame[X_ROW], i))
                    if 0 <= k < inputs:
                        put(x, k, real(get(real, x, k) + get(number, frame[X], i)))
            else:
                address = frame[X] + row * frame[X_ROW]
                for k in range(inputs):
                    put(x, k, real(get(number, address + k * frame[X_COLUMN], 0)))
            target = get(types.int64, frame[Y], row)
            seen = real(op[SEEN] + n)
            for unit in range(0, units, lanes):
                sums = load(wide, op[BIASES], unit)
                for k in range(inputs):
                    factor = splat(wide, get(real, x, k))
                    sums = fma(factor, load(wide, op[WEIGHTS], k * stride + unit), sums)
                wanted = select(iota(wide) == real(target - unit), sums * 0.0 + 1.0, sums * 0.0)
                if units == 1:
                    wanted = splat(wide, real(target))
                fires = select(sums >= 0.0, sums * 0.0 + 1.0, sums * 0.0)
                inside = iota(wide) < real(units - unit)
                error = select(inside, wanted - fires, 0.0)
                wrong = lane_sum(absolute(error))
                if wrong == 0.0:
                    continue
                errors += wrong
                loss -= weight * lane_sum(error * sums)
                change = error * (rate * weight)
                moment = change * seen
                if op[INTERCEPT]:
                    store(op[BIASES], unit, load(wide, op[BIASES], unit) + change)
                    if op[MOMENTS]:
                        store(op[BIAS_MOMENTS], unit, load(wide, op[BIAS_MOMENTS], unit) + moment)
                for k in range(inputs):
                    i = k * stride + unit
                    factor = splat(wide, get(real, x, k))
                    store(op[WEIGHTS], i, fma(factor, change, load(wide, op[WEIGHTS], i)))
                    if op[MOMENTS]:
                        store(op[MOMENTS], i, fma(factor, moment, load(wide, op[MOMENTS], i)))
        put(op[OUTCOME], 0, get(types.float64, op[OUTCOME], 0) + errors)
        put(op[OUTCOME], 1, get(types.float64, op[OUTCOME], 1) + loss)

    return perceptron


