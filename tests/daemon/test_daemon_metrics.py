"""Metrics of a real daemon: what is recorded, what fails, who may read them."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

import trio
from prometheus_client.parser import text_string_to_metric_families
from running_daemon import Daemon, NewDaemon, listening, small_camera

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
HERE = (("camera", "camera0"),)


def get(daemon: Daemon, path: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
    """Make a request; return status, media type and body. Blocks."""
    connection = http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=300)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read().decode()
    finally:
        connection.close()


async def metrics(daemon: Daemon, **headers: str) -> tuple[int, str, str]:
    """Ask for /metrics."""
    return await trio.to_thread.run_sync(partial(get, daemon, "/metrics", headers))


async def samples(daemon: Daemon) -> Samples:
    """Return all samples of /metrics."""
    status, media_type, text = await metrics(daemon)
    assert (status, media_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_agree_with_the_receipt(new_daemon: NewDaemon) -> None:
    """Frames, bytes, seconds and gaps are those of the receipt, with a killed FFmpeg in between."""
    daemon = new_daemon()
    daemon.configure({}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            before = await samples(daemon)
            assert before["camd_camera_recording", HERE] == 0
            began = trio.current_time()
            await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED", 1)
            during = await samples(daemon)
            past = trio.current_time() - began
            assert during["camd_camera_recording_healthy", HERE] == 1
            assert during["camd_camera_state", (*HERE, ("state", "streaming"))] == 1
            assert 0 <= during["camd_camera_last_durable_frame_age_seconds", HERE] <= past
            (ffmpeg,) = daemon.processes()
            os.kill(ffmpeg, signal.SIGKILL)
            await notified.recording("GAP", 1)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
            after = await samples(daemon)
            answer = await client.call("get_metrics")
        await daemon.stop()
    assert after["camd_recorded_frames_total", HERE] == receipt["frames_written"]
    assert after["camd_camera_frames_total", HERE] >= receipt["frames_captured"]
    recorded = sum(file["duration"] for file in receipt["files"])
    assert abs(after["camd_recorded_seconds_total", HERE] - recorded) < 0.01
    gaps = [gap for gap in receipt["gaps"] if gap["cause"] == "encoder_exit"]
    exits = (*HERE, ("cause", "encoder_exit"))
    assert after["camd_gap_entries_total", exits] == len(gaps) == 1
    assert abs(after["camd_gap_seconds_total", exits] - gaps[0]["duration"]) < 0.01
    assert sum(v for (name, _), v in after.items() if name == "camd_ffmpeg_exits_total") == 1
    assert (
        after["camd_storage_sync_seconds_count", ()]
        > during["camd_storage_sync_seconds_count", ()]
        > 0
    )
    assert after["camd_requests_total", ()] >= 3
    (camera,) = answer["cameras"]
    assert camera["bytes_recorded"] == after["camd_recorded_bytes_total", HERE]
    assert camera["gap_seconds"] == {"encoder_exit": round(gaps[0]["duration"], 3)}
    assert answer["active_connections"] == 1
    assert 0 < answer["memory_usage"] < 100
    assert 0 < answer["cpu_usage"] < 100


async def test_who_may_read_metrics(new_daemon: NewDaemon) -> None:
    """From this machine everybody; through a proxy, or from elsewhere, whoever has a key."""
    daemon = new_daemon()
    daemon.configure({}, [small_camera()])
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            key = daemon.key
            assert (await metrics(daemon))[0] == 200
            status, _, text = await metrics(daemon, **{"X-Forwarded-For": "192.0.2.1"})
            assert (status, "camd_" in text) == (401, False)
            forwarded = {"Forwarded": "for=192.0.2.1", "Authorization": "Bearer wrong"}
            assert (await metrics(daemon, **forwarded))[0] == 401
            forwarded["Authorization"] = f"Bearer {key}"
            assert (await metrics(daemon, **forwarded))[0] == 200
            assert await client.call("ping") == "pong"
        await daemon.stop()
