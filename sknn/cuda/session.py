"""Running a program on a GPU: its memory, its data, and launches.

A run is split into spans: steps whose data is on the GPU at the same time. While one span is
computed, the rows of the next one are gathered on the host and sent. If all data fits next to the
network, there is one span, and X and y are sent once per fit.
"""

import math
import time
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
from numba.core import types

from ..tape import wall
from ..tape.sources import INPUTS, X
from .arrays import Numbers
from .data import Cargo, Placed, bytes_of, overlaps
from .driver import OutOfMemory
from .kernels import frame as f
from .kernels import run as kernels
from .kernels.frame import Target

#: Bytes of data in a span where they do not all fit, and the share of what is free that data which
#: stay may take.
_SPAN_BYTES, _SHARE = 2**28, 0.5
#: Rows in a span.
_MOST_ROWS = 2**31 - 1
#: Seconds of launches between two checks for interrupts.
_SECONDS = 0.1


class Session:
    """A program with the memory to run it, which is freed when its context ends.

    Parameters
    ----------
    device : CUDA
    program : Program
    most_rows : int
        The largest number of rows in a step.
    gradient : Numbers or None
        Where the gradient goes, for a program that leaves it.
    """

    def __init__(self, device, program, most_rows, gradient=None):
        self._device, self.driver, self._gradient = device, device.driver, gradient
        self.program, self.most_rows = program, most_rows
        self._memory, self._own, self.bound = {}, None, None
        self._frame = np.zeros(f.N_FIELDS, np.int64)  # as the next launch gets it
        self._at_once = 1  # steps
        # kept from run to run: page-locked memory is slow to get
        self._cargoes = [Cargo(self, f"cargo {i}") for i in range(2)]
        self.data_loss = self.divergence = self.first_loss = 0.0

    def __enter__(self):
        try:
            with self._out_of_memory():
                self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        """Free the memory."""
        for memory in self._memory.values():
            memory.free()
        self._memory, self._own, self.bound, self._graph, self._cargoes = {}, None, None, None, []

    # --- before the first step

    def _prepare(self):
        program, driver = self.program, self.driver
        placement, itemsize = program.placement, program.dtype.itemsize
        self.blocks = -(-self.most_rows // program.width)
        # then blocks may follow each other in the same memory; streams belong to places in a step
        if not (program.keeps_blocks or program.tape.carries):
            affordable = int(driver.free_bytes() * _SHARE) // placement.block_bytes
            self.blocks = max(1, min(self.blocks, affordable))
        self._plan = plan = program.plan(self.blocks * program.width)
        threads = self._device.threads_of(program.width)
        real = types.float32 if itemsize == 4 else types.float64
        self._target = Target(self._device.words, real, program.width, threads)
        self._shared_bytes = self._target.scratch * itemsize
        frame, room = self._frame, self.room
        frame[f.WORKSPACE] = room("workspace", placement.block_bytes * self.blocks)
        frame[f.WORKSPACE_STRIDE] = placement.block_bytes
        frame[f.SHARED] = room("shared", placement.shared_bytes)
        # sums that are gradients of vectors are read up to a whole number of fours
        driver.fill_zero(int(frame[f.SHARED]), placement.shared_bytes)
        frame[f.PARTIALS] = room("partials", plan.partial_bytes)
        frame[f.SQUARES] = room("squares", plan.n_sums * itemsize)
        self.n_sums = frame[f.N_SUMS] = plan.n_sums
        frame[f.MOST_BLOCKS] = self.blocks
        if self._gradient is not None:
            frame[f.GRADIENT] = self._gradient.address
        elif any(phase.kind == "parameters" for phase in program.tape.phases):
            frame[f.GRADIENT] = room("gradient", program.layout.n_bytes)
        for field, array in {
            f.TABLE: plan.table, f.STAGES: plan.stages, f.TASKS: plan.tasks,
        }.items():  # fmt: skip
            frame[field] = room(field, array.nbytes)
            driver.to_device(int(frame[field]), array)
        frame[f.N_STAGES] = len(plan.stages)
        self._at = room("frame", frame.nbytes)
        # sent without waiting: the host waits once, for what is launched with it
        self._sent = driver.pinned(frame.nbytes).view(np.int64)
        if program.walks:
            self._prepare_walk()
        else:
            self._prepare_graph()

    def _kernel(self, make, name, n_arguments):
        """Return a kernel; what makes it is called if nobody has compiled it before."""
        target = self._target
        name = f"{name}-{self.program.dtype.name}-{target.width}-{target.threads}"
        return self.driver.kernel(lambda: make(target), n_arguments, name, target.threads)

    def _prepare_walk(self):
        operations, driver, target = self.program.operations, self.driver, self._target
        name = "walk-" + "-".join(map(_name, operations))
        kernel = self._kernel(lambda t: kernels.walk(t, operations), name, 1)
        most = driver.resident(kernel, target.threads, self._shared_bytes) * driver.multiprocessors
        if most < 1:
            raise RuntimeError("The GPU has no room for a group of threads of this network.")
        parts = max(1, min(self._plan.most_parts, most // self.blocks))
        tasks = max((last - first for kind, first, last in self._plan.stages if kind), default=0)
        groups = min(most, max(self.blocks * parts, tasks))
        frame = self._frame
        frame[f.TEAM_PARTS] = parts
        frame[f.MEETINGS] = self.room("meetings", (1 + groups) * kernels.APART)
        driver.fill_zero(int(frame[f.MEETINGS]), (1 + groups) * kernels.APART)
        self._walk = kernel, groups, target.threads, self._shared_bytes

    def _prepare_graph(self):
        """Record a step: a launch for each operation."""
        driver, lists, nodes = self.driver, [], []
        for name, variant, rows, parts in self._plan.nodes:
            kernel = self._kernel(partial(_single, name, variant), _name((name, variant)), 3)
            addresses = int(self._frame[f.TABLE]) + np.array(rows, np.int64) * (kernels.ROW * 8) + 8
            nodes.append((kernel, addresses, parts, len(lists)))
            lists += [] if parts else list(addresses)
        lists = np.array(lists, np.int64)
        place = self.room("rows", lists.nbytes)
        driver.to_device(place, lists)
        end = self._kernel(kernels.advance, "advance", 1)
        threads = self._target.threads
        with driver.capture() as self._graph:
            for kernel, addresses, parts, first in nodes:
                groups = parts * self.blocks if parts else len(addresses)
                rows = int(addresses[0]) if parts else place + 8 * first
                arguments = self._at, rows, parts
                driver.launch(kernel, groups, threads, self._shared_bytes, arguments)
            driver.launch(end, 1, 1, 0, (self._at,))

    def room(self, name, n_bytes):
        """Return the address of memory for some purpose, which is kept between runs."""
        known = self._memory.get(name)
        if known is None or known.n_bytes < n_bytes:
            if known is not None:
                self._memory.pop(name).free()  # there may be no room for another one
            self._memory[name] = known = self.driver.allocate(max(n_bytes, 256))
        return known.address

    @contextmanager
    def _out_of_memory(self):
        """Say what a user can do about it."""
        try:
            yield
        except OutOfMemory as error:
            raise self._no_memory(error) from error

    def _no_memory(self, what):
        step = self.program.placement.block_bytes * -(-self.most_rows // self.program.width)
        return MemoryError(
            f"{what} A step of {self.most_rows} rows takes {step / 2**20:,.1f} MiB for what "
            "layers compute: a smaller batch_size takes less, and so does device='cpu'."
        )

    # --- what a run reads and writes

    def pack(self, values):
        """Return parameters packed into the session's own memory, overwriting earlier ones."""
        if self._own is None:
            self._own = self._device.zeros(self.program.layout)
        return self._device.upload(self.program.layout, values, self._own)

    def bind(
        self, parameters, source, targets=None, weights=None, rows=None, out=None, states=None,
        seed=0, lengths=None, resets=None, carry=None,
    ):  # fmt: skip
        """Set the arrays that the next runs read and write, as on the CPU.

        Parameters and states are arrays of the device, all others of the host.
        """
        frame, needs, self.bound = self._frame, self.program.needs, None  # if a check fails
        self._check_numbers("parameters", [parameters], 1)
        self._check_numbers("states", states, needs.states)
        needs.check_source(X, source)
        needs.check_targets(targets)
        needs.check_carry(carry)
        by_row = [source.n_rows, wall.check_by_row("weights", weights)]
        if targets is not None:
            by_row.append(targets.n_rows)
        n_rows = min(by_row)
        positions = needs.check_positions(n_rows, rows, out, lengths, resets)
        if rows is not None and len(rows) and not 0 <= rows.min() <= rows.max() < n_rows:
            raise ValueError("The index of a row to read is out of bounds.")
        frame[f.PARAMETERS], frame[f.SEED] = parameters.address, seed
        if states:
            frame[f.STATE] = states[0].address
            frame[f.STATE_STRIDE] = self.program.layout.n_bytes
        sources = [one for one in (source, targets) if one not in (None, INPUTS)]
        self.bound = SimpleNamespace(
            source=source, targets=targets, weights=weights, rows=rows, out=out, lengths=lengths,
            resets=resets, carry=carry, positions=positions, numbers=(parameters, states),
            resident=self._place(sources), row_bytes=self._bytes_of_a_row(sources),
        )  # fmt: skip

    def _check_numbers(self, name, numbers, n):
        """Check that `n` arrays of parameters, or of states, are there, and large enough."""
        layout = self.program.layout
        if n and (numbers is None or len(numbers) < n):
            raise ValueError(f"The {name} are missing.")
        for one in numbers or ():
            fits = isinstance(one, Numbers) and one.driver is self.driver
            if not fits or one.dtype != layout.dtype or one.size < layout.size:
                raise ValueError(
                    f"The {name} are not {layout.size} numbers of {layout.dtype} on this GPU."
                )

    def placed(self, source):
        """Return a source as it is on the GPU as a whole, or None."""
        found = self._device.resident.get(source)
        return found if found is not None and found.dtype == self.program.dtype else None

    def _place(self, sources):
        """Put on the GPU what will be read again and again, if there is room; return if all is."""
        device, dtype = self._device, self.program.dtype
        learns = self.program.needs.changes or self._gradient is not None
        if self.program.needs.draws:  # what it reads, it has written
            return False
        if any(source.on_demand is not None for source in sources):
            return False
        for source in sources:
            again, free = learns or source in device.seen, self.driver.free_bytes()
            device.seen.add(source)
            most = min(_SHARE * free, _SPAN_BYTES if overlaps(source) else free)
            if self.placed(source) is None and again and bytes_of(source, dtype) < most:
                with suppress(OutOfMemory):  # others take memory too, and it is not in one piece
                    device.resident[source] = Placed(self.driver, source, dtype)
        return all(self.placed(source) is not None for source in sources)

    def _bytes_of_a_row(self, sources):
        """Return what a row takes on the GPU, of all that is sent for it."""
        needs, dtype = self.program.needs, self.program.dtype
        data = sum(bytes_of(source, dtype) // max(1, source.n_rows) for source in sources)
        return data + dtype.itemsize * (1 + needs.outputs) + 8 * (2 + needs.lengths)

    # --- running

    def run(self, total, batch, rates=None, counted=0, accumulate=False, again=True):
        """Run all steps over `total` rows, `batch` rows per step; return the sum of their losses.

        As :meth:`sknn.cpu.session.Session.run`. An interrupt is raised between steps, when those
        already launched are done.
        """
        positions = 0 if self.bound is None else self.bound.positions
        wall.check_run(total, batch, positions, self.most_rows)
        if rates is None:  # the sums are of all rows, whatever a step is
            if not self.program.keeps_blocks:
                batch = min(batch, self.blocks * self.program.width)
                if self.bound.source.on_demand is not None:
                    width = self.program.width
                    most = _SPAN_BYTES // self.bound.row_bytes // width * width
                    batch = min(batch, max(width, most))
            rates = np.ones((-(-total // batch), 2))
        if batch > self.blocks * self.program.width:  # less memory was free
            raise self._no_memory("The GPU has no room for so many rows at a time.")
        self.program.needs.check_rates(rates, -(-total // batch))
        rates = rates[: -(-total // batch)]
        frame, carry = self._frame, self.bound.carry
        frame[f.BATCH], frame[f.ACCUMULATE] = batch, accumulate
        frame[f.RATE_COLUMNS] = rates.shape[1]
        with self._out_of_memory():
            if carry is not None:
                frame[f.CARRY] = self.room("carry", carry.nbytes)
                frame[f.CARRY_ROWS], frame[f.CARRY_COLUMNS] = carry.shape
                self.driver.to_device(int(frame[f.CARRY]), np.ascontiguousarray(carry))
            try:
                terms = list(zip(*self._spans(total, batch, rates, counted))) or [()] * 3
            except BaseException as first:
                # what is on its way still reads and writes memory that will be freed
                try:
                    with suppress(RuntimeError):
                        self.driver.wait_for_copies()
                        self.driver.synchronize()
                except KeyboardInterrupt as second:
                    raise second from first
                raise
            if carry is not None:
                self.driver.to_host(carry, int(frame[f.CARRY]))
        # exact, so that it does not matter what was computed together
        losses, divergences, penalties = (math.fsum(chain(*parts)) for parts in terms)
        self.data_loss, self.divergence = losses, divergences
        return losses + penalties

    def _spans(self, total, batch, rates, counted):
        """Compute span after span; yield what each leaves of losses."""
        # what stays on the GPU needs no cutting, and what is drawn is read by the next step; of
        # numbers of rows there are never too many, but kernels divide them as numbers of 32 bits
        each = _MOST_ROWS // batch
        if not (self.bound.resident and self.bound.out is None or self.program.needs.draws):
            each = _SPAN_BYTES // (self.bound.row_bytes * batch)
        each = max(1, min(each, len(rates)))
        steps = range(0, len(rates), each)
        cargoes = self._cargoes

        def load(i):
            if i < len(steps):
                step = steps[i]
                last = min(total, (step + each) * batch)
                cargoes[i % 2].load(step * batch, last, rates[step : step + each])

        load(0)
        for i, step in enumerate(steps):
            self._frame[f.COUNTED] = counted + step
            self._launch(cargoes[i % 2], partial(load, i + 1))
            left = cargoes[i % 2].unload()
            if i == 0:
                first = (part[: len(part) // cargoes[0].steps] for part in (left[0], left[2]))
                self.first_loss = math.fsum(chain(*first))
            yield left

    def _launch(self, cargo, meanwhile):
        """Launch all steps of a span, some at a time; call `meanwhile` while the first run."""
        driver, frame = self.driver, self._frame
        cargo.begin(frame)
        step, steps = 0, cargo.steps
        while step < steps:
            last = min(steps, step + self._at_once)
            frame[f.FIRST], frame[f.LAST] = step, last
            self._sent[:] = frame
            driver.to_device_later(self._at, self._sent)
            driver.wait_for_copies()
            start = time.perf_counter()
            if self.program.walks:
                driver.launch(*self._walk, (self._at,), cooperative=True)
            else:
                for _ in range(step, last):
                    self._graph.launch()
            mark = driver.mark()
            if step == 0:
                meanwhile()
            _wait(mark)
            seconds = time.perf_counter() - start
            if seconds > 1.5 * _SECONDS:
                self._at_once = max(1, self._at_once // 2)
            elif last - step == self._at_once and seconds < 0.5 * _SECONDS:
                self._at_once *= 2 if seconds > 0.05 * _SECONDS else 8
            step = last


def _wait(event):
    """Wait for an event, and let Python look for interrupts meanwhile."""
    pause = 1e-5
    while not event.done:
        time.sleep(pause)
        pause = min(2 * pause, 1e-3)


def _name(operation):
    """Return an operation's name among those of kernels."""
    name, variant = operation
    return "-".join(map(str, (name, *variant)))


def _single(name, variant, target):
    return kernels.single(target, name, variant)
