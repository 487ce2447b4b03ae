"""Displays: what they hold, against independent computations, and what they draw."""

import ast
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import sknn
from sknn import display as displays
from sknn.display import (
    ActivationMapDisplay,
    CodeDisplay,
    DecisionRegionDisplay,
    FilterDisplay,
    LatentGridDisplay,
    LossCurveDisplay,
    RadialUnitsDisplay,
    ReconstructionDisplay,
    SequenceReconstructionDisplay,
    TextProbabilityDisplay,
)
from sknn.display.base import contrast, network_in
from sknn.layers import BatchNormalization, Conv2D, Conv2DTranspose, Flatten, MaxPooling2D

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:80] / 16, Y[:80]
IMAGES = X.reshape(-1, 8, 8)
PLANE, MOON = make_moons(60, noise=0.1, random_state=0)
LINE = np.linspace(0, 1, 40)[:, None]
WAVE = np.sin(6 * LINE[:, 0])
TEXT = "she sells sea shells by the sea shore. " * 4
SMALL = {"max_iter": 3, "random_state": 0}


@pytest.fixture(autouse=True)
def no_figures_stay():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def mlp():
    net = sknn.MLPNetClassifier((5,), max_iter=4, learning_rate="cosine", random_state=0)
    return net.fit(X, Y, X_val=X[:20], y_val=Y[:20])


@pytest.fixture(scope="module")
def convnet():
    layers = [
        Conv2D(3, 3, activation="relu", name="edges"),
        MaxPooling2D(2),
        Conv2D(4, 2),
        BatchNormalization(),
        Flatten(),
    ]
    return sknn.ConvNetClassifier(layers, (8, 8), **SMALL).fit(X, Y)


@pytest.fixture(scope="module")
def autoencoder():
    return sknn.AutoencoderTransformer((4,), **SMALL).fit(X)


@pytest.fixture(scope="module")
def vae():
    return sknn.VariationalAutoencoderTransformer(
        2, 3, loss="log_loss", image_shape=(8, 8), **SMALL
    ).fit(X)


@pytest.fixture(scope="module")
def on_plane():
    return sknn.MLPNetClassifier((3,), "tanh", solver="lbfgs", random_state=0).fit(PLANE, MOON)


@pytest.fixture(scope="module")
def radial():
    return sknn.RBFNetRegressor(3, random_state=0).fit(LINE, WAVE)


@pytest.fixture(scope="module")
def chain():
    return sknn.CharMarkovChain(2, unknown="?").fit(TEXT)


def tile(pixels, line, column, height, width, gap=1):
    """Return one image of a mosaic."""
    top, left = line * (height + gap), column * (width + gap)
    return np.asarray(pixels)[top : top + height, left : left + width]


# --- the convention


def every_display(mlp, convnet, autoencoder, vae, on_plane, radial, chain):
    return {
        "LossCurveDisplay": (mlp,),
        "FilterDisplay": (convnet,),
        "ActivationMapDisplay": (convnet, IMAGES[0]),
        "ReconstructionDisplay": (vae, IMAGES[:3]),
        "SequenceReconstructionDisplay": (autoencoder, X[:4]),
        "CodeDisplay": (vae, X, Y),
        "LatentGridDisplay": (vae,),
        "RadialUnitsDisplay": (radial, LINE, WAVE),
        "DecisionRegionDisplay": (on_plane, PLANE, MOON),
        "TextProbabilityDisplay": (chain, "sea shore"),
    }


MORE = {
    "ReconstructionDisplay": {"samples": 3},
    "LatentGridDisplay": {"n": 3},
}
FITTED = ["mlp", "convnet", "autoencoder", "vae", "on_plane", "radial", "chain"]


@pytest.mark.parametrize("name", displays.__all__)
def test_displays_follow_the_convention(name, request):
    """Drawn anew on a figure, on axes in a grid, on axes in none; with the same data."""
    cls = getattr(displays, name)
    arguments = every_display(*map(request.getfixturevalue, FITTED))[name]
    display = cls.from_estimator(*arguments, **MORE.get(name, {}))
    assert type(display) is cls and display.figure_ is display.ax_.figure
    display.figure_.canvas.draw()
    first = vars(display).copy()
    figure, (left, right) = plt.subplots(1, 2)
    assert display.plot(ax=right) is display
    assert display.ax_ is right and display.figure_ is figure
    inside = right.get_position() if not hasattr(display, "axes_") else None
    for panel in getattr(display, "axes_", np.array([right])).flat:
        box = panel.get_position()
        assert panel.figure is figure and box.x0 >= left.get_position().x1
        assert inside is None or box.y1 <= inside.y1 + 1e-9
    loose = plt.figure().add_axes((0.5, 0.5, 0.4, 0.4))
    assert display.plot(loose).ax_ is loose
    for panel in getattr(display, "axes_", np.array([loose])).flat:
        assert panel.get_position().x0 >= 0.5 - 1e-9
    stored = [key for key in first if not key.endswith("_")]
    assert all(vars(display)[key] is first[key] for key in stored)
    redrawn = cls(**{key: first[key] for key in stored}).plot()  # all that it needs
    assert redrawn.figure_ is not display.figure_
    assert len(plt.get_fignums()) == 4


@pytest.mark.parametrize("name", displays.__all__)
def test_without_matplotlib_the_error_names_the_extra(name, request, monkeypatch):
    cls = getattr(displays, name)
    arguments = every_display(*map(request.getfixturevalue, FITTED))[name]
    display = cls.from_estimator(*arguments, **MORE.get(name, {}))
    with monkeypatch.context() as without:
        for module in [name for name in sys.modules if name.startswith("matplotlib")]:
            without.setitem(sys.modules, module, None)
        for draw in (display.plot, lambda: cls.from_estimator(*arguments)):
            with pytest.raises(ImportError, match=re.escape('pip install "sknn[plot]"')):
                draw()


