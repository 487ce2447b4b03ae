"""Base class of the networks that read text."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..estimator.base import agree
from ..estimator.net import LayeredNet
from ..layers import GRU, LSTM, Dropout, Embedding, SimpleRNN
from ..layers.recurrent import Recurrent
from ..sequences.cells import stack

#: The layers of an encoder or decoder.
_KINDS = {SimpleRNN, LSTM, GRU, Embedding, Dropout}


class TextNet(LayeredNet):
    """A network of recurrent layers that reads characters."""

    _predicts_rows = False  # it predicts characters, one after the other

    def _network_inputs(self, network):
        return network.inputs  # the number of steps, which is any

    @staticmethod
    def _check_coder(layers, n_symbols):
        """Check layers that read symbols, and carry states from one to the next."""
        agree("The layers", {type(layer) for layer in layers} <= _KINDS, True)
        agree("The first layer", layers[0].n_tokens, n_symbols)
        own = [layer for layer in layers if isinstance(layer, Recurrent)]
        agree("The layers", bool(own) and not any(layer.reverse for layer in own), True)

    def _computing_dtype(self, texts):
        """Return the type to compute in, for texts, or for None, the type of the weights."""
        if self.dtype is None and texts is None:
            return self._weights.dtype
        return np.dtype(self.dtype or np.float32)

    def _to_load(self, sizes, classes):
        """Return the fitted network, whose characters are known, and no attributes to set."""
        check_is_fitted(self)
        if classes is not None:
            raise ValueError(f"classes is {classes!r}; expected None: there are no classes.")
        return self._weights.network, {}

    def _recurrent(self, n_symbols):
        """Return the layers that read one of `n_symbols` symbols at each step."""
        sizes = [self.hidden_size] * self.n_layers
        if self.embedding is None:
            return stack(self, sizes, n_tokens=n_symbols)
        return [Embedding(n_symbols, int(self.embedding)), *stack(self, sizes)]
