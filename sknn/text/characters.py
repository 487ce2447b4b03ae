"""Text as numbers: documents, vocabularies of characters, and the base of models of text."""

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn import get_config
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from ..engine.warn import warn
from ..estimator.parameters import Array, Parameters, param
from ..estimator.transactions import consistent
from ..files.codec import check_types, storable
from ..layers.base import MOST

_COUNT = Interval(Integral, 1, MOST, closed="both")


class Vocabulary(Parameters):
    """How an estimator chooses its vocabulary."""

    unknown: str | None = param(
        """
        A single character that replaces every character outside the vocabulary; it is itself part
        of the vocabulary. None: a character outside the vocabulary is an error.""",
        default=None,
    )
    min_count: int = param(
        """
        Characters that occur fewer times than this in the training text are left out of the
        vocabulary. Values above 1 require `unknown`.""",
        default=1, valid=[_COUNT],
    )


#: Longest str that is checked for being the path of a file, given by mistake.
_LONGEST_PATH = 4096
#: Constraints on the arguments of the methods that generate text.
_ARGUMENTS = {
    "n_chars": [Interval(Integral, 0, MOST, closed="both")],
    "prime": [str],
    "temperature": [Interval(Real, 0, None, closed="neither")],
    "return_prime": ["boolean"],
    "top_k": [Interval(Integral, 1, None, closed="left"), None],
    "random_state": ["random_state"],
    "beam_width": [_COUNT],
}


def as_texts(X, name="X", to_fit=False):
    """Return documents as a list of str; paths are replaced by the contents of their files.

    Parameters
    ----------
    X : str, Path, or list, tuple, one-dimensional array or Series of them
        One document, or several.
    name : str
        The name to use in error messages.
    to_fit : bool
        Whether they are training data: then text that is the name of an existing file leads to a
        warning.

    Returns
    -------
    texts : list of str
        At least one; any of them may be empty.
    """
    if isinstance(X, (str, os.PathLike)):
        texts = [X]
    else:
        texts = _as_documents(X, name)
    if to_fit and all(map(_is_name_of_a_file, texts)):
        path = f"pathlib.Path({texts[0]!r})"
        warn(
            f"{name} is {X!r:.200}, the name of an existing file, and is learned as text itself. "
            f"To learn the file's contents, give {path if texts[0] is X else f'[{path}, ...]'}."
        )
    return [text if isinstance(text, str) else _read(text, name) for text in texts]


def _is_name_of_a_file(text):
    return isinstance(text, str) and len(text) <= _LONGEST_PATH and os.path.isfile(text)


