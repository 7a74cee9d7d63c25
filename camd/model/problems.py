"""Problems: why a camera does not deliver, in words for people, with what to do about it.

Each problem has one text here, and every package uses it. A package that knows more, such as which
program holds the camera, adds it with `attrs.evolve`.
"""

from __future__ import annotations

import enum

import attrs

from camd.model.recordings import GapCause


class ProblemKind(enum.StrEnum):
    """What is wrong, in one word for programs: `cause` in the API and in logs."""

    # the device or file
    NOT_FOUND = "not_found"
    ABSENT = "absent"
    UNPLUGGED = "unplugged"
    AMBIGUOUS = "ambiguous"
    SWAPPED = "swapped"
    TAKEN = "taken"
    NO_DEVICE = "no_device"
    BUSY = "busy"
    HUNG = "hung"
    NO_PERMISSION = "no_permission"
    NO_BANDWIDTH = "no_bandwidth"
    NO_BUFFERS = "no_buffers"
    IO_ERROR = "io_error"
    DRIVER_ERROR = "driver_error"
    VANISHED = "vanished"
    LOST = "lost"
    INACTIVE = "inactive"
    NOT_A_FILE = "not_a_file"
    DISK_HANGS = "disk_hangs"
    UNREADABLE = "unreadable"
    NO_VIDEO = "no_video"
    UNSUPPORTED_FORMAT = "unsupported_format"
    # the stream
    STALLED = "stalled"
    SOUND_ONLY = "sound_only"
    SOUND_MISSING = "sound_missing"
    WAITING_FOR_KEY_FRAME = "waiting_for_key_frame"
    NO_PICTURE_YET = "no_picture_yet"
    STREAM_CHANGED = "stream_changed"
    ENDED = "ended"
    BEGUN_ANEW = "begun_anew"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    BLOCKED = "blocked"
    CONNECTION_REFUSED = "connection_refused"
    TIMED_OUT = "timed_out"
    TLS_FAILED = "tls_failed"
    UNAUTHORISED = "unauthorised"
    UNSUPPORTED_AUTHENTICATION = "unsupported_authentication"
    UNSUPPORTED_TRANSPORT = "unsupported_transport"
    NO_RTSP = "no_rtsp"
    NO_STREAM = "no_stream"
    NO_DESCRIPTION = "no_description"
    SERVER_BUSY = "server_busy"
    SERVER_UNAVAILABLE = "server_unavailable"
    SERVER_ERROR = "server_error"
    # sound, encoders, FFmpeg and camd itself
    AUDIO_UNAVAILABLE = "audio_unavailable"
    NO_AUDIO_SUPPORT = "no_audio_support"
    NO_ENCODER = "no_encoder"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    BAD_OPTION = "bad_option"
    BAD_STREAM = "bad_stream"
    FFMPEG_MISSING = "ffmpeg_missing"
    KILLED = "killed"
    CRASHED = "crashed"
    MUTE = "mute"
    UNKNOWN = "unknown"
    RESTARTING = "restarting"
    INTERNAL_ERROR = "internal_error"


@attrs.frozen
class Problem:
    """Why a camera does not deliver. The message has no full stop; the suggestion has one."""

    kind: ProblemKind
    message: str
    suggestion: str
    ledger_cause: GapCause = GapCause.ENCODER_EXIT  # of the gap that it makes in a recording
    possible: tuple[str, ...] = ()  # values that would work, nearest first


# --- not there, busy, hung, no permission, no FFmpeg

NOT_FOUND = Problem(
    ProblemKind.NOT_FOUND,
    "The camera's source is not there",
    "Plug the camera in, or correct its source in the configuration.",
    GapCause.CAMERA_LOST,
)
SOURCE_IS_A_DIRECTORY = Problem(
    ProblemKind.NOT_FOUND,
    "The source is a directory, not a file",
    "Correct the camera's source in the configuration.",
    GapCause.CAMERA_LOST,
)
STREAM_NOT_FOUND = Problem(
    ProblemKind.NOT_FOUND,
    "The server has no such stream",
    "Correct the path in the source's URL.",
    GapCause.SOURCE_UNREACHABLE,
)
ABSENT = Problem(
    ProblemKind.ABSENT,
    "The camera is not plugged in",
    "Plug the camera in; it is used as soon as it is there.",
    GapCause.CAMERA_LOST,
)
UNPLUGGED = attrs.evolve(ABSENT, kind=ProblemKind.UNPLUGGED)
CAMERA_REMOVED = attrs.evolve(
    ABSENT,
    message="The camera was removed",
    suggestion="Its recordings stay. To use it again, write its entry in the configuration again.",
)
BUSY = Problem(
    ProblemKind.BUSY,
    "Another program uses the camera",
    "End the program that has the camera open, or give camd another camera.",
    GapCause.CAMERA_BUSY,
)
HUNG = Problem(
    ProblemKind.HUNG,
    "The camera's driver does not answer",
    "Unplug the camera and plug it in again; if that does not help, power it off.",
    GapCause.CAMERA_HUNG,
)
FFMPEG_MISSING = Problem(
    ProblemKind.FFMPEG_MISSING,
    "FFmpeg could not be started",
    "Install FFmpeg (`apt install ffmpeg`, or the Python package imageio-ffmpeg beside camd), or "
    "set ffmpeg.path.",
)


