"""The CPU as a device: the interface that the engine uses for all devices.

A device defines the memory layout, the width of blocks and the number of threads; compiles a tape
to a program; stores parameters; and runs the program in sessions. The engine finds it by its name,
in ``sknn.engine.devices``. Of the objects that a device creates, the engine uses:

program
    ``layout`` (of its parameters), ``width``, ``n_states``, ``rows_within(n_bytes, least)``.
session
    A context manager; ``bind``, ``run``, ``pack``, ``data_loss``, ``divergence``, ``first_loss``.
    Where ``groups`` says that the device can do this, it may have several networks side by side,
    with ``run_networks`` and ``first_losses``, and networks may have members. ``gains`` says
    whether networks side by side are trained faster.
    If it has ``run_passes`` and ``passes_done``, the engine trains several epochs at a time.
packed parameters
    One array of the device. A part of it, ``packed[start:]`` or ``states[i]``, is one too.

``compile_ahead(tapes, dtype)`` may compile the kernels that programs will need. On the host only,
``count_compiled()`` returns how many kernels the process has compiled, and ``kernels_folder()`` the
folder where they are stored, or None.

Apart from parameters, states and gradients, all data that a session reads and writes is on the
host.
"""

import numpy as np

from ..tape.packing import WIDEST, Layout
from . import cache
from .memory import aligned
from .online import Perceptron
from .packing import VectorPacking
from .program import Program, compile_ahead, count_compiled
from .session import session
from .team import count_threads

#: Multiply-adds in a step, for each thread, from which an additional one is worth it: with twice as
#: many, a second one saves a fifth or more of the time.
_WORK_PER_THREAD = 400_000
#: Multiply-adds in a step, for each thread, below which several networks gain by common steps.
_WORK_ALONE = 10 * _WORK_PER_THREAD
#: The part of the time that threads should be busy with the blocks of one network.
_BUSY = 0.8
#: The same in all steps of a prediction: threads have to be started for it.
_WORK_TO_START = 30_000_000
#: Bytes of a layer's output for a block of samples, above which samples are processed one by one.
_LARGEST_BLOCK = 32 * 2**20


class CPU:
    """The processor that Python runs on."""

    #: Whether it runs networks with members, and several networks side by side.
    groups = True

    def __init__(self):
        self._packings = {np.dtype(name): VectorPacking(name) for name in ("float32", "float64")}

    def packing(self, dtype):
        """Return the Packing for a scalar type."""
        return self._packings[np.dtype(dtype)]

    def layout(self, parameters, dtype):
        """Return the Layout of parameters that are not on a tape."""
        return Layout([self.packing(dtype).packed(p) for p in parameters], dtype)

    def training_width(self, network, rows, dtype):
        """Return the width of blocks for training with batches of `rows` rows."""
        # only sequences are trained one at a time: their time steps are enough work
        return self.packing(dtype).width(rows if network.sequential else max(rows, 2))

    def prediction_width(self, network, rows, dtype):
        """Return the same for predicting.

        Large images are processed one at a time: a block of them would not fit into any cache, and
        a single one has enough positions to vectorize over.
        """
        packing = self._packings[dtype]
        large = network.largest * WIDEST * dtype.itemsize > _LARGEST_BLOCK
        single = large and not network.sequential  # a step of which is small
        width = 1 if single else packing.width(rows)
        # with transposed weights, the sums of a single sample would be in a different order
        return packing.lanes if width == 1 and network.transposes else width

    def threads(self, network, rows, n_jobs, total=None):
        """Return the number of threads to use for steps of `rows` rows; no result depends on it.

        `total` is the number of rows to predict, in all steps; None: this is training. Small steps
        use one thread, without counting the cores. The recurrence over time of a block of
        sequences, which is most of the work, runs on a single thread.
        """
        most = 3 * network.operations * rows // _WORK_PER_THREAD
        if total is not None:
            most = min(most, network.operations * total // _WORK_TO_START)
        if network.sequential:
            most = min(most, -(-rows // WIDEST) * network.members)
        return 1 if most < 2 else min(count_threads(n_jobs), most)

    def gains(self, network, rows, n, n_jobs):
        """Return whether `n` networks like this one train faster in common steps.

        They do where one of them is too small for the threads: there are too few blocks in `rows`
        rows, or too little work between the places where threads wait for each other. Otherwise
        they only push each other's weights out of the caches, which costs up to a sixth. That is
        measured; from where on the gain is larger is an estimate.
        """
        threads = self.threads(network, n * rows, n_jobs)
        blocks = network.members * -(-rows // WIDEST)
        busy = blocks / (threads * -(-blocks // threads))
        small = 3 * network.operations * rows < threads * _WORK_ALONE
        return threads > 1 and (small or busy < _BUSY)

    compile, session, perceptron = Program, staticmethod(session), Perceptron
    compile_ahead, count_compiled = staticmethod(compile_ahead), staticmethod(count_compiled)
    kernels_folder = staticmethod(cache.kept_in)

    def zeros(self, layout, n=None):
        """Return zeros in the layout of the parameters: an array, or `n` of them."""
        numbers = aligned(layout.n_bytes * (1 if n is None else n)).view(layout.dtype)
        return numbers if n is None else numbers.reshape(n, layout.size)

    def upload(self, layout, values, to=None):
        """Return parameters, given in their documented shapes, packed: in a new array, or `to`."""
        return layout.pack(values, self.zeros(layout) if to is None else to)

    def download(self, layout, packed):
        """Return copies of packed parameters, in their documented shapes."""
        return layout.unpack(packed)

    def copy(self, packed):
        """Return a copy of packed parameters."""
        return packed.copy()

    read = copy  # to the host: the contents of an array, or of a part of one

    def write(self, packed, numbers):
        """Overwrite packed parameters by a number, or by an array of the host or of the device."""
        packed[...] = numbers
