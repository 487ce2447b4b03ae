"""The benchmarked character models, and text for them; PyTorch's are in `torch_recurrent`."""

from typing import NamedTuple

import numpy as np

from sknn import CharRNN

SYMBOLS = [chr(ord("0") + i) for i in range(65)]


class Model(NamedTuple):
    """A model, how it splits text, and the number of chunks per measurement."""

    cell: str
    hidden: int
    layers: int
    streams: int
    steps: int
    chunks: int
    target: float | None  # how many times faster than PyTorch a step should be
    parameters: dict

    def small(self):
        """Return the same model with very little work."""
        return self._replace(streams=min(self.streams, 8), steps=10, chunks=2)

    def text(self, chunks=None):
        """Return text for this number of chunks; None: for all."""
        return text_of(self.streams * self.steps * (chunks or self.chunks) + 1)

    def estimator(self, **more):
        """Return the CharRNN."""
        return CharRNN(
            self.cell,
            self.hidden,
            self.layers,
            seq_len=self.steps,
            batch_size=self.streams,
            random_state=0,
            **self.parameters,
            **more,
        )


MODELS = {
    "SimpleRNN 128, 64 streams of 50": Model("rnn", 128, 1, 64, 50, 100, 4, {}),
    "LSTM 128, 64 streams of 50": Model("lstm", 128, 1, 64, 50, 100, 1.8, {}),
    "GRU 128, 64 streams of 50": Model("gru", 128, 1, 64, 50, 100, 3.5, {"reset_after": True}),
    "textbook GRU 128, 64 streams of 50": Model("gru", 128, 1, 64, 50, 100, None, {}),
    "SimpleRNN 128, one stream of 25": Model(
        "rnn", 128, 1, 1, 25, 1000, 4,
        {"solver": "sgd", "learning_rate_init": 1e-3, "momentum": 0.0, "reduction": "sum",
         "nesterovs_momentum": False},
    ),
    "LSTM 2 x 256, 64 streams of 50": Model("lstm", 256, 2, 64, 50, 20, 1.3, {}),
}  # fmt: skip


def text_of(length):
    """Return random text of 65 symbols."""
    return "".join(np.random.RandomState(0).choice(SYMBOLS, length))
