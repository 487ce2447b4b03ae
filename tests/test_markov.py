"""The Markov chain of characters, against counts in dictionaries, and the text it reads."""

import itertools
import math
import pickle
from collections import Counter, defaultdict

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator,
    check_estimator_repr,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)

from sknn.text.characters import Characters, as_texts
from sknn.text.markov import CharMarkovChain

DOCUMENTS = [
    "the cat sat on the mat, and the rat sat on the cat",
    "",
    "a",
    "that rat; that cat! the tame tomcat came at the same tame rat",
    "abracadabra, abracadabra",
    "mat",
]
OTHERS = ["the rat came, and the cat", "tac eht", "m", "", "bdbdb!!;;", "somber"]
# the highest code point, lone surrogates in an order that would make a pair, NUL at the end
UNICODE = "naïve \U0010ffff\x00 日本語\n\ud83d\ude00\ud83d 😀 日本\r\n e\u0301\x00"
NOT_FITTED = "not in the text that the vocabulary was learned from"


class Dictionaries:
    """Witten and Bell's equation, as written."""

    def __init__(self, texts, order, vocabulary):
        self.order, self.vocabulary = order, vocabulary
        self.counts = defaultdict(Counter)
        for text in texts:
            for i, symbol in enumerate(text):
                for k in range(min(i, order) + 1):
                    self.counts[text[i - k : i]][symbol] += 1

    def probability(self, symbol, context):
        context = context[len(context) - self.order :] if len(context) > self.order else context
        shorter = self.probability(symbol, context[1:]) if context else 1 / len(self.vocabulary)
        followers = self.counts.get(context)
        if followers is None:
            return shorter
        n, t = sum(followers.values()), len(followers)
        return (followers[symbol] + t * shorter) / (n + t)

    def log_likelihoods(self, text):
        return [math.log(self.probability(text[i], text[:i])) for i in range(1, len(text))]


def fitted(order=3, texts=DOCUMENTS, **params):
    return CharMarkovChain(order, **params).fit(texts)


# --- probabilities


@pytest.mark.parametrize("order", [0, 1, 2, 3, 6, 60])
def test_probabilities_are_those_of_the_equation(order):
    chain = fitted(order)
    reference = Dictionaries(DOCUMENTS, order, chain.vocabulary_)
    for texts in (DOCUMENTS, OTHERS):
        expected = [
            [reference.probability(symbol, text) for symbol in chain.vocabulary_] for text in texts
        ]
        np.testing.assert_allclose(chain.predict_proba(texts), expected, rtol=1e-13)
        logs = [reference.log_likelihoods(text) for text in texts]
        means = [np.mean(values) if values else np.nan for values in logs]
        np.testing.assert_allclose(chain.score_samples(texts), means, rtol=1e-13)
        assert chain.score(texts) == pytest.approx(np.mean(sum(logs, [])), rel=1e-13)


def test_random_text_of_many_symbols():
    random_state = np.random.RandomState(0)
    texts = [
        "".join(map(chr, random_state.zipf(1.3, size=n).clip(max=0x3000))) for n in (400, 0, 300)
    ]
    chain = CharMarkovChain(4).fit(texts)
    reference = Dictionaries(texts, 4, chain.vocabulary_)
    other = "".join(random_state.choice(chain.vocabulary_, size=200))
    for text in (*texts[::2], other):
        expected = np.mean(reference.log_likelihoods(text))
        assert chain.score(text) == pytest.approx(expected, rel=1e-13)


def test_every_distribution_sums_to_one_and_has_no_zero():
    chain = fitted(5, unknown="\ufffd")
    symbols = list(chain.vocabulary_)
    pairs = [one + other for one in symbols for other in symbols]
    contexts = ["", *symbols, *pairs, *DOCUMENTS, *OTHERS, "xyz"]
    probabilities = chain.predict_proba(contexts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-13)
    assert probabilities.min() > 0


