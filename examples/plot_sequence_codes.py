"""
Codes of sequences: waves of any length
=======================================

A recurrent autoencoder encodes a sequence of any length as one vector and reconstructs the sequence
from it. The vector reveals the kind of sequence, though no labels were given.
"""

# %%
# The waves
# ---------
# Sines, squares and sawtooths of different frequencies, phases and lengths. ``X`` is a list of
# arrays of different lengths.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import sawtooth, square
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import SequenceAutoencoderTransformer
from sknn.display import CodeDisplay, SequenceReconstructionDisplay

rng = np.random.RandomState(0)
shapes = {"sine": np.sin, "square": square, "sawtooth": sawtooth}


def wave(shape, frequency):
    steps = np.arange(rng.randint(20, 41))
    return 0.8 * shapes[shape](frequency * steps + rng.uniform(0, 2 * np.pi)).astype(np.float32)


kinds = rng.choice(list(shapes), size=1500)
frequencies = rng.uniform(0.25, 0.6, size=len(kinds))
X = [wave(kind, frequency) for kind, frequency in zip(kinds, frequencies)]
X_train, X_test, kinds_train, kinds_test, frequencies_train, frequencies_test = train_test_split(
    X, kinds, frequencies, train_size=1000, random_state=0
)

# %%
# The network
# -----------
# The final state of a recurrent layer is the code. A second recurrent layer gets it at each step,
# and its output is mapped to the values of the sequence. Steps beyond the end of a sequence are
# masked.
net = SequenceAutoencoderTransformer(
    48, "gru", batch_size=20, learning_rate_init=5e-3, max_iter=60, random_state=0
)
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
net.fit(X_train)
variance = np.var(np.concatenate(X_test))
print(f"mean squared error {-net.score(X_test):.4f}, of a variance of {variance:.4f}")

shown = [np.flatnonzero(kinds_test == kind)[i] for i in range(3) for kind in shapes]
SequenceReconstructionDisplay.from_estimator(net, X_test, samples=shown, labels=kinds_test)
plt.show()

# %%
# The codes
# ---------
# What linear models can read off the codes, about shape and frequency, for held-out sequences.
# Left: the two directions that separate the shapes best. Right: the first two principal components.
codes_train, codes_test = net.transform(X_train), net.transform(X_test)
discriminants = LinearDiscriminantAnalysis().fit(codes_train, kinds_train)
accuracy = discriminants.score(codes_test, kinds_test)
frequency_model = make_pipeline(StandardScaler(), Ridge()).fit(codes_train, frequencies_train)
r2 = frequency_model.score(codes_test, frequencies_test)
print(f"linear models on the codes: shape {accuracy:.1%} right, frequency R2 {r2:.3f}")

by_shape = discriminants.transform(codes_test)
places = PCA(2, random_state=0).fit(codes_train).transform(codes_test)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
CodeDisplay.from_predictions(by_shape, kinds_test, ax=left)
left.set_title(f"shapes (accuracy of a linear model: {accuracy:.0%})", fontsize="medium")
CodeDisplay.from_predictions(places, frequencies_test, label="radians per step", ax=right)
right.set_title(f"frequencies (R² of a linear model: {r2:.2f})", fontsize="medium")
for panel in (left, right):
    panel.set(xticks=[], yticks=[])
plt.show()

# sphinx_gallery_thumbnail_number = 2
