"""Recurrent networks for sequences: one prediction a sequence, or one a step."""

from dataclasses import dataclass, replace
from inspect import cleandoc
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_y, check_is_fitted, validate_data

from .base import ParameterRow, takes
from .data import Source
from .layered import CELLS, LAYERED_TRAINING, LayeredNet, recurrent_layer
from .layers import Bidirectional, Dense, Dropout, Embedding
from .network import Network
from .supervised import (
    CLASSIFICATION_LOSS,
    REGRESSION_LOSS,
    TARGETS,
    TRAINED,
    ClassifierMethods,
    RegressorMethods,
    targets_source,
)
from .training import Data, predict

_COUNT = Interval(Integral, 1, None, closed="left")
#: Numbers of tokens that float32 holds exactly.
_MOST_TOKENS = 2**24

_LAYERS = {
    "cell": CELLS["cell"],
    "hidden_size": ParameterRow(
        100,
        [_COUNT, "array-like"],
        """hidden_size : int or array-like of int, default=100
        Units of the recurrent layer, or of each of several, one after the other.""",
    ),
    "bidirectional": ParameterRow(
        False,
        ["boolean"],
        """bidirectional : bool, default=False
        Whether each of them is two: one reads forward, one backward.""",
    ),
    "return_sequences": ParameterRow(
        False,
        ["boolean"],
        """return_sequences : bool, default=False
        Whether y has a target for each step, not one for each sequence.""",
    ),
    "embedding": ParameterRow(
        None,
        [_COUNT, StrOptions({"one-hot"}), "array-like", Embedding, None],
        """embedding : int, 'one-hot', array-like of shape (n_tokens, units), Embedding or None, \
default=None
        What a token stands for, where X has token numbers: a vector of that many numbers, which is
        trained; a one and zeros; these vectors, which stay as they are; or what an
        :class:`~sknn.layers.Embedding` says. The first two know the tokens up to the largest that
        is fitted.""",
    ),
    "dropout": ParameterRow(
        0.0,
        [Interval(Real, 0, 1, closed="left")],
        """dropout : float, default=0.0
        Probability that an output of a recurrent layer is dropped on its way to the next one, in
        training.""",
    ),
    "truncate": ParameterRow(
        None,
        [_COUNT, None],
        """truncate : int or None, default=None
        Steps after which backpropagation through time is cut, each time; None: nowhere.""",
    ),
    "activation": CELLS["activation"],
    "reset_after": CELLS["reset_after"],
    "mask_value": ParameterRow(
        None,
        [Real, None],
        """mask_value : float or None, default=None
        Steps at the end of a sequence of an array X in which all numbers are this one are no part
        of the sequence; NaN is possible.""",
    ),
}
_TRAINING = {
    **LAYERED_TRAINING,
    "clip_norm": replace(
        LAYERED_TRAINING["clip_norm"],
        default=1.0,
        doc="""clip_norm : float or None, default=1.0
        Limit of the norm of the whole gradient, for minibatches: through many steps it may explode.
        None: there is no limit.""",
    ),
}
_CLASSIFIER = {
    **_LAYERS,
    **_TRAINING,
    **CLASSIFICATION_LOSS,
    **{k: v for k, v in TARGETS.items() if k not in ("quantile", "huber_delta")},
}
_REGRESSOR = {
    **_LAYERS,
    **_TRAINING,
    **REGRESSION_LOSS,
    **{k: v for k, v in TARGETS.items() if k != "class_weight"},
}


# --- sequences


@dataclass(frozen=True)
class Sequences:
    """X as the engine reads it.

    Attributes
    ----------
    values : ndarray or sparse matrix of shape (n, time * features)
        A sequence a row, with something finite behind its end.
    time : int
        Steps of the longest.
    features : int or None
        Numbers of a step; None: it is a token.
    lengths : ndarray of int64, or None
        How many steps each has; None: all of them.
    listed : bool
        Whether they came as a list.
    """

    values: object
    time: int
    features: int | None
    lengths: np.ndarray | None = None
    listed: bool = False

    @property
    def shape(self):
        return self.values.shape

    @property
    def dtype(self):
        return self.values.dtype

    @property
    def inputs(self):
        """A sequence's shape, as networks take it."""
        return self.time if self.features is None else (self.time, self.features)

    @property
    def steps(self):
        """How many steps each has."""
        return np.full(self.shape[0], self.time) if self.lengths is None else self.lengths

    @property
    def mask(self):
        """Which steps belong to the sequences, an array of shape (n, time)."""
        return np.arange(self.time) < self.steps[:, None]