def test_a_context_never_seen_backs_off_to_the_longest_that_was():
    chain = fitted(4)
    longer, seen = chain.predict_proba(["!!!cat", "cat"])
    np.testing.assert_array_equal(longer, seen)
    # "b" was seen at the end of documents only, so that nothing ever followed it
    chain = fitted(4, ["aab", "acb"])
    np.testing.assert_array_equal(chain.predict_proba(["b"]), chain.predict_proba([""]))


def test_a_longer_chain_on_shorter_contexts_is_the_shorter_chain():
    np.testing.assert_array_equal(fitted(6).predict_proba("ca"), fitted(2).predict_proba("ca"))


def test_predict_is_the_most_probable_character():
    chain = fitted(3)
    predicted = chain.predict(["the ca", "abrac", ""])
    commonest = Counter("".join(DOCUMENTS)).most_common(1)[0][0]
    assert predicted.tolist() == ["t", "a", commonest]
    best = chain.vocabulary_[chain.predict_proba(OTHERS).argmax(axis=1)]
    np.testing.assert_array_equal(chain.predict(OTHERS), best)
    assert all(type(symbol) is str for symbol in chain.predict(OTHERS))


def test_score_and_perplexity():
    chain = fitted(2)
    assert isinstance(chain.score(OTHERS), float)
    assert chain.perplexity(OTHERS) == pytest.approx(math.exp(-chain.score(OTHERS)))
    lengths = np.array([max(0, len(text) - 1) for text in OTHERS])
    weighted = np.nansum(chain.score_samples(OTHERS) * lengths) / lengths.sum()
    assert chain.score(OTHERS) == pytest.approx(weighted)
    with pytest.raises(ValueError, match="two characters"):
        chain.score(["a", "", "b"])
    assert np.isnan(chain.score_samples(["a", ""])).all()


def test_contexts_do_not_cross_documents():
    apart, together = fitted(2, ["ab", "ba"]), fitted(2, "abba")
    assert [table.sum() for table in apart.counts_] == [4, 2, 0]
    assert [table.sum() for table in together.counts_] == [4, 3, 2]


# --- counts


def test_counts_are_numbered_as_documented():
    chain = fitted(3)
    reference = Dictionaries(DOCUMENTS, 3, chain.vocabulary_).counts
    contexts = [""]
    for table in chain.counts_:
        assert table.shape == (len(contexts), len(chain.vocabulary_))
        rows, columns = table.nonzero()
        grams = [contexts[i] + chain.vocabulary_[j] for i, j in zip(rows, columns)]
        assert grams == sorted(grams)
        assert table.data.tolist() == [reference[gram[:-1]][gram[-1]] for gram in grams]
        contexts = grams
    assert sum(map(len, reference.values())) == sum(table.nnz for table in chain.counts_)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_transition_matrix_is_the_matrix_of_counts_normalized(order):
    chain = fitted(3)
    reference = Dictionaries(DOCUMENTS, 3, chain.vocabulary_).counts
    contexts, matrix = chain.transition_matrix(order)
    assert contexts.tolist() == sorted(key for key in reference if len(key) == order)
    for context, row in zip(contexts, matrix.toarray()):
        total = sum(reference[context].values())
        expected = [reference[context][symbol] / total for symbol in chain.vocabulary_]
        np.testing.assert_allclose(row, expected, rtol=1e-15)
    matrix.data[:] = 0  # a copy
    assert chain.counts_[order].data.min() > 0


def test_transition_matrix_of_an_order_that_there_is_not():
    chain = fitted(2)
    for order in (-1, 3, 1.0, None):
        with pytest.raises(ValueError, match="expected an int from 0 to 2"):
            chain.transition_matrix(order)
    contexts, matrix = fitted(4, "ab").transition_matrix(3)
    assert len(contexts) == 0 and matrix.shape == (0, 2)


