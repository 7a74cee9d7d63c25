"""Cameras are published to a server that fails in every way, and recordings notice nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from fake_mediamtx import OTHERS, FakeMediaMtx, FakePath
from published_cameras import GATE, PICTURES, PROGRAM, open_published
from real_camera import REQUEST, joined, packets
from support.ffmpeg_media import run

from camd.config.schema import CameraConfig
from camd.model import CameraId, CameraState, PublicationState
from camd.publish import created_paths
from camd.publish.rules import stream_problems as problems
from camd.sources.file import FileSource

KILLS = 10
FLOOD = 3000  # foreign paths


@asynccontextmanager
async def deadline(seconds: float = 60) -> AsyncIterator[None]:
    """Fail after so long."""
    with trio.fail_after(seconds):
        yield


async def test_a_camera_that_captures_is_served_to_viewers(tmp_path: Path) -> None:
    """The server gets its pictures on a path that camd makes, and viewers are told where."""
    async with deadline(), FakeMediaMtx().running() as server:
        async with open_published(tmp_path, server.config()) as published:
            served = await published.until_served()
            assert served.name == GATE
            assert dict(served.addresses) == {
                "rtsp": f"rtsp://127.0.0.1:{server.rtsp_port}/gate",
                "hls": "http://127.0.0.1:8888/gate/index.m3u8",
                "webrtc": "http://127.0.0.1:8889/gate",
            }
            await server.until(lambda: server.paths[GATE].pictures >= 15)
            assert server.configured[GATE]["overridePublisher"] is False
            server.paths[GATE].readers = 3
            await published.camera.published.wait_until(
                lambda status: status.served is not None and status.served.readers == 3
            )
            assert [stream.name for stream in published.streams.listed()] == [GATE]
            assert published.streams.health()[0] == "healthy"
            (publisher,) = published.streams.publishers
            assert publisher.counters.bytes_sent > 1000
            assert publisher.counters.failures == {}
        assert server.configured == {}  # what camd has made it removes
        assert published.camera.status.served is None


async def test_credentials_reach_the_server_and_no_argument(tmp_path: Path) -> None:
    """The server demands a password; it is in no command line of any process."""
    server = FakeMediaMtx(username="camd", password="hunter#2secret")
    async with (
        deadline(),
        server.running(),
        open_published(tmp_path, server.config()) as published,
    ):
        await published.until_served()
        await server.until(lambda: server.paths[GATE].pictures >= 15)
        lines = await trio.to_thread.run_sync(_commands)
    publishing = [line for line in lines if b"-f\0rtsp" in line]
    assert publishing
    secrets = (b"hunter", b"Y2FtZDpodW50ZXIjMnNlY3JldA")
    assert not [line for line in publishing for secret in secrets if secret in line]


def _commands() -> list[bytes]:
    return [_command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


async def test_wrong_credentials_are_a_problem_that_says_so(tmp_path: Path) -> None:
    """Nothing is served, health is degraded and names the keys; a recording goes on."""
    server = FakeMediaMtx(username="camd", password="right-password")
    async with deadline(), server.running():
        config = server.config(password="wrong-password")
        async with open_published(tmp_path, config) as published:
            details = await published.until_view(lambda status: status == "degraded")
            assert problems.UNAUTHORISED.message in details
            assert "wrong-password" not in details
            await published.until_state(PublicationState.RESTING)
            status = published.streams.publication(GATE)
            assert status.problem == problems.UNAUTHORISED
            (publisher,) = published.streams.publishers
            assert publisher.counters.failures.total() >= 1
            assert published.camera.status.served is None
            assert published.camera.status.state is CameraState.STREAMING


async def test_digest_authentication_is_a_problem_that_says_what_to_do(tmp_path: Path) -> None:
    """Before the control API, and for RTSP: nothing is tried in vain, and the keys are named."""
    server = FakeMediaMtx(username="camd", password="one", rtsp_methods=("digest",))
    async with deadline(), server.running():
        async with open_published(tmp_path / "a", server.config()) as published:
            await published.until_view(lambda status: status == "healthy")
            await published.camera.published.wait_until(
                lambda _: published.streams.publication(GATE).problem == problems.RTSP_BY_DIGEST
            )
            details = await published.until_view(lambda status: status == "degraded")
            assert problems.RTSP_BY_DIGEST.message in details
            assert GATE not in server.paths
        server.rtsp_methods, server.proxy = ("basic",), "Digest"
        async with open_published(tmp_path / "b", server.config()) as published:
            details = await published.until_view(lambda status: status == "degraded")
            assert problems.API_BY_DIGEST.message in details


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("silent", problems.SILENT),
        ("garbage", problems.NO_API),
        ("endless", problems.NO_API),
        ("deep", problems.NO_API),
        ("error", problems.SERVER_FAILS),
    ],
)
async def test_an_api_that_fails_is_degraded_and_noticed_as_healthy_again(
    tmp_path: Path, fault: str, problem: object
) -> None:
    """Whatever answers there, the health page says it in words, and goes back by itself."""
    server = FakeMediaMtx(all_others=True, api_fault=fault)
    async with (
        deadline(),
        server.running(),
        open_published(tmp_path, server.config()) as published,
    ):
        details = await published.until_view(lambda status: status == "degraded")
        assert getattr(problem, "message", "") in details
        await published.until_state(PublicationState.PUBLISHING)  # RTSP works
        hung = fault in ("silent", "error")
        if not hung:
            served = await published.until_served()
            assert served.protocols == ("rtsp",)
        server.recover()
        await published.until_view(lambda status: status == "healthy")
        await published.camera.published.wait_until(
            lambda status: (
                status.served is not None and status.served.protocols == ("rtsp", "hls", "webrtc")
            )
        )


async def test_an_absent_server_is_asked_more_and_more_rarely(tmp_path: Path) -> None:
    """Health says that nothing listens; when the server comes, the camera is published."""
    server = FakeMediaMtx()
    async with deadline():
        async with server.running():
            config = server.config()
        async with open_published(tmp_path, config) as published:
            details = await published.until_view(lambda status: status == "degraded")
            assert problems.REFUSED.message in details
            assert published.streams.server is not None
            breaker = published.streams.server.breaker
            await published.streams.server.view.wait_until(lambda _: breaker.open)
            failures = breaker.failures
            assert await published.streams.server.prepare_path("x") is None
            assert breaker.failures == failures  # nobody was asked
            async with server.running():
                await published.until_served()
                assert not breaker.open


async def test_a_path_with_another_source_is_not_taken_over(tmp_path: Path) -> None:
    """It stays the other's, also where it is only configured; camd publishes once it is free."""
    server = FakeMediaMtx()
    async with deadline(), server.running():
        server.paths[GATE] = FakePath(source=OTHERS, ready=True)
        server.configured[GATE] = {"source": "rtsp://camera/stream"}
        async with open_published(tmp_path, server.config()) as published:
            await published.until_state(PublicationState.RESTING)
            assert published.streams.publication(GATE).problem == problems.PATH_TAKEN
            assert published.camera.status.served is None
            assert server.paths[GATE].publishers == 0
            server.paths.clear()
            server.configured[GATE] = {"source": "publisher"}
            await published.until_served()
        assert GATE in server.configured  # it was there before


