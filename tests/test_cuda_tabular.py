"""The operations of networks for tables on CUDA's kernels, thread by thread in the emulator."""

import numpy as np
import pytest
from emulator import needs_emulator
from reference import ACTIVATION_FUNCTIONS
from test_cuda_images import check as check_network
from test_cuda_recurrent import DEVICES, assert_same, define, leave, run
from test_recurrent_operations import _join, _lay_out
from test_tabular_layers import LAYERS, network_of
from trial_gpu import TrialGPU

from sknn.tape.activations import ACTIVATIONS
from sknn.tape.sources import Source, X
from sknn.tape.tape import Parameter, Tape

pytestmark = needs_emulator
SAMPLES = 45  # a block, and a part of one
DTYPES = ["float64", "float32"]
RANDOM = np.random.RandomState(0)


def normal(*shape):
    return RANDOM.normal(size=shape)


def blank(rows):
    return np.full((rows, SAMPLES), np.nan)


def check(name, arrays, attributes, variant=(), parameters=None, dtype="float64"):
    """Check an operation on all devices, groups and teams of several shapes among them."""
    return leave(name, arrays, attributes, variant, parameters or {}, dtype, DEVICES)


def test_factors_of_units():
    x, units = normal(300, SAMPLES), 300
    check("scale_units", {"x": x, "y": blank(units)}, (units,), (), {"s": normal(units)})


