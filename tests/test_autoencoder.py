"""Autoencoders through their public interface."""

import copy
import io
import pickle
import warnings
from functools import cache

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from test_bad_input import At
from test_mlp import Watcher

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ConvNetClassifier,
    ConvNetRegressor,
    MLPNetClassifier,
    MLPNetRegressor,
    VariationalAutoencoderTransformer,
)
from sknn.engine import interrupts
from sknn.layers import (
    Activation,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    MaskingNoise,
    MaxPooling2D,
    Reshape,
    SaltAndPepperNoise,
    TiedDense,
    UpSampling2D,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COUNTS, ALL_LABELS = load_digits(return_X_y=True)
ALL_DIGITS = (COUNTS / 16).astype(np.float32)
DIGITS, LABELS = ALL_DIGITS[:300], ALL_LABELS[:300]
IMAGES = DIGITS.reshape(-1, 8, 8)

# A learning rate so small that weights do not change, to the bit.
STILL = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1}

CODERS = {
    "encoder": [Conv2D(5, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(6)],
    "decoder": [Dense(64)],
}
CONVOLUTIONS = {
    "encoder": [Conv2D(4, 3, 2, "same", activation="relu"), Conv2D(2, 3, padding="same")],
    "decoder": [Conv2DTranspose(4, 3, 2, "same", activation="tanh"), Conv2D(1, 3, padding="same")],
}
VARIATIONAL_LAYERS = {
    "encoder": [Conv2D(4, 3, 2, "same", activation="relu")],
    "decoder": [
        Dense(32, activation="relu"), Reshape((4, 4, 2)), UpSampling2D(2),
        Conv2D(1, 3, padding="same"),
    ],
}  # fmt: skip


def make(cls, **params):
    given = {"max_iter": 3, "batch_size": 50, "random_state": 0}
    if cls is AutoencoderTransformer:
        given["hidden_layer_sizes"] = (12,)
    return cls(**(given | params))


def dense(**params):
    return make(AutoencoderTransformer, **params)


def conv(**params):
    return make(ConvAutoencoderTransformer, **({"image_shape": (8, 8)} | params))


def variational(**params):
    return make(VariationalAutoencoderTransformer, **params)


# One of each class; all take rows of 64 pixels.
NETS = {
    "dense": dense(),
    "deep": dense(hidden_layer_sizes=(20, 9), activation=["tanh", "elu"], loss="log_loss"),
    "tied": dense(hidden_layer_sizes=(20, 9), activation="logistic", tied_weights=True),
    "a decoder of its own": dense(decoder_layer_sizes=(10, 20), loss="log_loss"),
    "regularized": dense(
        hidden_layer_sizes=(20, 9), tied_weights=True, noise=0.1, activity_l1=0.01,
        contractive=0.01, pretrain_epochs=1, alpha=0.01,
    ),
    "lbfgs": dense(solver="lbfgs", tied_weights=True, contractive=0.01, dtype="float32"),
    "textbook": conv(loss="log_loss"),
    "convolutional": conv(**CONVOLUTIONS, activity_l1=0.01, noise=0.1, noise_kind="masking"),
    "dense code": conv(**CODERS, loss="log_loss"),
    "variational": variational(hidden_layer_sizes=(20,), loss="log_loss"),
    "variational, layers": variational(
        **VARIATIONAL_LAYERS, n_components=3, image_shape=(8, 8), beta=0.5
    ),
}  # fmt: skip
parametrize_nets = pytest.mark.parametrize("name", NETS)
#: A network of each class.
KINDS = ("dense", "textbook", "variational")
parametrize_kinds = pytest.mark.parametrize("name", KINDS)


@cache
def fitted(name, dtype="float32"):
    """Return a fitted network, which must not be changed."""
    return clone(NETS[name]).fit(DIGITS.astype(dtype))


def weights(net):
    """Return everything that was learned, as one list of arrays."""
    return [value for own in net.weights_.values() for value in own.values()]


def assert_same_bits(a, b):
    a, b = ([x] if isinstance(x, np.ndarray) else weights(x) for x in (a, b))
    assert len(a) == len(b)
    for one, other in zip(a, b):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def state(net):
    """Return a digest of an estimator's whole state, recursively."""
    return joblib.hash(vars(net))


def cross_entropies(outputs, wanted):
    outputs = np.asarray(outputs, float)
    return -(wanted * np.log(outputs) + (1 - wanted) * np.log(1 - outputs))


# --- return values of the methods


@parametrize_nets
def test_the_methods_agree(name):
    net, X = fitted(name), DIGITS[:50]
    codes, outputs = net.transform(X), net.reconstruct(X)
    assert codes.ndim == 2 and outputs.shape == X.shape
    assert codes.dtype == outputs.dtype == np.float32
    np.testing.assert_allclose(net.inverse_transform(codes), outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(clone(net).fit_transform(DIGITS)[:50], codes, rtol=1e-5, atol=1e-6)
    errors = -net.score_samples(X)
    wanted = np.asarray(X, float)
    if net.loss == "log_loss":
        expected = cross_entropies(outputs, wanted).mean(axis=1)
    else:
        expected = ((outputs - wanted) ** 2).mean(axis=1)
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
    if "variational" in name:
        np.testing.assert_allclose(net.score(X), net.elbo(X, random_state=0).mean())
        return
    np.testing.assert_allclose(net.score(X), -errors.mean())
    np.testing.assert_allclose(net.score(X, LABELS[:50]), -errors.mean())
    weight = np.arange(50.0)
    np.testing.assert_allclose(
        net.score(X, sample_weight=weight), -np.average(errors, weights=weight)
    )
    if net.loss == "squared_error":
        expected = -((outputs - wanted[::-1]) ** 2).mean(axis=1)
        np.testing.assert_allclose(net.score(X, X[::-1]), expected.mean(), rtol=1e-5)
        np.testing.assert_allclose(
            net.score(X, X[::-1], weight), np.average(expected, weights=weight), rtol=1e-5
        )


ACTIVATIONS = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def test_a_dense_network_is_what_its_weights_say():
    for name in ("deep", "tied"):
        net, w = fitted(name, "float64"), fitted(name, "float64").weights_
        first, second = (
            ACTIVATIONS[function] for function in np.broadcast_to(net.activation, 2)
        )
        tied = net.tied_weights
        back = [w["encoder_2"]["kernel"].T, w["encoder_1"]["kernel"].T]
        back = back if tied else [w["decoder_1"]["kernel"], w["decoder_2"]["kernel"]]
        X = DIGITS.astype(float)
        a = first(X @ w["encoder_1"]["kernel"] + w["encoder_1"]["bias"])
        codes = second(a @ w["encoder_2"]["kernel"] + w["encoder_2"]["bias"])
        a = first(codes @ back[0] + w["decoder_1"]["bias"])
        outputs = a @ back[1] + w["decoder_2"]["bias"]
        outputs = ACTIVATIONS["identity" if tied else "logistic"](outputs)
        np.testing.assert_allclose(net.transform(X), codes, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(net.reconstruct(X), outputs, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(net.inverse_transform(codes), outputs, rtol=1e-9, atol=1e-12)
        assert list(w) == ["encoder_1", "encoder_2", "decoder_1", "decoder_2"]
        assert list(w["decoder_1"]) == (["bias"] if tied else ["kernel", "bias"])


@parametrize_kinds
def test_types_of_numbers(name):
    double = fitted(name, "float64")
    X = DIGITS.astype(float)
    codes = double.transform(X)
    outputs = codes, double.reconstruct(X), double.inverse_transform(codes)
    assert {a.dtype for a in outputs} == {np.dtype(np.float64)}
    assert {a.dtype for a in weights(double)} == {np.dtype(np.float64)}
    binary = DIGITS > 0.5
    single = clone(NETS[name]).fit(binary.astype(np.float32))
    for dtype in ("uint8", "int64", "bool", "float16"):
        net = clone(NETS[name]).fit(binary.astype(dtype))
        assert_same_bits(net, single)
        assert_same_bits(net.transform(binary.astype(dtype)), single.transform(binary + 0.0))
        np.testing.assert_array_equal(
            net.score_samples(binary.astype(dtype)), single.score_samples(binary * 1.0)
        )
    for dtype in ("float32", "float64"):
        net = clone(NETS[name]).set_params(dtype=dtype).fit(X)
        assert net.transform(DIGITS).dtype == dtype
    assert_same_bits(net, double)


def test_lbfgs_keeps_the_type_of_X_too():
    net = dense(solver="lbfgs")
    for dtype in ("float64", "float32"):
        X = DIGITS.astype(dtype)
        net.fit(X)
        assert {net.transform(X).dtype, net.reconstruct(X).dtype} == {np.dtype(dtype)}


@parametrize_nets
def test_sparse_matrices_are_as_good(name):
    net = fitted(name)
    for form in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        other = clone(net).fit(form(DIGITS))
        assert_same_bits(other, net)
        for method in ("transform", "reconstruct", "score_samples"):
            dense, sparse = (getattr(net, method)(X) for X in (DIGITS, form(DIGITS)))
            assert_same_bits(sparse, dense)
        assert net.score(form(DIGITS)) == net.score(DIGITS)


@parametrize_nets
def test_a_row_is_the_same_alone_as_in_a_batch(name):
    for dtype in ("float32", "float64"):
        net, X = fitted(name, dtype), DIGITS[:70].astype(dtype)
        codes = net.transform(X)
        for method, given in (
            ("transform", X),
            ("reconstruct", X),
            ("score_samples", X),
            ("inverse_transform", codes),
        ):
            whole = getattr(net, method)(given)
            for rows in (slice(0, 1), slice(69, 70), slice(3, 5), slice(20, 31), slice(1, 34)):
                assert_same_bits(getattr(net, method)(given[rows]), whole[rows].copy())


@pytest.mark.parametrize(
    "net",
    [
        dense(hidden_layer_sizes=(250, 33), loss="log_loss"),
        dense(hidden_layer_sizes=(250, 33), tied_weights=True, activation="tanh",
              contractive=0.01, activity_l1=0.01, noise=0.1, pretrain_epochs=1),
        conv(noise=0.2, noise_kind="salt_and_pepper"),
        variational(hidden_layer_sizes=(250, 120), n_components=20, early_stopping=True),
    ],
    ids=["dense", "tied", "convolutional", "variational"],
)  # fmt: skip
def test_threads_change_no_bit(net):
    net.set_params(batch_size=130, max_iter=2)
    alone = clone(net).set_params(n_jobs=1).fit(DIGITS)
    for n_jobs in (2, 3, 5):
        other = clone(net).set_params(n_jobs=n_jobs).fit(DIGITS)
        assert_same_bits(other, alone)
        assert other.loss_curve_ == alone.loss_curve_
        assert_same_bits(other.reconstruct(DIGITS), alone.reconstruct(DIGITS))
        assert_same_bits(other.transform(DIGITS), alone.transform(DIGITS))
        assert_same_bits(other.reconstruct(DIGITS[:1]), alone.reconstruct(DIGITS)[:1].copy())


def test_more_rows_than_go_through_at_once():
    X = np.tile(DIGITS, (28, 1))  # 8400
    for name in ("dense", "variational"):
        net = fitted(name)
        scores = net.score_samples(X)
        np.testing.assert_array_equal(scores, np.tile(scores[:300], 28))
        assert_same_bits(net.transform(X)[-300:].copy(), net.transform(DIGITS))
    bounds = fitted("variational").elbo(X, random_state=0)
    assert bounds.shape == (8400,) and np.isfinite(bounds).all()


def test_the_summary_counts_shared_weights_once():
    for name in NETS:
        net = fitted(name)
        assert net.summary().parameters == sum(value.size for value in weights(net))
    tied, free = fitted("tied"), dense(hidden_layer_sizes=(20, 9)).fit(DIGITS)
    saved = 64 * 20 + 20 * 9
    assert free.summary().parameters - tied.summary().parameters == saved
    assert [layer for layer in tied.layers_ if isinstance(layer, TiedDense)] == [
        TiedDense("encoder_2", 20, name="decoder_1"), TiedDense("encoder_1", 64, name="decoder_2"),
    ]  # fmt: skip


# --- images


@pytest.mark.parametrize("name", ["textbook", "convolutional", "variational, layers"])
def test_images_of_any_form_are_the_same(name):
    rows = fitted(name)
    codes, outputs = rows.transform(DIGITS), rows.reconstruct(DIGITS)
    for X, shape in (
        (IMAGES, None),
        (IMAGES[..., None], None),
        (IMAGES, (8, 8, 1)),
        (np.asfortranarray(IMAGES), [8, 8]),
    ):
        net = clone(rows).set_params(image_shape=shape).fit(X)
        assert_same_bits(net, rows)
        assert net.image_shape_ == (8, 8, 1) and net.n_features_in_ == 64
        # decoded samples have the shape of the training data; reconstructions that of the samples
        samples = rows.inverse_transform(codes).reshape(X.shape)
        assert_same_bits(net.inverse_transform(codes), samples)
        for some in (DIGITS, IMAGES, IMAGES[..., None]):
            assert_same_bits(net.transform(some), codes)
            assert_same_bits(net.reconstruct(some), outputs.reshape(some.shape))
            np.testing.assert_array_equal(net.score_samples(some), rows.score_samples(DIGITS))
        np.testing.assert_array_equal(
            net.reconstruct(IMAGES[:3].tolist()), outputs[:3].reshape(3, 8, 8)
        )


def test_colour_images():
    X = DIGITS.reshape(-1, 4, 4, 4)
    coders = {"encoder": VARIATIONAL_LAYERS["encoder"]}
    coders["decoder"] = [Dense(32), Reshape((2, 2, 8)), UpSampling2D(2), Conv2D(4, 1)]
    for net in (conv(image_shape=None), variational(**coders)):
        net.fit(X)
        assert net.image_shape_ == (4, 4, 4)
        assert net.reconstruct(X).shape == X.shape
        assert net.inverse_transform(net.transform(X[:3])).shape == (3, 4, 4, 4)


def test_textbook_layers():
    X = np.random.RandomState(0).uniform(size=(5, 28, 28))
    net = conv(image_shape=None, batch_size=5, max_iter=1).fit(X)
    assert net.transform(X).shape == (5, 4 * 4 * 8)
    shapes = [own["kernel"].shape for own in net.weights_.values()]
    assert shapes == [
        (3, 3, 1, 16), (3, 3, 16, 8), (3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 8, 16),
        (3, 3, 16, 1),
    ]  # fmt: skip
    assert net.reconstruct(X).shape == X.shape
    named = conv(
        encoder=net.layers_[:6], decoder=net.layers_[6:], image_shape=None, batch_size=5, max_iter=1
    ).fit(X)
    assert_same_bits(named, net)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (5, 7), (9, 16), (13, 2, 3)])
def test_textbook_layers_fit_images_of_any_size(shape):
    X = np.random.RandomState(0).uniform(size=(6, *shape))
    net = conv(image_shape=None, batch_size=6, max_iter=1).fit(X)
    assert net.reconstruct(X).shape == X.shape
    np.testing.assert_allclose(
        net.inverse_transform(net.transform(X)), net.reconstruct(X), rtol=1e-9, atol=1e-12
    )


def test_a_decoder_may_have_nothing_to_learn():
    layers = [Conv2D(1, 3, padding="same"), MaxPooling2D(2)], [UpSampling2D(2)]
    net = conv(encoder=layers[0], decoder=layers[1]).fit(DIGITS)
    assert_same_bits(net.inverse_transform(net.transform(DIGITS)), net.reconstruct(DIGITS))
    layers = [MaxPooling2D(2)], [UpSampling2D(2), Conv2D(1, 3, padding="same")]
    net = conv(encoder=layers[0], decoder=layers[1]).fit(DIGITS)
    assert_same_bits(net.inverse_transform(net.transform(DIGITS)), net.reconstruct(DIGITS))


# --- with scikit-learn's tools


def test_pandas_and_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)], index=range(7, 307))
    for name in KINDS:
        net = clone(NETS[name]).set_output(transform="pandas").fit(frame)
        codes = net.transform(frame)
        names = [f"{type(net).__name__.lower()}{i}" for i in range(codes.shape[1])]
        assert list(codes.columns) == list(net.get_feature_names_out()) == names
        assert list(codes.index) == list(frame.index)
        assert_same_bits(np.ascontiguousarray(codes), fitted(name).transform(DIGITS))
        assert list(net.feature_names_in_) == list(frame.columns)
        assert isinstance(net.reconstruct(frame), np.ndarray)
        assert_same_bits(net.inverse_transform(codes), net.inverse_transform(codes.to_numpy()))
        with pytest.raises(ValueError, match="feature names"):
            net.transform(frame[frame.columns[::-1]])


