"""Multilayer perceptrons: drop-ins for scikit-learn's, and one with the task as a parameter."""

from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import Literal

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils._param_validation import StrOptions

from ..engine.network import Network
from ..engine.weights import Weights
from ..estimator.checks import check_layer, computing_dtype
from ..estimator.groups import (
    Features,
    ForClasses,
    ForEither,
    ForNumbers,
    HiddenActivation,
    RegressionLoss,
    RegressionLosses,
    Training,
)
from ..estimator.methods import ClassifierMethods, RegressorMethods
from ..estimator.net import Net, place_of
from ..estimator.parameters import COUNT, FRACTION, Array, fitted, param
from ..estimator.tasks import check_activation, named
from ..estimator.weight_files import drawn_by
from ..layers import Activation, BatchNormalization, Dense, Dropout
from ..layers.initializers import draw_dense
from ..tape.activations import ACTIVATIONS
from ..tape.losses import Loss

HIDDEN = sorted(set(ACTIVATIONS) - {"softmax", "step"})
#: Includes 'step', which is for prediction only.
_OR_STEP = [*HIDDEN, "step"]
#: Parameters of a layer's batch normalization.
_NORM = "gamma", "beta", "mean", "variance"
_Activation = HiddenActivation | Literal["step"] | Activation


class HiddenLayers(Features):
    """Hidden layers of multilayer perceptrons."""

    hidden_layer_sizes: int | Sequence[int] | Array = param(
        "Number of units in each hidden layer; an empty tuple means no hidden layers.",
        default=(100,), valid=["array-like", COUNT], kind="int or array-like of int", kw_only=False,
    )
    activation: _Activation | Sequence[_Activation] = param(
        """
        Activation of the hidden layers, or a list with one for each: 'identity', 'logistic',
        'tanh', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu' (tanh approximation), 'silu',
        'mish', 'softplus', 'exp'. Use an :class:`~sknn.layers.Activation` to set the negative
        slope of 'leaky_relu' (default 0.3) or the alpha of 'elu'. 'step' is for prediction only:
        set it on a network fitted with a different activation.""",
        default="relu", valid=[StrOptions(set(ACTIVATIONS)), Activation, list, tuple],
        kind="str, Activation, or list of them", kw_only=False,
    )
    dropout: float | Sequence[float] | Array = param(
        """
        Dropout rate of the hidden layers in training, or a list with one for each hidden
        layer.""",
        default=0.0, valid=[FRACTION, "array-like"], kind="float or array-like of float",
        after="output_activation",
    )
    batch_norm: bool = param(
        "Whether to apply batch normalization in each hidden layer, before its activation.",
        default=False, after="dropout",
    )

    coefs_: list[Array] = fitted("Weight matrices of the layers, of shape (inputs, units).")
    intercepts_: list[Array] = fitted("Bias vectors of the layers.")
    batch_norm_: list[dict[str, Array]] = fitted(
        """
        Batch normalization parameters of each hidden layer: 'gamma', 'beta' and the running
        'mean' and 'variance'. Only with `batch_norm`.""",
        kind="list of dict of str to ndarray",
    )
    n_layers_: int = fitted("Number of layers, including the input and output layers.")


def hidden_sizes(sizes, name):
    """Return layer sizes as a validated list of int."""
    sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"{name} must be integers, got {sizes}.")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"{name} must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def per_layer(value, n_layers, name):
    """Return `value` as a list with one entry for each hidden layer."""
    if np.ndim(value) == 0 or isinstance(value, (str, Activation)):
        return [value] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} entries; expected one for each of the {n_layers} hidden "
            "layers."
        )
    return values


def hidden_activations(value, n_layers, name="activation", allowed=HIDDEN):
    """Return the hidden layers' activations as objects, validated."""
    entries = per_layer(value, n_layers, name)
    return tuple(check_activation(entry, name, allowed) for entry in entries)


def _hidden_layers(sizes, activations, batch_norm, rates):
    """Return the hidden layers as layer objects."""
    layers = []
    for i, (size, activation, rate) in enumerate(zip(sizes, activations, rates, strict=True)):
        layers.append(Dense(size))
        if batch_norm:
            layers.append(BatchNormalization())
        layers.append(activation)
        if rate:
            layers.append(Dropout(float(rate), i))
    return layers


@lru_cache(maxsize=256)
def _prediction_network(inputs, sizes, activations, batch_norm, out):
    """Return a Network for prediction: the same object for the same arguments."""
    layers = _hidden_layers(sizes[:-1], activations, batch_norm, [0.0] * len(activations))
    loss = Loss("squared_error", out.function)
    return Network((*layers, Dense(sizes[-1]), out), inputs, loss)


