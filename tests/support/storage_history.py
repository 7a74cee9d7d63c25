"""A run of the storage code on a recording disk: its operations, and what it confirmed when."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs
from support.footage import NOON, WHO, footage, gap, segment, session
from support.powercut import RecordingDisk

from camd.clock import from_unix_micros
from camd.model import Gap, Segment, SegmentState, SessionId
from camd.mp4.segment import FTYP_SIZE, SegmentIndex
from camd.storage.disk import Disk
from camd.storage.index.catalog import Catalog
from camd.storage.index.journal import Journal
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.recovery.reconcile import ReconcileFinding, Reconciler, reconcile_folder
from camd.storage.removal import Pins, Remover
from camd.storage.rules.journal_records import GapNoted, SegmentNoted, SessionNoted
from camd.storage.segment_file import SegmentFile

FOLDER = Path("/disk")
INDEX_FOLDER = FOLDER / ".camd"
COUNT = 4
INIT, FRAGMENTS = footage(COUNT)
FRAMES = FRAGMENTS[0].frames
MINUTE = 60_000_000


def open_index(
    disk: Disk, database: bytes | None = None, folder: Path = INDEX_FOLDER
) -> RecordingIndex:
    """Open the index of a disk, with a database as it was at some time, or with none."""
    catalog = Catalog.open(Path(":memory:"))
    if database is not None:
        catalog._db.deserialize(database)
    index = RecordingIndex(folder, catalog, Journal.open(disk, folder), -1, None)
    index.catch_up()
    return index


def recovered(
    disk: RecordingDisk, database: bytes | None
) -> tuple[RecordingIndex, list[ReconcileFinding]]:
    """Start on a disk: open the index and reconcile the folder."""
    index = open_index(disk, database)
    return index, reconcile_folder(Reconciler(disk, FOLDER, index))


def _index(number: int) -> SegmentIndex:
    metadata = attrs.evolve(WHO, number=number, start_micros=WHO.start_micros + number * MINUTE)
    return SegmentIndex(INIT, FRAGMENTS[0], metadata)


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
        """How many operations there were so far."""
        return len(self.disk.log)

    def _snapshot(self) -> None:
        self.indexes.append((self.now, self.index.catalog._db.serialize()))

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
        """Say what a file holds when it is sealed with so many of its fragments."""
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
