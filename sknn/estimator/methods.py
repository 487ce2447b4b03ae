"""Public methods of classifiers and regressors."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import ClassifierTags, RegressorTags, metaestimators

from .base import agree
from .parameters import Array
from .resuming import File
from .tasks import Classification, Regression
from .transactions import Method, consistent, fits


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Wrap scikit-learn's `available_if` so that the method keeps its static type."""
    return metaestimators.available_if(check)


def partial_fits(method: Method) -> Method:
    """Decorate a partial fit: only available for stochastic solvers."""
    return available_if(_goes_on)(fits(method))


def _goes_on(estimator):
    why = estimator._refusal()
    if why is not None:
        raise AttributeError(why)
    return True


def _for_classes(estimator):
    if not estimator._classifies:
        raise AttributeError("Only available in classification.")
    return True


class _Predicts:
    """Methods that classifiers and regressors share."""

    @fits
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
        resume_from: File = None,
    ) -> Self:  # fmt: skip
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples. Networks for images also accept shape (n_samples, height, width)
            or (n_samples, height, width, channels), recurrent networks (n_samples, time, features)
            or a list of arrays. Arrays of any dtype and memory layout are used without a copy;
            only lists are copied. Memory maps of more than a quarter of the machine's memory, and
            Zarr and Dask arrays and other array-likes with `shape`, `dtype` and ``X[rows]`` of more
            than 8 MiB, are read while they are used, in bounded memory. Of arrays in chunks, `fit`
            makes a temporary copy on disk.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a multilabel indicator matrix, or real numbers. For a target at each time
            step: (n_samples, time), (n_samples, time, n_outputs) or a list of arrays.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        X_val, y_val : array-like, default=None
            Validation data, evaluated after each epoch. With early stopping, they are used
            instead of holding out part of the training data.
        sample_weight_val : array-like, default=None
            Sample weights of the validation data.
        """
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation=validation, resume_from=resume_from)

    @consistent
    def predict(self, X) -> Array:
        """Predict class labels or regression targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in the same format as for `fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions; of several quantiles, n_outputs is their number. If y had a target at
            each time step, so have the predictions, as a list of arrays if X is a list. The
            prediction for a sample is bit-identical whether it is predicted alone or in a batch.
        """
        return self._answer(X, self._fitted_task().answer)

    @consistent
    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy, or the coefficient of determination (R2) in regression.

        With several quantiles, the mean of their D2 (:func:`sklearn.metrics.d2_pinball_score`).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in the same format as for `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true targets; targets at each time step all count equally.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            Accuracy, R2 or D2 of ``self.predict(X)`` with respect to `y`.
        """
        y, predictions, weights = self._to_score(X, y, sample_weight)
        return self._task().metric(y, predictions, sample_weight=weights)

    def _to_score(self, X, y, sample_weight):
        """Return targets, predictions and weights, with one row per target."""
        return y, self.predict(X), sample_weight

    def _answer(self, X, convert):
        """Return the network's outputs for X, converted by the task."""
        return convert(self._outputs(X))

    def _fitted_task(self):
        """Return the task of the fitted network."""
        return self._task()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._classifies:
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
            tags.target_tags.multi_output = True
        return tags


class ClassifierMethods(_Predicts):
    """Methods of classifiers."""

    _classifies = True
    _remembered = {"_label_binarizer": LabelBinarizer}

    def _check_loaded(self):
        super()._check_loaded()
        if not self._classifies:
            return
        known, classes = self._label_binarizer, self.classes_
        agree("classes_", classes.shape, known.classes_.shape)
        agree("n_outputs_", self.n_outputs_, self._task().count_outputs(None, None))

    def _task(self):
        """Return the task given by the parameters and the fitted classes."""
        known = getattr(self, "_label_binarizer", None), getattr(self, "classes_", None)
        numbers = self.class_weight, self.label_smoothing
        return Classification(self.loss, self.output_activation, *known, *numbers)

    @partial_fits
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
        """Train for one pass over the given data, continuing from the current state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a multilabel indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        classes : array-like of shape (n_classes,), default=None
            All classes that any call will see; required in the first call, in classification.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @available_if(_for_classes)
    @consistent
    def predict_proba(self, X) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in the same format as for `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return self._answer(X, self._fitted_task().probabilities)

    @available_if(_for_classes)
    @consistent
    def predict_log_proba(self, X) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in the same format as for `fit`.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            task = self._fitted_task()
            return self._answer(X, lambda outputs: np.log(task.probabilities(outputs)))


class RegressorMethods(_Predicts):
    """Methods of regressors."""

    _classifies = False

    def _task(self):
        """Return the task given by the parameters."""
        numbers = self.quantile, self.huber_delta
        return Regression(self.loss, self.output_activation, *numbers)

    @partial_fits
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Train for one pass over the given data, continuing from the current state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        """
        return self._fit(X, y, sample_weight, incremental=True)
