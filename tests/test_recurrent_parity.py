"""Recurrent networks agree with PyTorch's on the same weights, through 50 steps.

Outputs at every step, final states, losses, all gradients and optimizer steps, in float64, for
batches of sequences of all lengths. PyTorch's modules are called with the parameters in our shapes,
permuted on the way, so that its gradients come back in them too; where it has no such module, its
cells are run step by step.
"""

from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
from reference import run_engine, start_values
from test_convnet_parity import SOLVERS, F, assert_close, compare_parameters, leaves, torch
from test_convolution import assert_same_bits

from sknn import MLPNetRegressor
from sknn.engine.network import Network
from sknn.engine.optimizers import Optimizer, make_solver
from sknn.layers import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Embedding,
    EncoderDecoder,
    SimpleRNN,
)
from sknn.layers.recurrent import Recurrent
from sknn.tape.losses import Loss
from sknn.tape.sources import ClassNumbers, Source

STEPS, TOKENS, UNITS = 50, 11, 20
SQUARED = Loss("squared_error", "identity")
CROSS_ENTROPY = Loss("log_loss", "softmax")
CELLS = {
    "tanh": SimpleRNN(UNITS),
    "relu": SimpleRNN(UNITS, activation="relu"),
    "lstm": LSTM(UNITS),
    "gru": GRU(UNITS),
    "gru, reset after": GRU(UNITS, reset_after=True),
}
PYTORCHS = {
    SimpleRNN: (torch.nn.RNN, torch.nn.RNNCell),
    LSTM: (torch.nn.LSTM, torch.nn.LSTMCell),
    GRU: (torch.nn.GRU, torch.nn.GRUCell),
}

parametrize_cells = pytest.mark.parametrize("name", CELLS)


# --- PyTorch's: sequences are (samples, time, features), states a list of (h,) or (h, c) a layer


def in_their_shapes(cell, w):
    """Return a cell's parameters as PyTorch's weight_ih, weight_hh, bias_ih and bias_hh."""
    kernel, recurrent, units = w["kernel"], w["recurrent_kernel"], cell.units
    bias = w.get("bias", torch.zeros(kernel.shape[1], dtype=kernel.dtype))
    other = torch.zeros_like(bias)
    if not isinstance(cell, GRU):
        return kernel.T, recurrent.T, bias, other
    recurrent = torch.cat([recurrent, w["candidate_kernel"]], 1)
    other = torch.cat([other[: 2 * units], w["candidate_bias"]])
    z, r, c = torch.arange(3 * units).split(units)
    gates = torch.cat([r, z, c])  # theirs come in this order
    return kernel.T[gates], recurrent.T[gates], bias[gates], other[gates]


def nonlinearity(cell):
    return {"nonlinearity": cell.activation} if isinstance(cell, SimpleRNN) else {}


def by_module(cell, ways, x, lengths, initial, weights):
    """Run PyTorch's module for layers of a kind; return its outputs and final states."""
    module = PYTORCHS[type(cell)][0](
        x.shape[2], cell.units, len(weights) // ways, batch_first=True, bidirectional=ways == 2,
        dtype=x.dtype, **nonlinearity(cell),
    )  # fmt: skip
    names = (name for name, _ in module.named_parameters())
    tensors = (tensor for w in weights for tensor in in_their_shapes(cell, w))
    tensors = dict(zip(names, tensors, strict=True))
    some = lengths > 0  # it does not accept empty sequences
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        x[some], lengths[some], batch_first=True, enforce_sorted=False
    )
    states = [torch.stack(layers) for layers in zip(*initial)]
    start = tuple(state[:, some] for state in states)
    packed, final = torch.func.functional_call(
        module, tensors, (packed, start if len(start) > 1 else start[0])
    )
    outputs = torch.zeros(len(x), x.shape[1], ways * cell.units, dtype=x.dtype)
    outputs[some], _ = torch.nn.utils.rnn.pad_packed_sequence(
        packed, batch_first=True, total_length=x.shape[1]
    )
    for state, last in zip(states, final if len(start) > 1 else (final,)):
        state[:, some] = last
    return outputs, list(zip(*states))


