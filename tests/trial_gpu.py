"""The GPUs that tests run on: emulated, or real with ``pytest --device cuda``.

An emulated GPU uses the host's memory, and does at once what a GPU does later.
"""

import os
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace

import emulator
import numpy as np

from sknn.cuda.device import CUDA
from sknn.cuda.driver import Driver, OutOfMemory
from sknn.cuda.program import WIDE
from sknn.engine.lowering import lower


class Memory:
    def __init__(self, driver, n_bytes):
        self.n_bytes, self._driver = n_bytes, driver
        self._array = np.full(n_bytes + 256, 0xCD, np.uint8)  # must not be assumed to be zero
        self.address = self._array.ctypes.data + -self._array.ctypes.data % 256
        driver.allocated += n_bytes

    def free(self):
        if self._array is not None:
            self._array, self._driver.allocated = None, self._driver.allocated - self.n_bytes

    __del__ = free


class Graph:
    def __init__(self):
        self.calls = []

    def launch(self):
        for call in self.calls:
            call()


class Event:
    """A point that has been reached; `before` is called where somebody asks."""

    def __init__(self, driver):
        self._driver = driver

    @property
    def done(self):
        self._driver.looked()
        return True


class EmulatedDriver:
    """See ``sknn.cuda.driver``.

    Parameters
    ----------
    groups : int
        How many groups of threads there is room for at once.
    order : str
        How threads take turns.
    memory : int
        Bytes of the card's memory.
    """

    name, capability = "emulated", (9, 0)

    def __init__(self, groups=3, order="forward", memory=2**30):
        self.multiprocessors, self.order, self.memory = groups, order, memory
        self.allocated, self.launches, self.sent, self._graph = 0, 0, 0, None
        self._kernels = {}

    def free_bytes(self):
        return self.memory - self.allocated

    def allocate(self, n_bytes):
        if n_bytes > self.free_bytes():
            raise OutOfMemory(n_bytes, self.free_bytes())
        return Memory(self, n_bytes)

    def fill_zero(self, address, n_bytes):
        _bytes(address, n_bytes)[:] = 0

    def to_device(self, address, array):
        assert array.flags.c_contiguous
        _bytes(address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def to_device_later(self, address, array):
        self.sent += array.nbytes
        self.to_device(address, array)

    def pinned(self, n_bytes):
        return np.empty(n_bytes, np.uint8)

    def to_host(self, array, address):
        array.reshape(-1).view(np.uint8)[:] = _bytes(address, array.nbytes)

    def copy(self, to, address, n_bytes):
        _bytes(to, n_bytes)[:] = _bytes(address, n_bytes)

    def kernel(self, make, n_arguments, name, threads):
        if name not in self._kernels:
            words = emulator.words()
            words.operations = ()
            function = make()
            kind = name
            if words.operations:  # which are compiled by themselves: all kernels that call are one
                kind = f"{function.__name__}-{name.rpartition('-float')[2]}"
            self._kernels[name] = emulator.compiled(function, n_arguments, kind), words.operations
        return self._kernels[name]

    def resident(self, kernel, threads, shared_bytes):
        return 1

    def launch(self, kernel, groups, threads, shared_bytes, arguments, cooperative=False):
        def call():
            self.launches += 1
            made, operations = kernel
            emulator.launch(
                made, groups, threads, shared_bytes, arguments, self.order, operations
            )  # fmt: skip

        if self._graph is not None:
            self._graph.calls.append(call)
        else:
            call()

    @contextmanager
    def capture(self):
        self._graph = graph = Graph()
        try:
            yield graph
        finally:
            self._graph = None

    def mark(self):
        return Event(self)

    def looked(self):
        """What should happen in a test while the host waits."""

    def wait_for_copies(self):
        pass

    synchronize = wait_for_copies


class _Few:
    """A real driver that reports room for only some groups of threads."""

    def __init__(self, driver, groups):
        self._driver, self.multiprocessors = driver, groups

    def __getattr__(self, name):
        return getattr(self._driver, name)

    def resident(self, *kernel):
        return min(1, self._driver.resident(*kernel))


class TrialGPU(CUDA):
    """A GPU, emulated or real, whose use a test can configure.

    Parameters
    ----------
    threads : int
        Threads of a group: 32, 64 or 128.
    groups : int
        How many groups there is room for at once.
    single : bool
        Whether each operation is a launch.
    parts : int or None
        How many groups a team has, if there are as many; None: as many as have work.
    driver : dict
        What else an emulated driver is told.
    """

    def __init__(self, threads=32, groups=3, single=False, parts=None, **driver):
        if REAL:
            super().__init__(driver=_Few(_real_driver(), groups))
        else:
            super().__init__(driver=EmulatedDriver(groups, **driver), words=emulator.words())
        self._threads[32], self.single, self.parts = threads, single, parts
        self.operations = set()

    def compile(self, tape, dtype, threads=1):
        self.operations |= {op.name for phase in tape.phases for op in phase.all_ops()}
        program = super().compile(tape, dtype, threads)
        program.walks = not self.single and program.width != WIDE
        if self.parts is not None:
            plan = program.plan

            def planned(most_rows):
                made = plan(most_rows)
                made.most_parts = self.parts
                return made

            program.plan = planned
        return program


@cache
def _real_driver():
    return Driver(0)


#: Whether tests run on a real GPU.
REAL = os.environ.get("SKNN_TEST_DEVICE") == "cuda"


def _bytes(address, n):
    return np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * n).from_address(address))


def run_on(
    device, network, dtype, purpose, problem, batch, rates, *, solver=None, width=32, n_states=3,
    seed=0, counted=0, accumulate=False,
):  # fmt: skip
    """Run a network's program on a device, as ``reference.run_engine`` does on the CPU.

    `problem` is what ``test_operations.make_problem`` returns.
    """
    dtype, bound = np.dtype(dtype), problem.bound
    key = None if problem.targets is None else problem.targets.key
    tape = lower(
        network, dtype, width, purpose, problem.source.key, key, solver, "carry" in bound, device
    )
    made = device.compile(tape, dtype)
    layout, n = made.layout, len(problem.rows)
    packed, states = device.upload(layout, problem.values), device.zeros(layout, n_states)
    gradient = device.zeros(layout) if purpose == "gradient" else None
    out = np.zeros((n, network.outputs), dtype)
    with device.session(made, min(batch, n), 1, gradient) as session:
        session.bind(
            packed, problem.source, problem.targets, problem.weights, problem.rows, out, states,
            seed, **bound,
        )  # fmt: skip
        total = session.run(n, batch, rates, counted, accumulate)
    raw_states = [device.read(state) for state in states]
    return SimpleNamespace(
        program=made, parameters=layout.parameters, packed=device.read(packed),
        values=device.download(layout, packed), total=total, outputs=out,
        data_loss=session.data_loss, divergence=session.divergence, raw_states=raw_states,
        states=[layout.unpack(state) for state in raw_states],
        gradients=None if gradient is None else device.download(layout, gradient),
    )  # fmt: skip
