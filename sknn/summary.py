"""Summary of a network: its layers, output shapes, parameters and multiply-adds."""

from dataclasses import dataclass
from html import escape
from math import prod
from typing import NamedTuple

from .layers import Activation, Layer
from .layers.base import primitives, shape_after


class Row(NamedTuple):
    """One layer of a network.

    Attributes
    ----------
    path : str
        Name of the layer, or its position in the network.
    layer : Layer
        The layer itself.
    output_shape : tuple
        Shape of the output for one sample.
    parameters : int
        Number of all parameters, including frozen ones and running statistics.
    trainable : int
        Number of trainable parameters.
    multiply_adds : int
        Multiply-adds of a forward pass per sample.
    first : str
        'read' if its parameters were initialized from a file, 'drawn' if they were not; empty
        without such a file, or if the layer has no parameters.
    """

    path: str
    layer: Layer
    output_shape: tuple
    parameters: int
    trainable: int
    multiply_adds: int
    first: str = ""


@dataclass(frozen=True)
class Summary:
    """A table of a network's layers: print it, display it in a notebook, or get a DataFrame.

    Attributes
    ----------
    rows : tuple of Row
        One row per layer, from input to output; containers are expanded. The activation of a
        layer belongs to its row.
    """

    rows: tuple

    @property
    def parameters(self):
        """Total number of parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self):
        """Number of trainable parameters."""
        return sum(row.trainable for row in self.rows)

    @property
    def other(self):
        """Number of other parameters: running statistics and layers with ``trainable=False``."""
        return self.parameters - self.trainable

    @property
    def multiply_adds(self):
        """Multiply-adds of a forward pass per sample."""
        return sum(row.multiply_adds for row in self.rows)

    def to_frame(self):
        """Return the rows as a pandas DataFrame, with layers as text."""
        import pandas as pd

        rows = [row._replace(layer=_words(row.layer)) for row in self.rows]
        frame = pd.DataFrame(rows, columns=Row._fields)
        return frame if self._from_file else frame.drop(columns="first")

    @property
    def _from_file(self):
        return any(row.first for row in self.rows)

    @property
    def _header(self):
        return (*_HEADER, "first values") if self._from_file else _HEADER

    def __str__(self):
        table = [self._header, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = [
            "  ".join(map("{:{}{}}".format, cells, _SIDES, widths)).rstrip() for cells in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, self._totals()])

    def _repr_html_(self):
        head = "".join(f"<th>{escape(name)}</th>" for name in self._header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
            for cells in self._cells()
        )
        foot = f'<td colspan="{len(self._header)}">{escape(self._totals())}</td>'
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            f"<tfoot><tr>{foot}</tr></tfoot></table>"
        )

    def _cells(self):
        return [
            (
                row.path,
                _words(row.layer),
                " x ".join(map(str, row.output_shape)),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                *([row.first] if self._from_file else []),
            )
            for row in self.rows
        ]

    def _totals(self):
        return (
            f"{self.trainable:,} trainable parameters, {self.other:,} others; "
            f"{self.multiply_adds:,} multiply-adds per sample"
        )


_HEADER, _SIDES = ("name", "layer", "output shape", "parameters", "multiply-adds"), "<<<>><"


def _words(layer):
    """Return a layer's class name, with its activation in parentheses."""
    function = layer if isinstance(layer, Activation) else getattr(layer, "activation", None)
    function = getattr(function, "function", function)
    return type(layer).__name__ + (f"({function})" if function else "")


def summarize(layers, input_shape, read=None):
    """Return the summary of a network. The layers are neither run nor allocated.

    Parameters
    ----------
    layers : list of layers
        The layers from input to output.
    input_shape : tuple
        Shape of one sample: ``(height, width, channels)`` or ``(units,)``.
    read : list of bool or None
        For each layer with parameters, whether it was initialized from a file.

    Returns
    -------
    summary : Summary
    """
    rows, read = [], iter(read or ())
    for path, layer, shape in primitives(layers, tuple(input_shape)):
        sizes = [(prod(p.shape), p.trainable) for p in layer.parameters(shape)]
        after, work = shape_after(layer, shape, path), layer.operations(shape)
        numbers = sum(n for n, _ in sizes), sum(n for n, trainable in sizes if trainable), work
        first = {True: "read", False: "drawn", None: ""}[next(read, None) if sizes else None]
        rows.append(Row(path, layer, after, *numbers, first))
    return Summary(tuple(rows))
