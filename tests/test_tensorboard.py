"""The TensorBoard callback, read by TensorBoard's own reader."""

import io
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_pickles import data_for, estimators

import sknn
from sknn.callbacks import TensorBoard
from sknn.callbacks.events import Events, new_run
from sknn.callbacks.pictures import grid
from sknn.estimator.probing import Probe
from sknn.layers import Conv2D, Flatten

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS, LABELS = load_digits(return_X_y=True)
X, Y = DIGITS[:60] / 16, LABELS[:60]
EVERYTHING = {"scalars": 0, "images": 0, "histograms": 0}
SMALL = {"hidden_layer_sizes": (3,), "random_state": 0}


def read(folder):
    """Return what TensorBoard reads in a folder of a run."""
    reader = EventAccumulator(str(folder), size_guidance=EVERYTHING)
    return reader.Reload()


def runs(folder):
    """Return the runs in a folder, as TensorBoard reads them, by name."""
    return {path.name: read(path) for path in sorted(Path(folder).iterdir())}


def curve(run, tag):
    """Return the steps and the values of a scalar."""
    events = run.Scalars(tag)
    return [event.step for event in events], [event.value for event in events]


class Watcher:
    """A callback that reads what the one before it has written, at the end of each epoch."""

    def __init__(self, folder):
        self.folder, self.seen, self.curves = folder, [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            (run,) = runs(self.folder).values()
            self.seen.append(curve(run, "loss"))
            self.curves.append(list(fitted_estimator.loss_curve_))


def test_curves_are_those_of_history_also_during_the_fit(tmp_path):
    watcher = Watcher(tmp_path)
    net = sknn.MLPNetClassifier(**SMALL, max_iter=4, early_stopping=True, solver="sgd")
    net.set_params(learning_rate="invscaling", learning_rate_init=0.1)
    net.set_callbacks(TensorBoard(tmp_path), watcher).fit(X, Y)
    for i, ((steps, values), expected) in enumerate(zip(watcher.seen, watcher.curves), 1):
        assert steps == [*range(1, i + 1)]
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert len(watcher.seen) == 4
    (run,) = runs(tmp_path).values()
    history = net.history_
    assert run.Tags()["scalars"] == [*history.columns]
    for name in history.columns:
        steps, values = curve(run, name)
        assert steps == [*history.index]
        np.testing.assert_allclose(values, history[name], rtol=1e-6)


def test_histograms_are_those_of_weights_and_gradients(tmp_path):
    net = sknn.MLPNetClassifier(**SMALL, max_iter=5)
    net.set_callbacks(TensorBoard(tmp_path, histograms_every=2)).fit(X, Y)
    (run,) = runs(tmp_path).values()
    gradients = sknn.MLPNetClassifier(**SMALL, max_iter=4).fit(X, Y)
    _, found = Probe(gradients, X, Y).gradients()  # of the one batch that there is
    weights = {"layers.0": gradients.coefs_[0], "layers.2": gradients.coefs_[1]}
    assert len(run.Tags()["histograms"]) == 8
    for path, kernel in weights.items():
        for kind, values in (("weights", kernel), ("gradients", found[path]["kernel"])):
            events = run.Histograms(f"{kind}/{path}/kernel")
            assert [event.step for event in events] == [1, 2, 4]
            shown = events[-1].histogram_value
            assert shown.num == values.size == sum(shown.bucket)
            assert (shown.min, shown.max) == (values.min(), values.max())
            np.testing.assert_allclose(shown.sum, values.sum(), rtol=1e-6, atol=1e-9)


def test_networks_of_each_kind_are_followed(tmp_path):
    callback = TensorBoard(tmp_path, histograms_every=1, images_every=1)
    fitted = {}
    for net in estimators().values():
        if hasattr(net, "loss_curve_") or not hasattr(net, "loss"):
            continue
        net.set_callbacks(callback).fit(*data_for(net))
        fitted[type(net).__name__, len(fitted)] = net
    found = runs(tmp_path)
    assert len(found) == len(fitted) >= 12
    for (kind, _), net in fitted.items():
        matching = [
            run for name, run in found.items()
            if name.startswith(kind) and len(curve(run, "loss")[0]) == len(net.loss_curve_)
            and np.allclose(curve(run, "loss")[1], net.loss_curve_, rtol=1e-6)
        ]  # fmt: skip
        assert matching, kind
        tags = matching[0].Tags()["histograms"]
        assert any("gradients/" in tag for tag in tags)
        assert sum("weights/" in tag for tag in tags) >= 2


# --- images


def pixels(run, tag):
    """Return the last image of a tag, as an array with values from 0 to 1."""
    shown = run.Images(tag)[-1]
    image = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))) / 255
    assert image.shape == (shown.height, shown.width, 3)
    return image


