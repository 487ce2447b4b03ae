"""Recurrent networks for sequences: one prediction a sequence, or one a step."""

from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_y, check_is_fitted

from ..engine.network import Network
from ..estimator.groups import Classification, LayeredTraining, Regression
from ..estimator.layered import LayeredNet
from ..estimator.parameters import COUNT, FRACTION, Parameters, fitted, param
from ..estimator.supervised import (
    ClassifierMethods,
    RegressorMethods,
    targets_source,
)
from ..estimator.transactions import consistent
from ..layers import Bidirectional, Dense, Dropout, Embedding
from ..tape.sources import Source
from .cells import Cells, recurrent_layer
from .inputs import (
    Mask,
    SequenceData,
    TakesSequences,
    check_kind,
    given_vectors,
    listed,
    padded,
)


class Recurrent(Parameters):
    """What recurrent layers take, whatever they are for."""

    bidirectional: bool = param(
        "Whether each of them is two: one reads forward, one backward.", default=False
    )
    dropout: float = param(
        """
        Probability that an output of a recurrent layer is dropped on its way to the next one, in
        training.""",
        default=0.0, valid=[FRACTION],
    )
    truncate: int | None = param(
        "Steps after which backpropagation through time is cut, each time; None: nowhere.",
        default=None, valid=[COUNT],
    )


class RecurrentLayers(Mask, Recurrent, Cells):
    """What recurrent networks are made of."""

    hidden_size: int | Sequence[int] | NDArray = param(
        "Units of the recurrent layer, or of each of several, one after the other.",
        default=100, valid=[COUNT, "array-like"], kind="int or array-like of int", kw_only=False,
    )
    return_sequences: bool = param(
        "Whether y has a target for each step, not one for each sequence.",
        default=False, after="bidirectional",
    )
    embedding: (
        int | Literal["one-hot"] | Sequence[Sequence[float]] | NDArray | Embedding | None
    ) = param(
        """
        What a token stands for, where X has token numbers: a vector of that many numbers, which is
        trained; a one and zeros; these vectors, which stay as they are; or what an
        :class:`~sknn.layers.Embedding` says. The first two know the tokens up to the largest that
        is fitted.""",
        default=None, valid=[COUNT, "array-like", Embedding], after="return_sequences",
        kind="int, 'one-hot', array-like of shape (n_tokens, units), Embedding or None",
    )

    n_tokens_: int = fitted("With an embedding: the number of tokens.")


class Clipping(Parameters):
    """The parameter of training that recurrent networks have another default for."""

    clip_norm: float | None = param(
        """
        Limit of the norm of the whole gradient, for minibatches: through many steps it may explode.
        None: there is no limit.""",
        default=1.0,
    )


def _flat_targets(y, sequences):
    """Return the targets of all steps, one after the other."""
    parts = listed(y)
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
    check_kind(parts, (1, 2), "y")
    for i, (part, length) in enumerate(zip(parts, sequences.steps, strict=True)):
        if len(part) != length:
            raise ValueError(f"y[{i}] has {len(part)} steps, but X[{i}] has {length}.")
    return np.concatenate(parts)


def layer_sizes(hidden_size):
    """Return the parameter `hidden_size` as a list of int, checked."""
    sizes = list(hidden_size) if hasattr(hidden_size, "__iter__") else [hidden_size]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"hidden_size must be integers, got {sizes}.")
    if not sizes or min(sizes) < 1:
        raise ValueError(f"hidden_size must be at least one number, each > 0, got {sizes}.")
    return [int(size) for size in sizes]


# --- the estimators


class _BaseRNN(TakesSequences, LayeredNet):
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
            if len({part.shape for part in listed(y) or ()}) > 1:
                raise ValueError("y has sequences; for these set return_sequences=True.")
        elif getattr(self, "class_weight", None) is not None:
            raise ValueError(
                "class_weight goes with one class a sequence; with return_sequences=True give "
                "sample_weight."
            )
        else:
            y = _flat_targets(y, sequences)
        return sequences, _check_y(y, estimator=self, **checks)

    def _data(self, X, y, weights, loss):
        """Return what training reads, of Sequences and y."""
        y, steps = self._encode(y, loss), None
        if self.return_sequences:
            steps, y = X.steps, padded(y, X.steps, X.time)
        return SequenceData(
            Source(X.values), targets_source(y, loss), weights, np.arange(X.shape[0]), y, X.ends,
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
        vectors = given_vectors(given)
        return [Embedding(*vectors.shape, vectors=vectors, trainable=False)]

    def _recurrent(self):
        """Return the recurrent layers, with dropout between them."""
        sizes, layers = layer_sizes(self.hidden_size), []
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

    # --- predicting

    def _predict(self, X):
        """Return the network's outputs for Sequences: a row a sequence, or a row a step.

        Steps behind the end of a sequence have the outputs of its last one.
        """
        outputs = self._run(self._weights, X)
        if not self._by_step:
            return outputs
        if X.lengths is not None:
            steps = np.minimum(np.arange(X.time), X.ends - 1)
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
        for i, part in enumerate(sequences.cut(values)):
            parts[i] = part
        return parts

    @property
    def _by_step(self):
        """Whether the fitted network has an output for each step."""
        return self._weights.network.steps is not None


class _Score:
    """The score of predictions, over all steps where the network has them."""

    @consistent
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


class RNNClassifier(
    Classification, Clipping, LayeredTraining, RecurrentLayers,
    _Score, ClassifierMethods, ClassifierMixin, _BaseRNN,
):  # fmt: skip
    """A recurrent network that classifies sequences, or each of their steps.

    X is an array of shape (n, time), each column a step of one number, or (n, time, features), or a
    list of sequences of different lengths, of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time), or is a list of arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

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


class RNNRegressor(
    Regression, Clipping, LayeredTraining, RecurrentLayers,
    _Score, RegressorMethods, RegressorMixin, _BaseRNN,
):  # fmt: skip
    """A recurrent network for the regression of sequences, or of each of their steps.

    X is an array of shape (n, time), each column a step of one number, or (n, time, features), or a
    list of sequences of different lengths, of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time) or (n, time, n_outputs), or is a list of
    arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

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
