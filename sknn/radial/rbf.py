"""Radial basis function networks: centers that summarise the inputs, and weights by least squares.

Source: Broomhead and Lowe, 1988; Moody and Darken, 1989 (centers by k-means).
"""

import copy
import warnings
from dataclasses import replace
from inspect import cleandoc
from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions

from ..engine.network import Network
from ..engine.optimizers import SOLVERS
from ..engine.prediction import team_size
from ..estimator.layered import LAYERED_TRAINING
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import LayeredNet
from ..estimator.parameters import ParameterRow, takes
from ..estimator.supervised import (
    CLASSIFICATION_LOSS,
    REGRESSION_LOSS,
    TARGETS,
    TRAINED,
)
from ..estimator.tasks import Wrapper
from ..estimator.transactions import consistent
from ..layers import Activation, Dense, RadialBasis
from ..layers.initializers import INITIALIZERS
from ..layers.radial import FUNCTIONS
from ..tape.losses import Loss
from .centers import cluster_widths, distinct_rows, find_centers, shared_width
from .least_squares import add_moments

#: Rows for each center that are looked at for it: more of them hardly move a mean.
_ROWS_PER_CENTER = 256
_POSITIVE = Interval(Real, 0, None, closed="neither")
#: The parameters that centers and widths come from, and what is computed of them.
_FOUND_WITH = ("n_centers", "function", "centers", "widths")

_BASIS = {
    "n_centers": ParameterRow(
        100,
        [Interval(Integral, 1, None, closed="left")],
        """n_centers : int, default=100
        Number of centers. Of fewer different rows in X each is a center; where `centers` are given,
        their number counts.""",
    ),
    "function": ParameterRow(
        "gaussian",
        [StrOptions(set(FUNCTIONS))],
        """function : {'gaussian', 'multiquadric', 'inverse_multiquadric', 'thin_plate'}, \
default='gaussian'
        The function of u = ``|x - c|^2 / s^2``, c a center and s its width: exp(-u / 2),
        sqrt(1 + u), 1 / sqrt(1 + u) or u log(u) / 2.""",
    ),
    "centers": ParameterRow(
        "kmeans",
        [StrOptions({"kmeans", "random"}), "array-like"],
        """centers : {'kmeans', 'random'} or array-like of shape (n_centers, n_features), \
default='kmeans'
        The centers, or how they are found: means of clusters, or different rows of X, drawn by
        their weights. Of more than 256 rows a center, a random sample of so many is looked at.""",
    ),
    "widths": ParameterRow(
        "cluster",
        [StrOptions({"cluster", "shared"}), _POSITIVE, "array-like"],
        """widths : {'cluster', 'shared'}, float or array-like of shape (n_centers,), \
default='cluster'
        The widths, or one for all, or how they are found. 'cluster': from how far the rows that are
        nearest to a center lie from it. For one feature that is their standard deviation; for d of
        them, ``min(d, 4)`` times the root of the mean squared distance, to which all clusters
        together contribute as much as d - 1 rows do. 'shared': the largest distance between
        centers, divided by ``sqrt(2 * n_centers)``: smoother for one feature, narrow for many. It
        is what 'cluster' falls back to where rows have centers of their own.""",
    ),
    "solver": ParameterRow(
        "lstsq",
        [StrOptions({"lstsq", *SOLVERS})],
        """solver : {'lstsq', 'sgd', 'adam', 'adamw', 'nadam', 'rmsprop', 'adagrad', 'adadelta'}, \
default='lstsq'
        How the weights are found. 'lstsq' solves for them, in float64 and in one pass through the
        data; for classes it fits 0 and 1. The others go through the data in minibatches;
        with the other defaults, 'sgd' is the online rule.""",
    ),
    "alpha": ParameterRow(
        1e-5,
        [Interval(Real, 0, None, closed="left")],
        """alpha : float, default=1e-05
        Strength of the L2 penalty on the weights (not the intercepts): for 'lstsq' as in
        :class:`sklearn.linear_model.Ridge`, for the others divided by the sum of weights of the
        batch. 0: with 'lstsq', the smallest weights that fit best.""",
    ),
    "train_centers": ParameterRow(
        False,
        ["boolean"],
        """train_centers : bool, default=False
        Whether the centers are trained too; not for 'lstsq'.""",
    ),
    "train_widths": ParameterRow(
        False,
        ["boolean"],
        """train_widths : bool, default=False
        Whether the widths are trained too; not for 'lstsq'.""",
    ),
}


