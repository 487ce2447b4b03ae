"""A character-level recurrent language model."""

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
from ..engine.weights import Weights
from ..estimator.base import agree
from ..estimator.groups import Initializer, LayeredDescent, Scalar, StepSolver
from ..estimator.net import Job, begins_anew, train_by_minibatches
from ..estimator.parameters import COUNT, FRACTION, Array, Parameters, fitted, param
from ..estimator.resuming import File, resume
from ..estimator.scoring import minus_loss
from ..estimator.transactions import consistent, fits
from ..layers import LSTM, Activation, Dense
from ..layers.recurrent import Recurrent
from ..sequences.cells import Cells
from ..tape.losses import Loss
from .characters import Characters, TextModel, Vocabulary, as_texts, most_probable
from .generation import write
from .net import TextNet
from .streams import (
    StepRecorder,
    all_outputs,
    final_states,
    log_likelihoods,
    make_streams,
    next_probabilities,
)


class TextLayers(Cells):
    """The layers of models of text."""

    hidden_size: int = param(
        "Units per recurrent layer.", default=128, valid=[COUNT], kw_only=False
    )
    n_layers: int = param(
        """
        Number of stacked recurrent layers, at most 256; with an encoder and a decoder, in
        each.""",
        default=1, valid=[Interval(Integral, 1, 256, closed="both")], kw_only=False,
    )
    embedding: int | None = param(
        """
        Size of the trained embedding vectors of the characters, initialized uniformly in
        [-0.05, 0.05]. None: one-hot vectors.""",
        default=None, valid=[COUNT],
    )
    dropout: float = param(
        "Dropout rate, in training, between stacked recurrent layers.",
        default=0.0, valid=[FRACTION],
    )
    reset_after: bool = param(default=False, after="dropout")
    activation: Literal["tanh", "relu"] = param(default="tanh", after="reset_after")


class _Streams(Parameters):
    """How text is split into streams, and how its ends are treated."""

    seq_len: int = param(
        """
        Number of characters per chunk, through which gradients are backpropagated. The state is
        carried over from chunk to chunk.""",
        default=50, valid=[COUNT],
    )
    batch_size: int = param(
        """
        Number of parallel streams into which the text is split, in the order of the text; each
        training step uses one chunk of every stream. The state is zero at the start of each stream
        and of each text. There are never more streams than chunks.""",
        default=32, valid=[COUNT],
    )
    reduction: Literal["mean", "sum"] = param(
        """
        The loss whose gradient is computed, and clipped, in each step. 'mean': the mean over all
        characters of the step; 'sum': the sum over the characters of a chunk, averaged over the
        streams, as in textbooks.""",
        default="mean",
    )
    boundaries: bool = param(
        """
        Whether to learn where texts begin and end, by start and end tokens. Then the first
        character and the end are predicted, too, and `sample` stops at the end of a text.""",
        default=False,
    )


class _TextDescent(LayeredDescent):
    """Training parameters whose default or meaning differs for text."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights; divided by the same number as the loss of a step
        (see `reduction`).""",
        default=0.0,
    )
    learning_rate_init: float = param(default=2e-3)
    max_iter: int = param("Maximum number of epochs.", default=20)
    random_state: int | np.random.RandomState | None = param(
        """
        Seed of the initial weights, of dropout, and of `sample`, if that is given none. The same
        int gives the same result, to the bit, for any number of threads.""",
        default=None,
    )
    early_stopping: bool = param(
        """
        Whether to hold back the end of the text (or the last ones of several texts) as validation
        data, to stop training when its log-likelihood no longer improves, and to keep the best
        weights.""",
        default=False,
    )
    scoring: Literal["loss"] | None = param(
        """
        The score on validation data. None and 'loss' are the same: the mean log-likelihood per
        character, which is minus the loss.""",
        default=None, valid=[], kind="{'loss'} or None",
    )
    validation_fraction: float = param(
        "The fraction of the text, or of the number of texts, that early stopping holds back.",
        default=0.1,
    )
    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        """
        Weight initialization: 'auto' (recurrent layers: uniform in
        ``[-1 / sqrt(hidden_size), 1 / sqrt(hidden_size)]``; output layer: 'glorot_uniform'),
        'small_normal' (standard deviation 0.01), 'glorot_uniform', 'glorot_normal', 'he_uniform',
        'he_normal', 'lecun_uniform', 'lecun_normal', 'normal' (standard deviation 0.05), 'uniform'
        (in [-0.05, 0.05]) or 'zeros'; or the path of a safetensors file, or a list of arrays, as in
        :class:`~sknn.RNNClassifier`.""",
        default="auto", kind="str, path or list of ndarray",
    )
    clip_value: float | None = param(
        "Clip each element of the gradient to [-clip_value, clip_value]. None: no clipping.",
        default=5.0,
    )
    clip_norm: float | None = param(
        "Clip gradients to this norm, taken over all weights. None: no clipping.", default=None
    )
    dtype: Scalar | None = param(
        "Floating-point precision of the computation; None: float32.", default=None
    )

    loss_: float = fitted("Loss of the last epoch, the mean over all characters.")
    step_loss_curve_: list[float] | None = fitted(
        "With `record_steps`: the loss of each step, the mean over its characters; else None."
    )
    validation_loss_curve_: list[float] | None = fitted(
        """
        The loss on the validation data, which is split into streams, too, after each epoch. None
        without validation data."""
    )
    validation_scores_: list[float] | None = fitted(
        """
        The mean log-likelihood per character of the validation data after each epoch. None without
        validation data."""
    )
    t_: int = fitted("Number of chunks seen in training.")