def _listed(X):
    """Return X as a list of arrays if it is a list of sequences; None if it is like an array.

    A list of lists that all have one length is like an array.
    """
    if sp.issparse(X) or getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__"):
        return None
    items = list(X)
    if any(isinstance(item, str) or not hasattr(item, "__len__") for item in items):
        return None
    arrays = hasattr(X, "ndim") or any(hasattr(item, "ndim") for item in items)
    if not arrays and len({len(item) for item in items}) < 2:
        return None
    return [np.asarray(item) for item in items]


def _check_kind(arrays, dimensions, name):
    """Check that arrays can be sequences of one kind."""
    first = arrays[0]
    if first.ndim not in dimensions:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"{name}[0] has {first.ndim} dimensions; expected {wanted}.")
    for i, array in enumerate(arrays):
        if array.ndim != first.ndim:
            raise ValueError(
                f"{name}[{i}] has {array.ndim} dimensions, but {name}[0] has {first.ndim}."
            )
        if array.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"{name}[{i}] has {array.shape[1]} numbers a step, but {name}[0] has "
                f"{first.shape[1]}."
            )
        if not array.size:
            raise ValueError(f"{name}[{i}] is empty; expected a sequence of at least one step.")


def _joined(arrays, tokens, estimator):
    """Return sequences as one array of shape (n, time, ...), padded with zeros, and lengths."""
    _check_kind(arrays, (1,) if tokens else (1, 2), "X")
    flat = np.concatenate(arrays)
    checked = check_array(flat.reshape(len(flat), -1), input_name="X", estimator=estimator)
    lengths = np.array([len(array) for array in arrays])
    values = _padded(checked.reshape(flat.shape), lengths, lengths.max())
    return values, lengths if lengths.min() < lengths.max() else None


def _padded(flat, lengths, time):
    """Return steps of sequences, one after the other, as (n, time, ...): zeros behind each."""
    padded = np.zeros((len(lengths), time, *flat.shape[1:]), flat.dtype)
    padded[np.arange(time) < lengths[:, None]] = flat
    return padded


def _without_padding(X, mask_value):
    """Return X, of shape (n, time, ...), with zeros behind each sequence, and the lengths."""
    unknown = np.isnan(mask_value)
    steps = X.reshape(*X.shape[:2], -1)
    real = ~(np.isnan(steps) if unknown else steps == float(mask_value)).all(axis=2)
    empty = np.flatnonzero(~real.any(axis=1))
    if len(empty):
        raise ValueError(
            f"X[{empty[0]}] is nothing but mask_value={mask_value}; expected a sequence of at "
            "least one step."
        )
    time = X.shape[1]
    lengths = time - real[:, ::-1].argmax(axis=1)
    if lengths.min() == time:
        return X, None
    padding = np.arange(time) >= lengths[:, None]
    if mask_value != 0:  # nothing large or unknown is left for the engine to multiply
        X = X.copy()
        X[padding] = 0
    return X, lengths


def _vectors(embedding):
    """Return given vectors of tokens as an array."""
    return check_array(embedding, dtype=[np.float64, np.float32], input_name="embedding")


def _as_tokens(X, n_tokens):
    """Return token numbers as integers, checked."""
    smallest, largest = X.min(), X.max()
    if largest >= _MOST_TOKENS:
        raise ValueError(
            f"X has the token {largest}; expected numbers below {_MOST_TOKENS} for an embedding."
        )
    if X.dtype.kind == "f" and (X != np.floor(X)).any():
        raise ValueError(f"X has the token {X[X != np.floor(X)][0]}; expected integers.")
    if smallest < 0:
        raise ValueError(f"X has the token {smallest}; expected numbers from 0 on.")
    if n_tokens is not None and largest >= n_tokens:
        raise ValueError(
            f"X has the token {largest}; the largest that the embedding knows is {n_tokens - 1}."
        )
    return X if X.dtype.kind in "iu" else X.astype(np.int64)


