"""Well-known convolutional architectures, as lists of layer specifications.

Each function takes `image_shape`, the (height, width, channels) of the images, and `n_classes`. The
list it returns ends with ``Dense(n_classes)`` without an activation, since estimators add the
softmax; with ``n_classes=None`` it ends right before that layer. For images smaller than those the
network was designed for, windows are cut as described in :func:`shrink`; otherwise, the size of the
images only determines the number of inputs of a `Dense` after `Flatten`.

The layers of VGG, ResNet and DenseNet have the names that their weights have in torchvision, so
that files of torchvision's weights can be loaded (`sknn.weights`).
"""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

from .layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    LocalResponseNormalization,
    MaxPooling2D,
    Residual,
    Sequential,
)
from .layers.base import path_of, shape_after

Shape = Sequence[int]
Layers = list[Layer]


def shrink(layers: Sequence[Layer], image_shape: Shape) -> Layers:
    """Return the layers with kernels and pooling windows cut to the size of their input.

    Along height and width separately, a kernel or pooling window that is larger than its input,
    padding included, is cut to the largest size that fits. Windows that fit are unchanged, which
    includes all those with 'same' padding.

    Parameters
    ----------
    layers : list of layers
        The layers. Branches of a block are cut independently. They still give the same shape if
        they have the same strides and paddings, as all in this module do; otherwise, the block
        raises its usual error.
    image_shape : tuple
        Height, width and channels of the images.

    Returns
    -------
    layers : list of layers
        The layers; those that fit are not copied.

    Raises
    ------
    TypeError, ValueError
        If `image_shape` is not a tuple of three ints of at least 1.
    """
    shape = image_shape
    if not isinstance(shape, (tuple, list)) or not all(isinstance(n, Integral) for n in shape):
        raise TypeError(f"image_shape is {shape!r}; expected (height, width, channels).")
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"image_shape is {shape!r}; expected three ints of at least 1.")
    return _shrunk(layers, tuple(map(int, shape)))


def _shrunk(layers, shape, prefix="layers"):
    result = []
    for i, layer in enumerate(layers):
        path = path_of(layer, prefix, i)
        if len(shape) == 3:
            layer = _cut(layer, shape, path)
        result.append(layer)
        shape = shape_after(layer, shape, path)
    return result


def _cut(layer, shape, path):
    """Return a layer with its window, or those of the layers nested in it, cut to the images."""

    def inside(layers, part):
        return tuple(_shrunk(layers, shape, f"{path}{part}"))

    match layer:
        case Conv2D(kernel_size=size, padding=padding, dilation_rate=dilation):
            changes = {"kernel_size": _fitting(size, padding, shape, dilation)}
        case (
            MaxPooling2D(pool_size=size, padding=padding)
            | AveragePooling2D(pool_size=size, padding=padding)
        ):
            changes = {"pool_size": _fitting(size, padding, shape)}
        case Sequential(layers=layers):
            changes = {"layers": inside(layers, "")}
        case Residual(block=block, shortcut=shortcut):
            changes = {"block": inside(block, ".block"), "shortcut": inside(shortcut, ".shortcut")}
        case Concatenate(branches=branches):
            cut = [inside(branch, f".branches.{i}") for i, branch in enumerate(branches)]
            changes = {"branches": tuple(cut)}
        case _:
            return layer
    same = all(getattr(layer, name) == value for name, value in changes.items())
    return layer if same else replace(layer, **changes)


