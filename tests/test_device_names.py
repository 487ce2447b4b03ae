"""The parameter `device`, and where fits and predictions run.

The GPUs here are reference devices, that count their sessions.
"""

import os
import pickle
import sys
import types
import warnings
from collections import Counter

import numpy as np
import pytest
from reference_device import ReferenceDevice
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError
from test_pickles import data_for, estimators, outputs

import sknn
from sknn.engine import devices
from sknn.engine.devices import DEVICES

RANDOM = np.random.RandomState(0)
X, Y = RANDOM.rand(400, 100), RANDOM.rand(400)
FEW = X[:30, :5], Y[:30]
SMALL = {"max_iter": 1, "random_state": 0}
WHY = "pip install sknn[cuda]"

#: Those that have the parameter, but for an ensemble, whose members are on the CPU.
NAMES = [
    name for name, net in estimators().items()
    if "device" in net.get_params() and name != "tabular-regressor"
]  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Counted(ReferenceDevice):
    """A reference device that counts what it was asked to do."""

    def __init__(self, index=0):
        super().__init__()
        self.index, self.sessions = index, Counter()

    def session(self, program, most_rows, threads=1, gradient=None):
        learns = program.changes or gradient is not None
        self.sessions["trained" if learns else "predicted"] += 1
        return super().session(program, most_rows, threads, gradient)


@pytest.fixture
def gpu(monkeypatch):
    """Yield the first of two GPUs."""
    monkeypatch.setitem(DEVICES, "cuda", Counted())
    monkeypatch.setitem(DEVICES, "cuda:1", Counted(1))
    return DEVICES["cuda"]


@pytest.fixture
def made(monkeypatch):
    """Reset the devices as at the start of a process; yield the list of those created."""
    found = []

    class CUDA(Counted):
        def __init__(self, index=0):
            super().__init__(index)
            found.append(self)

    _install(monkeypatch, CUDA)
    return found


@pytest.fixture(params=[ImportError, RuntimeError])
def missing(monkeypatch, request):
    """Simulate a machine without a GPU; yield the list of attempts to create one."""
    attempts = []

    class CUDA:
        def __init__(self, index=0):
            attempts.append(index)
            raise request.param(WHY)

    _install(monkeypatch, CUDA)
    return attempts


def _install(monkeypatch, kind):
    module = types.ModuleType("sknn.cuda.device")
    module.CUDA = kind
    monkeypatch.setitem(sys.modules, "sknn.cuda.device", module)
    for name, empty in (("_made", {}), ("_reasons", {}), ("_warned", set())):
        monkeypatch.setattr(devices, name, empty)


def mlp(**params):
    return sknn.MLPNetRegressor(**{"hidden_layer_sizes": (4,)} | SMALL | params)


# --- names


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1.5", "cuda:٣", 0, None])
def test_wrong_names_are_errors_that_say_what_is_expected(name):
    with pytest.raises(InvalidParameterError, match="'device' parameter of .*'cuda:<n>'"):
        mlp(device=name).fit(*FEW)


def test_names_are_kept():
    for name in ("auto", "cpu", "cuda", "cuda:1"):
        net = clone(mlp(device=name))
        assert net.device == net.get_params()["device"] == name
    assert mlp().device == "cpu"


def test_the_perceptron_and_the_markov_chain_have_no_device():
    for cls in (sknn.PerceptronClassifier, sknn.CharMarkovChain):
        assert "device" not in cls().get_params()
        with pytest.raises(TypeError, match="device"):
            cls(device="cpu")