def _flat_targets(y, sequences):
    """Return the targets of all steps, one after the other."""
    parts = _listed(y)
    if parts is None and not sequences.listed:
        y = np.asarray(y)
        if y.ndim in (2, 3):
            check_consistent_length(sequences, y)
            if y.shape[1] != sequences.time:
                raise ValueError(
                    f"y has {y.shape[1]} steps, but X has {sequences.time}; with "
                    "return_sequences=True each step has a target."
                )
            return y[sequences.mask]
    parts = [np.asarray(part) for part in y] if parts is None else parts
    check_consistent_length(sequences, parts)
    _check_kind(parts, (1, 2), "y")
    for i, (part, length) in enumerate(zip(parts, sequences.steps, strict=True)):
        if len(part) != length:
            raise ValueError(f"y[{i}] has {len(part)} steps, but X[{i}] has {length}.")
    return np.concatenate(parts)


# --- the estimators


@dataclass
class _SequenceData(Data):
    """Sequences to learn from, or to validate with: these may have other numbers of steps."""

    inputs: object = None

    def evaluate(self, network, values, dtype, n_jobs, score):
        """Return the mean loss and ``score(outputs, self)`` for parameters."""
        return super().evaluate(_of_inputs(network, self.inputs), values, dtype, n_jobs, score)


def _of_inputs(network, inputs):
    """Return a network for sequences of another number of steps; its parameters are the same."""
    return network if network.inputs == inputs else replace(network, inputs=inputs)


