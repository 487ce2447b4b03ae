"""The table of layers: how each is expressed in ONNX's operators.

All are operators of opset 13 that onnxruntime computes in float32 and in float64. Where it has no
float64, as for convolutions, they are products of matrices there.
"""

from dataclasses import replace

import numpy as np

from ..layers import (
    Activation,
    ActivityRegularization,
    AveragePooling2D,
    BatchNormalization,
    CategoryEmbedding,
    Concatenate,
    ContractivePenalty,
    Conv2D,
    Conv2DTranspose,
    Dense,
    EnsembleDense,
    Flatten,
    GaussianSampling,
    GlobalAveragePooling2D,
    GroupedDense,
    LocalResponseNormalization,
    MaxPooling2D,
    NumericEmbedding,
    ParametricActivation,
    RadialBasis,
    RepeatVector,
    Reshape,
    Residual,
    Scale,
    Select,
    Sequential,
    TiedDense,
    UpSampling2D,
)
from ..layers.activation import _Noise
from ..layers.augmentation import Augmentation
from ..layers.base import size
from .graph import Value

#: For each class of layers, a function that adds its nodes to a graph and returns its output.
TABLE = {}


def nodes_of(*classes):
    """Enter a function ``function(to, layer, x)`` in the table."""

    def enter(function):
        TABLE.update(dict.fromkeys(classes, function))
        return function

    return enter


class Export:
    """The export of a network's layers to a graph.

    Parameters
    ----------
    graph : Graph
    values : iterable of ndarray
        The network's parameters, in order.
    time : str or None
        A tensor of one number, of time steps, if inputs are sequences.
    live : str or None
        Which steps belong to the sequences, a tensor of shape (n, time, 1); None: all.
    """

    def __init__(self, graph, values, time=None, live=None):
        self.graph, self.values, self.time, self.live = graph, iter(values), time, live
        self.kernels = {}
        self._turned = {}

    @property
    def single(self):
        """Whether the computation is in float32."""
        return self.graph.dtype == np.float32

    def take(self, layer, shape):
        """Return the parameters of a layer, in float64, by name."""
        return {p.name: np.float64(next(self.values)) for p in layer.parameters(shape)}

    def run(self, layers, x):
        """Add layers, one after the other; return the output."""
        for layer in layers:
            for part in (layer, *layer.following()):
                x = self.add(part, x)
        return x

    def add(self, layer, x):
        """Add a layer; return its output."""
        kinds = [kind for kind in type(layer).__mro__ if kind in TABLE]
        if not kinds:
            raise TypeError(
                f"{layer} has no expression in ONNX; expected layers of sknn.layers: "
                f"{', '.join(sorted(kind.__name__.strip('_') for kind in TABLE))}."
            )
        return TABLE[kinds[0]](self, layer, x)

    def planar(self, x):
        """Return an image with its channels first."""
        return self._turn(x, True, [0, 3, 1, 2])

    def plain(self, x):
        """Return a value with its channels last, as the layers have it."""
        return self._turn(x, False, [0, 2, 3, 1])

    def _turn(self, x, planar, perm):
        if x.planar == planar:
            return x
        if x.name not in self._turned:
            name = self.graph.op("Transpose", x.name, perm=perm)
            self._turned[x.name], self._turned[name] = name, x.name
        return Value(self._turned[x.name], x.shape, planar)

    def flat(self, x):
        """Return a value as vectors."""
        if len(x.shape) == 1:
            return x
        return Value(self.graph.op("Flatten", self.plain(x).name), (size(x.shape),))

    def product(self, x, kernel, bias):
        """Return a value times a matrix, plus a bias if there is one."""
        z = self.graph.op("MatMul", x.name, kernel)
        z = z if bias is None else self.graph.op("Add", z, bias)
        return Value(z, (*x.shape[:-1], kernel.shape[-1]))


# --- elementwise