def _print(text):
    """Print text, escaping characters that the console cannot show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


class CharRNN(
    _TextDescent, StepSolver, Vocabulary, _Streams, TextLayers,
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TextModel, TextNet,
):  # fmt: skip
    """A recurrent network that predicts each character of a text from those before it.

    Training splits the text into parallel streams and processes these in chunks of `seq_len`
    characters; the state is carried over from chunk to chunk (truncated backpropagation through
    time). The fitted model scores text, generates text, and extracts features from text.

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
        "Number of characters to sample and print after each epoch.",
        default=0, valid=[Interval(Integral, 0, None, closed="left")],
    )
    record_steps: bool = param(
        "Whether to keep the loss of each step in `step_loss_curve_`.", default=False
    )

    vocabulary_: Array = fitted(
        """
        The characters, each a str, in the order of their code points; with `boundaries` the last
        entry is the empty str, which stands for the end of a text.""",
        kind="ndarray of shape (n_vocabulary,)",
    )
    character_counts_: Array = fitted(
        "Number of occurrences of each character in the training texts.",
        kind="ndarray of shape (n_vocabulary,)",
    )

    _remembered = {"_characters": Characters, "_n_features_out": int}

    def _check_loaded(self):
        super()._check_loaded()
        *coder, _, _ = self._weights.network.layers
        self._check_coder(coder, len(self.vocabulary_))
        steps = {layer.return_sequences for layer in coder if isinstance(layer, Recurrent)}
        agree("return_sequences", steps, {True})
        agree("_n_features_out", self._n_features_out, coder[-1].units)
        symbols = list(self._characters.symbols)
        agree("vocabulary_", self.vocabulary_.tolist() in (symbols, [*symbols, ""]), True)
        counts = self.character_counts_
        agree("character_counts_", counts.shape, self.vocabulary_.shape)
        agree("character_counts_", counts.dtype.kind, "i")
        agree("character_counts_", counts.min() >= 0 and counts.sum() > 0, True)

    def _network_outputs(self):
        return len(self.vocabulary_), "softmax"

    # --- fitting

    @fits
    def fit(self, X, y=None, *, X_val=None, resume_from: File = None) -> Self:
        """Learn the vocabulary and fit the network.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            One text, or several; the state is reset at the start of each. A :class:`pathlib.Path`,
            here and in every other method, stands for the contents of that file, in UTF-8; a str is
            the text itself.
        y : Ignored
            Not used, present for API consistency by convention.
        X_val : str, Path, or list, tuple, array or Series of them, default=None
            Validation texts, scored after each epoch. With early stopping they are used in place of
            held-back text.
        """
        return self._fit(X, y, X_val, resume_from=resume_from)

    @fits
    def partial_fit(self, X, y=None) -> Self:
        """Train for one epoch on more text; the first call learns the vocabulary.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts; the state is zero at the start of each.
        y : Ignored
            Not used, present for API consistency by convention.
        """
        return self._fit(X, y, incremental=True)

    def _fit(self, X, y, X_val=None, incremental=False, resume_from=None):
        """Check everything, then train."""
        if incremental:
            self._check_incremental()
        resumed = resume(self, resume_from)
        first = resumed is None and begins_anew(self, incremental)
        train, held = self._read_texts(as_texts(X, to_fit=True), X_val, first, resumed is None)
        network = self._network(max((len(text) - 1 for text in train), default=1))
        dtype = self._computing_dtype(train if first else None)
        job = Job.of(self, network, dtype, first, incremental, minus_loss, {})
        how = network, dtype, self.batch_size, self.reduction
        job.data = make_streams(train, "X", *how)
        job.held = None if held is None else make_streams(held, "X_val", *how)
        job.resumed = resumed
        job.start(self)
        return self._learn(job, X, y)

    def _read_texts(self, texts, X_val, first, count):
        """Return training and validation texts as numbers; learn or check the vocabulary.

        `count` says whether to count their characters.
        """
        if first:
            self._characters = Characters.learn(texts, self.unknown, self.min_count)
            ends = [""] if self.boundaries else []
            self.vocabulary_ = np.array([*self._characters.vocabulary, *ends], dtype=object)
        else:
            self._check_goes_on()
        codes = self._numbers(texts)
        counts = np.bincount(np.concatenate(codes), minlength=len(self.vocabulary_))
        if self.boundaries:
            counts[-1] -= len(texts)  # the same token starts and ends a text; only ends count
        if count:
            self.character_counts_ = counts if first else self.character_counts_ + counts
        if X_val is not None:
            return codes, self._numbers(as_texts(X_val, "X_val", to_fit=True), "X_val")
        return self._hold_back(codes) if self.early_stopping else (codes, None)

    def _check_goes_on(self):
        """Check that the parameters of the vocabulary have not changed since it was learned."""
        before = self._mark is not None, self._characters.unknown
        if (self.boundaries, self.unknown) != before:
            raise ValueError(
                f"boundaries is {self.boundaries} and unknown is {self.unknown!r}; training "
                f"continues with boundaries={before[0]} and unknown={before[1]!r}, with which the "
                "network was fitted. Refit with warm_start=False to change them."
            )

    @property
    def _mark(self):
        """The number of the start and end token of texts, or None."""
        n = len(self._characters)
        return n if len(self.vocabulary_) > n else None

    def _numbers(self, texts, name="X", ends=True):
        """Return texts as arrays of numbers, with start tokens, and end tokens if `ends`."""
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
                f"validation_fraction is {self.validation_fraction} and X is too short for it; "
                "expected text to hold back, and at least two characters to train on."
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

        kind = StepRecorder if self.record_steps else None
        train_by_minibatches(job, callbacks, kind, print_sample if self.sample_chars else None)

    def _progress(self, job):
        progress = super()._progress(job)
        progress.step_loss_curve = list(getattr(self, "step_loss_curve_", None) or ())
        return progress

    def _commit(self, job, progress):
        super()._commit(job, progress)
        self.step_loss_curve_ = progress.step_loss_curve if self.record_steps else None

    def _attributes(self, network, values):
        return super()._attributes(network, values) | {"_n_features_out": int(self.hidden_size)}

    # --- scoring

    def _log_likelihoods(self, X):
        """Return the log-likelihood of each text, and the number of characters scored in each."""
        check_is_fitted(self)
        texts = self._numbers(as_texts(X))
        n_chars = np.array([max(len(text) - 1, 0) for text in texts])
        return log_likelihoods(self._placed_weights, texts, self.n_jobs), n_chars

    # --- predicting the next character

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
        """Return the states after nonempty texts, and the distributions of the next characters."""
        weights, last = self._placed_weights, np.array([text[-1] for text in texts])
        states = final_states(weights, [text[:-1] for text in texts], self.n_jobs)
        probabilities = next_probabilities(weights, last, states, self.n_jobs)
        return states, probabilities

    @consistent
    def transform(self, X) -> Array:
        """Return the last recurrent layer's state after each text, as features.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts.

        Returns
        -------
        states : ndarray of shape (n_texts, hidden_size)
            The features; zeros for an empty text, unless the model has `boundaries`.
        """
        check_is_fitted(self)
        texts = self._numbers(as_texts(X), ends=False)
        units = self._n_features_out
        own = 2 * units if isinstance(self.layers_[-2], LSTM) else units
        states = final_states(self._placed_weights, texts, self.n_jobs)[:, -own:]
        return np.ascontiguousarray(states[:, :units])

    @consistent
    def activations(self, X, layer=-2) -> list[Array]:
        """Return the activations of a layer after each character.

        Parameters
        ----------
        X : str or list, tuple, array or Series of str
            The texts.
        layer : int or str, default=-2
            The layer's index in `layers_`, or its name. The default is the input of the output
            layer.

        Returns
        -------
        activations : list of ndarray of shape (n_chars, units)
            One array per text; with `boundaries` the first row belongs to the start token.
        """
        check_is_fitted(self)
        return [finite(some) for some in self._runner(X)(self._up_to(layer))]

    def _runner(self, X, y=None):
        texts = self._numbers(as_texts(X), ends=False)
        return lambda weights: all_outputs(weights, texts, self.n_jobs)

    def _write(self, n_chars, prime, temperature, top_k, random_state):
        """Yield the numbers of sampled characters, some at a time."""
        return write(
            self._placed_weights, n_chars, self._numbers([prime], "prime", ends=False)[0],
            self._frequencies(), self._mark, temperature, top_k, random_state,
        )  # fmt: skip

    def _search(self, n_chars, prime, beam_width):
        """Return the numbers of the characters found by beam search, and their log-probability."""
        start = self._numbers([prime], "prime", ends=False)[0]
        states = np.zeros((1, self._weights.network.state_size), self._weights.dtype)
        probabilities = self._frequencies()[None]
        if len(start):
            states, probabilities = self._after([start])
        # a few rows at a time: on the host, where the weights are
        follow = partial(next_probabilities, self._weights)
        return most_probable(n_chars, states, probabilities, beam_width, self._mark, follow)