def no_permission(user: str, source: str, suggestion: str) -> Problem:
    """Return the problem of a source that `user` may not open."""
    message = f"{user} may not open {source}"
    return Problem(ProblemKind.NO_PERMISSION, message, suggestion, GapCause.NO_PERMISSION)


NO_PERMISSION = no_permission(
    "The service",
    "the source",
    "Give the service's user access: for cameras, membership in the group video.",
)
FILE_NOT_READABLE = no_permission(
    "The service",
    "the source's file",
    "Let the service's user read the file, and enter the folders above it.",
)

# --- devices

NO_BANDWIDTH = Problem(
    ProblemKind.NO_BANDWIDTH,
    "The bus has no bandwidth left for this camera",
    "Use another USB port or controller, a smaller size or rate, or a compressed format.",
    GapCause.NO_BANDWIDTH,
)
NOT_A_CAMERA = Problem(
    ProblemKind.UNSUPPORTED_FORMAT,
    "The device's node does not deliver pictures",
    "Name the camera's capture node: its other nodes deliver metadata, or take pictures in.",
    GapCause.UNSUPPORTED_FORMAT,
)
UNSUPPORTED_FORMAT = Problem(
    ProblemKind.UNSUPPORTED_FORMAT,
    "The device does not offer the format that was asked for",
    "Ask for a format that the camera offers.",
    GapCause.UNSUPPORTED_FORMAT,
)
LOST = Problem(
    ProblemKind.LOST,
    "The camera was unplugged, or lost its power",
    "Check its cable and power; it is used again as soon as it is back.",
    GapCause.CAMERA_LOST,
)
VANISHED = Problem(
    ProblemKind.VANISHED,
    "The camera disappeared while it was being started",
    "Give it more power, such as from a hub with its own supply, or use a shorter cable.",
    GapCause.CAMERA_LOST,
)
IO_ERROR = Problem(
    ProblemKind.IO_ERROR,
    "The camera reported an error",
    "Unplug it and plug it in again; check its cable and power.",
    GapCause.CAMERA_ERROR,
)
NO_BUFFERS = Problem(
    ProblemKind.NO_BUFFERS,
    "The camera's driver has no memory for its pictures",
    "Use a smaller size, or fewer cameras at a time: each needs memory of the kernel.",
    GapCause.CAMERA_ERROR,
)
DRIVER_ERROR = Problem(
    ProblemKind.DRIVER_ERROR,
    "The camera's driver failed, and its node has to be opened again",
    "camd opens it again; if the problem stays, unplug the camera and plug it in again.",
    GapCause.CAMERA_ERROR,
)

# --- files

NOT_A_FILE = Problem(
    ProblemKind.NOT_A_FILE,
    "The source's path is no file",
    "Name a media file; write v4l2:/dev/… for a camera of this machine.",
    GapCause.CAMERA_LOST,
)
DISK_HANGS = Problem(
    ProblemKind.DISK_HANGS,
    "The disk or network share that the source's file is on does not answer",
    "Check the disk or the mount; camd tries again.",
    GapCause.CAMERA_LOST,
)
EMPTY_FILE = Problem(
    ProblemKind.UNREADABLE,
    "The source's file is empty",
    "Wait until it is written, or name another file.",
    GapCause.UNSUPPORTED_FORMAT,
)
FILE_RESTARTED = Problem(
    ProblemKind.BEGUN_ANEW,
    "The source's file was played to its end, and FFmpeg cannot seek back to its beginning",
    "camd starts it again; in a container it is repeated without a gap: "
    "`ffmpeg -i FILE -c copy FILE.mp4`.",
    GapCause.CAMERA_LOST,
)
FILE_ENDED = Problem(
    ProblemKind.ENDED,
    "The source's file came to its end without a picture",
    "Check the file with another player.",
    GapCause.CAMERA_LOST,
)

