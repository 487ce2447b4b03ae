"""Autoencoders: networks that learn to give what they get, through a code."""

import copy
import warnings
from dataclasses import dataclass, replace
from inspect import cleandoc
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from .activations import ACTIVATIONS
from .base import ParameterRow, all_or_nothing, check_weights, takes
from .data import INPUTS, Source
from .layered import LAYERED_TRAINING, LayeredNet, check_names
from .layers import (
    Activation,
    ActivityRegularization,
    ContractivePenalty,
    Dense,
    GaussianNoise,
    MaskingNoise,
    SaltAndPepperNoise,
    TiedDense,
)
from .layers.base import describe, output_shape, size
from .losses import Loss
from .mlp import MLPNetClassifier, hidden_sizes, per_layer
from .network import Network, Weights
from .supervised import OUTPUT_ACTIVATIONS, TRAINED, check_activation
from .training import Data, Progress, Trainer, predict

_COUNT = Interval(Integral, 1, None, closed="left")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_TRAINED = sorted(set(ACTIVATIONS) - {"step", "softmax"})
#: Rows whose errors are computed at once.
CHUNK = 4096
_NOISES = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
}

#: What autoencoders take for their training.
TRAINING = {
    **LAYERED_TRAINING,
    "alpha": replace(
        LAYERED_TRAINING["alpha"],
        default=0.0,
        doc="""alpha : float, default=0.0
        Strength of the L2 penalty on the weights; divided by the sum of weights of the batch.""",
    ),
    "validation_fraction": replace(
        LAYERED_TRAINING["validation_fraction"],
        doc=LAYERED_TRAINING["validation_fraction"].doc
        + " The score is minus the mean error of reconstruction.",
    ),
}
#: What every autoencoder takes: how its outputs are compared with its inputs.
RECONSTRUCTION = {
    "loss": ParameterRow(
        "squared_error",
        [StrOptions({"squared_error", "log_loss"})],
        """loss : {'squared_error', 'log_loss'}, default='squared_error'
        The mean squared error over a sample's features, or their mean binary cross-entropy, for
        data in [0, 1].""",
    ),
    "output_activation": ParameterRow(
        "auto",
        [StrOptions({"auto", *OUTPUT_ACTIVATIONS}), Activation],
        """output_activation : str or Activation, default='auto'
        Activation of the output layer. 'auto': logistic for ``loss='log_loss'``, which needs it,
        else identity.""",
    ),
}
#: What makes autoencoders sparse, or denoising.
REGULARIZATION = {
    "activity_l1": ParameterRow(
        0.0,
        [_NOT_NEGATIVE],
        """activity_l1 : float, default=0.0
        Weight of the sum of absolute values of a sample's code in its loss: the code becomes
        sparse.""",
    ),
    "noise": ParameterRow(
        0.0,
        [_NOT_NEGATIVE],
        """noise : float, default=0.0
        How much noise the inputs get in training, while the outputs are compared with what they
        were without it: the standard deviation, or the probability that an input is replaced.""",
    ),
    "noise_kind": ParameterRow(
        "gaussian",
        [StrOptions(set(_NOISES))],
        """noise_kind : {'gaussian', 'masking', 'salt_and_pepper'}, default='gaussian'
        Normal noise is added; or inputs become zero; or the smaller or the larger number of
        `noise_range`, half of them each.""",
    ),
    "noise_range": ParameterRow(
        None,
        ["array-like", None],
        """noise_range : pair of float or None, default=None
        What normal noise is clipped to, and what salt and pepper are. None: 0 and 1 for
        ``loss='log_loss'``; else normal noise has no limits, and salt and pepper are the
        largest and the smallest number of X.""",
    ),
}
DENSE_LAYERS = {
    "hidden_layer_sizes": ParameterRow(
        (32,),
        ["array-like", _COUNT],
        """hidden_layer_sizes : int or array-like of int, default=(32,)
        Units of the encoder's layers; the last of them is the code.""",
    ),
    "activation": ParameterRow(
        "relu",
        [StrOptions(set(_TRAINED)), Activation, list, tuple],
        """activation : str, Activation, or list of them, default='relu'
        Activation of the encoder's layers, or one for each: 'identity', 'logistic', 'tanh', 'relu',
        'leaky_relu', 'elu', 'gelu', 'silu', 'softplus' or 'exp'.""",
    ),
    "decoder_layer_sizes": ParameterRow(
        None,
        ["array-like", _COUNT, None],
        """decoder_layer_sizes : int, array-like of int or None, default=None
        Units of the decoder's hidden layers. None: those of the encoder, mirrored.""",
    ),
    "decoder_activation": ParameterRow(
        None,
        [StrOptions(set(_TRAINED)), Activation, list, tuple, None],
        """decoder_activation : str, Activation, list of them or None, default=None
        Activation of these layers, or one for each. None: as in the encoder, mirrored, if that is
        how the layers are; else the encoder's first.""",
    ),
}
_DENSE = {
    **DENSE_LAYERS,
    **RECONSTRUCTION,
    **REGULARIZATION,
    "contractive": ParameterRow(
        0.0,
        [_NOT_NEGATIVE],
        """contractive : float, default=0.0
        Weight of the contractive penalty in a sample's loss: the sum of squares of the Jacobian of
        the code (Rifai et al., 2011); with several layers, that of each of them, added up.""",
    ),
    "tied_weights": ParameterRow(
        False,
        ["boolean"],
        """tied_weights : bool, default=False
        Whether the decoder uses the encoder's weights, transposed, with biases of its own.""",
    ),
    "pretrain_epochs": ParameterRow(
        0,
        [Interval(Integral, 0, None, closed="left")],
        """pretrain_epochs : int, default=0
        Epochs for which `fit` first trains each pair of layers by itself, from the outside in: to
        reconstruct what the layers before it give. `noise` is added to what each pair gets.""",
    ),
    **TRAINING,
}

