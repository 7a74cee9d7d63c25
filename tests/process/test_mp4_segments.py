"""Segments of FFmpeg's streams contain everything, play while they grow, and are sealed."""

from __future__ import annotations

import struct
from pathlib import Path

import attrs
import pytest
from support import ffmpeg_media as ffmpeg

from camd.mp4.boxes import MediaError
from camd.mp4.fragments import Fragment, FragmentReader, Init
from camd.mp4.inspect import read_segment_head, sealed_moov_offset, summarise_segment
from camd.mp4.interrupted import read_interrupted
from camd.mp4.segment import CHECKSUM_BOX_SIZE, SegmentLayout

CODECS = {"h264-aac": "avc1", "h264-late-audio": "avc1", "mjpeg": "jpeg", "h265-opus": "hvc1"}
CODECS["h265-open"] = "hvc1"


@pytest.fixture(params=ffmpeg.PROGRAMS, scope="module")
def program(request):
    """One of the FFmpegs of this machine."""
    return request.param


@pytest.fixture(params=sorted(ffmpeg.ENCODINGS), scope="module")
def recorded(request, program, tmp_path_factory):
    """A stream, and the segments that camd makes of it."""
    folder = tmp_path_factory.mktemp("segments")
    stream = ffmpeg.encode(program, request.param)
    init, fragments = ffmpeg.events(stream)
    (folder / "source.mp4").write_bytes(stream)
    made = []
    for number, group in enumerate(ffmpeg.cut(fragments)):
        index, grown = ffmpeg.grow(init, group, number)
        growing, sealed = folder / f"{number}.growing.mp4", folder / f"{number}.mp4"
        growing.write_bytes(grown)
        sealed.write_bytes(ffmpeg.seal(index, grown))
        made.append((index, growing, sealed))
    assert len(made) == 3 or request.param.startswith("h265")
    return request.param, folder / "source.mp4", made


