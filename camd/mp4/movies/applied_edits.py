"""Fragments whose times are those of the presentation, for players that ignore edit lists.

Pictures that are decoded in another order than shown have composition offsets, so that each is
shown after it was decoded, and an edit list takes back the delay. hls.js computes from decode times
and offsets alone: it shows nothing for the delay before each file, and waits for the end of
the last one that long. Here the offsets are smaller by the delay, some negative (ISO/IEC 14496-12,
8.8.8, version 1), and there is no edit list.

Sound of an encoder begins with packets that are not to be heard, which an edit list passes over.
Firefox then leaves out the pictures up to the second key frame. Here all tracks are later by the
same time instead, so that none begins before zero.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from fractions import Fraction

import attrs

from camd.mp4.boxes import DEFAULT_LIMITS
from camd.mp4.fragments import Fragment, TrackRun, read_moof
from camd.mp4.init import Init
from camd.mp4.moov import Edit, growing_moov, init_without_sound
from camd.mp4.restamp import SampleTimes, restamp

_BOX, _LONG_BOX = 8, 16


@attrs.frozen
class AppliedEdits:
    """The head of such a stream, and how far it moves the samples of each track, in its ticks.

    `composition` is taken from the offsets of pictures, `later` is added to decode times. The
    presentation is later by `shift`, in seconds. `init` is that of the segment; samples of tracks
    that are not in `later` are left out.
    """

    data: bytes = attrs.field(repr=False)
    init: Init = attrs.field(repr=False)
    composition: int
    later: Mapping[int, int]
    shift: Fraction = Fraction(0)

    @classmethod
    def of(cls, init: Init, composition: int, start_micros: int) -> AppliedEdits:
        """Make it of the head of a segment; `composition` is the offset of its first picture."""
        nothing = {track.track_id: Edit(Fraction(0), 0) for track in init.tracks}
        video = init.video
        delays = {track.track_id: track.delay for track in init.tracks}
        delays[video.track_id] += Fraction(composition, video.timescale)
        early = max(Fraction(0), -min(delays.values()))
        shift = Fraction(math.ceil(early * video.timescale), video.timescale)
        later = {
            track.track_id: round((delays[track.track_id] + shift) * track.timescale)
            for track in init.tracks
        }
        data = init.ftyp + growing_moov(init, nothing, start_micros)
        return cls(data, init, composition, later, shift)

    @classmethod
    def without_sound(cls, init: Init, composition: int, start_micros: int) -> AppliedEdits:
        """Make it of the head of a segment with sound, for players that cannot play that."""
        made = cls.of(init_without_sound(init), composition, start_micros)
        return attrs.evolve(made, init=init)

    @property
    def later_shown(self) -> Fraction:
        """How far pictures are moved from where they are without any edit list, in seconds."""
        return self.init.video.delay + self.shift

    def moved(self, moof: bytes, payload: int, end: int) -> bytes:
        """Build the `moof` again; its samples lie as before. For `payload` and `end`: `read_moof`.

        Nothing is left of one that has no samples of a track in the head. Raises MediaError.
        """
        found = read_moof(moof, self.init, payload, end)
        runs = tuple(run for run in found if run.track_id in self.later)
        if not runs:
            return b""
        fragment = Fragment(moof, b"", runs, None, self.init.video.timescale)
        return restamp(fragment, {run.track_id: self._times(run) for run in runs}).moof

    def _times(self, run: TrackRun) -> SampleTimes:
        offsets = run.composition or array("i", bytes(4 * run.count))
        if run.track_id == self.init.video.track_id:
            offsets = array("i", (offset - self.composition for offset in offsets))
        decoded = max(0, run.decode_time + self.later[run.track_id])
        return SampleTimes(decoded, None, offsets)


class EditApplier:
    """Changes fragments of a file while their bytes pass; what is no fragment passes as it is.

    Holds a `moof` at most.
    """

    def __init__(self, edits: AppliedEdits) -> None:
        self._edits = edits
        self._held = b""
        self._passing = 0  # bytes of the present box that pass as they are

    def take(self, data: bytes) -> bytes:
        """Take bytes that begin with a box; return what is complete. Raises MediaError."""
        held, out, at = self._held + data, [], 0
        while at < len(held):
            if not self._passing:
                taken = self._head_at(held, at)
                if taken is None:
                    break
                moof, self._passing = taken
                at += len(moof)
                if moof:
                    out.append(self._moved(moof, held[at : at + _LONG_BOX]))
            passed = held[at : at + self._passing]
            out.append(passed)
            at += len(passed)
            self._passing -= len(passed)
        self._held = held[at:]
        return b"".join(out)

    def _head_at(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """Return a `moof` and the size of its `mdat`, or nothing and the size of another box.

        None: more bytes are needed.
        """
        size, kind = _box_at(data, at)
        if not size:
            return None
        if kind != b"moof" or size > DEFAULT_LIMITS[b"moof"]:
            return b"", size
        if len(data) < at + size + _LONG_BOX:
            return None
        return data[at : at + size], _box_at(data, at + size)[0]

    def _moved(self, moof: bytes, mdat: bytes) -> bytes:
        size, _ = _box_at(mdat, 0)
        header = _LONG_BOX if mdat[:4] == b"\0\0\0\1" else _BOX
        return self._edits.moved(moof, len(moof) + header, len(moof) + size)


def _box_at(data: bytes, at: int) -> tuple[int, bytes]:
    """Return the size of a box, and its kind; 0: more bytes are needed."""
    size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
    if size == 1 and len(data) >= at + _LONG_BOX:
        return max(_LONG_BOX, int.from_bytes(data[at + 8 : at + 16], "big")), kind
    if size == 1 or len(data) < at + _BOX:
        return 0, kind
    return max(_BOX, size), kind
