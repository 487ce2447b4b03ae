"""Autoencoders of dense layers."""

from numbers import Integral

from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..estimator.parameters import ParameterRow, takes
from ..estimator.tasks import check_activation
from ..estimator.transactions import consistent
from ..feedforward.mlp import MLPNetClassifier, hidden_sizes, per_layer
from ..layers import Activation, ActivityRegularization, ContractivePenalty, Dense, TiedDense
from ..tape.activations import ACTIVATIONS
from .base import NOT_NEGATIVE, RECONSTRUCTION, REGULARIZATION, TRAINING, Autoencoder, document
from .pretraining import pretrain

_COUNT = Interval(Integral, 1, None, closed="left")
_TRAINED = sorted(set(ACTIVATIONS) - {"step", "softmax"})

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
        [NOT_NEGATIVE],
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

    def _parts(self, inputs, out):
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
        for i, units in enumerate([*backward, inputs.features]):
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

    # --- pre-training

    def _first_values(self, job, inputs, clean, weights):
        values = super()._first_values(job, inputs, clean, weights)
        vars(self).pop("pretraining_loss_curves_", None)
        if self.pretrain_epochs:
            self._check_pairs()
        if self.pretrain_epochs and not job.incremental:
            noise = job.network.layers[: job.attributes["_bounds"][0]]
            wanted = None if clean is None else clean.values
            job.attributes["pretraining_loss_curves_"], job.interrupted = pretrain(
                job.recipe, self.pretrain_epochs, job.network, noise, values, job.random_state,
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

    # --- going on

    @consistent
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


document(AutoencoderTransformer)
