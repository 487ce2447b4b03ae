"""Models of text in ONNX: the next character, features, and translation by greedy search."""

import numpy as np

from ..layers.recurrent import Recurrent
from .graph import Graph, Value
from .layers import Export
from .recurrent import inputs_of, run, step


def _after_text(to):
    """Return what exports a network that has read texts, its other layers, and the final state."""
    x, weights = to.read(), to.net._weights
    export, layers = to.export(weights), weights.network.layers
    end = 1 + max(i for i, layer in enumerate(layers) if isinstance(layer, Recurrent))
    y = export.run(layers[:end], x)
    # a state is kept beyond the end of a text
    name = to.graph.op("Squeeze", to.graph.op("Slice", y.name, [-1], [2**31], [1]), [1])
    return export, layers[end:], Value(name, y.shape[-1:])


def next_character(to):
    """Return the probability of each character, or of the end, after texts."""
    export, layers, last = _after_text(to)
    y = export.run(layers, last)
    return [("probabilities", y.name, to.dtype, (None, *y.shape))]


def state(to):
    """Return the last recurrent layer's state after texts."""
    *_, last = _after_text(to)
    return [("variable", last.name, to.dtype, (None, *last.shape))]


def translation(to):
    """Return the tokens that greedy search finds, by a loop over the decoder's steps."""
    net, g, x = to.net, to.graph, to.read()
    if net.beam_width != 1:
        raise ValueError(f"beam_width is {net.beam_width}; a graph has greedy search only, with 1.")
    coder, *rest = net._weights.network.layers
    export = to.export(net._weights)
    states = _encode(export, coder.encoder, x)
    mark, longest = len(net.output_vocabulary_), int(net.max_length or 2 * net.longest_output_)
    inner = Graph(g.dtype, g.unique)
    number, flag = np.dtype(np.int64), np.dtype(np.bool_)
    count, going, token, ended = map(g.unique, ("count", "going", "token", "ended"))
    before = [g.unique("state") for _ in states]
    decoder = Export(inner, export.values)
    y, after = _decode(decoder, coder.decoder, token, before)
    y = decoder.run(rest[:1], y).name  # softmax does not change which is largest
    found = inner.op("Where", ended, mark, inner.op("ArgMax", y, axis=-1, keepdims=0))
    over = inner.op("Equal", found, mark)
    left = inner.op("ReduceMax", inner.cast(inner.op("Not", over), number), keepdims=0)
    given = [(count, number, ()), (going, flag, ()), (token, number), (ended, flag)]
    results = [(inner.cast(left, flag), flag, ()), (found, number), (over, flag)]
    given += [(name, g.dtype) for name in before]
    results += [(name, g.dtype) for name in after]
    results.append((inner.op("Identity", found), number))
    batch = g.size(to.inputs[0].name, 0)
    first = g.op("Expand", mark, batch), g.op("Expand", False, batch)
    *_, tokens = g.op(
        "Loop", longest, True, *first, *states, outputs=len(states) + 3,
        body=inner.body("decoder", given, results),
    )  # fmt: skip
    return [("tokens", g.op("Transpose", tokens, perm=[1, 0]), number, (None, None))]


def _encode(export, layers, x):
    """Return the final states of all recurrent layers, in order."""
    states = []
    for layer in layers:
        if isinstance(layer, Recurrent):
            outputs, final = run(export, layer, x)
            states += final
            x = Value(outputs, layer.output_shape(x.shape))
        else:
            x = export.add(layer, x)
    return states


def _decode(export, layers, token, before):
    """Return the outputs of layers for one token, and the states after it."""
    name, shape, after = token, (1,), []
    for layer in layers:
        if isinstance(layer, Recurrent):
            g, own, first = export.graph, export.take(layer, shape), len(after)
            states = before[first : first + len(layer._states)]
            after += step(g, layer, own, inputs_of(g, layer, own, name), states)
            name = after[first]
        else:
            name = export.add(layer, Value(name, shape)).name
        shape = layer.output_shape(shape)
    return Value(name, shape[-1:]), after
