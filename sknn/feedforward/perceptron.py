"""Rosenblatt's perceptron."""

import copy
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ..engine import interrupts
from ..engine.data import Data
from ..engine.devices import HOST, device_named
from ..engine.lowering import compile_ahead
from ..engine.network import Network
from ..engine.prediction import finite, predict
from ..engine.training import Progress
from ..engine.warn import warn
from ..engine.weights import Weights
from ..estimator.base import agree
from ..estimator.callbacks import FitCallbacks
from ..estimator.checks import check_layer, computing_dtype, sound, validated, weigh_samples
from ..estimator.groups import Features, Scalar
from ..estimator.inputs import Rows
from ..estimator.parameters import COUNT, POSITIVE, THREADS, Array, fitted, param
from ..estimator.resuming import File, Record, resume, traits_of
from ..estimator.transactions import LATER, NeuralEstimator, consistent, fits
from ..files.codec import check_counts, storable
from ..files.records import check_arrays
from ..layers import Activation, Dense
from ..tape.losses import Loss
from ..tape.on_demand import read_on_demand
from ..tape.packing import rounded
from ..tape.sources import ClassNumbers, Source


class PerceptronClassifier(Features, ClassifierMixin, NeuralEstimator):
    """Rosenblatt's perceptron; one-vs-rest for more than two classes.

    A neuron fires if its weighted sum is at least 0. It is trained on one sample at a time: with
    the error e = target - output, ``learning_rate_init * e * x`` is added to the weights and
    ``learning_rate_init * e`` to the bias. On linearly separable data, this converges after
    finitely many errors. The initial weights are zero.

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
        "The learning rate. Since the initial weights are zero, it only scales the weights.",
        default=1.0, valid=[POSITIVE],
    )
    fit_intercept: bool = param("Whether to learn a bias.", default=True)
    max_iter: int = param(
        "Maximum number of epochs. Training stops after the first epoch without errors.",
        default=1000, valid=[COUNT],
    )
    shuffle: bool = param(
        "Whether to shuffle the samples in each epoch.", default=True
    )
    random_state: int | np.random.RandomState | None = param(
        "Seed for the order of samples.", default=None
    )
    average: bool = param(
        """
        Whether `coef_` and `intercept_` are averages over all steps instead of the final values
        (averaged perceptron). This predicts better on data that are not linearly separable.""",
        default=False,
    )
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = param(
        "Class weights, multiplied by `sample_weight`.",
        default=None, valid=[dict], kind="dict, 'balanced' or None",
    )
    verbose: bool | int = param(
        "Whether to print the number of errors of each epoch.",
        default=False, valid=["verbose"], kind="bool",
    )
    warm_start: bool = param(
        "Whether `fit` continues from the weights of the last fit.", default=False
    )
    dtype: Scalar | None = param(
        "Floating-point type of the computation. None: float32 if X is float32, else float64.",
        default=None,
    )
    n_jobs: int | None = param(
        "Number of threads for prediction; training is sequential.",
        default=None, valid=THREADS,
    )

    classes_: Array = fitted(
        "The class labels. With two classes, the neuron fires for the second.",
        kind="ndarray of shape (n_classes,)",
    )
    coef_: Array = fitted(
        "Weights.", kind="ndarray of shape (1, n_features) or (n_classes, n_features)"
    )
    intercept_: Array = fitted("Biases.", kind="ndarray of shape (1,) or (n_classes,)")
    n_iter_: int = fitted("Number of epochs of the last fit.")
    errors_: list[int] = fitted("Number of wrong outputs in each epoch.")
    loss_curve_: list[float] = fitted(
        """
        Perceptron criterion in each epoch: the absolute weighted sums of the wrong outputs,
        averaged over the samples."""
    )
    t_: int = fitted("Number of training samples seen.")

    _remembered = {"_state": object}

    def _check_loaded(self):
        super()._check_loaded()
        units = 1 if len(self.classes_) == 2 else len(self.classes_)
        agree("classes_", self.classes_.ndim, 1)
        agree("coef_", np.shape(self.coef_), (units, self.n_features_in_))
        agree("intercept_", np.shape(self.intercept_), (units,))
        agree("errors_", len(self.errors_), len(self.loss_curve_))
        agree("_state", (type(self._state), self._state.seen), (_State, self.t_))
        agree("_state", self._state.weights.shape, (self.n_features_in_, units))

    @fits
    def fit(self, X, y, sample_weight=None, *, resume_from: File = None) -> Self:
        """Fit the perceptron.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights, which multiply the learning rate; samples with weight 0 are skipped.
        """
        resumed = resume(self, resume_from)
        first = resumed is None and not (self.warm_start and hasattr(self, "coef_"))
        return self._fit(X, y, sample_weight, self.max_iter, first, resumed)

    @fits
    def partial_fit(self, X, y, sample_weight=None, classes=None) -> Self:
        """Train for one pass over the given data, continuing from the current state.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The training samples.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights, which multiply the learning rate.
        classes : array-like of shape (n_classes,), default=None
            All classes that any call will see; required in the first call.
        """
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, None, not hasattr(self, "coef_"))

    def _fit(self, X, y, sample_weight, epochs, first, resumed=None):
        """Train for at most `epochs` epochs; None is one pass of a partial fit."""
        X, y = validated(self, sound(read_on_demand(X)), y, accept_sparse="csr", reset=first)
        check_classification_targets(y)
        numbers = self._class_numbers(y, known=epochs is None or not first)
        weights = weigh_samples(
            self.class_weight, sample_weight, X, y, self.classes_ if epochs is None else None
        )
        dtype = computing_dtype(self.dtype, X if first else self.coef_)
        units = 1 if len(self.classes_) == 2 else len(self.classes_)
        source = Rows(X, X.shape[1]).source(repeatedly=True)
        device = device_named(HOST)  # samples come one by one
        padded = rounded(units, device.packing(dtype).vector(units))
        state = _State(units, padded, X.shape[1], dtype, self.average)
        if not first:
            state.restore(self)
        pass_over = device.perceptron(
            state, source, numbers, weights, self.learning_rate_init, self.fit_intercept
        )
        random_state = check_random_state(self.random_state)
        order = np.arange(X.shape[0])
        traits = cache(lambda: traits_of(Data(source, numbers, weights, order), None))
        done = 0
        if resumed is not None:
            resumed.check(traits(), epochs)
            resumed.restore(random_state)
            done = resumed.progress.n_iter
        callbacks = FitCallbacks(self, X, y, epochs or 1, done, resumed and resumed.path)
        before = ([], []) if first else (self.errors_, self.loss_curve_)
        errors, losses = ([] if not done else curve[-done:] for curve in before)
        before = [curve[: len(curve) - done] for curve in before]
        converged = errors[-1:] == [0]

        def record():
            now = copy.deepcopy(random_state)
            return Record(0, now, None, Progress([], n_iter=len(errors)), {}, traits())

        def commit(other):
            vars(other).update(state.attributes())
            other._state, other.t_ = copy.deepcopy(state), state.seen
            other.n_iter_ = len(errors)
            other.errors_, other.loss_curve_ = before[0] + errors, before[1] + losses

        try:
            for epoch in range(done, done if converged else epochs or 1):
                finish = callbacks.begin_epoch(commit, record if epochs else None)
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
                        f"Maximum number of epochs ({epochs}) reached, with {errors[-1]} "
                        "errors in the last epoch; the classes may not be linearly separable.",
                        ConvergenceWarning,
                    )
        except KeyboardInterrupt as interrupt:
            interrupts.take(interrupt)
        commit(self)
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all()):
            raise self._diverged()
        callbacks.end()
        if first:
            network = _network(X.shape[1], units)
            vars(self)[LATER] = partial(compile_ahead, network, dtype, source.key)
        return self

    def _diverged(self):
        return ValueError(
            f"The weights are no longer finite, with learning_rate_init={self.learning_rate_init:g}"
            ": it may be too large, or X or sample_weight may contain large values and need "
            "scaling."
        )

    def _class_numbers(self, y, known):
        """Return the class index of each sample, setting `classes_` if not `known`."""
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
            Weighted sums. For two classes, values of at least 0 mean the second class.
        """
        check_is_fitted(self)
        X = validated(self, sound(read_on_demand(X)), accept_sparse="csr", reset=False)
        w, b = np.asarray(self.coef_).T, np.asarray(self.intercept_)
        check_layer(w, b, X.shape[1], "coef_.T", "intercept_")
        dtype = computing_dtype(self.dtype, X, w)
        inputs, units = w.shape
        expected = 1 if len(self.classes_) == 2 else len(self.classes_)
        if units != expected:
            raise ValueError(f"coef_ has {units} rows; expected {expected} for these classes_.")
        values = [w.astype(dtype), b.astype(dtype)]
        weights = Weights.of_packed(_network(inputs, units), values, dtype)
        sums = finite(predict(weights, Source(X), self.n_jobs))
        return sums.ravel() if units == 1 else sums

    @consistent
    def predict(self, X) -> Array:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted class labels.
        """
        sums = self.decision_function(X)
        numbers = (sums >= 0).astype(int) if sums.ndim == 1 else sums.argmax(axis=1)
        return self.classes_[numbers]


def _network(inputs, units):
    """Return the network that computes the neurons' weighted sums."""
    layers = Dense(units), Activation("identity")
    return Network(layers, inputs, Loss("squared_error", "identity"))


