"""Demand: the capture runs while a consumer needs it, and for a grace afterwards."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
import trio
from support.camera_rig import REQUEST, open_camera_rig
from support.fake_ffmpeg import plays_once, streams
from trio.testing import MockClock

from camd.capture.consumer import CapturedFragment, CaptureEnded, HubItem
from camd.config.schema import RecordingConfig
from camd.model import CameraState, GapCause

GRACE_SECONDS = 10.0


@attrs.define(eq=False)
class Viewer:
    """A consumer with another policy: it keeps the newest GOP."""

    grace_seconds: float = GRACE_SECONDS
    each_frame: bool = False
    frames: int = 0
    newest_gop: list[CapturedFragment] = attrs.field(factory=list)
    ends: list[CaptureEnded] = attrs.field(factory=list)

    def put(self, item: HubItem) -> None:
        """Count frames, and replace what is kept at each key frame."""
        if isinstance(item, CapturedFragment):
            self.frames += item.fragment.frames
            if item.fragment.starts_with_sync:
                self.newest_gop.clear()
            self.newest_gop.append(item)
        elif isinstance(item, CaptureEnded):
            self.ends.append(item)


async def test_the_first_consumer_starts_the_capture_and_the_last_one_lets_it_end(
    clock: MockClock,
) -> None:
    """That works without a recording, and the capture goes on for a grace."""
    async with open_camera_rig() as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await rig.until(CameraState.STREAMING)
            await trio.sleep_until(5.2)
        assert 0 < sum(each.fragment.frames for each in viewer.newest_gop) <= 10
        await trio.sleep_until(5.2 + GRACE_SECONDS - 0.1)
        assert rig.camera.status.state is CameraState.STREAMING
        assert viewer.frames == 50
        await trio.sleep_until(5.2 + GRACE_SECONDS + 0.1)
        assert rig.camera.status.state is CameraState.IDLE
        assert viewer.ends == []
        assert rig.states == ["STARTING", "STREAMING", "STOPPING", "IDLE"]


async def test_a_viewer_outlives_a_recording(clock: MockClock) -> None:
    """The viewer does not notice the end of the recording."""
    async with open_camera_rig() as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await trio.sleep_until(2.2)
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(5.2)
            session = await rig.camera.stop_recording()
            assert trio.current_time() == 5.5  # the fragment in flight, and no longer
            assert (session.reason, session.gaps) == ("stopped", ())
            rig.check(session)
            await trio.sleep_until(20.2)
            assert rig.camera.status.state is CameraState.STREAMING
            assert (viewer.frames, viewer.ends) == (200, [])
        await rig.until(CameraState.IDLE)
        assert trio.current_time() == pytest.approx(20.2 + GRACE_SECONDS)
        assert len(rig.launcher.processes) == 1


async def test_a_recording_outlives_a_viewer(clock: MockClock) -> None:
    """It has every frame, from before and after the viewer left, and no grace of its own."""
    async with open_camera_rig() as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await trio.sleep_until(2.2)
            await rig.camera.start_recording(REQUEST)
            await trio.sleep_until(3.2)
        await trio.sleep_until(40.2)
        assert (viewer.frames, viewer.ends) == (30, [])
        session = await rig.camera.stop_recording()
        assert session.gaps == ()
        assert session.frames_written == 392  # from the key frame at 1.0 on
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert trio.current_time() == 40.2
        assert len(rig.launcher.processes) == 1


async def test_a_consumer_within_the_grace_gets_the_same_capture(clock: MockClock) -> None:
    """The process is the same one, and the grace begins anew."""
    async with open_camera_rig() as rig:
        async with rig.camera.hub.attach(Viewer()):
            await trio.sleep_until(3.2)
        await trio.sleep_until(3.2 + GRACE_SECONDS - 1)
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            assert viewer.newest_gop != []
            await trio.sleep_until(20.0)
        await trio.sleep_until(20.0 + GRACE_SECONDS - 0.1)
        assert rig.camera.status.state is CameraState.STREAMING
        await rig.until(CameraState.IDLE)
        assert trio.current_time() == pytest.approx(20.0 + GRACE_SECONDS)
        assert len(rig.launcher.processes) == 1


async def test_the_grace_is_that_of_the_consumer_that_left_last(clock: MockClock) -> None:
    """A recording that ends within a viewer's grace ends the capture at once."""
    async with open_camera_rig() as rig:
        await rig.camera.start_recording(REQUEST)
        async with rig.camera.hub.attach(Viewer()):
            await trio.sleep_until(4.2)
        await trio.sleep_until(6.2)
        session = await rig.camera.stop_recording()
        rig.check(session)
        await rig.until(CameraState.IDLE)
        assert trio.current_time() == 6.2


