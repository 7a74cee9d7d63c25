"""What can be wrong with a source: cause, words for people, what to do, and the ledger's cause.

The tables go from FFmpeg's words to a trouble; the first row that fits wins. Words are those of
FFmpeg 4.2 to 9, with the C libraries glibc and musl, which name some errors differently.
"""

from __future__ import annotations

import re

import attrs

from camd.model import Cause, Problem


@attrs.frozen
class ErrorPattern:
    """A pattern in FFmpeg's error lines, and the trouble it stands for."""

    pattern: re.Pattern[str]
    problem: Problem


def _row(pattern: str, problem: Problem) -> ErrorPattern:
    return ErrorPattern(re.compile(pattern), problem)


# --- what camd notices by itself ----------------------------------------------------------

ABSENT = Problem(
    "not_found",
    "The source is not there",
    "Check that the camera is plugged in, or that the path is right.",
    Cause.CAMERA_LOST,
)
LOST = Problem(
    "lost",
    "The camera went away",
    "Check its cable and power; it is used again as soon as it is back.",
    Cause.CAMERA_LOST,
)
NOT_A_FILE = Problem(
    "not_a_file",
    "The source's path is no file",
    "Name a media file; write v4l2:/dev/… for a camera of this machine.",
    Cause.CAMERA_LOST,
)
STALLED = Problem(
    "stalled",
    "The camera is there but delivers no pictures",
    "Check the camera's cabling and power; it is tried again by itself. For one that delivers "
    "rarely, raise ffmpeg.stall_timeout and ffmpeg.start_timeout.",
    Cause.CAMERA_STALLED,
)
SOUND_ONLY = Problem(
    "sound_only",
    "The source delivers sound, but no pictures",
    "Check the camera's pictures elsewhere, and its cabling and power; it is tried again by "
    "itself. For one whose pictures come late, raise ffmpeg.start_timeout.",
    Cause.CAMERA_STALLED,
)
WAITING_FOR_KEY_FRAME = Problem(
    "waiting_for_key_frame",
    "The source delivers pictures, but no key frame yet: a recording begins with one",
    "Have the camera send key frames more often (1 to 4 s), or raise ffmpeg.start_timeout above "
    "their distance; with always_on = true a start need not wait for one.",
    Cause.CAMERA_STALLED,
)
SOUND_MISSING = Problem(
    "sound_missing",
    "The source announces sound that does not come, and pictures wait for it",
    'It is recorded without sound by itself; audio = "off" of this camera spares the wait.',
    Cause.CAMERA_STALLED,
)
NO_PICTURE_YET = Problem(
    "no_picture_yet",
    "No picture that can be recorded has come in time",
    "Raise recording.answer_timeout for a slow source, or one that delivers rarely, and "
    "ffmpeg.start_timeout where it stays silent for longer; with always_on = true it is captured "
    "before a start.",
    Cause.CAMERA_STALLED,
)
HUNG = Problem(
    "hung",
    "The capture process does not end, even when killed",
    "The driver is stuck; unplug the camera and plug it in again.",
    Cause.CAMERA_HUNG,
)
MUTE = Problem(
    "mute",
    "The capture process closed its output and went on running",
    "Look for more in the service's log; it was ended, and is started again.",
)
BAD_STREAM = Problem(
    "bad_stream",
    "FFmpeg delivered what is not fragmented MP4",
    "Check output_options of this camera.",
)
FFMPEG_MISSING = Problem(
    "ffmpeg_missing",
    "FFmpeg could not be started",
    "Install FFmpeg, or name the program in [ffmpeg] path.",
)
KILLED = Problem(
    "killed",
    "FFmpeg was ended by a signal",
    "Look for a lack of memory in the system's log.",
)
CRASHED = Problem(
    "crashed",
    "FFmpeg crashed",
    "Try another version of FFmpeg; look at input_options and output_options of this camera.",
)
ENDED = Problem(
    "ended",
    "The source came to its end",
    "A stream is connected to again by itself; a file can be repeated with loop.",
    Cause.CAMERA_LOST,
)
BEGUN_ANEW = Problem(
    "begun_anew",
    "The source's file was played to its end, and FFmpeg cannot go back to its beginning",
    "It is begun anew by itself; in a container it is repeated without a gap: "
    "`ffmpeg -i FILE -c copy FILE.mp4`.",
    Cause.CAMERA_LOST,
)
CHANGED = Problem(
    "stream_changed",
    "The source delivers another codec than it did before",
    "Nothing: it is asked anew by itself.",
    Cause.CAMERA_LOST,
)
UNKNOWN = Problem("unknown", "FFmpeg gave up", "Look for more in the service's log.")
NOTICED = (
    *(ABSENT, NOT_A_FILE, LOST, STALLED, SOUND_ONLY, WAITING_FOR_KEY_FRAME, NO_PICTURE_YET),
    *(
        SOUND_MISSING,
        HUNG,
        MUTE,
        BAD_STREAM,
        FFMPEG_MISSING,
        KILLED,
        CRASHED,
        ENDED,
        BEGUN_ANEW,
        CHANGED,
    ),
    UNKNOWN,
)

