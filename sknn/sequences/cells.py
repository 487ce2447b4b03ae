"""The recurrent layers that an estimator's parameters choose."""

from typing import Literal

from ..estimator.parameters import Parameters, param
from ..layers import GRU, LSTM, Bidirectional, Dropout, SimpleRNN


class Cells(Parameters):
    """How estimators choose their recurrent layers."""

    cell: Literal["lstm", "gru", "rnn"] = param(
        """
        The recurrent layers: :class:`~sknn.layers.LSTM`, :class:`~sknn.layers.GRU` or
        :class:`~sknn.layers.SimpleRNN`.""",
        default="lstm", kw_only=False,
    )
    activation: Literal["tanh", "relu"] = param(
        "That of ``cell='rnn'``.", default="tanh", after="truncate"
    )
    reset_after: bool = param(
        """
        Whether the reset gate of ``cell='gru'`` comes after the product, as in PyTorch and Keras,
        and not before it, as in the textbook.""",
        default=False, after="activation",
    )


def recurrent_layer(estimator, units, **settings):
    """Return a recurrent layer of the kind that an estimator's parameters say."""
    if estimator.cell == "rnn":
        return SimpleRNN(int(units), activation=estimator.activation, **settings)
    if estimator.cell == "gru":
        return GRU(int(units), reset_after=estimator.reset_after, **settings)
    return LSTM(int(units), **settings)


def stack(
    estimator, sizes, *, sequences=True, both=False, n_tokens=None, name=None, numbered=False,
    **settings,
):  # fmt: skip
    """Return recurrent layers one upon the other, with dropout between them.

    Parameters
    ----------
    estimator : estimator
        Its parameters say which, and how much dropout.
    sizes : list of int
        Units of each.
    sequences : bool
        Whether the last one gives an output for each step.
    both : bool
        Whether each is two, of which one reads backward.
    n_tokens : int or None
        Of what the first one looks up; None: it multiplies.
    name : str or None
        What they are called, with their numbers behind.
    numbered : bool
        Whether dropouts draw by their numbers, not by their places in the network.
    **settings
        Of every layer.
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
