"""Find the frame that a recording shows at an instant, or say what is missing there and why."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import TypeVar

import attrs
import structlog
import trio

from camd.errors import FILE_NOT_FOUND, RECORDING_FAILED, STORAGE_UNRESPONSIVE, UNSUPPORTED, Refusal
from camd.ffmpeg.binary import FfmpegMissingError
from camd.model import CameraId, Gap, ReadableRecording, RecordingQuery, Segment, SegmentState
from camd.mp4.boxes import MediaError
from camd.mp4.frame_search import SamplesToFrame, find_frame_at, growing_frames
from camd.mp4.init import Init, read_init
from camd.mp4.inspect import HEAD_SIZE, read_segment_head, sealed_moov_offset, stored_samples
from camd.mp4.movies.decode_begin import recovery_of
from camd.mp4.movies.frame_movie import frame_movie
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM
from camd.snapshots.live_frame import FoundFrame
from camd.snapshots.mkv_frame import MkvFrames
from camd.storage.disk import DiskFile, PosixFile
from camd.storage.storage import Storage

log = structlog.get_logger("camd.snapshots")

T = TypeVar("T")

READ_SECONDS = 10.0
AT_A_TIME = 2  # threads that read
MOST_GROUP_BYTES = 64 * 1024 * 1024
_MOST_MOOV_BYTES = 256 * 1024 * 1024
_TRIES, _SYNC_SECONDS = 4, 0.5  # for footage that is being synced
_LONG_SHOWN = timedelta(seconds=1)  # then a frame may hide missing ones
_NOT_RECORDED = "not_recorded"
_READABLE = (SegmentState.SEALED, SegmentState.OPEN, SegmentState.INTERRUPTED)


@attrs.define(eq=False)
class PastFrames:
    """Reads frames of recordings, in threads of its own."""

    _storage: Storage
    _mkv: MkvFrames
    _threads: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, AT_A_TIME), init=False
    )

    async def find(self, camera_id: CameraId, at: datetime) -> FoundFrame:
        """Return the frame that was shown at an instant.

        Raises Refusal: −1005 with the cause and the nearest instants when nothing was recorded
        then, −32008 for a container that is not read, −1003 for a damaged file, or why the volume
        hangs.
        """
        for _ in range(_TRIES):
            segments = await self._segments(camera_id, at)
            for segment in segments:
                if (found := await self._read_leased(segment, at)) is not None:
                    await self._refuse_in_gap(camera_id, found, at)
                    return found
            if all(segment.state is not SegmentState.OPEN for segment in segments):
                raise await self._nothing(camera_id, at)
            await trio.sleep(_SYNC_SECONDS)  # it is recorded, and not durable yet
        raise await self._nothing(camera_id, at, "not_durable_yet")

    async def _refuse_in_gap(self, camera_id: CameraId, found: FoundFrame, at: datetime) -> None:
        """Refuse a frame that is only shown because those behind it are in the gap ledger."""
        if at - found.time > _LONG_SHOWN:
            refusal = await self._nothing(camera_id, at)
            if refusal.details["cause"] != _NOT_RECORDED:
                raise refusal

    async def _read_leased(self, segment: Segment, at: datetime) -> FoundFrame | None:
        if not segment.filename.endswith((".mp4", ".mkv")):
            raise Refusal(
                UNSUPPORTED,
                "Pictures of the past come from MP4 and MKV recordings",
                suggestion="Download the file.",
                camera_id=segment.camera_id,
                filename=segment.filename,
            )
        with self._storage.leased(segment.filename):
            return await self._read(segment, at)

    async def _segments(self, camera_id: CameraId, at: datetime) -> list[Segment]:
        page = await self._storage.list_recordings(
            RecordingQuery(
                limit=10, camera_id=camera_id, since=at, until=at + timedelta(microseconds=1)
            )
        )
        return [segment for segment in page.segments if segment.state in _READABLE]

    async def _read(self, segment: Segment, at: datetime) -> FoundFrame | None:
        try:
            file = await self._storage.stored_file(segment.filename)
        except Refusal as refusal:
            if refusal.kind is FILE_NOT_FOUND:
                return None
            raise
        try:
            if segment.filename.endswith(".mkv"):
                return await self._mkv.find(file.path, segment, at)
            return await self._bounded(partial(read_frame, file, segment, at))
        except (OSError, FfmpegMissingError) as error:
            raise Refusal(
                RECORDING_FAILED,
                f"FFmpeg cannot be run: {error}",
                camera_id=segment.camera_id,
                cause="ffmpeg_missing",
            ) from error
        except MediaError as error:
            log.warning("recording_unreadable", filename=segment.filename, error=str(error))
            raise Refusal(
                RECORDING_FAILED,
                f"The recording cannot be read there: {error}",
                suggestion="`camd verify` says what is wrong with the file.",
                camera_id=segment.camera_id,
                filename=segment.filename,
                cause="unreadable",
            ) from error

    async def _bounded(self, work: Callable[[], T]) -> T:
        with trio.move_on_after(READ_SECONDS):
            try:
                return await trio.to_thread.run_sync(
                    work, limiter=self._threads, abandon_on_cancel=True
                )
            except OSError as error:
                raise Refusal(STORAGE_UNRESPONSIVE, "The file cannot be read") from error
        raise Refusal(STORAGE_UNRESPONSIVE)

    async def _nothing(self, camera_id: CameraId, at: datetime, cause: str = "") -> Refusal:
        """Say why nothing is recorded at an instant, and where the nearest frames are."""
        until = at + timedelta(microseconds=1)
        gaps = await self._storage.gaps(
            RecordingQuery(limit=100, camera_id=camera_id, since=at, until=until)
        )
        before = await self._storage.list_recordings(
            RecordingQuery(limit=10, camera_id=camera_id, until=at)
        )
        after = await self._storage.index_worker.read(
            lambda index: index.database.next_start(camera_id, at)
        )
        ends = [segment.end for segment in before.segments if segment.state in _READABLE]
        refusal = nothing_recorded(camera_id, at, gaps.gaps, max(ends, default=None), after)
        refusal.details["cause"] = cause or refusal.details["cause"]
        return refusal


def nothing_recorded(
    camera_id: CameraId,
    at: datetime,
    gaps: tuple[Gap, ...],
    before: datetime | None,
    after: datetime | None,
) -> Refusal:
    """Make the refusal (−1005) for an instant without footage; `before` and `after` are nearest."""
    gap = next((gap for gap in gaps if gap.lost_footage and gap.start <= at < gap.end), None)
    cause = gap.cause.value if gap is not None else _NOT_RECORDED
    return Refusal(
        FILE_NOT_FOUND,
        "There is no picture of that instant",
        suggestion="Ask for an instant that was recorded; `camd timeline` shows them.",
        camera_id=camera_id,
        at=at,
        cause=cause,
        nearest_before=before,
        nearest_after=after,
    )


# --- reading; everything here may block


def read_frame(stored: ReadableRecording, segment: Segment, at: datetime) -> FoundFrame | None:
    """Read the frame of a recording that is shown at an instant; None where it has none.

    Raises OSError and MediaError.
    """
    # The recorder holds a lock on a file that grows, so `Disk.open` would refuse it.
    file = PosixFile(os.open(stored.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    try:
        begin = Fraction((at - segment.start) // timedelta(microseconds=1), 1_000_000)
        found = _place(file, stored.size_bytes, begin)
        if found is None:
            return None
        init, place = found
        if place.size_bytes > MOST_GROUP_BYTES:
            raise MediaError("the group of pictures is too large")
        samples = [
            file.read(offset, size) for offset, size in zip(place.offsets, place.sizes, strict=True)
        ]
        if any(len(sample) != size for sample, size in zip(samples, place.sizes, strict=True)):
            raise MediaError("the file is shorter than its tables say")
    finally:
        file.close()
    movie = frame_movie(init, samples, place.durations, place.composition)
    frame_key = (segment.filename, segment.start, place.shown_at)
    time = segment.start + timedelta(seconds=float(place.shown_at))
    return FoundFrame(time, frame_key, movie, samples[-1] if init.video.codec == "jpeg" else None)


def _place(file: DiskFile, size: int, seconds: Fraction) -> tuple[Init, SamplesToFrame] | None:
    head = file.read(0, HEAD_SIZE)
    moov_at = sealed_moov_offset(head)
    if moov_at is None:
        init, _ = read_segment_head(head)
        frames = growing_frames(file.read, init, HASHED_FROM, size, float(seconds))
    else:
        length = int.from_bytes(file.read(moov_at, 4), "big")
        if not 8 <= length <= _MOST_MOOV_BYTES:
            raise MediaError("the final moov has an impossible size")
        init = read_init(head[:FTYP_SIZE], file.read(moov_at, length))
        frames = stored_samples(init)
    place = find_frame_at(frames, seconds, recovery_of(init, frames, file.read))
    return None if place is None else (init, place)