UNFITTED = {
    "LossCurveDisplay": (sknn.MLPNetClassifier(), (), sknn.CharMarkovChain(1).fit("ab")),
    "FilterDisplay": (sknn.ConvNetClassifier(), (), sknn.CharMarkovChain(1).fit("ab")),
    "ActivationMapDisplay": (sknn.ConvNetClassifier(), (IMAGES[0],), PCA(2).fit(X)),
    "ReconstructionDisplay": (sknn.AutoencoderTransformer(), (X,), LogisticRegression().fit(X, Y)),
    "SequenceReconstructionDisplay": (
        sknn.SequenceAutoencoderTransformer(), (X,), LogisticRegression().fit(X, Y)
    ),
    "CodeDisplay": (sknn.AutoencoderTransformer(), (X,), LogisticRegression().fit(X, Y)),
    "LatentGridDisplay": (sknn.AutoencoderTransformer(), (X,), LogisticRegression().fit(X, Y)),
    "RadialUnitsDisplay": (sknn.RBFNetRegressor(), (LINE,), LogisticRegression().fit(X, Y)),
    "DecisionRegionDisplay": (sknn.MLPNetClassifier(), (PLANE,), PCA(2).fit(X)),
    "TextProbabilityDisplay": (sknn.CharRNN(), ("a",), PCA(2).fit(X)),
}  # fmt: skip


@pytest.mark.parametrize("name", displays.__all__)
def test_estimators_must_be_fitted_and_of_the_right_kind(name):
    net, data, other = UNFITTED[name]
    draw = getattr(displays, name).from_estimator
    with pytest.raises(NotFittedError):
        draw(net, *data)
    with pytest.raises(TypeError, match=f"{name}.from_estimator got .*; expected"):
        draw(other, *data)
    assert plt.get_fignums() == []


def test_the_network_is_found_in_other_estimators(mlp, autoencoder, convnet):
    scaler = StandardScaler().fit(X)
    pipeline = make_pipeline(scaler, FrozenEstimator(mlp)).fit(X, Y)
    net, seen = network_in(pipeline, X)
    assert net is mlp
    np.testing.assert_array_equal(seen, scaler.transform(X))
    assert network_in(make_pipeline(mlp), X) == (mlp, X)
    search = GridSearchCV(sknn.PerceptronClassifier(max_iter=2), {"shuffle": [True]}, cv=2)
    search.fit(X, Y)
    assert network_in(search)[0] is search.best_estimator_
    detector = sknn.ReconstructionOutlierDetector(FrozenEstimator(autoencoder)).fit(X)
    assert network_in(detector)[0] is autoencoder
    features = sknn.ConvNetTransformer(convnet).fit(X)
    assert network_in(features)[0] is features.net_


def test_text_is_readable_on_any_color():
    assert contrast([[1, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0.6, 1]]).tolist() == [
        "black", "white", "black"
    ]  # fmt: skip


# --- learning curves


def test_loss_curves_are_those_of_the_fit(mlp):
    display = LossCurveDisplay.from_estimator(mlp)
    history = mlp.history_
    pd.testing.assert_frame_equal(display.history, history)
    assert list(display.lines_) == ["loss", "validation_loss", "validation_score", "learning_rate"]
    for name, line in display.lines_.items():
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
        np.testing.assert_array_equal(line.get_ydata(), history[name])
    assert display.best_epoch == 1 + int(np.argmax(mlp.validation_scores_))
    assert [line.get_xdata()[0] for line in display.best_lines_] == [display.best_epoch] * 3
    assert [a.get_ylabel() for a in display.axes_.flat] == [
        "loss", "validation score", "learning rate"
    ]  # fmt: skip
    legend = [text.get_text() for text in display.axes_[0, 0].get_legend().get_texts()]
    assert legend == ["training", "validation", f"best epoch, {display.best_epoch}"]
    assert display.axes_[-1, 0].get_xlabel() == "epoch"


def test_the_best_epoch_is_the_one_that_early_stopping_keeps():
    net = sknn.MLPNetClassifier((5,), early_stopping=True, n_iter_no_change=4, **SMALL)
    net.set_params(max_iter=30).fit(X, Y)
    best = LossCurveDisplay.from_estimator(net).best_epoch
    assert net.validation_scores_[best - 1] == net.best_validation_score_
    assert max(net.validation_scores_[: best - 1], default=-1) < net.best_validation_score_


def test_curves_can_be_chosen_and_come_from_anywhere(mlp):
    figure, panel = plt.subplots()
    display = LossCurveDisplay.from_estimator(mlp, curves="loss", ax=panel)
    assert display.axes_.tolist() == [[panel]] and list(display.lines_) == [
        "loss",
        "validation_loss",
    ]
    figure, panels = plt.subplots(2, sharex=True)
    display = LossCurveDisplay.from_estimator(mlp, curves=["score", "loss"], ax=panels)
    assert display.axes_[:, 0].tolist() == panels.tolist() and display.ax_ is None
    neuron = sknn.PerceptronClassifier(max_iter=3, random_state=0).fit(X, Y)
    display = LossCurveDisplay.from_estimator(neuron)
    np.testing.assert_array_equal(display.lines_["errors"].get_ydata(), neuron.errors_)
    assert display.best_epoch is None and display.best_lines_ == []
    with pytest.raises(ValueError, match="expected some of .'loss', 'score', 'learning_rate'"):
        LossCurveDisplay.from_estimator(mlp, curves="accuracy")
    with pytest.raises(ValueError, match="ax has 2 axes; expected one, or 3"):
        LossCurveDisplay.from_estimator(mlp, ax=panels)
    with pytest.raises(ValueError, match="history has no curves"):
        LossCurveDisplay.from_history({})


