"""
The stochastic solvers side by side
===================================

The same network on the same digits, with the same initial weights and the same minibatches: only
the update rule differs.
"""

# %%
# Each solver gets a learning rate that suits it. For Adadelta, which adapts its step size by
# itself, the learning rate is only a factor.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from sknn import MLPNetClassifier

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16

learning_rates = {
    "sgd": 0.05,
    "adam": 0.002,
    "rmsprop": 0.002,
    "adagrad": 0.02,
    "adadelta": 1.0,
    "adamw": 0.002,
    "nadam": 0.002,
}
epochs = 40

# %%
# All fits are meant to run to the last epoch, so the warning that they did is ignored.
warnings.simplefilter("ignore", ConvergenceWarning)

figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
for solver, learning_rate in learning_rates.items():
    net = MLPNetClassifier(
        (100,),
        batch_size=64,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=epochs,
        random_state=0,
    ).set_params(solver=solver, learning_rate_init=learning_rate)
    net.fit(X, y)
    axes.plot(np.arange(1, epochs + 1), net.loss_curve_, label=f"{solver} ({learning_rate:g})")
    print(f"{solver:8s} loss after {epochs} epochs {net.loss_:.4f}")
axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
axes.grid(alpha=0.3)
axes.legend(title="solver (learning rate)", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plt.show()
