"""Estimators, and scikit-learn's objects that they hold, as records that are stored in files.

All attributes are stored: parameters, and what fits have set. They are checked when they are read:
parameters as in `fit`; the others by the type they are documented with; and by each class, in
``_check_loaded``, whether what its predictions rely on fits together.
"""

import inspect
import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils._metadata_requests import METHODS
from sklearn.utils.metadata_routing import MetadataRequest

# Registers what estimators consist of: networks, weights, optimizers.
from ..files import records  # noqa: F401
from ..files.codec import check_types, storable
from .wrapping import thawed

#: What callbacks need during a fit, and all their attributes: they are code, and are not stored.
OF_FITS = "_parent_callback_ctx", "_callback_fit_ctx", "_skl_callbacks_to_teardown"
CALLBACKS = "_skl_callbacks", *OF_FITS
#: What scikit-learn's `set_output` and `set_fit_request` set.
_OUTPUT, _REQUESTS = "_sklearn_output_config", "_metadata_request"


def register(cls):
    """Register a class of estimators of this package."""
    storable(cls, _state, lambda **state: _loaded(cls, state))


def _state(estimator):
    """Return what is stored of an estimator, by name."""
    state = dict(vars(estimator))
    for name in CALLBACKS:
        state.pop(name, None)
    if _REQUESTS in state:
        state[_REQUESTS] = {
            method: dict(getattr(state[_REQUESTS], method).requests)
            for method in METHODS
            if getattr(state[_REQUESTS], method).requests
        }
    return {name: state[name] for name in sorted(state)}


def _loaded(cls, state):
    """Return the estimator that a file describes, checked."""
    estimator = object.__new__(cls)
    parameters = inspect.signature(cls).parameters
    own = {name: one.default for name, one in parameters.items()}
    given = {name: state.pop(name) for name in own if name in state}
    vars(estimator).update(own | given)
    estimator._validate_params()
    _check_output(state.get(_OUTPUT, {}))
    vars(estimator).update({name: state.pop(name) for name in (_OUTPUT,) if name in state})
    if _REQUESTS in state:
        vars(estimator)[_REQUESTS] = _requests(cls, state.pop(_REQUESTS))
    known = _attributes(cls)
    for name, value in state.items():
        if name not in known:
            raise ValueError(f"{cls.__name__} has no attribute {name!r:.100}")
        if not _is_of(value, known[name]):
            raise TypeError(f"{name} is {value!r:.200}; expected {known[name]}")
    vars(estimator).update(state)
    if state:
        estimator._check_loaded()
    return estimator


def _attributes(cls):
    """Return the types of the attributes that fits set, by name."""
    found = {}
    for base in reversed(cls.__mro__):
        declared = vars(base).get("_declared", {}).items()
        found |= {name: one.annotation for name, one in declared if one.fitted}
        found |= vars(base).get("_remembered", {})
    return {name: kind for name, kind in found.items() if not hasattr(cls, name)}


def _is_of(value, kind):
    """Return whether a value is of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return True
    if origin in (Union, types.UnionType):
        return any(_is_of(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if kind is None or kind is type(None):
        return value is None
    if isinstance(value, (bool, np.bool_)):
        return kind is bool
    if kind in (int, float):
        return isinstance(value, {int: Integral, float: Real}[kind])
    if origin in (list, Sequence):
        return isinstance(value, list) and all(_is_of(one, inner[0]) for one in value)
    if origin is tuple and inner[-1] is not ...:
        fits = isinstance(value, tuple) and len(value) == len(inner)
        return fits and all(map(_is_of, value, inner))
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_of(one, inner[0]) for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            _is_of(key, inner[0]) and _is_of(one, inner[1]) for key, one in value.items()
        )
    return isinstance(thawed(value), origin or kind)


def _check_output(config):
    """Check what `set_output` set."""
    good = isinstance(config, dict) and set(config) <= {"transform"}
    if not good or not set(config.values()) <= {None, "default", "pandas", "polars"}:
        raise ValueError(f"{_OUTPUT} is {config!r:.200}; expected the setting of set_output.")


def _requests(cls, given):
    """Return what `set_fit_request` and the like set, checked."""
    made = MetadataRequest(owner=cls.__name__)
    for method, requests in given.items():
        if method not in METHODS:
            raise ValueError(f"{_REQUESTS} has {method!r:.100}; expected one of {METHODS}.")
        for name, alias in requests.items():
            getattr(made, method).add_request(param=name, alias=alias)
    return made


# --- objects of scikit-learn


def _binarizer(y_type_, sparse_input_, classes_):
    kinds = {
        "y_type_": (y_type_, str),
        "sparse_input_": (sparse_input_, bool),
        "classes_": (classes_, np.ndarray),
    }
    check_types("LabelBinarizer", kinds)
    least = {"binary": 1, "multiclass": 2, "multilabel-indicator": 1}
    if classes_.ndim != 1 or len(classes_) < least[y_type_]:
        raise ValueError(f"Its classes are {classes_!r:.200}, for {y_type_}.")
    if y_type_ == "binary" and len(classes_) > 2 or len(np.unique(classes_)) < len(classes_):
        raise ValueError(f"Its classes are {classes_!r:.200}, for {y_type_}.")
    made = LabelBinarizer()
    made.y_type_, made.sparse_input_, made.classes_ = y_type_, sparse_input_, classes_
    return made


def _binarizer_state(binarizer):
    return {name: getattr(binarizer, name) for name in ("y_type_", "sparse_input_", "classes_")}


def _frozen(estimator):
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"A FrozenEstimator holds {estimator!r:.200}; expected an estimator.")
    return FrozenEstimator(estimator)


storable(LabelBinarizer, _binarizer_state, _binarizer)
storable(FrozenEstimator, lambda frozen: {"estimator": frozen.estimator}, _frozen)
