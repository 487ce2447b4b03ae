"""Sampling of text from a recurrent network, character by character."""

import numpy as np

from ..engine.prediction import open_session
from ..tape.sources import Source
from .characters import draw
from .streams import TOKENS, final_states, with_steps

#: Maximum number of symbols to draw in one run of the engine.
_PIECE = 1024


def write(weights, n, start, frequencies, end, temperature, top_k, random_state):
    """Yield the numbers of sampled symbols, some at a time.

    Parameters
    ----------
    weights : Weights
    n : int
        Maximum number of symbols.
    start : ndarray of int64
        The symbols to continue. If it is empty, the first symbol is drawn from the frequencies.
    frequencies : ndarray of shape (n_symbols,)
    end : int or None
        The symbol at which to stop; it is not among those yielded.
    temperature : float
    top_k : int or None
    random_state : RandomState
    """
    n = int(n)
    if n and not len(start):
        first = draw(frequencies, temperature, top_k, random_state.random_sample())
        start, n = np.array([first]), n - 1
        yield start
    states = final_states(weights, [start[:-1]])
    while n:
        codes = _draw(weights, start[-1], states, min(n, _PIECE), temperature, top_k, random_state)
        ends = np.flatnonzero(codes == end)
        if len(ends):
            yield codes[: ends[0]]
            return
        yield codes
        n, start = n - len(codes), codes


def _draw(weights, last, states, n, temperature, top_k, random_state):
    """Return `n` symbols drawn after the symbol `last`; the states are updated in place."""
    tokens = np.zeros(n + 1, np.int64)
    tokens[0] = last
    rates = np.zeros((n, 6))
    weights = weights.of(with_steps(weights.network, 1))
    # below that, all but the largest probability underflow in float32 anyway
    rates[:, 2] = 1 / max(temperature, 1e-30)
    rates[:, 3] = random_state.random_sample(n)
    rates[:, 4] = min(int(top_k or 0), weights.network.outputs)
    with open_session(weights, "sample", TOKENS, 1, carries=True) as (session, packed):
        session.bind(packed, Source(tokens[:, None]), out=tokens, carry=states)
        session.run(n, 1, rates)
    return tokens[1:]