# --- what FFmpeg says ---------------------------------------------------------------------

BUSY = Problem(
    "busy",
    "Another program uses the camera",
    "End the program that has the camera open, or give camd another camera.",
    Cause.CAMERA_BUSY,
)
NO_PERMISSION = Problem(
    "no_permission",
    "The service may not open the source",
    "Give the service's user access: for cameras, membership in the group video.",
    Cause.NO_PERMISSION,
)
NO_BANDWIDTH = Problem(
    "no_bandwidth",
    "The bus has no bandwidth left for this camera",
    "Use another USB port or controller, a smaller size or rate, or a compressed format.",
    Cause.NO_BANDWIDTH,
)
NOT_A_CAMERA = Problem(
    "unsupported_format",
    "The device's node does not deliver pictures",
    "Name the camera's capture node: its others carry metadata, or take pictures in.",
    Cause.UNSUPPORTED_FORMAT,
)
UNSUPPORTED_FORMAT = Problem(
    "unsupported_format",
    "The device does not offer what was asked for",
    "Ask for a format that the camera offers.",
    Cause.UNSUPPORTED_FORMAT,
)
VANISHED = Problem(
    "vanished",
    "The camera went away while it was being started",
    "Give it more power, such as a hub with its own supply, or a shorter cable.",
    Cause.CAMERA_LOST,
)
IO_ERROR = Problem(
    "io_error",
    "The camera reported an error",
    "Unplug it and plug it in again; check its cable and power.",
    Cause.CAMERA_ERROR,
)
NO_BUFFERS = Problem(
    "no_buffers",
    "The camera's driver has no memory for its pictures",
    "Use a smaller size; fewer cameras at a time need less of the kernel's memory.",
    Cause.CAMERA_ERROR,
)
DRIVER_ERROR = Problem(
    "driver_error",
    "The camera's driver refused to work and needs its node opened anew",
    "It is opened again by itself; if it stays, unplug the camera and plug it in again.",
    Cause.CAMERA_ERROR,
)
_AT_START = "QUERYCAP|[GS]_INPUT|ENUMINPUT|[GS]_FMT|S_PARM|REQBUFS|QUERYBUF|STREAMON"
_IO = "Input/output error|I/O error|Protocol error|Broken pipe|timed out|Value too large"

DEVICES = (
    _row(r"VIDIOC_STREAMON\W*: No space left", NO_BANDWIDTH),
    _row(
        r"Not a video capture device|does not support .*streaming|Inappropriate ioctl|Not a tty"
        r"|codec 'none' .*pixel format 'none'",
        NOT_A_CAMERA,
    ),
    _row(r"Cannot find a proper format for codec|No such input format", UNSUPPORTED_FORMAT),
    _row(r"([Dd]evice or r|R)esource busy", BUSY),
    _row(rf"VIDIOC_({_AT_START})\W*: No such device", VANISHED),
    _row(r"Cannot open video device .*: No such device", VANISHED),
    _row(r"No such device", LOST),
    _row(rf"VIDIOC_\w+\W*: .*({_IO})", IO_ERROR),
    _row(r"Cannot open video device .*: (Input/output|I/O) error", IO_ERROR),
    _row(
        r"VIDIOC_\w+\W*: (Cannot allocate|Out of) memory|Insufficient buffer memory|mmap: ",
        NO_BUFFERS,
    ),
    _row(
        r"VIDIOC_(?!\w+\W*: (Permission denied|Operation not permitted))\w+\W*: "
        r"|Invalid buffer index|Unknown timestamps|expected frame size",
        DRIVER_ERROR,
    ),
)

