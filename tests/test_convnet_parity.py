"""Every layer and block of a convolutional network agrees with PyTorch's on the same weights.

Outputs, losses, all gradients, optimizer steps and batch statistics, in float64. PyTorch's
functions are called with the parameters in our shapes, permuted on the way, so that its gradients
come back in them too.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from reference import REFERENCE, predict, run_engine, start_values, step_rates

from sknn import MLPNetRegressor
from sknn.architectures import ARCHITECTURES
from sknn.engine.network import Network
from sknn.engine.optimizers import Optimizer, make_solver
from sknn.layers import (
    Activation,
    ActivityRegularization,
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
    LocalResponseNormalization,
    MaxPooling2D,
    RandomCrop,
    RandomFlip,
    RandomShift,
    Residual,
    Sequential,
    UpSampling2D,
)
from sknn.tape.losses import Loss
from sknn.tape.sources import ClassNumbers, Source

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)  # with batches this small, more threads would only wait for each other

SQUARED = Loss("squared_error", "identity")
CROSS_ENTROPY = Loss("log_loss", "softmax")


# --- each layer in PyTorch: images are (samples, channels, height, width)


def padded(x, layer, extents, strides, dilation=(1, 1), value=0.0):
    """Return images with the padding of a layer's windows around them."""
    sides = []
    for i, n in enumerate(x.shape[2:]):
        if layer.padding == "same":
            outputs = -(-n // strides[i])
            total = (outputs - 1) * strides[i] + dilation[i] * (extents[i] - 1) + 1 - n
            side = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        else:
            side = (0, 0) if layer.padding == "valid" else layer.padding[i]
        sides = [*side, *sides]  # PyTorch wants the last axis first
    return F.pad(x, sides, value=value)


def weights_of(layer, net):
    w = next(net.parameters)
    net.penalty = net.penalty + 0.5 * (layer.kernel_l2 or 0.0) * (w**2).sum()
    net.penalty = net.penalty + (layer.kernel_l1 or 0.0) * w.abs().sum()
    return w, next(net.parameters) if layer.use_bias else None


def kernel_of(w):
    """Return a kernel in PyTorch's order of axes."""
    return w.permute(3, 2, 0, 1).contiguous()


def dense(layer, x, net):
    w, b = weights_of(layer, net)
    return F.linear(flatten(layer, x, net), w.T, b)


def flatten(layer, x, net):
    return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x


def conv2d(layer, x, net):
    w, b = weights_of(layer, net)
    x = padded(x, layer, layer.kernel_size, layer.strides, layer.dilation_rate)
    dilation, groups = layer.dilation_rate, layer.groups
    return F.conv2d(x, kernel_of(w), b, layer.strides, 0, dilation, groups)


def conv2d_transpose(layer, x, net):
    w, b = weights_of(layer, net)
    dilation = layer.dilation_rate
    y = F.conv_transpose2d(x, kernel_of(w), None, layer.strides, dilation=dilation)
    cuts = []
    for i in range(2):
        if layer.padding == "same":  # cut to the size times the stride, or filled up behind
            surplus = y.shape[2 + i] - x.shape[2 + i] * layer.strides[i]
            cut = max(surplus, 0) // 2, surplus - max(surplus, 0) // 2
        else:
            cut = (0, 0) if layer.padding == "valid" else layer.padding[i]
        cuts = [-cut[0], -cut[1], *cuts]
    y = F.pad(y, cuts)
    return y if b is None else y + b[:, None, None]


def max_pooling(layer, x, net):
    strides = layer.strides or layer.pool_size
    x = padded(x, layer, layer.pool_size, strides, value=-np.inf)
    return F.max_pool2d(x, layer.pool_size, strides)


def average_pooling(layer, x, net):
    strides = layer.strides or layer.pool_size
    sums, counts = (
        F.avg_pool2d(
            padded(a, layer, layer.pool_size, strides), layer.pool_size, strides,
            divisor_override=1,
        )
        for a in (x, torch.ones_like(x))
    )  # fmt: skip
    return sums / counts


def global_average(layer, x, net):
    return x.mean((2, 3))


def upsampling(layer, x, net):
    options = {"align_corners": False} if layer.interpolation == "bilinear" else {}
    factors = tuple(map(float, layer.size))
    return F.interpolate(x, scale_factor=factors, mode=layer.interpolation, **options)


def batch_normalization(layer, x, net):
    gamma, beta, mean, variance = (next(net.parameters) for _ in range(4))
    training = net.training and layer.trainable
    return F.batch_norm(x, mean, variance, gamma, beta, training, layer.momentum, layer.epsilon)


def local_response(layer, x, net):
    return F.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)


