"""Weights in files: PyTorch's names and layouts, round trips, and every error."""

import sys

import numpy as np
import pytest

from sknn.architectures import ARCHITECTURES, lenet5
from sknn.files.safetensors import from_torch, load, parts, save, to_torch
from sknn.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    Residual,
    Sequential,
)
from sknn.layers.base import primitives

LAYERS = [
    Conv2D(6, 3, activation="relu", groups=2, name="first"),
    BatchNormalization(trainable=False),
    Conv2DTranspose(5, 2, use_bias=False),
    Residual([Conv2D(5, 1, name="inner")]),
    Flatten(),
    Activation("relu"),
    Dropout(0.5),
    Dense(7),
    Dense(3, name="output"),
]
SHAPE = (6, 5, 4)


def tensors(layers, shape):
    return [tensor for part in parts(layers, shape) for tensor in part.tensors]


def names(layers, shape):
    return [tensor.name for tensor in tensors(layers, shape)]


def draw(layers, shape, dtype="float32", seed=0):
    random_state = np.random.RandomState(seed)
    return [random_state.normal(size=t.own_shape).astype(dtype) for t in tensors(layers, shape)]


# --- names and shapes


def test_names_and_shapes_are_those_of_pytorch():
    assert [(t.name, t.shape) for t in tensors(LAYERS, SHAPE)] == [
        ("first.weight", (6, 2, 3, 3)),
        ("first.bias", (6,)),
        ("layers.1.weight", (6,)),
        ("layers.1.bias", (6,)),
        ("layers.1.running_mean", (6,)),
        ("layers.1.running_var", (6,)),
        ("layers.2.weight", (6, 5, 2, 2)),
        ("inner.weight", (5, 5, 1, 1)),
        ("inner.bias", (5,)),
        ("layers.7.weight", (7, 100)),
        ("layers.7.bias", (7,)),
        ("output.weight", (3, 7)),
        ("output.bias", (3,)),
    ]


@pytest.mark.parametrize("name", ["resnet20", "densenet121", "vgg16", "lenet5"])
def test_tensors_come_in_the_order_of_the_parameters(name):
    shape = (28, 28, 3)
    layers = ARCHITECTURES[name](shape)
    shapes = [
        parameter.shape
        for _, layer, start in primitives(layers, shape)
        for parameter in layer.parameters(start)
    ]
    assert [tensor.own_shape for tensor in tensors(layers, shape)] == shapes


def test_tensors_of_torchvision():
    found = {t.name: t.shape for t in tensors(ARCHITECTURES["resnet18"](), (224, 224, 3))}
    assert len(found) == 122 - 20  # without the counts of batches
    assert found["conv1.weight"] == (64, 3, 7, 7) and "conv1.bias" not in found
    assert found["layer1.0.bn1.running_var"] == (64,)
    assert found["layer4.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert found["fc.weight"] == (1000, 512) and found["fc.bias"] == (1000,)
    found = {t.name: t.shape for t in tensors(ARCHITECTURES["densenet121"](), (224, 224, 3))}
    assert len(found) == 727 - 121
    assert found["features.denseblock1.denselayer2.conv1.weight"] == (128, 96, 1, 1)
    assert found["features.denseblock1.denselayer2.conv2.weight"] == (32, 128, 3, 3)
    assert found["features.transition3.conv.weight"] == (512, 1024, 1, 1)
    assert found["features.norm5.weight"] == found["features.norm5.running_mean"] == (1024,)
    assert found["classifier.weight"] == (1000, 1024)
    found = {t.name: t.shape for t in tensors(ARCHITECTURES["vgg16"](), (224, 224, 3))}
    assert len(found) == 32
    assert found["features.28.weight"] == (512, 512, 3, 3)
    assert found["classifier.0.weight"] == (4096, 25088)


def test_two_layers_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="Two layers are named 'twin'"):
        tensors([Dense(2, name="twin"), Dense(2, name="twin")], (2,))


# --- layouts


def test_kernels_have_the_axes_of_pytorch():
    layers = [Conv2D(3, (2, 4), name="a"), Conv2DTranspose(5, (2, 3), name="b")]
    needed, values = tensors(layers, (6, 6, 2)), draw(layers, (6, 6, 2))
    convolution, _, transposed, _ = (to_torch(v, t) for v, t in zip(values, needed))
    assert convolution.shape == (3, 2, 2, 4) and transposed.shape == (3, 5, 2, 3)
    assert convolution[2, 1, 0, 3] == values[0][0, 3, 1, 2]  # filter, channel, row, column
    assert transposed[2, 4, 1, 0] == values[2][1, 0, 4, 2]  # channel, filter, row, column


