"""Convolutional networks against the NumPy definitions, and gradients by finite differences."""

from dataclasses import replace
from math import gcd

import numpy as np
import pytest
from reference import Executor, predict, run_engine, step_rates
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

from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
from sknn.layers import (
    Activation,
    ActivityRegularization,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    LocalResponseNormalization,
    MaxPooling2D,
    RandomCrop,
    RandomFlip,
    RandomShift,
    Residual,
    Sequential,
    UpSampling2D,
)

DTYPES = ["float64", "float32"]
CHANNELS = (1, 3, 5, 6, 16, 17, 33, 40)


def convnet(shape, *layers, outputs=3, loss="log_loss", link="softmax"):
    """Return a network that ends with a dense layer."""
    return Network((*layers, Dense(outputs), Activation(link)), shape, make_loss(loss, link))


def after_something(shape, *layers):
    """Return a network in which a nonlinearity follows the layers, and a gradient is computed."""
    return convnet(shape, BatchNormalization(), *layers, Activation("silu"))


def assert_same_bits(runs):
    """Check that all runs of a program have the same results."""
    for run in runs[1:]:
        assert run.total == runs[0].total
        for name in ("packed", "outputs", "raw_states"):
            assert (getattr(run, name) == getattr(runs[0], name)).all(), name


def assert_frozen_stay(network, dtype, made):
    """Check that untrained parameters have not changed, to the bit."""
    before = make_problem(network, dtype, 50).values
    moments = ("mean", "variance")
    for parameter, old, new in zip(made.parameters, before, made.values, strict=True):
        if not parameter.trainable and parameter.name not in moments:
            assert (old == new).all(), parameter


# --- convolutions of every geometry

CONVOLUTIONS = {
    "one pixel": ((5, 4, 3), Conv2D(6, 1)),
    "valid": ((7, 6, 1), Conv2D(5, 3)),
    "same": ((6, 7, 3), Conv2D(17, (3, 2), padding="same", use_bias=False)),
    "same with strides": ((9, 8, 5), Conv2D(16, 3, 2, "same")),
    "uneven padding": ((6, 5, 6), Conv2D(33, (2, 3), (1, 2), ((0, 2), (3, 1)))),
    "padding beyond the window": ((3, 4, 3), Conv2D(5, 2, padding=3, use_bias=False)),
    "dilated": ((9, 9, 3), Conv2D(6, 3, padding="same", dilation_rate=(2, 3))),
    "dilated in height": ((9, 6, 6), Conv2D(17, (3, 2), dilation_rate=(2, 1))),
    "strides and dilation": ((9, 9, 5), Conv2D(3, 3, (2, 3), "same", dilation_rate=(2, 3))),
    "dilation divides strides": ((9, 8, 3), Conv2D(6, (4, 3), (6, 4), 3, dilation_rate=(3, 2))),
    "many channels": ((4, 5, 40), Conv2D(33, 2)),
    "many filters": ((4, 3, 33), Conv2D(40, (1, 3), padding="same")),
    "strides beyond the window": ((9, 7, 5), Conv2D(3, 2, 3)),
    "a window larger than the image": ((3, 2, 3), Conv2D(16, 5, padding="same")),
    "a window of the whole image": ((4, 3, 5), Conv2D(17, (4, 3))),
    "the same without bias": ((3, 3, 16), Conv2D(6, 3, use_bias=False)),
    "one output of a padded image": ((1, 1, 6), Conv2D(17, 3, padding="same")),
    "a column": ((9, 1, 3), Conv2D(5, (3, 1), (2, 1))),
    "a row": ((1, 9, 3), Conv2D(5, (1, 4), padding="same")),
    "depthwise": ((6, 5, 17), Conv2D(17, 3, padding="same", groups=17)),
    "depthwise, several filters each": ((5, 5, 5), Conv2D(15, 3, 2, groups=5, use_bias=False)),
    "groups that share vectors": ((5, 6, 6), Conv2D(33, 3, groups=3)),
    "two wide groups": ((4, 5, 6), Conv2D(40, (3, 2), padding="same", groups=2)),
    "groups of whole vectors": ((5, 6, 9), Conv2D(48, 3, groups=3, dilation_rate=(1, 2))),
}
TRANSPOSES = {
    "one pixel": ((4, 5, 3), Conv2DTranspose(6, 1)),
    "valid": ((4, 3, 6), Conv2DTranspose(5, 3)),
    "twice as large": ((3, 4, 17), Conv2DTranspose(3, 3, 2, "same")),
    "two by two": ((3, 3, 5), Conv2DTranspose(16, 2, 2, use_bias=False)),
    "uneven padding": ((4, 4, 3), Conv2DTranspose(17, (2, 4), (3, 1), ((1, 0), (0, 2)))),
    "gaps": ((3, 2, 6), Conv2DTranspose(5, 2, 3)),
    "gaps, same": ((3, 2, 5), Conv2DTranspose(3, 2, 3, "same")),
    "dilated": ((3, 4, 33), Conv2DTranspose(6, 3, dilation_rate=2, use_bias=False)),
    "strides and dilation": ((3, 3, 5), Conv2DTranspose(3, 3, (3, 2), dilation_rate=(3, 4))),
    "many filters": ((3, 3, 5), Conv2DTranspose(40, 2)),
    "from one pixel": ((1, 1, 16), Conv2DTranspose(5, (4, 3))),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, dtype):
    shape, layer = CONVOLUTIONS[name]
    made = compare(after_something(shape, layer), dtype, 33, 50, ADAM)
    assert_padding_is_zero(made)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposed_convolutions(name, dtype):
    shape, layer = TRANSPOSES[name]
    made = compare(after_something(shape, layer), dtype, 33, 50, ADAM)
    assert_padding_is_zero(made)