def test_clean_data_without_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(DIGITS, columns=[f"p{i}" for i in range(64)])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names")
        net = dense().fit(frame, X_clean=DIGITS, X_val=frame, X_val_clean=DIGITS)
        assert_same_bits(net.fit(frame, X_clean=frame), net.fit(frame, DIGITS))


def test_in_place_of_principal_components():
    train, test = slice(0, 1000), slice(1000, None)
    net = AutoencoderTransformer(
        (40, 12), loss="log_loss", max_iter=40, batch_size=50, learning_rate_init=3e-3,
        random_state=0,
    )  # fmt: skip
    scores = []
    for codes in (net, PCA(12, random_state=0)):
        model = make_pipeline(MinMaxScaler(clip=True), codes, LogisticRegression(max_iter=2000))
        model.fit(COUNTS[train], ALL_LABELS[train])
        scores.append(model.score(COUNTS[test], ALL_LABELS[test]))
    assert scores[0] > max(0.85, scores[1] - 0.05)


@parametrize_kinds
def test_in_a_grid_search_labels_are_ignored(name):
    net = NETS[name]
    grid = {
        "dense": {"net__hidden_layer_sizes": [(3,), (20,)]},
        "textbook": {"net__activity_l1": [0.0, 10.0]},
        "variational": {"net__beta": [0.1, 100.0]},
    }[name]
    coder = clone(net).set_params(max_iter=20, learning_rate_init=0.01)
    model = Pipeline([("net", coder), ("classifier", LogisticRegression())])
    search = GridSearchCV(model, grid, cv=2).fit(DIGITS, LABELS)
    assert search.best_score_ > 0.4
    names = np.array(list("abcdefghij"))[LABELS]
    for labels in (LABELS, names, LABELS[:, None]):
        assert_same_bits(clone(net).fit(DIGITS, labels), fitted(name))
    # without a scorer, the search uses the reconstruction error
    search = GridSearchCV(net, {"max_iter": [1, 8]}, cv=2).fit(DIGITS)
    assert search.best_params_ == {"max_iter": 8}
    assert len(cross_val_score(net, DIGITS, LABELS, cv=2)) == 2


def test_in_a_union():
    union = make_union(PCA(3, random_state=0), clone(NETS["dense"]), clone(NETS["variational"]))
    codes = union.fit_transform(DIGITS, LABELS)
    assert codes.shape == (300, 3 + 12 + 2)
    assert_same_bits(codes[:, 3:15].copy(), fitted("dense").transform(DIGITS))
    assert len(union.get_feature_names_out()) == 17


