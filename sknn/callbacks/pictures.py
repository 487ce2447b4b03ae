"""Images of a network's filters, and of what it makes of images."""

import numpy as np

from ..layers import Conv2D, Dense

#: Height and width of a small image in a grid, at least, in pixels; the most images in a grid.
_LEAST, _MOST = 24, 100


def images_of(net):
    """Return the shape (height, width, channels) of the images that a network reads, or None."""
    shape = getattr(net, "image_shape_", None)
    return shape if shape is not None and min(shape[:2]) > 1 else None


def filters(net, shape):
    """Return the weights of a network's first layer with a kernel as a grid of images.

    Each image is scaled to the range of its own weights, with gray for zero.

    Parameters
    ----------
    net : Net
        A fitted network.
    shape : tuple of int
        The (height, width, channels) of the images that it reads.

    Returns
    -------
    grid : ndarray of shape (height, width, 3), or None
        Values from 0 to 1; None if the layer is neither convolutional nor sees the whole image.
    """
    weights = net._held_weights()
    by_layer = weights.by_layer()
    for path, layer, _ in weights.network.primitives:
        kernel = by_layer.get(path, {}).get("kernel")
        if kernel is None:
            continue
        kernel = np.asarray(kernel, float)
        if isinstance(layer, Conv2D):
            kernels = np.moveaxis(kernel, -1, 0)
        elif isinstance(layer, Dense) and len(kernel) == np.prod(shape):
            kernels = kernel.T.reshape(-1, *shape)
        else:
            return None
        kernels = kernels[:_MOST]
        largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
        return grid(0.5 + np.divide(kernels, 2 * largest, where=largest > 0, out=0 * kernels))
    return None


def reconstructions(net, X, shape):
    """Return images of X in one row of a grid, and their reconstructions in the next.

    The values are scaled to the range of X, and those outside of it are clipped.
    """
    found = (X, net.reconstruct(X))
    rows = [np.asarray(a.toarray() if hasattr(a, "toarray") else a, float) for a in found]
    low, high = rows[0].min(), rows[0].max()
    images = np.concatenate([row.reshape(-1, *shape) for row in rows])
    return grid((images - low) / ((high - low) or 1.0), columns=len(rows[0]))


def grid(images, columns=None):
    """Return images side by side, enlarged and with lines between them.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels)
        Values from 0 to 1. Three channels are shown as colors; the mean of others as gray.
    columns : int or None
        Images per row; None: as many as there are rows.

    Returns
    -------
    grid : ndarray of shape (height, width, 3)
    """
    if images.shape[-1] != 3:
        images = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    n, height, width, _ = images.shape
    scale = -(-_LEAST // min(height, width)) if min(height, width) < _LEAST else 1
    images = np.pad(
        images.repeat(scale, axis=1).repeat(scale, axis=2),
        ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0,
    )  # fmt: skip
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    whole = np.ones((rows * columns, *images.shape[1:]))
    whole[:n] = images
    whole = whole.reshape(rows, columns, *images.shape[1:]).transpose(0, 2, 1, 3, 4)
    return whole.reshape(rows * images.shape[1], columns * images.shape[2], 3)
