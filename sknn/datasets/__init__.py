"""Data sets that are often used with neural networks, in the form of scikit-learn's.

Functions ``fetch_*`` read the files of the originals from a path, or download them to the folder of
:func:`sklearn.datasets.get_data_home`. Images are arrays of shape (n_samples, height, width,
channels) of uint8. No file is unpickled: what a stranger's file contains is data, never code.
"""

from .folders import load_image_folder
from .images import fetch_cifar10, fetch_fashion_mnist, fetch_mnist
from .text import fetch_tiny_shakespeare

__all__ = [
    "fetch_cifar10",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "fetch_tiny_shakespeare",
    "load_image_folder",
]
