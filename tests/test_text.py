"""CharRNN: its streams, its computation, the text it generates, and its fit into scikit-learn."""

import io
import itertools
import os
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from sknn import CharMarkovChain, Seq2SeqRNN
from sknn.layers import GRU, LSTM, Dropout, Embedding, SimpleRNN
from sknn.text import generation, streams
from sknn.text.char_rnn import CharRNN

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LINE = "she sells sea shells by the sea shore. "
TEXT = LINE * 8
NAMES = ["anna", "hannah", "nathan", "ann", "tanah", "than", "hat", "tan"] * 4


def small(**params):
    """Return a model that fits quickly."""
    given = {
        "cell": "gru", "hidden_size": 12, "seq_len": 7, "batch_size": 3, "max_iter": 3,
        "random_state": 0, "dtype": "float64",
    }  # fmt: skip
    return CharRNN(**given | params)


@pytest.fixture(scope="module")
def fitted():
    """A model that has memorized one line."""
    return small(hidden_size=24, max_iter=60, learning_rate_init=0.01, dtype=None).fit(TEXT)


# --- the schedule


@pytest.mark.parametrize("lengths", [[100], [5, 1, 0, 12, 30], [1] * 20, [64, 64]])
@pytest.mark.parametrize("n_streams", [1, 3, 8])
def test_streams_go_over_every_symbol_once_and_in_order(lengths, n_streams):
    lengths = np.array(lengths)
    starts = np.cumsum(lengths + 1) - lengths - 1
    plan = streams.deal(starts, lengths, 7, n_streams)
    steps, n = plan.rows.shape
    read = []
    for s in range(n):
        at = None
        for k in range(steps):
            row, length = plan.rows[k, s], plan.lengths[k, s]
            if not length:
                assert not plan.lengths[k:, s].any()
                break
            assert plan.resets[k, s] == (k == 0 or row in starts)
            assert plan.resets[k, s] or row == at
            at = row + length
            read += range(row, at)
    expected = [i for a, length in zip(starts, lengths) for i in range(a, a + length)]
    assert read == expected  # streams are runs of the texts, one after the other
    assert n == min(n_streams, -(-lengths // 7).sum())
    assert (plan.lengths > 0).sum(axis=0).min() >= steps - 1


def test_texts_are_cut_only_where_they_are_longer_than_a_chunk():
    lengths = np.array([3, 7, 2, 5, 20])
    starts = np.cumsum(lengths + 1) - lengths - 1
    plan = streams.deal(starts, lengths, 7, 4)
    begun = plan.rows[(plan.resets == 1) & (plan.lengths > 0)]
    assert set(starts) <= set(begun)
    assert all(row > starts[-1] for row in set(begun) - set(starts))


def test_side_by_side_gives_each_text_a_stream():
    plan = streams.deal(np.array([0, 10, 11]), np.array([9, 0, 4]), 4)
    assert plan.lengths.tolist() == [[4, 0, 4], [4, 0, 0], [1, 0, 0]]
    assert plan.rows[:, 0].tolist() == [0, 4, 8] and plan.rows[0, 2] == 11


def test_short_texts_do_not_wait_for_long_ones():
    sizes = [3, 100_000, 2, 5, 300, 0, 290] + [4] * 300
    groups = list(streams._groups([np.zeros(size) for size in sizes]))
    assert sorted(i for places, _ in groups for i in places) == list(range(len(sizes)))
    assert [len(places) for places, _ in groups] == [256, 48, 2, 1]
    assert [time for _, time in groups] == [4, 8, 64, 64]


# --- the computation, against NumPy


def logistic(z):
    return 1 / (1 + np.exp(-z))


def step(layer, values, x, state):
    """Return the state of a recurrent layer after one step, (h,) or (h, c)."""
    h, z = state[0], x @ values["kernel"] + values["bias"]
    if isinstance(layer, SimpleRNN):
        return (np.tanh(z + h @ values["recurrent_kernel"]),)
    if isinstance(layer, LSTM):
        i, f, g, o = np.split(z + h @ values["recurrent_kernel"], 4)
        c = logistic(f) * state[1] + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c
    update, reset, candidate = np.split(z, 3)
    more = np.split(h @ values["recurrent_kernel"], 2)
    update, reset = logistic(update + more[0]), logistic(reset + more[1])
    if layer.reset_after:
        inner = h @ values["candidate_kernel"] + values["candidate_bias"]
        return ((1 - update) * np.tanh(candidate + reset * inner) + update * h,)
    new = np.tanh(candidate + (reset * h) @ values["candidate_kernel"])
    return ((1 - update) * h + update * new,)


def read(rnn, text):
    """Return the distribution after each character of a text, and the final states."""
    vocabulary = list(rnn.vocabulary_)
    weights = iter(rnn.weights_.values())
    layers = [layer for layer in rnn.layers_ if not isinstance(layer, Dropout)]
    x = np.eye(len(vocabulary))[[vocabulary.index(symbol) for symbol in text]]
    if isinstance(layers[0], Embedding):
        x = x @ next(weights)["kernel"]
        layers = layers[1:]
    for layer in layers[:-1]:
        values = next(weights)
        state = (np.zeros(layer.units),) * 2
        states = [state := step(layer, values, row, state) for row in x]
        x = np.array([state[0] for state in states])
    output = next(weights)
    scores = np.exp(x @ output["kernel"] + output["bias"])
    return scores / scores.sum(axis=1, keepdims=True), x[-1]


SETTINGS = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": True},
    {"cell": "lstm", "n_layers": 2, "dropout": 0.2},
    {"cell": "gru", "n_layers": 3, "embedding": 5},
    {"cell": "rnn", "embedding": 9},
]


@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_scores_features_and_probabilities_are_the_networks(params):
    rnn = small(**params).fit(TEXT)
    # longer than a chunk, next to short ones
    texts = [TEXT[5:160], "she", "s", TEXT[:70]]
    given = [read(rnn, text) for text in texts]
    sums, counts = [], []
    for text, (probabilities, _) in zip(texts, given):
        codes = [list(rnn.vocabulary_).index(symbol) for symbol in text[1:]]
        sums.append(np.log(probabilities[np.arange(len(codes)), codes]).sum())
        counts.append(len(codes))
    expected = [s / n if n else np.nan for s, n in zip(sums, counts)]
    np.testing.assert_allclose(rnn.score_samples(texts), expected, rtol=1e-9)
    assert rnn.score(texts) == pytest.approx(sum(sums) / sum(counts), rel=1e-9)
    assert rnn.perplexity(texts) == pytest.approx(np.exp(-rnn.score(texts)))
    after = np.array([probabilities[-1] for probabilities, _ in given])
    np.testing.assert_allclose(rnn.predict_proba(texts), after, rtol=1e-9)
    assert (rnn.predict(texts) == rnn.vocabulary_[after.argmax(axis=1)]).all()
    np.testing.assert_allclose(rnn.transform(texts), [h for _, h in given], atol=1e-12)


def test_a_text_is_read_the_same_alone_and_in_any_company(fitted):
    texts = [TEXT[i : i + n] for i, n in enumerate([3, 90, 17, 64, 65, 2] * 8)]
    together = fitted.transform(texts), fitted.predict_proba(texts)
    for i in (0, 1, 4, 47):
        np.testing.assert_array_equal(fitted.transform([texts[i]])[0], together[0][i])
        np.testing.assert_array_equal(fitted.predict_proba(texts[i])[0], together[1][i])
    alone = [fitted.score_samples(text)[0] for text in texts]
    np.testing.assert_allclose(fitted.score_samples(texts), alone, rtol=1e-12)


def test_probabilities_are_looked_at_in_bounded_memory(fitted, monkeypatch):
    texts = [TEXT, TEXT[3:200]]
    expected = fitted.score_samples(texts)
    monkeypatch.setattr(streams, "LOOK_BYTES", 1)
    np.testing.assert_allclose(fitted.score_samples(texts), expected, rtol=1e-12)


def test_an_empty_text_is_followed_by_the_frequent(fitted):
    shares = [TEXT.count(symbol) / len(TEXT) for symbol in fitted.vocabulary_]
    np.testing.assert_allclose(fitted.predict_proba(["", "s"])[0], shares, rtol=1e-6)
    assert not fitted.transform([""]).any()


# --- training


def test_the_state_is_carried_from_chunk_to_chunk():
    """With one stream and a rate of nearly zero, losses are those of reading the whole text."""
    rnn = small(
        solver="sgd", learning_rate_init=1e-12, batch_size=1, record_steps=True, max_iter=1
    ).fit(TEXT)
    probabilities, _ = read(rnn, TEXT)
    codes = [list(rnn.vocabulary_).index(symbol) for symbol in TEXT[1:]]
    losses = -np.log(probabilities[np.arange(len(codes)), codes])
    chunks = [losses[i : i + 7].mean() for i in range(0, len(losses), 7)]
    np.testing.assert_allclose(rnn.step_loss_curve_, chunks, rtol=1e-8)
    assert rnn.loss_curve_[0] == pytest.approx(losses.mean(), rel=1e-8)


def torch_network(torch, rnn):
    """Return PyTorch's network with a model's weights: layers, output layer, parameters."""
    *groups, output = rnn.weights_.values()
    n_symbols, units = len(rnn.vocabulary_), rnn.hidden_size
    kind = {"lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[rnn.cell]
    net = kind(n_symbols, units, len(groups), dtype=torch.float64)
    out = torch.nn.Linear(units, n_symbols, dtype=torch.float64)
    trained = [out.weight, out.bias]
    given = [output["kernel"], output["bias"]]
    for parameters, group in zip(net.all_weights, groups):
        trained += parameters[:3]
        given += group.values()
        parameters[3].data.zero_().requires_grad_(False)  # a second bias
    for parameter, value in zip(trained, given, strict=True):
        parameter.data = torch.from_numpy(value.T.copy())
    return net, out, trained


@pytest.mark.parametrize("cell, n_layers", [("lstm", 2), ("rnn", 1)])
@pytest.mark.parametrize("texts", [[TEXT], [LINE, "sea", "she sells"] * 3])
def test_streams_train_as_in_pytorch(cell, n_layers, texts):
    torch = pytest.importorskip("torch")
    rate, limit, time = 0.5, 0.05, 7
    rnn = small(
        cell=cell, n_layers=n_layers, solver="sgd", momentum=0.0, nesterovs_momentum=False,
        learning_rate_init=rate, clip_value=limit, max_iter=4, seq_len=time,
    ).fit(texts)  # fmt: skip
    first = clone(rnn).set_params(learning_rate_init=1e-300, max_iter=1).fit(texts)
    net, out, trained = torch_network(torch, first)
    symbols = list(rnn.vocabulary_)
    texts = [np.array([symbols.index(symbol) for symbol in text]) for text in texts]
    codes, _, starts, sizes = streams.join(texts, time)
    plan, codes = streams.deal(starts, sizes - 1, time, 3), torch.from_numpy(codes)
    for expected in rnn.loss_curve_:
        states, total = [None] * plan.rows.shape[1], 0.0
        for rows, lengths, resets in zip(plan.rows, plan.lengths, plan.resets):
            loss = 0.0
            for s in np.flatnonzero(lengths):
                chunk = codes[rows[s] : rows[s] + lengths[s] + 1]
                x = torch.nn.functional.one_hot(chunk[:-1], len(symbols)).double()
                h, state = net(x, None if resets[s] else states[s])
                states[s] = state.detach() if cell == "rnn" else tuple(a.detach() for a in state)
                loss = loss + torch.nn.functional.cross_entropy(out(h), chunk[1:], reduction="sum")
            total += loss.item()
            gradients = torch.autograd.grad(loss / lengths.sum(), trained)
            for parameter, gradient in zip(trained, gradients):
                parameter.data -= rate * gradient.clamp(-limit, limit)
        assert expected == pytest.approx(total / plan.lengths.sum(), rel=1e-9)


def test_several_texts_begin_with_a_state_of_zero():
    rnn = small(solver="sgd", learning_rate_init=1e-12, batch_size=2, max_iter=1).fit(NAMES)
    assert rnn.loss_ == pytest.approx(-rnn.score(NAMES), rel=1e-8)


@pytest.mark.parametrize(
    "params",
    [{"reduction": "mean"}, {"reduction": "sum"}, {"learning_rate": "one_cycle", "average": 0.9}],
    ids=str,
)
def test_recording_steps_changes_nothing(params):
    plain = small(**params).fit(TEXT)
    recorded = clone(plain).set_params(record_steps=True).fit(TEXT)
    np.testing.assert_array_equal(plain._weights.packed, recorded._weights.packed)
    assert plain.step_loss_curve_ is None
    losses = np.array(recorded.step_loss_curve_)
    assert len(losses) % 3 == 0
    np.testing.assert_allclose(plain.loss_curve_, recorded.loss_curve_, rtol=1e-12)


def test_reductions_differ_by_the_length_of_a_chunk():
    """Without clipping and with plain SGD, the sum is the mean at as many times the rate."""
    text = TEXT[: 3 * 4 * 7 + 1]
    plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "clip_value": None}
    of_mean = small(**plain, learning_rate_init=0.07).fit(text)
    of_sum = small(**plain, learning_rate_init=0.01, reduction="sum").fit(text)
    np.testing.assert_allclose(of_mean.loss_curve_, of_sum.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_the_same_bits_for_any_number_of_threads(solver):
    fits = [
        small(
            hidden_size=40, n_layers=2, dropout=0.3, batch_size=40, n_jobs=n, max_iter=2,
            solver=solver, seq_len=20, dtype=None, clip_norm=1.0,
        ).fit(TEXT * 5)
        for n in (1, 2, 3)
    ]  # fmt: skip
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0]._weights.packed, other._weights.packed)
        assert fits[0].loss_curve_ == other.loss_curve_


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_learns_a_line_by_heart(cell):
    rnn = small(cell=cell, hidden_size=32, max_iter=80, learning_rate_init=0.01, dtype=None)
    rnn.fit(TEXT)
    assert rnn.score(TEXT) > -0.1
    assert rnn.sample(30, prime="she sells", temperature=0.1) == LINE[9:39]


