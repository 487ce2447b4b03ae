"""The recurrent layers that an estimator's parameters choose."""

from sklearn.utils._param_validation import StrOptions

from ..estimator.parameters import ParameterRow
from ..layers import GRU, LSTM, SimpleRNN

#: How estimators choose their recurrent layers.
CELLS = {
    "cell": ParameterRow(
        "lstm",
        [StrOptions({"rnn", "lstm", "gru"})],
        """cell : {'lstm', 'gru', 'rnn'}, default='lstm'
        The recurrent layers: :class:`~sknn.layers.LSTM`, :class:`~sknn.layers.GRU` or
        :class:`~sknn.layers.SimpleRNN`.""",
    ),
    "activation": ParameterRow(
        "tanh",
        [StrOptions({"tanh", "relu"})],
        """activation : {'tanh', 'relu'}, default='tanh'
        That of ``cell='rnn'``.""",
    ),
    "reset_after": ParameterRow(
        False,
        ["boolean"],
        """reset_after : bool, default=False
        Whether the reset gate of ``cell='gru'`` comes after the product, as in PyTorch and Keras,
        and not before it, as in the textbook.""",
    ),
}


def recurrent_layer(estimator, units, **settings):
    """Return a recurrent layer of the kind that an estimator's parameters say."""
    if estimator.cell == "rnn":
        return SimpleRNN(int(units), activation=estimator.activation, **settings)
    if estimator.cell == "gru":
        return GRU(int(units), reset_after=estimator.reset_after, **settings)
    return LSTM(int(units), **settings)
