"""Parse FFmpeg's fragmented MP4: an init, then fragments (ISO/IEC 14496-12 clause 8.8)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import attrs

from camd.mp4.boxes import Box, BoxReader, BoxSpan, MediaError, boxes_in, find, read_numbers
from camd.mp4.init import MAX_TRACKS, Init, SampleDefaults, Track, read_init, unpack

__all__ = ["Fragment", "FragmentError", "FragmentReader", "Init", "Track", "TrackRun"]

MAX_IDLE_BOXES = 1000  # in a row that complete no fragment
MAX_SAMPLES = 100_000  # of all tracks of one fragment
NTP_OFFSET_SECONDS = 2_208_988_800  # from 1900-01-01 to 1970-01-01
WRITTEN = 0x18  # prft flags: the time is when the fragment was written
_NON_SYNC = 0x10000  # sample_is_non_sync_sample (8.8.3.1)


class FragmentError(MediaError):
    """A fragment that is damaged, or uses what camd does not record from."""


@attrs.frozen
class SampleChunk:
    """`count` consecutive samples, `offset` bytes after the moof's first byte."""

    count: int
    offset: int


@attrs.frozen
class TrackRun:
    """All samples of one track in one fragment, as arrays of equal length.

    Durations and composition offsets are ticks of the track; `composition` is empty when every
    offset is 0. The decode time is at `tfdt_at` in the moof, `tfdt_size` bytes wide.
    """

    track_id: int
    timescale: int
    decode_time: int
    durations: array[int] = attrs.field(repr=False)
    sizes: array[int] = attrs.field(repr=False)
    sync: bytes = attrs.field(repr=False)  # 1 for a sync sample, else 0
    composition: array[int] = attrs.field(repr=False)
    chunks: tuple[SampleChunk, ...]
    tfdt_at: int
    tfdt_size: int
    duration: int  # sum of `durations`

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.sizes)


@attrs.frozen
class Fragment:
    """One moof and its mdat. Times are on the decode timeline of the stream's video track.

    `wall_micros` is when the first video sample arrived, in microseconds since 1970; `shown` is
    its presentation time in ticks. Both are None when the stream does not say.
    """

    moof: bytes = attrs.field(repr=False)
    mdat: bytes = attrs.field(repr=False)
    runs: tuple[TrackRun, ...]
    video: TrackRun | None
    timescale: int  # of the video track
    wall_micros: int | None = None
    shown: int | None = None

    @classmethod
    def of(cls, init: Init, moof: bytes, mdat: bytes, runs: tuple[TrackRun, ...]) -> Fragment:
        """Make a fragment of a stream that began with `init`."""
        track = init.video
        return cls(moof, mdat, runs, run_of(runs, track.track_id), track.timescale)

    @property
    def starts_with_sync(self) -> bool:
        """Whether decoding can begin here: the first video sample is a sync sample."""
        return self.video is not None and self.video.sync[:1] == b"\x01"

    @property
    def frames(self) -> int:
        """Number of video samples; 0 when there is only audio."""
        return self.video.count if self.video else 0

    @property
    def start_seconds(self) -> float:
        """Decode time of the first video sample; without video, of the first sample at all."""
        if self.video:
            return self.video.decode_time / self.timescale
        return min((run.decode_time / run.timescale for run in self.runs), default=0.0)

    @property
    def duration_seconds(self) -> float:
        """Duration of the video samples; 0 without video."""
        return self.video.duration / self.timescale if self.video else 0.0

    @property
    def end_seconds(self) -> float:
        """Decode time at the end of the last video sample."""
        return self.start_seconds + self.duration_seconds

    @property
    def size_bytes(self) -> int:
        """Bytes of moof and mdat."""
        return len(self.moof) + len(self.mdat)

    def video_samples(self) -> Iterator[tuple[int, int]]:
        """Yield the offset in `mdat` and the size of each video sample."""
        if self.video is None:
            return
        number = 0
        for chunk in self.video.chunks:
            at = chunk.offset - len(self.moof)
            for size in self.video.sizes[number : number + chunk.count]:
                yield at, size
                at += size
            number += chunk.count


