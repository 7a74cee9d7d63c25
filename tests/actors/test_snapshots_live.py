"""When a snapshot gets its frame, and when it is refused: exact times, without a process."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from support.camera_rig import CameraRig, Node, Wall, at, open_camera_rig
from support.fake_ffmpeg import FakeFfmpeg, hangs, plays_once, refuses
from trio.testing import MockClock

from camd.capture.consumer import DiscardingConsumer
from camd.errors import Refusal
from camd.model import CameraState, DeviceBinding
from camd.model.problems import UNPLUGGED
from camd.snapshots.live_frame import (
    NEXT_SECONDS,
    SETTLING_SECONDS,
    FoundFrame,
    FrameSource,
    newest_frame,
)
from camd.snapshots.newest_gop import GRACE_SECONDS

NOW = timedelta(0)
SECOND = timedelta(seconds=1)


async def take(
    rig: CameraRig, wall: Wall | None = None, max_age: timedelta | None = None
) -> FoundFrame:
    """Find the frame of a snapshot."""
    source = FrameSource(rig.camera.camera_id, rig.camera.hub, rig.camera.published)
    return await newest_frame(source, max_age=max_age, clock=(wall or Wall()).clock)


async def refused(rig: CameraRig, max_age: timedelta | None = None) -> Refusal:
    """Return the refusal that a snapshot ends with."""
    with pytest.raises(Refusal) as refusal:
        await take(rig, max_age=max_age)
    assert refusal.value.kind.code == -32006
    assert refusal.value.details["camera_id"] == rig.camera.camera_id
    return refusal.value


async def test_an_idle_camera_captures_for_a_snapshot_and_a_grace(clock: MockClock) -> None:
    """The next snapshot within ten seconds finds it running; then its device is let go."""
    async with open_camera_rig() as rig:
        await take(rig)
        taken = trio.current_time()
        await trio.sleep(GRACE_SECONDS - 0.1)
        assert rig.camera.status.state is CameraState.STREAMING
        await take(rig)
        again = trio.current_time()
        await trio.sleep_until(again + GRACE_SECONDS - 0.1)
        assert rig.camera.status.state is CameraState.STREAMING
        await trio.sleep_until(again + GRACE_SECONDS + 0.1)
        assert rig.camera.status.state is CameraState.IDLE
        assert again - taken == pytest.approx(GRACE_SECONDS - 0.1)
        assert rig.states == ["STARTING", "STREAMING", "STOPPING", "IDLE"]


async def test_the_first_half_second_is_dark(clock: MockClock) -> None:
    """A camera that was just opened gives a frame from behind it; later, any frame."""
    async with open_camera_rig(node=Node()) as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await rig.until(CameraState.STREAMING)
        began = rig.camera.hub.began_at
        assert began is not None
        frame = await take(rig, max_age=timedelta(seconds=60))
        assert frame.time >= at(began + 0.5)
        assert trio.current_time() <= began + SETTLING_SECONDS
        await trio.sleep(3)
        before = trio.current_time()
        await take(rig)
        assert trio.current_time() == before


async def test_a_dark_frame_is_better_than_none(clock: MockClock) -> None:
    """Where nothing follows it, it is taken all the same, a second and a half later."""

    async def few(process: FakeFfmpeg) -> int:
        process.write(process.stream.head)
        process.write(process.stream.next(3))
        await process.told_to_end.wait()
        return 0

    async with open_camera_rig(few, node=Node()) as rig:
        frame = await take(rig)
        assert trio.current_time() == pytest.approx(SETTLING_SECONDS, abs=0.2)
        assert frame.time < at(0.5)


async def test_a_stalled_camera_is_refused(clock: MockClock) -> None:
    """Its last frame counts for five seconds, or as long as was asked for; then it is refused
    after the time in which another one would have come."""
    async with open_camera_rig(hangs(2.1)) as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await trio.sleep_until(2.5)
        assert (await take(rig)).time < at(2.1)
        assert trio.current_time() == 2.5
        refusal = await refused(rig, NOW)
        assert refusal.details["cause"] == "stalled"
        assert trio.current_time() <= 2.5 + NEXT_SECONDS


async def test_a_process_that_does_not_end_delays_no_refusal(clock: MockClock) -> None:
    """A stalled capture that ignores SIGTERM takes longer to end than a snapshot waits."""
    stalls = hangs(2.1, deaf=True)
    async with open_camera_rig(stalls) as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await trio.sleep_until(2.5)
        refusal = await refused(rig, NOW)
        assert refusal.details["cause"] == "stalled"
        assert trio.current_time() == 2.5 + NEXT_SECONDS


async def test_a_new_frame_is_waited_for(clock: MockClock) -> None:
    """With an age of zero, the frame was captured after the call."""
    async with open_camera_rig() as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await trio.sleep_until(5.2)
        frame = await take(rig, max_age=NOW)
        assert at(5.2) <= frame.time <= at(trio.current_time())
        assert trio.current_time() < 6.3


async def test_a_young_frame_is_there_at_once(clock: MockClock) -> None:
    """With an age, nothing is waited for, and the frame is the oldest that will do."""
    async with open_camera_rig() as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await trio.sleep_until(5.2)
        frame = await take(rig, max_age=SECOND)
        assert trio.current_time() == 5.2
        assert at(4.2) <= frame.time <= at(5.2)
        assert frame.time <= (await take(rig)).time


async def test_an_unplugged_camera_is_refused_soon(clock: MockClock) -> None:
    """Nothing is waited for that will not come; the refusal has the problem."""
    gone = DeviceBinding("camera0", None, problem=UNPLUGGED)  # type: ignore[arg-type]
    async with open_camera_rig(node=Node(), binding=gone) as rig:
        assert (await refused(rig)).details["cause"] == "unplugged"
        assert trio.current_time() < 1


async def test_a_camera_that_fails_is_refused_with_its_problem(clock: MockClock) -> None:
    """As soon as its process has ended, whoever waits hears why, with what to do."""
    async with open_camera_rig(refuses("[error] Device or resource busy")) as rig:
        refusal = await refused(rig)
        assert refusal.details["cause"] == "busy"
        assert refusal.suggestion
        assert trio.current_time() < 1


async def test_a_source_that_is_over_is_refused(clock: MockClock) -> None:
    """Where no frame comes any more and no failure is known, it does not wait for ever."""
    async with open_camera_rig(plays_once(2), once=True) as rig:
        async with rig.camera.hub.attach(DiscardingConsumer()):
            await rig.until(CameraState.STREAMING)
            await trio.sleep_until(1.9)
            await refused(rig, -SECOND)
        assert trio.current_time() == pytest.approx(2.5, abs=0.3)


async def test_a_clock_that_is_set_does_not_make_frames_old(clock: MockClock) -> None:
    """The age is right on the new clock, forward and back."""
    wall = Wall()
    async with open_camera_rig(wall=wall) as rig, rig.camera.hub.attach(DiscardingConsumer()):
        await trio.sleep_until(4.2)
        for hours in (1, -2):
            wall.step(hours=hours)
            frame = await take(rig, wall)
            assert timedelta(0) <= wall.now() - frame.time < SECOND
