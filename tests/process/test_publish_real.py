"""The real MediaMTX on bad days. All skipped where CAMD_TEST_MEDIAMTX names no program."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from published_cameras import GATE, PROGRAM, open_published
from real_camera import REQUEST, joined, packets
from real_mediamtx import RealMediaMtx, answering, free_port, needs_mediamtx
from support.ffmpeg_media import run

from camd.config.schema import CameraConfig
from camd.model import CameraState, PublicationState
from camd.publish.connecting import client_tls
from camd.publish.mediamtx_api import MediaMtxApi
from camd.publish.rules import stream_problems as problems
from camd.publish.rules.api_answers import PathPage, page_target
from camd.publish.server_check import look_at_server
from camd.sources.file import FileSource

pytestmark = needs_mediamtx
SECONDS = 110
KILLS = 10
FOREIGN = 700  # paths, on two pages


@asynccontextmanager
async def running(
    folder: Path, *changes: tuple[str, str]
) -> AsyncIterator[tuple[RealMediaMtx, MediaMtxApi]]:
    """Run a server that answers; the test may last SECONDS."""
    server = RealMediaMtx(folder, changes)
    with trio.fail_after(SECONDS):
        async with server.running():
            yield server, await answering(server.config())


def make_source(folder: Path, seconds: int) -> Path:
    """Encode a clip of moving pictures with a key frame twice a second."""
    source = folder / "source.mp4"
    made = run(
        *(str(PROGRAM), "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"),
        *("-t", f"{seconds}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "12", str(source)),
    )
    assert made.returncode == 0, made.stderr
    return source


async def test_recording_with_the_server_killed_ten_times(tmp_path: Path) -> None:
    """Published again after each kill, while a camera records: every packet is in the files."""
    source, server = make_source(tmp_path, 75), RealMediaMtx(tmp_path)
    camera = CameraConfig(GATE, FileSource(source, loop=False), device="gate", codec="copy")
    with trio.fail_after(SECONDS):
        async with open_published(tmp_path, server.config(), camera) as published:
            await published.camera.start_recording(REQUEST)
            for _ in range(KILLS):
                async with server.running():
                    await published.until_served()
                await published.until_not_served()
            starts = published.streams.publication(GATE).starts
            assert published.camera.status.session is not None  # it was recorded all the time
            await published.camera.published.wait_until(lambda status: status.session is None)
            files = sorted(published.folder.glob("*.mp4"))
    assert starts >= KILLS
    program = str(PROGRAM)
    assert joined(program, files)["video"] == packets(program, source)["video"]


async def test_viewers_get_the_pictures(tmp_path: Path) -> None:
    """FFmpeg reads two seconds of pictures and sound from it, as the viewer of the example."""
    async with (
        running(tmp_path) as (server, _),
        open_published(tmp_path, server.config()) as published,
    ):
        await published.until_served()
        url = f"rtsp://viewer:change-this-one-too@127.0.0.1:{server.rtsp_port}/gate"
        words = ("-rtsp_transport", "tcp", "-i", url, "-t", "2", "-f", "framemd5", "-")
        read = await trio.to_thread.run_sync(run, str(PROGRAM), *words)
    assert read.returncode == 0, read.stderr
    lines = read.stdout.decode().splitlines()
    assert sum(line.startswith("0,") for line in lines) >= 15
    assert sum(line.startswith("1,") for line in lines) >= 15


async def test_wrong_ports_are_told_apart(tmp_path: Path) -> None:
    """An RTSP port where nothing listens, and the RTSP port given as that of the control API."""
    async with running(tmp_path) as (server, _):
        nowhere = server.config(rtsp=f"rtsp://127.0.0.1:{free_port()}")
        async with open_published(tmp_path / "a", nowhere) as published:
            await published.until_state(PublicationState.RESTING)
            assert published.streams.publication(GATE).problem == problems.REFUSED
            assert published.camera.status.state is CameraState.STREAMING
        swapped = server.config(api=f"http://127.0.0.1:{server.rtsp_port}")
        async with open_published(tmp_path / "b", swapped) as published:
            details = await published.until_view(lambda status: status == "degraded")
            assert problems.NO_API.message in details


async def test_a_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """Nothing; credentials; digest only; no TCP."""
    tls = client_tls()
    async with running(tmp_path) as (server, _):
        look = await look_at_server(server.config(), tls)
        assert (look.api_problem, look.rtsp_problem, look.version) == (None, None, "v1.20.0")
        look = await look_at_server(server.config(password="wrong"), tls)
        assert (look.api_problem, look.rtsp_problem) == (problems.UNAUTHORISED, None)
    for new, problem in (
        ("rtspTransports: [tcp]\nrtspAuthMethods: [digest]", problems.RTSP_BY_DIGEST),
        ("rtspTransports: [udp]", problems.NO_TCP),
    ):
        async with running(tmp_path, ("rtspTransports: [tcp]", new)) as (server, _):
            look = await look_at_server(server.config(), tls)
            assert (look.api_problem, look.rtsp_problem) == (None, problem)


async def test_a_server_that_stops_for_a_while_gets_the_stream_again(tmp_path: Path) -> None:
    """Stopped by SIGSTOP: the stream is not offered; continued, it is; the camera goes on."""
    async with (
        running(tmp_path) as (server, _),
        open_published(tmp_path, server.config()) as published,
    ):
        await published.until_served()
        before = published.camera.status
        server.signal(signal.SIGSTOP)
        await published.until_not_served()
        assert published.streams.health()[0] == "degraded"
        server.signal(signal.SIGCONT)
        await published.until_served()
        after = published.camera.status
        assert (after.streaming_since, after.restarts) == (before.streaming_since, before.restarts)


async def test_a_server_full_of_foreign_paths_hides_nothing(tmp_path: Path) -> None:
    """The own path is found behind hundreds of others, and only it is removed."""
    foreign = "".join(f"\n  a{number:05}: {{}}" for number in range(FOREIGN))
    async with running(tmp_path, ("paths: {}", f"paths:{foreign}")) as (server, api):
        async with open_published(tmp_path, server.config()) as published:
            await published.until_served()
            assert published.streams.listed()[0].name == GATE
            assert published.streams.view.path_count > FOREIGN
        page = await api.get(page_target(0), PathPage)
        assert page is not None
        assert page.item_count == FOREIGN


async def test_protocols_that_the_server_has_not_are_not_told(tmp_path: Path) -> None:
    """HLS and WebRTC switched off: viewers are told of RTSP alone."""
    off = (("hls: yes", "hls: no"), ("webrtc: yes", "webrtc: no"))
    async with (
        running(tmp_path, *off) as (server, _),
        open_published(tmp_path, server.config()) as published,
    ):
        served = await published.until_served()
        assert served.protocols == ("rtsp",)


async def test_a_camera_moves_between_two_servers(tmp_path: Path) -> None:
    """A reload names another server: its paths at the first one are gone."""
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with (
        running(folders[0]) as (one, first),
        running(folders[1]) as (two, _),
        open_published(tmp_path, one.config()) as published,
    ):
        await published.until_address(f"rtsp://127.0.0.1:{one.rtsp_port}/gate")
        published.reload(two.config())
        await published.until_address(f"rtsp://127.0.0.1:{two.rtsp_port}/gate")
        page = await first.get(page_target(0), PathPage)
        assert page is not None
        assert page.items == []
