"""Noise, sampling, tied weights, contractive penalty: alone, in networks, by differences."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from reference import ACTIVATION_FUNCTIONS, SLOPES, Executor, X, predict, run_engine, step_rates
from scipy.special import ndtr
from test_convolution import assert_same_bits
from test_operations import (
    ADAM,
    PAIRS,
    TOLERANCE,
    assert_close,
    assert_padding_is_zero,
    compare,
    copied,
    make_problem,
)
from test_recurrent_operations import TILES, UNITS, run_operation, run_tape

from sknn.cpu.packing import lanes_of
from sknn.cpu.program import Program
from sknn.cpu.session import Session
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.layers import (
    LSTM,
    Activation,
    ActivityRegularization,
    Concatenate,
    ContractivePenalty,
    Conv2D,
    Dense,
    Dropout,
    GaussianNoise,
    GaussianSampling,
    MaskingNoise,
    MaxPooling2D,
    RepeatVector,
    SaltAndPepperNoise,
    SimpleRNN,
    TiedDense,
    UpSampling2D,
)
from sknn.layers.tied import CONTRACTED
from sknn.tape.losses import Loss
from sknn.tape.sources import INPUTS, Source
from sknn.tape.tape import Parameter, Tape

STEPS = 6
#: The parameter of activations that have one, other than the default.
PARAMETERS = {"leaky_relu": 0.2, "elu": 0.7}
QUARTER = 2**30  # as a threshold


# --- the definitions among themselves


@pytest.mark.parametrize("name", CONTRACTED)
def test_slopes_follow_from_the_output(name):
    p, z, h = PARAMETERS.get(name), np.linspace(-3, 3, 60), 1e-6  # zero is not among them
    function, derivative = ACTIVATION_FUNCTIONS[name]
    slope, bend = SLOPES[name](function(z, p), p)
    np.testing.assert_allclose(slope, derivative(z, p), rtol=1e-12)
    difference = (derivative(z + h, p) - derivative(z - h, p)) / (2 * h)
    np.testing.assert_allclose(bend, difference, rtol=1e-6, atol=1e-9)


# --- operations, each alone against its definition


def lay_out(tape, arrays, dtype):
    """Gather arrays [rows, samples] into one buffer; return X, the buffer and a view of each.

    Each is followed by padding, which must not be read.
    """
    starts = np.cumsum([0, *(-(-(len(a) + 1) // 32) * 32 for a in arrays.values())])
    x = np.full((next(iter(arrays.values())).shape[1], starts[-1]), np.nan, dtype)
    addresses, base = tape.buffer("addresses", 2), tape.buffer("all", int(starts[-1]))
    tape.add("gather", (), (addresses, base), (base.rows, X), Source(x).variant)
    views = {}
    for (name, array), start in zip(arrays.items(), map(int, starts)):
        x[:, start : start + len(array)] = array.T
        views[name] = tape.view(base, start, len(array))
    return x, base, views


def check_tape(tape, base, views, x, dtype, values=(), weights=None):
    """Run a tape and its definition, and compare the views, the loss and gradients."""
    tape.add("scatter", (base,), (), (base.rows,))
    if tape.parameters:
        tape.finish()
    made = run_tape(tape, dtype, x, values, weights=weights)
    for name, view in views.items():
        actual, expected = (
            a[:, view.first : view.first + view.rows] for a in (made.out, made.expected)
        )
        assert not np.isnan(expected).any(), name
        assert_close(actual, expected, TOLERANCE[dtype], name)
    for actual, expected in zip(made.gradients, made.expected_gradients, strict=True):
        assert_close(actual, expected, TOLERANCE[dtype], "gradient")


@pytest.mark.parametrize(("width", "dtype"), TILES)
def test_noise(width, dtype):
    random, threshold = np.random.RandomState(0), int(0.3 * 2**32)
    for layer, units in enumerate(UNITS):
        x = random.normal(size=(units, 2 * width + 3))
        arrays = {"x": x, "y": np.full_like(x, np.nan)}
        for limits in ((-np.inf, np.inf), (-0.5, 0.8)):
            numbers = (units, layer, 0.7, *limits)
            left = run_operation("gaussian_noise", dtype, width, arrays, numbers)
            assert (left["x"] == x.astype(dtype)).all()
            assert left["y"].min() >= np.float32(limits[0])
            assert left["y"].max() <= np.float32(limits[1])
        numbers = (units, layer, threshold, -2.0, 7.0)
        run_operation("salt_and_pepper", dtype, width, arrays, numbers)
        run_operation("dropout", dtype, width, arrays, (units, layer, threshold, 1.0))


@pytest.mark.parametrize(("width", "dtype"), TILES)
def test_draws(width, dtype):
    random, n = np.random.RandomState(0), 2 * width + 3
    for layer, units in enumerate(UNITS):
        arrays = {"x": random.normal(size=(2 * units, n)), "z": np.full((units, n), np.nan)}
        run_operation("draw_normal", dtype, width, arrays, (units, layer))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("width", "dtype"), TILES)
def test_gradient_of_draws(width, dtype, weighted):
    random, n = np.random.RandomState(0), 2 * width + 3
    for units, beta in zip(UNITS, (0.0, 0.3, 1.0, 4.0) * 2):
        arrays = {
            "x": random.normal(size=(2 * units, n)), "z": random.normal(size=(units, n)),
            "dz": random.normal(size=(units, n)), "dx": np.full((2 * units, n), np.nan),
        }  # fmt: skip
        tape = Tape(width)
        x, base, views = lay_out(tape, arrays, dtype)
        reads = (views["x"], views["z"], tape.weights(), views["dz"])
        tape.add("draw_normal_gradient", reads, (views["dx"],), (units, beta))
        weights = random.uniform(size=n) if weighted else None
        check_tape(tape, base, views, x, dtype, weights=weights)


@pytest.mark.parametrize("name", CONTRACTED)
@pytest.mark.parametrize(("width", "dtype"), TILES)
def test_contraction(width, dtype, name):
    """With the norms that it needs, and all that the weights get: of several slices too."""
    rows, pack_w, _ = TILES[width, dtype]
    packed = pack_w * lanes_of(dtype)
    random, n, function = np.random.RandomState(0), 2 * width + 3, ACTIVATION_FUNCTIONS[name][0]
    p = PARAMETERS.get(name, 0.0)
    for units, inputs in ((1, 1), (3, 300), (17, 5), (33, 40), (70, 3)):
        arrays = {
            "a": function(random.normal(size=(units, n)), p), "da": random.normal(size=(units, n)),
            "factors": np.full((units, n), np.nan), "dx": np.full((units, n), np.nan),
        }  # fmt: skip
        tape = Tape(width)
        x, base, views = lay_out(tape, arrays, dtype)
        w = tape.parameter(Parameter("w", (inputs, units), packed))
        norms, sums = (tape.buffer(name, units, shared=True) for name in ("norms", "sums"))
        packs = -(-units // packed)
        tape.add("column_norms", (w,), (norms,), (inputs,), (packed,), extent=packs)
        reads = (views["a"], norms, tape.weights(), views["da"])
        writes = (views["factors"], views["dx"])
        tape.add("contraction", reads, writes, (units, 0.3, p), (name,))
        tape.add("unit_sums", (views["factors"],), (sums,), (units,), extent=units)
        transposed = tape.buffer("transposed", packs * packed)
        tape.add("pack_samples", (views["da"],), (transposed,), (1, units, units), (packed,))
        seen = tape.buffer("seen", inputs)  # the inputs may be more than the units
        tape.add("fill", (), (seen,), (inputs * width, 0.5))
        products = ((seen, transposed), (inputs,), (rows, packed))
        tape.share(w)
        tape.gradient(w, "weight_gradient", *products)
        tape.add_to_gradient(w, "add_weights", (sums,), (inputs, 0.6), (packed,))
        tape.gradient(w, "weight_gradient", *products)
        values = [random.normal(size=w.shape).astype(dtype)]
        weights = random.uniform(size=n)
        check_tape(tape, base, views, x, dtype, values, weights)


@pytest.mark.parametrize(("width", "dtype"), [(1, "float32"), (8, "float64"), (32, "float32")])
def test_losses_with_a_slope(width, dtype):
    random, n, units = np.random.RandomState(0), 2 * width + 3, 5
    for variant in (("squared_error", True), ("squared_error", False), ("absolute_error", False)):
        for steps in (1, 3):
            arrays = {k: random.normal(size=(units * steps, n)) for k in ("a", "y", "da")}
            tape = Tape(width)
            x, base, views = lay_out(tape, arrays, dtype)
            reads = (views["a"], views["y"], tape.weights(steps))
            tape.add("loss", reads, (views["da"],), (units, 0.0, 0.7, 0.25, 0.0, steps), variant)
            check_tape(tape, base, views, x, dtype, weights=random.uniform(size=n))


# --- statistics of the noise layers


def noisy(layer, x, width=32, threads=1, dtype="float64", batch=None, seed=7, place=0, counted=0):
    """Return the output of a layer for X in training, at a `place` in a network."""
    tape, columns, source = Tape(width), x.shape[1], Source(x)
    for _ in range(place):
        tape.next_random()
    addresses, read = tape.buffer("addresses", 2), tape.buffer("x", columns)
    tape.add("gather", (), (addresses, read), (columns, X), source.variant)
    tape.keep(read)
    y, _ = layer.forward(tape, read, (columns,), iter(()), True)
    tape.add("scatter", (y,), (), (y.rows,))
    made, batch = Program(tape, dtype), batch or len(x)
    out = np.zeros((len(x), y.rows), dtype)
    with Session(made, batch, threads) as session:
        session.bind(DEVICES["cpu"].upload(made.layout, ()), source, out=out, seed=seed)
        session.run(len(x), batch, np.ones((-(-len(x) // batch), 2)), counted)
    return out


#: One of each kind; the inputs that they get here lie in [0, 1].
NOISES = {
    "masking": MaskingNoise(0.3),
    "salt and pepper": SaltAndPepperNoise(0.3, (-1.0, 2.0)),
    "gaussian": GaussianNoise(0.5),
    "gaussian within limits": GaussianNoise(0.5, (0.0, 1.0)),
    "sampling": GaussianSampling(),
    "dropout": Dropout(0.3),
}


def uniform(n, columns, seed=0):
    return np.random.RandomState(seed).uniform(0.05, 0.95, size=(n, columns))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NOISES)
def test_noise_depends_neither_on_the_width_nor_on_threads(name, dtype):
    x, layer = uniform(150, 34), NOISES[name]
    expected = noisy(layer, x, dtype=dtype)
    for width, threads in ((32, 2), (32, 3), (32, 5), (lanes_of(dtype), 2), (1, 3)):
        assert (noisy(layer, x, width, threads, dtype) == expected).all()
    # by the place in a batch and its number
    parts = noisy(layer, x, dtype=dtype, batch=100)
    assert (parts[:100] == expected[:100]).all()
    assert (parts[100:] == noisy(layer, x[100:], dtype=dtype, counted=1)).all()


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_another_one_for_each_seed_step_layer_and_sample(name):
    x, layer = np.full((40, 34), 0.5), NOISES[name]
    expected = noisy(layer, x)
    assert (noisy(layer, x) == expected).all()
    for other in ({"seed": 8}, {"seed": 7 + 2**32}, {"place": 1}, {"counted": 1}):
        assert (noisy(layer, x, **other) != expected).mean() > 0.3, other
    assert len(np.unique(expected, axis=0)) == 40
    assert len(np.unique(expected, axis=1).T) == expected.shape[1]


N, COLUMNS = 4000, 33


def assert_share(mask, share):
    """Check that the fraction of true values is within four standard deviations of the share."""
    assert abs(mask.mean() - share) < 4 * np.sqrt(share * (1 - share) / mask.size)


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.9])
def test_rates_of_masking_and_of_salt_and_pepper(rate):
    x = uniform(N, COLUMNS)
    masked = noisy(MaskingNoise(rate), x)
    assert_share(masked == 0, rate)
    assert (masked[masked != 0] == x[masked != 0]).all()  # it is not scaled up
    for limits in ((0.0, 1.0), (-3.0, -0.5)):
        speckled = noisy(SaltAndPepperNoise(rate, limits), x)
        for limit in limits:
            assert_share(speckled == limit, rate / 2)
        kept = ~np.isin(speckled, limits)
        assert_share(kept, 1 - rate)
        assert (speckled[kept] == x[kept]).all()
        for column in range(COLUMNS):
            assert_share(kept[:, column], 1 - rate)


def test_normal_noise():
    x = uniform(N, COLUMNS)
    noise = (noisy(GaussianNoise(0.3), x) - x) / 0.3
    assert_normal(noise)
    bounded = noisy(GaussianNoise(0.3, (0.1, 0.8)), x)
    np.testing.assert_array_equal(bounded, np.clip(noisy(GaussianNoise(0.3), x), 0.1, 0.8))
    below = ndtr((0.1 - x) / 0.3).mean()
    above = ndtr((x - 0.8) / 0.3).mean()
    assert_share(bounded == 0.1, below)
    assert_share(bounded == 0.8, above)


def assert_normal(noise):
    """Check the moments of standard normal numbers, of each column and of pairs of them."""
    n, columns = noise.shape
    assert np.abs(noise.mean(axis=0)).max() < 4 / np.sqrt(n)
    assert np.abs(noise.var(axis=0) - 1).max() < 4 * np.sqrt(2 / n)
    assert abs((noise**3).mean()) < 4 * np.sqrt(15 / noise.size)
    assert abs((noise**4).mean() - 3) < 4 * np.sqrt(96 / noise.size)
    correlations = np.corrcoef(noise.T)[np.triu_indices(columns, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(n)


def test_draws_have_the_means_and_deviations_that_they_are_given():
    random = np.random.RandomState(0)
    mean, spread = random.normal(size=(2, COLUMNS))
    x = np.tile(np.hstack([mean, spread]), (N, 1))
    assert_normal((noisy(GaussianSampling(), x) - mean) * np.exp(-spread / 2))


@pytest.mark.parametrize("name", NOISES)
def test_predictions_have_no_noise(name):
    x = uniform(40, 8)
    network = Network((NOISES[name], Dense(3), Activation("identity")), 8, MEAN_SQUARED)
    p = make_problem(network, "float64", 5)
    w, b = p.values
    outputs = predict(network, p.values, np.dtype(float), Source(x), 1)
    np.testing.assert_allclose(outputs, x[:, : len(w)] @ w + b, rtol=1e-12)


def test_noise_of_no_size_is_none():
    for layer in (MaskingNoise(0), SaltAndPepperNoise(0), GaussianNoise(0, (0.4, 0.5))):
        x = uniform(5, 3)
        assert (noisy(layer, x) == x).all()


# --- networks

MEAN_SQUARED = Loss("squared_error", "identity", over_outputs="mean")
CROSS_ENTROPY = Loss("log_loss", "logistic", over_outputs="mean")
SUM_OF_ENTROPY = Loss("log_loss", "logistic", over_outputs="sum")


def coder(*layers, shape=7, loss=MEAN_SQUARED):
    return Network((*layers, Activation(loss.link)), shape, loss)


def encoder(units, activation="tanh", name="code", **options):
    return Dense(units, activation=activation, name=name, **options)


IMAGE = (
    Conv2D(4, 3, padding="same", activation="tanh"), MaxPooling2D(2, padding="same"),
    Conv2D(3, 3, padding="same", activation="silu"), UpSampling2D(2),
    Conv2D(1, 3, padding="same"),
)  # fmt: skip
SEQUENCE = (
    LSTM(4), Dense(6), GaussianSampling(0.5), RepeatVector(STEPS), LSTM(5, return_sequences=True),
    Dense(2),
)  # fmt: skip

#: Networks that reconstruct their input, and a description of their data.
NETWORKS = {
    "noises": (
        coder(
            MaskingNoise(0.2), SaltAndPepperNoise(0.2), GaussianNoise(0.3, (0.0, 1.0)),
            Dense(17, activation="tanh"), MaskingNoise(0.1), Dense(7), loss=CROSS_ENTROPY,
        ),
        {},
    ),
    "sparse": (coder(MaskingNoise(0.2), encoder(5), TiedDense("code", 7)), {"sparse": True}),
    "tied": (coder(encoder(5), TiedDense("code", 7)), {}),
    "tied, one unit": (coder(encoder(1), TiedDense("code", 1), shape=1), {}),
    "tied twice": (
        coder(
            encoder(20), encoder(3, "logistic", "inner"), TiedDense("inner", 20),
            Activation("silu"), TiedDense("code", 40), shape=40, loss=CROSS_ENTROPY,
        ),
        {},
    ),
    "tied, several slices": (coder(encoder(33), TiedDense("code", 300), shape=300), {}),
    "tied without biases": (
        coder(encoder(5, use_bias=False), TiedDense("code", 7, use_bias=False)), {},
    ),
    "tied with a frozen bias": (
        coder(encoder(5), TiedDense("code", 7, trainable=False)), {},
    ),
    "tied to frozen weights": (
        coder(Dense(7), encoder(5, trainable=False), TiedDense("code", 7)), {},
    ),
    "tied to frozen weights at first": (
        coder(encoder(5, trainable=False), TiedDense("code", 7)), {},
    ),
    "used three times": (
        coder(
            encoder(5), TiedDense("code", 7), Activation("tanh"), Dense(5), Activation("silu"),
            TiedDense("code", 7),
        ),
        {},
    ),
    "tied around a sequence": (
        coder(encoder(5), RepeatVector(3), LSTM(5), TiedDense("code", 7)), {},
    ),
    "tied, on an image": (
        coder(
            Conv2D(3, 3, padding="same", activation="tanh"), encoder(5), Dropout(0.1),
            TiedDense("code", 72), Activation("tanh"), Dense(24), shape=(6, 4, 1),
        ),
        {},
    ),
    "tied, penalised": (
        coder(
            encoder(5, activity_l1=0.2, activity_l2=0.1, kernel_l2=0.3, kernel_l1=0.1),
            TiedDense("code", 7), ActivityRegularization(0.1, 0.2),
        ),
        {},
    ),
    "contractive": (coder(encoder(5), ContractivePenalty("code", "tanh", 0.3), Dense(7)), {}),
    "contractive and tied": (
        coder(
            encoder(35, activity_l2=0.1), ContractivePenalty("code", "tanh", 0.03),
            GaussianNoise(0.1), TiedDense("code", 7),
        ),
        {},
    ),
    "contractive twice": (
        coder(
            MaskingNoise(0.1), encoder(20), ContractivePenalty("code", "tanh", 0.02),
            encoder(4, "softplus", "inner"), ContractivePenalty("inner", "softplus", 0.1),
            TiedDense("inner", 20), Activation("tanh"), TiedDense("code", 7), loss=CROSS_ENTROPY,
        ),
        {},
    ),
    "two penalties of one layer": (
        coder(
            encoder(5), ContractivePenalty("code", "tanh", 0.3),
            ContractivePenalty("code", "tanh", 0.1), Dense(7),
        ),
        {},
    ),
    "contractive, frozen": (
        coder(
            Dense(6), encoder(5, trainable=False), ContractivePenalty("code", "tanh", 0.3),
            Dense(7),
        ),
        {},
    ),
    "sampling": (
        coder(
            Dense(8, activation="tanh"), Dense(6), GaussianSampling(0.7), Dense(7),
            loss=SUM_OF_ENTROPY,
        ),
        {},
    ),
    "sampling, tied and penalised": (
        coder(
            encoder(20, "logistic"), ContractivePenalty("code", "logistic", 0.1),
            Dense(40, activity_l1=0.01), GaussianSampling(0.3), Activation("tanh"),
            TiedDense("code", 7), loss=SUM_OF_ENTROPY,
        ),
        {},
    ),
    "image": (coder(*IMAGE, shape=(6, 4, 1), loss=CROSS_ENTROPY), {}),
    "noisy image": (
        coder(GaussianNoise(0.2, (0.0, 1.0)), *IMAGE, shape=(6, 4, 1), loss=CROSS_ENTROPY), {},
    ),
    "sequence": (coder(*SEQUENCE, shape=(STEPS, 2)), {}),
    "ragged sequence": (coder(*SEQUENCE, shape=(STEPS, 2)), {"ragged": (STEPS,)}),
}  # fmt: skip


def give_back(problem):
    """Make the problem's inputs, scaled to [0, 1], its targets."""
    x = problem.data[X]
    x = abs(x) / (1 + abs(x).max()) if sp.issparse(x) else 1 / (1 + np.exp(-x))
    problem.data[X], problem.source, problem.targets = x, Source(x), INPUTS


