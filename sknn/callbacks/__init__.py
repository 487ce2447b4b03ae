"""Callbacks to follow a long fit, through scikit-learn's protocol: ``net.set_callbacks(...)``."""

from .checkpoint import Checkpoint
from .tensorboard import TensorBoard

__all__ = ["Checkpoint", "TensorBoard"]
