"""The one ladder of fitting, from the parameters and data of an estimator to what it has learned.

A family says what its task is (``_task``), how it reads X (``_read``), and which network its
parameters describe (``_network``). All else is here: a fit is prepared as a :class:`Job`, which the
engine trains, and its outcome becomes the estimator's own (``_commit``).
"""

import zlib
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..engine.data import Data
from ..engine.devices import for_training
from ..engine.lbfgs import fit_lbfgs
from ..engine.lowering import compile_ahead
from ..engine.network import Network
from ..engine.optimizers import SCHEDULES, SOLVERS, solvers_for
from ..engine.prediction import finite
from ..engine.recipe import Recipe
from ..engine.training import Progress, Trainer, noise_seed
from ..engine.warn import warn
from ..engine.weights import Weights
from ..files import safetensors
from ..layers import (
    Activation,
    BatchNormalization,
    Dropout,
    GaussianNoise,
    GaussianSampling,
    MaskingNoise,
    SaltAndPepperNoise,
)
from ..layers.augmentation import Augmentation
from ..layers.base import path_of
from ..summary import Summary, summarize
from .callbacks import FitCallbacks
from .inputs import TakesRows
from .outcome import check_outcome
from .parameters import Array
from .scoring import check_scoring, score_of
from .transactions import NeuralEstimator, consistent
from .weight_files import WeightFiles, drawn_by, is_file


@dataclass
class Job:
    """One fit, checked and ready: what is trained, from where, how, and on which data.

    Attributes
    ----------
    network : Network
    recipe : Recipe
    dtype : dtype
        What is computed in.
    first : bool
        Whether it begins anew, not from the weights of the last fit.
    incremental : bool
        Whether it is a partial fit.
    score : callable
        ``score(data, loss, outputs, weights)`` is the validation score.
    attributes : dict of str to object
        What the estimator will remember, beside the outcome of training.
    random_state : RandomState
    seed : int
        Of dropout, noise and augmentation.
    progress : Progress
    data, held : Data
        To learn from, and to validate with, or None.
    interrupted : bool
        Whether the user has ended it before it began.
    """

    network: Network
    recipe: Recipe
    dtype: np.dtype
    first: bool
    incremental: bool
    score: object
    attributes: dict
    random_state: np.random.RandomState
    seed: int
    progress: Progress | None = None
    data: Data | None = None
    held: Data | None = None
    interrupted: bool = False

    @classmethod
    def of(cls, net, network, dtype, first, incremental, score, attributes):
        """Return the job of training a network by an estimator's parameters."""
        check_trainable(network, net.solver)
        check_scoring(net)
        if first or not incremental:
            _warn_of_schedule(net.learning_rate, net.solver)
        random_state = check_random_state(net.random_state)
        return cls(
            network, Recipe.of(net), dtype, first, incremental, score, attributes, random_state,
            noise_seed(random_state),
        )  # fmt: skip

    def start(self, net, inputs=None, targets=None, weights=None):
        """Choose the device, and where to begin: at first values, or where the last fit has ended.

        The data to learn from must be known.
        """
        device = for_training(self.recipe.device, self._operations_of_a_step)
        self.recipe = replace(self.recipe, device=device)
        if self.first:
            self.progress = Progress(net._first_values(self, inputs, targets, weights))
        else:
            self.progress = net._progress(self)

    @property
    def _operations_of_a_step(self):
        """Multiply-adds of a step: the way back takes about twice as many as the way forward."""
        rows = len(self.data.rows)
        if self.recipe.solver in SOLVERS:
            wanted = self.recipe.batch_size
            rows = self.data.batch_size(wanted if wanted == "auto" else min(wanted, rows))
        return 3 * self.network.operations * rows

    @property
    def epochs(self):
        """How many epochs there are at most: of what is solved for at once, one."""
        steps = self.recipe.solver == "lbfgs" or self.recipe.solver in SOLVERS
        return self.recipe.max_iter if steps and not self.incremental else 1


