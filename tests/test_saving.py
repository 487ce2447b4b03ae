"""Estimators are saved to files without code, and load the same; damaged files are errors.

``python tests/test_saving.py`` writes the missing files of the current version of the format.
"""

import copy
import json
import os
import pathlib
import pickle
import signal
import stat
import subprocess
import sys
import textwrap
import tracemalloc

import joblib
import numpy as np
import pytest
import sklearn
import test_pickles
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_pickles import X, Y, data_for, outputs

import sknn
from sknn.files import codec, states
from sknn.layers import Embedding


def estimators():
    """Return small estimators of each class, by name."""
    found = test_pickles.estimators()
    layers, small = found["convnet"].layers, {"max_iter": 2, "random_state": 0}
    return found | {
        "convnet-regressor": sknn.ConvNetRegressor(layers, (2, 2), **small),
        "convnet-transformer": sknn.ConvNetTransformer(found["convnet"], "first"),
        "rnn-regressor": sknn.RNNRegressor("gru", 3, return_sequences=False, **small),
    }


HERE = pathlib.Path(__file__).parent
MODELS = HERE / "models"
NAMES = list(estimators())
#: The types that users of skops must trust, besides those of sknn.
OF_OTHERS = {"numpy.dtype", "scipy.sparse._csr.csr_array"}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def fitted():
    """Small fitted estimators of each kind, by name."""
    found = estimators()
    for estimator in found.values():
        estimator.fit(*data_for(estimator))
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def again(estimator, path):
    """Return the estimator, saved and loaded."""
    sknn.save(estimator, path)
    return sknn.load(path)


def train_on(estimator):
    """Return a copy of a fitted estimator that has been trained further."""
    other = copy.deepcopy(estimator)
    if hasattr(other, "partial_fit") and not getattr(other, "early_stopping", False):
        return other.partial_fit(*data_for(other))
    if "warm_start" in other.get_params():
        other.warm_start = True
    return other.fit(*data_for(other))


# --- round trips


@pytest.mark.parametrize("name", NAMES)
def test_round_trips(fitted, name, path):
    estimator = fitted[name]
    other = again(estimator, path)
    assert type(other) is type(estimator)
    assert vars(other).keys() == vars(estimator).keys()
    assert repr(other) == repr(estimator) == repr(clone(other))
    np.testing.assert_array_equal(outputs(other), outputs(estimator))
    if hasattr(estimator, "summary"):
        assert str(other.summary()) == str(estimator.summary())
    if hasattr(estimator, "history_"):
        assert other.history_.equals(estimator.history_)
    np.testing.assert_array_equal(outputs(train_on(other)), outputs(train_on(estimator)))
    before = path.read_bytes()
    sknn.save(other, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_unfitted_estimators(name, path):
    estimator = estimators()[name]
    other = again(estimator, path)
    assert repr(other) == repr(estimator)
    assert vars(other).keys() == vars(estimator).keys()


def test_tensors_are_those_that_the_library_reads(fitted, path):
    safetensors = pytest.importorskip("safetensors")
    sknn.save(fitted["classifier-float32"], path)
    with safetensors.safe_open(path, "numpy") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert (about["format"], about["version"], about["sknn"]) == (
        "sknn model", "1", sknn.__version__
    )  # fmt: skip
    for i, coef in enumerate(fitted["classifier-float32"].coefs_):
        np.testing.assert_array_equal(tensors[f"coefs_[{i}]"], coef)
        assert tensors[f"coefs_[{i}]"].dtype == np.float32
    assert json.loads(about["state"])["hidden_layer_sizes"] == {"type": "tuple", "items": [3]}


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "versicolor", "virginica"])[Y], np.array(["a\ud83d", "b\ude00", "c"],
        object)[Y], Y == 1, Y * 10**12 - 1, Y / 1, np.eye(3, dtype=int)[Y], Y.astype("M8[D]"),
    ],
    ids=["str", "object", "bool", "large", "float", "multilabel", "dates"],
)  # fmt: skip
def test_labels(labels, path):
    net = sknn.MLPNetClassifier((3,), max_iter=1, random_state=0).fit(X, labels)
    other = again(net, path)
    np.testing.assert_array_equal(other.classes_, net.classes_)
    assert other.classes_.dtype == net.classes_.dtype
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert other.score(X, labels) == net.score(X, labels)


