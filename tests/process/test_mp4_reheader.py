"""When a stream's parameter sets change, the following fragments get a new header."""

from __future__ import annotations

import functools
import struct
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ffmpeg_media as ffmpeg

from camd.capture.consumer import CaptureBegan, CapturedFragment, EndOfStream
from camd.capture.hub import StreamHub
from camd.capture.rules.preroll import PrerollBuffer
from camd.clock import SYSTEM_CLOCK
from camd.mp4.boxes import children
from camd.mp4.fragments import Fragment, Init
from camd.mp4.h26x.parameter_sets import kind_of, nal_units_in, reader_of_bytes
from camd.mp4.h26x.reheader import Reheader, as_hvc1, can_share_file
from camd.mp4.h26x.sample_entry import ENTRY_FIELDS, VideoHeader, video_entry, video_header
from camd.mp4.init import read_init
from camd.recording.recording_queue import QueueItem, RecordingQueue

_264 = "-c:v libx264 -profile:v main -x264-params repeat-headers=1"
_265 = "-c:v libx265 -tag:v hev1 -x265-params log-level=error:repeat-headers=1"
STREAMS = {
    "small": ("320x180", _264),
    "large": ("640x360", _264),
    "qualities": ("320x180", f"{_264}:cabac=1"),  # another PPS
    "colours": ("320x180", f"{_264} -colorspace bt709"),  # another VUI
    "profile": ("320x180", f"{_264}:8x8dct=1 -profile:v high"),
    "small-265": ("320x180", _265),
    "large-265": ("640x360", _265),
}


@functools.cache
def stream(name: str) -> tuple[Init, tuple[Fragment, ...]]:
    """Encode three groups of pictures that each begin with their parameter sets."""
    size, options = STREAMS[name]
    done = ffmpeg.run(
        *(ffmpeg.PROGRAMS[1].values[0], "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", *options.split(), "-g", "5"),
        *("-t", "1.5", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
        *("-f", "mp4", "pipe:1"),
    )
    assert done.returncode == 0, done.stderr
    init, fragments = ffmpeg.events(done.stdout)
    assert len(fragments) == 3
    return init, tuple(fragments)


def header(init: Init) -> VideoHeader:
    """Read the video header of an init."""
    found = video_header(init)
    assert found is not None
    return found


def size(init: Init | None) -> tuple[int, int] | None:
    """Return the picture size in a new header."""
    return init and (init.video.width, init.video.height)


@pytest.mark.parametrize("name", STREAMS)
def test_sets_that_are_repeated_with_each_key_frame_change_nothing(name: str) -> None:
    """A stream that repeats its sets keeps its header."""
    init, fragments = stream(name)
    reheader = Reheader(init)
    assert [reheader.take(fragment) for fragment in fragments] == [None] * 3


def without_sets(init: Init) -> Init:
    """Empty the box of the decoder's configuration, as FFmpeg does that has seen no complete sets
    before it begins."""
    entry = video_entry(init)
    config = next(
        part
        for part in children(init.moov, entry.payload + ENTRY_FIELDS, entry.end)
        if part.kind in (b"avcC", b"hvcC")
    )
    moov = bytearray(init.moov[: config.payload] + init.moov[config.end :])
    gone, at, until = config.end - config.payload, 0, len(init.moov)
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry.kind, config.kind):
        around = next(
            each
            for each in children(init.moov, at, until)
            if each.kind == kind and each.start <= config.start < each.end
        )
        struct.pack_into(">I", moov, around.start, around.end - around.start - gone)
        at = around.payload + {b"stsd": 8, entry.kind: ENTRY_FIELDS}.get(kind, 0)
        until = around.end
    return read_init(init.ftyp, bytes(moov))


@pytest.mark.parametrize("name", ["small", "profile", "small-265"])
def test_a_header_without_sets_gets_those_of_the_first_key_frame(tmp_path: Path, name: str) -> None:
    """A camera that sends them with key frames alone, of which FFmpeg saw none before it began."""
    whole, fragments = stream(name)
    init = without_sets(whole)
    reheader = Reheader(init)
    made = reheader.take(fragments[0])
    assert made is not None
    assert set(header(made).sets) == set(header(whole).sets)
    assert reheader.take(fragments[1]) is None
    path = tmp_path / "whole.mp4"
    path.write_bytes(made.ftyp + made.moov + b"".join(f.moof + f.mdat for f in fragments))
    for program in ffmpeg.PROGRAMS:
        played = ffmpeg.run(program.values[0], "-i", str(path), "-f", "framemd5", "-")
        assert (played.returncode, played.stderr) == (0, b"")
        assert sum(not line.startswith(b"#") for line in played.stdout.splitlines()) == 15


@pytest.mark.parametrize("kind", ["", "-265"])
def test_another_picture_size_gives_another_header_each_time(kind: str) -> None:
    """From small to large and back, a header is made at each change and nowhere else."""
    init, small = stream(f"small{kind}")
    larger, large = stream(f"large{kind}")
    reheader = Reheader(init)
    made = [reheader.take(each) for each in (small[0], *large[:2], *small[:2], large[2])]
    sizes = [size(each) for each in made]
    assert sizes == [None, (640, 360), None, (320, 180), None, (640, 360)]
    assert made[1] is not None
    assert set(header(made[1]).sets) == set(header(larger).sets)
    assert not can_share_file(init, made[1])
    assert can_share_file(made[1], larger)


