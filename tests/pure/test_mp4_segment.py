"""Layout and times of a segment's samples, while it grows and when it is sealed."""

from __future__ import annotations

import struct
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample

from camd.mp4.boxes import MediaError, box, full_box
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.frame_search import find_frame_at
from camd.mp4.init import read_init, required_box, unpack
from camd.mp4.inspect import (
    read_segment_head,
    sealed_moov_offset,
    stored_samples,
    summarise_segment,
    validate_samples,
)
from camd.mp4.interrupted import read_interrupted
from camd.mp4.movies.fragment_index import PieceTable, walked_fragments
from camd.mp4.segment import CHECKSUM_BOX_SIZE, SegmentError, SegmentLayout
from camd.mp4.segment_metadata import MetadataError, SegmentMetadata, decode_metadata

WHO = SegmentMetadata(
    *("camera0", "usb", "session", 3, 1_700_000_000_000_000, 7.25, "boot"),
    synchronised=False,
    software="camd 0",
)


def read(data: bytes) -> tuple[Init, list[Fragment]]:
    """Read a whole stream."""
    init, *fragments = FragmentReader().feed(data)
    return init, fragments


def record(data: bytes) -> tuple[SegmentLayout, bytes]:
    """Make one growing segment of a whole stream."""
    init, fragments = read(data)
    index = SegmentLayout(init, fragments[0], WHO)
    return index, b"".join([index.header, *(p for f in fragments for p in index.append(f))])


def table(moov: bytes, track: int, kind: bytes, columns: str = "I") -> list[tuple[int, ...]]:
    """Read the rows of one table of the track at `track`; none when there is no such table."""
    traks = moov.split(b"trak")[track + 1]
    at = traks.find(kind)
    if at < 0:
        return []
    at += 8 + (4 if kind == b"stsz" else 0)
    (count,) = unpack("I", traks, at, len(traks))
    width = struct.calcsize(">" + columns)
    return [unpack(columns, traks, at + 4 + n * width, len(traks)) for n in range(count)]


def edits(moov: bytes, track: int) -> list[tuple[int, int]]:
    """Read the edit list as durations and media times."""
    return [(row[0], row[1]) for row in table(moov, track, b"elst", "QqI")]


