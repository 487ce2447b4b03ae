"""Messages on typical mistakes: they say what was given, and what may have been meant.

Training is avoided here, or takes almost no time.
"""

import re
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError

import sknn
from sknn.layers import (
    LSTM,
    Activation,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
    Residual,
)

X, Y = np.random.RandomState(0).rand(40, 4), np.arange(40) % 2
IMAGES = np.random.RandomState(0).rand(40, 8, 8)
SMALL = {"max_iter": 1, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def mlp(**params):
    return sknn.MLPNetClassifier(**{"hidden_layer_sizes": 3, **SMALL, **params})


def conv(*args, **params):
    return sknn.ConvNetClassifier(*args or ([Flatten()],), **{**SMALL, **params})


def rnn(**params):
    return sknn.RNNClassifier("gru", 3, **{**SMALL, **params})


@contextmanager
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


# --- names of arguments


@pytest.mark.parametrize(
    "cls, word, meant",
    [
        ("MLPNetClassifier", "hiden_layer_sizes", "hidden_layer_sizes"),
        ("MLPNetClassifier", "warmstart", "warm_start"),
        ("MLPNetClassifier", "epochs", "max_iter"),
        ("MLPNetClassifier", "nb_epoch", "max_iter"),
        ("MLPNetClassifier", "epcohs", "max_iter"),
        ("MLPNetClassifier", "units", "hidden_layer_sizes"),
        ("MLPNetClassifier", "layers", "hidden_layer_sizes"),
        ("RNNClassifier", "units", "hidden_size"),
        ("RNNClassifier", "hidden_layer_sizes", "hidden_size"),
        ("VariationalAutoencoderTransformer", "latent_dim", "n_components"),
        ("AutoencoderTransformer", "latent_dim", "hidden_layer_sizes"),
        ("ConvNetClassifier", "input_shape", "image_shape"),
        ("CharMarkovChain", "n", "order"),
        ("MLPNet", "lr", "learning_rate_init"),
        ("PerceptronClassifier", "learning_rate", "learning_rate_init"),
        ("MLPNetRegressor", "optimizer", "solver"),
        ("MLPNetRegressor", "criterion", "loss"),
        ("CharRNN", "seed", "random_state"),
        ("CharRNN", "patience", "n_iter_no_change"),
        ("MLPNetClassifier", "weight_decay", "alpha, with solver='adamw'"),
        ("MLPNetClassifier", "l2", "alpha"),
        ("MLPNetClassifier", "validation_split", "validation_fraction"),
        ("MLPNetClassifier", "validation_data", "X_val and y_val of fit"),
        ("MLPNetClassifier", "callbacks", "the method set_callbacks"),
    ],
)
def test_an_unknown_parameter_has_a_hint(cls, word, meant):
    cls = getattr(sknn, cls)
    with pytest.raises(TypeError) as caught:
        cls(**{word: 3})
    assert str(caught.value) == (
        f"{cls.__name__}() got an unexpected keyword argument {word!r}. Did you mean {meant}?"
    )
    with pytest.raises(ValueError, match=f"Invalid parameter '{word}' for .* Did you mean {meant}"):
        cls().set_params(**{word: 3})


def test_what_is_like_nothing_has_no_hint():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'depth'\.$"):
        mlp(depth=3)
    with pytest.raises(ValueError, match=r"Valid parameters are: .*\]\.$"):
        mlp().set_params(depth=3)


def test_hints_reach_searches_and_layers():
    with pytest.raises(ValueError, match="Did you mean hidden_layer_sizes"):
        GridSearchCV(mlp(), {"hiden_layer_sizes": [3]}).fit(X, Y)
    with pytest.raises(ValueError, match="Did you mean 'filters'"):
        conv([Conv2D(3, 3)]).set_params(layers__0__filter=3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mlp().fit(X, Y, epochs=3), "fit.*'epochs'. Did you mean max_iter, a parameter of"),
        (lambda: mlp().fit(X, Y, batch_size=3), "fit.*batch_size, a parameter of the constructor"),
        (lambda: mlp().fit(X, Y, validation_data=(X, Y)), r"fit.*Did you mean X_val and y_val\?"),
        (lambda: mlp().fit(X, Y, sample_weights=Y), r"fit.*Did you mean sample_weight\?"),
        (lambda: mlp().fit(X, Y, callbacks=[]), "fit.*Did you mean the method set_callbacks"),
        (lambda: mlp().fit(X, Y, Y, X, Y), r"fit\(\) takes 3 positional arguments \(X, y, "),
        (lambda: mlp().fit(X), r"fit\(\): missing a required argument: 'y'"),
        (lambda: mlp().partial_fit(X, Y, X_val=X), "partial_fit.*Did you mean X_val and y_val of"),
        (lambda: mlp().predict(X, batch_size=3), "predict.*batch_size, a parameter of the con"),
        (lambda: mlp().predict(), r"predict\(\): missing a required argument: 'X'"),
    ],
)
def test_wrong_calls_of_methods_name_the_users_class(call, message):
    with pytest.raises(TypeError, match=r"^MLPNetClassifier\." + message):
        call()


