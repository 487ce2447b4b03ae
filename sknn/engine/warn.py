"""Warnings that point at the line that called the package."""

import contextlib
import functools
import os
import sys
import warnings

import joblib
import scipy
import sklearn

_HERE = os.path.dirname(os.path.dirname(__file__))
#: Paths of this package, and of libraries that may be on the call stack.
_INSIDE = (
    _HERE + os.sep,
    *(os.path.dirname(package.__file__) + os.sep for package in (sklearn, joblib, scipy)),
    contextlib.__file__,
    functools.__file__,
)


def warn(message, category=UserWarning):
    """Warn at the innermost line outside these files: the user's code."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
