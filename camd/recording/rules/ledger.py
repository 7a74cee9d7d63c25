"""The accounts of one session: what was captured, written and lost, and when it is over. Pure.

Invariant I4: every frame that arrives while a session runs is counted as captured, and then
either as written, or in an entry of the gap ledger with an exact number of frames.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from camd.capture.consumer import CapturedFragment, CaptureEnded
from camd.model import (
    CameraId,
    Gap,
    GapCause,
    RecordingRequest,
    Segment,
    Session,
    SessionId,
    SessionState,
    clock_was_set,
)
from camd.model.recordings import CLOCK_DRIFT
from camd.mp4.fragments import Fragment
from camd.recording.rules.resume_point import BootMoment, ResumePoint
from camd.recording.rules.source_drops import DropDetector, SourceDrop

OLDEST_FIRST_FRAME_SECONDS = 30.0  # a source whose clock says more than that is wrong
SAME_MOMENT = timedelta(milliseconds=250)  # capture times closer than this are one moment
SAME_PLACE = timedelta(seconds=1)  # the same for times that follow their arrival
SEAM = timedelta(milliseconds=250)  # between two files of one stream, while a drift is made up for
SAME_INSTANT_SECONDS = 0.001
JITTER_FRAGMENTS = 8  # at least one of so many is not late


@attrs.frozen
class FrameLoss:
    """Frames that arrived and could not be written."""

    start: datetime
    end: datetime
    frames: int
    cause: GapCause
    action: str

    def moved(self, by: timedelta) -> FrameLoss:
        """Return it with its times shifted by a step of the wall clock."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)

    def and_then(self, more: FrameLoss) -> FrameLoss:
        """Merge two losses; the cause of the first one caused the second one."""
        end = max(self.end, more.end)
        return attrs.evolve(self, end=end, frames=self.frames + more.frames)


