"""RealMLP in PyTorch, in a plain training loop, for rows that are encoded already."""

import math

import torch
from torch import nn

BATCH_SIZE = 256
F = torch.nn.functional


class _Numbers(nn.Module):
    """Each number, and three linear combinations of 16 cosines of it."""

    def __init__(self, features):
        super().__init__()
        self.frequencies = nn.Parameter(0.1 * torch.randn(features, 16))
        self.phases = nn.Parameter(math.pi * (2 * torch.rand(features, 16) - 1))
        self.kernel = nn.Parameter((2 * torch.rand(features, 16, 3) - 1) / 4)
        self.bias = nn.Parameter((2 * torch.rand(features, 1, 3) - 1) / 4)

    def forward(self, x):
        x = x.T[:, :, None]
        waves = torch.cos(2 * math.pi * x * self.frequencies[:, None] + self.phases[:, None])
        made = torch.baddbmm(self.bias, waves, self.kernel)
        return torch.cat([x, made], 2).transpose(0, 1).flatten(1)


class _Dense(nn.Module):
    """A layer whose matrix is V / sqrt(inputs)."""

    def __init__(self, inputs, units):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(inputs, units))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.kernel, alpha=len(self.kernel) ** -0.5)


class _Bent(nn.Module):
    def __init__(self, function, units):
        super().__init__()
        self.function, self.slope = function, nn.Parameter(torch.ones(units))

    def forward(self, x):
        return torch.lerp(x, self.function(x), self.slope)


class RealMLP(nn.Module):
    """The network; `counts` are the numbers of categories of the last columns."""

    def __init__(self, numbers, passed, counts, units, outputs, function):
        super().__init__()
        self.split = numbers, passed, len(counts)
        self.numbers = _Numbers(numbers)
        self.vectors = nn.Parameter(torch.randn(sum(counts), 8))
        width = 4 * numbers + passed + 8 * len(counts)
        self.scale = nn.Parameter(torch.ones(width))
        layers = []
        for n in units:
            layers += [_Dense(width, n), _Bent(function, n), nn.Dropout(0.15)]
            width = n
        self.layers = nn.Sequential(*layers, _Dense(width, outputs))

    def forward(self, x):
        numbers, passed, codes = x.split(self.split, 1)
        vectors = F.embedding(codes.long(), self.vectors).flatten(1)
        return self.layers(torch.cat([self.numbers(numbers), passed, vectors], 1) * self.scale)

    def groups(self):
        """Return the parameters by the factors of their rates, and of their decay."""
        found = {}
        for name, value in self.named_parameters():
            part = name.split(".")[-1]
            rate = {"scale": 6.0, "bias": 0.1, "slope": 0.1}.get(part, 1.0)
            rate = 0.1 if name.startswith("numbers") else rate
            found.setdefault((rate, float(part in ("kernel", "vectors"))), []).append(value)
        return [
            {"params": values, "factor": rate, "decays": decays}
            for (rate, decays), values in found.items()
        ]


def fit(X, y, counts, numbers, epochs, classes):
    """Train on a float tensor of rows, for numbers of classes or standardized targets."""
    torch.manual_seed(0)
    passed = X.shape[1] - numbers - len(counts)
    function, outputs, base = (F.selu, int(y.max()) + 1, 0.04) if classes else (F.mish, 1, 0.2)
    model = RealMLP(numbers, passed, counts, (256, 256, 256), outputs, function)
    dropouts = [layer for layer in model.layers if isinstance(layer, nn.Dropout)]
    optimizer = torch.optim.AdamW(model.groups(), lr=base, betas=(0.9, 0.95), fused=True)
    per_epoch = len(X) // BATCH_SIZE
    for step in range(epochs * per_epoch):
        if step % per_epoch == 0:
            batches = torch.randperm(len(X)).split(BATCH_SIZE)
        t = step / (epochs * per_epoch)
        flat = 1.0 if t <= 0.5 else (1 + math.cos(math.pi * (2 * t - 1))) / 2
        wave = (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t))) / 2
        for group in optimizer.param_groups:
            group["lr"] = base * wave * group["factor"]
            group["weight_decay"] = 0.02 * flat * group["decays"]
        for layer in dropouts:
            layer.p = 0.15 * flat
        batch = batches[step % per_epoch]
        z, wanted = model(X[batch]), y[batch]
        if classes:
            loss = F.cross_entropy(z, wanted, label_smoothing=0.1)
        else:
            loss = F.mse_loss(z[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
