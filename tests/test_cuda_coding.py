"""Penalties, tied weights and radial basis functions on CUDA's kernels, in the emulator."""

import numpy as np
import pytest
from device_tapes import assert_same_bits, run_operation, run_tape
from emulator import needs_emulator
from reference import RADIAL_FUNCTIONS, REFERENCE, SLOPES
from trial_gpu import TrialGPU

from sknn.engine.devices import DEVICES

pytestmark = needs_emulator
CPU = DEVICES["cpu"]
GPUS = (
    TrialGPU(threads=32, groups=2, single=True),
    TrialGPU(threads=64, groups=3, order="backward", single=True),
    TrialGPU(threads=32, groups=2, order="mixed", single=True),
)
SAMPLES, BATCH = 2 * 45, 45  # two steps of two blocks, the second one with 13 samples
RANDOM = np.random.RandomState(0)
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def of_all(build, arrays, dtype="float64", values=None, **options):
    """Check what is on all GPUs the same bits against the CPU's, and return it."""
    found = [run_tape(d, build, arrays, dtype, values, batch=BATCH, **options) for d in GPUS]
    for other in found[1:]:
        assert_same_bits(found[0], other)
    expected = run_tape(CPU, build, arrays, dtype, values, batch=BATCH, **options)
    assert_close(found[0], expected, dtype)
    return found[0]


def operation(name, arrays, dtype, attributes, variant=(), values=None, **options):
    """The same of one operation."""

    def run(device):
        return run_operation(
            device, name, arrays, dtype, attributes, variant, values, batch=BATCH, **options
        )

    found = [run(device) for device in GPUS]
    for other in found[1:]:
        assert_same_bits(found[0], other)
    assert_close(found[0], run(CPU), dtype)
    return found[0]


def assert_close(found, expected, dtype):
    for name, value in vars(expected).items():
        other = vars(found)[name]
        for a, b in zip(*((v if isinstance(v, list) else [v]) for v in (other, value))):
            scale = np.nanmax(np.abs(b), initial=1.0)
            np.testing.assert_allclose(
                a, b, TOLERANCE[dtype], TOLERANCE[dtype] * scale, err_msg=name
            )


def blank(rows):
    return np.full((rows, SAMPLES), np.nan)


def normal(*shape):
    return RANDOM.normal(size=shape)


