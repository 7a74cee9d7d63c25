"""Parse FFmpeg's output: log lines, descriptions of sources, versions, lists, and why it ended."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from camd.ffmpeg.text.error_patterns import IN_PASSING, REASON_OF_A_WARNING, TABLE
from camd.ffmpeg.text.redact import redact
from camd.model import Problem
from camd.model.problems import CRASHED, ENDED, FFMPEG_MISSING, KILLED, UNKNOWN

KEPT_LINES = 100
LONGEST_LINE_BYTES = 8192

_LEVELS = "quiet|panic|fatal|error|warning|info|verbose|debug|trace"
_LINE = re.compile(rf"^(?:\[[^\]]* @ 0x[0-9a-fA-F]+\] ?)*(?:\[({_LEVELS})\] ?)?(.*)$", re.DOTALL)
_SEVERE = frozenset(("panic", "fatal", "error"))
_DEVICE = re.compile(r"/dev/[^\s:,]*[^\s:,.]")
_CRASHES = frozenset((4, 6, 7, 8, 11, 31))  # SIGILL, ABRT, BUS, FPE, SEGV, SYS

_VIDEO = re.compile(r"Stream #\d+:\d+.*?: Video: (\w+)(.*)")
_AUDIO = re.compile(r"Stream #\d+:\d+.*?: Audio: (\w+)")
_STREAM = re.compile(r"Stream #\d+:\d+[\[(:]")
_SIZE = re.compile(r"[ ,](\d{1,5})x(\d{1,5})\b")
_FPS = re.compile(r"([\d.]+)(k?) (?:fps|tbr)\b")
_PIXELS = re.compile(r"^(?: \([^)]*\))*, (\w+)")
_DURATION = re.compile(r"^\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_VERSION = re.compile(r"^ffmpeg version n?(\d+)\.(\d+)", re.MULTILINE)
_LIBRARY = re.compile(r"^\s*libavutil\s+(\d+)\.", re.MULTILINE)
_ENCODER = re.compile(r"^\s[VAS][A-Z.]{5}\s(\S+)", re.MULTILINE)
_INPUT = re.compile(r"^\sD[E ]\s(\S+)", re.MULTILINE)
_MAX_DETAIL_CHARACTERS = 80
_FIRST_LIBRARY_MAJOR = 52  # libavutil 56 came with FFmpeg 4, 57 with 5, and so on


@attrs.frozen
class FFmpegLine:
    """One log line: its level ("error", "info", …) and its text, without addresses of objects."""

    level: str
    text: str

    @property
    def severe(self) -> bool:
        """Whether its level is "error" or worse."""
        return self.level in _SEVERE

    @property
    def announces_sound(self) -> bool:
        """Whether it describes a stream of sound, of an input or an output."""
        return _AUDIO.match(self.text) is not None


@attrs.frozen
class ProbeResult:
    """Contents of a source, by FFmpeg's names. "", 0 and None: FFmpeg did not say."""

    video_codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pixel_format: str = ""
    audio_codec: str = ""
    duration_seconds: float | None = None
    streams: int = 0


def parse_line(line: str) -> FFmpegLine:
    """Parse a line of `-loglevel level+…`; one without a level continues another line."""
    match = _LINE.match(line.rstrip("\r\n"))
    assert match is not None
    return FFmpegLine(match[1] or "info", match[2].strip())


@attrs.define(eq=False)
class FFmpegLog:
    """Takes FFmpeg's log as it is read; keeps its last KEPT_LINES lines, none longer than 8 KiB."""

    lines: deque[FFmpegLine] = attrs.field(factory=lambda: deque(maxlen=KEPT_LINES), init=False)
    _incomplete: bytes = attrs.field(default=b"", init=False)

    def take(self, chunk: bytes) -> Sequence[FFmpegLine]:
        """Take what was read, b"" at the end; return the newest lines that are complete now."""
        *complete, self._incomplete = (self._incomplete + (chunk or b"\n")).split(b"\n")
        self._incomplete = self._incomplete[-LONGEST_LINE_BYTES:]
        newest = [line for line in complete if line.strip()][-KEPT_LINES:]
        texts = [line[:LONGEST_LINE_BYTES].decode("utf-8", "replace").strip() for line in newest]
        found = [parse_line(text) for text in texts]
        self.lines.extend(found)
        return found