ACTIVATIONS = {
    "identity": lambda x, p: x,
    "logistic": lambda x, p: x.sigmoid(),
    "tanh": lambda x, p: x.tanh(),
    "relu": lambda x, p: x.relu(),
    "leaky_relu": lambda x, p: F.leaky_relu(x, 0.3 if p is None else p),
    "elu": lambda x, p: F.elu(x, 1.0 if p is None else p),
    "gelu": lambda x, p: F.gelu(x, approximate="tanh"),
    "silu": lambda x, p: F.silu(x),
    "selu": lambda x, p: F.selu(x),
    "mish": lambda x, p: F.mish(x),
    "softplus": lambda x, p: F.softplus(x, threshold=1e9),
    "exp": lambda x, p: x.exp(),
    "softmax": lambda x, p: x.softmax(1),
}


def activation(layer, x, net):
    return ACTIVATIONS[layer.function](x, layer.parameter)


def activity_regularization(layer, x, net):
    a = x.flatten(1)
    net.activity = net.activity + (layer.l1 * a.abs() + 0.5 * layer.l2 * a**2).sum(1)
    return x


# The numbers that random layers draw are the reference's.


def drawn(operation, x, net, numbers):
    """Return images, or rows, changed by an operation of the reference."""
    at = SimpleNamespace(seed=0, step=net.step, first=0, variant=())
    out = REFERENCE[operation](at, flatten(None, x, net).numpy().T, *numbers)
    out = torch.from_numpy(out.T.copy())
    if x.ndim == 2:
        return out
    size = numbers[3:5] if operation == "augment" else x.shape[2:]
    return out.reshape(len(x), *size, x.shape[1]).permute(0, 3, 1, 2)


def dropout(layer, x, net):
    index, net.random = net.random, net.random + 1
    if not net.training:
        return x
    numbers = x[0].numel(), index, int(layer.rate * 2**32), 1 / (1 - layer.rate)
    return x * drawn("dropout", torch.ones_like(x), net, numbers)


def gaussian_noise(layer, x, net):
    index, net.random = net.random, net.random + 1
    if not net.training:
        return x
    numbers = x[0].numel(), index, layer.stddev, -np.inf, np.inf
    return x + drawn("gaussian_noise", torch.zeros_like(x), net, numbers)


def augment(layer, x, net, height, width, change):
    index, net.random = net.random, net.random + 1
    if net.training:
        (channels, *size) = x.shape[1:]
        return drawn("augment", x, net, (*size, channels, height, width, index, *change))
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


def random_flip(layer, x, net):
    change = 0, 1, 0, 1, layer.mode != "horizontal", layer.mode != "vertical"
    return augment(layer, x, net, *x.shape[2:], change)


def random_shift(layer, x, net):
    h, w = layer.height, layer.width
    return augment(layer, x, net, *x.shape[2:], (-h, 2 * h + 1, -w, 2 * w + 1, 0, 0))


def random_crop(layer, x, net):
    h, w = layer.height, layer.width
    return augment(layer, x, net, h, w, (0, x.shape[2] - h + 1, 0, x.shape[3] - w + 1, 0, 0))


def sequential(layer, x, net):
    return forward(layer.layers, x, net)


def residual(layer, x, net):
    return forward(layer.block, x, net) + forward(layer.shortcut, x, net)


def concatenate(layer, x, net):
    return torch.cat([forward(branch, x, net) for branch in layer.branches], 1)


TRANSLATIONS = {
    Activation: activation,
    ActivityRegularization: activity_regularization,
    AveragePooling2D: average_pooling,
    BatchNormalization: batch_normalization,
    Concatenate: concatenate,
    Conv2D: conv2d,
    Conv2DTranspose: conv2d_transpose,
    Dense: dense,
    Dropout: dropout,
    Flatten: flatten,
    GaussianNoise: gaussian_noise,
    GlobalAveragePooling2D: global_average,
    LocalResponseNormalization: local_response,
    MaxPooling2D: max_pooling,
    RandomCrop: random_crop,
    RandomFlip: random_flip,
    RandomShift: random_shift,
    Residual: residual,
    Sequential: sequential,
    UpSampling2D: upsampling,
}


def forward(layers, x, net):
    """Return PyTorch's output for a batch, layer by layer."""
    for layer in layers:
        x = TRANSLATIONS[type(layer)](layer, x, net)
        if (function := getattr(layer, "activation", None)) is not None:
            own = function if isinstance(function, Activation) else Activation(function)
            x = activation(own, x, net)
        if getattr(layer, "activity_l1", 0) or getattr(layer, "activity_l2", 0):
            penalty = ActivityRegularization(layer.activity_l1, layer.activity_l2)
            x = activity_regularization(penalty, x, net)
    return x