SOUND = (
    _row(
        r"[Cc]annot open audio device|[Cc]annot set .*(channel|sample|access|buffer|period)"
        r"|pa_\w+ failed",
        Problem(
            "audio_unavailable",
            "The camera's sound cannot be recorded",
            'Correct audio of this camera, end what else uses it, or set audio = "off".',
            Cause.CAMERA_ERROR,
        ),
    ),
    _row(
        r"Unknown input format: '?(alsa|pulse)",
        Problem(
            "no_audio_support",
            "This FFmpeg cannot record sound",
            'Install your distribution\'s FFmpeg, or set audio = "off".',
        ),
    ),
)

STREAMS = (
    _row(
        r"\b401\b.*[Uu]nauthori[sz]ed|\b403\b.*Forbidden|authori[sz]ation failed",
        Problem(
            "unauthorised",
            "The source refused the credentials",
            "Correct user name and password in the source's URL.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"method SETUP failed: 461\b|Nonmatching transport|rtsps?://\S+: Protocol not supported",
        Problem(
            "unsupported_transport",
            "The server does not send the stream by the transport that was asked for",
            'Set transport = "auto" for this camera, or the other one of "tcp" and "udp".',
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"method \w+ failed: 453\b",
        Problem(
            "server_busy",
            "The server has no bandwidth left for another client",
            "End another client of the camera, or choose a smaller stream of it.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"method \w+ failed: 503\b|Service Unavailable",
        Problem(
            "server_unavailable",
            "The server is there, but does not serve the stream at the moment",
            "It may serve few clients at a time, or be starting; it is tried again by itself.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"\b404\b.*([Nn]ot [Ff]ound|failed)|failed: 404\b",
        Problem(
            "not_found",
            "The server has no such stream",
            "Correct the path in the source's URL.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"method \w+ failed: (?P<said>\d{3}\b.*)|Server returned (?P<more>\d{3}\b.*)"
        r"|Server returned",
        Problem(
            "server_error",
            "The server refused to serve the stream",
            "Check the source with another player; look at the camera's own log.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"[Cc]ertificate|SSL routines|\bTLS\b|[Hh]andshake",
        Problem(
            "tls_failed",
            "No secure connection to the source could be made",
            "Check the source's certificate, and that it speaks RTSP over TLS on that port; "
            "tls_verify = false for this camera takes any certificate.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"Connection to \w+:\S+ failed: (Permission denied|Operation not permitted)",
        Problem(
            "blocked",
            "This machine does not let the service connect to the source",
            "Check the firewall, and IPAddressAllow of the service's unit.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"Connection refused",
        Problem(
            "connection_refused",
            "The source's host is there, but nothing answers on that port",
            "Check that the stream is being served, and on which port.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"Failed to resolve hostname|Name or service not known|Name does not resolve"
        r"|No route to host|[Nn]etwork (is )?unreachable|Host is unreachable|Network is down",
        Problem(
            "unreachable",
            "The source's host cannot be reached",
            "Check the host's name and the network.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"timed out|[Tt]imeout|rtsps?://\S+: Operation not permitted",
        Problem(
            "timed_out",
            "The source does not answer",
            "Check that its host is on and reachable; for a slow one, raise ffmpeg.start_timeout.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"Connection reset|Broken pipe|End of file",
        Problem(
            "closed",
            "The source closed the connection",
            "Check the source; camd connects again by itself.",
            Cause.CAMERA_LOST,
        ),
    ),
    _row(
        r"rtsps?://\S+: Invalid data found|Error opening input file rtsps?://",
        Problem(
            "no_stream",
            "The server was reached, but gives no stream",
            "Check that it speaks RTSP on that port; try the source with another player.",
            Cause.SOURCE_UNREACHABLE,
        ),
    ),
    _row(
        r"dimensions not set|unspecified size",
        Problem(
            "no_description",
            "The source neither says what its pictures are like, nor sent one that does so",
            "Have the camera send key frames more often, or raise ffmpeg.start_timeout.",
            Cause.CAMERA_STALLED,
        ),
    ),
)

ENCODERS = (
    _row(
        r"Unknown encoder|Encoder not found|Error selecting an encoder",
        Problem(
            "no_encoder",
            "This FFmpeg lacks the encoder that is configured",
            "Install an FFmpeg that has it, or choose another codec.",
        ),
    ),
    _row(
        r"/dev/dri/|VA display|VAAPI|nvcuda|libcuda|NVENC|[Nn]o capable devices|MFX session"
        r"|Could not find a valid device|Device creation failed|hardware device",
        Problem(
            "encoder_unavailable",
            "The hardware encoder does not work",
            "Check its driver and the service's access to it, or choose another encoder.",
        ),
    ),
    _row(
        r"Unrecognized option|Option \S+ not found|Error splitting the argument list",
        Problem(
            "bad_option",
            "This FFmpeg does not know an option it was given",
            "Correct input_options and output_options of this camera.",
        ),
    ),
)

CONTENTS = (
    _row(r"Permission denied|Operation not permitted", NO_PERMISSION),
    _row(r"No such file or directory", ABSENT),
    _row(
        r"Is a directory",
        attrs.evolve(
            ABSENT,
            message="The source is a directory, not a file",
            suggestion="Correct the camera's source in the configuration.",
        ),
    ),
    _row(
        r"Could not find tag for codec|codec not currently supported in container",
        Problem(
            "unsupported_format",
            "MP4 cannot hold what the source delivers",
            'Have it encoded: codec = "h264", or set audio = "off".',
            Cause.UNSUPPORTED_FORMAT,
        ),
    ),
    _row(
        r"matches no streams|does not contain any stream",
        Problem(
            "no_video",
            "The source has no video",
            "Choose a source with a video stream.",
            Cause.UNSUPPORTED_FORMAT,
        ),
    ),
    _row(
        r"Invalid data found when processing input|moov atom not found",
        Problem(
            "unreadable",
            "The source holds nothing that FFmpeg can read",
            "Check the source with another player.",
            Cause.UNSUPPORTED_FORMAT,
        ),
    ),
    _row(
        r"Error setting option|Unable to parse option|Error setting preset|Error opening encoder"
        r"|Error while opening encoder|Error initializing output stream|Invalid argument",
        Problem(
            "bad_option",
            "FFmpeg does not accept the settings it was given",
            "Correct size, bitrate, codec and options of this camera.",
        ),
    ),
    _row(r"Input/output error|I/O error|Protocol error", IO_ERROR),
)

# An encoder's or a sound card's words hold those of a camera: "device busy", "permission denied".
TABLE: tuple[ErrorPattern, ...] = (
    *ENCODERS[:2],
    *SOUND,
    *DEVICES,
    ENCODERS[2],
    *STREAMS,
    *CONTENTS,
)

# The reason why a stream broke off, which FFmpeg 9 tells as a warning and others do not.
REASON_OF_A_WARNING = re.compile(r"Failed reading RTSP data")

# What FFmpeg says of one packet, and goes on: never why it ended, when it says anything else.
IN_PASSING = re.compile(
    r"while decoding|packet to decoder|decode_slice|no frame!|non.monoton|missed \d+ packet"
    r"|NAL unit|concealing|[Oo]verread|bad vlc|mb_type|mjpeg_decode|EOI missing|\b[DPdp][Tt][Ss]\b"
    r"|[Dd]ecode error rate|max delay reached|corrupt|Queue input is backward"
)