def run_of(runs: tuple[TrackRun, ...], track_id: int) -> TrackRun | None:
    """Return the run of a track; None without samples of it."""
    return next((run for run in runs if run.track_id == track_id), None)


@attrs.frozen
class _ProducerTime:
    """A producer reference time (8.16.5): the wall time of a media time of `track_id`."""

    track_id: int
    flags: int
    wall_micros: int
    media_time: int  # of its first sample, in ticks


class FragmentReader:
    """Parse chunks of any size of a fragmented MP4 into one Init and its Fragments.

    Boxes without samples are skipped. Raises MediaError (BoxError, FragmentError,
    MovieHeaderError) when the bytes are something else; complete fragments before the error are
    returned first, and the next call raises.
    """

    def __init__(self, boxes: BoxReader | None = None) -> None:
        self._boxes = BoxReader() if boxes is None else boxes
        self._ftyp = b""
        self._init: Init | None = None
        self._moof: bytes | None = None
        self._reference: _ProducerTime | None = None
        self._error: MediaError | None = None
        self._idle = 0  # boxes since the last fragment

    @property
    def between_fragments(self) -> bool:
        """Whether the next byte can be the first one of a fragment or of its reference time."""
        pending = self._error or self._moof is not None or self._reference is not None
        return self._init is not None and not pending and self._boxes.between_boxes

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Init | Fragment]:
        """Take the next bytes; return the init and fragments that they complete."""
        if self._error:
            raise self._error
        events: list[Init | Fragment] = []
        try:
            for box in self._boxes.feed(chunk):
                self._idle += 1
                if self._idle > MAX_IDLE_BOXES:
                    raise FragmentError(f"{MAX_IDLE_BOXES} boxes in a row without a fragment")
                if event := self._receive(box):
                    events.append(event)
        except MediaError as error:
            self._error = error
            if not events:
                raise
        return events

    def close(self) -> list[Init | Fragment]:
        """End the stream. Raises MediaError when it ends inside a fragment."""
        if self._error:
            raise self._error
        box = self._boxes.close()
        event = self._receive(box) if box else None
        if self._moof is not None:
            raise FragmentError("the stream ended between a moof and its mdat")
        return [event] if event else []

    def _receive(self, box: Box) -> Init | Fragment | None:
        if self._moof is not None:
            if box.kind != b"mdat":
                raise FragmentError(f"{box.kind!r} follows a moof, not mdat")
            return self._complete(self._moof, box)
        match box.kind:
            case b"ftyp":
                self._ftyp = box.data
            case b"moov":
                return self._begin(box)
            case b"moof":
                if self._init is None:
                    raise FragmentError("a moof before the moov")
                self._moof = box.data
            case b"mdat":
                raise FragmentError("an mdat without a moof")
            case b"prft":
                self._reference = _read_reference(box)
        return None

    def _begin(self, box: Box) -> Init:
        if self._init is not None:
            raise FragmentError("a second moov")
        self._init = read_init(self._ftyp, box.data)
        return self._init

    def _complete(self, moof: bytes, mdat: Box) -> Fragment:
        assert self._init is not None
        payload = len(moof) + mdat.header_size
        runs = read_moof(moof, self._init, payload, len(moof) + len(mdat.data))
        fragment = Fragment.of(self._init, moof, mdat.data, runs)
        if (reference := self._reference) is not None:
            about_video = reference.track_id == self._init.video.track_id
            fragment = attrs.evolve(
                fragment,
                wall_micros=_wall_of_video(reference, runs, fragment.video),
                shown=reference.media_time if about_video else None,
            )
        self._moof = self._reference = None
        self._idle = 0
        return fragment