def test_a_device_is_made_once_and_when_it_is_asked_for(made):
    mlp(device="cpu").fit(*FEW)
    net = mlp(device="auto").fit(*FEW)
    assert made == []
    for name in ("cuda", "cuda:3", "cuda:0", "cuda:3"):
        net.set_params(device=name).fit(*FEW).predict(FEW[0])
    assert [device.index for device in made] == [0, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own(made):
    net = mlp(device="cuda").fit(*FEW)
    child = os.fork()
    if not child:
        try:
            net.fit(*FEW)
            net.fit(*FEW)
        finally:
            os._exit(len(made))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


# --- where fits and predictions compute


@pytest.mark.parametrize("name", NAMES)
def test_every_estimator_computes_where_it_is_told(name, gpu):
    net = estimators()[name]
    net.set_params(dtype="float64")
    expected = outputs(net.fit(*data_for(net)))
    other = clone(net).set_params(device="cuda").fit(*data_for(net))
    assert gpu.sessions["trained"]
    gpu.sessions.clear()
    np.testing.assert_allclose(outputs(other), expected, 1e-6, 1e-9)
    assert gpu.sessions["predicted"] and not gpu.sessions["trained"]
    assert not DEVICES["cuda:1"].sessions


def test_predictions_follow_the_parameter_as_it_is_now(gpu):
    net = mlp(device="cuda:1").fit(*FEW)
    other = DEVICES["cuda:1"]
    assert other.sessions["trained"] == 1 and not gpu.sessions
    expected = net.predict(FEW[0])
    assert other.sessions["predicted"] == 1
    for name, used in (("cuda", [1, 1]), ("cpu", [1, 1]), ("cuda:1", [1, 2])):
        found = net.set_params(device=name).predict(FEW[0])
        assert [gpu.sessions["predicted"], other.sessions["predicted"]] == used
        np.testing.assert_allclose(found, expected)


def test_a_single_row_is_for_the_cpu(gpu):
    hidden = sknn.layers.Dense(3, activation="identity")
    net = sknn.ConvNetRegressor([hidden], device="cuda", **SMALL).fit(*FEW)
    text = sknn.CharRNN("gru", 3, device="cuda", **SMALL).fit("abcabca" * 9)
    gpu.sessions.clear()
    net.predict(FEW[0][:1])
    text.sample(9, "ab", random_state=0)
    text.beam_search(5, "ab")
    assert not gpu.sessions


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_validation_stays_on_the_device(gpu):
    """Also where it is of one row: weights that are being trained are not moved."""
    mlp(device="cuda", max_iter=3).fit(*FEW, X_val=FEW[0][:1], y_val=FEW[1][:1])
    assert gpu.sessions == {"trained": 1, "predicted": 3}


def test_a_transformer_follows_its_network(gpu):
    net = sknn.ConvNetRegressor([sknn.layers.Dense(3), sknn.layers.Dense(1)], **SMALL).fit(*FEW)
    expected = sknn.ConvNetTransformer(net, 0).fit(FEW[0]).transform(FEW[0])
    net.set_params(device="cuda")
    found = sknn.ConvNetTransformer(net, 0).fit(FEW[0]).transform(FEW[0])
    assert gpu.sessions["predicted"] == 1
    np.testing.assert_allclose(found, expected)


def test_a_grid_search_over_devices(gpu):
    search = GridSearchCV(mlp(max_iter=5), {"device": ["cpu", "cuda", "cuda:1"]}, cv=2)
    search.fit(*FEW)
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, scores[0])
    for device in (gpu, DEVICES["cuda:1"]):
        assert device.sessions == {"trained": 2, "predicted": 2}


# --- 'auto'


@pytest.mark.parametrize(
    "units, params, large",
    [  # of 100 features and one output: 101 * units * 3 * rows multiply-adds
        (330, {}, False),
        (331, {}, True),
        (331, {"batch_size": 199}, False),
        (166, {"batch_size": 1000}, True),  # which is clipped to all 400
        (165, {"solver": "lbfgs"}, False),
        (166, {"solver": "lbfgs"}, True),
    ],
)
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_auto_trains_large_steps_on_the_gpu(units, params, large, gpu):
    mlp(hidden_layer_sizes=units, device="auto", **params).fit(X, Y)
    assert (gpu.sessions["trained"] == 1) == large


