"""Groups of parameters and fitted attributes that estimators share."""

import numbers
import os
from collections.abc import Callable, Mapping, Sequence
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

#: Names of activations for hidden layers.
HiddenActivation = Literal[
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish",
    "softplus", "exp",
]  # fmt: skip
#: Names of the floating-point types to compute in.
Scalar = Literal["float32", "float64"]
OutputActivation = Literal[
    "auto", "identity", "logistic", "softmax", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu",
    "silu", "mish", "softplus", "exp",
]  # fmt: skip
Initializer = Literal[
    "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "normal", "small_normal", "standard_normal", "uniform", "zeros",
]  # fmt: skip
RowInitializer = Literal["data_dependent"] | Initializer
ClassificationLosses = Literal["log_loss", "squared_error"]
RegressionLosses = Literal["squared_error", "absolute_error", "huber", "poisson", "quantile"]
_REGRESSION = """'squared_error' (half the squared error), 'poisson' (half the Poisson
    deviance), 'absolute_error', 'huber' or 'quantile' (pinball loss)"""

_SMOOTHING = """
        Share of the targets of ``loss='log_loss'`` that is divided equally among the classes, in
        training: a sample of one class is learned as if it belonged to each of the others with
        probability ``label_smoothing / n_classes``, which keeps the network from being too sure.
        With logistic outputs the targets 0 and 1 become ``label_smoothing / 2`` and ``1 -
        label_smoothing / 2``. Validation uses the targets as they are."""

_SOLVERS = """'adamw' uses `alpha` as decoupled weight decay; 'rmsprop' averages squared
    gradients with decay rate `beta_2`; 'adadelta' uses `beta_1` for both of its averages (and
    needs a `learning_rate_init` near 1)"""
INITIALIZERS_BY_NAME = """'glorot_uniform', 'glorot_normal', 'he_uniform', 'he_normal',
    'lecun_uniform', 'lecun_normal', 'normal' (standard deviation 0.05), 'small_normal' (standard
    deviation 0.01), 'standard_normal', 'uniform' (in [-0.05, 0.05]) or 'zeros'. Alternatively, the
    path of a safetensors file such as :meth:`save_weights` writes: layers whose tensors are all in
    the file, with matching names and shapes, are initialized from it (:meth:`summary` shows which).
    Or a list of arrays with the initial values of the first layers, in the order of their
    parameters. With a file or a list, all other layers are initialized as with 'auto'"""


_BY_LAYER = """Weight initialization, for layers without an initializer of their own: 'auto'
    ('glorot_uniform' for the output layer; uniform in +/- ``1 / sqrt(units)`` for recurrent
    layers; uniform in +/- ``3 / sqrt(fan_in + fan_out)``, between Glorot's bound and He's, for
    the others)"""


class _DeviceNames(StrOptions):
    """The names of devices; the last of the listed names stands for a whole family."""

    def __init__(self):
        super().__init__(set(NAMES))

    def is_satisfied_by(self, val):
        return is_name(val)

    def hint(self, val):
        """Return a suggestion, as a sentence with a leading space, or ''."""
        meant = nearest(val)
        return "" if meant is None else f" Did you mean {meant!r}?"


class _Initializers(StrOptions):
    """The names of initializers, and paths of weight files."""

    def __init__(self, *others):
        super().__init__({*get_args(Initializer), *others})

    def is_satisfied_by(self, val):
        return is_file(val) or super().is_satisfied_by(val)

    def __str__(self):
        return f"{super().__str__()} or the path of a .safetensors file"


#: Valid values of the parameter `initializer`, and those of networks that learn from rows.
INITIALIZERS = [_Initializers(), list]
ROW_INITIALIZERS = [_Initializers("data_dependent"), list]


# --- training. Names and meanings follow scikit-learn where it has the parameter.


class AnySolver(Parameters):
    """The minibatch solvers, and L-BFGS."""

    solver: Literal[
        "adam", "sgd", "lbfgs", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"
    ] = param(
        f"""The optimizer. 'lbfgs' uses all samples in each step and computes in float64; the
    others train on minibatches.
    {_SOLVERS}.""",
        default="adam",
    )
    max_fun: int = param(
        "Maximum number of loss evaluations; only for 'lbfgs'.",
        default=15000, valid=[COUNT], after="n_iter_no_change",
    )


class StepSolver(Parameters):
    """The minibatch solvers."""

    solver: Literal["adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"] = param(
        f"The optimizer. {_SOLVERS}.", default="adam"
    )


