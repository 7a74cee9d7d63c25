"""Describe exports, and open their movies to be sent: leases, threads, and what cannot be exported.

All files of an export are leased from before they are looked at until it has been sent. A disk that
hangs holds threads of exports only, for a bounded time each caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import structlog
import trio

from camd.clock import Clock, to_unix_micros
from camd.errors import (
    FILE_NOT_FOUND,
    RATE_LIMITED,
    RECORDING_FAILED,
    STORAGE_UNRESPONSIVE,
    ParamMistake,
    Refusal,
    invalid_params,
)
from camd.export.kept_exports import ExportKey, KeptExport, KeptExports, facts_of
from camd.export.rules.byte_ranges import overlaps
from camd.export.rules.export_plan import (
    AROUND,
    BEFORE,
    NO_FRAMES,
    NOT_DURABLE,
    NOT_RECORDED,
    ExportFile,
    ExportGap,
    ExportRange,
    FramesAround,
    ShownSpan,
    ended_by_itself,
    is_missing,
    is_readable,
    list_missing,
    overlaps_range,
    plan_files,
)
from camd.export.rules.export_refusals import (
    MOST_FILES,
    no_frame,
    refuse_other_formats,
    too_many_files,
    unreadable,
    unsupported,
    validate_range,
)
from camd.export.source_files import (
    ForeignFileError,
    FoundCut,
    SourceVanishedError,
    find_piece,
    finish_movie,
    holds_frames,
    needs_lead_in,
    read_block,
)
from camd.model import CameraId, Gap, ReadableRecording, RecordingQuery, Segment, SegmentState
from camd.mp4.boxes import MediaError
from camd.mp4.movies.cut_movie import ByteSpan, CutBuilder, begins_movie
from camd.storage.file_identity import FileIdentity
from camd.storage.storage import Storage

log = structlog.get_logger("camd.export")

T = TypeVar("T")

FORGET_SECONDS = 60.0  # between two looks at what nobody comes back for
FIRST = 1  # the part that a download begins with
MOST_GAPS = 2000  # that are listed, the newest ones
MOST_TRANSFERS = 16  # exports that are sent or prepared at the same time
_PAGE = 1000
_CHUNK = 1024 * 1024
_RETRY_MS = 5000
_MICRO = timedelta(microseconds=1)
_EARLIEST, _LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


@attrs.frozen
class ExportLimits:
    """Seconds that a file, and the building of a movie's head, may take; and waits for a sync."""

    read_seconds: float = 10.0
    build_seconds: float = 120.0
    sync_seconds: float = 0.5
    sync_tries: int = 5


@attrs.frozen
class ExportSource:
    """Bytes of one recording in an export; `segment` is the recording as it was then."""

    segment: Segment
    path: Path
    identity: FileIdentity
    span: ByteSpan


@attrs.frozen
class ExportPart:
    """One movie of an export; `head` is empty unless this part was asked for.

    `duration` is in seconds, `lead_in` counts hidden frames before the first one.
    """

    number: int
    size_bytes: int
    etag: str
    duration_seconds: float
    frames: int
    lead_in: int
    start: datetime
    end: datetime
    sources: tuple[ExportSource, ...]
    head_size: int
    head: bytes = attrs.field(repr=False)

    @property
    def codec(self) -> str:
        """The kind of the video's sample entry."""
        return self.sources[0].segment.codec

    @property
    def blocks(self) -> Iterator[int]:
        """Sizes of the head and of each source's bytes."""
        yield self.head_size
        yield from (source.span.size for source in self.sources)


@attrs.frozen
class Export:
    """What a camera recorded in a range. `growing`: the camera was recording.

    `searching`: more may be found in the folder. `around`: the nearest frames in files that have
    none in the range.
    """

    wanted: ExportRange
    parts: tuple[ExportPart, ...]
    gaps: tuple[ExportGap, ...]
    growing: bool = False
    searching: bool = False
    around: FramesAround = NO_FRAMES

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that it is made of."""
        return tuple(source.path for part in self.parts for source in part.sources)

    @property
    def late(self) -> bool:
        """Whether the end of the range is not durable yet."""
        return any(gap.cause == NOT_DURABLE for gap in self.gaps)


class _FileGoneError(Exception):
    """A file of an export is not there."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename)
        self.filename = filename


