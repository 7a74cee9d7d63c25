"""H.264 for viewers whose browser cannot play a camera's codec: one FFmpeg process a camera.

All viewers of a camera share it; it runs while somebody watches, and there are few of them, because
each takes a third of a core.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from camd.capture.consumer import CapturedFragment, CaptureEnded
from camd.capture.hub import StreamHub
from camd.clock import Clock
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError
from camd.ffmpeg.text.redact import redact
from camd.ffmpeg.text.transcode_args import transcode_arguments
from camd.live.live_view import LiveView, LiveViewEnd, ViewedCamera
from camd.live.rules.viewer_backlog import FramesLost
from camd.model import CameraId, CameraStatus
from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.runtime.broadcast import LatestValue
from camd.runtime.child_process import ChildProcess, keep_last, open_child_process

log = structlog.get_logger("camd.live")

MOST_FAILURES = 3  # in a row, then it is given up
RETRY_SECONDS = 1.0
_WORDS_BYTES = 4096

LaunchTranscoder = Callable[[Sequence[str]], AbstractAsyncContextManager[ChildProcess]]
ProgramFinder = Callable[[], Awaitable[FFmpegBinary]]


class TooManyTranscodesError(Exception):
    """No further camera is transcoded; the text says why."""


@attrs.define(eq=False)
class TranscodedCamera:
    """One camera in H.264; to a viewer it is a camera itself. `failed`: it cannot be had."""

    source: ViewedCamera
    is_present: Callable[[], bool]
    _find_program: ProgramFinder
    _launch: LaunchTranscoder
    clock: Clock = attrs.field(kw_only=True)
    hub: StreamHub = attrs.field(init=False)
    failed: trio.Event = attrs.field(factory=trio.Event, init=False)
    viewers: int = attrs.field(default=0, init=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _attempt: _TranscodeAttempt | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.hub = StreamHub(clock=self.clock)

    @property
    def camera_id(self) -> CameraId:
        """The camera's id."""
        return self.source.camera_id

    @property
    def published(self) -> LatestValue[CameraStatus]:
        """The camera's status: it says why nothing comes."""
        return self.source.published

    async def run(self) -> None:
        """Transcode until cancelled, until the camera was removed, or until it is given up."""
        failures = 0
        with self.scope:
            while self.is_present() and failures < MOST_FAILURES:
                attempt = _TranscodeAttempt(self, await self._arguments())
                await attempt.run()
                failures = failures + 1 if attempt.failed else 0
                if failures:
                    log.warning("transcoder_failed", camera=self.camera_id, said=attempt.words)
                    await trio.sleep(RETRY_SECONDS)
            if failures:
                self.failed.set()

    async def _arguments(self) -> Sequence[str]:
        try:
            program = await self._find_program()
        except FfmpegMissingError:
            return ()
        return transcode_arguments(str(program.path), program.version)

    def launch(self, arguments: Sequence[str]) -> AbstractAsyncContextManager[ChildProcess]:
        """Start the process. Raises OSError in the block's beginning."""
        return self._launch(arguments)


