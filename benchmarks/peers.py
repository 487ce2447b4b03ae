"""The same network in sknn, scikit-learn and PyTorch, and the data to train it on."""

import joblib
import numpy as np
from sklearn.neural_network import MLPClassifier

from sknn import MLPNetClassifier

try:
    import torch
except ImportError:
    torch = None
else:
    torch.set_num_threads(joblib.cpu_count())


def digits_like(samples, features, classes):
    """Return noisy copies of one random image per class, float32 in [0, 1], and their labels."""
    rng = np.random.RandomState(0)
    y = rng.randint(classes, size=samples)
    X = rng.rand(classes, features)[y] + 0.3 * rng.randn(samples, features)
    return X.clip(0, 1).astype(np.float32), y


def mnist(path, every=1):
    """Load MNIST as uint8 from an .npz file: ``(X_train, y_train, X_test, y_test)``, flat rows.

    The images may be sorted by class, so a subset takes every n-th one.
    """
    with np.load(path) as data:
        X_train, y_train = data["X_train"][::every], data["y_train"][::every]
        X_test, y_test = data["X_test"], data["y_test"]
    return X_train.reshape(len(X_train), -1), y_train, X_test.reshape(len(X_test), -1), y_test


def as_fractions(images):
    """Scale uint8 pixels to [0, 1], in float32, which takes half the memory of float64."""
    return np.divide(images, 255, dtype=np.float32)


def estimator(peer, hidden, batch_size, epochs, **parameters):
    """Return an estimator of sknn or scikit-learn that trains for all epochs, with Adam."""
    return {"sknn": MLPNetClassifier, "scikit-learn": MLPClassifier}[peer](
        hidden,
        batch_size=batch_size,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs + 1,
        random_state=0,
        **parameters,
    )


def torch_fit(X, y, hidden, batch_size, epochs):
    """Train with PyTorch in a plain loop.

    There is no weight decay, while sknn and scikit-learn also apply their default ``alpha``.
    """
    torch.manual_seed(0)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    layers, width = [], X.shape[1]
    for units in hidden:
        layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
        width = units
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, int(y.max()) + 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for rows, labels in _shuffled_batches(X, y, batch_size):
            loss = torch.nn.functional.cross_entropy(model(rows), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def _shuffled_batches(X, y, batch_size):
    order = torch.randperm(len(X))
    # As measured, narrow rows are shuffled fastest all at once, wide ones one batch at a time.
    if X.shape[1] < 256:
        return zip(X[order].split(batch_size), y[order].split(batch_size))
    batches = order.split(batch_size)
    return ((X.index_select(0, batch), y.index_select(0, batch)) for batch in batches)


def torch_predict(model, X):
    """Predict class indices with PyTorch."""
    with torch.inference_mode():
        return model(torch.from_numpy(X)).argmax(1).numpy()
