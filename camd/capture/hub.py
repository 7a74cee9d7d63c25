"""What one camera delivers right now, and to whom: the fan-out of the data plane.

Holds the latest fragments, back to the last key frame at least, so that a session begins in the
past rather than at the next key frame.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import structlog

from camd.capture.consumer import (
    CaptureBegan,
    CapturedFragment,
    CaptureEnded,
    CaptureQueue,
    ClockStepped,
)
from camd.capture.rules.clocks import ClockStepDetector, SourceClock
from camd.capture.rules.preroll import PrerollBuffer
from camd.capture.rules.timestamps import StreamTimeline
from camd.clock import from_unix_micros, monotonic, now
from camd.model import VideoFormat
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.reheader import Reheader, sets_in_header
from camd.mp4.restamp import in_place
from camd.runtime.broadcast import Published

log = structlog.get_logger("camd.camera")

GOP_LIMIT_BYTES = 32 * 1024 * 1024
RATE_SHARE = 0.1  # how much one fragment moves the measured rates


@attrs.frozen
class ArrivalRate:
    """How much comes in how long, on average over the latest fragments.

    Both are averaged, and not their ratio: the last fragment of a child may be a frame that lasts
    no time, and is no reason to believe in hundreds of frames a second.
    """

    size_bytes: float = 0.0
    frames: float = 0.0
    seconds: float = 0.0

    def after(self, fragment: Fragment) -> ArrivalRate:
        """Take a fragment into account."""
        share = RATE_SHARE if self.seconds else 1.0
        return ArrivalRate(
            self.size_bytes + share * (fragment.size_bytes - self.size_bytes),
            self.frames + share * (fragment.frames - self.frames),
            self.seconds + share * (fragment.duration_seconds - self.seconds),
        )

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes a second."""
        return self.size_bytes / self.seconds


