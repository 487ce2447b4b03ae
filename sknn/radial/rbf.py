"""Radial basis function networks: centers that summarise the inputs, and weights by least squares.

Source: Broomhead and Lowe, 1988; Moody and Darken, 1989 (centers by k-means).
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions

from ..engine.devices import device_named
from ..engine.network import Network
from ..engine.warn import warn
from ..engine.weights import Weights
from ..estimator.groups import (
    Features,
    ForClasses,
    ForNumbers,
    Initializer,
    LayeredDescent,
    Minibatches,
    Scalar,
)
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import LayeredNet
from ..estimator.outcome import has_overflowed
from ..estimator.parameters import COUNT, POSITIVE, Array, fitted, param
from ..estimator.tasks import Wrapper
from ..estimator.transactions import consistent
from ..layers import Activation, Dense, Layer, RadialBasis
from ..tape.losses import Loss
from .centers import distinct_rows, find_centers
from .least_squares import add_moments
from .widths import cluster_widths, shared_width, wide_enough

#: Rows for each center that are looked at for it: more of them hardly move a mean.
_ROWS_PER_CENTER = 256
#: The parameters that centers and widths come from, and what is computed of them.
_FOUND_WITH = ("n_centers", "function", "centers", "widths")


class _Basis(Features):
    """The centers and widths, and how the weights are found."""

    n_centers: int = param(
        """
        Number of centers. Of fewer different rows in X each is a center; where `centers` are given,
        their number counts.""",
        default=100, valid=[COUNT], kw_only=False,
    )
    function: Literal["gaussian", "multiquadric", "inverse_multiquadric", "thin_plate"] = param(
        """
        The function of u = ``|x - c|^2 / s^2``, c a center and s its width: exp(-u / 2),
        sqrt(1 + u), 1 / sqrt(1 + u) or u log(u) / 2.""",
        default="gaussian", kw_only=False,
    )
    centers: Literal["kmeans", "random"] | Sequence[Sequence[float]] | Array = param(
        """
        The centers, or how they are found: means of clusters, or different rows of X, drawn by
        their weights. Of more than 256 rows a center, a random sample of so many is looked at.""",
        default="kmeans", valid=["array-like"],
        kind="{'kmeans', 'random'} or array-like of shape (n_centers, n_features)",
    )
    widths: Literal["auto", "cluster", "shared"] | float | Sequence[float] | Array = param(
        """
        The widths, or one for all, or how they are found. 'cluster': from how far the rows that are
        nearest to a center lie from it. For one feature that is their standard deviation; for d of
        them, ``min(d, 4)`` times the root of the mean squared distance, to which all clusters
        together contribute as much as d - 1 rows do. 'shared': the largest distance between
        centers, divided by ``sqrt(2 * n_centers)``: smoother for one feature, narrow for many. It
        is what 'cluster' falls back to where rows have centers of their own. 'auto': what 'cluster'
        says, but at least the distance to the m-th nearest other center, m being
        ``2 * (n_centers / 2) ** (1 / d - 1 / 2)``, rounded, and at least 1: so bumps overlap for
        one feature too, as wide as with 'shared' where centers are even, narrower where they are
        dense.""",
        default="auto", valid=[POSITIVE, "array-like"],
        kind="{'auto', 'cluster', 'shared'}, float or array-like of shape (n_centers,)",
    )
    solver: Literal["lstsq", "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"] = (
        param(
            """
            How the weights are found. 'lstsq' solves for them, in float64 and in one pass through
            the data; for classes it fits 0 and 1. The others go through the data in minibatches;
            with the other defaults, 'sgd' is the online rule.""",
            default="lstsq",
        )
    )
    train_centers: bool = param(
        "Whether the centers are trained too; not for 'lstsq'.", default=False, after="alpha"
    )
    train_widths: bool = param(
        "Whether the widths are trained too; not for 'lstsq'.", default=False, after="train_centers"
    )


class _OnlineRule(Minibatches, LayeredDescent):
    """Training with the online rule's defaults."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights (not the intercepts): for 'lstsq' as in
        :class:`sklearn.linear_model.Ridge`, for the others divided by the sum of weights of the
        batch. 0: with 'lstsq', the smallest weights that fit best.""",
        default=1e-5,
    )
    batch_size: int | Literal["auto"] = param(default=1)
    learning_rate_init: float = param(default=0.01)
    max_iter: int = param("The largest number of epochs.", default=100)
    momentum: float = param(default=0.0)
    warm_start: bool = param(
        """
        Whether `fit` goes on from the last fit: its centers and widths, and, except for 'lstsq',
        its weights.""",
        default=False,
    )
    initializer: Initializer = param(
        """
        How weights start, except for 'lstsq': 'auto' (standard normal, the intercepts too), or one
        of those of :class:`~sknn.ConvNetClassifier`, such as 'glorot_uniform' or 'zeros'.""",
        default="auto", valid=[StrOptions(set(get_args(Initializer)))], kind="str",
    )
    dtype: Scalar | None = param(
        """
        What is computed in; None: float64 where X to fit is float64, else float32. 'lstsq' always
        computes in float64, and with None the network then does, too.""",
        default=None,
    )

    centers_: Array = fitted("The centers.", kind="ndarray of shape (n_centers, n_features)")
    widths_: Array = fitted("Their widths.", kind="ndarray of shape (n_centers,)")
    layers_: list[Layer] = fitted(
        "The network: a :class:`~sknn.layers.RadialBasis` and the output layer."
    )


class _TrainedOrSolved:
    """The task of a network whose weights are trained, or solved for by least squares."""

    def _task(self):
        """Return the task that the parameters, and what is fitted, describe."""
        task = super()._task()
        return LeastSquares(task, self) if self._solves else task

    def _fitted_task(self):
        solved = getattr(self, "out_activation_", None) == "identity"
        return LeastSquares(super()._task(), self) if solved else super()._task()


class LeastSquares(Wrapper):
    """A task for which weights are solved for, and not trained.

    Parameters
    ----------
    task : Classification or Regression
    parameters : object
        Whose attributes are the parameters of the estimator.
    """

    def __init__(self, task, parameters):
        super().__init__(task)
        self._parameters = parameters

    def check(self):
        """Raise ValueError unless the parameters are for this task."""
        for name in ("train_centers", "train_widths", "early_stopping", "average", "l1"):
            value = getattr(self._parameters, name)
            if value:
                raise ValueError(
                    f"{name}={value!r} is for the solvers that go on step by step; "
                    "solver='lstsq' solves for the weights at once."
                )
        if self.output_activation not in ("auto", "identity", Activation("identity")):
            raise ValueError(
                f"output_activation={self.output_activation!r} is not for solver='lstsq', whose "
                "outputs are sums; expected 'auto' or 'identity'."
            )
        if not self.classifies and self.task.loss_name != "squared_error":
            raise ValueError(
                f"loss={self.task.loss_name!r} is not for solver='lstsq', which makes the squared "
                "error smallest; expected 'squared_error'."
            )

    def head(self, n_outputs):
        return Activation("identity"), Loss("squared_error", "identity")

    def probabilities(self, outputs):
        """Return the probability of each class for outputs, which were fitted to 0 and 1."""
        least = np.finfo(outputs.dtype).eps
        outputs = np.clip(outputs, least, 1 - least)
        if outputs.shape[1] > 1 and self.exclusive:
            outputs = outputs / outputs.sum(axis=1, keepdims=True)
        return self.task.probabilities(outputs)


class _BaseRBFNet(LayeredNet):
    """What both networks share: all but the constructor."""

    @property
    def _solves(self):
        return self.solver == "lstsq"

    def _computing_dtype(self, inputs):
        return np.dtype(np.float64) if self._solves else super()._computing_dtype(inputs)

    # --- the network

    def _network(self, task, inputs, n_outputs):
        """Return the network; how many centers it gets is known with them."""
        out, loss = task.head(n_outputs)
        basis = RadialBasis(
            int(self.n_centers), self.function, train_centers=self.train_centers,
            train_widths=self.train_widths,
        )  # fmt: skip
        return Network((basis, Dense(n_outputs), out), inputs.inputs, loss), {}

    def _first_values(self, job, inputs, y, weights):
        """Find centers and widths, and draw the weights that are not solved for."""
        X, network, random_state = inputs.values, job.network, job.random_state
        given = None if isinstance(self.centers, str) else self._given_centers(X)
        n_centers = self.n_centers if given is None else len(given)
        job.attributes["_found_with"] = self._found_by
        rows, centers = None, given
        if given is None or isinstance(self.widths, str):
            rows, weights = distinct_rows(X, weights, _ROWS_PER_CENTER * n_centers, random_state)
        if given is None:
            centers = find_centers(self.centers, n_centers, rows, weights, random_state)
            if job.incremental and len(centers) < n_centers:
                warn(
                    f"The first samples of partial_fit have {len(centers)} different rows, so that "
                    f"there will be as many centers, not n_centers={n_centers}. Begin with more "
                    "samples, or give centers."
                )
        # what they are rounded to in the end counts from the beginning
        centers = np.asarray(centers, np.float64 if self.dtype is None else self.dtype)
        centers = centers.astype(np.float64)
        widths = self._first_widths(job, rows, weights, centers)
        widths = widths.astype(self.dtype or np.float64).astype(np.float64)
        if not (np.isfinite(centers).all() and (widths**2 > 0).all()):
            raise ValueError(
                f"Centers are not finite, or widths are zero, in {self.dtype or 'float64'}: X has "
                "values that are too large or too small; scale it."
            )
        weights = self._first_weights(len(centers), network.outputs, random_state)
        values = [centers.T, widths, *weights]
        return [np.ascontiguousarray(value, job.dtype) for value in values]

    @property
    def _found_by(self):
        """The parameters that centers and widths follow from, as they are now."""
        return {name: copy.copy(getattr(self, name)) for name in _FOUND_WITH}

    def _to_load(self, sizes, classes):
        network, attributes = super()._to_load(sizes, classes)
        return network, attributes | {"_found_with": self._found_by}

    def _given_centers(self, X):
        centers = check_array(self.centers, dtype=[np.float64, np.float32], input_name="centers")
        if centers.shape[1] != X.shape[1]:
            raise ValueError(
                f"centers have {centers.shape[1]} features; expected {X.shape[1]}, as X has."
            )
        return centers

    def _first_widths(self, job, rows, weights, centers):
        k = len(centers)
        if isinstance(self.widths, str):
            device = device_named(job.recipe.device)
            threads = device.threads(job.network, rows.shape[0], self.n_jobs)
            if self.widths == "shared":
                return np.full(k, shared_width(centers, threads, device))
            widths = cluster_widths(rows, weights, centers, threads, device)
            if self.widths == "cluster":
                return widths
            return wide_enough(widths, rows, weights, centers, threads, device)
        if np.ndim(self.widths) == 0 and self.widths > 0:
            return np.full(k, float(self.widths))
        widths = check_array(self.widths, dtype=np.float64, ensure_2d=False, input_name="widths")
        if widths.shape != (k,) or not (widths > 0).all():
            raise ValueError(
                f"widths is an array of shape {widths.shape}; expected {k} positive numbers, one "
                "for each center."
            )
        return widths

    def _first_weights(self, n_centers, n_outputs, random_state):
        if self._solves:
            return np.zeros((n_centers, n_outputs)), np.zeros(n_outputs)
        if self.initializer == "auto":
            shapes = (n_centers, n_outputs), n_outputs
            return [random_state.standard_normal(shape) for shape in shapes]
        return Dense(n_outputs).draw((n_centers,), random_state, self.initializer, last=True)

    def _values_for(self, network, dtype):
        for name, value in self._found_with.items():
            if not np.array_equal(value, getattr(self, name)):
                raise ValueError(
                    f"{name} has changed since the last fit, to {getattr(self, name)!r}: the "
                    "centers and widths there are were found with another one. Fit anew, with "
                    "warm_start=False, or set it back."
                )
        return super()._values_for(_sized(network, self._weights.values), dtype)

    # --- training

    def _check_outcome(self, job, begin):
        if not self._solves:
            super()._check_outcome(job, begin)
        elif has_overflowed(job) or not np.isfinite(job.progress.loss):
            raise ValueError(
                "Least squares gives no finite weights or loss: X or y have values that are too "
                "large; scale them."
            )

    def _train(self, job, callbacks):
        job.network = _sized(job.network, job.progress.values)
        if self._solves:
            self._solve(job, callbacks)
            return
        job.attributes["_moments"] = None  # they belong to these centers and widths only
        super()._train(job, callbacks)

    def _solve(self, job, callbacks):
        """Find the weights by least squares: change the job's progress."""
        network, progress, data = job.network, job.progress, job.data
        centers, widths = progress.values[:2]
        before = getattr(self, "_moments", None) if job.incremental else None
        on = device_named(job.recipe.device)
        moments = add_moments(network, centers, widths, data, self.n_jobs, on, before)
        job.attributes["_moments"] = moments
        *progress.values[2:], errors = moments.solve(len(widths), self.alpha)
        if self.dtype is not None:
            progress.values = [value.astype(self.dtype) for value in progress.values]
        finish = callbacks.begin_epoch(lambda other: other._commit(job, progress.copy()))
        weights = Weights(network, progress.values, progress.values[0].dtype)
        weights = weights.on(job.recipe.device)
        if errors is None or job.incremental or self.dtype is not None:  # else they are exact
            progress.loss, _ = data.evaluate(weights, self.n_jobs)
        else:
            progress.loss = float(errors.mean()) / 2
        progress.best_loss = min(progress.best_loss, progress.loss)
        progress.loss_curve.append(progress.loss)
        progress.n_iter, progress.t = 1, progress.t + len(data.rows)
        if self.verbose:
            print(f"Iteration 1, loss = {progress.loss:.8f}")
        if job.held is not None:
            progress.validate(job.held, job.score, weights, self.n_jobs)
        finish()

    # --- what is fitted

    @property
    @consistent
    def centers_(self):
        """The centers."""
        return self.weights_["layers.0"]["centers"].T.copy()

    @property
    @consistent
    def widths_(self):
        """The width of each center."""
        return np.abs(self.weights_["layers.0"]["widths"])  # of which the square counts

    @property
    @consistent
    def coef_(self):
        """The weights, as linear models have them."""
        coef = self.weights_["layers.1"]["kernel"].T.copy()
        return coef.ravel() if self._is_flat else coef

    @property
    @consistent
    def intercept_(self):
        """The intercepts, as linear models have them."""
        intercept = self.weights_["layers.1"]["bias"]
        return float(intercept[0]) if self._is_flat else intercept

    @property
    def _is_flat(self):
        return not self._classifies and self.n_outputs_ == 1


