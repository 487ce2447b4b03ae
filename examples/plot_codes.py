"""
Codes as maps: digits in two dimensions
=======================================

Where an autoencoder puts the digits, without having seen a label. Three ways to two numbers: a
variational autoencoder whose code has just two, a larger code that t-SNE lays out in the plane, and
the first two principal components.
"""

# %%
# The digits
# ----------
# Half of the 1,797 images are fitted, and the other half is drawn: a map is of use if it has a
# place for what is new.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import TSNE
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sknn import AutoencoderTransformer, VariationalAutoencoderTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32) / 16, y, test_size=0.5, stratify=y, random_state=0
)
warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are enough

# %%
# Two numbers
# -----------
# The code of a variational autoencoder is a normal distribution for each image. Its loss asks that
# they lie near the standard one, and therefore side by side, without large gaps. ``transform``
# gives the means.
maps = {"PCA": PCA(2, random_state=0).fit(X_train).transform(X_test)}
vae = VariationalAutoencoderTransformer(
    2, (256, 64), loss="log_loss", batch_size=32, max_iter=250, n_iter_no_change=250, random_state=0
).fit(X_train)
maps["VAE"] = vae.transform(X_test)
print(f"VAE: evidence lower bound of held-out digits {vae.score(X_test):.1f} nats")
print(vae.history_.iloc[[0, 9, 49, -1]])

# %%
# Sixteen numbers, then t-SNE
# ---------------------------
# A plain autoencoder needs more room. t-SNE keeps neighbours in the 16 dimensions neighbours in the
# plane. It makes a map of the points that it is given, and has no place for others.
deep = AutoencoderTransformer(
    (128, 64, 16), ["relu", "relu", "identity"], loss="log_loss", batch_size=32,
    learning_rate_init=3e-3, max_iter=150, random_state=0,
).fit(X_train)  # fmt: skip
maps["autoencoder, t-SNE"] = TSNE(random_state=0).fit_transform(deep.transform(X_test))

# %%
# The maps
# --------
# How well they tell the digits apart: the accuracy of the five nearest neighbours on the map, in
# five-fold cross-validation. A digit's number stands where the median of its points is.
figure, panels = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained")
color_of = plt.get_cmap("tab10")
for panel, (name, places) in zip(panels, maps.items()):
    accuracy = cross_val_score(KNeighborsClassifier(5), places, y_test, cv=5).mean()
    print(f"{name:18s} accuracy of neighbours {accuracy:.3f}")
    for digit in range(10):
        of_digit = places[y_test == digit]
        panel.scatter(*of_digit.T, s=9, color=color_of(digit), alpha=0.75, linewidths=0)
        panel.text(
            *np.median(of_digit, axis=0), digit, ha="center", va="center", fontsize="large",
            bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": color_of(digit)},
        )  # fmt: skip
    panel.set(title=f"{name}\nneighbours are right: {accuracy:.0%}", xticks=[], yticks=[])
plt.show()