def test_scales_are_logarithmic_where_values_differ_much(vae):
    curves = {"loss": [10.0, 1.0, 0.1], "learning_rate": [0.1, 0.1, 0.1]}
    display = LossCurveDisplay.from_history(curves)
    assert display.axes_.shape == (1, 1)  # a constant rate says nothing
    assert display.axes_[0, 0].get_yscale() == "log"
    display.figure_.canvas.draw()
    labels = {text.get_text() for text in display.axes_[0, 0].get_yticklabels()}
    assert {"0.1", "1", "10"} <= labels
    assert display.plot(yscale="linear").axes_[0, 0].get_yscale() == "linear"
    for rates, scale in {(0.1, 0.01): "log", (0.1, 0.05, 1e-8): "linear"}.items():
        display = LossCurveDisplay.from_history({"learning_rate": rates}, curves="learning_rate")
        assert display.ax_.get_yscale() == scale
    axis = display.plot(yscale="log").ax_.yaxis  # over many powers of ten
    assert len(axis.get_majorticklocs()) > 3
    assert (
        LossCurveDisplay.from_history({"loss": [10.0, -1.0]}).axes_[0, 0].get_yscale() == "linear"
    )
    with pytest.raises(ValueError, match="yscale is 'symlog'; expected one of"):
        display.plot(yscale="symlog")
    assert list(LossCurveDisplay.from_estimator(vae).lines_)[:3] == ["loss", "reconstruction", "kl"]


def test_validation_that_began_later_leaves_a_gap():
    display = LossCurveDisplay.from_history(
        {"loss": [3, 2, 1], "validation_loss": [np.nan, 1.0, 2.0]}
    )
    assert display.best_epoch == 2
    np.testing.assert_array_equal(display.lines_["validation_loss"].get_ydata(), [np.nan, 1, 2])


# --- filters and maps


def test_filters_are_the_kernel_of_a_layer(convnet):
    display = FilterDisplay.from_estimator(convnet)
    kernel = convnet.weights_["edges"]["kernel"]
    pixels = display.im_.get_array()
    for i in range(3):
        np.testing.assert_array_equal(tile(pixels, 0, i, 3, 3), kernel[:, :, 0, i])
    assert np.ma.getmaskarray(pixels)[:, 3].all()  # the gap
    limit = np.abs(kernel).max()
    np.testing.assert_allclose(display.im_.get_clim(), (-limit, limit))
    assert display.colorbar_.ax.get_ylabel() == "weight"

    display = FilterDisplay.from_estimator(convnet, layer=2, vmax=0.1)
    kernel = convnet.weights_["layers.2"]["kernel"]
    pixels = display.im_.get_array()
    assert pixels.shape == (2, 4 * 3 - 1, 4)
    scale = np.abs(kernel).max()
    np.testing.assert_allclose(
        tile(pixels, 0, 1, 2, 2)[..., :3], 0.5 + kernel[..., 1] / (2 * scale), atol=1e-6
    )
    assert (pixels[:, 2, 3] == 0).all() and (pixels[:, :2, 3] == 1).all()
    assert display.colorbar_ is None

    display = FilterDisplay.from_estimator(convnet, layer=-4, channels="each", vmax=0.1)
    pixels = display.im_.get_array()
    for channel, i in np.ndindex(3, 4):
        np.testing.assert_array_equal(tile(pixels, channel, i, 2, 2), kernel[:, :, channel, i])
    assert display.im_.get_clim() == (-0.1, 0.1)
    display = FilterDisplay.from_estimator(convnet, layer="layers.2", channels="mean")
    np.testing.assert_allclose(
        tile(display.im_.get_array(), 0, 3, 2, 2), kernel[..., 3].mean(axis=2), atol=1e-7
    )


def test_weights_of_dense_units_are_images(mlp, autoencoder):
    display = FilterDisplay.from_estimator(mlp, image_shape=(8, 8), n_columns=3)
    pixels = display.im_.get_array()
    for unit in range(5):
        found = tile(pixels, *divmod(unit, 3), 8, 8)
        np.testing.assert_array_equal(found, mlp.coefs_[0][:, unit].reshape(8, 8))
    assert np.ma.getmaskarray(pixels)[9:, 18:].all()
    display = FilterDisplay.from_estimator(autoencoder, layer="decoder_1", image_shape=(8, 8))
    decoder = autoencoder.weights_["decoder_1"]["kernel"]
    found = tile(display.im_.get_array(), 0, 2, 8, 8)
    np.testing.assert_allclose(found, decoder[2].reshape(8, 8))
    neuron = sknn.PerceptronClassifier(max_iter=3, random_state=0).fit(X, Y)
    display = FilterDisplay.from_estimator(neuron, image_shape=(8, 8))
    found = tile(display.im_.get_array(), 0, 7, 8, 8)
    np.testing.assert_array_equal(found, neuron.coef_[7].reshape(8, 8))
    assert [text.get_text() for text in display.ax_.texts] == [str(i) for i in range(10)]


def test_centers_and_transposed_convolutions_are_images():
    net = sknn.RBFNetClassifier(6, random_state=0).fit(X, Y)
    display = FilterDisplay.from_estimator(net, image_shape=(8, 8))
    np.testing.assert_allclose(
        tile(display.im_.get_array(), 0, 5, 8, 8), net.centers_[5].reshape(8, 8)
    )
    assert display.im_.get_cmap().name == "gray_r" and not display.symmetric
    net = sknn.ConvAutoencoderTransformer(
        [Conv2D(3, 2, strides=2)], [Conv2DTranspose(1, 2, strides=2)], (8, 8), **SMALL
    ).fit(X[:20])
    kernel = net.weights_["layers.1"]["kernel"]  # its filters come before its channels
    assert kernel.shape == (2, 2, 1, 3)
    display = FilterDisplay.from_estimator(net, layer=-1, channels="each")
    for channel in range(3):
        found = tile(display.im_.get_array(), channel, 0, 2, 2)
        np.testing.assert_array_equal(found, kernel[:, :, 0, channel])