def test_partial_fit_is_one_epoch_and_goes_on():
    once = small(max_iter=1).fit(TEXT)
    rnn = small().partial_fit(TEXT)
    np.testing.assert_array_equal(rnn._weights.packed, once._weights.packed)
    rnn.partial_fit(TEXT).partial_fit(TEXT)
    thrice = small().fit(TEXT)
    np.testing.assert_array_equal(rnn._weights.packed, thrice._weights.packed)
    assert rnn.loss_curve_ == thrice.loss_curve_
    assert rnn.character_counts_.sum() == 3 * len(TEXT)
    # chunks of other lengths, and other numbers of streams, leave the network as it is
    rnn.set_params(seq_len=30, batch_size=1).partial_fit(["sea", "she sells"])
    assert len(rnn.loss_curve_) == 4


def test_warm_start_goes_on():
    rnn = small(warm_start=True).fit(TEXT)
    before = rnn.score(TEXT)
    rnn.fit(TEXT)
    assert len(rnn.loss_curve_) == 6 and rnn.n_iter_ == 3
    assert rnn.score(TEXT) > before
    assert len(rnn.history_) == 6


def test_validation_text_is_followed():
    held = LINE * 2
    rnn = small(batch_size=1).fit(TEXT, X_val=held)
    assert len(rnn.validation_loss_curve_) == 3
    assert rnn.validation_scores_[-1] == pytest.approx(rnn.score(held), rel=1e-9)
    assert list(rnn.history_) == ["loss", "validation_loss", "validation_score", "learning_rate"]
    plain = small(batch_size=1).fit(TEXT)
    np.testing.assert_array_equal(rnn._weights.packed, plain._weights.packed)
    assert plain.validation_scores_ is None