def coding_problem(network, dtype, n, **options):
    problem = make_problem(network, dtype, n, **options)
    give_back(problem)
    return problem


# --- complete tapes against the definitions


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    network, options = NETWORKS[name]
    made = compare(network, "float64", 11, 30, ADAM, width=8, edit=give_back, **options)
    assert_padding_is_zero(made)
    solver = replace(ADAM, l2=0.1, l1=0.05, clip_value=0.2, clip_norm=0.5)
    options = options | {"weighted": True, "edit": give_back}
    made = compare(network, "float32", 37, 80, solver, threads=2, **options)
    assert_padding_is_zero(made)
    compare(network, "float64", 37, 80, purpose="gradient", **options)
    compare(network, "float32", 11, 30, purpose="evaluate", width=16, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name",
    ["noises", "tied twice", "contractive and tied", "sampling", "ragged sequence"],
)
def test_networks_on_single_samples(name, dtype):
    network, options = NETWORKS[name]
    options = options | {"width": 1, "weighted": True, "edit": give_back}
    compare(network, dtype, 1, 7, replace(ADAM, l2=0.1), **options)
    compare(network, dtype, 1, 7, purpose="evaluate", **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_without_penalties_and_divergence(name):
    network, options = NETWORKS[name]
    p = coding_problem(network, "float64", 80, weighted=True, **options)
    rates, solver = step_rates(p.weights, p.rows, 37), replace(ADAM, l2=0.2, l1=0.1)
    run, bound = {"weights": p.weights, "seed": 2**40 + 3, "counted": 3}, copied(p.bound)
    made = run_engine(
        network, "float64", "train", p.values, p.source, p.targets, p.rows, 37, rates,
        solver=solver, **run, **p.bound,
    )  # fmt: skip
    tape = lower(
        network, np.dtype(float), made.program.width, "train", p.source.key, p.targets.key, solver
    )
    plain = Executor(tape, p.values)
    plain.run(p.data, p.rows, 37, rates, **run, **bound)
    assert made.data_loss < made.total or "frozen weights at first" in name
    assert made.data_loss == pytest.approx(plain.data_loss, rel=1e-10)
    assert made.divergence == pytest.approx(plain.divergence, rel=1e-10)
    assert (made.divergence > 0) == ("GaussianSampling" in repr(network.layers))


# --- gradients by finite differences


def assert_gradient_is_right(network, n=11, width=8, edit=give_back, weighted=True, **options):
    """Check the gradient along random directions; it has the scale of the loss."""
    p = make_problem(network, "float64", n, weighted=weighted, **options)
    edit(p)

    def run(values):
        return run_engine(
            network, "float64", "gradient", values, p.source, p.targets, p.rows, n,
            np.ones((1, 2)), weights=p.weights, width=width, seed=5, fill=np.nan,
            **copied(p.bound),
        )  # fmt: skip

    made, random = run(p.values), np.random.RandomState(2)
    assert max(np.abs(gradient).max() for gradient in made.gradients) > 1e-3
    for i, parameter in enumerate(made.parameters):
        if not parameter.trainable:
            assert not made.gradients[i].any()
            continue
        for _ in range(3):
            direction, ends = random.normal(size=parameter.shape), []
            for h in (-1e-6, 1e-6):
                moved = list(p.values)
                moved[i] = moved[i] + h * direction
                ends.append(run(moved).total)
            actual, expected = (made.gradients[i] * direction).sum(), (ends[1] - ends[0]) / 2e-6
            assert actual == pytest.approx(expected, rel=2e-6, abs=2e-7), f"{i}: {parameter}"


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_of_networks(name):
    network, options = NETWORKS[name]
    assert_gradient_is_right(network, **options)
    assert_gradient_is_right(network, n=40, width=32, weighted=False, **options)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", CONTRACTED)
def test_gradient_of_the_contractive_penalty(name, tied):
    activation = Activation(name, PARAMETERS.get(name))
    last = TiedDense("code", 7) if tied else Dense(7)
    penalty = ContractivePenalty("code", activation, 0.3)
    assert_gradient_is_right(coder(encoder(5, activation), penalty, last))


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0, 5.0])
def test_gradient_of_the_divergence(beta):
    layers = Dense(10, activity_l2=0.1), GaussianSampling(beta), Dense(7)
    assert_gradient_is_right(coder(*layers, loss=SUM_OF_ENTROPY))


