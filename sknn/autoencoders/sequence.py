"""The recurrent autoencoder: from a sequence to a vector and back."""

from collections.abc import Sequence

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..engine.prediction import finite, predict
from ..estimator.base import agree
from ..estimator.parameters import COUNT, Array, Parameters, fitted, param
from ..estimator.transactions import consistent
from ..layers import ActivityRegularization, Dense, RepeatVector
from ..layers.base import MOST
from ..sequences.cells import Cells, stack
from ..sequences.inputs import Mask, TakesSequences, listed, repeating
from ..sequences.rnn import Clipping, RecurrentOptions, layer_sizes
from ..tape.sources import INPUTS, Source
from .base import (
    Autoencoder,
    AutoencoderTraining,
    ForReconstruction,
    Reconstruction,
    Regularization,
    shape_of,
)


class _CodeSize(Parameters):
    """The size of the code."""

    hidden_size: int | Sequence[int] | Array = param(
        """
        Units of the encoder's recurrent layer, or units per layer of several stacked ones. The
        final state of the last layer is the code. The decoder mirrors the encoder.""",
        default=32, valid=[COUNT, "array-like"], kind="int or array-like of int", kw_only=False,
    )


class _RecurrentCoders(Mask, RecurrentOptions, Cells, _CodeSize):
    """The layers of recurrent autoencoders."""

    bidirectional: bool = param(
        """
        Whether the encoder is bidirectional: the code is then the concatenation of the final states
        of both directions, twice as long. The decoder is always unidirectional.""",
        default=False,
    )

    n_steps_: int = fitted("Number of steps of the longest training sequence.")


class _OfSequences(Reconstruction):
    """Reconstruction of sequences, each weighted by its number of steps."""

    def read_pair(self, read, X, clean, reset=False, names=("X", "X_clean")):
        X, clean = super().read_pair(read, X, clean, reset, names)
        if clean is not None and (clean.time != X.time or (clean.steps != X.steps).any()):
            i = int(np.argmax(clean.steps != X.steps))
            ours, theirs = (
                f"{some.steps[i]} steps{'' if some.listed else f' of {some.time}'}"
                for some in (clean, X)
            )
            raise ValueError(
                f"{names[1]}[{i}] has {ours}; expected {theirs}, as {names[0]}[{i}] has."
            )
        return X, clean

    def amounts(self, inputs, weights):
        return inputs.steps if weights is None else inputs.steps * weights

    def data(self, inputs, clean, weights, network):
        targets = INPUTS if clean is None else clean.source(repeatedly=True)
        return inputs.data(targets, weights, steps=inputs.steps)


