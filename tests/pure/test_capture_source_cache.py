"""What is remembered of sources: by what name, in which form, and that it is only a hint."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camd.capture.source_cache import (
    SourceCache,
    SourceFacts,
    cache_key_of,
    parse_cache,
    render_cache,
)
from camd.ffmpeg.binary import FFmpegBinary, KnownBinary
from camd.sources import FileSource, FileStamp, RtspSource, SyntheticSource, V4l2Source

KNOWN = SourceFacts("h264", 1920, 1080, 25.0, "aac", "udp")


def test_a_password_does_not_change_the_name_of_a_source() -> None:
    """The name is made without credentials: it tells nothing about them."""
    one, other = (
        cache_key_of(RtspSource(f"rtsp://eve:{word}@cam/x")) for word in ("right", "wrong")
    )
    assert one == other != cache_key_of(RtspSource("rtsp://eve:right@cam/y"))
    assert len(one) == 32


def test_a_file_that_changed_is_another_source() -> None:
    """Size and time of change count; without them, and for devices, nothing is remembered."""
    file = FileSource(Path("/x.mp4"))
    assert cache_key_of(file, FileStamp(1, 2)) != cache_key_of(file, FileStamp(1, 3))
    assert {cache_key_of(file), cache_key_of(SyntheticSource()), cache_key_of(V4l2Source())} == {""}


def test_what_is_written_is_read_again() -> None:
    """Both ways agree."""
    seen = KnownBinary(FFmpegBinary(Path("/usr/bin/ffmpeg"), (5, 1)), 300_000, 12)
    for program in (None, seen):
        assert parse_cache(render_cache(({"a": KNOWN}, program))) == ({"a": KNOWN}, program)
    assert KNOWN.probe.audio_codec == "aac"


@given(st.text(max_size=40))
@pytest.mark.parametrize("frame", ["{}", '{{"version": 1, "sources": {{"a": {}}}}}'])
def test_any_text_is_read_or_refused(frame: str, text: str) -> None:
    """A damaged file costs the hint, never more."""
    try:
        parse_cache(frame.format(text))
    except ValueError:
        return


async def test_only_what_is_new_is_kept_and_the_oldest_goes() -> None:
    """The same again changes nothing; there is an end to it."""
    memory = SourceCache()
    for number in range(1100):
        memory.learn(f"{number}", KNOWN)
    assert (memory.find("0"), memory.find("1099")) == (None, KNOWN)
    memory.forget("1099")
    memory.learn("", KNOWN)
    assert (memory.find("1099"), memory.find("")) == (None, None)
