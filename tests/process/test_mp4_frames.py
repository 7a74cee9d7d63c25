"""What FFmpeg writes frame by frame, joined: the same packets, times and durations."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import ffmpeg_media as ffmpeg
from support.media_streams import joined

from camd.mp4.frames.frame_fragments import FrameFragmentReader


@pytest.mark.parametrize("program", ffmpeg.PROGRAMS)
@pytest.mark.parametrize("name", sorted(ffmpeg.ENCODINGS))
def test_joined_frames_are_the_stream_that_ffmpeg_wrote(
    program: str, name: str, tmp_path: Path
) -> None:
    """With B-frames, with sound beside and before the pictures, with key frames alone."""
    stream = ffmpeg.encode_frames(program, name)
    init, frames = ffmpeg.events(stream)
    reader = FrameFragmentReader()
    alike = [e for at in range(0, len(stream), 4096) for e in reader.feed(stream[at : at + 4096])]
    assert alike == [init, *frames]
    assert reader.compared > len(frames) * 0.8
    fragments = joined(init, frames)
    assert len(fragments) < len(frames) / 2
    assert sum(each.frames for each in fragments) == sum(each.frames for each in frames)
    source, target = tmp_path / "source.mp4", tmp_path / "joined.mp4"
    source.write_bytes(stream)
    pieces = [piece for each in fragments for piece in (each.moof, each.mdat)]
    target.write_bytes(b"".join((init.ftyp, init.moov, *pieces)))
    for track in ("v", "a") if init.audio else ("v",):
        packets = ffmpeg.packets(program, target, track)
        assert packets == ffmpeg.packets(program, source, track)
        assert len(packets) > 50
