"""The hub of one camera: its format, its latest fragments, its consumers, and their demand.

A consumer attaches with `async with hub.attach(consumer)` and begins with the last key frame.
While any attached consumer needs the capture, there is demand; the supervisor follows it.

A capture delivers frames. Consumers with `each_frame` get each at once; the others get them joined
to fragments (`rules/joining`). Time stamps are corrected once for each joined fragment, so that a
recording is the same whoever watches; frames get the times that the corrections so far give them
(`rules/frame_times`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import attrs
import structlog

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    ClockStepped,
    Consumer,
    EndOfStream,
    HubItem,
)
from camd.capture.rules.frame_times import FrameTimes
from camd.capture.rules.joining import FragmentJoiner
from camd.capture.rules.preroll import PrerollBuffer
from camd.capture.rules.source_clock import CameraClockOffset
from camd.capture.rules.timestamps import StreamTimeline
from camd.clock import Anchor, Clock, from_unix_micros
from camd.config.schema import RecordingConfig
from camd.model import VideoFormat
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.reheader import Reheader, as_hvc1
from camd.mp4.restamp import with_moved_samples_put_back
from camd.runtime.broadcast import LatestValue

log = structlog.get_logger("camd.camera")

GOP_LIMIT_BYTES = 32 * 1024 * 1024
SHORTEST_READ_SHARE = 0.2  # of a fragment: what is missing is not waited for, if it is less
RATE_SHARE = 0.1  # how much one fragment moves the measured rates …
BRIEF_SHARE = 0.5  # … and of which share of it those before were, that it replaces
WALL_RESOLUTION_SECONDS = 1e-6  # of the wall times that are converted to monotonic seconds


@attrs.frozen
class ArrivalRate:
    """Moving averages over the latest fragments.

    Sizes and durations are averaged, not their ratio: the last fragment of a capture may hold one
    frame with no duration, whose rate would be hundreds of frames a second.
    """

    size_bytes: float = 0.0
    frames: float = 0.0
    seconds: float = 0.0

    def after(self, fragment: Fragment) -> ArrivalRate:
        """Take a fragment into account."""
        brief = self.seconds <= BRIEF_SHARE * fragment.duration_seconds
        share = 1.0 if brief else RATE_SHARE
        return ArrivalRate(
            self.size_bytes + share * (fragment.size_bytes - self.size_bytes),
            self.frames + share * (fragment.frames - self.frames),
            self.seconds + share * (fragment.duration_seconds - self.seconds),
        )

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second."""
        return self.size_bytes / self.seconds


def preroll_buffer(recording: RecordingConfig) -> PrerollBuffer:
    """Make the pre-roll buffer of a camera, by the configuration."""
    if not recording.preroll:
        return PrerollBuffer(0.0, GOP_LIMIT_BYTES)
    return PrerollBuffer(recording.preroll.total_seconds(), recording.preroll_size)


@attrs.frozen
class TotalDemand:
    """How many consumers need the capture. A capture that ended restarts when `joined` grows."""

    consumers: int = 0  # that need it now
    joined: int = 0  # how many have ever needed it
    grace_seconds: float = 0.0  # how long it goes on without consumers

    @property
    def lasts(self) -> bool:
        """Whether the capture goes on for now."""
        return self.consumers > 0 or self.grace_seconds > 0


@attrs.define(eq=False)
class Attachment:
    """One consumer at the hub."""

    _hub: StreamHub
    consumer: Consumer
    needs_capture: bool = attrs.field(default=False, init=False)
    awaits_key_frame: bool = attrs.field(default=False, init=False)
    finishing: bool = attrs.field(default=False, init=False)
    begun: bool = attrs.field(default=False, init=False)  # it has had a fragment
    in_flight: bool = attrs.field(default=False, init=False)  # a frame came after `finish`

    @property
    def hurries(self) -> bool:
        """Whether it needs the next frame at once."""
        return self.consumer.each_frame or self.finishing or not self.begun

    def is_begun_by(self, fragment: Fragment) -> bool:
        """Whether a fragment would be its first one."""
        waits = self.awaits_key_frame and not fragment.starts_with_sync
        return not (self.begun or waits or self.consumer.each_frame)

    def take(self, captured: CapturedFragment) -> None:
        """Give the consumer a fragment, unless it waits for a key frame."""
        self.awaits_key_frame &= not captured.fragment.starts_with_sync
        if not self.awaits_key_frame:
            self.begun = True
            self.consumer.put(captured)

    def need_capture(self) -> None:
        """Count as demand from now on."""
        self._hub.count(self, needs=True)

    def finish(self) -> None:
        """Take the fragment in flight, then EndOfStream, and nothing more."""
        self._hub.finish(self)