@attrs.define(eq=False)
class ExportTotals:
    """What was sent since the service was started; they only grow."""

    sent_bytes: int = 0
    ended_early: int = 0  # a file was not there any more, or could not be read


@attrs.define(eq=False)
class Exports:
    """Prepares exports, at most MOST_TRANSFERS at the same time."""

    _storage: Storage
    _clock: Clock = attrs.field(kw_only=True)
    _limits: ExportLimits = attrs.field(default=ExportLimits(), kw_only=True)
    totals: ExportTotals = attrs.field(factory=ExportTotals, init=False)
    _opened: int = attrs.field(default=0, init=False)
    _kept: KeptExports[Export] = attrs.field(factory=KeptExports, kw_only=True)
    _threads: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, MOST_TRANSFERS), init=False
    )
    _builders: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, 1), init=False
    )

    @property
    def running(self) -> int:
        """How many are prepared or sent now."""
        return self._opened

    async def describe(self, wanted: ExportRange) -> Export:
        """Describe an export; a download that follows begins at once. Raises as `opened`."""
        searching = self._storage.searching
        async with self.opened(wanted, FIRST) as export:
            parts = (attrs.evolve(part, head=b"") for part in export.parts)
            return attrs.evolve(export, parts=tuple(parts), searching=searching)

    @asynccontextmanager
    async def opened(self, wanted: ExportRange, part: int) -> AsyncIterator[Export]:
        """Prepare an export, with the head of one of its parts; its files are leased meanwhile.

        Raises Refusal: −32602 for a range that is backwards, over 24 hours, or in the future
        without footage (a wrong clock may have recorded some), and for a part that there is not;
        −1005 with the nearest instants when nothing was recorded;
        −32008 for files that are no MP4s of camd's; −1003 for a damaged one; −32002 when too many
        exports are being sent; or why the volume cannot be read.
        """
        validate_range(wanted)
        if self._opened >= MOST_TRANSFERS:
            raise Refusal(RATE_LIMITED, "Too many exports are being sent", retry_after_ms=_RETRY_MS)
        self._opened += 1
        try:
            with ExitStack() as leases:
                yield await self._prepare(leases, wanted, part)
        finally:
            self._opened -= 1

    async def has_recordings(self, camera_id: CameraId) -> bool:
        """Whether a camera has recordings, configured or not. Raises Refusal."""
        page = await self._storage.list_recordings(RecordingQuery(limit=1, camera_id=camera_id))
        return page.total > 0

    @property
    def folder(self) -> Path:
        """The folder of the recordings."""
        return self._storage.folder

    async def send(
        self, part: ExportPart, wanted: ByteSpan, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Send bytes of a part that was opened with its head, in pieces of a megabyte.

        Raises SourceVanishedError when a file is not there any more, or cannot be read in time;
        what has been sent by then is right.
        """
        for number, span in overlaps(part.blocks, wanted):
            for begin in range(span.begin, span.end, _CHUNK):
                size = min(_CHUNK, span.end - begin)
                if number == 0:
                    await send(part.head[begin : begin + size])
                else:
                    await send(await self._read_block(part.sources[number - 1], begin, size))
                self.totals.sent_bytes += size

    async def _read_block(self, source: ExportSource, offset: int, size: int) -> bytes:
        at = source.span.begin + offset
        try:
            return await self._bounded(partial(read_block, source.path, source.identity, at, size))
        except (OSError, Refusal) as error:
            name = source.segment.filename
            log.warning("export_ended_early", filename=name, error=str(error))
            self.totals.ended_early += 1
            raise SourceVanishedError(name) from error

    async def forget_unused(self) -> None:
        """Free the memory of prepared exports that nobody comes back for; until cancelled."""
        while True:
            await trio.sleep(FORGET_SECONDS)
            self._kept.forget_old(self._clock.monotonic())

    # --- preparing

    async def _prepare(self, leases: ExitStack, wanted: ExportRange, part: int) -> Export:
        export = await self._try(leases, wanted, part)
        for _ in range(self._limits.sync_tries):
            if not export.late or wanted.end > self._clock.now():
                break
            leases.close()
            await trio.sleep(self._limits.sync_seconds)
            export = await self._try(leases, wanted, part)
        if not export.parts:
            raise await self._nothing(export)
        return export

    async def _try(self, leases: ExitStack, wanted: ExportRange, part: int) -> Export:
        """Prepare an export from what is durable now; files that are not there are missing."""
        segments, gaps = await self._segments(wanted), await self._gaps(wanted)
        refuse_other_formats([each for each in segments if overlaps_range(each, wanted)])
        growing = any(segment.state is SegmentState.OPEN for segment in segments)
        export_key = ExportKey(wanted, part, tuple(segments), gaps)
        if (kept := await self._find_kept(leases, export_key)) is not None:
            return kept
        while True:
            readable = [segment for segment in segments if is_readable(segment)]
            for segment in readable:
                leases.enter_context(self._storage.leased(segment.filename))
            try:
                work = await self._read_all(plan_files(readable, gaps, wanted), part)
                break
            except _FileGoneError as error:
                segments = [_without(segment, error.filename) for segment in segments]
        missing = list_missing(
            work.spans,
            gaps,
            [segment for segment in segments if is_missing(segment, wanted)],
            wanted,
            now=self._clock.now(),
            growing=growing,
        )
        parts = tuple(work.parts)
        export = Export(wanted, parts, missing, growing=growing, around=work.around)
        if export_key.is_final and not export.late and wanted.end <= self._clock.now():
            await self._keep(export_key, export)
        return export

    async def _find_kept(self, leases: ExitStack, export_key: ExportKey) -> Export | None:
        """Return an export that was prepared before, if its files are the same; lease them."""
        kept = self._kept.find(export_key, self._clock.monotonic())
        if kept is None:
            return None
        for segment in filter(is_readable, export_key.segments):
            leases.enter_context(self._storage.leased(segment.filename))
        found = await self._bounded(partial(facts_of, kept.export.paths))
        return kept.export if found == kept.files else None

    async def _keep(self, export_key: ExportKey, export: Export) -> None:
        files = await self._bounded(partial(facts_of, export.paths))
        if files is not None:
            size = sum(len(part.head) for part in export.parts)
            self._kept.keep(export_key, KeptExport(export, size, files), self._clock.monotonic())

    async def _read_all(self, files: Sequence[ExportFile], part: int) -> _Preparation:
        work = _Preparation(self, part)
        for number, planned in enumerate(files, 1):
            behind = files[number] if number < len(files) else None
            ends = planned.goes_on and planned.own_end is not None and behind is not None
            if ends and behind and not await self.read(behind, holds_frames):
                await work.take(ended_by_itself(planned))
            else:
                await work.take(planned)
        await work.finish()
        return work

    async def _segments(self, wanted: ExportRange) -> list[Segment]:
        query = RecordingQuery(
            limit=_PAGE,
            camera_id=wanted.camera_id,
            since=max(wanted.begin, _EARLIEST + BEFORE) - BEFORE,
            until=min(wanted.end, _LATEST - AROUND) + AROUND,
        )
        found: dict[str, Segment] = {}
        while True:
            page = await self._storage.list_recordings(query)
            found |= {segment.filename: segment for segment in page.segments}
            query = attrs.evolve(query, offset=query.offset + _PAGE)
            if page.total > MOST_FILES:
                raise too_many_files(page.total)
            if query.offset >= page.total:
                return list(found.values())

    async def _gaps(self, wanted: ExportRange) -> tuple[Gap, ...]:
        """List the gaps around a range; those at its edges say what is joined."""
        page = await self._storage.gaps(
            RecordingQuery(
                limit=MOST_GAPS,
                camera_id=wanted.camera_id,
                since=max(wanted.begin, _EARLIEST + BEFORE) - BEFORE,
                until=min(wanted.end, _LATEST - AROUND) + AROUND,
            )
        )
        return page.gaps

    async def _nothing(self, export: Export) -> Refusal:
        """Say why no frame was recorded in a range, and where the nearest frames are."""
        wanted, gaps = export.wanted, export.gaps
        if wanted.begin >= self._clock.now():
            return invalid_params(ParamMistake("from", "must not be in the future"))
        advice = "Ask for a range that was recorded; `camd timeline` shows them."
        if self._storage.searching:
            advice = "Recordings are still looked for in the folder: ask again in a moment."
        before = await self._storage.list_recordings(
            RecordingQuery(limit=10, camera_id=wanted.camera_id, until=wanted.begin)
        )
        after = await self._storage.index_worker.read(
            lambda index: index.database.next_start(wanted.camera_id, wanted.end - _MICRO)
        )
        is_shown = not any(gap.start <= wanted.begin for gap in gaps)
        if is_shown and export.around.before is not None:
            return no_frame(wanted, export.around.with_other(FramesAround(None, after)))
        ends = [segment.end for segment in before.segments if is_readable(segment)]
        return Refusal(
            FILE_NOT_FOUND,
            "Nothing was recorded in that range",
            suggestion=advice,
            camera_id=wanted.camera_id,
            cause=gaps[0].cause if gaps else NOT_RECORDED,
            nearest_before=max(ends, default=None),
            nearest_after=after,
        )

    # --- reading

    async def read_piece(self, planned: ExportFile, *, continued: bool) -> FoundCut | FramesAround:
        """Read what an export takes of a file. Raises _FileGoneError, and Refusal."""
        return await self.read(planned, partial(find_piece, continued=continued))

    async def read(
        self, planned: ExportFile, work: Callable[[ExportFile, ReadableRecording], T]
    ) -> T:
        """Read a file in a thread. Raises _FileGoneError, and Refusal."""
        segment = planned.segment
        try:
            stored = await self._storage.stored_file(segment.filename)
        except Refusal as refusal:
            if refusal.kind is FILE_NOT_FOUND:
                raise _FileGoneError(segment.filename) from None
            raise
        try:
            return await self._bounded(partial(work, planned, stored))
        except ForeignFileError as error:
            raise unsupported(segment, "was not recorded by camd") from error
        except MediaError as error:
            log.warning("recording_unreadable", filename=segment.filename, error=str(error))
            raise unreadable(segment, error) from error
        except FileNotFoundError:
            raise _FileGoneError(segment.filename) from None
        except OSError as error:
            raise Refusal(STORAGE_UNRESPONSIVE, "A file cannot be read") from error

    async def build(self, work: Callable[[], T]) -> T:
        """Build tables in a thread. Raises Refusal when it takes too long or they do not agree."""
        with trio.move_on_after(self._limits.build_seconds):
            try:
                return await trio.to_thread.run_sync(
                    work, limiter=self._builders, abandon_on_cancel=True
                )
            except MediaError as error:
                raise Refusal(RECORDING_FAILED, f"The export cannot be made: {error}") from error
        raise Refusal(STORAGE_UNRESPONSIVE, "The export takes too long to prepare")

    async def _bounded(self, work: Callable[[], T]) -> T:
        """Run `work` on files in a thread. Raises Refusal when it takes too long."""
        with trio.move_on_after(self._limits.read_seconds):
            return await trio.to_thread.run_sync(
                work, limiter=self._threads, abandon_on_cancel=True
            )
        raise Refusal(STORAGE_UNRESPONSIVE)


@attrs.frozen
class _TakenFile:
    """A file whose samples are in the tables of a movie."""

    segment: Segment
    identity: FileIdentity
    span: ShownSpan


@attrs.define(eq=False)
class _Preparation:
    """Collects the pieces of an export, and builds a movie of those that belong together.

    A piece is added to its movie when the next one is known, and forgotten then. `wanted`: the part
    whose head is kept.
    """

    exports: Exports
    wanted: int
    spans: list[ShownSpan] = attrs.field(factory=list, init=False)
    parts: list[ExportPart] = attrs.field(factory=list, init=False)
    around: FramesAround = attrs.field(default=NO_FRAMES, init=False)
    _latest: FoundCut | None = attrs.field(default=None, init=False)  # not in a movie yet
    _builder: CutBuilder | None = attrs.field(default=None, init=False)
    _taken: list[_TakenFile] = attrs.field(factory=list, init=False)  # of the movie that is built

    async def take(self, planned: ExportFile) -> None:
        """Read a file, and add the one before it to its movie. Raises as `read_piece` does."""
        if planned.lead_in is not None and await self._needs_lead_in(planned):
            with suppress(Refusal):  # without it, what it would lead in is left out
                await self.take(planned.lead_in)
        before = self._latest
        continued = before is not None and planned.continues(before.planned)
        found = await self._read(planned, continued=continued)
        if found is not None and before is not None and begins_movie(before.piece, found.piece):
            if continued:  # what it would be decoded with is in another movie
                found = await self._read(planned, continued=False)
            await self._add(goes_on=False)
            await self._finish_part()
        elif found is not None and before is not None:
            await self._add(goes_on=continued)
        self._latest = found or self._latest

    async def _needs_lead_in(self, planned: ExportFile) -> bool:
        """Whether the file before is needed, and not there already."""
        return self._latest is None and await self.exports.read(planned, needs_lead_in)

    async def _read(self, planned: ExportFile, *, continued: bool) -> FoundCut | None:
        found = await self.exports.read_piece(planned, continued=continued)
        if isinstance(found, FoundCut):
            return found
        self.around = self.around.with_other(found)
        # A frame of it may be shown for a part of the range all the same.
        is_open = planned.segment.state is SegmentState.OPEN
        end = found.after if is_open else planned.segment.end
        if end is not None:
            self.spans.append(ShownSpan(planned.segment.start, end))
        return None

    async def finish(self) -> None:
        """Finish the last movie. Raises Refusal when there is no such part as is wanted."""
        if self._latest is not None:
            await self._add(goes_on=False)
            await self._finish_part()
        if self.parts and not 1 <= self.wanted <= len(self.parts):
            raise invalid_params(
                ParamMistake("part", f"must be from 1 to {len(self.parts)}, not {self.wanted}")
            )

    async def _add(self, *, goes_on: bool) -> None:
        """Put the tables of the latest piece into its movie, and forget the piece."""
        found = self._latest
        if found is None:
            return
        builder = self._builder = self._builder or CutBuilder(found.piece)
        await self.exports.build(lambda: builder.add(found.piece, goes_on=goes_on))
        self._taken.append(_TakenFile(found.planned.segment, found.identity, found.span))
        start = min(found.span.start, found.planned.segment.start)
        self.spans.append(attrs.evolve(found.span, start=start))  # what is before is not asked for
        self._latest = None

    async def _finish_part(self) -> None:
        builder, taken, number = self._builder, self._taken, len(self.parts) + 1
        self._builder, self._taken = None, []
        if builder is None or not builder.frames:
            return
        shown = [each.span for each in taken if each.span.end > each.span.start]
        names = repr([_name_of(each.segment) for each in taken]).encode()
        start = to_unix_micros(shown[0].start)
        movie, etag = await self.exports.build(lambda: finish_movie(builder, start, names))
        self.parts.append(
            ExportPart(
                number=number,
                size_bytes=movie.size_bytes,
                etag=etag,
                duration_seconds=float(movie.duration),
                frames=movie.frames,
                lead_in=movie.lead_in,
                start=shown[0].start,
                end=shown[-1].end,
                sources=self._sources(taken, movie.ranges),
                head_size=len(movie.head),
                head=movie.head if number == self.wanted else b"",
            )
        )

    def _sources(
        self, taken: list[_TakenFile], ranges: tuple[ByteSpan, ...]
    ) -> tuple[ExportSource, ...]:
        return tuple(
            ExportSource(
                each.segment, self.exports.folder / each.segment.filename, each.identity, span
            )
            for each, span in zip(taken, ranges, strict=True)
        )


@asynccontextmanager
async def open_exports(storage: Storage, *, clock: Clock) -> AsyncIterator[Exports]:
    """Prepare exports while the block runs."""
    exports = Exports(storage, clock=clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exports.forget_unused)
        yield exports
        nursery.cancel_scope.cancel()


def _name_of(segment: Segment) -> tuple[str, str, int, int]:
    """Return what tells a recording from others; it stays the same when the file is sealed."""
    return (segment.filename, segment.session_id, segment.number, to_unix_micros(segment.start))


def _without(segment: Segment, filename: str) -> Segment:
    gone = segment.filename == filename
    return attrs.evolve(segment, state=SegmentState.MISSING) if gone else segment