def test_filters_of_a_convolution(tmp_path):
    net = sknn.ConvNetClassifier([Conv2D(5, 3), Flatten()], (8, 8), max_iter=2, random_state=0)
    net.set_callbacks(TensorBoard(tmp_path, images_every=2)).fit(X, Y)
    (run,) = runs(tmp_path).values()
    assert [event.step for event in run.Images("filters")] == [1, 2]
    image = pixels(run, "filters")
    side = 3 * 8 + 2  # at least 24 pixels, so that each is enlarged by 8, and lines around
    assert image.shape == (2 * side, 3 * side, 3)  # five filters in three columns
    kernel = net.weights_["layers.0"]["kernel"][:, :, 0, 3]
    shown = image[side:, :side][5:-1:8, 5:-1:8, 0]  # the fourth; centers of its enlarged pixels
    np.testing.assert_allclose(shown, 0.5 + kernel / np.abs(kernel).max() / 2, atol=1 / 255)


def test_units_of_rows_that_are_images_and_their_reconstructions(tmp_path):
    net = sknn.AutoencoderTransformer(4, max_iter=2, random_state=0)
    net.set_callbacks(TensorBoard(tmp_path, images_every=1, image_shape=(8, 8))).fit(X)
    (run,) = runs(tmp_path).values()
    side = 8 * 3 + 2
    assert pixels(run, "filters").shape == (2 * side, 2 * side, 3)
    image = pixels(run, "reconstructions")
    assert image.shape == (2 * side, 8 * side, 3)
    shown = image.reshape(2, side, 8, side, 3)[:, 2:-1:3, :, 2:-1:3, 0].transpose(0, 2, 1, 3)
    expected = np.stack([X[:8], net.reconstruct(X[:8])]).reshape(2, 8, 8, 8)
    np.testing.assert_allclose(shown, np.clip(expected, 0, 1), atol=1 / 255)


