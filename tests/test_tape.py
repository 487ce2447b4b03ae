"""Tapes: the verifier, printing, placement of buffers, packing of parameters."""

import numpy as np
import pytest

from sknn.cpu.fusion import fused
from sknn.cpu.packing import lanes_of
from sknn.cpu.program import Program
from sknn.engine.devices import DEVICES
from sknn.engine.lowering import lower
from sknn.engine.network import Network
from sknn.engine.optimizers import Solver
from sknn.layers import (
    GRU,
    LSTM,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Bidirectional,
    CategoryEmbedding,
    Concatenate,
    ContractivePenalty,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Embedding,
    EncoderDecoder,
    GaussianNoise,
    GaussianSampling,
    GlobalAveragePooling2D,
    GroupedDense,
    LocalResponseNormalization,
    MaskingNoise,
    MaxPooling2D,
    NumericEmbedding,
    ParametricActivation,
    RadialBasis,
    RandomFlip,
    RepeatVector,
    Residual,
    SaltAndPepperNoise,
    Scale,
    Select,
    SimpleRNN,
    TiedDense,
    UpSampling2D,
)
from sknn.tape.losses import Loss
from sknn.tape.operations import OPERATIONS
from sknn.tape.packing import Layout
from sknn.tape.tape import Buffer, Op, Parameter, Phase, Tape

DENSE_X = ("gather", ("float64", True))
SQUARED = Loss("squared_error", "identity")
CROSS_ENTROPY = Loss("log_loss", "softmax")
CLIPPING = Solver("adam", 0.9, 0.999, clip_value=1.0, clip_norm=1.0, average=True)

NETWORKS = {
    "one layer": Network((Dense(1), Activation("identity")), 1, SQUARED),
    "deep": Network(
        (Dense(17), Activation("tanh"), Dense(70), Activation("gelu"), Dense(3),
         Activation("identity")), 10, SQUARED,
    ),
    "everything": Network(
        (Dense(33), BatchNormalization(), Activation("relu"), Dropout(0.2, 0), Dense(65),
         BatchNormalization(), Activation("elu"), Dropout(0.2, 1), Dense(10),
         Activation("softmax")), 70, CROSS_ENTROPY,
    ),
    "wide then narrow": Network(
        (Dense(200), Activation("silu"), Dense(2), Activation("softplus"), Dense(90),
         Activation("identity"), Dense(4), Activation("tanh")), 3, SQUARED,
    ),
    "softmax inside": Network(
        (Dense(3), Activation("softmax"), Dense(2, use_bias=False), Activation("identity")), 1,
        SQUARED,
    ),
    "convolutions": Network(
        (RandomFlip(), Conv2D(16, 3, padding="same", use_bias=False), BatchNormalization(),
         Activation("relu"), MaxPooling2D(), Conv2D(12, 2, groups=4, activation="gelu"),
         GaussianNoise(0.1), LocalResponseNormalization(), Conv2DTranspose(3, 3, 2),
         UpSampling2D(2, "bilinear"), AveragePooling2D(3, 2, "same"),
         Dense(10, activity_l2=0.1), Activation("softmax")), (7, 6, 5), CROSS_ENTROPY,
    ),
    "blocks of convolutions": Network(
        (Conv2D(6, 2), BatchNormalization(trainable=False),
         Residual([Conv2D(3, 3, 2, "same"), Activation("silu")],
                  [AveragePooling2D(1, 2), Conv2D(3, 1, trainable=False)]),
         Concatenate([[], [Conv2D(17, 1), Dropout(0.5)],
                      [Residual(Conv2D(3, 3, padding="same"))]]),
         Activation("tanh"), GlobalAveragePooling2D(), Dense(4), Activation("identity")),
        (6, 5, 3), SQUARED,
    ),
    "sequences": Network(
        (SimpleRNN(20, return_sequences=True, truncate=2), Dropout(0.5),
         Bidirectional(GRU(5, return_sequences=True)),
         GRU(33, reset_after=True, return_sequences=True), LSTM(9), Dense(1),
         Activation("identity")), (6, 4), SQUARED,
    ),
    "tokens": Network(
        (EncoderDecoder([Embedding(7, 3), LSTM(12, return_sequences=True), LSTM(40)],
                        [LSTM(12, n_tokens=8, return_sequences=True), Dropout(0.1),
                         LSTM(40, return_sequences=True)], 4),
         Dense(8), Activation("softmax")), 9, CROSS_ENTROPY,
    ),
    "tied weights": Network(
        (MaskingNoise(0.2), SaltAndPepperNoise(0.1), GaussianNoise(0.1, (0.0, 1.0)),
         Dense(20, activation="tanh", name="outer"),
         Dense(33, activation="logistic", name="inner"),
         ContractivePenalty("inner", "logistic", 0.1), TiedDense("inner", 20), Activation("tanh"),
         TiedDense("outer", 9), Activation("logistic")),
        9, Loss("log_loss", "logistic", over_outputs="mean"),
    ),
    "sampled codes": Network(
        (LSTM(6), Dense(10), GaussianSampling(0.5), RepeatVector(6),
         SimpleRNN(5, return_sequences=True), Dense(4), Activation("identity")), (6, 4), SQUARED,
    ),
    "radial basis functions": Network(
        (Dense(6, activation="tanh"), RadialBasis(40), RadialBasis(3, "thin_plate"), Dense(4),
         Activation("identity")), 5, SQUARED,
    ),
    "columns of a table": Network(
        (Concatenate([[Select(0, 3), NumericEmbedding()], [Select(5, 7), CategoryEmbedding([3, 4])],
                      [Select(1, 6), Scale(), NumericEmbedding("piecewise_linear", bins=3)]]),
         GroupedDense(3, 12), GroupedDense(5, 4, use_bias=False), ParametricActivation("elu"),
         Dense(4), Activation("identity")), 7, SQUARED,
    ),
}  # fmt: skip
CARRYING = Network(
    (SimpleRNN(5, n_tokens=3, return_sequences=True), Dense(3), Activation("softmax")), 1,
    CROSS_ENTROPY,
)  # fmt: skip


