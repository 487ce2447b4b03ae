"""
Transfer learning: reusing what a network has learned
=====================================================

A few labeled images hardly suffice to learn a network's filters. So these are learned on another
task with more data, and saved in a file; on the new task they provide features for a logistic
regression, or initial weights for further training. How much that helps depends on how similar the
two tasks are, which is shown here with a similar and a dissimilar one.
"""

# %%
# Three tasks
# -----------
# The new task is to classify the digits 5 to 9, anywhere on a canvas of 16x16 pixels, from two to
# twenty labeled images of each.
#
# A similar task is to classify the digits 0 to 4, of which there are 901 images. They are centered,
# and shifted at random in training.
#
# A dissimilar task uses photographs, without labels: patches of scikit-learn's two sample images
# are rotated by a multiple of 90 degrees, which the network has to predict (Gidaris et al., 2018).
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
    """Place each image on a canvas of its own."""
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
    """Cut gray patches out of a photograph at half its size, and stretch their contrast."""
    gray = photograph.mean(axis=2)
    height, width = gray.shape[0] // 2, gray.shape[1] // 2
    gray = gray[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
    places = zip(rng.randint(height - side + 1, size=n), rng.randint(width - side + 1, size=n))
    cut = np.stack([gray[i : i + side, j : j + side] for i, j in places])
    darkest, brightest = (some(cut, axis=(1, 2), keepdims=True) for some in (np.min, np.max))
    return ((cut - darkest) / (brightest - darkest + 10)).astype(np.float32)


cut = np.concatenate([patches(photograph, 2000) for photograph in load_sample_images().images])
turns = rng.randint(4, size=len(cut))
turned = np.stack([np.rot90(patch, k) for patch, k in zip(cut, turns)])

figure, panels = plt.subplots(3, 10, figsize=(10, 3.6), layout="compressed")
names = ("photographs: rotations", "digits 0 to 4", "digits 5 to 9, new")
sharp = np.argsort(-turned.std(axis=(1, 2)))[:1000:100]  # patches with something to see
tasks = (turned[sharp], turns[sharp]), (X_low, y_low), (X_few, y_few)
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
# The names of the layers identify them in the file. The last pooling layer takes the maximum of
# each filter over the whole image, and so leaves 64 features.
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended


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
# ``ConvNetTransformer`` returns the input of the output layer. A network that ignores all weights
# in the file keeps its random filters, as a baseline.


def loaded(name, ignore=("output",), **parameters):
    net = network(5, **parameters)
    path = Path(folder.name, f"{name}.safetensors")
    return net.load_weights(path, classes=range(5, 10), ignore=ignore)


def classifier(features):
    return make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=1000))


def accuracies(fit):
    """Return accuracies by number of labeled images per digit, and by draw of these."""
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
# Fine-tuning
# -----------
# First only the output layer is trained: the convolutions are frozen by ``trainable=False``. Then
# all layers are trained at a lower rate: ``warm_start=True`` continues from the weights that were
# loaded, or fitted last. A network with random initial weights gets twice as many epochs.


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
    "digits 0 to 4, fine-tuned": accuracies(tuned),
}
folder.cleanup()

# %%
# Results
# -------
# Raw pixels say next to nothing about digits that may be anywhere. Features learned on other digits
# are by far the best for any number of images; those learned on photographs are hardly better than
# random filters. A network that starts from random weights and is trained for twice as many epochs
# does about as well as the fine-tuned one: on a task this small, the head start does not last.
print(f"{'labeled images per digit':34s}", *(f"{count:5d}" for count in counts))
for title, results in (("logistic regression on", regressions), ("network", networks)):
    print(title)
    for name, table in results.items():
        print(f"    {name:30s}", *(f"{value:.3f}" for value in table.mean(axis=1)))

figure, panels = plt.subplots(1, 2, figsize=(10, 4.8), sharey=True, layout="constrained")
for panel, title, results in zip(
    panels, ("Logistic regression on features", "Networks"), (regressions, networks)
):
    for name, table in results.items():
        panel.errorbar(counts, table.mean(axis=1), table.std(axis=1), label=name, capsize=3)
    panel.axhline(1 / 5, color="gray", linestyle=":", label="chance")
    panel.set(xscale="log", xlabel="labeled images per digit", title=title)
    panel.set_xticks(counts, counts)
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
panels[0].set_ylabel(f"accuracy on {len(X_test)} held-out images")
plt.show()
