"""Build a movie of parts of recordings: a `moov` in front, then one range of bytes of each file.

ISO/IEC 14496-12 clauses 8.2 to 8.6. Nothing is encoded again, and no sample is copied here: the
movie's bytes are the head that is built here, then the ranges as they lie in the files. An edit
list for each track hides what comes before the first frame asked for, and behind the last one.
What is missing between two files is closed up: the next frame follows.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, compress, count, pairwise
from operator import add, ne

import attrs

from camd.mp4.boxes import MediaError, box, read_numbers, write_numbers
from camd.mp4.fragments import SampleChunk, TrackRun
from camd.mp4.init import required_box, trak_boxes
from camd.mp4.inspect import StoredSamples
from camd.mp4.moov import MOVIE_TIMESCALE, Edit, final_moov
from camd.mp4.movies.cut_frames import FrameCut, shown_ticks
from camd.mp4.movies.frame_movie import presentation_times
from camd.mp4.movies.recorded_tracks import RecordedTrack, RecordedTracks
from camd.mp4.sample_tables import SampleTable

MOST_CUT_SAMPLES = 12_000_000  # of one movie: a day of 60 frames a second, with sound
_FTYP = box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso5iso6mp41")
_MDAT_HEADER = 16
_SOUND_BEFORE = Fraction(1, 10)  # seconds; decoders of sound need some samples to begin
_CLOSE = Fraction(1, 500)  # seconds between two runs of sound that are rounding, and no gap


@attrs.frozen
class FileCut:
    """What a movie takes of one file. `continues`: it goes on where the piece before it ends."""

    file: RecordedTracks
    frames: FrameCut
    continues: bool = False


@attrs.frozen
class ByteSpan:
    """Bytes from `begin` to before `end`."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.end - self.begin


@attrs.frozen
class CutMovie:
    """A movie: its head, then the ranges, one of each piece in order. `duration` is in seconds."""

    head: bytes = attrs.field(repr=False)
    ranges: tuple[ByteSpan, ...]
    duration: Fraction
    frames: int
    lead_in: int  # hidden frames before the first one

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return len(self.head) + sum(each.size for each in self.ranges)


@attrs.frozen
class _Placed:
    """When a piece is, in the movie's time: `begin` in ticks of the video, the rest in seconds."""

    begin: int  # decode time of its first sample
    offset: Fraction  # from the file's presentation to that of the movie
    shown: Fraction  # when the first frame of it that is shown is
    until: Fraction  # when the last one ends


