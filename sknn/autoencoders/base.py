"""What autoencoders share: networks that learn to give what they get, through a code."""

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
from ..estimator.checks import check_weights, naming, numeric, sound
from ..estimator.groups import AnySolver, LayeredDescent, Minibatches, Output, OutputActivation
from ..estimator.inputs import Rows
from ..estimator.methods import partial_fits
from ..estimator.net import LayeredNet, check_names
from ..estimator.parameters import NOT_NEGATIVE, Array, Parameters, fitted, param
from ..estimator.tasks import Task
from ..estimator.transactions import consistent, fits
from ..layers import Activation, Dense, GaussianNoise, MaskingNoise, SaltAndPepperNoise, TiedDense
from ..layers.base import describe, output_shape, size
from ..tape.losses import Loss
from ..tape.sources import INPUTS

#: Rows whose errors are computed at once.
CHUNK = 4096
_NOISES = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
}


class AutoencoderDescent(LayeredDescent):
    """What is another default, or means something else, in the training of autoencoders."""

    alpha: float = param(default=0.0)
    validation_fraction: float = param(
        """
        The part of the data that early stopping holds back.""",
        default=0.1,
    )
    scoring: str | Callable[..., float] | None = param(
        """
        The score of validation data. None: minus the mean error of reconstruction; 'loss': minus
        the loss; a callable ``scorer(estimator, X)``, or ``scorer(estimator, X, X_clean)`` where
        those are given.""",
        default=None,
    )

    validation_scores_: list[float] | None = fitted(
        """
        With validation data: its score (minus the reconstruction error, or what `scoring` says)
        after each epoch; else None."""
    )


class AutoencoderTraining(Minibatches, AutoencoderDescent, AnySolver):
    """What autoencoders take for their training."""


class _ReconstructionLoss(Parameters):
    """How outputs are compared with inputs."""

    loss: Literal["squared_error", "log_loss"] = param(
        """
        The mean squared error over a sample's features, or their mean binary cross-entropy, for
        data in [0, 1].""",
        default="squared_error",
    )


class ForReconstruction(Output, _ReconstructionLoss):
    """What every autoencoder takes for its outputs."""

    output_activation: OutputActivation | Activation = param(
        """
        Activation of the output layer. 'auto': logistic for ``loss='log_loss'``, which needs it,
        else identity.""",
        default="auto",
    )


