"""What the CPU makes of a tape: operations that are done in one pass, or in another way.

Each replaces some of the tape's operations. A fused one gives the same bits as those that it stands
for.
"""

from collections import Counter
from copy import copy
from dataclasses import replace

from ..tape.tape import Buffer, Op, Phase
from .operations import OwnOp
from .packing import lanes_of, leaves_few

#: Operations that leave, for each unit and sample, what the gradient of the unit's number is a sum
#: of.
_BY_UNIT = "multiply", "parametric_activation_gradient", "periodic_gradient"


def fused(tape, dtype):
    """Return a tape of the operations that the CPU runs for numbers of a type."""
    made = copy(tape)
    made.phases = []
    transposed = _transposed(tape) if tape.width > 1 else {}
    by_unit = _written_by_unit(tape) if tape.width > 1 else set()
    lanes = lanes_of(dtype)
    for phase in tape.phases:
        ops = list(phase.ops)
        if phase.kind == "parameters":
            ops = [
                (parameter, _with_update(_of_units(part, by_unit)))
                for parameter, chain in ops
                for part in _by_width(parameter, chain, transposed, lanes)
            ]
        made.phases.append(Phase(phase.kind, ops))
    _drop_unread(made)
    if tape.width > 1:
        _sum_in_blocks(made)
    return made


def _with_update(chain):
    """Return a chain in which the update also penalizes, if nothing is done in between."""
    names = [op.name for op in chain]
    if "update" not in names or "regularize" not in names:
        return chain
    i = names.index("regularize")
    if names[i + 1] != "update":
        return chain
    first, last = chain[i : i + 2]
    both = OwnOp(
        "regularized_update",
        attributes=first.attributes + last.attributes,
        variant=first.variant + last.variant,
    )
    return [*chain[:i], both, *chain[i + 2 :]]


def _written_by_unit(tape):
    """Return the buffers that operations leave such products in."""
    ops = (op for phase in tape.phases for op in phase.all_ops())
    return {operand for op in ops if op.name in _BY_UNIT for operand in op.writes}


def _of_units(chain, by_unit):
    """Return a chain in which the sums of many units are made side by side."""
    first, *rest = chain
    if first.name != "channel_sums" or first.reads[0] not in by_unit:
        return chain
    return [OwnOp("unit_gradient", first.reads, (), first.attributes[1:]), *rest]


def _transposed(tape):
    """Return, by buffer of transposed gradients, the operation and the original.

    The latter is None where something is written there later, or where an operation needs them
    transposed. Without one, they are the gradients of a loss, which are zero beyond the last
    sample; in least squares they are something else.
    """
    found = {}
    for op in (op for phase in tape.phases for op in phase.all_ops()):
        written = [getattr(operand, "whole", None) for operand in op.writes]
        for packed, (made, dz) in found.items():
            needed = packed in op.reads and op.name != "bias_gradient" and not _is_plain(op)
            if dz is not None and (dz.whole in written or needed):
                found[packed] = made, None
        if op.name == "pack_samples":
            found[op.writes[0]] = op, op.reads[0]
    return found


def _is_plain(op):
    return op.name == "weight_gradient" and len(op.variant) == 2


def _by_width(parameter, chain, transposed, lanes):
    """Return the chains of a parameter: one more if the gradient of its last pack is narrow.

    Few units would be alone in a vector, most of which is zero.
    """
    first, *rest = chain
    made, dz = transposed.get(first.reads[-1] if first.reads else None, (None, None))
    if made is None:
        return [chain]
    (pack,), units = made.variant, parameter.shape[-1]
    narrow = dz is not None and pack == lanes and leaves_few(units, lanes)
    if first.name == "bias_gradient":
        if narrow and units < lanes and first.work == 1:  # no transposition is needed
            return [[Op("channel_sums", (dz,), (), first.attributes), *rest]]
        return [[replace(first, variant=(pack,)), *rest]]  # the weights' may differ from its own
    if not (_is_plain(first) and narrow) or any(op.name == first.name for op in rest):
        return [chain]
    whole, left = divmod(units, lanes)
    numbers = (*first.attributes, units - left)
    last = OwnOp(
        "weight_gradient_narrow", (first.reads[0], dz), (), numbers, (left,), grain=first.grain
    )
    return [[replace(first, extent=whole), *rest]] * (whole > 0) + [[last, *rest]]


def _sum_in_blocks(tape):
    """Sum over the samples of a block while its numbers are in the cache, for each member.

    Of each block, only the sums are kept until those of all blocks are added up.
    """
    sums, readers = {}, Counter()
    for op in (op for phase in tape.phases for op in phase.all_ops()):
        readers.update({operand.whole for operand in op.reads if isinstance(operand, Buffer)})
    for phase in tape.phases:
        if phase.kind != "parameters":
            continue
        for _, chain in phase.ops:
            if chain[0].name == "member_sums":
                (dz,), numbers = chain[0].reads, chain[0].attributes
                if dz not in sums:
                    rows = -(-numbers[0] // tape.width)
                    sums[dz] = Buffer(f"sums of {dz.name}", rows)
                    _add_sums(tape, dz, sums[dz], numbers, readers[dz.whole] == 1)
                chain[0] = OwnOp("member_block_sums", (sums[dz],), (), numbers)


def _add_sums(tape, dz, sums, numbers, alone):
    """Add the operation that sums over a block where its numbers are complete.

    If nothing else reads them (`alone`), and they are products, these need not be stored.
    """
    places = [
        (phase.ops, i)
        for phase in tape.phases
        if phase.kind == "blocks"
        for i, op in enumerate(phase.ops)
        if dz.whole in {operand.whole for operand in op.writes}
    ]
    ops, last = places[-1]
    made = ops[last]
    if alone and len(places) == 1 and made.name == "multiply" and dz.base is None:
        ops[last] = OwnOp("product_sums", made.reads, (sums,), numbers)
    else:
        ops.insert(last + 1, OwnOp("sample_sums", (dz,), (sums,), numbers))


def _drop_unread(tape):
    """Remove transpositions that nothing reads any more."""
    read = {operand for phase in tape.phases for op in phase.all_ops() for operand in op.reads}
    for phase in tape.phases:
        if phase.kind == "blocks":
            phase.ops = [
                op for op in phase.ops if op.name != "pack_samples" or op.writes[0] in read
            ]
