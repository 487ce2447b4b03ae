"""Memory allocation for the buffers of a tape: those not in use at the same time share memory."""

from .packing import ALIGN, SPARE_ROWS, WIDEST, rounded
from .tape import Buffer


class Placement:
    """The offsets of a tape's buffers, for a given size of the numbers.

    Attributes
    ----------
    offsets : dict of Buffer to int
        The first byte of each, in the memory of a block or in the memory shared by all blocks.
    block_bytes, shared_bytes : int
        The sizes of the two, including what a tile may read past the last row.
    """

    def __init__(self, tape, itemsize):
        self._width, self._itemsize = tape.width, itemsize
        uses = {}
        order = [op for phase in tape.phases for op in phase.all_ops()]
        for i, op in enumerate(order):
            for operand in (*op.reads, *op.writes):
                if isinstance(operand, Buffer):
                    uses.setdefault(operand.whole, [i, i])[1] = i
        self.offsets, placed, shared = {}, [], 0
        for buffer, (first, last) in sorted(uses.items(), key=lambda item: item[1][0]):
            if buffer.shared:
                self.offsets[buffer] = shared
                shared += rounded(rounded(buffer.rows, WIDEST) * itemsize, ALIGN)
                continue
            size = self._bytes_of(buffer)
            alive = sorted((o, s) for o, s, end in placed if end >= first)
            offset = 0
            for start, length in alive:
                if start - offset >= size:
                    break
                offset = max(offset, start + length)
            self.offsets[buffer] = offset
            placed.append((offset, size, last))
        self.shared_bytes = shared or ALIGN
        spare = rounded(SPARE_ROWS * self._width * itemsize, ALIGN)
        self.block_bytes = max((o + s for o, s, _ in placed), default=0) + spare

    def _bytes_of(self, buffer):
        # Whole packs of rows, and one spare: kernels go over units by vectors, and the loss keeps
        # the targets' probabilities after the gradient.
        rows = rounded(buffer.rows + 1, WIDEST)
        return rounded(max(rows * self._width * self._itemsize, 8 * self._width), ALIGN)

    def of(self, buffer):
        """Return the first byte of a buffer, or of a view."""
        return self.offsets[buffer.whole] + buffer.first * self._width * self._itemsize
