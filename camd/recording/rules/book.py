"""A session's book-keeping: what was captured, written and lost, and when it is over. Pure.

Invariant I4 lives here: every frame that arrives while a session runs is counted as captured,
and then either as written or in a ledger entry with an exact number of frames.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.model import (
    CameraId,
    Cause,
    Gap,
    RecordingRequest,
    Segment,
    Session,
    SessionId,
    SessionState,
    clock_was_set,
)

OLDEST_FIRST_FRAME_SECONDS = 30.0  # a source whose clock says more than that is wrong


@attrs.frozen
class BootMoment:
    """A moment by all clocks: wall time, and seconds of the monotonic clock of one boot."""

    wall: datetime
    monotonic: float
    boot_id: str

    def since_start_of(self, session: Session) -> float:
        """Seconds since a session's first frame; by the wall clock only if it was another boot."""
        if session.boot_id and session.boot_id == self.boot_id:
            return max(0.0, self.monotonic - session.monotonic_start)
        return max(0.0, (self.wall - session.start).total_seconds() - session.stepped_seconds)

    def planned_end_of(self, session: Session) -> datetime | None:
        """When a session's time is over, as the wall clock is now; None: when it is stopped."""
        if session.duration_limit is None:
            return None
        elapsed = self.since_start_of(session) - session.preroll_seconds
        return self.wall + session.duration_limit - timedelta(seconds=elapsed)


@attrs.frozen
class FrameLoss:
    """Frames that arrived and could not be written."""

    start: datetime
    end: datetime
    frames: int
    cause: Cause
    action: str

    def moved(self, by: timedelta) -> FrameLoss:
        """Tell its times on a clock that was set by so much."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)

    def and_then(self, more: FrameLoss) -> FrameLoss:
        """Both, as one: the first one's cause is why the second one happened."""
        end = max(self.end, more.end)
        return attrs.evolve(self, end=end, frames=self.frames + more.frames)


