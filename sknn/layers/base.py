"""What every layer is, and how a list of them is walked and put on a tape.

A shape is ``(units,)``, ``(time, units)``, or ``(height, width, channels)``; batch last, as
everything in the engine. Token numbers are a row of units.
"""

from dataclasses import fields
from math import prod
from numbers import Integral, Real

import numpy as np

from .initializers import INITIALIZERS

#: The largest count that a layer takes, and the most numbers that it gives for a sample: what the
#: engine computes from them then fits into 64 bits.
MOST = 2**31 - 1
#: How deep layers of layers may be nested.
_DEEPEST = 50


class Layer:
    """What every layer has.

    `output_shape(shape)` is the shape of its output for that of its input; `parameters(shape)`
    its parameters; `draw(shape, ...)` their first values; `operations(shape)` its multiply-adds for
    one sample. ``forward(tape, x, shape,
    parameters, training)`` takes its parameters from an iterator, adds its operations to a tape and
    returns the output's buffer and a function that adds the backward ones: from the gradient of the
    output, it returns that of the input (None if `needed` is False).
    """

    #: Whether its inputs are numbers of tokens, and whether it gives its inputs unchanged.
    reads_tokens, keeps_numbers = False, False

    def parameters(self, shape):
        return ()

    def output_shape(self, shape):
        return shape

    def operations(self, shape):
        return 0

    def draw(self, shape, random_state, initializer, last=False):
        return []

    def following(self):
        """Return the layers that its own parameters ask for after it, such as its activation."""
        return ()

    def children(self, shape):
        """Return the layers inside of it: for each, how it is reached, itself, its input's shape.

        None for a layer that has none.
        """
        return None

    def commutes_with(self, layer):
        """Whether it may as well come before `layer`, the one before it."""
        return False

    @property
    def learns(self):
        """Whether it has parameters to train."""
        return False

    def __repr__(self):
        shown = []
        for f in fields(self):
            value = getattr(self, f.name)
            if not f.compare:
                continue
            if value not in (f.default, (f.default, f.default)):
                shown.append(f"{f.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def size(shape):
    """Return the number of elements of a shape."""
    return prod(shape)


def positions(shape):
    """Return the number of positions and of channels: a vector's units are channels of one."""
    return size(shape[:-1]), shape[-1]


def image(layer, shape):
    """Return the shape of an image, or raise ValueError."""
    if len(shape) != 3:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs an image.")
    return shape


def sequence(layer, shape):
    """Return the steps and the features of a sequence, or raise ValueError."""
    if len(shape) != 2:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs (time, features).")
    return shape


def tokens(layer, shape):
    """Return the number of steps of a sequence of token numbers, or raise ValueError."""
    if len(shape) != 1:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs token numbers.")
    return shape[0]


def describe(shape):
    """Return a shape as words."""
    return f"{shape[0]} units" if len(shape) == 1 else " x ".join(map(str, shape))


# --- checks of what a specification holds


def _fail(layer, name, value, expected, kind=ValueError):
    raise kind(f"{name} of {type(layer).__name__} is {value!r}; expected {expected}.")


def _at_most(least):
    return f"an int from {least} to {MOST}"


def check_depth(layer, *parts):
    """Check how deep the layers in a layer are nested, and remember it."""
    depth = 1 + max((getattr(a, "_depth", 0) for part in parts for a in part), default=0)
    if depth > _DEEPEST:
        raise ValueError(
            f"Layers are nested more than {_DEEPEST} deep in {type(layer).__name__}; expected "
            "less: a list of layers holds any number of them side by side."
        )
    object.__setattr__(layer, "_depth", depth)


def check_count(layer, name, least=1, optional=False):
    """Check that a parameter is an integer of at least `least`, and store it as an int."""
    value = getattr(layer, name)
    if value is None and optional:
        return
    if not isinstance(value, Integral) or isinstance(value, bool):
        _fail(layer, name, value, f"an int of at least {least}", TypeError)
    if value < least:
        _fail(layer, name, value, f"an int of at least {least}")
    if value > MOST:
        _fail(layer, name, value, _at_most(least))
    object.__setattr__(layer, name, int(value))


def check_number(layer, name, low=0.0, high=np.inf, optional=False):
    """Check that a parameter is a number in [low, high), and store it as a float."""
    value = getattr(layer, name)
    if value is None and optional:
        return
    words = f"a number in [{low:g}, {high:g})"
    if not isinstance(value, Real) or isinstance(value, bool):
        _fail(layer, name, value, words, TypeError)
    if not low <= value < high:
        _fail(layer, name, value, words)
    object.__setattr__(layer, name, float(value))


def check_pair(layer, name, least=1):
    """Check that a parameter is an int or a pair of them, and store it as a pair."""
    value = getattr(layer, name)
    pair = (value, value) if isinstance(value, Integral) else value
    words = f"an int of at least {least}, or two"
    if not isinstance(pair, (tuple, list)) or not all(isinstance(v, Integral) for v in pair):
        _fail(layer, name, value, words, TypeError)
    if len(pair) != 2 or min(pair) < least:
        _fail(layer, name, value, words)
    if max(pair) > MOST:
        _fail(layer, name, value, f"{_at_most(least)}, or two")
    object.__setattr__(layer, name, tuple(map(int, pair)))


def check_choice(layer, name, options, value=None):
    """Check that a parameter, or a part of it, is one of some options."""
    value = getattr(layer, name) if value is None else value
    if not isinstance(value, str | None) or value not in options:
        _fail(layer, name, value, f"one of {sorted(map(str, options))}")


def check_flag(layer, name):
    """Check that a parameter is true or false."""
    value = getattr(layer, name)
    if not isinstance(value, bool | np.bool_):
        _fail(layer, name, value, "a bool", TypeError)
    object.__setattr__(layer, name, bool(value))


def check_name(layer):
    """Check that a layer's name is one."""
    if layer.name is not None and not (isinstance(layer.name, str) and layer.name):
        _fail(layer, "name", layer.name, "a str that is not empty, or None", TypeError)


def check_weighted(layer):
    """Check the parameters that layers with weights share."""
    check_name(layer)
    check_flag(layer, "use_bias")
    check_flag(layer, "trainable")
    check_choice(layer, "kernel_initializer", {None, *INITIALIZERS})
    for name in ("kernel_l1", "kernel_l2"):
        check_number(layer, name, optional=True)
    for name in ("activity_l1", "activity_l2"):
        check_number(layer, name)


# --- lists of layers


def primitives(layers, shape, prefix="layers"):
    """Yield path, layer and input shape of every layer that holds no others, in order.

    Parameters come in this order too. A layer's path is its name, if it has one.

    Raises
    ------
    ValueError
        If a shape does not fit, naming the layer.
    """
    for i, layer in enumerate(layers):
        path = path_of(layer, prefix, i)
        inner = layer.children(shape)
        if inner is None:
            after = shape_after(layer, shape, path)
            yield path, layer, shape
        else:
            for part, some, start in inner:
                yield from primitives(some, start, f"{path}.{part}" if part else path)
            after = shape_after(layer, shape, path)
        shape = after


def shape_after(layer, shape, path):
    """Return a layer's output shape; an error says where the layer stands."""
    try:
        shape = layer.output_shape(shape)
        for part in layer.following():
            shape = part.output_shape(shape)
        if size(shape) > MOST:
            raise ValueError(
                f"{layer} gives {describe(shape)}; expected at most {MOST} numbers for a sample."
            )
        return shape
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_tokens(layers, shape, prefix="layers", raw=True):
    """Check that layers that read numbers of tokens get these, and not what others make of them.

    Return whether the numbers at the end are still those at the beginning, which `raw` says of the
    beginning.
    """
    for i, layer in enumerate(layers):
        path = path_of(layer, prefix, i)
        if layer.reads_tokens and not raw:
            raise ValueError(
                f"{path}: {layer} reads numbers of tokens, but a layer before it has changed them; "
                "it must come first."
            )
        inner = layer.children(shape)
        if inner is None:
            raw = raw and layer.keeps_numbers
        else:
            ends = [
                check_tokens(some, start, f"{path}.{part}" if part else path, raw)
                for part, some, start in inner
            ]
            raw = all(ends) and layer.keeps_numbers
        raw = raw and not layer.following()
        shape = shape_after(layer, shape, path)
    return raw


def path_of(layer, prefix, i):
    """Return how layer `i` of a list is called: by its name, if it has one."""
    return getattr(layer, "name", None) or f"{prefix}.{i}"


def output_shape(layers, shape):
    """Return the shape of what a list of layers gives."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def learns(layers):
    """Return whether any of the layers has parameters to train."""
    return any(layer.learns for layer in layers)


def forward(layers, tape, x, shape, parameters, training):
    """Put a list of layers on a tape; return the output's buffer and the backward function."""
    steps = []
    for layer in arranged(layers):
        x, back = layer.forward(tape, x, shape, parameters, training)
        steps.append((layer, back))
        shape = layer.output_shape(shape)

    def backward(dy, needed):
        for i in reversed(range(len(steps))):
            layer, back = steps[i]
            more = needed or any(step[0].learns for step in steps[:i])
            if not more and not layer.learns:
                return None
            dy = back(dy, more)
            tape.settle()
        return dy

    return x, backward


def arranged(layers):
    """Return a list of layers as it is computed: activations by themselves, and after a pool.

    The largest of what relu gives is relu of the largest, bit by bit, and so is its gradient; but
    after the pool there is less to do.
    """
    flat = []
    for layer in layers:
        for part in (layer, *layer.following()):
            flat.append(part)
            if len(flat) > 1 and part.commutes_with(flat[-2]):
                flat[-2:] = [part, flat[-2]]
    return flat