def frames(program: str, path: Path, *before: str) -> int:
    """Decode the video; any message of FFmpeg is a failure."""
    done = ffmpeg.run(program, *before, "-i", str(path), "-f", "framemd5", "-an", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    return sum(not line.startswith(b"#") for line in done.stdout.splitlines())


def streams(name: str) -> str:
    """Which kinds of streams an encoding has."""
    return "v" if name == "mjpeg" else "va"


def test_joined_segments_are_the_source_packet_by_packet(program, recorded):
    """Nothing is lost, doubled, changed or hidden by an edit (I3), growing or sealed."""
    name, source, made = recorded
    for kind in streams(name):
        original = [packet[1:] for packet in ffmpeg.packets(program, source, kind)]
        for which in (1, 2):
            joined = [p[1:] for m in made for p in ffmpeg.packets(program, m[which], kind)]
            assert joined == original


def test_sealed_segments_decode_without_a_message(program, recorded):
    """Decoding yields exactly the frames that the index counted, and no message."""
    name, _, made = recorded
    for index, growing, sealed in made:
        lost = 2 if name == "h265-open" and index.metadata.number else 0
        assert frames(program, sealed) == index.frames - lost
        assert frames(program, growing) == index.frames - lost
        done = ffmpeg.run(program, "-i", str(sealed), "-f", "null", "-")
        assert done.stderr == b""


def test_presentation_begins_at_zero_and_keeps_audio_in_step(program, recorded):
    """Audio has the same offset to the video as in the source."""
    name, source, made = recorded
    video = list(ffmpeg.packets(program, source, "v"))
    audio = list(ffmpeg.packets(program, source, "a")) if "a" in streams(name) else []
    for index, _, sealed in made:
        shown = ffmpeg.packets(program, sealed, "v")
        starts = [min(time for time, _, _ in shown)]
        shift = video.pop(0)[0] - shown[0][0]
        del video[: index.frames - 1]
        if audio:
            heard = ffmpeg.packets(program, sealed, "a")
            starts.append(heard[0][0])
            for (time, *_), (original, *_) in zip(heard, audio, strict=False):
                assert time + shift == pytest.approx(original, abs=100)
            del audio[: len(heard)]
        assert 0 <= min(starts) <= (70_000 if name == "h265-open" else 20)


def test_sealed_segments_are_seekable(program, recorded):
    """A seek to the second half decodes the second half only."""
    name, _, made = recorded
    if name == "h265-open":
        pytest.skip("its key frames are not where the seconds are")
    index, _, sealed = made[0]
    assert 1 <= frames(program, sealed, "-ss", "1.0") <= index.frames - 27


def test_a_growing_segment_that_was_torn_still_plays(program, recorded):
    """Wherever the file ends, the fragments before decode (I1)."""
    _, _, made = recorded
    _, growing, _ = made[0]
    data = growing.read_bytes()
    torn = growing.with_suffix(".torn.mp4")
    torn.write_bytes(data[: len(data) * 3 // 4])
    done = ffmpeg.run(program, "-i", str(torn), "-f", "framemd5", "-an", "-")
    assert sum(not line.startswith(b"#") for line in done.stdout.splitlines()) >= 30


def test_a_sealed_segment_has_its_metadata(recorded):
    """Duration, frames, codec, size and identity are read back from the file alone."""
    name, _, made = recorded
    for index, growing, sealed in made:
        data = sealed.read_bytes()
        offset = sealed_moov_offset(data[:48])
        summary = summarise_segment(data[:65536], data[offset:])
        assert summary.metadata == index.metadata
        assert (summary.frames, summary.duration_seconds) == (index.frames, index.duration_seconds)
        assert (summary.codec, summary.width, summary.height) == (CODECS[name], 320, 180)
        assert sealed_moov_offset(growing.read_bytes()[:48]) is None
        assert data[48:offset] == growing.read_bytes()[48:]


def test_a_growing_file_rebuilds_its_own_index(recorded):
    """Recovery reads back the same head, and seals to the same bytes."""
    _, _, made = recorded
    for index, growing, sealed in made:
        grown = growing.read_bytes()
        torn = grown + b"\0\0\1"
        found = read_interrupted(lambda at, size, torn=torn: torn[at : at + size], len(torn))
        assert found is not None
        assert (found.whole_bytes, found.torn_bytes) == (len(grown), 3)
        assert found.index.header == index.header
        assert found.index.final_moov() == index.final_moov()
        assert ffmpeg.seal(found.index, grown) == sealed.read_bytes()


def test_fragments_of_a_growing_file_are_rendered_to_the_same_bytes(recorded):
    """Fragments read from a file and rendered again give the same bytes."""
    _, _, made = recorded
    for _, growing, _ in made:
        grown = growing.read_bytes()
        init, identity = read_segment_head(grown)
        first, *fragments = FragmentReader().feed(grown)
        assert first.moov == init.moov
        assert all(isinstance(fragment, Fragment) for fragment in fragments)
        rebuilt = SegmentLayout(init, fragments[0], identity)
        for fragment in fragments:
            assert rebuilt.append(fragment)[:2] == [fragment.moof, fragment.mdat]


def test_a_copied_source_gives_the_same_packets(program, recorded):
    """FFmpeg's stream copy of a sealed segment, cut again, still holds every packet."""
    _, _, made = recorded
    _, _, sealed = made[0]
    flags = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
    copied = ffmpeg.run(
        *(program, "-i", str(sealed), "-map", "0", "-c", "copy", *flags),
        *("-frag_duration", "500000", "-f", "mp4", "pipe:1"),
    )
    init, fragments = ffmpeg.events(copied.stdout)
    index, grown = ffmpeg.grow(init, fragments)
    again = sealed.with_suffix(".again.mp4")
    again.write_bytes(ffmpeg.seal(index, grown))
    original = ffmpeg.packets(program, sealed, "v")
    assert [p[1:] for p in ffmpeg.packets(program, again, "v")] == [p[1:] for p in original]


def test_random_tails_give_no_fragment(recorded):
    """Garbage after a segment raises or is incomplete; it never gives a fragment."""
    _, _, made = recorded
    data = made[0][1].read_bytes()
    reader = FragmentReader()
    *whole, last = reader.feed(data)
    with pytest.raises(MediaError):
        reader.feed(b"\x00\x00\x00\x03junk")
    torn = FragmentReader()
    assert torn.feed(data[: -CHECKSUM_BOX_SIZE - 1]) == whole
    assert torn.feed(data[-CHECKSUM_BOX_SIZE - 1 :]) == [last]


def jumped(init: Init, fragment: Fragment, seconds: int) -> Fragment:
    """Return a fragment with its times on a clock that was set by `seconds`."""
    moof, runs = bytearray(fragment.moof), []
    for run in fragment.runs:
        time = run.decode_time + seconds * run.timescale
        struct.pack_into(">q", moof, run.tfdt_at, time)
        runs.append(attrs.evolve(run, decode_time=time))
    video = next((run for run in runs if run.track_id == init.video.track_id), None)
    return attrs.evolve(fragment, moof=bytes(moof), runs=tuple(runs), video=video)


@pytest.mark.parametrize("jump", [10**9, -(10**9), -30, 300])
def test_a_stream_whose_times_jump_makes_a_file_that_plays(program, tmp_path, jump):
    """All packets are there, growing and sealed, and sound stays with its pictures."""
    init, fragments = ffmpeg.events(ffmpeg.encode(program, "h264-aac", seconds=2))
    moved = [jumped(init, each, jump if at >= 2 else 0) for at, each in enumerate(fragments)]
    index, grown = ffmpeg.grow(init, moved)
    growing, sealed = tmp_path / "growing.mp4", tmp_path / "sealed.mp4"
    growing.write_bytes(grown)
    sealed.write_bytes(ffmpeg.seal(index, grown))
    hole = jump if jump == 300 else 0
    assert float(index.duration) == pytest.approx(2 + hole, abs=0.05)
    for path in (growing, sealed):
        found = [ffmpeg.packets(program, path, kind) for kind in "va"]
        assert [len(each) for each in found] == [
            sum(run.count for each in fragments for run in each.runs if run.track_id == track)
            for track in (1, 2)
        ]
        ends = [max(time for time, *_ in each) for each in found]
        assert ends[0] == pytest.approx((2 + hole) * 1e6, abs=200_000)
        assert ends[1] == pytest.approx(ends[0], abs=100_000)
