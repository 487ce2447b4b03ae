"""The same small tape on several devices, and its results, to the bit."""

from types import SimpleNamespace

import numpy as np

from sknn.tape.operations import OPERATIONS
from sknn.tape.sources import Source, X
from sknn.tape.tape import Parameter, Tape

WIDTH = 32


def run_tape(device, build, arrays, dtype, values=None, *, batch=None, weights=None, **bound):
    """Run on a device what ``build(tape, views, parameters)`` puts on a tape.

    `arrays` has the buffers by name, [rows, samples], which are views of one that is gathered; what
    is in them then is returned by name, with the losses and the gradients. The steps are numbered
    from 3 on. `values` has the parameters.
    """
    values, bound = values or {}, {"seed": 2**40 + 7} | bound
    tape = Tape(WIDTH, packing=device.packing(dtype))
    starts = np.cumsum([0, *(-(-(len(a) + 1) // WIDTH) * WIDTH for a in arrays.values())])
    n = next(iter(arrays.values())).shape[1]
    x = np.full((n, starts[-1]), np.nan, dtype)  # each is followed by padding
    parameters = {name: tape.parameter(Parameter(name, v.shape)) for name, v in values.items()}
    addresses, base = tape.buffer("addresses", 2), tape.buffer("all", int(starts[-1]))
    source, views = Source(x), {}
    tape.add("gather", (), (addresses, base), (base.rows, X), source.variant)
    for (name, array), start in zip(arrays.items(), map(int, starts)):
        x[:, start : start + len(array)] = array.T
        views[name] = tape.view(base, start, len(array))
    build(tape, views, parameters)
    tape.add("scatter", (base,), (), (base.rows,))
    if parameters:
        tape.finish()
    made, batch = device.compile(tape, dtype), batch or n
    packed = device.upload(made.layout, [v.astype(dtype) for v in values.values()])
    gradient, out = device.zeros(made.layout), np.zeros((n, base.rows), dtype)
    if not any(phase.kind == "parameters" for phase in tape.phases):
        gradient = None
    with device.session(made, batch, 1, gradient) as session:
        session.bind(packed, source, None, weights, out=out, **bound)
        loss = session.run(n, batch, np.ones((-(-n // batch), 2)), counted=3)
    return SimpleNamespace(
        loss=float(loss), divergence=float(session.divergence),
        gradients=[] if gradient is None else device.download(made.layout, gradient),
        **{name: out[:, v.first : v.first + v.rows].T for name, v in views.items()},
    )  # fmt: skip


def run_operation(device, name, arrays, dtype, attributes=(), variant=(), values=None, **options):
    """The same for one operation on blocks, whose operands have their names in the table."""

    def build(tape, views, parameters):
        row, known = OPERATIONS[name], views | parameters
        if "weights" in row.reads and "weights" not in known:
            known["weights"] = tape.weights()
        reads, writes = ([known[k] for k in names] for names in (row.reads, row.writes))
        given = variant(tape, parameters) if callable(variant) else variant
        tape.add(name, reads, writes, attributes, given)

    return run_tape(device, build, arrays, dtype, values, **options)


def assert_same_bits(a, b):
    """Assert that two runs have the same results."""
    for name, value in vars(a).items():
        other = vars(b)[name]
        for one, two in zip(*((v if isinstance(v, list) else [v]) for v in (value, other))):
            one, two = np.asarray(one), np.asarray(two)
            assert one.tobytes() == two.tobytes(), name