def problem_of_exit(messages: Iterable[FFmpegLine], exit_code: int | None) -> Problem:
    """Return why an FFmpeg process ended that was not told to end, from its last log lines.

    An exit code of 0 is no success: FFmpeg ends with it when a camera is unplugged. None means
    that it could not be started. A signal (negative code) counts more than any line before it.
    """
    if exit_code is not None and exit_code < 0:
        return _signalled(-exit_code)
    lines = [line for line in messages if line.text]
    severe = [line for line in lines if line.severe]
    reasons = [line for line in lines if _is_reason(line)]
    candidates = reasons or (severe if exit_code else ()) or (() if severe else lines)
    for row in TABLE:
        matches = [row.pattern.search(line.text) for line in candidates]
        if match := next((match for match in matches if match), None):
            return _with_details(row.problem, match)
    if reasons:
        text = _DEVICE.sub("the device", redact(reasons[-1].text))
        return attrs.evolve(UNKNOWN, message=f"{UNKNOWN.message}: {text}")
    if exit_code is None:
        return FFMPEG_MISSING
    if exit_code == 0:
        return ENDED
    return attrs.evolve(UNKNOWN, message=f"FFmpeg ended with code {exit_code}")


def _with_details(problem: Problem, match: re.Match[str]) -> Problem:
    """Add the pattern's named groups, such as a server's status line, to the message."""
    details = " ".join(text for text in match.groupdict("").values() if text)
    if not details:
        return problem
    text = redact(details.replace("(", "").replace(")", "").strip())[:_MAX_DETAIL_CHARACTERS]
    return attrs.evolve(problem, message=f"{problem.message}: {text}")


def _is_reason(line: FFmpegLine) -> bool:
    if line.severe:
        return not IN_PASSING.search(line.text)
    return bool(REASON_OF_A_WARNING.search(line.text))


def _signalled(number: int) -> Problem:
    if number in _CRASHES:
        return attrs.evolve(CRASHED, message=f"{CRASHED.message} (signal {number})")
    return attrs.evolve(KILLED, message=f"FFmpeg was ended by signal {number}")


def parse_probe(text: str) -> ProbeResult:
    """Parse the output of `ffmpeg -i SOURCE`: its first video and its first audio stream.

    The description of an output, which may follow the input's, is ignored.
    """
    text = text.partition("\nOutput #")[0]
    result = ProbeResult(streams=len(_STREAM.findall(text)))
    if video := _VIDEO.search(text):
        rest = video[2]
        size, fps, pixels = _SIZE.search(rest), _FPS.search(rest), _PIXELS.search(rest)
        result = attrs.evolve(
            result,
            video_codec=video[1],
            width=int(size[1]) if size else 0,
            height=int(size[2]) if size else 0,
            fps=_number(fps[1]) if fps and not fps[2] else 0.0,  # "90k tbr": unknown
            pixel_format=pixels[1] if pixels else "",
        )
    if audio := _AUDIO.search(text):
        result = attrs.evolve(result, audio_codec=audio[1])
    if duration := _DURATION.search(text):
        hours, minutes, seconds = duration.groups()
        total = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        result = attrs.evolve(result, duration_seconds=total)
    return result


def parse_refusal(text: str) -> Problem:
    """Return why `ffmpeg -i SOURCE` described no stream; its lines carry no levels."""
    lines = [FFmpegLine("error", parse_line(line).text) for line in text.splitlines()]
    return problem_of_exit(lines, exit_code=1)


def parse_version(text: str) -> tuple[int, int]:
    """Parse major and minor version from `ffmpeg -version`; (0, 0) when it has neither.

    Builds from a repository have no version number; the major one follows from libavutil's.
    """
    if match := _VERSION.search(text):
        return int(match[1]), int(match[2])
    if match := _LIBRARY.search(text):
        return int(match[1]) - _FIRST_LIBRARY_MAJOR, 0
    return 0, 0


def parse_encoders(text: str) -> frozenset[str]:
    """Parse the encoders' names from `ffmpeg -hide_banner -encoders`."""
    return frozenset(name for name in _ENCODER.findall(text) if name != "=")


def parse_inputs(text: str) -> frozenset[str]:
    """Parse the devices that can be captured from, of `ffmpeg -hide_banner -devices`."""
    return frozenset(name for names in _INPUT.findall(text) for name in names.split(","))


def parse_protocols(text: str) -> frozenset[str]:
    """Parse the names of protocols, of `ffmpeg -hide_banner -protocols`: indented, one a line."""
    lines = [line for line in text.splitlines() if line[:1].isspace()]
    return frozenset(line.strip() for line in lines)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
