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
from sknn.display import ActivationMapDisplay, FilterDisplay, LossCurveDisplay

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
# The held-out digits are used as validation data, for the curves only; nothing is selected by them.
# The training loss is averaged over an epoch while the weights change, and includes a small L2
# penalty.
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

LossCurveDisplay.from_estimator(net)
plt.show()

# %%
# The filters
# -----------
# The first layer has six filters of 5x5 weights: positive weights (red) respond to ink, negative
# ones (blue) to paper, and a filter with red on one side and blue on the other detects edges of
# that orientation. On a small data set, filters change little from their random initial values.
# The second figure shows the activation map of each filter for one digit, after the relu; bright
# means large.
FilterDisplay.from_estimator(net)
ActivationMapDisplay.from_estimator(net, X_test[y_test == 5][0], layers=0)
plt.show()

# %%
# The second layer
# ----------------
# After the first pooling layer, each of 16 filters sees a 5x5 window of all six maps. They respond
# to parts of digits rather than to edges, so their maps differ between digits. Each row shows one
# digit, each column one filter.
rows = [np.flatnonzero(y_test == digit)[0] for digit in (0, 1, 4, 7)]
ActivationMapDisplay.from_estimator(net, X_test[rows], layers=2)
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
    panel.imshow(X_test[sample], cmap="gray_r")
    panel.set_title(
        f"{predicted[sample]} ({probability:.0%}), is {y_test[sample]}",
        fontsize="medium",
        color="tab:red",
    )
figure.suptitle(f"{len(worst)} of {len(wrong)} mistakes among {len(X_test):,} held-out digits")
plt.show()

# sphinx_gallery_thumbnail_number = 4
