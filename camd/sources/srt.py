"""`srt:`: an MPEG transport stream over SRT; camd calls the sender, or waits for its call.

FFmpeg needs libsrt for it. The options of the URL are FFmpeg's: `mode`, `latency`, `streamid`,
`passphrase`, ….
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import attrs

from camd.ffmpeg.text.args import CaptureOptions, StreamAccess, format_micros
from camd.ffmpeg.text.encoder_table import Arguments
from camd.ffmpeg.text.redact import redact
from camd.model import Problem, ProblemKind
from camd.model.problems import TIMED_OUT
from camd.sources.source import ANALYSIS_SECONDS, FileStamp, Source, SourceFinding
from camd.sources.stream_url import split_stream_url

_KNOWN_ANALYSIS = timedelta(seconds=2)  # FFmpeg's default is 5 s, in case further streams appear
_MODES = ("caller", "listener", "rendezvous")


@attrs.frozen
class SrtSource(Source):
    """An SRT stream. `repr` leaves out the URL, which may contain a passphrase."""

    url: str = attrs.field(repr=False)

    schemes = ("srt",)
    beginnings = ("srt://…",)
    form = (
        "srt://host:9000",
        "an SRT stream, where FFmpeg has libsrt; `?mode=listener` waits for its sender; "
        "`?passphrase=` is redacted, `&latency=` is in µs",
    )

    @classmethod
    def parse(cls, text: str, folder: Path, home: Path | None) -> Self:
        """Check a URL, and keep it as it is."""
        example = "srt://192.168.1.20:9000"
        if split_stream_url(text, "an srt source", example).port is None:
            raise ValueError(f'an srt source names a port, such as "{example}"')
        source = cls(text)
        if source.mode not in _MODES:
            raise ValueError(f"mode of an srt source is one of {', '.join(_MODES)}")
        return source

    @property
    def mode(self) -> str:
        """Who calls whom: by default camd calls the sender."""
        return parse_qs(urlsplit(self.url).query).get("mode", ["caller"])[-1]

    @property
    def protocol(self) -> str:
        """FFmpeg has it where it was built with libsrt."""
        return "srt"

    def input(self, options: CaptureOptions) -> Arguments:
        """Call, or wait for a call, as long as a start may take."""
        longest = options.access.timeout
        return (
            *("-connect_timeout", f"{round(longest / timedelta(milliseconds=1))}"),
            *("-listen_timeout", format_micros(longest), "-f", "mpegts", "-i", self.url),
        )

    def analysis(self, access: StreamAccess) -> Arguments:
        """Of a stream that is known, wait for a key frame only, and for no other streams."""
        return (
            () if access.analysis is None else ("-analyzeduration", format_micros(_KNOWN_ANALYSIS))
        )

    def probe_seconds(self, timeout_seconds: float) -> float:
        """One step connects, and the stream begins at once."""
        return timeout_seconds + ANALYSIS_SECONDS

    def cache_name(self, facts: FileStamp | None) -> str:
        """The passphrase is not part of it: the stream is the same with another one."""
        return f"srt {redact(self.url)}"

    async def explain(self, problem: Problem, *, delivered: bool) -> Problem:
        """FFmpeg says "Input/output error" of a call without an answer, whatever the reason."""
        if delivered or problem.kind not in (ProblemKind.IO_ERROR, ProblemKind.TIMED_OUT):
            return problem
        waits = self.mode == "listener"
        return attrs.evolve(
            TIMED_OUT,
            message="No sender has called" if waits else "No sender answers the call over SRT",
            suggestion="Check host, port (UDP), mode and passphrase on both sides.",
        )

    async def check(self) -> SourceFinding:
        """Say what will happen: only a complete handshake shows whether a sender answers."""
        parts = urlsplit(self.url)
        if self.mode == "listener":
            return SourceFinding(f"waits for a sender on UDP port {parts.port}")
        return SourceFinding(f"{parts.hostname}:{parts.port} is called over UDP at a capture")
