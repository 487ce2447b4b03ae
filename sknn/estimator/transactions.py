"""Fits change an estimator atomically; predictions see one consistent state of it."""

import inspect
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks

from ..engine import interrupts
from ..engine.threads import fitting
from ..hints import wrong_call
from .base import Estimator

#: A method; type checkers see that decorators keep its signature.
Method = TypeVar("Method", bound=Callable[..., Any])


def all_or_nothing(method: Method) -> Method:
    """Make a method atomic: it changes the estimator only when it succeeds, all at once.

    The method works on a private copy. Until it returns, other threads and callbacks see the old
    state of the estimator; only the callbacks at the end of a fit see the new one. If the method or
    a callback raises, the old state remains. New state consists of new objects, so the old state
    stays intact.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        if PUBLIC in vars(self):  # called by another atomic method
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
            end, prepare = after.pop(ENDING, None), after.pop(LATER, None)
            state = dict(vars(self))
            for name in before.keys() - after.keys():
                state.pop(name, None)
            for name, value in after.items():
                if name not in before or before[name] is not value:
                    state[name] = value
            self.__dict__ = state  # atomic: others see the old state or the new one
            if end is not None:
                end()
            return (self if result is worker else result), prepare

        with fitting():
            try:
                # callbacks are set up and torn down with the public estimator
                result, prepare = with_callbacks(run)(self)
            except BaseException as error:
                if PUBLIC not in vars(worker):  # the new state is already visible
                    self.__dict__ = old
                if isinstance(error, TypeError):
                    _check_call(self, method, args, kwargs)
                raise
            if prepare is not None:
                _prepare(prepare)
        return result

    return wrapper


def _prepare(prepare):
    """Do what later calls would otherwise wait for. Whatever comes of it, the fit is done."""
    try:
        prepare()
    except KeyboardInterrupt as interrupt:
        interrupts.take(interrupt)
    except Exception:  # the call that needs it will do it itself, or say what is wrong
        return


def consistent(method: Method) -> Method:
    """Make a method see the state that the estimator has when the call starts.

    A prediction then uses one fit, whatever other threads or callbacks do in the meantime.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        state = vars(self)
        state = vars(state.get(PUBLIC, self))  # in a callback: the result of the last fit
        try:
            return method(with_state(self, dict(state)), *args, **kwargs)
        except TypeError:
            _check_call(self, method, args, kwargs)
            raise

    return wrapper


def _check_call(estimator, method, args, kwargs):
    """Raise a TypeError that names the estimator's class if the arguments do not fit."""
    signature = inspect.signature(method)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])
    why = wrong_call(type(estimator), method, own, args, kwargs)
    if why is not None:
        raise TypeError(why) from None


#: The last parameter in the docstring of every fit that can be resumed.
_RESUMES = """
resume_from : str or path-like, default=None
    A checkpoint (see :class:`sknn.callbacks.Checkpoint`) of a fit of the same data with the same
    parameters, to go on with, to the same bits as if that fit had not been stopped; a fit that was
    complete is returned. `max_iter`, `n_jobs`, `device` and `verbose` may differ. None: begin."""
#: Final sections of the docstring of every fit.
_OUTCOME = """

Returns
-------
self : estimator
    The fitted estimator.

Raises
------
ValueError
    If a parameter or the data are invalid, or if weights are not finite after training. The
    estimator is then unchanged.
"""


def fits(method: Method) -> Method:
    """Make a method a fit: it validates parameters, is atomic, and is documented as such."""
    made = all_or_nothing(_fit_context(prefer_skip_nested_validation=True)(method))
    if made.__doc__:  # None with python -OO
        more = _RESUMES if "resume_from" in inspect.signature(method).parameters else ""
        made.__doc__ = inspect.cleandoc(made.__doc__) + more + _OUTCOME
    return made


#: Parameter values that the last partial fit validated, by estimator.
_valid = weakref.WeakKeyDictionary()


def _validate_changes(estimator, worker):
    """Validate the parameters if any of them is a different object than in the last partial fit.

    scikit-learn skips validation in partial fits of a fitted estimator, to save time.
    """
    values = [getattr(estimator, name) for name in type(estimator)._parameter_constraints]
    before = _valid.get(estimator, ())
    if len(before) != len(values) or any(a is not b for a, b in zip(values, before)):
        worker._validate_params()
        _valid[estimator] = values


#: Attribute of a fit's private copy that holds the public estimator.
PUBLIC = "_public"
#: Attribute that holds the function to call once the estimator has changed.
ENDING = "_ending"
#: Attribute that holds a function that may prepare later calls, once the fit is done.
LATER = "_later"


def with_state(estimator, state):
    """Return an estimator of the same class with the given state."""
    other = object.__new__(type(estimator))
    other.__dict__ = state
    return other


def _plain(value):
    """Convert a NumPy scalar to a Python number, which cannot overflow (int8(100) * 2 is -56)."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return float(value) if value.dtype.kind == "f" else value.item()
    return value


class NeuralEstimator(CallbackSupportMixin, Estimator):
    """Base of all estimators: callbacks, and pickles that hold host arrays only."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __setstate__(self, state):
        super().__setstate__(state)
        # Parameters added since the pickle was written get their defaults.
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name not in vars(self):
                setattr(self, name, parameter.default)