def test_type_errors_from_inside_stay():
    with pytest.raises(TypeError, match="hidden_layer_sizes must be integers"):
        mlp(hidden_layer_sizes=(3.5,)).fit(X, Y)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Conv2D(3, 3, stride=2), r"Conv2D\(\).*'stride'. Did you mean strides\?"),
        (lambda: Conv2D(out_channels=3, kernel_size=3), "Did you mean filters"),
        (lambda: Dense(3, activaton="relu"), "Did you mean activation"),
        (lambda: Dropout(p=0.5), "Did you mean rate"),
        (lambda: MaxPooling2D(kernel_size=2), "Did you mean pool_size"),
        (lambda: LSTM(hidden_size=3), "Did you mean units"),
        (lambda: Dense(), r"Dense\(\): missing a required argument: 'units'"),
    ],
)
def test_unknown_arguments_of_layers_have_hints(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# --- values


class Reluish:
    """An object of another library."""


Reluish.__name__ = "ReLU"


class Device:
    """An object of another library."""

    def __str__(self):
        return "cuda:1"


@pytest.mark.parametrize(
    "cls, params, meant",
    [
        ("MLPNetClassifier", {"learning_rate": 0.01}, "learning_rate_init=0.01"),
        ("MLPNetClassifier", {"learning_rate_init": "cosine"}, "learning_rate='cosine'"),
        ("MLPNetClassifier", {"activation": "ReLU"}, "'relu'"),
        ("MLPNetClassifier", {"activation": "sigmoid"}, "'logistic'"),
        ("MLPNetClassifier", {"activation": "linear"}, "'identity'"),
        ("MLPNetClassifier", {"activation": "swish"}, "'silu'"),
        ("MLPNetClassifier", {"activation": Reluish()}, "'relu'"),
        ("MLPNetClassifier", {"activation": np.tanh}, "'tanh'"),
        ("MLPNetClassifier", {"output_activation": "sigmoid"}, "'logistic'"),
        ("MLPNetClassifier", {"solver": "Adam"}, "'adam'"),
        ("MLPNetClassifier", {"solver": "SGD"}, "'sgd'"),
        ("MLPNetClassifier", {"solver": "L-BFGS"}, "'lbfgs'"),
        ("MLPNetRegressor", {"loss": "mse"}, "'squared_error'"),
        ("MLPNetRegressor", {"loss": "mae"}, "'absolute_error'"),
        ("MLPNetClassifier", {"loss": "cross_entropy"}, "'log_loss'"),
        ("MLPNetClassifier", {"loss": "bce"}, "'log_loss'"),
        ("MLPNetClassifier", {"initializer": "xavier"}, "'glorot_uniform'"),
        ("MLPNetClassifier", {"dtype": np.float32}, "'float32'"),
        ("ConvNetClassifier", {"layers": "ResNet-50"}, "'resnet50'"),
        ("RNNClassifier", {"cell": "LSTM"}, "'lstm'"),
        ("RNNClassifier", {"cell": 32}, "hidden_size=32"),
        ("MLPNetClassifier", {"device": "gpu"}, "'cuda'"),
        ("MLPNetClassifier", {"device": "cuda0"}, "'cuda:0'"),
        ("MLPNetClassifier", {"device": "GPU:0"}, "'cuda:0'"),
        ("MLPNetClassifier", {"device": 0}, "'cuda:0'"),
        ("MLPNetClassifier", {"device": Device()}, "'cuda:1'"),
        ("MLPNetClassifier", {"device": "CPU"}, "'cpu'"),
        ("MLPNet", {"task": (16,)}, "hidden_layer_sizes=(16,)"),
    ],
)
def test_a_wrong_value_has_a_hint(cls, params, meant):
    with pytest.raises(InvalidParameterError) as caught:
        getattr(sknn, cls)(**params).fit(X, Y)
    (name,) = params
    assert str(caught.value).startswith(f"The '{name}' parameter of {cls} must be ")
    assert f"instead. Did you mean {meant}?" in str(caught.value)


@pytest.mark.parametrize(
    "params",
    [
        *({"device": device} for device in ("mps", None, True, "cuda:-1", "")),
        {"activation": 3}, {"activation": "sine"}, {"solver": "newton"}, {"alpha": "0.1"},
        {"loss": "hinge"}, {"learning_rate": "0.01"}, {"initializer": np.zeros((4, 3))},
    ],
    ids=str,
)  # fmt: skip
def test_no_value_is_made_up(params):
    with pytest.raises(InvalidParameterError, match=r"instead\.$"):
        mlp(**params).fit(X, Y)


def test_what_comes_first_is_said_where_another_value_is_given():
    with pytest.raises(InvalidParameterError) as caught:
        sknn.MLPNetRegressor((16,)).fit(X, Y)
    assert str(caught.value).endswith(
        "Did you mean hidden_layer_sizes=(16,)? As a positional argument, loss comes first, as in "
        "scikit-learn."
    )


def test_words_in_lists_and_layers_have_hints():
    with pytest.raises(ValueError, match="activation is 'ReLU'.*Did you mean 'relu'"):
        mlp(activation=["ReLU"]).fit(X, Y)
    with pytest.raises(ValueError, match="activation of Dense is 'Sigmoid'.*mean 'logistic'"):
        Dense(10, activation="Sigmoid")
    with pytest.raises(ValueError, match="function of Activation.*Did you mean 'relu'"):
        Activation("ReLU")
    with pytest.raises(ValueError, match="padding of Conv2D.*Did you mean 'same'"):
        Conv2D(3, 3, padding="SAME")


@pytest.mark.parametrize(
    "layers, message",
    [
        ([Conv2D], r"layers\[0\] is <class.*with its parameters in parentheses: Conv2D\(\.\.\.\)"),
        (["relu"], r"layers\[0\] is 'relu'.*such as Activation\('relu'\)"),
        ([Dense(3), "dense"], r"layers\[1\] is 'dense'.*such as Dense\(\.\.\.\)"),
        ([Reluish()], r"such as Activation\('relu'\)"),
        ([10], r"such as Dense\(10\)\.$"),
        ((28, 28), r"image_shape=\(28, 28\) for the shape of images"),
        ([[Dense(3)]], r"such as Sequential"),
        ([None], r"layers\[0\] is None; expected a layer of sknn.layers\.$"),
    ],
)
def test_what_is_no_layer(layers, message):
    with pytest.raises(TypeError, match=message):
        conv(layers).fit(IMAGES, Y)


# --- data


@pytest.mark.parametrize("make", [mlp, rnn, sknn.PerceptronClassifier, sknn.AutoencoderTransformer])
def test_texts_in_columns_are_found(make):
    frame = pd.DataFrame({"size": range(40), "number": "1", "color": ["1", "red"] * 20})
    for data in (frame, frame.astype({"color": "category"})):
        with pytest.raises(ValueError, match="Column 'color' of X has the str 'red'.*OneHotEnc"):
            make().fit(data, Y)
    with pytest.raises(ValueError, match="^could not convert string to float: 'red'\nColumn 2 of"):
        make().fit(frame.to_numpy(), Y)


def test_other_data_that_are_no_numbers():
    with pytest.raises(ValueError, match="numbers as str; .*X.astype"):
        mlp().fit(np.array([["1", "2"]] * 40), Y)
    with pytest.raises(ValueError, match=r"X\[0\] is the str 'a text'.*TfidfVectorizer"):
        mlp().fit(["a text"] * 40, Y)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        mlp().fit([], [])
    with pytest.raises(ValueError, match=r"dim 3.*\nX.reshape\(len\(X\), -1\)"):
        mlp().fit(IMAGES, Y)
    with pytest.raises(ValueError, match=r"X\[0\] has shape \(2,\) and X\[1\] has shape \(1,"):
        mlp().fit([[1, 2], [3]], [0, 1])
    with pytest.raises(ValueError, match="sample_weight is 'balanced'.*class_weight"):
        mlp().fit(X, Y, sample_weight="balanced")
    with pytest.raises(ValueError, match="y has str and None"):
        mlp().fit(X, [None, "a"] * 20)
    with pytest.raises(ValueError, match="Unknown label type: continuous. Maybe"):
        mlp().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="could not convert string.*Classes are for classifiers"):
        sknn.MLPNetRegressor().fit(X, np.where(Y, "a", "b"))


