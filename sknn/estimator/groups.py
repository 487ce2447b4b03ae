"""The groups of parameters that networks share, and of what their fits leave."""

import numbers
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..engine.devices import NAMES, is_name, nearest
from ..layers import Activation, Layer
from .parameters import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    THREADS,
    Array,
    Parameters,
    fitted,
    param,
)
from .weight_files import is_file

if TYPE_CHECKING:
    import pandas as pd

#: What can be an activation of hidden layers, by its name.
HiddenActivation = Literal[
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "exp"
]
#: What can be computed in, by its name.
Scalar = Literal["float32", "float64"]
OutputActivation = Literal[
    "auto", "identity", "logistic", "softmax", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu",
    "softplus", "exp",
]  # fmt: skip
Initializer = Literal[
    "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "normal", "small_normal", "uniform", "zeros",
]  # fmt: skip
ClassificationLosses = Literal["log_loss", "squared_error"]
RegressionLosses = Literal["squared_error", "absolute_error", "huber", "poisson", "quantile"]
_REGRESSION = """'squared_error' (half of it), 'poisson' (half the deviance), 'absolute_error',
    'huber' or 'quantile'"""

_SOLVERS = """'adamw' takes `alpha` as decoupled weight decay; 'rmsprop' averages squared
    gradients with `beta_2`, 'adadelta' both of its averages with `beta_1` (and wants a
    `learning_rate_init` near 1)"""
_INITIALIZERS = """'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform',
    'lecun_normal', 'normal' (deviation 0.05), 'small_normal' (0.01), 'uniform' (within 0.05) or
    'zeros'. Or the path of a safetensors file, as :meth:`save_weights` writes them: layers of which
    it holds all tensors, by their names and shapes, begin with these (:meth:`summary` says which).
    Or a list of arrays: the values that the first layers begin with, in the order of their
    parameters. All other layers begin as 'auto' says"""


class _DeviceNames(StrOptions):
    """The names of devices: the last of those that are said stands for many."""

    def __init__(self):
        super().__init__(set(NAMES))

    def is_satisfied_by(self, val):
        return is_name(val)

    def hint(self, val):
        """Return what may have been meant, as a sentence with a space before it, or ''."""
        meant = nearest(val)
        return "" if meant is None else f" Did you mean {meant!r}?"


class _Initializers(StrOptions):
    """The names of initializers, and the paths of files of weights."""

    def __init__(self):
        super().__init__(set(get_args(Initializer)))

    def is_satisfied_by(self, val):
        return is_file(val) or super().is_satisfied_by(val)

    def __str__(self):
        return f"{super().__str__()} or the path of a .safetensors file"


#: What is valid as the parameter `initializer`.
INITIALIZERS = [_Initializers(), list]


# --- training. The names and meanings are scikit-learn's where it has them.


class AnySolver(Parameters):
    """The solvers in minibatches, and L-BFGS."""

    solver: Literal[
        "adam", "sgd", "lbfgs", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"
    ] = param(
        f"""The optimizer. 'lbfgs' uses the whole data in each step and computes in float64; the
    others go through it in minibatches.
    {_SOLVERS}.""",
        default="adam",
    )
    max_fun: int = param(
        "The largest number of evaluations by 'lbfgs'.",
        default=15000, valid=[COUNT], after="n_iter_no_change",
    )


class StepSolver(Parameters):
    """The solvers in minibatches."""

    solver: Literal["adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"] = param(
        f"The optimizer. {_SOLVERS}.", default="adam"
    )