class CutBuilder:
    """Collects the pieces of one movie, in order; their tables need not stay in memory.

    All pieces have the shape of the first one. Frames are hidden before the first one that is shown
    and behind the last one, not between. Memory is about 12 bytes for each sample.
    """

    def __init__(self, first: FileCut) -> None:
        self._init = first.file.init
        self._video = SampleTable(first.file.video.track, 0)
        sound = first.file.sound
        self._sound = None if sound is None else SampleTable(sound.track, 0)
        self._sound_zero = Fraction(0)  # when the first sample of sound is, in seconds of the movie
        self._begin = Fraction(0)  # when the first frame is shown
        self._end = Fraction(0)
        self._shift = 0  # ticks by which frames are shown later, so that none is before zero
        self._shown_until = 0  # ticks; when the last frame so far has been shown
        self._ranges: list[ByteSpan] = []
        self._frames = self._lead_in = 0

    @property
    def frames(self) -> int:
        """Frames that are shown so far."""
        return self._frames

    def add(self, piece: FileCut, *, goes_on: bool = False) -> None:
        """Append a piece; `goes_on`: the next one continues it. Raises MediaError."""
        frames = piece.frames
        no_entries = frames.dependent if not self._frames else frozenset()
        run = _run(piece.file.video, frames.first, frames.end, frames.left_out, no_entries)
        if not self._ranges:
            self._shift = _needed_shift(run, hides=frames.hidden_behind > 0)
        if self._shift:
            offsets = run.composition or array("i", bytes(4 * run.count))
            shifted = array("i", (offset + self._shift for offset in offsets))
            run = attrs.evolve(run, composition=shifted)
        placed = self._place(piece, run)
        if not self._frames:
            self._begin = placed.shown
            self._lead_in += frames.hidden_before
        self._frames += frames.frames
        self._end = placed.until
        sound = self._sound_run(piece, placed, goes_on=goes_on)
        self._append(run, sound, placed)

    def finish(self, start_micros: int) -> CutMovie:
        """Build the movie; `start_micros` is its first frame's wall time. Raises MediaError."""
        tables, edits = [self._video], {}
        duration = self._end - self._begin
        zero = round(self._begin * self._video.track.timescale)
        edits[self._video.track.track_id] = Edit(Fraction(0), zero, _whole_ticks(duration))
        if self._sound is not None and (heard := self._sound_edit(self._sound)) is not None:
            tables.append(self._sound)
            edits[self._sound.track.track_id] = heard
        moov = final_moov(self._init, tables, edits, start_micros)
        moov = _moved(moov, len(_FTYP) + len(moov) + _MDAT_HEADER)
        size = sum(each.size for each in self._ranges) + _MDAT_HEADER
        head = b"".join((_FTYP, moov, struct.pack(">I4sQ", 1, b"mdat", size)))
        return CutMovie(head, tuple(self._ranges), duration, self._frames, self._lead_in)

    def _place(self, piece: FileCut, run: TrackRun) -> _Placed:
        """Place a piece behind those before it."""
        video, frames = piece.file.video, piece.frames
        times = presentation_times(run.durations, run.composition)
        begin = max(self._video.end, self._shown_until - min(times)) if self._ranges else 0
        decoded = _decoded(video.samples, frames.first)
        shift = begin + self._shift - decoded
        until = frames.shown_until + shift
        self._shown_until = max(self._shown_until, until)
        scale = run.timescale
        in_file = video.track.delay + Fraction(video.begin, scale)
        return _Placed(
            begin,
            Fraction(shift, scale) - in_file,
            Fraction(frames.shown_from + shift, scale),
            Fraction(until, scale),
        )

    def _sound_run(self, piece: FileCut, placed: _Placed, *, goes_on: bool) -> TrackRun | None:
        """Take the sound of a piece, from its first frame to its last; None where it has none."""
        found, table = piece.file.sound, self._sound
        if found is None or table is None or not piece.frames.frames:
            return None
        zero = placed.offset + found.track.delay + Fraction(found.begin, found.track.timescale)
        times = list(accumulate(found.samples.durations, initial=0))
        first = self._first_heard(piece, placed, times, zero)
        end = len(found.samples.sizes)
        if not goes_on:
            end = min(end, bisect_left(times, (placed.until - zero) * found.track.timescale))
        while first < end and self._is_heard_before(zero, times[first], times[first + 1]):
            first += 1
        if first >= end:
            return None
        at = zero + Fraction(times[first], found.track.timescale)
        if not table.samples:
            self._sound_zero = at
        ticks = round((at - self._sound_zero) * found.track.timescale)
        near = abs(ticks - table.end) <= _CLOSE * found.track.timescale
        begin = table.end if near else max(ticks, table.end)
        return attrs.evolve(_run(found, first, end), decode_time=begin)

    def _first_heard(
        self, piece: FileCut, placed: _Placed, times: list[int], zero: Fraction
    ) -> int:
        """Return the first sample of sound of a piece; `times` are in ticks from `zero`."""
        assert self._sound is not None
        scale = self._sound.track.timescale
        if piece.continues:
            return 0
        if not self._ranges:
            return max(0, bisect_right(times, (self._begin - _SOUND_BEFORE - zero) * scale) - 1)
        return bisect_left(times, (placed.shown - zero) * scale)

    def _is_heard_before(self, zero: Fraction, begin: int, end: int) -> bool:
        """Whether more than half of a sample lies before the end of the sound so far."""
        assert self._sound is not None
        if not self._sound.samples:
            return False
        scale = self._sound.track.timescale
        so_far = self._sound_zero + Fraction(self._sound.end, scale)
        return zero + Fraction(begin + end, 2 * scale) < so_far

    def _append(self, run: TrackRun, sound: TrackRun | None, placed: _Placed) -> None:
        runs = [run] if sound is None else [run, sound]
        taken = _bytes_of(runs)
        position = sum(each.size for each in self._ranges) - taken.begin
        self._ranges.append(taken)
        try:
            self._video.add(attrs.evolve(run, decode_time=placed.begin), position, placed.begin)
            if sound is not None and self._sound is not None:
                self._sound.add(sound, position, sound.decode_time)
        except OverflowError:
            raise MediaError("a gap is longer than a file can express") from None
        samples = self._video.samples + (self._sound.samples if self._sound else 0)
        if samples > MOST_CUT_SAMPLES:
            raise MediaError(f"more than {MOST_CUT_SAMPLES} samples in one movie")

    def _sound_edit(self, table: SampleTable) -> Edit | None:
        """Present the sound at the same instants as the picture; None when none is in between."""
        if not table.samples:
            return None
        scale = table.track.timescale
        end = min(self._end, self._sound_zero + Fraction(table.end, scale))
        begin = max(self._begin, self._sound_zero)
        if end <= begin:
            return None
        skipped = round((begin - self._sound_zero) * scale)
        return Edit(begin - self._begin, skipped, _whole_ticks(end - begin))


