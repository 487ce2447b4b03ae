"""Radial basis function networks: centers that summarise the inputs, and weights by least squares.

Source: Broomhead and Lowe, 1988; Moody and Darken, 1989 (centers by k-means).
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from inspect import cleandoc
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.random import sample_without_replacement
from threadpoolctl import threadpool_limits

from .base import ParameterRow, takes
from .cpu.frame import X as X_FIELD
from .cpu.frame import Y as Y_FIELD
from .cpu.program import Program, Session, Team, lanes_of, pack, unpack
from .data import Source
from .initializers import INITIALIZERS
from .layered import LAYERED_TRAINING, LayeredNet
from .layers import Activation, Dense, RadialBasis
from .layers.radial import FUNCTIONS, add_square_distances
from .layers.weighted import pack_width, tile_rows
from .losses import Loss
from .network import BLOCK_WIDTH, Network
from .optimizers import SOLVERS
from .supervised import (
    CLASSIFICATION_LOSS,
    REGRESSION_LOSS,
    TARGETS,
    TRAINED,
    ClassifierMethods,
    RegressorMethods,
)
from .tape import Parameter, Tape
from .training import one_blas_thread, team_size

#: Rows for each center that k-means looks at: more of them hardly move a mean.
_ROWS_PER_CENTER = 256
#: The power of the number of features by which widths grow beside the distances. Distances in many
#: dimensions are nearly alike: with 0 every row is far from all centers, with 1 near to all of them.
_SPREAD = 0.75
#: Memory for what is computed of a chunk of rows.
_CHUNK_BYTES = 32 * 2**20
_POSITIVE = Interval(Real, 0, None, closed="neither")

_BASIS = {
    "n_centers": ParameterRow(
        100,
        [Interval(Integral, 1, None, closed="left")],
        """n_centers : int, default=100
        Number of centers; where X has fewer different rows, these are the centers.""",
    ),
    "function": ParameterRow(
        "gaussian",
        [StrOptions(set(FUNCTIONS))],
        """function : {'gaussian', 'multiquadric', 'inverse_multiquadric', 'thin_plate'}, \
default='gaussian'
        The function of u = |x - c|^2 / s^2, c a center and s its width: exp(-u / 2), sqrt(1 + u),
        1 / sqrt(1 + u) or u log(u) / 2.""",
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
        nearest to a center lie from it: for one feature, their standard deviation; for d of them,
        d ** 0.75 times the root of the mean squared distance, in which each cluster counts as if it
        had d - 1 more rows, of the mean of all clusters, since few rows tell little. 'shared': the
        largest distance between centers, divided by ``sqrt(2 * n_centers)``; it is also what
        'cluster' falls back to where no center has rows of its own but itself.""",
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


# --- programs of their own


def _begin(width, source, inputs, units):
    """Return a tape with the rows of a source and their distances to centers, and these two."""
    tape = Tape(width)
    pack_of_units = pack_width(units, lanes_of(np.float64))
    centers = tape.parameter(Parameter("centers", (inputs, units), pack_of_units, False))
    x = _gather(tape, tape.buffer("x", inputs), X_FIELD, source)
    return tape, x, add_square_distances(tape, x, inputs, units, centers)


def _gather(tape, out, field, key):
    operation, variant = key
    addresses = tape.buffer("addresses", 2)
    tape.add(operation, (), (addresses, out), (out.rows, field), variant)
    return out


@lru_cache(maxsize=32)
def _distances_program(inputs, units, source):
    """Return the program that gives out squared distances."""
    tape, _, z = _begin(BLOCK_WIDTH, source, inputs, units)
    tape.add("scatter", (z,), (), (units,))
    return Program(tape, "float64")


