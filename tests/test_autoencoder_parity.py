"""Autoencoders follow the same training trajectory as in PyTorch, from the same weights.

Losses of each epoch, and weights after several steps, in float64, through the public interface. The
networks are written down here as the parameters of the estimators are documented; what is random in
them takes its numbers from the reference's generator.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
from reference import REFERENCE, normals_of
from sklearn.base import clone
from sklearn.utils import check_random_state
from test_convnet_parity import ACTIVATIONS, F, assert_close, flatten, forward, torch

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)
from sknn.engine.training import noise_seed
from sknn.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Flatten,
    GaussianNoise,
    MaskingNoise,
    MaxPooling2D,
    Reshape,
    SaltAndPepperNoise,
    UpSampling2D,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# A block that is full and one that is not; then a batch that is smaller.
SAMPLES, FEATURES, BATCH, EPOCHS = 45, 7, 34, 3
RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(SAMPLES, FEATURES))
GRAY = RANDOM.uniform(size=(SAMPLES, FEATURES))
WEIGHTS = RANDOM.uniform(0.5, 2.0, SAMPLES)
IMAGES = RANDOM.uniform(size=(SAMPLES, 8, 8))
COLORS = RANDOM.uniform(size=(SAMPLES, 6, 4, 3))

SOLVERS = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},  # with Nesterov's momentum, 0.9
    "adam": {"solver": "adam", "learning_rate_init": 0.01, "epsilon": 1e-4, "beta_2": 0.9},
}

parametrize_solvers = pytest.mark.parametrize("solver", SOLVERS)


# --- the networks in PyTorch: functions of the weights, by layer, and a batch, that return the
# losses of samples, and the divergences


def apply(function, x):
    own = Activation(function) if isinstance(function, str) else function
    return ACTIVATIONS[own.function](x, own.parameter)


def each(value, n):
    return list(value) if isinstance(value, (list, tuple)) else [value] * n


def errors(net, z, wanted):
    """Return the loss of each feature, given outputs before the output activation."""
    if net.loss == "log_loss":
        return F.binary_cross_entropy_with_logits(z, wanted, reduction="none")
    out = "identity" if net.output_activation == "auto" else net.output_activation
    return (apply(out, z) - wanted) ** 2


def noisy(net, x, step):
    """Return a batch with the noise that an estimator's parameters specify."""
    if not net.noise:
        return x
    seed = noise_seed(check_random_state(net.random_state))
    at = SimpleNamespace(seed=seed, step=step, first=0, variant=())
    limits = net.noise_range or ((0.0, 1.0) if net.loss == "log_loss" else (-np.inf, np.inf))
    if net.noise_kind == "gaussian":
        name, numbers = "gaussian_noise", (net.noise, *limits)
    elif net.noise_kind == "masking":
        name, numbers = "dropout", (int(net.noise * 2**32), 1.0)
    else:
        name, numbers = "salt_and_pepper", (int(net.noise * 2**32), *limits)
    changed = REFERENCE[name](at, x.numpy().T, x.shape[1], 0, *numbers)
    return torch.from_numpy(changed.T.copy())


def dense_losses(net, w, x, clean, step):
    sizes = np.ravel(net.hidden_layer_sizes)
    functions = each(net.activation, len(sizes))
    a, penalty = noisy(net, x, step), 0.0
    for i, function in enumerate(functions, 1):

        def layer(a, w=w[f"encoder_{i}"], function=function):
            return apply(function, a @ w["kernel"] + w["bias"])

        if net.contractive:
            jacobians = torch.func.vmap(torch.func.jacrev(layer))(a)
            penalty = penalty + net.contractive * (jacobians**2).sum((1, 2))
        a = layer(a)
    penalty = penalty + net.activity_l1 * a.abs().sum(1)
    mirrored, n = net.decoder_layer_sizes is None, len(sizes)
    n_decoder = n - 1 if mirrored else len(np.ravel(net.decoder_layer_sizes))
    if net.decoder_activation is not None:
        functions = each(net.decoder_activation, n_decoder)
    else:
        functions = functions[-2::-1] if mirrored else functions[:1] * n_decoder
    for i, function in enumerate([*functions, "identity"], 1):
        own = w[f"decoder_{i}"]
        kernel = w[f"encoder_{n + 1 - i}"]["kernel"].T if net.tied_weights else own["kernel"]
        a = apply(function, a @ kernel + own["bias"])
    return errors(net, a, clean).mean(1) + penalty, None


