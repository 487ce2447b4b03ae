"""Seq2SeqRNN: pairs of texts, what it computes of them, what it learns, and how it drops in."""

import itertools
import pickle
from datetime import date, timedelta

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
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
from test_text import step

from sknn.layers import LSTM, Dropout, Embedding, EncoderDecoder
from sknn.text import pairs, seq2seq
from sknn.text.pairs import make_pairs
from sknn.text.seq2seq import Seq2SeqRNN

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WORDS = ["".join(letters) for n in range(5) for letters in itertools.product("abc", repeat=n)]
WORDS = [WORDS[i] for i in np.random.RandomState(0).permutation(len(WORDS))]
REVERSED = [word[::-1] for word in WORDS]
LEARNED, HELD = (WORDS[:80], REVERSED[:80]), (WORDS[80:], REVERSED[80:])
# of many lengths, none of them the other's
X = ["one", "two", "", "three", "four hundred", "five", "six", "seven", "eight", "n"]
Y = ["eins", "zwei", "nichts", "", "vierhundert", "fünf", "s", "sieben", "acht", "neun"]
CELLS = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": True},
    {"cell": "lstm", "n_layers": 2, "dropout": 0.2},
    {"cell": "gru", "n_layers": 2, "embedding": 5},
    {"cell": "rnn", "embedding": 9, "activation": "relu"},
]


def small(**params):
    """Return a network that fits in no time."""
    given = {
        "cell": "gru", "hidden_size": 12, "batch_size": 4, "max_iter": 3, "random_state": 0,
        "dtype": "float64",
    }  # fmt: skip
    return Seq2SeqRNN(**given | params)


@pytest.fixture(scope="module")
def fitted():
    """A network that has learned to reverse words."""
    net = small(hidden_size=32, batch_size=8, max_iter=60, learning_rate_init=0.01, dtype=None)
    return net.fit(*LEARNED)


@pytest.fixture(scope="module")
def untrained():
    """A network that knows little, so that its second thoughts are near."""
    net = small(batch_size=8, max_iter=6, learning_rate_init=0.01, max_length=6)
    return net.fit(*LEARNED)


# --- pairs as numbers


def test_pairs_lie_side_by_side_and_targets_are_one_further_on():
    inputs = np.array([0, 1, 2, 2]), np.array([0, 3, 3, 4])
    outputs = np.array([1, 0, 1]), np.array([0, 1, 3, 3])
    pairs = make_pairs(inputs, outputs, 7)
    assert (pairs.in_steps, pairs.out_steps) == (3, 3)
    assert pairs.codes.tolist() == [
        [0, 1, 2, 7, 1, 7, 0],
        [0, 0, 0, 7, 0, 1, 7],
        [2, 0, 0, 7, 7, 0, 0],
    ]
    assert pairs.lengths.tolist() == [[3, 2], [0, 3], [1, 1]]
    assert pairs.steps.tolist() == [2, 3, 1]
    assert pairs.lengths.flags.c_contiguous


def test_inputs_that_are_all_empty_have_room():
    nothing = np.array([], np.int64), np.array([0, 0])
    assert make_pairs(nothing, nothing, 0).codes.tolist() == [[0, 0, 0]]


# --- what it computes: the network in NumPy


def _advance(layers, groups, x, states):
    """Return what layers make of one symbol's vector; `states` go on."""
    groups, states = iter(groups), iter(states)
    for layer in layers:
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, Embedding):
            x = x @ next(groups)["kernel"]
            continue
        state = next(states)
        if getattr(layer, "activation", None) == "relu":
            values = next(groups)
            z = x @ values["kernel"] + values["bias"] + state[0] @ values["recurrent_kernel"]
            state[:] = [np.maximum(z, 0)]
        else:
            state[:] = step(layer, next(groups), x, state)
        x = state[0]
    return x


