"""Whether the sample tables of a finished file agree, and point at bytes that are there.

ISO/IEC 14496-12 clauses 8.6.1 and 8.7.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

import attrs

from camd.media.boxes import BoxSpan, children
from camd.media.tables import SegmentError
from camd.media.tracks import need

_ENTRY = {"I": 4, "Q": 8}


def check_samples(moov: bytes, begin: int, end: int) -> None:
    """Raise MediaError unless every sample lies within `begin` and `end` of the file.

    Takes a few passes over the tables: some milliseconds for an hour of video.
    """
    top = need(moov, b"moov")
    for trak in (span for span in children(moov, top.payload, top.end) if span.kind == b"trak"):
        _check_track(moov, need(moov, b"mdia", b"minf", b"stbl", within=trak), begin, end)


def _check_track(moov: bytes, stbl: BoxSpan, begin: int, end: int) -> None:
    tables = {span.kind: span for span in children(moov, stbl.payload, stbl.end)}
    sizes = _sizes(moov, need(moov, b"stsz", within=stbl))
    samples = len(sizes)
    if sum(_entries(moov, need(moov, b"stts", within=stbl), "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"ctts" in tables and sum(_entries(moov, tables[b"ctts"], "I", 2)[0::2]) != samples:
        raise SegmentError("its tables do not agree on the number of samples")
    if b"stss" in tables:
        sync = _entries(moov, tables[b"stss"], "I")
        if sync and not 1 <= min(sync) <= max(sync) <= samples:
            raise SegmentError("its table of key frames names samples that it does not have")
    wide = b"co64" in tables
    offsets = _entries(moov, need(moov, b"co64" if wide else b"stco", within=stbl), "IQ"[wide])  # type: ignore[arg-type]
    ends, at = list(accumulate(sizes, initial=0)), 0
    for offset, count in zip(offsets, _chunks(moov, stbl, len(offsets)), strict=True):
        if at + count > samples:
            raise SegmentError("its chunks hold more samples than there are")
        if offset < begin or offset + ends[at + count] - ends[at] > end:
            raise SegmentError(f"sample {at + 1} lies outside of the media data")
        at += count
    if at != samples:
        raise SegmentError("its chunks hold fewer samples than there are")


@attrs.frozen
class SampleLocation:
    """Where a sample lies in the file; `number` counts from 1."""

    number: int
    offset: int
    size: int


def sync_samples(moov: bytes, stbl: BoxSpan) -> Iterator[SampleLocation]:
    """Yield where a track's sync samples lie, in order; every sample when all are (8.6.2).

    The tables must agree: see `check_samples`. Raises MediaError.
    """
    tables = {span.kind: span for span in children(moov, stbl.payload, stbl.end)}
    sizes = _sizes(moov, need(moov, b"stsz", within=stbl))
    wide = b"co64" in tables
    offsets = _entries(moov, need(moov, b"co64" if wide else b"stco", within=stbl), "IQ"[wide])  # type: ignore[arg-type]
    sync = set(_entries(moov, tables[b"stss"], "I")) if b"stss" in tables else None
    number = 0
    for offset, count in zip(offsets, _chunks(moov, stbl, len(offsets)), strict=True):
        at = offset
        for size in sizes[number : number + count]:
            number += 1
            if sync is None or number in sync:
                yield SampleLocation(number, at, size)
            at += size


def _chunks(moov: bytes, stbl: BoxSpan, chunks: int) -> Iterator[int]:
    """Yield how many samples each chunk holds (8.7.4)."""
    entries = _entries(moov, need(moov, b"stsc", within=stbl), "I", 3)
    firsts, counts = list(entries[0::3]), entries[1::3]
    ends = [*firsts[1:], chunks + 1]
    if chunks and (not firsts or firsts[0] != 1 or ends != sorted(set(ends))):
        raise SegmentError("its table of chunks is out of order")
    for first, until, count in zip(firsts, ends, counts, strict=True):
        for _ in range(first, until):
            yield count


def _sizes(moov: bytes, stsz: BoxSpan) -> array[int]:
    """Read the sizes of all samples (8.7.3.2)."""
    common = _numbers(moov, stsz, "I", stsz.payload + 4, 2)
    if common[0]:
        return array("I", common[:1]) * common[1]
    return _numbers(moov, stsz, "I", stsz.payload + 12, common[1])


def _entries(moov: bytes, table: BoxSpan, form: Literal["I", "Q"], width: int = 1) -> array[int]:
    """Read a table that begins with the number of its entries, each of `width` numbers."""
    (count,) = _numbers(moov, table, "I", table.payload + 4, 1)
    return _numbers(moov, table, form, table.payload + 8, count * width)


def _numbers(
    moov: bytes, table: BoxSpan, form: Literal["I", "Q"], at: int, count: int
) -> array[int]:
    size = count * _ENTRY[form]
    if at + size > table.end:
        raise SegmentError("a table shorter than its count")
    values: array[int] = array(form, moov[at : at + size])
    if sys.byteorder == "little":
        values.byteswap()
    return values
