"""Tasks: encoding of targets, output activation and loss, and decoding of outputs.

An estimator creates its task for each call, from its parameters and fitted attributes.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from numbers import Real

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import accuracy_score, d2_pinball_score, r2_score
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from ..hints import hint
from ..layers import Activation
from ..tape.activations import ACTIVATIONS
from ..tape.losses import Loss
from ..tape.sources import ClassNumbers, Source
from .checks import check_weights, naming, numeric, weigh_samples

OUTPUT_ACTIVATIONS = sorted(set(ACTIVATIONS) - {"step"})
_POSITIVE = ["exp", "logistic", "softplus"]


def check_activation(value, name, allowed):
    """Return `value` as an Activation, checked to be allowed."""
    if not isinstance(value, (str, Activation)):
        more = hint(value, allowed)
        raise TypeError(f"{name} has the entry {value!r}; expected a str or an Activation.{more}")
    function = value if isinstance(value, str) else value.function
    if function not in allowed:
        more = hint(function, allowed)
        raise ValueError(f"{name} is {function!r}; expected one of {allowed}.{more}")
    return named(function) if isinstance(value, str) else value


@lru_cache
def named(function):
    """Return the Activation of this name; cached, since every prediction needs it."""
    return Activation(function)


class Task:
    """Base of tasks.

    Parameters
    ----------
    loss : str
        The estimator's parameter: one of `losses`, or 'auto' for the first of them.
    output_activation : str or Activation
        The estimator's parameter.
    """

    losses = ()
    classifies = False
    #: Options for scikit-learn's validation of y.
    checks = {"multi_output": True}

    def __init__(self, loss="auto", output_activation="auto"):
        self._loss, self.output_activation = loss, output_activation

    @property
    def loss_name(self):
        return self.losses[0] if self._loss == "auto" else self._loss

    def check(self):
        """Raise ValueError unless the parameters fit this task."""
        if self.loss_name not in self.losses:
            raise ValueError(
                f"loss={self._loss!r} is not for this task; expected one of {sorted(self.losses)}."
                f"{hint(self._loss, self.losses)}"
            )

    def read(self, read, X, y, reset):
        """Return X as inputs, and y, both validated by ``read(X, y, reset, **checks)``."""
        if isinstance(y, str):
            raise ValueError(f"y is the str {y!r}; expected an array of targets.")
        inputs, y = read(X, y, reset, **self.checks)
        if sp.issparse(y) and not self.classifies:
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1 and not sp.issparse(y):
            y = column_or_1d(y, warn=True)
        return inputs, y

    def learn(self, y, incremental, warm_start, classes=None):
        """Learn the classes from the targets, before training."""

    def fitted(self):
        """Return the fitted attributes that :meth:`learn` determines."""
        return {}

    def weigh(self, sample_weight, inputs, y, incremental):
        """Return the sample weights, or None."""
        return check_weights(sample_weight, inputs)

    def validation(self, read, X_val, y_val, weights, network):
        """Return the user's validation data, or None."""
        if X_val is None and y_val is None:
            if weights is not None:
                raise ValueError("sample_weight_val goes with X_val and y_val, which are missing.")
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val go together; only one of them was given.")
        names = {"X": "X_val", "y": "y_val"}
        with naming(**names, **({} if weights is None else {"sample_weight": "sample_weight_val"})):
            inputs, y_val = self.read(read, X_val, y_val, reset=False)
            self.check_known(y_val)
            weights = check_weights(weights, inputs, "sample_weight_val")
            return self.data(inputs, y_val, weights, network)

    def check_known(self, y):
        """Raise ValueError if validation targets have classes that training targets lack."""

    def head(self, n_outputs):
        """Return the output activation and the Loss."""
        out = self.activation()
        return out, self.make_loss(n_outputs, out)

    def activation(self):
        """Return the output activation."""
        if self.output_activation == "auto":
            return Activation(self._own_activation())
        return check_activation(self.output_activation, "output_activation", OUTPUT_ACTIVATIONS)

    def make_loss(self, n_outputs, out):
        """Return the Loss for these outputs and activation, checked to be compatible."""
        if out.function == "softmax" and n_outputs == 1:
            raise ValueError(
                "output_activation='softmax' needs several outputs, got 1; for two classes "
                "'logistic' gives the same probabilities."
            )
        return Loss(self.loss_name, out.function)

    def shown(self, network, n_outputs):
        """Return the public fitted attributes about the network."""
        return {"out_activation_": network.layers[-1].function, "n_outputs_": n_outputs}

    def stratify(self, data, n_outputs):
        """Return the labels to stratify held-out rows by, or None."""

    def data(self, inputs, y, weights, network):
        """Return training data from validated X and y."""
        y = self.encode(y, network.loss, network.output_shape[-1])
        return inputs.data(targets_source(y, network.loss), weights, y)

    def score(self, data, loss, outputs):
        """Return the validation score of a network's outputs for data."""
        weights = None if data.weights is None else data.weights[data.rows]
        return self.score_outputs(outputs, data.y, weights)

    def score_outputs(self, outputs, y, weights):
        """Return the accuracy, or R2, of outputs for encoded targets."""
        if not np.isfinite(outputs).all():
            return np.nan
        return float(self.metric(*self._compared(outputs, y), sample_weight=weights))


