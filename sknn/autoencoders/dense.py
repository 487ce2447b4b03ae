"""Autoencoders made of dense layers."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Literal

from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..estimator.groups import Features, HiddenActivation
from ..estimator.parameters import COUNT, NOT_NEGATIVE, Array, fitted, param
from ..estimator.transactions import consistent
from ..feedforward.mlp import MLPNetClassifier, hidden_activations, hidden_sizes
from ..layers import Activation, ActivityRegularization, ContractivePenalty, Dense, TiedDense
from .base import (
    Autoencoder,
    AutoencoderTraining,
    ForReconstruction,
    Reconstruction,
    Regularization,
)
from .pretraining import pretrain

_Activation = HiddenActivation | Activation
#: Largest minibatch where `batch_size` is 'auto'.
_AUTO_BATCH = 32


class CodeLayers(Features):
    """The encoder's layers."""

    hidden_layer_sizes: int | Sequence[int] | Array = param(
        "Units per encoder layer; the output of the last one is the code.",
        default=(32,), valid=["array-like", COUNT], kind="int or array-like of int", kw_only=False,
    )


class DenseLayers(CodeLayers):
    """The layers of dense autoencoders."""

    activation: Literal["auto"] | _Activation | Sequence[_Activation] = param(
        """
        Activation of the encoder's layers, or one for each: 'identity', 'logistic', 'tanh', 'relu',
        'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus' or 'exp'. 'auto': relu
        for all but the code, which is unbounded (identity) like principal components; with
        `noise`, `activity_l1` or `contractive`, where the code may be large, relu for the code,
        too.""",
        default="auto", valid=[Activation, list, tuple],
        kind="str, Activation, or list of them", kw_only=False,
    )
    decoder_layer_sizes: int | Sequence[int] | Array | None = param(
        "Units per hidden layer of the decoder. None: the encoder's hidden layers, mirrored.",
        default=None, valid=["array-like", COUNT], kind="int, array-like of int or None",
    )
    decoder_activation: _Activation | Sequence[_Activation] | None = param(
        """
        Activation of the decoder's hidden layers, or one for each. None: the encoder's activations,
        mirrored, if the layers are, too; else the encoder's first, or relu if that is 'auto'.""",
        default=None, valid=[Activation, list, tuple],
        kind="str, Activation, list of them or None",
    )
    contractive: float = param(
        """
        Weight of the contractive penalty in a sample's loss: the squared Frobenius norm of the
        code's Jacobian (Rifai et al., 2011). With several encoder layers, the penalty is the sum
        over the layers, each with the Jacobian of its outputs with respect to its inputs.""",
        default=0.0, valid=[NOT_NEGATIVE], after="noise_range",
    )
    tied_weights: bool = param(
        "Whether the decoder shares the encoder's weights, transposed; it has its own biases.",
        default=False, after="contractive",
    )
    pretrain_epochs: int = param(
        """
        Epochs of greedy layer-wise pretraining at the start of `fit`: each encoder layer and its
        mirror in the decoder, from the outermost pair inward, are trained to reconstruct the
        output of the preceding encoder layers. `noise` is added to each pair's input.""",
        default=0, valid=[Interval(Integral, 0, None, closed="left")], after="tied_weights",
    )

    pretraining_loss_curves_: list[list[float]] = fitted(
        "With `pretrain_epochs`: for each pair of layers, the loss of each epoch."
    )


class DenseTraining(AutoencoderTraining):
    """Training parameters whose default differs for dense autoencoders.

    With these defaults a code is as good as the same number of principal components, whether there
    are few samples or many.
    """

    batch_size: int | Literal["auto"] = param(
        f"Samples in a minibatch; 'auto' is ``min({_AUTO_BATCH}, n_samples)``.", default="auto"
    )
    learning_rate_init: float = param(default=5e-3)
    tol: float = param(default=1e-5)
    average: bool | float = param(default=True)


class _DenseReconstruction(Reconstruction):
    """Reconstruction of the network's input, by default in small minibatches."""

    def data(self, inputs, clean, weights, network):
        data = super().data(inputs, clean, weights, network)
        return replace(data, auto_batch=_AUTO_BATCH)


