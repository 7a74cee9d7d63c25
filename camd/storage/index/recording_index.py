"""Index and journal of one recordings folder, kept together and locked.

A record is durable in the journal before the index gets it, so an index that lags behind, or is
new, catches up by reading the journal.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import attrs
import structlog

from camd.model import Segment
from camd.runtime.file_presence import is_there, mode_of
from camd.runtime.folders.folder_lock import FolderInUseError, lock_file
from camd.runtime.folders.format_marker import claim_format
from camd.storage.disk import Disk
from camd.storage.index.index_database import IndexDatabase, is_damage, put_aside
from camd.storage.index.index_journal import IndexJournal
from camd.storage.rules.journal_records import Record, SegmentNoted
from camd.storage.rules.note_backlog import NoteBacklog
from camd.storage.rules.timings import STORAGE_LIMITS

log = structlog.get_logger("camd.storage")

__all__ = [
    "FOLDER",
    "INDEX",
    "NOT_A_FILE",
    "FileId",
    "FolderInUseError",
    "RecordingIndex",
    "file_id",
    "misplaced_folders",
]

FOLDER = ".camd"  # inside the recordings folder
INDEX = "index.sqlite"
LOCK = "lock"
NOT_A_FILE = "is a directory, not a file; move it away"


FileId = tuple[int, int]  # device, inode


def is_derivable(record: Record) -> bool:
    """Return whether a file contains this record: true of sealed MP4s, not of Matroska files."""
    return isinstance(record, SegmentNoted) and record.segment.filename.endswith(".mp4")


def file_id(path: Path) -> FileId | None:
    """Return what identifies a file under any name; None when it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def misplaced_folders(recordings: Path) -> list[Path]:
    """Return the directories that stand where index, journal or lock should be. Blocks.

    A folder that cannot be read has none: using it says why not.
    """
    folder = recordings / FOLDER
    with suppress(OSError):
        files = [folder / INDEX, folder / "lock", *sorted(folder.glob("journal-*.jsonl"))]
        return [path for path in files if stat.S_ISDIR(mode_of(path) or 0)]
    return []