@pytest.mark.parametrize("order", [0, 3, 8])
def test_documents_in_parts_count_as_at_once(order):
    vocabulary = "".join(sorted(set("".join(DOCUMENTS + OTHERS))))
    documents = [vocabulary, *DOCUMENTS, *OTHERS]
    whole = CharMarkovChain(order).fit(documents)
    parts = CharMarkovChain(order)
    for part in (documents[:2], documents[2], documents[3:7], documents[7:]):
        assert parts.partial_fit(part) is parts
    assert joblib.hash(vars(parts)) == joblib.hash(vars(whole))
    # a document in two parts has no context across the cut
    cut = CharMarkovChain(order).partial_fit("abba").partial_fit("baab")
    uncut = CharMarkovChain(order).fit("abbabaab")
    for k in range(order + 1):
        assert cut.counts_[k].sum() == 2 * max(0, 4 - k)
        assert uncut.counts_[k].sum() == 8 - k


def test_partial_fit_keeps_the_vocabulary():
    chain = CharMarkovChain(2).partial_fit("abc")
    before = joblib.hash(vars(chain))
    with pytest.raises(ValueError, match=f"'d' .* document 1, position 2.* {NOT_FITTED}"):
        chain.partial_fit(["ab", "cad"])
    assert joblib.hash(vars(chain)) == before
    chain = CharMarkovChain(2, unknown="?").partial_fit("abc").partial_fit("cad")
    assert chain.vocabulary_.tolist() == ["?", "a", "b", "c"]
    assert chain.counts_[0].toarray().tolist() == [[1, 2, 1, 2]]


@pytest.mark.parametrize("params", [{"order": 3}, {"unknown": "?"}])
def test_partial_fit_goes_on_with_the_same_parameters_only(params):
    chain = fitted(2).set_params(**params)
    with pytest.raises(ValueError, match="partial_fit continues with order=2 and unknown=None"):
        chain.partial_fit(DOCUMENTS)
    chain.fit(DOCUMENTS).partial_fit(DOCUMENTS)


# --- sampling


def test_a_sample_repeats_with_its_seed():
    chain = fitted(3)
    text = chain.sample(200, random_state=1)
    assert len(text) == 200 and set(text) <= set(chain.vocabulary_)
    assert chain.sample(200, random_state=1) == text
    assert chain.sample(50, random_state=1) == text[:50]
    assert chain.sample(200, random_state=2) != text
    assert chain.sample(200, random_state=np.random.RandomState(1)) == text
    assert clone(chain).set_params(random_state=1).fit(DOCUMENTS).sample(200) == text
    assert chain.sample(0) == ""


def test_a_sample_goes_on_from_its_prime():
    chain = fitted(3)
    text = chain.sample(30, prime="the c", random_state=0)
    whole = np.random.RandomState(0).random_sample(30)

    class Later(np.random.RandomState):
        def random_sample(self, size):
            return whole[10 : 10 + size]

    assert chain.sample(20, prime="the c" + text[:10], random_state=Later()) == text[10:]
    with pytest.raises(ValueError, match=r"prime holds the character 'ö' \(U\+00F6; position 1\)"):
        chain.sample(5, prime="söö")


def test_samples_follow_the_probabilities():
    chain = fitted(0)  # the characters of one sample are independent
    for temperature, top_k in ((1, None), (0.5, None), (2.0, None), (1, 3), (0.7, 2)):
        expected = chain.predict_proba("")[0]
        if top_k:
            expected[expected < np.sort(expected)[-top_k]] = 0
        expected = expected ** (1 / temperature)
        expected /= expected.sum()
        drawn = chain.sample(4000, "", temperature, top_k, random_state=0)
        shares = np.array([drawn.count(symbol) for symbol in chain.vocabulary_]) / len(drawn)
        assert np.abs(shares - expected).max() < 4.5 * math.sqrt(0.25 / len(drawn))
        assert not shares[expected == 0].any()
    chain, random_state = fitted(2), np.random.RandomState(0)
    drawn = "".join(chain.sample(1, "ca", random_state=random_state) for _ in range(400))
    shares = np.array([drawn.count(symbol) for symbol in chain.vocabulary_]) / len(drawn)
    assert np.abs(shares - chain.predict_proba("ca")[0]).max() < 4.5 * math.sqrt(0.25 / 400)