def test_early_stopping_holds_back_the_end_and_keeps_the_best():
    stopping = {"early_stopping": True, "validation_fraction": 0.2, "batch_size": 1}
    n = len(TEXT) - int(np.ceil(0.2 * len(TEXT)))
    rnn = small(**stopping, max_iter=20, learning_rate_init=0.3).fit(TEXT)
    assert rnn.score(TEXT[n - 1 :]) == pytest.approx(rnn.best_validation_score_, rel=1e-9)
    assert rnn.best_validation_score_ == max(rnn.validation_scores_)
    assert rnn.best_loss_ is None
    rnn = small(**stopping).fit(NAMES)
    assert rnn.best_validation_score_ == pytest.approx(rnn.score(NAMES[-7:]), rel=1e-9)


def test_training_ends_where_nothing_improves():
    rnn = small(solver="sgd", learning_rate_init=1e-9, max_iter=50, n_iter_no_change=3)
    assert rnn.fit(TEXT).n_iter_ == 5


# --- generating text


def test_samples_follow_the_distribution():
    rnn = small(max_iter=5).fit(NAMES)
    draw = np.random.RandomState(0)
    symbols = [rnn.sample(1, "na", random_state=draw) for _ in range(1500)]
    shares = np.array([symbols.count(symbol) / 1500 for symbol in rnn.vocabulary_])
    np.testing.assert_allclose(shares, rnn.predict_proba("na")[0], atol=0.04)