def test_filters_that_are_no_images_are_errors(mlp, convnet):
    with pytest.raises(ValueError, match="64 features and image_shape is None; expected"):
        FilterDisplay.from_estimator(mlp)
    with pytest.raises(ValueError, match=r"image_shape=\(7, 8\) needs 56"):
        FilterDisplay.from_estimator(mlp, image_shape=(7, 8))
    with pytest.raises(ValueError, match=r"layer 'layers.1' has no kernel; expected one of \['edg"):
        FilterDisplay.from_estimator(convnet, layer=1)
    with pytest.raises(ValueError, match="layer is 'nose'; expected one of"):
        FilterDisplay.from_estimator(convnet, layer="nose")
    with pytest.raises(TypeError, match="layer is 'layers.0'; expected an index in coefs_"):
        FilterDisplay.from_estimator(mlp, layer="layers.0", image_shape=(8, 8))
    with pytest.raises(ValueError, match="channels='rgb' needs filters of 3 channels, got 1"):
        FilterDisplay.from_estimator(convnet, channels="rgb")
    with pytest.raises(ValueError, match="n_columns is 0; expected an int of at least 1"):
        FilterDisplay.from_estimator(convnet, n_columns=0)


@pytest.mark.parametrize("image", [X[3], IMAGES[3], IMAGES[3][..., None], IMAGES[3:4], X[3:4]])
def test_activation_maps_are_the_activations(convnet, image):
    display = ActivationMapDisplay.from_estimator(convnet, image)
    assert list(display.maps) == ["edges", "layers.3"]  # the latter is the normalization
    maps = convnet.activations(X[3:4], "edges")
    np.testing.assert_array_equal(display.maps["edges"], maps)
    np.testing.assert_array_equal(display.maps["layers.3"], convnet.activations(X[3:4], 3))
    for i in range(3):
        found = tile(display.ims_[0].get_array(), 0, i, 6, 6)
        np.testing.assert_array_equal(found, maps[0, ..., i])
    np.testing.assert_allclose(display.ims_[0].get_clim(), (0, maps.max()))
    signed = np.abs(display.maps["layers.3"]).max()
    np.testing.assert_allclose(display.ims_[1].get_clim(), (-signed, signed))
    titles = [panel.get_title(loc="left") for panel in display.axes_[:, 1]]
    assert titles == ["edges: 3 maps, 6 × 6", "layers.3: 4 maps, 2 × 2"]
    np.testing.assert_array_equal(display.axes_[0, 0].images[0].get_array(), IMAGES[3])


def test_maps_of_several_images_have_a_line_each(convnet):
    display = ActivationMapDisplay.from_estimator(
        convnet, IMAGES[:4], layers=-5, n_maps=2, scale="map"
    )
    ((name, maps),) = display.maps.items()
    pixels = display.ims_[0].get_array()
    for image, i in np.ndindex(4, 2):
        one = maps[image, ..., i]
        np.testing.assert_allclose(tile(pixels, image, i, *one.shape), one / np.abs(one).max())
    assert display.axes_[0, 1].get_title(loc="left").startswith(f"{name}: 2 of ")


def test_layers_without_maps_are_errors(convnet):
    with pytest.raises(ValueError, match="expected a layer whose outputs are images"):
        ActivationMapDisplay.from_estimator(convnet, IMAGES[0], layers="layers.4")
    with pytest.raises(ValueError, match="X has the shape|X has 10 features|features"):
        ActivationMapDisplay.from_estimator(convnet, np.zeros(10))
    with pytest.raises(
        ValueError, match=r"maps of a have the shape \(1, 2\); expected \(1, height"
    ):
        ActivationMapDisplay(images=IMAGES[:1], maps={"a": np.zeros((1, 2))}).plot()
    flat = sknn.ConvNetClassifier([Flatten()], (8, 8), **SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="No layer with weights has images as outputs"):
        ActivationMapDisplay.from_estimator(flat, IMAGES[0])


# --- reconstructions


def test_reconstructions_lie_beside_their_originals(autoencoder):
    noisy = X[:20] + 0.1
    display = ReconstructionDisplay.from_estimator(
        autoencoder, X[:20], X_noisy=noisy, image_shape=(8, 8), samples=[3, 7], labels=Y[:20]
    )
    found = autoencoder.reconstruct(noisy)
    errors = np.mean((found - X[:20]) ** 2, axis=1)
    np.testing.assert_allclose(display.errors["reconstruction"], errors)
    pixels = display.im_.get_array()
    for line, images in enumerate([X, noisy, found]):
        for column, sample in enumerate([3, 7]):
            top = line * (8 + 3)  # gaps have room for captions
            part = pixels[top : top + 8, column * 9 : column * 9 + 8]
            np.testing.assert_allclose(part, images[sample].reshape(8, 8))
    lines = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert lines == ["original", "noisy", f"reconstruction\nMSE {errors.mean():.2f}"]
    assert [text.get_text() for text in display.text_] == [f"{errors[i]:.2f}" for i in (3, 7)]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == [str(Y[3]), str(Y[7])]


def test_several_models_are_compared_and_pipelines_go_back(autoencoder):
    pca = make_pipeline(MinMaxScaler(), PCA(3, random_state=0)).fit(X)
    found = pca.inverse_transform(pca.transform(X))
    display = ReconstructionDisplay.from_estimator(pca, X, image_shape=(8, 8), show_errors=False)
    np.testing.assert_array_equal(
        display.reconstructions["reconstruction"][..., 0].reshape(X.shape), found
    )
    assert display.text_ == []
    both = {"components": found, "network": autoencoder.reconstruct(X)}
    display = ReconstructionDisplay.from_predictions(X, both, image_shape=(8, 8), samples=4)
    assert list(display.errors) == ["components", "network"]
    assert display.im_.get_array().shape == (3 * 8 + 2 * 3, 4 * 9 - 1)
    detector = sknn.ReconstructionOutlierDetector(FrozenEstimator(autoencoder))
    scaled = make_pipeline(MinMaxScaler((0, 2)), detector).fit(X)
    display = ReconstructionDisplay.from_estimator(scaled, X, image_shape=(8, 8))
    inner = scaled[0].transform(X)  # it cannot go back: what the network sees
    np.testing.assert_array_equal(display.originals[..., 0].reshape(X.shape), inner)
    np.testing.assert_array_equal(
        display.reconstructions["reconstruction"].reshape(X.shape), autoencoder.reconstruct(inner)
    )


