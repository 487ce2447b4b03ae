"""Layers of the members of a network: what they share, and what each has for itself."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral

import numpy as np

from ..tape.tape import Parameter
from .base import describe, size
from .checks import check_choice, fail
from .dense import add_dense
from .tabular import add_scale
from .weighted import Weighted

_FIRST = {
    "ones": lambda random_state, shape: np.ones(shape),
    "signs": lambda random_state, shape: 2.0 * random_state.randint(2, size=shape) - 1.0,
    "normal": lambda random_state, shape: random_state.normal(size=shape),
}


@dataclass(frozen=True, repr=False)
class EnsembleDense(Weighted):
    """A fully connected layer of a network with several members.

    Member i computes z = s_i * (w (r_i * x)) + b_i, with a kernel w that all members share, and
    vectors r_i, s_i and b_i of its own (Wen et al., 2020, "BatchEnsemble"; Gorishniy et al., 2025,
    "TabM"); or z = w_i x + b_i, with a kernel of its own. An image is flattened.

    Parameters
    ----------
    units : int
        Number of outputs of each member.
    members : int
        Number of members, that of the network.
    shared : bool, default=True
        Whether the members share the kernel; False: each has its own, and no factors.
    scale_inputs : {'ones', 'signs', 'normal'} or None, default='ones'
        What the factors r of the inputs are at first: 1, random signs, or numbers from the standard
        normal distribution; None: there are none.
    scale_outputs : bool, default=True
        Whether there are factors s of the outputs, which are 1 at first.
    sections : sequence of int or None, default=None
        The lengths of runs of inputs for which one factor r is drawn, such as those that stand for
        the same feature; None: each input has a draw of its own.
    activation : str, Activation or None, default=None
        Activation function of the outputs; None: linear.
    use_bias : bool, default=True
        Whether to add the biases b.
    scale_rate : float, default=1.0
        Factor of the learning rate of the factors r and s.
    kernel_initializer, bias_initializer : str or None, default=None
        Initializers of the kernel and of the biases, as for :class:`Dense`; None: the estimator's
        `initializer`.
    kernel_rate, bias_rate : float, default=1.0
        Factors of the learning rate of the kernel and of the biases, for minibatch solvers.
    parametrization : {'standard', 'neural_tangent'}, default='standard'
        What minibatch solvers train, as for :class:`Dense`.
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on this layer's kernel, instead of the estimator's `l1` and `alpha`.
    activity_l1, activity_l2 : float, default=0.0
        Penalties on the outputs: `activity_l1` times the sum of their absolute values, and half of
        `activity_l2` times the sum of their squares, per sample; the mean over the members.
    trainable : bool, default=True
        Whether to train the layer; False freezes it.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    units: int
    members: int
    shared: bool = True
    scale_inputs: str | None = "ones"
    scale_outputs: bool = True
    sections: Sequence[int] | None = None
    _: KW_ONLY
    scale_rate: float = 1.0

    _tiled = False

    def __post_init__(self):
        super().__post_init__()
        check_choice(self, "scale_inputs", {None, *_FIRST})
        if not self.shared and not self.use_bias:
            fail(self, "use_bias", "True where each member has a kernel of its own")
        sections = self.sections
        if sections is None:
            return
        good = isinstance(sections, Sequence) and not isinstance(sections, str)
        if not good or not all(isinstance(n, Integral) and n >= 1 for n in sections):
            fail(self, "sections", "a sequence of int of at least 1, or None")
        object.__setattr__(self, "sections", tuple(map(int, sections)))

    def output_shape(self, shape):
        if len(shape) == 2:
            raise ValueError(f"{self} got an input of {describe(shape)}; needs a vector.")
        if self.sections is not None and sum(self.sections) != size(shape):
            raise ValueError(
                f"{self} got {size(shape)} inputs; its sections have {sum(self.sections)}."
            )
        return (self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def _kernel_shape(self, shape):
        matrix = size(shape), self.units
        return matrix if self.shared else (self.members, *matrix)

    def _fans(self, kernel):
        return kernel[-2:]

    def _scales(self, shape):
        """Return the names of its factors, how many a member has, and what they are at first."""
        inputs = self.shared and self.scale_inputs is not None
        return [("inputs_scale", size(shape), self.scale_inputs)] * inputs + [
            ("outputs_scale", self.units, "ones")
        ] * (self.shared and self.scale_outputs)

    def parameters(self, shape):
        kernel, *biases = super().parameters(shape)
        biases = [replace(bias, shape=(self.members, self.units)) for bias in biases]
        scales = [
            Parameter(
                name, (self.members, n), trainable=self.trainable, tiled=False,
                rate=self.scale_rate,
            )  # fmt: skip
            for name, n, _ in self._scales(shape)
        ]
        return (kernel, *biases, *scales)

    def draw(self, shape, random_state, initializer, last=False):
        values = super().draw(shape, random_state, initializer, last)
        scales = self._scales(shape)
        values = values[: len(values) - len(scales)]
        for name, n, first in scales:
            sections = self.sections if name == "inputs_scale" else None
            draws = n if sections is None else len(sections)
            drawn = _FIRST[first](random_state, (self.members, draws))
            values.append(drawn if sections is None else np.repeat(drawn, sections, axis=1))
        return values

    def forward(self, tape, x, shape, parameters, training):
        inputs, units, scales = size(shape), self.units, self._scales(shape)
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        if not self.shared:
            return _add_own(tape, x, inputs, units, w, b, training)
        found = {name: next(parameters) for name, _, _ in scales}
        xr, back_to_x = _add_scale(tape, x, inputs, found.get("inputs_scale"), training)
        z, back_to_xr = add_dense(tape, xr, 1, inputs, units, w, None, training)
        y, back_to_z = _add_scale(tape, z, units, found.get("outputs_scale"), training)
        if b is not None:
            z, y = y, tape.in_place(y, "y")
            tape.add("member_add", (z, b), (y,), (units,))

        def backward(dy, needed):
            if b is not None and b.trainable:
                tape.keep(dy)
                tape.gradient(b, "member_sums", (dy,), (units,))
            dz = back_to_z(dy, True)
            dxr = back_to_xr(dz, needed or self.trainable and "inputs_scale" in found)
            return None if dxr is None else back_to_x(dxr, needed)

        return y, backward


def _add_scale(tape, x, units, scale, training):
    """Put x times each member's factors on a tape, if there are any; return what add_scale does."""
    if scale is None:
        return x, lambda dy, needed: dy
    return add_scale(tape, x, units, scale, training, of_members=True)


def _add_own(tape, x, inputs, units, w, b, training):
    """Put z = w x + b on a tape, with a member's own w and b."""
    if training and w.trainable:
        tape.keep(x)
    z = tape.buffer("z", units)
    tape.add("member_dense", (x, w, b), (z,), (inputs, units), (tape.packing.tile(units), w.pack))

    def backward(dz, needed):
        if w.trainable:
            tape.keep(dz)
            rows, depth = tape.packing.narrow_tile(units, inputs)
            variant = (rows, depth, w.pack)
            tape.gradient(
                w, "member_dense_gradient", (x, dz), (inputs, units), variant, grain=depth
            )
            tape.gradient(b, "member_sums", (dz,), (units,))
        if not needed:
            return None
        dx = tape.buffer("dx", inputs)
        variant = (tape.packing.tile(inputs), w.pack)
        tape.add("member_dense_input_gradient", (dz, w), (dx,), (inputs, units), variant)
        return dx

    return z, backward
