"""The recurrent layers that an estimator's parameters choose."""

from typing import Literal

from ..estimator.parameters import Parameters, param
from ..layers import GRU, LSTM, SimpleRNN


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
