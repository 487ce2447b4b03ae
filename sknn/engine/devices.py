"""Which device computes: the one place that knows their names, and what is made of the GPUs."""

import os
import re

from ..cpu.device import CPU
from .warn import warn

#: What a device does, :mod:`sknn.cpu.device` says. GPUs that do not stand here are made when they
#: are asked for.
DEVICES = {"cpu": CPU()}
#: What the parameter `device` takes, in words.
NAMES = "auto", "cpu", "cuda", "cuda:<n>"
#: Where the weights of fitted estimators lie.
HOST = "cpu"

_AUTO, _FIRST_GPU = "auto", "cuda"
_GPU = re.compile("cuda(?::([0-9]+))?")
#: Multiply-adds from which on 'auto' takes the GPU: of a step of training, of a whole prediction.
_TRAINING, _PREDICTION = 2e7, 2e9
#: By process and number: GPUs, why there are none, and of which of these users were warned. A
#: forked child can use no GPU of its parent's, and must not destroy it either.
_made, _reasons, _warned = {}, {}, set()


def is_name(value):
    """Whether the parameter `device` takes a value."""
    return isinstance(value, str) and bool(
        value == _AUTO or value in DEVICES or _GPU.fullmatch(value)
    )


def nearest(value):
    """Return the name that a value for the parameter `device` may stand for, or None.

    Others number GPUs, call them so, or have objects for them, whose str is a name.
    """
    found = re.fullmatch("(cpu|cuda|gpu)?[ :_/]*([0-9]*)", str(value).strip().lower())
    if not found or not any(found.groups()) or isinstance(value, bool):
        return None
    kind, number = found.groups()
    return kind if kind == HOST else _FIRST_GPU + (f":{int(number)}" if number else "")


def device_named(name):
    """Return a device, making it if need be.

    Raises ImportError or RuntimeError, with what to do about it, if it cannot be had.
    """
    found = DEVICES.get(name)
    if found is not None:
        return found
    key = _key(name)
    if key not in _made:
        from ..cuda.device import CUDA

        _made.setdefault(key, CUDA(key[1]))
        _reasons.pop(key, None)
    return _made[key]


def for_training(name, multiply_adds):
    """Return the name of the device for a fit whose steps take so many multiply-adds.

    A device that is named is made, or else its error raised. 'auto' is the first GPU, if it can be
    had, for steps of at least 2e7 multiply-adds, else the CPU. A step's are three times those of a
    forward pass of the batch; where the whole data is one step, of all rows. The number is an
    estimate, no measurement, and so is that of :func:`for_prediction`.
    """
    if name == _AUTO:
        return _chosen(multiply_adds >= _TRAINING)
    device_named(name)
    return name


def for_prediction(home, name, rows, multiply_adds):
    """Return the name of the device to predict on.

    Weights that lie on another device than the host stay there. Else a step of a single row is for
    the CPU; 'auto' is the first GPU, if it can be had, for at least 2e9 multiply-adds in all; and a
    device that is named but cannot be had is replaced by the CPU, with a warning, once.

    Parameters
    ----------
    home : str
        Where the weights are.
    name : str
        What was asked for.
    rows : int
        In a step.
    multiply_adds : int
        Of all steps.
    """
    if home != HOST:
        return home
    if rows == 1 or name == HOST:
        return HOST
    if name == _AUTO:
        return _chosen(multiply_adds >= _PREDICTION)
    reason = _why_not(name)
    if reason is None:
        return name
    if _key(name) not in _warned:
        _warned.add(_key(name))
        warn(f"device={name!r} cannot be had, so the CPU predicts: {reason}")
    return HOST


def _chosen(large):
    return _FIRST_GPU if large and _why_not(_FIRST_GPU) is None else HOST


def _why_not(name):
    """Return why a device cannot be had, or None; it is tried once."""
    if name in DEVICES:
        return None
    key = _key(name)
    if key not in _made and key not in _reasons:
        try:
            device_named(name)
        except (ImportError, RuntimeError, ValueError) as error:
            _reasons[key] = str(error)
    return _reasons.get(key)


def _key(name):
    return os.getpid(), int(_GPU.fullmatch(name)[1] or 0)
