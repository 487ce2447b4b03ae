"""
Overfitting, and four remedies
==============================

A large network trained on few digits, some of them mislabeled, memorizes them: the training loss
falls to zero while the validation loss rises. Dropout, batch normalization, an L2 penalty and early
stopping each change that in their own way.
"""

# %%
# The data
# --------
# 300 digits to train on, with one label in six replaced at random; 1,000 correctly labeled ones to
# validate on.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import MLPNetClassifier

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
X_train, X_val, y_train, y_val = train_test_split(
    X, y, train_size=300, test_size=1000, stratify=y, random_state=0
)
rng = np.random.RandomState(0)
wrong = rng.rand(len(y_train)) < 1 / 6
y_train[wrong] = rng.randint(10, size=wrong.sum())

# %%
# The networks
# ------------
# The same network each time, with one setting changed. Early stopping restores the weights of its
# best epoch; here it uses the validation data, and would otherwise hold out a fraction of the
# training data.
settings = {
    "plain": {},
    "dropout 0.5": {"dropout": 0.5},
    "batch normalization": {"batch_norm": True},
    "L2 penalty (alpha=0.5)": {"alpha": 0.5},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 15},
}
epochs = 120
nets = {}
# The fits are meant to run to the last epoch, so the warning that they did is ignored.
warnings.simplefilter("ignore", ConvergenceWarning)
for name, setting in settings.items():
    parameters = {"n_iter_no_change": epochs, "tol": 0.0, **setting}
    net = MLPNetClassifier((200, 200), batch_size=32, max_iter=epochs, random_state=0, **parameters)
    nets[name] = net.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    print(f"{name:23s} validation accuracy {net.score(X_val, y_val):.3f}")

# %%
# Learning curves
# ---------------
# The training loss includes the penalty on the weights, as in scikit-learn.
figure, panels = plt.subplots(1, len(nets), figsize=(14, 3.2), sharey=True, layout="constrained")
for panel, (name, net) in zip(panels, nets.items(), strict=True):
    panel.plot(net.history_["loss"], label="training")
    panel.plot(net.history_["validation_loss"], label="validation")
    panel.set_title(f"{name}\naccuracy {net.score(X_val, y_val):.1%}")
    panel.set(xlabel="epoch", xlim=(0, epochs))
panels[0].set(ylabel="loss", ylim=(0, 3))
panels[0].legend()
plt.show()