def test_temperature_and_top_k(fitted):
    assert fitted.sample(60, "she ", temperature=1e-3) == fitted.sample(60, "she ", top_k=1)
    assert len(set(fitted.sample(400, "she ", temperature=100.0))) == len(fitted.vocabulary_)
    probabilities = fitted.predict_proba("she sells sea")[0]
    two = set(fitted.vocabulary_[np.argsort(probabilities)[-2:]])
    drawn = {
        fitted.sample(1, "she sells sea", temperature=1e3, top_k=2, random_state=seed)
        for seed in range(20)
    }
    assert drawn == two
    first = {fitted.sample(1, temperature=5.0, top_k=2, random_state=i) for i in range(20)}
    assert first == {"s", "e"} or first == {"s", " "} or first == {"e", " "}


@pytest.mark.parametrize("chain", [False, True])
def test_a_sample_comes_with_its_prime_where_that_is_asked_for(fitted, chain):
    model = CharMarkovChain(3).fit(TEXT) if chain else fitted
    text = model.sample(12, prime="she s", random_state=3)
    assert len(text) == 12
    assert model.sample(12, prime="she s", random_state=3, return_prime=False) == text
    assert model.sample(12, prime="she s", random_state=3, return_prime=True) == "she s" + text
    with pytest.raises(ValueError, match="'return_prime' parameter"):
        model.sample(12, prime="she s", return_prime="yes")


