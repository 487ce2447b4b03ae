"""A diagnosis of training: what the units, the gradients and the steps of each layer are like."""

from dataclasses import dataclass, fields
from html import escape
from os import PathLike

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing, gen_batches, get_tags
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..estimator.net import Net
from ..estimator.probing import Probe
from ..estimator.transactions import with_state
from ..summary import as_html, as_text, framed
from ..tape.on_demand import OnDemand, read_on_demand
from .chains import chains
from .findings import findings_of
from .units import Units

#: Elements of the largest layer's output that are held at a time.
_ELEMENTS = 2**22


@dataclass(frozen=True)
class LayerDiagnosis:
    """What a layer is like after training; None: not known, or not defined for it.

    Attributes
    ----------
    path : str
        Name of the layer, or its position in the network, as in ``summary()``.
    layer : str
        Its class, with its activation in parentheses.
    activation : str
        Its activation function, or basis function; 'identity' if it has none.
    units : int or None
        Number of units: of outputs, channels of images, or features of time steps.
    dead : int or None
        Units that are zero for all samples (and positions, and time steps). With 'relu' exactly;
        with 'gelu', 'silu', 'mish' and 'softplus' up to 1e-6; Gaussian radial units up to 1e-3, as
        they are 1 at their centers.
    saturated : int or None
        Units with 'logistic' or 'tanh' that are within 1 % of the range from a bound for at least
        95 % of the samples; not in the output layer.
    constant : int or None
        Units with the same output for all samples, other than dead ones.
    mean, spread : float or None
        Mean and standard deviation of the outputs, after the activation.
    weights : float or None
        Euclidean norm of the trained parameters.
    gradient : float or None
        Euclidean norm of the gradient of the mean loss with respect to them.
    step : float or None
        Norm of the change by the next step of training, divided by that of the parameters; None
        for a layer that has a bias only.
    not_finite : int
        Number of outputs, parameters and elements of the gradient that are not finite.
    last : bool
        Whether it is the output layer.
    """

    path: str
    layer: str
    activation: str
    units: int | None = None
    dead: int | None = None
    saturated: int | None = None
    constant: int | None = None
    mean: float | None = None
    spread: float | None = None
    weights: float | None = None
    gradient: float | None = None
    step: float | None = None
    not_finite: int = 0
    last: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of training: print it, display it in a notebook, or get a DataFrame.

    Attributes
    ----------
    rows : tuple of LayerDiagnosis
        One row per layer with parameters, or with an activation alone, from input to output.
    findings : tuple of str
        What looks wrong, and what to try, in sentences.
    loss : float or None
        The mean loss over the samples, as in training: with dropout, noise, and the statistics of
        batches, without penalties on weights. None if there were no targets.
    """

    rows: tuple
    findings: tuple
    loss: float | None = None

    def to_frame(self):
        """Return the rows as a pandas DataFrame."""
        import pandas as pd

        names = [field.name for field in fields(LayerDiagnosis)]
        values = [[getattr(row, name) for name in names] for row in self.rows]
        frame = pd.DataFrame(values, columns=names)
        for name in ("units", "dead", "saturated", "constant"):
            frame[name] = frame[name].astype("Int64")
        for name in ("mean", "spread", "weights", "gradient", "step"):
            frame[name] = frame[name].astype(float)
        return frame

    def __str__(self):
        return as_text(_HEADER, self._cells(), _SIDES, self._sentences())

    def _repr_html_(self):
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self._sentences())
        return framed(as_html(_HEADER, self._cells(), [])) + said

    def _cells(self):
        return [[_shown(getattr(row, name)) for name in _COLUMNS] for row in self.rows]

    def _sentences(self):
        loss = [] if self.loss is None else [f"The loss is {self.loss:.4g}."]
        return [*loss, *(self.findings or ["Nothing looks wrong."])]


#: The columns of the table: attributes of the rows.
_COLUMNS = {
    "path": "name", "layer": "layer", "units": "units", "dead": "dead", "saturated": "saturated",
    "constant": "constant", "mean": "mean", "spread": "spread", "weights": "|weights|",
    "gradient": "|gradient|", "step": "|step|/|weights|",
}  # fmt: skip
_HEADER, _SIDES = tuple(_COLUMNS.values()), "<<" + ">" * 9


def _shown(value):
    if value is None:
        return ""
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def diagnose(estimator, X, y=None, *, sample_weight=None) -> Diagnosis:
    """Diagnose the training of a fitted network: its units, gradients and steps, by layer.

    It finds units that are dead, saturated or constant for these samples, layers whose gradients
    vanish or explode, and steps that are too large or too small for the weights. The network stays
    as it is.

    Parameters
    ----------
    estimator : estimator
        A fitted network of this package.
    X : array-like or texts
        Samples, in any form that its `fit` accepts; a few thousand of the training samples will do.
    y : array-like, default=None
        Their targets. Without them, there are no gradients and no steps, except for networks that
        need no targets, such as autoencoders. A :class:`~sknn.Seq2SeqRNN` reads its outputs, too,
        and cannot do without them.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples, for the gradients.

    Returns
    -------
    diagnosis : :class:`~sknn.diagnosis.Diagnosis`
        Can be printed, displayed in a notebook, or converted to a DataFrame by ``to_frame()``.

    Raises
    ------
    TypeError
        If the estimator is not a network that is trained by gradients.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Notes
    -----
    The outputs of layers are those of prediction. Gradients are those of training: with dropout and
    noise drawn from a fixed seed, and averaged over the minibatches of an epoch. The step is that
    of the optimizer on the first minibatch, from its present state and with the last learning rate;
    as a rule of thumb, a step changes weights by a thousandth of their norm. After early stopping,
    the weights are those of the best epoch, and the state of the optimizer is that of the last one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import MLPNetClassifier, diagnose
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((10,), solver="lbfgs", max_iter=500, random_state=1).fit(X, y)
    >>> net.intercepts_[0][:] = [-100] * 8 + [9, 9]  # eight will not respond to any sample
    >>> layer, what, *advice = diagnose(net, X, y).findings[0].split(": ")
    >>> print(layer, what, sep=": ")
    layers.0: 8 of 10 units are dead for these samples
    """
    net = _network_of(estimator)
    check_is_fitted(estimator)
    if hasattr(net, "estimators_"):
        raise ValueError(
            f"estimator has trained {len(net.estimators_)} networks, with cv={net.cv!r}; expected "
            "one network: give one of its estimators_."
        )
    net = with_state(net, dict(vars(net)))  # one state, whatever other threads do
    weights = net._held_weights()
    loss, gradients, steps = None, {}, None
    if all(np.isfinite(value).all() for value in weights.values):
        if y is not None or not get_tags(net).target_tags.required:
            probe = Probe(net, X, y, sample_weight)
            loss, gradients = probe.gradients()
            steps = probe.update()
    trained, by_layer = _trained(weights.network), weights.by_layer()
    rows = [
        _diagnosed(
            chain, units, by_layer.get(chain.path, {}), trained.get(chain.path), gradients, steps
        )
        for chain, units in _run(net, weights, X, y)
    ]
    return Diagnosis(tuple(rows), tuple(findings_of(rows)), loss)


def _network_of(estimator):
    """Return the network of an estimator, or raise TypeError."""
    for net in (estimator, *(getattr(estimator, name, None) for name in ("autoencoder_", "net_"))):
        if isinstance(net, Net):
            return net
    found = estimator if isinstance(estimator, type) else type(estimator)
    raise TypeError(
        f"estimator is a {found.__name__}; expected a fitted network of sknn that is trained by "
        "gradients. Of a Pipeline give its last step, with samples that the other steps have "
        "transformed; of a search give its best_estimator_."
    )


def _run(net, weights, X, y):
    """Yield the Chains of a network, and the Units of each for X, or None if they are not known."""
    found = [(chain, Units(chain.function)) for chain in chains(weights.network)]
    weights = weights.on(net.device)
    for X_part, y_part in _parts(X, y, max(1, _ELEMENTS // weights.network.largest)):
        run = net._runner(X_part, y_part)
        for chain, units in found:
            if chain.layers is not None:
                outputs = run(chain.weights(weights))
                for some in (outputs,) if isinstance(outputs, np.ndarray) else outputs:
                    if some.size:
                        units.add(some)
    for chain, units in found:
        yield chain, units if hasattr(units, "mean") else None


def _parts(X, y, n):
    """Yield X and y, at most `n` samples at a time."""
    if isinstance(X, (str, PathLike)) or _num_samples(X) <= n:
        yield X, y
        return
    X = X.tocsr() if sp.issparse(X) else read_on_demand(X)
    for rows in gen_batches(_num_samples(X), n):
        places = np.arange(rows.start, rows.stop)
        X_part = X[places] if isinstance(X, OnDemand) else _safe_indexing(X, places)
        yield X_part, None if y is None else _safe_indexing(y, places)


def _trained(network):
    """Return the names of a network's trained parameters, by path of the layer."""
    groups = zip(network.primitives, network.parameters(), strict=True)
    return {path: {p.name for p in group if p.trainable} for (path, _, _), group in groups}


def _diagnosed(chain, units, parameters, names, gradients, steps):
    """Return the row of a layer with these parameters, of which those of `names` are trained."""
    gradient = gradients.get(chain.path, {})
    trained = {name: parameters[name] for name in names or ()}
    numbers = [*parameters.values(), *gradient.values()]
    not_finite = sum(int((~np.isfinite(value)).sum()) for value in numbers)
    size, found = _norm(trained), {}
    if units is not None:
        found = {
            "units": units.n_units, "dead": units.dead, "constant": units.constant,
            "saturated": None if chain.last else units.saturated,
            "mean": units.mean, "spread": units.spread,
        }  # fmt: skip
        not_finite += units.not_finite
    if trained:
        found["weights"] = size
    if gradient:
        found["gradient"] = _norm(gradient)
    if steps and set(trained) - {"bias"}:  # a bias alone may be anywhere near zero
        change = _norm(steps[chain.path])
        found["step"] = change / size if size else (np.inf if change else 0.0)
    return LayerDiagnosis(
        chain.path, chain.words, chain.function, not_finite=not_finite, last=chain.last, **found
    )


def _norm(arrays):
    """Return the Euclidean norm of all elements of arrays, by name."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(sum(np.square(v, dtype=float).sum() for v in arrays.values())))
