"""Answers for those who watch recordings: time lines, ranges with their pieces, and bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import attrs
import trio

from camd.errors import FILE_NOT_FOUND, ParamMistake, Refusal, invalid_params
from camd.ffmpeg.binary import FFmpegBinary
from camd.model import CameraId
from camd.model.timeline import Timeline, TimelineSpan
from camd.playback.rules.playable_files import (
    FilePieces,
    PlayableFile,
    PlayableRange,
    choose_pieces,
)
from camd.playback.stored_bytes import THREADS, StoredBytes
from camd.playback.stored_pieces import StoredPieces
from camd.playback.strip import StripMaker
from camd.storage.index.timeline_query import MOST_SPANS
from camd.storage.storage import GrowingSegment, Storage

LONGEST_RANGE = timedelta(hours=24)


@attrs.define(eq=False)
class Playback:
    """Reads recordings; keeps the places of their pieces, and some strips, and nothing else."""

    _storage: Storage
    _find_program: Callable[[], Awaitable[FFmpegBinary]]
    pieces: StoredPieces = attrs.field(init=False)
    strips: StripMaker = attrs.field(init=False)

    _threads: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, THREADS), init=False
    )

    def __attrs_post_init__(self) -> None:
        self.pieces = StoredPieces(self._storage)
        self.strips = StripMaker(self._storage, self.pieces, self._find_program)

    async def knows(self, camera_id: CameraId) -> bool:
        """Return whether anything was recorded of a camera that may be gone. Raises Refusal."""
        return await self._storage.index_worker.read(
            lambda index: index.database.knows_camera(camera_id)
        )

    async def timeline(self, camera_id: CameraId, since: datetime, until: datetime) -> Timeline:
        """Return what is recorded of a range, and what is missing. Raises Refusal.

        `since` is before `until`. A recording that goes on ends where its newest frame does.
        """
        searching = self._storage.searching  # before it is read
        found = await self._storage.index_worker.read(
            lambda index: index.database.timelines.timeline(camera_id, since, until), timed=True
        )
        growing = {
            name: each
            for name, each in self._storage.growing_segments.items()
            if each.segment.camera_id == camera_id
        }
        return attrs.evolve(with_growing(found, growing), searching=searching)

    async def range(self, camera_id: CameraId, since: datetime, until: datetime) -> PlayableRange:
        """Return the files of a range, at most LONGEST_RANGE, with their pieces. Raises Refusal."""
        if until - since > LONGEST_RANGE:
            raise invalid_params(ParamMistake("to", "must be at most 24 hours after from"))
        timeline = await self.timeline(camera_id, since, until)
        if any(span.merged > 1 for span in timeline.spans):
            message = f"holds more than {MOST_SPANS} files: ask for a shorter range"
            raise invalid_params(ParamMistake("to", message))
        files: list[PlayableFile] = []
        unplayable: list[str] = []
        removed: list[str] = []
        for span in timeline.spans:
            found = await self._pieces_of(span, removed)
            if found is None and span.filename is not None and not span.growing:
                unplayable.append(span.filename)
            elif (
                found is not None and (file := choose_pieces(span, found, since, until)) is not None
            ):
                files.append(file)
        if removed:
            timeline = await self.timeline(camera_id, since, until)
        return PlayableRange(timeline, tuple(files), tuple(unplayable))

    async def stored_bytes(self, filename: str, begin: int, end: int) -> StoredBytes:
        """Prepare to read bytes of a file, which lie within what is durable. Raises Refusal."""
        file = await self._storage.stored_file(filename)
        return StoredBytes(
            path=file.path,
            begin=begin,
            end=end,
            sealed=file.sealed,
            lease=partial(self._storage.leased, file.filename),
            threads=self._threads,
        )

    async def _pieces_of(self, span: TimelineSpan, removed: list[str]) -> FilePieces | None:
        """Return a file's pieces; of one that somebody `removed` none: time lines know it then."""
        try:
            return await self.pieces.of_span(span)
        except Refusal as refusal:
            if refusal.kind is not FILE_NOT_FOUND or span.filename is None:
                raise
        await self._storage.note_missing(span.filename)
        removed.append(span.filename)
        return None


def with_growing(found: Timeline, growing: dict[str, GrowingSegment]) -> Timeline:
    """Put the present ends of growing files into a time line, and files that are new."""
    known = {span.filename for span in found.spans}
    spans = [_at_present(span, growing) for span in found.spans]
    for name, each in growing.items():
        segment = each.segment
        if name not in known and segment.start < found.until and segment.end > found.since:
            spans.append(
                TimelineSpan(
                    start=segment.start,
                    end=segment.end,
                    filename=name,
                    session_id=segment.session_id,
                    growing=not each.finished,
                    playable=name.endswith(".mp4"),
                )
            )
    kept = (span for span in spans if span.end > found.since)
    return attrs.evolve(found, spans=tuple(sorted(kept, key=lambda span: span.start)))


def _at_present(span: TimelineSpan, growing: dict[str, GrowingSegment]) -> TimelineSpan:
    """Let a span that grows end where its file ends now."""
    if span.filename in growing:
        each = growing[span.filename]
        return attrs.evolve(span, end=each.segment.end, growing=not each.finished)
    if span.growing:
        ends = [each.segment.end for each in growing.values()]
        newest = max(ends, default=span.start)
        return attrs.evolve(span, end=max(span.start, min(span.end, newest)))
    return span