def textbook_gru(w, x, h):
    """One step with the reset gate before the product."""
    from_x, units = x @ w["kernel"] + w.get("bias", 0.0), h.shape[1]
    gates = torch.sigmoid(from_x[:, : 2 * units] + h @ w["recurrent_kernel"])
    update, reset = gates.chunk(2, 1)
    candidate = torch.tanh(from_x[:, 2 * units :] + (reset * h) @ w["candidate_kernel"])
    return (1 - update) * h + update * candidate


def make_step(cell, inputs, w):
    """Return the function from a cell's input and states to its next states."""
    if is_textbook(cell):
        return lambda x, states: (textbook_gru(w, x, *states),)
    module = PYTORCHS[type(cell)][1](
        inputs, cell.units, dtype=w["kernel"].dtype, **nonlinearity(cell)
    )
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    tensors = dict(zip(names, in_their_shapes(cell, w)))

    def step(x, states):
        state = states if len(states) > 1 else states[0]
        state = torch.func.functional_call(module, tensors, (x, state))
        return state if len(states) > 1 else (state,)

    return step


def by_steps(cell, ways, x, lengths, initial, weights):
    """Do as :func:`by_module`, one step after the other."""
    final = []
    for first in range(0, len(weights), ways):
        outputs = []
        for way in range(ways):
            states, after = initial[first + way], [None] * x.shape[1]
            step = make_step(cell, x.shape[2], weights[first + way])
            backward = cell.reverse != bool(way)
            times = range(x.shape[1])
            for t in reversed(times) if backward else times:
                here = (t < lengths)[:, None]
                if cell.truncate and (t + backward) % cell.truncate == 0:
                    states = [torch.where(here, s.detach(), s) for s in states]
                new = step(x[:, t], states)
                states = [torch.where(here, a, b) for a, b in zip(new, states)]
                after[t] = states[0]
            outputs.append(torch.stack(after, 1))
            final.append(tuple(states))
        x = torch.cat(outputs, 2)
    return x, final


def is_textbook(cell):
    return isinstance(cell, GRU) and not cell.reset_after


def recurrent(layers, x, parameters, lengths, initial):
    """Run recurrent layers of one kind; return their outputs and final states."""
    cell, ways = kind_of(layers[0])
    first = layers[0].layer if ways == 2 else layers[0]
    if first.n_tokens is not None:
        x = F.one_hot(x, first.n_tokens).to(torch.float64)
    names = [p.name for p in cell.parameters((1, 1))]
    weights = [{name: next(parameters) for name in names} for _ in range(ways * len(layers))]
    if initial is None:
        zeros = torch.zeros(len(x), cell.units, dtype=x.dtype)
        initial = [(zeros, zeros) if isinstance(cell, LSTM) else (zeros,)] * len(weights)
    stepwise = is_textbook(cell) or cell.truncate or cell.reverse
    run = by_steps if stepwise else by_module
    y, final = run(cell, ways, x, lengths, initial, weights)
    last = layers[-1].layer if ways == 2 else layers[-1]
    if not last.return_sequences:
        y = torch.cat([states[0] for states in final[-ways:]], 1)
    return y, final


def encoder_decoder(layer, x, parameters, lengths):
    places, states = (0, layer.in_steps, x.shape[1]), None
    for i, part in enumerate((layer.encoder, layer.decoder)):
        y = x[:, places[i] : places[i + 1]]
        y, states = forward(part, y, parameters, lengths[:, i:], states)
    return y


def kind_of(layer):
    """Return what selects PyTorch's module for a layer: its cell, and the number of directions."""
    if not isinstance(layer, (Recurrent, Bidirectional)):
        return layer, 0
    both = isinstance(layer, Bidirectional)
    cell = layer.layer if both else layer
    return replace(cell, return_sequences=True, n_tokens=None), 1 + both


