"""
Sequences: whistles that rise and fall
======================================

Short noisy sounds of different lengths whose pitch rises, falls, or does one after the other: the
classes differ only in the order of events. Recurrent networks read the raw sequences; other
classifiers need hand-crafted features.
"""

# %%
# The whistles
# ------------
# A whistle is a wave of 50 to 120 steps. Its frequency goes from low to high, from high to low, or
# turns around on the way. ``X`` is a list of arrays of different lengths.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sknn import RNNClassifier

rng = np.random.RandomState(0)
pitches = {"up": [0, 1], "down": [1, 0], "up, down": [0, 1, 0], "down, up": [1, 0, 1]}


def whistle(kind):
    """Return a whistle, and at each step whether its pitch is rising."""
    n, low, high = rng.randint(50, 121), rng.uniform(0.03, 0.06), rng.uniform(0.1, 0.14)
    turn = [rng.uniform(0.25, 0.75)] if len(pitches[kind]) == 3 else []
    pitch = np.interp(np.linspace(0, 1, n), [0, *turn, 1], pitches[kind])
    phase = rng.uniform() + np.cumsum(low + (high - low) * pitch)
    noise = rng.normal(scale=0.5, size=n)
    wave = rng.uniform(0.7, 1.3) * np.sin(2 * np.pi * phase) + noise
    return wave.astype(np.float32), np.gradient(pitch) > 0


y = rng.choice(list(pitches), size=1600)
X, rising = map(list, zip(*map(whistle, y)))
X_train, X_test, y_train, y_test, rising_train, rising_test = train_test_split(
    X, y, rising, train_size=1000, random_state=0
)

figure, panels = plt.subplots(
    4, 3, figsize=(10, 4.6), sharex=True, sharey=True, layout="compressed"
)
for line, kind in zip(panels, pitches):
    for panel, sample in zip(line, np.flatnonzero(y_train == kind)):
        panel.plot(X_train[sample], linewidth=0.9)
        panel.set(xlim=(0, 120), ylim=(-3, 3), xticks=[0, 50, 100], yticks=[])
        panel.spines[["top", "right", "left"]].set_visible(False)
    line[0].set_ylabel(kind, rotation=0, ha="right", va="center")
for panel in panels[-1]:
    panel.set_xlabel("step")
plt.show()

# %%
# Hand-crafted features
# ---------------------
# Mean, standard deviation, quantiles, zero crossings and autocorrelations, for a random forest.
# They describe which pitches occurred, not when: a rising whistle is a falling one played backward,
# with the same statistics. Computing them for each quarter adds information about time.