class _BaseRNN(LayeredNet):
    """What the recurrent networks share: all but the constructor and the score."""

    # --- the data

    def _validate(self, X, y="no_validation", reset=False, **checks):
        """Return X as Sequences, and y where there is one, that of all steps in a row."""
        sequences = self._sequences(X, reset)
        if isinstance(y, str):
            return sequences
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        if not self.return_sequences:
            check_consistent_length(sequences, y)
            if len({part.shape for part in _listed(y) or ()}) > 1:
                raise ValueError("y has sequences; for these set return_sequences=True.")
        elif getattr(self, "class_weight", None) is not None:
            raise ValueError(
                "class_weight goes with one class a sequence; with return_sequences=True give "
                "sample_weight."
            )
        else:
            y = _flat_targets(y, sequences)
        return sequences, _check_y(y, estimator=self, **checks)

    def _sequences(self, X, reset):
        """Return X as Sequences, checked; if `reset`, remember of what kind they are."""
        tokens = self.embedding is not None
        if not reset and tokens != (self._step_features is None):
            raise ValueError(
                f"embedding is {self.embedding!r}, but the network was fitted "
                f"{'to numbers, without one' if tokens else 'to tokens, with one'}. Fit anew, with "
                "warm_start=False, to change it."
            )
        arrays = _listed(X)
        if arrays is not None:
            values, lengths = _joined(arrays, tokens, self)
        else:
            values, lengths = self._array_of_sequences(X, tokens, reset)
        n, time, *features = values.shape
        features = None if tokens else (*features, 1)[0]
        if reset:
            self._step_features = features
            columns = arrays is None and not tokens and values.ndim == 2
            self._columns = columns and self.mask_value is None  # else padding may be added
            if not self._columns:
                self.n_features_in_ = features or 1
                vars(self).pop("feature_names_in_", None)
        elif features != self._step_features:
            raise ValueError(
                f"X has {features} features a step, but {type(self).__name__} was fitted to "
                f"{self._step_features}."
            )
        if tokens:
            values = self._tokens(values, reset)
        if values.ndim == 3:
            values = values.reshape(n, -1)
        return Sequences(values, time, features, lengths, arrays is not None)

    def _array_of_sequences(self, X, tokens, reset):
        """Return an array X of shape (n, time) or (n, time, features), checked, and lengths."""
        X = X if hasattr(X, "ndim") else np.asarray(X)
        unknown = self.mask_value is not None and np.isnan(self.mask_value)
        checks = {"ensure_all_finite": "allow-nan" if unknown else True}
        if X.ndim > 2 + (not tokens):
            raise ValueError(
                f"X has {X.ndim} dimensions; expected 2, (n, time)"
                + (", of tokens." if tokens else ", or 3, (n, time, features).")
            )
        if X.ndim == 3:
            if not min(X.shape[1:]):
                raise ValueError(f"X has the shape {X.shape}: there is nothing in its sequences.")
            X = check_array(X, allow_nd=True, input_name="X", estimator=self, **checks)
        elif tokens or self.mask_value is not None or not (reset or self._columns):
            X = check_array(X, input_name="X", estimator=self, **checks)
        else:
            X = validate_data(self, X, reset=reset, accept_sparse=["csr", "csc"], **checks)
        if self.mask_value is None:
            return X, None
        X, lengths = _without_padding(X, self.mask_value)
        if unknown:
            check_array(X, allow_nd=True, input_name="X", estimator=self)
        return X, lengths

    def _tokens(self, values, reset):
        """Return token numbers as integers, checked; if `reset`, remember how many there are."""
        known = self._given_tokens() if reset else self.n_tokens_
        values = _as_tokens(values, known)
        if reset:
            self.n_tokens_ = int(values.max()) + 1 if known is None else known
        return values

    def _given_tokens(self):
        """Return the number of tokens that `embedding` knows; None: those that are fitted."""
        if isinstance(self.embedding, Embedding):
            return self.embedding.n_tokens
        if isinstance(self.embedding, (str, Integral)):
            return None
        return len(_vectors(self.embedding))

    def _input_shape(self, X):
        return X.inputs

    def _data(self, X, y, weights, loss):
        """Return what training reads, of Sequences and y."""
        y, steps = self._encode(y, loss), None
        if self.return_sequences:
            steps, y = X.steps, _padded(y, X.steps, X.time)
        lengths = None if X.lengths is None else X.lengths[:, None]
        return _SequenceData(
            Source(X.values), targets_source(y, loss), weights, np.arange(X.shape[0]), y, lengths,
            steps, X.inputs,
        )  # fmt: skip

    def _score_outputs(self, outputs, data):
        """Return the validation score of a network's outputs: over all steps where it has them."""
        if data.steps is None:
            return super()._score_outputs(outputs, data)
        steps, y = data.steps[data.rows], data.y
        real = np.arange(y.shape[1]) < steps[:, None]
        outputs = outputs.reshape(*y.shape[:2], -1)[real]
        weights = None if data.weights is None else np.repeat(data.weights[data.rows], steps)
        return self._score(outputs, y[real], weights)

    # --- the network

    def _make_network(self, inputs, n_outputs, out, loss):
        """Return the Network that the parameters describe."""
        layers = (*self._embedding(), *self._recurrent(), Dense(n_outputs), out)
        return Network(layers, inputs, loss)

    def _embedding(self):
        """Return the embedding as a layer, in a list; none where a lookup needs none."""
        given = self.embedding
        if given is None or isinstance(given, str):
            return []
        if isinstance(given, Embedding):
            return [given]
        if isinstance(given, Integral):
            return [Embedding(self.n_tokens_, int(given))]
        vectors = _vectors(given)
        return [Embedding(*vectors.shape, vectors=vectors, trainable=False)]

    def _recurrent(self):
        """Return the recurrent layers, with dropout between them."""
        sizes, layers = self._hidden_sizes(), []
        for i, size in enumerate(sizes):
            last = i == len(sizes) - 1
            looks_up = i == 0 and isinstance(self.embedding, str)
            layer = recurrent_layer(
                self,
                size,
                return_sequences=self.return_sequences or not last,
                truncate=self.truncate,
                n_tokens=self.n_tokens_ if looks_up else None,
            )
            layers.append(Bidirectional(layer) if self.bidirectional else layer)
            if self.dropout and not last:
                layers.append(Dropout(float(self.dropout), i))
        return layers

    def _hidden_sizes(self):
        sizes = self.hidden_size
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if not all(isinstance(size, Integral) for size in sizes):
            raise TypeError(f"hidden_size must be integers, got {sizes}.")
        if not sizes or min(sizes) < 1:
            raise ValueError(f"hidden_size must be at least one number, each > 0, got {sizes}.")
        return [int(size) for size in sizes]

    # --- predicting

    def _predict(self, X):
        """Return the network's outputs for Sequences: a row a sequence, or a row a step.

        Steps behind the end of a sequence have the outputs of its last one.
        """
        weights = self._weights
        network = _of_inputs(weights.network, X.inputs)
        lengths = None if X.lengths is None else X.lengths[:, None]
        outputs = predict(
            network, weights.packed, weights.dtype, Source(X.values), self.n_jobs, lengths=lengths
        )
        if network.steps is None:
            return outputs
        if lengths is not None:
            steps = np.minimum(np.arange(X.time), lengths - 1)
            outputs = outputs.reshape(*steps.shape, -1)[np.arange(len(steps))[:, None], steps]
        return outputs.reshape(-1, self.n_outputs_)

    def _converted(self, X, convert):
        """Return what `convert` makes of the network's outputs for X, by step if it has them."""
        check_is_fitted(self)
        sequences = self._validate(X)
        values = convert(self._outputs(sequences))
        if not self._by_step:
            return values
        values = values.reshape(-1, sequences.time, *values.shape[1:])
        if not sequences.listed:
            return values
        parts = np.empty(len(values), dtype=object)
        for i, length in enumerate(sequences.steps):
            parts[i] = values[i, :length]
        return parts

    @property
    def _by_step(self):
        """Whether the fitted network has an output for each step."""
        return self._weights.network.steps is not None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = self.embedding is None and self.mask_value is None
        return tags