def test_extremes_of_sampling():
    chain = fitted(3)
    greedy = chain.sample(40, "the ", top_k=1, random_state=0)
    text = "the "
    for _ in range(40):
        text += chain.predict([text])[0]
    assert text == "the " + greedy
    for temperature in (1e-320, 1e-9):
        assert chain.sample(40, "the ", temperature=temperature, random_state=3) == greedy
    assert set(chain.sample(2000, temperature=1e9, random_state=0)) == set(chain.vocabulary_)
    assert len(chain.sample(5, top_k=10**6)) == 5
    # as probable as the last of them: all stay
    assert set(fitted(0, "aabbc").sample(50, top_k=1, random_state=0)) == {"a", "b"}


@pytest.mark.parametrize(
    "params",
    [
        {"n_chars": -1}, {"n_chars": 2.0}, {"prime": b"the"}, {"prime": ["the"]},
        {"temperature": 0}, {"temperature": -1.0}, {"top_k": 0}, {"random_state": "one"},
    ],
)  # fmt: skip
def test_bad_parameters_of_sample(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"'{name}' parameter of .*sample"):
        fitted().sample(**{"n_chars": 3, **params})


# --- the text


def test_any_unicode():
    chain = fitted(2, UNICODE)
    assert chain.vocabulary_.tolist() == sorted(set(UNICODE))
    assert chain.predict("日本")[0] in "語\r" and chain.predict("\ud83d")[0] in "\ude00 "
    text = chain.sample(300, random_state=0)
    assert {"\x00", "\ud83d", "\U0010ffff"} <= set(text) <= set(UNICODE)
    contexts, _ = chain.transition_matrix(2)
    assert set(contexts) == {UNICODE[i : i + 2] for i in range(len(UNICODE) - 2)}
    reference = Dictionaries([UNICODE], 2, chain.vocabulary_)
    assert chain.score(UNICODE) == pytest.approx(np.mean(reference.log_likelihoods(UNICODE)))


def test_encoding_and_decoding():
    characters = Characters.learn([UNICODE, "", "abc"])
    assert len(characters) == len(set(UNICODE + "abc"))
    texts = ["cab", "", UNICODE, "\x00"]
    codes, offsets = characters.encode(texts)
    assert codes.dtype == offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 3, 3 + len(UNICODE), 4 + len(UNICODE)]
    assert characters.decode(codes) == "".join(texts)
    assert [characters.vocabulary[code] for code in codes] == list("".join(texts))
    np.testing.assert_array_equal(characters.encode("cab")[0], codes[:3])
    assert characters.encode("")[0].tolist() == [] and characters.decode([]) == ""
    assert pickle.loads(pickle.dumps(characters)) == characters
    with pytest.raises(AttributeError):
        characters.symbols = "a"


def test_characters_never_seen():
    chain = fitted(2)
    place = r"'\\ud800' \(U\+D800; document 2, position 3\)"
    for method in (chain.score, chain.predict, chain.predict_proba, chain.score_samples):
        with pytest.raises(ValueError, match=f"X holds the character {place}.*unknown="):
            method(["the", "", "cat\ud800\ud801", "ä"])
    chain = fitted(2, unknown="\ufffd")
    assert chain.vocabulary_[-1] == "\ufffd" and chain.counts_[0].nnz == len(chain.vocabulary_) - 1
    probabilities = chain.predict_proba(["caä", "ca😀", "ca\ufffd", "ca"])
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_array_equal(probabilities[0], probabilities[2])
    assert 0 < probabilities[3, -1] < probabilities[3, :-1].min()
    assert chain.score("the cät") == chain.score("the c\ufffdt")


def test_rare_characters_are_unknown():
    chain = CharMarkovChain(1, unknown="_", min_count=3).fit(["aaab", "aacc", "cbde"])
    assert chain.vocabulary_.tolist() == ["_", "a", "c"]
    other = CharMarkovChain(1, unknown="_").fit(["aaa_", "aacc", "c___"])
    assert [(a != b).nnz for a, b in zip(chain.counts_, other.counts_)] == [0, 0]
    assert set(chain.sample(100, random_state=0)) == {"_", "a", "c"}
    only = CharMarkovChain(1, unknown="_", min_count=100).fit("abc")
    assert only.vocabulary_.tolist() == ["_"] and only.score("xyz") == 0


