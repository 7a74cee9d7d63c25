"""The reports of a session: entries into the index, events for clients, whether its sum is right.

captured = written + ledgered is compared at every seal and at the end (I4).
"""

from __future__ import annotations

import attrs
import structlog

from camd.clock import Clock
from camd.model import Event, Gap, RecordingChanged, RecordingEventKind, Segment, Session
from camd.recording.rules.ledger import SessionLedger
from camd.runtime.broadcast import Fanout, LatestValue
from camd.storage.storage import Storage

log = structlog.get_logger("camd.session")


@attrs.define(eq=False, kw_only=True)
class SessionReports:
    """Reports what becomes of one session. `published` changes whenever its status should."""

    ledger: SessionLedger
    storage: Storage
    events: Fanout[Event]
    device: str  # as clients see it at the moment
    clock: Clock
    published: LatestValue[Session] = attrs.field(
        default=attrs.Factory(lambda self: LatestValue(self.snapshot()), takes_self=True),
        init=False,
    )

    def snapshot(self) -> Session:
        """Freeze the account as of now."""
        return self.ledger.snapshot(self.clock.monotonic())

    def publish(self) -> None:
        """Publish the account as of now."""
        self.published.publish(self.snapshot())

    def wait_for(self, reason: str) -> None:
        """Have the session wait, and publish at once that it does."""
        self.ledger.wait_for(reason)
        self.publish()

    def tell(self, kind: RecordingEventKind, filename: str | None = None, reason: str = "") -> None:
        """Send an event to clients; by default about the newest file."""
        name = self._newest_name() if filename is None else filename
        session = self.snapshot()
        self.events.publish(RecordingChanged(kind, self.device, session, name, reason))
        self.published.publish(session)

    async def store(self, gaps: list[Gap]) -> None:
        """Store entries and send events; a start that is refused leaves none behind."""
        if gaps and self.ledger.first_frame_at is not None:
            await self.storage.note_gaps(gaps)
            for gap in gaps:
                self.tell(RecordingEventKind.GAP, reason=gap.cause.value)

    async def announce(self, segment: Segment) -> None:
        """Store a segment whose first frames are durable; a later one is a rotation."""
        await self.storage.note_segment(segment)
        if segment.number:
            self.tell(RecordingEventKind.ROTATED, segment.filename)

    def tell_error(self, reason: str) -> None:
        """Send an error; before the first frame it is in the refusal instead."""
        if self.ledger.first_frame_at is not None:
            self.tell(RecordingEventKind.ERROR, reason=reason)

    def compare_sums(self) -> None:
        """Report a wrong sum of frames, once."""
        ledger = self.ledger
        if wrong := ledger.audit():
            log.error(
                "frames_unaccounted",
                session=ledger.session_id,
                captured=ledger.frames_captured,
                written=ledger.frames_written,
                unaccounted=wrong,
            )
            self.tell_error("frames unaccounted for")

    def _newest_name(self) -> str:
        return self.ledger.segments[-1].filename if self.ledger.segments else ""
