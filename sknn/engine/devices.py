"""The devices there are, by the names that the parameter `device` knows."""

from ..cpu.device import CPU

#: What a device does, :mod:`sknn.cpu.device` says.
DEVICES = {"cpu": CPU()}
