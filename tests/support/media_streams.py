"""Fragmented MP4 made by hand: boxes, and the stream of a fake camera."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fractions import Fraction

import attrs

from camd.capture.consumer import CapturedFragment
from camd.capture.rules.joining import FragmentJoiner
from camd.clock import Anchor
from camd.mp4.boxes import box, full_box
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.recording.recording_queue import QueueDrop, QueueItem

NON_SYNC = 0x0101_0000
SYNC = 0x0200_0000


@attrs.frozen
class Sample:
    """One sample of a track, as a reader should find it."""

    size: int
    duration: int = 512
    sync: bool = True
    offset: int = 0

    @property
    def flags(self) -> int:
        """The flags word of 8.8.3.1."""
        return SYNC if self.sync else NON_SYNC


def u32(*values: int) -> bytes:
    """Pack unsigned numbers."""
    return struct.pack(f">{len(values)}I", *values)


def trak(
    track_id: int,
    handler: bytes = b"vide",
    timescale: int = 15360,
    entry: bytes = b"avc1",
    extra: bytes = b"",
    edts: bytes = b"",
) -> bytes:
    """Build a track of 320x180 or of two channels at 48 kHz."""
    tkhd = full_box(b"tkhd", 0, 3, u32(0, 0, track_id, 0, 0), bytes(60))
    mdhd = full_box(b"mdhd", 0, 0, u32(0, 0, timescale, 0), b"\x55\xc4\x00\x00")
    hdlr = full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"x\0")
    if handler == b"vide":
        fields = bytes(24) + struct.pack(">HH", 320, 180) + bytes(50)
        media_header = full_box(b"vmhd", 0, 1, bytes(8))
    else:
        fields = bytes(16) + struct.pack(">HH4xHH", 2, 16, 48000, 0)
        media_header = full_box(b"smhd", 0, 0, bytes(4))
    stsd = full_box(b"stsd", 0, 0, u32(1), box(entry, fields, extra))
    empty = [full_box(kind, 0, 0, u32(0)) for kind in (b"stts", b"stsc", b"stco")]
    stbl = box(b"stbl", stsd, *empty, full_box(b"stsz", 0, 0, u32(0, 0)))
    dinf = box(b"dinf", full_box(b"dref", 0, 0, u32(1), full_box(b"url ", 0, 1)))
    mdia = box(b"mdia", mdhd, hdlr, box(b"minf", media_header, dinf, stbl))
    return box(b"trak", tkhd, edts, mdia)


def moov(*traks: bytes, trex: bytes = b"", timescale: int = 1000) -> bytes:
    """Build a movie box for fragments."""
    mvhd = full_box(b"mvhd", 0, 0, u32(0, 0, timescale, 0), bytes(76), u32(len(traks) + 1))
    return box(b"moov", mvhd, *traks, box(b"mvex", trex))


def trex(track_id: int, duration: int = 0, size: int = 0, flags: int = 0) -> bytes:
    """Build one track's defaults."""
    return full_box(b"trex", 0, 0, u32(track_id, 1, duration, size, flags))


FTYP = box(b"ftyp", b"iso5", u32(512), b"iso5iso6mp41")
VIDEO_ONLY = FTYP + moov(trak(1), trex=trex(1))
VIDEO_AND_AUDIO = FTYP + moov(trak(1), trak(2, b"soun", 48000, b"mp4a"), trex=trex(1) + trex(2))


def trun(samples: list[Sample], data_offset: int, version: int = 1) -> bytes:
    """Build a run with all fields of every sample."""
    rows = [struct.pack(">IIIi", s.duration, s.size, s.flags, s.offset) for s in samples]
    head = struct.pack(">Ii", len(samples), data_offset)
    return full_box(b"trun", version, 0xF01, head, *rows)


def traf(track_id: int, decode_time: int, *truns: bytes) -> bytes:
    """Build a track's part of a fragment, with a 64-bit decode time."""
    tfhd = full_box(b"tfhd", 0, 0x20000, u32(track_id))
    return box(b"traf", tfhd, full_box(b"tfdt", 1, 0, struct.pack(">q", decode_time)), *truns)


