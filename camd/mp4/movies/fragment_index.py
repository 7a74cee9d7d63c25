"""Find the fragments of a segment, and group them into pieces from key frame to key frame.

Sealing hides fragments in one `mdat` and does not move them; the final `moov` tells where each is:
chunks that touch each other are one fragment, and the next one begins behind the checksum box. A
growing file is read fragment by fragment. A piece is what a player can be given alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from operator import add, sub

import attrs

from camd.mp4.boxes import DEFAULT_LIMITS, BoxSpan, MediaError
from camd.mp4.fragments import TrackRun, read_moof, run_of
from camd.mp4.init import Init, required_box, trak_boxes
from camd.mp4.inspect import stored_samples
from camd.mp4.sample_tables import SegmentError, shown_length
from camd.mp4.segment import CHECKSUM_BOX_SIZE, read_checksum_box
from camd.mp4.stored_tables import chunk_counts, chunk_offsets, table_numbers

Read = Callable[[int, int], bytes]  # offset, size; fewer bytes at the end of the file

MOST_SAMPLES = 16_000_000  # of the video of one file; a day at 120 frames a second has 10 million
_LEAST_FRAGMENT = 16  # bytes of the headers of moof and mdat
_FIRST_READ = 4096  # most moof boxes are smaller


@attrs.frozen
class StoredFragment:
    """One moof and its mdat in a file, from byte `begin` to before `end`.

    Times are ticks of the video track: when the first of its `frames` is `shown`, the one that is
    shown last is shown (`latest`) and `over`, and the next frame is `decoded`. `late`: by how much
    the first frame is shown later than it is decoded. `sync`: decoding can begin with it. A
    fragment of sound alone has no times.
    """

    begin: int
    end: int
    sync: bool
    shown: int = 0
    latest: int = 0
    over: int = 0
    decoded: int = 0
    late: int = 0
    frames: int = 0


@attrs.frozen
class Piece:
    """The bytes from `begin` to before `end` of a file: a key frame and what follows it.

    `time` is in seconds from the first frame of the file; a piece lasts until the next one begins.
    """

    begin: int
    end: int
    time: Fraction
    duration: Fraction


@attrs.frozen
class PieceTable:
    """All pieces of one file, 16 bytes each. They lie one behind the other.

    `media_begin` and `media_end` are the first byte of the first fragment and the byte behind the
    last one's checksum box. Times are ticks since the first frame; the frame that is shown last is
    shown at `latest`, and is `over` then.
    """

    timescale: int
    media_begin: int
    media_end: int
    first_shown: int  # presentation time of the first frame, without any edit list
    late: int  # by how much it is shown later than it is decoded
    latest: int
    over: int
    decoded_until: int  # no frame that may follow is shown earlier
    frames: int
    begins: array[int] = attrs.field(repr=False)
    times: array[int] = attrs.field(repr=False)

    @classmethod
    def of(cls, timescale: int, fragments: Iterable[StoredFragment]) -> PieceTable | None:
        """Group fragments, which are in order; None when none begins with a key frame."""
        found = iter(fragments)
        first = next((each for each in found if each.sync), None)
        if first is None:
            return None
        nothing = array("Q"), array("q")
        times = first.shown, first.late, 0, 0, 0
        empty = cls(timescale, first.begin, first.begin, *times, 0, *nothing)
        return empty.extended([first]).extended(found)

    def extended(self, fragments: Iterable[StoredFragment]) -> PieceTable:
        """Return a table with further fragments."""
        begins, times = self.begins[:], self.times[:]
        media_end, frames, decoded_until = self.media_end, self.frames, self.decoded_until
        latest, over = self.latest, self.over
        for each in fragments:
            if each.sync:
                begins.append(each.begin)
                times.append(each.shown - self.first_shown)
            media_end, frames = each.end + CHECKSUM_BOX_SIZE, frames + each.frames
            if each.frames:
                shown = each.latest - self.first_shown, each.over - self.first_shown
                latest, over = max((latest, over), shown)
                decoded_until = each.decoded - self.first_shown
        return attrs.evolve(
            self,
            media_end=media_end,
            latest=latest,
            over=over,
            decoded_until=decoded_until,
            frames=frames,
            begins=begins,
            times=times,
        )

    @property
    def end_time(self) -> int:
        """Until when frames are shown; see `shown_length`."""
        return shown_length(self.decoded_until + self.late, self.latest, self.over - self.latest)

    @property
    def frame_rate(self) -> float | None:
        """Frames a second, on average; None for a file without a duration."""
        return round(self.frames * self.timescale / self.end_time, 3) if self.end_time else None

    def seconds(self, ticks: int) -> Fraction:
        """Convert ticks to seconds."""
        return Fraction(ticks, self.timescale)

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, number: int) -> Piece:
        ((begin, end, time, duration),) = self.rows(range(number, number + 1))
        return Piece(begin, end, self.seconds(time), self.seconds(duration))

    def rows(self, numbers: range, *, grows: bool = False) -> Iterator[tuple[int, int, int, int]]:
        """Yield begin, end, time and duration of pieces; times are in ticks.

        The last piece of a table that `grows` lasts as long as no frame is missing in it: some are
        shown before others that are decoded earlier.
        """
        last = len(self) - 1
        for number in numbers:
            time = self.times[number]
            end = self.media_end if number == last else self.begins[number + 1]
            if number < last:
                over = self.times[number + 1]
            elif grows:
                one = (self.decoded_until + self.first_shown) // self.frames  # frame, on average
                over = max(time, min(self.end_time, max(self.decoded_until, time + one)))
            else:
                over = max(self.end_time, time)
            yield self.begins[number], end, time, over - time

    def number_at(self, micros: int) -> int:
        """Return the number of the piece that shows an instant, in microseconds from the start."""
        return max(0, bisect_right(self.times, micros * self.timescale // 1_000_000) - 1)

    def between(self, since: Fraction, until: Fraction) -> range:
        """Number the pieces that show something from `since` to before `until`, in seconds.

        Also the one that began before `since` and lasts.
        """
        first = max(0, bisect_right(self.times, since * self.timescale) - 1)
        if since * self.timescale >= self.end_time:
            first = len(self)
        return range(first, max(first, bisect_left(self.times, until * self.timescale)))


# --- sealed files


def sealed_fragments(init: Init, begin: int, end: int) -> Iterator[StoredFragment]:
    """Yield the fragments of a sealed file from its final `moov`, which `init` holds.

    The first one begins at byte `begin`, the `moov` at `end`. Equal to walking the file. Raises
    MediaError when the tables are damaged, or describe no file of this layout.
    """
    places = sorted(_chunk_places(init))
    frames = _VideoSamples.of(init)
    at, number = 0, 0
    while at < len(places):
        first = over = places[at].begin
        if first - begin < _LEAST_FRAGMENT:
            raise SegmentError("its samples do not lie in fragments")
        taken = number
        while at < len(places) and places[at].begin == over:
            over = places[at].end
            if places[at].number >= 0:
                if places[at].number != taken:
                    raise SegmentError("its chunks are out of order")
                taken += places[at].count
            at += 1
        yield frames.fragment(begin, over, number, taken)
        begin, number = over + CHECKSUM_BOX_SIZE, taken
    if begin != end:
        raise SegmentError("its samples do not fill its media data")


@attrs.frozen(order=True)
class _ChunkPlace:
    """A chunk; `number` is that of its first sample from 0 on, of sound −1."""

    begin: int
    end: int
    number: int
    count: int


@attrs.frozen
class _VideoSamples:
    decoded: array[int]
    composition: array[int]
    sync: bytes

    @classmethod
    def of(cls, init: Init) -> _VideoSamples:
        stored = stored_samples(init)
        decoded = array("Q", accumulate(stored.durations, initial=0))
        sync = b"\x01" * len(stored.sync) if init.video.intra_only else stored.sync
        return cls(decoded, stored.composition, sync)

    def fragment(self, begin: int, end: int, number: int, until: int) -> StoredFragment:
        if number == until:
            return _sound_alone(begin, end)
        sync = self.sync[number] == 1
        offsets = self.composition[number:until]
        return _timed(begin, end, sync, self.decoded[number : until + 1], offsets)


def _sound_alone(begin: int, end: int) -> StoredFragment:
    return StoredFragment(begin, end, sync=False)


def _timed(
    begin: int, end: int, sync: bool, decoded: Sequence[int], offsets: Sequence[int]
) -> StoredFragment:
    """Time a fragment by when its frames and the next one are decoded, and how much later shown."""
    shown = list(map(add, decoded, offsets)) if offsets else decoded[:-1]
    latest, lasts = max(zip(shown, map(sub, decoded[1:], decoded), strict=True))
    over, late = latest + lasts, offsets[0] if offsets else 0
    return StoredFragment(
        begin, end, sync, shown[0], latest, over, decoded[-1], late, len(decoded) - 1
    )


def _chunk_places(init: Init) -> Iterator[_ChunkPlace]:
    """Yield the chunks of all tracks (ISO/IEC 14496-12, 8.7). Raises MediaError."""
    for track, trak in zip(init.tracks, trak_boxes(init.moov), strict=True):
        stbl = required_box(init.moov, b"mdia", b"minf", b"stbl", within=trak)
        video = track is init.video
        for offset, size, number, count in _chunks_of(init.moov, stbl):
            yield _ChunkPlace(offset, offset + size, number if video else -1, count)


def _chunks_of(moov: bytes, stbl: BoxSpan) -> Iterator[tuple[int, int, int, int]]:
    """Yield offset, size, first sample and samples of each chunk of a track."""
    sizes, common, samples = _sizes_of(moov, required_box(moov, b"stsz", within=stbl))
    offsets, at = chunk_offsets(moov, stbl), 0
    for offset, count in zip(offsets, chunk_counts(moov, stbl, len(offsets)), strict=True):
        if count > samples - at:
            raise SegmentError("its chunks hold more samples than there are")
        yield offset, common * count or sum(sizes[at : at + count]), at, count
        at += count
    if at != samples:
        raise SegmentError("its tables do not agree on the number of samples")


def _sizes_of(moov: bytes, stsz: BoxSpan) -> tuple[array[int], int, int]:
    """Read the size of each sample, or the one that all have, and their number."""
    common, samples = table_numbers(moov, stsz, "I", stsz.payload + 4, 2)
    if samples > MOST_SAMPLES:
        raise SegmentError(f"more than {MOST_SAMPLES} samples in a track")
    if common:
        return array("I"), common, samples
    return table_numbers(moov, stsz, "I", stsz.payload + 12, samples), 0, samples


# --- growing files


def walked_fragments(read: Read, init: Init, begin: int, end: int) -> Iterator[StoredFragment]:
    """Yield the fragments that lie from `begin` to `end`, by reading their headers.

    Ends where something else lies, or the next one is not complete. Raises what `read` raises.
    """
    while (found := _fragment_at(read, init, begin, end)) is not None:
        yield found
        begin = found.end + CHECKSUM_BOX_SIZE


def first_sample_at(read: Read, init: Init, begin: int, end: int) -> tuple[int, int] | None:
    """Return offset and size of the first video sample of the fragment at byte `begin`.

    None where there is no such fragment. Raises what `read` raises.
    """
    found = _runs_at(read, init, begin, end)
    video = run_of(found[0], init.video.track_id) if found is not None else None
    if video is None:
        return None
    return begin + video.chunks[0].offset, video.sizes[0]


def first_composition_at(read: Read, init: Init, begin: int, end: int) -> int:
    """Return the composition offset of the first picture of the fragment at byte `begin`, in ticks.

    0 where there is no such fragment. Raises what `read` raises.
    """
    found = _runs_at(read, init, begin, end)
    video = run_of(found[0], init.video.track_id) if found is not None else None
    return video.composition[0] if video is not None and video.composition else 0


def _fragment_at(read: Read, init: Init, begin: int, end: int) -> StoredFragment | None:
    found = _runs_at(read, init, begin, end)
    if found is None:
        return None
    runs, over = found
    video = run_of(runs, init.video.track_id)
    if video is None:
        return _sound_alone(begin, over)
    sync = video.sync[:1] == b"\x01" or init.video.intra_only
    decoded = list(accumulate(video.durations, initial=video.decode_time))
    return _timed(begin, over, sync, decoded, video.composition)


def _runs_at(
    read: Read, init: Init, begin: int, end: int
) -> tuple[tuple[TrackRun, ...], int] | None:
    """Read the headers of a fragment; return its runs, and the byte behind its mdat."""
    head = read(begin, min(_FIRST_READ, max(0, end - begin)))
    moof_size = int.from_bytes(head[:4], "big")
    if head[4:8] != b"moof" or not 8 <= moof_size <= DEFAULT_LIMITS[b"moof"]:
        return None
    if moof_size + 16 > len(head):
        head = read(begin, moof_size + 16)
    mdat = head[moof_size : moof_size + 16]
    size, header = int.from_bytes(mdat[:4], "big"), 8
    if size == 1:
        size, header = int.from_bytes(mdat[8:16], "big"), 16
    over = begin + moof_size + size
    if mdat[4:8] != b"mdat" or size < header or over + CHECKSUM_BOX_SIZE > end:
        return None
    if read_checksum_box(read(over, CHECKSUM_BOX_SIZE)) is None:
        return None
    try:
        return read_moof(head[:moof_size], init, moof_size + header, over - begin), over
    except MediaError:
        return None
