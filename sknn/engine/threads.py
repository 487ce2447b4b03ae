"""Sharing of the GIL between fits and predictions."""

import os
import threading
import time
from contextlib import contextmanager

from ..store.notices import told_once

#: Ids of the threads that are in a fit.
FITTING = set()


@contextmanager
def fitting():
    """Register this thread as fitting; compilation during the fit is reported only once."""
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
    """Sleep briefly if another thread is in a fit and this one is not.

    A fit needs the GIL again and again. If other threads release it for only a few microseconds at
    a time, the fitting thread may not wake up in time to take it, and next to threads that only
    predict it would wait most of the time.
    """
    if FITTING and threading.get_ident() not in FITTING:
        time.sleep(_PAUSE)


#: Seconds, long enough for a waiting thread to take the GIL.
_PAUSE = 5e-5


def _after_fork():
    FITTING.intersection_update({threading.get_ident()})  # the child has no other threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