def draw(net, network, random_state):
    """Draw a network's first parameters by the parameter `initializer`."""
    name = drawn_by(net.initializer)
    drawn = [(a, shape) for _, a, shape in network.primitives if a.parameters(shape)]
    values = []
    for i, (layer, shape) in enumerate(drawn):
        values += layer.draw(shape, random_state, name, i == len(drawn) - 1)
    return values


class Net(WeightFiles, TakesRows, NeuralEstimator):
    """What all networks share but their parameters and their layers."""

    #: The attribute that holds what is fitted.
    _weights_in = "_weights"
    #: How parameters are drawn.
    _draw = staticmethod(draw)
    #: Whether what L-BFGS has found in float64 becomes of the type that X has.
    _keeps_dtype = False
    #: Whether what is trained is also what predicts, row by row.
    _predicts_rows = True

    def _fit(
        self, X, y=None, sample_weight=None, incremental=False, validation=(None, None, None),
        classes=None,
    ):  # fmt: skip
        """Check everything, train, and make the outcome the estimator's own.

        `validation` is X_val, y_val and their weights, `classes` those given to a partial fit.
        """
        task = self._task()
        task.check()
        if incremental:
            self._check_incremental()
        first = begins_anew(self, incremental)
        inputs, targets = task.read(self._read, X, y, reset=first)
        task.learn(targets, incremental, self.warm_start, classes)
        vars(self).update(task.fitted())
        weights = task.weigh(sample_weight, inputs, targets, incremental)
        n_outputs = task.count_outputs(inputs, targets)
        network, remembered = self._network(task, inputs, n_outputs)
        # What goes on goes on in the type of its weights, as in scikit-learn.
        dtype = self._computing_dtype(inputs if first else None)
        attributes = task.shown(network, n_outputs) | remembered
        job = Job.of(self, network, dtype, first, incremental, task.score, attributes)
        job.data = task.data(inputs, targets, weights, network)
        job.held = task.validation(self._read, *validation, network)
        job.start(self, inputs, targets, weights)
        if self.early_stopping and self.solver != "lbfgs" and job.held is None:
            stratify = task.stratify(job.data, network.outputs)
            names = getattr(self, "classes_", None)
            job.data, job.held = hold_back(job, self.validation_fraction, stratify, names)
        job.score = score_of(self, job, task.score, (X, y, sample_weight), validation)
        return self._learn(job, X, y)

    def _learn(self, job, X, y):
        """Train, and make the outcome the estimator's own; X and y are what callbacks see."""
        callbacks = FitCallbacks(self, X, y, job.epochs)
        begin = job.progress.values
        if not job.interrupted:
            self._train(job, callbacks)
        self._check_outcome(job, begin)
        self._commit(job, job.progress)
        callbacks.end()
        if job.first and self._predicts_rows:
            compile_ahead(job.network, job.progress.values[0].dtype, job.data.source.key)
        return self

    def _train(self, job, callbacks):
        """Train by the solver: change the job's progress."""
        if self.solver != "lbfgs":
            train_by_minibatches(job, callbacks)
            return
        train_by_lbfgs(job, callbacks)  # in float64
        if self.dtype is not None or self._keeps_dtype:
            job.progress.values = [value.astype(job.dtype) for value in job.progress.values]

    def _commit(self, job, progress):
        """Make a state of training the estimator's own."""
        self.n_iter_, self.t_, self.loss_ = progress.n_iter, progress.t, progress.loss
        self.loss_curve_ = progress.loss_curve
        steps = job.recipe.solver in SOLVERS
        self.learning_rate_curve_ = progress.learning_rate_curve if steps else None
        raw = progress.raw if steps else None
        self._raw_values = None if raw is None else (_checksum(progress.values), raw)
        self._no_improvement_count = progress.no_improvement
        stopping = job.recipe.early_stopping and job.recipe.solver != "lbfgs"
        if job.recipe.solver != "lbfgs":
            self._optimizer = progress.optimizer
            self.best_loss_ = None if stopping else progress.best_loss
            best = progress.best_validation_score
            self.best_validation_score_ = best if stopping else None
        for name in ("validation_scores", "validation_loss_curve"):
            setattr(self, f"{name}_", None if job.held is None else getattr(progress, name))
        vars(self).update(job.attributes | self._attributes(job.network, progress.values))
        vars(self).pop("_only_loaded", None)

    # --- what a fit is given

    def _check_incremental(self):
        """Check that the parameters make sense for partial fits."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.solver in SOLVERS and self.learning_rate in SCHEDULES:
            raise ValueError(
                f"partial_fit does not support learning_rate={self.learning_rate!r}, a schedule "
                "over all steps of a fit: nobody knows how many are to come."
            )

    # --- where training begins

    def _first_values(self, job, inputs, y, weights):
        """Return the first parameters: drawn, but for those that `initializer` holds."""
        values, given = self._draw(self, job.network, job.random_state), self.initializer
        if is_file(given):
            network = job.network
            found, read = safetensors.load_fitting(
                given, self._layers_in_files(network), network.start_shape,
                self._single_output(network),
            )  # fmt: skip
            _check_finite(given, found)
            values = [drawn if own is None else own for own, drawn in zip(found, values)]
            job.attributes["_initialized"] = read
        elif isinstance(given, list):
            values = with_given(given, values)
        return [value.astype(job.dtype) for value in values]

    def _progress(self, job):
        """Return the state that a warm start or a partial fit goes on from."""
        progress = Progress(self._values_for(job.network, job.dtype), t=getattr(self, "t_", 0))
        curves = ["loss_curve", "learning_rate_curve", "validation_loss_curve"]
        if self.early_stopping:
            curves.append("validation_scores")
            best = getattr(self, "best_validation_score_", None)
            progress.best_validation_score = -np.inf if best is None else best
        for name in curves:
            setattr(progress, name, list(getattr(self, f"{name}_", None) or ()))
        best = getattr(self, "best_loss_", None)
        progress.best_loss = np.inf if best is None else best
        progress.no_improvement = getattr(self, "_no_improvement_count", 0)
        progress.optimizer = getattr(self, "_optimizer", None) if job.incremental else None
        averages, raw = getattr(self, "_raw_values", None) or (None, ())
        # only if nobody has set other averages by hand
        if averages == _checksum(progress.values):
            progress.raw = [value.astype(job.dtype) for value in raw]
        return progress

    # --- what has been learned

    def _check_outcome(self, job, begin):
        """Check that training, which began with some values, has not diverged."""
        check_outcome(job, begin)

    def __sklearn_is_fitted__(self):
        return hasattr(self, self._weights_in)

    def _outputs(self, X):
        """Return the network's outputs for X, after checks."""
        if not hasattr(self, self._weights_in):
            check_is_fitted(self)
        return finite(self._predict(self._read(X)))

    @consistent
    def summary(self) -> Summary:
        """Return a table of the layers: output shapes, parameters, multiply-adds.

        Of a network whose `initializer` is a file, it says which layers it was read for.

        Returns
        -------
        summary : :class:`~sknn.summary.Summary`
            To print, to show in a notebook, or as a DataFrame.
        """
        check_is_fitted(self)
        network = self._held_weights().network
        read = getattr(self, "_initialized", None)
        return summarize(network.layers[:-1], network.start_shape, read)

    @consistent
    def activations(self, X, layer=-2) -> Array:
        """Return the outputs of one of the layers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.
        layer : int or str, default=-2
            Its place in `layers_`, or its name; in a multilayer perceptron, the number of the
            layer in `coefs_`. The default is what the output layer gets.

        Returns
        -------
        activations : ndarray of shape (n_samples, ...)
            After the layer's activation function. Of images (n_samples, height, width, channels);
            of steps (n_samples, time, units), or a list of arrays where X is a list.
        """
        check_is_fitted(self)
        inputs = self._read(X)
        weights = self._up_to(layer, inputs)
        return inputs.shaped(finite(inputs.run(weights, self.n_jobs)), weights.network)

    @property
    @consistent
    def history_(self):
        """Losses, validation scores and learning rates by epoch, as a DataFrame."""
        import pandas as pd

        check_is_fitted(self, "loss_curve_")
        columns = {"loss": self.loss_curve_}
        if self.validation_scores_ is not None:
            columns["validation_loss"] = self.validation_loss_curve_
            columns["validation_score"] = self.validation_scores_
        if getattr(self, "learning_rate_curve_", None) is not None:  # older pickles have none
            columns["learning_rate"] = self.learning_rate_curve_
        epochs = len(self.loss_curve_)  # validation may have begun later
        columns = {k: [np.nan] * (epochs - len(v)) + v for k, v in columns.items()}
        frame = pd.DataFrame(columns, dtype="float64")
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
        return frame


