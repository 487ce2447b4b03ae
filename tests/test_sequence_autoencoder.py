"""The autoencoder of sequences: PyTorch's numbers, sequences of all forms and lengths, learning."""

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sknn import SequenceAutoencoderTransformer
from sknn.layers import Bidirectional, RepeatVector
from sknn.sequences.inputs import Sequences

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 10, size=60)
LENGTHS[:2] = 1, 9
ROWS = RNG.normal(size=(60, 6))
STEPS = RNG.normal(size=(60, 6, 3))
RAGGED = [RNG.normal(size=(n, 3)) for n in LENGTHS]
NUMBERS = [x[:, 0] for x in RAGGED]

# A rate at which weights stay what they were, to the bit.
STILL = {"solver": "sgd", "learning_rate_init": 1e-300}
SETTINGS = [
    {"cell": "rnn"},
    {"cell": "lstm", "bidirectional": True},
    {"cell": "lstm", "hidden_size": (9, 5), "bidirectional": True, "dropout": 0.2},
    {"cell": "gru", "truncate": 4, "activity_l1": 0.01},
    {"cell": "gru", "reset_after": True, "hidden_size": [9, 5], "noise": 0.2},
]
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def small(**params):
    given = {"cell": "gru", "hidden_size": 5, "max_iter": 3, "batch_size": 20, "random_state": 0}
    return SequenceAutoencoderTransformer(**{**given, **params})


def weights(net):
    """Return all that was learnt, as one list of arrays."""
    return [value for layer in net.weights_.values() for value in layer.values()]


def assert_same_bits(a, b):
    if isinstance(a, SequenceAutoencoderTransformer):
        a, b = weights(a), weights(b)
    if isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            assert_same_bits(one, other)
    else:
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()


def padded(arrays, value, more=0):
    """Return arrays of different lengths as one, with a value behind each."""
    shape = len(arrays), max(map(len, arrays)) + more, *arrays[0].shape[1:]
    whole = np.full(shape, value, np.result_type(*arrays, type(value)))
    for row, array in zip(whole, arrays):
        row[: len(array)] = array
    return whole


# --- PyTorch


