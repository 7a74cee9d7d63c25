"""What a session has lost so far and has not entered yet: losses become entries when they end."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from camd.capture.consumer import CapturedFragment, CaptureEnded
from camd.model import Cause, Gap
from camd.mp4.fragments import Fragment
from camd.recording.rules.book import BootMoment, FrameLoss, SessionBook
from camd.recording.rules.drops import DropDetector, DroppedFrames
from camd.storage.rules.clock_trust import FootageArrival

SAME_MOMENT = timedelta(milliseconds=250)  # capture times closer than this are one moment
SAME_PLACE = timedelta(seconds=1)  # what follows its arrival has no seam that is shorter
JITTER_FRAGMENTS = 8  # one of so many was on time; only what even that one lags behind is true
CLOCK_DRIFT = 0.002  # of the time: two clocks that differ, and no picture is missing


@attrs.define(eq=False)
class GapLedger:
    """The open losses of one session, and where its footage ends. Pure.

    An entry covers a hole as a whole: it is made when footage goes on, or the session ends. All
    times are on the wall clock as it is now: when it is set, they move along, so that lengths
    stay true.
    """

    book: SessionBook
    holes: DropDetector = attrs.field(factory=DropDetector)
    written_until: datetime | None = attrs.field(default=None, init=False)
    # Why frames that wait for a key frame have to: until something else is lost, for the source.
    latest_cause: Cause = attrs.field(default=Cause.FRAMES_DROPPED_BY_SOURCE, init=False)
    clock_was_set: bool = attrs.field(default=False, init=False)  # since the newest file began
    _set_by: timedelta = attrs.field(default=timedelta(0), init=False)  # since then
    _another_life: bool = attrs.field(default=False, init=False)  # of the daemon wrote last
    _by_this_clock: bool = attrs.field(default=True, init=False)  # is what is written
    _came_until: float = attrs.field(default=0.0, init=False)  # on the stream's timeline
    _arrived: datetime | None = attrs.field(default=None, init=False)  # the newest frame
    _placed: bool = attrs.field(default=False, init=False)  # the newest times follow arrival
    _in_hand: int = attrs.field(default=0, init=False)  # frames: neither written nor lost yet
    _loss: FrameLoss | None = attrs.field(default=None, init=False)
    _run_over: CaptureEnded | None = attrs.field(default=None, init=False)
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
        """Another life of the daemon wrote until then, and the clock was `moved` since its last
        file began; not `exact`: it is not known whether `until` is by the clock as it is now."""
        self.written_until, self._another_life = until, True
        self._by_this_clock, self._set_by = exact, moved
        self.run_ended(CaptureEnded(Cause.DAEMON_DOWN, "the service was not running"))

    def set_clock(self, by: timedelta, moment: datetime) -> list[Gap]:
        """The wall clock was set, at `moment` of the new time; make the entry that says so."""
        self.clock_was_set = True
        self.holes.move(by)
        self._loss = self._loss and self._loss.moved(by)
        if self.written_until is not None and self._by_this_clock:
            self.written_until += by
        if self.written_until is not None and (self._by_this_clock or not self._another_life):
            self._set_by += by
        self._aligned = self._aligned and self._aligned + by
        self._arrived = self._arrived and self._arrived + by
        self._zeros = deque([zero + by for zero in self._zeros], JITTER_FRAGMENTS)
        return self.book.clock_set(by, moment)

    def begin(self, start: datetime, first: Fragment | None = None) -> list[Gap]:
        """A file begins at `start` with `first`; make the entries for what is missing before it."""
        self.book.stepped_seconds += self._set_by.total_seconds()
        self.clock_was_set, self._set_by = False, timedelta(0)
        same_run, joins_on = self._run_over is None, start == self.written_until
        if self._loss is not None:  # of this run: what was waited for is here only now
            self._loss = attrs.evolve(self._loss, end=max(self._loss.end, start))
        entries = self.settle(start)
        if same_run and not self._another_life:
            hole = first.start_seconds - self._came_until if first and self._zeros else 0.0
            entries += self._left_behind(start - timedelta(seconds=max(0.0, hole)))
        if not joins_on:
            self._aligned = start
        return entries

    def took(self, frames: int) -> None:
        """Frames arrived; `wrote` or `lose` says what becomes of them, before others come."""
        self.book.captured(frames)
        self._in_hand = frames

    def start_of(self, captured: CapturedFragment) -> datetime:
        """When a segment that begins with this fragment begins: without a seam where none is.

        A fragment that merely came late, as the ones before it did not, leaves no seam.
        """
        until = self.written_until
        same_run = self._run_over is None
        least = SAME_PLACE if captured.placed and same_run else SAME_MOMENT
        if until is None or captured.start < until - least:
            return captured.start
        on_time = min([_zero_of(captured), *self._zeros])
        seam = on_time + timedelta(seconds=captured.fragment.start_seconds) - until
        return until if seam < least else captured.start

    def wrote(self, captured: CapturedFragment, until: datetime) -> list[Gap]:
        """The fragment in hand is in a file, which ends at `until` of the time it began in."""
        self._in_hand, self._another_life, self._by_this_clock = 0, False, True
        self.written_until = until + self._set_by
        self._came_until = captured.fragment.end_seconds
        self._zeros.append(_zero_of(captured))
        self._placed, self._arrived = captured.placed, captured.end
        turned = self.holes.run_over() if captured.turned else []
        found = self.holes.watch(captured.fragment, captured.start, spread=captured.spread)
        return self._dropped(turned + found)

    def _left_behind(self, until: datetime) -> list[Gap]:
        """Make the entry for what a source that is slower than real time did not deliver.

        Its capture times have no hole: they go on more slowly than the clock on the wall. Times
        that follow their arrival never do.
        """
        if self.written_until is None or not self._zeros or self._placed:
            return []
        lag = min(self._zeros) + timedelta(seconds=self._came_until) - self.written_until
        if lag < max(SAME_MOMENT, CLOCK_DRIFT * (until - (self._aligned or until))):
            return []
        return [self.book.left_out(self.written_until, until)]

    def close_holes(self) -> list[Gap]:
        """Make the entry for holes that were found so far: a file is complete."""
        return self._dropped(self.holes.close())

    def source_over(self) -> list[Gap]:
        """Make the entry for holes in what one child delivered: it delivers nothing more."""
        return self._dropped(self.holes.run_over())

    def _dropped(self, holes: list[DroppedFrames]) -> list[Gap]:
        return [
            self.book.dropped(hole.start, hole.end, hole.seconds, hole.frames) for hole in holes
        ]

    def lose(self, loss: FrameLoss) -> None:
        """The frames in hand cannot be written."""
        self._in_hand = 0
        self.holes.interrupt()
        self.latest_cause = loss.cause
        self._loss = loss if self._loss is None else self._loss.and_then(loss)

    def lose_fragment(self, captured: CapturedFragment, cause: Cause, action: str) -> None:
        """The fragment in hand cannot be written."""
        frames = captured.fragment.frames
        self.lose(FrameLoss(captured.start, captured.end, frames, cause, action))

    def lose_in_hand(self, until: datetime, action: str) -> bool:
        """Whatever happens to the frames in hand: they are lost. False when there are none."""
        if not self._in_hand:
            return False
        start = self.written_until or self.book.started
        self.lose(FrameLoss(start, until, self._in_hand, Cause.STORAGE_ERROR, action))
        return True

    def run_ended(self, over: CaptureEnded) -> None:
        """The child is gone: what comes until the next one delivers may be missing.

        Until then the first cause stands, whatever keeps the next child from delivering.
        """
        self._zeros.clear()
        self.latest_cause = over.cause or Cause.FRAMES_DROPPED_BY_SOURCE
        if self._run_over is None or self._run_over.cause is None:
            self._run_over = over

    def settle_losses(self) -> list[Gap]:
        """Make the entry for what was lost until now."""
        if self._loss is None:
            return []
        loss, self._loss = self._loss, None
        same_run = self._run_over is None and not self._another_life
        entries = self._settle_outage(loss.start)  # a child that is gone was gone until then
        if same_run and self.written_until and loss.start - self.written_until > SAME_PLACE:
            entries.append(self.book.left_out(self.written_until, loss.start))
        self.written_until = max(loss.end, self.written_until or loss.end)
        return [*entries, self.book.lost(loss)]

    def finish(self, until: datetime) -> list[Gap]:
        """Make all entries: nothing comes any more."""
        entries: list[Gap] = []
        if self._loss is None and self._run_over is None and self._zeros:
            latest = self._zeros[-1] + timedelta(seconds=self._came_until)
            entries = self._left_behind(min(latest, until))
        return entries + self.settle(until)

    def settle(self, until: datetime) -> list[Gap]:
        """Make all entries: footage goes on at `until`, or never."""
        return self.settle_losses() + self._settle_outage(until)

    def _settle_outage(self, until: datetime) -> list[Gap]:
        """Make the entry for what no child delivered: one delivers at `until`, or never.

        A file ends by the times in it, and may have begun late by its first arrival: what was
        between the last arrival and `until` is missing all the same.
        """
        over, self._run_over = self._run_over, None
        start = self.written_until or self.book.started
        if over is None or over.cause is None:
            return []
        if self._placed and self._arrived is not None and not self._another_life:
            start = min(start, max(self._arrived, start - SAME_PLACE))
        return [self.book.missed(start, until, over.cause)] if until > start else []


def _zero_of(captured: CapturedFragment) -> datetime:
    return captured.start - timedelta(seconds=captured.fragment.start_seconds)


# --- Where the account of an earlier life of the daemon ends, on the wall clock as it is now. Pure.

STEP_SECONDS = 2.0  # less is how exactly a file tells when it arrived
_NONE = timedelta(0)


@attrs.frozen
class ResumePoint:
    """`until` is where the account ends; the clock was set by `moved` since the newest file began.

    Of that, no entry of the ledger says `untold` yet. `exact`: it is by the monotonic clock.
    """

    until: datetime
    moved: timedelta = _NONE
    untold: timedelta = _NONE
    exact: bool = False

    @classmethod
    def of(
        cls, book: SessionBook, moment: BootMoment, arrival: FootageArrival | None
    ) -> ResumePoint:
        """Compare the clocks; `arrival` is that of the newest file's last frame, if it is known."""
        until = book.accounted_until
        if not book.segments:
            return cls(until)
        newest = book.segments[-1]
        steps = (gap.stepped for gap in book.gaps if gap.start >= newest.start)
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
    book: SessionBook, boot_id: str, monotonic_start: float
) -> FootageArrival | None:
    """Say when the newest file's last frame arrived, where the file does not tell it."""
    if not book.segments or not boot_id:
        return None
    newest = book.segments[-1]
    steps = sum((gap.stepped for gap in book.gaps if gap.start <= newest.start), _NONE)
    since = newest.end - book.started - steps
    return FootageArrival(boot_id, monotonic_start + since.total_seconds())
