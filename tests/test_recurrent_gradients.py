"""Recurrent networks: gradients by finite differences, complete tapes, and invariances."""

from dataclasses import replace

import numpy as np
import pytest
from reference import Executor, X, predict, run_engine, step_rates
from test_convolution import assert_same_bits
from test_operations import (
    ADAM,
    assert_close,
    assert_gradient_is_right,
    assert_padding_is_zero,
    compare,
    make_loss,
    make_problem,
)

from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower, program
from sknn.engine.network import Network
from sknn.layers import (
    GRU,
    LSTM,
    Activation,
    ActivityRegularization,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    EncoderDecoder,
    Flatten,
    SimpleRNN,
)
from sknn.tape.sources import Source

STEPS, TOKENS = 6, 7
CELLS = {
    "tanh": SimpleRNN(5),
    "relu": SimpleRNN(5, activation="relu"),
    "logistic": SimpleRNN(5, activation="logistic", use_bias=False),
    "lstm": LSTM(5),
    "gru": GRU(5),
    "gru, reset after": GRU(5, reset_after=True),
}


def rnn(*layers, shape=(STEPS, 3), outputs=3, loss="log_loss", link="softmax"):
    """Return a network that ends with a dense layer, of each step if there are several."""
    return Network((*layers, Dense(outputs), Activation(link)), shape, make_loss(loss, link))


def each(layer):
    """Return a recurrent layer that outputs the state after each step."""
    return replace(layer, return_sequences=True)


VECTORS = np.random.RandomState(0).normal(size=(TOKENS, 4))
ENCODER = (Embedding(TOKENS, 4), each(LSTM(5)), Dropout(0.2), LSTM(5))
DECODER = (Embedding(TOKENS, 4), each(LSTM(5)), each(LSTM(5)))
TRANSLATOR = rnn(EncoderDecoder(ENCODER, DECODER, 4), shape=(7,), outputs=TOKENS)
OF_TOKENS = {"tokens": TOKENS, "ragged": (STEPS,)}

#: Networks, and a description of their data.
NETWORKS = {
    "stacked": (
        rnn(each(LSTM(5)), Dropout(0.3), each(GRU(5)), SimpleRNN(5)), {"ragged": (STEPS,)},
    ),
    "bidirectional": (
        rnn(Bidirectional(each(LSTM(5))), Bidirectional(GRU(5))), {"ragged": (STEPS,)},
    ),
    "bidirectional, each step": (
        rnn(Bidirectional(each(GRU(5))), Dropout(0.2), Bidirectional(each(SimpleRNN(5)))),
        {"ragged": (STEPS,), "weighted": True},
    ),
    "backward in time": (
        rnn(each(GRU(5, reverse=True)), LSTM(5, reverse=True)), {"ragged": (STEPS,)},
    ),
    "between dense layers": (
        rnn(Dense(5, activation="tanh"), each(LSTM(5)), Dense(5, activation="silu"), GRU(5)), {},
    ),
    "penalised between": (
        rnn(each(LSTM(5)), ActivityRegularization(0.1, 0.1), LSTM(5)), {"ragged": (STEPS,)},
    ),
    "flattened": (rnn(each(SimpleRNN(5)), Activation("gelu"), Flatten()), {}),
    "embedding": (rnn(Embedding(TOKENS, 4), LSTM(5), shape=(STEPS,)), OF_TOKENS),
    "given vectors": (
        rnn(Embedding(TOKENS, 4, vectors=VECTORS, trainable=False), each(GRU(5)), shape=(STEPS,)),
        OF_TOKENS,
    ),
    "tokens": (rnn(each(LSTM(5, n_tokens=TOKENS)), shape=(STEPS,)), OF_TOKENS),
    "tokens both ways": (
        rnn(Bidirectional(each(SimpleRNN(5, n_tokens=TOKENS, use_bias=False))), GRU(5),
            shape=(STEPS,)),
        OF_TOKENS,
    ),
    "frozen in the middle": (
        rnn(each(LSTM(5)), each(GRU(5, trainable=False)), SimpleRNN(5)), {"ragged": (STEPS,)},
    ),
    "frozen at first": (
        rnn(Bidirectional(each(SimpleRNN(5, trainable=False))), LSTM(5)), {"ragged": (STEPS,)},
    ),
    "encoder and decoder": (TRANSLATOR, {"tokens": TOKENS, "ragged": (4, 3), "weighted": True}),
    "encoder and decoder of tokens": (
        rnn(
            EncoderDecoder([GRU(5, n_tokens=TOKENS)], [each(GRU(5, n_tokens=TOKENS))], 4),
            shape=(7,), outputs=TOKENS,
        ),
        {"tokens": TOKENS, "ragged": (4, 3)},
    ),
    "encoder and decoder with layers between": (
        rnn(
            EncoderDecoder(
                [Embedding(TOKENS, 4), each(GRU(5)), Activation("silu"), SimpleRNN(5)],
                [each(GRU(5, n_tokens=TOKENS)), Dense(5), Activation("silu"), each(SimpleRNN(5))],
                4,
            ),
            shape=(7,), outputs=TOKENS,
        ),
        {"tokens": TOKENS, "ragged": (4, 3)},
    ),
}  # fmt: skip
LOSSES = [
    ("log_loss", "logistic"),
    ("squared_error", "identity"),
    ("squared_error", "softmax"),
    ("huber", "tanh"),
    ("poisson", "exp"),
]


