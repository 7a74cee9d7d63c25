"""The accounts of one session: what was captured, written and lost, and when it is over. Pure.

Invariant I4: every frame that arrives while a session runs is counted as captured, and then
either as written, or in an entry of the gap ledger with an exact number of frames. `SessionLedger`
has the counts and the entries; `GapLedger` decides when an entry is due, and how long it is.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from camd.capture.consumer import CapturedFragment, CaptureEnded
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
from camd.mp4.fragments import Fragment
from camd.recording.rules.drops import DropDetector, DroppedFrames
from camd.storage.rules.clock_trust import FootageArrival

OLDEST_FIRST_FRAME_SECONDS = 30.0  # a source whose clock says more than that is wrong


@attrs.frozen
class BootMoment:
    """A moment by both clocks: wall time, and seconds of the monotonic clock of one boot."""

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
        """Return it with its times shifted by a step of the wall clock."""
        return attrs.evolve(self, start=self.start + by, end=self.end + by)

    def and_then(self, more: FrameLoss) -> FrameLoss:
        """Merge two losses; the cause of the first one caused the second one."""
        end = max(self.end, more.end)
        return attrs.evolve(self, end=end, frames=self.frames + more.frames)


@attrs.define(eq=False)
class SessionLedger:
    """The counts and entries of one session; `snapshot` is what others see of it."""

    session_id: SessionId
    camera_id: CameraId
    request: RecordingRequest
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
    def resumed(cls, session: Session, moment: BootMoment) -> SessionLedger:
        """Continue the account of a session that began before the daemon started."""
        request = RecordingRequest(
            owner=session.owner,
            duration=session.duration_limit,
            format=session.format,
            key=session.key,
            preroll=timedelta(seconds=session.preroll_seconds),
        )
        ledger = cls(
            session_id=session.session_id,
            camera_id=session.camera_id,
            request=request,
            format=session.format,
            started=session.start,
        )
        ledger.segments, ledger.gaps = list(session.segments), list(session.gaps)
        ledger.frames_captured, ledger.frames_written = (
            session.frames_captured,
            session.frames_written,
        )
        ledger.bytes_written = session.bytes_written
        ledger.first_frame_at = moment.monotonic - moment.since_start_of(session)
        ledger.boot_id, ledger.stepped_seconds = moment.boot_id, session.stepped_seconds
        ledger.preroll_seconds = session.preroll_seconds
        ledger.state, ledger.reason = SessionState.WAITING, Cause.DAEMON_DOWN.value
        return ledger

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
            oldest = OLDEST_FIRST_FRAME_SECONDS + self.request.preroll_seconds
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
        return self._enter(loss.start, loss.end, loss.frames, True, loss.cause, loss.action)

    def missed(self, start: datetime, end: datetime, cause: Cause) -> Gap:
        """Ledger time in which nothing was captured; the frames are estimated from the rate."""
        frames = round(max(0.0, (end - start).total_seconds()) * self._frame_rate())
        return self._enter(start, end, frames, False, cause, "started the camera again")

    def dropped(self, start: datetime, end: datetime, seconds: float, frames: int) -> Gap:
        """Ledger frames that the source left out in so many seconds of a span; estimated."""
        cause = Cause.FRAMES_DROPPED_BY_SOURCE
        return self._enter(start, end, frames, False, cause, "recorded what came", seconds)

    def left_out(self, start: datetime, end: datetime) -> Gap:
        """Ledger time that a source did not deliver, without a drop in its capture times."""
        seconds = (end - start).total_seconds()
        return self.dropped(start, end, seconds, round(seconds * self._frame_rate()))

    def clock_set(self, by: timedelta, moment: datetime) -> list[Gap]:
        """Ledger that the wall clock was set, at `moment` of the new time: nothing is missing.

        A session that has not begun was asked for in the new time.
        """
        if self.first_frame_at is None:
            self.started += by
            return []
        return [self._enter(moment, moment, 0, True, Cause.CLOCK_STEP, clock_was_set(by))]

    def cut_off(
        self, wanted_until: datetime | None, at_most: timedelta, start: datetime | None = None
    ) -> Gap | None:
        """Ledger what a session lacks that ended with the daemon and is not continued.

        Where it is not known until when it was wanted, that is what can be lost `at_most`. `start`
        is where the account ends, told on the clock of `wanted_until`.
        """
        start = start or self.accounted_until
        if wanted_until is None:
            frames = round(at_most.total_seconds() * self._frame_rate())
            why = "sealed what there was; so much is missing at most"
            end = start + at_most
            return self._enter(start, end, frames, False, Cause.DAEMON_DOWN, why)
        if start < wanted_until:
            return self.missed(start, wanted_until, Cause.DAEMON_DOWN)
        return None

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
            end=self.ended,
            preroll_seconds=self.preroll_seconds,
            stepped_seconds=self.stepped_seconds,
            warnings=self.warnings,
            fits_seconds=self.fits_seconds,
            boot_id=self.boot_id if self.first_frame_at is not None else "",
            monotonic_start=self.first_frame_at or 0.0,
        )


# --- Which gaps there are, and when their entries are due.

SAME_MOMENT = timedelta(milliseconds=250)  # capture times closer than this are one moment
SAME_PLACE = timedelta(seconds=1)  # what follows its arrival has no seam that is shorter
JITTER_FRAGMENTS = 8  # one of so many was on time; only what even that one lags behind is true
CLOCK_DRIFT = 0.002  # of the time: two clocks that differ, and no picture is missing


@attrs.define(eq=False)
class GapLedger:
    """The gaps of one session that have no entry yet, and where its footage ends.

    An entry covers a gap as a whole: it is made when footage goes on, or the session ends. All
    times are on the wall clock as it is now; a step of the clock shifts them.
    """

    ledger: SessionLedger
    drops: DropDetector = attrs.field(factory=DropDetector)
    written_until: datetime | None = attrs.field(default=None, init=False)
    # Why frames have to wait for a key frame; by default the source dropped it.
    latest_cause: Cause = attrs.field(default=Cause.FRAMES_DROPPED_BY_SOURCE, init=False)
    clock_was_set: bool = attrs.field(default=False, init=False)  # since the newest file began
    _set_by: timedelta = attrs.field(default=timedelta(0), init=False)  # since then
    _written_before: bool = attrs.field(
        default=False, init=False
    )  # the newest file is of an earlier start
    _by_this_clock: bool = attrs.field(default=True, init=False)  # is what is written
    _stream_until: float = attrs.field(default=0.0, init=False)  # on the stream's timeline
    _arrived: datetime | None = attrs.field(default=None, init=False)  # the newest frame
    _placed: bool = attrs.field(default=False, init=False)  # the newest times follow arrival
    _in_hand: int = attrs.field(default=0, init=False)  # frames: neither written nor lost yet
    _loss: FrameLoss | None = attrs.field(default=None, init=False)
    _end_of_capture: CaptureEnded | None = attrs.field(default=None, init=False)
    _aligned: datetime | None = attrs.field(default=None, init=False)  # by the clock, a file began
    # When the stream's timeline began, by each of its newest fragments: late ones say later.
    _zeros: deque[datetime] = attrs.field(
        factory=lambda: deque(maxlen=JITTER_FRAGMENTS), init=False
    )

    @property
    def undecided_frames(self) -> int:
        """Frames that are in hand, or lost and not entered yet."""
        return self._in_hand + (self._loss.frames if self._loss else 0)

    def resume(
        self, until: datetime, moved: timedelta = timedelta(0), *, exact: bool = False
    ) -> None:
        """Files from before the daemon started end at `until`; the clock was `moved` since the last
        file began; not `exact`: it is not known whether `until` is by the clock as it is now."""
        self.written_until, self._written_before = until, True
        self._by_this_clock, self._set_by = exact, moved
        self.capture_ended(CaptureEnded(Cause.DAEMON_DOWN, "the service was not running"))

    def set_clock(self, by: timedelta, moment: datetime) -> list[Gap]:
        """Take a step of the wall clock at `moment` of the new time; make its entry."""
        self.clock_was_set = True
        self.drops.move(by)
        self._loss = self._loss and self._loss.moved(by)
        if self.written_until is not None and self._by_this_clock:
            self.written_until += by
        if self.written_until is not None and (self._by_this_clock or not self._written_before):
            self._set_by += by
        self._aligned = self._aligned and self._aligned + by
        self._arrived = self._arrived and self._arrived + by
        self._zeros = deque([zero + by for zero in self._zeros], JITTER_FRAGMENTS)
        return self.ledger.clock_set(by, moment)

    def begin(self, start: datetime, first: Fragment | None = None) -> list[Gap]:
        """Begin a file at `start` with `first`; make the entries for what is missing before it."""
        self.ledger.stepped_seconds += self._set_by.total_seconds()
        self.clock_was_set, self._set_by = False, timedelta(0)
        same_run, joins_on = self._end_of_capture is None, start == self.written_until
        if self._loss is not None:  # of this run: what was waited for is here only now
            self._loss = attrs.evolve(self._loss, end=max(self._loss.end, start))
        entries = self.settle(start)
        if same_run and not self._written_before:
            drop = first.start_seconds - self._stream_until if first and self._zeros else 0.0
            entries += self._left_behind(start - timedelta(seconds=max(0.0, drop)))
        if not joins_on:
            self._aligned = start
        return entries

    def took(self, frames: int) -> None:
        """Count frames that arrived; `wrote` or `lose` follows before others arrive."""
        self.ledger.captured(frames)
        self._in_hand = frames

    def start_of(self, captured: CapturedFragment) -> datetime:
        """The start of a segment that begins with this fragment, without a seam if possible.

        A fragment that only arrived late leaves no gap.
        """
        until = self.written_until
        same_run = self._end_of_capture is None
        least = SAME_PLACE if captured.placed and same_run else SAME_MOMENT
        if until is None or captured.start < until - least:
            return captured.start
        on_time = min([_zero_of(captured), *self._zeros])
        seam = on_time + timedelta(seconds=captured.fragment.start_seconds) - until
        return until if seam < least else captured.start

    def wrote(self, captured: CapturedFragment, until: datetime) -> list[Gap]:
        """The fragment in hand is in a file that ends at `until`, on the clock that it began by."""
        self._in_hand, self._written_before, self._by_this_clock = 0, False, True
        self.written_until = until + self._set_by
        self._stream_until = captured.fragment.end_seconds
        self._zeros.append(_zero_of(captured))
        self._placed, self._arrived = captured.placed, captured.end
        turned = self.drops.capture_over() if captured.turned else []
        found = self.drops.watch(captured.fragment, captured.start, spread=captured.spread)
        return self._dropped(turned + found)

    def _left_behind(self, until: datetime) -> list[Gap]:
        """Make the entry for what a source slower than real time did not deliver.

        Its time stamps have no gap, but fall behind the wall clock. Times that follow their arrival
        never do.
        """
        if self.written_until is None or not self._zeros or self._placed:
            return []
        lag = min(self._zeros) + timedelta(seconds=self._stream_until) - self.written_until
        if lag < max(SAME_MOMENT, CLOCK_DRIFT * (until - (self._aligned or until))):
            return []
        return [self.ledger.left_out(self.written_until, until)]

    def close_drops(self) -> list[Gap]:
        """Make the entries for dropped frames that were found so far: a file is complete."""
        return self._dropped(self.drops.close())

    def capture_over(self) -> list[Gap]:
        """Make the entries for dropped frames of a capture that delivers nothing more."""
        return self._dropped(self.drops.capture_over())

    def _dropped(self, drops: list[DroppedFrames]) -> list[Gap]:
        return [
            self.ledger.dropped(drop.start, drop.end, drop.seconds, drop.frames) for drop in drops
        ]

    def lose(self, loss: FrameLoss) -> None:
        """The frames in hand cannot be written."""
        self._in_hand = 0
        self.drops.interrupt()
        self.latest_cause = loss.cause
        self._loss = loss if self._loss is None else self._loss.and_then(loss)

    def lose_fragment(self, captured: CapturedFragment, cause: Cause, action: str) -> None:
        """The fragment in hand cannot be written."""
        frames = captured.fragment.frames
        self.lose(FrameLoss(captured.start, captured.end, frames, cause, action))

    def lose_in_hand(self, until: datetime, action: str) -> bool:
        """Lose the frames in hand, whatever happens to them. False when there are none."""
        if not self._in_hand:
            return False
        start = self.written_until or self.ledger.started
        self.lose(FrameLoss(start, until, self._in_hand, Cause.STORAGE_ERROR, action))
        return True

    def capture_ended(self, over: CaptureEnded) -> None:
        """The capture is over: what comes until the next one delivers may be missing.

        Until then the first cause stands, whatever keeps the next capture from delivering.
        """
        self._zeros.clear()
        self.latest_cause = over.cause or Cause.FRAMES_DROPPED_BY_SOURCE
        if self._end_of_capture is None or self._end_of_capture.cause is None:
            self._end_of_capture = over

    def settle_losses(self) -> list[Gap]:
        """Make the entry for frames that were lost until now."""
        if self._loss is None:
            return []
        loss, self._loss = self._loss, None
        same_run = self._end_of_capture is None and not self._written_before
        entries = self._settle_outage(loss.start)  # a capture that is over was over until then
        if same_run and self.written_until and loss.start - self.written_until > SAME_PLACE:
            entries.append(self.ledger.left_out(self.written_until, loss.start))
        self.written_until = max(loss.end, self.written_until or loss.end)
        return [*entries, self.ledger.lost(loss)]

    def finish(self, until: datetime) -> list[Gap]:
        """Make all entries: nothing follows."""
        entries: list[Gap] = []
        if self._loss is None and self._end_of_capture is None and self._zeros:
            latest = self._zeros[-1] + timedelta(seconds=self._stream_until)
            entries = self._left_behind(min(latest, until))
        return entries + self.settle(until)

    def settle(self, until: datetime) -> list[Gap]:
        """Make all entries: footage goes on at `until`, or never."""
        return self.settle_losses() + self._settle_outage(until)

    def _settle_outage(self, until: datetime) -> list[Gap]:
        """Make the entry for what no capture delivered: one delivers at `until`, or never.

        A file ends by the times in it, and may have begun late by its first arrival: what was
        between the last arrival and `until` is missing all the same.
        """
        over, self._end_of_capture = self._end_of_capture, None
        start = self.written_until or self.ledger.started
        if over is None or over.cause is None:
            return []
        if self._placed and self._arrived is not None and not self._written_before:
            start = min(start, max(self._arrived, start - SAME_PLACE))
        return [self.ledger.missed(start, until, over.cause)] if until > start else []


def _zero_of(captured: CapturedFragment) -> datetime:
    return captured.start - timedelta(seconds=captured.fragment.start_seconds)


# --- Where a session that is continued goes on, on the wall clock as it is now.

STEP_SECONDS = 2.0  # less is how exactly a file tells when it arrived
_NONE = timedelta(0)


@attrs.frozen
class ResumePoint:
    """Where a session goes on: `until`; the clock was set by `moved` since the newest file began.

    Of that, no entry of the ledger says `untold` yet. `exact`: it is by the monotonic clock.
    """

    until: datetime
    moved: timedelta = _NONE
    untold: timedelta = _NONE
    exact: bool = False

    @classmethod
    def of(
        cls, ledger: SessionLedger, moment: BootMoment, arrival: FootageArrival | None
    ) -> ResumePoint:
        """Compare the clocks; `arrival` is that of the newest file's last frame, if it is known."""
        until = ledger.accounted_until
        if not ledger.segments:
            return cls(until)
        newest = ledger.segments[-1]
        steps = (gap.stepped for gap in ledger.gaps if gap.start >= newest.start)
        told = sum(steps, _NONE)
        if arrival is None or not arrival.boot_id or arrival.boot_id != moment.boot_id:
            untold = min(_NONE, moment.wall - until)
            return cls(until + untold, told + untold, untold)
        since = timedelta(seconds=moment.monotonic - arrival.monotonic_end)
        moved = moment.wall - since - newest.end
        if abs(moved.total_seconds()) < STEP_SECONDS:
            moved = _NONE
        untold = moved - told
        if abs(untold.total_seconds()) < STEP_SECONDS:
            untold = _NONE
        by_file, by_entry = newest.end + moved, until + untold
        there = by_file if until == newest.end else max(by_file, by_entry)
        return cls(min(there, max(by_file, moment.wall)), moved, untold, exact=True)


def arrival_by_session(
    ledger: SessionLedger, boot_id: str, monotonic_start: float
) -> FootageArrival | None:
    """When the last frame of the newest file arrived, where the file does not say it."""
    if not ledger.segments or not boot_id:
        return None
    newest = ledger.segments[-1]
    steps = sum((gap.stepped for gap in ledger.gaps if gap.start <= newest.start), _NONE)
    since = newest.end - ledger.started - steps
    return FootageArrival(boot_id, monotonic_start + since.total_seconds())
