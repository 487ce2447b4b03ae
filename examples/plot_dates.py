"""
Dates, translated
=================

An encoder reads a date as people write it; a decoder starts from the encoder's final state and
writes the date as ``2031-05-17``. Nobody tells them what a month is: they learn it from pairs of
strings.
"""

# %%
# The pairs
# ---------
# Days from a hundred years in eight formats. Two-digit years from 00 to 49 mean 2000 to 2049, and
# those from 50 to 99 mean 1950 to 1999: this has to be learned as well. No held-out day occurs in
# the training data, in any format.
import datetime
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import Seq2SeqRNN

MONTHS = (
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()


def ordinal(day):
    return f"{day}{'th' if 10 < day < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def formats(date):
    """Return a date in each of the formats."""
    day, year = date.day, date.year
    month, weekday = MONTHS[date.month - 1], WEEKDAYS[date.weekday()]
    return [
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{weekday}, {day} {month} {year}",
        f"{weekday[:3]} {day} {month[:3]} {year}",
        f"the {ordinal(day)} of {month}, {year}",
        f"{day}.{date.month}.{year}",
        f"{date.month}/{day}/{year % 100:02}",
        f"{day}-{month[:3].upper()}-{year % 100:02}",
    ]


rng = np.random.RandomState(0)
first, last = (datetime.date(year, 1, 1).toordinal() for year in (1950, 2050))
days = [datetime.date.fromordinal(first + i) for i in rng.permutation(last - first)[:3000]]
written = [formats(day)[rng.randint(8)] for day in days]
X_train, X_test, y_train, y_test = train_test_split(
    written, [day.isoformat() for day in days], test_size=1000, random_state=0
)
for text, date in zip(X_train[:5], y_train):
    print(f"{text:30s} {date}")

# %%
# The network
# -----------
# In training, the decoder sees the true date up to each character and predicts the next one; in
# prediction, it sees what it has written itself. The score is the fraction of dates that are
# exactly right.
net = Seq2SeqRNN("lstm", 128, max_iter=30, random_state=0)
warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
net.fit(X_train, y_train, X_val=X_test, y_val=y_test)
score = net.score(X_test, y_test)
print(f"{score:.1%} of {len(X_test):,} held-out dates are right")

# %%
# At first the loss falls because most years begin with 19 or 20 and the hyphens are always in the
# same place. Whole dates come later.
figure, (losses, scores) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
history = net.history_
losses.plot(history["loss"], label="training pairs")
losses.plot(history["validation_loss"], label="held-out pairs")
losses.set(ylabel="loss (nats per character)", yscale="log")
losses.legend()
scores.plot(history["validation_score"], color="tab:orange")
scores.set(ylabel="held-out dates that are right", ylim=(0, 1.02))
scores.set_yticks(np.linspace(0, 1, 5), ["0%", "25%", "50%", "75%", "100%"])
for panel in (losses, scores):
    panel.set(xlabel="epoch", xlim=(1, len(history)))
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.grid(alpha=0.3)
plt.show()

# %%
# What it writes, and when
# ------------------------
# The same seed gives the same bits, so a network fitted for fewer epochs is the same network at an
# earlier stage. Years come first, then months, and days last; wrong characters are red.
stages = {f"{n} epochs": clone(net).set_params(max_iter=n) for n in (3, 6, 9, 12)}
stages = {name: stage.fit(X_train, y_train) for name, stage in stages.items()}
stages[f"{net.max_iter} epochs"] = net
shown = [datetime.date.fromisoformat(date) for date in y_test[:8]]
shown = [(formats(day)[i], day.isoformat()) for i, day in enumerate(shown)]

figure, panel = plt.subplots(figsize=(8.5, 3.2))
figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
panel.set(xlim=(-0.5, 92), ylim=(len(shown) - 0.5, -1.2))
panel.set_axis_off()


def put(x, y, text, wanted):
    """Put a text on the panel, letter by letter, red where it is not what is wanted."""
    for i, letter in enumerate(text):
        color = "black" if wanted[i : i + 1] == letter else "tab:red"
        panel.text(x + i, y, letter, family="monospace", va="center", color=color)


inputs, outputs = zip(*shown)
for y, text in enumerate(inputs):
    panel.text(0, y, text, va="center")
for column, (name, stage) in enumerate(stages.items()):
    x = 28 + 13.2 * column
    panel.text(x, -0.95, name, va="center", fontweight="bold")
    for y, (found, wanted) in enumerate(zip(stage.predict(inputs), outputs)):
        put(x, y, found, wanted)
panel.text(0, -0.95, "held-out date", va="center", fontweight="bold")
panel.axhline(-0.5, color="black", linewidth=0.8)
plt.show()

# %%
# The mistakes
# ------------
# Greedy search takes the most probable character each time. Beam search keeps several prefixes and
# returns the most probable date that it has found. This helps where the network is uncertain; if it
# is sure of a mistake, no search helps.
greedy = net.predict(X_test)
beam = net.set_params(beam_width=5).predict(X_test)
wanted = np.array(y_test)
probabilities = np.exp(net.score_samples(X_test, beam))
print(f"right by greedy search: {np.mean(greedy == wanted):.1%}")
print(f"right by beam search:   {np.mean(beam == wanted):.1%}")
for i in np.flatnonzero((greedy != wanted) | (beam != wanted))[:12]:
    print(
        f"{X_test[i]:30s} is {wanted[i]}, greedy {greedy[i]}, beam {beam[i]} "
        f"({probabilities[i]:.0%} sure)"
    )

# %%
# Unseen formats
# --------------
# The network has learned the formats in the training data, not what a date is.
for text in ("Sunday 20 July 1969", "20 Jul 1969", "1969, July 20", "July 1969", "20 July"):
    (date,) = net.predict([text])
    probability = np.exp(net.score_samples([text], [date])[0])
    print(f"{text:30s} {date:12s} {probability:.0%} sure")

# sphinx_gallery_thumbnail_number = 2