def _read_reference(box: Box) -> _ProducerTime:
    version, high, low, track_id, ntp = unpack("BBHIQ", box.data, box.header_size, len(box.data))
    form = "q" if version else "I"
    (media_time,) = unpack(form, box.data, box.header_size + 16, len(box.data))
    seconds, fraction = divmod(ntp, 1 << 32)
    micros = (seconds - NTP_OFFSET_SECONDS) * 1_000_000 + (fraction * 1_000_000 >> 32)
    return _ProducerTime(track_id, high << 16 | low, micros, media_time)


def _wall_of_video(
    reference: _ProducerTime, runs: tuple[TrackRun, ...], video: TrackRun | None
) -> int | None:
    """Convert a reference about the first sample of its track to the first video sample.

    With the flags 0x18 the clock was read when the fragment was complete: its duration is
    subtracted.
    """
    named = run_of(runs, reference.track_id)
    if named is None or video is None:
        return None
    micros = reference.wall_micros
    if reference.flags == WRITTEN:
        micros -= named.duration * 1_000_000 // named.timescale
    micros += video.decode_time * 1_000_000 // video.timescale
    return micros - named.decode_time * 1_000_000 // named.timescale


# --- moof


@attrs.define(eq=False)
class _Collected:
    """One track's samples while its fragment is being parsed."""

    track: Track
    decode_time: int
    tfdt_at: int
    tfdt_size: int
    durations: array[int] = attrs.field(factory=lambda: array("I"))
    sizes: array[int] = attrs.field(factory=lambda: array("I"))
    sync: bytearray = attrs.field(factory=bytearray)
    composition: array[int] = attrs.field(factory=lambda: array("i"))
    chunks: list[SampleChunk] = attrs.field(factory=list)

    def finish(self) -> TrackRun:
        return TrackRun(
            track_id=self.track.track_id,
            timescale=self.track.timescale,
            decode_time=self.decode_time,
            durations=self.durations,
            sizes=self.sizes,
            sync=bytes(self.sync),
            composition=self.composition if any(self.composition) else array("i"),
            chunks=tuple(self.chunks),
            tfdt_at=self.tfdt_at,
            tfdt_size=self.tfdt_size,
            duration=sum(self.durations),
        )


def read_moof(moof: bytes, init: Init, payload: int, end: int) -> tuple[TrackRun, ...]:
    """Parse a complete `moof` whose samples lie from `payload` to `end`, counted from its start.

    Tracks without samples are left out. Raises MediaError.
    """
    tracks = {track.track_id: track for track in init.tracks}
    runs: dict[int, TrackRun] = {}
    position = 0  # of the next data when a box does not give it
    room = MAX_SAMPLES
    top = find(moof, b"moof")
    if top is None or find(moof, b"moof", b"mfhd") is None:
        raise FragmentError("a moof without its header")
    trafs = [span for span in boxes_in(moof, top) if span.kind == b"traf"]
    if len(trafs) > MAX_TRACKS:
        raise FragmentError(f"a fragment of {len(trafs)} tracks, at most {MAX_TRACKS} are allowed")
    for traf in trafs:
        collected, position = _read_traf(moof, traf, tracks, position, room)
        room -= len(collected.sizes)
        if not collected.sizes:
            continue
        run = collected.finish()
        if run.track_id in runs:
            raise FragmentError(f"track {run.track_id} is in the fragment twice")
        _validate_chunks(run, payload, end)
        runs[run.track_id] = run
    return tuple(runs.values())


def _read_traf(
    moof: bytes, traf: BoxSpan, tracks: dict[int, Track], position: int, room: int
) -> tuple[_Collected, int]:
    parts = list(boxes_in(moof, traf))
    tfhd = next((span for span in parts if span.kind == b"tfhd"), None)
    tfdt = next((span for span in parts if span.kind == b"tfdt"), None)
    if tfhd is None:
        raise FragmentError("a traf without its header")
    track, defaults, from_moof = _read_tfhd(moof, tfhd, tracks)
    collected = _Collected(track, 0, 0, 0)
    base = position = 0 if from_moof else position
    for span in parts:
        if span.kind != b"trun":
            continue
        if tfdt is None:
            raise FragmentError("a traf without its decode time")
        position = _read_trun(moof, span, collected, defaults, (base, position), room)
    if tfdt is not None:
        (version,) = unpack("B", moof, tfdt.payload, tfdt.end)
        collected.tfdt_at, collected.tfdt_size = tfdt.payload + 4, 8 if version else 4
        form = "q" if version else "I"  # negative before zero, although 8.8.12 says unsigned
        (collected.decode_time,) = unpack(form, moof, collected.tfdt_at, tfdt.end)
    return collected, position


