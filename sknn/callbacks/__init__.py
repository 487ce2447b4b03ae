"""Callbacks for fits, in scikit-learn's protocol: ``estimator.set_callbacks(...)``."""

from .tensorboard import TensorBoard

__all__ = ["TensorBoard"]
