"""The index's file: how SQLite is to keep it, and what becomes of one that cannot be used.

All of it blocks on the disk.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from camd.storage.rows import SCHEMA, SCHEMA_VERSION

_SUFFIXES = ("", "-wal", "-shm")  # what SQLite makes of one name, and finds by it again


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the index. Raises sqlite3.DatabaseError for one that cannot be used."""
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the last transactions: files and journal say them again.
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"index version {version}, expected {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def put_aside(path: Path) -> None:
    """Rename a database that cannot be used, and what SQLite keeps beside it. Raises OSError."""
    free = _free_name(path.with_name(f"{path.name}.unreadable"))
    for suffix in _SUFFIXES:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(free.with_name(free.name + suffix))


def _free_name(path: Path) -> Path:
    number, free = 0, path
    while any(free.with_name(free.name + suffix).exists() for suffix in _SUFFIXES):
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the database itself is broken, and not the disk or the query."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
