"""All that is known of one recordings folder: the index, and the journal that it is rebuilt from.

What the journal says is durable before the index hears of it, so an index that lags behind, or is
new, catches up by reading on.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import attrs
import structlog

from camd.model import Segment
from camd.runtime.locked import FolderInUseError, lock_file
from camd.storage.catalog import Catalog
from camd.storage.database import put_aside
from camd.storage.disk import Disk
from camd.storage.journal import Journal
from camd.storage.records import Record, SegmentNoted

log = structlog.get_logger("camd.storage")

__all__ = [
    "FOLDER",
    "INDEX",
    "NOT_A_FILE",
    "Archive",
    "FileId",
    "FolderInUseError",
    "file_id",
    "misplaced_folders",
]

FOLDER = ".camd"  # in the recordings folder
INDEX = "index.sqlite"
NOT_A_FILE = "is a directory, not a file; move it away"
MOST_PENDING = 10_000  # records that wait for a disk on which nothing can be written


FileId = tuple[int, int]  # device, inode


def file_id(path: Path) -> FileId | None:
    """Tell files apart whatever they are called; None for one that is not there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def misplaced_folders(recordings: Path) -> list[Path]:
    """Name the directories that stand where index, journal or lock should be. Blocks."""
    folder = recordings / FOLDER
    files = [folder / INDEX, folder / "lock", *sorted(folder.glob("journal-*.jsonl"))]
    return [path for path in files if path.is_dir()]


@attrs.define(eq=False)
class Archive:
    """Index and journal of one folder, locked. Blocks on the disk; for one thread at a time."""

    lasting: ClassVar[bool] = True
    folder: Path
    catalog: Catalog
    journal: Journal
    _lock: int
    folder_id: FileId | None
    _caught_up: bool = attrs.field(default=False, init=False)
    _unwritten: list[Record] = attrs.field(factory=list, init=False)  # the journal lacks them
    _unapplied: list[Record] = attrs.field(factory=list, init=False)  # the index lacks them

    @classmethod
    def open(cls, disk: Disk, recordings: Path, *, reindex: bool = False) -> Archive:
        """Lock the folder and open what is known of it; `reindex` begins with an empty index.

        Raises FolderInUseError, OSError, and sqlite3.Error when no index can be made.
        """
        folder = recordings / FOLDER
        folder.mkdir(mode=0o750, exist_ok=True)
        for path in misplaced_folders(recordings):
            if not (reindex and path.name == INDEX):  # which is put aside, whatever it is
                raise IsADirectoryError(errno.EISDIR, NOT_A_FILE, str(path))
        lock = lock_file(folder / "lock", recordings)
        try:
            if reindex and (folder / INDEX).exists():
                put_aside(folder / INDEX)
            journal = Journal.open(disk, folder)
            return cls(folder, Catalog.open(folder / INDEX), journal, lock, file_id(folder))
        except BaseException:
            os.close(lock)
            raise

    def begin_again(self) -> None:
        """Put an index aside that cannot be used, and rebuild it from the journal.

        Raises OSError, sqlite3.Error.
        """
        self.catalog.close()
        if (self.folder / INDEX).exists():
            put_aside(self.folder / INDEX)
        self.catalog = Catalog.open(self.folder / INDEX)
        self._caught_up = False

    def catch_up(self) -> None:
        """Let the index take over what only the journal has, and mark what a crash left open.

        Before anything else is done; a second time nothing is.

        Raises OSError, sqlite3.Error.
        """
        if self._caught_up:
            return
        for records, place in self.journal.read(self.catalog.place):
            self.catalog.apply(records, place)
        self.catalog.interrupt()
        self._caught_up = True

    def note(self, *records: Record) -> None:
        """Make records durable, and put them into the index.

        Raises OSError or sqlite3.Error when one of the two refuses: the other one has them all
        the same, and what is behind is written with the next ones (see `flush`).
        """
        self._unwritten = [*self._unwritten, *records][-MOST_PENDING:]
        self._unapplied = [*self._unapplied, *records][-MOST_PENDING:]
        refused: OSError | None = None
        try:
            self.journal.append(self._unwritten)
            self._unwritten = []
        except OSError as error:
            refused = error
        place = self.catalog.place if refused else self.journal.place
        self.catalog.apply(self._unapplied, place)
        self._unapplied = []
        if refused is not None:
            raise refused

    def flush(self) -> None:
        """Try again to write what the disk has refused, if there is anything."""
        if self._unwritten or self._unapplied:
            with suppress(OSError, sqlite3.Error):
                self.note()

    def note_open(self, segment: Segment) -> None:
        """Put a segment into the index that is not final: its file tells the rest."""
        self.catalog.put_segment(segment)

    def note_hash(self, segment: Segment) -> None:
        """Note a hash that was computed later; of a file that is gone meanwhile, nothing.

        Raises OSError, sqlite3.Error.
        """
        known = self.catalog.segment(segment.filename)
        if known is not None and attrs.evolve(known, sha256=segment.sha256) == segment:
            self.note(SegmentNoted(segment))

    def close(self) -> None:
        """Close everything and unlock the folder."""
        if self._caught_up:
            self.flush()
        self.journal.close()
        self.catalog.close()
        os.close(self._lock)