def through(layers, w, x):
    """Return the output of layers on images or rows for a batch, and their activity penalties."""
    made = SimpleNamespace(
        parameters=(value for own in w.values() for value in own.values()), training=True, step=0,
        random=0, penalty=0.0, activity=0.0,
    )  # fmt: skip
    out = forward(layers, x, made)
    assert next(made.parameters, None) is None
    return out, made.activity


def as_images(x, shape):
    return x.reshape(-1, *shape).permute(0, 3, 1, 2)


def conv_losses(net, w, x, clean, step):
    noises = GaussianNoise, MaskingNoise, SaltAndPepperNoise
    layers = [layer for layer in net.layers_ if not isinstance(layer, noises)]
    out, penalty = through(layers, w, as_images(noisy(net, x, step), net.image_shape_))
    return errors(net, flatten(None, out, None), clean).mean(1) + penalty, None


def drawn(net, heads, step):
    """Return codes drawn from their distributions, and the divergences of these."""
    mean, spread = heads.chunk(2, 1)
    seed = noise_seed(check_random_state(net.random_state))
    at = SimpleNamespace(seed=seed, step=step, first=0, variant=())
    normals = torch.from_numpy(normals_of(at, mean.shape[1], len(mean), 0).T.copy())
    theirs = torch.distributions.Normal(mean, torch.exp(spread / 2))
    divergence = torch.distributions.kl_divergence(theirs, torch.distributions.Normal(0.0, 1.0))
    return mean + theirs.scale * normals, divergence.sum(1)


def variational_losses(net, w, x, clean, step):
    z, divergence = (through_dense if net.encoder is None else through_layers)(net, w, x, step)
    factor = 1.0 if net.loss == "log_loss" else 0.5
    return factor * errors(net, z, clean).sum(1) + net.beta * divergence, divergence


def through_dense(net, w, x, step):
    """Return outputs and divergences of a network of dense layers."""
    a, functions = x, each(net.activation, len(np.ravel(net.hidden_layer_sizes)))
    for i, function in enumerate(functions, 1):
        a = apply(function, a @ w[f"encoder_{i}"]["kernel"] + w[f"encoder_{i}"]["bias"])
    z, divergence = drawn(net, a @ w["code"]["kernel"] + w["code"]["bias"], step)
    for i, function in enumerate([*functions[::-1], "identity"], 1):
        z = apply(function, z @ w[f"decoder_{i}"]["kernel"] + w[f"decoder_{i}"]["bias"])
    return z, divergence


def through_layers(net, w, x, step):
    """Return the same for a network of layers whose decoder starts with Dense and Reshape."""
    w, code, names = dict(w), w["code"], [name for name in w if name != "code"]
    n = sum(isinstance(layer, (Conv2D, Dense)) for layer in net.encoder)
    encoder, start, rest = (
        {name: w[name] for name in some} for some in (names[:n], [names[n]], names[n + 1 :])
    )
    a, _ = through(net.encoder, encoder, as_images(x, net.image_shape_))
    z, divergence = drawn(net, flatten(None, a, None) @ code["kernel"] + code["bias"], step)
    z, _ = through(net.decoder[:1], start, z)
    z, _ = through(net.decoder[2:], rest, as_images(z, net.decoder[1].shape))
    return flatten(None, z, None), divergence


LOSSES = {
    AutoencoderTransformer: dense_losses,
    ConvAutoencoderTransformer: conv_losses,
    VariationalAutoencoderTransformer: variational_losses,
}


# --- the comparison


def small(cls=AutoencoderTransformer, **params):
    given = {
        "batch_size": BATCH, "max_iter": EPOCHS, "shuffle": False, "random_state": 3,
        "learning_rate_init": 0.01,
    }  # fmt: skip
    if cls is AutoencoderTransformer:
        given |= {"hidden_layer_sizes": (5, 3), "activation": "relu", "average": False}
    return cls(**(given | params))


