"""The double of MediaMTX and the real one: one contract. CAMD_TEST_MEDIAMTX names the real one."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from fake_mediamtx import FakeMediaMtx
from published_cameras import GATE, PICTURES, PROGRAM, open_published
from support.ffmpeg_media import run

from camd.clock import SYSTEM_CLOCK
from camd.config.schema import CameraConfig, MediaMtxConfig
from camd.model import PublicationState
from camd.publish.connecting import StreamServerError, client_tls
from camd.publish.control_api import ControlApi
from camd.publish.made_paths import MadePaths
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import PathSettings, ServerPath, path_target
from camd.publish.stream_server import StreamServer
from camd.runtime.child_process import open_child_process

BINARY = os.environ.get("CAMD_TEST_MEDIAMTX", "")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mediamtx.yml"
PASSWORD = "change-this-password"
SECONDS = 60
DOUBLE = "double"
KINDS = [
    DOUBLE,
    pytest.param(
        "real",
        marks=pytest.mark.skipif(not BINARY, reason="CAMD_TEST_MEDIAMTX names no MediaMTX"),
    ),
]


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@attrs.frozen
class RealMediaMtx:
    """The program with the example's configuration, on ports of its own."""

    folder: Path
    api_port: int = attrs.field(factory=free_port)
    rtsp_port: int = attrs.field(factory=free_port)

    def config(self, **keys: str) -> MediaMtxConfig:
        """Return a configuration for camd that fits."""
        fits = {
            "api": f"http://127.0.0.1:{self.api_port}",
            "rtsp": f"rtsp://127.0.0.1:{self.rtsp_port}",
            "username": "camd",
            "password": PASSWORD,
        }
        return MediaMtxConfig(**(fits | keys))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it while the block runs; then kill it."""
        text = EXAMPLE.read_text(encoding="utf-8")
        for port, own in ((9997, self.api_port), (8554, self.rtsp_port)):
            text = text.replace(f": 127.0.0.1:{port}", f": 127.0.0.1:{own}")
        for port in (8888, 8889, 8189):
            text = text.replace(f": 127.0.0.1:{port}", f": 127.0.0.1:{free_port()}")
        (self.folder / "mediamtx.yml").write_text(text, encoding="utf-8")
        async with (
            open_child_process([BINARY, str(self.folder / "mediamtx.yml")]) as process,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_drain, process.read_output)
            nursery.start_soon(_drain, process.read_errors)
            yield
            nursery.cancel_scope.cancel()


async def _drain(read: object) -> None:
    while await read():  # type: ignore[operator]
        pass


def make_server(kind: str, folder: Path) -> FakeMediaMtx | RealMediaMtx:
    """Make a server of either kind, which demands credentials."""
    if kind == DOUBLE:
        return FakeMediaMtx(username="camd", password=PASSWORD)
    return RealMediaMtx(folder)


def running(server: FakeMediaMtx | RealMediaMtx) -> AbstractAsyncContextManager[object]:
    """Run a server while the block runs."""
    return server.running()


async def answering(config: MediaMtxConfig) -> ControlApi:
    """Wait until the control API answers."""
    api = ControlApi(config, client_tls())
    while True:
        try:
            await api.get("/v3/paths/get/x", ServerPath)
            return api
        except StreamServerError:
            await trio.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_camera_is_served_and_its_path_made_and_removed(kind: str, tmp_path: Path) -> None:
    """The server lists the path as ready, published by RTSP; afterwards the path is gone."""
    server = make_server(kind, tmp_path)
    with trio.fail_after(SECONDS):
        async with running(server):
            config = server.config()
            api = await answering(config)
            async with open_published(tmp_path, config) as published:
                served = await published.until_served()
                assert served.protocols == ("rtsp", "hls", "webrtc")
                path = await api.get(path_target("paths/get", GATE), ServerPath)
                assert path is not None
                assert path.is_ready
                settings = await api.get(path_target("config/paths/get", GATE), PathSettings)
                assert settings is not None
                assert settings.source == "publisher"
                assert "1.20" in published.streams.health()[1]
            assert await api.get(path_target("config/paths/get", GATE), PathSettings) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_started_again_gets_the_stream_again(
    kind: str, tmp_path: Path
) -> None:
    """Its paths are empty then; camd makes its path anew."""
    server = make_server(kind, tmp_path)
    with trio.fail_after(SECONDS):
        if kind == DOUBLE:
            async with running(server):  # it has ports then
                pass
        async with open_published(tmp_path, server.config()) as published:
            for _ in range(2):
                async with running(server):
                    await published.until_served()
                await published.until_not_served()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_password_is_said_by_both_ways(kind: str, tmp_path: Path) -> None:
    """The control API refuses, and so does RTSP."""
    server = make_server(kind, tmp_path)
    with trio.fail_after(SECONDS):
        async with running(server):
            await answering(server.config())
            config = server.config(password="something-else")
            async with open_published(tmp_path, config) as published:
                details = await published.until_view(lambda status: status == "degraded")
                assert problems.UNAUTHORISED.message in details
                await published.until_state(PublicationState.RESTING)
                assert published.streams.publication(GATE).problem == problems.UNAUTHORISED


@pytest.mark.parametrize("kind", KINDS)
async def test_a_path_that_is_configured_otherwise_is_taken(kind: str, tmp_path: Path) -> None:
    """It is left alone, and never removed; one that camd makes is removed."""
    server = make_server(kind, tmp_path)
    with trio.fail_after(SECONDS):
        async with running(server):
            config = server.config()
            api = await answering(config)
            made = MadePaths.on_disk(tmp_path)
            controller = StreamServer(config, api, made, wanted=tuple, clock=SYSTEM_CLOCK)
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


@pytest.mark.skipif(not BINARY, reason="CAMD_TEST_MEDIAMTX names no MediaMTX")
async def test_viewers_of_the_real_server_get_the_pictures(tmp_path: Path) -> None:
    """FFmpeg reads two seconds of pictures and sound from it, as the viewer of the example."""
    server = RealMediaMtx(tmp_path)
    with trio.fail_after(SECONDS):
        async with running(server):
            await answering(server.config())
            async with open_published(tmp_path, server.config()) as published:
                await published.until_served()
                url = f"rtsp://viewer:change-this-one-too@127.0.0.1:{server.rtsp_port}/gate"
                words = ("-rtsp_transport", "tcp", "-i", url, "-t", "2", "-f", "framemd5", "-")
                read = await trio.to_thread.run_sync(run, str(PROGRAM), *words)
    assert read.returncode == 0, read.stderr
    lines = read.stdout.decode().splitlines()
    assert sum(line.startswith("0,") for line in lines) >= 15
    assert sum(line.startswith("1,") for line in lines) >= 15


async def test_an_ffmpeg_that_listens_gets_the_pictures(tmp_path: Path) -> None:
    """What is published is decoded by FFmpeg's own RTSP listener, without the control API."""
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}"
    words = [str(PROGRAM), "-v", "error", "-rtsp_flags", "listen", "-i", f"{url}/gate"]
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
