"""The fitting procedure of all networks.

Each family of estimators defines its task (``_task``), how to read X (``_read``), and the network
that its parameters describe (``_network``). Everything else is here: a fit is prepared as a
:class:`Job`, the engine trains it, and the result is stored on the estimator (``_commit``).
"""

import zlib
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from numbers import Integral

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..engine.data import Data
from ..engine.devices import for_training
from ..engine.lbfgs import fit_lbfgs
from ..engine.lowering import compile_ahead
from ..engine.network import Network
from ..engine.optimizers import SOLVERS, Optimizer, solvers_for
from ..engine.prediction import finite
from ..engine.recipe import Recipe
from ..engine.training import Progress, Trainer, noise_seed
from ..engine.warn import warn
from ..engine.weights import Weights
from ..files import safetensors
from ..files.codec import check_counts
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
from ..summary import Summary, framed, summarize
from ..tape.on_demand import read_on_demand
from .base import agree
from .callbacks import FitCallbacks
from .first_values import adapt, check_adapted
from .inputs import TakesRows
from .outcome import check_outcome
from .parameters import Array
from .resuming import Record, resume, traits_of
from .scoring import check_scoring, score_of
from .transactions import LATER, PUBLIC, NeuralEstimator, consistent
from .weight_files import WeightFiles, drawn_by, is_file

#: The curves beside `loss_curve_`.
_CURVES = "learning_rate_curve_", "validation_loss_curve_", "validation_scores_"

#: An estimator that is trained by another kind of Trainer, and that kind.
_trained_by = ContextVar("trained_by", default=(None, None))


@contextmanager
def trained_by(net, kind):
    """Let another kind of Trainer train an estimator's minibatches, for a context.

    ``kind`` is called like :class:`Trainer`. Other estimators are not affected, even if they are
    fitted in between, by a callback.
    """
    token = _trained_by.set((net, kind))
    try:
        yield
    finally:
        _trained_by.reset(token)


def _trainer_of(net):
    other, kind = _trained_by.get()
    return kind if other is not None and other is vars(net).get(PUBLIC) else Trainer


@dataclass
class Job:
    """One validated fit: the network, its initial state, the training recipe, and the data.

    Attributes
    ----------
    network : Network
    recipe : Recipe
    dtype : dtype
        Floating-point type of the computation.
    first : bool
        Whether training starts from scratch, not from the weights of the last fit.
    incremental : bool
        Whether this is a partial fit.
    score : callable
        ``score(data, loss, outputs, weights)`` returns the validation score.
    attributes : dict of str to object
        Attributes to set on the estimator in addition to the results of training.
    random_state : RandomState
    seed : int
        Seed of dropout, noise and augmentation.
    scorer : None, 'loss' or callable
        The validated parameter `scoring`.
    trainer : callable
        The kind of Trainer, for solvers with minibatches.
    progress : Progress
    data, held : Data
        Training data, and validation data or None.
    interrupted : bool
        Whether the user interrupted the fit, before training began or later.
    given : list of bool
        For each of the initial parameters, whether `initializer` gives it; may be shorter.
    resumed : Record or None
        The state of training to go on from, besides that of the estimator.
    split : dict or None
        The generator's state before it drew the data to hold back.
    whole : Data or None
        All data, before some were held back.
    given_data : tuple
        Training and validation data as passed to `fit`, each X, y and weights.
    task : Task or None
        The task, likewise.
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
    scorer: object
    trainer: object = Trainer
    progress: Progress | None = None
    data: Data | None = None
    held: Data | None = None
    given: list = field(default_factory=list)
    interrupted: bool = False
    resumed: Record | None = None
    split: dict | None = None
    whole: Data | None = None
    given_data: tuple = ()
    task: object = None

    @classmethod
    def of(cls, net, network, dtype, first, incremental, score, attributes):
        """Return the job of training a network with an estimator's parameters."""
        check_trainable(network, net.solver)
        scorer = check_scoring(net)
        if first or not incremental:
            _warn_of_schedules(net)
        random_state = generator(net.random_state)
        return cls(
            network, Recipe.of(net), dtype, first, incremental, score, attributes, random_state,
            noise_seed(random_state), scorer, _trainer_of(net),
        )  # fmt: skip

    def start(self, net, inputs=None, targets=None, weights=None):
        """Choose the device and the initial state: initialized, or from the last fit.

        The training data must be set.
        """
        work, members = self._operations_of_a_step, self.network.members
        device = for_training(self.recipe.device, work, members)
        self.recipe = replace(self.recipe, device=device)
        if self.first:
            self.attributes["_initialized"] = None  # unless a file says otherwise
            self.progress = Progress(net._first_values(self, inputs, targets, weights))
        else:
            self.progress = net._progress(self)
        if self.resumed is not None:
            self.seed = self.resumed.seed
            self.progress = self.resumed.progress_of(net, self.progress)

    def adapt_first_values(self, net):
        """Adapt initial weights to the training data, where layers or the estimator say so."""
        if not self.first:
            return
        initializer = drawn_by(getattr(net, "initializer", "auto"))
        self.progress.values = adapt(
            self.network, self.progress.values, self.given, self.data, initializer,
            self.random_state, self.recipe.n_jobs,
        )  # fmt: skip

    @property
    def _operations_of_a_step(self):
        """Multiply-adds of a step: the backward pass takes about twice those of the forward."""
        rows = len(self.data.rows)
        if self.recipe.solver in SOLVERS:
            wanted = self.recipe.batch_size
            rows = self.data.batch_size(wanted if wanted == "auto" else min(wanted, rows))
        return 3 * self.network.operations * rows

    @cached_property
    def traits(self):
        """What its data are recognized by, when a fit is resumed."""
        return traits_of(self.data, self.held)

    @property
    def epochs(self):
        """Maximum number of epochs: one for direct solvers."""
        steps = self.recipe.solver == "lbfgs" or self.recipe.solver in SOLVERS
        return self.recipe.max_iter if steps and not self.incremental else 1


