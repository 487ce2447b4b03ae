"""The memory layout of parameters: units side by side in packs, one parameter after the other."""

import numpy as np

#: The alignment of parameters and buffers in bytes: a cache line.
ALIGN = 64
#: Rows that a tile of a product may read past the last one without using them; each has `WIDEST`
#: numbers.
SPARE_ROWS, WIDEST = 16, 32


def rounded(value, multiple):
    """Return a value rounded up to a multiple."""
    return -(-value // multiple) * multiple


class Packing:
    """The memory layout that a device prefers. This one packs nothing: correct, but slow.

    Each device has its own, one per scalar type. Layers use the one of the tape.
    """

    def width(self, rows):
        """Return the number of samples in a block, for steps of so many rows."""
        return 32

    def units(self, units):
        """Return the number of units of a matrix that are side by side in memory."""
        return 1

    def vector(self, units):
        """Return the same for a vector that belongs to no matrix."""
        return 1

    def tile(self, rows):
        """Return the number of rows that an operation's kernel computes at once."""
        return 1

    def is_narrow(self, filters, pack):
        """Return whether filters leave half of their packs empty."""
        return False

    def narrow_tile(self, filters, inputs):
        """Return how many such filters, and inputs of them, a kernel computes at once."""
        return 1, 1

    def packed(self, parameter):
        """Set the pack size of a parameter, unless it is set already, and return the parameter."""
        sizes = self.units if parameter.tiled else self.vector
        parameter.pack = parameter.pack or sizes(parameter.shape[-1])
        return parameter


PLAIN = Packing()


class Layout:
    """Where the parameters of a network are in a single array, the same in all of its programs.

    Parameters
    ----------
    parameters : list of Parameter
        Their pack sizes must be set.
    dtype : dtype

    Attributes
    ----------
    offsets : dict of Parameter to int
        The first byte of each.
    n_bytes : int
        The size of the array, with slack at the end: tiles may read past the last row.
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
        """Number of elements in the array, with the slack."""
        return self.n_bytes // self.dtype.itemsize

    def part(self, parameter):
        """Return the slice of the array that a parameter occupies."""
        start = self.offsets[parameter] // self.dtype.itemsize
        return slice(start, start + parameter.elements)

    def places(self, packed):
        """Return, for each parameter, views of the parts of a packed array that it occupies.

        For a matrix these are the whole packs, as (inputs, packs, pack), and the remainder.
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
    """Write the parameters' values to the `places` of a layout."""
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
