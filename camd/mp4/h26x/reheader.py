"""Make a new header when the parameter sets in a stream's samples change.

FFmpeg keeps the first header while it copies; a later file that began with it could not be played.
"""

from __future__ import annotations

import attrs

from camd.mp4.boxes import MediaError, children
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.parameter_sets import (
    KINDS,
    MAX_NAL_UNITS,
    MAX_SET_SIZE,
    NalError,
    ParameterSetKind,
    VideoCodec,
    comparable_part,
    kind_of,
    set_identity,
)
from camd.mp4.h26x.sample_entry import (
    ENTRY_FIELDS,
    Sets,
    VideoHeader,
    contradiction,
    init_with,
    video_entry,
    video_header,
)
from camd.mp4.init import read_init, unpack

MAX_SETS = 64  # remembered of one stream


def can_share_file(begun: Init, now: Init) -> bool:
    """Whether fragments with the header `now` can continue a file with the header `begun`.

    Differences of the display parameters (VUI) do not count: samples carry their own.
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
    """Follow the parameter sets in the samples of one stream, fragment by fragment.

    `init` is the header that the latest fragment needs.
    """

    init: Init
    _header: VideoHeader | None = attrs.field(init=False)
    _sets: Sets = attrs.field(factory=dict, init=False)  # in force for the next sample
    _changed: bool = attrs.field(default=False, init=False)  # since the header was made
    _seen: tuple[bytes, ...] = attrs.field(default=(), init=False)  # in the latest sample with sets

    def __attrs_post_init__(self) -> None:
        self._header = _header(self.init)
        if self._header is not None:
            for nal in self._header.sets:
                self._remember(nal.rstrip(b"\0"), self._header.codec)
        self._changed = False

    def take(self, fragment: Fragment) -> Init | None:
        """Take the next fragment; return the new init that it needs, or None.

        Only a fragment that begins with a sync sample can need one. Damaged samples and sets
        change nothing.
        """
        header = self._header
        if header is None or fragment.video is None:
            return None
        needed: Init | None = None
        for number, (at, size) in enumerate(fragment.video_samples()):
            found = _sets_before_pictures(fragment.mdat, at, size, header)
            if found and found != self._seen:
                self._seen = found
                for nal in found:
                    self._remember(nal.rstrip(b"\0"), header.codec)
            if number == 0 and self._changed and fragment.starts_with_sync:
                needed = self._renew()
        return needed

    def _remember(self, nal: bytes, codec: VideoCodec) -> None:
        """Add a set after all others: of several sequence sets, the latest one has the size."""
        try:
            key = set_identity(nal, codec)
            _ = comparable_part(nal, codec)
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
        """Return a header with the current sets; None when none can be made of them."""
        self._changed = False
        try:
            self.init = init_with(self.init, tuple(self._sets.values()))
        except MediaError:
            return None
        self._header = _header(self.init)
        return self.init


def as_hvc1(init: Init) -> Init:
    """Rename H.265 with all parameter sets in its header to `hvc1`, which some players require.

    FFmpeg is told to write `hev1`, because only then it keeps the sets in samples, where a change
    can be seen (ISO/IEC 14496-15 clause 8.4.1). Anything else is returned unchanged.
    """
    header = _header(init)
    if header is None or header.codec is not VideoCodec.H265 or not header.in_samples:
        return init
    if {kind_of(nal[0], VideoCodec.H265) for nal in header.sets} != set(ParameterSetKind):
        return init
    moov = bytearray(init.moov)
    entry = video_entry(init)
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


def _sets_before_pictures(
    mdat: bytes, start: int, size: int, header: VideoHeader
) -> tuple[bytes, ...]:
    """Return the parameter sets of a sample, up to its first picture; none when it is damaged."""
    parts, width = _PARTS[header.codec], header.nal_length
    found: list[bytes] = []
    at, end = start, start + size
    for _ in range(MAX_NAL_UNITS):
        unit = at + width
        if unit >= end:
            break
        part = parts[mdat[unit]]
        if part is _PICTURE and at == start:  # as most samples begin
            break
        length = int.from_bytes(mdat[at:unit], "big")
        at = unit + length
        if not length or at > end:
            return ()
        if part is _PICTURE:
            return tuple(found)
        if part is _SET:
            found.append(mdat[unit : unit + min(length, MAX_SET_SIZE + 1)])
    return tuple(found) if at == end else ()


_PICTURE, _SET, _OTHER = "picture", "set", "other"


def _part(header: int, codec: VideoCodec) -> str:
    """Return what a NAL unit with this first byte contains: a part of a picture, a set, or else."""
    if kind_of(header, codec):
        return _SET
    picture = 1 <= header & 0x1F <= 5 if codec is VideoCodec.H264 else header >> 1 & 0x3F < 32
    return _PICTURE if picture else _OTHER


_PARTS = {codec: tuple(_part(header, codec) for header in range(256)) for codec in VideoCodec}
