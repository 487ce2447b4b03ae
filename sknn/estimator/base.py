"""Base of all estimators: scikit-learn's parameters, with hints in error messages."""

import inspect
import re
from functools import cache

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError, StrOptions, make_constraint

from ..hints import hint, name_hint
from .parameters import Parameters
from .records import register


class Estimator(BaseEstimator):
    """scikit-learn's base estimator, with "Did you mean ...?" in errors about parameters."""

    #: Types of the attributes that fits set besides the documented ones, by name.
    _remembered = {}

    def __init_subclass__(cls, **more):
        super().__init_subclass__(**more)
        # of this package only: a file runs no other code
        if issubclass(cls, Parameters) and cls.__module__.startswith("sknn."):
            register(cls)

    def set_params(self, **params):
        try:
            return super().set_params(**params)
        except ValueError as error:
            valid = self.get_params(deep=False)
            wrong = [name for name in params if name.partition("__")[0] not in valid]
            more = name_hint(wrong[0].partition("__")[0], type(self)) if wrong else ""
            if not more:
                raise
            raise ValueError(f"{error}{more}") from None

    set_params.__doc__ = BaseEstimator.set_params.__doc__

    @classmethod
    def _get_param_names(cls):
        return list(_names(cls))

    def _validate_params(self):
        # a default is known to be valid, and most values are: scikit-learn looks at all of them
        unsure = (
            (getattr(self, name, None), constraints)
            for name, default, constraints in _valid(type(self))
            if getattr(self, name, None) is not default
        )
        if all(_is_valid(*one) for one in unsure):
            return
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{self._hint(str(error))}") from None

    def _check_loaded(self):
        """Raise an exception if the fitted attributes, read from a file, do not fit each other.

        Every attribute has its type. Each class checks what its predictions rely on.
        """
        names = getattr(self, "feature_names_in_", None)
        if hasattr(self, "n_features_in_"):
            agree("n_features_in_", self.n_features_in_ >= 1, True)
        if names is not None:
            agree("feature_names_in_", names.shape, (self.n_features_in_,))
            agree("feature_names_in_", {type(name) for name in names.tolist()}, {str})

    def _hint(self, error):
        """Return a suggestion, as a sentence with a leading space, or ''."""
        found = re.match(r"The '(\w+)' parameter of", error)
        if not found:
            return ""
        name, valid = found[1], self._parameter_constraints
        value = getattr(self, name)
        for options in _made(valid[name], StrOptions):
            more = options.hint(value) if hasattr(options, "hint") else hint(value, options.options)
            if more:
                return more
        # the value may have been meant for another parameter
        parameters = inspect.signature(type(self)).parameters
        places = [k for k, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
        later = places[places.index(name) + 1 :] if name in places else []
        if places[:1] == [name] and "hidden_layer_sizes" not in places:  # it is first elsewhere
            later.append("hidden_layer_sizes")
        for other in (f"{name}_init", name.removesuffix("_init"), *later):
            if any(one.is_satisfied_by(value) for one in _made(valid.get(other, ()))):
                more = f" Did you mean {other}={value!r}?"
                if other in later:
                    more += f" As a positional argument, {name} comes first"
                    more += ", as in scikit-learn." if name == "loss" else "."
                return more
        return ""


def agree(what, found, expected):
    """Raise ValueError if two fitted attributes that belong together do not fit."""
    if found != expected:
        raise ValueError(f"{what} gives {found!r:.200}; the rest of the model needs {expected!r}.")


@cache
def _names(cls):
    """Return the names of a class's parameters; scikit-learn looks them up in each call."""
    return super(Estimator, cls)._get_param_names()


@cache
def _valid(cls):
    """Return the names of a class's parameters, with their defaults if valid, and constraints."""
    found, signature = [], inspect.signature(cls).parameters
    for name, constraints in cls._parameter_constraints.items():
        if constraints == "no_validation" or name not in signature:
            continue
        default, made = signature[name].default, _made(constraints)
        found.append((name, default if _is_valid(default, made) else _valid, made))
    return found


def _is_valid(value, constraints):
    return any(one.is_satisfied_by(value) for one in constraints)


def _made(constraints, kind=object):
    """Return the constraints of one type, as scikit-learn's objects."""
    made = map(make_constraint, constraints)
    return [one for one in made if isinstance(one, kind)]
