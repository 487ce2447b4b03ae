"""The contract between the loop and the kernels.

A kernel is called as ``kernel(op, frame, slot)``: `op` points to its operands, 24 int64 (byte
offsets into the arenas below, sizes, the bits of a float64); `frame` to the fields below, one copy
per thread; `slot` is the address of the workspace of the current block of samples.
"""

import inspect
from functools import partial

from numba.core import types

from .compiling import register_jitable
from .simd import LANES, Tile, Vector, store, store_first, tile_shape

OPERANDS = 24
#: Where a kernel reads the last number of its variant, and the one before, if not compiled for it.
PACK, PACK_BEFORE = OPERANDS - 1, OPERANDS - 2

(
    PARAMETERS,  # address of the packed parameters
    STATE,  # address of the optimizer's first state array; the next lie STATE_STRIDE bytes apart
    STATE_STRIDE,
    GRADIENT,  # address of the gradient, or of a scratch that holds one slice of it
    ACCUMULATE,  # 1: add to the gradient that is there
    SHARED,  # address of what all blocks of a batch share (statistics of a batch)
    WORKSPACE,  # address of the workspace of block 0; the next lie WORKSPACE_STRIDE bytes apart
    WORKSPACE_STRIDE,
    ROWS,  # address of the int64 row numbers in the order of training; 0: 0, 1, 2, ...
    START,  # the batch's first position in ROWS
    COUNT,  # the batch's number of rows
    BLOCK,  # number of the block at hand in its batch
    STEP,  # number of the training step since the estimator was first fitted
    SEED,
    RATES,  # address of the float64 values of this step: see RATE_*
    LOSSES,  # address of one float64 a block: the summed loss of its samples
    DIVERGENCES,  # address of one float64 a block: what a loss has of divergence, unscaled
    SUMS,  # address of pairs of float64: a penalty, and the sum of squares of a gradient
    N_SUMS,
    OUT,  # address of the outputs, a row a sample
    OUT_STRIDE,  # bytes from one row of them to the next
    X,  # data, bytes between rows, bytes between columns; of CSR: data, indices, indptr
    X_ROW,
    X_COLUMN,
    Y,
    Y_ROW,
    Y_COLUMN,
    WEIGHT,  # address of the float64 sample weights; 0: all one
    LENGTHS,  # address of the int64 lengths of sequences, by position; 0: all are full
    LENGTHS_STRIDE,  # bytes from one position's to the next
    RESETS,  # address of one byte a position: not 0 where a sequence begins anew; 0: nowhere
    CARRY,  # address of the states that recurrent layers carry along, a row a stream
    CARRY_STRIDE,  # bytes from one row of them to the next
    CARRY_ROWS,  # number of streams: a position's is its remainder
    X_STORED,  # elements that a sparse X stores, and those of a sparse Y
    Y_STORED,
    MEMBER,  # number of the member that the block at hand belongs to
    MEMBERS,  # of the network; a batch has as many blocks for each, one member's after another's
    OUT_MEMBER,  # bytes from one member's outputs to the next one's
    # The rest is for the loop only.
    TOTAL,  # rows in a pass over the data
    COUNTED,  # added to a step's number to count from the estimator's first one
    STEP_RATES,  # address of the rates of all steps
    STEP_LOSSES,  # addresses of LOSSES, DIVERGENCES and SUMS of even steps; of odd ones behind
    STEP_DIVERGENCES,
    STEP_SUMS,
    RESULT,  # address of three float64 a pass: sums over steps of the loss times its share; of
    # that without the penalties of weights; and of divergences
    N_ROWS,  # rows that there are of everything that is read by row
    N_FIELDS,
) = range(48)

#: What stands in a step's row of RATES: one over the batch's sum of weights; what its mean loss
#: counts in the sum over steps; then three numbers that the optimizer asked for; where the
#: parameters are averaged, the part of the average that is new; and where dropout follows a
#: schedule, the factor of its rate.
RATE_WEIGHT, RATE_SHARE, RATE_FIRST, RATE_AVERAGE, RATE_DROPOUT = 0, 1, 2, 5, 6

KERNELS = {}
#: Places in a kernel's variant of what one kernel reads from its operands: see :func:`kernel`.
NUMBERS = {}


def kernel(factory=None, *, numbers=(), of_several=()):
    """Register a function that makes a kernel for a :class:`Target`, under its own name.

    `numbers` names arguments that kernels are not compiled for: the factory gets 0 for each, and
    the kernel reads it from the end of its operands. Those in `of_several` are such for blocks of
    several samples, while for a single sample they decide the tile.
    """
    if factory is None:
        return partial(kernel, numbers=numbers, of_several=of_several)
    names = list(inspect.signature(factory).parameters)[1:]
    KERNELS[factory.__name__] = factory
    NUMBERS[factory.__name__] = [
        {names.index(name) for name in chosen} for chosen in (numbers, (*numbers, *of_several))
    ]
    return factory


def numbers_of(name, width):
    """Return the places in the variant of a kernel of what it is not compiled for."""
    return NUMBERS[name][width > 1]


@register_jitable
def _store_whole(address, index, value, rest):
    store(address, index, value)


class Target:
    """What a kernel is specialized for: the scalar type and the width of a block of samples.

    Attributes
    ----------
    real : numba type
        float32 or float64.
    size : int
        Its bytes.
    width : int
        Samples in a block: 32, one vector, or a single sample.
    vector : Vector
        What kernels that go over samples use; of one lane where the block is one sample.
    wide : Vector
        The full vector, for kernels that go over units or parameters.
    """

    def __init__(self, real, width):
        self.real = real
        self.size = real.bitwidth // 8
        self.width = width
        self.wide = Vector(real, LANES[real])
        self.vector = Vector(real, min(LANES[real], width))

    @property
    def write(self):
        """The function that stores what fits of a vector into the rest of a row of channels.

        Its arguments are those of ``store`` and the rest's length. With several samples that is a
        whole number of vectors; channels of a single one end where others begin.
        """
        if self.width > 1:
            return _store_whole
        return store_first

    def tile(self, rows):
        """Return the register tile for multiples of `rows` rows, over samples."""
        rows, vectors = tile_shape(rows)
        return Tile(self.vector, rows, min(vectors, self.width // self.vector.lanes))

    def column(self, rows, pack):
        """Return the register tile for multiples of `rows` rows of `pack` units."""
        rows, vectors = tile_shape(rows)
        return Tile(self.wide, rows, min(vectors, pack // self.wide.lanes))


def real_type(dtype):
    """Return Numba's type of a NumPy float dtype."""
    return types.float32 if dtype.itemsize == 4 else types.float64
