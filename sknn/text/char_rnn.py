"""A recurrent network that reads text character by character, and writes some."""

import os
import sys
from functools import partial
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..engine.network import Network
from ..engine.prediction import finite
from ..engine.training import Trainer
from ..engine.weights import Weights
from ..estimator.groups import Initializer, LayeredDescent, Scalar, StepSolver
from ..estimator.net import Job, begins_anew, train_by_minibatches
from ..estimator.parameters import COUNT, FRACTION, Array, Parameters, fitted, param
from ..estimator.transactions import consistent, fits
from ..layers import LSTM, Activation, Dense
from ..sequences.cells import Cells
from ..tape.losses import Loss
from .characters import Characters, TextModel, Vocabulary, as_texts, most_probable
from .generation import write
from .net import TextNet
from .streams import (
    StepRecorder,
    all_outputs,
    final_states,
    likelihood,
    log_likelihoods,
    make_streams,
    next_probabilities,
)


class TextLayers(Cells):
    """How models of text describe their layers."""

    hidden_size: int = param("Units of each of them.", default=128, valid=[COUNT], kw_only=False)
    n_layers: int = param(
        """
        How many stand one upon the other, at most 256; where there are an encoder and a decoder, in
        each.""",
        default=1, valid=[Interval(Integral, 1, 256, closed="both")], kw_only=False,
    )
    embedding: int | None = param(
        """
        The size of trained vectors that stand for the characters, which begin uniform within 0.05;
        None: a vector for each that is 1 at its number and 0 elsewhere.""",
        default=None, valid=[COUNT],
    )
    dropout: float = param(
        "Probability that an output of a recurrent layer but the last is dropped in training.",
        default=0.0, valid=[FRACTION],
    )
    reset_after: bool = param(default=False, after="dropout")
    activation: Literal["tanh", "relu"] = param(default="tanh", after="reset_after")


class _Streams(Parameters):
    """How text is dealt to streams, and what its ends are."""

    seq_len: int = param(
        """
        Characters of a chunk, through which gradients go back. The state goes on from chunk to
        chunk.""",
        default=50, valid=[COUNT],
    )
    batch_size: int = param(
        """
        How many parallel streams the text is dealt to, in the order of the text: a training step
        takes a chunk of each. The state is zero where a stream or a text begins. There are never
        more streams than chunks.""",
        default=32, valid=[COUNT],
    )
    reduction: Literal["mean", "sum"] = param(
        """
        What the gradient of a step, which is clipped, is of: the mean loss of its characters, or
        their sum over each chunk, averaged over the streams, as in the textbook.""",
        default="mean",
    )
    boundaries: bool = param(
        """
        Whether to learn where texts begin and end, by a mark around each of them. Then first
        characters are predicted, too, and so are ends: `sample` stops there.""",
        default=False,
    )


