"""Disks that do what a test says: one in memory that fails on demand, one of a stated fullness."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import attrs

from camd.storage.disk import PosixDisk
from camd.storage.levels import Usage


@attrs.define(eq=False)
class MemoryFile:
    """A file's bytes, and those of them that a power cut would leave."""

    _disk: MemoryDisk
    data: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""

    def size(self) -> int:
        """How long it is."""
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        """Read; a fault comes here too."""
        self._disk.step("read")
        return bytes(self.data[offset : offset + size])

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces; a fault comes when half of the bytes are there."""
        whole = b"".join(bytes(piece) for piece in pieces)
        try:
            self._disk.step("append")
        except OSError:
            self.data += whole[: len(whole) // 2]
            raise
        self.data += whole

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes, or fail and replace none."""
        self._disk.step("overwrite")
        self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut, or fail and leave everything."""
        self._disk.step("truncate")
        del self.data[size:]

    def sync(self) -> None:
        """Make everything durable, or fail and nothing."""
        self._disk.step("sync")
        self.durable = bytes(self.data)

    def close(self) -> None:
        """Count as closed."""
        self._disk.open_files -= 1


@attrs.define(eq=False)
class MemoryDisk:
    """Folders and files in memory. `steps` lists what was done, failed attempts included."""

    folders: set[Path] = attrs.field(factory=lambda: {Path("/disk")})
    files: dict[Path, MemoryFile] = attrs.field(factory=dict)
    volume: Usage = attrs.field(factory=lambda: Usage(1_000_000, 1_000_000))
    steps: list[str] = attrs.field(factory=list)
    faults: dict[int, int] = attrs.field(factory=dict)  # number of the step: errno
    open_files: int = 0

    def fail(self, *numbers: int, code: int = errno.ENOSPC) -> None:
        """Let the steps of these numbers fail, counted from the next one as 0."""
        self.faults |= {len(self.steps) + number: code for number in numbers}

    def step(self, what: str) -> None:
        """Count an operation; raise when it is one that fails."""
        number = len(self.steps)
        self.steps.append(what)
        if code := self.faults.get(number):
            raise OSError(code, os.strerror(code))

    def create(self, path: Path) -> MemoryFile:
        """Create exclusively."""
        self._need(path.parent, self.folders)
        if path in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self.step("create")
        self.files[path] = MemoryFile(self)
        self.open_files += 1
        return self.files[path]

    def open(self, path: Path) -> MemoryFile:
        """Open what exists."""
        self._need(path, self.files)
        self.step("open")
        self.open_files += 1
        return self.files[path]

    def names(self, folder: Path) -> list[str]:
        """List a folder."""
        self._need(folder, self.folders)
        return [path.name for path in self.files if path.parent == folder]

    def sync_directory(self, path: Path) -> None:
        """Do nothing, or fail."""
        self._need(path, self.folders)
        self.step("sync_directory")

    def unlink(self, path: Path) -> None:
        """Forget a name; who holds the file open goes on with it."""
        self._need(path, self.files)
        self.step("unlink")
        del self.files[path]

    def make_folder(self, path: Path) -> None:
        """Make a folder in one that exists."""
        self._need(path.parent, self.folders)
        self.step("make_folder")
        self.folders.add(path)

    def replace(self, path: Path, target: Path) -> None:
        """Move a file to another name, in place of what had it."""
        self._need(path, self.files)
        self.step("replace")
        self.files[target] = self.files.pop(path)

    def usage(self, path: Path) -> Usage:
        """Tell what the test has put into `volume`."""
        self._need(path, self.folders)
        return self.volume

    def _need(self, path: Path, where: set[Path] | dict[Path, MemoryFile]) -> None:
        if path not in where:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


@attrs.define(eq=False)
class GaugedDisk(PosixDisk):
    """The real disk, but its usage is what a test says; a sample can be made to hang."""

    volume: Usage = attrs.field(factory=lambda: Usage(1000, 1000))
    error: OSError | None = None
    samples: int = 0
    _answers: threading.Event = attrs.field(factory=threading.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._answers.set()

    def fill(self, percent: float, total: int = 1_000_000_000) -> None:
        """Let so much of the volume be used."""
        self.volume = Usage(total, total - round(total * percent / 100))

    def hang(self) -> None:
        """Let samples wait from now on."""
        self._answers.clear()

    def release(self) -> None:
        """Let samples return, those that wait included."""
        self._answers.set()

    def usage(self, path: Path) -> Usage:
        """Answer, fail or hang."""
        self.samples += 1
        assert self._answers.wait(30), "nobody released the disk"
        if self.error is not None:
            raise self.error
        return self.volume


def roomy_disk() -> GaugedDisk:
    """Return the real disk, which says that it has room whatever the machine's has."""
    disk = GaugedDisk()
    disk.fill(10, total=10**11)
    return disk
