"""Real error lines of FFmpeg 4.2 to 9, and the problems that they mean."""

from __future__ import annotations

import pytest

from camd.ffmpeg.text.error_patterns import IN_PASSING
from camd.ffmpeg.text.output import parse_line, parse_refusal, problem_of_exit
from camd.model import GapCause

V4L2 = "[video4linux2,v4l2 @ 0x55d1c0] [error] "  # 4 to 8
INPUT = "[in#0/video4linux2,v4l2 @ 0x55d1c0] [error] "  # from 6.1 on, in other places from 9 on


def opening(words: str, *details: str) -> list[list[str]]:
    """Return the lines of 4.4, 5.1, 7 and 9 when an input cannot be opened."""
    first = [f"{V4L2}{detail}" for detail in details]
    new = [
        f"[in#0 @ 0x5581] [error] Error opening input: {words}",
        "[error] Error opening input file /dev/video0.",
        f"[fatal] Error opening input files: {words}",
    ]
    named = [line.replace(V4L2, "[in#0 @ 0x5582] [error] ") for line in first]
    return [[*first, f"[error] /dev/video0: {words}"], [*first, *new], [*named, *new]]


def running(detail: str, words: str) -> list[list[str]]:
    """Return the lines of 4.4, 5.1, 6, 7 and 9 when an input ends with an error."""
    return [
        [f"{V4L2}{detail}", f"[error] /dev/video0: {words}"],
        [f"{V4L2}{detail}", f"{INPUT}Error during demuxing: {words}"],
        [f"[in#0 @ 0x5582] [error] {detail}", f"{INPUT}Error during demuxing: {words}"],
        [
            f"{V4L2}{detail}",
            f"{INPUT}Error during demuxing: {words}",
            f"{INPUT}Error retrieving a packet from demuxer: {words}",
        ],
    ]


def connecting(words: str, *details: str) -> list[list[str]]:
    """Return the lines of 4.2, 7 and 9 when a stream cannot be opened."""
    old = [f"[rtsp @ 0x55d1c0] [error] {detail}" for detail in details]
    new = [
        f"[in#0 @ 0x5581] [error] Error opening input: {words}",
        "[error] Error opening input file rtsp://u:p@10.0.0.9/x.",
        f"[fatal] Error opening input files: {words}",
    ]
    named = [line.replace("rtsp @", "in#0 @") for line in old]
    return [[*old, f"[error] rtsp://u:p@10.0.0.9/x: {words}"], [*old, *new], [*named, *new]]