@pytest.mark.parametrize("name", ["qualities", "profile"])
def test_other_sets_of_the_same_size_need_another_file(name: str) -> None:
    """Another PPS alone, or another profile, cannot be decoded with the old header."""
    init, small = stream("small")
    _, other = stream(name)
    reheader = Reheader(init)
    assert reheader.take(small[0]) is None
    made = reheader.take(other[0])
    assert size(made) == (320, 180)
    assert made is not None
    assert not can_share_file(init, made)


def test_another_way_to_show_the_same_pictures_needs_no_other_file() -> None:
    """A changed VUI is in the next header, and begins no new file."""
    init, small = stream("small")
    _, other = stream("colours")
    reheader = Reheader(init)
    assert reheader.take(small[0]) is None
    made = reheader.take(other[0])
    assert made is not None
    assert header(made).sets != header(init).sets
    assert can_share_file(init, made)


def test_sets_in_another_order_are_the_same_sets() -> None:
    """Which of SPS and PPS comes first does not matter."""
    init, small = stream("small")
    assert Reheader(init).take(reordered(small[0], header(init))) is None


def reordered(fragment: Fragment, known: VideoHeader) -> Fragment:
    """Put the first sample's parameter sets in another order."""
    assert fragment.video is not None
    start = fragment.video.chunks[0].offset - len(fragment.moof)
    units = list(
        nal_units_in(
            reader_of_bytes(fragment.mdat), start, fragment.video.sizes[0], known.nal_length
        )
    )
    raw = [fragment.mdat[u.start - known.nal_length : u.start + u.size] for u in units]
    sets = [kind_of(unit.header, known.codec) is not None for unit in units]
    swapped = [r for r, s in zip(raw, sets, strict=True) if s][::-1]
    mixed = swapped + [r for r, s in zip(raw, sets, strict=True) if not s]
    assert mixed != raw
    sample = b"".join(mixed)
    mdat = fragment.mdat[:start] + sample + fragment.mdat[start + len(sample) :]
    return attrs.evolve(fragment, mdat=mdat)


def test_a_change_within_a_group_takes_effect_at_the_next_key_frame() -> None:
    """Sets before any other picture are in the header at the next key frame."""
    init, small = stream("small")
    _, large = stream("large")
    assert large[0].video is not None
    unsynced = attrs.evolve(large[0].video, sync=bytes(large[0].video.count))
    reheader = Reheader(init)
    assert reheader.take(attrs.evolve(large[0], video=unsynced)) is None
    bare = attrs.evolve(small[1], mdat=bytes(len(small[1].mdat)))  # without sets of its own
    assert size(reheader.take(bare)) == (640, 360)


@given(st.data())
def test_damaged_samples_never_raise(data: st.DataObject) -> None:
    """For any samples there is a new header, or none."""
    name = data.draw(st.sampled_from(["small", "large-265"]))
    init, fragments = stream(name)
    mdat = bytearray(fragments[0].mdat)
    for _ in range(data.draw(st.integers(1, 8))):
        mdat[data.draw(st.integers(8, 80))] = data.draw(st.integers(0, 255))
    made = Reheader(init).take(attrs.evolve(fragments[0], mdat=bytes(mdat)))
    assert made is None or made.video.track_id == init.video.track_id


def test_h265_whose_header_has_all_sets_is_named_so() -> None:
    """The sample entry is hvc1 with complete arrays, as a muxer writes it."""
    init, _ = stream("small-265")
    named = as_hvc1(init)
    assert (init.video.codec, named.video.codec) == ("hev1", "hvc1")
    assert not header(named).in_samples
    assert header(named).sets == header(init).sets
    assert len(named.moov) == len(init.moov)
    assert can_share_file(named, named)
    assert as_hvc1(named) is named
    config = named.moov.index(b"hvcC") + 4
    assert named.moov[config + 23] == 0x80 | 32  # complete, and its first kind is VPS


async def test_preroll_keeps_its_own_header() -> None:
    """A recording that begins in the past has the old header first, then the new one."""
    init, small = stream("small")
    _, large = stream("large")
    feed, queue = StreamHub(PrerollBuffer(60.0, 1 << 20), clock=SYSTEM_CLOCK), RecordingQueue()
    feed.begin(init)
    for fragment in (small[0], large[0], large[1]):
        feed.deliver(fragment)
    assert feed.video is not None
    assert (feed.video.width, feed.video.height) == (640, 360)
    async with feed.attach(queue, since=datetime(2000, 1, 1, tzinfo=UTC)):
        queue.put(EndOfStream())
    items: list[QueueItem] = []
    while EndOfStream() not in items:
        items.append(await queue.get())
    assert items[0] == CaptureBegan(feed.init)
    held = [size(item.init) for item in items[1:] if isinstance(item, CapturedFragment)]
    assert held == [(320, 180), (640, 360), (640, 360)]


def test_other_streams_are_left_as_they_are() -> None:
    """H.264 keeps its name."""
    init, _ = stream("small")
    assert as_hvc1(init) is init
