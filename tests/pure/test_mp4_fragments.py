"""Fragmented streams: their samples are read exactly, and damaged ones are refused."""

from __future__ import annotations

import contextlib
import itertools
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import media_streams as build
from support.media_streams import Sample

from camd.mp4.boxes import MediaError, box, full_box
from camd.mp4.fragments import MAX_IDLE_BOXES, Fragment, FragmentError, FragmentReader, Init
from camd.mp4.init import MovieHeaderError, NoVideoError

GOP = build.group(5)
SOUND = [Sample(20, 1024) for _ in range(8)]


def read(data: bytes, *cuts: int) -> list[Init | Fragment]:
    """Feed `data` in pieces and close."""
    reader, events, start = FragmentReader(), [], 0
    for cut in (*sorted(cuts), len(data)):
        events += reader.feed(data[start:cut])
        start = cut
    return events + reader.close()


def samples(fragment: Fragment, track_id: int) -> list[Sample]:
    """Return one track's samples as they were written."""
    run = next(run for run in fragment.runs if run.track_id == track_id)
    offsets = run.composition or [0] * run.count
    rows = zip(run.sizes, run.durations, run.sync, offsets, strict=True)
    return [Sample(size, duration, bool(sync), offset) for size, duration, sync, offset in rows]


STREAM = b"".join(
    (
        build.VIDEO_AND_AUDIO,
        box(b"styp", b"msdh"),
        build.fragment((1, 0, GOP), (2, 0, SOUND)),
        box(b"free", b"123"),
        build.prft(1, Fraction(1_700_000_000)),
        build.fragment((1, 2560, GOP[1:]), sequence=2),
        build.fragment((2, 8192, SOUND), sequence=3),
        box(b"mfra"),
    )
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_wherever_the_stream_is_cut_the_same_fragments_come_out(cuts):
    """Cuts change neither the init nor any fragment."""
    assert read(STREAM, *cuts) == read(STREAM)


def test_init_and_fragments_say_what_the_stream_holds():
    """Tracks, samples, times and sizes are those that were written."""
    init, first, second, third = read(STREAM)
    assert isinstance(init, Init)
    assert [(t.track_id, t.handler, t.codec, t.timescale) for t in init.tracks] == [
        (1, "vide", "avc1", 15360),
        (2, "soun", "mp4a", 48000),
    ]
    assert (init.video.width, init.video.height) == (320, 180)
    assert init.audio is not None
    assert (init.audio.channels, init.audio.sample_rate) == (2, 48000)
    assert samples(first, 1) == GOP
    assert samples(first, 2) == SOUND
    assert (first.frames, first.starts_with_sync, first.start_seconds) == (5, True, 0.0)
    assert first.duration_seconds == first.end_seconds == 2560 / 15360
    assert (second.frames, second.starts_with_sync) == (4, False)
    assert second.start_seconds == 2560 / 15360
    assert (third.frames, third.starts_with_sync, third.duration_seconds) == (0, False, 0.0)
    assert third.start_seconds == 8192 / 48000
    assert first.size_bytes == len(build.fragment((1, 0, GOP), (2, 0, SOUND)))


def test_a_stream_that_ends_inside_a_fragment_is_refused():
    """The fragments before it were returned."""
    reader = FragmentReader()
    whole = build.VIDEO_ONLY + build.fragment((1, 0, GOP))
    assert len(reader.feed(whole + build.fragment((1, 2560, GOP))[:-1])) == 2
    with pytest.raises(MediaError):
        reader.close()


def test_whole_fragments_before_garbage_are_not_lost():
    """Complete fragments before garbage in the same chunk are returned first."""
    whole = build.VIDEO_ONLY + build.fragment((1, 0, GOP))
    for garbage in (bytes(64), b"\xff" * 64, box(b"mdat")):
        reader = FragmentReader()
        assert len(reader.feed(whole + garbage)) == 2
        for _ in range(2):
            with pytest.raises(MediaError):
                reader.feed(b"")
        with pytest.raises(MediaError):
            reader.close()


@given(st.data(), st.binary(min_size=1, max_size=8))
def test_damaged_streams_end_or_raise_media_errors(data, patch):
    """Whatever bytes are overwritten, no error but a MediaError is raised."""
    at = data.draw(st.integers(0, len(STREAM) - len(patch)))
    with contextlib.suppress(MediaError):
        read(STREAM[:at] + patch + STREAM[at + len(patch) :])


TFHD_BITS = (0x8, 0x10, 0x20)
TRUN_BITS = (0x4, 0x100, 0x200, 0x400, 0x800)


@pytest.mark.parametrize("from_moof", [True, False])
@pytest.mark.parametrize("in_tfhd", list(itertools.product([True, False], repeat=3)))
def test_every_combination_of_flags_says_the_same(in_tfhd, from_moof):
    """A value is taken from the trun, else the tfhd, else the trex."""
    named = sum(bit for bit, on in zip(TFHD_BITS, in_tfhd, strict=True) if on)
    header = [v for v, on in zip((300, 30, build.NON_SYNC), in_tfhd, strict=True) if on]
    trex = build.trex(1, 400, 40, build.SYNC)
    for chosen in itertools.product([True, False], repeat=5):
        flags = sum(bit for bit, on in zip(TRUN_BITS, chosen, strict=True) if on)
        first, duration, size, each, offset = chosen
        flat = [300 if in_tfhd[0] else 400, 30 if in_tfhd[1] else 40, not in_tfhd[2], 0]
        wanted = []
        rows = []
        for index in range(3):
            values = list(flat)
            row = b""
            for column, (on, value) in enumerate(
                ((duration, 500 + index), (size, 50 + index), (each, index == 1), (offset, -index))
            ):
                if not on:
                    continue
                values[column] = value
                word = (build.SYNC if value else build.NON_SYNC) if column == 2 else value
                row += struct.pack(">I", word & 0xFFFF_FFFF)
            if first and index == 0:
                values[2] = True
            wanted.append(Sample(values[1], values[0], values[2], values[3]))
            rows.append(row)

        def moof(at, flags=flags, first=first, rows=rows):
            head = struct.pack(">Ii", 3, at) + (build.u32(build.SYNC) if first else b"")
            base = 0x20000 if from_moof else 0
            tfhd = full_box(b"tfhd", 0, named | base, build.u32(1, *header))
            tfdt = full_box(b"tfdt", 0, 0, build.u32(77))
            trun = full_box(b"trun", 1, flags | 1, head, *rows)
            return box(
                b"moof", full_box(b"mfhd", 0, 0, build.u32(1)), box(b"traf", tfhd, tfdt, trun)
            )

        mdat = box(b"mdat", bytes(sum(sample.size for sample in wanted)))
        stream = build.FTYP + build.moov(build.trak(1), trex=trex)
        _, found = read(stream + moof(len(moof(0)) + 8) + mdat)
        assert samples(found, 1) == wanted
        assert found.runs[0].decode_time == 77


def test_runs_without_an_offset_follow_one_another():
    """The second trun of a traf, and a second traf, begin where the data before them ends."""
    later = full_box(b"trun", 0, 0x200, build.u32(2, 30, 40))

    def moof(at):
        head = full_box(b"mfhd", 0, 0, build.u32(1))
        one = build.traf(1, 0, build.trun(GOP, at), later)
        tfhd = full_box(b"tfhd", 0, 0, build.u32(2))
        two = box(b"traf", tfhd, full_box(b"tfdt", 0, 0, build.u32(0)), later)
        return box(b"moof", head, one, two)

    size = sum(sample.size for sample in GOP)
    start = len(moof(0)) + 8
    _, found = read(build.VIDEO_AND_AUDIO + moof(start) + box(b"mdat", bytes(size + 140)))
    assert [(c.count, c.offset) for c in found.runs[0].chunks] == [(5, start), (2, start + size)]
    assert [(c.count, c.offset) for c in found.runs[1].chunks] == [(2, start + size + 70)]


def test_composition_offsets_are_signed_in_every_version():
    """A stream with negative offsets in version 0 is accepted."""

    def stream(version):
        moof = lambda at: box(  # noqa: E731
            b"moof",
            full_box(b"mfhd", 0, 0, build.u32(1)),
            build.traf(1, 0, build.trun([Sample(4, offset=-512)], at, version)),
        )
        return build.VIDEO_ONLY + moof(len(moof(0)) + 8) + box(b"mdat", bytes(4))

    for version in (0, 1):
        assert samples(read(stream(version))[1], 1) == [Sample(4, offset=-512)]


def test_decode_times_before_zero_are_negative():
    """FFmpeg writes them for a track that begins before the one it wrote first."""
    _, found = read(build.VIDEO_ONLY + build.fragment((1, -512, GOP)))
    assert found.start_seconds == -512 / 15360


def test_intra_only_samples_are_sync_samples_whatever_their_flags():
    """Each JPEG can begin a segment."""
    stream = build.FTYP + build.moov(build.trak(1, entry=b"jpeg"), trex=build.trex(1))
    init, found = read(stream + build.fragment((1, 0, [Sample(10, sync=False)] * 3)))
    assert init.video.intra_only
    assert found.runs[0].sync == b"\1\1\1"


def test_a_jpeg_inside_mp4v_is_recognised():
    """The object type of the generic sample entry gives the codec."""
    decoder = b"\x04\x80\x80\x80\x0d\x6c\x11" + bytes(11)
    esds = full_box(b"esds", 0, 0, b"\x03\x80\x80\x80\x1b\x00\x01\x00", decoder)
    trak = build.trak(1, entry=b"mp4v", extra=esds)
    (init,) = read(build.FTYP + build.moov(trak))
    assert init.video.codec == "jpeg"


@pytest.mark.parametrize(("flags", "wall"), [(0x18, 99_833_333), (0, 100_000_000)])
def test_reference_times_become_the_wall_time_of_the_first_frame(flags, wall):
    """The fragment's duration is subtracted from a time read when it was complete."""
    stamp = build.prft(1, Fraction(100), flags)
    _, found, bare = read(
        build.VIDEO_ONLY + stamp + build.fragment((1, 0, GOP)) + build.fragment((1, 2560, GOP))
    )
    assert abs(found.wall_micros - wall) <= 1
    assert bare.wall_micros is None


def absolute() -> bytes:
    """A fragment with base-data-offset present."""
    tfhd = full_box(b"tfhd", 0, 1, struct.pack(">IQ", 1, 0))
    moof = box(b"moof", full_box(b"mfhd", 0, 0, build.u32(1)), box(b"traf", tfhd))
    return build.VIDEO_ONLY + moof + box(b"mdat")


GOOD = build.fragment((1, 0, GOP))
AUDIO_ONLY = build.FTYP + build.moov(build.trak(1, b"soun", entry=b"mp4a"))


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (GOOD, FragmentError),
        (build.VIDEO_ONLY + GOOD[:-613] + box(b"free"), MediaError),
        (build.VIDEO_ONLY + box(b"mdat"), FragmentError),
        (build.VIDEO_ONLY + build.VIDEO_ONLY, FragmentError),
        (build.VIDEO_ONLY + build.fragment((7, 0, GOP)), FragmentError),
        (build.VIDEO_ONLY + build.fragment((1, 0, GOP), (1, 0, GOP)), FragmentError),
        (absolute(), FragmentError),
        (AUDIO_ONLY, NoVideoError),
        (build.FTYP + build.moov(*(build.trak(n) for n in range(1, 10))), MovieHeaderError),
        (build.FTYP + build.moov(build.trak(1), build.trak(1)), MovieHeaderError),
        (build.FTYP + build.moov(build.trak(1), timescale=0), MovieHeaderError),
    ],
)
def test_what_camd_cannot_record_from_is_refused(stream, error):
    """Each error has its own type, and all are MediaErrors."""
    with pytest.raises(error):
        read(stream)