# --- what a source holds

UNREADABLE = Problem(
    ProblemKind.UNREADABLE,
    "The source holds nothing that FFmpeg can read",
    "Check the source with another player.",
    GapCause.UNSUPPORTED_FORMAT,
)
NO_VIDEO = Problem(
    ProblemKind.NO_VIDEO,
    "The source has no video",
    "Choose a source with a video stream.",
    GapCause.UNSUPPORTED_FORMAT,
)
NOT_FOR_MP4 = Problem(
    ProblemKind.UNSUPPORTED_FORMAT,
    "MP4 cannot hold the source's codec",
    'Have it encoded: codec = "h264", or set audio = "off".',
    GapCause.UNSUPPORTED_FORMAT,
)

# --- pictures that do not come

STALLED = Problem(
    ProblemKind.STALLED,
    "The camera is there but delivers no pictures",
    "Check the camera's cabling and power; camd tries again. For a camera that delivers rarely, "
    "raise ffmpeg.stall_timeout and ffmpeg.start_timeout.",
    GapCause.CAMERA_STALLED,
)
SOUND_ONLY = Problem(
    ProblemKind.SOUND_ONLY,
    "The source delivers sound, but no pictures",
    "Check the camera's pictures with another player, and its cabling and power; camd tries "
    "again. For a camera whose pictures come late, raise ffmpeg.start_timeout.",
    GapCause.CAMERA_STALLED,
)
SOUND_MISSING = Problem(
    ProblemKind.SOUND_MISSING,
    "The source announces sound that does not come, and pictures wait for it",
    'camd records it without sound; audio = "off" of this camera avoids the wait.',
    GapCause.CAMERA_STALLED,
)
WAITING_FOR_KEY_FRAME = Problem(
    ProblemKind.WAITING_FOR_KEY_FRAME,
    "The source delivers pictures, but no key frame yet: a recording begins with one",
    "Have the camera send key frames more often (every 1 to 4 s), or raise ffmpeg.start_timeout "
    "above their distance; with always_on = true a start need not wait for one.",
    GapCause.CAMERA_STALLED,
)
NO_PICTURE_YET = Problem(
    ProblemKind.NO_PICTURE_YET,
    "No picture that can be recorded has come in time",
    "Raise recording.answer_timeout for a source that is slow, or delivers rarely, and "
    "ffmpeg.start_timeout for one that is silent longer; always_on = true captures it before a "
    "start.",
    GapCause.CAMERA_STALLED,
)
NO_DESCRIPTION = Problem(
    ProblemKind.NO_DESCRIPTION,
    "The source neither describes its pictures, nor sent one that does so",
    "Have the camera send key frames more often, or raise ffmpeg.start_timeout.",
    GapCause.CAMERA_STALLED,
)
ENDED = Problem(
    ProblemKind.ENDED,
    "The source came to its end",
    "Nothing: camd opens it again.",
    GapCause.CAMERA_LOST,
)
STREAM_CHANGED = Problem(
    ProblemKind.STREAM_CHANGED,
    "The source delivers another codec than before, or sound that it did not have",
    "Nothing: camd probes it again.",
    GapCause.CAMERA_LOST,
)

# --- servers of streams