def test_settings_of_all_kinds(path):
    random_state = np.random.RandomState(3)
    random_state.normal()  # half of a pair
    parameters = {
        "hidden_layer_sizes": np.array([3, np.int8(2)]), "activation": ["tanh", "relu"],
        "alpha": np.float32(0.1), "learning_rate_init": 10**30,
        "random_state": random_state, "class_weight": {0: 1.0, np.int64(1): 2, "type": 3},
        "initializer": [np.ones((4, 3), order="F"), [0.0, 1, 2]], "n_iter_no_change": np.inf,
    }  # fmt: skip
    net = sknn.MLPNetClassifier(**parameters)
    other = again(net, path)
    drawn = [some.random_state.normal(size=5) for some in (net, other)]
    np.testing.assert_array_equal(*drawn)
    assert repr(other.class_weight) == repr(net.class_weight)
    assert other.initializer[0].flags.f_contiguous
    assert type(other.alpha) is np.float32
    assert repr(other.set_params(random_state=0)) == repr(net.set_params(random_state=0))
    elsewhere = sknn.RNNClassifier(
        mask_value=np.nan, embedding=Embedding(3, 2, vectors=np.eye(3, 2)),
        initializer=pathlib.Path("weights.safetensors"),
    )  # fmt: skip
    other = again(elsewhere, path)
    assert repr(other) == repr(elsewhere)
    np.testing.assert_array_equal(other.embedding.vectors, np.eye(3, 2))