class Reference:
    """The distribution of each character of an output, by the equations."""

    def __init__(self, net):
        self.net = net
        weights = net.weights_
        self.encoder = [w for path, w in weights.items() if ".encoder." in path]
        self.decoder = [w for path, w in weights.items() if ".decoder." in path]
        self.output = weights["layers.1"]

    def read(self, text):
        """Return the states after an input."""
        layers, units = self.net.layers_[0].encoder, self.net.hidden_size
        recurrent = [layer for layer in layers if not isinstance(layer, (Dropout, Embedding))]
        states = [[np.zeros(units)] * (1 + isinstance(a, LSTM)) for a in recurrent]
        symbols = list(self.net.input_vocabulary_)
        for x in np.eye(len(symbols))[[symbols.index(symbol) for symbol in text]]:
            _advance(layers, self.encoder, x, states)
        return states

    def write(self, states, code):
        """Return the distribution after one more symbol of the output."""
        x = np.eye(len(self.net.output_vocabulary_) + 1)[code]
        x = _advance(self.net.layers_[0].decoder, self.decoder, x, states)
        scores = np.exp(x @ self.output["kernel"] + self.output["bias"])
        return scores / scores.sum()

    def log_likelihood(self, text, output):
        symbols = list(self.net.output_vocabulary_)
        codes = [len(symbols), *map(symbols.index, output), len(symbols)]
        states = self.read(text)
        return sum(np.log(self.write(states, a)[b]) for a, b in itertools.pairwise(codes))

    def greedy(self, text, longest):
        symbols, output = list(self.net.output_vocabulary_), ""
        states, code = self.read(text), len(symbols)
        while len(output) < longest:
            code = self.write(states, code).argmax()
            if code == len(symbols):
                break
            output += symbols[code]
        return output


@pytest.mark.parametrize("params", CELLS, ids=str)
def test_likelihoods_and_outputs_are_the_networks(params):
    net = small(**params, max_iter=6, learning_rate_init=0.01).fit(X, Y)
    reference = Reference(net)
    inputs, outputs = [*X, "one hundred one hundred"], [*Y, "einhundert"]
    expected = [reference.log_likelihood(*pair) for pair in zip(inputs, outputs)]
    np.testing.assert_allclose(net.score_samples(inputs, outputs), expected, rtol=1e-9)
    written = net.predict(inputs)
    assert written.tolist() == [reference.greedy(text, 22) for text in inputs]
    assert all(type(text) is str for text in written)


def test_a_pair_is_the_same_bits_alone_and_in_any_company(fitted, monkeypatch):
    inputs, outputs = WORDS + [WORDS[-1] * 3], REVERSED + ["ab"]
    together = fitted.score_samples(inputs, outputs), fitted.predict(inputs)
    for i in (0, 1, 2, 20, 120, 121):
        assert fitted.score_samples([inputs[i]], [outputs[i]])[0] == together[0][i]
        assert fitted.predict(inputs[i])[0] == together[1][i]
    monkeypatch.setattr(pairs, "LOOK_BYTES", 1)
    np.testing.assert_array_equal(fitted.score_samples(inputs, outputs), together[0])


def test_the_score_is_the_part_that_is_exact(fitted):
    right = fitted.predict(WORDS) == np.array(REVERSED, object)
    assert fitted.score(WORDS, REVERSED) == right.mean()
    assert fitted.score(["ab", "ba"], ["ba", "not in the vocabulary"]) == 0.5


# --- training


def torch_network(torch, net):
    """Return PyTorch's encoder, decoder and output layer with a network's weights; what learns."""
    parts, learned = {"encoder": [], "decoder": []}, []

    def give(parameters, values):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = torch.from_numpy(value.T.copy())
            learned.append(parameter)

    kind = {"lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[net.cell]
    *groups, (_, last) = net.weights_.items()
    for path, values in groups:
        part, inputs = parts[path.split(".")[2]], len(values["kernel"])
        if net.embedding and not part:
            part.append(torch.nn.Linear(inputs, net.embedding, bias=False, dtype=torch.float64))
            give([part[0].weight], values.values())
            continue
        part.append(kind(inputs, net.hidden_size, dtype=torch.float64))
        *given, second_bias = part[-1].all_weights[0]
        second_bias.data.zero_().requires_grad_(False)
        give(given, values.values())
    output = torch.nn.Linear(*last["kernel"].shape, dtype=torch.float64)
    give([output.weight, output.bias], last.values())
    return parts["encoder"], parts["decoder"], output, learned


def torch_run(torch, layers, codes, n_symbols, states):
    """Return what PyTorch's layers make of a text; `states` go on."""
    h = torch.nn.functional.one_hot(torch.tensor(codes), n_symbols).double()
    for i, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Linear):
            h = layer(h)
        else:
            h, states[i] = layer(h, states[i])
    return h


