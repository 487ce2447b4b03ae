"""The benchmarked convolutional networks, and their images; PyTorch's are in `torch_networks`."""

import numpy as np

from sknn import ConvNetClassifier
from sknn.architectures import lenet5, resnet20, vgg16
from sknn.files import safetensors as weights
from sknn.layers import Conv2D, Dense, GlobalAveragePooling2D, MaxPooling2D
from sknn.layers.base import primitives

BATCH_SIZE = 128


def plain(image_shape=(32, 32, 3)):
    """Return two stages of two 3x3 convolutions and max pooling, then two dense layers."""

    def stage(filters):
        convolution = Conv2D(filters, 3, padding="same", activation="relu")
        return [convolution, convolution, MaxPooling2D(2)]

    return [*stage(32), *stage(64), Dense(128, activation="relu"), Dense(10)]


def tapering(image_shape=(40, 40, 3)):
    """Return three 3x3 convolutions with max pooling between them, then global pooling."""
    layers = [Conv2D(n, 3, padding="same", activation="relu") for n in (24, 48, 96)]
    pooled = [layer for convolution in layers for layer in (convolution, MaxPooling2D(2))]
    return [*pooled[:-1], GlobalAveragePooling2D(), Dense(10)]


# name: the function that returns its layers, the shape of its images
NETWORKS = {
    "LeNet-5": (lenet5, (28, 28, 1)),
    "32-32-pool-64-64-pool-128": (plain, (32, 32, 3)),
    "resnet20": (resnet20, (32, 32, 3)),
    "24-pool-48-pool-96": (tapering, (40, 40, 3)),
}


def classifier(name, epochs, **parameters):
    """Return an estimator that trains a network for all epochs, with Adam."""
    make, image_shape = NETWORKS[name]
    return ConvNetClassifier(
        make(image_shape),
        batch_size=BATCH_SIZE,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        random_state=0,
        **parameters,
    )


def images_for(name, samples):
    """Return random images for a network, float32 in [0, 1], and labels of ten classes."""
    rng = np.random.RandomState(0)
    X = rng.rand(samples, *NETWORKS[name][1]).astype(np.float32)
    return X, np.arange(samples) % 10


def save_vgg16(path, image_shape):
    """Save random weights of VGG-16 to a file that both sides load."""
    rng, layers = np.random.RandomState(0), vgg16(image_shape)
    values = [
        value.astype(np.float32)
        for _, layer, shape in primitives(layers, image_shape)
        for value in layer.draw(shape, rng, "he_uniform")
    ]
    weights.save(path, layers, image_shape, values)


def load_vgg16(path, image_shape):
    """Return VGG-16 with the weights in a file."""
    return ConvNetClassifier(vgg16(image_shape), image_shape).load_weights(path)
