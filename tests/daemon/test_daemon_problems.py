"""Problems with folders, volumes, FFmpeg, configuration and ports: the daemon reports what is
wrong, keeps running where it can, and recovers by itself."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from running_daemon import Daemon, NewDaemon, check_receipt, listening, small_camera
from small_volume import MEBIBYTE, MS_RDONLY, MS_REMOUNT, fill, mount, on_volume

from camd.client import Client, RemoteError


async def refusal(daemon: Daemon, camera: str = "camera0") -> dict[str, Any]:
    """Start a recording; return the error."""
    with pytest.raises(RemoteError) as refused:
        await daemon.call("start_recording", device=camera)
    assert str(daemon.folder) not in refused.value.message
    assert refused.value.data["suggestion"]
    return {"code": refused.value.code, **refused.value.data}


async def health(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    """Get the health page."""
    page = await daemon.get("/health/system", anonymous=True)
    return page.status, json.loads(page.body)


async def records_now(daemon: Daemon) -> None:
    """Record for a moment, and check the receipt."""
    async with daemon.client() as client:
        await client.call("start_recording", device="camera0")
        receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
    await check_receipt(daemon, receipt)


# --- volumes --------------------------------------------------------------------------------


async def test_a_full_volume_refuses_recordings_until_space_returns(
    new_daemon: NewDaemon, volume: Path
) -> None:
    """−1010 with details, a health page that says so, and recording again without a restart."""
    daemon = new_daemon()
    on_volume(daemon, volume)
    filler = fill(volume, left_bytes=5 * MEBIBYTE)
    with trio.fail_after(300):
        await daemon.start()
        refused = await refusal(daemon)
        assert refused["code"] == -1010
        assert refused["usage_percent"] > 90
        assert refused["total_space"] == 64 * MEBIBYTE
        assert refused["available_space"] <= 5 * MEBIBYTE
        assert refused["retryable"]
        status, page = await health(daemon)
        assert (status, page["status"]) == (200, "degraded")
        assert page["components"]["storage"]["status"] == "degraded"
        space = await daemon.call("get_storage_info")
        assert (space["threshold_status"], space["critical_space_warning"]) == ("blocked", True)
        filler.unlink()
        await refusal_ends(daemon)
        status, page = await health(daemon)
        found = page["components"]["storage"]
        assert status == 200
        assert found["status"] == "healthy" or found["details"] == "the disk is slow"
        await daemon.stop()


async def refusal_ends(daemon: Daemon) -> None:
    """Wait until a start works: it uses a fresh sample of the volume."""
    async with daemon.client() as client:
        started = await client.call("start_recording", device="camera0")
        assert started["status"] == "STARTED"
        await client.call("stop_recording", device="camera0")


async def test_a_recording_that_does_not_fit_is_refused_with_the_time_that_would(
    new_daemon: NewDaemon, volume: Path
) -> None:
    """−1008 has the time for which there is space; a recording of that length is accepted."""
    daemon = new_daemon()
    on_volume(daemon, volume)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            with pytest.raises(RemoteError) as refused:
                await client.call("start_recording", device="camera0", duration_hours=1)
            assert refused.value.code == -1008
            fits = refused.value.data["fits_seconds"]
            assert 60 < fits < 3600
            await client.call("start_recording", device="camera0", duration=fits)
            await client.call("stop_recording", device="camera0")


async def test_a_full_volume_pauses_the_session_and_space_resumes_it(
    new_daemon: NewDaemon, volume: Path
) -> None:
    """The file is sealed and plays, the ledger has the gap to the frame, and the same session
    continues."""
    daemon = new_daemon()
    on_volume(daemon, volume, rotation="2m")
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            filler = fill(volume, left_bytes=0)
            problem = await notified.recording("ERROR")
            assert problem["session_id"] == started["session_id"]
            status = await waits(client)
            assert status["session_id"] == started["session_id"]
            space = await notified.wait(
                lambda method, params: (
                    method == "storage_status_update" and params["threshold_status"] == "critical"
                )
            )
            assert space["code"] == -1010
            filler.unlink()
            await notified.recording("ROTATED")
            stopped = await client.call("stop_recording", device="camera0")
        await daemon.stop()
    assert stopped["session_id"] == started["session_id"]
    receipt = stopped["receipt"]
    assert len(receipt["files"]) >= 2
    assert {gap["cause"] for gap in receipt["gaps"]} == {"storage_full"}
    assert all(gap["exact"] and gap["frames"] > 0 for gap in receipt["gaps"])
    await check_receipt(daemon, receipt)


async def waits(client: Client) -> dict[str, Any]:
    """Wait until the session does: an attempt may have begun before the level was known."""
    while True:
        status: dict[str, Any] = await client.call("get_recording_status", device="camera0")
        if status["status"] == "WAITING":
            return status
        await trio.sleep(0.05)


async def test_a_read_only_volume_is_reported_until_it_is_writable(
    new_daemon: NewDaemon, volume: Path
) -> None:
    """−1015 and an unhealthy service that keeps running; once writable, it records."""
    daemon = new_daemon()
    on_volume(daemon, volume)
    mount(volume, MS_REMOUNT | MS_RDONLY, "size=64m")
    with trio.fail_after(300):
        await daemon.start()
        assert (await refusal(daemon))["code"] == -1015
        status, page = await health(daemon)
        assert (status, page["status"]) == (500, "unhealthy")
        details = page["components"]["storage"]["details"]
        assert (
            details
            == "storage is read_only: The disk of the recordings folder is mounted read-only"
        )
        (reason,) = (await daemon.call("get_status"))["reasons"]
        assert reason.endswith(f"mount -o remount,rw {volume}")
        assert await daemon.call("ping") == "pong"
        mount(volume, MS_REMOUNT, "size=64m")
        await refusal_ends(daemon)
        await daemon.stop()


async def test_a_folder_that_cannot_be_created_is_missing_until_it_exists(
    new_daemon: NewDaemon,
) -> None:
    """−1014 and an unhealthy service that keeps running; once the folder exists, it records."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    daemon.recordings.write_text("a file is in the way", encoding="utf-8")
    with trio.fail_after(300):
        await daemon.start()
        assert (await refusal(daemon))["code"] == -1014
        with pytest.raises(RemoteError) as refused:
            await daemon.call("list_recordings")
        assert refused.value.code == -1014
        status, page = await health(daemon)
        assert (status, page["components"]["storage"]["status"]) == (500, "unhealthy")
        assert "missing" in page["components"]["storage"]["details"]
        daemon.recordings.unlink()
        daemon.recordings.mkdir()
        await records_now(daemon)
        status, page = await health(daemon)
        assert status == 200
        await daemon.stop()
    assert "Traceback" not in daemon.log


