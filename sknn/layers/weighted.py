"""What layers with weights share: their parameters, and how their gradients are computed."""

import numpy as np

from ..tape.activations import ACTIVATIONS
from ..tape.tape import Parameter
from .activation import Activation, ActivityRegularization
from .base import Layer, check_choice, check_weighted, size
from .initializers import draw_kernel


class Weighted(Layer):
    """What layers with a kernel, a bias and an activation share."""

    def _check(self):
        """Check the parameters that all of them have."""
        check_weighted(self)
        given = self.activation
        if isinstance(given, Activation):
            given = given.function
        if given is not None:
            check_choice(self, "activation", set(ACTIVATIONS) - {"step"}, given)

    @property
    def learns(self):
        return self.trainable

    def following(self):
        """Return its activation, and the penalty on what that gives."""
        layers = []
        if self.activation is not None:
            given = isinstance(self.activation, Activation)
            layers.append(self.activation if given else Activation(self.activation))
        if self.activity_l1 or self.activity_l2:
            layers.append(ActivityRegularization(self.activity_l1, self.activity_l2))
        return tuple(layers)

    def _kernel(self, shape, pack):
        return Parameter(
            "kernel", shape, pack, self.trainable, True, self.kernel_l1, self.kernel_l2
        )

    def _bias(self, units, pack):
        return (Parameter("bias", (units,), pack, self.trainable),) if self.use_bias else ()

    def _draw(self, input_shape, kernel_shape, fans, random_state, initializer, last):
        """Return the first kernel, and a bias of zeros."""
        initializer = self.kernel_initializer or initializer
        kernel = draw_kernel(initializer, random_state, kernel_shape, *fans, last)
        bias = [p for p in self.parameters(input_shape, 1) if p.name == "bias"]
        return [kernel, *(np.zeros(p.shape) for p in bias)]


def pack_width(units, lanes):
    """Return how many units lie side by side.

    Two vectors use registers best; one, where the second would be all zeros.
    """
    return lanes if -(-units // lanes) % 2 else 2 * lanes


def tile_rows(rows):
    """Return how many rows at once a kernel is compiled for, so that few are left over."""
    return rows if rows <= 10 else min((8, 10), key=lambda tile: -rows % tile)


def along_time(steps, inputs, units):
    """Return the numbers of a convolution that does the same at each step: one row of windows."""
    return (1, steps, inputs, units, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, steps)


def add_kernel_gradient(tape, w, x, dz, numbers, transposed=None):
    """Say how the gradient of a convolution's kernel is computed.

    Many filters go side by side in a vector, on transposed gradients; few, or those of groups that
    share a vector, one by one over the samples.

    Parameters
    ----------
    tape : Tape
    w : Parameter
    x, dz : Buffer
        What the convolution got, and the gradient of what it gave.
    numbers : tuple
        The convolution's.
    transposed : Buffer or None
        dz transposed, if that is done already.

    Returns
    -------
    transposed : Buffer or None
        dz transposed, if it is needed.
    """
    filters, groups, work = numbers[3], numbers[12], size(numbers[13:15])
    inputs = numbers[2] // groups
    # weights that lie side by side, and see neighbouring places
    run = numbers[5] * inputs if groups == 1 and numbers[11] == 1 else inputs
    if is_narrow(filters, w.pack) or groups > 1 and filters // groups % w.pack:
        rows, depth = _narrow_tile(filters // groups, run)
        variant = (rows, depth, w.pack)
        tape.gradient(w, "kernel_gradient_narrow", (x, dz), numbers, variant, work, depth)
        return transposed
    if transposed is None:
        transposed = transpose(tape, dz, work, filters, filters, w.pack)
    rows = tile_rows(run)
    tape.gradient(w, "kernel_gradient", (x, transposed), numbers, (rows, w.pack), work, rows)
    return transposed


def is_narrow(filters, pack):
    """Whether filters leave half of their vectors empty."""
    return -(-filters // pack) * pack >= 2 * filters


def transpose(tape, dz, positions, units, stride, pack):
    """Put the transposition of gradients on a tape, and return its buffer."""
    packed = tape.buffer("packed", positions * -(-units // pack) * pack)
    tape.add("pack_samples", (dz,), (packed,), (positions, units, stride), (pack,))
    return packed


def add_bias_gradient(tape, b, dz, positions, units, transposed):
    """Say how a bias's gradient is computed: from transposed gradients, if there are any."""
    if transposed is None:
        tape.gradient(b, "channel_sums", (dz,), (positions, units), (), positions)
    else:
        tape.gradient(b, "bias_gradient", (transposed,), (positions, units), (b.pack,), positions)


def _narrow_tile(filters, run):
    """Return filters and weights of a run that a kernel is compiled for: the least work in all."""
    tiles = ((rows, depth) for rows in range(1, 7) for depth in range(1, 9) if rows * depth <= 20)

    def cost(tile):
        rows, depth = tile
        # as many loads as rows and columns, as many multiply-adds as both together
        return -(-filters // rows) * -(-run // depth) * (rows * depth + (rows + depth) / 2)

    return min(tiles, key=cost)
