"""Whether sound comes along with the pictures of a stream."""

from __future__ import annotations

from array import array

from camd.live.rules.sound_presence import BACK_SECONDS, GONE_SECONDS, SoundPresence
from camd.mp4.fragments import Fragment, TrackRun

FRAME = 0.1  # seconds


def run(track: int, seconds: float) -> TrackRun:
    ticks = round(seconds * 1000)
    one = array("I", [ticks])
    return TrackRun(track, 1000, 0, one, array("I", [1]), b"\x01", array("i"), (), 0, 4, ticks)


def pictures(seconds: float, *sounds: TrackRun) -> list[Fragment]:
    """Return fragments of a picture each, with these sounds in each."""
    video = run(1, FRAME)
    return [Fragment(b"", b"", (video, *sounds), video, 1000)] * round(seconds / FRAME)


def sound(seconds: float, piece: float = FRAME) -> list[Fragment]:
    """Return fragments of sound alone."""
    return [Fragment(b"", b"", (run(2, piece),), None, 1000)] * round(seconds / piece)


def after(*streams: list[Fragment]) -> bool:
    presence = SoundPresence()
    for stream in streams:
        for fragment in stream:
            presence.note(fragment)
    return presence.present


def test_it_is_expected_until_pictures_have_come_without_it() -> None:
    """Sound that has not begun is told like sound that has stopped; not before it is sure."""
    assert after()
    assert after(pictures(GONE_SECONDS - FRAME))
    assert not after(pictures(GONE_SECONDS))
    assert not after(pictures(5, run(2, FRAME)), sound(1), pictures(GONE_SECONDS))


def test_sound_in_large_pieces_is_no_loss() -> None:
    """A piece each second is sound all the time."""
    assert after(*[pictures(1), sound(1, 1)] * 10)


def test_it_counts_again_after_some_of_it() -> None:
    """Some pieces in a long silence change nothing: each change begins the stream anew."""
    gone, some = pictures(GONE_SECONDS), sound(FRAME)
    assert not after(gone, *[some, gone] * 50)
    assert not after(gone, *[some, pictures(FRAME)] * round(BACK_SECONDS / FRAME - 1))
    assert after(gone, *[some, pictures(FRAME)] * round(BACK_SECONDS / FRAME))


def test_pictures_that_stop_say_nothing_of_the_sound() -> None:
    """Nor does sound that comes in the same fragments as the pictures."""
    assert after(sound(60))
    assert after(pictures(60, run(2, FRAME)))