class _Score:
    """The score of predictions, over all steps where the network has them."""

    def score(self, X, y, sample_weight=None):
        """Return the accuracy, or in regression the coefficient of determination.

        Parameters
        ----------
        X : array-like of shape (n, time) or (n, time, features), or list of arrays
            The sequences.
        y : array-like of shape (n,) or (n, n_outputs)
            Their targets; with `return_sequences`, those of their steps, which count alike.
        sample_weight : array-like of shape (n,), default=None
            Weights of the sequences.

        Returns
        -------
        score : float
            The score.
        """
        predictions = self.predict(X)
        if self._by_step:
            sequences = self._validate(X)
            y, predictions = (_flat_targets(some, sequences) for some in (y, predictions))
            if sample_weight is not None:
                sample_weight = np.repeat(sample_weight, sequences.steps)
        metric = accuracy_score if self._classifies else r2_score
        return metric(y, predictions, sample_weight=sample_weight)


_ATTRIBUTES = """layers_ : list of layers
        The network, from input to output layer.
    weights_ : dict of str to dict of str to ndarray
        Copies of the parameters, by layer: 'kernel', 'recurrent_kernel', 'bias' and so on.
    n_tokens_ : int
        With an embedding: the number of tokens.
    """ + TRAINED.replace(
    """Number of features, and their names where X has them.""",
    """Number of columns of an X of shape (n, time), and their names where it has them;
        else of the numbers of a step.""",
)


@takes(_CLASSIFIER, positional=2)
class RNNClassifier(_Score, ClassifierMethods, ClassifierMixin, _BaseRNN):
    """A recurrent network that classifies sequences, or each of their steps.

    X is an array of shape (n, time), each column a step of one number, or (n, time, features), or a
    list of sequences of different lengths, of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time), or is a list of arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    {attributes}

    Examples
    --------
    Does a sequence of tokens have an even number of ones?

    >>> import numpy as np
    >>> from sknn import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.integers(2, size=n) for n in rng.integers(1, 9, size=200)]
    >>> y = [x.sum() % 2 for x in X]
    >>> net = RNNClassifier("gru", 16, embedding="one-hot", learning_rate_init=0.02, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.95)
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@takes(_REGRESSOR, positional=2)
class RNNRegressor(_Score, RegressorMethods, RegressorMixin, _BaseRNN):
    """A recurrent network for the regression of sequences, or of each of their steps.

    X is an array of shape (n, time), each column a step of one number, or (n, time, features), or a
    list of sequences of different lengths, of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time) or (n, time, n_outputs), or is a list of
    arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    The sum up to each step:

    >>> import numpy as np
    >>> from sknn import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> y = X.cumsum(axis=1)
    >>> net = RNNRegressor("gru", 20, return_sequences=True, max_iter=100,
    ...                    batch_size=20, learning_rate_init=0.01, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.95)
    True
    """


for _class in (RNNClassifier, RNNRegressor):
    if _class.__doc__:
        _class.__doc__ = _class.__doc__.replace("{attributes}", cleandoc("    " + _ATTRIBUTES))
