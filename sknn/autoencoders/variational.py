"""Variational autoencoders (Kingma and Welling, 2014, "Auto-encoding variational Bayes")."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..engine.data import Data
from ..engine.prediction import finite
from ..estimator.base import agree
from ..estimator.checks import check_weights
from ..estimator.groups import HiddenActivation, Minibatches, StepSolver
from ..estimator.inputs import Rows
from ..estimator.layer_lists import LayersAsParameters
from ..estimator.parameters import COUNT, NOT_NEGATIVE, Array, Parameters, fitted, param
from ..estimator.resuming import File
from ..estimator.transactions import consistent, fits
from ..feedforward.mlp import hidden_activations, hidden_sizes
from ..images.inputs import ImageShape, TakesImages
from ..layers import Activation, Dense, GaussianSampling, Layer, Reshape
from ..tape.sources import INPUTS
from .base import (
    CHUNK,
    Autoencoder,
    AutoencoderDescent,
    ForReconstruction,
    Reconstruction,
    decoder_of,
    dense,
    error_of,
)
from .convolutional import Coders, check_coders
from .dense import CodeLayers


class _Components(Parameters):
    """The size of the code."""

    n_components: int = param(
        "Dimension of the code.", default=2, valid=[COUNT], kw_only=False
    )


class _VariationalLayers(ImageShape, Coders, CodeLayers, _Components):
    """The layers of variational autoencoders."""

    hidden_layer_sizes: int | Sequence[int] | Array = param(
        "Units per hidden layer of the encoder; the decoder mirrors them.",
        default=(100,), kw_only=False,
    )
    activation: HiddenActivation | Activation | Sequence[HiddenActivation | Activation] = param(
        """
        Activation of the encoder's layers, or one for each: 'identity', 'logistic', 'tanh', 'relu',
        'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus' or 'exp'.""",
        default="relu", valid=[Activation, list, tuple],
        kind="str, Activation, or list of them", after="hidden_layer_sizes",
    )
    encoder: Sequence[Layer] | None = param(
        """
        Layers of :mod:`sknn.layers` to use in place of the hidden layers; a ``Dense`` layer after
        them outputs the means and log variances of the code. Layer parameters can be searched over,
        as in ``encoder__0__filters``.""",
        default=None,
    )
    decoder: Sequence[Layer] | None = param(
        """
        Layers from the code, a vector, to a sample: for images, start with a ``Dense`` and a
        ``Reshape``. The last layer has no activation, since `output_activation` is applied to its
        output.""",
        default=None,
    )
    image_shape: tuple[int, ...] | list[int] | None = param(default=None)
    beta: float = param(
        """
        Weight of the KL divergence in the loss; values above 1 favor independent components
        (beta-VAE).""",
        default=1.0, valid=[NOT_NEGATIVE],
    )
    codes: Literal["mean", "sample"] = param(
        """
        What `transform` returns: the means of the codes' distributions, or samples from them.""",
        default="mean",
    )

    reconstruction_curve_: list[float] = fitted(
        """
        The reconstruction term of each epoch's loss. (Penalties on the weights, by `alpha` or `l1`,
        are a separate term.)"""
    )
    kl_curve_: list[float] = fitted(
        "The KL divergence of each epoch's loss, not multiplied by `beta`."
    )


#: The name of the layer that outputs means and log variances.
_HEAD = "code"


@dataclass
class _Bound:
    """Minus the evidence lower bound, as its two terms.

    Attributes
    ----------
    loss : str
        The reconstruction loss.
    end : int
        Where the encoder ends among the network's layers.
    n_jobs : int or None
    """

    loss: str
    end: int
    n_jobs: int | None

    def distributions(self, weights, inputs):
        """Return the means and log variances of the codes of inputs, in float64."""
        heads = inputs.run(weights.part(0, self.end - 1), self.n_jobs)
        return np.hsplit(heads.astype(np.float64, copy=False), 2)

    def parts(self, weights, inputs, n_samples, random_state, among=None):
        """Return the mean reconstruction loss and the KL divergence of each input.

        `among` are the numbers of the inputs to take; None: all.
        """
        decoder, losses, divergences = decoder_of(weights, self.end), [], []
        factor = 0.5 if self.loss == "squared_error" else 1.0
        for start in range(0, inputs.shape[0] if among is None else len(among), CHUNK):
            chunk = slice(start, start + CHUNK)
            rows = inputs.part(chunk if among is None else among[chunk])
            mean, spread = self.distributions(weights, rows)
            wanted, loss = dense(rows.values), np.zeros(len(mean))
            for _ in range(n_samples):
                codes = mean + np.exp(spread / 2) * random_state.normal(size=mean.shape)
                outputs = Rows(codes, None).run(decoder, self.n_jobs)
                outputs = outputs.astype(np.float64, copy=False)
                loss += factor * error_of(self.loss, outputs, wanted).sum(axis=1)
            losses.append(loss / n_samples)
            divergences.append((np.exp(spread) + mean**2 - 1 - spread).sum(axis=1) / 2)
        return np.concatenate(losses), np.concatenate(divergences)