@parametrize_nets
def test_clones_and_pickles(name):
    net = fitted(name)
    fresh = clone(net)
    with pytest.raises(NotFittedError):
        fresh.transform(DIGITS)
    assert_same_bits(fresh.fit(DIGITS), net)
    assert repr(fresh) == repr(net)
    file = io.BytesIO()
    joblib.dump(net, file)
    file.seek(0)
    for other in (pickle.loads(pickle.dumps(net)), joblib.load(file), copy.deepcopy(net)):
        for method in ("transform", "reconstruct", "score_samples"):
            assert_same_bits(getattr(other, method)(DIGITS), getattr(net, method)(DIGITS))
        assert other.get_params().keys() == net.get_params().keys()
        np.testing.assert_array_equal(
            other.inverse_transform(net.transform(DIGITS)),
            net.inverse_transform(net.transform(DIGITS)),
        )
        if net.solver != "lbfgs":
            assert_same_bits(other.partial_fit(DIGITS), copy.deepcopy(net).partial_fit(DIGITS))
        assert other.history_.shape[0] == len(other.loss_curve_)


def test_parameters_of_layers():
    for net in (conv(**CODERS), variational(**VARIATIONAL_LAYERS, image_shape=(8, 8))):
        params = net.get_params()
        before = params["encoder"][0].filters, params["decoder"][0].units
        assert (params["encoder__0__filters"], params["decoder__0__units"]) == before
        net.set_params(encoder__0__filters=7, encoder__0__name="first", max_iter=1)
        assert net.encoder[0].filters == 7 and params["encoder"][0].filters == before[0]
        assert net.fit(DIGITS).weights_["first"]["kernel"].shape[-1] == 7
        with pytest.raises(ValueError, match="encoder__0__units"):
            net.set_params(encoder__0__units=3)
    grid = {"encoder__3__units": [1, 9]}
    search = GridSearchCV(conv(**CODERS, max_iter=20, learning_rate_init=0.01), grid, cv=2)
    search.fit(DIGITS)
    assert search.best_params_ == {"encoder__3__units": 9}
    with pytest.raises(ValueError, match="encoder=None is not a list"):
        conv().set_params(encoder__0__filters=3)


# --- training


@parametrize_nets
def test_partial_fit_warm_start_and_history(name):
    pytest.importorskip("pandas")
    net = clone(NETS[name])
    if net.solver == "lbfgs":
        assert not hasattr(net, "partial_fit")
        return
    part = clone(net).partial_fit(DIGITS)
    once = {"max_iter": 1} | ({"pretrain_epochs": 0} if hasattr(net, "pretrain_epochs") else {})
    assert_same_bits(part, clone(net).set_params(**once).fit(DIGITS))
    part.partial_fit(DIGITS, LABELS)
    assert len(part.loss_curve_) == 2 and part.t_ == 600 and part.n_iter_ == 1
    net.set_params(warm_start=True).fit(DIGITS).fit(DIGITS[::-1])
    assert len(net.loss_curve_) == 6 and net.loss_curve_[-1] < net.loss_curve_[0]
    history = net.history_
    columns = ["loss"]
    if "variational" in name:
        columns += ["reconstruction", "kl"]
        assert history["kl"].notna().all()
    if net.solver != "lbfgs":
        columns.append("learning_rate")
        assert set(history["learning_rate"]) == {net.learning_rate_init}
    assert list(history.columns) == columns and list(history.index) == list(range(1, 7))
    assert history["loss"].tolist() == net.loss_curve_


@parametrize_nets
def test_validation_data(name):
    pytest.importorskip("pandas")
    params = NETS[name].get_params(deep=False) | {"codes": "mean"}
    net = clone(NETS[name])
    held = DIGITS[200:]
    net.fit(DIGITS[:200], X_val=held)
    assert_same_bits(net, clone(net).fit(DIGITS[:200]))
    assert len(net.validation_loss_curve_) == len(net.validation_scores_) == len(net.loss_curve_)
    precision = 1e-4 if net.solver == "lbfgs" else 1e-5
    np.testing.assert_allclose(net.validation_scores_[-1], net.score(held), rtol=precision)
    if params.get("beta", 1.0) == 1.0:
        np.testing.assert_allclose(net.validation_loss_curve_[-1], -net.score(held), rtol=precision)
    assert "validation_score" in net.history_.columns
    if "variational" in name:
        return
    net.fit(
        DIGITS[:200], X_val=held, X_val_clean=held[::-1], sample_weight_val=np.arange(1.0, 101)
    )
    expected = net.score(held, held[::-1], np.arange(1.0, 101))
    np.testing.assert_allclose(net.validation_scores_[-1], expected, rtol=precision)


@parametrize_nets
def test_early_stopping(name):
    net = clone(NETS[name])
    if net.solver == "lbfgs":
        return
    net.set_params(
        early_stopping=True, validation_fraction=0.3, max_iter=30, learning_rate_init=0.05,
        n_iter_no_change=6, tol=1e9,
    ).fit(DIGITS)  # fmt: skip
    assert net.n_iter_ == 8  # no score improves by that much
    assert net.best_validation_score_ == max(net.validation_scores_)
    assert net.best_loss_ is None
    given = clone(net).fit(DIGITS[:200], X_val=DIGITS[200:])
    np.testing.assert_allclose(
        given.score(DIGITS[200:]), given.best_validation_score_, rtol=1e-5, atol=1e-7
    )
    with pytest.raises(ValueError, match="does not support early_stopping"):
        net.partial_fit(DIGITS)


def test_early_stopping_holds_clean_data_and_weights_back_too():
    weight = np.where(np.arange(300) % 2, 1.0, 2.0)
    params = {"early_stopping": True, "max_iter": 5}
    net = dense(**params).fit(DIGITS, sample_weight=weight, X_clean=DIGITS[:, ::-1].copy())
    other = dense(**params).fit(DIGITS, DIGITS[:, ::-1].copy(), weight)
    assert_same_bits(net, other)
    assert net.validation_scores_ == other.validation_scores_
    assert net.score(DIGITS, DIGITS[:, ::-1].copy()) > net.score(DIGITS)


@parametrize_nets
def test_callbacks(name):
    watcher, net = Watcher(), clone(NETS[name])
    assert_same_bits(clone(net).set_callbacks(watcher).fit(DIGITS), fitted(name))
    assert watcher.begun == ["fit"] + len(watcher.nets) * ["epoch"]
    stopping = Watcher(1, lambda: True)
    stopped = clone(net).set_callbacks(stopping).fit(DIGITS)
    assert len(stopped.loss_curve_) == 2
    seen = watcher.nets[1]
    for method in ("transform", "reconstruct", "score_samples"):
        ours, expected = (getattr(some, method)(DIGITS) for some in (seen, stopped))
        if net.solver == "lbfgs":  # is in float64 until the end
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
        else:
            assert_same_bits(ours, expected)


@parametrize_nets
def test_an_interrupt_leaves_the_epochs_so_far(name):
    pytest.importorskip("pandas")
    net = clone(NETS[name]).set_params(max_iter=9)
    for begin, epochs in ((False, 3), (True, 2)):
        net.set_callbacks(At(KeyboardInterrupt(), number=2, begin=begin))
        interrupts.forget()  # else this is the second one
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            net.fit(DIGITS)
        assert len(net.loss_curve_) == len(net.history_) == (3 if net.solver == "lbfgs" else epochs)
    if net.solver != "lbfgs":
        assert_same_bits(net, clone(net).set_params(max_iter=2).set_callbacks().fit(DIGITS))
        net.set_callbacks().partial_fit(DIGITS)
        assert len(net.history_) == 3
    assert net.reconstruct(DIGITS).shape == (300, 64)


@pytest.mark.parametrize("name", ["dense", "tied", "convolutional"])
def test_weights_of_samples(name):
    weight = np.where(LABELS == 3, 0.0, 1.0)
    net = clone(NETS[name]).set_params(noise=0.0, batch_size=300, shuffle=False)
    weighted = clone(net).fit(DIGITS, sample_weight=weight)
    rest = clone(net).set_params(batch_size=int(weight.sum())).fit(DIGITS[LABELS != 3])
    for one, other in zip(weights(weighted), weights(rest)):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert_same_bits(clone(net).fit(DIGITS, sample_weight=np.ones(300)), net.fit(DIGITS))


# --- noise


