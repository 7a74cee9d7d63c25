"""Sessions outlive the daemon: after a kill or a restart they continue under the same id."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import trio
from running_daemon import (
    Daemon,
    NewDaemon,
    check_receipt,
    hash_of,
    listening,
    recovery_over,
    small_camera,
)

from camd.client import Client

RESUMES = {"recording": {"rotation": "1s", "resume_sessions": True}}


def _configured(new_daemon: NewDaemon, **recording: object) -> Daemon:
    daemon = new_daemon()
    settings = {"recording": RESUMES["recording"] | recording}
    daemon.configure(settings, cameras=[small_camera()])
    return daemon


async def _recording(client: Client) -> dict[str, Any]:
    """Wait until the camera records again."""
    async with listening(client) as notified:
        status: Any = await client.call("get_recording_status", device="camera0")
        if status is None or status["status"] != "RECORDING":
            await notified.recording("ROTATED")
            status = await client.call("get_recording_status", device="camera0")
    assert isinstance(status, dict)
    return status


async def test_a_session_continues_in_the_next_run(new_daemon: NewDaemon) -> None:
    """After SIGKILL and after SIGTERM: same id, same owner, and one gap, `daemon_down`, between
    the files of the two runs."""
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            for number in (signal.SIGKILL, signal.SIGTERM):
                nursery.start_soon(goes_on, _configured(new_daemon), number)


async def goes_on(daemon: Daemon, number: signal.Signals) -> None:
    """End a daemon that records; check the session after the next run has stopped it."""
    await daemon.start()
    async with daemon.client() as client, listening(client) as notified:
        started = await client.call("start_recording", device="camera0", key="k")
        await notified.recording("ROTATED")
        daemon.signal(number)
        await daemon.wait_end()
    await daemon.start()
    async with daemon.client() as client:
        running = await _recording(client)
        await recovery_over(client)
        for file in running["files"]:
            if file["status"] != "recording":  # a recovered one's hash comes when it was read
                await hash_of(client, file["filename"])
        again = await client.call("start_recording", device="camera0", key="k")
        stopped = await client.call("stop_recording", device="camera0")
    assert running["session_id"] == again["session_id"] == started["session_id"]
    assert stopped["session_id"] == started["session_id"]
    assert stopped["start_time"] == started["start_time"]
    receipt = stopped["receipt"]
    (gap,) = receipt["gaps"]
    assert (gap["cause"], gap["exact"]) == ("daemon_down", False)
    # By their order: a busy machine may date the first file of a run later than those that follow.
    files = receipt["files"]
    after = [file["start_time"] for file in files].index(gap["to"])
    assert max(file["end_time"] for file in files[:after]) == gap["from"]
    assert files[after - 1]["end_time"] == gap["from"]
    assert receipt["frames_captured"] == receipt["frames_written"]
    assert receipt["frames_written"] == sum(file["frames"] for file in receipt["files"])
    await check_receipt(daemon, receipt)


async def _frames(client: Client, *, more_than: int) -> None:
    """Wait until the session has more frames."""
    while True:
        status = await client.call("get_recording_status", device="camera0")
        if status["frames_written"] > more_than:
            return
        await trio.sleep(0.05)


async def test_a_stopped_session_stays_stopped(new_daemon: NewDaemon) -> None:
    """A restart does not continue a session that a client has stopped."""
    daemon = _configured(new_daemon)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            await client.call("start_recording", device="camera0")
            await client.call("stop_recording", device="camera0")
        await daemon.stop()
        await daemon.start()
        async with daemon.client() as client:
            assert await client.call("get_recording_status", device="camera0") is None


async def test_with_resume_sessions_off_no_session_continues(new_daemon: NewDaemon) -> None:
    """The session ends with its last frame; the ledger has what may have been lost after it: the
    fragment in flight."""
    daemon = _configured(new_daemon, resume_sessions=False)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            started = await client.call("start_recording", device="camera0")
            daemon.signal(signal.SIGKILL)
            await daemon.wait_end()
        await daemon.start()
        async with daemon.client() as client:
            other = await client.call("start_recording", device="camera0")
            assert other["session_id"] != started["session_id"]
            await recovery_over(client)
            await _ledger(client, started["filename"])
            info = await client.call("get_recording_info", filename=started["filename"])
    (gap,) = info["gaps"]
    assert (info["status"], info["session_id"]) == ("completed", started["session_id"])
    assert (gap["cause"], gap["exact"], gap["duration"]) == ("daemon_down", False, 0.5)


async def test_a_timed_session_whose_time_is_over_is_closed(new_daemon: NewDaemon) -> None:
    """The ledger has what is missing at the end of a timed session."""
    daemon = _configured(new_daemon)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            started = await client.call("start_recording", device="camera0", duration=4)
            daemon.signal(signal.SIGKILL)
            await daemon.wait_end()
        await trio.sleep(4.5)  # its time passes while no daemon runs
        await daemon.start()
        async with daemon.client() as client:
            gaps = await _ledger(client, started["filename"])
            assert await client.call("get_recording_status", device="camera0") is None
    (gap,) = gaps
    assert gap["cause"] == "daemon_down"
    assert 0 < gap["duration"] <= 4


async def _ledger(client: Client, filename: str) -> list[dict[str, Any]]:
    """Wait for a file's ledger, which is written in the background, without a notification."""
    while True:
        info: Any = await client.call("get_recording_info", filename=filename)
        if info["gaps"]:
            gaps: list[dict[str, Any]] = info["gaps"]
            return gaps
        await trio.sleep(0.05)


async def test_sessions_and_the_ledger_are_listed(new_daemon: NewDaemon) -> None:
    """Recorded and missing footage is listed by camera, session and time, also of a running
    session."""
    daemon = _configured(new_daemon)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client, listening(client) as notified:
            started = await client.call("start_recording", device="camera0")
            await notified.recording("ROTATED")
            daemon.signal(signal.SIGKILL)
            await daemon.wait_end()
        await daemon.start()
        async with daemon.client() as client:
            await _recording(client)
            running: Any = await client.call("get_sessions")
            await _frames(client, more_than=running["sessions"][0]["frames"])
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
            ended: Any = await client.call("get_sessions", camera="camera0")
            gaps: Any = await client.call("get_gaps", session_id=started["session_id"])
            none: Any = await client.call("get_gaps", to=receipt["files"][0]["start_time"])
    (now,), (then,) = running["sessions"], ended["sessions"]
    assert now["session_id"] == then["session_id"] == started["session_id"]
    assert (now["status"], then["status"]) == ("RECORDING", "ENDED")
    assert gaps["gaps"] == receipt["gaps"]
    assert (none["gaps"], none["total"]) == ([], 0)
    assert then["frames"] == receipt["frames_written"] > now["frames"] > 0
    assert then["files"] == len(receipt["files"])
    recorded = sum(file["duration"] for file in receipt["files"])
    missing = sum(gap["duration"] for gap in receipt["gaps"])
    assert missing > 0
    coverage = 100 * recorded / (recorded + missing)
    assert then["coverage_percent"] == pytest.approx(coverage, abs=0.01)
