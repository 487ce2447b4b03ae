"""The base class of all layers, and how a list of layers is traversed and put on a tape.

A shape is ``(units,)``, ``(time, units)``, or ``(height, width, channels)``; the batch is the last
axis everywhere in the engine. A sequence of token ids has the shape ``(units,)``.
"""

from dataclasses import fields
from math import prod

from .checks import MOST, check


class Layer:
    """Base class of all layers.

    ``output_shape(shape)`` is the shape of the layer's output for the shape of its input;
    ``parameters(shape)`` its parameters; ``draw(shape, ...)`` their initial values;
    ``operations(shape)`` its multiply-adds per sample. ``forward(tape, x, shape, parameters,
    training)`` takes the layer's parameters from an iterator, adds its operations to a tape, and
    returns the output's buffer and a function that adds the backward operations: given the gradient
    of the output, it returns the gradient of the input (None if `needed` is False).
    """

    #: Whether its inputs are token ids, and whether its output is its input unchanged.
    reads_tokens, keeps_numbers = False, False
    #: Whether training changes its own parameters.
    trainable = False
    #: Whether several members of a network can use it, each with blocks of its own.
    for_members = True
    #: The number of members that it has parameters for; None: any, which share what it has.
    members = None

    def __post_init__(self):
        check(self)

    def parameters(self, shape):
        return ()

    def output_shape(self, shape):
        return shape

    def operations(self, shape):
        return 0

    def forward(self, tape, x, shape, parameters, training):
        return x, lambda dy, needed: dy

    def draw(self, shape, random_state, initializer, last=False):
        return []

    def following(self):
        """Return the layers that its own parameters append to it, such as its activation."""
        return ()

    def parts(self):
        """Return the lists of layers nested in it, each with its name."""
        return ()

    def children(self, shape):
        """Return its parts with the shapes of their inputs; None for a layer that has none."""
        return [(name, layers, shape) for name, layers in self.parts()] or None

    def commutes_with(self, layer):
        """Whether it may be swapped with `layer`, the one before it."""
        return False

    @property
    def learns(self):
        """Whether it has parameters to train."""
        return self.trainable or any(learns(layers) for _, layers in self.parts())

    def __repr__(self):
        shown = []
        for f in sorted(fields(self), key=lambda f: f.kw_only):
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
    """Return the number of positions and of channels; a vector is one position."""
    return size(shape[:-1]), shape[-1]


def image(layer, shape):
    """Return the shape of an image, or raise ValueError."""
    if len(shape) != 3:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs an image.")
    return shape


def sequence(layer, shape):
    """Return the time steps and the features of a sequence, or raise ValueError."""
    if len(shape) != 2:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs (time, features).")
    return shape


def tokens(layer, shape):
    """Return the length of a sequence of token ids, or raise ValueError."""
    if len(shape) != 1:
        raise ValueError(f"{layer} got an input of {describe(shape)}; needs token ids.")
    return shape[0]


def describe(shape):
    """Return a shape as text."""
    return f"{shape[0]} units" if len(shape) == 1 else " x ".join(map(str, shape))


# --- lists of layers


def primitives(layers, shape, prefix="layers"):
    """Yield path, layer and input shape of every layer that contains no others, in order.

    Parameters are in this order too. A layer's path is its name, if it has one.

    Raises
    ------
    ValueError
        If a layer cannot take the shape of its input; the message names the layer.
    """
    for i, layer in enumerate(layers):
        path = path_of(layer, prefix, i)
        inner = layer.children(shape)
        for part, some, start in inner or ():
            yield from primitives(some, start, f"{path}.{part}" if part else path)
        after = shape_after(layer, shape, path)
        if inner is None:
            yield path, layer, shape
        shape = after


def shape_after(layer, shape, path):
    """Return a layer's output shape; an error message gives the layer's path."""
    try:
        shape = layer.output_shape(shape)
        for part in layer.following():
            shape = part.output_shape(shape)
        if size(shape) > MOST:
            raise ValueError(
                f"{layer} gives {describe(shape)}; expected at most {MOST} numbers per sample."
            )
        return shape
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_tokens(layers, shape, prefix="layers", raw=True):
    """Check that layers that read token ids get them unchanged by other layers.

    `raw` says whether the input still is the network's input, unchanged. Return the same for the
    output.
    """
    for i, layer in enumerate(layers):
        path = path_of(layer, prefix, i)
        if layer.reads_tokens and not raw:
            raise ValueError(
                f"{path}: {layer} reads token ids, but a layer before it changes them; it must "
                "come first."
            )
        ends = [
            check_tokens(some, start, f"{path}.{part}" if part else path, raw)
            for part, some, start in layer.children(shape) or ()
        ]
        raw = raw and all(ends) and layer.keeps_numbers and not layer.following()
        shape = shape_after(layer, shape, path)
    return raw


def check_members(path, layer, members):
    """Raise ValueError unless a layer is one for a network of so many members."""
    if layer.members not in (None, members):
        raise ValueError(
            f"{path}: {layer} has {layer.members} members, in a network of {members}; expected as "
            "many."
        )
    if members > 1 and not layer.for_members:
        raise ValueError(f"{path}: {layer} cannot be in a network of {members} members.")


def path_of(layer, prefix, i):
    """Return the path of layer `i` of a list: its name, if it has one."""
    return getattr(layer, "name", None) or f"{prefix}.{i}"


def output_shape(layers, shape):
    """Return the output shape of a list of layers."""
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
    """Return layers in the order of computation: activations on their own, relu after max pooling.

    Max pooling and relu commute, bit for bit, and so do their gradients; but relu has less to do
    after the pooling.
    """
    flat = []
    for layer in layers:
        for part in (layer, *layer.following()):
            flat.append(part)
            if len(flat) > 1 and part.commutes_with(flat[-2]):
                flat[-2:] = [part, flat[-2]]
    return flat
