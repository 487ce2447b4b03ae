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
        Layers of :mod:`sknn.layers` from the image to the code; what they give is the code, as a
        row of numbers. Parameters of layers can be searched: ``encoder__0__filters``. None, for
        both: convolutions with 16, 8 and 8 filters of 3 by 3, each followed by a pool of 2 by 2,
        and their way back.""",
        default=None, valid=[list, tuple], kind="list of layers or None", kw_only=False,
    )
    decoder: Sequence[Layer] | None = param(
        """
        Layers from the code, of the shape that the encoder gives it, to the image; the last is
        without an activation, which `output_activation` says.""",
        default=None, valid=[list, tuple], kind="list of layers or None", kw_only=False,
    )


def textbook_layers(image_shape):
    """Return encoder and decoder for images: three convolutions and pools, and their way back.

    Where sizes are no multiples of 8, the last two convolutions cut off what is too much: of 28 by
    28, pools make 14, 7 and 4, enlarging 8 and 16, of which a convolution without padding leaves
    14, and enlarging 28.
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
    """Return a convolution from images of some sizes to ones that may be smaller."""
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

    X is images, (n_samples, height, width) or (n_samples, height, width, channels), or rows of
    numbers, which `image_shape` makes images of; without it a row is an image of one line.

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
        """Return a classifier that begins with the encoder: to train it on with labels.

        Parameters
        ----------
        **params : dict of str to object
            Parameters of the classifier, but for `layers`, `image_shape` and `initializer`, which
            follow from the encoder. An output layer is added when it is fitted.

        Returns
        -------
        classifier : :class:`~sknn.ConvNetClassifier`
            Not fitted. Its `initializer` holds copies of the encoder's weights, so that clones of
            it begin with them too.
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
