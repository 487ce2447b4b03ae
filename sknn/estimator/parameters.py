"""The parameters that all networks share, and how a table of them becomes a constructor."""

import inspect
import numbers
import textwrap
from dataclasses import dataclass

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..engine.optimizers import SCHEDULES, SOLVERS
from ..layers.initializers import INITIALIZERS

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