def run_torch(network, parameters, x, training=False, step=0):
    """Return PyTorch's outputs for rows of pixels, and a namespace with the penalties.

    They are before the output activation, where that goes with the loss.
    """
    net = SimpleNamespace(
        parameters=iter(parameters), training=training, step=step, random=0, penalty=0.0,
        activity=0.0,
    )  # fmt: skip
    x = torch.from_numpy(np.ascontiguousarray(x))
    if len(network.input_shape) == 3:
        x = x.reshape(-1, *network.input_shape).permute(0, 3, 1, 2)
    layers = network.layers[:-1] if network.loss.canonical else network.layers
    out = forward(layers, x, net)
    assert next(net.parameters, None) is None
    return flatten(None, out, net), net


def sample_losses(network, z, y):
    """Return the losses of samples: those that are differentiated, and those that are reported."""
    y = torch.from_numpy(y)
    if network.loss == CROSS_ENTROPY:
        losses = F.cross_entropy(z, y, reduction="none")
        return losses, losses
    squares = 0.5 * (z - y) ** 2
    return squares.sum(1), squares.mean(1)


def leaves(network, values):
    """Return parameters in PyTorch's form."""
    declared = [p for group in network.parameters() for p in group]
    return [
        torch.tensor(value, requires_grad=p.trainable)
        for p, value in zip(declared, values, strict=True)
    ]


# --- the layers under test: shape of the input, and layers


def conv(*args, **kwargs):
    return [Conv2D(*args, **kwargs)]


def transpose(*args, **kwargs):
    return [Conv2DTranspose(*args, **kwargs)]


CONVOLUTIONS = {
    "3x3": ((7, 6, 3), conv(5, 3)),
    "same, even kernel": ((6, 7, 2), conv(4, (2, 4), padding="same")),
    "same, strides": ((9, 8, 3), conv(5, 3, 2, "same")),
    "same, more stride than kernel": ((9, 8, 3), conv(3, 2, 3, "same")),
    "more stride than kernel": ((9, 10, 2), conv(3, 2, (4, 3))),
    "padding of each side": ((5, 6, 3), conv(5, 3, 2, ((2, 0), (1, 3)))),
    "kernel larger than the image": ((3, 2, 2), conv(3, 5, padding=2)),
    "more padding than kernel": ((3, 4, 2), conv(3, 2, padding=3)),
    "dilated": ((9, 10, 2), conv(5, (3, 2), padding="same", dilation_rate=(2, 3))),
    "dilated, strides": ((9, 10, 3), conv(3, 3, (2, 3), (2, 1), dilation_rate=2)),
    "1x1": ((4, 5, 7), conv(17, 1)),
    "1x1, strides": ((5, 7, 3), conv(9, 1, 2, use_bias=False)),
    "a row": ((1, 10, 3), conv(4, (1, 3))),
    "a column": ((9, 1, 1), conv(1, (4, 1), 2)),
    "one channel": ((6, 6, 1), conv(6, 5, padding=2)),
    "many filters": ((4, 4, 5), conv(33, 3, padding="same")),
    "whole packs": ((4, 5, 8), conv(32, 2)),
    "groups": ((6, 6, 6), conv(9, 3, groups=3)),
    "groups of whole packs": ((5, 5, 6), conv(24, 3, padding=1, groups=3)),
    "groups in one pack": ((5, 6, 4), conv(16, 2, 2, groups=2, use_bias=False)),
    "depthwise": ((7, 5, 5), conv(5, 3, padding=1, groups=5)),
    "depthwise, two each": ((6, 7, 17), conv(34, 3, 2, "same", groups=17)),
    "output of one position": ((4, 5, 3), conv(10, (4, 5))),
    "output of one position, groups": ((3, 3, 4), conv(6, 3, groups=2)),
    "output of one position, dilated": ((5, 5, 2), conv(3, 3, dilation_rate=2)),
    "image of one position": ((1, 1, 3), conv(5, 3, padding="same")),
    "one position, 1x1": ((1, 1, 9), conv(5, 1)),
}

