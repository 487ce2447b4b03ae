"""Log messages about compilation, by the logger ``sknn``, at most once per fit."""

import logging
import threading
from contextlib import contextmanager

LOGGER = logging.getLogger("sknn")
LOGGER.addHandler(logging.NullHandler())


class _Here(threading.local):
    """Per thread: the present activity, and whether its compilation has been logged already."""

    doing, told = None, False


_here = _Here()


@contextmanager
def told_once(doing):
    """Log compilation only once in this context; `doing` says what it is for.

    Nested contexts are parts of the outer one.
    """
    if _here.doing is not None:
        yield
        return
    _here.doing, _here.told = doing, False
    try:
        yield
    finally:
        _here.doing = None


def compiling(what, folder):
    """Log that kernels are about to be compiled, unless that was logged for this fit already.

    Parameters
    ----------
    what : str
        How many, and how long that takes.
    folder : path or None
        Where they will be stored, if they can be.
    """
    if _here.doing is not None and _here.told:
        return
    _here.told = True
    LOGGER.info(
        "Compiling for this %s: %s. %s.", _here.doing or "prediction", what,
        "No folder can be written to keep them in, so that each process compiles its own"
        if folder is None else f"They will be kept in {folder}",
    )  # fmt: skip