@pytest.mark.parametrize("make", [mlp, rnn, conv])
@pytest.mark.parametrize(
    "more, message",
    [
        ({"X_val": X[:, :3], "y_val": Y}, "^X_val has 3 features, but .* is expecting 4"),
        ({"X_val": X * np.nan, "y_val": Y}, "^Input X_val contains NaN"),
        ({"X_val": X, "y_val": Y[1:]}, "^X_val, y_val: Found input variables with inconsistent"),
        ({"X_val": X, "y_val": np.eye(40, 2)}, "^X_val, y_val: The targets are labels in columns"),
        ({"X_val": X, "y_val": Y + 1}, "^y_val has classes not in y"),
        ({"X_val": X, "y_val": np.where(Y, np.nan, 1)}, "^Input y_val contains NaN"),
        (
            {"X_val": X, "y_val": Y, "sample_weight_val": np.ones(3)},
            r"^sample_weight_val.shape == \(3,\)",
        ),
    ],
)
def test_errors_about_validation_data_name_them(make, more, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, Y, **more)


def test_errors_about_other_data_to_validate_with_name_them():
    with pytest.raises(ValueError, match="^X_val has 3 features"):
        sknn.AutoencoderTransformer(3).fit(X, X_val=X[:, :3])
    with pytest.raises(ValueError, match="^X_val has images of 8 x 9"):
        conv().fit(IMAGES, Y, X_val=np.zeros((4, 8, 9)), y_val=Y[:4])
    regressor = sknn.MLPNetRegressor(hidden_layer_sizes=3)
    with pytest.raises(ValueError, match="^X_val, y_val: The targets have 4 columns; expected 1"):
        regressor.fit(X, Y, X_val=X, y_val=X)


