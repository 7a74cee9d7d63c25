"""Interrupted segments: how much of them is intact, whatever their end is like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import WHO, footage, sealed_bytes

from camd.mp4.boxes import MediaError
from camd.mp4.interrupted import InterruptedSegment, read_interrupted
from camd.mp4.segment import CHECKSUM_BOX_SIZE, FTYP_SIZE, SegmentLayout

COUNT = 6
INIT, FRAGMENTS = footage(COUNT)


def _written(synced_after: int = 0) -> tuple[bytes, list[int]]:
    """Return a growing file and the end of each fragment; `synced_after` of them were synced."""
    index = SegmentLayout(INIT, FRAGMENTS[0], WHO)
    data, ends, synced = index.header, [], 0
    for number, fragment in enumerate(FRAGMENTS):
        data += b"".join(index.render(fragment, synced))
        index.record(fragment.runs, fragment.size_bytes)
        ends.append(len(data))
        if number < synced_after:
            synced = len(data)
    return data, ends


def _read(data: bytes) -> InterruptedSegment | None:
    return read_interrupted(lambda at, size: data[at : at + size], len(data))


def _sealed(data: bytes, found: InterruptedSegment) -> bytes:
    """Seal the intact part of a file, as recovery does."""
    whole = data[: found.whole_bytes]
    header = found.index.seal_header(len(whole))
    rest = whole[FTYP_SIZE + len(header) :]
    return whole[:FTYP_SIZE] + header + rest + found.index.final_moov()


@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_fragment(data: st.DataObject) -> None:
    """A torn file keeps its intact fragments, and is sealed as if it had ended with them."""
    file, ends = _written()
    cut = data.draw(st.integers(len(SegmentLayout(INIT, FRAGMENTS[0], WHO).header), len(file)))
    whole = sum(end <= cut for end in ends)
    found = _read(file[:cut])
    if whole == 0:
        assert found is None
        return
    assert found is not None
    assert (found.fragments, found.whole_bytes) == (whole, ends[whole - 1])
    assert found.torn_bytes == cut - found.whole_bytes
    assert _sealed(file, found) == sealed_like_written(whole)


def sealed_like_written(count: int) -> bytes:
    """Seal the first fragments of the written file directly."""
    return sealed_bytes(INIT, FRAGMENTS[:count], FRAGMENTS[0], synced=False)


@given(st.data())
def test_damage_after_the_last_sync_is_found(data: st.DataObject) -> None:
    """Unsynced bytes that read as zeros lose their fragment and the following ones."""
    synced = data.draw(st.integers(0, COUNT - 1))
    file, ends = _written(synced)
    # The check box of the next fragment records what is durable.
    first = ends[synced - 1] if synced else len(SegmentLayout(INIT, FRAGMENTS[0], WHO).header)
    at = data.draw(st.integers(first, len(file) - 1))
    size = data.draw(st.integers(1, 200))
    damaged = file[:at] + bytes(len(file[at : at + size])) + file[at + size :]
    if damaged == file:
        return
    found = _read(damaged)
    hit = next(number for number, end in enumerate(ends) if at < end)
    # Zeros over bytes that are zero anyway may begin the damage later, never earlier.
    assert (found.fragments if found else 0) >= hit
    if found is not None:
        assert damaged[: found.whole_bytes] == file[: found.whole_bytes]


def test_only_what_was_not_synced_is_read() -> None:
    """Of durable bytes only the headers are read."""
    file, ends = _written(COUNT - 1)
    read: list[tuple[int, int]] = []

    def note(at: int, size: int) -> bytes:
        read.append((at, size))
        return file[at : at + size]

    found = read_interrupted(note, len(file))
    assert found is not None
    assert found.fragments == COUNT
    media = [at for at, size in read if at < ends[-2] and size > 2000 and at > 1000]
    assert media == []


def test_a_moov_appended_by_an_unfinished_seal_is_cut_off() -> None:
    """After a crash between the two steps of a seal the file is sealed again to the same bytes."""
    file, ends = _written()
    sealed = sealed_like_written(COUNT)
    half = file + sealed[ends[-1] :]
    found = _read(half)
    assert found is not None
    assert (found.fragments, found.torn_bytes) == (COUNT, len(half) - len(file))
    assert _sealed(half, found) == sealed


@given(st.binary(max_size=200), st.integers(0, 2**20))
def test_any_bytes_end_or_raise(garbage: bytes, at: int) -> None:
    """No bytes in a file make the reader loop, or raise anything but a MediaError."""
    file, _ = _written()
    at %= len(file)
    damaged = file[:at] + garbage + file[at + len(garbage) :]
    try:
        found = _read(damaged)
    except MediaError:
        return
    assert found is None or found.whole_bytes <= len(damaged)


def test_a_file_without_a_fragment_has_nothing_to_recover() -> None:
    """A segment without a fragment is no recording."""
    assert _read(SegmentLayout(INIT, FRAGMENTS[0], WHO).header) is None


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"not a film"])
def test_foreign_files_are_told_apart(data: bytes) -> None:
    """A file that does not begin as a segment is refused."""
    with pytest.raises(MediaError):
        _read(data)


def test_the_check_box_costs_little() -> None:
    """A fragment of half a second needs 24 bytes for its checksum."""
    file, _ = _written()
    header = SegmentLayout(INIT, FRAGMENTS[0], WHO).header
    media = sum(fragment.size_bytes for fragment in FRAGMENTS)
    assert len(file) == len(header) + media + COUNT * CHECKSUM_BOX_SIZE


def test_a_damaged_check_box_ends_the_intact_part() -> None:
    """A wrong bit in a check box after the last sync loses its fragment."""
    file, ends = _written()
    for at in range(ends[2] - CHECKSUM_BOX_SIZE, ends[2]):
        damaged = bytearray(file)
        damaged[at] ^= 1
        found = _read(bytes(damaged))
        assert found is not None
        assert found.fragments == 2, f"byte {at - ends[2]} of the box"


def test_a_free_box_without_the_mark_ends_the_intact_part() -> None:
    """The intact part ends at a free box of the same size without the mark."""
    file, ends = _written(COUNT)
    at = ends[-1] - CHECKSUM_BOX_SIZE + 8
    found = _read(file[:at] + b"abcd" + file[at + 4 :])
    assert found is not None
    assert found.fragments == COUNT - 1