def test_layers_of_noise():
    X = DIGITS * 3 - 1
    for params, data, layer, limits in (
        ({}, X, GaussianNoise(0.1), None),
        ({"loss": "log_loss"}, DIGITS, GaussianNoise(0.1, (0.0, 1.0)), (0.0, 1.0)),
        ({"noise_range": (-1, 2)}, X, GaussianNoise(0.1, (-1.0, 2.0)), (-1.0, 2.0)),
        ({"noise_range": np.array([0, 0.5]), "loss": "log_loss"}, DIGITS,
         GaussianNoise(0.1, (0.0, 0.5)), (0.0, 0.5)),
        ({"noise_kind": "salt_and_pepper"}, X, SaltAndPepperNoise(0.1, (-1.0, 2.0)), (-1.0, 2.0)),
        ({"noise_kind": "salt_and_pepper", "noise_range": [3, 4]}, X,
         SaltAndPepperNoise(0.1, (3.0, 4.0)), (3.0, 4.0)),
        ({"noise_kind": "salt_and_pepper", "loss": "log_loss"}, DIGITS / 2,
         SaltAndPepperNoise(0.1), (0.0, 1.0)),
        ({"noise_kind": "salt_and_pepper"}, np.full((50, 3), 2.0),
         SaltAndPepperNoise(0.1, (2.0, 3.0)), (2.0, 3.0)),
        ({"noise_kind": "salt_and_pepper"}, sp.csr_array(DIGITS),
         SaltAndPepperNoise(0.1, (0.0, 1.0)), (0.0, 1.0)),
    ):  # fmt: skip
        net = dense(noise=0.1, **params).fit(data)
        assert net.layers_[0] == layer and net.noise_range_ == limits
    net = dense(noise=0.1, noise_kind="masking").fit(X)
    assert net.layers_[0] == MaskingNoise(0.1)
    plain = net.set_params(noise=0.0).fit(X)
    assert plain.layers_[0] == Dense(12, name="encoder_1")
    assert not hasattr(plain, "noise_range_")


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
@pytest.mark.parametrize("kind_of_net", [dense, conv])
def test_noise_is_for_training_only(kind_of_net, kind):
    code = {"activation": "relu"} if kind_of_net is dense else {}  # else it depends on noise
    plain, noisy = (
        kind_of_net(**STILL, **code, noise_kind=kind, noise=noise) for noise in (0.0, 0.5)
    )
    plain.fit(DIGITS)
    noisy.fit(DIGITS)
    assert_same_bits(noisy, plain)
    assert noisy.loss_curve_[0] != plain.loss_curve_[0]
    for method in ("transform", "reconstruct", "score_samples"):
        assert_same_bits(getattr(noisy, method)(DIGITS), getattr(plain, method)(DIGITS))
    # it is drawn from the seed
    assert clone(noisy).fit(DIGITS).loss_curve_ == noisy.loss_curve_
    other = clone(noisy).set_params(random_state=1, initializer=weights(noisy)).fit(DIGITS)
    assert other.loss_curve_ != noisy.loss_curve_


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_denoising(kind):
    random = np.random.RandomState(0)
    test = ALL_DIGITS[1200:]
    hit = random.uniform(size=test.shape) < 0.3
    noisy = {
        "gaussian": np.clip(test + 0.3 * random.normal(size=test.shape), 0, 1),
        "masking": np.where(hit, 0, test),
        "salt_and_pepper": np.where(hit, random.randint(2, size=test.shape), test),
    }[kind].astype(np.float32)
    params = {"hidden_layer_sizes": (150,), "max_iter": 40, "learning_rate_init": 3e-3}
    params |= {"loss": "log_loss", "noise_kind": kind}
    denoising, plain = (dense(**params, noise=noise).fit(ALL_DIGITS[:1200]) for noise in (0.3, 0))
    errors = [((a - test) ** 2).mean() for a in (
        denoising.reconstruct(noisy), plain.reconstruct(noisy), noisy
    )]  # fmt: skip
    assert errors[0] < 0.6 * min(errors[1:])
    np.testing.assert_allclose(
        denoising.score(noisy, test), -cross_entropies(denoising.reconstruct(noisy), test).mean(),
        rtol=1e-5,
    )  # fmt: skip


def test_a_warm_start_takes_the_noise_that_is_asked_for_now():
    net = dense(warm_start=True).fit(DIGITS)
    net.set_params(noise=0.1).fit(DIGITS)
    assert net.layers_[0] == GaussianNoise(0.1)
    net.set_params(noise_range=(0, 1)).fit(DIGITS)
    assert net.layers_[0] == GaussianNoise(0.1, (0.0, 1.0))
    net.set_params(noise_kind="salt_and_pepper", noise_range=(-1, 1)).partial_fit(DIGITS)
    assert net.layers_[0] == SaltAndPepperNoise(0.1, (-1.0, 1.0))
    net.set_params(noise=0.0).fit(DIGITS)
    assert net.layers_[0] == Dense(12, name="encoder_1")


# --- clean data


@pytest.mark.parametrize("name", ["dense", "tied", "regularized", "convolutional"])
def test_clean_data(name):
    noisy = np.clip(DIGITS + np.random.RandomState(0).normal(size=DIGITS.shape), 0, 1)
    noisy = noisy.astype(np.float32)
    net = clone(NETS[name])
    expected = clone(net).fit(noisy, X_clean=DIGITS)
    assert_same_bits(clone(net).fit(noisy, DIGITS), expected)
    assert_same_bits(clone(net).fit(noisy, X_clean=sp.csr_array(DIGITS)), expected)
    assert_same_bits(clone(net).fit(noisy, LABELS, X_clean=DIGITS), expected)
    assert_same_bits(clone(net).fit(noisy, X_clean=noisy), clone(net).fit(noisy))
    net.set_params(max_iter=20)  # after few epochs it may be either
    expected = clone(net).fit(noisy, X_clean=DIGITS)
    assert expected.score(noisy, DIGITS) > clone(net).fit(noisy).score(noisy, DIGITS)
    assert_same_bits(
        clone(net).partial_fit(noisy, X_clean=DIGITS), clone(net).partial_fit(noisy, DIGITS)
    )
    assert_same_bits(
        clone(net).fit_transform(noisy, X_clean=DIGITS), expected.transform(noisy)
    )


def test_clean_data_of_images():
    X = IMAGES[:, ::-1].copy()
    net = conv(**CODERS, image_shape=None)
    expected = clone(net).fit(X, X_clean=IMAGES)
    assert_same_bits(clone(net).fit(X, IMAGES), expected)
    assert_same_bits(clone(net).fit(X, X_clean=DIGITS), expected)
    # y of another shape may be labels
    assert_same_bits(clone(net).fit(X, DIGITS), clone(net).fit(X))
    double, lists = DIGITS[:, ::-1].astype(float), DIGITS.tolist()
    assert_same_bits(dense().fit(double.tolist(), lists), dense().fit(double, X_clean=DIGITS))


# --- sparse and contractive autoencoders


def test_sparse_codes():
    plain, sparse = (
        dense(
            hidden_layer_sizes=60, activation="relu", activity_l1=l1, max_iter=40,
            learning_rate_init=0.01,
        )
        for l1 in (0.0, 3e-3)
    )  # fmt: skip
    codes = [net.fit(DIGITS).transform(DIGITS) for net in (plain, sparse)]
    assert (codes[1] == 0).mean() > (codes[0] == 0).mean() + 0.1
    assert codes[1].sum() < 0.5 * codes[0].sum()
    # the penalty is a part of the loss, but not of the error
    assert sparse.loss_curve_[-1] > -sparse.score(DIGITS)
    still = dense(**STILL, activity_l1=0.5).fit(DIGITS)
    expected = 0.5 * still.transform(DIGITS).sum(1).mean() - still.score_samples(DIGITS).mean()
    np.testing.assert_allclose(still.loss_, expected, rtol=1e-5)


def test_contractive_codes():
    def jacobians(net):
        w = net.weights_["encoder_1"]["kernel"]
        slopes = 1 - net.transform(DIGITS) ** 2
        return (slopes**2 @ (w**2).sum(axis=0)).mean()

    params = {"activation": "tanh", "max_iter": 20, "learning_rate_init": 0.01}
    plain, contractive = (dense(**params, contractive=c).fit(DIGITS) for c in (0.0, 0.1))
    assert jacobians(contractive) < 0.5 * jacobians(plain)
    still = dense(**STILL, activation="tanh", contractive=0.3).fit(DIGITS)
    expected = 0.3 * jacobians(still) - still.score_samples(DIGITS).mean()
    np.testing.assert_allclose(still.loss_, expected, rtol=1e-5)


def test_penalties_of_weights():
    plain = dense(max_iter=20).fit(DIGITS)
    for params in ({"alpha": 30.0}, {"l1": 3.0}):
        # the loss uses the weights as trained, the score their averages
        net = dense(max_iter=20, average=False, **params).fit(DIGITS)
        sizes = [sum(np.abs(w).sum() for w in weights(some)) for some in (net, plain)]
        assert sizes[0] < 0.8 * sizes[1]
        assert net.loss_ > -net.score(DIGITS)
    assert dense().alpha == variational().alpha == conv().alpha == 0.0


# --- the defaults


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_defaults_are_as_good_as_principal_components(name):
    X = ALL_DIGITS[:600] if name == "digits" else StandardScaler().fit_transform(load_wine().data)
    for n in (2, 8, 16)[: 3 if name == "digits" else 2]:
        pca = PCA(n, random_state=0).fit(X)
        theirs = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).mean()
        net = AutoencoderTransformer(n, random_state=0).fit(X)
        assert -net.score(X) < 1.05 * theirs, n


def test_the_code_has_no_bounds_unless_that_keeps_it_from_being_a_copy():
    sizes, own = (9, 5), {"decoder_layer_sizes": (7, 8)}
    for params, code in (
        ({}, "identity"), ({"noise": 0.1}, "relu"), ({"activity_l1": 0.1}, "relu"),
        ({"contractive": 0.1}, "relu"),
    ):  # fmt: skip
        auto, named = (
            dense(hidden_layer_sizes=sizes, **params, **some).fit(DIGITS)
            for some in ({}, {"activation": ["relu", code]})
        )
        assert_same_bits(auto, named)
        assert auto.layers_ == named.layers_
    alone = dense(hidden_layer_sizes=5, **own).fit(DIGITS)
    named = dense(hidden_layer_sizes=5, **own, activation="identity", decoder_activation="relu")
    assert alone.layers_ == named.fit(DIGITS).layers_


def test_minibatches_are_small_unless_they_are_given():
    params = {"max_iter": 2, "hidden_layer_sizes": (6, 4), "pretrain_epochs": 1, "random_state": 0}
    for X, size in ((DIGITS, 32), (DIGITS[:20], 20)):
        auto, given = (
            AutoencoderTransformer(**params, **some).fit(X) for some in ({}, {"batch_size": size})
        )
        assert_same_bits(auto, given)
        assert auto.pretraining_loss_curves_ == given.pretraining_loss_curves_


