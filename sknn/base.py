"""What the estimators share: training parameters, validation, and commitment.

A fit that fails leaves an estimator as it was.
"""

import inspect
import numbers
import os
import textwrap
import threading
import time
import weakref
from dataclasses import dataclass
from functools import wraps

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from .initializers import INITIALIZERS
from .optimizers import SCHEDULES, SOLVERS

_POSITIVE = Interval(numbers.Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(numbers.Real, 0, None, closed="left")
_FRACTION = Interval(numbers.Real, 0, 1, closed="left")
_COUNT = Interval(numbers.Integral, 1, None, closed="left")


@dataclass(frozen=True)
class ParameterRow:
    """One constructor parameter: its default, what is valid, and its documentation."""

    default: object
    constraints: list
    doc: str


#: What every network takes, whatever its layers. The names and meanings are scikit-learn's where
#: it has them.
TRAINING = {
    "solver": ParameterRow(
        "adam",
        [StrOptions({"lbfgs", *SOLVERS})],
        """solver : {'adam', 'sgd', 'lbfgs', 'adamw', 'nadam', 'rmsprop', 'adagrad', 'adadelta'}, \
default='adam'
        The optimizer. 'lbfgs' uses the whole data in each step and computes in float64; the others
        go through it in minibatches. 'adamw' takes `alpha` as decoupled weight decay; 'rmsprop'
        averages squared gradients with `beta_2`, 'adadelta' both of its averages with `beta_1`
        (and wants a `learning_rate_init` near 1).""",
    ),
    "alpha": ParameterRow(
        1e-4,
        [_NOT_NEGATIVE],
        """alpha : float, default=0.0001
        Strength of the L2 penalty on the weights; divided by the sum of weights of the batch.""",
    ),
    "l1": ParameterRow(
        0.0,
        [_NOT_NEGATIVE],
        """l1 : float, default=0.0
        Strength of the L1 penalty on the weights; divided as `alpha` is.""",
    ),
    "batch_size": ParameterRow(
        "auto",
        [StrOptions({"auto"}), _COUNT],
        """batch_size : int or 'auto', default='auto'
        Samples in a minibatch; 'auto' is ``min(200, n_samples)``.""",
    ),
    "learning_rate": ParameterRow(
        "constant",
        [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES})],
        """learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'one_cycle'}, \
default='constant'
        Schedule of the rate. For ``solver='sgd'``: constant; divided by ``t ** power_t``; or
        divided by 5 each time that training no longer improves. For every solver with minibatches:
        'cosine' falls from `learning_rate_init` to zero by half a cosine; 'one_cycle' first rises
        to it, from a 25th, and falls to a 250,000th, as PyTorch's ``OneCycleLR`` with a constant
        momentum. These two go by the step, over all of `max_iter` epochs: only early stopping
        ends them before, not `tol`; and `partial_fit`, which has no end, does not take them.""",
    ),
    "learning_rate_init": ParameterRow(
        1e-3,
        [_POSITIVE],
        """learning_rate_init : float, default=0.001
        The initial learning rate; with 'cosine' and 'one_cycle', the largest.""",
    ),
    "warmup": ParameterRow(
        None,
        [_FRACTION, None],
        """warmup : float or None, default=None
        The part of all steps in which 'cosine' and 'one_cycle' raise the rate, the former along a
        line. None: 0 for 'cosine', 0.3 for 'one_cycle'.""",
    ),
    "power_t": ParameterRow(
        0.5,
        [_NOT_NEGATIVE],
        """power_t : float, default=0.5
        Exponent of the schedule 'invscaling'.""",
    ),
    "max_iter": ParameterRow(
        200,
        [_COUNT],
        """max_iter : int, default=200
        The largest number of epochs (for 'lbfgs', of iterations).""",
    ),
    "shuffle": ParameterRow(
        True,
        ["boolean"],
        """shuffle : bool, default=True
        Whether to go through the samples in a new order in each epoch.""",
    ),
    "random_state": ParameterRow(
        None,
        ["random_state"],
        """random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the validation split, the order of samples, and dropout. The
        same int gives the same bits, whatever the number of threads.""",
    ),
    "tol": ParameterRow(
        1e-4,
        [_NOT_NEGATIVE],
        """tol : float, default=0.0001
        Training ends when the loss (with early stopping: the validation score) has not improved
        by `tol` for `n_iter_no_change` epochs.""",
    ),
    "verbose": ParameterRow(
        False,
        ["verbose"],
        """verbose : bool, default=False
        Whether to print the loss of each epoch.""",
    ),
    "warm_start": ParameterRow(
        False,
        ["boolean"],
        """warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last fit.""",
    ),
    "momentum": ParameterRow(
        0.9,
        [Interval(numbers.Real, 0, 1, closed="both")],
        """momentum : float, default=0.9
        Momentum of ``solver='sgd'``.""",
    ),
    "nesterovs_momentum": ParameterRow(
        True,
        ["boolean"],
        """nesterovs_momentum : bool, default=True
        Whether that momentum is Nesterov's.""",
    ),
    "early_stopping": ParameterRow(
        False,
        ["boolean"],
        """early_stopping : bool, default=False
        Whether to hold back `validation_fraction` of the data, to end training when its score no
        longer improves, and to keep the best weights.""",
    ),
    "validation_fraction": ParameterRow(
        0.1,
        [_FRACTION],
        """validation_fraction : float, default=0.1
        The part of the data that early stopping holds back.""",
    ),
    "beta_1": ParameterRow(
        0.9,
        [_FRACTION],
        """beta_1 : float, default=0.9
        Decay rate of the solvers' average gradient.""",
    ),
    "beta_2": ParameterRow(
        0.999,
        [_FRACTION],
        """beta_2 : float, default=0.999
        Decay rate of the solvers' average squared gradient.""",
    ),
    "epsilon": ParameterRow(
        1e-8,
        [_POSITIVE],
        """epsilon : float, default=1e-08
        Keeps the solvers from dividing by zero.""",
    ),
    "n_iter_no_change": ParameterRow(
        10,
        [_COUNT, Options(numbers.Real, {np.inf})],
        """n_iter_no_change : int, default=10
        Epochs without improvement after which training ends.""",
    ),
    "max_fun": ParameterRow(
        15000,
        [_COUNT],
        """max_fun : int, default=15000
        The largest number of evaluations by 'lbfgs'.""",
    ),
    "initializer": ParameterRow(
        "auto",
        [StrOptions({"auto", *INITIALIZERS}), list],
        """initializer : str or list of ndarray, default='auto'
        How weights start: 'auto' (as in scikit-learn: uniform within Glorot's bound, biases too),
        'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform',
        'lecun_normal', 'normal' (deviation 0.05), 'small_normal' (0.01), 'uniform' (within 0.05) or
        'zeros'. Or a list of arrays: the values that the first layers begin with, in the order of
        their parameters; the others begin as 'auto' says.""",
    ),
    "clip_value": ParameterRow(
        None,
        [_POSITIVE, None],
        """clip_value : float or None, default=None
        Limit of each element of the gradient, for minibatches.""",
    ),
    "clip_norm": ParameterRow(
        None,
        [_POSITIVE, None],
        """clip_norm : float or None, default=None
        Limit of the norm of the whole gradient, for minibatches.""",
    ),
    "average": ParameterRow(
        False,
        ["boolean", Interval(numbers.Real, 0, 1, closed="neither")],
        """average : bool or float, default=False
        Whether the weights are averages over the steps, for minibatches: of a decay that grows to
        0.999, or to the number given. They predict, are validated after each epoch, and are what
        early stopping keeps; `partial_fit` and `warm_start` go on from the weights as they were
        trained.""",
    ),
    "dtype": ParameterRow(
        None,
        [StrOptions({"float32", "float64"}), None],
        """dtype : {'float32', 'float64'} or None, default=None
        What is computed in; None follows X: float32 for float32, else float64.""",
    ),
    "device": ParameterRow(
        "cpu",
        [StrOptions({"cpu"})],
        """device : {'cpu'}, default='cpu'
        Where to compute.""",
    ),
    "n_jobs": ParameterRow(
        None,
        [_COUNT, Interval(numbers.Integral, None, -1, closed="right"), None],
        """n_jobs : int or None, default=None
        Number of threads; it changes nothing in the result. None: all cores that the process may
        use, one inside a worker of joblib. Negative numbers count from all cores, -1 is all.""",
    ),
}


