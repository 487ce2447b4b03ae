"""The same convolutional networks in PyTorch, trained in a plain loop; needs PyTorch."""

import joblib
import torch
from torch import nn
from torch.optim import lr_scheduler

from .networks import BATCH_SIZE

torch.set_num_threads(joblib.cpu_count())


def _lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(),
        nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _plain():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def _normalized(channels, filters, size, stride):
    convolution = nn.Conv2d(channels, filters, size, stride, size // 2, bias=False)
    return convolution, nn.BatchNorm2d(filters)


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is projected where the shape changes."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.block = nn.Sequential(
            *_normalized(channels, filters, 3, stride),
            nn.ReLU(inplace=True),
            *_normalized(filters, filters, 3, 1),
        )
        changes = stride > 1 or channels != filters
        self.shortcut = nn.Sequential(
            *(_normalized(channels, filters, 1, stride) if changes else ())
        )

    def forward(self, x):
        return nn.functional.relu(self.block(x) + self.shortcut(x), inplace=True)


def _resnet20():
    layers, channels = [*_normalized(3, 16, 3, 1), nn.ReLU(inplace=True)], 16
    for filters in (16, 32, 64):
        for i in range(3):
            layers.append(_Residual(channels, filters, 2 if i == 0 and filters > 16 else 1))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


_NETWORKS = {
    "LeNet-5": _lenet5,
    "32-32-pool-64-64-pool-128": _plain,
    "resnet20": _resnet20,
}


_SCHEDULERS = {
    "constant": lambda optimizer, steps: None,
    "cosine": lr_scheduler.CosineAnnealingLR,
    "one_cycle": lambda optimizer, steps: lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=steps, cycle_momentum=False
    ),
}


def network(name, channels_last=False, seed=0):
    """Return a network in one of the two memory layouts."""
    torch.manual_seed(seed)
    model = _NETWORKS[name]()
    return model.to(memory_format=torch.channels_last) if channels_last else model


def as_tensor(X, channels_last=False):
    """Return images (n, height, width, channels) as a PyTorch tensor in one of the layouts."""
    X = torch.from_numpy(X).permute(0, 3, 1, 2)
    return X if channels_last else X.contiguous()


def fit(name, X, y, epochs, channels_last=False, schedule="constant", seed=0):
    """Train on images `X` from :func:`as_tensor`, with the fused Adam."""
    model, y = network(name, channels_last, seed), torch.from_numpy(y)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    steps = epochs * -(-len(X) // BATCH_SIZE)
    scheduler = _SCHEDULERS[schedule](optimizer, steps)
    # Indexing loses the layout, unless the channels are the last axis.
    rows = X.permute(0, 2, 3, 1) if channels_last else X
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).split(BATCH_SIZE):
            images = rows.index_select(0, batch)
            if channels_last:
                images = images.permute(0, 3, 1, 2)
            loss = nn.functional.cross_entropy(model(images), y.index_select(0, batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    return model.eval()


def accuracy(name, X, y, X_test, y_test, epochs, schedule, seed):
    """Train on images (n, height, width, channels); return the accuracy on others."""
    y = y.astype("int64")
    model = fit(name, as_tensor(X, True), y, epochs, True, schedule, seed)
    return float((predict(model, as_tensor(X_test, True), 2500) == y_test).mean())


def predict(model, X, batch_size):
    """Predict the class indices of images `X` from :func:`as_tensor`."""
    with torch.inference_mode():
        return torch.cat([model(part).argmax(1) for part in X.split(batch_size)]).numpy()


def load_vgg16(path, image_shape, channels_last=False):
    """Return VGG-16 with the weights in a file."""
    from safetensors.torch import load_file

    height, width, channels = image_shape
    features = []
    for filters, depth in zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3)):
        for _ in range(depth):
            features += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
        features.append(nn.MaxPool2d(2))
    classifier = [
        nn.Linear(channels * (height // 32) * (width // 32), 4096),
        nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000),
    ]  # fmt: skip
    model = nn.Sequential()
    model.features = nn.Sequential(*features)
    model.flatten = nn.Flatten()
    model.classifier = nn.Sequential(*classifier)
    model.load_state_dict(load_file(path))
    return (model.to(memory_format=torch.channels_last) if channels_last else model).eval()
