"""A GPU as a device, with the interface described in :mod:`sknn.cpu.device`.

Parameters, an optimizer's states and gradients stay on the GPU, as :class:`Numbers`; so does the
data of a fit, if there is room. Everything else that a program writes is copied back to the host.
"""

import weakref

import numpy as np

from ..tape.packing import Layout
from .arrays import Numbers
from .driver import Driver
from .kernels.words import cuda_words
from .program import WIDE, Fours, Program
from .session import Session

#: Multiply-adds in a step from which its operations are launched one by one, each with a grid of
#: its own; below, one launch does many steps. An estimate: nobody has measured where they cross.
_WORK_OF_A_LAUNCH = 4e8


class CUDA:
    """An NVIDIA GPU.

    Parameters
    ----------
    index : int
        Which one, as the driver counts.
    driver : Driver or None
        What runs kernels; None: that of the GPU.
    words : Words or None
        What they are written in; None: those of CUDA.
    """

    #: Its kernels take the rows of a block from its number alone.
    groups = False

    def __init__(self, index=0, driver=None, words=None):
        self.driver = Driver(index) if driver is None else driver
        self.words = cuda_words() if words is None else words
        self._packing = Fours()
        # what lies on the GPU, by what it is a copy of, and what has been on its way there before
        self.resident, self.seen = weakref.WeakKeyDictionary(), weakref.WeakSet()
        self._threads = {32: 128, WIDE: 256}

    def threads_of(self, width):
        """Return how many threads a group has, for blocks of a width."""
        return self._threads[width]

    def packing(self, dtype):
        """Return the Packing for a scalar type."""
        return self._packing

    def layout(self, parameters, dtype):
        """Return the Layout of parameters that are on no tape."""
        return Layout([self._packing.packed(p) for p in parameters], dtype)

    def training_width(self, network, rows, dtype):
        """Return the width of a block for training in batches of `rows` rows.

        Wide blocks make large products faster; their operations are launched one by one.
        """
        work = 3 * network.operations * rows
        large = work >= _WORK_OF_A_LAUNCH and rows >= WIDE and np.dtype(dtype).itemsize == 4
        return WIDE if large and not network.sequential else 32

    prediction_width = training_width

    def threads(self, network, rows, n_jobs, total=None):
        """Return 1: the threads of a GPU are not CPU threads."""
        return 1

    def compile(self, tape, dtype, threads=1):
        """Return a tape as a Program."""
        if tape.members > 1:
            raise ValueError(f"A network of {tape.members} members cannot run on a GPU.")
        return Program(tape, dtype)

    def compile_ahead(self, tapes, dtype):
        """Do nothing: single rows are predicted on the host."""

    def session(self, program, most_rows, threads=1, gradient=None, networks=1):
        """Return a session for a context."""
        if networks > 1:
            raise ValueError(f"{networks} networks side by side cannot run on a GPU.")
        return Session(self, program, most_rows, gradient)

    def zeros(self, layout, n=None):
        """Return zeros in the layout of the parameters: an array, or a list of `n`."""
        whole = Numbers(self.driver, layout.dtype, layout.size * (1 if n is None else n))
        if n is None:
            return whole
        return [whole[i * layout.size : (i + 1) * layout.size] for i in range(n)]

    def upload(self, layout, values, to=None):
        """Return parameters, given in their documented shapes, packed: in a new array, or `to`."""
        to = self.zeros(layout) if to is None else to
        to.write(layout.pack(values, np.zeros(layout.size, layout.dtype)))
        return to

    def download(self, layout, packed):
        """Return copies of packed parameters, in their documented shapes."""
        return layout.unpack(packed.read())

    def copy(self, packed):
        """Return a copy of packed parameters."""
        copy = Numbers(self.driver, packed.dtype, packed.size)
        copy.write(packed)
        return copy

    def read(self, packed):
        """Return a copy of an array's numbers, or of a part of one's, on the host."""
        return packed.read()

    def write(self, packed, numbers):
        """Overwrite packed parameters by a number, or by an array of the host or of the GPU."""
        packed.write(numbers)
