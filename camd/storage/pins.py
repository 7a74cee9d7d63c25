"""Pins: recordings that no one removes, as marker files that hold with index and journal lost.

A marker is called like its recording. What it says is for people, except for the time until which
it counts; one that says nothing, or nothing that can be read, counts for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import attrs
import msgspec

from camd.storage.archive import FOLDER as ARCHIVE
from camd.storage.disk import Disk

FOLDER = "pins"  # beside the index
_NEW = ".new"  # no recording has a hidden name
_MOST_BYTES = 64 * 1024


@attrs.frozen
class Pin:
    """Why a recording stays, who wants that, since when, and until when (None: for ever)."""

    reason: str = ""
    by: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def counts(self, now: datetime) -> bool:
        """Whether it still keeps its recording."""
        return self.until is None or now < self.until


def encode_pin(pin: Pin) -> bytes:
    """Write what stands in a marker."""
    return msgspec.json.encode(attrs.asdict(pin)) + b"\n"


def decode_pin(data: bytes) -> Pin:
    """Read what stands in a marker; whatever cannot be read is as if it did not stand there."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        return Pin()
    if not isinstance(said, dict):
        return Pin()
    reason, by = said.get("reason"), said.get("by")
    return Pin(
        reason=reason if isinstance(reason, str) else "",
        by=by if isinstance(by, str) else "",
        since=_moment(said.get("since")),
        until=_moment(said.get("until")),
    )


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@attrs.frozen
class Pins:
    """The markers in one folder. Everything blocks on the disk; for one thread at a time."""

    disk: Disk
    folder: Path

    @classmethod
    def of(cls, disk: Disk, recordings: Path) -> Pins:
        """Say where the markers of a recordings folder are."""
        return cls(disk, recordings / ARCHIVE / FOLDER)

    def find(self, filename: str, now: datetime) -> Pin | None:
        """Read the pin that keeps a recording, None when there is none.

        Never raises: a marker that cannot be read is a pin, because it may be one.
        """
        try:
            file = self.disk.open(self.folder / filename)
        except FileNotFoundError:
            return None
        except OSError:
            return Pin("the marker cannot be read")
        try:
            pin = decode_pin(file.read(0, _MOST_BYTES))
        except OSError:
            return Pin("the marker cannot be read")
        finally:
            file.close()
        return pin if pin.counts(now) else None

    def among(self, filenames: Iterable[str], now: datetime) -> dict[str, Pin]:
        """Read the pins of those recordings that have one. Never raises."""
        try:
            marked = set(self.disk.names(self.folder))
        except FileNotFoundError:
            return {}
        except OSError:
            marked = set(filenames)  # then each is looked at
        found = {name: self.find(name, now) for name in filenames if name in marked}
        return {name: pin for name, pin in found.items() if pin is not None}

    def put(self, filename: str, pin: Pin) -> None:
        """Pin a recording, durably, in place of an older pin. Raises OSError.

        After an error the older pin may hold or the new one.
        """
        self.disk.make_folder(self.folder)
        self.disk.sync_directory(self.folder.parent)
        new = self.folder / _NEW
        if _NEW in self.disk.names(self.folder):  # a crash left it
            self.disk.unlink(new)
        file = self.disk.create(new)
        try:
            file.append([encode_pin(pin)])
            file.sync()
        finally:
            file.close()
        self.disk.replace(new, self.folder / filename)
        self.disk.sync_directory(self.folder)

    def drop(self, filename: str) -> bool:
        """Take a pin away, durably; False when there is none. Raises OSError."""
        try:
            self.disk.unlink(self.folder / filename)
        except FileNotFoundError:
            return False
        self.disk.sync_directory(self.folder)
        return True

    def carry_over(self, old: str, new: str, now: datetime) -> None:
        """Let the pin of a recording keep what takes its place, too. Raises OSError."""
        pin = self.find(old, now)
        if pin is not None:
            self.put(new, pin)