@pytest.mark.parametrize(
    "make",
    [
        list, tuple, np.array, pd.Series, pd.Index,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: pd.Series(texts, index=np.arange(len(texts))[::-1], dtype=object),
        lambda texts: [np.str_(text) for text in texts],
    ],
)  # fmt: skip
def test_documents_of_many_types(make):
    chain = fitted(2)
    other = CharMarkovChain(2).fit(make(DOCUMENTS))
    assert joblib.hash(vars(other)) == joblib.hash(vars(chain))
    np.testing.assert_array_equal(chain.predict_proba(make(OTHERS)), chain.predict_proba(OTHERS))
    assert chain.score("the cat") == chain.score(["the cat"]) == chain.score(np.str_("the cat"))


@pytest.mark.parametrize(
    "X, error, match",
    [
        (b"the cat", TypeError, r"X is bytes; expected a str: decode it"),
        (None, TypeError, "X is of the type NoneType; expected a str, or a list"),
        (3, TypeError, "X is of the type int; expected a str, or a list"),
        ({"the cat": 1}, TypeError, "X is of the type dict; expected a str, or a list"),
        (iter(["the cat"]), TypeError, "X is of the type list_iterator"),
        ("", ValueError, "X holds no character"),
        (["", ""], ValueError, "X holds no character"),
        ([], ValueError, "X holds no document"),
        (np.array([], dtype=str), ValueError, "X holds no document"),
        (["the", 3], TypeError, r"X\[1\] is of the type int; expected every document to be a str"),
        (["the", None], TypeError, r"X\[1\] is of the type NoneType"),
        (["the", ["cat"]], TypeError, r"X\[1\] is of the type list"),
        (["the", b"cat"], TypeError, r"X\[1\] is bytes; expected a str: decode it"),
        (pd.Series(["the", np.nan]), TypeError, r"X\[1\] is of the type float"),
        (np.arange(3.0), TypeError, r"X\[0\] is of the type float64"),
        (np.array([["the"], ["cat"]]), ValueError, r"X has the shape \(2, 1\)"),
        (np.array("the"), ValueError, r"X has the shape \(\)"),
        (pd.DataFrame({"text": ["the"]}), ValueError, r"X has the shape \(1, 1\)"),
    ],
)  # fmt: skip
def test_bad_text(X, error, match):
    new, chain = CharMarkovChain(), fitted()
    before = joblib.hash(vars(chain))
    for method in (new.fit, new.partial_fit, chain.fit):
        with pytest.raises(error, match=match):
            method(X)
    assert joblib.hash(vars(chain)) == before
    with pytest.raises(NotFittedError):
        new.predict("the")
    if "no character" not in match:
        for method in (chain.partial_fit, chain.predict_proba, chain.score, chain.score_samples):
            with pytest.raises(error, match=match):
                method(X)


def test_errors_have_the_name_of_what_was_given():
    with pytest.raises(TypeError, match=r"texts\[1\] is bytes.*texts\[1\]\.decode"):
        as_texts(["a", b"b"], "texts")
    with pytest.raises(ValueError, match="X_val holds the character 'c'"):
        Characters("ab").encode("abc", "X_val")


@pytest.mark.parametrize(
    "params, match",
    [
        ({"order": -1}, "'order' parameter of CharMarkovChain"),
        ({"order": 1.5}, "'order' parameter of CharMarkovChain"),
        ({"unknown": 3}, "'unknown' parameter of CharMarkovChain"),
        ({"unknown": "unk"}, "unknown is 'unk'; expected a single character"),
        ({"unknown": ""}, "unknown is ''; expected a single character"),
        ({"min_count": 0}, "'min_count' parameter of CharMarkovChain"),
        ({"min_count": 2}, "min_count is 2 and unknown is None"),
        ({"random_state": "one"}, "'random_state' parameter of CharMarkovChain"),
    ],
)  # fmt: skip
def test_bad_parameters(params, match):
    chain = CharMarkovChain(**params)
    for method in (chain.fit, chain.partial_fit):
        with pytest.raises(ValueError, match=match):
            method(DOCUMENTS)
        assert vars(chain) == chain.get_params()