@pytest.mark.parametrize("over", ["mean", "sum"])
@pytest.mark.parametrize(("name", "link"), [pair for pair in PAIRS if pair != PAIRS[0]])
def test_gradient_of_losses_over_outputs(name, link, over):
    """In one piece with penalties, whose scale is theirs."""
    loss = Loss(name, link, {"huber": 0.7, "quantile": 0.3}.get(name, 0.0), over)
    layers = encoder(5), ContractivePenalty("code", "tanh", 0.3), Dense(3)
    network = coder(*layers, loss=loss)
    assert_gradient_is_right(network, edit=lambda problem: None)
    made = compare(network, "float64", 11, 30, purpose="gradient", weighted=True, width=8)
    assert made.data_loss == made.total


def test_gradient_of_losses_over_outputs_of_each_step():
    for over in ("mean", "sum"):
        loss = Loss("squared_error", "identity", over_outputs=over)
        network = coder(*SEQUENCE, shape=(STEPS, 2), loss=loss)
        assert_gradient_is_right(network, ragged=(STEPS,))


def test_a_loss_over_outputs_is_what_it_says():
    network = coder(Dense(3), shape=2)
    p = make_problem(network, "float64", 9)
    x, y = (p.data[key][p.rows] for key in p.data)
    error = x @ p.values[0] + p.values[1] - y
    for over, expected in (
        ("mean", (error**2).mean(axis=1).sum()),
        ("sum", (error**2).sum() / 2),
        (None, (error**2).mean(axis=1).sum() / 2),
    ):
        some = replace(network, loss=Loss("squared_error", "identity", over_outputs=over))
        made = run_engine(
            some, "float64", "loss", p.values, p.source, p.targets, p.rows, 9, np.ones((1, 2))
        )
        assert made.total == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_gradient_of_a_repeated_vector(steps):
    """Ragged sequences keep their lengths, before and after RepeatVector."""
    behind = SimpleRNN(5, return_sequences=True), Dense(3)
    loss = Loss("huber", "tanh", 0.7, "mean")
    row = coder(Dense(4, activation="tanh"), RepeatVector(steps), *behind, loss=loss)
    for ragged in (None, (steps,)):
        assert_gradient_is_right(row, edit=lambda problem: None, ragged=ragged)
    sequence = coder(LSTM(4), RepeatVector(steps), *behind, shape=(steps, 3), loss=loss)
    assert_gradient_is_right(sequence, ragged=(steps,))