def forward(layers, x, parameters, lengths, initial=None):
    """Return PyTorch's output for a batch, and the final states of the recurrent layers."""
    final = []
    for (layer, ways), group in groupby(layers, kind_of):
        group = list(group)
        if ways:
            some = initial and initial[len(final) : len(final) + len(group)]
            x, states = recurrent(group, x, parameters, lengths[:, 0], some)
            final += states
        elif isinstance(layer, Embedding):
            x = F.embedding(x, next(parameters))
        elif isinstance(layer, Dense):
            x = F.linear(x, next(parameters).T, next(parameters))
        elif isinstance(layer, EncoderDecoder):
            x = encoder_decoder(layer, x, parameters, lengths)
        else:
            x = {"relu": torch.relu, "tanh": torch.tanh}[layer.function](x)
    return x, final


# --- the comparison


def make_network(*layers, inputs=STEPS, loss=SQUARED):
    """Return a network whose outputs are those of its last layer."""
    return Network((*layers, Activation(loss.link)), inputs, loss)


def each(layer):
    """Return a recurrent layer that outputs the state after each step."""
    return replace(layer, return_sequences=True)


def stack(cell, n_layers=1, sequences=True, both=False):
    """Return stacked recurrent layers of one type; the last may output its final state only."""
    cells = [each(cell)] * (n_layers - 1) + [replace(cell, return_sequences=sequences)]
    return [Bidirectional(cell) for cell in cells] if both else cells


STACKS = {
    "single": {},
    "stacked": {"n_layers": 2},
    "bidirectional": {"both": True},
    "stacked, bidirectional": {"n_layers": 2, "both": True},
}


def rooms(network):
    """Return the most that each column of the lengths may be."""
    (steps, *_), first = network.input_shape, network.layers[0]
    if isinstance(first, EncoderDecoder):
        return first.in_steps, steps - first.in_steps
    return (steps,)


