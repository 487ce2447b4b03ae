"""Parameters and fitted attributes as annotated declarations in groups.

A group is a class, and an estimator inherits from its groups. From their declarations come its
constructor, what is valid, and the sections of its docstring; tools that do not run the code see
the same constructor by way of ``typing.dataclass_transform``.
"""

import inspect
import numbers
import re
import textwrap
import types
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Union, dataclass_transform, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from ..hints import wrong_call

POSITIVE = Interval(numbers.Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(numbers.Real, 0, None, closed="left")
FRACTION = Interval(numbers.Real, 0, 1, closed="left")
COUNT = Interval(numbers.Integral, 1, None, closed="left")
THREADS = [COUNT, Interval(numbers.Integral, None, -1, closed="right")]

#: An array, as annotations say it.
Array = NDArray[Any]

_NONE = type(None)
_VALID = {bool: "boolean", int: numbers.Integral, float: numbers.Real, _NONE: None}
_NAMES = {_NONE: "None", np.ndarray: "ndarray", np.random.RandomState: "RandomState instance"}


@dataclass(frozen=True)
class _Declared:
    """A parameter, or a fitted attribute, which has no default; None is for what is inherited."""

    doc: str | None
    kind: str | None
    default: Any = inspect.Parameter.empty
    valid: list | None = None
    kw_only: bool = True
    after: str | None = None
    name: str = ""
    annotation: Any = None

    def over(self, inherited):
        """Return what holds where this declaration overrides another one."""
        own = {name: getattr(self, name) for name in ("doc", "kind", "valid", "after")}
        return replace(self, **{k: getattr(inherited, k) for k, v in own.items() if v is None})

    @property
    def fitted(self):
        return self.default is inspect.Parameter.empty

    @cached_property
    def constraints(self):
        """What is valid: `valid`, and what follows from the type; numbers only without `valid`."""
        parts = _parts(self.annotation)
        if np.random.RandomState in parts:
            return ["random_state"]
        literals = [part for part in parts if get_origin(part) is Literal]
        options = {option for part in literals for option in get_args(part)}
        found = list(self.valid or ())
        if options and not any(isinstance(some, StrOptions) for some in found):
            found.insert(0, StrOptions(options))
        for part in parts:
            if part is _NONE or self.valid is None and part not in literals:
                found.append(_VALID.get(part, get_origin(part) or part))
        return found

    @cached_property
    def text(self):
        """Its entry of a docstring."""
        default = "" if self.fitted else f", default={self.default!r}"
        kind = self.kind or _type_text(self.annotation)
        text = textwrap.indent(inspect.cleandoc(self.doc), "    ")
        return f"{self.name} : {kind}{default}\n{text}"


def _parts(annotation):
    """Return the members of a union."""
    union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if union else (annotation,)


def _type_text(annotation):
    """Return a type in numpydoc's words."""
    names, parts = [], _parts(annotation)
    for part in parts:
        origin = get_origin(part) or part
        if origin is Literal:
            options = ", ".join(map(repr, get_args(part)))
            alone = len(parts) > 1 and len(get_args(part)) == 1
            names.append(options if alone else f"{{{options}}}")
        else:
            inside = f" of {_type_text(*get_args(part))}" if origin is list else ""
            names.append(_NAMES.get(origin, origin.__name__) + inside)
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def param(
    doc: str | None = None,
    *,
    default: Any,
    valid: list | None = None,
    kind: str | None = None,
    kw_only: bool = True,
    after: str | None = None,
) -> Any:
    """Declare a parameter.

    One that overrides another keeps its place, and has its `doc`, `valid`, `kind` and `after` where
    they are not given; `kw_only` is not inherited.

    Parameters
    ----------
    doc : str
        What docstrings say of it.
    default : object
        Its default.
    valid : list
        Constraints as scikit-learn has them. Those of a ``Literal`` and of None follow from the
        annotation; without this, all of them do.
    kind : str
        What docstrings call its type; else that follows from the annotation.
    kw_only : bool
        Whether it cannot be given by position.
    after : str
        The parameter that it follows in signatures, where that is not the one before it.
    """
    return _Declared(doc, kind, default, valid, kw_only, after)


def fitted(doc: str | None = None, *, kind: str | None = None, init: Literal[False] = False) -> Any:
    """Declare an attribute that a fit leaves: what docstrings say of it, and call its type."""
    return _Declared(doc, kind)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(param, fitted))
class Parameters:
    """The base of groups of parameters and fitted attributes.

    They come in the order of dataclasses: those of the last base first. What overrides another
    declaration stands before it among the bases, or in a class of its own.
    """

    def __init_subclass__(cls, **more: Any):
        super().__init_subclass__(**more)
        hints = inspect.get_annotations(cls)
        own = {k: v for k, v in vars(cls).items() if isinstance(v, _Declared)}
        for name in own:
            delattr(cls, name)  # no attribute of the class, or estimators would look fitted
        cls._declared = {k: replace(v, name=k, annotation=hints[k]) for k, v in own.items()}
        declared = {}
        for base in reversed(cls.__mro__):
            for name, one in vars(base).get("_declared", {}).items():
                declared[name] = one.over(declared[name]) if name in declared else one
        parameters = _in_order({k: one for k, one in declared.items() if not one.fitted})
        inherited = cls.__init__
        if getattr(inherited, "is_made", inherited is object.__init__):  # else it is the user's
            for one in parameters:
                if one.name in vars(cls):
                    raise TypeError(
                        f"{cls.__name__}.{one.name} is {vars(cls)[one.name]!r}; for another "
                        f"default, expected a type and param(default=...)."
                    )
            cls._parameter_constraints = {one.name: one.constraints for one in parameters}
            cls.__init__ = _constructor(cls, parameters)
        attributes = [one for one in declared.values() if one.fitted]
        cls.__doc__ = _documented(cls.__doc__, Parameters=parameters, Attributes=attributes)


def _in_order(parameters):
    """Return parameters, given by name, as signatures have them."""
    followers = {}
    for one in parameters.values():
        followers.setdefault(one.after if one.after in parameters else None, []).append(one)

    def after(name):
        for one in followers.get(name, ()):
            yield one
            yield from after(one.name)

    return sorted(after(None), key=lambda one: one.kw_only)


def _constructor(cls, parameters):
    """Return the constructor of a class."""
    kinds = inspect.Parameter
    signature = inspect.Signature([
        kinds("self", kinds.POSITIONAL_OR_KEYWORD),
        *(
            kinds(
                one.name,
                kinds.KEYWORD_ONLY if one.kw_only else kinds.POSITIONAL_OR_KEYWORD,
                default=one.default,
            )
            for one in parameters
        ),
    ])  # fmt: skip

    def __init__(self, *args, **kwargs):
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            raise TypeError(wrong_call(cls, None, inspect.signature(cls), args, kwargs)) from None
        bound.apply_defaults()
        for one in parameters:
            setattr(self, one.name, bound.arguments[one.name])

    __init__.__signature__ = signature
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.is_made = True
    return __init__


def _documented(text, **sections):
    """Return a docstring with sections of declarations before its references or examples."""
    clean = inspect.cleandoc(text or "")
    found = re.search(r"^(References|Examples)\n---", clean, re.MULTILINE)
    if not found:
        return text
    made = [
        "\n".join([title, "-" * len(title), *(one.text for one in rows)])
        for title, rows in sections.items()
    ]
    return "\n\n".join([clean[: found.start()].rstrip(), *made, clean[found.start() :]])
