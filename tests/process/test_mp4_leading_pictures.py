"""A file where decoding begins only after some frames says how many these are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from real_camera import REQUEST, open_real_camera
from support import ffmpeg_media as ffmpeg

from camd.config.schema import RecordingConfig
from camd.mp4.h26x.leading_pictures import leading_frames
from camd.mp4.inspect import sealed_moov_offset
from camd.mp4.interrupted import leading_frames_of, read_interrupted
from camd.mp4.segment import HASHED_FROM
from camd.sources import FileSource

BUNDLED = str(ffmpeg.PROGRAMS[1].values[0])
_264 = "-c:v libx264 -preset veryfast -x264-params scenecut=0:keyint=20"
_265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:keyint=20"
OPEN = {"h264-open": f"{_264}:open-gop=1:bframes=2:b-adapt=0", "h265-open": f"{_265}:bframes=2"}
CLOSED = {
    "h264": f"{_264}:bframes=2",
    "h265": f"{_265}:open-gop=0:bframes=2",
    "mjpeg": "-c:v mjpeg",
}


def recorded_files(options: str, folder: Path) -> list[tuple[int | None, int, Path]]:
    """Record a stream in files of two seconds; return leading frames, frames and path of each."""
    done = ffmpeg.run(
        *(BUNDLED, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", "-t", "6"),
        *("-pix_fmt", "yuvj420p" if "mjpeg" in options else "yuv420p", *options.split()),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"),
    )
    assert done.returncode == 0, done.stderr
    init, fragments = ffmpeg.events(done.stdout)
    made = []
    for number, group in enumerate(ffmpeg.cut(fragments)):
        index, grown = ffmpeg.grow(init, group, number)
        path = folder / f"{number}.mp4"
        path.write_bytes(ffmpeg.seal(index, grown))
        again = read_interrupted(lambda at, size, grown=grown: grown[at : at + size], len(grown))
        assert again is not None
        assert again.index.leading_frames == index.leading_frames
        made.append((index.leading_frames, index.frames, path))
    assert len(made) >= 2
    return made


def decoded(path: Path) -> int:
    """Count the pictures that a decoder shows of a file."""
    done = ffmpeg.run(
        BUNDLED, "-i", str(path), "-fps_mode", "passthrough", "-f", "framehash", "-hash", "md5", "-"
    )
    return sum(not line.startswith(b"#") for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", CLOSED)
def test_files_that_begin_with_a_true_key_frame_lose_nothing(name: str, tmp_path: Path) -> None:
    """Every frame is shown, and every file says so."""
    for leading, frames, path in recorded_files(CLOSED[name], tmp_path):
        assert leading == 0
        assert decoded(path) == frames


@pytest.mark.parametrize("name", OPEN)
def test_an_open_group_says_how_many_frames_lack_their_references(
    name: str, tmp_path: Path
) -> None:
    """The first file lacks none; in the others, the count is what a decoder leaves out."""
    first, *others = recorded_files(OPEN[name], tmp_path)
    assert first[0] == 0
    for leading, frames, path in others:
        assert leading in (1, 2)  # pictures between two others, at most
        if name == "h265-open":  # decoders of H.264 show such frames, with errors
            assert decoded(path) == frames - leading


def test_a_gradually_refreshed_stream_says_when_pictures_are_right(
    tmp_path: Path,
) -> None:
    """It has no key frame but the first one, and is cut at its recovery points."""
    first, *others = recorded_files(f"{_264}:bframes=0:intra-refresh=1", tmp_path)
    assert first[0] == 0
    assert others
    for leading, frames, _ in others:
        assert leading is not None
        assert 0 < leading < frames


async def test_a_camera_without_key_frames_is_recorded_and_cut(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is cut at its recovery points, loses nothing, and each file has its count."""
    clip = tmp_path_factory.mktemp("clip") / "film.ts"
    done = ffmpeg.run(
        *(BUNDLED, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", "-t", "8"),
        *("-pix_fmt", "yuv420p", *f"{_264}:bframes=0:intra-refresh=1".split(), str(clip)),
    )
    assert done.returncode == 0, done.stderr
    every_second = RecordingConfig(rotation=timedelta(seconds=1))
    with trio.fail_after(300):
        source = FileSource(clip, loop=False, speed=8)
        async with open_real_camera(BUNDLED, tmp_path, source, recording=every_second) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
            stored, _ = await rig.storage.recording(session.segments[1].filename)
    assert session.gaps == ()
    assert [(each.frames, bool(each.leading_frames)) for each in session.segments] == [
        (20, False),
        *[(20, True)] * 3,
    ]
    assert stored.leading_frames == session.segments[1].leading_frames


def test_the_count_is_read_back_from_a_sealed_file(tmp_path: Path) -> None:
    """The file alone is enough for it."""
    for leading, _, path in recorded_files(OPEN["h265-open"], tmp_path):
        data = path.read_bytes()
        end = sealed_moov_offset(data[:HASHED_FROM])
        assert end is not None
        assert leading_frames_of(lambda at, size, data=data: data[at : at + size], end) == leading


def test_damaged_samples_give_no_count(tmp_path: Path) -> None:
    """When the first samples cannot be read, the count is unknown."""
    done = ffmpeg.run(
        *(BUNDLED, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", "-t", "1"),
        *("-pix_fmt", "yuv420p", *_264.split(), "-movflags"),
        *("frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "pipe:1"),
    )
    init, fragments = ffmpeg.events(done.stdout)
    broken = attrs.evolve(fragments[0], mdat=b"\xff" * len(fragments[0].mdat))
    assert leading_frames(init, broken) is None