@attrs.define(eq=False)
class StreamHub:
    """The camera's stream: its format, its latest footage, its consumers.

    `timeline` is for live sources, whose stamps another clock makes; without it they are kept.
    """

    ring: PrerollBuffer = attrs.field(factory=lambda: PrerollBuffer(0.0, GOP_LIMIT_BYTES))
    timeline: StreamTimeline | None = None
    source_clock: SourceClock = attrs.field(factory=SourceClock, init=False)
    warnings: Published[tuple[str, ...]] = attrs.field(factory=lambda: Published(()), init=False)
    init: Init | None = attrs.field(default=None, init=False)
    video: VideoFormat | None = attrs.field(default=None, init=False)
    bytes_captured: int = attrs.field(default=0, init=False)
    bytes_per_second: float | None = attrs.field(default=None, init=False)
    began_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    _pace: ArrivalRate = attrs.field(factory=ArrivalRate, init=False)
    _reheader: Reheader | None = attrs.field(default=None, init=False)
    _clock: ClockStepDetector = attrs.field(factory=ClockStepDetector, init=False)
    _queues: list[CaptureQueue] = attrs.field(factory=list, init=False)
    _waiting: list[CaptureQueue] = attrs.field(factory=list, init=False)  # for a key frame

    @property
    def queues(self) -> tuple[CaptureQueue, ...]:
        """Which queues are being filled."""
        return tuple(self._queues)

    def attach(self, queue: CaptureQueue, since: datetime | None = None) -> int:
        """Fill `queue` from the last key frame before `since` on, by default before now.

        Returns the frames it begins with. Where that key frame is not held any more, it begins
        with the oldest one that is, and where none is, with the next one.
        """
        wall = self.look_at_clock()
        self._queues.append(queue)
        if self.init is None:
            return 0
        queue.put(CaptureBegan(self.init))
        held = self.ring.since(wall if since is None else since)
        if not held:
            self._waiting.append(queue)
        for captured in held:
            queue.put(captured)
        return sum(captured.fragment.frames for captured in held)

    def awaits_key_frame(self, queue: CaptureQueue) -> bool:
        """Whether `queue` gets nothing before the next key frame."""
        return queue in self._waiting

    def detach(self, queue: CaptureQueue) -> None:
        """Stop filling `queue`."""
        for queues in (self._queues, self._waiting):
            if queue in queues:
                queues.remove(queue)

    def look_at_clock(self) -> datetime:
        """Return the wall time; when it was set, everybody who is attached is told first."""
        before = monotonic()
        wall = now()
        if step := self._clock.look(before, wall, monotonic()):
            self.ring.move(step)
            for queue in self._queues:
                queue.put(ClockStepped(step, wall))
        return wall

    def begin(self, init: Init) -> None:
        """A new child delivers."""
        init = sets_in_header(init)
        self._reheader = Reheader(init)
        self._describe(init)
        self.began_at = monotonic()
        self.source_clock.clear()
        self.warnings.publish(())
        if self.timeline is not None:
            self.timeline.begin(init)
        for queue in self._queues:
            queue.put(CaptureBegan(init))

    def _describe(self, init: Init) -> None:
        """From here on, pictures are what this header says."""
        self.init = init
        track = init.video
        video = VideoFormat(track.codec, track.width, track.height, 0.0)
        if self.video is None or attrs.evolve(self.video, fps=0.0) != video:
            self._pace = ArrivalRate()
        self.video = video

    def deliver(self, fragment: Fragment, arrived: float | None = None) -> CapturedFragment:
        """Hand a fragment to every consumer.

        `arrived` is when its last frame was there, in monotonic seconds; by default now.
        """
        fragment = in_place(fragment)
        if self._reheader is not None and (init := self._reheader.take(fragment)):
            self._describe(init)
        captured = self._timed(fragment, monotonic() if arrived is None else arrived)
        captured, fragment = attrs.evolve(captured, init=self.init), captured.fragment
        self.ring.add(captured)
        self._measure(fragment)
        if fragment.starts_with_sync:
            self._waiting.clear()
        for queue in self._queues:
            if queue not in self._waiting:
                queue.put(captured)
        return captured

    def end(self, ended: CaptureEnded) -> None:
        """The child is gone."""
        self.init = None
        self.began_at = None
        self._waiting.clear()
        self.ring.clear()
        self.source_clock.clear()
        self.warnings.publish(())
        for queue in self._queues:
            queue.put(ended)

    def _measure(self, fragment: Fragment) -> None:
        self.bytes_captured += fragment.size_bytes
        if self.video is None or fragment.duration_seconds <= 0:
            return
        self._pace = self._pace.after(fragment)
        self.video = attrs.evolve(self.video, fps=round(self._pace.fps, 3))
        self.bytes_per_second = self._pace.bytes_per_second

    def _warn(self) -> None:
        """Say what is wrong with the times that the source gives, in sentences for people."""
        fault = self.timeline.fault if self.timeline is not None else None
        told = (fault.value if fault is not None else "", self.source_clock.warning)
        warnings = tuple(text for text in told if text)
        if warnings != self.warnings.value:
            self.warnings.publish(warnings)

    def _timed(self, fragment: Fragment, arrived: float) -> CapturedFragment:
        """Say when a fragment's frames were there, by its arrival, and when they are played.

        What a source says about wall time is shown, and used for nothing.
        """
        wall = self.look_at_clock()
        end = wall - timedelta(seconds=max(0.0, monotonic() - arrived))
        if fragment.wall_micros is not None and self.timeline is not None:
            said = from_unix_micros(fragment.wall_micros)
            self.source_clock.look(said + timedelta(seconds=fragment.duration_seconds), end)
        turned = spread = False
        if self.timeline is not None:
            before = self.timeline.faults
            fragment = self.timeline.place(fragment, arrived)
            turned, spread = self.timeline.turned, self.timeline.spread
            if self.timeline.faults != before and self.timeline.fault is not None:
                log.warning("time_stamps_corrected", fault=self.timeline.fault.name.lower())
            self._warn()
        start = end - timedelta(seconds=fragment.duration_seconds)
        placed = self.timeline is not None
        return CapturedFragment(fragment, start, end, placed=placed, turned=turned, spread=spread)
