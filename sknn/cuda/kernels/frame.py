"""The contract between what runs steps and the operations.

An operation is called as ``op(team, frame, o, scratch)``:

team
    Who does it, and where: a tuple of the numbers below.
frame
    The address of the fields below, int64 each, one frame a session.
o
    The address of its row of the table: operands, int64 each. Buffers are byte offsets from the
    block's slot, or from what all blocks share, and parameters from the first of them; then come
    its numbers, floats as bits; behind those of a parameter's chain what :data:`TASK` names.
scratch
    The memory that the threads of a group share, :attr:`Target.scratch` numbers of it.

What is at `frame` and `o` nobody changes during a launch: it is read as :attr:`Target.constant`.

All threads of a group call it together. Operations on blocks may be done by a team of several
groups: they go over elements by `RANK` and `SIZE`, over tiles by `PART` and `PARTS`; sums, whose
order may not depend on who is there, are those of the first group, or :func:`lane_sums`.
"""

from functools import cached_property

from numba.core import types

OPERANDS = 32

#: A team's numbers.
(
    THREAD,  # of the thread in its group
    RANK,  # of the thread in its team, of SIZE threads
    SIZE,
    PART,  # of the group in its team, of PARTS groups
    PARTS,
    STEP,  # of the run, from 0
    SLOT,  # address of the block's workspace; in a task, of that of block 0
    BLOCK,  # number of the block at hand in its batch
    COUNT,  # samples in the block; in a task, in the batch
    MEETING,  # address of the counter that the groups of the team meet at
) = range(10)

(
    PARAMETERS,  # address of the packed parameters
    STATE,  # address of the optimizer's first state array; the next lie STATE_STRIDE bytes apart
    STATE_STRIDE,
    GRADIENT,  # address of the gradient
    ACCUMULATE,  # 1: add to the gradient that is there
    PARTIALS,  # address of sums over parts of a batch
    SHARED,  # address of what all blocks of a batch share
    WORKSPACE,  # address of the workspace of block 0; the next lie WORKSPACE_STRIDE bytes apart
    WORKSPACE_STRIDE,
    ROWS,  # address of the int64 row numbers; 0: 0, 1, 2, ...
    BATCH,  # rows in a step
    TOTAL,  # rows in all steps
    FIRST,  # step to begin with, and the one to stop before
    LAST,
    COUNTED,  # added to a step's number to count from the estimator's first one
    SEED,
    RATES,  # address of the rates of all steps, RATE_COLUMNS numbers each
    RATE_COLUMNS,
    LOSSES,  # address of the losses: for each step, MOST_BLOCKS numbers
    DIVERGENCES,  # address of the divergences, likewise
    MOST_BLOCKS,
    SUMS,  # address, for each step, of N_SUMS penalties
    SQUARES,  # address of N_SUMS sums of squares of a gradient
    N_SUMS,
    OUT,  # address of the outputs, or of the tokens drawn
    OUT_COLUMNS,
    X,  # dense: address and columns; sparse: addresses of values, indices, where rows begin
    X_COLUMNS,
    X_BEGINS,
    Y,
    Y_COLUMNS,
    Y_BEGINS,
    X_STORED,  # numbers that a sparse X stores, and a sparse Y
    Y_STORED,
    CLASSES,  # address of int64 class numbers, and how many a row has
    CLASS_COLUMNS,
    WEIGHT,  # address of the weights of rows; 0: all one
    LENGTHS,  # address of int64 lengths, by position, and how many a position has; 0: all are full
    LENGTH_COLUMNS,
    RESETS,  # address of an int64 a position; 0: nowhere does a sequence begin anew
    CARRY,  # address of the states that are carried along, a row a stream
    CARRY_COLUMNS,
    CARRY_ROWS,
    STAGES,  # address of int64: kind, first and last of each stage
    N_STAGES,
    TASKS,  # address of two int64 a task: its first row of the table, and the one to stop before
    TABLE,  # address of the rows of the table
    TEAM_PARTS,  # groups in a team
    MEETINGS,  # address of counters, each on a cache line: the grid's, and one a team
    N_FIELDS,
) = range(50)

#: What stands in a step's row of rates: as on the CPU.
RATE_WEIGHT, RATE_SHARE, RATE_FIRST, RATE_AVERAGE, RATE_DROPOUT = 0, 1, 2, 5, 6

#: Where, in a row of the table, a parameter's task is said: byte of its first element among the
#: parameters, rows and columns, the byte of the parameter, its numbers from one row to the next,
#: the place of its sum; and for sums over parts of a batch: the byte where this one goes, how many
#: there are, how long each is, and which one it is.
(
    TASK_FIRST, TASK_ROWS, TASK_COLUMNS, TASK_BASE, TASK_PACK, TASK_SUM, TASK_PARTIAL, TASK_PARTS,
    TASK_DEPTH, TASK_PART,
) = range(OPERANDS - 10, OPERANDS)  # fmt: skip
#: The same row's first and last unit, of an operation of the kind "units".
FIRST_UNIT, LAST_UNIT = OPERANDS - 2, OPERANDS - 1
#: Numbers from one row to the next of the parameters that an operation on blocks reads, in order.
PACKS = OPERANDS - 4

#: Threads, as it were, that a sum is spread over; how many there are in fact does not matter.
LANES = 256

KERNELS = {}
#: The names of operations in whose middle a team's groups meet.
MEETS = set()