# --- anomalies


@pytest.mark.parametrize("name", ["deep", "tied", "textbook", "variational"])
def test_errors_are_large_for_what_was_never_seen(name):
    seen = ALL_LABELS != 0
    net = clone(NETS[name]).set_params(max_iter=25, learning_rate_init=0.01)
    net.fit(ALL_DIGITS[seen][:1200])
    rest, unseen = ALL_DIGITS[seen][1200:], ALL_DIGITS[~seen]
    strange = np.random.RandomState(0).permutation(rest.T).T  # pixels in another order
    for others, least in ((unseen, 0.7), (strange, 0.95)):
        scores = net.score_samples(np.vstack([rest, others]))  # the unusual ones have small ones
        assert roc_auc_score(np.repeat([1, 0], [len(rest), len(others)]), scores) > least


# --- pretraining


@pytest.mark.parametrize("tied", [False, True])
def test_pretraining_trains_pairs_of_layers_by_themselves(tied):
    X = DIGITS.astype(float)
    common = {"shuffle": False, "tied_weights": tied, "learning_rate_init": 0.01, "alpha": 0.1}
    common["average"] = False  # pairs are trained without it
    params = {"hidden_layer_sizes": (20, 6), "activation": ["tanh", "logistic"], **common}
    params["loss"] = "log_loss"
    start = weights(dense(**(params | STILL)).fit(X))
    if tied:
        w1, b1, w2, b2, c1, c2 = start
        outer, inner = [w1, b1, c2], [w2, b2, c1]
    else:
        w1, b1, w2, b2, v1, c1, v2, c2 = start
        outer, inner = [w1, b1, v2, c2], [w2, b2, v1, c1]
    first = dense(hidden_layer_sizes=20, activation="tanh", loss="log_loss", initializer=outer,
                  max_iter=4, **common).fit(X)  # fmt: skip
    second = dense(hidden_layer_sizes=6, activation="logistic", output_activation="tanh",
                   initializer=inner, max_iter=4, **common).fit(first.transform(X))  # fmt: skip
    net = dense(**params, pretrain_epochs=4, max_iter=1).fit(X)
    curves = net.pretraining_loss_curves_
    np.testing.assert_allclose(curves, [first.loss_curve_, second.loss_curve_], rtol=1e-9)
    a, b = weights(first), weights(second)
    begun = [*a[:2], *b[:2], *b[2:], *a[2:]]
    expected = dense(**params, initializer=begun, max_iter=1).fit(X)
    np.testing.assert_allclose(net.loss_curve_, expected.loss_curve_, rtol=1e-9)
    for one, other in zip(weights(net), weights(expected)):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("tied", [False, True])
def test_pretraining_is_a_better_start(tied):
    params = {
        "hidden_layer_sizes": (40, 20, 8), "activation": "tanh", "tied_weights": tied,
        "noise": 0.1, "learning_rate_init": 3e-3,
    }  # fmt: skip
    plain, pretrained = (dense(**params, pretrain_epochs=n).fit(DIGITS) for n in (0, 5))
    curves = pretrained.pretraining_loss_curves_
    assert [len(curve) for curve in curves] == [5, 5, 5]
    assert all(curve[-1] < curve[0] for curve in curves)
    assert not hasattr(plain, "pretraining_loss_curves_")
    assert pretrained.loss_curve_[0] < 0.7 * plain.loss_curve_[0]
    assert pretrained.score(DIGITS) > plain.score(DIGITS)
    assert len(pretrained.loss_curve_) == pretrained.n_iter_ == 3
    assert not hasattr(pretrained.set_params(pretrain_epochs=0).fit(DIGITS),
                       "pretraining_loss_curves_")  # fmt: skip


def test_pretraining_is_for_the_first_fit():
    net = dense(pretrain_epochs=2, warm_start=True).fit(DIGITS)
    curves = net.pretraining_loss_curves_
    again = copy.deepcopy(net).fit(DIGITS)
    assert again.pretraining_loss_curves_ == curves and len(again.loss_curve_) == 6
    other = copy.deepcopy(net).set_params(pretrain_epochs=0).fit(DIGITS)
    assert_same_bits(again, other)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_pretraining_with_everything(kind):
    net = dense(
        hidden_layer_sizes=(9, 5), pretrain_epochs=2, noise=0.1, noise_kind=kind, loss="log_loss",
        tied_weights=True, contractive=0.01, activity_l1=0.01, activation="tanh", l1=0.1,
        early_stopping=True,
    )  # fmt: skip
    net.fit(DIGITS, sample_weight=LABELS + 1.0)
    assert np.isfinite(net.pretraining_loss_curves_).all()
    assert np.shape(net.pretraining_loss_curves_) == (2, 2)
    assert_same_bits(clone(net).fit(DIGITS, sample_weight=LABELS + 1.0), net)
    assert_same_bits(clone(net).set_params(n_jobs=3).fit(DIGITS, sample_weight=LABELS + 1.0), net)


# --- fine-tuning as a classifier


@pytest.mark.parametrize("name", ["dense", "deep", "tied", "regularized", "lbfgs"])
def test_a_classifier_begins_with_the_encoder(name):
    net = fitted(name)
    net_state = state(net)
    classifier = net.to_classifier(**STILL, random_state=0)
    assert isinstance(classifier, MLPNetClassifier)
    with pytest.raises(NotFittedError):
        classifier.predict(DIGITS)
    sizes = tuple(np.ravel(net.hidden_layer_sizes))
    assert classifier.hidden_layer_sizes == sizes
    encoder = weights(net)[: 2 * len(sizes)]
    for some in (classifier, clone(classifier), pickle.loads(pickle.dumps(classifier))):
        some.fit(DIGITS, LABELS)
        for i in range(len(sizes)):
            assert_same_bits(some.coefs_[i], encoder[2 * i])
            assert_same_bits(some.intercepts_[i], encoder[2 * i + 1])
        assert some.coefs_[-1].shape == (sizes[-1], 10) and some.coefs_[-1].any()
    # its last hidden layer gives the codes
    inner = net.transform(DIGITS)
    probabilities = inner @ classifier.coefs_[-1] + classifier.intercepts_[-1]
    probabilities = np.exp(probabilities - probabilities.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(DIGITS), probabilities, atol=1e-5)
    # it is trained further, and leaves the autoencoder unchanged
    classifier.set_params(solver="adam", learning_rate_init=0.01, max_iter=40).fit(DIGITS, LABELS)
    assert classifier.score(DIGITS, LABELS) > 0.8
    assert (classifier.coefs_[0] != encoder[0]).any()
    assert state(net) == net_state


@pytest.mark.parametrize("name", ["textbook", "convolutional", "dense code"])
def test_a_convolutional_classifier_begins_with_the_encoder(name):
    net = fitted(name)
    net_state = state(net)
    classifier = net.to_classifier(**STILL, random_state=0)
    assert isinstance(classifier, ConvNetClassifier)
    for X in (DIGITS, IMAGES):
        some = clone(classifier).fit(X, LABELS)
        assert some.layers_[-1] == Dense(10)
        ours, theirs = weights(some), weights(net)
        for one, other in zip(ours[:-2], theirs):
            assert_same_bits(one, other)
        kinds = [type(layer) for layer in some.layers_]
        assert not {GaussianNoise, MaskingNoise, SaltAndPepperNoise} & set(kinds)
    classifier.set_params(solver="adam", learning_rate_init=0.01, max_iter=30).fit(IMAGES, LABELS)
    assert classifier.score(IMAGES, LABELS) > 0.9
    assert state(net) == net_state


def test_a_classifier_with_labels_as_many_as_the_code_has_numbers():
    for units in (10, 2):
        coders = {"encoder": [Flatten(), Dense(units)], "decoder": [Dense(64)]}
        net = conv(**coders).fit(DIGITS)
        labels = LABELS if units == 10 else LABELS > 4
        classifier = net.to_classifier(**STILL).fit(DIGITS, labels)
        kernels = [own["kernel"].shape for own in classifier.weights_.values()]
        assert kernels == [(64, units), (units, 10 if units == 10 else 1)]


def test_a_classifier_after_layers_without_weights():
    coders = {"encoder": [MaxPooling2D(2)]}
    coders["decoder"] = [UpSampling2D(2), Conv2D(1, 3, padding="same")]
    classifier = conv(**coders).fit(DIGITS).to_classifier(max_iter=2).fit(DIGITS, LABELS)
    assert list(classifier.weights_) == ["layers.2"]


def test_a_classifier_takes_parameters_and_is_searched():
    for net in (fitted("deep"), fitted("dense code")):
        classifier = net.to_classifier(max_iter=30, learning_rate_init=0.01, random_state=0)
        assert classifier.max_iter == 30
        search = GridSearchCV(classifier, {"alpha": [1e-4, 1e4]}, cv=2).fit(DIGITS, LABELS)
        assert search.best_params_ == {"alpha": 1e-4} and search.best_score_ > 0.6
    with pytest.raises(TypeError, match="initializer"):
        fitted("deep").to_classifier(initializer="zeros")


# --- lists of initial values