def _check_norm(norm, units, name):
    """Return the batch normalization parameters of a layer, validated."""
    values = [np.asarray(norm.get(key, ())) for key in _NORM]
    for key, value in zip(_NORM, values):
        if value.shape != (units,) or value.dtype.kind not in "fiu":
            raise ValueError(
                f"{name}[{key!r}] has dtype {value.dtype} and shape {value.shape}; "
                f"expected {units} numbers."
            )
    return values


def _draw(net, network, random_state):
    """Draw a network's initial parameters, as scikit-learn does."""
    values, name = [], drawn_by(net.initializer)
    for i, group in enumerate(network.parameters()):
        layer = network.layers[i]
        if isinstance(layer, Dense):
            following = [a for a in network.layers[i:] if isinstance(a, Activation)]
            # scikit-learn uses the hidden activation for the output layer too
            activation = net.activation if isinstance(net.activation, str) else ""
            activation = activation or following[0].function
            values += draw_dense(name, random_state, *group[0].shape, activation)
        elif isinstance(layer, BatchNormalization):
            n = group[0].shape[0]
            values += [np.ones(n), np.zeros(n), np.zeros(n), np.ones(n)]
    return values


class _BaseMLPNet(Net):
    """Everything but the constructor, shared by the three multilayer perceptrons."""

    _weights_in = "coefs_"
    _draw = staticmethod(_draw)

    def _network(self, task, inputs, n_outputs):
        """Return the Network that the parameters describe, and no attributes to set."""
        out, loss = task.head(n_outputs)
        sizes = hidden_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        rates = per_layer(self.dropout, len(sizes), "dropout")
        for rate in rates:
            if not isinstance(rate, Real) or not 0 <= rate < 1:
                raise ValueError(f"dropout must lie in [0, 1), got {rate!r}.")
        activations = hidden_activations(self.activation, len(sizes), allowed=_OR_STEP)
        if any(activation.function == "step" for activation in activations):
            raise ValueError(
                "activation='step' has no useful derivative, so a network cannot be trained with "
                "it; train with a different activation, or fit a PerceptronClassifier."
            )
        if self.solver == "lbfgs" and (self.batch_norm or np.any(self.dropout)):
            raise ValueError(
                "solver='lbfgs' uses all samples in each step and needs a deterministic loss: "
                "dropout and batch_norm are for the other solvers."
            )
        layers = _hidden_layers(sizes, activations, self.batch_norm, rates)
        return Network((*layers, Dense(n_outputs), out), inputs.inputs, loss), {}

    def _fitted(self):
        """Return the Network for prediction, and the fitted parameters.

        The user may have replaced the parameters, so their shapes are checked; each attribute is
        read only once. As in scikit-learn, the hidden activation is the current value of the
        parameter, so 'step' can be set on a network that was trained with another activation.
        """
        coefs, intercepts = list(self.coefs_), list(self.intercepts_)
        norms = list(getattr(self, "batch_norm_", ()))
        values, sizes, inputs = [], [], self.n_features_in_
        if not coefs or len(intercepts) != len(coefs) or len(norms) not in (0, len(coefs) - 1):
            raise ValueError(
                f"coefs_ and intercepts_ have {len(coefs)} and {len(intercepts)} entries; expected "
                "one of each for every layer."
            )
        for i, (w, b) in enumerate(zip(coefs, intercepts)):
            w, b = np.asarray(w), np.asarray(b)
            check_layer(w, b, inputs, "coefs_[{}]", "intercepts_[{}]", i)
            inputs = w.shape[1]
            values += w, b
            sizes.append(inputs)
            if i < len(norms):
                values += _check_norm(norms[i], inputs, f"batch_norm_[{i}]")
        if inputs != self.n_outputs_:
            raise ValueError(f"coefs_ lead to {inputs} outputs; expected {self.n_outputs_}.")
        out = self.output_activation
        if not isinstance(out, Activation):
            out = self.out_activation_
            out = named(out) if isinstance(out, str) else Activation(out)
        activations = hidden_activations(self.activation, len(sizes) - 1, allowed=_OR_STEP)
        network = _prediction_network(
            self.n_features_in_, tuple(sizes), activations, bool(norms), out
        )
        return network, values

    def _computing_dtype(self, inputs):
        """Return the dtype to compute in, from the inputs or (None) the fitted weights."""
        return computing_dtype(self.dtype, *(self.coefs_ if inputs is None else [inputs]))

    def _predict(self, inputs):
        """Return the network's outputs for inputs."""
        return inputs.run(self._held_weights(inputs).on(self.device), self.n_jobs)

    def _held_weights(self, *inputs):
        """Return the weights in the dtype to compute in, given that of weights and inputs."""
        network, values = self._fitted()
        dtype = computing_dtype(self.dtype, *inputs, *(v for v in values if v.ndim == 2))
        values = [np.asarray(value, dtype) for value in values]
        return Weights.of_packed(network, values, dtype)

    def _up_to(self, layer, *inputs):
        """Return the network's weights up to a layer of `coefs_`, including its activation."""
        weights = self._held_weights(*inputs)
        layers = weights.network.layers
        ends = [i for i, a in enumerate(layers) if isinstance(a, Activation)]
        if isinstance(layer, str):  # as `summary` has it
            first = place_of(layer, layers)
            last = next(i for i in ends if i >= first)
        else:
            last = ends[place_of(layer, ends)]
        return weights.part(0, last + 1).on(self.device)

    def _values_for(self, network, dtype):
        """Return the fitted parameters to continue from, checked against the network."""
        values, norms = [], getattr(self, "batch_norm_", ())
        for i, (w, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            values += [w, b, *(norms[i][k] for k in _NORM if i < len(norms))]
        values = [np.asarray(value, dtype) for value in values]
        shapes = [p.shape for group in network.parameters() for p in group]
        if [value.shape for value in values] != shapes:
            raise ValueError(
                "hidden_layer_sizes or batch_norm have changed since the last fit: its parameters "
                f"have shapes {[v.shape for v in values]}, but the network needs {shapes}."
            )
        if not all(np.isfinite(value).all() for value in values):
            raise ValueError("coefs_ and intercepts_ must be finite to continue training.")
        return values

    def _commit(self, job, progress):
        super()._commit(job, progress)
        if not self.batch_norm:
            vars(self).pop("batch_norm_", None)  # an earlier fit's

    def _attributes(self, network, values):
        """Return the fitted attributes that hold the network's parameters."""
        per_layer = 6 if self.batch_norm else 2
        layers = [values[i : i + per_layer] for i in range(0, len(values), per_layer)]
        attributes = {
            "coefs_": [layer[0] for layer in layers],
            "intercepts_": [layer[1] for layer in layers],
            "n_layers_": len(layers) + 1,
        }
        if self.batch_norm:
            attributes["batch_norm_"] = [
                dict(zip(_NORM, layer[2:], strict=True)) for layer in layers[:-1]
            ]
        return attributes


class MLPNetClassifier(
    ForClasses, Training, HiddenLayers, ClassifierMethods, ClassifierMixin, _BaseMLPNet
):
    """A multilayer perceptron for classification.

    Accepts the parameters of :class:`sklearn.neural_network.MLPClassifier` and, with the same
    `random_state`, reproduces its loss curve.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier(max_iter=1000, random_state=0).fit(X, y)
    >>> bool(net.score(X, y) > 0.95)
    True
    """


class MLPNetRegressor(
    ForNumbers, Training, HiddenLayers, RegressionLoss, RegressorMethods, RegressorMixin,
    _BaseMLPNet,
):
    """A multilayer perceptron for regression.

    Accepts the parameters of :class:`sklearn.neural_network.MLPRegressor` and, with the same
    `random_state`, reproduces its loss curve.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sknn import MLPNetRegressor
    >>> X, y = make_regression(n_features=4, random_state=0)
    >>> net = MLPNetRegressor(solver="lbfgs", random_state=0, max_iter=500).fit(X, y)
    >>> bool(net.score(X, y) > 0.95)
    True
    """

    loss: RegressionLosses = param(default="squared_error", kw_only=False)


class MLPNet(ForEither, Training, HiddenLayers, ClassifierMethods, _BaseMLPNet):
    """A multilayer perceptron for classification or regression, chosen by a parameter.

    ``MLPNet(task="classification")`` works like :class:`MLPNetClassifier`,
    ``MLPNet(task="regression")`` like :class:`MLPNetRegressor`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPNet
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNet("regression", solver="lbfgs", random_state=0).fit(X[:, :3], X[:, 3])
    >>> bool(net.score(X[:, :3], X[:, 3]) > 0.9)
    True
    """

    task: Literal["classification", "regression"] = param(
        "Task of the network. It determines the estimator type, methods and score.",
        default="classification", kw_only=False,
    )
    hidden_layer_sizes: int | Sequence[int] | Array = param(default=(100,))
    activation: _Activation | Sequence[_Activation] = param(default="relu")

    classes_: Array = fitted("The class labels, in classification.")

    def _task(self):
        """Return the task given by the parameters and the fitted classes."""
        return (ClassifierMethods if self._classifies else RegressorMethods)._task(self)

    @property
    def _classifies(self):
        return self.task == "classification"
