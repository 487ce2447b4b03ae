"""The diagnosis of training, the gradients that it rests on, and estimators in notebooks."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from reference_device import ReferenceDevice
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_pickles import data_for, estimators

import sknn
from sknn.diagnosis import diagnose as module
from sknn.diagnosis.chains import chains
from sknn.engine.devices import DEVICES
from sknn.estimator.probing import Probe
from sknn.layers import Activation, BatchNormalization, Conv2D, Dropout, Residual

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X, Y = RNG.normal(size=(40, 4)), np.arange(40) % 3
TEXTS = ["abracadabra", "abba", "cab"]
SMALL = {"hidden_layer_sizes": (3,), "max_iter": 2, "random_state": 0}


def regressor(sizes, activation="relu", **more):
    """Return a small regressor."""
    more = {"max_iter": 1, "random_state": 0} | more
    return sknn.MLPNetRegressor(hidden_layer_sizes=sizes, activation=activation, **more)


@pytest.fixture(scope="module")
def fitted():
    """Return fitted estimators of each kind, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: net.fit(*data_for(net)) for name, net in estimators().items()}


# --- gradients and steps


def nets_in_float64():
    """Return networks of each kind that training treats unlike prediction, with data."""
    double = {"max_iter": 1, "random_state": 0, "dtype": "float64"}
    conv = [
        Conv2D(3, 2, padding="same", activation="tanh"),
        Residual([Conv2D(3, 1), BatchNormalization(), Dropout(0.1)]),
    ]
    ragged = [X[:n, 0] for n in (3, 1, 5, 2, 4, 5)]
    return {
        "dropout, normalization": (
            sknn.MLPNetClassifier((3,), "tanh", dropout=0.3, batch_norm=True, **double), X, Y
        ),
        "weights": (regressor((3,), "tanh", batch_size=15, **double), X, X[:, 0]),
        "images": (sknn.ConvNetClassifier(conv, (2, 2), batch_size=20, **double), X, Y),
        "lengths": (
            sknn.RNNRegressor("gru", 3, return_sequences=True, **double), ragged, ragged
        ),
        "text": (sknn.CharRNN("lstm", 3, 2, seq_len=20, batch_size=3, **double), TEXTS, None),
        "translation": (sknn.Seq2SeqRNN("rnn", 3, embedding=2, **double), TEXTS, TEXTS[::-1]),
        "tied": (
            sknn.AutoencoderTransformer(
                (3, 2), "tanh", tied_weights=True, contractive=0.1, activity_l1=0.1, noise=0.1,
                **double,
            ), X, None
        ),
        "variational": (
            sknn.VariationalAutoencoderTransformer(2, 3, activation="tanh", **double), X, None
        ),
        "radial": (
            sknn.RBFNetClassifier(3, solver="adam", train_centers=True, **double), X, Y
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", nets_in_float64())
def test_gradients_are_those_of_finite_differences(name):
    net, X, y = nets_in_float64()[name]
    net.fit(X) if y is None else net.fit(X, y)
    weights = RNG.uniform(0, 2, size=len(X)) if name == "weights" else None
    probe = Probe(net, X, y, weights)
    loss, gradients = probe.gradients()
    names = [(path, name) for path, name, _ in probe._names]
    values, step = probe.job.progress.values, 1e-5
    shapes = {key: value.shape for key, value in zip(names, values, strict=True)}
    checked = 0
    for path, parameters in gradients.items():
        for key, gradient in parameters.items():
            assert gradient.shape == shapes[path, key] and gradient.dtype == np.float64
            direction, place = RNG.normal(size=gradient.shape), names.index((path, key))
            losses = []
            for sign in (1, -1):
                moved = [*values]
                moved[place] = values[place] + sign * step * direction
                probe.job.progress.values = moved
                losses.append(probe.gradients()[0])
            expected = (losses[0] - losses[1]) / (2 * step)
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-8)
            checked += 1
    assert checked > 2 and np.isfinite(loss)


@pytest.mark.parametrize("name", ["dropout, normalization", "images", "text", "tied"])
def test_gradients_and_steps_are_the_same_on_another_device(name, monkeypatch):
    net, X, y = nets_in_float64()[name]
    found, pickled = [], pickle.dumps(net.fit(X) if y is None else net.fit(X, y))
    for device in (DEVICES["cpu"], ReferenceDevice()):
        monkeypatch.setitem(DEVICES, "cpu", device)
        probe = Probe(pickle.loads(pickled), X, y)
        found.append([*probe.gradients(), probe.update()])
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        for path, own in one.items():
            for key, value in own.items():
                np.testing.assert_allclose(value, other[path][key], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "sgd", "alpha": 0.1},
        {"solver": "adam", "clip_norm": 0.1, "average": True, "dropout": 0.2},
        {"solver": "adamw", "alpha": 0.1, "early_stopping": True},
        {"solver": "nadam", "l1": 0.01, "batch_norm": True},
        {"solver": "adam", "learning_rate": "cosine", "class_weight": "balanced"},
        {"solver": "sgd", "learning_rate": "plateau", "plateau_patience": 1, "tol": 10.0},
    ],
    ids=lambda settings: ", ".join(map(str, settings.values())),
)
def test_a_step_is_that_of_a_partial_fit(settings):
    net = sknn.MLPNetClassifier(**{**SMALL, "max_iter": 3}, **settings).fit(X, Y)
    changes = Probe(net, X, Y).update()
    rate = net._optimizer.rate
    if "learning_rate" in settings:  # which a partial fit does not follow
        assert rate < 1e-3
        net._optimizer.learning_rate = rate
        net.set_params(learning_rate="constant", learning_rate_init=rate)
    weights = None
    if "class_weight" in settings:
        net.class_weight = None
        weights = sklearn.utils.compute_sample_weight("balanced", Y)
    raw = [net._raw_values[1]] if settings.get("average") else []
    raw += [[v for pair in zip(net.coefs_, net.intercepts_) for v in pair]]
    net.early_stopping = False
    net.partial_fit(X, Y, weights)
    after = [net._raw_values[1]] if settings.get("average") else []
    after += [[v for pair in zip(net.coefs_, net.intercepts_) for v in pair]]
    dense = [own for own in changes.values() if "kernel" in own]
    found = [own[name] for own in dense for name in ("kernel", "bias")]
    expected = [b - a for a, b in zip(raw[0], after[0])]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)