BEFORE_DENSE = {
    "an image": [],
    "flattened": [Flatten()],
    "with layers between": [
        Flatten(), Dropout(0.5), Activation("tanh"), GaussianNoise(0.1), Flatten(),
    ],
    "inside of a block": [Sequential([Flatten(), Dropout(0.1)], name="block")],
    "a sum": [Flatten(), Residual([Dropout(0.5)])],
    "joined": [Concatenate([[Flatten()], [GlobalAveragePooling2D()], [Flatten()]])],
}  # fmt: skip


def _row(layers, x):
    """Return Dense's input from an image, here and in PyTorch, which has channels first."""
    if any(isinstance(layer, Concatenate) for layer in layers):
        ours, theirs = x.ravel(), x.transpose(2, 0, 1).ravel()
        means = x.mean(axis=(0, 1))
        return np.r_[ours, means, ours], np.r_[theirs, means, theirs]
    doubled = 2 if any(isinstance(layer, Residual) for layer in layers) else 1
    return doubled * x.ravel(), doubled * x.transpose(2, 0, 1).ravel()


@pytest.mark.parametrize("before", BEFORE_DENSE)
def test_rows_of_what_was_an_image(before):
    layers = [*BEFORE_DENSE[before], Dense(4), Dense(2)]
    shape = (3, 2, 5)
    needed, values = tensors(layers, shape), draw(layers, shape, "float64")
    weights = [to_torch(v, t) for v, t in zip(values, needed)]
    ours, theirs = _row(layers, np.random.RandomState(1).normal(size=shape))
    np.testing.assert_allclose(weights[0] @ theirs, ours @ values[0])
    np.testing.assert_array_equal(weights[1], values[1])
    np.testing.assert_array_equal(weights[2], values[2].T)
    for value, weight, tensor in zip(values, weights, needed):
        np.testing.assert_array_equal(from_torch(weight, tensor), value)


def test_normalization_of_what_was_an_image():
    layers, shape = [Flatten(), BatchNormalization(), Dense(2)], (3, 2, 5)
    for tensor, value in zip(tensors(layers, shape)[:4], draw(layers, shape)):
        expected = value.reshape(shape).transpose(2, 0, 1).ravel()
        np.testing.assert_array_equal(to_torch(value, tensor), expected)


@pytest.mark.parametrize("shape", [(1, 6, 1), (3, 2, 1), (1, 1, 6)])
def test_rows_are_the_same_with_one_channel_or_one_position(shape):
    assert all(tensor.order is None for tensor in tensors([Flatten(), Dense(2)], shape))


def test_sums_of_different_orders_are_an_error():
    layers = [Flatten(), Residual([Dense(12)], name="mixed"), Dense(2)]
    with pytest.raises(ValueError, match="mixed adds the elements of an image"):
        tensors(layers, (2, 2, 3))
    assert len(tensors([Flatten(), Residual([Dense(4)])], (2, 2, 1))) == 2  # one and the same


# --- files


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("safetensors")
    return tmp_path / "weights.safetensors"


def write(path, held):
    from safetensors.numpy import save_file

    save_file(held, str(path))


def held_by(layers, shape, dtype="float32"):
    needed, values = tensors(layers, shape), draw(layers, shape, dtype)
    return {t.name: to_torch(v, t) for t, v in zip(needed, values)}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_there_and_back(path, dtype):
    values = draw(LAYERS, SHAPE, dtype)
    copies = [value.copy() for value in values]
    save(path, LAYERS, SHAPE, values)
    loaded = load(path, LAYERS, SHAPE)
    for value, copy, again in zip(values, copies, loaded, strict=True):
        assert again.dtype == dtype and again.flags.c_contiguous and again.flags.writeable
        np.testing.assert_array_equal(again, copy)
        np.testing.assert_array_equal(value, copy)
    save(str(path), LAYERS, SHAPE, [np.asfortranarray(value[...]) for value in loaded])
    for value, again in zip(values, load(str(path), LAYERS, SHAPE), strict=True):
        np.testing.assert_array_equal(again, value)


