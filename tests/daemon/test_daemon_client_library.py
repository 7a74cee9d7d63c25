"""The client library against a real daemon: results have its fields, events survive its kills."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import trio
from running_daemon import Daemon, check_receipt

from camd.auth.tokens import mint_token
from camd.client import (
    CameraEvent,
    CameraUnknownError,
    Client,
    EventsMissed,
    FileNotKnownError,
    ForbiddenError,
    InvalidParamsError,
    MethodNotFoundError,
    NotRecordingError,
    OtherEvent,
    RecordingEvent,
    StorageEvent,
    connect,
)
from camd.clock import now
from camd.contract.result_types import wire_name
from camd.rpc.roles import Role


def differences(value: Any, answer: Any, path: str = "result") -> Iterator[str]:
    """List fields that an answer has and its value has not."""
    if isinstance(value, tuple) and isinstance(answer, list):
        assert len(value) == len(answer), path
        for index, (one, other) in enumerate(zip(value, answer, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif attrs.has(type(value)) and isinstance(answer, dict):
        known = {wire_name(field): field.name for field in attrs.fields(type(value))}
        for name, part in answer.items():
            if name not in known:
                yield f"{path}.{name} of {type(value).__name__}"
            else:
                yield from differences(getattr(value, known[name]), part, f"{path}.{name}")


class RememberingClient(Client):
    """Uses the connection of another client, and remembers the answers beside their values."""

    def __init__(self, plain: Client) -> None:
        super().__init__(plain.address, reconnect=False, timeout=None)
        self.plain = plain
        self.answers: list[tuple[str, Any]] = []

    async def call(self, method: str, /, **params: object) -> Any:
        """Make a call, and remember the answer."""
        answer = await self.plain.call(method, **params)
        self.answers.append((method, answer))
        return answer


async def test_every_result_has_the_fields_of_the_daemons_answer(daemon: Daemon) -> None:
    """Of each method with a typed result: all that the daemon sends is there, and nothing else."""
    async with daemon.client() as plain:
        service = RememberingClient(plain)
        values: list[Any] = []

        async def keep(value: Any) -> Any:
            values.append(value)
            return value

        await keep(await service.capabilities("camera0"))
        started = await keep(await service.start_recording("camera0", preroll=0))
        async with plain.events(["recording.progress"]) as events:
            await anext(events)
        await keep(await service.recording_status("camera0"))
        await keep(await service.camera("camera0"))
        await keep(await service.sessions(limit=5))
        stopped = await keep(await service.stop_recording("camera0"))
        name = stopped.receipt.files[0].filename
        page = await keep(await service.recordings(camera="camera0", start=started.start_time))
        assert name in [file.filename for file in page.files]
        await keep(await service.recording(name))
        pinned = await keep(await service.pin_recording(name, reason="evidence"))
        assert pinned.pin is not None
        assert pinned.pin.reason == "evidence"
        await keep(await service.recording(name))
        await keep(await service.unpin_recording(name))
        await keep(await service.sessions(session_id=started.session_id))
        await keep(await service.gaps())
        timeline = await keep(await service.timeline("camera0"))
        assert name in [span.filename for span in timeline.spans]
        await keep(await service.storage())
        await keep(await service.status())
        await keep(await service.server_info())
        await keep(await service.past_events(since=0, topics=["recording"], camera="camera0"))
        await keep(await service.metrics())
        await keep(await service.reload_config())
        await keep(await service.devices())
        await keep(await service.stream("camera0"))
        await keep(await service.streams())
        await keep(await service.set_retention_policy("age", enabled=True, max_age_days=30))
        await keep(await service.preview_cleanup())
        await keep(await service.clean_up())
        await keep(await service.retention_policy())
        taken = await keep(await service.take_snapshot("camera0", format="png", width=80))
        assert (taken.width, taken.height, taken.format) == (80, 60, "png")
        await keep(await service.snapshots(camera="camera0"))
        await keep(await service.snapshot(taken.filename))
        await keep(await service.delete_snapshot(taken.filename))
        await keep(await service.get_export("camera0", started.start_time, stopped.end_time))
        await keep(await service.delete_recording(name))
        (cameras,) = [await service.cameras()]
        assert [each.camera_id for each in cameras] == ["camera0", "camera1"]
        values.append(cameras)
    found = [
        difference
        for value, (method, answer) in zip(values, service.answers, strict=True)
        for difference in differences(
            value, answer["cameras"] if method == "get_camera_list" else answer, method
        )
    ]
    assert found == []


async def test_a_recording_with_its_receipt(daemon: Daemon) -> None:
    """Values for people who write programs: the receipt is that of the files on disk."""
    async with connect(daemon.url, daemon.key) as service:
        started = await service.start_recording("camera0", duration=60)
        assert (started.status, started.duration) == ("STARTED", 60)
        assert await service.recording_status("camera1") is None
        status = await service.recording_status("camera0")
        assert status is not None
        assert status.session_id == started.session_id
        stopped = await service.stop_recording("camera0")
        receipt = stopped.receipt
        assert receipt.durable
        assert stopped.end_time > stopped.start_time
        await check_receipt(daemon, attrs.asdict(receipt))


async def test_a_picture_of_a_camera(daemon: Daemon) -> None:
    """A still is the picture itself, with its time; a refusal is that of the call."""
    async with connect(daemon.url, daemon.key) as service:
        asked = now()
        still = await service.still("camera0", quality=50, width=80, max_age_ms=1000)
        assert (still.data[:2], still.media_type) == (b"\xff\xd8", "image/jpeg")
        aged = still.time + timedelta(milliseconds=still.age_ms)
        assert asked - timedelta(milliseconds=1001) <= still.time <= aged
        assert asked - timedelta(milliseconds=1) <= aged <= now()
        png = await service.still("camera0", format="png", max_age_ms=60_000)
        assert png.data.startswith(b"\x89PNG")
        with pytest.raises(CameraUnknownError) as unknown:
            await service.still("camera7/../x")
        assert unknown.value.data["camera_id"] == "camera7/../x"
        with pytest.raises(InvalidParamsError):
            await service.still("camera0", quality=0)
        with pytest.raises(FileNotKnownError) as before:
            await service.still("camera0", at=datetime(2001, 1, 1, tzinfo=UTC))
        assert before.value.data["cause"] == "not_recorded"


async def test_refusals_have_classes(daemon: Daemon) -> None:
    """Programs tell them apart without numbers, and people are told what to do."""
    viewer = mint_token(
        "a-secret-for-tests-" + "0123456789abcdef" * 2,
        user_id="ann",
        role=Role.VIEWER,
        now=now().timestamp(),
        lifetime=3600,
    )
    async with connect(daemon.url, daemon.key) as service:
        with pytest.raises(CameraUnknownError) as unknown:
            await service.camera("camera7")
        assert unknown.value.data["camera_id"] == "camera7"
        assert (unknown.value.retryable, unknown.value.suggestion != "") == (False, True)
        with pytest.raises(NotRecordingError):
            await service.stop_recording("camera0")
        with pytest.raises(FileNotKnownError):
            await service.recording("nothing.mp4")
        with pytest.raises(InvalidParamsError) as invalid:
            await service.start_recording("camera0", duration=0)
        assert invalid.value.errors[0][0] == "duration"
        with pytest.raises(MethodNotFoundError):
            await service.call("no_such_method")
    async with connect(daemon.url, viewer) as service:
        with pytest.raises(ForbiddenError):
            await service.start_recording("camera0")


async def test_events_survive_a_daemon_that_is_killed(daemon: Daemon) -> None:
    """The stream goes on after the next start: no number twice, and what is missing is said."""
    port = daemon.url.rpartition(":")[2].partition("/")[0]
    seen: list[Any] = []
    async with connect(daemon.url, daemon.key) as service, service.events() as events:
        await service.start_recording("camera0")
        while not any(e.recording.status == "PROGRESS" for e in recordings(seen)):
            seen.append(await anext(events))
        daemon.signal(signal.SIGKILL)
        await daemon.wait_end()
        daemon.configure({"server": {"listen": f"127.0.0.1:{port}"}}, CAMERAS)
        await daemon.start()
        with trio.fail_after(300):
            await service.start_recording("camera1")
            while not any(e.recording.camera_id == "camera1" for e in recordings(seen)):
                seen.append(await anext(events))
        position = events.position
    numbers = [event.seq for event in seen if not isinstance(event, EventsMissed)]
    assert numbers == sorted(set(numbers))
    missed = sum(event.missed or 0 for event in seen if isinstance(event, EventsMissed))
    assert numbers[-1] - numbers[0] + 1 <= len(numbers) + missed
    assert any(isinstance(event, CameraEvent) for event in seen)
    async with (
        connect(daemon.url, daemon.key) as service,
        service.events(["recording"], camera="camera1", since=position - 1) as events,
    ):
        await service.stop_recording("camera1")
        later = []
        while not later or later[-1].recording.status != "STOPPED":
            event = await anext(events)
            assert isinstance(event, RecordingEvent)
            assert event.recording.camera_id == "camera1"
            later.append(event)
        assert later[0].seq >= position


CAMERAS = [{"source": "test:?size=160x120&rate=30"}] * 2


def recordings(events: list[Any]) -> list[RecordingEvent]:
    """Pick the events of recordings."""
    return [event for event in events if isinstance(event, RecordingEvent)]


async def test_events_have_the_fields_of_notifications(daemon: Daemon) -> None:
    """Each kind of event has what the daemon sends with it, apart from the nested copy."""
    async with daemon.client() as service:
        await service.start_recording("camera0")
        await service.stop_recording("camera0")
        past = await service.past_events(since=0)
        async with service.events(since=0) as events:
            for sent in past.events:
                event = await anext(events)
                if isinstance(event, OtherEvent):  # the search of the folder at the start
                    assert (event.method, event.sent) == ("recovery_update", sent)
                    continue
                assert not isinstance(event, EventsMissed), sent
                params = {k: v for k, v in sent.params.items() if k not in ("seq", "time")}
                assert sent.params["seq"] == event.seq
                match event:
                    case CameraEvent():
                        found = differences(event.camera, params)
                    case RecordingEvent():
                        assert params.pop("recording")
                        found = differences(event.recording, params)
                    case StorageEvent():
                        found = differences(event.storage, params)
                assert list(found) == []


async def test_a_client_that_leaves_in_order_is_no_line_of_the_log(daemon: Daemon) -> None:
    """Scripts that ask every minute would fill the journal; one that breaks off is told."""
    with trio.fail_after(300):
        async with daemon.client() as client:
            assert await client.call("ping") == "pong"
        assert (await daemon.camd("status")).returncode == 0
        await daemon.stop()
    assert "client_left" not in daemon.log