class _Unseeded(ISeedSequence):
    """Stands in for the entropy that NumPy collects for a generator, before it is seeded."""

    def generate_state(self, n_words, dtype=np.uint32):
        return np.zeros(n_words, dtype)


def generator(seed):
    """Return the generator that scikit-learn's `check_random_state` returns, several times faster.

    NumPy makes an unpredictable generator first, which takes longer than a step of training.
    """
    if not isinstance(seed, Integral):
        return check_random_state(seed)
    random_state = np.random.RandomState(np.random.MT19937(_Unseeded()))
    random_state.seed(seed)
    return random_state


def draw(net, network, random_state):
    """Draw a network's initial parameters according to `initializer`."""
    name = drawn_by(net.initializer)
    drawn = [(a, shape) for _, a, shape in network.primitives if a.parameters(shape)]
    values = []
    for i, (layer, shape) in enumerate(drawn):
        values += layer.draw(shape, random_state, name, i == len(drawn) - 1)
    return values


class Net(WeightFiles, TakesRows, NeuralEstimator):
    """What all networks share, except their hyperparameters and layers."""

    #: Name of the attribute that holds the fitted weights.
    _weights_in = "_weights"
    _remembered = {
        "_raw_values": tuple[int, list[Array]] | None, "_no_improvement_count": int,
        "_optimizer": Optimizer | None, "_initialized": list[bool] | None, "_only_loaded": bool,
    }  # fmt: skip
    #: Function that draws the initial parameters.
    _draw = staticmethod(draw)
    #: Whether the float64 result of L-BFGS is cast to the dtype of X.
    _keeps_dtype = False
    #: Whether the trained network is also the one that predicts, row by row.
    _predicts_rows = True

    def _fit(
        self, X, y=None, sample_weight=None, incremental=False, validation=(None, None, None),
        classes=None, resume_from=None,
    ):  # fmt: skip
        """Validate everything, train, and store the result on the estimator.

        `validation` is X_val, y_val and their weights; `classes` are those passed to a partial fit.
        To resume a fit is a warm start from the estimator in a checkpoint, and a record of what a
        warm start does not continue.
        """
        resumed = resume(self, resume_from)
        task = self._task()
        task.check()
        if incremental:
            self._check_incremental()
        first = resumed is None and begins_anew(self, incremental)
        given, X = X, read_on_demand(X)
        inputs, targets = task.read(self._read, X, y, reset=first)
        if resumed is None:
            task.learn(targets, incremental, self.warm_start, classes)
        vars(self).update(task.fitted())
        weights = task.weigh(sample_weight, inputs, targets, incremental)
        n_outputs = task.count_outputs(inputs, targets)
        network, remembered = self._network(task, inputs, n_outputs)
        # A continued fit keeps the dtype of its weights, as in scikit-learn.
        dtype = self._computing_dtype(inputs if first else None)
        attributes = task.shown(network, n_outputs) | remembered
        job = Job.of(self, network, dtype, first, incremental, task.score, attributes)
        job.data = task.data(inputs, targets, weights, network)
        job.held = task.validation(self._read, *validation, network)
        job.resumed, job.whole = resumed, job.data
        job.given_data = (X, y, sample_weight), validation
        job.start(self, inputs, targets, weights)
        holds_back = self.early_stopping and getattr(self, "cv", None) is None  # else its folds
        if holds_back and self.solver != "lbfgs" and job.held is None:
            stratify = task.stratify(job.data, network.outputs)
            names = getattr(self, "classes_", None)
            job.data, job.held = hold_back(job, self.validation_fraction, stratify, names)
        job.score = score_of(self, job, task.score, *job.given_data)
        return self._learn(job, given, y)

    def _learn(self, job, X, y):
        """Train and store the result on the estimator; X and y are passed to callbacks."""
        job.adapt_first_values(self)
        if job.resumed is not None:
            job.resumed.check_job(job)
        callbacks = FitCallbacks(
            self, X, y, job.epochs, job.progress.n_iter, job.resumed and job.resumed.path
        )
        begin = job.progress.values
        if not job.interrupted:
            self._train(job, callbacks)
        self._check_outcome(job, begin)
        self._commit(job, job.progress)
        callbacks.end()
        if self._predicts_rows and (job.first or job.resumed is not None):
            dtype = job.progress.values[0].dtype
            vars(self)[LATER] = partial(compile_ahead, job.network, dtype, job.data.source.key)
        return self

    def _train(self, job, callbacks):
        """Train with the solver; updates the job's progress."""
        if self.solver != "lbfgs":
            job.interrupted = train_by_minibatches(job, callbacks).interrupted
            return
        train_by_lbfgs(job, callbacks)  # in float64
        if self.dtype is not None or self._keeps_dtype:
            job.progress.values = [value.astype(job.dtype) for value in job.progress.values]

    def _commit(self, job, progress):
        """Store a state of training on the estimator."""
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

    # --- input of a fit

    def _refusal(self):
        """Return why there is no `partial_fit`, or None."""
        if self.solver == "lbfgs":
            return (
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return None

    def _check_incremental(self):
        """Check that the parameters make sense for partial fits."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        name = Recipe.of(self).spanning
        if self.solver in SOLVERS and name is not None:
            raise ValueError(
                f"partial_fit does not support {name}={getattr(self, name)!r}, a schedule over all "
                "steps of a fit: their number is not known in advance."
            )

    # --- initial state of training

    def _first_values(self, job, inputs, y, weights):
        """Return the initial parameters: drawn, except for those given by `initializer`."""
        given = self.initializer
        check_adapted(job.network, drawn_by(given))
        values = self._draw(self, job.network, job.random_state)
        if is_file(given):
            network = job.network
            found, read = safetensors.load_fitting(
                given, self._layers_in_files(network), network.start_shape,
                self._single_output(network),
            )  # fmt: skip
            _check_finite(given, found)
            values = [drawn if own is None else own for own, drawn in zip(found, values)]
            job.attributes["_initialized"] = read
            job.given = [own is not None for own in found]
        elif isinstance(given, list):
            values = with_given(given, values)
            job.given = [True] * len(given)
        return [value.astype(job.dtype) for value in values]

    def _progress(self, job):
        """Return the state that a warm start or a partial fit continues from."""
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
        # only if the averaged weights were not replaced by the user
        if averages == _checksum(progress.values):
            progress.raw = [value.astype(job.dtype) for value in raw]
        return progress

    def _check_loaded(self):
        super()._check_loaded()
        values = self._held_weights().values
        if getattr(self, "_raw_values", None) is not None:
            _, raw = self._raw_values
            agree("_raw_values", [value.shape for value in raw], [value.shape for value in values])
        curves = ("loss_curve_", *_CURVES)
        agree("Its curves", sum(hasattr(self, name) for name in curves) in (0, len(curves)), True)
        names = "n_iter_", "t_", "_no_improvement_count"
        check_counts("It", **{name: getattr(self, name, 0) for name in names})

    # --- result of training

    def _check_outcome(self, job, begin):
        """Check that training from the initial values `begin` has not diverged."""
        check_outcome(job, begin)

    def __sklearn_is_fitted__(self):
        return hasattr(self, self._weights_in)

    def _outputs(self, X):
        """Return the network's outputs for X, validated."""
        if not hasattr(self, self._weights_in):
            check_is_fitted(self)
        return finite(self._predict(self._read(X)))

    @consistent
    def summary(self) -> Summary:
        """Return a table of the layers with output shapes, parameters and multiply-adds.

        If `initializer` is a file, the table also shows which layers were initialized from it.

        Returns
        -------
        summary : :class:`~sknn.summary.Summary`
            Can be printed, displayed in a notebook, or converted to a DataFrame.
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
            The samples, in the same format as for `fit`.
        layer : int or str, default=-2
            Index in `layers_`, or name of the layer; for a multilayer perceptron, index in
            `coefs_`. The default is the layer before the output layer; the last, -1, is the output
            layer, in a multilayer perceptron with its activation function, elsewhere without.

        Returns
        -------
        activations : ndarray of shape (n_samples, ...)
            Outputs of the layer, after its activation function: (n_samples, height, width,
            channels) for images; (n_samples, time, units) for time steps, or a list of arrays if
            X is a list.
        """
        check_is_fitted(self)
        inputs = self._read(X)
        weights = self._up_to(layer, inputs)
        return inputs.shaped(finite(inputs.run(weights, self.n_jobs)), weights.network)

    def _runner(self, X, y=None):
        """Return a function that returns what a part of the network, given its weights, outputs.

        The outputs are those for X, in the form of :meth:`activations`; they may not be finite. y
        is for networks that read it.
        """
        inputs = self._read(X)
        return lambda weights: inputs.shaped(inputs.run(weights, self.n_jobs), weights.network)

    def _html_repr(self):
        """Return scikit-learn's diagram, for a fitted network with its table of layers below."""
        diagram = super()._html_repr()
        if not self.__sklearn_is_fitted__():
            return diagram
        try:
            return diagram + framed(self.summary()._repr_html_())
        except Exception:  # the user has replaced attributes by others that do not fit
            return diagram

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
        epochs = len(self.loss_curve_)  # validation may have started later, or gone on in a trial
        columns = {k: [np.nan] * (epochs - len(v)) + v[:epochs] for k, v in columns.items()}
        frame = pd.DataFrame(columns, dtype="float64")
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
        return frame


class LayeredNet(Net):
    """A network that stores its parameters packed for computation, by layer."""

    _remembered = {"_weights": Weights}

    def _check_loaded(self):
        super()._check_loaded()
        network = self._weights.network
        agree("layers_", self.layers_, list(network.layers[:-1]))
        agree("The input of the network", network.inputs, self._network_inputs(network))
        outputs = network.output_shape[-1] if network.steps else network.outputs
        found = outputs, network.layers[-1].function
        agree("The output of the network", found, self._network_outputs())

    def _network_inputs(self, network):
        """Return the `inputs` that the network has according to the other attributes."""
        return self.n_features_in_

    def _network_outputs(self):
        """Return the same for the number of outputs, and the output activation."""
        return self.n_outputs_, self.out_activation_

    def _computing_dtype(self, inputs):
        """Return the dtype to compute in: for `inputs`, or (None) that of the weights."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if inputs is None:
            return self._weights.dtype
        double = inputs.dtype.kind == "f" and inputs.dtype.itemsize >= 8
        return np.dtype(np.float64 if double else np.float32)

    def _values_for(self, network, dtype):
        """Return the fitted parameters to continue from, checked against the network."""
        values = self._weights.values
        shapes = [p.shape for group in network.parameters() for p in group]
        if [value.shape for value in values] != shapes:
            raise ValueError(
                "layers have changed since the last fit, by their own parameters or those of the "
                "estimator: the weights do not fit the network any more. Fit from scratch, with "
                "warm_start=False, or restore the parameters."
            )
        return [value.astype(dtype) for value in values]

    def _attributes(self, network, values):
        """Return the fitted attributes that hold the network's parameters."""
        return {
            "_weights": Weights(network, values, values[0].dtype),
            "layers_": list(network.layers[:-1]),
        }

    def _held_weights(self):
        """Return the weights on the host."""
        return self._weights

    def _up_to(self, layer, *inputs):
        """Return the weights of the network up to one of its layers."""
        return self._placed_weights.part(0, place_of(layer, self.layers_) + 1)

    @property
    def _placed_weights(self):
        """The weights for prediction, on the current `device`."""
        return self._weights.on(self.device)

    def _predict(self, inputs):
        """Return the network's outputs for inputs."""
        return inputs.run(self._placed_weights, self.n_jobs)

    @property
    @consistent
    def weights_(self):
        """Copies of the parameters, by layer: dicts with 'kernel', 'bias', 'gamma' and so on."""
        check_is_fitted(self)
        return self._weights.by_layer()


def hold_back(job, fraction, stratify=None, names=None):
    """Return training and held-out data: scikit-learn's split, of row numbers only.

    `names` are the names of the two classes that `stratify` encodes.
    """
    rows = job.data.rows
    # scikit-learn's own words come first
    if job.resumed is not None:
        job.resumed.restore_before_split(job.random_state)
    job.split = job.random_state.get_state(legacy=False)  # much faster than a copy
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
            f"{why}\nearly_stopping holds out {np.ceil(fraction * len(rows)):g} of {len(rows)} "
            f"samples, as validation_fraction={fraction} says: "
            f"{_why_no_part(stratify, names)}. Give validation data as X_val and y_val, or fit "
            "more samples, or change validation_fraction."
        )
    return job.data.part(train), job.data.part(held)


