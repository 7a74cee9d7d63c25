"""Can viewers have the smaller stream of each camera that has one? Never opens the camera itself.

A preview that does not work keeps no camera from recording, so that it is a warning at most.
"""

from __future__ import annotations

import attrs
import trio

from camd.camera.cameras import preview_of
from camd.capture.source_cache import SourceCache
from camd.capture.source_contents import SourceContents
from camd.cli.checks.finding import CheckFinding, ok, warning
from camd.clock import Clock
from camd.config.schema import CameraConfig, Config
from camd.ffmpeg.binary import FFmpegBinary, FfmpegMissingError, find_ffmpeg, protocols
from camd.ffmpeg.text.output import ProbeResult
from camd.model import Problem
from camd.sources import Source

PROBE_SECONDS = 20.0
_PLAYED = ("h264", "mjpeg")  # by every browser


async def inspect_previews(
    config: Config, probe_seconds: float = PROBE_SECONDS, *, clock: Clock
) -> list[CheckFinding]:
    """Report of each preview what it sends, or why viewers will not get it."""
    entries = [(each, each.preview) for each in config.cameras if each.preview is not None]
    if not entries:
        return []
    try:
        program = await find_ffmpeg(config.ffmpeg.path)
    except FfmpegMissingError:  # which is told by itself
        return []
    found = []
    for camera, preview in entries:  # one after the other: some cameras have few connections
        inspected = _PreviewCheck(config, camera, preview, program, probe_seconds, clock=clock)
        found.append(await inspected.inspect())
    return found


@attrs.frozen(eq=False)
class _PreviewCheck:
    """Looks at one preview."""

    config: Config
    camera: CameraConfig
    preview: Source
    program: FFmpegBinary
    probe_seconds: float
    clock: Clock = attrs.field(kw_only=True)

    @property
    def subject(self) -> str:
        """What the finding is about."""
        return f"camera {self.camera.id} preview"

    async def inspect(self) -> CheckFinding:
        """Look at source and protocol, then ask FFmpeg what it sends."""
        looked = await self.preview.check()
        if looked.advice:
            return warning(self.subject, looked.text, looked.advice)
        protocol = self.preview.protocol
        if protocol and protocol not in await protocols(self.program):
            return warning(
                self.subject,
                f"FFmpeg was built without {protocol}",
                f"Install an FFmpeg with {protocol} (`ffmpeg -protocols` lists it).",
            )
        if self.preview == self.camera.source:
            text, advice = "is the source itself", "Name a smaller stream of the camera."
            return warning(self.subject, text, advice)
        return self._judge(looked.text, await self._probe())

    async def _probe(self) -> ProbeResult | Problem | None:
        """Ask FFmpeg; None: it has not said in time."""
        entry, known = preview_of(self.camera, self.preview), SourceCache()
        contents = SourceContents(entry, self.config.ffmpeg, known, clock=self.clock)
        with trio.move_on_after(self.probe_seconds):
            reach = await contents.reach(self.program)
            if isinstance(reach, Problem):
                return reach
            return await contents.find(self.program, reach)
        return None

    def _judge(self, where: str, found: ProbeResult | Problem | None) -> CheckFinding:
        if found is None:
            seconds = f"{self.probe_seconds:g}"
            text = f"{where} did not say within {seconds} s what it sends"
            return warning(self.subject, text, "Look whether another player shows it.")
        if isinstance(found, Problem):
            return warning(self.subject, f"{where}: {found.message}", found.suggestion)
        codec = found.video_codec
        if not codec and self.preview.is_probed:
            return warning(self.subject, f"{where} has no video", "Name another stream.")
        sends = f"{where}: {codec} {found.width}x{found.height}" if codec else where
        if codec and codec not in _PLAYED:
            return warning(
                self.subject,
                f"{sends}, which many browsers do not play",
                "Set this stream of the camera to H.264.",
            )
        return ok(self.subject, sends)
