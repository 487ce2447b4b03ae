"""What networks that learn from targets share: the targets, the fit, predictions.

An estimator adds its parameters, and how they make a network: ``_make_network``,
``_check_trainable``, ``_first_values``, ``_attributes`` (of the trained parameters),
``_values_for`` (back from these), ``_computing_dtype``, ``_is_fitted`` and ``_predict``. One whose
X is no matrix says in ``_input_shape`` and ``_data`` what training gets of it.
"""

import zlib
from typing import get_args

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from ..engine.data import Data
from ..engine.lbfgs import fit_lbfgs
from ..engine.optimizers import SCHEDULES, SOLVERS
from ..engine.prediction import finite
from ..engine.recipe import Recipe
from ..engine.training import Progress, Trainer, noise_seed
from ..layers import Activation
from ..tape.activations import ACTIVATIONS
from ..tape.losses import Loss
from ..tape.sources import ClassNumbers, Source
from .callbacks import FitCallbacks
from .checks import check_weights, numeric, sound, weigh_samples
from .groups import ClassificationLosses, RegressionLosses
from .transactions import NeuralEstimator, all_or_nothing, consistent

_POSITIVE = ["exp", "logistic", "softplus"]
#: The formats in which a sparse X is taken as it is.
_SPARSE = ["csr", "csc"]
OUTPUT_ACTIVATIONS = sorted(set(ACTIVATIONS) - {"step"})
_REGRESSION_LOSSES = set(get_args(RegressionLosses))
_CLASSIFICATION_LOSSES = set(get_args(ClassificationLosses))


def check_activation(value, name, allowed):
    """Return `value` as an Activation, one of those allowed."""
    if not isinstance(value, (str, Activation)):
        raise TypeError(f"{name} has the entry {value!r}; expected a str or an Activation.")
    function = value if isinstance(value, str) else value.function
    if function not in allowed:
        raise ValueError(f"{name} is {function!r}; expected one of {allowed}.")
    return Activation(value) if isinstance(value, str) else value


