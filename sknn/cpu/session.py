"""Running a program: memory for its blocks, threads, and the arrays that it is bound to."""

import ctypes
import os
import threading
import time
from contextlib import closing
from functools import cache

import joblib
import numpy as np

from ..tape import on_demand, wall
from ..tape.packing import fill
from ..tape.sources import X
from .kernels import frame as f
from .kernels import run as header
from .kernels.barrier import sync_bytes
from .memory import aligned, scratch
from .program import LOOP, kernels
from .team import SPINS, start_threads

#: The number of idle sessions kept, over all programs, and the most memory per block of each.
_MOST_IDLE, _MOST_IDLE_BYTES = 16, 2**22
_idle, _idle_lock = [], threading.Lock()
#: Seconds of work from which releasing the GIL is worth it: acquiring it again, if other threads
#: want it, takes longer than less work does.
_WORTH_A_SWITCH = 1e-4
POINTER = ctypes.POINTER(ctypes.c_int64)
#: The rates of a single step of prediction, and their address, which is slow to look up.
_ONES = np.ones((1, 2))
_ONES_ADDRESS = _ONES.ctypes.data


def session(program, most_rows, threads=1, gradient=None, networks=1):
    """Return a session for a context: an idle one of a single thread, if there is one."""
    if threads == networks == 1 and gradient is None and _idle_lock.acquire(blocking=False):
        try:
            for i, idle in enumerate(_idle):
                if idle.program is program and idle.most_rows >= most_rows:
                    return _idle.pop(i)
        finally:
            _idle_lock.release()
    return Session(program, most_rows, threads, gradient, networks)


def address_of(array):
    return 0 if array is None else array.ctypes.data


def fields_of(source):
    """Return the fields of a frame for a source: three numbers, and how many values it stores."""
    if source.n_classes is not None:
        numbers = source.numbers
        return (numbers.ctypes.data, numbers.strides[0], numbers.strides[-1]), 0
    addresses = [array.ctypes.data for array in source.arrays]
    if len(addresses) == 3:
        return addresses, min(array.size for array in source.arrays[:2])
    return (*addresses, *source.strides) or (0, 0, 0), 0