UNREACHABLE = Problem(
    ProblemKind.UNREACHABLE,
    "The source's host cannot be reached",
    "Check the host's name and the network.",
    GapCause.SOURCE_UNREACHABLE,
)
BLOCKED = Problem(
    ProblemKind.BLOCKED,
    "This machine does not let the service connect to the source",
    "Check the firewall, and IPAddressAllow of the service's unit.",
    GapCause.SOURCE_UNREACHABLE,
)
CONNECTION_REFUSED = Problem(
    ProblemKind.CONNECTION_REFUSED,
    "The source's host is there, but nothing answers on that port",
    "Check that the stream is being served, and on which port.",
    GapCause.SOURCE_UNREACHABLE,
)
TIMED_OUT = Problem(
    ProblemKind.TIMED_OUT,
    "The source does not answer in time",
    "Check that its host is on and speaks RTSP on that port; for a slow source, raise "
    "ffmpeg.start_timeout.",
    GapCause.SOURCE_UNREACHABLE,
)
CLOSED = Problem(
    ProblemKind.CLOSED,
    "The source closed the connection",
    "Check the source; camd connects again.",
    GapCause.CAMERA_LOST,
)
TLS_FAILED = Problem(
    ProblemKind.TLS_FAILED,
    "No secure connection to the source could be made",
    "Check the source's certificate, and that it speaks RTSP over TLS on that port; "
    "tls_verify = false for this camera accepts any certificate.",
    GapCause.SOURCE_UNREACHABLE,
)
UNAUTHORISED = Problem(
    ProblemKind.UNAUTHORISED,
    "The source refused the credentials",
    "Correct user name and password in the source's URL.",
    GapCause.SOURCE_UNREACHABLE,
)
UNSUPPORTED_TRANSPORT = Problem(
    ProblemKind.UNSUPPORTED_TRANSPORT,
    "The server does not send the stream by the transport that was asked for",
    'Set transport = "auto" for this camera, or the other one of "tcp" and "udp".',
    GapCause.SOURCE_UNREACHABLE,
)
NO_STREAM = Problem(
    ProblemKind.NO_STREAM,
    "The server was reached, but gives no stream",
    "Check that it speaks RTSP on that port; try the source with another player.",
    GapCause.SOURCE_UNREACHABLE,
)
SERVER_BUSY = Problem(
    ProblemKind.SERVER_BUSY,
    "The server has no bandwidth left for another client",
    "End another client of the camera, or choose a smaller stream of it.",
    GapCause.SOURCE_UNREACHABLE,
)
SERVER_UNAVAILABLE = Problem(
    ProblemKind.SERVER_UNAVAILABLE,
    "The server is there, but does not serve the stream now",
    "It may be starting, or serve only a few clients at a time; camd tries again.",
    GapCause.SOURCE_UNREACHABLE,
)
SERVER_ERROR = Problem(
    ProblemKind.SERVER_ERROR,
    "The server refused to serve the stream",
    "Check the source with another player; look at the camera's own log.",
    GapCause.SOURCE_UNREACHABLE,
)

# --- sound, encoders and options

AUDIO_UNAVAILABLE = Problem(
    ProblemKind.AUDIO_UNAVAILABLE,
    "The camera's sound cannot be recorded",
    'Correct audio of this camera, end other programs that use it, or set audio = "off".',
    GapCause.CAMERA_ERROR,
)
NO_AUDIO_SUPPORT = Problem(
    ProblemKind.NO_AUDIO_SUPPORT,
    "This FFmpeg cannot record sound",
    'Install your distribution\'s FFmpeg, or set audio = "off".',
)
NO_ENCODER = Problem(
    ProblemKind.NO_ENCODER,
    "This FFmpeg lacks the configured encoder",
    "Install an FFmpeg that has it, or choose another codec.",
)
ENCODER_UNAVAILABLE = Problem(
    ProblemKind.ENCODER_UNAVAILABLE,
    "The hardware encoder does not work",
    "Check its driver and the service's access to it, or choose another encoder.",
)
UNKNOWN_OPTION = Problem(
    ProblemKind.BAD_OPTION,
    "This FFmpeg does not know an option it was given",
    "Correct input_options and output_options of this camera.",
)
REFUSED_OPTION = Problem(
    ProblemKind.BAD_OPTION,
    "FFmpeg does not accept the settings it was given",
    "Correct size, bitrate, codec and options of this camera.",
)
CANNOT_VERIFY_TLS = Problem(
    ProblemKind.BAD_OPTION,
    "This FFmpeg cannot verify the certificate of an rtsps server",
    "Install a newer FFmpeg, or remove tls_verify from this camera's entry.",
)

# --- FFmpeg's process, and camd itself

OUTPUT_CLOSED = Problem(
    ProblemKind.MUTE,
    "FFmpeg closed its output and went on running",
    "Look for more in the service's log; camd has ended it, and starts it again.",
)
BAD_STREAM = Problem(
    ProblemKind.BAD_STREAM,
    "FFmpeg's output is not fragmented MP4",
    "Check output_options of this camera.",
)
KILLED = Problem(
    ProblemKind.KILLED,
    "FFmpeg was ended by a signal",
    "Look for a lack of memory in the system's log.",
)
CRASHED = Problem(
    ProblemKind.CRASHED,
    "FFmpeg crashed",
    "Try another version of FFmpeg; look at input_options and output_options of this camera.",
)
UNKNOWN = Problem(ProblemKind.UNKNOWN, "FFmpeg gave up", "Look for more in the service's log.")
CAMERA_RESTARTS = Problem(
    ProblemKind.INTERNAL_ERROR,
    "The camera's own task failed and is being restarted",
    "Try again in a moment; the traceback is in the service's log.",
)
