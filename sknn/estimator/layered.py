"""What networks that are given as layers share: their parameters are held packed."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..engine.prediction import predict
from ..engine.weights import Weights
from ..layers import (
    Activation,
    BatchNormalization,
    Dropout,
    GaussianNoise,
    GaussianSampling,
    MaskingNoise,
    SaltAndPepperNoise,
)
from ..layers.augmentation import Augmentation
from ..summary import summarize
from ..tape.sources import Source
from .supervised import SupervisedNet
from .transactions import consistent


def has_diverged(progress):
    """Whether the loss, the weights, or the sums of their squares, are no finite numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = [np.vdot(value, value) for value in progress.values]
    return not np.isfinite([progress.loss or 0.0, *sums]).all()


class LayeredNet(SupervisedNet):
    """A network of layers: all but the constructor, the data and ``_make_network``."""

    def _is_fitted(self):
        return hasattr(self, "_weights")

    def __sklearn_is_fitted__(self):
        return self._is_fitted()

    def _computing_dtype(self, X):
        """Return the type to compute in, for X or (None) as the weights are."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if X is None:
            return self._weights.dtype
        double = X.dtype.kind == "f" and X.dtype.itemsize >= 8
        return np.dtype(np.float64 if double else np.float32)

    def _check_trainable(self, network):
        found = [*network.augmentation, *(layer for _, layer, _ in network.primitives)]
        if any(isinstance(a, Activation) and a.function == "step" for a in found):
            raise ValueError(
                "Activation('step') has no useful derivative, so a network cannot be trained with "
                "it."
            )
        random = (
            Augmentation, Dropout, GaussianNoise, GaussianSampling, MaskingNoise,
            SaltAndPepperNoise,
        )  # fmt: skip
        trained = [a for a in found if isinstance(a, BatchNormalization) and a.trainable]
        if self.solver == "lbfgs" and (trained or any(isinstance(a, random) for a in found)):
            raise ValueError(
                "solver='lbfgs' goes over all samples at once and needs the same loss each time: "
                "random layers, augmentation and batch normalisation are for the other solvers."
            )
        if not any(layer.learns for layer in found):
            raise ValueError("No layer is left to train: all of them have trainable=False.")

    def _first_values(self, network, random_state, dtype, X, weights):
        """Draw the first parameters."""
        initializer = self._drawn_by()
        drawn = [(a, shape) for _, a, shape in network.primitives if a.parameters(shape, 1)]
        values = []
        for i, (layer, shape) in enumerate(drawn):
            last = i == len(drawn) - 1
            values += layer.draw(shape, random_state, initializer, last)
        return [value.astype(dtype) for value in self._with_given(values)]

    def _values_for(self, network, dtype):
        """Return the fitted parameters to go on from, checked against the network."""
        values = self._weights.values
        shapes = [p.shape for group in network.parameters(dtype) for p in group]
        if [value.shape for value in values] != shapes:
            raise ValueError(
                "layers have changed since the last fit, by their own parameters or those of the "
                "estimator: the weights do not fit the network any more. Fit anew, with "
                "warm_start=False, or set them back."
            )
        return [value.astype(dtype) for value in values]

    def _check_outcome(self, progress):
        finite = all(np.isfinite(value).all() for value in progress.values)
        if finite and has_diverged(progress):
            largest = max(np.abs(value).max(initial=0.0) for value in progress.values)
            raise ValueError(
                f"Training has diverged: the loss is {progress.loss}, the largest weight "
                f"{largest:g}. The data may have large values and need to be scaled; or "
                "learning_rate_init="
                f"{self.learning_rate_init:g} is too large, or gradients need clip_norm."
            )
        super()._check_outcome(progress)

    def _attributes(self, network, values):
        """Return the fitted attributes that hold the network's parameters."""
        return {
            "_weights": Weights(network, values, values[0].dtype),
            "layers_": list(network.layers[:-1]),
        }

    def _predict(self, X):
        """Return the network's outputs."""
        weights = self._weights
        return predict(weights.network, weights.packed, weights.dtype, Source(X), self.n_jobs)

    @property
    @consistent
    def weights_(self):
        """Copies of the parameters, by layer: a dict of 'kernel', 'bias', 'gamma' and so on."""
        check_is_fitted(self)
        network, values = self._weights.network, iter(self._weights.values)
        groups = network.parameters(self._weights.dtype)
        return {
            path: {p.name: next(values) for p in group}
            for (path, _, _), group in zip(network.primitives, groups, strict=True)
            if group
        }

    @consistent
    def summary(self):
        """Return a table of the layers: output shapes, parameters, multiply-adds.

        Returns
        -------
        summary : :class:`~sknn.summary.Summary`
            To print, to show in a notebook, or as a DataFrame.
        """
        check_is_fitted(self)
        return summarize(self.layers_, self._weights.network.start_shape)


def check_names(network):
    """Check that no two layers with parameters have one name."""
    paths = [path for path, layer, shape in network.primitives if layer.parameters(shape, 1)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"Two layers have the name {twice!r}; expected names of their own.")
