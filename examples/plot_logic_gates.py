"""
Logic gates: what a perceptron learns, and what it cannot
=========================================================

Rosenblatt's perceptron learns AND, OR and NOT, which are linearly separable. XOR is not; a
multilayer perceptron with one hidden layer has a decision boundary that bends.
"""

# %%
# The perceptron
# --------------
# From zero weights, with a learning rate of 1 and without shuffling, the perceptron rule converges
# to integer weights; for AND, to a bias of -3 and weights of 2 and 1.
import matplotlib.pyplot as plt
import numpy as np

from sknn import MLPNetClassifier, PerceptronClassifier

inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
gates = {
    "AND": (inputs, [0, 0, 0, 1]),
    "OR": (inputs, [0, 1, 1, 1]),
    "NOT": (np.array([[0], [1]]), [1, 0]),
    "XOR": (inputs, [0, 1, 1, 0]),
}
fitted = {}
for gate, (X, y) in gates.items():
    perceptron = PerceptronClassifier(learning_rate_init=1.0, max_iter=100, shuffle=False)
    fitted[gate] = perceptron.fit(X, y)
    print(
        f"{gate}: bias {perceptron.intercept_[0]:g}, weights {perceptron.coef_[0]}, "
        f"{perceptron.score(X, y):.0%} right"
    )

# %%
# The multilayer perceptron
# -------------------------
# Four hidden units are enough for XOR.
X, y = gates["XOR"]
fitted["XOR, hidden layer"] = MLPNetClassifier(
    hidden_layer_sizes=(4,), activation="tanh", solver="lbfgs", random_state=1
).fit(X, y)
print(f"XOR with a hidden layer: {fitted['XOR, hidden layer'].score(X, y):.0%} right")
gates["XOR, hidden layer"] = gates["XOR"]

# %%
# Decision boundaries
# -------------------
# NOT has one input, so its boundary is vertical.
axis = np.linspace(-0.5, 1.5, 201)
plane = np.column_stack([part.ravel() for part in np.meshgrid(axis, axis)])

figure, panels = plt.subplots(1, len(fitted), figsize=(13, 3), layout="constrained")
for panel, (gate, net) in zip(panels, fitted.items(), strict=True):
    X, y = gates[gate]
    fires = net.predict(plane[:, : net.n_features_in_]).reshape(axis.size, axis.size)
    panel.contourf(axis, axis, fires, levels=[-0.5, 0.5, 1.5], colors=["white", "lightblue"])
    second = X[:, 1] if X.shape[1] == 2 else np.full(len(X), 0.5)
    panel.scatter(X[:, 0], second, c=y, cmap="gray_r", vmin=0, vmax=1, edgecolors="black", s=80)
    panel.set(title=gate, xticks=[0, 1], yticks=[0, 1], aspect="equal")
plt.show()
