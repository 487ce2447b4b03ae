"""Base of the autoencoders: networks trained to reproduce their input through a code."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from ..engine.network import Network
from ..engine.prediction import finite
from ..engine.warn import warn
from ..engine.weights import Weights
from ..estimator.base import agree
from ..estimator.checks import check_numbers, check_weights, naming, numeric, sound
from ..estimator.groups import AnySolver, LayeredDescent, Minibatches, Output, OutputActivation
from ..estimator.inputs import Rows
from ..estimator.methods import partial_fits
from ..estimator.net import LayeredNet, check_names
from ..estimator.parameters import NOT_NEGATIVE, Array, Parameters, fitted, param
from ..estimator.resuming import File
from ..estimator.tasks import Task
from ..estimator.transactions import consistent, fits
from ..layers import Activation, Dense, GaussianNoise, MaskingNoise, SaltAndPepperNoise, TiedDense
from ..layers.base import describe, output_shape, size
from ..tape.losses import Loss
from ..tape.on_demand import read_on_demand
from ..tape.sources import INPUTS

#: Number of rows whose errors are computed at a time.
CHUNK = 4096
_NOISES = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
}


class AutoencoderDescent(LayeredDescent):
    """Training parameters whose default or meaning differs for autoencoders."""

    alpha: float = param(default=0.0)
    validation_fraction: float = param(
        """
        The fraction of the data that early stopping holds back.""",
        default=0.1,
    )
    scoring: str | Callable[..., float] | None = param(
        """
        The score on validation data. None: minus the mean reconstruction error; 'loss': minus the
        loss; a callable ``scorer(estimator, X)``, or ``scorer(estimator, X, X_clean)`` if clean
        targets are given.""",
        default=None,
    )

    validation_scores_: list[float] | None = fitted(
        """
        The score on the validation data after each epoch: minus the reconstruction error, or as
        `scoring` defines it. None without validation data."""
    )


class AutoencoderTraining(Minibatches, AutoencoderDescent, AnySolver):
    """The training parameters of autoencoders."""


class _ReconstructionLoss(Parameters):
    """The loss between outputs and inputs."""

    loss: Literal["squared_error", "log_loss"] = param(
        """
        'squared_error': the mean squared error over a sample's features. 'log_loss': their mean
        binary cross-entropy, for data in [0, 1].""",
        default="squared_error",
    )


class ForReconstruction(Output, _ReconstructionLoss):
    """The output parameters of every autoencoder."""

    output_activation: OutputActivation | Activation = param(
        """
        Activation of the output layer. 'auto': logistic for ``loss='log_loss'``, which requires
        it, else identity.""",
        default="auto",
    )


class Regularization(Parameters):
    """The parameters of sparse and of denoising autoencoders."""

    activity_l1: float = param(
        """
        Weight of the L1 penalty on the code, the sum of its absolute values, in a sample's loss;
        it makes the code sparse.""",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    noise: float = param(
        """
        Amount of noise added to the inputs in training, while the targets stay clean: the standard
        deviation for ``noise_kind='gaussian'``, else the probability that an input is
        replaced.""",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    noise_kind: Literal["gaussian", "masking", "salt_and_pepper"] = param(
        """
        'gaussian' adds normal noise; 'masking' sets inputs to zero; 'salt_and_pepper' sets them to
        the lower or the upper limit of `noise_range`, with equal probability.""",
        default="gaussian",
    )
    noise_range: Sequence[float] | Array | None = param(
        """
        The lower and upper limits to which inputs with Gaussian noise are clipped, and the values
        of pepper and salt. None: 0 and 1 for ``loss='log_loss'``; otherwise Gaussian noise is not
        clipped, and pepper and salt are the minimum and maximum of X.""",
        default=None, valid=["array-like"], kind="pair of float or None",
    )

    noise_range_: tuple[float, float] | None = fitted(
        "With `noise`: the limits in use; None if there are none."
    )


class Reconstruction(Task):
    """Reconstruction of the network's input.

    Parameters
    ----------
    loss, output_activation
        As those of :class:`~sknn.estimator.tasks.Task`.
    over_outputs : {'mean', 'sum'}
        How the losses of a sample's features are reduced to the sample's loss.
    read_clean : callable
        ``read_clean(clean, name, inputs)`` returns the clean targets of inputs, checked.
    """

    losses = "squared_error", "log_loss"
    #: Whether the current fit starts from scratch.
    begins = False

    def __init__(self, loss, output_activation, read_clean=None, over_outputs="mean"):
        super().__init__(loss, output_activation)
        self._read_clean, self._over_outputs = read_clean, over_outputs

    def read(self, read, X, clean, reset):
        """Return X as inputs, and its clean targets, or None if X is its own target."""
        self.begins = reset
        return self._read_in_range(read, X, clean, reset, ("X", "X_clean"))

    def validation(self, read, X_val, clean, weights, network):
        if X_val is None:
            if clean is not None or weights is not None:
                raise ValueError("X_val is missing; X_val_clean and sample_weight_val go with it.")
            return None
        names = "X_val", "X_val_clean"
        with naming(X="X_val", sample_weight="sample_weight_val"):
            inputs, clean = self._read_in_range(read, X_val, clean, False, names)
            weights = check_weights(weights, inputs, "sample_weight_val")
            return self.data(inputs, clean, weights, network)

    def _read_in_range(self, read, X, clean, reset, names):
        inputs, clean = self.read_pair(read, X, clean, reset, names)
        self._check_range(inputs if clean is None else clean, names[clean is not None])
        return inputs, clean

    def read_pair(self, read, X, clean, reset=False, names=("X", "X_clean")):
        """Return X as inputs, and its clean targets, or None if X is its own target."""
        inputs = read(X, reset=reset)
        if clean is None:
            return inputs, None
        clean = self._read_clean(clean, names[1], inputs)
        if clean.shape[0] != inputs.shape[0]:
            raise ValueError(
                f"{names[1]} has {clean.shape[0]} samples; expected {inputs.shape[0]}, as "
                f"{names[0]} has."
            )
        return inputs, clean

    def _check_range(self, inputs, name):
        """Check that inputs are in [0, 1], up to rounding, if the loss is a cross-entropy."""
        if self.loss_name != "log_loss":
            return
        least, most = inputs.min(), inputs.max()
        slack = 8 * np.finfo(inputs.dtype).eps if inputs.dtype.kind == "f" else 0
        if least < -slack or most > 1 + slack:
            raise ValueError(
                f"{name} has values from {least} to {most}; loss='log_loss' needs values in "
                f"[0, 1]: scale {name}, or set loss='squared_error'."
            )

    def count_outputs(self, inputs, y):
        return inputs.features

    def activation(self):
        if self.output_activation == "auto":
            return Activation("logistic" if self.loss_name == "log_loss" else "identity")
        out = super().activation()
        if self.loss_name == "log_loss" and out.function != "logistic":
            raise ValueError(
                f"loss='log_loss' needs outputs in [0, 1], got output_activation={out.function!r}; "
                "expected 'logistic'."
            )
        return out

    def make_loss(self, n_outputs, out):
        if out.function == "softmax" and n_outputs == 1:
            raise ValueError(
                "output_activation='softmax' needs several features, got 1; choose another one."
            )
        return Loss(self.loss_name, out.function, over_outputs=self._over_outputs)

    def data(self, inputs, clean, weights, network):
        """Return the training data, given checked inputs and clean targets, or None."""
        return inputs.data(INPUTS if clean is None else clean.source(repeatedly=True), weights)

    def amounts(self, inputs, weights):
        """Return the weight of each input in a score, or None."""
        return weights

    def score(self, data, loss, outputs):
        return -loss


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, LayeredNet):
    """Base class of the autoencoders: all but the constructor and ``_parts``."""

    _keeps_dtype = True
    _remembered = {
        "_bounds": tuple[int, int], "_n_features_out": int, "_range": tuple[float, float]
    }  # fmt: skip

    def _check_loaded(self):
        super()._check_loaded()
        network, (first, end) = self._weights.network, self._bounds
        agree("_bounds", 0 <= first < end < len(network.layers), True)
        self._encoder(), self._decoder()
        code = output_shape(network.layers[:end], network.start_shape)
        agree("_n_features_out", self._n_features_out, size(code))

    def _task(self):
        """Return the task that the parameters describe."""
        return Reconstruction(self.loss, self.output_activation, self._read_clean)

    # --- the network

    def _parts(self, inputs, out):
        """Return the encoder's layers, and the decoder's up to the last activation."""
        raise NotImplementedError

    def _network(self, task, inputs, n_outputs):
        """Return the network, and attributes to set: where the code is, and limits of noise."""
        out, loss = task.head(n_outputs)
        if task.begins:
            for name in ("noise_range_", "_range"):
                vars(self).pop(name, None)
        noise, limits = self._noise_layers(inputs) if getattr(self, "noise", 0) else ([], {})
        encoder, decoder = self._parts(inputs, out)
        network = Network((*noise, *encoder, *decoder, out), inputs.inputs, loss)
        check_names(network)
        start = network.start_shape
        code = output_shape(encoder, start)
        given = output_shape(decoder, code)
        if given not in (start, (size(start),)):
            raise ValueError(
                f"The decoder outputs {describe(given)}; expected {describe(start)}, as X has."
            )
        return network, limits | {
            "_bounds": (len(noise), len(noise) + len(encoder)),
            "_n_features_out": size(code),
        }

    def _noise_layers(self, inputs):
        """Return the noise layers of the inputs as a list, and their limits as attributes."""
        kind, rate = _NOISES[self.noise_kind], float(self.noise)
        limits, of_data = self._limits(inputs)
        remembered = {"noise_range_": limits} | ({} if of_data is None else {"_range": of_data})
        if self.noise_kind != "gaussian" and self.noise >= 1:
            raise ValueError(
                f"noise is {self.noise}; expected a probability in [0, 1) for "
                f"noise_kind={self.noise_kind!r}."
            )
        alone = limits is None or self.noise_kind == "masking"
        return [kind(rate) if alone else kind(rate, limits)], remembered

    def _limits(self, X):
        """Return the limits of noise, and the range of the data X if they come from it."""
        if self.noise_range is not None:
            return _two_numbers(self.noise_range), None
        if self.loss == "log_loss":
            return (0.0, 1.0), None
        if self.noise_kind != "salt_and_pepper":
            return None, None
        if hasattr(self, "_range"):  # of the data of the first fit
            return self._range, self._range
        least, most = float(X.min()), float(X.max())
        limits = least, most if most > least else least + 1.0
        return limits, limits

    def _encoder(self):
        """Return the weights of the encoder."""
        return self._placed_weights.part(*self._bounds)

    def _decoder(self):
        """Return the weights of the decoder, with tied weights as weights of its own."""
        return decoder_of(self._placed_weights, self._bounds[1])

    def _outputs_to_load(self, sizes, inputs, classes):
        return inputs.features

    def _to_load(self, sizes, classes):
        network, attributes = super()._to_load(sizes, classes)
        if not hasattr(self, "_range") and attributes.pop("_range", None):
            del attributes["noise_range_"]  # the next fit learns them from data
        return network, attributes

    # --- the data

    def _read_clean(self, clean, name, inputs):
        """Return the clean targets of inputs, checked like X, but under their own name."""
        if len(shape_of(clean)) > 2:
            return self._read(clean)
        if hasattr(clean, "columns") and hasattr(self, "feature_names_in_"):
            _check_feature_names(self, clean, reset=False)
        clean = check_numbers(
            sound(read_on_demand(clean), name),
            accept_sparse=["csr", "csc"], input_name=name, estimator=self,
        )  # fmt: skip
        if clean.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {clean.shape[1]} features; expected {self.n_features_in_}, as X has."
            )
        return Rows(numeric(clean), inputs.inputs)

    def _warn_of_range(self, X):
        """Warn of values far outside of [0, 1], where a binary cross-entropy is defined."""
        if self.loss == "log_loss" and (X.min() < -1 or X.max() > 2):
            warn(
                f"X has values from {X.min()} to {X.max()}; loss='log_loss' is for values in "
                "[0, 1], and takes others as 0 or 1."
            )

    def _clean(self, X, y, X_clean):
        """Return the targets of X: X_clean, or y if it has the shape of X, or None."""
        if X_clean is not None or y is None:
            return X_clean
        return y if self._alike(X, y) else None

    @staticmethod
    def _alike(X, y):
        """Whether y can be the target of X, judging by its shape and type."""
        numeric = getattr(getattr(y, "dtype", None), "kind", "f") in "fiub"
        return numeric and shape_of(y) == shape_of(X)

    # --- fitting

    @fits
    def fit(
        self, X, y=None, sample_weight=None, *, X_clean=None, X_val=None, X_val_clean=None,
        sample_weight_val=None, resume_from: File = None,
    ) -> Self:  # fmt: skip
        """Fit the network to reconstruct X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples. Networks for images also accept shape (n_samples, height, width) or
            (n_samples, height, width, channels); networks for sequences also accept shape
            (n_samples, time, features) or a list of arrays.
        y : array-like, default=None
            Used as `X_clean` if it has the shape of X; ignored otherwise, like labels in a
            pipeline.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        X_clean : array-like of the shape of X, default=None
            The targets of the reconstruction, if X has noise of your own; None: X itself.
        X_val, X_val_clean : array-like, default=None
            Validation data, scored after each epoch. With early stopping they are used in place of
            held-back data.
        sample_weight_val : array-like of shape (n_samples,), default=None
            Sample weights of the validation data.
        """
        clean = self._clean(X, y, X_clean)
        validation = X_val, X_val_clean, sample_weight_val
        return self._fit(X, clean, sample_weight, validation=validation, resume_from=resume_from)

    @partial_fits
    def partial_fit(self, X, y=None, sample_weight=None, *, X_clean=None) -> Self:
        """Train for one epoch on the given data, continuing from the current weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in any form that `fit` accepts.
        y : array-like, default=None
            Used as `X_clean` if it has the shape of X; ignored otherwise.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.
        X_clean : array-like of the shape of X, default=None
            The targets of the reconstruction; None: X itself.
        """
        return self._fit(X, self._clean(X, y, X_clean), sample_weight, incremental=True)

    # --- using it

    @consistent
    def transform(self, X) -> Array:
        """Encode samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in any form that `fit` accepts.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            One row per sample. A sample has the same code, to the bit, alone and in any batch.
            Random codes, which a variational autoencoder returns with ``codes="sample"``, depend
            on a sample's position in X and on `random_state`; they are the same in each call if
            that is an int.
        """
        check_is_fitted(self)
        return self._codes(self._read(X))

    def _codes(self, inputs):
        return finite(inputs.run(self._encoder(), self.n_jobs))

    @consistent
    def inverse_transform(self, X) -> Array:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            The codes.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_features)
            The decoded samples; images if the network was fitted to images.
        """
        codes = self._check_codes(X)
        samples = finite(Rows(codes, None).run(self._decoder(), self.n_jobs))
        # the shape of the samples in fit
        shape = getattr(self, "_given_shape", (self.n_features_in_,))
        return samples.reshape(len(codes), *shape)

    def _check_codes(self, X):
        """Return codes as an array, checked."""
        check_is_fitted(self)
        codes = check_array(X, input_name="X", dtype=[np.float64, np.float32])
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns; expected codes of {self._n_features_out} numbers."
            )
        return codes

    @consistent
    def reconstruct(self, X) -> Array:
        """Reconstruct samples: encode, then decode them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in any form that `fit` accepts.

        Returns
        -------
        reconstructions : ndarray of the shape of X, or list of ndarray
            One per sample. Reconstructed sequences are as long as the given ones; in an array they
            are padded with `mask_value`.
        """
        return self._outputs(X).reshape(shape_of(X))

    @consistent
    def score_samples(self, X) -> Array:
        """Return minus the reconstruction error of each sample: low for unusual samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in any form that `fit` accepts.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean squared error over a sample's features (for a sequence, over its steps,
            too), or minus their mean binary cross-entropy, depending on `loss`. As in
            scikit-learn's outlier detectors, the lower the score, the less a sample resembles the
            training data.
        """
        check_is_fitted(self)
        inputs = self._read(X)
        return -self._errors(inputs, inputs)

    @consistent
    def score(self, X, y=None, sample_weight=None) -> float:
        """Return minus the mean reconstruction error: higher is better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, in any form that `fit` accepts.
        y : array-like, default=None
            The targets of the reconstruction, if it has the shape of X; ignored otherwise.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            The mean of `score_samples`, in which each sequence is weighted by its number of steps.
        """
        check_is_fitted(self)
        task = self._task()
        X, clean = task.read_pair(self._read, X, self._clean(X, y, None))
        weights = task.amounts(X, check_weights(sample_weight, X))
        return -float(np.average(self._errors(X, X if clean is None else clean), weights=weights))

    def _errors(self, X, targets):
        """Return the reconstruction error of each sample."""
        self._warn_of_range(targets)
        return finite(np.concatenate([self._means(*some) for some in self._by_chunk(X, targets)]))

    def _means(self, X, errors):
        """Return the mean error of each sample, given the errors of all its values."""
        return errors.mean(axis=1)

    def _by_chunk(self, X, targets):
        """Yield inputs, a chunk at a time, and the errors of all their values."""
        for start in range(0, X.shape[0], CHUNK):
            rows = slice(start, start + CHUNK)
            part = X.part(rows)
            outputs = finite(self._predict(part)).astype(np.float64, copy=False)
            yield part, error_of(self.loss, outputs, dense(targets.values[rows]))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _two_numbers(limits):
    """Return the parameter `noise_range` as a pair of float, checked."""
    try:
        numbers = tuple(map(float, np.ravel(limits)))
        good = len(numbers) == 2 and np.isfinite(numbers).all() and numbers[0] < numbers[1]
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"noise_range is {limits!r}; expected two finite numbers, the smaller one first."
        )
    return numbers


