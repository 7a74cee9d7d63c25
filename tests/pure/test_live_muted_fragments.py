"""Fragments without their sound are made once for all viewers, and few are kept."""

from __future__ import annotations

import gc
import weakref

from support.media_streams import VIDEO_AND_AUDIO, Sample, fragment, read

from camd.live.rules.muted_fragments import KEPT, MutedFragments
from camd.mp4.fragments import Fragment
from camd.mp4.frames.join import fragment_without_sound


def fragments(count: int) -> list[Fragment]:
    """Make fragments of a picture and some sound each, all alike."""
    data = fragment((1, 0, [Sample(9)]), (2, 0, [Sample(5, 1024)]))
    return [read(VIDEO_AND_AUDIO + data)[1][0] for _ in range(count)]


def test_all_viewers_get_the_same() -> None:
    """Also one that is a few fragments later than the others; equal bytes are no reason."""
    muted, made = MutedFragments(), fragments(3)
    first = [muted.of(each) for each in made]
    assert first == [fragment_without_sound(each) for each in made]
    assert all(muted.of(each) is one for each, one in zip(made, first, strict=True))
    assert first[0] is not first[1]


def test_sound_alone_is_none_each_time() -> None:
    """Nothing is sent of it to a viewer without sound."""
    _, (alone,) = read(VIDEO_AND_AUDIO + fragment((2, 0, [Sample(5, 1024)])))
    muted = MutedFragments()
    assert muted.of(alone) is muted.of(alone) is None


def test_few_are_kept() -> None:
    """However long somebody watches: an older one goes, with what was made of it."""
    muted, made = MutedFragments(), fragments(KEPT * 3)
    kept = [weakref.ref(each) for fragment in made if (each := muted.of(fragment)) is not None]
    old = [weakref.ref(each) for each in made]
    made.clear()
    gc.collect()
    alive = [number >= KEPT * 2 for number in range(KEPT * 3)]
    assert [each() is not None for each in kept] == alive
    assert [each() is not None for each in old] == alive
