"""A copy of the index in memory, for verification: the recordings folder is not touched.

Works beside a running service, on a read-only folder, and without an index: the journal is enough
to make one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import attrs

from camd.model import SessionId
from camd.runtime.file_presence import is_there
from camd.storage.disk import Disk
from camd.storage.index.index_database import IndexDatabase, migrate
from camd.storage.index.index_journal import IndexJournal, JournalPosition
from camd.storage.index.recording_index import FOLDER, INDEX
from camd.storage.read_only_disk import ReadOnlyDisk
from camd.storage.rules.journal_records import (
    JournalCondition,
    JournalDamage,
    Record,
    Removed,
    RemovedSegmentScan,
    count_damage,
    decode_records,
)
from camd.storage.rules.rows import (
    SCHEMA,
    SCHEMA_VERSION,
    IndexedSession,
    gap_of,
    segment_of,
    session_of,
)

_ROW_ERRORS = (sqlite3.Error, ValueError, TypeError, OverflowError)  # raised by rows of garbage

Stamp = tuple[tuple[str, int, int], ...]


@attrs.define(eq=False)
class InMemoryIndex:
    """In-memory copy of the index; writes are discarded. For one thread at a time."""

    persistent: ClassVar[bool] = False
    folder: Path
    database: IndexDatabase
    index_problem: str  # "" when there is an index, and it can be read
    journal: JournalCondition
    _db: sqlite3.Connection
    _stamp: Stamp

    @classmethod
    def open(cls, recordings: Path, *, reindex: bool = False) -> InMemoryIndex:
        """Copy the index and apply the journal; with `reindex` from the journal alone.

        Blocks on the disk. What is wrong there is reported in the attributes, not raised.
        """
        folder = recordings / FOLDER
        stamp = _stamp_of(folder)
        db, problem = (_blank(), "") if reindex else _copied(folder / INDEX)
        database = IndexDatabase(db)
        facts = _read_journal(ReadOnlyDisk(heed_locks=False), folder, database)
        return cls(recordings, database, problem, facts, db, stamp)

    @property
    def stale(self) -> bool:
        """Whether index or journal have changed since the copy was made."""
        return _stamp_of(self.folder / FOLDER) != self._stamp

    def reopen(self) -> InMemoryIndex:
        """Close this copy and make another."""
        self.close()
        return InMemoryIndex.open(self.folder)

    def note(self, *records: Record) -> None:
        """Apply records to the copy."""
        self.database.apply(records)

    def sessions(self) -> Iterator[IndexedSession]:
        """Read all sessions, oldest first, with their segments and gaps."""
        rows = self._db.execute("SELECT * FROM sessions ORDER BY start_us").fetchall()
        for row in rows:
            session = self.database.session(SessionId(row["session_id"]))
            if session is not None:
                yield IndexedSession(session, row["frames_captured"], row["frames_written"])

    def unaccounted_sessions(self) -> tuple[str, ...]:
        """Return the ids of sessions of which only files are known."""
        rows = self._db.execute(
            "SELECT DISTINCT session_id FROM segments WHERE session_id NOT IN"
            " (SELECT session_id FROM sessions) ORDER BY session_id"
        )
        return tuple(session_id for (session_id,) in rows)

    def removed(self, session_ids: Container[str]) -> dict[str, Removed]:
        """Return the segments of these sessions that camd has removed; reads the whole journal.

        Raises nothing; what cannot be read is left out.
        """
        disk = ReadOnlyDisk(heed_locks=False)
        journal, found = IndexJournal(disk, self.folder / FOLDER), RemovedSegmentScan(session_ids)
        with suppress(OSError):
            for number in journal.numbers():
                with suppress(OSError):
                    found.read(_whole(disk, journal.path(number)))
        return found.found

    def close(self) -> None:
        """Drop the copy."""
        self._db.close()


def _memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.row_factory = sqlite3.Row
    return db


def _blank() -> sqlite3.Connection:
    db = _memory()
    db.executescript(SCHEMA)
    return db


def _copied(index: Path) -> tuple[sqlite3.Connection, str]:
    """Copy a database into memory; when it cannot be used, return an empty one and why."""
    problem = "is not there"
    try:
        for address in _addresses(index):
            db = _memory()
            try:
                _copy(address, db)
                problem = _problem_in(db)
            except _ROW_ERRORS as error:
                problem = f"cannot be read: {error}"
            if not problem:
                return db, ""
            db.close()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return _blank(), problem


def _addresses(index: Path) -> Iterator[str]:
    """Yield SQLite addresses that open a database without changing its folder.

    A WAL exists only while the database is open, or after a crash; without one, nothing writes, and
    SQLite needs no files of its own. Where it would need some and cannot make them (a read-only
    folder), the database alone is read: the journal has what is in the WAL.
    """
    if not index.stat().st_size:
        return
    plain = f"file:{quote(str(index))}"
    if is_there(index.with_name(f"{index.name}-wal")):
        yield f"{plain}?mode=ro"
    yield f"{plain}?immutable=1"


def _copy(address: str, db: sqlite3.Connection) -> None:
    source = sqlite3.connect(address, uri=True)
    try:
        source.backup(db)
    finally:
        source.close()


def _problem_in(db: sqlite3.Connection) -> str:
    """Return why a database cannot be used, "" when it can; reads every row once."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    version = migrate(db, version)  # in memory
    if version != SCHEMA_VERSION:
        return f"has version {version}, and {SCHEMA_VERSION} is needed"
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        return f"is damaged: {verdict}"
    for row in db.execute("SELECT * FROM segments"):
        segment_of(row)
    for row in db.execute("SELECT * FROM sessions"):
        session_of(row, (), ())
    for row in db.execute("SELECT * FROM gaps"):
        gap_of(row)
    return ""


def _read_journal(disk: Disk, folder: Path, database: IndexDatabase) -> JournalCondition:
    """Read the whole journal, and apply what the copy does not have yet."""
    journal, since = IndexJournal(disk, folder), database.position
    try:
        numbers = journal.numbers()
    except OSError:
        numbers = []
    expected = range(1, max([*numbers, since.file]) + 1)
    missing = tuple(journal.path(n).name for n in expected if n not in numbers)
    unreadable: list[tuple[str, str]] = []
    found, reached = JournalDamage(), JournalPosition()
    for number in numbers:
        try:
            data = _whole(disk, journal.path(number))
        except OSError as error:
            unreadable.append((journal.path(number).name, error.strerror or str(error)))
            continue
        found, reached = found + count_damage(data), JournalPosition(number, len(data))
        known = since.offset if number == since.file else 0
        if number >= since.file:
            database.apply(decode_records(data[known:]), reached)
    short = reached < since and not missing and not unreadable
    return JournalCondition(len(numbers), missing, tuple(unreadable), short, found)


def _whole(disk: Disk, path: Path) -> bytes:
    file = disk.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def _stamp_of(folder: Path) -> Stamp:
    """Return a value that changes with index and journal."""
    facts = []
    for path in sorted([*folder.glob(f"{INDEX}*"), *folder.glob("journal-*.jsonl")]):
        try:
            found = path.stat()
        except OSError:
            continue
        if not path.name.endswith("-shm"):
            facts.append((path.name, found.st_size, found.st_mtime_ns))
    return tuple(facts)