@dataclass
class _VariationalData(Data):
    """Rows to reconstruct, and how the terms of their loss are estimated."""

    inputs: object = None
    beta: float = 1.0
    bound: _Bound | None = None

    def evaluate(self, weights, n_jobs):
        """Return the mean loss, and the two terms of each row's loss."""
        random_state = np.random.RandomState(0)  # the same each time
        error, divergence = self.bound.parts(weights, self.inputs, 1, random_state, self.rows)
        return float(np.mean(error + self.beta * divergence)), (error, divergence)


class _Variational(Reconstruction):
    """Reconstruction of the network's input from codes that are sampled.

    Parameters
    ----------
    loss, output_activation, read_clean
        As in :class:`~sknn.autoencoders.base.Reconstruction`.
    beta : float
        Weight of the KL divergence.
    n_jobs : int or None
    """

    def __init__(self, loss, output_activation, read_clean, beta, n_jobs):
        super().__init__(loss, output_activation, read_clean, over_outputs="sum")
        self._beta, self._n_jobs = beta, n_jobs

    def data(self, inputs, clean, weights, network):
        names = [getattr(layer, "name", None) for layer in network.layers]
        end = names.index(_HEAD) + 2  # the next layer samples the codes
        bound = _Bound(self.loss_name, end, self._n_jobs)
        rows = np.arange(inputs.shape[0])
        source = inputs.source(repeatedly=True)
        return _VariationalData(
            source, INPUTS, weights, rows, inputs=inputs, beta=self._beta, bound=bound
        )

    def score(self, data, loss, outputs):
        error, divergence = outputs
        return -float(np.mean(error + divergence))