class Regularization(Parameters):
    """What makes autoencoders sparse, or denoising."""

    activity_l1: float = param(
        """
        Weight of the sum of absolute values of a sample's code in its loss: the code becomes
        sparse.""",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    noise: float = param(
        """
        How much noise the inputs get in training, while the outputs are compared with what they
        were without it: the standard deviation, or the probability that an input is replaced.""",
        default=0.0, valid=[NOT_NEGATIVE],
    )
    noise_kind: Literal["gaussian", "masking", "salt_and_pepper"] = param(
        """
        Normal noise is added; or inputs become zero; or the smaller or the larger number of
        `noise_range`, half of them each.""",
        default="gaussian",
    )
    noise_range: Sequence[float] | Array | None = param(
        """
        What normal noise is clipped to, and what salt and pepper are. None: 0 and 1 for
        ``loss='log_loss'``; else normal noise has no limits, and salt and pepper are the
        largest and the smallest number of X.""",
        default=None, valid=["array-like"], kind="pair of float or None",
    )

    noise_range_: tuple[float, float] | None = fitted("With `noise`: its limits.")


class Reconstruction(Task):
    """To give what the network gets.

    Parameters
    ----------
    loss, output_activation
        As those of :class:`~sknn.estimator.tasks.Task`.
    over_outputs : {'mean', 'sum'}
        What the loss of a sample is of those of its features.
    read_clean : callable
        ``read_clean(clean, name, inputs)`` returns what inputs are to become, checked.
    """

    losses = "squared_error", "log_loss"
    #: Whether the fit that it is for begins anew.
    begins = False

    def __init__(self, loss, output_activation, read_clean=None, over_outputs="mean"):
        super().__init__(loss, output_activation)
        self._read_clean, self._over_outputs = read_clean, over_outputs

    def read(self, read, X, clean, reset):
        """Return X as inputs, and what it is to become, or None for itself."""
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
        """Return X as inputs, and what it is to become, or None for itself."""
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
        """Check that a binary cross-entropy with inputs makes sense, but for rounding."""
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
                "output_activation='softmax' needs several features, got 1; expected another one."
            )
        return Loss(self.loss_name, out.function, over_outputs=self._over_outputs)

    def data(self, inputs, clean, weights, network):
        """Return what training reads, of checked X and of what it is to become, or None."""
        return inputs.data(INPUTS if clean is None else clean.source(), weights)

    def amounts(self, inputs, weights):
        """Return how much each of the inputs counts in a score, or None."""
        return weights

    def score(self, data, loss, outputs):
        return -loss


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, LayeredNet):
    """What autoencoders share: all but the constructor and ``_parts``."""

    _keeps_dtype = True

    def _task(self):
        """Return the task that the parameters describe."""
        return Reconstruction(self.loss, self.output_activation, self._read_clean)

    # --- the network

    def _parts(self, inputs, out):
        """Return the layers of the encoder, and those of the decoder up to the last activation."""
        raise NotImplementedError

    def _network(self, task, inputs, n_outputs):
        """Return the network, and what to remember of it: where the code is, limits of noise."""
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
                f"The decoder gives {describe(given)}; expected {describe(start)}, as X has."
            )
        return network, limits | {
            "_bounds": (len(noise), len(noise) + len(encoder)),
            "_n_features_out": size(code),
        }

    def _noise_layers(self, inputs):
        """Return the noise of the inputs as a list of layers, and its limits as attributes."""
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
        """Return the limits of noise, and the range of the data X if they are that."""
        if self.noise_range is not None:
            return _two_numbers(self.noise_range), None
        if self.loss == "log_loss":
            return (0.0, 1.0), None
        if self.noise_kind != "salt_and_pepper":
            return None, None
        if hasattr(self, "_range"):  # of the data that it was first fitted to
            return self._range, self._range
        least, most = float(X.min()), float(X.max())
        limits = least, most if most > least else least + 1.0
        return limits, limits

    def _encoder(self):
        """Return the weights of the encoder."""
        return self._placed_weights.part(*self._bounds)

    def _decoder(self):
        """Return the weights of the decoder; tied ones are its own there."""
        return decoder_of(self._placed_weights, self._bounds[1])

    def _outputs_to_load(self, sizes, inputs, classes):
        return inputs.features

    # --- the data

    def _read_clean(self, clean, name, inputs):
        """Return what inputs are to become, checked as X is, but under its own name."""
        if len(shape_of(clean)) > 2:
            return self._read(clean)
        if hasattr(clean, "columns") and hasattr(self, "feature_names_in_"):
            _check_feature_names(self, clean, reset=False)
        clean = check_array(
            sound(clean, name), accept_sparse=["csr", "csc"], input_name=name, estimator=self
        )
        if clean.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {clean.shape[1]} features; expected {self.n_features_in_}, as X has."
            )
        return Rows(numeric(clean), inputs.inputs)

    def _warn_of_range(self, X):
        """Warn of what lies far outside of where a binary cross-entropy is defined."""
        if self.loss == "log_loss" and (X.min() < -1 or X.max() > 2):
            warn(
                f"X has values from {X.min()} to {X.max()}; loss='log_loss' is for values in "
                "[0, 1], and takes others as 0 or 1."
            )

    def _clean(self, X, y, X_clean):
        """Return what X is to become: X_clean, or y if it has the shape of X, or None."""
        if X_clean is not None or y is None:
            return X_clean
        return y if self._alike(X, y) else None

    @staticmethod
    def _alike(X, y):
        """Whether y can be what X is to become, by its shape and type."""
        numeric = getattr(getattr(y, "dtype", None), "kind", "f") in "fiub"
        return numeric and shape_of(y) == shape_of(X)

    # --- fitting

    @fits
    def fit(
        self, X, y=None, sample_weight=None, *, X_clean=None, X_val=None, X_val_clean=None,
        sample_weight_val=None,
    ) -> Self:  # fmt: skip
        """Fit the network to reconstruct X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples; networks for images also take them as (n_samples, height, width) or
            (n_samples, height, width, channels), those for sequences as (n_samples, time, features)
            or a list of arrays.
        y : array-like, default=None
            If it has the shape of X, what `X_clean` is; else, as labels in a pipeline, ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        X_clean : array-like of the shape of X, default=None
            What X should be reconstructed to, where X has noise of your own; None: X.
        X_val, X_val_clean : array-like, default=None
            Data to validate with after each epoch. With early stopping they take the place of the
            part that would be held back.
        sample_weight_val : array-like of shape (n_samples,), default=None
            Weights of those samples.
        """
        clean = self._clean(X, y, X_clean)
        validation = X_val, X_val_clean, sample_weight_val
        return self._fit(X, clean, sample_weight, validation=validation)

    @partial_fits
    def partial_fit(self, X, y=None, sample_weight=None, *, X_clean=None) -> Self:
        """Go once over the data given, from where training stands.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like, default=None
            If it has the shape of X, what `X_clean` is; else ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        X_clean : array-like of the shape of X, default=None
            What X should be reconstructed to; None: X.
        """
        return self._fit(X, self._clean(X, y, X_clean), sample_weight, incremental=True)

    # --- using it

    @consistent
    def transform(self, X) -> Array:
        """Return the codes of samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            A row a sample; a sample's is the same bits alone and in any batch. Draws, which a
            variational autoencoder gives with ``codes="sample"``, are by a sample's place in X,
            from `random_state`, the same at each call if that is an int.
        """
        check_is_fitted(self)
        return self._codes(self._read(X))

    def _codes(self, inputs):
        return finite(inputs.run(self._encoder(), self.n_jobs))

    @consistent
    def inverse_transform(self, X) -> Array:
        """Return what codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            The codes.

        Returns
        -------
        samples : ndarray of shape (n_samples, n_features)
            Samples as those that were fitted: where these were images, images.
        """
        codes = self._check_codes(X)
        samples = finite(Rows(codes, None).run(self._decoder(), self.n_jobs))
        # as those that were fitted
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
        """Return what the network makes of samples: those of their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        reconstructions : ndarray of the shape of X, or list of ndarray
            One for each. Those of sequences are as long as these; in an array `mask_value` is
            behind them.
        """
        return self._outputs(X).reshape(shape_of(X))

    @consistent
    def score_samples(self, X) -> Array:
        """Return minus the error of reconstruction of each sample: small for what is unusual.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Minus the mean squared error over a sample's features (and the steps that a sequence
            has), or minus their mean binary cross-entropy, as `loss` says. As in scikit-learn's
            detectors of outliers, the smaller one is, the less a sample is like those fitted.
        """
        check_is_fitted(self)
        inputs = self._read(X)
        return -self._errors(inputs, inputs)

    @consistent
    def score(self, X, y=None, sample_weight=None) -> float:
        """Return minus the mean error of reconstruction: the larger, the better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples, as `fit` takes them.
        y : array-like, default=None
            If it has the shape of X, what X should be reconstructed to; else ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            The mean of what `score_samples` returns, in which a sequence counts as many times as
            it has steps.
        """
        check_is_fitted(self)
        task = self._task()
        X, clean = task.read_pair(self._read, X, self._clean(X, y, None))
        weights = task.amounts(X, check_weights(sample_weight, X))
        return -float(np.average(self._errors(X, X if clean is None else clean), weights=weights))

    def _errors(self, X, targets):
        """Return the error of each sample of inputs."""
        self._warn_of_range(targets)
        return finite(np.concatenate([self._means(*some) for some in self._by_chunk(X, targets)]))

    def _means(self, X, errors):
        """Return the mean error of each sample, of those of all their numbers."""
        return errors.mean(axis=1)

    def _by_chunk(self, X, targets):
        """Yield inputs, a chunk at a time, and the errors of all their numbers."""
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
    """Return the shape of something like an array."""
    shape = getattr(array, "shape", None)
    if shape is not None and (len(shape) != 1 or array.dtype != object):
        return shape
    return np.array(array if shape is None else list(array), dtype=object).shape


def decoder_of(weights, first):
    """Return the weights of the layers from a place on; tied ones are its own there."""
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
    """Return a matrix as an array, each row in one piece."""
    return np.ascontiguousarray(X.toarray() if sp.issparse(X) else X)


def error_of(loss, outputs, wanted):
    """Return the squared errors, or binary cross-entropies, of float64 outputs."""
    if loss == "squared_error":
        return (outputs - wanted) ** 2
    wanted, smallest = np.clip(wanted, 0, 1), np.finfo(np.float32).eps
    outputs = np.clip(outputs, smallest, 1 - smallest)
    return -(wanted * np.log(outputs) + (1 - wanted) * np.log1p(-outputs))
