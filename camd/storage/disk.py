"""Every disk operation of the recorder, behind one interface that a test can take over.

All of it is synchronous and may block for as long as the disk likes: callers run it in threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from camd.storage.levels import Usage


class DiskFile(Protocol):
    """A file that was created here and is open for writing."""

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces at the end. Raises OSError; then some of them may be there."""

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes in place, whole or not at all as far as the kernel lets us see."""

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes and go on appending there."""

    def sync(self) -> None:
        """Return when data and size are on stable storage (fdatasync(2))."""

    def close(self) -> None:
        """Close; never raises for a file that was synced."""


class Disk(Protocol):
    """What the recorder needs of a file system."""

    def create(self, path: Path) -> DiskFile:
        """Create exclusively. Raises FileExistsError when the name is taken."""

    def sync_directory(self, path: Path) -> None:
        """Return when the directory's entries are on stable storage."""

    def unlink(self, path: Path) -> None:
        """Remove a name."""

    def usage(self, path: Path) -> Usage:
        """Sample the volume that `path` is on (statvfs(3))."""


@attrs.define(eq=False)
class PosixFile:
    """A DiskFile on a descriptor."""

    _fd: int

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces with as few writev(2) as it takes."""
        views = [memoryview(piece) for piece in pieces if len(piece)]
        while views:
            written = os.writev(self._fd, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]

    def overwrite(self, offset: int, data: bytes) -> None:
        """pwrite(2) in one call; 16 bytes inside one sector are not torn."""
        if os.pwrite(self._fd, data, offset) != len(data):
            raise OSError(f"short write of {len(data)} bytes at {offset}")

    def truncate(self, size: int) -> None:
        """ftruncate(2), then move the position there."""
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)

    def sync(self) -> None:
        """fdatasync(2): includes the size, leaves out the time stamps."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """close(2)."""
        os.close(self._fd)


class PosixDisk:
    """The real thing."""

    def create(self, path: Path) -> PosixFile:
        """open(2) with O_CREAT and O_EXCL, group-readable."""
        return PosixFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))

    def sync_directory(self, path: Path) -> None:
        """fsync(2) on the directory's descriptor."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        """unlink(2)."""
        path.unlink()

    def usage(self, path: Path) -> Usage:
        """statvfs(3); `f_bavail` is what an unprivileged process may use."""
        facts = os.statvfs(path)
        return Usage(
            total_bytes=facts.f_blocks * facts.f_frsize,
            available_bytes=facts.f_bavail * facts.f_frsize,
            free_inodes=facts.f_favail if facts.f_files else -1,
            read_only=bool(facts.f_flag & os.ST_RDONLY),
        )
