"""The public methods of networks that learn from targets."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.utils import ClassifierTags, RegressorTags, metaestimators

from .parameters import Array
from .tasks import Classification, Regression
from .transactions import Method, consistent, fits


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """Do what scikit-learn's function does, without hiding a method's type."""
    return metaestimators.available_if(check)


def partial_fits(method: Method) -> Method:
    """Make a method a partial fit, for solvers that go on step by step."""
    return available_if(_goes_on)(fits(method))


def _goes_on(estimator):
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def _for_classes(estimator):
    if not estimator._classifies:
        raise AttributeError("Only available in classification.")
    return True


class _Predicts:
    """What every network does that learns from targets and predicts them."""

    @fits
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None
    ) -> Self:
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
        """
        return self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))

    @consistent
    def predict(self, X) -> Array:
        """Predict class labels, or the targets of a regression.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions, for each step if y was so, and then for a list X a list of arrays. A
            sample's are the same bits alone and in any batch.
        """
        return self._answer(X, self._fitted_task().answer)

    @consistent
    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy, or in regression the coefficient of determination.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets; those of steps count alike.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The score.
        """
        y, predictions, weights = self._to_score(X, y, sample_weight)
        return self._task().metric(y, predictions, sample_weight=weights)

    def _to_score(self, X, y, sample_weight):
        """Return targets, predictions and weights, a target a row."""
        return y, self.predict(X), sample_weight

    def _answer(self, X, convert):
        """Return what a task makes of the network's outputs for X."""
        return convert(self._outputs(X))

    def _fitted_task(self):
        """Return the task that the outputs of the fitted network are for."""
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
    """What classification adds."""

    _classifies = True

    def _task(self):
        """Return the task that the parameters, and what is fitted, describe."""
        known = getattr(self, "_label_binarizer", None), getattr(self, "classes_", None)
        return Classification(self.loss, self.output_activation, *known, self.class_weight)

    @partial_fits
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
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
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @available_if(_for_classes)
    @consistent
    def predict_proba(self, X) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._answer(X, self._fitted_task().probabilities)

    @available_if(_for_classes)
    @consistent
    def predict_log_proba(self, X) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            task = self._fitted_task()
            return self._answer(X, lambda outputs: np.log(task.probabilities(outputs)))


class RegressorMethods(_Predicts):
    """What regression adds."""

    _classifies = False

    def _task(self):
        """Return the task that the parameters describe."""
        numbers = self.quantile, self.huber_delta
        return Regression(self.loss, self.output_activation, *numbers)

    @partial_fits
    def partial_fit(self, X, y, sample_weight=None) -> Self:
        """Go once over the data given, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        """
        return self._fit(X, y, sample_weight, incremental=True)