def _why_no_part(labels, names):
    """Return why samples with these labels (or None) cannot be split in two."""
    classes, counts = np.unique([] if labels is None else labels, return_counts=True)
    if len(classes) < 2:
        return "the validation set is too small, or the remaining training set"
    if counts.min() < 2:
        rare = classes[counts.argmin()]
        rare = names[int(rare)] if len(names) == 2 else rare
        return f"class {rare!s} has 1 sample, and both parts need one of each class"
    return f"both parts need samples of each of the {len(classes)} classes"


# --- solvers


def trainer_of(job, kind=None):
    """Return the Trainer of a job that has been started; `kind`: another than the job's."""
    return (kind or job.trainer)(
        job.recipe, job.network, job.dtype, job.progress, job.data, job.held, job.score,
        job.random_state, job.seed,
    )  # fmt: skip


def train_by_minibatches(job, callbacks, kind=None, after_epoch=None):
    """Train on minibatches; update the job's progress and return the trainer.

    `kind` is the kind of Trainer, if it is not the job's.
    ``after_epoch(values)`` is called after each epoch with a function that returns copies of the
    parameters.
    """
    trainer = trainer_of(job, kind)
    if job.resumed is not None:
        trainer.resume(job.resumed.trainer)
        job.resumed.restore(job.random_state)
    record = None if job.incremental else partial(Record.of, job, trainer)

    def begin_epoch():
        finish = callbacks.begin_epoch(lambda other: other._commit(job, trainer.so_far()), record)
        if after_epoch is None:
            return finish

        def end_epoch():
            after_epoch(trainer.current_values)
            return finish()

        return end_epoch

    looked_at = callbacks.active or after_epoch is not None
    trainer.fit(job.epochs, job.incremental, begin_epoch if looked_at else None)
    return trainer