@pytest.mark.parametrize(
    "y, message",
    [
        (np.where(np.arange(40), "yes", "no"), "holds out 4 of 40 .* class no has 1 sample"),
        (Y[:8], "holds out 1 of 8 samples, as validation_fraction=0.1 says: both parts need"),
        (Y[:1], "the validation set is too small, or the remaining"),
    ],
)
def test_too_few_samples_to_hold_some_back(y, message):
    with pytest.raises(ValueError, match=f"{message}.*X_val and y_val.*validation_fraction"):
        mlp(early_stopping=True).fit(X[: len(y)], y)


def test_rare_classes_of_three_are_held_back_without_strata():
    mlp(early_stopping=True).fit(X, np.where(np.arange(40), Y, 2))


# --- images


def test_images_of_different_sizes():
    images = [*IMAGES[1:], np.zeros((8, 9))]
    objects = np.empty(40, dtype=object)
    objects[:] = images
    for data in (images, objects):
        with pytest.raises(ValueError, match=r"X\[0\].*\(8, 8\) and X\[39\] has shape \(8, 9\)"):
            conv().fit(data, Y)


def test_lists_and_arrays_of_images_are_images():
    objects = np.empty(40, dtype=object)
    objects[:] = list(IMAGES)
    expected = conv().fit(IMAGES, Y).predict_proba(IMAGES)
    for data in (list(IMAGES), objects, pd.Series(list(IMAGES))):
        net = conv().fit(data, Y)
        np.testing.assert_array_equal(net.predict_proba(data), expected)
        features = sknn.ConvNetTransformer(net).fit(data).transform(data)
        np.testing.assert_array_equal(features, IMAGES.reshape(40, -1))


