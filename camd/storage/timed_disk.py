"""A disk whose calls are timed: the clock and the threads around `stats`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path

import attrs

from camd.clock import monotonic
from camd.storage.disk import Disk, DiskFile, OpenFileStat
from camd.storage.rules.io_stats import IoStats, PendingOperation
from camd.storage.rules.levels import Usage
from camd.storage.rules.volume_identity import FolderLocation

# Trio hands a thread the context of the task that waits for it.
_current: ContextVar[PendingOperation | None] = ContextVar("operation", default=None)


@attrs.define(eq=False)
class IoTimer:
    """Tells a Latency what happens, and when."""

    stats: IoStats = attrs.field(factory=IoStats)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Time an operation while the block runs, its calls to a WatchedDisk one by one."""
        operation = self.stats.begin(monotonic())
        token = _current.set(operation)
        try:
            yield
        finally:
            _current.reset(token)
            self.stats.end(operation, monotonic())

    def step(self) -> None:
        """Take note that this thread's operation goes on."""
        if (operation := _current.get()) is not None:
            self.stats.step(operation, monotonic())

    @contextmanager
    def sync(self) -> Iterator[None]:
        """Time a sync: a step that counts in `sync_latency` too."""
        self.step()
        begun = monotonic()
        try:
            yield
        finally:
            self.stats.synced(monotonic() - begun)


@attrs.define(eq=False)
class TimedFile:
    """A DiskFile whose calls are timed."""

    _file: DiskFile
    _timer: IoTimer

    def size(self) -> int:
        """As the file itself, and so all that follow."""
        self._timer.step()
        return self._file.size()

    def modified(self) -> datetime:
        """Look at its time."""
        self._timer.step()
        return self._file.modified()

    def open_stat(self, path: Path) -> OpenFileStat:
        """Look whether it is where it was."""
        self._timer.step()
        return self._file.open_stat(path)

    def read(self, offset: int, size: int) -> bytes:
        """Read a part."""
        self._timer.step()
        return self._file.read(offset, size)

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write at the end."""
        self._timer.step()
        self._file.append(pieces)

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace in place."""
        self._timer.step()
        self._file.overwrite(offset, data)

    def truncate(self, size: int) -> None:
        """Cut."""
        self._timer.step()
        self._file.truncate(size)

    def sync(self) -> None:
        """Sync, and count how long that took."""
        with self._timer.sync():
            self._file.sync()

    def close(self) -> None:
        """Close."""
        self._timer.step()
        self._file.close()


@attrs.define(eq=False)
class TimedDisk:
    """A Disk whose calls are timed. `confirm` raises OSError where nothing may be created."""

    _disk: Disk
    _timer: IoTimer
    _confirm: Callable[[Path], None]

    def create(self, path: Path) -> TimedFile:
        """Create exclusively, on the right volume or not at all."""
        self._timer.step()
        self._confirm(path.parent)
        return TimedFile(self._disk.create(path), self._timer)

    def open(self, path: Path) -> TimedFile:
        """Open what exists."""
        self._timer.step()
        return TimedFile(self._disk.open(path), self._timer)

    def names(self, folder: Path) -> list[str]:
        """List a directory."""
        self._timer.step()
        return self._disk.names(folder)

    def exists(self, path: Path) -> bool:
        """Look a name up."""
        self._timer.step()
        return self._disk.exists(path)

    def sync_directory(self, path: Path) -> None:
        """Sync a directory, and count how long that took."""
        with self._timer.sync():
            self._disk.sync_directory(path)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        self._timer.step()
        self._disk.unlink(path)

    def make_folder(self, path: Path) -> None:
        """Make a folder, on the right volume or not at all."""
        self._timer.step()
        self._confirm(path.parent)
        self._disk.make_folder(path)

    def replace(self, path: Path, target: Path) -> None:
        """Rename."""
        self._timer.step()
        self._disk.replace(path, target)

    def move(self, path: Path, target: Path) -> None:
        """Rename exclusively, on the right volume or not at all."""
        self._timer.step()
        self._confirm(path.parent)
        self._disk.move(path, target)

    def largest_file(self, folder: Path) -> int | None:
        """Look a limit up."""
        self._timer.step()
        return self._disk.largest_file(folder)

    def learn_largest_file(self, folder: Path, size: int) -> None:
        """Remember a limit."""
        self._timer.step()
        self._disk.learn_largest_file(folder, size)

    def usage(self, path: Path) -> Usage:
        """Sample the volume."""
        return self._disk.usage(path)

    def locate(self, path: Path) -> FolderLocation:
        """Find the file system."""
        return self._disk.locate(path)
