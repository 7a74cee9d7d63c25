"""Excerpts of MKV recordings by programs that fail in every way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from support.recordings import segment

from camd.ffmpeg.binary import FFmpegBinary
from camd.mp4.boxes import MediaError
from camd.snapshots.mkv_frame import MkvFrames, read_excerpt

TIME = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("head -c 3000000 /dev/zero", "the group of pictures is too large"),
        ("exec sleep 1000", "FFmpeg did not read it within 0.3 s"),
        ("exit 3", "FFmpeg cannot read it (exit status 3)"),
        ("exit 0", "there are no frames"),
        ("head -c 5000 /dev/urandom", ""),
    ],
)
async def test_a_program_that_reads_nothing_useful_is_an_error(
    tmp_path: Path, script: str, message: str
) -> None:
    """Too much, too slow, an exit status, nothing, garbage: told, and bounded."""
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)

    async def find() -> FFmpegBinary:
        return FFmpegBinary(program, (7, 1))

    frames = MkvFrames(find, seconds=0.3 if "sleep" in script else 30, most_bytes=1_000_000)
    stored = segment("a.mkv", start=TIME)
    with trio.fail_after(100), pytest.raises(MediaError) as error:
        await frames.find(tmp_path / "a.mkv", stored, TIME + timedelta(seconds=1))
    assert message in str(error.value)


def test_a_header_without_frames_is_an_error() -> None:
    """Nothing at all has no frame to show."""
    with pytest.raises(MediaError):
        read_excerpt(b"")
