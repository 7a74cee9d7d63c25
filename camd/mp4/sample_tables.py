"""Collect the sample tables of one track while it is recorded (ISO/IEC 14496-12 clause 8.6).

Memory is 4 bytes per sample, plus 8 whenever its duration or its composition offset differs from
the previous one; building the boxes is a few passes over arrays.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, compress, count
from operator import add, ne, sub
from typing import Literal

from camd.mp4.boxes import MediaError, full_box, write_numbers
from camd.mp4.fragments import TrackRun
from camd.mp4.init import Track

_MAX_DURATION = 0x7FFF_FFFF  # ticks; common demuxers read more as negative

_NOT_SEEN = 4  # a picture that would be shown for less than a quarter of its duration

MAX_OFFSET_SECONDS = 600  # between tracks; more means that they have different clocks


class SegmentError(MediaError):
    """A fragment that cannot be part of the segment, or a file that is no segment."""


def shown_length(decoded: int, latest: int, lasts: int) -> int:
    """Return for how long pictures are shown, in ticks from the first one in decode order.

    As long as they take to be `decoded`, so that the next file follows without a gap. But where
    pictures are missing that were to be decoded last and shown earlier, the one that is shown at
    `latest` would hardly be seen: then it `lasts` as long as its sample.
    """
    is_seen = latest + lasts // _NOT_SEEN < decoded
    return decoded if is_seen else max(decoded, latest + lasts)


class RunLengths:
    """A sequence of numbers, stored as runs: pairs of count and value."""

    def __init__(self, typecode: Literal["I", "i"]) -> None:
        self.counts: array[int] = array("I")
        self.values: array[int] = array(typecode)

    def extend(self, values: Sequence[int]) -> None:
        """Append `values`."""
        if not values:
            return
        starts = [0, *compress(count(1), map(ne, values, values[1:]))]
        lengths = array("I", map(sub, [*starts[1:], len(values)], starts))
        self.append(values[0], lengths[0])
        self.counts.extend(lengths[1:])
        self.values.extend(array(self.values.typecode, map(values.__getitem__, starts[1:])))

    def append(self, value: int, count: int = 1) -> None:
        """Append `value`, `count` times."""
        if self.values and self.values[-1] == value:
            self.counts[-1] += count
        else:
            self.counts.append(count)
            self.values.append(value)

    def replace_last(self, value: int) -> None:
        """Replace the last number by `value`."""
        if self.counts[-1] > 1:
            self.counts[-1] -= 1
        else:
            self.counts.pop()
            self.values.pop()
        self.append(value)

    def interleaved(self) -> bytes:
        """Return count, value, count, value, … in big-endian order."""
        pairs: array[int] = array("I", bytes(8 * len(self.counts)))
        pairs[0::2] = self.counts
        pairs[1::2] = array("I", self.values.tobytes())
        return write_numbers(pairs)


class SampleTable:
    """The samples of one track in a segment, and the tables that describe them.

    `base` is the decode time of the stream that becomes zero in the file; it is `zero` seconds on
    the timeline of all tracks. All other times are ticks from there. When the stream's times jump
    back, or by more than a file can express, `base` jumps as well: the samples continue without a
    gap.
    """

    def __init__(self, track: Track, base: int, zero: Fraction | None = None) -> None:
        self.track = track
        self.base = base
        self.zero = track.delay + Fraction(base, track.timescale) if zero is None else zero
        self.begin = 0  # decode time of the first sample
        self.end = 0  # decode time at the end of the last sample
        self._first_presented = 0  # presentation time of the first sample
        self._presented_from = 0
        self._presented_until = 0
        self._latest = (0, 0)  # when the sample that is presented last is, and how long it lasts
        self._durations = RunLengths("I")
        self._composition = RunLengths("i")
        self._sizes: array[int] = array("I")
        self._sync: array[int] = array("I")  # sample numbers, from 1
        self._offsets: array[int] = array("Q")
        self._chunks: array[int] = array("I")  # first chunk, samples in each, description; …

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self._sizes)

    @property
    def media_time(self) -> int:
        """The media time that is presented first, counted from the first sample's decode time.

        That of the earliest sample. But when samples are presented before the sync sample that
        they follow (an open group of pictures), players would search for a sync sample there
        and find none: then it is 0, and the file begins with a few ticks without a picture.
        """
        if self._presented_from < self._first_presented:
            return 0
        return max(0, self._presented_from - self.begin)

    @property
    def start_seconds(self) -> Fraction:
        """Presentation time of `media_time`, on the stream's timeline."""
        return self.zero + Fraction(self.begin + self.media_time, self.track.timescale)

    @property
    def end_seconds(self) -> Fraction:
        """Decode time at the end of the last sample, on the stream's timeline."""
        return self.zero + Fraction(self.end, self.track.timescale)

    @property
    def shown_ticks(self) -> int:
        """For how long the samples are presented, from the first one in decode order."""
        latest, lasts = self._latest
        return shown_length(self.end - self.begin, latest - self._first_presented, lasts)

    @property
    def presented_seconds(self) -> Fraction:
        """Duration of the presentation from `media_time` on."""
        ticks = self._presented_until - self.begin - self.media_time
        return Fraction(max(0, ticks), self.track.timescale)

    @property
    def most_bytes(self) -> int:
        """Largest possible size of `boxes`."""
        numbers = len(self._sizes) + len(self._sync) + len(self._chunks) + 2 * len(self._offsets)
        pairs = len(self._durations.counts) + len(self._composition.counts)
        return 4 * numbers + 8 * pairs + 6 * 20

    def place(self, run: TrackRun, seconds: Fraction = Fraction(0)) -> int:
        """Return the decode time in the file at which `run` begins, if it is appended.

        That is its time in the stream, unless the sample before it would get a negative duration,
        or one that a file cannot express: then it begins at the end of that sample. A first run
        begins at `seconds` then, where the other tracks are.
        """
        start = run.decode_time - self.base
        if not self._sizes:
            joined = max(0, round((seconds - self.zero) * self.track.timescale))
            far = abs(start - joined) > MAX_OFFSET_SECONDS * self.track.timescale
            return joined if start < 0 or far else start
        gap, last = start - self.end, self._durations.values[-1]
        if gap < -last or last + gap > max(last, _MAX_DURATION):
            return self.end
        return max(start, self.end - last + min(last, 1))

    def validate(self, run: TrackRun, begin: int) -> None:
        """Raise SegmentError when `run` cannot be appended at `begin`."""
        if run.timescale != self.track.timescale:
            raise SegmentError(f"track {run.track_id} has another time scale")
        if run.tfdt_size == 4 and begin > 0xFFFF_FFFF:
            raise SegmentError(f"track {run.track_id} is too long for 32-bit decode times")

    def add(self, run: TrackRun, position: int, begin: int) -> None:
        """Append the samples of `run`, at `position` in the file and decode time `begin`."""
        if not self._sizes:
            self.base = run.decode_time - begin
            self.begin = self.end = self._presented_until = begin
            self._first_presented = begin + (run.composition[0] if run.composition else 0)
            self._presented_from = self._first_presented
            self._latest = (self._first_presented, 0)
        elif begin != self.end:
            self._lengthen_last(begin - self.end)
        elif abs(run.decode_time - self.base - begin) > self._durations.values[-1]:
            self.base = run.decode_time - begin
        self._present(run)
        number = len(self._sizes) + 1
        self._sync.extend(compress(range(number, number + run.count), run.sync))
        self._sizes.extend(run.sizes)
        self._durations.extend(run.durations)
        if run.composition:
            self._composition.extend(run.composition)
        else:
            self._composition.append(0, run.count)
        self.end += run.duration
        for chunk in run.chunks:
            self._offsets.append(position + chunk.offset)
            if not self._chunks or self._chunks[-2] != chunk.count:
                self._chunks.extend((len(self._offsets), chunk.count, 1))

    def boxes(self) -> Iterable[bytes]:
        """Build every table of the `stbl` but the sample descriptions (8.6.1, 8.7)."""
        yield _counted(b"stts", 0, len(self._durations.counts), self._durations.interleaved())
        if any(self._composition.values):
            version = int(min(self._composition.values) < 0)
            pairs = self._composition
            yield _counted(b"ctts", version, len(pairs.counts), pairs.interleaved())
        if len(self._sync) < len(self._sizes):
            yield _counted(b"stss", 0, len(self._sync), write_numbers(self._sync))
        sizes = struct.pack(">II", 0, len(self._sizes)) + write_numbers(self._sizes)
        yield full_box(b"stsz", 0, 0, sizes)
        yield _counted(b"stsc", 0, len(self._chunks) // 3, write_numbers(self._chunks))
        yield _counted(b"co64", 0, len(self._offsets), write_numbers(self._offsets))

    def _lengthen_last(self, gap: int) -> None:
        """Extend the last sample to the begin of the next one; see `place`."""
        last = self.end - self._durations.values[-1] + self._composition.values[-1]
        if self._latest[0] == last:
            self._latest = (last, self._latest[1] + gap)
        self._durations.replace_last(self._durations.values[-1] + gap)
        self.end += gap

    def _present(self, run: TrackRun) -> None:
        """Extend the presentation by the samples of `run`."""
        if not run.composition:
            self._presented_from = min(self._presented_from, self.end)
            over = self.end + run.duration
            self._presented_until = max(self._presented_until, over)
            lasts = run.durations[-1]
            self._latest = max(self._latest, (over - lasts, lasts))
            return
        times = list(accumulate(run.durations, initial=self.end))
        shown = list(map(add, times, run.composition))
        over = max(map(add, times[1:], run.composition))
        self._presented_from = min(self._presented_from, *shown)
        self._presented_until = max(self._presented_until, over)
        self._latest = max(self._latest, *zip(shown, run.durations, strict=False))


def _counted(kind: bytes, version: int, count: int, entries: bytes) -> bytes:
    return full_box(kind, version, 0, struct.pack(">I", count), entries)
