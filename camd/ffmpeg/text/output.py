"""What FFmpeg says: log lines, its reading of a source, its version, and why it gave up."""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from camd.ffmpeg.text.error_patterns import IN_PASSING, REASON_OF_A_WARNING, TABLE
from camd.ffmpeg.text.redact import redact
from camd.model import Problem
from camd.model.problems import CRASHED, ENDED, FFMPEG_MISSING, KILLED, UNKNOWN

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
_LONGEST_DETAIL = 80
_FIRST_LIBRARY_MAJOR = 52  # libavutil 56 came with FFmpeg 4, 57 with 5, and so on


@attrs.frozen
class LogLine:
    """One log line: how severe ("error", "info", …) and what, without addresses of objects."""

    level: str
    text: str

    @property
    def severe(self) -> bool:
        """Whether FFmpeg itself calls it an error."""
        return self.level in _SEVERE


@attrs.frozen
class ProbeResult:
    """What a source holds, by FFmpeg's names. "", 0 and None stand for what it did not say."""

    video_codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    pixel_format: str = ""
    audio_codec: str = ""
    duration_seconds: float | None = None
    streams: int = 0


def parse_line(line: str) -> LogLine:
    """Split a line of `-loglevel level+…`; a line without a level continues another one."""
    match = _LINE.match(line.rstrip("\r\n"))
    assert match is not None
    return LogLine(match[1] or "info", match[2].strip())


def classify(messages: Iterable[LogLine], exit_code: int | None) -> Problem:
    """Say why a child ended that was not told to end, from its last messages.

    An exit code of 0 is no success: a camera that is pulled out ends FFmpeg that way. None
    stands for a child that could not be started. Who was ended by a signal had no last words.
    """
    if exit_code is not None and exit_code < 0:
        return _signalled(-exit_code)
    said = [message for message in messages if message.text]
    severe = [message for message in said if message.severe]
    reasons = [message for message in said if _tells_why(message)]
    telling = reasons or (severe if exit_code else ()) or (() if severe else said)
    for row in TABLE:
        matches = [row.pattern.search(message.text) for message in telling]
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
    """Add what the server said, where a row has a place for it."""
    said = " ".join(text for text in match.groupdict("").values() if text)
    if not said:
        return problem
    words = redact(said.replace("(", "").replace(")", "").strip())[:_LONGEST_DETAIL]
    return attrs.evolve(problem, message=f"{problem.message}: {words}")


def _tells_why(message: LogLine) -> bool:
    if message.severe:
        return not IN_PASSING.search(message.text)
    return bool(REASON_OF_A_WARNING.search(message.text))


def _signalled(number: int) -> Problem:
    if number in _CRASHES:
        return attrs.evolve(CRASHED, message=f"{CRASHED.message} (signal {number})")
    return attrs.evolve(KILLED, message=f"FFmpeg was ended by signal {number}")


def parse_probe(text: str) -> ProbeResult:
    """Read what `ffmpeg -i SOURCE` prints; the first video and the first audio stream count.

    What FFmpeg prints behind the input's description (an output's) is not looked at.
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
            fps=_number(fps[1]) if fps and not fps[2] else 0.0,  # "90k tbr": nobody knows
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
    """Say why `ffmpeg -i SOURCE` described no stream; its lines carry no levels."""
    said = [LogLine("error", parse_line(line).text) for line in text.splitlines()]
    return classify(said, exit_code=1)


def parse_version(text: str) -> tuple[int, int]:
    """Read major and minor from `ffmpeg -version`; (0, 0) when it says neither.

    Builds from a repository have no number; their libavutil's tells the major version.
    """
    if match := _VERSION.search(text):
        return int(match[1]), int(match[2])
    if match := _LIBRARY.search(text):
        return int(match[1]) - _FIRST_LIBRARY_MAJOR, 0
    return 0, 0


def parse_encoders(text: str) -> frozenset[str]:
    """Read the names from `ffmpeg -hide_banner -encoders`."""
    return frozenset(name for name in _ENCODER.findall(text) if name != "=")


def parse_inputs(text: str) -> frozenset[str]:
    """Read the names of the devices that can be captured from `ffmpeg -hide_banner -devices`."""
    return frozenset(name for names in _INPUT.findall(text) for name in names.split(","))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
