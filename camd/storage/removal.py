"""Removes recordings, because a person or a policy asked for it; nothing else ever does (I5).

The journal knows first, then the file goes. A crash in between leaves a file that nobody knows,
and the next start adopts it: whatever happens, file and entry are both there or both gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import attrs

from camd.errors import FILE_NOT_FOUND, FILE_PINNED, REMOVAL_FAILED, ErrorKind, Refusal
from camd.model import Segment, SegmentState
from camd.storage.archive import RecordingIndex
from camd.storage.disk import Disk
from camd.storage.pins import Pins
from camd.storage.records import SegmentNoted, SegmentRemoved


@attrs.frozen
class Removal:
    """What became of one recording that was to go; `refused` is None when it is gone for good.

    `removed` and refused together: its name is gone, and after a power cut may be back.
    """

    filename: str
    refused: ErrorKind | None = None
    detail: str = ""
    removed: bool = False
    freed_bytes: int = 0  # of what the index counted

    def refusal(self) -> Refusal:
        """Make the answer for a client whose file was not removed."""
        assert self.refused is not None
        message = f"{self.refused.message}: {self.detail}" if self.detail else None
        return Refusal(self.refused, message, filename=self.filename)


@attrs.frozen
class Remover:
    """Removes files of one archive. Blocks on the disk; for the archive's thread.

    `busy` says why a file cannot go at the moment. It is asked in the thread in which names are
    looked up as well, so whoever leases a file before looking it up is seen, or finds nothing.
    """

    disk: Disk
    folder: Path
    archive: RecordingIndex
    pins: Pins
    busy: Callable[[Segment], ErrorKind | None]
    now: datetime

    def remove(self, names: Iterable[str], why: str) -> list[Removal]:
        """Remove recordings, and say of each what became of it; durable when this returns.

        Raises sqlite3.Error when the index is broken; it is rebuilt from the journal then.
        """
        answers: list[Removal] = []
        going: list[Segment] = []
        for name in dict.fromkeys(names):
            segment = self.archive.catalog.segment(name)
            refused = FILE_NOT_FOUND if segment is None else self._refused(segment)
            if segment is None or refused is not None:
                answers.append(Removal(name, refused))
            else:
                going.append(segment)
        if going:
            answers += self._remove(going, why)
        return answers

    def _refused(self, segment: Segment) -> ErrorKind | None:
        if (reason := self.busy(segment)) is not None:
            return reason
        return FILE_PINNED if self.pins.find(segment.filename, self.now) else None

    def _remove(self, going: Sequence[Segment], why: str) -> list[Removal]:
        try:
            self.archive.note(*(SegmentRemoved.of(segment, why) for segment in going))
        except OSError as error:
            self._note_again(going)
            return [_failed(segment, error) for segment in going]
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # the first one is raised
                self._note_again(going)
            raise
        answers = self._synced([self._unlink(segment) for segment in going])
        self._note_again(
            [s for s, answer in zip(going, answers, strict=True) if not answer.removed]
        )
        return answers

    def _unlink(self, segment: Segment) -> Removal:
        if self.pins.find(segment.filename, self.now):  # by somebody's hand, just now
            return Removal(segment.filename, FILE_PINNED)
        try:
            self.disk.unlink(self.folder / segment.filename)
        except FileNotFoundError:
            pass  # then only its entry has to go
        except OSError as error:
            return _failed(segment, error)
        counted = segment.size_bytes if segment.state is not SegmentState.MISSING else 0
        return Removal(segment.filename, removed=True, freed_bytes=counted)

    def _synced(self, answers: list[Removal]) -> list[Removal]:
        """Make removals durable; those that could not be made so are no success."""
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
        """Take back what the journal says of files that stay."""
        if segments:
            with suppress(OSError):  # the index has them, and the journal gets them later
                self.archive.note(*map(SegmentNoted, segments))


def _failed(segment: Segment, error: OSError) -> Removal:
    return Removal(segment.filename, REMOVAL_FAILED, _words(error))


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
