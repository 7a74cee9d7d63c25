"""What one camera delivers right now, and to whom: the fan-out of the data plane.

Holds the fragments since the last key frame, so that a session begins in the past rather than
at the next key frame.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.camera.queue import Captured, CaptureQueue, ClockStepped, RunBegan, RunEnded
from camd.camera.steps import ClockWatch
from camd.clock import from_unix_micros, monotonic, now
from camd.media.fragments import Fragment, Init
from camd.model import VideoFormat

GOP_LIMIT_BYTES = 32 * 1024 * 1024
RATE_SHARE = 0.1  # how much one fragment moves the measured rates


@attrs.define(eq=False)
class Feed:
    """The camera's stream: its format, its last GOP, its consumers."""

    init: Init | None = attrs.field(default=None, init=False)
    video: VideoFormat | None = attrs.field(default=None, init=False)
    bytes_captured: int = attrs.field(default=0, init=False)
    bytes_per_second: float | None = attrs.field(default=None, init=False)
    began_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    _gop: list[Captured] = attrs.field(factory=list, init=False)
    _gop_bytes: int = attrs.field(default=0, init=False)
    _clock: ClockWatch = attrs.field(factory=ClockWatch, init=False)
    _queues: list[CaptureQueue] = attrs.field(factory=list, init=False)
    _waiting: list[CaptureQueue] = attrs.field(factory=list, init=False)  # for a key frame

    @property
    def queues(self) -> tuple[CaptureQueue, ...]:
        """Which queues are being filled."""
        return tuple(self._queues)

    def attach(self, queue: CaptureQueue) -> int:
        """Fill `queue` from the last key frame on; returns the frames it begins with.

        Where the last key frame is not held any more, it begins with the next one.
        """
        self._queues.append(queue)
        if self.init is not None:
            queue.put(RunBegan(self.init))
            if not self._gop:
                self._waiting.append(queue)
            for captured in self._gop:
                queue.put(captured)
        return sum(captured.fragment.frames for captured in self._gop)

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
            self._gop = [captured.moved(step) for captured in self._gop]
            for queue in self._queues:
                queue.put(ClockStepped(step, wall))
        return wall

    def begin(self, init: Init) -> None:
        """A new child delivers."""
        self.init = init
        track = init.video
        self.video = VideoFormat(track.codec, track.width, track.height, 0.0)
        self.began_at = monotonic()
        for queue in self._queues:
            queue.put(RunBegan(init))

    def deliver(self, fragment: Fragment) -> Captured:
        """Hand a fragment to every consumer."""
        captured = self._timed(fragment)
        if fragment.starts_with_sync or self._gop_bytes > GOP_LIMIT_BYTES:
            self._gop, self._gop_bytes = [], 0
        if fragment.starts_with_sync or self._gop:
            self._gop.append(captured)
            self._gop_bytes += fragment.size_bytes
        self._measure(fragment)
        if fragment.starts_with_sync:
            self._waiting.clear()
        for queue in self._queues:
            if queue not in self._waiting:
                queue.put(captured)
        return captured

    def end(self, ended: RunEnded) -> None:
        """The child is gone."""
        self.init = None
        self.began_at = None
        self._waiting.clear()
        self._gop, self._gop_bytes = [], 0
        for queue in self._queues:
            queue.put(ended)

    def _measure(self, fragment: Fragment) -> None:
        self.bytes_captured += fragment.size_bytes
        seconds = fragment.duration_seconds
        if self.video is None or seconds <= 0:
            return
        fps = fragment.frames / seconds
        rate = fragment.size_bytes / seconds
        if self.video.fps == 0.0:
            self.video = attrs.evolve(self.video, fps=round(fps, 3))
        else:
            smooth = self.video.fps + RATE_SHARE * (fps - self.video.fps)
            self.video = attrs.evolve(self.video, fps=round(smooth, 3))
        old = self.bytes_per_second
        self.bytes_per_second = rate if old is None else old + RATE_SHARE * (rate - old)

    def _timed(self, fragment: Fragment) -> Captured:
        """Say when a fragment's frames were there: by its own reference, else by its arrival."""
        length = timedelta(seconds=fragment.duration_seconds)
        wall = self.look_at_clock()
        if fragment.wall_micros is None:
            return Captured(fragment, wall - length, wall)
        start = self._clock.corrected(from_unix_micros(fragment.wall_micros))
        return Captured(fragment, start, start + length)
