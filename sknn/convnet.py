"""Convolutional networks: a list of layers, or an architecture by its name."""

import copy
from dataclasses import replace
from inspect import cleandoc
from numbers import Integral

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,
)

from . import weights as weight_files
from .architectures import ARCHITECTURES
from .base import ParameterRow, all_or_nothing, consistent, takes
from .data import Source, sound
from .images import IMAGE_SHAPE, TakesImages, check_image_shape
from .layered import LAYERED_TRAINING, LayeredNet, check_names
from .layers import Activation, Dense
from .layers.augmentation import Augmentation
from .layers.base import describe, output_shape, path_of, size
from .losses import Loss
from .nesting import LayersAsParameters, check_layers
from .network import Network
from .summary import summarize
from .supervised import (
    CLASSIFICATION_LOSS,
    REGRESSION_LOSS,
    TARGETS,
    TRAINED,
    ClassifierMethods,
    RegressorMethods,
)
from .training import finite, predict

_LAYERS = {
    "layers": ParameterRow(
        "lenet5",
        [StrOptions(set(ARCHITECTURES)), list, tuple],
        """layers : str or list of layers, default='lenet5'
        The name of an architecture (see :mod:`sknn.architectures`), or layers of
        :mod:`sknn.layers` from the input on. A last ``Dense(n)`` without activation, n the number
        of outputs, is the output layer; else one is added. For two classes, one output is enough,
        and a last ``Dense(2)`` becomes one. Parameters of layers can be searched:
        ``layers__0__filters``.""",
    ),
    **IMAGE_SHAPE,
    "augmentation": ParameterRow(
        None,
        [Augmentation, list, tuple, None],
        """augmentation : layer, list of layers or None, default=None
        Random changes of the training images, anew in each epoch:
        :class:`~sknn.layers.RandomShift`, :class:`~sknn.layers.RandomFlip`,
        :class:`~sknn.layers.RandomCrop`.""",
    ),
}
_CLASSIFIER = {
    **_LAYERS,
    **LAYERED_TRAINING,
    **CLASSIFICATION_LOSS,
    **{k: v for k, v in TARGETS.items() if k not in ("quantile", "huber_delta")},
}
_REGRESSOR = {
    **_LAYERS,
    **LAYERED_TRAINING,
    **REGRESSION_LOSS,
    **{k: v for k, v in TARGETS.items() if k != "class_weight"},
}
_TRANSFORMER = {
    "net": ParameterRow(
        None,
        [BaseEstimator, None],
        """net : ConvNetClassifier, ConvNetRegressor or None, default=None
        The network; None: ``ConvNetClassifier(random_state=0)``.""",
    ),
    "layer": ParameterRow(
        -2,
        [Integral, str],
        """layer : int or str, default=-2
        Which layer's output: its place in the network's `layers_`, or its name. The default is
        what the output layer gets.""",
    ),
}


# --- the estimators

#: What fits leave beside the network, which loading another one forgets.
_LEFT_BY_FITS = (
    "loss_", "best_loss_", "loss_curve_", "validation_loss_curve_", "validation_scores_",
    "best_validation_score_", "n_iter_", "t_", "feature_names_in_", "_optimizer",
    "_no_improvement_count", "_raw_values",
)  # fmt: skip


