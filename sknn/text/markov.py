"""A Markov chain of characters with interpolated smoothing, a baseline for recurrent networks.

The counts of each order are a sparse matrix with one row per context and one column per character.
A context followed by a character is a context of the next order: the i-th stored element of one
matrix is row i of the next. So contexts of any length are represented by small numbers, and rows
are in the order of their text.
"""

from bisect import bisect_left
from numbers import Integral
from typing import Self

import numpy as np
import scipy.sparse as sp
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..estimator.base import Estimator, agree
from ..estimator.parameters import Array, fitted, param
from ..estimator.transactions import consistent, fits
from .characters import Characters, TextModel, Vocabulary, as_texts, draw, most_probable

#: The largest count in a file, so that no sum overflows.
_MOST = 2**48


class CharMarkovChain(Vocabulary, TextModel, Estimator):
    """A Markov chain of characters: the next character depends on the last few.

    The probability of a character c after a context h of k characters is interpolated with the
    probability after h', the context without its first character (Witten-Bell smoothing)::

        p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) + t(h))

    where n(hc) is the number of times that c followed h in the training text, n(h) its sum over all
    c, and t(h) the number of distinct characters that followed h. The empty context is interpolated
    with the uniform distribution over the vocabulary. After an unseen context, p(c | h) =
    p(c | h'). So the probabilities after every context sum to 1, and none of them is 0.

    Contexts never extend across documents: at the beginning of a document they are shorter.

    References
    ----------
    I. H. Witten and T. C. Bell, "The zero-frequency problem: estimating the probabilities of novel
    events in adaptive text compression", IEEE Transactions on Information Theory 37, 1991 (their
    method C); interpolated as in S. F. Chen and J. Goodman, "An empirical study of smoothing
    techniques for language modeling", Computer Speech & Language 13, 1999.

    Examples
    --------
    >>> from sknn import CharMarkovChain
    >>> chain = CharMarkovChain(order=2).fit("she sells sea shells by the sea shore")
    >>> chain.predict(["the sel", "sh"])
    array(['l', 'e'], dtype=object)
    >>> chain.sample(12, prime="she", random_state=0)
    'a sea shrell'
    """

    order: int = param(
        "Number of characters on which the next one depends, at most 1000; 0 for none.",
        default=3, valid=[Interval(Integral, 0, 1000, closed="both")], kw_only=False,
    )
    random_state: int | np.random.RandomState | None = param(
        "Seed of `sample`, if that is given none.", default=None
    )

    vocabulary_: Array = fitted(
        "The characters, each a str, in the order of their code points.",
        kind="ndarray of shape (n_vocabulary,)",
    )
    counts_: list[sp.csr_array] = fitted(
        """
        For each order from 0 to `order`, the number of times that each character (column) followed
        each context of that many characters (row). The contexts of an order are the stored elements
        of the preceding matrix, in the same order: context (row there) plus next character (column
        there)."""
    )

    _remembered = {"_characters": Characters}

    def _check_loaded(self):
        super()._check_loaded()
        agree("vocabulary_", self.vocabulary_.tolist(), list(self._characters.symbols))
        for table in self._checked_counts():
            counts = table.data
            agree("counts_", counts.dtype.kind, "i")
            agree("counts_", 1 <= counts.min(initial=1) <= counts.max(initial=1) <= _MOST, True)
            agree("counts_", table.has_canonical_format, True)

    @fits
    def fit(self, X, y=None) -> Self:
        """Learn the vocabulary and count characters by context.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            One document, or several. A :class:`pathlib.Path`, here and in every other method,
            stands for the contents of that file, in UTF-8; a str is the text itself.
        y : Ignored
            Not used, present for API consistency by convention.
        """
        return self._fit(as_texts(X, to_fit=True))

    @fits
    def partial_fit(self, X, y=None) -> Self:
        """Add the counts of more documents; the first call learns the vocabulary.

        Calls with parts of a list of documents give the same counts as one fit to the whole list,
        over the vocabulary of the first call.

        Parameters
        ----------
        X : str, Path, or list, tuple, array or Series of them
            Whole documents, since no context extends back into an earlier call.
        y : Ignored
            Not used, present for API consistency by convention.
        """
        texts = as_texts(X, to_fit=True)
        if not hasattr(self, "counts_"):
            return self._fit(texts)
        fitted = len(self.counts_) - 1, self._characters.unknown
        if (self.order, self.unknown) != fitted:
            raise ValueError(
                f"order is {self.order} and unknown is {self.unknown!r}; partial_fit continues "
                f"with order={fitted[0]} and unknown={fitted[1]!r}, with which the chain was "
                "fitted. Call fit to change them."
            )
        more = _count(self._read(texts), self.order, len(self._characters))
        self.counts_ = _add(self._checked_counts(), more)
        return self

    def _fit(self, texts):
        self._characters = Characters.learn(texts, self.unknown, self.min_count)
        self.vocabulary_ = self._characters.vocabulary
        self.counts_ = _count(self._read(texts), self.order, len(self._characters))
        return self

    def _checked_counts(self):
        """Return the tables of counts, checked, since users may have assigned them."""
        check_is_fitted(self)
        tables, n_rows = list(self.counts_), 1
        for order, table in enumerate(tables):
            shape = n_rows, len(self._characters)
            if not sp.issparse(table) or table.format != "csr" or table.shape != shape:
                raise ValueError(f"counts_[{order}] is not a csr_array of shape {shape}.")
            n_rows = table.nnz
        if not tables:
            raise ValueError("counts_ is empty; expected a table for each order.")
        return tables

    def _read(self, texts):
        """Return the numbers of all characters, with -1 after each document."""
        codes, offsets = self._characters.encode(texts)
        return np.insert(codes, offsets[1:], -1)

    def _log_likelihoods(self, X):
        """Return each document's log-likelihood, and the number of characters scored in it."""
        counts = self._checked_counts()
        codes = self._read(as_texts(X))
        scored = codes >= 0
        scored[1:] &= codes[:-1] >= 0
        scored[0] = False
        logs = np.log(_probabilities(counts, codes)[scored])
        ends = codes < 0
        document = np.cumsum(ends)[scored]
        n_documents = np.count_nonzero(ends)
        return (
            np.bincount(document, logs, minlength=n_documents),
            np.bincount(document, minlength=n_documents),
        )

    def _distributions(self, texts):
        """Return the distributions of the characters that follow documents."""
        counts = self._checked_counts()
        codes, offsets = self._characters.encode(texts)
        return np.array([
            _distribution(counts, _contexts(counts, codes[start:end]))
            for start, end in zip(offsets, offsets[1:])
        ])  # fmt: skip

    def _write(self, n_chars, prime, temperature, top_k, random_state):
        """Return the numbers of sampled characters, in one piece."""
        counts = self._checked_counts()
        contexts = _contexts(counts, self._characters.encode(prime, "prime")[0])
        codes = np.empty(int(n_chars), np.int64)
        for i, uniform in enumerate(random_state.random_sample(len(codes))):
            codes[i] = draw(_distribution(counts, contexts), temperature, top_k, uniform)
            contexts = _advance(counts, contexts, codes[i])
        return [codes]

    def _search(self, n_chars, prime, beam_width):
        """Return the numbers of the characters found by beam search, and their log-probability."""
        counts = self._checked_counts()

        def follow(codes, contexts):
            contexts[:] = [_advance(counts, *one) for one in zip(contexts, codes)]
            return np.array([_distribution(counts, some) for some in contexts])

        start = np.array([_contexts(counts, self._characters.encode(prime, "prime")[0])])
        first = _distribution(counts, start[0])[None]
        return most_probable(n_chars, start, first, beam_width, None, follow)

    @consistent
    def transition_matrix(self, order=1) -> tuple[Array, sp.csr_array]:
        """Return the maximum-likelihood transition matrix: the counts, normalized by row.

        It is not smoothed: a character that never followed a context has probability 0.

        Parameters
        ----------
        order : int, default=1
            Length of the contexts, at most the order of the chain.

        Returns
        -------
        contexts : ndarray of shape (n_contexts,)
            The contexts that any character followed, each a str, sorted.
        matrix : csr_array of shape (n_contexts, n_vocabulary)
            The relative frequency of each character after each context.
        """
        counts = self._checked_counts()
        highest = len(counts) - 1
        if not (isinstance(order, Integral) and 0 <= order <= highest):
            raise ValueError(f"order is {order!r}; expected an int from 0 to {highest}.")
        table = counts[order]
        followed = np.flatnonzero(np.diff(table.indptr))
        contexts = np.empty(len(followed), dtype=object)
        text = self._characters.decode(_spell(counts, order)[followed].ravel())
        contexts[:] = [text[i * order : (i + 1) * order] for i in range(len(followed))]
        shares = table.data / table.sum(axis=1)[_rows(table)]
        matrix = sp.csr_array((shares, table.indices, table.indptr), shape=table.shape)
        return contexts, matrix[followed]