#: The attributes of every autoencoder, for docstrings.
ATTRIBUTES = """layers_ : list of layers
        The network, noise included, from input to output layer.
    weights_ : dict of str to dict of str to ndarray
        Copies of the parameters, by layer: 'kernel', 'bias' and so on.
    """ + TRAINED.replace("score (accuracy or R2)", "score (minus the reconstruction error)")


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
            clean, accept_sparse=["csr", "csc"], input_name=name, estimator=self
        )
        if clean.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {clean.shape[1]} features; expected {self.n_features_in_}, as X has."
            )
        return clean

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
    @with_callbacks
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
    @with_callbacks
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
        return checked(self._run(self._encoder(), X))

    def _run(self, weights, X):
        return predict(weights.network, weights.packed, weights.dtype, Source(X), self.n_jobs)

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
        return checked(self._run(self._decoder(), codes))

    def _sample_shape(self):
        """Return the shape of a sample, as `inverse_transform` gives it."""
        return getattr(self, "_given_shape", (self.n_features_in_,))

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
            outputs = checked(self._run(weights, X[rows])).astype(np.float64, copy=False)
            errors[rows] = error_of(self.loss, outputs, dense(targets[rows])).mean(axis=1)
        return errors

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


def checked(outputs):
    """Return outputs, if they are numbers."""
    if np.isnan(outputs).any():
        raise ValueError(
            f"The network's outputs are not numbers: X has values too large for {outputs.dtype}."
        )
    return outputs


