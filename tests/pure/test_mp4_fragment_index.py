"""The fragments that a final `moov` describes are those in the file; hostile ones are refused."""

from __future__ import annotations

import struct
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample
from support.recordings import WHO

from camd.mp4.boxes import MediaError, box, full_box
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.init import read_init
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.movies.fragment_index import (
    MOST_SAMPLES,
    PieceTable,
    StoredFragment,
    sealed_fragments,
    walked_fragments,
)
from camd.mp4.movies.playback_init import playback_init
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM, SegmentLayout


def stream_of(groups: list[list[Sample]], *, sound: bool) -> tuple[Init, list[Fragment]]:
    """Make a stream whose fragments hold these video samples, and sound beside each."""
    head = build.VIDEO_AND_AUDIO if sound else build.VIDEO_ONLY
    time, parts = 0, [head]
    for number, group in enumerate(groups):
        tracks = [(1, time, group)]
        if sound:
            tracks.append((2, number * 1024, [Sample(7, 1024)]))
        parts.append(build.fragment(*tracks, sequence=number + 1))
        time += sum(sample.duration for sample in group)
    init, *fragments = FragmentReader().feed(b"".join(parts))
    assert isinstance(init, Init)
    return init, [each for each in fragments if isinstance(each, Fragment)]


def sealed(init: Init, fragments: list[Fragment]) -> tuple[bytes, int]:
    """Return the bytes of a sealed segment, and where its fragments begin."""
    index = SegmentLayout(init, fragments[0], WHO)
    data = index.header + b"".join(part for each in fragments for part in index.append(each))
    header = index.seal_header(len(data))
    whole = data[:FTYP_SIZE] + header + data[HASHED_FROM:] + index.final_moov()
    return whole, len(index.header)


def from_moov(data: bytes, begin: int) -> list[StoredFragment]:
    """Find the fragments of a sealed file by its `moov`."""
    at = sealed_moov_offset(data)
    assert at is not None
    return list(sealed_fragments(read_init(b"", data[at:]), begin, at))


def walked(init: Init, data: bytes, begin: int, end: int) -> list[StoredFragment]:
    """Find the fragments of a file by reading its boxes."""
    return list(walked_fragments(lambda at, size: data[at : at + size], init, begin, end))


samples = st.builds(
    Sample,
    size=st.integers(1, 60),
    duration=st.integers(1, 2000),
    sync=st.booleans(),
    offset=st.integers(-1000, 1000),
)


@given(st.lists(st.lists(samples, min_size=1, max_size=8), min_size=1, max_size=6), st.booleans())
def test_the_moov_describes_what_a_walk_finds(groups: list[list[Sample]], sound: bool) -> None:
    """With and without sound, with samples shown in another order than they are decoded."""
    groups[0][0] = attrs.evolve(groups[0][0], sync=True)
    init, fragments = stream_of(groups, sound=sound)
    data, begin = sealed(init, fragments)
    end = sealed_moov_offset(data)
    assert end is not None
    found = from_moov(data, begin)
    assert found == walked(init, data, begin, end)
    assert [each.sync for each in found] == [group[0].sync for group in groups]
    for each, fragment in zip(found, fragments, strict=True):
        assert data[each.begin + 4 : each.begin + 8] == b"moof"
        assert data[each.begin : each.end].endswith(fragment.mdat)
    table = PieceTable.of(init.video.timescale, found)
    assert table is not None
    pieces = [table[number] for number in range(len(table))]
    assert (pieces[0].begin, pieces[-1].end) == (begin, end)
    assert [b.begin for b in pieces[1:]] == [a.end for a in pieces[:-1]]
    assert len(pieces) == sum(group[0].sync for group in groups)