def _any_convolution(random):
    """Return a random shape and a convolution that fits it, with padding of any kind."""
    while True:
        shape = (*random.randint(1, 10, 2), random.choice(CHANNELS))
        shape, filters = tuple(map(int, shape)), int(random.choice(CHANNELS))
        shared = gcd(shape[2], filters)
        groups = [g for g in range(1, shared + 1) if shared % g == 0]
        padding = ("valid", "same", random.randint(0, 3, (2, 2)).tolist())[random.randint(3)]
        layer = Conv2D(
            filters, random.randint(1, 5, 2).tolist(), random.randint(1, 4, 2).tolist(), padding,
            dilation_rate=random.randint(1, 4, 2).tolist(), groups=int(random.choice(groups)),
            use_bias=bool(random.randint(2)),
        )  # fmt: skip
        try:
            layer.output_shape(shape)
        except ValueError:  # the window is larger than the image
            continue
        return shape, layer


@pytest.mark.parametrize("seed", range(16))
def test_any_convolution(seed):
    shape, layer = _any_convolution(np.random.RandomState(seed))
    network = after_something(shape, layer)
    made = compare(network, DTYPES[seed % 2], (33, 5, 75)[seed % 3], 80, ADAM)
    assert_padding_is_zero(made)
    _assert_predicts_the_same_bits(network, DTYPES[seed % 2])


# --- other layers, and blocks of them

