"""A character-level encoder-decoder network, which maps texts to texts."""

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..engine.network import Network
from ..engine.prediction import finite
from ..estimator.base import agree
from ..estimator.checks import check_given
from ..estimator.groups import LayeredTraining, Scalar
from ..estimator.methods import partial_fits
from ..estimator.parameters import COUNT, Array, Parameters, fitted, param
from ..estimator.resuming import File
from ..estimator.transactions import consistent, fits
from ..layers import Activation, Dense, EncoderDecoder, Layer
from ..layers.base import MOST
from ..tape.losses import Loss
from ..tape.sources import Source
from .char_rnn import TextLayers
from .characters import Characters, Vocabulary, as_texts
from .net import TextNet
from .pairs import Translation, make_pairs
from .streams import final_states, reading

#: Number of the decoder's rows that a search processes at a time.
_TOGETHER = 512


class _Search(Parameters):
    """The search for outputs."""

    beam_width: int = param(
        """
        Number of prefixes of an output that the beam search of `predict` keeps at each step; 1 is
        greedy search, which takes the most probable character at each step.""",
        default=1, valid=[Interval(Integral, 1, MOST, closed="both")],
    )
    max_length: int | None = param(
        """
        Maximum number of characters of a predicted output; None: twice the length of the longest
        training output.""",
        default=None, valid=[COUNT],
    )


class _PairsTraining(LayeredTraining):
    """Training parameters whose default or meaning differs for pairs of texts."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights; divided by the number of characters to predict
        in the minibatch.""",
        default=0.0,
    )
    batch_size: int = param(
        "Number of pairs per minibatch, at most the number of pairs.", default=64, valid=[COUNT]
    )
    learning_rate_init: float = param(default=5e-3)
    max_iter: int = param(default=100)
    scoring: str | Callable[..., float] | None = param(
        """
        The score on validation data. None: the fraction of outputs that greedy search
        (``beam_width=1``) predicts exactly; 'loss': minus the loss; a callable
        ``scorer(estimator, X, y)``.""",
        default=None,
    )
    clip_norm: float | None = param(default=1.0)
    dtype: Scalar | None = param(
        "Floating-point precision of the computation; None: float32.", default=None
    )

    layers_: list[Layer] = fitted(
        "The network: an :class:`~sknn.layers.EncoderDecoder` and the output layer."
    )
    validation_scores_: list[float] | None = fitted(
        """
        The score on the validation data after each epoch: the fraction of outputs that greedy
        search (``beam_width=1``) predicts exactly, or as `scoring` defines it. None without
        validation data."""
    )
    t_: int = fitted("Number of pairs seen in training.")


# --- generating outputs


def encoder_and_decoder(weights):
    """Return the weights of encoder and decoder, as separate networks that carry their states."""
    network, (coder, *rest) = weights.network, weights.network.layers
    encoder = replace(network, layers=(*coder.encoder, Activation("identity")), inputs=1)
    decoder = replace(network, layers=(*coder.decoder, *rest), inputs=1)
    return weights.of(encoder), weights.of(decoder, sum(map(len, encoder.parameters())))


def beam_search(decoder, states, width, longest, n_jobs):
    """Return the most probable outputs found by beam search, for several inputs at once.

    Parameters
    ----------
    decoder : Weights
        The decoder's weights; its last symbol is the start and end token of outputs.
    states : ndarray of shape (n_inputs, state_size)
        The encoder's final states.
    width : int
        Number of prefixes to keep for each output.
    longest : int
        Maximum number of symbols of an output.
    n_jobs : int or None

    Returns
    -------
    outputs : list of ndarray of int64
        The symbols of each output, without start and end tokens.
    """
    n, n_symbols = len(states), decoder.network.output_shape[-1]
    mark, each = n_symbols - 1, np.arange(n)[:, None]
    carry = np.repeat(states, width, axis=0)
    beams = np.full((n, width, 1), mark)
    scores = np.full((n, width), -np.inf)  # of the prefixes that have not ended
    scores[:, 0] = 0.0
    best, outputs = np.full(n, -np.inf), [None] * n
    out = np.empty((n * width, n_symbols), decoder.dtype)
    with reading(decoder, 1, carry, "predict", n_jobs, len(carry) * (longest + 1)) as read:
        for length in range(longest + 1):
            read(Source(beams[:, :, -1].reshape(-1, 1)), np.arange(n * width), out=out)
            grown = np.log(np.maximum(out, np.finfo(out.dtype).tiny), dtype=np.float64)
            grown = (grown.reshape(n, width, -1) + scores[..., None]).reshape(n, -1)
            if length == longest:  # only the mark can follow
                grown[:, np.arange(width * n_symbols) % n_symbols != mark] = -np.inf
            kept = np.argpartition(-grown, width - 1, axis=1)[:, :width]
            scores = grown[each, kept]
            parents, symbols = np.divmod(kept, n_symbols)
            beams = np.dstack([beams[each, parents], symbols])
            carry[:] = carry[(each * width + parents).ravel()]
            ended = np.where(symbols == mark, scores, -np.inf)
            for i in np.flatnonzero(ended.max(axis=1) > best):
                outputs[i] = beams[i, ended[i].argmax(), 1:-1]
            best = np.maximum(best, ended.max(axis=1))
            # prefixes that have ended, and those that can no longer become the best
            scores[(symbols == mark) | (scores.max(axis=1) <= best)[:, None]] = -np.inf
            if (scores == -np.inf).all():
                break
    return outputs


