"""Files of events that TensorBoard reads, written by tensorboardX."""

import os
import re
import socket
import struct
import time
from pathlib import Path

import numpy as np

#: Bins of a histogram, and where the values it shows end.
_BINS = 50
_LARGEST = 1e150
#: The longest name of a run, without its number.
_LONGEST = 120


def check_installed(images=False):
    """Raise ImportError unless the libraries that write events, and images, are installed."""
    try:
        import tensorboardX  # noqa: F401

        if images:
            import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The TensorBoard callback needs the libraries tensorboardX and, unless images_every=0, "
            f'Pillow; {error.name or error} is missing: pip install "sknn[tensorboard]".'
        ) from error


def new_run(log_dir, name):
    """Create a folder for a run, with a number that no other run has; return its events' path."""
    name = re.sub(r"[^\w.,=()+-]+", "_", name)
    if len(name) > _LONGEST:  # whole parameters, if it has any
        name = re.sub(r",[^,]*$", ",...)", name[: _LONGEST - 5])
    for number in range(1, 10**9):
        folder = Path(log_dir, f"{name}-{number}")
        try:
            folder.mkdir(parents=True)  # by one process only
        except FileExistsError:
            continue
        return folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"


class Events:
    """The events of one step, which are appended to a file together at the end of its context.

    The file is closed between steps, so that TensorBoard sees whole ones, and nothing is left open.

    Parameters
    ----------
    path : path-like
    step : int
    """

    def __init__(self, path, step):
        self._path, self._step = path, step

    def __enter__(self):
        self._values = []
        return self

    def __exit__(self, kind, *exception):
        if kind is not None:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        now, summary = time.time(), Summary(value=self._values)
        data = _record(Event(wall_time=now, step=self._step, summary=summary))
        if not os.path.exists(self._path):
            data = _record(Event(wall_time=now, file_version="brain.Event:2")) + data
        with open(self._path, "ab") as file:
            file.write(data)

    def scalar(self, tag, value):
        """Add a number."""
        from tensorboardX import summary

        self._values += summary.scalar(tag, float(value)).value

    def histogram(self, tag, values):
        """Add a histogram of an array's elements, of those that are finite, also squared."""
        from tensorboardX import summary

        values = np.asarray(values, float)
        values = values[np.abs(values) < _LARGEST]
        if values.size:
            self._values += summary.histogram(tag, values, _edges(values)).value

    def image(self, tag, image):
        """Add an image, of shape (height, width, 3), with values from 0 to 1."""
        from tensorboardX import summary

        pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
        self._values += summary.image(tag, pixels, dataformats="HWC").value


def _edges(values):
    """Return the edges of a histogram's bins."""
    try:
        return np.histogram_bin_edges(values, _BINS)
    except ValueError:  # the values are too close to each other
        low, high = values.min(), values.max()
        beside = 1e-3 * max(abs(low), abs(high))
        return np.linspace(low - beside, high + beside, _BINS + 1)


def _record(event):
    """Return an event as a record of a TFRecord file."""
    from tensorboardX.record_writer import masked_crc32c

    data = event.SerializeToString()
    size = struct.pack("<Q", len(data))
    sums = (struct.pack("<I", masked_crc32c(part)) for part in (size, data))
    return size + next(sums) + data + next(sums)
