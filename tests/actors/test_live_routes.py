"""Viewers at the WebSocket `/live/{camera}`: what is refused, and how each of them ends."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from support.camera_rig import CamerasRig, Wall, find_program, open_cameras_rig
from trio.testing import MockClock

from camd.api.http.live_routes import LiveRoutes
from camd.config.schema import CameraConfig
from camd.live.transcoding import Transcodes
from camd.live.viewer_counts import MAX_VIEWERS_OF_CAMERA
from camd.model import CameraId, CameraState
from camd.runtime.child_process import open_child_process
from camd.sources import SyntheticSource

ENTRY = CameraConfig(CameraId("camera0"), SyntheticSource(320, 180, 10))


@attrs.define(eq=False)
class FakeSocket:
    """The socket of a viewer in memory."""

    name: str
    query: str = ""
    sent: list[Any] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)
    closed: tuple[int, str] | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def send(self, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(json.loads(message) if isinstance(message, str) else message)

    async def receive(self) -> str | bytes:
        if not self.requests:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return self.requests.pop(0)

    def end(self, code: int, reason: str) -> None:
        self.closed = code, reason
        self.scope.cancel()

    async def serve(self, pages: LiveRoutes) -> None:
        with self.scope:
            await pages.serve_socket(self)


def pages_of(rig: CamerasRig) -> LiveRoutes:
    """Make the pages; no test here needs snapshots, or a transcoder."""
    clock, nursery = Wall().clock, trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    transcodes = Transcodes(0, nursery, find_program, open_child_process, clock=clock)
    return LiveRoutes(rig.cameras, None, transcodes, clock=clock)  # type: ignore[arg-type]


async def test_a_viewer_gets_messages_and_footage(clock: MockClock) -> None:
    """`init`, the header, then fragments; a pause stops them."""
    async with open_cameras_rig(entries=(ENTRY,)) as rig, trio.open_nursery() as nursery:
        socket = FakeSocket("camera0", requests=["nonsense", '{"type": "later"}'])
        nursery.start_soon(socket.serve, pages_of(rig))
        await rig.until("camera0", CameraState.STREAMING)
        await trio.sleep(2)
        init, header, *fragments = socket.sent
        assert init["type"] == "init"
        assert init["supported_as"] == [{"kind": "stills", "path": "/live/camera0?as=stills"}]
        assert header[4:8] == b"ftyp"
        assert len(fragments) >= 4
        assert all(each[4:8] == b"moof" for each in fragments)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("name", "query", "cause"),
    [
        ("camera9", "", "camera_unknown"),
        ("../../etc/passwd", "", "camera_unknown"),
        ("<img src=x onerror=alert(1)>", "", "camera_unknown"),
        ("", "", "camera_unknown"),
        ("camera0", "as=nothing", "unsupported"),
        ("camera0", "as=preview", "unsupported"),
        ("camera0", "&".join(["as=stills"] * 20), "unsupported"),
        ("camera0", "as=stills&as=" + "x" * 1000, "unsupported"),
    ],
)
async def test_what_does_not_exist_is_refused_in_words(
    clock: MockClock, name: str, query: str, cause: str
) -> None:
    """The last message says why; the socket is closed with a policy's code."""
    async with open_cameras_rig(entries=(ENTRY,)) as rig:
        socket = FakeSocket(name, query)
        await socket.serve(pages_of(rig))
        (told,) = socket.sent
        assert (told["type"], told["cause"]) == ("ended", cause)
        assert told["message"]
        assert told["suggestion"]
        assert socket.closed is not None
        assert socket.closed[0] == 1008


async def test_the_65th_viewer_of_a_camera_is_refused(clock: MockClock) -> None:
    """The others go on; when one has left, another is admitted."""
    async with open_cameras_rig(entries=(ENTRY,)) as rig, trio.open_nursery() as nursery:
        pages = pages_of(rig)
        sockets = [FakeSocket("camera0") for _ in range(MAX_VIEWERS_OF_CAMERA)]
        for each in sockets:
            nursery.start_soon(each.serve, pages)
        await rig.until("camera0", CameraState.STREAMING)
        await trio.sleep(1)
        late = FakeSocket("camera0")
        await late.serve(pages)
        assert late.closed == (1013, "the camera has 64 viewers already")
        assert late.sent[0]["cause"] == "rate_limited"
        sockets[0].scope.cancel()
        await trio.sleep(1)
        assert late.closed is not None
        again = FakeSocket("camera0")
        nursery.start_soon(again.serve, pages)
        await trio.sleep(1)
        assert again.closed is None
        assert again.sent[0]["type"] == "init"
        assert {len(each.sent) > 3 for each in sockets[1:]} == {True}
        nursery.cancel_scope.cancel()


async def test_a_preview_is_captured_while_it_is_watched(clock: MockClock) -> None:
    """The camera itself is not; it is offered before the stills, and is never listed."""
    entry = attrs.evolve(ENTRY, preview=SyntheticSource(160, 90, 10))
    async with open_cameras_rig(entries=(entry,)) as rig:
        pages, camera = pages_of(rig), rig.cameras.get(CameraId("camera0"))
        preview = rig.cameras.preview(CameraId("camera0"))
        assert camera is not None
        assert preview is not None
        socket = FakeSocket("camera0", "as=preview")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.serve, pages)
            await preview.published.wait_until(lambda each: each.state is CameraState.STREAMING)
            await trio.sleep(2)
            assert camera.status.state is CameraState.IDLE
            assert socket.sent[0]["supported_as"] == []
            nursery.cancel_scope.cancel()
        await preview.published.wait_until(lambda each: each.state is CameraState.IDLE)
        own = FakeSocket("camera0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own.serve, pages)
            await rig.until("camera0", CameraState.STREAMING)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        kinds = [each["kind"] for each in own.sent[0]["supported_as"]]
        assert kinds == ["preview", "stills"]
        assert preview.status.state is CameraState.IDLE
        assert len(rig.cameras) == 1
        heard = {event.status.camera_id for event in rig.heard if hasattr(event, "status")}
        assert heard == {"camera0"}


async def test_a_removed_camera_ends_the_viewers_of_its_preview(clock: MockClock) -> None:
    """As it ends its own."""
    entry = attrs.evolve(ENTRY, preview=SyntheticSource(160, 90, 10))
    async with open_cameras_rig(entries=(entry,)) as rig:
        socket = FakeSocket("camera0", "as=preview")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.serve, pages_of(rig))
            await trio.sleep(3)
            rig.cameras.remove(CameraId("camera0"))
        assert socket.closed == (1000, "camera_removed")
        assert rig.cameras.preview(CameraId("camera0")) is None


async def test_a_camera_that_is_removed_ends_its_viewers(clock: MockClock) -> None:
    """With a sentence, and with the code of an end in order."""
    async with open_cameras_rig(entries=(ENTRY,)) as rig:
        socket = FakeSocket("camera0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.serve, pages_of(rig))
            await rig.until("camera0", CameraState.STREAMING)
            await trio.sleep(1)
            rig.cameras.remove(CameraId("camera0"))
        assert socket.sent[-1]["cause"] == "camera_removed"
        assert socket.closed == (1000, "camera_removed")