class Descent(Parameters):
    """How every network is trained, whatever its layers; and what training leaves."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights; divided by the sum of weights of the batch.""",
        default=1e-4, valid=[NOT_NEGATIVE],
    )
    l1: float = param(
        "Strength of the L1 penalty on the weights; divided as `alpha` is.",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    learning_rate: Literal[
        "constant", "invscaling", "adaptive", "cosine", "one_cycle", "plateau"
    ] = param(
        """
        Schedule of the rate. For ``solver='sgd'``: constant; divided by ``t ** power_t``; or
        divided by 5 each time that training no longer improves. For every solver with minibatches:
        'cosine' falls from `learning_rate_init` to zero by half a cosine; 'one_cycle' first rises
        to it, from a 25th, and falls to a 250,000th, as PyTorch's ``OneCycleLR`` with a constant
        momentum. These two go by the step, over all of `max_iter` epochs: only early stopping
        ends them before, not `tol`; and `partial_fit`, which has no end, does not take them.
        'plateau' multiplies the rate by `plateau_factor` after each `plateau_patience` epochs in a
        row without an improvement by `tol`, as PyTorch's ``ReduceLROnPlateau``: of the validation
        score with early stopping, else of the loss of validation data, if there are any, else of
        the training loss; for `partial_fit`, a call is an epoch. Training ends, as ever, after
        `n_iter_no_change` epochs: give it more than `plateau_patience`.""",
        default="constant",
    )
    learning_rate_init: float = param(
        "The initial learning rate; with 'cosine' and 'one_cycle', the largest.",
        default=1e-3, valid=[POSITIVE],
    )
    warmup: float | None = param(
        """
        The part of all steps in which 'cosine' and 'one_cycle' raise the rate, the former along a
        line. None: 0 for 'cosine', 0.3 for 'one_cycle'.""",
        default=None, valid=[FRACTION],
    )
    plateau_factor: float = param(
        """
        What 'plateau' multiplies the rate by; it does not fall below a millionth of
        `learning_rate_init`.""",
        default=0.1, valid=[Interval(numbers.Real, 0, 1, closed="neither")],
    )
    plateau_patience: int = param(
        "Epochs without improvement after which 'plateau' lowers the rate.",
        default=5, valid=[COUNT],
    )
    power_t: float = param(
        "Exponent of the schedule 'invscaling'.", default=0.5, valid=[NOT_NEGATIVE]
    )
    max_iter: int = param(
        "The largest number of epochs (for 'lbfgs', of iterations).", default=200, valid=[COUNT]
    )
    random_state: int | np.random.RandomState | None = param(
        """
        Seed of the initial weights, the validation split, the order of samples, and dropout. The
        same int gives the same bits, whatever the number of threads.""",
        default=None,
    )
    tol: float = param(
        """
        Training ends when the loss (with early stopping: the validation score) has not improved
        by `tol` for `n_iter_no_change` epochs.""",
        default=1e-4, valid=[NOT_NEGATIVE],
    )
    verbose: bool | int = param(
        "Whether to print the loss of each epoch.", default=False, valid=["verbose"], kind="bool"
    )
    warm_start: bool = param(
        "Whether `fit` goes on from the weights of the last fit.", default=False
    )
    momentum: float = param(
        "Momentum of ``solver='sgd'``.",
        default=0.9, valid=[Interval(numbers.Real, 0, 1, closed="both")],
    )
    nesterovs_momentum: bool = param("Whether that momentum is Nesterov's.", default=True)
    early_stopping: bool = param(
        """
        Whether to hold back `validation_fraction` of the data, to end training when its score no
        longer improves, and to keep the best weights.""",
        default=False,
    )
    validation_fraction: float = param(
        "The part of the data that early stopping holds back.", default=0.1, valid=[FRACTION]
    )
    scoring: str | Callable[..., float] | None = param(
        """
        The score of validation data, by which early stopping goes. None: accuracy, or R2 in
        regression; 'loss': minus the loss; the name of one of scikit-learn's scorers, such as
        'roc_auc'; a callable ``scorer(estimator, X, y)``. A scorer gets an estimator with the
        weights of the epoch, the data as `fit` got them, and `sample_weight` if it takes that.""",
        default=None, valid=[str, callable], kind="str, callable or None",
    )
    beta_1: float = param(
        "Decay rate of the solvers' average gradient.", default=0.9, valid=[FRACTION]
    )
    beta_2: float = param(
        "Decay rate of the solvers' average squared gradient.", default=0.999, valid=[FRACTION]
    )
    epsilon: float = param(
        "Keeps the solvers from dividing by zero.", default=1e-8, valid=[POSITIVE]
    )
    n_iter_no_change: float = param(
        "Epochs without improvement after which training ends.",
        default=10, valid=[COUNT, Options(numbers.Real, {np.inf})], kind="int",
    )
    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        f"""How weights start: 'auto' (as in scikit-learn: uniform within Glorot's bound, biases
    too), {_INITIALIZERS}.""",
        default="auto", valid=INITIALIZERS, kind="str, path or list of ndarray",
    )
    clip_value: float | None = param(
        "Limit of each element of the gradient, for minibatches.", default=None, valid=[POSITIVE]
    )
    clip_norm: float | None = param(
        "Limit of the norm of the whole gradient, for minibatches.", default=None, valid=[POSITIVE]
    )
    average: bool | float = param(
        """
        Whether the weights are averages over the steps, for minibatches: of a decay that grows to
        0.999, or to the number given. They predict, are validated after each epoch, and are what
        early stopping keeps; `partial_fit` and `warm_start` go on from the weights as they were
        trained.""",
        default=False, valid=["boolean", Interval(numbers.Real, 0, 1, closed="neither")],
    )
    dtype: Scalar | None = param(
        "What is computed in; None follows X: float32 for float32, else float64.",
        default=None, kind="{'float32', 'float64'} or None",
    )
    device: Literal["auto", "cpu", "cuda"] | str = param(
        """
        Where to compute. 'cuda' is the first GPU and 'cuda:<n>' that of the number n, from 0 on;
        without it, `fit` raises ImportError or RuntimeError, and the CPU predicts, with a warning.
        'auto' takes the first GPU, if there is one, for what is large: to train, where a step
        takes at least 2e7 multiply-adds (three times those of a forward pass of the batch, or of
        all samples for solvers without minibatches); to predict, where all rows together take at
        least 2e9. Both numbers are estimates, not measured. The CPU predicts single rows in any
        case.""",
        default="cpu", valid=[_DeviceNames()], kind="{'auto', 'cpu', 'cuda'} or 'cuda:<n>'",
    )
    n_jobs: int | None = param(
        """
        Number of threads; it changes nothing in the result. None: all cores that the process may
        use, one inside a worker of joblib. Negative numbers count from all cores, -1 is all.""",
        default=None, valid=THREADS,
    )

    loss_: float = fitted("The last loss.")
    best_loss_: float | None = fitted("The smallest one; None with early stopping.")
    loss_curve_: list[float] = fitted("The loss of each epoch.")
    learning_rate_curve_: list[float] | None = fitted(
        """
        The learning rate of each epoch, that of its last step; without the correction that 'adam'
        and its kin make for the bias of their averages. None without minibatches."""
    )
    validation_loss_curve_: list[float] | None = fitted(
        "With validation data: its loss after each epoch; else None."
    )
    validation_scores_: list[float] | None = fitted(
        """
        With validation data: its score (accuracy or R2, or what `scoring` says) after each epoch;
        else None."""
    )
    best_validation_score_: float | None = fitted(
        "The score of the weights that early stopping has kept."
    )
    history_: "pd.DataFrame" = fitted("All of these curves, by epoch.", kind="DataFrame")
    n_iter_: int = fitted("Epochs of the last fit.")