def torch_model(torch, net, X):
    """Return what computes codes, and outputs, of (n, time, features), in PyTorch.

    Its parameters are those of the network, as leaves, in the network's shapes and order.
    """
    from test_recurrent_parity import by_module

    named = net.weights_
    leaves = {
        name: {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in w.items()}
        for name, w in named.items()
    }
    layers = [layer for layer in net.layers_ if hasattr(layer, "return_sequences")]
    layers = [layer for layer in net.layers_ if isinstance(layer, Bidirectional)] + layers
    layers.sort(key=lambda layer: net.layers_.index(layer))

    def recurrent(layer, x, lengths):
        ways = 2 if isinstance(layer, Bidirectional) else 1
        cell = layer.layer if ways == 2 else layer
        own = [w for name, w in leaves.items() if name.split(".")[0] == layer.name]
        zeros = torch.zeros(len(x), cell.units, dtype=x.dtype)
        initial = [(zeros, zeros) if net.cell == "lstm" else (zeros,)] * ways
        outputs, final = by_module(cell, ways, x, lengths, initial, own)
        return outputs, torch.cat([states[0] for states in final], 1)

    def model(x, lengths):
        for layer in layers[: len(layers) // 2]:
            x, code = recurrent(layer, x, lengths)
        x = code[:, None].expand(-1, int(lengths.max()), -1)
        for layer in layers[len(layers) // 2 :]:
            x, _ = recurrent(layer, x, lengths)
        output = leaves["output"]
        return code, x @ output["kernel"] + output["bias"]

    return SimpleNamespace(
        run=model, leaves=[value for w in leaves.values() for value in w.values()]
    )


PARITY = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru", "reset_after": True},
    "lstm, stacked and bidirectional": {
        "cell": "lstm", "hidden_size": (7, 4), "bidirectional": True,
    },
    "gru, stacked, of binary data": {
        "cell": "gru", "reset_after": True, "hidden_size": (7, 4), "loss": "log_loss",
    },
}  # fmt: skip


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("name", PARITY)
def test_outputs_codes_loss_and_a_step_are_pytorch_s(name, ragged):
    torch = pytest.importorskip("torch")
    X = RAGGED if ragged else list(STEPS)
    if PARITY[name].get("loss") == "log_loss":
        X = [1 / (1 + np.exp(-x)) for x in X]
    sgd = {
        "solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "clip_norm": None,
        "batch_size": 60, "shuffle": False, "max_iter": 1,
    }  # fmt: skip
    sample_weight = RNG.uniform(0.5, 2.0, 60)
    net = small(**{**sgd, **PARITY[name]}, learning_rate_init=1e-300).fit(X, None, sample_weight)
    lengths = torch.tensor([len(x) for x in X])
    x, model = torch.tensor(padded(X, 0.0)), torch_model(torch, net, X)
    codes, z = model.run(x, lengths)
    live = torch.arange(x.shape[1]) < lengths[:, None]
    if net.loss == "log_loss":
        outputs = z.sigmoid()
        errors = torch.nn.functional.binary_cross_entropy_with_logits(z, x, reduction="none")
    else:
        outputs, errors = z, (z - x) ** 2
    amounts = live * torch.tensor(sample_weight)[:, None]
    loss = (errors.mean(2) * amounts).sum() / amounts.sum()
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(net.transform(X), codes.detach(), **close)
    for ours, theirs in zip(net.reconstruct(X), outputs.detach()):
        np.testing.assert_allclose(ours, theirs[: len(ours)], **close)
    np.testing.assert_allclose(net.loss_, loss.item(), **close)
    np.testing.assert_allclose(net.score(X, sample_weight=sample_weight), -loss.item(), **close)
    loss.backward()
    before = weights(net)
    stepped = clone(net).set_params(learning_rate_init=0.5, initializer=before)
    stepped.fit(X, None, sample_weight)
    for ours, start, leaf in zip(weights(stepped), before, model.leaves, strict=True):
        np.testing.assert_allclose(ours, start - 0.5 * leaf.grad.numpy(), **close)


# --- forms of X


def forms_of_rows():
    """Return the same sequences of one number a step in every form, with that of the results."""
    pd = pytest.importorskip("pandas")
    return {
        "n time 1": (ROWS[:, :, None], "three"),
        "by columns": (np.asfortranarray(ROWS), "two"),
        "objects": (ROWS.astype(object), "two"),
        "frame": (pd.DataFrame(ROWS), "two"),
        "sparse": (sp.csr_matrix(ROWS), "two"),
        "lists of numbers": (ROWS.tolist(), "two"),
        "list of arrays": (list(ROWS), "list"),
        "tuple of arrays (time, 1)": (tuple(ROWS[:, :, None]), "list of two"),
        "series of lists": (pd.Series(ROWS.tolist()), "list"),
    }


@pytest.mark.parametrize("form", forms_of_rows())
def test_every_form_of_X(form):
    X, kind = forms_of_rows()[form]
    plain = small().fit(ROWS)
    net = small().fit(X)
    assert_same_bits(net, plain)
    assert_same_bits(net.transform(X), plain.transform(ROWS))
    expected = plain.reconstruct(ROWS)
    assert expected.shape == (60, 6)
    forms = {
        "two": expected,
        "three": expected[:, :, None],
        "list": list(expected),
        "list of two": list(expected[:, :, None]),
    }
    assert_same_bits(net.reconstruct(X), forms[kind])
    back = expected[:, :, None] if kind in ("three", "list of two") else expected
    assert_same_bits(net.inverse_transform(net.transform(X)), back)
    np.testing.assert_array_equal(net.score_samples(X), plain.score_samples(ROWS))


def test_shapes_of_all_that_it_gives():
    net = small(hidden_size=(7, 4), bidirectional=True).fit(RAGGED)
    codes = net.transform(RAGGED)
    assert codes.shape == (60, 8)
    assert net.n_steps_ == 9 and net.n_features_in_ == 3 and net.n_outputs_ == 3
    assert net.inverse_transform(codes).shape == (60, 9, 3)
    assert [x.shape for x in net.inverse_transform(codes, LENGTHS)] == [x.shape for x in RAGGED]
    assert [x.shape for x in net.reconstruct(RAGGED)] == [x.shape for x in RAGGED]
    assert net.score_samples(RAGGED).shape == (60,)
    units = [getattr(layer, "units", None) for layer in net.layers_]
    assert units == [None, None, None, 4, 7, 3]
    assert list(net.weights_) == [
        "encoder_1.forward.0", "encoder_1.backward.0", "encoder_2.forward.0",
        "encoder_2.backward.0", "decoder_1", "decoder_2", "output",
    ]  # fmt: skip
    assert "RepeatVector  9 x 8" in str(net.summary())
    numbers = small().fit(NUMBERS)
    assert [x.shape for x in numbers.inverse_transform(codes[:, :5], LENGTHS)] == [
        (n,) for n in LENGTHS
    ]


def test_computing_type_follows_X():
    for dtype in ("float32", "float64"):
        X = ROWS.astype(dtype)
        net = small().fit(X)
        codes = net.transform(X)
        assert codes.dtype == dtype
        assert net.inverse_transform(codes).dtype == dtype
        assert net.reconstruct(X).dtype == dtype
        assert net.score_samples(X).dtype == "float64"
    whole = small().fit((ROWS * 5).astype(int))
    assert whole.transform((ROWS * 5).astype(int)).dtype == "float32"


# --- sequences of all lengths


@each_setting
def test_a_sequence_has_the_same_bits_alone_padded_and_in_any_batch(setting):
    net = small(**setting).fit(RAGGED)
    codes, together = net.transform(RAGGED), net.reconstruct(RAGGED)
    scores = net.score_samples(RAGGED)
    assert_same_bits(net.inverse_transform(codes, LENGTHS), together)
    behind = padded(RAGGED, -7.0, 5)
    net.set_params(mask_value=-7.0)
    assert_same_bits(net.transform(behind), codes)
    assert_same_bits(net.reconstruct(behind), padded(together, -7.0, 5))
    for i in range(0, 60, 11):
        alone = RAGGED[i : i + 1]
        assert_same_bits(net.transform(alone), codes[i : i + 1])
        assert_same_bits(net.transform(RAGGED[i][None]), codes[i : i + 1])
        assert_same_bits(net.reconstruct(alone), together[i : i + 1])
        assert net.score_samples(alone) == scores[i]
    assert_same_bits(net.transform(RAGGED[::-3]), codes[::-3])


@each_setting
def test_what_stands_behind_a_sequence_changes_nothing(setting):
    """Noise has other numbers to change there, in other places."""
    net = small(**setting).fit(RAGGED)
    for value, more in ((np.nan, 0), (0.0, 0), (1.5, 0), (-7.0, 3)):
        X = padded(RAGGED, value, more)
        before = X.copy()
        masked = small(mask_value=value, **setting).fit(X)
        assert X.tobytes() == before.tobytes()
        assert_same_bits(masked, net)
        assert masked.loss_curve_ == net.loss_curve_
        assert masked.n_steps_ == 9
        assert masked.score(X) == net.score(RAGGED)


def test_sequences_longer_than_any_that_was_fitted():
    net = small(hidden_size=(6, 5), bidirectional=True, batch_size=3).fit(RAGGED)
    longer = [RNG.normal(size=(n, 3)) for n in (1, 30, 12)]
    codes = net.transform(longer)
    for i, x in enumerate(longer):
        assert_same_bits(net.transform([x]), codes[i : i + 1])
    assert [x.shape for x in net.reconstruct(longer)] == [x.shape for x in longer]
    whole, parts = net.inverse_transform(codes), net.inverse_transform(codes, [1, 30, 12])
    assert_same_bits(parts[1][:9], whole[1])
    assert_same_bits(parts[0], whole[0, :1])
    array = RNG.normal(size=(4, 21, 3))
    assert net.reconstruct(array).shape == array.shape
    assert net.n_steps_ == 9
    net.partial_fit(longer)
    assert net.n_steps_ == 30
    assert net.partial_fit(RAGGED).n_steps_ == 30
    assert net.inverse_transform(codes).shape == (3, 30, 3)
    assert net.fit(RAGGED).n_steps_ == 9


def test_a_single_sequence_and_a_single_step():
    for X in (RAGGED[1:2], RAGGED[:1], STEPS[:1], STEPS[:, :1]):
        net = small(batch_size="auto").fit(X)
        again = net.reconstruct(X)
        assert [x.shape for x in again] == [x.shape for x in X]
        np.testing.assert_allclose(
            net.score(X), -np.mean([((a - b) ** 2).mean() for a, b in zip(X, again)])
        )


# --- errors


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("ragged", [False, True])
def test_errors_are_means_over_steps_and_the_score_is_minus_the_loss(ragged, loss):
    X = RAGGED if ragged else STEPS
    X = [1 / (1 + np.exp(-x)) for x in X] if loss == "log_loss" else X
    net = small(**STILL, loss=loss, noise=0.0).fit(X)
    by_hand = []
    for x, a in zip(X, net.reconstruct(X)):
        by_hand.append(
            (x - a) ** 2 if loss == "squared_error" else -x * np.log(a) - (1 - x) * np.log(1 - a)
        )
    np.testing.assert_allclose(-net.score_samples(X), [e.mean() for e in by_hand], rtol=1e-9)
    overall = np.concatenate(by_hand).mean()
    np.testing.assert_allclose(net.score(X), -overall, rtol=1e-9)
    np.testing.assert_allclose(net.loss_, overall, rtol=1e-9)
    counts = RNG.integers(0, 4, size=60)
    repeated = [x for x, n in zip(X, counts) for _ in range(n)]
    np.testing.assert_allclose(net.score(X, sample_weight=counts), net.score(repeated))
    every = net.fit(X, X_val=X)
    np.testing.assert_allclose(every.validation_scores_, -overall, rtol=1e-9)
    np.testing.assert_allclose(every.validation_loss_curve_, overall, rtol=1e-9)


def test_the_penalty_of_codes_is_that_of_each_step():
    """So it is in a sequence's loss as often as its error."""
    plain = small(**STILL).fit(RAGGED)
    sparse = small(**STILL, activity_l1=0.3).fit(RAGGED)
    assert_same_bits(plain.transform(RAGGED), sparse.transform(RAGGED))
    penalties = np.abs(plain.transform(RAGGED)).sum(axis=1)
    expected = -plain.score(RAGGED) + 0.3 * np.average(penalties, weights=LENGTHS)
    np.testing.assert_allclose(sparse.loss_, expected, rtol=1e-9)
    np.testing.assert_allclose(sparse.score(RAGGED), plain.score(RAGGED))
    some = {"max_iter": 40, "learning_rate_init": 0.02}
    sizes = [
        np.abs(small(activity_l1=l1, **some).fit(RAGGED).transform(RAGGED)).mean()
        for l1 in (0.0, 0.3)
    ]
    assert sizes[1] < sizes[0] / 10


def test_data_far_out_of_range_get_a_warning():
    X = [1 / (1 + np.exp(-x)) for x in RAGGED]
    net = small(loss="log_loss").fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.score(X)
    for call in (net.score, net.score_samples):
        with pytest.warns(UserWarning, match="takes others as 0 or 1"):
            call([x * 5 for x in X])


def test_many_sequences_go_in_parts():
    X = RNG.normal(size=(9000, 2))
    net = small().fit(X[:50])
    scores = net.score_samples(X)
    np.testing.assert_array_equal(net.score_samples(X[8990:]), scores[8990:])
    np.testing.assert_allclose(-scores, ((net.reconstruct(X) - X) ** 2).mean(axis=1))


# --- what X is to become


def test_clean_sequences():
    noisy = [x + RNG.normal(size=x.shape) for x in RAGGED]
    net = small().fit(noisy, X_clean=RAGGED)
    assert_same_bits(small().fit(noisy, RAGGED), net)
    assert_same_bits(small().fit(noisy, X_clean=[x.tolist() for x in RAGGED]), net)
    masked = small(mask_value=np.nan)
    assert_same_bits(masked.fit(padded(noisy, np.nan), X_clean=padded(RAGGED, np.nan)), net)
    with pytest.raises(AssertionError):
        assert_same_bits(small().fit(noisy), net)
    by_hand = np.concatenate([(a - b) ** 2 for a, b in zip(net.reconstruct(noisy), RAGGED)])
    np.testing.assert_allclose(net.score(noisy, RAGGED), -by_hand.mean())
    validated = small().fit(noisy, X_clean=RAGGED, X_val=noisy[:7], X_val_clean=RAGGED[:7])
    np.testing.assert_allclose(validated.validation_scores_[-1], net.score(noisy[:7], RAGGED[:7]))


def test_labels_are_no_clean_sequences():
    labels = RNG.integers(2, size=60)
    for X in (RAGGED, NUMBERS, ROWS, STEPS):
        net = small().fit(X)
        assert_same_bits(small().fit(X, labels), net)
        assert_same_bits(small().fit(X, labels.astype(str).tolist()), net)
        assert net.score(X, labels) == net.score(X)
    assert_same_bits(small().fit(STEPS, list(STEPS[::-1])), small().fit(STEPS, STEPS[::-1]))


@pytest.mark.parametrize(
    "X, clean, message",
    [
        (RAGGED, RAGGED[::-1], r"X_clean\[0\] has \d steps; expected 1 steps, as X\[0\] has"),
        (RAGGED, RAGGED[:-1], "X_clean has 59 samples; expected 60"),
        (STEPS, STEPS[:, :5], r"X_clean\[0\] has 5 steps of 5; expected 6 steps of 6"),
        (STEPS, STEPS[:, :, :2], "X has 2 features per step, but .* was fitted to 3"),
    ],
)
def test_clean_sequences_are_as_long_as_those_of_X(X, clean, message):
    with pytest.raises(ValueError, match=message):
        small().fit(X, X_clean=clean)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_noise(kind):
    net = small(noise=0.3, noise_kind=kind).fit(RAGGED)
    with pytest.raises(AssertionError):
        assert_same_bits(net, small().fit(RAGGED))
    assert_same_bits(small(noise=0.3, noise_kind=kind).fit(RAGGED), net)
    if kind == "salt_and_pepper":  # the numbers of the sequences, without what is behind them
        X = [x + 10 for x in RAGGED]
        values = np.concatenate(X)
        given = small(noise=0.3, noise_kind=kind).fit(X).noise_range_
        assert given == (values.min(), values.max())
        masked = small(noise=0.3, noise_kind=kind, mask_value=-99).fit(padded(X, -99))
        assert masked.noise_range_ == given
    codes = net.transform(RAGGED)
    assert_same_bits(net.transform(RAGGED), codes)
    assert net.layers_[0].__class__.__name__.lower().startswith(kind.split("_")[0])


# --- threads, types and states of training


@each_setting
def test_any_number_of_threads_gives_the_same_bits(setting):
    X = [RNG.normal(size=(n, 3)) for n in RNG.integers(1, 40, size=80)]
    nets = [small(**{"batch_size": 70, **setting}, n_jobs=n).fit(X) for n in (1, 2, 3)]
    for net in nets[1:]:
        assert_same_bits(net, nets[0])
        assert net.loss_curve_ == nets[0].loss_curve_
        assert_same_bits(net.transform(X), nets[0].transform(X))
        assert_same_bits(net.reconstruct(X), nets[0].reconstruct(X))


def test_partial_fit_is_one_epoch_of_any_length():
    net, whole = small(shuffle=False), small(shuffle=False, max_iter=1)
    assert_same_bits(net.partial_fit(RAGGED), whole.fit(RAGGED))
    short = [x for x in RAGGED if len(x) < 5]
    assert net.partial_fit(short).n_iter_ == 1 and len(net.loss_curve_) == 2
    assert np.isfinite(net.score(RAGGED))


def test_warm_start_goes_on():
    twice = small(warm_start=True, solver="sgd", momentum=0.0, shuffle=False, max_iter=2)
    twice.fit(RAGGED).fit(RAGGED)
    once = small(solver="sgd", momentum=0.0, shuffle=False, max_iter=4).fit(RAGGED)
    assert_same_bits(twice, once)
    twice.fit([np.repeat(x, 2, axis=0) for x in RAGGED])
    assert twice.n_steps_ == 18
    with pytest.raises(ValueError, match="weights do not fit the network any more"):
        twice.set_params(hidden_size=6).fit(RAGGED)


def test_early_stopping_keeps_the_best():
    net = small(early_stopping=True, max_iter=200, n_iter_no_change=3, learning_rate_init=0.05)
    net.fit(RAGGED)
    assert net.n_iter_ < 200
    assert net.best_validation_score_ == max(net.validation_scores_)
    given = small(early_stopping=True, max_iter=30, n_iter_no_change=3).fit(RAGGED, X_val=RAGGED)
    np.testing.assert_allclose(given.score(RAGGED), given.best_validation_score_, rtol=1e-12)
    long = [np.tile(x, (3, 1)) for x in RAGGED]
    other = small().fit(RAGGED, X_val=long, sample_weight_val=LENGTHS)
    np.testing.assert_allclose(other.validation_scores_[-1], other.score(long, None, LENGTHS))
    assert list(other.history_) == ["loss", "validation_loss", "validation_score", "learning_rate"]


def test_lbfgs():
    net = small(solver="lbfgs", max_iter=30).fit(RAGGED)
    assert -net.score(RAGGED) < small(**STILL).fit(RAGGED).loss_
    np.testing.assert_allclose(net.loss_, -net.score(RAGGED), rtol=1e-9)
    assert not hasattr(net, "partial_fit")


# --- scikit-learn


def test_pickles_clones_and_frozen_parameters():
    net = small(hidden_size=[6, 4], bidirectional=True, noise=0.1).fit(RAGGED)
    again = pickle.loads(pickle.dumps(net))
    assert_same_bits(again.transform(RAGGED), net.transform(RAGGED))
    assert_same_bits(again.reconstruct(RAGGED), net.reconstruct(RAGGED))
    assert_same_bits(again.partial_fit(RAGGED), net.partial_fit(RAGGED))
    fresh = clone(net)
    assert not hasattr(fresh, "layers_")
    assert_same_bits(fresh.fit(RAGGED), small(**fresh.get_params()).fit(RAGGED))


def test_names_of_codes_and_frames():
    pd = pytest.importorskip("pandas")
    net = small().fit(pd.DataFrame(ROWS, columns=list("abcdef")))
    names = [f"sequenceautoencodertransformer{i}" for i in range(5)]
    assert list(net.get_feature_names_out()) == names
    assert list(net.feature_names_in_) == list("abcdef")
    frame = net.set_output(transform="pandas").transform(pd.DataFrame(ROWS, columns=list("abcdef")))
    assert list(frame.columns) == names
    with config_context(transform_output="pandas"):
        assert list(small().fit(RAGGED).transform(RAGGED).columns) == names


def test_in_pipelines_and_searches():
    kinds = np.where(LENGTHS > 4, "long", "short")
    pipeline = make_pipeline(small(max_iter=5), LogisticRegression())
    assert pipeline.fit(RAGGED, kinds).predict(RAGGED).shape == (60,)
    search = GridSearchCV(small(), {"hidden_size": [2, 8]}, cv=2).fit(STEPS)
    assert search.best_params_["hidden_size"] in (2, 8)
    assert cross_val_score(small(), ROWS, cv=2).max() < 0


def test_not_fitted():
    net = small()
    for call in (net.transform, net.reconstruct, net.score, net.score_samples):
        with pytest.raises(NotFittedError):
            call(ROWS)
    with pytest.raises(NotFittedError):
        net.inverse_transform(ROWS)


@pytest.mark.parametrize(
    "params, X, message",
    [
        ({"hidden_size": []}, ROWS, "hidden_size must be one or more integers"),
        ({"hidden_size": [4, 0]}, ROWS, "one or more integers > 0"),
        ({"loss": "log_loss"}, ROWS, "values in .0, 1"),
        ({"loss": "log_loss", "output_activation": "tanh"}, abs(ROWS) / 9, "expected 'logistic'"),
        ({}, ["abc", "de"], "X has texts, such as 'abc'"),
        ({}, [["a", "b"], ["c"]], "X has texts, such as 'a'"),
        ({}, [[1.0, 2.0], []], r"X\[1\] is empty"),
        ({}, [[1.0, np.nan], [1.0]], "NaN"),
        ({}, np.zeros((3, 4, 2, 1)), "4 dimensions"),
        ({"mask_value": 0}, np.zeros((3, 4)), "consists only of mask_value"),
    ],
)
def test_errors(params, X, message):
    with pytest.raises(ValueError, match=message):
        small(**params).fit(X)


def test_errors_of_a_fitted_network_leave_it_as_it_was():
    net = small().fit(RAGGED)
    before = dict(vars(net))
    codes = net.transform(RAGGED)
    for lengths in (LENGTHS[:3], LENGTHS + 0.5, 4, LENGTHS[:, None]):
        with pytest.raises(ValueError, match="lengths has the shape .* expected an int for each"):
            net.inverse_transform(codes, lengths)
    with pytest.raises(ValueError, match="lengths has 0; expected at least 1"):
        net.inverse_transform(codes, LENGTHS - 1)
    with pytest.raises(ValueError, match="X has 3 columns; expected codes of 5 numbers"):
        net.inverse_transform(codes[:, :3])
    with pytest.raises(ValueError, match="X has 1 features per step, but .* was fitted to 3"):
        net.transform(NUMBERS)
    with pytest.raises(ValueError, match="X has 1 features per step"):
        net.partial_fit(NUMBERS)
    with pytest.raises(ValueError, match="X_clean"):
        net.fit(NUMBERS, X_clean=NUMBERS[::-1])
    assert vars(net) == before
    with pytest.raises(TypeError, match="hidden_size must be integers"):
        small(hidden_size=[2.5]).fit(ROWS)


def test_sequences_know_their_numbers():
    values = np.array([[1.0, 2.0, 0.0, 0.0], [5.0, 3.0, 4.0, 9.0]])
    some = Sequences(values, 2, 2, np.array([1, 2]))
    assert (some.min(), some.max()) == (1.0, 9.0)
    assert some.part(slice(1)).max() == 2.0
    assert [part.tolist() for part in some.cut(values.reshape(2, 2, 2))][0] == [[1.0, 2.0]]


def test_the_vector_is_repeated_as_often_as_there_are_steps():
    net = small().fit(RAGGED)
    repeats = [layer for layer in net.layers_ if isinstance(layer, RepeatVector)]
    assert repeats == [RepeatVector(9)]


# --- learning


def waves(n, steps=20):
    rng = np.random.default_rng(0)
    speeds, phases = rng.uniform(0.2, 0.8, n), rng.uniform(0, 6, n)
    return speeds, np.sin(np.outer(speeds, np.arange(steps)) + phases[:, None])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_learns_waves(cell):
    speeds, X = waves(400)
    net = small(
        cell=cell, hidden_size=24, batch_size=30, learning_rate_init=0.01, max_iter=100,
        early_stopping=True, n_iter_no_change=20,
    ).fit(X[:300])  # fmt: skip
    assert -net.score(X[300:]) < 0.1 * X.var()
    codes = net.transform(X)
    model = LinearRegression().fit(codes[:300], speeds[:300])
    assert model.score(codes[300:], speeds[300:]) > 0.95


def test_learns_ragged_waves_and_finds_what_is_none():
    _, X = waves(300)
    ragged = [x[:n] for x, n in zip(X, np.random.default_rng(1).integers(8, 21, size=300))]
    net = small(hidden_size=24, batch_size=30, learning_rate_init=0.01, max_iter=60).fit(ragged)
    assert -net.score(ragged) < 0.1 * X.var()
    others = [RNG.permutation(x) for x in ragged]
    assert np.median(net.score_samples(others)) < 5 * np.median(net.score_samples(ragged)) < 0


def test_noise_is_taken_away():
    _, X = waves(300)
    noisy = X + np.random.default_rng(1).normal(0.0, 0.5, X.shape)
    params = {"hidden_size": 24, "batch_size": 30, "learning_rate_init": 0.01, "max_iter": 60}
    net = small(**params, noise=0.5).fit(X)
    assert -net.score(noisy, X) < 0.5 * ((noisy - X) ** 2).mean()
