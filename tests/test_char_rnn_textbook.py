"""CharRNN reproduces the textbook's minimal character model: the same loss in every chunk."""

import numpy as np
import pytest

from sknn.text.char_rnn import CharRNN

HIDDEN, CHUNK, RATE, LIMIT = 128, 25, 1e-3, 5.0
CHUNKS = 200

_WORDS = (
    "the of and to in that it was his he with as for had you not be her on at by which have or "
    "from this him but all she they were my are me one their so an said them we who would been "
    "will no when there if more out up into do any your what has man could other than our some "
    "very time upon about may its only now like little then can should made did us such a great"
).split()


def make_text(n_chars):
    """Return sentences of frequent words, the same ones in each call."""
    draw = np.random.RandomState(0)
    sentences = []
    while sum(map(len, sentences)) < n_chars:
        words = " ".join(draw.choice(_WORDS, draw.randint(3, 15)))
        sentences.append(words.capitalize() + draw.choice([". ", "! ", "?\n"]))
    return "".join(sentences)[:n_chars]


def softmax(scores):
    scores = np.exp(scores - scores.max())
    return scores / scores.sum()


def chunk_loss(weights, tokens, targets, state):
    """Return the summed loss of a chunk, its gradients, and the final state."""
    Wx, Wh, b, Wy, by = weights
    states, outputs, loss = [state], [], 0.0
    for token, target in zip(tokens, targets):
        x = np.zeros(len(Wx))
        x[token] = 1.0
        states.append(np.tanh(x @ Wx + states[-1] @ Wh + b))
        outputs.append(softmax(states[-1] @ Wy + by))
        loss -= np.log(outputs[-1][target])
    dWx, dWh, db, dWy, dby = gradients = [np.zeros_like(w) for w in weights]
    carried = np.zeros_like(state)
    for t in reversed(range(len(tokens))):
        dy = outputs[t].copy()
        dy[targets[t]] -= 1.0
        dWy += np.outer(states[t + 1], dy)
        dby += dy
        dz = (Wy @ dy + carried) * (1 - states[t + 1] ** 2)
        dWx[tokens[t]] += dz
        dWh += np.outer(states[t], dz)
        db += dz
        carried = Wh @ dz
    return loss, gradients, states[-1]


def train(codes, n_symbols, seed):
    """Return the losses of chunks, the final weights, and how many chunks had clipped gradients."""
    draw = np.random.RandomState(seed)
    weights = [
        0.01 * draw.standard_normal((n_symbols, HIDDEN)),
        0.01 * draw.standard_normal((HIDDEN, HIDDEN)),
        np.zeros(HIDDEN),
        0.01 * draw.standard_normal((HIDDEN, n_symbols)),
        np.zeros(n_symbols),
    ]
    state, losses, clipped = np.zeros(HIDDEN), [], 0
    for start in range(0, len(codes) - 1, CHUNK):
        targets = codes[start + 1 : start + CHUNK + 1]
        tokens = codes[start : start + len(targets)]
        loss, gradients, state = chunk_loss(weights, tokens, targets, state)
        clipped += any(np.abs(gradient).max() > LIMIT for gradient in gradients)
        for weight, gradient in zip(weights, gradients):
            weight -= RATE * np.clip(gradient, -LIMIT, LIMIT)
        losses.append(loss)
    return np.array(losses), weights, clipped


@pytest.fixture(scope="module")
def both():
    text = make_text(CHUNKS * CHUNK + 1)
    symbols = sorted(set(text))
    codes = np.array([symbols.index(symbol) for symbol in text])
    rnn = CharRNN(
        "rnn", HIDDEN, seq_len=CHUNK, batch_size=1, solver="sgd", learning_rate_init=RATE,
        momentum=0.0, nesterovs_momentum=False, clip_value=LIMIT, reduction="sum",
        initializer="small_normal", dtype="float64", alpha=0.0, random_state=3, record_steps=True,
    )  # fmt: skip
    return rnn.partial_fit(text), *train(codes, len(symbols), 3)


def test_same_losses_in_every_chunk(both):
    rnn, losses, _, clipped = both
    assert len(losses) == CHUNKS
    np.testing.assert_allclose(CHUNK * np.array(rnn.step_loss_curve_), losses, rtol=0, atol=1e-6)
    assert losses[-20:].mean() < 0.95 * losses[:20].mean()
    assert clipped > CHUNKS / 10  # otherwise clipping would not be tested


def test_same_weights_after_them(both):
    rnn, _, weights, _ = both
    ours = [value for group in rnn.weights_.values() for value in group.values()]
    for value, expected in zip(ours, weights, strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-9)
