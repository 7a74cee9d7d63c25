"""Fragments of one frame, read by comparison: the same as the full reader finds, or its error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media_streams import (
    FTYP,
    NON_SYNC,
    SYNC,
    VIDEO_AND_AUDIO,
    VIDEO_ONLY,
    Sample,
    fragment,
    moov,
    trak,
    trex,
    u32,
)

from camd.mp4.boxes import MediaError, box, full_box
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.frames.frame_fragments import MAX_FORMS, FrameFragmentReader

Found = list[Init | Fragment | str]


def found_by(
    reader: FrameFragmentReader | FragmentReader, data: bytes, piece: int = 1 << 20
) -> Found:
    """Read bytes in pieces of a size, to their end or an error."""
    found: Found = []
    try:
        for at in range(0, len(data), piece):
            found += reader.feed(data[at : at + piece])
        found += reader.close()
    except MediaError as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def prft(ntp: int, shown: int, *, track_id: int = 1, flags: int = 0x18, version: int = 1) -> bytes:
    """Build a producer reference time."""
    form = ">IQQ" if version else ">IQI"
    return full_box(b"prft", version, flags, struct.pack(form, track_id, ntp, shown))


@st.composite
def compact(
    draw: st.DrawFn, track_id: int, sequence: int, time: int, *, wide: bool = True
) -> bytes:
    """Build one sample as FFmpeg does: its duration and size are defaults of the track."""
    size = draw(st.integers(0, 40))
    key = draw(st.booleans())
    offset = draw(st.sampled_from([None, None, 0, 512, -512]))
    duration = draw(st.sampled_from([512, 512, 511, 513, 0, 1 << 31]))
    defaults = u32(track_id, duration, size, NON_SYNC)
    tfhd = full_box(b"tfhd", 0, 0x20038, defaults)
    tfdt = full_box(b"tfdt", 1 if wide else 0, 0, struct.pack(">q" if wide else ">I", time))

    def build(at: int) -> bytes:
        flags = 0x1 | (0x4 if key else 0) | (0x800 if offset is not None else 0)
        row = u32(1) + struct.pack(">i", at) + (u32(SYNC) if key else b"")
        row += struct.pack(">i", offset) if offset is not None else b""
        traf = box(b"traf", tfhd, tfdt, full_box(b"trun", 1, flags, row))
        return box(b"moof", full_box(b"mfhd", 0, 0, u32(sequence)), traf)

    data = draw(st.binary(min_size=size, max_size=size))
    return build(len(build(0)) + 8) + box(b"mdat", data)


def rowed(track_id: int, sequence: int, time: int, samples: list[Sample]) -> bytes:
    """Build samples whose numbers all lie in the run, and sound beside them."""
    tracks = [(track_id, time, samples)]
    if track_id == 1 and sequence % 3 == 0:
        tracks.append((2, time * 3, [Sample(sequence % 7, 1024)] * (1 + sequence % 2)))
    return fragment(*tracks, sequence=sequence)


SAMPLES = st.lists(
    st.builds(
        Sample,
        st.integers(0, 40),
        st.integers(0, 1 << 32).map(lambda ticks: min(ticks, (1 << 32) - 1)),
        st.booleans(),
        st.sampled_from([0, 0, 512, -1024]),
    ),
    min_size=1,
    max_size=2,
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Make a stream of one-frame fragments, with what may come between and among them."""
    parts = [VIDEO_AND_AUDIO]
    for number in range(draw(st.integers(1, 12))):
        time = draw(st.sampled_from([number * 512, (1 << 33) + number, -512, 0]))
        kind = draw(st.integers(0, 7))
        track = draw(st.sampled_from([1, 1, 2]))
        if kind == 0:
            parts.append(draw(st.sampled_from([box(b"free", b"x"), box(b"free"), box(b"sidx")])))
        if kind in (1, 2, 3):
            about = draw(st.sampled_from([1, 1, 1, 2]))
            flags, version = draw(st.sampled_from([(0x18, 1), (0, 1), (0x18, 0)]))
            ntp = draw(st.integers(1 << 62, (1 << 64) - 1))
            parts.append(prft(ntp, number * 512, track_id=about, flags=flags, version=version))
        if kind == 4:
            parts.append(rowed(track, number, time, draw(SAMPLES)))
        elif kind == 5:
            parts.append(draw(compact(track, number, abs(time) % (1 << 32), wide=False)))
        else:
            parts.append(draw(compact(track, number, time)))
    return b"".join(parts)


