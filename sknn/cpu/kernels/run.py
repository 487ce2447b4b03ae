"""The loop: runs the steps of a program, in each thread of a pool, without Python.

A program is a list of phases of two kinds. A phase over blocks runs its operations for every block
of the batch, one block after the other; a phase of tasks runs each task's operations. Threads take
blocks and tasks in turn, in the opposite order every other time, and synchronize after each phase.
No sum is split over threads, so results do not depend on their number, bit for bit.

The threads stay in here for as long as a session lasts. The one that calls is the first of them; it
starts the others, and returns when all are done.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import frame as f
from .barrier import barrier, start, wait_for_start
from .compiling import register_jitable
from .frame import OPERANDS, kernel
from .simd import get, put

(
    SIZE,  # threads
    SYNC,  # address of what threads synchronize by
    PHASES,  # address of three int64 a phase: kind, first, last
    N_PHASES,
    TASKS,  # address of two int64 a task: its first operation, and the one to stop before
    ADDRESSES,  # addresses of the kernels, one an operation
    OPERATIONS,  # operands, OPERANDS int64 an operation
    BATCH,  # rows in a step
    TOTAL,  # rows in a pass over the data
    PASS_STEPS,  # steps in a pass
    WIDTH,
    FIRST,  # step to begin with, and the one to stop before
    LAST,
    COUNTED,  # added to a step's number to count from the estimator's first one
    STEP_RATES,  # address of the rates of all steps
    RATE_COLUMNS,
    SLOT_PER_BLOCK,  # 1: every block keeps its workspace until the step ends; 0: every thread one
    SCRATCH_BYTES,  # of each thread's scratch for gradients; 0: they share the whole gradient
    STEP_LOSSES,  # address of the losses of blocks: twice as many as a batch has
    STEP_DIVERGENCES,  # address of their divergences, likewise
    MOST_BLOCKS,
    STEP_SUMS,  # address of the sums over weights, likewise
    DONE,  # one more than the last step that is complete
    RESULT,  # address of three float64 a pass: sums over steps of the loss times its share; of
    # that without the penalties of weights; and of divergences
    SPINS,  # how often to look whether others have come, before the core is left to them
    ENDED,  # 1: there is nothing more to do, the threads end
    N_ROWS,  # rows that there are of everything that is read by row
    STRAY,  # set to one more than the step that names a row beyond these; nothing of it is done
    TIMES,  # address of counts of ticks, for each thread: one an operation, one a phase for what
    # follows it (waiting for others), and one for the rest of a step; only if it is compiled for it
    TIMES_BYTES,  # of each thread's
    N_OPERATIONS,
    N_HEADER,
) = range(32)

BLOCKS, TASKED = 0, 1


@intrinsic
def _call(typingctx, address, operands, frame, slot):
    """Call the kernel at `address`."""

    def codegen(context, builder, sig, args):
        pointers = [builder.inttoptr(args[1], ir.IntType(64).as_pointer()), *args[2:]]
        function = ir.FunctionType(ir.VoidType(), [p.type for p in pointers])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, frame, types.int64), codegen


@intrinsic
def ticks(typingctx):
    """Return the processor's counter of ticks at a constant rate."""

    def codegen(context, builder, sig, args):
        name = "llvm.readcyclecounter"
        counter = ir.FunctionType(ir.IntType(64), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, counter, name), [])

    return types.int64(), codegen