def _leaky_relu(g, x, p):
    # as an attribute of LeakyRelu, p would be float32
    return g.op("Add", g.op("Max", x, 0.0), g.op("Mul", g.op("Min", x, 0.0), p))


def _elu(g, x, p):
    below = g.op("Sub", g.op("Exp", g.op("Min", x, 0.0)), 1.0)
    return g.op("Add", g.op("Max", x, 0.0), g.op("Mul", below, p))


# of SELU (Klambauer et al., 2017), after which numbers of mean 0 and variance 1 remain so
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _selu(g, x, p):
    # a factor at the end is one that onnxruntime rounds to float32, in the product that follows
    below = g.op("Sub", g.op("Exp", g.op("Min", x, 0.0)), 1.0)
    above = g.op("Mul", g.op("Max", x, 0.0), SELU_SCALE)
    return g.op("Add", above, g.op("Mul", below, SELU_ALPHA * SELU_SCALE))


def _softplus(g, x, p):
    if g.dtype == np.float32:
        return g.op("Softplus", x)
    rest = g.op("Log", g.op("Add", g.op("Exp", g.op("Neg", g.op("Abs", x))), 1.0))
    return g.op("Add", g.op("Max", x, 0.0), rest)


def _gelu(g, x, p):
    cubic = g.op("Mul", g.op("Mul", g.op("Mul", x, x), x), 0.044715)
    inner = g.op("Mul", g.op("Add", x, cubic), np.sqrt(2 / np.pi))
    return g.op("Mul", g.op("Mul", x, 0.5), g.op("Add", g.op("Tanh", inner), 1.0))


#: The activations, as functions of a graph, a name and the parameter.
ACTIVATIONS = {
    "identity": lambda g, x, p: x,
    "logistic": lambda g, x, p: g.op("Sigmoid", x),
    "tanh": lambda g, x, p: g.op("Tanh", x),
    "relu": lambda g, x, p: g.op("Relu", x),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda g, x, p: g.op("Mul", x, g.op("Sigmoid", x)),
    "mish": lambda g, x, p: g.op("Mul", x, g.op("Tanh", _softplus(g, x, p))),
    "softplus": _softplus,
    "exp": lambda g, x, p: g.op("Exp", x),
    "softmax": lambda g, x, p: g.op("Softmax", x, axis=-1),
    "step": lambda g, x, p: g.cast(g.op("GreaterOrEqual", x, 0.0), g.dtype),
}


@nodes_of(Activation)
def _activation(to, layer, x):
    return replace(x, name=ACTIVATIONS[layer.function](to.graph, x.name, layer.number))


@nodes_of(ParametricActivation)
def _parametric(to, layer, x):
    slope, g = to.take(layer, x.shape)["slope"], to.graph
    change = g.op("Sub", ACTIVATIONS[layer.function](g, x.name, layer.number), x.name)
    return replace(x, name=g.op("Add", x.name, g.op("Mul", change, slope)))


@nodes_of(Scale)
def _scale(to, layer, x):
    name = to.graph.op("Mul", x.name, to.take(layer, x.shape)["scale"])
    if x.shape == (1,):  # a single factor would be merged into a product, as a float32 number
        name = to.graph.op("Reshape", name, [0, 1])
    return replace(x, name=name)


@nodes_of(_Noise, ActivityRegularization, ContractivePenalty)
def _only_in_training(to, layer, x):
    return x


@nodes_of(GaussianSampling)
def _means(to, layer, x):
    units = x.shape[0] // 2
    return Value(to.graph.op("Slice", x.name, [0], [units], [1]), (units,))


@nodes_of(Augmentation)
def _augmentation(to, layer, x):
    shape = layer.output_shape(x.shape)
    if shape == x.shape:
        return x
    top, _, left, *_ = layer._still(x.shape)
    first = np.array([top, left])
    return Value(to.graph.op("Slice", to.plain(x).name, first, first + shape[:2], [1, 2]), shape)