def test_products_of_elements():
    arrays = {"a": normal(300, SAMPLES), "b": normal(300, SAMPLES), "y": blank(300)}
    check("multiply", arrays, (300 * 32,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["tanh", "elu", "gelu"])
def test_parametric_activations(function, dtype):
    units, parameter = 7, 0.7 if function == "elu" else 0.0
    arrays = {name: normal(units, SAMPLES) for name in ("x", "dy")}
    arrays |= {name: blank(units) for name in ("y", "dx", "slopes")}
    for name in ("parametric_activation", "parametric_activation_gradient"):
        variant = (function, ACTIVATIONS[function].derivative_of == "output")
        variant = variant if name.endswith("gradient") else variant[:1]
        check(name, arrays, (units, parameter), variant, {"s": normal(units)}, dtype)


def test_parametric_activations_at_their_ends():
    """With a slope of one they are the activation, with zero the identity."""
    x, s = normal(2, SAMPLES), np.array([1.0, 0.0])
    for name, (f, _) in sorted(ACTIVATION_FUNCTIONS.items()):
        if name in ("identity", "step"):
            continue
        left = check("parametric_activation", {"x": x, "y": blank(2)}, (2, 0.5), (name,), {"s": s})
        np.testing.assert_allclose(left["y"][0], f(x[0], 0.5), 1e-12, 1e-12)
        np.testing.assert_array_equal(left["y"][1], x[1])


#: Groups, inputs and units: some that fill no four, some of several tasks and tiles.
SIZES = [(1, 1, 1), (5, 3, 2), (3, 16, 5), (4, 70, 40), (70, 2, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_grouped_dense(sizes, dtype):
    groups, inputs, units = sizes
    arrays = {"x": normal(groups * inputs, SAMPLES), "z": blank(groups * units)}
    parameters = {"w": normal(*sizes) / np.sqrt(inputs), "b": normal(groups * units)}
    check("grouped_dense", arrays, sizes, (4,), parameters, dtype)
    check("grouped_dense_unbiased", arrays, sizes, (4,), {"w": parameters["w"]}, dtype)
    arrays = {"dz": normal(groups * units, SAMPLES), "dx": blank(groups * inputs)}
    w = parameters["w"] * np.sqrt(inputs / units)
    check("grouped_dense_input_gradient", arrays, sizes, (4,), {"w": w}, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "n"), [*((sizes, 70) for sizes in SIZES), ((5, 3, 2), 2100)])
def test_gradients_of_grouped_dense(sizes, n, dtype):
    """Of many samples a sum is made in parts."""
    groups, inputs, units = sizes
    arrays = {"x": normal(groups * inputs, n), "dz": normal(groups * units, n)}
    places, total = _lay_out(arrays)
    x = _join(arrays, places, total, dtype)
    tape = Tape(32, packing=DEVICES["walk"].packing(dtype))
    w = tape.parameter(Parameter("w", sizes))
    addresses, base = tape.buffer("addresses", 2), tape.buffer("all", total)
    tape.add("gather", (), (addresses, base), (total, X), Source(x).variant)
    operands = [tape.view(base, *places[name]) for name in arrays]
    tape.gradient(w, "grouped_dense_gradient", operands, sizes, (w.pack,))
    tape.finish()
    values = [np.zeros(sizes, dtype)]
    (expected,) = define(tape, values, dtype, x, np.ones((1, 2)))
    for again in (0, 2):
        found = [run(d, tape, dtype, x, values, again=again)[0] for d in DEVICES.values()]
        assert_same(found, (1 + again) * expected, dtype, f"gradient of {sizes}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("features", "frequencies"), [(1, 1), (5, 3), (20, 16)])
def test_periodic(features, frequencies, dtype):
    waves, sizes = features * frequencies, (features, frequencies)
    parameters = {"w": 0.3 * normal(waves), "b": RANDOM.uniform(-np.pi, np.pi, waves)}
    arrays = {"x": normal(features, SAMPLES), "dy": normal(waves, SAMPLES)}
    arrays |= {"y": blank(waves), "dx": blank(features)}
    arrays |= {"slopes": blank(waves), "products": blank(waves)}
    for name in ("periodic", "periodic_gradient"):
        check(name, arrays, sizes, (), parameters, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_waves_of_large_numbers_stay_within_bounds(dtype):
    x = np.array([[0.25], [-1.75], [1e5 + 0.5], [-1e30], [np.inf], [np.nan]], dtype)
    values = [np.ones(1, dtype), np.zeros(1, dtype)]
    tape = Tape(32, packing=DEVICES["walk"].packing(dtype))
    w, b = (tape.parameter(Parameter(name, (1,))) for name in "wb")
    addresses, here, there = (tape.buffer(name, n) for name, n in (("a", 2), ("x", 1), ("y", 1)))
    tape.add("gather", (), (addresses, here), (1, X), Source(x).variant)
    tape.add("periodic", (here, w, b), (there,), (1, 1))
    tape.add("scatter", (there,), (), (1,))
    found = [run(device, tape, dtype, x, values)[:, 0] for device in DEVICES.values()]
    assert_same(found, [0, 0, -1, 1, np.nan, np.nan], dtype, "waves")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("features", "bins"), [(1, 1), (5, 2), (17, 11)])
def test_piecewise_linear(features, bins, dtype):
    edges = np.sort(normal(features, bins + 1), axis=1)
    edges[0, -2:] = 0.5  # a bin without width
    sizes, x = (features, bins), normal(features, SAMPLES)
    x[:, 0], x[:, 1] = edges[:, 0] - 1, edges[:, -1] + 1
    edges = edges.reshape(-1)
    arrays = {"x": x, "y": blank(features * bins), "dx": blank(features)}
    arrays["dy"] = normal(features * bins, SAMPLES)
    for name in ("piecewise_linear", "piecewise_linear_gradient"):
        check(name, arrays, sizes, (), {"edges": edges}, dtype)


# --- networks

#: The same bits are due from each of these. In the last, a block has several groups.
GPUS = [
    TrialGPU(threads=32, groups=2, single=True),
    TrialGPU(threads=64, groups=5, parts=2, order="mixed"),
]


@pytest.mark.parametrize("name", LAYERS)
def test_networks(name):
    network = network_of(*LAYERS[name])
    check_network(network, 45, 70, devices=GPUS, weighted=True)
    check_network(network, 45, 70, "evaluate")


@pytest.mark.parametrize("name", ["groups", "mixed", "pieces"])
def test_wide_blocks(name):
    check_network(network_of(*LAYERS[name]), 200, 200, width=128, dtype="float32")
