"""Radial basis function networks: centers that represent the inputs, weights by least squares.

Sources: Broomhead and Lowe, 1988; Moody and Darken, 1989 (centers by k-means).
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions

from ..engine.devices import device_named
from ..engine.network import Network
from ..engine.warn import warn
from ..engine.weights import Weights
from ..estimator.base import agree
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
from .least_squares import Moments, add_moments
from .widths import cluster_widths, shared_width, wide_enough

#: Rows per center that centers and widths are found from: more hardly change a mean.
_ROWS_PER_CENTER = 256
#: The parameters that determine the centers, the widths and the outputs of the units.
_FOUND_WITH = ("n_centers", "function", "centers", "widths")


class _Basis(Features):
    """The parameters of the centers and widths, and the method of fitting the weights."""

    n_centers: int = param(
        """
        Number of centers. If X has fewer distinct rows, each of them is a center. Ignored if
        `centers` is an array.""",
        default=100, valid=[COUNT], kw_only=False,
    )
    function: Literal["gaussian", "multiquadric", "inverse_multiquadric", "thin_plate"] = param(
        """
        The radial basis function, of u = ``|x - c|^2 / s^2`` with c the center and s its width:
        exp(-u / 2) ('gaussian'), sqrt(1 + u) ('multiquadric'), 1 / sqrt(1 + u)
        ('inverse_multiquadric') or u log(u) / 2 ('thin_plate').""",
        default="gaussian", kw_only=False,
    )
    centers: Literal["kmeans", "random"] | Sequence[Sequence[float]] | Array = param(
        """
        The centers, or how to find them: 'kmeans' (the cluster means of k-means) or 'random'
        (distinct rows of X, drawn with probabilities proportional to their sample weights). If X
        has more than 256 rows per center, a random sample of that size is used.""",
        default="kmeans", valid=["array-like"],
        kind="{'kmeans', 'random'} or array-like of shape (n_centers, n_features)",
    )
    widths: Literal["auto", "cluster", "shared"] | float | Sequence[float] | Array = param(
        """
        The widths, a single width for all centers, or how to compute them.

        - 'cluster': from the distances of a center to the rows in its cluster, those that are
          nearest to it. For one feature, their standard deviation; for d features, ``min(d, 4)``
          times the root mean square distance, where the mean over all clusters is included with
          the weight of d - 1 rows. Here d is the effective number of dimensions in which the rows
          spread, at most the number of features. If no cluster has several distinct rows, as with
          'shared'.
        - 'shared': the largest distance between centers, divided by ``sqrt(2 * n_centers)``.
          Smoother than 'cluster' for one feature, narrow for many features.
        - 'auto': as 'cluster', but at least the distance to the m-th nearest other center, where m
          is ``2 * (n_centers / 2) ** (1 / d - 1 / 2)``, rounded, and at least 1. So basis functions
          overlap for one feature, too: as wide as with 'shared' where centers are evenly spaced,
          and narrower where they are dense.""",
        default="auto", valid=[POSITIVE, "array-like"],
        kind="{'auto', 'cluster', 'shared'}, float or array-like of shape (n_centers,)",
    )
    solver: Literal["lstsq", "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"] = (
        param(
            """
            Method of fitting the weights. 'lstsq' solves the least squares problem, in float64 and
            in one pass through the data; in classification, the targets are 0 and 1. The others are
            iterative solvers with minibatches; 'sgd' with the other defaults is the online rule,
            one sample per step.""",
            default="lstsq",
        )
    )
    train_centers: bool = param(
        "Whether to train the centers too; not for 'lstsq'.", default=False, after="alpha"
    )
    train_widths: bool = param(
        "Whether to train the widths too; not for 'lstsq'.", default=False, after="train_centers"
    )


class _OnlineRule(Minibatches, LayeredDescent):
    """The training parameters, with the defaults of the online rule."""

    alpha: float = param(
        """
        Strength of the L2 penalty on the weights (not the intercepts). For 'lstsq' as in
        :class:`sklearn.linear_model.Ridge`; for the others divided by the batch's sum of sample
        weights. With 0, 'lstsq' returns the minimum-norm solution.""",
        default=1e-5,
    )
    batch_size: int | Literal["auto"] = param(default=1)
    learning_rate_init: float = param(default=0.01)
    max_iter: int = param("Maximum number of epochs.", default=100)
    momentum: float = param(default=0.0)
    warm_start: bool = param(
        """
        Whether `fit` continues from the previous fit: with its centers and widths, and, except for
        'lstsq', its weights.""",
        default=False,
    )
    initializer: Initializer = param(
        """
        Initializer of the weights, except for 'lstsq': 'auto' (standard normal, the intercepts
        too), or one of those of :class:`~sknn.ConvNetClassifier`, such as 'glorot_uniform' or
        'zeros'.""",
        default="auto", valid=[StrOptions(set(get_args(Initializer)))], kind="str",
    )
    dtype: Scalar | None = param(
        """
        Floating-point precision of the computation; None: float64 if the X passed to `fit` is
        float64, else float32. 'lstsq' always solves in float64; with None, the network then
        predicts in float64, too.""",
        default=None,
    )

    centers_: Array = fitted("The centers.", kind="ndarray of shape (n_centers, n_features)")
    widths_: Array = fitted("The widths of the centers.", kind="ndarray of shape (n_centers,)")
    layers_: list[Layer] = fitted(
        "The network: a :class:`~sknn.layers.RadialBasis` and the output layer."
    )


class _TrainedOrSolved:
    """The task of a network whose weights are trained or solved by least squares."""

    def _task(self):
        """Return the task that the parameters and the fitted attributes describe."""
        task = super()._task()
        return LeastSquares(task, self) if self._solves else task

    def _fitted_task(self):
        solved = getattr(self, "out_activation_", None) == "identity"
        return LeastSquares(super()._task(), self) if solved else super()._task()


class LeastSquares(Wrapper):
    """A task whose weights are solved by least squares instead of trained.

    Parameters
    ----------
    task : Classification or Regression
    parameters : object
        The estimator, or any object with its parameters as attributes.
    """

    def __init__(self, task, parameters):
        super().__init__(task)
        self._parameters = parameters

    def check(self):
        """Raise ValueError if parameters do not apply to this task."""
        for name in (
            "train_centers", "train_widths", "early_stopping", "average", "l1", "label_smoothing"
        ):  # fmt: skip
            value = getattr(self._parameters, name, None)  # regressors have no label_smoothing
            if value:
                raise ValueError(
                    f"{name}={value!r} is for the iterative solvers; solver='lstsq' solves for the "
                    "weights directly."
                )
        if self.output_activation not in ("auto", "identity", Activation("identity")):
            raise ValueError(
                f"output_activation={self.output_activation!r} is not for solver='lstsq', whose "
                "outputs are linear; expected 'auto' or 'identity'."
            )
        if not self.classifies and self.task.loss_name != "squared_error":
            raise ValueError(
                f"loss={self.task.loss_name!r} is not for solver='lstsq', which minimizes the "
                "squared error; expected 'squared_error'."
            )

    def head(self, n_outputs):
        return Activation("identity"), Loss("squared_error", "identity")

    def probabilities(self, outputs):
        """Return the probability of each class, for outputs that were fitted to 0 and 1."""
        least = np.finfo(outputs.dtype).eps
        outputs = np.clip(outputs, least, 1 - least)
        if outputs.shape[1] > 1 and self.exclusive:
            outputs = outputs / outputs.sum(axis=1, keepdims=True)
        return self.task.probabilities(outputs)


class _BaseRBFNet(LayeredNet):
    """Base class of both networks: everything except the constructor."""

    _remembered = {"_found_with": dict[str, Any], "_moments": Moments | None}

    def _check_loaded(self):
        super()._check_loaded()
        basis, dense, _ = self._weights.network.layers
        agree("The layers", (type(basis), type(dense)), (RadialBasis, Dense))
        agree("_found_with", set(self._found_with), set(_FOUND_WITH))
        if getattr(self, "_moments", None) is not None:
            agree("_moments", self._moments.sums.shape, (basis.units + dense.units,))

    @property
    def _solves(self):
        return self.solver == "lstsq"

    def _computing_dtype(self, inputs):
        return np.dtype(np.float64) if self._solves else super()._computing_dtype(inputs)

    # --- the network

    def _network(self, task, inputs, n_outputs):
        """Return the network; its number of centers is final when they have been found."""
        out, loss = task.head(n_outputs)
        basis = RadialBasis(
            int(self.n_centers), self.function, train_centers=self.train_centers,
            train_widths=self.train_widths,
        )  # fmt: skip
        return Network((basis, Dense(n_outputs), out), inputs.inputs, loss), {}

    def _first_values(self, job, inputs, y, weights):
        """Find centers and widths, and draw initial weights, unless they are solved for."""
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
                    f"The first samples of partial_fit have {len(centers)} distinct rows, so there "
                    f"will be only as many centers, not n_centers={n_centers}. Start with more "
                    "samples, or pass an array of centers."
                )
        # rounded to the final precision first, so that all that follows is computed from that
        centers = np.asarray(centers, np.float64 if self.dtype is None else self.dtype)
        centers = centers.astype(np.float64)
        widths = self._first_widths(job, rows, weights, centers)
        widths = widths.astype(self.dtype or np.float64).astype(np.float64)
        if not (np.isfinite(centers).all() and (widths**2 > 0).all()):
            raise ValueError(
                f"Centers are not finite, or widths are zero, in {self.dtype or 'float64'}: the "
                "values of X are too large or too small; scale them."
            )
        weights = self._first_weights(len(centers), network.outputs, random_state)
        values = [centers.T, widths, *weights]
        job.network = _sized(network, values)
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
                f"centers has {centers.shape[1]} features; expected {X.shape[1]}, as X has."
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
                    f"{name} has changed since the last fit, to {getattr(self, name)!r}, but the "
                    "present centers and widths depend on its former value. Fit from scratch, with "
                    "warm_start=False, or set it back."
                )
        return super()._values_for(_sized(network, self._weights.values), dtype)

    def _progress(self, job):
        progress = super()._progress(job)
        job.network = _sized(job.network, progress.values)
        return progress

    # --- training

    def _check_outcome(self, job, begin):
        if not self._solves:
            super()._check_outcome(job, begin)
        elif has_overflowed(job) or not np.isfinite(job.progress.loss):
            raise ValueError(
                "Least squares gives weights or a loss that are not finite: the values of X or y "
                "are too large; scale them."
            )

    def _train(self, job, callbacks):
        if self._solves:
            self._solve(job, callbacks)
            return
        job.attributes["_moments"] = None  # they are only valid for these centers and widths
        super()._train(job, callbacks)

    def _solve(self, job, callbacks):
        """Find the weights by least squares; updates the job's progress."""
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

    # --- fitted attributes

    @property
    @consistent
    def centers_(self):
        """The centers."""
        return self.weights_["layers.0"]["centers"].T.copy()

    @property
    @consistent
    def widths_(self):
        """The width of each center."""
        return np.abs(self.weights_["layers.0"]["widths"])  # only their squares are used

    @property
    @consistent
    def coef_(self):
        """The weights of the output layer, in the shape of scikit-learn's linear models."""
        coef = self.weights_["layers.1"]["kernel"].T.copy()
        return coef.ravel() if self._is_flat else coef

    @property
    @consistent
    def intercept_(self):
        """The intercepts of the output layer, in the shape of scikit-learn's linear models."""
        intercept = self.weights_["layers.1"]["bias"]
        return float(intercept[0]) if self._is_flat else intercept

    @property
    def _is_flat(self):
        return not self._classifies and self.n_outputs_ == 1


