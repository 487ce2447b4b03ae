"""
Hyperparameters by Optuna, with pruning
=======================================

Optuna proposes hyperparameters, and learns from the results which ones to propose next.
``partial_fit`` trains one epoch at a time, so after each epoch a trial can report its validation
score, and Optuna stops it if the median of the earlier ones at the same epoch was better. That
saves most of the time that bad hyperparameters would take. The figure is saved as
``plot_optuna_pruning.png`` in the current folder.
"""

# %%
# The digits
# ----------
# 1,797 images of 8x8 pixels. A quarter of them is for choosing hyperparameters, and another quarter
# for the final score, which must not depend on the choice.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknn import MLPNetClassifier

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=0)

# %%
# A trial
# -------
# A trial asks for hyperparameters and trains a network with them. ``should_prune`` is whether to
# give up. The final network's score on the test data is noted with the trial, and has no part in
# the choice.
EPOCHS = 20
classes = np.unique(y)


def objective(trial):
    net = MLPNetClassifier(
        hidden_layer_sizes=(trial.suggest_int("units", 8, 128, log=True),),
        activation=trial.suggest_categorical("activation", ["relu", "tanh", "logistic"]),
        learning_rate_init=trial.suggest_float("learning_rate_init", 1e-4, 1e-1, log=True),
        alpha=trial.suggest_float("alpha", 1e-6, 1.0, log=True),
        batch_size=64,
        random_state=0,
    )
    score = 0.0
    for epoch in range(EPOCHS):
        net.partial_fit(X_train, y_train, classes=classes)
        score = net.score(X_val, y_val)
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("test_score", net.score(X_test, y_test))
    return score


# %%
# The study
# ---------
# The first five trials are never pruned, nor is any trial in its first three epochs: an early
# score says little. Optuna's own messages, one for each trial, are turned off.
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
)
study.optimize(objective, n_trials=40)

pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
epochs = sum(len(t.intermediate_values) for t in study.trials)
print(
    f"{len(study.trials)} trials, of which {len(pruned)} were pruned: {epochs} epochs instead of "
    f"{EPOCHS * len(study.trials)}"
)
print(f"Best validation score: {study.best_value:.4f}")
print(f"Its score on the test data: {study.best_trial.user_attrs['test_score']:.4f}")
for name, value in study.best_params.items():
    print(f"    {name} = {value:.4g}" if isinstance(value, float) else f"    {name} = {value}")

# %%
# The figure
# ----------
# On the left every trial's validation score: a curve that ends early was pruned. On the right the
# best score of each trial against its learning rate.
figure, (curves, rates) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
for trial in study.trials:
    color, label = ("tab:red", "pruned") if trial in pruned else ("tab:blue", "complete")
    if trial.number == study.best_trial.number:
        color, label = "black", "best"
    scores = list(trial.intermediate_values.values())
    curves.plot(range(1, len(scores) + 1), scores, color=color, alpha=0.6, linewidth=1)
    curves.plot(len(scores), scores[-1], ".", color=color)
    rate = trial.params["learning_rate_init"]
    rates.plot(rate, max(scores), "o", color=color, alpha=0.7, label=label)
curves.set(
    xlabel="epoch", ylabel="validation score", title="Trials by epoch", xticks=range(0, 21, 5)
)
curves.grid(alpha=0.3)
rates.set(
    xscale="log",
    xlabel="learning_rate_init",
    ylabel="best validation score",
    title="Trials by learning rate",
)
rates.grid(alpha=0.3)
handles, labels = rates.get_legend_handles_labels()
unique = dict(zip(labels, handles))
rates.legend(unique.values(), unique.keys(), loc="lower right")

path = Path("plot_optuna_pruning.png").resolve()
figure.savefig(path, dpi=120)
print(f"Figure saved to {path}")