def test_first_values_of_perceptrons():
    random = np.random.RandomState(0)
    given = [random.normal(size=shape) for shape in ((64, 5), (5,), (5, 10), (10,))]
    kept = copy.deepcopy(given)
    for cls, n_outputs in ((MLPNetClassifier, 10), (MLPNetRegressor, 1)):
        some = given if n_outputs == 10 else given[:2]
        for dtype in (np.float64, np.float32):
            net = cls(hidden_layer_sizes=5, initializer=some, random_state=0, alpha=0.0, **STILL)
            net.fit(DIGITS.astype(dtype), LABELS)
            own = [net.coefs_[0], net.intercepts_[0], net.coefs_[1], net.intercepts_[1]]
            for value, wanted in zip(own, some):
                assert_same_bits(value, wanted.astype(dtype))
        # the others are initialized as without the list
        first = clone(net).set_params(initializer=some[:2]).fit(DIGITS, LABELS)
        auto = clone(net).set_params(initializer="auto").fit(DIGITS, LABELS)
        assert_same_bits(first.coefs_[1], auto.coefs_[1])
        assert_same_bits(first.intercepts_[1], auto.intercepts_[1])
        clone(net).set_params(solver="adam", learning_rate_init=0.1).fit(DIGITS, LABELS)
    for value, wanted in zip(given, kept):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("cls", [ConvNetClassifier, ConvNetRegressor])
def test_first_values_of_convolutions(cls):
    random = np.random.RandomState(0)
    given = [random.normal(size=shape).astype(np.float32) for shape in ((3, 3, 1, 4), (4,))]
    net = cls([Conv2D(4, 3), MaxPooling2D(2)], (8, 8), initializer=given, random_state=0, **STILL)
    assert_same_bits(clone(net).fit(DIGITS, LABELS), net.fit(DIGITS, LABELS))
    own = weights(net)
    for value, wanted in zip(own, given):
        assert_same_bits(value, wanted)
    auto = clone(net).set_params(initializer="auto").fit(DIGITS, LABELS)
    for value, wanted in zip(own[2:], weights(auto)[2:]):
        assert_same_bits(value, wanted)


@parametrize_nets
def test_first_values_of_autoencoders(name):
    net = fitted(name)
    values, params = weights(net), net.get_params()
    still = {k: v for k, v in (STILL | {"pretrain_epochs": 0}).items() if k in params}
    again = clone(net).set_params(initializer=values, **still).fit(DIGITS)
    assert_same_bits(again, net)
    assert_same_bits(again.reconstruct(DIGITS), net.reconstruct(DIGITS))
    lists = clone(again).set_params(initializer=[value.tolist() for value in values]).fit(DIGITS)
    assert_same_bits(lists, net)


def test_a_list_of_no_first_values_is_none():
    for cls in (MLPNetClassifier, MLPNetRegressor, ConvNetClassifier):
        net = cls(random_state=0, initializer=[], max_iter=2).fit(DIGITS, LABELS)
        auto = cls(random_state=0, max_iter=2).fit(DIGITS, LABELS)
        np.testing.assert_array_equal(net.predict(DIGITS), auto.predict(DIGITS))
    assert_same_bits(dense(initializer=[]).fit(DIGITS), fitted("dense"))


