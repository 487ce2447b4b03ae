"""What estimators do with files of weights: write them, read them, begin with them."""

import os
from typing import Self

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..files import safetensors
from ..layers import Dropout
from .inputs import Rows
from .transactions import all_or_nothing, consistent

#: What fits leave beside the network, which loading another one forgets.
_LEFT_BY_FITS = (
    "loss_", "best_loss_", "loss_curve_", "learning_rate_curve_", "validation_loss_curve_",
    "validation_scores_", "best_validation_score_", "n_iter_", "t_", "feature_names_in_",
    "_optimizer", "_no_improvement_count", "_raw_values", "_initialized",
    "pretraining_loss_curves_", "step_loss_curve_", "_moments",
)  # fmt: skip


class WeightFiles:
    """Weights in safetensors files, for networks."""

    @consistent
    def save_weights(self, path) -> None:
        """Write the parameters to a safetensors file, under PyTorch's names and layouts.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        check_is_fitted(self)
        weights = self._held_weights()
        network = weights.network
        safetensors.save(path, self._layers_in_files(network), network.start_shape, weights.values)

    @all_or_nothing
    def load_weights(self, path, classes=None, ignore=()) -> Self:
        """Read the parameters from a safetensors file; the estimator is then fitted.

        Tensors have the names that PyTorch gives them, and torchvision's for the architectures
        here. The parameters of the estimator say which network it is (for images, with
        `image_shape`); the numbers of features and outputs are those of the last fit, or else the
        file's. A network of two classes has one output: of two in the file it becomes the
        difference. It computes in `dtype`, or as the last fit did, or in float32. To train it
        further on the same classes, set ``warm_start=True``, or give the path as `initializer`,
        which clones keep; else `fit` begins anew. Models of text must be fitted before, so that
        their characters are known.

        Parameters
        ----------
        path : str or path-like
            The file.
        classes : array-like of shape (n_classes,), default=None
            The labels of a classifier's outputs; None: those of the last fit, or 0, 1, 2, ...
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
        with safetensors.opened(path) as file:
            sizes = file.shapes
        dtype = self._dtype_to_load()
        network, attributes = self._to_load(sizes, classes)
        first = None
        if len(ignore):
            first = self._draw(self, network, check_random_state(self.random_state))
        values = safetensors.load(
            path, self._layers_in_files(network), network.start_shape, ignore, first,
            self._single_output(network),
        )  # fmt: skip
        for name in _LEFT_BY_FITS:
            vars(self).pop(name, None)
        values = [value.astype(dtype) for value in values]
        vars(self).update(attributes | self._attributes(network, values))
        self._only_loaded = True
        return self

    # --- what a file is for

    def _layers_in_files(self, network):
        """Return a network's layers as files count them: dropout changes no names."""
        return [layer for layer in network.layers if not isinstance(layer, Dropout)]

    def _single_output(self, network):
        """Return the name of the output layer if it has one output for two classes, or None."""
        if not getattr(self, "_classifies", False) or network.outputs != 1:
            return None
        return safetensors.parts(self._layers_in_files(network), network.start_shape)[-1].path

    def _dtype_to_load(self):
        """Return the type of the parameters to be read."""
        if self.dtype is None and self.__sklearn_is_fitted__():
            return self._computing_dtype(None)
        return np.dtype(self.dtype or np.float32)

    def _to_load(self, sizes, classes):
        """Return the network that a file with tensors of some sizes is for, and its attributes.

        What a fit would have learned from data is then known.
        """
        if classes is not None:
            if not getattr(self, "_classifies", False):
                raise ValueError(f"classes is {classes!r}; expected None: there are no classes.")
            self._know_classes(classes)
        inputs = self._inputs_to_load(sizes)
        n_outputs = self._outputs_to_load(sizes, inputs, classes)
        task = self._task()
        network, remembered = self._network(task, inputs, n_outputs)
        return network, task.shown(network, n_outputs) | remembered

    def _know_classes(self, classes):
        classes = np.asarray(classes)
        if classes.ndim != 1 or len(classes) < 2:
            raise ValueError(f"classes has the shape {classes.shape}; expected at least 2 labels.")
        self._label_binarizer = LabelBinarizer().fit(classes)
        self.classes_ = self._label_binarizer.classes_

    def _inputs_to_load(self, sizes):
        """Return inputs of one sample, of as many features as the fit's, or else the file's."""
        if not self.__sklearn_is_fitted__():
            self.n_features_in_ = self._size_in(sizes, Rows(np.zeros((1, 1)), 1), 0, 1)
        return Rows(np.zeros((1, self.n_features_in_)), self.n_features_in_)

    def _outputs_to_load(self, sizes, inputs, classes):
        """Return the number of outputs: that of classes, or the fit's, or else the file's."""
        if classes is not None:
            return _outputs_of(self.classes_)
        if self.__sklearn_is_fitted__():
            return self.n_outputs_
        n = self._size_in(sizes, inputs, -1, 0)
        if not self._classifies:
            return n
        self._know_classes(range(max(n, 2)))
        return _outputs_of(self.classes_)

    def _size_in(self, sizes, inputs, which, axis):
        """Return a side of the first (0) or last (-1) layer's matrix in a file; 1: it has none."""
        n_outputs = 1
        if getattr(self, "_classifies", False):
            if not hasattr(self, "classes_"):
                self._know_classes([0, 1])  # only to see what layers are called
            n_outputs = _outputs_of(self.classes_)
        network, _ = self._network(self._task(), inputs, n_outputs)
        some = safetensors.parts(self._layers_in_files(network), network.start_shape)[which]
        shape = sizes.get(next(iter(some.shapes)), ())
        return shape[axis] if axis < len(shape) else 1


def _outputs_of(classes):
    """Return how many outputs a network of some classes has."""
    return 1 if len(classes) == 2 else len(classes)


def is_file(initializer):
    """Return whether the parameter `initializer` is the path of a file of weights."""
    if isinstance(initializer, str):
        return initializer.endswith(".safetensors")
    return isinstance(initializer, os.PathLike)


def drawn_by(initializer):
    """Return the name by which parameters are drawn that `initializer` does not hold."""
    return "auto" if isinstance(initializer, list) or is_file(initializer) else initializer