CONV = Conv2D(6, 3, padding="same")
LAYERS = {
    "dense on an image": convnet((3, 4, 3), Dense(5, use_bias=False, activation="tanh"), Dense(4)),
    "flatten": convnet((3, 4, 3), CONV, Flatten(), Dense(5), Activation("silu")),
    "max pool": convnet((6, 4, 5), CONV, MaxPooling2D()),
    "max pool, a rest": convnet((5, 7, 3), CONV, MaxPooling2D((2, 3))),
    "max pool, overlapping": convnet((7, 6, 3), CONV, MaxPooling2D(3, 2)),
    "max pool, same": convnet((5, 6, 3), CONV, MaxPooling2D(3, 2, "same")),
    "max pool, padded": convnet((4, 5, 1), CONV, MaxPooling2D((2, 3), 1, ((1, 0), (2, 1)))),
    "max pool, gaps": convnet((7, 7, 3), CONV, MaxPooling2D(2, 3)),
    "max pool, padding and gaps": convnet((4, 2, 3), CONV, MaxPooling2D(2, 3, ((0, 1), (1, 0)))),
    "relu before a max pool": convnet(
        (6, 6, 3), Conv2D(17, 3, activation="relu"), MaxPooling2D(), CONV, Activation("relu"),
        MaxPooling2D(2, 1),
    ),
    "average pool": convnet((6, 4, 5), CONV, AveragePooling2D()),
    "average pool, overlapping": convnet((7, 6, 3), CONV, AveragePooling2D((3, 2), (2, 1))),
    "average pool, same": convnet((5, 6, 3), CONV, AveragePooling2D(3, 2, "same")),
    "average pool, padded": convnet((4, 5, 1), CONV, AveragePooling2D((2, 3), 1, ((1, 0), (2, 1)))),
    "average pool, gaps": convnet((7, 7, 3), CONV, AveragePooling2D(2, 3)),
    "average pool, padding and gaps": convnet(
        (4, 2, 3), CONV, AveragePooling2D(2, 3, ((0, 1), (1, 0)))
    ),
    "global average": convnet(
        (5, 4, 3), Conv2D(17, 3, activation="tanh"), GlobalAveragePooling2D()
    ),
    "nearest": convnet((3, 4, 3), CONV, UpSampling2D((2, 3))),
    "bilinear": convnet((3, 4, 3), CONV, UpSampling2D((3, 2), "bilinear")),
    "bilinear from one pixel": convnet((1, 2, 3), CONV, UpSampling2D(4, "bilinear")),
    "local response": convnet((3, 4, 5), CONV, LocalResponseNormalization(5, 2.0, 0.75, 0.8)),
    "local response, an even size": convnet(
        (3, 4, 3), Conv2D(5, 2), LocalResponseNormalization(4, 1.5, 0.5, 1.0),
    ),
    "local response, all channels": convnet(
        (3, 4, 3), Conv2D(3, 1), LocalResponseNormalization(9, 3.0, 1.2, 2.0),
    ),
    "noise": convnet((3, 4, 5), GaussianNoise(0.5), CONV, GaussianNoise(0.3), Activation("tanh")),
    "noise on units": convnet(7, Dense(5), GaussianNoise(0.4), Activation("tanh")),
    "dropout": convnet((3, 4, 5), Dropout(0.3), CONV, Dropout(0.5), Activation("gelu")),
    "activations": convnet(
        (3, 3, 3), Conv2D(5, 2, activation=Activation("elu", 0.7)), Activation("softplus"),
    ),
    "activity penalties": convnet(
        (4, 3, 3), CONV, ActivityRegularization(0.02, 0.3), Activation("relu"),
        Conv2D(5, 2, activation="tanh", activity_l2=0.2, activity_l1=0.01),
        Dense(4, activity_l1=0.05),
    ),
    "an activity penalty of what is pooled": convnet(
        (4, 4, 3), Conv2D(5, 3, activation="relu", activity_l1=0.03), MaxPooling2D(),
    ),
    "batch norm": convnet(
        (4, 3, 3), Conv2D(17, 2, use_bias=False), BatchNormalization(), Activation("relu"),
        Conv2D(5, 2), BatchNormalization(0.3, 1e-2), Activation("tanh"),
    ),
    "batch norm, frozen": convnet(
        (4, 3, 3), Conv2D(17, 2), BatchNormalization(trainable=False), Activation("silu"),
        Dense(6), BatchNormalization(trainable=False), Activation("tanh"),
    ),
    "frozen in the middle": convnet(
        (4, 4, 3), CONV, Activation("tanh"), Conv2D(5, 2, trainable=False), Activation("silu"),
        Dense(6, trainable=False, activation="tanh"),
    ),
    "frozen at first": convnet(
        (5, 4, 3), Conv2D(6, 2, trainable=False, activation="relu"),
        BatchNormalization(trainable=False), MaxPooling2D(2, 1), CONV, Activation("tanh"),
    ),
    "frozen transpose": convnet(
        (3, 3, 3), CONV, Conv2DTranspose(3, 2, 2, trainable=False), Activation("tanh"),
    ),
    "residual": convnet((4, 3, 6), Residual([CONV, Activation("tanh"), CONV]), Activation("silu")),
    "residual after a layer": convnet(
        (4, 3, 3), CONV, Residual([Activation("relu"), CONV]), Activation("tanh"),
    ),
    "residual with a projection": convnet(
        (5, 4, 3), CONV, BatchNormalization(), Activation("relu"),
        Residual(
            [Conv2D(5, 3, 2, "same", use_bias=False), BatchNormalization(), Activation("relu"),
             Conv2D(5, 3, padding="same")],
            [Conv2D(5, 1, 2), BatchNormalization()],
        ),
        Activation("relu"),
    ),
    "residual with a projection alone": convnet(
        (3, 3, 6), CONV, Residual([], [Conv2D(6, 1, activation="tanh")]),
    ),
    "residual of units": convnet(7, Dense(5), Residual(Dense(5, activation="tanh"))),
    "frozen residual": convnet(
        (3, 3, 6), Residual(Conv2D(6, 1, trainable=False)), CONV,
        Residual(Conv2D(6, 1, trainable=False), CONV), Activation("silu"),
    ),
    "concatenate": convnet(
        (4, 4, 3), CONV, Activation("relu"),
        Concatenate(
            [[Conv2D(5, 1, activation="relu")], [Conv2D(3, 3, padding="same")],
             [MaxPooling2D(3, 1, "same"), Conv2D(1, 1)], []]
        ),
        Activation("tanh"),
    ),
    "concatenate at first": convnet(
        (4, 3, 3), Concatenate([[], [CONV], [AveragePooling2D(3, 1, "same")]]),
        Conv2D(5, 2, activation="tanh"),
    ),
    "concatenate of units": convnet(
        7, Dense(5), Concatenate([[Dense(3, activation="tanh")], [], [Dense(17)]]),
    ),
    "densely connected": convnet(
        (4, 4, 3), CONV,
        *2 * [Concatenate([[], [BatchNormalization(), Activation("relu"), CONV]])],
        BatchNormalization(), Activation("relu"), AveragePooling2D(),
    ),
    "nested": convnet(
        (4, 4, 3), Sequential([CONV, Activation("tanh")]),
        Residual(
            Concatenate(
                [[Residual(Conv2D(6, 1)), Conv2D(1, 1)],
                 [Sequential([Conv2D(5, 1), Dropout(0.2)]), Activation("tanh")]]
            ),
            Residual(CONV),
        ),
        GlobalAveragePooling2D(),
    ),
    "flips": convnet(
        (4, 5, 3), RandomFlip("horizontal_and_vertical"), Conv2D(5, 2, activation="tanh"),
    ),
    "flips of columns": convnet((4, 5, 1), RandomFlip(), Conv2D(5, 2, activation="tanh")),
    "flips of rows": convnet((4, 5, 1), RandomFlip("vertical"), Conv2D(5, 2, activation="tanh")),
    "shifts": convnet((4, 5, 3), RandomShift(2, 1), Conv2D(5, 2, activation="tanh")),
    "shifts out of the image": convnet(
        (3, 2, 3), RandomShift(0, 4), Conv2D(5, 1, activation="tanh")
    ),
    "crops": convnet((6, 5, 3), RandomCrop(3, 4), Conv2D(5, 2, activation="tanh")),
    "changes of all kinds": convnet(
        (7, 7, 3), RandomShift(1, 2), RandomCrop(5, 6), RandomFlip(), GaussianNoise(0.1),
        Conv2D(5, 2, activation="tanh"), Dropout(0.2),
    ),
    "changes that come before": replace(
        convnet((5, 6, 3), Conv2D(5, 2, activation="tanh")), inputs=(7, 7, 3),
        augmentation=(RandomShift(1, 1), RandomCrop(5, 6), RandomFlip()),
    ),
}  # fmt: skip