# --- gradients


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_gradient_of_cells(name, sequences, ragged):
    cell = replace(CELLS[name], return_sequences=sequences, reverse=sequences != ragged)
    assert_gradient_is_right(rnn(cell), ragged=(STEPS,) if ragged else None)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_of_networks(name):
    network, options = NETWORKS[name]
    assert_gradient_is_right(network, **options)


@pytest.mark.parametrize(("name", "link"), LOSSES)
def test_gradient_of_losses_of_each_step(name, link):
    network = rnn(each(GRU(5)), loss=name, link=link)
    assert_gradient_is_right(network, ragged=(STEPS,))


def test_gradient_of_one_step():
    for layer in (SimpleRNN(5), each(LSTM(5)), GRU(5, reverse=True)):
        assert_gradient_is_right(rnn(layer, shape=(1, 3)), ragged=(1,))


@pytest.mark.parametrize("name", CELLS)
def test_gradient_through_states_that_are_given(name):
    network = rnn(each(CELLS[name]), CELLS[name])
    assert_gradient_is_right(network, ragged=(STEPS,), streams=11)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_is_the_same_for_every_purpose(name):
    """Without randomness: buffers that prediction overwrites are no longer needed."""
    network, options = NETWORKS[name]
    if "Dropout" in repr(network.layers) or "Regularization" in repr(network.layers):
        pytest.skip("is another one in training")
    p = make_problem(network, "float64", 11, **options)
    totals = [
        run_engine(
            network, "float64", purpose, p.values, p.source, p.targets, p.rows, 11,
            step_rates(p.weights, p.rows, 11), weights=p.weights, width=8, fill=np.nan, **p.bound,
        ).total
        for purpose in ("gradient", "evaluate", "loss")
    ]  # fmt: skip
    assert totals[0] == totals[1] == totals[2]