def values_of(net):
    return [value for own in net.weights_.values() for value in own.values()]


def with_start(net, X):
    """Return the estimator with random initial weights and biases."""
    still = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1, "pretrain_epochs": 0}
    first = clone(net).set_params(**{k: v for k, v in still.items() if k in net.get_params()})
    random, start = np.random.RandomState(1), []
    for value in values_of(first.fit(X)):
        inputs = int(np.prod(value.shape[:-1]))
        scale = 1.0 / np.sqrt(inputs) if value.ndim > 1 else 0.3
        start.append(random.normal(0.0, scale, value.shape))
    return clone(net).set_params(initializer=start)


def by_layer(net, parameters):
    """Return a list of parameters in the form of `weights_`."""
    parameters = iter(parameters)
    return {
        name: {part: next(parameters) for part in own} for name, own in net.weights_.items()
    }


class Optimizer:
    """PyTorch's optimizer for an estimator's parameters; Adam's epsilon is as in scikit-learn's."""

    def __init__(self, net, parameters):
        self.net, self.steps, self.parameters = net, 0, parameters
        if net.solver == "sgd":
            self.own = torch.optim.SGD(
                parameters, net.learning_rate_init, net.momentum, nesterov=net.nesterovs_momentum
            )
        else:
            betas = net.beta_1, net.beta_2
            self.own = torch.optim.Adam(parameters, net.learning_rate_init, betas)

    def step(self, loss):
        self.steps += 1
        if self.net.solver == "adam":
            corrected = np.sqrt(1 - self.net.beta_2**self.steps)
            self.own.param_groups[0]["eps"] = self.net.epsilon / corrected
        self.own.zero_grad()
        loss.backward()
        if self.net.clip_value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters, self.net.clip_value)
        if self.net.clip_norm is not None:  # clip_grad_norm_ adds 1e-6 to the norm
            norm = torch.sqrt(sum((p.grad**2).sum() for p in self.parameters))
            for p in self.parameters:
                p.grad *= min(1.0, self.net.clip_norm / norm)
        self.own.step()


def penalty(net, parameters):
    kernels = [value for value in parameters if value.ndim > 1]
    squares, sizes = (sum(f(k).sum() for k in kernels) for f in (torch.square, torch.abs))
    return 0.5 * net.alpha * squares + net.l1 * sizes


def train(net, X, clean=None, weights=None):
    """Train in PyTorch as a fitted estimator was; return parameters, and losses by epoch.

    For variational networks, the other columns are the reconstruction loss and the divergence.
    """
    x = torch.from_numpy(X.reshape(len(X), -1))
    clean = x if clean is None else torch.from_numpy(clean.reshape(len(X), -1))
    weights = torch.from_numpy(np.ones(len(X)) if weights is None else weights)
    parameters = [torch.tensor(value, requires_grad=True) for value in net.initializer]
    optimizer, curve = Optimizer(net, parameters), np.zeros((net.max_iter, 3))
    for epoch in range(net.max_iter):
        for start in range(0, len(X), net.batch_size):
            some = slice(start, start + net.batch_size)
            w = weights[some]
            losses, divergence = LOSSES[type(net)](
                net, by_layer(net, parameters), x[some], clean[some], optimizer.steps
            )
            mean = ((w * losses).sum() + penalty(net, parameters)) / w.sum()
            optimizer.step(mean)
            curve[epoch, 0] += mean.item() * len(w) / len(X)
            if divergence is not None:
                curve[epoch, 1] += (losses - net.beta * divergence).sum().item() / len(X)
                curve[epoch, 2] += divergence.sum().item() / len(X)
    return parameters, curve