def test_activity_penalty():
    steps, units = 3, 5
    a = np.where(normal(15, SAMPLES) < -1, 0.0, normal(15, SAMPLES))
    arrays = {"a": a, "da": normal(15, SAMPLES), "dx": blank(15)}
    weights, lengths = RANDOM.uniform(size=SAMPLES), RANDOM.randint(1, 4, (SAMPLES, 1))

    def build(tape, views, parameters):
        reads = views["a"], tape.weights(steps), views["da"]
        tape.add("activity_penalty", reads, (views["dx"],), (units, 0.3, 0.2, steps))

    found = of_all(build, arrays, weights=weights, lengths=lengths)
    lives = np.repeat(np.arange(steps), units)[:, None] < lengths[:, 0]
    assert found.loss == pytest.approx((lives * weights * (0.3 * abs(a) + 0.1 * a**2)).sum())


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in sorted(SLOPES)), ("softplus", "float32")]
)
def test_contractive_penalty(name, dtype):
    inputs, units, strength, p = 6, 7, 0.3, 0.2  # few units would need the gradient of a loss
    arrays = {"a": RANDOM.uniform(0.1, 0.9, (units, SAMPLES)), "da": normal(units, SAMPLES)}
    if name in ("tanh", "relu", "leaky_relu", "elu", "identity"):
        arrays["a"] -= 0.5
    if name == "elu":
        arrays["a"] = np.maximum(arrays["a"], -0.15)
    arrays |= {"factors": blank(units), "dx": blank(units), "x": normal(inputs, SAMPLES)}
    w = normal(inputs, units)

    def build(tape, views, parameters):
        """The penalty and the gradient of weights, which is of it alone."""
        w = parameters["w"]
        norms, sums = (tape.buffer(name, units, shared=True) for name in ("norms", "sums"))
        tape.add("column_norms", (w,), (norms,), (inputs,), (w.pack,), extent=-(-units // w.pack))
        reads = views["a"], norms, tape.weights(), views["da"]
        writes = views["factors"], views["dx"]
        tape.add("contraction", reads, writes, (units, strength, p), (name,))
        tape.add("unit_sums", (views["factors"],), (sums,), (units,), extent=units)
        packed = tape.buffer("packed", -(-units // w.pack) * w.pack)
        tape.add("pack_samples", (views["da"],), (packed,), (1, units, units), (w.pack,))
        variant = (tape.packing.tile(inputs), w.pack)
        tape.gradient(w, "weight_gradient", (views["x"], packed), (inputs,), variant)
        tape.add_to_gradient(w, "add_weights", (sums,), (inputs, 2 * strength), (w.pack,))

    found = of_all(build, arrays, dtype, {"w": w}, weights=RANDOM.uniform(size=SAMPLES))
    assert found.loss > 0
    # once more with the definitions, without weights of samples
    found = run_tape(GPUS[0], build, arrays, dtype, {"w": w})
    slope, _ = SLOPES[name](arrays["a"], p)
    norms = (w**2).sum(axis=0)[:, None]
    assert found.loss == pytest.approx((strength * norms * slope**2).sum(), rel=1e-4)
    expected = arrays["x"] @ arrays["da"].T + 2 * strength * w * (slope**2).sum(axis=1)
    np.testing.assert_allclose(found.gradients[0], expected, 1e-3, 1e-3)


def test_sums_leave_out_what_lies_beyond_the_last_sample():
    """Lanes beyond it repeat the block's first sample."""
    arrays = {"a": normal(3, 37), "y": np.zeros((3, 37))}

    def build(tape, views, parameters):
        sums = tape.buffer("sums", 3, shared=True)
        tape.add("unit_sums", (views["a"],), (sums,), (3,), extent=3)
        tape.gradient(parameters["b"], "shared_gradient", (sums,))

    for device in GPUS:
        found = run_tape(device, build, arrays, "float64", {"b": np.zeros(3)})
        np.testing.assert_allclose(found.gradients[0], arrays["a"].sum(axis=1), 1e-12)


def test_weights_of_samples():
    arrays = {"x": normal(5, SAMPLES), "y": blank(5)}
    weights = RANDOM.uniform(size=SAMPLES)
    found = operation("weigh_samples", arrays, "float64", (5,), weights=weights)
    assert (found.y == arrays["x"] * weights).all()


# --- radial basis functions


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("inputs", "units"), [(1, 1), (3, 10), (20, 35)])
def test_square_distances(inputs, units, dtype):
    def variant(tape, parameters):
        return tape.packing.tile(units), parameters["w"].pack

    arrays, w = {"x": normal(inputs, SAMPLES), "z": blank(units)}, normal(inputs, units)
    found = operation("square_distances", arrays, dtype, (inputs, units), variant, {"w": w})
    expected = REFERENCE["square_distances"](None, arrays["x"], w, inputs, units)
    np.testing.assert_allclose(found.z, expected, 1e-4)
    arrays |= {"dz": normal(units, SAMPLES), "dx": blank(inputs)}
    numbers, name = (inputs, units), "square_distances_gradient"
    found = operation(name, arrays, dtype, numbers, variant, {"w": w})
    expected = REFERENCE[name](None, arrays["x"], w, arrays["dz"], *numbers)
    np.testing.assert_allclose(found.dx, expected, 1e-4, 1e-4)


def test_a_sample_is_at_no_distance_from_itself():
    x = 1000 + normal(9, SAMPLES).astype("float32")
    arrays = {"x": x, "z": blank(4)}
    variant = lambda tape, parameters: (tape.packing.tile(4), parameters["w"].pack)  # noqa: E731
    found = run_operation(
        GPUS[0], "square_distances", arrays, "float32", (9, 4), variant, {"w": x[:, :4]}
    )
    assert (np.diag(found.z[:, :4]) == 0).all()
    assert (found.z[:, 4:] > 0).all()


@pytest.mark.parametrize("function", sorted(RADIAL_FUNCTIONS))
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_radial_functions(function, dtype):
    units = 5
    z, s = normal(units, SAMPLES) ** 2, RANDOM.uniform(0.5, 2.0, units)
    z[0, :3] = 0.0
    arrays = {"z": z, "a": blank(units)}
    found = operation("radial", arrays, dtype, (units,), (function,), {"s": s})
    value, derivative = RADIAL_FUNCTIONS[function]
    np.testing.assert_allclose(found.a, value(z / s[:, None] ** 2), 1e-4, 1e-6)
    arrays = {"z": z, "a": found.a, "da": normal(units, SAMPLES)}
    arrays |= {"dz": blank(units), "ds": blank(units)}
    found = operation("radial_gradient", arrays, dtype, (units,), (function,), {"s": s})
    slope = -2 * arrays["da"] * derivative(z / s[:, None] ** 2) / s[:, None] ** 2
    np.testing.assert_allclose(found.dz, slope, 1e-3, 1e-5)
