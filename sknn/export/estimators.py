"""What each estimator's graph reads and returns: its inputs, and its methods as outputs."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..autoencoders.base import Autoencoder
from ..autoencoders.outliers import ReconstructionOutlierDetector
from ..autoencoders.sequence import SequenceAutoencoderTransformer
from ..autoencoders.variational import VariationalAutoencoderTransformer
from ..estimator.methods import _Predicts
from ..estimator.wrapping import thawed
from ..feedforward.perceptron import PerceptronClassifier
from ..images.inputs import TakesImages
from ..images.transformer import ConvNetTransformer
from ..layers import RadialBasis
from ..layers.base import describe, size
from ..radial.rbf import LeastSquares
from ..sequences.inputs import TakesSequences
from ..tabular.net import _BaseTabularNet
from ..text.char_rnn import CharRNN
from ..text.seq2seq import Seq2SeqRNN
from . import tables
from .graph import Graph, Value
from .layers import Export
from .text import next_character, state, translation


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a graph.

    Attributes
    ----------
    name : str
    dtype : dtype
        Of objects: str.
    shape : tuple of int or None
        None where any number is possible.
    """

    name: str
    dtype: np.dtype
    shape: tuple


def build(estimator, method, inputs, unique):
    """Return the graph of a fitted estimator's method, and its outputs.

    Parameters
    ----------
    estimator : estimator
    method : str or None
        One of :func:`methods_of`; None: the first of them.
    inputs : list of Tensor
        X, and the lengths of the sequences if there is a second one.
    unique : callable
        ``unique(prefix)`` returns a new name.

    Returns
    -------
    graph : Graph
    outputs : list of (str, Tensor)
        The names in the graph, and what to call them.
    """
    methods = methods_of(estimator)
    check_is_fitted(estimator)
    if method is None:
        method = next(iter(methods))
    if method not in methods:
        raise ValueError(f"method is {method!r}; expected one of {list(methods)}.")
    to = _Target(estimator, inputs, unique)
    return to.graph, [
        (to.finished(name, dtype), Tensor(title, dtype, tuple(shape)))
        for title, name, dtype, shape in methods[method](to)
    ]


def methods_of(estimator):
    """Return the methods that a graph can have, by name; the first is the default."""
    for kind, methods in _METHODS.items():
        if isinstance(estimator, kind):
            return methods
    raise TypeError(
        f"estimator is {estimator!r}, which is not a network; expected a fitted network of sknn, "
        "or a scikit-learn estimator that ends with one, such as a Pipeline."
    )


def held(estimator):
    """Return the estimator whose X another one reads: that which it wraps, or itself."""
    if isinstance(estimator, ReconstructionOutlierDetector):
        return thawed(estimator.autoencoder_)
    return estimator.net_ if isinstance(estimator, ConvNetTransformer) else estimator


def weights_of(estimator):
    """Return the fitted weights of an estimator."""
    if isinstance(estimator, PerceptronClassifier):
        return None
    if isinstance(estimator, ConvNetTransformer):
        return estimator._weights
    return held(estimator)._held_weights()


def dtype_of(estimator):
    """Return the floating-point type of an estimator's weights."""
    weights = weights_of(estimator)
    return np.asarray(estimator.coef_).dtype if weights is None else weights.dtype


def input_of(estimator, method=None):
    """Return the X that an estimator reads, as far as it is known."""
    net, floats = held(estimator), dtype_of(estimator)
    if method == "inverse_transform":
        return Tensor("X", floats, (None, net._n_features_out))
    if isinstance(net, (CharRNN, Seq2SeqRNN)):
        return Tensor("X", np.dtype(np.int64), (None, None))
    if isinstance(net, TakesSequences):
        features = net._step_features
        if features is None:
            return Tensor("X", np.dtype(np.int64), (None, None))
        return Tensor("X", floats, (None, None) + (features,) * (features > 1))
    if isinstance(net, TakesImages):
        return Tensor("X", floats, (None, *net._given_shape))
    if isinstance(net, _BaseTabularNet):
        floats = tables.dtype_for(net._encoder, floats)
    return Tensor("X", floats, (None, net.n_features_in_))


