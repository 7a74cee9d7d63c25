"""Disks for tests: one in memory that fails on demand, and a real one whose usage a test sets."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from camd.storage.disk import OpenFileStat, PosixDisk, PosixFile
from camd.storage.rules.levels import Usage
from camd.storage.rules.volume_identity import FilesystemLocation

MODIFIED = datetime(2026, 1, 15, 12, tzinfo=UTC)


@attrs.define(eq=False)
class MemoryFile:
    """The bytes of a file, and the synced ones, which a power cut leaves."""

    _disk: MemoryDisk
    data: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""

    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def modified(self) -> datetime:
        """A fixed time of change."""
        return MODIFIED

    def open_stat(self, path: Path) -> OpenFileStat:
        """Return the status of the file that has its name."""
        named = self._disk.files.get(path)
        linked = any(file is self for file in self._disk.files.values())
        return OpenFileStat(len(self.data), linked, named is self)

    def read(self, offset: int, size: int) -> bytes:
        """Read, or fail."""
        self._disk.step("read")
        return bytes(self.data[offset : offset + size])

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write all pieces; a failure leaves half of the bytes."""
        whole = b"".join(bytes(piece) for piece in pieces)
        largest = self._disk.hard_limit
        if largest is not None and len(self.data) + len(whole) > largest:
            self.data += whole[: max(0, largest - len(self.data))]
            self._disk.steps.append("append")
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        try:
            self._disk.step("append")
        except OSError:
            self.data += whole[: len(whole) // 2]
            raise
        self.data += whole

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes; a failure replaces none."""
        self._disk.step("overwrite")
        self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut the file; a failure leaves it whole."""
        self._disk.step("truncate")
        del self.data[size:]

    def sync(self) -> None:
        """Make everything durable; a failure makes nothing durable."""
        self._disk.step("sync")
        self.durable = bytes(self.data)

    def close(self) -> None:
        """Count the file as closed."""
        self._disk.open_files -= 1


@attrs.define(eq=False)
class MemoryDisk:
    """Folders and files in memory. `steps` lists all operations, failed ones included."""

    folders: set[Path] = attrs.field(factory=lambda: {Path("/disk")})
    files: dict[Path, MemoryFile] = attrs.field(factory=dict)
    volume: Usage = attrs.field(factory=lambda: Usage(1_000_000, 1_000_000))
    steps: list[str] = attrs.field(factory=list)
    faults: dict[int, int] = attrs.field(factory=dict)  # number of the step: errno
    open_files: int = 0
    device: int = 1
    hard_limit: int | None = None  # of a file's size; unknown until a write exceeds it
    known_limit: int | None = None
    watch: Callable[[str], None] = lambda what: None  # is called before each operation

    def fail(self, *numbers: int, code: int = errno.ENOSPC) -> None:
        """Let the steps of these numbers fail; the next step has the number 0."""
        self.faults |= {len(self.steps) + number: code for number in numbers}

    def step(self, what: str) -> None:
        """Count an operation; raise OSError when it is one that fails."""
        self.watch(what)
        number = len(self.steps)
        self.steps.append(what)
        if code := self.faults.get(number):
            raise OSError(code, os.strerror(code))

    def create(self, path: Path) -> MemoryFile:
        """Create a file; fail when the name exists."""
        self._need(path.parent, self.folders)
        if path in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self.step("create")
        self.files[path] = MemoryFile(self)
        self.open_files += 1
        return self.files[path]

    def open(self, path: Path) -> MemoryFile:
        """Open a file that exists."""
        self._need(path, self.files)
        self.step("open")
        self.open_files += 1
        return self.files[path]

    def names(self, folder: Path) -> list[str]:
        """List a folder."""
        self._need(folder, self.folders)
        return [path.name for path in self.files if path.parent == folder]

    def exists(self, path: Path) -> bool:
        """Whether a name exists."""
        return path in self.files

    def sync_directory(self, path: Path) -> None:
        """Do nothing, or fail."""
        self._need(path, self.folders)
        self.step("sync_directory")

    def unlink(self, path: Path) -> None:
        """Remove a name; an open file stays usable."""
        self._need(path, self.files)
        self.step("unlink")
        del self.files[path]

    def make_folder(self, path: Path) -> None:
        """Make a folder in one that exists."""
        self._need(path.parent, self.folders)
        self.step("make_folder")
        self.folders.add(path)

    def replace(self, path: Path, target: Path) -> None:
        """Rename a file; replace the file that has the new name."""
        self._need(path, self.files)
        self.step("replace")
        self.files[target] = self.files.pop(path)

    def move(self, path: Path, target: Path) -> None:
        """Rename a file; fail when the new name exists."""
        self._need(path, self.files)
        if target in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        self.step("move")
        self.files[target] = self.files.pop(path)

    def file_size_limit(self, folder: Path) -> int | None:
        """Return the largest size of a file, if it is known."""
        self._need(folder, self.folders)
        return self.known_limit

    def learn_file_size_limit(self, folder: Path, size: int) -> None:
        """Set the largest size of a file."""
        self.known_limit = min(size, self.known_limit or size)

    def locate(self, path: Path) -> FilesystemLocation:
        """Return one file system for all paths, or the `device` that the test has set."""
        return FilesystemLocation(Path("/"), self.device)

    def usage(self, path: Path) -> Usage:
        """Return the usage that the test has set in `volume`."""
        self._need(path, self.folders)
        return self.volume

    def _need(self, path: Path, where: set[Path] | dict[Path, MemoryFile]) -> None:
        if path not in where:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


@attrs.define(eq=False)
class GaugedFile(PosixFile):
    """A real file; its disk decides whether writes and syncs fail or hang."""

    _disk: GaugedDisk
    _name: str

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write, or fail."""
        self._disk.check()
        super().append(pieces)

    def sync(self) -> None:
        """Sync, fail or hang."""
        self._disk.check()
        self._disk.wait_for_sync(self._name)
        super().sync()


@attrs.define(eq=False)
class GaugedDisk(PosixDisk):
    """The real disk with a usage that tests set; writes can fail, syncs and samples can hang."""

    volume: Usage = attrs.field(factory=lambda: Usage(1000, 1000))
    error: OSError | None = None
    write_error: OSError | None = None  # of every creation, write and sync
    samples: int = 0
    mounts: dict[Path, int] = attrs.field(factory=dict)  # point and device; empty: the real ones
    created: list[str] = attrs.field(factory=list)  # names, in order
    hung: list[str] = attrs.field(factory=list)  # names, as their syncs began to hang
    _answers: threading.Event = attrs.field(factory=threading.Event, init=False)
    _stuck: set[str] = attrs.field(factory=set, init=False)
    _syncs: threading.Event = attrs.field(factory=threading.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._answers.set()

    def stick(self, name: str) -> None:
        """Let the syncs of this file hang from now on."""
        self._stuck.add(name)
        self._syncs.clear()

    def loosen(self) -> None:
        """Let all syncs return, also those that hang."""
        self._stuck.clear()
        self._syncs.set()

    def create(self, path: Path) -> GaugedFile:
        """Create a GaugedFile of this disk."""
        self.check()
        self.created.append(path.name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        return GaugedFile(fd, self, path.name)

    def locate(self, path: Path) -> FilesystemLocation:
        """Return the mount point and device that the test has set."""
        if not self.mounts:
            return super().locate(path)
        tops = [top for top in self.mounts if path.is_relative_to(top)]
        top = max(tops, key=lambda top: len(top.parts))
        return FilesystemLocation(top, self.mounts[top])

    def check(self) -> None:
        """Raise OSError when the test has set an error of writes."""
        if self.write_error is not None:
            raise self.write_error

    def wait_for_sync(self, name: str) -> None:
        """Wait while the syncs of this file hang."""
        if name in self._stuck:
            self.hung.append(name)
            assert self._syncs.wait(200), "nobody loosened the disk"

    def fill(self, percent: float, total: int = 1_000_000_000) -> None:
        """Set the used share of the volume."""
        self.volume = Usage(total, total - round(total * percent / 100))

    def hang(self) -> None:
        """Let samples hang from now on."""
        self._answers.clear()

    def release(self) -> None:
        """Let all samples return, also those that hang."""
        self._answers.set()

    def usage(self, path: Path) -> Usage:
        """Return the usage that the test has set; or fail, or hang."""
        self.samples += 1
        assert self._answers.wait(200), "nobody released the disk"
        if self.error is not None:
            raise self.error
        return self.volume


def roomy_disk() -> GaugedDisk:
    """Return the real disk with a usage of 10 %, whatever the machine's disk has."""
    disk = GaugedDisk()
    disk.fill(10, total=10**11)
    return disk
