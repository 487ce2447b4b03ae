"""Weights in files, for every estimator: round trips, from PyTorch, and as initial values."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from sknn import (
    AutoencoderTransformer,
    CharRNN,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetTransformer,
    MLPNet,
    MLPNetClassifier,
    MLPNetRegressor,
    RBFNetClassifier,
    RNNClassifier,
    RNNRegressor,
    Seq2SeqRNN,
    SequenceAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)
from sknn.layers import (
    Activation,
    Concatenate,
    Dense,
    Embedding,
    Flatten,
    GroupedDense,
    NumericEmbedding,
    ParametricActivation,
    Scale,
    Select,
)

pytest.importorskip("safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X, Y = load_digits(return_X_y=True)
X, Y = X[:60] / 16, Y[:60]
SEQUENCES = RNG.rand(12, 5, 3)
TOKENS = RNG.randint(4, size=(12, 5))
SHORT = {"max_iter": 2, "random_state": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


NETS = {
    "classes": (MLPNetClassifier((6, 5), dropout=0.2, batch_norm=True, **SHORT), X, Y),
    "two classes": (MLPNetClassifier((6,), **SHORT), X, Y > 4),
    "targets": (MLPNetRegressor(hidden_layer_sizes=(6,), **SHORT), X, X[:, :2]),
    "task": (MLPNet("regression", hidden_layer_sizes=(6,), **SHORT), X, Y.astype(float)),
    "RBF": (RBFNetClassifier(7, solver="adam", **SHORT), X, Y),
    "autoencoder": (AutoencoderTransformer((9, 4), noise=0.1, **SHORT), X, None),
    "tied": (AutoencoderTransformer((9, 4), tied_weights=True, **SHORT), X, None),
    "variational": (VariationalAutoencoderTransformer(**SHORT), X, None),
    "images": (ConvAutoencoderTransformer(image_shape=(8, 8), **SHORT), X, None),
    "columns": (
        ConvNetClassifier(
            [Flatten(), Concatenate([[Select(0, 4), NumericEmbedding()], [Select(2, 64), Scale()]]),
             NumericEmbedding("piecewise_linear", bins=3, units=2), GroupedDense(3, 4),
             ParametricActivation("tanh")],
            image_shape=(1, 64, 1), **SHORT,
        ), X, Y,
    ),
    "LSTM": (RNNClassifier("lstm", [4, 3], dropout=0.1, **SHORT), SEQUENCES, Y[:12]),
    "GRU": (RNNRegressor("gru", 5, bidirectional=True, **SHORT), SEQUENCES, Y[:12]),
    "steps": (
        RNNRegressor("gru", 5, reset_after=True, return_sequences=True, **SHORT),
        SEQUENCES, SEQUENCES[:, :, :2],
    ),
    "tokens": (RNNClassifier("rnn", 3, embedding=2, **SHORT), TOKENS, Y[:12]),
    "one-hot": (RNNClassifier("rnn", 3, embedding="one-hot", **SHORT), TOKENS, Y[:12]),
    "sequence autoencoder": (SequenceAutoencoderTransformer(4, **SHORT), SEQUENCES, None),
}  # fmt: skip


def answer(net, X):
    if hasattr(net, "predict_proba"):
        return net.predict_proba(X)
    return net.predict(X) if hasattr(net, "predict") else net.reconstruct(X)


@pytest.mark.parametrize("name", NETS)
def test_there_and_back(name, path):
    net, X, y = NETS[name]
    net = clone(net).fit(X, y) if y is not None else clone(net).fit(X)
    net.save_weights(path)
    classes = net.classes_ if hasattr(net, "classes_") else None
    # dropout changes no names of tensors
    fresh = clone(net).set_params(dtype=answer(net, X).dtype.name)
    if "dropout" in fresh.get_params():
        fresh.set_params(dropout=0.0)
    fresh.load_weights(path, classes)
    np.testing.assert_array_equal(answer(fresh, X), answer(net, X))
    assert not hasattr(fresh, "loss_curve_")
    more = (X,) if y is None else (X, y)
    assert fresh.set_params(warm_start=True, max_iter=1).fit(*more).n_iter_ == 1
    # the fitted one may load it, too, and continues from there
    again = clone(net)
    again.fit(*(some[:-3] for some in more))
    if not hasattr(net, "classes_") or np.array_equal(again.classes_, net.classes_):
        again.load_weights(path)
        np.testing.assert_array_equal(answer(again, X), answer(net, X))


def test_outputs_are_those_of_the_file(path):
    net = MLPNetClassifier((6,), **SHORT).fit(X, Y)
    net.save_weights(path)
    assert MLPNetClassifier((6,)).load_weights(path).classes_.tolist() == list(range(10))
    with pytest.raises(ValueError, match=r"'layers.0.weight' has the shape \(6, 64\); needs \(7"):
        MLPNetClassifier((7,)).load_weights(path)
    with pytest.raises(ValueError, match=r"'layers.2.weight' has the shape \(10, 6\); needs \(3"):
        MLPNetClassifier((6,)).load_weights(path, ["a", "b", "c"])
    with pytest.raises(ValueError, match="classes is"):
        MLPNetRegressor(hidden_layer_sizes=(6,)).load_weights(path, range(10))
    with pytest.raises(NotFittedError):
        MLPNetClassifier((6,)).save_weights(path)


def test_labels_are_those_of_the_outputs(path):
    """`classes_` is sorted, as everywhere; so the outputs are, too."""
    net = MLPNetClassifier((20,), solver="lbfgs", max_iter=100, random_state=0).fit(X, Y)
    net.save_weights(path)
    names = [*"jihgfedcba"]
    named = MLPNetClassifier((20,)).load_weights(path, names)
    assert named.classes_.tolist() == sorted(names)
    assert named.predict(X).tolist() == [names[i] for i in net.predict(X)]
    two = MLPNetClassifier((6,), **SHORT).fit(X, Y > 4)
    two.save_weights(path)
    named = MLPNetClassifier((6,)).load_weights(path, ["low", "high"])
    assert named.predict(X).tolist() == [["low", "high"][i] for i in two.predict(X).astype(int)]
    with pytest.raises(ValueError, match="each of them once"):
        MLPNetClassifier((6,)).load_weights(path, ["low", "low"])


def test_loading_forgets_what_fits_have_left(path):
    for name, (net, X, y) in NETS.items():
        data = (X,) if y is None else (X, y)
        fitted = clone(net).fit(*data)
        fitted.save_weights(path)
        fresh = clone(net).load_weights(path, getattr(fitted, "classes_", None))
        fitted.load_weights(path)
        left = set(vars(fitted)) - set(vars(fresh)) - {"noise_range_"}
        assert not left, (name, left)


def test_noise_is_that_of_the_data_after_loading(path):
    data = RNG.uniform(-50, 50, size=(40, 4))
    net = AutoencoderTransformer(3, noise=0.1, noise_kind="salt_and_pepper", **SHORT).fit(data)
    net.save_weights(path)
    loaded = clone(net).load_weights(path).partial_fit(data)
    assert loaded.noise_range_ == net.noise_range_


def test_models_of_text(path):
    texts = ["abcab", "bca", "cab"] * 5
    net = CharRNN("gru", 4, seq_len=4, batch_size=2, **SHORT).fit(texts)
    net.save_weights(path)
    other = clone(net).set_params(random_state=1).fit(texts)
    assert other.score(texts) != net.score(texts)
    assert other.load_weights(path).score(texts) == net.score(texts)
    begun = clone(net).set_params(initializer=path, learning_rate_init=1e-9, max_iter=1)
    np.testing.assert_allclose(begun.fit(texts).score(texts), net.score(texts), rtol=1e-5)
    with pytest.raises(NotFittedError):
        clone(net).load_weights(path)
    pairs = Seq2SeqRNN("gru", 4, **SHORT).fit(texts, texts)
    pairs.save_weights(path)
    other = clone(pairs).set_params(random_state=1).fit(texts, texts).load_weights(path)
    np.testing.assert_array_equal(
        other.score_samples(texts, texts), pairs.score_samples(texts, texts)
    )


# --- PyTorch


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_of_pytorch(cell, both, path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    torch.manual_seed(0)
    rnn = kind(3, 5, batch_first=True, bidirectional=both).double()
    head = torch.nn.Linear(10 if both else 5, 2).double()
    state = {f"layers.0.{k}": v for k, v in rnn.state_dict().items()}
    state |= {f"layers.1.{k}": v for k, v in head.state_dict().items()}
    save_file(state, path)
    net = RNNRegressor(
        cell, 5, reset_after=True, bidirectional=both, return_sequences=True, dtype="float64"
    )
    net.load_weights(path)
    with torch.no_grad():
        expected = head(rnn(torch.from_numpy(SEQUENCES))[0]).numpy()
    np.testing.assert_allclose(net.predict(SEQUENCES), expected, atol=1e-12)
    # and back: its two biases are one here, but for the GRU's last third
    net.save_weights(path)
    rnn.load_state_dict({k[9:]: v for k, v in load_file(path).items() if k[:9] == "layers.0."})
    with torch.no_grad():
        again = head(rnn(torch.from_numpy(SEQUENCES))[0]).numpy()
    np.testing.assert_allclose(again, expected, atol=1e-12)


def test_the_textbooks_gru_is_no_other(path):
    """PyTorch has none, so neither must be mistaken for the other."""
    before = RNNRegressor("gru", 5, **SHORT).fit(SEQUENCES, Y[:12])
    before.save_weights(path)
    with pytest.raises(ValueError, match="no tensor 'layers.0.bias_hh_l0'"):
        clone(before).set_params(reset_after=True).load_weights(path)
    after = clone(before).set_params(reset_after=True).fit(SEQUENCES, Y[:12])
    after.save_weights(path)
    with pytest.raises(ValueError, match="has a tensor 'layers.0.bias_hh_l0'"):
        clone(before).load_weights(path)


def test_embeddings_are_not_transposed(path):
    from safetensors.numpy import load_file

    net = RNNClassifier("rnn", 3, embedding=2, **SHORT).fit(TOKENS, Y[:12])
    net.save_weights(path)
    held = load_file(path)["layers.0.weight"]
    np.testing.assert_array_equal(held, net.weights_["layers.0"]["kernel"])
    assert held.shape == (4, 2)


@pytest.mark.parametrize("classes", [None, ["no", "yes"]])
def test_a_head_of_two_outputs(classes, path):
    """The softmax of two logits is the logistic function of their difference."""
    from safetensors.numpy import save_file

    w, b = RNG.normal(size=(2, 64)), RNG.normal(size=2)
    save_file({"layers.0.weight": w, "layers.0.bias": b}, path)
    exp = np.exp(X @ w.T + b)
    expected = exp / exp.sum(axis=1, keepdims=True)
    nets = [MLPNetClassifier(()), ConvNetClassifier([Dense(2)], (8, 8))]
    for net in nets:
        net.set_params(dtype="float64").load_weights(path, classes)
        np.testing.assert_allclose(net.predict_proba(X), expected, rtol=1e-10)
        assert net.classes_.tolist() == (classes or [0, 1])
    begun = MLPNetClassifier((), initializer=path, learning_rate_init=1e-12, max_iter=1)
    np.testing.assert_allclose(begun.fit(X, Y > 4).predict_proba(X), expected, rtol=1e-6)
    regressor = MLPNetRegressor(hidden_layer_sizes=()).load_weights(path)
    assert regressor.predict(X).shape == (60, 2)  # no classes, no difference


# --- as initial values


def test_an_initializer_is_kept_by_clones(path):
    net = MLPNetClassifier((20,), max_iter=100, solver="lbfgs", random_state=0).fit(X, Y)
    net.save_weights(path)
    still = MLPNetClassifier((20,), initializer=str(path), max_iter=1, learning_rate_init=1e-9)
    for some in (still, clone(still).set_params(initializer=path)):  # a str, or a path
        np.testing.assert_allclose(some.fit(X, Y).predict_proba(X), net.predict_proba(X), rtol=1e-5)
    assert cross_val_score(still, X, Y, cv=2).min() > 0.95
    assert "drawn" not in str(still.summary()) and str(still.summary()).count("read") == 2


def test_layers_that_do_not_fit_are_drawn(path):
    first = MLPNetClassifier((8, 6), **SHORT).fit(X, Y)
    first.save_weights(path)
    still = {"initializer": path, "learning_rate_init": 1e-9, "max_iter": 1, "random_state": 0}
    net = MLPNetClassifier((8, 6), **still).fit(X, Y % 3)
    np.testing.assert_allclose(net.coefs_[0], first.coefs_[0], atol=1e-6)
    np.testing.assert_allclose(net.coefs_[1], first.coefs_[1], atol=1e-6)
    table = net.summary().to_frame()
    assert table["first"].tolist() == ["read", "", "read", "", "drawn"]
    assert "first values" in str(net.summary()) and "read" in net.summary()._repr_html_()
    assert "first" not in first.summary().to_frame()
    # the drawn ones are those without a file
    drawn = MLPNetClassifier((8, 6), **{**still, "initializer": "auto"}).fit(X, Y % 3)
    np.testing.assert_allclose(net.coefs_[2], drawn.coefs_[2], atol=1e-6)
    with pytest.raises(ValueError, match=r"holds nothing for this network: it .*; the .*\(5, 64\)"):
        MLPNetClassifier((5,), **still).fit(X, Y)
    with pytest.raises(FileNotFoundError):
        MLPNetClassifier((5,), initializer="missing.safetensors").fit(X, Y)
    with pytest.raises(ValueError, match="'initializer' parameter"):
        MLPNetClassifier((5,), initializer="missing.pt").fit(X, Y)


def test_a_layer_with_more_tensors_is_another(path):
    """A GRU with a second bias, more layers of an LSTM, a bias that nothing takes."""
    from safetensors.numpy import load_file, save_file

    net = RNNRegressor("gru", 5, reset_after=True, **SHORT).fit(SEQUENCES, Y[:12])
    net.save_weights(path)
    held = load_file(path)
    still = {"initializer": path, "max_iter": 1, "random_state": 0}
    begun = RNNRegressor("gru", 5, **still).fit(SEQUENCES, Y[:12])
    assert begun.summary().to_frame()["first"].tolist() == ["drawn", "read"]
    save_file(held | {"layers.0.weight_ih_l1": np.ones((12, 4))}, path)
    begun = RNNRegressor("gru", 5, reset_after=True, **still).fit(SEQUENCES, Y[:12])
    assert begun.summary().to_frame()["first"].tolist() == ["drawn", "read"]
    del held["layers.1.weight"]
    save_file(held, path)
    with pytest.raises(ValueError, match="holds nothing for this network.*layers.0.bias_hh_l0"):
        RNNRegressor("gru", 5, **still).fit(SEQUENCES, Y[:12])


def test_a_summary_tells_of_the_last_fit(path):
    net = MLPNetClassifier((6,), **SHORT).fit(X, Y)
    net.save_weights(path)
    net.set_params(initializer=path).fit(X, Y)
    assert "read" in str(net.summary())
    assert "read" not in str(net.set_params(initializer="auto").fit(X, Y).summary())


def test_a_fit_that_forgets_loaded_weights_warns(path, recwarn):
    net = MLPNetClassifier((6,), **SHORT).fit(X, Y)
    net.save_weights(path)
    loaded = MLPNetClassifier((6,), **SHORT).load_weights(path)
    with pytest.warns(UserWarning, match="read by load_weights are lost.*warm_start.*initializer"):
        loaded.fit(X, Y)
    recwarn.clear()
    loaded.fit(X, Y)  # that of a fit is not
    MLPNetClassifier((6,), warm_start=True, **SHORT).load_weights(path).fit(X, Y)
    MLPNetClassifier((6,), **SHORT).load_weights(path).partial_fit(X, Y)
    assert not [w for w in recwarn if "load_weights" in str(w.message)]


# --- activations


def test_activations_of_a_perceptron():
    net = MLPNetClassifier((6, 5), activation="tanh", dropout=0.3, **SHORT).fit(X, Y)
    hidden = np.tanh(X @ net.coefs_[0] + net.intercepts_[0])
    np.testing.assert_allclose(net.activations(X, 0), hidden)
    hidden = np.tanh(hidden @ net.coefs_[1] + net.intercepts_[1])
    np.testing.assert_allclose(net.activations(X), hidden)
    np.testing.assert_array_equal(net.activations(X, -1), net.predict_proba(X))
    # names are those of the summary and of files
    assert net.summary().to_frame()["path"].tolist()[:3] == ["layers.0", "layers.1", "layers.2"]
    np.testing.assert_array_equal(net.activations(X, "layers.2"), net.activations(X, 1))
    for layer, error in ((3, ValueError), (1.0, TypeError), ("conv1", ValueError)):
        with pytest.raises(error, match="layer is"):
            net.activations(X, layer)
    with pytest.raises(NotFittedError):
        clone(net).activations(X)


def test_activations_of_images_and_codes():
    net = ConvNetClassifier(image_shape=(8, 8), **SHORT).fit(X, Y)
    maps = net.activations(X, 0)
    assert maps.shape[:3] == (60, 8, 8) or maps.ndim == 4
    flat = ConvNetTransformer(net, layer=0).fit(X).transform(X)
    np.testing.assert_array_equal(maps.reshape(60, -1), flat)
    coder = AutoencoderTransformer((9, 4), activation="tanh", **SHORT).fit(X)
    place = coder.layers_.index(Dense(4, name="encoder_2")) + 1
    assert coder.layers_[place] == Activation("tanh")
    np.testing.assert_array_equal(coder.activations(X, place), coder.transform(X))
    rbf = RBFNetClassifier(7).fit(X, Y)
    assert rbf.activations(X, 0).shape == (60, 7)


def test_activations_of_steps():
    net = RNNClassifier("gru", [4, 3], **SHORT).fit(SEQUENCES, Y[:12])
    steps = net.activations(SEQUENCES, 0)
    assert steps.shape == (12, 5, 4) and net.activations(SEQUENCES).shape == (12, 3)
    ragged = [some[: 1 + i % 5] for i, some in enumerate(SEQUENCES)]
    for part, row, some in zip(net.activations(ragged, 0), steps, ragged, strict=True):
        np.testing.assert_array_equal(part, row[: len(some)])
    vectors = Embedding(4, 2, vectors=np.arange(8.0).reshape(4, 2), trainable=False)
    net = RNNClassifier("gru", 3, embedding=vectors, **SHORT).fit(TOKENS, Y[:12])
    np.testing.assert_array_equal(net.activations(TOKENS, 0), np.arange(8.0).reshape(4, 2)[TOKENS])


def test_activations_of_characters():
    texts = ["abcabca" * 15, "b", "cab"]
    net = CharRNN("gru", 4, n_layers=2, seq_len=5, batch_size=2, **SHORT).fit(texts)
    steps = net.activations(texts)
    assert [some.shape for some in steps] == [(105, 4), (1, 4), (3, 4)]
    # the last is the state, and what comes of it the probability of the next character
    np.testing.assert_allclose([some[-1] for some in steps], net.transform(texts), atol=1e-6)
    w = net.weights_["layers.2"]
    logits = np.array([some[-1] for some in steps]) @ w["kernel"] + w["bias"]
    exp = np.exp(logits)
    np.testing.assert_allclose(
        exp / exp.sum(axis=1, keepdims=True), net.predict_proba(texts), rtol=1e-4
    )
    pairs = Seq2SeqRNN("gru", 4, **SHORT).fit(texts, texts)
    assert [some.shape for some in pairs.activations(texts, texts)] == [(106, 4), (2, 4), (4, 4)]