class _Target:
    """The graph of an estimator, as it is built.

    Attributes
    ----------
    graph : Graph
    net : estimator
        The one that reads X.
    dtype : dtype
        Floating-point type of the outputs: that of X; for integers, that of the weights.
    time, live
        As in :class:`Export`.
    steps, lengths : str
        With `live`: the numbers of the steps, and a column of the sequences' lengths.
    """

    def __init__(self, estimator, inputs, unique):
        self.estimator, self.net, self.inputs = estimator, held(estimator), inputs
        given, weights = inputs[0].dtype, weights_of(estimator)
        floats = given.kind == "f" and given.itemsize >= 4
        self.dtype = given if floats else dtype_of(estimator)
        solved = weights is not None and isinstance(weights.network.layers[0], RadialBasis)
        # weights solved by least squares may cancel each other: they need the precision they have
        precise = np.result_type(self.dtype, weights.dtype) if solved else self.dtype
        self.graph = Graph(precise, unique)
        self.time = self.live = None

    def finished(self, name, dtype):
        """Return an output in its type."""
        changes = np.dtype(dtype).kind == "f" and self.graph.dtype != dtype
        return self.graph.cast(name, dtype) if changes else name

    # --- what is read

    def floats(self):
        """Return X as floats of the computation."""
        x = self.inputs[0]
        return x.name if x.dtype == self.graph.dtype else self.graph.cast(x.name, self.graph.dtype)

    def read(self):
        """Return X as the network reads it."""
        if isinstance(self.net, (TakesSequences, CharRNN, Seq2SeqRNN)):
            return self._sequences()
        if len(self.inputs) > 1:
            raise ValueError(
                f"lengths are for sequences; {type(self.estimator).__name__} reads none."
            )
        wanted = self.net.image_shape_ if isinstance(self.net, TakesImages) else ()
        shape = self.inputs[0].shape[1:]
        n = size(wanted) if wanted else self.net.n_features_in_
        if None not in shape and size(shape) != n:
            raise ValueError(
                f"X has {describe(shape)}; {type(self.estimator).__name__} was fitted to "
                f"{describe(wanted or (n,))}."
            )
        if isinstance(self.net, _BaseTabularNet):
            return tables.encoded(self, self.net._encoder)
        # of one feature: onnxruntime would merge a scaler's division into the first product, as a
        # float32 number, were there nothing between them
        wanted = wanted or (n,)
        if n > 1 and shape == wanted:
            return Value(self.floats(), wanted)
        return Value(self.graph.op("Reshape", self.floats(), [0, *wanted]), wanted)

    def _sequences(self):
        """Return sequences, and find where they end."""
        g, x = self.graph, self.inputs[0]
        self.time = g.size(x.name, 1)
        features = getattr(self.net, "_step_features", None)
        tokens = features is None
        if tokens and len(x.shape) != 2:
            raise ValueError(f"X has {len(x.shape)} dimensions; expected (n, time) of tokens.")
        if not tokens:
            self._check_features(x.shape, features)
        ends, name = self._ends(), g.cast(x.name, np.int64) if tokens else self.floats()
        if ends is not None:
            self.steps = g.op("Range", 0, g.op("Squeeze", self.time, [0]), 1)
            self.lengths = g.op("Unsqueeze", ends, [1])
            real = g.op("Less", self.steps, self.lengths)
            self.live = g.op("Unsqueeze", real, [2])
            name = g.op("Where", real, name, 0) if tokens else name
        if tokens:
            return Value(name, (1,))
        name = name if len(x.shape) == 3 else g.op("Unsqueeze", name, [2])
        return Value(name, (1, features))

    def _check_features(self, shape, features):
        given = shape[2] if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or given not in (None, features):
            raise ValueError(
                f"X has the shape {shape}; expected (n, time, features) with {features} features."
            )

    def _ends(self):
        """Return the lengths of the sequences, a tensor of shape (n,); None: all are complete."""
        g, mask = self.graph, getattr(self.net, "mask_value", None)
        if len(self.inputs) > 1:
            return g.cast(self.inputs[1].name, np.int64)
        if mask is None:
            return None
        # trailing steps whose features all equal the mask are padding
        x = self.floats()
        equal = g.op("IsNaN", x) if np.isnan(mask) else g.op("Equal", x, float(mask))
        real = g.cast(g.op("Not", equal), np.int64)
        if len(self.inputs[0].shape) == 3:
            real = g.op("Sign", g.op("ReduceSum", real, [2], keepdims=0))
        places = g.op("Range", 1, g.op("Add", g.op("Squeeze", self.time, [0]), 1), 1)
        last, _ = g.op("TopK", g.op("Mul", real, places), [1], outputs=2, axis=1)
        return g.op("Squeeze", last, [1])

    # --- networks

    def export(self, weights):
        """Return an export of a network with these weights."""
        return Export(self.graph, weights.values, self.time, self.live)

    def outputs(self, weights, x):
        """Return a network's outputs."""
        network, export = weights.network, self.export(weights)
        return export.plain(export.run((*network.augmentation, *network.layers), x))

    def as_before(self, name):
        """Return outputs by step, where padded steps repeat the last one."""
        if self.live is None:
            return name
        g = self.graph
        last = g.op("Min", self.steps, g.op("Sub", self.lengths, 1))
        return g.op("GatherND", name, g.op("Unsqueeze", last, [2]), batch_dims=1)