@nodes_of(BatchNormalization)
def _batch_normalization(to, layer, x):
    own, g = to.take(layer, x.shape), to.graph
    variance = own["variance"] + layer.epsilon  # as an attribute it would be float32
    if len(x.shape) == 3:
        x = to.planar(x)
        numbers = own["gamma"], own["beta"], own["mean"], variance
        return replace(x, name=g.op("BatchNormalization", x.name, *numbers, epsilon=0.0))
    scaled = g.op("Mul", g.op("Sub", x.name, own["mean"]), own["gamma"] / np.sqrt(variance))
    return replace(x, name=g.op("Add", scaled, own["beta"]))


@nodes_of(LocalResponseNormalization)
def _local_response(to, layer, x):
    x, g, n = to.plain(x), to.graph, x.shape[2]
    apart = np.arange(n)[:, None] - np.arange(n)
    near = (apart >= -(layer.size // 2)) & (apart <= (layer.size - 1) // 2)
    energy = g.op("MatMul", g.op("Mul", x.name, x.name), near * (layer.alpha / layer.size))
    scale = g.op("Pow", g.op("Add", energy, layer.k), -layer.beta)
    return replace(x, name=g.op("Mul", x.name, scale))


# --- shapes, and layers of layers


@nodes_of(Flatten)
def _flatten(to, layer, x):
    return to.flat(x)


@nodes_of(Reshape)
def _reshape(to, layer, x):
    return Value(to.graph.op("Reshape", to.plain(x).name, [0, *layer.shape]), layer.shape)


@nodes_of(Select)
def _select(to, layer, x):
    name = to.graph.op("Slice", x.name, [layer.start], [layer.stop], [1])
    return Value(name, layer.output_shape(x.shape))


@nodes_of(RepeatVector)
def _repeat(to, layer, x):
    g, shape = to.graph, layer.output_shape(x.shape)
    # where inputs are sequences, it repeats as often as they have steps
    times = [layer.steps] if to.time is None else to.time
    sizes = g.op("Concat", [1], times, [1], axis=0)
    return Value(g.op("Expand", g.op("Unsqueeze", x.name, [1]), sizes), shape)


@nodes_of(Sequential)
def _sequential(to, layer, x):
    return to.run(layer.layers, x)


@nodes_of(Residual)
def _residual(to, layer, x):
    a, b = to.run(layer.block, x), to.run(layer.shortcut, x)
    b = to.planar(b) if a.planar else to.plain(b)
    return replace(a, name=to.graph.op("Add", a.name, b.name))


@nodes_of(Concatenate)
def _concatenate(to, layer, x):
    found = [to.run(branch, x) for branch in layer.branches]
    planar = found[0].planar
    found = [to.planar(one) if planar else to.plain(one) for one in found]
    name = to.graph.op("Concat", *(one.name for one in found), axis=1 if planar else -1)
    return Value(name, layer.output_shape(x.shape), planar)


# --- products with matrices


@nodes_of(Dense)
def _dense(to, layer, x):
    own = to.take(layer, x.shape)
    to.kernels[layer.name] = own["kernel"]
    return to.product(x if len(x.shape) == 2 else to.flat(x), own["kernel"], own.get("bias"))


@nodes_of(TiedDense)
def _tied(to, layer, x):
    return to.product(to.flat(x), to.kernels[layer.of].T, to.take(layer, x.shape).get("bias"))


@nodes_of(EnsembleDense)
def _ensemble(to, layer, x):
    g, x = to.graph, to.flat(x)
    own = to.take(layer, x.shape)
    kernel = own.pop("kernel")
    if layer.members > 1:  # a leading axis from here on: (members, n, units)
        own = {name: vectors[:, None] for name, vectors in own.items()}
    else:
        own = {name: vectors[0] for name, vectors in own.items()}
        kernel = kernel.reshape(kernel.shape[-2:])
    name = g.op("Mul", x.name, own["inputs_scale"]) if "inputs_scale" in own else x.name
    name = g.op("MatMul", name, kernel)
    if "outputs_scale" in own:
        name = g.op("Mul", name, own["outputs_scale"])
    if "bias" in own:
        name = g.op("Add", name, own["bias"])
    return Value(name, (layer.units,))


@nodes_of(GroupedDense)
def _grouped(to, layer, x):
    own, g = to.take(layer, x.shape), to.graph
    groups, inputs, _ = own["kernel"].shape
    parts = g.op("Reshape", x.name, [0, groups, inputs])
    return _of_groups(to, layer, x, parts, own["kernel"], own.get("bias"))


def _of_groups(to, layer, x, parts, kernel, bias, before=()):
    """Return (n, groups, inputs) times the matrix of each group, behind tensors like it, if any."""
    g, (groups, _, units) = to.graph, kernel.shape
    z = g.op("Squeeze", g.op("MatMul", g.op("Unsqueeze", parts, [2]), kernel), [2])
    z = z if bias is None else g.op("Add", z, bias.reshape(groups, units))
    z = g.op("Concat", *before, z, axis=2) if before else z
    (total,) = shape = layer.output_shape(x.shape)
    return Value(g.op("Reshape", z, [0, total]), shape)


@nodes_of(NumericEmbedding)
def _numbers(to, layer, x):
    own, g = to.take(layer, x.shape), to.graph
    features, inputs, _ = own["kernel"].shape
    numbers = g.op("Unsqueeze", x.name, [2])
    if layer.kind == "periodic":
        slopes, phases = (own[k].reshape(features, inputs) for k in ("frequencies", "phases"))
        parts = g.op("Cos", g.op("Add", g.op("Mul", numbers, 2 * np.pi * slopes), phases))
    else:
        edges = own["edges"].reshape(features, inputs + 1)
        widths = np.diff(edges)
        inverses = np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)
        low, high = np.zeros(inputs), np.ones(inputs)
        low[0], high[-1] = -np.inf, np.inf
        parts = g.op("Mul", g.op("Sub", numbers, edges[:, :-1]), inverses)
        parts = g.op("Min", g.op("Max", parts, low), high)
    before = [numbers] * layer._before
    return _of_groups(to, layer, x, parts, own["kernel"], own["bias"], before)


@nodes_of(CategoryEmbedding)
def _categories(to, layer, x):
    kernel, shape = to.take(layer, x.shape)["kernel"], layer.output_shape(x.shape)
    vectors = to.graph.op("Gather", kernel, to.graph.cast(x.name, np.int64))
    return Value(to.graph.op("Reshape", vectors, [0, *shape]), shape)


@nodes_of(RadialBasis)
def _radial(to, layer, x):
    own, g = to.take(layer, x.shape), to.graph
    # differences, since |x|^2 - 2 x c + |c|^2 would lose digits where distances are small
    apart = g.op("Sub", g.op("Unsqueeze", to.flat(x).name, [1]), own["centers"].T)
    squares = g.op("ReduceSum", g.op("Mul", apart, apart), [2], keepdims=0)
    u = g.op("Mul", squares, own["widths"] ** -2)
    return Value(_RADIAL[layer.function](g, u), layer.output_shape(x.shape))


def _thin_plate(g, u):
    tiny = np.finfo(g.dtype).tiny  # 0 log(tiny) is zero
    return g.op("Mul", g.op("Mul", u, 0.5), g.op("Log", g.op("Max", u, tiny)))


_RADIAL = {
    "gaussian": lambda g, u: g.op("Exp", g.op("Mul", u, -0.5)),
    "multiquadric": lambda g, u: g.op("Sqrt", g.op("Add", u, 1.0)),
    "inverse_multiquadric": lambda g, u: g.op("Reciprocal", g.op("Sqrt", g.op("Add", u, 1.0))),
    "thin_plate": _thin_plate,
}


# --- windows that slide over an image


@nodes_of(Conv2D)
def _convolution(to, layer, x):
    own, (outs, numbers) = to.take(layer, x.shape), layer._geometry(x.shape)
    kernel, bias = own["kernel"], own.get("bias")
    *_, top, left, _, _, groups, _, _ = numbers
    sides = [
        _Side(x.shape[i], outs[i], layer.kernel_size[i], layer.strides[i], start, step)
        for i, (start, step) in enumerate(zip((top, left), layer.dilation_rate))
    ]
    shape = (*outs, layer.filters)
    if not to.single:
        seen = _windows(to, x, [side.seen for side in sides])
        return _products(to, seen, kernel, bias, groups, shape)
    given = [kernel.transpose(3, 2, 0, 1), *([] if bias is None else [bias])]
    name = to.graph.op(
        "Conv", to.planar(x).name, *given, strides=layer.strides, pads=_pads(sides),
        dilations=layer.dilation_rate, group=groups,
    )  # fmt: skip
    return Value(name, shape, True)


@nodes_of(Conv2DTranspose)
def _transposed(to, layer, x):
    own, (outs, numbers) = to.take(layer, x.shape), layer._geometry(x.shape)
    kernel, bias = own["kernel"], own.get("bias")
    sides = [  # of the convolution that it transposes
        _Side(outs[i], x.shape[i], layer.kernel_size[i], layer.strides[i], start, step)
        for i, (start, step) in enumerate(zip(numbers[8:10], layer.dilation_rate))
    ]
    shape = (*outs, layer.filters)
    if not to.single:
        seen = _windows(to, x, [side.seen_by for side in sides])
        return _products(to, seen, kernel.swapaxes(2, 3), bias, 1, shape)
    given = [kernel.transpose(3, 2, 0, 1), *([] if bias is None else [bias])]
    name = to.graph.op(
        "ConvTranspose", to.planar(x).name, *given, strides=layer.strides, pads=_pads(sides),
        dilations=layer.dilation_rate, output_padding=[side.unseen for side in sides],
    )  # fmt: skip
    return Value(name, shape, True)


@nodes_of(MaxPooling2D)
def _max_pooling(to, layer, x):
    return _pool(to, layer, x, "MaxPool")


@nodes_of(AveragePooling2D)
def _average_pooling(to, layer, x):
    if to.single:
        return _pool(to, layer, x, "AveragePool", count_include_pad=0)
    sides = _sides_of_pool(layer, x.shape)
    shares = [np.array([side.share(i) for i in range(side.out)]) for side in sides]
    return _along_both(to, x, *shares)


@nodes_of(GlobalAveragePooling2D)
def _global_pooling(to, layer, x):
    # a product, since onnxruntime makes a division next to a product one by a float32 number
    n, channels = size(x.shape[:2]), x.shape[2]
    planes = to.graph.op("Reshape", to.planar(x).name, [0, channels, n])
    return Value(to.graph.op("MatMul", planes, np.full(n, 1 / n)), (channels,))


@nodes_of(UpSampling2D)
def _upsampling(to, layer, x):
    extents = zip(x.shape[:2], layer.size)
    if layer.interpolation == "bilinear":
        return _along_both(to, x, *(_between(*extent) for extent in extents))
    name = x.name
    for axis, (n, factor) in enumerate(extents, 2 if x.planar else 1):
        name = to.graph.op("Gather", name, np.repeat(np.arange(n), factor), axis=axis)
    return Value(name, layer.output_shape(x.shape), x.planar)


class _Side:
    """How windows slide along the height or the width of an image.

    Parameters
    ----------
    n, out : int
        Number of pixels, and of windows.
    extent, stride, start, step : int
        Pixels in a window, the distance of windows, how many pixels before the image the first one
        begins, and the distance of pixels in a window.
    """

    def __init__(self, n, out, extent, stride, start, step=1):
        self.n, self.out, self.extent = n, out, extent
        self.stride, self.start, self.step = stride, start, step

    @property
    def _excess(self):
        """How many pixels the windows reach beyond the end of the image; negative: not so far."""
        span = (self.extent - 1) * self.step + 1
        return (self.out - 1) * self.stride + span - self.start - self.n

    @property
    def end(self):
        """The padding after the image."""
        return max(self._excess, 0)

    @property
    def unseen(self):
        """Number of pixels at the end that no window reaches."""
        return max(-self._excess, 0)

    @property
    def seen(self):
        """The pixels in each window, of shape (out, extent); n where there is none."""
        first = np.arange(self.out)[:, None] * self.stride - self.start
        places = first + np.arange(self.extent) * self.step
        return np.where((places < 0) | (places >= self.n), self.n, places)

    @property
    def seen_by(self):
        """For each pixel, and each place in a window: the window that has it there, or out."""
        found = np.full((self.n + 1, self.extent), self.out)
        found[self.seen, np.arange(self.extent)] = np.arange(self.out)[:, None]
        return found[: self.n]

    def share(self, i):
        """Return the share of each pixel in the mean of window `i`."""
        share = np.isin(np.arange(self.n), self.seen[i])
        return share / share.sum()


def _pads(sides):
    return [side.start for side in sides] + [side.end for side in sides]


def _sides_of_pool(layer, shape):
    outs, numbers = layer._geometry(shape)
    strides = layer.strides or layer.pool_size
    return [
        _Side(shape[i], outs[i], layer.pool_size[i], strides[i], numbers[7 + i]) for i in (0, 1)
    ]


def _pool(to, layer, x, kind, **settings):
    """Add an operator of ONNX for pooling."""
    sides = _sides_of_pool(layer, x.shape)
    name = to.graph.op(
        kind, to.planar(x).name, kernel_shape=layer.pool_size, pads=_pads(sides),
        strides=[side.stride for side in sides], **settings,
    )  # fmt: skip
    return Value(name, layer.output_shape(x.shape), True)


def _windows(to, x, places):
    """Return what windows see: (n, out height, out width, height, width, channels of a window).

    `places` are two arrays of indices, of shape (outputs, extent of a window), along height and
    width; an index past the end stands for a zero.
    """
    g, rest = to.graph, [int(some.max() >= n) for some, n in zip(places, x.shape)]
    name = g.op("Pad", to.plain(x).name, [0, 0, 0, 0, 0, *rest, 0], 0.0)
    name = g.op("Gather", g.op("Gather", name, places[0], axis=1), places[1], axis=3)
    return g.op("Transpose", name, perm=[0, 1, 3, 2, 4, 5])


def _products(to, seen, kernel, bias, groups, shape):
    """Return the sums of what windows see, times a kernel (height, width, inputs, filters)."""
    g, (taps, inputs, filters) = to.graph, (size(kernel.shape[:2]), *kernel.shape[2:])
    places, each = size(shape[:2]), filters // groups
    name = g.op("Reshape", seen, [0, places, taps, groups, inputs])
    name = g.op("Transpose", name, perm=[0, 3, 1, 2, 4])
    name = g.op("Reshape", name, [0, groups, places, taps * inputs])
    kernel = kernel.reshape(taps, inputs, groups, each).transpose(2, 0, 1, 3)
    name = g.op("MatMul", name, kernel.reshape(groups, taps * inputs, each))
    name = g.op("Reshape", g.op("Transpose", name, perm=[0, 2, 1, 3]), [0, *shape])
    return Value(name if bias is None else g.op("Add", name, bias), shape)


def _along_both(to, x, down, right):
    """Return an image whose height and width two matrices are applied to."""
    name = to.graph.op("MatMul", to.graph.op("MatMul", down, to.planar(x).name), right.T)
    return Value(name, (len(down), len(right), x.shape[2]), True)


def _between(n, factor):
    """Return the matrix of linear interpolation between n pixels, `factor` times as many."""
    place = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(n)), 0)