def make_problem(network, n, ragged=True, carries=False, dtype="float64", seed=0):
    """Return rows in an order of their own, their weights, and everything that reads them."""
    random, shape = np.random.RandomState(seed), network.input_shape
    if len(shape) == 1:
        x = random.randint(TOKENS, size=(n, *shape))
    else:
        x = random.normal(size=(n, *shape))
    if network.loss == CROSS_ENTROPY:
        y = random.randint(network.output_shape[-1], size=(n, *network.output_shape[:-1]))
        targets = ClassNumbers(y)
    else:
        y = random.normal(size=(n, *network.output_shape))
        targets = Source(y.reshape(n, -1))
    lengths = np.tile(np.array(rooms(network)), (n, 1))
    bound = {}
    if ragged:
        lengths = bound["lengths"] = np.array(
            [random.permutation(n) * room // (n - 1) for room in rooms(network)]
        ).T.copy()  # all lengths: the full one, and none at all
    if carries:
        bound["carry"] = random.normal(0.0, 0.7, (n, network.state_size)).astype(dtype)
        bound["resets"] = (random.rand(n) < 0.2).astype(np.uint8)
    return SimpleNamespace(
        x=x, y=y, source=Source(x.reshape(n, -1)), targets=targets, rows=random.permutation(n),
        weights=random.uniform(0.5, 2.0, n), lengths=lengths, bound=bound,
        values=draw_values(network, dtype, seed),
    )  # fmt: skip


def draw_values(network, dtype, seed):
    """Return random parameters; with relu, states do not grow with every step."""
    values = start_values(network, dtype, seed)
    if "activation='relu'" not in repr(network.layers):
        return values
    names = [p.name for group in network.parameters() for p in group]
    return [
        v / v.dtype.type(1.2 * np.linalg.norm(v, 2)) if name == "recurrent_kernel" else v
        for name, v in zip(names, values, strict=True)
    ]


def run_ours(network, purpose, p, width, n=None, dtype="float64"):
    """Run the first n positions as a batch; return all results, including the carry."""
    rows = p.rows[:n]
    bound = {key: value[: len(rows)].copy() for key, value in p.bound.items()}
    made = run_engine(
        network, dtype, purpose, p.values, p.source, p.targets, rows, len(rows), np.ones((1, 2)),
        weights=p.weights, width=width, fill=np.nan, **bound,
    )  # fmt: skip
    made.carry = bound.get("carry")
    return made


def run_torch(network, parameters, p, n=None):
    """Return PyTorch's outputs before the loss's activation, and the final states, as carried."""
    rows, initial, parameters = p.rows[:n], None, iter(parameters)
    x, lengths = torch.from_numpy(p.x[rows]), torch.from_numpy(p.lengths[: len(rows)])
    if (carry := p.bound.get("carry")) is not None:
        carry = np.where(p.bound["resets"][:, None], 0.0, carry.astype(np.float64))[: len(rows)]
        initial = split_states(network, torch.from_numpy(carry))
    out, final = forward(network.layers[:-1], x, parameters, lengths, initial)
    assert next(parameters, None) is None
    return out, torch.cat([s for states in final for s in states], 1) if final else None


def split_states(network, carry):
    """Return the states of each recurrent layer from what is carried of all of them."""
    states, first = [], 0
    for layer in (layer for layer in network.layers if isinstance(layer, Recurrent)):
        states.append(carry[:, first : first + layer.state_size].split(layer.units, 1))
        first += layer.state_size
    return states


def live_steps(network, lengths):
    """Return which steps of the outputs count; all, if the outputs are no sequences."""
    if network.steps is None:
        return np.ones(len(lengths), bool)
    return np.arange(network.steps) < lengths[:, -1:]


def losses_of(network, z, p, n=None):
    """Return the weighted sum of the losses that are differentiated, and of those reported."""
    rows = p.rows[:n]
    y, live = torch.from_numpy(p.y[rows]), torch.from_numpy(live_steps(network, p.lengths[:n]))
    if network.loss == CROSS_ENTROPY:
        losses = reported = F.cross_entropy(z.movedim(-1, 1), y, reduction="none")
    else:
        squares = 0.5 * (z - y) ** 2
        losses, reported = squares.sum(-1), squares.mean(-1)
    w = torch.from_numpy(p.weights[rows])
    w = (w if network.steps is None else w[:, None]) * live
    return (w * losses).sum(), (w * reported).sum()


def exact_leaves(network, p):
    """Return the parameters as PyTorch's, in float64."""
    return leaves(network, [value.astype(np.float64) for value in p.values])


def check_outputs(network, p, widths, dtype="float64", precision=1e-9):
    """Compare outputs, final states that are carried on, and the loss that is reported."""
    with torch.no_grad():
        z, final = run_torch(network, exact_leaves(network, p), p)
    theirs = z.softmax(-1) if network.loss == CROSS_ENTROPY else z
    for n, width in widths:
        made = run_ours(network, "evaluate", p, width, n, dtype)
        live = live_steps(network, p.lengths[:n])
        ours = made.outputs.reshape(n, *network.output_shape)
        assert_close(ours[live], theirs[:n][live], f"outputs, {n} in {width}", precision)
        total = losses_of(network, z[:n], p, n)[1]
        assert_close(made.total, total, "loss", precision)
        if made.carry is not None:
            assert_close(made.carry, final[:n], "final states", precision)
            states = run_ours(network, "states", p, width, n, dtype)
            np.testing.assert_array_equal(states.carry, made.carry)


def check_gradients(network, p, widths, dtype="float64", precision=1e-9):
    """Compare all gradients, the final states, and the loss that is reported."""
    for n in sorted({n for n, _ in widths}):
        parameters = exact_leaves(network, p)
        z, final = run_torch(network, parameters, p, n)
        loss, total = losses_of(network, z, p, n)
        loss.backward()
        for width in (width for rows, width in widths if rows == n):
            made = run_ours(network, "gradient", p, width, n, dtype)
            assert_close(made.total, total.item(), "loss", precision)
            if made.carry is not None:
                assert_close(made.carry, final, "final states", precision)
            for parameter, ours, theirs in zip(
                made.parameters, made.gradients, parameters, strict=True
            ):
                if parameter.trainable:
                    what = f"{parameter}, {n} in {width}"
                    assert_close(ours, theirs.grad, what, precision)


#: Samples of a batch, and the width of the blocks that they go through in: some not full.
WIDTHS = [(5, 1), (5, 8), (37, 8), (37, 32)]


def carried(options):
    """Return whether to carry states in: no, and yes if that is possible."""
    return (False,) if options.get("both") else (False, True)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("arrangement", STACKS)
@parametrize_cells
def test_outputs_and_final_states_are_pytorch_s(name, arrangement, sequences, ragged):
    options = STACKS[arrangement]
    layers = stack(CELLS[name], sequences=sequences, **options)
    network = make_network(*layers, inputs=(STEPS, 3))
    for carries in carried(options):
        check_outputs(network, make_problem(network, 37, ragged, carries), WIDTHS)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("arrangement", STACKS)
@parametrize_cells
def test_gradients_are_pytorch_s(name, arrangement, sequences, ragged):
    """Of all weights, and of the input vectors."""
    options = STACKS[arrangement]
    layers = stack(CELLS[name], sequences=sequences, **options)
    network = make_network(Embedding(TOKENS, 7), *layers)
    for carries in carried(options):
        check_gradients(network, make_problem(network, 37, ragged, carries), WIDTHS)


# --- other ways through time


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("truncate", [1, 8, 49])
@parametrize_cells
def test_truncated_gradients_are_those_of_pytorch_with_detached_states(name, truncate, sequences):
    """Those of a shorter sequence too, whose boundaries are its own."""
    cell = replace(CELLS[name], truncate=truncate)
    network = make_network(Embedding(TOKENS, 7), *stack(cell, 2, sequences))
    for ragged in (False, True):
        check_gradients(network, make_problem(network, 37, ragged), [(5, 1), (37, 32)])


@pytest.mark.parametrize("both", [False, True])
@parametrize_cells
def test_truncated_gradients_of_layers_that_go_backward(name, both):
    cell = replace(CELLS[name], truncate=8, reverse=not both)
    network = make_network(Embedding(TOKENS, 7), *stack(cell, 2, True, both))
    check_gradients(network, make_problem(network, 37), [(5, 1), (37, 32)])


@parametrize_cells
def test_layers_that_go_backward(name):
    cell = replace(CELLS[name], reverse=True)
    for sequences in (False, True):
        network = make_network(Embedding(TOKENS, 7), *stack(cell, 2, sequences))
        p = make_problem(network, 37, carries=True)
        check_outputs(network, p, WIDTHS)
        check_gradients(network, p, WIDTHS)


@parametrize_cells
def test_chunks_that_carry_their_states_are_one_long_sequence(name):
    """Their gradients are those of the long one, truncated where chunks end."""
    layers = [Embedding(TOKENS, 7), *stack(replace(CELLS[name], truncate=10), 2)]
    long, network = make_network(*layers), make_network(*layers, inputs=10)
    p = make_problem(long, 37, carries=True)
    parameters = leaves(long, p.values)
    z, final = run_torch(long, parameters, p)
    losses_of(long, z, p)[0].backward()

    def in_chunks(a):  # all samples' first chunk, then all samples' second one
        return np.concatenate(np.split(a, 5, axis=1))

    starts = np.repeat(np.arange(0, STEPS, 10), 37)[:, None]
    bound = {
        "lengths": np.clip(np.tile(p.lengths, (5, 1)) - starts, 0, 10),
        "resets": np.pad(p.bound["resets"], (0, 4 * 37)),
    }
    rows = np.concatenate([p.rows + 37 * chunk for chunk in range(5)])
    source, targets = Source(in_chunks(p.x)), Source(in_chunks(p.y).reshape(5 * 37, -1))
    for purpose, width in (("evaluate", 8), ("evaluate", 32), ("gradient", 8), ("gradient", 32)):
        carry = p.bound["carry"].copy()
        made = run_engine(
            network, "float64", purpose, p.values, source, targets, rows, 37, np.ones((5, 2)),
            weights=np.tile(p.weights, 5), width=width, accumulate=True, carry=carry, **bound,
        )  # fmt: skip
        assert_close(made.total, losses_of(long, z, p)[1].item(), "loss")
        assert_close(carry, final, "final states")
        if purpose == "evaluate":
            ours = np.hstack(np.split(made.outputs.reshape(5 * 37, 10, -1), 5))
            live = live_steps(long, p.lengths)
            assert_close(ours[live], z.detach()[live], "outputs")
            continue
        for parameter, ours, theirs in zip(made.parameters, made.gradients, parameters):
            assert_close(ours, theirs.grad, parameter)


# --- networks


def tagger(*layers, outputs=5, **options):
    """Return a network that gives probabilities, at each step if what is before is a sequence."""
    return make_network(*layers, Dense(outputs), loss=CROSS_ENTROPY, **options)


def encoder(cell, n_layers=2):
    return [Embedding(TOKENS, 7), *stack(cell, n_layers, False)]


def decoder(cell, n_layers=2):
    first, *others = stack(cell, n_layers)
    return [replace(first, n_tokens=TOKENS), *others]


NETWORKS = {
    **{
        f"tokens, {name}": tagger(each(replace(cell, n_tokens=TOKENS)))
        for name, cell in CELLS.items()
    },
    **{
        f"encoder and decoder, {name}": tagger(
            EncoderDecoder(encoder(cell), decoder(cell), 30), outputs=TOKENS
        )
        for name, cell in CELLS.items()
    },
    **{  # they leave half of a vector empty
        f"few units, {name}": make_network(*stack(replace(cell, units=3), 2), inputs=(STEPS, 3))
        for name, cell in CELLS.items()
    },
    **{
        f"no bias, {name}": tagger(
            *stack(replace(cell, use_bias=False), 2, False), inputs=(STEPS, 3)
        )
        for name, cell in CELLS.items()
    },
    "encoder and decoder with an embedding each": tagger(
        EncoderDecoder(encoder(GRU(7), 1), [Embedding(TOKENS, 7), *stack(GRU(7))], 20),
        outputs=TOKENS,
    ),
    "tokens, stacked and bidirectional": tagger(
        Bidirectional(each(replace(CELLS["lstm"], n_tokens=TOKENS))),
        Bidirectional(each(CELLS["lstm"])), Bidirectional(CELLS["gru"]),
    ),
    "layers of all kinds": tagger(
        Embedding(TOKENS, 7), each(GRU(7)), Bidirectional(each(LSTM(7))), Dense(20),
        Activation("tanh"), each(SimpleRNN(20, reverse=True)), each(GRU(20, reset_after=True)),
        Activation("relu"), LSTM(20),
    ),
    "frozen in the middle": tagger(
        Embedding(TOKENS, 7), each(LSTM(20)), each(GRU(20, trainable=False)), SimpleRNN(20),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_pytorch_s(name):
    network = NETWORKS[name]
    for ragged in (False, True):
        p = make_problem(network, 37, ragged)
        check_outputs(network, p, [(5, 1), (37, 8)])
        check_gradients(network, p, [(5, 1), (37, 8)])


def text_network(cell):
    return tagger(Embedding(TOKENS, 7), *stack(cell, 2))


@pytest.mark.parametrize("carries", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@parametrize_cells
def test_steps_are_pytorch_s(name, solver, carries):
    """Two steps, the second of fewer samples, which go on from the states that the first left."""
    network, n, batch = text_network(CELLS[name]), 60, 37
    p, parts = make_problem(network, n, carries=carries), (slice(0, batch), slice(batch, n))
    params, make_optimizer = SOLVERS[solver]
    estimator = MLPNetRegressor("squared_error", solver=solver, alpha=0.0, **params)
    optimizer = Optimizer(estimator, p.values)
    sums = np.array([p.weights[p.rows[part]] @ p.lengths[part, 0] for part in parts])
    rates = np.column_stack([1 / sums, np.ones(2), optimizer.rates(estimator, 2)])
    bound, carry = dict(p.bound), None
    if carries:
        carry, bound["carry"] = p.bound["carry"][:batch], p.bound["carry"][:batch].copy()
    made = run_engine(
        network, "float64", "train", p.values, p.source, p.targets, p.rows, batch, rates,
        solver=make_solver(estimator), weights=p.weights, width=32,
        n_states=len(optimizer.states), **bound,
    )  # fmt: skip
    parameters, total = leaves(network, p.values), 0.0
    optimizer = make_optimizer(parameters)
    for step, part in enumerate(parts):
        some = SimpleNamespace(**vars(p) | {"rows": p.rows[part], "lengths": p.lengths[part]})
        if carries:
            some.bound = {"carry": carry[: len(some.rows)], "resets": p.bound["resets"][part]}
        if solver == "adam":  # scikit-learn adds epsilon before the bias correction of the moments
            optimizer.param_groups[0]["eps"] = 1e-4 / np.sqrt(1 - 0.9 ** (step + 1))
        optimizer.zero_grad()
        z, final = run_torch(network, parameters, some)
        loss, _ = losses_of(network, z, some)
        (loss / sums[step]).backward()
        optimizer.step()
        total += loss.item()
        if carries:
            carry[: len(some.rows)] = final.detach()
    assert_close(made.total, total, "loss")
    compare_parameters(made, parameters, 1e-8)
    if carries:
        assert_close(bound["carry"], carry, "final states")


# --- in float32, and what may not change the bits


@pytest.mark.parametrize("arrangement", STACKS)
@parametrize_cells
def test_in_float32(name, arrangement):
    options = STACKS[arrangement]
    network = make_network(Embedding(TOKENS, 7), *stack(CELLS[name], **options))
    for carries in carried(options):
        p = make_problem(network, 37, carries=carries, dtype="float32")
        check_outputs(network, p, [(5, 1), (37, 32)], "float32", 1e-4)
        check_gradients(network, p, [(5, 1), (37, 32)], "float32", 1e-4)


BITS = {
    "bidirectional": lambda cell: tagger(
        Embedding(TOKENS, 7), *stack(cell, 2, both=True), inputs=STEPS
    ),
    "carried": text_network,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", BITS)
@parametrize_cells
def test_a_sequence_gives_the_bits_alone_that_it_gives_in_a_batch(name, kind, dtype):
    network = BITS[kind](CELLS[name])
    p = make_problem(network, 37, carries=kind == "carried", dtype=dtype)
    whole = run_ours(network, "predict", p, 32, dtype=dtype)
    live = live_steps(network, p.lengths)
    for n, width in ((1, 1), (37, 1), (5, 8 if dtype == "float64" else 16), (1, 32)):
        some = run_ours(network, "predict", p, width, n, dtype)
        ours, theirs = (
            made.outputs[:n].reshape(n, STEPS, -1)[live[:n]] for made in (some, whole)
        )  # fmt: skip
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{n} in {width}")
        if kind == "carried":
            np.testing.assert_array_equal(some.carry, whole.carry[:n])


@pytest.mark.parametrize("kind", BITS)
@parametrize_cells
def test_threads_do_not_change_the_bits(name, kind):
    network = BITS[kind](CELLS[name])
    p = make_problem(network, 37, carries=kind == "carried")
    solver = make_solver(MLPNetRegressor(**SOLVERS["adam"][0]))
    for purpose, width in (("train", 1), ("train", 8), ("gradient", 8), ("evaluate", 1)):
        runs, batch = [], 1 if width == 1 else 30
        rates = np.tile([1 / batch, 1.0, 0.01, 0.0, 0.0], (-(-37 // batch), 1))
        for threads in (1, 2, 3):
            bound = {key: value.copy() for key, value in p.bound.items()}
            runs.append(run_engine(
                network, "float64", purpose, p.values, p.source, p.targets, p.rows, batch, rates,
                weights=p.weights, width=width, threads=threads,
                solver=solver if purpose == "train" else None, **bound,
            ))  # fmt: skip
            for a, b in zip(runs[-1].gradients or (), runs[0].gradients or ()):
                np.testing.assert_array_equal(a, b)
            runs[-1].carry = bound.get("carry")
            if kind == "carried":
                np.testing.assert_array_equal(runs[-1].carry, runs[0].carry)
        assert_same_bits(runs)
