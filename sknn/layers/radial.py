"""Layers of radial basis functions (RBFs)."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from ..tape.tape import Parameter
from .base import Layer, size
from .checks import choice
from .weighted import add_bias_gradient, transpose

#: The basis functions, of the squared distance over the squared width.
FUNCTIONS = ("gaussian", "multiquadric", "inverse_multiquadric", "thin_plate")


def add_square_distances(tape, x, inputs, units, centers):
    """Put the squared distances to the centers on a tape, and return their buffer."""
    z = tape.buffer("z", units)
    variant = (tape.packing.tile(units), centers.pack)
    tape.add("square_distances", (x, centers), (z,), (inputs, units), variant)
    return z


@dataclass(frozen=True, repr=False)
class RadialBasis(Layer):
    """A layer of radial basis functions: each unit is a function of the distance to its center.

    With u = ``|x - c|^2 / s^2``, where c is the center and s its width, a unit's output is
    exp(-u / 2) ('gaussian'), sqrt(1 + u) ('multiquadric'), 1 / sqrt(1 + u)
    ('inverse_multiquadric') or u log(u) / 2, which is zero at the center ('thin_plate'). Images and
    sequences are flattened.

    Centers are initialized with standard normal numbers, and widths with the square root of the
    number of inputs, which suits inputs of unit variance.

    Parameters
    ----------
    units : int
        Number of centers.
    function : {'gaussian', 'multiquadric', 'inverse_multiquadric', 'thin_plate'}, \
default='gaussian'
        The basis function.
    trainable : bool, default=True
        Whether to train the layer; False freezes both centers and widths.
    train_centers : bool, default=True
        Whether to train the centers, if the layer is trainable.
    train_widths : bool, default=True
        Whether to train the widths, if the layer is trainable.
    name : str or None, default=None
        Name of the layer, which its parameters have in files.
    """

    units: int
    function: str = choice(*FUNCTIONS)
    _: KW_ONLY
    trainable: bool = True
    train_centers: bool = True
    train_widths: bool = True
    name: str | None = None

    @property
    def learns(self):
        return self.trainable and (self.train_centers or self.train_widths)

    def output_shape(self, shape):
        return (self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def parameters(self, shape):
        centers, widths = (
            self.trainable and learns for learns in (self.train_centers, self.train_widths)
        )
        return (
            Parameter("centers", (size(shape), self.units), trainable=centers),
            Parameter("widths", (self.units,), trainable=widths),
        )

    def draw(self, shape, random_state, initializer, last=False):
        inputs = size(shape)
        centers = random_state.standard_normal((inputs, self.units))
        return [centers, np.full(self.units, np.sqrt(inputs))]

    def forward(self, tape, x, shape, parameters, training):
        inputs, units = size(shape), self.units
        centers, widths = next(parameters), next(parameters)
        if training:
            tape.keep(x)
        z = add_square_distances(tape, x, inputs, units, centers)
        a = tape.buffer("a", units) if training else z
        tape.add("radial", (z, widths), (a,), (units,), (self.function,))
        if training:
            tape.keep(a)

        def backward(da, needed):
            dz, ds = tape.buffer("dz", units), tape.buffer("ds", units)
            function = (self.function,)
            tape.add("radial_gradient", (z, widths, a, da), (dz, ds), (units,), function)
            if widths.trainable:
                add_bias_gradient(tape, widths, ds, 1, units, None)
            variant, dx = (tape.packing.tile(inputs), centers.pack), None
            if needed:
                dx = tape.buffer("dx", inputs)
                numbers = (inputs, units)
                tape.add("square_distances_gradient", (x, centers, dz), (dx,), numbers, variant)
            if centers.trainable:
                # the sum over samples of dz (x - c); dz includes the constant factor
                packed = transpose(tape, dz, 1, units, units, centers.pack)
                sums = tape.buffer("sums", units, shared=True)
                tape.add("unit_sums", (dz,), (sums,), (units,), extent=units)
                tape.gradient(centers, "weight_gradient", (x, packed), (inputs,), variant)
                tape.add_to_gradient(
                    centers, "add_weights", (sums,), (inputs, -1.0), (centers.pack,)
                )
            return dx

        return a, backward
