"""How fits and predictions share Python's lock."""

import os
import threading
import time
from contextlib import contextmanager

from ..store.notices import told_once

#: The threads that are fitting something.
FITTING = set()


@contextmanager
def fitting():
    """Count this thread among those that fit something; what that compiles is told of once."""
    thread = threading.get_ident()
    nested = thread in FITTING
    try:
        FITTING.add(thread)
        with told_once("fit"):
            yield
    finally:
        if not nested:
            FITTING.discard(thread)


def give_way():
    """Pause for a moment if another thread fits something, and this one does not.

    To whom Python's lock is only lent for some microseconds may not wake up in time to take it, and
    a fit needs it again and again. Beside threads that do nothing but predict it would wait most of
    the time.
    """
    if FITTING and threading.get_ident() not in FITTING:
        time.sleep(_PAUSE)


#: Seconds in which whoever waits for Python's lock gets it.
_PAUSE = 5e-5


def _after_fork():
    FITTING.intersection_update({threading.get_ident()})  # the others are not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