def test_a_step_of_text_is_that_of_a_partial_fit():
    net = sknn.CharRNN("gru", 3, seq_len=20, batch_size=3, max_iter=1, random_state=0).fit(TEXTS)
    changes, before = Probe(net, TEXTS).update(), net.weights_
    net.partial_fit(TEXTS)
    for path, own in net.weights_.items():
        for name, value in own.items():
            np.testing.assert_allclose(changes[path][name], value - before[path][name], atol=1e-7)


def test_a_probe_draws_nothing_and_changes_nothing():
    np.random.seed(3)
    net = sknn.MLPNetClassifier((3,), dropout=0.1, max_iter=1).fit(X, Y)
    before, state = dict(vars(net)), np.random.get_state()[1].copy()
    first, second = (sknn.diagnose(net, X, Y) for _ in range(2))
    assert first == second and vars(net) == before
    np.testing.assert_array_equal(np.random.get_state()[1], state)


# --- layers


@pytest.mark.parametrize("name", [name for name in estimators() if name != "markov-chain"])
def test_every_network_has_a_diagnosis(fitted, name):
    net = fitted[name]
    given, wanted = data_for(net)
    if name == "perceptron":
        pytest.skip("no gradients")
    before = dict(vars(net))
    diagnosis = sknn.diagnose(net, given, wanted)
    assert vars(net) == before
    frame, text = diagnosis.to_frame(), str(diagnosis)
    assert len(frame) == len(diagnosis.rows) and all(path in text for path in frame["path"])
    assert np.isfinite(diagnosis.loss) and diagnosis.rows[-1].last
    learns = [row for row in diagnosis.rows if row.gradient is not None]
    assert learns and all(row.gradient >= 0 for row in learns)
    assert frame["not_finite"].sum() == 0
    solver = getattr(net, "solver", "adam")
    assert any(row.step for row in diagnosis.rows) == (solver not in ("lbfgs", "lstsq"))