def test_samples_do_not_depend_on_pieces(fitted, monkeypatch):
    text = fitted.sample(300, random_state=1)
    assert len(text) == 300 and text == fitted.sample(300, random_state=1)
    assert text != fitted.sample(300, random_state=2)
    assert fitted.sample(20) == fitted.sample(20)  # by the estimator's own seed
    monkeypatch.setattr(generation, "_PIECE", 7)
    assert text == fitted.sample(300, random_state=1)
    assert fitted.sample(0) == ""


def test_sampling_takes_constant_memory(fitted):
    peaks = []
    for n_chars in (4096, 40_960):
        tracemalloc.start()
        fitted.sample(n_chars)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 3 * 36_864  # except for the text itself


def test_first_characters_are_drawn_by_frequency(fitted):
    first = [fitted.sample(1, random_state=seed) for seed in range(300)]
    shares = np.array([first.count(symbol) / 300 for symbol in fitted.vocabulary_])
    np.testing.assert_allclose(shares, fitted.predict_proba("")[0], atol=0.09)


@pytest.mark.parametrize("boundaries", [False, True])
def test_a_wide_beam_finds_the_most_probable_text(boundaries):
    rnn = small(boundaries=boundaries, max_iter=8).fit(NAMES)
    prime, n = "t", 4
    best, best_score = None, -np.inf
    for size in range(n + 1):
        for symbols in itertools.product("ahnt", repeat=size):
            text = "".join(symbols)
            if size < n and not boundaries:
                continue
            probabilities = rnn.predict_proba([prime + text[:i] for i in range(size + 1)])
            codes = [list(rnn.vocabulary_).index(symbol) for symbol in text]
            codes += [-1] if size < n else []
            score = np.log(probabilities[range(len(codes)), codes]).sum()
            if score > best_score:
                best, best_score = text, score
    found, score = rnn.beam_search(n, prime, beam_width=400)
    assert found == best
    assert score == pytest.approx(best_score, rel=1e-9)


def test_a_narrow_beam_is_greedy(fitted):
    greedy = fitted.sample(40, "shells ", top_k=1)
    text, score = fitted.beam_search(40, "shells ", beam_width=1)
    assert text == greedy
    wider, more = fitted.beam_search(40, "shells ", beam_width=8)
    assert len(wider) == 40 and more >= score - 1e-6
    after = fitted.score_samples("shells " + text)[0] * 46 - fitted.score_samples("shells ")[0] * 6
    assert score == pytest.approx(after, abs=1e-3)


def test_beams_begin_by_frequency_where_nothing_is_given():
    rnn = small().fit(NAMES)
    text, score = rnn.beam_search(1)
    assert text == "n" or text == "a"
    assert score == pytest.approx(np.log(rnn.predict_proba("").max()))
    assert rnn.beam_search(0) == ("", 0.0)


# --- documents with boundaries


def test_boundaries_are_learned():
    rnn = small(boundaries=True, hidden_size=32, max_iter=60, learning_rate_init=0.01).fit(NAMES)
    assert rnn.vocabulary_.tolist() == ["a", "h", "n", "t", ""]
    assert rnn.character_counts_[-1] == len(NAMES)
    assert rnn.character_counts_.sum() == len("".join(NAMES)) + len(NAMES)
    written = [rnn.sample(50, random_state=seed) for seed in range(30)]
    assert np.mean([name in NAMES for name in written]) > 0.7
    assert rnn.sample(2, "na") in ("th", "ta")
    assert rnn.predict(["nathan", ""]).tolist()[0] == ""
    first = rnn.predict_proba([""])[0]
    np.testing.assert_allclose(first, [1 / 8, 2 / 8, 1 / 8, 3.5 / 8, 0], atol=0.15)
    assert rnn.beam_search(50, "natha")[0] == "n"
    assert rnn.transform([""]).any()  # it has read the start token