def check(net, X, clean=None, weights=None, precision=1e-9):
    """Compare the losses of each epoch, and the final weights; return the fitted estimator."""
    net = with_start(net, X if clean is None else clean)
    if clean is None and weights is None:
        net.fit(X)
    else:
        net.fit(X, sample_weight=weights, X_clean=clean)
    parameters, curve = train(net, X, clean, weights)
    assert_close(net.loss_curve_, curve[:, 0], "losses", precision)
    if isinstance(net, VariationalAutoencoderTransformer):
        assert_close(net.reconstruction_curve_, curve[:, 1], "reconstructions", precision)
        assert_close(net.kl_curve_, curve[:, 2], "divergences", precision)
    names = [(layer, part) for layer, own in net.weights_.items() for part in own]
    for name, ours, theirs, start in zip(
        names, values_of(net), parameters, net.initializer, strict=True
    ):
        assert ours.dtype == (net.dtype or np.float64)
        assert_close(ours, theirs, name, precision)
        assert np.abs(ours - start).max() > 1e-6, name  # it has learned
    return net


# --- dense autoencoders

TIED = {"tied_weights": True}
LOG_LOSS = {"loss": "log_loss"}
THREE = {"hidden_layer_sizes": (6, 5, 3), "activation": ["tanh", "elu", "logistic"]}
DENSE = {
    "a code alone": {"hidden_layer_sizes": (3,)},
    "a number of units": {"hidden_layer_sizes": 9},
    "two layers": {},
    "three layers": THREE,
    "log loss": LOG_LOSS,
    "log loss, three layers": THREE | LOG_LOSS,
    "tied": TIED,
    "tied, a code alone": TIED | {"hidden_layer_sizes": (33,), "activation": "tanh"},
    "tied, log loss": THREE | TIED | LOG_LOSS,
    "penalties": {"alpha": 0.3, "l1": 0.05},
    "penalties, tied": {"alpha": 0.3, "l1": 0.05} | TIED,
    "a decoder of its own": {"decoder_layer_sizes": (4, 9), "activation": ["tanh", "silu"]},
    "a decoder of one layer": {"decoder_layer_sizes": ()},
    "a decoder as large": {"decoder_layer_sizes": 5, "activation": ["tanh", "silu"]},
    "decoder's activations": THREE | {"decoder_activation": ["softplus", "gelu"]},
    "decoder's activation": {"decoder_activation": Activation("leaky_relu", 0.1)},
    "logistic outputs": {"output_activation": "logistic"},
    "outputs that are no less than 0": {"output_activation": "relu"},
    "tanh outputs": {"output_activation": Activation("tanh"), **TIED},
    "softmax outputs": {"output_activation": "softmax"},
    "named logistic outputs": {"output_activation": "logistic", **LOG_LOSS},
    "sparse": {"activity_l1": 0.03, "activation": "tanh"},
    "sparse, relu": {"activity_l1": 0.03, **LOG_LOSS},
    "contractive": {"contractive": 0.1, "activation": "logistic", "hidden_layer_sizes": (5,)},
    "contractive, two layers": {"contractive": 0.1, "activation": ["tanh", "elu"]},
    "contractive, tied": {"contractive": 0.1, "activation": "logistic", **TIED, **LOG_LOSS},
    "gaussian noise": {"noise": 0.3},
    "gaussian noise in a range": {"noise": 0.3, "noise_range": (-0.5, 1.0)},
    "gaussian noise, log loss": {"noise": 0.3, **LOG_LOSS},
    "masking noise": {"noise": 0.4, "noise_kind": "masking"},
    "salt and pepper": {"noise": 0.4, "noise_kind": "salt_and_pepper", "noise_range": [-1, 2]},
    "salt and pepper, log loss": {"noise": 0.4, "noise_kind": "salt_and_pepper", **LOG_LOSS},
    "clipped values": {"clip_value": 0.003, "contractive": 0.1, "alpha": 0.3, **TIED},
    "clipped norms": {"clip_norm": 0.03, "contractive": 0.1, "alpha": 0.3, **TIED},
    "all of it": {
        **THREE, **TIED, **LOG_LOSS, "alpha": 0.1, "l1": 0.01, "activity_l1": 0.01,
        "contractive": 0.03, "noise": 0.2,
    },
}  # fmt: skip


@parametrize_solvers
@pytest.mark.parametrize("name", DENSE)
def test_dense_autoencoders_are_pytorch_s(name, solver):
    params = DENSE[name]
    check(small(**params, **SOLVERS[solver]), GRAY if params.get("loss") else X)


