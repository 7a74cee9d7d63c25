"""The journal's records and lines: one record a line, with its own checksum. Pure.

A line is the CRC-32 of its JSON in eight hexadecimal digits, a space, the JSON, a newline. A line
damaged by a power cut fails its checksum, and affects no other line.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import msgspec
from cattrs import BaseValidationError
from cattrs.preconf.msgspec import make_converter

from camd.model import Gap, Segment, Session

_CHECKSUM_SIZE = 8  # digits
_CONVERTER = make_converter()
_CONVERTER.register_unstructure_hook(timedelta, timedelta.total_seconds)
_CONVERTER.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))


@attrs.frozen
class SegmentNoted:
    """A sealed file, when it was sealed, recovered or replaced."""

    segment: Segment


@attrs.frozen
class SegmentRemovalNoted:
    """A file about to be removed on request of a person or a policy (I5)."""

    filename: str
    why: str
    session_id: str = ""
    number: int = -1
    frames: int = 0

    @classmethod
    def of(cls, segment: Segment, why: str) -> SegmentRemovalNoted:
        """Make the record for a segment's file."""
        return cls(segment.filename, why, segment.session_id, segment.number, segment.frames)


@attrs.frozen
class SessionNoted:
    """A session at one time; its segments and gaps have records of their own."""

    session: Session


@attrs.frozen
class GapNoted:
    """A gap of the ledger."""

    gap: Gap


Record = SegmentNoted | SegmentRemovalNoted | SessionNoted | GapNoted

_KINDS: dict[str, type[Record]] = {
    "segment": SegmentNoted,
    "removed": SegmentRemovalNoted,
    "session": SessionNoted,
    "gap": GapNoted,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_records(records: Iterable[Record]) -> bytes:
    """Encode records as lines."""
    return b"".join(map(_encode_line, records))


def _encode_line(record: Record) -> bytes:
    if isinstance(record, SessionNoted):
        bare = attrs.evolve(record.session, segments=(), gaps=(), warnings=(), fits_seconds=None)
        record = SessionNoted(bare)
    text = _CONVERTER.dumps({"kind": _NAMES[type(record)], "fact": record})
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_records(data: bytes) -> Iterator[Record]:
    """Decode lines in order; damaged lines and unknown kinds are skipped."""
    for line in data.split(b"\n"):
        if (fact := _fact_of(line)) is not None and (record := _read(fact)) is not None:
            yield record


@attrs.frozen
class JournalDamage:
    """Counts of unusable lines: torn by a crash, damaged later, or of another camd version."""

    torn: int = 0
    damaged: int = 0
    unknown: int = 0

    def __add__(self, more: JournalDamage) -> JournalDamage:
        """Count both."""
        pairs = zip(attrs.astuple(self), attrs.astuple(more), strict=True)
        return JournalDamage(*map(sum, pairs))


NO_DAMAGE = JournalDamage()


@attrs.frozen
class JournalCondition:
    """The state of the journal; `missing` and `unreadable` name its files."""

    files: int = 0
    missing: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()  # and why
    short: bool = False  # shorter than the index has read
    damage: JournalDamage = NO_DAMAGE


def count_damage(data: bytes) -> JournalDamage:
    """Count the lines that `decode_records` skips.

    A crash leaves the beginning of a line, or zeros from the file system; a line with both its ends
    was whole once.
    """
    torn = damaged = unknown = 0
    for line in filter(None, data.split(b"\n")):
        fact = _fact_of(line)
        if fact is not None:
            unknown += _read(fact) is None
        elif line.endswith(b"}") and line[_CHECKSUM_SIZE : _CHECKSUM_SIZE + 2] == b" {":
            damaged += 1
        else:
            torn += 1
    return JournalDamage(torn, damaged, unknown)


def _fact_of(line: bytes) -> dict[str, Any] | None:
    crc, space, text = line[:_CHECKSUM_SIZE], line[_CHECKSUM_SIZE : _CHECKSUM_SIZE + 1], line[9:]
    if space != b" " or crc != b"%08x" % zlib.crc32(text):
        return None
    try:
        fact = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return fact if isinstance(fact, dict) else None


def _read(line: dict[str, Any]) -> Record | None:
    name = line.get("kind")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return None
    try:
        record: Record = _CONVERTER.structure(line.get("fact"), kind)
    except (BaseValidationError, KeyError, TypeError, ValueError):
        return None
    return record


Removed = dict[int, int]  # frames by the number of the segment


@attrs.define(eq=False)
class RemovedSegmentScan:
    """Collects removed segments of some sessions from the journal's lines, read in order."""

    wanted: Container[str]  # session ids
    found: dict[str, Removed] = attrs.field(factory=dict, init=False)
    _named: dict[str, tuple[str, int, int]] = attrs.field(factory=dict, init=False)

    def read(self, data: bytes) -> None:
        """Read the next bytes."""
        for line in data.split(b"\n"):
            if b'"kind":"segment"' in line or b'"kind":"removed"' in line:
                for record in decode_records(line) if self._concerns(line) else ():
                    self._take(record)

    def _concerns(self, line: bytes) -> bool:
        """Test a line without structuring its values, which takes most of the time."""
        fact = (_fact_of(line) or {}).get("fact")
        if not isinstance(fact, dict):
            return False
        told = fact.get("segment") or fact
        if not isinstance(told, dict):
            return False
        return told.get("session_id") in self.wanted or told.get("filename") in self._named

    def _take(self, record: Record) -> None:
        match record:
            case SegmentNoted(segment) if segment.session_id in self.wanted:
                place = (segment.session_id, segment.number, segment.frames)
                self._named[segment.filename] = place
            case SegmentRemovalNoted(filename, _, session_id, number, frames):
                told = (session_id, number, frames) if session_id else None
                place_or_none = self._named.pop(filename, None) or told
                if place_or_none is not None:
                    session_id, number, frames = place_or_none
                    self.found.setdefault(session_id, {})[number] = frames
