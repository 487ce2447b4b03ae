"""The objects of tapes, layers and the engine that are stored in files, and how they are checked.

Layers are made by their constructors, which check them. The rest is checked here as far as the
engine relies on it: a network's layers fit each other, and weights the network.
"""

from dataclasses import fields
from math import isfinite
from numbers import Real

import numpy as np

from .. import layers
from ..engine.network import Network
from ..engine.optimizers import SOLVERS, Optimizer
from ..engine.training import Progress
from ..engine.weights import Weights
from ..layers.base import Layer
from ..layers.checks import MOST
from ..tape.activations import ACTIVATIONS
from ..tape.losses import Loss
from .codec import check_counts, check_types, storable

_LOSSES = "log_loss", "squared_error", "absolute_error", "huber", "poisson", "quantile"
#: The attributes of an optimizer.
_COUNTS = "t", "planned", "stalled"
_NUMBERS = "learning_rate", "lowered", "best", "_momentum_product"
_OF_OPTIMIZER = "solver", "states", "rate", *_COUNTS, *_NUMBERS
_FLOATS = np.dtype("float32"), np.dtype("float64")


def _fields(record):
    return {f.name: getattr(record, f.name) for f in fields(record)}


def _loss(name, link, parameter, over_outputs, smoothing=0.0):
    numbers = parameter if type(parameter) is tuple and name == "quantile" else (parameter,)
    check_types("Loss", {f"number {i}": (one, float) for i, one in enumerate(numbers)})
    check_types("Loss", {"smoothing": (smoothing, float)})
    good = name in _LOSSES and link in ACTIVATIONS and over_outputs in (None, "sum", "mean")
    if not good or not all(map(isfinite, numbers)) or not 0.0 <= smoothing < 1.0:
        raise ValueError(f"There is no loss {name!r:.100} after {link!r:.100}.")
    return Loss(name, link, parameter, over_outputs, smoothing)


def _network(layers, inputs, loss, augmentation, members=1):
    check_types(
        "Network",
        {"layers": (layers, tuple), "augmentation": (augmentation, tuple), "loss": (loss, Loss)},
    )
    sides = inputs if type(inputs) is tuple else (inputs,)
    if not 1 <= len(sides) <= 3 or not all(type(n) is int and 1 <= n <= MOST for n in sides):
        raise ValueError(f"The inputs of Network are {inputs!r:.200}; expected a shape.")
    if not layers or not all(isinstance(layer, Layer) for layer in (*layers, *augmentation)):
        raise TypeError("A Network has something else than layers.")
    check_counts("Network", members=members)
    made = Network(layers, inputs, loss, augmentation, members)
    made.primitives, made.output_shape  # noqa: B018, they raise if layers do not fit
    loss.check(made.output_shape[-1], made.steps)
    return made


def check_arrays(what, values, shapes=None, dtypes=_FLOATS):
    """Check that values are arrays of one dtype, of these shapes."""
    check_types(what, {"a value": (values, (list, tuple))})
    check_types(what, {f"value {i}": (value, np.ndarray) for i, value in enumerate(values)})
    found = [value.shape for value in values]
    if shapes is not None and found != list(shapes):
        raise ValueError(f"{what} has arrays of {found!s:.200}; expected {shapes!s:.200}.")
    if len({value.dtype for value in values} | set(dtypes)) > len(dtypes):
        raise ValueError(f"{what} has arrays of another dtype than {dtypes}.")


def _weights(network, values, dtype):
    check_types("Weights", {"network": (network, Network), "dtype": (dtype, np.dtype)})
    shapes = [p.shape for group in network.parameters() for p in group]
    check_arrays("Weights", values, shapes, [dtype])
    if dtype not in _FLOATS:
        raise ValueError(f"dtype of Weights is {dtype}; expected float32 or float64.")
    return Weights(network, values, dtype)


def _optimizer(**state):
    solver, states = state["solver"], state["states"]
    if solver not in SOLVERS or len(states) != SOLVERS[solver][1]:
        raise ValueError(f"Optimizer has {len(states)} states, for {solver!r:.100}.")
    for values in states:
        check_arrays("Optimizer", values, [value.shape for value in states[0]])
    check_counts("Optimizer", **{name: state[name] for name in _COUNTS})
    kinds = dict.fromkeys(_NUMBERS, float) | {"rate": (float, type(None))}
    check_types("Optimizer", {name: (state[name], kind) for name, kind in kinds.items()})
    made = object.__new__(Optimizer)
    vars(made).update({name: state[name] for name in _OF_OPTIMIZER})
    return made


def _optimizer_state(optimizer):
    return {name: getattr(optimizer, name) for name in _OF_OPTIMIZER}


def _progress(**state):
    made = Progress(**state)
    curves = [f.name for f in fields(Progress) if f.default_factory is list]
    for name in curves:
        curve = getattr(made, name)
        if type(curve) is not list or not all(isinstance(value, Real) for value in curve):
            raise TypeError(f"{name} of Progress is {curve!r:.100}; expected a list of float.")
    check_counts("Progress", n_iter=made.n_iter, t=made.t, no_improvement=made.no_improvement)
    kinds = {"best_loss": float, "best_validation_score": float, "loss": (float, type(None))}
    kinds |= {"first_loss": (float, type(None)), "optimizer": (Optimizer, type(None))}
    check_types("Progress", {name: (getattr(made, name), kind) for name, kind in kinds.items()})
    check_arrays("Progress", made.values)
    if made.raw is not None:
        check_arrays("Progress", made.raw, [value.shape for value in made.values])
    return made


for _name in layers.__all__:
    if _name != "Layer":
        storable(getattr(layers, _name), _fields)
storable(Loss, _fields, _loss)
storable(Network, _fields, _network)
storable(Weights, Weights.__getstate__, _weights)
storable(Optimizer, _optimizer_state, _optimizer)
storable(Progress, _fields, _progress)