def test_colors_are_within_the_range_of_the_originals():
    colors = np.random.RandomState(0).randint(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    display = ReconstructionDisplay.from_predictions(colors, colors + 0.0, samples=2)
    pixels = display.im_.get_array()
    np.testing.assert_allclose(pixels[:4, :4, :3], colors[0] / 255)
    assert (pixels[:4, 4, 3] == 0).all()
    for wrong, match in (
        (X[:2], "64 features and image_shape is None"),
        (np.zeros((2, 4, 4, 2)), "have 2 channels; expected 1, or 3"),
        (np.zeros((2, 3, 4, 3)), "expected .2, 4, 4, 3., that of the originals"),
        (np.array([["a"]]), "expected numbers"),
        (np.zeros(3), "expected .n, features."),
    ):
        with pytest.raises(ValueError, match=match):
            ReconstructionDisplay.from_predictions(wrong if "orig" not in match else colors, wrong)
    with pytest.raises(ValueError, match="samples is 0; expected at least one sample"):
        ReconstructionDisplay.from_predictions(colors, colors, samples=0)


def test_sequences_are_drawn_as_curves(autoencoder):
    ragged = [np.arange(n, dtype=float) for n in (2, 5, 3)]
    found = [x * 0.5 for x in ragged]
    display = SequenceReconstructionDisplay.from_predictions(
        ragged, found, samples=[1, 2], labels=["a", "b", "c"]
    )
    np.testing.assert_allclose(display.errors, [np.mean((x / 2) ** 2) for x in ragged])
    drawn = [line.get_ydata().tolist() for line in display.lines_]
    assert drawn == [some[i].tolist() for i in (1, 2) for some in (ragged, found)]
    assert [panel.get_title() for panel in display.axes_.flat] == ["b, MSE 1.50", "c, MSE 0.42"]
    assert display.axes_[0, 1].get_xlim()[1] > 4  # as long as the longest
    display = SequenceReconstructionDisplay.from_estimator(autoencoder, X[:5])
    assert display.axes_.shape == (2, 3) and not display.axes_[1, 2].axison
    np.testing.assert_allclose(display.errors, -autoencoder.score_samples(X[:5]), rtol=1e-5)
    with pytest.raises(ValueError, match=r"Sequence 1 has the shape \(5,\), its .* \(3,\)"):
        SequenceReconstructionDisplay.from_predictions(ragged, [ragged[0], ragged[2], ragged[2]])
    with pytest.raises(ValueError, match="There are 2 reconstructions; expected 3"):
        SequenceReconstructionDisplay.from_predictions(ragged, ragged[:2])


# --- codes


def test_codes_lie_where_the_encoder_puts_them(vae):
    display = CodeDisplay.from_estimator(vae, X, Y)
    codes = vae.transform(X)
    np.testing.assert_array_equal(display.places, codes)
    for digit, points in enumerate(display.points_):
        np.testing.assert_allclose(points.get_offsets(), codes[Y == digit])
    assert [text.get_text() for text in display.text_] == [str(i) for i in range(10)]
    np.testing.assert_allclose(display.text_[4].get_position(), np.median(codes[Y == 4], axis=0))
    colors = {tuple(points.get_facecolor()[0]) for points in display.points_}
    assert len(colors) == 10 and display.colorbar_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("code 1", "code 2")


def test_larger_codes_are_reduced(autoencoder):
    display = CodeDisplay.from_estimator(autoencoder, X, X.mean(axis=1), label="ink")
    codes = autoencoder.transform(X)
    pca = PCA(2, random_state=0).fit(codes)
    np.testing.assert_allclose(display.places, pca.transform(codes), atol=1e-6)
    shares = pca.explained_variance_ratio_
    assert display.names[1] == f"principal component 2 ({shares[1]:.0%} of variance)"
    np.testing.assert_array_equal(display.points_[0].get_array(), X.mean(axis=1))
    assert display.colorbar_.ax.get_ylabel() == "ink"
    scaled = make_pipeline(StandardScaler(), PCA(2, random_state=0))
    display = CodeDisplay.from_predictions(codes, reducer=scaled)
    assert display.names == ["Pipeline 1", "Pipeline 2"] and len(display.points_) == 1
    assert not hasattr(scaled[0], "mean_")  # a clone was fitted
    with pytest.raises(ValueError, match="one dimension; expected at least 2"):
        CodeDisplay.from_predictions(codes[:, :1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CodeDisplay.from_predictions(codes, Y[:3])
    with pytest.raises(ValueError, match=r"array of shape \(80, 3\); expected \(80, 2\)"):
        CodeDisplay.from_predictions(codes, reducer=PCA(3))


def test_the_grid_is_decoded_from_quantiles_or_from_the_range_of_codes(vae, autoencoder):
    display = LatentGridDisplay.from_estimator(vae, n=3)
    ends = norm.ppf([0.02, 0.5, 0.98])
    np.testing.assert_allclose(display.across, ends)
    pixels = display.im_.get_array()
    for line, column in np.ndindex(3, 3):  # the largest second code is at the top
        wanted = vae.inverse_transform([[ends[column], ends[2 - line]]]).reshape(8, 8)
        np.testing.assert_allclose(tile(pixels, line, column, 8, 8), wanted, rtol=1e-5)
    ticks = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert ticks == ["2.05", "0", "−2.05"]

    codes = autoencoder.transform(X)
    display = LatentGridDisplay.from_estimator(
        autoencoder, X, n=2, components=(3, 1), image_shape=(8, 8)
    )
    low, high = np.percentile(codes, [2, 98], axis=0)
    code = np.median(codes, axis=0)
    code[3], code[1] = low[3], high[1]
    np.testing.assert_allclose(
        tile(display.im_.get_array(), 0, 0, 8, 8),
        autoencoder.inverse_transform(code[None]).reshape(8, 8), rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    assert display.names == ["code 4", "code 2"]
    with pytest.raises(ValueError, match="X is None; the grid of this estimator"):
        LatentGridDisplay.from_estimator(autoencoder)
    for wrong in ((0, 0), (0, 4), 1, (0, -4)):
        with pytest.raises(ValueError, match="expected two different dimensions of a code of 4"):
            LatentGridDisplay.from_estimator(autoencoder, X, components=wrong)
    with pytest.raises(ValueError, match="n is 0; expected an int"):
        LatentGridDisplay.from_estimator(vae, n=0, image_shape=(8, 8))


# --- units


@pytest.mark.parametrize("function", ["gaussian", "thin_plate"])
def test_radial_units_add_up_to_the_prediction(function):
    net = sknn.RBFNetRegressor(3, function, random_state=0).fit(LINE, WAVE)
    display = RadialUnitsDisplay.from_estimator(net, LINE, WAVE, grid_resolution=9)
    x = np.linspace(0, 1, 9)
    np.testing.assert_allclose(display.total, net.predict(x[:, None]), atol=1e-9)
    np.testing.assert_array_equal(display.line_.get_ydata(), display.total)
    square = ((x[:, None] - net.centers_[:, 0]) / net.widths_) ** 2
    log = np.log(np.where(square > 0, square, 1))
    values = np.exp(-square / 2) if function == "gaussian" else square * log / 2
    for i, line in enumerate(display.unit_lines_):
        np.testing.assert_allclose(
            line.get_ydata(), values[:, i] * net.coef_[i], rtol=1e-6, atol=1e-9
        )
    np.testing.assert_array_equal(display.points_.get_ydata(), WAVE)
    assert display.intercept_line_.get_ydata()[0] == net.intercept_


def test_radial_units_of_a_classifier_and_in_a_pipeline():
    labels = np.where(WAVE > 0.5, "high", np.where(WAVE < -0.5, "low", "mean"))
    frame = pd.DataFrame({"time": LINE[:, 0]})
    net = sknn.RBFNetClassifier(4, random_state=0)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), net).fit(
        frame, labels
    )
    display = RadialUnitsDisplay.from_estimator(pipeline, frame, labels, target=1, legend=False)
    np.testing.assert_array_equal(display.y, labels == "low")
    assert display.names == ["time", "output"] and display.ax_.get_legend() is None
    seen = pipeline[0].transform(frame)
    assert display.x[0] == pytest.approx(seen["time"].min())
    wanted = net.activations(pd.DataFrame({"time": display.x}), -1)[:, 1]
    np.testing.assert_allclose(display.total, wanted, atol=1e-9)
    with pytest.raises(ValueError, match="target is 3; expected one of 3 outputs"):
        RadialUnitsDisplay.from_estimator(pipeline, frame, target=3)
    flat = sknn.RBFNetClassifier(4, random_state=0).fit(PLANE, MOON)
    with pytest.raises(ValueError, match="fitted to 2 features; expected 1. For 2, Decision"):
        RadialUnitsDisplay.from_estimator(flat, PLANE)
    display = DecisionRegionDisplay.from_estimator(flat, PLANE, MOON)
    found = [(*circle.center, circle.radius) for circle in display.circles_]
    np.testing.assert_allclose(found, np.column_stack([flat.centers_, flat.widths_]))
    assert display.unit_lines_ == []


def test_lines_are_where_hidden_units_are_zero(on_plane):
    display = DecisionRegionDisplay.from_estimator(on_plane, PLANE, MOON)
    for unit, line in enumerate(display.unit_lines_):
        points = np.array([line.get_xy1(), line.get_xy2()])
        np.testing.assert_allclose(on_plane.activations(points, 0)[:, unit], 0, atol=1e-9)
    regions = display.regions
    grid = np.column_stack([regions.xx0.ravel(), regions.xx1.ravel()])
    np.testing.assert_array_equal(regions.response.ravel(), on_plane.predict(grid))
    for label, points in enumerate(display.points_):
        np.testing.assert_allclose(points.get_offsets(), PLANE[MOON == label])
    assert display.ax_.get_xlim() == (regions.xx0.min(), regions.xx0.max())
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["units", "0", "1"]


def test_regions_of_several_kinds():
    labels = np.array(["a", "b", "c"])[np.digitize(PLANE[:, 0], [0, 1])]
    frame = pd.DataFrame(PLANE, columns=["width", "height"])
    normalized = sknn.MLPNetClassifier((3,), batch_norm=True, activation="identity", **SMALL)
    normalized.fit(frame, labels)
    display = DecisionRegionDisplay.from_estimator(normalized, frame, labels)
    assert display.ax_.get_xlabel() == "width" and len(display.points_) == 3
    for unit, line in enumerate(display.unit_lines_):
        points = pd.DataFrame([line.get_xy1(), line.get_xy2()], columns=frame.columns)
        np.testing.assert_allclose(normalized.activations(points, 0)[:, unit], 0, atol=1e-6)
    np.testing.assert_allclose(
        display.points_[1].get_facecolor()[0], display.regions.multiclass_colors_[1]
    )
    number = sknn.MLPNetRegressor(hidden_layer_sizes=(2,), solver="lbfgs", random_state=0).fit(
        PLANE, PLANE[:, 0]
    )
    display = DecisionRegionDisplay.from_estimator(number, PLANE, PLANE[:, 0])
    assert display.points_[0].norm is display.surface_.norm
    neuron = sknn.PerceptronClassifier(random_state=0, max_iter=5).fit(PLANE, MOON)
    display = DecisionRegionDisplay.from_estimator(
        neuron, PLANE, response_method="decision_function"
    )
    np.testing.assert_array_equal(display.lines, [[*neuron.coef_[0], neuron.intercept_[0]]])
    with pytest.raises(ValueError, match="X has 64 features; expected 2"):
        DecisionRegionDisplay.from_estimator(neuron, X)
    neuron.coef_[:] = 0  # a line without a direction is none
    assert DecisionRegionDisplay.from_estimator(neuron, PLANE).unit_lines_ == []


# --- text


@pytest.fixture(scope="module")
def rnn():
    return sknn.CharRNN("gru", 3, boundaries=True, **SMALL).fit([TEXT, TEXT])


@pytest.mark.parametrize("name", ["chain", "rnn"])
def test_each_character_has_its_probability(name, request):
    model = request.getfixturevalue(name)
    text, prime = "shells\nby the".replace("\n", " "), "she sells "
    display = TextProbabilityDisplay.from_estimator(model, text, prime=prime, width=8)
    column = {character: i for i, character in enumerate(model.vocabulary_)}
    wanted = [
        model.predict_proba([prime + text[:i]])[0, column[character]]
        for i, character in enumerate(text)
    ]
    np.testing.assert_allclose(display.probabilities, wanted, rtol=1e-5)
    boxes = display.mesh_.get_array()
    np.testing.assert_allclose(boxes[0], wanted[:8], rtol=1e-5)
    np.testing.assert_allclose(boxes[2, :5], wanted[8:], rtol=1e-5)
    assert np.ma.getmaskarray(boxes)[[1, 3]].all() and np.ma.getmaskarray(boxes)[2, 5:].all()
    assert "".join(t.get_text() or " " for t in display.text_) == text
    assert display.colorbar_.ax.get_xlabel() == "probability"


def test_the_model_writes_the_text_itself(chain):
    display = TextProbabilityDisplay.from_estimator(
        chain, prime="she ", n_chars=12, temperature=0.5, top_k=2, random_state=3
    )
    assert display.text == chain.sample(12, "she ", 0.5, 2, 3)
    whole = TextProbabilityDisplay.from_estimator(chain, "she sells")
    score = np.log(whole.probabilities[1:]).mean()  # the first character is not scored
    assert score == pytest.approx(chain.score("she sells"))


def test_alternatives_and_surprise():
    vocabulary = ["a", "b", " ", ""]
    table = np.array([[0.5, 0.25, 0.25, 0], [0.1, 0.2, 0.3, 0.4], [0, 0.0, 1, 0]])
    display = TextProbabilityDisplay.from_predictions(
        "a\nz".replace("\n", "b"), table, vocabulary=vocabulary, unknown="b", alternatives=2,
        scale="surprise",
    )  # fmt: skip
    np.testing.assert_array_equal(display.probabilities, [0.5, 0.2, 0])
    assert display.alternatives.tolist() == [["a", "b"], ["", " "], [" ", "a"]]
    np.testing.assert_array_equal(display.alternative_probabilities[1], [0.4, 0.3])
    bits = display.mesh_.get_array()[0]
    np.testing.assert_allclose(bits, [1, -np.log2(0.2), -np.log2(0.2)])  # the most that is finite
    written = [text.get_text() for text in display.text_]
    assert written == ["a", "b", "z", "a", "⊣", "␣", "b", "␣", "a"]
    assert display.colorbar_.ax.get_xlabel() == "surprise (bits)"


def test_lines_end_at_newlines_and_formulas_are_text():
    display = TextProbabilityDisplay.from_predictions("a$\n$b", [0.1, 0.2, 0.3, 0.4, 0.5], width=3)
    boxes = display.mesh_.get_array()
    assert boxes.shape == (4, 3)
    np.testing.assert_array_equal(boxes[2, :2], [0.4, 0.5])
    assert not any(text.get_parse_math() for text in display.text_)
    assert display.text_[2].get_text() == "↵"


def test_wrong_text_is_an_error(chain):
    draw = TextProbabilityDisplay.from_predictions
    for arguments, options, match in (
        (("ab", [0.5]), {}, r"probabilities has the shape \(1,\); expected \(2,\)"),
        (("a", [1.5]), {}, r"not in \[0, 1\]"),
        (("a", [np.nan]), {}, r"not in \[0, 1\]"),
        (("", []), {}, "text is empty"),
        (("a", [0.5]), {"alternatives": 1}, "alternatives is 1, which needs"),
        (("a", [0.5]), {"alternatives": -1}, "alternatives is -1; expected an int"),
        (("a", [0.5]), {"width": 0}, "width is 0; expected an int"),
        (("a", [0.5]), {"scale": "bits"}, "scale is 'bits'; expected one of"),
        (("a", [[0.5, 0.5]]), {}, r"expected \(1,\), or \(1, n_vocabulary\)"),
        (("a", [[0.5, 0.5]]), {"vocabulary": ["b", "c"]}, "text has 'a', which is not in"),
    ):
        with pytest.raises(ValueError, match=match):
            draw(*arguments, **options)
    with pytest.raises(TypeError, match="text is of the type list; expected a str"):
        TextProbabilityDisplay.from_estimator(chain, ["a"])
    with pytest.raises(ValueError, match="text is empty"):
        TextProbabilityDisplay.from_estimator(chain, "")


def test_importing_displays_does_not_import_matplotlib():
    for path in Path(displays.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in getattr(node, "names", ())]
            assert "matplotlib" not in " ".join([*names, getattr(node, "module", None) or ""])


def test_long_names_are_not_cut_off():
    """Already when the figure is drawn for the first time."""
    images = np.zeros((20, 8, 8))
    found = {"convolutional, 8": images, **dict.fromkeys("abcd", images)}
    display = ReconstructionDisplay.from_predictions(images, found)
    display.figure_.draw_without_rendering()
    assert display.ax_.get_tightbbox().x0 > 0


def test_images_are_at_the_height_of_their_maps():
    """Also if layers have different numbers of maps."""
    images = np.zeros((4, 16, 16, 1))
    maps = {"few": np.ones((4, 16, 16, 8)), "many": np.ones((4, 8, 8, 16))}
    display = ActivationMapDisplay(images=images, maps=maps).plot()
    display.figure_.draw_without_rendering()
    for line in display.axes_:
        given, found = (panel.get_window_extent().height for panel in line)
        assert abs(given / found - 1) < 0.1

# --- odd data


def test_more_than_ten_classes_have_colors():
    y = np.arange(60) % 12
    shown = CodeDisplay.from_predictions(PLANE, y)
    colors = {tuple(points.get_facecolor()[0]) for points in shown.points_}
    assert len(colors) == len(shown.text_) == 12
    assert CodeDisplay.from_predictions(PLANE, [f"class {i % 30}" for i in range(60)]).text_ == []
    net = sknn.MLPNetClassifier((3,), **SMALL).fit(PLANE, y)
    shown = DecisionRegionDisplay.from_estimator(net, PLANE, y, grid_resolution=10)
    assert len(shown.points_) == 12


@pytest.mark.filterwarnings("error")
def test_regions_of_one_class_and_of_a_decision_function():
    one = sknn.MLPNetClassifier((3,), max_iter=300, tol=1, random_state=0).fit(PLANE, MOON * 0)
    DecisionRegionDisplay.from_estimator(one, PLANE, MOON * 0, grid_resolution=10)
    neuron = sknn.PerceptronClassifier(random_state=0).fit(PLANE, MOON)
    shown = DecisionRegionDisplay.from_estimator(
        neuron, PLANE, MOON, response_method="decision_function", grid_resolution=10
    )
    assert shown.surface_.norm(0.0) == pytest.approx(0.5)  # white is where it decides


def test_what_is_not_finite_does_not_set_the_scale():
    filters = np.linspace(-1, 1, 40).reshape(4, 2, 5)
    filters[1], filters[2, 0, 0] = np.nan, np.inf
    assert FilterDisplay(filters=filters).plot().im_.get_clim() == (-1, 1)
    maps = {"lost": np.full((1, 2, 2, 3), np.nan), "kept": np.ones((1, 2, 2, 3))}
    lost, kept = ActivationMapDisplay(images=IMAGES[:1], maps=maps).plot().ims_
    assert lost.get_clim() == kept.get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("curve", "least"), [([1.0, 0.05], 3), (10.0 ** -np.arange(12), 4), ([1, 10, 1e30, np.inf], 4)]
)
def test_wide_scales_have_ticks(curve, least):
    shown = LossCurveDisplay.from_history({"loss": curve})
    (ax,) = shown.axes_.flat
    shown.figure_.canvas.draw()
    low, high = ax.get_ylim()
    labels = [text for text in ax.get_yticklabels() if low <= text.get_position()[1] <= high]
    assert sum(bool(label.get_text()) for label in labels) >= least


def test_a_single_epoch_is_a_whole_number():
    shown = LossCurveDisplay.from_history({"loss": [1.0]})
    shown.figure_.canvas.draw()
    low, high = shown.ax_.get_xlim()
    assert [tick for tick in shown.ax_.get_xticks() if low <= tick <= high] == [1]


def test_names_fit():
    shown = FilterDisplay(filters=IMAGES[:6], names=["a very long name of a class"] * 6).plot()
    shown.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in shown.ax_.texts]
    assert all(one.x1 <= other.x0 for one, other in zip(boxes, boxes[1:]))
    many = FilterDisplay(filters=np.zeros((200, 2, 2, 100))).plot().ax_
    for labels in (many.get_xticklabels(), many.get_yticklabels()):
        assert 5 < sum(bool(label.get_text()) for label in labels) < 40


