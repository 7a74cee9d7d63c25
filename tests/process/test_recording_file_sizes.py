"""A real limit of file sizes (RLIMIT_FSIZE) loses nothing of a real recording."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import split

import imageio_ffmpeg
import pytest
import trio
from real_camera import REQUEST, check_receipt, joined, open_real_camera, packets
from support import ffmpeg_media as ffmpeg
from support.fake_disk import roomy_disk

from camd.config.schema import RecordingConfig
from camd.model import StorageLevel
from camd.sources import FileSource

BUNDLED = Path(imageio_ffmpeg.get_ffmpeg_exe())
LIMIT = 2_500_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of pictures at 4 Mbit/s with B-frames and sound, a key frame each second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    done = ffmpeg.run(
        str(BUNDLED),
        *split("-f lavfi -i testsrc2=size=640x360:rate=25"),
        *split("-f lavfi -i sine=frequency=440:sample_rate=16000 -t 20"),
        *split("-c:v libx264 -preset ultrafast -b:v 4M -g 25 -bf 2 -sc_threshold 0"),
        *split("-x264-params nal-hrd=cbr:vbv-maxrate=4000:vbv-bufsize=4000"),
        *split("-c:a aac -b:a 32k"),
        str(path),
    )
    assert done.returncode == 0, done.stderr
    return path


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Limit the size of files of this process and its child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("known", [True, False])
async def test_every_packet_is_in_files_below_the_limit(
    clip: Path, tmp_path: Path, known: bool, container: str
) -> None:
    """No packet is lost and no entry is made, whether the limit is known before or met."""
    disk = roomy_disk()
    if not known:
        disk.limit_of = lambda folder: None
    levels: set[StorageLevel] = set()
    source = FileSource(clip, loop=False, speed=20)
    recording = RecordingConfig(format=container)
    with trio.fail_after(100), limited(LIMIT):
        async with open_real_camera(
            BUNDLED, tmp_path, source, recording=recording, disk=disk
        ) as rig:
            await rig.camera.start_recording(REQUEST)
            session = await rig.ended()
            levels.add(rig.storage.status.level)
    files = list(check_receipt(tmp_path, session))
    assert session.gaps == ()
    assert levels == {StorageLevel.OK}
    assert 4 <= len(files) <= 10
    assert {path.suffix for path in files} == {f".{container}"}
    assert all(path.stat().st_size <= LIMIT for path in files)
    assert joined(BUNDLED, files) == packets(BUNDLED, clip)
    assert not any(kind.startswith("ERROR") for kind in rig.events_told)
