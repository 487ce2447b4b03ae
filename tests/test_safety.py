"""Nothing crashes: arrays that the engine gets by address are checked, whoever may change them."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from reference import predict
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sknn import (
    AutoencoderTransformer,
    CharMarkovChain,
    CharRNN,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
    MLPNetClassifier,
    MLPNetRegressor,
    PerceptronClassifier,
    RBFNetClassifier,
    RBFNetRegressor,
    RNNClassifier,
    RNNRegressor,
    SequenceAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import program
from sknn.engine.network import Network
from sknn.estimator.checks import sound
from sknn.layers import (
    LSTM,
    Activation,
    ActivityRegularization,
    Concatenate,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    RepeatVector,
    Reshape,
    Sequential,
    UpSampling2D,
)
from sknn.tape.losses import Loss
from sknn.tape.sources import ClassNumbers, Source

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

RANDOM = np.random.RandomState(0)
X, Y = RANDOM.rand(40, 6), np.arange(40) % 3
IMAGES = RANDOM.rand(40, 64).astype(np.float32)


def mlp(**params):
    small = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    return MLPNetClassifier(**small | params)


# --- networks whose outputs do not match the targets


@pytest.mark.parametrize("last", [Reshape((8, 8)), LSTM(4, return_sequences=True)])
def test_a_network_that_gives_a_sequence_is_no_classifier(last):
    layers = [Reshape((8, 8))] + [last] * isinstance(last, LSTM)
    with pytest.raises(ValueError, match=r"layers give 8 x 3 per sample; expected 3 units"):
        ConvNetClassifier(layers, (8, 8)).fit(IMAGES, Y)


def test_recurrent_layers_of_different_lengths_in_one_network():
    encoder = [Reshape((8, 8)), LSTM(4)]
    decoder = [RepeatVector(64), LSTM(1, return_sequences=True), Flatten()]
    net = ConvAutoencoderTransformer(encoder, decoder, (8, 8), max_iter=3, random_state=0)
    net.fit(IMAGES)
    again = net.inverse_transform(net.transform(IMAGES)).reshape(IMAGES.shape)
    np.testing.assert_array_equal(net.reconstruct(IMAGES), again)
    assert len(np.unique(again[0])) > 8  # every step is its own


def test_penalties_of_different_lengths_in_one_network():
    """A penalty on the inputs is the same for any number of steps."""

    def loss(*shapes):
        branches = [
            [Reshape(shape), ActivityRegularization(l1=0.5), LSTM(2, name=f"of_{i}")]
            for i, shape in enumerate(shapes)
        ]
        before = [Flatten(), Dense(64, kernel_initializer="zeros", trainable=True, name="first")]
        net = ConvNetRegressor(
            [*before, Activation("exp"), Concatenate(branches)], (8, 8), solver="sgd", max_iter=1,
            batch_size=40, random_state=0, learning_rate_init=1e-9,
        )  # fmt: skip
        return net.fit(IMAGES, np.zeros(40)).loss_

    # exp(0) is 1 at each of 64 places, with a weight of a half, in each of two branches
    assert loss((8, 8), (64, 1)) == pytest.approx(64, abs=1)
    assert loss((64, 1), (8, 8)) == pytest.approx(64, abs=1)
    assert loss((4, 16), (8, 8)) == pytest.approx(64, abs=1)


@pytest.mark.parametrize("before", [Dense(4), Activation("relu"), ActivityRegularization(0.1)])
def test_tokens_come_first(before):
    layers = [Flatten(), before, Embedding(5, 3), LSTM(3)]
    if isinstance(before, ActivityRegularization):
        layers = [Flatten(), Sequential([Dense(4)]), Sequential([Embedding(5, 3)]), LSTM(3)]
    with pytest.raises(ValueError, match=r"Embedding.* reads token ids.* must come first"):
        ConvNetClassifier(layers, (8, 8)).fit(IMAGES, Y)


def test_tokens_are_those_of_the_embedding():
    net = ConvNetClassifier([Flatten(), Embedding(5, 3), LSTM(3)], (1, 6), max_iter=1)
    tokens = RANDOM.randint(0, 5, (40, 6))
    net.fit(tokens, Y)
    for strange in (5, -1, 0.5, 10**7):
        wrong = tokens.astype(float)
        wrong[3, 2] = strange
        with pytest.raises(ValueError, match="X has the token"):
            net.predict(wrong)


# --- sizes


@pytest.mark.parametrize("factor", [2**32, 2**30, 2**70])
def test_sizes_that_do_not_fit_are_refused(factor):
    with pytest.raises(ValueError, match="expected an int from 1|expected at most"):
        ConvNetRegressor([UpSampling2D(factor), GlobalAveragePooling2D()], (8, 8)).fit(IMAGES, Y)


@pytest.mark.parametrize("make", [
    lambda: Conv2D(3, 3, strides=2**70), lambda: Dense(2**70), lambda: Reshape((2**70,)),
    lambda: LSTM(3, truncate=2**70), lambda: RepeatVector(2**40),
])  # fmt: skip
def test_counts_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match="2147483647"):
        make()


def test_layers_nested_without_end_are_refused():
    layer = Dense(3)
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        for _ in range(330):
            layer = Sequential([layer])


@pytest.mark.parametrize("estimator", [CharRNN(n_layers=2**40), CharMarkovChain(2**62)])
def test_numbers_of_loops_are_bounded(estimator):
    with pytest.raises(ValueError, match="must be an int in the range"):
        estimator.fit("abc")


@pytest.mark.parametrize("make", [
    lambda n: RBFNetClassifier(n(100), random_state=0),
    lambda n: RBFNetRegressor(n(100), random_state=0),
    lambda n: VariationalAutoencoderTransformer(n(100), max_iter=1, random_state=0),
    lambda n: AutoencoderTransformer(n(100), max_iter=n(1), batch_size=n(100), random_state=0),
    lambda n: CharMarkovChain(n(100)),
    lambda n: CharRNN(hidden_size=n(100), seq_len=n(100), batch_size=n(100), max_iter=n(1),
                      random_state=n(0)),
])  # fmt: skip
def test_small_numpy_integers_do_not_overflow(make):
    small, plain = make(np.int8), make(int)
    data = (["ab" * 300],) if hasattr(plain, "sample") and hasattr(plain, "perplexity") else (
        RANDOM.rand(300, 3), np.arange(300) % 2,
    )  # fmt: skip
    given = small.get_params()
    small.fit(*data), plain.fit(*data)
    method = "predict_proba" if hasattr(plain, "predict_proba") else "transform"
    method = "predict" if isinstance(plain, RBFNetRegressor) else method
    outputs = (getattr(net, method)(data[0]) for net in (small, plain))
    np.testing.assert_array_equal(*outputs)
    assert all(small.get_params()[name] is value for name, value in given.items())


def test_an_exponent_without_bound_makes_the_rate_zero():
    net = mlp(solver="sgd", learning_rate="invscaling", power_t=1e5, max_iter=3)
    assert np.isfinite(net.fit(X, Y).loss_curve_).all()


@pytest.mark.parametrize("lengths", [[3, 2**63 + 5], [3, 2**40], [0, 3]])
def test_lengths_are_within_reach(lengths):
    net = SequenceAutoencoderTransformer(4, max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="lengths has"):
        net.inverse_transform(np.zeros((2, 4)), lengths=np.array(lengths, np.uint64))


@pytest.mark.parametrize("empty", [np.empty(0), [], np.empty((0, 3)), [np.empty(0)]])
@pytest.mark.parametrize("make", [RNNClassifier, RNNRegressor, SequenceAutoencoderTransformer])
def test_nothing_is_no_data(make, empty):
    with pytest.raises(ValueError):
        make().fit(empty, np.empty(len(empty)))


# --- fitted attributes that users have changed


@pytest.mark.parametrize("name, value, match", [
    ("coefs_", np.zeros((30_000_000, 1)), r"coefs_\[0\] .*expected 6 rows"),
    ("coefs_", np.zeros((3, 5)), r"coefs_\[0\] .*expected 6 rows"),
    ("coefs_", np.zeros((6, 7)), r"intercepts_\[0\] .*expected 7 numbers"),
    ("coefs_", np.zeros(6), r"coefs_\[0\]"),
    ("coefs_", np.full((6, 5), "a"), r"coefs_\[0\] has dtype <U1"),
    ("intercepts_", np.zeros(1), r"intercepts_\[0\] .*expected 5 numbers"),
])  # fmt: skip
def test_overwritten_weights_of_other_shapes_are_refused(name, value, match):
    net = mlp().fit(X, Y)
    before = net.predict_proba(X)
    good = getattr(net, name)[0]
    getattr(net, name)[0] = value
    for call in (net.predict, net.predict_proba):
        with pytest.raises(ValueError, match=match):
            call(X)
    getattr(net, name)[0] = good
    np.testing.assert_array_equal(net.predict_proba(X), before)


@pytest.mark.parametrize("name, value", [
    ("n_outputs_", 5), ("classes_", np.arange(2)), ("n_features_in_", 5), ("coefs_", []),
])  # fmt: skip
def test_overwritten_attributes_are_refused(name, value):
    net = mlp().fit(X, Y)
    setattr(net, name, value)
    with pytest.raises(ValueError):
        net.predict(X)


def test_overwritten_batch_statistics_and_coefficients_are_refused():
    net = mlp(batch_norm=True).fit(X, Y)
    net.batch_norm_[0]["mean"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"batch_norm_\[0\]\['mean'\]"):
        net.predict(X)
    neuron = PerceptronClassifier(max_iter=3).fit(X, Y)
    neuron.coef_ = neuron.coef_[:, :2]
    with pytest.raises(ValueError, match="coef_.T"):
        neuron.predict(X)


@pytest.mark.parametrize("params", [{"dtype": "float16"}, {"n_jobs": 0}, {"n_jobs": "two"}])
def test_parameters_that_are_set_before_predicting_are_checked(params):
    net = mlp(hidden_layer_sizes=(400,)).fit(X, Y)
    with pytest.raises(ValueError, match=next(iter(params))):
        net.set_params(**params).predict(np.tile(X, (500, 1)))


@pytest.mark.parametrize("make", [
    lambda: PerceptronClassifier(dtype="float32").fit(X, Y).decision_function,
    lambda: MLPNetRegressor(hidden_layer_sizes=(5,), max_iter=2, dtype="float32").fit(X, Y).predict,
    lambda: ConvNetTransformer(
        ConvNetClassifier([Conv2D(2, (1, 3)), Flatten()], max_iter=1, dtype="float32").fit(X, Y)
    ).fit(X).transform,
    lambda: AutoencoderTransformer(2, activation="identity", max_iter=1, dtype="float32").fit(
        X).transform,
])  # fmt: skip
def test_infinite_outputs_are_an_error(make):
    with pytest.raises(ValueError, match="outputs, or their errors, are not finite"):
        make()(np.full_like(X, 1e39))


# --- sparse matrices


def corrupted(fmt, how):
    """Return a sparse matrix that would lead SciPy and the engine outside its arrays."""
    matrix = sp.random_array((40, 6), density=0.4, format="csr", rng=np.random.default_rng(0))
    matrix = matrix.asformat(fmt)
    if fmt == "coo":
        matrix.coords[1][3] = {"beyond": 40, "far": 10**7, "negative": -3}.get(how, 6)
        return matrix
    if how in ("beyond", "far", "negative"):
        matrix.indices[3] = {"beyond": 40, "far": 10**7, "negative": -3}[how]
    elif how == "decreasing":
        matrix.indptr[2] = matrix.indptr[-1] + 5
    elif how == "long":
        matrix.indptr[-1] += 1000
    elif how == "hidden":  # nothing is stored, according to the last one
        matrix.indptr[-1] = 0
        matrix.indptr[1] = 10**6
    return matrix


OF_COMPRESSED = "beyond", "far", "negative", "decreasing", "long", "hidden"
DAMAGES = [(fmt, how) for fmt in ("csr", "csc", "bsr") for how in OF_COMPRESSED]
DAMAGES += [("coo", how) for how in ("beyond", "far", "negative")]


@pytest.mark.parametrize("fmt, how", DAMAGES)
@pytest.mark.parametrize("make", [
    mlp, lambda: PerceptronClassifier(max_iter=3), lambda: RBFNetClassifier(4, random_state=0),
    lambda: AutoencoderTransformer(2, max_iter=1), lambda: RNNClassifier(hidden_size=2, max_iter=1),
    lambda: ConvNetClassifier([Dense(3)], (1, 6), max_iter=1),
])  # fmt: skip
def test_a_sparse_matrix_that_is_none_is_refused(make, fmt, how):
    net, wrong = make(), corrupted(fmt, how)
    with pytest.raises(ValueError, match="X is not a valid sparse matrix"):
        net.fit(wrong, Y)
    net.fit(X, Y)
    call = net.transform if hasattr(net, "transform") else net.predict
    with pytest.raises(ValueError, match="X is not a valid sparse matrix"):
        call(wrong)


def test_a_sparse_matrix_to_validate_with_is_looked_at_too():
    with pytest.raises(ValueError, match="not a valid sparse matrix"):
        mlp().fit(X, Y, X_val=corrupted("csr", "far"), y_val=Y)
    with pytest.raises(ValueError, match="X_clean is not a valid sparse matrix"):
        AutoencoderTransformer(2, max_iter=1).fit(X, X_clean=corrupted("csc", "beyond"))


@pytest.mark.parametrize("fmt", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
def test_a_sparse_matrix_that_is_one_is_not_copied(fmt):
    matrix = sp.random_array((40, 6), density=0.4, rng=np.random.default_rng(0)).asformat(fmt)
    checked = sound(matrix)
    np.testing.assert_array_equal(checked.toarray(), matrix.toarray())
    if fmt in ("csr", "csc", "bsr"):
        assert checked.indices is matrix.indices and checked.data is matrix.data
    assert sound(X) is X


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_a_sparse_matrix_may_change_while_it_is_read(index):
    """Changes by another thread cannot be checked: the kernel itself stays within the arrays."""
    matrix = sp.csr_array(RANDOM.rand(40, 6))
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    source = Source(matrix)
    network = Network((Dense(3), Activation("identity")), 6, Loss("squared_error", "identity"))
    values = [np.ones((6, 3)), np.zeros(3)]
    expected = predict(network, values, np.dtype(float), source, 1)
    np.testing.assert_allclose(expected, X[:, :0].sum() + matrix.toarray() @ values[0])
    for wrong in (10**9, -(10**9)):
        matrix.indices[5] = wrong
        assert np.isfinite(predict(network, values, np.dtype(float), source, 1)).all()
        matrix.indices[5] = 0
        for i in (0, 7, 40):
            before, matrix.indptr[i] = matrix.indptr[i], wrong
            outputs = predict(network, values, np.dtype(float), source, 1)
            assert outputs.shape == expected.shape
            matrix.indptr[i] = before


# --- the wall: each array that a session is bound to


def session_arrays(purpose="train"):
    """Return a session for a small network, and arrays that fit it."""
    from sknn.engine.optimizers import Solver

    network = Network((Dense(3), Activation("softmax")), 6, Loss("log_loss", "softmax"))
    source, targets = Source(X), ClassNumbers(Y)
    solver = Solver("adam", 0.9, 0.999) if purpose == "train" else None
    made = program(network, "float64", 32, purpose, source.key, targets.key, solver)
    packed = DEVICES["cpu"].upload(made.layout, [np.ones((6, 3)), np.zeros(3)])
    arrays = {
        "parameters": packed, "source": source, "targets": targets, "weights": np.ones(40),
        "rows": np.arange(40), "states": np.zeros((2, len(packed))),
    }  # fmt: skip
    if purpose == "evaluate":
        arrays["out"] = np.zeros((40, 3))
        del arrays["states"]
    return made, arrays


def bind_and_run(made, arrays, batch=20, total=40, rates=None, n=20):
    with Session(made, n) as session:
        session.bind(**arrays)
        columns = 5 if "states" in arrays else 2
        return session.run(total, batch, np.ones((2, columns)) if rates is None else rates)


READ_ONLY = np.zeros((40, 3))
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize("name, value", [
    ("parameters", np.zeros(8)), ("parameters", np.zeros(4096, np.float32)),
    ("parameters", np.zeros(8192)[::2]),
    ("source", Source(np.zeros((40, 5)))), ("source", Source(np.zeros((40, 6), np.float32))),
    ("source", Source(sp.csr_array(X))), ("source", Source(X[:30])),
    ("targets", None), ("targets", ClassNumbers(np.full(40, 3))), ("targets", Source(X)),
    ("targets", ClassNumbers(Y[:30])),
    ("weights", np.ones(39)), ("weights", np.ones(40, np.float32)), ("weights", np.ones((40, 1))),
    ("rows", np.arange(40) - 1), ("rows", np.arange(40) + 1), ("rows", np.full(40, 10**12)),
    ("rows", np.arange(40, dtype=np.int32)), ("rows", np.arange(80)[::2]), ("rows", np.arange(39)),
    ("states", None), ("states", np.zeros((1, 4096))), ("states", np.zeros((2, 4))),
])  # fmt: skip
def test_the_wall_lets_nothing_through_that_training_does_not_expect(name, value):
    made, arrays = session_arrays()
    assert np.isfinite(bind_and_run(made, arrays))
    with pytest.raises(ValueError):
        bind_and_run(made, arrays | {name: value})


@pytest.mark.parametrize("name, value", [
    ("out", None), ("out", np.zeros((40, 2))), ("out", np.zeros((30, 3))),
    ("out", np.zeros((40, 3), np.float32)), ("out", READ_ONLY), ("out", np.zeros((40, 6))[:, ::2]),
])  # fmt: skip
def test_the_wall_lets_nothing_through_that_prediction_does_not_expect(name, value):
    made, arrays = session_arrays("evaluate")
    assert np.isfinite(bind_and_run(made, arrays))
    with pytest.raises(ValueError):
        bind_and_run(made, arrays | {name: value})


@pytest.mark.parametrize("run", [
    {"batch": 21}, {"batch": 0}, {"total": 41}, {"total": -1}, {"rates": np.ones((1, 5))},
    {"rates": np.ones((2, 4))}, {"rates": np.ones((2, 5), np.float32)}, {"rates": np.ones(10)},
])  # fmt: skip
def test_a_run_keeps_to_what_the_session_was_made_for(run):
    made, arrays = session_arrays()
    with pytest.raises(ValueError):
        bind_and_run(made, arrays, **run)


def test_a_binding_that_fails_binds_nothing():
    """Nor does it leave the addresses of some arrays under the names of others."""
    made, arrays = session_arrays("evaluate")
    other = arrays["parameters"] + 1
    with Session(made, 40) as session:
        session.bind(**arrays)
        session.run(40, 40, np.ones((1, 2)))
        expected = arrays["out"].copy()
        with pytest.raises(ValueError):
            session.bind(**arrays | {"parameters": other, "source": Source(X[:, :3])})
        with pytest.raises(ValueError, match="0 rows"):
            session.run(40, 40, np.ones((1, 2)))
        session.bind(**arrays)
        session.run(40, 40, np.ones((1, 2)))
    np.testing.assert_array_equal(arrays["out"], expected)
    for missing in ("parameters", "source"):
        with pytest.raises(ValueError, match="missing"):
            bind_and_run(made, arrays | {missing: None})


def test_weights_of_samples_may_lie_anywhere():
    unaligned = np.frombuffer(b"." + np.ones(40).tobytes(), np.float64, offset=1)
    radial, neuron = RBFNetClassifier(4, random_state=0), PerceptronClassifier(random_state=0)
    for make in (mlp, lambda: clone(neuron), lambda: clone(radial)):
        nets = [make().fit(X, Y, weights) for weights in (unaligned, np.ones(40))]
        np.testing.assert_array_equal(*(net.predict(X) for net in nets))


def test_tokens_of_a_sparse_matrix():
    """Data after the last row are ignored; duplicates are summed."""
    tokens = sp.csr_array(RANDOM.randint(0, 5, (40, 6)).astype(float))
    net = ConvNetClassifier([Flatten(), Embedding(5, 3), LSTM(3)], (1, 6), max_iter=1)
    expected = net.fit(tokens, Y).predict_proba(tokens)
    loose = tokens.copy()
    loose.data, loose.indices = np.append(loose.data, 99.0), np.append(loose.indices, 0)
    np.testing.assert_array_equal(net.predict_proba(loose), expected)
    twice = sp.csr_array((np.full(2, 3.0), np.zeros(2, int), np.repeat([0, 2], [1, 40])), (40, 6))
    with pytest.raises(ValueError, match="X has the token 6"):
        net.predict(twice)


def test_tokens_of_windows_are_looked_at_once():
    codes = np.arange(50) % 5
    windows = np.lib.stride_tricks.sliding_window_view(codes, 10)
    source = Source(windows, among=codes)
    source.check_tokens({(0, 10): range(5)})
    with pytest.raises(ValueError, match="X has the token 4"):
        source.check_tokens({(0, 10): range(4)})


@pytest.mark.parametrize("make", [sp.csr_array, sp.coo_array])
def test_a_sparse_vector_is_no_matrix(make):
    with pytest.raises(ValueError, match="Expected 2D|dimension"):
        mlp().fit(make(np.ones(6)), Y)


def test_class_numbers_are_not_negative():
    with pytest.raises(ValueError, match="class number -1"):
        ClassNumbers(np.array([0, 1, -1]))


# --- threads, callbacks, forks


def test_predictions_beside_refits_are_those_of_one_fit():
    """Of another width, other labels, another number of classes: one fit, or an error."""
    rng = np.random.RandomState(0)
    tasks = [
        (rng.rand(60, 3), np.array(["a", "b", "c"])[np.arange(60) % 3]),
        (rng.rand(60, 3), np.array(["p", "q", "r"])[np.arange(60) % 3]),
        (rng.rand(60, 9), np.arange(60) % 5),
    ]
    nets = [clone(mlp(max_iter=2)).fit(*task) for task in tasks]
    rows = [rng.rand(7, 3), rng.rand(7, 9)]
    allowed = [
        {tuple(net.predict(row)) for net in nets if net.n_features_in_ == row.shape[1]}
        for row in rows
    ]
    net, ended, strange = mlp(max_iter=2).fit(*tasks[0]), threading.Event(), []

    def work(row, expected):
        while not ended.is_set():
            try:
                found = tuple(net.predict(row))
            except (ValueError, NotFittedError):
                continue
            if found not in expected:
                strange.append(found)

    pairs = [*zip(rows, allowed)] * 2
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    try:
        for i in range(60):
            net.fit(*tasks[i % 3])
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not strange


class Predicting:
    """A callback that predicts with the estimator while it is being refitted."""

    def __init__(self, rows):
        self.rows, self.found = rows, []

    def setup(self, estimator, context):
        self._predict(estimator)

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self._predict(estimator)
        assert fitted_estimator is not estimator
        assert fitted_estimator.predict(np.zeros((2, 3))).shape == (2,)
        assert "_public" not in vars(fitted_estimator)

    def teardown(self, estimator, context):
        self._predict(estimator)

    def _predict(self, estimator):
        try:
            self.found.append(estimator.predict(self.rows))
        except ValueError:  # rows of another width: the fit is done
            self.found.append(None)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_that_predicts_during_a_refit_sees_the_last_fit(solver):
    net = mlp(solver=solver).fit(X, np.array(list("abc"))[Y])
    expected, watcher = net.predict(X), Predicting(X)
    net.set_callbacks(watcher).fit(X[:, :3], Y)
    *during, after, torn_down = watcher.found
    assert len(during) > 3
    for found in during:
        np.testing.assert_array_equal(found, expected)
    assert after is torn_down is None
    assert net.predict(X[:, :3]).dtype.kind == "i"


class Keeping:
    """A callback that records the state of the fit at the end of each epoch."""

    def __init__(self):
        self.kept = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch":
            self.kept.append(fitted_estimator)

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize("before, now", [
    ({"batch_norm": True}, {"batch_norm": False}), ({}, {"average": True}),
    ({"average": True}, {}), ({}, {"solver": "lbfgs"}), ({"early_stopping": True}, {}),
])  # fmt: skip
def test_what_callbacks_get_is_of_one_fit(before, now):
    """Nothing of the previous fit, and everything that a fit of as many epochs would leave."""
    watcher = Keeping()
    net = mlp(**before).fit(X, Y)
    net.set_params(batch_norm=False, average=False, early_stopping=False).set_params(**now)
    net.set_callbacks(watcher).fit(X, Y)
    assert len(watcher.kept) == 3
    for n, kept in enumerate(watcher.kept, 1):
        until = mlp(**now, max_iter=n).fit(X, Y)
        np.testing.assert_array_equal(kept.predict_proba(X), until.predict_proba(X))
        assert kept.loss_curve_ == until.loss_curve_ and kept.n_iter_ == n
        if now.get("solver") != "lbfgs":
            for some in (kept, until):
                some.set_callbacks().partial_fit(X, Y)
            np.testing.assert_array_equal(kept.predict_proba(X), until.predict_proba(X))


def test_averages_set_by_hand_are_gone_on_from():
    net = mlp(average=True).fit(X, Y)
    for w in (*net.coefs_, *net.intercepts_):
        w[...] = 0.0
    net.set_params(learning_rate_init=1e-12).partial_fit(X, Y)
    assert np.abs(net.coefs_[0]).max() < 1e-9


def test_a_perceptron_goes_on_in_another_precision():
    net = PerceptronClassifier(average=True, dtype="float32", max_iter=3).fit(X, Y)
    net.set_params(dtype="float64").partial_fit(X, Y)
    assert net.coef_.dtype == np.float64 and np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("make", [
    mlp, lambda: mlp(batch_norm=True, early_stopping=True), lambda: RBFNetClassifier(4),
    lambda: ConvNetClassifier([Dense(3)], (1, 6), max_iter=2), lambda: PerceptronClassifier(),
])  # fmt: skip
def test_a_fit_changes_the_estimator_at_once(make, monkeypatch):
    """No attribute of it is set before all are."""
    net, seen = make(), []
    monkeypatch.setattr(type(net), "__setattr__", lambda self, name, value: (
        seen.append(name) if self is net and name != "__dict__" else None,
        object.__setattr__(self, name, value),
    )[1])  # fmt: skip
    assert net.fit(X, Y) is net
    assert not seen


FORKING = """
import os, signal, sys, threading, time, warnings
import numpy as np
from sklearn.datasets import load_iris
from sknn import MLPNetClassifier, RBFNetClassifier

warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)
makers = {
    "lbfgs": lambda: MLPNetClassifier((10,), solver="lbfgs", max_iter=20, random_state=0),
    "rbf": lambda: RBFNetClassifier(10, random_state=0),
    "adam": lambda: MLPNetClassifier((10,), max_iter=20, random_state=0),
}
expected = {name: make().fit(X, y).predict(X) for name, make in makers.items()}
ended = False

def work(make):
    while not ended:
        make().fit(X, y)

threads = [threading.Thread(target=work, args=(make,)) for make in makers.values()]
for thread in threads:
    thread.start()
failed = 0
for _ in range(int(sys.argv[1])):
    time.sleep(0.02)
    child = os.fork()
    if not child:
        signal.alarm(30)
        same = all((makers[n]().fit(X, y).predict(X) == expected[n]).all() for n in makers)
        os._exit(0 if same else 1)
    failed += os.waitpid(child, 0)[1] != 0
ended = True
for thread in threads:
    thread.join()
print(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_beside_fits_can_fit():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, "12"], capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["0"]), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_lifts_the_limit_of_blas_in_the_child():
    script = """
    import os, threading
    from threadpoolctl import threadpool_info
    from sknn.engine.blas import one_thread

    def numbers():
        return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]

    import numpy, scipy.linalg
    before = numbers()
    inside, go = threading.Event(), threading.Event()
    def work():
        with one_thread():
            inside.set()
            go.wait()
    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    def child_of(work):
        child = os.fork()
        if not child:
            os._exit(0 if work() else 1)
        return os.waitpid(child, 0)[1]

    def lifted():
        with one_thread():
            inside = set(numbers()) == {1}
        return inside and numbers() == before

    status = child_of(lifted)
    go.set()
    thread.join()
    assert status == 0 and numbers() == before, (status, before, numbers())
    with one_thread():  # who forks in it keeps it, and can let it go
        context = one_thread()
        status = child_of(lambda: set(numbers()) == {1})
    assert status == 0 and numbers() == before, (status, before, numbers())
    assert lifted()
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_one_thread_of_blas_is_shared_by_those_who_want_it():
    from threadpoolctl import threadpool_info

    from sknn.engine.blas import one_thread

    def numbers():
        return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}

    before, seen = numbers(), []

    def work():
        with one_thread():
            seen.append(numbers())

    with one_thread():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen.append(numbers())
    assert seen == [{1}] * 5
    assert numbers() == before


def test_more_threads_than_cores_finish():
    """A barrier yields the core to the threads that it waits for."""
    params = {"hidden_layer_sizes": (64, 64), "batch_size": 400, "max_iter": 2}
    net = MLPNetRegressor(**params, random_state=0, n_jobs=1)
    data = RANDOM.rand(1600, 64), RANDOM.rand(1600)
    expected = net.fit(*data).predict(data[0])
    several = clone(net).set_params(n_jobs=16).fit(*data)
    np.testing.assert_array_equal(several.predict(data[0]), expected)


@pytest.mark.parametrize("row_seconds, again, expected", [
    (1e-9, True, "kept"), (1.0, True, "given away"), (1e-9, False, "given away"),
])  # fmt: skip
def test_short_work_of_training_keeps_the_lock_of_python(row_seconds, again, expected):
    """Otherwise each of its many calls would wait for other threads; a prediction lets them run."""
    made, arrays = session_arrays()
    calls = []

    def counted(name, function):
        return lambda *args: (calls.append(name), function(*args))

    with Session(made, 20) as session:
        session.bind(**arrays)
        session._run = counted("given away", session._run)
        session._run_and_hold = counted("kept", session._run_and_hold)
        made.row_seconds = row_seconds
        session.run(20, 20, np.ones((1, 5)), again=again)
    assert calls == [expected]