class _BaseConvNet(LayersAsParameters, TakesImages, LayeredNet):
    """What the convolutional networks share: all but the constructor."""

    # --- the network

    def _changes(self):
        """Return the layers of the augmentation, checked."""
        changes = [] if self.augmentation is None else self.augmentation
        changes = check_layers(changes, "augmentation")
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
        if isinstance(last, Dense) and last.activation in ("softmax", Activation("softmax")):
            raise ValueError(
                f"layers end with {last}; expected an output layer without activation: softmax or "
                "another is applied as output_activation says."
            )
        if isinstance(last, Dense) and last.activation is None:
            if last.units == n_outputs:
                return layers
            if n_outputs == 1 and last.units == 2 and self._classifies:
                return [*layers[:-1], replace(last, units=1)]
        return [*layers, Dense(n_outputs)]

    def _make_network(self, inputs, n_outputs, out, loss):
        """Return the Network that the parameters describe."""
        changes = self._changes()
        layers = self._make_layers(output_shape(changes, self.image_shape_), n_outputs)
        network = Network((*layers, out), self.image_shape_, loss, tuple(changes))
        _check_augmentation(network)
        check_names(network)
        if network.output_shape != (n_outputs,):
            raise ValueError(
                f"layers give {describe(network.output_shape)} for a sample; expected {n_outputs} "
                "units. Before the output layer an image or a sequence must become one row of "
                "numbers, by Flatten(), by a pool, or by a recurrent layer without "
                "return_sequences."
            )
        return network

    @consistent
    def summary(self, image_shape=None):
        """Return a table of the layers: output shapes, parameters, multiply-adds.

        Of a network that is not fitted yet, it shows the layers as they are given, since the number
        of outputs is not known.

        Parameters
        ----------
        image_shape : tuple, default=None
            The shape of an image, for a network that is not fitted yet; None: the fitted one's,
            or the parameter's.

        Returns
        -------
        summary : :class:`~sknn.summary.Summary`
            To print, to show in a notebook, or as a DataFrame.
        """
        if self._is_fitted() and image_shape is None:
            return super().summary()
        shape = self.image_shape if image_shape is None else image_shape
        if shape is None:
            raise ValueError("image_shape is needed for the summary of a network without data.")
        shape, layers = output_shape(self._changes(), check_image_shape(shape)), self.layers
        if isinstance(layers, str):
            layers = ARCHITECTURES[layers](shape)
        return summarize(check_layers(layers), shape)

    # --- files

    @consistent
    def save_weights(self, path):
        """Write the parameters to a safetensors file, under PyTorch's names and layouts.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        check_is_fitted(self)
        weights = self._weights
        network = weights.network
        weight_files.save(path, network.layers, network.start_shape, weights.values)

    @all_or_nothing
    def load_weights(self, path, classes=None, ignore=()):
        """Read the parameters from a safetensors file; the estimator is then fitted.

        Tensors have the names that PyTorch gives them, and torchvision's for the architectures
        here. `image_shape` and `layers` say what network it is; for two classes it has one output.
        It computes in `dtype`, or in float32. To train it further on the same classes, set
        ``warm_start=True``, else `fit` begins anew.

        Parameters
        ----------
        path : str or path-like
            The file.
        classes : array-like of shape (n_classes,), default=None
            The labels of a classifier's outputs; None: 0, 1, 2, ... for a ``Dense`` at the end of
            `layers`.
        ignore : list of str, default=()
            Layers, by the beginnings of their names, that are not read but start at random, such
            as the output layer of another task.

        Returns
        -------
        self : estimator
            The estimator.

        Raises
        ------
        ValueError
            If a tensor is missing, too many, or of another shape; the first is named, and nothing
            has changed.
        """
        self._validate_params()
        if self.image_shape is None:
            raise ValueError("image_shape is None; loading weights needs the shape of the images.")
        self.image_shape_ = check_image_shape(self.image_shape)
        self.n_features_in_ = size(self.image_shape_)
        network = self._describe_network(self.n_features_in_, self._outputs_to_load(classes))
        dtype, first = np.dtype(self.dtype or np.float32), None
        if len(ignore):
            random_state = check_random_state(self.random_state)
            first = self._first_values(network, random_state, dtype, None, None)
        values = weight_files.load(path, network.layers, network.start_shape, ignore, first)
        for name in _LEFT_BY_FITS:
            vars(self).pop(name, None)
        vars(self).update(self._attributes(network, [value.astype(dtype) for value in values]))
        return self

    def _outputs_to_load(self, classes):
        """Return the number of outputs of a network to load, and make the labels known."""
        layers = [] if isinstance(self.layers, str) else check_layers(self.layers)
        last = layers[-1] if layers else None
        n = last.units if isinstance(last, Dense) and last.activation is None else None
        if not self._classifies:
            return n or 1
        if classes is None:
            if n is None:
                raise ValueError(
                    "classes is None, and layers do not end with a Dense; expected the labels of "
                    "the outputs, such as range(10)."
                )
            classes = np.arange(max(n, 2))
        classes = np.asarray(classes)
        if classes.ndim != 1 or len(classes) < 2:
            raise ValueError(f"classes has the shape {classes.shape}; expected at least 2 labels.")
        self._label_binarizer = LabelBinarizer().fit(classes)
        self.classes_ = self._label_binarizer.classes_
        return 1 if len(self.classes_) == 2 else len(self.classes_)


def _check_augmentation(network):
    """Check that nothing that learns comes before a random change: no gradient passes it."""
    learned = None
    for path, layer, _ in network.primitives:
        if isinstance(layer, Augmentation) and learned is not None:
            raise ValueError(
                f"{path}: {layer} comes after {learned}, which learns; it must come before."
            )
        learned = learned or (layer if layer.learns else None)


_ATTRIBUTES = """layers_ : list of layers
        The network, from input to output layer.
    image_shape_ : tuple
        Height, width and channels of an image.
    weights_ : dict of str to dict of str to ndarray
        Copies of the parameters, by layer: 'kernel', of shape (height, width, channels, filters)
        or (inputs, units), 'bias', 'gamma', 'beta', 'mean' and 'variance'.
    """ + TRAINED


@takes(_CLASSIFIER, positional=2)
class ConvNetClassifier(ClassifierMethods, ClassifierMixin, _BaseConvNet):
    """A convolutional network for classification.

    X is images, (n_samples, height, width) or (n_samples, height, width, channels), or rows of
    numbers, which `image_shape` makes images of; without it a row is an image of one line.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    {attributes}

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sknn import ConvNetClassifier
    >>> from sknn.layers import Conv2D, MaxPooling2D
    >>> X, y = load_digits(return_X_y=True)
    >>> layers = [Conv2D(16, 3, padding="same", activation="relu"), MaxPooling2D(2)]
    >>> net = ConvNetClassifier(layers, (8, 8), batch_size=20, max_iter=10, random_state=0)
    >>> bool(net.fit(X / 16, y).score(X / 16, y) > 0.95)
    True
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@takes(_REGRESSOR, positional=2)
class ConvNetRegressor(RegressorMethods, RegressorMixin, _BaseConvNet):
    """A convolutional network for regression.

    X is images, (n_samples, height, width) or (n_samples, height, width, channels), or rows of
    numbers, which `image_shape` makes images of; without it a row is an image of one line.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

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


@takes(_TRANSFORMER, positional=2)
class ConvNetTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The activations of a layer of a convolutional network, as features.

    A network that is fitted, or has loaded its weights, is used as it is, also by clones of the
    transformer: it may stand at the beginning of a pipeline, and its parameters change nothing any
    more. One that is not is fitted first.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    net_ : estimator
        The fitted network.
    n_features_in_, feature_names_in_
        Number of features, and their names where X has them.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sknn import ConvNetClassifier, ConvNetTransformer
    >>> X, y = load_digits(return_X_y=True)
    >>> net = ConvNetClassifier(image_shape=(8, 8), batch_size=20, max_iter=5, random_state=0)
    >>> digits = y < 5
    >>> net = net.fit(X[digits] / 16, y[digits])
    >>> others = make_pipeline(ConvNetTransformer(net), LogisticRegression(max_iter=1000))
    >>> bool(others.fit(X[~digits] / 16, y[~digits]).score(X[~digits] / 16, y[~digits]) > 0.9)
    True
    """

    def __sklearn_clone__(self):
        net = self.net
        fitted = isinstance(net, _BaseConvNet) and net._is_fitted()
        return type(self)(copy.copy(net) if fitted else clone(net, safe=False), self.layer)

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the network, if it is not fitted yet.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The samples.
        y : array-like of shape (n_samples,), default=None
            Their targets; needed for a network that is not fitted yet.

        Returns
        -------
        self : estimator
            The transformer.
        """
        net = ConvNetClassifier(random_state=0) if self.net is None else _thawed(self.net)
        if not isinstance(net, _BaseConvNet):
            raise TypeError(f"net is {net!r}; expected a ConvNetClassifier or ConvNetRegressor.")
        net = copy.copy(net)  # as it is now: a later fit of it makes another network
        if net._is_fitted():
            net._validate(X)
        else:
            if y is None:
                raise ValueError(
                    "This ConvNetTransformer requires y to be passed, but the target y is None: "
                    "its network is not fitted yet."
                )
            net = clone(net).fit(X, y)
        weights = _cut(net, self.layer)
        self.net_, self._weights = net, weights
        self._n_features_out = weights.network.outputs
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(net, name):
                setattr(self, name, getattr(net, name))
        return self

    @consistent
    def transform(self, X):
        """Return the layer's outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The samples.

        Returns
        -------
        features : ndarray of shape (n_samples, n_outputs)
            A row a sample; an image in the order (height, width, channels).
        """
        check_is_fitted(self)
        X = sound(X) if hasattr(X, "ndim") else np.asarray(X)
        if X.ndim < 3:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        else:
            X = self.net_._validate(X)
        weights = self._weights
        return finite(
            predict(weights.network, weights.packed, weights.dtype, Source(X), self.net_.n_jobs)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        net = _thawed(self.net)
        tags.target_tags.required = not (isinstance(net, _BaseConvNet) and net._is_fitted())
        return tags


def _thawed(net):
    """Return the estimator that scikit-learn's FrozenEstimator holds."""
    return net.estimator if isinstance(net, FrozenEstimator) else net


def _cut(net, layer):
    """Return the weights of a network up to one of its layers: those of all of it, shared."""
    names = [path_of(some, "layers", i) for i, some in enumerate(net.layers_)]
    n = len(names)
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"layer is {layer!r}; expected one of {names}.")
        place = names.index(layer)
    elif isinstance(layer, Integral) and not isinstance(layer, bool):
        if not -n <= layer < n:
            raise ValueError(f"layer is {layer}; expected one of the {n} layers, in [{-n}, {n}).")
        place = int(layer) % n
    else:
        raise TypeError(f"layer is {layer!r}; expected an int or a str.")
    layers = (*net.layers_[: place + 1], Activation("identity"))
    whole = net._weights.network
    loss = Loss("squared_error", "identity")
    network = Network(layers, whole.inputs, loss, whole.augmentation)
    # The parameters up to here lie where they lie in the whole network.
    return net._weights.of(network)


for _class in (ConvNetClassifier, ConvNetRegressor):
    if _class.__doc__:
        _class.__doc__ = _class.__doc__.replace("{attributes}", cleandoc("    " + _ATTRIBUTES))
