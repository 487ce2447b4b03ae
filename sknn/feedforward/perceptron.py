"""Rosenblatt's perceptron."""

import copy
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ..engine import interrupts
from ..engine.devices import HOST, device_named
from ..engine.lowering import compile_ahead
from ..engine.network import Network
from ..engine.prediction import finite, predict
from ..engine.warn import warn
from ..engine.weights import Weights
from ..estimator.callbacks import FitCallbacks
from ..estimator.checks import check_layer, computing_dtype, sound, validated, weigh_samples
from ..estimator.groups import Features, Scalar
from ..estimator.parameters import COUNT, POSITIVE, THREADS, Array, fitted, param
from ..estimator.transactions import NeuralEstimator, consistent, fits
from ..layers import Activation, Dense
from ..tape.losses import Loss
from ..tape.packing import rounded
from ..tape.sources import ClassNumbers, Source


class PerceptronClassifier(Features, ClassifierMixin, NeuralEstimator):
    """Rosenblatt's perceptron; several classes one against the rest.

    A neuron fires where its weighted sum is at least 0. Samples come one by one: with the error
    e = target - output, the weights gain ``learning_rate * e * x`` and the bias
    ``learning_rate * e``. From zero weights, on any set that a hyperplane separates, this ends
    after finitely many errors.

    References
    ----------
    F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization
    in the brain", Psychological Review 65, 1958. Averaging: Y. Freund and R. E. Schapire, "Large
    margin classification using the perceptron algorithm", Machine Learning 37, 1999.

    Examples
    --------
    >>> from sknn import PerceptronClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 1]
    >>> neuron = PerceptronClassifier(shuffle=False).fit(X, y)
    >>> neuron.intercept_, neuron.coef_
    (array([-3.]), array([[2., 1.]]))
    """

    learning_rate_init: float = param(
        "The learning rate. From zero weights it scales them and changes nothing else.",
        default=1.0, valid=[POSITIVE],
    )
    fit_intercept: bool = param("Whether the neurons have a bias.", default=True)
    max_iter: int = param(
        "The largest number of epochs. Training ends with the first one without an error.",
        default=1000, valid=[COUNT],
    )
    shuffle: bool = param(
        "Whether to go through the samples in a new order in each epoch.", default=True
    )
    random_state: int | np.random.RandomState | None = param(
        "Seed of the order of samples.", default=None
    )
    average: bool = param(
        """
        Whether `coef_` and `intercept_` are the averages over all steps instead of the last ones;
        on data that no hyperplane separates they predict better.""",
        default=False,
    )
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = param(
        "Weights of the classes, multiplied with `sample_weight`.",
        default=None, valid=[dict], kind="dict, 'balanced' or None",
    )
    verbose: bool | int = param(
        "Whether to print the number of errors of each epoch.",
        default=False, valid=["verbose"], kind="bool",
    )
    warm_start: bool = param(
        "Whether `fit` goes on from the weights of the last fit.", default=False
    )
    dtype: Scalar | None = param(
        "What is computed in; None follows X: float32 for float32, else float64.", default=None
    )
    n_jobs: int | None = param(
        "Number of threads to predict with; training goes sample by sample.",
        default=None, valid=THREADS,
    )

    classes_: Array = fitted(
        "The class labels. With two, the neuron fires for the second.",
        kind="ndarray of shape (n_classes,)",
    )
    coef_: Array = fitted(
        "Weights.", kind="ndarray of shape (1, n_features) or (n_classes, n_features)"
    )
    intercept_: Array = fitted("Biases.", kind="ndarray of shape (1,) or (n_classes,)")
    n_iter_: int = fitted("Epochs of the last fit.")
    errors_: list[int] = fitted("Wrong outputs in each epoch.")
    loss_curve_: list[float] = fitted(
        """
        The perceptron criterion in each epoch: the mean over samples of the size of the sums that
        were on the wrong side."""
    )
    t_: int = fitted("Samples seen.")

    @fits
    def fit(self, X, y, sample_weight=None) -> Self:
        """Fit the perceptron.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of the samples' learning rate; a sample of weight 0 is passed over.
        """
        first = not (self.warm_start and hasattr(self, "coef_"))
        return self._fit(X, y, sample_weight, self.max_iter, first)

    @fits
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
        """Go once over the data given, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of the samples' learning rate.
        classes : array-like of shape (n_classes,), default=None
            All classes there will ever be; needed at the first call.
        """
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, None, not hasattr(self, "coef_"))

    def _fit(self, X, y, sample_weight, epochs, first):
        """Train for at most `epochs` epochs; None is one pass over part of the data."""
        X, y = validated(self, sound(X), y, accept_sparse="csr", reset=first)
        check_classification_targets(y)
        numbers = self._class_numbers(y, known=epochs is None or not first)
        weights = weigh_samples(
            self.class_weight, sample_weight, X, y, self.classes_ if epochs is None else None
        )
        dtype = computing_dtype(self.dtype, X if first else self.coef_)
        units = 1 if len(self.classes_) == 2 else len(self.classes_)
        device = device_named(HOST)  # samples come one by one
        padded = rounded(units, device.packing(dtype).vector(units))
        state = _State(units, padded, X.shape[1], dtype, self.average)
        if not first:
            state.restore(self)
        pass_over = device.perceptron(
            state, Source(X), numbers, weights, self.learning_rate_init, self.fit_intercept
        )
        callbacks = FitCallbacks(self, X, y, epochs or 1)
        random_state = check_random_state(self.random_state)
        order = np.arange(X.shape[0])
        errors, losses = [], []
        before = ([], []) if first else (self.errors_, self.loss_curve_)

        def commit(other):
            vars(other).update(state.attributes())
            other._state, other.t_ = copy.deepcopy(state), state.seen
            other.n_iter_ = len(errors)
            other.errors_, other.loss_curve_ = before[0] + errors, before[1] + losses

        try:
            for epoch in range(epochs or 1):
                finish = callbacks.begin_epoch(commit)
                rows = random_state.permutation(order) if self.shuffle else order
                wrong, loss = pass_over(rows)
                if not np.isfinite([wrong, loss]).all():
                    raise self._diverged()
                errors.append(int(wrong))
                losses.append(float(loss) / len(rows))
                if self.verbose:
                    print(f"Iteration {epoch + 1}, errors = {errors[-1]}")
                if finish() or (epochs and not wrong):
                    break
                if epoch + 1 == epochs:
                    warn(
                        f"Maximum number of epochs ({epochs}) reached, still with {errors[-1]} "
                        "errors in the last one; the classes may not be linearly separable.",
                        ConvergenceWarning,
                    )
        except KeyboardInterrupt as interrupt:
            interrupts.take(interrupt)
        commit(self)
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all()):
            raise self._diverged()
        callbacks.end()
        if first:
            compile_ahead(_network(X.shape[1], units), dtype, Source(X).key)
        return self

    def _diverged(self):
        return ValueError(
            f"The weights are no longer finite, with learning_rate_init={self.learning_rate_init:g}"
            ": it may be too large, or X or sample_weight may contain large values and need "
            "scaling."
        )

    def _class_numbers(self, y, known):
        """Return the number of each sample's class, after learning the classes if need be."""
        labels, numbers = np.unique(y, return_inverse=True)
        if not known:
            self.classes_ = labels
        elif len(np.setdiff1d(labels, self.classes_)):
            raise ValueError(
                f"y has classes not in `self.classes_`: got {labels}, expected some of "
                f"{self.classes_}."
            )
        else:
            numbers = np.searchsorted(self.classes_, labels)[numbers]
        if len(self.classes_) < 2:
            raise ValueError(
                "PerceptronClassifier needs samples of at least 2 classes in the data, but the "
                f"data contains only one class: {self.classes_[0]!r}"
            )
        return ClassNumbers(numbers)

    @consistent
    def decision_function(self, X) -> Array:
        """Return the neurons' weighted sums.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        sums : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, at least 0 means the second.
        """
        check_is_fitted(self)
        X = validated(self, sound(X), accept_sparse="csr", reset=False)
        w, b = np.asarray(self.coef_).T, np.asarray(self.intercept_)
        check_layer(w, b, X.shape[1], "coef_.T", "intercept_")
        dtype = computing_dtype(self.dtype, X, w)
        inputs, units = w.shape
        expected = 1 if len(self.classes_) == 2 else len(self.classes_)
        if units != expected:
            raise ValueError(f"coef_ has {units} rows; expected {expected}, as classes_ say.")
        values = [w.astype(dtype), b.astype(dtype)]
        weights = Weights.of_packed(_network(inputs, units), values, dtype)
        sums = finite(predict(weights, Source(X), self.n_jobs))
        return sums.ravel() if units == 1 else sums

    @consistent
    def predict(self, X) -> Array:
        """Predict classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Their classes.
        """
        sums = self.decision_function(X)
        numbers = (sums >= 0).astype(int) if sums.ndim == 1 else sums.argmax(axis=1)
        return self.classes_[numbers]


