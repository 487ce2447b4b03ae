"""Networks for tables: columns of numbers and categories, as they come."""

import numbers
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_y, check_consistent_length, check_is_fitted

from ..engine.network import Network
from ..engine.recipe import Recipe
from ..engine.weights import Weights
from ..estimator.base import agree
from ..estimator.checks import check_given, given_dtype, sound
from ..estimator.groups import (
    DATA_DEPENDENT,
    INITIALIZERS_BY_NAME,
    ROW_INITIALIZERS,
    Features,
    ForClasses,
    ForNumbers,
    HiddenActivation,
    LayeredDescent,
    Minibatches,
    RowInitializer,
    Schedules,
    StepSolver,
)
from ..estimator.inputs import Rows
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import LayeredNet, trainer_of
from ..estimator.parameters import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    Array,
    fitted,
    param,
)
from ..estimator.transactions import consistent
from ..feedforward.mlp import hidden_sizes
from ..layers import (
    Activation,
    CategoryEmbedding,
    Concatenate,
    Dense,
    Dropout,
    EnsembleDense,
    NumericEmbedding,
    ParametricActivation,
    Scale,
    Select,
)
from ..tape.activations import ACTIVATIONS
from .bagging import check_bag, train_bag
from .encoding import TableEncoder, quantile_edges, read_table
from .tasks import TableClassification, TableRegression, combined

_Embedding = Literal["periodic", "piecewise_linear"]
#: Rows of a batch with batch_size='auto'.
_BATCH = 256


class TableInputs(Features):
    """How the columns of a table become inputs of a network."""

    categorical_features: Literal["from_dtype"] | Sequence[Any] | Array | None = param(
        """
        The categorical columns of X: 'from_dtype' (those that are not of numbers: categorical,
        text, boolean and object columns of a frame), a boolean mask, a list of indices or names,
        or None.""",
        default="from_dtype", valid=["array-like", StrOptions({"from_dtype"})],
        kind="'from_dtype', array-like of bool, int or str, or None",
    )
    max_one_hot: int = param(
        """
        Columns of at most this many categories become one-hot columns, others get a learned
        embedding. One for missing or unknown values counts always: with 9, those of up to 8
        values are one-hot. 0: all are embedded.""",
        default=9, valid=[Interval(numbers.Integral, 0, None, closed="left")],
    )
    smooth_clip: float | None = param(
        """
        Limit c of x / sqrt(1 + (x / c)^2), which scaled numbers x pass through, so that outliers
        stay near. None: not clipped.""",
        default=3.0, valid=[POSITIVE],
    )
    numeric_embedding: _Embedding | NumericEmbedding | None = param(
        """
        Embedding of each number: 'periodic' (the number, and three linear combinations of 16
        cosines of it with trained frequencies and phases), 'piecewise_linear' (its place in one
        of 48 bins between quantiles, mapped to 16 numbers), a
        :class:`~sknn.layers.NumericEmbedding` for other sizes, or None: the number itself.""",
        default="periodic", valid=[NumericEmbedding],
        kind="{'periodic', 'piecewise_linear'}, NumericEmbedding or None",
    )
    category_embedding: int = param(
        "Number of units of the embedding of a category.", default=8, valid=[COUNT],
    )
    input_scale: bool = param(
        "Whether each input of the first hidden layer is multiplied by a trained factor.",
        default=True,
    )