def fragment(*tracks: tuple[int, int, list[Sample]], sequence: int = 1) -> bytes:
    """Build moof and mdat from (track, decode time, samples), each track's data in one piece."""

    def build(start: int) -> bytes:
        trafs = []
        for track_id, decode_time, samples in tracks:
            trafs.append(traf(track_id, decode_time, trun(samples, start)))
            start += sum(sample.size for sample in samples)
        return box(b"moof", full_box(b"mfhd", 0, 0, u32(sequence)), *trafs)

    data = b"".join(
        bytes([track_id * 16 + index % 16]) * sample.size
        for track_id, _, samples in tracks
        for index, sample in enumerate(samples)
    )
    return build(len(build(0)) + 8) + box(b"mdat", data)


def prft(track_id: int, seconds: Fraction, flags: int = 0x18) -> bytes:
    """Build a producer reference time for `seconds` since 1970."""
    ntp = round((seconds + 2_208_988_800) * (1 << 32))
    return full_box(b"prft", 1, flags, struct.pack(">IQQ", track_id, ntp, 0))


def group(count: int, size: int = 100) -> list[Sample]:
    """Make a key frame and what follows it until the next."""
    return [Sample(size + index, sync=index == 0) for index in range(count)]


# --- streams of a camera --------------------------------------------------------------


TIMESCALE = 15360
FPS = 10
TICKS = TIMESCALE // FPS
EPOCH = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)


@attrs.define(eq=False)
class FakeStream:
    """The stream of one FFmpeg process: 10 frames a second, a key frame every `group` frames."""

    frame_bytes: int = 100
    group: int = 10  # frames from one key frame to the next
    frames: int = attrs.field(default=0, init=False)
    sent: list[bytes] = attrs.field(factory=list, init=False)
    _fragments: int = attrs.field(default=0, init=False)

    head = VIDEO_ONLY

    def next(self, count: int) -> bytes:
        """Build a fragment of the next `count` frames."""
        samples = [
            Sample(self.frame_bytes, TICKS, sync=number % self.group == 0)
            for number in range(self.frames, self.frames + count)
        ]
        self._fragments += 1
        data = fragment((1, self.frames * TICKS, samples), sequence=self._fragments)
        self.frames += count
        self.sent.append(data)
        return data

    def skip(self, count: int) -> None:
        """Drop the next frames, as a camera does on a busy bus."""
        self.frames += count


def read(data: bytes) -> tuple[Init, list[Fragment]]:
    """Read bytes as camd does."""
    init, *fragments = FragmentReader().feed(data)
    assert isinstance(init, Init)
    return init, [each for each in fragments if isinstance(each, Fragment)]


def fragments_of(
    *counts: int, frame_bytes: int = 100, group: int = 10
) -> tuple[Init, list[Fragment]]:
    """Make fragments of so many frames each."""
    stream = FakeStream(frame_bytes, group)
    return read(stream.head + b"".join(stream.next(count) for count in counts))


def captured(fragments: list[Fragment], since: datetime = EPOCH) -> Iterator[CapturedFragment]:
    """Return fragments as captured ones that arrived from `since` on, without a gap."""
    for each in fragments:
        yield CapturedFragment(each, each.end_seconds, Anchor(0.0, since))


def frames_in(data: bytes) -> tuple[int, bytes]:
    """Count the frames that a recorded file's fragments hold, and return their pictures.

    Works for a file that grows, one that was torn, and one that is sealed.
    """
    _, fragments = read(data[:32] + data[48:])
    pictures = b"".join(each.mdat[8:] for each in fragments)
    return sum(each.frames for each in fragments), pictures


def shape(items: Sequence[QueueItem]) -> list[str]:
    """Describe items as text: key frames as K, others as p, drops with their number of frames."""
    words = []
    for item in items:
        match item:
            case CapturedFragment():
                words.append("K" if item.fragment.starts_with_sync else "p")
            case QueueDrop():
                words.append(f"-{item.frames}")
            case _:
                words.append(type(item).__name__)
    return words


def joined(init: Init, frames: list[Fragment], seconds: float = 0.5) -> list[Fragment]:
    """Join a stream as the hub does."""
    joiner, found = FragmentJoiner(seconds), []
    joiner.begin(init)
    for frame in frames:
        if joiner.closes_before(frame):
            found.append(joiner.take().fragment)
        joiner.add(frame, frame.end_seconds)
        if joiner.is_complete:
            found.append(joiner.take().fragment)
    return found + ([joiner.take().fragment] if joiner.unjoined else [])