B_FRAMES = [(0, 2), (1, 5), (2, 3), (3, 4), (4, 8), (5, 6), (6, 7), (7, 9)]  # decoded, shown


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 1))
def test_no_frame_is_missing_in_a_piece_that_grows(counts: list[int], groups: int) -> None:
    """However much of the file is there: some frames are shown before others that come earlier."""
    times = [
        (group * 8 + decoded, group * 8 + shown, decoded == 0)
        for group in range(groups + 1)
        for decoded, shown in B_FRAMES
    ]
    frames = [Sample(9, 100, sync, (shown - decoded) * 100) for decoded, shown, sync in times]
    parts, at = [], 0
    while at < len(frames):
        count = counts[len(parts) % len(counts)]
        ends = [n for n in range(at + 1, at + count) if n < len(frames) and frames[n].sync]
        parts.append(frames[at : min([at + count, *ends])])
        at += len(parts[-1])
    init, fragments = stream_of(parts, sound=False)
    for length in range(1, len(fragments) + 1):
        data, begin = sealed(init, fragments[:length])
        table = PieceTable.of(init.video.timescale, from_moov(data, begin))
        assert table is not None
        ((_, _, time, duration),) = table.rows(range(len(table) - 1, len(table)), grows=True)
        there = sum(each.frames for each in fragments[:length])
        missing = [shown - 2 for _, shown, _ in times[there:]]
        assert time < time + duration <= table.end_time
        assert all(100 * each >= time + duration for each in missing)


def three_pieces() -> tuple[PieceTable, int]:
    """Make the pieces of three seconds, one each, of two fragments each."""
    init, fragments = build.fragments_of(5, 5, 5, 5, 5, 5)
    data, begin = sealed(init, fragments)
    table = PieceTable.of(init.video.timescale, from_moov(data, begin))
    assert table is not None
    return table, begin


def test_a_piece_begins_with_a_key_frame_and_lasts_until_the_next() -> None:
    """Fragments in the middle of a group belong to the piece before them."""
    table, begin = three_pieces()
    assert [table[n].time for n in range(len(table))] == [0, 1, 2]
    assert [table[n].duration for n in range(len(table))] == [1, 1, 1]
    assert table[0].begin == begin


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        (0.0, 3.0, [0, 1, 2]),
        (0.5, 0.6, [0]),
        (1.0, 2.0, [1]),
        (0.999, 1.001, [0, 1]),
        (2.5, 99.0, [2]),
        (3.0, 9.0, []),
        (-5.0, 0.0, []),
        (-5.0, 0.1, [0]),
    ],
)
def test_pieces_of_a_range(since: float, until: float, numbers: list[int]) -> None:
    """Also the one that began before the range; none at its end, or behind the file."""
    table, _ = three_pieces()
    assert list(table.between(Fraction(since), Fraction(until))) == numbers


@given(st.integers(0, 6), st.integers(0, 2000))
def test_a_growing_file_is_read_up_to_what_is_durable(count: int, cut: int) -> None:
    """Only whole fragments count, and going on from there equals reading all at once."""
    init, fragments = build.fragments_of(5, 5, 5, 5, 5, 5)
    data, begin = sealed(init, fragments)
    end = sealed_moov_offset(data)
    assert end is not None
    everything = walked(init, data, begin, end)
    until = min(end, (everything[count - 1].end + 24 if count else begin) + cut)
    early = walked(init, data, begin, until)
    assert early == [each for each in everything if each.end + 24 <= until]
    table = PieceTable.of(init.video.timescale, early)
    if table is not None:
        later = walked(init, data, table.media_end, end)
        assert table.extended(later) == PieceTable.of(init.video.timescale, everything)


def test_sound_before_the_first_key_frame_makes_no_piece() -> None:
    """Nothing can be decoded without a key frame."""
    sound = StoredFragment(100, 200, sync=False)
    assert PieceTable.of(1000, [sound]) is None


# --- damaged and hostile tables


def refuse(data: bytes, begin: int) -> str:
    """Return why a file is refused."""
    with pytest.raises(MediaError) as refused:
        from_moov(data, begin)
    return str(refused.value)


