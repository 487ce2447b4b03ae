"""Least squares on the outputs of radial units, from moments that the engine computes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.linalg

from ..engine.blas import one_thread
from ..engine.lowering import gather
from ..files.codec import check_types, storable
from ..files.records import check_arrays
from ..layers.weighted import transpose
from ..tape.sources import Y
from ..tape.tape import Parameter
from .widths import distances_tape

#: Memory for the buffers of a chunk of rows: each slice of the products reads a part of them, which
#: should stay in the L2 caches.
_CHUNK_BYTES = 2**20
#: Rows whose means are subtracted from all: any constants near the means will do.
_ROWS_OF_SHIFTS = 128
#: A sum of squared errors is used only if it is this many times the rounding errors of its terms.
_UNCERTAIN = 1e6


@dataclass(frozen=True)
class Moments:
    """Weighted sums over rows, from which the least squares weights follow.

    They are sums of the functions' values and the targets, minus `shifts`. The shifts change
    nothing in exact arithmetic, but avoid cancellation where means are large compared to standard
    deviations.

    Attributes
    ----------
    shifts, sums : ndarray of shape (n_centers + n_outputs,)
    products : ndarray of shape (n_centers + n_outputs, n_centers + n_outputs)
    weight : float
        The sum of weights.
    """

    shifts: np.ndarray
    sums: np.ndarray
    products: np.ndarray
    weight: float

    def solve(self, k, alpha):
        """Return the weights of ridge regression, of shape (k, n_outputs), and the intercepts.

        The third value is the mean squared error of each output, or None if rounding errors make it
        uncertain.
        """
        with one_thread():
            means = self.sums / self.weight
            centered = self.products - np.outer(means, self.sums)
            if not np.isfinite(centered).all():
                raise ValueError(
                    "The sums for least squares are not finite: the values of X, y or "
                    "sample_weight are too large; scale them."
                )
            w = _ridge(centered[:k, :k], centered[:k, k:], alpha)
            residual = np.vstack([w, -np.eye(w.shape[1])])
            errors = (residual * (centered @ residual)).sum(axis=0)
            size = (np.abs(residual) * (np.abs(centered) @ np.abs(residual))).sum(axis=0)
            certain = (errors > _UNCERTAIN * np.finfo(float).eps * size).all()
            means = means + self.shifts
            return w, means[k:] - means[:k] @ w, errors / self.weight if certain else None


def _loaded(shifts, sums, products, weight):
    """Return the moments that a file describes, checked."""
    check_types("Moments", {"weight": (weight, float)})
    check_arrays("Moments", [shifts, sums], [sums.shape] * 2, [np.dtype(np.float64)])
    check_arrays("Moments", [products], [(*sums.shape, *sums.shape)], [np.dtype(np.float64)])
    return Moments(shifts, sums, products, weight)


storable(Moments, vars, _loaded)


def add_moments(network, centers, widths, data, n_jobs, device, before=None):
    """Return the Moments of some rows and of those `before`, in bounded memory.

    Parameters
    ----------
    network : Network
        The first layer is the one of radial basis functions.
    centers : ndarray of shape (n_features, n_centers)
    widths : ndarray of shape (n_centers,)
    data : Data
    n_jobs : int or None
    device : Device
    before : Moments or None
    """
    (inputs, units), outputs = centers.shape, network.outputs
    function = network.layers[0].function
    keys = data.source.key, data.targets.key, data.weights is not None
    program = _moments_program(inputs, units, outputs, function, *keys, device)
    chunk = min(len(data.rows), program.rows_within(_CHUNK_BYTES, 4))
    gradient = device.zeros(program.layout)
    empty = np.zeros((units + outputs, units + outputs)), np.zeros(units + outputs)

    def weight_of(rows):
        return float(len(rows)) if data.weights is None else float(data.weights[rows].sum())

    threads = device.threads(network, len(data.rows), n_jobs)
    with device.session(program, chunk, threads, gradient) as session:

        def run(shifts, rows):
            device.write(gradient, 0.0)
            packed = device.upload(program.layout, [centers, widths, -shifts, *empty])
            session.bind(packed, data.source, data.targets, data.weights, rows)
            session.run(len(rows), chunk, accumulate=True)
            return device.download(program.layout, gradient)[-2:]

        if before is None:
            first = data.rows
            if data.weights is not None:
                first = first[data.weights[first] > 0]
            first = first[:_ROWS_OF_SHIFTS]
            sums, weight = run(empty[1], first)[1], weight_of(first)
            shifts = sums / weight if weight else sums
            before = Moments(shifts, empty[1], empty[0], 0.0)
        lower, sums = run(before.shifts, data.rows)
    products = np.tril(lower) + np.tril(lower, -1).T
    return Moments(
        before.shifts,
        before.sums + sums,
        before.products + products,
        before.weight + weight_of(data.rows),
    )


def _ridge(gram, right, alpha):
    """Return the solution of (gram + alpha I) w = right; of several, the one of minimum norm."""
    rounding = np.finfo(float).eps * np.trace(gram)
    if alpha > rounding:  # else it does not make the matrix positive definite
        try:
            factor = scipy.linalg.cho_factor(gram + alpha * np.eye(len(gram)), lower=True)
            return scipy.linalg.cho_solve(factor, right)
        except scipy.linalg.LinAlgError:
            pass
    values, vectors = scipy.linalg.eigh(gram)
    kept = values > np.finfo(float).eps * len(values) * max(values[-1], 0.0)
    inverse = np.divide(1.0, values + alpha, out=np.zeros(len(values)), where=kept)
    return vectors @ (inverse[:, None] * (vectors.T @ right))


@lru_cache(maxsize=32)
def _moments_program(inputs, units, outputs, function, source, targets, weighted, device):
    """Return the program whose gradients are the sums of :class:`Moments`.

    Each row's values (of the functions, then the targets) are shifted. "products" gets the weighted
    sums of the products of any two of them, in its lower triangle, and "sums" the weighted sums.
    """
    tape, z = distances_tape(inputs, units, source, device)
    columns = units + outputs
    widths = tape.parameter(Parameter("widths", (units,), trainable=False))
    negative = tape.parameter(Parameter("shifts", (columns,), trainable=False))
    products = tape.parameter(Parameter("products", (columns, columns)))
    sums = tape.parameter(Parameter("sums", (columns,)))
    both = tape.buffer("both", columns)
    a, y = tape.view(both, 0, units), tape.view(both, units, outputs)
    tape.add("radial", (z, widths), (a,), (units,), (function,))
    gather(tape, y, Y, targets)
    tape.add("add_bias", (both, negative), (both,), (1, columns))
    amounts = both
    if weighted:
        amounts = tape.buffer("weighted", columns)
        tape.add("weigh_samples", (both, tape.weights()), (amounts,), (columns,))
    packed = transpose(tape, amounts, 1, columns, columns, products.pack)
    variant = (tape.packing.tile(columns), products.pack, False, True)
    # Whole columns: parts of columns would contain different parts of the triangle.
    reads, numbers = (both, packed), (columns,)
    tape.gradient(products, "weight_gradient", reads, numbers, variant, grain=columns)
    tape.gradient(sums, "bias_gradient", (packed,), (1, columns), (sums.pack,))
    tape.finish()
    return device.compile(tape, "float64")