def _network(inputs, units):
    """Return the neurons' weighted sums as a network."""
    layers = Dense(units), Activation("identity")
    return Network(layers, inputs, Loss("squared_error", "identity"))


class _State:
    """Weights as a device wants them: ``[inputs][units]``, units rounded up to a vector."""

    def __init__(self, units, padded, inputs, dtype, average):
        self.units, self.dtype, self.seen = units, dtype, 0
        self.weights, self.biases = np.zeros((inputs, padded), dtype), np.zeros(padded, dtype)
        self.moments = np.zeros_like(self.weights) if average else None
        self.bias_moments = np.zeros_like(self.biases) if average else None

    def __getstate__(self):
        """Return what is kept: without what rounds the units up."""
        found = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return vars(self) | {k: v[..., : self.units] for k, v in found.items()}

    def restore(self, estimator):
        """Go on from a fitted estimator, with the weights that it shows."""
        old = estimator._state
        found = [old.weights, old.biases]
        if old.moments is None:  # they may have been set by hand
            found = [estimator.coef_.T, estimator.intercept_]
        if found[0].shape[0] != len(self.weights) or len(estimator.coef_) != self.units:
            raise ValueError(
                f"coef_ has the shape {estimator.coef_.shape}; expected "
                f"{(self.units, self.weights.shape[0])}."
            )
        own = [self.weights, self.biases]
        if self.moments is not None and old.moments is not None:
            own += [self.moments, self.bias_moments]
            found += [old.moments, old.bias_moments]
        for mine, theirs in zip(own, found, strict=True):
            mine[..., : self.units] = theirs[..., : self.units]
        self.seen = old.seen

    def attributes(self):
        """Return `coef_` and `intercept_`, averaged if that is asked for."""
        weights, biases = self.weights, self.biases
        if self.moments is not None and self.seen:
            # the average over steps is w minus each change times the share of steps before it
            weights = weights - self.moments / self.seen
            biases = biases - self.bias_moments / self.seen
        return {
            "coef_": weights[:, : self.units].T.copy(),
            "intercept_": biases[: self.units].copy(),
        }
