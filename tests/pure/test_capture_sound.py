"""When a camera is recorded with sound, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from camd.capture.rules.sound import MicrophonePolicy
from camd.ffmpeg.text.args import SoundInput
from camd.model import Device, Problem
from camd.model.problems import SOUND_ONLY

WEBCAM = Device(Path("/dev/video0"), 1, "Webcam", sound_card="C920")
REPLUGGED = Device(Path("/dev/video1"), 2, "Webcam", sound_card="C920")
MUTE = Device(Path("/dev/video0"), 1, "Webcam")
ALL = frozenset(("alsa", "pulse", "v4l2"))
OWN = SoundInput("alsa", "plughw:CARD=C920")
NO_SOUND = Problem("audio_unavailable", "", "")
STALLED = Problem("stalled", "", "")


@pytest.mark.parametrize(
    ("wish", "device", "inputs", "sound", "warning"),
    [
        ("", WEBCAM, ALL, None, ""),
        ("off", WEBCAM, ALL, None, ""),
        ("auto", WEBCAM, ALL, OWN, ""),
        ("auto", MUTE, ALL, None, "has no sound card"),
        ("auto", None, ALL, None, "has no sound card"),
        ("auto", WEBCAM, frozenset(("v4l2",)), None, "cannot capture from alsa"),
        ("alsa:hw:1", None, ALL, SoundInput("alsa", "hw:1"), ""),
        ("hw:1", MUTE, ALL, SoundInput("alsa", "hw:1"), ""),
        ("pulse:default", WEBCAM, ALL, SoundInput("pulse", "default"), ""),
        ("pulse:default", WEBCAM, frozenset(("alsa",)), None, "cannot capture from pulse"),
    ],
)
def test_the_wish_the_card_and_ffmpeg_decide(wish, device, inputs, sound, warning) -> None:
    """All three must be there, else the picture goes alone, with a reason."""
    microphone = MicrophonePolicy(wish)
    assert microphone.choose(device, inputs) == sound
    assert warning in microphone.warning
    assert bool(microphone.warning) == bool(warning)


def test_a_sound_device_that_fails_is_left_out_until_a_child_ended_well() -> None:
    """The picture is recorded meanwhile, and people are told why nothing is heard."""
    microphone = MicrophonePolicy("auto")
    assert microphone.choose(WEBCAM, ALL) == OWN
    microphone.learn(NO_SOUND)
    assert microphone.choose(WEBCAM, ALL) is None
    assert "alsa:plughw:CARD=C920 does not work (it cannot be opened)" in microphone.warning
    microphone.learn(Problem("lost", "", ""))
    assert microphone.choose(WEBCAM, ALL) is None
    microphone.learn(None)
    assert microphone.choose(WEBCAM, ALL) == OWN
    assert microphone.warning == ""


def test_another_plugging_is_another_chance() -> None:
    """What failed belonged to the device as it was."""
    microphone = MicrophonePolicy("auto")
    microphone.choose(WEBCAM, ALL)
    microphone.learn(NO_SOUND)
    assert microphone.choose(REPLUGGED, ALL) == OWN


@pytest.mark.parametrize("first", [STALLED, SOUND_ONLY])
def test_a_stall_is_blamed_on_the_sound_once(first: Problem) -> None:
    """It may stop the picture, coming or not; a camera that stalls without it is at fault."""
    microphone = MicrophonePolicy("auto")
    microphone.choose(WEBCAM, ALL)
    microphone.learn(first)
    assert microphone.choose(WEBCAM, ALL) is None
    assert "stalled" in microphone.warning
    microphone.learn(STALLED)
    assert microphone.choose(WEBCAM, ALL) == OWN
