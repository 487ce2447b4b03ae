"""
Transfer learning: what a network knows from elsewhere
======================================================

A few labelled images are not enough to learn a network's filters. So these are learned where there
is more to learn from, and kept in a file; on the new task they give features for a logistic
regression, or are the beginning of further training. How much that helps depends on how near the
two tasks are, which is shown here with a near one and a far one.
"""

# %%
# Three tasks
# -----------
# The new task is to tell the digits 5 to 9 apart, wherever on a canvas of 16x16 pixels they stand,
# from two to twenty of each.
#
# Near to it is to tell 0 to 4 apart, of which there are 901. They stand in the middle of their
# canvas, and the training shifts them at random.
#
# Far from it are photographs. They need no labels: patches of scikit-learn's two sample images are
# turned by some number of right angles, which the network is to find out (Gidaris et al., 2018).
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknn import ConvNetClassifier, ConvNetTransformer
from sknn.layers import Conv2D, Dense, Flatten, MaxPooling2D, RandomShift

side = 16
rng = np.random.RandomState(0)
X, y = load_digits(return_X_y=True)
digits = X.reshape(-1, 8, 8).astype(np.float32) / 16


def placed(images, tops, lefts):
    """Put each image on a canvas of its own."""
    canvas = np.zeros((len(images), side, side), np.float32)
    for image, whole, top, left in zip(images, canvas, tops, lefts):
        whole[top : top + 8, left : left + 8] = image
    return canvas


low = y < 5
X_low, y_low = placed(digits[low], [4] * low.sum(), [4] * low.sum()), y[low]
X_high, y_high = placed(digits[~low], *rng.randint(side - 7, size=(2, (~low).sum()))), y[~low]
X_few, X_test, y_few, y_test = train_test_split(
    X_high, y_high, test_size=0.5, stratify=y_high, random_state=0
)


def patches(photograph, n):
    """Cut grey patches out of a photograph of half the size, and stretch their contrast."""
    grey = photograph.mean(axis=2)
    height, width = grey.shape[0] // 2, grey.shape[1] // 2
    grey = grey[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
    places = zip(rng.randint(height - side + 1, size=n), rng.randint(width - side + 1, size=n))
    cut = np.stack([grey[i : i + side, j : j + side] for i, j in places])
    darkest, brightest = (some(cut, axis=(1, 2), keepdims=True) for some in (np.min, np.max))
    return ((cut - darkest) / (brightest - darkest + 10)).astype(np.float32)


cut = np.concatenate([patches(photograph, 2000) for photograph in load_sample_images().images])
turns = rng.randint(4, size=len(cut))
turned = np.stack([np.rot90(patch, k) for patch, k in zip(cut, turns)])

figure, panels = plt.subplots(3, 10, figsize=(10, 3.6), layout="compressed")
names = ("photographs: turns", "digits 0 to 4", "digits 5 to 9, new")
tasks = (turned[1995:], turns[1995:]), (X_low, y_low), (X_few, y_few)
for line, name, (images, labels) in zip(panels, names, tasks):
    for panel, image, label in zip(line, images, labels):
        panel.imshow(image, cmap="gray", vmin=0, vmax=1)
        panel.set_title(label, fontsize="small", pad=3)
        panel.set(xticks=[], yticks=[])
    line[0].set_ylabel(name.replace(": ", ":\n").replace(" 0", "\n0").replace(" 5", "\n5"))
plt.show()

# %%
# Two networks, and their files
# -----------------------------
# Layers with names can be found again in a file. The last pool takes the largest value of each
# filter, wherever it is, and so leaves 64 features.
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is meant as it is


def network(n_classes, trainable=True, **parameters):
    options = {"padding": "same", "activation": "relu", "trainable": trainable}
    layers = [
        Conv2D(32, 5, name="conv1", **options),
        MaxPooling2D(2),
        Conv2D(64, 3, name="conv2", **options),
        Conv2D(64, 3, name="conv3", **options),
        MaxPooling2D(side // 2),
        Flatten(),
        Dense(n_classes, name="output"),
    ]
    return ConvNetClassifier(layers, image_shape=(side, side), random_state=0, **parameters)


folder = tempfile.TemporaryDirectory()
from_photographs = network(4, batch_size=64, max_iter=8).fit(turned, turns)
from_digits = network(5, batch_size=64, max_iter=30, augmentation=RandomShift(4, 4))
from_digits.fit(X_low, y_low)
for name, net in {"photographs": from_photographs, "digits": from_digits}.items():
    net.save_weights(Path(folder.name, f"{name}.safetensors"))
    print(f"{name}: loss {net.loss_:.3f} after {net.n_iter_} epochs")
print(from_digits.summary())

# %%
# Features for a logistic regression
# ----------------------------------
# ``ConvNetTransformer`` gives what the output layer would get. A network whose weights were all
# ignored in the file is as it began: random filters, to compare with.


def loaded(name, ignore=("output",), **parameters):
    net = network(5, **parameters)
    path = Path(folder.name, f"{name}.safetensors")
    return net.load_weights(path, classes=range(5, 10), ignore=ignore)


def classifier(features):
    return make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=1000))


