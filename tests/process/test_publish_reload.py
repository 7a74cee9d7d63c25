"""A reload changes where and how cameras are published, and no camera notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from fake_mediamtx import FakeMediaMtx
from published_cameras import GATE, PICTURES, PROGRAM, PublishedCameras, open_published
from real_camera import REQUEST, joined, packets
from support.ffmpeg_media import run

from camd.config.schema import CameraConfig
from camd.model import CameraState, PublicationState
from camd.publish.created_paths import MADE_PATHS_FILE, MadePaths
from camd.sources.file import FileSource


@pytest.fixture
async def server() -> AsyncIterator[FakeMediaMtx]:
    """A server that demands credentials."""
    with trio.fail_after(220):
        async with FakeMediaMtx(username="camd", password="one").running() as running:
            yield running


@asynccontextmanager
async def undisturbed(published: PublishedCameras) -> AsyncIterator[None]:
    """Check that a camera captures in the same process afterwards."""
    before = published.camera.status
    yield
    after = published.camera.status
    assert after.state is CameraState.STREAMING
    assert (after.streaming_since, after.restarts) == (before.streaming_since, before.restarts)


def rtsp(server: FakeMediaMtx, path: str = "gate") -> str:
    """Return the address of a path."""
    return f"rtsp://127.0.0.1:{server.rtsp_port}/{path}"


async def test_what_viewers_are_told_changes_without_another_publication(
    server: FakeMediaMtx, tmp_path: Path
) -> None:
    """Other protocols and addresses show at once; the same FFmpeg process goes on publishing."""
    async with open_published(tmp_path, server.config()) as published:
        await published.until_served()
        async with undisturbed(published):
            public = "rtsp://cameras.example.org"
            published.reload(server.config(viewers=("rtsp",), viewer_rtsp=public))
            await published.until_address(f"{public}/gate")
            served = published.camera.status.served
            assert served is not None
            assert served.protocols == ("rtsp",)
        assert published.streams.publication(GATE).starts == 1


async def test_another_prefix_publishes_on_another_path(
    server: FakeMediaMtx, tmp_path: Path
) -> None:
    """The camera moves to the new path, and the old one is removed."""
    async with open_published(tmp_path, server.config()) as published:
        await published.until_served()
        async with undisturbed(published):
            published.reload(server.config(prefix="yard/"))
            await published.until_address(rtsp(server, "yard/gate"))
            await server.until(lambda: set(server.configured) == {"yard/gate"})


async def test_a_camera_moves_to_another_server_while_it_is_recorded(
    server: FakeMediaMtx, tmp_path: Path
) -> None:
    """The paths at the old one are removed; every packet of the camera is in the files."""
    source = tmp_path / "source.mp4"
    made = run(
        *(str(PROGRAM), "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "12"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", str(source)),
    )
    assert made.returncode == 0, made.stderr
    camera = CameraConfig(GATE, FileSource(source, loop=False), device="gate", codec="copy")
    async with FakeMediaMtx().running() as other:
        async with open_published(tmp_path, server.config(), camera) as published:
            await published.camera.start_recording(REQUEST)
            await published.until_address(rtsp(server))
            async with undisturbed(published):
                published.reload(other.config())
                await published.until_address(rtsp(other))
            assert server.configured == {}
            assert set(other.configured) == {GATE}
            await published.camera.published.wait_until(lambda status: status.session is None)
        files = sorted(published.folder.glob("*.mp4"))
    program = str(PROGRAM)
    assert joined(program, files)["video"] == packets(program, source)["video"]


async def test_a_corrected_password_is_used(server: FakeMediaMtx, tmp_path: Path) -> None:
    """A server that refused camd takes the stream after the reload."""
    async with open_published(tmp_path, server.config(password="wrong")) as published:
        await published.until_state(PublicationState.RESTING)
        async with undisturbed(published):
            published.reload(server.config())
            await published.until_address(rtsp(server))
            await published.until_view(lambda status: status == "healthy")


async def test_publishing_begins_and_ends_by_reloads(server: FakeMediaMtx, tmp_path: Path) -> None:
    """Without the section nothing is published, and nothing is left at the server."""
    async with open_published(tmp_path, None) as published:
        await published.camera.published.wait_until(
            lambda status: status.state is CameraState.STREAMING
        )
        async with undisturbed(published):
            assert published.streams.health() == ("healthy", "not used")
            published.reload(server.config())
            await published.until_address(rtsp(server))
            published.reload(None)
            await published.until_not_served()
            await server.until(lambda: server.configured == {})
            assert published.streams.health() == ("healthy", "not used")
            published.reload(server.config())
            await published.until_address(rtsp(server))


async def test_a_camera_that_captures_for_its_viewers_goes_on(
    server: FakeMediaMtx, tmp_path: Path
) -> None:
    """With `always`, nothing but the publisher needs the camera; a reload does not restart it."""
    idle = CameraConfig(GATE, PICTURES, device="gate")
    always = server.config(publish="always")
    async with open_published(tmp_path, always, idle) as published:
        await published.until_served()
        async with undisturbed(published):
            published.reload(server.config(publish="always", prefix="b/"))
            await published.until_address(rtsp(server, "b/gate"))
        published.reload(server.config(publish="none"))
        await published.until_not_served()
        await published.camera.published.wait_until(lambda status: status.state is CameraState.IDLE)


async def test_a_server_that_is_gone_does_not_keep_a_reload(tmp_path: Path) -> None:
    """The paths that cannot be removed are left, and never removed from another server."""
    gone = FakeMediaMtx()
    with trio.fail_after(220):
        async with FakeMediaMtx().running() as other:
            other.configured[GATE] = {"source": "publisher"}  # somebody's own
            async with gone.running():
                config = gone.config()
            async with open_published(tmp_path, config) as published:
                await published.until_view(lambda status: status == "degraded")
                async with gone.running():
                    await published.until_served()
                    assert set(gone.configured) == {GATE}
                published.reload(other.config())
                await published.until_address(rtsp(other))
            assert set(other.configured) == {GATE}


async def test_names_of_another_server_are_not_taken_over(tmp_path: Path) -> None:
    """What camd made at one server is not removed from another one, also after a restart."""
    with trio.fail_after(100):
        first = MadePaths.on_disk(tmp_path, server="http://one:9997")
        await first.add("gate")
        again = MadePaths.on_disk(tmp_path, server="http://one:9997")
        await again.load()
        assert again.names == {"gate"}
        other = MadePaths.on_disk(tmp_path, server="http://two:9997")
        await other.load()
        assert other.names == set()


async def test_names_without_a_server_are_those_of_the_configured_one(tmp_path: Path) -> None:
    """An earlier version did not write which server it was."""
    (tmp_path / MADE_PATHS_FILE).write_text('{"version": 1, "paths": ["gate"]}')
    with trio.fail_after(100):
        made = MadePaths.on_disk(tmp_path, server="http://one:9997")
        await made.load()
    assert made.names == {"gate"}
