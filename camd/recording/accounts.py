"""How a session's account gets out: entries into the catalog, news to those who listen.

Here it is also checked: captured = written + ledgered, at every seal and at the end (I4).
"""

from __future__ import annotations

from typing import Protocol

import attrs
import structlog

from camd.model import Cause, Gap, RecordingEventKind, Segment
from camd.recording.rules.book import SessionBook
from camd.storage.storage import Storage

log = structlog.get_logger("camd.session")


class SessionObserver(Protocol):
    """Who wants to know how the session goes."""

    async def began(self) -> None:
        """The first frames are on disk."""

    def failed(self, cause: Cause) -> None:
        """Storage refused; the recorder waits and tries again."""

    def sealed(self, segment: Segment) -> None:
        """A segment is final and durable."""

    def news(self, news: RecordingEventKind, filename: str, reason: str = "") -> None:
        """Something that clients are told."""


@attrs.define(eq=False)
class SessionAccounts:
    """What one recorder has to say about its session."""

    book: SessionBook
    storage: Storage
    observer: SessionObserver

    async def enter(self, gaps: list[Gap]) -> None:
        """Write entries into the ledger, and tell; a start that is refused leaves none behind."""
        if gaps and self.book.first_frame_at is not None:
            await self.storage.note_gaps(gaps)
            for gap in gaps:
                self.observer.news(RecordingEventKind.GAP, self._newest_name(), gap.cause.value)

    async def announce(self, segment: Segment) -> None:
        """Tell of a file whose first frames are on disk: the session has begun, or goes on."""
        await self.storage.note_segment(segment)
        if segment.number == 0:
            await self.observer.began()
        else:
            self.observer.news(RecordingEventKind.ROTATED, segment.filename)

    def tell_error(self, reason: str) -> None:
        """Tell of trouble; before the first frame it is in the refusal instead."""
        if self.book.first_frame_at is not None:
            self.observer.news(RecordingEventKind.ERROR, self._newest_name(), reason)

    def check(self, undecided: int = 0) -> None:
        """Say once when the sum is wrong; frames whose fate is undecided are not missing."""
        book = self.book
        if wrong := book.audit(undecided):
            log.error(
                "frames_unaccounted",
                session=book.session_id,
                captured=book.frames_captured,
                written=book.frames_written,
                unaccounted=wrong,
            )
            self.tell_error("frames unaccounted for")

    def _newest_name(self) -> str:
        return self.book.segments[-1].filename if self.book.segments else ""