# --- FFmpeg, cameras, configuration, ports -----------------------------------------------------


async def test_without_ffmpeg_the_service_runs_and_reports_it(
    new_daemon: NewDaemon,
) -> None:
    """The status says what is missing from the start; a start is refused with −32006 and advice."""
    daemon = new_daemon()
    daemon.configure({"ffmpeg": {"path": "/nowhere/ffmpeg"}}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        await daemon.wait_log('"ffmpeg_missing"')  # before anybody records
        reason = (await daemon.call("get_status"))["reasons"][0]  # a slow disk may be another
        assert "/nowhere/ffmpeg" in reason
        assert "ffmpeg.path" in reason
        refused = await refusal(daemon)
        assert (refused["code"], refused["cause"]) == (-32006, "ffmpeg_missing")
        assert "ffmpeg.path" in refused["suggestion"]
        assert (await daemon.call("get_server_info"))["ffmpeg_version"] is None
        assert await daemon.call("get_recording_status", device="camera0") is None
        await daemon.stop()


async def test_a_missing_source_is_refused_until_it_exists(
    new_daemon: NewDaemon, tmp_path: Path, clip: tuple[Path, list[str]]
) -> None:
    """−32006 with its cause; the same camera records as soon as its source exists."""
    source = tmp_path / "later.mp4"
    daemon = new_daemon()
    daemon.configure(cameras=[{"source": f"file:{source}"}])
    with trio.fail_after(300):
        await daemon.start()
        refused = await refusal(daemon)
        assert (refused["code"], refused["cause"]) == (-32006, "not_found")
        assert refused["camera_id"] == "camera0"
        source.symlink_to(clip[0])
        await records_now(daemon)
        await daemon.stop()


async def test_a_wrong_configuration_ends_the_start_with_every_mistake(
    new_daemon: NewDaemon,
) -> None:
    """Exit status 78, and all mistakes with their paths on stderr, without a traceback."""
    daemon = new_daemon()
    daemon.configure(
        {
            "server": {"listen": "nowhere", "prot": 1},
            "storage": {"warn_percent": 95, "block_percent": 90},
            "recording": {"rotation": "0s"},
        },
        [{"source": "test:?size=1x1"}, {"source": "usb:0"}],
    )
    with trio.fail_after(300):
        daemon.launch()
        assert await daemon.wait_end() == 78
    for path in (
        *("server.listen", "server.prot", "storage.", "recording.rotation"),
        *("camera[0].source", "camera[1].source"),
    ):
        assert path in daemon.log, daemon.log
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("setting", ["listen", "health_listen"])
async def test_a_port_that_is_taken_is_named(new_daemon: NewDaemon, setting: str) -> None:
    """Exit status 1, and a sentence with the address; also while devices are looked for."""
    daemon = new_daemon()
    with socket.create_server(("127.0.0.1", 0)) as taken, trio.fail_after(300):
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = {"server": {setting: address}, "discovery": {"v4l2": True}}
        daemon.configure(settings, [small_camera()])
        daemon.launch()
        assert await daemon.wait_end() == 1
    assert f"camd: {address}: the address is in use" in daemon.log
    assert "Traceback" not in daemon.log
