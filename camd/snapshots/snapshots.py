"""Snapshots as the rest of the daemon sees them: take a picture, or show one; find stored ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta

import attrs
import structlog
import trio

from camd.clock import Clock
from camd.config.schema import Config
from camd.errors import ParamMistake, Refusal, invalid_params
from camd.ffmpeg.binary import FFmpegBinary
from camd.ffmpeg.text.still_args import DEFAULT_QUALITY, PictureOptions
from camd.model import StoredSnapshot
from camd.snapshots.decoder import (
    DECODER_ENDED,
    PICTURE_TIMINGS,
    LaunchDecoder,
    PictureDecoder,
    PictureTimings,
    open_decoder,
)
from camd.snapshots.live_frame import FoundFrame, FrameSource, newest_frame
from camd.snapshots.mkv_frame import MkvFrames
from camd.snapshots.past_frame import PastFrames
from camd.snapshots.rules.expiry import SnapshotLimits
from camd.snapshots.rules.pictures import (
    PictureError,
    PictureNote,
    picture_size,
    standalone,
    with_note,
)
from camd.snapshots.snapshot_counters import SnapshotCounters
from camd.snapshots.snapshot_files import NewPicture, SnapshotFiles
from camd.storage.storage import Storage

log = structlog.get_logger("camd.snapshots")

MOST_TRIES = 4  # of frames that may need what came before their group


@attrs.frozen
class PictureRequest:
    """What picture is asked for.

    `quality` and `width` None: as the camera sends it, where that is a JPEG. `max_age` None: the
    newest frame. `at`: the frame of a recording that was shown then.
    """

    format: str = "jpg"
    quality: int | None = None
    width: int | None = None
    max_age: timedelta | None = None
    at: datetime | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether a frame that is a JPEG already will do."""
        return self.format == "jpg" and self.quality is None and self.width is None

    @property
    def options(self) -> PictureOptions:
        """The picture that FFmpeg has to make."""
        quality = DEFAULT_QUALITY if self.quality is None or self.format != "jpg" else self.quality
        return PictureOptions(self.format, quality, self.width)


@attrs.frozen
class Still:
    """A picture, the wall time of its frame (UTC), and how old that was at the answer."""

    picture: bytes = attrs.field(repr=False)
    time: datetime
    age: timedelta
    width: int
    height: int


@attrs.define(eq=False)
class Snapshots:
    """Takes pictures of cameras, and keeps them as files."""

    files: SnapshotFiles
    counters: SnapshotCounters
    _decoder: PictureDecoder
    _past: PastFrames
    _clock: Clock

    def reconfigure(self, config: Config) -> None:
        """Keep snapshots within other limits from now on."""
        self.files.limit(limits_of(config))

    async def show(self, source: FrameSource, request: PictureRequest) -> Still:
        """Make the picture of a frame; nothing is stored.

        Raises Refusal: −32006 when the camera delivers no such frame, −1005 when nothing was
        recorded at `at`, −1003 when the picture cannot be made, −32002 when too many are made.
        """
        with self._counting_failures(source):
            still = await self._make(source, request)
        self.counters.shown[source.camera_id] += 1
        return still

    async def take(
        self, source: FrameSource, request: PictureRequest, filename: str | None = None
    ) -> tuple[StoredSnapshot, Still]:
        """Make a picture and store it durably.

        `filename` is complete and valid (`read_name`); None: camd names the file. Raises Refusal
        as `show` and `SnapshotFiles.store` do.
        """
        with self._counting_failures(source):
            still = await self._make(source, request)
            note = PictureNote(source.camera_id, still.time)
            stored = await self.files.store(
                NewPicture(
                    with_note(still.picture, note),
                    source.camera_id,
                    still.time,
                    request.format,
                    filename,
                )
            )
        self.counters.taken[source.camera_id] += 1
        log.info("snapshot_taken", camera=source.camera_id, filename=stored.filename)
        return stored, attrs.evolve(still, age=self._clock.now() - still.time)

    @contextmanager
    def _counting_failures(self, source: FrameSource) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self.counters.fail(source.camera_id, refusal)
            raise

    async def _make(self, source: FrameSource, request: PictureRequest) -> Still:
        for left in reversed(range(MOST_TRIES)):
            frame = await self._frame(source, request)
            try:
                picture = await self._picture(source, request, frame)
                break
            except Refusal as refusal:
                if not (left and frame.uncertain and refusal.details.get("cause") == DECODER_ENDED):
                    raise
                request = attrs.evolve(request, max_age=timedelta(0))  # the next one
        width, height = picture_size(picture)
        return Still(picture, frame.time, self._clock.now() - frame.time, width, height)

    async def _frame(self, source: FrameSource, request: PictureRequest) -> FoundFrame:
        if request.at is None:
            return await newest_frame(source, max_age=request.max_age, clock=self._clock)
        if request.at > self._clock.now():
            raise invalid_params(ParamMistake("at", "must not be in the future"))
        return await self._past.find(source.camera_id, request.at)

    async def _picture(
        self, source: FrameSource, request: PictureRequest, frame: FoundFrame
    ) -> bytes:
        if frame.sample is not None and request.as_it_is:
            try:
                picture = standalone(frame.sample)
                _ = picture_size(picture)
                return picture
            except PictureError as error:
                log.debug("sample_not_usable", camera=source.camera_id, why=str(error))
        return await self._decoder.decode(
            frame.frame_key, frame.movie, request.options, camera_id=source.camera_id
        )


def limits_of(config: Config) -> SnapshotLimits:
    """Return the limits that a configuration sets."""
    kept = config.snapshots
    return SnapshotLimits(kept.max_age, kept.max_size, kept.max_count)


@asynccontextmanager
async def open_snapshots(
    config: Config,
    storage: Storage,
    find_program: Callable[[], Awaitable[FFmpegBinary]],
    *,
    clock: Clock,
    launch: LaunchDecoder | None = None,
    timings: PictureTimings = PICTURE_TIMINGS,
) -> AsyncIterator[Snapshots]:
    """Take snapshots while the block runs, and keep the folder within its limits."""
    files = SnapshotFiles(config.storage.snapshots_dir, limits_of(config), storage, clock)
    counters = SnapshotCounters()
    async with (
        open_decoder(
            find_program, launch=launch, decodes=counters.decodes, timings=timings
        ) as decoder,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(files.serve)
        past = PastFrames(storage, MkvFrames(find_program, seconds=timings.copy_seconds))
        yield Snapshots(files, counters, decoder, past, clock)
        nursery.cancel_scope.cancel()
