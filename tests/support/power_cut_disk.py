"""A disk that logs every operation, and the states that a power cut at any moment could leave.

What was synced is there. Of what was not, every block may have reached the disk or not, the file
may have any length in between, and until its directory is synced a new file may be missing, a
removed one there again, and a renamed one under its old name.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
from hypothesis import strategies as st
from support.recordings import NOON, WHO, footage, gap, segment, session

from camd.clock import from_unix_micros
from camd.model import Gap, Segment, SegmentState, SessionId
from camd.mp4.segment import FTYP_SIZE, SegmentLayout
from camd.storage.disk import Disk, OpenFileStat
from camd.storage.index.index_database import IndexDatabase
from camd.storage.index.index_journal import IndexJournal
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.recovery.reconcile import ReconcileFinding, Reconciler, reconcile_folder
from camd.storage.removal import Pins, Remover
from camd.storage.rules.journal_records import GapNoted, SegmentNoted, SessionNoted
from camd.storage.rules.levels import Usage
from camd.storage.rules.timings import STORAGE_LIMITS
from camd.storage.rules.volume_identity import FilesystemLocation
from camd.storage.segment_file import SegmentFile

BLOCK = 512
MODIFIED = datetime(2026, 1, 15, 12, tzinfo=UTC)


@attrs.define(eq=False)
class Contents:
    """The bytes of a file as programs see them, and those that are known to be on the disk."""

    volatile: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""


@attrs.define(eq=False)
class RecordingFile:
    """A file whose operations go into the log of the disk."""

    _disk: RecordingDisk
    _path: Path
    _data: bytearray

    def size(self) -> int:
        return len(self._data)

    def modified(self) -> datetime:
        return MODIFIED

    def open_stat(self, path: Path) -> OpenFileStat:
        here = self._disk.files.get(path) is self._data
        linked = any(data is self._data for data in self._disk.files.values())
        return OpenFileStat(len(self._data), linked, here)

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
        """Append an operation to the log."""
        self.log.append(operation)

    def create(self, path: Path) -> RecordingFile:
        if path in self.files:
            raise FileExistsError(path)
        self.note("create", path)
        self.files[path] = bytearray()
        return RecordingFile(self, path, self.files[path])

    def open(self, path: Path) -> RecordingFile:
        if path not in self.files:
            raise FileNotFoundError(path)
        return RecordingFile(self, path, self.files[path])

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self.files if path.parent == folder]

    def exists(self, path: Path) -> bool:
        return path in self.files

    def sync_directory(self, path: Path) -> None:
        self.note("sync_directory", path)

    def unlink(self, path: Path) -> None:
        if path not in self.files:
            raise FileNotFoundError(path)
        self.note("unlink", path)
        del self.files[path]

    def make_folder(self, path: Path) -> None:
        self.note("make_folder", path)

    def replace(self, path: Path, target: Path) -> None:
        self.note("replace", path, target)
        self.files[target] = self.files.pop(path)

    def move(self, path: Path, target: Path) -> None:
        if target in self.files:
            raise FileExistsError(target)
        self.replace(path, target)

    def file_size_limit(self, folder: Path) -> int | None:
        return None

    def learn_file_size_limit(self, folder: Path, size: int) -> None:
        pass

    def locate(self, path: Path) -> FilesystemLocation:
        return FilesystemLocation(Path("/"), 1)

    def usage(self, path: Path) -> Usage:
        return Usage(10**9, 10**9)

    def settled(self) -> RecordingDisk:
        """Return a disk with the same files on which everything is durable."""
        disk = RecordingDisk()
        for path, data in self.files.items():
            disk.create(path).append([bytes(data)])
            disk.open(path).sync()
            disk.sync_directory(path.parent)
        return disk

    def after_power_cut(self, draw: st.DrawFn, at_least: int = 0) -> RecordingDisk:
        """Cut the power after any operation; return a disk that this could leave.

        The first `at_least` operations were done before.
        """
        cut = draw(st.integers(at_least, len(self.log)), label="operations before the cut")
        return self.cut_at(cut, draw)

    def barely(self) -> RecordingDisk:
        """Cut the power now; return the disk with what was synced, and nothing else."""
        left = RecordingDisk()
        for path, contents in _replayed(self.log).durable.items():
            left.files[path] = bytearray(contents.durable)
        return left

    def cut_at(self, cut: int, draw: st.DrawFn) -> RecordingDisk:
        """Cut the power after the first `cut` operations."""
        names = _replayed(self.log[:cut])
        left = RecordingDisk()
        for path in sorted(names.now.keys() | names.durable.keys()):
            old, new = names.durable.get(path), names.now.get(path)
            entries = [old] if old is new else [old, new]
            found = entries[draw(st.integers(0, len(entries) - 1), label="which entry")]
            if found is not None:
                left.files[path] = bytearray(_remains(found, draw))
            former = names.former.get(path)
            if former is not None and found is not new and draw(st.booleans(), label="old name"):
                left.files[former] = bytearray(_remains(names.now[path], draw))
        return left


@attrs.define(eq=False)
class Names:
    """The names as programs see them, and those that are known to be on the disk.

    `former`: what a file was called before a rename that is not durable yet.
    """

    now: dict[Path, Contents] = attrs.field(factory=dict)
    durable: dict[Path, Contents] = attrs.field(factory=dict)
    former: dict[Path, Path] = attrs.field(factory=dict)

    def settle(self, folder: Path) -> None:
        """Make the names of a folder durable."""
        self.durable = {p: c for p, c in self.durable.items() if p.parent != folder}
        self.durable |= {p: c for p, c in self.now.items() if p.parent == folder}
        self.former = {p: old for p, old in self.former.items() if p.parent != folder}


def _replayed(log: Sequence[tuple[object, ...]]) -> Names:
    names = Names()
    now = names.now
    for operation in log:
        match operation:
            case ("create", Path() as path):
                now[path] = Contents()
            case ("unlink", Path() as path):
                del now[path]
                names.former.pop(path, None)
            case ("replace", Path() as path, Path() as target):
                now[target], names.former[target] = now.pop(path), path
            case ("append", Path() as path, bytes() as data):
                now[path].volatile += data
            case ("overwrite", Path() as path, int() as offset, bytes() as data):
                now[path].volatile[offset : offset + len(data)] = data
            case ("truncate", Path() as path, int() as size):
                del now[path].volatile[size:]
            case ("sync", Path() as path):
                now[path].durable = bytes(now[path].volatile)
            case ("sync_directory", Path() as folder):
                names.settle(folder)
    return names


def _remains(contents: Contents, draw: st.DrawFn) -> bytes:
    old, new = contents.durable, bytes(contents.volatile)
    low, high = sorted((len(old), len(new)))
    size = draw(st.integers(low, high), label="length")
    left = bytearray(old[:size].ljust(size, b"\0"))
    for at in range(0, size, BLOCK):
        block = new[at : min(at + BLOCK, size)]
        if bytes(left[at : at + len(block)]) != block and draw(st.booleans(), label="block"):
            left[at : at + len(block)] = block
    return bytes(left)


# --- the storage code at work on it ---------------------------------------------------


FOLDER = Path("/disk")
INDEX_FOLDER = FOLDER / ".camd"
COUNT = 4
INIT, FRAGMENTS = footage(COUNT)
FRAMES = FRAGMENTS[0].frames
MINUTE = 60_000_000


def open_index(
    disk: Disk,
    content: bytes | None = None,
    folder: Path = INDEX_FOLDER,
    *,
    max_pending: int = STORAGE_LIMITS.max_pending,
) -> RecordingIndex:
    """Open the index of a disk, with the database as it was at some time, or with none."""
    database = IndexDatabase.open(Path(":memory:"))
    weakref.finalize(database, database._db.close)  # nobody else does
    if content is not None:
        database._db.deserialize(content)
    journal = IndexJournal.open(disk, folder)
    index = RecordingIndex(folder, database, journal, -1, None, max_pending=max_pending)
    index.catch_up()
    return index


def recovered(
    disk: RecordingDisk, content: bytes | None
) -> tuple[RecordingIndex, list[ReconcileFinding]]:
    """Start with a disk: open the index and reconcile the folder."""
    index = open_index(disk, content)
    return index, reconcile_folder(Reconciler(disk, FOLDER, index))


def _index(number: int) -> SegmentLayout:
    metadata = attrs.evolve(WHO, number=number, start_micros=WHO.start_micros + number * MINUTE)
    return SegmentLayout(INIT, FRAGMENTS[0], metadata)


@attrs.define(eq=False)
class StorageHistory:
    """A recorded session. Each confirmation has the number of operations before it."""

    disk: RecordingDisk = attrs.field(factory=RecordingDisk)
    index: RecordingIndex = attrs.field(init=False)
    durable: list[tuple[int, int, int]] = attrs.field(factory=list)  # file, fragments
    removing: list[tuple[int, int]] = attrs.field(factory=list)
    removed: list[tuple[int, int]] = attrs.field(factory=list)
    gaps: list[tuple[int, Gap]] = attrs.field(factory=list)
    begun: int | None = None
    indexes: list[tuple[int, bytes]] = attrs.field(factory=list)
    files: list[SegmentFile] = attrs.field(factory=list)
    open: SegmentFile | None = None
    grown: dict[tuple[int, int], bytes] = attrs.field(factory=dict)  # file, fragments: its bytes
    _there: list[int] = attrs.field(factory=list)  # sealed and not removed

    def __attrs_post_init__(self) -> None:
        self.index = open_index(self.disk)
        self._snapshot()

    @property
    def now(self) -> int:
        """The number of operations so far."""
        return len(self.disk.log)

    def _snapshot(self) -> None:
        self.indexes.append((self.now, self.index.database._db.serialize()))

    def append(self, *, sync: bool) -> None:
        """Append a fragment, beginning a file when none is open; the first one is synced."""
        first = self.open is None
        if self.open is None:
            number = len(self.files)
            name = f"camera0_2026-01-15_14-{30 + number}-00.mp4"
            index = _index(number)
            self.open = SegmentFile.create(self.disk, FOLDER, iter([name]), index, FRAGMENTS[0])
            self.files.append(self.open)
        elif self.open.index.frames == COUNT * FRAMES:
            return
        else:
            self.open.append([FRAGMENTS[self.open.index.frames // FRAMES]])
        count = self.open.index.frames // FRAMES
        number = len(self.files) - 1
        self.grown[number, count] = bytes(self.disk.files[self.open.path])
        if sync or first:
            self.open.sync()
            self.durable.append((self.now, len(self.files) - 1, count))
        if first:
            self.index.note_open(self._account(None))
            if self.begun is None:
                self.index.note(SessionNoted(session(session_id=SessionId("session"))))
                self.begun = self.now
            self._snapshot()

    def seal(self) -> None:
        """Seal the open file and note it."""
        if self.open is None:
            return
        count = self.open.index.frames // FRAMES
        self.open.seal()
        self.durable.append((self.now, len(self.files) - 1, count))
        self.index.note(SegmentNoted(self._account(self.open.sha256)))
        self._there.append(len(self.files) - 1)
        self._snapshot()
        self.open = None

    def lose(self) -> None:
        """Enter a gap into the ledger."""
        entry = gap(len(self.gaps), "session")
        self.index.note(GapNoted(entry))
        self.gaps.append((self.now, entry))
        self._snapshot()

    def remove(self) -> None:
        """Remove the oldest sealed file."""
        if not self._there:
            return
        number = self._there.pop(0)
        path = self.files[number].path
        self.removing.append((self.now, number))
        pins = Pins.of(self.disk, FOLDER)
        remover = Remover(self.disk, FOLDER, self.index, pins, lambda _: None, NOON)
        (answer,) = remover.remove([path.name], "asked for")
        assert answer.removed
        self._snapshot()
        self.removed.append((self.now, number))

    def sealed(self, number: int, fragments: int) -> bytes:
        """Return the bytes of a file that was sealed with so many of its fragments."""
        index, data = _index(number), self.grown[number, fragments]
        for fragment in FRAGMENTS[:fragments]:
            index.append(fragment)
        header = index.seal_header(len(data))
        return data[:FTYP_SIZE] + header + data[FTYP_SIZE + len(header) :] + index.final_moov()

    def _account(self, sha256: str | None) -> Segment:
        assert self.open is not None
        index, number = self.open.index, len(self.files) - 1
        start = from_unix_micros(index.metadata.start_micros)
        return segment(
            self.open.path.name,
            session_id=SessionId("session"),
            number=number,
            start=start,
            end=start,
            frames=index.frames,
            size_bytes=self.open.size_bytes,
            sha256=sha256,
            state=SegmentState.SEALED if sha256 else SegmentState.OPEN,
        )


def hash_of(data: bytes | bytearray) -> str:
    """Hash a file as receipts do."""
    return hashlib.sha256(data[48:]).hexdigest()