# --- methods: each yields the outputs' titles, names, types and shapes


def _answer(to):
    """Return what `predict` does: labels and probabilities, or numbers."""
    net, x = to.net, to.read()
    table = isinstance(net, _BaseTabularNet)
    y = tables.predicted(to, net, x) if table else to.outputs(weights_of(net), x)
    time = (None,) * (len(y.shape) - 1)
    name, n = to.as_before(y.name) if time else y.name, y.shape[-1]
    task = net._fitted_task()
    if not net._classifies:
        if n == 1 and time:
            return [("variable", to.graph.op("Squeeze", name, [2]), to.dtype, (None, *time))]
        if table:
            name = tables.unscaled(to, name)
        if getattr(task, "quantiles", None) is not None:
            name, _ = to.graph.op("TopK", name, [n], outputs=2, axis=-1, largest=0)
        return [("variable", name, to.dtype, (None, *time, n))]
    label, dtype, columns = _labels(to.graph, task, name, n, labels_of(net))
    shares = _probabilities(to.graph, task, name, n)
    return [
        ("label", label, dtype, (None, *time, *columns)),
        ("probabilities", shares, to.dtype, (None, *time, max(n, 2))),
    ]


def _labels(g, task, outputs, n, classes):
    """Return the labels for outputs, their type, and the shape of one."""
    if task.exclusive and n > 1:
        return *_named(g, g.op("ArgMax", outputs, axis=-1, keepdims=0), classes), ()
    above = g.cast(g.op("Greater", outputs, 0.5), np.int64)
    if n > 1:
        return above, np.dtype(np.int64), (n,)
    number = g.op("Squeeze", above, [-1])
    if len(classes) == 1:
        number = g.op("Mul", number, 0)
    return *_named(g, number, classes), ()


def _named(g, numbers, classes):
    """Return labels for class numbers, and their type."""
    return g.op("Gather", classes, numbers), classes.dtype


def labels_of(estimator):
    """Return the labels of a classifier as ONNX has them: int64, or objects that are str."""
    classes = np.asarray(estimator.classes_)
    if all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    whole = classes.dtype.kind in "fiub" and np.array_equal(classes, classes.astype(np.int64))
    if not whole:
        raise ValueError(f"classes_ is {classes}; ONNX has labels that are integers or str only.")
    return classes.astype(np.int64)


def _probabilities(g, task, outputs, n):
    """Return the probability of each class."""
    if isinstance(task, LeastSquares):
        least = float(np.finfo(g.dtype).eps)
        outputs = g.op("Clip", outputs, least, 1 - least)
        if n > 1 and task.exclusive:
            outputs = g.op("Div", outputs, g.op("ReduceSum", outputs, [-1], keepdims=1))
    if n == 1:
        return g.op("Concat", g.op("Sub", 1.0, outputs), outputs, axis=-1)
    return outputs


def _perceptron(to):
    """Return labels, and the weighted sums, as scikit-learn's converters do for its own."""
    net, g = to.net, to.graph
    coef, classes = np.asarray(net.coef_), labels_of(net)
    sums = g.op("Add", g.op("MatMul", to.read().name, coef.T), np.asarray(net.intercept_))
    if len(coef) == 1:
        fires = g.cast(g.op("GreaterOrEqual", g.op("Squeeze", sums, [-1]), 0.0), np.int64)
        sums = g.op("Concat", g.op("Neg", sums), sums, axis=-1)
    else:
        fires = g.op("ArgMax", sums, axis=-1, keepdims=0)
    label, dtype = _named(g, fires, classes)
    return [
        ("label", label, dtype, (None,)),
        ("probabilities", sums, to.dtype, (None, len(classes))),
    ]


def _features(to):
    """Return the activations of a layer."""
    y = to.outputs(to.estimator._weights, to.read())
    name = Export(to.graph, ()).flat(y).name
    return [("variable", name, to.dtype, (None, size(y.shape)))]


