"""CUDA's kernels in Numba's own simulator: Python, with a thread for each thread.

Run as a program, with ``NUMBA_ENABLE_CUDASIM=1``: the simulator is chosen when Numba is imported.
It compares a network that learns there with one of the CPU.
"""

import ctypes
import warnings

import numpy as np
from numba import cuda, types
from trial_gpu import EmulatedDriver

from sknn import MLPNetClassifier
from sknn.cuda.device import CUDA
from sknn.cuda.kernels.words import Words
from sknn.engine.devices import DEVICES

_C = {
    types.int64: ctypes.c_int64, types.float32: ctypes.c_float, types.float64: ctypes.c_double,
}  # fmt: skip
_DTYPES = {types.float32: np.float32, types.float64: np.float64, types.int64: np.int64}


def thread():
    return cuda.threadIdx.x


def group():
    return cuda.blockIdx.x


def groups():
    return cuda.gridDim.x


def sync():
    cuda.syncthreads()


class SimulatedWords(Words):
    """The vocabulary as Python."""

    def __init__(self):
        self.thread, self.group, self.groups, self.sync = thread, group, groups, sync
        # of a grid of one group nobody waits for another
        self.fence = self.pause = self.arrive = self.look = None

    divide = staticmethod(lambda a, b: a // b)

    def jit(self, function):
        return function

    def get(self, kind):
        size, c, dtype = kind.bitwidth // 8, _C[kind], _DTYPES[kind]
        number = int if kind == types.int64 else dtype
        return lambda address, i: number(c.from_address(int(address + i * size)).value)

    @property
    def constant(self):
        return self.get(types.int64)

    def put(self, kind):
        size, c = kind.bitwidth // 8, _C[kind]

        def put(address, i, value):
            c.from_address(int(address + i * size)).value = value

        return put

    def put_four(self, kind):
        put = self.put(kind)

        def put_four(address, i, *four):
            assert i % 4 == 0
            for j, value in enumerate(four):
                put(address, i + j, value)

        return put_four

    def four(self, kind):
        def four(shared, i, local, j):
            assert i % 4 == 0
            local[j : j + 4] = shared[i : i + 4]

        return four

    def local(self, kind, size):
        return lambda: np.zeros(size, _DTYPES[kind])

    def shared(self, kind):
        return lambda: cuda.shared.array(4096, kind)

    def fma(self, kind):
        dtype = _DTYPES[kind]
        return lambda a, b, c: dtype(float(a) * float(b) + float(c))

    def bits(self, kind):
        size = kind.bitwidth // 8
        return lambda value: np.array([value]).astype(f"i{size}").view(_DTYPES[kind])[0]

    def bits_of(self, kind):
        return lambda value: int(np.array([value], _DTYPES[kind]).view(f"i{kind.bitwidth // 8}")[0])


class SimulatedDriver(EmulatedDriver):
    """A GPU of one group of threads, in the simulator."""

    def kernel(self, make, n_arguments, name, threads):
        return make()

    def launch(self, kernel, groups, threads, shared_bytes, arguments, cooperative=False):
        assert not cooperative or groups == 1
        def entry(a, b, c):
            kernel(*(int(v) for v in (a, b, c)[: len(arguments)]))

        def call():
            numbers = [*map(int, arguments), 0, 0][:3]
            cuda.jit(entry)[groups, threads](*numbers)

        if self._graph is not None:
            self._graph.calls.append(call)
        else:
            call()


def main():
    random = np.random.RandomState(0)
    X, y = random.rand(12, 5), np.arange(12) % 3
    losses = {}
    for single in (True, False):
        device = CUDA(driver=SimulatedDriver(groups=1), words=SimulatedWords())
        device._threads[32] = 32
        device.single = single
        compile = device.compile

        def compiled(tape, dtype, threads=1, compile=compile, single=single):
            program = compile(tape, dtype, threads)
            program.walks = not single
            return program

        device.compile = compiled
        DEVICES["cuda"] = device
        for name in ("cpu", "cuda"):
            net = MLPNetClassifier((4,), max_iter=1, random_state=0, device=name, dtype="float32")
            losses[name] = net.fit(X, y).loss_, net.predict_proba(X)
        for found, expected in zip(losses["cuda"], losses["cpu"]):
            np.testing.assert_allclose(found, expected, 1e-5)
        print("one launch an operation" if single else "one launch a step", losses["cuda"][0])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        main()