@takes(_DENSE, positional=2)
class AutoencoderTransformer(Autoencoder):
    """An autoencoder of fully connected layers: plain, deep, sparse, denoising or contractive.

    Its code takes the place of principal components: in a pipeline, or to find what is unlike the
    rest by :meth:`score_samples`.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    pretraining_loss_curves_ : list of list of float
        With `pretrain_epochs`: the loss of each epoch, for each pair of layers.
    noise_range_ : tuple or None
        With `noise`: its limits.
    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import AutoencoderTransformer
    >>> X = load_digits().data / 16
    >>> net = AutoencoderTransformer(16, loss="log_loss", max_iter=50, random_state=0).fit(X)
    >>> net.transform(X).shape
    (1797, 16)
    >>> bool(((net.reconstruct(X) - X) ** 2).mean() < 0.03)
    True
    """

    def _parts(self):
        sizes = hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        if not sizes:
            raise ValueError("hidden_layer_sizes is empty; expected at least the code's size.")
        encoder_functions = activations(self.activation, len(sizes), "activation")
        encoder = self._encoder_layers(sizes, encoder_functions)
        if self.decoder_layer_sizes is None:
            backward = sizes[-2::-1]
        else:
            backward = hidden_sizes(self.decoder_layer_sizes, "decoder_layer_sizes")
        functions = self._decoder_functions(encoder_functions, backward == sizes[-2::-1], backward)
        if self.tied_weights:
            if backward != sizes[-2::-1]:
                raise ValueError(
                    f"decoder_layer_sizes is {backward}; tied_weights=True needs the encoder's, "
                    f"mirrored, {sizes[-2::-1]}."
                )
        decoder = []
        for i, units in enumerate([*backward, self.n_features_in_]):
            decoder.append(self._decoder_layer(i, units, len(sizes)))
            if i < len(backward):
                decoder.append(functions[i])
        return encoder, decoder

    def _encoder_layers(self, sizes, functions):
        layers = []
        for i, (units, function) in enumerate(zip(sizes, functions, strict=True), 1):
            layers += [Dense(units, name=f"encoder_{i}"), function]
            if self.contractive:
                layers.append(ContractivePenalty(f"encoder_{i}", function, float(self.contractive)))
        if self.activity_l1:
            layers.append(ActivityRegularization(float(self.activity_l1)))
        return layers

    def _decoder_functions(self, functions, mirrored, sizes):
        if self.decoder_activation is not None:
            return activations(self.decoder_activation, len(sizes), "decoder_activation")
        return functions[-2::-1] if mirrored else functions[:1] * len(sizes)

    def _decoder_layer(self, i, units, n_encoder):
        name = f"decoder_{i + 1}"
        if self.tied_weights:
            return TiedDense(f"encoder_{n_encoder - i}", units, name=name)
        return Dense(units, name=name)

    # --- greedy layer-wise pre-training (Hinton and Salakhutdinov, 2006; Bengio et al., 2007)

    def _fit(self, X, y, sample_weight, incremental, *validation):
        self._goes_once, self._interrupted = incremental, False
        super()._fit(X, y, sample_weight, incremental, *validation)
        vars(self).pop("_wanted", None)
        return self

    def _check_X_y(self, X, y, reset):
        X, self._wanted = super()._check_X_y(X, y, reset)  # for pre-training
        return X, self._wanted

    def _train(self, *others):
        if not self._interrupted:  # by the user, in pre-training
            super()._train(*others)

    def _first_values(self, network, random_state, dtype, X, weights):
        values = super()._first_values(network, random_state, dtype, X, weights)
        vars(self).pop("pretraining_loss_curves_", None)
        if self.pretrain_epochs and not self._goes_once:
            values = self._pretrain(network, values, random_state, dtype, X, weights)
        return values

    def _pretrain(self, network, values, random_state, dtype, X, weights):
        """Train each pair of layers to reconstruct what those before it give."""
        sizes = hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        given = self.decoder_layer_sizes
        if given is not None and hidden_sizes(given, "decoder_layer_sizes") != sizes[-2::-1]:
            raise ValueError(
                f"pretrain_epochs={self.pretrain_epochs} trains layers in pairs, so that the "
                "decoder must mirror the encoder; got decoder_layer_sizes="
                f"{self.decoder_layer_sizes!r}."
            )
        if self.solver == "lbfgs":
            raise ValueError("pretrain_epochs is for solvers in minibatches, got solver='lbfgs'.")
        places, pairs = _places(network, dtype), _pairs(network)
        pretrained = copy.copy(self)
        pretrained.early_stopping, pretrained.max_iter = False, self.pretrain_epochs
        self.pretraining_loss_curves_, source = [], Source(X)
        for i, (encoder, decoder, out) in enumerate(pairs):
            layers = (*self._noise_of(i, network), *encoder, decoder, out)
            loss = Loss("squared_error", out.function, over_outputs="mean")
            stage = Network(layers, source.n_columns, loss if i else network.loss)
            own = [k for layer in (encoder[0], decoder) for k in places[layer.name]]
            wanted = INPUTS if i or self._wanted is None else Source(self._wanted)
            data = ReconstructionData(source, wanted, weights, np.arange(source.n_rows))
            progress = Progress([values[k] for k in own])
            seed = random_state.randint(2**31)
            trainer = Trainer(
                pretrained, stage, dtype, progress, data, None, None, random_state, seed
            )
            trainer.fit(self.pretrain_epochs, True, lambda: lambda: False)
            for k, value in zip(own, progress.values, strict=True):
                values[k] = value
            self.pretraining_loss_curves_.append(progress.loss_curve)
            if trainer.interrupted:
                self._interrupted = True
                break
            source = Source(self._codes_of(encoder, source, progress.values, dtype))
        return values

    def _noise_of(self, i, network):
        """Return the noise of the inputs of a pair of layers: of codes, without limits."""
        noise = network.layers[: self._bounds[0]]
        if i == 0 or not noise or isinstance(noise[0], MaskingNoise):
            return noise
        return (MaskingNoise(noise[0].rate),) if hasattr(noise[0], "rate") else (
            GaussianNoise(noise[0].stddev),
        )  # fmt: skip

    def _codes_of(self, encoder, source, values, dtype):
        loss = Loss("squared_error", "identity")
        network = Network((*encoder, Activation("identity")), source.n_columns, loss)
        n = sum(len(group) for group in network.parameters(dtype))
        weights = Weights(network, values[:n], dtype)
        return predict(network, weights.packed, weights.dtype, source, self.n_jobs)

    # --- going on

    def to_classifier(self, **params):
        """Return a classifier that begins with the encoder: to train it on with labels.

        Parameters
        ----------
        **params : dict of str to object
            Parameters of the classifier, but for `hidden_layer_sizes`, `activation` and
            `initializer`, which follow from the encoder.

        Returns
        -------
        classifier : :class:`~sknn.MLPNetClassifier`
            Not fitted. Its hidden layers are the encoder's, and its `initializer` holds copies of
            their weights, so that clones of it begin with them too.
        """
        check_is_fitted(self)
        named, params = self.weights_, {"dtype": self.dtype} | params
        encoder = [layer for layer in self.layers_ if isinstance(layer, Dense)]
        encoder = [layer for layer in encoder if layer.name.startswith("encoder_")]
        functions = self._weights.network.layers[self._bounds[0] : self._bounds[1]]
        return MLPNetClassifier(
            tuple(layer.units for layer in encoder),
            [layer for layer in functions if isinstance(layer, Activation)],
            initializer=[named[layer.name][part] for layer in encoder for part in _PARTS],
            **params,
        )