# --- what the penalties are


def train_once(network, values, p):
    return run_engine(
        network, "float64", "gradient", values, p.source, p.targets, p.rows, len(p.rows),
        np.ones((1, 2)), weights=p.weights, seed=5,
    )  # fmt: skip


@pytest.mark.parametrize("name", CONTRACTED)
def test_the_contractive_penalty_is_the_squared_norm_of_the_jacobian(name):
    activation = Activation(name, PARAMETERS.get(name))
    totals, n, dtype = [], 40, np.dtype(float)
    for strength in (0.0, 0.3):
        penalty = ContractivePenalty("code", activation, strength)
        network = coder(encoder(5, activation), penalty, TiedDense("code", 7))
        p = coding_problem(network, "float64", n, weighted=True)
        totals.append(train_once(network, p.values, p).total)
    half = Network((Dense(5), activation), 7, MEAN_SQUARED)
    expected, x = 0.0, p.data[X][p.rows]
    for step in 1e-6 * np.eye(7):
        ends = [predict(half, p.values[:2], dtype, Source(x + h), 1) for h in (step, -step)]
        expected += 0.3 * p.weights[p.rows] @ (((ends[0] - ends[1]) / 2e-6) ** 2).sum(axis=1)
    assert totals[1] - totals[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_the_divergence_is_that_from_the_standard_normal_distribution(beta):
    network = coder(Dense(6), GaussianSampling(beta), Dense(7), loss=SUM_OF_ENTROPY)
    p = coding_problem(network, "float64", 40, weighted=True)
    made = train_once(network, p.values, p)
    codes = p.data[X] @ p.values[0] + p.values[1]
    mean, variance = codes[:, :3], np.exp(codes[:, 3:])
    each = ((variance + mean**2 - 1 - np.log(variance)) / 2).sum(axis=1)
    expected = (p.weights * each)[p.rows].sum()
    assert made.divergence == pytest.approx(expected, rel=1e-12)
    nothing = coder(Dense(6), GaussianSampling(0.0), Dense(7), loss=SUM_OF_ENTROPY)
    without = train_once(nothing, p.values, p)
    assert without.divergence == made.divergence
    assert made.total - without.total == pytest.approx(beta * expected, rel=1e-9, abs=1e-9)


def test_divergences_of_several_layers_add_up():
    network = coder(
        Dense(6), GaussianSampling(0.3), Dense(8), GaussianSampling(2.0), Dense(7),
        loss=SUM_OF_ENTROPY,
    )  # fmt: skip
    assert_gradient_is_right(network)
    compare(network, "float64", 11, 30, ADAM, width=8, edit=give_back)
    p = coding_problem(network, "float64", 11)
    made = train_once(network, p.values, p)
    tape = lower(network, np.dtype(float), 32, "gradient", p.source.key, p.targets.key)
    plain = Executor(tape, p.values)
    plain.run(p.data, p.rows, 11, np.ones((1, 2)), seed=5)
    assert made.divergence == pytest.approx(plain.divergence, rel=1e-12)


def test_a_loss_is_the_same_for_every_purpose_where_nothing_is_random():
    """Buffers that prediction overwrites are no longer needed."""
    for name in ("tied", "tied twice", "used three times", "tied around a sequence", "image"):
        network, options = NETWORKS[name]
        p = coding_problem(network, "float64", 11, **options)
        totals = [
            run_engine(
                network, "float64", purpose, p.values, p.source, p.targets, p.rows, 11,
                np.ones((1, 2)), width=8, fill=np.nan, **p.bound,
            ).total
            for purpose in ("gradient", "evaluate", "loss")
        ]  # fmt: skip
        assert totals[0] == totals[1] == totals[2]


# --- targets that are the inputs


@pytest.mark.parametrize(
    "name", ["noises", "sparse", "tied", "noisy image", "ragged sequence", "sampling"]
)
def test_targets_that_are_the_inputs_have_the_bits_of_these_given_twice(name):
    network, options = NETWORKS[name]
    p = coding_problem(network, "float32", 80, weighted=True, **options)
    for purpose in ("train", "evaluate"):
        runs = [
            run_engine(
                network, "float32", purpose, p.values, p.source, targets, p.rows, 37,
                step_rates(p.weights, p.rows, 37), weights=p.weights, seed=3, fill=np.nan,
                solver=ADAM if purpose == "train" else None, **p.bound,
            )
            for targets in (INPUTS, p.source)
        ]  # fmt: skip
        assert_same_bits(runs)


def test_inputs_are_gathered_once():
    network, source = NETWORKS["noises"][0], ("gather", ("float64", True))
    for purpose in ("train", "evaluate", "loss"):
        solver = ADAM if purpose == "train" else None
        tape = lower(network, np.dtype(float), 32, purpose, source, INPUTS.key, solver)
        names = [op.name for phase in tape.phases for op in phase.all_ops()]
        assert names.count("gather") == 1


def test_sampled_inputs_are_not_overwritten_in_predicting():
    """The means are a part of what the layer gets, which others may still read."""
    first = coder(GaussianSampling(), Activation("tanh"), Dense(8), shape=8)
    branches = coder(
        Dense(8), Concatenate([[GaussianSampling(), Activation("tanh")], [Dense(5)]]), Dense(7),
    )  # fmt: skip
    for network in (first, branches):
        compare(network, "float64", 11, 30, purpose="evaluate", width=8, edit=give_back)
    x = uniform(20, 8)
    p = make_problem(first, "float64", 5)
    p.data[X] = x
    outputs = predict(first, p.values, np.dtype(float), Source(x), 1)
    loss = ((outputs - x) ** 2).mean(axis=1).mean()
    made = predict(first, p.values, np.dtype(float), Source(x), 1, INPUTS)
    assert made[1] == pytest.approx(loss, rel=1e-12)
    p = make_problem(branches, "float64", 5)
    w, b, w5, b5, w7, b7 = p.values
    x = uniform(20, 7)
    hidden = x @ w + b
    hidden = np.hstack([np.tanh(hidden[:, :4]), hidden @ w5 + b5])
    outputs = predict(branches, p.values, np.dtype(float), Source(x), 1)
    np.testing.assert_allclose(outputs, hidden @ w7 + b7, rtol=1e-11)


# --- what must not change the result


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_neither_threads_nor_what_lay_in_memory_change_the_bits(name, dtype):
    network, options = NETWORKS[name]
    p = coding_problem(network, dtype, 150, weighted=True, **options)
    solver = replace(ADAM, l2=0.1, clip_norm=0.5)
    runs = [
        run_engine(
            network, dtype, "train", p.values, p.source, p.targets, p.rows, 101,
            step_rates(p.weights, p.rows, 101), weights=p.weights, threads=threads, seed=7,
            fill=fill, solver=solver, **p.bound,
        )
        for threads, fill in ((1, 0.0), (2, np.nan), (3, np.inf), (5, 1.0))
    ]  # fmt: skip
    assert np.isfinite(runs[0].total)
    assert_same_bits(runs)
    for run in runs[1:]:
        assert (run.data_loss, run.divergence) == (runs[0].data_loss, runs[0].divergence)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["tied twice", "tied, several slices", "sampling", "sequence"])
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(name, dtype):
    network, options = NETWORKS[name]
    p = coding_problem(network, dtype, 43, **options)
    together = predict(network, p.values, np.dtype(dtype), p.source, 2)
    for n in (1, 2, 8, 9, 16, 17, 33):
        rows = p.rows[-n:]
        some = predict(network, p.values, np.dtype(dtype), p.source, 1, rows=rows)
        assert (some == together[rows]).all()