def test_a_fitted_chain_is_only_read():
    chain = fitted(3)
    before = joblib.hash(vars(chain))
    chain.predict(OTHERS), chain.score(OTHERS), chain.perplexity(OTHERS)
    chain.sample(20, random_state=0), chain.transition_matrix(2)
    assert joblib.hash(vars(chain)) == before


def test_not_fitted():
    chain = CharMarkovChain()
    for method in (
        chain.predict, chain.predict_proba, chain.score, chain.score_samples, chain.perplexity,
    ):  # fmt: skip
        with pytest.raises(NotFittedError):
            method("the")
    for method in (chain.sample, chain.transition_matrix):
        with pytest.raises(NotFittedError):
            method(1)


# --- scikit-learn


def test_clone_and_pickle():
    chain = fitted(4, unknown="\ufffd", min_count=2, random_state=5)
    assert clone(chain).get_params() == chain.get_params()
    loaded = pickle.loads(pickle.dumps(chain))
    assert joblib.hash(vars(loaded)) == joblib.hash(vars(chain))
    np.testing.assert_array_equal(loaded.predict_proba(OTHERS), chain.predict_proba(OTHERS))
    assert loaded.partial_fit(OTHERS).sample(50) == chain.partial_fit(OTHERS).sample(50)
    assert not hasattr(chain, "n_features_in_")


@pytest.mark.parametrize("make", [list, np.array, pd.Series])
def test_cross_validation_over_documents(make):
    documents = make([DOCUMENTS[0], DOCUMENTS[3], DOCUMENTS[4], *OTHERS[:3]] * 4)
    chain = CharMarkovChain(unknown="\ufffd")
    scores = cross_val_score(chain, documents, cv=3)
    assert scores.shape == (3,) and (scores < 0).all()
    search = GridSearchCV(chain, {"order": [0, 1, 2, 3, 6]}, cv=3).fit(documents)
    assert search.best_params_["order"] > 1
    assert search.score(documents) == search.best_estimator_.score(documents)
    np.testing.assert_array_equal(search.predict(["the ca"]), ["t"])


def test_pipeline():
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipe = Pipeline([("lower", lower), ("chain", CharMarkovChain(2))])
    pipe.fit([text.upper() for text in DOCUMENTS])
    assert pipe.score(["THE CAT"]) == fitted(2).score("the cat")


def test_scikit_learn_checks():
    chain = CharMarkovChain()
    tags = get_tags(chain)
    assert tags.estimator_type == "density_estimator" and not tags.target_tags.required
    assert tags.input_tags.string and not tags.input_tags.two_d_array
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):  # its X is a table
        check_estimator(chain)
    for check in (
        check_do_not_raise_errors_in_init_or_set_params,
        check_estimator_repr,
        check_get_params_invariance,
        check_mixin_order,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
        check_valid_tag_types,
    ):
        check("CharMarkovChain", chain)


def test_beam_search_finds_the_most_probable_text():
    chain = CharMarkovChain(2).fit("abracadabra abraham")
    symbols = list(chain.vocabulary_)
    texts = ["".join(letters) for letters in itertools.product(symbols, repeat=3)]

    def log_probability(text):
        return sum(
            np.log(chain.predict_proba(["ab" + text[:i]])[0][symbols.index(c)])
            for i, c in enumerate(text)
        )

    best = max(texts, key=log_probability)
    found, score = chain.beam_search(3, "ab", beam_width=len(texts))
    assert found == best and score == pytest.approx(log_probability(best))
    assert chain.beam_search(3, "ab", beam_width=1)[1] <= score
    assert chain.beam_search(0) == ("", 0.0)
