"""PyTorch's side of the character models: the same networks, training and sampling.

They use the library's layers, which read one-hot vectors, or a hand-written loop over time, which
looks up rows of the input kernel instead. `torch.compile` is not used: it does not compile the
library's layers, and for the loop it took up to a minute and then gained 5% at most.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class CharModel(nn.Module):
    """One-hot characters, recurrent layers, and a linear layer."""

    def __init__(self, cell, hidden, layers, symbols, dropout=0.0):
        super().__init__()
        self.rnn = CELLS[cell](symbols, hidden, layers, dropout=dropout)
        self.out = nn.Linear(hidden, symbols)
        self.register_buffer("one_hot", torch.eye(symbols))

    def forward(self, codes, state=None):
        """Return the logits after each character, and the states; `codes` are (time, streams)."""
        outputs, state = self.rnn(self.one_hot[codes], state)
        return self.out(outputs), state


class LoopModel(nn.Module):
    """One simple recurrent layer or GRU, as a loop over time."""

    def __init__(self, cell, hidden, symbols):
        super().__init__()
        self.step, columns = {"rnn": (_rnn_step, hidden), "gru": (_gru_step, 3 * hidden)}[cell]
        self.table = nn.Embedding(symbols, columns)
        self.bias = nn.Parameter(torch.zeros(columns))
        self.kernel = nn.Parameter(torch.empty(hidden, columns))
        self.candidate_bias = nn.Parameter(torch.zeros(hidden), requires_grad=cell == "gru")
        self.out = nn.Linear(hidden, symbols)
        for weights in (self.table.weight, self.kernel):
            nn.init.uniform_(weights, -(hidden**-0.5), hidden**-0.5)

    def forward(self, codes, state=None):
        """Return the logits after each character, and the state; `codes` are (time, streams)."""
        if state is None:
            state = torch.zeros(codes.shape[1], len(self.kernel))
        outputs = []
        for inputs in (self.table(codes) + self.bias).unbind():
            state = self.step(inputs, state, self.kernel, self.candidate_bias)
            outputs.append(state)
        return self.out(torch.stack(outputs)), state


def _rnn_step(inputs, state, kernel, _):
    return torch.tanh(torch.addmm(inputs, state, kernel))


def _gru_step(inputs, state, kernel, candidate_bias):
    n, sums = 2 * state.shape[1], torch.mm(state, kernel)
    reset, update = torch.sigmoid(inputs[:, :n] + sums[:, :n]).chunk(2, 1)
    candidate = torch.tanh(inputs[:, n:] + reset * (sums[:, n:] + candidate_bias))
    return candidate + update * (state - candidate)


@contextmanager
def conditions(threads, mkldnn):
    """Set the number of threads, and whether to use oneDNN's kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.mkldnn.flags(enabled=mkldnn):
            yield
    finally:
        torch.set_num_threads(before)


def make_optimizer(model, solver, rate):
    """Return Adam or plain SGD, in the fused implementation, which is the fastest here."""
    kind = torch.optim.Adam if solver == "adam" else torch.optim.SGD
    return kind((p for p in model.parameters() if p.requires_grad), lr=rate, fused=True)


def train(model, optimizer, codes, streams, steps, reduction="mean", clip=5.0):
    """Train for one epoch on a text in parallel streams, in chunks of `steps` characters."""
    length = (len(codes) - 1) // streams
    x = codes[: streams * length].reshape(streams, length).T.contiguous()
    y = codes[1 : streams * length + 1].reshape(streams, length).T.contiguous()
    parameters = [p for p in model.parameters() if p.requires_grad]
    state, total = None, 0.0
    for start in range(0, length, steps):
        logits, state = model(x[start : start + steps], state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), y[start : start + steps].flatten(), reduction=reduction
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(parameters, clip)
        optimizer.step()
        total += loss.detach()
    return total


def begin_as_sknn(model, seed):
    """Initialize the weights as sknn does: biases are zero, except for 1 in forget gates.

    The second bias of each gate, which is redundant, stays at zero.
    """
    generator = np.random.RandomState(seed)
    hidden = model.rnn.hidden_size
    with torch.no_grad():
        for name, p in model.rnn.named_parameters():
            if name.startswith("weight"):
                bound = hidden**-0.5
                p.copy_(torch.from_numpy(generator.uniform(-bound, bound, p.shape)))
            else:
                p.zero_()
                p.requires_grad_(name.startswith("bias_ih"))
                if isinstance(model.rnn, nn.LSTM) and name.startswith("bias_ih"):
                    p[hidden : 2 * hidden] = 1.0
        bound = (6 / (hidden + model.out.out_features)) ** 0.5
        model.out.weight.copy_(
            torch.from_numpy(generator.uniform(-bound, bound, model.out.weight.shape))
        )
        model.out.bias.zero_()


def score(model, codes):
    """Return the mean log-likelihood per character, with the state carried through the text."""
    model.eval()
    total, state = 0.0, None
    with torch.inference_mode():
        for start in range(0, len(codes) - 1, 4096):
            x, y = codes[start : start + 4096], codes[start + 1 : start + 4097]
            x = x[: len(y)]
            logits, state = model(x[:, None], state)
            total -= float(nn.functional.cross_entropy(logits[:, 0], y, reduction="sum"))
    model.train()
    return total / (len(codes) - 1)


def sample_by_module(model, n):
    """Sample characters with the layer itself, one step at a time."""
    with torch.inference_mode():
        state, code = None, torch.zeros(1, 1, dtype=torch.int64)
        for _ in range(n):
            logits, state = model(code, state)
            code = torch.multinomial(torch.softmax(logits[0], 1), 1)


def sample_by_cell(model, n):
    """Sample characters with a cell of the same size."""
    cell = nn.LSTMCell(model.rnn.input_size, model.rnn.hidden_size)
    with torch.inference_mode():
        state, code = None, torch.zeros(1, dtype=torch.int64)
        for _ in range(n):
            state = cell(model.one_hot[code], state)
            code = torch.multinomial(torch.softmax(model.out(state[0]), 1), 1)[0]


def sample_by_hand(model, n):
    """Sample characters by the LSTM's equations, with input contributions looked up in a table."""
    rnn, out = model.rnn, model.out
    with torch.inference_mode():
        table = rnn.weight_ih_l0.T + rnn.bias_ih_l0 + rnn.bias_hh_l0
        kernel = rnn.weight_hh_l0.T.contiguous()
        h = c = torch.zeros(1, rnn.hidden_size)
        code = torch.zeros(1, dtype=torch.int64)
        for _ in range(n):
            i, f, g, o = torch.addmm(table[code], h, kernel).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            code = torch.multinomial(torch.softmax(out(h), 1), 1)[0]
