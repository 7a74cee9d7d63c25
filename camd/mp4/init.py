"""Parse a movie box: its tracks and their codecs (ISO/IEC 14496-12 clauses 8.2 to 8.5, 8.8.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from fractions import Fraction

import attrs

from camd.mp4.boxes import BoxSpan, MediaError, boxes_in, children, find

MAX_TRACKS = 8

_INTRA_ONLY = frozenset(
    ("jpeg", "mjpa", "mjpb", "png ", "mjp2", "raw ", "yuvs", "2vuy", "v210", "FFV1", "apch")
)
_OBJECT_TYPES = {0x6C: "jpeg", 0x6D: "png "}  # registered for sample entry mp4v

_VISUAL_FIELDS = 78  # bytes of a visual sample entry before its boxes (12.1.3)

VIDEO = "vide"
AUDIO = "soun"


class MovieHeaderError(MediaError):
    """A movie box that camd cannot record from."""


class NoVideoError(MovieHeaderError):
    """A movie box without a video track."""


@attrs.frozen
class SampleDefaults:
    """Values of a track's samples that a fragment may override (`trex`, 8.8.3)."""

    description: int = 1
    duration: int = 0
    size: int = 0
    flags: int = 0


@attrs.frozen
class Track:
    """One track. `codec` is the kind of its sample entry; of a generic `mp4v` entry, its format."""

    track_id: int
    handler: str
    timescale: int
    codec: str
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    delay: Fraction = Fraction(0)  # seconds from media time to presentation, by the edit list
    defaults: SampleDefaults = SampleDefaults()

    @property
    def intra_only(self) -> bool:
        """Whether every sample of this codec is a sync sample, whatever its flags say."""
        return self.codec in _INTRA_ONLY


@attrs.frozen
class Init:
    """The beginning of a fragmented stream: its `ftyp` and `moov` boxes, and the tracks in them."""

    ftyp: bytes = attrs.field(repr=False)
    moov: bytes = attrs.field(repr=False)
    tracks: tuple[Track, ...]

    @property
    def video(self) -> Track:
        """The first video track. Raises NoVideoError."""
        for track in self.tracks:
            if track.handler == VIDEO:
                return track
        raise NoVideoError("the stream has no video track")

    @property
    def audio(self) -> Track | None:
        """The first audio track."""
        return next((track for track in self.tracks if track.handler == AUDIO), None)


def unpack(form: str, data: bytes | memoryview, start: int, end: int) -> tuple[int, ...]:
    """Unpack big-endian integers at `start`; raises MediaError when they reach past `end`."""
    if start + struct.calcsize(">" + form) > end:
        raise MediaError("a box is too short for its fields")
    values: tuple[int, ...] = struct.unpack_from(">" + form, data, start)
    return values


def required_box(data: bytes, *path: bytes, within: BoxSpan | None = None) -> BoxSpan:
    """Return the box at `path`; raises MovieHeaderError without it."""
    span = find(data, *path, within=within)
    if span is None:
        raise MovieHeaderError(f"the movie box lacks {b'/'.join(path)!r}")
    return span


def read_init(ftyp: bytes, moov: bytes) -> Init:
    """Parse a complete `moov` box. Raises MediaError (NoVideoError when only video is missing)."""
    traks = trak_boxes(moov)
    if len(traks) > MAX_TRACKS:
        raise MovieHeaderError(f"{len(traks)} tracks, at most {MAX_TRACKS} are allowed")
    movie_timescale = read_timescale(moov, required_box(moov, b"moov", b"mvhd"))
    defaults = _read_defaults(moov)
    tracks = tuple(_read_track(moov, trak, movie_timescale, defaults) for trak in traks)
    if len({track.track_id for track in tracks}) != len(tracks):
        raise MovieHeaderError("two tracks have the same number")
    init = Init(ftyp, moov, tracks)
    _ = init.video
    return init


def trak_boxes(moov: bytes) -> list[BoxSpan]:
    """Return the `trak` boxes of a complete `moov`, in order. Raises MediaError."""
    return [span for span in boxes_in(moov, required_box(moov, b"moov")) if span.kind == b"trak"]


def video_trak(init: Init) -> BoxSpan:
    """Return the `trak` box of the first video track."""
    return trak_boxes(init.moov)[init.tracks.index(init.video)]


def shown_size(init: Init) -> tuple[int, int]:
    """Return width and height of the pictures as they are shown: with square pixels, and turned.

    The sample entry says how wide a pixel is (`pasp`, 12.1.4), the track header whether pictures
    are turned (8.3.2). Raises MediaError.
    """
    video, trak = init.video, video_trak(init)
    across, down = video.width, video.height
    stsd = required_box(init.moov, b"mdia", b"minf", b"stbl", b"stsd", within=trak)
    entry = next(children(init.moov, stsd.payload + 8, stsd.end), None)
    parts = children(init.moov, entry.payload + _VISUAL_FIELDS, entry.end) if entry else ()
    pasp = next((part for part in parts if part.kind == b"pasp"), None)
    if pasp is not None:
        wide, high = unpack("2I", init.moov, pasp.payload, pasp.end)
        if wide > high > 0:
            across = round(across * wide / high)
        elif high > wide > 0:
            down = round(down * high / wide)
    tkhd = required_box(init.moov, b"tkhd", within=trak)
    (version,) = unpack("B", init.moov, tkhd.payload, tkhd.end)
    matrix = tkhd.payload + (52 if version else 40)
    a, b = unpack("2i", init.moov, matrix, tkhd.end)
    return (down, across) if abs(b) > abs(a) else (across, down)