@attrs.define(eq=False)
class StreamHub:
    """The fan-out of one camera's stream.

    `timeline` corrects the time stamps of a live source; without one they are kept. Frames are
    joined to fragments of `fragment_seconds`; 0: each fragment goes to all consumers as it is.
    """

    preroll: PrerollBuffer = attrs.field(factory=lambda: PrerollBuffer(0.0, GOP_LIMIT_BYTES))
    timeline: StreamTimeline | None = None
    fragment_seconds: float = attrs.field(default=0.0, kw_only=True)
    clock: Clock = attrs.field(kw_only=True)
    hurried: LatestValue[bool] = attrs.field(factory=lambda: LatestValue(False), init=False)
    source_clock: CameraClockOffset = attrs.field(factory=CameraClockOffset, init=False)
    warnings: LatestValue[tuple[str, ...]] = attrs.field(
        factory=lambda: LatestValue(()), init=False
    )
    demand: LatestValue[TotalDemand] = attrs.field(
        factory=lambda: LatestValue(TotalDemand()), init=False
    )
    capturing: bool = attrs.field(default=False, init=False)  # a process exists or starts
    init: Init | None = attrs.field(default=None, init=False)
    video: VideoFormat | None = attrs.field(default=None, init=False)
    bytes_captured: int = attrs.field(default=0, init=False)
    frames_captured: int = attrs.field(default=0, init=False)
    bytes_per_second: float | None = attrs.field(default=None, init=False)
    began_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    _pace: ArrivalRate = attrs.field(factory=ArrivalRate, init=False)
    _reheader: Reheader | None = attrs.field(default=None, init=False)
    _joiner: FragmentJoiner = attrs.field(init=False)
    _unjoined: list[CapturedFragment] = attrs.field(factory=list, init=False)  # of it, with times
    _frame_times: FrameTimes = attrs.field(init=False)
    _anchor: Anchor = attrs.field(init=False)
    _attachments: list[Attachment] = attrs.field(factory=list, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._anchor = self.clock.anchor()
        self._joiner = FragmentJoiner(self.fragment_seconds)
        self._frame_times = FrameTimes(self.timeline)

    # --- consumers ---

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """All consumers that are attached."""
        return tuple(each.consumer for each in self._attachments)

    @property
    def demanding(self) -> tuple[Consumer, ...]:
        """The consumers that need the capture."""
        return tuple(each.consumer for each in self._attachments if each.needs_capture)

    @asynccontextmanager
    async def attach(
        self, consumer: Consumer, *, since: datetime | None = None, needs_capture: bool = True
    ) -> AsyncIterator[Attachment]:
        """Give `consumer` the stream from the last key frame before `since` (default: now) on.

        When that key frame is not held any more, it begins with the oldest one that is held;
        when none is held, with the next one. With `needs_capture` False the consumer counts as
        demand only after `Attachment.need_capture`. It is detached at the end of the block.
        """
        attachment = Attachment(self, consumer)
        self._begin_with_past(attachment, since)
        if needs_capture:
            attachment.need_capture()
        try:
            yield attachment
        finally:
            self._detach(attachment)

    def _begin_with_past(self, attachment: Attachment, since: datetime | None) -> None:
        anchor = self.look_at_clock()
        each_frame = attachment.consumer.each_frame
        if not each_frame and self._joiner.is_separable:
            self._close_fragment()
        self._attachments.append(attachment)
        if self.init is not None:
            attachment.consumer.put(CaptureBegan(self.init))
            moment = anchor.monotonic if since is None else anchor.monotonic_at(since)
            held = self.preroll.since(moment + WALL_RESOLUTION_SECONDS)
            if each_frame:
                held = self._with_unjoined(held, newest=since is None)
            attachment.awaits_key_frame, attachment.begun = not held, bool(held)
            for captured in held:
                attachment.consumer.put(attrs.evolve(captured, anchor=anchor))
        self._hurry()

    def _with_unjoined(
        self, held: list[CapturedFragment], *, newest: bool
    ) -> list[CapturedFragment]:
        """Add the frames that are not joined yet; with `newest`, begin with the newest group."""
        rest = self._timed_unjoined()
        begins = bool(rest) and rest[0].fragment.starts_with_sync
        if begins and newest:
            return rest
        return [*held, *rest] if held or begins else []

    def _hurry(self) -> None:
        """Say whether frames have to be read at once."""
        hurried = any(each.hurries for each in self._attachments)
        if hurried is not self.hurried.value:
            self.hurried.publish(hurried)

    def _detach(self, attachment: Attachment) -> None:
        self.count(attachment, needs=False)
        if attachment in self._attachments:
            self._attachments.remove(attachment)
        self._hurry()

    def count(self, attachment: Attachment, *, needs: bool) -> None:
        """Count a consumer as demand, or stop counting it."""
        if self._closed or attachment.needs_capture is needs:
            return
        attachment.needs_capture = needs
        before = self.demand.value
        change = 1 if needs else -1
        self.demand.publish(
            TotalDemand(
                consumers=before.consumers + change,
                joined=before.joined + needs,
                grace_seconds=0.0 if needs else attachment.consumer.grace_seconds,
            )
        )

    def finish(self, attachment: Attachment) -> None:
        """End a consumer's input after the frames in flight; at once when no capture runs.

        These are the frames in the pipe, and the one that FFmpeg holds. When no other consumer
        needs the capture, its input ends with the capture.
        """
        self._close_fragment()
        attachment.finishing = True
        self.count(attachment, needs=False)
        if not self.capturing:
            self._end_input(attachment)
        self._hurry()

    def _end_input(self, attachment: Attachment) -> None:
        if attachment in self._attachments:
            self._attachments.remove(attachment)
            attachment.consumer.put(EndOfStream())
            self._hurry()

    def close(self) -> None:
        """End the demand for good, also that of attached consumers: the camera closes."""
        self._closed = True
        self.demand.publish(TotalDemand(joined=self.demand.value.joined))

    def _put(self, item: HubItem) -> None:
        for attachment in self._attachments:
            attachment.consumer.put(item)

    # --- the stream ---

    def look_at_clock(self) -> Anchor:
        """Take a new anchor; where the wall clock was set, every consumer gets a ClockStepped."""
        before, self._anchor = self._anchor, self.clock.anchor(self._anchor)
        if step := before.step_to(self._anchor):
            self._put(ClockStepped(step, self._anchor.wall))
        return self._anchor

    def expect(self) -> None:
        """Note that a capture starts; `end` follows."""
        self.capturing = True

    def begin(self, init: Init) -> None:
        """Take the header of a capture."""
        init = as_hvc1(init)
        self._reheader = Reheader(init)
        self._describe(init)
        self.began_at = self.clock.monotonic()
        self.source_clock.clear()
        self.warnings.publish(())
        self._joiner.begin(init)
        self._frame_times.begin()
        if self.timeline is not None:
            self.timeline.begin(init)
        self._put(CaptureBegan(init))

    def _describe(self, init: Init) -> None:
        """Take the format of the fragments that follow from their header."""
        self.init = init
        track = init.video
        video = VideoFormat(track.codec, track.width, track.height, 0.0)
        if self.video is None or attrs.evolve(self.video, fps=0.0) != video:
            self._pace = ArrivalRate()
        self.video = video

    def deliver(self, fragment: Fragment, arrived: float | None = None) -> CapturedFragment | None:
        """Take a frame, or a fragment of several; return the joined fragment that it completes.

        `arrived` is when its last frame arrived, in monotonic seconds; by default now.
        """
        hurried, watched = self.hurried.value, False
        for attachment in self._attachments if hurried else ():
            attachment.in_flight |= attachment.finishing
            watched |= attachment.consumer.each_frame
        fragment = with_moved_samples_put_back(fragment)
        needed = self._reheader.take(fragment) if self._reheader is not None else None
        if self._joiner.closes_before(fragment):
            self._close_fragment()
        if needed is not None:
            self._describe(needed)
        self._joiner.add(fragment, self.clock.monotonic() if arrived is None else arrived)
        closes = self._joiner.is_complete or (hurried and self._begins_somebody(fragment))
        alone = closes and len(self._joiner.unjoined) == 1
        if watched and not alone:
            self._give_frame()
        captured = self._close_fragment() if closes else None
        if watched and alone and captured is not None:
            self._give(captured, each_frame=True)
        if not self.fragment_seconds:
            self.caught_up(0.0)
        return captured

    def caught_up(self, seconds: float) -> float:
        """Note that all output of the capture is delivered; return in how many seconds to read on.

        Not later than in `seconds`, and earlier where a fragment is complete by then: a read costs
        less than another fragment.
        """
        left = self._joiner.seconds_left
        if left < min(seconds, SHORTEST_READ_SHARE * self.fragment_seconds):
            self._close_fragment()
        seconds = min(seconds, self._joiner.seconds_left)
        for attachment in tuple(self._attachments):
            if attachment.in_flight and self.demand.value.lasts:
                self._close_fragment()
                self._end_input(attachment)
        return seconds

    def _begins_somebody(self, fragment: Fragment) -> bool:
        """Whether a consumer waits for its first fragment, and this frame can be that."""
        waits = any(each.is_begun_by(fragment) for each in self._attachments)
        return waits and self._joiner.is_separable

    def _give_frame(self) -> None:
        """Give the newest frame to the consumers that take each."""
        before = len(self._unjoined)
        for captured in self._timed_unjoined()[before:]:
            self._give(captured, each_frame=True)

    def _timed_unjoined(self) -> list[CapturedFragment]:
        """Return the frames that are not joined yet, with the times that they have so far."""
        for each in self._joiner.unjoined[len(self._unjoined) :]:
            frame = self._frame_times.place(each.fragment)
            self._unjoined.append(self._captured(frame, each.arrived, self.look_at_clock()))
        return self._unjoined

    def _give(self, captured: CapturedFragment, *, each_frame: bool) -> None:
        for attachment in tuple(self._attachments):
            if attachment.consumer.each_frame is each_frame:
                attachment.take(captured)

    def _close_fragment(self) -> CapturedFragment | None:
        """Join the frames that are not joined yet, and hand the fragment on; None without any."""
        if not self._joiner.unjoined:
            return None
        joined = self._joiner.take()
        self._unjoined = []
        captured = self._timed(with_moved_samples_put_back(joined.fragment), joined.arrived)
        self._frame_times.follow_corrections()
        self.preroll.add(captured)
        self._measure(captured.fragment)
        self._give(captured, each_frame=False)
        self._hurry()
        return captured

    def end(self, ended: CaptureEnded) -> None:
        """End the capture: its process has ended, or could not be started."""
        self._close_fragment()
        self.capturing = False
        self.init = None
        self.began_at = None
        self.preroll.clear()
        self.source_clock.clear()
        self.warnings.publish(())
        for attachment in tuple(self._attachments):
            attachment.awaits_key_frame = False
            attachment.consumer.put(ended)
            if attachment.finishing:
                self._end_input(attachment)

    def _measure(self, fragment: Fragment) -> None:
        self.bytes_captured += fragment.size_bytes
        self.frames_captured += fragment.frames
        if self.video is None or fragment.duration_seconds <= 0:
            return
        self._pace = self._pace.after(fragment)
        self.video = attrs.evolve(self.video, fps=round(self._pace.fps, 3))
        self.bytes_per_second = self._pace.bytes_per_second

    def _warn(self) -> None:
        """Publish warnings about the source's time stamps and clock, in sentences for people."""
        fault = self.timeline.fault if self.timeline is not None else None
        texts = (fault.value if fault is not None else "", self.source_clock.warning)
        warnings = tuple(text for text in texts if text)
        if warnings != self.warnings.value:
            self.warnings.publish(warnings)

    def _timed(self, fragment: Fragment, arrived: float) -> CapturedFragment:
        """Give a fragment its wall time, by its arrival, and its place on the stream's timeline.

        The wall time that a source sends is shown in the status, and used for nothing else.
        """
        anchor = self.look_at_clock()
        if fragment.wall_micros is not None and self.timeline is not None:
            said = from_unix_micros(fragment.wall_micros)
            end = said + timedelta(seconds=fragment.duration_seconds)
            self.source_clock.look(end, anchor.wall_at(arrived))
        turned = vague = False
        if self.timeline is not None:
            before = self.timeline.faults
            fragment = self.timeline.place(fragment, arrived)
            turned, vague = self.timeline.turned, self.timeline.vague
            if self.timeline.faults != before and self.timeline.fault is not None:
                log.warning("time_stamps_corrected", fault=self.timeline.fault.name.lower())
            self._warn()
        return self._captured(fragment, arrived, anchor, turned=turned, vague=vague)

    def _captured(
        self,
        fragment: Fragment,
        arrived: float,
        anchor: Anchor,
        *,
        turned: bool = False,
        vague: bool = False,
    ) -> CapturedFragment:
        return CapturedFragment(
            fragment,
            arrived,
            anchor,
            init=self.init,
            placed=self.timeline is not None,
            turned=turned,
            vague=vague,
        )
