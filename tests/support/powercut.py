"""A disk that remembers every operation, and what a power cut at any moment could leave of it.

What was synced is there. Of what was not, every block may have reached the disk or not, the file
may have any length in between, and until its directory is synced a new file may be missing, a
removed one there again, and a renamed one under its old name.
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
    renamed: tuple[Path, _Contents | None] | None = None  # from where, in place of what; volatile


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

    def make_folder(self, path: Path) -> None:
        self.note("make_folder", path)

    def replace(self, path: Path, target: Path) -> None:
        self.note("replace", path, target)
        self.files[target] = self.files.pop(path)

    def usage(self, path: Path) -> Usage:
        return Usage(10**9, 10**9)

    def after_power_cut(self, draw: st.DrawFn, at_least: int = 0) -> RecordingDisk:
        """Cut the power behind any operation; return a disk that this could leave.

        The first `at_least` operations were done before.
        """
        cut = draw(st.integers(at_least, len(self.log)), label="operations before the cut")
        left = RecordingDisk()
        files, removed = _replayed(self.log[:cut])
        for path, contents in files.items():
            if contents.renamed and draw(st.booleans(), label="old name is there"):
                old, replaced = contents.renamed
                if draw(st.booleans(), label="entry is there"):
                    left.files[old] = bytearray(_remains(contents, draw))
                if replaced is not None:
                    left.files[path] = bytearray(_remains(replaced, draw))
            elif contents.named or draw(st.booleans(), label="entry is there"):
                left.files[path] = bytearray(_remains(contents, draw))
        for path, contents in removed.items():
            if path not in left.files and draw(st.booleans(), label="entry is still there"):
                left.files[path] = bytearray(_remains(contents, draw))
        return left


def _replayed(
    log: Sequence[tuple[object, ...]],
) -> tuple[dict[Path, _Contents], dict[Path, _Contents]]:
    """Do the operations again; give what is there, and what was removed and not yet synced."""
    files: dict[Path, _Contents] = {}
    removed: dict[Path, _Contents] = {}
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
            case ("unlink", Path() as path):
                removed[path] = files.pop(path)
            case ("replace", Path() as path, Path() as target):
                moved, replaced = files.pop(path), files.get(target)
                moved.renamed = (path, replaced)
                moved.named = replaced is not None and replaced.named  # one of them is there
                files[target] = moved
            case ("sync_directory", Path() as folder):
                for path, contents in files.items():
                    if path.parent == folder:
                        contents.named, contents.renamed = True, None
                removed = {p: gone for p, gone in removed.items() if p.parent != folder}
    return files, removed


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