class LayeredNet(Net):
    """A network that holds its parameters as they are computed with: packed, by layer."""

    def _computing_dtype(self, inputs):
        """Return the type to compute in, for inputs or (None) as the weights are."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if inputs is None:
            return self._weights.dtype
        double = inputs.dtype.kind == "f" and inputs.dtype.itemsize >= 8
        return np.dtype(np.float64 if double else np.float32)

    def _values_for(self, network, dtype):
        """Return the fitted parameters to go on from, checked against the network."""
        values = self._weights.values
        shapes = [p.shape for group in network.parameters() for p in group]
        if [value.shape for value in values] != shapes:
            raise ValueError(
                "layers have changed since the last fit, by their own parameters or those of the "
                "estimator: the weights do not fit the network any more. Fit anew, with "
                "warm_start=False, or set them back."
            )
        return [value.astype(dtype) for value in values]

    def _attributes(self, network, values):
        """Return the fitted attributes that hold the network's parameters."""
        return {
            "_weights": Weights(network, values, values[0].dtype),
            "layers_": list(network.layers[:-1]),
        }

    def _held_weights(self):
        """Return the weights as they lie on the host."""
        return self._weights

    def _up_to(self, layer, *inputs):
        """Return the weights of the network up to one of its layers."""
        return self._placed_weights.part(0, place_of(layer, self.layers_) + 1)

    @property
    def _placed_weights(self):
        """The weights, to predict with where the parameter `device` says now."""
        return self._weights.on(self.device)

    def _predict(self, inputs):
        """Return the network's outputs for inputs."""
        return inputs.run(self._placed_weights, self.n_jobs)

    @property
    @consistent
    def weights_(self):
        """Copies of the parameters, by layer: a dict of 'kernel', 'bias', 'gamma' and so on."""
        check_is_fitted(self)
        return self._weights.by_layer()