def test_names_outputs_and_requests(path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    net = sknn.AutoencoderTransformer(2, max_iter=1, random_state=0).fit(frame)
    net.set_output(transform="pandas")
    with sklearn.config_context(enable_metadata_routing=True):
        net.set_fit_request(sample_weight=True)
        other = again(net, path)
        assert repr(other.get_metadata_routing()) == repr(net.get_metadata_routing())
    assert list(other.feature_names_in_) == list("abcd")
    pd.testing.assert_frame_equal(other.transform(frame), net.transform(frame))
    with pytest.warns(UserWarning, match="feature names"):
        other.transform(X)


def test_estimators_that_hold_others(fitted, path):
    net = fitted["convnet"]
    features = sknn.ConvNetTransformer(net, "first").fit(X)
    other = again(features, path)
    np.testing.assert_array_equal(other.transform(X), features.transform(X))
    np.testing.assert_array_equal(clone(other).fit(X).transform(X), features.transform(X))
    frozen = FrozenEstimator(fitted["autoencoder"])
    detector = sknn.ReconstructionOutlierDetector(frozen).fit(X)
    other = again(detector, path)
    np.testing.assert_array_equal(other.score_samples(X), detector.score_samples(X))
    assert clone(other).fit(X).offset_ == detector.offset_


def test_loaded_weights_and_averages(fitted, tmp_path, path):
    weights = tmp_path / "weights.safetensors"
    fitted["classifier"].save_weights(weights)
    net = sknn.MLPNetClassifier((3,)).load_weights(weights, classes=["x", "y", "z"])
    np.testing.assert_array_equal(again(net, path).predict(X), net.predict(X))
    net = sknn.MLPNetClassifier((3,), average=True, max_iter=1, random_state=0).fit(X, Y)
    other = again(net, path)
    np.testing.assert_array_equal(outputs(train_on(other)), outputs(train_on(net)))
    with pytest.raises(ValueError, match="weights.safetensors is a safetensors file, but none of"):
        sknn.load(weights)


# --- what is not saved


class Subclass(sknn.MLPNetClassifier):
    pass


def score(estimator, X, y):
    return 0.0


@pytest.mark.parametrize(
    "estimator, message",
    [
        (sknn.MLPNetClassifier(scoring=score), "scoring is of the type function, .* a name"),
        (sknn.MLPNetClassifier(hidden_layer_sizes=range(3)), "hidden_layer_sizes is of the type"),
        (sknn.MLPNetClassifier(initializer=[1, np.array(1j)]), r"initializer\[1\] is an array of"),
        (sknn.MLPNetClassifier(alpha=-1), "cannot be saved as it is.*alpha"),
        (Subclass(), "a subclass of MLPNetClassifier; expected an estimator of sknn itself"),
        (make_pipeline(StandardScaler(), sknn.MLPNet()), "Pipeline; expected.*skops"),
        (StandardScaler(), "StandardScaler; expected an estimator of sknn"),
        (sknn.ReconstructionOutlierDetector(StandardScaler()), "autoencoder is of the .* skops"),
        (sknn.MLPNet, "expected an estimator of sknn"),
        (3, "estimator is of the type int"),
    ],
)
def test_what_cannot_be_saved(estimator, message, path):
    path.write_bytes(b"before")
    with pytest.raises((TypeError, ValueError), match=f"(?s){message}"):
        sknn.save(estimator, path)
    assert path.read_bytes() == b"before"


def test_foreign_attributes_are_refused(fitted, path):
    net = copy.deepcopy(fitted["classifier"])
    net.note = "mine"
    with pytest.raises(ValueError, match="has no attribute 'note'"):
        sknn.save(net, path)
    del net.note
    net.coefs_ = [net.coefs_[0]]
    with pytest.raises(ValueError, match="cannot be saved as it is: .*coefs_"):
        sknn.save(net, path)


def test_callbacks_are_not_saved(path):
    from sklearn.callback import ScoringMonitor

    net = sknn.MLPNetClassifier().set_callbacks(ScoringMonitor(scoring="accuracy"))
    assert not hasattr(again(net, path), "_skl_callbacks")


class Saving:
    """A callback that saves what it is given: the fit before, and the one in progress."""

    def __init__(self, path):
        self.path, self.before, self.now = path, [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.before.append(again(estimator, self.path))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            self.now.append(again(fitted_estimator, self.path))
            for one in (estimator, fitted_estimator):
                assert pickle.loads(pickle.dumps(one)).loss_curve_ == one.loss_curve_


def test_a_callback_saves_an_estimator(fitted, path):
    net, saving = copy.deepcopy(fitted["classifier"]), Saving(path)
    before = net.loss_curve_
    net.set_callbacks(saving).fit(*data_for(net))
    assert all(one.loss_curve_ == before for one in saving.before)
    assert [len(one.loss_curve_) for one in saving.now] == [1, 2]
    np.testing.assert_array_equal(outputs(saving.now[-1]), outputs(net))


# --- versions and other libraries


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_files_of_all_versions_load(path):
    estimator = sknn.load(path)
    expected = json.loads((MODELS / "outputs.json").read_text())[path.stem]
    np.testing.assert_allclose(outputs(estimator), expected, rtol=1e-5, atol=1e-6)
    if hasattr(estimator, "partial_fit") and not getattr(estimator, "early_stopping", False):
        before = getattr(estimator, "t_", None)
        estimator.partial_fit(*data_for(estimator))
        assert before is None or estimator.t_ > before


def test_there_is_a_file_of_each_kind_and_version():
    classes = {name for name in sknn.__all__ if isinstance(getattr(sknn, name), type)}
    assert {type(estimator).__name__ for estimator in estimators().values()} == classes
    wanted = {f"{name}-{version}" for name in NAMES for version in states.VERSIONS}
    assert wanted <= {path.stem for path in MODELS.glob("*.safetensors")}


@pytest.mark.parametrize("name", NAMES)
def test_skops_stores_them_too(fitted, name):
    sio = pytest.importorskip("skops.io")
    estimator = fitted[name]
    data = sio.dumps(estimator)
    trusted = sio.get_untrusted_types(data=data)
    assert {one for one in trusted if not one.startswith("sknn.")} <= OF_OTHERS
    other = sio.loads(data, trusted=trusted)
    np.testing.assert_array_equal(outputs(other), outputs(estimator))
    np.testing.assert_array_equal(outputs(train_on(other)), outputs(train_on(estimator)))


def test_a_new_process_loads_it_without_safetensors_and_without_compiling(fitted, path, tmp_path):
    sknn.save(fitted["convnet"], path)
    code = """
        import sys
        sys.modules["safetensors"] = None
        import sknn
        net = sknn.load(sys.argv[1])
        sknn.save(net, sys.argv[1])
        print(type(net).__name__, *sys.modules)
    """
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    found = subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "ConvNetClassifier"
    assert not {"torch", "skops"} & set(found)
    assert not list((tmp_path / "cache").rglob("*.kernel"))


# --- writing


def test_a_file_is_replaced_at_once_or_not_at_all(fitted, path, monkeypatch):
    sknn.save(fitted["classifier"], path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sknn.save(fitted["rbf"], path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_process_killed_while_writing_leaves_the_old_file(fitted, path):
    sknn.save(fitted["classifier"], path)
    code = """
        import os, signal, sys
        import sknn
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        sknn.save(sknn.MLPNet(), sys.argv[1])
    """
    before = path.read_bytes()
    run = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    assert subprocess.run(run, timeout=60).returncode == -signal.SIGKILL
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_and_links_are_those_of_an_ordinary_write(path, tmp_path):
    before = os.umask(0o027)
    try:
        sknn.save(sknn.MLPNet(), path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        link = tmp_path / "link"
        link.symlink_to(path)
        sknn.save(sknn.MLPNetRegressor(), link)
        assert link.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert type(sknn.load(path)) is sknn.MLPNetRegressor
    os.mkfifo(tmp_path / "fifo")
    net = sknn.MLPNetRegressor(hidden_layer_sizes=2, max_iter=1).fit([[0.0], [1.0]], [0.0, 1.0])
    for other in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(OSError, match="not a regular file"):
            sknn.save(sknn.MLPNet(), other)
        with pytest.raises(OSError, match="not a regular file"):
            net.save_weights(other)
        with pytest.raises(ValueError, match="not a regular file"):
            sknn.load(other)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_files_that_must_be_new(path):
    states.write(path, [1], "list", new=True)
    with pytest.raises(FileExistsError):
        states.write(path, [2], "list", new=True)
    assert states.read(path, "list") == [1]
    assert os.listdir(path.parent) == [path.name]


# --- reading what is foreign or damaged


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, content):
    """Return a file with this header, and a checksum that fits."""
    from mutations import sealed

    text = json.dumps(header, separators=(",", ":")).encode()
    return sealed(len(text).to_bytes(8, "little") + text + content)


def test_foreign_files(fitted, path, tmp_path):
    net = fitted["classifier"]
    joblib.dump(net, tmp_path / "joblib")
    joblib.dump(net, tmp_path / "compressed", compress=3)
    data = b"".join(states.pack(net, "model"))
    header, content = header_of(data)
    newer = copy.deepcopy(header)
    newer["__metadata__"] |= {"version": "7", "sknn": "9.1"}
    odd = copy.deepcopy(header)
    odd["__metadata__"]["version"] = "one"
    for content_of, message in [
        (pickle.dumps(net), "is a pickle"),
        ((tmp_path / "joblib").read_bytes(), "is a pickle"),
        ((tmp_path / "compressed").read_bytes(), "is no safetensors file"),
        (b"PK\x03\x04" + bytes(100), "is a zip file, as PyTorch"),
        (b"", "is no safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}", "is a safetensors file, but none of sknn"),
        (b"".join(states.pack(net, "other")), "is a file of the format 'sknn other'; expected"),
        (b"".join(states.pack([1], "model")), "holds a list; expected an estimator"),
        (with_header(newer, content), "has version 7 of the format, written by sknn 9.1.*upgrade"),
        (with_header(odd, content), "has the version 'one'"),
        (data[:-1], "is truncated or altered"),
        (data[:500], "is truncated: its header is incomplete"),
        (data[:20], "is truncated: its header is incomplete"),
        (data[:5], "is no safetensors file"),
        (data + b"\0", "is truncated or altered"),
        (data.replace(b"adam", b"nada"), "is truncated or altered"),
    ]:
        path.write_bytes(content_of)
        with pytest.raises(ValueError, match=f"^{path} {message}"):
            sknn.load(path)
    with pytest.raises(FileNotFoundError):
        sknn.load(tmp_path / "missing")


def test_a_whole_estimator_is_no_file_of_weights(fitted, path):
    pytest.importorskip("safetensors")
    sknn.save(fitted["classifier"], path)
    with pytest.raises(ValueError, match="'sknn model', which sknn.load reads"):
        sknn.MLPNetClassifier((3,)).load_weights(path)


def test_a_header_whose_length_looks_like_a_pickle(path):
    for n in range(40):  # one of 32 lengths begins with the byte 0x80
        net = sknn.MLPNet(class_weight={"x" * n * 8: 1.0})
        if states.pack(net, "model")[0][0] == 0x80:
            break
    else:
        raise AssertionError("none found")
    assert again(net, path).class_weight == net.class_weight


NUMBER = {"type": "array", "tensor": "a"}


@pytest.mark.parametrize(
    "tree, tensors",
    [
        ({"type": "os.system", "command": "true"}, {}),
        ({"type": "Net"}, {}),
        ({"type": "LayeredNet"}, {}),
        ({"type": ["MLPNet"]}, {}),
        ([NUMBER, NUMBER], {"a": np.zeros(3)}),
        ([], {"a": np.zeros(3)}),
        (NUMBER, {}),
        ({"type": "MLPNet", "coefs_": []}, {}),
        ({"type": "MLPNet", "_public": None}, {}),
        ({"type": "MLPNet", "__class__": "x"}, {}),
        ({"type": "MLPNet", "predict": "x"}, {}),
        ({"type": "Dense", "units": 10**12}, {}),
        ({"type": "Dense", "units": "x" * 1000}, {}),
        ({"type": "objects", "shape": [10**9, 10**9], "items": []}, {}),
        ({"type": "objects", "shape": [0, 2**62, 2**62], "items": []}, {}),
        ({"type": "strings", "points": NUMBER}, {"a": np.full((1, 2), 2**31, np.uint32)}),
        ({"type": "strings", "points": NUMBER}, {"a": np.zeros((10**9, 0), np.uint32)}),
        ({"type": "strings", "points": NUMBER}, {"a": np.zeros(())}),
        ({"type": "strings", "points": 3}, {}),
        ({"type": "scalar", "dtype": "int8", "value": 1000}, {}),
        ({"type": "scalar", "dtype": "O", "value": 1}, {}),
        ({"type": "dtype", "name": "V1000000000"}, {}),
        ({"type": "dict", "items": [[[1], 2]]}, {}),
        ({"type": "RandomState", "key": NUMBER, "pos": 0, "has_gauss": 0, "gauss": 0.0},
         {"a": np.ones(10, np.uint32)}),
        ({"type": "RandomState", "key": NUMBER, "pos": 10**9, "has_gauss": 0, "gauss": 0.0},
         {"a": np.ones(624, np.uint32)}),
        ({"type": "csr_array", "shape": {"type": "tuple", "items": [1, 2]}, "data": NUMBER,
          "indices": {"type": "array", "tensor": "b"}, "indptr": {"type": "array", "tensor": "c"}},
         {"a": np.ones(1), "b": np.array([10**6]), "c": np.array([0, 1])}),
        ({"type": "Weights", "values": [], "dtype": {"type": "dtype", "name": "float64"},
          "network": {"type": "Network", "inputs": 3,
                      "augmentation": {"type": "tuple", "items": []},
                      "loss": {"type": "Loss", "name": "log_loss", "link": "softmax",
                               "parameter": 0.0, "over_outputs": None},
                      "layers": {"type": "tuple",
                                 "items": [{"type": "Dense", "units": 2**31 - 1}]}}}, {}),
        ({"type": "Network", "inputs": 3, "augmentation": {"type": "tuple", "items": []},
          "loss": {"type": "Loss", "name": "quantile", "link": "identity", "over_outputs": None,
                   "parameter": {"type": "tuple", "items": [0.1, 0.5, 0.9]}, "smoothing": 0.0},
          "layers": {"type": "tuple", "items": [
              {"type": "Dense", "units": 2},
              {"type": "Activation", "function": "identity", "parameter": None}]}}, {}),
        ({"type": "Characters", "symbols": "ba", "unknown": None}, {}),
        ({"type": "times", "dtype": "O", "numbers": {"type": "array", "tensor": "a"}},
         {"a": np.ones(1, int)}),
        ({"type": "times", "dtype": "datetime64[s]", "numbers": {"type": "array", "tensor": "a"}},
         {"a": np.ones(3, "int8")}),
    ],
)  # fmt: skip
def test_invalid_states(tree, tensors):
    data = b"".join(states.packed(tree, tensors, "model"))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="has no valid state"):
            states.unpack(data, "model")
        assert tracemalloc.get_traced_memory()[1] < 200_000 + 30 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2**32, 2**32]}, {"shape": [-4, -3]}, {"shape": [10**400]}, {"shape": [3.0, 4]},
        {"shape": "12"}, {"shape": [1] * 100}, {"dtype": "C64"}, {"dtype": "F32"}, {"dtype": []},
        {"data_offsets": [0, 2**60]}, {"data_offsets": [8, 104]}, {"data_offsets": [96, 0]},
        {"data_offsets": []}, {"data_offsets": ["a", 1]},
    ],
    ids=str,
)  # fmt: skip
def test_invalid_headers(changes):
    data = b"".join(states.pack(np.zeros((4, 3)), "model"))
    header, content = header_of(data)
    header["array"] |= changes
    with pytest.raises(ValueError, match="has no valid state"):
        states.unpack(with_header(header, content), "model")