@lru_cache(maxsize=32)
def _moments_program(inputs, units, outputs, function, source, targets):
    """Return the program whose gradients are sums over rows.

    Those of "products" are of what the functions give times that and the targets, less constants
    and weighted; those of "sums", of the latter alone.
    """
    tape, _, z = _begin(BLOCK_WIDTH, source, inputs, units)
    columns = units + outputs
    pack_of_columns = pack_width(columns, lanes_of(np.float64))
    widths = tape.parameter(Parameter("widths", (units,), tape.parameters[0].pack, False))
    negative = tape.parameter(Parameter("shifts", (columns,), pack_of_columns, False))
    products = tape.parameter(Parameter("products", (units, columns), pack_of_columns))
    sums = tape.parameter(Parameter("sums", (columns,), pack_of_columns))
    both = tape.buffer("both", columns)
    a, y = tape.view(both, 0, units), tape.view(both, units, outputs)
    tape.add("radial", (z, widths), (a,), (units,), (function,))
    _gather(tape, y, Y_FIELD, targets)
    shifted, weighted = tape.buffer("shifted", columns), tape.buffer("weighted", columns)
    tape.add("add_bias", (both, negative), (shifted,), (1, columns))
    tape.add("weigh_samples", (shifted, tape.weights()), (weighted,), (columns,))
    packed = tape.buffer("packed", -(-columns // pack_of_columns) * pack_of_columns)
    numbers = (1, columns, columns)
    tape.add("pack_samples", (weighted,), (packed,), numbers, (pack_of_columns,))
    variant = (tile_rows(units), pack_of_columns)
    tape.gradient(products, "weight_gradient", (shifted, packed), (units,), variant)
    tape.gradient(sums, "bias_gradient", (packed,), (1, columns), (pack_of_columns,))
    tape.finish()
    return Program(tape, "float64")


def _chunk(program, rows):
    """Return how many rows a step takes, for the blocks to need little memory."""
    blocks = max(1, _CHUNK_BYTES // program.workspace_bytes)
    return min(rows, blocks * program.width)


@dataclass(frozen=True)
class Moments:
    """Weighted sums over rows, from which the weights of least squares follow.

    Of the functions' values and the targets, both less `shifts`: these change nothing in exact
    arithmetic, and keep means that are large against deviations from cancelling digits.

    Attributes
    ----------
    shifts, sums : ndarray of shape (n_centers + n_outputs,)
    products : ndarray of shape (n_centers, n_centers + n_outputs)
    weight : float
        The sum of weights.
    """

    shifts: np.ndarray
    sums: np.ndarray
    products: np.ndarray
    weight: float

    def solve(self, alpha):
        """Return weights of shape (n_centers, n_outputs) and intercepts, of ridge regression."""
        k = len(self.products)
        with one_blas_thread():
            means = self.sums / self.weight
            centred = self.products - np.outer(means[:k], self.sums)
            w = _ridge(centred[:, :k], centred[:, k:], alpha)
            means = means + self.shifts
            return w, means[k:] - means[:k] @ w


def add_moments(network, centers, widths, data, n_jobs, before=None):
    """Return the Moments of some rows and of those `before`, in bounded memory.

    Parameters
    ----------
    network : Network
        Whose first layer has the centers, of shape (n_features, n_centers), and the widths.
    data : Data
    before : Moments or None
    """
    (inputs, units), outputs = centers.shape, network.outputs
    function = network.layers[0].function
    program = _moments_program(
        inputs, units, outputs, function, data.source.key, data.targets.key
    )
    chunk = _chunk(program, len(data.rows))
    gradient = np.zeros(program.parameter_bytes // 8)
    empty = np.zeros((units, units + outputs)), np.zeros(units + outputs)

    def weight_of(rows):
        return float(len(rows)) if data.weights is None else float(data.weights[rows].sum())

    with Team(team_size(n_jobs, network, chunk)) as team:
        session = Session(program, chunk, team, gradient)

        def run(shifts, rows):
            gradient[:] = 0.0
            packed = pack(program, [centers, widths, -shifts, *empty], np.dtype(float))
            session.bind(packed, data.source, data.targets, data.weights, rows)
            session.run(len(rows), chunk, np.ones((-(-len(rows) // chunk), 2)), accumulate=True)
            return unpack(program, gradient)[-2:]

        if before is None:
            first = data.rows[:chunk]
            sums, weight = run(empty[1], first)[1], weight_of(first)
            shifts = sums / weight if weight else sums
            before = Moments(shifts, empty[1], empty[0], 0.0)
        products, sums = run(before.shifts, data.rows)
    return Moments(
        before.shifts,
        before.sums + sums,
        before.products + products,
        before.weight + weight_of(data.rows),
    )


def _ridge(gram, right, alpha):
    """Return the solution of (gram + alpha I) w = right; the smallest of several."""
    if alpha > 0:
        try:
            factor = scipy.linalg.cho_factor(gram + alpha * np.eye(len(gram)), lower=True)
            return scipy.linalg.cho_solve(factor, right)
        except scipy.linalg.LinAlgError:
            pass  # smaller than the rounding of the products
    values, vectors = scipy.linalg.eigh(gram)
    kept = values > np.finfo(float).eps * len(values) * values[-1]
    inverse = np.divide(1.0, values + alpha, out=np.zeros(len(values)), where=kept)
    return vectors @ (inverse[:, None] * (vectors.T @ right))


# --- centers and widths


def distinct_rows(X, weights, most, random_state):
    """Return different rows of X, in an order of their own, and the weight of each.

    Rows without weight are left out; of more than `most`, a random sample is taken. So a row that
    comes twice is the same as one of twice the weight.
    """
    rows = np.arange(X.shape[0]) if weights is None else np.flatnonzero(weights)
    if len(rows) > most:
        chosen = sample_without_replacement(len(rows), most, random_state=random_state)
        rows = rows[np.sort(chosen)]
    some = X.tocsr()[rows] if sp.issparse(X) else X[rows]
    some = some.astype(some.dtype if some.dtype in (np.float32, np.float64) else np.float64)
    _, first, inverse = np.unique(_keys(some), return_index=True, return_inverse=True)
    weights = np.ones(len(rows)) if weights is None else weights[rows]
    return some[first], np.bincount(inverse, weights)


def _keys(X):
    """Return the bytes of each row, which tell rows apart."""
    if sp.issparse(X):
        X.sum_duplicates()
        X.eliminate_zeros()
        places = list(pairwise(X.indptr))
        keys = [X.indices[a:b].tobytes() + X.data[a:b].tobytes() for a, b in places]
    else:
        X = np.ascontiguousarray(X)
        X += 0.0  # there are two zeros
        keys = [row.tobytes() for row in X]
    out = np.empty(len(keys), object)
    out[:] = keys
    return out


def find_centers(how, n_centers, X, weights, random_state):
    """Return centers for different rows X and their weights: means of clusters, or some rows."""
    if n_centers < X.shape[0]:
        if how == "kmeans":
            return _cluster_means(X, weights, n_centers, random_state)
        p = weights / weights.sum()
        X = X[random_state.choice(X.shape[0], n_centers, replace=False, p=p)]
    return X.toarray() if sp.issparse(X) else X


def _cluster_means(X, weights, n_clusters, random_state):
    # Its sums depend on the number of threads, which must not decide what is found.
    kmeans = KMeans(n_clusters, n_init=1, random_state=random_state.randint(2**31 - 1))
    with threadpool_limits(1, user_api="openmp"), one_blas_thread():
        return kmeans.fit(X, sample_weight=weights).cluster_centers_


def square_distances(X, centers, n_threads):
    """Yield rows of X, a chunk at a time, and their squared distances to all centers."""
    source, (units, inputs) = Source(X), centers.shape
    program = _distances_program(inputs, units, source.key)
    n = X.shape[0]
    chunk = min(_chunk(program, n), max(BLOCK_WIDTH, _CHUNK_BYTES // (8 * units)))
    packed = pack(program, [np.ascontiguousarray(centers.T)], np.dtype(float))
    out = np.empty((chunk, units))
    with Team(n_threads) as team:
        session = Session(program, chunk, team)
        for start in range(0, n, chunk):
            rows = np.arange(start, min(start + chunk, n))
            session.bind(packed, source, rows=rows, out=out)
            session.run(len(rows), chunk, np.ones((1, 2)))
            yield rows, out[: len(rows)]


def cluster_widths(X, weights, centers, n_threads):
    """Return a width for each center, from the rows nearest to it (see the parameter `widths`)."""
    (k, n_features), n = centers.shape, X.shape[0]
    numbers, squares = np.empty(n, np.int64), np.empty(n)
    for rows, distances in square_distances(X, centers, n_threads):
        numbers[rows], squares[rows] = distances.argmin(axis=1), distances.min(axis=1)
    # a mean of equal rows differs from them by its rounding
    rounding = 4 * np.finfo(X.dtype).eps * np.abs(centers).max()
    squares[squares <= n_features * rounding**2] = 0.0
    amounts, sums = np.bincount(numbers, weights, k), np.bincount(numbers, weights * squares, k)
    alone = sums == 0
    if n <= k or alone.all():
        return np.full(k, shared_width(centers, n_threads))
    extra = n_features - 1
    pooled = sums.sum() / amounts.sum() * n / (n - k)
    amounts[alone] = 1.0  # of which there may be none
    widths = _factor(n_features) * np.sqrt((sums + extra * pooled) / (amounts + extra))
    widths[alone] = widths[~alone].mean()
    return widths


def _factor(d):
    return d**_SPREAD


def shared_width(centers, n_threads):
    """Return the largest distance between centers, divided by the root of twice their number."""
    largest = max(distances.max() for _, distances in square_distances(centers, centers, n_threads))
    return float(np.sqrt(largest / (2 * len(centers)))) or 1.0


# --- the estimators


class _BaseRBFNet(LayeredNet):
    """What both networks share: all but the constructor."""

    # --- the parameters

    @property
    def _solves(self):
        return self.solver == "lstsq"

    def _check_loss(self):
        super()._check_loss()
        if not self._solves:
            return
        for name in ("train_centers", "train_widths", "early_stopping", "l1"):
            value = getattr(self, name)
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
        if not self._classifies and self.loss != "squared_error":
            raise ValueError(
                f"loss={self.loss!r} is not for solver='lstsq', which makes the squared error "
                "smallest; expected 'squared_error'."
            )

    def _loss_name(self):
        return "squared_error" if self._solves else super()._loss_name()

    def _output_activation(self):
        return Activation("identity") if self._solves else super()._output_activation()

    def _make_loss(self, n_outputs, out):
        if self._solves:
            return Loss("squared_error", "identity")
        return super()._make_loss(n_outputs, out)

    def _computing_dtype(self, X):
        return np.dtype(np.float64) if self._solves else super()._computing_dtype(X)

    # --- the network

    def _make_network(self, inputs, n_outputs, out, loss):
        """Return the network; how many centers it gets is known with them."""
        basis = RadialBasis(
            int(self.n_centers), self.function, train_centers=self.train_centers,
            train_widths=self.train_widths,
        )  # fmt: skip
        return Network((basis, Dense(n_outputs), out), inputs, loss)

    def _first_values(self, network, random_state, dtype, X, weights):
        """Find centers and widths, and draw the weights that are not solved for."""
        given = None if isinstance(self.centers, str) else self._given_centers(X)
        n_centers = self.n_centers if given is None else len(given)
        rows, weights = distinct_rows(X, weights, _ROWS_PER_CENTER * n_centers, random_state)
        centers = given
        if given is None:
            centers = find_centers(self.centers, n_centers, rows, weights, random_state)
        # what they are rounded to in the end counts from the beginning
        centers = np.asarray(centers, np.float64 if self.dtype is None else self.dtype)
        centers = centers.astype(np.float64)
        widths = self._first_widths(network, rows, weights, centers)
        kernel = (len(centers), network.outputs), (len(centers),)
        values = [centers.T, widths, *self._first_weights(*kernel[0], random_state)]
        return [np.ascontiguousarray(value, dtype) for value in values]

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
        n_threads = team_size(self.n_jobs, network, rows.shape[0])
        if isinstance(self.widths, str):
            if self.widths == "cluster":
                return cluster_widths(rows, weights, centers, n_threads)
            return np.full(k, shared_width(centers, n_threads))
        if isinstance(self.widths, Real):
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
        return super()._values_for(_sized(network, self._weights.values), dtype)

    def _attributes(self, network, values):
        return super()._attributes(_sized(network, values), values)

    # --- training

    def _train(
        self, network, progress, data, held, dtype, callbacks, random_state, seed, incremental
    ):
        network = _sized(network, progress.values)
        if self._solves:
            self._solve(network, progress, data, held, callbacks, incremental)
            return
        self._moments = None  # they belong to these centers and widths only
        super()._train(
            network, progress, data, held, dtype, callbacks, random_state, seed, incremental
        )

    def _solve(self, network, progress, data, held, callbacks, incremental):
        """Find the weights by least squares: change `progress`."""
        centers, widths = progress.values[:2]
        before = getattr(self, "_moments", None) if incremental else None
        self._moments = add_moments(network, centers, widths, data, self.n_jobs, before)
        progress.values[2:] = self._moments.solve(self.alpha)
        if self.dtype is not None:
            progress.values = [value.astype(self.dtype) for value in progress.values]
        values, dtype = progress.values, progress.values[0].dtype
        finish = callbacks.begin_epoch(lambda: self._attributes(network, values))
        evaluate = network, values, dtype, self.n_jobs
        progress.loss, _ = data.evaluate(*evaluate, lambda outputs, data: None)
        progress.best_loss = min(progress.best_loss, progress.loss)
        progress.loss_curve.append(progress.loss)
        progress.n_iter, progress.t = 1, progress.t + len(data.rows)
        if self.verbose:
            print(f"Iteration 1, loss = {progress.loss:.8f}")
        if held is not None:
            loss, score = held.evaluate(*evaluate, self._score_outputs)
            progress.validation_loss_curve.append(loss)
            progress.validation_scores.append(score)
        finish()

    # --- what is fitted

    @property
    def centers_(self):
        """The centers."""
        return self.weights_["layers.0"]["centers"].T.copy()

    @property
    def widths_(self):
        """The width of each center."""
        return np.abs(self.weights_["layers.0"]["widths"])  # of which the square counts

    @property
    def coef_(self):
        """The weights, as linear models have them."""
        coef = self.weights_["layers.1"]["kernel"].T.copy()
        return coef.ravel() if self._is_flat else coef

    @property
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
class RBFNetClassifier(ClassifierMethods, ClassifierMixin, _BaseRBFNet):
    """A radial basis function network for classification.

    The outputs are sums of bumps, one around each of some centers among the samples. With the
    default solver they are fitted to 0 and 1, a column for each class (one for two), as
    :class:`sklearn.linear_model.RidgeClassifier` does; probabilities are then the outputs, held
    in [0, 1] and divided by their sum, and the class is that of the largest output.

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

    def _probabilities(self, outputs):
        if self.out_activation_ == "identity":  # they were fitted to 0 and 1
            outputs = np.clip(outputs, 0.0, 1.0)
            if self._label_binarizer.y_type_ == "multiclass" and self.n_outputs_ > 1:
                total = outputs.sum(axis=1, keepdims=True)
                alike = np.full_like(outputs, 1 / self.n_outputs_)
                outputs = np.divide(outputs, total, out=alike, where=total > 0)
        return super()._probabilities(outputs)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@takes(_REGRESSOR, positional=2)
class RBFNetRegressor(RegressorMethods, RegressorMixin, _BaseRBFNet):
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
    >>> net = RBFNetRegressor(5, random_state=0).fit(X, y)
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