class _TextDescent(LayeredDescent):
    """What is another default, or means something else, in training with text."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights; divided by what the gradient of a step is
        divided by, as `reduction` says.""",
        default=0.0,
    )
    learning_rate_init: float = param(default=2e-3)
    max_iter: int = param("The largest number of epochs.", default=20)
    random_state: int | np.random.RandomState | None = param(
        """
        Seed of the initial weights, of dropout, and of `sample`, where that is given none. The
        same int gives the same bits, whatever the number of threads.""",
        default=None,
    )
    early_stopping: bool = param(
        """
        Whether to hold back the end of the text, or the last texts of several, to end training
        when their log-likelihood no longer improves, and to keep the best weights.""",
        default=False,
    )
    scoring: Literal["loss"] | None = param(
        """
        The score of validation data: None or 'loss', the mean log-likelihood of a character, minus
        the loss.""",
        default=None, valid=[], kind="{'loss'} or None",
    )
    validation_fraction: float = param(
        "The part of the text, or of the number of texts, that early stopping holds back.",
        default=0.1,
    )
    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        """
        How weights start: 'auto' (in recurrent layers uniform within ``1 / sqrt(hidden_size)``, in
        the output layer 'glorot_uniform'), 'small_normal' (deviation 0.01), 'glorot_uniform',
        'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal', 'normal'
        (deviation 0.05), 'uniform' (within 0.05) or 'zeros'; or the path of a safetensors file, or
        a list of arrays, as in :class:`~sknn.RNNClassifier`.""",
        default="auto", kind="str, path or list of ndarray",
    )
    clip_value: float | None = param("Limit of each element of the gradient.", default=5.0)
    clip_norm: float | None = param("Limit of the norm of the whole gradient.", default=None)
    dtype: Scalar | None = param("What is computed in; None: float32.", default=None)

    loss_: float = fitted("The last loss, the mean over all characters.")
    step_loss_curve_: list[float] | None = fitted(
        "With `record_steps`: the loss of each step, the mean over the characters in it; else None."
    )
    validation_loss_curve_: list[float] | None = fitted(
        """
        With validation data, which is dealt to streams, too: its loss after each epoch; else
        None."""
    )
    validation_scores_: list[float] | None = fitted(
        "With validation data: its mean log-likelihood after each epoch; else None."
    )
    t_: int = fitted("Chunks seen.")