def _read_tfhd(
    moof: bytes, tfhd: BoxSpan, tracks: dict[int, Track]
) -> tuple[Track, SampleDefaults, bool]:
    flags, track_id = unpack("II", moof, tfhd.payload, tfhd.end)
    if flags & 0x1:
        raise FragmentError("a fragment with absolute data offsets cannot be moved")
    if track_id not in tracks:
        raise FragmentError(f"the fragment has the unknown track {track_id}")
    track = tracks[track_id]
    values = list(attrs.astuple(track.defaults))
    at = tfhd.payload + 8
    for index, bit in enumerate((0x2, 0x8, 0x10, 0x20)):
        if flags & bit:
            (values[index],) = unpack("I", moof, at, tfhd.end)
            at += 4
    if values[0] != 1:
        raise FragmentError("a fragment uses a second sample description")
    return track, SampleDefaults(*values), bool(flags & 0x20000)


def _read_trun(
    moof: bytes,
    span: BoxSpan,
    collected: _Collected,
    defaults: SampleDefaults,
    bases: tuple[int, int],
    room: int,
) -> int:
    """Add one `trun` (8.8.8); return where its data ends. `bases`: of its traf, and its data."""
    full, count = unpack("II", moof, span.payload, span.end)
    if count > room - len(collected.sizes):
        raise FragmentError(f"a fragment with more than {MAX_SAMPLES} samples")
    start = bases[1]
    at = span.payload + 8
    if full & 0x1:
        start = bases[0] + unpack("i", moof, at, span.end)[0]
        at += 4
    first_flags: int | None = None
    if full & 0x4:
        (first_flags,) = unpack("I", moof, at, span.end)
        at += 4
    columns = _read_columns(moof, at, span.end, full & 0xF00, count)
    sizes = columns.get(0x200, array("I", (defaults.size,)) * count)
    flags = columns.get(0x400, array("I", (defaults.flags,)) * count)
    if first_flags is not None and count:
        flags[0] = first_flags
    collected.durations += columns.get(0x100, array("I", (defaults.duration,)) * count)
    collected.sizes += sizes
    intra_only = collected.track.intra_only
    collected.sync += bytes(intra_only or not word & _NON_SYNC for word in flags)
    collected.composition += _signed(columns.get(0x800), count)
    if count:
        collected.chunks.append(SampleChunk(count, start))
    return start + sum(sizes)


def _read_columns(moof: bytes, at: int, end: int, flags: int, count: int) -> dict[int, array[int]]:
    """Split the table of a `trun` into columns, by the flag of each."""
    present = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    width = len(present)
    if at + 4 * width * count > end:
        raise FragmentError("a trun shorter than its samples")
    words = read_numbers("I", moof[at : at + 4 * width * count])
    return {bit: words[index::width] for index, bit in enumerate(present)}


def _signed(column: array[int] | None, count: int) -> array[int]:
    """Return composition offsets as signed numbers; muxers write negative ones in version 0 too."""
    if column is None:
        return array("i", (0,)) * count
    return array("i", column.tobytes())


def _validate_chunks(run: TrackRun, payload: int, end: int) -> None:
    """Raise FragmentError unless every sample lies inside the mdat."""
    first = 0
    for chunk in run.chunks:
        size = sum(run.sizes[first : first + chunk.count])
        if chunk.offset < payload or chunk.offset + size > end:
            raise FragmentError(f"samples of track {run.track_id} lie outside the mdat")
        first += chunk.count
