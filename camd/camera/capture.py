"""How to get pictures out of one camera: which program, which arguments, copied or encoded."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import structlog
import trio

from camd.camera.program import FfmpegMissingError, Program
from camd.camera.run import Launch
from camd.config.schema import CameraConfig, Config
from camd.media.command import capture_arguments, probe_arguments
from camd.media.report import ProbeResult, parse_probe
from camd.model import (
    Cause,
    FileSource,
    RtspSource,
    Seat,
    TestSource,
    Trouble,
    V4l2Source,
    VideoFormat,
)
from camd.runtime.spawn import open_child

log = structlog.get_logger("camd.camera")

COPIED_CODECS = ("h264", "hevc")
PROBE_PATIENCE_SECONDS = 15.0
BITS_PER_PIXEL = 0.1  # of H.264 at ordinary quality: what to promise before anything is measured
LEAST_BYTES_PER_SECOND = 125_000.0

ProgramFinder = Callable[[], Awaitable[Program]]


@attrs.frozen
class Plan:
    """What to run."""

    program: Program
    arguments: tuple[str, ...]


@attrs.define(eq=False)
class Capture:
    """One camera's way to FFmpeg. `find_program` is shared, so that FFmpeg is looked up once."""

    camera: CameraConfig
    config: Config
    find_program: ProgramFinder
    launch: Launch = open_child  # how a child is started; tests put another one here
    seat: Callable[[], Seat | None] = lambda: None  # which device the camera has
    _found: ProbeResult | None = attrs.field(default=None, init=False)

    @property
    def path(self) -> Path | None:
        """The file or node that must be there, if the source is one."""
        source = self.camera.source
        return source.path if isinstance(source, (FileSource, V4l2Source)) else None

    @property
    def absent(self) -> bool:
        """Whether the source's file or node is missing at this moment.

        One that cannot be looked at may be there: FFmpeg says better what is wrong with it.
        """
        try:
            return self.path is not None and not self.path.exists()
        except OSError:
            return False

    @property
    def may_end(self) -> bool:
        """Whether the source has an end: a file that is played once."""
        source = self.camera.source
        return isinstance(source, FileSource) and not source.loop

    @property
    def loops(self) -> bool:
        """Whether the source is a file that is played over and over."""
        return isinstance(self.camera.source, FileSource) and self.camera.source.loop

    @property
    def wanted(self) -> VideoFormat:
        """What the configuration asks for; zeros where it leaves the choice to the source."""
        camera, source = self.camera, self.camera.source
        width, height, fps = camera.width or 0, camera.height or 0, camera.fps or 0.0
        if isinstance(source, TestSource):
            width, height = width or source.width, height or source.height
            fps = fps or source.rate
        return VideoFormat("", width, height, fps)

    @property
    def expected_bytes_per_second(self) -> float:
        """What a session will need, before anything has been measured."""
        if self.camera.bitrate:
            return self.camera.bitrate / 8.0
        wanted = self.wanted
        pixels = (wanted.width or 1280) * (wanted.height or 720) * (wanted.fps or 30.0)
        return max(LEAST_BYTES_PER_SECOND, pixels * BITS_PER_PIXEL / 8.0)

    async def plan(self) -> Plan | Trouble:
        """Decide what to run. Waits for a probe where the source's codec matters."""
        if self.absent:
            return Trouble(
                "not_found",
                "The camera's source is not there",
                "Plug the camera in, or correct its source in the configuration.",
                Cause.CAMERA_LOST,
            )
        try:
            program = await self.find_program()
        except FfmpegMissingError as error:
            return Trouble(
                "ffmpeg_missing",
                "FFmpeg was not found",
                f"Install FFmpeg, pip install 'camd[ffmpeg]', or set ffmpeg.path ({error}).",
            )
        found = self._found = self._found or await self._probe(program)
        codec = self.camera.codec
        arguments = capture_arguments(
            str(program.path),
            self.camera,
            self.config.recording.fragment,
            copy=codec == "copy" or (codec == "auto" and found.video_codec in COPIED_CODECS),
            ffmpeg_version=program.version,
            probe=found,
        )
        return Plan(program, arguments)

    def forget(self) -> None:
        """Probe again before the next child: what was known may not hold any more."""
        self._found = None

    async def _probe(self, program: Program) -> ProbeResult:
        """Ask FFmpeg what a stream holds, so that H.264 and H.265 are kept as they are.

        Devices are not opened twice for it. Empty when FFmpeg does not say, or not in time.
        """
        if not isinstance(self.camera.source, (FileSource, RtspSource)):
            return ProbeResult()
        arguments = probe_arguments(str(program.path), self.camera.source, program.version)
        with trio.move_on_after(PROBE_PATIENCE_SECONDS):
            try:
                result = await trio.run_process(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            except OSError:  # it went away since it was found; the child will say so
                return ProbeResult()
            return parse_probe(result.stderr.decode("utf-8", "replace"))
        log.warning("probe_took_too_long", camera=self.camera.id)
        return ProbeResult()