def _print(text):
    """Print text, escaping what the console cannot show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


class CharRNN(
    _TextDescent, StepSolver, Vocabulary, _Streams, TextLayers,
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TextModel, TextNet,
):  # fmt: skip
    """A recurrent network that predicts each character of a text from those before it.

    The text is dealt to parallel streams, which are gone through in chunks of `seq_len` characters;
    the state is carried from chunk to chunk (truncated backpropagation through time). It then
    scores text, writes more of it, and turns it into features.

    References
    ----------
    A. Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015. R. J. Williams
    and J. Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2, 1990. S. Hochreiter and J. Schmidhuber, "Long short-term
    memory", Neural Computation 9, 1997.

    Examples
    --------
    >>> from sknn import CharRNN
    >>> text = "she sells sea shells by the sea shore. " * 20
    >>> rnn = CharRNN("gru", 32, seq_len=20, batch_size=4, max_iter=50, random_state=0).fit(text)
    >>> rnn.sample(16, prime="she sells sea ", temperature=0.1)
    'shells by the se'
    """

    sample_chars: int = param(
        "How many characters to sample and print after each epoch.",
        default=0, valid=[Interval(Integral, 0, None, closed="left")],
    )
    record_steps: bool = param(
        "Whether to keep the loss of each step in `step_loss_curve_`.", default=False
    )

    vocabulary_: Array = fitted(
        """
        The characters, each a str, in the order of their code points; with `boundaries` the last
        is the empty str, which stands for the end of a text.""",
        kind="ndarray of shape (n_vocabulary,)",
    )
    character_counts_: Array = fitted(
        "How often each was in the texts fitted.", kind="ndarray of shape (n_vocabulary,)"
    )

    # --- fitting

    @fits
    def fit(self, X, y=None, *, X_val=None) -> Self:
        """Learn the vocabulary and fit the network.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            One text, or several, which begin anew. A :class:`pathlib.Path`, here and wherever
            texts are taken, stands for what its file holds, in UTF-8; a str is text itself.
        y : Ignored
            Not used, present for API consistency by convention.
        X_val : str, Path, or list, tuple, array or Series of them, default=None
            Texts to validate with after each epoch. With early stopping they take the place of the
            part that would be held back.
        """
        return self._fit(X, y, X_val, False)

    @fits
    def partial_fit(self, X, y=None) -> Self:
        """Go once over more text, from where training stands; the first call learns the vocabulary.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts, which begin with a state of zero.
        y : Ignored
            Not used, present for API consistency by convention.
        """
        return self._fit(X, y, None, True)

    def _fit(self, X, y, X_val, incremental):
        """Check everything, then train."""
        if incremental:
            self._check_incremental()
        first = begins_anew(self, incremental)
        train, held = self._read_texts(as_texts(X, to_fit=True), X_val, first)
        network = self._network(max((len(text) - 1 for text in train), default=1))
        dtype = self._computing_dtype(train if first else None)
        job = Job.of(self, network, dtype, first, incremental, likelihood, {})
        how = network, dtype, self.batch_size, self.reduction
        job.data = make_streams(train, "X", *how)
        job.held = None if held is None else make_streams(held, "X_val", *how)
        job.start(self)
        return self._learn(job, X, y)

    def _read_texts(self, texts, X_val, first):
        """Return texts to fit and to validate with as numbers; learn or check the vocabulary."""
        if first:
            self._characters = Characters.learn(texts, self.unknown, self.min_count)
            ends = [""] if self.boundaries else []
            self.vocabulary_ = np.array([*self._characters.vocabulary, *ends], dtype=object)
        else:
            self._check_goes_on()
        codes = self._numbers(texts)
        counts = np.bincount(np.concatenate(codes), minlength=len(self.vocabulary_))
        if self.boundaries:
            counts[-1] -= len(texts)  # a mark ends a text, and one begins it
        self.character_counts_ = counts if first else self.character_counts_ + counts
        if X_val is not None:
            return codes, self._numbers(as_texts(X_val, "X_val", to_fit=True), "X_val")
        return self._hold_back(codes) if self.early_stopping else (codes, None)

    def _check_goes_on(self):
        """Check that texts are still read as the vocabulary was learned."""
        before = self._mark is not None, self._characters.unknown
        if (self.boundaries, self.unknown) != before:
            raise ValueError(
                f"boundaries is {self.boundaries} and unknown is {self.unknown!r}; training goes "
                f"on with boundaries={before[0]} and unknown={before[1]!r}, which the network was "
                "fitted with. Fit anew, with warm_start=False, to change them."
            )

    @property
    def _mark(self):
        """The number of the mark around texts, or None."""
        n = len(self._characters)
        return n if len(self.vocabulary_) > n else None

    def _numbers(self, texts, name="X", ends=True):
        """Return texts as arrays of numbers; with marks where they begin, and end if `ends`."""
        codes, offsets = self._characters.encode(texts, name)
        codes = np.split(codes, offsets[1:-1])
        if self._mark is None:
            return codes
        mark = np.array([self._mark])
        return [np.concatenate([mark, text, mark] if ends else [mark, text]) for text in codes]

    def _hold_back(self, texts):
        """Return the texts to train with, and those that early stopping holds back."""
        if len(texts) > 1:
            n = len(texts) - int(np.ceil(self.validation_fraction * len(texts)))
            parts = texts[:n], texts[n:]
        else:
            n = len(texts[0]) - int(np.ceil(self.validation_fraction * len(texts[0])))
            parts = [texts[0][:n]], [texts[0][max(n - 1, 0) :]]
        if min(max(map(len, part), default=0) for part in parts) < 2:
            raise ValueError(
                f"validation_fraction is {self.validation_fraction} and X too short for it; "
                "expected text to hold back, and at least two characters to train with."
            )
        return parts

    def _network(self, longest):
        """Return the Network that the parameters describe, for chunks of the longest text."""
        n_symbols = len(self.vocabulary_)
        layers = self._recurrent(n_symbols)
        time = max(1, min(self.seq_len, longest))
        layers = (*layers, Dense(n_symbols), Activation("softmax"))
        return Network(layers, int(time), Loss("log_loss", "softmax"))

    def _train(self, job, callbacks):
        random_state = np.random.RandomState(job.seed & 0xFFFFFFFF)

        n_chars, characters = self.sample_chars, self._characters
        sampling = self._numbers([""], ends=False)[0], self._frequencies(), self._mark

        def print_sample(values):
            weights = Weights(job.network, values(), job.dtype).on(job.recipe.device)
            codes = write(weights, n_chars, *sampling, 1.0, None, random_state)
            _print("".join(map(characters.decode, codes)))

        kind = StepRecorder if self.record_steps else Trainer
        trainer = train_by_minibatches(
            job, callbacks, kind, print_sample if self.sample_chars else None
        )
        before = None if job.first else getattr(self, "step_loss_curve_", None)
        losses = (before or []) + trainer.step_losses if self.record_steps else None
        job.attributes["step_loss_curve_"] = losses

    def _attributes(self, network, values):
        return super()._attributes(network, values) | {"_n_features_out": int(self.hidden_size)}

    # --- scoring

    def _log_likelihoods(self, X):
        """Return, for each text, its log-likelihood, and of how many characters."""
        check_is_fitted(self)
        texts = self._numbers(as_texts(X))
        n_chars = np.array([max(len(text) - 1, 0) for text in texts])
        return log_likelihoods(self._placed_weights, texts, self.n_jobs), n_chars

    # --- what comes next

    def _distributions(self, texts):
        """Return the distributions of the characters that follow texts."""
        texts = self._numbers(texts, ends=False)
        probabilities = np.empty((len(texts), len(self.vocabulary_)), self._weights.dtype)
        probabilities[:] = self._frequencies()
        read = [i for i, text in enumerate(texts) if len(text)]
        if read:
            _, probabilities[read] = self._after([texts[i] for i in read])
        return probabilities

    def _frequencies(self):
        shape = np.shape(self.character_counts_)
        if shape != (len(self.vocabulary_),):
            raise ValueError(
                f"character_counts_ has the shape {shape}; expected ({len(self.vocabulary_)},)."
            )
        return self.character_counts_ / self.character_counts_.sum()

    def _after(self, texts):
        """Return the states after texts that are not empty, and the distributions that follow."""
        weights, last = self._placed_weights, np.array([text[-1] for text in texts])
        states = final_states(weights, [text[:-1] for text in texts], self.n_jobs)
        probabilities = next_probabilities(weights, last, states, self.n_jobs)
        return states, probabilities

    @consistent
    def transform(self, X) -> Array:
        """Return the state of the last recurrent layer after each text, as features.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts.

        Returns
        -------
        states : ndarray of shape (n_texts, hidden_size)
            Zeros for an empty text, without `boundaries`.
        """
        check_is_fitted(self)
        texts = self._numbers(as_texts(X), ends=False)
        units = self._n_features_out
        own = 2 * units if isinstance(self.layers_[-2], LSTM) else units
        states = final_states(self._placed_weights, texts, self.n_jobs)[:, -own:]
        return np.ascontiguousarray(states[:, :units])

    @consistent
    def activations(self, X, layer=-2) -> list[Array]:
        """Return the outputs of one of the layers after each character.

        Parameters
        ----------
        X : str or list, tuple, array or Series of str
            The texts.
        layer : int or str, default=-2
            Its place in `layers_`, or its name. The default is what the output layer gets.

        Returns
        -------
        activations : list of ndarray of shape (n_chars, units)
            One for each text; with `boundaries` the first row is that of the start token.
        """
        check_is_fitted(self)
        texts = self._numbers(as_texts(X), ends=False)
        return [finite(some) for some in all_outputs(self._up_to(layer), texts, self.n_jobs)]

    def _write(self, n_chars, prime, temperature, top_k, random_state):
        """Return the numbers of drawn characters, some at a time."""
        return write(
            self._placed_weights, n_chars, self._numbers([prime], "prime", ends=False)[0],
            self._frequencies(), self._mark, temperature, top_k, random_state,
        )  # fmt: skip

    def _search(self, n_chars, prime, beam_width):
        """Return the numbers of characters that a beam search finds, and their log-probability."""
        start = self._numbers([prime], "prime", ends=False)[0]
        states = np.zeros((1, self._weights.network.state_size), self._weights.dtype)
        probabilities = self._frequencies()[None]
        if len(start):
            states, probabilities = self._after([start])
        # a few rows at a time: on the host, where the weights are
        follow = partial(next_probabilities, self._weights)
        return most_probable(n_chars, states, probabilities, beam_width, self._mark, follow)