def _training_rows():
    """Return the rows of the training parameters, with the online rule's defaults."""
    rows = {k: v for k, v in LAYERED_TRAINING.items() if k not in (*_BASIS, "max_fun")}
    defaults = {"batch_size": 1, "learning_rate_init": 0.01, "max_iter": 100, "momentum": 0.0}
    for name, default in defaults.items():
        old = rows[name]
        doc = old.doc.replace(f"default={old.default!r}", f"default={default!r}")
        rows[name] = replace(old, default=default, doc=doc)
    rows["max_iter"] = replace(
        rows["max_iter"],
        doc="""max_iter : int, default=100
        The largest number of epochs.""",
    )
    rows["warm_start"] = replace(
        rows["warm_start"],
        doc="""warm_start : bool, default=False
        Whether `fit` goes on from the last fit: its centers and widths, and, except for 'lstsq',
        its weights.""",
    )
    rows["initializer"] = ParameterRow(
        "auto",
        [StrOptions({"auto", *INITIALIZERS})],
        """initializer : str, default='auto'
        How weights start, except for 'lstsq': 'auto' (standard normal, the intercepts too), or one
        of those of :class:`~sknn.ConvNetClassifier`, such as 'glorot_uniform' or 'zeros'.""",
    )
    rows["dtype"] = replace(
        rows["dtype"],
        doc="""dtype : {'float32', 'float64'} or None, default=None
        What is computed in; None: float64 where X to fit is float64, else float32. 'lstsq' always
        computes in float64, and with None the network then does, too.""",
    )
    return rows


_TRAINING = _training_rows()
_CLASSIFIER = {
    **_BASIS,
    "alpha": replace(
        _BASIS["alpha"], default=1e-3, doc=_BASIS["alpha"].doc.replace("1e-05", "0.001")
    ),
    **_TRAINING,
    **CLASSIFICATION_LOSS,
    **{k: v for k, v in TARGETS.items() if k not in ("quantile", "huber_delta")},
}
_REGRESSOR = {
    **_BASIS,
    **_TRAINING,
    **REGRESSION_LOSS,
    **{k: v for k, v in TARGETS.items() if k != "class_weight"},
}


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
        job.attributes["_found_with"] = {
            name: copy.copy(getattr(self, name)) for name in _FOUND_WITH
        }
        rows, centers = None, given
        if given is None or isinstance(self.widths, str):
            rows, weights = distinct_rows(X, weights, _ROWS_PER_CENTER * n_centers, random_state)
        if given is None:
            centers = find_centers(self.centers, n_centers, rows, weights, random_state)
            if job.incremental and len(centers) < n_centers:
                warnings.warn(
                    f"The first samples of partial_fit have {len(centers)} different rows, so that "
                    f"there will be as many centers, not n_centers={n_centers}. Begin with more "
                    "samples, or give centers."
                )
        # what they are rounded to in the end counts from the beginning
        centers = np.asarray(centers, np.float64 if self.dtype is None else self.dtype)
        centers = centers.astype(np.float64)
        widths = self._first_widths(network, rows, weights, centers)
        widths = widths.astype(self.dtype or np.float64).astype(np.float64)
        if not (np.isfinite(centers).all() and (widths**2 > 0).all()):
            raise ValueError(
                f"Centers are not finite, or widths are zero, in {self.dtype or 'float64'}: X has "
                "values that are too large or too small; scale it."
            )
        weights = self._first_weights(len(centers), network.outputs, random_state)
        values = [centers.T, widths, *weights]
        return [np.ascontiguousarray(value, job.dtype) for value in values]

    def _given_centers(self, X):
        centers = check_array(
            self.centers, dtype=[np.float64, np.float32], input_name="centers"
        )
        if centers.shape[1] != X.shape[1]:
            raise ValueError(
                f"centers have {centers.shape[1]} features; expected {X.shape[1]}, as X has."
            )
        return centers

    def _first_widths(self, network, rows, weights, centers):
        k = len(centers)
        if isinstance(self.widths, str):
            n_threads = team_size(self.n_jobs, network, rows.shape[0])
            if self.widths == "cluster":
                return cluster_widths(rows, weights, centers, n_threads)
            return np.full(k, shared_width(centers, n_threads))
        if np.ndim(self.widths) == 0 and self.widths > 0:
            return np.full(k, float(self.widths))
        widths = check_array(
            self.widths, dtype=np.float64, ensure_2d=False, input_name="widths"
        )
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

    def _attributes(self, network, values):
        return super()._attributes(_sized(network, values), values)

    # --- training

    def _check_outcome(self, progress):
        if self._solves and not np.isfinite(progress.loss):
            raise ValueError(
                "Least squares gives no finite weights or loss: X or y have values that are too "
                "large; scale them."
            )
        super()._check_outcome(progress)

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
        moments = add_moments(network, centers, widths, data, self.n_jobs, before)
        job.attributes["_moments"] = moments
        *progress.values[2:], errors = moments.solve(len(widths), self.alpha)
        if self.dtype is not None:
            progress.values = [value.astype(self.dtype) for value in progress.values]
        finish = callbacks.begin_epoch(lambda other: other._commit(job, progress.copy()))
        evaluated = network, progress.values, progress.values[0].dtype, self.n_jobs
        if errors is None or job.incremental or self.dtype is not None:  # else they are exact
            progress.loss, _ = data.evaluate(*evaluated)
        else:
            progress.loss = float(errors.mean()) / 2
        progress.best_loss = min(progress.best_loss, progress.loss)
        progress.loss_curve.append(progress.loss)
        progress.n_iter, progress.t = 1, progress.t + len(data.rows)
        if self.verbose:
            print(f"Iteration 1, loss = {progress.loss:.8f}")
        if job.validated:
            progress.validate(job.held, job.score, *evaluated)
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
        return not self._task().classifies and self.n_outputs_ == 1


