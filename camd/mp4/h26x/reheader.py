"""Which header the samples of a stream need, when their parameter sets change on the way.

FFmpeg keeps the first header for ever while it copies; a file that began with it could not be
played by itself.
"""

from __future__ import annotations

import attrs

from camd.mp4.boxes import BoxSpan, MediaError, children
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.parameter_sets import (
    KINDS,
    MAX_SET_SIZE,
    NalError,
    ParameterSetKind,
    VideoCodec,
    essence_of,
    key_of,
    kind_of,
    read_from,
    walk,
)
from camd.mp4.h26x.sample_entry import VideoHeader, contradiction, init_with, video_header
from camd.mp4.init import need, read_init, unpack

MAX_SETS = 64  # of one stream that are remembered
ENTRY_FIELDS = 78  # bytes of a visual sample entry before its boxes (ISO/IEC 14496-12, 12.1.3)

_Sets = dict[tuple[ParameterSetKind, int], bytes]


def one_file(begun: Init, now: Init) -> bool:
    """Whether footage that `now` describes can go on in a file that has the header of `begun`.

    What differs in how pictures are to be shown (VUI) does not matter: samples say it themselves.
    """
    if begun is now:
        return True
    old, new = _header(begun), _header(now)
    return old is not None and new is not None and not contradiction(old, new.sets)


def _header(init: Init) -> VideoHeader | None:
    try:
        return video_header(init)
    except MediaError:
        return None


@attrs.define(eq=False)
class Reheader:
    """Follows the parameter sets in the samples of one stream, fragment by fragment.

    `init` is the header that the latest fragment needs.
    """

    init: Init
    _header: VideoHeader | None = attrs.field(init=False)
    _sets: _Sets = attrs.field(factory=dict, init=False)  # as the next sample would find them
    _changed: bool = attrs.field(default=False, init=False)  # other ones than in the header
    _seen: tuple[bytes, ...] = attrs.field(default=(), init=False)  # latest in a sample

    def __attrs_post_init__(self) -> None:
        self._header = _header(self.init)
        if self._header is not None:
            for nal in self._header.sets:
                self._remember(nal.rstrip(b"\0"), self._header.codec)
        self._changed = False

    def take(self, fragment: Fragment) -> Init | None:
        """Look at the next fragment; return the init that is needed from it on, if it is a new one.

        A new one is only needed from a fragment that begins with a sync sample. Samples and sets
        that are damaged change nothing.
        """
        if self._header is None or fragment.video is None:
            return None
        at = 0
        needed: Init | None = None
        for chunk in fragment.video.chunks:
            place = chunk.offset - len(fragment.moof)
            for size in fragment.video.sizes[at : at + chunk.count]:
                self._look(fragment.mdat, place, size, self._header)
                if at == 0 and fragment.starts_with_sync:
                    needed = self._renew()
                place, at = place + size, at + 1
        return needed

    def _look(self, mdat: bytes, start: int, size: int, header: VideoHeader) -> None:
        """Remember the parameter sets that stand before the pictures of one sample."""
        found = []
        try:
            for unit in walk(read_from(mdat), start, size, header.nal_length):
                if kind_of(unit.header, header.codec):
                    found.append(mdat[unit.start : unit.start + min(unit.size, MAX_SET_SIZE + 1)])
                elif _is_picture(unit.header, header.codec):
                    break
        except NalError:
            return
        if not found or (seen := tuple(found)) == self._seen:
            return
        self._seen = seen
        for nal in found:
            self._remember(nal.rstrip(b"\0"), header.codec)

    def _remember(self, nal: bytes, codec: VideoCodec) -> None:
        """Put a set behind all others: of several sequences, the latest one says the size."""
        try:
            key = key_of(nal, codec)
            _ = essence_of(nal, codec)
        except NalError:
            return
        if len(nal) > MAX_SET_SIZE or (key not in self._sets and len(self._sets) >= MAX_SETS):
            return
        latest = self._sequence
        self._changed = self._changed or self._sets.pop(key, None) != nal
        self._sets[key] = nal
        self._changed = self._changed or self._sequence != latest

    @property
    def _sequence(self) -> tuple[ParameterSetKind, int] | None:
        """The latest sequence parameter set."""
        return next(
            (key for key in reversed(self._sets) if key[0] is ParameterSetKind.SEQUENCE), None
        )

    def _renew(self) -> Init | None:
        """Make the header that fits what was seen, unless the present one does."""
        if not self._changed:
            return None
        self._changed = False
        try:
            self.init = init_with(self.init, tuple(self._sets.values()))
        except MediaError:
            return None
        self._header = _header(self.init)
        return self.init


def sets_in_header(init: Init) -> Init:
    """Name H.265 whose header has all parameter sets as such (`hvc1`), as some players ask for.

    FFmpeg leaves sets in samples only under the other name (`hev1`), and there a change can be
    seen (ISO/IEC 14496-15 clause 8.4.1). Anything else is returned as it is.
    """
    header = _header(init)
    if header is None or header.codec is not VideoCodec.H265 or not header.in_samples:
        return init
    if {kind_of(nal[0], VideoCodec.H265) for nal in header.sets} != set(ParameterSetKind):
        return init
    moov = bytearray(init.moov)
    stsd = _video_descriptions(init)
    entry = next(children(init.moov, stsd.payload + 8, stsd.end))
    moov[entry.start + 4 : entry.start + 8] = b"hvc1"
    parts = children(init.moov, entry.payload + ENTRY_FIELDS, entry.end)
    config = next(part for part in parts if part.kind == b"hvcC")
    at = config.payload + 23
    for _ in range(moov[at - 1]):
        if moov[at] & 0x3F in KINDS[VideoCodec.H265]:
            moov[at] |= 0x80  # array_completeness
        (units,) = unpack("H", init.moov, at + 1, config.end)
        at += 3
        for _ in range(units):
            at += 2 + unpack("H", init.moov, at, config.end)[0]
    return read_init(init.ftyp, bytes(moov))


def _video_descriptions(init: Init) -> BoxSpan:
    top = need(init.moov, b"moov")
    traks = [s for s in children(init.moov, top.payload, top.end) if s.kind == b"trak"]
    trak = traks[init.tracks.index(init.video)]
    return need(init.moov, b"mdia", b"minf", b"stbl", b"stsd", within=trak)


def _is_picture(header: int, codec: VideoCodec) -> bool:
    """Whether a NAL unit with this first byte holds a part of a picture."""
    if codec is VideoCodec.H264:
        return 1 <= header & 0x1F <= 5
    return header >> 1 & 0x3F < 32