def test_boundaries_count_in_scores():
    rnn = small(boundaries=True).fit(NAMES)
    name = "than"
    probabilities = rnn.predict_proba([name[:i] for i in range(5)])
    codes = [list(rnn.vocabulary_).index(symbol) for symbol in name] + [4]
    expected = np.log(probabilities[range(5), codes]).mean()
    assert rnn.score(name) == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(rnn.score_samples(["", "a"])).all()


# --- characters


def test_any_character_goes():
    text = "naïve 日本語 👩‍👧\x00\ud800 \U0010ffff\n" * 10
    rnn = small().fit(text)
    assert set(rnn.sample(200, temperature=5.0)) <= set(text)
    assert rnn.vocabulary_.tolist() == sorted(set(text))
    assert np.isfinite(rnn.score(text))


def test_unknown_characters():
    rnn = small(unknown="?", min_count=8).fit(TEXT + "q")
    assert "q" not in rnn.vocabulary_ and "?" in rnn.vocabulary_
    assert rnn.score("s€a") == rnn.score("s?a")
    rnn.partial_fit("€uro" * 5)
    with pytest.raises(ValueError, match="unknown"):
        rnn.set_params(unknown=None).partial_fit(TEXT)


# --- errors


@pytest.mark.parametrize(
    "params, error, words",
    [
        ({"cell": "elman"}, ValueError, "cell"),
        ({"hidden_size": 0}, ValueError, "hidden_size"),
        ({"n_layers": 1.5}, ValueError, "n_layers"),
        ({"seq_len": 0}, ValueError, "seq_len"),
        ({"batch_size": "auto"}, ValueError, "batch_size"),
        ({"solver": "lbfgs"}, ValueError, "solver"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"embedding": 0}, ValueError, "embedding"),
        ({"reduction": "none"}, ValueError, "reduction"),
        ({"unknown": "??"}, ValueError, "unknown"),
        ({"min_count": 3}, ValueError, "unknown"),
        ({"sample_chars": -1}, ValueError, "sample_chars"),
        ({"early_stopping": True, "validation_fraction": 0.0}, ValueError, "validation_fraction"),
        ({"early_stopping": True, "validation_fraction": 0.999}, ValueError, "validation_fraction"),
        (
            {"solver": "sgd", "learning_rate_init": 1e300, "dtype": "float32", "sample_chars": 9},
            ValueError,
            "learning_rate_init",
        ),
    ],
)
def test_parameters_that_are_wrong(params, error, words):
    rnn = small().fit(TEXT)
    before = dict(vars(rnn))
    with pytest.raises(error, match=words):
        rnn.set_params(**params).fit(TEXT)
    for name in set(before) - set(params):
        assert vars(rnn)[name] is before[name]


@pytest.mark.parametrize(
    "X, error, words",
    [
        (3, TypeError, "X"),
        (b"text", TypeError, "decode"),
        ([], ValueError, "X holds no document"),
        (["ab", 3], TypeError, "X.1."),
        ("", ValueError, "X"),
        (["a", "b", ""], ValueError, "X has no text of at least two"),
    ],
)
def test_texts_that_are_wrong(X, error, words):
    rnn = small().fit(TEXT)
    before = dict(vars(rnn))
    with pytest.raises(error, match=words):
        rnn.fit(X)
    assert vars(rnn) == before


def test_what_a_fitted_model_does_not_take(fitted):
    with pytest.raises(ValueError, match="'Q'.*position 1"):
        fitted.score(["sea", "sQ"])
    with pytest.raises(ValueError, match="prime holds the character 'Q'"):
        fitted.sample(3, prime="Q")
    with pytest.raises(ValueError, match="at least two"):
        fitted.score(["s", ""])
    with pytest.raises(ValueError, match="X_val holds the character"):
        small().fit(TEXT, X_val="Q")
    with pytest.raises(ValueError, match="X_val has no text"):
        small().fit(TEXT, X_val="s")
    with pytest.raises(ValueError, match="temperature"):
        fitted.sample(3, temperature=0.0)
    with pytest.raises(ValueError, match="top_k"):
        fitted.sample(3, top_k=0)
    with pytest.raises(ValueError, match="n_chars"):
        fitted.sample(-1)
    with pytest.raises(ValueError, match="beam_width"):
        fitted.beam_search(3, beam_width=0)
    with pytest.raises(ValueError, match="early_stopping"):
        small(early_stopping=True).partial_fit(TEXT)
    with pytest.raises(ValueError, match="learning_rate='cosine'"):
        small(learning_rate="cosine").partial_fit(TEXT)