class Minibatches(Parameters):
    """How rows of data become minibatches."""

    batch_size: int | Literal["auto"] = param(
        "Samples in a minibatch; 'auto' is ``min(200, n_samples)``.",
        default="auto", valid=[COUNT], after="l1",
    )
    shuffle: bool = param(
        "Whether to go through the samples in a new order in each epoch.",
        default=True, after="max_iter",
    )


class Training(Minibatches, Descent, AnySolver):
    """What every network takes for its training that learns from rows."""


class LayeredDescent(Descent):
    """How networks are trained that are given as layers."""

    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        f"""How the weights begin, where a layer does not say it: 'auto' ('glorot_uniform' for the
    output layer, uniform within ``1 / sqrt(units)`` for recurrent ones and within
    ``3 / sqrt(fan_in + fan_out)``, between Glorot's bound and He's, for the others),
    {_INITIALIZERS}.""",
        default="auto",
    )
    dtype: Scalar | None = param(
        "What is computed in; None: float64 where X to fit is float64, else float32.", default=None
    )

    layers_: list[Layer] = fitted("The network, from input to output layer.", kind="list of layers")
    weights_: dict[str, dict[str, Array]] = fitted(
        """
        Copies of the parameters, by layer: 'kernel', of shape (inputs, units), in convolutions
        (height, width, channels, filters), 'recurrent_kernel', 'bias', 'gamma', 'beta', 'mean',
        'variance' and so on.""",
        kind="dict of str to dict of str to ndarray",
    )


