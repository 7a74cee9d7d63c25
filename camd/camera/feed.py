"""What one camera delivers right now, and to whom: the fan-out of the data plane.

Holds the latest fragments, back to the last key frame at least, so that a session begins in the
past rather than at the next key frame.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from camd.camera.preroll import Ring
from camd.camera.queue import Captured, CaptureQueue, ClockStepped, RunBegan, RunEnded
from camd.camera.steps import ClockWatch
from camd.clock import from_unix_micros, monotonic, now
from camd.media.fragments import Fragment, Init
from camd.model import VideoFormat

GOP_LIMIT_BYTES = 32 * 1024 * 1024
RATE_SHARE = 0.1  # how much one fragment moves the measured rates


@attrs.define(eq=False)
class Feed:
    """The camera's stream: its format, its latest footage, its consumers."""

    ring: Ring = attrs.field(factory=lambda: Ring(0.0, GOP_LIMIT_BYTES))
    init: Init | None = attrs.field(default=None, init=False)
    video: VideoFormat | None = attrs.field(default=None, init=False)
    bytes_captured: int = attrs.field(default=0, init=False)
    bytes_per_second: float | None = attrs.field(default=None, init=False)
    began_at: float | None = attrs.field(default=None, init=False)  # monotonic seconds
    _clock: ClockWatch = attrs.field(factory=ClockWatch, init=False)
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
        queue.put(RunBegan(self.init))
        held = self.ring.since(wall if since is None else since)
        if not held:
            self._waiting.append(queue)
        for captured in held:
            queue.put(captured)
        return sum(captured.fragment.frames for captured in held)

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
        self.init = init
        track = init.video
        self.video = VideoFormat(track.codec, track.width, track.height, 0.0)
        self.began_at = monotonic()
        for queue in self._queues:
            queue.put(RunBegan(init))

    def deliver(self, fragment: Fragment) -> Captured:
        """Hand a fragment to every consumer."""
        captured = self._timed(fragment)
        self.ring.add(captured)
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
        self.ring.clear()
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
        end = self._clock.corrected(from_unix_micros(fragment.wall_micros) + length)
        return Captured(fragment, end - length, end)
