"""Layers of layers: sequences, and branches whose outputs are added or concatenated."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from .base import Layer, describe, forward, learns, output_shape, size
from .checks import check_depth, fail


def _as_layers(owner, name, value):
    """Return a layer or a list of layers as a tuple."""
    layers = (value,) if isinstance(value, Layer) else value
    if not isinstance(layers, (list, tuple)) or not all(isinstance(v, Layer) for v in layers):
        fail(owner, name, "a layer or a list of layers", TypeError, value)
    return tuple(layers)


@dataclass(frozen=True, repr=False)
class Sequential(Layer):
    """A sequence of layers, as a single layer.

    Parameters
    ----------
    layers : list of layers
        The layers, from input to output.
    name : str or None, default=None
        Prefix of the names of its layers' weights.
    """

    layers: Layer | Sequence[Layer]
    _: KW_ONLY
    name: str | None = None

    keeps_numbers = True

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "layers", _as_layers(self, "layers", self.layers))
        check_depth(self, self.layers)

    def output_shape(self, shape):
        return output_shape(self.layers, shape)

    def parts(self):
        return [("", self.layers)]

    def forward(self, tape, x, shape, parameters, training):
        return forward(self.layers, tape, x, shape, parameters, training)


@dataclass(frozen=True, repr=False)
class Residual(Layer):
    """A residual block, block(x) + shortcut(x) (He et al., 2015).

    Parameters
    ----------
    block : list of layers
        The residual branch.
    shortcut : list of layers, default=()
        The shortcut connection. Empty: the identity; the block's output must then have the shape of
        its input.
    name : str or None, default=None
        Prefix of the names of its layers' weights.
    """

    block: Layer | Sequence[Layer]
    shortcut: Layer | Sequence[Layer] = ()
    _: KW_ONLY
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("block", "shortcut"):
            object.__setattr__(self, name, _as_layers(self, name, getattr(self, name)))
        check_depth(self, self.block, self.shortcut)

    def output_shape(self, shape):
        block = output_shape(self.block, shape)
        shortcut = output_shape(self.shortcut, shape)
        if block != shortcut:
            raise ValueError(
                f"Residual got a block that gives {describe(block)} and a shortcut that gives "
                f"{describe(shortcut)}; needs the same shape of both."
            )
        return block

    def parts(self):
        return [("block", self.block), ("shortcut", self.shortcut)]

    def forward(self, tape, x, shape, parameters, training):
        tape.keep(x)
        a, block_back = forward(self.block, tape, x, shape, parameters, training)
        b, shortcut_back = forward(self.shortcut, tape, x, shape, parameters, training)
        y = tape.in_place(a, "sum")
        tape.add("add", (a, b), (y,), (a.rows * tape.width,), (False,))

        def backward(dy, needed):
            tape.keep(dy)  # it goes both ways
            da, db = block_back(dy, needed), shortcut_back(dy, needed)
            if not needed:
                return None
            dx = tape.in_place(da, "dx")
            tape.add("add", (da, db), (dx,), (x.rows * tape.width,), (False,))
            return dx

        return y, backward


@dataclass(frozen=True, repr=False)
class Concatenate(Layer):
    """Concatenates the outputs of several branches along the channels.

    Parameters
    ----------
    branches : list of lists of layers
        The branches, which all get the same input; an empty list is the identity.
    name : str or None, default=None
        Prefix of the names of its layers' weights.
    """

    branches: Sequence[Layer | Sequence[Layer]]
    _: KW_ONLY
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.branches, (list, tuple)) or not self.branches:
            fail(self, "branches", "a list of lists of layers", TypeError)
        branches = tuple(_as_layers(self, "branches", branch) for branch in self.branches)
        object.__setattr__(self, "branches", branches)
        check_depth(self, *branches)

    def _shapes(self, shape):
        return [output_shape(branch, shape) for branch in self.branches]

    def output_shape(self, shape):
        shapes = self._shapes(shape)
        if len({s[:-1] for s in shapes}) > 1:
            raise ValueError(
                f"Concatenate got branches that give {', '.join(map(describe, shapes))}; needs the "
                "same height and width of all."
            )
        return (*shapes[0][:-1], sum(s[-1] for s in shapes))

    def parts(self):
        return [(f"branches.{i}", branch) for i, branch in enumerate(self.branches)]

    def forward(self, tape, x, shape, parameters, training):
        tape.keep(x)
        out = self.output_shape(shape)
        places, total = size(out[:-1]), out[-1]
        y = tape.buffer("joined", size(out))
        parts, offset = [], 0
        for branch, some in zip(self.branches, self._shapes(shape)):
            a, back = forward(branch, tape, x, shape, parameters, training)
            numbers = (places, some[-1], total, offset)
            tape.add("insert_channels", (a,), (y,), numbers)
            parts.append((back, a.rows, numbers))
            offset += some[-1]

        def backward(dy, needed):
            dx = None
            for branch, (back, rows, numbers) in zip(self.branches, parts):
                if not needed and not learns(branch):
                    continue
                da = tape.buffer("part", rows)
                tape.add("extract_channels", (dy,), (da,), numbers)
                da = back(da, needed)
                if needed and dx is not None:
                    total = tape.in_place(dx, "dx")
                    tape.add("add", (dx, da), (total,), (x.rows * tape.width,), (False,))
                    da = total
                dx = da
            return dx

        return y, backward