def shape_of(array):
    """Return the shape of an array-like."""
    shape = getattr(array, "shape", None)
    if shape is not None and (len(shape) != 1 or array.dtype != object):
        return shape
    return np.array(array if shape is None else list(array), dtype=object).shape


def decoder_of(weights, first):
    """Return the weights of the layers from `first` on, with tied weights as their own."""
    network = weights.network
    layers = network.layers[first:]
    if not any(isinstance(layer, TiedDense) for layer in layers):
        return weights.part(first)
    values, found = iter(weights.values), []
    for (_, layer, _), group in zip(network.primitives, network.parameters(), strict=True):
        found.append((layer, [next(values) for _ in group]))
    kernels = {layer.name: own[0] for layer, own in found if isinstance(layer, Dense)}
    untied = tuple(
        Dense(layer.units, use_bias=layer.use_bias) if isinstance(layer, TiedDense) else layer
        for layer in layers
    )
    start = output_shape(network.layers[:first], network.start_shape)
    start = start[0] if len(start) == 1 else start
    part = Network(untied, start, Loss("squared_error", "identity"))
    own = []
    for layer, group in found[len(found) - len(part.primitives) :]:
        own += [kernels[layer.of].T, *group] if isinstance(layer, TiedDense) else group
    part = replace(part, layers=(*untied, Activation("identity")))
    return Weights(part, own, weights.dtype).on(weights.device)


def dense(X):
    """Return a matrix, sparse or not, as a C-contiguous array."""
    return np.ascontiguousarray(X.toarray() if sp.issparse(X) else X)


def error_of(loss, outputs, wanted):
    """Return the elementwise squared errors or binary cross-entropies of float64 outputs."""
    if loss == "squared_error":
        return (outputs - wanted) ** 2
    wanted, smallest = np.clip(wanted, 0, 1), np.finfo(np.float32).eps
    outputs = np.clip(outputs, smallest, 1 - smallest)
    return -(wanted * np.log(outputs) + (1 - wanted) * np.log1p(-outputs))