def _check_columns(columns, n_outputs):
    if columns.shape[1] != n_outputs:
        raise ValueError(
            f"The targets have {columns.shape[1]} columns; expected {n_outputs}, as many as the "
            "network has outputs."
        )


def targets_source(y, loss):
    """Return encoded targets as a source for the engine."""
    return ClassNumbers(y) if loss.counts_classes else Source(y.reshape(len(y), -1))


def _are_integers(y):
    """Return whether targets are integers or bools as the processor has them, one per sample."""
    return y.ndim == 1 and y.dtype.kind in "biu" and y.dtype.isnative


def _labels_in(y):
    """Return the different labels in y, in order, as scikit-learn's `unique_labels`."""
    return np.unique(y) if _are_integers(y) else unique_labels(y)


def _places(y, classes):
    """Return the place of each label among the classes, for integers that are all among them."""
    if not _are_integers(y) or y.dtype != classes.dtype:
        return None
    places = np.searchsorted(classes, y)
    return places if np.array_equal(classes.take(places, mode="clip"), y) else None


def _accuracy(y, predictions, sample_weight=None):
    """Return scikit-learn's accuracy score, whose checks take longer than predictions."""
    plain = isinstance(y, np.ndarray) and _are_integers(y) and _are_integers(predictions)
    if plain and sample_weight is None and 0 < len(y) == len(predictions):
        return float(np.average(y == predictions))
    return accuracy_score(y, predictions, sample_weight=sample_weight)


