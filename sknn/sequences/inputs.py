"""Sequences as an estimator takes them: as arrays, or as lists of arrays of any lengths."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from ..engine.data import Data
from ..engine.prediction import predict
from ..estimator.checks import numeric, sound, validated
from ..estimator.inputs import Inputs
from ..estimator.parameters import Array, Parameters, fitted, param
from ..layers import Embedding, RepeatVector

#: Numbers of tokens that float32 holds exactly.
_MOST_TOKENS = 2**24

class Mask(Parameters):
    """What is no part of sequences; and what is known of their features."""

    mask_value: float | None = param(
        """
        Steps at the end of a sequence of an array X in which all numbers are this one are no part
        of the sequence; NaN is possible.""",
        default=None,
    )

    n_features_in_: int = fitted(
        "Number of columns of an X of shape (n, time), else of the numbers of a step."
    )
    feature_names_in_: Array = fitted(
        "The columns' names, where they have them.", kind="ndarray of str"
    )


@dataclass(frozen=True)
class Sequences(Inputs):
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
    plain : bool
        Whether a step came as a number, not as an array of them.
    """

    values: object
    time: int
    features: int | None
    lengths: np.ndarray | None = None
    listed: bool = False
    plain: bool = False

    @property
    def inputs(self):
        """A sequence's shape, as networks take it."""
        return self.time if self.features is None else (self.time, self.features)

    @property
    def steps(self):
        """How many steps each has."""
        return np.full(self.shape[0], self.time) if self.lengths is None else self.lengths

    @property
    def ends(self):
        """The lengths as the engine reads them: a column, or None."""
        return None if self.lengths is None else self.lengths[:, None]

    @property
    def mask(self):
        """Which steps belong to the sequences, an array of shape (n, time)."""
        return np.arange(self.time) < self.steps[:, None]

    def min(self):
        """Return the smallest number of the steps that belong to the sequences."""
        return self._numbers().min()

    def max(self):
        """Return the largest one."""
        return self._numbers().max()

    def _numbers(self):
        if self.lengths is None:
            return self.values
        return self.values.reshape(*self.mask.shape, -1)[self.mask]

    def part(self, rows):
        """Return some of them."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, values=self.values[rows], lengths=lengths)

    def run(self, weights, n_jobs):
        """Return what a network with weights gives for them, a row each."""
        weights = weights.of(of_inputs(weights.network, self.inputs))
        return predict(weights, self.source(), n_jobs, lengths=self.ends)

    def shaped(self, values, network):
        """Return what :meth:`run` gives for a network: of steps, an array or list as X is one.

        Steps behind the end of a sequence have what its last one has.
        """
        shape = of_inputs(network, self.inputs).output_shape
        values = values.reshape(-1, *shape)
        if len(shape) == 1 or shape[0] != self.time:
            return values
        if self.listed:
            return self.cut(values)
        last = np.minimum(np.arange(self.time), self.steps[:, None] - 1)
        return np.take_along_axis(values, last[..., None], axis=1)

    def data(self, targets, weights, y=None, steps=None):
        """Return them as data to learn from; `steps` is how many targets each has, if not one."""
        return SequenceData(
            self.source(), targets, weights, np.arange(self.shape[0]), y, self.ends, steps,
            self.inputs,
        )  # fmt: skip

    def cut(self, values):
        """Return values for each step, of shape (n, time, ...), as a list: an array a sequence."""
        return [some[:length] for some, length in zip(values, self.steps, strict=True)]


def listed(X):
    """Return X as a list of arrays if it is a list of sequences; None if it is like an array.

    A list of lists that all have one length is like an array.
    """
    if sp.issparse(X) or getattr(X, "ndim", 1) != 1 or not hasattr(X, "__len__"):
        return None
    items = list(X)
    if not items or any(isinstance(item, str) or not hasattr(item, "__len__") for item in items):
        return None
    arrays = hasattr(X, "ndim") or any(hasattr(item, "ndim") for item in items)
    if not arrays and len({len(item) for item in items}) < 2:
        return None
    return [np.asarray(item) for item in items]


def _reject_texts(X, estimator):
    """Raise ValueError if X is a text, or texts, or lists of words."""
    found = X
    for _ in range(2):
        if getattr(found, "ndim", 1) != 1 or not hasattr(found, "__len__") or not len(found):
            return
        if isinstance(found, str):
            break
        found = next(iter(found))
    if isinstance(found, str):
        text = found if len(found) < 40 else f"{found[:40]}..."
        embedding = ", set embedding," if "embedding" in estimator.get_params(deep=False) else ""
        raise ValueError(
            f"X has texts, such as {text!r}; expected numbers. Number the words or characters"
            f"{embedding} and give a list of numbers for each text; or take CharRNN, which reads "
            "texts, or Seq2SeqRNN, which translates them."
        )


def check_kind(arrays, dimensions, name):
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
    check_kind(arrays, (1,) if tokens else (1, 2), "X")
    flat = np.concatenate(arrays)
    checked = check_array(flat.reshape(len(flat), -1), input_name="X", estimator=estimator)
    checked = numeric(checked)
    lengths = np.array([len(array) for array in arrays])
    values = padded(checked.reshape(flat.shape), lengths, lengths.max())
    return values, lengths if lengths.min() < lengths.max() else None


def padded(flat, lengths, time):
    """Return steps of sequences, one after the other, as (n, time, ...): zeros behind each."""
    values = np.zeros((len(lengths), time, *flat.shape[1:]), flat.dtype)
    values[np.arange(time) < lengths[:, None]] = flat
    return values


def _without_padding(X, mask_value):
    """Return X, of shape (n, time, ...), with zeros behind each sequence, and the lengths."""
    unknown = np.isnan(float(mask_value))
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


def given_vectors(embedding):
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


# --- what the engine reads


@dataclass
class SequenceData(Data):
    """Sequences to learn from, or to validate with: these may have other numbers of steps."""

    inputs: object = None

    def evaluate(self, weights, n_jobs):
        return super().evaluate(weights.of(of_inputs(weights.network, self.inputs)), n_jobs)


def of_inputs(network, inputs):
    """Return a network for sequences of another number of steps; its parameters are the same."""
    if network.inputs == inputs:
        return network
    if not isinstance(inputs, int):
        network = repeating(network, inputs[0])
    return replace(network, inputs=inputs)


def repeating(network, steps):
    """Return a network that makes sequences of so many steps out of vectors."""
    layers = (
        replace(layer, steps=steps) if isinstance(layer, RepeatVector) else layer
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


# --- what an estimator does with them


class TakesSequences:
    """Reads X as sequences.

    The estimator has the parameters `embedding`, which is None where they are of numbers, and
    `mask_value`.
    """

    def _sequences(self, X, reset):
        """Return X as Sequences, checked; if `reset`, remember of what kind they are."""
        tokens = self.embedding is not None
        if not reset and tokens != (self._step_features is None):
            raise ValueError(
                f"embedding is {self.embedding!r}, but the network was fitted "
                f"{'to numbers, without one' if tokens else 'to tokens, with one'}. Fit anew, with "
                "warm_start=False, to change it."
            )
        _reject_texts(X, self)
        arrays = listed(X)
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
            single = arrays is None and values.ndim == 2 and time == self._step_features
            raise ValueError(
                f"X has {features} features a step, but {type(self).__name__} was fitted to "
                f"{self._step_features}."
                + f" If X, of the shape {values.shape}, is one sequence, give X[None]." * single
            )
        if tokens:
            values = self._tokens(values, reset)
        plain = values.ndim == 2
        values = values if plain else values.reshape(n, -1)
        return Sequences(values, time, features, lengths, arrays is not None, plain)

    def _array_of_sequences(self, X, tokens, reset):
        """Return an array X of shape (n, time) or (n, time, features), checked, and lengths."""
        from_list = not hasattr(X, "ndim")  # whose sequences may have any length
        X = np.asarray(X) if from_list else sound(X)
        unknown = self.mask_value is not None and np.isnan(float(self.mask_value))
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
        elif tokens or self.mask_value is not None or not (
            reset or self._columns and not from_list
        ):
            X = check_array(X, input_name="X", estimator=self, **checks)
        else:
            X = validated(self, X, reset=reset, accept_sparse=["csr", "csc"], **checks)
        X = numeric(X)
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

    def _inputs_to_load(self, sizes):
        if not self.__sklearn_is_fitted__():
            tokens = self.embedding is not None
            self._step_features, self._columns = None if tokens else 1, False
            self.n_tokens_ = self.n_features_in_ = 1
            axis = int(not tokens or isinstance(self.embedding, str))
            n = self._size_in(sizes, self._one_step, 0, axis)
            if tokens:
                self.n_tokens_ = self._given_tokens() or n
            else:
                self.n_features_in_ = self._step_features = n
                del self.n_tokens_
        return self._one_step

    @property
    def _one_step(self):
        features = self._step_features
        return Sequences(np.zeros((1, features or 1)), 1, features)

    def _given_tokens(self):
        """Return the number of tokens that `embedding` knows; None: those that are fitted."""
        if isinstance(self.embedding, Embedding):
            return self.embedding.n_tokens
        if isinstance(self.embedding, (str, Integral)):
            return None
        return len(given_vectors(self.embedding))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = self.embedding is None and self.mask_value is None
        return tags
