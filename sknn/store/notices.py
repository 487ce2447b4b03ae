"""What users are told of compilation: by the logger ``sknn``, once for a fit."""

import logging
import threading
from contextlib import contextmanager

LOGGER = logging.getLogger("sknn")
LOGGER.addHandler(logging.NullHandler())


class _Here(threading.local):
    """Of this thread: what it is about, and whether of that has been told already."""

    doing, told = None, False


_here = _Here()


@contextmanager
def told_once(doing):
    """Tell of compilation but once in this context; `doing` says what it is for.

    Contexts inside are parts of it, and so is what they compile.
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
    """Tell that kernels are about to be compiled, if that has not been told of this fit.

    Parameters
    ----------
    what : str
        How many, and how long that takes.
    folder : path or None
        Where they will be kept, if they can be.
    """
    if _here.doing is not None and _here.told:
        return
    _here.told = True
    LOGGER.info(
        "Compiling for this %s: %s. %s.", _here.doing or "prediction", what,
        "No folder can be written to keep them in, so that each process compiles its own"
        if folder is None else f"They will be kept in {folder}",
    )  # fmt: skip
