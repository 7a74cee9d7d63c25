"""The table from FFmpeg's words to what is wrong and what to do; the first row that fits wins."""

from __future__ import annotations

import re

import attrs

from camd.model import Cause, Trouble


@attrs.frozen
class Row:
    """A pattern in FFmpeg's error lines, and the trouble it stands for."""

    pattern: re.Pattern[str]
    trouble: Trouble


def _row(
    pattern: str,
    cause: str,
    message: str,
    suggestion: str,
    ledger_cause: Cause = Cause.CAMERA_LOST,
) -> Row:
    return Row(re.compile(pattern), Trouble(cause, message, suggestion, ledger_cause))


TABLE: tuple[Row, ...] = (
    _row(
        r"cannot open audio device|cannot set sample format|cannot set channel count"
        r"|cannot set (?:sample rate|access type|parameters)",
        "no_sound",
        "The camera's sound device cannot be used",
        "Check what else uses it; the camera is recorded without sound meanwhile.",
        Cause.ENCODER_EXIT,
    ),
    _row(
        r"VIDIOC_STREAMON\w*\): No space left",
        "no_bandwidth",
        "The bus has no bandwidth left for this camera",
        "Use another USB port or controller, a smaller size or rate, or a compressed format.",
    ),
    _row(
        r"[Dd]evice or resource busy",
        "busy",
        "Another program uses the camera",
        "End the program that has the camera open, or give camd another camera.",
    ),
    _row(
        r"Permission denied|Operation not permitted",
        "no_permission",
        "The service may not open the source",
        "Give the service's user access: for cameras, membership in the group video.",
    ),
    _row(
        r"VIDIOC_DQBUF\w*\): No such device|No such device",
        "lost",
        "The camera went away",
        "Check its cable and power; it is used again as soon as it is back.",
    ),
    _row(
        r"Unknown encoder|Encoder not found|Error selecting an encoder",
        "no_encoder",
        "This FFmpeg lacks the encoder that is configured",
        "Install an FFmpeg that has it, or choose another codec.",
        Cause.ENCODER_EXIT,
    ),
    _row(
        r"Unrecognized option|Option \S+ not found|Error splitting the argument list",
        "bad_option",
        "This FFmpeg does not know an option it was given",
        "Correct input_options and output_options of this camera.",
        Cause.ENCODER_EXIT,
    ),
    _row(
        r"\b401\b.*[Uu]nauthori[sz]ed|\b403\b.*Forbidden|authori[sz]ation failed",
        "unauthorised",
        "The source refused the credentials",
        "Correct user name and password in the source's URL.",
    ),
    _row(
        r"Connection refused",
        "connection_refused",
        "The source's host is there, but nothing answers on that port",
        "Check that the stream is being served, and on which port.",
    ),
    _row(
        r"timed out|[Tt]imeout",
        "timed_out",
        "The source does not answer",
        "Check that its host is on and reachable.",
    ),
    _row(
        r"Failed to resolve hostname|Name or service not known|No route to host"
        r"|[Nn]etwork is unreachable|Host is unreachable",
        "unreachable",
        "The source's host cannot be reached",
        "Check the host's name and the network.",
    ),
    _row(
        r"Connection reset|Broken pipe|End of file",
        "lost",
        "The source closed the connection",
        "Check the source; camd connects again by itself.",
    ),
    _row(
        r"\b404\b.*Not Found",
        "not_found",
        "The server has no such stream",
        "Correct the path in the source's URL.",
    ),
    _row(
        r"No such file or directory|Is a directory",
        "not_found",
        "The source is not there",
        "Check that the camera is plugged in, or that the path is right.",
    ),
    _row(
        r"Cannot find a proper format for codec|Inappropriate ioctl for device"
        r"|Not a video capture device|does not support streaming",
        "unsupported_format",
        "The device does not offer what was asked for",
        "Ask for a format that the camera offers, or name its capture node.",
    ),
    _row(
        r"matches no streams|does not contain any stream",
        "no_video",
        "The source has no video",
        "Choose a source with a video stream.",
    ),
    _row(
        r"Invalid data found when processing input|moov atom not found",
        "unreadable",
        "The source holds nothing that FFmpeg can read",
        "Check the source with another player.",
    ),
    _row(
        r"Error setting option|Unable to parse option|Error setting preset|Error opening encoder"
        r"|Error while opening encoder|Error initializing output stream|Invalid argument",
        "bad_option",
        "FFmpeg does not accept the settings it was given",
        "Correct size, bitrate, codec and options of this camera.",
        Cause.ENCODER_EXIT,
    ),
    _row(
        r"Input/output error",
        "io_error",
        "The camera reported an error",
        "Unplug it and plug it in again; check its cable and power.",
    ),
)
