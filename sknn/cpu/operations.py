"""The operations that only the CPU has: those that a tape is rewritten with, before it is run."""

from dataclasses import dataclass

from ..tape.operations import OPERATIONS, Operation
from ..tape.tape import Op


def _joined(*names):
    """Return the row of an operation that does what others do, one after the other."""
    rows = [OPERATIONS[name] for name in names]
    return Operation(
        rows[0].kind,
        attributes=sum((row.attributes for row in rows), ()),
        types=sum((row.types for row in rows), ()),
    )


def _counted(kind, reads, writes, attributes):
    """Return the row of an operation whose attributes are all int."""
    attributes = tuple(attributes.split())
    types = ("int",) * len(attributes)
    return Operation(kind, tuple(reads.split()), tuple(writes.split()), attributes, types)


SHAPE = "height width channels filters top left out_height out_width"
OWN = {
    "regularized_update": _joined("regularize", "update"),
    "weight_gradient_narrow": _counted("parameters", "x dz", "", "inputs first"),
    "unit_gradient": _counted("parameters", "dz", "", "units"),
    "sample_sums": _counted("blocks", "x", "sums", "units"),
    "product_sums": _counted("blocks", "a b", "sums", "units"),
    "member_block_sums": _counted("parameters", "sums", "", "units"),
    "winograd_weights": _counted("units", "w", "u", "channels filters"),
    "winograd": _counted("blocks", "x u b", "z memory", SHAPE + " biased chunk first last"),
    "winograd_products": _counted("blocks", "x dz", "sums memory", SHAPE + " chunk"),
    "winograd_kernel_gradient": _counted("parameters", "sums", "", "channels"),
}


@dataclass(eq=False)
class OwnOp(Op):
    """An operation that is not in the table of those that a tape may contain."""

    @property
    def row(self):
        return OWN[self.name]
