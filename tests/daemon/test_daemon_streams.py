"""What clients are told of streams by a whole daemon, whose media server is well or hangs."""

from __future__ import annotations

import json
from typing import Any

import trio
from fake_mediamtx import OTHERS, FakeMediaMtx, FakePath
from running_daemon import Daemon, NewDaemon, small_camera

from camd.client import Client

MANY = 50  # the server is given 5 s for an answer
CALLS = ("get_camera_list", "get_status", "get_streams")


def configured(new_daemon: NewDaemon, server: FakeMediaMtx) -> Daemon:
    """Make a daemon with one camera that is published and one that is not."""
    daemon = new_daemon()
    section = {
        "api": f"http://127.0.0.1:{server.api_port}",
        "rtsp": f"rtsp://127.0.0.1:{server.rtsp_port}",
        "username": server.username,
        "password": server.password,
    }
    cameras = [small_camera(always_on=True), small_camera(publish=False)]
    daemon.configure({"mediamtx": section}, cameras)
    return daemon


async def health(daemon: Daemon, page: str = "mediamtx") -> dict[str, Any]:
    """Read a health page, for which no key is needed."""
    answer = await daemon.get(f"/health/{page}", anonymous=True)
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def until_available(client: Client, wanted: bool) -> dict[str, Any]:
    """Wait until the stream of camera0 can be had, or cannot."""
    while True:
        found: dict[str, Any] = await client.call("get_stream_url", device="camera0")
        if found["available"] is wanted:
            return found
        await trio.sleep(0.05)


async def until_degraded(client: Client) -> dict[str, Any]:
    """Wait until the status says that the server does not answer; its stream may end before."""
    while True:
        found: dict[str, Any] = await client.call("get_status")
        if found["components"]["mediamtx_controller"] == "degraded":
            return found
        await trio.sleep(0.05)


async def test_clients_are_told_of_streams_and_of_their_server(new_daemon: NewDaemon) -> None:
    """Lists, addresses, health and components agree; a camera that is not published has none."""
    server = FakeMediaMtx(username="camd", password="a-secret-password")
    with trio.fail_after(300):
        async with server.running():
            server.paths["foreign"] = FakePath(source=OTHERS, ready=True)
            daemon = configured(new_daemon, server)
            await daemon.start()
            async with daemon.client() as client:
                url = await until_available(client, True)
                rtsp = f"rtsp://127.0.0.1:{server.rtsp_port}/camera0"
                assert url["stream_url"] == rtsp
                assert url["stream_name"] == "camera0"
                assert url["formats"] == ["rtsp", "hls", "webrtc"]
                cameras = (await client.call("get_camera_list"))["cameras"]
                assert [camera["stream_url"] for camera in cameras] == [rtsp, None]
                assert cameras[0]["streams"]["hls"].endswith(":8888/camera0/index.m3u8")
                assert cameras[1]["streams"] == {}
                other = await client.call("get_stream_url", device="camera1")
                assert (other["available"], other["state"]) == (False, "OFF")
                streams = await client.call("get_streams")
                assert [(one["name"], one["ready"]) for one in streams] == [
                    ("camera0", True),
                    ("foreign", True),
                ]
                assert streams[1]["source"] == "rtspSource"
                status = await client.call("get_status")
                assert status["components"]["mediamtx_controller"] == "running"
            page = await health(daemon)
            assert (page["status"], page["version"], page["streams_ready"]) == (
                "healthy",
                "v1.20.0",
                1,
            )
            assert (await health(daemon, "system"))["components"]["mediamtx"]["status"] == "healthy"
            await daemon.stop()
            assert "a-secret-password" not in daemon.log
            assert server.configured == {}


async def test_a_reload_begins_and_ends_publishing(new_daemon: NewDaemon) -> None:
    """Without a restart, and without a new capture; `/metrics` and `get_status` follow."""
    server, daemon = FakeMediaMtx(username="camd", password="a-secret-password"), new_daemon()
    cameras = [small_camera(always_on=True)]
    daemon.configure(cameras=cameras)
    with trio.fail_after(300):
        async with server.running():
            section = {
                "api": f"http://127.0.0.1:{server.api_port}",
                "rtsp": f"rtsp://127.0.0.1:{server.rtsp_port}",
                "username": "camd",
                "password": "a-secret-password",
            }
            await daemon.start()
            async with daemon.client() as client:
                await client.call("start_recording", device="camera0")
                capture = daemon.processes()
                await client.call("take_snapshot", device="camera0")
                daemon.configure({"mediamtx": section, "snapshots": {"max_count": 5}}, cameras)
                changes = await client.call("reload_config")
                assert set(changes["applied"]) == {"mediamtx", "snapshots.max_count"}
                assert changes["restart_needed"] == []
                await until_available(client, True)
                found = await metrics(daemon)
                assert found["camd_mediamtx_up"] == 1
                assert found['camd_publication_state{camera="camera0",state="publishing"}'] == 1
                assert found['camd_publication_bytes_total{camera="camera0"}'] > 1000
                assert found['camd_publication_starts_total{camera="camera0"}'] >= 1
                assert found['camd_snapshots_taken_total{camera="camera0"}'] == 1
                assert found["camd_snapshot_decode_seconds_count"] == 1
                assert found["camd_storage_snapshots_bytes"] > 1000
                daemon.configure({"snapshots": {"max_count": 5}}, cameras)
                changes = await client.call("reload_config")
                assert changes["applied"] == ["mediamtx"]
                await until_available(client, False)
                await server.until(lambda: server.configured == {})
                status = await client.call("get_status")
                assert status["components"]["mediamtx_controller"] == "disabled"
                assert set(capture) <= set(daemon.processes())
                recording = await client.call("get_recording_status", device="camera0")
                assert recording["gaps"] == []
                assert "camd_mediamtx_up" not in await metrics(daemon)
            await daemon.stop()
    assert "a-secret-password" not in daemon.log


async def metrics(daemon: Daemon) -> dict[str, float]:
    """Read /metrics: values by name and labels."""
    answer = await daemon.get("/metrics", anonymous=True)
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_a_hung_server_delays_no_answer(new_daemon: NewDaemon) -> None:
    """So many calls would take minutes if one waited for it; the stream is not offered any more."""
    server = FakeMediaMtx()
    with trio.fail_after(300):
        async with server.running():
            daemon = configured(new_daemon, server)
            await daemon.start()
            async with daemon.client() as client:
                await until_available(client, True)
                server.api_fault, server.rtsp_fault = "silent", "deaf"
                await until_available(client, False)
                for method in CALLS * MANY:
                    await client.call(method)
                status = await until_degraded(client)
                assert status["status"] in ("degraded", "healthy")
            page = await health(daemon)
            assert page["status"] == "degraded"
            assert "does not answer" in page["details"]
            assert (await health(daemon, "live")) == {"status": "alive"}
            await daemon.stop()


async def test_without_the_section_nothing_is_published(new_daemon: NewDaemon) -> None:
    """The component says `disabled`, and the lists are empty."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        assert await daemon.call("get_streams") == []
        url = await daemon.call("get_stream_url", device="camera0")
        assert (url["available"], url["stream_url"], url["stream_name"]) == (False, None, None)
        status = await daemon.call("get_status")
        assert status["components"]["mediamtx_controller"] == "disabled"
        page = await health(daemon)
        assert (page["status"], page["enabled"]) == ("healthy", False)
        await daemon.stop()