def make_tape(network, purpose="train", solver=CLIPPING, dtype="float64", width=32):
    targets = None if network.loss.counts_classes else DENSE_X
    return lower(
        network, dtype, width, purpose, DENSE_X, targets, solver if purpose == "train" else None
    )


# --- the verifier


def _ops(tape, name):
    return [op for phase in tape.phases for op in phase.all_ops() if op.name == name]


def _unknown(tape):
    _ops(tape, "activation")[0].name = "transmogrify"


def _fewer_reads(tape):
    op = _ops(tape, "dense")[0]
    op.reads = op.reads[:-1]


def _more_writes(tape):
    op = _ops(tape, "dense")[0]
    op.writes += op.writes


def _fewer_attributes(tape):
    _ops(tape, "gather")[0].attributes = (1,)


def _more_attributes_in_a_chain(tape):
    _ops(tape, "update")[0].attributes += (1.0,)


def _fraction_of_a_unit(tape):
    op = _ops(tape, "dense")[0]
    op.attributes = (op.attributes[0] + 0.5, *op.attributes[1:])


def _read_before_it_is_written(tape):
    op = _ops(tape, "dense")[0]
    op.reads = (tape.buffer("never", 10), *op.reads[1:])


def _forward_after_backward(tape):
    blocks = tape.phases[0]
    blocks.ops.append(blocks.ops.pop(0))


def _buffer_of_another_tape(tape):
    op = _ops(tape, "activation")[0]
    op.writes = (Buffer("elsewhere", 3),)


def _parameter_of_another_tape(tape):
    op = _ops(tape, "dense")[0]
    op.reads = (*op.reads[:2], Parameter("bias", (17,), 8))


def _parameters_in_blocks(tape):
    tape.phases[0].ops.append(Op("square_sum"))


def _blocks_among_units(tape):
    phase = next(phase for phase in tape.phases if phase.kind == "units")
    phase.ops.append(_ops(tape, "weigh")[0])


def _units_among_parameters(tape):
    norm = _ops(tape, "total_norm")[0]
    tape.phases[-1].ops[0][1].append(norm)


def _no_units(tape):
    _ops(tape, "total_norm")[0].extent = 0


def _blocks_write_what_is_shared(tape):
    op = _ops(tape, "activation")[0]
    op.writes = (tape.buffer("shared", 17, shared=True),)


def _blocks_write_a_parameter(tape):
    op = _ops(tape, "activation")[0]
    op.writes = (tape.parameters[0],)


def _parameter_without_gradient(tape):
    tape.parameter(Parameter("extra", (3,), 8))


def _parameter_without_update(tape):
    tape.phases[-1].ops.pop()


def _parameter_updated_twice(tape):
    tape.phases[-1].ops.append(tape.phases[-1].ops[0])


BROKEN = {
    _unknown: "not an operation",
    _fewer_reads: "reads are 2",
    _more_writes: "writes are 2",
    _fewer_attributes: "attributes are 1",
    _more_attributes_in_a_chain: "attributes are 6",
    _fraction_of_a_unit: "inputs is 10.5; expected an int",
    _read_before_it_is_written: "read before",
    _forward_after_backward: "read before",
    _buffer_of_another_tape: "does not belong",
    _parameter_of_another_tape: "does not belong",
    _parameters_in_blocks: "kind 'parameters'",
    _blocks_among_units: "kind 'blocks'",
    _units_among_parameters: "kind 'units'",
    _no_units: "no units",
    _blocks_write_what_is_shared: "written by every block",
    _blocks_write_a_parameter: "written by every block",
    _parameter_without_gradient: "one gradient",
    _parameter_without_update: "one update",
    _parameter_updated_twice: "one update",
}