def test_outputs_of_layers_are_those_of_activations(fitted):
    net = fitted["convnet"]
    given, wanted = data_for(net)
    rows = {row.path: row for row in sknn.diagnose(net, given).rows}
    assert list(rows) == ["first", "layers.1.block.0", "layers.1.block.1", "layers.2"]
    outputs = net.activations(given, "first")
    first = rows["first"]
    assert (first.layer, first.activation, first.units) == ("Conv2D(relu)", "relu", 3)
    np.testing.assert_allclose([first.mean, first.spread], [outputs.mean(), outputs.std()], 1e-5)
    assert first.dead == (outputs.reshape(-1, 3).max(axis=0) == 0).sum()
    # a residual block adds its input to what its last layer gives
    inner, block = rows["layers.1.block.1"], net.activations(given, 1)
    np.testing.assert_allclose(inner.mean, (block - outputs).mean(), rtol=1e-4)
    probabilities = net.predict_proba(given)
    np.testing.assert_allclose(rows["layers.2"].spread, probabilities.std(), rtol=1e-4)
    # no targets: no gradients and no steps
    assert all(row.gradient is row.step is None for row in rows.values())


def test_many_samples_are_taken_a_few_at_a_time(fitted, monkeypatch):
    whole = {name: sknn.diagnose(fitted[name], *data_for(fitted[name])) for name in PARTS}
    monkeypatch.setattr(module, "_ELEMENTS", 200)
    for name, expected in whole.items():
        given, wanted = data_for(fitted[name])
        found = sknn.diagnose(fitted[name], given, wanted)
        names = ["units", "dead", "saturated", "constant", "mean", "spread", "gradient"]
        pd.testing.assert_frame_equal(found.to_frame()[names], expected.to_frame()[names])


def test_chunked_samples_are_taken_a_few_at_a_time(fitted, monkeypatch):
    zarr, net = pytest.importorskip("zarr"), fitted["classifier"]
    chunked = zarr.array(data_for(net)[0], chunks=(7, 2))
    whole = sknn.diagnose(net, np.asarray(chunked))
    monkeypatch.setattr(module, "_ELEMENTS", 200)
    assert [row.dead for row in sknn.diagnose(net, chunked).rows] == [r.dead for r in whole.rows]


PARTS = "classifier", "convnet", "rnn", "char-rnn", "seq2seq"


def test_layers_and_their_activations_are_in_one_row(fitted):
    found = {
        name: [chain.words for chain in chains(fitted[name]._held_weights().network)]
        for name in ("classifier-float32", "rnn", "char-rnn", "seq2seq", "rbf")
    }
    assert found == {
        "classifier-float32": ["Dense", "BatchNormalization(relu)", "Dense(softmax)"],
        "rnn": ["GRU", "GRU", "Dense(softmax)"],
        "char-rnn": ["LSTM", "LSTM", "Dense(softmax)"],
        "seq2seq": ["Embedding", "SimpleRNN(tanh)", "Embedding", "SimpleRNN(tanh)"]
        + ["Dense(softmax)"],
        "rbf": ["RadialBasis", "Dense"],
    }


# --- what looks wrong


def test_a_healthy_network_has_no_findings():
    net = sknn.MLPNetClassifier((8,), max_iter=30, random_state=0).fit(X, Y)
    diagnosis = sknn.diagnose(net, X, Y)
    assert diagnosis.findings == () and "Nothing looks wrong." in str(diagnosis)


def test_dead_units():
    net = sknn.MLPNetClassifier((8,), max_iter=1, random_state=0).fit(X, Y)
    net.intercepts_[0][:3] = -100
    assert not any("dead" in one for one in sknn.diagnose(net, X, Y).findings)
    net.intercepts_[0][:4] = -100
    diagnosis = sknn.diagnose(net, X, Y)
    assert diagnosis.rows[0].dead == 4 and diagnosis.rows[1].dead is None
    assert diagnosis.findings[0].startswith("layers.0: 4 of 8 units are dead for these samples")
    net.intercepts_[0][:] = -100
    assert not any("Gradients" in one for one in sknn.diagnose(net, X, Y).findings)
    net.set_params(activation="leaky_relu")  # what is advised helps
    assert not any("dead" in one for one in sknn.diagnose(net, X, Y).findings)