def _read(path, name):
    """Return the contents of a file, in UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} has the path {os.fspath(path)!r}, whose file is not valid UTF-8: byte "
            f"0x{error.object[error.start]:02x} at position {error.start}. Give the text instead, "
            "for example path.read_text(encoding='latin-1')."
        ) from None


def _as_documents(X, name):
    """Return several documents as a list of str or paths, checked."""
    _reject_bytes(X, name)
    if not isinstance(X, (list, tuple)):
        shape = getattr(X, "shape", None)
        if shape is None:
            raise TypeError(
                f"{name} is of the type {type(X).__name__}; expected a str, or a list or array of "
                "str."
            )
        if len(shape) != 1:
            raise ValueError(
                f"{name} has the shape {tuple(shape)}; expected a str, or a list or "
                "one-dimensional array of str, one per document."
            )
    texts = list(X)
    if not texts:
        raise ValueError(f"{name} holds no document; expected a str, or at least one str in it.")
    for i, text in enumerate(texts):
        if not isinstance(text, (str, os.PathLike)):
            _reject_bytes(text, f"{name}[{i}]")
            raise TypeError(
                f"{name}[{i}] is of the type {type(text).__name__}; expected every document to be "
                "a str or the Path of a file."
            )
    return texts


def _reject_bytes(value, name):
    if isinstance(value, (bytes, bytearray)):
        raise TypeError(
            f"{name} is {type(value).__name__}; expected a str: decode it, as in "
            f"{name}.decode('utf-8')."
        )


@dataclass(frozen=True)
class Characters:
    """A vocabulary of characters, numbered in the order of their code points.

    Parameters
    ----------
    symbols : str
        The characters, sorted.
    unknown : str or None
        The one of them that replaces all other characters; None: others are an error.
    """

    symbols: str
    unknown: str | None = None

    @classmethod
    def learn(cls, texts, unknown=None, min_count=1, name="X"):
        """Return the vocabulary of a list of str; see `Vocabulary` for the parameters."""
        if unknown is not None and len(unknown) != 1:
            raise ValueError(f"unknown is {unknown!r}; expected a single character, or None.")
        if unknown is None and min_count > 1:
            raise ValueError(
                f"min_count is {min_count} and unknown is None; expected a character to replace "
                "those that are too rare, such as unknown='\\ufffd'."
            )
        counts = np.bincount(_code_points("".join(texts)))
        if not len(counts):
            raise ValueError(f"{name} holds no character; expected text to fit.")
        points = np.flatnonzero(counts >= min_count)
        if unknown is not None:
            points = np.union1d(points, ord(unknown))
        return cls(_text_of(points), unknown)

    @classmethod
    def loaded(cls, symbols, unknown):
        """Return the vocabulary that a file describes, checked."""
        check_types("Characters", {"symbols": (symbols, str)})
        if not symbols or list(symbols) != sorted(set(symbols)):
            raise ValueError(f"Its symbols are {symbols!r:.200}; expected sorted characters.")
        if unknown is not None and unknown not in set(symbols):
            raise ValueError(f"unknown is {unknown!r:.200}; expected one of the characters.")
        return cls(symbols, unknown)

    def __len__(self):
        return len(self.symbols)

    @property
    def vocabulary(self):
        """The characters as an array; of objects, since NumPy's own strings drop a final NUL."""
        return np.array(list(self.symbols), dtype=object)

    @property
    def _points(self):
        return _code_points(self.symbols)

    def encode(self, texts, name="X"):
        """Return the numbers of the characters of documents.

        Parameters
        ----------
        texts : str or list of str
            One document, or several.
        name : str
            The name to use in error messages.

        Returns
        -------
        codes : ndarray of int64, of shape (n_characters,)
            All documents, concatenated.
        offsets : ndarray of int64, of shape (n_documents + 1,)
            Document i is ``codes[offsets[i] : offsets[i + 1]]``.
        """
        documents = [texts] if isinstance(texts, str) else texts
        offsets = np.cumsum([0] + [len(text) for text in documents], dtype=np.int64)
        points = _code_points("".join(documents))
        codes = np.searchsorted(self._points, points).astype(np.int64, copy=False)
        np.minimum(codes, len(self) - 1, out=codes)
        strange = np.flatnonzero(self._points[codes] != points)
        if len(strange) and self.unknown is None:
            document = np.searchsorted(offsets, strange[0], side="right") - 1
            place = f"position {strange[0] - offsets[document]}"
            if documents is texts:
                place = f"document {document}, {place}"
            point = int(points[strange[0]])
            raise ValueError(
                f"{name} holds the character {chr(point)!r} (U+{point:04X}; {place}), which was "
                "not in the text that the vocabulary was learned from. Fit on text that has it, or "
                "set unknown='\\ufffd', or another character, to replace all unseen ones."
            )
        if len(strange):
            codes[strange] = self.symbols.index(self.unknown)
        return codes, offsets

    def decode(self, codes):
        """Return the text of an array of numbers."""
        return _text_of(self._points[codes])


storable(Characters, vars, Characters.loaded)


def _code_points(text):
    # lone surrogates are characters like any other
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def _text_of(points):
    return np.asarray(points, np.dtype("<u4")).tobytes().decode("utf-32-le", "surrogatepass")