# --- counts, for text as numbers with -1 after each document


def _count(codes, order, n_symbols):
    """Return how often each character follows each context, for orders from 0 to `order`."""
    tables = []
    contexts, n_contexts = np.zeros_like(codes), 1
    for _ in range(order + 1):
        counted = np.flatnonzero((contexts >= 0) & (codes >= 0))
        keys, places, counts = np.unique(
            contexts[counted] * n_symbols + codes[counted], return_inverse=True, return_counts=True
        )
        tables.append(_table(keys, counts, (n_contexts, n_symbols)))
        found = np.full(len(codes), -1)
        found[counted] = places
        contexts, n_contexts = _one_later(found), len(keys)
    return tables


def _table(keys, counts, shape):
    """Return the matrix of counts, given the sorted `keys` of its elements, row by row."""
    rows, columns = np.divmod(keys, shape[1])
    indptr = np.searchsorted(rows, np.arange(shape[0] + 1))
    return sp.csr_array((counts, columns, indptr), shape=shape)


def _one_later(places):
    """Return the contexts of the characters that follow, given the elements' places."""
    return np.concatenate([[-1], places[:-1]])


def _rows(table):
    """Return the row of each stored element."""
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))


def _add(tables, others):
    """Return the sums of the counts of two bodies of text."""
    sums = []
    # for each row of either table, its row in the sum
    rows, other_rows, n_rows = np.zeros(1, np.int64), np.zeros(1, np.int64), 1
    for table, other in zip(tables, others):
        n_symbols = table.shape[1]
        keys = rows[_rows(table)] * n_symbols + table.indices
        other_keys = other_rows[_rows(other)] * n_symbols + other.indices
        union = np.union1d(keys, other_keys)
        rows, other_rows = np.searchsorted(union, keys), np.searchsorted(union, other_keys)
        counts = np.zeros(len(union), np.int64)
        counts[rows] += table.data
        counts[other_rows] += other.data
        sums.append(_table(union, counts, (n_rows, n_symbols)))
        n_rows = len(union)
    return sums