class SupervisedNet(NeuralEstimator):
    """What networks that learn from targets share: all but the constructor and the layers."""

    # --- the task

    @property
    def _classifies(self):
        return isinstance(self, ClassifierMixin)

    def _loss_name(self):
        if self.loss != "auto":
            return self.loss
        return "log_loss" if self._classifies else "squared_error"

    def _check_loss(self):
        allowed = _CLASSIFICATION_LOSSES if self._classifies else _REGRESSION_LOSSES
        if self._loss_name() not in allowed:
            raise ValueError(
                f"loss={self.loss!r} is not for this task; expected one of {sorted(allowed)}."
            )

    def _output_activation(self):
        """Return the output's activation; the label binarizer knows the kind of the targets."""
        if self.output_activation != "auto":
            return check_activation(self.output_activation, "output_activation", OUTPUT_ACTIVATIONS)
        if not self._classifies:
            return Activation("exp" if self._loss_name() == "poisson" else "identity")
        several = self._label_binarizer.y_type_ == "multiclass"
        return Activation("softmax" if several else "logistic")

    def _make_loss(self, n_outputs, out):
        """Return the Loss of the parameters and an output activation, if they go together."""
        if out.function == "softmax" and n_outputs == 1:
            raise ValueError(
                "output_activation='softmax' needs several outputs, got 1; for two classes "
                "'logistic' gives the same probabilities."
            )
        name = self._loss_name()
        if self._classifies and out.function not in ("softmax", "logistic"):
            raise ValueError(
                f"A classifier needs probabilities, got output_activation={out.function!r}; "
                "expected 'softmax' or 'logistic'."
            )
        if name == "log_loss" and out.function == "softmax":
            kind = self._label_binarizer.y_type_
            if kind != "multiclass":
                raise ValueError(
                    "output_activation='softmax' needs classes that exclude each other, got "
                    f"{kind} targets; expected 'logistic'."
                )
        if name == "poisson" and out.function not in _POSITIVE:
            raise ValueError(
                f"loss='poisson' needs positive outputs, got output_activation={out.function!r}; "
                f"expected one of {_POSITIVE}."
            )
        number = {"quantile": "quantile", "huber": "huber_delta"}.get(name)
        return Loss(name, out.function, float(getattr(self, number)) if number else 0.0)

    # --- the data

    def _check_X_y(self, X, y, reset):
        """Return X as it lies in memory, and y."""
        if isinstance(y, str):
            raise ValueError(f"y is the str {y!r}; expected an array of targets.")
        kinds = {} if self._classifies else {"y_numeric": True}
        X, y = self._validate(X, y, reset, multi_output=True, **kinds)
        if sp.issparse(y) and not self._classifies:
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1 and not sp.issparse(y):
            y = column_or_1d(y, warn=True)
        return X, y

    def _validate(self, X, y="no_validation", reset=False, **checks):
        """Return X as rows of numbers, and y where there is one, both checked."""
        X = sound(X)
        if isinstance(y, str):
            return numeric(validate_data(self, X, accept_sparse=_SPARSE, reset=reset, **checks))
        y = sound(y, "y")
        X, y = validate_data(self, X, y, accept_sparse=_SPARSE, reset=reset, **checks)
        return numeric(X), y

    def _learn_classes(self, y, incremental, classes):
        """Fit the label binarizer, or check y against the classes that are known.

        `classes` are those given to a partial fit.
        """
        if incremental and _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
        classes = unique_labels(y)
        if self.warm_start:
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

    def _input_shape(self, X):
        """Return the shape of one sample of checked X."""
        return X.shape[1]

    def _data(self, X, y, weights, loss):
        """Return what training reads, of checked X and y."""
        y = self._encode(y, loss)
        rows = np.arange(X.shape[0])
        return Data(Source(X), targets_source(y, loss), weights, rows, y)

    def _encode(self, y, loss):
        """Return the targets as numbers: those of classes, columns of labels, or as they are."""
        if not self._classifies:
            y = _as_numbers(np.asarray(y))
            if loss.name == "poisson" and np.any(y < 0):
                raise ValueError("loss='poisson' needs y >= 0, got negative values.")
            columns = y.reshape(len(y), -1)
            self._check_outputs(columns)
            return y
        several = y.ndim == 2
        if several != self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError(
                f"The targets are {'labels in columns' if several else 'one class a sample'}, "
                "unlike those that the network was fitted to."
            )
        if loss.counts_classes:
            encoder = LabelEncoder()
            encoder.classes_ = self.classes_
            return encoder.transform(y)
        columns = self._label_binarizer.transform(y).astype(bool)
        self._check_outputs(columns)
        return columns

    def _check_outputs(self, columns):
        if columns.shape[1] != self.n_outputs_:
            raise ValueError(
                f"The targets have {columns.shape[1]} columns; expected {self.n_outputs_}, as many "
                "as the network has outputs."
            )

    def _score_outputs(self, outputs, data):
        """Return the validation score of a network's outputs."""
        weights = None if data.weights is None else data.weights[data.rows]
        return self._score(outputs, data.y, weights)

    def _score(self, outputs, y, weights):
        """Return the accuracy, or R2, of outputs for encoded targets."""
        if not np.isfinite(outputs).all():
            return np.nan
        if not self._classifies:
            outputs = outputs.ravel() if outputs.shape[1] == 1 else outputs
            return float(r2_score(y, outputs, sample_weight=weights))
        if y.ndim == 1:
            return float(accuracy_score(y, outputs.argmax(axis=1), sample_weight=weights))
        if self._label_binarizer.y_type_ == "multiclass":
            right = y.argmax(axis=1), outputs.argmax(axis=1)
        elif outputs.shape[1] == 1:
            right = y.ravel(), outputs.ravel() > 0.5
        else:
            right = y, outputs > 0.5
        return float(accuracy_score(*right, sample_weight=weights))

    def _split(self, data, random_state):
        """Hold rows back for early stopping: scikit-learn's split, of row numbers only."""
        binary = self._classifies and self.n_outputs_ == 1 and data.steps is None
        train, held = train_test_split(
            data.rows,
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=data.y if binary else None,
        )
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        return data.part(train), data.part(held)

    def _given_validation(self, X_val, y_val, weights, loss):
        """Return validation data that the caller gave, or None."""
        if X_val is None and y_val is None:
            if weights is not None:
                raise ValueError("sample_weight_val goes with X_val and y_val, which are missing.")
            return None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val go together; only one of them was given.")
        X_val, y_val = self._check_X_y(X_val, y_val, reset=False)
        if self._classifies and len(np.setdiff1d(unique_labels(y_val), self.classes_)):
            raise ValueError(f"y_val has classes not in y; expected some of {self.classes_}.")
        weights = check_weights(weights, X_val, "sample_weight_val")
        return self._data(X_val, y_val, weights, loss)

    # --- fitting

    def _fit(
        self, X, y, sample_weight, incremental, validation=(None, None, None), classes=None
    ):
        """Check everything, then train; `validation` is X_val, y_val and their weights."""
        self._check_loss()
        if incremental:
            self._check_incremental()
        first = not self._is_fitted() or (not self.warm_start and not incremental)
        given = X, y
        X, y = self._check_X_y(X, y, reset=first)
        if self._classifies:
            self._learn_classes(y, incremental, classes)
        weights = weigh_samples(
            self.class_weight if self._classifies else None, sample_weight, X, y,
            self.classes_ if incremental and self._classifies else None,
        )  # fmt: skip
        network = self._describe_network(self._input_shape(X), self._count_outputs(y))
        self._check_trainable(network)
        random_state = check_random_state(self.random_state)
        seed = noise_seed(random_state)
        # What goes on goes on in the type of its weights, as in scikit-learn.
        dtype = self._computing_dtype(X if first else None)
        if first:
            progress = Progress(self._first_values(network, random_state, dtype, X, weights))
        else:
            progress = self._progress(network, dtype, incremental)
        data = self._data(X, y, weights, network.loss)
        held = self._given_validation(*validation, network.loss)
        if self.early_stopping and self.solver != "lbfgs" and held is None:
            data, held = self._split(data, random_state)
        callbacks = FitCallbacks(self, *given, self._epochs(incremental))
        self._train(
            network, progress, data, held, dtype, callbacks, random_state, seed, incremental
        )
        self._check_outcome(progress)
        self._commit(network, progress, held is not None)
        callbacks.end()
        return self

    def _check_incremental(self):
        """Check that the parameters make sense for partial fits."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver in SOLVERS and self.learning_rate in SCHEDULES:
            raise ValueError(
                f"partial_fit does not support learning_rate={self.learning_rate!r}, a schedule "
                "over all steps of a fit: nobody knows how many are to come."
            )

    def _drawn_by(self):
        """Return the name of the initializer of what `initializer` does not give."""
        return "auto" if isinstance(self.initializer, list) else self.initializer

    def _with_given(self, values):
        """Return first parameters with those in place that `initializer` gives, checked."""
        given, initializer = [], self.initializer
        for i, value in enumerate(initializer if isinstance(initializer, list) else ()):
            try:
                given.append(np.asarray(value))
            except ValueError as error:
                raise ValueError(f"initializer[{i}] is no array: {error}") from None
        shapes = [value.shape for value in values]
        for i, value in enumerate(given):
            if i >= len(shapes) or value.shape != shapes[i]:
                raise ValueError(
                    f"initializer[{i}] is an array of shape {value.shape}; expected those of the "
                    f"first of the network's parameters, of the shapes {shapes}."
                )
            if value.dtype.kind not in "fiu":
                raise ValueError(
                    f"initializer[{i}] is of the type {value.dtype}; expected an array of numbers."
                )
            if not np.isfinite(value).all():
                raise ValueError(f"initializer[{i}] is not finite.")
        return [*given, *values[len(given) :]]

    def _describe_network(self, inputs, n_outputs):
        """Return the Network for a sample's shape and a number of outputs, with known classes."""
        out = self._output_activation()
        self.out_activation_, self.n_outputs_ = out.function, n_outputs
        return self._make_network(inputs, n_outputs, out, self._make_loss(n_outputs, out))

    def _count_outputs(self, y):
        if not self._classifies:
            return 1 if y.ndim == 1 else y.shape[1]
        if self._label_binarizer.y_type_ == "binary" or len(self.classes_) == 1:
            return 1
        return len(self.classes_)

    def _progress(self, network, dtype, incremental):
        """Return the state that a warm start or a partial fit goes on from."""
        progress = Progress(self._values_for(network, dtype), t=getattr(self, "t_", 0))
        curves = ["loss_curve", "validation_loss_curve"]
        if self.early_stopping:
            curves.append("validation_scores")
            best = getattr(self, "best_validation_score_", None)
            progress.best_validation_score = -np.inf if best is None else best
        for name in curves:
            setattr(progress, name, list(getattr(self, f"{name}_", None) or ()))
        best = getattr(self, "best_loss_", None)
        progress.best_loss = np.inf if best is None else best
        progress.no_improvement = getattr(self, "_no_improvement_count", 0)
        progress.optimizer = getattr(self, "_optimizer", None) if incremental else None
        averages, raw = getattr(self, "_raw_values", None) or (None, ())
        # only if nobody has set other averages by hand
        if averages == _checksum(progress.values):
            progress.raw = [value.astype(dtype) for value in raw]
        return progress

    def _epochs(self, incremental):
        """Return how many epochs there are at most."""
        return 1 if incremental else self.max_iter

    def _train(
        self, network, progress, data, held, dtype, callbacks, random_state, seed, incremental
    ):
        """Train by the solver: change `progress`."""
        if self.solver == "lbfgs":
            self._fit_lbfgs(network, progress, data, held, dtype, callbacks)
            return
        trainer = Trainer(
            Recipe.of(self), network, dtype, progress, data, held, self._score_outputs,
            random_state, seed,
        )  # fmt: skip
        trainer.fit(
            self._epochs(incremental),
            incremental,
            lambda: callbacks.begin_epoch(
                lambda other: other._commit(network, trainer.so_far(), held is not None)
            ),
        )

    def _fit_lbfgs(self, network, progress, data, held, dtype, callbacks):
        def after_iteration(values):
            if held is not None:
                loss, score = held.evaluate(
                    network, values(), np.dtype(np.float64), self.n_jobs, self._score_outputs
                )
                progress.validation_loss_curve.append(loss)
                progress.validation_scores.append(score)

            def commit(other):
                curve = progress.loss_curve
                so_far = progress.copy(values=values(), n_iter=len(curve), loss=curve[-1])
                other._commit(network, so_far, held is not None)

            return callbacks.begin_epoch(commit)()

        fit_lbfgs(Recipe.of(self), network, progress, data, after_iteration)
        if self.dtype is not None:
            progress.values = [value.astype(dtype) for value in progress.values]

    def _check_outcome(self, progress):
        """Check that training has not diverged."""
        if not all(np.isfinite(value).all() for value in progress.values):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )

    def _commit(self, network, progress, validated):
        """Make the outcome of training the estimator's own."""
        vars(self).update(self._attributes(network, progress.values))
        self.n_iter_, self.t_, self.loss_ = progress.n_iter, progress.t, progress.loss
        self.loss_curve_ = progress.loss_curve
        raw = progress.raw if self.solver in SOLVERS else None
        self._raw_values = None if raw is None else (_checksum(progress.values), raw)
        self._no_improvement_count = progress.no_improvement
        stopping = self.early_stopping and self.solver != "lbfgs"
        if self.solver != "lbfgs":
            self._optimizer = progress.optimizer
            self.best_loss_ = None if stopping else progress.best_loss
            best = progress.best_validation_score
            self.best_validation_score_ = best if stopping else None
        self.validation_scores_ = progress.validation_scores if validated else None
        self.validation_loss_curve_ = progress.validation_loss_curve if validated else None

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None
    ):
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples; networks for images also take them as (n_samples, height, width) or
            (n_samples, height, width, channels), recurrent ones as (n_samples, time, features) or
            a list of arrays. Read where they lie, whatever their type and order; only lists are
            copied.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of labels, or real numbers; for targets of each step,
            (n_samples, time), (n_samples, time, n_outputs) or a list of arrays.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        X_val, y_val : array-like, default=None
            Data to validate with after each epoch. With early stopping they take the place of the
            part that would be held back.
        sample_weight_val : array-like, default=None
            Weights of those samples.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are not valid, or if the weights diverge; the estimator is
            then as it was before.
        """
        return self._fit(X, y, sample_weight, False, (X_val, y_val, sample_weight_val))

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    # --- predicting

    def _outputs(self, X):
        """Return the network's outputs for checked X."""
        return finite(self._predict(X))

    def _converted(self, X, convert):
        """Return what `convert` makes of the network's outputs for X."""
        if not self._is_fitted():
            check_is_fitted(self)
        return convert(self._outputs(self._validate(X)))

    def _decisions(self, outputs):
        """Return labels, or the targets of a regression, for outputs."""
        if not self._classifies:
            return outputs.ravel() if self.n_outputs_ == 1 else outputs
        if self._label_binarizer.y_type_ == "multiclass" and self.n_outputs_ > 1:
            if len(self.classes_) != outputs.shape[1]:
                raise ValueError(
                    f"classes_ has {len(self.classes_)} labels; expected {outputs.shape[1]}, one "
                    "for each output."
                )
            return self.classes_[outputs.argmax(axis=1)]
        return self._label_binarizer.inverse_transform(
            outputs.ravel() if self.n_outputs_ == 1 else outputs
        )

    def _probabilities(self, outputs):
        """Return the probability of each class for outputs."""
        if self.n_outputs_ == 1:
            outputs = outputs.ravel()
            return np.vstack([1 - outputs, outputs]).T
        return outputs

    @property
    @consistent
    def history_(self):
        """Losses and validation scores by epoch, as a DataFrame."""
        import pandas as pd

        check_is_fitted(self, "loss_curve_")
        columns = {"loss": self.loss_curve_}
        if self.validation_scores_ is not None:
            columns["validation_loss"] = self.validation_loss_curve_
            columns["validation_score"] = self.validation_scores_
        epochs = len(self.loss_curve_)  # validation may have begun later
        columns = {k: [np.nan] * (epochs - len(v)) + v for k, v in columns.items()}
        frame = pd.DataFrame(columns, dtype="float64")
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
        return frame