class VariationalAutoencoderTransformer(
    Minibatches, AutoencoderDescent, StepSolver, ForReconstruction, _VariationalLayers,
    LayersAsParameters, TakesImages, Autoencoder,
):  # fmt: skip
    """A variational autoencoder: a code is a normal distribution close to the standard normal.

    The loss is minus the evidence lower bound (ELBO): the reconstruction loss of a code sampled
    from that distribution, plus `beta` times the Kullback-Leibler divergence of the distribution
    from the standard normal. New samples are decoded from codes drawn from the standard normal.

    X holds one row of features per sample, or images as in :class:`ConvAutoencoderTransformer`.
    `fit` takes no sample weights: the random draws depend on a sample's position, so a sample of
    weight 2 would not be the same as one that occurs twice.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import VariationalAutoencoderTransformer
    >>> X = load_digits().data / 16
    >>> net = VariationalAutoencoderTransformer(2, loss="log_loss", max_iter=30, random_state=0)
    >>> net.fit_transform(X).shape
    (1797, 2)
    >>> net.sample(5, random_state=0).shape
    (5, 64)
    """

    loss: Literal["squared_error", "log_loss"] = param(
        """
        The negative log-likelihood of a sample, summed over its features. 'squared_error': half
        the squared error, for features with normal noise of unit variance. 'log_loss': the binary
        cross-entropy, for data in [0, 1].""",
        default="squared_error",
    )

    _layer_lists = ("encoder", "decoder")
    _default_sees_areas = False

    def _check_loaded(self):
        super()._check_loaded()
        last = self._weights.network.layers[self._bounds[1] - 1]
        agree("The encoder's end", type(last), GaussianSampling)

    def _task(self):
        settings = self._read_clean, self.beta, self.n_jobs
        return _Variational(self.loss, self.output_activation, *settings)

    # --- the network

    def _parts(self, inputs, out):
        if self.encoder is None and self.decoder is None:
            encoder, decoder = self._dense_parts(inputs)
        else:
            encoder, decoder = check_coders(self.encoder, self.decoder, out.function)
        head = Dense(2 * self.n_components, name=_HEAD)
        return [*encoder, head, GaussianSampling(float(self.beta))], decoder

    def _inputs_to_load(self, sizes):
        if self.encoder is None and self.image_shape is None and not self.__sklearn_is_fitted__():
            n = self._size_in(sizes, Rows(np.zeros((1, 1)), (1, 1, 1)), 0, 1)
            self.image_shape_, self._given_shape = (1, n, 1), (n,)
        return super()._inputs_to_load(sizes)

    def _dense_parts(self, inputs):
        sizes = hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        functions = hidden_activations(self.activation, len(sizes))
        encoder, decoder = [], []
        for i, (units, function) in enumerate(zip(sizes, functions, strict=True), 1):
            encoder += [Dense(units, name=f"encoder_{i}"), function]
            decoder = [Dense(units, name=f"decoder_{len(sizes) - i + 1}"), function, *decoder]
        last = Dense(inputs.features, name=f"decoder_{len(sizes) + 1}")
        return encoder, [*decoder, last, Reshape(inputs.inputs)]

    @property
    def _bound(self):
        return _Bound(self.loss, self._bounds[1], self.n_jobs)

    # --- fitting

    @fits
    def fit(self, X, y=None, *, X_val=None, resume_from: File = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or images
            The samples.
        y : object, default=None
            Ignored.
        X_val : array-like, default=None
            Validation data, scored after each epoch. With early stopping they are used in place of
            held-back data.
        """
        return self._fit(X, validation=(X_val, None, None), resume_from=resume_from)

    @fits
    def partial_fit(self, X, y=None) -> Self:
        """Train for one epoch on the given data, continuing from the current weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or images
            The samples.
        y : object, default=None
            Ignored.
        """
        return self._fit(X, incremental=True)

    def _commit(self, job, progress):
        super()._commit(job, progress)
        kl = progress.divergence_curve
        errors = [
            loss - self.beta * divergence
            for loss, divergence in zip(progress.data_loss_curve, kl, strict=True)
        ]
        before = len(progress.loss_curve) - len(kl)  # epochs of earlier fits
        for name, curve in (("kl_curve_", kl), ("reconstruction_curve_", errors)):
            setattr(self, name, [*getattr(self, name, ())[:before], *curve])

    @property
    @consistent
    def history_(self):
        """Losses, their terms, and validation scores by epoch, as a DataFrame."""
        frame = super().history_
        frame.insert(1, "reconstruction", self.reconstruction_curve_)
        frame.insert(2, "kl", self.kl_curve_)
        return frame

    # --- using it

    def _codes(self, inputs):
        if self.codes == "mean":
            return super()._codes(inputs)
        mean, spread = self._bound.distributions(self._placed_weights, inputs)
        draws = check_random_state(self.random_state).normal(size=mean.shape)
        with np.errstate(over="ignore"):
            codes = (mean + np.exp(spread / 2) * draws).astype(self._weights.dtype, copy=False)
        if not np.isfinite(codes).all():
            raise ValueError("Codes that were drawn are not finite: variances are too large.")
        return codes

    @consistent
    def sample(self, n_samples=1, random_state=None) -> Array:
        """Generate samples by decoding codes drawn from the standard normal distribution.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples to generate.
        random_state : int, RandomState instance or None, default=None
            Seed of the codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The means of the decoded distributions; images if the network was fitted to images.
        """
        check_is_fitted(self)
        _check_count(n_samples)
        size = n_samples, self._n_features_out
        return self.inverse_transform(check_random_state(random_state).normal(size=size))

    @consistent
    def elbo(self, X, n_samples=1, random_state=None) -> Array:
        """Return an estimate of the evidence lower bound of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or images
            The samples.
        n_samples : int, default=1
            Number of codes to draw per sample.
        random_state : int, RandomState instance or None, default=None
            Seed of these draws.

        Returns
        -------
        bounds : ndarray of shape (n_samples,)
            In nats: minus the reconstruction loss, minus the KL divergence, whatever `beta` is. For
            ``loss='squared_error'`` without the constant term of the normal log-density.
        """
        check_is_fitted(self)
        _check_count(n_samples)
        inputs = self._read(X)
        self._warn_of_range(inputs)
        random_state = check_random_state(random_state)
        error, divergence = self._bound.parts(self._placed_weights, inputs, n_samples, random_state)
        return -finite(error + divergence)

    @consistent
    def score(self, X, y=None, sample_weight=None) -> float:
        """Return the mean evidence lower bound, in nats: higher is better.

        It is not the mean of `score_samples`, which decodes the means of the codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or images
            The samples.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            The mean of `elbo`, with the same random draws in each call.
        """
        bounds = self.elbo(X, random_state=0)
        return float(np.average(bounds, weights=check_weights(sample_weight, bounds)))


def _check_count(n_samples):
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples is {n_samples!r}; expected an int of at least 1.")