DEEP = convnet(
    (9, 8, 3), RandomShift(1, 1), RandomFlip(), Conv2D(17, 3, padding="same", use_bias=False),
    BatchNormalization(), Activation("relu"), MaxPooling2D(), Dropout(0.1),
    Residual(
        [Conv2D(33, 3, 2, "same"), BatchNormalization(), Activation("relu"), CONV],
        [Conv2D(6, 1, 2)],
    ),
    LocalResponseNormalization(3, 0.5), GaussianNoise(0.05),
    Concatenate([[], [Conv2D(16, 1, activation="gelu")], [AveragePooling2D(2, 1, "same")]]),
    Conv2D(28, 2, groups=7, padding="same"), Conv2DTranspose(5, 3, 2, "same"),
    UpSampling2D(2, "bilinear"), MaxPooling2D(3, 2, "same"),
    ActivityRegularization(0.01, 0.01), Flatten(), Dense(17, activation="tanh"), outputs=10,
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype):
    network = LAYERS[name]
    made = compare(network, dtype, 33, 50, ADAM)
    assert_padding_is_zero(made)
    assert_frozen_stay(network, dtype, made)
    compare(network, dtype, 33, 50, purpose="evaluate")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 5, 33, 75])
def test_a_deep_network(batch, dtype):
    solver = replace(ADAM, clip_norm=0.5, l2=0.1, l1=0.01)
    made = compare(DEEP, dtype, batch, 2 * batch + 3, solver, weighted=True, threads=2)
    assert_padding_is_zero(made)
    compare(DEEP, dtype, batch, 2 * batch + 3, purpose="evaluate", weighted=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_layers_with_penalties_of_their_own(rule, dtype):
    solver = Solver(rule, 0.8, 0.9, 1e-3, l2=0.3, l1=0.2, decay=0.1)
    network = convnet(
        (4, 4, 3), Conv2D(5, 2, kernel_l1=0.1), Activation("tanh"),
        Conv2DTranspose(3, 2, kernel_l2=0.7, kernel_l1=0.0), Conv2D(6, 2, kernel_l2=0.0),
        Activation("silu"), Dense(4, kernel_l1=0.4, kernel_l2=0.05),
    )  # fmt: skip
    compare(network, dtype, 33, 50, solver)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "pool", [MaxPooling2D(), MaxPooling2D(3, 2, "same"), MaxPooling2D((2, 3), 1)], ids=str
)
def test_the_first_of_equal_values_takes_the_gradient(pool, dtype):
    """Each pixel has an integer weight of its own: many are equal."""

    def round_values(problem):
        problem.values[0] = np.round(2 * problem.values[0])
        problem.values[1] = np.round(problem.values[1])

    network = convnet((1, 1, 1), Conv2DTranspose(5, (5, 4)), pool, Activation("tanh"))
    made = compare(network, dtype, 33, 50, purpose="gradient", edit=round_values)
    kernel = made.values[0]
    assert len(np.unique(kernel)) < kernel.size / 4


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_other_losses_of_images(loss):
    network = convnet((4, 4, 3), CONV, Activation("relu"), loss=loss, link="identity")
    compare(network, "float64", 33, 50, ADAM, weighted=True)
    compare(network, "float64", 33, 50, purpose="gradient", sparse=True)