def targets_source(y, loss):
    """Return encoded targets as the engine reads them."""
    return ClassNumbers(y) if loss.counts_classes else Source(y.reshape(len(y), -1))


def _as_numbers(y):
    """Return the targets of a regression, if they are numbers, or strings of such."""
    if y.dtype.kind == "c":
        raise ValueError("y is complex; expected real numbers.")
    try:
        return numeric(y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"y is of the type {y.dtype}; expected numbers: {error}") from None


def _checksum(values):
    """Return a number that tells parameters from others."""
    checksum = 0
    for value in values:
        checksum = zlib.crc32(np.ascontiguousarray(value), checksum)
    return checksum


def _classifies(estimator):
    if not estimator._classifies:
        raise AttributeError("Only available in classification.")
    return True


class _Predicts:
    """What every network does that predicts targets."""

    @consistent
    def predict(self, X):
        """Predict class labels, or the targets of a regression.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, for each step if y was so, and then for a list X a list of arrays. A
            sample's are the same bits alone and in any batch.
        """
        return self._converted(X, self._decisions)


class ClassifierMethods(_Predicts):
    """What classification adds."""

    @available_if(lambda self: self._check_solver())
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Go once over the data given, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array-like of shape (n_classes,), default=None
            All classes there will ever be; needed at the first call, in classification.

        Returns
        -------
        self : estimator
            The estimator.
        """
        return self._fit(X, y, sample_weight, True, classes=classes)

    @available_if(_classifies)
    @consistent
    def predict_proba(self, X):
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._converted(X, self._probabilities)

    @available_if(_classifies)
    @consistent
    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            return self._converted(X, lambda outputs: np.log(self._probabilities(outputs)))


class RegressorMethods(_Predicts):
    """What regression adds."""

    @available_if(lambda self: self._check_solver())
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Go once over the data given, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : estimator
            The estimator.
        """
        return self._fit(X, y, sample_weight, True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
