"""Networks for tables: what is done to the columns of X, and to the networks' outputs."""

from dataclasses import replace

import numpy as np

from ..tabular.encoding import _text
from .graph import Value


def refusal(labels):
    """Return the error for columns that are no numbers."""
    named = ", ".join(map(repr, labels))
    return ValueError(
        f"Columns of X hold something else than numbers: {named}. An ONNX model has one tensor of "
        "numbers as input; expected columns of numbers. Encode the others before, as by an "
        "OrdinalEncoder in a pipeline, which is exported with it."
    )


def predicted(to, net, x):
    """Return the outputs of a network for tables, the mean over all that it consists of."""
    g, nets = to.graph, getattr(net, "estimators_", None)
    if nets is not None:
        several = [predicted(to, one, x) for one in nets]
        total = several[0].name
        for one in several[1:]:
            total = g.op("Add", total, one.name)
        y = replace(several[0], name=g.op("Div", total, float(len(several))))
    else:
        y = to.outputs(net._weights, x)
        members = net._weights.network.members
        if members > 1:
            total = g.op("ReduceSum", y.name, [0], keepdims=0)
            y = replace(y, name=g.op("Div", total, float(members)))
    if net._classifies:
        return replace(y, name=_tempered(g, net, y))
    return y


def _tempered(g, net, y):
    """Return probabilities to the power of 1 / temperature, normalized."""
    temperature = getattr(net, "temperature_", 1.0)
    if temperature == 1.0:
        return y.name
    powers = g.op("Pow", y.name, 1 / temperature)
    if net._fitted_task().exclusive and y.shape[-1] > 1:
        return g.op("Div", powers, g.op("ReduceSum", powers, [-1], keepdims=1))
    other = g.op("Pow", g.op("Sub", 1.0, y.name), 1 / temperature)
    return g.op("Div", powers, g.op("Add", powers, other))


def unscaled(to, name):
    """Return predictions as numbers like the targets."""
    g, (means, deviations, least, most) = to.graph, to.net._target_scale
    name = g.op("Add", g.op("Mul", name, deviations), means)
    return g.op("Min", g.op("Max", name, least), most) if to.net.clip_output else name


# --- columns


def encoded(to, encoder):
    """Return X as a :class:`~sknn.tabular.encoding.TableEncoder` encodes it."""
    g, given = to.graph, to.inputs[0]
    whole = given.dtype.kind in "iub"  # compared, and reduced by their centers, as they are
    x = g.cast(given.name, np.int64) if whole else to.floats()
    # integers are never missing
    missing = g.op("Less", x, x) if whole else g.op("IsNaN", x)
    own = np.dtype(np.int64) if whole else g.dtype
    texts = _unknown(encoder, np.float64, np.int64)
    if texts:
        raise refusal(texts)
    rounded = _unknown(encoder, own)
    if rounded:
        raise ValueError(
            f"Columns of X have categories that {own} does not hold: "
            f"{', '.join(map(repr, rounded))}. Give X as {dtype_for(encoder, np.float64)}."
        )
    if sum(encoder.counts_) > 2 ** (np.finfo(g.dtype).nmant + 1):
        raise ValueError(
            f"The categorical features have {sum(encoder.counts_)} categories, more than "
            f"{g.dtype} has whole numbers. Give X as float64."
        )
    parts = _numbers(g, encoder, x, missing, own) if encoder.n_numeric_ else []
    embedded = []
    for (i, _, last, rows, place), categories in zip(encoder._columns, encoder.categories_):
        number = _numbered(g, g.op("Gather", x, [i], axis=1), categories, own)
        if rows is None:
            embedded.append(g.cast(g.op("Add", number, place), g.dtype))
            continue
        is_missing = g.op("Gather", missing, [i], axis=1)
        number = g.op("Squeeze", g.op("Where", is_missing, last, number), [1])
        parts.append(g.op("Gather", rows, number, axis=0))
    parts += embedded
    name = parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)
    return Value(name, (encoder.n_columns_,))


def _numbers(g, encoder, x, missing, own):
    """Return the columns of numbers, and of those that tell which are missing."""
    numeric = np.flatnonzero(~encoder.is_categorical_)
    n = len(numeric)
    centers, scales = encoder.centers_[:n], encoder.scales_[:n]
    scales = np.maximum(scales, np.finfo(g.dtype).tiny)  # none rounds to 0
    # in two parts, so that a number near a large center keeps its digits
    high = np.rint(centers) if own.kind == "i" else centers
    high = high.astype(own)
    reduced = g.op("Sub", g.op("Gather", x, numeric, axis=1), high)
    reduced = g.cast(reduced, g.dtype) if own.kind == "i" else reduced
    scaled = g.op("Div", g.op("Sub", reduced, centers - high), scales)
    if encoder.smooth_clip is not None:
        c = float(encoder.smooth_clip)
        scaled = g.op("Min", g.op("Max", scaled, -1e15 * c), 1e15 * c)
        ratio = g.op("Div", scaled, c)
        square = g.op("Add", g.op("Mul", ratio, ratio), 1.0)
        scaled = g.op("Div", scaled, g.op("Sqrt", square))
    medians = encoder.medians_[None].copy()
    encoder._clip(medians, slice(n))
    parts = [g.op("Where", g.op("Gather", missing, numeric, axis=1), medians, scaled)]
    told = numeric[encoder.has_missing_[numeric]]
    if len(told):
        values = np.repeat([[0.0], [1.0]], len(told), axis=1)
        encoder._clip(values, slice(n, encoder.n_numeric_))
        parts.append(g.op("Where", g.op("Gather", missing, told, axis=1), values[1], values[0]))
    return parts


def _numbered(g, column, categories, own):
    """Return the numbers of categories, from 1 on; 0 if they are not there."""
    values = np.array([_as(own, one) for one in categories] or [0], own)
    places = np.arange(len(values)) + bool(categories)
    hit = g.cast(g.op("Equal", column, values), np.int64)
    return g.op("ReduceSum", g.op("Mul", hit, places), [1], keepdims=1)


def dtype_for(encoder, dtype):
    """Return a type that a table can have whose categories these are, the given one if it can."""
    for one in (dtype, np.float64, np.int64):
        if not _unknown(encoder, one):
            return np.dtype(one)
    return np.dtype(dtype)


def _unknown(encoder, *types):
    """Return the names of columns with categories that are numbers of none of these types."""
    return [
        encoder._names[i]
        for (i, *_), categories in zip(encoder._columns, encoder.categories_)
        if not all(any(_as(one, some) is not None for one in types) for some in categories)
    ]


def _as(dtype, category):
    """Return the number of a type that has this text as a category; None: there is none."""
    try:
        value = np.dtype(dtype).type(category)
        return value if np.isfinite(value) and _text(value, "") == category else None
    except (ValueError, OverflowError):
        return None
