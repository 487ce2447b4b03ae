"""Fits change an estimator at once or not at all; predictions see one state of it."""

import inspect
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks

from ..engine.threads import fitting
from ..hints import wrong_call
from .base import Estimator

#: A method: tools see that decorators keep its signature.
Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(method: Method) -> Method:
    """Make a method change the estimator at once, when it has come to its end, or not at all.

    It works on a copy that nobody else sees. Until it is done, the estimator is what it was before,
    for other threads and for callbacks too; only the last of these, at the end of a fit, find it
    changed. If the method or a callback raises, it is what it was. New state is made of new
    objects, so that what the estimator held before is a whole.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        if PUBLIC in vars(self):  # called by such a method
            return method(self, *args, **kwargs)
        old = dict(vars(self))
        before = {name: _plain(value) for name, value in old.items()}
        worker = with_state(self, {**before, PUBLIC: self})
        if method.__name__ == "partial_fit":
            _validate_changes(self, worker)

        def run(public):
            result = method(worker, *args, **kwargs)
            after = vars(worker)
            del after[PUBLIC]
            end = after.pop(ENDING, None)
            state = dict(vars(self))
            for name in before.keys() - after.keys():
                state.pop(name, None)
            for name, value in after.items():
                if name not in before or before[name] is not value:
                    state[name] = value
            self.__dict__ = state  # in one go: others see the old state or the new one
            if end is not None:
                end()
            return self if result is worker else result

        try:
            with fitting():
                # callbacks are set up and torn down with the estimator that others see
                return with_callbacks(run)(self)
        except BaseException as error:
            if PUBLIC not in vars(worker):  # it has changed already
                self.__dict__ = old
            if isinstance(error, TypeError):
                _check_call(self, method, args, kwargs)
            raise

    return wrapper


def consistent(method: Method) -> Method:
    """Make a method see the estimator as it is when the call begins.

    So a prediction is that of one fit, whatever another thread or a callback does meanwhile.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        state = vars(self)
        state = vars(state.get(PUBLIC, self))  # in a callback: what the last fit has left
        try:
            return method(with_state(self, dict(state)), *args, **kwargs)
        except TypeError:
            _check_call(self, method, args, kwargs)
            raise

    return wrapper


def _check_call(estimator, method, args, kwargs):
    """Raise TypeError, in words of the estimator's class, if a method cannot be called so."""
    signature = inspect.signature(method)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])
    why = wrong_call(type(estimator), method, own, args, kwargs)
    if why is not None:
        raise TypeError(why) from None


#: What the docstring of every fit ends with.
_OUTCOME = """

Returns
-------
self : estimator
    The fitted estimator.

Raises
------
ValueError
    If a parameter or the data are not valid, or if weights are no longer finite after training;
    the estimator is then as it was before.
"""


def fits(method: Method) -> Method:
    """Make a method a fit: of valid parameters, all or nothing, and documented as such."""
    made = all_or_nothing(_fit_context(prefer_skip_nested_validation=True)(method))
    if made.__doc__:  # with -OO there is none
        made.__doc__ = inspect.cleandoc(made.__doc__) + _OUTCOME
    return made


#: The parameters that a partial fit has last found valid, by estimator.
_valid = weakref.WeakKeyDictionary()


def _validate_changes(estimator, worker):
    """Validate the parameters if any of them is another object than at the last partial fit.

    scikit-learn leaves that out once an estimator is fitted, for the time that it takes.
    """
    values = [getattr(estimator, name) for name in type(estimator)._parameter_constraints]
    before = _valid.get(estimator, ())
    if len(before) != len(values) or any(a is not b for a, b in zip(values, before)):
        worker._validate_params()
        _valid[estimator] = values


#: Where the copy that a fit works on holds the estimator that others see.
PUBLIC = "_public"
#: Where it holds what remains to be called when the estimator has changed.
ENDING = "_ending"


def with_state(estimator, state):
    """Return an estimator of the same class with a state of its own."""
    other = object.__new__(type(estimator))
    other.__dict__ = state
    return other


def _plain(value):
    """Return a NumPy number as Python's, which does not overflow: ``int8(100) * 2`` is -56."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return float(value) if value.dtype.kind == "f" else value.item()
    return value


class NeuralEstimator(CallbackSupportMixin, Estimator):
    """The base of all estimators: callbacks, and pickles that hold host arrays only."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __setstate__(self, state):
        super().__setstate__(state)
        # What came after the version that has pickled it has its default.
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name not in vars(self):
                setattr(self, name, parameter.default)
