"""What every layer is, and how a list of them is walked and put on a tape.

A shape is ``(units,)``, ``(time, units)``, or ``(height, width, channels)``; batch last, as
everything in the engine. Token numbers are a row of units.
"""

from dataclasses import fields
from math import prod

from .checks import MOST, check


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
    #: Whether training changes its own parameters.
    trainable = False

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
        """Return the layers that its own parameters ask for after it, such as its activation."""
        return ()

    def parts(self):
        """Return the lists of layers inside of it, if it is one of these: how each is reached."""
        return ()

    def children(self, shape):
        """Return its parts with the shapes of their inputs; None for a layer that has none."""
        return [(name, layers, shape) for name, layers in self.parts()] or None

    def commutes_with(self, layer):
        """Whether it may as well come before `layer`, the one before it."""
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
        for part, some, start in inner or ():
            yield from primitives(some, start, f"{path}.{part}" if part else path)
        after = shape_after(layer, shape, path)
        if inner is None:
            yield path, layer, shape
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
        ends = [
            check_tokens(some, start, f"{path}.{part}" if part else path, raw)
            for part, some, start in layer.children(shape) or ()
        ]
        raw = raw and all(ends) and layer.keeps_numbers and not layer.following()
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
