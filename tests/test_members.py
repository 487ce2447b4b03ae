"""Members, networks in one that share weights; and whole networks side by side in a session."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import DEVICES, run_engine, step_rates
from test_operations import (
    ADAM,
    TOLERANCE,
    assert_close,
    assert_gradient_is_right,
    assert_padding_is_zero,
    compare,
    make_loss,
    make_problem,
)

from sknn.cpu.session import Session
from sknn.engine.data import Data
from sknn.engine.devices import for_prediction, for_training
from sknn.engine.lowering import program
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
from sknn.engine.prediction import predict
from sknn.engine.recipe import Recipe
from sknn.engine.training import Progress, Trainer
from sknn.engine.weights import Weights
from sknn.estimator import first_values
from sknn.layers import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    EnsembleDense,
    SimpleRNN,
)
from sknn.tape.sources import ClassNumbers, Source


def members_of(k, outputs=3, loss="squared_error", link="identity", dropout=True):
    layers = (
        EnsembleDense(17, k, scale_inputs="signs"), Activation("tanh"),
        *[Dropout(0.3, 0)] * dropout, EnsembleDense(33, k), Activation("relu"),
        EnsembleDense(5, k, scale_inputs=None, scale_outputs=False), Activation("gelu"),
        EnsembleDense(outputs, k, shared=False), Activation(link),
    )  # fmt: skip
    return Network(layers, 10, make_loss(loss, link), members=k)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("k", "batch", "n", "outputs", "options"),
    [
        (3, 5, 13, 3, {"solver": replace(ADAM, l2=0.1)}),
        (4, 33, 70, 1, {"solver": ADAM, "threads": 2, "weighted": True}),
        (2, 1, 3, 2, {"solver": replace(ADAM, clip_norm=0.05)}),
        (5, 64, 150, 37, {"solver": Solver("sgd", 0.5), "threads": 3}),
        (3, 40, 90, 7, {"purpose": "gradient", "sparse": True}),
        (3, 40, 90, 7, {"purpose": "evaluate", "threads": 2}),
        (3, 1, 5, 18, {"purpose": "evaluate", "width": 1}),
    ],
)
def test_members_follow_the_reference(k, batch, n, outputs, options, dtype):
    made = compare(members_of(k, outputs), dtype, batch, n, **options)
    assert_padding_is_zero(made)


def test_gradients_by_differences():
    assert_gradient_is_right(members_of(3, dropout=False))
    assert_gradient_is_right(members_of(2, 4, "log_loss", "softmax"), n=20)


def test_no_result_depends_on_the_number_of_threads_or_on_the_batch():
    network, n = members_of(3, 4, "log_loss", "softmax"), 75
    problem = make_problem(network, "float32", n)
    rates = step_rates(None, problem.rows, 33)
    bits = set()
    for threads in (1, 2, 3):
        made = run_engine(
            network, "float32", "train", problem.values, problem.source, problem.targets,
            problem.rows, 33, rates, solver=ADAM, threads=threads,
        )  # fmt: skip
        bits.add((made.packed.tobytes(), made.total))
    assert len(bits) == 1
    weights = Weights.of_packed(network, problem.values, np.dtype("float32"))
    together = predict(weights, problem.source, 2)
    assert together.shape == (3, n + 7, 4)
    for row in (0, 70):
        alone = predict(weights, problem.source, 1, rows=np.array([row]))
        np.testing.assert_array_equal(alone[:, 0], together[:, row])


def test_penalties_are_summed_in_the_same_order_by_any_number_of_threads():
    layers = EnsembleDense(130, 2), Activation("tanh"), EnsembleDense(2, 2), Activation("identity")
    network = Network(layers, 40, make_loss("squared_error", "identity"), members=2)
    problem = make_problem(network, "float32", 40)
    rates = step_rates(None, problem.rows, 33)
    totals = {
        run_engine(
            network, "float32", "train", problem.values, problem.source, problem.targets,
            problem.rows, 33, rates, solver=replace(ADAM, l2=0.1), threads=threads,
        ).total
        for threads in (1, 2, 3)
    }  # fmt: skip
    assert len(totals) == 1


def torch_members(x, values, k):
    """Return the outputs of an ensemble of two layers, as the formulas say."""
    w1, b1, r1, s1, w2, b2 = values
    return torch.stack([
        torch.relu(((x * r1[i]) @ w1) * s1[i] + b1[i]) @ w2[i] + b2[i] for i in range(k)
    ])  # fmt: skip


def test_training_follows_the_formulas_in_torch():
    k, n, rate = 3, 50, 0.3
    layers = (
        EnsembleDense(7, k, scale_inputs="normal", sections=(2, 1, 2)), Activation("relu"),
        EnsembleDense(4, k, shared=False), Activation("softmax"),
    )  # fmt: skip
    network = Network(layers, 5, make_loss("log_loss", "softmax"), members=k)
    random = np.random.RandomState(0)
    x, y = random.normal(size=(n, 5)), random.randint(4, size=n)
    values = [
        v
        for i, inputs in ((0, 5), (2, 7))
        for v in layers[i].draw((inputs,), random, "glorot_uniform")
    ]
    assert (values[2][:, 0] == values[2][:, 1]).all() and np.ptp(values[2]) > 0.1
    progress = Progress([v.copy() for v in values])
    rows = np.arange(n)
    data = Data(Source(x), ClassNumbers(y), None, rows, y)
    recipe = Recipe(
        solver="sgd", learning_rate_init=rate, momentum=0.0, nesterovs_momentum=False, alpha=0.0,
        batch_size=20, shuffle=False, n_jobs=1, max_iter=3,
    )  # fmt: skip
    seen = []
    trainer = Trainer(
        recipe, network, np.dtype(float), progress, data, data.part(rows[:30]),
        lambda data, loss, outputs, weights: seen.append(outputs) or 0.0, random, seed=1,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(3, False)
    parameters = [torch.tensor(v, requires_grad=True) for v in values]
    x, y = torch.tensor(x), torch.tensor(y)

    def loss_of(some):
        out = torch_members(x[some], parameters, k)
        return torch.nn.functional.cross_entropy(out.flatten(0, 1), y[some].repeat(k))

    for epoch in range(3):
        total = 0.0
        for start in range(0, n, 20):
            some = rows[start : start + 20]
            loss = loss_of(some)
            total += loss.item() * len(some)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients):
                    parameter -= rate * gradient
        assert_close(progress.loss_curve[epoch], total / n, 1e-9, "loss")
        assert_close(progress.validation_loss_curve[epoch], loss_of(rows[:30]).item(), 1e-9, "")
    for value, parameter in zip(progress.values, parameters):
        assert_close(value, parameter.detach(), 1e-9, "parameter")
    expected = torch.softmax(torch_members(x[:30], parameters, k), dim=-1).detach()
    assert_close(seen[-1], expected, 1e-9, "outputs")


def test_one_member_is_a_network_as_before():
    """With factors of one, which are not trained, and the same dropout as the first member's."""
    network = Network(
        (Dense(9), Activation("tanh"), Dropout(0.4, 0), Dense(2), Activation("identity")),
        5, make_loss("squared_error", "identity"),
    )  # fmt: skip
    problem = make_problem(network, "float64", 40)
    rates = step_rates(None, problem.rows, 40)
    once, twice = (
        run_engine(
            replace(network, members=k), "float64", "gradient", problem.values, problem.source,
            problem.targets, problem.rows, 40, rates, seed=9,
        )
        for k in (1, 2)
    )  # fmt: skip
    first, last = once.gradients, twice.gradients
    # the mean of two members of other masks, of which the first one's are those of the network
    third = run_engine(
        network, "float64", "gradient", problem.values, problem.source, problem.targets,
        problem.rows, 40, rates, seed=9 + 0x9E3779B97F4A7C15 - 2**64,
    ).gradients  # fmt: skip
    assert np.abs(first[0] - third[0]).max() > 1e-3
    for a, b, both in zip(first, third, last):
        assert_close((a + b) / 2, both, TOLERANCE["float64"], "mean of two")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("solver", [ADAM, replace(ADAM, clip_norm=0.05, l2=0.1)])