def test_arrays_of_images_are_reconstructed():
    images = pd.Series(list(IMAGES[:4]))
    net = sknn.ConvAutoencoderTransformer([Flatten()], [Dense(64)], **SMALL).fit(images)
    np.testing.assert_array_equal(net.reconstruct(images), net.reconstruct(IMAGES[:4]))
    with pytest.raises(ValueError, match="setting an array element"):
        net.transform(pd.Series(list(IMAGES[:4].reshape(4, -1))))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_a_single_image(shape):
    images = np.zeros((4, *shape))
    net = conv().fit(images, Y[:4])
    for call in (net.predict, lambda image: net.partial_fit(image, Y[:8])):
        with pytest.raises(ValueError, match="that of a single image; expected .*: X.None. is an"):
            call(images[0])
    assert net.predict(images[0][None]).shape == (1,)


def test_a_single_row_of_an_image_of_one_line_is_no_single_image():
    net = conv(image_shape=(1, 4)).fit(X, Y)
    assert net.predict(X[:1]).shape == (1,)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 8), (4, 5, 5)])
def test_channels_that_come_first(shape):
    message = r"images of {} x {} x {}, as height.*X.transpose\(0, 2, 3, 1\)".format(*shape)
    with pytest.warns(UserWarning, match=message):
        net = conv().fit(np.zeros((4, *shape)), Y[:4])
    with pytest.warns(UserWarning, match=message):
        conv(image_shape=shape).fit(np.zeros((4, np.prod(shape))), Y[:4])
    with pytest.warns(UserWarning, match=message):
        sknn.ConvAutoencoderTransformer([Flatten()], [Dense(np.prod(shape))], **SMALL).fit(
            np.zeros((4, *shape))
        )
    with no_warnings():
        net.predict(np.zeros((4, *shape)))
    last = conv().fit(np.zeros((4, *shape[1:], shape[0])), Y[:4])
    with pytest.raises(ValueError, match=r"X.transpose\(0, 2, 3, 1\) moves channels to the end"):
        last.predict(np.zeros((4, *shape)))


@pytest.mark.parametrize(
    "shape",
    [(8, 8), (8, 8, 3), (3, 8, 3), (3, 8, 1), (2, 8, 8), (1, 50, 16), (1, 64, 1), (3, 4, 4)],
)
def test_other_images_are_no_reason_for_a_warning(shape):
    with no_warnings():
        conv().fit(np.zeros((4, *shape)), Y[:4])


ROWS = np.zeros((4, 64))


@pytest.mark.parametrize(
    "features, shape", [(64, (8, 8)), (16, (4, 4)), (192, (8, 8, 3)), (48, (4, 4, 3))]
)
def test_rows_that_look_like_images(features, shape):
    net = conv([Flatten(), Residual(Dense(features)), Conv2D(2, 3)])
    message = f"rows of {features} features .* such as {re.escape(str(shape))};"
    with pytest.warns(UserWarning, match=message), pytest.raises(ValueError, match="needs"):
        net.fit(np.zeros((4, features)), Y[:4])


@pytest.mark.parametrize("features", [1, 4, 9, 12, 20, 27, 30, 63])
def test_rows_that_do_not(features):
    with no_warnings(), pytest.raises(ValueError, match="needs"):
        conv([Conv2D(2, 3)]).fit(np.zeros((4, features)), Y[:4])


