"""Text that a recurrent network writes: drawn character by character, or searched for."""

import numpy as np

from ..engine.prediction import open_session
from ..tape.sources import Source
from .characters import draw
from .streams import TOKENS, final_states, next_probabilities, with_steps

#: The most symbols that are drawn at once.
_PIECE = 1024


def write(weights, n, start, frequencies, end, temperature, top_k, random_state):
    """Yield the numbers of drawn symbols, some at a time.

    Parameters
    ----------
    weights : Weights
    n : int
        How many, at most.
    start : ndarray of int64
        What they continue. Where it is empty, the first is drawn by its frequency.
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
    """Return `n` symbols drawn after the symbol `last`; the states go on."""
    tokens = np.zeros(n + 1, np.int64)
    tokens[0] = last
    rates = np.zeros((n, 6))
    weights = weights.of(with_steps(weights.network, 1))
    # beyond that, what is not the largest has no probability in float32 either
    rates[:, 2] = 1 / max(temperature, 1e-30)
    rates[:, 3] = random_state.random_sample(n)
    rates[:, 4] = min(int(top_k or 0), weights.network.outputs)
    with open_session(weights, "sample", TOKENS, 1, carries=True) as session:
        session.bind(weights.packed, Source(tokens[:, None]), out=tokens, carry=states)
        session.run(n, 1, rates)
    return tokens[1:]


def most_probable(weights, n, states, probabilities, width, end):
    """Return the most probable symbols that a beam search finds, and their log-probability.

    Parameters
    ----------
    weights : Weights
    n : int
        How many symbols, at most.
    states : ndarray of shape (1, state_size)
        The network's, where it begins.
    probabilities : ndarray of shape (1, n_symbols)
        Those of the first symbol.
    width : int
        How many beginnings are kept.
    end : int or None
        The symbol that ends a text.

    Returns
    -------
    codes : ndarray of int64
        Without the end.
    log_probability : float
        With the end, if there is one.
    """
    beams, scores = np.zeros((1, 0), np.int64), np.zeros(1)
    best, best_score = None, -np.inf
    for _ in range(n):
        with np.errstate(divide="ignore"):
            grown = scores[:, None] + np.log(probabilities, dtype=np.float64)
        kept = np.argsort(-grown, axis=None, kind="stable")[:width]
        kept = kept[np.isfinite(grown.ravel()[kept])]
        parents, symbols = np.divmod(kept, grown.shape[1])
        beams, scores = np.column_stack([beams[parents], symbols]), grown.ravel()[kept]
        ended = symbols == end
        if ended.any() and scores[ended].max() > best_score:
            first = np.flatnonzero(ended)[0]
            best, best_score = beams[first, :-1], scores[first]
        beams, scores = beams[~ended], scores[~ended]
        if not len(scores) or scores[0] <= best_score:  # they can only get worse
            return best, float(best_score)
        states = states[parents[~ended]]
        probabilities = next_probabilities(weights, beams[:, -1], states)
    return beams[0], float(scores[0])
