"""
LeNet-5: what a convolutional network sees in digits
====================================================

LeNet-5 (LeCun et al., 1998) learns handwritten digits; then we look at its filters, at its
activation maps, and at its mistakes. It uses scikit-learn's digits, or MNIST if available:
``mnist.npz`` in the current folder, or the file given by the environment variable ``MNIST``, with
``X_train``, ``y_train``, ``X_test`` and ``y_test``.
"""

# %%
# The digits
# ----------
# LeNet-5 was designed for 28x28 pixels. scikit-learn's digits have 8x8. Enlarged three times, with
# a margin, they have the size of MNIST's, and the network is the same for both.
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import ConvNetClassifier

mnist = Path(os.environ.get("MNIST", "mnist.npz"))
if mnist.is_file():
    with np.load(mnist) as file:
        data = {name.lower(): file[name] for name in file}
    X_train, X_test = (data[name].astype(np.float32) / 255 for name in ("x_train", "x_test"))
    y_train, y_test = data["y_train"], data["y_test"]
    epochs, batch_size = 5, 128
else:
    X, y = load_digits(return_X_y=True)
    images = zoom(X.reshape(-1, 8, 8).astype(np.float32) / 16, (1, 3, 3), order=1)
    images = np.pad(images, [(0, 0), (2, 2), (2, 2)])
    X_train, X_test, y_train, y_test = train_test_split(
        images, y, test_size=0.25, stratify=y, random_state=0
    )
    epochs, batch_size = 20, 32

# %%
# The network
# -----------
# The held-out digits are used for the curves only; nothing is selected by them. The training loss
# is averaged over an epoch while the weights change, and includes a small L2 penalty.
net = ConvNetClassifier("lenet5", batch_size=batch_size, max_iter=epochs, random_state=0)
with warnings.catch_warnings():
    # The number of epochs is intended; the warning that the loss still falls is ignored.
    warnings.simplefilter("ignore", ConvergenceWarning)
    net.fit(X_train, y_train, X_val=X_test, y_val=y_test)
print(net.summary())

predicted = net.predict(X_test)
wrong = np.flatnonzero(predicted != y_test)
print(f"{len(X_train):,} images to train on, {len(X_test):,} held out")
print(f"Accuracy on held-out digits: {net.score(X_test, y_test):.4f}, {len(wrong)} mistakes")

figure, (losses, scores) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
history = net.history_
losses.plot(history["loss"], label="training")
losses.plot(history["validation_loss"], label="held out")
losses.set(xlabel="epoch", ylabel="loss", yscale="log", title="Loss")
losses.legend()
scores.plot(history["validation_score"], color="tab:orange")
scores.set(xlabel="epoch", ylabel="accuracy", title="Accuracy on held-out digits")
for panel in (losses, scores):
    panel.set_xlim(1, epochs)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
plt.show()

# %%
# The filters
# -----------
# The first layer has six filters of 5x5 weights: positive weights (red) respond to ink, negative
# ones (blue) to paper, and a filter with red on one side and blue on the other detects edges of
# that orientation. On a small data set, filters change little from their random initial values.
# Below each filter is its activation map for one digit, after the relu; bright means large.
kernels = net.weights_["layers.0"]["kernel"]  # (height, width, channels, filters)
n_filters = kernels.shape[-1]
shown = X_test[y_test == 5][:1]


def show(panel, image, **options):
    panel.imshow(image, **options)
    panel.set(xticks=[], yticks=[])


maps = net.activations(shown, 0)[0]  # (height, width, filters)
figure, panels = plt.subplots(
    2, n_filters + 1, figsize=(10, 3.1), width_ratios=[1.25] + [1] * n_filters, layout="constrained"
)
limit = np.abs(kernels).max()
panels[0, 0].set_axis_off()
show(panels[1, 0], shown[0], cmap="gray_r")
panels[1, 0].set_title("the digit", fontsize="medium")
for i in range(n_filters):
    show(panels[0, i + 1], kernels[..., 0, i], cmap="RdBu_r", vmin=-limit, vmax=limit)
    show(panels[1, i + 1], maps[..., i], cmap="viridis", vmin=0)
    panels[0, i + 1].set_title(f"filter {i + 1}", fontsize="medium")
plt.show()

# %%
# The second layer
# ----------------
# After the first pooling layer, each of 16 filters sees a 5x5 window of all six maps. They respond
# to parts of digits rather than to edges, so their maps differ between digits. Each row shows one
# digit, each column one filter.
rows = [np.flatnonzero(y_test == digit)[0] for digit in (0, 1, 4, 7)]
maps = net.activations(X_test[rows], 2)
n_filters = maps.shape[-1]

figure, panels = plt.subplots(len(rows), n_filters + 1, figsize=(12, 3.3), layout="compressed")
for line, image, digit_maps in zip(panels, X_test[rows], maps):
    show(line[0], image, cmap="gray_r")
    for i in range(n_filters):
        show(line[i + 1], digit_maps[..., i], cmap="viridis", vmin=0, vmax=maps[..., i].max())
figure.suptitle("Activation maps of the second convolution")
plt.show()

# %%
# The mistakes
# ------------
# The predicted label, with its probability, and the true one. The most confident mistakes come
# first.
probabilities = net.predict_proba(X_test[wrong]).max(axis=1)
worst = wrong[np.argsort(-probabilities)][:16]
probabilities = np.sort(probabilities)[::-1]

columns = 8
n_lines = max(1, -(-len(worst) // columns))
figure, panels = plt.subplots(
    n_lines, columns, figsize=(11, 1.9 * n_lines), squeeze=False, layout="constrained"
)
for panel in panels.flat:
    panel.set_axis_off()
for panel, sample, probability in zip(panels.flat, worst, probabilities):
    show(panel, X_test[sample], cmap="gray_r")
    panel.set_title(
        f"{predicted[sample]} ({probability:.0%}), is {y_test[sample]}",
        fontsize="medium",
        color="tab:red",
    )
figure.suptitle(f"{len(worst)} of {len(wrong)} mistakes among {len(X_test):,} held-out digits")
plt.show()

# sphinx_gallery_thumbnail_number = 3