def rows_in_window(*sources):
    """Return how many rows to read at a time of the sources that are read on demand."""
    unread = [some.on_demand for some in sources if some is not None]
    n_bytes = sum(-(-rows.nbytes // len(rows)) for rows in unread if rows is not None)
    return max(1, on_demand.WINDOW // max(1, n_bytes))


def read_ahead(source, targets, weights, rows, n_rows, total, each):
    """Yield source, targets and weights of `each` of `total` positions at a time, read ahead."""

    def read(i):
        first, last = i * each, min((i + 1) * each, total)
        some = np.arange(first, last) if rows is None else rows[first:last]
        if not 0 <= some.min() <= some.max() < n_rows:
            raise ValueError("The index of a row to read is out of bounds.")
        return (
            source.take(some),
            None if targets is None else targets.take(some),
            None if weights is None else weights[some],
        )

    return on_demand.ahead(read, -(-total // each))


class Session:
    """A program with the memory to run it; its threads live as long as its context.

    Parameters
    ----------
    program : Program
    most_rows : int
        The largest number of rows in a step.
    threads : int
        The number of threads; there are fewer if the system cannot start as many.
    gradient : ndarray or None
        The array for the gradient, for a program that keeps all of it.
    networks : int
        The number of networks side by side. Each has parameters, data and a seed of its own, and
        its results are those of a session of its own.
    """

    def __init__(self, program, most_rows, threads=1, gradient=None, networks=1):
        self.program = program
        self.most_rows = most_rows
        self.threads = threads
        if program.parts > 1 and program.width == 1 and most_rows > 1:
            raise ValueError("A program that cuts operations on a sample takes one at a time.")
        of_network = -(-most_rows // program.width) * program.members
        blocks = of_network * networks
        slots = blocks if program.keeps_blocks else min(blocks, threads)
        dtype, n_bytes, placement = program.dtype, program.layout.n_bytes, program.placement
        whole, slice_bytes = program.whole_gradient, program.scratch_bytes
        if gradient is None:
            gradient = scratch(n_bytes * networks if whole else slice_bytes * threads, dtype)
        else:
            wall.check_piece("gradient", gradient, dtype, n_bytes, writes=True)
        self._gradient = gradient
        self._workspace = scratch(placement.block_bytes * slots, dtype)
        self._shared = scratch(placement.shared_bytes * networks, dtype)
        self._sync = aligned(sync_bytes(threads))
        self._losses = np.zeros(2 * blocks)
        self._divergences = np.zeros(2 * blocks)
        self._sums = np.zeros(4 * max(1, program.n_sums) * networks)
        self._results = np.zeros((networks, 1, 3))  # a row for each pass
        # One row per thread, on cache lines of its own: each thread has its own place in the batch.
        self._frames, self._networks = (
            aligned(n * header.FRAME_BYTES).view(np.int64).reshape(n, -1)
            for n in (threads, networks)
        )
        self._frame = self._networks[0]
        self._header = np.zeros(header.N_HEADER, np.int64)
        keeps = int(program.keeps_blocks)
        for i, frame in enumerate(self._networks):
            for field, (array, stride) in {
                f.GRADIENT: (gradient, n_bytes * whole),
                f.SHARED: (self._shared, placement.shared_bytes),
                f.WORKSPACE: (self._workspace, placement.block_bytes * of_network * keeps),
                f.STEP_LOSSES: (self._losses, 8 * of_network),
                f.STEP_DIVERGENCES: (self._divergences, 8 * of_network),
                f.STEP_SUMS: (self._sums, 16 * program.n_sums),
                f.RESULT: (self._results, self._results.strides[0]),
            }.items():
                frame[field] = address_of(array) + i * stride
            frame[f.WORKSPACE_STRIDE] = placement.block_bytes
            frame[f.N_SUMS], frame[f.MEMBERS] = program.n_sums, program.members
        for field, array in {
            header.SYNC: self._sync, header.PHASES: program.phases, header.TASKS: program.tasks,
            header.ADDRESSES: program.addresses, header.OPERATIONS: program.operands,
            header.NETWORK_FRAMES: self._networks,
        }.items():  # fmt: skip
            self._header[field] = address_of(array)
        for field, value in {
            header.SIZE: int(threads == 1), header.N_PHASES: len(program.phases),
            header.NETWORKS: networks, header.MEMBERS: program.members,
            header.WIDTH: program.width, header.SLOT_PER_BLOCK: program.keeps_blocks,
            header.SCRATCH_BYTES: 0 if whole else slice_bytes, header.MOST_BLOCKS: blocks,
            header.SPINS: SPINS if threads <= _cores() else 0,
        }.items():  # fmt: skip
            self._header[field] = value
        self._run, self._run_and_hold = _loop()
        self._pointers = [frame.ctypes.data_as(POINTER) for frame in self._frames]
        self._header_pointer = self._header.ctypes.data_as(POINTER)
        self._steps_per_call = 1
        self._bound, self._positions = [{} for _ in range(networks)], [0] * networks
        self._own = self._unread = self._planned = None
        self.data_loss = self.divergence = 0.0
        self.first_losses = [0.0] * networks

    def __enter__(self):
        if self.threads > 1:
            if self._header[header.ENDED]:
                raise RuntimeError("The threads of this session have ended.")
            self.threads = self._header[header.SIZE] = start_threads(self.threads, self._help)
            self._run(self._header_pointer, self._pointers[0], 0)  # no steps: until all are there
        return self

    def _help(self, rank):
        self._run(self._header_pointer, self._pointers[rank], rank)

    def __exit__(self, kind, *exception):
        """Stop the threads; keep sessions for prediction for reuse, unless they are large."""
        if self.threads > 1:
            self._header[header.ENDED] = 1
            self._run(self._header_pointer, self._pointers[0], 0)
            self._header[header.SIZE] = 0
            return
        program = self.program
        n_bytes = program.placement.block_bytes + program.placement.shared_bytes
        n_bytes += (self._own is not None) * program.layout.n_bytes
        learns = program.needs.changes or program.whole_gradient or len(self._networks) > 1
        if kind is not None or learns or n_bytes > _MOST_IDLE_BYTES:
            return
        self._bound, self._positions, self._unread = [{}], [0], None
        if _idle_lock.acquire(blocking=False):
            try:
                _idle.append(self)
                del _idle[:-_MOST_IDLE]
            finally:
                _idle_lock.release()

    def bind(
        self, parameters, source, targets=None, weights=None, rows=None, out=None, states=None,
        seed=0, lengths=None, resets=None, carry=None, network=0,
    ):  # fmt: skip
        """Set the arrays that the next runs read and write. They are kept alive here.

        With several networks, each is bound on its own.

        Parameters
        ----------
        parameters : ndarray
            The packed parameters; updated by a program that ends with an update.
        source, targets : Source
            Rows that are read on demand are read in :meth:`run`.
        weights : ndarray of float64, or None
            By row of the source.
        rows : ndarray of int64, or None
            The indices of the rows to process, in order; None: all.
        out : ndarray, or None
            The array for predictions; with members, (members, rows, outputs).
        states : ndarray, or None
            The optimizer's states, one per row: as many as the program's `n_states`.
        seed : int
            The seed of dropout, noise and augmentation.
        lengths : ndarray of int64 of shape (n_rows, n_columns), or None
            The lengths of sequences, in the order of `rows`; None: all have the full length.
        resets : ndarray of uint8, or None
            Nonzero where a sequence does not continue the one before in its stream, in the order
            of `rows`.
        carry : ndarray of shape (n_streams, network.state_size), or None
            The initial states of recurrent layers, which are overwritten by the final ones.
        network : int
            The number of the network.
        """
        frame, needs = self._networks[network] if network else self._frame, self.program.needs
        # addresses of rows that are read on demand are those of a window
        bound = self._bound[network] if self._unread is None else {}
        self._planned, self._header[header.DONE] = None, 0
        self._bound[network], self._positions[network], self._unread = {}, 0, None  # if it fails
        if parameters is not bound.get("parameters", self):
            needs.check_parameters(parameters)
            frame[f.PARAMETERS] = address_of(parameters)
        if states is not bound.get("states", self):
            needs.check_states(states)
            frame[f.STATE] = address_of(states)
            frame[f.STATE_STRIDE] = 0 if states is None else states.strides[0]
        if carry is not bound.get("carry", self):
            needs.check_carry(carry)
            frame[f.CARRY] = address_of(carry)
            frame[f.CARRY_STRIDE] = 0 if carry is None else carry.strides[0]
            frame[f.CARRY_ROWS] = 1 if carry is None else len(carry)
        n_rows = self._bind_rows(frame, source, targets, weights, bound)
        # how many positions there are of what is read by position
        self._positions[network] = needs.check_positions(n_rows, rows, out, lengths, resets)
        frame[f.ROWS] = address_of(rows)
        frame[f.OUT] = address_of(out)
        frame[f.OUT_STRIDE] = 0 if out is None else out.strides[out.ndim - 2]
        frame[f.OUT_MEMBER] = 0 if out is None else out.strides[0]
        frame[f.SEED] = seed
        frame[f.LENGTHS], frame[f.RESETS] = address_of(lengths), address_of(resets)
        frame[f.LENGTHS_STRIDE] = 0 if lengths is None else lengths.strides[0]
        self._bound[network] = {
            "parameters": parameters, "source": source, "targets": targets, "weights": weights,
            "states": states, "carry": carry, "others": (rows, out, lengths, resets),
        }  # fmt: skip
        waits = source.on_demand is not None
        waits = waits or targets is not None and targets.on_demand is not None
        if waits and len(self._networks) > 1:
            raise ValueError("Networks side by side are for data in memory.")
        self._unread = (source, targets, weights, rows, n_rows) if waits else None

    def _bind_rows(self, frame, source, targets, weights, bound):
        """Set the arrays that are read by row; return how many rows there are of each."""
        needs = self.program.needs
        if source is not bound.get("source", self):
            needs.check_source(X, source)
            frame[f.X : f.X + 3], frame[f.X_STORED] = fields_of(source)
        if targets is not bound.get("targets", self):
            needs.check_targets(targets)
            if targets is not None:
                frame[f.Y : f.Y + 3], frame[f.Y_STORED] = fields_of(targets)
        if weights is not bound.get("weights", self):
            wall.check_by_row("weights", weights)
            frame[f.WEIGHT] = address_of(weights)
        n_rows = source.n_rows
        if targets is not None:
            n_rows = min(n_rows, targets.n_rows)
        if weights is not None:
            n_rows = min(n_rows, len(weights))
        frame[f.N_ROWS] = n_rows
        return n_rows

    def pack(self, values):
        """Return parameters packed into the session's own memory, overwriting earlier ones."""
        if self._own is None:
            packed = aligned(self.program.layout.n_bytes).view(self.program.dtype)
            self._own = packed, self.program.layout.places(packed)
        packed, places = self._own
        fill(places, values)
        return packed

    @property
    def first_loss(self):
        """The loss of the first step, where there is one network."""
        return self.first_losses[0]

    def run(self, total, batch, rates=None, counted=0, accumulate=False, again=True):
        """Run all steps over `total` rows, `batch` rows per step; return the sum of their losses.

        Sets `data_loss` to that sum without the penalties on weights, `divergence` to the sum of
        divergences, and in the first run `first_loss` to the loss of its first step.

        `rates` has a row for each step, with the columns that ``frame`` names RATE_*; None: the
        sums are over all rows, and nothing else is needed. Returns to Python about every 100 ms to
        handle signals; an interrupt is raised between steps.

        `again` says that the caller will soon call again, as training does. Short runs then keep
        the GIL: with other threads around, waiting for it would take longer than the run. A single
        prediction releases it, so that other threads get their turn.
        """
        self._check_single()
        wall.check_run(total, batch, self._positions[0], self.most_rows)
        alone = rates is None and not self.program.keeps_blocks and self.program.members == 1
        if rates is None:
            rates = _ONES if total <= batch else np.ones((-(-total // batch), 2))
        steps = self._prepare(1, (total,), batch, (rates,), (counted,), accumulate)
        if self._unread is None:
            self._steps(0, steps, batch, total, again)
        else:
            self._read_and_run(steps, batch, total, alone)
        loss, self.data_loss, self.divergence = self._results[0, 0].tolist()
        return loss

    def run_networks(self, totals, batch, rates, counted):
        """Run all steps of several networks side by side, one pass over the data of each.

        Steps of the same number are computed together. If one network has fewer than another, the
        other goes on alone; one without rows is neither read nor changed. In the first run, sets
        `first_losses` to the losses of the first steps.

        Parameters
        ----------
        totals : sequence of int
            The number of rows of each network.
        batch : int
            Rows per step.
        rates : sequence of ndarray or None
            The rates of each network's steps, as for :meth:`run`; None where there are no rows.
        counted : sequence of int
            The number of steps that each has done before.

        Returns
        -------
        sums : ndarray of shape (networks, 3)
            The sums of losses, as :meth:`run` returns them, `data_loss` and `divergence`.
        """
        for given in rates, counted, totals:
            if len(given) != len(self._networks):
                raise ValueError(
                    f"There are {len(given)} values for {len(self._networks)} networks; expected "
                    "one for each."
                )
        for total, most in zip(totals, self._positions):
            wall.check_run(total, batch, most, self.most_rows)
        steps = self._prepare(1, totals, batch, rates, counted)
        networks = len(totals)
        self._steps(0, steps, batch * networks, max(totals) * networks, True)
        return self._results[:, 0].copy()

    def _check_single(self):
        if len(self._networks) > 1:
            raise ValueError("Several networks are run by `run_networks`.")

    def plan_passes(self, passes, total, batch, rates, counted):
        """Prepare several passes over data that is not read on demand, one after the other.

        All that is bound by position has `total` rows for each pass, and `rates` has a row for each
        of all steps. Everything is as if :meth:`run` was called for each pass.
        """
        if self._unread is not None:
            raise ValueError("Several passes are for data in memory.")
        self._check_single()
        wall.check_run(passes * total, batch, self._positions[0], self.most_rows)
        self._prepare(passes, (total,), batch, (rates,), (counted,))
        self._planned = passes, total, batch, rates

    def run_passes(self, last):
        """Run the planned passes that are not done yet, before the one numbered `last`."""
        if self._planned is None or last > self._planned[0]:
            raise ValueError("There is no plan of so many passes.")
        head, (_, total, batch, _) = self._header, self._planned
        last *= int(head[header.PASS_STEPS])
        self._steps(int(head[header.DONE]), last, batch, total, True)

    def passes_done(self):
        """Return the sums of those that are done.

        One row each: of losses, as :meth:`run` returns it, `data_loss` and `divergence`.
        """
        done, each = self._header[header.DONE], self._header[header.PASS_STEPS]
        return self._results[0, : done // max(each, 1)]

    def _prepare(self, passes, totals, batch, rates, counted, accumulate=False):
        """Check and set what to run, by network; return the number of steps."""
        head, each = self._header, -(-max(totals) // batch)
        if not head[header.SIZE]:  # others would be waited for, for ever
            raise RuntimeError("A session of several threads runs in its context only.")
        columns = 0
        for i, total in enumerate(totals):
            frame, rows = self._networks[i] if i else self._frame, rates[i]
            frame[f.TOTAL], frame[f.COUNTED] = total, counted[i]
            frame[f.ACCUMULATE] = accumulate
            if rows is _ONES and self.program.needs.rates <= 2:
                frame[f.STEP_RATES], columns = _ONES_ADDRESS, 2
            elif total:
                self.program.needs.check_rates(rows, passes * -(-total // batch))
                frame[f.STEP_RATES] = address_of(rows)
                if columns not in (0, rows.shape[1]):
                    raise ValueError(
                        f"The rates of networks have {columns} and {rows.shape[1]} columns."
                    )
                columns = rows.shape[1]
        head[header.RATE_COLUMNS] = columns
        head[header.BATCH], head[header.PASS_STEPS] = batch, each
        head[header.DONE], head[header.STRAY] = 0, 0
        self._planned = None
        if self._results.shape[1] < passes:
            self._results = np.zeros((len(self._networks), passes, 3))
            for frame, results in zip(self._networks, self._results):
                frame[f.RESULT] = address_of(results)
        self._results.fill(0.0)
        return passes * each

    def _steps(self, step, steps, batch, total, again):
        """Run the steps from `step` to before `steps`, with so many rows at most."""
        each = int(self._header[header.PASS_STEPS])

        def place(step):
            """Return how many rows all steps before this one have."""
            return step // each * total + min(step % each * batch, total)

        while step < steps:
            last = min(steps, step + self._steps_per_call)
            self._header[header.FIRST], self._header[header.LAST] = step, last
            self._frames[:] = self._frame
            start = time.perf_counter()
            try:
                self._call(place(last) - place(step), again)
            finally:
                if step == 0:  # one step at a time, until it is known how long a step takes
                    self.first_losses = self._results[:, 0, 0].tolist()
            seconds = time.perf_counter() - start
            if self._header[header.STRAY]:
                raise ValueError("The index of a row to read is out of bounds.")
            if seconds < 0.05 and last - step == self._steps_per_call:
                self._steps_per_call *= 2 if seconds > 0.005 else 8
            elif seconds > 0.15:
                self._steps_per_call = max(1, self._steps_per_call // 2)
            step = last

    def _read_and_run(self, steps, batch, total, alone):
        """Run all steps, a window of rows at a time; a thread reads the next one meanwhile.

        A window has whole steps. If the rows of a step are computed independently (`alone`), they
        may also be divided among several windows.
        """
        most = rows_in_window(*self._unread[:2])
        part = max(self.program.width, 1 << most.bit_length() - 1)
        cut = alone and part < batch and (steps == 1 or batch % part == 0)
        each = part if cut else max(1, most // batch) * batch

        # windows lie in the same places: what is read by row is now read by place in a window
        places = np.arange(total) % each
        self._frame[f.ROWS] = address_of(places)
        if cut:
            ones = np.ones((-(-total // each), 2))
            self._frame[f.STEP_RATES] = address_of(ones)
        with closing(read_ahead(*self._unread, total, each)) as windows:
            for i, window in enumerate(windows):
                self._bind_rows(self._frame, *window, {})
                if cut:
                    self._part_of_step(i, part, batch, total)
                else:
                    first = i * each // batch
                    self._steps(first, min(steps, first + each // batch), batch, total, False)

    def _part_of_step(self, i, part, batch, total):
        """Run the `i`-th part of all steps; sum losses in the same order as in whole steps."""
        head, result, rows = self._header, self._results[0, 0].copy(), min(part, total - i * part)
        head[header.BATCH], head[header.FIRST], head[header.LAST] = part, i, i + 1
        head[header.PASS_STEPS] = i + 1
        self._frames[:] = self._frame
        self._call(rows, False)
        blocks = -(-rows // self.program.width)
        losses = self._losses[(i & 1) * head[header.MOST_BLOCKS] :][:blocks]
        if i * part % batch == 0:
            self._sum_of_step = 0.0
        for loss in losses.tolist():
            self._sum_of_step += loss
        if (i + 1) * part % batch == 0 or (i + 1) * part >= total:
            result[:2] += self._sum_of_step
        self._results[0, 0, :2] = result[:2]

    def _call(self, rows, again):
        """Run the steps in the header, with so many rows in total."""
        run, head, frames = self._run, self._header_pointer, self._pointers
        if not again:
            run(head, frames[0], 0)
            return
        expected = self.program.row_seconds
        if expected * rows < _WORTH_A_SWITCH:
            start = time.perf_counter()
            self._run_and_hold(head, frames[0], 0)
            seconds = (time.perf_counter() - start) / rows
        else:
            start = time.thread_time()  # without the wait for the lock
            run(head, frames[0], 0)
            seconds = (time.thread_time() - start) / rows
        # an average, since the work per row may vary: sequences have lengths
        change = 0.0 if expected == np.inf else 0.75 * (expected - seconds)
        self.program.row_seconds = seconds + change


@cache
def _loop():
    """Return the loop as two functions: one that releases the GIL, and one that keeps it."""
    (run,) = kernels([LOOP])
    keeping = ctypes.PYFUNCTYPE(None, POINTER, POINTER, ctypes.c_int64)
    return run.ctypes, keeping(run.address)


@cache
def _cores():
    return joblib.cpu_count()


def _after_fork():
    global _idle_lock
    _idle_lock = threading.Lock()  # its holder may not exist in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