@pytest.mark.parametrize(
    "state", ["[" * 100_000, "[" * 500 + "]" * 500, "1" * 5000, "{", "", '"\\u12"', "1e999999"]
)
def test_invalid_json(state):
    header, content = header_of(b"".join(states.pack(None, "model")))
    header["__metadata__"]["state"] = state
    try:
        found = states.unpack(with_header(header, content), "model")
    except ValueError as error:
        assert "has no valid state" in str(error)
    else:
        assert found == float("inf")
    deep = b"[" * 100_000
    with pytest.raises(ValueError, match="damaged|no safetensors"):
        states.unpack(len(deep).to_bytes(8, "little") + deep, "model")


@pytest.mark.parametrize(
    "value",
    [
        None, -5, 10**30, 0.1, np.nan, -np.inf, "\ud83d\ude00", (1, [2, (3,)]), {1: "a", None: ()},
        {"type": 1}, np.float16(1.5), np.bool_(True), np.str_("a"), np.array(3),
        np.zeros((0, 5), bool), np.arange(6.0).reshape(2, 3).T, np.arange(10)[::3],
        np.arange(3, dtype=">f8"), np.array(["x", 1, None], object), np.dtype("float32"),
        np.array([[0.1, np.nan]], np.float16), np.array(["a", "\ud83d"]),
        pathlib.Path("a/b"), [], "", np.array([[1, 2], [3, 4]], ">m8[25s]").T,
    ],
    ids=repr,
)  # fmt: skip
def test_values(value):
    tree, tensors = codec.encode(value)
    found = states.unpack(b"".join(states.packed(tree, tensors, "x")), "x")
    assert type(found) is type(value)
    if not isinstance(value, np.ndarray):
        assert repr(found) == repr(value)
        return
    np.testing.assert_array_equal(found, value)
    assert found.dtype == value.dtype.newbyteorder("=")
    assert found.shape == value.shape
    assert found.flags.writeable
    ordered = value.flags.c_contiguous or value.flags.f_contiguous
    assert not ordered or found.flags.f_contiguous == value.flags.f_contiguous


