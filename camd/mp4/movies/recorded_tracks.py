"""Read the samples of picture and sound of one recorded file, sealed or growing.

A sealed file's final `moov` tells where each sample is (ISO/IEC 14496-12 clauses 8.6, 8.7). Of a
growing file the fragments around a part are read (8.8), up to what is durable.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from operator import add

import attrs

from camd.mp4.boxes import BoxSpan, MediaError, children
from camd.mp4.fragments import Fragment, run_of
from camd.mp4.frame_search import (
    FragmentPlace,
    Read,
    append_samples,
    empty_samples,
    fragment_at,
    last_begun,
    locate_fragments,
)
from camd.mp4.init import VIDEO, Init, Track, read_init, required_box, trak_boxes
from camd.mp4.inspect import (
    HEAD_SIZE,
    StoredSamples,
    read_segment_head,
    sealed_moov_offset,
    stored_samples,
)
from camd.mp4.segment import FTYP_SIZE, HASHED_FROM

MOST_MOOV_BYTES = 64 * 1024 * 1024  # of one file
MOST_SAMPLES = 4_000_000  # of one track of one file
_AROUND = 2  # fragments behind a part whose samples may be shown, or heard, in it
_GROUPS_BEFORE = 3  # groups of pictures before a part that it may need


@attrs.frozen
class RecordedTrack:
    """Samples of one track; the first one's decode time is `begin`, in ticks of the track."""

    samples: StoredSamples
    begin: int = 0

    @property
    def track(self) -> Track:
        """The track."""
        return self.samples.track


@attrs.frozen
class RecordedTracks:
    """The tracks of a file. `zero` is when its first frame is shown, in its presentation's seconds.

    All of a growing file's times count from there too, although only a part of it may be here.
    """

    init: Init
    zero: Fraction
    video: RecordedTrack
    sound: RecordedTrack | None = None

    @property
    def tracks(self) -> tuple[RecordedTrack, ...]:
        """Picture and, if there is any, sound."""
        return (self.video,) if self.sound is None else (self.video, self.sound)

    @property
    def shape(self) -> tuple[object, ...]:
        """What must be equal in files that one movie can hold: codecs, sizes, parameter sets."""
        return tuple(_shape_of(self.init, each.track) for each in self.tracks)


def read_recorded(read: Read, size: int, begin: Fraction, end: Fraction) -> RecordedTracks:
    """Read the tracks of a file, at least from `begin` to `end` seconds after its first frame.

    `read` takes an offset and a size; the first `size` bytes may be used. Raises MediaError when
    the file is damaged or has another layout, and what `read` raises.
    """
    head = read(0, min(HEAD_SIZE, size))
    moov_at = sealed_moov_offset(head)
    if moov_at is not None:
        return _sealed(head, moov_at, read)
    init, _ = read_segment_head(head)
    return _growing(read, init, locate_fragments(read, HASHED_FROM, size), (begin, end))


def _sealed(head: bytes, moov_at: int, read: Read) -> RecordedTracks:
    length = int.from_bytes(read(moov_at, 4), "big")
    if not 8 <= length <= MOST_MOOV_BYTES:
        raise MediaError("the final moov has an impossible size")
    init = read_init(head[:FTYP_SIZE], read(moov_at, length))
    video = _validated(RecordedTrack(stored_samples(init)), moov_at)
    if not video.samples.sizes:
        raise MediaError("the file has no frames")
    sound = init.audio and _validated(RecordedTrack(stored_samples(init, init.audio)), moov_at)
    return RecordedTracks(init, _shown_first(video), video, sound or None)


def _shown_first(video: RecordedTrack) -> Fraction:
    first = video.begin + (video.samples.composition[0] if video.samples.composition else 0)
    return video.track.delay + Fraction(first, video.track.timescale)


def _validated(found: RecordedTrack, end: int) -> RecordedTrack:
    """Return a track. Raises MediaError unless its samples lie in the media data."""
    offsets, sizes = found.samples.offsets, found.samples.sizes
    if len(sizes) > MOST_SAMPLES:
        raise MediaError(f"a track has {len(sizes)} samples, at most {MOST_SAMPLES} are allowed")
    if sizes and min(offsets) < HASHED_FROM:
        raise MediaError("a sample lies outside of the media data")
    if sizes and max(map(add, offsets, sizes)) > end:
        raise MediaError("a sample lies outside of the media data")
    return found