def test_what_goes_on_must_fit():
    rnn = small(warm_start=True).fit(TEXT)
    with pytest.raises(ValueError, match="do not fit"):
        rnn.set_params(hidden_size=5).fit(TEXT)
    with pytest.raises(ValueError, match="boundaries"):
        rnn.set_params(hidden_size=12, boundaries=True).partial_fit(TEXT)
    rnn.set_params(boundaries=False).fit(TEXT)


@pytest.mark.parametrize(
    "method", ["score", "transform", "predict", "predict_proba", "perplexity", "score_samples"]
)
def test_not_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(small(), method)("text")
    for method in ("sample", "beam_search"):
        with pytest.raises(NotFittedError):
            getattr(small(), method)(3)


# --- with scikit-learn's tools


def test_tags_and_checks():
    tags = CharRNN().__sklearn_tags__()
    assert tags.input_tags.string and not tags.input_tags.two_d_array
    assert not tags.input_tags.sparse and not tags.target_tags.required
    with pytest.warns(SkipTestWarning):  # nearly all of them need numbers
        check_estimator(CharRNN())


def test_clones_and_pickles(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(NAMES_READ), fitted.transform(NAMES_READ))
    assert again.sample(50, random_state=0) == fitted.sample(50, random_state=0)
    again.partial_fit(TEXT)


NAMES_READ = ["sea", "she sells", ""]


# --- texts in files


