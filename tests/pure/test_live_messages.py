"""The messages of `camd.live.1`, and what a viewer may send."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import EPOCH, VIDEO_ONLY, Sample, captured, fragment, fragments_of, read

from camd.live.rules.live_messages import (
    MediaMoment,
    Sound,
    ViewerRequest,
    WayToWatch,
    clock_message,
    ended_message,
    init_message,
    pictures_message,
    read_request,
    skipped_message,
)


def test_init_says_what_a_player_needs() -> None:
    """Codec, size, the wall time of one frame, and other ways to watch."""
    init, fragments = fragments_of(10, 10)
    first, second = captured(fragments)
    ways = [WayToWatch("stills", "/live/a?as=stills")]
    text = init_message(init, MediaMoment.of(init, second), ways, Sound.NONE)
    assert json.loads(text) == {
        "type": "init",
        "mime": 'video/mp4; codecs="avc1"',
        "mime_with_sound": None,
        "codec": "avc1",
        "width": 320,
        "height": 180,
        "sound": "none",
        "wall": "2026-01-15T14:30:01.000Z",
        "media": 1.0,
        "supported_as": [{"kind": "stills", "path": "/live/a?as=stills"}],
    }
    assert MediaMoment.of(init, first) == MediaMoment(EPOCH, 0.0)


def test_the_media_time_is_that_of_the_presentation() -> None:
    """The first frame to be decoded may be shown later than it is decoded."""
    samples = [Sample(10, duration=512, sync=True, offset=1024), Sample(10, duration=512)]
    init, fragments = read(VIDEO_ONLY + fragment((1, 15360, samples)))
    (item,) = captured(fragments)
    moment = MediaMoment.of(init, item)
    assert moment.media == pytest.approx(1 + 1024 / 15360)


def test_other_messages() -> None:
    """Each is an object with its type."""
    moment = MediaMoment(EPOCH + timedelta(milliseconds=1500), 2.5)
    assert json.loads(clock_message(moment)) == {
        "type": "clock",
        "wall": "2026-01-15T14:30:01.500Z",
        "media": 2.5,
    }
    assert json.loads(skipped_message(7, 1.23456)) == {
        "type": "skipped",
        "frames": 7,
        "seconds": 1.235,
    }
    assert json.loads(ended_message("absent", 'It is "gone" <b>', "Plug it in.")) == {
        "type": "ended",
        "cause": "absent",
        "message": 'It is "gone" <b>',
        "suggestion": "Plug it in.",
    }
    told = json.loads(pictures_message(640, 480, moment))
    assert (told["mime"], told["width"], told["height"]) == ("image/jpeg", 640, 480)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"type": "pause"}', ViewerRequest.PAUSE),
        (b'{"type": "resume", "later": [1]}', ViewerRequest.RESUME),
        ('{"type": "play"}', None),
        ('{"type": 7}', None),
        ('{"auth_token": "camd_x"}', None),
        ("[" * 100_000, None),
        (b"\xff", None),
        ("", None),
    ],
)
def test_requests_are_read(message: str | bytes, expected: ViewerRequest | None) -> None:
    """What is not known is nothing."""
    assert read_request(message) is expected


@given(st.one_of(st.text(), st.binary()))
def test_anything_else_is_nothing(message: str | bytes) -> None:
    """Nothing raises."""
    assert read_request(message) is None