def takes(parameters, positional=0):
    """Give an estimator its constructor, constraints and documentation from a table.

    Parameters
    ----------
    parameters : dict of str to ParameterRow
        In the order of the signature.
    positional : int
        How many may be given by position.
    """

    def decorate(cls):
        kinds = inspect.Parameter
        signature = inspect.Signature(
            [kinds("self", kinds.POSITIONAL_OR_KEYWORD)]
            + [
                kinds(
                    name,
                    kinds.POSITIONAL_OR_KEYWORD if i < positional else kinds.KEYWORD_ONLY,
                    default=row.default,
                )
                for i, (name, row) in enumerate(parameters.items())
            ]
        )

        def __init__(self, *args, **kwargs):
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{cls.__name__}: {error}") from None
            bound.apply_defaults()
            for name in parameters:
                setattr(self, name, bound.arguments[name])

        __init__.__signature__ = signature
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__
        cls._parameter_constraints = {name: row.constraints for name, row in parameters.items()}
        if cls.__doc__:
            rows = "\n\n    ".join(row.doc for row in parameters.values())
            cls.__doc__ = inspect.cleandoc(cls.__doc__).replace(
                "{parameters}", textwrap.dedent("    " + rows)
            )
        return cls

    return decorate


def all_or_nothing(method):
    """Make a method change the estimator at once, when it has come to its end, or not at all.

    It works on a copy that nobody else sees. Until it is done, the estimator is what it was before,
    for other threads and for callbacks too; only the last of these, at the end of a fit, find it
    changed. If the method or a callback raises, it is what it was. New state is made of new
    objects, so that what the estimator held before is a whole.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        if _PUBLIC in vars(self):  # called by such a method
            return method(self, *args, **kwargs)
        old = dict(vars(self))
        before = {name: _plain(value) for name, value in old.items()}
        worker = _with_state(self, {**before, _PUBLIC: self})
        if method.__name__ == "partial_fit":
            _validate_changes(self, worker)

        def run(public):
            result = method(worker, *args, **kwargs)
            after = vars(worker)
            del after[_PUBLIC]
            end = after.pop(_ENDING, None)
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

        thread = threading.get_ident()
        nested = thread in _fitting
        try:
            _fitting.add(thread)
            # callbacks are set up and torn down with the estimator that others see
            return with_callbacks(run)(self)
        except BaseException:
            if _PUBLIC not in vars(worker):  # it has changed already
                self.__dict__ = old
            raise
        finally:
            if not nested:
                _fitting.discard(thread)

    return wrapper


#: The threads that are fitting something.
_fitting = set()


def give_way():
    """Pause for a moment if another thread fits something, and this one does not.

    To whom Python's lock is only lent for some microseconds may not wake up in time to take it, and
    a fit needs it again and again. Beside threads that do nothing but predict it would wait most of
    the time.
    """
    if _fitting and threading.get_ident() not in _fitting:
        time.sleep(_PAUSE)


#: Seconds in which whoever waits for Python's lock gets it.
_PAUSE = 5e-5


def _after_fork():
    _fitting.intersection_update({threading.get_ident()})  # the others are not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def consistent(method):
    """Make a method see the estimator as it is when the call begins.

    So a prediction is that of one fit, whatever another thread or a callback does meanwhile.
    """

    @wraps(method)
    def wrapper(self, *args, **kwargs):
        state = vars(self)
        state = vars(state.get(_PUBLIC, self))  # in a callback: what the last fit has left
        return method(_with_state(self, dict(state)), *args, **kwargs)

    return wrapper


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
_PUBLIC = "_public"
#: Where it holds what remains to be called when the estimator has changed.
_ENDING = "_ending"


def _with_state(estimator, state):
    """Return an estimator of the same class with a state of its own."""
    other = object.__new__(type(estimator))
    other.__dict__ = state
    return other


def _plain(value):
    """Return a NumPy number as Python's, which does not overflow: ``int8(100) * 2`` is -56."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return float(value) if value.dtype.kind == "f" else value.item()
    return value