def train_by_lbfgs(job, callbacks):
    """Train with L-BFGS, in float64; update the job's progress."""
    progress = job.progress

    def after_iteration(values):
        if job.held is not None:
            weights = Weights(job.network, values(), np.float64).on(job.recipe.device)
            progress.validate(job.held, job.score, weights, job.recipe.n_jobs)

        def commit(other):
            other._commit(job, progress.copy(values=values()))

        return callbacks.begin_epoch(commit)()

    fit_lbfgs(job.recipe, job.network, progress, job.data, after_iteration)


# --- checks and initial values


def begins_anew(net, incremental):
    """Return whether a fit starts from scratch, not from the weights of the last fit."""
    if not net.__sklearn_is_fitted__():
        return True
    if net.warm_start or incremental:
        return False
    if hasattr(net, "_only_loaded"):
        warn(
            "fit starts from scratch: the weights read by load_weights are lost. To train them "
            "further, set warm_start=True, or give the file as initializer, which clones keep."
        )
    return True


def check_trainable(network, solver):
    """Check that the network has something to train, and that the solver can train it."""
    found = [*network.augmentation, *(layer for _, layer, _ in network.primitives)]
    if any(isinstance(a, Activation) and a.function == "step" for a in found):
        raise ValueError(
            "Activation('step') has no useful derivative, so a network cannot be trained with it."
        )
    trained = [a for a in found if isinstance(a, BatchNormalization) and a.trainable]
    if solver == "lbfgs" and (trained or any(isinstance(a, _RANDOM) for a in found)):
        raise ValueError(
            "solver='lbfgs' uses all samples in each step and needs a deterministic loss: "
            "random layers, augmentation and batch normalization are for the other solvers."
        )
    if not any(layer.learns for layer in found):
        raise ValueError("No layer is left to train: all of them have trainable=False.")