def test_a_huge_rate_kills_units_and_its_steps_are_too_large():
    net = sknn.MLPNetClassifier((8,), learning_rate_init=5.0, max_iter=20, random_state=0)
    net.fit(X, Y)
    diagnosis = sknn.diagnose(net, X, Y)
    dead = (np.maximum(X @ net.coefs_[0] + net.intercepts_[0], 0) == 0).all(axis=0).sum()
    assert diagnosis.rows[0].dead == dead >= 1
    net = sknn.MLPNetClassifier((8,), learning_rate_init=5.0, max_iter=1, random_state=0)
    diagnosis = sknn.diagnose(net.fit(X, Y), X, Y)
    assert "a step changes the weights" in diagnosis.findings[-1]
    assert max(row.step for row in diagnosis.rows) > 0.1


def test_tiny_steps():
    net = sknn.MLPNetClassifier(**SMALL, learning_rate_init=1e-9).fit(X, Y)
    assert "learning_rate_init is too small" in sknn.diagnose(net, X, Y).findings[-1]


def test_saturated_units():
    net = regressor((5,), "tanh").fit(X, X[:, 0])
    net.coefs_[0][:, :2] = 1e4
    diagnosis = sknn.diagnose(net, X, X[:, 0])
    assert diagnosis.rows[0].saturated == 2
    assert "2 of 5 units are saturated (tanh" in diagnosis.findings[0]
    net = sknn.MLPNetClassifier((3,), output_activation="logistic", loss="squared_error")
    net.set_params(max_iter=1, random_state=0).fit(X, Y)
    net.intercepts_[1][:] = 50  # outputs are not hidden units
    assert sknn.diagnose(net, X, Y).rows[-1].saturated is None


def test_saturated_states():
    net = sknn.RNNClassifier("rnn", 4, max_iter=1, random_state=0).fit(X, Y)
    weights = net.weights_["layers.0"]
    assert sknn.diagnose(net, X, Y).rows[0].saturated == 0
    values = [v for own in net.weights_.values() for v in own.values()]
    values[2] = values[2] + 100  # the bias
    assert weights["bias"].shape == values[2].shape
    net._weights = type(net._weights)(net._weights.network, values, net._weights.dtype)
    assert sknn.diagnose(net, X, Y).rows[0].saturated == 4


def test_constant_units():
    net = sknn.MLPNetClassifier((5,), "identity", max_iter=1, random_state=0).fit(X, Y)
    net.coefs_[0][:, 4] = 0
    diagnosis = sknn.diagnose(net, X, Y)
    assert diagnosis.rows[0].constant == 1
    assert "1 of 5 units are constant" in diagnosis.findings[0]
    assert all(row.constant == 0 for row in sknn.diagnose(net, X[:1], Y[:1]).rows)


def test_radial_units_that_respond_to_no_sample():
    centers = np.vstack([X[:3], X[:1] + 1000])
    net = sknn.RBFNetRegressor(centers=centers, widths=1.0).fit(X, X[:, 0])
    diagnosis = sknn.diagnose(net, X, X[:, 0])
    assert diagnosis.rows[0].dead == 1 and "no sample is near" in diagnosis.findings[0]


def test_vanishing_gradients():
    net = regressor((3,) * 8, "logistic")
    net.fit(X, X[:, 0])
    assert "Gradients vanish" in " ".join(sknn.diagnose(net, X, X[:, 0]).findings)


def test_exploding_gradients():
    net = regressor((3,) * 3, "identity").fit(X, X[:, 0])
    for intercept in net.intercepts_:
        intercept[:] = 0
    for coef in net.coefs_[1:]:
        coef *= 1000
    net.coefs_[0][:] /= 1e9
    assert "Gradients explode" in " ".join(sknn.diagnose(net, X, X[:, 0]).findings)


def test_gradients_that_explode_over_time():
    rows = np.sin(np.linspace(0, 6, 60) * (1 + Y[:, None]) + X[:, :1])
    net = sknn.RNNClassifier("rnn", 16, max_iter=1, random_state=0).fit(rows, Y)
    values = [v for own in net.weights_.values() for v in own.values()]
    assert not any("explode" in one for one in sknn.diagnose(net, rows, Y).findings)
    values[1] = values[1] * 6  # the recurrent kernel
    net._weights = type(net._weights)(net._weights.network, values, net._weights.dtype)
    assert "Gradients explode" in " ".join(sknn.diagnose(net, rows, Y).findings)


