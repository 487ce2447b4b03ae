"""The gradient of a network's loss over data."""

import numpy as np

from .devices import device_named
from .lowering import program
from .prediction import CHUNK

#: Bytes for the activations of a chunk, which the backward pass needs.
_CHUNK_BYTES = 32 * 2**20


class LossSum:
    """The sum of the losses over rows, as a function of the packed parameters, with its gradient.

    Penalties on weights are not included. The gradient is summed over batches, as those of
    training: each batch has its own statistics and random draws, the same in each call.

    Parameters
    ----------
    network : Network
    dtype : dtype
    data : Data
    recipe : Recipe
        Its device and number of threads.
    batch : int or None
        Rows per batch; None: as many as fit into little memory, for networks whose loss does not
        depend on how rows are divided.
    order : ndarray of int or None
        The order of the rows; None: that of the data.
    steps : int or None
        Number of batches, the first ones in that order; None: all.
    seed : int
        Seed of dropout, noise and augmentation.

    Attributes
    ----------
    layout : Layout
    size : int
        Number of variables, without the padding after the last parameter: NumPy releases the GIL
        for arrays of more than 500 elements.
    amount : float
        What the sums are divided by to give means: the sum of the weights of all losses, as in the
        steps of training.
    session : object
        The device's session; it can be called in its context.
    """

    def __init__(self, network, dtype, data, recipe, batch=None, order=None, steps=None, seed=0):
        self._device = device = device_named(recipe.device)
        most = len(data.rows) if batch is None else batch
        width = device.training_width(network, most, dtype)
        keys = data.source.key, data.targets.key
        made = program(
            network, dtype.name, width, "gradient", *keys, carries=data.carries, device=device
        )
        if batch is None:
            batch = min(most, CHUNK, made.rows_within(_CHUNK_BYTES))
        self.layout, parts = made.layout, [made.layout.part(p) for p in made.layout.parameters]
        self.size = max(part.stop for part in parts)
        packed, gradient = device.zeros(self.layout), device.zeros(self.layout)
        self._packed, self._gradient = packed[: self.size], gradient[: self.size]
        threads = device.threads(network, min(most, CHUNK), recipe.n_jobs)
        self.session = device.session(made, batch, threads, gradient)
        once, self._batch = data.once(batch, order), batch
        self._rows = len(once.rows) if steps is None else min(steps * batch, len(once.rows))
        self.session.bind(
            packed, data.source, data.targets, data.weights, once.rows, seed=seed, **once.bound
        )
        rates = once.rates[: -(-self._rows // batch), 0]
        self.amount = float((1 / rates[rates > 0]).sum())

    def __call__(self, packed):
        """Return the loss and a new array with its gradient."""
        self._device.write(self._packed, packed)
        self._device.write(self._gradient, 0.0)
        loss = self.session.run(self._rows, self._batch, accumulate=True)  # sums, not means
        return loss, self._device.read(self._gradient)


def mean_gradient(network, dtype, values, data, recipe, batch, **how):
    """Return the mean loss at some parameters, and its gradient.

    Parameters
    ----------
    network, dtype, data, recipe, batch
        As for :class:`LossSum`; keyword arguments are passed on.
    values : list of ndarray
        The parameters, in their documented shapes.

    Returns
    -------
    loss : float
    gradient : list of ndarray
        In the shapes of the parameters; zeros for those that are not trained.
    """
    losses = LossSum(network, dtype, data, recipe, batch, **how)
    layout = losses.layout
    with losses.session:
        packed = layout.pack(values, np.zeros(layout.size, dtype))[: losses.size]
        loss, gradient = losses(packed)
    return float(loss) / losses.amount, layout.unpack(gradient / dtype.type(losses.amount))
