"""Networks for tables in PyTorch, in float64, written from the formulas of their papers.

RealMLP (Holzmueller, Grinsztajn and Steinwart 2024) and TabM (Gorishniy, Kotelnikov and Babenko
2025). First values are given by layer, as `weights_` of an estimator has them: what a layer does
follows from the names of its parameters. Rows are encoded: numbers, columns that pass through, and
categories as numbers of rows of one table of vectors, in this order.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

F = torch.nn.functional

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "selu": lambda z: 1.0507009873554805 * torch.where(
        z > 0, z, 1.6732632423543772 * torch.expm1(z.clamp(max=0.0))
    ),
    "mish": lambda z: z * torch.tanh(torch.log1p(torch.exp(-z.abs())) + z.clamp(min=0.0)),
}  # fmt: skip


# --- schedules: factors for t in [0, 1], the share of the steps that have been done


def constant(t):
    return 1.0


def coslog4(t):
    return (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * t))) / 2.0


def flat_cos(t):
    return 1.0 if t <= 0.5 else (1.0 + math.cos(math.pi * (2.0 * t - 1.0))) / 2.0


# --- embeddings of numbers: of rows (n, features)


def periodic(x, own):
    """Return [x, W2 cos(2 pi w1 x + b1) + b2] for each feature, one after the other."""
    features, frequencies, _ = own["kernel"].shape
    w, b = (own[name].reshape(features, frequencies) for name in ("frequencies", "phases"))
    waves = torch.cos(2.0 * math.pi * w * x[:, :, None] + b)
    made = torch.einsum("nfk,fku->nfu", waves, own["kernel"]) + own["bias"].reshape(features, -1)
    return torch.cat([x[:, :, None], made], 2).flatten(1)


def pieces(x, edges):
    """Return the share of each bin that lies below x; the outer bins have no outer limits."""
    low, high = edges[:, :-1], edges[:, 1:]
    width = high - low
    share = (x[:, :, None] - low) / torch.where(width > 0.0, width, 1.0)
    bins = torch.arange(width.shape[1])
    least = torch.where(bins == 0, -math.inf, 0.0)
    most = torch.where(bins == len(bins) - 1, math.inf, 1.0)
    share = torch.minimum(torch.maximum(share, least), most)
    return torch.where(width > 0.0, share, 0.0)


def piecewise_linear(x, own):
    features = len(own["kernel"])
    shares = pieces(x, own["edges"].reshape(features, -1))
    made = torch.einsum("nfb,fbu->nfu", shares, own["kernel"])
    return (made + own["bias"].reshape(features, -1)).flatten(1)


# --- networks


def kind(own):
    """Return what a layer is, from the names and shapes of its parameters."""
    if "frequencies" in own:
        return "periodic"
    if "edges" in own:
        return "piecewise_linear"
    if "scale" in own:
        return "scale"
    if "slope" in own:
        return "slope"
    if "bias" in own:
        return "dense"
    return "vectors"


class Network:
    """A network for encoded rows.

    Parameters
    ----------
    weights : dict of dict of arrays
        First values, by layer: those of the inputs first, then the layers in order.
    numbers : int
        How many columns are numbers, the first ones.
    categories : int
        How many columns are categories, the last ones.
    activation : str
        Of the hidden layers; where slopes are given, parametric.
    neural_tangent : bool
        Whether what learns is sqrt(inputs) times the kernels of dense layers.
    """

    def __init__(self, weights, numbers, categories=0, activation="selu", neural_tangent=True):
        self.numbers, self.categories = numbers, categories
        self.activation = ACTIVATIONS[activation]
        self.layers = {name: (kind(own), {}) for name, own in weights.items()}
        self.factors, self.members = {}, 1
        for name, (what, own) in self.layers.items():
            for part, value in weights[name].items():
                value = np.asarray(value, dtype=float)
                factor = 1.0
                if what == "dense" and part == "kernel" and neural_tangent:
                    factor = value.shape[-2] ** -0.5
                if part in ("inputs_scale", "outputs_scale"):
                    self.members = len(value)
                self.factors[name, part] = factor
                learns = part != "edges"
                own[part] = torch.tensor(value / factor, requires_grad=learns)

    def parameters(self):
        """Yield kind of layer, name of the parameter, and what learns of it."""
        for what, own in self.layers.values():
            for part, value in own.items():
                if value.requires_grad:
                    yield what, part, value

    def values(self):
        """Return the weights as they were given, by layer."""
        return {
            name: {p: (self.factors[name, p] * v).detach().numpy() for p, v in own.items()}
            for name, (_, own) in self.layers.items()
        }

    def __call__(self, x, keep=None):
        """Return the outputs of rows, (n, outputs); of several members, (members, n, outputs).

        ``keep(i, shape)`` gives the factors of what the i-th dropout keeps, zero or 1 / (1 - rate).
        """
        x = torch.as_tensor(x, dtype=torch.float64)
        a, layers = self._inputs(x)
        dense = [name for name in layers if self.layers[name][0] == "dense"]
        slopes = any(self.layers[name][0] == "slope" for name in layers)
        if self.members > 1:
            a = a.expand(self.members, *a.shape)
        hidden = 0
        for name in layers:
            what, own = self.layers[name]
            if what == "scale":
                a = a * own["scale"]
                continue
            if what == "dense":
                a = self._dense(name, a)
                if name == dense[-1] or slopes:
                    continue
                a = self.activation(a)
            elif what == "slope":
                a = a + own["slope"] * (self.activation(a) - a)
            if keep is not None:
                a = a * torch.as_tensor(keep(hidden, tuple(a.shape)))
            hidden += 1
        return a

    def _inputs(self, x):
        """Return the inputs of the first layer, and the names of the layers."""
        columns = x.shape[1]
        end = columns - self.categories
        numbers, passed, codes = x[:, : self.numbers], x[:, self.numbers : end], x[:, end:]
        layers = list(self.layers)
        for name in list(layers):
            what, own = self.layers[name]
            if what in ("periodic", "piecewise_linear"):
                numbers = {"periodic": periodic, "piecewise_linear": piecewise_linear}[what](
                    numbers, own
                )
            elif what == "vectors":
                (table,) = own.values()
                codes = table[codes.long()].flatten(1)
            else:
                continue
            layers.remove(name)
        return torch.cat([numbers, passed, codes], 1), layers

    def _dense(self, name, a):
        """Return z = W a + b; of members, s * (W (r * a)) + b, or kernels of their own."""
        _, own = self.layers[name]
        bias = own["bias"]
        if "inputs_scale" in own:
            a = a * own["inputs_scale"][:, None]
        z = a @ (self.factors[name, "kernel"] * own["kernel"])
        if "outputs_scale" in own:
            z = z * own["outputs_scale"][:, None]
        return z + (bias[:, None] if bias.ndim == 2 else bias)


# --- losses, of a batch


def log_loss(z, y, smoothing=0.0):
    """Return the mean over rows, and members, for numbers of classes; one output: of two."""
    if z.shape[-1] == 1:
        wanted = (1.0 - smoothing) * y.double() + smoothing / 2.0
        z = z[..., 0]
        return (F.softplus(z) - wanted * z).mean()
    classes = z.shape[-1]
    wanted = (1.0 - smoothing) * F.one_hot(y, classes).double() + smoothing / classes
    return -(wanted * F.log_softmax(z, -1)).sum(-1).mean()


def half_squared_error(z, y, smoothing=0.0):
    return ((z - y.reshape(len(y), -1)) ** 2).mean() / 2.0


# --- training


@dataclass
class Recipe:
    """How a network is trained: AdamW with rates and decay by kind of parameter.

    `decayed` are the pairs of layer and parameter that decay, as :meth:`Network.parameters` names
    them.
    """

    rate: float
    loss: object = log_loss
    smoothing: float = 0.0
    decay: float = 0.0
    rate_schedule: object = coslog4
    decay_schedule: object = flat_cos
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8
    scale_rate: float = 6.0
    bias_rate: float = 0.1
    slope_rate: float = 0.1
    number_rate: float = 0.1
    vectors_rate: float = 1.0
    decayed: tuple = (("dense", "kernel"),)

    def factor(self, what, part):
        """Return the factor of the rate of a parameter."""
        if what in ("periodic", "piecewise_linear"):
            return self.number_rate
        if part == "bias":
            return self.bias_rate
        return {
            "scale": self.scale_rate, "slope": self.slope_rate, "vectors": self.vectors_rate,
        }.get(what, 1.0)  # fmt: skip


def train(network, recipe, X, y, epochs, keep=None):
    """Train a network, and return the mean loss of each epoch, weighted by the rows of batches.

    Parameters
    ----------
    network : Network
    recipe : Recipe
    X, y : arrays
        Encoded rows; numbers of classes, or targets.
    epochs : list of lists of arrays
        The rows of each batch, by epoch.
    keep : callable or None
        ``keep(step, i, shape)`` gives the factors of what dropout keeps.
    """
    X, y = (torch.as_tensor(np.asarray(given)) for given in (X, y))
    parameters = list(network.parameters())
    groups = [{"params": [value]} for _, _, value in parameters]
    betas = recipe.beta_1, recipe.beta_2
    optimizer = torch.optim.AdamW(groups, recipe.rate, betas, recipe.epsilon)
    steps, step, curve = sum(map(len, epochs)), 0, []
    for batches in epochs:
        total = rows = 0
        for batch in batches:
            t = step / steps
            for (what, part, _), group in zip(parameters, optimizer.param_groups, strict=True):
                group["lr"] = (
                    recipe.rate * recipe.rate_schedule(t) * recipe.factor(what, part)
                )
                decays = (what, part) in recipe.decayed
                group["weight_decay"] = decays * recipe.decay * recipe.decay_schedule(t)
            kept = None if keep is None else lambda i, shape, step=step: keep(step, i, shape)
            loss = recipe.loss(network(X[batch], kept), y[batch], recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            rows += len(batch)
            step += 1
        curve.append(total / rows)
    return np.array(curve)
