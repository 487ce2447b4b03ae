"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from .convnet import ConvNetClassifier, ConvNetRegressor, ConvNetTransformer
from .mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from .perceptron import PerceptronClassifier

__all__ = [
    "ConvNetClassifier",
    "ConvNetRegressor",
    "ConvNetTransformer",
    "MLPNet",
    "MLPNetClassifier",
    "MLPNetRegressor",
    "PerceptronClassifier",
]
