"""`test:`: a synthetic picture that shows its time and frame number."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import attrs

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess, pace, synthetic_input
from camd.ffmpeg.text.encoder_table import Arguments
from camd.model import VideoFormat
from camd.model.notation import RATE_LIMITS, parse_resolution
from camd.sources.query_options import read_flag, read_number, read_options
from camd.sources.source import SoundPlace, Source, SourceFinding


@attrs.frozen
class SyntheticSource(Source):
    """A moving picture of one size and rate, with a tone where `audio` says so."""

    __test__ = False  # its name looks like a test class to pytest

    width: int = 1280
    height: int = 720
    rate: float = 30.0
    audio: bool = False

    schemes = ("test",)
    beginnings = ("test:",)
    form = (
        "test:",
        "a synthetic picture with its time and frame number; `?size=1280x720&rate=30&audio=true`",
    )
    live = False
    foreign_clock = False
    constant_rate = True
    why_not_copied = (
        'a synthetic source has no stream to copy; choose "auto", "h264", "h265" or "mjpeg"'
    )
    is_probed = False
    is_remote = False
    scaled_by_filters = False
    sound_place = SoundPlace.FIXED

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Read "test:" or "test:?size=1280x720&rate=30&audio=true"."""
        before, _, query = text.partition(":")[2].partition("?")
        if before:
            raise ValueError('write a synthetic source as "test:" or "test:?size=1280x720&rate=30"')
        options = read_options(query, ("size", "rate", "audio"))
        width, height = parse_resolution(options.get("size", "1280x720"))
        if width % 2 or height % 2:
            raise ValueError("size: both sides of a synthetic picture are even numbers")
        return cls(
            width=width,
            height=height,
            rate=read_number("rate", options.get("rate", "30"), RATE_LIMITS),
            audio=read_flag("audio", options.get("audio", "false")),
        )

    @property
    def picture(self) -> VideoFormat:
        """As its text says."""
        return VideoFormat("", self.width, self.height, self.rate)

    def input(self, options: CaptureOptions) -> Arguments:
        """Make picture and tone at real time."""
        each = pace(1.0, options.version)
        size = options.width or self.width, options.height or self.height
        tone = (*each, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
        return (
            *(*each, *synthetic_input(*size, options.fps or self.rate)),
            *(tone if self.audio else ()),
        )

    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments:
        """Make the picture alone."""
        return synthetic_input(self.width, self.height, self.rate)

    def audio_stream(self, options: CaptureOptions) -> str:
        """Take the tone, which is the second input."""
        return "1:a:0" if self.audio else ""

    async def check(self) -> SourceFinding:
        """It is always there."""
        return SourceFinding("a synthetic picture")