@pytest.mark.parametrize(
    "params", [{"cell": "lstm", "n_layers": 2}, {"cell": "rnn", "embedding": 4}], ids=str
)
def test_a_step_is_that_of_pytorch(params):
    torch = pytest.importorskip("torch")
    plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "clip_norm": None}
    net = small(**params, **plain, batch_size=len(X), learning_rate_init=0.5, max_iter=1)
    first = clone(net).set_params(learning_rate_init=1e-300).fit(X, Y)
    encoder, decoder, output, learned = torch_network(torch, first)
    symbols, written = list(first.input_vocabulary_), [*first.output_vocabulary_, "end"]
    loss = 0.0
    for x, y in zip(X, Y):
        codes = [written.index(symbol) for symbol in ["end", *y, "end"]]
        states = [None] * len(encoder)
        if x:
            torch_run(torch, encoder, list(map(symbols.index, x)), len(symbols), states)
        h = output(torch_run(torch, decoder, codes[:-1], len(written), states))
        wanted = torch.tensor(codes[1:])
        loss = loss + torch.nn.functional.cross_entropy(h, wanted, reduction="sum")
    loss = loss / sum(len(y) + 1 for y in Y)
    net.fit(X, Y)
    assert net.loss_curve_ == [pytest.approx(loss.item(), rel=1e-12)]
    after = [value for group in net.weights_.values() for value in group.values()]
    for parameter, gradient, value in zip(
        learned, torch.autograd.grad(loss, learned), after, strict=True
    ):
        expected = (parameter - 0.5 * gradient).detach().numpy().T
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def test_the_loss_is_the_mean_over_characters_and_ends():
    net = small(solver="sgd", learning_rate_init=1e-300, batch_size=3, max_iter=1).fit(X, Y)
    characters = sum(len(y) + 1 for y in Y)
    expected = -net.score_samples(X, Y).sum() / characters
    assert net.loss_ == pytest.approx(expected, rel=1e-9)


def test_reverses_words_it_has_not_seen(fitted):
    assert fitted.score(*LEARNED) > 0.95
    assert fitted.score(*HELD) > 0.8
    assert fitted.predict(["", "ab", "aab"]).tolist() == ["", "ba", "baa"]


def test_translates_dates():
    days = [
        date(2000, 1, 1) + timedelta(int(i)) for i in np.random.RandomState(0).permutation(3650)
    ]
    given = [f"{day.day} {day:%B} {day.year}" for day in days[:800]]
    iso = [day.isoformat() for day in days[:800]]
    net = Seq2SeqRNN(
        hidden_size=48, batch_size=16, learning_rate_init=0.01, max_iter=25, random_state=0
    ).fit(given[:600], iso[:600])
    assert net.score(given[600:], iso[600:]) > 0.9
    assert net.predict("3 May 2004").tolist() == ["2004-05-03"]


def test_partial_fit_is_one_epoch_and_goes_on():
    once = small(max_iter=1).fit(X, Y)
    net = small().partial_fit(X, Y)
    np.testing.assert_array_equal(net._weights.packed, once._weights.packed)
    # texts of other lengths leave the network as it is
    net.partial_fit(["three hundred one"], ["ein"]).partial_fit(["one"], ["eins"])
    assert len(net.loss_curve_) == 3 and net.t_ == len(X) + 2
    assert net.longest_output_ == len("vierhundert")
    assert len(net.predict(X)) == len(X)
    net.partial_fit(["one"], ["neuntausendneunhundert"])
    assert net.longest_output_ == 22


def test_warm_start_goes_on():
    net = small(warm_start=True, shuffle=False).fit(X, Y)
    before = net.score_samples(X, Y).sum()
    net.fit(X, Y)
    assert len(net.loss_curve_) == len(net.history_) == 6 and net.n_iter_ == 3
    assert net.score_samples(X, Y).sum() > before
    with pytest.raises(ValueError, match="do not fit"):
        net.set_params(hidden_size=5).fit(X, Y)
    with pytest.raises(ValueError, match="unknown is '.'; training continues with unknown=None"):
        net.set_params(hidden_size=12, unknown="?").fit(X, Y)


def test_validation_pairs_of_other_lengths_are_followed():
    val = ["one two three four", "n"], ["einszweidreivierfünfsechs", "n"]
    net = small().fit(X, Y, X_val=val[0], y_val=val[1])
    loss = -net.score_samples(*val).sum() / (sum(map(len, val[1])) + 2)
    assert net.validation_loss_curve_[-1] == pytest.approx(loss, rel=1e-9)
    assert list(net.history_) == ["loss", "validation_loss", "validation_score", "learning_rate"]
    plain = small().fit(X, Y)
    np.testing.assert_array_equal(net._weights.packed, plain._weights.packed)
    assert plain.validation_scores_ is None and plain.longest_output_ == 11


