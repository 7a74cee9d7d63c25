"""`v4l2:`: a Video4Linux camera of this machine, by its node or link, serial number, or USB port.

Which device such a source has now, and what the device can do, is the matter of `camd.devices`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Self

import attrs

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess
from camd.ffmpeg.text.encoder_table import Arguments
from camd.model import DeviceSelector
from camd.runtime.file_presence import is_there
from camd.runtime.path_lookup import BoundedFileCalls
from camd.sources.source import SoundPlace, Source


@attrs.frozen
class V4l2Source(DeviceSelector, Source):
    """A camera of this machine; without node, serial number and port the one bound to its id."""

    schemes = ("v4l2",)
    beginnings = ("v4l2:/dev/…",)
    form = (
        "v4l2:/dev/video0",
        "a capture node, or a link below `/dev/v4l/by-id` or `by-path`",
    )
    fitting_keys = frozenset(("controls",))
    foreign_clock = False
    is_probed = False  # it is not opened twice
    is_remote = False
    scaled_by_filters = False
    sound_place = SoundPlace.MICROPHONE

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Read "v4l2:/dev/video0", "v4l2:serial=4E1F" or "v4l2:port=1-1.3"."""
        rest = text.partition(":")[2]
        by, equals, value = rest.partition("=")
        value = value.strip()
        if equals and by in ("serial", "port") and value and "\0" not in value:
            return cls(serial=value) if by == "serial" else cls(port=value)
        if not rest.startswith("/") or "\0" in rest:
            raise ValueError(
                "a v4l2 source is the absolute path of a node or of a link to one, a serial number "
                'or a USB port, such as "v4l2:/dev/video0", "v4l2:/dev/v4l/by-id/…", '
                '"v4l2:serial=4E1F" or "v4l2:port=1-1.3"'
            )
        return cls(Path(rest))

    @classmethod
    def hint(cls, text: str) -> str:
        """Whoever writes a node without scheme means this kind."""
        return f'; for this node write "v4l2:{text}"' if text.startswith("/dev/") else ""

    @property
    def selector(self) -> DeviceSelector:
        """The source is its own selector."""
        return self

    async def is_missing(self, looks: BoundedFileCalls) -> bool:
        """Whether the node is missing; one that cannot be looked at may be there."""
        if self.path is None:
            return True
        try:
            return not await looks.ask(partial(is_there, self.path), otherwise=True)
        except OSError:
            return False

    def input(self, options: CaptureOptions) -> Arguments:
        """Open the node, and the sound device beside it."""
        node = str(options.node or self.path)
        return (*_wanted(options), "-i", node, *_sound_device(options))

    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments:
        """Open the node as it is set."""
        return ("-f", "v4l2", "-i", str(self.path))

    def audio_stream(self, options: CaptureOptions) -> str:
        """Take the sound device's, which is the second input."""
        return "1:a:0" if options.sound is not None else ""


def _wanted(options: CaptureOptions) -> Arguments:
    """Ask the device for each value, because FFmpeg picks those that it is not told.

    The kernel's monotonic capture times are kept, which is the default: `-ts abs` would convert
    them to wall times, with an error whenever FFmpeg is interrupted between reading two clocks.
    """
    wanted: Arguments = ("-f", "v4l2", "-thread_queue_size", "64")
    if options.input_format:
        wanted += ("-input_format", options.input_format)
    if options.width and options.height:
        wanted += ("-video_size", f"{options.width}x{options.height}")
    if options.fps:
        wanted += ("-framerate", f"{options.fps:g}")
    return wanted


def _sound_device(options: CaptureOptions) -> Arguments:
    """Open the sound device, and relate its times to the pictures'.

    By default FFmpeg starts both inputs at zero, and sound is early by the time between the first
    picture and the first sound. `-isync` shifts it by the difference of the first times, and the
    difference of the clocks is subtracted: ALSA's times are wall times.
    """
    if options.sound is None:
        return ()
    offset = f"{-options.wall_ahead:.6f}"
    return (
        *("-thread_queue_size", "1024", "-itsoffset", offset, "-isync", "0"),
        *("-f", options.sound.kind, "-i", options.sound.name),
    )
