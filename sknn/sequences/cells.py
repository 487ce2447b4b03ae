"""The recurrent layers that an estimator's parameters select."""

from typing import Literal

from ..estimator.parameters import Parameters, param
from ..layers import GRU, LSTM, Bidirectional, Dropout, SimpleRNN


class Cells(Parameters):
    """The type of an estimator's recurrent layers."""

    cell: Literal["lstm", "gru", "rnn"] = param(
        """
        Type of the recurrent layers: :class:`~sknn.layers.LSTM`, :class:`~sknn.layers.GRU` or
        :class:`~sknn.layers.SimpleRNN`.""",
        default="lstm", kw_only=False,
    )
    activation: Literal["tanh", "relu"] = param(
        "Activation of the layers with ``cell='rnn'``.", default="tanh", after="truncate"
    )
    reset_after: bool = param(
        """
        Whether the reset gate of ``cell='gru'`` is applied after the product with the recurrent
        kernel, as in PyTorch and Keras, rather than before it, as in textbooks.""",
        default=False, after="activation",
    )


def recurrent_layer(estimator, units, **settings):
    """Return a recurrent layer of the type that an estimator's parameters select."""
    if estimator.cell == "rnn":
        return SimpleRNN(int(units), activation=estimator.activation, **settings)
    if estimator.cell == "gru":
        return GRU(int(units), reset_after=estimator.reset_after, **settings)
    return LSTM(int(units), **settings)


def stack(
    estimator, sizes, *, sequences=True, both=False, n_tokens=None, name=None, numbered=False,
    **settings,
):  # fmt: skip
    """Return stacked recurrent layers, with dropout between them.

    Parameters
    ----------
    estimator : estimator
        Its parameters select the type of layer and the dropout rate.
    sizes : list of int
        Units per layer.
    sequences : bool
        Whether the last layer has an output for each step.
    both : bool
        Whether the layers are bidirectional.
    n_tokens : int or None
        Number of tokens, if the first layer looks up rows of its kernel; None: its input is
        vectors.
    name : str or None
        Prefix of the layers' names, which a number follows.
    numbered : bool
        Whether a dropout layer seeds its draws by its number, not by its position in the network.
    **settings
        Arguments of every layer.
    """
    layers = []
    for i, units in enumerate(sizes):
        last = i == len(sizes) - 1
        own = {} if name is None else {"name": f"{name}_{i + 1}"}
        looked_up = {"n_tokens": n_tokens} if i == 0 and n_tokens is not None else {}
        layer = recurrent_layer(
            estimator, units, return_sequences=sequences or not last, **looked_up, **settings,
            **({} if both else own),
        )  # fmt: skip
        layers.append(Bidirectional(layer, **own) if both else layer)
        if estimator.dropout and not last:
            layers.append(Dropout(float(estimator.dropout), i if numbered else None))
    return layers