def describe(wave):
    crossings = np.mean(wave[1:] * wave[:-1] < 0)
    quantiles = np.quantile(wave, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    correlations = [np.mean(wave[lag:] * wave[:-lag]) for lag in range(1, 11)]
    return [len(wave), wave.mean(), wave.std(), crossings, *quantiles, *correlations]


def of_whole(waves):
    return np.array([describe(wave) for wave in waves])


def of_quarters(waves):
    parts = ([describe(part) for part in np.array_split(wave, 4)] for wave in waves)
    return np.array([np.ravel(part) for part in parts])


def forest(features):
    return make_pipeline(FunctionTransformer(features), RandomForestClassifier(300, random_state=0))


# %%
# Recurrent networks
# ------------------
# They get the waves themselves, one number per step, and predict when a whistle is over. Batches
# contain sequences of different lengths; steps beyond the end of a sequence are masked.


def network(cell, **parameters):
    return RNNClassifier(
        cell, 32, batch_size=32, learning_rate_init=5e-3, max_iter=40, random_state=0, **parameters
    )


models = {
    "forest, whole sequence": forest(of_whole),
    "forest, quarters": forest(of_quarters),
    "simple RNN": network("rnn"),
    "LSTM": network("lstm"),
    "GRU": network("gru"),
    "GRU, bidirectional": network("gru", bidirectional=True),
}
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
scores = {name: model.fit(X_train, y_train).score(X_test, y_test) for name, model in models.items()}

# %%
# The simple cell forgets: its state fades from step to step, and so do the gradients. Gated cells
# remember. The random forest does as well once its features contain the time.
figure, panel = plt.subplots(figsize=(8, 3), layout="constrained")
colors = ["tab:gray"] * 2 + ["tab:blue"] * 4
bars = panel.barh(list(scores), list(scores.values()), color=colors)
panel.bar_label(bars, [f"{score:.1%}" for score in scores.values()], padding=4)
panel.axvline(1 / 4, color="black", linestyle=":", linewidth=1)
panel.text(0.25, 1.01, "chance", ha="center", transform=panel.get_xaxis_transform())
panel.set(xlim=(0, 1.08), xlabel=f"accuracy on {len(X_test)} held-out whistles")
panel.set_xticks(np.linspace(0, 1, 5), ["0%", "25%", "50%", "75%", "100%"])
panel.invert_yaxis()
panel.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# A prediction for each step
# --------------------------
# With ``return_sequences=True`` y has a target for each step: here, whether the pitch is rising. It
# is a list of arrays like X, and so are the predictions. A network that reads forward notices a
# turn some time after it has happened. A bidirectional one also sees what comes after.
by_step = {
    "forward": network("gru", return_sequences=True),
    "bidirectional": network("gru", return_sequences=True, bidirectional=True),
}
probabilities = {}
for name, net in by_step.items():
    net.fit(X_train, rising_train)
    probabilities[name] = [steps[:, 1] for steps in net.predict_proba(X_test)]
    print(f"{name}: {net.score(X_test, rising_test):.1%} of the steps right")

# %%
# Left: one whistle. Right: all whistles that turn around, aligned at the turn.
around = np.arange(-25, 26)


def right_around_turns(probabilities):
    """Return the fraction of right predictions at some steps before and after the turns."""
    right = []
    for p, now in zip(probabilities, rising_test):
        turns = np.flatnonzero(now[1:] != now[:-1]) + 1
        if len(turns) and around[-1] <= turns[0] < len(now) - around[-1]:
            right.append(((p > 0.5) == now)[turns[0] + around])
    return np.mean(right, axis=0)


sample = np.flatnonzero(y_test == "down, up")[0]
figure, panels = plt.subplot_mosaic(
    [["wave", "turns"], ["steps", "turns"]], figsize=(11, 4.4), height_ratios=[2, 3],
    layout="constrained",
)  # fmt: skip
panels["wave"].plot(X_test[sample], color="black", linewidth=0.8)
panels["wave"].set(ylabel="whistle", xticklabels=[], yticks=[])
for name in by_step:
    panels["steps"].plot(probabilities[name][sample], label=name)
    panels["turns"].plot(around, right_around_turns(probabilities[name]), label=name)
for name in ("wave", "steps"):
    panel = panels[name]
    panel.fill_between(
        range(len(X_test[sample])), 0, 1, where=rising_test[sample], color="tab:green", alpha=0.12,
        linewidth=0, transform=panel.get_xaxis_transform(), label="pitch is rising",
    )  # fmt: skip
    panel.set_xlim(0, len(X_test[sample]) - 1)
panels["steps"].set(xlabel="step", ylabel="probability of rising", ylim=(-0.03, 1.03))
panels["turns"].axvline(0, color="black", linestyle=":", linewidth=1)
panels["turns"].set(xlabel="steps after the turn", ylabel="right predictions", ylim=(0, 1.03))
panels["turns"].set_xlim(around[0], around[-1])
for name, place in {"steps": (0.08, 0.42), "turns": "lower right"}.items():
    panels[name].legend(loc=place)
    panels[name].grid(alpha=0.3)
plt.show()

# sphinx_gallery_thumbnail_number = 3
