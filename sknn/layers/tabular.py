"""Layers for the columns of tables: parts of rows, embeddings, factors and slopes by unit."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from numbers import Integral

import numpy as np

from ..tape.activations import ACTIVATIONS
from ..tape.tape import Parameter
from .activation import Activation
from .base import Layer, describe, size, tokens
from .checks import MOST, choice, fail
from .initializers import INITIALIZERS
from .recurrent import add_lookup
from .weighted import Weighted, add_bias_gradient

#: The activations that a parametric one may be made of.
_BENT = set(ACTIVATIONS) - {"identity", "softmax", "step"}


def vector(layer, shape):
    """Return the number of units of a vector, or raise ValueError."""
    if len(shape) != 1:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs a vector.")
    return shape[0]


@dataclass(frozen=True, repr=False)
class Select(Layer):
    """A part of a vector: the units from `start` to `stop`, which is the first one left out.

    With :class:`Concatenate`, different layers read different columns of a table::

        Concatenate([
            [Select(0, 8), NumericEmbedding()],
            [Select(8, 20)],
            [Select(20, 22), CategoryEmbedding([5, 12])],
        ])

    Parameters
    ----------
    start, stop : int
        The first unit, and the end.
    """

    start: int = field(metadata={"least": 0})
    stop: int

    keeps_numbers = True

    def __post_init__(self):
        super().__post_init__()
        if self.stop <= self.start:
            fail(self, "stop", f"an int greater than start, {self.start}")

    def output_shape(self, shape):
        if vector(self, shape) < self.stop:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs at least {self.stop}."
            )
        return (self.stop - self.start,)

    def forward(self, tape, x, shape, parameters, training):
        units = self.stop - self.start
        y = tape.view(x, self.start, units)
        tape.keep(y)  # in its place, a single sample's result could end beyond the input

        def backward(dy, needed):
            if not needed:
                return None
            dx = tape.buffer("dx", x.rows)
            tape.add("fill", (), (dx,), (x.rows * tape.width, 0.0))
            tape.add("insert_channels", (dy,), (dx,), (1, units, x.rows, self.start))
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class Scale(Layer):
    """Multiplies each unit of a vector by a trainable factor of its own, which starts at 1.

    Parameters
    ----------
    rate : float, default=1.0
        Factor of the learning rate.
    penalized : bool, default=False
        Whether `alpha` and `l1` apply, as a penalty or as weight decay.
    trainable : bool, default=True
        Whether to train the factors; False freezes them.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    _: KW_ONLY
    rate: float = 1.0
    penalized: bool = False
    trainable: bool = True
    name: str | None = None

    def output_shape(self, shape):
        return (vector(self, shape),)

    def operations(self, shape):
        return size(shape)

    def parameters(self, shape):
        how = {"trainable": self.trainable, "rate": self.rate, "penalized": self.penalized}
        return (Parameter("scale", (size(shape),), tiled=False, **how),)

    def draw(self, shape, random_state, initializer, last=False):
        return [np.ones(size(shape))]

    def forward(self, tape, x, shape, parameters, training):
        return add_scale(tape, x, size(shape), next(parameters), training)


def add_scale(tape, x, units, scale, training, of_members=False):
    """Put x times a factor for each unit, or for each of each member, on a tape.

    Return the product and the backward function.
    """
    name = "member_scale" if of_members else "scale_units"
    if training and scale.trainable:
        tape.keep(x)
    y = tape.in_place(x, "scaled")
    tape.add(name, (x, scale), (y,), (units,))

    def backward(dy, needed):
        if scale.trainable:
            products = tape.buffer("products", units)
            tape.add("multiply", (x, dy), (products,), (units * tape.width,))
            if of_members:
                tape.gradient(scale, "member_sums", (products,), (units,))
            else:
                add_bias_gradient(tape, scale, products, 1, units, None)
        if not needed:
            return None
        dx = tape.in_place(dy, "dx")
        tape.add(name, (dy, scale), (dx,), (units,))
        return dx

    return y, backward


