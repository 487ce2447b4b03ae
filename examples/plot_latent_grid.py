"""
Variational autoencoders: digits that nobody has written
========================================================

The codes of a variational autoencoder fill the plane as the standard normal distribution does.
Decoding a grid of such codes shows how one digit turns into another; decoding random ones makes new
digits. Of a plain autoencoder, one does not know which codes mean something.
"""

# %%
# Two networks with codes of two numbers
# --------------------------------------
# With the same layers; only the middle differs. The variational one draws a code from a normal
# distribution and pays for how far that is from the standard one.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import AutoencoderTransformer, VariationalAutoencoderTransformer

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are enough
epochs = 250
training = {
    "loss": "log_loss",
    "batch_size": 32,
    "max_iter": epochs,
    "n_iter_no_change": epochs,  # draws make the loss rise and fall, which is no end of learning
    "random_state": 0,
}
vae = VariationalAutoencoderTransformer(2, (256, 64), **training).fit(X)
plain = AutoencoderTransformer((256, 64, 2), ["relu", "relu", "identity"], **training).fit(X)

# %%
# The two parts of the loss
# -------------------------
# The reconstruction gets better as codes say more; the divergence is what they say, in nats.
history = vae.history_
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(history["reconstruction"], color="tab:blue")
left.set(xlabel="epoch", ylabel="nats", title="loss of reconstruction")
right.plot(history["kl"], color="tab:orange")
right.set(xlabel="epoch", ylabel="nats", title="divergence of the codes")
for panel in (left, right):
    panel.set_xlim(1, len(history))
    panel.grid(alpha=0.3)
plt.show()

# %%
# A grid of codes
# ---------------
# At the quantiles of the normal distribution, so that each image stands for an equal share of the
# codes. The plain network gets a grid over the range of its own codes, from the 2nd to the 98th
# percentile of each.


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
# ``sample`` draws codes from the standard normal distribution and decodes them. With ten numbers
# instead of two the bound is hardly another one: what the better reconstruction gains, the
# divergence of more numbers costs. The samples are more varied, and more of them are no digit,
# since ten dimensions have more room that no image was near to.
larger = VariationalAutoencoderTransformer(10, (256, 64), **training).fit(X)
for name, net in (("two numbers", vae), ("ten numbers", larger)):
    parts = net.history_.iloc[-1]
    print(
        f"code of {name}: evidence lower bound {net.score(X):.2f} nats "
        f"(reconstruction {-parts['reconstruction']:.2f}, divergence {-parts['kl']:.2f})"
    )

figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), layout="compressed")
for panel, (name, net) in zip(panels, [("two", vae), ("ten", larger)]):
    images = net.sample(84, random_state=0)
    panel.imshow(mosaic(images, 12), cmap="gray_r", vmin=0, vmax=1)
    panel.set(title=f"samples, from codes of {name} numbers", xticks=[], yticks=[])
plt.show()
