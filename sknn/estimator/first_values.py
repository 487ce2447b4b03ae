"""Initial weights that depend on the data: each layer's are adapted to what reaches it.

Sources: Mishkin and Matas, 2016, "All you need is a good init"; for the biases, Holzmueller et al.,
2024, "Better by default".
"""

from dataclasses import replace

import numpy as np

from ..engine.prediction import finite, predict
from ..engine.weights import Weights
from ..layers import Activation
from ..layers.base import path_of, primitives, shape_after
from ..layers.recurrent import Recurrent
from ..layers.weighted import Weighted
from ..tape.losses import Loss

#: The most rows that initial weights are adapted to, and the most numbers that a layer may have for
#: all of these rows, of all members.
_MOST_ROWS, _MOST_NUMBERS = 2**14, 2**26
#: Rows that an initial bias is made of.
_ROWS_OF_BIAS = 5


def check_adapted(network, initializer):
    """Raise ValueError if initial weights that depend on the data are wanted where none can be.

    `initializer` is the estimator's.
    """
    alone = {path_of(layer, "layers", i) for i, layer in enumerate(network.layers)}
    for path, layer, _ in network.primitives:
        if isinstance(layer, Weighted) and any(layer.adapts(initializer)) and path not in alone:
            raise ValueError(
                f"The initial weights of {path}, {layer}, cannot depend on the data, because it is "
                "part of another layer. Give it another kernel_initializer and bias_initializer, "
                "or place it in the list of the network's own layers."
            )
        if isinstance(layer, Recurrent) and layer.kernel_initializer is None:
            if initializer == "data_dependent":
                raise ValueError(
                    f"initializer='data_dependent' is for dense layers and convolutions; {path}, "
                    f"{layer}, needs a kernel_initializer of its own."
                )


def adapt(network, values, given, data, initializer, random_state, n_jobs):
    """Return a network's initial parameters, adapted to its training data where layers ask for it.

    From the first layer to the last, each unit's weights are divided by the standard deviation of
    its sums over the rows that reach the layer, and its bias becomes minus a random convex
    combination of its sums in some of the rows. Units whose sums are constant keep their weights.

    Parameters
    ----------
    network : Network
    values : list of ndarray
        The parameters as they have been drawn.
    given : list of bool
        For each parameter, whether it was given instead of drawn, and stays; may be shorter.
    data : Data
    initializer : str
        The estimator's.
    random_state : RandomState
    n_jobs : int or None
    """
    if not any(isinstance(a, Weighted) and any(a.adapts(initializer)) for a in network.layers):
        return values
    values, given = list(values), [*given, *[False] * (len(values) - len(given))]
    most = _MOST_NUMBERS // (network.largest * network.members)
    rows = data.rows[: max(1, min(_MOST_ROWS, most))]
    shape, k = network.start_shape, 0
    for i, layer in enumerate(network.layers):
        own = [p for _, a, start in primitives([layer], shape) for p in a.parameters(start)]
        after = shape_after(layer, shape, path_of(layer, "layers", i))
        kernel, bias = layer.adapts(initializer) if isinstance(layer, Weighted) else (False, False)
        kernel, bias = kernel and not given[k], bias and not given[k + 1]
        if kernel or bias:
            if data.carries or (data.lengths is not None and len(after) == 2):
                raise ValueError(
                    f"The initial weights of {layer} cannot depend on the data, because it is "
                    "applied to sequences of different lengths; expected another "
                    "kernel_initializer and bias_initializer."
                )
            if layer.use_bias and not given[k + 1]:
                values[k + 1] = np.zeros_like(values[k + 1])
            sums = _sums(network, i, values[: k + len(own)], data, rows, n_jobs)
            if kernel:
                # of each member that has a kernel of its own, or of all of them
                over = 1 if values[k].ndim == 3 and len(sums) > 1 else (0, 1)
                deviations = sums.std(axis=over, keepdims=True)
                # exactly constant sums may have a deviation from rounding
                deviations[np.ptp(sums, axis=over, keepdims=True) == 0] = 1.0
                sums /= deviations
                if over != 1:
                    deviations = deviations[0, 0]
                values[k] = layer.divided(values[k], deviations).astype(values[k].dtype)
            if bias:
                drawn = np.array([_bias(some, random_state) for some in sums])
                values[k + 1] = drawn.reshape(values[k + 1].shape).astype(values[k + 1].dtype)
        shape, k = after, k + len(own)
    return values


def _sums(network, i, values, data, rows, n_jobs):
    """Return the sums of layer `i` for some rows of data, of each member of the network.

    In float64, of shape (members, n, units).
    """
    layer = network.layers[i].linear()
    layers = (*network.layers[:i], layer, Activation("identity"))
    part = replace(network, layers=layers, loss=Loss("squared_error", "identity"))
    weights = Weights(part, values, values[0].dtype)
    sums = finite(predict(weights, data.source, n_jobs, rows=rows, lengths=data.lengths))
    return sums.reshape(network.members, -1, part.output_shape[-1]).astype(np.float64)


def _bias(sums, random_state):
    """Return minus a random convex combination of each unit's sums in some rows."""
    n, units = sums.shape
    rows = random_state.randint(0, n, (_ROWS_OF_BIAS, units))
    shares = random_state.standard_exponential((_ROWS_OF_BIAS, units))
    return -(shares / shares.sum(axis=0) * sums[rows, np.arange(units)]).sum(axis=0)
