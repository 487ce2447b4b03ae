"""Layer specifications: immutable, comparable objects that hold hyperparameters only.

Everything about a layer is defined in one place: its parameters, its shapes, its forward
operations, and, in the function that `forward` returns, its backward operations.
"""

from .activation import (
    Activation,
    ActivityRegularization,
    Dropout,
    GaussianNoise,
    GaussianSampling,
    MaskingNoise,
    SaltAndPepperNoise,
)
from .augmentation import RandomCrop, RandomFlip, RandomShift
from .base import Layer
from .checks import explain
from .convolution import Conv2D, Conv2DTranspose
from .dense import Dense, Flatten, Reshape
from .ensembles import EnsembleDense
from .merging import Concatenate, Residual, Sequential
from .normalization import BatchNormalization, LocalResponseNormalization
from .pooling import (
    AveragePooling2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    RepeatVector,
    UpSampling2D,
)
from .radial import RadialBasis
from .recurrent import GRU, LSTM, Bidirectional, Embedding, EncoderDecoder, SimpleRNN
from .tied import ContractivePenalty, TiedDense

__all__ = [
    "Activation",
    "ActivityRegularization",
    "AveragePooling2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "ContractivePenalty",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "EnsembleDense",
    "Flatten",
    "GRU",
    "GaussianNoise",
    "GaussianSampling",
    "GlobalAveragePooling2D",
    "LSTM",
    "Layer",
    "LocalResponseNormalization",
    "MaskingNoise",
    "MaxPooling2D",
    "RadialBasis",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "RepeatVector",
    "Reshape",
    "Residual",
    "SaltAndPepperNoise",
    "Sequential",
    "SimpleRNN",
    "TiedDense",
    "UpSampling2D",
]

for _name in __all__:
    if _name != "Layer":
        explain(globals()[_name])