def hold_back(job, fraction, stratify=None, names=None):
    """Return data to learn from, and rows held back: scikit-learn's split, of row numbers only.

    `names` are those of the two classes that `stratify` numbers.
    """
    rows = job.data.rows
    # scikit-learn's own words come first
    why = (
        "The validation set is too small. Increase 'validation_fraction' or the size of your "
        "dataset."
    )
    try:
        train, held = train_test_split(
            rows, random_state=job.random_state, test_size=fraction, stratify=stratify
        )
    except ValueError as error:
        why, held = str(error), ()
    if len(held) < 2:
        raise ValueError(
            f"{why}\nearly_stopping holds back {np.ceil(fraction * len(rows)):g} of {len(rows)} "
            f"samples, as validation_fraction={fraction} says: "
            f"{_why_no_part(stratify, names)}. Give validation data by X_val and y_val, or fit "
            "more samples, or change validation_fraction."
        )
    return job.data.part(train), job.data.part(held)


def _why_no_part(labels, names):
    """Return why samples of some labels, or None, cannot be parted in two."""
    classes, counts = np.unique([] if labels is None else labels, return_counts=True)
    if len(classes) < 2:
        return "the validation set is too small, or what is left to train with"
    if counts.min() < 2:
        rare = classes[counts.argmin()]
        rare = names[int(rare)] if len(names) == 2 else rare
        return f"class {rare!s} has 1 sample, and both parts need one of each class"
    return f"both parts need samples of each of the {len(classes)} classes"


# --- the ways to train


def train_by_minibatches(job, callbacks, kind=Trainer, after_epoch=None):
    """Train by minibatches: change the job's progress; return the trainer.

    ``after_epoch(values)`` is called after each epoch, with a function that returns copies of the
    parameters.
    """
    trainer = kind(
        job.recipe, job.network, job.dtype, job.progress, job.data, job.held, job.score,
        job.random_state, job.seed,
    )  # fmt: skip

    def begin_epoch():
        finish = callbacks.begin_epoch(lambda other: other._commit(job, trainer.so_far()))
        if after_epoch is None:
            return finish

        def end_epoch():
            after_epoch(trainer.current_values)
            return finish()

        return end_epoch

    trainer.fit(job.epochs, job.incremental, begin_epoch)
    return trainer