@pytest.mark.parametrize("function", sorted(set(ACTIVATIONS) - {"softmax"}))
def test_activations_are_pytorch_s(function):
    check(small(activation=function, tied_weights=True, activity_l1=0.01), X / 2)


@pytest.mark.parametrize(
    "function",
    ["identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "softplus"]
    + [Activation("leaky_relu", 0.1), Activation("elu", 0.7)],
    ids=str,
)
def test_contractions_are_those_of_jacobians(function):
    check(small(activation=function, contractive=0.05, **SOLVERS["sgd"]), X)


@parametrize_solvers
@pytest.mark.parametrize("tied", [False, True])
def test_clean_data_and_weights_of_samples(tied, solver):
    params = {"tied_weights": tied, "alpha": 0.1, "activity_l1": 0.03, "contractive": 0.03}
    net = small(activation="tanh", **params, **SOLVERS[solver])
    check(net, X, X[::-1].copy(), WEIGHTS)
    check(net, X, X[::-1].copy())
    check(net, X, None, WEIGHTS)
    check(net.set_params(loss="log_loss", noise=0.2), X, GRAY, WEIGHTS)


def test_many_units_and_features():
    wide = np.random.RandomState(2).normal(size=(SAMPLES, 70))
    for tied in (False, True):
        check(small(hidden_layer_sizes=(40, 18), tied_weights=tied, contractive=0.01), wide)


@pytest.mark.parametrize("batch", [1, 3, SAMPLES])
def test_batches_of_other_sizes(batch):
    params = {"contractive": 0.1, "activity_l1": 0.1, "noise": 0.2, "max_iter": 1}
    check(small(batch_size=batch, tied_weights=True, activation="tanh", **params), X)


def test_partial_fits_go_on():
    for params in ({"noise": 0.2}, TIED | {"contractive": 0.1, "activation": "tanh"}):
        net = with_start(small(**params), X)
        for _ in range(EPOCHS):
            net.partial_fit(X)
        parameters, curve = train(net, X)
        assert_close(net.loss_curve_, curve[:, 0], "losses")
        for ours, theirs in zip(values_of(net), parameters, strict=True):
            assert_close(ours, theirs, "weights")


@pytest.mark.parametrize(
    "params",
    [{}, TIED | LOG_LOSS, {"contractive": 0.1, "activity_l1": 0.1, "activation": "tanh"} | TIED],
    ids=str,
)
def test_lbfgs_minimizes_what_pytorch_differentiates(params):
    data = GRAY if params.get("loss") else X
    net = with_start(small(solver="lbfgs", alpha=0.1, l1=0.01, max_iter=8, **params), data)
    net.fit(data, sample_weight=WEIGHTS)
    x, weights = torch.from_numpy(data), torch.from_numpy(WEIGHTS)
    splits = np.cumsum([value.size for value in net.initializer])[:-1]

    def objective(packed):
        parts = np.split(packed, splits)
        parameters = [
            torch.tensor(part.reshape(value.shape), requires_grad=True)
            for part, value in zip(parts, net.initializer, strict=True)
        ]
        losses, _ = dense_losses(net, by_layer(net, parameters), x, x, 0)
        loss = ((weights * losses).sum() + penalty(net, parameters)) / weights.sum()
        gradients = torch.autograd.grad(loss, parameters)
        return loss.item(), np.concatenate([g.numpy().ravel() for g in gradients])

    curve = []
    start = np.concatenate([value.ravel() for value in net.initializer])
    scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 8, "gtol": net.tol},
        callback=lambda intermediate_result: curve.append(intermediate_result.fun),
    )  # fmt: skip
    assert len(curve) == 8
    np.testing.assert_allclose(net.loss_curve_, curve, rtol=1e-7)