class Classification(Task):
    """Classification with one class per sample, or multilabel with labels in columns.

    Parameters
    ----------
    loss, output_activation
        As in :class:`Task`.
    binarizer : LabelBinarizer or None
        Fitted to the classes; None if they are not known yet.
    classes : ndarray or None
        The estimator's `classes_`.
    class_weight : dict, list of dict, 'balanced' or None
        The estimator's parameter.
    label_smoothing : float
        The estimator's parameter.
    """

    losses = "log_loss", "squared_error"
    classifies = True
    metric = staticmethod(_accuracy)

    def __init__(
        self, loss="auto", output_activation="auto", binarizer=None, classes=None,
        class_weight=None, label_smoothing=0.0,
    ):  # fmt: skip
        super().__init__(loss, output_activation)
        self.binarizer, self._class_weight = binarizer, class_weight
        self._smoothing = label_smoothing
        if classes is not None:
            self.classes_ = classes  # so named for scikit-learn's check of partial fits

    @property
    def _kind(self):
        return self.binarizer.y_type_

    @property
    def exclusive(self):
        """Whether the task is multiclass: one of more than two classes per sample."""
        return self._kind == "multiclass"

    def check(self):
        super().check()
        if self._smoothing and self.loss_name != "log_loss":
            raise ValueError(
                f"label_smoothing={self._smoothing!r} is for loss='log_loss', got "
                f"loss={self.loss_name!r}; expected 0.0."
            )

    def learn(self, y, incremental, warm_start, classes=None):
        if incremental and _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self.binarizer = LabelBinarizer().fit(y if several else classes)
        if not hasattr(self, "classes_") or not (warm_start or incremental):
            self.binarizer = self._fit_binarizer(y)
            self.classes_ = self.binarizer.classes_
            return
        classes = _labels_in(y)
        if warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _fit_binarizer(self, y):
        """Return a LabelBinarizer fitted to labels; scikit-learn's own `fit` takes its time."""
        binarizer, classes = LabelBinarizer(), _labels_in(y) if _are_integers(y) else ()
        if not 0 < len(classes) <= len(y) // 2:  # of more classes, scikit-learn warns
            self._check_labels(y)
            return binarizer.fit(y)
        binarizer.y_type_ = "binary" if len(classes) <= 2 else "multiclass"
        binarizer.sparse_input_, binarizer.classes_ = False, classes
        return binarizer

    def _check_labels(self, y):
        """Raise ValueError if the targets are not class labels."""
        if y.dtype == object:
            text = [isinstance(label, str) for label in y.ravel()]
            if any(text) and not all(text):
                other = y.ravel()[text.index(False)]
                raise ValueError(
                    f"y has str and {other!r}; expected labels of one type, none of them missing."
                )
            if not any(text) and type_of_target(y) == "unknown":
                raise ValueError(
                    "Unknown label type: y has dtype object, with labels such as "
                    f"{y.ravel()[0]!r}; expected numbers or str: y.astype(int), for instance."
                )
        check_classification_targets(y)

    def weigh(self, sample_weight, inputs, y, incremental):
        known = self.classes_ if incremental else None
        return weigh_samples(self._class_weight, sample_weight, inputs, y, known)

    def fitted(self):
        return {"classes_": self.classes_, "_label_binarizer": self.binarizer}

    def check_known(self, y):
        if len(np.setdiff1d(_labels_in(y), self.classes_)):
            raise ValueError(f"y_val has classes not in y; expected some of {self.classes_}.")

    def count_outputs(self, inputs, y):
        return 1 if self._kind == "binary" or len(self.classes_) == 1 else len(self.classes_)

    def _own_activation(self):
        return "softmax" if self.exclusive else "logistic"

    def make_loss(self, n_outputs, out):
        loss = super().make_loss(n_outputs, out)
        if out.function not in ("softmax", "logistic"):
            raise ValueError(
                f"A classifier needs probabilities, got output_activation={out.function!r}; "
                "expected 'softmax' or 'logistic'."
            )
        if loss.counts_classes and not self.exclusive:
            raise ValueError(
                "output_activation='softmax' needs mutually exclusive classes, got "
                f"{self._kind} targets; expected 'logistic'."
            )
        return replace(loss, smoothing=float(self._smoothing))

    def encode(self, y, loss, n_outputs):
        """Return the targets as class indices, or as columns."""
        several = y.ndim == 2
        if several != self._kind.startswith("multilabel"):
            raise ValueError(
                f"The targets are {'labels in columns' if several else 'one class per sample'}, "
                "unlike those that the network was fitted to."
            )
        places = _places(y, self.classes_)
        if places is not None and loss.counts_classes:
            return places
        if places is not None and n_outputs == 1 and len(self.classes_) == 2:
            return places[:, None] == 1
        if loss.counts_classes:
            encoder = LabelEncoder()
            encoder.classes_ = self.classes_
            return encoder.transform(y)
        columns = self.binarizer.transform(y).astype(bool)
        _check_columns(columns, n_outputs)
        return columns

    def stratify(self, data, n_outputs):
        return data.y if n_outputs == 1 else None

    def _compared(self, outputs, y):
        if y.ndim == 1:
            return y, outputs.argmax(axis=1)
        if self.exclusive:
            return y.argmax(axis=1), outputs.argmax(axis=1)
        if outputs.shape[1] == 1:
            return y.ravel(), outputs.ravel() > 0.5
        return y, outputs > 0.5

    def answer(self, outputs):
        """Return the predicted labels for outputs."""
        n = outputs.shape[1]
        if self.exclusive and n > 1:
            if len(self.classes_) != n:
                raise ValueError(
                    f"classes_ has {len(self.classes_)} labels; expected {n}, one for each output."
                )
            return self.classes_[outputs.argmax(axis=1)]
        return self.binarizer.inverse_transform(outputs.ravel() if n == 1 else outputs)

    def probabilities(self, outputs):
        """Return the probability of each class for outputs."""
        if outputs.shape[1] == 1:
            outputs = outputs.ravel()
            return np.vstack([1 - outputs, outputs]).T
        return outputs