async def test_only_paths_that_camd_has_made_are_removed(tmp_path: Path) -> None:
    """What an earlier run of camd has left behind is removed; what others made is not."""
    server = FakeMediaMtx()
    (tmp_path / "state").mkdir()
    kept = created_paths.MadePaths.on_disk(tmp_path / "state")
    await kept.add("old")
    async with deadline(), server.running():
        server.configured |= {"old": {"source": "publisher"}, "others": {"source": "publisher"}}
        async with open_published(tmp_path, server.config()) as published:
            await server.until(lambda: "old" not in server.configured)
            await published.until_served()
            assert set(server.configured) == {GATE, "others"}
            published.cameras.remove(GATE)
            await server.until(lambda: GATE not in server.configured)
        assert set(server.configured) == {"others"}


async def test_a_server_full_of_foreign_paths_hides_nothing(tmp_path: Path) -> None:
    """The own path is found among thousands, and the list that clients get is bounded."""
    server = FakeMediaMtx()
    async with deadline(), server.running():
        server.paths |= {f"a{n:05}": FakePath(OTHERS, ready=True) for n in range(FLOOD)}
        async with open_published(tmp_path, server.config()) as published:
            await published.until_served()
            listed = published.streams.listed()
            assert listed[0].name == GATE
            assert listed[0].ready
            assert len(listed) == 1000
            assert listed[1].source == "rtspSource"


