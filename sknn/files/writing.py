"""Writing files: one that exists is replaced when the new one is complete."""

import os
import secrets
import shutil
from contextlib import suppress


def replace(path, parts, new=False):
    """Write bytes to a file that replaces an existing one when it is complete, on the disk.

    If it has to be `new`, an existing one is an error.
    """
    path = os.path.realpath(os.fsdecode(path))  # a link stays one
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{path} is not a regular file, and is not replaced.")
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            with suppress(FileNotFoundError):  # as if the old file were written to
                shutil.copymode(path, beside)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if not (new and _links(beside, path)):
            os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    _sync(folder)


def _links(beside, path):
    """Give a file a new name, which no other file has; return False where there are no links."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        return False
    os.unlink(beside)
    return True


def _sync(folder):
    """Write a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # a file system that cannot
        os.fsync(handle)
    os.close(handle)
