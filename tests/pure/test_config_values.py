"""Notations of values: what is written reads back exactly, and mistakes are explained."""

from __future__ import annotations

import contextlib
import math
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.config import values
from camd.model import FileSource, RtspSource, TestSource, V4l2Source

FOLDER = Path("/etc/camd")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("0s", 0),
        ("0", 0),
        ("90", 90),
        ("2d", 172800),
        (" 10s ", 10),
        (10, 10),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read_in_every_documented_form(text: str | float, seconds: float) -> None:
    """Units, compounds, decimals and plain seconds mean what they say."""
    assert values.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "m",
        "30x",
        "-5s",
        "5m5m",
        "30s1h",
        "1e3",
        "1,5s",
        "٣s",
        -1,
        True,
        math.nan,
        math.inf,
    ],
)
def test_a_wrong_duration_is_told_what_would_be_right(text: str | float) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match='"30m"'):
        values.parse_duration(text)


def test_an_absurdly_long_duration_is_refused_and_not_a_crash() -> None:
    """What does not fit into a timedelta is a mistake like any other."""
    with pytest.raises(ValueError, match="too long"):
        values.parse_duration("9" * 40)


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_duration_that_is_written_reads_back_exactly(duration: timedelta) -> None:
    """Writing and reading are inverse, to the microsecond."""
    assert values.parse_duration(values.format_duration(duration)) == duration


def test_durations_are_written_for_people() -> None:
    """Hours are the largest unit, and zero has one."""
    written = [values.format_duration(timedelta(seconds=s)) for s in (0, 0.5, 90, 86400)]
    assert written == ["0s", "500ms", "1m30s", "24h"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("500MB", 500_000_000), ("1.5 kB", 1500), ("7B", 7), ("7", 7), (7, 7)],
)
def test_a_size_is_read_in_every_documented_form(text: str | int, size: int) -> None:
    """Powers of 1000 and of 1024 are different units."""
    assert values.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2G", "GiB", "-1", "1 2", "2 PB", -1, True])
def test_a_wrong_size_is_told_what_would_be_right(text: str | int) -> None:
    """A bare letter could mean 1000 or 1024, so it is refused too."""
    with pytest.raises(ValueError, match='"2GiB", "500MB"'):
        values.parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_size_that_is_written_reads_back_exactly(size: int) -> None:
    """Writing and reading are inverse, to the byte."""
    assert values.parse_size(values.format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "bits"),
    [("4M", 4_000_000), ("500k", 500_000), ("2.5M", 2_500_000), ("4Mbit/s", 4_000_000), (9, 9)],
)
def test_a_bit_rate_is_read_in_every_documented_form(text: str | int, bits: int) -> None:
    """Bit rates are decimal."""
    assert values.parse_bitrate(text) == bits


@given(st.integers(min_value=0, max_value=10**12))
def test_a_bit_rate_that_is_written_reads_back_exactly(bits: int) -> None:
    """Writing and reading are inverse, to the bit."""
    assert values.parse_bitrate(values.format_bitrate(bits)) == bits


@pytest.mark.parametrize("text", ["", "4MB", "fast", "-4M", False])
def test_a_wrong_bit_rate_is_told_what_would_be_right(text: str | int) -> None:
    """Bytes are not bits."""
    with pytest.raises(ValueError, match='"4M"'):
        values.parse_bitrate(text)


def test_a_resolution_is_read_as_width_and_height() -> None:
    """Both the letter x and the sign × stand between them."""
    assert values.parse_resolution("1280x720") == (1280, 720)
    assert values.parse_resolution("1280 × 720") == (1280, 720)


@pytest.mark.parametrize("text", ["", "720p", "1280", "1280x", "8x8", "1280x99999"])
def test_a_wrong_resolution_is_refused(text: str) -> None:
    """No form but two numbers within bounds."""
    with pytest.raises(ValueError, match=r"resolution|bounds"):
        values.parse_resolution(text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("v4l2:/dev/video0", V4l2Source(Path("/dev/video0"))),
        ("v4l2:/dev/v4l/by-id/usb-A:1", V4l2Source(Path("/dev/v4l/by-id/usb-A:1"))),
        ("v4l2:serial=4E 1F", V4l2Source(serial="4E 1F")),
        ("v4l2:port=1-1.3", V4l2Source(port="1-1.3")),
        ("file:/srv/a.mp4", FileSource(Path("/srv/a.mp4"))),
        ("file:///srv/a.mp4", FileSource(Path("/srv/a.mp4"))),
        ("file:a b.mp4", FileSource(FOLDER / "a b.mp4")),
        ("file:~/a.mp4", FileSource(Path("/home/eve/a.mp4"))),
        ("file:a.mp4?loop=false&speed=10", FileSource(FOLDER / "a.mp4", loop=False, speed=10)),
        ("file:a%3Fb%23c%25.mp4?loop=false", FileSource(FOLDER / "a?b#c%.mp4", loop=False)),
        ("file:a#b 100%.mp4", FileSource(FOLDER / "a#b 100%.mp4")),
        ("test:", TestSource()),
        (
            "test:?size=640x360&rate=12.5&audio=true",
            TestSource(width=640, height=360, rate=12.5, audio=True),
        ),
    ],
)
def test_a_source_is_read_in_every_documented_form(text: str, source: object) -> None:
    """Each kind with its options; relative files start at the given folder."""
    assert values.parse_source(text, FOLDER, Path("/home/eve")) == source