def test_an_autoencoder_of_pytorch_s_modules():
    """This network is not rewritten here; in float32, too."""
    for dtype, precision in (("float64", 1e-9), ("float32", 1e-3)):
        net = with_start(small(loss="log_loss", dtype=dtype, max_iter=20), GRAY).fit(GRAY)
        modules = [torch.nn.Linear(*sizes) for sizes in ((7, 5), (5, 3), (3, 5), (5, 7))]
        relu, out = torch.nn.ReLU(), torch.nn.Sigmoid()
        model = torch.nn.Sequential(
            modules[0], relu, modules[1], relu, modules[2], relu, modules[3], out
        ).double()
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), net.initializer, strict=True):
                parameter.copy_(torch.from_numpy(value.T.copy()))
        optimizer, loss = torch.optim.Adam(model.parameters(), 0.01), torch.nn.BCELoss()
        x, losses = torch.from_numpy(GRAY), []
        for _ in range(20):
            total = 0.0
            for batch in x.split(BATCH):
                optimizer.zero_grad()
                error = loss(model(batch), batch)
                error.backward()
                optimizer.step()
                total += error.item() * len(batch)
            losses.append(total / len(x))
        # scikit-learn's Adam adds its epsilon of 1e-8 elsewhere
        assert_close(net.loss_curve_, np.array(losses), "losses", max(precision, 1e-5))


@pytest.mark.parametrize("solver", SOLVERS)
def test_in_float32_too(solver):
    params = SOLVERS[solver] | {"dtype": "float32"}
    precision = 1e-4
    check(small(**(DENSE["all of it"] | params)), GRAY, precision=precision)
    net = small(ConvAutoencoderTransformer, **own_layers(), **params, noise=0.3)
    check(net, COLORS, precision=precision)
    net = small(VariationalAutoencoderTransformer, hidden_layer_sizes=5, **params)
    check(net, X, precision=precision)


# --- convolutional autoencoders


def own_layers():
    encoder = [
        Conv2D(9, 3, 2, "same", activation="tanh"), AveragePooling2D((1, 2)),
        Conv2D(2, (3, 1), padding="same"), Activation("elu"),
    ]  # fmt: skip
    decoder = [
        Conv2DTranspose(5, 3, 2, "same", activation="relu"), UpSampling2D((1, 2), "bilinear"),
        Conv2D(3, 3, padding="same"),
    ]  # fmt: skip
    return {"encoder": encoder, "decoder": decoder}


