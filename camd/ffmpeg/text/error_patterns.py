"""Regular expressions that map FFmpeg's error lines to problems.

The first pattern that fits wins. They cover FFmpeg 4.2 to 9 with the C libraries glibc and musl,
which name some errors differently.
"""

from __future__ import annotations

import re

import attrs

from camd.model import Problem, problems


@attrs.frozen
class ErrorPattern:
    """A pattern in FFmpeg's error lines, and the problem it means.

    Its named groups are added to the problem's message.
    """

    pattern: re.Pattern[str]
    problem: Problem


def _patterns(*rows: tuple[str, Problem]) -> tuple[ErrorPattern, ...]:
    return tuple(ErrorPattern(re.compile(pattern), problem) for pattern, problem in rows)


_AT_START = "QUERYCAP|[GS]_INPUT|ENUMINPUT|[GS]_FMT|S_PARM|REQBUFS|QUERYBUF|STREAMON"
_IO = "Input/output error|I/O error|Protocol error|Broken pipe|timed out|Value too large"

DEVICES = _patterns(
    (r"VIDIOC_STREAMON\W*: No space left", problems.NO_BANDWIDTH),
    (
        r"Not a video capture device|does not support .*streaming|Inappropriate ioctl|Not a tty"
        r"|codec 'none' .*pixel format 'none'",
        problems.NOT_A_CAMERA,
    ),
    (r"Cannot find a proper format for codec|No such input format", problems.UNSUPPORTED_FORMAT),
    (r"([Dd]evice or r|R)esource busy", problems.BUSY),
    (rf"VIDIOC_({_AT_START})\W*: No such device", problems.VANISHED),
    (r"Cannot open video device .*: No such device", problems.VANISHED),
    (r"No such device", problems.LOST),
    (rf"VIDIOC_\w+\W*: .*({_IO})", problems.IO_ERROR),
    (r"Cannot open video device .*: (Input/output|I/O) error", problems.IO_ERROR),
    (
        r"VIDIOC_\w+\W*: (Cannot allocate|Out of) memory|Insufficient buffer memory|mmap: ",
        problems.NO_BUFFERS,
    ),
    (
        r"VIDIOC_(?!\w+\W*: (Permission denied|Operation not permitted))\w+\W*: "
        r"|Invalid buffer index|Unknown timestamps|expected frame size",
        problems.DRIVER_ERROR,
    ),
)

SOUND = _patterns(
    (
        r"[Cc]annot open audio device|[Cc]annot set .*(channel|sample|access|buffer|period)"
        r"|pa_\w+ failed",
        problems.AUDIO_UNAVAILABLE,
    ),
    (r"Unknown input format: '?(alsa|pulse)", problems.NO_AUDIO_SUPPORT),
)

STREAMS = _patterns(
    (
        r"\b401\b.*[Uu]nauthori[sz]ed|\b403\b.*Forbidden|authori[sz]ation failed",
        problems.UNAUTHORISED,
    ),
    (
        r"method SETUP failed: 461\b|Nonmatching transport|rtsps?://\S+: Protocol not supported",
        problems.UNSUPPORTED_TRANSPORT,
    ),
    (r"method \w+ failed: 453\b", problems.SERVER_BUSY),
    (r"method \w+ failed: 503\b|Service Unavailable", problems.SERVER_UNAVAILABLE),
    (r"\b404\b.*([Nn]ot [Ff]ound|failed)|failed: 404\b", problems.STREAM_NOT_FOUND),
    (
        r"method \w+ failed: (?P<said>\d{3}\b.*)|Server returned (?P<more>\d{3}\b.*)"
        r"|Server returned",
        problems.SERVER_ERROR,
    ),
    (r"[Cc]ertificate|SSL routines|\bTLS\b|[Hh]andshake", problems.TLS_FAILED),
    (
        r"Connection to \w+:\S+ failed: (Permission denied|Operation not permitted)",
        problems.BLOCKED,
    ),
    (r"Connection refused", problems.CONNECTION_REFUSED),
    (
        r"Failed to resolve hostname|Name or service not known|Name does not resolve"
        r"|No route to host|[Nn]etwork (is )?unreachable|Host is unreachable|Network is down",
        problems.UNREACHABLE,
    ),
    (r"timed out|[Tt]imeout|rtsps?://\S+: Operation not permitted", problems.TIMED_OUT),
    (r"Connection reset|Broken pipe|End of file", problems.CLOSED),
    (r"rtsps?://\S+: Invalid data found|Error opening input file rtsps?://", problems.NO_STREAM),
    (r"dimensions not set|unspecified size", problems.NO_DESCRIPTION),
)

ENCODERS = _patterns(
    (r"Unknown encoder|Encoder not found|Error selecting an encoder", problems.NO_ENCODER),
    (
        r"/dev/dri/|VA display|VAAPI|nvcuda|libcuda|NVENC|[Nn]o capable devices|MFX session"
        r"|Could not find a valid device|Device creation failed|hardware device",
        problems.ENCODER_UNAVAILABLE,
    ),
)
OPTIONS = _patterns(
    (
        r"Unrecognized option|Option \S+ not found|Error splitting the argument list",
        problems.UNKNOWN_OPTION,
    ),
)

CONTENTS = _patterns(
    (r"Permission denied|Operation not permitted", problems.NO_PERMISSION),
    (r"No such file or directory", problems.NOT_FOUND),
    (r"Is a directory", problems.SOURCE_IS_A_DIRECTORY),
    (
        r"Could not find tag for codec|codec not currently supported in container",
        problems.NOT_FOR_MP4,
    ),
    (r"matches no streams|does not contain any stream", problems.NO_VIDEO),
    (r"Invalid data found when processing input|moov atom not found", problems.UNREADABLE),
    (
        r"Error setting option|Unable to parse option|Error setting preset|Error opening encoder"
        r"|Error while opening encoder|Error initializing output stream|Invalid argument",
        problems.REFUSED_OPTION,
    ),
    (r"Input/output error|I/O error|Protocol error", problems.IO_ERROR),
)

# Lines about encoders and sound come first: they contain words of a camera's, such as "device
# busy" and "permission denied".
TABLE = (*ENCODERS, *SOUND, *DEVICES, *OPTIONS, *STREAMS, *CONTENTS)

# Why a stream broke off: FFmpeg 9 logs it as a warning, other versions do not log it.
REASON_OF_A_WARNING = re.compile(r"Failed reading RTSP data")

# FFmpeg logs these about one packet and continues: not why it ended, when it logs anything else.
IN_PASSING = re.compile(
    r"while decoding|packet to decoder|decode_slice|no frame!|non.monoton|missed \d+ packet"
    r"|NAL unit|concealing|[Oo]verread|bad vlc|mb_type|mjpeg_decode|EOI missing|\b[DPdp][Tt][Ss]\b"
    r"|[Dd]ecode error rate|max delay reached|corrupt|Queue input is backward"
)
