"""Recurrent networks for sequences: one prediction a sequence, or one a step."""

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


class RecurrentLayers(Mask, RecurrentOptions, Cells):
    """What recurrent networks are made of."""

    hidden_size: int | Sequence[int] | Array = param(
        "Units of the recurrent layer, or of each of several, one after the other.",
        default=100, valid=[COUNT, "array-like"], kind="int or array-like of int", kw_only=False,
    )
    return_sequences: bool = param(
        "Whether y has a target for each step, not one for each sequence.",
        default=False, after="bidirectional",
    )
    embedding: (
        int | Literal["one-hot"] | Sequence[Sequence[float]] | Array | Embedding | None
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

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X as Sequences, and y where there is one, that of all steps in a row."""
        sequences = self._sequences(X, reset)
        if isinstance(y, str):
            return sequences
        check_given(self, y)
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
            y = flat_targets(y, sequences)
        return sequences, _check_y(y, estimator=self, **checks)

    # --- the network

    def _network(self, task, inputs, n_outputs):
        """Return the Network that the parameters describe, and nothing to remember of it."""
        out, loss = task.head(n_outputs)
        layers = (*self._embedding(), *self._recurrent(), Dense(n_outputs), out)
        return Network(layers, inputs.inputs, loss), {}

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
        return stack(
            self, layer_sizes(self.hidden_size), sequences=self.return_sequences,
            both=self.bidirectional, truncate=self.truncate, numbered=True,
            n_tokens=self.n_tokens_ if isinstance(self.embedding, str) else None,
        )  # fmt: skip

    # --- predicting

    def _predict(self, sequences):
        """Return the network's outputs for Sequences: a row a sequence, or a row a step.

        Steps behind the end of a sequence have the outputs of its last one.
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
    """Targets, answers and scores of sequences, or of their steps where the network has those."""

    def _task(self):
        """Return the task that the parameters, and what is fitted, describe."""
        task = super()._task()
        return EachStep(task) if self.return_sequences else task

    def _answer(self, X, convert):
        """Return what a task makes of the network's outputs for X, by step if it has them."""
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


class RNNRegressor(
    ForNumbers, Clipping, LayeredTraining, RecurrentLayers,
    _OfEachStep, RegressorMethods, RegressorMixin, _BaseRNN,
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

    A wave, learned from pieces of it, goes on:

    >>> wave = np.sin(0.5 * np.arange(140))
    >>> X = np.lib.stride_tricks.sliding_window_view(wave[:120], 21)
    >>> bool(net.fit(X[:, :-1], X[:, 1:]).score(X[:, :-1], X[:, 1:]) > 0.95)
    True
    >>> bool(np.abs(net.forecast([wave[100:120]], 20) - wave[120:]).max() < 0.3)
    True
    """

    @consistent
    def forecast(self, X, n) -> Array:
        """Return how sequences go on: each prediction is read as the next step.

        The network must have learned to predict a step from those before it, by a y of shifted
        sequences with `return_sequences`, else by the step that follows each sequence. Its outputs
        are inputs again, so that both must be scaled alike.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, time) or (n_samples, time, features)
            The sequences, or a list of them, as `predict` takes them.
        n : int
            How many steps.

        Returns
        -------
        steps : ndarray of shape (n_samples, n) or (n_samples, n, features)
            The steps that follow each, numbers or arrays as the steps of X are.
        """
        check_is_fitted(self)
        if not isinstance(n, Integral) or not 1 <= n <= MOST:
            raise ValueError(f"n is {n!r}; expected an int from 1 to {MOST}.")
        sequences = self._read(X)
        if sequences.features != self.n_outputs_:
            given = "tokens" if sequences.features is None else f"{sequences.features} numbers"
            raise ValueError(
                f"The network reads steps of {given} and predicts {self.n_outputs_}; forecast "
                "needs as many outputs as inputs, which it feeds back: fit y with the features of "
                "X, one or more steps later."
            )
        steps = finite(go_on(self._placed_weights, sequences, int(n), self.n_jobs))
        return steps[:, :, 0] if sequences.plain else steps