class SequenceAutoencoderTransformer(
    Clipping, AutoencoderTraining, Regularization, ForReconstruction, _RecurrentCoders,
    TakesSequences, Autoencoder,
):  # fmt: skip
    """A recurrent autoencoder, which encodes a whole sequence as one vector.

    The encoder's final state is the code. It is repeated as the input of each step of a recurrent
    decoder, and a dense layer maps each state of the decoder to one step of the reconstruction. (An
    early example: Srivastava et al., 2015, "Unsupervised learning of video representations using
    LSTMs".)

    X is an array of shape (n, time), with one feature per step, or (n, time, features), or a list
    of sequences of different lengths, each of shape (time,) or (time, features). Values are
    numbers, not tokens. In a list, in a three-dimensional array or with a `mask_value`, sequences
    may be shorter or longer than the training sequences.

    The error of a sequence is the mean over its steps and features. Training minimizes the mean
    over all steps of all sequences, so each sequence is weighted by its number of steps.

    A sequence has the same code, to the bit, alone, padded, and in any batch.

    Examples
    --------
    Waves of any phase, whose frequency can be read from their codes:

    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sknn import SequenceAutoencoderTransformer
    >>> rng = np.random.default_rng(0)
    >>> speeds, phases = rng.uniform(0.2, 0.8, 300), rng.uniform(0, 6, 300)
    >>> X = np.sin(np.outer(speeds, np.arange(20)) + phases[:, None])
    >>> net = SequenceAutoencoderTransformer(
    ...     24, "gru", batch_size=30, learning_rate_init=0.01, max_iter=60, random_state=0
    ... ).fit(X)
    >>> bool(((net.reconstruct(X) - X) ** 2).mean() < 0.05)
    True
    >>> codes = net.transform(X)
    >>> bool(LinearRegression().fit(codes, speeds).score(codes, speeds) > 0.9)
    True
    """

    embedding = None  # X has numbers
    _remembered = {"_plain": bool}

    def _check_loaded(self):
        super()._check_loaded()
        agree("n_steps_", 1 <= self.n_steps_ <= MOST, True)

    def _task(self):
        """Return the task that the parameters describe."""
        return _OfSequences(self.loss, self.output_activation, self._read_clean)

    # --- the network

    def _parts(self, inputs, out):
        sizes = layer_sizes(self.hidden_size)
        encoder = stack(
            self, sizes, sequences=False, both=self.bidirectional, name="encoder",
            truncate=self.truncate,
        )  # fmt: skip
        decoder = [RepeatVector(inputs.time)]
        if self.activity_l1:  # at each step, since a sequence is weighted by its number of steps
            decoder.append(ActivityRegularization(float(self.activity_l1)))
        decoder += stack(self, sizes[::-1], name="decoder", truncate=self.truncate)
        return encoder, [*decoder, Dense(inputs.features, name="output")]

    def _network(self, task, inputs, n_outputs):
        """Return the network, and attributes to set."""
        network, remembered = super()._network(task, inputs, n_outputs)
        longest = max(self.n_steps_, int(inputs.steps.max()))
        return network, remembered | {"n_steps_": longest}

    # --- the data

    def _read(self, X, reset=False):
        """Return X as Sequences."""
        X = self._sequences(X, reset)
        if reset:
            self.n_steps_, self._plain = 0, X.plain
        return X

    def _inputs_to_load(self, sizes):
        if not self.__sklearn_is_fitted__():
            self.n_steps_, self._plain = 0, False
        return super()._inputs_to_load(sizes)

    def _read_clean(self, clean, name, inputs):
        return self._read(clean)

    @staticmethod
    def _alike(X, y):
        return _shapes(y) == _shapes(X)

    # --- using it

    @consistent
    def inverse_transform(self, X, lengths=None) -> Array:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            The codes.
        lengths : array-like of int of shape (n_samples,), default=None
            Number of steps of each decoded sequence; None: `n_steps_`.

        Returns
        -------
        sequences : ndarray of shape (n_samples, n_steps, n_features), or list of ndarray
            With `lengths`, a list of arrays of shape (length, n_features). There is no last axis if
            the training sequences had none, that is, if their steps were numbers.
        """
        codes = self._check_codes(X)
        wanted = np.full(len(codes), self.n_steps_) if lengths is None else lengths
        steps = _check_lengths(wanted, len(codes))
        weights = self._decoder()
        weights = weights.of(repeating(weights.network, int(steps.max())))
        outputs = finite(predict(weights, Source(codes), self.n_jobs, lengths=steps[:, None]))
        outputs = _by_step(outputs, self._step_features, self._plain)
        return outputs if lengths is None else [part[:n] for part, n in zip(outputs, steps)]

    @consistent
    def reconstruct(self, X) -> Array:
        check_is_fitted(self)
        X = self._read(X)
        outputs = _by_step(finite(self._predict(X)), X.features, X.plain)
        if X.listed:
            return X.cut(outputs)
        if X.lengths is not None:
            outputs[~X.mask] = self.mask_value
        return outputs

    def _means(self, X, errors):
        errors = _by_step(errors, X.features, False).mean(axis=2)[X.mask]
        begins = np.cumsum(X.steps) - X.steps
        return np.add.reduceat(errors, begins) / X.steps


def _by_step(outputs, features, plain):
    """Return rows of outputs as (n, time, features), or unchanged if a step is a number."""
    return outputs if plain else outputs.reshape(len(outputs), -1, features)


def _shapes(X):
    """Return the shape of each sequence, of data in any form that X may have."""
    parts = listed(X)
    if parts is not None:
        return [part.shape for part in parts]
    shape = shape_of(X)
    return [tuple(shape[1:])] * shape[0] if shape else None


def _check_lengths(lengths, n):
    """Return the lengths of n sequences as an array, checked."""
    lengths = np.asarray(lengths)
    if lengths.shape != (n,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"lengths has the shape {lengths.shape} and the type {lengths.dtype}; expected an int "
            f"for each of {n} codes."
        )
    if lengths.min() < 1:
        raise ValueError(f"lengths has {lengths.min()}; expected at least 1 for each.")
    if lengths.max() > MOST:
        raise ValueError(f"lengths has {lengths.max()}; expected at most {MOST} for each.")
    return lengths.astype(np.int64)
