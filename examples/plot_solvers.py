"""
The stochastic solvers side by side
===================================

The same network on the same digits, from the same initial weights and through the same minibatches:
only the rule that turns a gradient into a step differs.
"""

# %%
# Each solver gets a learning rate that suits it. That of Adadelta is a factor on a step whose
# length it finds for itself.
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
# Every curve runs for all its epochs, so the warning that the last one was reached is no news.
warnings.simplefilter("ignore", ConvergenceWarning)

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
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
axes.legend(title="solver (learning rate)")
plt.show()
