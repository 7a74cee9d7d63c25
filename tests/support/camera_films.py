"""Films for cameras: fragments that a child could deliver, as bytes and as read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import attrs
from media_streams import VIDEO_ONLY, Sample, fragment

from camd.capture.consumer import CapturedFragment, QueueItem, QueueOverflowed
from camd.mp4.fragments import Fragment, FragmentReader, Init

TIMESCALE = 15360
FPS = 10
TICKS = TIMESCALE // FPS
EPOCH = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)


@attrs.define(eq=False)
class Film:
    """Pictures at 10 a second, a key frame in every second one after another, of one child."""

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
        """Leave out the next frames, as a camera does that is short of something."""
        self.frames += count


def read(data: bytes) -> tuple[Init, list[Fragment]]:
    """Read bytes as camd does."""
    init, *fragments = FragmentReader().feed(data)
    assert isinstance(init, Init)
    return init, [each for each in fragments if isinstance(each, Fragment)]


def filmed(*counts: int, frame_bytes: int = 100, group: int = 10) -> tuple[Init, list[Fragment]]:
    """Make fragments of so many frames each."""
    film = Film(frame_bytes, group)
    return read(film.head + b"".join(film.next(count) for count in counts))


def captured(fragments: list[Fragment], since: datetime = EPOCH) -> Iterator[CapturedFragment]:
    """Say of fragments that they were there from `since` on, without a hole."""
    for each in fragments:
        start = since + timedelta(seconds=each.start_seconds)
        yield CapturedFragment(each, start, start + timedelta(seconds=each.duration_seconds))


def frames_in(data: bytes) -> tuple[int, bytes]:
    """Count the frames that a recorded file's fragments hold, and return their pictures.

    Works for a file that grows, one that was torn, and one that is sealed.
    """
    _, fragments = read(data[:32] + data[48:])
    pictures = b"".join(each.mdat[8:] for each in fragments)
    return sum(each.frames for each in fragments), pictures


def shape(items: Sequence[QueueItem]) -> list[str]:
    """Write items down: key frames as K, others as p, drops with their number of frames."""
    words = []
    for item in items:
        match item:
            case CapturedFragment():
                words.append("K" if item.fragment.starts_with_sync else "p")
            case QueueOverflowed():
                words.append(f"-{item.frames}")
            case _:
                words.append(type(item).__name__)
    return words
