"""The memory layout for the CPU's kernels: packs of whole SIMD vectors."""

import numpy as np

from ..tape.packing import WIDEST, Packing
from .kernels.frame import real_type
from .kernels.simd import LANES


def lanes_of(dtype):
    """Return the number of lanes of a vector of `dtype`."""
    return LANES[real_type(np.dtype(dtype))]


def leaves_few(units, lanes):
    """Return whether the units beyond whole vectors are far from filling one."""
    return 0 < units % lanes <= 3 * lanes // 8


class VectorPacking(Packing):
    """The packing for one scalar type.

    Attributes
    ----------
    lanes : int
        Numbers in a vector.
    """

    def __init__(self, dtype):
        self.lanes = lanes_of(dtype)

    def width(self, rows):
        if rows == 1:
            return 1
        return self.lanes if rows <= self.lanes else WIDEST

    def units(self, units):
        # Two vectors use registers best; a single one, if the second would be all zeros.
        return self.lanes if -(-units // self.lanes) % 2 else 2 * self.lanes

    def packed(self, parameter):
        # the gradients of a few units that are left over are computed in another way
        if len(parameter.shape) == 2 and leaves_few(parameter.shape[-1], self.lanes):
            parameter.pack = parameter.pack or self.lanes
        return super().packed(parameter)

    def vector(self, units):
        return self.lanes

    def tile(self, rows):
        # so that few are left over
        return rows if rows <= 10 else min((8, 10), key=lambda tile: -rows % tile)

    def is_narrow(self, filters, pack):
        return -(-filters // pack) * pack >= 2 * filters

    def narrow_tile(self, filters, inputs):
        tiles = ((rows, depth) for rows in range(1, 7) for depth in range(1, 9))

        def cost(tile):
            rows, depth = tile
            # as many loads as rows and columns, as many multiply-adds as both together
            return -(-filters // rows) * -(-inputs // depth) * (rows * depth + (rows + depth) / 2)

        return min((tile for tile in tiles if tile[0] * tile[1] <= 20), key=cost)
