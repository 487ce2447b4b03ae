"""The CPU as a device: what the engine asks of it, and would ask of any other.

A device says how numbers lie side by side, how wide blocks are and how many threads go to work;
makes a program of a tape; holds parameters; and runs the program in sessions. The engine reaches it
by its name, in ``sknn.engine.devices``. Of what it makes, the engine uses:

program
    ``layout`` (where its parameters lie), ``width``, ``n_states``, ``rows_within(n_bytes, least)``.
session
    A context; ``bind``, ``run``, ``pack``, ``data_loss``, ``divergence``.
packed parameters
    One array of the device. A part of it, ``packed[start:]`` or ``states[i]``, is one too.

Before anybody asks for a program, ``compile_ahead(tapes, dtype)`` may compile what it will need; of
the host alone, ``count_compiled()`` says how many kernels that and all else has compiled here, and
``kernels_folder()`` where they are kept, or None.

What a session reads and writes besides parameters, states and gradients lies on the host.
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

#: Multiply-adds in a step below which one thread more costs more than it brings.
_WORK_PER_THREAD = 800_000
#: Bytes of one layer's output for a block of samples, above which single samples go through.
_LARGEST_BLOCK = 32 * 2**20


class CPU:
    """The processor that Python runs on."""

    def __init__(self):
        self._packings = {np.dtype(name): VectorPacking(name) for name in ("float32", "float64")}

    def packing(self, dtype):
        """Return the Packing for a scalar type."""
        return self._packings[np.dtype(dtype)]

    def layout(self, parameters, dtype):
        """Return the Layout of parameters that are on no tape."""
        return Layout([self.packing(dtype).packed(p) for p in parameters], dtype)

    def training_width(self, network, rows, dtype):
        """Return the width of a block for training in batches of `rows` rows."""
        # only sequences are trained one at a time: their steps are work enough
        return self.packing(dtype).width(rows if network.sequential else max(rows, 2))

    def prediction_width(self, network, rows, dtype):
        """Return the same for predicting.

        Large images go one at a time: a block of these would not stay in any cache, and a single
        one has positions enough to go over.
        """
        packing = self._packings[dtype]
        large = network.largest * WIDEST * dtype.itemsize > _LARGEST_BLOCK
        single = large and not network.sequential  # a step of which is small
        width = 1 if single else packing.width(rows)
        # with transposed weights, a single sample's sums would have another order
        return packing.lanes if width == 1 and network.transposes else width

    def threads(self, network, rows, n_jobs):
        """Return how many threads to take for steps of `rows` rows; no result depends on it.

        Small steps keep one thread busy at most, and then nobody asks how many there are. Over time
        a block of sequences goes on one thread, and most of the work is that.
        """
        most = 3 * network.operations * rows // _WORK_PER_THREAD
        if network.sequential:
            most = min(most, -(-rows // WIDEST))
        return 1 if most < 2 else min(count_threads(n_jobs), most)

    compile, session, perceptron = Program, staticmethod(session), Perceptron
    compile_ahead, count_compiled = staticmethod(compile_ahead), staticmethod(count_compiled)
    kernels_folder = staticmethod(cache.kept_in)

    def zeros(self, layout, n=None):
        """Return zeros in the place of parameters: an array, or `n` of them."""
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

    read = copy  # to the host: the numbers of an array, or of a part of one

    def write(self, packed, numbers):
        """Change them, to a number, or to those of an array of the host or of the device."""
        packed[...] = numbers
