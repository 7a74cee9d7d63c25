"""Inconsistent sample tables are found, and so is damage before the last sync."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings_folder import FRAGMENTS, contents

from camd.mp4.boxes import MediaError
from camd.mp4.inspect import sealed_moov_offset, validate_samples
from camd.mp4.interrupted import read_interrupted
from camd.mp4.segment import HASHED_FROM

FILE = contents()
MOOV_AT = sealed_moov_offset(FILE)
assert MOOV_AT is not None
MOOV = FILE[MOOV_AT:]


def test_the_tables_of_a_sealed_segment_are_right() -> None:
    """Every sample lies in the media data, whose bounds are exact."""
    validate_samples(MOOV, HASHED_FROM, MOOV_AT)
    last = len(FRAGMENTS[-1].mdat)
    with pytest.raises(MediaError, match="outside"):
        validate_samples(MOOV, HASHED_FROM, MOOV_AT - last)
    with pytest.raises(MediaError, match="outside"):
        validate_samples(MOOV, MOOV_AT, MOOV_AT)


@pytest.mark.parametrize("kind", [b"stts", b"stsz", b"stsc", b"co64", b"stss"])
def test_an_inconsistent_table_is_found(kind: bytes) -> None:
    """A count, position or sample number that is too large in any table is a MediaError."""
    at = MOOV.index(kind) + 4
    lying = bytearray(MOOV)
    lying[at + (16 if kind == b"co64" else 8) - (4 if kind != b"stsc" else -4)] ^= 0x40
    with pytest.raises(MediaError):
        validate_samples(bytes(lying), HASHED_FROM, MOOV_AT)


@given(st.integers(0, len(MOOV) - 1), st.integers(1, 255))
def test_any_byte_of_the_tables_may_be_wrong(at: int, change: int) -> None:
    """A damaged moov is accepted or raises a MediaError, and nothing else."""
    lying = bytearray(MOOV)
    lying[at] ^= change
    with contextlib.suppress(MediaError):
        validate_samples(bytes(lying), HASHED_FROM, MOOV_AT)


def test_reading_every_byte_finds_damage_before_the_last_sync() -> None:
    """Damage before the last sync is found when all checksums are compared."""
    data = bytearray(contents(sealed=False))

    def look(*, every: bool) -> int:
        found = read_interrupted(
            lambda at, size: bytes(data[at : at + size]), len(data), every=every
        )
        assert found is not None
        return found.whole_bytes

    assert look(every=True) == look(every=False) == len(data)
    second = data.index(FRAGMENTS[1].mdat)
    data[second + 9] ^= 1
    assert look(every=False) == len(data)
    assert look(every=True) < second
