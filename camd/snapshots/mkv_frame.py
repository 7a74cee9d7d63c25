"""Find the frame that an MKV recording shows at an instant.

camd reads no Matroska. FFmpeg copies the group of pictures around the instant as fragmented MP4,
bounded in bytes and time; the rest is as with an MP4 recording. MKV times are whole milliseconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path

import attrs
import trio

from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.text.encoder_table import Arguments
from camd.ffmpeg.text.excerpt_args import excerpt_arguments, first_frame_arguments
from camd.model import Segment
from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, FragmentReader
from camd.mp4.frame_search import append_samples, empty_samples, find_frame_at
from camd.mp4.init import Init
from camd.mp4.inspect import StoredSamples
from camd.mp4.movies.frame_movie import frame_movie
from camd.runtime.query_process import run_program
from camd.snapshots.live_frame import FoundFrame

AT_A_TIME = 2  # FFmpeg processes that read
MOST_EXCERPT_BYTES = 64 * 1024 * 1024
_REORDERED = Fraction(1, 2)  # seconds behind the instant: frames that are shown before come later
_ROUNDING = Fraction(1, 2000)


@attrs.frozen
class Excerpt:
    """Some frames of a file: `begin` is the time of the first one, in seconds of the file."""

    begin: Fraction
    init: Init
    frames: StoredSamples
    data: bytes = attrs.field(repr=False)  # offsets of `frames` count from its start


@attrs.define(eq=False)
class MkvFrames:
    """Reads frames of MKV recordings by FFmpeg processes."""

    _find_program: Callable[[], Awaitable[FFmpegBinary]]
    _seconds: float = attrs.field(kw_only=True)  # for each of the two processes
    _most_bytes: int = attrs.field(default=MOST_EXCERPT_BYTES, kw_only=True)
    _reading: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, AT_A_TIME), init=False
    )

    async def find(self, path: Path, segment: Segment, at: datetime) -> FoundFrame | None:
        """Return the frame that is shown at an instant; None where the file has none.

        Raises MediaError when FFmpeg cannot read it within its bounds, OSError and
        FfmpegMissingError when FFmpeg cannot be run.
        """
        program = str((await self._find_program()).path)
        since_start = Fraction((at - segment.start) // timedelta(microseconds=1), 1_000_000)
        async with self._reading:
            first = await self._read(first_frame_arguments(program, path))
            wanted = first.begin + since_start + _ROUNDING
            arguments = excerpt_arguments(program, path, wanted, wanted + _REORDERED)
            found = await self._read(arguments)
        return frame_in(found, segment, wanted - found.begin, found.begin - first.begin)

    async def _read(self, arguments: Arguments) -> Excerpt:
        answer = await run_program(arguments, self._seconds, self._most_bytes)
        if answer.flooded:
            raise MediaError("the group of pictures is too large")
        if answer.status is None:
            raise MediaError(f"FFmpeg did not read it within {self._seconds:g} s")
        if answer.status != 0:
            raise MediaError(f"FFmpeg cannot read it (exit status {answer.status})")
        return await trio.to_thread.run_sync(read_excerpt, answer.output)


def read_excerpt(data: bytes) -> Excerpt:
    """Read what FFmpeg has copied. Raises MediaError."""
    init: Init | None = None
    fragments: list[Fragment] = []
    for event in FragmentReader().feed(data):
        if isinstance(event, Init):
            init = event
        else:
            fragments.append(event)
    runs = [fragment.video for fragment in fragments if fragment.video is not None]
    if init is None or not runs:
        raise MediaError("there are no frames")
    frames, start = empty_samples(init.video), 0
    for fragment in fragments:
        if fragment.video is not None:
            append_samples(frames, start - len(fragment.moof), fragment.video)
        start += len(fragment.mdat)
    media = b"".join(fragment.mdat for fragment in fragments)
    frames = attrs.evolve(frames, sync=b"".join(run.sync for run in runs))
    shown = runs[0].decode_time + frames.composition[0]
    return Excerpt(Fraction(shown, init.video.timescale), init, frames, media)


def frame_in(
    found: Excerpt, segment: Segment, seconds: Fraction, skipped: Fraction
) -> FoundFrame | None:
    """Return the frame that is shown `seconds` after the first one of an excerpt.

    The excerpt begins `skipped` seconds after the file's first frame. Its last frame is shown as
    long as the file goes on.
    """
    frames, timescale = found.frames, found.init.video.timescale
    lasting = array("I", frames.durations)
    lasting[-1] = max(lasting[-1], round((seconds + 1) * timescale))
    place = find_frame_at(attrs.evolve(frames, durations=lasting), seconds)
    if place is None:
        return None
    samples = [
        found.data[at : at + size] for at, size in zip(place.offsets, place.sizes, strict=True)
    ]
    shown_at = skipped + place.shown_at
    time = segment.start + timedelta(seconds=float(shown_at))
    jpeg = samples[-1] if found.init.video.codec == "jpeg" else None
    movie = frame_movie(found.init, samples, place.durations, place.composition)
    return FoundFrame(time, (segment.filename, segment.start, shown_at), movie, jpeg)