def test_networks_side_by_side_have_the_bits_of_each(k, solver, dtype):
    network, batch, cpu = members_of(k), 33, DEVICES["cpu"]
    sizes = 70, 71, 20, 133, 0  # other numbers of steps, and a network that has ended
    problems = [
        make_problem(network, dtype, max(n, 1), seed=i, weighted=i % 2 == 1)
        for i, n in enumerate(sizes)
    ]
    one = problems[0]
    made = program(
        network, dtype, 32, "train", one.source.key, one.targets.key, solver, 2
    )

    def arrays(problem):
        return cpu.upload(made.layout, problem.values), cpu.zeros(made.layout, 3)

    rates = [step_rates(p.weights, p.rows, batch) for p in problems]
    expected, found = ([arrays(problem) for problem in problems] for _ in range(2))

    def bind(session, i, packed, states, **which):
        p = problems[i]
        session.bind(
            packed, p.source, p.targets, p.weights, p.rows, states=states, seed=100 + i, **which
        )

    losses = []
    for i, (packed, states) in enumerate(expected):
        with Session(made, batch) as session:
            bind(session, i, packed, states)
            loss = session.run(sizes[i], batch, rates[i], 5) if sizes[i] else 0.0
            losses.append((loss, session.data_loss, session.divergence))
    with cpu.session(made, batch, 2, networks=len(sizes)) as session:
        for i, (packed, states) in enumerate(found):
            bind(session, i, packed, states, network=i)
        sums = session.run_networks(sizes, batch, rates, [5] * len(sizes))
    np.testing.assert_array_equal(sums, losses)
    for some, others in zip(expected, found):
        for a, b in zip(some, others):
            np.testing.assert_array_equal(a, b)