def _sized(network, values):
    """Return the network with as many centers as the values have."""
    basis, *others = network.layers
    return replace(network, layers=(replace(basis, units=values[0].shape[1]), *others))


class RBFNetClassifier(
    ForClasses, _OnlineRule, _Basis,
    _TrainedOrSolved, ClassifierMethods, ClassifierMixin, _BaseRBFNet,
):  # fmt: skip
    """A radial basis function network for classification.

    The outputs are sums of bumps, one around each of some centers among the samples. With the
    default solver they are fitted to 0 and 1, a column for each class (one for two). The class is
    then that of the largest output, and probabilities are the outputs, held in [0, 1] and divided
    by their sum.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import RBFNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> net = RBFNetClassifier(200, random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.97)
    True
    """

    alpha: float = param(default=1e-3)

    coef_: Array = fitted(
        "The weights.", kind="ndarray of shape (1, n_centers) or (n_outputs, n_centers)"
    )
    intercept_: Array = fitted("What is added to them.", kind="ndarray of shape (n_outputs,)")


class RBFNetRegressor(
    ForNumbers, _OnlineRule, _Basis,
    _TrainedOrSolved, RegressorMethods, RegressorMixin, _BaseRBFNet,
):  # fmt: skip
    """A radial basis function network for regression.

    The outputs are sums of bumps, one around each of some centers among the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import RBFNetRegressor
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> y = np.sin(2 * np.pi * X[:, 0])
    >>> net = RBFNetRegressor(5, random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.99)
    True
    """

    coef_: Array = fitted(
        "The weights.", kind="ndarray of shape (n_centers,) or (n_outputs, n_centers)"
    )
    intercept_: float | Array = fitted("What is added to them.")