def draw(probabilities, temperature, top_k, uniform):
    """Return the number of a symbol drawn from a distribution, given a uniform random number."""
    if top_k is not None and top_k < len(probabilities):
        least = np.partition(probabilities, -top_k)[-top_k]
        probabilities = np.where(probabilities < least, 0.0, probabilities)
    if temperature != 1:
        probabilities = (probabilities / probabilities.max()) ** (1 / temperature)
    sums = np.cumsum(probabilities)
    return int(np.searchsorted(sums, uniform * sums[-1], side="right"))


def most_probable(n, states, probabilities, width, end, follow):
    """Return the most probable symbols found by beam search, and their log-probability.

    Parameters
    ----------
    n : int
        Maximum number of symbols.
    states : ndarray of shape (1, state_size)
        The model's initial state.
    probabilities : ndarray of shape (1, n_symbols)
        The distribution of the first symbol.
    width : int
        Number of prefixes to keep.
    end : int or None
        The symbol that ends a text.
    follow : callable
        ``follow(symbols, states)`` advances each of the states by one symbol, in place, and returns
        the distributions of the symbols after that.

    Returns
    -------
    codes : ndarray of int64
        The symbols, without the end.
    log_probability : float
        The log-probability, which includes that of the end, if it was reached.
    """
    beams, scores = np.zeros((1, 0), np.int64), np.zeros(1)
    best, best_score = None, -np.inf
    for _ in range(n):
        with np.errstate(divide="ignore"):
            grown = scores[:, None] + np.log(probabilities, dtype=np.float64)
        kept = np.argsort(-grown, axis=None, kind="stable")[:width]
        kept = kept[np.isfinite(grown.ravel()[kept])]
        parents, symbols = np.divmod(kept, grown.shape[1])
        beams, scores = np.column_stack([beams[parents], symbols]), grown.ravel()[kept]
        ended = symbols == end
        if ended.any() and scores[ended].max() > best_score:
            first = np.flatnonzero(ended)[0]
            best, best_score = beams[first, :-1], scores[first]
        beams, scores = beams[~ended], scores[~ended]
        if not len(scores) or scores[0] <= best_score:  # they can only get worse
            return best, float(best_score)
        states = states[parents[~ended]]
        probabilities = follow(beams[:, -1], states)
    return beams[0], float(scores[0])


