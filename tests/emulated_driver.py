"""A driver whose GPU is emulated: what ``sknn.cuda.driver.Driver`` is for a card.

Its memory is the host's. What a card does later is done at once here.
"""

from contextlib import contextmanager

import emulator
import numpy as np

from sknn.cuda.device import CUDA
from sknn.cuda.driver import OutOfMemory


class Memory:
    def __init__(self, driver, n_bytes):
        self.n_bytes, self._driver = n_bytes, driver
        self._array = np.full(n_bytes + 256, 0xCD, np.uint8)  # nobody may count on zeros
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
    done = True


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
        self.allocated, self.launches, self._graph = 0, 0, None
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

    to_device_later = to_device

    def pinned(self, n_bytes):
        return np.empty(n_bytes, np.uint8)

    def to_host(self, array, address):
        array.reshape(-1).view(np.uint8)[:] = _bytes(address, array.nbytes)

    def copy(self, to, address, n_bytes):
        _bytes(to, n_bytes)[:] = _bytes(address, n_bytes)

    def kernel(self, make, n_arguments, name, threads):
        if name not in self._kernels:
            self._kernels[name] = emulator.compiled(make(), n_arguments, name)
        return self._kernels[name]

    def resident(self, kernel, threads, shared_bytes):
        return 1

    def launch(self, kernel, groups, threads, shared_bytes, arguments, cooperative=False):
        def call():
            self.launches += 1
            emulator.launch(kernel, groups, threads, shared_bytes, arguments, self.order)

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
        return Event()

    def wait_for_copies(self):
        pass

    synchronize = wait_for_copies


def _bytes(address, n):
    return np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * n).from_address(address))


class EmulatedCUDA(CUDA):
    """A GPU that is emulated.

    Parameters
    ----------
    threads : int
        Threads of a group: 32, 64 or 128.
    single : bool
        Whether each operation is a launch.
    """

    def __init__(self, threads=32, single=False, **driver):
        super().__init__(driver=EmulatedDriver(**driver), words=emulator.words())
        self._threads[32], self.single = threads, single
        self.operations = set()

    def compile(self, tape, dtype, threads=1):
        self.operations |= {op.name for phase in tape.phases for op in phase.all_ops()}
        program = super().compile(tape, dtype, threads)
        program.walks = not self.single and program.walks
        return program
