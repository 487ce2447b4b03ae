"""What autoencoders share: networks that learn to give what they get, through a code."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from ..engine.data import Data
from ..engine.network import Network
from ..engine.prediction import finite, predict
from ..engine.weights import Weights
from ..estimator.checks import check_weights, numeric, sound
from ..estimator.groups import AnySolver, LayeredDescent, Minibatches, Output, OutputActivation
from ..estimator.layered import LayeredNet, check_names
from ..estimator.parameters import NOT_NEGATIVE, Parameters, fitted, param
from ..estimator.supervised import OUTPUT_ACTIVATIONS, check_activation
from ..estimator.transactions import all_or_nothing, consistent
from ..layers import Activation, Dense, GaussianNoise, MaskingNoise, SaltAndPepperNoise, TiedDense
from ..layers.base import describe, output_shape, size
from ..tape.losses import Loss
from ..tape.sources import INPUTS, Source

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
        The part of the data that early stopping holds back. The score is minus the mean error of
        reconstruction.""",
        default=0.1,
    )

    validation_scores_: list[float] | None = fitted(
        """
        With validation data: its score (minus the reconstruction error) after each epoch; else
        None."""
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


class Reconstruction(Output, _ReconstructionLoss):
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
    noise_range: Sequence[float] | NDArray | None = param(
        """
        What normal noise is clipped to, and what salt and pepper are. None: 0 and 1 for
        ``loss='log_loss'``; else normal noise has no limits, and salt and pepper are the
        largest and the smallest number of X.""",
        default=None, valid=["array-like"], kind="pair of float or None",
    )

    noise_range_: tuple[float, float] | None = fitted("With `noise`: its limits.")


@dataclass
class ReconstructionData(Data):
    """Rows to reconstruct; their validation score is minus the loss."""

    def part(self, places):
        return replace(self, rows=self.rows[places])

    def evaluate(self, network, values, dtype, n_jobs, score):
        loss = super().evaluate(network, values, dtype, n_jobs, lambda outputs, data: None)[0]
        return loss, -loss


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, LayeredNet):
    """What autoencoders share: all but the constructor and ``_parts``."""

    #: What the loss of a sample is of those of its features.
    _over_outputs = "mean"

    # --- the network

    def _parts(self):
        """Return the layers of the encoder, and those of the decoder up to the last activation."""
        raise NotImplementedError

    def _check_loss(self):
        pass  # all that there are go together with the task

    def _output_activation(self):
        if self.output_activation == "auto":
            return Activation("logistic" if self.loss == "log_loss" else "identity")
        out = check_activation(self.output_activation, "output_activation", OUTPUT_ACTIVATIONS)
        if self.loss == "log_loss" and out.function != "logistic":
            raise ValueError(
                f"loss='log_loss' needs outputs in [0, 1], got output_activation={out.function!r}; "
                "expected 'logistic'."
            )
        return out

    def _make_loss(self, n_outputs, out):
        if out.function == "softmax" and n_outputs == 1:
            raise ValueError(
                "output_activation='softmax' needs several features, got 1; expected another one."
            )
        return Loss(self.loss, out.function, over_outputs=self._over_outputs)

    def _count_outputs(self, y):
        return self.n_features_in_

    def _make_network(self, inputs, n_outputs, out, loss):
        """Return the Network that the parameters describe."""
        noise, (encoder, decoder) = self._noise_layers(), self._parts()
        network = Network((*noise, *encoder, *decoder, out), inputs, loss)
        check_names(network)
        start = network.start_shape
        code = output_shape(encoder, start)
        given = output_shape(decoder, code)
        if given not in (start, (size(start),)):
            raise ValueError(
                f"The decoder gives {describe(given)}; expected {describe(start)}, as X has."
            )
        self._bounds = len(noise), len(noise) + len(encoder)
        self._code_shape, self._n_features_out = code, size(code)
        return network

    def _noise_layers(self):
        """Return the noise of the inputs as a list of layers."""
        if not getattr(self, "noise", 0):
            return []
        if self.noise_kind != "gaussian" and self.noise >= 1:
            raise ValueError(
                f"noise is {self.noise}; expected a probability in [0, 1) for "
                f"noise_kind={self.noise_kind!r}."
            )
        if self.noise_kind == "masking":
            return [MaskingNoise(float(self.noise))]
        if self.noise_range_ is None:
            return [GaussianNoise(float(self.noise))]
        return [_NOISES[self.noise_kind](float(self.noise), self.noise_range_)]

    def _limits(self, X):
        """Return the limits of noise for the data X."""
        if self.noise_range is not None:
            return _two_numbers(self.noise_range)
        if self.loss == "log_loss":
            return 0.0, 1.0
        if self.noise_kind != "salt_and_pepper":
            return None
        if not hasattr(self, "_range"):  # of the data that it is first fitted to
            least, most = float(X.min()), float(X.max())
            self._range = least, most if most > least else least + 1.0
        return self._range

    def _encoder(self):
        """Return the weights of the encoder."""
        network = self._weights.network
        return self._weights.of(part_of(network, *self._bounds, network.input_shape))

    def _decoder(self, weights=None):
        """Return the weights of the decoder; tied ones are its own there."""
        whole = self._weights if weights is None else weights
        layers = whole.network.layers[self._bounds[1] :]
        if any(isinstance(layer, TiedDense) for layer in layers):
            return _untied(whole, layers, self._code_shape)
        return whole.of(part_of(whole.network, self._bounds[1], None, self._code_shape), last=True)

    # --- the data

    def _check_X_y(self, X, y, reset):
        """Return X to fit, and what it is to become; remember the limits of noise."""
        X, clean = self._check_pair(X, y, reset)
        self._check_range(X if clean is None else clean, "X" if clean is None else "X_clean")
        if reset:
            for name in ("noise_range_", "_range"):
                vars(self).pop(name, None)
        if getattr(self, "noise", 0):
            self.noise_range_ = self._limits(X)
        return X, clean

    def _check_pair(self, X, y, reset=False, names=("X", "X_clean")):
        """Return X, and what it is to become, or None for itself."""
        X = self._validate(X, reset=reset)
        if y is None:
            return X, None
        clean = self._check_clean(y, names[1])
        if clean.shape[0] != X.shape[0]:
            raise ValueError(
                f"{names[1]} has {clean.shape[0]} samples; expected {X.shape[0]}, as {names[0]} "
                "has."
            )
        return X, clean

    def _check_clean(self, clean, name):
        """Return what X is to become, checked as X is, but under its own name."""
        if len(_shape(clean)) > 2:
            return self._validate(clean)
        if hasattr(clean, "columns") and hasattr(self, "feature_names_in_"):
            _check_feature_names(self, clean, reset=False)
        clean = check_array(
            sound(clean, name), accept_sparse=["csr", "csc"], input_name=name, estimator=self
        )
        if clean.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {clean.shape[1]} features; expected {self.n_features_in_}, as X has."
            )
        return numeric(clean)

    def _check_range(self, X, name="X"):
        """Check that a binary cross-entropy with what X has makes sense, but for rounding."""
        if self.loss != "log_loss":
            return
        least, most = X.min(), X.max()
        slack = 8 * np.finfo(X.dtype).eps if X.dtype.kind == "f" else 0
        if least < -slack or most > 1 + slack:
            raise ValueError(
                f"{name} has values from {least} to {most}; loss='log_loss' needs values in "
                f"[0, 1]: scale {name}, or set loss='squared_error'."
            )

    def _warn_of_range(self, X):
        """Warn of what lies far outside of where a binary cross-entropy is defined."""
        if self.loss == "log_loss" and (X.min() < -1 or X.max() > 2):
            warnings.warn(
                f"X has values from {X.min()} to {X.max()}; loss='log_loss' is for values in "
                "[0, 1], and takes others as 0 or 1."
            )

    def _data(self, X, y, weights, loss):
        target = INPUTS if y is None else Source(y)
        return ReconstructionData(Source(X), target, weights, np.arange(X.shape[0]))

    def _given_validation(self, X_val, clean, weights, loss):
        """Return validation data that the caller gave, or None."""
        if X_val is None:
            if clean is not None or weights is not None:
                raise ValueError("X_val is missing; X_val_clean and sample_weight_val go with it.")
            return None
        names = "X_val", "X_val_clean"
        X_val, clean = self._check_pair(X_val, clean, names=names)
        self._check_range(X_val if clean is None else clean, names[clean is not None])
        weights = check_weights(weights, X_val, "sample_weight_val")
        return self._data(X_val, clean, weights, loss)

    @staticmethod
    def _clean(X, y, X_clean):
        """Return what X is to become: X_clean, or y if it has the shape of X, or None."""
        if X_clean is not None or y is None:
            return X_clean
        return y if _shape(y) == _shape(X) and _is_numeric(y) else None

    # --- fitting

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y=None, sample_weight=None, *, X_clean=None, X_val=None, X_val_clean=None,
        sample_weight_val=None,
    ):  # fmt: skip
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

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data are not valid, or if training diverges; the estimator is
            then as it was before.
        """
        clean = self._clean(X, y, X_clean)
        validation = X_val, X_val_clean, sample_weight_val
        return self._fit(X, clean, sample_weight, False, validation)

    @available_if(lambda self: self._check_solver())
    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None, *, X_clean=None):
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

        Returns
        -------
        self : estimator
            The estimator.
        """
        return self._fit(X, self._clean(X, y, X_clean), sample_weight, True)

    def _train(self, network, progress, data, held, dtype, *others):
        super()._train(network, progress, data, held, dtype, *others)
        # what lbfgs has found in float64, too
        progress.values = [value.astype(dtype, copy=False) for value in progress.values]

    # --- using it

    @consistent
    def transform(self, X):
        """Return the codes of samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            A row a sample; a sample's is the same bits alone and in any batch.
        """
        check_is_fitted(self)
        return self._encode(self._validate(X))

    def _encode(self, X):
        return finite(self._run(self._encoder(), X))

    def _run(self, weights, X):
        return predict(weights.network, weights.packed, weights.dtype, Source(X), self.n_jobs)

    @consistent
    def inverse_transform(self, X):
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
        return self._decode(codes).reshape(len(codes), *self._sample_shape())

    def _check_codes(self, X):
        """Return codes as an array, checked."""
        check_is_fitted(self)
        codes = check_array(X, input_name="X", dtype=[np.float64, np.float32])
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns; expected codes of {self._n_features_out} numbers."
            )
        return codes

    def _decode(self, codes):
        return finite(self._run(self._decoder(), codes))

    def _sample_shape(self):
        """Return the shape of a sample, as `inverse_transform` gives it."""
        return getattr(self, "_given_shape", (self.n_features_in_,))

    @consistent
    def reconstruct(self, X):
        """Return what the network makes of samples: those of their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        reconstructions : ndarray of the shape of X
            One for each.
        """
        check_is_fitted(self)
        checked = self._validate(X)
        return self._outputs(checked).reshape(_shape(X))

    @consistent
    def score_samples(self, X):
        """Return the error of reconstruction of each sample: large for what is unlike the rest.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        errors : ndarray of shape (n_samples,)
            The mean squared error over a sample's features, or their mean binary cross-entropy, as
            `loss` says.
        """
        check_is_fitted(self)
        X = self._validate(X)
        return self._errors(X, X)

    @consistent
    def score(self, X, y=None, sample_weight=None):
        """Return minus the mean error of reconstruction: the larger, the better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.
        y : array-like, default=None
            If it has the shape of X, what X should be reconstructed to; else ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Minus the mean of what `score_samples` returns.
        """
        check_is_fitted(self)
        X, clean = self._check_pair(X, self._clean(X, y, None))
        weights = check_weights(sample_weight, X)
        return -float(np.average(self._errors(X, X if clean is None else clean), weights=weights))

    def _errors(self, X, targets):
        """Return the error of each row of checked X."""
        self._warn_of_range(targets)
        weights, errors = self._weights, np.empty(X.shape[0])
        for start in range(0, X.shape[0], CHUNK):
            rows = slice(start, start + CHUNK)
            outputs = finite(self._run(weights, X[rows])).astype(np.float64, copy=False)
            errors[rows] = error_of(self.loss, outputs, dense(targets[rows])).mean(axis=1)
        return finite(errors)

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