_RANDOM = Augmentation, Dropout, GaussianNoise, GaussianSampling, MaskingNoise, SaltAndPepperNoise


def check_names(network):
    """Check that all layers with parameters have different names."""
    paths = [path for path, layer, shape in network.primitives if layer.parameters(shape)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"Two layers have the name {twice!r}; expected different names.")


def _warn_of_schedules(net):
    """Warn about schedules that the solver ignores."""
    schedule, solver = net.learning_rate, net.solver
    decay = getattr(net, "alpha_schedule", "constant")
    if decay != "constant" and solver != "adamw":
        warn(
            f"alpha_schedule={decay!r} has no effect with solver={solver!r}; it is for the "
            "decoupled weight decay of solver='adamw'."
        )
    followers = solvers_for(schedule)
    if schedule == "constant" or solver in followers:
        return
    expected = "solver='sgd'" if followers == ["sgd"] else "a minibatch solver"
    warn(
        f"learning_rate={schedule!r} has no effect with solver={solver!r}"
        f"{', as in scikit-learn' if len(followers) == 1 else ''}; it is for {expected}."
    )


def _check_finite(path, values):
    """Check that the values read from a file are finite."""
    if not all(value is None or np.isfinite(value).all() for value in values):
        raise ValueError(f"{path}, the initializer, has tensors that are not finite.")


