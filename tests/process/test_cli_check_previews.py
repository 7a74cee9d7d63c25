"""What `camd check` says of previews: what they send, why viewers will not get them, and how."""

from __future__ import annotations

import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
from support.fake_rtsp_server import open_rtsp_server
from support.ffmpeg_media import PROGRAMS

from camd.cli.checks.finding import CheckFinding, Grade
from camd.cli.checks.preview_check import inspect_previews
from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, Config, FfmpegConfig
from camd.model import CameraId
from camd.sources import FileSource, RtspSource, Source, SyntheticSource
from camd.sources.srt import SrtSource
from camd.sources.v4l2 import V4l2Source

PROGRAM = PROGRAMS[1].values[0]
DEVICE = V4l2Source.parse("v4l2:/dev/video77", Path("/"), None)  # which is not there


def config(*previews: Source | None, camera: Source = DEVICE) -> Config:
    """Return a configuration of cameras with these previews."""
    cameras = tuple(
        CameraConfig(CameraId(f"camera{number}"), camera, preview=preview)
        for number, preview in enumerate(previews)
    )
    seconds = timedelta(seconds=20)
    program = FfmpegConfig(Path(PROGRAM), stall_timeout=seconds, start_timeout=seconds)
    return Config(ffmpeg=program, cameras=cameras)


async def finding(preview: Source, **options: float) -> CheckFinding:
    """Inspect one preview."""
    with trio.fail_after(300):
        (found,) = await inspect_previews(config(preview), clock=SYSTEM_CLOCK, **options)
    assert found.subject == "camera camera0 preview"
    assert bool(found.advice) is (found.grade is not Grade.OK)
    return found


def encode(path: Path, *codec: str) -> Path:
    """Encode two seconds."""
    command = [PROGRAM, "-nostdin", "-v", "error", "-f", "lavfi"]
    command += ["-i", "testsrc2=size=160x120:rate=15", "-t", "2", *codec, "-y", str(path)]
    subprocess.run(command, check=True, timeout=300)
    return path


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip that every browser plays."""
    folder = tmp_path_factory.mktemp("clip")
    return encode(folder / "h264.mp4", "-c:v", "libx264", "-g", "15", "-pix_fmt", "yuv420p")


async def test_cameras_without_a_preview_are_not_mentioned() -> None:
    """Nothing is started for them."""
    assert await inspect_previews(config(None, None), clock=SYSTEM_CLOCK) == []
    missing = attrs.evolve(config(SyntheticSource()), ffmpeg=FfmpegConfig(Path("/no/ffmpeg")))
    assert (
        await inspect_previews(missing, clock=SYSTEM_CLOCK) == []
    )  # that it is missing is told by itself


async def test_a_preview_says_what_it_sends(h264: Path) -> None:
    """Codec and size; the camera's own device, which is not there, is not asked."""
    found = await finding(FileSource(h264))
    assert (found.grade, found.text) == (Grade.OK, f"{h264}: h264 160x120")
    synthetic = await finding(SyntheticSource(160, 120, 10))
    assert (synthetic.grade, synthetic.text) == (Grade.OK, "a synthetic picture")


async def test_a_codec_that_browsers_lack_is_a_warning(tmp_path: Path) -> None:
    """The stream is there for those whose browser cannot play the source."""
    options = ("-preset", "ultrafast", "-x265-params", "log-level=error", "-tag:v", "hvc1")
    clip = encode(tmp_path / "h265.mp4", "-c:v", "libx265", *options)
    found = await finding(FileSource(clip))
    assert found.grade is Grade.WARNING
    assert found.text == f"{clip}: hevc 160x120, which many browsers do not play"
    assert "H.264" in found.advice


async def test_what_keeps_a_preview_from_viewers_is_a_warning(tmp_path: Path, h264: Path) -> None:
    """Never a problem: the camera is recorded all the same."""
    silence = tmp_path / "silence.wav"
    command = f"{PROGRAM} -v error -f lavfi -i anullsrc -t 1 -y {silence}"
    await trio.run_process(command.split())
    for source, words in (
        (FileSource(tmp_path / "none.mp4"), "there is no file"),
        (FileSource(silence), "has no video"),
    ):
        found = await finding(source)
        assert (found.grade, words in found.text) == (Grade.WARNING, True), found
    itself = config(FileSource(h264), camera=FileSource(h264))
    (same,) = await inspect_previews(itself, clock=SYSTEM_CLOCK)
    assert (same.grade, same.text) == (Grade.WARNING, "is the source itself")


async def test_an_rtsp_preview_is_probed(h264: Path) -> None:
    """With its credentials, which no finding shows; a wrong password is told, and a silent or
    absent server does not hold the check up."""
    async with open_rtsp_server(PROGRAM, h264, credentials="eve:hunter2") as server:
        found = await finding(RtspSource(server.url))
        assert (found.grade, "h264 160x120" in found.text) == (Grade.OK, True), found
        wrong = await finding(RtspSource(server.url.replace("hunter2", "hunter3")))
        assert wrong.grade is Grade.WARNING
        assert "hunter" not in f"{found}{wrong}"
    gone = await finding(RtspSource(server.url))
    assert (gone.grade, "hunter2" in f"{gone}") == (Grade.WARNING, False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://eve:hunter2@127.0.0.1:{silent.getsockname()[1]}/x"
        late = await finding(RtspSource(url), probe_seconds=1)
        assert (late.grade, "within 1 s" in late.text) == (Grade.WARNING, True), late
        assert "hunter2" not in f"{late}"


async def test_a_missing_protocol_is_told(tmp_path: Path) -> None:
    """Before anything is asked."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *-protocols*) echo Input:; echo "  file";; '
        f'*) exec {PROGRAM} "$@";; esac\n'
    )
    program.chmod(0o755)
    asked = attrs.evolve(
        config(SrtSource.parse("srt://127.0.0.1:9", Path("/"), None)), ffmpeg=FfmpegConfig(program)
    )
    with trio.fail_after(300):
        (found,) = await inspect_previews(asked, clock=SYSTEM_CLOCK)
    assert (found.grade, found.text) == (Grade.WARNING, "FFmpeg was built without srt")