class Regression(Task):
    """Regression with one or several real targets per sample.

    Parameters
    ----------
    loss, output_activation
        As in :class:`Task`.
    quantile : float or array-like of float
        Parameter of the loss 'quantile'.
    huber_delta : float
        Parameter of the loss 'huber'.
    """

    losses = "squared_error", "absolute_error", "huber", "poisson", "quantile"
    checks = {"multi_output": True, "y_numeric": True}

    def __init__(self, loss="auto", output_activation="auto", quantile=0.5, huber_delta=1.0):
        super().__init__(loss, output_activation)
        self._numbers = {"quantile": quantile, "huber": huber_delta}

    @property
    def quantiles(self):
        """The quantiles that the outputs are, as a tuple, or None."""
        levels = self._numbers["quantile"]
        if self.loss_name != "quantile" or isinstance(levels, Real):
            return None
        return tuple(levels)

    def check(self):
        super().check()
        levels = self.quantiles
        if levels is None:
            return
        good = levels and all(isinstance(level, Real) and 0 <= level <= 1 for level in levels)
        if not good or not all(low < high for low, high in pairwise(levels)):
            raise ValueError(
                f"quantile is {self._numbers['quantile']!r}; expected a number in [0, 1], or "
                "increasing ones."
            )

    def metric(self, y, predictions, sample_weight=None):
        """Return R2, or of several quantiles the mean D2."""
        levels = self.quantiles
        if levels is None:
            return r2_score(y, predictions, sample_weight=sample_weight)
        if predictions.shape[1:] != (len(levels),):
            raise ValueError(
                f"quantile has {len(levels)} entries, unlike in the last fit: the predictions have "
                f"the shape {predictions.shape}."
            )
        scores = [
            d2_pinball_score(y, prediction, sample_weight=sample_weight, alpha=level)
            for prediction, level in zip(predictions.T, levels)
        ]
        return float(np.mean(scores))

    def _check_single(self, y):
        """Raise ValueError unless targets of which quantiles are predicted are one per row."""
        if y.ndim > 1:
            raise ValueError(
                f"quantile has {len(self.quantiles)} entries, which are for one target, but y has "
                f"{y.shape[1]} columns. Expected one column, or a single quantile."
            )

    def count_outputs(self, inputs, y):
        if self.quantiles is not None:
            self._check_single(y)
            return len(self.quantiles)
        return 1 if y.ndim == 1 else y.shape[1]

    def _own_activation(self):
        return "exp" if self.loss_name == "poisson" else "identity"

    def make_loss(self, n_outputs, out):
        loss = super().make_loss(n_outputs, out)
        if loss.name == "poisson" and out.function not in _POSITIVE:
            raise ValueError(
                f"loss='poisson' needs positive outputs, got output_activation={out.function!r}; "
                f"expected one of {_POSITIVE}."
            )
        levels = self.quantiles
        if levels is not None:
            return replace(loss, parameter=tuple(map(float, levels)))
        return replace(loss, parameter=float(self._numbers.get(loss.name, 0.0)))

    def encode(self, y, loss, n_outputs):
        """Return the targets as numbers."""
        y = _as_numbers(np.asarray(y))
        if loss.name == "poisson" and np.any(y < 0):
            raise ValueError("loss='poisson' needs y >= 0, got negative values.")
        if loss.quantiles is not None:
            self._check_single(y)
            return y
        _check_columns(y.reshape(len(y), -1), n_outputs)
        return y

    def _compared(self, outputs, y):
        return y, self.answer(outputs)

    def answer(self, outputs):
        """Return the predictions for outputs."""
        if self.quantiles is not None:
            return np.sort(outputs, axis=1)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs


def _as_numbers(y):
    """Return regression targets as numbers; strings of numbers are converted."""
    if y.dtype.kind == "c":
        raise ValueError("y is complex; expected real numbers.")
    try:
        return numeric(y)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y has dtype {y.dtype}; expected numbers: {error}. Classes are for classifiers."
        ) from None


class Wrapper:
    """A task that overrides parts of another task and delegates the rest to it."""

    def __init__(self, task):
        self.task = task

    def validation(self, *given):
        return type(self.task).validation(self, *given)  # with the wrapper's data

    def __getattr__(self, name):
        if name == "task":  # not set yet: the object is being copied
            raise AttributeError(name)
        return getattr(self.task, name)