@pytest.mark.filterwarnings("error")
def test_equal_codes_have_no_variance():
    shown = CodeDisplay.from_predictions(np.ones((5, 3)))
    assert shown.names[0] == "principal component 1 (0% of variance)"


def test_styles_have_the_names_that_matplotlib_knows(mlp, autoencoder):
    shown = LossCurveDisplay.from_estimator(mlp, lw=3, c="k")
    assert shown.lines_["loss"].get_linewidth() == 3 and shown.lines_["loss"].get_color() == "k"
    shown = SequenceReconstructionDisplay.from_estimator(autoencoder, X, lw=3)
    assert shown.lines_[1].get_linewidth() == 3
    net = sknn.RBFNetRegressor(3, random_state=0).fit(LINE, WAVE)
    lines = RadialUnitsDisplay.from_estimator(net, LINE, ls=":").unit_lines_
    assert lines[0].get_linestyle() == ":"
    points = CodeDisplay.from_estimator(autoencoder, X, Y, c="k", lw=2).points_[0]
    assert points.get_linewidth() == 2 and points.get_facecolor()[0][:3].tolist() == [0, 0, 0]
    scale = matplotlib.colors.Normalize(-1, 3)
    assert FilterDisplay(filters=IMAGES[:2]).plot(norm=scale).im_.norm is scale


