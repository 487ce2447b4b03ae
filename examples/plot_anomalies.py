"""
Anomalies: what a network cannot reconstruct
============================================

An autoencoder that has only seen some kinds of digits reconstructs these well, and others badly. So
its reconstruction error says how unusual an image is, without a single example of what to look for.
Each digit in turn plays the unknown one; principal components and an isolation forest serve as
baselines.
"""

# %%
# One digit is missing
# --------------------
# The network is fitted to 1,000 images of nine digits. ``score_samples`` is minus the mean squared
# error of each image: small for what is unlike the rest, as elsewhere in scikit-learn.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score

from sknn import AutoencoderTransformer, ReconstructionOutlierDetector
from sknn.display import ReconstructionDisplay

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended


def split(unknown):
    """Return images to fit, others to judge, and the latter's digits."""
    known = np.random.RandomState(0).permutation(np.flatnonzero(y != unknown))
    judged = np.r_[known[1000:], np.flatnonzero(y == unknown)]
    return X[known[:1000]], X[judged], y[judged]


def autoencoder(fitted):
    return AutoencoderTransformer((128, 64, 8), max_iter=100, random_state=0).fit(fitted)


def component_scores(fitted, judged):
    pca = PCA(8, random_state=0).fit(fitted)
    return -np.mean((pca.inverse_transform(pca.transform(judged)) - judged) ** 2, axis=1)


unknown = 5
fitted, judged, digits = split(unknown)
net = autoencoder(fitted)
scores = net.score_samples(judged)

figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
for panel, name, values in zip(
    panels, ("autoencoder", "PCA"), (scores, component_scores(fitted, judged))
):
    bins = np.linspace(0, -values.min(), 45)
    panel.hist(-values[digits != unknown], bins, alpha=0.6, label="known digits")
    panel.hist(-values[digits == unknown], bins, alpha=0.6, label=f"{unknown}, the unknown digit")
    area = roc_auc_score(digits != unknown, values)
    panel.set(xlabel="reconstruction error", ylabel="images")
    panel.set_title(f"{name}, code of size 8: area under ROC curve {area:.3f}", fontsize="medium")
    panel.spines[["top", "right"]].set_visible(False)
panels[0].legend(frameon=False)
plt.show()

# %%
# The images
# ----------
# The known digits with the largest errors are written in an unusual way; the unknown digits with
# the smallest errors look like other digits. Above each image is its digit, below it are its
# reconstruction and the error.
order = np.argsort(scores)
known, new = order[digits[order] != unknown], order[digits[order] == unknown]
galleries = {
    "known digits with the largest errors": known[:12],
    "unknown digits with the largest errors": new[:12],
    "unknown digits with the smallest errors": new[::-1][:12],
}
figure, panels = plt.subplots(3, 1, figsize=(9, 7.5), layout="constrained")
for panel, (title, rows) in zip(panels, galleries.items()):
    ReconstructionDisplay.from_estimator(
        net, judged, image_shape=(8, 8), samples=rows, labels=digits, ax=panel
    )
    panel.set_title(title, fontsize="medium")
plt.show()

# %%
# A threshold
# -----------
# :class:`~sknn.ReconstructionOutlierDetector` says which images are outliers. A large network
# reconstructs the images that it was fitted to better than others, so a threshold found on these
# would be too strict. Here it comes from 300 more images of the known digits: the fitted network,
# in a ``FrozenEstimator``, is used as it is.
others = judged[digits != unknown]
detector = ReconstructionOutlierDetector(FrozenEstimator(net)).fit(others[:300])
for name, images in {
    "the other known digits": others[300:],
    f"images of a {unknown}": judged[digits == unknown],
    "images of noise": np.random.RandomState(0).uniform(size=(100, 64)),
}.items():
    print(f"outliers among {name}: {np.mean(detector.predict(images) == -1):.1%}")

# %%
# Each digit in turn
# ------------------
# An area of 1 means that all images of the unknown digit have larger errors than those of the
# others; 0.5 is chance. The forest, which looks at one pixel at a time, considers an 8 more normal
# than the digits that it was fitted to.
areas = {"autoencoder": [], "PCA": [], "isolation forest": []}
for unknown in range(10):
    fitted, judged, digits = split(unknown)
    forest = IsolationForest(random_state=0).fit(fitted)
    for name, values in {
        "autoencoder": autoencoder(fitted).score_samples(judged),
        "PCA": component_scores(fitted, judged),
        "isolation forest": forest.score_samples(judged),
    }.items():
        areas[name].append(roc_auc_score(digits != unknown, values))

figure, panel = plt.subplots(figsize=(8, 3.4), layout="constrained")
for place, (name, values) in enumerate(areas.items()):
    panel.bar(np.arange(10) + 0.27 * (place - 1), values, 0.27, label=name)
    print(f"{name:16s} mean area under the ROC curve {np.mean(values):.3f}")
panel.axhline(0.5, color="black", linestyle=":", linewidth=1, label="chance")
panel.set(xlabel="unknown digit", ylabel="area under ROC curve", xticks=range(10), ylim=(0, 1))
panel.spines[["top", "right"]].set_visible(False)
panel.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
plt.show()

# sphinx_gallery_thumbnail_number = 2