@attrs.define(eq=False, kw_only=True)
class SessionLedger:
    """The accounts of one session; `snapshot` is what others see of them.

    An entry covers a gap as a whole: it is made when footage goes on, or the session ends, and is
    returned to the caller, who stores it. All times are on the wall clock as it is now, or seconds
    of the monotonic clock of `boot_id`.
    """

    session_id: SessionId
    camera_id: CameraId
    request: RecordingRequest
    format: str
    started: datetime
    boot_id: str = ""
    warnings: tuple[str, ...] = ()
    drops: DropDetector = attrs.field(factory=DropDetector)
    segments: list[Segment] = attrs.field(factory=list)
    gaps: list[Gap] = attrs.field(factory=list)
    state: SessionState = SessionState.STARTING
    reason: str = ""
    fits_seconds: int | None = None  # when it was admitted
    until: datetime | None = None  # footage is wanted
    ended: datetime | None = None
    frames_captured: int = 0
    frames_written: int = 0
    bytes_written: int = 0
    first_frame_at: float | None = None  # monotonic seconds
    written_at: float | None = None  # monotonic seconds
    durable_at: float | None = None  # monotonic seconds
    stepped_seconds: float = 0.0  # see Session
    preroll_seconds: float = 0.0
    durable: bool = True
    healthy: bool = False
    # Why frames have to wait for a key frame; by default the source dropped it.
    latest_cause: GapCause = GapCause.FRAMES_DROPPED_BY_SOURCE
    clock_was_set: bool = False  # since the newest file began
    written_until: datetime | None = None
    _set_by: timedelta = timedelta(0)  # since the newest file
    _earlier_run: bool = False  # of the daemon wrote that file
    _by_this_clock: bool = True  # `written_until` is
    _stream_until: float = attrs.field(default=0.0, init=False)  # on the stream's timeline
    _file_length: timedelta = attrs.field(default=timedelta(0), init=False)  # of the newest file
    _arrived: datetime | None = attrs.field(default=None, init=False)  # the newest frame
    _placed: bool = attrs.field(default=False, init=False)  # the newest times follow arrival
    _in_hand: int = attrs.field(default=0, init=False)  # frames: neither written nor lost yet
    _loss: FrameLoss | None = attrs.field(default=None, init=False)  # has no entry yet
    _end_of_capture: CaptureEnded | None = attrs.field(default=None, init=False)
    _aligned: datetime | None = attrs.field(default=None, init=False)  # by the clock, a file began
    # When the stream's timeline began, by each of its newest fragments: late ones say later.
    _zeros: deque[datetime] = attrs.field(
        factory=lambda: deque(maxlen=JITTER_FRAGMENTS), init=False
    )
    _known_error: int = attrs.field(default=0, init=False)  # in the sum of frames

    @classmethod
    def resumed(
        cls,
        session: Session,
        *,
        moment: BootMoment,
        point: ResumePoint,
        drops: DropDetector | None = None,
    ) -> SessionLedger:
        """Continue, at `point`, the account of a session that an earlier run of the daemon left."""
        ledger = cls(
            session_id=session.session_id,
            camera_id=session.camera_id,
            request=_request_of(session),
            format=session.format,
            started=session.start,
            boot_id=moment.boot_id,
            drops=drops or DropDetector(),
            segments=list(session.segments),
            gaps=list(session.gaps),
            state=SessionState.WAITING,
            reason=GapCause.DAEMON_DOWN.value,
            frames_captured=session.frames_captured,
            frames_written=session.frames_written,
            bytes_written=session.bytes_written,
            first_frame_at=moment.monotonic - moment.since_start_of(session),
            stepped_seconds=session.stepped_seconds,
            preroll_seconds=session.preroll_seconds,
            written_until=point.until,
            set_by=point.moved,
            earlier_run=True,
            by_this_clock=point.exact,
        )
        ledger.capture_ended(CaptureEnded(GapCause.DAEMON_DOWN, "the service was not running"))
        return ledger

    # --- frames ---

    def took(self, frames: int) -> None:
        """Count frames that arrived; `wrote` or `lose` follows before others arrive."""
        self.frames_captured += frames
        self._in_hand = frames

    def begin(self, start: datetime, first: Fragment | None = None) -> list[Gap]:
        """Begin a file at `start` with `first`; make the entries for what is missing before it."""
        self.stepped_seconds += self._set_by.total_seconds()
        self.clock_was_set, self._set_by = False, timedelta(0)
        same_run, joins_on = self._end_of_capture is None, start == self.written_until
        if self._loss is not None:  # of this run: what was waited for is here only now
            self._loss = attrs.evolve(self._loss, end=max(self._loss.end, start))
        entries = self.enter_missing(start)
        if same_run and not self._earlier_run:
            drop = first.start_seconds - self._stream_until if first and self._zeros else 0.0
            entries += self._enter_source_lag(start - timedelta(seconds=max(0.0, drop)))
        if not joins_on:
            self._aligned = start
        return entries

    def start_of(self, captured: CapturedFragment) -> datetime:
        """The start of a segment that begins with this fragment, without a seam if possible.

        A fragment that only arrived late leaves no gap. The clock of a source drifts, so that the
        end of a file by its frames moves away from the wall clock: the next files make up for it,
        a little each, because nothing is missing between them.
        """
        until = self.written_until
        same_run = self._end_of_capture is None
        least = SAME_PLACE if captured.placed and same_run else SAME_MOMENT
        if until is None:
            return captured.start
        off = captured.start - until
        if off >= -least:
            on_time = min([_zero_of(captured), *self._zeros])
            if on_time + timedelta(seconds=captured.fragment.start_seconds) - until < least:
                return until
        if captured.placed and same_run and self._goes_on_with(captured.fragment):
            most = SEAM if abs(off) < 2 * SAME_PLACE else SEAM + CLOCK_DRIFT * self._file_length
            off = max(-most, min(most, off))
        return until + off

    def _goes_on_with(self, fragment: Fragment) -> bool:
        """Whether a fragment comes behind the newest one without a frame between them."""
        apart = abs(fragment.start_seconds - self._stream_until)
        return bool(self._zeros) and not self._earlier_run and apart < SAME_INSTANT_SECONDS

    def wrote(
        self, captured: CapturedFragment, segment: Segment, *, size_bytes: int, monotonic: float
    ) -> list[Gap]:
        """The fragment in hand was appended to `segment`, the newest one, just now.

        Returns the entries for dropped frames that are complete by it.
        """
        self._count_written(captured.fragment.frames, segment, size_bytes, monotonic)
        self._in_hand, self._earlier_run, self._by_this_clock = 0, False, True
        self.written_until = segment.end + self._set_by  # the file goes by the clock it began by
        self._file_length = segment.end - segment.start
        self._stream_until = captured.fragment.end_seconds
        self._zeros.append(_zero_of(captured))
        self._placed, self._arrived = captured.placed, captured.end
        if captured.vague:
            self.drops.doubt()
        turned = self.drops.capture_over() if captured.turned else []
        found = self.drops.watch(
            captured.fragment, captured.start, vague=captured.vague, live=captured.placed
        )
        return self._enter_drops(turned + found)

    def _count_written(
        self, frames: int, segment: Segment, size_bytes: int, monotonic: float
    ) -> None:
        if self.first_frame_at is None:
            self._begin_with(segment, monotonic)
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

    def _begin_with(self, segment: Segment, monotonic: float) -> None:
        """Count the session's time from its first frame; frames before the request are pre-roll."""
        age = (segment.modified - segment.start).total_seconds()
        oldest = OLDEST_FIRST_FRAME_SECONDS + self.request.preroll_seconds
        self.first_frame_at = monotonic - min(max(0.0, age), oldest)
        before = (self.started - segment.start).total_seconds()
        self.preroll_seconds = round(max(0.0, before), 3)
        self.started = segment.start

    def unwrote(self, frames: int) -> None:
        """Frames that were in a file are gone: another program has removed them."""
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

    @property
    def unaccounted(self) -> int:
        """Frames that were captured and are neither written nor ledgered; 0 in the end (I4)."""
        ledgered = sum(gap.frames for gap in self.gaps if gap.exact)
        return self.frames_captured - self.frames_written - ledgered

    def audit(self) -> int:
        """Compare the sum of frames; return how wrong it is.

        Until the session has ended, frames in hand and losses without an entry do not count. An
        error that was returned once is not returned again while it stays the same.
        """
        wrong = self.unaccounted
        if self.state is not SessionState.ENDED:
            wrong -= self._in_hand + (self._loss.frames if self._loss else 0)
        before, self._known_error = self._known_error, wrong
        return wrong if wrong != before else 0

    # --- losses, and captures that end ---

    def lose(self, loss: FrameLoss) -> None:
        """The frames in hand cannot be written."""
        self._in_hand = 0
        self.drops.interrupt()
        self.latest_cause = loss.cause
        self._loss = loss if self._loss is None else self._loss.and_then(loss)

    def lose_fragment(self, captured: CapturedFragment, cause: GapCause, action: str) -> None:
        """The fragment in hand cannot be written."""
        frames = captured.fragment.frames
        self.lose(FrameLoss(captured.start, captured.end, frames, cause, action))

    def lose_in_hand(self, until: datetime, action: str) -> bool:
        """Lose the frames in hand, whatever happens to them. False when there are none."""
        if not self._in_hand:
            return False
        start = self.written_until or self.started
        self.lose(FrameLoss(start, until, self._in_hand, GapCause.STORAGE_ERROR, action))
        return True

    def capture_ended(self, over: CaptureEnded) -> None:
        """The capture is over: what comes until the next one delivers may be missing.

        Until then the first cause stands, whatever keeps the next capture from delivering.
        """
        self._zeros.clear()
        self.latest_cause = over.cause or GapCause.FRAMES_DROPPED_BY_SOURCE
        if self._end_of_capture is None or self._end_of_capture.cause is None:
            self._end_of_capture = over

    def enter_found_drops(self, *, capture_over: bool = False) -> list[Gap]:
        """Make the entries for dropped frames that were found so far.

        With `capture_over`, the detector starts over for the next capture.
        """
        return self._enter_drops(self.drops.capture_over() if capture_over else self.drops.close())

    def enter_losses(self) -> list[Gap]:
        """Make the entry for frames that were lost until now."""
        if self._loss is None:
            return []
        loss, self._loss = self._loss, None
        same_run = self._end_of_capture is None and not self._earlier_run
        entries = self._enter_capture_outage(
            loss.start
        )  # a capture that is over was over until then
        if same_run and self.written_until and loss.start - self.written_until > SAME_PLACE:
            entries.append(self._enter_lag(self.written_until, loss.start))
        self.written_until = max(loss.end, self.written_until or loss.end)
        return [*entries, self.enter_loss(loss)]

    def enter_missing(self, until: datetime) -> list[Gap]:
        """Make all entries: footage goes on at `until`, or never."""
        return self.enter_losses() + self._enter_capture_outage(until)

    def finish(self, until: datetime) -> list[Gap]:
        """Make all entries: nothing follows."""
        entries: list[Gap] = []
        if self._loss is None and self._end_of_capture is None and self._zeros:
            latest = self._zeros[-1] + timedelta(seconds=self._stream_until)
            entries = self._enter_source_lag(min(latest, until))
        return entries + self.enter_missing(until)

    def _enter_capture_outage(self, until: datetime) -> list[Gap]:
        """Make the entry for what no capture delivered: one delivers at `until`, or never.

        A file ends by the times in it, and may have begun late by its first arrival: what was
        between the last arrival and `until` is missing all the same.
        """
        over, self._end_of_capture = self._end_of_capture, None
        start = self.written_until or self.started
        if over is None or over.cause is None:
            return []
        if self._placed and self._arrived is not None and not self._earlier_run:
            start = min(start, max(self._arrived, start - SAME_PLACE))
        return [self.enter_outage(start, until, over.cause)] if until > start else []

    def _enter_source_lag(self, until: datetime) -> list[Gap]:
        """Make the entry for what a source slower than real time did not deliver.

        Its time stamps have no gap, but fall behind the wall clock. Times that follow their arrival
        never do.
        """
        if self.written_until is None or not self._zeros or self._placed:
            return []
        lag = min(self._zeros) + timedelta(seconds=self._stream_until) - self.written_until
        if lag < max(SAME_MOMENT, CLOCK_DRIFT * (until - (self._aligned or until))):
            return []
        return [self._enter_lag(self.written_until, until)]

    # --- the wall clock ---

    def clock_stepped(self, by: timedelta, moment: datetime) -> list[Gap]:
        """The wall clock was set, at `moment` of the new time; make its entry."""
        self.clock_was_set = True
        self.drops.move(by)
        self._loss = self._loss and self._loss.moved(by)
        if self.written_until is not None and self._by_this_clock:
            self.written_until += by
        if self.written_until is not None and (self._by_this_clock or not self._earlier_run):
            self._set_by += by
        self._aligned = self._aligned and self._aligned + by
        self._arrived = self._arrived and self._arrived + by
        self._zeros = deque([zero + by for zero in self._zeros], JITTER_FRAGMENTS)
        return self.clock_found(by, moment)

    def clock_found(self, by: timedelta, moment: datetime) -> list[Gap]:
        """Make the entry for a step of the wall clock: no footage is missing.

        A session that has not begun was asked for in the new time.
        """
        if self.first_frame_at is None:
            self.started += by
            return []
        action = clock_was_set(by)
        return [self._enter(moment, moment, frames=0, cause=GapCause.CLOCK_STEP, action=action)]

    # --- entries ---

    def enter_loss(self, loss: FrameLoss) -> Gap:
        """Make the entry for frames that were captured and not written; their number is exact."""
        return self._enter(
            loss.start, loss.end, frames=loss.frames, cause=loss.cause, action=loss.action
        )

    def enter_outage(self, start: datetime, end: datetime, cause: GapCause) -> Gap:
        """Make the entry for time in which nothing was captured; frames are estimated."""
        return self._estimate(start, end, cause, "started the camera again")

    def enter_not_continued(
        self, start: datetime, wanted_until: datetime | None, most: timedelta
    ) -> list[Gap]:
        """Make the entry for what a session lacks that ended with the daemon and is not continued.

        `start` is where its account ends. Where it is not known until when footage was wanted,
        what is missing is `most` at the most.
        """
        if wanted_until is None:
            action = "sealed what there was; so much is missing at most"
            return [self._estimate(start, start + most, GapCause.DAEMON_DOWN, action)]
        if start < wanted_until:
            return [self.enter_outage(start, wanted_until, GapCause.DAEMON_DOWN)]
        return []

    def _enter_drops(self, drops: list[SourceDrop]) -> list[Gap]:
        """Make the entries for frames that the source left out, in drops of its capture times."""
        return [
            self._enter(
                drop.start,
                drop.end,
                frames=drop.frames,
                exact=False,
                cause=GapCause.FRAMES_DROPPED_BY_SOURCE,
                action="recorded what came",
                seconds=drop.seconds,
            )
            for drop in drops
        ]

    def _enter_lag(self, start: datetime, end: datetime) -> Gap:
        """Make the entry for time that a source left out without a drop in its capture times."""
        return self._estimate(start, end, GapCause.FRAMES_DROPPED_BY_SOURCE, "recorded what came")

    def _estimate(self, start: datetime, end: datetime, cause: GapCause, action: str) -> Gap:
        """Make an entry whose frames nobody counted: they are estimated from the frame rate."""
        frames = round(max(0.0, (end - start).total_seconds()) * self._frame_rate())
        return self._enter(start, end, frames=frames, exact=False, cause=cause, action=action)

    def _frame_rate(self) -> float:
        """Frames per second of the newest segment that has any."""
        for segment in reversed(self.segments):
            if segment.duration_seconds > 0:
                return segment.frames / segment.duration_seconds
        return 0.0

    def _enter(
        self,
        start: datetime,
        end: datetime,
        *,
        frames: int,
        cause: GapCause,
        action: str,
        exact: bool = True,
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
            owner=self.request.owner,
            key=self.request.key,
            format=self.format,
            start=self.started,
            duration_limit=self.request.duration,
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
            durable_at=self.durable_at,
            end=self.ended,
            preroll_seconds=self.preroll_seconds,
            stepped_seconds=self.stepped_seconds,
            warnings=self.warnings,
            fits_seconds=self.fits_seconds,
            boot_id=self.boot_id if self.first_frame_at is not None else "",
            monotonic_start=self.first_frame_at or 0.0,
        )


def _request_of(session: Session) -> RecordingRequest:
    return RecordingRequest(
        owner=session.owner,
        duration=session.duration_limit,
        format=session.format,
        key=session.key,
        preroll=timedelta(seconds=session.preroll_seconds),
    )


def _zero_of(captured: CapturedFragment) -> datetime:
    return captured.start - timedelta(seconds=captured.fragment.start_seconds)