def _fitting(extent, padding, shape, dilation=(1, 1)):
    """Return the height and width of a window, cut to the size of its padded input."""
    if padding == "same":
        return extent
    around = ((0, 0), (0, 0)) if padding == "valid" else padding
    return tuple(
        min(size, (n + sum(pad) - 1) // step + 1)
        for size, n, pad, step in zip(extent, shape, around, dilation)
    )


def _finished(layers, image_shape, n_classes, name=None):
    """Return the layers with the output layer added, cut to the images."""
    output = [] if n_classes is None else [Dense(n_classes, name=name)]
    return shrink([*layers, *output], image_shape)


# --- plain stacks


def lenet5(image_shape: Shape = (28, 28, 1), n_classes: int | None = 10) -> Layers:
    """LeNet-5 (LeCun et al., 1998), with ReLU activations and max pooling."""
    layers = [
        Conv2D(6, 5, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(2),
        Conv2D(120, 5, activation="relu"),
        Flatten(),
        Dense(84, activation="relu"),
    ]
    return _finished(layers, image_shape, n_classes)


def alexnet(image_shape: Shape = (227, 227, 3), n_classes: int | None = 1000) -> Layers:
    """AlexNet (Krizhevsky et al., 2012) as a single tower: no grouped convolutions."""
    # The paper's alpha multiplies the sum of squares, the layer's their mean over five channels.
    normalization = LocalResponseNormalization(5, alpha=5e-4, beta=0.75, k=2.0)
    layers = [
        Conv2D(96, 11, 4, activation="relu", name="conv1"),
        normalization,
        MaxPooling2D(3, 2),
        Conv2D(256, 5, padding=2, activation="relu", name="conv2"),
        normalization,
        MaxPooling2D(3, 2),
        Conv2D(384, 3, padding=1, activation="relu", name="conv3"),
        Conv2D(384, 3, padding=1, activation="relu", name="conv4"),
        Conv2D(256, 3, padding=1, activation="relu", name="conv5"),
        MaxPooling2D(3, 2),
        Flatten(),
        Dense(4096, activation="relu", name="fc6"),
        Dropout(0.5),
        Dense(4096, activation="relu", name="fc7"),
        Dropout(0.5),
    ]
    return _finished(layers, image_shape, n_classes, "fc8")


def _vgg(depths, image_shape, n_classes):
    """Return a VGG network of five stacks, with `depths` convolutions each.

    Without batch normalization, networks this deep only start to learn from He initialization.
    """
    layers, place = [], 0  # torchvision's numbers count activations and pooling layers too
    he = {"kernel_initializer": "he_uniform", "activation": "relu"}
    for filters, depth in zip((64, 128, 256, 512, 512), depths):
        for _ in range(depth):
            layers.append(Conv2D(filters, 3, padding=1, **he, name=f"features.{place}"))
            place += 2
        layers.append(MaxPooling2D(2))
        place += 1
    layers += [
        Flatten(),
        Dense(4096, activation="relu", name="classifier.0"),
        Dropout(0.5),
        Dense(4096, activation="relu", name="classifier.3"),
        Dropout(0.5),
    ]
    return _finished(layers, image_shape, n_classes, "classifier.6")


def vgg16(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """VGG-16 (Simonyan and Zisserman, 2014)."""
    return _vgg((2, 2, 3, 3, 3), image_shape, n_classes)


def vgg19(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """VGG-19 (Simonyan and Zisserman, 2014)."""
    return _vgg((2, 2, 4, 4, 4), image_shape, n_classes)


# --- GoogLeNet

#: The filters of each module: 1x1; 3x3, preceded by its 1x1 reduction; 5x5, likewise; and the 1x1
#: convolution after the pooling.
_INCEPTIONS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


def _convolution(filters, kernel_size, name, strides=1):
    return Conv2D(filters, kernel_size, strides, "same", activation="relu", name=name)


def _inception(name, ones, reduced_3, threes, reduced_5, fives, pooled):
    """Return an inception module: parallel branches of 1x1, 3x3, 5x5 and pooling."""
    branches = [
        [_convolution(ones, 1, f"{name}.branch1")],
        [
            _convolution(reduced_3, 1, f"{name}.branch2.0"),
            _convolution(threes, 3, f"{name}.branch2.1"),
        ],
        [
            _convolution(reduced_5, 1, f"{name}.branch3.0"),
            _convolution(fives, 5, f"{name}.branch3.1"),
        ],
        [MaxPooling2D(3, 1, "same"), _convolution(pooled, 1, f"{name}.branch4")],
    ]
    return Concatenate(branches, name=name)


def googlenet(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """GoogLeNet (Inception v1; Szegedy et al., 2014), without the two auxiliary classifiers."""
    layers = [
        _convolution(64, 7, "conv1", 2),
        MaxPooling2D(3, 2, "same"),
        LocalResponseNormalization(),
        _convolution(64, 1, "conv2"),
        _convolution(192, 3, "conv3"),
        LocalResponseNormalization(),
        MaxPooling2D(3, 2, "same"),
    ]
    for name, filters in _INCEPTIONS.items():
        if name in ("inception4a", "inception5a"):
            layers.append(MaxPooling2D(3, 2, "same"))
        layers.append(_inception(name, *filters))
    layers += [GlobalAveragePooling2D(), Dropout(0.4)]
    return _finished(layers, image_shape, n_classes, "fc")


# --- ResNet


def _normalized(filters, kernel_size, strides, name, norm):
    """Return a convolution, padded to keep the size up to its strides, and batch normalization."""
    padding = kernel_size // 2
    return [
        Conv2D(filters, kernel_size, strides, padding, use_bias=False, name=name),
        BatchNormalization(name=norm),
    ]


def _residual(name, sizes, filters, strides, projected):
    """Return a residual block of convolutions of the given sizes; the first 3x3 has the strides."""
    block = []
    for i, (size, width) in enumerate(zip(sizes, filters), 1):
        step = strides if i == sizes.index(3) + 1 else 1
        block += _normalized(width, size, step, f"{name}.conv{i}", f"{name}.bn{i}")
        if i < len(sizes):
            block.append(Activation("relu"))
    around = f"{name}.downsample"
    shortcut = _normalized(filters[-1], 1, strides, f"{around}.0", f"{around}.1")
    return Residual(block, shortcut if projected else [], name=name)


def _stages(depths, channels, bottleneck):
    """Return the stages of residual blocks; each but the first halves height and width."""
    layers, width = [], channels
    for stage, depth in enumerate(depths, 1):
        for i in range(depth):
            strides = 2 if stage > 1 and i == 0 else 1
            sizes = (1, 3, 1) if bottleneck else (3, 3)
            filters = (width, width, 4 * width) if bottleneck else (width, width)
            projected = strides > 1 or channels != filters[-1]
            layers.append(_residual(f"layer{stage}.{i}", sizes, filters, strides, projected))
            layers.append(Activation("relu"))
            channels = filters[-1]
        width *= 2
    return layers


def _resnet(depths, bottleneck, image_shape, n_classes):
    layers = [
        *_normalized(64, 7, 2, "conv1", "bn1"),
        Activation("relu"),
        MaxPooling2D(3, 2, padding=1),
        *_stages(depths, 64, bottleneck),
        GlobalAveragePooling2D(),
    ]
    return _finished(layers, image_shape, n_classes, "fc")


def resnet18(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """ResNet-18 (He et al., 2015)."""
    return _resnet((2, 2, 2, 2), False, image_shape, n_classes)


def resnet34(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """ResNet-34 (He et al., 2015)."""
    return _resnet((3, 4, 6, 3), False, image_shape, n_classes)


def resnet50(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """ResNet-50 (He et al., 2015), with bottleneck blocks strided at the 3x3 as in torchvision."""
    return _resnet((3, 4, 6, 3), True, image_shape, n_classes)


def resnet101(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """ResNet-101 (He et al., 2015), with the same blocks as :func:`resnet50`."""
    return _resnet((3, 4, 23, 3), True, image_shape, n_classes)


def resnet152(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """ResNet-152 (He et al., 2015), with the same blocks as :func:`resnet50`."""
    return _resnet((3, 8, 36, 3), True, image_shape, n_classes)


def cifar_resnet(
    depth: int, image_shape: Shape = (32, 32, 3), n_classes: int | None = 10
) -> Layers:
    """Return a ResNet for small images such as those of CIFAR-10 (He et al., 2015).

    A convolution and three stages of residual blocks of two convolutions each, with 16, 32 and 64
    filters. Where the size changes, the shortcut is a learned projection, as in the large ResNets;
    the paper pads with zeros instead.

    Parameters
    ----------
    depth : int
        Number of layers: 6n + 2 for n blocks per stage, such as 20, 32, 44, 56 or 110.
    image_shape : tuple, default=(32, 32, 3)
        Height, width and channels of the images.
    n_classes : int or None, default=10
        Number of units of the output layer; None: no output layer.

    Returns
    -------
    layers : list of layers
        The layers, from input to output.

    Raises
    ------
    ValueError
        If `depth` is not 6n + 2.
    """
    if not isinstance(depth, Integral) or depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth is {depth!r}; expected an int of 6n + 2, at least 8.")
    layers = [
        *_normalized(16, 3, 1, "conv1", "bn1"),
        Activation("relu"),
        *_stages((depth // 6,) * 3, 16, bottleneck=False),
        GlobalAveragePooling2D(),
    ]
    return _finished(layers, image_shape, n_classes, "fc")


def resnet20(image_shape: Shape = (32, 32, 3), n_classes: int | None = 10) -> Layers:
    """ResNet-20 for small images: :func:`cifar_resnet` with a depth of 20."""
    return cifar_resnet(20, image_shape, n_classes)


# --- DenseNet


def _preactivated(filters, kernel_size, number, name):
    """Return batch normalization, relu and convolution, in this order."""
    return [
        BatchNormalization(name=f"{name}.norm{number}"),
        Activation("relu"),
        Conv2D(
            filters, kernel_size, padding=kernel_size // 2, use_bias=False,
            name=f"{name}.conv{number}",
        ),
    ]  # fmt: skip


def _dense_blocks(depths, channels, growth, bottleneck, compression):
    """Return the dense blocks and the transitions between them.

    In a dense block, the input of each layer is the concatenation of all the outputs before it.
    """
    layers = []
    for block, depth in enumerate(depths, 1):
        for i in range(1, depth + 1):
            name = f"features.denseblock{block}.denselayer{i}"
            if bottleneck:
                new = _preactivated(4 * growth, 1, 1, name) + _preactivated(growth, 3, 2, name)
            else:
                new = _preactivated(growth, 3, 1, name)
            layers.append(Concatenate([[], new], name=name))
            channels += growth
        if block < len(depths):
            channels = int(channels * compression)
            layers += _preactivated(channels, 1, "", f"features.transition{block}")
            layers.append(AveragePooling2D(2, 2))
    return layers


def _densenet(stem, blocks, image_shape, n_classes):
    layers = [
        *stem,
        *blocks,
        BatchNormalization(name="features.norm5"),
        Activation("relu"),
        GlobalAveragePooling2D(),
    ]
    return _finished(layers, image_shape, n_classes, "classifier")


def _large_densenet(depths, image_shape, n_classes):
    stem = [
        *_normalized(64, 7, 2, "features.conv0", "features.norm0"),
        Activation("relu"),
        MaxPooling2D(3, 2, padding=1),
    ]
    blocks = _dense_blocks(depths, 64, growth=32, bottleneck=True, compression=0.5)
    return _densenet(stem, blocks, image_shape, n_classes)


def densenet121(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """DenseNet-121 (Huang et al., 2016)."""
    return _large_densenet((6, 12, 24, 16), image_shape, n_classes)


def densenet169(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """DenseNet-169 (Huang et al., 2016)."""
    return _large_densenet((6, 12, 32, 32), image_shape, n_classes)


def densenet201(image_shape: Shape = (224, 224, 3), n_classes: int | None = 1000) -> Layers:
    """DenseNet-201 (Huang et al., 2016)."""
    return _large_densenet((6, 12, 48, 32), image_shape, n_classes)


def densenet40(image_shape: Shape = (32, 32, 3), n_classes: int | None = 10) -> Layers:
    """DenseNet-40 for small images (Huang et al., 2016): growth rate 12, no bottlenecks."""
    stem = [Conv2D(16, 3, padding=1, use_bias=False, name="features.conv0")]
    blocks = _dense_blocks((12, 12, 12), 16, growth=12, bottleneck=False, compression=1)
    return _densenet(stem, blocks, image_shape, n_classes)


#: The functions, by name.
ARCHITECTURES = {
    function.__name__: function
    for function in (
        lenet5, alexnet, vgg16, vgg19, googlenet,
        resnet18, resnet34, resnet50, resnet101, resnet152, resnet20,
        densenet121, densenet169, densenet201, densenet40,
    )
}  # fmt: skip
