"""Choose the frame that a snapshot shows, from a group of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from camd.capture.consumer import CapturedFragment
from camd.mp4.movies.frame_movie import presentation_times

# Exposure of a camera that was just opened; its first frames are dark.
SETTLING = timedelta(seconds=0.5)
# A frame that is older, or older than two intervals of a slow camera, is not called new.
LONGEST_AGE = timedelta(seconds=5)


@attrs.frozen
class GroupFrame:
    """One frame of a group: its wall time (UTC), and how long it is shown."""

    time: datetime
    duration: timedelta


@attrs.frozen
class FrameSamples:
    """All video samples of a group of pictures, in decode order; see `frame_movie`."""

    samples: tuple[memoryview, ...] = attrs.field(repr=False)
    durations: tuple[int, ...] = attrs.field(repr=False)
    composition: tuple[int, ...] = attrs.field(repr=False)


def frames_of(group: Sequence[CapturedFragment]) -> list[GroupFrame]:
    """Time the frames of a group that begins with a key frame, in decode order.

    The first frame of the group is shown at its fragment's start; frames that are reordered keep
    their distance from it.
    """
    found: list[GroupFrame] = []
    first_offset = 0
    for captured in group:
        run = captured.fragment.video
        if run is None:
            continue
        if not found and run.composition:
            first_offset = run.composition[0]
        ticks = presentation_times(run.durations, run.composition or (first_offset,) * run.count)
        found += [
            GroupFrame(
                captured.start + timedelta(seconds=(shown - first_offset) / run.timescale),
                timedelta(seconds=duration / run.timescale),
            )
            for shown, duration in zip(ticks, run.durations, strict=True)
        ]
    return found


def samples_of(group: Sequence[CapturedFragment], count: int) -> FrameSamples:
    """Take the first `count` video samples of a group, without copying them."""
    samples: list[memoryview] = []
    durations: list[int] = []
    composition: list[int] = []
    for captured in group:
        fragment = captured.fragment
        if fragment.video is None:
            continue
        data = memoryview(fragment.mdat)
        samples += [data[at : at + size] for at, size in fragment.video_samples()]
        durations += fragment.video.durations
        composition += fragment.video.composition or [0] * fragment.video.count
    return FrameSamples(
        tuple(samples[:count]), tuple(durations[:count]), tuple(composition[:count])
    )


@attrs.frozen
class FrameDemand:
    """Which frames will do.

    `since`: frames from then on; the first one in decode order is the cheapest. None: the newest
    one, unless it is too old at `asked`. `settled`: earlier frames may be dark; None: they are not.
    """

    asked: datetime
    since: datetime | None = None
    settled: datetime | None = None

    def choose(self, frames: Sequence[GroupFrame], *, intra_only: bool = False) -> int | None:
        """Return the number of the frame to show; None when none will do.

        Frames that are shown before the first one, a key frame, may need what came before it. Where
        every frame is a key frame (`intra_only`), the newest one costs no more.
        """
        fit = [
            number
            for number, frame in enumerate(frames)
            if self._will_do(frame) and frame.time >= frames[0].time
        ]
        if not fit:
            return None
        if self.since is not None and not intra_only:
            return fit[0]
        return max(fit, key=lambda number: frames[number].time)

    def _will_do(self, frame: GroupFrame) -> bool:
        if self.settled is not None and frame.time < self.settled:
            return False
        if self.since is not None:
            return frame.time >= self.since
        return frame.time >= self.asked - max(LONGEST_AGE, 2 * frame.duration)