READING = "[in#0/rtsp @ 0x5] [warning] Failed reading RTSP data: "  # from 9 on
CANNOT_OPEN = "Cannot open video device /dev/video0: "
CASES = {
    ("lost", GapCause.CAMERA_LOST): [
        *running("ioctl(VIDIOC_DQBUF): No such device", "No such device"),
        [
            f"{V4L2}ioctl(VIDIOC_DQBUF): No such device",
            "[error] ioctl(VIDIOC_QBUF): Bad file descriptor",
        ],
        [f"{V4L2}ioctl(VIDIOC_DQBUF): Input/output error", "[error] /dev/video0: No such device"],
    ],
    ("vanished", GapCause.CAMERA_LOST): [
        *opening("No such device", "ioctl(VIDIOC_STREAMON): No such device"),
        *opening("No such device", "ioctl(VIDIOC_QUERYCAP): No such device"),
        *opening("No such device", f"{CANNOT_OPEN}No such device"),
        *opening("No such device or address", f"{CANNOT_OPEN}No such device or address"),
    ],
    ("not_found", GapCause.CAMERA_LOST): [
        *opening("No such file or directory", f"{CANNOT_OPEN}No such file or directory"),
    ],
    ("io_error", GapCause.CAMERA_ERROR): [
        *running("ioctl(VIDIOC_DQBUF): Input/output error", "Input/output error"),
        *running("ioctl(VIDIOC_DQBUF): I/O error", "I/O error"),
        *opening("Input/output error", "ioctl(VIDIOC_STREAMON): Input/output error"),
        *opening("Input/output error", f"{CANNOT_OPEN}Input/output error"),
        *opening("Protocol error", "ioctl(VIDIOC_S_FMT): Protocol error"),
        *opening("Broken pipe", "ioctl(VIDIOC_STREAMON): Broken pipe"),
        *opening("Connection timed out", "ioctl(VIDIOC_S_PARM): Connection timed out"),
    ],
    ("busy", GapCause.CAMERA_BUSY): [
        *opening("Device or resource busy", "ioctl(VIDIOC_STREAMON): Device or resource busy"),
        *opening("Device or resource busy", "ioctl(VIDIOC_REQBUFS): Device or resource busy"),
        *opening("Device or resource busy", f"{CANNOT_OPEN}Device or resource busy"),
        *opening("Resource busy", "ioctl(VIDIOC_S_FMT): Resource busy"),
    ],
    ("no_permission", GapCause.NO_PERMISSION): [
        *opening("Permission denied", f"{CANNOT_OPEN}Permission denied"),
        *opening("Operation not permitted", f"{CANNOT_OPEN}Operation not permitted"),
    ],
    ("no_bandwidth", GapCause.NO_BANDWIDTH): [
        *opening("No space left on device", "ioctl(VIDIOC_STREAMON): No space left on device"),
    ],
    ("unsupported_format", GapCause.UNSUPPORTED_FORMAT): [
        *opening("Invalid argument", "Cannot find a proper format for codec 'mjpeg' (id 7)"),
        *opening("Invalid argument", "No such input format: h266."),
        *opening(
            "Invalid argument",
            "Cannot find a proper format for codec 'none' (id 0), pixel format 'none' (id -1)",
        ),
        *opening(
            "Inappropriate ioctl for device",
            "ioctl(VIDIOC_G_INPUT): Inappropriate ioctl for device",
        ),
        *opening("No such device", "Not a video capture device."),
        *opening(
            "Function not implemented",
            "The device does not support the streaming I/O method.",
        ),
        ["[mp4 @ 0x5] [error] Could not find tag for codec vp8 in stream #0, codec not currently"],
    ],
    ("driver_error", GapCause.CAMERA_ERROR): [
        *opening("Invalid argument", "ioctl(VIDIOC_REQBUFS): Invalid argument"),
        *opening("Invalid argument", "ioctl(VIDIOC_QBUF): Invalid argument"),
        *opening("Invalid argument", "ioctl(VIDIOC_STREAMON): Invalid argument"),
        *running("ioctl(VIDIOC_DQBUF): Invalid argument", "Invalid argument"),
        *running("Unknown timestamps", "Input/output error"),
    ],
    ("unauthorised", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Server returned 401 Unauthorized (authorization failed)",
            "method OPTIONS failed: 401 Unauthorized",
        ),
        *connecting(
            "Server returned 403 Forbidden (access denied)", "method SETUP failed: 403 (Forbidden)"
        ),
    ],
    ("not_found", GapCause.SOURCE_UNREACHABLE): [
        *connecting("Server returned 404 Not Found", "method DESCRIBE failed: 404 Not Found"),
        *connecting("Server returned 404 Not Found", "method DESCRIBE failed: 404 (Not Found)"),
    ],
    ("server_error", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Server returned 5XX Server Error reply",
            "method DESCRIBE failed: 500 Internal Server Error",
        ),
        *connecting("Server returned 400 Bad Request"),
    ],
    ("server_unavailable", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Server returned 5XX Server Error reply",
            "method DESCRIBE failed: 503 Service Unavailable",
        ),
    ],
    ("server_busy", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Server returned 4XX Client Error, but not one of 40{0,1,3,4}",
            "method SETUP failed: 453 (Not Enough Bandwidth)",
        ),
    ],
    ("unsupported_transport", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Server returned 4XX Client Error, but not one of 40{0,1,3,4}",
            "method SETUP failed: 461 Unsupported Transport",
        ),
        *connecting("Protocol not supported", "method SETUP failed: 461 (Unsupported Transport)"),
        *connecting("Invalid data found when processing input", "Nonmatching transport in reply"),
    ],
    ("no_description", GapCause.CAMERA_STALLED): [
        ["[mp4 @ 0x5] [error] dimensions not set", "[error] Could not write header: Invalid arg"],
    ],
    ("connection_refused", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Connection refused",
            "Connection to tcp://10.0.0.9:554?timeout=10000000 failed: Connection refused",
        ),
    ],
    ("blocked", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Operation not permitted",
            "Connection to tcp://10.0.0.9:554?timeout=0 failed: Operation not permitted",
        ),
    ],
    ("unreachable", GapCause.SOURCE_UNREACHABLE): [
        *connecting(
            "Input/output error", "Failed to resolve hostname cam: Name or service not known"
        ),
        *connecting(
            "No route to host", "Connection to tcp://10.0.0.9:554 failed: No route to host"
        ),
    ],
    ("timed_out", GapCause.SOURCE_UNREACHABLE): [
        *connecting("Connection timed out", "Connection to tcp://10.0.0.9:554 failed: x"),
        *connecting("Operation timed out", "Connection to tcp://10.0.0.9:554 failed: x"),
        [f"{READING}Connection timed out", *connecting("Invalid data found")[2]],
        ["[in#0/rtsp @ 0x5] [error] Error during demuxing: Connection timed out"],
        ["[error] rtsp://u:p@10.0.0.9/x: Operation not permitted"],  # no answer to PLAY
    ],
    ("no_stream", GapCause.SOURCE_UNREACHABLE): [
        *connecting("Invalid data found when processing input"),
    ],
    ("closed", GapCause.CAMERA_LOST): [
        [f"{READING}End of file"],
        [f"{READING}Connection reset by peer", f"{READING}End of file"],
        ["[error] rtsp://u:p@10.0.0.9/x: End of file"],
    ],
    ("no_buffers", GapCause.CAMERA_ERROR): [
        *opening("Cannot allocate memory", "ioctl(VIDIOC_REQBUFS): Cannot allocate memory"),
        *opening("Cannot allocate memory", "Insufficient buffer memory"),
    ],
    ("audio_unavailable", GapCause.CAMERA_ERROR): [
        ["[alsa @ 0x5] [error] cannot open audio device hw:1 (Device or resource busy)"],
        ["[alsa @ 0x5] [error] cannot open audio device hw:1 (No such file or directory)"],
    ],
    ("no_audio_support", GapCause.ENCODER_EXIT): [["[fatal] Unknown input format: 'alsa'"]],
    ("encoder_unavailable", GapCause.ENCODER_EXIT): [
        [
            "[AVHWDeviceContext @ 0x5] [error] No VA display found for device /dev/dri/renderD128.",
            "[error] Device creation failed: -22.",
            "[fatal] Failed to set value 'x' for option 'vaapi_device': Invalid argument",
        ],
        ["[h264_nvenc @ 0x5] [error] Cannot load libcuda.so.1", "[error] Operation not permitted"],
        ["[h264_v4l2m2m @ 0x5] [error] Could not find a valid device", "[error] No such device"],
    ],
}


