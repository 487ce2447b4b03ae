"""Checks of a layer's parameters; which check applies follows from a parameter's name or type."""

from dataclasses import field, fields
from functools import partial, wraps
from inspect import signature
from numbers import Integral, Real

import numpy as np

from ..hints import hint, wrong_call
from .initializers import INITIALIZERS

#: The largest count that a layer takes, and the most numbers that it gives per sample, so that
#: whatever the engine computes from them fits into 64 bits.
MOST = 2**31 - 1
#: How deep layers of layers may be nested.
_DEEPEST = 50


def check(layer):
    """Check a layer's parameters, except those that are None where None is the default."""
    for f in fields(layer):
        one = _CHECKS.get(f.name) or _CHECKS.get(f.type)
        if one is not None and not (getattr(layer, f.name) is None is f.default):
            one(layer, f.name, **f.metadata)


def explain(cls):
    """Make a layer's constructor suggest the argument that an unknown one may have meant."""
    made = cls.__init__

    @wraps(made)
    def __init__(self, *args, **kwargs):
        try:
            made(self, *args, **kwargs)
        except TypeError:
            why = wrong_call(cls, None, signature(cls), args, kwargs)
            if why is None:
                raise
            raise TypeError(why) from None

    cls.__init__ = __init__


def choice(default, *others):
    """Return the field of a parameter that is one of some strings."""
    return field(default=default, metadata={"options": (default, *others)})


def fail(layer, name, expected, kind=ValueError, value=None, options=()):
    """Raise an error: what a parameter, or a part of it, is expected to be, and a suggestion."""
    value = getattr(layer, name) if value is None else value
    more = hint(value, [option for option in options if option is not None])
    raise kind(f"{name} of {type(layer).__name__} is {value!r}; expected {expected}.{more}")


def check_count(layer, name, least=1):
    """Check that a parameter is an integer of at least `least`, and store it as an int."""
    value = getattr(layer, name)
    if not isinstance(value, Integral) or isinstance(value, bool):
        fail(layer, name, f"an int of at least {least}", TypeError)
    if value < least:
        fail(layer, name, f"an int of at least {least}")
    if value > MOST:
        fail(layer, name, f"an int from {least} to {MOST}")
    object.__setattr__(layer, name, int(value))


def check_number(layer, name, low=0.0, high=np.inf):
    """Check that a parameter is a number in [low, high), and store it as a float."""
    value = getattr(layer, name)
    words = f"a number in [{low:g}, {high:g})"
    if not isinstance(value, Real) or isinstance(value, bool):
        fail(layer, name, words, TypeError)
    if not low <= value < high:
        fail(layer, name, words)
    object.__setattr__(layer, name, float(value))


def check_limits(layer, name):
    """Check that a parameter is two numbers, the smaller one first, and store them as floats."""
    limits = getattr(layer, name)
    good = isinstance(limits, (tuple, list)) and len(limits) == 2
    if not good or not all(isinstance(n, Real) and not isinstance(n, bool) for n in limits):
        fail(layer, name, "two numbers, the smaller one first", TypeError)
    if not limits[0] < limits[1] or not np.isfinite(limits).all():
        fail(layer, name, "finite numbers, the smaller one first")
    object.__setattr__(layer, name, tuple(map(float, limits)))


def check_pair(layer, name):
    """Check that a parameter is a positive int or a pair of them, and store it as a pair."""
    value = getattr(layer, name)
    pair = (value, value) if isinstance(value, Integral) else value
    words = "an int of at least 1, or two"
    if not isinstance(pair, (tuple, list)) or not all(isinstance(v, Integral) for v in pair):
        fail(layer, name, words, TypeError)
    if len(pair) != 2 or min(pair) < 1:
        fail(layer, name, words)
    if max(pair) > MOST:
        fail(layer, name, f"an int from 1 to {MOST}, or two")
    object.__setattr__(layer, name, tuple(map(int, pair)))


def check_padding(layer, name):
    """Check a padding, and store it as a string or as ((top, bottom), (left, right))."""
    value = getattr(layer, name)
    if value in ("valid", "same"):
        return
    words = "'valid', 'same', an int, (height, width) or ((top, bottom), (left, right)), at least 0"
    try:
        pair = (value, value) if isinstance(value, Integral) else tuple(value)
        if isinstance(value, (str, bool)):
            raise TypeError
        pair = tuple((v, v) if isinstance(v, Integral) else tuple(v) for v in pair)
        good = [len(p) for p in pair] == [2, 2] and all(
            isinstance(v, Integral) and v >= 0 for p in pair for v in p
        )
    except TypeError:
        good = False
    if not good:
        fail(layer, name, words, options=("valid", "same"))
    object.__setattr__(layer, name, tuple(tuple(map(int, p)) for p in pair))


def check_choice(layer, name, options, value=None):
    """Check that a parameter, or a part of it, is one of some options."""
    value = getattr(layer, name) if value is None else value
    if not isinstance(value, str | None) or value not in options:
        fail(layer, name, f"one of {sorted(map(str, options))}", value=value, options=options)


def check_flag(layer, name):
    """Check that a parameter is true or false."""
    value = getattr(layer, name)
    if not isinstance(value, bool | np.bool_):
        fail(layer, name, "a bool", TypeError)
    object.__setattr__(layer, name, bool(value))


def check_name(layer, name, expected="a str that is not empty, or None"):
    """Check a layer's name, or its reference to another layer's name."""
    value = getattr(layer, name)
    if not isinstance(value, str) or not value:
        fail(layer, name, expected, TypeError)


def check_depth(layer, *parts):
    """Check how deeply the layers in a layer are nested, and remember it."""
    depth = 1 + max((getattr(a, "_depth", 0) for part in parts for a in part), default=0)
    if depth > _DEEPEST:
        raise ValueError(
            f"Layers are nested more than {_DEEPEST} deep in {type(layer).__name__}; expected at "
            "most that: put layers one after the other in a single list."
        )
    object.__setattr__(layer, "_depth", depth)


#: The check of a parameter, by its name or else by its type; it gets the metadata of the field.
_CHECKS = {
    bool: check_flag,
    int: check_count,
    int | None: check_count,
    float: check_number,
    float | None: check_number,
    str: check_choice,
    "kernel_initializer": partial(check_choice, options={None, *INITIALIZERS}),
    "bias_initializer": partial(check_choice, options={None, "zeros", "data_dependent"}),
    "name": check_name,
    "of": partial(check_name, expected="the name of a layer"),
    **dict.fromkeys(("kernel_size", "strides", "dilation_rate", "pool_size"), check_pair),
    "padding": check_padding,
    "limits": check_limits,
}
