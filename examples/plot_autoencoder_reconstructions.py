"""
Autoencoders: digits through a bottleneck
=========================================

An autoencoder compresses an image to a few numbers, its code, and reconstructs the image from them.
Here a plain, a deep, a convolutional and a sparse one are compared with principal components, the
best linear autoencoder.
"""

# %%
# The digits
# ----------
# 1,797 images of 8x8 pixels, scaled to [0, 1]. A quarter is held out: what counts is how well
# images are reconstructed that were not in the training data.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import AutoencoderTransformer, ConvAutoencoderTransformer
from sknn.display import ReconstructionDisplay
from sknn.layers import Activation, Conv2D, Dense, Flatten, MaxPooling2D, Reshape, UpSampling2D

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32) / 16, y, test_size=0.25, stratify=y, random_state=0
)

# %%
# The networks
# ------------
# Four have codes of size 8. The sparse one has 64 units, as many as there are pixels, which would
# be no bottleneck at all; but an L1 penalty keeps most of them at zero. The loss is the binary
# cross-entropy, with pixels as probabilities of ink.
#
# A dense code is not bounded: its activation is the identity by default. With ``activity_l1``, it
# is relu, so that most units can be exactly zero.


def settings(**others):
    return {
        "loss": "log_loss",
        "batch_size": 32,
        "learning_rate_init": 3e-3,
        "max_iter": 150,
        "random_state": 0,
        **others,
    }


encoder = [
    Conv2D(16, 3, padding="same", activation="relu"),
    MaxPooling2D(2),
    Conv2D(32, 3, padding="same", activation="relu"),
    MaxPooling2D(2),
    Flatten(),
    Dense(8),
]
decoder = [
    Dense(2 * 2 * 32),
    Activation("relu"),
    Reshape((2, 2, 32)),
    UpSampling2D(2),
    Conv2D(16, 3, padding="same", activation="relu"),
    UpSampling2D(2),
    Conv2D(1, 3, padding="same"),
]
models = {
    "PCA, 8": PCA(8, random_state=0),
    "plain, 8": AutoencoderTransformer(8, **settings()),
    "deep, 128-64-8": AutoencoderTransformer((128, 64, 8), **settings()),
    "convolutional, 8": ConvAutoencoderTransformer(
        encoder, decoder, image_shape=(8, 8), **settings(max_iter=60)
    ),
    "sparse, 64": AutoencoderTransformer(64, **settings(activity_l1=2e-3)),
}

# %%
# Reconstructions of held-out digits
# ----------------------------------
# ``reconstruct(X)`` of an autoencoder is ``inverse_transform(transform(X))``; the latter works for
# principal components, too.
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
reconstructions, codes, errors = {}, {}, {}
for name, model in models.items():
    codes[name] = model.fit(X_train).transform(X_test)
    reconstructions[name] = model.inverse_transform(codes[name])
    errors[name] = np.mean((reconstructions[name] - X_test) ** 2)
    active = np.mean(np.abs(codes[name]) > 1e-6) * codes[name].shape[1]
    print(f"{name:16s} mean squared error {errors[name]:.4f}, {active:4.1f} nonzero units")

shown = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
ReconstructionDisplay.from_predictions(
    X_test, reconstructions, image_shape=(8, 8), samples=shown
)
plt.show()

# %%
# Errors by digit
# ---------------
# The same errors digit by digit: some digits come in more shapes than others.
figure, panel = plt.subplots(figsize=(8, 3.4), layout="constrained")
width = 0.8 / len(models)
for place, (name, images) in enumerate(reconstructions.items()):
    by_image = np.mean((images - X_test) ** 2, axis=1)
    by_digit = [by_image[y_test == digit].mean() for digit in range(10)]
    panel.bar(np.arange(10) + (place - 2) * width, by_digit, width, label=name)
panel.set(xlabel="digit", ylabel="mean squared error", xticks=range(10))
panel.spines[["top", "right"]].set_visible(False)
panel.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
plt.show()
