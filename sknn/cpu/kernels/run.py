"""The loop: runs the steps of a program, in each thread of a pool, without Python.

A program is a list of phases of two kinds. A phase over blocks runs its operations for every block
of the batch, one block after the other; a phase of tasks runs each task's operations. Threads take
blocks and tasks in turn, in the opposite order every other time, and synchronize after each phase.
No sum is split over threads, so results do not depend on their number, bit for bit.

A step has groups of blocks: one for each member of each network. All members read the same rows; a
task goes over the blocks of all members of one network. What a group has of its own is shifted in
the frame when a thread takes one of its blocks, so kernels know nothing of it. Networks side by
side may have batches of different sizes, or none; each is trained as if it were alone.

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
    NETWORKS,  # networks side by side; each has steps, blocks, parameters and tasks of its own
    MEMBERS,  # members of each
    NETWORK_FRAMES,  # address of their frames, FRAME_BYTES apart
    BATCH,  # rows in a step
    PASS_STEPS,  # steps in a pass
    WIDTH,
    FIRST,  # step to begin with, and the one to stop before
    LAST,
    RATE_COLUMNS,
    SLOT_PER_BLOCK,  # 1: every block keeps its workspace until the step ends; 0: every thread one
    SCRATCH_BYTES,  # of each thread's scratch for gradients; 0: they share the whole gradient
    MOST_BLOCKS,  # of all members of all networks, in a step
    DONE,  # one more than the last step that is complete
    SPINS,  # how often to look whether others have come, before the core is left to them
    ENDED,  # 1: there is nothing more to do, the threads end
    STRAY,  # set to one more than the step that names a row beyond these; nothing of it is done
    TIMES,  # address of counts of ticks, for each thread: one an operation, one a phase for what
    # follows it (waiting for others), and one for the rest of a step; only if it is compiled for it
    TIMES_BYTES,  # of each thread's
    N_OPERATIONS,
    N_HEADER,
) = range(27)

#: Bytes from one network's frame to the next, and from one thread's: on cache lines of its own.
FRAME_BYTES = 512
#: What the members' seeds differ by: the odd number nearest to 2**64 over the golden ratio.
SEED_STEP = 0x9E3779B97F4A7C15 - 2**64
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
    def enter(header, frame, network, step, rank):
        """Set what depends on the network and the step; return the number of a member's blocks.

        One network without members keeps the frame that it has.
        """
        if header[NETWORKS] * header[MEMBERS] > 1:
            address = header[NETWORK_FRAMES] + network * FRAME_BYTES
            for i in range(f.N_FIELDS):
                frame[i] = get(int64, address, i)
            frame[f.GRADIENT] += rank * header[SCRATCH_BYTES]
        turn, odd = step // header[PASS_STEPS], step & 1
        start = (step - turn * header[PASS_STEPS]) * header[BATCH]
        count = max(0, min(header[BATCH], frame[f.TOTAL] - start))
        frame[f.START], frame[f.COUNT] = start + turn * frame[f.TOTAL], count
        frame[f.STEP] = frame[f.COUNTED] + step
        frame[f.RATES] = frame[f.STEP_RATES] + step * header[RATE_COLUMNS] * 8
        # a thread may be a phase ahead of the one that adds up the losses
        frame[f.LOSSES] = frame[f.STEP_LOSSES] + odd * header[MOST_BLOCKS] * 8
        frame[f.DIVERGENCES] = frame[f.STEP_DIVERGENCES] + odd * header[MOST_BLOCKS] * 8
        frame[f.SUMS] = frame[f.STEP_SUMS] + odd * header[NETWORKS] * frame[f.N_SUMS] * 16
        return (count + header[WIDTH] - 1) // header[WIDTH]

    @register_jitable
    def enter_member(frame, member, blocks):
        """Shift what each member has of its own, in a network whose members have some blocks."""
        frame[f.MEMBER] = member
        frame[f.SEED] += member * SEED_STEP
        frame[f.OUT] += member * frame[f.OUT_MEMBER]
        frame[f.LOSSES] += member * blocks * 8
        frame[f.DIVERGENCES] += member * blocks * 8

    @register_jitable
    def add_up(header, frame, turn, blocks):
        """Add the losses of a network's blocks to those of the pass."""
        loss, divergence = 0.0, 0.0
        for block in range(blocks):
            loss += get(float64, frame[f.LOSSES], block)
            divergence += get(float64, frame[f.DIVERGENCES], block)
            put(frame[f.DIVERGENCES], block, 0.0)  # the layers of a step add to it
        samples = loss
        for i in range(frame[f.N_SUMS]):
            loss += get(float64, frame[f.SUMS], 2 * i)
        share = get(float64, frame[f.RATES], f.RATE_SHARE)
        result = frame[f.RESULT] + turn * 24
        _add_to(result, 0, loss * share)
        _add_to(result, 1, samples * share)
        _add_to(result, 2, divergence * share)

    @register_jitable
    def steps(header, frame, rank, size):
        networks, members = header[NETWORKS], header[MEMBERS]
        grouped = networks * members > 1
        times, n_operations = header[TIMES] + rank * header[TIMES_BYTES], header[N_OPERATIONS]
        clock = ticks() if timed else 0
        there, back = 2 * (size - rank) - 1, 2 * rank + 1  # who is first is last the next time
        frame[f.GRADIENT] += rank * header[SCRATCH_BYTES]
        for step in range(header[FIRST], header[LAST]):
            each = 0  # blocks of a member, in the network that has the most
            for network in range(networks):
                each = max(each, enter(header, frame, network, step, rank))
                start, stop = frame[f.START], frame[f.START] + frame[f.COUNT]
                if frame[f.ROWS] and _leads_out(frame[f.ROWS], start, stop, frame[f.N_ROWS]):
                    header[STRAY] = step + 1  # every thread sees it, so none waits for another
                    return
            for phase in range(header[N_PHASES]):
                kind = get(int64, header[PHASES], 3 * phase)
                first = get(int64, header[PHASES], 3 * phase + 1)
                last = get(int64, header[PHASES], 3 * phase + 2)
                if kind == BLOCKS:
                    block, hop, next_hop = rank, there, back
                    while block < networks * members * each:
                        number, place, own = block, block, each
                        if grouped:
                            group = block // each
                            network = group // members
                            member, number = group - network * members, block - group * each
                            own = enter(header, frame, network, step, rank)
                            enter_member(frame, member, own)
                            place = member * own + number
                        frame[f.BLOCK] = number
                        place = place if header[SLOT_PER_BLOCK] else rank
                        slot = frame[f.WORKSPACE] + place * frame[f.WORKSPACE_STRIDE]
                        for i in range(first, last if number < own else first):
                            operands = header[OPERATIONS] + i * (OPERANDS * 8)
                            _call(get(int64, header[ADDRESSES], i), operands, frame, slot)
                            clock = _lap(times, i, clock)
                        block += hop
                        hop, next_hop = next_hop, hop
                else:
                    number, hop, next_hop = rank, there, back
                    while number < networks * (last - first):
                        task = first + number
                        if grouped:
                            network = number // (last - first)
                            task -= network * (last - first)
                            own = enter(header, frame, network, step, rank)
                            if members > 1:  # what lanes beyond the last sample have is zero
                                frame[f.COUNT] = members * own * header[WIDTH]
                        begin = get(int64, header[TASKS], 2 * task)
                        end = get(int64, header[TASKS], 2 * task + 1)
                        for i in range(begin, end if frame[f.COUNT] else begin):
                            operands = header[OPERATIONS] + i * (OPERANDS * 8)
                            address = get(int64, header[ADDRESSES], i)
                            _call(address, operands, frame, frame[f.WORKSPACE])
                            clock = _lap(times, i, clock)
                        number += hop
                        hop, next_hop = next_hop, hop
                if size > 1:
                    barrier(header[SYNC], rank, size, header[SPINS])
                clock = _lap(times, n_operations + phase, clock)
            if rank == size - 1:
                for network in range(networks):
                    if grouped:
                        each = enter(header, frame, network, step, rank)
                    if each:
                        add_up(header, frame, step // header[PASS_STEPS], members * each)
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
