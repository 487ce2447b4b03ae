"""Feature extraction by a layer of a convolutional network."""

import copy
from typing import Self

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from ..engine.prediction import finite
from ..engine.weights import Weights
from ..estimator.base import Estimator, agree
from ..estimator.checks import sound, validated
from ..estimator.groups import Features
from ..estimator.inputs import Rows
from ..estimator.parameters import Array, fitted, param
from ..estimator.transactions import all_or_nothing, consistent
from ..estimator.wrapping import take_features, thawed
from .convnet import ConvNetClassifier, ConvNetRegressor, _BaseConvNet
from .inputs import as_images


class ConvNetTransformer(
    Features, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator
):
    """Feature extraction: returns the activations of a layer of a convolutional network.

    A network that is fitted, or has loaded weights, is used as it is, also in clones of the
    transformer: the transformer can be the first step of a pipeline, and the parameters of the
    network have no effect any more. A network that is not fitted is fitted first.

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

    net: BaseEstimator | None = param(
        "The network, fitted or not; None: ``ConvNetClassifier(random_state=0)``.",
        default=None, kind="ConvNetClassifier, ConvNetRegressor or None", kw_only=False,
    )
    layer: int | str = param(
        """
        The layer whose activations are returned: its index in the network's `layers_`, or its
        name. The default is the input of the output layer.""",
        default=-2, kw_only=False,
    )

    net_: ConvNetClassifier | ConvNetRegressor = fitted("The fitted network.", kind="estimator")

    _remembered = {"_weights": Weights, "_n_features_out": int}

    def _check_loaded(self):
        super()._check_loaded()
        agree("net_", _is_fitted(self.net_), True)
        agree("n_features_in_", self.n_features_in_, self.net_.n_features_in_)
        network = self._weights.network
        agree("_weights", network.inputs, self.net_.image_shape_)
        agree("_n_features_out", self._n_features_out, network.outputs)

    def __sklearn_clone__(self):
        net = self.net
        copied = copy.copy(net) if _is_fitted(net) else clone(net, safe=False)
        return type(self)(copied, self.layer)

    @all_or_nothing
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None) -> Self:
        """Fit the network, if it is not fitted yet.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The samples.
        y : array-like of shape (n_samples,), default=None
            The targets; needed only if the network is not fitted yet.

        Returns
        -------
        self : estimator
            The transformer.

        Raises
        ------
        TypeError
            If `net` is not a convolutional network.
        ValueError
            If the network is not fitted yet and y is None.
        """
        net = ConvNetClassifier(random_state=0) if self.net is None else thawed(self.net)
        if not isinstance(net, _BaseConvNet):
            raise TypeError(f"net is {net!r}; expected a ConvNetClassifier or ConvNetRegressor.")
        net = copy.copy(net)  # its present state: fitting it later must not change this one
        if net.__sklearn_is_fitted__():
            net._read(X)
        else:
            if y is None:
                raise ValueError(
                    "This ConvNetTransformer requires y to be passed, but the target y is None: "
                    "its network is not fitted yet. Call fit(X, y), or fit the network first."
                )
            net = clone(net).fit(X, y)
        weights = net._up_to(self.layer)
        self.net_, self._weights = net, weights
        self._n_features_out = weights.network.outputs
        take_features(self, net)
        return self

    @consistent
    def transform(self, X) -> Array:
        """Return the layer's activations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The samples.

        Returns
        -------
        features : ndarray of shape (n_samples, n_outputs)
            One row per sample; images are flattened in the order (height, width, channels).
        """
        check_is_fitted(self, msg=_UNFITTED[_is_fitted(thawed(self.net))])
        X = sound(as_images(X))
        if X.ndim < 3:
            X = validated(self, X, accept_sparse=["csr", "csc"], reset=False)
        else:
            X = self.net_._read(X).values
        weights = self._weights.on(self.net_.device)
        return finite(Rows(X, self.net_.image_shape_).run(weights, self.net_.n_jobs))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = not _is_fitted(thawed(self.net))
        return tags


#: Error messages before `fit`, by whether the network is fitted.
_UNFITTED = {
    True: (
        "This %(name)s instance is not fitted yet. Call fit(X), which uses the network as it is."
    ),
    False: (
        "This %(name)s instance is not fitted yet, nor is its network. Call fit(X, y), which fits "
        "it, too; or fit the network first."
    ),
}


def _is_fitted(net):
    """Return whether an estimator is a convolutional network that is fitted."""
    return isinstance(net, _BaseConvNet) and net.__sklearn_is_fitted__()