def test_an_rtsp_source_keeps_its_url_and_hides_it() -> None:
    """Credentials reach FFmpeg, and nothing that prints the source."""
    source = values.parse_source("rtsp://eve:hunter2@gate.local:554/stream?x=1", FOLDER)
    assert isinstance(source, RtspSource)
    assert source.url == "rtsp://eve:hunter2@gate.local:554/stream?x=1"
    assert "hunter2" not in repr(source)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "starts with v4l2:"),
        ("webcam", "starts with v4l2:"),
        ("test", "starts with v4l2:"),
        ("/dev/video0", 'write "v4l2:/dev/video0"'),
        ("v4l2:video0", "absolute path"),
        ("file:", "names a file"),
        ("file://host/a.mp4", "one slash or with three"),
        ("file:~/a.mp4", "home folder"),
        ("file:a%0Ab", "control characters"),
        ("file:a%00b", "control characters"),
        ("file:%ff", "UTF-8"),
        ("file:a.mp4?lop=true", "did you mean 'loop'"),
        ("file:a.mp4?loop=yes", "true or false"),
        ("file:a.mp4?loop=true&loop=true", "twice"),
        ("file:a.mp4?speed=0.01", "0.1 to 100"),
        ("file:a.mp4?speed=nan", "0.1 to 100"),
        ("test:1280x720", "test:?size="),
        ("test:?size=641x360", "even"),
        ("test:?rate=0", "0.1 to 1000"),
        ("test:?colour=red", "known are"),
    ],
)
def test_a_wrong_source_is_told_what_would_be_right(text: str, words: str) -> None:
    """Every mistake has its own sentence."""
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        values.parse_source(text, FOLDER)


@pytest.mark.parametrize(
    "text",
    [
        "http://eve:hunter2@gate/",
        "rtsp://eve:hunter2@/",
        "rtsp://eve:hunter2@gate:99999/",
        "rtsp://eve:hunter2@gate/a b",
        "rtsp://eve:12/hunter2@gate/a",
        "rtsp://eve:hunter2@[gate/",
        "rtsp://eve:hunter2@gate..local/",
        f"rtsp://eve:hunter2@{'gate' * 20}/",
    ],
)
def test_a_refused_url_is_not_repeated(text: str) -> None:
    """A password in a mistaken URL does not get into messages or causes."""
    with pytest.raises(ValueError, match="source") as caught:
        values.parse_source(text, FOLDER)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["p#w@h/x", "p/w@h/x", "p?w@h/x", "1#w@h:554/x", "1/2@h/x", "p w@h"]
)
def test_a_password_that_was_not_encoded_is_told_how(url: str) -> None:
    """Each character that ends a host too early: the sentence says what to write for it."""
    with pytest.raises(ValueError, match="%23 for #, %2F for /, %3F for") as caught:
        values.parse_source(f"rtsp://eve:{url}", FOLDER)
    assert "eve" not in str(caught.value)


@pytest.mark.parametrize("url", ["h/x?mail=a@b", "u:p%23@h/x@y", "h:554/x?q=@", "u:a@b:c@h/x"])
def test_an_at_sign_elsewhere_is_no_password(url: str) -> None:
    """Queries and paths may have one."""
    assert values.parse_source(f"rtsp://{url}", FOLDER) == RtspSource(f"rtsp://{url}")


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_any_text_is_a_source_or_a_sentence(text: str) -> None:
    """Nothing but ValueError leaves the parser."""
    for prefix in ("", "v4l2:", "rtsp://", "file:", "test:?", "file:a?"):
        with contextlib.suppress(ValueError):
            assert values.parse_source(prefix + text, FOLDER)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8002", "localhost:0", "[::1]:8002", "[fe80::1%eth0]:80", "unix:/run/c.sock"]
)
def test_an_address_to_listen_on_reads_back_as_written(text: str) -> None:
    """Host and port, bracketed IPv6, and Unix sockets."""
    assert str(values.parse_listen(text)) == text


@pytest.mark.parametrize(
    "text", ["", "8002", ":8002", "*:8002", "::1:8002", "a:70000", "http://a:1", "a:1\n"]
)
def test_a_wrong_address_is_told_what_would_be_right(text: str) -> None:
    """A port alone could mean every interface, so it is refused."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8002"):
        values.parse_listen(text)


@pytest.mark.parametrize("text", ["unix:", "unix:c.sock", "unix:/" + "x" * 107])
def test_a_unix_socket_is_an_absolute_path_that_the_kernel_takes(text: str) -> None:
    """The address of a Unix socket holds 107 bytes."""
    with pytest.raises(ValueError, match="absolute path of at most 107 bytes"):
        values.parse_listen(text)