TRANSPOSES = {
    "3x3": ((4, 5, 3), transpose(5, 3)),
    "strides": ((3, 4, 5), transpose(3, 3, 2)),
    "same": ((3, 4, 3), transpose(4, 3, 2, "same")),
    "same, even kernel": ((3, 4, 2), transpose(17, 4, 2, "same")),
    "same, more stride than kernel": ((3, 2, 3), transpose(2, 2, 3, "same")),
    "more stride than kernel": ((3, 2, 9), transpose(5, 1, (2, 3))),
    "padding": ((4, 4, 3), transpose(3, 4, 2, 1, use_bias=False)),
    "padding of each side": ((4, 3, 2), transpose(5, 3, 1, ((2, 0), (1, 0)))),
    "dilated": ((3, 4, 3), transpose(3, (2, 3), 2, dilation_rate=(3, 2))),
    "same, dilated": ((4, 4, 2), transpose(3, 3, 1, "same", dilation_rate=2)),
    "1x1": ((4, 3, 5), transpose(9, 1)),
    "from one position": ((1, 1, 17), transpose(3, 4)),
    "one channel": ((5, 5, 1), transpose(1, 3, 2)),
}

POOLS = {
    f"{kind.__name__}, {name}": (shape, [kind(*args)])
    for kind in (MaxPooling2D, AveragePooling2D)
    for name, shape, args in (
        ("2x2", (6, 7, 3), ()),
        ("overlapping", (7, 7, 5), (3, 2)),
        ("same", (6, 7, 3), (3, 2, "same")),
        ("same, even", (5, 5, 2), ((2, 4), 1, "same")),
        ("padding", (7, 6, 5), (3, 2, 1)),
        ("padding of each side", (6, 5, 3), ((2, 3), (2, 1), ((1, 0), (0, 2)))),
        ("more stride than window", (8, 9, 3), (2, (3, 4))),
        ("whole image", (3, 4, 9), ((3, 4),)),
        ("1x1", (3, 4, 2), (1, 2)),
    )
}

OTHERS = {
    "global average": ((5, 7, 9), [GlobalAveragePooling2D()]),
    "global average of one position": ((1, 1, 3), [GlobalAveragePooling2D()]),
    "nearest": ((3, 4, 5), [UpSampling2D((2, 3))]),
    "bilinear": ((3, 4, 5), [UpSampling2D(2, "bilinear")]),
    "bilinear by odd factors": ((4, 3, 2), [UpSampling2D((3, 1), "bilinear")]),
    "bilinear of one position": ((1, 1, 3), [UpSampling2D((2, 3), "bilinear")]),
    "bilinear of a row": ((1, 5, 1), [UpSampling2D((2, 4), "bilinear")]),
    "local response": ((3, 4, 9), [LocalResponseNormalization(5, 0.7, 0.75, 1.5)]),
    "local response, even size": ((3, 2, 7), [LocalResponseNormalization(4, 0.5, 0.5, 1.0)]),
    "local response over more than all": ((2, 3, 3), [LocalResponseNormalization(9, 1.0)]),
    "local response, defaults": ((4, 3, 17), [LocalResponseNormalization()]),
    "batch normalization": ((5, 4, 9), [BatchNormalization()]),
    "batch normalization, 17 channels": ((3, 4, 17), [BatchNormalization(0.3, 1e-2)]),
    "batch normalization, frozen": ((3, 3, 5), [BatchNormalization(trainable=False)]),
    "batch normalization, one position": ((1, 1, 3), [BatchNormalization()]),
    "batch normalization of units": ((9,), [BatchNormalization()]),
    "dense after an image": ((3, 4, 5), [Dense(7)]),
    "dense, no bias": ((2, 3, 3), [Dense(17, use_bias=False, activation="tanh")]),
    "flatten": ((3, 2, 5), [Flatten(), Dense(4)]),
    "softmax": ((2, 2, 3), [Dense(5), Activation("softmax")]),
    "dropout": ((3, 4, 5), [Dropout(0.3)]),
    "dropout of units": ((9,), [Dropout(0.5), Dense(5), Dropout(0.2)]),
    "noise": ((3, 3, 5), [GaussianNoise(0.5), Activation("tanh")]),
    "noise of units": ((9,), [GaussianNoise(0.1), Dropout(0.5), GaussianNoise(0.2)]),
    "flip": ((3, 4, 2), [RandomFlip("horizontal"), Conv2D(3, 2)]),
    "flips": ((4, 3, 2), [RandomFlip("horizontal_and_vertical"), Conv2D(3, 2)]),
    "shift": ((4, 3, 3), [RandomShift(1, 2), Conv2D(3, 2)]),
    "crop": ((6, 7, 3), [RandomCrop(3, 4), Conv2D(5, 2)]),
    "crop of the whole": ((3, 4, 1), [RandomCrop(3, 4), Dense(3)]),
    "all that is random": (
        (6, 7, 1),
        [RandomShift(1, 0), RandomFlip("vertical"), RandomCrop(4, 5), GaussianNoise(0.1),
         Conv2D(5, 2), Dropout(0.2)],
    ),
    "activity": ((3, 2, 5), [ActivityRegularization(0.1, 0.3)]),
    **{
        f"{function}({number})": ((3, 2, 5), [Activation(function, number)])
        for function, number in (
            *((name, None) for name in sorted(set(ACTIVATIONS) - {"softmax"})),
            ("leaky_relu", 0.1),
            ("elu", 0.7),
        )
    },
}  # fmt: skip

