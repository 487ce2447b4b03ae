"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from .mlp import MLPNet, MLPNetClassifier, MLPNetRegressor
from .perceptron import PerceptronClassifier

__all__ = ["MLPNet", "MLPNetClassifier", "MLPNetRegressor", "PerceptronClassifier"]