def kernel(factory=None, *, skips=(), meets=False):
    """Register a function that makes an operation for a :class:`Target`, under its own name.

    `skips` has the places, in the variant that a tape gives, of what only the CPU's kernels know;
    `meets` says that the groups of a team meet in its middle.
    """
    if factory is None:
        return lambda factory: kernel(factory, skips=skips, meets=meets)
    assert factory.__name__ not in KERNELS, factory  # which of the two counts, imports would say
    KERNELS[factory.__name__] = factory, frozenset(skips)
    if meets:
        MEETS.add(factory.__name__)
    return factory


def variant_of(name, variant):
    """Return what an operation's kernel is compiled for."""
    _, skips = KERNELS[name]
    return tuple(value for i, value in enumerate(variant) if i not in skips)


class Target:
    """What an operation is specialized for, and the words it is written in.

    Attributes
    ----------
    words : Words
    real : numba type
        float32 or float64.
    size : int
        Its bytes.
    width : int
        Samples in a block.
    threads : int
        Threads in a group.
    tile : tuple of int
        Of products: rows, columns, and how many of each a thread has.
    narrow : tuple of int
        The same where there are few rows.
    """

    #: Rows of a product's operands that lie in shared memory at once.
    depth = 8

    def __init__(self, words, real, width, threads):
        self.words, self.real, self.width, self.threads = words, real, width, threads
        self.size = real.bitwidth // 8
        self.tile = (128, 128, 8) if width == 128 else (threads // 2, 32, 4)
        self.narrow = (32, 128, 4) if width == 128 else (threads // 4, 64, 4)
        tiles = self.tile, self.narrow
        assert all(rows * columns == threads * each * each for rows, columns, each in tiles)
        #: Numbers that a group's threads share: two stages of a product's operands, and sums.
        most = max(rows + columns for rows, columns, _ in tiles)
        self.scratch = max(2 * self.depth * (most + 8), 2 * LANES)
        self.get, self.put = words.get(real), words.put(real)
        self.put_four, self.four = words.put_four(real), words.four(real)
        self.fma, self.bits, self.bits_of = words.fma(real), words.bits(real), words.bits_of(real)
        self.get_int, self.put_int = words.get(types.int64), words.put(types.int64)
        self.constant = words.constant
        self.jit, self.divide, self.sync = words.jit, words.divide, words.sync

    def local(self, size, kind=None):
        """Return the word that gives a thread so many numbers of its own."""
        return self.words.local(kind or self.real, size)

    @cached_property
    def meet(self):
        """The word for where the threads of a team meet: ``meet(counter, groups)``."""
        words = self.words
        thread, sync, fence = words.thread, words.sync, words.fence
        arrive, look, pause = words.arrive, words.look, words.pause

        @words.jit
        def meet(counter, groups):
            sync()
            if groups > 1:
                if thread() == 0:
                    fence()
                    target = (arrive(counter) // groups + 1) * groups
                    while look(counter) < target:
                        pause()
                    fence()
                sync()

        return meet

    @cached_property
    def lane_sum(self):
        """The word that adds up what :data:`LANES` lanes have left in shared memory.

        ``lane_sum(scratch, thread)``: all threads of a group call it, and get the sum.
        """
        sync, threads = self.sync, self.threads

        @self.jit
        def lane_sum(scratch, thread):
            half = LANES // 2
            sync()
            while half:
                for lane in range(thread, half, threads):
                    scratch[lane] += scratch[lane + half]
                sync()
                half //= 2
            total = scratch[0]
            sync()  # so that nobody writes to it while others read
            return total

        return lane_sum

    def sum_of(self, value):
        """Return the word for the sum of ``value(team, frame, o, i)`` over all i below n.

        ``sum_of(team, frame, o, scratch, n)``: all threads of a group call it, and get the sum. Its
        order depends on n alone.
        """
        lane_sum, threads, real, value = self.lane_sum, self.threads, self.real, self.jit(value)

        @self.jit
        def sum_of(team, frame, o, scratch, n):
            for lane in range(team[THREAD], LANES, threads):
                total = real(0)
                for i in range(lane, n, LANES):
                    total += value(team, frame, o, i)
                scratch[lane] = total
            return lane_sum(scratch, team[THREAD])

        return sum_of

    @cached_property
    def row_number(self):
        """The word for the row at a position of the run: ``row_number(frame, position)``."""
        get_int, constant = self.get_int, self.constant

        @self.jit
        def row_number(frame, position):
            rows = constant(frame, ROWS)
            if rows:
                return get_int(rows, position)
            return position

        return row_number

    @cached_property
    def rate(self):
        """The word for one of a step's rates: ``rate(team, frame, which)``."""
        get, constant = self.get, self.constant

        @self.jit
        def rate(team, frame, which):
            return get(constant(frame, RATES), team[STEP] * constant(frame, RATE_COLUMNS) + which)

        return rate

    @cached_property
    def add_loss(self):
        """The word that adds to the block's loss: ``add_loss(team, frame, field, value)``."""
        get, put, constant = self.get, self.put, self.constant

        @self.jit
        def add_loss(team, frame, field, value):
            if team[THREAD] == 0:
                place = team[STEP] * constant(frame, MOST_BLOCKS) + team[BLOCK]
                losses = constant(frame, field)
                put(losses, place, get(losses, place) + value)

        return add_loss
