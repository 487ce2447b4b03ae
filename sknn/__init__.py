"""Neural networks for scikit-learn, on kernels compiled by Numba."""

from .mlp import MLPNet, MLPNetClassifier, MLPNetRegressor

__all__ = ["MLPNet", "MLPNetClassifier", "MLPNetRegressor"]