class TableLayers(TableInputs):
    """The layers of networks for tables."""

    hidden_layer_sizes: int | Sequence[int] | Array = param(
        "Number of units in each hidden layer; an empty tuple means no hidden layers.",
        default=(256, 256, 256), valid=["array-like", COUNT], kind="int or array-like of int",
        kw_only=False,
    )
    activation: HiddenActivation = param(
        "Activation function f of the hidden layers.",
        default="selu", valid=[StrOptions(set(ACTIVATIONS) - {"softmax", "step"})],
    )
    parametric_activation: bool = param(
        """
        Whether each unit computes x + a (f(x) - x), with a trained number a that starts at 1, in
        place of f(x).""",
        default=True,
    )
    dropout: float = param(
        "Dropout rate of the hidden layers in training.", default=0.15, valid=[FRACTION],
    )
    parametrization: Literal["neural_tangent", "standard"] = param(
        """
        'neural_tangent': the matrix of a layer with n inputs is V / sqrt(n), and V is what is
        trained, so that steps do not grow with the layer; 'standard': the matrix itself is.""",
        default="neural_tangent",
    )
    scale_rate: float = param(
        "Factor of the learning rate of the inputs' factors.", default=6.0, valid=[NOT_NEGATIVE],
    )
    bias_rate: float = param(
        "Factor of the learning rate of biases.", default=0.1, valid=[NOT_NEGATIVE],
    )
    activation_rate: float = param(
        "Factor of the learning rate of the activations' numbers a.",
        default=0.1, valid=[NOT_NEGATIVE],
    )
    embedding_rate: float = param(
        "Factor of the learning rate of embeddings of numbers, besides their own `rate`.",
        default=0.1, valid=[NOT_NEGATIVE],
    )
    n_ensemble: int = param(
        """
        Number of networks that are trained as one, and whose mean is predicted. They share their
        matrices, and each has vectors of its own that the inputs and outputs of a layer are
        multiplied by, biases, and an output layer.""",
        default=1, valid=[COUNT],
    )
    cv: int | Any | None = param(
        """
        Bagging: a network is trained for each fold of a cross-validation, on the rest of the data,
        side by side; its epoch is chosen on the fold. The mean of all of them is predicted. An
        int: so many folds, shuffled (and stratified, for classes); or a splitter of scikit-learn,
        or an iterable of pairs of row numbers. None: one network, which `validation_fraction` of
        the data are held out for.""",
        default=None, valid=["cv_object"],
        kind="int, cross-validation generator, iterable or None",
    )
    refit: bool = param(
        """
        Whether the network is trained again, on all data, for the number of epochs that was best
        for the data held out. Validation curves are those of the first training. An interrupt of
        the second keeps the network of the first.""",
        default=False,
    )

    estimators_: list[Any] = fitted(
        "With `cv`: the networks, each a fitted estimator; else it does not exist.",
        kind="list of estimators",
    )
    best_iter_: int | None = fitted(
        "Epoch whose weights were kept (with `cv`: the median), counted from the first one in "
        "`validation_scores_`; None without early stopping."
    )


class TableTraining(Schedules, Minibatches, LayeredDescent, StepSolver):
    """Training parameters, with the defaults for tables."""

    solver: Literal["adam", "sgd", "adamw", "nadam", "rmsprop", "adagrad", "adadelta"] = param(
        default="adamw"
    )
    alpha: float = param(default=0.02)
    learning_rate: Literal[
        "constant", "invscaling", "adaptive", "cosine", "one_cycle", "coslog4", "plateau"
    ] = param(default="coslog4")
    initializer: RowInitializer | str | os.PathLike[str] | list[Any] = param(
        f"""Weight initialization of dense layers: {DATA_DEPENDENT}, {INITIALIZERS_BY_NAME}.""",
        default="data_dependent", valid=ROW_INITIALIZERS,
    )
    alpha_schedule: Literal["constant", "flat_cos"] = param(default="flat_cos")
    dropout_schedule: Literal["constant", "flat_cos"] = param(default="flat_cos")
    batch_size: int | Literal["auto"] = param(
        """
        Samples per minibatch; 'auto' is ``min(256, n_samples)``. Samples beyond a whole number of
        minibatches are left out of an epoch, other ones in each.""",
        default="auto",
    )
    max_iter: int = param("Number of epochs.", default=256)
    early_stopping: bool = param(
        """
        Whether to hold out `validation_fraction` of the data, and keep the weights of the epoch
        with the best validation score, the last one of several. Training goes on to `max_iter`,
        unless `n_iter_no_change` is finite.""",
        default=True,
    )
    validation_fraction: float = param(default=0.2)
    n_iter_no_change: float = param(default=np.inf)
    beta_2: float = param(default=0.95)
    dtype: Literal["float32", "float64"] | None = param(
        "Floating-point type of the computation; None: float32.", default=None
    )