class Descent(Parameters):
    """Training parameters that all networks share, and the attributes that training sets."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights; divided by the sum of the sample weights in the
        batch.""",
        default=1e-4, valid=[NOT_NEGATIVE],
    )
    l1: float = param(
        "Strength of the L1 penalty on the weights; divided like `alpha`.",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    learning_rate: Literal[
        "constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog4", "plateau"
    ] = param(
        """
        Learning rate schedule. 'invscaling' and 'adaptive' are for ``solver='sgd'``: 'invscaling'
        divides the rate by ``t ** power_t``; 'adaptive' divides it by 5 each time training stops
        improving. The others are for all minibatch solvers. 'cosine' decays from
        `learning_rate_init` to zero along half a cosine. 'one_cycle' rises from
        ``learning_rate_init / 25`` to `learning_rate_init`, then falls to
        ``learning_rate_init / 250_000``, like PyTorch's ``OneCycleLR`` with constant momentum.
        'coslog4' multiplies it by ``(1 - cos(2 * pi * log2(1 + 15 * t))) / 2``, four ever longer
        waves, where t is the fraction of all steps that are done. All three change the rate at
        each step and span all `max_iter` epochs: early stopping can end them sooner, `tol` cannot.
        `partial_fit` does not support them, because it has no last step. 'plateau' multiplies the
        rate by `plateau_factor` after `plateau_patience` consecutive epochs without an improvement
        of at least `tol`, like Keras's ``ReduceLROnPlateau``. It monitors the validation score with
        early stopping, otherwise the validation loss if there is validation data, otherwise the
        training loss; in `partial_fit`, each call counts as an epoch. Training still stops after
        `n_iter_no_change` epochs without improvement, so set that higher than
        `plateau_patience`.""",
        default="constant",
    )
    learning_rate_init: float = param(
        "The initial learning rate; with 'cosine', 'one_cycle' and 'coslog4', the maximum.",
        default=1e-3, valid=[POSITIVE],
    )
    warmup: float | None = param(
        """
        Fraction of all steps during which 'cosine' (linearly) and 'one_cycle' raise the learning
        rate. None means 0 for 'cosine' and 0.3 for 'one_cycle'.""",
        default=None, valid=[FRACTION],
    )
    plateau_factor: float = param(
        """
        Factor by which 'plateau' multiplies the learning rate, down to a minimum of
        ``1e-6 * learning_rate_init``.""",
        default=0.1, valid=[Interval(numbers.Real, 0, 1, closed="neither")],
    )
    plateau_patience: int = param(
        "Number of epochs without improvement after which 'plateau' lowers the rate.",
        default=5, valid=[COUNT],
    )
    power_t: float = param(
        "Exponent of the 'invscaling' schedule.", default=0.5, valid=[NOT_NEGATIVE]
    )
    max_iter: int = param(
        "Maximum number of epochs (for 'lbfgs', iterations).", default=200, valid=[COUNT]
    )
    random_state: int | np.random.RandomState | None = param(
        """
        Seed for weight initialization, the validation split, the order of samples, and dropout.
        The same int gives bit-identical results with any number of threads.""",
        default=None,
    )
    tol: float = param(
        """
        Training stops when the loss (with early stopping, the validation score) has not improved
        by at least `tol` for `n_iter_no_change` consecutive epochs.""",
        default=1e-4, valid=[NOT_NEGATIVE],
    )
    verbose: bool | int = param(
        "Whether to print the loss of each epoch.", default=False, valid=["verbose"], kind="bool"
    )
    warm_start: bool = param(
        "Whether `fit` continues from the weights of the last fit.", default=False
    )
    momentum: float = param(
        "Momentum of ``solver='sgd'``.",
        default=0.9, valid=[Interval(numbers.Real, 0, 1, closed="both")],
    )
    nesterovs_momentum: bool = param("Whether to use Nesterov momentum.", default=True)
    early_stopping: bool = param(
        """
        Whether to hold out `validation_fraction` of the data, stop training when the validation
        score no longer improves, and keep the best weights.""",
        default=False,
    )
    validation_fraction: float = param(
        "Fraction of the data that early stopping holds out.", default=0.1, valid=[FRACTION]
    )
    scoring: str | Callable[..., float] | None = param(
        """
        Validation score that early stopping monitors. None: accuracy, or R2 in regression;
        'loss': the negative loss; a str: the name of a scikit-learn scorer, such as 'roc_auc'; or
        a callable ``scorer(estimator, X, y)``. A scorer is called with an estimator that has the
        weights of the current epoch, the data as passed to `fit`, and `sample_weight` if it
        accepts that.""",
        default=None, valid=[str, callable], kind="str, callable or None",
    )
    beta_1: float = param(
        "Decay rate of the moving average of the gradient.", default=0.9, valid=[FRACTION]
    )
    beta_2: float = param(
        "Decay rate of the moving average of the squared gradient.", default=0.999, valid=[FRACTION]
    )
    epsilon: float = param(
        "Small constant that keeps adaptive solvers from dividing by zero.",
        default=1e-8, valid=[POSITIVE],
    )
    n_iter_no_change: float = param(
        "Number of epochs without improvement after which training stops.",
        default=10, valid=[COUNT, Options(numbers.Real, {np.inf})], kind="int",
    )
    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        f"""Weight initialization: 'auto' (as in scikit-learn: Glorot uniform, for biases too),
    {INITIALIZERS_BY_NAME}.""",
        default="auto", valid=INITIALIZERS, kind="str, path or list of ndarray",
    )
    clip_value: float | None = param(
        "Clip each element of the gradient to [-clip_value, clip_value]; for minibatch solvers.",
        default=None, valid=[POSITIVE],
    )
    clip_norm: float | None = param(
        "Scale the gradient down to at most this global L2 norm; for minibatch solvers.",
        default=None, valid=[POSITIVE],
    )
    average: bool | float = param(
        """
        Whether to use an exponential moving average of the weights over the steps, for minibatch
        solvers. Its decay grows to 0.999, or to the number given. The averaged weights are used
        for prediction and validation and are what early stopping keeps; `partial_fit` and
        `warm_start` continue from the raw weights.""",
        default=False, valid=["boolean", Interval(numbers.Real, 0, 1, closed="neither")],
    )
    dtype: Scalar | None = param(
        "Floating-point type of the computation. None: float32 if X is float32, else float64.",
        default=None, kind="{'float32', 'float64'} or None",
    )
    device: Literal["auto", "cpu", "cuda"] | str = param(
        """
        Where to compute. 'cuda' is the first GPU, 'cuda:<n>' GPU number n, counted from 0. If
        that GPU is not available, `fit` raises ImportError or RuntimeError, while predictions run
        on the CPU, with a warning. 'auto' uses the first GPU, if there is one, for large
        workloads: training where a step takes at least 2e7 multiply-adds (three times those of a
        forward pass of the batch, or of all samples for solvers without minibatches), and
        predictions where all rows together take at least 2e9. Both thresholds are estimates, not
        measured. Single rows are always predicted on the CPU.""",
        default="cpu", valid=[_DeviceNames()], kind="{'auto', 'cpu', 'cuda'} or 'cuda:<n>'",
    )
    n_jobs: int | None = param(
        """
        Number of threads; results do not depend on it. None: all cores available to the process,
        or one inside a joblib worker. Negative numbers count back from all cores: -1 uses all.""",
        default=None, valid=THREADS,
    )

    loss_: float = fitted("Final training loss.")
    best_loss_: float | None = fitted("Minimum loss; None with early stopping.")
    loss_curve_: list[float] = fitted("Loss of each epoch.")
    learning_rate_curve_: list[float] | None = fitted(
        """
        Learning rate at the last step of each epoch, without the bias correction of 'adam' and
        similar solvers. None for solvers without minibatches."""
    )
    validation_loss_curve_: list[float] | None = fitted(
        "Validation loss after each epoch; None without validation data."
    )
    validation_scores_: list[float] | None = fitted(
        """
        Validation score (accuracy, R2, or as given by `scoring`) after each epoch; None without
        validation data."""
    )
    best_validation_score_: float | None = fitted(
        "Validation score of the weights that early stopping kept."
    )
    history_: "pd.DataFrame" = fitted("All of these curves, one row per epoch.", kind="DataFrame")
    n_iter_: int = fitted("Number of epochs (for 'lbfgs', iterations) of the last fit.")


