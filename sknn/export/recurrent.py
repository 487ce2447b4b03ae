"""Recurrent layers in ONNX: a Scan over the steps, the same for float32 and float64.

ONNX's own operators for them exist in float32 only, and read vectors only, not tokens.
"""

import numpy as np

from ..layers import GRU, LSTM, Bidirectional, Embedding, SimpleRNN
from ..layers.recurrent import Recurrent
from .graph import Graph, Value
from .layers import ACTIVATIONS, nodes_of


@nodes_of(Embedding)
def _embedding(to, layer, x):
    kernel = to.take(layer, x.shape)["kernel"]
    return Value(to.graph.op("Gather", kernel, x.name), layer.output_shape(x.shape))


@nodes_of(Recurrent)
def _recurrent(to, layer, x):
    outputs, final = run(to, layer, x)
    shape = layer.output_shape(x.shape)
    return Value(outputs if layer.return_sequences else final[0], shape)


@nodes_of(Bidirectional)
def _bidirectional(to, layer, x):
    found = [to.run(part, x).name for _, part in layer.parts()]
    return Value(to.graph.op("Concat", *found, axis=-1), layer.output_shape(x.shape))


def run(to, layer, x, initial=None):
    """Add a recurrent layer; return its outputs at all steps, and its final states."""
    own, g = to.take(layer, x.shape), to.graph
    z = inputs_of(g, layer, own, x.name)
    if initial is None:
        sizes = g.op("Concat", g.size(z, 0), [layer.units], axis=0)
        initial = [g.op("Expand", 0.0, sizes)] * len(layer._states)
    n, inner = len(initial), Graph(g.dtype, g.unique)
    states, at = [g.unique(name) for name in layer._states], g.unique("z")
    after = step(inner, layer, own, at, states)
    given = [(name, g.dtype) for name in (*states, at)]
    masks = [] if to.live is None else [to.live]
    if masks:  # beyond its end, a sequence keeps its states
        live = g.unique("live")
        given.append((live, np.bool_))
        after = [inner.op("Where", live, *pair) for pair in zip(after, states)]
    outputs = [(name, g.dtype) for name in (*after, inner.op("Identity", after[0]))]
    times = 1 + len(masks)
    *final, outputs = g.op(
        "Scan", *initial, z, *masks, outputs=n + 1, num_scan_inputs=times,
        body=inner.body(type(layer).__name__, given, outputs),
        scan_input_axes=[1] * times, scan_input_directions=[int(layer.reverse)] * times,
        scan_output_axes=[1], scan_output_directions=[int(layer.reverse)],
    )  # fmt: skip
    return outputs, final


def inputs_of(g, layer, own, x):
    """Return the contribution of the inputs, at all steps or at one, to what the gates get."""
    kernel = own["kernel"]
    z = g.op("MatMul", x, kernel) if layer.n_tokens is None else g.op("Gather", kernel, x)
    return g.op("Add", z, own["bias"]) if "bias" in own else z


def step(g, layer, own, z, states):
    """Return the states after one step, given the contribution of the inputs."""
    kinds = [kind for kind in type(layer).__mro__ if kind in _STEPS]
    return _STEPS[kinds[0]](g, layer, own, z, *states)


def _simple(g, layer, own, z, h):
    total = g.op("Add", z, g.op("MatMul", h, own["recurrent_kernel"]))
    return [ACTIVATIONS[layer.activation](g, total, None)]


def _lstm(g, layer, own, z, h, c):
    total = g.op("Add", z, g.op("MatMul", h, own["recurrent_kernel"]))
    i, f, new, o = g.op("Split", total, [layer.units] * 4, outputs=4, axis=-1)
    kept = g.op("Mul", g.op("Sigmoid", f), c)
    c = g.op("Add", kept, g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new)))
    return [g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c)), c]


def _gru(g, layer, own, z, h):
    units, candidate = layer.units, own["candidate_kernel"]
    gates, new = g.op("Split", z, [2 * units, units], outputs=2, axis=-1)
    gates = g.op("Sigmoid", g.op("Add", gates, g.op("MatMul", h, own["recurrent_kernel"])))
    update, reset = g.op("Split", gates, [units] * 2, outputs=2, axis=-1)
    if layer.reset_after:
        product = g.op("Add", g.op("MatMul", h, candidate), own["candidate_bias"])
        product = g.op("Mul", reset, product)
    else:
        product = g.op("MatMul", g.op("Mul", reset, h), candidate)
    new = g.op("Tanh", g.op("Add", new, product))
    a, b = (h, new) if layer.reset_after else (new, h)
    return [g.op("Add", b, g.op("Mul", update, g.op("Sub", a, b)))]


_STEPS = {SimpleRNN: _simple, LSTM: _lstm, GRU: _gru}