async def test_a_failing_capture_is_started_again_for_a_viewer(clock: MockClock) -> None:
    """A viewer needs the capture as a recording does, and gets the cause of the outage."""
    async with open_camera_rig(streams(3.2)) as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await trio.sleep_until(10.2)
        assert [end.cause for end in viewer.ends] == [GapCause.ENCODER_EXIT]
        assert len(rig.launcher.processes) == 2
        assert viewer.frames > 80


class Told(Viewer):
    """A viewer that sets `event` when a capture has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.event = trio.Event()

    def put(self, item: object) -> None:
        """Take an item."""
        super().put(item)  # type: ignore[arg-type]
        if self.ends:
            self.event.set()


async def test_a_new_consumer_restarts_a_source_that_has_ended(
    clock: MockClock,
) -> None:
    """An attached consumer does not restart it; a new one does."""
    async with open_camera_rig(plays_once(3.0), plays_once(2.0), once=True) as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await trio.sleep_until(10.0)
            assert (viewer.frames, len(rig.launcher.processes)) == (30, 1)
            await rig.camera.start_recording(REQUEST)
            await rig.idle()
            assert (viewer.frames, len(rig.launcher.processes)) == (50, 2)
        assert rig.storage.sessions[-1].reason == "source_ended"


async def test_a_newcomer_at_the_end_of_a_source_adds_nothing_to_the_session(
    clock: MockClock,
) -> None:
    """The source starts again for it, while the session that has ended is still being closed."""
    async with open_camera_rig(plays_once(3.0), plays_once(2.0), once=True) as rig:
        await rig.camera.start_recording(REQUEST)
        ended = Told()
        async with rig.camera.hub.attach(ended):
            await ended.event.wait()
            async with rig.camera.hub.attach(Viewer()):
                await rig.idle()
        session = rig.storage.sessions[-1]
        assert (session.frames_written, session.reason, session.gaps) == (30, "source_ended", ())
        assert len(rig.launcher.processes) == 2


async def test_a_camera_that_closes_ends_the_capture_of_viewers(clock: MockClock) -> None:
    """Its capture ends at once, without a grace, and the viewers get CaptureEnded."""
    async with open_camera_rig() as rig:
        viewer = Viewer()
        async with rig.camera.hub.attach(viewer):
            await trio.sleep_until(3.2)
            await rig.camera.close()
            assert trio.current_time() == 3.2
            assert len(viewer.ends) == 1
            async with rig.camera.hub.attach(Viewer()):
                await trio.sleep(60)
        assert rig.camera.status.state is CameraState.IDLE
        assert len(rig.launcher.processes) == 1


async def test_preroll_is_a_consumer_that_stays(clock: MockClock) -> None:
    """The capture goes on after a recording, with and without other consumers."""
    preroll = RecordingConfig(preroll=timedelta(seconds=5))
    async with open_camera_rig(recording=preroll) as rig:
        await rig.until(CameraState.STREAMING)
        async with rig.camera.hub.attach(Viewer(grace_seconds=0.0)):
            await trio.sleep_until(8.2)
        session = await rig.camera.start_recording(REQUEST)
        assert session.preroll_seconds >= 5
        await rig.camera.stop_recording()
        await trio.sleep_until(60)
        assert rig.states == ["STARTING", "STREAMING"]
        assert len(rig.launcher.processes) == 1