class Minibatches(Parameters):
    """Splitting data into minibatches."""

    batch_size: int | Literal["auto"] = param(
        "Samples per minibatch; 'auto' is ``min(200, n_samples)``.",
        default="auto", valid=[COUNT], after="l1",
    )
    shuffle: bool = param(
        "Whether to shuffle the samples in each epoch.",
        default=True, after="max_iter",
    )


class Schedules(Parameters):
    """Schedules of weight decay and of dropout."""

    alpha_schedule: Literal["constant", "flat_cos"] = param(
        """
        Schedule of the weight decay of ``solver='adamw'``. 'flat_cos' multiplies it by a factor
        that is 1 for the first half of all steps, and then falls to 0 along half a cosine. Like
        the schedules of the learning rate, it spans all `max_iter` epochs.""",
        default="constant", after="power_t",
    )
    dropout_schedule: Literal["constant", "flat_cos"] = param(
        "Schedule of the rates of dropout; 'flat_cos' as for `alpha_schedule`.",
        default="constant", after="alpha_schedule",
    )


DATA_DEPENDENT = """'data_dependent' (normal, each unit's weights divided by the standard deviation
    of its sums over the training data, layer by layer; its bias is minus a random convex
    combination of the sums in five random rows)"""


class Training(Schedules, Minibatches, Descent, AnySolver):
    """Training parameters of networks that learn from rows."""

    initializer: RowInitializer | str | os.PathLike[str] | list[Any] = param(
        f"""Weight initialization: 'auto' (as in scikit-learn: Glorot uniform, for biases too),
    {DATA_DEPENDENT}, {INITIALIZERS_BY_NAME}.""",
        default="auto", valid=ROW_INITIALIZERS,
    )