def test_what_a_session_of_several_networks_refuses():
    network = members_of(2)
    problem = make_problem(network, "float64", 9)
    made = program(
        network, "float64", 32, "train", problem.source.key, problem.targets.key, ADAM
    )
    rates, cpu = step_rates(None, problem.rows, 9), DEVICES["cpu"]
    with cpu.session(made, 9, networks=2) as session:
        for i in range(2):
            session.bind(
                cpu.upload(made.layout, problem.values), problem.source, problem.targets,
                rows=problem.rows, states=cpu.zeros(made.layout, 3), network=i,
            )  # fmt: skip
        with pytest.raises(ValueError, match="run_networks"):
            session.run(9, 9, rates)
        with pytest.raises(ValueError, match="A run of 10 rows"):
            session.run_networks([9, 10], 9, [rates] * 2, [0, 0])
        with pytest.raises(ValueError, match="rates have the shape"):
            session.run_networks([9, 9], 9, [rates, rates[:0]], [0, 0])
        with pytest.raises(ValueError, match="columns"):
            session.run_networks([9, 9], 9, [rates, np.hstack([rates] * 2)], [0, 0])
        rows = problem.rows.copy()
        rows[3] = 99
        session.bind(
            cpu.upload(made.layout, problem.values), problem.source, problem.targets, rows=rows,
            states=cpu.zeros(made.layout, 3), network=1,
        )  # fmt: skip
        with pytest.raises(ValueError, match="out of bounds"):
            session.run_networks([9, 9], 9, [rates] * 2, [0, 0])


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ((EnsembleDense(3, 4),), "layers.0: .* has 4 members, in a network of 2"),
        ((BatchNormalization(),), "BatchNormalization.* cannot be in a network of 2 members"),
        ((SimpleRNN(3),), "SimpleRNN.* cannot be in a network of 2 members"),
        ((EnsembleDense(3, 2, sections=(2, 2)),), "got 6 inputs; its sections have 4"),
    ],
)
def test_layers_that_do_not_fit_the_members(layers, match):
    inputs = (2, 3) if isinstance(layers[0], SimpleRNN) else 6
    network = Network(
        (*layers, Activation("identity")), inputs, make_loss("squared_error", "identity"),
        members=2,
    )  # fmt: skip
    with pytest.raises(ValueError, match=match):
        network.primitives  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"scale_inputs": "sings"}, "scale_inputs of EnsembleDense is 'sings'; expected one of"),
        ({"members": 0}, "members of EnsembleDense is 0; expected an int of at least 1"),
        ({"sections": (2, 0)}, "sections of EnsembleDense is .* of at least 1"),
        ({"shared": False, "use_bias": False}, "use_bias of EnsembleDense is False"),
    ],
)
def test_invalid_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        EnsembleDense(**{"units": 3, "members": 2} | arguments)


def test_devices_without_members(monkeypatch):
    class Other:
        groups = False

    monkeypatch.setitem(DEVICES, "cuda", Other())
    with pytest.raises(ValueError, match="cannot run networks of several members, here 4"):
        for_training("cuda", 1e9, 4)
    assert for_training("cuda", 1e9) == "cuda"
    assert for_prediction("cpu", "cuda", 10, 1e12, 4) == "cpu"
    assert for_training("auto", 1e12, 4) == "cpu"


def test_first_values_of_all_members_are_adapted_within_bounded_memory(monkeypatch):
    network, seen = members_of(3, dropout=False), []

    def noting(*args, rows, **more):
        seen.append(len(rows))
        return predict(*args, rows=rows, **more)

    monkeypatch.setattr(first_values, "predict", noting)
    monkeypatch.setattr(first_values, "_MOST_NUMBERS", 3 * 33 * 20)
    random, rows = np.random.RandomState(0), np.arange(50)
    x = random.normal(size=(50, 10))
    values = []
    for layer, inputs in ((0, 10), (2, 17), (4, 33), (6, 5)):
        values += network.layers[layer].draw((inputs,), random, "data_dependent")
    data = Data(Source(x), Source(x[:, :3]), None, rows, x)
    first_values.adapt(network, values, [], data, "data_dependent", random, 1)
    assert seen == [20] * 4