def test_a_file_is_what_pytorch_reads(path):
    from safetensors.numpy import load_file

    values = draw(LAYERS, SHAPE)
    save(path, LAYERS, SHAPE, values)
    held = load_file(path)
    assert sorted(held) == sorted(names(LAYERS, SHAPE))
    np.testing.assert_array_equal(held["first.weight"], values[0].transpose(3, 2, 0, 1))
    rows = values[9].reshape(5, 4, 5, 7).transpose(3, 2, 0, 1).reshape(7, 100)
    np.testing.assert_array_equal(held["layers.7.weight"], rows)


def test_counts_of_batches_are_ignored(path):
    layers = [Dense(3), BatchNormalization(name="norm"), Dense(2)]
    held = held_by(layers, (4,))
    write(path, held | {"norm.num_batches_tracked": np.array(7)})
    np.testing.assert_array_equal(load(path, layers, (4,))[0], held["layers.0.weight"].T)


def _missing(held):
    del held["layers.4.bias"], held["layers.6.weight"]
    held["another"] = np.ones(3, np.float32)


def _misshapen(held):
    held["layers.7.weight"] = np.ones((9, 84), np.float32)
    held["layers.7.bias"] = np.ones(9, np.float32)


def _transposed(held):
    held["layers.6.weight"] = np.ascontiguousarray(held["layers.6.weight"].T)


def _scalar(held):
    held["layers.0.bias"] = np.array(1.0, np.float32)


def _extra(held):
    held["layers.7.scale"] = np.ones((2, 3), np.float32)
    held["z"] = np.ones(1, np.float32)


def _integers(held):
    held["layers.2.weight"] = held["layers.2.weight"].astype(np.int64)


BAD = {
    _missing: r"has no tensor 'layers\.4\.bias'; needs one of \(120,\)",
    _misshapen: r"'layers\.7\.weight' has the shape \(9, 84\); needs \(10, 84\)",
    _transposed: r"'layers\.6\.weight' has the shape \(120, 84\); needs \(84, 120\)",
    _scalar: r"'layers\.0\.bias' has the shape \(\); needs \(6,\)",
    _extra: r"has a tensor 'layers\.7\.scale' of \(2, 3\); needs none",
    _integers: r"'layers\.2\.weight' holds I64; needs one of F16, F32, F64",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__.strip("_"))
def test_files_that_do_not_fit(path, spoil):
    held = held_by(lenet5(), (28, 28, 1))
    spoil(held)
    write(path, held)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=BAD[spoil]) as error:
        load(path, lenet5(), (28, 28, 1))
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_floats_that_numpy_has_not(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    kernel = torch.ones(2, 3, dtype=torch.bfloat16)
    save_file({"layers.0.weight": kernel}, path)
    with pytest.raises(ValueError, match=r"'layers\.0\.weight' holds BF16; needs one of F16"):
        load(path, [Dense(2, use_bias=False)], (3,))


def test_files_that_are_none(path):
    with pytest.raises(FileNotFoundError):
        load(path, lenet5(), (28, 28, 1))
    path.write_bytes(b"not what it is called")
    with pytest.raises(ValueError, match="weights.safetensors is not a safetensors file"):
        load(path, lenet5(), (28, 28, 1))


def test_values_that_do_not_fit_are_not_written(path):
    layers = [Dense(3), Dense(2, name="output")]
    values = draw(layers, (4,))
    bad = {
        r"'layers\.0' got \(3, 4\); needs \(4, 3\)": [values[0].T, *values[1:]],
        "Got 3 values; needs 4": values[:-1],
        "Got 5 values; needs 4": [*values, values[0]],
        r"'layers\.0' got int64; needs one of float16": [
            values[0], values[1].astype("int64"), *values[2:]
        ],
    }  # fmt: skip
    for message, some in bad.items():
        with pytest.raises(ValueError, match=message):
            save(path, layers, (4,), some)
        assert not path.exists()


def test_shapes_that_do_not_fit_name_the_layer():
    with pytest.raises(ValueError, match=r"layers\.0: AveragePooling2D"):
        tensors([AveragePooling2D(3), Dense(2)], (2, 2, 1))


def test_the_library_is_only_needed_for_files(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert len(tensors(LAYERS, SHAPE)) == 13
    path = tmp_path / "weights.safetensors"
    for call in (
        lambda: load(path, LAYERS, SHAPE),
        lambda: save(path, LAYERS, SHAPE, draw(LAYERS, SHAPE)),
    ):
        with pytest.raises(ImportError, match=r'pip install "sknn\[weights\]"'):
            call()
