"""Schedules in a real daemon: started, stopped by hand, reloaded, killed, shown."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timedelta
from typing import Any

import trio
from running_daemon import Daemon, NewDaemon, small_camera

from camd.client import Client
from camd.clock import now

ALWAYS = {"name": "always", "cameras": "*", "from": "00:00", "to": "24:00", "timezone": "UTC"}
OFF = {**ALWAYS, "enabled": False}


def _configure(daemon: Daemon, *schedules: dict[str, Any]) -> None:
    settings = {"recording": {"resume_sessions": True}}
    daemon.configure(settings, cameras=[small_camera()], schedules=schedules)


async def _recording(client: Client) -> dict[str, Any]:
    """Wait until the schedule's session has a file and is shown; return its status."""
    async with client.events(["camera", "recording"], reconnect=False) as events:
        while True:
            found = await client.call("get_recording_status", device="camera0")
            shown = (await client.camera("camera0")).schedule
            if found and found["owner"] == "schedule always" and found["files"]:
                assert shown is not None
                if shown.recording:
                    return dict(found)
            await anext(events)


async def _idle(client: Client) -> None:
    """Wait until the camera does not record."""
    async with client.events(["camera", "recording"], reconnect=False) as events:
        while await client.call("get_recording_status", device="camera0") is not None:
            await anext(events)


async def _killed_while_it_records(daemon: Daemon) -> dict[str, Any]:
    """Start a daemon whose schedule records, and kill it; return the session."""
    _configure(daemon, ALWAYS)
    await daemon.start()
    async with daemon.client() as client:
        session = await _recording(client)
        # A file is shown before the index has its session; a kill in between leaves the file alone.
        wanted = {"session_id": session["session_id"]}
        while not (await client.call("get_sessions", **wanted))["total"]:  # noqa: ASYNC110
            await trio.sleep(0.05)
    daemon.signal(signal.SIGKILL)
    await daemon.wait_end()
    return session


async def test_a_schedule_records_yields_to_a_stop_and_follows_a_reload(
    new_daemon: NewDaemon,
) -> None:
    """A stop by hand is kept over a restart; a start by hand and a reload go on from there."""
    daemon = new_daemon()
    _configure(daemon, ALWAYS)
    with trio.fail_after(300):
        await daemon.start()
        async with daemon.client() as client:
            await _recording(client)
            shown = (await client.camera("camera0")).schedule
            assert shown is not None
            assert (shown.name, shown.active, shown.recording) == ("always", True, True)
            receipt = (await client.call("stop_recording", device="camera0"))["receipt"]
            assert receipt["durable"]
        await daemon.stop()
        await daemon.start()
        async with daemon.client() as client:
            (schedule,) = (await client.schedules()).schedules
            assert schedule.overridden_by == {"camera0": "manual_stop"}
            assert await client.call("get_recording_status", device="camera0") is None
            printed = await daemon.camd("schedule")
            assert "somebody stopped it" in printed.stdout
            answer = json.loads((await daemon.camd("schedule", "--json")).stdout)
            assert answer["schedules"][0]["overridden_by"] == {"camera0": "manual_stop"}

            await client.call("start_recording", device="camera0", duration=1)
            await _recording(client)  # the schedule follows the timed recording
            _configure(daemon, OFF)
            changes = await client.call("reload_config")
            assert changes == {
                "applied": ["schedule.always"],
                "restart_needed": [],
                "success": True,
            }
            await _idle(client)
        await daemon.stop()


async def test_a_session_of_a_schedule_that_is_gone_ends_after_a_restart(
    new_daemon: NewDaemon,
) -> None:
    """It is resumed, as any session is, and nobody wants it any more."""
    daemon = new_daemon()
    with trio.fail_after(300):
        session = await _killed_while_it_records(daemon)
        _configure(daemon)
        await daemon.start()
        async with daemon.client() as client:
            await _ended(client, session["session_id"])
            await _idle(client)


async def test_a_session_whose_window_is_over_is_not_resumed(new_daemon: NewDaemon) -> None:
    """It is closed, and the ledger has what is missing until the end of its window, not longer."""
    daemon = new_daemon()
    with trio.fail_after(300):
        session = await _killed_while_it_records(daemon)
        end = (now() + timedelta(seconds=2)).replace(microsecond=0)  # after the kill
        begin = end - timedelta(hours=1)
        times = {"from": f"{begin:%H:%M:%S}", "to": f"{end:%H:%M:%S}"}
        _configure(daemon, {**ALWAYS, **times})
        await trio.sleep(max(0.0, (end - now()).total_seconds()))
        await daemon.start()
        async with daemon.client() as client:
            found = await _ended(client, session["session_id"])
            page = await client.call("get_gaps", session_id=session["session_id"])
            assert found["reason"] == "daemon_down"
            (gap,) = page["gaps"]
            assert datetime.fromisoformat(gap["to"]) <= end
            (schedule,) = (await client.schedules()).schedules
            assert not schedule.active


async def _ended(client: Client, session_id: str) -> dict[str, Any]:
    """Wait until a session has ended, and return it."""
    while True:
        page = await client.call("get_sessions", session_id=session_id)
        if page["sessions"] and page["sessions"][0]["status"] == "ENDED":
            found: dict[str, Any] = page["sessions"][0]
            return found
        await trio.sleep(0.05)
