"""
Digits in two dimensions: autoencoders, PCA and t-SNE
=====================================================

Where an autoencoder places the digits, without having seen a label. Three ways to get two
dimensions: the first two principal components, a variational autoencoder with a two-dimensional
code, and t-SNE on a larger code.
"""

# %%
# The digits
# ----------
# Half of the 1,797 images are fitted, and the other half is plotted: a map is useful if it places
# new samples well.
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
from sknn.display import CodeDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32) / 16, y, test_size=0.5, stratify=y, random_state=0
)
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended

# %%
# A two-dimensional code
# ----------------------
# The code of a variational autoencoder is a normal distribution for each image. Its loss pulls
# these toward the standard normal distribution, so that they lie side by side, without large gaps.
# ``transform`` returns the means.
maps = {"PCA": PCA(2, random_state=0).fit(X_train).transform(X_test)}
vae = VariationalAutoencoderTransformer(
    2, (256, 64), loss="log_loss", batch_size=32, max_iter=250, n_iter_no_change=250, random_state=0
).fit(X_train)
maps["VAE"] = vae.transform(X_test)
print(f"VAE: evidence lower bound of held-out digits {vae.score(X_test):.1f} nats")
print(vae.history_.iloc[[0, 9, 49, -1]])

# %%
# Sixteen dimensions, then t-SNE
# ------------------------------
# A plain autoencoder needs more dimensions. t-SNE keeps neighbors in the 16 dimensions close in the
# plane. It embeds only the points that it is fitted to, and cannot place new ones.
deep = AutoencoderTransformer(
    (128, 64, 16), loss="log_loss", learning_rate_init=3e-3, max_iter=150, random_state=0
).fit(X_train)
maps["autoencoder, t-SNE"] = TSNE(random_state=0).fit_transform(deep.transform(X_test))

# %%
# The maps
# --------
# How well they separate the digits: the accuracy of a five-nearest-neighbors classifier on the map,
# in five-fold cross-validation. Each digit is marked at the median of its points.
figure, panels = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained")
for panel, (name, places) in zip(panels, maps.items()):
    accuracy = cross_val_score(KNeighborsClassifier(5), places, y_test, cv=5).mean()
    print(f"{name:18s} accuracy of nearest neighbors {accuracy:.3f}")
    CodeDisplay.from_predictions(places, y_test, ax=panel, s=9)
    panel.set(title=f"{name}\naccuracy of nearest neighbors {accuracy:.0%}", xticks=[], yticks=[])
plt.show()
