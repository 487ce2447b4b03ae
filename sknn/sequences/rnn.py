"""Recurrent networks for sequences: one prediction per sequence, or one per step."""

from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_y, check_is_fitted

from ..engine.network import Network
from ..engine.prediction import finite
from ..estimator.checks import check_given
from ..estimator.groups import ForClasses, ForNumbers, LayeredTraining
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import LayeredNet
from ..estimator.parameters import COUNT, FRACTION, Array, Parameters, fitted, param
from ..estimator.transactions import consistent
from ..layers import Dense, Embedding
from ..layers.base import MOST
from .cells import Cells, stack
from .forecasting import go_on
from .inputs import Mask, TakesSequences, given_vectors, listed
from .steps import EachStep, flat_targets


class RecurrentOptions(Parameters):
    """Options of recurrent layers in every estimator."""

    bidirectional: bool = param(
        "Whether the recurrent layers are bidirectional.", default=False
    )
    dropout: float = param(
        """
        Dropout rate, in training, between stacked recurrent layers.""",
        default=0.0, valid=[FRACTION],
    )
    truncate: int | None = param(
        """
        Length, in steps, of the segments of truncated backpropagation through time: gradients do
        not flow from one segment into the one before. None: no truncation.""",
        default=None, valid=[COUNT],
    )


class RecurrentLayers(Mask, RecurrentOptions, Cells):
    """The layers of recurrent networks."""

    hidden_size: int | Sequence[int] | Array = param(
        "Units of the recurrent layer, or units per layer of several stacked ones.",
        default=100, valid=[COUNT, "array-like"], kind="int or array-like of int", kw_only=False,
    )
    return_sequences: bool = param(
        "Whether y has one target per step rather than one per sequence.",
        default=False, after="bidirectional",
    )
    embedding: (
        int | Literal["one-hot"] | Sequence[Sequence[float]] | Array | Embedding | None
    ) = param(
        """
        How token numbers in X are embedded. An int: trained vectors of that size; 'one-hot':
        one-hot vectors; an array: these vectors, one row per token, which are not trained; an
        :class:`~sknn.layers.Embedding`: as that layer defines. With an int or 'one-hot', the
        vocabulary size follows from the largest token in `fit`. None: X has numbers, not
        tokens.""",
        default=None, valid=[COUNT, "array-like", Embedding], after="return_sequences",
        kind="int, 'one-hot', array-like of shape (n_tokens, units), Embedding or None",
    )

    n_tokens_: int = fitted("With an embedding: the number of tokens.")


class Clipping(Parameters):
    """Gradient clipping, whose default differs for recurrent networks."""

    clip_norm: float | None = param(
        """
        Clip gradients to this norm, taken over all weights, with minibatches: over many time steps
        gradients may explode. None: no clipping.""",
        default=1.0,
    )


def layer_sizes(hidden_size):
    """Return the parameter `hidden_size`, checked, as a list of int."""
    sizes = list(hidden_size) if hasattr(hidden_size, "__iter__") else [hidden_size]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"hidden_size must be integers, got {sizes}.")
    if not sizes or min(sizes) < 1:
        raise ValueError(f"hidden_size must be one or more integers > 0, got {sizes}.")
    return [int(size) for size in sizes]


# --- the estimators


class _BaseRNN(TakesSequences, LayeredNet):
    """Base class of the recurrent networks: all but the constructor and the score."""

    # --- the data

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as Sequences, and y if given, with the targets of all steps concatenated."""
        sequences = self._sequences(X, reset)
        if isinstance(y, str):
            return sequences
        check_given(self, y)
        if not self.return_sequences:
            check_consistent_length(sequences, y)
            if len({part.shape for part in listed(y) or ()}) > 1:
                raise ValueError("y has sequences; to predict sequences set return_sequences=True.")
        elif getattr(self, "class_weight", None) is not None:
            raise ValueError(
                "class_weight needs one class per sequence; with return_sequences=True use "
                "sample_weight."
            )
        else:
            y = flat_targets(y, sequences)
        return sequences, _check_y(y, estimator=self, **checks)

    # --- the network

    def _network(self, task, inputs, n_outputs):
        """Return the Network that the parameters describe, and no attributes to set."""
        out, loss = task.head(n_outputs)
        layers = (*self._embedding(), *self._recurrent(), Dense(n_outputs), out)
        return Network(layers, inputs.inputs, loss), {}

    def _embedding(self):
        """Return the embedding layer in a list, empty if the first layer looks up tokens itself."""
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
        return stack(
            self, layer_sizes(self.hidden_size), sequences=self.return_sequences,
            both=self.bidirectional, truncate=self.truncate, numbered=True,
            n_tokens=self.n_tokens_ if isinstance(self.embedding, str) else None,
        )  # fmt: skip

    # --- predicting

    def _predict(self, sequences):
        """Return the network's outputs for Sequences: one row per sequence, or one per step.

        Padded steps repeat the outputs of the sequence's last step.
        """
        outputs = super()._predict(sequences)
        if not self._by_step:
            return outputs
        if sequences.lengths is not None:
            steps = np.minimum(np.arange(sequences.time), sequences.ends - 1)
            outputs = outputs.reshape(*steps.shape, -1)[np.arange(len(steps))[:, None], steps]
        return outputs.reshape(-1, self.n_outputs_)

    @property
    def _by_step(self):
        """Whether the fitted network has an output for each step."""
        return self._weights.network.steps is not None


class _OfEachStep:
    """Targets, predictions and scores by sequence, or by step if the network has steps."""

    def _task(self):
        """Return the task that the parameters and the fitted attributes describe."""
        task = super()._task()
        return EachStep(task) if self.return_sequences else task

    def _answer(self, X, convert):
        """Return the network's outputs for X, converted by the task, by step if it has steps."""
        check_is_fitted(self)
        sequences = self._read(X)
        values = convert(finite(self._predict(sequences)))
        if not self._by_step:
            return values
        values = values.reshape(-1, sequences.time, *values.shape[1:])
        if not sequences.listed:
            return values
        parts = np.empty(len(values), dtype=object)
        for i, part in enumerate(sequences.cut(values)):
            parts[i] = part
        return parts

    def _to_score(self, X, y, sample_weight):
        predictions = self.predict(X)
        if self._by_step:
            sequences = self._read(X)
            y, predictions = (flat_targets(some, sequences) for some in (y, predictions))
            if sample_weight is not None:
                sample_weight = np.repeat(sample_weight, sequences.steps)
        return y, predictions, sample_weight


