"""Find the frame of a recorded file that is shown at an instant, and what it needs to be decoded.

A sealed file's `moov` tells where each sample is. A growing file is read box by box: its fragments
lie one behind the other, and each one's `moof` tells its time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction

import attrs

from camd.mp4.boxes import MediaError, boxes_in, children, find
from camd.mp4.fragments import Fragment, TrackRun, read_moof
from camd.mp4.h26x.leading_pictures import frames_to_recovery
from camd.mp4.init import Init, Track, unpack
from camd.mp4.inspect import StoredSamples
from camd.mp4.movies.decode_begin import Recovery, first_needed, needs_nothing
from camd.mp4.movies.frame_movie import presentation_times
from camd.mp4.sample_tables import shown_length

Read = Callable[[int, int], bytes]  # offset, size; fewer bytes at the end of the file

_MOST_FRAGMENTS = 1_000_000
_MOST_MOOF_BYTES = 4 * 1024 * 1024


@attrs.frozen
class SamplesToFrame:
    """The samples from a key frame to one that is to be shown, in decode order.

    `shown_at` is its time in seconds since the first frame of the file; sizes and offsets are in
    bytes, the rest in ticks of the video track.
    """

    shown_at: Fraction
    offsets: Sequence[int] = attrs.field(repr=False)
    sizes: Sequence[int] = attrs.field(repr=False)
    durations: Sequence[int] = attrs.field(repr=False)
    composition: Sequence[int] = attrs.field(repr=False)

    @property
    def size_bytes(self) -> int:
        """Bytes of all samples."""
        return sum(self.sizes)


def find_frame_at(
    frames: StoredSamples, seconds: Fraction, recovery: Recovery = needs_nothing
) -> SamplesToFrame | None:
    """Find the frame that is shown `seconds` after the first one; None where there is none.

    The first frame in decode order counts as the first one: leading pictures cannot be decoded.
    `recovery` says of key frames what a decoder needs that begins with them.
    """
    times = presentation_times(frames.durations, frames.composition)
    if not times:
        return None
    wanted = times[0] + seconds * frames.track.timescale
    shown = [number for number, time in enumerate(times) if times[0] <= time <= wanted]
    if not shown:
        return None
    latest, lasts = max(zip(times, frames.durations, strict=True))
    length = shown_length(sum(frames.durations), latest - times[0], max(1, lasts))
    if wanted >= times[0] + length:
        return None
    last = max(shown, key=times.__getitem__)  # it is shown until the next one, however late
    nearest = last if frames.track.intra_only else frames.sync.rfind(b"\x01", 0, last + 1)
    if nearest < 0:
        raise MediaError("no key frame comes before the frame")
    first = first_needed(frames, times, [last], recovery)
    if first == nearest > 0 and _is_open(times, frames.sync, first):
        first = max(0, frames.sync.rfind(b"\x01", 0, first))
    part = slice(first, last + 1)
    return SamplesToFrame(
        Fraction(times[last] - times[0], frames.track.timescale),
        frames.offsets[part],
        frames.sizes[part],
        frames.durations[part],
        frames.composition[part],
    )


def _is_open(times: Sequence[int], sync: bytes, key_frame: int) -> bool:
    """Whether frames behind a key frame are shown before it, which may refer to frames before it.

    FFmpeg 5.1 gives out neither these nor the next few where it has to begin with the key frame.
    """
    end = sync.find(b"\x01", key_frame + 1)
    behind = times[key_frame + 1 : end if end > 0 else None]
    return bool(behind) and min(behind) < times[key_frame]


# --- growing files


@attrs.frozen
class FragmentPlace:
    """Where a fragment lies in a file: its moof, its mdat, and what comes behind."""

    moof: int
    mdat: int
    end: int


def growing_frames(read: Read, init: Init, begin: int, end: int, seconds: float) -> StoredSamples:
    """Read the samples of a growing file around an instant: of its first fragment, for its time,
    and from a key frame before the instant to behind it.

    Fragments lie from `begin` to `end`. Raises MediaError when there is none, OSError from `read`.
    """
    places = locate_fragments(read, begin, end)
    if not places:
        raise MediaError("the file has no complete fragment")
    first = fragment_at(read, init, places[0])
    base = first.video.decode_time if first.video is not None else 0
    number = last_begun(read, init, places, base + round(seconds * init.video.timescale))
    begin = _begin_of_decoding(read, init, places, number)
    chosen = range(begin, min(number + 2, len(places)))  # one may be shown later than decoded
    found = [(places[n], fragment_at(read, init, places[n])) for n in chosen]
    return _joined(init, (places[0], first), found)


def _begin_of_decoding(read: Read, init: Init, places: Sequence[FragmentPlace], number: int) -> int:
    """Return the fragment with which decoding begins, so that all is right in a later one.

    The group before it is read where the group is open, or where a decoder cannot begin anew with
    it; further ones where it takes more frames until all is right.
    """
    nearest = begin = _group_begin(read, init, places, number)
    while begin > 0:
        run = fragment_at(read, init, places[begin]).video
        if run is None:
            break
        at = places[begin].moof + run.chunks[0].offset
        after = frames_to_recovery(init, read, at, run.sizes[0])
        times = presentation_times(run.durations, run.composition)
        needs_before = after is not None or _is_open(times, run.sync, 0)
        if not needs_before or (
            begin < nearest and _frames(read, init, places[begin:number], after)
        ):
            break
        begin = _group_begin(read, init, places, begin - 1)
    return begin


def _frames(read: Read, init: Init, places: Sequence[FragmentPlace], least: int | None) -> bool:
    """Whether some fragments have so many frames."""
    count = 0
    for place in places if least else ():
        count += fragment_at(read, init, place).frames
        if count >= (least or 0):
            break
    return count >= (least or 0)


def _group_begin(read: Read, init: Init, places: Sequence[FragmentPlace], number: int) -> int:
    """Return the last fragment up to a number that begins with a key frame; else the first one."""
    while number > 0 and not fragment_at(read, init, places[number]).starts_with_sync:
        number -= 1
    return number


def locate_fragments(read: Read, begin: int, end: int) -> list[FragmentPlace]:
    """List the complete fragments of a growing file; what is torn at its end is left out."""
    places: list[FragmentPlace] = []
    at, moof = begin, -1
    while at + 16 <= end and len(places) < _MOST_FRAGMENTS:
        head = read(at, 16)
        if len(head) < 16:
            break
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or at + size > end:
            break
        if kind == b"moof":
            moof = at
        elif kind == b"mdat" and moof >= 0:
            places.append(FragmentPlace(moof, at, at + size))
            moof = -1
        at += size
    return places


def _moof(read: Read, place: FragmentPlace) -> bytes:
    if place.mdat - place.moof > _MOST_MOOF_BYTES:
        raise MediaError("a moof that is too large")
    return read(place.moof, place.mdat - place.moof)


def fragment_at(read: Read, init: Init, place: FragmentPlace) -> Fragment:
    """Read a fragment without its media data."""
    moof = _moof(read, place)
    runs = read_moof(moof, init, place.mdat - place.moof + 8, place.end - place.moof)
    return Fragment.of(init, moof, b"", runs)


def last_begun(read: Read, init: Init, places: Sequence[FragmentPlace], ticks: int) -> int:
    """Find the last fragment whose video begins at `ticks` or before; the first when none does."""

    def begins(place: FragmentPlace) -> int:
        moof = _moof(read, place)
        top = find(moof, b"moof")
        for traf in boxes_in(moof, top) if top is not None else ():
            if traf.kind != b"traf":
                continue
            parts = {span.kind: span for span in children(moof, traf.payload, traf.end)}
            tfhd, tfdt = parts.get(b"tfhd"), parts.get(b"tfdt")
            if tfhd is None or tfdt is None:
                continue
            (track_id,) = unpack("I", moof, tfhd.payload + 4, tfhd.end)
            if track_id == init.video.track_id:
                (version,) = unpack("B", moof, tfdt.payload, tfdt.end)
                form = "q" if version else "I"
                return unpack(form, moof, tfdt.payload + 4, tfdt.end)[0]
        return -1  # sound alone

    return max(0, bisect_right(places, ticks, key=begins) - 1)


def _joined(
    init: Init,
    first: tuple[FragmentPlace, Fragment],
    found: Sequence[tuple[FragmentPlace, Fragment]],
) -> StoredSamples:
    """Join fragments; where some are left out, the frame before them lasts until they begin."""
    if found[0][0] != first[0]:
        found = (first, *found)
    samples = empty_samples(init.video)
    sync, end = bytearray(), None
    for place, fragment in found:
        run = fragment.video
        if run is None:
            continue
        if end is not None and run.decode_time > end:
            samples.durations[-1] += run.decode_time - end
        end = run.decode_time + run.duration
        append_samples(samples, place.moof, run)
        sync += run.sync
    return attrs.evolve(samples, sync=bytes(sync))


def empty_samples(track: Track) -> StoredSamples:
    """Return arrays without samples; durations have 64 bits, for a frame that lasts a day."""
    return StoredSamples(track, array("Q"), array("I"), array("Q"), array("i"), b"")


def append_samples(samples: StoredSamples, moof: int, run: TrackRun) -> None:
    """Append those of a fragment whose `moof` lies at a byte; `sync` is left to the caller."""
    number = 0
    for chunk in run.chunks:
        at = moof + chunk.offset
        for size in run.sizes[number : number + chunk.count]:
            samples.offsets.append(at)
            at += size
        number += chunk.count
    samples.sizes.extend(run.sizes)
    samples.durations.extend(iter(run.durations))
    samples.composition.extend(run.composition or array("i", bytes(4 * run.count)))