def test_the_validation_score_is_that_of_a_greedy_search(fitted):
    for epochs in (10, 20):
        net = clone(fitted).set_params(max_iter=epochs)
        net.fit(*LEARNED, X_val=HELD[0], y_val=HELD[1])
        assert 0 < net.validation_scores_[-1] == net.score(*HELD) < 1


def test_early_stopping_keeps_the_best():
    net = small(early_stopping=True, validation_fraction=0.3, max_iter=30, learning_rate_init=0.02)
    net.fit(WORDS, REVERSED)
    assert net.best_validation_score_ == max(net.validation_scores_)
    assert net.best_loss_ is None
    with pytest.raises(ValueError, match="early_stopping"):
        net.partial_fit(WORDS, REVERSED)


@pytest.mark.parametrize("solver", ["sgd", "adamw", "rmsprop", "lbfgs"])
def test_solvers(solver):
    net = small(solver=solver, max_iter=12, shuffle=False, learning_rate_init=0.01).fit(X, Y)
    assert net.loss_curve_[-1] < net.loss_curve_[0]


@pytest.mark.parametrize("params", [{"cell": "lstm"}, {"n_layers": 2, "dropout": 0.3}], ids=str)
def test_the_same_bits_for_any_number_of_threads(params):
    nets = [
        small(**params, hidden_size=48, batch_size=64, n_jobs=n, dtype=None, max_iter=2).fit(
            WORDS * 4, REVERSED * 4
        )
        for n in (1, 2, 3)
    ]
    expected = nets[0].score_samples(WORDS, REVERSED)
    for net in nets[1:]:
        np.testing.assert_array_equal(nets[0]._weights.packed, net._weights.packed)
        assert nets[0].loss_curve_ == net.loss_curve_
        np.testing.assert_array_equal(net.score_samples(WORDS, REVERSED), expected)
        assert (net.predict(WORDS * 4) == nets[0].predict(WORDS * 4)).all()


def test_types_to_compute_in():
    for dtype in ("float32", "float64"):
        net = small(dtype=dtype).fit(X, Y)
        assert {a.dtype.name for w in net.weights_.values() for a in w.values()} == {dtype}
    assert small(dtype=None).fit(X, Y)._weights.dtype == np.float32


# --- writing


def test_a_wide_beam_finds_the_most_probable_output(untrained):
    inputs = ["acb", "bba", "", "cabb", "bccba"]
    net = clone(untrained).set_params(max_length=4).fit(*LEARNED)
    outputs = ["".join(s) for n in range(5) for s in itertools.product("abc", repeat=n)]
    likelihoods = [net.score_samples([x] * len(outputs), outputs) for x in inputs]
    best = [outputs[some.argmax()] for some in likelihoods]
    assert net.set_params(beam_width=200).predict(inputs).tolist() == best
    assert net.set_params(beam_width=1).predict(inputs).tolist() != best


def test_a_wider_beam_finds_more_probable_outputs(untrained):
    net, likelihoods = clone(untrained).fit(*LEARNED), []
    for width in (1, 2, 4, 16):
        outputs = net.set_params(beam_width=width).predict(WORDS)
        assert max(map(len, outputs)) <= 6
        likelihoods.append(net.score_samples(WORDS, outputs))
    assert (np.diff([some.sum() for some in likelihoods]) > 0).all()
    assert (likelihoods[-1] >= likelihoods[0]).all()


@pytest.mark.parametrize("width", [1, 3])
def test_outputs_do_not_depend_on_what_is_written_beside(untrained, width, monkeypatch):
    net = clone(untrained).fit(*LEARNED).set_params(beam_width=width)
    expected = net.predict(WORDS)
    assert [net.predict([x])[0] for x in WORDS] == expected.tolist()
    assert net.predict(WORDS[::-1] * 7).tolist() == expected[::-1].tolist() * 7
    monkeypatch.setattr(seq2seq, "_TOGETHER", 7)
    assert (net.predict(WORDS) == expected).all()


