"""
Variational autoencoders: digits that nobody has written
========================================================

The codes of a variational autoencoder follow the standard normal distribution. Decoding a grid of
codes shows how one digit turns into another; decoding random codes generates new digits. With a
plain autoencoder one does not know which codes are meaningful.
"""

# %%
# Two networks with two-dimensional codes
# ---------------------------------------
# Their layers are the same except for the code. The variational one draws the code from a normal
# distribution and is penalized for how far this is from the standard normal one.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import AutoencoderTransformer, VariationalAutoencoderTransformer
from sknn.display import LatentGridDisplay, LossCurveDisplay

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
epochs = 250
training = {
    "loss": "log_loss",
    "batch_size": 32,
    "max_iter": epochs,
    "n_iter_no_change": epochs,  # the draws make the loss fluctuate
    "random_state": 0,
}
vae = VariationalAutoencoderTransformer(2, (256, 64), **training).fit(X)
plain = AutoencoderTransformer((256, 64, 2), **training).fit(X)

# %%
# The two parts of the loss
# -------------------------
# The reconstruction improves as the codes carry more information; the divergence measures how much.
figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
LossCurveDisplay.from_estimator(vae, curves=["reconstruction", "kl"], ax=panels)
plt.show()

# %%
# A grid of codes
# ---------------
# At the quantiles of the normal distribution, so that each image represents an equal share of the
# codes. For the plain network, the grid spans the range of its own codes, from the 2nd to the 98th
# percentile of each dimension.
figure, panels = plt.subplots(1, 2, figsize=(10, 5.3), layout="compressed")
LatentGridDisplay.from_estimator(vae, image_shape=(8, 8), ax=panels[0])
panels[0].set_title("variational: a grid over the distribution")
LatentGridDisplay.from_estimator(plain, X, image_shape=(8, 8), ax=panels[1])
panels[1].set_title("plain: a grid over the range of its codes")
plt.show()

# %%
# New digits
# ----------
# ``sample`` draws codes from the standard normal distribution and decodes them. With ten dimensions
# instead of two the evidence lower bound hardly changes: what is gained in reconstruction is lost
# in the divergence of the additional dimensions. The samples are more varied, and more of them are
# not digits, since ten dimensions have more room far from any training image.
larger = VariationalAutoencoderTransformer(10, (256, 64), **training).fit(X)
for name, net in (("two dimensions", vae), ("ten dimensions", larger)):
    parts = net.history_.iloc[-1]
    print(
        f"{name}: evidence lower bound {net.score(X):.2f} nats "
        f"(reconstruction {-parts['reconstruction']:.2f}, divergence {-parts['kl']:.2f})"
    )

figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), layout="compressed")
for panel, (name, net) in zip(panels, [("two", vae), ("ten", larger)]):
    images = net.sample(84, random_state=0).reshape(7, 12, 8, 8)
    tiles = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)]).transpose(0, 2, 1, 3)
    panel.imshow(tiles.reshape(70, 120), cmap="gray_r", vmin=0, vmax=1)
    panel.set(title=f"samples from codes with {name} dimensions", xticks=[], yticks=[])
plt.show()

# sphinx_gallery_thumbnail_number = 2