def test_gradients_add_up_over_chunks():
    network = rnn(each(GRU(5)), LSTM(5))
    p = make_problem(network, "float64", 43, ragged=(STEPS,))

    def run(batch):
        return run_engine(
            network, "float64", "gradient", p.values, p.source, p.targets, p.rows, batch,
            np.ones((-(-43 // batch), 2)), accumulate=True, width=8, **p.bound,
        )  # fmt: skip

    whole, chunks = run(43), run(13)
    for a, b in zip(whole.gradients, chunks.gradients):
        assert_close(a, b, 1e-12, "gradient")


# --- complete tapes against the definitions


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    network, options = NETWORKS[name]
    made = compare(network, "float64", 11, 30, ADAM, width=8, **options)
    assert_padding_is_zero(made)
    compare(network, "float64", 11, 30, purpose="evaluate", width=8, **options)


@pytest.mark.parametrize("truncate", [1, 2, 4])
@pytest.mark.parametrize("name", CELLS)
def test_truncated_gradients(name, truncate):
    cell = replace(CELLS[name], truncate=truncate)
    network = rnn(each(cell), each(replace(cell, reverse=True)), cell)
    for ragged in (None, (STEPS,)):
        compare(network, "float64", 11, 11, purpose="gradient", width=8, ragged=ragged)


@pytest.mark.parametrize("name", CELLS)
def test_states_that_are_carried_along(name):
    """From batch to batch, and to streams whose state is reset."""
    network = rnn(each(CELLS[name]), CELLS[name])
    options = {"ragged": (STEPS,), "streams": 11}
    compare(network, "float64", 11, 33, ADAM, width=8, **options)
    compare(network, "float64", 11, 33, purpose="evaluate", width=8, **options)


@pytest.mark.parametrize(("batch", "dtype"), [(1, "float64"), (33, "float32")])
def test_other_widths(batch, dtype):
    layers = Embedding(TOKENS, 17), each(LSTM(17, truncate=4)), each(GRU(17, reverse=True))
    network = rnn(*layers, shape=(STEPS,), outputs=17)
    options = OF_TOKENS | {"weighted": batch > 1, "width": 1 if batch == 1 else 32}
    solver = replace(ADAM, clip_norm=0.5, l2=0.1)
    made = compare(network, dtype, batch, 2 * batch + 3, solver, threads=2, **options)
    assert_padding_is_zero(made)
    compare(network, dtype, batch, 2 * batch + 3, purpose="evaluate", **options)


# --- equivalent networks


def test_tokens_stand_for_their_one_hot_vectors():
    for cell in CELLS.values():
        vectors = rnn(Bidirectional(each(cell)), shape=(STEPS, TOKENS))
        tokens = rnn(Bidirectional(each(replace(cell, n_tokens=TOKENS))), shape=(STEPS,))
        p = make_problem(tokens, "float64", 11, **OF_TOKENS)
        one_hot = Source(np.eye(TOKENS)[p.data[X]].reshape(len(p.data[X]), -1))
        made = [
            run_engine(
                network, "float64", "gradient", p.values, source, p.targets, p.rows, 11,
                np.ones((1, 2)), width=8, **p.bound,
            )
            for network, source in ((vectors, one_hot), (tokens, p.source))
        ]  # fmt: skip
        assert made[0].total == pytest.approx(made[1].total, rel=1e-13)
        for a, b in zip(made[0].gradients, made[1].gradients, strict=True):
            assert_close(a, b, 1e-12, "gradient")


@pytest.mark.parametrize("name", CELLS)
def test_chunks_that_carry_their_states_are_one_long_sequence(name):
    """Batch after batch; a row whose state is reset is another sequence."""
    network, long = (
        rnn(each(CELLS[name]), each(CELLS[name]), shape=(steps, 3)) for steps in (STEPS, 3 * STEPS)
    )
    p = make_problem(long, "float64", 8)
    x, rows = p.data[X][:8], np.arange(24)
    chunks = np.vstack(np.split(x, 3, axis=1))
    for anew in (False, True):
        bound = {"carry": np.zeros((8, network.state_size))}
        bound["resets"] = np.repeat([0, 0, anew], 8).astype(np.uint8)
        parts = run_engine(
            network, "float64", "predict", p.values, Source(chunks), None, rows, 8,
            np.ones((3, 2)), width=8, **bound,
        ).outputs  # fmt: skip
        joined = np.hstack(np.split(parts, 3))
        expected = predict(long, p.values, np.dtype(float), Source(x), 1)
        same = joined.shape[1] * 2 // 3
        assert (joined[:, :same] == expected[:, :same]).all()
        assert (joined == expected).all() != anew
    alone = predict(network, p.values, np.dtype(float), Source(chunks[16:]), 1)
    assert (joined[:, same:] == alone).all()


# --- what must not change the result


def _padded(x, steps, more, fill):
    """Return sequences with more padding."""
    x = x.reshape(len(x), steps, -1)
    return np.pad(x, ((0, 0), (0, more), (0, 0)), constant_values=fill).reshape(len(x), -1)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bidirectional", "float64"), ("tokens", "float32")],
)
def test_a_sequence_predicts_the_same_bits_alone_and_padded_and_in_any_batch(name, dtype):
    network, options = NETWORKS[name]
    p = make_problem(network, dtype, 50, **options)
    lengths = np.random.RandomState(0).randint(0, STEPS + 1, size=(len(p.data[X]), 1))
    dtype, x = np.dtype(dtype), p.data[X]

    def run(network, x, **options):
        outputs = predict(network, p.values, dtype, Source(x), 1, **options)
        return outputs.reshape(len(outputs), network.steps or 1, -1)

    together = run(network, x, lengths=lengths)
    inside = np.ones((len(x), 1, 1), bool)
    if network.steps:
        inside = (np.arange(STEPS) < lengths)[..., None]
    for n in (1, 2, 8, 9, 17, 33):
        some = run(network, x[-n:], lengths=lengths[-n:])
        assert (some == together[-n:]).all(), n
    # padding after the end
    padding = np.repeat(np.arange(STEPS) >= lengths, x.shape[1] // STEPS, axis=1)
    other = np.where(padding, 3, x)
    assert (np.where(inside, run(network, other, lengths=lengths) == together, True)).all()
    longer = replace(network, inputs=(STEPS + 3, *network.input_shape[1:]))
    other = run(longer, _padded(other, STEPS, 3, 2), lengths=lengths)[:, : together.shape[1]]
    assert (np.where(inside, other == together, True)).all()
    for length in range(1, STEPS + 1):
        rows = np.flatnonzero(lengths == length)[:3]
        cut = x.reshape(len(x), STEPS, -1)[rows, :length].reshape(len(rows), -1)
        alone = run(replace(network, inputs=(length, *network.input_shape[1:])), cut)
        assert (alone == together[rows, : alone.shape[1]]).all(), length


@pytest.mark.parametrize("purpose", ["train", "evaluate"])
def test_neither_threads_nor_what_lay_in_memory_change_the_bits(purpose):
    for network, options in (NETWORKS["bidirectional, each step"], NETWORKS["encoder and decoder"]):
        p = make_problem(network, "float64", 60, **options)
        runs = [
            run_engine(
                network, "float64", purpose, p.values, p.source, p.targets, p.rows, 37,
                step_rates(p.weights, p.rows, 37), weights=p.weights, threads=threads, seed=7,
                fill=fill, width=8, solver=ADAM if purpose == "train" else None, **p.bound,
            )
            for threads, fill in ((1, 0.0), (2, np.nan), (3, np.inf))
        ]  # fmt: skip
        assert np.isfinite(runs[0].total)
        assert_same_bits(runs)


# --- sampling


def test_sampling_goes_on_from_the_tokens_that_are_given():
    """Against the definitions, with another seed each time."""
    network = rnn(each(LSTM(5, n_tokens=TOKENS)), each(GRU(5)), shape=(1,), outputs=TOKENS)
    values = [3 * value for value in make_problem(network, "float64", 3, tokens=TOKENS).values]
    n, random = 40, np.random.RandomState(0)
    tokens = random.randint(TOKENS, size=n + 1)
    rates = np.ones((n, 6))
    rates[:, 2], rates[:, 3], rates[:, 4] = 1 / 0.8, random.uniform(size=n), 4
    rates[:, 5] = np.arange(n) < 10
    source = Source(tokens[:, None])
    made = program(network, "float64", 1, "sample", source.key, carries=True)
    drawn, states = [], []
    for cut in (n, 25):  # at once, and in two parts
        text, carry = tokens.copy(), np.zeros((1, network.state_size))
        with Session(made, 1) as session:
            packed = DEVICES["cpu"].upload(made.layout, values)
            for start, stop in ((0, cut), (cut, n)):
                part = text[start : stop + 1, None]
                session.bind(packed, Source(part), out=part, carry=carry)
                session.run(stop - start, 1, rates[start:stop])
        drawn.append(text)
        states.append(carry)
    tape = lower(network, np.dtype(float), 1, "sample", source.key, carries=True)
    plain, text, carry = Executor(tape, values), tokens[:, None].copy(), np.zeros_like(states[0])
    plain.run({X: text}, np.arange(n), 1, rates, carry=carry, outputs=text)
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] == text[:, 0]).all()
    assert (drawn[0][:11] == tokens[:11]).all()
    assert len(set(drawn[0][11:])) > 2
    for some in states:
        assert_close(some, carry, 1e-12, "states")
