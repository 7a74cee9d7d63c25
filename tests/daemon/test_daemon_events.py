"""Events of a real daemon: numbered and kept over restarts and kills, replayed to clients."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from running_daemon import Daemon, NewDaemon, small_camera
from trio_websocket import WebSocketConnection, wrap_client_stream


@attrs.define(eq=False)
class RawClient:
    """A client of its own making, which sees the frames as they come."""

    socket: WebSocketConnection
    key: str

    async def send(self, method: str, **params: object) -> None:
        """Send a call with the key in it."""
        call = {"jsonrpc": "2.0", "id": method, "method": method}
        await self.socket.send_message(json.dumps(call | {"params": params}))

    async def frame(self) -> Any:
        """Receive one frame."""
        return json.loads(await self.socket.get_message())


@asynccontextmanager
async def raw_client(daemon: Daemon) -> AsyncIterator[RawClient]:
    """Connect without any call; the library leaves the socket open when a daemon is killed."""
    host = daemon.url.removeprefix("ws://").removesuffix("/ws")
    stream = await trio.open_tcp_stream(host.partition(":")[0], int(host.partition(":")[2]))
    try:
        async with trio.open_nursery() as nursery:
            yield RawClient(await wrap_client_stream(nursery, stream, host, "/ws"), daemon.key)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def record(daemon: Daemon, camera: str = "camera0") -> None:
    """Start and stop a recording."""
    async with daemon.client() as client:
        await client.call("start_recording", device=camera)
        await client.call("stop_recording", device=camera)


async def past(daemon: Daemon, **params: object) -> Any:
    """Ask for kept events."""
    return await daemon.call("get_events", limit=1000, **params)


def numbers(answer: Any) -> list[int]:
    """List the numbers of an answer."""
    return [each["params"]["seq"] for each in answer["events"]]


async def test_a_restart_goes_on_with_the_numbers_and_has_the_events(daemon: Daemon) -> None:
    """Nothing is missing behind an orderly stop, and the number 1 does not come again."""
    await record(daemon)
    before = await past(daemon, since=0)
    assert before["missed"] == 0
    assert {"recording_status_update", "camera_status_update"} <= {
        each["method"] for each in before["events"]
    }
    await daemon.stop()
    await daemon.start()
    after = await past(daemon, since=0)
    assert after["events"][: len(before["events"])] == before["events"]
    assert (after["missed"], after["oldest"]) == (0, before["oldest"])
    await record(daemon)
    later = await past(daemon, since=after["last"])
    assert later["missed"] == 0
    assert numbers(later) == list(range(after["last"] + 1, later["newest"] + 1))


async def test_a_daemon_that_is_killed_repeats_no_number_and_says_what_is_missing(
    daemon: Daemon,
) -> None:
    """Every event that a client saw is kept or counted; the client goes on where it was."""
    seen: dict[int, Any] = {}
    for _ in range(3):
        async with raw_client(daemon) as raw, trio.open_nursery() as nursery:
            await raw.send("subscribe_events", since=max(seen, default=0), auth_token=raw.key)
            answer = (await raw.frame())["result"]
            known = set(seen)
            lost = answer["missed"]

            async def follow(raw: RawClient = raw, known: set[int] = known) -> None:
                while True:
                    event = await raw.frame()
                    assert event["params"]["seq"] not in known
                    known.add(event["params"]["seq"])
                    seen[event["params"]["seq"]] = event

            nursery.start_soon(follow)
            assert lost <= 1024
            with trio.fail_after(100):
                await daemon.call("start_recording", device="camera0")
                while not any(e["params"].get("status") == "PROGRESS" for e in seen.values()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            daemon.signal(signal.SIGKILL)
            nursery.cancel_scope.cancel()
        await daemon.wait_end()
        daemon.wait_no_processes()
        await daemon.start()
        kept = await past(daemon, since=0)
        assert numbers(kept) == sorted(set(numbers(kept)))
        assert kept["oldest"] == 1
        behind = set(seen) - set(numbers(kept))
        assert len(behind) <= kept["missed"]
        assert kept["newest"] >= max(seen)
        for each in kept["events"]:
            number = each["params"]["seq"]
            if number in seen:
                assert seen[number]["params"] == each["params"]


async def test_nothing_of_a_call_comes_before_its_answer(daemon: Daemon) -> None:
    """The first frame after a start and after a stop is the answer."""
    async with raw_client(daemon) as raw:
        await raw.send("subscribe_events", topics=["recording"], auth_token=raw.key)
        assert (await raw.frame())["id"] == "subscribe_events"
        for method, status in (("start_recording", "STARTED"), ("stop_recording", "STOPPED")):
            await raw.send(method, device="camera0")
            while "id" not in (frame := await raw.frame()):
                assert frame["params"]["status"] in ("PROGRESS", "ROTATED"), status
            assert frame["result"]["status"] == status
            while (frame := await raw.frame())["params"]["status"] != status:
                assert frame["params"]["status"] in ("PROGRESS", "ROTATED")


async def test_a_recording_is_there_twice_in_its_notification(daemon: Daemon) -> None:
    """The nested object has the fields of the notification, for clients that look there."""
    await record(daemon)
    events = (await past(daemon, since=0, topics=["recording"], camera="camera0"))["events"]
    assert [e["params"]["status"] for e in events][:: len(events) - 1] == ["STARTED", "STOPPED"]
    for event in events:
        params = event["params"]
        nested = params.pop("recording")
        assert nested == {k: v for k, v in params.items() if k not in ("seq", "time")}
        assert {"device_path", "recording_id", "filename", "start_time", "duration"} <= set(nested)
    assert events[0]["params"]["duration"] == 0


async def test_a_state_folder_that_cannot_be_written_stops_nothing(new_daemon: NewDaemon) -> None:
    """A file where the folder of events should be: recordings and events go on, in memory."""
    daemon = new_daemon()
    daemon.configure(cameras=[small_camera()])
    state = daemon.folder / "state"
    state.mkdir()
    (state / "events").write_text("in the way")
    await daemon.start()
    await record(daemon)
    answer = await past(daemon)
    assert len(answer["events"]) > 2
    assert min(numbers(answer)) > 10**12
    assert "event_log_not_written" in daemon.log
    await daemon.stop()