def test_outputs_end_in_time():
    net = small(max_iter=10, learning_rate_init=0.05).fit(["a"], ["a" * 30])
    assert net.predict("a")[0] == "a" * 60
    assert net.set_params(max_length=7).predict("a")[0] == "a" * 7
    # a beam wide enough finds the end that is most probable, the last one included
    shorter = ["a" * n for n in range(8)]
    best = net.score_samples(["a"] * 8, shorter).argmax()
    assert net.set_params(beam_width=9).predict("a")[0] == shorter[best]


def test_inputs_longer_than_any_before(fitted):
    long = "ab" * 200
    (output,) = fitted.predict(long)
    assert set(output) <= {"a", "b", "c"} and len(output) <= 8
    assert np.isfinite(fitted.score_samples([long], ["ab" * 300])).all()


# --- characters


def test_any_character_goes():
    inputs = ["日本", "\ud800x", "👩‍👧", "e\u0301", "a\x00"] * 2
    outputs = ["\x00", "nihon\x00\x00", "\U0010ffff", "é\n", "\udc00"] * 2
    net = small(hidden_size=24, max_iter=80, learning_rate_init=0.02).fit(inputs, outputs)
    assert net.score(inputs, outputs) == 1.0
    assert net.predict(inputs).tolist() == outputs
    assert net.input_vocabulary_.tolist() == sorted(set("".join(inputs)))
    assert net.output_vocabulary_.tolist() == sorted(set("".join(outputs)))


def test_characters_never_seen(fitted):
    with pytest.raises(ValueError, match=r"X holds the character 'Q' .*document 1, position 1"):
        fitted.predict(["ab", "aQ"])
    with pytest.raises(ValueError, match="y holds the character 'Q'"):
        fitted.score_samples(["ab"], ["Q"])
    net = small(unknown="?", min_count=2).fit(X, Y)
    assert "?" in net.input_vocabulary_ and "?" in net.output_vocabulary_
    assert "g" not in net.input_vocabulary_ and "v" not in net.output_vocabulary_
    assert net.predict("Qne") == net.predict("?ne")
    assert net.score_samples(["one"], ["Q"]) == net.score_samples(["one"], ["?"])
    net.partial_fit(["Q"], ["Q"])


# --- errors


@pytest.mark.parametrize(
    "params, words",
    [
        ({"cell": "elman"}, "cell"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"n_layers": 1.5}, "n_layers"),
        ({"beam_width": 0}, "beam_width"),
        ({"max_length": 0}, "max_length"),
        ({"batch_size": "auto"}, "batch_size"),
        ({"dropout": 1.0}, "dropout"),
        ({"embedding": 0}, "embedding"),
        ({"unknown": "??"}, "unknown"),
        ({"min_count": 3}, "unknown"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "validation"),
        ({"solver": "lbfgs", "dropout": 0.5, "n_layers": 2}, "random layers"),
        ({"solver": "sgd", "learning_rate_init": 1e300, "dtype": "float32"}, "finite"),
    ],
)
def test_parameters_that_are_wrong(params, words):
    net = small().fit(X, Y)
    before = dict(vars(net))
    with pytest.raises(ValueError, match=words):
        net.set_params(**params).fit(X, Y)
    for name in set(before) - set(params):
        assert vars(net)[name] is before[name]


def test_parameters_of_the_search_are_checked_where_they_are_read():
    net = small(max_iter=1).fit(X, Y)
    for name in ("beam_width", "max_length"):
        with pytest.raises(ValueError, match=name):
            net.set_params(beam_width=1).set_params(**{name: -1}).predict(X)


@pytest.mark.parametrize(
    "inputs, outputs, error, words",
    [
        (3, Y, TypeError, "X is of the type int"),
        (b"one", Y, TypeError, "decode"),
        ([], [], ValueError, "X holds no document"),
        (["ab", 3], ["a", "b"], TypeError, r"X\[1\] is of the type int"),
        (["a"], [b"b"], TypeError, r"y\[0\] is bytes"),
        (["a"], [1], TypeError, r"y\[0\] is of the type int"),
        (np.array([["a"]]), ["a"], ValueError, r"X has the shape \(1, 1\)"),
        (X, Y[1:], ValueError, r"inconsistent numbers of samples: \[10, 9\]"),
        (X, None, ValueError, "requires y to be passed, but the target y is None"),
        (["", ""], ["a", "b"], ValueError, "X holds no character"),
        (["a", "b"], ["", ""], ValueError, "y holds no character"),
    ],
)
def test_texts_that_are_wrong(inputs, outputs, error, words):
    net = small(max_iter=1).fit(X, Y)
    before = dict(vars(net))
    with pytest.raises(error, match=words):
        net.fit(inputs, outputs)
    assert vars(net) == before
    with pytest.raises(error, match=words):
        small().partial_fit(inputs, outputs)
    if outputs is not None and "character" not in words:
        for method in (net.score, net.score_samples):
            with pytest.raises(error, match=words):
                method(inputs, outputs)


