"""A recordings folder with real files and a real index, and ways to damage it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import trio
from support import recordings
from support.fake_disk import GaugedDisk
from support.recordings import NOON, WHO, footage

from camd.clock import SYSTEM_CLOCK, to_unix_micros
from camd.config.schema import StorageConfig
from camd.model import Gap, GapCause, Segment, SegmentState, Session, SessionId, SessionState
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM, SegmentLayout
from camd.runtime.broadcast import Fanout
from camd.storage.disk import PosixDisk
from camd.storage.index.recording_index import FOLDER, INDEX, RecordingIndex
from camd.storage.rules.journal_records import GapNoted, Record, SegmentNoted, SessionNoted
from camd.storage.rules.naming import stem
from camd.storage.storage import Storage, open_storage

INIT, FRAGMENTS = footage(3)  # three times 0.1 s, of 3 frames each
SECONDS = 0.3
MATROSKA = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 4


def session(session_id: str = "s0", files: int = 1, **facts: object) -> Session:
    """Describe a session that has ended, with so many files and nothing missing."""
    values: dict[str, object] = {
        "session_id": SessionId(session_id),
        "owner": "ann",
        "duration_limit": timedelta(minutes=1),
        "state": SessionState.ENDED,
        "reason": "stopped",
        "frames_captured": 9 * files,
        "frames_written": 9 * files,
        "durable": True,
        "healthy": False,
        "end": NOON,
    }
    return recordings.session(**(values | facts))


def gap(start: float, end: float, session_id: str = "s0", **facts: object) -> Gap:
    """Describe a ledger entry, in seconds after noon."""
    values: dict[str, object] = {
        "end": NOON + timedelta(seconds=end),
        "duration_seconds": end - start,
        "frames": 0,
        "exact": False,
        "cause": GapCause.CAMERA_LOST,
        "action": "started the camera again",
    }
    return recordings.gap(start / 60, session_id, **(values | facts))


def contents(who: object = WHO, *, sealed: bool = True) -> bytes:
    """Return a segment's bytes; all of its fragments but the last were synced."""
    index = SegmentLayout(INIT, FRAGMENTS[0], who)  # type: ignore[arg-type]
    data, synced = index.header, 0
    for fragment in FRAGMENTS:
        synced = len(data)
        data += b"".join(index.render(fragment, synced))
        index.record(fragment.runs, fragment.size_bytes)
    if not sealed:
        return data
    header = index.seal_header(len(data))
    return data[:FTYP_SIZE] + header + data[FTYP_SIZE + len(header) :] + index.final_moov()


@attrs.define(eq=False)
class Recordings:
    """The folder. Segments lie one second apart, so there is a gap of 0.7 s between two."""

    folder: Path
    disk: PosixDisk = attrs.field(factory=PosixDisk)

    def put(
        self,
        number: int = 0,
        session_id: str = "s0",
        *,
        apart: float = SECONDS,
        sealed: bool = True,
        noted: bool = True,
        **facts: object,
    ) -> Segment:
        """Write a recording, and put it into the index, unless `noted` is False."""
        self.folder.mkdir(exist_ok=True)
        start = NOON + timedelta(seconds=apart * number)
        who = attrs.evolve(
            WHO, session_id=session_id, number=number, start_micros=to_unix_micros(start)
        )
        data = contents(who, sealed=sealed)
        taken = len(list(self.folder.glob(f"{who.camera_id}*")))
        name = stem(who.camera_id, start) + (f"_{taken}" if taken else "") + ".mp4"
        (self.folder / name).write_bytes(data)
        described: dict[str, object] = {
            "filename": name,
            "camera_id": who.camera_id,
            "session_id": session_id,
            "number": number,
            "start": start,
            "end": start + timedelta(seconds=SECONDS),
            "duration_seconds": SECONDS,
            "frames": 9,
            "size_bytes": len(data),
            "sha256": signature(data) if sealed else None,
            "state": SegmentState.SEALED if sealed else SegmentState.OPEN,
            "codec": "avc1",
            "width": 320,
            "height": 180,
            "modified": NOON,
        }
        segment = Segment(**(described | facts))  # type: ignore[arg-type]
        if noted:
            self.know(segment)
        return segment

    def put_mkv(self, number: int = 7, session_id: str = "s0") -> Segment:
        """Write a Matroska file, and put it into the index."""
        made = self.put(number, session_id, noted=False)
        (self.folder / made.filename).unlink()
        name = made.filename.replace(".mp4", ".mkv")
        (self.folder / name).write_bytes(MATROSKA)
        made = attrs.evolve(
            made, filename=name, size_bytes=len(MATROSKA), sha256=signature(MATROSKA)
        )
        self.know(made)
        return made

    def know(self, segment: Segment) -> None:
        """Put a file into the index."""
        with self.open_index() as index:
            if segment.state is SegmentState.SEALED:
                index.note(SegmentNoted(segment))
            else:
                index.note_open(segment)

    def note(self, *facts: Session | Gap) -> None:
        """Put sessions and gaps into the index."""
        records: list[Record] = [
            SessionNoted(fact) if isinstance(fact, Session) else GapNoted(fact) for fact in facts
        ]
        with self.open_index() as index:
            index.note(*records)

    @contextmanager
    def open_index(self) -> Iterator[RecordingIndex]:
        """Open the index as the service does, but do not mark what is open."""
        self.folder.mkdir(exist_ok=True)
        opened = RecordingIndex.open(self.disk, self.folder)
        try:
            yield opened
        finally:
            opened.close()

    @property
    def index(self) -> Path:
        """The index."""
        return self.folder / FOLDER / INDEX

    @property
    def journal(self) -> Path:
        """The journal's first file."""
        return self.folder / FOLDER / "journal-000001.jsonl"

    def state(self) -> dict[str, object]:
        """Return the bytes and the time of change of everything in the folder, by name.

        Leaves out SQLite's shared memory files, which readers change, too.
        """
        return {
            str(path.relative_to(self.folder)): (
                path.read_bytes() if path.is_file() else path.is_dir(),
                path.lstat().st_mtime_ns,
            )
            for path in sorted(self.folder.rglob("*"))
            if not path.name.endswith("-shm")
        }


@asynccontextmanager
async def searched_storage(folder: Path, disk: GaugedDisk | None = None) -> AsyncIterator[Storage]:
    """Run storage over a folder that has been searched and whose files have been hashed.

    Files are leased while they are hashed, and nothing tells of the end; so it looks again.
    """
    disk = disk or GaugedDisk()
    disk.fill(50)
    config = StorageConfig(folder, state_dir=folder.with_name("state"))
    with trio.fail_after(300):
        async with open_storage(config, Fanout(), disk, clock=SYSTEM_CLOCK) as storage:
            await storage.unfinished_sessions()
            worker = storage.index_worker
            while await worker.read(lambda a: a.database.unhashed()) or storage.leased_files:  # noqa: ASYNC110
                await trio.sleep(0.005)
            yield storage


def signature(data: bytes) -> str:
    """Hash a recording's bytes as a receipt does."""
    return hashlib.sha256(data[HASHED_FROM:]).hexdigest()


def damage(path: Path, at: int | None = None) -> None:
    """Invert one bit, in the first picture unless `at` is given."""
    data = bytearray(path.read_bytes())
    if at is None:
        at = data.index(b"mdat", HASHED_FROM) + 20
    data[at] ^= 1
    path.write_bytes(data)
