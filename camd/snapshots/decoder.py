"""Make pictures of frames by FFmpeg processes: few at a time, each bounded in time and bytes.

One process for the usual picture (JPEG, usual quality, full size) is started ahead and waits for
its movie, because starting takes longer than decoding. It serves one picture, and is replaced.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from camd.errors import RATE_LIMITED, RECORDING_FAILED, Refusal
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.text.redact import redact
from camd.ffmpeg.text.still_args import PictureOptions, still_arguments
from camd.runtime.child_process import (
    ChildProcess,
    keep_last,
    open_child_process,
    write_whole_input,
)
from camd.snapshots.rules.pictures import PictureError, picture_end
from camd.storage.rules.io_stats import DurationCounter

log = structlog.get_logger("camd.snapshots")

AT_A_TIME = 2  # FFmpeg processes that decode
MOST_WAITING = 16  # pictures that wait for one of them
KEPT_BYTES = 16 * 1024 * 1024
IDLE_SECONDS = 600.0  # after which the waiting process is ended
RETRY_SECONDS = 1.0  # before another waiting process is started after one that failed
MOST_PICTURE_BYTES = 64 * 1024 * 1024
DECODER_ENDED = "decoder_ended"  # the cause when FFmpeg gave no picture
_WORDS_BYTES = 4096
_RETRY_MILLISECONDS = 500

USUAL = PictureOptions()


@attrs.frozen
class PictureTimings:
    """Bounds and pauses of what makes pictures, in seconds."""

    decode_seconds: float = 3.0  # for one picture; its process is killed then
    kept_seconds: float = 1.0  # a picture is given again to those who ask for the same one
    copy_seconds: float = 4.0  # for each of the two processes that read an MKV; a disk may hang


PICTURE_TIMINGS = PictureTimings()

LaunchDecoder = Callable[[Sequence[str]], AbstractAsyncContextManager[ChildProcess]]


@attrs.define(eq=False)
class _Flight:
    """One picture that is being made, or was made a moment ago, and everybody who wants it."""

    movie: bytes | None = attrs.field(repr=False)  # until it is decoded
    options: PictureOptions
    camera_id: str
    done: trio.Event = attrs.field(factory=trio.Event)
    picture: bytes | None = attrs.field(default=None, repr=False)
    refusal: Refusal | None = None

    def fail(self, cause: str, message: str) -> None:
        """Refuse the picture, unless there is an answer already."""
        if not self.done.is_set():
            self.refusal = Refusal(
                RECORDING_FAILED,
                f"The picture could not be made: {message}",
                suggestion="Try again; if it stays, look for FFmpeg's message in the log.",
                camera_id=self.camera_id,
                cause=cause,
            )
            self.done.set()

    def succeed(self, picture: bytes) -> None:
        """Give the picture to everybody who waits."""
        self.picture = picture
        self.done.set()


@attrs.define(eq=False)
class _Worker:
    """One FFmpeg process: it may wait for its flight; it serves one, and ends."""

    flight: _Flight | None = None
    given: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: bool = False  # takes no flight any more

    def give(self, flight: _Flight) -> None:
        """Let it decode this picture now."""
        self.flight = flight
        self.given.set()


@attrs.define(eq=False)
class PictureDecoder:
    """Decodes frames. Used from any task; the processes belong to the decoder's own tasks."""

    _find_program: Callable[[], Awaitable[FFmpegBinary]]
    _nursery: trio.Nursery
    _launch: LaunchDecoder = attrs.field(
        default=partial(open_child_process, takes_input=True), kw_only=True
    )
    _decodes: DurationCounter = attrs.field(factory=DurationCounter, kw_only=True)
    timings: PictureTimings = attrs.field(default=PICTURE_TIMINGS, kw_only=True)
    _decoding: trio.CapacityLimiter = attrs.field(
        factory=partial(trio.CapacityLimiter, AT_A_TIME), init=False
    )
    _flights: dict[Hashable, _Flight] = attrs.field(factory=dict, init=False)
    _pending: int = attrs.field(default=0, init=False)  # flights that are not done
    _spare: _Worker | None = attrs.field(default=None, init=False)

    async def decode(
        self, frame_key: Hashable, movie: bytes, options: PictureOptions, *, camera_id: str
    ) -> bytes:
        """Return the picture of the one frame that `movie` shows.

        Calls with the same frame and options share one picture. Raises Refusal: −32002 when too
        many wait, −1003 with the cause when it cannot be made.
        """
        flight = self._flights.get((frame_key, options))
        if flight is None or flight.refusal is not None:
            flight = self._begin((frame_key, options), _Flight(movie, options, camera_id))
        await flight.done.wait()
        if flight.picture is None:
            assert flight.refusal is not None
            raise flight.refusal
        return flight.picture

    def _begin(self, picture_key: Hashable, flight: _Flight) -> _Flight:
        if self._pending >= AT_A_TIME + MOST_WAITING:
            raise Refusal(
                RATE_LIMITED,
                "Too many pictures are being made",
                retry_after_ms=_RETRY_MILLISECONDS,
                camera_id=flight.camera_id,
            )
        self._flights[picture_key] = flight
        self._pending += 1
        self._nursery.start_soon(self._run, picture_key, flight)
        return flight

    async def _run(self, picture_key: Hashable, flight: _Flight) -> None:
        """Decode when it is this flight's turn; keep the picture for a moment."""
        try:
            async with self._decoding:
                await self._decode(flight)
        finally:
            self._pending -= 1
            flight.movie = None
            flight.fail("stopping", "the service is stopping")
        if flight.picture is not None:
            self._drop_oldest()
            await trio.sleep(self.timings.kept_seconds)
        if self._flights.get(picture_key) is flight:
            del self._flights[picture_key]

    def _drop_oldest(self) -> None:
        """Keep no more than KEPT_BYTES of pictures."""
        kept = {name: len(each.picture) for name, each in self._flights.items() if each.picture}
        size = sum(kept.values())
        for name, length in kept.items():
            if size <= KEPT_BYTES:
                return
            del self._flights[name]
            size -= length

    # --- processes ---

    async def _decode(self, flight: _Flight) -> None:
        began = trio.current_time()
        worker = self._spare if flight.options == USUAL else None
        if worker is None or worker.over:
            worker = _Worker()
            worker.give(flight)
            self._nursery.start_soon(self._work, worker, flight.options)
        else:
            self._spare = None
            worker.give(flight)
        seconds = self.timings.decode_seconds
        with trio.move_on_after(seconds):
            await flight.done.wait()
        if not flight.done.is_set():
            flight.fail("timed_out", f"it took more than {seconds:g} s")
            worker.scope.cancel()
        self._decodes.add(trio.current_time() - began)

    async def _work(self, worker: _Worker, options: PictureOptions) -> None:
        """Run one process to its end; then have another one wait, where that is of use."""
        try:
            with worker.scope:
                await self._run_process(worker, options)
        finally:
            worker.over = True
            if self._spare is worker:
                self._spare = None
        flight = worker.flight
        if flight is None or options != USUAL:
            return
        if flight.picture is None:
            await trio.sleep(RETRY_SECONDS)
        if self._spare is None:
            self._spare = _Worker()
            self._nursery.start_soon(self._work, self._spare, USUAL)

    async def _run_process(self, worker: _Worker, options: PictureOptions) -> None:
        try:
            program = await self._find_program()
            arguments = still_arguments(str(program.path), options)
            async with self._launch(arguments) as process:
                try:
                    await _serve(worker, process)
                finally:
                    process.close_input()
                    process.signal(signal.SIGKILL)  # one that waits for input survives SIGTERM
        except (OSError, FfmpegMissingError) as error:
            if worker.flight is not None:
                worker.flight.fail("ffmpeg_missing", f"FFmpeg cannot be run: {error}")


