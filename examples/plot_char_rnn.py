"""
A character model of Python's manual
====================================

A recurrent network reads text character by character and learns to predict the next one. Sampling
from its predictions generates new text. The baseline is a Markov chain, which sees only the last
few characters.
"""

# %%
# The text
# --------
# Python ships its language reference, for ``help("assert")`` and the like. Its paragraphs of prose,
# without duplicates, have about 220,000 characters, depending on the version of Python; a tenth of
# the paragraphs is held out.
import re
import textwrap
import warnings
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sknn import CharMarkovChain, CharRNN
from sknn.display import TextProbabilityDisplay

paragraphs = "\n\n".join(topics.values()).split("\n\n")
unique = dict.fromkeys(" ".join(paragraph.split()) for paragraph in paragraphs)
prose = [paragraph for paragraph in unique if re.fullmatch("[A-Z].{60,}[.:]", paragraph)]
train, test = ("\n".join(part) for part in train_test_split(prose, test_size=0.1, random_state=0))
print(f"{len(train):,} characters to train with, {len(test):,} held out")

# %%
# Markov chains
# -------------
# The probability of the next character given the last few: how often it followed them, interpolated
# with shorter contexts. Longer contexts predict better, until most of those in new text have never
# been seen. The loss is the same as the network's: the mean negative log-likelihood per character.
#
# A character that occurs only in the held-out text would be an error; ``unknown`` is the character
# that replaces it.
losses = {}
for order in range(1, 8):
    chain = CharMarkovChain(order, unknown="?").fit(train)
    losses[order] = -chain.score(test)
    print(f"Markov chain of order {order}: {losses[order]:.3f}")
best = min(losses, key=lambda order: losses[order])

# %%
# The network
# -----------
# Two layers of gated recurrent units. The text is split into 64 streams, which are read in
# parallel, in chunks of 32 characters. The state carries over from chunk to chunk, so the network
# can remember more than the 32 characters through which gradients are propagated.
rnn = CharRNN(
    "gru",
    192,
    n_layers=2,
    dropout=0.3,
    seq_len=32,
    batch_size=64,
    learning_rate_init=6e-3,
    max_iter=10,
    unknown="?",
    random_state=0,
)
with warnings.catch_warnings():
    # The number of epochs is intended; the warning that the loss still falls is ignored.
    warnings.simplefilter("ignore", ConvergenceWarning)
    rnn.fit(train, X_val=test)
loss = -rnn.score(test)
print(f"loss {loss:.3f}, perplexity {rnn.perplexity(test):.2f}")
print(f"Markov chain of order {best}: {losses[best]:.3f}, perplexity {np.exp(losses[best]):.2f}")

# %%
# The learning curve
# ------------------
# The training loss is averaged over an epoch while the weights change, and includes dropout. That
# is why it starts above the loss on the held-out text.
figure, panel = plt.subplots(figsize=(7, 4.2), layout="constrained")
epochs = rnn.history_.index
panel.plot(epochs, rnn.history_["loss"], label="network, training text")
panel.plot(epochs, rnn.history_["validation_loss"], label="network, held-out text")
panel.axhline(
    losses[best], color="0.4", linestyle="--", label=f"Markov chain of order {best}, held-out text"
)
panel.set(xlabel="epoch", ylabel="loss (nats per character)", xlim=(1, epochs[-1]), yscale="log")
panel.set_yticks([1, 1.25, 1.5, 2, 2.5, 3], ["1", "1.25", "1.5", "2", "2.5", "3"])
panel.minorticks_off()
panel.grid(alpha=0.3)
panel.legend()
plt.show()

# %%
# Three temperatures
# ------------------
# The probabilities are raised to the power of one over the temperature. A low temperature repeats
# what is most common; at 1, characters are drawn with the predicted probabilities; a high one
# invents words.


def write(model, temperature):
    text = model.sample(400, prime="The ", temperature=temperature, random_state=0)
    for line in ("The " + text).splitlines():
        print(textwrap.fill(line, 80, initial_indent="    ", subsequent_indent="    "))


for temperature in (0.4, 0.8, 1.2):
    print(f"temperature {temperature}:")
    write(rnn, temperature)

# %%
# And the best Markov chain, for comparison. It knows the words, but loses track of the sentence.
best_chain = CharMarkovChain(best, unknown="?").fit(train)
write(best_chain, 0.8)

# %%
# What surprises it
# -----------------
# ``predict_proba`` returns the probabilities of the next character after any text. Here is how hard
# each character of held-out text is to predict, in bits: the beginnings of words are surprising,
# their ends are not.
TextProbabilityDisplay.from_estimator(rnn, test[200:500], prime=test[:200], scale="surprise")
plt.show()

# sphinx_gallery_thumbnail_number = 2