def dense_code():
    encoder = [Conv2D(5, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(4)]
    decoder = [Dense(20, activation="tanh"), Dense(64)]
    return {"encoder": encoder, "decoder": decoder}


CONVOLUTIONAL = {
    "textbook": (IMAGES, {}),
    "textbook, log loss": (IMAGES, LOG_LOSS),
    "textbook, cut": (IMAGES[:, :7, :6], LOG_LOSS),
    "own layers": (COLORS, own_layers()),
    "own layers, log loss": (COLORS, own_layers() | LOG_LOSS),
    "a dense code": (IMAGES, dense_code() | {"output_activation": "relu"}),
    "penalties": (COLORS, own_layers() | {"alpha": 0.3, "l1": 0.05, "activity_l1": 0.03}),
    "gaussian noise": (COLORS, own_layers() | {"noise": 0.3} | LOG_LOSS),
    "masking noise": (COLORS, own_layers() | {"noise": 0.3, "noise_kind": "masking"}),
    "salt and pepper": (
        IMAGES, dense_code() | {"noise": 0.3, "noise_kind": "salt_and_pepper"} | LOG_LOSS,
    ),
}  # fmt: skip


@parametrize_solvers
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_autoencoders_are_pytorch_s(name, solver):
    images, params = CONVOLUTIONAL[name]
    net = small(ConvAutoencoderTransformer, **params, **SOLVERS[solver])
    check(net, np.ascontiguousarray(images))


def test_clean_images_and_weights_of_samples():
    net = small(ConvAutoencoderTransformer, **own_layers(), **LOG_LOSS, activity_l1=0.03)
    check(net, COLORS - 0.5, COLORS[::-1].copy(), WEIGHTS)


def test_textbook_layers_on_rows_are_those_on_lines():
    net = small(ConvAutoencoderTransformer, max_iter=1)
    rows = check(net, X.copy())
    assert rows.image_shape_ == (1, FEATURES, 1)


# --- variational autoencoders

VARIATIONAL = {
    "defaults": {"hidden_layer_sizes": (5,)},
    "log loss": {"hidden_layer_sizes": (5,), **LOG_LOSS},
    "no hidden layer": {"hidden_layer_sizes": (), "n_components": 3},
    "five components": {"hidden_layer_sizes": (6, 4), "n_components": 5, "activation": "tanh"},
    "two activations": {"hidden_layer_sizes": (6, 4), "activation": ["tanh", "elu"], **LOG_LOSS},
    "beta of 4": {"hidden_layer_sizes": (5,), "beta": 4},
    "beta of 0": {"hidden_layer_sizes": (5,), "beta": 0.0},
    "logistic outputs": {"hidden_layer_sizes": (5,), "output_activation": "logistic"},
    "penalties": {"hidden_layer_sizes": (5,), "alpha": 0.3, "l1": 0.05},
}


def convolutional_codes():
    encoder = [Conv2D(5, 3, 2, "same", activation="relu"), MaxPooling2D(2)]
    decoder = [
        Dense(4 * 4 * 3, activation="relu"), Reshape((4, 4, 3)),
        Conv2DTranspose(3, 3, 2, "same", activation="tanh"), Conv2D(1, 3, padding="same"),
    ]  # fmt: skip
    return {"encoder": encoder, "decoder": decoder, "n_components": 3}


@parametrize_solvers
@pytest.mark.parametrize("name", VARIATIONAL)
def test_variational_autoencoders_are_pytorch_s(name, solver):
    params = VARIATIONAL[name]
    net = small(VariationalAutoencoderTransformer, **params, **SOLVERS[solver])
    check(net, GRAY if params.get("loss") else X)


@parametrize_solvers
@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_variational_autoencoders_of_images_are_pytorch_s(loss, solver):
    params = {"loss": loss, "beta": 0.5, **convolutional_codes(), **SOLVERS[solver]}
    params["learning_rate_init"] = 0.001
    check(small(VariationalAutoencoderTransformer, **params), IMAGES)


def test_without_variance_the_codes_are_the_means():
    """Then the reference's draws play no part."""
    net = with_start(small(VariationalAutoencoderTransformer, hidden_layer_sizes=(5,)), X)
    kernel, bias = net.initializer[2:4]
    kernel[:, 2:], bias[2:] = 0.0, -70.0
    net.fit(X)
    nets = [clone(net).set_params(random_state=seed) for seed in (5, 6)]
    for other in nets:
        other.fit(X)
        parameters, curve = train(other, X)
        assert_close(net.loss_curve_, curve[:, 0], "losses")
        for ours, theirs in zip(values_of(net), parameters, strict=True):
            assert_close(ours, theirs, "weights", 1e-8)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_bounds_are_those_of_pytorch_s_distributions(loss):
    params = {"hidden_layer_sizes": (5,), "n_components": 3, "loss": loss, "beta": 3.0}
    net = with_start(small(VariationalAutoencoderTransformer, **params), GRAY).fit(GRAY)
    draws = 4
    bounds = net.elbo(GRAY, draws, random_state=11)
    w, x = net.weights_, torch.from_numpy(GRAY)
    a = np.maximum(GRAY @ w["encoder_1"]["kernel"] + w["encoder_1"]["bias"], 0.0)
    heads = torch.from_numpy(a @ w["code"]["kernel"] + w["code"]["bias"])
    mean, spread = heads.chunk(2, 1)
    codes = torch.distributions.Normal(mean, (spread / 2).exp())
    standard = torch.distributions.Normal(0.0, 1.0)
    random, expected = np.random.RandomState(11), 0.0
    for _ in range(draws):
        z = mean + codes.scale * torch.from_numpy(random.normal(size=mean.shape))
        outputs = torch.from_numpy(net.inverse_transform(z.numpy()))
        if loss == "log_loss":
            likelihood = torch.distributions.Bernoulli(outputs, validate_args=False).log_prob(x)
        else:
            likelihood = torch.distributions.Normal(outputs, 1.0).log_prob(x)
            likelihood = likelihood + 0.5 * np.log(2 * np.pi)
        expected = expected + likelihood.sum(1) / draws
    expected = expected - torch.distributions.kl_divergence(codes, standard).sum(1)
    assert_close(bounds, expected, "bounds")
    np.testing.assert_allclose(net.score(GRAY), net.elbo(GRAY, 300).mean(), rtol=0.05)
