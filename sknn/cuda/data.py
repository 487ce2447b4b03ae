"""The data of a fit or a prediction, on their way to a GPU and back.

What kernels read there lies in one piece, in the type they compute in: X and y cast, numbers of
classes and of rows as int64. What stays on the GPU for a whole fit is :class:`Placed`; what a few
steps at a time need is :class:`Cargo`.
"""

import numpy as np

from ..tape.sources import INPUTS
from .kernels import frame as f


@np.errstate(over="ignore")  # what is too large for float32 is infinite, as on the CPU
def arrays_of(source, dtype, rows=None):
    """Return the arrays that kernels read a source from, or some of its rows, in a frame's order.

    Dense ones are rows of columns. Sparse ones are values, indices, and places where rows begin.
    """
    if rows is not None:
        source = source.take(rows)
    if source.n_classes is not None:
        return [np.ascontiguousarray(source.numbers)]
    if len(source.arrays) == 1:
        return [np.ascontiguousarray(source.arrays[0], dtype)]
    values, indices, begins = source.arrays
    return [values.astype(dtype), indices.astype(np.int64), begins.astype(np.int64)]


def fields_of(source, field, arrays):
    """Return what a frame says of a source beside where its arrays lie, and the fields for these.

    `field` is that of X or of Y.
    """
    if source.n_classes is not None:
        return {f.CLASS_COLUMNS: source.n_columns}, [f.CLASSES]
    if len(arrays) == 1:
        return {field + 1: source.n_columns}, [field]
    stored = f.X_STORED if field == f.X else f.Y_STORED
    return {stored: min(len(arrays[0]), len(arrays[1]))}, [field, field + 1, field + 2]


def bytes_of(source, dtype):
    """Return the bytes that a source takes on a GPU."""
    size = np.dtype(dtype).itemsize
    if source.n_classes is not None:
        return 8 * source.numbers.size
    if source.operation == "gather":
        return source.n_rows * source.n_columns * size
    values, indices, begins = source.arrays
    return values.size * size + 8 * (indices.size + begins.size)


def overlaps(source):
    """Return whether rows lie over each other, as windows of a text: a copy is much larger."""
    array = source.arrays[0] if source.n_classes is None else source.numbers
    reach = sum((n - 1) * abs(stride) for n, stride in zip(array.shape, array.strides))
    return reach + array.itemsize < array.nbytes


class Placed:
    """A source that is on a GPU as a whole.

    Parameters
    ----------
    driver : Driver
    source : Source or ClassNumbers
    dtype : dtype
        Of what is computed with.
    """

    def __init__(self, driver, source, dtype):
        self.dtype, self._memory, self._says = np.dtype(dtype), [], {}
        arrays = arrays_of(source, dtype)
        for array in arrays:
            self._memory.append(driver.allocate(max(array.nbytes, 1)))
            driver.to_device(self._memory[-1].address, array)
        for field in (f.X, f.Y):
            numbers, places = fields_of(source, field, arrays)
            addresses = (memory.address for memory in self._memory)
            self._says[field] = numbers | dict(zip(places, addresses))

    def fields(self, field):
        """Return what a frame says of it, where it is X or Y."""
        return self._says[field]