def _is_numeric(array):
    kind = getattr(array, "dtype", np.dtype(float)).kind
    return kind in "fiub"


def _shape(array):
    """Return the shape of something like an array."""
    return array.shape if hasattr(array, "shape") else np.array(array, dtype=object).shape


def part_of(network, first, last, start):
    """Return some of a network's layers as a network for inputs of a shape."""
    start = start[0] if len(start) == 1 else start
    layers = (*network.layers[first:last], Activation("identity"))
    return Network(layers, start, Loss("squared_error", "identity"))


def _untied(weights, layers, start):
    """Return the weights of some last layers, of which some use those of layers before."""
    network = weights.network
    groups = network.parameters(weights.dtype)
    values, found = iter(weights.values), []
    for (_, layer, _), group in zip(network.primitives, groups, strict=True):
        found.append((layer, [next(values) for _ in group]))
    kernels = {layer.name: own[0] for layer, own in found if isinstance(layer, Dense)}
    untied = tuple(
        Dense(layer.units, use_bias=layer.use_bias) if isinstance(layer, TiedDense) else layer
        for layer in layers
    )
    start = start[0] if len(start) == 1 else start
    part = Network(untied, start, Loss("squared_error", "identity"))
    own = []
    for layer, group in found[len(found) - len(part.primitives) :]:
        own += [kernels[layer.of].T, *group] if isinstance(layer, TiedDense) else group
    part = replace(part, layers=(*untied, Activation("identity")))
    return Weights(part, own, weights.dtype)


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