def test_weights_that_are_not_finite():
    net = regressor((3,)).fit(X, X[:, 0])
    net.coefs_[0][0, 0] = np.nan
    diagnosis = sknn.diagnose(net, X, X[:, 0])
    assert diagnosis.rows[0].not_finite == 1 + len(X) and diagnosis.loss is None
    assert "not finite" in diagnosis.findings[0]
    assert len(diagnosis.findings) == 2  # units of which nothing is known are not dead or constant
    known = np.maximum(X @ net.coefs_[0][:, 1:] + net.intercepts_[0][1:], 0)
    assert diagnosis.rows[0].mean == pytest.approx(known.mean(), rel=1e-5)
    assert diagnosis.rows[0].spread == pytest.approx(known.std(), rel=1e-5)
    assert diagnosis.rows[1].mean is None and "Nothing" not in str(diagnosis)
    assert np.isnan(diagnosis.to_frame()["mean"][1])


# --- errors


def test_what_cannot_be_diagnosed(fitted):
    for name in ("markov-chain", "perceptron"):
        with pytest.raises(TypeError, match="estimator is a .*; expected a fitted network"):
            sknn.diagnose(fitted[name], *data_for(fitted[name]))
    with pytest.raises(TypeError, match="estimator is a Pipeline; .* give its last step"):
        sknn.diagnose(make_pipeline(StandardScaler(), fitted["net"]), X, Y)
    with pytest.raises(TypeError, match="estimator is a MLPNetClassifier"):
        sknn.diagnose(sknn.MLPNetClassifier, X, Y)
    for unfitted in (sknn.MLPNetClassifier(), sknn.ReconstructionOutlierDetector()):
        with pytest.raises((NotFittedError, TypeError)):
            sknn.diagnose(unfitted, X, Y)
    with pytest.raises(ValueError, match="X has 3 features"):
        sknn.diagnose(fitted["net"], X[:, :3], Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sknn.diagnose(fitted["net"], X, Y[:5])
    with pytest.raises(ValueError, match="requires y to be passed"):
        sknn.diagnose(fitted["seq2seq"], TEXTS)
    with pytest.raises(TypeError, match="sample_weight"):
        sknn.diagnose(fitted["variational"], X, sample_weight=np.ones(len(X)))


# --- notebooks


def test_a_fitted_network_shows_its_table_under_the_diagram(fitted):
    net = fitted["convnet"]
    html, table = net._repr_html_(), net.summary()._repr_html_()
    assert html.index("sk-top-container") < html.index(table)
    assert net._repr_mimebundle_()["text/html"].count(table) == 1
    assert table not in sklearn.base.clone(net)._repr_html_()
    with sklearn.config_context(display="text"):
        assert not hasattr(net, "_repr_html_") and "text/html" not in net._repr_mimebundle_()


@pytest.mark.parametrize("name", estimators())
def test_every_estimator_shows_itself(fitted, name):
    assert ("sknn-table" in fitted[name]._repr_html_()) == hasattr(fitted[name], "summary")


@pytest.mark.parametrize("value", [None, [], [None]])
def test_attributes_that_do_not_fit_leave_the_diagram(fitted, value):
    net = copy.deepcopy(fitted["classifier"])
    net.coefs_ = value
    assert "sk-top-container" in net._repr_html_()


def test_pipelines_and_searches_show_their_diagrams(fitted):
    pipeline = make_pipeline(StandardScaler(), fitted["net"])
    assert pipeline._repr_html_().count("sknn-table") == 0 and "MLPNet" in pipeline._repr_html_()
    assert "MLPNet" in GridSearchCV(fitted["net"], {})._repr_html_()


def test_html_is_escaped_and_never_fails():
    layers = [Conv2D(1, 1, name="<b>"), Activation("relu")]
    net = sknn.ConvNetClassifier(layers, (2, 2), max_iter=1, random_state=0).fit(X, Y)
    diagnosis = sknn.diagnose(net, X - 100, Y)
    for html in (net._repr_html_(), diagnosis._repr_html_()):
        assert "<td><b>" not in html and "&lt;b&gt;" in html
    net = sknn.MLPNetClassifier(**SMALL).fit(X, Y)
    del net.coefs_[1]
    assert "sk-top-container" in net._repr_html_()  # without the table