def test_maps_of_images_of_two_channels():
    net = sknn.ConvNetClassifier([Conv2D(2, 3), Flatten()], (8, 4, 2), **SMALL).fit(X, Y)
    shown = ActivationMapDisplay.from_estimator(net, X[0])
    found = shown.axes_[0, 0].images[0].get_array()
    np.testing.assert_allclose(found, X[0].reshape(8, 4, 2).mean(axis=-1))


def test_wrong_arguments_are_named(chain):
    given = {"image_shape": (8, 8)}
    with pytest.raises(ValueError, match=r"samples is \[1, 999\]; expected some of 80"):
        ReconstructionDisplay.from_predictions(X, X, samples=[1, 999], **given)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ReconstructionDisplay.from_predictions(X, X, labels=[1, 2], **given)
    with pytest.raises(ValueError, match="filters is empty"):
        FilterDisplay(filters=np.zeros((0, 3, 3))).plot()
    with pytest.raises(TypeError, match="history is 5"):
        LossCurveDisplay.from_history(5)
    with pytest.raises(TypeError, match="prime is of the type int"):
        TextProbabilityDisplay.from_estimator(chain, "she", prime=5)
    net = sknn.RBFNetRegressor(3, random_state=0).fit(LINE, WAVE)
    with pytest.raises(ValueError, match="target is 'a'"):
        RadialUnitsDisplay.from_estimator(net, LINE, target="a")
    with pytest.raises(ValueError, match="grid_resolution is 0"):
        RadialUnitsDisplay.from_estimator(net, LINE, grid_resolution=0)
    with pytest.raises(ValueError, match="n is 1; expected an int of at least 2"):
        LatentGridDisplay.from_estimator(sknn.AutoencoderTransformer(2, **SMALL).fit(X), X, n=1)