class Seq2SeqRNN(_PairsTraining, Vocabulary, _Search, TextLayers, TextNet):
    """A recurrent encoder-decoder network that translates texts, character by character.

    An encoder reads the input. A decoder starts from the encoder's final states and predicts each
    character of the output, and finally its end, from the characters before it. Inputs and outputs
    may have any length, and each have a vocabulary of their own. In training, the decoder reads the
    true output up to each character (teacher forcing); the loss is the mean over all characters of
    the outputs, ends included. In `predict`, it reads the characters that it has predicted.

    References
    ----------
    I. Sutskever, O. Vinyals and Q. V. Le, "Sequence to sequence learning with neural networks",
    Advances in Neural Information Processing Systems 27, 2014. K. Cho et al., "Learning phrase
    representations using RNN encoder-decoder for statistical machine translation", EMNLP 2014.

    Examples
    --------
    >>> from itertools import product
    >>> from sknn import Seq2SeqRNN
    >>> words = ["".join(letters) for letters in product("abcd", repeat=4)]
    >>> X = words[::3]
    >>> y = [word[::-1] for word in X]
    >>> net = Seq2SeqRNN("gru", 64, batch_size=16, learning_rate_init=0.01, random_state=0)
    >>> net.fit(X, y).predict(["abbd", "ddca"])
    array(['dbba', 'acdd'], dtype=object)
    """

    input_vocabulary_: Array = fitted(
        "The characters of inputs, each a str, in the order of their code points.",
        kind="ndarray of shape (n_vocabulary,)",
    )
    output_vocabulary_: Array = fitted(
        "The characters of outputs, in the same form.", kind="ndarray of shape (n_vocabulary,)"
    )
    longest_output_: int = fitted("Number of characters of the longest training output.")

    # --- fitting

    @fits
    def fit(self, X, y, *, X_val=None, y_val=None, resume_from: File = None) -> Self:
        """Learn the vocabularies and fit the network.

        Parameters
        ----------
        X : list, tuple, array or Series of str or Path
            The inputs. Any of them may be empty. A :class:`pathlib.Path`, here and in every other
            method, stands for the contents of that file, in UTF-8; a str is the text itself.
        y : list, tuple, array or Series of str or Path
            The outputs, one per input.
        X_val, y_val : list, tuple, array or Series of str or Path, default=None
            Validation pairs, scored after each epoch. With early stopping they are used in place of
            held-back pairs.
        """
        return self._fit(X, y, validation=(X_val, y_val, None), resume_from=resume_from)

    @partial_fits
    def partial_fit(self, X, y) -> Self:
        """Train for one epoch on more pairs; the first call learns the vocabularies.

        Parameters
        ----------
        X : list, tuple, array or Series of str or Path
            The inputs.
        y : list, tuple, array or Series of str or Path
            The outputs, one per input.
        """
        return self._fit(X, y, incremental=True)

    _remembered = {"_input_characters": Characters, "_output_characters": Characters}

    def _check_loaded(self):
        super()._check_loaded()
        coder, _, _ = self._weights.network.layers
        n_inputs, n_outputs = len(self._input_characters), len(self._output_characters)
        self._check_coder(coder.encoder, n_inputs)
        self._check_coder(coder.decoder, n_outputs + 1)
        agree("input_vocabulary_", self.input_vocabulary_.shape, (n_inputs,))
        agree("output_vocabulary_", self.output_vocabulary_.shape, (n_outputs,))
        agree("longest_output_", 0 <= self.longest_output_ <= MOST, True)

    def _network_outputs(self):
        return len(self._output_characters) + 1, "softmax"

    def _task(self):
        """Return the task, which has no parameters."""
        return Translation()

    def _read(self, X, y, reset=False):
        """Return texts as Pairs, including the targets; if `reset`, learn the vocabularies."""
        check_given(self, y)
        X, y = _as_pairs(X, y, to_fit=True)
        if reset:
            self.longest_output_ = 0
            self._input_characters = Characters.learn(X, self.unknown, self.min_count)
            self._output_characters = Characters.learn(y, self.unknown, self.min_count, "y")
            self.input_vocabulary_ = self._input_characters.vocabulary
            self.output_vocabulary_ = self._output_characters.vocabulary
        elif self.unknown != self._input_characters.unknown:
            raise ValueError(
                f"unknown is {self.unknown!r}; training continues with "
                f"unknown={self._input_characters.unknown!r}, with which the network was fitted. "
                "Refit with warm_start=False to change it."
            )
        return self._pairs(X, y)

    def _pairs(self, X, y):
        """Return texts as Pairs."""
        outputs = self._output_characters
        return make_pairs(
            self._input_characters.encode(X), outputs.encode(y, "y"), mark=len(outputs)
        )

    def _network(self, task, pairs, n_outputs):
        """Return the Network that the parameters describe, and the length of the longest output."""
        parts = [self._recurrent(n) for n in (len(self._input_characters), n_outputs)]
        layers = (EncoderDecoder(*parts, pairs.in_steps), Dense(n_outputs), Activation("softmax"))
        inputs = pairs.in_steps + pairs.out_steps
        longest = max(self.longest_output_, pairs.out_steps - 1)
        return Network(layers, inputs, Loss("log_loss", "softmax")), {"longest_output_": longest}

    # --- predicting

    @consistent
    def predict(self, X) -> Array:
        """Predict the most probable outputs, as far as beam search finds them.

        The search keeps the `beam_width` most probable prefixes of an output, where its end counts
        as a character, until none of them can become more probable than one that has ended.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The inputs, of any length.

        Returns
        -------
        y : ndarray of shape (n_texts,)
            The outputs, each a str. The output of an input is the same alone and in any batch.
        """
        check_is_fitted(self)
        self._validate_params()  # beam_width and max_length may be new
        codes, offsets = self._input_characters.encode(as_texts(X))
        encoder, decoder = encoder_and_decoder(self._placed_weights)
        states = final_states(encoder, np.split(codes, offsets[1:-1]), self.n_jobs)
        width = int(self.beam_width)
        longest = int(self.max_length or 2 * self.longest_output_)
        order = np.argsort(np.diff(offsets), kind="stable")  # similar ones end together
        predictions = np.empty(len(order), dtype=object)
        together = max(1, _TOGETHER // width)
        for first in range(0, len(order), together):
            places = order[first : first + together]
            found = beam_search(decoder, states[places], width, longest, self.n_jobs)
            predictions[places] = [self._output_characters.decode(output) for output in found]
        return predictions

    @consistent
    def score(self, X, y) -> float:
        """Return the fraction of outputs that `predict` predicts exactly.

        Parameters
        ----------
        X : list, tuple, array or Series of str or Path
            The inputs.
        y : list, tuple, array or Series of str or Path
            The true outputs, which may have characters outside the vocabulary.

        Returns
        -------
        score : float
            The fraction, from 0 to 1.
        """
        X, y = _as_pairs(X, y)
        return float(np.mean([found == wanted for found, wanted in zip(self.predict(X), y)]))

    @consistent
    def score_samples(self, X, y) -> Array:
        """Return the log-likelihood of each output, given its input, in nats.

        Parameters
        ----------
        X : list, tuple, array or Series of str or Path
            The inputs.
        y : list, tuple, array or Series of str or Path
            The outputs, one per input.

        Returns
        -------
        log_likelihood : ndarray of shape (n_texts,)
            The log-probability of each output: the sum over its characters and its end.
        """
        check_is_fitted(self)
        pairs, weights = self._pairs(*_as_pairs(X, y)), self._placed_weights
        return pairs.read(weights, self.n_jobs)[0]

    @consistent
    def activations(self, X, y, layer=-2) -> list[Array]:
        """Return the activations of a layer at each step of given outputs (teacher forcing).

        Parameters
        ----------
        X : list, tuple, array or Series of str
            The inputs.
        y : list, tuple, array or Series of str
            The outputs, one per input.
        layer : int or str, default=-2
            The layer's index in `layers_`, or its name. The default is the decoder, whose
            activations are the input of the output layer.

        Returns
        -------
        activations : list of ndarray of shape (n_chars + 1, units)
            For each pair, one row before each character of the output and one before its end.
        """
        check_is_fitted(self)
        return [finite(some) for some in self._runner(X, y)(self._up_to(layer))]

    def _runner(self, X, y=None):
        check_given(self, y)
        pairs = self._pairs(*_as_pairs(X, y))
        return lambda weights: pairs.outputs(weights, self.n_jobs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.target_tags.required = True
        tags.input_tags.two_d_array = tags.input_tags.sparse = False
        return tags


def _as_pairs(X, y, to_fit=False):
    """Return inputs and outputs as lists of str."""
    X, y = as_texts(X, to_fit=to_fit), as_texts(y, "y", to_fit)
    check_consistent_length(X, y)
    return X, y
