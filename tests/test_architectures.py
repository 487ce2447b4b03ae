"""The famous architectures: their parameters, sizes and names; other sizes of image; summaries."""

import inspect
import tracemalloc

import pytest

from sknn.architectures import ARCHITECTURES, alexnet, cifar_resnet, lenet5, resnet18, shrink
from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
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
    GlobalAveragePooling2D,
    MaxPooling2D,
    Residual,
    Sequential,
)
from sknn.layers.base import output_shape, primitives
from sknn.summary import summarize
from sknn.tape.losses import Loss

TRAINABLE = {
    "lenet5": 61_706,
    "alexnet": 62_378_344,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 272_474,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet40": 1_019_722,
}

WINDOWS = (Conv2D, MaxPooling2D, AveragePooling2D)


def default_shape(name):
    return inspect.signature(ARCHITECTURES[name]).parameters["image_shape"].default


def paths(layers, shape):
    return [path for path, _, _ in primitives(layers, shape)]


# --- parameters, sizes, names


def test_every_architecture_is_counted():
    assert set(ARCHITECTURES) == set(TRAINABLE)


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_parameters(name):
    summary = summarize(ARCHITECTURES[name](), default_shape(name))
    assert summary.trainable == TRAINABLE[name]
    running = [row for row in summary.rows if isinstance(row.layer, BatchNormalization)]
    assert summary.other == sum(2 * row.output_shape[-1] for row in running)
    classes = 10 if default_shape(name)[0] < 100 else 1000
    assert summary.rows[-1].output_shape == (classes,)


@pytest.mark.parametrize("name", TRAINABLE)
def test_output_layer_follows_the_number_of_classes(name):
    make, shape = ARCHITECTURES[name], default_shape(name)
    full, seven, headless = make(), make(n_classes=7), make(n_classes=None)
    assert full[:-1] == seven[:-1] == headless
    assert seven[-1] == Dense(7, name=full[-1].name)
    assert len(output_shape(headless, shape)) == 1


def test_sizes_in_alexnet():
    layers, shape, sizes = alexnet(), (227, 227, 3), []
    for layer in layers:
        shape = layer.output_shape(shape)
        if isinstance(layer, WINDOWS):
            assert shape[0] == shape[1]
            sizes.append(shape[0])
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize(
    "name, sizes",
    [("vgg16", (112, 56, 28, 14, 7)), ("googlenet", (56, 28, 14, 7)),
     ("resnet50", (56, 28, 14, 7)), ("densenet121", (56, 28, 14, 7)),
     ("resnet20", (32, 16, 8)), ("densenet40", (32, 16, 8))],
)  # fmt: skip
def test_sizes_of_the_stages(name, sizes):
    summary = summarize(ARCHITECTURES[name](), default_shape(name))
    heights = [row.output_shape[0] for row in summary.rows if len(row.output_shape) == 3]
    assert [n for n in dict.fromkeys(heights) if n <= sizes[0]] == list(sizes)


def test_names_are_those_of_torchvision():
    shape = (224, 224, 3)
    vgg = paths(ARCHITECTURES["vgg16"](), shape)
    assert [p for p in vgg if not p.startswith("layers")] == [
        f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ] + ["classifier.0", "classifier.3", "classifier.6"]
    resnet = paths(resnet18(), shape)
    assert resnet[:2] == ["conv1", "bn1"] and resnet[-1] == "fc"
    second = [p for p in resnet if p.startswith("layer2.0") and "block" not in p]
    assert second == [
        f"layer2.0.{part}"
        for part in ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")
    ]
    assert "layer1.0.downsample.0" not in resnet
    assert "layer1.0.downsample.0" in paths(ARCHITECTURES["resnet50"](), shape)
    densenet = paths(ARCHITECTURES["densenet121"](), shape)
    for path in (
        "features.conv0", "features.norm0", "features.denseblock1.denselayer1.norm1",
        "features.denseblock4.denselayer16.conv2", "features.transition1.norm",
        "features.transition3.conv", "features.norm5", "classifier",
    ):  # fmt: skip
        assert path in densenet
    assert "features.transition4.conv" not in densenet


@pytest.mark.parametrize("name", TRAINABLE)
def test_names_are_different(name):
    found = paths(ARCHITECTURES[name](), default_shape(name))
    assert len(set(found)) == len(found)


def test_strides_of_bottlenecks_are_at_the_3x3():
    layers = ARCHITECTURES["resnet50"]()
    (block,) = (layer for layer in layers if getattr(layer, "name", None) == "layer2.0")
    strides = [v.strides[0] for v in block.block if isinstance(v, Conv2D)]
    assert strides == [1, 2, 1]


def test_depths_of_small_resnets():
    for depth, trainable in ((32, 466_906), (56, 855_770)):
        assert summarize(cifar_resnet(depth), (32, 32, 3)).trainable == trainable
    for depth in (21, 2, 20.0):
        with pytest.raises(ValueError, match=f"depth is {depth}; expected an int of 6n"):
            cifar_resnet(depth)


