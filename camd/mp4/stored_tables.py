"""Read the tables of a final `moov` that say where samples lie (ISO/IEC 14496-12, 8.7).

Counts come from a file that may be damaged: nothing is read or made beyond what the boxes hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Literal

from camd.mp4.boxes import BoxSpan, boxes_in, read_numbers
from camd.mp4.init import required_box
from camd.mp4.sample_tables import SegmentError


def chunk_offsets(moov: bytes, stbl: BoxSpan) -> array[int]:
    """Read where the chunks lie in the file (8.7.5). Raises MediaError."""
    if any(span.kind == b"co64" for span in boxes_in(moov, stbl)):
        return table_entries(moov, required_box(moov, b"co64", within=stbl), "Q")
    return table_entries(moov, required_box(moov, b"stco", within=stbl), "I")


def chunk_counts(moov: bytes, stbl: BoxSpan, chunks: int) -> Iterator[int]:
    """Yield the number of samples of each of the chunks (8.7.4). Raises MediaError."""
    entries = table_entries(moov, required_box(moov, b"stsc", within=stbl), "I", 3)
    firsts, counts = list(entries[0::3]), entries[1::3]
    if not chunks and len(firsts) < 2:
        return
    ends = [*firsts[1:], chunks + 1]
    if not firsts or firsts[0] != 1 or ends != sorted(set(ends)):
        raise SegmentError("its table of chunks is out of order")
    for first, until, count in zip(firsts, ends, counts, strict=True):
        for _ in range(first, until):
            yield count


def table_entries(
    moov: bytes, table: BoxSpan, form: Literal["I", "Q"], width: int = 1
) -> array[int]:
    """Read a table that begins with the number of its entries, each of `width` numbers."""
    (count,) = table_numbers(moov, table, "I", table.payload + 4, 1)
    return table_numbers(moov, table, form, table.payload + 8, count * width)


def table_numbers(
    moov: bytes, table: BoxSpan, form: Literal["I", "Q"], at: int, count: int
) -> array[int]:
    """Read numbers of a table. Raises SegmentError when the table ends before the last one."""
    end = at + count * (8 if form == "Q" else 4)
    if end > table.end:
        raise SegmentError("a table shorter than its count")
    return read_numbers(form, moov[at:end])
