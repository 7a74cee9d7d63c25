"""The files of the event log: a few of bounded size, the oldest is deleted; everything here blocks.

Events are written without a sync: the kernel writes them with what else it has to write. What a
power cut takes is missing in the numbers, which `numbers.json` keeps durably in blocks.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import structlog

from camd.events.rules.event_lines import HEADER, ascending, decode_file, encode_line
from camd.events.rules.history import KeptEvent
from camd.runtime.file_presence import is_there
from camd.runtime.state_file import StateFile, from_json

FOLDER = "events"
FILE_EVENTS = 2500
FILE_BYTES = 2 * 1024 * 1024
MOST_FILES = 5
_READ_BYTES = 2 * FILE_BYTES  # of one file, at most
_NAME = re.compile(r"\d{16}\.log")
log = structlog.get_logger("camd.events")


@attrs.frozen
class _Reserved:
    limit: int
    version: int = 1


def _parse_reserved(text: str) -> _Reserved:
    found = from_json(text, _Reserved, version=1)
    if found.limit < 1:
        raise ValueError("has no limit")
    return found


@attrs.frozen
class StoredEvents:
    """What earlier runs left: their events, and the limit of numbers that they had reserved.

    `limit` is None where it cannot be read; `is_new`: no run was before this one.
    """

    events: tuple[KeptEvent, ...] = ()
    limit: int | None = None
    is_new: bool = False


@attrs.define(eq=False)
class EventFiles:
    """The folder of the log. One thread at a time."""

    folder: Path
    _current: Path | None = attrs.field(default=None, init=False)
    _count: int = attrs.field(default=0, init=False)  # events in the current file

    @property
    def _numbers(self) -> StateFile[_Reserved]:
        return StateFile(self.folder / "numbers.json", _parse_reserved)

    def load(self) -> StoredEvents:
        """Read what is there. Raises OSError."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        reserved = self._numbers.read()
        is_new = reserved is None and not is_there(self._numbers.path) and not self._names()
        events: list[KeptEvent] = []
        for path in self._names():
            events += self._read(path)
        kept = tuple(ascending(events))
        return StoredEvents(kept, reserved.limit if reserved else None, is_new)

    def _read(self, path: Path) -> Sequence[KeptEvent]:
        with path.open("rb") as file:
            read = decode_file(file.read(_READ_BYTES))
        if read is None:
            log.warning("event_file_not_read", file=str(path))
            return ()
        if read.damaged:
            log.warning("event_lines_damaged", file=str(path), lines=read.damaged)
        self._current, self._count = path, len(read.events)
        return read.events

    def reserve(self, limit: int) -> None:
        """Reserve all numbers below `limit`, durably. Raises OSError."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        wanted = _Reserved(limit)
        if not self._numbers.save(wanted) and self._numbers.read() != wanted:
            raise OSError(errno.EPERM, "A newer camd wrote this", str(self._numbers.path))

    def append(self, events: Sequence[KeptEvent]) -> None:
        """Write events behind those that are there. Raises OSError; then all may be tried again."""
        for start in range(0, len(events), FILE_EVENTS):
            self._append(events[start : start + FILE_EVENTS])

    def _append(self, events: Sequence[KeptEvent]) -> None:
        path = self._file_for(events[0].number)
        with open(path, "ab", opener=_private) as file:
            # What stands before may be half a line.
            file.write(b"\n" if file.tell() else HEADER)
            file.write(b"".join(map(encode_line, events)))
        self._count += len(events)

    def _file_for(self, number: int) -> Path:
        """Choose the file to write into; where a new one begins, the oldest is deleted."""
        current, room = self._current, self._count < FILE_EVENTS
        if current and room and is_there(current) and current.stat().st_size < FILE_BYTES:
            return current
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        for path in self._names()[: 1 - MOST_FILES]:
            path.unlink(missing_ok=True)
        self._current, self._count = self.folder / f"{number:016d}.log", 0
        return self._current

    def _names(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o640)
