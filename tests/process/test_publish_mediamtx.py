"""The double of MediaMTX and the real one: one contract. CAMD_TEST_MEDIAMTX names the real one."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from fake_mediamtx import FakeMediaMtx
from published_cameras import GATE, PICTURES, PROGRAM, open_published
from real_mediamtx import PASSWORD, RealMediaMtx, answering, free_port, needs_mediamtx

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, MediaMtxConfig
from camd.model import PublicationState
from camd.publish.created_paths import MadePaths
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import MediaServerPath, PathSettings, path_target
from camd.publish.stream_server import StreamServer

SECONDS = 300
DOUBLE = "double"
Server = FakeMediaMtx | RealMediaMtx


@pytest.fixture(params=[DOUBLE, pytest.param("real", marks=needs_mediamtx)])
def stopped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server of either kind, which demands credentials and does not run yet."""
    if request.param == DOUBLE:
        yield FakeMediaMtx(username="camd", password=PASSWORD)
    else:
        yield RealMediaMtx(tmp_path)


@pytest.fixture
async def server(stopped: Server) -> AsyncIterator[Server]:
    """A server of either kind that runs and answers; the test may last SECONDS."""
    with trio.fail_after(SECONDS):
        async with stopped.running():
            await answering(stopped.config())
            yield stopped


@pytest.fixture
async def api(server: Server) -> MediaMtxApi:
    """The control API of the server that runs."""
    return await answering(server.config())


async def test_a_camera_is_served_and_its_path_made_and_removed(
    server: Server, api: MediaMtxApi, tmp_path: Path
) -> None:
    """The server lists the path as ready, published by RTSP; afterwards the path is gone."""
    async with open_published(tmp_path, server.config()) as published:
        served = await published.until_served()
        assert served.protocols == ("rtsp", "hls", "webrtc")
        path = await api.get(path_target("paths/get", GATE), MediaServerPath)
        assert path is not None
        assert path.is_ready
        settings = await api.get(path_target("config/paths/get", GATE), PathSettings)
        assert settings is not None
        assert settings.source == "publisher"
        assert "1.20" in published.streams.health()[1]
    assert await api.get(path_target("config/paths/get", GATE), PathSettings) is None


async def test_a_server_that_is_started_again_gets_the_stream_again(
    stopped: Server, tmp_path: Path
) -> None:
    """Its paths are empty then; camd makes its path anew."""
    with trio.fail_after(SECONDS):
        async with stopped.running():  # the double has ports then
            pass
        async with open_published(tmp_path, stopped.config()) as published:
            for _ in range(2):
                async with stopped.running():
                    await published.until_served()
                await published.until_not_served()


async def test_a_wrong_password_is_said_by_both_ways(server: Server, tmp_path: Path) -> None:
    """The control API refuses, and so does RTSP."""
    config = server.config(password="something-else")
    async with open_published(tmp_path, config) as published:
        details = await published.until_view(lambda status: status == "degraded")
        assert problems.UNAUTHORISED.message in details
        await published.until_state(PublicationState.RESTING)
        assert published.streams.publication(GATE).problem == problems.UNAUTHORISED


async def test_a_path_that_is_configured_otherwise_is_taken(
    server: Server, api: MediaMtxApi, tmp_path: Path
) -> None:
    """It is left alone, and never removed; one that camd makes is removed."""
    made = MadePaths.on_disk(tmp_path)
    controller = StreamServer(server.config(), api, made, wanted=tuple, clock=SYSTEM_CLOCK)
    pulled = {"source": "rtsp://127.0.0.1:1/none", "sourceOnDemand": True}
    await api.post(path_target("config/paths/add", "pulled"), pulled)
    assert await controller.prepare_path("pulled") == problems.PATH_TAKEN
    assert await controller.prepare_path("yard/own") is None
    own = path_target("config/paths/get", "yard/own")
    assert await api.get(own, PathSettings) is not None
    for name in ("pulled", "yard/own", "yard/own"):
        await controller.remove_path(name)
    assert await api.get(own, PathSettings) is None
    kept = path_target("config/paths/get", "pulled")
    assert await api.get(kept, PathSettings) is not None


async def test_an_ffmpeg_that_listens_gets_the_pictures(tmp_path: Path) -> None:
    """What is published is decoded by FFmpeg's own RTSP listener, without the control API."""
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}"
    words = [str(PROGRAM), "-v", "error", "-rtsp_flags", "listen"]
    # FFmpeg 9.0 refuses its own default.
    words += ["-listen_timeout", str(SECONDS), "-i", f"{url}/gate"]
    words += ["-frames:v", "30", "-f", "framemd5", "-"]
    config = MediaMtxConfig(api=f"http://127.0.0.1:{free_port()}", rtsp=url)
    camera = CameraConfig(GATE, PICTURES, device="gate", always_on=True)
    with trio.fail_after(SECONDS):
        async with open_published(tmp_path, config, camera):
            got = await trio.run_process(
                words, capture_stdout=True, stdin=subprocess.DEVNULL, check=False
            )
    frames = [line for line in got.stdout.decode().splitlines() if line.startswith("0,")]
    assert len(frames) >= 25
    assert len({line.split(",")[-1] for line in frames}) >= 25  # moving pictures