@pytest.mark.parametrize("name", ["tied twice", "used three times", "two penalties of one layer"])
def test_gradients_add_up_over_chunks(name):
    network = NETWORKS[name][0]
    p = coding_problem(network, "float64", 43)

    def run(batch):
        return run_engine(
            network, "float64", "gradient", p.values, p.source, p.targets, p.rows, batch,
            np.ones((-(-43 // batch), 2)), accumulate=True, width=8,
        )  # fmt: skip

    whole, chunks = run(43), run(13)
    for a, b in zip(whole.gradients, chunks.gradients):
        assert_close(a, b, 1e-12, "gradient")


# --- what is wrong


def lowered(*layers, shape=7, purpose="train"):
    network = coder(*layers, shape=shape)
    solver = ADAM if purpose == "train" else None
    key = ("gather", ("float64", True))
    return lower(network, np.dtype(float), 8, purpose, key, key, solver)


@pytest.mark.parametrize("purpose", ["train", "predict"])
def test_tied_layers_must_fit(purpose):
    for layers, message in (
        ((Dense(5), TiedDense("code", 7)), "weights of 'code'; expected the name of an earlier D"),
        ((TiedDense("code", 7), encoder(5)), "weights of 'code'; expected the name of an e"),
        ((encoder(5), Dense(4), TiedDense("code", 7)), "input of 4 units; needs 5, as many as 'c"),
        ((encoder(5), TiedDense("code", 6)), "has 6 units; 'code' has 7 inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            lowered(*layers, purpose=purpose)


def test_a_penalised_layer_must_be_there():
    for layers, message in (
        ((Dense(5), ContractivePenalty("code", "tanh", 1)), "'code'; expected the name of an e"),
        ((encoder(5), Dense(4), ContractivePenalty("code", "tanh", 1)), "4 units; needs 5, as m"),
    ):
        with pytest.raises(ValueError, match=message):
            lowered(*layers)


def test_weights_of_each_step_cannot_be_tied():
    with pytest.raises(ValueError, match="earlier Dense layer that is not"):
        lowered(encoder(5), LSTM(5), TiedDense("code", 2), shape=(STEPS, 2))


def test_layers_get_the_shapes_that_they_need():
    for layer, shape, message in (
        (GaussianSampling(), 7, "7 units; needs a vector of as many means as log"),
        (GaussianSampling(), (4, 2), "an input of 4 x 2; needs a vector of as many means"),
        (GaussianSampling(), (4, 4, 2), "an input of 4 x 4 x 2; needs a vector of as many means"),
        (RepeatVector(3), (4, 2), "an input of 4 x 2; needs a vector"),
        (RepeatVector(3), (4, 4, 1), "an input of 4 x 4 x 1; needs a vector"),
    ):
        network = coder(layer, shape=shape)
        with pytest.raises(ValueError, match=message):
            network.output_shape  # noqa: B018
    assert RepeatVector(3).output_shape((4,)) == (3, 4)
    assert GaussianSampling().output_shape((8,)) == (4,)
    assert TiedDense("code", 7).output_shape((4,)) == (7,)


@pytest.mark.parametrize("make", [SaltAndPepperNoise, GaussianNoise])
def test_limits(make):
    for limits in (1.0, "ab", (0.0,), (0.0, 0.5, 1.0), (None, 1.0), ("a", "b"), {0.0, 1.0}):
        with pytest.raises(TypeError, match=f"limits of {make.__name__} is .*; expected two num"):
            make(0.1, limits)
    for limits in ((1.0, 0.0), (0.5, 0.5), (np.nan, 1.0), [0.0, np.nan]):
        with pytest.raises(ValueError, match=f"limits of {make.__name__} is .*; expected fin"):
            make(0.1, limits)
    layer = make(0.1, [np.float32(-1), 2])
    assert layer.limits == (-1.0, 2.0)
    assert all(type(limit) is float for limit in layer.limits)
    assert hash(layer) == hash(make(0.1, (-1, 2.0)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaskingNoise(1.0), ValueError, r"rate of MaskingNoise is 1.0; .* \[0, 1\)"),
        (lambda: MaskingNoise(-0.1), ValueError, "rate of MaskingNoise is -0.1"),
        (lambda: MaskingNoise("much"), TypeError, "rate of MaskingNoise is 'much'"),
        (lambda: SaltAndPepperNoise(1), ValueError, "rate of SaltAndPepperNoise is 1"),
        (lambda: SaltAndPepperNoise(None), TypeError, "rate of SaltAndPepperNoise is None"),
        (lambda: GaussianSampling(-1.0), ValueError, "beta of GaussianSampling is -1.0"),
        (lambda: GaussianSampling("b"), TypeError, "beta of GaussianSampling is 'b'"),
        (lambda: RepeatVector(0), ValueError, "steps of RepeatVector is 0"),
        (lambda: RepeatVector(2.0), TypeError, "steps of RepeatVector is 2.0"),
        (lambda: TiedDense("code", 0), ValueError, "units of TiedDense is 0"),
        (lambda: TiedDense("code", 3, use_bias=1), TypeError, "use_bias of TiedDense is 1"),
        (lambda: TiedDense("code", 3, trainable=0), TypeError, "trainable of TiedDense is 0"),
        (lambda: TiedDense("code", 3, name=""), TypeError, "name of TiedDense is ''"),
        (lambda: ContractivePenalty("c", "tanh", -1), ValueError, "strength of ContractiveP"),
        (lambda: ContractivePenalty("c", "tanh", None), TypeError, "strength of ContractiveP"),
        (lambda: ContractivePenalty("c", "gelu", 1), ValueError, "activation of .* is 'gelu'"),
        (lambda: ContractivePenalty("c", None, 1), ValueError, "activation of .* is None"),
        (
            lambda: ContractivePenalty("c", Activation("softmax"), 1), ValueError,
            "activation of .* is 'softmax'; expected one of .*'elu'",
        ),
        (
            lambda: ContractivePenalty("c", Activation("elu", -1.0), 1), ValueError,
            "parameter=-1.0.; expected a parameter greater than 0",
        ),
    ],
)  # fmt: skip
def test_parameters_of_layers(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_activation_by_its_name_is_the_same():
    penalty = ContractivePenalty("code", "elu", 1)
    assert penalty == ContractivePenalty("code", Activation("elu"), 1.0)
    assert penalty.activation == Activation("elu")