async def test_a_server_that_reads_no_more_is_left_and_tried_again(tmp_path: Path) -> None:
    """What it does not take is dropped up to the newest key frame; the process is ended."""
    server = FakeMediaMtx(rtsp_fault="deaf")
    noise = tmp_path / "noise.mp4"  # of many bytes, so that the buffers up to the server fill soon
    made = run(
        *(str(PROGRAM), "-f", "lavfi", "-i", "nullsrc=size=320x180:rate=25,geq=random(1)*255"),
        *("-t", "4", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-g", "12", str(noise)),
    )
    assert made.returncode == 0, made.stderr
    camera = CameraConfig(GATE, FileSource(noise), device="gate", codec="copy", always_on=True)
    async with (
        deadline(120),
        server.running(),
        open_published(tmp_path, server.config(), camera) as published,
    ):
        await published.until_state(PublicationState.PUBLISHING)
        await published.until_state(PublicationState.RESTING)
        status = published.streams.publication(GATE)
        assert status.problem == problems.STALLED
        assert status.frames_dropped > 0
        assert published.camera.status.state is CameraState.STREAMING
        server.recover()
        await server.until(lambda: server.paths[GATE].pictures > 30)


async def test_a_camera_is_published_only_while_it_captures_unless_always(tmp_path: Path) -> None:
    """`capturing` starts no capture; `always` does; `publish = false` is never published."""
    server = FakeMediaMtx()
    idle = (
        CameraConfig(GATE, PICTURES, device="gate"),
        CameraConfig(CameraId("yard"), PICTURES, device="yard", publish=False, always_on=True),
    )
    async with deadline(), server.running():
        async with open_published(tmp_path / "a", server.config(), *idle) as published:
            await published.until_state(PublicationState.WAITING)
            await published.until_view(lambda status: status == "healthy")
            await published.cameras.find("yard").published.wait_until(
                lambda status: status.state is CameraState.STREAMING
            )
            assert published.camera.status.state is CameraState.IDLE
            assert server.paths == {}
            await published.camera.start_recording(REQUEST)
            await published.until_served()
            await published.camera.stop_recording()
            await published.until_not_served()
        async with open_published(tmp_path / "b", server.config(publish="always"), *idle) as always:
            await always.until_served()
            assert set(server.configured) == {GATE}


async def test_recording_with_a_server_that_is_killed_ten_times(tmp_path: Path) -> None:
    """Killed and started again ten times, while a camera records: every packet is in the files."""
    film = tmp_path / "film.mp4"
    made = run(
        *(str(PROGRAM), "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "40"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", str(film)),
    )
    assert made.returncode == 0, made.stderr
    server = FakeMediaMtx()
    camera = CameraConfig(GATE, FileSource(film, loop=False), device="gate", codec="copy")
    async with deadline(180):
        async with server.running():
            config = server.config()
        async with open_published(tmp_path, config, camera) as published:
            await published.camera.start_recording(REQUEST)
            for _ in range(KILLS):
                async with server.running():
                    await server.until(
                        lambda: GATE in server.paths and server.paths[GATE].pictures > 3
                    )
                await published.until_not_served()
            await published.camera.published.wait_until(lambda status: status.session is None)
            starts = published.streams.publication(GATE).starts
        files = sorted(published.folder.glob("*.mp4"))
    assert starts >= KILLS
    program = str(PROGRAM)
    assert joined(program, files)["video"] == packets(program, film)["video"]