def accuracies(fit):
    """Return accuracies by number of labelled images of each digit, and by draw of these."""
    table = np.empty((len(counts), 3))
    for i, count in enumerate(counts):
        for draw in range(table.shape[1]):
            X_now, _, y_now, _ = train_test_split(
                X_few, y_few, train_size=5 * count, stratify=y_few, random_state=draw
            )
            table[i, draw] = fit(X_now, y_now).score(X_test, y_test)
    return table


counts = (2, 5, 10, 20)
everything = ("conv1", "conv2", "conv3", "output")
features = {
    "raw pixels": FunctionTransformer(lambda images: images.reshape(len(images), -1)),
    "random filters": ConvNetTransformer(loaded("digits", ignore=everything)),
    "photographs": ConvNetTransformer(loaded("photographs")),
    "digits 0 to 4": ConvNetTransformer(loaded("digits")),
}
regressions = {name: accuracies(classifier(some).fit) for name, some in features.items()}

# %%
# Further training
# ----------------
# First only the output layer learns: the convolutions are frozen by ``trainable=False``. Then they
# learn as well, from where they are, at a lower rate: ``warm_start=True`` goes on from the weights
# that were loaded, or fitted last. A network from random weights gets twice the epochs in which the
# convolutions of the other learn.


def frozen(X, y):
    net = loaded("digits", trainable=False, warm_start=True, batch_size=10)
    return net.set_params(learning_rate_init=1e-2, max_iter=100).fit(X, y)


def tuned(X, y):
    free = {f"layers__{i}__trainable": True for i in (0, 2, 3)}
    return frozen(X, y).set_params(learning_rate_init=1e-3, max_iter=30, **free).fit(X, y)


def from_scratch(X, y):
    return network(5, batch_size=10, max_iter=60).fit(X, y)


networks = {
    "from random weights": accuracies(from_scratch),
    "digits 0 to 4, frozen": accuracies(frozen),
    "digits 0 to 4, trained further": accuracies(tuned),
}
folder.cleanup()

# %%
# What comes out
# --------------
# Raw pixels say next to nothing of digits that may stand anywhere. What was learned on other digits
# is the best of the features for any number of images; what was learned on photographs is little
# better than random filters, and not with every seed. Further training gains a little on a random
# start as long as there are few images; with twenty of each digit the head start is gone.
print(f"{'labelled images of each digit':34s}", *(f"{count:5d}" for count in counts))
for title, results in (("logistic regression on", regressions), ("network", networks)):
    print(title)
    for name, table in results.items():
        print(f"    {name:30s}", *(f"{value:.3f}" for value in table.mean(axis=1)))

figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for panel, title, results in zip(
    panels, ("Logistic regression on features", "Networks"), (regressions, networks)
):
    for name, table in results.items():
        panel.errorbar(counts, table.mean(axis=1), table.std(axis=1), label=name, capsize=3)
    panel.axhline(1 / 5, color="gray", linestyle=":", label="chance")
    panel.set(xscale="log", xlabel="labelled images of each digit", title=title)
    panel.set_xticks(counts, counts)
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
panels[0].set_ylabel(f"accuracy on {len(X_test)} other images")
plt.show()