@pytest.mark.parametrize(
    ("cause", "ledger", "lines"),
    [(*key, lines) for key, cases in CASES.items() for lines in cases],
)
def test_the_messages_of_every_version_are_understood(
    cause: str, ledger: GapCause, lines: list[str]
) -> None:
    """The same fault has the same kind and ledger cause in each version of FFmpeg."""
    problem = problem_of_exit([parse_line(line) for line in lines], 0)
    assert (problem.kind, problem.ledger_cause) == (cause, ledger)


def test_a_node_that_is_no_camera_is_told_from_a_format_that_is_not_offered() -> None:
    """Their suggestions differ: another node, or another format."""
    wrong_node = "Cannot find a proper format for codec 'none' (id 0), pixel format 'none' (id -1)"
    wrong_format = wrong_node.replace("pixel format 'none' (id -1)", "pixel format 'nv12' (id 23)")
    first, second = (
        problem_of_exit([parse_line(f"[error] {text}")], 1) for text in (wrong_node, wrong_format)
    )
    assert "capture node" in first.suggestion
    assert "format" in second.suggestion
    assert "node" not in second.suggestion


@pytest.mark.parametrize(
    "line",
    [
        "[error] Error while decoding stream #0:0: Invalid data found when processing input",
        "[error] Error submitting packet to decoder: Invalid data found when processing input",
        "[error] error while decoding MB 12 30, bytestream -7",
        "[error] Application provided invalid, non monotonically increasing dts to muxer: 5 >= 4",
    ],
)
def test_a_damaged_picture_is_not_why_a_camera_ended(line: str) -> None:
    """An old error about one frame does not hide why the capture ended."""
    assert problem_of_exit([parse_line(line)], 0).kind == "ended"
    gone = [parse_line(line), parse_line("[error] /dev/video0: No such device")]
    assert problem_of_exit(gone, 0).kind == "lost"


@pytest.mark.parametrize(("code", "cause"), [(-9, "killed"), (-15, "killed"), (-11, "crashed")])
def test_a_signal_is_not_explained_by_earlier_lines(code: int, cause: str) -> None:
    """Lines logged before a signal are not the reason for the end."""
    problem = problem_of_exit([parse_line("[error] x: Connection refused")], code)
    assert problem.kind == cause
    assert str(-code) in problem.message


def test_a_source_that_cannot_be_described_says_why() -> None:
    """The lines of a probe have no levels, and are matched as well."""
    said = "[rtsp @ 0x5] method DESCRIBE failed: 404 Not Found\nrtsp://a:b@c/d: Server returned 404"
    assert parse_refusal(said).kind == "not_found"
    assert parse_refusal("rtsp://a:b@c/d: New").message.endswith("//***@c/d: New")


def test_an_unknown_message_names_no_device() -> None:
    """Neither node paths nor credentials are in the message."""
    text = "[error] cannot frob /dev/v4l/by-id/usb-Maker_Cam-video0 at rtsp://u:p@h/x."
    message = problem_of_exit([parse_line(text)], 1).message
    assert message == "FFmpeg gave up: cannot frob the device at rtsp://***@h/x."


def test_no_reason_is_ignored_as_one_about_a_packet() -> None:
    """No line that the tests above take for a reason is ignored as one about a single packet."""
    lines = [line for cases in CASES.values() for lines in cases for line in lines]
    assert [line for line in lines if IN_PASSING.search(line)] == []