LEARNERS = {
    "CharRNN": (lambda: small(max_iter=1), lambda net: net.predict_proba),
    "CharMarkovChain": (lambda: CharMarkovChain(2), lambda net: net.predict_proba),
    "Seq2SeqRNN": (
        lambda: Seq2SeqRNN("gru", 3, max_iter=1, random_state=0),
        lambda net: lambda X: net.score_samples(X, X),
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_files_are_read_where_there_are_paths(name, tmp_path, monkeypatch):
    make, answer = LEARNERS[name]
    texts = ["she sells", "sea shëlls"]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8")
    paths = [tmp_path / "0.txt", tmp_path / "1.txt"]
    y = (texts,) if name == "Seq2SeqRNN" else ()
    net = make().fit(texts, *y)
    expected = answer(net)(texts)
    more = (paths,) if y else ()
    for X in (paths, tuple(paths), np.array(paths, object), [paths[0], texts[1]]):
        other = make().fit(X, *more)
        np.testing.assert_array_equal(answer(other)(X), expected)
    net.partial_fit(paths, *more)
    if name != "CharMarkovChain":
        val = {"y_val": paths} if y else {}
        one = make().fit(texts, *y, X_val=texts, **({"y_val": texts} if y else {}))
        other = make().fit(paths, *more, X_val=paths, **val)
        assert one.validation_scores_ == other.validation_scores_
    if not y:
        np.testing.assert_array_equal(net.predict_proba(paths[0]), net.predict_proba(texts[0]))
    # names of files are text, given by mistake
    monkeypatch.chdir(tmp_path)
    for X in ("0.txt", ["0.txt", "1.txt"]):
        if y and isinstance(X, str):
            continue
        for method in ("fit", "partial_fit"):
            with pytest.warns(UserWarning, match=r"X is .*0\.txt.*pathlib\.Path\('0\.txt'\)"):
                getattr(make(), method)(X, *([X] if y else []))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "[Xy] is")
        for X in (["0.txt", "another"], "2.txt", "0.txt " * 900, str(tmp_path)):
            if not (y and isinstance(X, str)):
                make().fit(X, *([X] if y else []))


@pytest.mark.parametrize("name", ["CharRNN", "CharMarkovChain"])
def test_files_that_cannot_be_read(name, tmp_path):
    net = LEARNERS[name][0]()
    path = tmp_path / "latin.txt"
    path.write_bytes("shëlls".encode("latin-1"))
    with pytest.raises(ValueError, match=r"X has the path .*latin\.txt.*byte 0xeb at position 2"):
        net.fit([path])
    with pytest.raises(FileNotFoundError, match="none.txt"):
        net.fit(tmp_path / "none.txt")
    with pytest.raises(OSError, match=os.path.basename(tmp_path)):
        net.fit(tmp_path)
    assert not hasattr(net, "vocabulary_")
    if name == "CharRNN":
        with pytest.raises(ValueError, match="X_val has the path"):
            net.fit(TEXT, X_val=path)


def test_containers_of_texts(fitted):
    pd = pytest.importorskip("pandas")
    expected = fitted.transform(NAMES_READ)
    for X in (tuple(NAMES_READ), np.array(NAMES_READ), pd.Series(NAMES_READ, index=[3, 4, 5])):
        np.testing.assert_array_equal(fitted.transform(X), expected)
    frame = clone(fitted).set_output(transform="pandas").fit(TEXT).transform(NAMES_READ)
    assert list(frame) == [f"charrnn{i}" for i in range(24)]
    assert list(frame) == list(fitted.get_feature_names_out())


def test_features_for_a_classifier():
    X = NAMES + [name[::-1] + "x" for name in NAMES]
    y = [0] * len(NAMES) + [1] * len(NAMES)
    model = make_pipeline(small(), LogisticRegression()).fit(X, y)
    assert model.score(X, y) > 0.9


def test_the_last_step_of_a_pipeline():
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    model = make_pipeline(lower, small()).fit([TEXT.upper()])
    assert model.score(["SEA SHELLS"]) == model[-1].score("sea shells")


def test_searches_over_documents():
    scores = cross_val_score(small(), NAMES, cv=4)
    assert scores.shape == (4,) and (scores < 0).all() and np.isfinite(scores).all()
    search = GridSearchCV(small(), {"hidden_size": [4, 8], "cell": ["rnn", "lstm"]}, cv=2)
    search.fit(NAMES)
    assert search.best_score_ > np.log(1 / 4) - 0.3
    assert np.isfinite(search.best_estimator_.score(NAMES))


def test_a_sample_after_each_epoch(capsys):
    rnn = small(sample_chars=25).fit(TEXT)
    printed = capsys.readouterr().out.splitlines()
    assert [len(line) for line in printed] == [25, 25, 25]
    plain = small().fit(TEXT)
    np.testing.assert_array_equal(rnn._weights.packed, plain._weights.packed)


def test_samples_are_printed_on_any_console(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", console)
    small(sample_chars=200, max_iter=1).fit("naïve 日本語 " * 10)
    console.seek(0)
    assert "\\u65e5" in console.read()


def test_a_progress_bar(capsys):
    pytest.importorskip("rich")
    rnn = small()
    rnn.set_callbacks(ProgressBar())
    rnn.fit(TEXT)
    assert "CharRNN" in capsys.readouterr().out


def test_the_network_is_shown():
    rnn = small(cell="lstm", n_layers=2, embedding=4, dropout=0.1).fit(TEXT)
    kinds = [type(layer).__name__ for layer in rnn.layers_]
    assert kinds == ["Embedding", "LSTM", "Dropout", "LSTM", "Dense"]
    assert [len(group) for group in rnn.weights_.values()] == [1, 3, 3, 2]
    assert "lstm" in str(rnn.summary()).lower()
    assert isinstance(small().fit(TEXT).layers_[0], GRU)


@pytest.mark.parametrize("temperature", [1e-12, 1e-40, 5e-324])
def test_the_coldest_sample_is_the_most_probable(temperature):
    rnn = CharRNN("gru", 8, seq_len=10, max_iter=3, random_state=0).fit("she sells shells " * 20)
    cold = rnn.sample(20, "she", temperature=temperature, random_state=0)
    assert cold == rnn.sample(20, "she", top_k=1, random_state=0)
    assert rnn.sample(20, "she", top_k=10**30, random_state=0) == rnn.sample(
        20, "she", random_state=0
    )


def test_scores_are_the_same_bits_in_any_company():
    text = "she sells sea shells by the sea shore. " * 10
    rnn = CharRNN("lstm", 9, 2, seq_len=10, max_iter=2, random_state=0).fit(text)
    texts = [text[:n] for n in (2, 3, 63, 64, 65, 66, 130, 200, 390)]
    together = rnn.score_samples(texts * 7)
    for i, some in enumerate(texts):
        assert rnn.score_samples([some])[0] == together[i] == together[i + len(texts)]


def test_weights_whose_squares_are_no_numbers_are_an_error():
    rnn = CharRNN("gru", 8, seq_len=10, max_iter=2, random_state=0).fit("she sells shells " * 20)
    expected = rnn.predict_proba(["she"])
    with pytest.raises(ValueError, match="Training has diverged.*learning_rate_init=1e"):
        rnn.set_params(learning_rate_init=1e20).fit("she sells shells " * 20)
    assert (rnn.predict_proba(["she"]) == expected).all()
