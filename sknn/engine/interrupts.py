"""Ctrl-C in a fit: the first ends the fit, a second one soon after ends everything.

As in scikit-learn, an interrupted fit keeps the current weights and returns. In a search or
cross-validation, that ends only one of many fits, whose score then counts. A second Ctrl-C is meant
to stop everything, so it is raised, even if it arrives in the next fit.
"""

from time import monotonic

from .warn import warn

#: An interrupt within so many seconds of another one counts as the second.
SECONDS = 2.0
_last = -float("inf")


def take(interrupt):
    """Warn about the first interrupt, raise the second. Called by the fit that it ends."""
    global _last
    now, before = monotonic(), _last
    # code that waits for threads to end raises a second interrupt with the first as its cause
    if isinstance(interrupt.__cause__, KeyboardInterrupt) or now - before < SECONDS:
        raise interrupt
    _last = now
    warn(
        "Training interrupted by user. The weights so far are kept; interrupt again within "
        f"{SECONDS:g} seconds to stop everything."
    )


def forget():
    """Treat the next interrupt as a first one."""
    global _last
    _last = -float("inf")
