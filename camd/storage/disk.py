"""Every disk operation of recording, behind one interface that a test can replace.

Everything is synchronous and may block without limit: call it in threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import attrs

from camd.runtime.file_presence import is_name_taken, is_there
from camd.storage.filesystem import file_size_limit, move_exclusively
from camd.storage.rules.levels import Usage
from camd.storage.rules.volume_identity import FilesystemLocation

_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)  # syncing a folder is not supported


@attrs.frozen
class OpenFileStat:
    """State of a file that is open here and may have been touched by other programs.

    `linked`: it still has a name, whichever.
    """

    size_bytes: int
    linked: bool
    here: bool  # its original name still leads to it


class DiskFile(Protocol):
    """A file open for reading and writing; `truncate` before appending to an opened one."""

    def size(self) -> int:
        """Return the file's length."""

    def modified(self) -> datetime:
        """Return the time of the last write, UTC."""

    def open_stat(self, path: Path) -> OpenFileStat:
        """Return the state of the file that was created at `path`. Raises OSError."""

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes, fewer at the end of the file, without moving the position."""

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces at the end. Raises OSError; some bytes may be written then."""

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes in place, in one call."""

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes and append from there."""

    def sync(self) -> None:
        """Return when data and size are on stable storage (fdatasync(2))."""

    def close(self) -> None:
        """Close the file; never raises after a sync."""


class Disk(Protocol):
    """The file system operations that recording needs."""

    def create(self, path: Path) -> DiskFile:
        """Create a file exclusively. Raises FileExistsError."""

    def open(self, path: Path) -> DiskFile:
        """Open an existing file. Raises BlockingIOError while its creator has it open."""

    def names(self, folder: Path) -> list[str]:
        """List a directory, in no order."""

    def exists(self, path: Path) -> bool:
        """Return whether this name exists, a dangling link included. Raises OSError if unknown."""

    def sync_directory(self, path: Path) -> None:
        """Return when the directory's entries are on stable storage."""

    def make_folder(self, path: Path) -> None:
        """Make a directory, unless it exists."""

    def unlink(self, path: Path) -> None:
        """Remove a name."""

    def replace(self, path: Path, target: Path) -> None:
        """Rename a file within its directory, replacing `target`."""

    def move(self, path: Path, target: Path) -> None:
        """Rename a file within its directory. Raises FileExistsError when `target` exists."""

    def file_size_limit(self, folder: Path) -> int | None:
        """Return the largest possible size of a file here; None: no known limit. Raises OSError."""

    def learn_file_size_limit(self, folder: Path, size: int) -> None:
        """Remember that no file could be larger than `size` (EFBIG). Raises OSError."""

    def usage(self, path: Path) -> Usage:
        """Sample the volume of `path` (statvfs(3))."""

    def locate(self, path: Path) -> FilesystemLocation:
        """Return on which file system `path` is, or would be created."""


@attrs.define(eq=False)
class PosixFile:
    """A DiskFile on a descriptor."""

    _fd: int

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def modified(self) -> datetime:
        return datetime.fromtimestamp(os.fstat(self._fd).st_mtime, UTC)

    def open_stat(self, path: Path) -> OpenFileStat:
        facts = os.fstat(self._fd)
        try:
            here = os.path.samestat(path.lstat(), facts)
        except (FileNotFoundError, NotADirectoryError):
            here = False
        return OpenFileStat(facts.st_size, facts.st_nlink > 0, here)

    def read(self, offset: int, size: int) -> bytes:
        """pread(2), repeated until enough is read."""
        pieces = []
        while size > 0 and (piece := os.pread(self._fd, size, offset)):
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces with as few writev(2) as possible."""
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
        os.close(self._fd)


@attrs.define(eq=False)
class PosixDisk:
    """The real file system. `limit_of` says what is known beforehand of the largest file."""

    limit_of: Callable[[Path], int | None] = attrs.field(default=file_size_limit, kw_only=True)
    _learned: dict[int, int] = attrs.field(factory=dict, init=False)  # largest file by st_dev

    def create(self, path: Path) -> PosixFile:
        """open(2) with O_CREAT and O_EXCL, group-readable; locked until closed (flock(2))."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return PosixFile(fd)

    def open(self, path: Path) -> PosixFile:
        """open(2) for reading and writing; never follows a link."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise
        except OSError:
            pass  # not every file system has locks
        return PosixFile(fd)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder)

    def exists(self, path: Path) -> bool:
        return is_name_taken(path)

    def sync_directory(self, path: Path) -> None:
        """fsync(2) on the directory's descriptor, where the file system supports it."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            os.close(fd)

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=0o750, exist_ok=True)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def replace(self, path: Path, target: Path) -> None:
        path.replace(target)

    def move(self, path: Path, target: Path) -> None:
        """renameat2(2), or a substitute."""
        move_exclusively(path, target)

    def file_size_limit(self, folder: Path) -> int | None:
        """Return the smallest of all known limits."""
        known = self.limit_of(folder), self._learned.get(folder.stat().st_dev)
        return min((limit for limit in known if limit is not None), default=None)

    def learn_file_size_limit(self, folder: Path, size: int) -> None:
        """Remember a limit of this file system as long as this object lives."""
        device = folder.stat().st_dev
        self._learned[device] = min(size, self._learned.get(device, size))

    def usage(self, path: Path) -> Usage:
        """statvfs(3); `f_bavail` is what an unprivileged process can use."""
        facts = os.statvfs(path)
        return Usage(
            total_bytes=facts.f_blocks * facts.f_frsize,
            available_bytes=facts.f_bavail * facts.f_frsize,
            free_inodes=facts.f_favail if facts.f_files else -1,
            read_only=bool(facts.f_flag & os.ST_RDONLY),
            total_inodes=facts.f_files,
        )

    def locate(self, path: Path) -> FilesystemLocation:
        """Walk up from the path, or its nearest existing parent, while st_dev is the same."""
        top = Path(os.path.realpath(path))  # unlike Path.resolve, accepts loops
        while not is_there(top) and top != top.parent:
            top = top.parent
        device = top.stat().st_dev
        while top != top.parent and top.parent.stat().st_dev == device:
            top = top.parent
        return FilesystemLocation(top, device)


# --- Files of lines that are only appended


@attrs.frozen
class LineFile:
    """A file of lines, open at its end. `torn`: a crash has left its last line without an end."""

    file: DiskFile
    size: int = 0
    torn: bool = False


def open_lines(disk: Disk, path: Path) -> LineFile:
    """Open a file to append lines to, or create it; its name is durable then. Raises OSError."""
    is_new = path.name not in disk.names(path.parent)
    file = disk.create(path) if is_new else disk.open(path)
    try:
        disk.sync_directory(path.parent)
        if is_new:
            return LineFile(file)
        size = file.size()
        file.truncate(size)  # only moves the file position to the end
        return LineFile(file, size, torn=size > 0 and file.read(size - 1, 1) != b"\n")
    except OSError:
        file.close()
        raise
