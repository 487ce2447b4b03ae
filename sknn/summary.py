"""Summary of a network: its layers, output shapes, parameters and multiply-adds."""

from dataclasses import dataclass
from html import escape
from math import prod
from typing import NamedTuple

from .layers import Activation, Layer, ParametricActivation
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

        rows = [row._replace(layer=words(row.layer)) for row in self.rows]
        frame = pd.DataFrame(rows, columns=Row._fields)
        return frame if self._from_file else frame.drop(columns="first")

    @property
    def _from_file(self):
        return any(row.first for row in self.rows)

    @property
    def _header(self):
        return (*_HEADER, "first values") if self._from_file else _HEADER

    def __str__(self):
        return as_text(self._header, self._cells(), _SIDES, [self._totals()])

    def _repr_html_(self):
        return as_html(self._header, self._cells(), [self._totals()])

    def _cells(self):
        return [
            (
                row.path,
                words(row.layer),
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


def words(layer):
    """Return a layer's class name, with its activation in parentheses."""
    own = isinstance(layer, (Activation, ParametricActivation))
    function = layer if own else getattr(layer, "activation", None)
    function = getattr(function, "function", function)
    return type(layer).__name__ + (f"({function})" if function else "")


def as_text(header, rows, sides, foot):
    """Return a table as text.

    Parameters
    ----------
    header : sequence of str
    rows : list of sequences of str
    sides : str
        For each column '<' or '>', the side that it is aligned to.
    foot : list of str
        Lines below the table.
    """
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = ["  ".join(map("{:{}{}}".format, cells, sides, widths)).rstrip() for cells in table]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], rule, *foot])


def as_html(header, rows, foot):
    """Return the table of :func:`as_text` as HTML, in the style of the page."""

    def line(kind, cells):
        return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"

    body = "".join(line("td", cells) for cells in rows)
    foot = "".join(f'<tr><td colspan="{len(header)}">{escape(text)}</td></tr>' for text in foot)
    return (
        f"<table><thead>{line('th', header)}</thead><tbody>{body}</tbody>"
        f"<tfoot>{foot}</tfoot></table>"
    )


def framed(table):
    """Return an HTML table in a frame of its own style, in which a wide one scrolls."""
    return f'<style>{_STYLE}</style><div class="sknn-table">{table}</div>'


#: Names and layers are aligned to the left, numbers to the right, whatever the page does.
_STYLE = """
.sknn-table { overflow-x: auto; margin: 0.5em 0; }
.sknn-table table { border-collapse: collapse; font-size: 0.9em; margin: 0; }
.sknn-table th, .sknn-table td { padding: 0.2em 0.7em; text-align: right; white-space: nowrap; }
.sknn-table :is(th, td):nth-child(-n + 2), .sknn-table tfoot td { text-align: left; }
.sknn-table thead th { border-bottom: 1px solid; }
.sknn-table tbody tr:last-child td { border-bottom: 1px solid; }
.sknn-table tfoot td { white-space: normal; }
"""


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
