"""Recurrent networks through their public interface."""

import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sknn import RNNClassifier, RNNRegressor
from sknn.layers import Embedding

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 10, size=60)
LENGTHS[:2] = 1, 9
ROWS = RNG.normal(size=(60, 6))
STEPS = RNG.normal(size=(60, 6, 3))
RAGGED = [RNG.normal(size=(n, 3)) for n in LENGTHS]
TOKENS = [RNG.integers(5, size=n) for n in LENGTHS]
TOKENS[1][:5] = range(5)
# Targets of each sequence, and of each of their steps.
SUMS = np.array([x[:, 0].sum() for x in RAGGED])
KINDS = np.array(["down", "flat", "up"])[np.digitize(SUMS, [-1, 1])]
STEP_SUMS = [x[:, 0].cumsum() for x in RAGGED]
STEP_KINDS = [np.array(["down", "flat", "up"])[np.digitize(s, [-1, 1])] for s in STEP_SUMS]

# A rate at which weights stay what they were, to the bit.
STILL = {"solver": "sgd", "learning_rate_init": 1e-300, "alpha": 0.0}
CELLS = [
    {"cell": "rnn"},
    {"cell": "rnn", "activation": "relu", "bidirectional": True},
    {"cell": "lstm"},
    {"cell": "lstm", "hidden_size": (6, 16), "bidirectional": True},
    {"cell": "gru", "truncate": 4},
    {"cell": "gru", "reset_after": True, "hidden_size": [16, 6], "dropout": 0.2},
]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
each_form = pytest.mark.parametrize("by_step", [False, True], ids=["one", "each step"])