WRONG_VALUES = {
    "another shape": ([np.ones((64, 6))], r"initializer\[0\] is an array of shape \(64, 6\)"),
    "transposed": ([np.ones((5, 64))], r"initializer\[0\] .*\(5, 64\).*\(64, 5\)"),
    "a bias as a column": ([np.ones((64, 5)), np.ones((5, 1))], r"initializer\[1\] .*\(5, 1\)"),
    "NaN": ([np.full((64, 5), np.nan)], r"initializer\[0\] is not finite"),
    "infinity": ([np.ones((64, 5)), np.full(5, np.inf)], r"initializer\[1\] is not finite"),
    "complex": ([np.ones((64, 5)) * 1j], r"initializer\[0\]"),
    "strings": ([np.full((64, 5), "a")], r"initializer\[0\]"),
    "a string": (["he_uniform"], r"initializer\[0\]"),
    "nothing": ([None], r"initializer\[0\]"),
    "ragged": ([[[1.0, 2.0], [3.0]]], r"initializer\[0\]"),
    "too many": ([np.ones((64, 5)), np.ones(5)] * 9, r"initializer\[2\]"),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_first_values_that_do_not_fit(name):
    given, match = WRONG_VALUES[name]
    for net in (
        MLPNetClassifier(5, max_iter=2),
        MLPNetRegressor(hidden_layer_sizes=5, max_iter=2),
        ConvNetClassifier([Dense(5, activation="relu")], max_iter=2),
        dense(hidden_layer_sizes=5),
    ):
        net.fit(DIGITS, LABELS).set_params(initializer=given)
        before = state(net)
        with pytest.raises((ValueError, TypeError), match=match):
            net.fit(DIGITS, LABELS)
        assert state(net) == before


# --- variational autoencoders


def test_codes_are_means_or_draws():
    net = fitted("variational", "float64")
    X, w = DIGITS.astype(float), net.weights_
    a = np.maximum(X @ w["encoder_1"]["kernel"] + w["encoder_1"]["bias"], 0)
    heads = a @ w["code"]["kernel"] + w["code"]["bias"]
    np.testing.assert_allclose(net.transform(X), heads[:, :2], rtol=1e-9, atol=1e-12)
    drawing = copy.deepcopy(net).set_params(codes="sample")
    codes = drawing.transform(X)
    np.testing.assert_array_equal(drawing.transform(X), codes)  # by its random_state
    drawing.set_params(random_state=np.random.RandomState(0))
    many = np.stack([drawing.transform(X) for _ in range(400)])
    deviations = np.exp(heads[:, 2:] / 2)
    np.testing.assert_allclose(many.mean(axis=0), heads[:, :2], atol=0.3)
    np.testing.assert_allclose(many.std(axis=0) / deviations, 1.0, atol=0.25)
    np.testing.assert_allclose((many.std(axis=0) / deviations).mean(), 1.0, atol=0.01)
    # reconstructions decode the means
    assert_same_bits(drawing.reconstruct(X), net.reconstruct(X))
    single = clone(drawing).set_params(random_state=0).fit(DIGITS)
    assert single.transform(DIGITS).dtype == np.float32


def test_new_samples():
    net = fitted("variational")
    samples = net.sample(5, random_state=3)
    assert samples.shape == (5, 64) and samples.dtype == np.float32
    assert ((samples > 0) & (samples < 1)).all()
    assert_same_bits(net.sample(5, random_state=3), samples)
    assert (net.sample(5, random_state=4) != samples).any()
    assert net.sample().shape == (1, 64)
    codes = np.random.RandomState(3).normal(size=(5, 2))
    assert_same_bits(net.inverse_transform(codes), samples)
    assert net.sample(np.int64(3)).shape == (3, 64)


def test_bounds():
    net = fitted("variational", "float64")
    X = DIGITS.astype(float)
    assert net.elbo(X, random_state=0).shape == (300,)
    assert net.score(X) == net.score(X, LABELS)
    weight = np.arange(300.0)
    expected = np.average(net.elbo(X, random_state=0), weights=weight)
    np.testing.assert_allclose(net.score(X, sample_weight=weight), expected)
    repeated = [np.std([net.elbo(X[:9], n, i) for i in range(20)], axis=0) for n in (1, 25)]
    np.testing.assert_allclose((repeated[0] / repeated[1]).mean(), 5.0, rtol=0.4)
    # beta changes the objective of training, not the bound
    other = copy.deepcopy(net).set_params(beta=7.0)
    np.testing.assert_array_equal(other.elbo(X, random_state=0), net.elbo(X, random_state=0))
    np.testing.assert_allclose(net.elbo(X, 20, 0).mean(), -net.loss_, rtol=0.05)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("beta", [0, 0.5, 1.0, 4.0])
def test_the_parts_of_the_loss_add_up(loss, beta):
    net = variational(loss=loss, beta=beta, **STILL).fit(DIGITS)
    kl, error = net.kl_curve_[0], net.reconstruction_curve_[0]
    np.testing.assert_allclose(net.loss_curve_[0], error + beta * kl, rtol=1e-6)
    np.testing.assert_allclose(net.elbo(DIGITS, 30, 0).mean(), -(error + kl), rtol=0.05)
    net.set_params(learning_rate_init=1e-3, solver="adam", max_iter=4, warm_start=True).fit(DIGITS)
    curves = [net.loss_curve_, net.reconstruction_curve_, net.kl_curve_]
    assert [len(curve) for curve in curves] == [5, 5, 5]
    np.testing.assert_allclose(
        curves[0], np.add(curves[1], np.multiply(beta, curves[2])), rtol=1e-6
    )
    assert min(net.kl_curve_) >= 0


def test_beta_weighs_the_divergence():
    nets = [variational(beta=beta, max_iter=30, learning_rate_init=0.01, loss="log_loss")
            for beta in (0.0, 1.0, 30.0)]  # fmt: skip
    kl, errors = zip(*(
        (net.kl_curve_[-1], net.reconstruction_curve_[-1])
        for net in (net.fit(DIGITS) for net in nets)
    ))  # fmt: skip
    assert kl[0] > kl[1] > kl[2] and kl[2] < 0.1
    assert errors[0] < errors[1] < errors[2]
    # codes of similar digits are close together, around zero
    codes = nets[1].transform(DIGITS)
    assert np.abs(codes.mean(axis=0)).max() < 1 and codes.std() < 3


def test_variational_images():
    net = variational(**VARIATIONAL_LAYERS, loss="log_loss", max_iter=15, learning_rate_init=0.01)
    net.fit(IMAGES)
    assert net.image_shape_ == (8, 8, 1)
    assert net.sample(3, random_state=0).shape == (3, 8, 8)
    assert net.inverse_transform(net.transform(IMAGES)).shape == (300, 8, 8)
    assert net.loss_curve_[-1] < 0.9 * net.loss_curve_[0]
    assert net.elbo(IMAGES, random_state=0).shape == (300,)
    np.testing.assert_array_equal(
        net.elbo(IMAGES, random_state=0), net.elbo(DIGITS, random_state=0)
    )
    # dense layers take images, too
    plain = variational(hidden_layer_sizes=(20,)).fit(IMAGES)
    assert plain.sample(2).shape == (2, 8, 8)
    assert_same_bits(plain, variational(hidden_layer_sizes=(20,)).fit(DIGITS))


def test_a_variational_network_without_hidden_layers():
    net = variational(hidden_layer_sizes=(), n_components=5).fit(DIGITS)
    assert list(net.weights_) == ["code", "decoder_1"]
    w = net.weights_
    np.testing.assert_allclose(
        net.transform(DIGITS), (DIGITS @ w["code"]["kernel"] + w["code"]["bias"])[:, :5],
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


# --- errors are clear, and change nothing

NAN = np.where(DIGITS == 1, np.nan, DIGITS)
BAD_PARAMETERS = {
    "no hidden layer": (dense, {"hidden_layer_sizes": ()}, "hidden_layer_sizes is empty"),
    "no units": (dense, {"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be > 0"),
    "half a unit": (dense, {"hidden_layer_sizes": (8.5,)}, "hidden_layer_sizes must be integers"),
    "a decoder of no units": (
        dense, {"decoder_layer_sizes": [0]}, "decoder_layer_sizes must be > 0",
    ),
    "too many activations": (dense, {"activation": ["relu", "tanh"]}, "activation has 2 entries"),
    "too many of the decoder": (
        dense, {"decoder_activation": ["relu", "tanh"]}, "decoder_activation has 2 entries",
    ),
    "softmax inside": (dense, {"activation": ["softmax"]}, "activation is 'softmax'"),
    "softmax in the decoder": (
        dense, {"decoder_activation": [Activation("softmax")], "decoder_layer_sizes": 5},
        "decoder_activation is 'softmax'",
    ),
    "step": (dense, {"activation": Activation("step")}, "activation is 'step'"),
    "a number as activation": (dense, {"activation": [3]}, "activation has the entry 3"),
    "step at the end": (
        dense, {"output_activation": Activation("step")}, "output_activation is 'step'",
    ),
    "tied to other sizes": (
        dense, {"tied_weights": True, "decoder_layer_sizes": (5,)},
        r"decoder_layer_sizes is \[5\]; tied_weights=True",
    ),
    "pre-training of no pairs": (
        dense, {"pretrain_epochs": 2, "decoder_layer_sizes": (7,)},
        r"pretrain_epochs=2 .*decoder_layer_sizes=\(7,\)",
    ),
    "pre-training by lbfgs": (
        dense, {"pretrain_epochs": 2, "solver": "lbfgs"}, "pretrain_epochs .* solver='lbfgs'",
    ),
    "noise and lbfgs": (dense, {"noise": 0.1, "solver": "lbfgs"}, "solver='lbfgs'"),
    "a contraction of gelu": (
        dense, {"contractive": 0.1, "activation": "gelu"}, "activation of .* is 'gelu'",
    ),
    "a contraction of a negative elu": (
        dense, {"contractive": 0.1, "activation": Activation("elu", -1.0)},
        "activation of .*parameter=-1.0.*greater than 0",
    ),
    "noise that hides all": (
        dense, {"noise": 1.0, "noise_kind": "masking"}, r"noise is 1.0; expected .*\[0, 1\)",
    ),
    "more salt than that": (
        conv, {"noise": 1.5, "noise_kind": "salt_and_pepper"}, "noise is 1.5; expected a prob",
    ),
    "a range the wrong way": (
        dense, {"noise": 0.1, "noise_range": (1, 0)}, r"noise_range is \(1, 0\)",
    ),
    "a range of three": (dense, {"noise": 0.1, "noise_range": (0, 1, 2)}, "noise_range is"),
    "an empty range": (conv, {"noise": 0.1, "noise_range": (1, 1)}, "noise_range is"),
    "a range of NaN": (dense, {"noise": 0.1, "noise_range": (0, np.nan)}, "noise_range is"),
    "a range of strings": (dense, {"noise": 0.1, "noise_range": ("a", "b")}, "noise_range is"),
    "a range of nothing": (dense, {"noise": 0.1, "noise_range": (None, 1)}, "noise_range is"),
    "log loss of other outputs": (
        dense, {"loss": "log_loss", "output_activation": "relu"}, "output_activation='relu'",
    ),
    "log loss of softmax": (
        variational, {"loss": "log_loss", "output_activation": "softmax"},
        "output_activation='softmax'",
    ),
    "no decoder": (conv, {"encoder": [Dense(3)]}, "decoder is None"),
    "no encoder": (variational, {"decoder": [Dense(64)]}, "encoder is None"),
    "an empty encoder": (conv, {"encoder": [], "decoder": [Dense(64)]}, "encoder is empty"),
    "an empty decoder": (conv, {"encoder": [Dense(3)], "decoder": []}, "decoder is empty"),
    "no layer": (conv, {"encoder": [3], "decoder": [Dense(64)]}, r"encoder\[0\] is 3"),
    "a layer's class": (
        variational, {"encoder": [Dense(3)], "decoder": [Dense]}, r"decoder\[0\] is <class",
    ),
    "fewer outputs": (
        conv, {"encoder": [Dense(3)], "decoder": [Dense(60)]}, "outputs 60 .*expected 8 x 8",
    ),
    "smaller images": (
        conv, {"encoder": [Conv2D(3, 3)], "decoder": [Conv2D(1, 3)]},
        "decoder outputs 4 x 4 x 1; expected 8 x 8 x 1",
    ),
    "more channels": (
        variational, {"encoder": [Dense(3)], "decoder": [Dense(128), Reshape((8, 8, 2))]},
        "decoder outputs 8 x 8 x 2",
    ),
    "a reshape of other numbers": (
        conv, {"encoder": [Dense(4)], "decoder": [Reshape((3, 3)), Dense(64)]},
        "Reshape.* 4 units; needs 9",
    ),
    "an activation at the end": (
        conv,
        {"encoder": [Dense(3)], "decoder": [Dense(64, activation="relu")], "loss": "log_loss"},
        "decoder ends with .*output_activation",
    ),
    "two of a name": (
        conv, {"encoder": [Dense(3, name="a")], "decoder": [Dense(64, name="a")]},
        "Two layers have the name 'a'",
    ),
    "a name that is taken": (
        variational, {"encoder": [Dense(3, name="code")], "decoder": [Dense(64)]},
        "Two layers have the name 'code'",
    ),
    "nothing to train": (
        conv,
        {"encoder": [Dense(3, trainable=False)], "decoder": [Dense(64, trainable=False)]},
        "No layer is left to train",
    ),
    "dropout and lbfgs": (
        conv,
        {"encoder": [Dense(3), Dropout(0.5)], "decoder": [Dense(64)], "solver": "lbfgs"},
        "solver='lbfgs'",
    ),
    "an image_shape of other rows": (conv, {"image_shape": (8, 9)}, "image_shape=.* needs 72"),
    "an image_shape of nothing": (conv, {"image_shape": (0, 64)}, r"image_shape is \(0, 64\)"),
    "divergence": (
        dense, {"solver": "sgd", "learning_rate_init": 1e30, "max_iter": 20},
        "diverged|non-finite",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters(name):
    make, params, match = BAD_PARAMETERS[name]
    net = make().fit(DIGITS)
    outputs, before = net.reconstruct(DIGITS), state(net)
    good = {name: getattr(net, name) for name in params}
    with pytest.raises((ValueError, TypeError), match=match):
        net.set_params(**params).fit(DIGITS)
    net.set_params(**good)
    assert state(net) == before
    assert_same_bits(net.reconstruct(DIGITS), outputs)
    # and of an estimator that is not fitted yet
    net = make(**params)
    before = state(net)
    for train in ("fit", "partial_fit"):
        if train == "fit" or not {"solver", "max_iter"} & set(params):
            with pytest.raises((ValueError, TypeError), match=match):
                getattr(net, train)(DIGITS)
    assert state(net) == before


WRONG = {
    "hidden_layer_sizes": ["a", 0, None],
    "activation": [3, None, "sine", "softmax", "step"],
    "decoder_layer_sizes": ["a", 0],
    "decoder_activation": [3, "sine"],
    "loss": [3, "hinge", "poisson"],
    "output_activation": [3, "sine", "step"],
    "activity_l1": ["a", -1.0, np.inf],
    "noise": ["a", -1.0],
    "noise_kind": [3, "pink"],
    "noise_range": [3],
    "contractive": ["a", -1.0],
    "tied_weights": ["yes", 2],
    "pretrain_epochs": [1.5, -1],
    "n_components": [0, 2.5, "a"],
    "beta": [-1.0, "a", np.nan],
    "codes": ["all", 3],
    "encoder": [3, "conv", Dense(3)],
    "decoder": [3, "conv"],
    "image_shape": [8, "8x8"],
    "initializer": [3, "ones", np.ones(3)],
    "alpha": [-1.0],
    "solver": ["newton"],
}


@parametrize_kinds
def test_every_parameter_is_checked(name):
    net = clone(NETS[name])  # after fit, partial_fit takes the parameters as checked
    before = state(net)
    for parameter in set(WRONG) & set(net.get_params(deep=False)):
        good = getattr(net, parameter)
        for value in WRONG[parameter]:
            net.set_params(**{parameter: value})
            for train in (net.fit, net.partial_fit):
                with pytest.raises(InvalidParameterError, match=f"'{parameter}' parameter of"):
                    train(DIGITS)
        net.set_params(**{parameter: good})
    assert state(net) == before
    with pytest.raises(TypeError, match="depth"):
        type(net)(depth=3)
    with pytest.raises(ValueError, match="noises"):
        net.set_params(noises=3)


def test_variational_ones_have_no_lbfgs():
    with pytest.raises(InvalidParameterError, match="'solver' parameter"):
        variational(solver="lbfgs").fit(DIGITS)


def assert_bad(net, match, call):
    before = state(net)
    with pytest.raises((ValueError, TypeError), match=match):
        call(net)
    assert state(net) == before


BAD_DATA = {
    "NaN": (NAN, "X contains NaN"),
    "infinity": (np.where(DIGITS == 1, np.inf, DIGITS), "X contains infinity"),
    "complex": (DIGITS * 1j, "Complex data not supported"),
    "strings": (np.full((9, 64), "a"), "not compatible with arrays of bytes/strings"),
    "no samples": (DIGITS[:0], "0 sample"),
    "one dimension": (DIGITS[0], "Expected 2D array"),
    "sparse NaN": (sp.csr_array(NAN), "X contains NaN"),
}


@parametrize_kinds
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(name, case):
    X, match = BAD_DATA[case]
    methods = ["fit", "partial_fit", "transform", "reconstruct", "score_samples", "score"]
    if name == "variational":
        methods.append("elbo")
    net = clone(NETS[name]).fit(DIGITS)
    for method in methods:
        assert_bad(net, match, lambda net: getattr(net, method)(X))  # noqa: B023
    assert_bad(net, match.replace("X ", "X_val "), lambda net: net.fit(DIGITS, X_val=X))
    assert_bad(clone(NETS[name]), match, lambda net: net.fit(X))
    for method in methods[1:]:
        assert_bad(
            net, "9 features.*expecting 64",
            lambda net: getattr(net, method)(DIGITS[:, :9]),  # noqa: B023
        )  # fmt: skip


@pytest.mark.parametrize("name", ["deep", "textbook", "variational"])
def test_a_cross_entropy_needs_data_in_its_range(name):
    net = clone(NETS[name]).fit(DIGITS)
    match = r"\[0, 1\]: scale X.*, or set loss='squared_error'"
    for X in (DIGITS * 2, DIGITS - 0.1, sp.csr_array(DIGITS * 2), (COUNTS[:20]).astype(np.uint8)):
        for method in ("fit", "partial_fit"):
            assert_bad(net, match, lambda net: getattr(net, method)(X))  # noqa: B023
        assert_bad(clone(net), match, lambda net: net.fit(X))  # noqa: B023
        assert_bad(net, match, lambda net: net.fit(DIGITS, X_val=X))  # noqa: B023
        # codes and outputs may differ
        assert np.isfinite(net.transform(X)).all() and np.isfinite(net.reconstruct(X)).all()
    for X in (DIGITS * 1.5, DIGITS - 0.1):  # as what was not there when a scaler was fitted
        scores, clipped = net.score_samples(X), net.score_samples(np.clip(X, 0, 1))
        assert np.isfinite(scores).all() and np.isfinite(net.score(X))
        assert np.abs(scores - clipped).max() < 10
    with pytest.warns(UserWarning, match="takes others as 0 or 1"):
        net.score_samples(COUNTS[:20].astype(float))
    rounded = DIGITS * np.nextafter(DIGITS.dtype.type(1), 2)
    assert rounded.max() > 1
    clone(net).fit(rounded)
    if name == "variational":
        return
    noisy = DIGITS * 2 - 0.5
    assert clone(net).fit(noisy, X_clean=DIGITS).score(noisy, DIGITS) < 0
    assert_bad(net, match, lambda net: net.fit(DIGITS, X_clean=noisy))


BAD_TRAINING = {
    "fewer clean samples": ({"X_clean": DIGITS[:9]}, "X_clean has 9 samples; expected 300"),
    "fewer clean features": ({"X_clean": DIGITS[:, :9]}, "X_clean.*9 features|9 features.*X_clean"),
    "clean NaN": ({"X_clean": NAN}, "X_clean contains NaN"),
    "clean strings": ({"X_clean": np.full(DIGITS.shape, "a")}, "bytes/strings"),
    "fewer weights": ({"sample_weight": np.ones(9)}, "sample_weight"),
    "negative weights": ({"sample_weight": -np.ones(300)}, "[Nn]egative"),
    "no weight": ({"sample_weight": np.zeros(300)}, "zero for every sample|non-zero"),
    "no X_val": ({"X_val_clean": DIGITS}, "X_val is missing"),
    "no X_val, weights": ({"sample_weight_val": np.ones(300)}, "X_val is missing"),
    "other features to validate": ({"X_val": DIGITS[:, :9]}, "9 features"),
    "fewer clean ones to validate": (
        {"X_val": DIGITS, "X_val_clean": DIGITS[:9]}, "X.*clean has 9 samples; expected 300",
    ),
    "fewer weights to validate": (
        {"X_val": DIGITS, "sample_weight_val": np.ones(9)}, "sample_weight",
    ),
    "no weight to validate": (
        {"X_val": DIGITS, "sample_weight_val": np.zeros(300)},
        "sample_weight_val is zero for every sample|non-zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["dense", "textbook"])
@pytest.mark.parametrize("case", BAD_TRAINING)
def test_bad_training_data(name, case):
    given, match = BAD_TRAINING[case]
    for net in (clone(NETS[name]).fit(DIGITS), clone(NETS[name])):
        assert_bad(net, match, lambda net: net.fit(DIGITS, **given))
        if set(given) <= {"X_clean", "sample_weight"}:
            assert_bad(net, match, lambda net: net.partial_fit(DIGITS, **given))


def test_images_that_do_not_fit():
    net = conv(image_shape=None, warm_start=True).fit(IMAGES)
    for X, match in (
        (IMAGES[:, :4], "images of 4 x 8 x 1, but .* fitted to images of 8 x 8 x 1"),
        (DIGITS.reshape(-1, 4, 4, 4), "images of 4 x 4 x 4"),
        (DIGITS[:, :63], "63 features.*expecting 64"),
        (IMAGES[..., None, None], "X has 5 dimensions"),
        (np.where(IMAGES == 1, np.nan, IMAGES), "X contains NaN"),
    ):
        for method in ("fit", "partial_fit", "transform", "reconstruct", "score_samples", "score"):
            assert_bad(net, match, lambda net: getattr(net, method)(X))  # noqa: B023
    assert_bad(conv(image_shape=(4, 16)), "images of 8 x 8 x 1", lambda net: net.fit(IMAGES))
    assert_bad(dense(), "dim 3", lambda net: net.fit(IMAGES))
    assert_bad(conv(image_shape=None), "0 x 8 x 1", lambda net: net.fit(IMAGES[:, :0]))


@parametrize_nets
def test_bad_codes(name):
    net = fitted(name)
    n = net.transform(DIGITS[:1]).shape[1]
    for codes, match in (
        (np.ones((2, n + 1)), f"{n + 1} columns; expected codes of {n} numbers"),
        (np.ones((2, n - 1)), f"expected codes of {n} numbers"),
        (np.full((2, n), np.nan), "X contains NaN"),
        (np.ones(n), "Expected 2D array"),
        (np.ones((0, n)), "0 sample"),
        (np.full((2, n), "a"), "could not convert|bytes/strings"),
        (sp.csr_array(np.ones((2, n))), "dense data is required"),
    ):
        assert_bad(net, match, lambda net: net.inverse_transform(codes))  # noqa: B023


@parametrize_kinds
def test_what_needs_a_fit_says_so(name):
    net = clone(NETS[name])
    calls = [
        *(lambda method=method: getattr(net, method)(DIGITS) for method in (
            "transform", "inverse_transform", "reconstruct", "score_samples", "score",
        )),
        net.get_feature_names_out,
        net.summary,
        lambda: net.weights_,
        lambda: net.history_,
    ]  # fmt: skip
    if name == "variational":
        calls += [net.sample, lambda: net.elbo(DIGITS)]
    else:
        calls.append(net.to_classifier)
    for call in calls:
        with pytest.raises(NotFittedError):
            call()


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None])
def test_numbers_of_samples(n_samples):
    net = fitted("variational")
    for call in (net.sample, lambda n_samples: net.elbo(DIGITS, n_samples)):
        with pytest.raises((ValueError, TypeError), match="n_samples is"):
            call(n_samples)


@pytest.mark.parametrize(
    "name, params",
    [
        ("dense", {"hidden_layer_sizes": (13,)}),
        ("dense", {"tied_weights": True}),
        ("textbook", CODERS),
        ("variational", {"n_components": 3}),
    ],
)
def test_a_warm_start_of_another_network(name, params):
    net = clone(NETS[name]).set_params(warm_start=True).fit(DIGITS)
    outputs = net.reconstruct(DIGITS)
    net.set_params(**params)
    before = state(net)
    for train in (net.fit, net.partial_fit):
        with pytest.raises(ValueError, match="have changed since the last fit"):
            train(DIGITS)
    assert state(net) == before
    # the network that was fitted still reconstructs
    assert_same_bits(net.reconstruct(DIGITS), outputs)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@parametrize_kinds
def test_data_beyond_the_range_of_the_computing_type(name):
    net = clone(NETS[name]).set_params(loss="squared_error", dtype="float32").fit(DIGITS)
    X = np.where(DIGITS == 1, 1e300, DIGITS.astype(float))
    for method in ("transform", "reconstruct", "score_samples"):
        assert_bad(net, "too large for float32", lambda net: getattr(net, method)(X))  # noqa: B023
    codes = np.full((2, net.transform(DIGITS).shape[1]), 1e300)
    codes[:, ::2] *= -1
    assert_bad(net, "too large for float32", lambda net: net.inverse_transform(codes))


@parametrize_nets
def test_one_sample(name):
    net = clone(NETS[name]).set_params(batch_size="auto").fit(DIGITS[:1])
    assert np.isfinite(net.loss_curve_).all()
    assert net.reconstruct(DIGITS[:3]).shape == (3, 64)
