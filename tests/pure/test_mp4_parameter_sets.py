"""No bytes from a camera make the parsers of parameter sets loop, crash or use much memory."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camd.mp4.boxes import MediaError, box
from camd.mp4.h26x.parameter_sets import (
    MAX_NAL_UNITS,
    BitFields,
    NalError,
    VideoCodec,
    nal_units_in,
    read_sequence,
    reader_of_bytes,
    set_identity,
    sets_within,
)
from camd.mp4.h26x.sample_entry import contradiction, header_problem, header_with, read_header

# Made by libx264 for 318x178.
H264 = bytes.fromhex("6742c00bda05067a88c05a8081012000000300200000030281e28554")
ENTRY_FIELDS = bytes(24) + struct.pack(">HH", 320, 180) + bytes(50)


def test_fields_are_read_without_emulation_prevention() -> None:
    """A 3 after two zeros is no part of the fields, and the bits around it are read in order."""
    fields = BitFields(bytes.fromhex("800000030140"))
    assert fields.flag()
    assert fields.take(23) == 0
    assert fields.take(8) == 1
    assert fields.number() == 1
    with pytest.raises(NalError):
        BitFields(b"\0").number()
    with pytest.raises(NalError, match="too large"):
        BitFields(bytes(9)).number()


@pytest.mark.parametrize(
    ("bits", "unsigned", "signed"),
    [("1", 0, 0), ("010", 1, 1), ("011", 2, -1), ("00100", 3, 2), ("0001000", 7, 4)],
)
def test_numbers_are_exp_golomb_codes(bits: str, unsigned: int, signed: int) -> None:
    """The codes of H.264 table 9-3 and 9-4 have their values."""
    data = int(bits.ljust(16, "1"), 2).to_bytes(2, "big")
    assert BitFields(data).number() == unsigned
    assert BitFields(data).signed() == signed


@given(st.binary(max_size=300), st.sampled_from(list(VideoCodec)))
@example(b"\x67" + bytes(40), VideoCodec.H264)
@example(b"\x42\x01" + bytes(60), VideoCodec.H265)
def test_any_bytes_end_or_raise(data: bytes, codec: VideoCodec) -> None:
    """Reading any parameter set ends, with a size or a MediaError."""
    header = b"\x67" if codec is VideoCodec.H264 else b"\x42\x01"
    for nal in (data, header + data):
        with contextlib.suppress(NalError):
            sequence = read_sequence(nal, codec)
            assert 0 < sequence.width <= 32768
            assert 0 < sequence.height <= 32768
        with contextlib.suppress(NalError):
            set_identity(nal, codec)


@given(st.binary(max_size=200), st.integers(1, 4), st.sampled_from(list(VideoCodec)))
def test_any_sample_is_walked_to_its_end_or_refused(
    data: bytes, length_size: int, codec: VideoCodec
) -> None:
    """NAL units that are returned fill the sample exactly."""
    with contextlib.suppress(NalError):
        units = list(nal_units_in(reader_of_bytes(data), 0, len(data), length_size))
        assert sum(unit.size + length_size for unit in units) == len(data)
        sets_within(reader_of_bytes(data), 0, len(data), length_size, codec)


@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=8), st.sampled_from([1, 2, 4]))
def test_a_sample_is_walked_by_its_heads_alone(nals: list[bytes], length_size: int) -> None:
    """Large NAL units are found by reading small pieces."""
    nals = [nal[: 256**length_size - 1] for nal in nals]
    sample = b"".join(len(nal).to_bytes(length_size, "big") + nal for nal in nals)
    read: list[int] = []

    def pieces(offset: int, size: int) -> bytes:
        read.append(size)
        return sample[offset - 6 : offset - 6 + size]

    units = list(nal_units_in(pieces, 6, len(sample), length_size))
    assert [sample[u.start - 6 : u.start - 6 + u.size] for u in units] == nals
    assert [u.header for u in units] == [nal[0] for nal in nals]
    assert len(read) <= len(nals)
    assert max(read, default=0) <= 2048


def test_a_sample_of_endless_units_is_refused() -> None:
    """The number of NAL units in a sample is bounded."""
    sample = b"\x01\x09" * (MAX_NAL_UNITS + 1)
    with pytest.raises(NalError, match="more than"):
        list(nal_units_in(reader_of_bytes(sample), 0, len(sample), 1))
    assert (
        len(list(nal_units_in(reader_of_bytes(sample[2:]), 0, len(sample) - 2, 1))) == MAX_NAL_UNITS
    )


@given(st.binary(max_size=120), st.sampled_from([(b"avc1", b"avcC"), (b"hvc1", b"hvcC")]))
def test_any_header_is_read_or_refused(config: bytes, kinds: tuple[bytes, bytes]) -> None:
    """Reading, checking and changing any sample entry ends, or raises a MediaError."""
    entry = box(kinds[0], ENTRY_FIELDS, box(kinds[1], config))
    with contextlib.suppress(MediaError):
        header = read_header(entry)
        assert header is not None
        header_problem(header)
        contradiction(header, (H264,))
        header_with(entry, (H264,))


def test_an_entry_without_a_place_for_sets_has_no_header() -> None:
    """For a codec without parameter sets there is no header, and no error."""
    assert read_header(box(b"jpeg", ENTRY_FIELDS)) is None
    assert read_header(box(b"avc1", ENTRY_FIELDS)) is None


def test_only_how_pictures_are_shown_may_differ() -> None:
    """Two SPS that differ in their VUI decode the same; in anything else they do not."""
    same = read_sequence(H264, VideoCodec.H264).comparable
    other_timing = H264[:-3] + bytes((H264[-3] ^ 1,)) + H264[-2:]
    assert read_sequence(other_timing, VideoCodec.H264).comparable == same
    another_level = H264[:3] + b"\x1e" + H264[4:]
    assert read_sequence(another_level, VideoCodec.H264).comparable != same