def alike(number: int, size: int = 20) -> bytes:
    """Build the frame of a number: the first is a key frame, the others are alike."""
    written = prft((1 << 63) + number, number * 512)
    samples = [Sample(size, sync=not number)]
    return written + fragment((1, number * 512, samples), sequence=number)


@given(streams(), st.integers(1, 300))
def test_the_same_is_found_as_by_the_full_reader(stream: bytes, piece: int) -> None:
    """Every field of every fragment, wherever the stream is cut."""
    assert found_by(FrameFragmentReader(), stream, piece) == found_by(FragmentReader(), stream)


@given(streams(), st.data())
def test_what_is_damaged_is_what_the_full_reader_makes_of_it(
    stream: bytes, data: st.DataObject
) -> None:
    """A truncated or changed fragment never becomes another frame; the error is the same."""
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(len(VIDEO_AND_AUDIO), len(stream) - 1))] = data.draw(
            st.integers(0, 255)
        )
    cut = data.draw(st.integers(len(VIDEO_AND_AUDIO), len(stream)))
    torn = bytes(damaged[:cut]) + data.draw(st.sampled_from([b"", bytes(damaged[-60:]), b"\xff"]))
    assert found_by(FrameFragmentReader(), torn, 64) == found_by(FragmentReader(), torn, 64)


def test_samples_that_are_said_to_lie_elsewhere_are_refused() -> None:
    """The place of the samples is compared, as the full reader does."""
    moved = bytearray(alike(3))
    at = moved.index(b"trun") + 12
    moved[at : at + 4] = (int.from_bytes(moved[at : at + 4], "big") + 1).to_bytes(4, "big")
    stream = b"".join((VIDEO_ONLY, alike(1), alike(2), moved))
    found = found_by(FrameFragmentReader(), stream)
    assert found == found_by(FragmentReader(), stream)
    assert [type(each).__name__ for each in found] == ["Init", "Fragment", "Fragment", "str"]


@pytest.mark.parametrize("by", [-1, 1])
def test_a_box_that_is_not_as_large_as_its_samples_is_read_in_full(by: int) -> None:
    """The fragment behind it begins where the box ends, not where its samples do."""
    other = bytearray(alike(3))
    at = other.rindex(b"mdat") - 4
    other[at : at + 4] = (int.from_bytes(other[at : at + 4], "big") + by).to_bytes(4, "big")
    stream = b"".join((VIDEO_ONLY, alike(1), alike(2), other, alike(4)))
    found = found_by(FrameFragmentReader(), stream)
    assert found == found_by(FragmentReader(), stream)
    assert isinstance(found[-1], str)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_end_or_raise(data: bytes, piece: int) -> None:
    """Whatever follows a header, reading does not loop, and finds what the full reader finds."""
    for stream in (data, VIDEO_ONLY + data, VIDEO_ONLY + alike(0) + alike(1) + data):
        assert found_by(FrameFragmentReader(), stream, piece) == found_by(
            FragmentReader(), stream, piece
        )


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
def test_all_but_the_first_of_its_kind_are_read_by_comparison(piece: int) -> None:
    """A key frame, a frame, and a frame with sound are three kinds; numbers make no other kind."""
    frames = [alike(number, size=20 + number) for number in range(40)]
    with_sound = [rowed(1, 3 * number, 9000 + number * 512, [Sample(7)]) for number in range(10)]
    reader = FrameFragmentReader()
    found = found_by(reader, VIDEO_AND_AUDIO + b"".join(frames + with_sound), piece)
    assert found == found_by(FragmentReader(), VIDEO_AND_AUDIO + b"".join(frames + with_sound))
    kinds = 1 + 1 + 2  # the sound has one packet or two
    assert reader.compared == 50 - kinds