@given(
    st.lists(
        st.lists(
            st.builds(
                Sample,
                size=st.integers(0, 60),
                duration=st.integers(0, 2000),
                sync=st.booleans(),
                offset=st.integers(-1000, 1000),
            ),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_tables_describe_every_sample_of_the_fragments(groups):
    """Sizes, durations, composition offsets, sync samples and file positions are exact."""
    groups[0][0] = attrs.evolve(groups[0][0], sync=True)
    stream, time = build.VIDEO_ONLY, 5000
    for samples in groups:
        stream += build.fragment((1, time, samples))
        time += sum(sample.duration for sample in samples)
    index, grown = record(stream)
    moov = index.final_moov()
    flat = [sample for samples in groups for sample in samples]
    assert [size for (size,) in table(moov, 0, b"stsz")] == [s.size for s in flat]
    times = [d for count, d in table(moov, 0, b"stts", "II") for _ in range(count)]
    assert times == [s.duration for s in flat]
    offsets = [o for count, o in table(moov, 0, b"ctts", "Ii") for _ in range(count)]
    assert offsets == ([s.offset for s in flat] if any(s.offset for s in flat) else [])
    numbers = [n for n, s in enumerate(flat, 1) if s.sync]
    assert [n for (n,) in table(moov, 0, b"stss")] == (numbers if len(numbers) < len(flat) else [])
    places = [at for (at,) in table(moov, 0, b"co64", "Q")]
    for place, samples in zip(places, groups, strict=True):
        data = b"".join(bytes([16 + n % 16]) * s.size for n, s in enumerate(samples))
        assert grown[place : place + len(data)] == data
    assert index.frames == len(flat)
    decoded = sum(s.duration for s in flat)
    assert index.decoded_seconds == decoded / 15360
    assert index.duration >= Fraction(decoded, 15360)
    if len({s.offset for s in flat}) == 1:
        assert index.duration == Fraction(decoded, 15360)
    summary = summarise_segment(grown, moov)
    assert summary.duration_seconds == index.duration_seconds
    assert summary.decoded_seconds == index.decoded_seconds


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 99), st.booleans())
def test_a_file_lasts_until_its_last_picture_has_been_shown(groups, taken, uneven):
    """Wherever a stop cuts between pictures that are shown in another order; where a group is
    whole, until the next one begins."""
    shown = [0]  # places in the order of decoding: the last picture of each group comes first
    for count in groups:
        before = max(shown)
        shown += [before + count, *range(before + 1, before + count)]
    moved = [(7 * place % 5) * 20 if uneven else 0 for place in range(len(shown))]
    some = shown[:taken]
    samples = [
        Sample(9, 512, sync=number == 0, offset=512 * (place - number + 1) + moved[place])
        for number, place in enumerate(some)
    ]
    index, grown = record(build.VIDEO_ONLY + build.fragment((1, 9000, samples)))
    last = 512 * max(some) + moved[max(some)] - moved[0]
    whole = len(some) == max(some) + 1
    assert index.duration == Fraction(512 * len(some) if whole else last + 512, 15360)
    moov = index.final_moov()
    assert summarise_segment(grown, moov).duration_seconds == index.duration_seconds
    begin, end = len(index.header), len(grown)
    found = walked_fragments(lambda at, size: grown[at : at + size], index.init, begin, end)
    pieces = PieceTable.of(15360, found)
    assert pieces is not None
    assert pieces.end_time == index.duration * 15360
    frames = stored_samples(read_init(b"", moov))
    assert find_frame_at(frames, index.duration) is None
    picture = find_frame_at(frames, index.duration - Fraction(1, 15360))
    assert picture is not None
    assert picture.shown_at == Fraction(last, 15360)


def test_the_layout_is_what_recovery_and_hashes_rely_on():
    """An ftyp of 32 bytes, a free of 16; sealed, an mdat contains all up to the moov."""
    index, grown = record(build.VIDEO_ONLY + build.fragment((1, 9000, build.group(4))))
    assert grown[:8] == struct.pack(">I4s", 32, b"ftyp")
    assert grown[32:40] == struct.pack(">I4s", 16, b"free")
    assert index.seal_header(1000) == struct.pack(">I4sQ", 1, b"mdat", 968)
    init, who = read_segment_head(grown)
    assert who == WHO
    assert init.video.codec == "avc1"
    sealed = grown[:32] + index.seal_header(len(grown)) + grown[48:]
    assert sealed_moov_offset(sealed) == len(grown)
    assert sealed_moov_offset(grown) is None
    assert (index.end - index.start).total_seconds() == pytest.approx(4 * 512 / 15360, abs=1e-6)


def test_decode_times_start_at_zero_and_sequences_at_one():
    """The file's times do not depend on how long the camera had been running."""
    stream = build.VIDEO_AND_AUDIO
    for n in range(3):
        sound = [Sample(9, 1024, offset=0)] * 4
        video = build.group(4)
        stream += build.fragment(
            (1, 90_000 + n * 2048, video), (2, 281_300 + n * 4096, sound), sequence=70 + n
        )
    _, grown = record(stream)
    _, fragments = read(grown)
    assert [[run.decode_time for run in f.runs] for f in fragments] == [
        [0, 0],
        [2048, 4096],
        [4096, 8192],
    ]
    assert [f.moof[20:24] for f in fragments] == [build.u32(n) for n in (1, 2, 3)]


def test_reordered_video_begins_at_zero_by_an_edit():
    """The first presented sample is shown at once, in a growing and in a sealed file."""
    samples = [Sample(5, 512, n == 0, offset) for n, offset in enumerate((1024, 2048, 0, 512))]
    index, grown = record(build.VIDEO_ONLY + build.fragment((1, 0, samples)))
    assert edits(grown, 0) == [(0, 1024)]
    assert edits(index.final_moov(), 0) == [(90_000 * 2048 // 15360, 1024)]


def test_samples_before_their_sync_sample_are_not_hidden():
    """The edit starts before the leading pictures of an open group."""
    samples = [Sample(5, 512, n == 0, offset) for n, offset in enumerate((2048, 512, 512, 1536))]
    index, grown = record(build.VIDEO_ONLY + build.fragment((1, 0, samples)))
    assert edits(grown, 0) == edits(index.final_moov(), 0) == []


@pytest.mark.parametrize(("audio_start", "delayed"), [(48_000 + 4_800, 1), (48_000 - 4_800, 0)])
def test_a_track_that_starts_later_is_delayed_by_an_empty_edit(audio_start, delayed):
    """An offset of a tenth of a second between video and audio is kept."""
    sound = [Sample(9, 1024)] * 4
    data = build.fragment((1, 15360, build.group(4)), (2, audio_start, sound))
    index, grown = record(build.VIDEO_AND_AUDIO + data)
    for moov in (grown, index.final_moov()):
        assert edits(moov, delayed)[0] == (9000, -1)
        assert edits(moov, 1 - delayed) == []


def test_a_track_that_comes_later_keeps_its_time():
    """Audio whose first sample is in the second fragment keeps its offset."""
    stream = build.VIDEO_AND_AUDIO + build.fragment((1, 0, build.group(30)))
    second = build.fragment((1, 15360, build.group(30)), (2, 48_000, [Sample(9, 1024)] * 4))
    index, grown = record(stream + second)
    assert edits(grown, 1) == [(0, 48_000)]
    assert edits(index.final_moov(), 1)[0] == (90_000, -1)
    _, fragments = read(grown)
    assert fragments[1].runs[1].decode_time == 96_000


def test_a_track_without_samples_is_left_out_of_the_sealed_file():
    """The sealed file has no audio track when no audio came."""
    index, _ = record(build.VIDEO_AND_AUDIO + build.fragment((1, 0, build.group(4))))
    assert index.final_moov().count(b"trak") == 1


@pytest.mark.parametrize(
    ("second_start", "durations"),
    [
        (2048, [512] * 8),
        (3048, [512] * 3 + [1512] + [512] * 4),
        (2000, [512] * 3 + [464] + [512] * 4),
        (1537, [512] * 3 + [1] + [512] * 4),
        (1000, [512] * 8),
        (-1 << 40, [512] * 8),
        (1 << 40, [512] * 8),
    ],
)
def test_gaps_lengthen_and_overlaps_shorten_the_sample_before(second_start, durations):
    """Later samples keep their times; after a far jump, or one back, they follow without a gap."""
    first = build.fragment((1, 0, build.group(4)))
    index, _ = record(build.VIDEO_ONLY + first + build.fragment((1, second_start, build.group(4))))
    found = [d for n, d in table(index.final_moov(), 0, b"stts", "II") for _ in range(n)]
    assert found == durations
    assert index.duration == Fraction(sum(durations), 15360)


MOMENTS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-100_000, 100_000)
SAMPLES = st.lists(
    st.builds(
        Sample,
        size=st.integers(0, 5),
        duration=st.integers(0, 2000) | st.integers(0, 0xFFFF_FFFF),
        sync=st.just(True),
        offset=st.integers(-2000, 2000) | st.integers(-(1 << 31), (1 << 31) - 1),
    ),
    min_size=1,
    max_size=4,
)
PARTS = st.tuples(SAMPLES, MOMENTS, st.none() | st.tuples(SAMPLES, MOMENTS))


@given(st.lists(PARTS, min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=3))
def test_whatever_times_a_stream_has_a_file_holds_all_of_it(parts, sound_alone):
    """Any times are accepted; counts and durations are kept, and recovery finds the same."""
    given = {1: [], 2: []}
    stream = build.VIDEO_AND_AUDIO
    for number, (pictures, moment, sound) in enumerate(parts):
        tracks = [] if number and number in sound_alone else [(1, moment, pictures)]
        tracks += [(2, sound[1], sound[0])] if sound else []
        for track, _, samples in tracks:
            given[track].append([sample.duration for sample in samples])
        stream += build.fragment(*tracks) if tracks else b""
    index, grown = record(stream)
    final = index.final_moov()
    for number, track in enumerate(track for track in given if given[track]):
        runs = given[track]
        found = [d for n, d in table(final, number, b"stts", "II") for _ in range(n)]
        for run in runs:
            mine, found = found[: len(run)], found[len(run) :]
            assert mine[:-1] == run[:-1]
            assert len(mine) == len(run)
        assert found == []
        assert mine == run
    validate_samples(final, 48, len(grown))
    rebuilt = read_interrupted(lambda at, size: grown[at : at + size], len(grown), every=True)
    assert rebuilt is not None
    assert rebuilt.whole_bytes == len(grown)
    again = rebuilt.index.final_moov()
    tracks = range(sum(1 for track in given if given[track]))
    for number, kind in ((n, k) for n in tracks for k in (b"stts", b"ctts")):
        assert table(again, number, kind, "II") == table(final, number, kind, "II")
    assert table(again, 0, b"co64", "Q") == table(final, 0, b"co64", "Q")


def test_sound_by_another_clock_begins_with_the_picture():
    """An offset of years between two tracks is ignored."""
    wild = build.fragment((1, 0, build.group(4)), (2, 1 << 50, [Sample(9, 1024)] * 3))
    index, _ = record(build.VIDEO_AND_AUDIO + wild)
    assert edits(index.header, 1) == edits(index.header, 0) == []
    later = build.fragment((1, 0, build.group(4))), build.fragment((2, 1 << 50, [Sample(9, 1024)]))
    index, _ = record(build.VIDEO_AND_AUDIO + b"".join(later))
    delay, sound = edits(index.final_moov(), 1)
    assert delay == (4 * 512 * 90_000 // 15_360, -1)
    assert sound[1] == 0


def test_an_interrupted_file_rebuilds_the_same_index():
    """The header and the final moov made from the file's own bytes are the same again."""
    stream = build.VIDEO_AND_AUDIO
    for n in range(3):
        video = [Sample(5, 512, i == 0, 1024) for i in range(4)]
        sound = [Sample(9, 1024)] * 2
        stream += build.fragment((1, 700 + n * 2500, video), (2, 77 + n * 2048, sound))
    index, grown = record(stream)
    init, who = read_segment_head(grown)
    _, fragments = read(grown)
    again = SegmentLayout(init, fragments[0], who)
    assert again.header == index.header
    assert b"".join(p for f in fragments for p in again.append(f)) == grown[len(index.header) :]
    assert again.final_moov() == index.final_moov()


def test_unusable_fragments_are_refused_and_change_nothing():
    """A segment begins with a key frame, and has no other tracks than its init."""
    init, (first,) = read(build.VIDEO_ONLY + build.fragment((1, 0, build.group(4))))
    _, (other,) = read(build.VIDEO_AND_AUDIO + build.fragment((2, 0, [Sample(3)])))
    _, (middle,) = read(build.VIDEO_ONLY + build.fragment((1, 0, build.group(4)[1:])))
    for fragment in (middle, other):
        with pytest.raises(SegmentError):
            SegmentLayout(init, fragment, WHO)
    index = SegmentLayout(init, first, WHO)
    index.append(first)
    before = (index.size_bytes, index.final_moov())
    for fragment in (other,):
        with pytest.raises(SegmentError):
            index.append(fragment)
    assert (index.size_bytes, index.final_moov()) == before


def test_probing_a_final_moov_finds_frames_and_duration():
    """The summary of another program's file has no metadata."""
    index, grown = record(build.VIDEO_ONLY + build.fragment((1, 0, build.group(4))))
    summary = summarise_segment(grown, index.final_moov())
    assert (summary.frames, summary.duration_seconds) == (4, 4 * 512 / 15360)
    assert summary.metadata == WHO
    assert summarise_segment(b"", index.final_moov()).metadata is None
    assert required_box(index.final_moov(), b"moov", b"mvhd").payload == 16


@given(
    st.builds(
        SegmentMetadata,
        st.text(),
        st.text(),
        st.text(),
        st.integers(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.booleans(),
        st.text(),
    )
)
def test_metadata_is_read_back_as_written(who):
    """Any text and number survives the box."""
    assert decode_metadata(who.encode()) == who


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        box(b"uuid", bytes(16), b"{}"),
        WHO.encode()[:-1],
        WHO.encode().replace(b'"number": 3', b'"number": true'),
        WHO.encode().replace(b'"number": 3', b'"numbers": 3'),
        WHO.encode().replace(b'"version": 1', b'"version": 2'),
        WHO.encode()[:24] + b"[]",
    ],
)
def test_damaged_metadata_raises(broken):
    """Only a complete box of this version is accepted."""
    with pytest.raises(MetadataError):
        decode_metadata(broken)


@given(st.binary(max_size=300))
def test_any_head_reads_or_raises(data):
    """Other files raise nothing but MediaErrors."""
    head = full_box(b"ftyp", 0, 0, bytes(20)) + box(b"free", bytes(8)) + data
    with pytest.raises(MediaError):
        read_segment_head(head)


def test_rendering_records_nothing():
    """A fragment rendered twice gives the same bytes."""
    init, (first,) = read(build.VIDEO_ONLY + build.fragment((1, 0, build.group(4))))
    index = SegmentLayout(init, first, WHO)
    assert index.render(first) == index.render(first)
    assert (index.frames, index.size_bytes) == (0, len(index.header))
    index.record(first.runs, first.size_bytes)
    size = len(index.header) + first.size_bytes + CHECKSUM_BOX_SIZE
    assert (index.frames, index.size_bytes) == (4, size)
