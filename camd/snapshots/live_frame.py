"""Wait for the frame of a running capture that a snapshot shows, and say why when none comes."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import trio

from camd.capture.hub import StreamHub
from camd.clock import Clock
from camd.errors import SOURCE_UNAVAILABLE, UNSUPPORTED, Refusal
from camd.model import CameraId, CameraState, CameraStatus, Problem
from camd.model.problems import NO_PICTURE_YET, STALLED
from camd.mp4.boxes import MediaError
from camd.mp4.h26x.leading_pictures import begins_anew
from camd.mp4.init import Init
from camd.mp4.movies.frame_movie import frame_movie
from camd.runtime.broadcast import LatestValue
from camd.snapshots.newest_gop import NewestGop
from camd.snapshots.rules.frame_choice import SETTLING, FrameDemand, frames_of, samples_of

START_SECONDS = 20.0  # for the first frame of a capture that has to be started
NEXT_SECONDS = 5.0  # for a newer frame of one that runs
SETTLING_SECONDS = 1.5  # the exposure is awaited so long, then any frame is taken
_NO_PROCESS_SECONDS = 0.5  # without a process: then none will be started

_WITH_PROCESS = (CameraState.STARTING, CameraState.STREAMING, CameraState.STOPPING)


@attrs.frozen
class FrameSource:
    """A camera as a snapshot sees it: its stream, and what it publishes."""

    camera_id: CameraId
    hub: StreamHub
    published: LatestValue[CameraStatus]


@attrs.frozen
class FoundFrame:
    """One frame with all that is needed to decode it. `time` is its wall time, UTC.

    `frame_key` identifies it. `sample` is the frame itself where it is a JPEG; then `movie` is not
    needed unless another picture is made of it. `uncertain`: the movie begins with a key frame that
    may refer to what came before, so that FFmpeg may show nothing of the first few frames.
    """

    time: datetime
    frame_key: tuple[object, ...]
    movie: bytes = attrs.field(repr=False)
    sample: bytes | None = attrs.field(default=None, repr=False)
    uncertain: bool = False


async def newest_frame(
    source: FrameSource, *, max_age: timedelta | None, clock: Clock
) -> FoundFrame:
    """Return a frame that is no older than `max_age` now; None: the newest one.

    The capture is started where none runs. Raises Refusal (−32006) with the camera's problem when
    no such frame comes in time: a stalled camera's last frame is not a new one.
    """
    gop = NewestGop()
    search = _FrameSearch(source, gop, clock, clock.now(), max_age)
    async with source.hub.attach(gop), trio.open_nursery() as nursery:
        nursery.start_soon(search.watch_process, nursery.cancel_scope)
        with trio.move_on_after(NEXT_SECONDS if gop.fragments else START_SECONDS):
            await search.run()
        nursery.cancel_scope.cancel()
    if search.found is None:
        raise search.refusal()
    return search.found


@attrs.define(eq=False)
class _FrameSearch:
    source: FrameSource
    gop: NewestGop
    clock: Clock
    asked: datetime
    max_age: timedelta | None
    found: FoundFrame | None = attrs.field(default=None, init=False)
    _problem: Problem | None = attrs.field(default=None, init=False)
    _delivered: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        """Wait for a frame that will do, or for the failure of the capture."""
        dark_until = self.clock.monotonic() + SETTLING_SECONDS
        while True:
            self._delivered |= bool(self.gop.fragments)
            settling = self.clock.monotonic() < dark_until
            self.found = self._choose(settled=self._settled_at() if settling else None)
            if self.found is not None or self.gop.failed is not None:
                return
            dark = self._choose(settled=None) is not None
            with trio.move_on_after(max(0.0, dark_until - self.clock.monotonic()) if dark else 60):
                await self.gop.wait_changed()

    def _settled_at(self) -> datetime | None:
        """Return when the pictures of a live source that was just opened are no longer dark."""
        hub = self.source.hub
        if hub.timeline is None or hub.began_at is None:
            return None
        running = timedelta(seconds=self.clock.monotonic() - hub.began_at)
        return self.clock.now() - running + SETTLING

    def _choose(self, *, settled: datetime | None) -> FoundFrame | None:
        group = self.gop.fragments
        init = group[0].init or self.gop.init if group else None
        if init is None:
            return None
        since = None if self.max_age is None else self.asked - self.max_age
        frames, intra_only = frames_of(group), init.video.intra_only
        number = FrameDemand(self.asked, since, settled).choose(frames, intra_only=intra_only)
        if number is None:
            return None
        whole = samples_of(group, number + 1)
        first = number if intra_only else 0
        movie = frame_movie(
            init, whole.samples[first:], whole.durations[first:], whole.composition[first:]
        )
        time = frames[number].time
        sample = bytes(whole.samples[number]) if init.video.codec == "jpeg" else None
        frame_key = (self.source.camera_id, time, len(movie))
        uncertain = not intra_only and not _begins_anew(init, bytes(whole.samples[0]))
        return FoundFrame(time, frame_key, movie, sample, uncertain)

    async def watch_process(self, scope: trio.CancelScope) -> None:
        """End the search when the camera has no process, and is not about to start one."""
        published = self.source.published
        while True:
            await published.wait_until(lambda status: status.state not in _WITH_PROCESS)
            with trio.move_on_after(_NO_PROCESS_SECONDS):
                await published.wait_until(lambda status: status.state in _WITH_PROCESS)
            if published.value.state not in _WITH_PROCESS:
                self._problem = published.value.problem
                scope.cancel()

    def refusal(self) -> Refusal:
        """Say why there is no frame: by the camera's problem, where it has one."""
        problem = self._problem or self.source.published.value.problem
        if problem is None:
            problem = STALLED if self._delivered else NO_PICTURE_YET
        message = problem.message
        if self.gop.failed is not None and self.gop.failed.reason:
            message = self.gop.failed.reason
        return Refusal(
            UNSUPPORTED if problem.possible else SOURCE_UNAVAILABLE,
            message,
            suggestion=problem.suggestion,
            camera_id=self.source.camera_id,
            cause=problem.kind,
        )


def _begins_anew(init: Init, key_frame: bytes) -> bool:
    try:
        return begins_anew(init, key_frame)
    except MediaError:
        return False
