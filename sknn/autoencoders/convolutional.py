"""Convolutional autoencoders."""

from collections.abc import Sequence

from sklearn.utils.validation import check_is_fitted

from ..estimator.layer_lists import LayersAsParameters, check_layers
from ..estimator.parameters import Parameters, param
from ..estimator.transactions import consistent
from ..images.convnet import ConvNetClassifier
from ..images.inputs import ImageShape, TakesImages
from ..layers import (
    Activation,
    ActivityRegularization,
    ContractivePenalty,
    Conv2D,
    Layer,
    MaxPooling2D,
    UpSampling2D,
)
from .base import Autoencoder, AutoencoderTraining, ForReconstruction, Regularization


class Coders(Parameters):
    """Encoder and decoder as layers."""

    encoder: Sequence[Layer] | None = param(
        """
        Layers of :mod:`sknn.layers` from the image to the code, which is their output, flattened.
        Layer parameters can be searched over, as in ``encoder__0__filters``. If encoder and
        decoder are both None: 3x3 convolutions with 16, 8 and 8 filters, each followed by 2x2 max
        pooling, and a decoder that mirrors them.""",
        default=None, valid=[list, tuple], kind="list of layers or None", kw_only=False,
    )
    decoder: Sequence[Layer] | None = param(
        """
        Layers from the code, in the shape in which the encoder outputs it, to the image. The last
        layer has no activation, since `output_activation` is applied to its output.""",
        default=None, valid=[list, tuple], kind="list of layers or None", kw_only=False,
    )


def textbook_layers(image_shape):
    """Return encoder and decoder for images: three convolutions with pooling, and their mirror.

    Where height or width is not a multiple of 8, the last two convolutions crop the excess: pooling
    takes 28x28 to 14, 7 and 4; upsampling takes that to 8 and 16, a convolution without padding
    crops it to 14, and upsampling takes that to 28.
    """
    sizes = [image_shape[:2]]
    for _ in range(3):
        sizes.append(tuple(-(-extent // 2) for extent in sizes[-1]))
    factors = [tuple(1 + (extent > 1) for extent in some) for some in sizes[:3]]
    encoder = []
    for filters, factor in zip((16, 8, 8), factors, strict=True):
        encoder += [_conv(filters, activation="relu"), MaxPooling2D(factor, padding="same")]
    decoder, reached = [], sizes[3]
    for filters, factor in zip((8, 8), reversed(factors[1:]), strict=False):
        decoder += [_conv(filters, activation="relu"), UpSampling2D(factor)]
        reached = _scaled(reached, factor)
    decoder += [_cut(16, reached, sizes[1], "relu"), UpSampling2D(factors[0])]
    reached = _scaled(sizes[1], factors[0])
    return encoder, [*decoder, _cut(image_shape[2], reached, sizes[0], None)]


def _scaled(sizes, factors):
    return tuple(extent * factor for extent, factor in zip(sizes, factors, strict=True))


def _conv(filters, **settings):
    return Conv2D(filters, 3, padding="same", **settings)


def _cut(filters, sizes, wanted, activation):
    """Return a convolution whose output may be smaller than its input."""
    excess = [extent - less for extent, less in zip(sizes, wanted, strict=True)]
    if not any(excess):
        return _conv(filters, activation=activation)
    kernel = tuple(more + 1 if more else 3 for more in excess)
    padding = tuple((0, 0) if more else (1, 1) for more in excess)
    return Conv2D(filters, kernel, padding=padding, activation=activation)


def check_coders(encoder, decoder, out):
    """Return encoder and decoder as lists of layers, checked."""
    if (encoder is None) != (decoder is None):
        missing = "decoder" if decoder is None else "encoder"
        raise ValueError(f"{missing} is None; encoder and decoder go together.")
    encoder, decoder = check_layers(encoder, "encoder"), check_layers(decoder, "decoder")
    for name, layers in (("encoder", encoder), ("decoder", decoder)):
        if not layers:
            raise ValueError(f"{name} is empty; expected at least one layer.")
    last = decoder[-1]
    own = last if isinstance(last, Activation) else getattr(last, "activation", None)
    if own not in (None, "identity", Activation("identity")) and out != "identity":
        raise ValueError(
            f"decoder ends with {decoder[-1]}; expected no activation there: output_activation, "
            f"which is {out!r}, is applied to what it gives."
        )
    return encoder, decoder


class ConvAutoencoderTransformer(
    AutoencoderTraining, Regularization, ForReconstruction, ImageShape, Coders,
    LayersAsParameters, TakesImages, Autoencoder,
):  # fmt: skip
    """A convolutional autoencoder: plain, sparse or denoising.

    X holds images, of shape (n_samples, height, width) or (n_samples, height, width, channels), or
    one row of features per sample, which is reshaped to `image_shape`; without `image_shape`, a row
    is an image of height 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import ConvAutoencoderTransformer
    >>> X = load_digits().images / 16
    >>> net = ConvAutoencoderTransformer(loss="log_loss", max_iter=30, random_state=0).fit(X)
    >>> net.transform(X).shape, net.reconstruct(X).shape
    ((1797, 8), (1797, 8, 8))
    """

    _layer_lists = ("encoder", "decoder")

    def _parts(self, inputs, out):
        if self.encoder is None and self.decoder is None:
            encoder, decoder = textbook_layers(inputs.inputs)
        else:
            encoder, decoder = check_coders(self.encoder, self.decoder, out.function)
        if self.activity_l1:
            encoder = [*encoder, ActivityRegularization(float(self.activity_l1))]
        return encoder, decoder

    @consistent
    def to_classifier(self, **params) -> ConvNetClassifier:
        """Return a classifier initialized with the encoder, to fine-tune on labels.

        Parameters
        ----------
        **params : dict of str to object
            Parameters of the classifier, except for `layers`, `image_shape` and `initializer`,
            which follow from the encoder. `fit` adds an output layer.

        Returns
        -------
        classifier : :class:`~sknn.ConvNetClassifier`
            Not fitted. Its `initializer` holds copies of the encoder's weights, so its clones start
            from them, too.
        """
        check_is_fitted(self)
        weights = self._encoder()
        layers = [
            layer
            for layer in weights.network.layers
            if not isinstance(layer, (ActivityRegularization, ContractivePenalty))
        ]  # and the last is an activation, so that no layer is taken for the output layer
        params = {"dtype": self.dtype} | params
        return ConvNetClassifier(layers, self.image_shape_, initializer=weights.values, **params)