class _TableRows(Rows):
    """Rows of a table, encoded as numbers."""

    __slots__ = ()

    def data(self, targets, weights, y=None):
        return replace(super().data(targets, weights, y), auto_batch=_BATCH)


class _BaseTabularNet(LayeredNet):
    """Everything but the constructor and the task."""

    _remembered = {"_encoder": TableEncoder}

    # --- the data

    def _read(self, X, y="no_validation", reset=False, **checks):
        """Return X, encoded, as rows of numbers, and y if given, both validated."""
        table, given = read_table(self, X, reset), not isinstance(y, str)
        if given:
            check_given(self, y)
            y = _check_y(sound(y, "y"), estimator=self, **checks)
            check_consistent_length(table.values, y)
        if reset:
            self._encoder = TableEncoder(
                self.categorical_features, self.max_one_hot, self.smooth_clip
            ).fit(table)
        values = self._encoder.transform(table, self._computing_dtype(None))
        rows = _TableRows(values, values.shape[1])
        return (rows, y) if given else rows

    def _computing_dtype(self, inputs):
        return np.dtype(np.float32) if self.dtype is None else given_dtype(self.dtype)

    def _network_inputs(self, network):
        return self._encoder.n_columns_

    # --- the network

    def _network(self, task, inputs, n_outputs):
        """Return the Network that the parameters describe, and no attributes to set."""
        out, loss = task.head(n_outputs)
        first, sections = self._first_layers(inputs)
        layers = [*first, *self._hidden_layers(sections)]
        layers += [self._dense(n_outputs, last=True), out]
        network = Network(tuple(layers), inputs.inputs, loss, members=self.n_ensemble)
        return network, {}

    def _first_layers(self, inputs):
        """Return the layers that embed numbers and categories, and scale what comes of it.

        And how many numbers stand for each column.
        """
        encoder, first, branches, sections = self._encoder, 0, [], []
        for n, layer in (
            (encoder.n_numeric_, self._numbers(inputs)),
            (encoder.n_one_hot_, None),
            (len(encoder.counts_), self._categories()),
        ):
            if n:
                select = Select(first, first + n)
                branches.append([select] if layer is None else [select, layer])
                (total,) = (n,) if layer is None else layer.output_shape((n,))
                sections += [total // n] * n
            first += n
        layers = [] if len(branches) == 1 and len(branches[0]) == 1 else [Concatenate(branches)]
        if self.input_scale:
            layers.append(Scale(rate=float(self.scale_rate), penalized=True, name="input_scale"))
        return layers, sections

    def _numbers(self, inputs):
        """Return the embedding of numbers, or None."""
        given = self.numeric_embedding
        if given is None:
            return None
        if isinstance(given, str):
            given = NumericEmbedding(given)
        given = replace(given, rate=given.rate * float(self.embedding_rate))
        if given.kind == "piecewise_linear" and given.edges is None:
            columns = inputs.values[:, : self._encoder.n_numeric_]
            given = replace(given, edges=quantile_edges(columns, given.bins))
        return given

    def _categories(self):
        """Return the embedding of categories, or None."""
        counts = self._encoder.counts_
        if not len(counts):
            return None
        return CategoryEmbedding(
            tuple(counts), self.category_embedding, kernel_initializer="standard_normal"
        )

    def _hidden_layers(self, sections):
        """Return the hidden layers, with their activations and dropout.

        `sections` are the lengths of runs of inputs that stand for the same column.
        """
        layers, name = [], self.activation
        for i, units in enumerate(hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")):
            layers.append(self._dense(units, () if i else sections))
            if self.parametric_activation and name != "identity":
                rate = float(self.activation_rate)
                layers.append(ParametricActivation(name, rate=rate, penalized=True))
            else:
                layers.append(Activation(name))
            if self.dropout:
                layers.append(Dropout(float(self.dropout), i))
        return layers

    def _dense(self, units, sections=(), last=False):
        """Return a fully connected layer, or that of an ensemble."""
        more = {"parametrization": self.parametrization, "bias_rate": float(self.bias_rate)}
        if self.initializer == "data_dependent":
            more["bias_initializer"] = "data_dependent"
        if self.n_ensemble == 1:
            return Dense(units, **more)
        if last:
            return EnsembleDense(units, self.n_ensemble, shared=False, **more)
        if sections:  # the first layer, where members differ at the beginning
            more["scale_inputs"] = "signs" if self.numeric_embedding is None else "normal"
            more["sections"] = tuple(sections)
        return EnsembleDense(units, self.n_ensemble, **more)

    # --- training

    def _refusal(self):
        if self.early_stopping or self.refit or self.cv is not None:
            return "partial_fit is for early_stopping=False, refit=False and cv=None."
        name = Recipe.of(self).spanning
        if name is not None:
            return f"partial_fit is not for {name}={getattr(self, name)!r}, over all steps."
        return super()._refusal()

    def _fit(self, X, y=None, sample_weight=None, incremental=False, **more):
        held = more.get("validation", (None,))[0] is not None
        bag = self.cv is not None
        if self.refit and (held or not self.early_stopping or bag or self.warm_start):
            raise ValueError(
                "refit=True is for a number of epochs found on data that fit holds out: expected "
                "early_stopping=True, cv=None, warm_start=False and no X_val."
            )
        if bag:
            check_bag(self, held, more.get("resume_from"))
        return super()._fit(X, y, sample_weight, incremental, **more)

    def _first_values(self, job, inputs, targets, weights):
        if self.cv is not None:  # each of the networks draws its own
            return []
        return super()._first_values(job, inputs, targets, weights)

    def _learn(self, job, X, y):
        job.recipe = replace(job.recipe, drop_last=not job.incremental, latest_best=True)
        job.task = self._task()
        if self.cv is not None:
            return train_bag(self, job)
        return super()._learn(job, X, y)

    def _train(self, job, callbacks):
        super()._train(job, callbacks)
        self._after_training(job)

    def _after_training(self, job):
        """Find the best epoch, use the data held out once more, and train on all data."""
        scores = np.array(job.progress.validation_scores)
        best = None
        if self.early_stopping and np.isfinite(scores).any():
            best = int(len(scores) - np.nanargmax(scores[::-1]))
        job.attributes["best_iter_"] = best
        job.attributes.update(self._of_held_data(job))
        if self.refit and best is not None and not job.interrupted:
            self._refit(job, best)

    def _of_held_data(self, job):
        """Return fitted attributes that the data held out determine."""
        return {}

    def _refit(self, job, epochs):
        """Train again, on all data, for some epochs of as many as were planned."""
        again = replace(
            job, data=job.whole, held=None, progress=None, attributes={}, first=True,
            recipe=replace(job.recipe, early_stopping=False),
        )  # fmt: skip
        again.start(self)
        again.adapt_first_values(self)
        trainer = trainer_of(again)
        trainer.fit(epochs, True, planned=job.epochs)
        job.interrupted = trainer.interrupted
        if job.interrupted:  # the first network has been trained to the end
            return
        job.data = job.whole
        known = ("validation_scores", "validation_loss_curve", "best_validation_score")
        job.progress = replace(
            again.progress, **{name: getattr(job.progress, name) for name in known}
        )

    def _commit(self, job, progress):
        for name in ("estimators_", "best_iter_", "temperature_"):
            vars(self).pop(name, None)  # an earlier fit's
        super()._commit(job, progress)

    # --- prediction

    def _predict(self, inputs):
        """Return the mean of the outputs of all networks."""
        several = getattr(self, "estimators_", None)
        if several is not None:
            return np.mean([one._predict(inputs) for one in several], axis=0)
        return combined(super()._predict(inputs))

    def _of_one(self, what):
        """Raise ValueError if there are several networks, and `what` is of one."""
        if hasattr(self, "estimators_"):
            raise ValueError(
                f"{what} is of one network, and cv={self.cv!r} has trained "
                f"{len(self.estimators_)}: take one of estimators_."
            )

    @consistent
    def activations(self, X, layer=-2) -> Array:
        check_is_fitted(self)
        self._of_one("activations")
        found, members = super().activations(X, layer), self._weights.network.members
        if members == 1:
            return found
        return found.reshape(members, -1, *found.shape[1:]).swapaxes(0, 1)

    if LayeredNet.activations.__doc__:  # None with python -OO
        activations.__doc__ = LayeredNet.activations.__doc__ + """
            With `n_ensemble`: (n_samples, n_ensemble, units).
        """

    @property
    def weights_(self):
        """Copies of the parameters, by layer: dicts with 'kernel', 'bias', 'scale' and so on."""
        check_is_fitted(self)
        try:
            self._of_one("weights_")
        except ValueError as error:  # so that hasattr and displays of estimators see none
            raise AttributeError(str(error)) from None
        return LayeredNet.weights_.fget(self)

    @consistent
    def save_weights(self, path) -> None:
        check_is_fitted(self)
        self._of_one("save_weights")
        super().save_weights(path)

    save_weights.__doc__ = LayeredNet.save_weights.__doc__

    def _to_load(self, sizes, classes):
        if not self.__sklearn_is_fitted__() or classes is not None:
            raise ValueError(
                "load_weights is for a fitted network, whose table and classes the weights are "
                "for: medians, categories and so on are not in a file of weights. save and load "
                "store all of an estimator."
            )
        self._of_one("load_weights")
        known = ("feature_names_in_",) if hasattr(self, "feature_names_in_") else ()
        return self._weights.network, {name: getattr(self, name) for name in known}

    def _check_loaded(self):
        super()._check_loaded()
        agree("The encoder", self._encoder.n_features_in_, self.n_features_in_)
        for one in getattr(self, "estimators_", ()):
            agree("estimators_", type(one), type(self))
            agree("estimators_", one._weights.network, self._weights.network)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class TabularNetClassifier(
    ForClasses, TableTraining, TableLayers,
    ClassifierMethods, ClassifierMixin, _BaseTabularNet,
):  # fmt: skip
    """A neural network for tables of numbers and categories, for classification.

    X is a data frame as it comes, or an array: no scaling, encoding or imputation is needed. The
    defaults are those of RealMLP, which were tuned on many other tables.

    References
    ----------
    Holzmueller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by default: strong pre-tuned
    MLPs and boosted trees on tabular data. Gorishniy, Y., Kotelnikov, A. and Babenko, A. (2025).
    TabM: advancing tabular deep learning with parameter-efficient ensembling.

    Examples
    --------
    >>> import pandas as pd
    >>> from sknn import TabularNetClassifier
    >>> X = pd.DataFrame({"age": [20.0, None, 65.0, 38.0] * 25, "job": ["a", "b", "b", None] * 25})
    >>> net = TabularNetClassifier(max_iter=20, random_state=0)
    >>> bool(net.fit(X, ["no", "yes", "yes", "no"] * 25).score(X, ["no", "yes", "yes", "no"] * 25))
    True
    """

    learning_rate_init: float = param(default=0.04)
    label_smoothing: float | Literal["auto"] = param(
        """
        Share of the targets that is divided equally among the classes, in training. 'auto': 0.1
        for classes that are equally frequent, and less if some are rare (times the entropy of the
        frequencies, relative to that of equal ones); 0 with ``loss='squared_error'``. For
        probabilities, and scores of rankings such as 'roc_auc', 0 may be better.""",
        default="auto", valid=[FRACTION], kind="float or 'auto'",
    )
    calibrate: bool = param(
        """
        Whether probabilities are calibrated: raised to the power of 1 / `temperature_`, and
        normalized. It has the lowest log loss for the data held out, whose targets are mixed
        with equal shares of all classes as if there were one more row of each.""",
        default=True,
    )

    label_smoothing_: float = fitted("Label smoothing in training.")
    temperature_: float = fitted(
        "With `calibrate`: the temperature; 1 leaves probabilities. With `cv`, each of "
        "`estimators_` has its own."
    )

    def _task(self):
        known = getattr(self, "_label_binarizer", None), getattr(self, "classes_", None)
        return TableClassification(
            self.validation_fraction, self.loss, self.output_activation, *known, self.class_weight,
            label_smoothing=self.label_smoothing,
            smoothing=getattr(self, "label_smoothing_", None),
        )  # fmt: skip

    def _of_held_data(self, job):
        if not self.calibrate or job.held is None:
            return {}
        data, values = job.held, job.progress.values
        weights = Weights(job.network, values, job.dtype).on(job.recipe.device)
        _, outputs = data.evaluate(weights, self.n_jobs)
        if not np.isfinite(outputs).all():
            return {}
        weights = None if data.weights is None else data.weights[data.rows]
        return {"temperature_": job.task.temperature(combined(outputs), data.y, weights)}

    def _predict(self, inputs):
        temperature = getattr(self, "temperature_", 1.0)
        return self._task().tempered(super()._predict(inputs), temperature)


class TabularNetRegressor(
    ForNumbers, TableTraining, TableLayers,
    RegressorMethods, RegressorMixin, _BaseTabularNet,
):  # fmt: skip
    """A neural network for tables of numbers and categories, for regression.

    X is a data frame as it comes, or an array: no scaling, encoding or imputation is needed, nor
    for y, which is standardized inside. The defaults are those of RealMLP, which were tuned on many
    other tables.

    References
    ----------
    Holzmueller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by default: strong pre-tuned
    MLPs and boosted trees on tabular data. Gorishniy, Y., Kotelnikov, A. and Babenko, A. (2025).
    TabM: advancing tabular deep learning with parameter-efficient ensembling.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sknn import TabularNetRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> net = TabularNetRegressor(max_iter=50, random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.4)
    True

    Intervals, from several quantiles at once:

    >>> net = TabularNetRegressor(loss="quantile", quantile=[0.1, 0.5, 0.9], max_iter=50,
    ...                           random_state=0).fit(X, y)
    >>> net.predict(X).shape
    (442, 3)
    """

    activation: HiddenActivation = param(default="mish")
    learning_rate_init: float = param(default=0.2)
    huber_delta: float = param(
        """
        Absolute error at which ``loss='huber'`` changes from quadratic to linear, in standard
        deviations of y.""",
        default=1.0,
    )
    clip_output: bool = param(
        "Whether predictions are clipped to the range of the targets in `fit`.", default=True,
    )

    _remembered = {"_target_scale": Array}

    def _task(self):
        return TableRegression(
            self.loss, self.output_activation, self.quantile, self.huber_delta,
            scale=getattr(self, "_target_scale", None), clip=self.clip_output,
        )  # fmt: skip

    def _check_loaded(self):
        super()._check_loaded()
        several = self._weights.network.loss.quantiles is not None  # of one target
        columns = 1 if several else self.n_outputs_
        agree("_target_scale", self._target_scale.shape, (4, columns))
        agree("_target_scale", bool(np.isfinite(self._target_scale).all()), True)
