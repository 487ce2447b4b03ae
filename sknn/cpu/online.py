"""The perceptron rule, which learns sample by sample, in a kernel of its own."""

from contextlib import closing

import numpy as np

from ..tape import wall
from .kernels import frame as f
from .kernels import perceptron as operands
from .kernels.frame import OPERANDS
from .program import kernel
from .session import POINTER, address_of, fields_of, read_ahead

#: Multiply-adds between two returns to Python, which check for signals.
_WORK_PER_CALL = 50_000_000


class Perceptron:
    """Rosenblatt's perceptron rule, for the rows of some data.

    Parameters
    ----------
    state : object
        The learned values, updated in place: `weights` of shape (inputs, padded), where padded is
        the number of units rounded up to whole vectors, `biases`, `moments` and `bias_moments`
        (updates times the samples seen before, for averages, or None), and the number of samples
        `seen`.
    source : Source
    targets : ClassNumbers
    sample_weights : ndarray of float64, or None
    rate : float
    intercept : bool
        Whether biases are learned.
    """

    def __init__(self, state, source, targets, sample_weights, rate, intercept):
        if targets.n_classes is None or targets.numbers.strides[0] != 8:
            raise ValueError("The class indices are not contiguous.")
        self._state, dtype = state, state.weights.dtype
        variant = source.variant if len(source.arrays) > 1 else (source.variant[0], None)
        self._kernel = kernel("perceptron", dtype, 1, variant).ctypes
        self._frame, self._operands = np.zeros(f.N_FIELDS, np.int64), np.zeros(OPERANDS, np.int64)
        op = self._operands
        op[operands.INPUTS], op[operands.UNITS] = source.n_columns, state.units
        op[operands.RATE] = np.float64(rate).view(np.int64)
        op[operands.INTERCEPT] = intercept
        self._data = source, targets, sample_weights
        self._bind(*self._data)
        self._outcome, scratch = np.zeros(2), np.zeros(source.n_columns, dtype)
        arrays = {
            operands.WEIGHTS: state.weights,
            operands.BIASES: state.biases,
            operands.MOMENTS: state.moments,
            operands.BIAS_MOMENTS: state.bias_moments,
            operands.SCRATCH: scratch,
            operands.OUTCOME: self._outcome,
        }
        for field, array in arrays.items():
            if array is not None:
                kind = np.dtype(float) if array is self._outcome else dtype
                wall.check_piece("state", array, kind, writes=True)
            op[field] = address_of(array)
        self._rows_per_call = max(1, _WORK_PER_CALL // (source.n_columns * len(state.biases)))
        self._bound = arrays

    def _bind(self, source, targets, sample_weights):
        """Set the data to go over."""
        frame = self._frame
        frame[f.X : f.X + 3], frame[f.X_STORED] = fields_of(source)
        frame[f.Y : f.Y + 3], _ = fields_of(targets)
        frame[f.WEIGHT] = address_of(sample_weights)
        self._n_rows = self._operands[operands.N_ROWS] = min(
            source.n_rows, targets.n_rows, wall.check_by_row("weights", sample_weights)
        )

    def __call__(self, rows):
        """Process rows; return the number of errors, and the sum of the losses."""
        rows = np.ascontiguousarray(rows, np.int64)
        self._outcome[:] = 0.0
        if self._data[0].on_demand is None:
            self._go_over(rows)
            return self._outcome
        # as many at a time as in one call: the order in which losses are added up is the same
        each, n_rows = self._rows_per_call, self._data[0].n_rows
        with closing(read_ahead(*self._data, rows, n_rows, len(rows), each)) as windows:
            for window in windows:
                self._bind(*window)
                self._go_over(np.arange(self._n_rows))
        return self._outcome

    def _go_over(self, rows):
        op, frame = self._operands, self._frame
        for first in range(0, len(rows), self._rows_per_call):
            part = rows[first : first + self._rows_per_call]
            op[operands.SEEN] = self._state.seen
            frame[f.ROWS], frame[f.COUNT] = part.ctypes.data, len(part)
            self._kernel(op.ctypes.data_as(POINTER), frame.ctypes.data_as(POINTER), 0)
            if op[operands.STRAY]:
                raise ValueError("The index of a row to read is out of bounds.")
            self._state.seen += len(part)