# --- gradients


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradient_of_convolutions(name):
    assert_gradient_is_right(after_something(*CONVOLUTIONS[name]))


@pytest.mark.parametrize("name", TRANSPOSES)
def test_gradient_of_transposed_convolutions(name):
    assert_gradient_is_right(after_something(*TRANSPOSES[name]))


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_layers(name):
    assert_gradient_is_right(LAYERS[name])


def test_gradient_of_a_deep_network():
    assert_gradient_is_right(DEEP, n=40, width=32)


def test_gradients_add_up_over_chunks():
    layers = Conv2D(17, 3), Activation("tanh"), Conv2D(5, 2, groups=1), Conv2DTranspose(3, 2)
    network = convnet((6, 5, 3), *layers)
    problem = make_problem(network, "float64", 43)

    def run(batch):
        rates = np.ones((-(-43 // batch), 2))
        return run_engine(
            network, "float64", "gradient", problem.values, problem.source, problem.targets,
            problem.rows, batch, rates, accumulate=True, width=32,
        )  # fmt: skip

    whole, chunks = run(43), run(13)
    for a, b in zip(whole.gradients, chunks.gradients):
        assert_close(a, b, 1e-12, "gradient")


# --- prediction


def _assert_predicts_the_same_bits(network, dtype, counts=(1, 7, 17)):
    problem = make_problem(network, dtype, 43)
    together = predict(network, problem.values, np.dtype(dtype), problem.source, 2)
    for n in counts:
        rows = problem.rows[-n:]
        some = predict(network, problem.values, np.dtype(dtype), problem.source, 1, rows=rows)
        assert (some == together[rows]).all(), n
    cut = run_engine(
        network, dtype, "evaluate", problem.values, problem.source, problem.targets, rows[:1], 1,
        step_rates(None, rows[:1], 1), width=1, threads=3, fill=np.nan,
    )  # fmt: skip
    assert (cut.outputs == together[rows[:1]]).all(), "in parts"
    tape = lower(network, np.dtype(dtype), 32, "evaluate", problem.source.key, problem.targets.key)
    rates = step_rates(None, problem.rows, 43)
    plain = Executor(tape, problem.values, dtype)
    _, expected = plain.run(problem.data, problem.rows, 43, rates)
    assert_close(together[problem.rows], expected, TOLERANCE[dtype], "outputs")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_row_predicts_the_same_bits_alone_and_in_any_batch(name, dtype):
    _assert_predicts_the_same_bits(LAYERS[name], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_predict_the_same_bits(name, dtype):
    shape, layer = CONVOLUTIONS[name]
    _assert_predicts_the_same_bits(convnet(shape, layer, Activation("tanh")), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposed_convolutions_predict_the_same_bits(name, dtype):
    shape, layer = TRANSPOSES[name]
    _assert_predicts_the_same_bits(convnet(shape, layer, Activation("tanh")), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_deep_network_predicts_the_same_bits(dtype):
    _assert_predicts_the_same_bits(DEEP, dtype, (1, 2, 8, 9, 16, 17, 33))


# --- what must not change the result


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_change_the_bits(dtype):
    p = make_problem(DEEP, dtype, 100, weighted=True)
    runs = [
        run_engine(
            DEEP, dtype, "train", p.values, p.source, p.targets, p.rows, 75,
            step_rates(p.weights, p.rows, 75), solver=replace(ADAM, clip_norm=0.5, l2=0.1),
            weights=p.weights, seed=7, threads=threads,
        )
        for threads in (1, 2, 3)
    ]  # fmt: skip
    assert_same_bits(runs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [5, 37])
@pytest.mark.parametrize("purpose", ["train", "evaluate"])
def test_what_lay_in_memory_before_does_not_matter(purpose, batch, dtype):
    p = make_problem(DEEP, dtype, 40, weighted=True)
    runs = [
        run_engine(
            DEEP, dtype, purpose, p.values, p.source, p.targets, p.rows, batch,
            step_rates(p.weights, p.rows, batch), weights=p.weights, fill=fill,
            solver=replace(ADAM, l2=0.1) if purpose == "train" else None,
        )
        for fill in (0.0, np.nan, np.inf)
    ]  # fmt: skip
    assert np.isfinite(runs[0].total)
    assert_same_bits(runs)


@pytest.mark.parametrize("name", ["frozen in the middle", "frozen at first", "frozen residual"])
def test_what_is_frozen_has_no_gradient(name):
    network = LAYERS[name]
    p = make_problem(network, "float64", 20)
    tape = lower(network, np.dtype(float), 32, "train", p.source.key, p.targets.key, ADAM)
    phases = [phase.ops for phase in tape.phases if phase.kind == "parameters"]
    graded = [parameter for ops in phases for parameter, _ in ops]
    assert graded
    assert all(parameter.trainable for parameter in graded)
    frozen = [parameter for parameter in tape.parameters if not parameter.trainable]
    assert any(parameter.name == "kernel" for parameter in frozen)
