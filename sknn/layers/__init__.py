"""Layer specifications: plain, comparable objects that hold hyper-parameters only.

A layer can be read whole in one place: its parameters, its shapes, its forward operations, and, as
the function that `forward` returns, its backward ones.
"""

from .activation import Activation, ActivityRegularization, Dropout, GaussianNoise
from .augmentation import RandomCrop, RandomFlip, RandomShift
from .base import Layer
from .convolution import Conv2D, Conv2DTranspose
from .dense import Dense, Flatten
from .merging import Concatenate, Residual, Sequential
from .normalization import BatchNormalization, LocalResponseNormalization
from .pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D, UpSampling2D
from .recurrent import GRU, LSTM, Bidirectional, Embedding, EncoderDecoder, SimpleRNN

__all__ = [
    "Activation",
    "ActivityRegularization",
    "AveragePooling2D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "Flatten",
    "GRU",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "LSTM",
    "Layer",
    "LocalResponseNormalization",
    "MaxPooling2D",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "Residual",
    "Sequential",
    "SimpleRNN",
    "UpSampling2D",
]
