"""The text of a source: what is written is what is recorded, and mistakes are explained."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.ffmpeg.text.args import CaptureOptions
from camd.sources import (
    SOURCES,
    FileSource,
    RtspSource,
    Source,
    SyntheticSource,
    V4l2Source,
    parse_source,
)
from camd.sources.source import SPECIAL_KEYS

FOLDER = Path("/etc/camd")


@pytest.mark.parametrize("kind", SOURCES)
def test_a_kind_agrees_with_itself(kind: type[Source]) -> None:
    """What the documentation and messages show of it is read as this kind, and hides nothing."""
    source = parse_source(kind.form[0], FOLDER)
    assert type(source) is kind
    assert {begin.partition(":")[0] for begin in kind.beginnings} == set(kind.schemes)
    assert (source.speed is None) is source.live
    assert source.fitting_keys <= SPECIAL_KEYS.keys()
    assert "password" not in f"{source!r}{source.cache_name(None)}"
    assert source.path is None or source.path.is_absolute()
    assert not (source.loops and source.may_end)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_kind_opens_what_it_probes(kind: type[Source]) -> None:
    """The capture's first input is the probe's, and its audio is of an input that is there."""
    source = parse_source(kind.form[0], FOLDER)
    options = CaptureOptions("ffmpeg", source)
    capture, probe = source.input(options), source.probe_input((5, 1), options.access)
    opened = capture[capture.index("-i") + 1]
    assert opened == probe[probe.index("-i") + 1]
    audio = source.audio_stream(options)
    assert not audio or int(audio[0]) < capture.count("-i")


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
        ("test:", SyntheticSource()),
        (
            "test:?size=640x360&rate=12.5&audio=true",
            SyntheticSource(width=640, height=360, rate=12.5, audio=True),
        ),
    ],
)
def test_a_source_is_read_in_every_documented_form(text: str, source: object) -> None:
    """Each kind with its options; relative files start at the given folder."""
    assert parse_source(text, FOLDER, Path("/home/eve")) == source


def test_an_rtsp_source_keeps_its_url_and_hides_it() -> None:
    """Credentials reach FFmpeg, and nothing that prints the source."""
    source = parse_source("rtsp://eve:hunter2@gate.local:554/stream?x=1", FOLDER)
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
        parse_source(text, FOLDER)


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
        parse_source(text, FOLDER)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["p#w@h/x", "p/w@h/x", "p?w@h/x", "1#w@h:554/x", "1/2@h/x", "p w@h"]
)
def test_a_password_that_was_not_encoded_is_told_how(url: str) -> None:
    """Each character that ends a host too early: the sentence says what to write for it."""
    with pytest.raises(ValueError, match="%23 for #, %2F for /, %3F for") as caught:
        parse_source(f"rtsp://eve:{url}", FOLDER)
    assert "eve" not in str(caught.value)


@pytest.mark.parametrize("url", ["h/x?mail=a@b", "u:p%23@h/x@y", "h:554/x?q=@", "u:a@b:c@h/x"])
def test_an_at_sign_elsewhere_is_no_password(url: str) -> None:
    """Queries and paths may have one."""
    assert parse_source(f"rtsp://{url}", FOLDER) == RtspSource(f"rtsp://{url}")


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=60))
def test_any_text_is_a_source_or_a_sentence(text: str) -> None:
    """Nothing but ValueError leaves the parser."""
    for prefix in ("", "v4l2:", "rtsp://", "file:", "test:?", "file:a?"):
        with contextlib.suppress(ValueError):
            assert parse_source(prefix + text, FOLDER)