class AutoencoderTransformer(
    DenseTraining, Regularization, ForReconstruction, DenseLayers, Autoencoder
):
    """An autoencoder of fully connected layers: plain, deep, sparse, denoising or contractive.

    Its code can replace principal components, and is as good with the default settings: as features
    in a pipeline, or to detect outliers, as :class:`ReconstructionOutlierDetector` does.

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

    def _task(self):
        """Return the task that the parameters describe."""
        return _DenseReconstruction(self.loss, self.output_activation, self._read_clean)

    def _parts(self, inputs, out):
        sizes = hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        if not sizes:
            raise ValueError("hidden_layer_sizes is empty; expected at least the code's size.")
        functions, first = self._activations(len(sizes))
        mirrored, given = sizes[-2::-1], self.decoder_layer_sizes
        backward = mirrored if given is None else hidden_sizes(given, "decoder_layer_sizes")
        if self.tied_weights and backward != mirrored:
            raise ValueError(
                f"decoder_layer_sizes is {backward}; tied_weights=True needs the encoder's, "
                f"mirrored, {mirrored}."
            )
        back = functions[-2::-1] if backward == mirrored else (first,) * len(backward)
        if self.decoder_activation is not None:
            back = hidden_activations(self.decoder_activation, len(backward), "decoder_activation")
        decoder = []
        for i, units in enumerate([*backward, inputs.features]):
            decoder += [self._decoder_layer(i, units, len(sizes)), *back[i : i + 1]]
        return self._encoder_layers(sizes, functions), decoder

    def _activations(self, n):
        """Return the activations of n layers, and that of a decoder that does not mirror them."""
        auto = isinstance(self.activation, str) and self.activation == "auto"
        functions = hidden_activations("relu" if auto else self.activation, n)
        first = functions[0]
        if auto and not (self.noise or self.activity_l1 or self.contractive):
            functions = (*functions[:-1], Activation("identity"))
        return functions, first

    def _encoder_layers(self, sizes, functions):
        layers = []
        for i, (units, function) in enumerate(zip(sizes, functions, strict=True), 1):
            layers += [Dense(units, name=f"encoder_{i}"), function]
            if self.contractive:
                layers.append(ContractivePenalty(f"encoder_{i}", function, float(self.contractive)))
        if self.activity_l1:
            layers.append(ActivityRegularization(float(self.activity_l1)))
        return layers

    def _decoder_layer(self, i, units, n_encoder):
        name = f"decoder_{i + 1}"
        if self.tied_weights:
            return TiedDense(f"encoder_{n_encoder - i}", units, name=name)
        return Dense(units, name=name)

    # --- pretraining

    def _first_values(self, job, inputs, clean, weights):
        values = super()._first_values(job, inputs, clean, weights)
        vars(self).pop("pretraining_loss_curves_", None)
        if self.pretrain_epochs:
            self._check_pairs()
        if self.pretrain_epochs and not job.incremental:
            noise = job.network.layers[: job.attributes["_bounds"][0]]
            wanted = None if clean is None else clean.values
            batch = job.data.batch_size(job.recipe.batch_size)
            recipe = replace(job.recipe, batch_size=batch)
            job.attributes["pretraining_loss_curves_"], job.interrupted = pretrain(
                recipe, self.pretrain_epochs, job.network, noise, values, job.random_state,
                job.dtype, inputs.values, wanted, weights,
            )  # fmt: skip
        return values

    def _check_pairs(self):
        """Check that layers can be trained in pairs."""
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

    # --- fine-tuning

    @consistent
    def to_classifier(self, **params) -> MLPNetClassifier:
        """Return a classifier initialized with the encoder, to fine-tune on labels.

        Parameters
        ----------
        **params : dict of str to object
            Parameters of the classifier, except for `hidden_layer_sizes`, `activation` and
            `initializer`, which follow from the encoder.

        Returns
        -------
        classifier : :class:`~sknn.MLPNetClassifier`
            Not fitted. Its hidden layers are the encoder's, and its `initializer` holds copies of
            their weights, so its clones start from them, too.
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
