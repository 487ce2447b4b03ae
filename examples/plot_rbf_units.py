"""
Radial basis functions: bumps that add up to a sine
===================================================

A radial basis function network is a weighted sum of bumps, one around each of its centers. The
figures show the weighted bumps and the curve that they and the intercept add up to, for two, four
and eight centers, and for three kinds of widths.
"""

# %%
# The data
# --------
# 100 noisy samples of a sine.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sknn import RBFNetRegressor
from sknn.display import RadialUnitsDisplay

rng = np.random.RandomState(0)
x = np.sort(rng.uniform(size=100))
y = np.sin(2 * np.pi * x) + rng.uniform(-0.1, 0.1, size=100)
X = x[:, np.newaxis]
grid = np.linspace(0, 1, 400)
truth = np.sin(2 * np.pi * grid)

# %%
# One width per center, or one for all
# ------------------------------------
# ``widths="cluster"`` gives each center the standard deviation of the points nearest to it: with
# many centers, the bumps are narrow, hardly overlap, and leave valleys between them.
# ``widths="shared"`` is based on the largest distance between centers: the bumps are wide and
# overlap, with large weights of both signs whose sum is smooth. ``widths="auto"``, the default,
# widens those of the clusters until they reach other centers: the bumps overlap, too, and four or
# eight of them come closest to the sine; two of them are too wide for it.
figure, panels = plt.subplots(3, 3, figsize=(11, 7.5), layout="constrained")
for line, widths in zip(panels, ("cluster", "shared", "auto")):
    for panel, k in zip(line, (2, 4, 8)):
        net = RBFNetRegressor(k, widths=widths, random_state=0).fit(X, y)
        error = np.sqrt(np.mean((net.predict(grid[:, np.newaxis]) - truth) ** 2))
        print(f"{k} centers, widths {widths!r}: RMS distance to the sine {error:.3f}")
        RadialUnitsDisplay.from_estimator(net, X, y, legend=False, ax=panel)
        panel.set_title(f"{k} centers, widths={widths!r}, RMS error {error:.3f}", fontsize="medium")
entries = panels[0, 0].get_legend_handles_labels()
figure.legend(*entries, loc="outside lower center", ncols=5, frameon=False)
plt.show()

# %%
# Least squares and online learning
# ---------------------------------
# The best weights are the solution of a linear system (``solver="lstsq"``, the default). The online
# rule of the textbooks (``solver="sgd"``) approaches them in small steps, one sample at a time, and
# has not converged after 100 epochs.
warnings.simplefilter("ignore", ConvergenceWarning)  # that is the point
solved = RBFNetRegressor(4, widths="shared", random_state=0).fit(X, y)
stepped = RBFNetRegressor(4, widths="shared", solver="sgd", alpha=0, random_state=0).fit(X, y)
longer = RBFNetRegressor(
    4, widths="shared", solver="sgd", alpha=0, max_iter=3000, n_iter_no_change=3000, random_state=0
).fit(X, y)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(x, y, ".", color="0.75", markersize=5)
fits = {
    "least squares": (solved, "-"),
    "100 epochs": (stepped, "-"),
    "3,000 epochs": (longer, "--"),
}
for name, (net, style) in fits.items():
    left.plot(grid, net.predict(grid[:, np.newaxis]), style, label=name)
    print(f"{name}: half the mean squared error {np.mean((net.predict(X) - y) ** 2) / 2:.5f}")
left.legend(frameon=False)
left.set_title("four centers, widths='shared'", fontsize="medium")
right.plot(np.arange(1, len(longer.loss_curve_) + 1), longer.loss_curve_, label="online rule")
right.axhline(solved.loss_, color="black", linestyle=":", label="least squares")
right.set(xscale="log", yscale="log", xlabel="epoch", ylabel="loss")
right.legend(frameon=False)
for panel in (left, right):
    panel.grid(alpha=0.3)
plt.show()
