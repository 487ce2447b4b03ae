"""How parameters lie in memory: units side by side in packs, one parameter after the other."""

import numpy as np

#: What parameters and buffers begin on, in bytes: a cache line.
ALIGN = 64
#: Rows that a tile of a product may read beyond the last one, and not use; a row is `WIDEST` wide.
SPARE_ROWS, WIDEST = 16, 32


def rounded(value, multiple):
    """Return the smallest multiple that is not less than a value."""
    return -(-value // multiple) * multiple


class Packing:
    """What a device wants to lie side by side: here nothing does, which is right, and slow.

    Devices have their own, one for each scalar type. Layers ask the tape's.
    """

    def width(self, rows):
        """Return how many samples a block has, for steps of so many rows."""
        return 32

    def units(self, units):
        """Return how many of the units of a matrix lie side by side."""
        return 1

    def vector(self, units):
        """Return the same for a vector that belongs to no matrix."""
        return 1

    def tile(self, rows):
        """Return how many rows at once an operation's kernel is made for."""
        return 1

    def is_narrow(self, filters, pack):
        """Return whether filters leave half of their packs empty."""
        return False

    def narrow_tile(self, filters, inputs):
        """Return how many of such filters, and of their inputs, a kernel is made for at once."""
        return 1, 1

    def packed(self, parameter):
        """Say how the units of a parameter lie, if nobody has, and return it."""
        sizes = self.units if parameter.tiled else self.vector
        parameter.pack = parameter.pack or sizes(parameter.shape[-1])
        return parameter


PLAIN = Packing()


class Layout:
    """Where the parameters of a network lie in one array, in each of its programs.

    Parameters
    ----------
    parameters : list of Parameter
        They know how many units lie side by side.
    dtype : dtype

    Attributes
    ----------
    offsets : dict of Parameter to int
        The first byte of each.
    n_bytes : int
        Of all, with slack at the end: what a tile may read beyond the last row of the last one.
    """

    def __init__(self, parameters, dtype):
        self.parameters, self.dtype = parameters, np.dtype(dtype)
        self.offsets, end = {}, 0
        for parameter in parameters:
            self.offsets[parameter] = end
            end += rounded(parameter.elements * self.dtype.itemsize, ALIGN)
        self.n_bytes = end + SPARE_ROWS * WIDEST * self.dtype.itemsize

    @property
    def size(self):
        """Numbers in the array, with the slack."""
        return self.n_bytes // self.dtype.itemsize

    def part(self, parameter):
        """Return which part of the array is a parameter's."""
        start = self.offsets[parameter] // self.dtype.itemsize
        return slice(start, start + parameter.elements)

    def places(self, packed):
        """Return, for each parameter, the parts of a packed array that it goes to.

        Of a matrix these are the whole packs, as (inputs, packs, pack), and what is left over.
        """
        places = []
        for parameter in self.parameters:
            part = packed[self.part(parameter)]
            units, width = parameter.shape[-1], parameter.pack
            if len(parameter.shape) == 1:
                places.append((part[:units], None))
                continue
            view = part.reshape(-1, parameter.inputs, width)
            whole, left = divmod(units, width)
            packs = view[:whole].transpose(1, 0, 2) if whole else None
            places.append((packs, view[whole, :, :left] if left else None))
        return places

    def pack(self, values, packed):
        """Put the parameters' values, in their documented shapes, into an array; return it."""
        fill(self.places(packed), values)
        return packed

    def unpack(self, packed):
        """Return copies of the parameters, in their documented shapes."""
        values = []
        for parameter in self.parameters:
            part, units = packed[self.part(parameter)], parameter.shape[-1]
            rows = part.reshape(-1, parameter.inputs, parameter.pack).transpose(1, 0, 2)
            rows = rows.reshape(parameter.inputs, -1)[:, :units]
            values.append(rows.reshape(parameter.shape, copy=True))
        return values


def fill(places, values):
    """Put the parameters' values where they belong: the `places` of a layout."""
    for (packs, left), value in zip(places, values, strict=True):
        if value.ndim == 1:
            packs[...] = value
            continue
        n = 0 if packs is None else packs.shape[1] * packs.shape[2]
        value = value.reshape(-1, value.shape[-1])
        if packs is not None:
            packs[...] = (value if left is None else value[:, :n]).reshape(packs.shape)
        if left is not None:
            left[...] = value[:, n:]
