"""Parameters and fitted attributes as annotated declarations in groups.

A group is a class, and an estimator inherits from its groups. Its constructor, parameter
constraints and docstring sections are generated from their declarations; static tools see the same
constructor through ``typing.dataclass_transform``.
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

#: Annotation of an array.
Array = NDArray[Any]

_NONE = type(None)
_VALID = {bool: "boolean", int: numbers.Integral, float: numbers.Real, _NONE: None}
_NAMES = {_NONE: "None", np.ndarray: "ndarray", np.random.RandomState: "RandomState instance"}


@dataclass(frozen=True)
class _Declared:
    """A parameter, or a fitted attribute (without default); None means inherited."""

    doc: str | None
    kind: str | None
    default: Any = inspect.Parameter.empty
    valid: list | None = None
    kw_only: bool = True
    after: str | None = None
    name: str = ""
    annotation: Any = None

    def over(self, inherited):
        """Return this declaration, completed from the one that it overrides."""
        own = {name: getattr(self, name) for name in ("doc", "kind", "valid", "after")}
        return replace(self, **{k: getattr(inherited, k) for k, v in own.items() if v is None})

    @property
    def fitted(self):
        return self.default is inspect.Parameter.empty

    @cached_property
    def constraints(self):
        """Constraints: `valid`, and those implied by the type (numbers: only without `valid`)."""
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
        """Its entry in the docstring."""
        default = "" if self.fitted else f", default={self.default!r}"
        kind = self.kind or _type_text(self.annotation)
        text = textwrap.indent(inspect.cleandoc(self.doc), "    ")
        return f"{self.name} : {kind}{default}\n{text}"


def _parts(annotation):
    """Return the members of a union."""
    union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if union else (annotation,)


def _type_text(annotation):
    """Return a type in numpydoc's notation."""
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

    A parameter that overrides another keeps its position and inherits `doc`, `valid`, `kind` and
    `after` if they are not given; `kw_only` is not inherited.

    Parameters
    ----------
    doc : str
        Description for the docstring.
    default : object
        Default value.
    valid : list
        Constraints as in scikit-learn. Those for a ``Literal`` and None follow from the
        annotation; if `valid` is not given, all of them do.
    kind : str
        Type shown in the docstring; by default, derived from the annotation.
    kw_only : bool
        Whether it is keyword-only.
    after : str
        The parameter that it follows in the signature, if not the one declared before it.
    """
    return _Declared(doc, kind, default, valid, kw_only, after)


def fitted(doc: str | None = None, *, kind: str | None = None, init: Literal[False] = False) -> Any:
    """Declare a fitted attribute, with its description and type for the docstring."""
    return _Declared(doc, kind)


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(param, fitted))
class Parameters:
    """Base of groups of parameters and fitted attributes.

    They are ordered as in dataclasses: those of the last base come first. An overriding declaration
    must be in an earlier base, or in the class itself.
    """

    def __init_subclass__(cls, **more: Any):
        super().__init_subclass__(**more)
        hints = inspect.get_annotations(cls)
        own = {k: v for k, v in vars(cls).items() if isinstance(v, _Declared)}
        for name in own:
            delattr(cls, name)  # as class attributes they would make estimators look fitted
        cls._declared = {k: replace(v, name=k, annotation=hints[k]) for k, v in own.items()}
        declared = {}
        for base in reversed(cls.__mro__):
            for name, one in vars(base).get("_declared", {}).items():
                declared[name] = one.over(declared[name]) if name in declared else one
        parameters = _in_order({k: one for k, one in declared.items() if not one.fitted})
        inherited = cls.__init__
        if getattr(inherited, "is_made", inherited is object.__init__):  # else the user wrote it
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
    """Return parameters, given by name, in the order of the signature."""
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

    defaults = {one.name: one.default for one in parameters}

    def __init__(self, *args, **kwargs):
        if not args and kwargs.keys() <= defaults.keys():  # as usual, and much faster
            for name, default in defaults.items():
                setattr(self, name, kwargs.get(name, default))
            return
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
    """Insert the sections of declarations before a docstring's References or Examples."""
    clean = inspect.cleandoc(text or "")
    found = re.search(r"^(References|Examples)\n---", clean, re.MULTILINE)
    if not found:
        return text
    made = [
        "\n".join([title, "-" * len(title), *(one.text for one in rows)])
        for title, rows in sections.items()
    ]
    return "\n\n".join([clean[: found.start()].rstrip(), *made, clean[found.start() :]])