def read_timescale(moov: bytes, header: BoxSpan) -> int:
    """Read the ticks per second of an `mvhd` or `mdhd` (8.2.2, 8.4.2)."""
    (version,) = unpack("B", moov, header.payload, header.end)
    (timescale,) = unpack("I", moov, header.payload + (20 if version else 12), header.end)
    if not timescale:
        raise MovieHeaderError("a time scale of zero")
    return timescale


def _read_defaults(moov: bytes) -> dict[int, SampleDefaults]:
    mvex = find(moov, b"moov", b"mvex")
    if mvex is None:
        return {}
    defaults = {}
    for span in boxes_in(moov, mvex):
        if span.kind == b"trex":
            track_id, *values = unpack("5I", moov, span.payload + 4, span.end)
            defaults[track_id] = SampleDefaults(*values)
    return defaults


def _read_track(
    moov: bytes, trak: BoxSpan, movie_timescale: int, defaults: Mapping[int, SampleDefaults]
) -> Track:
    tkhd = required_box(moov, b"tkhd", within=trak)
    (version,) = unpack("B", moov, tkhd.payload, tkhd.end)
    (track_id,) = unpack("I", moov, tkhd.payload + (20 if version else 12), tkhd.end)
    timescale = read_timescale(moov, required_box(moov, b"mdia", b"mdhd", within=trak))
    hdlr = required_box(moov, b"mdia", b"hdlr", within=trak)
    (handler,) = unpack("I", moov, hdlr.payload + 8, hdlr.end)
    track = Track(
        track_id=track_id,
        handler=handler.to_bytes(4, "big").decode("latin-1"),
        timescale=timescale,
        codec="",
        delay=_read_delay(moov, trak, timescale, movie_timescale),
        defaults=defaults.get(track_id, SampleDefaults()),
    )
    stsd = required_box(moov, b"mdia", b"minf", b"stbl", b"stsd", within=trak)
    return _with_sample_entry(track, moov, stsd)


def _with_sample_entry(track: Track, moov: bytes, stsd: BoxSpan) -> Track:
    """Add the codec and size of the first sample description (8.5.2, 12.1.3, 12.2.3)."""
    entry = next(children(moov, stsd.payload + 8, stsd.end), None)
    if entry is None:
        raise MovieHeaderError("a track without a sample description")
    codec = entry.kind.decode("ascii")
    if track.handler == VIDEO:
        width, height = unpack("2H", moov, entry.payload + 24, entry.end)
        if codec == "mp4v":
            codec = _OBJECT_TYPES.get(_object_type(moov, entry), codec)
        return attrs.evolve(track, codec=codec, width=width, height=height)
    if track.handler == AUDIO:
        (channels,) = unpack("H", moov, entry.payload + 16, entry.end)
        (rate,) = unpack("H", moov, entry.payload + 24, entry.end)
        return attrs.evolve(
            track, codec=codec, channels=channels, sample_rate=rate or track.timescale
        )
    return attrs.evolve(track, codec=codec)


def _object_type(moov: bytes, entry: BoxSpan) -> int:
    """Return the format of an `mp4v` entry (ISO/IEC 14496-1, 7.2.6); 0: unknown."""
    for span in children(moov, entry.payload + 78, entry.end):
        if span.kind == b"esds" and (at := decoder_config(moov, span)) is not None:
            return unpack("B", moov, at, span.end)[0]
    return 0


def decoder_config(moov: bytes, esds: BoxSpan) -> int | None:
    """Return where the content of an `esds` box's decoder configuration begins; None: not there.

    Its first byte is the format (ISO/IEC 14496-1, 7.2.6.6). Raises MediaError.
    """
    at = descriptor(moov, esds.payload + 4, esds.end, tag=3)
    (flags,) = unpack("B", moov, at + 2, esds.end)
    if flags & 0x60:  # a URL or a clock reference: not used in files
        return None
    return descriptor(moov, at + 3 + (2 if flags & 0x80 else 0), esds.end, tag=4)


def descriptor(moov: bytes, at: int, end: int, *, tag: int) -> int:
    """Return where the content of the descriptor at `at` begins. Raises MediaError."""
    if unpack("B", moov, at, end)[0] != tag:
        raise MovieHeaderError(f"descriptor {tag} is missing")
    for length in range(1, 5):
        if not unpack("B", moov, at + length, end)[0] & 0x80:
            return at + length + 1
    raise MovieHeaderError("a descriptor's size has no end")


def _read_delay(moov: bytes, trak: BoxSpan, timescale: int, movie_timescale: int) -> Fraction:
    """Return the delay in seconds that an edit list gives a track (8.6.6).

    Empty edits add to it, and the first other edit's media time is subtracted; a recording that
    camd has begun and not finished has these two and no others.
    """
    edts = find(moov, b"edts", within=trak)
    if edts is None:
        return Fraction(0)
    elst = required_box(moov, b"elst", within=edts)
    version, _, count = unpack("BxHI", moov, elst.payload, elst.end)
    form, size = ("Qq", 20) if version else ("Ii", 12)
    delay = Fraction(0)
    for index in range(min(count, 16)):
        duration, media_time = unpack(form, moov, elst.payload + 8 + index * size, elst.end)
        if media_time != -1:
            return delay - Fraction(media_time, timescale)
        delay += Fraction(duration, movie_timescale)
    return delay