async def _serve(worker: _Worker, process: ChildProcess) -> None:
    """Wait for a flight, and decode it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at_end, process, nursery.cancel_scope)
        with trio.move_on_after(IDLE_SECONDS):
            await worker.given.wait()
        nursery.cancel_scope.cancel()
    worker.over = True
    if worker.flight is not None:
        await _converse(worker.flight, process)


async def _cancel_at_end(process: ChildProcess, scope: trio.CancelScope) -> None:
    await process.wait()
    scope.cancel()


async def _converse(flight: _Flight, process: ChildProcess) -> None:
    """Write the movie, read the picture, and note what FFmpeg says when there is none."""
    words = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_whole_input, process, flight.movie or b"")
        nursery.start_soon(keep_last, process.read_errors, words, _WORDS_BYTES)
        problem = await _read_picture(flight, process)
        if problem:
            with trio.move_on_after(RETRY_SECONDS):
                problem = f"{problem} (exit status {await process.wait()})"
            said = redact(words.decode("utf-8", "replace").strip()).splitlines()
            log.warning("picture_failed", camera=flight.camera_id, why=problem, said=said[-3:])
            flight.fail(DECODER_ENDED, problem)
        nursery.cancel_scope.cancel()


async def _read_picture(flight: _Flight, process: ChildProcess) -> str:
    """Read up to the picture's end, not to the end of the process; return what is wrong."""
    data = bytearray()
    while chunk := await process.read_output():
        begin = max(0, len(data) - 1)
        data += chunk
        try:
            end = picture_end(data, begin)
        except PictureError as error:
            return f"FFmpeg wrote no picture: {error}"
        if end is not None:
            flight.succeed(bytes(data[:end]))
            return ""
        if len(data) > MOST_PICTURE_BYTES:
            return "the picture is too large"
    return "FFmpeg ended before the picture was complete"


@asynccontextmanager
async def open_decoder(
    find_program: Callable[[], Awaitable[FFmpegBinary]],
    *,
    launch: LaunchDecoder | None = None,
    decodes: DurationCounter | None = None,
    timings: PictureTimings = PICTURE_TIMINGS,
) -> AsyncIterator[PictureDecoder]:
    """Decode while the block runs; then all processes are killed, and those who wait are refused.

    No process exists before the first picture. `decodes` counts how long each picture takes.
    """
    launch = launch or partial(open_child_process, takes_input=True)
    async with trio.open_nursery() as nursery:
        counter = decodes or DurationCounter()
        yield PictureDecoder(find_program, nursery, launch=launch, decodes=counter, timings=timings)
        nursery.cancel_scope.cancel()
