"""A disk that remembers every operation, and what a power cut at any moment could leave of it.

What was synced is there. Of what was not, every block may have reached the disk or not, the file
may have any length in between, and a file whose directory was not synced may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
from hypothesis import strategies as st

from camd.storage.levels import Usage

BLOCK = 512


@attrs.define(eq=False)
class _Contents:
    """A file as programs see it, and as the disk is known to have it."""

    volatile: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""
    named: bool = False  # its directory entry is durable


@attrs.define(eq=False)
class RecordingFile:
    """Every operation goes into the disk's log."""

    _disk: RecordingDisk
    _path: Path

    @property
    def _data(self) -> bytearray:
        return self._disk.files[self._path]

    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            self._disk.note("append", self._path, bytes(piece))
            self._data.extend(piece)

    def overwrite(self, offset: int, data: bytes) -> None:
        self._disk.note("overwrite", self._path, offset, data)
        self._data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        self._disk.note("truncate", self._path, size)
        del self._data[size:]

    def sync(self) -> None:
        self._disk.note("sync", self._path)

    def close(self) -> None:
        pass


@attrs.define(eq=False)
class RecordingDisk:
    """A disk in memory with a log."""

    files: dict[Path, bytearray] = attrs.field(factory=dict)
    log: list[tuple[object, ...]] = attrs.field(factory=list)

    def note(self, *operation: object) -> None:
        """Write an operation down."""
        self.log.append(operation)

    def create(self, path: Path) -> RecordingFile:
        if path in self.files:
            raise FileExistsError(path)
        self.note("create", path)
        self.files[path] = bytearray()
        return RecordingFile(self, path)

    def open(self, path: Path) -> RecordingFile:
        if path not in self.files:
            raise FileNotFoundError(path)
        return RecordingFile(self, path)

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self.files if path.parent == folder]

    def sync_directory(self, path: Path) -> None:
        self.note("sync_directory", path)

    def unlink(self, path: Path) -> None:
        self.note("unlink", path)
        del self.files[path]

    def usage(self, path: Path) -> Usage:
        return Usage(10**9, 10**9)

    def after_power_cut(self, draw: st.DrawFn, at_least: int = 0) -> RecordingDisk:
        """Cut the power behind any operation; return a disk that this could leave.

        The first `at_least` operations were done before.
        """
        cut = draw(st.integers(at_least, len(self.log)), label="operations before the cut")
        left = RecordingDisk()
        for path, contents in _replayed(self.log[:cut]).items():
            if contents.named or draw(st.booleans(), label="entry is there"):
                left.files[path] = bytearray(_remains(contents, draw))
        return left


def _replayed(log: Sequence[tuple[object, ...]]) -> dict[Path, _Contents]:
    files: dict[Path, _Contents] = {}
    for operation in log:
        match operation:
            case ("create", Path() as path):
                files[path] = _Contents()
            case ("append", Path() as path, bytes() as data):
                files[path].volatile += data
            case ("overwrite", Path() as path, int() as offset, bytes() as data):
                files[path].volatile[offset : offset + len(data)] = data
            case ("truncate", Path() as path, int() as size):
                del files[path].volatile[size:]
            case ("sync", Path() as path):
                files[path].durable = bytes(files[path].volatile)
            case ("sync_directory", _):
                for contents in files.values():
                    contents.named = True
    return files


def _remains(contents: _Contents, draw: st.DrawFn) -> bytes:
    old, new = contents.durable, bytes(contents.volatile)
    low, high = sorted((len(old), len(new)))
    size = draw(st.integers(low, high), label="length")
    left = bytearray(old[:size].ljust(size, b"\0"))
    for at in range(0, size, BLOCK):
        block = new[at : min(at + BLOCK, size)]
        if bytes(left[at : at + len(block)]) != block and draw(st.booleans(), label="block"):
            left[at : at + len(block)] = block
    return bytes(left)