@kernel
def run(t, timed=False):
    """Called as a kernel: the header, the thread's frame, the thread's rank.

    `timed` is for measurements: each operation's time is added up.
    """
    int64, float64 = types.int64, types.float64

    @register_jitable
    def _add_to(address, i, value):
        put(address, i, get(float64, address, i) + value)

    @register_jitable
    def _leads_out(rows, first, last, n_rows):
        """Return whether any of some row numbers is not one of the data's."""
        for n in range(first, last):
            if not 0 <= get(int64, rows, n) < n_rows:
                return True
        return False

    @register_jitable
    def _lap(times, i, before):
        """Add the time since `before` to the i-th sum; return what time it is now."""
        if not timed:
            return before
        now = ticks()
        put(times, i, get(int64, times, i) + now - before)
        return now

    @register_jitable
    def steps(header, frame, rank, size):
        width = header[WIDTH]
        times, n_operations = header[TIMES] + rank * header[TIMES_BYTES], header[N_OPERATIONS]
        clock = ticks() if timed else 0
        there, back = 2 * (size - rank) - 1, 2 * rank + 1  # who is first is last the next time
        frame[f.GRADIENT] += rank * header[SCRATCH_BYTES]
        for step in range(header[FIRST], header[LAST]):
            turn = step // header[PASS_STEPS]
            start = (step - turn * header[PASS_STEPS]) * header[BATCH]
            count = min(header[BATCH], header[TOTAL] - start)
            start += turn * header[TOTAL]
            blocks = (count + width - 1) // width
            odd = step & 1  # a thread may be a phase ahead of the one that adds up the losses
            if frame[f.ROWS] and _leads_out(frame[f.ROWS], start, start + count, header[N_ROWS]):
                header[STRAY] = step + 1  # every thread sees it, so none waits for another
                return
            frame[f.START], frame[f.COUNT] = start, count
            frame[f.STEP] = header[COUNTED] + step
            frame[f.RATES] = header[STEP_RATES] + step * header[RATE_COLUMNS] * 8
            frame[f.LOSSES] = header[STEP_LOSSES] + odd * header[MOST_BLOCKS] * 8
            frame[f.DIVERGENCES] = header[STEP_DIVERGENCES] + odd * header[MOST_BLOCKS] * 8
            frame[f.SUMS] = header[STEP_SUMS] + odd * frame[f.N_SUMS] * 16
            for phase in range(header[N_PHASES]):
                kind = get(int64, header[PHASES], 3 * phase)
                first = get(int64, header[PHASES], 3 * phase + 1)
                last = get(int64, header[PHASES], 3 * phase + 2)
                if kind == BLOCKS:
                    block, hop, next_hop = rank, there, back
                    while block < blocks:
                        frame[f.BLOCK] = block
                        place = block if header[SLOT_PER_BLOCK] else rank
                        slot = frame[f.WORKSPACE] + place * frame[f.WORKSPACE_STRIDE]
                        for i in range(first, last):
                            operands = header[OPERATIONS] + i * (OPERANDS * 8)
                            _call(get(int64, header[ADDRESSES], i), operands, frame, slot)
                            clock = _lap(times, i, clock)
                        block += hop
                        hop, next_hop = next_hop, hop
                else:
                    task, hop, next_hop = first + rank, there, back
                    while task < last:
                        begin = get(int64, header[TASKS], 2 * task)
                        end = get(int64, header[TASKS], 2 * task + 1)
                        for i in range(begin, end):
                            operands = header[OPERATIONS] + i * (OPERANDS * 8)
                            address = get(int64, header[ADDRESSES], i)
                            _call(address, operands, frame, frame[f.WORKSPACE])
                            clock = _lap(times, i, clock)
                        task += hop
                        hop, next_hop = next_hop, hop
                if size > 1:
                    barrier(header[SYNC], rank, size, header[SPINS])
                clock = _lap(times, n_operations + phase, clock)
            if rank == size - 1:
                loss, divergence = 0.0, 0.0
                for block in range(blocks):
                    loss += get(float64, frame[f.LOSSES], block)
                    divergence += get(float64, frame[f.DIVERGENCES], block)
                    put(frame[f.DIVERGENCES], block, 0.0)  # the layers of a step add to it
                samples = loss
                for i in range(frame[f.N_SUMS]):
                    loss += get(float64, frame[f.SUMS], 2 * i)
                share = get(float64, frame[f.RATES], f.RATE_SHARE)
                result = header[RESULT] + turn * 24
                _add_to(result, 0, loss * share)
                _add_to(result, 1, samples * share)
                _add_to(result, 2, divergence * share)
                header[DONE] = step + 1
            clock = _lap(times, n_operations + header[N_PHASES], clock)

    def run(header, frame, rank):
        runs = 0
        while True:
            runs += 1
            if rank:
                wait_for_start(header[SYNC], runs, header[SPINS])
            elif header[SIZE] > 1:
                start(header[SYNC])
            if header[ENDED]:
                return
            size = header[SIZE]
            steps(header, frame, rank, size)
            if size > 1:
                barrier(header[SYNC], rank, size, header[SPINS])
            if rank == 0:
                return

    return run
