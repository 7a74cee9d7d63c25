"""The sound of a stream is recorded where that costs no picture."""

from __future__ import annotations

import attrs
import pytest

from camd.capture.rules.sound import TRIED_AGAIN_SECONDS, StreamAudioPolicy
from camd.ffmpeg.text.output import ProbeResult
from camd.model import Problem
from camd.model.problems import CRASHED, NOT_FOUND, SOUND_MISSING, STALLED, UNKNOWN

SOUND = ProbeResult(video_codec="h264", audio_codec="pcm_alaw", streams=2)


def test_sound_is_recorded_where_it_is_wanted_and_known() -> None:
    """Neither `audio = "off"` nor a source without sound is worth a warning."""
    assert StreamAudioPolicy(True).choose(SOUND, 0.0)
    for sound, found in (
        (StreamAudioPolicy(False), SOUND),
        (StreamAudioPolicy(True), ProbeResult("h264")),
    ):
        assert not sound.choose(found, 0.0)
        assert sound.warning == ""


def test_an_unknown_codec_is_left_out_and_told() -> None:
    """What FFmpeg calls `none` would end every child."""
    sound = StreamAudioPolicy(True)
    assert not sound.choose(attrs.evolve(SOUND, audio_codec="none"), 0.0)
    assert "does not know its codec" in sound.warning


@pytest.mark.parametrize("problem", [SOUND_MISSING, UNKNOWN, CRASHED])
def test_a_child_that_delivered_nothing_with_sound_is_followed_by_one_without(
    problem: Problem,
) -> None:
    """When that one delivers, sound is left out with a warning, and tried again later."""
    sound = StreamAudioPolicy(True)
    assert sound.choose(SOUND, 0.0)
    assert sound.suspect(problem, delivered=False)
    assert not sound.choose(SOUND, 1.0)
    sound.learn(2.0, delivered=True)
    assert "Recorded without sound" in sound.warning
    assert not sound.choose(SOUND, 1.9 + TRIED_AGAIN_SECONDS)
    assert sound.choose(SOUND, 2.0 + TRIED_AGAIN_SECONDS)
    assert sound.warning == ""


def test_sound_is_not_blamed_when_the_camera_delivers_nothing_without_it() -> None:
    """The next child has sound again, and nothing is said of it."""
    sound = StreamAudioPolicy(True)
    sound.choose(SOUND, 0.0)
    assert sound.suspect(UNKNOWN, delivered=False)
    assert not sound.choose(SOUND, 1.0)
    sound.learn(2.0, delivered=False)
    assert sound.choose(SOUND, 3.0)
    assert sound.warning == ""


def test_sound_is_not_suspected_of_what_lies_in_the_source() -> None:
    """A camera that is away, or that delivered pictures before it failed, is no matter of sound."""
    sound = StreamAudioPolicy(True)
    sound.choose(SOUND, 0.0)
    assert not sound.suspect(NOT_FOUND, delivered=False)
    assert not sound.suspect(STALLED, delivered=False)
    assert not sound.suspect(UNKNOWN, delivered=True)
    assert not sound.suspect(STALLED, delivered=True)
