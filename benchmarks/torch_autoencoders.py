"""The same autoencoders in PyTorch, trained in a plain loop; needs PyTorch.

The networks map rows of pixels to rows of pixels; for `loss="log_loss"` the outputs are logits.
`torch.compile` is not used, since it needs a compiler.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class Plain(nn.Sequential):
    """Layers in sequence."""

    def loss(self, x, error):
        """Return the mean reconstruction error."""
        return error(self(x), x)


class Variational(nn.Module):
    """A variational autoencoder, whose encoder outputs means and log variances."""

    def __init__(self, inputs, hidden, components):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2 * components)
        )
        self.decoder = nn.Sequential(
            nn.Linear(components, hidden), nn.ReLU(), nn.Linear(hidden, inputs)
        )

    def forward(self, x):
        """Return the reconstruction from a sampled code, and the KL divergence, for each row."""
        mean, spread = self.encoder(x).chunk(2, 1)
        draws = mean + torch.exp(spread / 2) * torch.randn_like(mean)
        divergence = (torch.exp(spread) + mean**2 - 1 - spread).sum(1) / 2
        return self.decoder(draws), divergence

    def loss(self, x, error):
        """Return minus the evidence lower bound, averaged over the rows."""
        outputs, divergence = self(x)
        return x.shape[1] * error(outputs, x) + divergence.mean()


class _Images(nn.Module):
    """Reshapes rows to images, without a copy."""

    def __init__(self, channels_last):
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x):
        # Strides alone do not tell the layouts apart where there is one channel.
        if self.channels_last:
            return x.view(-1, 28, 28, 1).permute(0, 3, 1, 2)
        return x.view(-1, 1, 28, 28)


def dense(*sizes, out=()):
    """Return fully connected layers with relu between them."""
    layers = []
    for inputs, units in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return Plain(*layers[:-1], *out)


def convolutional(channels_last=False):
    """Return the textbook layers for images of 28x28 pixels."""
    model = Plain(
        _Images(channels_last),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 1, 3, padding=1), nn.Flatten(),
    )  # fmt: skip
    return model.to(memory_format=torch.channels_last) if channels_last else model


# name: functions that return the variants of the network; the fastest counts
NETWORKS = {
    "784-32-784": [lambda: dense(784, 32, 784)],
    "784-512-256-128-64 and back": [
        lambda: dense(784, 512, 256, 128, 64, 128, 256, 512, 784, out=[nn.ReLU()])
    ],
    "convolutional": [convolutional, lambda: convolutional(channels_last=True)],
    "VAE 784-400-20": [lambda: Variational(784, 400, 20)],
}


def _cross_entropy_of_fractions(outputs, x):
    return functional.binary_cross_entropy(torch.sigmoid(outputs), x)


# loss: its implementations in PyTorch; the fastest counts
ERRORS = {
    "log_loss": [functional.binary_cross_entropy_with_logits, _cross_entropy_of_fractions],
    "squared_error": [functional.mse_loss],
}

#: Implementations of Adam's step; the fastest counts.
STEPS = ({"fused": True}, {"foreach": True})


def adam(model, rate=1e-3, **step):
    """Return an Adam optimizer for a network."""
    return torch.optim.Adam(model.parameters(), lr=rate, **step)


def epoch(model, optimizer, error, batch_size, rows):
    """Train for one epoch on the rows of a tensor, shuffled."""
    for batch in torch.randperm(len(rows)).split(batch_size):
        loss = model.loss(rows.index_select(0, batch), error)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def begin_as_sknn(model):
    """Initialize the weights from the same distributions as sknn; biases are zero."""
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    for layer in layers[:-1]:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    nn.init.xavier_uniform_(layers[-1].weight)
    for layer in layers:
        nn.init.zeros_(layer.bias)


def bound(model, rows, n_samples):
    """Return the mean evidence lower bound of rows, with `n_samples` codes per row."""
    error, losses = ERRORS["log_loss"][0], []
    with torch.inference_mode():
        for part in rows.split(1000):
            draws = [float(model.loss(part, error)) for _ in range(n_samples)]
            losses.append(len(part) * math.fsum(draws) / n_samples)
    return -math.fsum(losses) / len(rows)
