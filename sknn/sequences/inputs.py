"""Sequences as input: arrays, or lists of arrays of any length."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from ..engine.data import Data
from ..engine.prediction import predict
from ..estimator.base import agree
from ..estimator.checks import check_numbers, numeric, sound, validated
from ..estimator.inputs import Inputs
from ..estimator.parameters import Array, Parameters, fitted, param
from ..layers import Embedding, RepeatVector
from ..tape.on_demand import OnDemand, read_on_demand

#: Numbers of tokens that float32 holds exactly.
_MOST_TOKENS = 2**24

class Mask(Parameters):
    """Padding of sequences, and attributes of their features."""

    mask_value: float | None = param(
        """
        Padding value: trailing steps of a sequence in an array X whose features all equal this
        value are ignored. May be NaN. None: no padding.""",
        default=None,
    )

    n_features_in_: int = fitted(
        "Number of columns of an X of shape (n, time), else number of features per time step."
    )
    feature_names_in_: Array = fitted(
        "Names of the columns, if X has them.", kind="ndarray of str"
    )


@dataclass(frozen=True)
class Sequences(Inputs):
    """X as the engine reads it.

    Attributes
    ----------
    values : ndarray or sparse matrix of shape (n, time * features)
        One row per sequence, padded with finite values.
    time : int
        Number of steps of the longest sequence.
    features : int or None
        Features per step; None: a step is a token.
    lengths : ndarray of int64, or None
        Number of steps of each sequence; None: all have `time` steps.
    listed : bool
        Whether X was a list of sequences.
    plain : bool
        Whether a step in X was a number, not an array.
    """

    values: object
    time: int
    features: int | None
    lengths: np.ndarray | None = None
    listed: bool = False
    plain: bool = False

    @property
    def inputs(self):
        """The shape of a sequence, as the input of a network."""
        return self.time if self.features is None else (self.time, self.features)

    @property
    def steps(self):
        """Number of steps of each sequence."""
        return np.full(self.shape[0], self.time) if self.lengths is None else self.lengths

    @property
    def ends(self):
        """The lengths in the engine's format: a column, or None."""
        return None if self.lengths is None else self.lengths[:, None]

    @property
    def mask(self):
        """Which steps belong to the sequences, an array of shape (n, time)."""
        return np.arange(self.time) < self.steps[:, None]

    def min(self):
        """Return the smallest value, without padding."""
        return self._numbers().min()

    def max(self):
        """Return the largest value, without padding."""
        return self._numbers().max()

    def _numbers(self):
        if self.lengths is None:
            return self.values
        return self.values.reshape(*self.mask.shape, -1)[self.mask]

    def part(self, rows):
        """Return a subset of the sequences."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, values=self.values[rows], lengths=lengths)

    def run(self, weights, n_jobs):
        """Return the outputs of a network with these weights, one row per sequence."""
        weights = weights.of(of_inputs(weights.network, self.inputs))
        return predict(weights, self.source(), n_jobs, lengths=self.ends)

    def shaped(self, values, network):
        """Return the outputs of :meth:`run` by step, if the network has steps, as array or list.

        It is a list if X is one. In an array, padded steps repeat the outputs of the last step.
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
        """Return training data; `steps` is the number of targets per sequence, if it is not 1."""
        return SequenceData(
            self.source(repeatedly=True), targets, weights, np.arange(self.shape[0]), y, self.ends,
            steps, self.inputs,
        )  # fmt: skip

    def cut(self, values):
        """Return values by step, of shape (n, time, ...), as a list of one array per sequence."""
        return [some[:length] for some, length in zip(values, self.steps, strict=True)]


