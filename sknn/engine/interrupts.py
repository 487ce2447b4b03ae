"""What Ctrl-C means to a fit: the first one ends it, a second one soon after ends everything.

A fit that is interrupted keeps the weights so far and goes on, as scikit-learn's does. In a search
or a cross-validation that ends one of many fits, whose score then counts. So whoever presses twice
wants more: the second interrupt is raised, also where it strikes the next fit.
"""

from time import monotonic

from .warn import warn

#: For how many seconds after an interrupt the next one is a second one.
SECONDS = 2.0
_last = -float("inf")


def take(interrupt):
    """Warn of the first interrupt; raise a second one. Called by whoever ends because of it."""
    global _last
    now, before = monotonic(), _last
    # whoever waits for threads to come to their end raises a second one with the first as cause
    if isinstance(interrupt.__cause__, KeyboardInterrupt) or now - before < SECONDS:
        raise interrupt
    _last = now
    warn(
        "Training interrupted by user. The weights so far are kept; interrupt again within "
        f"{SECONDS:g} seconds to stop everything."
    )


def forget():
    """Take the next interrupt for a first one."""
    global _last
    _last = -float("inf")