RELU = Activation("relu")
BLOCKS = {
    "pool after relu": ((6, 6, 3), [Conv2D(5, 3, activation="relu"), MaxPooling2D(2)]),
    "pool after relu, by itself": ((6, 7, 3), [RELU, MaxPooling2D(3, 2, "same")]),
    "pool after tanh": ((6, 6, 3), [Conv2D(5, 3, activation="tanh"), MaxPooling2D(2)]),
    "pool after regularized relu": (
        (6, 6, 3), [Conv2D(5, 3, activation="relu", activity_l1=0.1), MaxPooling2D(2)],
    ),
    "identity shortcut": ((5, 5, 3), [Residual([Conv2D(3, 3, padding=1)])]),
    "shortcut with a projection": (
        (6, 5, 3),
        [Residual(
            [Conv2D(5, 3, 2, 1), BatchNormalization(), RELU, Conv2D(5, 3, padding=1)],
            [Conv2D(5, 1, 2, use_bias=False), BatchNormalization()],
        ), RELU],
    ),
    "block that does nothing": ((3, 3, 5), [Residual([]), Conv2D(3, 1)]),
    "block of an activation": ((3, 3, 5), [Residual([Activation("tanh")], [RELU])]),
    "pre-activation": (
        (4, 4, 3),
        [Residual([BatchNormalization(), RELU, Conv2D(3, 3, padding=1)]), Activation("silu")],
    ),
    "residual in residual": (
        (4, 5, 3), [Residual([RELU, Residual([Conv2D(3, 3, padding=1)]), RELU]), RELU],
    ),
    "residual of units": ((9,), [Residual([Dense(9, activation="tanh")], Dense(9)), RELU]),
    "branches": (
        (5, 6, 3),
        [Concatenate([
            [Conv2D(5, 1, activation="relu")],
            [MaxPooling2D(3, 1, "same"), Conv2D(3, 1)],
            [Conv2D(2, 3, padding="same"), BatchNormalization(), RELU],
        ])],
    ),
    "dense block": (
        (4, 4, 3),
        [
            Concatenate([[], [BatchNormalization(), RELU, Conv2D(5, 3, padding=1)]]),
            Concatenate([[], [BatchNormalization(), RELU, Conv2D(5, 3, padding=1)]]),
            BatchNormalization(), RELU, Conv2D(4, 1), AveragePooling2D(2),
        ],
    ),
    "branches without weights": ((4, 4, 3), [Concatenate([[RELU], [], [AveragePooling2D(1)]])]),
    "branches of units": ((7,), [Concatenate([Dense(3), Activation("tanh"), Dense(9)]), RELU]),
    "one branch": ((3, 4, 5), [Concatenate([[Conv2D(3, 2)]]), RELU]),
    "branch in branch": (
        (3, 3, 3),
        [Concatenate([Concatenate([[], RELU]), Residual([Concatenate([Conv2D(3, 1)])])])],
    ),
    "sequential": (
        (4, 4, 3),
        [Sequential([Conv2D(5, 3), RELU, Sequential([Conv2D(3, 2)])]), Sequential([]), RELU],
    ),
    "frozen": (
        (6, 5, 3),
        [
            Conv2D(5, 3, trainable=False), BatchNormalization(trainable=False), RELU,
            Residual([Conv2D(5, 3, padding=1, trainable=False)]), Conv2D(3, 2),
            Conv2DTranspose(5, 2, trainable=False), Dense(9, trainable=False), Dense(3),
        ],
    ),
    "penalties": (
        (4, 4, 3),
        [
            Conv2D(5, 3, kernel_l2=0.3, activation="tanh", activity_l2=0.2),
            Conv2DTranspose(3, 2, kernel_l1=0.05, activity_l1=0.1),
            Dense(9, kernel_l1=0.02, kernel_l2=0.1, activation="tanh", activity_l1=0.1),
            Dense(2, kernel_l2=0.0),
        ],
    ),
    "autoencoder": (
        (6, 6, 1),
        [
            Conv2D(9, 3, 2, "same", activation="relu"), Conv2D(2, 3, padding="same"),
            UpSampling2D(2), Conv2DTranspose(5, 3, padding="same", activation="elu"),
            Conv2D(1, 3, padding="same", activation="logistic"),
        ],
    ),
}  # fmt: skip

CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("convolution", CONVOLUTIONS),
        ("transpose", TRANSPOSES),
        ("pool", POOLS),
        ("layer", OTHERS),
        ("block", BLOCKS),
    )
    for name, case in cases.items()
}


def random_window(random, shape, transposed=False):
    """Return random numbers of a convolution that has an output for a shape."""
    while True:
        padding = [
            "valid", "same", int(random.randint(3)), tuple(random.randint(3, size=2)),
            tuple(map(tuple, random.randint(3, size=(2, 2)))),
        ][random.randint(5)]  # fmt: skip
        kwargs = {
            "kernel_size": tuple(random.randint(1, 5, size=2)),
            "strides": tuple(random.randint(1, 4, size=2)),
            "dilation_rate": tuple(random.randint(1, 3, size=2)),
            "padding": padding,
            "use_bias": bool(random.randint(2)),
        }
        try:
            layer = (Conv2DTranspose if transposed else Conv2D)(1, **kwargs)
            layer.output_shape(shape)
        except ValueError:
            continue
        return kwargs


def random_case(seed):
    """Return a random shape and convolution; every third one transposed."""
    random = np.random.RandomState(seed)
    shape = (*random.randint(1, 11, size=2), random.choice([1, 2, 3, 5, 6, 9]))
    shape = tuple(map(int, shape))
    filters, groups = int(random.choice([1, 2, 3, 5, 6, 9, 17])), 1
    transposed = seed % 3 == 2
    kwargs = random_window(random, shape, transposed)
    if transposed:
        return shape, [Conv2DTranspose(filters, **kwargs)]
    if random.randint(2):
        groups = int(random.choice([g for g in range(1, 10) if shape[2] % g == filters % g == 0]))
    return shape, [Conv2D(filters, groups=groups, **kwargs)]


CASES |= {f"random: {seed}": random_case(seed) for seed in range(18)}

parametrize_cases = pytest.mark.parametrize("name", CASES)


# --- the comparison


def make_network(shape, layers, learn_before):
    """Return a network of the layers; if wanted, with one before them that has weights.

    Its gradient shows that of the layers' input. Nothing that learns may come before a crop.
    """
    if learn_before and not isinstance(layers[0], (RandomCrop, RandomFlip, RandomShift)):
        units = shape[-1]
        layers = [Dense(units) if len(shape) == 1 else Conv2D(units, 1), *layers]
    return Network((*layers, Flatten(), Activation("identity")), shape, SQUARED)


def make_problem(network, n, seed=0):
    random = np.random.RandomState(seed)
    shape = network.input_shape
    x = random.normal(size=(n, int(np.prod(shape))))
    if network.loss == CROSS_ENTROPY:
        y = random.randint(network.outputs, size=n)
    else:
        y = random.normal(size=(n, network.outputs))
    targets = ClassNumbers(y) if network.loss == CROSS_ENTROPY else Source(y)
    return SimpleNamespace(
        x=x, y=y, source=Source(x), targets=targets, rows=random.permutation(n),
        values=start_values(network, "float64", seed),
    )  # fmt: skip


