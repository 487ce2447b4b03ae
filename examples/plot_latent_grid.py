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
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import AutoencoderTransformer, VariationalAutoencoderTransformer

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
history = vae.history_
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(history["reconstruction"], color="tab:blue")
left.set(xlabel="epoch", ylabel="nats", title="reconstruction loss")
right.plot(history["kl"], color="tab:orange")
right.set(xlabel="epoch", ylabel="nats", title="Kullback-Leibler divergence of the codes")
for panel in (left, right):
    panel.set_xlim(1, len(history))
    panel.grid(alpha=0.3)
plt.show()

# %%
# A grid of codes
# ---------------
# At the quantiles of the normal distribution, so that each image represents an equal share of the
# codes. For the plain network, the grid spans the range of its own codes, from the 2nd to the 98th
# percentile of each dimension.


def mosaic(images, columns):
    """Return one large image of many."""
    tiles = np.pad(images.reshape(-1, columns, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
    return tiles.transpose(0, 2, 1, 3).reshape(-1, columns * 10)


def decoded(net, across, down):
    """Return one large image of those at all pairs of two lists of numbers."""
    codes = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    return mosaic(net.inverse_transform(codes), len(across))


n = 13
quantiles = norm.ppf(np.linspace(0.02, 0.98, n))
low, high = np.percentile(plain.transform(X), [2, 98], axis=0)
figure, panels = plt.subplots(1, 2, figsize=(10, 5.3), layout="compressed")
panels[0].imshow(decoded(vae, quantiles, -quantiles), cmap="gray_r", vmin=0, vmax=1)
panels[0].set_title("variational: a grid over the distribution")
across, down = np.linspace(low, high, n).T
panels[1].imshow(decoded(plain, across, down[::-1]), cmap="gray_r", vmin=0, vmax=1)
panels[1].set_title("plain: a grid over the range of its codes")
for panel in panels:
    panel.set(xticks=[], yticks=[])
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
    images = net.sample(84, random_state=0)
    panel.imshow(mosaic(images, 12), cmap="gray_r", vmin=0, vmax=1)
    panel.set(title=f"samples from codes with {name} dimensions", xticks=[], yticks=[])
plt.show()

# sphinx_gallery_thumbnail_number = 2
