"""Fragments for players that ignore edit lists: the times of the presentation, the same samples."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample

from camd.mp4.boxes import MediaError, box, find
from camd.mp4.fragments import Fragment, FragmentReader, Init, TrackRun
from camd.mp4.movies.applied_edits import AppliedEdits, EditApplier

DELAY = 1024
# Two pictures that are decoded in advance, and shown later: an open group, as encoders make it.
GROUP = [Sample(50, 512, n == 0, offset) for n, offset in enumerate((1024, 2048, 512, 512))]
SOUND = [Sample(7, 1024), Sample(8, 1024)]


def stream(*, sound: bool, later: int = 0, check: bytes = b"") -> tuple[Init, list[bytes]]:
    """Make a head whose edit list takes back DELAY, and two fragments with boxes behind them.

    Pictures are shown `later` ticks after zero.
    """
    edits = build.full_box(b"elst", 0, 0, build.u32(1, 0, DELAY - later), b"\0\1\0\0")
    traks = [build.trak(1, edts=box(b"edts", edits))]
    trex = build.trex(1)
    if sound:
        traks.append(build.trak(2, b"soun", 48000, b"mp4a"))
        trex += build.trex(2)
    head = build.FTYP + build.moov(*traks, trex=trex)
    parts = []
    for number in range(2):
        tracks = [(1, 2048 * number, GROUP)]
        if sound:
            tracks.append((2, 2048 * number, SOUND))
        parts.append(build.fragment(*tracks, sequence=number + 1) + check)
    (init,) = FragmentReader().feed(head)
    assert isinstance(init, Init)
    return init, parts


def applied(init: Init, data: bytes, size: int) -> list[Fragment]:
    """Feed bytes in parts of a size; read what comes out as a player would."""
    edits = AppliedEdits.of(init, DELAY, 0)
    applier, reader = EditApplier(edits), FragmentReader()
    events = reader.feed(edits.data)
    for at in range(0, len(data), size):
        events += reader.feed(applier.take(data[at : at + size]))
    return [event for event in events if isinstance(event, Fragment)]


def shown(run: TrackRun) -> list[int]:
    """Return when each sample is shown, without any edit list."""
    decoded = accumulate(run.durations, initial=run.decode_time)
    offsets = run.composition or [0] * run.count
    return [at + offset for at, offset in zip(decoded, offsets, strict=False)]


def payload(fragment: Fragment, run: TrackRun) -> bytes:
    """Return the samples of a track."""
    (chunk,) = run.chunks
    at = chunk.offset - len(fragment.moof)
    return fragment.mdat[at : at + sum(run.sizes)]


@given(st.integers(1, 700), st.booleans(), st.sampled_from([b"", box(b"free", bytes(16))]))
def test_fragments_have_the_times_of_the_presentation(size: int, sound: bool, check: bytes) -> None:
    """Wherever the bytes are cut: the first picture at zero, and every sample as it was."""
    init, parts = stream(sound=sound, check=check)
    found = applied(init, b"".join(parts), size)
    original = FragmentReader().feed(init.ftyp + init.moov + b"".join(parts))[1:]
    assert len(found) == len(original) == 2
    for new, old in zip(found, original, strict=True):
        assert isinstance(old, Fragment)
        for run, before in zip(new.runs, old.runs, strict=True):
            moved = DELAY if run.track_id == 1 else 0
            assert shown(run) == [time - moved for time in shown(before)]
            assert (run.decode_time, run.durations) == (before.decode_time, before.durations)
            assert (run.sizes, run.sync) == (before.sizes, before.sync)
            assert payload(new, run) == payload(old, before)
    assert found[0].video is not None
    assert min(shown(found[0].video)) == 0


def test_the_head_has_no_edit_list() -> None:
    """Players that know edit lists do not apply them twice."""
    init, _ = stream(sound=True)
    edits = AppliedEdits.of(init, DELAY, 0)
    assert b"elst" in init.moov
    assert b"elst" not in edits.data
    reader = FragmentReader()
    (head,) = reader.feed(edits.data)
    assert isinstance(head, Init)
    assert [track.delay for track in head.tracks] == [0, 0]


def test_pictures_that_begin_later_than_the_sound_stay_where_they_are() -> None:
    """What is left of their delay is added to their decode times."""
    init, parts = stream(sound=True, later=300)
    first, second = applied(init, b"".join(parts), 4096)
    assert first.video is not None
    assert second.video is not None
    assert (first.video.decode_time, second.video.decode_time) == (300, 2048 + 300)
    assert shown(first.video)[0] == 300


@given(st.integers(0, 5000), st.integers(0, 2048))
def test_sound_that_is_not_heard_moves_everything(early: int, later: int) -> None:
    """No track begins before zero, and all are later by the same: `shift`, to half a tick."""
    sound = build.full_box(b"elst", 0, 0, build.u32(1, 0, early), b"\0\1\0\0")
    video = build.full_box(b"elst", 0, 0, build.u32(1, 0, max(0, DELAY - later)), b"\0\1\0\0")
    traks = [
        build.trak(1, edts=box(b"edts", video)),
        build.trak(2, b"soun", 48000, b"mp4a", edts=box(b"edts", sound)),
    ]
    head = build.FTYP + build.moov(*traks, trex=build.trex(1) + build.trex(2))
    data = build.fragment((1, 0, GROUP), (2, 0, SOUND))
    init, before = FragmentReader().feed(head + data)
    assert isinstance(init, Init)
    assert isinstance(before, Fragment)
    edits = AppliedEdits.of(init, DELAY, 0)
    _, after = FragmentReader().feed(edits.data + EditApplier(edits).take(data))
    assert isinstance(after, Fragment)
    assert 0 <= edits.shift < Fraction(early, 48000) + Fraction(1, 15360)
    for track, old, new in zip(init.tracks, before.runs, after.runs, strict=True):
        moved = (track.delay + edits.shift) * track.timescale
        for was, now in zip(shown(old), shown(new), strict=True):
            assert abs(was + moved - now) <= Fraction(1, 2)
    heard = after.runs[1]
    assert heard.decode_time >= 0
    assert shown(heard)[0] >= 0


def test_a_single_picture_without_an_offset_gets_one() -> None:
    """FFmpeg writes none where it is zero."""
    init, _ = stream(sound=False)
    sample = Sample(50, 512, sync=False)
    rows = build.struct.pack(">II", sample.duration, sample.size)
    run = build.full_box(b"trun", 0, 0x301, build.u32(1, 0), rows)
    moof = box(b"moof", build.full_box(b"mfhd", 0, 0, build.u32(1)), build.traf(1, 4096, run))
    at = moof.rindex(b"trun") + 12
    moof = moof[:at] + build.u32(len(moof) + 8) + moof[at + 4 :]
    (found,) = applied(init, moof + box(b"mdat", b"x" * 50), 4096)
    assert found.video is not None
    assert shown(found.video) == [4096 - DELAY]
    assert found.mdat[8:] == b"x" * 50


def test_a_damaged_fragment_ends_the_stream() -> None:
    """Nothing is guessed; what came before it has passed."""
    init, parts = stream(sound=False)
    place = parts[1].index(b"trun") + 8
    broken = parts[1][:place] + b"\xff\xff\xff\xff" + parts[1][place + 4 :]
    applier = EditApplier(AppliedEdits.of(init, DELAY, 0))
    assert find(applier.take(parts[0]), b"moof") is not None
    with pytest.raises(MediaError):
        applier.take(broken)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_loop_or_are_kept_without_bound(data: bytes, size: int) -> None:
    """What is no fragment passes; a head that is not complete is all that is held."""
    init, _ = stream(sound=False)
    applier = EditApplier(AppliedEdits.of(init, DELAY, 0))
    out = b""
    try:
        for at in range(0, len(data), size):
            out += applier.take(data[at : at + size])
    except MediaError:
        return
    assert data.startswith(out) or b"moof" in data


def test_ticks_that_cannot_be_moved_stay_at_zero() -> None:
    """A decode time is never negative: players read it as a very large number."""
    init, parts = stream(sound=False)
    edits = attrs.evolve(AppliedEdits.of(init, DELAY, 0), later={1: -5000})
    reader = FragmentReader()
    _, first, _ = reader.feed(edits.data + EditApplier(edits).take(b"".join(parts)))
    assert isinstance(first, Fragment)
    assert first.video is not None
    assert first.video.decode_time == 0
