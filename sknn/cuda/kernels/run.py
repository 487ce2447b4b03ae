"""The two ways to run a step: all of it in one launch, or an operation a launch.

:func:`walk` is launched once for many steps, with as many groups of threads as the GPU holds at
once. It goes over the stages of a step as the CPU's loop does: in a stage over blocks each team has
a block at a time, and its groups meet after each operation; in a stage of tasks each group has a
task at a time. After each stage all groups meet. It is made for the set of operations that a
program has; so programs of the same operations share it.

:func:`single` does one operation of one stage, with as many groups as it is worth.
"""

from .frame import (
    BATCH,
    FIRST,
    KERNELS,
    LAST,
    MEETINGS,
    N_STAGES,
    OPERANDS,
    STAGES,
    TABLE,
    TASKS,
    TEAM_PARTS,
    TOTAL,
    WORKSPACE,
    WORKSPACE_STRIDE,
)

BLOCKS, TASKED = 0, 1
#: Where a row of the table has the number of its operation among those of a walk.
CODE = 0
#: Operands stand behind it.
ROW = OPERANDS + 1
#: Bytes between counters that groups meet at: a cache line each.
APART = 128


def operation(t, name, variant):
    """Return an operation as a function that kernels call."""
    return t.jit(KERNELS[name][0](t, *variant))


def walk(t, operations):
    """Return the kernel for programs of these operations: ``walk(frame)``."""
    words, width, threads, constant, sync = t.words, t.width, t.threads, t.constant, t.sync
    thread_of, group_of, groups_of = words.thread, words.group, words.groups
    shared, meet, call = words.shared(t.real), t.meet, words.calls(t, operations, operation)

    def walk(frame):
        scratch = shared()
        thread, group, groups = thread_of(), group_of(), groups_of()
        table, parts = constant(frame, TABLE), constant(frame, TEAM_PARTS)
        stages, tasks = constant(frame, STAGES), constant(frame, TASKS)
        workspace, meetings = constant(frame, WORKSPACE), constant(frame, MEETINGS)
        team, teams = group // parts, groups // parts
        part = group - team * parts
        meeting = meetings + (1 + team) * APART
        batch, total = constant(frame, BATCH), constant(frame, TOTAL)
        for step in range(constant(frame, FIRST), constant(frame, LAST)):
            count = min(batch, total - step * batch)
            blocks = (count + width - 1) // width
            for stage in range(constant(frame, N_STAGES)):
                first, last = constant(stages, 3 * stage + 1), constant(stages, 3 * stage + 2)
                if constant(stages, 3 * stage) == BLOCKS:
                    if team < teams:
                        for block in range(team, blocks, teams):
                            here = (
                                thread, part * threads + thread, parts * threads, part, parts, step,
                                workspace + block * constant(frame, WORKSPACE_STRIDE), block,
                                min(width, count - block * width), meeting,
                            )  # fmt: skip
                            for i in range(first, last):
                                row = table + i * (ROW * 8)
                                call(constant(row, CODE), here, frame, row + 8, scratch)
                                meet(meeting, parts)
                else:
                    here = (
                        thread, thread, threads, 0, 1, step, workspace, 0, count, meeting,
                    )  # fmt: skip
                    for task in range(first + group, last, groups):
                        for i in range(constant(tasks, 2 * task), constant(tasks, 2 * task + 1)):
                            row = table + i * (ROW * 8)
                            call(constant(row, CODE), here, frame, row + 8, scratch)
                            sync()
                meet(meetings, groups)

    return walk


def single(t, name, variant):
    """Return the kernel for one operation: ``single(frame, rows, parts)``.

    Of a stage over blocks, `rows` is the address of its row of the table, and a block has `parts`
    groups; of a stage of tasks, that of a list of rows, one a group, and `parts` is 0.
    """
    words, width, threads, constant = t.words, t.width, t.threads, t.constant
    thread_of, group_of = words.thread, words.group
    shared, call = words.shared(t.real), words.calls(t, [(name, variant)], operation)

    def single(frame, rows, parts):
        scratch = shared()
        thread, group, step = thread_of(), group_of(), constant(frame, FIRST)
        batch, workspace = constant(frame, BATCH), constant(frame, WORKSPACE)
        count = min(batch, constant(frame, TOTAL) - step * batch)
        if parts == 0:
            here = thread, thread, threads, 0, 1, step, workspace, 0, count, 0
            call(0, here, frame, constant(rows, group), scratch)
            return
        block = group // parts
        part = group - block * parts
        if block * width < count:
            here = (
                thread, part * threads + thread, parts * threads, part, parts, step,
                workspace + block * constant(frame, WORKSPACE_STRIDE), block,
                min(width, count - block * width), 0,
            )  # fmt: skip
            call(0, here, frame, rows, scratch)

    return single


def advance(t):
    """Return the kernel that ends a step of operations launched one by one: ``advance(frame)``."""
    get_int, put_int = t.get_int, t.put_int

    def advance(frame):
        put_int(frame, FIRST, get_int(frame, FIRST) + 1)

    return advance