def test_rows_are_warned_of_where_a_fit_begins_and_areas_are_looked_at():
    pool = [MaxPooling2D(2, padding="same")]
    with pytest.warns(UserWarning, match="rows of 64 features"):
        net = conv(pool, warm_start=True).fit(ROWS, Y[:4])
    with no_warnings():
        net.predict(ROWS)
        net.fit(ROWS, Y[:4])
        net.partial_fit(ROWS, Y[:4])
        conv(pool, (1, 64)).fit(ROWS, Y[:4])
        conv(pool).fit(ROWS[:, None], Y[:4])
        conv([Flatten()]).fit(ROWS, Y[:4])
        conv([MaxPooling2D((1, 2))]).fit(ROWS, Y[:4])
        sknn.VariationalAutoencoderTransformer(**SMALL).fit(ROWS)
    message = "rows of 64 features"
    with pytest.warns(UserWarning, match=message), pytest.raises(ValueError, match="decoder"):
        sknn.VariationalAutoencoderTransformer(encoder=pool, decoder=[Dense(3)]).fit(ROWS)
    with pytest.warns(UserWarning, match=message), pytest.raises(ValueError, match="needs"):
        conv([Residual(Conv2D(1, 3))]).fit(ROWS, Y[:4])


def test_a_transformer_that_is_not_fitted():
    net = conv().fit(IMAGES, Y)
    with pytest.raises(NotFittedError, match=r"Call fit\(X\), which uses the network as it is"):
        sknn.ConvNetTransformer(net).transform(IMAGES)
    for unfitted in (sknn.ConvNetTransformer(), sknn.ConvNetTransformer(conv())):
        with pytest.raises(NotFittedError, match=r"nor is its network. Call fit\(X, y\)"):
            unfitted.transform(IMAGES)
        with pytest.raises(ValueError, match=r"requires y.*Call fit\(X, y\), or fit the network"):
            unfitted.fit(IMAGES)


# --- sequences


@pytest.mark.parametrize(
    "texts", ["text", ["text"], [["text", "of", "words"], ["two"]], pd.Series(["text"])]
)
def test_texts_are_no_sequences_of_numbers(texts):
    for net in (rnn(), rnn(embedding=3), sknn.SequenceAutoencoderTransformer(3)):
        with pytest.raises(ValueError, match="X has texts, such as 'text'.*CharRNN.*Seq2SeqRNN"):
            net.fit(texts, [0])


def test_a_single_sequence():
    net = rnn().fit(np.zeros((4, 5, 2)), Y[:4])
    with pytest.raises(ValueError, match=r"If X, of the shape \(5, 2\), is one sequence, give"):
        net.predict(np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"4 features per step, but .* fitted to 2\.$"):
        net.predict(np.zeros((3, 5, 4)))


def test_one_target_where_steps_need_theirs():
    with pytest.raises(ValueError, match="y has one target per sequence; with return_seq"):
        rnn(return_sequences=True).fit(X, Y)


# --- files


@pytest.mark.parametrize(
    "start, kind",
    [
        (b"PK\x03\x04", "a zip file, as PyTorch and Keras"),
        (b"\x80\x02", "a pickle, as PyTorch"),
        (b"\x89HDF\r\n", "an HDF5 file, as Keras"),
    ],
)
def test_files_of_other_libraries(tmp_path, start, kind):
    pytest.importorskip("safetensors")
    path = tmp_path / "weights.pt"
    path.write_bytes(start + bytes(100))
    net = conv([Dense(2)], (1, 3))
    with pytest.raises(ValueError, match=f"weights.pt is {kind}.*safetensors.torch.save_file"):
        net.load_weights(path)
    path.write_bytes(b"no such file")
    with pytest.raises(ValueError, match="weights.pt is not a safetensors file"):
        net.load_weights(path)


def test_tensors_of_torch_are_arrays():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X), torch.tensor(Y)
    for net in (mlp(), rnn(), conv(), sknn.PerceptronClassifier(random_state=0)):
        np.testing.assert_array_equal(net.fit(x, y).predict(x), net.fit(X, Y).predict(X))
    net = sknn.AutoencoderTransformer(3, **SMALL)
    assert net.fit(x, y).transform(x).tobytes() == net.fit(X, Y).transform(X).tobytes()
    images = torch.tensor(IMAGES)
    net = conv().fit(images, y)
    np.testing.assert_array_equal(net.predict(images), conv().fit(IMAGES, Y).predict(IMAGES))
    np.testing.assert_array_equal(net.predict(list(images)), net.predict(IMAGES))