class Counted:
    """Rows that are read on demand, and how many were; like Zarr's arrays it takes no tuples."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        assert not isinstance(rows, tuple)
        found = self.array[rows]
        self.read += len(found)
        return found

    def __array__(self, dtype=None, copy=None):
        return np.array(self[:], dtype, copy=copy)


def test_data_on_demand_are_not_read_for_each_histogram(tmp_path, monkeypatch):
    """Also y may be an array-like without a length."""
    monkeypatch.setattr("sknn.tape.on_demand.WINDOW", 2000)
    data, labels = Counted(np.tile(X, (20, 1)).reshape(-1, 8, 8, 1)), Counted(np.tile(Y, 20))
    fits = {"max_iter": 2, "random_state": 0, "image_shape": (8, 8)}
    net = sknn.ConvNetClassifier([Flatten()], **fits).fit(data, labels)
    alone, data.read = data.read, 0
    followed = sknn.ConvNetClassifier([Flatten()], **fits)
    followed.set_callbacks(TensorBoard(tmp_path / "a", histograms_every=1)).fit(data, labels)
    assert followed.loss_curve_ == net.loss_curve_ and data.read <= alone + 2 * 2 * 200
    (run,) = runs(tmp_path / "a").values()
    assert any(tag.startswith("gradients/") for tag in run.Tags()["histograms"])
    coder = sknn.ConvAutoencoderTransformer(max_iter=1, random_state=0)
    coder.set_callbacks(TensorBoard(tmp_path / "b")).fit(data)
    (run,) = runs(tmp_path / "b").values()
    assert set(run.Tags()["images"]) == {"filters", "reconstructions"}


def test_no_images_of_what_is_none(tmp_path):
    net = sknn.MLPNetClassifier(**SMALL, max_iter=1)
    net.set_callbacks(TensorBoard(tmp_path / "rows")).fit(X, Y)
    net.set_callbacks(TensorBoard(tmp_path / "off", histograms_every=0, images_every=0))
    net.fit(X, Y)
    for name in ("rows", "off"):
        (run,) = runs(tmp_path / name).values()
        assert run.Tags()["images"] == [] and len(curve(run, "loss")[0]) == 1
        assert bool(run.Tags()["histograms"]) == (name == "rows")


def test_diverging_training_is_followed_to_its_own_end(tmp_path):
    everything = TensorBoard(tmp_path, histograms_every=1, images_every=1, image_shape=(8, 8))
    large = {"solver": "sgd", "learning_rate_init": 1e305, "max_iter": 3, "random_state": 0}
    net = sknn.MLPNetClassifier((3,), early_stopping=True, **large).set_callbacks(everything)
    with pytest.warns(ConvergenceWarning, match="diverged"):  # the best weights are kept
        assert len(net.fit(X, Y).loss_curve_) == 3
    coder = sknn.AutoencoderTransformer((3,), **large).set_callbacks(everything)
    with pytest.raises(ValueError, match="Training has diverged"):
        coder.fit(X)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values", [[1, 1 + 2**-52], [0, 5e-324], [7.0], [1e305, -1e305, 2], [np.nan, np.inf], []]
)
def test_histograms_of_any_values(tmp_path, values):
    with Events(tmp_path / "events.out.tfevents.0", 1) as events:
        events.histogram("it", np.array(values))
    shown = [value for value in values if abs(value) < 1e150]
    run = read(tmp_path)
    assert run.Tags()["histograms"] == ["it"] * bool(shown)
    if shown:
        assert run.Histograms("it")[0].histogram_value.num == len(shown)


def test_grids_have_colors_for_three_channels_and_grays_for_others():
    colors = np.random.RandomState(0).rand(2, 40, 40, 3)
    assert grid(colors).shape == (42, 84, 3)
    np.testing.assert_array_equal(grid(colors)[1:41, 1:41], colors[0])
    assert np.ptp(grid(colors[..., :2]), axis=-1).max() == 0


# --- runs


def test_each_fit_of_a_search_has_a_run_of_its_own(tmp_path):
    net = sknn.MLPNetClassifier(**SMALL, max_iter=3, n_jobs=1)
    net.set_callbacks(TensorBoard(tmp_path, histograms_every=0))
    search = GridSearchCV(net, {"alpha": [0.0, 0.5]}, cv=2, n_jobs=2).fit(X, Y)
    found = runs(tmp_path)
    best = search.best_params_["alpha"]
    assert {0.0: 2, 0.5: 2} | {best: 3} == {
        alpha: sum(f"alpha={alpha}," in name for name in found) for alpha in (0.0, 0.5)
    }
    losses = [curve(run, "loss") for run in found.values()]
    assert all(steps == [1, 2, 3] for steps, _ in losses)
    assert len({tuple(values) for _, values in losses}) == 5  # different folds, or parameters
    refitted = np.float32(search.best_estimator_.loss_curve_)
    assert sum(np.allclose(values, refitted, rtol=1e-6) for _, values in losses) == 1


def test_fits_in_threads_do_not_mix(tmp_path):
    callback = TensorBoard(tmp_path, histograms_every=0)
    nets = [sknn.MLPNetClassifier(hidden_layer_sizes=(n,), max_iter=20) for n in (3, 4, 5, 6)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda net: net.set_callbacks(callback).fit(X, Y), nets))
    for net, (name, run) in zip(nets, runs(tmp_path).items(), strict=True):
        assert f"({net.hidden_layer_sizes[0]},)" in name
        np.testing.assert_allclose(curve(run, "loss")[1], net.loss_curve_, rtol=1e-6)


def test_fits_that_go_on_stay_in_their_run(tmp_path):
    net = sknn.MLPNetClassifier(**SMALL, max_iter=2).set_callbacks(TensorBoard(tmp_path))
    for _ in range(3):
        net.partial_fit(X, Y, classes=np.unique(Y))
    net.set_params(warm_start=True).fit(X, Y)
    (run,) = runs(tmp_path).values()
    steps, values = curve(run, "loss")
    assert steps == [1, 2, 3, 4, 5] and np.allclose(values, net.loss_curve_, rtol=1e-6)
    net.set_params(warm_start=False).fit(X, Y)
    net.fit(X, Y)
    found = runs(tmp_path)
    assert len(found) == 3 and [len(curve(run, "loss")[0]) for run in found.values()] == [5, 2, 2]


def test_names_of_runs_are_names_of_folders(tmp_path):
    folder = tmp_path / "a b" / "c"
    net = sknn.MLPNetRegressor(hidden_layer_sizes=(3, 2), max_iter=1, alpha=np.float64(0.25))
    net.set_params(initializer=[np.zeros((64, 3))]).set_callbacks(TensorBoard(folder)).fit(X, Y)
    (name,) = runs(folder)
    assert name == "MLPNetRegressor(alpha=0.25,hidden_layer_sizes=(3,2),max_iter=1)-1"
    name = new_run(folder, "a/b:c*" + "d" * 500).parent.name
    assert name.startswith("a_b_c_ddd") and len(name) < 130
    name = new_run(folder, f"Net({','.join(f'some_parameter={i}' for i in range(20))})").parent.name
    assert name.endswith(",some_parameter=5,...)-1") and len(name) < 130


# --- the callback itself


@pytest.mark.parametrize("dropout", [0, 0.3])
def test_a_fit_that_is_followed_has_the_same_bits(tmp_path, dropout):
    fitted = []
    for callbacks in ([], [TensorBoard(tmp_path, histograms_every=1, image_shape=(8, 8))]):
        np.random.seed(1)
        net = sknn.MLPNetClassifier(hidden_layer_sizes=(3,), dropout=dropout, max_iter=3)
        fitted.append(net.set_callbacks(*callbacks).fit(X, Y))
    for one, other in zip(fitted[0].coefs_, fitted[1].coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_callback_is_pickled_and_cloned_with_the_estimator(tmp_path):
    callback = TensorBoard(tmp_path, histograms_every=3, images_every=2, image_shape=[8, 8])
    net = sknn.MLPNetClassifier(**SMALL, max_iter=1).set_callbacks(callback).fit(X, Y)
    for other in (clone(net), pickle.loads(pickle.dumps(net))):
        other.fit(X, Y)
    copied = pickle.loads(pickle.dumps(callback))
    assert vars(copied).keys() == vars(callback).keys() and copied.image_shape == (8, 8, 1)
    assert len(runs(tmp_path)) == 3 and repr(copied) == f"TensorBoard({str(tmp_path)!r})"


def test_an_interrupted_epoch_leaves_whole_events(tmp_path):
    class Stop(Watcher):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            raise RuntimeError("stop")

    net = sknn.MLPNetClassifier(**SMALL).set_callbacks(TensorBoard(tmp_path), Stop(tmp_path))
    with pytest.raises(RuntimeError, match="stop"):
        net.fit(X, Y)
    (run,) = runs(tmp_path).values()
    assert curve(run, "loss")[0] == [1]
    assert not net._skl_callbacks[0]._fits


@pytest.mark.parametrize("missing", ["tensorboardX", "PIL", "PIL.Image"])
def test_missing_libraries_are_named_before_anything_is_trained(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    net = sknn.MLPNetClassifier(**SMALL).set_callbacks(TensorBoard(tmp_path))
    with pytest.raises(ImportError, match=r'pip install "sknn\[tensorboard\]"'):
        net.fit(X, Y)
    assert not hasattr(net, "coefs_") and not [*tmp_path.iterdir()]
    if missing != "tensorboardX":
        net.set_callbacks(TensorBoard(tmp_path, images_every=0))
        net.set_params(max_iter=1).fit(X, Y)


@pytest.mark.parametrize(
    "changed, error, message",
    [
        ({"log_dir": None}, TypeError, "NoneType"),
        ({"histograms_every": -1}, ValueError, "histograms_every is -1; expected an int"),
        ({"images_every": 1.5}, ValueError, "images_every is 1.5; expected an int"),
        ({"images_every": True}, ValueError, "images_every is True; expected an int"),
        ({"image_shape": (8,)}, ValueError, r"image_shape is \(8,\); expected \(height, width\)"),
        ({"image_shape": 8}, ValueError, "image_shape is 8; expected"),
        ({"image_shape": (8, 0)}, ValueError, r"image_shape is \(8, 0\); expected"),
    ],
)
def test_bad_parameters(changed, error, message):
    with pytest.raises(error, match=message):
        TensorBoard(**{"log_dir": "runs"} | changed)


def test_on_a_pipeline_it_says_where_to_set_it(tmp_path):
    pipe = make_pipeline(StandardScaler(), sknn.MLPNetClassifier(**SMALL))
    with pytest.raises(TypeError, match="Pipeline is not trained in epochs; .* the network itself"):
        pipe.set_callbacks(TensorBoard(tmp_path)).fit(X, Y)


def test_an_image_shape_that_does_not_fit(tmp_path):
    net = sknn.MLPNetClassifier(**SMALL, max_iter=1)
    net.set_callbacks(TensorBoard(tmp_path, image_shape=(7, 7)))
    with pytest.raises(ValueError, match=r"image_shape is \(7, 7, 1\); .* 64 features"):
        net.fit(X, Y)