def _needed_shift(run: TrackRun, *, hides: bool) -> int:
    """Return by how many ticks frames must be shown later than their samples say.

    An edit list cannot begin before zero; and where frames behind the last one are to be hidden,
    there must be one, so it may not begin at zero either.
    """
    earliest = min(presentation_times(run.durations, run.composition))
    return max(0, -earliest) or int(hides and earliest == 0)


def _whole_ticks(duration: Fraction) -> Fraction:
    """Round a duration down to ticks of the movie: upwards, another frame might be shown."""
    return Fraction(math.floor(duration * MOVIE_TIMESCALE), MOVIE_TIMESCALE)


def _decoded(samples: StoredSamples, number: int) -> int:
    """Return a sample's decode time, in ticks from that of the first one."""
    return sum(samples.durations[:number])


def _run(
    found: RecordedTrack,
    first: int,
    end: int,
    left_out: frozenset[int] = frozenset(),
    no_entries: frozenset[int] = frozenset(),
) -> TrackRun:
    """Make one run of samples; what is left out makes the sample before it longer.

    `no_entries` are key frames with which players may not begin.
    """
    samples = found.samples
    kept: Sequence[int] = range(first, end)
    if left_out:
        kept = [number for number in kept if number not in left_out]
    durations = list(samples.durations[first:end])
    if not durations[-1] or end == len(samples.durations):
        durations[-1] = shown_ticks(samples, end - 1)
    if left_out:
        durations = _merged(durations, [number - first for number in kept])
    sizes = _picked(samples.sizes, kept)
    composition = _picked(samples.composition, kept) if samples.composition else array("i")
    sync = samples.sync[kept[0] : kept[-1] + 1]
    if left_out or no_entries:
        sync = bytes(samples.sync[number] * (number not in no_entries) for number in kept)
    try:
        return TrackRun(
            track_id=found.track.track_id,
            timescale=found.track.timescale,
            decode_time=0,
            durations=array("I", durations),
            sizes=sizes,
            sync=sync,
            composition=composition if any(composition) else array("i"),
            chunks=_chunks(_picked(samples.offsets, kept), sizes),
            tfdt_at=0,
            tfdt_size=8,
            duration=sum(durations),
        )
    except OverflowError:
        raise MediaError("a sample lasts longer than a file can express") from None


def _picked(values: array[int], kept: Sequence[int]) -> array[int]:
    """Take the values of some samples, in order; in one step where none is left out."""
    if kept[-1] - kept[0] == len(kept) - 1:
        return values[kept[0] : kept[-1] + 1]
    return array(values.typecode, (values[number] for number in kept))


def _merged(durations: list[int], kept: list[int]) -> list[int]:
    ends = [*kept[1:], len(durations)]
    return [sum(durations[at:end]) for at, end in zip(kept, ends, strict=True)]


def _chunks(offsets: array[int], sizes: array[int]) -> tuple[SampleChunk, ...]:
    """Join samples that lie one behind the other; offsets count from the start of the file."""
    parted = compress(count(1), map(ne, map(add, offsets, sizes), offsets[1:]))
    begins = (0, *parted, len(offsets))
    return tuple(SampleChunk(end - at, offsets[at]) for at, end in pairwise(begins))


def _bytes_of(runs: list[TrackRun]) -> ByteSpan:
    """Return the range of bytes in which all samples lie."""
    begins, ends = [], []
    for run in runs:
        number = 0
        for chunk in run.chunks:
            begins.append(chunk.offset)
            ends.append(chunk.offset + sum(run.sizes[number : number + chunk.count]))
            number += chunk.count
    return ByteSpan(min(begins), max(ends))


def _moved(moov: bytes, by: int) -> bytes:
    """Move all chunk offsets of a `moov` (8.7.5), which counted from the media data."""
    moved = bytearray(moov)
    for trak in trak_boxes(moov):
        table = required_box(moov, b"mdia", b"minf", b"stbl", b"co64", within=trak)
        offsets = read_numbers("Q", moov[table.payload + 8 : table.end])
        moved[table.payload + 8 : table.end] = write_numbers(
            array("Q", (offset + by for offset in offsets))
        )
    return bytes(moved)


def begins_movie(before: FileCut, piece: FileCut) -> bool:
    """Whether a new movie must begin with a piece.

    It must where the codec, the size or the parameter sets change, and where frames would have to
    be hidden in the middle.
    """
    shown_before = before.frames.frames > 0
    hides = before.frames.hidden_behind or (shown_before and piece.frames.hidden_before)
    return bool(hides) or before.file.shape != piece.file.shape
