"""How one child is to capture, and how devices of this machine are asked for their pictures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from camd.config.schema import CameraConfig
from camd.media.encoding import SOFTWARE, Arguments, Encoder
from camd.media.report import ProbeResult
from camd.model import FormatChoice

NOTHING_KNOWN = ProbeResult()


@attrs.frozen
class SoundInput:
    """A sound device to record along with a camera."""

    kind: str  # FFmpeg's input: "alsa", "pulse"
    name: str  # "plughw:CARD=C920"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@attrs.frozen
class StreamAccess:
    """How a stream's server is reached, and how much of the stream is looked at first."""

    transport: str = "tcp"  # tcp | udp
    patience: timedelta = timedelta(seconds=20)  # for every step of the connection
    tls_verify: bool | None = None  # None: FFmpeg's default, or it cannot be told
    analysis: timedelta | None = None  # of what was described before; None: as FFmpeg does
    rare: bool = False  # pictures come rarely: the first one has to do


@attrs.frozen
class CaptureOptions:
    """What a child is told beyond what the camera's entry says."""

    program: str
    version: tuple[int, int] = (5, 1)
    fragment: timedelta = timedelta(milliseconds=500)
    copy: bool = False  # the video is taken as it comes
    encoder: Encoder = SOFTWARE["h264"]  # else
    probe: ProbeResult = NOTHING_KNOWN  # what the source holds, as far as that is known
    node: Path | None = None  # of a V4L2 camera; None: its source's path
    choice: FormatChoice | None = None  # what a V4L2 camera is asked for
    sound: SoundInput | None = None  # what is recorded along with a V4L2 camera
    with_sound: bool = True  # whether the sound of a stream or file is recorded
    reach: StreamAccess = StreamAccess()
    wall_ahead: float = 0.0  # seconds from the monotonic clock to the wall clock, at this moment


def v4l2_arguments(camera: CameraConfig, order: CaptureOptions) -> Arguments:
    """Ask the device for everything, because FFmpeg picks what it is not told.

    The kernel's monotonic capture times are kept, which is the default: `-ts abs` would make wall
    times of them, wrong by as long as it is interrupted between reading two clocks.
    """
    asked = order.choice or FormatChoice(
        "", "", camera.width or 0, camera.height or 0, camera.fps or 0.0, order.copy, "", ""
    )
    wanted: Arguments = ("-f", "v4l2", "-thread_queue_size", "64")
    if asked.input_format:
        wanted += ("-input_format", asked.input_format)
    if asked.width and asked.height:
        wanted += ("-video_size", f"{asked.width}x{asked.height}")
    if asked.fps:
        wanted += ("-framerate", f"{asked.fps:g}")
    return wanted


def sound_arguments(order: CaptureOptions) -> Arguments:
    """Open the sound device; its times are put in relation to the pictures'.

    By itself FFmpeg lets both begin at zero, and sound is early by as long as opening its device
    takes after the first picture. `-isync` moves it by the difference of the first times, from
    which the difference of the clocks has to come off: ALSA's times are wall times.
    """
    if order.sound is None:
        return ()
    return (
        *("-thread_queue_size", "1024", "-itsoffset", f"{-order.wall_ahead:.6f}", "-isync", "0"),
        *("-f", order.sound.kind, "-i", order.sound.name),
    )