@dataclass(frozen=True, repr=False)
class ParametricActivation(Layer):
    """An activation function with a trainable strength: x + slope (f(x) - x), unit by unit.

    The slope is a number for each unit of a vector. It starts at 1, where the layer is the
    activation function itself; at 0 it is linear.

    Parameters
    ----------
    function : str
        The activation function f, one of those of :class:`Activation` but for 'identity',
        'softmax' and 'step'.
    parameter : float or None, default=None
        Its parameter, as for :class:`Activation`.
    rate : float, default=1.0
        Factor of the learning rate of the slopes.
    penalized : bool, default=False
        Whether `alpha` and `l1` apply, as a penalty or as weight decay.
    trainable : bool, default=True
        Whether to train the slopes; False freezes them.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    function: str = field(metadata={"options": _BENT})
    parameter: float | None = field(default=None, metadata={"low": -np.inf})
    _: KW_ONLY
    rate: float = 1.0
    penalized: bool = False
    trainable: bool = True
    name: str | None = None

    @property
    def number(self):
        """The function's parameter used in the computation."""
        return Activation(self.function, self.parameter).number

    def output_shape(self, shape):
        return (vector(self, shape),)

    def parameters(self, shape):
        how = {"trainable": self.trainable, "rate": self.rate, "penalized": self.penalized}
        return (Parameter("slope", (size(shape),), tiled=False, **how),)

    def draw(self, shape, random_state, initializer, last=False):
        return [np.ones(size(shape))]

    def forward(self, tape, x, shape, parameters, training):
        s, units = next(parameters), size(shape)
        numbers, row = (units, self.number), ACTIVATIONS[self.function]
        if training:
            tape.keep(x)
        y = tape.in_place(x, "a")
        tape.add("parametric_activation", (x, s), (y,), numbers, (self.function,))

        def backward(dy, needed):
            dx, slopes = tape.in_place(dy, "dx"), tape.buffer("slopes", units)
            reads, variant = (x, s, dy), (self.function, row.derivative_of == "output")
            tape.add("parametric_activation_gradient", reads, (dx, slopes), numbers, variant)
            if s.trainable:
                add_bias_gradient(tape, s, slopes, 1, units, None)
            return dx

        return y, backward


def add_grouped_dense(tape, x, sizes, w, b, training):
    """Put z = w x + b, for each group of inputs, on a tape; return what :func:`add_dense` does.

    `sizes` are the number of groups, and the inputs and the outputs of each.
    """
    groups, inputs, units = sizes
    if training and w.trainable:
        tape.keep(x)
    z = tape.buffer("z", groups * units)
    reads = (x, w) if b is None else (x, w, b)
    name = "grouped_dense_unbiased" if b is None else "grouped_dense"
    tape.add(name, reads, (z,), sizes, (w.pack,))

    def backward(dz, needed):
        if w.trainable:
            tape.keep(dz)  # the gradients are computed when the blocks are done
            tape.gradient(w, "grouped_dense_gradient", (x, dz), sizes, (w.pack,))
            if b is not None:
                add_bias_gradient(tape, b, dz, 1, groups * units, None)
        if not needed:
            return None
        dx = tape.buffer("dx", groups * inputs)
        tape.add("grouped_dense_input_gradient", (dz, w), (dx,), sizes, (w.pack,))
        return dx

    return z, backward