# --- other sizes of image


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 13, 1), (17, 3, 2)])
@pytest.mark.parametrize("name", TRAINABLE)
def test_architectures_for_any_size_of_image(name, shape):
    layers = ARCHITECTURES[name](shape, 4)
    assert output_shape(layers, shape) == (4,)
    whole = ARCHITECTURES[name](n_classes=4)
    assert paths(layers, shape) == paths(whole, default_shape(name))
    assert ARCHITECTURES[name]((300, 300, 3), 4) == whole  # nothing is cut where all fits


@pytest.mark.parametrize(
    "name, shape",
    [("lenet5", (28, 28, 1)), ("lenet5", (1, 1, 1)), ("alexnet", (1, 9, 1)), ("vgg16", (9, 9, 3)),
     ("googlenet", (1, 20, 1)), ("resnet20", (32, 32, 3)), ("resnet50", (5, 1, 2)),
     ("densenet40", (1, 1, 1)), ("densenet121", (64, 64, 3))],
)  # fmt: skip
@pytest.mark.parametrize("purpose", ["train", "predict"])
def test_architectures_give_a_valid_tape(name, shape, purpose):
    layers = (*ARCHITECTURES[name](shape, 3), Activation("softmax"))
    network = Network(layers, shape, Loss("log_loss", "softmax"))
    solver = Solver("adam", 0.9, 0.999) if purpose == "train" else None
    source = ("gather", ("float32", True))
    tape = lower(network, "float32", 32, purpose, source, None, solver)
    tape.verify()
    assert len(tape.parameters) == sum(map(len, network.parameters()))


@pytest.mark.parametrize(
    "layer, shape, cut",
    [
        (Conv2D(2, 5), (5, 9, 1), (5, 5)),
        (Conv2D(2, 5), (4, 9, 1), (4, 5)),
        (Conv2D(2, 5, padding=1), (2, 3, 1), (4, 5)),
        (Conv2D(2, 5, padding=((0, 1), (2, 2))), (2, 1, 1), (3, 5)),
        (Conv2D(2, 3, dilation_rate=2), (4, 5, 1), (2, 3)),
        (Conv2D(2, 3, dilation_rate=4), (4, 5, 1), (1, 2)),
        (Conv2D(2, 5, 3, "same"), (1, 1, 1), (5, 5)),
        (MaxPooling2D(3, 2), (2, 3, 1), (2, 3)),
        (MaxPooling2D(3, 2, padding=1), (1, 1, 1), (3, 3)),
        (AveragePooling2D(2), (1, 2, 1), (1, 2)),
        (AveragePooling2D(3, 1, "same"), (1, 2, 1), (3, 3)),
    ],
)
def test_a_window_is_cut_to_its_padded_input(layer, shape, cut):
    (result,) = shrink([layer], shape)
    name = "kernel_size" if isinstance(layer, Conv2D) else "pool_size"
    assert getattr(result, name) == cut
    assert (result is layer) == (cut == getattr(layer, name))
    for i in range(2):
        if cut[i] < getattr(layer, name)[i] and getattr(layer, "dilation_rate", (1, 1))[i] == 1:
            assert result.output_shape(shape)[i] == 1


def test_windows_are_cut_inside_of_blocks():
    layers = [
        Conv2D(4, 2),
        Sequential([Residual([Conv2D(4, 3)], [AveragePooling2D(3, 1)], name="sum")]),
        Concatenate([[], [Conv2D(2, 1), Activation("relu")], [MaxPooling2D(3, 1, padding=1)]]),
        GlobalAveragePooling2D(),
        Dense(3),
    ]
    assert output_shape(shrink(layers, (3, 7, 1)), (3, 7, 1)) == (3,)
    assert shrink(layers, (4, 7, 1)) == layers
    cut = shrink(layers, (3, 7, 1))
    assert cut[1] == Sequential(
        [Residual([Conv2D(4, (2, 3))], [AveragePooling2D((2, 3), 1)], name="sum")]
    )
    assert cut[0] is layers[0] and cut[2:] == layers[2:]
    (joined,) = shrink([Concatenate([[Conv2D(2, 3)], [MaxPooling2D(3, 1)]])], (2, 2, 1))
    assert joined == Concatenate([[Conv2D(2, 2)], [MaxPooling2D(2, 1)]])


def test_blocks_whose_branches_differ_are_an_error_that_names_them():
    layers = [Conv2D(1, 1), Residual([Conv2D(1, 3), Conv2D(1, 1, padding=1)], name="odd")]
    assert shrink(layers, (3, 3, 1)) == layers
    with pytest.raises(ValueError, match="odd: Residual got a block that gives 3 x 3 x 1"):
        shrink(layers, (1, 1, 1))