def listed(X):
    """Return X as a list of arrays if it is a list of sequences; None if it is array-like.

    A list of lists of equal length is array-like.
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
    """Raise ValueError if X is a text, several texts, or lists of words."""
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
            f"{embedding} and give a list of numbers for each text; or use CharRNN, which reads "
            "texts, or Seq2SeqRNN, which translates them."
        )


def check_kind(arrays, dimensions, name):
    """Check that arrays can be sequences with the same number of features."""
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
                f"{name}[{i}] has {array.shape[1]} features per step, but {name}[0] has "
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
    """Return concatenated sequences as an array (n, time, ...), padded with zeros."""
    values = np.zeros((len(lengths), time, *flat.shape[1:]), flat.dtype)
    values[np.arange(time) < lengths[:, None]] = flat
    return values


def _without_padding(X, mask_value):
    """Return X, of shape (n, time, ...), with zeros as padding, and the lengths."""
    unknown = np.isnan(float(mask_value))
    steps = X.reshape(*X.shape[:2], -1)
    real = ~(np.isnan(steps) if unknown else steps == float(mask_value)).all(axis=2)
    empty = np.flatnonzero(~real.any(axis=1))
    if len(empty):
        raise ValueError(
            f"X[{empty[0]}] consists only of mask_value={mask_value}; expected a sequence of at "
            "least one step."
        )
    time = X.shape[1]
    lengths = time - real[:, ::-1].argmax(axis=1)
    if lengths.min() == time:
        return X, None
    padding = np.arange(time) >= lengths[:, None]
    if mask_value != 0:  # the engine multiplies padding, too: no large values or NaN in it
        X = X.copy()
        X[padding] = 0
    return X, lengths


def given_vectors(embedding):
    """Return pretrained token vectors as an array."""
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


# --- data for the engine


@dataclass
class SequenceData(Data):
    """Training or validation data; the latter may have another number of steps."""

    inputs: object = None

    def evaluate(self, weights, n_jobs):
        return super().evaluate(weights.of(of_inputs(weights.network, self.inputs)), n_jobs)


def of_inputs(network, inputs):
    """Return a network for sequences of another length; its parameters are the same."""
    if network.inputs == inputs:
        return network
    if not isinstance(inputs, int):
        network = repeating(network, inputs[0])
    return replace(network, inputs=inputs)


def repeating(network, steps):
    """Return a network that decodes vectors to sequences of the given number of steps."""
    layers = (
        replace(layer, steps=steps) if isinstance(layer, RepeatVector) else layer
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


# --- the estimator's side


class TakesSequences:
    """Mixin of estimators whose X holds sequences.

    The estimator has the parameters `mask_value` and `embedding`, which is None where X has numbers
    rather than tokens.
    """

    _remembered = {"_step_features": int | None, "_columns": bool}

    def _network_inputs(self, network):
        time, _ = network.input_shape[0], self._columns  # which reading X needs
        if self._step_features is not None:
            return time, self._step_features
        _, first, _ = network.primitives[0]
        agree("n_tokens_", self.n_tokens_, first.n_tokens)
        return time

    def _sequences(self, X, reset):
        """Return X as Sequences, checked; if `reset`, store their number of features."""
        tokens = self.embedding is not None
        if not reset and tokens != (self._step_features is None):
            raise ValueError(
                f"embedding is {self.embedding!r}, but the network was fitted "
                f"{'to numbers, without one' if tokens else 'to tokens, with one'}. Refit with "
                "warm_start=False to change it."
            )
        X = read_on_demand(X)
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
                f"X has {features} features per step, but {type(self).__name__} was fitted to "
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
        if isinstance(X, OnDemand) and (tokens or self.mask_value is not None):
            X = np.asarray(X)  # tokens and padding are looked for in all of it
        from_list = not hasattr(X, "ndim")  # in lists, sequences may have any length
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
                raise ValueError(f"X has the shape {X.shape}: its sequences are empty.")
            X = check_numbers(X, allow_nd=True, input_name="X", estimator=self, **checks)
        elif tokens or self.mask_value is not None or not (
            reset or self._columns and not from_list
        ):
            X = check_numbers(X, input_name="X", estimator=self, **checks)
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
        """Return token numbers as integers, checked; if `reset`, store how many there are."""
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
        """Return the number of tokens that `embedding` defines; None: that of the data in fit."""
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