_PARTS = "kernel", "bias"


def activations(value, n_layers, name):
    entries = per_layer(value, n_layers, name)
    return [check_activation(entry, name, _TRAINED) for entry in entries]


def _places(network, dtype):
    """Return where the parameters of each layer are in a list of all of them."""
    places, count = {}, 0
    for (path, _, _), group in zip(network.primitives, network.parameters(dtype), strict=True):
        places[path] = list(range(count, count + len(group)))
        count += len(group)
    return places


def _pairs(network):
    """Return layers of the encoder with those of the decoder that mirror them, from the outside.

    For each: the encoder's, with what follows it, the decoder's, and its activation.
    """
    layers, groups = list(network.layers), []
    for layer in layers:
        if isinstance(layer, (Dense, TiedDense)):
            groups.append([layer])
        elif groups:
            groups[-1].append(layer)
    half = len(groups) // 2
    encoders, decoders = groups[:half], groups[half:]
    return [
        (tuple(encoder), decoder[0], decoder[1])
        for encoder, decoder in zip(encoders, reversed(decoders), strict=True)
    ]


def document(cls):
    """Put what every autoencoder has among its attributes into a class's docstring."""
    if cls.__doc__:
        cls.__doc__ = cls.__doc__.replace("{attributes}", cleandoc("    " + ATTRIBUTES))


document(AutoencoderTransformer)