class LayeredDescent(Descent):
    """Training parameters of networks that are given as layers."""

    initializer: Initializer | str | os.PathLike[str] | list[Any] = param(
        f"""{_BY_LAYER}, {INITIALIZERS_BY_NAME}.""", default="auto"
    )
    dtype: Scalar | None = param(
        "Floating-point type of the computation. None: float64 if `fit` gets X as float64, else "
        "float32.",
        default=None,
    )

    layers_: list[Layer] = fitted("The layers, from input to output.", kind="list of layers")
    weights_: dict[str, dict[str, Array]] = fitted(
        """
        Copies of the parameters, by layer: 'kernel' (of shape (inputs, units), or (height, width,
        channels, filters) for convolutions), 'recurrent_kernel', 'bias', 'gamma', 'beta', 'mean',
        'variance' and so on.""",
        kind="dict of str to dict of str to ndarray",
    )


class LayeredTraining(Schedules, Minibatches, LayeredDescent, AnySolver):
    """Training parameters of networks that are given as layers and learn from rows."""

    initializer: RowInitializer | str | os.PathLike[str] | list[Any] = param(
        f"""{_BY_LAYER}, {DATA_DEPENDENT}, {INITIALIZERS_BY_NAME}.""",
        default="auto", valid=ROW_INITIALIZERS,
    )


# --- inputs and targets


class Features(Parameters):
    """Features of the input."""

    n_features_in_: int = fitted("Number of features seen during `fit`.")
    feature_names_in_: Array = fitted("Names of the features, if X has any.", kind="ndarray of str")


class Output(Parameters):
    """The output layer."""

    output_activation: OutputActivation | Activation = param(
        """
        Activation of the output layer. 'auto': softmax for more than two classes, logistic for two
        classes and for multilabel targets; in regression identity, exp for ``loss='poisson'``.""",
        default="auto", valid=[Activation], kind="str or Activation",
    )

    n_outputs_: int = fitted("Number of outputs.")
    out_activation_: str = fitted("Activation of the output layer.")
    t_: int = fitted("Number of training samples seen.")


class ClassificationLoss(Parameters):
    """The loss in classification."""

    loss: ClassificationLosses = param(
        "Cross-entropy, or half the squared error of the outputs with respect to targets 0 and 1.",
        default="log_loss",
    )
    label_smoothing: float = param(_SMOOTHING, default=0.0, valid=[FRACTION], after="loss")


class RegressionLoss(Parameters):
    """The loss in regression."""

    loss: RegressionLosses = param(f"{_REGRESSION}.", default="squared_error", kind="str")


class EitherLoss(Parameters):
    """The loss of a network whose task is a parameter."""

    loss: Literal["auto"] | ClassificationLosses | RegressionLosses = param(
        f"""'log_loss' or 'squared_error' in classification; in regression
    {_REGRESSION}. 'auto' is 'log_loss' in classification and 'squared_error' in regression.""",
        default="auto", kind="str",
    )
    label_smoothing: float = param(
        f"""{_SMOOTHING} In regression it has no effect.""",
        default=0.0, valid=[FRACTION], after="loss",
    )


class LossNumbers(Parameters):
    """Parameters of regression losses."""

    quantile: float | Sequence[float] | Array = param(
        """
        The quantile to predict with ``loss='quantile'``, or increasing quantiles of one target:
        the network then has an output for each, predictions have the shape (n_samples,
        n_quantiles) and increase along each row, and the score is the mean over the quantiles of
        scikit-learn's ``d2_pinball_score``.""",
        default=0.5, valid=[Interval(numbers.Real, 0, 1, closed="both"), "array-like"],
        kind="float or array-like of float",
    )
    huber_delta: float = param(
        "Absolute error at which ``loss='huber'`` changes from quadratic to linear.",
        default=1.0, valid=[POSITIVE],
    )


class Classes(Parameters):
    """The classes."""

    class_weight: Mapping[Any, float] | list[Any] | Literal["balanced"] | None = param(
        "Class weights, multiplied by `sample_weight`.",
        default=None, valid=[dict, list], kind="dict, list of dict, 'balanced' or None",
    )

    classes_: Array = fitted("The class labels.", kind="ndarray of shape (n_classes,)")


class ForClasses(Classes, Output, ClassificationLoss):
    """Parameters of classifiers."""


class ForNumbers(LossNumbers, Output, RegressionLoss):
    """Parameters of regressors."""


class ForEither(Classes, LossNumbers, Output, EitherLoss):
    """Parameters of networks for classification or regression."""