class RNNClassifier(
    ForClasses, Clipping, LayeredTraining, RecurrentLayers,
    _OfEachStep, ClassifierMethods, ClassifierMixin, _BaseRNN,
):  # fmt: skip
    """A recurrent network that classifies sequences, or each of their steps.

    X is an array of shape (n, time), with one feature per step, or (n, time, features), or a list
    of sequences of different lengths, each of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time), or is a list of arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

    Examples
    --------
    Parity: is the number of ones in a sequence of tokens even?

    >>> import numpy as np
    >>> from sknn import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.integers(2, size=n) for n in rng.integers(1, 9, size=200)]
    >>> y = [x.sum() % 2 for x in X]
    >>> net = RNNClassifier("gru", 16, embedding="one-hot", learning_rate_init=0.02, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.95)
    True
    """


class RNNRegressor(
    ForNumbers, Clipping, LayeredTraining, RecurrentLayers,
    _OfEachStep, RegressorMethods, RegressorMixin, _BaseRNN,
):  # fmt: skip
    """A recurrent network for regression on sequences, or on each of their steps.

    X is an array of shape (n, time), with one feature per step, or (n, time, features), or a list
    of sequences of different lengths, each of shape (time,) or (time, features). With an
    `embedding` X holds token numbers: integers of shape (n, time), or a list of such sequences.
    With `return_sequences` y has the shape (n, time) or (n, time, n_outputs), or is a list of
    arrays as long as those of X.

    A sequence has the same predictions, to the bit, alone, padded, and in any batch.

    Examples
    --------
    The cumulative sum:

    >>> import numpy as np
    >>> from sknn import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> y = X.cumsum(axis=1)
    >>> net = RNNRegressor("gru", 20, return_sequences=True, max_iter=100,
    ...                    batch_size=20, learning_rate_init=0.01, random_state=0)
    >>> bool(net.fit(X, y).score(X, y) > 0.95)
    True

    Forecasting a wave, learned from windows of it:

    >>> wave = np.sin(0.5 * np.arange(140))
    >>> X = np.lib.stride_tricks.sliding_window_view(wave[:120], 21)
    >>> bool(net.fit(X[:, :-1], X[:, 1:]).score(X[:, :-1], X[:, 1:]) > 0.95)
    True
    >>> bool(np.abs(net.forecast([wave[100:120]], 20) - wave[120:]).max() < 0.3)
    True
    """

    @consistent
    def forecast(self, X, n) -> Array:
        """Forecast the next steps of sequences: each prediction is fed back as the next input.

        The network must have been fitted to predict each step from those before it: with
        `return_sequences`, y is X shifted by one step; without, y is the step that follows each
        sequence. Since outputs become inputs, X and y must be on the same scale.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, time) or (n_samples, time, features)
            The sequences, or a list of them, as in `predict`.
        n : int
            Number of steps to forecast.

        Returns
        -------
        steps : ndarray of shape (n_samples, n) or (n_samples, n, features)
            The steps that follow each sequence; numbers or arrays, like the steps of X.
        """
        check_is_fitted(self)
        if not isinstance(n, Integral) or not 1 <= n <= MOST:
            raise ValueError(f"n is {n!r}; expected an int from 1 to {MOST}.")
        sequences = self._read(X)
        if sequences.features != self.n_outputs_:
            given = "tokens" if sequences.features is None else f"{sequences.features} numbers"
            raise ValueError(
                f"The network reads steps of {given} and predicts {self.n_outputs_}; forecast "
                "needs as many outputs as inputs, since it feeds outputs back: fit y with the "
                "features of X, one or more steps later."
            )
        steps = finite(go_on(self._placed_weights, sequences, int(n), self.n_jobs))
        return steps[:, :, 0] if sequences.plain else steps
