"""Interrupted segments: how far they are whole, whatever became of their end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recordings import WHO, footage, sealed_bytes

from camd.mp4.boxes import MediaError
from camd.mp4.recover import InterruptedSegment, read_interrupted
from camd.mp4.segment import CHECK_SIZE, FTYP_SIZE, SegmentIndex

COUNT = 6
INIT, FRAGMENTS = footage(COUNT)


def _written(synced_after: int = 0) -> tuple[bytes, list[int]]:
    """Return a growing file, and where each fragment ends; the first so many were synced."""
    index = SegmentIndex(INIT, FRAGMENTS[0], WHO)
    data, ends, synced = index.header, [], 0
    for number, fragment in enumerate(FRAGMENTS):
        data += b"".join(index.render(fragment, synced))
        index.record(fragment.runs, fragment.size_bytes)
        ends.append(len(data))
        if number < synced_after:
            synced = len(data)
    return data, ends


def _monitor(data: bytes) -> InterruptedSegment | None:
    return read_interrupted(lambda at, size: data[at : at + size], len(data))


def _sealed(data: bytes, found: InterruptedSegment) -> bytes:
    """Seal what a survey found, as recovery does."""
    whole = data[: found.whole_bytes]
    header = found.index.seal_header(len(whole))
    rest = whole[FTYP_SIZE + len(header) :]
    return whole[:FTYP_SIZE] + header + rest + found.index.final_moov()


@given(st.data())
def test_a_file_cut_anywhere_keeps_every_whole_fragment(data: st.DataObject) -> None:
    """What is left of a torn file is its whole fragments, sealed as if it had ended with them."""
    file, ends = _written()
    cut = data.draw(st.integers(len(SegmentIndex(INIT, FRAGMENTS[0], WHO).header), len(file)))
    whole = sum(end <= cut for end in ends)
    found = _monitor(file[:cut])
    if whole == 0:
        assert found is None
        return
    assert found is not None
    assert (found.fragments, found.whole_bytes) == (whole, ends[whole - 1])
    assert found.torn_bytes == cut - found.whole_bytes
    assert _sealed(file, found) == sealed_like_written(whole)


def sealed_like_written(count: int) -> bytes:
    """Seal the first fragments of the written file without any detour."""
    return sealed_bytes(INIT, FRAGMENTS[:count], FRAGMENTS[0], synced=False)


@given(st.data())
def test_damage_behind_the_last_sync_is_found(data: st.DataObject) -> None:
    """Bytes that were never synced and came out as zeros cost their fragment and what follows."""
    synced = data.draw(st.integers(0, COUNT - 1))
    file, ends = _written(synced)
    # The mark that so much is durable stands behind the next fragment.
    first = ends[synced - 1] if synced else len(SegmentIndex(INIT, FRAGMENTS[0], WHO).header)
    at = data.draw(st.integers(first, len(file) - 1))
    size = data.draw(st.integers(1, 200))
    damaged = file[:at] + bytes(len(file[at : at + size])) + file[at + size :]
    if damaged == file:
        return
    found = _monitor(damaged)
    hit = next(number for number, end in enumerate(ends) if at < end)
    # Zeros over bytes that are zero anyway may begin the damage later, never earlier.
    assert (found.fragments if found else 0) >= hit
    if found is not None:
        assert damaged[: found.whole_bytes] == file[: found.whole_bytes]


def test_only_what_was_not_synced_is_read() -> None:
    """What the file knows to be durable is not read again, but for the headers."""
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


def test_an_index_that_was_appended_but_not_switched_on_is_cut_off() -> None:
    """A crash between the two steps of a seal leaves a file that is sealed again, the same."""
    file, ends = _written()
    sealed = sealed_like_written(COUNT)
    half = file + sealed[ends[-1] :]
    found = _monitor(half)
    assert found is not None
    assert (found.fragments, found.torn_bytes) == (COUNT, len(half) - len(file))
    assert _sealed(half, found) == sealed


@given(st.binary(max_size=200), st.integers(0, 2**20))
def test_any_bytes_end_or_raise(garbage: bytes, at: int) -> None:
    """Nothing that stands in a file makes a survey loop, or fail with anything but MediaError."""
    file, _ = _written()
    at %= len(file)
    damaged = file[:at] + garbage + file[at + len(garbage) :]
    try:
        found = _monitor(damaged)
    except MediaError:
        return
    assert found is None or found.whole_bytes <= len(damaged)


def test_a_file_without_a_fragment_has_nothing_to_recover() -> None:
    """A segment that was created and never filled is no recording."""
    assert _monitor(SegmentIndex(INIT, FRAGMENTS[0], WHO).header) is None


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"not a film"])
def test_foreign_files_are_told_apart(data: bytes) -> None:
    """A file that does not begin as a segment is not touched."""
    with pytest.raises(MediaError):
        _monitor(data)


def test_the_check_box_costs_little() -> None:
    """Half a second of video pays 24 bytes for its checksum."""
    file, _ = _written()
    header = SegmentIndex(INIT, FRAGMENTS[0], WHO).header
    media = sum(fragment.size_bytes for fragment in FRAGMENTS)
    assert len(file) == len(header) + media + COUNT * CHECK_SIZE


def test_a_check_box_that_is_damaged_itself_vouches_for_nothing() -> None:
    """Whichever bit of a check box behind the last sync is turned over, its fragment is gone."""
    file, ends = _written()
    for at in range(ends[2] - CHECK_SIZE, ends[2]):
        damaged = bytearray(file)
        damaged[at] ^= 1
        found = _monitor(bytes(damaged))
        assert found is not None
        assert found.fragments == 2, f"byte {at - ends[2]} of the box"


def test_a_free_box_of_somebody_else_vouches_for_nothing() -> None:
    """A free box of the same size, but without the mark, ends what is ours."""
    file, ends = _written(COUNT)
    at = ends[-1] - CHECK_SIZE + 8
    found = _monitor(file[:at] + b"abcd" + file[at + 4 :])
    assert found is not None
    assert found.fragments == COUNT - 1