def count_threads(n_jobs):
    """Return the number of threads that `n_jobs` means here and now."""
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or n_jobs == 0):
        raise ValueError(f"n_jobs is {n_jobs!r}; expected an int that is not 0, or None.")
    if n_jobs is None:
        # In a worker, joblib's own processes or threads are the parallelism.
        nested = getattr(get_active_backend()[0], "nesting_level", 0) or 0
        return 1 if nested > 0 else joblib.cpu_count()
    return n_jobs if n_jobs > 0 else max(1, joblib.cpu_count() + 1 + n_jobs)


def given_dtype(dtype):
    """Return what the parameter `dtype` names; predictions do not validate parameters."""
    if not isinstance(dtype, str) or dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; expected 'float32', 'float64' or None.")
    return np.dtype(dtype)


def computing_dtype(dtype, *arrays):
    """Return the scalar type to compute in: `dtype`, or what X and the weights there are call for.

    float32 stays; every other type of number becomes float64.
    """
    if dtype is not None:
        return given_dtype(dtype)
    return np.dtype(np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64)


def check_layer(w, b, inputs, w_name, b_name, i=0):
    """Check the arrays of a dense layer's weights and biases: they may have been set by hand.

    `w_name` and `b_name` may have a place for `i`, the layer's number.
    """
    if w.ndim != 2 or w.shape[0] != inputs or w.dtype.kind not in "fiu":
        raise ValueError(
            f"{w_name.format(i)} is of the type {w.dtype} and the shape {w.shape}; expected "
            f"{inputs} rows of numbers."
        )
    if b.shape != w.shape[1:] or b.dtype.kind not in "fiu":
        raise ValueError(
            f"{b_name.format(i)} is of the type {b.dtype} and the shape {b.shape}; expected "
            f"{w.shape[1]} numbers."
        )