@attrs.define(eq=False)
class SessionBook:
    """The mutable account of one session; `snapshot` is what others see of it."""

    session_id: SessionId
    camera_id: CameraId
    wish: RecordingRequest
    format: str
    started: datetime
    boot_id: str = ""  # whose monotonic clock the times below are by
    segments: list[Segment] = attrs.field(factory=list, init=False)
    gaps: list[Gap] = attrs.field(factory=list, init=False)
    state: SessionState = attrs.field(default=SessionState.STARTING, init=False)
    reason: str = attrs.field(default="", init=False)
    warnings: tuple[str, ...] = attrs.field(default=(), init=False)
    fits_seconds: int | None = attrs.field(default=None, init=False)  # when it was admitted
    until: datetime | None = attrs.field(default=None, init=False)  # footage is wanted
    ended: datetime | None = attrs.field(default=None, init=False)
    frames_captured: int = attrs.field(default=0, init=False)
    frames_written: int = attrs.field(default=0, init=False)
    bytes_written: int = attrs.field(default=0, init=False)
    first_frame_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    written_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    durable_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    stepped_seconds: float = attrs.field(default=0.0, init=False)  # see Session
    preroll_seconds: float = attrs.field(default=0.0, init=False)
    durable: bool = attrs.field(default=True, init=False)
    healthy: bool = attrs.field(default=False, init=False)
    _known_error: int = attrs.field(default=0, init=False)  # in the sum of frames

    @classmethod
    def resumed(cls, session: Session, moment: BootMoment) -> SessionBook:
        """Open the book of a session again that another life of the daemon began."""
        wish = RecordingRequest(
            *(session.owner, session.duration_limit, session.format, session.key),
            preroll=timedelta(seconds=session.preroll_seconds),
        )
        book = cls(session.session_id, session.camera_id, wish, session.format, session.start)
        book.segments, book.gaps = list(session.segments), list(session.gaps)
        book.frames_captured, book.frames_written = session.frames_captured, session.frames_written
        book.bytes_written = session.bytes_written
        book.first_frame_at = moment.monotonic - moment.since_start_of(session)
        book.boot_id, book.stepped_seconds = moment.boot_id, session.stepped_seconds
        book.preroll_seconds = session.preroll_seconds
        book.state, book.reason = SessionState.WAITING, Cause.DAEMON_DOWN.value
        return book

    @property
    def accounted_until(self) -> datetime:
        """Where the account ends: behind the newest segment, or an entry that came after it."""
        ends = [some[-1].end for some in (self.segments, self.gaps) if some]
        return max(ends, default=self.started)

    # --- frames ---

    def captured(self, frames: int) -> None:
        """Count frames that arrived for this session."""
        self.frames_captured += frames

    def wrote(self, segment: Segment, frames: int, size_bytes: int, monotonic: float) -> None:
        """Count frames that were appended to `segment`, the newest one, just now."""
        if self.first_frame_at is None:
            age = (segment.modified - segment.start).total_seconds()
            oldest = OLDEST_FIRST_FRAME_SECONDS + self.wish.preroll_seconds
            self.first_frame_at = monotonic - min(max(0.0, age), oldest)
            before = (self.started - segment.start).total_seconds()
            self.preroll_seconds = round(max(0.0, before), 3)
            self.started = segment.start
        if self.state is SessionState.WAITING or (
            self.state is SessionState.STARTING and not self.reason
        ):
            self.state, self.reason = SessionState.RECORDING, ""
        if frames:  # sound alone is no recording
            self.written_at = monotonic
        self.frames_written += frames
        self.bytes_written += size_bytes
        self.durable = False
        self.replace(segment)

    def unwrote(self, frames: int) -> None:
        """Count frames out again that were in a file, and that another program has removed."""
        self.frames_written -= frames
        self.durable, self.durable_at, self.healthy = False, None, False

    def synced(self, monotonic: float) -> None:
        """Everything written so far is on stable storage."""
        self.durable = True
        self.durable_at = monotonic

    def replace(self, segment: Segment) -> None:
        """Put a newer account of a segment in the place of the old one, or append it."""
        for position in reversed(range(len(self.segments))):
            if self.segments[position].number == segment.number:
                self.segments[position] = segment
                return
        self.segments.append(segment)

    # --- gaps ---

    def lost(self, loss: FrameLoss) -> Gap:
        """Ledger frames that were captured and not written; their number is exact."""
        return self._ledger(loss.start, loss.end, loss.frames, True, loss.cause, loss.action)

    def missed(self, start: datetime, end: datetime, cause: Cause) -> Gap:
        """Ledger time in which nothing was captured; the frames are estimated from the rate."""
        frames = round(max(0.0, (end - start).total_seconds()) * self._frame_rate())
        return self._ledger(start, end, frames, False, cause, "started the camera again")

    def dropped(self, start: datetime, end: datetime, seconds: float, frames: int) -> Gap:
        """Ledger frames that the source left out in so many seconds of a span; estimated."""
        cause = Cause.FRAMES_DROPPED_BY_SOURCE
        return self._ledger(start, end, frames, False, cause, "recorded what came", seconds)

    def left_out(self, start: datetime, end: datetime) -> Gap:
        """Ledger time that a source did not deliver, without a hole in its capture times."""
        seconds = (end - start).total_seconds()
        return self.dropped(start, end, seconds, round(seconds * self._frame_rate()))

    def clock_set(self, by: timedelta, moment: datetime) -> list[Gap]:
        """Ledger that the wall clock was set, at `moment` of the new time: nothing is missing.

        A session that has not begun was asked for in the new time.
        """
        if self.first_frame_at is None:
            self.started += by
            return []
        return [self._ledger(moment, moment, 0, True, Cause.CLOCK_STEP, clock_was_set(by))]

    def cut_off(
        self, wanted_until: datetime | None, at_most: timedelta, start: datetime | None = None
    ) -> Gap | None:
        """Ledger what a session lacks that a life of the daemon left behind and none continues.

        Where it is not known until when it was wanted, that is what can be lost `at_most`. `start`
        is where the account ends, told on the clock of `wanted_until`.
        """
        start = start or self.accounted_until
        if wanted_until is None:
            frames = round(at_most.total_seconds() * self._frame_rate())
            why = "sealed what there was; so much is missing at most"
            end = start + at_most
            return self._ledger(start, end, frames, False, Cause.DAEMON_DOWN, why)
        if start < wanted_until:
            return self.missed(start, wanted_until, Cause.DAEMON_DOWN)
        return None

    def _frame_rate(self) -> float:
        """Frames per second of the newest segment that has any."""
        for segment in reversed(self.segments):
            if segment.duration_seconds > 0:
                return segment.frames / segment.duration_seconds
        return 0.0

    def _ledger(
        self,
        start: datetime,
        end: datetime,
        frames: int,
        exact: bool,
        cause: Cause,
        action: str,
        seconds: float | None = None,
    ) -> Gap:
        """Make an entry; `seconds` is how long footage is missing, by default the whole span."""
        end = max(start, end)
        seconds = (end - start).total_seconds() if seconds is None else seconds
        gap = Gap(
            camera_id=self.camera_id,
            session_id=self.session_id,
            start=start,
            end=end,
            duration_seconds=round(seconds, 6),
            frames=frames,
            exact=exact,
            cause=cause,
            action=action,
        )
        self.gaps.append(gap)
        return gap

    @property
    def unaccounted(self) -> int:
        """Frames that were captured and are neither written nor ledgered; 0 in the end (I4)."""
        ledgered = sum(gap.frames for gap in self.gaps if gap.exact)
        return self.frames_captured - self.frames_written - ledgered

    def audit(self, undecided: int) -> int:
        """Check the sum, but for frames whose fate is undecided; return how wrong it is.

        An error that was returned once is not returned again while it stays the same.
        """
        before, self._known_error = self._known_error, self.unaccounted - undecided
        return self._known_error if self._known_error != before else 0

    # --- what others see ---

    def wait_for(self, reason: str) -> None:
        """Nothing can be written at the moment."""
        if self.state in (SessionState.RECORDING, SessionState.WAITING):
            self.state, self.reason = SessionState.WAITING, reason

    def end_for(self, reason: str, moment: datetime) -> None:
        """The session is to end with what was captured until `moment`."""
        if self.state is not SessionState.STARTING:
            self.state = SessionState.ENDING
        self.reason = reason
        self.until = moment

    def snapshot(self, monotonic: float) -> Session:
        """Freeze the account as of now."""
        elapsed = 0.0 if self.first_frame_at is None else monotonic - self.first_frame_at
        if self.ended is not None:
            wall = (self.ended - self.started).total_seconds()
            elapsed = max(0.0, wall - self.stepped_seconds)
        return Session(
            session_id=self.session_id,
            camera_id=self.camera_id,
            owner=self.wish.owner,
            key=self.wish.key,
            format=self.format,
            start=self.started,
            duration_limit=self.wish.duration,
            state=self.state,
            reason=self.reason,
            segments=tuple(self.segments),
            gaps=tuple(self.gaps),
            frames_captured=self.frames_captured,
            frames_written=self.frames_written,
            bytes_written=self.bytes_written,
            elapsed_seconds=round(elapsed, 3),
            durable=self.durable,
            healthy=self.healthy,
            end=self.ended,
            preroll_seconds=self.preroll_seconds,
            stepped_seconds=self.stepped_seconds,
            warnings=self.warnings,
            fits_seconds=self.fits_seconds,
            boot_id=self.boot_id if self.first_frame_at is not None else "",
            monotonic_start=self.first_frame_at or 0.0,
        )