def test_arrays_that_lie_in_a_file_are_stored(path):
    given = np.memmap(path, float, "w+", shape=(4, 3))
    net = sknn.MLPNetClassifier((3,), initializer=[given])
    np.testing.assert_array_equal(again(net, path.with_name("net")).initializer[0], given)


def test_many_colliding_keys_are_refused():
    items = [[i * (2**61 - 1), 0] for i in range(40_000)]
    data = b"".join(states.packed({"type": "dict", "items": items}, {}, "x"))
    with pytest.raises(ValueError, match="expected at most"):
        states.unpack(data, "x")


def test_ten_thousand_damaged_files(fitted, tmp_path):
    for i, name in enumerate(["classifier", *(name for name in NAMES if name != "classifier")]):
        sknn.save(fitted[name], tmp_path / f"{i:02}-{name}")
    run = [sys.executable, str(HERE / "mutations.py"), str(tmp_path), "10000"]
    env = {**os.environ, "SKNN_GUARD_PAGES": "1"}
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert sum(tried for tried, _ in counts.values()) >= 9900
    assert counts["damaged"][1] == 0
    for how in ("sealed", "mutated"):  # some changes are harmless
        assert 0 < counts[how][1] < counts[how][0] / 2


if __name__ == "__main__":
    file = MODELS / "outputs.json"
    MODELS.mkdir(exist_ok=True)
    expected = json.loads(file.read_text()) if file.exists() else {}
    for name, unfitted in estimators().items():
        stem = f"{name}-{states.VERSIONS[-1]}"
        if stem not in expected:
            sknn.save(unfitted.fit(*data_for(unfitted)), MODELS / f"{stem}.safetensors")
            expected[stem] = outputs(unfitted).tolist()
    file.write_text(json.dumps(expected))