@attrs.define(eq=False)
class _TranscodeAttempt:
    """One process, from the header of the camera's stream to its end. It is a `ViewerSink`."""

    transcode: TranscodedCamera
    arguments: Sequence[str]
    failed: bool = attrs.field(default=False, init=False)
    words: str = attrs.field(default="", init=False)
    _process: ChildProcess | None = attrs.field(default=None, init=False)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _started: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        """Return when the process is over, or another one is needed."""
        transcode = self.transcode
        watch = LiveView(transcode.source, transcode.is_present, self, clock=transcode.clock)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_process)
                await watch.run()
                nursery.cancel_scope.cancel()

    async def _serve_process(self) -> None:
        await self._wanted.wait()
        self.failed = True  # unless another one is needed before it ends
        try:
            if self.arguments:  # else there is no FFmpeg
                await self._run_process()
        except OSError as error:
            self.words = str(error)
        self._scope.cancel()

    async def _run_process(self) -> None:
        async with self.transcode.launch(self.arguments) as process:
            self._process = process
            self._started.set()
            await self._read(process)

    async def _read(self, process: ChildProcess) -> None:
        hub, reader = self.transcode.hub, FragmentReader()
        said = bytearray()
        hub.expect()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_last, process.read_errors, said, _WORDS_BYTES)
                while chunk := await process.read_output():
                    for event in reader.feed(chunk):
                        if isinstance(event, Init):
                            hub.begin(event)
                        elif isinstance(event, Fragment):
                            hub.deliver(event)
                with trio.move_on_after(RETRY_SECONDS):  # for its last words
                    await process.wait()
                nursery.cancel_scope.cancel()
            self.words = redact(said.decode("utf-8", "replace"))
        except* MediaError as group:
            self.words = str(group.exceptions[0])
        finally:
            hub.end(CaptureEnded(None, ""))

    async def _over(self) -> None:
        """End the process: the camera's stream has ended, or needs another header."""
        self.failed = False
        self._scope.cancel()
        await trio.lowlevel.checkpoint()

    async def begin(self, init: Init, first: CapturedFragment) -> None:
        """Start the process."""
        if self._process is not None:
            await self._over()
        self._wanted.set()
        await self._started.wait()
        await self._write(init.ftyp + init.moov)

    async def take(self, init: Init, fragments: Sequence[CapturedFragment]) -> None:
        """Write fragments, as fast as they are transcoded."""
        boxes = ((each.fragment.moof, each.fragment.mdat) for each in fragments)
        await self._write(b"".join(data for pair in boxes for data in pair))

    async def skipped(self, lost: FramesLost) -> None:
        """Leave frames out that it was too slow for."""

    async def clock_set(self, init: Init, following: CapturedFragment) -> None:
        """Go on: times are those of the stream."""

    async def ended(self, why: LiveViewEnd) -> None:
        """End the process; viewers are told by the camera's status."""
        if self._process is not None:
            await self._over()

    async def _write(self, data: bytes) -> None:
        assert self._process is not None
        try:
            await self._process.write_input(data)
        except BrokenPipeError:
            await trio.sleep_forever()  # its end is noticed where its output is read


@attrs.define(eq=False)
class TranscodedCameras:
    """The cameras that are transcoded now, at most `most`."""

    most: int
    _nursery: trio.Nursery
    _find_program: ProgramFinder
    _launch: LaunchTranscoder
    _clock: Clock = attrs.field(kw_only=True)
    _running: dict[CameraId, TranscodedCamera] = attrs.field(factory=dict, init=False)

    @asynccontextmanager
    async def shared(
        self, camera: ViewedCamera, is_present: Callable[[], bool]
    ) -> AsyncIterator[TranscodedCamera]:
        """Have a camera transcoded while the block runs. Raises TooManyTranscodesError."""
        transcode = self._running.get(camera.camera_id) or self._start(camera, is_present)
        transcode.viewers += 1
        try:
            yield transcode
        finally:
            transcode.viewers -= 1
            if not transcode.viewers:
                transcode.scope.cancel()
                del self._running[camera.camera_id]

    def _start(self, camera: ViewedCamera, is_present: Callable[[], bool]) -> TranscodedCamera:
        if len(self._running) >= self.most:
            raise TooManyTranscodesError(f"{self.most} cameras are transcoded already")
        made = TranscodedCamera(
            camera, is_present, self._find_program, self._launch, clock=self._clock
        )
        self._running[camera.camera_id] = made
        self._nursery.start_soon(made.run)
        return made


@asynccontextmanager
async def open_transcodes(
    most: int,
    find_program: ProgramFinder,
    *,
    clock: Clock,
    launch: LaunchTranscoder | None = None,
) -> AsyncIterator[TranscodedCameras]:
    """Transcode cameras while the block runs."""
    async with trio.open_nursery() as nursery:
        start = launch or partial(open_child_process, takes_input=True)
        yield TranscodedCameras(most, nursery, find_program, start, clock=clock)
        nursery.cancel_scope.cancel()
