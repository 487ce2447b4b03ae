"""Greedy layer-wise pretraining (Hinton and Salakhutdinov, 2006; Bengio et al., 2007)."""

from dataclasses import replace

import numpy as np

from ..engine.data import Data
from ..engine.network import Network
from ..engine.prediction import predict
from ..engine.training import Progress, Trainer
from ..engine.weights import Weights
from ..layers import Activation, Dense, GaussianNoise, MaskingNoise, TiedDense
from ..tape.losses import Loss
from ..tape.sources import INPUTS, Source


def pretrain(recipe, epochs, network, noise, values, random_state, dtype, X, wanted, weights):
    """Train each pair of a network's layers to reconstruct the output of the layers before it.

    Parameters
    ----------
    recipe : Recipe
    epochs : int
        For each pair.
    network : Network
        A network whose decoder mirrors its encoder.
    noise : tuple of Layer
        The first layers, if they are noise.
    values : list of ndarray
        The parameters; changed in place.
    random_state : RandomState
    dtype : dtype
    X, wanted : ndarray or sparse matrix
        The samples, and the targets of the first pair; None: the samples themselves.
    weights : ndarray or None
        Of the samples.

    Returns
    -------
    curves : list of list of float
        For each pair, the loss of each epoch.
    interrupted : bool
        Whether the user interrupted it.
    """
    places, curves, source = _places(network, dtype), [], Source(X)
    recipe = replace(recipe, early_stopping=False, max_iter=epochs, average=False)
    for i, (encoder, decoder, out) in enumerate(_pairs(network)):
        layers = (*_noise_of(i, noise), *encoder, decoder, out)
        loss = Loss("squared_error", out.function, over_outputs="mean") if i else network.loss
        stage = Network(layers, source.n_columns, loss)
        own = [k for layer in (encoder[0], decoder) for k in places[layer.name]]
        targets = INPUTS if i or wanted is None else Source(wanted)
        data = Data(source, targets, weights, np.arange(source.n_rows))
        progress = Progress([values[k] for k in own])
        seed = random_state.randint(2**31)
        trainer = Trainer(recipe, stage, dtype, progress, data, None, None, random_state, seed)
        trainer.fit(epochs, True)
        for k, value in zip(own, progress.values, strict=True):
            values[k] = value
        curves.append(progress.loss_curve)
        if trainer.interrupted:
            return curves, True
        source = Source(_codes(encoder, source, progress.values, dtype, recipe))
    return curves, False


def _noise_of(i, noise):
    """Return the noise layers for the i-th pair; on codes noise is not clipped."""
    if i == 0 or not noise or isinstance(noise[0], MaskingNoise):
        return noise
    if isinstance(noise[0], GaussianNoise):
        return (GaussianNoise(noise[0].stddev),)
    return (MaskingNoise(noise[0].rate),)


def _codes(encoder, source, values, dtype, recipe):
    """Return the codes that an encoder assigns to the rows of a source."""
    layers = (*encoder, Activation("identity"))
    network = Network(layers, source.n_columns, Loss("squared_error", "identity"))
    n = sum(len(group) for group in network.parameters())
    weights = Weights.of_packed(network, values[:n], dtype).on(recipe.device)
    return predict(weights, source, recipe.n_jobs)


def _places(network, dtype):
    """Return where the parameters of each layer are in a list of all of them."""
    places, count = {}, 0
    for (path, _, _), group in zip(network.primitives, network.parameters(), strict=True):
        places[path] = list(range(count, count + len(group)))
        count += len(group)
    return places


def _pairs(network):
    """Return the encoder's layers with the decoder layers that mirror them, outermost first.

    Each pair is the encoder's layer and what follows it, the decoder's layer, and its activation.
    """
    layers, groups = list(network.layers), []
    for layer in layers:
        if isinstance(layer, (Dense, TiedDense)):
            groups.append([layer])
        elif groups:
            groups[-1].append(layer)
    half = len(groups) // 2
    encoders, decoders = groups[:half], groups[half:]
    return [
        (tuple(encoder), decoder[0], decoder[1])
        for encoder, decoder in zip(encoders, reversed(decoders), strict=True)
    ]