def check_weights(sample_weight, X, name="sample_weight"):
    """Return sample weights as a float64 array, or None; they must not be negative or all zero."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.any(weights):
        raise ValueError(f"{name} is zero for every sample; expected some positive weight.")
    return np.require(weights, np.float64, "CA")


def weigh_samples(class_weight, sample_weight, X, y, classes=None):
    """Return the weights of samples, by themselves and by their classes, or None.

    `classes` are all classes of a partial fit, which may miss some of those that have a weight.
    """
    weights = check_weights(sample_weight, X)
    if class_weight is None:
        return weights
    if isinstance(class_weight, dict):
        if not all(np.isfinite(weight) and weight >= 0 for weight in class_weight.values()):
            raise ValueError(
                f"class_weight has negative values, NaN or infinity: {class_weight}; expected "
                "weights of at least 0."
            )
        if classes is not None:
            unknown = [label for label in class_weight if label not in classes]
            if unknown:
                raise ValueError(f"The classes, {unknown}, are not in {classes}")
            present = set(np.unique(y).tolist())
            class_weight = {k: v for k, v in class_weight.items() if k in present} or None
    elif classes is not None and class_weight == "balanced":
        raise ValueError(
            "class_weight='balanced' needs all the data at once, which partial_fit never has; "
            "compute the weights and give them as a dict."
        )
    by_class = compute_sample_weight(class_weight, y)
    return check_weights(by_class if weights is None else weights * by_class, X, "class_weight")


class NeuralEstimator(CallbackSupportMixin, BaseEstimator):
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


class FitCallbacks:
    """scikit-learn's callbacks around a fit and its epochs; nothing where there are none."""

    def __init__(self, estimator, X, y, epochs):
        self._fitting, self._data = estimator, {"X": X, "y": y}
        # What callbacks see is what everybody sees: the last fit, until this one is done.
        self._estimator = vars(estimator).get(_PUBLIC, estimator)
        self._active = bool(getattr(estimator, "_skl_callbacks", ()))
        if self._active or hasattr(estimator, "_parent_callback_ctx"):
            self._context = self._estimator._init_callback_context(max_subtasks=epochs)
        if self._active:
            self._context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_epoch(self, commit):
        """Begin an epoch; return the function that ends it and says whether to stop.

        ``commit(estimator)`` gives an estimator what it would hold if the fit ended here, for
        callbacks that want a fitted one.
        """
        if not self._active:
            return lambda: False
        context = self._context.subcontext(task_name="epoch")
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return lambda: context.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=lambda: self._state_after(commit),
            **self._data,
        )

    def _state_after(self, commit):
        """Return the whole state of the estimator after a commit, as an attribute to be set."""
        own = {_PUBLIC, "_parent_callback_ctx"}
        state = {name: value for name, value in vars(self._fitting).items() if name not in own}
        other = _with_state(self._fitting, state)
        commit(other)
        return {"__dict__": vars(other)}

    def end(self):
        """End the fit, as soon as the estimator has changed."""
        if self._active:
            vars(self._fitting)[_ENDING] = self._end

    def _end(self):
        self._context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=dict, **self._data
        )
