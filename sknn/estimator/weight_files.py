"""Writing, reading, and initializing from weight files."""

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

#: Attributes that fits set besides the network; loading weights deletes them.
_LEFT_BY_FITS = (
    "loss_", "best_loss_", "loss_curve_", "learning_rate_curve_", "validation_loss_curve_",
    "validation_scores_", "best_validation_score_", "n_iter_", "t_", "feature_names_in_",
    "_optimizer", "_no_improvement_count", "_raw_values", "_initialized",
    "pretraining_loss_curves_", "step_loss_curve_", "_moments",
    "kl_curve_", "reconstruction_curve_", "_found_with", "best_iter_", "temperature_",
)  # fmt: skip


class WeightFiles:
    """Saving and loading weights as safetensors files."""

    #: Whether the network is a classifier; the methods of classifiers override it.
    _classifies = False

    @consistent
    def save_weights(self, path) -> None:
        """Save the parameters to a safetensors file, with PyTorch's names and layouts.

        Parameters
        ----------
        path : str or path-like
            File to write.
        """
        check_is_fitted(self)
        weights = self._held_weights()
        network = weights.network
        safetensors.save(path, self._layers_in_files(network), network.start_shape, weights.values)

    @all_or_nothing
    def load_weights(self, path, classes=None, ignore=()) -> Self:
        """Load the parameters from a safetensors file; the estimator is then fitted.

        The tensors must have PyTorch's names, and torchvision's for the predefined architectures.
        The parameters of the estimator define the network (for images, set `image_shape` too); the
        numbers of features and outputs are those of the last fit, or else of the file. A network
        for two classes has one output: if the file has two, it becomes their difference. The
        network computes in `dtype`; with None, in that of the last fit, or else in float32. To
        continue training on the same classes, set ``warm_start=True``, or pass the path as
        `initializer`, which clones keep; otherwise `fit` starts from scratch. Text models must be
        fitted first, so that their vocabulary is known.

        Parameters
        ----------
        path : str or path-like
            File to read.
        classes : array-like of shape (n_classes,), default=None
            Class labels of a classifier's outputs, in their order in the file; None: those of the
            last fit, or 0, 1, 2, ... (`classes_` is sorted, as in scikit-learn, and the outputs
            with it.) For multilabel targets, fit first.
        ignore : list of str, default=()
            Prefixes of the names of layers that are not read but initialized at random, such as
            the output layer of a different task.

        Returns
        -------
        self : estimator
            The estimator with the loaded weights.

        Raises
        ------
        ValueError
            If a tensor is missing, unexpected, or of the wrong shape. The message names the first
            one, and the estimator is unchanged.
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
        if classes is not None:
            values = _sorted_by_class(values, network, np.asarray(classes))
        vars(self).update(attributes | self._attributes(network, values))
        self._only_loaded = True
        return self

    # --- the network of a file

    def _layers_in_files(self, network):
        """Return a network's layers as numbered in files: dropout layers do not count."""
        return [layer for layer in network.layers if not isinstance(layer, Dropout)]

    def _single_output(self, network):
        """Return the name of the output layer if it has one output for two classes, or None."""
        if not self._classifies or network.outputs != 1:
            return None
        return safetensors.parts(self._layers_in_files(network), network.start_shape)[-1].path

    def _dtype_to_load(self):
        """Return the dtype of the parameters to load."""
        if self.dtype is None and self.__sklearn_is_fitted__():
            return self._computing_dtype(None)
        return np.dtype(self.dtype or np.float32)

    def _to_load(self, sizes, classes):
        """Return the network for a file with tensors of these sizes, and its attributes.

        Sets the attributes that a fit would have learned from data.
        """
        if classes is not None:
            if not self._classifies:
                raise ValueError(f"classes is {classes!r}; expected None: it is no classifier.")
            self._know_classes(classes)
        inputs = self._inputs_to_load(sizes)
        n_outputs = self._outputs_to_load(sizes, inputs, classes)
        task = self._task()
        network, remembered = self._network(task, inputs, n_outputs)
        return network, task.shown(network, n_outputs) | remembered

    def _know_classes(self, classes):
        """Remember class labels; those of `classes_` are sorted, as in scikit-learn."""
        classes = np.asarray(classes)
        if classes.ndim != 1 or len(classes) < 2 or len(set(classes.tolist())) < len(classes):
            raise ValueError(
                f"classes is {classes.tolist()!r:.200}; expected at least 2 labels, each of them "
                "once."
            )
        self._label_binarizer = LabelBinarizer().fit(classes)
        self.classes_ = self._label_binarizer.classes_

    def _inputs_to_load(self, sizes):
        """Return a dummy input sample with the features of the last fit, or else of the file."""
        if not self.__sklearn_is_fitted__():
            self.n_features_in_ = self._size_in(sizes, Rows(np.zeros((1, 1)), 1), 0, 1)
        return Rows(np.zeros((1, self.n_features_in_)), self.n_features_in_)

    def _outputs_to_load(self, sizes, inputs, classes):
        """Return the number of outputs: from `classes`, the last fit, or else the file."""
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
        """Return a side of the first (0) or last (-1) layer's matrix in a file; 1 without one."""
        n_outputs = 1
        if self._classifies:
            if not hasattr(self, "classes_"):
                self._know_classes([0, 1])  # only to get the layers' names
            n_outputs = _outputs_of(self.classes_)
        network, _ = self._network(self._task(), inputs, n_outputs)
        some = safetensors.parts(self._layers_in_files(network), network.start_shape)[which]
        shape = sizes.get(next(iter(some.shapes)), ())
        return shape[axis] if axis < len(shape) else 1


def _outputs_of(classes):
    """Return the number of outputs of a network for these classes."""
    return 1 if len(classes) == 2 else len(classes)


def _sorted_by_class(values, network, classes):
    """Return parameters with the output layer's units in the order of sorted labels.

    `classes` are the labels in the file's order. The one output for two is that of the second.
    """
    order = np.argsort(classes)
    if (order == np.arange(len(order))).all():
        return values
    last = len([group for group in network.parameters() if group][-1])
    head = values[len(values) - last :]
    if network.outputs == 1:
        return [*values[: len(values) - last], *(-value for value in head)]
    return [*values[: len(values) - last], *(value[..., order] for value in head)]


def is_file(initializer):
    """Return whether the parameter `initializer` is the path of a weight file."""
    if isinstance(initializer, str):
        return initializer.endswith(".safetensors")
    return isinstance(initializer, os.PathLike)


def drawn_by(initializer):
    """Return the initializer name for parameters that `initializer` does not provide."""
    return "auto" if isinstance(initializer, list) or is_file(initializer) else initializer