def with_given(initializer, values):
    """Return the initial parameters, the first ones replaced by the list `initializer`, checked."""
    given = []
    for i, value in enumerate(initializer):
        try:
            given.append(np.asarray(value))
        except ValueError as error:
            raise ValueError(f"initializer[{i}] is not an array: {error}") from None
    shapes = [value.shape for value in values]
    for i, value in enumerate(given):
        if i >= len(shapes) or value.shape != shapes[i]:
            raise ValueError(
                f"initializer[{i}] is an array of shape {value.shape}; expected the first of the "
                f"network's parameters, which have the shapes {shapes}."
            )
        if value.dtype.kind not in "fiu":
            raise ValueError(
                f"initializer[{i}] has dtype {value.dtype}; expected an array of numbers."
            )
        if not np.isfinite(value).all():
            raise ValueError(f"initializer[{i}] is not finite.")
    return [*given, *values[len(given) :]]


def has_finite_weights(net):
    """Return whether all weights of a fitted network are finite."""
    return all(np.isfinite(value).all() for value in net._held_weights().values)


def place_of(layer, layers):
    """Return the index of a layer in a list, given its index or name."""
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
    """Return a checksum of parameters."""
    checksum = 0
    for value in values:
        checksum = zlib.crc32(np.ascontiguousarray(value), checksum)
    return checksum