def test_a_frame_is_waited_for_until_all_of_it_is_there() -> None:
    """It is found with its last byte, not before."""
    reader = FrameFragmentReader()
    reader.feed(VIDEO_ONLY + alike(0) + alike(1))
    for byte in alike(2)[:-1]:
        assert reader.feed(bytes([byte])) == []
    (found,) = reader.feed(alike(2)[-1:])
    assert isinstance(found, Fragment)
    assert found.start_seconds == 2 * 512 / 15360
    assert reader.compared == 1


def test_what_begins_alike_and_is_shorter_is_not_waited_for() -> None:
    """A fragment without the sound of the one before is complete at its own end."""
    both = fragment((1, 512, [Sample(9)]), (2, 100, [Sample(5, 1024)]))
    reader = FrameFragmentReader()
    reader.feed(VIDEO_AND_AUDIO + both)
    (found,) = reader.feed(fragment((1, 1024, [Sample(9)])))
    assert isinstance(found, Fragment)
    assert len(found.runs) == 1


def test_no_more_kinds_are_remembered_than_a_few() -> None:
    """Those used the longest ago are forgotten, which costs time only: everything is found."""
    kinds = [compact_with(flags) for flags in range(2 * MAX_FORMS)]
    reader = FrameFragmentReader()
    stream = VIDEO_ONLY + b"".join(kinds * 2)
    assert found_by(reader, stream) == found_by(FragmentReader(), stream)
    assert reader.compared == 0
    latest = b"".join(kinds[-MAX_FORMS:] + kinds[:1])
    again = FrameFragmentReader()
    assert found_by(again, stream + latest) == found_by(FragmentReader(), stream + latest)
    assert again.compared == MAX_FORMS


def compact_with(flags: int) -> bytes:
    """Build a frame with other flags for each number."""
    defaults = u32(1, 512, 3, NON_SYNC + flags)
    tfhd = full_box(b"tfhd", 0, 0x20038, defaults)
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">q", flags))

    def build(at: int) -> bytes:
        trun = full_box(b"trun", 1, 0x1, u32(1) + struct.pack(">i", at))
        moof = box(b"traf", tfhd, tfdt, trun)
        return box(b"moof", full_box(b"mfhd", 0, 0, u32(7)), moof)

    return build(len(build(0)) + 8) + box(b"mdat", b"abc")


def test_defaults_of_the_header_count() -> None:
    """What neither the fragment nor its sample says is in the movie box."""
    head = FTYP + moov(trak(1), trex=trex(1, 777, 5, SYNC))

    def build(at: int, number: int) -> bytes:
        tfhd = full_box(b"tfhd", 0, 0x20000, u32(1))
        tfdt = full_box(b"tfdt", 0, 0, u32(number * 777))
        trun = full_box(b"trun", 0, 0x1, u32(1, at))
        moof = box(b"moof", full_box(b"mfhd", 0, 0, u32(number)), box(b"traf", tfhd, tfdt, trun))
        return moof if not at else moof + box(b"mdat", bytes([number]) * 5)

    stream = head + b"".join(build(len(build(0, 0)) + 8, number) for number in range(9))
    reader = FrameFragmentReader()
    found = found_by(reader, stream)
    assert found == found_by(FragmentReader(), stream)
    assert reader.compared == 8
    last = found[-1]
    assert isinstance(last, Fragment)
    assert (last.duration_seconds, last.starts_with_sync) == (777 / 15360, True)