def assert_close(ours, theirs, what, precision=1e-9, least=1e-3):
    """Compare numbers relative to the largest one, or to `least` if that is larger."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    size = max(least, np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(
        ours, theirs, rtol=precision, atol=precision * size, err_msg=str(what)
    )


def check_outputs(network, n, dtype="float64", precision=1e-9):
    """Compare outputs, and the loss that is reported; return our outputs."""
    p = make_problem(network, n)
    made = run_engine(
        network, dtype, "evaluate", p.values, p.source, p.targets, p.rows, n,
        step_rates(None, p.rows, n),
    )  # fmt: skip
    z, _ = run_torch(network, leaves(network, p.values), p.x[p.rows])
    outputs = z.softmax(1) if network.loss == CROSS_ENTROPY else z
    assert_close(made.outputs, outputs, "outputs", precision)
    assert_close(made.total, sample_losses(network, z, p.y[p.rows])[1].sum(), "loss", precision)
    return made.outputs


def check_gradients(network, n):
    """Compare all gradients, summed over weighted samples, and the loss that is reported."""
    p = make_problem(network, n)
    weights = np.random.RandomState(1).uniform(0.5, 2.0, n)
    made = run_engine(
        network, "float64", "gradient", p.values, p.source, p.targets, p.rows, n,
        step_rates(None, p.rows, n), weights=weights,
    )  # fmt: skip
    parameters = leaves(network, p.values)
    z, net = run_torch(network, parameters, p.x[p.rows], training=True)
    losses, reported = sample_losses(network, z, p.y[p.rows])
    w = torch.from_numpy(weights[p.rows])
    (w * (losses + net.activity)).sum().backward()
    assert_close(made.total, (w * (reported + net.activity)).sum(), "loss")
    for parameter, ours, theirs in zip(made.parameters, made.gradients, parameters):
        if parameter.trainable:
            # The gradient of a bias before batch normalization is zero: what remains of a sum of up
            # to a thousand terms of about one depends on their order, and is at most 1e-10.
            assert_close(ours, theirs.grad, parameter, least=0.1)
    compare_parameters(made, parameters)  # the running statistics


def compare_parameters(made, parameters, precision=1e-9):
    for parameter, ours, theirs in zip(made.parameters, made.values, parameters):
        assert_close(ours, theirs, parameter, precision)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, betas=(0.8, 0.9))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01)


SOLVERS = {
    "sgd": ({"momentum": 0.0, "nesterovs_momentum": False, "learning_rate_init": 0.01}, sgd),
    "adam": ({"beta_1": 0.8, "beta_2": 0.9, "learning_rate_init": 0.01, "epsilon": 1e-4}, adam),
}


def check_steps(network, solver, n, batch):
    """Compare the parameters after an epoch, and the loss that is reported."""
    p = make_problem(network, n)
    params, make_optimizer = SOLVERS[solver]
    estimator = MLPNetRegressor("squared_error", solver=solver, alpha=0.0, **params)
    optimizer = Optimizer(estimator, p.values)
    rates = step_rates(None, p.rows, batch)
    rates[:, 2:5] = optimizer.rates(estimator, len(rates))
    made = run_engine(
        network, "float64", "train", p.values, p.source, p.targets, p.rows, batch, rates,
        solver=make_solver(estimator), n_states=len(optimizer.states),
    )  # fmt: skip
    parameters = leaves(network, p.values)
    optimizer, total = make_optimizer([q for q in parameters if q.requires_grad]), 0.0
    for step, start in enumerate(range(0, n, batch)):
        rows = p.rows[start : start + batch]
        if solver == "adam":  # scikit-learn adds epsilon before the bias correction of the moments
            optimizer.param_groups[0]["eps"] = 1e-4 / np.sqrt(1 - 0.9 ** (step + 1))
        optimizer.zero_grad()
        z, net = run_torch(network, parameters, p.x[rows], True, step)
        losses, reported = sample_losses(network, z, p.y[rows])
        (((losses + net.activity).sum() + net.penalty) / len(rows)).backward()
        optimizer.step()
        total += ((reported + net.activity).sum() + net.penalty).item()
    assert_close(made.total, total, "loss")
    compare_parameters(made, parameters, 1e-8)


@parametrize_cases
def test_outputs_are_pytorch_s(name):
    network = make_network(*CASES[name], False)
    for n in (5, 37):  # a narrow block, a full and a partly filled one
        check_outputs(network, n)


@parametrize_cases
def test_gradients_are_pytorch_s(name):
    network = make_network(*CASES[name], True)
    for n in (5, 37):
        check_gradients(network, n)


@pytest.mark.parametrize("solver", SOLVERS)
@parametrize_cases
def test_steps_are_pytorch_s(name, solver):
    shape, layers = CASES[name]
    network = make_network(shape, layers, not any(layer.learns for layer in layers))
    check_steps(network, solver, 41, 34)


@pytest.mark.parametrize(
    "name, dtype",
    [(name, "float64") for name in CASES]
    + [(name, "float32") for name in CASES if name.startswith("block")],
)
def test_one_sample_gives_the_bits_that_it_gives_in_a_batch(name, dtype):
    network = make_network(*CASES[name], False)
    values = start_values(network, dtype)
    x = np.random.RandomState(0).normal(size=(33, int(np.prod(network.input_shape)))).astype(dtype)
    whole = predict(network, values, np.dtype(dtype), Source(x), 1)
    for n in (1, 4):
        some = predict(network, values, np.dtype(dtype), Source(x[:n]), 1)
        np.testing.assert_array_equal(some, whole[:n], err_msg=f"{n} rows")


@pytest.mark.parametrize("padding", ["valid", "same", 1])
@pytest.mark.parametrize("after_relu", [False, True])
def test_of_equal_values_in_a_pool_the_first_takes_the_gradient_as_in_pytorch(padding, after_relu):
    layers = [RELU] * after_relu + [MaxPooling2D(3, 2, padding)]
    network = make_network((6, 7, 3), layers, True)
    problem = make_problem(network, 37)
    problem.x = np.round(problem.x)
    kernel = np.eye(3).reshape(1, 1, 3, 3)
    made = run_engine(
        network, "float64", "gradient", [kernel, np.zeros(3)], Source(problem.x), problem.targets,
        problem.rows, 37, step_rates(None, problem.rows, 37),
    )  # fmt: skip
    parameters = leaves(network, [kernel, np.zeros(3)])
    z, _ = run_torch(network, parameters, problem.x[problem.rows])
    sample_losses(network, z, problem.y[problem.rows])[0].sum().backward()
    for ours, theirs in zip(made.gradients, parameters):
        assert_close(ours, theirs.grad, "gradient")


# --- whole networks

NETWORKS = {
    "lenet": (
        (10, 10, 1),
        [
            Conv2D(6, 3, padding=1, activation="tanh"), AveragePooling2D(2),
            Conv2D(16, 3, activation="tanh"), Flatten(), Dense(12, activation="tanh"), Dense(10),
        ],
    ),
    "residual": (
        (8, 8, 3),
        [
            Conv2D(9, 3, 1, "same", use_bias=False), BatchNormalization(), RELU,
            MaxPooling2D(3, 2, 1),
            Residual([
                Conv2D(9, 3, padding=1, use_bias=False), BatchNormalization(), RELU,
                Conv2D(9, 3, padding=1, use_bias=False), BatchNormalization(),
            ]), RELU,
            Residual([
                Conv2D(17, 3, 2, 1, use_bias=False), BatchNormalization(), RELU,
                Conv2D(17, 3, padding=1, use_bias=False), BatchNormalization(),
            ], [Conv2D(17, 1, 2, use_bias=False), BatchNormalization()]), RELU,
            GlobalAveragePooling2D(), Dropout(0.2), Dense(10),
        ],
    ),
    "inception": (
        (8, 8, 3),
        [
            Conv2D(9, 3, activation="relu"), LocalResponseNormalization(3, 0.1),
            Concatenate([
                Conv2D(3, 1, activation="relu"),
                [Conv2D(5, 1, activation="relu"), Conv2D(5, 3, padding=1, activation="relu")],
                [MaxPooling2D(3, 1, "same"), Conv2D(2, 1, activation="relu")],
            ]),
            AveragePooling2D(2), Dense(10),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_are_pytorch_s(name):
    shape, layers = NETWORKS[name]
    network = Network((*layers, Activation("softmax")), shape, CROSS_ENTROPY)
    check_outputs(network, 37)
    check_gradients(network, 37)
    check_steps(network, "adam", 41, 34)


# --- the famous ones, in float32


def draw_values(network, seed=0):
    """Return initial weights of a fit, and statistics as after training."""
    random, values = np.random.RandomState(seed), []
    for _, layer, shape in network.primitives:
        first = layer.draw(shape, random, "auto")
        if isinstance(layer, BatchNormalization):
            gamma, beta, mean, variance = first
            first = [
                random.uniform(0.5, 1.5, gamma.shape), random.normal(0.0, 0.2, beta.shape),
                random.normal(0.0, 0.2, mean.shape), random.uniform(0.5, 1.5, variance.shape),
            ]  # fmt: skip
        values += [value.astype(np.float32) for value in first]
    return values


@pytest.mark.parametrize(
    "name, shape",
    [
        ("lenet5", (28, 28, 1)),
        ("resnet20", (16, 16, 3)),
        ("densenet40", (8, 8, 3)),
        ("googlenet", (32, 32, 3)),
        ("resnet18", (64, 64, 3)),
        ("densenet121", (64, 64, 3)),
    ],
)
def test_logits_of_architectures_are_pytorch_s(name, shape):
    layers = ARCHITECTURES[name](shape, 1000)
    network = Network((*layers, Activation("identity")), shape, SQUARED)
    values = draw_values(network)
    x = np.random.RandomState(1).normal(size=(3, int(np.prod(shape)))).astype(np.float32)
    logits = predict(network, values, np.dtype("float32"), Source(x), 1)
    parameters = [torch.from_numpy(value.astype(np.float64)) for value in values]
    with torch.no_grad():
        theirs, _ = run_torch(network, parameters, x.astype(np.float64))
    assert_close(logits, theirs, "logits", 1e-4)
    alone = predict(network, values, np.dtype("float32"), Source(x[1:2]), 1)
    np.testing.assert_array_equal(alone[0], logits[1])
