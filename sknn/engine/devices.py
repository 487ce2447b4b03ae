"""Choice of the device: the only module that knows device names and creates GPU devices."""

import os
import re

from ..cpu.device import CPU
from .warn import warn

#: Devices by name; :mod:`sknn.cpu.device` documents their interface. GPUs are created on demand and
#: are not listed here.
DEVICES = {"cpu": CPU()}
#: Valid values of the parameter `device`, for messages.
NAMES = "auto", "cpu", "cuda", "cuda:<n>"
#: The device that holds the weights of fitted estimators.
HOST = "cpu"

_AUTO, _FIRST_GPU = "auto", "cuda"
_GPU = re.compile("cuda(?::([0-9]+))?")
#: Multiply-adds from which 'auto' uses the GPU: of a training step, of a whole prediction.
_TRAINING, _PREDICTION = 2e7, 2e9
#: By process and GPU number: devices, reasons why they are not available, and those that users were
#: warned about. A forked child cannot use its parent's GPU devices and must not destroy them.
_made, _reasons, _warned = {}, {}, set()


def is_name(value):
    """Return whether a value is valid for the parameter `device`."""
    return isinstance(value, str) and bool(
        value == _AUTO or value in DEVICES or _GPU.fullmatch(value)
    )


def nearest(value):
    """Return the device name that an invalid value probably stands for, or None.

    Other libraries use GPU numbers, other names, or objects whose str is a name.
    """
    found = re.fullmatch("(cpu|cuda|gpu)?[ :_/]*([0-9]*)", str(value).strip().lower())
    if not found or not any(found.groups()) or isinstance(value, bool):
        return None
    kind, number = found.groups()
    return kind if kind == HOST else _FIRST_GPU + (f":{int(number)}" if number else "")


def device_named(name):
    """Return a device, creating it if necessary.

    Raises ImportError or RuntimeError, with advice, if it is not available.
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


def for_training(name, multiply_adds, members=1):
    """Return the name of the device for a fit with this number of multiply-adds per step.

    Networks with several `members` need a device that runs such networks.

    A named device is created, or its error is raised. 'auto' is the first GPU, if available, for
    steps of at least 2e7 multiply-adds, else the CPU. A step takes three times the multiply-adds of
    a forward pass of the batch, or of all rows if they are one step. The threshold is an estimate,
    not a measurement, and so is that of :func:`for_prediction`.
    """
    if name == _AUTO:
        return _chosen(multiply_adds >= _TRAINING and members == 1)
    if members > 1 and not device_named(name).groups:
        raise ValueError(
            f"device={name!r} cannot run networks of several members, here {members}; expected "
            f"{HOST!r}."
        )
    device_named(name)
    return name


def for_prediction(home, name, rows, multiply_adds, members=1):
    """Return the name of the device to predict on.

    Weights on a device other than the host stay there. Otherwise single rows are predicted on the
    CPU; 'auto' is the first GPU, if available, for at least 2e9 multiply-adds in total; and a named
    device that is not available is replaced by the CPU, with one warning.

    Parameters
    ----------
    home : str
        The device that holds the weights.
    name : str
        The requested device.
    rows : int
        Rows per step.
    multiply_adds : int
        Multiply-adds of all steps.
    members : int
        The number of members of the network; the CPU predicts where there are several.
    """
    if home != HOST:
        return home
    if rows == 1 or name == HOST or members > 1:
        return HOST
    if name == _AUTO:
        return _chosen(multiply_adds >= _PREDICTION)
    reason = _why_not(name)
    if reason is None:
        return name
    if _key(name) not in _warned:
        _warned.add(_key(name))
        warn(f"device={name!r} is not available, so the CPU predicts: {reason}")
    return HOST


def _chosen(large):
    return _FIRST_GPU if large and _why_not(_FIRST_GPU) is None else HOST


def _why_not(name):
    """Return why a device is not available, or None; it is tried only once."""
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