def test_samples_outside_the_mdat_are_refused():
    """A fragment may not point past its data."""
    moof_size = len(GOOD) - sum(sample.size for sample in GOP) - 8
    short = GOOD[:moof_size] + box(b"mdat", bytes(100))
    with pytest.raises(FragmentError, match="outside"):
        read(build.VIDEO_ONLY + short)


def test_a_promise_of_too_many_samples_is_refused_without_making_them():
    """A run may not claim more samples than the limit, even when each takes no bytes."""
    trun = full_box(b"trun", 0, 0, build.u32(0xFFFF_FFFF))
    moof = box(b"moof", full_box(b"mfhd", 0, 0, build.u32(1)), build.traf(1, 0, trun))
    with pytest.raises(FragmentError, match="more than"):
        read(build.VIDEO_ONLY + moof + box(b"mdat"))


def test_a_stream_of_boxes_without_samples_is_refused_soon():
    """The reader accepts a limited number of boxes without samples."""
    reader = FragmentReader()
    reader.feed(build.VIDEO_ONLY + build.fragment((1, 0, GOP)))
    reader.feed(box(b"free") * MAX_IDLE_BOXES)
    with pytest.raises(FragmentError, match="in a row"):
        reader.feed(box(b"free") * 131072)


def test_boxes_between_fragments_count_from_the_last_fragment():
    """Their total number is not limited while fragments come."""
    piece = box(b"free") * (MAX_IDLE_BOXES - 10) + build.fragment((1, 0, GOP))
    reader = FragmentReader()
    reader.feed(build.VIDEO_ONLY)
    assert all(len(reader.feed(piece)) == 1 for _ in range(5))


@pytest.mark.parametrize("many", ["in the moof", "in a traf", "trafs"])
def test_a_moof_full_of_boxes_is_refused_without_walking_them(many):
    """A moof of the largest size could contain half a million boxes."""
    header = full_box(b"mfhd", 0, 0, build.u32(1))
    inside = {
        "in the moof": box(b"free") * 100_000,
        "in a traf": box(b"traf", box(b"free") * 100_000),
        "trafs": build.traf(1, 0, build.trun(build.group(1), 0)) * 100,
    }
    stream = build.VIDEO_ONLY + box(b"moof", header, inside[many]) + box(b"mdat", bytes(100))
    with pytest.raises(MediaError, match=r"more than 1000|at most"):
        read(stream)