@pytest.mark.parametrize("harm", BROKEN, ids=lambda harm: harm.__name__.strip("_"))
def test_a_broken_tape_is_rejected(harm):
    tape = make_tape(NETWORKS["deep"])
    assert tape.verify() is tape
    harm(tape)
    with pytest.raises(ValueError, match=BROKEN[harm]):
        tape.verify()


def test_a_second_gradient_is_rejected_unless_it_can_be_added():
    tape = Tape(32)
    x, w = tape.buffer("x", 3), tape.parameter(Parameter("kernel", (3, 8), 8))
    tape.share(w)
    for _ in range(2):
        tape.gradient(w, "weight_gradient", (x, x), (3,), (3, 8))
    with pytest.raises(ValueError, match="'shared_gradient' cannot add"):
        tape.gradient(w, "shared_gradient", (x,))
    tape.finish()
    ((_, chain),) = tape.phases[-1].ops
    assert [op.variant for op in chain] == [(3, 8), (3, 8, True)]


def test_a_gradient_waits_for_all_layers_that_share_its_parameter():
    tape = Tape(32)
    x = tape.buffer("x", 3)
    shared, own = (tape.parameter(Parameter(name, (3, 8), 8)) for name in ("shared", "own"))
    tape.share(shared)
    for parameter in (shared, own):
        tape.gradient(parameter, "weight_gradient", (x, x), (3,), (3, 8), work=2)
    tape.settle()
    assert [parameter for parameter, _ in tape.phases[-1].ops] == [own]
    tape.gradient(shared, "weight_gradient", (x, x), (3,), (3, 8))
    tape.settle()
    tape.finish()
    assert [parameter for parameter, _ in tape.phases[-1].ops] == [own, shared]


def test_an_operation_in_a_new_kind_of_phase_is_rejected():
    tape = Tape(32)
    tape.phases.append(Phase("rows", [Op("weigh", writes=(tape.buffer("out", 1),))]))
    with pytest.raises(ValueError, match="in a phase of 'rows'"):
        tape.verify()