def _sized(network, values):
    """Return the network with the number of centers in `values`."""
    basis, *others = network.layers
    return replace(network, layers=(replace(basis, units=values[0].shape[1]), *others))


class RBFNetClassifier(
    ForClasses, _OnlineRule, _Basis,
    _TrainedOrSolved, ClassifierMethods, ClassifierMixin, _BaseRBFNet,
):  # fmt: skip
    """A radial basis function (RBF) network for classification.

    The outputs are weighted sums of radial basis functions, one around each center. With the
    default solver, the weights are fitted by least squares to the targets 0 and 1, with one output
    per class (a single one for two classes). Then the predicted class is that with the largest
    output, and the probabilities are the outputs, clipped to [0, 1] and divided by their sum.

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
        "The weights of the output layer.",
        kind="ndarray of shape (1, n_centers) or (n_outputs, n_centers)",
    )
    intercept_: Array = fitted(
        "The intercepts of the output layer.", kind="ndarray of shape (n_outputs,)"
    )


class RBFNetRegressor(
    ForNumbers, _OnlineRule, _Basis,
    _TrainedOrSolved, RegressorMethods, RegressorMixin, _BaseRBFNet,
):  # fmt: skip
    """A radial basis function (RBF) network for regression.

    The outputs are weighted sums of radial basis functions, one around each center.

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
        "The weights of the output layer.",
        kind="ndarray of shape (n_centers,) or (n_outputs, n_centers)",
    )
    intercept_: float | Array = fitted("The intercepts of the output layer.")
