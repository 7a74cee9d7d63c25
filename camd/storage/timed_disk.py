"""A disk whose calls are timed, for `IoStats`: so a call that hangs, or is slow, is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path

import attrs

from camd.clock import Clock
from camd.storage.disk import Disk, DiskFile, OpenFileStat
from camd.storage.rules.io_stats import IoStats, PendingOperation
from camd.storage.rules.levels import Usage
from camd.storage.rules.volume_identity import FilesystemLocation

# Trio runs a thread in the context of the task that waits for it.
_current: ContextVar[PendingOperation | None] = ContextVar("operation", default=None)


@attrs.define(eq=False)
class IoTimer:
    """Reports disk calls and their times to IoStats."""

    clock: Clock = attrs.field(kw_only=True)
    stats: IoStats = attrs.field(factory=IoStats)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Time an operation while the block runs, and its TimedDisk calls one by one."""
        operation = self.stats.begin(self.clock.monotonic())
        token = _current.set(operation)
        try:
            yield
        finally:
            _current.reset(token)
            self.stats.end(operation, self.clock.monotonic())

    def step(self) -> None:
        """Note that this thread's operation goes on with another call."""
        if (operation := _current.get()) is not None:
            self.stats.step(operation, self.clock.monotonic())

    @contextmanager
    def sync(self) -> Iterator[None]:
        """Time a sync: a step that counts in `sync_latency`."""
        self.step()
        begun = self.clock.monotonic()
        try:
            yield
        finally:
            self.stats.synced(self.clock.monotonic() - begun)


@attrs.define(eq=False)
class TimedFile:
    """A DiskFile whose calls are timed."""

    _file: DiskFile
    _timer: IoTimer

    def size(self) -> int:
        self._timer.step()
        return self._file.size()

    def modified(self) -> datetime:
        self._timer.step()
        return self._file.modified()

    def open_stat(self, path: Path) -> OpenFileStat:
        self._timer.step()
        return self._file.open_stat(path)

    def read(self, offset: int, size: int) -> bytes:
        self._timer.step()
        return self._file.read(offset, size)

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        self._timer.step()
        self._file.append(pieces)

    def overwrite(self, offset: int, data: bytes) -> None:
        self._timer.step()
        self._file.overwrite(offset, data)

    def truncate(self, size: int) -> None:
        self._timer.step()
        self._file.truncate(size)

    def sync(self) -> None:
        with self._timer.sync():
            self._file.sync()

    def close(self) -> None:
        self._timer.step()
        self._file.close()


@attrs.define(eq=False)
class TimedDisk:
    """A Disk whose calls are timed.

    What creates a name calls `confirm` first, which raises OSError on the wrong volume.
    """

    _disk: Disk
    _timer: IoTimer
    _confirm: Callable[[Path], None]

    def create(self, path: Path) -> TimedFile:
        self._timer.step()
        self._confirm(path.parent)
        return TimedFile(self._disk.create(path), self._timer)

    def open(self, path: Path) -> TimedFile:
        self._timer.step()
        return TimedFile(self._disk.open(path), self._timer)

    def names(self, folder: Path) -> list[str]:
        self._timer.step()
        return self._disk.names(folder)

    def exists(self, path: Path) -> bool:
        self._timer.step()
        return self._disk.exists(path)

    def sync_directory(self, path: Path) -> None:
        with self._timer.sync():
            self._disk.sync_directory(path)

    def unlink(self, path: Path) -> None:
        self._timer.step()
        self._disk.unlink(path)

    def make_folder(self, path: Path) -> None:
        self._timer.step()
        self._confirm(path.parent)
        self._disk.make_folder(path)

    def replace(self, path: Path, target: Path) -> None:
        self._timer.step()
        self._disk.replace(path, target)

    def move(self, path: Path, target: Path) -> None:
        self._timer.step()
        self._confirm(path.parent)
        self._disk.move(path, target)

    def file_size_limit(self, folder: Path) -> int | None:
        self._timer.step()
        return self._disk.file_size_limit(folder)

    def learn_file_size_limit(self, folder: Path, size: int) -> None:
        self._timer.step()
        self._disk.learn_file_size_limit(folder, size)

    def usage(self, path: Path) -> Usage:
        return self._disk.usage(path)

    def locate(self, path: Path) -> FilesystemLocation:
        return self._disk.locate(path)