@pytest.mark.parametrize("purpose", ["predict", "evaluate", "gradient", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_lowered_networks_are_right(name, purpose):
    make_tape(NETWORKS[name], purpose).verify()


def test_consecutive_operations_of_one_kind_make_a_phase():
    for network in NETWORKS.values():
        kinds = [phase.kind for phase in make_tape(network).phases]
        assert all(kind != following for kind, following in zip(kinds, kinds[1:]))


# --- printing


@pytest.mark.parametrize("purpose", ["predict", "evaluate", "gradient", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_printed_tape_shows_every_operation(name, purpose):
    tape = make_tape(NETWORKS[name], purpose)
    lines = str(tape).splitlines()
    assert f"{len(tape.phases)} phases" in lines[0]
    for kind in ("blocks", "units", "parameters"):
        phases = [phase for phase in tape.phases if phase.kind == kind]
        assert sum(line.endswith(f": {kind}") for line in lines) == len(phases)
    text = str(tape)
    for phase in tape.phases:
        for op in phase.all_ops():
            assert str(op) in text
            assert op.name in str(op)
            assert all(str(operand) in str(op) for operand in op.reads + op.writes)
            assert all(f"{name}=" in str(op) for name in op.row.attributes)


def test_the_networks_here_use_every_operation_but_those_of_estimators():
    used = set()
    for network in NETWORKS.values():
        for purpose in ("predict", "evaluate", "train"):
            tape = make_tape(network, purpose)
            used |= {op.name for phase in tape.phases for op in phase.all_ops()}
    tape = lower(CARRYING, "float64", 1, "sample", DENSE_X, carries=True)
    used |= {op.name for phase in tape.phases for op in phase.all_ops()}
    members = {name for name in OPERATIONS if name.startswith("member_")}
    assert set(OPERATIONS) - used == {"gather_csr", "quantile_loss", "weigh_samples", *members}


# --- memory


def _lifetimes(tape):
    order = [op for phase in tape.phases for op in phase.all_ops()]
    lives = {}
    for i, op in enumerate(order):
        for operand in op.reads + op.writes:
            if isinstance(operand, Buffer):
                lives.setdefault(operand.whole, [i, i])[1] = i
    return lives


def _extents(program, tape):
    """Return the first byte of each buffer and the first after its rows."""
    size = program.dtype.itemsize
    extents = {}
    for buffer, start in program.placement.offsets.items():
        samples = 1 if buffer.shared else tape.width
        bytes_of_one = 8 if buffer.name.startswith("addresses") else size * buffer.rows
        extents[buffer] = start, start + samples * bytes_of_one
    return extents


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("purpose", ["predict", "evaluate", "gradient", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_buffers_that_live_together_do_not_overlap(name, purpose, width, monkeypatch):
    monkeypatch.setattr(Program, "_kernel_arrays", lambda self: None)  # compiles nothing
    tape = make_tape(NETWORKS[name], purpose, width=width)
    program, tape = Program(tape, "float64"), fused(tape, "float64")
    placement = program.placement
    lives, extents = _lifetimes(tape), _extents(program, tape)
    assert set(lives) == set(extents)
    buffers = list(lives)
    for i, a in enumerate(buffers):
        limit = placement.shared_bytes if a.shared else placement.block_bytes
        assert 0 <= extents[a][0] < extents[a][1] <= limit
        assert extents[a][0] % 64 == 0
        for b in buffers[:i]:
            together = lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]
            if a.shared == b.shared and (together or a.shared):
                apart = extents[a][1] <= extents[b][0] or extents[b][1] <= extents[a][0]
                assert apart, f"{a} and {b}"


def test_buffers_share_memory_once_they_are_dead(monkeypatch):
    monkeypatch.setattr(Program, "_kernel_arrays", lambda self: None)
    layers = tuple(layer for _ in range(20) for layer in (Dense(64), Activation("relu")))
    network = Network((*layers, Dense(1), Activation("identity")), 64, SQUARED)
    program = Program(make_tape(network, "predict"), "float64")
    assert program.placement.block_bytes < 5 * 96 * 32 * 8


# --- parameters


SHAPES = [
    (1, 1), (10, 17), (3, 33), (70, 16), (16, 8), (1, 70), (257, 3), (17, 65), (5, 32), (1, 128),
    (1, 1, 3, 6), (3, 2, 1, 17), (5, 5, 33, 40), (1, 4, 16, 16),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packing_and_unpacking_give_back_the_parameters(dtype, monkeypatch):
    monkeypatch.setattr(Program, "_kernel_arrays", lambda self: None)
    random = np.random.RandomState(0)
    for shape in SHAPES:
        *kernel_size, inputs, units = shape
        layer, image = Dense(units), inputs
        if kernel_size:
            layer, image = Conv2D(units, kernel_size), (6, 5, inputs)
        network = Network(
            (layer, BatchNormalization(), Activation("relu"), Dense(2), Activation("identity")),
            image, SQUARED,
        )  # fmt: skip
        program = Program(make_tape(network, "predict", dtype=np.dtype(dtype)), dtype)
        values = [random.normal(size=p.shape).astype(dtype) for p in program.layout.parameters]
        assert values[0].shape == shape
        given = [v.copy() for v in values]
        given[0] = np.asfortranarray(given[0])
        packed = DEVICES["cpu"].upload(program.layout, given)
        assert packed.nbytes == program.layout.n_bytes
        assert packed.ctypes.data % 64 == 0
        for value, back in zip(values, program.layout.unpack(packed), strict=True):
            assert back.dtype == dtype
            assert back.flags.c_contiguous
            assert not np.shares_memory(back, packed)
            assert (value == back).all()
        # each element once, and zeros between
        assert np.count_nonzero(packed) == sum(v.size for v in values)


def test_weights_lie_by_packs_of_units():
    network = Network((Dense(10), Activation("identity")), 3, SQUARED)
    for dtype in (np.dtype("float32"), np.dtype("float64")):
        tape = make_tape(network, "predict", dtype=dtype)
        w = tape.parameters[0]
        assert w.pack % lanes_of(dtype) == 0
        layout = Layout([w], dtype)
        value = np.arange(30.0).reshape(3, 10).astype(dtype)
        packed = DEVICES["cpu"].upload(layout, [value])
        for k in range(3):
            for unit in range(10):
                first, place = divmod(unit, w.pack)
                assert packed[(first * 3 + k) * w.pack + place] == value[k, unit]


def test_parameters_do_not_overlap(monkeypatch):
    monkeypatch.setattr(Program, "_kernel_arrays", lambda self: None)
    for network in NETWORKS.values():
        program = Program(make_tape(network), "float64")
        end = 0
        for parameter, start in program.layout.offsets.items():
            assert start >= end
            end = start + parameter.elements * 8
            assert parameter.elements % parameter.pack == 0
            assert parameter.elements >= np.prod(parameter.shape)
        assert program.layout.n_bytes >= end
