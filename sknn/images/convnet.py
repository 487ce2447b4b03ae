"""Convolutional networks: from a list of layers, or from the name of an architecture."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sklearn.base import ClassifierMixin, RegressorMixin

from ..architectures import ARCHITECTURES
from ..engine.network import Network
from ..estimator.groups import ForClasses, ForNumbers, LayeredTraining
from ..estimator.layer_lists import LayersAsParameters, check_layers
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import LayeredNet, check_names
from ..estimator.parameters import Parameters, param
from ..estimator.transactions import consistent
from ..layers import Activation, Dense, Layer
from ..layers.augmentation import Augmentation
from ..layers.base import describe, output_shape
from ..summary import Summary, summarize
from .inputs import ImageShape, TakesImages, check_image_shape

Architecture = Literal[
    "lenet5", "alexnet", "vgg16", "vgg19", "googlenet", "resnet18", "resnet34", "resnet50",
    "resnet101", "resnet152", "resnet20", "densenet121", "densenet169", "densenet201", "densenet40",
]  # fmt: skip


class _Layers(Parameters):
    """The layers of a convolutional network."""

    layers: Architecture | Sequence[Layer] = param(
        """
        The name of an architecture (see :mod:`sknn.architectures`), or a list of layers from
        :mod:`sknn.layers`, from input to output. If the last layer is ``Dense(n)`` without an
        activation, where n is the number of outputs, it is the output layer; otherwise, an output
        layer is added. Two classes need one output only: a last ``Dense(2)`` becomes
        ``Dense(1)``. The parameters of layers can be tuned by a search, as in
        ``layers__0__filters``.""",
        default="lenet5", valid=[list, tuple], kind="str or list of layers", kw_only=False,
    )


class ImageLayers(ImageShape, _Layers):
    """The parameters that define a convolutional network."""

    augmentation: Augmentation | Sequence[Augmentation] | None = param(
        """
        Data augmentation: random changes of the training images, drawn anew in each epoch. One or
        several of :class:`~sknn.layers.RandomShift`, :class:`~sknn.layers.RandomFlip` and
        :class:`~sknn.layers.RandomCrop`; None: no augmentation.""",
        default=None, valid=[Augmentation, list, tuple], kind="layer, list of layers or None",
    )


# --- the estimators

class _BaseConvNet(LayersAsParameters, TakesImages, LayeredNet):
    """Base class of the convolutional networks: everything except the constructor."""

    # --- the network

    def _changes(self):
        """Return the augmentation layers, checked."""
        changes = check_layers(self.augmentation or [], "augmentation")
        for change in changes:
            if not isinstance(change, Augmentation):
                raise TypeError(
                    f"augmentation has {change}; expected RandomShift, RandomFlip or RandomCrop."
                )
        return changes

    def _make_layers(self, image_shape, n_outputs):
        """Return the specifications of all layers, the output layer included."""
        if isinstance(self.layers, str):
            return ARCHITECTURES[self.layers](image_shape, n_outputs)
        layers = check_layers(self.layers)
        last = layers[-1] if layers else None
        if not isinstance(last, Dense):
            return [*layers, Dense(n_outputs)]
        if last.activation in ("softmax", Activation("softmax")):
            raise ValueError(
                f"layers end with {last}; expected an output layer without activation: softmax or "
                "another is applied as output_activation says."
            )
        if last.activation is not None:
            return [*layers, Dense(n_outputs)]
        if n_outputs == 1 and last.units == 2 and self._classifies:
            return [*layers[:-1], replace(last, units=1)]
        if last.units != n_outputs:
            n, what = n_outputs, "target"
            if self._classifies and hasattr(self, "classes_"):
                n, what = len(self.classes_), "class"
            plural = "" if n == 1 else "es" if what == "class" else "s"
            raise ValueError(
                f"layers end with {last}; a last Dense without activation is the output layer, and "
                f"there {'is' if n == 1 else 'are'} {n} {what}{plural}: expected "
                f"Dense({n_outputs}), or none, since one is added, or activation='identity' for a "
                "linear hidden layer."
            )
        return layers

    def _network(self, task, inputs, n_outputs):
        """Return the Network that the parameters describe, and no fitted attributes."""
        out, loss = task.head(n_outputs)
        changes = self._changes()
        layers = self._make_layers(output_shape(changes, inputs.inputs), n_outputs)
        network = Network((*layers, out), inputs.inputs, loss, tuple(changes))
        _check_augmentation(network)
        check_names(network)
        if network.output_shape != (n_outputs,):
            raise ValueError(
                f"layers give {describe(network.output_shape)} per sample; expected {n_outputs} "
                "units. Before the output layer, an image or a sequence must become a vector, by "
                "Flatten(), global pooling, or a recurrent layer without return_sequences."
            )
        return network, {}

    @consistent
    def summary(self, image_shape=None) -> Summary:
        """Return a table of the layers: output shapes, parameters and multiply-adds.

        Before `fit`, it shows the layers as given, without an added output layer, since the number
        of outputs is not known yet.

        Parameters
        ----------
        image_shape : tuple, default=None
            Shape of an image, for a network that is not fitted yet; None: `image_shape_` of a
            fitted network, else the parameter `image_shape`.

        Returns
        -------
        summary : :class:`~sknn.summary.Summary`
            The table, which can be printed, displayed in a notebook, or converted to a DataFrame.

        Raises
        ------
        ValueError
            If the shape of the images is not known.
        """
        if self.__sklearn_is_fitted__() and image_shape is None:
            return super().summary()
        shape = self.image_shape if image_shape is None else image_shape
        if shape is None:
            raise ValueError("image_shape is needed for the summary of a network before fit.")
        shape, layers = output_shape(self._changes(), check_image_shape(shape)), self.layers
        if isinstance(layers, str):
            layers = ARCHITECTURES[layers](shape)
        return summarize(check_layers(layers), shape)

    # --- files

    def _layers_in_files(self, network):
        return network.layers  # as given, dropout included

    def _outputs_to_load(self, sizes, inputs, classes):
        n = self._output_units()
        if n is None or classes is not None or self.__sklearn_is_fitted__():
            return super()._outputs_to_load(sizes, inputs, classes)
        if not self._classifies:
            return n
        self._know_classes(range(max(n, 2)))
        return super()._outputs_to_load(sizes, inputs, self.classes_)

    def _output_units(self):
        """Return the number of units of the output layer in `layers`, or None."""
        layers = [] if isinstance(self.layers, str) else check_layers(self.layers)
        last = layers[-1] if layers else None
        return last.units if isinstance(last, Dense) and last.activation is None else None


def _check_augmentation(network):
    """Check that no trainable layer comes before an augmentation, which has no gradient."""
    learned = None
    for path, layer, _ in network.primitives:
        if isinstance(layer, Augmentation) and learned is not None:
            raise ValueError(
                f"{path}: {layer} comes after {learned}, which is trainable; it must come first."
            )
        learned = learned or (layer if layer.learns else None)


class ConvNetClassifier(
    ForClasses, LayeredTraining, ImageLayers, ClassifierMethods, ClassifierMixin, _BaseConvNet
):
    """A convolutional network for classification.

    X is an array of images of shape (n_samples, height, width) or (n_samples, height, width,
    channels), or of flattened images of shape (n_samples, n_features), which are reshaped to
    `image_shape`. Without `image_shape`, each row is an image with a height of 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import ConvNetClassifier
    >>> from sknn.layers import Conv2D, MaxPooling2D
    >>> X, y = load_digits(return_X_y=True)
    >>> layers = [Conv2D(16, 3, padding="same", activation="relu"), MaxPooling2D(2)]
    >>> net = ConvNetClassifier(layers, (8, 8), batch_size=20, max_iter=10, random_state=0)
    >>> bool(net.fit(X / 16, y).score(X / 16, y) > 0.95)
    True
    """


class ConvNetRegressor(
    ForNumbers, LayeredTraining, ImageLayers, RegressorMethods, RegressorMixin, _BaseConvNet
):
    """A convolutional network for regression.

    X is an array of images of shape (n_samples, height, width) or (n_samples, height, width,
    channels), or of flattened images of shape (n_samples, n_features), which are reshaped to
    `image_shape`. Without `image_shape`, each row is an image with a height of 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknn import ConvNetRegressor
    >>> from sknn.layers import Conv2D, Flatten
    >>> X, y = load_digits(return_X_y=True)
    >>> layers = [Conv2D(8, 3, activation="relu"), Flatten()]
    >>> net = ConvNetRegressor(layers, (8, 8), batch_size=20, max_iter=20, random_state=0)
    >>> bool(net.fit(X / 16, y).score(X / 16, y) > 0.5)
    True
    """