def _sized(network, values):
    """Return the network with as many centers as the values have."""
    basis, *others = network.layers
    return replace(network, layers=(replace(basis, units=values[0].shape[1]), *others))


_ATTRIBUTES = """centers_ : ndarray of shape (n_centers, n_features)
        The centers.
    widths_ : ndarray of shape (n_centers,)
        Their widths.
    coef_ : ndarray of shape {coef}
        The weights.
    intercept_ : {intercept}
        What is added to them.
    layers_ : list of layers
        The network: a :class:`~sknn.layers.RadialBasis` and the output layer.
    weights_ : dict of str to dict of str to ndarray
        Copies of the parameters, by layer.
    """ + TRAINED


@takes(_CLASSIFIER, positional=2)
class RBFNetClassifier(_TrainedOrSolved, ClassifierMethods, ClassifierMixin, _BaseRBFNet):
    """A radial basis function network for classification.

    The outputs are sums of bumps, one around each of some centers among the samples. With the
    default solver they are fitted to 0 and 1, a column for each class (one for two). The class is
    then that of the largest output, and probabilities are the outputs, held in [0, 1] and divided
    by their sum.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import RBFNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> net = RBFNetClassifier(200, random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.97)
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@takes(_REGRESSOR, positional=2)
class RBFNetRegressor(_TrainedOrSolved, RegressorMethods, RegressorMixin, _BaseRBFNet):
    """A radial basis function network for regression.

    The outputs are sums of bumps, one around each of some centers among the samples.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import RBFNetRegressor
    >>> X = np.linspace(0, 1, 100)[:, None]
    >>> y = np.sin(2 * np.pi * X[:, 0])
    >>> net = RBFNetRegressor(5, widths="shared", random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.99)
    True
    """


_COEF = {
    RBFNetClassifier: ("(1, n_centers) or (n_outputs, n_centers)", "ndarray of shape (n_outputs,)"),
    RBFNetRegressor: ("(n_centers,) or (n_outputs, n_centers)", "float or ndarray"),
}
for _class, (_coef, _intercept) in _COEF.items():
    if _class.__doc__:
        _text = _ATTRIBUTES.replace("{coef}", _coef).replace("{intercept}", _intercept)
        _class.__doc__ = _class.__doc__.replace("{attributes}", cleandoc("    " + _text))
