"""A disk for verification: it only reads, skips the page cache, and leaves locked files alone."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import attrs

from camd.clock import SYSTEM_CLOCK, Clock
from camd.storage.disk import PosixDisk, PosixFile

OnRead = Callable[[int, float], None]  # bytes that were read, seconds that it took


def _ignore(size_bytes: int, seconds: float) -> None:
    """Tell nobody."""


@attrs.define(eq=False)
class ReadOnlyFile(PosixFile):
    """A file open for reading; `told` is called after every read, and may raise to end it."""

    told: OnRead = _ignore
    clock: Clock = SYSTEM_CLOCK

    def read(self, offset: int, size: int) -> bytes:
        """pread(2), repeated until it is enough."""
        began = self.clock.monotonic()
        data = super().read(offset, size)
        self.told(len(data), self.clock.monotonic() - began)
        return data

    def close(self) -> None:
        """close(2), and drop the file from the page cache."""
        _forget(self._fd)
        super().close()


@attrs.define(eq=False)
class ReadOnlyDisk(PosixDisk):
    """A disk that cannot change anything."""

    told: OnRead = _ignore
    heed_locks: bool = True
    clock: Clock = attrs.field(default=SYSTEM_CLOCK, kw_only=True)  # times the reads

    def open(self, path: Path) -> ReadOnlyFile:
        """Open for reading; never follows a link, nor waits for a pipe's other end.

        Drops the file from the page cache first, so that the disk itself is read. Raises
        BlockingIOError while its creator has it open, OSError for anything but an ordinary file.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "Not an ordinary file", str(path))
            if self.heed_locks:
                _share(fd)
        except BaseException:
            os.close(fd)
            raise
        _forget(fd)
        return ReadOnlyFile(fd, self.told, self.clock)

    def create(self, path: Path) -> NoReturn:
        """Refuse."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def unlink(self, path: Path) -> None:
        """Refuse."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def _share(fd: int) -> None:
    """Take a shared lock, where the file system has any. Raises BlockingIOError."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def _forget(fd: int) -> None:
    with suppress(OSError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