def patched(kind: bytes, at: int, value: int, size: int = 4) -> tuple[bytes, int]:
    """Change a number in the first table of a kind, `at` bytes behind its name."""
    data, begin = sealed(*build.fragments_of(5, 5, 5))
    place = data.rindex(kind) + 4 + at
    return data[:place] + value.to_bytes(size, "big") + data[place + size :], begin


@pytest.mark.parametrize(
    ("kind", "at", "value", "size"),
    [
        (b"stsz", 8, MOST_SAMPLES + 1, 4),
        (b"stsz", 8, 0xFFFF_FFFF, 4),
        (b"stsz", 4, 100_000, 4),  # all samples have this size
        (b"stsc", 4, 0xFFFF_FFFF, 4),
        (b"stsc", 8, 2, 4),
        (b"stsc", 12, 4, 4),
        (b"co64", 4, 0x0FFF_FFFF, 4),
        (b"co64", 8, 60, 8),
        (b"co64", 8, 1 << 63, 8),
        (b"co64", 16, 60, 8),
        (b"stts", 4, 0xFFFF_FFFF, 4),
    ],
)
def test_damaged_tables_are_refused(kind: bytes, at: int, value: int, size: int) -> None:
    """In a bounded time and memory, whatever the numbers are."""
    assert refuse(*patched(kind, at, value, size))


def test_tables_that_leave_media_data_out_are_refused() -> None:
    """What lies between the last fragment and the final `moov` is described by nothing."""
    data, begin = sealed(*build.fragments_of(5, 5, 5))
    at = sealed_moov_offset(data)
    assert at is not None
    init = read_init(b"", data[at:])
    for end in (at - 1, at + 1):
        with pytest.raises(MediaError, match="do not fill"):
            list(sealed_fragments(init, begin, end))


def test_samples_of_one_size_are_bounded() -> None:
    """Their table takes no bytes of the file, however many it names."""
    data = bytearray(patched(b"stsz", 4, 1)[0])
    each = MOST_SAMPLES // 3 + 1
    for kind, at, value in ((b"stsz", 8, 3 * each), (b"stsc", 12, each)):
        place = data.rindex(kind) + 4 + at
        data[place : place + 4] = value.to_bytes(4, "big")
    assert "more than" in refuse(bytes(data), patched(b"stsz", 4, 1)[1])


def test_chunks_out_of_order_are_refused() -> None:
    """Two chunks that have changed places describe other samples than the fragments."""
    data, begin = sealed(*build.fragments_of(5, 5, 5))
    place = data.rindex(b"co64") + 12
    first, second = struct.unpack_from(">QQ", data, place)
    swapped = struct.pack(">QQ", second, first)
    assert "order" in refuse(data[:place] + swapped + data[place + 16 :], begin)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_end_a_walk(data: bytes, end: int) -> None:
    """They are no fragment, and the walk ends."""
    init, _ = build.fragments_of(5)
    assert walked(init, data, 0, end) == []
    assert walked(init, b"\0\0\0\x10moof" + data, 0, end) == []


def test_the_delay_of_a_track_is_skipped_by_the_others() -> None:
    """Browsers ignore an edit list that begins with an empty edit."""
    empty = struct.pack(">IiI", 500, -1, 0x10000) + struct.pack(">IiI", 0, 0, 0x10000)
    edts = box(b"edts", full_box(b"elst", 0, 0, build.u32(2), empty))
    late = build.trak(2, b"soun", 48000, b"mp4a", edts=edts)
    init = read_init(b"", build.moov(build.trak(1), late, trex=build.trex(1) + build.trex(2)))
    assert [track.delay for track in init.tracks] == [0, Fraction(1, 2)]
    made = playback_init(init, 0)
    assert [track.delay for track in read_init(b"", made.data).tracks] == [Fraction(-1, 2), 0]
    assert made.shift == Fraction(-1, 2)
