"""Files of machine code, in a folder of the user, which other processes may write to at any time.

What is loaded is machine code, so nothing is trusted. A file starts with a checksum of everything
it was made for, which its device defines, and of its content; it is not read unless the checksum
matches: a damaged file, or one in the place of another, is compiled again. Files are written under
a temporary name and then renamed, and only their owner can read or write them. A folder that
belongs to somebody else, or that others may write to, is not used. If nothing can be written there
is no cache, and no error.

If several processes need the same kernel at the same time, one compiles it and the others wait, as
long as that process lives and does not take absurdly long. The system releases the lock of a
process that ends. Where there are no file locks, each process compiles on its own.

The files are in ``$NUMBA_CACHE_DIR/sknn`` if that is set, else in the user's cache folder.
"""

import hashlib
import os
import pathlib
import stat
import tempfile
import time
from contextlib import contextmanager, suppress

from numba.core import config
from numba.misc.appdirs import AppDirs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

#: Seconds to wait at most for another process that compiles the same kernel, and between checks.
_PATIENCE, _PAUSE = 10.0, 0.005


def digest(*paths):
    """Return a short hash of source files, and of all those below folders among them."""
    found = [f for path in map(pathlib.Path, paths) for f in (path, *sorted(path.rglob("*.py")))]
    content = b"".join(file.read_bytes() for file in found if file.is_file())
    return hashlib.sha256(content).hexdigest()[:16]


def folder(name):
    """Return the folder `name` of the cache."""
    if config.CACHE_DIR:
        base = os.path.join(config.CACHE_DIR, "sknn")
    else:
        base = AppDirs(appname="sknn", appauthor=False).user_cache_dir
    return os.path.join(base, name)


def _is_ours(status):
    """Return whether a file of this status belongs to the user, and nobody else may write to it."""
    if not hasattr(os, "geteuid"):  # Windows, where the user's folders are his own
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def writable_folder(name):
    """Return the folder `name`, created if needed; None if nothing can be stored."""
    path = pathlib.Path(folder(name))
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        for some in (path.parent, path):
            some.mkdir(mode=0o700, exist_ok=True)
        if not all(_is_ours(os.stat(some)) for some in (path.parent, path)):
            return None
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return None
    return path


def _lock(path, patience):
    """Return a file that this process has locked exclusively; None after waiting long enough."""
    flags, end = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, time.monotonic() + patience
    while True:
        file = os.open(path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                file, ours = None, file
                return ours
        except (BlockingIOError, FileNotFoundError):
            pass  # another has it, or had it, and has removed it
        finally:
            if file is not None:
                os.close(file)
        if time.monotonic() > end:
            return None
        time.sleep(_PAUSE)


class File:
    """The file of a kernel, for one type of processor and one set of versions.

    Parameters
    ----------
    folder : path
    name : str
    made_for : object
        Everything that the machine code depends on; its ``repr`` must be complete.
    """

    def __init__(self, folder, name, made_for):
        self._key = hashlib.sha256(repr(made_for).encode())
        self._path = folder / f"{name}-{self._key.hexdigest()[:12]}.kernel"

    def _checksum(self, content):
        return hashlib.sha256(self._key.digest() + content).digest()

    def exists(self):
        """Return whether something was saved, which may yet turn out to be damaged."""
        return self._path.exists()

    def load(self):
        """Return what was saved, or None."""
        with suppress(OSError), open(self._path, "rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            checksum, content = file.read(32), file.read()
            if checksum == self._checksum(content):
                return content
        return None

    @contextmanager
    def turn(self, patience=None):
        """Wait until no other process compiles this kernel, and lock others out meanwhile.

        The value is False if another one still has it when patience is at its end.

        `patience`: seconds to wait at most, where kernels take longer than usual. No child can be
        forked that would hold the lock as well: forks wait for Numba's lock.
        """
        path, lock, ours = self._path.with_suffix(".lock"), None, True
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                lock = _lock(path, _PATIENCE if patience is None else patience)
                ours = lock is not None
        try:
            yield ours
        finally:
            if lock is not None:
                with suppress(OSError):
                    os.unlink(path)  # while it is held, so that it is not another's
                os.close(lock)

    def save(self, content):
        """Store the machine code; on a full or read-only disk, the next process compiles again."""
        with suppress(OSError):
            # accessible to the user only, whatever the umask
            handle, beside = tempfile.mkstemp(dir=self._path.parent, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(self._checksum(content) + content)
                os.replace(beside, self._path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside)
                raise