def test_validation_pairs_that_are_wrong():
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        small().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="'Q'"):
        small().fit(X, Y, X_val=["Q"], y_val=["a"])


def test_not_fitted():
    with pytest.raises(NotFittedError):
        small().predict(X)
    for method in ("score", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(small(), method)(X, Y)


# --- dropping in


def test_tags_and_checks():
    tags = Seq2SeqRNN().__sklearn_tags__()
    assert tags.input_tags.string and tags.target_tags.required
    assert not tags.input_tags.two_d_array and not tags.input_tags.sparse
    with pytest.warns(SkipTestWarning):  # nearly all of them want numbers
        check_estimator(Seq2SeqRNN())
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
        check("Seq2SeqRNN", Seq2SeqRNN())


def test_clones_and_pickles(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    expected = fitted.score_samples(WORDS, REVERSED)
    np.testing.assert_array_equal(again.score_samples(WORDS, REVERSED), expected)
    assert (again.predict(WORDS) == fitted.predict(WORDS)).all()
    again.partial_fit(WORDS, REVERSED)


def test_containers_of_texts():
    pd = pytest.importorskip("pandas")
    plain = small().fit(X, Y)
    expected = plain.predict(X)
    makes = (
        tuple, np.array, lambda texts: np.array(texts, dtype=object),
        lambda texts: pd.Series(texts, index=np.arange(len(texts))[::-1]),
    )  # fmt: skip
    for make in makes:
        net = clone(plain).fit(make(X), make(Y))
        np.testing.assert_array_equal(net._weights.packed, plain._weights.packed)
        assert (net.predict(make(X)) == expected).all()
        assert net.score(make(X), make(Y)) == plain.score(X, Y)


def test_a_fitted_network_is_only_read(fitted):
    before, packed = dict(vars(fitted)), fitted._weights.packed.copy()
    fitted.predict(WORDS), fitted.score(WORDS, REVERSED), fitted.score_samples(WORDS, REVERSED)
    assert vars(fitted) == before
    np.testing.assert_array_equal(fitted._weights.packed, packed)


def test_the_last_step_of_a_pipeline():
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    net = make_pipeline(lower, small()).fit([text.upper() for text in X], Y)
    assert (net.predict(["ONE"]) == net[-1].predict(["one"])).all()
    assert net.score(["ONE"], Y[:1]) == net[-1].score(["one"], Y[:1])


@pytest.mark.parametrize("make", [list, np.array])
def test_searches_over_pairs(make, fitted):
    inputs, outputs = make(WORDS), make(REVERSED)
    net = clone(fitted).set_params(max_iter=25)
    scores = cross_val_score(net, inputs, outputs, cv=3)
    assert scores.shape == (3,) and 0 <= scores.min() and scores.max() <= 1
    search = GridSearchCV(net, {"beam_width": [1, 3], "max_iter": [1, 25]}, cv=2)
    search.fit(inputs, outputs)
    assert search.best_params_["max_iter"] == 25
    assert search.score(inputs, outputs) == search.best_estimator_.score(inputs, outputs)
    assert cross_val_predict(net, inputs, outputs, cv=2).shape == (len(WORDS),)


def test_a_progress_bar(capsys):
    pytest.importorskip("rich")
    net = small()
    net.set_callbacks(ProgressBar())
    net.fit(X, Y)
    assert "Seq2SeqRNN" in capsys.readouterr().out


def test_the_network_is_shown():
    net = small(cell="lstm", n_layers=2, embedding=4, dropout=0.1).fit(X, Y)
    coder, _ = net.layers_
    assert isinstance(coder, EncoderDecoder)
    for part in (coder.encoder, coder.decoder):
        kinds = [type(layer).__name__ for layer in part]
        assert kinds == ["Embedding", "LSTM", "Dropout", "LSTM"]
    assert [len(group) for group in net.weights_.values()] == [1, 3, 3, 1, 3, 3, 2]
    assert "lstm" in str(net.summary()).lower()