def _spell(tables, order):
    """Return the characters of all contexts of an order, as an array (n_contexts, order)."""
    spelled = np.empty((1, 0), np.int64)
    for table in tables[:order]:
        spelled = np.column_stack([spelled[_rows(table)], table.indices])
    return spelled


# --- probabilities


def _probabilities(tables, codes):
    """Return the probability of each character of a text given those before it."""
    probabilities = np.full(len(codes), 1 / tables[0].shape[1])
    contexts = np.zeros_like(codes)
    for table in tables:
        places = _find(table, contexts, codes)
        totals, types = table.sum(axis=1), np.diff(table.indptr)
        seen = np.flatnonzero(contexts >= 0)
        seen = seen[types[contexts[seen]] > 0]  # without contexts only seen at ends of documents
        counts = np.where(places[seen] >= 0, table.data[places[seen]], 0)
        n, t = totals[contexts[seen]], types[contexts[seen]]
        probabilities[seen] = (counts + t * probabilities[seen]) / (n + t)
        contexts = _one_later(places)
    return probabilities


def _find(table, rows, columns):
    """Return the places of elements among the stored ones; -1 for elements not stored."""
    places = np.full(len(rows), -1)
    asked = np.flatnonzero((rows >= 0) & (columns >= 0))
    columns = columns[asked]
    low, end = table.indptr[rows[asked]], table.indptr[rows[asked] + 1]
    high = end.copy()
    open_ = np.flatnonzero(low < high)
    while len(open_):  # a binary search in each row
        middle = low[open_] + (high[open_] - low[open_]) // 2
        before = table.indices[middle] < columns[open_]
        low[open_] = np.where(before, middle + 1, low[open_])
        high[open_] = np.where(before, high[open_], middle)
        open_ = open_[low[open_] < high[open_]]
    there = np.flatnonzero(low < end)
    there = there[table.indices[low[there]] == columns[there]]
    places[asked[there]] = low[there]
    return places


def _contexts(tables, codes):
    """Return the row of each order's context after a text; -1 for an unseen context."""
    contexts = [0] + [-1] * (len(tables) - 1)
    for code in codes[max(0, len(codes) - len(contexts) + 1) :]:
        contexts = _advance(tables, contexts, code)
    return contexts


def _advance(tables, contexts, code):
    """Return the row of each order's context after one more character; -1 for an unseen one."""
    return [0] + [_place(table, row, code) for table, row in zip(tables[:-1], contexts)]


def _place(table, row, column):
    """Return the place of an element among the stored ones, or -1."""
    if row < 0:
        return -1
    end = table.indptr[row + 1]
    place = bisect_left(table.indices, column, table.indptr[row], end)
    return place if place < end and table.indices[place] == column else -1


def _distribution(tables, contexts):
    """Return the probability of every character after the contexts of all orders."""
    n_symbols = tables[0].shape[1]
    probabilities = np.full(n_symbols, 1 / n_symbols)
    for table, row in zip(tables, contexts):
        begin, end = table.indptr[row : row + 2] if row >= 0 else (0, 0)
        if begin < end:
            counts = table.data[begin:end]
            total = counts.sum() + (end - begin)
            probabilities *= (end - begin) / total
            probabilities[table.indices[begin:end]] += counts / total
    return probabilities
