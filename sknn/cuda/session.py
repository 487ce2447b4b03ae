"""The running of a program on a GPU: its memory, its data, and launches.

A run is cut into spans: steps whose data are on the GPU at the same time. While one is computed,
the next one's rows are brought together on the host and sent. Where all data fit beside the
network, there is one span, and X and y are sent once a fit.
"""

import time
from functools import partial

import numpy as np
from numba.core import types

from ..cpu import wall
from ..tape.sources import INPUTS, X
from .arrays import Numbers
from .kernels import frame as f
from .kernels import run as kernels
from .kernels.frame import Target

#: Bytes of data in a span where they do not all fit, and the share of what is free that data which
#: stay may take.
_SPAN_BYTES, _SHARE = 2**28, 0.5
#: Seconds that launches take together before Python is looked at, for interrupts.
_AT_ONCE = 0.1


class Session:
    """A program with the memory that running it takes, which its context gives back.

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
        self._device, self.program, self.most_rows = device, program, most_rows
        self._driver, self._gradient = device.driver, gradient
        self._memory, self._bound, self._own = {}, {}, None
        self._frame = np.zeros(f.N_FIELDS, np.int64)
        self._steps_per_launch = 1
        self.data_loss = self.divergence = 0.0

    def __enter__(self):
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        """Free the memory."""
        for memory in self._memory.values():
            memory.free()
        self._memory, self._bound, self._own, self._graph = {}, {}, None, None

    # --- before the first step

    def _prepare(self):
        program, driver = self.program, self._driver
        placement, itemsize = program.placement, program.dtype.itemsize
        self._blocks = -(-self.most_rows // program.width)
        if not program.keeps_blocks:  # then blocks may follow each other in the same memory
            affordable = int(driver.free_bytes() * _SHARE) // placement.block_bytes
            self._blocks = max(1, min(self._blocks, affordable))
        self._plan = plan = program.plan(self._blocks * program.width)
        threads = self._device.threads_of(program.width)
        real = types.float32 if itemsize == 4 else types.float64
        self._target = Target(driver.words, real, program.width, threads)
        self._shared_bytes = self._target.scratch * itemsize
        frame, room = self._frame, self._room
        frame[f.WORKSPACE] = room("workspace", placement.block_bytes * self._blocks)
        frame[f.WORKSPACE_STRIDE] = placement.block_bytes
        frame[f.SHARED] = room("shared", placement.shared_bytes)
        frame[f.PARTIALS] = room("partials", plan.partial_bytes)
        frame[f.SQUARES] = room("squares", plan.n_sums * itemsize)
        frame[f.N_SUMS], frame[f.MOST_BLOCKS] = plan.n_sums, self._blocks
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
        if program.walks:
            self._prepare_walk()
        else:
            self._prepare_graph()

    def _kernel(self, make, name, n_arguments):
        """Return a kernel; what makes it is called if nobody has compiled it before."""
        target = self._target
        name = f"{name}-{self.program.dtype.name}-{target.width}-{target.threads}"
        return self._driver.kernel(lambda: make(target), n_arguments, name, target.threads)

    def _prepare_walk(self):
        operations, driver, target = self.program.operations, self._driver, self._target
        name = "walk-" + "-".join(map(_name, operations))
        kernel = self._kernel(lambda t: kernels.walk(t, operations), name, 1)
        most = driver.resident(kernel, target.threads, self._shared_bytes) * driver.multiprocessors
        if most < 1:
            raise RuntimeError("The GPU has no room for a group of threads of this network.")
        parts = max(1, min(self._plan.most_parts, most // self._blocks))
        tasks = max((last - first for kind, first, last in self._plan.stages if kind), default=0)
        groups = min(most, max(self._blocks * parts, tasks))
        frame = self._frame
        frame[f.TEAM_PARTS] = parts
        frame[f.MEETINGS] = self._room("meetings", (1 + groups) * kernels.APART)
        driver.fill_zero(int(frame[f.MEETINGS]), (1 + groups) * kernels.APART)
        self._walk = kernel, groups

    def _prepare_graph(self):
        """Record a step: a launch for each operation."""
        driver, lists, nodes = self._driver, [], []
        for name, variant, rows, parts in self._plan.nodes:
            kernel = self._kernel(partial(_single, name, variant), _name((name, variant)), 3)
            addresses = int(self._frame[f.TABLE]) + np.array(rows, np.int64) * (kernels.ROW * 8) + 8
            nodes.append((kernel, addresses, parts, len(lists)))
            lists += [] if parts else list(addresses)
        lists = np.array(lists, np.int64)
        place = self._room("rows", lists.nbytes)
        driver.to_device(place, lists)
        end = self._kernel(kernels.advance, "advance", 1)
        threads = self._target.threads
        with driver.capture() as self._graph:
            for kernel, addresses, parts, first in nodes:
                groups = parts * self._blocks if parts else len(addresses)
                rows = int(addresses[0]) if parts else place + 8 * first
                arguments = self._at, rows, parts
                driver.launch(kernel, groups, threads, self._shared_bytes, arguments)
            driver.launch(end, 1, 1, 0, (self._at,))

    def _room(self, name, n_bytes):
        """Return the address of memory for something, which is kept from one run to the next."""
        known = self._memory.get(name)
        if known is None or known.n_bytes < n_bytes:
            if known is not None:
                known.free()
            self._memory[name] = known = self._driver.allocate(max(n_bytes, 256))
        return known.address

    # --- what a run reads and writes

    def pack(self, values):
        """Return parameters packed into the session's own memory, where others were before."""
        if self._own is None:
            self._own = self._device.zeros(self.program.layout)
        return self._device.upload(self.program.layout, values, self._own)

    def bind(
        self, parameters, source, targets=None, weights=None, rows=None, out=None, states=None,
        seed=0, lengths=None, resets=None, carry=None,
    ):  # fmt: skip
        """Say what the next runs read and write: what :meth:`sknn.cpu.session.Session.bind` says.

        Parameters and states are the device's, all others the host's.
        """
        frame, needs = self._frame, self.program.needs
        self._bound = {}  # if a check fails
        for name, numbers, n in (("parameters", [parameters], 1), ("states", states, needs.states)):
            _check_numbers(name, numbers, n, self.program)
        needs.check_source(X, source)
        needs.check_targets(targets)
        needs.check_carry(carry)
        wall.check_by_row("weights", weights)
        n_rows = source.n_rows
        if targets is not None:
            n_rows = min(n_rows, targets.n_rows)
        if weights is not None:
            n_rows = min(n_rows, len(weights))
        positions = min(
            n_rows if rows is None else wall.check_by_row("rows", rows),
            needs.check_out(out), needs.check_lengths(lengths),
            wall.check_by_row("resets", resets),
        )  # fmt: skip
        if rows is not None and len(rows) and not 0 <= rows.min() <= rows.max() < n_rows:
            raise ValueError("A row to read is not one of those that there are.")
        frame[f.PARAMETERS], frame[f.SEED] = parameters.address, seed
        if states:
            frame[f.STATE] = states[0].address
            frame[f.STATE_STRIDE] = self.program.layout.n_bytes
        self._bound = {
            "source": source, "targets": targets, "weights": weights, "rows": rows, "out": out,
            "lengths": lengths, "resets": resets, "carry": carry, "positions": positions,
            "numbers": (parameters, states),
        }  # fmt: skip
        self._settle()

    def _settle(self):
        """Decide how much of the data is on the GPU at a time: all, where there is room."""
        learns = self.program.needs.changes or self._gradient is not None
        resident, bound = self._device.resident, self._bound
        sources = [s for s in (bound["source"], bound["targets"]) if s not in (None, INPUTS)]
        for source in sources:
            if source not in resident and (learns or source in self._device.seen):
                need = bytes_of(source, self.program.dtype)
                if need <= self._driver.free_bytes() * _SHARE:
                    resident[source] = Placed(self._driver, source, self.program.dtype)
            self._device.seen.add(source)
        bound["resident"] = all(
            source in resident and resident[source].dtype == self.program.dtype
            for source in sources
        ) and not self.program.needs.draws
        bound["row_bytes"] = sum(bytes_of(s, self.program.dtype) // max(1, s.n_rows) for s in sources)

    def _span(self, batch):
        """Return how many steps a span has at most."""
        itemsize, outputs = self.program.dtype.itemsize, self.program.needs.outputs
        row = outputs * itemsize + 8 * (1 + self.program.needs.lengths) + 8
        if not self._bound["resident"]:
            row += self._bound["row_bytes"] + itemsize
        return max(1, _SPAN_BYTES // (row * batch))

    # --- running

    def run(self, total, batch, rates=None, counted=0, accumulate=False, again=True):
        """Run all steps over `total` rows, `batch` rows a step; return the sum of their losses.

        What :meth:`sknn.cpu.session.Session.run` says; an interrupt is raised between steps, when
        those that were launched are done.
        """
        if not self._bound or not (0 <= total <= self._bound["positions"] and 1 <= batch <= self.most_rows):
            raise ValueError(
                f"A run of {total} rows, {batch} a step, is more than the session was made for: "
                f"{self._bound.get('positions', 0)} rows, {self.most_rows} a step."
            )
        steps = -(-total // batch)
        if rates is None:
            rates = np.ones((steps, 2))
            if not self.program.keeps_blocks:  # the sums are of all rows, whatever a step is
                batch = min(batch, self._blocks * self.program.width)
                steps = -(-total // batch)
                rates = np.ones((steps, 2))
        self.program.needs.check_rates(rates, steps)
        frame = self._frame
        frame[f.BATCH], frame[f.ACCUMULATE] = batch, accumulate
        frame[f.RATE_COLUMNS] = rates.shape[1]
        results = np.zeros(3)
        carry = self._bound["carry"]
        if carry is not None:
            frame[f.CARRY] = self._room("carry", carry.nbytes)
            frame[f.CARRY_COLUMNS], frame[f.CARRY_ROWS] = carry.shape[1], len(carry)
            self._driver.to_device(int(frame[f.CARRY]), np.ascontiguousarray(carry))
        try:
            self._spans(total, batch, rates, counted, results)
        except KeyboardInterrupt:
            self._driver.synchronize()
            raise
        if carry is not None:
            self._driver.to_host(carry, int(frame[f.CARRY]))
        loss, self.data_loss, self.divergence = results
        return float(loss)

    def _spans(self, total, batch, rates, counted, results):
        """Compute span after span; add what each leaves to the results."""
        each = self._span(batch)
        spans = [
            (step, step * batch, min(total, (step + each) * batch))
            for step in range(0, len(rates), each)
        ]
        slots = [Cargo(self, f"cargo {i}") for i in range(min(2, len(spans)))]
        for i, (step, first, last) in enumerate(spans):
            cargo = slots[i % 2]
            if i == 0:
                cargo.load(first, last, rates[step : step + each], batch)
            self._driver.wait_for_copies()
            self._frame[f.COUNTED] = counted + step
            self._launch(cargo)
            if i + 1 < len(spans):
                following, first, last = spans[i + 1]
                part = rates[following : following + each]
                slots[(i + 1) % 2].load(first, last, part, batch)
            cargo.unload(results)

    def _launch(self, cargo):
        """Launch all steps of a span, some at a time."""
        driver, frame = self._driver, self._frame
        cargo.point(frame)
        step, steps = 0, cargo.steps
        while step < steps:
            last = min(steps, step + self._steps_per_launch)
            frame[f.FIRST], frame[f.LAST] = step, last
            driver.to_device(self._at, frame)
            start = time.perf_counter()
            if self.program.walks:
                kernel, groups = self._walk
                driver.launch(
                    kernel, groups, self._target.threads, self._shared_bytes, (self._at,),
                    cooperative=True,
                )  # fmt: skip
            else:
                for _ in range(step, last):
                    self._graph.launch()
            _wait(driver.mark())
            seconds = time.perf_counter() - start
            if last - step == self._steps_per_launch and seconds < _AT_ONCE / 2:
                self._steps_per_launch *= 2 if seconds > _AT_ONCE / 20 else 8
            elif seconds > 1.5 * _AT_ONCE:
                self._steps_per_launch = max(1, self._steps_per_launch // 2)
            step = last


def _wait(event):
    """Wait for an event, and let Python look for interrupts meanwhile."""
    pause = 1e-5
    while not event.done:
        time.sleep(pause)
        pause = min(2 * pause, 1e-3)


class Cargo:
    """The data of a span, on the way to the GPU and back.

    Everything goes in one piece, from page-locked memory, while the span before is computed.
    """

    def __init__(self, session, name):
        self._session, self._name, self._pinned = session, name, None

    def load(self, first, last, rates, batch):
        """Send what the steps over the positions from `first` to before `last` read."""
        session = self._session
        bound, program, frame = session._bound, session.program, {}
        dtype, driver = program.dtype, session._driver
        self.steps, self._first, self._last = len(rates), first, last
        self._shares = rates[:, 1]
        pieces, rows = {}, bound["rows"]
        here = np.arange(first, last) if rows is None else rows[first:last]
        if bound["resident"]:
            pieces[f.ROWS] = here
        frame[f.ROWS] = 0
        for field, source in ((f.X, bound["source"]), (f.Y, bound["targets"])):
            if source is None or source is INPUTS:
                continue
            if bound["resident"]:
                frame |= session._device.resident[source].fields(field)
            else:
                arrays, numbers = arrays_of(source, dtype, here)
                places, counts = fields_of(source, field)
                pieces |= dict(zip(places, arrays))
                frame |= dict(zip(counts, numbers))
        if bound["weights"] is not None:
            weights = bound["weights"]
            pieces[f.WEIGHT] = (weights if bound["resident"] else weights[here]).astype(dtype)
        else:
            frame[f.WEIGHT] = 0
        for field, name in ((f.LENGTHS, "lengths"), (f.RESETS, "resets")):
            array = bound[name]
            frame[field] = 0
            if array is not None:
                pieces[field] = array[first:last].astype(np.int64)
                if name == "lengths":
                    frame[f.LENGTH_COLUMNS] = array.shape[1]
        pieces[f.RATES] = rates.astype(dtype)
        offsets, end = {}, 0
        for field, array in pieces.items():
            offsets[field] = end
            end += -(-array.nbytes // 256) * 256
        if self._pinned is None or len(self._pinned) < end:
            self._pinned = driver.pinned(end)
        for field, array in pieces.items():
            place = self._pinned[offsets[field] :][: array.nbytes]
            place.view(array.dtype)[:] = array.ravel()
        address = session._room(self._name, end)
        driver.to_device_later(address, self._pinned[:end])
        frame |= {field: address + offset for field, offset in offsets.items()}
        self._room_for_results(frame, last - first)
        frame[f.TOTAL] = last - first
        self._fields = frame

    def _room_for_results(self, frame, n):
        session = self._session
        itemsize, needs = session.program.dtype.itemsize, session.program.needs
        blocks, sums = session._blocks, session._plan.n_sums
        sizes = self.steps * blocks, self.steps * blocks, self.steps * sums
        self._results = session._room(self._name + " results", sum(sizes) * itemsize)
        self._sizes, place = sizes, self._results
        for field, size in zip((f.LOSSES, f.DIVERGENCES, f.SUMS), sizes):
            frame[field] = place
            place += size * itemsize
        out = session._bound["out"]
        if out is not None:
            n += needs.draws
            self._shape = (n,) if needs.draws else (n, needs.outputs)
            frame[f.OUT_COLUMNS] = needs.outputs
            size = 8 * n if needs.draws else n * needs.outputs * itemsize
            frame[f.OUT] = session._room(self._name + " out", size)

    def point(self, frame):
        """Have a frame say where the data are, and clear what results are added to."""
        for field, value in self._fields.items():
            frame[field] = value
        n_bytes = sum(self._sizes) * self._session.program.dtype.itemsize
        self._session._driver.fill_zero(self._results, n_bytes)

    def unload(self, results):
        """Add the losses to the results, and bring the outputs to where they belong."""
        session = self._session
        driver, program, bound = session._driver, session.program, session._bound
        numbers = np.empty(sum(self._sizes), program.dtype)
        driver.to_host(numbers, self._results)
        losses, divergences, sums = (
            part.reshape(self.steps, -1).sum(axis=1, dtype=np.float64)
            for part in np.split(numbers, np.cumsum(self._sizes)[:-1])
        )
        results += [((losses + sums) * self._shares).sum(), (losses * self._shares).sum(),
                    (divergences * self._shares).sum()]  # fmt: skip
        out = bound["out"]
        if out is None:
            return
        found = np.empty(self._shape, np.int64 if program.needs.draws else program.dtype)
        driver.to_host(found, self._fields[f.OUT])
        if program.needs.draws:
            out[self._first + 1 : self._last + 1] = found[1:]
        else:
            out[self._first : self._last, : program.needs.outputs] = found


class Placed:
    """A source that is on a GPU as a whole."""

    def __init__(self, driver, source, dtype):
        self.dtype, self._memory = np.dtype(dtype), []
        arrays, self._numbers = arrays_of(source, dtype)
        self._source = source.n_classes is not None
        self._addresses = []
        for array in arrays:
            memory = driver.allocate(max(array.nbytes, 256))
            driver.to_device(memory.address, array)
            self._memory.append(memory)
            self._addresses.append(memory.address)

    def fields(self, field):
        """Return what a frame says of it, where it is X or Y."""
        places, counts = _fields_of(self._source, len(self._addresses), field)
        return dict(zip(places, self._addresses)) | dict(zip(counts, self._numbers))


def arrays_of(source, dtype, rows=None):
    """Return the arrays that kernels read a source from, and the numbers that belong to them."""
    if source.n_classes is not None:
        numbers = source.numbers if rows is None else source.numbers[rows]
        return [np.ascontiguousarray(numbers.reshape(len(numbers), -1))], [source.n_columns]
    matrix = source.matrix if rows is None else source.matrix[rows]
    if len(source.arrays) == 1:
        return [np.ascontiguousarray(matrix, dtype)], [source.n_columns]
    matrix = matrix.tocsr()
    whole = [matrix.data.astype(dtype), *(a.astype(np.int64) for a in (matrix.indices, matrix.indptr))]
    return whole, [min(matrix.data.size, matrix.indices.size)]


def _fields_of(classes, n_arrays, field):
    """Return the fields for a source's addresses, and for the numbers that belong to them."""
    if classes:
        return [f.CLASSES], [f.CLASS_COLUMNS]
    if n_arrays == 1:
        return [field], [field + 1]
    return [field, field + 1, field + 2], [f.X_STORED if field == f.X else f.Y_STORED]


def fields_of(source, field):
    return _fields_of(source.n_classes is not None, len(source.arrays) if source.n_classes is None else 1, field)


def bytes_of(source, dtype):
    """Return the bytes that a source takes on a GPU."""
    if source.n_classes is not None:
        return 8 * source.numbers.size
    if len(source.arrays) == 1:
        return source.n_rows * source.n_columns * np.dtype(dtype).itemsize
    values, indices, begins = source.arrays
    return values.size * np.dtype(dtype).itemsize + 8 * (indices.size + begins.size)


def _name(operation):
    """Return an operation's name among those of kernels."""
    name, variant = operation
    return "-".join(map(str, (name, *variant)))


def _single(name, variant, target):
    return kernels.single(target, name, variant)


def _check_numbers(name, numbers, n, program):
    """Check that parameters, or states, are there, and large enough."""
    if numbers is None or len(numbers) < n:
        if n == 0:
            return
        raise ValueError(f"The {name} are missing.")
    for one in numbers:
        least = program.layout.size
        if not isinstance(one, Numbers) or one.dtype != program.dtype or one.size < least:
            raise ValueError(f"The {name} are not {least} numbers of {program.dtype} on the GPU.")
