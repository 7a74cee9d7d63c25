"""What FFmpeg's fragmented MP4 says: an init, then fragments (ISO/IEC 14496-12 clause 8.8)."""

from __future__ import annotations

import attrs

from camd.mp4.boxes import Box, BoxReader, MediaError
from camd.mp4.init import Init, Track, read_init, unpack
from camd.mp4.movie_fragment import FragmentError, TrackRun, read_moof

__all__ = ["Fragment", "FragmentError", "FragmentReader", "Init", "Track", "TrackRun"]

MAX_IDLE_BOXES = 1000  # that carry no samples, one behind the other
NTP_OFFSET_SECONDS = 2_208_988_800  # from 1900-01-01 to 1970-01-01
_WRITTEN = 0x18  # prft flags: the time is when the fragment was written


@attrs.frozen
class Fragment:
    """One moof and its mdat. Times are on the decode timeline of the stream's video track.

    `wall_micros` is when the first video sample was there, in microseconds since 1970; `shown`
    is its presentation time in ticks, where the stream says it.
    """

    moof: bytes = attrs.field(repr=False)
    mdat: bytes = attrs.field(repr=False)
    runs: tuple[TrackRun, ...]
    video: TrackRun | None
    timescale: int  # of the video track
    wall_micros: int | None = None
    shown: int | None = None

    @property
    def starts_with_sync(self) -> bool:
        """Whether decoding can begin here: the first video sample is a sync sample."""
        return self.video is not None and self.video.sync[:1] == b"\x01"

    @property
    def frames(self) -> int:
        """How many video samples there are; 0 when there is only audio."""
        return self.video.count if self.video else 0

    @property
    def start_seconds(self) -> float:
        """Decode time of the first video sample; of the first sample of all without video."""
        if self.video:
            return self.video.decode_time / self.timescale
        return min((run.decode_time / run.timescale for run in self.runs), default=0.0)

    @property
    def duration_seconds(self) -> float:
        """How long the video samples last; 0 without video."""
        return self.video.duration / self.timescale if self.video else 0.0

    @property
    def end_seconds(self) -> float:
        """Decode time just behind the last video sample."""
        return self.start_seconds + self.duration_seconds

    @property
    def size_bytes(self) -> int:
        """What this fragment adds to a file."""
        return len(self.moof) + len(self.mdat)


@attrs.frozen
class _Reference:
    """A producer reference time (8.16.5): media of `track_id` against the wall clock."""

    track_id: int
    flags: int
    wall_micros: int
    media_time: int  # of its first sample, in ticks


class FragmentReader:
    """Turns chunks of a fragmented MP4, however cut, into one Init and its Fragments.

    Boxes that carry no samples are skipped. Raises MediaError (BoxError, FragmentError,
    InitError) when the bytes are something else; whole fragments that came before are returned
    first, and the next call raises.
    """

    def __init__(self, boxes: BoxReader | None = None) -> None:
        self._boxes = BoxReader() if boxes is None else boxes
        self._ftyp = b""
        self._init: Init | None = None
        self._moof: bytes | None = None
        self._reference: _Reference | None = None
        self._error: MediaError | None = None
        self._idle = 0  # boxes since the last fragment
        self._seen = 0
        self._position = 0

    @property
    def position(self) -> int:
        """How many bytes of the stream the init and the fragments returned so far took."""
        return self._position

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Init | Fragment]:
        """Take the next bytes; return what they complete."""
        if self._error:
            raise self._error
        events: list[Init | Fragment] = []
        try:
            for box in self._boxes.feed(chunk):
                self._seen += len(box.data)
                self._idle += 1
                if self._idle > MAX_IDLE_BOXES:
                    raise FragmentError(f"{MAX_IDLE_BOXES} boxes in a row without a fragment")
                if event := self._receive(box):
                    self._position = self._seen
                    events.append(event)
        except MediaError as error:
            self._error = error
            if not events:
                raise
        return events

    def close(self) -> list[Init | Fragment]:
        """Say that the stream has ended; raises MediaError when it ended inside a fragment."""
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
        track = self._init.video
        video = next((run for run in runs if run.track_id == track.track_id), None)
        wall = _wall_of_video(self._reference, runs, video)
        named = self._reference is not None and self._reference.track_id == track.track_id
        shown = self._reference.media_time if self._reference is not None and named else None
        self._moof = self._reference = None
        self._idle = 0
        return Fragment(moof, mdat.data, runs, video, track.timescale, wall, shown)


def _read_reference(box: Box) -> _Reference:
    version, high, low, track_id, ntp = unpack("BBHIQ", box.data, box.header_size, len(box.data))
    form = "q" if version else "I"
    (media_time,) = unpack(form, box.data, box.header_size + 16, len(box.data))
    seconds, fraction = divmod(ntp, 1 << 32)
    micros = (seconds - NTP_OFFSET_SECONDS) * 1_000_000 + (fraction * 1_000_000 >> 32)
    return _Reference(track_id, high << 16 | low, micros, media_time)


def _wall_of_video(
    reference: _Reference | None, runs: tuple[TrackRun, ...], video: TrackRun | None
) -> int | None:
    """Move a reference to the first video sample.

    It is about the first sample of the fragment. With the flags 0x18 the clock was read when the
    fragment was complete, so the fragment's length comes off.
    """
    named = next((run for run in runs if reference and run.track_id == reference.track_id), None)
    if reference is None or named is None or video is None:
        return None
    micros = reference.wall_micros
    if reference.flags == _WRITTEN:
        micros -= named.duration * 1_000_000 // named.timescale
    micros += video.decode_time * 1_000_000 // video.timescale
    return micros - named.decode_time * 1_000_000 // named.timescale
