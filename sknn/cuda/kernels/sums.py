"""Gradients that are sums over positions and samples, one for each unit."""

from .dense import task_place
from .frame import (
    ACCUMULATE,
    COUNT,
    GRADIENT,
    LANES,
    SLOT,
    TASK_COLUMNS,
    TASK_FIRST,
    TASK_PACK,
    THREAD,
    WORKSPACE_STRIDE,
    kernel,
)


def _unit_gradient(t, value):
    """Return what leaves, for each unit of a task, the sum over positions and samples.

    ``value(o, block, place, sample, unit)`` is what is added, where the workspace of the block is
    at the address `block`; the number of positions is the second operand.
    """
    get, put, constant, divide = t.get, t.put, t.constant, t.divide
    width, lane_sum, first_of, value = t.width, t.lane_sum, task_place(t), t.jit(value)
    threads, real = t.threads, t.real

    def unit_gradient(team, frame, o, scratch):
        positions, samples = constant(o, 1), team[COUNT]
        stride = constant(frame, WORKSPACE_STRIDE)
        _, first = first_of(o)
        for column in range(constant(o, TASK_COLUMNS)):
            for lane in range(team[THREAD], LANES, threads):
                total = real(0)
                for i in range(lane, positions * samples, LANES):
                    place = divide(i, samples)
                    sample = i - place * samples
                    block = divide(sample, width)
                    slot = team[SLOT] + block * stride
                    total += value(o, slot, place, sample - block * width, first + column)
                scratch[lane] = total
            total = lane_sum(scratch, team[THREAD])
            if team[THREAD] == 0:
                g = constant(frame, GRADIENT) + constant(o, TASK_FIRST)
                if constant(frame, ACCUMULATE):
                    total += get(g, column)
                put(g, column, total)

    return unit_gradient


@kernel(skips=[0])
def bias_gradient(t):
    """db = sum over positions and samples of dz. o: packed dz, positions, units."""
    get, constant, width = t.get, t.constant, t.width

    def value(o, slot, place, sample, unit):
        return get(slot + constant(o, 0), (place * width + sample) * constant(o, TASK_PACK) + unit)

    return _unit_gradient(t, value)


@kernel
def channel_sums(t):
    """The same of gradients that are not packed. o: dz, positions, channels."""
    get, constant, width, real = t.get, t.constant, t.width, t.real

    def value(o, slot, place, sample, unit):
        if unit >= constant(o, 2):
            return real(0)
        return get(slot + constant(o, 0), (place * constant(o, 2) + unit) * width + sample)

    return _unit_gradient(t, value)