def _code(to):
    net = to.net
    if isinstance(net, VariationalAutoencoderTransformer) and net.codes == "sample":
        raise ValueError("codes='sample' draws at random; a graph has codes='mean' only.")
    y = to.outputs(net._encoder(), to.read())
    name = Export(to.graph, ()).flat(y).name
    return [("variable", name, to.dtype, (None, net._n_features_out))]


def _reconstructed(to):
    """Return what an autoencoder reads, and its outputs, both as the network has them."""
    x = to.read()
    return x, to.outputs(to.net._held_weights(), x)


def _reconstruction(to):
    x, y = _reconstructed(to)
    g, name, shape = to.graph, y.name, to.inputs[0].shape
    if isinstance(to.net, SequenceAutoencoderTransformer):
        if to.live is not None:
            padding = to.net.mask_value if len(to.inputs) < 2 else 0.0
            name = g.op("Where", to.live, name, float(padding))
        if len(shape) == 2:
            name = g.op("Squeeze", name, [2])
    else:
        name = g.op("Reshape", name, [0, *shape[1:]])
    return [("variable", name, to.dtype, shape)]


def _decoded(to):
    net, g = to.net, to.graph
    weights, codes = net._decoder(), Value(to.floats(), (net._n_features_out,))
    shape = getattr(net, "_given_shape", (net.n_features_in_,))
    if isinstance(net, SequenceAutoencoderTransformer):
        to.time = g.constant([net.n_steps_])
        shape = (net.n_steps_, net._step_features)[: 1 + (not net._plain)]
    start = weights.network.start_shape
    if start != codes.shape:
        codes = Value(g.op("Reshape", codes.name, [0, *start]), start)
    name = g.op("Reshape", to.outputs(weights, codes).name, [0, *shape])
    return [("variable", name, to.dtype, (None, *shape))]


def _errors(to):
    """Return the reconstruction errors of all values, zero beyond the end of a sequence."""
    (x, y), g = _reconstructed(to), to.graph
    x = Export(g, ()).flat(x) if len(y.shape) == 1 else x
    if to.net.loss == "squared_error":
        apart = g.op("Sub", y.name, x.name)
        errors = g.op("Mul", apart, apart)
    else:
        least = float(np.finfo(np.float32).eps)
        y, x = g.op("Clip", y.name, least, 1 - least), g.op("Clip", x.name, 0.0, 1.0)
        one = g.op("Mul", x, g.op("Log", y))
        other = g.op("Mul", g.op("Sub", 1.0, x), g.op("Log", g.op("Sub", 1.0, y)))
        errors = g.op("Neg", g.op("Add", one, other))
    if to.live is not None:
        errors = g.op("Where", to.live, errors, 0.0)
    return errors


def _minus_mean(to):
    """Return minus the mean reconstruction error of each sample, a column."""
    g, sequences = to.graph, isinstance(to.net, SequenceAutoencoderTransformer)
    errors = g.op("Flatten", _errors(to))
    total = g.op("ReduceSum", errors, [1], keepdims=1)
    if not sequences:
        return g.op("Div", total, -float(size(to.net._held_weights().network.start_shape)))
    steps = to.time if to.live is None else to.lengths
    return g.op("Div", total, g.op("Mul", g.cast(steps, g.dtype), -float(to.net._step_features)))


def _score_samples(to):
    return [("score_samples", _minus_mean(to), to.dtype, (None, 1))]


def _outliers(to):
    """Return labels and distances from the threshold, as scikit-learn's converters do."""
    g = to.graph
    distance = g.op("Sub", _minus_mean(to), float(to.estimator.offset_))
    label = g.op("Where", g.op("Less", distance, 0.0), -1, 1)
    return [
        ("label", label, np.dtype(np.int64), (None, 1)),
        ("scores", distance, to.dtype, (None, 1)),
    ]


#: The methods of each kind of estimator; the first is the default.
_METHODS = {
    PerceptronClassifier: {"predict": _perceptron},
    ReconstructionOutlierDetector: {"predict": _outliers, "score_samples": _score_samples},
    ConvNetTransformer: {"transform": _features},
    Autoencoder: {
        "transform": _code,
        "reconstruct": _reconstruction,
        "inverse_transform": _decoded,
        "score_samples": _score_samples,
    },
    CharRNN: {"predict_proba": next_character, "transform": state},
    Seq2SeqRNN: {"predict": translation},
    _Predicts: {"predict": _answer},
}
