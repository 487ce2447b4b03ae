"""
Handwritten digits through a pipeline and a grid search
=======================================================

A multilayer perceptron in a pipeline with a scaler. Its hyperparameters are chosen by a grid search
with three-fold cross-validation, and the best network is evaluated on digits that neither the
search nor the training has seen. The figure is saved as ``plot_digits_grid_search.png`` in the
current folder.
"""

# %%
# The digits
# ----------
# 1,797 images of 8x8 pixels. Given float32 data, the network computes in float32, which is about
# twice as fast and precise enough for pixels with 17 gray levels.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sknn import MLPNetClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype(np.float32), y, test_size=0.25, stratify=y, random_state=0
)

# %%
# The search
# ----------
# 24 candidates, each fitted on three folds. Each worker fits its networks on one thread, so that
# the search as a whole uses all cores. (The first fit on a machine also compiles the kernels.)
pipeline = Pipeline(
    [
        ("scaler", StandardScaler()),
        ("net", MLPNetClassifier(batch_size=64, max_iter=200, tol=1e-3, random_state=0)),
    ]
)
grid = {
    "net__hidden_layer_sizes": [(50,), (100,), (100, 50)],
    "net__learning_rate_init": [1e-3, 3e-3],
    "net__alpha": [1e-4, 1e-1],
    "net__dropout": [0.0, 0.3],
}
search = GridSearchCV(pipeline, grid, cv=3, n_jobs=-1).fit(X_train, y_train)

predicted = search.predict(X_test)
accuracy = np.mean(predicted == y_test)
print(f"Accuracy in cross-validation: {search.best_score_:.4f}")
print(f"Accuracy on held-out data:    {accuracy:.4f}")
print("Best parameters:")
for name, value in search.best_params_.items():
    print(f"    {name.removeprefix('net__')} = {value}")

# %%
# Learning curves
# ---------------
# The best network again, trained on 80% of the training data and validated on the other 20%.
X_fit, X_val, y_fit, y_val = train_test_split(
    X_train, y_train, test_size=0.2, stratify=y_train, random_state=0
)
scaler = StandardScaler().fit(X_fit)
watched = clone(search.best_estimator_["net"])
watched.fit(scaler.transform(X_fit), y_fit, X_val=scaler.transform(X_val), y_val=y_val)

# %%
# The figure
# ----------
# On the left the learning curves. On the right the mistakes, then other digits from the held-out
# data, side by side as one large image.
figure, (curves, gallery) = plt.subplots(
    1, 2, figsize=(11, 4.5), width_ratios=[5, 6], layout="constrained"
)
epochs = watched.history_.index
curves.plot(epochs, watched.history_["loss"], label="training")
curves.plot(epochs, watched.history_["validation_loss"], label="validation")
curves.set(xlabel="epoch", ylabel="loss", yscale="log", title="Loss of the best network")
curves.grid(alpha=0.3)
curves.legend()

rows, columns = 5, 8
order = np.argsort(predicted == y_test, kind="stable")[: rows * columns]
tiles = np.pad(X_test[order].reshape(rows, columns, 8, 8), [(0, 0), (0, 0), (0, 4), (1, 1)])
gallery.imshow(tiles.transpose(0, 2, 1, 3).reshape(rows * 12, columns * 10), cmap="gray_r")
for place, sample in enumerate(order):
    row, column = divmod(place, columns)
    text, color = f"{predicted[sample]}", "tab:green"
    if predicted[sample] != y_test[sample]:
        text, color = f"{predicted[sample]}, is {y_test[sample]}", "tab:red"
    gallery.text(column * 10 + 4.5, row * 12 + 10, text, color=color, ha="center", va="center")
gallery.set_title(f"Predictions on held-out data ({accuracy:.1%} right; mistakes in red)")
gallery.set_axis_off()

path = Path("plot_digits_grid_search.png").resolve()
figure.savefig(path, dpi=120)
print(f"Figure saved to {path}")