@pytest.fixture(autouse=True)
def own_numbers(monkeypatch):
    """Let each test draw the same numbers, whichever ran before."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(1))


def small(cls=RNNRegressor, **params):
    given = {"cell": "gru", "hidden_size": 6, "max_iter": 3, "batch_size": 20, "random_state": 0}
    return cls(**{**given, **params})


def weights(net):
    """Return all that was learnt, as one list of arrays."""
    return [value for layer in net.weights_.values() for value in layer.values()]


def assert_same_bits(a, b):
    a, b = (list(x) if getattr(x, "dtype", None) == np.dtype(object) else x for x in (a, b))
    assert type(a) is type(b)
    if isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            assert_same_bits(one, other)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    else:
        assert_same_bits(weights(a), weights(b))


def padded(arrays, value, more=0):
    """Return arrays of different lengths as one, with a value behind each."""
    shape = len(arrays), max(map(len, arrays)) + more, *arrays[0].shape[1:]
    whole = np.full(shape, value, np.result_type(*arrays, type(value)))
    for row, array in zip(whole, arrays):
        row[: len(array)] = array
    return whole


# --- forms of X


def forms_of_rows():
    """Return the same sequences of one number a step in every form."""
    pd = pytest.importorskip("pandas")
    wide = np.zeros((60, 13))
    wide[:, 1::2] = ROWS
    read_only = ROWS.copy()
    read_only.flags.writeable = False
    objects = np.empty(60, object)
    objects[:] = list(ROWS)
    return {
        "n time 1": ROWS[:, :, None],
        "every other column": wide[:, 1::2],
        "by columns": np.asfortranarray(ROWS),
        "columns apart": np.asfortranarray(ROWS[:, :, None]),
        "read only": read_only,
        "objects": ROWS.astype(object),
        "frame": pd.DataFrame(ROWS),
        "sparse": sp.csr_matrix(ROWS),
        "lists of numbers": ROWS.tolist(),
        "lists of lists": ROWS[:, :, None].tolist(),
        "list of arrays": list(ROWS),
        "tuple of arrays (time, 1)": tuple(ROWS[:, :, None]),
        "array of arrays": objects,
        "series of lists": pd.Series(ROWS.tolist()),
    }


@pytest.mark.parametrize("form", forms_of_rows())
def test_every_form_of_X_is_fitted_and_predicted_alike(form):
    X = forms_of_rows()[form]
    plain = small().fit(ROWS, ROWS.sum(axis=1))
    net = small().fit(X, ROWS.sum(axis=1))
    assert_same_bits(net, plain)
    assert_same_bits(net.predict(X), plain.predict(ROWS))


def test_features_of_steps_in_an_array_and_in_a_list():
    net = small().fit(STEPS, STEPS.sum(axis=(1, 2)))
    assert_same_bits(small().fit(list(STEPS), STEPS.sum(axis=(1, 2))), net)
    assert net.n_features_in_ == 3
    assert net.weights_["layers.0"]["kernel"].shape == (3, 18)
    assert_same_bits(net.predict(STEPS[:, ::2][::-2]), net.predict(list(STEPS[:, ::2][::-2])))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint64, np.float32, float])
def test_tokens_are_integers_of_any_type(dtype):
    net = small(embedding=4).fit(TOKENS, SUMS)
    tokens = [x.astype(dtype) for x in TOKENS]
    expected = net.predict(TOKENS)
    assert_same_bits(net.predict(tokens), expected)
    kind = np.result_type(dtype, np.float32)  # what is computed in
    assert_same_bits(
        small(embedding=4, dtype="float32").fit(tokens, SUMS).predict(TOKENS).astype(kind),
        expected.astype(kind),
    )
    assert_same_bits(net.predict(np.array(tokens[1])[None]), expected[1:2])
    assert net.n_tokens_ == 5


def test_computing_type_follows_X():
    for X, dtype in ((ROWS, "float64"), (ROWS.astype("float32"), "float32"), (TOKENS, "float32")):
        params = {"embedding": "one-hot" if X is TOKENS else None}
        assert small(**params).fit(X, SUMS).predict(X).dtype == dtype
        net = small(dtype="float64", **params).fit(X, SUMS)
        assert net.predict(X).dtype == "float64"


# --- embeddings


def test_one_hot_tokens_are_vectors_of_a_one_and_zeros():
    hot = np.eye(5)
    net = small(embedding="one-hot", dtype="float64").fit(TOKENS, SUMS)
    vectors = small(dtype="float64").fit([hot[x] for x in TOKENS], SUMS)
    for a, b in zip(weights(net), weights(vectors)):
        np.testing.assert_allclose(a, b, atol=1e-12)
    given = small(embedding=hot, dtype="float64").fit(TOKENS, SUMS)
    np.testing.assert_allclose(given.predict(TOKENS), net.predict(TOKENS), atol=1e-12)


def test_vectors_that_are_given_stay_and_others_are_trained():
    vectors = RNG.normal(size=(7, 4))
    net = small(embedding=vectors).fit(TOKENS, SUMS)
    assert (net.weights_["layers.0"]["kernel"] == vectors.astype("float32")).all()
    assert net.n_tokens_ == 7
    assert_same_bits(small(embedding=vectors.tolist()).fit(TOKENS, SUMS), net)
    layer = Embedding(7, 4, vectors=vectors, name="words")
    trained = small(embedding=layer).fit(TOKENS, SUMS).weights_["words"]["kernel"]
    assert (trained[:5] != vectors[:5].astype("float32")).any(axis=1).all()
    frozen = Embedding(7, 4, vectors=vectors, trainable=False)
    assert_same_bits(small(embedding=frozen).fit(TOKENS, SUMS), net)
    assert small(embedding=4).fit(TOKENS, SUMS).weights_["layers.0"]["kernel"].shape == (5, 4)


# --- masking


@each_form
@each_cell
def test_a_sequence_predicts_the_same_alone_padded_and_in_any_batch(cell, by_step):
    y = STEP_SUMS if by_step else SUMS
    net = small(return_sequences=by_step, **cell).fit(RAGGED, y)
    together = net.predict(RAGGED)
    behind = padded(RAGGED, -7.0, 5)
    in_arrays = net.set_params(mask_value=-7.0).predict(behind)
    for i in range(0, 60, 11):
        expected = together[i : i + 1]
        assert_same_bits(net.predict(RAGGED[i : i + 1]), expected)
        assert (net.predict(RAGGED[i][None])[0] == expected[0]).all()
        n = len(RAGGED[i]) if by_step else None
        one = in_arrays[i, :n] if by_step else in_arrays[i]
        assert (one == expected[0]).all()
        if by_step:  # behind the end it says what it said last
            assert (in_arrays[i, n:] == one[-1]).all()
    assert_same_bits(net.predict(RAGGED[::-3]), together[::-3])
    copied = clone(net).set_params(mask_value=-7.0)
    assert_same_bits(copied.fit(behind[:, :9], padded(y, 0.0) if by_step else y), net)


@pytest.mark.parametrize("value", [np.nan, 0, -1e300, 1.5])
@each_form
def test_masked_arrays_are_fitted_as_lists(value, by_step):
    """What stands behind the end of a sequence, in X and in y, changes nothing."""
    y = STEP_KINDS if by_step else KINDS
    net = small(RNNClassifier, return_sequences=by_step).fit(RAGGED, y)
    X = padded(RAGGED, value)
    before = X.copy()
    masked = small(RNNClassifier, return_sequences=by_step, mask_value=value)
    masked.fit(X, padded(y, "?") if by_step else y)
    assert_same_bits(masked, net)
    assert X.tobytes() == before.tobytes()
    assert masked.score(X, padded(y, "?") if by_step else y) == net.score(RAGGED, y)


def test_only_whole_steps_at_the_end_are_padding():
    X = np.ones((3, 4, 2))
    X[0, 1], X[1, 2:], X[2, 3, 1] = 0, 0, 0
    X[1, 3, 0] = 5
    net = small(mask_value=0, batch_size=3).fit(X, [1.0, 2.0, 3.0])
    expected = net.predict([X[0], X[1], X[2]])
    assert_same_bits(net.predict(X), expected)
    tokens = np.array([[1, 2, -1], [2, -1, -1], [0, 1, 2]])
    net = small(mask_value=-1, embedding=4, batch_size=3).fit(tokens, [1.0, 2.0, 3.0])
    assert_same_bits(net.predict(tokens), net.predict([[1, 2], [2], [0, 1, 2]]))


# --- threads


@each_form
@each_cell
def test_any_number_of_threads_gives_the_same_bits(cell, by_step):
    X = [RNG.normal(size=(n, 3)) for n in RNG.integers(1, 50, size=80)]
    y = [x[:, 0] for x in X] if by_step else [x[-1, 0] for x in X]
    params = {"return_sequences": by_step, "batch_size": 70, **cell, "hidden_size": [16, 6]}
    nets = [small(**params, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2, 3)]
    for net in nets[1:]:
        assert_same_bits(net, nets[0])
        assert net.loss_curve_ == nets[0].loss_curve_
        assert_same_bits(net.predict(X), nets[0].predict(X))


# --- learning


def test_learns_the_parity_of_the_last_bits():
    X = RNG.integers(2, size=(400, 6))
    y = np.where(X[:, -3:].sum(axis=1) % 2, "odd", "even")
    net = small(
        RNNClassifier, embedding="one-hot", hidden_size=16, max_iter=60, learning_rate_init=0.02
    ).fit(X[:300], y[:300])
    assert net.score(X[300:], y[300:]) > 0.95
    assert set(net.predict(X)) == {"even", "odd"}


def test_learns_to_add_two_marked_numbers():
    X = RNG.uniform(size=(600, 8, 2))
    X[:, :, 1] = 0
    marked = np.argsort(RNG.uniform(size=(600, 8)))[:, :2]
    np.put_along_axis(X[:, :, 1], marked, 1.0, axis=1)
    y = np.take_along_axis(X[:, :, 0], marked, axis=1).sum(axis=1)
    net = small(cell="lstm", hidden_size=16, max_iter=60, learning_rate_init=0.02)
    assert net.fit(X[:500], y[:500]).score(X[500:], y[500:]) > 0.9


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_learns_an_echo_of_each_step(cell):
    """The label of a step is the token of two steps before; read both ways, the next token."""
    X = [RNG.integers(3, size=n) for n in RNG.integers(3, 12, size=200)]
    y = [np.concatenate([[0, 0], x[:-2]]) for x in X]
    net = small(
        RNNClassifier, cell=cell, embedding=4, return_sequences=True, hidden_size=16, max_iter=40,
        learning_rate_init=0.02,
    )  # fmt: skip
    assert net.fit(X[:150], y[:150]).score(X[150:], y[150:]) > 0.97
    ahead = [np.append(x[1:], 0) for x in X]
    assert clone(net).fit(X, ahead).score(X, ahead) < 0.7
    net.set_params(bidirectional=True)
    assert net.fit(X[:150], ahead[:150]).score(X[150:], ahead[150:]) > 0.97


# --- targets


def test_targets_of_each_step_in_arrays_and_lists():
    X, y = STEPS, STEPS[:, :, :2].cumsum(axis=1)
    net = small(return_sequences=True).fit(X, y)
    assert net.n_outputs_ == 2
    outputs = net.predict(X)
    assert outputs.shape == y.shape
    assert net.score(X, y) == r2_score(y.reshape(-1, 2), outputs.reshape(-1, 2))
    assert_same_bits(small(return_sequences=True).fit(list(X), list(y)), net)
    assert_same_bits(small(return_sequences=True).fit(X, y.tolist()), net)
    assert_same_bits(net.predict(list(X)), list(outputs))
    single = small(return_sequences=True).fit(X, y[:, :, 0])
    assert single.predict(X).shape == (60, 6)
    with pytest.warns(UserWarning, match="column-vector"):
        assert_same_bits(small(return_sequences=True).fit(X, y[:, :, :1]), single)


def test_classes_of_each_step():
    net = small(RNNClassifier, return_sequences=True, max_iter=20).fit(RAGGED, STEP_KINDS)
    assert net.classes_.tolist() == ["down", "flat", "up"]
    probabilities, labels = net.predict_proba(RAGGED), net.predict(RAGGED)
    logs = net.predict_log_proba(RAGGED)
    for x, p, q, label in zip(RAGGED, probabilities, logs, labels):
        assert p.shape == (len(x), 3) and label.shape == (len(x),)
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (q == np.log(p)).all()
        assert (label == net.classes_[p.argmax(axis=1)]).all()
    joined = np.concatenate(STEP_KINDS), np.concatenate(labels)
    assert net.score(RAGGED, STEP_KINDS) == accuracy_score(*joined)
    assert net.predict_proba(STEPS).shape == (60, 6, 3)


def test_two_classes_and_several_labels_for_each_step():
    two = [s > 0 for s in STEP_SUMS]
    net = small(RNNClassifier, return_sequences=True, max_iter=20).fit(RAGGED, two)
    assert net.out_activation_ == "logistic" and net.n_outputs_ == 1
    assert net.predict_proba(STEPS).shape == (60, 6, 2)
    assert net.predict(RAGGED)[1].shape == (9,) and net.predict(RAGGED)[1].dtype == bool
    labels = [np.column_stack([s > 0, s > 1]).astype(int) for s in STEP_SUMS]
    net.fit(RAGGED, labels)
    assert net.predict_proba(STEPS).shape == net.predict(STEPS).shape == (60, 6, 2)
    joined = np.concatenate(labels), np.concatenate(net.predict(RAGGED))
    assert net.score(RAGGED, labels) == accuracy_score(*joined)


def test_several_outputs_and_labels_of_a_sequence():
    y = np.column_stack([SUMS, -SUMS])
    net = small().fit(RAGGED, y)
    assert net.predict(RAGGED).shape == (60, 2) and net.n_outputs_ == 2
    net = small(RNNClassifier).fit(RAGGED, (y > 0).astype(int))
    assert net.predict(RAGGED).shape == net.predict_proba(RAGGED).shape == (60, 2)


@pytest.mark.parametrize("loss", ["poisson", "absolute_error", "huber", "quantile"])
def test_other_losses_of_each_step(loss):
    y = [s**2 for s in STEP_SUMS]
    net = small(loss=loss, return_sequences=True, max_iter=5).fit(RAGGED, y)
    assert net.loss_curve_[-1] < net.loss_curve_[0]


# --- losses and weights


def half_squares(net, X, y):
    """Return half the squared errors of steps, a list of arrays."""
    return [(t - p) ** 2 / 2 for t, p in zip(y, net.predict(X))]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_mean_over_steps(weighted):
    """Of each batch, weighted by its steps, as by its rows where there is one target a row."""
    w = RNG.integers(0, 4, size=60).astype(float) if weighted else np.ones(60)
    net = small(return_sequences=True, max_iter=1, shuffle=False, **STILL)
    net.fit(RAGGED, STEP_SUMS, w if weighted else None, X_val=RAGGED[7:20], y_val=STEP_SUMS[7:20])
    errors = half_squares(net, RAGGED, STEP_SUMS)
    total = 0.0
    for k in range(0, 60, 20):
        batch = slice(k, k + 20)
        sums = np.array([e.sum() for e in errors[batch]])
        total += (sums @ w[batch]) / (w[batch] @ LENGTHS[batch]) * LENGTHS[batch].sum()
    np.testing.assert_allclose(net.loss_, total / LENGTHS.sum(), rtol=1e-12)
    np.testing.assert_allclose(
        net.validation_loss_curve_[0], np.concatenate(errors[7:20]).mean(), rtol=1e-12
    )
    assert net.validation_scores_[0] == net.score(RAGGED[7:20], STEP_SUMS[7:20])


@each_form
def test_a_weight_is_a_repetition(by_step):
    y = STEP_SUMS if by_step else list(SUMS)
    w = RNG.integers(0, 3, size=60)
    many = np.repeat(np.arange(60), w)
    net = small(return_sequences=by_step, batch_size=200, alpha=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a batch larger than the data
        weighted = clone(net).fit(RAGGED, y, w)
        repeated = clone(net).fit([RAGGED[i] for i in many], [y[i] for i in many])
    for a, b in zip(weights(weighted), weights(repeated)):
        np.testing.assert_allclose(a, b, atol=1e-9)
    joined = (np.concatenate(v) if by_step else v for v in (y, weighted.predict(RAGGED)))
    by_row = np.repeat(w, LENGTHS) if by_step else w
    assert weighted.score(RAGGED, y, w) == r2_score(*joined, sample_weight=by_row)


def test_class_weight():
    balanced = small(RNNClassifier, class_weight="balanced").fit(RAGGED, KINDS)
    names, counts = np.unique(KINDS, return_counts=True)
    by_class = dict(zip(names, len(KINDS) / (len(names) * counts)))
    assert_same_bits(small(RNNClassifier, class_weight=by_class).fit(RAGGED, KINDS), balanced)


# --- the ways of fitting


@each_form
def test_lbfgs_descends(by_step):
    y = STEP_SUMS if by_step else SUMS
    nets = [
        small(solver="lbfgs", max_iter=30, return_sequences=by_step, n_jobs=n).fit(RAGGED, y)
        for n in (1, 2)
    ]
    assert_same_bits(*nets)
    net = nets[0]
    assert net.score(RAGGED, y) > 0.5
    joined = (np.concatenate(v) if by_step else v for v in (y, net.predict(RAGGED)))
    error = np.mean([(a - b) ** 2 / 2 for a, b in zip(*joined)])
    matrices = [v for v in weights(net) if v.ndim == 2]
    count = LENGTHS.sum() if by_step else 60
    penalty = net.alpha / 2 * sum((v**2).sum() for v in matrices) / count
    np.testing.assert_allclose(net.loss_, error + penalty, rtol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_validation_data_may_have_other_numbers_of_steps(solver):
    net = small(RNNClassifier, return_sequences=True, solver=solver)
    for n in (4, 15):
        X, y = RNG.normal(size=(5, n, 3)), RNG.choice(["down", "up"], size=(5, n))
        net.fit(RAGGED, STEP_KINDS, X_val=X, y_val=y)
        assert net.validation_scores_[-1] == net.score(X, y)
        assert len(net.history_) == len(net.validation_loss_curve_)


@each_form
def test_early_stopping_keeps_the_best_weights(by_step):
    y = STEP_KINDS if by_step else KINDS
    net = small(
        RNNClassifier, return_sequences=by_step, early_stopping=True, max_iter=30,
        n_iter_no_change=4, learning_rate_init=0.05, validation_fraction=0.3,
    )  # fmt: skip
    net.fit(RAGGED, y)
    assert net.best_validation_score_ == max(net.validation_scores_)
    net.fit(RAGGED, y, X_val=RAGGED[:20], y_val=y[:20])
    assert net.best_validation_score_ == net.score(RAGGED[:20], y[:20])


@each_form
def test_partial_fit_is_an_epoch(by_step):
    y = STEP_KINDS if by_step else KINDS
    once = small(RNNClassifier, max_iter=1, return_sequences=by_step).fit(RAGGED, y)
    net = small(RNNClassifier, return_sequences=by_step)
    net.partial_fit(RAGGED, y, classes=["down", "flat", "up"])
    assert_same_bits(net, once)
    longer = RNG.normal(size=(20, 25, 3))
    net.partial_fit(list(longer), [["up"] * 25] * 20 if by_step else KINDS[:20])
    assert len(net.loss_curve_) == 2 and net.t_ == 80
    net.set_params(warm_start=True).fit(RAGGED, y)
    assert len(net.loss_curve_) == 5


def test_dropout_between_layers_is_for_training():
    params = {"hidden_size": (6, 6), "max_iter": 1}
    dropped, plain = small(dropout=0.5, **params), small(**params)
    assert [type(a).__name__ for a in dropped.fit(RAGGED, SUMS).layers_] == [
        "GRU", "Dropout", "GRU", "Dense",
    ]  # fmt: skip
    assert dropped.loss_ != plain.fit(RAGGED, SUMS).loss_
    assert_same_bits(dropped.predict(RAGGED), dropped.predict(RAGGED))
    assert small(dropout=0.5).fit(RAGGED, SUMS).loss_ == small().fit(RAGGED, SUMS).loss_


def test_parameters_reach_the_layers():
    net = small(cell="rnn", activation="relu", truncate=4, bidirectional=True).fit(STEPS, SUMS)
    layer = net.layers_[0].layer
    assert (layer.activation, layer.truncate, layer.units) == ("relu", 4, 6)
    assert small(reset_after=True).fit(STEPS, SUMS).layers_[0].reset_after
    whole, cut = (small(truncate=k).fit(STEPS, SUMS) for k in (6, 2))
    assert weights(whole)[1].tolist() != weights(cut)[1].tolist()
    assert_same_bits(whole, small().fit(STEPS, SUMS))


def test_summary_and_weights():
    net = small(cell="lstm", bidirectional=True, embedding=4).fit(TOKENS, SUMS)
    summary = net.summary()
    sizes = {
        name: {part: value.shape for part, value in layer.items()}
        for name, layer in net.weights_.items()
    }
    assert sizes["layers.0"] == {"kernel": (5, 4)}
    assert len(sizes) == 4  # the embedding, both ways, and the output layer
    assert summary.parameters == sum(np.prod(s) for layer in sizes.values() for s in layer.values())
    assert summary.rows[-1].output_shape == (1,)
    with pytest.raises(NotFittedError):
        small().summary()


# --- other numbers of steps


def test_sequences_longer_and_shorter_than_those_fitted():
    longer = RNG.normal(size=(4, 30, 3))
    net = small().fit(RAGGED, SUMS)
    assert_same_bits(net.predict(longer), net.predict(list(longer)))
    assert_same_bits(net.predict(longer[:, :2]), net.predict([x[:2] for x in longer]))
    tokens = RNG.integers(5, size=(4, 30))
    net = small(embedding="one-hot").fit(TOKENS, SUMS)
    assert_same_bits(net.predict(tokens), net.predict(list(tokens)))
    net = small().fit(ROWS, SUMS)
    assert net.predict(list(longer[:, :, 0])).shape == net.predict(longer[:, :, :1]).shape == (4,)
    with pytest.raises(ValueError, match="X has 30 features, but RNNRegressor is expecting 6"):
        net.predict(longer[:, :, 0])
    net.fit(list(ROWS), SUMS)
    assert net.predict(longer[:, :, 0]).shape == (4,)


# --- errors

BAD_X = {
    "one dimension": (np.ones(6), None, "Expected 2D array, got 1D array"),
    "four dimensions": (np.ones((6, 2, 2, 2)), None, "X has 4 dimensions"),
    "no steps": (np.ones((6, 0, 2)), None, "its sequences are empty"),
    "no rows": ([], None, "Expected 2D array|0 sample"),
    "an empty sequence": ([[1.0], [], [1.0, 2.0]], None, r"X\[1\] is empty"),
    "no features": ([np.ones((2, 0))] * 6, None, r"X\[0\] is empty"),
    "mixed dimensions": ([np.ones(2), np.ones((2, 1))], None, r"X\[1\] has 2 dimensions"),
    "mixed features": ([np.ones((2, 3)), np.ones((1, 2))], None, r"X\[1\] has 2 features per step"),
    "too many dimensions": ([np.ones((2, 3, 1))] * 6, None, r"X\[0\] has 3 dimensions"),
    "NaN in a list": ([np.ones(2), np.array([np.nan])], None, "contains NaN"),
    "NaN in an array": (np.full((6, 2, 2), np.nan), None, "contains NaN"),
    "strings": ([["a"], ["b", "c"]], None, "X has texts"),
    "complex": ([np.ones(2) + 1j] * 6, None, "Complex data not supported"),
    "tokens in three dimensions": (np.ones((6, 2, 1), int), 2, "X has 3 dimensions.*tokens"),
    "tokens with features": ([np.ones((2, 1), int)] * 6, 2, r"X\[0\] has 2 dimensions"),
    "half a token": ([[0, 1], [0.5]], 2, r"X has the token 0\.5; expected integers"),
    "a negative token": (np.array([[0, -3]] * 6), 2, "X has the token -3"),
    "a large token": (np.array([[0, 9]] * 6), np.eye(4), "token 9; the largest .* is 3"),
    "a token of words": (np.array([["a", "b"]] * 6), 2, "[Cc]onvert"),
    "vectors with NaN": (np.zeros((6, 2), int), np.full((2, 2), np.nan), "NaN"),
}


@pytest.mark.parametrize("case", BAD_X)
def test_bad_X_is_named_and_nothing_changes(case):
    X, embedding, message = BAD_X[case]
    net = small(embedding=embedding)
    with pytest.raises(ValueError, match=message):
        net.fit(X, np.arange(len(X), dtype=float))
    assert not [name for name in vars(net) if name.endswith("_") or name.startswith("_")]


def test_padding_is_checked():
    X = np.ones((3, 4, 2))
    X[1] = np.nan
    with pytest.raises(ValueError, match=r"X\[1\] consists only of mask_value=nan"):
        small(mask_value=np.nan).fit(X, [1.0, 2.0, 3.0])
    X[1] = 1
    X[2, 1] = X[0, 2, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        small(mask_value=np.nan).fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="[Ss]parse"):
        small(mask_value=0).fit(sp.csr_matrix(ROWS), SUMS)


BAD_Y = {
    "none": (None, "requires y to be passed"),
    "too few": (STEP_SUMS[:-1], "inconsistent numbers of samples"),
    "one a sequence": (SUMS, "y has one target per sequence"),
    "too short": ([*STEP_SUMS[:-1], STEP_SUMS[-1][:-1]], r"y\[59\] has \d steps, but X\[59\]"),
    "mixed": ([*STEP_SUMS[:-1], STEP_SUMS[-1][:, None]], r"y\[59\] has 2 dimensions"),
    "NaN": ([*STEP_SUMS[:-1], STEP_SUMS[-1] * np.nan], "contains NaN"),
}


@pytest.mark.parametrize("case", BAD_Y)
def test_bad_targets_of_steps(case):
    y, message = BAD_Y[case]
    with pytest.raises(ValueError, match=message):
        small(return_sequences=True).fit(RAGGED, y)


def test_targets_that_do_not_go_with_the_parameters():
    with pytest.raises(ValueError, match="y has 5 steps, but X has 6"):
        small(return_sequences=True).fit(STEPS, STEPS[:, :5, 0])
    with pytest.raises(ValueError, match="return_sequences=True"):
        small().fit(RAGGED, STEP_SUMS)
    net = small(RNNClassifier, return_sequences=True, class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight"):
        net.fit(RAGGED, STEP_KINDS)


@pytest.mark.parametrize(
    "params, error",
    [
        ({"hidden_size": ()}, ValueError),
        ({"hidden_size": (3, 0)}, ValueError),
        ({"hidden_size": (3, 2.5)}, TypeError),
        ({"cell": "elman"}, ValueError),
        ({"embedding": "vectors"}, ValueError),
        ({"embedding": 0}, ValueError),
        ({"dropout": 1.0}, ValueError),
        ({"truncate": 0}, ValueError),
        ({"hidden_size": (3, 3), "dropout": 0.5, "solver": "lbfgs"}, ValueError),
    ],
    ids=str,
)
def test_bad_parameters(params, error):
    with pytest.raises(error):
        small(**params).fit(ROWS, SUMS)


def test_a_fit_that_fails_leaves_the_last_one():
    net = small().fit(RAGGED, SUMS)
    before, expected = dict(vars(net)), net.predict(RAGGED)
    with pytest.raises(ValueError, match="contains NaN"):
        net.fit(ROWS, np.full(60, np.nan))
    with pytest.raises(ValueError, match="2 features per step, but RNNRegressor was fitted to 3"):
        net.partial_fit(STEPS[:, :, :2], SUMS)
    with pytest.raises(ValueError, match="1 features per step, but RNNRegressor was fitted to 3"):
        net.predict(ROWS)
    assert vars(net) == before
    assert_same_bits(net.predict(RAGGED), expected)
    with pytest.raises(ValueError, match="layers have changed"):
        net.set_params(warm_start=True, hidden_size=7).fit(RAGGED, SUMS)


def test_tokens_never_fitted():
    net = small(embedding=4).fit(TOKENS, SUMS)
    for X in ([[0, 7]], np.array([[7]]), [[1], [2, 7.0]]):
        with pytest.raises(ValueError, match=r"token 7(\.0)?; the largest .* is 4"):
            net.predict(X)
    with pytest.raises(ValueError, match="token 7"):
        net.partial_fit([[7]], [0.0])


# --- with scikit-learn


def test_searches_and_pipelines_over_lists():
    scores = cross_val_score(small(max_iter=10), RAGGED, SUMS, cv=3)
    assert np.isfinite(scores).all() and len(scores) == 3
    scores = cross_val_score(small(RNNClassifier), RAGGED, KINDS, cv=3)
    assert np.isfinite(scores).all()
    net = small(RNNClassifier, return_sequences=True)
    search = GridSearchCV(net, {"cell": ["rnn", "gru"], "hidden_size": [6, (6, 6)]}, cv=KFold(2))
    search.fit(RAGGED, STEP_KINDS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.score(RAGGED, STEP_KINDS) == search.score(RAGGED, STEP_KINDS)
    pipe = make_pipeline(StandardScaler(), small(RNNClassifier)).fit(ROWS, KINDS)
    assert pipe.score(ROWS, KINDS) > 0


@pytest.mark.parametrize(
    "params",
    [{"embedding": np.eye(5)}, {"embedding": Embedding(5, 4)}, {"embedding": 4, "cell": "lstm"}],
    ids=["vectors", "layer", "size"],
)
def test_clones_and_pickles(params):
    net = small(return_sequences=True, **params).fit(TOKENS, STEP_SUMS)
    assert_same_bits(clone(net).fit(TOKENS, STEP_SUMS), net)
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    for other in (pickle.loads(pickle.dumps(net)), joblib.load(file)):
        assert_same_bits(other.predict(TOKENS), net.predict(TOKENS))
        assert_same_bits(other.predict(TOKENS[:1] * 2), net.predict(TOKENS[:1] * 2))
        other.partial_fit(TOKENS, STEP_SUMS)
        assert other.t_ == net.t_ + 60


def test_frames_have_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    net = small().fit(frame, SUMS)
    assert net.feature_names_in_.tolist() == list("abcdef")
    with pytest.raises(ValueError, match="feature names"):
        net.predict(frame[list("fedcba")])
    net.fit(RAGGED, SUMS)
    assert not hasattr(net, "feature_names_in_")


def test_tags_say_what_X_may_be():
    tags = get_tags(small()).input_tags
    assert tags.three_d_array and tags.two_d_array and tags.sparse
    assert not get_tags(small(embedding=4)).input_tags.sparse
    # it is allowed behind the end only
    assert not get_tags(small(mask_value=np.nan)).input_tags.allow_nan


def test_predictions_by_step_of_sequences_of_any_lengths_can_be_cross_validated():
    random = np.random.RandomState(0)
    X = [random.normal(size=n) for n in random.randint(1, 9, size=20)]
    net = RNNRegressor(hidden_size=3, max_iter=2, return_sequences=True, random_state=0)
    predictions = cross_val_predict(net, X, [x.cumsum() for x in X], cv=2)
    assert [len(p) for p in predictions] == [len(x) for x in X]


def test_padded_columns_may_be_more_or_fewer():
    X = np.where(np.arange(5) < 3, np.random.RandomState(0).normal(size=(12, 5)), np.nan)
    net = RNNRegressor(hidden_size=3, max_iter=2, mask_value=np.nan, random_state=0)
    net.fit(X, np.nansum(X, axis=1))
    expected = net.predict(X)
    assert_same_bits(net.predict(X[:, :3]), expected)
    assert_same_bits(net.predict(np.column_stack([X, X[:, 3:]])), expected)


@pytest.mark.parametrize("before, after", [(None, "one-hot"), (3, None)])
def test_a_changed_embedding_is_an_error(before, after):
    X, y = np.arange(40).reshape(8, 5) % 7, np.arange(8.0)
    net = RNNRegressor(hidden_size=3, max_iter=2, embedding=before, random_state=0).fit(X, y)
    expected = net.predict(X)
    with pytest.raises(ValueError, match="embedding is .*, but the network was fitted to"):
        net.set_params(embedding=after).partial_fit(X, y)
    assert_same_bits(net.set_params(embedding=before).predict(X), expected)


@pytest.mark.parametrize("largest", [2**24, 2.0**100, np.uint64(2**63)])
def test_tokens_beyond_any_table_are_an_error(largest):
    X = np.array([[1, 2], [3, 4]], dtype=type(largest))
    X[1, 1] = largest
    with pytest.raises(ValueError, match="X has the token .*; expected numbers below 16777216"):
        RNNClassifier(hidden_size=3, embedding="one-hot").fit(X, [0, 1])


def test_a_loss_that_is_no_number_is_a_warning():
    X = np.random.RandomState(0).normal(size=(12, 5)).astype(np.float32)
    net = RNNRegressor(hidden_size=3, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="diverged.* ended at nan.*learning_rate_init"):
        net.fit(X, X.sum(axis=1) * np.float32(1e30))
    assert np.isfinite(net.predict(X)).all()


# --- forecasts


def by_hand(net, X, n):
    """Return forecasts by predictions, each of which becomes a step of the sequence."""
    found = []
    for x in X:
        for _ in range(n):
            y = net.predict([x])[0]
            y = y[-1] if net.return_sequences else y
            x = np.concatenate([x, np.reshape(y, (1, *x.shape[1:]))])
        found.append(x[-n:])
    return np.array(found)


@each_cell
@each_form
def test_forecasts_are_predictions_that_are_read_again(cell, by_step):
    more = [RNG.normal(size=3) for _ in RAGGED]
    y = [np.vstack([x[1:], m]) for x, m in zip(RAGGED, more)] if by_step else np.array(more)
    net = small(**cell, return_sequences=by_step).fit(RAGGED, y)
    expected = by_hand(net, RAGGED[:7], 4)
    assert expected.shape == (7, 4, 3)
    assert_same_bits(net.forecast(RAGGED[:7], 4), expected)
    assert_same_bits(net.forecast(RAGGED[2:3], 1), expected[2:3, :1])
    net.set_params(mask_value=-7.0)
    assert_same_bits(net.forecast(padded(RAGGED[:7], -7.0), 4), expected)


@each_form
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forecasts_come_as_sequences_do(by_step, dtype):
    X, y = ROWS[:, :-1], ROWS[:, 1:] if by_step else ROWS[:, -1]
    net = small(return_sequences=by_step, dtype=dtype).fit(X, y)
    flat = net.forecast(X, 3)
    assert flat.shape == (60, 3) and flat.dtype == dtype
    assert_same_bits(net.forecast(sp.csr_array(X), 3), flat)
    assert_same_bits(net.forecast(X[..., None], 3), flat[..., None])
    assert_same_bits(net.forecast(list(X), 3), flat)
    assert_same_bits(net.forecast([x[:, None] for x in X], 3), flat[..., None])
    assert_same_bits(flat, by_hand(net, list(X), 3).astype(dtype))


def test_more_sequences_than_are_forecast_at_once(monkeypatch):
    monkeypatch.setattr("sknn.sequences.forecasting.CHUNK", 25)
    for both in (False, True):
        net = small(return_sequences=True, bidirectional=both).fit(STEPS, STEPS)
        whole = net.forecast(STEPS, 2)
        assert_same_bits(np.vstack([net.forecast(STEPS[:9], 2), net.forecast(STEPS[9:], 2)]), whole)


def test_what_cannot_be_forecast():
    net = small().fit(STEPS, STEPS[:, -1, :2])
    with pytest.raises(ValueError, match="reads steps of 3 numbers and predicts 2; forecast needs"):
        net.forecast(STEPS, 3)
    tokens = small(embedding=2).fit(TOKENS, SUMS)
    with pytest.raises(ValueError, match="reads steps of tokens and predicts 1"):
        tokens.forecast(TOKENS, 3)
    net = small().fit(STEPS, STEPS[:, -1])
    for n in (0, -1, 1.5, "3", None, 2**70):
        with pytest.raises(ValueError, match="n is .*; expected an int from 1"):
            net.forecast(STEPS, n)
    with pytest.raises(ValueError, match="2 features per step"):
        net.forecast(STEPS[..., :2], 3)
    with pytest.raises(NotFittedError):
        small().forecast(STEPS, 3)
    assert not hasattr(RNNClassifier, "forecast")