class Cargo:
    """What some steps read, sent in one piece, and what they leave, brought back.

    Parameters
    ----------
    session : Session
    name : str
        That of its memory among the session's.
    """

    def __init__(self, session, name):
        self._session, self._name, self._pinned = session, name, None

    def load(self, first, last, rates):
        """Send what the steps over the positions from `first` to before `last` read."""
        session, bound = self._session, self._session.bound
        dtype = session.program.dtype
        self.steps, self._first, self._last = len(rates), first, last
        self._shares = rates[:, 1]
        rows = np.arange(first, last) if bound.rows is None else bound.rows[first:last]
        arrays = {f.RATES: np.ascontiguousarray(rates, dtype)}
        fields = {f.ROWS: 0, f.WEIGHT: 0, f.LENGTHS: 0, f.RESETS: 0, f.TOTAL: last - first}
        if bound.resident:
            arrays[f.ROWS] = rows
        for field, source in ((f.X, bound.source), (f.Y, bound.targets)):
            if source is None or source is INPUTS:
                continue
            if bound.resident:
                fields |= session.placed(source).fields(field)
            else:
                some = arrays_of(source, dtype, rows)
                numbers, places = fields_of(source, field, some)
                fields |= numbers
                arrays |= dict(zip(places, some))
        if bound.weights is not None:  # read by row
            weights = bound.weights if bound.resident else bound.weights[rows]
            arrays[f.WEIGHT] = weights.astype(dtype)
        if bound.lengths is not None:
            arrays[f.LENGTHS] = np.ascontiguousarray(bound.lengths[first:last])
            fields[f.LENGTH_COLUMNS] = bound.lengths.shape[1]
        if bound.resets is not None:
            arrays[f.RESETS] = bound.resets[first:last].astype(np.int64)
        self._fields = fields | self._send(arrays) | self._room_for_results(last - first)

    def _send(self, arrays):
        """Send arrays in one piece; return where each will be."""
        places, end = {}, 0
        for field, array in arrays.items():
            places[field] = end
            end += -(-array.nbytes // 256) * 256
        driver = self._session.driver
        if self._pinned is None or len(self._pinned) < end:
            self._pinned = driver.pinned(end)
        for field, array in arrays.items():
            place = self._pinned[places[field] :][: array.nbytes]
            place.view(array.dtype)[:] = array.ravel()
        address = self._session.room(self._name, end)
        driver.to_device_later(address, self._pinned[:end])
        return {field: address + place for field, place in places.items()}

    def _room_for_results(self, n):
        """Return where `n` rows leave their losses and outputs."""
        session, program = self._session, self._session.program
        itemsize, needs = program.dtype.itemsize, program.needs
        self._sizes = [self.steps * n for n in (session.blocks, session.blocks, session.n_sums)]
        self._results = address = session.room(self._name + " results", sum(self._sizes) * itemsize)
        fields = {}
        for field, size in zip((f.LOSSES, f.DIVERGENCES, f.SUMS), self._sizes):
            fields[field] = address
            address += size * itemsize
        if session.bound.out is not None:
            self._shape = (n + 1,) if needs.draws else (n, needs.outputs)
            n_bytes = (8 if needs.draws else itemsize) * int(np.prod(self._shape))
            fields[f.OUT] = session.room(self._name + " out", n_bytes)
            fields[f.OUT_COLUMNS] = needs.outputs
        return fields

    def begin(self, frame):
        """Have a frame say where all is, and clear what losses are added to."""
        for field, value in self._fields.items():
            frame[field] = value
        n_bytes = sum(self._sizes) * self._session.program.dtype.itemsize
        self._session.driver.fill_zero(self._results, n_bytes)

    def unload(self):
        """Bring the outputs to where they belong; return losses, divergences and penalties.

        Each is an array of what blocks, or parameters, have left, times its step's share.
        """
        session, program, out = self._session, self._session.program, self._session.bound.out
        numbers = np.empty(sum(self._sizes), program.dtype)
        session.driver.to_host(numbers, self._results)
        parts = np.split(numbers, np.cumsum(self._sizes)[:-1])
        shares = self._shares[:, None]
        if out is not None:
            draws = program.needs.draws
            found = np.empty(self._shape, np.int64 if draws else program.dtype)
            session.driver.to_host(found, self._fields[f.OUT])
            if draws:  # behind each token the next one
                out[self._first + 1 : self._last + 1] = found[1:]
            else:
                out[self._first : self._last, : program.needs.outputs] = found
        return [(part.reshape(self.steps, -1) * shares).ravel() for part in parts]