@attrs.define(eq=False)
class RecordingIndex:
    """Index and journal of one folder. Blocks on the disk; for one thread at a time."""

    persistent: ClassVar[bool] = True
    folder: Path
    database: IndexDatabase
    journal: IndexJournal
    _lock: int
    folder_id: FileId | None
    max_pending: int = attrs.field(default=STORAGE_LIMITS.max_pending, kw_only=True)
    _caught_up: bool = attrs.field(default=False, init=False)
    _unwritten: NoteBacklog[Record] = attrs.field(init=False)  # not in the journal yet
    _unapplied: NoteBacklog[Record] = attrs.field(init=False)  # not in the index yet
    problem: OSError | sqlite3.Error | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._unwritten = NoteBacklog(self.max_pending, is_derivable)
        self._unapplied = NoteBacklog(self.max_pending, is_derivable)

    @classmethod
    def open(
        cls,
        disk: Disk,
        recordings: Path,
        *,
        reindex: bool = False,
        max_pending: int = STORAGE_LIMITS.max_pending,
    ) -> RecordingIndex:
        """Lock the folder and open its index and journal; `reindex` begins with an empty index.

        Raises FolderInUseError, FormatRefusedError, OSError, and sqlite3.Error when no index can be
        made.
        """
        folder = recordings / FOLDER
        folder.mkdir(mode=0o750, exist_ok=True)
        for path in misplaced_folders(recordings):
            if not (reindex and path.name == INDEX):  # that is set aside in any case
                raise IsADirectoryError(errno.EISDIR, NOT_A_FILE, str(path))
        lock = lock_file(folder / LOCK, recordings)
        try:
            claim_format(folder)
            if reindex and is_there(folder / INDEX):
                put_aside(folder / INDEX)
            journal = IndexJournal.open(disk, folder)
            database, folder_id = IndexDatabase.open(folder / INDEX), file_id(folder)
            return cls(folder, database, journal, lock, folder_id, max_pending=max_pending)
        except BaseException:
            os.close(lock)
            raise

    def rebuild(self) -> None:
        """Set a damaged index aside and begin another, which `catch_up` fills.

        Raises OSError, sqlite3.Error.
        """
        self.database.close()
        if is_there(self.folder / INDEX):
            put_aside(self.folder / INDEX)
        self.database = IndexDatabase.open(self.folder / INDEX)
        self._caught_up = False

    def catch_up(self) -> None:
        """Apply what only the journal has, and mark what a crash left open; once per index.

        Raises OSError, sqlite3.Error.
        """
        if self._caught_up:
            return
        for records, position in self.journal.read(self.database.position):
            self.database.apply(records, position)
        self.database.interrupt()
        self._caught_up = True

    # --- writing ---

    @property
    def pending(self) -> int:
        """How many records wait for the disk, in memory."""
        return max(len(self._unwritten), len(self._unapplied))

    @property
    def lost(self) -> int:
        """How many records were dropped because too many waited, and no file contains them."""
        return self._unwritten.lost

    def take_dropped(self) -> int:
        """Return how many derivable records were dropped since the last call."""
        return self._unwritten.take_dropped() + self._unapplied.take_dropped()

    def note(self, *records: Record) -> None:
        """Write records durably, and into the index.

        Raises OSError or sqlite3.Error when journal or index refuses; the other one has them, and
        what is missing is written with the next records (see `flush`).
        """
        self._unwritten.add(*records)
        self._unapplied.add(*records)
        self._write()

    def accept(self, *records: Record) -> None:
        """Take records, and write them now or as soon as that works; see `problem`.

        Raises sqlite3.Error for a damaged index.
        """
        self._unwritten.add(*records)
        self._unapplied.add(*records)
        self.flush()

    def note_open(self, segment: Segment) -> None:
        """Write an unfinished segment into the index only: its file contains the rest.

        Now or as soon as that works. Raises sqlite3.Error for a damaged index.
        """
        self._unapplied.add(SegmentNoted(segment))
        self.flush()

    def flush(self) -> None:
        """Retry what the disk has refused. Raises sqlite3.Error for a damaged index."""
        self.problem = None
        if not self.pending:
            return
        try:
            self._write()
        except OSError as error:
            self.problem = error
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            self.problem = error

    def _write(self) -> None:
        refused: OSError | None = None
        unwritten, unapplied = self._unwritten.all(), self._unapplied.all()
        try:
            self.journal.append(unwritten)
            self._unwritten.remove(unwritten)
        except OSError as error:
            refused = error
        position = self.database.position if refused else self.journal.position
        self.database.apply(unapplied, position)
        self._unapplied.remove(unapplied)
        if refused is not None:
            raise refused

    def inherit(self, older: RecordingIndex) -> None:
        """Take over what an older index of the same folder could not write.

        Sealed files only when they are here: others are on another disk. One of which the disk does
        not say whether it is here is not dropped.
        """
        for record in older._unwritten.all():
            match record:
                case SegmentNoted(segment):
                    here = True
                    with suppress(OSError):
                        here = self.journal.disk.exists(self.folder.parent / segment.filename)
                case _:
                    here = True
            if here:
                self._unwritten.add(record)
                self._unapplied.add(record)

    def note_hash(self, segment: Segment) -> None:
        """Write a hash that was computed later, unless the file has changed or gone meanwhile.

        As `accept`; raises sqlite3.Error when the index cannot be read.
        """
        known = self.database.segment(segment.filename)
        if known is not None and attrs.evolve(known, sha256=segment.sha256) == segment:
            self.accept(SegmentNoted(segment))

    def close(self) -> None:
        """Close everything and unlock the folder."""
        if self._caught_up:
            with suppress(sqlite3.Error):  # the journal has it
                self.flush()
        self.journal.close()
        self.database.close()
        os.close(self._lock)