# --- growing files


def _growing(
    read: Read, init: Init, places: list[FragmentPlace], part: tuple[Fraction, Fraction]
) -> RecordedTracks:
    if not places:
        raise MediaError("the file has no complete fragment")
    first = fragment_at(read, init, places[0])
    start = _joined(init.video, [(places[0], first)])
    if not start.samples.sizes:
        raise MediaError("the file begins without a frame")
    ticks = [start.begin + round(each * init.video.timescale) for each in part]
    found = _around(read, init, places, ticks)
    video = _joined(init.video, found)
    sound = _joined(init.audio, found) if init.audio is not None else None
    return RecordedTracks(
        init, _shown_first(start), video, sound if sound and sound.samples.sizes else None
    )


def _around(
    read: Read, init: Init, places: list[FragmentPlace], ticks: list[int]
) -> list[tuple[FragmentPlace, Fragment]]:
    """Read the fragments of a part, with what comes before and behind that it may need."""
    low, high = (last_begun(read, init, places, each) for each in ticks)
    found = [(place, fragment_at(read, init, place)) for place in places[low : high + 1 + _AROUND]]
    groups = int(found[0][1].starts_with_sync)
    while low > 0 and groups < _GROUPS_BEFORE:
        low -= 1
        found.insert(0, (places[low], fragment_at(read, init, places[low])))
        groups += found[0][1].starts_with_sync
    return found


def _joined(track: Track, found: Iterable[tuple[FragmentPlace, Fragment]]) -> RecordedTrack:
    """Join the samples of one track; a sample lasts until the next fragment begins."""
    joined = RecordedTrack(empty_samples(track))
    end, sync = 0, bytearray()
    for place, fragment in found:
        run = run_of(fragment.runs, track.track_id)
        if run is None:
            continue
        if not joined.samples.sizes:
            joined = attrs.evolve(joined, begin=run.decode_time)
        elif run.decode_time != end:
            _lengthen(joined.samples, run.decode_time - end)
        append_samples(joined.samples, place.moof, run)
        sync += run.sync
        end = run.decode_time + run.duration
    return attrs.evolve(joined, samples=attrs.evolve(joined.samples, sync=bytes(sync)))


def _lengthen(samples: StoredSamples, gap: int) -> None:
    """Let the last sample end when the next fragment begins, a little earlier or later."""
    if samples.durations[-1] + gap < 0:
        raise MediaError("the fragments' times jump back")
    samples.durations[-1] += gap


# --- what tells one stream from another

_FIXED = {VIDEO: 78}  # bytes of a sample entry before the boxes in it (12.1.3)
_FIXED_SOUND = 28  # (12.2.3)
_RATES = 12  # of a decoder's configuration: buffer and bit rates (ISO/IEC 14496-1, 7.2.6.6)


def _shape_of(init: Init, track: Track) -> tuple[object, ...]:
    """Describe a track by what its decoder needs; measured bit rates are left out."""
    moov = init.moov
    trak = trak_boxes(moov)[init.tracks.index(track)]
    stsd = required_box(moov, b"mdia", b"minf", b"stbl", b"stsd", within=trak)
    entry = next(children(moov, stsd.payload + 8, stsd.end))
    inner = entry.payload + _FIXED.get(track.handler, _FIXED_SOUND)
    if inner > entry.end:
        raise MediaError("a sample description that is too short")
    boxes = tuple(
        _without_rates(moov, span)
        for span in children(moov, inner, entry.end)
        if span.kind != b"btrt"
    )
    return (track.handler, track.timescale, entry.kind, moov[entry.payload : inner], boxes)


def _without_rates(moov: bytes, span: BoxSpan) -> bytes:
    data = span.bytes_of(moov)
    if span.kind != b"esds":
        return data
    at = data.find(b"\x04", 12)  # the tag of the decoder's configuration
    while 0 < at < len(data) - 1 and data[at + 1] & 0x80:
        at += 1  # its size, of up to four bytes
    return data[: at + 4] + data[at + 3 + _RATES :] if at > 0 else data