class _State:
    """Weights in the device layout: ``[inputs][units]``, units padded to a SIMD vector."""

    def __init__(self, units, padded, inputs, dtype, average):
        self.units, self.dtype, self.seen = units, dtype, 0
        self.weights, self.biases = np.zeros((inputs, padded), dtype), np.zeros(padded, dtype)
        self.moments = np.zeros_like(self.weights) if average else None
        self.bias_moments = np.zeros_like(self.biases) if average else None

    def __getstate__(self):
        """Return the state to pickle, without the padding."""
        found = {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return vars(self) | {k: v[..., : self.units] for k, v in found.items()}

    @classmethod
    def loaded(cls, **state):
        """Return the state that a file describes, checked."""
        made = object.__new__(cls)
        vars(made).update(state)
        check_counts("_State", units=made.units, seen=made.seen)
        weights, dtype = made.weights, np.dtype(made.dtype)
        shapes = [(*weights.shape[:1], made.units), (made.units,)]
        check_arrays("_State", [weights, made.biases], shapes, [dtype])
        if made.moments is not None:
            check_arrays("_State", [made.moments, made.bias_moments], shapes, [dtype])
        return made

    def restore(self, estimator):
        """Continue from a fitted estimator and its public weights."""
        old = estimator._state
        found = [old.weights, old.biases]
        if old.moments is None:  # the user may have set them
            found = [estimator.coef_.T, estimator.intercept_]
        if found[0].shape[0] != len(self.weights) or len(estimator.coef_) != self.units:
            raise ValueError(
                f"coef_ has shape {estimator.coef_.shape}; expected "
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
        """Return `coef_` and `intercept_`, averaged if requested."""
        weights, biases = self.weights, self.biases
        if self.moments is not None and self.seen:
            # the average over steps is w minus each update times the fraction of steps before it
            weights = weights - self.moments / self.seen
            biases = biases - self.bias_moments / self.seen
        return {
            "coef_": weights[:, : self.units].T.copy(),
            "intercept_": biases[: self.units].copy(),
        }


storable(_State, _State.__getstate__, _State.loaded, "PerceptronState")
