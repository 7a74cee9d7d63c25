"""What a source of video is: every question that the program asks of a source, with its default.

The defaults fit a stream from another machine of which nothing else is known: it is live, its time
stamps may be wrong, it is probed before it is recorded, and its sound comes in the same stream. A
kind of source is a class in a file of its own, overrides what is different there, and is listed in
`SOURCES` of `camd/sources/__init__.py`.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import ClassVar, Self

import attrs

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess
from camd.ffmpeg.text.encoder_table import Arguments
from camd.model import DeviceSelector, Problem, VideoFormat
from camd.runtime.path_lookup import BoundedFileCalls

# Configuration keys that fit some kinds of source only, and what is wrong with them elsewhere.
SPECIAL_KEYS = {
    "controls": "only cameras of this machine have controls",
    "transport": "only rtsp and rtsps sources have a transport",
    "tls_verify": "only rtsps sources have a certificate to verify",
}
CONNECT_STEPS = 4  # of a connection, each with FFmpeg's time-out; RTSP: connect to PLAY
LOOK_PICTURES = 8  # that FFmpeg's analysis may take: seven, and the end of the last one
ANALYSIS_SECONDS = 6.0  # FFmpeg analyses up to 5 s of a stream


class SoundPlace(enum.Enum):
    """Where the sound that belongs to a source's pictures is."""

    STREAM = enum.auto()  # in the stream or file
    MICROPHONE = enum.auto()  # in a sound device beside the camera
    FIXED = enum.auto()  # the source says whether there is sound, and its entry does not


@attrs.frozen
class FileStamp:
    """What is known of a file that can be read."""

    size_bytes: int
    changed_ns: int


@attrs.frozen
class SourceFinding:
    """What `camd check` says of a source. `advice` says what to do, if anything is wrong."""

    text: str
    advice: str = ""
    blocks: bool = False  # it keeps the camera from recording, and does not go away by itself


class Source:
    """Where one camera's pictures come from. Subclasses are frozen values."""

    __slots__ = ()

    schemes: ClassVar[tuple[str, ...]] = ()
    """What its text begins with, before the first colon, in small letters."""
    beginnings: ClassVar[tuple[str, ...]] = ()
    """The same for people, as the message about an unknown source shows it."""
    form: ClassVar[tuple[str, str]] = ("", "")
    """How its text is written, and what that means; `docs/render.py` writes it into a page."""

    # --- in the configuration

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Read a whole source, with its scheme; relative paths start at `folder`.

        Raises ValueError with a sentence that says what would be right, and repeats no secret.
        """
        raise NotImplementedError

    @classmethod
    def hint(cls, text: str) -> str:
        """Return what to write instead of a text without scheme that means this kind, or ""."""
        return ""

    @property
    def fitting_keys(self) -> frozenset[str]:
        """Which of SPECIAL_KEYS may be set for it."""
        return frozenset()

    @property
    def why_not_copied(self) -> str:
        """Why `codec = "copy"` is a mistake for it; "" where it is none."""
        return ""

    # --- where it is

    @property
    def selector(self) -> DeviceSelector | None:
        """Which device of this machine it needs; None: it needs none."""
        return None

    @property
    def node(self) -> Path | None:
        """The node of that device, or a link to it, when the configuration names one."""
        return self.selector.path if self.selector is not None else None

    @property
    def path(self) -> Path | None:
        """The file or node that must be there, when the configuration names one."""
        return self.node

    async def look(self, looks: BoundedFileCalls) -> FileStamp | Problem | None:
        """Look at a file before each capture; None: there is nothing to look at."""
        return None

    async def is_missing(self, looks: BoundedFileCalls) -> bool:
        """Whether its node is missing; asked only when it has no binding."""
        return False

    # --- its clock and its pace

    @property
    def live(self) -> bool:
        """Whether it has a clock of its own: pictures come when they are taken."""
        return True

    @property
    def foreign_clock(self) -> bool:
        """Whether another machine's clock makes the time stamps: they may step or go back."""
        return True

    @property
    def constant_rate(self) -> bool:
        """Whether its pictures come at exactly one rate."""
        return False

    @property
    def speed(self) -> float | None:
        """How many times faster than real time it is read; None: it is live."""
        return None if self.live else 1.0

    @property
    def loops(self) -> bool:
        """Whether it begins again when it has ended."""
        return False

    @property
    def may_end(self) -> bool:
        """Whether it has an end, which is no problem."""
        return False

    @property
    def picture(self) -> VideoFormat:
        """Size and rate that the source itself sets; zeros: the configuration, or what comes."""
        return VideoFormat("", 0, 0, 0.0)

    # --- its FFmpeg arguments

    def input(self, options: CaptureOptions) -> Arguments:
        """Build the input of a capture, `-i` included; a second input may follow."""
        raise NotImplementedError

    def probe_input(self, version: tuple[int, int], access: StreamAccess) -> Arguments:
        """Build the input of a probe, `-i` included."""
        return self.input(CaptureOptions("", self, version=version, access=access))

    def analysis(self, access: StreamAccess) -> Arguments:
        """Shorten FFmpeg's analysis, for probes and copied streams."""
        return ()

    @property
    def scaled_by_filters(self) -> bool:
        """Whether filters make the configured size and rate; else the source was asked for them."""
        return True

    @property
    def sound_place(self) -> SoundPlace:
        """Where its sound is."""
        return SoundPlace.STREAM

    def audio_stream(self, options: CaptureOptions) -> str:
        """Return FFmpeg's name of the audio to record; "" for none."""
        return "0:a:0?" if options.with_sound else ""

    @property
    def has_audio_header(self) -> bool:
        """Whether FFmpeg knows its audio's codec header at the start, so that it can be copied."""
        return False

    @property
    def protocol(self) -> str:
        """A protocol that not every FFmpeg has, and this source needs; "": none."""
        return ""

    # --- its connection and its probe

    @property
    def transport_option(self) -> str:
        """FFmpeg's option that chooses TCP or UDP; "": there is no choice."""
        return ""

    @property
    def connect_steps(self) -> int:
        """How many steps its connection takes, each as long as a start may take."""
        return 1

    @property
    def is_probed(self) -> bool:
        """Whether FFmpeg is asked what it holds, so that H.264 and H.265 are copied."""
        return True

    @property
    def is_remote(self) -> bool:
        """Whether another machine answers a probe: no answer is a problem, and so is a refusal."""
        return True

    def probe_seconds(self, timeout_seconds: float) -> float:
        """How long a probe may take, when each step and each picture takes `timeout_seconds`."""
        pictures = LOOK_PICTURES if self.is_remote else 0
        return (CONNECT_STEPS + pictures) * timeout_seconds + ANALYSIS_SECONDS

    def cache_name(self, facts: FileStamp | None) -> str:
        """Name what is remembered of its contents, without credentials; "": nothing is."""
        return ""

    async def still_refuses(self) -> bool:
        """Whether a server that refused the last connection still does; bounded."""
        return False

    async def explain(self, problem: Problem, *, delivered: bool) -> Problem:
        """Return `problem` with what a look at the source shows; bounded.

        `delivered`: the capture that ended with it had delivered pictures.
        """
        return problem

    # --- `camd check`

    async def check(self) -> SourceFinding:
        """Look whether it can be recorded. Shows no credentials; bounded."""
        return SourceFinding("its source is not looked at before a capture")