class LayeredTraining(Minibatches, LayeredDescent, AnySolver):
    """What networks take for their training that are given as layers."""


# --- inputs and targets


class Features(Parameters):
    """What is known of rows of features."""

    n_features_in_: int = fitted("Number of features.")
    feature_names_in_: Array = fitted("Their names, where X has them.", kind="ndarray of str")


class Output(Parameters):
    """The output layer."""

    output_activation: OutputActivation | Activation = param(
        """
        Activation of the output layer. 'auto': softmax for several classes, logistic for two or
        for multilabel targets; identity in regression, exp for ``loss='poisson'``.""",
        default="auto", valid=[Activation], kind="str or Activation",
    )

    n_outputs_: int = fitted("Number of outputs.")
    out_activation_: str = fitted("Activation of the output layer.")
    t_: int = fitted("Samples seen.")


class ClassificationLoss(Parameters):
    """The loss in classification."""

    loss: ClassificationLosses = param(
        "Cross-entropy, or half the squared error of the outputs against 0 and 1.",
        default="log_loss",
    )


class RegressionLoss(Parameters):
    """The loss in regression."""

    loss: RegressionLosses = param(f"{_REGRESSION}.", default="squared_error", kind="str")


class EitherLoss(Parameters):
    """The loss of a network whose task is a parameter."""

    loss: Literal["auto"] | ClassificationLosses | RegressionLosses = param(
        f"""'log_loss' or 'squared_error' in classification; in regression
    {_REGRESSION}. 'auto' is the first of each.""",
        default="auto", kind="str",
    )


class LossNumbers(Parameters):
    """The numbers that losses in regression have."""

    quantile: float = param(
        "The quantile of ``loss='quantile'``.",
        default=0.5, valid=[Interval(numbers.Real, 0, 1, closed="both")],
    )
    huber_delta: float = param(
        "The error at which ``loss='huber'`` turns from squared to linear.",
        default=1.0, valid=[POSITIVE],
    )


class Classes(Parameters):
    """The classes."""

    class_weight: Mapping[Any, float] | list[Any] | Literal["balanced"] | None = param(
        "Weights of the classes, multiplied with `sample_weight`.",
        default=None, valid=[dict, list], kind="dict, list of dict, 'balanced' or None",
    )

    classes_: Array = fitted("The class labels.", kind="ndarray of shape (n_classes,)")


class ForClasses(Classes, Output, ClassificationLoss):
    """What networks take that learn classes."""


class ForNumbers(LossNumbers, Output, RegressionLoss):
    """What networks take that learn numbers."""


class ForEither(Classes, LossNumbers, Output, EitherLoss):
    """What networks take that learn the ones or the others."""
