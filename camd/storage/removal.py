"""Pins, and the removal of recordings on request of a person or a policy, never otherwise (I5).

The journal is written first, then the file removed. A crash in between leaves a file that the index
does not know; the next start takes it into the index. So file and entry both exist, or neither.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs
import msgspec

from camd.errors import FILE_NOT_FOUND, FILE_PINNED, REMOVAL_FAILED, ErrorKind, Refusal
from camd.model import Segment, SegmentState
from camd.storage.disk import Disk
from camd.storage.index.recording_index import FOLDER as INDEX_FOLDER
from camd.storage.index.recording_index import RecordingIndex
from camd.storage.rules.journal_records import SegmentNoted, SegmentRemovalNoted

# --- Pins: marker files, so that they hold even when index and journal are lost

FOLDER = "pins"  # beside the index
_NEW = ".new"  # no recording has a hidden name
_MAX_BYTES = 64 * 1024


@attrs.frozen
class Pin:
    """Why a recording is kept, by whom, since when, and until when (None: for ever)."""

    reason: str = ""
    by: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def counts(self, now: datetime) -> bool:
        """Return whether the pin still holds."""
        return self.until is None or now < self.until


def encode_pin(pin: Pin) -> bytes:
    """Encode a marker's content."""
    return msgspec.json.encode(attrs.asdict(pin)) + b"\n"


def decode_pin(data: bytes) -> Pin:
    """Decode a marker's content; fields that cannot be read are empty."""
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
    """The markers of one folder. Everything blocks on the disk; for one thread at a time."""

    disk: Disk
    folder: Path

    @classmethod
    def of(cls, disk: Disk, recordings: Path) -> Pins:
        """Return the pins of a recordings folder."""
        return cls(disk, recordings / INDEX_FOLDER / FOLDER)

    def find(self, filename: str, now: datetime) -> Pin | None:
        """Return the pin that keeps a recording, None when there is none.

        Never raises: an unreadable marker counts as a pin.
        """
        try:
            file = self.disk.open(self.folder / filename)
        except FileNotFoundError:
            return None
        except OSError:
            return Pin("the marker cannot be read")
        try:
            pin = decode_pin(file.read(0, _MAX_BYTES))
        except OSError:
            return Pin("the marker cannot be read")
        finally:
            file.close()
        return pin if pin.counts(now) else None

    def among(self, filenames: Iterable[str], now: datetime) -> dict[str, Pin]:
        """Return the pins of those recordings that have one. Never raises."""
        try:
            marked = set(self.disk.names(self.folder))
        except FileNotFoundError:
            return {}
        except OSError:
            marked = set(filenames)  # try each
        found = {name: self.find(name, now) for name in filenames if name in marked}
        return {name: pin for name, pin in found.items() if pin is not None}

    def put(self, filename: str, pin: Pin) -> None:
        """Pin a recording durably, replacing an older pin. Raises OSError.

        After an error either pin may hold.
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
        """Remove a pin durably; False when there is none. Raises OSError."""
        try:
            self.disk.unlink(self.folder / filename)
        except FileNotFoundError:
            return False
        self.disk.sync_directory(self.folder)
        return True

    def carry_over(self, old: str, new: str, now: datetime) -> None:
        """Copy a recording's pin to the file that replaces it. Raises OSError."""
        pin = self.find(old, now)
        if pin is not None:
            self.put(new, pin)


# --- Removal


@attrs.frozen
class Removal:
    """The outcome for one recording; `refused` is None when it is gone for good.

    `removed` together with `refused`: its name is gone, but a power cut may bring it back.
    """

    filename: str
    refused: ErrorKind | None = None
    detail: str = ""
    removed: bool = False
    freed_bytes: int = 0  # of what the index counted

    def refusal(self) -> Refusal:
        """Return the refusal for a client whose file was not removed."""
        assert self.refused is not None
        message = f"{self.refused.message}: {self.detail}" if self.detail else None
        return Refusal(self.refused, message, filename=self.filename)


@attrs.frozen
class Remover:
    """Removes files of one index. Blocks on the disk; for the index's thread.

    `busy` returns why a file cannot be removed now. It is called in the thread that looks names up,
    so whoever leases a file before looking it up is seen, or finds nothing.
    """

    disk: Disk
    folder: Path
    index: RecordingIndex
    pins: Pins
    busy: Callable[[Segment], ErrorKind | None]
    now: datetime

    def remove(self, names: Iterable[str], why: str) -> list[Removal]:
        """Remove recordings and return an outcome for each; durable when this returns.

        Raises sqlite3.Error when the index is damaged; it is rebuilt from the journal then.
        """
        answers: list[Removal] = []
        to_delete: list[Segment] = []
        for name in dict.fromkeys(names):
            segment = self.index.database.segment(name)
            refused = FILE_NOT_FOUND if segment is None else self._refused(segment)
            if segment is None or refused is not None:
                answers.append(Removal(name, refused))
            else:
                to_delete.append(segment)
        if to_delete:
            answers += self._remove(to_delete, why)
        return answers

    def _refused(self, segment: Segment) -> ErrorKind | None:
        if (reason := self.busy(segment)) is not None:
            return reason
        return FILE_PINNED if self.pins.find(segment.filename, self.now) else None

    def _remove(self, to_delete: Sequence[Segment], why: str) -> list[Removal]:
        try:
            self.index.note(*(SegmentRemovalNoted.of(segment, why) for segment in to_delete))
        except OSError as error:
            self._note_again(to_delete)
            return [_failed(segment, error) for segment in to_delete]
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # raise the first error
                self._note_again(to_delete)
            raise
        answers = self._synced([self._unlink(segment) for segment in to_delete])
        self._note_again(
            [s for s, answer in zip(to_delete, answers, strict=True) if not answer.removed]
        )
        return answers

    def _unlink(self, segment: Segment) -> Removal:
        if self.pins.find(segment.filename, self.now):  # pinned by hand just now
            return Removal(segment.filename, FILE_PINNED)
        try:
            self.disk.unlink(self.folder / segment.filename)
        except FileNotFoundError:
            pass  # only its entry is left
        except OSError as error:
            return _failed(segment, error)
        counted = segment.size_bytes if segment.state is not SegmentState.MISSING else 0
        return Removal(segment.filename, removed=True, freed_bytes=counted)

    def _synced(self, answers: list[Removal]) -> list[Removal]:
        """Make removals durable; return refusals where that failed."""
        if not any(answer.removed for answer in answers):
            return answers
        try:
            self.disk.sync_directory(self.folder)
        except OSError as error:
            detail = f"it is gone, but a power cut may bring it back ({_words(error)})"
            return [
                attrs.evolve(answer, refused=REMOVAL_FAILED, detail=detail)
                if answer.removed
                else answer
                for answer in answers
            ]
        return answers

    def _note_again(self, segments: Sequence[Segment]) -> None:
        """Revoke the journal's removal records of files that stay."""
        if segments:
            with suppress(OSError):  # the index has them, the journal gets them later
                self.index.note(*map(SegmentNoted, segments))


def _failed(segment: Segment, error: OSError) -> Removal:
    return Removal(segment.filename, REMOVAL_FAILED, _words(error))


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