def train_by_lbfgs(job, callbacks):
    """Train by L-BFGS, in float64: change the job's progress."""
    progress = job.progress

    def after_iteration(values):
        if job.held is not None:
            weights = Weights(job.network, values(), np.float64).on(job.recipe.device)
            progress.validate(job.held, job.score, weights, job.recipe.n_jobs)

        def commit(other):
            other._commit(job, progress.copy(values=values()))

        return callbacks.begin_epoch(commit)()

    fit_lbfgs(job.recipe, job.network, progress, job.data, after_iteration)


# --- what a fit begins and ends with


def begins_anew(net, incremental):
    """Return whether a fit begins anew, not from the weights of the last one."""
    if not net.__sklearn_is_fitted__():
        return True
    if net.warm_start or incremental:
        return False
    if hasattr(net, "_only_loaded"):
        warn(
            "fit begins anew: the weights that load_weights has read are lost. To train them "
            "further, set warm_start=True, or give the file as initializer, which clones keep."
        )
    return True


def check_trainable(network, solver):
    """Check that there is something to train, by a solver."""
    found = [*network.augmentation, *(layer for _, layer, _ in network.primitives)]
    if any(isinstance(a, Activation) and a.function == "step" for a in found):
        raise ValueError(
            "Activation('step') has no useful derivative, so a network cannot be trained with it."
        )
    trained = [a for a in found if isinstance(a, BatchNormalization) and a.trainable]
    if solver == "lbfgs" and (trained or any(isinstance(a, _RANDOM) for a in found)):
        raise ValueError(
            "solver='lbfgs' goes over all samples at once and needs the same loss each time: "
            "random layers, augmentation and batch normalisation are for the other solvers."
        )
    if not any(layer.learns for layer in found):
        raise ValueError("No layer is left to train: all of them have trainable=False.")


_RANDOM = Augmentation, Dropout, GaussianNoise, GaussianSampling, MaskingNoise, SaltAndPepperNoise


def check_names(network):
    """Check that no two layers with parameters have one name."""
    paths = [path for path, layer, shape in network.primitives if layer.parameters(shape)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"Two layers have the name {twice!r}; expected names of their own.")


def _warn_of_schedule(schedule, solver):
    """Warn of a schedule of the rate that a solver does not follow."""
    followers = solvers_for(schedule)
    if schedule == "constant" or solver in followers:
        return
    expected = "solver='sgd'" if followers == ["sgd"] else "a solver with minibatches"
    warn(
        f"learning_rate={schedule!r} does nothing with solver={solver!r}"
        f"{', as in scikit-learn' if len(followers) == 1 else ''}; it is for {expected}."
    )


def _check_finite(path, values):
    """Check that what a file holds can be trained on."""
    if not all(value is None or np.isfinite(value).all() for value in values):
        raise ValueError(f"{path}, the initializer, has tensors that are not finite.")


def with_given(initializer, values):
    """Return first parameters with those in place that the list `initializer` holds, checked."""
    given = []
    for i, value in enumerate(initializer):
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


def place_of(layer, layers):
    """Return the place in a list of a layer that is given by its place or name."""
    names = [path_of(some, "layers", i) for i, some in enumerate(layers)]
    n = len(names)
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"layer is {layer!r}; expected one of {names}.")
        return names.index(layer)
    if not isinstance(layer, Integral) or isinstance(layer, bool):
        raise TypeError(f"layer is {layer!r}; expected an int or a str.")
    if not -n <= layer < n:
        raise ValueError(f"layer is {layer}; expected one of the {n} layers, in [{-n}, {n}).")
    return int(layer) % n


def _checksum(values):
    """Return a number that tells parameters from others."""
    checksum = 0
    for value in values:
        checksum = zlib.crc32(np.ascontiguousarray(value), checksum)
    return checksum