@dataclass(frozen=True, repr=False)
class GroupedDense(Weighted):
    """A block-diagonal dense layer: each group of inputs gives a group of outputs of its own.

    The inputs of a vector are split into as many groups of neighbors, of equal size; z = w x + b
    for each of them, with weights of its own.

    Parameters
    ----------
    units : int
        Number of outputs of each group.
    groups : int
        Number of groups.
    activation : str, Activation or None, default=None
        Activation function of the outputs; None: linear.
    use_bias : bool, default=True
        Whether to add the bias b.
    kernel_initializer, bias_initializer : str or None, default=None
        Initializers of the weights and of the biases, as for :class:`Dense`; None: the estimator's
        `initializer`.
    kernel_rate, bias_rate : float, default=1.0
        Factors of the learning rate of the weights and of the biases, for minibatch solvers.
    parametrization : {'standard', 'neural_tangent'}, default='standard'
        What minibatch solvers train, as for :class:`Dense`.
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on this layer's weights, instead of the estimator's `l1` and `alpha`.
    activity_l1, activity_l2 : float, default=0.0
        Penalties on the outputs: `activity_l1` times the sum of their absolute values, and half of
        `activity_l2` times the sum of their squares, per sample.
    trainable : bool, default=True
        Whether to train the layer; False freezes it.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    units: int
    groups: int

    _tiled = False

    def output_shape(self, shape):
        if vector(self, shape) % self.groups:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs a number that can be split into "
                f"{self.groups} groups."
            )
        return (self.groups * self.units,)

    def operations(self, shape):
        return size(shape) * self.units

    def _kernel_shape(self, shape):
        return self.groups, size(shape) // self.groups, self.units

    def _fans(self, kernel):
        return kernel[1:]

    def divided(self, kernel, numbers):
        return kernel / numbers.reshape(self.groups, 1, -1)

    def forward(self, tape, x, shape, parameters, training):
        w = next(parameters)
        b = next(parameters) if self.use_bias else None
        return add_grouped_dense(tape, x, self._kernel_shape(shape), w, b, training)


@dataclass(frozen=True, repr=False)
class NumericEmbedding(Layer):
    """An embedding of numbers: each feature x of a vector becomes several numbers.

    They are linear combinations, with weights and a bias for each feature, of:

    - 'periodic': cos(2 pi w x + b), of several trainable frequencies w and phases b (with x itself
      in front: "periodic bias linear densely connected", Holzmueller et al., 2024);
    - 'piecewise_linear': how far x is in each of several bins (Gorishniy et al., 2022): 0 below the
      bin, 1 above it, and linear between its edges; the first bin goes on below its lower edge, and
      the last one above its upper edge. A bin of zero width gives 0.

    Frequencies are initialized with normal numbers of the standard deviation `sigma`, phases
    uniformly in [-pi, pi], and the weights and biases of the combinations uniformly within one over
    the square root of the number of frequencies or bins.

    Parameters
    ----------
    kind : {'periodic', 'piecewise_linear'}, default='periodic'
        What the numbers are made of.
    units : int or None, default=None
        Numbers that each feature becomes, not counting itself; None: 3 if periodic, else 16.
    frequencies : int, default=16
        Number of frequencies of each feature; for 'periodic'.
    sigma : float, default=0.1
        Standard deviation of the initial frequencies; for 'periodic'.
    bins : int, default=48
        Number of bins of each feature, for 'piecewise_linear'. With `edges` it is theirs.
    edges : array-like of shape (n_features, bins + 1) or None, default=None
        Edges of the bins of each feature, in increasing order: those of quantiles, for example.
        They are not trained. None: equally spaced in [-3, 3], which suits standardized features.
    concatenate : bool or None, default=None
        Whether each feature itself precedes its numbers; None: if periodic.
    rate : float, default=1.0
        Factor of the learning rate.
    trainable : bool, default=True
        Whether to train the layer; False freezes it.
    name : str or None, default=None
        Name of the layer, which its weights have in files.

    References
    ----------
    Gorishniy, Y., Rubachev, I. and Babenko, A. (2022). On embeddings for numerical features in
    tabular deep learning.

    Holzmueller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by default: strong pre-tuned
    MLPs and boosted trees on tabular data.
    """

    kind: str = choice("periodic", "piecewise_linear")
    _: KW_ONLY
    units: int | None = None
    frequencies: int = 16
    sigma: float = 0.1
    bins: int = 48
    edges: object = field(default=None, compare=False)
    concatenate: bool | None = None
    rate: float = 1.0
    trainable: bool = True
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.concatenate not in (None, True, False):
            fail(self, "concatenate", "a bool or None", TypeError)
        if self.edges is not None:
            edges = np.array(self.edges, dtype=np.float64)
            if edges.ndim != 2 or edges.shape[1] < 2:
                raise ValueError(
                    f"edges of NumericEmbedding has the shape {edges.shape}; expected "
                    "(n_features, bins + 1)."
                )
            if not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
                raise ValueError(
                    "edges of NumericEmbedding has NaN, infinity or decreasing numbers; expected "
                    "finite numbers in increasing order in each row."
                )
            edges.flags.writeable = False
            object.__setattr__(self, "edges", edges)
            object.__setattr__(self, "bins", edges.shape[1] - 1)

    @property
    def _periodic(self):
        return self.kind == "periodic"

    @property
    def _before(self):
        """How many numbers of each feature precede its combinations."""
        return int(self._periodic if self.concatenate is None else self.concatenate)

    @property
    def _sizes(self):
        """Numbers that are combined, and combinations, of each feature."""
        inputs = self.frequencies if self._periodic else self.bins
        return inputs, self.units or (3 if self._periodic else 16)

    def output_shape(self, shape):
        features = vector(self, shape)
        if not self._periodic and self.edges is not None and len(self.edges) != features:
            raise ValueError(
                f"{self} got an input of {describe(shape)}; edges of NumericEmbedding are those of "
                f"{len(self.edges)} features."
            )
        most = features * max(self._sizes)
        if most > MOST:
            raise ValueError(
                f"{self} gives {most} numbers per sample on the way; expected at most {MOST}."
            )
        return (features * (self._before + self._sizes[1]),)

    def operations(self, shape):
        inputs, units = self._sizes
        return size(shape) * inputs * (1 + units)

    def parameters(self, shape):
        features, (inputs, units) = size(shape), self._sizes
        how = {"trainable": self.trainable, "rate": self.rate}
        if self._periodic:
            numbers = features * inputs
            first = [
                Parameter(name, (numbers,), tiled=False, penalized=name == "frequencies", **how)
                for name in _WAVES
            ]
        else:
            edges = (features * (inputs + 1),)
            first = [Parameter("edges", edges, trainable=False, tiled=False)]
        return (
            *first,
            Parameter("kernel", (features, inputs, units), penalized=True, **how),
            Parameter("bias", (features * units,), tiled=False, **how),
        )

    def draw(self, shape, random_state, initializer, last=False):
        features, (inputs, units) = size(shape), self._sizes
        if self._periodic:
            first = [
                random_state.normal(0.0, self.sigma, features * inputs),
                random_state.uniform(-np.pi, np.pi, features * inputs),
            ]
        else:
            edges = self.edges
            if edges is None:
                edges = np.tile(np.linspace(-3.0, 3.0, inputs + 1), (features, 1))
            first = [edges.ravel()]
        bound = 1.0 / np.sqrt(inputs)
        return [
            *first,
            random_state.uniform(-bound, bound, (features, inputs, units)),
            random_state.uniform(-bound, bound, features * units),
        ]

    def forward(self, tape, x, shape, parameters, training):
        features, (inputs, units) = size(shape), self._sizes
        before = self._before
        total = before + units
        if training or before:
            tape.keep(x)
        add = _add_periodic if self._periodic else _add_piecewise_linear
        a, inner_back = add(tape, x, features, inputs, parameters)
        w, b = next(parameters), next(parameters)
        z, back = add_grouped_dense(tape, a, (features, inputs, units), w, b, training)
        if before:
            y = tape.buffer("joined", features * total)
            own, others = (features, 1, total, 0), (features, units, total, 1)
            tape.add("insert_channels", (x,), (y,), own)
            tape.add("insert_channels", (z,), (y,), others)
        else:
            y = z

        def backward(dy, needed):
            dz = dy
            if before:
                dz = tape.buffer("dz", features * units)
                tape.add("extract_channels", (dy,), (dz,), others)
            inner = needed or (self._periodic and w.trainable)
            da = back(dz, inner)
            dx = inner_back(da, needed) if inner else None
            if needed and before:
                direct = tape.buffer("direct", features)
                tape.add("extract_channels", (dy,), (direct,), own)
                tape.add("add", (dx, direct), (dx,), (features * tape.width,), (False,))
            return dx

        return y, backward


_WAVES = "frequencies", "phases"


def _add_periodic(tape, x, features, many, parameters):
    """Put cosines of waves of each feature on a tape; return them and the backward function."""
    w, b = next(parameters), next(parameters)
    y = tape.buffer("waves", features * many)
    numbers = (features, many)
    tape.add("periodic", (x, w, b), (y,), numbers)

    def backward(dy, needed):
        slopes, products = (tape.buffer(name, y.rows) for name in ("slopes", "products"))
        dx = tape.buffer("dx", features)
        tape.add("periodic_gradient", (x, w, b, dy), (dx, slopes, products), numbers)
        if w.trainable:
            add_bias_gradient(tape, w, products, 1, y.rows, None)
            add_bias_gradient(tape, b, slopes, 1, y.rows, None)
        return dx

    return y, backward


def _add_piecewise_linear(tape, x, features, bins, parameters):
    """Put how far each feature is in its bins on a tape; return as :func:`_add_periodic` does."""
    edges, numbers = next(parameters), (features, bins)
    y = tape.buffer("bins", features * bins)
    tape.add("piecewise_linear", (x, edges), (y,), numbers)

    def backward(dy, needed):
        dx = tape.buffer("dx", features)
        tape.add("piecewise_linear_gradient", (x, edges, dy), (dx,), numbers)
        return dx

    return y, backward


@dataclass(frozen=True, repr=False)
class CategoryEmbedding(Layer):
    """An embedding of categories: each column of a table, of categories, becomes a vector.

    The categories of all columns have numbers of their own: those of the first column are numbered
    from 0 on, those of each following column from where the one before it ends. The vectors of the
    columns are concatenated.

    Parameters
    ----------
    counts : sequence of int
        Number of categories of each column.
    units : int, default=8
        Dimension of the vectors.
    kernel_initializer : str or None, default=None
        Initializer of the vectors; None: uniform in [-0.05, 0.05].
    kernel_l1, kernel_l2 : float or None, default=None
        L1 and L2 penalties on the vectors, instead of the estimator's `l1` and `alpha`.
    rate : float, default=1.0
        Factor of the learning rate.
    trainable : bool, default=True
        Whether to train the vectors; False freezes them.
    name : str or None, default=None
        Name of the layer, which its weights have in files.
    """

    counts: Sequence[int]
    units: int = 8
    _: KW_ONLY
    kernel_initializer: str | None = None
    kernel_l1: float | None = None
    kernel_l2: float | None = None
    rate: float = 1.0
    trainable: bool = True
    name: str | None = None

    reads_tokens = True

    def __post_init__(self):
        super().__post_init__()
        counts, words = self.counts, f"a list of int, each of at least 1, at most {MOST} in all"
        if isinstance(counts, np.ndarray):
            counts = counts.tolist()
        if not isinstance(counts, (tuple, list)) or not all(
            isinstance(n, Integral) and not isinstance(n, bool) for n in counts
        ):
            fail(self, "counts", words, TypeError)
        if not counts or min(counts) < 1 or sum(counts) > MOST:
            fail(self, "counts", words)
        object.__setattr__(self, "counts", tuple(map(int, counts)))

    def output_shape(self, shape):
        if tokens(self, shape) != len(self.counts):
            raise ValueError(
                f"{self} got an input of {describe(shape)}; needs {len(self.counts)}, a column for "
                "each of its counts."
            )
        return (len(self.counts) * self.units,)

    def parameters(self, shape):
        penalties = {"penalized": True, "l1": self.kernel_l1, "l2": self.kernel_l2}
        how = {"trainable": self.trainable, "rate": self.rate, **penalties}
        return (Parameter("kernel", (sum(self.counts), self.units), **how),)

    def draw(self, shape, random_state, initializer, last=False):
        sizes = sum(self.counts), self.units
        name = self.kernel_initializer or "uniform"
        return [INITIALIZERS[name](random_state, sizes, *sizes)]

    def forward(self, tape, x, shape, parameters, training):
        w, many = next(parameters), len(self.counts)
        ends = np.cumsum(self.counts).tolist()
        tape.tokens.append((x, [range(end - n, end) for n, end in zip(self.counts, ends)]))
        return add_lookup(tape, x, many, sum(self.counts), self.units, w, None, training)