class TextModel(DensityMixin):
    """Mixin of models of text: scores, prediction of the next character, generation, tags.

    A model has `vocabulary_`, ``_log_likelihoods``, which returns the log-likelihood of each text
    and the number of characters scored in it, ``_distributions`` of the characters that follow
    texts, ``_write`` and ``_search``.
    """

    @consistent
    def score_samples(self, X) -> Array:
        """Return the mean log-likelihood per character of each text, in nats.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts.

        Returns
        -------
        log_likelihood : ndarray of shape (n_texts,)
            The mean over all characters of a text but the first, which is not predicted; NaN if
            there are no others. For a model with `boundaries`, the first character and the end
            count, too.
        """
        sums, n_chars = self._log_likelihoods(X)
        return np.divide(sums, n_chars, out=np.full(len(sums), np.nan), where=n_chars > 0)

    @consistent
    def score(self, X, y=None) -> float:
        """Return the mean log-likelihood per character, in nats.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts. Each is read as a whole, from its beginning to its end.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        log_likelihood : float
            The mean over all characters of all texts but the first of each. For a model with
            `boundaries`, the first characters and the ends count, too.
        """
        sums, n_chars = self._log_likelihoods(X)
        if not n_chars.any():
            raise ValueError(
                "X has no text of at least two characters; expected one, as the first character is "
                "only read."
            )
        return float(sums.sum() / n_chars.sum())

    @consistent
    def perplexity(self, X) -> float:
        """Return the perplexity per character: ``exp(-score(X))``.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts.

        Returns
        -------
        perplexity : float
            The number of equally likely characters among which prediction would be as hard.
        """
        return float(np.exp(-self.score(X)))

    @consistent
    def predict_proba(self, X) -> Array:
        """Return the distribution of the character that follows each text.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts. After an empty text, a network without `boundaries` predicts the frequencies
            in the training text, and a Markov chain its probabilities of order 0.

        Returns
        -------
        probabilities : ndarray of shape (n_texts, n_vocabulary)
            One row per text; the columns are in the order of `vocabulary_`.
        """
        check_is_fitted(self)
        return self._distributions(as_texts(X))

    @consistent
    def predict(self, X) -> Array:
        """Return the most probable character after each text.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            The texts.

        Returns
        -------
        characters : ndarray of shape (n_texts,)
            Each a str; for a model with `boundaries`, the empty str if the end of the text is most
            probable.
        """
        probabilities = self.predict_proba(X)
        vocabulary = np.asarray(self.vocabulary_, dtype=object)
        if vocabulary.shape != probabilities.shape[1:]:
            raise ValueError(
                f"vocabulary_ has the shape {vocabulary.shape}; expected {probabilities.shape[1:]}."
            )
        return vocabulary[probabilities.argmax(axis=1)]

    @consistent
    def sample(
        self, n_chars, prime="", temperature=1.0, top_k=None, random_state=None, return_prime=False
    ) -> str:
        """Generate text by sampling one character after the other.

        Parameters
        ----------
        n_chars : int
            Number of characters; for a model with `boundaries`, fewer if the text ends before.
        prime : str, default=''
            The text to continue; for an empty one, the first character is drawn as described for
            `predict_proba`. It is not part of the returned text, unless `return_prime` is set.
        temperature : float, default=1.0
            Probabilities are raised to the power ``1 / temperature`` and normalized: values below 1
            make the text more probable, values above 1 more varied.
        top_k : int or None, default=None
            Sample among this many of the most probable characters (and those as probable as the
            last of them); None: among all.
        random_state : int, RandomState instance or None, default=None
            Seed; None: the estimator's own `random_state`.
        return_prime : bool, default=False
            Whether to return `prime` before the new characters.

        Returns
        -------
        text : str
            The new characters; with `return_prime`, preceded by `prime`.
        """
        self._check_arguments(
            "sample", n_chars=n_chars, prime=prime, temperature=temperature, top_k=top_k,
            random_state=random_state, return_prime=return_prime,
        )  # fmt: skip
        random_state = self.random_state if random_state is None else random_state
        drawn = self._write(n_chars, prime, temperature, top_k, check_random_state(random_state))
        text = "".join(map(self._characters.decode, drawn))
        return prime + text if return_prime else text

    @consistent
    def beam_search(self, n_chars, prime="", beam_width=5) -> tuple[str, float]:
        """Search for the most probable text, keeping the most probable prefixes at each step.

        Parameters
        ----------
        n_chars : int
            Number of characters; for a model with `boundaries`, a text that ends before competes,
            too, with the probability of its end.
        prime : str, default=''
            The text to continue; for an empty one, the first character has the distribution
            described for `predict_proba`.
        beam_width : int, default=5
            Number of prefixes to keep; 1 is greedy search, which takes the most probable character
            at each step.

        Returns
        -------
        text : str
            The new characters, without `prime`.
        log_probability : float
            The logarithm of their probability, in nats.
        """
        self._check_arguments("beam_search", n_chars=n_chars, prime=prime, beam_width=beam_width)
        codes, log_probability = self._search(n_chars, prime, beam_width)
        return self._characters.decode(codes), log_probability

    def _check_arguments(self, method, **given):
        """Check the arguments of a method of a fitted model."""
        if not get_config()["skip_parameter_validation"]:
            name = f"{type(self).__name__}.{method}"
            validate_parameter_constraints(_ARGUMENTS, given, caller_name=name)
        check_is_fitted(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = tags.input_tags.sparse = False
        return tags