def test_auto_predicts_much_on_the_gpu(gpu):
    net = mlp(hidden_layer_sizes=(2000, 2000)).fit(X[:2], Y[:2]).set_params(device="auto")
    rows = -(-2_000_000_000 // (100 * 2000 + 2000 * 2000 + 2000))
    many = np.tile(X, (2, 1))[:rows]
    before = net.predict(many[1:])
    assert not gpu.sessions
    np.testing.assert_allclose(net.predict(many)[1:], before)
    assert gpu.sessions == {"predicted": 1}


def test_auto_counts_all_steps_of_a_text(gpu):
    """Texts are read 64 characters a step: it is their whole length that counts."""
    net = sknn.CharRNN("gru", 200, **SMALL).fit("abcabca" * 9).set_params(device="auto")
    net.score_samples(["abc" * 1000] * 2)
    assert not gpu.sessions
    net.score_samples(["abc" * 3000] * 2)
    assert gpu.sessions == {"predicted": 1}


def test_a_fit_chooses_once(gpu):
    """The second pair of layers alone would be for the CPU."""
    net = sknn.AutoencoderTransformer(
        (300, 3), pretrain_epochs=1, batch_size=200, device="auto", **SMALL
    )
    net.fit(X)
    assert gpu.sessions["trained"] == 3
    assert net.device == "auto"


def test_auto_does_without_a_gpu(missing):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        net = mlp(hidden_layer_sizes=331, device="auto").fit(X, Y)
        net.fit(X, Y)
        rows = -(-2_000_000_000 // (101 * 331))
        net.predict(np.zeros((rows, 100)))
    assert missing == [0]


# --- unavailable devices


@pytest.mark.parametrize(
    "net", [mlp(), sknn.RBFNetRegressor(3), sknn.CharRNN(hidden_size=3, max_iter=1)]
)
def test_a_fit_without_its_device_raises_and_changes_nothing(net, missing):
    data = data_for(net) if isinstance(net, sknn.CharRNN) else FEW
    net = clone(net).fit(*data).set_params(device="cuda:2", random_state=np.random.RandomState(0))
    before, draws = pickle.dumps(net), pickle.dumps(net.random_state)
    with pytest.raises((ImportError, RuntimeError), match=r"sknn\[cuda\]"):
        net.fit(*data)
    assert pickle.dumps(net) == before
    assert pickle.dumps(net.random_state) == draws  # not even a random number was drawn
    with pytest.raises((ImportError, RuntimeError), match=r"sknn\[cuda\]"):
        net.partial_fit(*data)
    assert pickle.dumps(net) == before


@pytest.mark.parametrize("name", NAMES)
def test_what_a_gpu_has_fitted_predicts_elsewhere(name, missing, monkeypatch):
    net = estimators()[name]
    monkeypatch.setitem(DEVICES, "cuda", Counted())
    net.set_params(device="cuda").fit(*data_for(net))
    expected, saved = outputs(net), pickle.dumps(net)
    assert b"cuda" not in pickle.dumps(net.set_params(device="cpu"))
    monkeypatch.delitem(DEVICES, "cuda")
    other = pickle.loads(saved)
    with pytest.warns(UserWarning, match=r"'cuda' is not available.* predicts: .*sknn\[cuda\]"):
        found = outputs(other)
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(outputs(other), found)
    assert missing == [0]
    with pytest.raises((ImportError, RuntimeError), match=r"sknn\[cuda\]"):
        other.fit(*data_for(other))


def test_a_device_that_was_missing_is_used_once_a_fit_has_got_it(missing, monkeypatch):
    net = mlp().fit(*FEW).set_params(device="cuda")
    with pytest.warns(UserWarning, match="CPU predicts"):
        net.predict(FEW[0])
    monkeypatch.setattr(sys.modules["sknn.cuda.device"], "CUDA", Counted)
    net.fit(*FEW).predict(FEW[0])
    (device,) = devices._made.values()
    assert device.sessions == {"trained": 1, "predicted": 1}
