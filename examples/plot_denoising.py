"""
Denoising: clean digits from noisy ones
=======================================

A network that gets noisy images and is trained to output the clean ones learns what a digit looks
like, and removes what does not belong. The noise is drawn anew at each training step, so it cannot
be memorized.
"""

# %%
# The digits
# ----------
# Pixels in [0, 1]. The noise on the held-out images is drawn here, once: normal noise, clipped to
# [0, 1]; pixels that are lost; pixels that are randomly black or white.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import AutoencoderTransformer, ConvAutoencoderTransformer
from sknn.display import ReconstructionDisplay
from sknn.layers import Conv2D

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32) / 16, y, test_size=0.25, stratify=y, random_state=0
)
rng = np.random.RandomState(0)
replaced = rng.uniform(size=X_test.shape) < 0.25
noisy = {
    "gaussian": np.clip(X_test + rng.normal(scale=0.25, size=X_test.shape), 0, 1),
    "masking": np.where(replaced, 0, X_test),
    "salt_and_pepper": np.where(replaced, rng.randint(2, size=X_test.shape), X_test),
}

# %%
# The networks
# ------------
# ``noise`` is the amount of noise, ``noise_kind`` its kind; with ``loss="log_loss"`` it is clipped
# to [0, 1]. The code of the dense network is larger than an image: only the noise keeps it from
# copying. The convolutional one has no bottleneck either, and works on 3x3 neighborhoods.


def dense(kind):
    return AutoencoderTransformer((256, 128), noise=0.25, noise_kind=kind, **training)


def convolutional(kind):
    encoder = [Conv2D(24, 3, padding="same", activation="relu") for _ in range(2)]
    decoder = [Conv2D(24, 3, padding="same", activation="relu"), Conv2D(1, 3, padding="same")]
    return ConvAutoencoderTransformer(
        encoder, decoder, image_shape=(8, 8), noise=0.25, noise_kind=kind, **training
    )


training = {
    "loss": "log_loss",
    "batch_size": 32,
    "learning_rate_init": 2e-3,
    "max_iter": 60,
    "n_iter_no_change": 60,
    "random_state": 0,
}
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended


def principal_components(images):
    """Return the reconstructions from the best number of components."""
    found = []
    for n in range(2, 60, 2):
        pca = PCA(n, random_state=0).fit(X_train)
        found.append(pca.inverse_transform(pca.transform(images)))
    return min(found, key=error)


def error(images):
    return np.mean((images - X_test) ** 2)


denoised = {}
for kind, images in noisy.items():
    denoised[kind] = {
        "noisy": images,
        "PCA": principal_components(images),
        "dense": dense(kind).fit(X_train).reconstruct(images),
        "convolutional": convolutional(kind).fit(X_train).reconstruct(images),
    }
    errors = ", ".join(f"{name} {error(images):.4f}" for name, images in denoised[kind].items())
    print(f"{kind}: mean squared error {errors}")

# %%
# The denoised images
# -------------------
# The number of principal components is chosen with the help of the clean held-out digits, an unfair
# advantage; even so, they remove less noise.
shown = [np.flatnonzero(y_test == digit)[1] for digit in range(10)]
figure, panels = plt.subplots(3, 1, figsize=(8, 10.5), layout="compressed")
for panel, (kind, rows) in zip(panels, denoised.items()):
    ReconstructionDisplay.from_predictions(
        X_test, rows, image_shape=(8, 8), samples=shown, ax=panel
    )
    panel.set_title(kind.replace("_", " "), fontsize="medium")
plt.show()

# %%
# Other kinds of damage
# ---------------------
# Any other damage can be repaired too, given pairs to learn from: ``X_clean`` is the target for X.
# Here the lower half of each image is missing.
half = np.arange(64) < 32
net = AutoencoderTransformer((256, 128), **training).fit(X_train * half, X_clean=X_train)
restored = net.reconstruct(X_test * half)
mean = np.where(half, X_test, X_train.mean(axis=0))
print(f"lower half: error {error(restored):.4f}, of the mean digit's {error(mean):.4f}")

ReconstructionDisplay.from_predictions(
    X_test,
    {"upper half": X_test * half, "restored": restored},
    image_shape=(8, 8),
    samples=shown,
)
plt.show()

# sphinx_gallery_thumbnail_number = 2