@pytest.mark.parametrize(
    "shape, error",
    [((28, 28), ValueError), ((0, 28, 1), ValueError), (28, TypeError), (None, TypeError),
     ((28, 28, 1.5), TypeError)],
)  # fmt: skip
def test_bad_image_shapes(shape, error):
    with pytest.raises(error, match="image_shape is"):
        lenet5(shape)


# --- summaries


MIXED = [
    Conv2D(4, 3, padding="same", activation="relu", trainable=False),
    Residual([Conv2D(4, 3, padding=1, use_bias=False, name="inner"), BatchNormalization()]),
    Conv2DTranspose(2, 2, 2, activation=Activation("elu", 0.5)),
    Flatten(),
    Dropout(0.5),
    Dense(3, name="<output>"),
]


def test_rows_of_a_summary():
    summary = summarize(MIXED, (5, 6, 2))
    rows = [(row.path, *row[2:6]) for row in summary.rows]
    assert rows == [
        ("layers.0", (5, 6, 4), 76, 0, 30 * 72),
        ("inner", (5, 6, 4), 144, 144, 30 * 144),
        ("layers.1.block.1", (5, 6, 4), 16, 8, 0),
        ("layers.2", (10, 12, 2), 34, 34, 30 * 32),
        ("layers.3", (240,), 0, 0, 0),
        ("layers.4", (240,), 0, 0, 0),
        ("<output>", (3,), 723, 723, 720),
    ]
    assert [row.layer for row in summary.rows[::6]] == [MIXED[0], MIXED[-1]]
    assert (summary.parameters, summary.trainable, summary.other) == (993, 909, 84)
    assert summary.multiply_adds == 30 * 72 + 30 * 144 + 30 * 32 + 720


LENET5 = """\
name      layer         output shape  parameters  multiply-adds
---------------------------------------------------------------
layers.0  Conv2D(relu)  28 x 28 x 6          156        117,600
layers.1  MaxPooling2D  14 x 14 x 6            0              0
layers.2  Conv2D(relu)  10 x 10 x 16       2,416        240,000
layers.3  MaxPooling2D  5 x 5 x 16             0              0
layers.4  Conv2D(relu)  1 x 1 x 120       48,120         48,000
layers.5  Flatten       120                    0              0
layers.6  Dense(relu)   84                10,164         10,080
layers.7  Dense         10                   850            840
---------------------------------------------------------------
61,706 trainable parameters, 0 others; 416,520 multiply-adds per sample"""


def test_text_of_a_summary():
    assert str(summarize(lenet5(), (28, 28, 1))) == LENET5
    text = str(summarize(MIXED, (5, 6, 2)))
    assert "Conv2DTranspose(elu)" in text and "Activation" not in text


def test_table_of_a_summary_in_notebooks():
    text = summarize(MIXED, (5, 6, 2))._repr_html_()
    assert text.startswith("<table>") and text.endswith("</table>")
    assert text.count("<tr>") == 1 + 7 + 1
    assert "<td>&lt;output&gt;</td><td>Dense</td><td>3</td><td>723</td><td>720</td>" in text
    assert "<output>" not in text
    assert "909 trainable parameters, 84 others; 8,160 multiply-adds per sample" in text


def test_frame_of_a_summary():
    pd = pytest.importorskip("pandas")
    frame = summarize(MIXED, (5, 6, 2)).to_frame()
    assert isinstance(frame, pd.DataFrame) and len(frame) == 7
    assert list(frame.columns) == [
        "path", "layer", "output_shape", "parameters", "trainable", "multiply_adds"
    ]  # fmt: skip
    assert frame["trainable"].sum() == 909
    assert list(frame["layer"][:3]) == ["Conv2D(relu)", "Conv2D", "BatchNormalization"]
    assert frame["output_shape"][0] == (5, 6, 4)


def test_summary_of_a_network_of_units():
    network = Network((Dense(7), Activation("tanh")), 3, Loss("squared_error", "identity"))
    summary = summarize(network.layers, network.input_shape)
    assert [row.output_shape for row in summary.rows] == [(7,), (7,)]
    assert (summary.trainable, summary.other, summary.multiply_adds) == (28, 0, 21)
    assert "Activation(tanh)" in str(summary)
    assert str(summarize([], (3,))).splitlines()[-1].startswith("0 trainable")


def test_errors_in_a_summary_name_the_layer():
    with pytest.raises(ValueError, match=r"layers\.1: MaxPooling2D.* got an input of 2 x 2 x 1"):
        summarize([Conv2D(1, 1), MaxPooling2D(3)], (2, 2, 1))


def test_counting_allocates_nothing():
    layers = ARCHITECTURES["vgg16"]()
    tracemalloc.start()
    try:
        assert summarize(layers, (224, 224, 3)).multiply_adds == 15_470_264_320
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
